from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.nn import history_sums
from mmbench.nn.history_sums import HistorySums
from tests.conftest import BlockWorld


class Sums(HistorySums):
    """Adds weights that it is given."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.given = weights

    def item_weights(self, data: RecData) -> Tensor:
        return self.given.to_sparse_csr()


@pytest.mark.parametrize("products", [0, 10**6])
def test_both_ways_to_add_give_the_same_scores(
    block_world: BlockWorld, products: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_sums, "PRODUCTS_PER_ADDITION", products)
    data, users = block_world.data(()), torch.tensor([40, 2, 2, 17])
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand(data.n_items, data.n_items, generator=generator)
    weights[torch.rand(weights.shape, generator=generator) < 0.7] = 0.0
    model = Sums(weights)
    model.fit(data)
    history = torch.zeros(data.n_users, data.n_items)
    history[data.edge_index[0], data.edge_index[1]] = 1.0
    scores = model.score(users)
    assert (model._received is None) == (products == 0)
    torch.testing.assert_close(scores, history[users] @ weights)
    assert scores.is_contiguous()
    monkeypatch.setattr(history_sums, "PRODUCTS_PER_ADDITION", 0)
    assert torch.equal(scores, model.score(users)), "bit for bit, whichever way is taken"
    assert model.score(users[:0]).shape == (0, data.n_items)


def test_a_model_that_is_fitted_again_forgets_its_weights(
    block_world: BlockWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_sums, "PRODUCTS_PER_ADDITION", 10**6)
    data, users = block_world.data(()), torch.arange(5)
    model = Sums(torch.eye(data.n_items))
    model.fit(data)
    first = model.score(users)
    model.given = 2 * torch.eye(data.n_items)
    model.fit(data)
    assert torch.equal(model.score(users), 2 * first)
