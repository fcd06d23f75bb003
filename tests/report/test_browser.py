"""The pages in a real browser: no error, no outside request, no sideways scrolling, everything readable."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmbench.decision import decide
from mmbench.decision.page.checklist import write_checklist
from mmbench.decision.page.phrases import BADGES, BADGES_IF, RAIL_NAMES
from mmbench.decision.page.sections import RAILS
from mmbench.decision.page.speaker import Speaker
from mmbench.decision.sweep_evidence import Read
from mmbench.inference.contribution.guardrails import Rail
from mmbench.messages import Message, Translator
from mmbench.report.comparisons import read_contrasts
from mmbench.report.fairness_checks import read_groups
from mmbench.report.table import SweepTable
from mmbench.report.write import write_report
from tests.decision.cases import economics
from tests.decision.deciding import ANSWERS, DAY, read_shop, write_answer
from tests.report import browser as web
from tests.report.shop import TITLES

pytestmark = [pytest.mark.slow, pytest.mark.charts]


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
    badges = BADGES_IF if answer == "go_if" else BADGES
    assert text(browser, "badge") == Translator(lang)(badges[made.decision.action])
    assert browser.find_element("tag name", "html").get_attribute("lang") == lang
    assert ("6.4%" if answer == "partial" else "8.0%") in text(browser, "range")


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


#: What the first sheet of a printed decision says: head, gain, cost and value, in either language.
SHEET = {
    "en": ("What you would gain", "What it costs", "What it is worth", "Which input moves the result most"),
    "ja": ("どれだけ良くなるか", "いくらかかるか", "損益の見込み", "どの項目が損益を最も大きく動かすか"),
}
#: What stands on the pages after it.
ANNEX = {"en": "Where the images help", "ja": "画像はどこで効くか"}


@pytest.mark.parametrize("lang", ["en", "ja"])
@pytest.mark.parametrize("answer", ["go", "hold", "barred_go", "no_go", "untrusted"])
def test_the_decision_prints_on_one_sheet_and_no_page_is_empty(
    browser: Any, shop: tuple[SweepTable, Read], tmp_path: Path, answer: str, lang: str
) -> None:
    made = write_answer(*shop, answer, lang)
    web.paper(browser, made.file)
    assert web.overflow(browser) == 0
    web.show(browser, made.file)
    badge = text(browser, "badge")
    first, *rest = web.printed(browser, tmp_path)
    assert badge in first
    for part in SHEET[lang][: 2 if answer == "untrusted" else 4]:
        assert part in first, part
    assert 2 <= len(rest) <= 4
    assert ANNEX[lang] in rest[0] if answer != "untrusted" else ANNEX[lang] in first + rest[0]
    # The last page ends with what the page was made of; the others hold a good part of a page.
    assert all(len(page.split()) > 60 or len(page) > 1200 for page in rest[:-1])
    assert made.decision.trusted or "decision.json" in rest[-1]
    for gate in made.decision.barred:
        assert gate.name in first


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_the_verdict_is_seen_on_a_phone_and_on_paper(browser: Any, shop_sweep: Path, tmp_path: Path, lang: str) -> None:
    table = write_report(shop_sweep, lang=lang)
    groups = read_groups(table, shop_sweep)
    words = [Translator(lang)(one.word) for one in read_contrasts(table, groups)]
    file = shop_sweep / "report" / "report.html"
    web.show(browser, file, web.WIDTHS["phone"], web.PHONE_HEIGHT)
    rows = browser.find_elements("css selector", "#verdicts tbody tr")
    cells = [row.find_elements("css selector", "td")[3] for row in rows]
    assert [cell.text for cell in cells] == words
    assert all(cell.rect["x"] + cell.rect["width"] <= web.WIDTHS["phone"] for cell in cells)
    assert cells[0].rect["y"] + cells[0].rect["height"] <= web.PHONE_HEIGHT
    images = browser.find_elements("css selector", "#figures img")
    assert images
    assert all(image.get_property("naturalWidth") > 0 for image in images)
    assert all(image.rect["x"] + image.rect["width"] <= web.WIDTHS["phone"] for image in images)
    web.paper(browser, file)
    assert web.overflow(browser) == 0
    images = browser.find_elements("css selector", "#figures img")
    assert all(image.rect["x"] + image.rect["width"] <= web.A4_TEXT for image in images)
    pages = web.printed(browser, tmp_path)
    assert all(words.count(word) <= pages[0].count(word) for word in set(words))
    assert all(page.strip() for page in pages)


@pytest.mark.parametrize("name", ["decision", "checklist", "report", "fairness"])
def test_each_page_leads_to_itself_in_the_other_language(
    browser: Any, shop: tuple[SweepTable, Read], shop_sweep: Path, name: str
) -> None:
    made = write_answer(*shop, "go", "ja")
    s = Speaker.of("ja", shop[1].evidence, made.economics, made.decision)
    write_checklist(made.file.parent, s, "ja", DAY, Message("records"))
    write_report(shop_sweep, lang="ja")
    web.show(browser, made.file.with_name(f"{name}.html"))
    for lang in ("ja", "en", "ja"):
        assert browser.find_element("tag name", "html").get_attribute("lang") == lang
        (link,) = browser.find_elements("css selector", ".languages a")
        link.click()
    assert web.console(browser) == []


def test_index_page_sorts_and_filters_with_the_keyboard(browser: Any, shop_sweep: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    write_report(shop_sweep, lang="en")
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
    write_checklist(tmp_path, speaker, lang, DAY, Message("records"), lambda s: rails)
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
