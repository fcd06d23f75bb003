"""What the records of a condition give to the tuned gain."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from mmbench import paths
from mmbench.inference.best_of_n import NO_SEED_NOISE, SeedNoise
from mmbench.inference.looks import level_of_look
from mmbench.report.cell_effort import CellEffort, Soundness, read_cell
from mmbench.report.comparisons import level_of
from mmbench.report.table import is_exact
from mmbench.store import records
from mmbench.store.bounds import Damaged
from mmbench.store.schema import Stage, Trial
from tests import records as valid
from tests.report.constructed import Made, hit_users, write_earlier_look, write_sweep

USERS = 100
FINALS = np.stack([hit_users(USERS, range(n)) for n in (50, 40, 60)])
TRIALS = np.stack([hit_users(USERS, range(30 + slot)) for slot in range(8)])


def effort(folder: Path, **changes: Any) -> CellEffort:
    made = Made(
        **{"finals": FINALS, "trials": TRIALS, "cell": {"states": {"image": "real", "text": "drop"}}, **changes}
    )
    sweep = write_sweep(folder / "s", {("d", "m", "image"): made})
    return read(sweep)


def read(sweep: Path) -> CellEffort:
    return read_cell("image", paths.cell_dir(sweep, "d", "m", "image"), {}, "ndcg@20")


def test_a_choice_without_any_trial_names_the_one_that_is_missing(tmp_path: Path) -> None:
    effort(tmp_path)
    chosen = paths.training_file(paths.cell_dir(tmp_path / "s", "d", "m", "image"), Stage.TRIAL, 7, paths.RECORD)
    shutil.rmtree(chosen.parent)
    with pytest.raises(Damaged, match=r"trials/007\.json is missing, empty, cut or overwritten; the command that"):
        read(tmp_path / "s")


def test_trials_users_and_seed_noise(tmp_path: Path) -> None:
    cell = effort(tmp_path).tuned_cell
    assert (cell.name, cell.n_modalities) == ("m/image", 1)
    tuning = cell.tuning
    assert tuning.users.tolist() == list(range(USERS))
    assert tuning.means == pytest.approx((30 + np.arange(8)) / USERS)
    assert tuning.scores == pytest.approx(tuning.means)
    assert len(set(tuning.configurations)) == 8
    assert tuning.seed_noise == SeedNoise(pytest.approx(0.2), 2.0)  # of .5, .4 and .6
    assert not tuning.exhausted


def test_failed_trials_and_those_without_a_test_score(tmp_path: Path) -> None:
    scores = [0.3, None, 0.32, 0.33, 0.34, 0.35, 0.36, 0.37]
    made = effort(tmp_path, validation=scores)
    paths.training_file(made.folder, Stage.TRIAL, 2, paths.RANKS).unlink()  # degenerate on test
    tuning = read(made.folder.parents[2]).tuning
    assert np.flatnonzero(np.isneginf(tuning.scores)).tolist() == [1, 2]
    assert np.isnan(tuning.means[[1, 2]]).all()


def test_users_that_differ_are_an_error(tmp_path: Path) -> None:
    made = effort(tmp_path)
    file = paths.training_file(made.folder, Stage.TRIAL, 3, paths.RANKS)
    pd.read_parquet(file).iloc[1:].to_parquet(file)
    with pytest.raises(ValueError, match="image: its trials were tested with different users"):
        _ = read(made.folder.parents[2]).tuning


def test_proposals_take_no_part(tmp_path: Path) -> None:
    made = effort(tmp_path)
    proposal = valid.trial(0, 0.99, Stage.PROPOSAL, cell_key=made.cell.key, configuration={"optimizer.lr": 0.5})
    records.write(paths.training_file(made.folder, *proposal.unit, paths.RECORD), proposal)
    again = read(made.folder.parents[2])
    assert len(again.proposals) == 1
    assert again.tuning.scores.tolist() == made.tuning.scores.tolist()


def test_where_only_a_proposal_succeeded_every_trial_has_failed(tmp_path: Path) -> None:
    made = effort(tmp_path)
    for slot in range(8):
        file = paths.training_file(made.folder, Stage.TRIAL, slot, paths.RECORD)
        failed = msgspec.structs.replace(records.read(file, Trial), course=None)
        records.write(file, failed)
        paths.training_file(made.folder, Stage.TRIAL, slot, paths.RANKS).unlink()
    tuning = read(made.folder.parents[2]).tuning
    assert np.isneginf(tuning.scores).all()
    assert tuning.users.tolist() == list(range(USERS))


@pytest.mark.parametrize("drawn", [{"feature_hash": "another permutation"}, {"validation_hash": "other scores"}])
def test_a_closed_form_is_exact_unless_it_or_its_features_hold_chance(tmp_path: Path, drawn: dict[str, str]) -> None:
    closed = {"courses": [{"stop_reason": "closed_form"}] * 8, "final": {"stop_reason": "closed_form"}}
    made = effort(tmp_path, **closed)
    assert (made.exact, made.seeds, made.tuning.seed_noise) == (True, None, NO_SEED_NOISE)
    file = paths.final_file(made.folder, 2, paths.RECORD)
    final = records.read(file, type(made.finals[0]))
    records.write(file, msgspec.structs.replace(final, **drawn))
    shuffled = read(made.folder.parents[2])
    assert (shuffled.exact, shuffled.seeds) == (False, 3)
    assert shuffled.tuning.seed_noise == SeedNoise(pytest.approx(0.2), 2.0)


def test_the_proposal_that_was_chosen_tells_one_final_run_whether_a_computed_model_draws(tmp_path: Path) -> None:
    """Of its configuration there is no other training, and the gain had no seed noise."""
    proposed, closed = {"optimizer.lr": 0.5}, {"stop_reason": "closed_form"}
    found = {}
    for validated in ("a", "b"):
        made = effort(tmp_path / validated, courses=[closed] * 8, final=closed)
        for number in (2, 3):
            paths.final_file(made.folder, number, paths.RECORD).unlink()
        changes = {"cell_key": made.cell.key, "configuration": proposed, "course": valid.course(**closed)}
        for training, scores in (
            (valid.final(1, **changes), "a"),
            (valid.trial(0, 0.99, Stage.PROPOSAL, **changes), validated),
        ):
            training = msgspec.structs.replace(
                training, validation_hash=scores, feature_hash=made.trials[0].feature_hash
            )
            records.write(paths.training_file(made.folder, *training.unit, paths.RECORD), training)
        found[validated] = read(made.folder.parents[2]).exact
    assert found == {"a": True, "b": False}


def test_the_trial_that_was_chosen_tells_one_final_run_whether_a_computed_model_draws() -> None:
    runs = [valid.trial(0), valid.trial(1), valid.final(1, configuration={"model.size": 1})]
    computed = [msgspec.structs.replace(run, course=valid.course(stop_reason="closed_form")) for run in runs]
    alike, drawn = (
        [msgspec.structs.replace(run, validation_hash=scores) for run, scores in zip(computed, each, strict=True)]
        for each in ("abb", "abc")
    )
    assert (is_exact(alike), is_exact(drawn)) == (True, False)


@pytest.mark.parametrize(
    ("search", "exhausted"),
    [
        ({"model": {"k": {"low": 1, "high": 8}}}, True),
        ({"model": {"k": {"low": 1, "high": 9}}}, False),
        ({"model": {"k": {"low": 1, "high": 7, "step": 2}, "norm": {"choices": ["a", "b"]}}}, True),
        ({"model": {"x": {"low": 0.0, "high": 1.0}}}, False),
        ({"model": {"x": {"low": 0.1, "high": 1.0, "zero": 0.25}}}, False),
        ({"model": {"x": {"low": 0.5, "high": 0.5, "zero": 0.25}, "k": {"low": 1, "high": 4}}}, True),
        ({}, True),
    ],
)
def test_a_space_that_holds_no_more_is_exhausted(tmp_path: Path, search: dict[str, Any], exhausted: bool) -> None:
    assert effort(tmp_path, config={"search": search}).tuning.exhausted == exhausted


def test_weights_are_those_of_a_third_of_the_trials(tmp_path: Path) -> None:
    """Ascending scores: of 2 among 7, the best has 6 of 21 pairs, the next 5, and so on."""
    assert effort(tmp_path).weights == pytest.approx(np.array([0, 0, 1, 2, 3, 4, 5, 6]) / 21)


def test_marks_weigh_what_is_chosen(tmp_path: Path) -> None:
    light, heavy = [{}] * 8, [{}] * 8
    light[3], heavy[7] = {"popularity": 0.9}, {"popularity": 0.9}
    assert effort(tmp_path / "light", courses=light).marks(0.02) == []
    assert effort(tmp_path / "heavy", courses=heavy).marks(0.02) == ["stalled"]
    assert effort(tmp_path / "final", final={"popularity": 0.9}).marks(0.02) == ["stalled"]


def test_marks_count_together(tmp_path: Path) -> None:
    """Weights of 2/21 and 1/21 are a tenth together, and neither is one alone."""
    both = [{}] * 8
    rising = {"history": [0.1, 0.2, 0.3, 0.3, 0.32], "best_epoch": 5, "stop_reason": "max_steps"}
    both[3], both[2] = {"popularity": 0.9}, rising
    assert effort(tmp_path / "both", courses=both).marks(0.02) == ["stalled", "cut off"]
    both[3] = {}
    assert effort(tmp_path / "one", courses=both).marks(0.02) == []


def test_marks_of_a_side_count_together() -> None:
    """Its word is barred by a weight of more than a tenth."""
    for weight, too_much in ((0.06, True), (0.05, False)):
        assert Soundness({"stalled": weight, "cut off": weight}, failed=0, trials=8).untrained_too_much is too_much


@pytest.mark.parametrize(
    ("stalled", "cut_off", "shares"),
    [
        (0.29, 0.0, {"stalled": "29"}),
        (0.102, 0.0, {"stalled": "10.2"}),
        (0.105, 0.003, {"stalled": "10.5", "cut off": "0.3"}),
        (0.2, 0.003, {"stalled": "20", "cut off": "0.3"}),
        (0.064, 0.044, {"stalled": "6.4", "cut off": "4.4"}),
        (1.0, 0.0, {"stalled": "100"}),
    ],
)
def test_weights_that_are_too_much_are_shown_as_too_much(
    stalled: float, cut_off: float, shares: dict[str, str]
) -> None:
    assert Soundness({"stalled": stalled, "cut off": cut_off}, failed=0, trials=8).shares == shares


def test_the_level_is_that_of_the_condition_that_was_opened_most_often(tmp_path: Path) -> None:
    once, twice = effort(tmp_path / "once"), effort(tmp_path / "twice")
    write_earlier_look(twice.folder, 5, FINALS)
    twice = read(twice.folder.parents[2])
    assert (once.n_looks, twice.n_looks) == (1, 2)
    assert (once.n_looks_with(1), twice.n_looks_with(1)) == (2, 3)
    assert level_of([once, once]) == level_of_look(1)
    assert level_of([once, twice]) == level_of([twice, once]) == level_of([once, once], further=1) == level_of_look(2)


def test_a_condition_at_an_earlier_look(tmp_path: Path) -> None:
    made = effort(tmp_path)
    assert [look.number for look in made.openings] == [1]
    other = np.stack([hit_users(USERS, range(n)) for n in (20, 20, 26)])
    write_earlier_look(made.folder, 5, other)
    again = read(made.folder.parents[2])
    assert [(look.number, look.trials) for look in again.openings] == [(1, 5), (2, 8)]
    past = again.past(1)
    assert (len(past.trials), past.choice.slot, len(past.openings)) == (5, 4, 1)
    assert past.tuning.scores.tolist() == made.tuning.scores[:5].tolist()
    assert past.finals_test == pytest.approx([0.2, 0.2, 0.26])  # those that were set aside
    assert again.past(2) is again
    assert again.finals_test == made.finals_test


def test_a_look_at_another_test_split_does_not_count(tmp_path: Path) -> None:
    made = effort(tmp_path)
    write_earlier_look(made.folder, 5, FINALS, test_hash="another")
    again = read(made.folder.parents[2])
    assert len(again.looks) == 2
    assert [look.trials for look in again.openings] == [8]
