"""What an import says, and the files behind a dataset."""

from __future__ import annotations

from pathlib import Path

from mmbench.messages import Message


class Journal:
    """Collects what a reader wants said, and the files it read."""

    def __init__(self) -> None:
        self.lines: list[Message] = []
        self.files: list[Path] = []

    def tell(self, message: Message) -> None:
        """Add a message."""
        self.lines.append(message)

    def read(self, path: Path) -> Path:
        """Remember ``path`` as read and return it."""
        if path not in self.files:
            self.files.append(path)
        return path
