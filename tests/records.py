"""Valid records to begin from: every field has a value, and a test names those that matter to it."""

from __future__ import annotations

from typing import Any

from mmbench.store.schema import (
    FIRST_SEED,
    Cell,
    Choice,
    Cost,
    Course,
    Effort,
    FinalRun,
    LedgerRow,
    Manifest,
    PlannedCell,
    Revision,
    Seal,
    Stage,
    Training,
    Trial,
    hashed,
)
from mmbench.tuning.space import configuration_hash

KEY = "a" * 64
NAMES = {"dataset": "data", "model": "vbpr", "modality": "text"}


def course(score: float = 0.5, **changes: Any) -> Course:
    """Scores by epoch that end in the best one."""
    fields = {"history": [score / 2, score], "best_epoch": 2, **changes}
    return Course(**{"validated": fields["history"][fields["best_epoch"] - 1], **fields})


def trial(index: int = 0, score: float | None = 0.5, stage: Stage = Stage.TRIAL, **changes: Any) -> Trial:
    """A random trial, or with another stage a proposal; without a score a failed one says so itself."""
    return hashed(Trial(**_training(stage, index, score, changes)))


def final(seed: int = 1, score: float | None = 0.5, **changes: Any) -> FinalRun:
    """A final run."""
    return hashed(FinalRun(**_training(Stage.FINAL, seed, score, changes)))


def _training(stage: Stage, index: int, score: float | None, changes: dict[str, Any]) -> dict[str, Any]:
    configuration = changes.get("configuration", {"model.size": index})
    fields = {
        "cell_key": KEY,
        "stage": stage,
        "index": index,
        "seed": FIRST_SEED[stage] + index,
        "configuration": configuration,
        "configuration_hash": configuration_hash(configuration),
        "feature_hash": "features",
        "split_hash": "split",
        "metric": "ndcg@20",
        "precision": "32-true",
        "versions_hash": "versions",
        "course": None if score is None else course(score),
        "n_parameters": None if score is None else 7,
    }
    return fields | changes


def choice(best: Training | None = None, **changes: Any) -> Choice:
    """The choice of a trial."""
    best = best or trial()
    fields = {
        "cell_key": best.cell_key,
        "stage": best.stage,
        "slot": best.index,
        "configuration": best.configuration,
        "metric": best.metric,
        "score": best.score,
        "n_trials": 1,
        "n_failed": 0,
        "plan": "plan",
        "trials": [best.hash],
    }
    return hashed(Choice(**{**fields, **changes}))


def seal(chosen: Choice | None = None, **changes: Any) -> Seal:
    """The seal of a choice."""
    chosen = chosen or choice()
    fields = {
        "cell_key": chosen.cell_key,
        "choice_hash": chosen.hash,
        "test_hash": "test",
        "protocol": "paper",
        "valid_masked": False,
        "finals": [1],
        "runs": ["run"],
        "files": {},
    }
    return hashed(Seal(**{**fields, **changes}))


def cell(**changes: Any) -> Cell:
    """What a cell is about."""
    fields = {
        "key": KEY,
        **NAMES,
        "draw": 0,
        "effort": Effort(trials=1, proposals=0, seeds=1),
        "config": {"budget": {"name": "touch"}, "search": {}},
        "states": {},
        "split_hash": "split",
        "data": [],
        "features": {},
        "external": None,
        "versions": {},
        "plan": "plan",
    }
    return hashed(Cell(**{**fields, **changes}))


def planned(**changes: Any) -> PlannedCell:
    """A cell of a manifest."""
    fields = {
        "key": KEY,
        "folder": "data/vbpr/text",
        "draw": 0,
        "rule": "rule",
        "trials": 1,
        "seeds": 1,
        "trainings": 2,
    }
    return PlannedCell(**{**NAMES, **fields, **changes})


def revision(**changes: Any) -> Revision:
    """A command that planned cells."""
    fields = {
        "trials": 1,
        "seeds": 1,
        "cells": {},
        "data": {},
        "versions": {},
        "command": [],
        "planned_at": "2026-01-01T00:00:00+00:00",
        "previous": "",
    }
    return Revision(**{**fields, **changes})


def manifest(**changes: Any) -> Manifest:
    """The plan of a sweep."""
    fields = {
        "name": "s",
        "command": [],
        "budget": {"name": "touch", "trials": 1, "seeds": 1},
        "delta": 0.02,
        "contrasts": [],
        "config_hash": "config",
        "metrics": ["ndcg@20"],
        "primary": "ndcg@20",
        "modalities": [],
        "cells": [],
        "data": {},
        "revisions": [],
        "statistics": {},
    }
    return hashed(Manifest(**{**fields, **changes}))


def row(training: Training | None = None, cost: Cost | None = None, **changes: Any) -> LedgerRow:
    """The ledger's row of a training."""
    training = training or trial()
    made = {name: getattr(training, name) for name in training.__struct_fields__ if name in LedgerRow.__struct_fields__}
    fields = {
        **NAMES,
        "budget": "touch",
        "searched": 1,
        "status": "ok" if training.succeeded else "failed",
        "score": training.score,
        "epochs": 2,
        "best_epoch": 2,
        "stop_reason": "max_steps",
        "stalled": False,
        "late_rise": None,
        "cost": cost or Cost(seconds=1.0),
        "finished_at": "2026-01-01T00:00:00+00:00",
    }
    return LedgerRow(**{**made, **fields, **changes})
