"""SelfCF against its equations, with and without the edges that the reference drops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.selfcf import SelfCF
from mmbench.nn.recommender import Triplets
from tests.conftest import BlockWorld
from tests.models import dense

pytestmark = pytest.mark.usefixtures("float64")
WIDTH, RATE, REG = 6, 0.4, 0.02


@pytest.fixture
def data(block_world: BlockWorld) -> RecData:
    return block_world.data(())


def propagated(p: dict[str, Tensor], data: RecData, graph: Tensor) -> tuple[Tensor, Tensor]:
    ego = torch.cat([p["user_embedding"], p["item_embedding"]])
    users, items = dense.mean_of_layers(graph, ego, 2).split([data.n_users, data.n_items])
    return users, items


def cosine(online: Tensor, target: Tensor) -> Tensor:
    product = online.norm(dim=1) * target.norm(dim=1).clamp_min(1e-8)
    return ((online * target).sum(1) / product).mean()


@pytest.mark.parametrize("as_reference", [False, True])
def test_against_the_equations(as_reference: bool, data: RecData) -> None:
    batch = dense.batch_of(data)
    model = SelfCF(data, embedding_dim=WIDTH, dropout=RATE, reg_weight=REG, as_reference=as_reference)
    p = dense.parameters_of(model)
    full = dense.normalised(dense.interactions(data), 1e-7)
    shape = (len(batch.users), WIDTH)
    drop = dense.freeze(model, {"user_target": shape, "item_target": shape}, dense.dropout_factors(RATE))
    graph = full
    if as_reference:  # each direction of an edge has its own factor
        rows, columns = torch.nonzero(full, as_tuple=True)
        factors = dense.freeze(model, {"edges": rows.shape}, dense.dropout_factors(0.3))["edges"]
        graph = torch.zeros_like(full).index_put((rows, columns), full[rows, columns] * factors)
        assert not torch.equal(graph, graph.T)

    def expected() -> Tensor:
        users, items = propagated(p, data, graph)
        user, item = users[batch.users], items[batch.positives]
        of_item = cosine(dense.linear(p, "predictor", user), (item * drop["item_target"]).detach())
        of_user = cosine(dense.linear(p, "predictor", item), (user * drop["user_target"]).detach())
        return -(of_item + of_user) / 2 + REG / 2 * (user.square().sum() + item.square().sum())

    def final() -> tuple[Tensor, Tensor]:
        users, items = propagated(p, data, full)
        ahead = dense.linear(p, "predictor", users), dense.linear(p, "predictor", items)
        return torch.cat([ahead[0], users], dim=1), torch.cat([items, ahead[1]], dim=1)

    dense.agree(model, batch, expected, final)


def test_scores_are_symmetric_in_users_and_items(data: RecData) -> None:
    model = SelfCF(data, embedding_dim=WIDTH).eval()
    p = dense.parameters_of(model)
    users, items = propagated(p, data, dense.normalised(dense.interactions(data), 1e-7))
    expected = dense.linear(p, "predictor", users) @ items.T + users @ dense.linear(p, "predictor", items).T
    torch.testing.assert_close(model.score(torch.arange(data.n_users)), expected)


def test_without_dropped_edges_the_reference_is_the_default(data: RecData) -> None:
    """One factor of 1 stands for all edges."""
    batch = dense.batch_of(data)
    losses = []
    for as_reference in (False, True):
        torch.manual_seed(0)
        model = SelfCF(data, dropout=0.0, as_reference=as_reference).train()
        model.noise.edges = torch.ones(1)
        losses.append(model.loss(batch))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-12, atol=1e-14)


def test_negatives_are_not_read(data: RecData) -> None:
    batch = dense.batch_of(data)
    losses = []
    for negatives in (batch.negatives, batch.negatives.flip(0)):
        torch.manual_seed(0)
        losses.append(SelfCF(data, embedding_dim=8).loss(Triplets(batch.users, batch.positives, negatives)))
    assert losses[0] == losses[1]


def test_only_the_reference_drops_edges_anew_in_every_batch(data: RecData) -> None:
    batch = dense.batch_of(data)
    for as_reference in (False, True):
        model = SelfCF(data, dropout=0.0, as_reference=as_reference).train()
        assert (model.loss(batch) == model.loss(batch)) != as_reference


def test_rate_of_dropout_is_checked(data: RecData) -> None:
    with pytest.raises(ValueError, match=r"dropout=1.5 must be at least 0 and less than 1"):
        SelfCF(data, dropout=1.5)
