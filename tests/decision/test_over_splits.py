"""A decision about several splits of one data set is one decision about the gain over all of them."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mmbench.decision import as_record, decide, replay
from mmbench.decision.evidence import Gate, Status
from mmbench.decision.page.sections import _hero, _steps, _uncertainty
from mmbench.decision.page.speaker import Speaker
from mmbench.decision.steps import RUNGS, SILENT, WAITING
from mmbench.decision.sweep_evidence import Read, configuration_gain, read_evidence
from mmbench.inference import intervals
from mmbench.inference.gains import NoWord
from mmbench.inference.repetitions import Repeated, over_repetitions
from mmbench.messages import Refusal
from mmbench.report.reading import read_sweep
from mmbench.report.table import CellResult
from tests.decision.cases import economics, evidence
from tests.decision.test_page import controlled, itemknn
from tests.report.constructed import Made, write_sweep
from tests.report.test_contribution import USERS, cells, hit_users

Cells = dict[tuple[str, str, str], Made]
#: Users that fused finds in each split, of 200; text finds 120 and itemknn 110.
FUSED = {"d": 125, "d-split1": 135}
WITH_RUNGS = {"name": "standard", "trials": 8, "seeds": 3, "max_steps": 9, "rungs": [3]}


def split(fused: dict[str, int] | None = None, setting: str = "split_seed") -> Cells:
    made: Cells = {}
    for number, (dataset, end) in enumerate((fused or FUSED).items()):
        config = {"dataset": {"name": "d", setting: number}}
        own = controlled(cells()) | {("d", "itemknn", "-"): itemknn(110)}
        own["d", "m", "fused"] = replace(own["d", "m", "fused"], finals=np.stack([hit_users(USERS, range(end))] * 3))
        for (_, model, condition), one in own.items():
            seal = {"test_hash": f"test {number}"}
            described = {**one.cell, "split_hash": f"split {number}"}
            made[dataset, model, condition] = replace(one, config=config, seal=seal, cell=described)
    return made


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    return read_evidence(read_sweep(write_sweep(tmp_path_factory.mktemp("sweep") / "s", split())))


def test_the_gain_is_that_over_all_splits(read: Read) -> None:
    e = read.evidence
    assert (read.disposal.dataset, e.dataset, e.repetitions) == ("d over 2 split seeds", "d", 2)
    assert e.ratio == pytest.approx(math.sqrt(125 / 120 * 135 / 120) - 1)
    assert e.gain is not None
    assert math.fsum(e.variances.values()) == pytest.approx(e.gain.se**2)
    assert e.variances["splits"] == pytest.approx(math.log(135 / 125) ** 2 / 4)
    assert e.per_thousand is not None
    # Of 200 users, one of 20 places each; the controls find 120 in both splits.
    assert e.per_thousand.mean == pytest.approx(1000 * 120 / 200 / 20 * e.ratio)
    assert {gate.name: gate.status for gate in e.gates}["G1"] == "pass"


def test_the_chosen_configurations_are_compared_over_all_splits(read: Read) -> None:
    table = read_sweep(read.comparison.a.folder.parents[2])
    chosen = configuration_gain(table, read.disposal)
    assert chosen is not None
    text = hit_users(USERS, range(120)).astype(float)
    gains = [
        intervals.relative_gain(*(np.stack([hits] * 3, axis=1) for hits in (hit_users(USERS, range(end)) * 1.0, text)))
        for end in FUSED.values()
    ]
    assert chosen == over_repetitions(Repeated.SPLIT, gains)
    assert chosen.mean == pytest.approx(math.sqrt(125 / 120 * 135 / 120) - 1)
    folds = over_repetitions(Repeated.FOLD, gains)
    assert (folds.df, folds.lo < chosen.lo) == (1.0, True)


@pytest.mark.parametrize(
    ("stop", "seeds"),
    [("patience", 2), ("closed_form", 3)],  # of a model that no seed changes one run is as good as three
)
def test_models_with_unequal_numbers_of_final_runs_are_compared_by_those_that_both_have(
    tmp_path: Path, stop: str, seeds: int
) -> None:
    whole = controlled(cells()) | {("d", "itemknn", "-"): itemknn(121)}
    simple = whole["d", "itemknn", "-"]
    trials = simple.finals[[0] * 8]
    whole["d", "itemknn", "-"] = replace(
        simple,
        finals=simple.finals[:2],
        trials=trials,
        courses=[{"stop_reason": stop}] * 8,
        final={"stop_reason": stop},
    )
    table = read_sweep(write_sweep(tmp_path / "s", whole))
    read = read_evidence(table)
    chosen = configuration_gain(table, read.disposal)
    assert chosen is not None
    assert chosen.seeds == seeds
    assert next(gate for gate in read.evidence.gates if gate.name == "G9").status is Status.PASS


def test_models_that_were_tested_on_other_users_are_not_compared(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """As records of an interrupted change of the data are: the sweep is not trusted, and its page is written."""
    table, per_user = read_sweep(read.comparison.a.folder.parents[2]), CellResult.per_user

    def other_users(cell: CellResult, metric: str) -> NDArray[np.float64]:
        scores = per_user(cell, metric)
        return scores[1:] if cell.modality == "fused" else scores

    monkeypatch.setattr(CellResult, "per_user", other_users)
    assert configuration_gain(table, read.disposal) is None


@pytest.mark.parametrize("dataset", ["d", "d-split1", "d over 2 split seeds"])
def test_the_name_of_one_split_means_all_of_them(read: Read, dataset: str) -> None:
    again = read_evidence(read_sweep(read.comparison.a.folder.parents[2]), dataset)
    assert again.evidence == read.evidence


def test_a_data_set_and_its_folds_are_two(tmp_path: Path) -> None:
    """A fold is called after its data set, which is the one that the name means."""
    folds = split({"d-fold0": 125, "d-fold1": 135}, "cold_fold")
    whole = {
        key: replace(made, config={"dataset": {"name": "d"}}, seal={"test_hash": "whole"})
        for key, made in split({"d": 150}).items()
    }
    table = read_sweep(write_sweep(tmp_path / "s", {**folds, **whole}))
    with pytest.raises(Refusal, match="several data sets; add dataset=NAME"):
        read_evidence(table)
    assert read_evidence(table, "d").disposal.dataset == "d"
    for name in ("d-fold1", "d over 2 of 5 cold folds"):
        assert read_evidence(table, name).disposal.dataset == "d over 2 of 5 cold folds"


def test_the_draw_that_was_planned_first_is_decided_about(tmp_path: Path) -> None:
    """A later one is better on validation; it is decided about where it is named."""
    first = {key: replace(made, config={"dataset": {"name": "d"}}) for key, made in split({"d": 125}).items()}
    second = {
        ("d-draw1", *key[1:]): replace(made, cell={**made.cell, "draw": 1})
        for key, made in split({"d": 160}).items()
    }  # fmt: skip
    second = {key: replace(made, config={"dataset": {"name": "d"}}, seal=made.seal) for key, made in second.items()}
    table = read_sweep(write_sweep(tmp_path / "s", {**first, **second}))
    assert read_evidence(table).disposal.dataset == "d"
    assert read_evidence(table, "d-draw1").disposal.dataset == "d-draw1"


@pytest.mark.thorough
def test_two_data_sets_with_several_splits_each_are_still_two(tmp_path: Path) -> None:
    other = {
        (f"e{name[1:]}", model, condition): replace(made, seal={"test_hash": f"{name} of e"})
        for (name, model, condition), made in split().items()
    }
    other = {key: replace(made, config={"dataset": {"name": "e", **dict(list(made.config["dataset"].items())[1:])}})
             for key, made in other.items()}  # fmt: skip
    table = read_sweep(write_sweep(tmp_path / "s", {**split(), **other}))
    with pytest.raises(Refusal, match="several data sets; add dataset=NAME"):
        read_evidence(table)
    assert read_evidence(table, "e").evidence.dataset == "e"


def test_other_conditions_in_one_split_are_refused(tmp_path: Path) -> None:
    whole = split()
    del whole["d-split1", "m", "text_shuffled_image"]
    table = read_sweep(write_sweep(tmp_path / "s", whole))
    with pytest.raises(Refusal) as refused:
        read_evidence(table)
    said = "the conditions that have run are not the same in d, d-split1; run the same ones in all"
    assert str(refused.value) == f"{table.folder}: {said}"


def test_a_single_fold_of_items_is_no_answer(tmp_path: Path) -> None:
    one = read_evidence(read_sweep(write_sweep(tmp_path / "s", split({"d-fold0": 125}, "cold_fold"))))
    assert (one.evidence.silent, one.evidence.gain, one.evidence.folds) == (NoWord.ONE_FOLD, None, True)
    decided = decide(one.evidence, economics())
    assert (decided.action, SILENT[NoWord.ONE_FOLD]) == ("HOLD", "repair")
    for lang, reason in (("en", "only one group of new items was tested"), ("ja", "新商品のグループを1つしか")):
        assert reason in Speaker.of(lang, one.evidence, economics(), decided).sentence()


@pytest.mark.parametrize("finished", [1, 2])
def test_a_planned_split_that_has_not_run_is_why_nothing_is_concluded(tmp_path: Path, finished: int) -> None:
    """Whether its others are judged together or stand alone; trials that were cut short are another reason."""
    whole = split({**FUSED, "d-split2": 130})
    for name in list(whole):
        if name[0] in ("d-split1", "d-split2")[finished - 1 :]:
            whole[name] = Made(missing=True)
    e = read_evidence(read_sweep(write_sweep(tmp_path / "s", whole))).evidence
    assert (e.silent, e.gain, e.repetitions) == (WAITING, None, finished)
    open_alone = replace(e, gates=tuple(Gate(gate.name, Status.PASS) for gate in e.gates))
    decided = decide(open_alone, economics())
    record = as_record(open_alone, economics(), decided)["result"]
    assert (record["action"], record["next_step"]["name"], record["next_step"]["cost"]) == ("HOLD", "finish", 0.0)
    for lang, reason, step in (
        (
            "en",
            "conditions, splits or groups of new items that are planned have no result",
            "Go on with the sweep until all that is planned has run.",
        ),
        ("ja", "計画した条件、分割または新商品のグループ", "計画したものがすべて終わるまで、実験を続ける。"),
    ):
        speaker = Speaker.of(lang, open_alone, economics(), decided)
        assert (reason in speaker.sentence(), speaker.next_step()) == (True, step)
        assert [(row["cost"], row["days"]) for row in _steps(speaker)["rows"]] == [("–", "–")]
    cut = {name: replace(one, config={**one.config, "budget": WITH_RUNGS}) for name, one in whole.items()}
    assert read_evidence(read_sweep(write_sweep(tmp_path / "cut", cut))).evidence.silent == RUNGS


def test_its_record_says_how_many_and_a_single_split_says_nothing(read: Read) -> None:
    decided = decide(read.evidence, economics())
    record = as_record(read.evidence, economics(), decided)
    assert record["inputs"]["evidence"]["repetitions"] == 2
    assert replay(record).action == decided.action
    alone = as_record(evidence(0.1), economics(), decide(evidence(0.1), economics()))
    assert not {"repetitions", "folds"} & alone["inputs"]["evidence"].keys()


SAID = [
    (
        "en",
        False,
        "Data set d (mean over 2 random splits), models",
        "and 52% from how the data were split.",
        "trials, customers, training noise and splits of the data",
    ),
    (
        "ja",
        False,
        "データ: d(無作為な分割2通りの平均)、モデル",
        "データの分け方が52%です。",
        "試行の選ばれ方、お客様の違い、学習ごとのばらつき、データの分け方",
    ),
    (
        "en",
        True,
        "Data set d (mean over 2 groups of new items), models",
        "how far the groups of new items differ.",
        "groups of new items",
    ),
    (
        "ja",
        True,
        "データ: d(新商品のグループ2組の平均)、モデル",
        "新商品のグループごとの違いによるものです。",
        "新商品のグループの違い",
    ),
]


@pytest.mark.parametrize(("lang", "folds", "about", "uncertainty", "over"), SAID)
def test_the_page_says_over_what(read: Read, lang: str, folds: bool, about: str, uncertainty: str, over: str) -> None:
    shares = {"folds": 1.0} if folds else {"trials": 0.2, "users": 0.2, "seed": 0.08, "splits": 0.52}
    e = replace(read.evidence, folds=folds, variances=shares)
    s = Speaker.of(lang, e, economics(), decide(e, economics()))
    assert s.about(date(2026, 1, 1)).startswith(about)
    assert _uncertainty(s).endswith(uncertainty)
    hero = _hero(s)
    assert hero is not None
    assert hero["over"] == over


def test_more_users_are_worth_nothing_to_folds(read: Read) -> None:
    e = replace(read.evidence, folds=True, variances={"folds": 1e-4})
    (users,) = (step for step in decide(e, economics()).steps if step.name == "users")
    assert users.evsi == 0.0
