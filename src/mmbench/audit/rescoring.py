"""Second level of an audit: every stored state is loaded and ranks validation and test again.

It needs the data and minutes. What it computes is compared bit for bit: both splits were ranked from the stored state.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pandas as pd

from mmbench import fingerprint, paths
from mmbench.audit.consistency import Said, same
from mmbench.audit.recorded import Recorded
from mmbench.data.conditions import control_statistics
from mmbench.data.recdata import make_recdata
from mmbench.evaluation.ranking import DegenerateScores, Evaluator
from mmbench.messages import Message
from mmbench.scheduling.planning import print_of
from mmbench.sealing.score_test import stored_rankings
from mmbench.store.files import State, read_state
from mmbench.store.records import CellStore, frame_fingerprint, ranking_frames
from mmbench.store.schema import DataPrint, Seal, Stage, Training
from mmbench.training.fit import popularity_score, rebuild
from mmbench.training.loop import SELECTION_METRIC, validation_scores
from mmbench.tuning.study import feature_hash


def rescore(recorded: Recorded, planned: DataPrint) -> Said:
    """Everything of a cell that is not what its data and states give.

    Args:
        recorded: the cell.
        planned: what the plan says of its data.
    """
    file = paths.cell_file(recorded.store.folder)
    now = print_of(recorded.job.dataset())
    for field in msgspec.structs.fields(DataPrint):
        yield from same(
            paths.manifest_file(recorded.store.sweep_dir),
            f"data.{field.name}",
            getattr(planned, field.name),
            getattr(now, field.name),
        )
    yield from same(file, "key", recorded.cell.key, recorded.job.store(recorded.task).key)
    seal = recorded.store.seal()
    validation = Evaluator(recorded.task.valid, recorded.task.train)
    for store, training in recorded.trainings():
        yield from _training(recorded, store, training, seal, validation)


def _training(
    recorded: Recorded, store: CellStore, training: Training, seal: Seal | None, validation: Evaluator
) -> Said:
    task, unit = recorded.task, training.unit
    file = store.training_file(unit, paths.RECORD)
    features = task.inputs(training.seed)
    yield from same(file, "feature_hash", training.feature_hash, feature_hash(features))
    for name, control in training.controls.items():
        again = control_statistics(features[name], task.features[name])._asdict()
        yield from same(file, f"controls.{name}", msgspec.to_builtins(control), {"state": control.state, **again})
    if training.course is None:
        return
    build, settings = task.recipe(training.configuration)
    state: State = {}
    if training.state_hash:
        state = read_state(store.training_file(unit, paths.STATE))
        yield from same(file, "state_hash", training.state_hash, fingerprint.of_named_arrays(state))
    data = make_recdata(task.train, features)
    model = rebuild(build, data, state, settings, training.seed, graph_dir=paths.graph_dir(store.sweep_dir))
    yield from same(file, "n_parameters", training.n_parameters, sum(p.numel() for p in model.parameters()))
    yield from same(file, "course.popularity", training.course.popularity, popularity_score(validation, data))
    closed = training.course.stop_reason == "closed_form"
    if closed is bool(state):
        yield file, "course.stop_reason", Message("a closed form has no state, and only a closed form has none")
    try:
        per_user = validation_scores(validation, model)
    except DegenerateScores as error:
        yield file, "state", Message("its scores rank nothing: {error}", error=error)
        return
    frame = pd.DataFrame({"user": validation.users.astype("int32"), SELECTION_METRIC: per_user})
    yield from _table(store, training, paths.VALIDATION, frame)
    if training.unit.stage == Stage.FINAL and closed:
        yield from same(file, "course.history", training.course.history, [float(np.mean(per_user))])
    if seal is None:
        return
    try:
        rankings = stored_rankings(task, store, recorded.split, training)
    except DegenerateScores as error:
        reason = f"trial {training.index}: {error}"
        if reason not in seal.unscored:
            yield file, "state", Message("its scores rank nothing: {error}", error=error)
        return
    expected = {
        name: frame for ending, ranking in rankings.items() for name, frame in ranking_frames(ranking, ending).items()
    }
    for ending, frame in expected.items():
        yield from _table(store, training, ending, frame)
    for modality in paths.shuffled_modalities(store.folder, unit.number) if unit.stage == Stage.FINAL else ():
        if paths.shuffled_ranks(modality) not in expected:
            yield (
                store.training_file(unit, paths.shuffled_ranks(modality)),
                "file",
                Message("no such ranks belong to it"),
            )


def _table(store: CellStore, training: Training, ending: str, expected: pd.DataFrame) -> Said:
    """A stored table against the one that was computed again; the first column that differs is named."""
    file = store.training_file(training.unit, ending)
    if not file.exists():
        yield file, "file", Message("it is missing")
        return
    stored = pd.read_parquet(file)
    if frame_fingerprint(stored) == frame_fingerprint(expected):
        return
    column = next((c for c in expected if c not in stored or len(stored) != len(expected)), None)
    if column is None:
        column = next(c for c in expected if frame_fingerprint(stored[[c]]) != frame_fingerprint(expected[[c]]))
    yield file, str(column), Message("it is not what the stored state gives")
