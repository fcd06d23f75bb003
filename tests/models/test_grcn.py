"""GRCN against its equations, with routing that works and without; the reference crashes with text only."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.grcn import GRCN
from tests.conftest import BlockWorld
from tests.models import dense
from tests.models.test_contract import CONDITIONS

pytestmark = pytest.mark.usefixtures("float64")
REG = 0.7


def attention(edges: Tensor, x: Tensor) -> Tensor:
    """Softmax of the inner products over the neighbours of each receiver (row)."""
    scores = torch.where(edges > 0, (x @ x.T).exp(), 0.0)
    return scores / scores.sum(1, keepdim=True).clamp_min(1e-300)


def factors(p: dict[str, Tensor], data: RecData, n_routings: int, weighed: bool) -> tuple[Tensor, Tensor]:
    """Users and items."""
    a = dense.weights_of(data, weighed=weighed)
    edges = (dense.normalised(dense.interactions(data)) > 0).double()
    n_users, contents, weights = data.n_users, [], []
    for column, name in enumerate(data.features or ["free"]):
        if name in data.features:
            items = dense.linear(p, f"towers.{name}.items.layers.0", data.features[name])
            items = torch.where(items > 0, items, 0.01 * items)
        else:
            items = p["towers.free.items.table"]
        users, items = dense.unit(p[f"towers.{name}.preference"]), dense.unit(items)
        for _ in range(n_routings):
            drawn = attention(edges, torch.cat([users, items]))[:n_users, n_users:] @ items
            users = dense.unit(users + drawn)
        x = torch.cat([users, items])
        alpha = attention(edges, x)
        weight = a.get(name, 1.0)
        contents.append(weight * (x + alpha @ x))
        weights.append(weight * alpha * p["confidence"][:, column])  # of the sender: the column of the graph
    graph = torch.stack(weights).max(0).values.clamp_min(0.0)
    ids = dense.unit(p["id_embedding"])
    z = torch.cat([ids + graph @ ids + graph @ graph @ ids, *contents], 1)
    return z[:n_users], z[n_users:]


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("settings", [{"n_routings": 2}, {"n_routings": 0}, {"as_reference": True}])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_against_the_equations(
    condition: str, settings: dict[str, Any], weighed: bool, block_world: BlockWorld
) -> None:
    """Only the reference penalises the users' vectors of images twice, and its routing does nothing."""
    data = dense.with_gaps(block_world.data(CONDITIONS[condition]))
    batch = dense.batch_of(data)
    weights = dense.MODALITY_WEIGHTS if weighed else {}
    model = GRCN(data, embedding_dim=6, content_dim=5, reg_weight=REG, **settings, **weights)
    p = dense.parameters_of(model)
    n_routings = settings.get("n_routings", 0)

    def loss() -> Tensor:
        users, items = factors(p, data, n_routings, weighed)
        ids = p["id_embedding"]
        penalty = ids[batch.users].square().mean()
        for rows in (batch.positives, batch.negatives):
            penalty = penalty + ids[data.n_users + rows].square().mean() / 2
        for name in data.features or ["free"]:
            preference = p[f"towers.{name}.preference"]
            penalty = penalty + preference[batch.users].square().mean()
            if name == "image" and "as_reference" in settings:
                penalty = penalty + preference.square().mean()
        return dense.bpr(users[batch.users], items[batch.positives], items[batch.negatives]) + REG * penalty

    dense.agree(model, batch, loss, lambda: factors(p, data, n_routings, weighed))


def test_default_is_the_reference_where_no_defect_acts(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["text"])
    dense.same_bits(GRCN, data, dense.batch_of(data), {"n_routings": 0}, {"as_reference": True})
