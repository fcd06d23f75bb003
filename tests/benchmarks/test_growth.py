"""The table of growth with users: its log, its rows, and what it says of what was not measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.benchmarks import growth

ROW: dict[str, Any] = {
    "model": "vbpr", "scale": 1, "users": 1000, "interactions": 9000, "setup": 1.0, "step": 0.01, "n_batches": 50,
    "epoch": 0.6, "evaluation": 0.5, "sampled": 0.2, "peak_mb": 700.0,
}  # fmt: skip


def test_the_log_has_every_pair_once_and_every_user_in_train() -> None:
    split = growth.log_of(1)
    pairs = np.concatenate([part.users * part.n_items + part.items for part in split.whole])
    assert len(np.unique(pairs)) == len(pairs)
    assert len(split.train.active_users) == split.train.n_users == growth.BABY_USERS
    assert len(pairs) == pytest.approx(growth.BABY_INTERACTIONS, rel=0.02)
    assert 0.6 < len(split.train) / len(pairs) < 0.8


def test_a_row_tells_how_it_grew_and_what_was_not_measured() -> None:
    larger = {**ROW, "scale": 10, "step": 0.03, "epoch": 18.0, "setup": 4.0, "peak_mb": 1400.0}
    del larger["evaluation"]
    failed = {"model": "vbpr", "scale": 100, "failed": "MemoryError"}
    first, second, third = growth.rows_of([ROW, larger, failed])
    assert first[4:8] == ["10.0", "50", "0.6", "0.5"]
    assert second[3:] == ["4.0 (4.0x)", "30.0 (3.0x)", "50", "18.0 (30.0x)", "not measured", "0.2", "1,400 (2.0x)"]
    assert third[:2] == ["vbpr, 100x", "not measured: MemoryError"]
    assert {len(first), len(second), len(third)} == {len(growth.HEADER)}
