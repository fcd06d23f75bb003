"""Feature files of a folder: several encoders of a modality side by side, each with a sidecar that says what made it.

``image_feat.npy`` is the default encoder of the modality ``image``, ``image_feat@clip.npy`` another one with the label
``clip``. The sidecar is the same name with ``.json``: encoder, revision, coverage, languages, and the hashes that prove
which file it describes and in which order its rows are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mmbench import fingerprint
from mmbench.data.regular_file import visible_in
from mmbench.messages import Refusal, listed

T = TypeVar("T")
#: Selects the file without a label.
DEFAULT = "default"
_FILE = re.compile(r"(?P<modality>[^@]+)_feat(?:@(?P<label>[^@]+))?\.npy")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,39}")
_MODALITY = re.compile(r"[^.@/\\\x00-\x1f][^@/\\\x00-\x1f]*")


def feature_file(folder: Path, modality: str, label: str = DEFAULT) -> Path:
    """Where the features of an encoder lie."""
    return folder / (f"{modality}_feat.npy" if label == DEFAULT else f"{modality}_feat@{label}.npy")


def check_label(label: str) -> str:
    """Return a label that may stand in a file name and in a table.

    Raises:
        ValueError: for another one.
    """
    if not _LABEL.fullmatch(label):
        raise Refusal(
            "label {label} of an encoder must be up to 40 letters, digits, dots and hyphens", label=repr(label)
        )
    return label


def check_modality(name: str, where: str | Path) -> None:
    """Refuse a modality after which no feature file of a folder can be called.

    Args:
        name: of the modality; another program or a column may have given it.
        where: the file or importer that names it, for the error.

    Raises:
        ValueError: for a name whose file would lie elsewhere or be found by nobody.
    """
    if not _MODALITY.fullmatch(str(name)):
        raise Refusal(
            "{where}: {modality} cannot name a modality, which becomes part of a file name; it must not be empty, hold "
            "/, \\, @ or control characters, or begin with a dot",
            where=where,
            modality=repr(name),
        )


def encoders_in(folder: Path) -> dict[str, dict[str, Path]]:
    """Feature files by modality and label, both in name order; :data:`DEFAULT` is the label of those without one.

    Raises:
        ValueError: for a file that has this label in its name.
    """
    files_of: dict[str, dict[str, Path]] = {}
    for path in visible_in(folder, "*_feat*.npy"):
        if match := _FILE.fullmatch(path.name):
            if match["label"] == DEFAULT:
                raise Refusal(
                    "{path}: {label} stands for the file without a label, and is no label; rename the file",
                    path=path,
                    label=repr(DEFAULT),
                )
            files_of.setdefault(match["modality"], {})[match["label"] or DEFAULT] = path
    return {modality: dict(sorted(files.items())) for modality, files in sorted(files_of.items())}


def chosen(folder: Path, encoder: Mapping[str, str]) -> dict[str, Path]:
    """The feature file of every modality under a choice of encoders.

    Args:
        folder: canonical folder.
        encoder: label by modality; a modality that is not named takes its default, or the only encoder it has.

    Raises:
        ValueError: for a modality or a label the folder lacks, or a choice that is left open.
    """
    return picked(encoders_in(folder), encoder, str(folder))


def picked(held: Mapping[str, Mapping[str, T]], encoder: Mapping[str, str], where: str) -> dict[str, T]:
    """What belongs to the chosen encoder of every modality.

    Args:
        held: by modality and label.
        encoder: label by modality, as for :func:`chosen`.
        where: who holds them, for an error.

    Raises:
        ValueError: as :func:`chosen`.
    """
    for modality in encoder:
        if modality not in held:
            raise Refusal(
                "dataset.encoder.{modality}: {path} has no features of '{modality}'; it has: {held}",
                modality=modality,
                path=where,
                held=listed(held),
            )
    return {modality: _pick(by_label, encoder.get(modality), modality, where) for modality, by_label in held.items()}


def _pick(by_label: Mapping[str, T], label: str | None, modality: str, where: str) -> T:
    unnamed = label is None
    if label is None:
        label = DEFAULT if DEFAULT in by_label or len(by_label) > 1 else next(iter(by_label))
    if label not in by_label:
        name = feature_file(Path(), modality, label).name
        if unnamed:
            raise Refusal(
                "{path} has no {name}; choose with dataset.encoder.{modality}=LABEL one of: {labels}; what was begun "
                "when there was only one of them goes on once that file is copied to {name}, and its .json beside it",
                path=where,
                name=name,
                modality=modality,
                labels=", ".join(by_label),
            )
        raise Refusal(
            "{path} has no {name}; choose with dataset.encoder.{modality}=LABEL one of: {labels}",
            path=where,
            name=name,
            modality=modality,
            labels=", ".join(by_label),
        )
    return by_label[label]


def sidecar_file(matrix: Path) -> Path:
    """The sidecar of a feature file."""
    return matrix.with_suffix(".json")


def read_sidecar(matrix: Path) -> dict[str, Any] | None:
    """What the sidecar says, None where there is none.

    Raises:
        ValueError: if it is not a sidecar.
    """
    path = sidecar_file(matrix)
    if not path.is_file():
        return None
    try:
        sidecar = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal("{path} is not valid JSON: {error}", path=path, error=error) from error
    if not isinstance(sidecar, dict) or not all(isinstance(sidecar.get(key), str) for key in ("encoder", "sha256")):
        raise Refusal('{path} must hold an object with "encoder" and "sha256", as mmbench encode writes it', path=path)
    return sidecar


def proved_sidecar(matrix: Path, ids: Sequence[str]) -> dict[str, Any] | None:
    """The sidecar, after checking that it describes this matrix and these items.

    Raises:
        ValueError: if it describes another matrix, or items in another order.
    """
    sidecar = read_sidecar(matrix)
    if sidecar is None:
        return None
    if sidecar["sha256"] != fingerprint.of_file(matrix):
        raise Refusal(
            "{path} is not the file that {sidecar} describes; encode again, or remove the sidecar",
            path=matrix,
            sidecar=sidecar_file(matrix).name,
        )
    if sidecar.get("row_ids_sha256") != fingerprint.of_strings(list(ids)):
        raise Refusal(
            "{path} was encoded for another items.parquet (ids or their order differ); encode again, what is "
            "unchanged comes from the cache",
            path=matrix,
        )
    return sidecar
