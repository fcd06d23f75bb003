"""LayerGCN against its equations; its numbers are the reference's as they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.layergcn import LayerGCN
from tests.conftest import BlockWorld
from tests.models import dense

pytestmark = pytest.mark.usefixtures("float64")
REG = 0.3


def final(p: dict[str, Tensor], data: RecData) -> tuple[Tensor, Tensor]:
    """The sum of three refined layers."""
    graph = dense.normalised(dense.interactions(data), 1e-7)
    ego = torch.cat([p["user_embedding"], p["item_embedding"]])
    x, total = ego, torch.zeros_like(ego)
    for _ in range(3):
        h = graph @ x
        cosine = (h * ego).sum(1) / (h.norm(dim=1).clamp_min(1e-8) * ego.norm(dim=1).clamp_min(1e-8))
        x = cosine[:, None] * h
        total = total + x
    users, items = total.split([data.n_users, data.n_items])
    return users, items


@pytest.fixture
def data(block_world: BlockWorld) -> RecData:
    return block_world.data(())


def test_against_the_equations(data: RecData) -> None:
    batch = dense.batch_of(data)
    model = LayerGCN(data, embedding_dim=6, n_layers=3, dropout=0.3, reg_weight=REG)
    p = dense.parameters_of(model)
    kept = data.edge_index[:, torch.arange(data.edge_index.shape[1]) % 3 > 0]
    model.graph.use_edges(kept)
    sampled = RecData(data.n_users, data.n_items, kept)

    def expected() -> Tensor:
        users, items = final(p, sampled)
        margin = (users[batch.users] * (items[batch.positives] - items[batch.negatives])).sum(1)
        rows = [p["user_embedding"][batch.users], p["item_embedding"][batch.positives]]
        rows.append(p["item_embedding"][batch.negatives])
        return torch.log1p(torch.exp(-margin)).sum() + REG / 2 * torch.cat(rows).square().sum()

    dense.agree(model, batch, expected, lambda: final(p, data))


def test_edges_are_drawn_by_degree_and_uniformly_in_turn() -> None:
    """Half of the edges belong to one busy user; by degree they are left out far more often."""
    busy, quiet = torch.stack([torch.zeros(40), torch.arange(40)]), torch.stack([torch.arange(1, 41), torch.arange(40)])
    data = RecData(41, 40, torch.cat([busy, quiet], dim=1).long())
    model = LayerGCN(data, dropout=0.5).train()
    share = []
    for _ in range(20):
        model.begin_epoch()
        share.append(float((model.graph.sampled.to_dense()[0] > 0).sum()) / 40)
    by_degree, uniform = torch.tensor(share[::2]).mean(), torch.tensor(share[1::2]).mean()
    assert uniform == pytest.approx(0.5, abs=0.08)
    assert by_degree < uniform - 0.2


def test_without_dropout_every_epoch_trains_on_all_edges(data: RecData) -> None:
    model = LayerGCN(data, dropout=0.0).train()
    for _ in range(2):
        model.begin_epoch()
        assert model.graph() is model.graph.full


@pytest.mark.parametrize(
    "keywords, message",
    [
        ({"dropout": 1.0}, r"dropout=1.0 must be at least 0 and less than 1"),
        ({"n_layers": 0}, r"n_layers=0 must be at least 1"),
    ],
)
def test_bad_keywords(keywords: dict[str, float], message: str, data: RecData) -> None:
    with pytest.raises(ValueError, match=message):
        LayerGCN(data, **keywords)()


def test_a_node_without_edges_is_zero_and_its_gradient_finite() -> None:
    model = LayerGCN(RecData(3, 3, torch.tensor([[0, 1], [0, 2]])), embedding_dim=4, dropout=0.0)
    users, items = model()
    assert not users[2].any()
    assert not items[1].any()
    (users.square().sum() + items.square().sum()).backward()
    assert not model.user_embedding.grad[2].any()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
