"""Sweeps whose every record is written down, so that every number of a report can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench import paths
from mmbench.fingerprint import of_json
from mmbench.store import files, records, schema
from mmbench.store.schema import CellName, Effort
from tests import records as valid

HIT, MISS = 1, 60
SEARCH = {"optimizer": {"lr": {"low": 1e-3, "high": 1.0, "log": True}}}
CONTRASTS = ("text_vs_none",)
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
        trials: hits of each slot, ``(n_trials, n_users)``; the mean is its validation score too.
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
) -> Path:
    """Write the records of a sweep and return its folder."""
    seeds = max((len(made.finals) for made in cells.values()), default=0)
    budget = {"name": "standard", "trials": 2, "seeds": seeds, "max_steps": 9}
    planned = []
    for names, made in cells.items():
        name = CellName(*names)
        key = of_json(list(name))
        place = paths.cell_dir(folder, *name)
        relative = str(place.relative_to(folder))
        planned.append(valid.planned(**name._asdict(), key=key, folder=relative, trials=2, seeds=seeds))
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
    )
    records.write(paths.manifest_file(folder), manifest)
    return folder


def _write_cell(place: Path, name: CellName, key: str, made: Made, budget: Mapping[str, Any]) -> None:
    config = {"model": {"_target_": name.model}, "search": SEARCH, "optimizer": {}, "budget": dict(budget)}
    config |= {"dataset": {"name": name.dataset}, "modality": {"missing": {}}, **made.config}
    n_trials = 2 if made.trials is None else len(made.trials)
    effort = Effort(trials=n_trials, proposals=0, seeds=len(made.finals))
    cell = valid.cell(**{**name._asdict(), "key": key, "config": config, "effort": effort, **made.cell})
    records.write(paths.cell_file(place), cell)
    if made.failure:
        failure = schema.CellFailure(key=key, reason=made.failure, traceback="")
        records.write(paths.failure_file(place), failure)
        return
    tried = made.finals[[0, 0]] if made.trials is None else made.trials
    trials = [
        valid.trial(
            slot,
            cell_key=key,
            configuration={"optimizer.lr": 0.01 * (slot + 1)},
            course=_course(float(hits.mean())),
        )
        for slot, hits in enumerate(tried)
    ]
    best = max(trials, key=lambda trial: trial.score)
    finals = [
        valid.final(seed, cell_key=key, configuration=best.configuration, course=_course(0.2))
        for seed in range(1, len(made.finals) + 1)
    ]
    for training, hits in zip((*trials, *finals), (*tried, *made.finals), strict=True):
        records.write(paths.training_file(place, *training.unit, paths.RECORD), training)
        _write_ranks(paths.training_file(place, *training.unit, paths.RANKS), hits, made.items)
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


def _course(score: float) -> schema.Course:
    """Nine epochs, the fourth the best one."""
    return valid.course(history=[0.0, 0.0, 0.0, score] + 5 * [0.0], best_epoch=4, stop_reason="patience")


def _write_ranks(file: Path, hits: Hits, items: NDArray[np.int32] | None) -> None:
    users = np.arange(len(hits), dtype=np.int32)
    held_out = users % 50 if items is None else items
    ranks = np.where(hits, HIT, MISS).astype(np.int32)
    files.write_parquet(file, pd.DataFrame({"user": users, "item": held_out.astype(np.int32), "rank": ranks}))
