"""What an import says, and the files behind a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmbench.data.regular_file import storable
from mmbench.messages import Message


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

    def tell(self, message: Message) -> None:
        """Add a message."""
        self.lines.append(message)

    def ask(self, message: Message, *words: str, likely: bool = True) -> None:
        """Add a question whose yes adds ``words`` to the command line; it is said like a message too."""
        self.questions.append(Question(message, words, likely))
        self.tell(message)

    def read(self, path: Path) -> Path:
        """Remember ``path`` as read and return it.

        Raises:
            ValueError: for a name that a data set cannot keep.
        """
        storable(path)
        if path not in self.files:
            self.files.append(path)
        return path
