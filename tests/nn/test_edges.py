from __future__ import annotations

import pytest
import torch

from mmbench.nn.edges import UserItemEdges, both_directions, neighbour_mean

pytestmark = pytest.mark.usefixtures("float64")

EDGES = torch.tensor([[2, 0, 1, 0], [3, 1, 1, 0]])  # in no order; item 2 and user 3 have nobody
N_USERS, N_ITEMS, DIM = 4, 4, 3
N = N_USERS + N_ITEMS


@pytest.fixture
def edges() -> UserItemEdges:
    return UserItemEdges(EDGES, N_USERS, N_ITEMS)


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def dense(edges: UserItemEdges, weights: torch.Tensor) -> torch.Tensor:
    return torch.zeros(N, N).index_put((edges.rows, edges.columns), weights)


def test_every_edge_in_both_directions(edges: UserItemEdges) -> None:
    rows, columns = both_directions(EDGES, N_USERS)
    expected = sorted(zip(rows.tolist(), columns.tolist(), strict=True))
    assert list(zip(edges.rows.tolist(), edges.columns.tolist(), strict=True)) == expected
    assert (2, 7) in expected
    assert (7, 2) in expected
    assert torch.equal(edges.rows[edges.reverse], edges.columns)
    assert torch.equal(edges.columns[edges.reverse], edges.rows)
    assert not edges.state_dict()


def test_products_of_the_ends(edges: UserItemEdges) -> None:
    x = random(N, DIM, seed=0)
    torch.testing.assert_close(edges.products(x), (x @ x.T)[edges.rows, edges.columns])
    assert torch.autograd.gradcheck(edges.products, [x])


def test_products_of_two_tables_say_who_receives(edges: UserItemEdges) -> None:
    a, b = random(N, DIM, seed=0), random(N, DIM, seed=1)
    torch.testing.assert_close(edges.of_ends(a, b), (a @ b.T)[edges.rows, edges.columns])


def test_propagation_with_weights(edges: UserItemEdges) -> None:
    weights, x = random(8, seed=1), random(N, DIM, seed=2)
    torch.testing.assert_close(edges.propagate(weights, x), dense(edges, weights) @ x)
    torch.testing.assert_close(edges.matrix(weights).to_dense(), dense(edges, weights))
    assert torch.autograd.gradcheck(edges.propagate, [weights, x])


def test_attention_sums_to_one_over_what_a_node_receives(edges: UserItemEdges) -> None:
    scores = random(8, seed=3)
    attention = dense(edges, edges.attention(scores))
    alive = torch.tensor([1, 1, 1, 0, 1, 1, 0, 1.0])
    torch.testing.assert_close(attention.sum(1), alive)
    of_user_0 = scores[edges.rows == 0].exp()
    torch.testing.assert_close(attention[0, [4, 5]], of_user_0 / of_user_0.sum())


def test_attention_to_large_scores_is_finite(edges: UserItemEdges) -> None:
    assert torch.isfinite(edges.attention(torch.full((8,), 1e4))).all()


def test_mean_of_neighbours() -> None:
    x = random(N, DIM, seed=4)
    y = neighbour_mean(EDGES, N_USERS, N_ITEMS)(x)
    torch.testing.assert_close(y[0], (x[4] + x[5]) / 2)
    torch.testing.assert_close(y[5], (x[0] + x[1]) / 2)
    torch.testing.assert_close(y[7], x[2])
    assert not y[[3, 6]].any()
