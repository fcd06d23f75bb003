"""What an import says and what it read: messages of the catalogue ``prepare``, and the files behind a dataset."""

from __future__ import annotations

from pathlib import Path

from mmbench.messages import Message, Refusal

DOMAIN = "prepare"


class Journal:
    """Collects what a reader wants said, and the files it read."""

    def __init__(self) -> None:
        self.lines: list[Message] = []
        self.files: list[Path] = []

    def tell(self, name: str, count: int | None = None, /, **values: object) -> None:
        """Add the message ``name``."""
        self.lines.append(message(name, count, **values))

    def read(self, path: Path) -> Path:
        """Remember ``path`` as read and return it."""
        if path not in self.files:
            self.files.append(path)
        return path


def message(name: str, count: int | None = None, /, **values: object) -> Message:
    """The message ``name``."""
    return Message(DOMAIN, name, count, **values)


def refusal(name: str, count: int | None = None, /, **values: object) -> Refusal:
    """The error with the message ``name``: what, where, what is allowed."""
    return Refusal(DOMAIN, name, count, **values)
