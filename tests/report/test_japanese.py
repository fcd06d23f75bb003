"""Whatever a report writes in Japanese is Japanese, says the same numbers as the English one, and lies beside it."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from mmbench.inference.verdicts import WORDS
from mmbench.messages import Message, Translator
from mmbench.report import charts
from mmbench.report.table import CONDITIONS
from mmbench.report.write import write_report
from tests.report.pages import Text, english_sentences, visible
from tests.report.shop import vouched

PAGES = ("report", "fairness")
TEXTS = ("table.{}md", "table.{}txt", "verdicts.{}md", "benchmark.{}md", "contribution.{}md", "submission.{}md",
         "fairness.{}md")  # fmt: skip
#: Models and conditions, which have the same names in every language.
NAMES = ("itemknn", "hybridknn", *CONDITIONS)
JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def report(shop_sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a sweep that was asked for in English."""
    sweep = Path(shutil.copytree(shop_sweep, tmp_path_factory.mktemp("japanese") / "shop"))
    write_report(sweep, trust=vouched(shop_sweep), lang="en")
    return sweep / "report"


@pytest.mark.thorough
@pytest.mark.parametrize("name", [*(f"{page}.{{}}html" for page in PAGES), *TEXTS])
def test_a_japanese_page_holds_no_english_sentence(report: Path, name: str) -> None:
    english, japanese = (visible((report / name.format(lang)).read_text()) for lang in ("", "ja."))
    assert english_sentences(japanese, *NAMES) == []
    # The same of the English page would be found, and is whole: the search can fail.
    assert len(english_sentences(english)) > 3
    assert not JAPANESE.search(english.replace("日本語", ""))
    assert len(JAPANESE.findall(japanese)) > 100


@pytest.mark.parametrize("name", [*(f"{page}.{{}}html" for page in PAGES), *TEXTS])
def test_both_languages_say_the_same_numbers(report: Path, name: str) -> None:
    def numbers(text: str) -> Counter[str]:
        return Counter(re.findall(r"(?<![A-Za-z0-9_.])[+-]?\d+\.\d+", visible(text)))

    english, japanese = (numbers((report / name.format(lang)).read_text()) for lang in ("", "ja."))
    assert english == japanese
    assert english


def test_verdicts_and_the_reasons_of_the_checks_are_translated(report: Path) -> None:
    page = Text((report / "report.ja.html").read_text())
    assert page.lang == "ja"
    said = {str(word): Translator("ja")(word) for word in WORDS.values()}
    assert said["undecided"] in page.by_id["verdicts"]
    assert not any(word in page.by_id["verdicts"] for word in said)
    fairness = (report / "fairness.ja.md").read_text()
    assert "全条件で同じ学習用・検証用データ" in fairness


def test_the_figures_on_a_japanese_page_are_labelled_in_japanese(report: Path) -> None:
    for file in report.glob("*.ja.svg"):
        texts = re.findall(r"<text[^>]*>([^<]*)</text>", file.read_text())
        assert english_sentences("\n".join(texts)) == [], file
    forest = (report / "forest-fused_vs_text.ja.svg").read_text()
    assert "text に対する fused の改善率(NDCG@20、調整後)%" in forest
    assert "判定保留" in forest
    assert (report / "forest-fused_vs_text.svg").read_text().count("<text") == forest.count("<text")


def test_labels_of_a_chart_are_replaced_whole_and_names_are_not() -> None:
    drawn = "<text>trials</text><text>trials of mine</text><text>test &lt;x&gt;</text>"
    label = Message("test {metric}", metric="<x>")
    assert charts.translated(drawn, Translator("ja"), [label]) == (
        "<text>試行回数</text><text>trials of mine</text><text>評価用データの &lt;x&gt;</text>"
    )
    assert charts.translated(drawn, Translator(), [label]) == drawn
