from __future__ import annotations

import math

import pytest
import torch

from mmbench.nn.losses import (
    bit_terms,
    bpr,
    bpr_bits,
    bpr_terms,
    cosine_distance,
    gap,
    mean_squares,
    moments,
    nce_of_rows,
    norm_penalty,
    triplet_mean_squares,
    vector_bpr,
)

pytestmark = pytest.mark.usefixtures("float64")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_bpr_by_hand() -> None:
    positive, negative = [1.0, -2.0, 0.5], [0.0, 1.0, 0.5]
    expected = sum(math.log1p(math.exp(n - p)) for p, n in zip(positive, negative, strict=True)) / 3
    assert bpr(torch.tensor(positive), torch.tensor(negative)).item() == pytest.approx(expected, rel=1e-14)


def test_bpr_agrees_with_the_guarded_logarithm() -> None:
    """The reference writes log(1e-10 + sigmoid(x))."""
    positive, negative = random(50, seed=1), random(50, seed=2)
    guarded = -torch.log(1e-10 + torch.sigmoid(positive - negative)).mean()
    assert bpr(positive, negative).item() == pytest.approx(guarded.item(), abs=1e-9)


def test_bpr_has_a_gradient_where_the_sigmoid_underflows() -> None:
    score = torch.tensor([-1000.0], requires_grad=True)
    loss = bpr(score, torch.zeros(1))
    loss.backward()
    assert loss.item() == pytest.approx(1000.0)
    assert score.grad is not None
    assert score.grad.item() == pytest.approx(-1.0)


def test_norm_penalty_is_not_squared_and_divides_by_the_batch() -> None:
    first, second = random(5, 3, seed=1), random(5, 3, seed=2)
    expected = (first.pow(2).sum().sqrt() + second.pow(2).sum().sqrt()) / 5
    assert norm_penalty(first, second).item() == pytest.approx(expected.item(), rel=1e-14)
    assert norm_penalty(2 * first, 2 * second).item() == pytest.approx(2 * expected.item(), rel=1e-14)


def test_norm_penalty_has_a_gradient_at_zero() -> None:
    rows = torch.zeros(4, 2, requires_grad=True)
    norm_penalty(rows).backward()
    assert rows.grad is not None
    assert torch.isfinite(rows.grad).all()


def test_bpr_terms_are_weighted_and_named() -> None:
    user, positive, negative, ego = (random(6, 4, seed=s) for s in range(4))
    terms = bpr_terms(user, positive, negative, 0.3)
    assert list(terms) == ["bpr", "reg"]
    assert torch.equal(terms["bpr"], bpr((user * positive).sum(1), (user * negative).sum(1)))
    assert torch.equal(terms["reg"], 0.3 * norm_penalty(user, positive, negative))
    assert torch.equal(bpr_terms(user, positive, negative, 0.3, penalised=(ego,))["reg"], 0.3 * norm_penalty(ego))


def test_bits_of_a_coin_flip() -> None:
    zero = torch.zeros(3, 2)
    assert bpr_bits(zero, zero, zero).item() == pytest.approx(1.0)
    user, positive, negative = (random(6, 4, seed=s) for s in range(3))
    expected = vector_bpr(user, positive, negative).item() / math.log(2)
    assert bpr_bits(user, positive, negative).item() == pytest.approx(expected)


def test_bit_terms_leave_out_what_is_not_there() -> None:
    user, positive, negative, weights = (random(6, 4, seed=s) for s in range(4))
    terms = bit_terms(user, positive, negative, 0.3, [user, None, weights])
    assert list(terms) == ["bpr", "reg"]
    assert torch.equal(terms["bpr"], bpr_bits(user, positive, negative))
    assert torch.equal(terms["reg"], 0.3 * mean_squares(user, weights))


def test_mean_squares_are_per_entry_and_summed() -> None:
    first, second = random(5, 3, seed=1), random(7, 2, seed=2)
    expected = float((first**2).sum() / 15 + (second**2).sum() / 14)
    assert mean_squares(first, second).item() == pytest.approx(expected)
    assert mean_squares().item() == 0.0


def test_both_items_of_a_triplet_weigh_as_much_as_the_user() -> None:
    ones = torch.ones(4, 3)
    assert triplet_mean_squares(ones, 2 * ones, 3 * ones).item() == pytest.approx(1 + (4 + 9) / 2)


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


def test_a_row_given_twice_is_its_own_negative_too() -> None:
    a, b = rows(4, 0)[[0, 1, 1, 3]], rows(4, 1)[[0, 1, 1, 3]]
    expected = [by_hand(x, y, b, 0.2) for x, y in zip(a, b, strict=True)]
    assert nce_of_rows(a, b, b, 0.2).tolist() == pytest.approx(expected, rel=1e-12)


def test_candidates_count_as_often_as_they_are_said_to() -> None:
    a, b = rows(4, 0), rows(4, 1)
    often = torch.tensor([1, 3, 1, 2])
    repeated = nce_of_rows(a, b, b.repeat_interleave(often, 0), 0.2)
    torch.testing.assert_close(nce_of_rows(a, b, b, 0.2, often.double()), repeated, rtol=1e-12, atol=0)


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 0.5, 1.0])])
def test_gradients_of_the_contrast(weights: torch.Tensor | None) -> None:
    given = [rows(4, seed).requires_grad_() for seed in range(3)]
    if weights is not None:
        weights = weights.double()
    assert torch.autograd.gradcheck(lambda a, b, c: nce_of_rows(a, b, c, 0.7, weights), given)


def test_equal_views_of_orthogonal_rows() -> None:
    losses = nce_of_rows(torch.eye(5), torch.eye(5), torch.eye(5), 1.0)
    assert losses.tolist() == [pytest.approx(math.log(1 + 4 / math.e))] * 5


def test_rows_of_zeros_and_small_temperatures_stay_finite() -> None:
    a, b = rows(4, 0).requires_grad_(), rows(4, 1)
    zero = torch.zeros(4, 5)
    others = torch.cat([b, zero])
    loss = nce_of_rows(torch.cat([a, zero]), others, others, 1e-3).mean()
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


def test_moments_are_those_of_all_entries_of_tables_side_by_side() -> None:
    table = random(5, 3)
    for times in (1, 3):
        variance, mean = moments(table, times)
        entries = (table.flatten().tolist()) * times
        expected = sum(entries) / len(entries)
        assert float(mean) == pytest.approx(expected, rel=1e-12)
        squares = sum((entry - expected) ** 2 for entry in entries)
        assert float(variance) == pytest.approx(squares / (len(entries) - 1), rel=1e-12)


def test_gap_adds_the_distances_of_variance_and_mean() -> None:
    one, other = (torch.tensor(2.0), torch.tensor(-1.0)), (torch.tensor(5.0), torch.tensor(0.5))
    assert float(gap(one, other)) == float(gap(other, one)) == 4.5
    assert float(gap(one, one)) == 0.0
