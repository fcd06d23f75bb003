"""Decisions about sweeps that were tuned for new items: never a price, and what they find is that of all folds."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from mmbench.decision import Action, Evidence, Status, as_record, decide, replay
from mmbench.decision.page.sections import _flips, _hero, _new, _steps, guard_rails, write_decision
from mmbench.decision.page.speaker import Speaker
from mmbench.decision.rule import Why
from mmbench.decision.steps import ALL_ITEMS, OF_NEW_ITEMS_ALONE
from mmbench.decision.sweep_evidence import Read, read_evidence
from mmbench.inference.gains import NoWord
from mmbench.report.reading import read_sweep
from tests.decision.cases import economics, evidence
from tests.decision.test_page import controlled, itemknn
from tests.report.constructed import Made, write_sweep
from tests.report.test_contribution import USERS, cells, hit_users
from tests.report.test_new_items import write_candidates

Cells = dict[tuple[str, str, str], Made]
#: Users whose new item fused finds in each fold, of 200.
FUSED = (180, 168, 174)


def fold(name: str, number: int, fused: int, **config: object) -> Cells:
    """The conditions of one draw of new items; fused is far better than text, which finds 120, in all trials."""
    own = controlled(cells()) | {("d", "itemknn", "-"): itemknn(110)}
    own["d", "m", "fused"] = replace(own["d", "m", "fused"], finals=np.stack([hit_users(USERS, range(fused))] * 3))
    items = (np.arange(USERS) % 3).astype(np.int32)
    made = {}
    for (_, model, condition), one in own.items():
        record = {**one.cell, "split_hash": f"split {number}"}
        seal = {"test_hash": f"test {number}"}
        made[name, model, condition] = replace(one, config=config, seal=seal, cell=record, items=items, shuffled={})
    return made


def of_folds(*fused: int, target: str | None = None) -> Cells:
    made: Cells = {}
    for number, n in enumerate(fused):
        data = {"name": "d", "protocol": "cold", "cold_fold": number}
        ending = "" if target is None else f"-{target}"
        made |= fold(f"d-fold{number}{ending}", number, n, dataset=data, tuning={"target": target})
    return made


def by_time(target: str) -> Cells:
    return fold(f"d-{target}", 0, 180, dataset={"name": "d", "protocol": "time"}, tuning={"target": target})


def read_of(folder: Path, made: Cells) -> Read:
    write_sweep(folder, made)
    write_candidates(folder, made)
    return read_evidence(read_sweep(folder))


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> Read:
    return read_of(tmp_path_factory.mktemp("cold") / "s", of_folds(*FUSED))


def test_a_gain_over_folds_of_new_items_has_no_price(folds: Read) -> None:
    """The gain is judged and far above break-even, so that nothing but its price is missing."""
    e = folds.evidence
    assert (e.repetitions, e.folds, e.target, e.silent) == (3, True, "cold", OF_NEW_ITEMS_ALONE)
    assert folds.disposal.word == "better"
    assert e.gain is not None
    assert e.per_thousand is None
    decided = decide(e, economics())
    assert (decided.action, decided.why, decided.step.name) == (Action.HOLD, Why.SILENT, ALL_ITEMS)
    assert (decided.value, decided.flip, decided.barred, decided.probability) == (None, None, (), None)


@pytest.mark.parametrize(("target", "action"), [("", "GO"), ("warm", "GO"), ("cold", "HOLD"), ("harmonic", "HOLD")])
def test_nothing_but_its_target_holds_a_gain_of_new_items(target: str, action: str) -> None:
    assert decide(replace(evidence(0.3), target=target), economics()).action == action


@pytest.mark.parametrize("target", ["cold", "harmonic"])
def test_new_items_of_a_split_by_time_are_held(tmp_path: Path, target: str) -> None:
    e = read_of(tmp_path / "s", by_time(target)).evidence
    assert (e.silent, e.gain, e.folds, e.repetitions, e.target) == (NoWord.ONE_FOLD, None, True, 1, target)
    decided = decide(e, economics())
    assert (decided.action, decided.why) == (Action.HOLD, Why.SILENT)
    for lang, reason in (("en", "only one group of new items was tested"), ("ja", "新商品のグループを1つしか")):
        assert reason in Speaker.of(lang, e, economics(), decided).sentence()


@pytest.mark.thorough
def test_harmonic_folds_are_held_too(tmp_path: Path) -> None:
    e = read_of(tmp_path / "s", of_folds(*FUSED, target="harmonic")).evidence
    assert (e.silent, e.target, decide(e, economics()).action) == (OF_NEW_ITEMS_ALONE, "harmonic", Action.HOLD)


SAID = [
    ("en", "cold", "in lists of new items alone. What share of all recommendations new items are is not known"),
    ("en", "harmonic", "in a harmonic mean that counts new items as much as all others"),
    ("ja", "cold", "新商品だけのリストで測定したものです。おすすめ全体に占める新商品の割合がわからない"),
    ("ja", "harmonic", "同じ重みで数える調和平均"),
]


AMONG_NEW_ITEMS = {"en": "Measured for new items", "ja": "新商品についての測定値"}


@pytest.mark.parametrize(("lang", "target", "says"), SAID)
def test_the_page_says_why_there_is_no_price(lang: str, target: str, says: str) -> None:
    measured: Evidence = replace(evidence(0.3), target=target, silent=OF_NEW_ITEMS_ALONE, per_thousand=None)
    decided = decide(measured, economics())
    speaker = Speaker.of(lang, measured, economics(), decided)
    assert says in speaker.sentence()
    assert "tuning.target" in speaker.sentence()
    assert (AMONG_NEW_ITEMS[lang] in speaker.range()) is (target == "cold")
    assert any(mean in speaker.range() for mean in ("harmonic mean", "調和平均")) is (target == "harmonic")
    assert "+30.0%" in speaker.range()
    said = [speaker.sentence(), speaker.sure(), speaker.range(), *_flips(speaker), _steps(speaker)["text"]]
    assert [text for text in said for word in ("trusted", "信頼", "checks", "concluded", "結論") if word in text] == []
    assert _hero(speaker) is None
    assert {"en": "on all items", "ja": "全商品"}[lang] in speaker.next_step()
    record = json.loads(json.dumps(as_record(measured, economics(), decided)))
    assert record["inputs"]["evidence"]["target"] == target
    assert replay(record) == decided


def test_the_record_of_all_items_names_no_target() -> None:
    record = as_record(evidence(0.1), economics(), decide(evidence(0.1), economics()))
    assert "target" not in record["inputs"]["evidence"]


def test_gates_of_lists_of_new_items_are_not_known(folds: Read) -> None:
    gates = {gate.name: gate for gate in folds.evidence.gates}
    assert gates["G4"].status is Status.UNKNOWN
    assert gates["G5"].status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("lang", "says"),
    [
        ("en", "0 without content, 600 with text, 550 with images, and 870 with everything. Chance alone would find "
               "500. Mean over 3 groups of new items, 120 items in all."),
        ("ja", "新商品のグループ3組(合計120点)の平均です。"),
    ],
)  # fmt: skip
def test_new_items_found_are_those_of_all_folds(folds: Read, lang: str, says: str) -> None:
    """Fused finds 180, 168 and 174 of 200: the first fold alone would say 900."""
    decided = decide(folds.evidence, economics())
    told = _new(Speaker.of(lang, folds.evidence, economics(), decided), folds)
    assert says in told
    assert "870" in told
    assert "900" not in told


def test_one_fold_is_no_mean(tmp_path: Path) -> None:
    read = read_of(tmp_path / "s", of_folds(FUSED[0]))
    told = _new(Speaker.of("en", read.evidence, economics(), decide(read.evidence, economics())), read)
    assert "900 with everything" in told
    assert told.endswith("One draw of 40 new items: others may differ, so this is no proof.")


def test_the_page_is_written(folds: Read) -> None:
    table = read_sweep(folds.comparison.a.folder.parents[2])
    decided = decide(folds.evidence, economics())
    write_decision(table, folds, economics(), decided, "en", day=date(2026, 11, 27))
    page = (table.folder / "report" / "decision.html").read_text()
    assert 'id="gain"' not in page
    assert 'id="value"' not in page
    assert "Run the sweep on all items." in page
    assert "not trusted" not in page
    assert guard_rails(Speaker.of("en", folds.evidence, economics(), decided), folds) == []
