"""Protocol ``cold`` from the task of a cell to its sealed records: what tuning aims at, sees, and what is ranked."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench import paths
from mmbench.data.dataset import Dataset
from mmbench.data.held_out import HeldOut
from mmbench.data.recdata import make_recdata
from mmbench.data.splits import Split
from mmbench.evaluation import metrics
from mmbench.evaluation.new_items import OFFSETS
from mmbench.report.catalogue import Catalogue, read_catalogue
from mmbench.report.table import CellResult
from mmbench.scheduling.job import Job
from mmbench.scheduling.manifest import print_of
from mmbench.scheduling.sweep import Sweep
from mmbench.scheduling.trust import NOTHING
from mmbench.sealing.score_test import is_scored, score_test
from mmbench.store import records
from mmbench.store.records import CellStore
from mmbench.store.schema import Manifest, Stage, Unit
from mmbench.training.batches import TripletLoader
from mmbench.tuning.cell import CellTask
from tests.tiny import TINY, composed, digests, make_job, opened, sealed, worked

COLD = ("dataset.protocol=cold", "dataset.cold_fold=1", "budget.trials=2", "budget.seeds=1", "training.batch_size=128")
TARGETS = ("cold", "warm", "harmonic")
#: What each target ranks, and what else every final run is ranked among.
VIEWS = {"cold": "cold", "warm": "warm", "harmonic": "all"}
FINAL = Unit(Stage.FINAL, 1)
Cell = tuple[CellTask, CellStore, Split]


def made(folder: Path, *words: str) -> Cell:
    job = make_job(folder, *COLD, *words)
    split = job.dataset().split
    task, store = opened(job)
    return task, worked(task, store, split), split


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, str], Cell]:
    """Sealed cells by target and condition."""
    return {
        (target, condition): made(tmp_path_factory.mktemp(target), f"tuning.target={target}", f"modality={condition}")
        for target in TARGETS
        for condition in ("none", "fused")
    }


@pytest.mark.thorough
def test_the_target_is_part_of_the_name_unless_it_is_the_usual_one(cells: Mapping[tuple[str, str], Cell]) -> None:
    names = [cells[target, "none"][0].cell.dataset for target in TARGETS]
    assert names == [f"planted-complementary-fold1{end}" for end in ("", "-warm", "-harmonic")]


def test_the_plan_names_the_target_of_each_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The default too, which stands in no name; a data set without new items has none, as in earlier plans."""
    words = [*TINY, f"paths.multirun={tmp_path}", "sweep.name=s", "model=vbpr", "modality=none"]
    asked = {
        "planted-complementary-fold1": (*COLD,),
        "planted-complementary-fold1-warm": (*COLD, "tuning.target=warm"),
        "planted-complementary": ("budget.trials=2", "budget.seeds=1"),
    }
    sweep = Sweep.plan([composed([*words, *more]).job() for more in asked.values()], words)
    printed = capsys.readouterr().out
    sweep.open()
    file = paths.manifest_file(sweep.folder)
    plan = records.read(file, Manifest)
    assert {name: plan.data[name].target for name in asked} == dict(zip(asked, ("cold", "warm", ""), strict=True))
    written = json.loads(file.read_text(encoding="utf-8"))["data"]
    assert {"target", "new_items"}.isdisjoint(written["planted-complementary"])
    assert "planted-complementary-fold1: tuned for and judged on new items among themselves." in printed
    assert "planted-complementary-fold1-warm: tuned for and judged on items of the training log" in printed
    assert "planted-complementary: tuned for" not in printed


def test_conditions_share_parts_pools_and_slots(cells: Mapping[tuple[str, str], Cell]) -> None:
    for target in TARGETS:
        (none, _, split), (fused, _, other) = (cells[target, condition] for condition in ("none", "fused"))
        assert none.split_fingerprint == fused.split_fingerprint
        assert split.test_fingerprint == other.test_fingerprint
        assert none.slots() == fused.slots()
        assert none.target == fused.target == target


def test_each_target_validates_what_it_aims_at(cells: Mapping[tuple[str, str], Cell]) -> None:
    """The score that chooses is that of its own candidates; a model without content cannot be chosen for new items."""
    for target in TARGETS:
        _, store, split = cells[target, "fused"]
        assert split.new_valid is not None
        valid = pd.read_parquet(store.training_file(FINAL, paths.VALIDATION))
        assert set(valid["user"]) == set(split.new_valid.among(VIEWS[target]).users)
        training = store.finished_trainings()[FINAL]
        assert training.score == pytest.approx(valid["ndcg@20"].mean(), rel=1e-12)
    scores = {target: [t.score for t in cells[target, "none"][1].finished_trainings().values()] for target in TARGETS}
    assert len(set(scores["cold"])) == 1, "nothing that is tuned moves the ties of new items"
    assert len(set(scores["warm"])) > 1


def test_without_content_the_last_epoch_is_kept(cells: Mapping[tuple[str, str], Cell]) -> None:
    """All are equal among new items, and the first would rank the other items as if the model had hardly trained."""
    finished = {target: cells[target, "none"][1].finished_trainings() for target in TARGETS}
    courses = [training.course for training in finished["cold"].values()]
    assert all(course.best_epoch == course.epochs > 1 == course.risen_at for course in courses if course is not None)
    assert len(courses) == 3


def of_everyone(cells: Mapping[tuple[str, str], Cell]) -> list[tuple[str, CellStore, Split]]:
    return [(target, store, split) for (target, _), (_, store, split) in cells.items()]


def ranked(store: CellStore, target: str, candidates: str) -> metrics.Ranking:
    ending = paths.RANKS if VIEWS[target] == candidates else paths.ranks_among(candidates)
    return records.read_tested(store.training_file(FINAL, ending))


def test_every_final_run_is_ranked_among_new_other_and_all_items(cells: Mapping[tuple[str, str], Cell]) -> None:
    for target, store, split in of_everyone(cells):
        part = split.new_test
        assert part is not None
        for candidates in ("cold", "warm", "all"):
            ranking, rows = ranked(store, target, candidates), part.among(candidates)
            pairs = set(zip(ranking.users[ranking.pairs.users], ranking.items, strict=True))
            assert pairs == set(zip(rows.users, rows.items, strict=True))
            assert ranking.pairs.candidates is not None
            assert (ranking.pairs.ranks <= ranking.pairs.candidates[ranking.pairs.users]).all()
            assert (ranking.pairs.new is not None) == (candidates == "all")
        assert (ranked(store, target, "cold").pairs.candidates == part.pool.sum()).all()
        seal = store.seal()
        assert seal is not None
        views = {f"finals/seed1.{c}.{paths.RANKS}" for c in VIEWS.values() if c != VIEWS[target]}
        assert views <= set(seal.files)


def test_warm_lists_hide_what_a_user_had_in_train_and_validation(cells: Mapping[tuple[str, str], Cell]) -> None:
    """For every target alike, those users included who hold out nothing else."""
    for target, store, split in of_everyone(cells):
        part, valid = split.new_test, split.new_valid
        assert part is not None
        assert valid is not None
        ranking = ranked(store, target, "warm")
        assert ranking.pairs.candidates is not None
        for place, user in enumerate(ranking.users):
            known = set(split.train.items[split.train.users == user]) | set(valid.rows.items[valid.rows.users == user])
            expected = part.warm.sum() - sum(part.warm[item] for item in known)
            assert ranking.pairs.candidates[place] == expected


def test_records_say_what_stood_in_the_rows_of_unseen_items(cells: Mapping[tuple[str, str], Cell]) -> None:
    for (target, _), (_, store, _) in cells.items():
        for training in store.finished_trainings().values():
            assert training.course is not None
            assert training.course.cold_rows == "zero"
            if training.stage == Stage.FINAL or target == "harmonic":
                assert training.course.offset in OFFSETS
            else:  # no list of a trial holds both kinds of items
                assert training.course.offset is None
            assert (training.course.popularity is None) == (cells["cold", "none"][1] is store)


def test_without_content_new_items_are_at_the_floor(cells: Mapping[tuple[str, str], Cell]) -> None:
    """Whatever was trained, for whatever target: the same ranks, those of the ties."""
    rankings = [ranked(cells[target, "none"][1], target, "cold") for target in TARGETS]
    assert all(np.array_equal(rankings[0].pairs.ranks, other.pairs.ranks) for other in rankings)
    pairs = rankings[0].pairs
    spread = metrics.per_user(pairs, "recall@5").std(ddof=1) / np.sqrt(pairs.n_users)
    distance = metrics.per_user(pairs, "recall@5").mean() - metrics.floor(pairs, "recall@5").mean()
    assert abs(distance) < 4 * spread


def redrawn(part: HeldOut) -> HeldOut:
    """Other users took other new items of test, and less often, so that no count of the pool is left as it was."""
    rng = np.random.default_rng(0)
    new = part.pool[part.rows.items]
    users, items = part.rows.users.copy(), part.rows.items.copy()
    users[new] = rng.permutation(users[new])
    counts = np.bincount(items[new], minlength=part.rows.n_items)[part.pool]
    rarest_first = np.flatnonzero(part.pool)[np.argsort(counts, kind="stable")]
    items[new] = rarest_first[(len(rarest_first) * rng.random(int(new.sum())) ** 3).astype(np.int64)]
    _, first = np.unique(users * part.rows.n_items + items, return_index=True)
    kept = np.zeros(len(users), bool)
    kept[first] = True
    kept[np.flatnonzero(new)[::4]] = False
    return replace(part, rows=replace(part.rows, users=users, items=items).select(kept))


@pytest.mark.parametrize("target", TARGETS)
def test_who_took_the_new_items_of_test_changes_no_trial(
    target: str, cells: Mapping[tuple[str, str], Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole, split = cells[target, "fused"]
    assert split.new_test is not None
    job = make_job(tmp_path, *COLD, f"tuning.target={target}", "modality=fused")
    moved = redrawn(split.new_test)
    before, after = (
        np.bincount(part.rows.items, minlength=part.rows.n_items)[part.pool] for part in (split.new_test, moved)
    )
    assert after.sum() < before.sum()
    assert np.corrcoef(before, after)[0, 1] < 0
    other: Dataset = replace(job.dataset(), split=replace(split, new_test=moved, test=moved.among(VIEWS[target])))
    assert moved.rows.fingerprint() != split.new_test.rows.fingerprint()
    monkeypatch.setattr(Job, "dataset", lambda self: other)
    task, store = opened(job)
    worked(task, store, other.split)
    assert store.key == whole.key
    of_test = (paths.RANKS, paths.LISTS, "sealed.json", "cell.json")
    tuned, expected = (
        {name: digest for name, digest in digests(one.folder).items() if not name.endswith(of_test)}
        for one in (store, whole)
    )
    assert tuned == expected
    assert len(tuned) > 5


def of_another_test(part: HeldOut, change: str) -> HeldOut:
    """Half of the rows with warm items, or a smaller pool of the same rows."""
    if change == "rows":
        warm = np.flatnonzero(part.warm[part.rows.items])
        return replace(part, rows=part.rows.select(np.setdiff1d(np.arange(len(part.rows)), warm[::2])))
    untaken = np.setdiff1d(np.flatnonzero(part.pool), part.rows.items)
    pool = part.pool.copy()
    pool[untaken if len(untaken) else np.flatnonzero(~part.pool & ~part.warm)] = len(untaken) == 0
    return replace(part, pool=pool)


@pytest.mark.parametrize("change", ["rows", "pool"])
def test_another_pool_or_other_warm_rows_are_another_test(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is ranked for the target stays; views and floors do not, so all is ranked again, and nothing trained."""
    task, store, split = made(tmp_path, "modality=fused")
    assert split.new_test is not None
    other = replace(split, new_test=of_another_test(split.new_test, change))
    assert other.test.fingerprint() == split.test.fingerprint()
    assert is_scored(store, split)
    assert not is_scored(store, other)
    dataset = make_job(tmp_path, *COLD).dataset()
    before, now = (print_of(replace(dataset, split=one)) for one in (split, other))
    assert before.new_items != now.new_items
    assert before.test_hash == split.test_fingerprint != now.test_hash
    monkeypatch.setattr("mmbench.tuning.study.fit", None)
    score_test(task, store, other)
    assert is_scored(store, other)
    warm = ranked(store, "cold", "warm")
    assert other.new_test is not None
    assert len(warm.items) == len(other.new_test.among("warm"))
    cold = ranked(store, "cold", "cold").pairs.candidates
    assert cold is not None
    assert cold.max() == other.new_test.pool.sum()


def test_ranks_of_an_earlier_test_do_not_stay_beside_those_of_another(tmp_path: Path) -> None:
    task, store, split = made(tmp_path, "modality=fused")
    part = split.new_test
    assert part is not None
    new = part.rows.select(part.pool[part.rows.items])
    other = replace(split, new_test=replace(part, rows=new))
    file = store.training_file(FINAL, paths.ranks_among("warm"))
    assert file.exists()
    score_test(task, store, other)
    assert not file.exists()
    seal = store.seal()
    assert seal is not None
    assert {f"finals/{path.name}" for path in file.parent.glob(f"*.{paths.RANKS}")} <= set(seal.files)


def test_a_report_reads_the_new_items_of_its_own_test_alone(cells: Mapping[tuple[str, str], Cell]) -> None:
    _, store, split = cells["cold", "fused"]
    cell = CellResult("a", "vbpr", "fused", "done", store.folder, test_hash=split.test_fingerprint)
    assert isinstance(read_catalogue(cell, NOTHING), Catalogue)
    earlier = replace(cell, test_hash=split.test.fingerprint())  # which names neither the pool nor the other rows
    assert read_catalogue(earlier, NOTHING) == "the data set is no longer the one that the sweep ran on"


def test_what_tuning_is_given_holds_nothing_of_test(cells: Mapping[tuple[str, str], Cell]) -> None:
    for target in TARGETS:
        task, _, split = cells[target, "fused"]
        assert split.new_test is not None
        given = pickle.dumps(task)
        assert split.new_test.rows.items.tobytes() not in given
        assert split.new_test.pool.tobytes() not in given
        assert split.new_valid is not None
        assert split.new_valid.pool.tobytes() in given  # so the lines above would see it


def test_negatives_are_all_warm_items_that_a_user_has_not_in_train(cells: Mapping[tuple[str, str], Cell]) -> None:
    """No new item is one; what a user holds out is one as any other is, because training does not know of it."""
    for target in TARGETS:
        task, _, split = cells[target, "fused"]
        assert split.new_valid is not None
        assert split.new_test is not None
        loader = TripletLoader(make_recdata(task.train, {}), 32, 0)
        drawn = {
            (int(user), int(item))
            for _ in range(60)
            for batch in loader
            for user, item in zip(batch.users, batch.negatives, strict=True)
        }
        assert split.new_test.warm[[item for _, item in drawn]].all()
        assert drawn.isdisjoint(zip(split.train.users.tolist(), split.train.items.tolist(), strict=True))
        for part in (split.new_valid, split.new_test):
            rows = part.among("warm")
            held_out = set(zip(rows.users.tolist(), rows.items.tolist(), strict=True))
            assert len(held_out & drawn) > 0.9 * len(held_out) > 10


def test_what_the_tail_loses_is_decided_by_train_alone(tmp_path: Path) -> None:
    """New items have no training interaction and are the tail, however often validation and test have them."""
    job = make_job(tmp_path, *COLD, "modality=text", "modality.missing_rule=tail", "+modality.missing.text=0.5")
    task, split = job.task(), job.dataset().split
    assert split.new_valid is not None
    assert split.new_test is not None
    counts = np.bincount(split.train.items, minlength=split.train.n_items)
    lost = task.features["text"].present & ~task.inputs(1)["text"].present
    assert lost.sum() == round(0.5 * task.features["text"].present.sum())
    assert lost[split.new_valid.pool | split.new_test.pool].all()
    assert counts[lost].max() <= counts[~lost].min()
    rows = split.whole
    everything = sum(np.bincount(part.items, minlength=part.n_items) for part in rows)
    assert np.asarray(everything)[lost].max() > np.asarray(everything)[~lost].min(), "counts of the whole log differ"


def test_slices_by_popularity_count_train_alone(cells: Mapping[tuple[str, str], Cell], tmp_path: Path) -> None:
    _, store, split = cells["cold", "fused"]
    catalogue = read_catalogue(
        CellResult("a", "vbpr", "fused", "done", store.folder, test_hash=split.test_fingerprint), NOTHING
    )
    assert isinstance(catalogue, Catalogue)
    assert np.array_equal(catalogue.item_counts, np.bincount(split.train.items, minlength=split.train.n_items))
    assert split.new_test is not None
    assert not catalogue.item_counts[split.new_test.pool].any()
    words = (
        "modality=text",
        "modality.missing_rule=slice",
        "modality.missing_slice=popularity:cold",
        "+modality.missing.text=1.0",
    )
    task = make_job(tmp_path, *COLD, *words).task()
    assert task.inside is not None
    assert np.array_equal(task.inside, catalogue.item_counts == 0)


@pytest.mark.thorough
def test_a_target_can_choose_another_configuration(tmp_path: Path) -> None:
    """Of the same two trials: how much weight content gets beside behaviour is best answered differently."""
    words = [*COLD, "model=cease", "modality=text", "model.content_weight=1.0", "~search"]
    words += ["+search.model.content_weight.choices=[1.0,300.0]"]
    chosen = {}
    for target in ("cold", "warm"):
        store = sealed(make_job(tmp_path / target, *words, f"tuning.target={target}"))
        choice = store.choice()
        assert choice is not None
        assert choice.n_trials == 2
        chosen[target] = choice.configuration["model.content_weight"]
    assert chosen == {"cold": 1.0, "warm": 300.0}


@pytest.mark.thorough
def test_slots_are_drawn_anew_for_every_fold_and_target(tmp_path: Path) -> None:
    """All conditions of a fold try the same configurations, other folds and targets their own after the default."""

    def slots(*words: str) -> tuple[tuple[object, ...], ...]:
        job = make_job(tmp_path, "model=vbpr", "dataset.protocol=cold", "budget.trials=6", *words)
        return tuple(tuple(sorted(slot.items())) for slot in job.task().slots())

    asked = [
        [f"dataset.cold_fold={fold}", f"tuning.target={target}"] for fold in range(5) for target in ("cold", "warm")
    ]
    found = [slots(*words, "modality=fused") for words in asked]
    assert found == [slots(*words, "modality=none") for words in asked]
    assert len({one[0] for one in found}) == 1
    drawn = [slot for one in found for slot in one[1:]]
    assert len(set(drawn)) == len(drawn) == 5 * len(asked)


def test_an_unknown_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tuning\.target=both is unknown; it is one of cold, warm, harmonic"):
        make_job(tmp_path, *COLD, "tuning.target=both")
    with pytest.raises(ValueError, match=r"tuning\.target=warm needs items that are new: dataset\.protocol is paper"):
        make_job(tmp_path, "tuning.target=warm").task()
