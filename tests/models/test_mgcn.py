"""MGCN against its equations, also where the reference crashes: one modality, none, three."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.mgcn import MGCN
from tests.conftest import BlockWorld
from tests.models import dense
from tests.models.test_contract import CONDITIONS

pytestmark = pytest.mark.usefixtures("float64")
K, WEIGHTS = 4, (0.3, 0.2)


def parts(p: dict[str, Tensor], data: RecData, c: float, a: dict[str, float]) -> tuple[Tensor, Tensor | None]:
    """Behaviour and weighed side information."""
    graph = dense.normalised(dense.interactions(data))
    ids = p["item_embedding"]
    behaviour = dense.mean_of_layers(graph, torch.cat([p["user_embedding"], ids]), 2)
    views = []
    for name, features in data.features.items():
        gate = torch.sigmoid(dense.linear(p, f"views.{name}.gate", dense.content(p, data, name)))
        items = dense.weighted_graph(features, data.present[name], K) @ (ids * gate)
        views.append(torch.cat([graph[: data.n_users, data.n_users :] @ items, items]))
    if not views:
        return behaviour, None
    if len(views) == 1:  # the softmax of one logit is 1: the view is what all have in common, and none is left over
        return behaviour, c * (0 + views[0]) / 2
    logits = [torch.tanh(dense.linear(p, "query.0", view)) @ p["query.2.weight"].T for view in views]
    odds = [weight * torch.exp(logit) for weight, logit in zip(a.values(), logits, strict=True)]
    common = sum(odd / sum(odds) * view for odd, view in zip(odds, views, strict=True))
    own = [
        a[name] * torch.sigmoid(dense.linear(p, f"preference.{name}", behaviour)) * (view - common)
        for name, view in zip(data.features, views, strict=True)
    ]
    return behaviour, c * (sum(own) + common) / (len(views) + 1)


@pytest.mark.parametrize("c", [1.0, dense.CONTENT_WEIGHT])
@pytest.mark.parametrize("nominal", [None, 50])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_against_the_equations(condition: str, nominal: int | None, c: float, block_world: BlockWorld) -> None:
    """The default divides by the rows of the batch, the reference by a nominal size, and it trains the features."""
    data = dense.with_gaps(block_world.data(CONDITIONS[condition]))
    batch = dense.batch_of(data)
    as_reference: dict[str, Any] = {} if nominal is None else {"as_reference": True, "train_batch_size": nominal}
    as_reference |= {} if c == 1.0 else {"content_weight": c, **dense.MODALITY_WEIGHTS}
    a = dense.weights_of(data, weighed=c != 1.0)
    model = MGCN(data, embedding_dim=6, k=K, reg_weight=WEIGHTS[0], cl_weight=WEIGHTS[1], **as_reference)
    p = dense.parameters_of(model)
    assert {name for name in p if name.endswith("table")} == (
        set() if nominal is None else {f"content.{name}.table" for name in data.features}
    )

    def final() -> Any:
        behaviour, side = parts(p, data, c, a)
        return (behaviour if side is None else behaviour + side).split([data.n_users, data.n_items])

    divisor = nominal or len(batch.users)
    weights = (WEIGHTS[0], c * WEIGHTS[1])
    dense.agree(model, batch, lambda: dense.side_loss(*parts(p, data, c, a), data, batch, weights, divisor), final)


def test_default_is_the_reference_where_no_defect_acts(block_world: BlockWorld) -> None:
    """Bit for bit before the first step, when the batch has its nominal length."""
    data = block_world.data(CONDITIONS["fused"])
    batch = dense.batch_of(data)
    dense.same_bits(MGCN, data, batch, {}, {"as_reference": True, "train_batch_size": len(batch.users)})
