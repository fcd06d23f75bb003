"""The index page of a sweep: everything is linked, every link leads somewhere, nothing of the user's is markup."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from mmbench.report.write import write_report
from tests.report.conftest import DATASET
from tests.report.constructed import Made, write_sweep
from tests.report.pages import Text
from tests.report.test_contribution import cells


def links(page: Text) -> list[str]:
    return [unquote(link) for link in page.links if not link.startswith(("#", "data:"))]


def test_every_link_leads_to_a_file(sweep_dir: Path) -> None:
    write_report(sweep_dir)
    folder = sweep_dir / "report"
    page = Text((folder / "report.html").read_text())
    targets = links(page)
    assert all((folder / link).exists() for link in targets)
    written = {path.name for path in folder.iterdir()} - {"report.html"}
    assert written <= set(targets)
    assert {"../manifest.json", "../ledger.jsonl"} <= set(targets)
    assert DATASET in page.everything
    assert all(word in page.everything for word in ("failed", "stale", "missing"))
    assert "python -m mmbench decide multirun/my_table" in page.everything


def test_what_is_not_ours_is_escaped(tmp_path: Path) -> None:
    made = {("<b>d</b>", m, c): one for (_, m, c), one in cells().items()}
    sweep = write_sweep(tmp_path / "s", made)
    write_report(sweep)
    html = (sweep / "report" / "report.html").read_text()
    assert "<b>d</b>" not in html
    assert "&lt;b&gt;d&lt;/b&gt;" in html


@pytest.mark.parametrize("made", [{("d", "m", "none"): Made(missing=True)}, {("d", "m", "none"): Made(failure="x")}])
def test_a_sweep_without_a_result_has_a_page(tmp_path: Path, made: dict[tuple[str, str, str], Made]) -> None:
    sweep = write_sweep(tmp_path / "s", made)
    write_report(sweep)
    assert "1 rows" in Text((sweep / "report" / "report.html").read_text()).everything.replace("1 row ", "1 rows")


def test_a_page_says_in_which_language_it_is(sweep_dir: Path) -> None:
    folder = sweep_dir / "report"
    write_report(sweep_dir)
    for name, lang in (("decision.html", "ja"), ("checklist.html", "en")):
        (folder / name).write_text(f'<!doctype html>\n<html lang="{lang}">')
    write_report(sweep_dir)
    everything = Text((folder / "report.html").read_text()).everything
    assert "decision.html (ja)" in everything
    assert "checklist.html (en)" in everything
    assert "fairness.html (" not in everything


def test_it_can_be_heard(sweep_dir: Path) -> None:
    """Tables have captions, every field a label of its own, and no two links of one name lead to two places."""
    write_report(sweep_dir)
    html = (sweep_dir / "report" / "report.html").read_text()
    assert (
        len(re.findall(r"<table", html))
        == len(re.findall(r"<caption>[^<]+; the buttons in the header sort", html))
        == len(re.findall("data-table=", html))
        > 1
    )
    labels = re.findall(r'<label for="([^"]+)">Filter rows<span class="heard"> of ([^<]+)</span>', html)
    assert [place for place, _ in labels] == re.findall(r'<input id="([^"]+)"', html)
    assert len({title for _, title in labels}) == len(labels)
    places: dict[str, set[str]] = {}
    for address, label, text in re.findall(r'<a href="([^"]+)"(?: aria-label="([^"]+)")?>([^<]*)</a>', html):
        places.setdefault(label or text, set()).add(address)
    assert len(places) > 20
    assert [name for name, places_of_name in places.items() if len(places_of_name) > 1] == []
