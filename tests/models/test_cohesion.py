"""COHESION against its equations in every condition; the goldens hold the reference, which needs image and text."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.cohesion import COHESION
from mmbench.nn.recommender import Triplets
from tests.conftest import BlockWorld
from tests.models import dense
from tests.models.test_contract import CONDITIONS

pytestmark = pytest.mark.usefixtures("float64")
D, K, REG = 6, 4, 0.7


def build(data: RecData, **given: Any) -> COHESION:
    return COHESION(data, embedding_dim=D, hidden_dim=5, k=K, reg_weight=REG, **given)


def content(p: dict[str, Tensor], data: RecData, name: str) -> Tensor:
    """One tower's content of items, mixed with the ID table."""
    ids = p["item_embedding"]
    x, place = (ids, "identifiers.items") if name == "id" else (data.features[name], f"towers.{name}.items.content")
    hidden = dense.linear(p, f"{place}.layers.0", x)
    mapped = dense.linear(p, f"{place}.layers.2", torch.where(hidden > 0, hidden, 0.01 * hidden))
    return ((ids**2 + mapped**2) / 2 + 1e-8).sqrt()


def preference(p: dict[str, Tensor], name: str) -> Tensor:
    return p["identifiers.preference" if name == "id" else f"towers.{name}.preference"]


def output(p: dict[str, Tensor], data: RecData, name: str, n_ui_layers: int) -> Tensor:
    graph = dense.normalised(dense.interactions(data), 1e-7)
    x = total = ego = dense.unit(torch.cat([preference(p, name), content(p, data, name)]))
    for _ in range(n_ui_layers):
        h = graph @ x
        cosines = (h * ego).sum(1) / (h.norm(dim=1).clamp_min(1e-8) * ego.norm(dim=1).clamp_min(1e-8))
        x = cosines[:, None] * h
        total = total + x
    return total


def blocks(p: dict[str, Tensor], data: RecData, c: float, n_ui_layers: int, n_layers: int) -> Any:
    """Users and items of each tower."""
    graph = torch.zeros(data.n_items, data.n_items)
    for name, weight in dense.weights_of(data, weighed=c != 1.0).items():
        share = (
            weight / len(data.features) if c != 1.0 or len(data.features) != 2 else {"image": 0.1, "text": 0.9}[name]
        )
        graph += share * dense.binary_graph(data.features[name], data.present[name], K)
    found = []
    for name in ("id", *data.features):
        users, items = output(p, data, name, n_ui_layers).split([data.n_users, data.n_items])
        smoothed = torch.linalg.matrix_power(graph, n_layers) @ items if data.features else 0.0
        factor = 1.0 if name == "id" else c
        found.append((factor * (users + dense.user_graph(data) @ users), items + smoothed))
    return found


def final(p: dict[str, Tensor], data: RecData, *rest: Any) -> tuple[Tensor, Tensor]:
    users, items = zip(*blocks(p, data, *rest), strict=True)
    return torch.cat(users, 1), torch.cat(items, 1)


def expected_loss(p: dict[str, Tensor], data: RecData, batch: Triplets, *rest: Any) -> Tensor:
    margins = torch.stack(
        [
            (users[batch.users] * (items[batch.positives] - items[batch.negatives])).sum(1)
            for users, items in blocks(p, data, *rest)
        ],
        dim=1,
    )
    odds = margins.detach().exp()
    beta = 1 - odds / odds.sum(1, keepdim=True) if data.features else torch.ones(len(margins), 1)
    loss = torch.log1p(torch.exp(-(beta * margins).sum(1))).mean() / math.log(2)
    for name in list(data.features) or ["id"]:
        loss = loss + REG * preference(p, name)[batch.users].square().mean()
    return loss


@pytest.mark.parametrize("c", [1.0, dense.CONTENT_WEIGHT])
@pytest.mark.parametrize("n_ui_layers, n_layers", [(1, 2), (3, 1)])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_default_against_the_equations(
    condition: str, n_ui_layers: int, n_layers: int, c: float, block_world: BlockWorld
) -> None:
    data = dense.with_gaps(block_world.data(CONDITIONS[condition]))
    batch = dense.batch_of(data)
    weights: dict[str, Any] = {} if c == 1.0 else {"content_weight": c, **dense.MODALITY_WEIGHTS}
    model = build(data, n_ui_layers=n_ui_layers, n_layers=n_layers, **weights)
    p = dense.parameters_of(model)
    rest = (c, n_ui_layers, n_layers)
    dense.agree(model, batch, lambda: expected_loss(p, data, batch, *rest), lambda: final(p, data, *rest))


@pytest.mark.parametrize("condition", CONDITIONS)
def test_reference_keeps_the_tower_of_identifiers_untrained(condition: str, block_world: BlockWorld) -> None:
    """Also where it crashes. Without content that tower is all there is, and it is trained."""
    data = block_world.data(CONDITIONS[condition])
    model = build(data, as_reference=True)
    model.begin_epoch()
    terms = model.loss(dense.batch_of(data))
    torch.stack(list(terms.values())).sum().backward()
    untrained = {name for name, p in model.named_parameters() if not p.grad.any()}
    of_identifiers = {name for name, _ in model.named_parameters() if name.startswith("identifiers")}
    assert untrained == (of_identifiers if data.features else set())
    if data.features:
        assert model.user_weights is not None
        gradient = 2 * REG * model.user_weights / model.user_weights.numel()
        torch.testing.assert_close(model.user_weights.grad, gradient)


def test_default_ranks_as_the_reference_before_any_training(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["fused"])
    scores, ranking = [], []
    for given in ({}, {"as_reference": True}):
        torch.manual_seed(0)
        model = COHESION(data, k_users=3, **given)
        ranking.append(model.loss(dense.batch_of(data))["bpr"].item())
        scores.append(model.eval().score(torch.arange(data.n_users)))
    assert torch.equal(*scores)
    assert ranking[0] == ranking[1]


def test_interactions_are_left_out_in_training_only(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["fused"])
    model, batch = build(data, dropout=0.4), dense.batch_of(data)
    losses = set()
    for _ in range(3):
        model.begin_epoch()
        losses.add(model.loss(batch)["bpr"].item())
        assert model.graph.sampled._nnz() == 2 * int(0.6 * data.edge_index.shape[1])
    assert len(losses) == 3
    whole = build(data)
    whole.load_state_dict(model.state_dict())
    users = torch.arange(data.n_users)
    assert torch.equal(model.eval().score(users), whole.eval().score(users))


def test_a_share_of_zero_leaves_a_tower_out_unless_it_is_the_reference(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["fused"])
    models = [COHESION(data, first_modality_weight=0.0, as_reference=reference) for reference in (False, True)]
    assert [list(model.towers) for model in models] == [["text"], ["image", "text"]]
