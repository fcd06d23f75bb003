"""What packages and files of others add to mmbench: by an entry point of an installed package, or by a dotted name.

A name is looked up among the entry points of its group first; a dotted name, such as ``mine.first_hit``, is imported.
A name is therefore used only where somebody other than a record vouches for it: the installation, or the command that
was typed (docs/decisions/0020).
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from types import MappingProxyType
from typing import Any

from mmbench.messages import Refusal

#: Groups of entry points: model classes and functions by their names, readers of tables by the suffix of their files,
#: and packages of configuration files.
MODELS, METRICS, STATES = "mmbench.models", "mmbench.metrics", "mmbench.states"
IMPORTERS, READERS, CONFIGURATIONS = "mmbench.importers", "mmbench.readers", "mmbench.conf"


def offered(group: str) -> Mapping[str, str]:
    """Dotted names of what installed packages offer in a group, by the names they give it."""
    # Every job asks a few times. What is installed meanwhile, as from a notebook, changes one of these folders.
    return _offered(group, tuple((place, _changed(place)) for place in sys.path))


@functools.lru_cache(16)
def _offered(group: str, looked_in: tuple[tuple[str, int], ...]) -> Mapping[str, str]:
    """The same, looked up by reading what all installed packages say."""
    entries = metadata.entry_points(group=group)
    return MappingProxyType({entry.name: entry.value.replace(":", ".") for entry in entries})


def _changed(place: str) -> int:
    """When something was added to a folder or taken from it; 0 where there is none."""
    try:
        return os.stat(place or ".").st_mtime_ns
    except OSError:
        return 0


def is_installed(group: str, name: str) -> bool:
    """Whether an installed package offers a name, or what a dotted name stands for."""
    known = offered(group)
    return name in known or name in known.values()


def is_dotted(name: str) -> bool:
    """Whether a name is one of a part of a module, such as ``mine.first_hit``.

    >>> is_dotted("mine.first_hit"), is_dotted("first_hit"), is_dotted("0.5"), is_dotted("mine.")
    (True, False, False, False)
    """
    parts = name.split(".")
    return len(parts) > 1 and all(part.isidentifier() for part in parts)


@contextlib.contextmanager
def kept_alive() -> Iterator[None]:
    """Let code of somebody else's fail where it would end this process, as ``sys.exit`` does.

    Raises:
        RuntimeError: in place of SystemExit, unless a signal is behind it.
    """
    try:
        yield
    except SystemExit as error:
        # A command makes one of SIGTERM, and Lightning makes one of Ctrl-C.
        if error.code == 128 + signal.SIGTERM or isinstance(error.__context__, KeyboardInterrupt):
            raise
        raise RuntimeError(f"sys.exit({error.code!r}) was called") from error


@contextlib.contextmanager
def running(name: str, setting: str) -> Iterator[None]:
    """Run code of somebody else's; whatever it raises becomes one line, and ``debug=true`` shows the traceback.

    Args:
        name: what is run, as the user wrote it.
        setting: what it was written behind.

    Raises:
        ValueError: with what was raised, and in place of ``sys.exit``.
        OSError: as it is, and so is MemoryError.
    """
    try:
        with kept_alive():
            yield
    except (Refusal, OSError, MemoryError):
        raise
    except Exception as error:
        raise Refusal(
            "{setting}={name} failed: {kind}: {error}",
            setting=setting,
            name=name,
            kind=type(error).__name__,
            error=" ".join(str(error).split()),
        ) from error


def load(group: str, name: str, setting: str) -> Any:
    """Import what a name stands for; nobody but the caller has asked whether it may be.

    Args:
        group: where installed packages offer it.
        name: its name there, or its dotted name.
        setting: what the user wrote it behind, for the error.

    Raises:
        ValueError: if it cannot be imported.
    """
    dotted = offered(group).get(name, name)
    module, _, attribute = dotted.rpartition(".")
    try:
        with kept_alive():
            return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # importing the user's module can raise anything
        raise Refusal(
            "{setting}={name} cannot be imported: {error}", setting=setting, name=name, error=error
        ) from error


def function(group: str, name: str, setting: str) -> Callable[..., Any]:
    """A function of somebody else's, which is called as in :func:`running`.

    Arguments as for :func:`load`.

    Raises:
        ValueError: if it cannot be imported or is no function.
    """
    loaded = load(group, name, setting)
    if not callable(loaded):
        raise Refusal("{setting}={name} is no function", setting=setting, name=name)

    def called(*given: Any) -> Any:
        with running(name, setting):
            return loaded(*given)

    return called
