"""What a trial tries and what it has to reach, from records alone."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from mmbench.store.schema import Stage, Training, Unit
from mmbench.tuning import sampler
from mmbench.tuning.sampler import SlotSampler
from mmbench.tuning.space import Space, configurations, read_space
from tests import records

SPACE: Space = {
    "model.kind": CategoricalDistribution(["a", "b"]),
    "model.reg": FloatDistribution(1e-4, 1.0, log=True),
}


def trial(index: int, reg: float, score: float | None, stage: Stage = Stage.TRIAL, kind: str = "a") -> Training:
    return records.trial(index, score, stage, configuration={"model.kind": kind, "model.reg": reg})


def by_unit(*trials: Training) -> dict[Unit, Training]:
    return {training.unit: training for training in trials}


def test_a_resumed_study_knows_what_was_told_before() -> None:
    """Ranges with a step included: their values are sums of floats."""
    space = {"model.dropout": FloatDistribution(0.1, 0.7, step=0.2), "model.width": IntDistribution(16, 64, step=16)}
    slots = configurations(space, {"model.dropout": 0.1, "model.width": 64}, 13, "key")
    done = by_unit(*(records.trial(i, i / 10 if i else None, configuration=slots[i]) for i in range(12)))
    rebuilt = sampler.rebuilt_study(space, done, sampler=SlotSampler(slots), waiting=[12])
    assert [trial.params for trial in rebuilt.trials[:12]] == slots[:12]
    assert rebuilt.best_value == 1.1
    assert rebuilt.ask().user_attrs["slot"] == 12
    assert sampler.ask_slot(space, slots, done, 12) == slots[12]


def test_the_study_holds_random_trials_before_proposed_ones_and_no_final_run() -> None:
    done = by_unit(
        trial(0, 0.5, 0.9, Stage.PROPOSAL),
        trial(1, 0.2, None),
        trial(0, 0.1, 0.3),
        records.final(1, 0.3, configuration={"model.kind": "a", "model.reg": 0.1}),
    )
    study = sampler.rebuilt_study(SPACE, done)
    assert [t.params["model.reg"] for t in study.trials] == [0.1, 0.2, 0.5]
    assert [t.state.name for t in study.trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert [t.user_attrs for t in study.trials] == [
        {"stage": "tune", "slot": 0},
        {"stage": "tune", "slot": 1},
        {"stage": "extended", "slot": 0},
    ]


def test_a_rebuilt_study_can_be_kept(tmp_path: Any) -> None:
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/study.db")
    sampler.rebuilt_study(SPACE, by_unit(trial(0, 0.1, 0.3)), storage=storage, name="data/vbpr/text")
    assert optuna.load_study(study_name="data/vbpr/text", storage=storage).best_value == 0.3


WEIGHTS: Space = read_space(
    {
        "lr": {"low": 1e-3, "high": 1e-1, "log": True},
        "share": {"low": 0.0, "high": 1.0, "ends": 0.5},
        "weight": {"low": 0.1, "high": 10.0, "log": True, "zero": 0.5},
    }
)


def test_optuna_is_asked_whether_a_value_is_an_atom(tmp_path: Any) -> None:
    """A study on disk too, which holds distributions of Optuna's own only."""
    slots = configurations(WEIGHTS, {"lr": 1e-2, "share": 0.5, "weight": 1.0}, 12, "key")
    done = by_unit(*(records.trial(i, i / 10, configuration=slots[i]) for i in range(11)))
    assert sampler.ask_slot(WEIGHTS, slots, done, 11) == slots[11]
    assert list(sampler.ask_slot(WEIGHTS, slots, {}, 0)) == sorted(WEIGHTS)
    file = tmp_path / "studies.db"
    sampler.keep_studies({"data/fusion/fused": (WEIGHTS, done)}, file)
    kept = optuna.load_study(study_name="data/fusion/fused", storage=f"sqlite:///{file}").trials
    zeros = 0
    for trial, slot in zip(kept, slots, strict=False):
        zero = slot["weight"] == 0.0
        zeros += zero
        assert trial.params["weight:place"] == (0.0 if zero else "range")
        assert trial.params.get("weight") == (None if zero else slot["weight"])
        assert trial.params["share:place"] == (slot["share"] if slot["share"] in (0.0, 1.0) else "range")
    assert 0 < zeros < 11


@pytest.mark.parametrize("zero_is_good", [True, False])
def test_tpe_proposes_the_atom_where_it_was_good_and_else_the_good_part_of_the_range(zero_is_good: bool) -> None:
    weights = [0.0, 0.0, 2.5, 3.0, 3.5, *(0.1 + 0.03 * i for i in range(12))]
    good = [w == 0.0 if zero_is_good else w > 1.0 for w in weights]
    configurations = [{"lr": 0.01 + 1e-4 * i, "share": 0.0, "weight": w} for i, w in enumerate(weights)]
    trials = [records.trial(i, 0.5 * good[i] + 1e-3 * i, configuration=c) for i, c in enumerate(configurations)]
    done = by_unit(*trials)
    drawn = [sampler.ask_tpe(WEIGHTS, done, 0, f"key {k}")["weight"] for k in range(20)]
    assert all(weight == 0.0 or 0.1 <= weight <= 10.0 for weight in drawn)
    assert sum(weight == 0.0 if zero_is_good else weight > 1.0 for weight in drawn) >= 14
    assert sampler.ask_tpe(WEIGHTS, done, 0, "key 0")["weight"] == drawn[0]


def test_tpe_looks_where_trials_were_good() -> None:
    good = [trial(i, 0.01 * (1 + 0.1 * i), 0.9 + 0.001 * i, kind="b") for i in range(4)]
    bad = [trial(4 + i, 0.9, 0.1 + 0.001 * i) for i in range(12)]
    done = by_unit(*good, *bad)
    drawn = [sampler.ask_tpe(SPACE, done, 0, f"key {k}") for k in range(20)]
    assert sum(0.001 < d["model.reg"] < 0.2 for d in drawn) >= 15
    assert sum(d["model.kind"] == "b" for d in drawn) >= 15


def test_a_proposal_depends_on_what_came_before_it_and_on_nothing_else() -> None:
    done = by_unit(*(trial(i, 0.1 + 0.05 * i, 0.5 + 0.01 * i) for i in range(6)))
    first = sampler.ask_tpe(SPACE, done, 0, "key")
    later = {**done, **by_unit(trial(0, 0.3, 0.9, Stage.PROPOSAL), trial(1, 0.9, 0.1, Stage.PROPOSAL))}
    assert sampler.ask_tpe(SPACE, later, 0, "key") == first
    without_last = {unit: training for unit, training in later.items() if unit != (Stage.PROPOSAL, 1)}
    assert sampler.ask_tpe(SPACE, later, 1, "key") == sampler.ask_tpe(SPACE, without_last, 1, "key")
    assert sampler.ask_tpe(SPACE, later, 1, "key") != sampler.ask_tpe(SPACE, done, 1, "key")
    assert sampler.ask_tpe(SPACE, done, 0, "other") != first


def test_a_rung_is_the_median_of_the_best_scores_up_to_it() -> None:
    histories = ([0.3, 0.1, 0.2], [0.2, 0.1, 0.9], [0.5])  # the first two are worse at the second rung than before
    pilots = [records.trial(course=records.course(history=h, best_epoch=1)) for h in histories]
    pilots.append(records.trial(score=None))
    assert sampler.thresholds([1, 2, 3], pilots) == ((1, 0.3), (2, 0.3), (3, 0.5))
    assert sampler.thresholds([1, 2], pilots[3:]) == ()
    assert sampler.thresholds([], pilots) == ()


@pytest.mark.parametrize("stage", sampler.STAGES)
def test_failed_trials_count_but_have_no_value(stage: Stage) -> None:
    study = sampler.rebuilt_study(SPACE, by_unit(trial(0, 0.1, None, stage)))
    assert [t.value for t in study.trials] == [None]
