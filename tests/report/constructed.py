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
from mmbench.store import records
from mmbench.tuning.space import configuration_hash

HIT, MISS = 1, 60
SEARCH = {"optimizer": {"lr": {"low": 1e-3, "high": 1.0, "log": True}}}
CONTRASTS = ("text_vs_none",)
Hits = NDArray[np.bool_]


def found(n_users: int, *spans: range) -> Hits:
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
        seal: changes to its ``sealed.json``.
        cell: changes to its ``cell.json``.
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
    budget = {"name": "standard", "trials": 2, "seeds": seeds, "max_epochs": 9}
    planned = []
    for (dataset, model, modality), made in cells.items():
        key = of_json([dataset, model, modality])
        place = paths.cell_dir(folder, dataset, model, modality)
        planned.append({"dataset": dataset, "model": model, "modality": modality, "key": key,
                        "folder": str(place.relative_to(folder)), "trainings": 2 + seeds})  # fmt: skip
        if not made.missing:
            _write_cell(place, (dataset, model, modality), key, made, budget)
    manifest = {"kind": "manifest", "name": folder.name, "budget": budget, "delta": delta, "contrasts": list(contrasts)}
    modalities = sorted({modality for _, _, modality in cells})
    records.write_json(
        paths.manifest_file(folder),
        {**manifest, "metrics": list(metrics), "modalities": modalities, "cells": planned},
    )
    return folder


def _write_cell(place: Path, names: tuple[str, str, str], key: str, made: Made, budget: Mapping[str, Any]) -> None:
    dataset, model, modality = names
    config = {"model": {"_target_": model}, "search": SEARCH, "optimizer": {}, "budget": budget}
    config |= {"dataset": {"name": dataset}, "modality": {"missing": {}}, **made.config}
    described = {"kind": "cell", "dataset": dataset, "model": model, "modality": modality, "states": {}}
    described["config"] = config
    records.write_json(place / "cell.json", {**described, "key": key, "split_hash": "s", **made.cell})
    if made.failure:
        records.write_json(place / "failure.json", {"kind": "failure", "key": key, "reason": made.failure})
        return
    trials = made.finals[[0, 0]] if made.trials is None else made.trials
    scores = [float(hits.mean()) for hits in trials]
    configurations = [{"optimizer.lr": 0.01 * (slot + 1)} for slot in range(len(trials))]
    shared = {"cell_key": key, "status": "ok", "stop_reason": "patience", "epochs": 9, "best_epoch": 4}
    shared |= {"n_parameters": 7, "controls": {}}
    for slot, hits in enumerate(trials):
        record = {**shared, "stage": "tune", "index": slot, "seed": 10_000 + slot, "score": scores[slot]}
        record |= _configured(configurations[slot])
        records.write_json(paths.trial_file(place, slot, "json"), record)
        _write_ranks(paths.trial_file(place, slot, "test.parquet"), hits, made.items)
    best = int(np.argmax(scores))
    for seed, hits in enumerate(made.finals, 1):
        record = {**shared, "stage": "final", "index": seed, "seed": seed, "history": [0.1, 0.2], "feature_hash": "f"}
        records.write_json(paths.final_file(place, seed, "json"), {**record, **_configured(configurations[best])})
        _write_ranks(paths.final_file(place, seed, "test.parquet"), hits, made.items)
        for name, by_seed in made.shuffled.items():
            _write_ranks(paths.final_file(place, seed, f"shuffled_{name}.test.parquet"), by_seed[seed - 1], made.items)
        if made.lists is not None:
            lists = made.lists[seed - 1]
            frame = pd.DataFrame({"user": np.arange(len(lists), dtype=np.int32), "items": list(lists)})
            records.write_parquet(paths.final_file(place, seed, "lists.parquet"), frame)
    choice = {"slot": best, "hash": f"h{best}", "configuration": configurations[best], "score": scores[best]}
    records.write_json(place / "choice.json", {"kind": "choice", **choice})
    seal = {"kind": "seal", "choice_hash": f"h{best}", "test_hash": "t", "hash": "sealed"}
    finals = list(range(1, len(made.finals) + 1))
    records.write_json(place / "sealed.json", {**seal, "finals": finals, **made.seal})


def _configured(configuration: Mapping[str, float]) -> dict[str, Any]:
    return {"configuration": configuration, "configuration_hash": configuration_hash(dict(configuration))}


def _write_ranks(file: Path, hits: Hits, items: NDArray[np.int32] | None) -> None:
    users = np.arange(len(hits), dtype=np.int32)
    held_out = users % 50 if items is None else items
    ranks = np.where(hits, HIT, MISS).astype(np.int32)
    records.write_parquet(file, pd.DataFrame({"user": users, "item": held_out.astype(np.int32), "rank": ranks}))
