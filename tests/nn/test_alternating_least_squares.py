from __future__ import annotations

import numpy as np
import pytest
import torch

from mmbench.data.recdata import RecData
from mmbench.nn import alternating_least_squares
from mmbench.nn.alternating_least_squares import check_settings, factorised, solve
from mmbench.nn.memo import Memo
from mmbench.nn.sparse import interaction_matrix

N_USERS, N_ITEMS, D = 40, 30, 5
ALPHA, REG = 0.3, 0.02


@pytest.fixture
def interactions() -> np.ndarray:
    """Histories of very different length; a user and an item have none."""
    pairs = np.random.default_rng(0).random((N_USERS, N_ITEMS)) < np.linspace(0.03, 0.9, N_USERS)[:, None]
    pairs[4], pairs[:, 2] = False, False
    return pairs


@pytest.fixture
def data(interactions: np.ndarray) -> RecData:
    return RecData(N_USERS, N_ITEMS, torch.from_numpy(np.argwhere(interactions).T.copy()))


def normal_equations(interactions: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """One row at a time, by the weighted least squares over all columns."""
    solved = []
    for row in interactions:
        weights = row + ALPHA
        penalty = REG * (row.sum() + ALPHA * len(fixed))
        system = (fixed * weights[:, None]).T @ fixed + penalty * np.eye(fixed.shape[1])
        solved.append(np.linalg.solve(system, fixed.T @ row.astype(float)))
    return np.array(solved)


def objective(interactions: np.ndarray, users: np.ndarray, items: np.ndarray) -> float:
    scores = users @ items.T
    fit = ((scores - 1)[interactions] ** 2).sum() + ALPHA * (scores**2).sum()
    of_users = ((interactions.sum(1) + ALPHA * len(items)) * (users**2).sum(1)).sum()
    of_items = ((interactions.sum(0) + ALPHA * len(users)) * (items**2).sum(1)).sum()
    return float(fit + REG * (of_users + of_items))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("block", [1, 100, 1 << 16])
def test_one_side_against_numpy(
    interactions: np.ndarray, data: RecData, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alternating_least_squares, "BLOCK_ENTRIES", block)
    fixed = np.random.default_rng(1).standard_normal((N_ITEMS, D))
    ours = solve(interaction_matrix(data.edge_index, N_USERS, N_ITEMS), torch.from_numpy(fixed), ALPHA, REG)
    np.testing.assert_allclose(ours, normal_equations(interactions, fixed), rtol=1e-9, atol=1e-12)
    assert not ours[4].any()


@pytest.mark.parametrize("dim", [2, D, 40])
@pytest.mark.parametrize("room", [1, 1 << 18])
@pytest.mark.usefixtures("float64")
def test_histories_shorter_and_longer_than_the_vectors(
    interactions: np.ndarray, data: RecData, dim: int, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both forms of the solution, in systems of one row and of many."""
    monkeypatch.setattr(alternating_least_squares, "SYSTEM_NUMBERS", room)
    fixed = np.random.default_rng(1).standard_normal((N_ITEMS, dim))
    ours = solve(interaction_matrix(data.edge_index, N_USERS, N_ITEMS), torch.from_numpy(fixed), ALPHA, REG)
    np.testing.assert_allclose(ours, normal_equations(interactions, fixed), rtol=1e-9, atol=1e-12)


def test_single_precision_is_as_good_as_its_numbers(interactions: np.ndarray, data: RecData) -> None:
    fixed = np.random.default_rng(1).standard_normal((N_ITEMS, 16)).astype(np.float32)
    ours = solve(interaction_matrix(data.edge_index, N_USERS, N_ITEMS), torch.from_numpy(fixed), ALPHA, REG)
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours, normal_equations(interactions, fixed.astype(float)), rtol=0, atol=1e-6)


def test_nobody_has_anything() -> None:
    empty = interaction_matrix(torch.empty(2, 0, dtype=torch.int64), 3, 4)
    assert not solve(empty, torch.randn(4, D), ALPHA, REG).any()


@pytest.mark.thorough
@pytest.mark.usefixtures("float64")
def test_known_answer_converges_to_both_normal_equations(interactions: np.ndarray, data: RecData) -> None:
    """At the end each side solves its dense normal equations given the other, so the objective is stationary."""
    users, items = (vectors.numpy() for vectors in factorised(data, D, 3000, ALPHA, REG))
    np.testing.assert_allclose(users, normal_equations(interactions, items), rtol=0, atol=1e-9)
    np.testing.assert_allclose(items, normal_equations(interactions.T, users), rtol=0, atol=1e-6)


@pytest.mark.usefixtures("float64")
def test_every_sweep_lowers_the_objective(interactions: np.ndarray, data: RecData) -> None:
    values = []
    for n_sweeps in range(1, 8):
        users, items = factorised(data, D, n_sweeps, ALPHA, REG)
        values.append(objective(interactions, users.numpy(), items.numpy()))
    assert (np.diff(values) < 0).all()


def test_a_factorisation_is_kept_for_what_it_was_made_of(data: RecData) -> None:
    settings = (D, 2, ALPHA, REG)
    users, items = factorised(data, *settings)
    assert (users.shape, items.shape) == ((N_USERS, D), (N_ITEMS, D))
    again = RecData(
        N_USERS, N_ITEMS, data.edge_index.clone(), {"text": torch.ones(N_ITEMS, 2)}, {"text": torch.ones(1)}
    )
    assert factorised(again, *settings)[0] is users
    for others in ((D + 1, 2, ALPHA, REG), (D, 3, ALPHA, REG), (D, 2, 0.5, REG), (D, 2, ALPHA, 0.3)):
        assert not torch.equal(factorised(data, *others)[1][:, :D], items)
    fewer = RecData(N_USERS, N_ITEMS, data.edge_index[:, 1:])
    assert not torch.equal(factorised(fewer, *settings)[1], items)


def test_numbers_near_zero_change_nothing(data: RecData, monkeypatch: pytest.MonkeyPatch) -> None:
    """A penalty that draws all vectors towards one direction leaves products below 1e-38 in every factor."""
    penalised = (D, 30, 1.05, 0.09)
    smallest, as_they_are, cholesky = [], [], torch.linalg.cholesky

    def watched(system: torch.Tensor, *, upper: bool) -> torch.Tensor:
        factor = cholesky(system, upper=upper)
        smallest.append(float(factor[factor != 0].abs().min()))
        as_they_are.append(bool(torch.tensor(1e-38).mul(0.1)))
        return factor

    monkeypatch.setattr(torch.linalg, "cholesky", watched)
    zeroed = factorised(data, *penalised)
    assert min(smallest) ** 2 < torch.finfo(torch.float32).tiny
    assert not any(as_they_are)
    assert torch.tensor(1e-38).mul(0.1)  # those of others are as they are
    monkeypatch.setattr(torch, "set_flush_denormal", lambda _: False)
    monkeypatch.setattr(alternating_least_squares, "_factorisations", Memo(1))
    as_they_are.clear()
    for one, other in zip(zeroed, factorised(data, *penalised), strict=True):
        assert torch.equal(one, other)
    assert all(as_they_are)


def test_what_gives_no_vectors_is_refused() -> None:
    """Without a sweep the items' vectors would be whatever the memory held."""
    check_settings(1, 1, ALPHA, REG)
    for wrong, said in [
        ((0, 1, ALPHA, REG), "embedding_dim=0 must be a whole number of at least 1"),
        ((1, 0, ALPHA, REG), "n_sweeps=0 must be a whole number of at least 1"),
        ((1, 1, float("nan"), REG), "unobserved_weight=nan and reg_weight=0.02 must be positive"),
    ]:
        with pytest.raises(ValueError, match=said):
            check_settings(*wrong)
