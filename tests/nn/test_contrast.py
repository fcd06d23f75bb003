from __future__ import annotations

import math

import pytest
import torch

from mmbench.nn.contrast import cosine_distance, nce, nce_in_batch, nce_of_pairs, nce_of_rows, nce_with_all

pytestmark = pytest.mark.usefixtures("float64")


def rows(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 5, generator=torch.Generator().manual_seed(seed))


def by_hand(anchor: torch.Tensor, positive: torch.Tensor, candidates: torch.Tensor, temperature: float) -> float:
    def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(a @ b / (a.norm() * b.norm()))

    total = sum(math.exp(cosine(anchor, c) / temperature) for c in candidates)
    return -math.log(math.exp(cosine(anchor, positive) / temperature) / total)


def test_nce_of_rows_by_hand() -> None:
    a, b, c = rows(4, 0), rows(4, 1), rows(9, 2)
    expected = [by_hand(x, y, c, 0.3) for x, y in zip(a, b, strict=True)]
    assert nce_of_rows(a, b, c, 0.3).tolist() == pytest.approx(expected, rel=1e-12)


def test_nce_is_the_mean_over_the_batch_and_keeps_twins() -> None:
    a, b = rows(4, 0)[[0, 1, 1, 3]], rows(4, 1)[[0, 1, 1, 3]]
    expected = sum(by_hand(x, y, b, 0.2) for x, y in zip(a, b, strict=True)) / 4
    assert nce(a, b, 0.2).item() == pytest.approx(expected, rel=1e-12)


def test_candidates_count_as_often_as_they_are_said_to() -> None:
    a, b = rows(4, 0), rows(4, 1)
    often = torch.tensor([1, 3, 1, 2])
    repeated = nce_of_rows(a, b, b.repeat_interleave(often, 0), 0.2)
    torch.testing.assert_close(nce_of_rows(a, b, b, 0.2, often.double()), repeated, rtol=1e-12, atol=0)


def test_nce_with_all_compares_with_every_row_and_repeats_repeated_ones() -> None:
    a, b, chosen = rows(6, 0), rows(6, 1), torch.tensor([4, 0, 4])
    expected = sum(by_hand(a[row], b[row], b, 0.2) for row in chosen.tolist())
    assert nce_with_all(a, b, chosen, 0.2).item() == pytest.approx(expected, rel=1e-12)


def test_nce_in_batch_is_nce_of_the_gathered_rows() -> None:
    chosen = torch.tensor([4, 0, 4, 5, 0, 4])
    values, gradients = [], []
    for gathered in (False, True):
        a, b = rows(6, 0).requires_grad_(), rows(6, 1).requires_grad_()
        value = nce(a[chosen], b[chosen], 0.2) if gathered else nce_in_batch(a, b, chosen, 0.2)
        values.append(value)
        gradients.append(torch.autograd.grad(value, (a, b)))
    torch.testing.assert_close(*values, rtol=1e-12, atol=0)
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 0.5, 1.0])])
def test_gradients(weights: torch.Tensor | None) -> None:
    given = [rows(4, seed).requires_grad_() for seed in range(3)]
    if weights is not None:
        weights = weights.double()
    assert torch.autograd.gradcheck(lambda a, b, c: nce_of_rows(a, b, c, 0.7, weights), given)


def test_equal_views_of_orthogonal_rows() -> None:
    assert nce(torch.eye(5), torch.eye(5), 1.0).item() == pytest.approx(math.log(1 + 4 / math.e))


def test_rows_of_zeros_and_small_temperatures_stay_finite() -> None:
    a, b = rows(4, 0).requires_grad_(), rows(4, 1)
    zero = torch.zeros(4, 5)
    loss = nce(torch.cat([a, zero]), torch.cat([b, zero]), 1e-3)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(a.grad).all()


def test_cosine_distance_ends_at_the_target() -> None:
    online, target = rows(3, 0).requires_grad_(), rows(3, 1).requires_grad_()
    value = cosine_distance(online, target)
    cosines = (online * target).sum(1) / online.norm(dim=1) / target.norm(dim=1)
    assert value.item() == pytest.approx(1 - cosines.mean().item(), rel=1e-12)
    value.backward()
    assert online.grad is not None
    assert target.grad is None
    assert cosine_distance(torch.zeros(3, 5), target).item() == 1.0


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
