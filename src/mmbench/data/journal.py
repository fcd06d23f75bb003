"""What an import says and what it read: sentences of the catalogue ``prepare``, and the files behind a dataset."""

from __future__ import annotations

from pathlib import Path

from mmbench.messages import Refusal, Words

DOMAIN = "prepare"


class Journal:
    """Collects what a reader wants said, and the files it read.

    Args:
        lang: language of the sentences.
    """

    def __init__(self, lang: str = "en") -> None:
        self.words = Words(DOMAIN, lang)
        self.lines: list[str] = []
        self.files: list[Path] = []

    def tell(self, name: str, count: int | None = None, /, **values: object) -> None:
        """Add the sentence ``name``."""
        self.lines.append(self.words(name, count, **values))

    def read(self, path: Path) -> Path:
        """Remember ``path`` as read and return it."""
        if path not in self.files:
            self.files.append(path)
        return path


def refusal(name: str, count: int | None = None, /, **values: object) -> Refusal:
    """The error with the sentence ``name``: what, where, what is allowed."""
    return Refusal(DOMAIN, name, count, **values)
