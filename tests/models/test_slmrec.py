"""SLMRec against its equations in every condition; the reference needs image and text, or one certain data set."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.slmrec import SLMRec, nce_of_pairs
from mmbench.nn.recommender import Triplets
from tests.conftest import BlockWorld
from tests.models import dense
from tests.models.test_contract import CONDITIONS

pytestmark = pytest.mark.usefixtures("float64")
TEMPERATURE, ALIGNMENT, ALIGNMENT_TEMPERATURE = 0.3, 0.7, 0.4


#: Whether content and modalities have other weights than 1.
weighed = pytest.mark.parametrize("weighed", [False, True])


def factors_of_views(data: RecData, weighed: bool) -> list[float]:
    c = dense.CONTENT_WEIGHT if weighed else 1.0
    return [1.0, *(c * a for a in dense.weights_of(data, weighed=weighed).values())]


def views(p: dict[str, Tensor], data: RecData, weighed: bool) -> list[Tensor]:
    """ID view and one view per modality, users and items, each times its weight."""
    graph = dense.normalised(dense.interactions(data), 1e-8)
    tables = [p["item_embedding"]]
    tables += [dense.linear(p, f"content.{name}.layers", dense.unit(data.features[name])) for name in data.features]
    plain = [dense.mean_of_layers(graph, torch.cat([p["user_embedding"], table]), 3) for table in tables]
    return [weight * view for weight, view in zip(factors_of_views(data, weighed), plain, strict=True)]


def factors(p: dict[str, Tensor], data: RecData, weighed: bool) -> tuple[Tensor, Tensor]:
    whole = torch.cat(views(p, data, weighed), 1)
    return dense.linear(p, "fuse_users", whole[: data.n_users]), dense.linear(p, "fuse_items", whole[data.n_users :])


def cross_entropy(logits: Tensor) -> Tensor:
    return (logits.exp().sum(1).log() - logits.diagonal()).mean()


def expected_loss(p: dict[str, Tensor], data: RecData, batch: Triplets, weighed: bool) -> Tensor:
    users, items = factors(p, data, weighed)
    loss = dense.nce(users[batch.users], items[batch.positives], TEMPERATURE)
    x, *others = [view[data.n_users + batch.positives] for view in views(p, data, weighed)]
    for name, view, weight in zip(data.features, others, factors_of_views(data, weighed)[1:], strict=True):
        for step in ("0", "1"):
            x = dense.linear(p, f"chain.{name}.{step}", x) if f"chain.{name}.{step}.bias" in p else x
        head = view @ p[f"views.{name}.weight"].T + p.get(f"views.{name}.bias", torch.zeros(()))
        loss = loss + ALIGNMENT * weight * cross_entropy(x @ head.T / ALIGNMENT_TEMPERATURE)
    return loss


def build(data: RecData, *, as_reference: bool = False, weighed: bool = False) -> SLMRec:
    weights = {"content_weight": dense.CONTENT_WEIGHT, **dense.MODALITY_WEIGHTS} if weighed else {}
    return SLMRec(
        data,
        embedding_dim=6,
        temperature=TEMPERATURE,
        alignment_weight=ALIGNMENT,
        alignment_temperature=ALIGNMENT_TEMPERATURE,
        as_reference=as_reference,
        **weights,
    )


@weighed
@pytest.mark.parametrize("condition", CONDITIONS)
def test_default_against_the_equations(condition: str, weighed: bool, block_world: BlockWorld) -> None:
    data = dense.with_gaps(block_world.data(CONDITIONS[condition]))
    batch = dense.batch_of(data)
    model = build(data, weighed=weighed)
    p = dense.parameters_of(model)
    dense.agree(model, batch, lambda: expected_loss(p, data, batch, weighed), lambda: factors(p, data, weighed))


@weighed
@pytest.mark.parametrize("condition", CONDITIONS)
def test_reference_against_the_equations(condition: str, weighed: bool, block_world: BlockWorld) -> None:
    """Where the reference crashes, the absent views drop out of the fusion and of the chain."""
    data = dense.with_gaps(block_world.data(CONDITIONS[condition]))
    batch = dense.batch_of(data)
    model = build(data, as_reference=True, weighed=weighed)
    p = dense.parameters_of(model)
    loss = torch.stack(list(model.loss(batch).values())).sum()
    expected = expected_loss(p, data, batch, weighed)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-12)
    ours, theirs = (torch.autograd.grad(total, list(p.values())) for total in (loss, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-11)
    users, items = factors(p, data, weighed)
    every_user = torch.arange(data.n_users)
    torch.testing.assert_close(model.eval().score(every_user), torch.sigmoid(users @ items.T), rtol=1e-10, atol=1e-12)


def test_widths_of_the_chain(block_world: BlockWorld) -> None:
    """Only the last of several steps is narrow; the detour of the reference is for two modalities."""

    def widths(condition: str, *, as_reference: bool) -> list[list[int]]:
        model = build(block_world.data(CONDITIONS[condition]), as_reference=as_reference)
        return [[linear.out_features for linear in step] for step in model.chain.values()]

    assert widths("text", as_reference=True) == widths("text", as_reference=False) == [[6]]
    assert widths("fused", as_reference=False) == [[6], [3]]
    assert widths("fused", as_reference=True) == [[6], [6, 3]]
    assert widths("three", as_reference=True) == widths("three", as_reference=False) == [[6], [6], [3]]


def test_no_chain_without_weight(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["fused"])
    model = SLMRec(data, alignment_weight=0.0)
    assert list(model.loss(dense.batch_of(data))) == ["contrast"]
    assert not [name for name, _ in model.named_parameters() if name.startswith(("chain", "views"))]


def rows(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("unit_norm", [True, False])
def test_nce_of_pairs_by_hand(unit_norm: bool) -> None:
    """Rows that occur several times count as often, as anchors and as candidates."""
    anchors, others = rows(6, 0), rows(7, 1)
    pairs = torch.tensor([0, 5, 0, 3, 5]), torch.tensor([2, 2, 2, 6, 0])
    a, b = anchors[pairs[0]], others[pairs[1]]
    if unit_norm:
        a, b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
    logits = (a @ b.T / 0.3).tolist()
    expected = sum(math.log(sum(math.exp(x) for x in row)) - row[k] for k, row in enumerate(logits)) / 5
    assert nce_of_pairs(anchors, others, pairs, 0.3, unit_norm=unit_norm).item() == pytest.approx(expected, rel=1e-12)


def test_gradient_of_nce_of_pairs() -> None:
    anchors, others = rows(4, 0).requires_grad_(), rows(4, 1).requires_grad_()
    pairs = torch.tensor([0, 3, 0]), torch.tensor([2, 2, 1])
    assert torch.autograd.gradcheck(lambda a, b: nce_of_pairs(a, b, pairs, 0.5), [anchors, others])
