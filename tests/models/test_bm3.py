"""BM3 against its equations, also without any and with three modalities."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.bm3 import BM3
from mmbench.nn.recommender import Triplets
from tests.conftest import BlockWorld
from tests.models import dense
from tests.models.test_contract import CONDITIONS

pytestmark = pytest.mark.usefixtures("float64")
WIDTH, RATE, CL, REG = 6, 0.4, 1.5, 0.7


def propagated(p: dict[str, Tensor], data: RecData) -> tuple[Tensor, Tensor]:
    graph = dense.normalised(dense.interactions(data), 1e-7)
    ego = torch.cat([p["user_embedding"], p["item_embedding"]])
    users, items = dense.mean_of_layers(graph, ego, 2).split([data.n_users, data.n_items])
    return users, items + p["item_embedding"]


def distance(online: Tensor, target: Tensor) -> Tensor:
    cosines = (online * target).sum(1) / online.norm(dim=1) / target.norm(dim=1).clamp_min(1e-8)
    return 1 - cosines.mean()


def expected_loss(
    p: dict[str, Tensor], data: RecData, batch: Triplets, drop: dict[str, Tensor], a: dict[str, float]
) -> Tensor:
    """The loss; ``drop`` holds the factors of all users, all items, and the distinct items of the batch."""
    users, items = propagated(p, data)
    u, i = batch.users, batch.positives
    user_target, item_target = (users.detach() * drop["user"])[u], (items.detach() * drop["item"])[i]
    loss = distance(dense.linear(p, "predictor", users)[u], item_target)
    loss = loss + distance(dense.linear(p, "predictor", items)[i], user_target)
    loss = loss + REG * (users.square().sum().sqrt() + items.square().sum().sqrt()) / data.n_items
    distinct, place = torch.unique(i, return_inverse=True)
    for name in data.features:
        projected = dense.content(p, data, name)
        online = dense.linear(p, "predictor", projected)[i]
        target = (projected.detach()[distinct] * drop[f"content_{name}"])[place]
        loss = loss + CL * a[name] * (distance(online, item_target) + distance(online, target))
    return loss


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("as_reference", [False, True])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_against_the_equations(condition: str, as_reference: bool, weighed: bool, block_world: BlockWorld) -> None:
    """The reference differs by nothing but trained features."""
    data = dense.with_gaps(block_world.data(CONDITIONS[condition]))
    batch = dense.batch_of(data)
    keywords: dict[str, Any] = {"cl_weight": CL, "reg_weight": REG, "as_reference": as_reference}
    keywords |= dense.MODALITY_WEIGHTS if weighed else {}
    a = dense.weights_of(data, weighed=weighed)
    model = BM3(data, embedding_dim=WIDTH, n_layers=2, dropout=RATE, **keywords)
    p = dense.parameters_of(model)
    assert {name for name in p if name.endswith("table")} == (
        {f"content.{name}.table" for name in data.features} if as_reference else set()
    )
    rows = {"user": data.n_users, "item": data.n_items}
    rows |= {f"content_{name}": len(torch.unique(batch.positives)) for name in data.features}
    shapes = {name: (n, WIDTH) for name, n in rows.items()}
    drop = dense.freeze(model, shapes, dense.dropout_factors(RATE))

    def final() -> Any:
        return [dense.linear(p, "predictor", nodes) for nodes in propagated(p, data)]

    dense.agree(model, batch, lambda: expected_loss(p, data, batch, drop, a), final)


def test_default_is_the_reference_before_the_first_step(block_world: BlockWorld) -> None:
    """Bit for bit."""
    data = block_world.data(CONDITIONS["fused"])
    dense.same_bits(BM3, data, dense.batch_of(data), {}, {"as_reference": True})


def test_negatives_are_not_read(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["fused"])
    batch = dense.batch_of(data)
    other = Triplets(batch.users, batch.positives, batch.negatives.flip(0))
    losses = []
    for given in (batch, other):
        torch.manual_seed(0)
        losses.append(BM3(data, embedding_dim=8).loss(given))
    assert losses[0] == losses[1]


def test_an_item_has_one_target_per_batch(block_world: BlockWorld) -> None:
    """Whether an item occurs once or twice, its content is dropped out once."""
    data = block_world.data(CONDITIONS["text"])
    model = BM3(data, embedding_dim=8, dropout=0.5).train()
    rows = torch.tensor([4])
    once = model._with_target("text", model.content["text"], rows)
    assert not torch.equal(once, model._with_target("text", model.content["text"], rows))
    torch.manual_seed(0)
    twice = BM3(data, embedding_dim=8, dropout=0.5).train().loss(Triplets(*(torch.tensor([4, 4]),) * 3))
    torch.manual_seed(0)
    single = BM3(data, embedding_dim=8, dropout=0.5).train().loss(Triplets(*(torch.tensor([4]),) * 3))
    torch.testing.assert_close(twice["text_intra"], single["text_intra"])


def test_rate_of_dropout_is_checked(block_world: BlockWorld) -> None:
    with pytest.raises(ValueError, match=r"dropout=-0.1 must be at least 0 and less than 1"):
        BM3(block_world.data(()), dropout=-0.1)
