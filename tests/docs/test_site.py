"""The built site: complete, strict, and nothing in it is fetched from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.parts import require_modules
from tests.report import browser

ROOT = Path(__file__).resolve().parents[2]
#: Tags whose address a browser fetches by itself.
FETCHED = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
}
SHOWN = (
    "index.html",
    "reading.html",
    "results.html",
    "ja/company.html",
    "notebooks/first_sweep.html",
    "api/models.html",
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site without the outputs of notebooks, which have a test of their own."""
    require_modules("material")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "DOCS_RUN_NOTEBOOKS": "0"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return folder


class Fetched(HTMLParser):
    """Collects what a page has a browser fetch, and its links."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if address := given.get(FETCHED.get(tag, "")):
            self.fetched.append(address)
        if tag == "a" and (address := given.get("href")):
            self.links.append(address)


def test_no_page_fetches_anything_from_outside(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        outside = [address for address in Fetched(page).fetched if re.match(r"(https?:)?//", address)]
        assert not outside, f"{page.relative_to(site)} fetches {outside}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"""(@import|url\()\s*["']?(https?:)?//""", sheet.read_text(encoding="utf-8")), sheet.name


def test_every_link_of_the_site_leads_to_a_page(site: Path) -> None:
    for page in sorted(site.rglob("*.html")):
        if page.name == "404.html":
            continue
        for link in Fetched(page).links:
            path = link.partition("#")[0]
            if path and not re.match(r"[a-z]+:", path):
                assert (page.parent / path).exists(), f"{page.relative_to(site)} links to {link}"


def test_the_pages_say_their_language(site: Path) -> None:
    assert '<html lang="ja"' in (site / "ja" / "company.html").read_text(encoding="utf-8")
    assert '<html lang="en"' in (site / "company.html").read_text(encoding="utf-8")


def test_roles_of_docstrings_do_not_show(site: Path) -> None:
    for page in (site / "api").glob("*.html"):
        shown = re.findall(r":(?:math|func|class|meth|mod|data|attr):<", page.read_text(encoding="utf-8"))
        assert not shown, page.name


def test_in_a_browser_nothing_is_asked_of_the_network_and_nothing_is_too_wide(site: Path, tmp_path: Path) -> None:
    with browser.chromium(tmp_path / "profile") as shown:
        for page in SHOWN:
            for width in browser.WIDTHS.values():
                browser.show(shown, site / page, width)
                assert browser.requests(shown) == [], page
                assert browser.console(shown) == [], page
                assert browser.overflow(shown) == 0, f"{page} at {width}"


def test_the_search_works_in_a_file_that_was_opened(site: Path, tmp_path: Path) -> None:
    with browser.chromium(tmp_path / "profile") as shown:
        browser.show(shown, site / "index.html")
        field = shown.find_element("css selector", "input.md-search__input")
        field.click()
        field.send_keys("undecided")
        until = time.monotonic() + 60
        titles: list[str] = []
        while "FAQ" not in titles and time.monotonic() < until:
            time.sleep(0.5)
            titles = [entry.text for entry in shown.find_elements("css selector", ".md-search-result__item h1")]
        assert "FAQ" in titles
        assert browser.requests(shown) == []
