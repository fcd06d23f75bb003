"""MENTOR against its equations in every condition; the goldens hold the reference, which needs image and text."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models import mentor
from mmbench.models.mentor import MENTOR, nce_in_blocks
from mmbench.nn.recommender import Triplets
from tests.conftest import BlockWorld
from tests.models import dense
from tests.models.test_contract import CONDITIONS
from tests.models.test_nested import ranges_of

pytestmark = pytest.mark.usefixtures("float64")
K, D, REG, ALIGN, CONTRAST, TEMPERATURE, MASK, DROPOUT = 4, 6, 0.7, 0.4, 0.3, 0.5, 0.9, 0.3
DRAWS = [(view, hop) for view in (1, 2) for hop in (1, 2)]


def build(data: RecData, **given: Any) -> MENTOR:
    settings = {"alignment_weight": ALIGN, "cl_weight": CONTRAST, "mask_weight": MASK, **dense.MODALITY_WEIGHTS}
    settings |= {"reg_weight": REG, "temperature": TEMPERATURE, "dropout": DROPOUT, "k": K, "hidden_dim": 5}
    return MENTOR(data, embedding_dim=D, **{**settings, **given})


def names(data: RecData) -> list[str]:
    return list(data.features) or ["free"]


def ego(p: dict[str, Tensor], tower: str, features: Tensor | None) -> Tensor:
    """Ego vectors of one tower; the identifiers are a table in place of features."""
    hidden = dense.linear(p, f"{tower}.items.layers.0", p[f"{tower}.items.table"] if features is None else features)
    items = dense.linear(p, f"{tower}.items.layers.2", torch.where(hidden > 0, hidden, 0.01 * hidden))
    return dense.unit(torch.cat([p[f"{tower}.preference"], items]))


def smoothed(data: RecData, n_layers: int, items: Tensor) -> Tensor:
    if not data.features:
        return items
    graph = torch.zeros(data.n_items, data.n_items)
    for name, weight in dense.weights_of(data).items():
        graph += weight / len(data.features) * dense.binary_graph(data.features[name], data.present[name], K)
    return items + torch.linalg.matrix_power(graph, n_layers) @ items


def fused(p: dict[str, Tensor], data: RecData, n_layers: int, towers: list[Tensor]) -> tuple[Tensor, Tensor]:
    weights = p.get("user_weights", torch.ones(data.n_users, 1))
    users = torch.cat([weights[:, [m]] * tower[: data.n_users] for m, tower in enumerate(towers)], 1)
    return users, smoothed(data, n_layers, torch.cat([tower[data.n_users :] for tower in towers], 1))


def outputs(p: dict[str, Tensor], data: RecData, prefix: str = "towers") -> list[Tensor]:
    graph = dense.normalised(dense.interactions(data))
    egos = [ego(p, f"{prefix}.{name}", data.features.get(name)) for name in names(data)]
    return [x + graph @ x + graph @ graph @ x for x in egos]


def perturbed(p: dict[str, Tensor], data: RecData, draws: dict[str, Tensor], view: int, prefix: str) -> list[Tensor]:
    graph = dense.normalised(dense.interactions(data))
    views = []
    for name in names(data):
        x = total = ego(p, f"{prefix}.{name}", data.features.get(name))
        for hop in (1, 2):
            x = graph @ x
            x = x + 0.1 * x.detach().sign() * dense.unit(draws[f"{name}_view{view}_hop{hop}"])
            total = total + x
        views.append(total)
    return views


def gap(one: Tensor, other: Tensor) -> Tensor:
    """Between all entries of two matrices."""
    return (one.var() - other.var()).abs() + (one.mean() - other.mean()).abs()


def distance(online: Tensor, target: Tensor) -> Tensor:
    cosines = (online * target).sum(1) / (online.norm(dim=1) * target.norm(dim=1)).clamp_min(1e-8)
    return 1 - cosines.mean()


def expected_loss(
    p: dict[str, Tensor],
    data: RecData,
    batch: Triplets,
    draws: dict[str, Tensor],
    n_layers: int,
    *,
    as_reference: bool = False,
) -> Tensor:
    towers = outputs(p, data)
    users, items = fused(p, data, n_layers, towers)
    loss = dense.bpr(users[batch.users], items[batch.positives], items[batch.negatives]) / math.log(2)
    for name in names(data):
        loss = loss + REG * p[f"towers.{name}.preference"][batch.users].square().mean()
    if "user_weights" in p:
        loss = loss + REG * p["user_weights"].square().mean()
    if data.features:
        graph = dense.normalised(dense.interactions(data))
        guide = ego(p, "guide", None)
        guide = guide + graph @ guide + graph @ graph @ guide
        views = [torch.cat([users, items])]
        for view in [guide, *towers]:
            both = torch.cat([view[: data.n_users], smoothed(data, n_layers, view[data.n_users :])])
            views.append(torch.cat([both] * len(towers), dim=1))
        loss = loss + ALIGN * sum(gap(one, other) for one, other in itertools.combinations(views, 2))
    prefixes = ("copies.0", "copies.1") if as_reference else ("towers", "towers")
    one, other = (
        fused(p, data, n_layers, perturbed(p, data, draws, view, prefix))
        for view, prefix in enumerate(prefixes, start=1)
    )
    rows = [sorted({*batch.users.tolist()}), sorted({*batch.positives.tolist(), *batch.negatives.tolist()})]
    rows = [list(range(data.n_users)), list(range(data.n_items))] if as_reference else rows
    for a, b, chosen in zip(one, other, rows, strict=True):
        loss = loss + CONTRAST * dense.nce(a[chosen], b[chosen], TEMPERATURE)
    for name, x in (("user", users), ("item", items)):
        masked = distance(dense.linear(p, "predictor", x), x.detach() * draws[name])
        loss = loss + MASK * (masked.detach() if as_reference else masked)
    return loss


def freeze(model: MENTOR, data: RecData) -> dict[str, Tensor]:
    width = D * len(names(data))
    sizes = {"user": (data.n_users, width), "item": (data.n_items, width)}
    draws = dense.freeze(model, sizes, dense.dropout_factors(DROPOUT))
    n = data.n_users + data.n_items
    hops = {f"{name}_view{view}_hop{hop}": (n, D) for name in names(data) for view, hop in DRAWS}
    return draws | dense.freeze(model, hops, torch.rand)


@pytest.mark.parametrize("n_layers", [0, 2])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_default_against_the_equations(condition: str, n_layers: int, block_world: BlockWorld) -> None:
    data = dense.with_gaps(block_world.data(CONDITIONS[condition]))
    batch = dense.batch_of(data)
    model = build(data, n_layers=n_layers)
    p, draws = dense.parameters_of(model), freeze(model, data)
    assert ("user_weights" in p) == (len(data.features) > 1)
    assert not [name for name in p if name.startswith("copies")]
    dense.agree(
        model,
        batch,
        lambda: expected_loss(p, data, batch, draws, n_layers),
        lambda: fused(p, data, n_layers, outputs(p, data)),
    )


@pytest.mark.parametrize("condition", CONDITIONS)
def test_reference_against_the_equations(condition: str, block_world: BlockWorld) -> None:
    """Also where the reference crashes: one modality, none, three."""
    data = dense.with_gaps(block_world.data(CONDITIONS[condition]))
    batch = dense.batch_of(data)
    model = build(data, as_reference=True)
    p, draws = dense.parameters_of(model), freeze(model, data)
    loss = torch.stack([term.reshape(()) for term in model.loss(batch).values()]).sum()
    expected = expected_loss(p, data, batch, draws, 1, as_reference=True)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-12)
    ours, theirs = (torch.autograd.grad(total, list(p.values()), allow_unused=True) for total in (loss, expected))
    for name, a, b in zip(p, ours, theirs, strict=True):
        assert (a is None) == (b is None) == name.startswith("predictor"), name
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-11)


def test_terms_without_weight_and_their_parts_are_left_out(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["fused"])
    model = build(data, alignment_weight=0.0, cl_weight=0.0, mask_weight=0.0)
    assert list(model.loss(dense.batch_of(data))) == ["bpr", "reg"]
    assert {name.partition(".")[0] for name, _ in model.named_parameters()} == {"towers", "user_weights"}


def test_default_ranks_as_the_reference_before_any_training(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["fused"])
    scores, losses = [], []
    for as_reference in (False, True):
        torch.manual_seed(0)
        model = MENTOR(data, as_reference=as_reference)
        losses.append({name: term.item() for name, term in model.loss(dense.batch_of(data)).items()})
        scores.append(model.eval().score(torch.arange(data.n_users)))
    assert torch.equal(*scores)
    untouched = {"bpr", "reg", "align", "mask_user", "mask_item"}
    assert {name for name in losses[0] if losses[0][name] == losses[1][name]} == untouched


def test_a_share_of_zero_leaves_a_tower_out_unless_it_is_the_reference(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["fused"])
    models = [MENTOR(data, first_modality_weight=0.0, as_reference=reference) for reference in (False, True)]
    assert [list(model.towers) for model in models] == [["text"], ["image", "text"]]


def test_the_contrast_in_blocks_is_that_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(11, 3, generator=generator).requires_grad_() for _ in range(2))
    whole = nce_in_blocks(a, b, 0.3)
    monkeypatch.setattr(mentor, "BLOCK_ROWS", 4)
    blocks = nce_in_blocks(a, b, 0.3)
    torch.testing.assert_close(blocks, whole)
    torch.testing.assert_close(torch.autograd.grad(blocks, [a, b]), torch.autograd.grad(whole, [a, b]))


def test_the_weight_of_the_mask_is_searched_where_the_authors_search_it() -> None:
    """Their grid is 1, 1.5, 2, 2.5, 3."""
    searched = ranges_of(MENTOR)["model.mask_weight"]
    assert (searched.low, searched.high) == (1.0, 3.0)
