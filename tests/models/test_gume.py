"""GUME against its equations in every condition; the goldens hold the reference, which needs image and text."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.gume import GUME, links_by_chunks, links_in_every_list
from mmbench.nn.item_neighbours import Neighbours
from mmbench.nn.recommender import Triplets
from tests.conftest import BlockWorld
from tests.models import dense
from tests.models.test_contract import CONDITIONS

pytestmark = pytest.mark.usefixtures("float64")
D = 6
LAMBDAS = {"reg_weight": 0.3, "extended_reg_weight": 0.5, "alignment_weight": 0.4, "cl_weight": 0.2}
LAMBDAS |= {"temperature": 0.3, "user_cl_weight": 0.6, "user_temperature": 0.5}


def graph_of(data: RecData, c: float, k: int) -> Tensor:
    """Users and items, and c from each item to the items that are neighbours of it in every modality."""
    n = data.n_users + data.n_items
    whole = torch.zeros(n, n)
    whole[: data.n_users, data.n_users :] = dense.interactions(data)
    whole[data.n_users :, : data.n_users] = dense.interactions(data).T
    if data.features:
        links = torch.ones(data.n_items, data.n_items)
        for name, features in data.features.items():
            links *= dense.nearest(features, data.present[name], k)[0]
        whole[data.n_users :, data.n_users :] = c * links.fill_diagonal_(0.0)
    return dense.row_normalised(whole)


def views_of(p: dict[str, Tensor], data: RecData, c: float, k: int, n_layers: int) -> list[Tensor]:
    to_users = graph_of(data, c, k)[: data.n_users, data.n_users :]
    views = []
    for name, features in data.features.items():
        x = p["item_embedding"] * torch.sigmoid(dense.linear(p, f"views.{name}.gate", dense.content(p, data, name)))
        for _ in range(n_layers):
            x = dense.weighted_graph(features, data.present[name], k) @ x
        views.append(torch.cat([to_users @ x, x]))
    return views


def side_of(p: dict[str, Tensor], behaviour: Tensor, views: list[Tensor], a: dict[str, float]) -> Tensor:
    if len(views) == 1:
        return views[0] / 2
    logits = [torch.tanh(dense.linear(p, "query.0", view)) @ p["query.2.weight"].T for view in views]
    odds = [weight * torch.exp(logit) for weight, logit in zip(a.values(), logits, strict=True)]
    common = sum(odd / sum(odds) * view for odd, view in zip(odds, views, strict=True))
    own = [
        weight * torch.sigmoid(dense.linear(p, f"preference.{name}", behaviour)) * (view - common)
        for (name, weight), view in zip(a.items(), views, strict=True)
    ]
    return (sum(own) + common) / (len(views) + 1)


def parts(p: dict[str, Tensor], data: RecData, c: float, a: dict[str, float], k: int, n_layers: int) -> Any:
    """Behaviour, views, side information and extended views; the last two None without content."""
    graph = graph_of(data, c, k)
    behaviour = dense.mean_of_layers(graph, torch.cat([p["user_embedding"], p["item_embedding"]]), 3)
    views = views_of(p, data, c, k, n_layers)
    if not views:
        return behaviour, views, None, None
    extended = [
        weight * dense.mean_of_layers(graph, torch.cat([p[f"extended_users.{name}"], view[data.n_users :]]), 3)
        for (name, weight), view in zip(a.items(), views, strict=True)
    ]
    return behaviour, views, side_of(p, behaviour, views, a), sum(extended) / len(views)


def final(p: dict[str, Tensor], data: RecData, c: float, *rest: Any) -> tuple[Tensor, Tensor]:
    behaviour, _, side, _ = parts(p, data, c, *rest)
    whole = behaviour if side is None else behaviour + c * side
    return whole[: data.n_users], whole[data.n_users :]


def perturbed(x: Tensor, draw: Tensor) -> Tensor:
    return x + 0.1 * x.detach().sign() * dense.unit(draw)


def expected_loss(
    p: dict[str, Tensor],
    data: RecData,
    batch: Triplets,
    draws: dict[str, Tensor],
    c: float,
    a: dict[str, float],
    k: int,
    n_layers: int,
    divisor: int,
) -> Tensor:
    w = LAMBDAS
    users, items = final(p, data, c, a, k, n_layers)
    rows = [users[batch.users], items[batch.positives], items[batch.negatives]]
    loss = dense.bpr(*rows) + w["reg_weight"] * torch.cat(rows).square().sum() / 2 / divisor
    behaviour, views, side, extended = parts(p, data, c, a, k, n_layers)
    if side is None:
        return loss
    positives = data.n_users + batch.positives
    content = w["extended_reg_weight"] * extended[positives].square().sum() / 2 / divisor
    for (one, of_one), (other, of_other) in itertools.combinations(zip(views, a.values(), strict=True), 2):
        apart = (one.var() - other.var()).abs() + (one.mean() - other.mean()).abs()
        content = content + w["alignment_weight"] * of_one * of_other * apart
    for nodes in (batch.users, positives):
        content = content + w["cl_weight"] * dense.nce(side[nodes], behaviour[nodes], w["temperature"])
    # A user that occurs several times has one noise in all places.
    _, place = torch.unique(batch.users, return_inverse=True)
    pairs = [(extended[batch.users], side[batch.users])]
    for name, x in (("side", side[batch.users]), ("extended", extended[batch.users])):
        pairs.append((perturbed(x, draws[f"{name}_1"][place]), perturbed(x, draws[f"{name}_2"][place])))
    for one, other in pairs:
        content = content + w["user_cl_weight"] * dense.nce(one, other, w["user_temperature"])
    return loss + c * content


def check(model: GUME, data: RecData, batch: Triplets, divisor: int, *rest: Any) -> None:
    p = dense.parameters_of(model)
    draws: dict[str, Tensor] = {}
    if data.features:
        shape = (len(torch.unique(batch.users)), D)
        draws = dense.freeze(model, dict.fromkeys(["side_1", "side_2", "extended_1", "extended_2"], shape), torch.rand)
    dense.agree(
        model,
        batch,
        lambda: expected_loss(p, data, batch, draws, *rest, divisor),
        lambda: final(p, data, *rest),
    )


@pytest.mark.parametrize("c", [1.0, dense.CONTENT_WEIGHT])
@pytest.mark.parametrize("k, n_layers", [(6, 1), (12, 2)])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_default_against_the_equations(
    condition: str, k: int, n_layers: int, c: float, block_world: BlockWorld
) -> None:
    data = dense.with_gaps(block_world.data(CONDITIONS[condition]))
    batch = dense.batch_of(data)
    weights: dict[str, Any] = {} if c == 1.0 else {"content_weight": c, **dense.MODALITY_WEIGHTS}
    model = GUME(data, embedding_dim=D, k=k, n_layers=n_layers, **LAMBDAS, **weights)
    assert not any(name.endswith("table") for name, _ in model.named_parameters())
    check(model, data, batch, len(batch.users), c, dense.weights_of(data, weighed=c != 1.0), k, n_layers)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_reference_against_the_equations(condition: str, block_world: BlockWorld) -> None:
    """Also where the reference crashes; its chunks are lists of items where k is ten and all items have content."""
    whole = block_world.data(CONDITIONS[condition])
    features = {name: values.double() for name, values in whole.features.items()}
    data = RecData(whole.n_users, whole.n_items, whole.edge_index, features, whole.present)
    model = GUME(data, embedding_dim=D, **LAMBDAS, as_reference=True, train_batch_size=50)
    tables = {name for name, _ in model.named_parameters() if name.endswith("table")}
    assert tables == {f"content.{name}.table" for name in data.features}
    check(model, data, dense.batch_of(data), 50, 1.0, dict.fromkeys(data.features, 1.0), 10, 1)


def test_default_is_the_reference_where_no_defect_acts(block_world: BlockWorld) -> None:
    """Bit for bit before the first step, with ten neighbours and a batch of the nominal length."""
    data = block_world.data(CONDITIONS["fused"])
    batch = dense.batch_of(data)
    dense.same_bits(GUME, data, batch, {}, {"as_reference": True, "train_batch_size": len(batch.users)})


def lists(k: int, n_items: int, missing: tuple[int, ...], seed: int) -> Neighbours:
    """Random lists, each item first in its own."""
    generator = torch.Generator().manual_seed(seed)
    items = torch.tensor([item for item in range(n_items) if item not in missing])
    rows = []
    for item in items.tolist():
        others = items[items != item]
        rows.append([item, *others[torch.randperm(len(others), generator=generator)[: k - 1]].tolist()])
    return Neighbours(n_items, items, torch.tensor(rows), torch.ones(len(items), k))


def pairs(links: Tensor) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in links.T.tolist()]


def table_of(list_: Neighbours) -> list[list[int]]:
    rows = dict(zip(list_.items.tolist(), list_.indices.tolist(), strict=True))
    return [rows.get(item, [-1] * list_.k) for item in range(list_.n_items)]


def test_items_are_linked_that_are_near_in_every_modality() -> None:
    given = [lists(8, 15, (2,), 0), lists(8, 15, (2, 5), 1), lists(8, 15, (), 2)]
    tables = [table_of(one) for one in given]
    expected = [(i, j) for i in range(15) for j in range(15) if i != j and all(j in table[i] for table in tables)]
    assert pairs(links_in_every_list(given)) == expected
    assert expected
    assert not {2, 5} & {item for pair in expected for item in pair}
    assert len(pairs(links_in_every_list(given[:1]))) == 14 * 7
    assert links_in_every_list([]).shape == links_by_chunks([]).shape == (2, 0)


@pytest.mark.parametrize("k", [3, 5, 7, 10, 13, 20])
@pytest.mark.parametrize("missing", [(), (4, 9)])
def test_links_by_chunks_of_ten_places(k: int, missing: tuple[int, ...]) -> None:
    n = 24
    given = [lists(k, n, missing, seed) for seed in (0, 1)]
    flat = [[item for row in table_of(one) for item in row] for one in given]
    by_owner: dict[int, set[int]] = {}
    for chunk in range(n * k // 10):
        first, second = ({*one[10 * chunk : 10 * chunk + 10]} for one in flat)
        owner = (10 * chunk + 9) // k
        by_owner[owner] = (first & second) - {owner, -1}
    expected = sorted((owner, item) for owner, items in by_owner.items() for item in items)
    assert pairs(links_by_chunks(given)) == expected
    assert (expected == pairs(links_in_every_list(given))) == (k == 10)


@pytest.mark.parametrize("ks", [(10, 2), (2, 10)])
def test_links_by_chunks_of_a_modality_that_few_items_have(ks: tuple[int, int]) -> None:
    """Its lists are shorter, and what they lack is in no chunk."""
    given = [lists(k, 24, (4, 9), seed) for seed, k in enumerate(ks)]
    found = pairs(links_by_chunks(given))
    assert found == pairs(links_in_every_list(given))
    assert found
