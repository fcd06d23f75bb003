"""CLCRec against its equations, also without any and with three modalities."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.models.clcrec import CLCRec, inner_products
from mmbench.nn.recommender import Triplets
from tests.conftest import BlockWorld
from tests.models import dense
from tests.models.test_contract import CONDITIONS, batch_of, train
from tests.regressions import COLD, with_new_items

pytestmark = pytest.mark.usefixtures("float64")
SETTINGS: dict[str, Any] = {
    "embedding_dim": 6,
    "n_negatives": 5,
    "temperature": 0.7,
    "agreement_weight": 0.3,
    "replaced": 0.4,
    "reg_weight": 0.9,
}
THREE = ("audio", "image", "text")


def directions(data: RecData, weights: dict[str, float]) -> Tensor:
    """Features of length one in each modality, side by side."""
    rows = {name: values.double() for name, values in data.features.items()}
    scaled = [weights[name] * values / values.norm(dim=1, keepdim=True) for name, values in rows.items()]
    return torch.cat([torch.empty(data.n_items, 0), *scaled], dim=1)


def encoded(p: dict[str, Tensor], x: Tensor) -> Tensor:
    return dense.linear(p, "encoder.2", functional.leaky_relu(dense.linear(p, "encoder.0", x), 0.01))


def first_among(scores: Tensor) -> Tensor:
    """Minus the mean logarithm of the first candidate's softmax."""
    chances = scores.exp() / scores.exp().sum(1, keepdim=True)
    return -chances[:, 0].log().mean()


def expected_loss(
    p: dict[str, Tensor], data: RecData, users: Tensor, candidates: Tensor, replaced: Tensor, x: Tensor
) -> Tensor:
    """Vector by vector, every place of ``candidates`` ``(B, 1 + n)`` on its own."""
    user, ids = p["id_embedding"][users], p["id_embedding"][data.n_users + candidates]
    norms = user.norm(dim=1).mean() + ids.norm(dim=2).mean()
    vectors, agreement = ids, torch.zeros(())
    if x.shape[1]:
        contents = encoded(p, x[candidates])
        mask = torch.zeros(candidates.numel(), dtype=torch.bool)
        mask[replaced] = True
        vectors = torch.where(mask.view_as(candidates).unsqueeze(2), contents, ids)
        known = ids[:, :1] / ids[:, :1].norm(dim=2, keepdim=True)
        agreement = first_among((known * contents / contents.norm(dim=2, keepdim=True)).sum(2) / 0.7)
    return 0.3 * agreement + 0.7 * first_among((user.unsqueeze(1) * vectors).sum(2) / 0.7) + 0.45 * norms


def drawn_by(model: CLCRec, batch: Triplets) -> tuple[Tensor, Tensor]:
    """Candidates and replaced places of one loss, which the model is made to use again."""
    generator = torch.Generator().manual_seed(4)
    negatives, counted = model.negatives.sample_distinct(batch.users, 5, generator)
    assert bool(counted.all())
    model.negatives.sample_distinct = lambda *_: (negatives, counted)  # type: ignore[method-assign]
    candidates = torch.cat([batch.positives.unsqueeze(1), negatives], dim=1)
    replaced = torch.randperm(candidates.numel(), generator=generator)[: int(0.4 * candidates.numel())]
    model.noise.replaced = replaced
    return candidates, replaced


@pytest.mark.parametrize("as_reference", [False, True])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_against_the_equations(condition: str, as_reference: bool, block_world: BlockWorld) -> None:
    """Where no place is drawn twice the reference has the same numbers."""
    data = with_new_items(block_world, CONDITIONS[condition])
    keywords = {**SETTINGS, "content_weight": dense.CONTENT_WEIGHT, **dense.MODALITY_WEIGHTS}
    model = CLCRec(data, **keywords, as_reference=as_reference).train()
    x = directions(data, {name: dense.CONTENT_WEIGHT * a for name, a in dense.weights_of(data).items()})
    p, batch = dict(model.named_parameters()), batch_of(data)
    candidates, replaced = drawn_by(model, batch)
    expected = expected_loss(p, data, batch.users, candidates, replaced, x)
    terms = model.loss(batch)
    loss = torch.stack(list(terms.values())).sum()
    assert ("agreement" in terms) == (condition != "none")
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    own, other = (torch.autograd.grad(value, list(p.values())) for value in (loss, expected))
    for name, ours, theirs in zip(p, own, other, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-14, msg=name)

    users, items = model.eval()()
    assert torch.equal(users, p["id_embedding"][: data.n_users])
    expected_items = p["id_embedding"][data.n_users :].detach().clone()
    cold = list(COLD)
    expected_items[cold] = encoded(p, x[cold]).detach() if x.shape[1] else 0.0
    torch.testing.assert_close(items, expected_items, rtol=1e-12, atol=1e-14)


def test_a_place_drawn_again_passes_its_gradient_again_in_the_reference_alone(block_world: BlockWorld) -> None:
    """Assigning vectors to a table does so, and so the value of the loss is the same."""
    data, places = with_new_items(block_world, ("text",)), torch.tensor([3, 3, 3, 10])
    found = []
    for as_reference in (False, True):
        torch.manual_seed(0)
        model = CLCRec(data, **{**SETTINGS, "agreement_weight": 0.0}, as_reference=as_reference).train()
        batch = batch_of(data)
        drawn_by(model, batch)
        model.noise.replaced = places
        loss = torch.stack(list(model.loss(batch).values())).sum()
        loss.backward()
        found.append((loss.detach(), model.id_embedding.grad, model.encoder[2].bias.grad))
    (loss, of_ids, of_encoder), (loss_again, of_ids_again, of_encoder_again) = found
    torch.testing.assert_close(loss, loss_again, rtol=1e-12, atol=0)
    torch.testing.assert_close(of_ids, of_ids_again, rtol=1e-9, atol=1e-14)
    assert not torch.allclose(of_encoder, of_encoder_again)


def test_replaced_places_are_drawn_once_each_but_in_the_reference(
    block_world: BlockWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = with_new_items(block_world, ("text",))
    batch = batch_of(data)
    for as_reference in (False, True):
        model = CLCRec(data, **SETTINGS, as_reference=as_reference).train()
        drawn, rows = [], model.noise.rows
        monkeypatch.setattr(model.noise, "rows", lambda *a, r=rows, d=drawn, **k: d.append(r(*a, **k)) or d[-1])
        model.loss(batch)
        places = 6 * len(batch.users)
        assert len(drawn[0]) == int(0.4 * places)
        assert (len(drawn[0].unique()) == len(drawn[0])) != as_reference
        assert 0 <= int(drawn[0].min()) <= int(drawn[0].max()) < places


def test_negatives_are_distinct_and_of_training(block_world: BlockWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never an item that nobody has bought: nothing says that it is disliked."""
    data = with_new_items(block_world, ("text",))
    model, batch, found = CLCRec(data, **SETTINGS).train(), batch_of(data), []
    draw = model.negatives.sample_distinct
    monkeypatch.setattr(model.negatives, "sample_distinct", lambda *a: found.append(draw(*a)) or found[-1])
    first, second = (model.loss(batch)["ranking"] for _ in range(2))
    assert not torch.equal(first, second)
    pairs = set(map(tuple, data.edge_index.T.tolist()))
    for items, _ in found:
        assert all(len(set(row)) == 5 for row in items.tolist())
        assert not set(COLD) & set(items.flatten().tolist())
        assert not any(
            (u, i) in pairs for u, row in zip(batch.users.tolist(), items.tolist(), strict=True) for i in row
        )


def test_a_user_who_lacks_few_items_has_so_many_negatives(block_world: BlockWorld) -> None:
    """As if the others were not there: in the contrasts and in the norms."""
    data = with_new_items(block_world, ())
    known = data.edge_index[1].unique()
    lacking = known[:2]
    bought = known[2:]
    edges = torch.cat([data.edge_index[:, data.edge_index[0] > 0], torch.stack([torch.zeros_like(bought), bought])], 1)
    data = RecData(data.n_users, data.n_items, edges)
    model = CLCRec(data, **{**SETTINGS, "n_negatives": 500}).train()
    assert model.n_negatives < data.n_items
    p = dict(model.named_parameters())
    one = Triplets(torch.zeros(1, dtype=torch.long), bought[:1], lacking[:1])
    candidates = torch.cat([bought[:1], lacking]).unsqueeze(0)
    expected = expected_loss(p, data, one.users, candidates, torch.empty(0, dtype=torch.long), torch.empty(0, 0))
    loss = torch.stack(list(model.loss(one).values())).sum()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def test_products_with_a_small_and_with_a_large_table_agree() -> None:
    generator = torch.Generator().manual_seed(0)
    anchors, rows = torch.randn(4, 6, generator=generator), torch.randn(400, 6, generator=generator)
    of_anchor, place = torch.tensor([2, 0, 3, 3, 1]), torch.randint(30, (5, 3), generator=generator)
    expected = torch.stack([rows[place[b]] @ anchors[of_anchor[b]] for b in range(5)])
    torch.testing.assert_close(inner_products(anchors, of_anchor, rows, place), expected)  # each product on its own
    torch.testing.assert_close(inner_products(anchors, of_anchor, rows[:30], place), expected)  # all at once


@pytest.mark.parametrize("condition", CONDITIONS)
def test_new_items_are_known_by_their_content_alone(condition: str, block_world: BlockWorld) -> None:
    data = with_new_items(block_world, CONDITIONS[condition])
    model = CLCRec(data, **SETTINGS)
    train(model, data, 5)
    before = model()[1]
    with torch.no_grad():
        model.id_embedding[data.n_users :][list(COLD)] += 10.0
    assert torch.equal(model()[1], before)
    assert bool(before[list(COLD)].any()) == (condition != "none")


def test_impossible_settings(block_world: BlockWorld) -> None:
    data = block_world.data(("text",))
    for wrong, message in [
        ({"n_negatives": 0}, r"n_negatives=0 must be a whole number of at least 1"),
        ({"temperature": 0.0}, r"temperature=0\.0 must be a positive number"),
        ({"agreement_weight": 1.5}, r"agreement_weight=1\.5 must be at least 0 and at most 1"),
        ({"replaced": -0.5}, r"replaced=-0\.5 must be at least 0 and at most 1"),
        ({"content_weight": -1.0}, r"content_weight=-1\.0 must be a number of at least 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            CLCRec(data, **wrong)
