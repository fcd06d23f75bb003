from __future__ import annotations

import numpy as np
import pytest
import torch

from mmbench.models.ease import EASE
from mmbench.nn import item_regressions
from mmbench.nn.sparse import interaction_matrix
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


def test_a_penalty_is_positive(block_world: BlockWorld) -> None:
    with pytest.raises(ValueError, match=r"reg_weight=0\.0 must be a positive number"):
        EASE(block_world.data(()), reg_weight=0.0)


@pytest.mark.parametrize("long_history", [1, 30])
def test_weights_lie_in_rows_and_in_strips_where_histories_are_long(
    block_world: BlockWorld, long_history: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In columns, the product with a sparse history takes a hundred times as long on 7,000 items."""
    monkeypatch.setattr(item_regressions, "STRIP", 10)
    monkeypatch.setattr(item_regressions, "LONG_HISTORY", long_history)
    data, users = block_world.data(()), torch.tensor([3, 43, 0])
    model = EASE(data)
    model.fit(data)
    assert model.strips.shape == ((4, data.n_items, 10) if long_history == 1 else (1, data.n_items, data.n_items))
    assert model.strips.is_contiguous()
    weights = model.item_weights(data).float()
    assert torch.equal(model.weights, weights)
    history = interaction_matrix(data.edge_index, data.n_users, data.n_items).to_dense()
    torch.testing.assert_close(model.score(users), history[users] @ weights)
    assert model.score(users[:0]).shape == (0, data.n_items)
