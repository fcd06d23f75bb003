"""What a command may use of this machine while it reads a sweep folder that somebody else may have written.

A folder is data (docs/decisions/0020): a class, a file outside of it or a large world that its records name is used
only where this command, not the folder, vouches for it.
"""

from __future__ import annotations

import functools
import inspect
import os
import pkgutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmbench import extensions, models, paths
from mmbench.data.dataset import DatasetConfig
from mmbench.data.planted import make_world
from mmbench.messages import Message, Refusal

#: The word of ``--allow`` for planted worlds of any size.
WORLD = "world"
#: The largest planted world that a record alone can have drawn: pairs of a user and an item, and numbers kept of any
#: kind. The largest one that is shipped, planted_baby, has half as many of both.
MOST_PAIRS, MOST_NUMBERS = 1 << 28, 1 << 26
#: Factors of a user or an item of a planted world, and default interactions of a user, at most.
FACTORS, PER_USER = 40, 20


class NotVouchedFor(Refusal):
    """A record names a class or a function that is not installed, and nobody else does."""


@dataclass(frozen=True)
class Trust:
    """What the command line, or the configuration of this very process, vouches for.

    Args:
        classes: dotted names of models, metrics and states that may be imported besides the installed ones.
        places: folders and files that may be read besides those below :func:`mmbench.paths.data_roots`.
        large_worlds: whether a planted world may have any size.
    """

    classes: frozenset[str] = frozenset()
    places: tuple[Path, ...] = ()
    large_worlds: bool = False

    @staticmethod
    def of(words: str | Iterable[str]) -> Trust:
        """What the values of ``--allow``, or a single one, vouch for: :data:`WORLD`, a file or folder, or a class.

        Raises:
            ValueError: for a word that is none of them.
        """
        classes, places, large = set(), [], False
        for word in [words] if isinstance(words, str) else words:
            if word == WORLD:
                large = True
            elif word and Path(word).exists():
                places.append(Path(word))
            elif extensions.is_dotted(word):
                classes.add(word)
            else:
                raise Refusal(
                    "{word} cannot be vouched for: it is neither the dotted name of a class, nor a file or folder that "
                    "exists, nor the word {world}",
                    word=word,
                    world=WORLD,
                )
        return Trust(frozenset(classes), tuple(places), large)

    def check_import(self, group: str, name: str, setting: str) -> None:
        """Refuse to import what only a record names.

        Args:
            group: group of entry points in which installed packages offer it.
            name: what the record says.
            setting: where it says so.

        Raises:
            NotVouchedFor: naming the flag that vouches for it.
        """
        if name not in self.classes and not extensions.is_installed(group, name):
            raise NotVouchedFor(
                Message(
                    "{setting}={name} is not installed, and a record is no reason to import it; --allow {name} vouches "
                    "for it",
                    setting=setting,
                    name=name,
                )
            )

    def may_read(self, path: Path) -> bool:
        """Whether a path that a record names lies where this command reads; links are followed before it is judged."""
        return _lies_in(path, (*paths.data_roots(), *self.places))

    def objection(self, config: DatasetConfig) -> Message | None:
        """Why the data set of a record is not read, or not drawn; None where nothing speaks against it."""
        if config.world is None:
            folder = config.path or config.name
            return None if self.may_read(Path(folder)) else outside(folder)
        return None if self.large_worlds else _too_large(config)

    def check_folder(self, sweep_dir: Path) -> None:
        """Refuse a sweep folder with a link that leads out of it, or with what is neither a file nor a folder.

        Raises:
            ValueError: naming the first one.
        """
        allowed = (sweep_dir, *self.places)
        for here, folders, names in os.walk(sweep_dir):
            for name in (*folders, *names):
                path = Path(here, name)
                mode = _mode(path)
                if stat.S_ISLNK(mode) and not _lies_in(path, allowed):
                    raise Refusal(
                        "{path} is a link out of the folder of the sweep, which no command follows; --allow FOLDER "
                        "names a folder that it may lead to",
                        path=path,
                    )
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                    raise Refusal("{path} is neither a file nor a folder", path=path)
            if Path(here) == sweep_dir:  # W&B links its runs to each other by absolute paths; nothing reads them
                folders[:] = [name for name in folders if name != paths.mirror_dir(sweep_dir, "wandb").name]


#: Of a command that vouches for nothing.
NOTHING = Trust()


def outside(place: object) -> Message:
    """Why a place is not read."""
    return Message(
        "{place} lies outside the folders that this command reads, and a record is no reason to read it; "
        "--allow {place} adds it",
        place=place,
    )


def _too_large(config: DatasetConfig) -> Message | None:
    """Why a planted world is not drawn; None for one of ordinary size."""
    try:
        call = inspect.signature(make_world).bind(config.world, config.encoder, **(config.world_options or {}))
    except TypeError as error:
        return Message("the planted world cannot be drawn: {error}", error=error)
    call.apply_defaults()
    users, items, *widths = (call.arguments[name] for name in ("n_users", "n_items", "text_dim", "image_dim"))
    rows: Any = call.arguments["n_interactions"]
    per_user = call.arguments["per_user"]
    sizes = (users, items, *widths, *(size for size in (rows, per_user) if size is not None))
    if not all(type(size) is int and size > 0 for size in sizes):
        return Message("the planted world cannot be drawn: its sizes are no positive whole numbers")
    log = users * (PER_USER if per_user is None else per_user) if rows is None else rows
    # A row of the log is two texts, each as large as some numbers.
    numbers = max(users * FACTORS, items * (FACTORS + sum(widths)), 10 * log)
    if users * items <= MOST_PAIRS and numbers <= MOST_NUMBERS:
        return None
    return Message(
        "the planted world is too large to be drawn because a record says so: {pairs} pairs and {numbers} numbers, and "
        "at most {most_pairs} and {most_numbers} are; --allow {world} draws any",
        pairs=users * items,
        numbers=numbers,
        most_pairs=MOST_PAIRS,
        most_numbers=MOST_NUMBERS,
        world=WORLD,
    )


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except FileNotFoundError:  # a worker has just put it elsewhere
        return stat.S_IFREG


def _lies_in(path: Path, places: Iterable[Path]) -> bool:
    try:
        real = path.resolve()
    except (OSError, RuntimeError):  # links in a circle
        return False
    return any(real.is_relative_to(place.resolve()) for place in places)


def is_packaged(name: str) -> bool:
    """Whether a dotted name is that of a module of :mod:`mmbench.models` with a class."""
    return name.rpartition(".")[0] in _modules_of_models()


@functools.cache
def _modules_of_models() -> frozenset[str]:
    return frozenset(f"{models.__name__}.{found.name}" for found in pkgutil.iter_modules(models.__path__))
