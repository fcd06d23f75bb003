"""Sweeps whose every record is written down, so that every number of a report can be worked out by hand."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench import paths
from mmbench.fingerprint import of_json
from mmbench.report.table import packaged_class
from mmbench.store import files, records, schema
from mmbench.store.schema import CellName, Effort
from tests import records as valid

HIT, MISS = 1, 60
SEARCH = {"optimizer": {"lr": {"low": 1e-3, "high": 1.0, "log": True}}}
CONTRASTS = ("text_vs_none",)
#: Trials of a cell that names none: the fewest that allow a word.
TRIALS = 8
Hits = NDArray[np.bool_]


def hit_users(n_users: int, *spans: range) -> Hits:
    """Users whose one held-out item is ranked first: NDCG@20 is 1 for them and 0 for all others, ``(n_users,)``."""
    hit = np.zeros(n_users, bool)
    for span in spans:
        hit[span] = True
    return hit


@dataclass(frozen=True)
class Made:
    """The records of one cell.

    Args:
        finals: hits of each seed, ``(n_seeds, n_users)``.
        trials: hits of each slot, ``(n_trials, n_users)``; by default eight times those of the first seed.
        validation: validation score of each slot; by default the mean of its hits, None for a failed trial.
        courses: what the training of each slot came to besides its score.
        final: what the training of each final run came to besides its score.
        ranks: rank of the held-out item of each user in all trials and finals, ``(n_users,)``, in place of the hits.
        failure: why it failed; then nothing else is written.
        missing: planned, but nothing was written.
        config: what its configuration says besides.
        lists: recommended items of each seed, ``(n_seeds, n_users, k)``.
        items: held-out item of each user.
        shuffled: hits of each seed with a modality shuffled at inference, by its name.
        seal: changes to its seal.
        cell: changes to the record of the cell.
    """

    finals: Hits = field(default_factory=lambda: np.zeros((0, 0), bool))
    trials: Hits | None = None
    validation: Sequence[float | None] | None = None
    courses: Sequence[Mapping[str, Any]] | None = None
    final: Mapping[str, Any] = field(default_factory=dict)
    ranks: NDArray[np.int64] | None = None
    failure: str = ""
    missing: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)
    lists: NDArray[np.int32] | None = None
    items: NDArray[np.int32] | None = None
    shuffled: Mapping[str, Hits] = field(default_factory=dict)
    seal: Mapping[str, Any] = field(default_factory=dict)
    cell: Mapping[str, Any] = field(default_factory=dict)


def write_sweep(
    folder: Path,
    cells: Mapping[tuple[str, str, str], Made],
    *,
    contrasts: Sequence[str] = CONTRASTS,
    delta: float = 0.02,
    metrics: Sequence[str] = ("ndcg@20",),
    **changes: Any,
) -> Path:
    """Write the records of a sweep and return its folder; ``changes`` are of its manifest."""
    seeds = max((len(made.finals) for made in cells.values()), default=0)
    budget = {"name": "standard", "trials": TRIALS, "seeds": seeds, "patience_steps": 9, "max_steps": 9}
    planned = []
    for names, made in cells.items():
        name = CellName(*names)
        key = of_json(list(name))
        place = paths.cell_dir(folder, *name)
        relative = str(place.relative_to(folder))
        planned.append(valid.planned(**name._asdict(), key=key, folder=relative, trials=TRIALS, seeds=seeds))
        if not made.missing:
            _write_cell(place, name, key, made, budget)
    manifest = valid.manifest(
        name=folder.name,
        budget=budget,
        delta=delta,
        contrasts=list(contrasts),
        metrics=list(metrics),
        modalities=sorted({modality for _, _, modality in cells}),
        cells=planned,
        **changes,
    )
    records.write(paths.manifest_file(folder), manifest)
    return folder


def _write_cell(place: Path, name: CellName, key: str, made: Made, budget: Mapping[str, Any]) -> None:
    config = {
        "model": {"_target_": packaged_class(name.model) or name.model},
        "search": SEARCH,
        "optimizer": {},
        "budget": dict(budget),
    }
    config |= {"dataset": {"name": name.dataset}, "modality": {"missing": {}}, **made.config}
    n_trials = TRIALS if made.trials is None else len(made.trials)
    effort = Effort(trials=n_trials, proposals=0, seeds=len(made.finals))
    cell = valid.cell(**{**name._asdict(), "key": key, "config": config, "effort": effort, **made.cell})
    records.write(paths.cell_file(place), cell)
    if made.failure:
        failure = schema.CellFailure(key=key, reason=made.failure, traceback="")
        records.write(paths.failure_file(place), failure)
        return
    tried = made.finals[[0] * TRIALS] if made.trials is None else made.trials
    scores = [float(hits.mean()) for hits in tried] if made.validation is None else made.validation
    courses = [{}] * len(tried) if made.courses is None else made.courses
    trials = [
        valid.trial(
            slot,
            cell_key=key,
            configuration={"optimizer.lr": 0.01 * (slot + 1)},
            course=None if score is None else _course(score, **course),
        )
        for slot, (score, course) in enumerate(zip(scores, courses, strict=True))
    ]
    best = max((trial for trial in trials if trial.succeeded), key=lambda trial: trial.score)
    finals = [
        valid.final(seed, cell_key=key, configuration=best.configuration, course=_course(0.2, **made.final))
        for seed in range(1, len(made.finals) + 1)
    ]
    for training, hits in zip((*trials, *finals), (*tried, *made.finals), strict=True):
        records.write(paths.training_file(place, *training.unit, paths.RECORD), training)
        if training.succeeded:
            file = paths.training_file(place, *training.unit, paths.RANKS)
            _write_ranks(file, hits, made.items, made.ranks)
    for final in finals:
        for modality, by_seed in made.shuffled.items():
            file = paths.final_file(place, final.index, paths.shuffled_ranks(modality))
            _write_ranks(file, by_seed[final.index - 1], made.items)
        if made.lists is not None:
            lists = made.lists[final.index - 1]
            frame = pd.DataFrame({"user": np.arange(len(lists), dtype=np.int32), "items": list(lists)})
            files.write_parquet(paths.final_file(place, final.index, paths.LISTS), frame)
    choice = valid.choice(best, n_trials=len(trials))
    records.write(paths.choice_file(place), choice)
    seal = valid.seal(choice, **{"finals": [final.index for final in finals], **made.seal})
    records.write(paths.seal_file(place), seal)


def _course(score: float, **changes: Any) -> schema.Course:
    """Nine epochs, the fourth the best one."""
    history = [0.0, 0.0, 0.0, score] + 5 * [0.0]
    return valid.course(**{"history": history, "best_epoch": 4, "stop_reason": "patience", **changes})


def _write_ranks(
    file: Path, hits: Hits, items: NDArray[np.int32] | None, given: NDArray[np.int64] | None = None
) -> None:
    users = np.arange(len(hits), dtype=np.int32)
    held_out = users % 50 if items is None else items
    ranks = (np.where(hits, HIT, MISS) if given is None else given).astype(np.int32)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(_as_parquet(users.tobytes(), held_out.astype(np.int32).tobytes(), ranks.tobytes()))


@functools.lru_cache(4096)
def _as_parquet(*columns: bytes) -> bytes:
    """A file of ranks; most trials of a sweep that is made by hand have the same."""
    arrays = [np.frombuffer(column, np.int32) for column in columns]
    frame = pd.DataFrame(dict(zip(("user", "item", "rank"), arrays, strict=True)))
    written = io.BytesIO()
    frame.to_parquet(written, index=False, write_page_checksum=True)
    return written.getvalue()


def write_earlier_look(place: Path, n_trials: int, finals: Hits | None = None, **seal: Any) -> None:
    """Write what a cell was when it had so many trials, as if T had been raised since.

    Args:
        place: folder of the cell.
        n_trials: T of then.
        finals: hits of each final run of then, where another configuration was chosen; they were set aside.
        seal: changes to the seal of then.
    """
    cell = records.read(paths.cell_file(place), schema.Cell)
    trials = records.read_trainings(place, schema.Stage.TRIAL, cell.key)[:n_trials]
    best = max((trial for trial in trials if trial.score is not None), key=lambda trial: trial.score or 0.0)
    choice = valid.choice(best, n_trials=n_trials)
    folder = paths.look_dir(place, paths.looks_kept(place) + 1)
    now = records.read(paths.seal_file(place), schema.Seal)
    n_finals = len(now.finals) if finals is None else len(finals)
    records.write(paths.choice_file(folder), choice)
    fields = {"finals": list(range(1, n_finals + 1)), "test_hash": now.test_hash}
    records.write(paths.seal_file(folder), valid.seal(choice, **{**fields, **seal}))
    for number, hits in enumerate([] if finals is None else finals, 1):
        aside = paths.aside_dir(place, best.configuration_hash)
        final = valid.final(number, cell_key=cell.key, configuration=best.configuration, course=_course(0.2))
        records.write(paths.final_file(aside, number, paths.RECORD), final)
        _write_ranks(paths.final_file(aside, number, paths.RANKS), hits, None)
