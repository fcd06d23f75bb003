from __future__ import annotations

import numpy as np
import pytest
import torch

from mmbench.models import ease
from mmbench.models.ease import EASE
from tests.conftest import BlockWorld


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("reg_weight", [0.5, 100.0])
def test_known_answer_against_constrained_regressions(block_world: BlockWorld, reg_weight: float) -> None:
    """Column j is the ridge regression of item j on all other items."""
    data = block_world.data(())
    history = np.zeros((data.n_users, data.n_items))
    history[tuple(data.edge_index.numpy())] = 1.0
    expected = np.zeros((data.n_items, data.n_items))
    for j in range(data.n_items):
        others = np.arange(data.n_items) != j
        x = history[:, others]
        expected[others, j] = np.linalg.solve(x.T @ x + reg_weight * np.eye(others.sum()), x.T @ history[:, j])
    model = EASE(data, reg_weight=reg_weight)
    model.fit(data)
    np.testing.assert_allclose(model.weights, expected, rtol=1e-9, atol=1e-12)
    users = torch.tensor([5, 0, 5])
    np.testing.assert_allclose(model.score(users), history[[5, 0, 5]] @ expected, rtol=1e-9, atol=1e-12)


def test_too_many_items_are_refused_before_anything_is_allocated(block_world: BlockWorld) -> None:
    data = block_world.data(())
    object.__setattr__(data, "n_items", 50_000)
    with pytest.raises(ValueError, match=r"EASE needs 60\.0 GB for 50,000 items, more than max_memory_gb=8"):
        EASE(data)
    EASE(data, max_memory_gb=60.0)


def test_common_users_in_blocks_are_all_of_them(block_world: BlockWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    data = block_world.data(())
    history = torch.zeros(data.n_users, data.n_items, dtype=torch.float64)
    history[tuple(data.edge_index)] = 1.0
    monkeypatch.setattr(ease, "BLOCK_ENTRIES", 5 * data.n_users)
    assert torch.equal(ease.gram_matrix(data.edge_index, data.n_users, data.n_items), history.T @ history)
