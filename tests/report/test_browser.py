"""The pages in a real browser: no error, no outside request, no sideways scrolling, everything readable."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmbench.decision import Action, decide
from mmbench.decision.page.checklist import write_checklist
from mmbench.decision.page.sections import RAIL_NAMES, RAILS
from mmbench.decision.page.speaker import BADGES, Speaker
from mmbench.decision.sweep_evidence import Read
from mmbench.inference.contribution.guardrails import Rail
from mmbench.messages import Message, Translator
from mmbench.report.table import SweepTable
from mmbench.report.write import write_report
from tests.decision.cases import economics
from tests.decision.deciding import ANSWERS, DAY, read_shop, write_answer
from tests.report import browser as web
from tests.report.shop import TITLES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with web.chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def shop(shop_sweep: Path) -> tuple[SweepTable, Read]:
    return read_shop(shop_sweep)


def text(browser: Any, name: str) -> str:
    return str(browser.find_element("id", name).text)


@pytest.mark.parametrize("lang", ["en", "ja"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_decision_page(browser: Any, shop: tuple[SweepTable, Read], answer: str, lang: str) -> None:
    made = write_answer(*shop, answer, lang)
    web.console(browser)
    web.requests(browser)
    for width in web.WIDTHS.values():
        for scheme in ("light", "dark"):
            web.show(browser, made.file, width, scheme=scheme)
            assert web.overflow(browser) == 0
    assert web.console(browser) == []
    assert web.requests(browser) == []
    name = {"go": "go", "no_go": "no_go", "money": "no_go"}.get(answer, "hold")
    assert text(browser, "badge") == Translator(lang)(BADGES[Action[name.upper()]])
    assert browser.find_element("tag name", "html").get_attribute("lang") == lang
    assert "8.0%" in text(browser, "range")


def test_the_answer_is_on_the_first_screen_of_a_phone(browser: Any, shop: tuple[SweepTable, Read]) -> None:
    for lang in ("en", "ja"):
        for answer in ("go", "hold", "no_go", "untrusted"):
            web.show(browser, write_answer(*shop, answer, lang).file, 390, 844)
            box = browser.find_element("id", "next").rect
            assert box["y"] + box["height"] <= 844, (lang, answer)


def test_interval_and_break_even_are_drawn_where_they_are(browser: Any, shop: tuple[SweepTable, Read]) -> None:
    web.show(browser, write_answer(*shop, "go", "en").file)
    drawn = browser.execute_script(
        "const box = q => document.querySelector('#gain svg .' + q + ' :not(defs, defs *, g)').getBoundingClientRect();"
        "const [range, dot, need] = ['range', 'mean', 'need'].map(box);"
        "return [range.left, dot.left + dot.width / 2, range.right, need.left + need.width / 2]"
    )
    lo, dot, hi, need = drawn
    assert need < lo < dot < hi
    # 25 %, 1.962 standard errors of 1 % each way, break-even 8 %
    assert (dot - need) / (hi - lo) == pytest.approx((0.25 - 0.08) / (2 * 0.01962), rel=0.01)


def test_titles_are_text(browser: Any, shop: tuple[SweepTable, Read]) -> None:
    web.show(browser, write_answer(*shop, "go", "en").file)
    assert browser.execute_script("return document.querySelectorAll('script, #examples b').length") == 0
    shown = [element.text for element in browser.find_elements("css selector", "#examples bdi")]
    assert shown
    assert all(any(line.startswith(title[:12]) for title in TITLES) for line in shown)


def test_it_prints_on_a4_without_losing_anything(browser: Any, shop: tuple[SweepTable, Read]) -> None:
    web.show(browser, write_answer(*shop, "go", "ja").file)
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    assert len(printed["data"]) > 10_000


def test_index_page_sorts_and_filters_with_the_keyboard(browser: Any, shop_sweep: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    write_report(shop_sweep)
    file = shop_sweep / "report" / "report.html"
    web.console(browser)
    web.requests(browser)
    for width in web.WIDTHS.values():
        for scheme in ("light", "dark"):
            web.show(browser, file, width, scheme=scheme)
            assert web.overflow(browser) == 0

    def column(place: int) -> list[str]:
        cells = browser.find_elements("css selector", f"#results tbody tr:not([hidden]) td:nth-child({place})")
        return [cell.text for cell in cells]

    heads = browser.find_elements("css selector", "#results th button")
    for order, press in (("ascending", Keys.ENTER), ("descending", Keys.SPACE)):
        heads[4].send_keys(press)
        head = browser.find_element("css selector", "#results th:nth-child(5)")
        assert head.get_attribute("aria-sort") == order
        numbers = [float(text.split(" ")[0]) for text in column(5)]
        assert numbers == sorted(numbers, reverse=order == "descending")
    heads[1].send_keys(Keys.ENTER)
    assert column(2) == sorted(column(2))
    box = browser.find_element("id", "results-filter")
    box.send_keys("hybridknn TEXT")
    assert set(column(3)) == {"text", "text_shuffled_image"}
    assert text(browser, "results-count") == "2 rows"
    assert web.console(browser) == []
    assert web.requests(browser) == []


@pytest.mark.parametrize("lang", ["en", "ja"])
@pytest.mark.parametrize("answer", ["go", "untrusted"])
def test_checklist_is_one_page(
    browser: Any, shop: tuple[SweepTable, Read], tmp_path: Path, answer: str, lang: str
) -> None:
    measured = ANSWERS[answer]
    setting = economics()
    speaker = Speaker.of(lang, measured, setting, decide(measured, setting))
    words = [(Rail.HOLDS, "holds"), (Rail.HOLDS, "holds"), (Rail.OPEN, "not-shown"), (Rail.BROKEN, "broken")]
    rails = [
        {"name": speaker(name), "word": speaker(RAILS[word]), "status": status, "change": "+1.2% (-10.3% … +12.3%)"}
        for name, (word, status) in zip(RAIL_NAMES.values(), words, strict=True)
    ]
    write_checklist(tmp_path, speaker, lang, DAY, Message("records"), rails)
    web.console(browser)
    web.requests(browser)
    for width in web.WIDTHS.values():
        web.show(browser, tmp_path / "checklist.html", width)
        assert web.overflow(browser) == 0
    assert web.console(browser) == []
    assert web.requests(browser) == []
    boxes = browser.find_elements("css selector", "li b")
    passed = sum(gate.status == "pass" for gate in measured.gates) + 1 + 2  # the rule computes the power gate
    assert [box.text for box in boxes].count("\u2611") == passed
    assert len(boxes) == 9 + 4 + 14  # a guard-rail stands for one of the lines for people
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    assert base64.b64decode(printed["data"]).count(b"/Type /Page\n") == 1
