"""Every page is reached, and every link of the documentation leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.links import IMAGE, LINK, headings, target, without_code

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
NOTEBOOKS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "notebooks").glob("*.py"))
SOURCES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *PAGES, *NOTEBOOKS]


def text_of(source: str) -> str:
    """What a page says, code left out; of a notebook its Markdown."""
    text = (ROOT / source).read_text(encoding="utf-8")
    if source.endswith(".py"):
        text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in text.splitlines() if line.startswith("#"))
    return without_code(text)


def targets(source: str) -> list[str]:
    """What a page links to, as paths of the repository with their headings."""
    text = text_of(source)
    addresses = [m["address"] for pattern in (LINK, IMAGE) for m in pattern.finditer(text)]
    paths = [target(source, address) for address in addresses]
    own = [f"{source}{address}" for address in addresses if address.startswith("#")]
    return [path for path in paths if path is not None] + own


@pytest.mark.parametrize("source", SOURCES)
def test_links_lead_somewhere(source: str) -> None:
    for link in targets(source):
        path, _, heading = link.partition("#")
        assert (ROOT / path).exists(), f"{source} links to {path}, which is not there"
        if heading and path.endswith(".md"):
            assert heading in headings((ROOT / path).read_text(encoding="utf-8")), f"{source} links to {link}"


#: Pages that name a file for a formula or a claim; a module is named from the package on.
NAMING_FILES = ("cluster", "data", "decision", "performance", "protocol", "results")
NAMED_FILE = re.compile(r"`([\w/-]+/[\w-]+\.(?:py|yaml))`")
#: Folders of the repository that a named file may begin with; any other name is that of a module.
FOLDERS = ("conf", "docs", "src", "tests")


@pytest.mark.parametrize("page", NAMING_FILES)
def test_files_that_a_page_names_are_there(page: str) -> None:
    for name in NAMED_FILE.findall(text_of(f"docs/{page}.md")):
        folder = name.partition("/")[0]
        path = ROOT / name if folder in FOLDERS else ROOT / "src" / "mmbench" / name
        assert path.exists(), f"docs/{page}.md names {name}, which is not there"


def in_nav(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from in_nav(entry)


def settings() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    return loaded


def test_every_page_is_in_the_nav_or_linked_by_one_that_is() -> None:
    reached = {f"docs/{page}" for page in in_nav(settings()["nav"])}
    notebooks = {name.removesuffix(".py") + ".md" for name in NOTEBOOKS}
    assert notebooks <= reached
    made = {"docs/index.md", "docs/contributing.md", "docs/changelog.md"}
    assert reached - made - notebooks <= set(PAGES), "the nav names a page that is not there"
    linked = {link.partition("#")[0] for page in reached & set(PAGES) for link in targets(page)}
    assert set(PAGES) - reached - linked == set()


def test_every_picture_of_the_docs_is_shown() -> None:
    shown = {link for page in (*PAGES, "README.md") for link in targets(page)}
    pictures = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "images").rglob("*.*")}
    assert pictures - shown == set()


def test_a_link_is_resolved_from_its_file() -> None:
    assert target("docs/ja/company.md", "../data.md#size") == "docs/data.md#size"
    assert target("README.md", "docs/data.md") == "docs/data.md"
    assert target("README.md", "mailto:nobody") is None
    assert target("README.md", "#start") is None


def test_headings_are_named_as_the_site_names_them() -> None:
    text = "# What's `this`, then?\n\n```\n# no heading\n```\n\n## Köln & 東京\n\n## Twice\n\n## Twice\n"
    assert headings(text) == ["whats-this-then", "köln-東京", "twice", "twice_1"]


def test_nothing_of_the_settings_leads_out() -> None:
    assert settings()["theme"]["font"] is False
    assert not re.search(r"https?://", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
