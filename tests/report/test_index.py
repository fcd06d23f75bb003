"""The index page of a sweep: everything is linked, every link leads somewhere, nothing of the user's is markup."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from mmbench import paths
from mmbench.report.reading import read_sweep
from mmbench.report.write import write_report
from mmbench.store import files
from tests.report.conftest import DATASET
from tests.report.constructed import Made, write_sweep
from tests.report.pages import Text
from tests.report.test_contribution import cells


def links(page: Text) -> list[str]:
    return [unquote(link) for link in page.links if not link.startswith(("#", "data:"))]


def test_every_link_leads_to_a_file(sweep_dir: Path) -> None:
    write_report(sweep_dir)
    folder = sweep_dir / "report"
    pages = [Text((folder / name).read_text()) for name in ("report.html", "report.ja.html")]
    page, targets = pages[0], [link for page in pages for link in links(page)]
    assert all((folder / link).exists() for link in targets)
    written = {path.name for path in folder.iterdir()}
    assert written <= set(targets)
    assert {"../manifest.json", "../ledger.jsonl"} <= set(targets)
    assert DATASET in page.everything
    assert all(word in page.everything for word in ("failed", "stale", "missing"))
    assert "python -m mmbench decide FOLDER (FOLDER: the folder of this sweep)" in page.everything
    assert "python -m mmbench decide FOLDER lang=ja (" in pages[1].everything


def test_what_is_not_ours_is_escaped(tmp_path: Path) -> None:
    made = {("<b>d</b>", m, c): one for (_, m, c), one in cells().items()}
    sweep = write_sweep(tmp_path / "s", made)
    write_report(sweep)
    html = (sweep / "report" / "report.html").read_text()
    assert "<b>d</b>" not in html
    assert "&lt;b&gt;d&lt;/b&gt;" in html


def test_a_picture_of_somebody_else_is_no_figure(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", cells())
    write_report(sweep)
    report = sweep / "report"
    for name in ("screenshot.png", "gains-old.png"):
        (report / name).write_bytes(b"a picture")
    write_report(sweep)
    html = (report / "report.html").read_text()
    assert 'href="gains.png"' in html
    assert "screenshot" not in html
    assert "gains-old" not in html
    assert (report / "screenshot.png").read_bytes() == b"a picture"


@pytest.mark.parametrize("made", [{("d", "m", "none"): Made(missing=True)}, {("d", "m", "none"): Made(failure="x")}])
def test_a_sweep_without_a_result_has_a_page(tmp_path: Path, made: dict[tuple[str, str, str], Made]) -> None:
    sweep = write_sweep(tmp_path / "s", made)
    write_report(sweep)
    assert Text((sweep / "report" / "report.html").read_text()).by_id["results-count"] == "1 row"


def test_a_page_links_what_is_in_its_language_and_names_what_is_not(sweep_dir: Path) -> None:
    folder = sweep_dir / "report"
    write_report(sweep_dir)
    for name, lang in (("decision.html", "ja"), ("decision.en.html", "en"), ("checklist.html", "ja")):
        (folder / name).write_text(f'<!doctype html>\n<html lang="{lang}">')
    write_report(sweep_dir)
    english, japanese = (Text((folder / name).read_text()) for name in ("report.html", "report.ja.html"))
    assert "decision.en.html" in english.links
    assert "checklist.html (in Japanese)" in english.everything
    assert "fairness.html (" not in english.everything
    assert {"decision.html", "fairness.ja.html", "verdicts.ja.md", "contribution.ja.md"} <= set(japanese.links)
    assert "submission.tex (英語)" in japanese.everything
    assert "verdicts.csv (" not in japanese.everything


@pytest.mark.thorough
def test_a_decision_about_other_records_is_named(sweep_dir: Path) -> None:
    write_report(sweep_dir)
    report, root = paths.report_dir(sweep_dir), read_sweep(sweep_dir).standing.root
    (report / "decision.html").touch()
    for document, said in (({"root": root}, False), ({"root": "another"}, True), ({}, True)):
        files.write_document(report / "decision.json", document)
        write_report(sweep_dir)
        page = (report / "report.html").read_text()
        assert ("made from other records than these; decide again: python -m mmbench decide FOLDER" in page) is said


def test_the_pages_stay_in_the_language_that_was_asked_for_last(sweep_dir: Path) -> None:
    folder = sweep_dir / "report"
    for asked, expected in (("ja", "ja"), (None, "ja"), ("en", "en"), (None, "en")):
        write_report(sweep_dir, lang=asked)
        other = {"en": "ja", "ja": "en"}[expected]
        for name in ("report", "fairness"):
            plain, beside = (folder / f"{name}.html", folder / f"{name}.{other}.html")
            assert (Text(plain.read_text()).lang, Text(beside.read_text()).lang) == (expected, other)
            assert (beside.name in Text(plain.read_text()).links, plain.name in Text(beside.read_text()).links) == (
                True,
                True,
            )
            assert not (folder / f"{name}.{expected}.html").exists()


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
