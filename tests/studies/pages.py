"""The pages of the study, and the sections of them that commands write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmbench.store import files
from tests.benchmarks.performance import with_section
from tests.studies.sweeps import ROOT

#: The answer, how firm it is, and how it was made.
PAGES = tuple(ROOT / "docs" / f"{name}.md" for name in ("study", "study-checks", "study-method"))


def page_of(section: str) -> Path:
    """The page that holds a section.

    Raises:
        ValueError: if not exactly one of them does.
    """
    (page,) = (page for page in PAGES if f"<!-- {section}: begin -->" in page.read_text(encoding="utf-8"))
    return page


def write(sections: Mapping[str, str]) -> None:
    """Write sections anew, each into the page that holds it.

    Args:
        sections: their texts by their names.
    """
    for section, text in sections.items():
        page = page_of(section)
        files.write_text(page, with_section(page.read_text(encoding="utf-8"), section, text))


def shows(section: str, text: str) -> bool:
    """Whether the page of a section holds this text there."""
    page = page_of(section).read_text(encoding="utf-8")
    return with_section(page, section, text) == page
