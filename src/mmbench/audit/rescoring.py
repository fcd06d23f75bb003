"""Second level of an audit: every stored state is loaded and ranks validation and test again.

It needs the data and minutes. What it computes is compared bit for bit: both splits were ranked from the stored state.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from mmbench import fingerprint, paths
from mmbench.audit.findings import Doubt, Said, same
from mmbench.audit.look_consistency import without_ranks
from mmbench.audit.recorded import Recorded
from mmbench.data.conditions import control_statistics
from mmbench.data.held_out import CANDIDATES
from mmbench.data.recdata import make_recdata
from mmbench.evaluation.ranking import DegenerateScores
from mmbench.messages import Message
from mmbench.scheduling.manifest import print_of
from mmbench.sealing.score_test import evaluator_of_test, stored_rankings, views_of_test
from mmbench.store import bounds, records
from mmbench.store.files import State, read_state
from mmbench.store.records import CellStore, frame_fingerprint, ranking_frames, read_looks, table_fingerprint
from mmbench.store.schema import CLOSED_FORM, Choice, DataPrint, Seal, Stage, Training, unscored
from mmbench.training.fit import baseline, evaluator_of_validation, offset_of, popularity_score, rebuild
from mmbench.training.loop import validation_scores
from mmbench.training.stopping import SELECTION_METRIC
from mmbench.tuning.study import feature_hash


def rescore(recorded: Recorded, planned: DataPrint, graph_dir: Path) -> Said:
    """Everything of a cell that is not what its data and states give.

    Args:
        recorded: the cell.
        planned: what the plan says of its data.
        graph_dir: where large item graphs are kept; never in the sweep, whose graphs somebody else may have written.
    """
    file, now = paths.cell_file(recorded.store.folder), print_of(recorded.job.dataset())
    for field in msgspec.structs.fields(DataPrint):
        yield from same(
            paths.manifest_file(recorded.store.sweep_dir),
            f"data.{field.name}",
            getattr(planned, field.name),
            getattr(now, field.name),
        )
    yield from same(file, "key", recorded.cell.key, recorded.job.store(recorded.task).key)
    coverage = recorded.job.coverage
    if coverage is not None and recorded.cell.lists is not None:  # records of earlier versions do not tell it
        yield from same(file, "config.lists", recorded.cell.lists, coverage._asdict())
    again = _Again(recorded, graph_dir)
    for store, training in recorded.trainings():
        yield from again.training(store, training)
    finals = [training for store, training in recorded.trainings() if training.stage == Stage.FINAL]
    failed = recorded.store.failure() is not None
    if failed and again.ranks and len(finals) >= recorded.cell.effort.seeds:
        why = Message("all of its final runs rank the test split; it is not confirmed")
        yield paths.failure_file(recorded.store.folder), "reason", Doubt(why)


class _Again:
    """Ranks the trainings of a cell again.

    Args:
        recorded: the cell.
        graph_dir: where large item graphs are kept.

    Attributes:
        chosen: the configuration of the present choice; None where nothing is chosen.
        ranks: whether every final run of that choice so far ranks the test split; no other training fails a cell there.
        sealed: files of test ranks that an opening of the test split has sealed.
        unscored: trials and proposals of which an opening of this test split says that they rank nothing of it.
    """

    def __init__(self, recorded: Recorded, graph_dir: Path) -> None:
        self.task, self.graph_dir, self.seal = recorded.task, graph_dir, recorded.store.seal()
        task = self.task
        self.device = task.recipe(task.default)[1].device
        self.validation = evaluator_of_validation(task.valid, task.train, task.new_valid, task.target, self.device)
        self.test, self.views = evaluator_of_test(task, recorded.split), views_of_test(task, recorded.split)
        self.popularity = popularity_score(self.validation, make_recdata(self.task.train, {}))
        folder = recorded.store.folder
        choice = paths.choice_file(folder)
        self.chosen = records.read(choice, Choice).configuration if choice.exists() else None
        looks = read_looks(folder) if choice.exists() else []
        self.sealed = {file for look in looks for file in look.files()}
        tried = {training.unit: training for _, training in recorded.trainings() if training.stage != Stage.FINAL}
        self.unscored = {
            unit
            for look in looks
            if look.seal.test_hash == recorded.split.test_fingerprint
            for unit in without_ranks(look, tried).values()
        }
        self.ranks = True

    def training(self, store: CellStore, training: Training) -> Said:
        """What of a training is not what its state gives."""
        task, unit = self.task, training.unit
        file = store.training_file(unit, paths.RECORD)
        features = task.inputs(training.seed)
        seen = feature_hash(features)
        yield from same(file, "feature_hash", training.feature_hash, seen)
        for name, control in training.controls.items():
            again = control_statistics(features[name], task.features[name])._asdict()
            yield from same(file, f"controls.{name}", msgspec.to_builtins(control), {"state": control.state, **again})
        decides = training.stage == Stage.FINAL and training.configuration == self.chosen
        if training.course is None or seen != training.feature_hash:
            self.ranks &= not decides
            return
        build, settings = task.recipe(training.configuration)
        state: State = {}
        if training.state_hash:
            state = read_state(store.training_file(unit, paths.STATE))
            yield from same(file, "state_hash", training.state_hash, fingerprint.of_named_arrays(state))
        data = make_recdata(task.train, features)
        model = rebuild(build, data, state, settings, training.seed, graph_dir=self.graph_dir)
        yield from same(file, "n_parameters", training.n_parameters, sum(p.numel() for p in model.parameters()))
        compared = baseline(self.validation, self.popularity, model, informed=task.informed)
        yield from same(file, "course.popularity", training.course.popularity, compared)
        closed = training.course.stop_reason == CLOSED_FORM
        if closed is bool(state):
            yield file, "course.stop_reason", Message("a closed form has no state, and only a closed form has none")
        try:
            per_user = validation_scores(self.validation, model)
        except DegenerateScores as error:
            yield file, "state", Message("its scores rank nothing: {error}", error=error)
            return
        offset = None
        if task.new_valid is not None and task.lists_new_items(training.stage):
            offset = offset_of(model, task.new_valid, task.train, self.device)
        yield from same(file, "course.offset", training.course.offset, offset)
        frame = pd.DataFrame({"user": self.validation.users.astype("int32"), SELECTION_METRIC: per_user})
        yield from _table(store, training, paths.VALIDATION, frame)
        if closed:
            yield from same(file, "course.history", training.course.history, [float(np.mean(per_user))])
        try:
            rankings = stored_rankings(task, store, training, self.test, self.graph_dir, model, self.views)
        except DegenerateScores as error:
            self.ranks &= not decides
            names = {unscored(training), f"trial {training.index}"}  # the second one stood for both in earlier versions
            if self.seal is not None and names.isdisjoint(_said_of(self.seal, str(error))):
                yield file, "state", Message("its scores rank nothing: {error}", error=error)
            return
        if unit in self.unscored:
            yield file, "state", Message("it ranks the test split, and a seal says that its scores rank nothing")
        if self.seal is None:
            return
        expected = {
            name: frame
            for ending, ranking in rankings.items()
            for name, frame in ranking_frames(ranking, ending).items()
        }
        opened = store.training_file(unit, paths.RANKS) in self.sealed
        for ending, frame in expected.items():
            ranked = store.training_file(unit, ending)
            # What was trained since waits for the next opening, and so do all of its files.
            if opened or ranked in self.sealed or ranked.exists():
                yield from _table(store, training, ending, frame)
        if unit.stage == Stage.FINAL:
            shuffled = map(paths.shuffled_ranks, paths.shuffled_modalities(store.folder, unit.number))
            for ending in (*shuffled, *map(paths.ranks_among, CANDIDATES)):
                if ending not in expected and (ranked := store.training_file(unit, ending)).exists():
                    yield ranked, "file", Message("no such ranks belong to it")


def _said_of(seal: Seal, error: str) -> list[str]:
    """Trials that a seal says to have such scores."""
    return [name for name, _, why in (line.partition(": ") for line in seal.unscored) if why == error]


def _table(store: CellStore, training: Training, ending: str, expected: pd.DataFrame) -> Said:
    """A stored table against the one that was computed again; the first column that differs is named."""
    file = store.training_file(training.unit, ending)
    if not file.exists():
        yield file, "file", Message("it is missing")
        return
    stored = bounds.read_table(file)
    if table_fingerprint(stored) == frame_fingerprint(expected):
        return
    column = next(
        (
            c
            for c in expected
            if c not in stored or table_fingerprint({c: stored[c]}) != frame_fingerprint(expected[[c]])
        ),
        next(iter(expected)),
    )
    yield file, str(column), Message("it is not what the stored state gives")
