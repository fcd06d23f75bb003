"""The decision page and its record, from a sweep that ran, for every answer in both languages."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from mmbench import paths
from mmbench.cli.economics_file import load_economics
from mmbench.decision import Action, Gate, Status, as_record, decide, gates, read_economics, replay
from mmbench.decision import sweep_evidence as reading
from mmbench.decision.economics import USUAL_GO, USUAL_NO_GO, with_counts
from mmbench.decision.evidence import Bars, Part
from mmbench.decision.page import checklist, phrases, sections
from mmbench.decision.page.examples import Pictures, examples_of, titles
from mmbench.decision.page.phrases import ACTIONS, BADGES, BADGES_IF, INPUT_NAMES, RAIL_NAMES
from mmbench.decision.page.sections import guard_rails, write_decision
from mmbench.decision.page.speaker import Speaker
from mmbench.decision.rule import Why
from mmbench.decision.sweep_evidence import Read, read_evidence
from mmbench.decision.value import of_part
from mmbench.evaluation import metrics
from mmbench.inference.best_of_n import SeedNoise, Tuning
from mmbench.inference.contribution.guardrails import Rail, rail
from mmbench.inference.gains import NoWord
from mmbench.inference.intervals import CrossedInterval, Interval
from mmbench.inference.tuned_gain import tuned_gain
from mmbench.inference.verdicts import Verdict
from mmbench.messages import Message, Translator
from mmbench.report.catalogue import Catalogue
from mmbench.report.contribution_facts import AMONG_NEW, FOUND_OF_1000, NEW_ITEMS, REDUNDANCY, VALUES
from mmbench.report.control_conditions import without
from mmbench.report.facts import Fact
from mmbench.report.list_facts import GUARDRAILS
from mmbench.report.reading import read_sweep
from mmbench.report.table import SweepTable
from mmbench.report.templating import Pages
from mmbench.scheduling.trust import Trust
from mmbench.store import files, records
from mmbench.store.schema import Manifest, Stage
from tests.decision.cases import BREAKEVEN, PART, default_file, economics, evidence
from tests.decision.deciding import ANSWERS, DAY, read_shop, write_answer
from tests.report.constructed import Made, write_earlier_look, write_sweep
from tests.report.pages import Text, english_sentences, visible
from tests.report.shop import TITLES
from tests.report.test_contribution import STATES, USERS, cells, hit_users


@pytest.fixture(scope="module")
def shop(shop_sweep: Path) -> tuple[SweepTable, Read]:
    """A copy of the sweep, because pages are written into it; beside it, since its data are vouched for by place."""
    return read_shop(Path(shutil.copytree(shop_sweep, shop_sweep.parents[1] / "pages" / "shop")))


#: Translations of "images do not help", in any form that a page could slip into.
NEVER = (
    r"images (do not|don't|cannot) help|images are (useless|not worth)|no effect of images|"
    r"画像は(役に立たない|効果がない|不要)"
)


@pytest.mark.parametrize("lang", ["en", "ja"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_the_first_screen_says_what_a_manager_needs(shop: tuple[SweepTable, Read], answer: str, lang: str) -> None:
    made = write_answer(*shop, answer, lang)
    page, translator = Text(made.file.read_text()), Translator(lang)
    assert page.lang == lang
    first = page.by_id["answer"]
    names = {"go": "go", "go_if": "go", "partial": "partial", "no_go": "no_go", "money": "no_go"}
    name = names.get(answer, "hold")
    action = Action[name.upper()]
    assert page.by_id["badge"] == translator((BADGES_IF if answer == "go_if" else BADGES)[action])
    part = {"en": "category Lamps", "ja": "カテゴリー Lamps"}[lang]
    assert page.by_id["action"] == translator(Message(ACTIONS[action], part=part))
    word = {
        "en": r"[Ll]ikely|Unclear|With images for all items",
        "ja": "可能性|どちらとも言えない|すべての商品に画像を使う場合",
    }[lang]
    assert re.search(word, page.by_id["sure"])
    assert not re.search("通り(以上|未満)?通り", page.by_id["sure"]), "a counter is said once"
    need, once = ("6.4%", "€42,000") if answer == "partial" else ("8.0%", "€60,000")
    assert re.search(f"break-even line {need}|採算ライン {need}", page.by_id["range"])
    assert once in page.by_id["cost"]
    assert page.by_id["next"].strip()
    assert all(page.by_id[part] in first for part in ("badge", "action", "sure", "range", "cost", "next"))
    assert not re.search(NEVER, page.everything)
    if name == "hold":
        assert not re.search("NO-GO|見送り推奨", first)
    if answer in ("untrusted", "one_seed", "too_wide", "nothing"):
        sentence = {"en": "does not mean that images have no effect", "ja": "画像に効果がないという意味ではありません"}
        assert sentence[lang] in page.by_id["sentence"]
        assert "value" not in page.by_id
    ranged = {"en": "the bar its range", "ja": "線はありそうな範囲"}[lang]
    assert (ranged in page.everything) == (answer not in ("one_seed", "too_wide", "nothing")), "no bar, no word of it"
    # The reader of one sentence knows data, models, metric, and, where there is a gain, the effort.
    known = ["shop", "hybridknn, itemknn", "NDCG@20", *(["10", "30"] if answer != "nothing" else [])]
    assert all(part in page.by_id["measured"] for part in known)
    # The same page in the other language lies beside it, and each leads to the other.
    other = {"en": "ja", "ja": "en"}[lang]
    beside = made.file.with_name(f"decision.{other}.html")
    pages = {lang: made.file.read_text(), other: beside.read_text()}
    translation = Text(pages[other])
    assert (translation.lang, beside.name in page.links, made.file.name in translation.links) == (other, True, True)
    assert translation.by_id["badge"] == Translator(other)((BADGES_IF if answer == "go_if" else BADGES)[action])
    titles = [example.title for example in examples_of(*_parts(shop))]
    assert english_sentences(visible(pages["ja"]), *titles) == []
    assert len(english_sentences(visible(pages["en"]))) > 10
    # Gates in the way of an answer are named where everybody looks first.
    barred = [gate.name for gate in made.decision.barred]
    named = re.findall(r"G\d", page.by_id.get("barred", ""))
    assert named == barred


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_a_planted_world_says_so(shop: tuple[SweepTable, Read], lang: str) -> None:
    table, read = shop
    for dataset, says in (("planted-complementary", True), ("shop", False)):
        read = replace(read, evidence=replace(read.evidence, dataset=dataset))
        made = write_answer(table, read, "hold", lang)
        speaker = Speaker.of(lang, read.evidence, made.economics, made.decision)
        for page in (made.file.read_text(), checklist.as_html(speaker, Pages(lang, lang), DAY, Message("records"))):
            assert ("PLANTED WORLD, MADE-UP DATA" in page) is says


def test_a_planted_world_says_so_under_any_name(tmp_path: Path) -> None:
    lines = ["shop: 2 users", "PLANTED WORLD, MADE-UP DATA"]
    made = {key: replace(one, cell={**one.cell, "data": lines}) for key, one in controlled(cells()).items()}
    for name, whole, says in (("made", made, True), ("real", controlled(cells()), False)):
        table = read_sweep(write_sweep(tmp_path / name, whole))
        assert ("MADE-UP" in table.title) is says
        measured, setting = read_evidence(table).evidence, economics()
        decided = decide(measured, setting)
        assert Speaker.of("en", measured, setting, decided).made_up is says
        record = as_record(measured, setting, decided)
        assert record["inputs"]["evidence"].get("made_up", False) is says
        assert replay(record).action == decided.action


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_what_the_company_gave_stands_as_it_was_given(tmp_path: Path, lang: str) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "currency: JPY\nvalue.order_value: 12450\nvalue.margin: 0.125\nvalue.conversion: 0.0004\ncost.image: 11600.5\n"
        "value.recommendations_year: 20123456789\ntransfer: 0.375\ndiscount: 0.0375\ncost.engineers: 0.125\n"
        "items.with_images: {low: 0.115, likely: 0.12, high: 0.125}\n"
    )
    measured, setting = evidence(0.25), load_economics(str(own))
    s = Speaker.of(lang, measured, setting, decide(measured, setting))
    rows = {row["name"]: row for row in sections._inputs(s)}
    shown = {key: rows[s(INPUT_NAMES[key])]["likely"] for key in (*setting.inputs, "discount")}
    yen = {"en": ("¥12,450", "¥11,600.5"), "ja": ("12,450円", "11,600.5円")}[lang]
    assert (shown["value.order_value"], shown["cost.image"]) == yen
    assert [shown[f"value.{name}"] for name in ("margin", "conversion")] == ["12.5%", "0.04%"]
    assert shown["value.recommendations_year"].startswith("20,123,456,789")
    assert (shown["transfer"], shown["discount"], shown["cost.engineers"][:5]) == ("0.375", "3.75%", "0.125")
    assert rows[s(INPUT_NAMES["items.with_images"])]["range"] == {"en": "11.5% to 12.5%", "ja": "11.5%〜12.5%"}[lang]
    said = " ".join([*sections._flips(s), sections._price(s)])
    assert "37.5%" in said
    assert yen[1] in said


@pytest.mark.parametrize(
    ("own", "asked"),
    [
        ({}, ""),
        ({"go": 0.9, "no_go": 0.1}, ""),
        ({"go": 0.51}, "GO is asked for from a probability of 51% on; the default is 80%."),
        (
            {"go": 0.795, "no_go": 0.3},
            "GO is asked for from a probability of 79.5% on; the default is 80%. "
            "NO-GO is asked for up to a probability of 30%; the default is 20%.",
        ),
    ],
)
def test_thresholds_stand_among_the_inputs_and_easier_ones_beside_the_answer(
    shop: tuple[SweepTable, Read], own: dict[str, float], asked: str
) -> None:
    """One that was chosen when the result was known would be seen nowhere else."""
    made = write_answer(*shop, "hold", "en", **own)
    s = Speaker.of("en", evidence(0.25), made.economics, made.decision)
    assert sections.asked(s) == asked
    assert Text(made.file.read_text()).by_id["sure"].endswith(asked)
    rows = {row["name"]: (row["likely"], row["source"]) for row in sections._inputs(s)}
    for name, usual in (("go", "80%"), ("no_go", "20%")):
        source = "given" if name in own else "assumed"
        assert rows[s(INPUT_NAMES[name])] == (s.given_share(own[name]) if name in own else usual, source)


def test_the_packages_thresholds_are_the_usual_ones() -> None:
    for name in ("default", "yen"):
        packaged = load_economics(name)
        assert (packaged.go, packaged.no_go) == (USUAL_GO, USUAL_NO_GO)


@pytest.mark.parametrize(
    ("mean", "se", "word"),
    [
        (0.01, 0.039, "neither a difference nor its absence is shown"),  # 90 % range below break-even, 95 % range not
        (0.01, 0.030, "any difference is smaller than break-even"),
        (-0.042, 0.0212, "neither a difference nor its absence is shown"),
        (-0.045, 0.0212, "a loss is shown; as measured it is less than break-even"),
        (-0.040, 0.0180, "a loss is shown, and it is smaller than break-even"),
    ],
)
def test_no_word_says_more_than_the_range_beside_it(mean: float, se: float, word: str) -> None:
    measured, setting = evidence(mean, se), economics()
    s = Speaker.of("en", measured, setting, decide(measured, setting))
    assert s.decision.word is Verdict.EQUIVALENT
    assert s._word(s.decision.word) == word


@pytest.mark.parametrize(("lang", "within"), [("en", "within 1 year in"), ("ja", "1年以内に")])
def test_a_horizon_of_one_year_is_no_plural(lang: str, within: str) -> None:
    measured, setting = evidence(0.0), economics(years=1)
    s = Speaker.of(lang, measured, setting, decide(measured, setting))
    assert within in s.sure()


def test_a_step_takes_as_many_days_in_the_table_as_in_the_sentence() -> None:
    measured, setting = evidence(0.1, 0.05), economics(steps={"users": {"cost": 400, "days": 2.5, "amount": 4}})
    s = Speaker.of("en", measured, setting, decide(measured, setting))
    (users,) = (row for row in sections._steps(s)["rows"] if row["name"] == s(phrases.STEPS["users"]))
    assert users["days"] == s.translator.number(3)


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_the_checklist_of_a_part_asks_for_images_of_that_part(lang: str) -> None:
    whole, setting = evidence(0.3), economics()
    for measured in (whole, replace(whole, part=PART)):
        s = Speaker.of(lang, measured, setting, decide(measured, setting))
        page = Text(checklist.as_html(s, Pages(lang, lang), DAY, Message("records"))).everything
        asked = {"target": "100%", "part": s.part_name}
        assert (s(Message(checklist.TARGET, **asked)) in page) is (measured.part is None)
        assert (s(Message(checklist.TARGET_OF_PART, **asked)) in page) is (measured.part is not None)


def test_what_would_turn_it_does_not_look_like_what_it_is_now() -> None:
    measured, setting = evidence(BREAKEVEN + 0.0002, 0.028), economics()
    s = Speaker.of("en", measured, setting, decide(measured, setting))
    assert "If 49.9% of the offline gain reached sales (now: 50%)." in sections._flips(s)


@pytest.mark.parametrize(
    ("share", "shown"), [(1.5e-4, "0.015%"), (3e-4, "0.03%"), (0.003, "0.3%"), (0.0034, "0.34%"), (0.034, "3.4%")]
)
def test_a_very_small_share_that_would_turn_it_is_not_none(share: float, shown: str) -> None:
    measured, setting = evidence(BREAKEVEN + 0.02, 0.028), economics()
    decided = decide(measured, setting)
    assert decided.flip is not None
    s = Speaker.of("en", measured, setting, replace(decided, flip=replace(decided.flip, transfer=share)))
    assert f"If {shown} of the offline gain reached sales (now: 50%)." in sections._flips(s)


#: What a metric is called, by language: in a sentence, and in the list of words.
FAMILIES = {
    ("recall@10", "en"): ("the share of purchases that are among the first 10", "Recall@10: share of a customer's"),
    ("recall@10", "ja"): ("買われた商品のうち上位10件に入った割合", "Recall@10: 評価用データで"),
    ("ndcg@20", "en"): ("the quality of the order", "NDCG@20: quality of the order of the first 20"),
    ("ndcg@20", "ja"): ("並び順の良さ", "NDCG@20: 上位20件の並び順の良さ"),
    ("mine.first@5", "en"): ("the chosen metric", ""),
    ("mine.first@5", "ja"): ("選んだ指標", ""),
}


@pytest.mark.parametrize(("metric", "lang"), FAMILIES)
def test_a_metric_is_called_what_it_measures(shop: tuple[SweepTable, Read], metric: str, lang: str) -> None:
    table, read = shop
    measured = replace(evidence(0.25), metric=metric, per_thousand=None)
    setting = economics()
    decided = decide(measured, setting)
    s = Speaker.of(lang, measured, setting, decided)
    quality, word = FAMILIES[metric, lang]
    assert quality in s.sentence()
    assert s.explained.startswith(word)
    write_decision(table, replace(read, evidence=measured), setting, decided, lang, day=DAY)
    page = Text((table.folder / "report" / "decision.html").read_text())
    assert quality in page.by_id["gain"]
    assert s.explained in page.by_id["glossary"]
    order = {"en": "quality of the order", "ja": "並び順"}[lang]
    assert (order in page.everything) is metric.startswith("ndcg")


@pytest.mark.parametrize(
    ("lang", "bar", "named", "word"),
    [
        ("en", "its range (97.5 % interval over trials", "to +29.4% at 97.5 %", "Range of the gain: 97.5 % interval"),
        ("ja", "ばらつきを含む97.5%信頼区間)", "〜+29.4%(97.5%信頼区間)", "改善幅の範囲: 97.5%信頼区間"),
    ],
)
def test_at_a_later_look_the_page_has_the_range_of_its_word(
    shop: tuple[SweepTable, Read], lang: str, bar: str, named: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, read = shop
    measured, setting, drawn = replace(evidence(0.134, 0.0665), level=0.975), economics(), []
    hero = sections.drawings.hero
    monkeypatch.setattr(sections.drawings, "hero", lambda gain, *rest: drawn.append(gain) or hero(gain, *rest))
    write_decision(table, replace(read, evidence=measured), setting, decide(measured, setting), lang, day=DAY)
    html = (table.folder / "report" / "decision.html").read_text()
    page = Text(html)
    assert bar in page.by_id["gain"]
    assert named in page.by_id["range"]
    assert named in page.by_id["sentence"]
    assert html.count(named) > page.everything.count(named), "the chart is read aloud"
    assert word in page.by_id["glossary"]
    assert measured.gain is not None
    assert drawn == [measured.gain.at(0.975)] * 2  # once for each language


def with_rails(read: Read, *rails: tuple[str, float, float, float]) -> Read:
    """The same records with these guard-rails alone: part, change, lower and upper bound."""
    others = [fact for fact in read.facts.facts if fact.measure != GUARDRAILS]
    made = [
        Fact(
            GUARDRAILS,
            read.evidence.contrast,
            f"relative change of {part}",
            value,
            Interval(value, lo, hi, 0.9),
            word=rail(Interval(value, lo, hi, 0.9)),
        )
        for part, value, lo, hi in rails
    ]
    return replace(read, facts=replace(read.facts, facts=[*others, *made]))


@pytest.mark.parametrize(
    "lang, worse, open_, unmeasured",
    [("en", "✗ worse", "? not shown", "– not measured"), ("ja", "✗ 悪化", "? まだ判断できない", "– 測定なし")],
)
def test_items_without_an_image_have_a_guard_rail_on_page_and_checklist(
    shop: tuple[SweepTable, Read], lang: str, worse: str, open_: str, unmeasured: str
) -> None:
    table, read = shop
    read = with_rails(
        read,
        ("coverage", 0.02, -0.01, 0.05),
        ("tail share", -0.02, -0.06, 0.02),
        ("recall of items without image", -0.4, -0.5, -0.3),
    )
    made = write_answer(table, read, "go", lang)
    shown, speaker = Text(made.file.read_text()), Speaker.of(lang, read.evidence, made.economics, made.decision)
    rails = {rail["name"]: rail for rail in guard_rails(speaker, read)}
    names = {part: speaker(name) for part, name in RAIL_NAMES.items()}
    lacking = rails[names["recall of items without image"]]
    assert lacking["word"] == worse
    changes = {"en": "{} ({} to {}, 90 % interval)", "ja": "{}({}〜{}、90%信頼区間)"}
    assert lacking["change"] == changes[lang].format(*map(speaker.gain, (-0.4, -0.5, -0.3)))
    assert rails[names["tail share"]]["word"] == open_
    assert rails[names["cold recall"]]["word"] == unmeasured
    assert all(name in shown.by_id["rails"] for name in (*names.values(), worse, open_, unmeasured))
    by_hand = speaker(Message(checklist.WITHOUT_IMAGE))
    filled = Text(
        checklist.as_html(speaker, Pages(lang, lang), DAY, Message("records"), lambda s: list(rails.values()))
    ).everything
    assert all(part in filled for part in (names["recall of items without image"], worse, lacking["change"]))
    assert names["cold recall"] not in filled
    assert by_hand not in filled
    # Where all items have images now, whoever adds some without one has to look.
    others = [rail for rail in rails.values() if rail is not lacking]
    assert (
        by_hand
        in Text(checklist.as_html(speaker, Pages(lang, lang), DAY, Message("records"), lambda s: others)).everything
    )


def test_items_without_an_image_that_lose_bar_go(shop: tuple[SweepTable, Read]) -> None:
    _, read = shop
    holding = [(part, 0.0, -0.01, 0.01) for part in ("coverage", "tail share", "cold recall")]
    lacking = "recall of items without image"
    for rails, status, times in (
        ([*holding, (lacking, 0.0, -0.04, 0.04)], Status.PASS, None),
        ([*holding, (lacking, -0.02, -0.08, 0.04)], Status.UNKNOWN, pytest.approx(4)),
        ([("coverage", 0.0, -0.1, 0.1), (lacking, -0.02, -0.11, 0.07)], Status.UNKNOWN, pytest.approx(9)),
        ([*holding, (lacking, -0.06, -0.1, -0.02)], Status.UNKNOWN, None),
        ([*holding, (lacking, -0.1, -0.15, -0.06)], Status.FAIL, None),
    ):
        gate = gates._guardrails(with_rails(read, *rails).facts, read.catalogue)
        assert (gate.status, gate.value) == (status, times)
        assert lacking in gate.why
        assert gate.bars is Bars.GO


def test_a_guard_rail_without_bounds_is_not_shown_and_no_number_of_users_opens_it(
    shop: tuple[SweepTable, Read],
) -> None:
    table, read = shop
    told = with_rails(read, ("coverage", 0.0, -0.01, 0.01), ("tail share", 0.0, -0.1, 0.1))
    lost = Fact(GUARDRAILS, read.evidence.contrast, "relative change of cold recall", -1.0, word=Rail.OPEN)
    told = replace(told, facts=replace(told.facts, facts=[*told.facts.facts, lost]))
    gate = gates._guardrails(told.facts, read.catalogue)
    assert (gate.status, gate.value) == (Status.UNKNOWN, None)
    made = write_answer(table, told, "go", "en")
    speaker = Speaker.of("en", read.evidence, made.economics, made.decision)
    row = next(rail for rail in guard_rails(speaker, told) if rail["name"] == speaker(RAIL_NAMES["cold recall"]))
    assert (row["change"], row["word"], row["status"]) == (speaker.gain(-1.0), "? not shown", "not-shown")


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_record_beside_the_page_can_be_replayed(shop: tuple[SweepTable, Read], answer: str) -> None:
    made = write_answer(*shop, answer, "en")
    record = files.read_document(made.file.with_suffix(".json"))
    assert replay(record) == made.decision
    assert record["result"]["action"] == made.decision.action
    assert not [path for path in made.file.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("lang", "shown"),
    [
        (
            "ja",
            ("5,000万回", "20,000点", "4,000点", "0.2人", "150円", "0.0015円", "40万円", "600万円", "5,000円", "4円"),
        ),
        ("en", ("50,000,000", "20,000", "4,000", "0.2", "¥150", "¥0.0015", "¥400,000", "¥6,000,000", "¥5,000", "¥4")),
    ],
)
def test_inputs_are_written_with_their_units(lang: str, shown: tuple[str, ...]) -> None:
    yen, measured = load_economics("yen"), evidence(0.25)
    speaker = Speaker.of(lang, measured, yen, decide(measured, yen))
    names = ("value.recommendations_year", "items.stock", "items.new_year", "cost.engineers", "cost.image",
             "cost.encoding", "cost.serving_year", "cost.engineering_once", "value.order_value",
             "cost.gigabyte_month")  # fmt: skip
    assert tuple(speaker.input(name, yen.inputs[name].likely) for name in names) == shown


@pytest.mark.parametrize(("lang", "shown"), [("en", ["7", "6", "0.04"]), ("ja", ["7点", "6点", "0.04点"])])
def test_items_of_a_part_are_counted_whole(lang: str, shown: list[str]) -> None:
    """Their number is a share of all: 400 x (7 / 400) is not quite 7."""
    counted = with_counts(read_economics({}, default_file()), {"items.stock": 400, "items.new_year": 353})
    part = Part("category:Lamps", 7, 7 / 400, 0.0175)
    measured = replace(evidence(0.25), part=part)
    setting = of_part(counted, part)
    speaker = Speaker.of(lang, measured, setting, decide(measured, counted))
    counts = (setting.inputs["items.stock"].likely, setting.inputs["items.new_year"].likely, 0.04)
    assert counts[0] != 7
    assert [speaker.input("items.stock", count) for count in counts] == shown


@pytest.mark.charts
@pytest.mark.parametrize("lang", ["en", "ja"])
@pytest.mark.parametrize("answer", ["go", "hold"])
def test_ticks_have_at_most_four_digits(shop: tuple[SweepTable, Read], answer: str, lang: str) -> None:
    page = write_answer(*shop, answer, lang).file.read_text()
    for part in ("gain", "value"):
        drawn = page.partition(f'<section id="{part}">')[2].partition("</svg>")[0]
        texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
        assert len(texts) >= 2
        assert all(sum(map(str.isdigit, text)) <= 4 for text in texts), texts


def test_no_line_ends_between_a_minus_and_a_currency(shop: tuple[SweepTable, Read]) -> None:
    page = visible(write_answer(*shop, "money", "en").file.read_text())
    assert re.search("\N{MINUS SIGN}\N{WORD JOINER}€\\d", page)
    assert "\N{MINUS SIGN}€" not in page


def test_nothing_is_asked_of_the_network_and_titles_are_text(shop: tuple[SweepTable, Read]) -> None:
    made = write_answer(*shop, "go", "en")
    html = made.file.read_text()
    page = Text(html)
    assert [link for link in page.links if not link.startswith(("#", "data:"))] == ["decision.ja.html"]
    assert "<script" not in html
    assert "http" not in re.sub(r'data:image/[^"]*', "", html).replace("http-equiv", "")
    shown = [example.title for example in examples_of(*_parts(shop))]
    assert shown
    assert all(title in page.everything for title in shown)
    assert any(link.startswith("data:image/jpeg") for link in page.links)


@pytest.mark.parametrize(("lang", "first"), [("en", "item 1"), ("ja", "商品1")])
def test_the_page_that_is_passed_on_has_numbers_instead_of_titles(
    shop: tuple[SweepTable, Read], lang: str, first: str
) -> None:
    made = write_answer(*shop, "go", lang)
    whole = Text(made.file.read_text())
    passed = Text(made.file.with_name("decision-without-titles.html").read_text())
    shown = [example.title for example in examples_of(*_parts(shop))]
    assert not any(title in passed.everything for title in shown)
    assert first in passed.by_id["examples"]
    assert not [link for link in passed.links if link.startswith("data:image/jpeg")]
    assert not any(item in passed.everything for item in _parts(shop)[2].dataset.item_ids)
    assert {name: text for name, text in passed.by_id.items() if name != "examples"} == {
        name: text for name, text in whole.by_id.items() if name != "examples"
    }


def _parts(shop: tuple[SweepTable, Read]) -> Any:
    table, read = shop
    return table, read.comparison.a, read.catalogue


def test_a_picture_outside_the_data_set_is_not_opened(shop: tuple[SweepTable, Read], tmp_path: Path) -> None:
    table, _, data = _parts(shop)
    secret = tmp_path / "secret.png"
    secret.write_bytes((data.folder / "images" / "i00000.png").read_bytes())

    def picture(item: int, **columns: object) -> str:
        return Pictures.of(replace(data, items=data.items.assign(**columns)), table.trust).small(item)

    assert picture(0).startswith("data:image/jpeg;base64,")
    assert picture(0, image_path="images/i00001.png").startswith("data:image/jpeg;base64,")
    for elsewhere in (str(secret), "items.parquet", "nothing.png", "images", ""):
        assert picture(0, image_path=elsewhere) == ""
    (link := data.folder / "images" / "i00008.png").symlink_to(secret)  # item 8 has no picture of its own
    assert picture(8) == ""
    link.unlink()
    assert picture(8) == ""


def with_folder(data: Catalogue, folder: Path, **sidecar: str) -> Catalogue:
    """The data set as if its files lay in a folder, whose image features have this sidecar."""
    folder.mkdir()
    (folder / "image_feat.npy").touch()
    files.write_document(folder / "image_feat.json", {"encoder": "histograms", "sha256": "", **sidecar})
    return replace(data, folder=folder)


def test_pictures_are_found_where_the_encoder_found_them(shop: tuple[SweepTable, Read], tmp_path: Path) -> None:
    _, _, data = _parts(shop)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "i00000.png").write_bytes((data.folder / "images" / "i00000.png").read_bytes())
    (photos / "i00001.png").symlink_to(data.folder / "images" / "i00001.png")
    encoded = with_folder(data, tmp_path / "shop", image_folder=str(photos), made_from="photos")
    trusted = Pictures.of(encoded, Trust(places=(tmp_path,)))
    assert (trusted.objection, trusted.small(0)[:10]) == (None, "data:image")
    assert trusted.small(1) == ""  # a link out of the folder
    barred = Pictures.of(encoded, Trust(places=(tmp_path / "shop",)))
    assert barred.small(0) == ""
    assert str(barred.objection) == (
        f"pictures are not shown: they lie in {photos}, outside the folders that this command reads, and a record is "
        f"no reason to read them; add --allow {photos} to show them"
    )
    photos.rename(tmp_path / "moved")
    gone = Pictures.of(encoded, Trust(places=(tmp_path,)))
    assert (gone.objection, gone.small(0)) == (None, "")


def test_pictures_are_found_by_the_column_that_the_encoder_read(shop: tuple[SweepTable, Read], tmp_path: Path) -> None:
    _, _, data = _parts(shop)
    encoded = with_folder(data, tmp_path / "shop", made_from="写真")
    (encoded.folder / "a.png").write_bytes((data.folder / "images" / "i00000.png").read_bytes())
    items = data.items.assign(写真=["a.png", *[""] * (len(data.items) - 1)])
    pictures = Pictures.of(replace(encoded, items=items), Trust(places=(tmp_path,)))
    assert [bool(pictures.small(item)) for item in (0, 1)] == [True, False]


def test_titles_are_those_of_the_texts_that_were_prepared(shop: tuple[SweepTable, Read], tmp_path: Path) -> None:
    _, _, data = _parts(shop)
    assert titles(data)[1] == TITLES[1]
    assert titles(replace(data, items=data.items[[]]))[1] == "i00001"
    n = len(data.items)
    japanese = data.items[[]].assign(商品説明=["説明"] * n, 商品名=["", *["卓上ライト"] * (n - 1)], 呼び名=["灯り"] * n)
    bare = replace(data, items=japanese, folder=None)
    assert titles(bare)[:2] == ["説明", "卓上ライト"]  # usual names; a blank title gives way
    prepared = with_folder(bare, tmp_path / "shop")
    files.write_document(prepared.folder / "dataset.json", {"texts": ["呼び名", "商品説明"]})
    assert titles(prepared)[1] == "灯り"
    assert titles(replace(data, items=data.items.assign(title="long " * 40)))[0] == "long " * 18 + "…"


# Evidence of the sweep that ran


def test_evidence_of_a_sweep(shop: tuple[SweepTable, Read]) -> None:
    _, read = shop
    e = read.evidence
    assert (e.dataset, e.metric, e.contrast, e.n_users) == ("shop", "ndcg@20", "fused_vs_text", 150)
    assert (e.models, e.n, e.trials) == (("hybridknn", "itemknn"), 3, 8)
    assert (read.disposal.modality, read.disposal.model) == ("image", None)
    assert read.disposal.tuned is not None
    assert (e.gain, e.silent) == (read.disposal.tuned.log_gain, "")
    by_name = {gate.name: gate for gate in e.gates}
    assert {f"G{i}" for i in range(1, 10)} - by_name.keys() == {"G7"}
    assert by_name["G1"].status == "pass"
    assert (by_name["G2"].status, by_name["G2"].why) == ("pass", "hybridknn, itemknn")
    assert by_name["G5"].value == 1.0
    assert by_name["G6"].value == 1
    assert by_name["G8"].value is not None
    assert e.gain is not None
    assert by_name["G3"].value == pytest.approx(e.gain.at(0.9).lo)
    assert sum(e.variances.values()) == pytest.approx(e.gain.se**2)


def test_relevant_items_are_those_of_the_tuned_sides(shop: tuple[SweepTable, Read]) -> None:
    table, read = shop
    tuned, more = read.disposal.tuned, read.evidence.per_thousand
    assert tuned is not None
    assert more is not None
    expected = []
    for side in (tuned.a, tuned.b):
        total = 0.0
        for name, weights in zip(side.cells, side.weights, strict=True):
            cell = table.cells["shop", *name.split("/")]
            for slot in np.flatnonzero(weights):
                ranks = records.read_ranking(paths.training_file(cell.folder, Stage.TRIAL, int(slot), paths.RANKS))
                total += weights[slot] * metrics.per_user(ranks, "precision@20").mean()
        expected.append(1000 * total)
    assert more.mean == pytest.approx(expected[0] - expected[1])
    assert more.lo < more.mean < more.hi


@pytest.mark.parametrize(
    ("modalities", "advice"),
    [
        ({"text", "image"}, "run at least modality=text,fused"),
        ({"image", "audio"}, "run at least modality=audio,fused"),
        ({"image"}, "run at least modality=none,fused"),
        ({"text", "image", "audio"}, "run at least modality=fused, and modality=fused modality.states.image=drop"),
        ({"text", "audio"}, "the data hold no images"),
    ],
)
def test_the_conditions_to_run_are_those_of_the_data(modalities: set[str], advice: str) -> None:
    assert reading._conditions_to_run(modalities) == advice


def test_a_sweep_without_the_pair_is_told(tmp_path: Path) -> None:
    whole = cells()
    only = {key: made for key, made in whole.items() if key[2] in ("none", "text")}
    with pytest.raises(ValueError, match="no model has results with and without images; run at least modality=text,"):
        read_evidence(read_sweep(write_sweep(tmp_path / "a", only)))
    with pytest.raises(ValueError, match="no results of any/other with and without images; there are d/m"):
        read_evidence(read_sweep(write_sweep(tmp_path / "b", whole)), model="other")
    two = {**whole, **{("e", m, c): made for (_, m, c), made in whole.items()}}
    two = {k: (Made(**{**vars(v), "seal": {"test_hash": "u"}}) if k[0] == "e" else v) for k, v in two.items()}
    with pytest.raises(ValueError, match="several data sets; add dataset=NAME, one of d, e"):
        read_evidence(read_sweep(write_sweep(tmp_path / "c", two)))


def controlled(whole: dict[tuple[str, str, str], Made]) -> dict[tuple[str, str, str], Made]:
    """The cells with the controls of everything that has images: a little worse than without images."""
    made = dict(whole)
    for (dataset, model, condition), one in whole.items():
        shuffled = {"image": ("shuffled_image", 98), "fused": ("text_shuffled_image", 118)}.get(condition)
        if shuffled:
            name, end = shuffled
            finals = np.stack([hit_users(USERS, range(end))] * 3)
            states = {**STATES[condition], "image": "shuffle"}
            made[dataset, model, name] = replace(one, finals=finals, cell={**one.cell, "states": states}, shuffled={})
    return made


def with_encoders(*encoders: tuple[str, str], **changed: Any) -> dict[tuple[str, str, str], Made]:
    """The constructed cells once for every image encoder, a label and what stands for its numbers."""
    made = {}
    for label, numbers in encoders:
        name = "d" if label == "default" else f"d-image={label}"
        config = {"dataset": {"name": "d", "encoder": {"image": label}}}
        for (_, model, condition), one in cells().items():
            described = {**one.cell, "features": {"image": numbers, "text": "t"}}
            made[name, model, condition] = replace(one, cell=described, config=config)
    return {key: replace(one, **changed) if key[0] != "d" else one for key, one in made.items()}


@pytest.mark.parametrize(
    ("whole", "status", "value", "reason"),
    [
        (with_encoders(("default", "x")), "fail", 1, "tried: default"),
        (with_encoders(("default", "x"), ("clip", "y")), "pass", 2, "tried: clip, default"),
        (with_encoders(("default", "x"), ("copy", "x")), "fail", 1, "tried: default"),
        (with_encoders(("default", "x"), ("copy", "x"), ("clip", "y")), "pass", 2, "tried: clip, default"),
        # of another split, of other seeds, or never finished
        (with_encoders(("default", "x"), ("clip", "y"), seal={"test_hash": "u"}), "fail", 1, "tried: default"),
        (with_encoders(("default", "x"), ("clip", "y"), finals=np.ones((2, USERS), bool)), "fail", 1, "tried: default"),
        (with_encoders(("default", "x"), ("clip", "y"), missing=True), "fail", 1, "tried: default"),
        (with_encoders(("default", "x"), ("clip", "y"), failure="out of memory"), "fail", 1, "tried: default"),
    ],
)
def test_image_encoders_are_counted_by_their_numbers(
    whole: dict[tuple[str, str, str], Made], status: str, value: int, reason: str, tmp_path: Path
) -> None:
    table = read_sweep(write_sweep(tmp_path / "s", whole))
    (gate,) = (gate for gate in read_evidence(table, dataset="d").evidence.gates if gate.name == "G6")
    assert (gate.status, gate.value, gate.why) == (status, value, reason)


def test_an_encoder_of_another_model_or_beside_less_is_not_tried(tmp_path: Path) -> None:
    two = with_encoders(("default", "x"), ("clip", "y"))
    other = {(d, "n" if d != "d" else m, c): made for (d, m, c), made in two.items()}
    alone = {key: made for key, made in two.items() if key[0] == "d" or key[2] in ("none", "image", "text")}
    for name, whole in {"model": other, "alone": alone}.items():
        read = read_evidence(read_sweep(write_sweep(tmp_path / name, whole)), dataset="d", model="m")
        assert {gate.name: gate.value for gate in read.evidence.gates}["G6"] == 1


def test_the_best_encoder_on_validation_is_decided_about_and_the_other_one_counts(tmp_path: Path) -> None:
    two = controlled(with_encoders(("default", "x"), ("clip", "y")))
    better = np.stack([hit_users(USERS, range(150))] * 3)
    for condition in ("fused", "text_shuffled_image"):  # whichever of them it is that is best
        whole = dict(two)
        whole["d-image=clip", "m", condition] = replace(two["d-image=clip", "m", condition], finals=better)
        read = read_evidence(read_sweep(write_sweep(tmp_path / condition, whole)))
        assert (read.evidence.dataset, read.disposal.dataset) == ("d-image=clip", "d-image=clip")
        assert {gate.name: gate for gate in read.evidence.gates}["G6"].status == "pass"
        gain = {"fused": 150 / 120 - 1, "text_shuffled_image": 125 / 150 - 1}[condition]
        assert read.evidence.ratio == pytest.approx(gain)


@pytest.mark.parametrize(
    ("lo", "hi", "said"),
    [
        (0.31, 0.7, "Between 31% and 70% of what images tell, text tells too."),
        (0.7, 1.4, "Between 70% and 100% of what images tell, text tells too."),
        (0.1, 0.9, ""),
        (-0.4, 2.8, ""),
    ],
)
def test_a_share_that_may_be_almost_any_is_not_told(
    shop: tuple[SweepTable, Read], lo: float, hi: float, said: str
) -> None:
    _, read = shop
    fact = Fact(VALUES, "image", REDUNDANCY, (lo + hi) / 2, Interval((lo + hi) / 2, lo, hi))
    read = replace(read, facts=replace(read.facts, facts=[fact]))
    speaker = Speaker.of("en", evidence(0.25), economics(), decide(evidence(0.25), economics(), 100))
    assert sections._repeat(speaker, read, "text") == said


def itemknn(end: int) -> Made:
    """A simple baseline, which ignores content."""
    return Made(np.stack([hit_users(USERS, range(end))] * 3), cell={"states": {"text": "drop", "image": "drop"}})


def test_gates_of_constructed_records(tmp_path: Path) -> None:
    whole = controlled(cells()) | {("d", "itemknn", "-"): itemknn(110)}
    read = read_evidence(read_sweep(write_sweep(tmp_path / "s", whole)))
    e, by_name = read.evidence, {gate.name: gate for gate in read.evidence.gates}
    assert (e.models, e.ratio) == (("itemknn", "m"), pytest.approx(125 / 120 - 1))  # fused against text
    assert e.gain is not None
    assert by_name["G1"].status == "pass"
    assert (by_name["G2"].status, by_name["G2"].why) == ("pass", "itemknn")
    assert (by_name["G3"].status, by_name["G3"].value) == ("pass", pytest.approx(e.gain.at(0.9).lo))
    assert (by_name["G9"].status, by_name["G9"].value) == ("pass", pytest.approx(125 / 120 - 1))
    assert [by_name[name].status for name in ("G4", "G5", "G6", "G8")] == ["not known"] * 4
    # There are no data behind these records.
    assert isinstance(read.catalogue, str)
    assert [(by_name[n].unread, by_name[n].why) for n in ("G4", "G5", "G8")] == [(True, read.catalogue)] * 3
    # 125 of 200 users against 120, one of 20 places each
    assert e.per_thousand is not None
    assert e.per_thousand.mean == pytest.approx(1000 * 5 / 200 / 20)


def test_raised_trials_are_a_later_look_at_everything_about_the_gain(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", controlled(cells()) | {("d", "itemknn", "-"): itemknn(110)})
    first = read_evidence(read_sweep(folder)).evidence
    write_earlier_look(folder / "d" / "m" / "fused", 5)
    e = read_evidence(read_sweep(folder)).evidence
    assert (first.level, e.level) == (0.95, 0.975)
    for one in (first, e):
        assert one.gain is not None
        assert one.interval == one.gain.at(one.level)
    assert first.per_thousand is not None
    assert e.per_thousand is not None
    assert (first.per_thousand.level, e.per_thousand.level) == (0.95, 0.975)
    assert e.per_thousand.lo < first.per_thousand.lo < first.per_thousand.hi < e.per_thousand.hi


def test_a_better_simple_baseline_leaves_nothing_to_gain(tmp_path: Path) -> None:
    whole = controlled(cells()) | {("d", "itemknn", "-"): itemknn(130)}
    e = read_evidence(read_sweep(write_sweep(tmp_path / "s", whole))).evidence
    assert (e.ratio, e.silent) == (0.0, "")
    assert e.interval == Interval(0.0, 0.0, 0.0)
    decided = decide(e, economics())  # no range, so money alone does not decide
    assert (decided.action, decided.why) == (Action.HOLD, Why.UNTRUSTED)
    assert [gate.name for gate in decided.barred] == ["G5"]


@pytest.mark.parametrize(
    ("lang", "step", "opens", "found"),
    [
        ("en", "Make the data readable again: {why}.", "G5 can be answered once the data can be read.",
         "How much of what is shown has an image could not be counted: {why}."),
        ("ja", "データをもう一度読めるようにする({why})。", "G5は、データが読めるようになれば確認できます。",
         "表示される商品のうち画像のあるものの割合は数えられませんでした({why})。"),
    ],
)  # fmt: skip
def test_data_that_cannot_be_read_are_no_reason_to_buy_images(
    tmp_path: Path, lang: str, step: str, opens: str, found: str
) -> None:
    whole = controlled(cells()) | {("d", "itemknn", "-"): itemknn(110)}
    table = read_sweep(write_sweep(tmp_path / "s", whole))
    read, setting = read_evidence(table), economics()
    decided = decide(read.evidence, setting)
    write_decision(table, read, setting, decided, lang, day=DAY)
    page, why = Text((table.folder / "report" / "decision.html").read_text()), Translator(lang)(read.catalogue)
    assert page.by_id["next"] == step.format(why=why)
    assert page.by_id["opens"] == opens
    assert found.format(why=why) in page.by_id["trust"]


def commanded(folder: Path, whole: dict[tuple[str, str, str], Made], *words: str) -> SweepTable:
    """A sweep that a command line has begun."""
    file = paths.manifest_file(write_sweep(folder, whole))
    words = words or ("model=m", "modality=image,fused", "modality.seed=3")
    command = ["sweep.name=s", "budget=small", *words]
    records.write(file, msgspec.structs.replace(records.read(file, Manifest), command=command))
    return read_sweep(folder)


def test_without_a_baseline_the_command_that_adds_one_is_named(tmp_path: Path) -> None:
    e = read_evidence(commanded(tmp_path / "s", controlled(cells()))).evidence
    (gate,) = (gate for gate in e.gates if gate.name == "G2")
    assert (gate.status, gate.bars) == ("fail", "every answer but HOLD")
    assert gate.command == "python -m mmbench -m sweep.name=s budget=small model=itemknn modality=none"


def test_another_class_under_the_name_of_a_baseline_is_none(tmp_path: Path) -> None:
    """Nor is it in the command that adds one, which would find it finished."""
    random = replace(itemknn(110), config={"model": {"_target_": "mine.Random"}})
    whole = controlled(cells()) | {("d", "itemknn", "-"): random}
    typed = "model=itemknn", "model._target_=mine.Random", "search.model.k=null"
    e = read_evidence(commanded(tmp_path / "s", whole, *typed)).evidence
    (gate,) = (gate for gate in e.gates if gate.name == "G2")
    assert gate.status == "fail"
    assert gate.command == "python -m mmbench -m sweep.name=s budget=small model=ease modality=none"
    for name in ("ease", "ials"):
        whole["d", name, "-"] = random
    e = read_evidence(commanded(tmp_path / "t", whole, *typed)).evidence
    assert [(gate.status, gate.command) for gate in e.gates if gate.name == "G2"] == [("fail", "")]


def test_what_is_run_of_a_model_keeps_the_settings_that_were_typed_for_it(tmp_path: Path) -> None:
    whole = cells() | {("d", "itemknn", "-"): itemknn(110)}
    for typed, kept in (
        (("model=m,itemknn", "model.d=8", "++modality.states.image=drop"), " model.d=8"),
        (("model.d=8",), " model.d=8"),
        (("model=itemknn", "model.k=8", "++search.model.k=null"), ""),
    ):
        e = read_evidence(commanded(tmp_path / f"s{len(typed)}{kept}", whole, *typed)).evidence
        (gate,) = (gate for gate in e.gates if gate.name == "G3")
        command = f"python -m mmbench -m sweep.name=s budget=small{kept} model=m modality="
        assert gate.command == f"{command}shuffled_image && {command}text_shuffled_image"


def test_without_controls_nothing_is_said_and_their_command_is_named(tmp_path: Path) -> None:
    whole = cells() | {("d", "itemknn", "-"): itemknn(110)}
    e = read_evidence(commanded(tmp_path / "s", whole)).evidence
    assert (e.silent, e.gain, e.per_thousand) == (NoWord.MORE_SEARCH, None, None)
    (gate,) = (gate for gate in e.gates if gate.name == "G3")
    command = "python -m mmbench -m sweep.name=s budget=small model=m modality="
    assert gate.command == f"{command}shuffled_image && {command}text_shuffled_image"
    decided = decide(e, economics())
    assert (decided.action, decided.why) == (Action.HOLD, Why.SILENT)
    assert (decided.step.name, decided.step.command) == ("control", gate.command)


def test_one_control_that_was_not_run_bars_every_answer(tmp_path: Path) -> None:
    whole = controlled(cells()) | {("d", "itemknn", "-"): itemknn(110)}
    del whole["d", "m", "text_shuffled_image"]
    e = read_evidence(commanded(tmp_path / "s", whole)).evidence
    (gate,) = (gate for gate in e.gates if gate.name == "G3")
    assert (gate.status, gate.bars) == ("not known", "every answer but HOLD")
    assert gate.command.endswith("model=m modality=text_shuffled_image")


def test_a_model_that_was_not_run_without_images_bars_every_answer(tmp_path: Path) -> None:
    """Its control has nothing but shuffled images to choose, and what these spoil would count as a gain."""
    whole = controlled(cells()) | {("d", "itemknn", "-"): itemknn(110)}
    for condition, end in (("fused", 180), ("text_shuffled_image", 130)):
        finals = np.stack([hit_users(USERS, range(end))] * 3)
        whole["d", "strong", condition] = replace(whole["d", "m", condition], finals=finals)
    e = read_evidence(commanded(tmp_path / "s", whole)).evidence
    (gate,) = (gate for gate in e.gates if gate.name == "G3")
    command = "python -m mmbench -m sweep.name=s budget=small model=strong modality=text"
    assert (gate.status, gate.bars, gate.command) == ("not known", "every answer but HOLD", command)
    decided = decide(e, economics())
    assert (decided.action, decided.step.command) == (Action.HOLD, command)
    finals = np.stack([hit_users(USERS, range(150))] * 3)
    whole["d", "strong", "text"] = replace(whole["d", "m", "text"], finals=finals)
    e = read_evidence(commanded(tmp_path / "t", whole)).evidence
    (gate,) = (gate for gate in e.gates if gate.name == "G3")
    assert (gate.status, e.ratio) == ("pass", pytest.approx(180 / 150 - 1))


def strong(*conditions: str) -> dict[tuple[str, str, str], Made]:
    """A model that is better than the other one under every condition, with the first encoder alone."""
    ends = {"none": 130, "text": 150, "image": 160, "fused": 180, "shuffled_image": 125, "text_shuffled_image": 149}
    whole = controlled(with_encoders(("default", "x")))
    return {
        ("d", "strong", name): replace(
            whole["d", "m", name], finals=np.stack([hit_users(USERS, range(ends[name]))] * 3)
        )
        for name in conditions
    }


def test_no_name_of_a_model_changes_the_answer(tmp_path: Path) -> None:
    """Whose lists are shown is chosen with the results known; whose guard-rails, exposure and encoders count is not."""
    whole = controlled(with_encoders(("default", "x"), ("clip", "y"))) | {("d", "itemknn", "-"): itemknn(110)}
    whole |= strong("text", "fused", "text_shuffled_image")
    table = read_sweep(write_sweep(tmp_path / "s", whole))
    best, other = (read_evidence(table, "d", model) for model in (None, "m"))
    assert (best.comparison.model, other.comparison.model) == ("strong", "m")
    assert other.evidence == best.evidence
    assert (best.evidence.model, best.evidence.contrast) == ("strong", "fused_vs_text")
    (encoders,) = (gate for gate in other.evidence.gates if gate.name == "G6")
    assert encoders.value == 1  # the other model was given two
    assert (best.judged, other.judged) == (None, best.facts)
    assert other.facts != best.facts
    with pytest.raises(ValueError, match="no results of d/itemknn with and without images; there are d/m, d/strong"):
        read_evidence(table, "d", "itemknn")


@pytest.mark.parametrize(
    ("conditions", "unread", "commands"),
    [
        (["fused", "text_shuffled_image"], ["G4"], ["text"]),
        (["none", "text", "image", "shuffled_image"], ["G4", "G5", "G6", "G8"], ["fused"]),
        (["none", "image", "shuffled_image"], ["G4", "G5", "G6", "G8"], ["fused", "text"]),
    ],
)
def test_no_other_model_stands_in_for_the_best_one(
    conditions: list[str], unread: list[str], commands: list[str], tmp_path: Path
) -> None:
    whole = controlled(with_encoders(("default", "x"))) | {("d", "itemknn", "-"): itemknn(110)} | strong(*conditions)
    table = commanded(tmp_path / "s", whole)
    read = read_evidence(table)
    assert (read.evidence.model, read.comparison.model) == ("strong", "m")
    closed = [gate for gate in read.evidence.gates if gate.name in ("G4", "G5", "G6", "G8") and gate.command]
    assert [gate.name for gate in closed] == unread
    run = "python -m mmbench -m sweep.name=s budget=small model=strong modality="
    assert {gate.command for gate in closed} == {" && ".join(run + condition for condition in commands)}
    decided = decide(read.evidence, economics())
    assert (decided.action, decided.step.name) == (Action.HOLD, "control")
    assert decided.step.command == closed[0].command
    speaker = Speaker.of("en", read.evidence, economics(), decided)
    assert speaker.next_step().startswith("Run the missing conditions.")
    reason = "strong, the best model on validation, was not run both with everything and with everything but images"
    assert speaker.gate(closed[0])["found"] == f"No guard-rail could be measured: {reason}."
    assert guard_rails(speaker, read) == []


@pytest.mark.parametrize(
    ("states", "overrides"),
    [
        ({"image": "real"}, "modality=none"),
        ({"image": "real", "text": "drop"}, "modality=none"),
        ({"image": "real", "text": "real"}, "modality=text"),
        (
            {"audio": "real", "image": "real", "text": "real"},
            "modality=none modality.states.audio=real modality.states.text=real",
        ),
        ({"image": "real", "titles": "real"}, "modality=none modality.states.titles=real"),
    ],
)
def test_what_runs_a_condition_without_images(states: dict[str, str], overrides: str) -> None:
    assert without(states, "image") == overrides


@pytest.mark.parametrize(
    ("rho", "chosen", "status", "bars"),
    [
        (0.05, Interval(-0.04, -0.07, -0.01), "fail", "GO"),
        (-0.01, Interval(0.04, 0.01, 0.07), "fail", "NO-GO"),
        (0.05, Interval(-0.04, -0.09, 0.01), "pass", "every answer but HOLD"),
        (0.05, Interval(0.01, 0.005, 0.02), "pass", "every answer but HOLD"),
    ],
)
def test_chosen_configurations_must_not_say_the_opposite(rho: float, chosen: Interval, status: str, bars: str) -> None:
    rng, slots = np.random.default_rng(0), [f"{slot}" for slot in range(8)]
    a, b = (
        Tuning(np.arange(8.0), level + rng.normal(0, 0.01, (8, 60)), np.arange(60), slots, SeedNoise(0.01, 2.0))
        for level in (1 + rho, 1.0)
    )
    crossed = CrossedInterval(chosen.mean, chosen.lo, chosen.hi, se=0.01, df=50.0, p=0.1, seeds=3)
    gate = gates.agreement(tuned_gain(a, b), crossed)
    assert (gate.status, gate.bars) == (status, bars)
    one = gates.agreement(tuned_gain(a, b), replace(crossed, seeds=1))
    assert (one.status, one.value, one.limit) == ("not known", 1, 2)
    assert (gates.agreement(None, crossed).status, gates.agreement(None, crossed).value) == ("not known", None)


def test_unused_signal_is_asked_of_every_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read_sweep(write_sweep(tmp_path / "s", with_encoders(("default", "x"), ("clip", "y"))))
    monkeypatch.setattr(gates, "read_catalogue", lambda cell, trust: SimpleNamespace())
    tells = {"d": (0.02, 0.03), "d-image=clip": (0.05, 0.03)}
    monkeypatch.setattr(gates, "_unique", lambda table, cell, data: tells[cell.dataset])

    def asked() -> Gate:
        a = table.cells["d", "m", "fused"]
        cells = [(cell, gates.read_catalogue(cell, table.trust)) for cell in gates.encoders_tried(table, a).values()]
        return gates._unused(table, cells)

    assert asked() == Gate("G8", Status.FAIL, 0.05, 0.03, "image encoder: clip")
    tells["d-image=clip"] = (0.01, 0.03)
    assert asked() == Gate("G8", Status.PASS, 0.02, 0.03, "image encoder: default")
    monkeypatch.setattr(gates, "read_catalogue", lambda cell, trust: "not here")
    assert asked().status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("lang", "says", "one_draw"),
    [
        ("en", "0 without content, 120 with text and 85 with images.", "One draw of 1,350 new items"),
        ("ja", "購買履歴だけでは0点、", "1回だけ選んだ新商品1,350点"),
    ],
)
def test_new_items_have_a_part_of_their_own(shop: tuple[SweepTable, Read], lang: str, says: str, one_draw: str) -> None:
    """Found of 1,000, with what chance would find and of how many items; without new items the part is not there."""
    table, read = shop
    assert 'id="new"' not in write_answer(table, read, "hold", lang).file.read_text()
    facts = replace(read.facts, facts=list(read.facts.facts))
    for condition, found in (("none", 31.0), ("text", 120.0), ("image", 85.0)):
        facts.add(NEW_ITEMS, condition, FOUND_OF_1000, found, baseline=31.0)
        facts.add(NEW_ITEMS, condition, AMONG_NEW, found / 400, n=1350)
    page = Text(write_answer(table, replace(read, facts=facts), "hold", lang).file.read_text())
    part = page.by_id["new"]
    assert says in part
    assert "31" in part
    assert one_draw in part
