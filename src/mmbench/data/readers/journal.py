"""What an import says, and the files behind a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmbench.data.regular_file import stamps_of, storable
from mmbench.messages import Message, Refusal


@dataclass(frozen=True)
class Question:
    """Something that a reader cannot find out.

    Args:
        message: the question.
        words: what a yes adds to the command line of ``prepare``.
        likely: whether yes is the answer of somebody who does not know.
    """

    message: Message
    words: tuple[str, ...]
    likely: bool = True


class Journal:
    """Collects what a reader wants said and asked, and the files it read."""

    def __init__(self) -> None:
        self.lines: list[Message] = []
        self.questions: list[Question] = []
        self.files: list[Path] = []
        self._stamps: dict[Path, tuple[int, ...]] = {}

    def tell(self, message: Message) -> None:
        """Add a message."""
        self.lines.append(message)

    def ask(self, message: Message, *words: str, likely: bool = True) -> None:
        """Add a question whose yes adds ``words`` to the command line; it is said like a message too."""
        self.questions.append(Question(message, words, likely))
        self.tell(message)

    def read(self, path: Path) -> Path:
        """Remember a file or folder, which is read from now on, and return its path.

        Raises:
            ValueError: for a name that a data set cannot keep.
        """
        storable(path)
        if path not in self.files:
            self.files.append(path)
            self._stamps = _stamps_in(path) | self._stamps  # of a file in a folder the earlier one
        return path

    def check_unchanged(self) -> None:
        """Refuse what was read if it is no longer what it was before, so that nobody knows what was read.

        Raises:
            ValueError: naming the first file that was written, replaced, added or removed.
        """
        now: dict[Path, tuple[int, ...]] = {}
        for path in self.files:
            now |= _stamps_in(path)
        changed = {path for path, _ in self._stamps.items() ^ now.items()}
        if changed:
            raise Refusal(
                "{path} was changed while it was read; start the command again once nothing writes to it",
                path=min(changed),
            )


def _stamps_in(path: Path) -> dict[Path, tuple[int, ...]]:
    """Stamps of a file, or of all files below a folder."""
    return stamps_of(part for part in (path, *path.rglob("*")) if part.is_file())
