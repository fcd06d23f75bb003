from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mmbench.data.recdata import RecData
from mmbench.nn.sparse import ConstantMap
from mmbench.nn.user_item_graph import (
    NeighbourMean,
    UserItemEdges,
    both_directions,
    set_adjacency,
    symmetric_normalised,
    user_item_blocks,
)
from tests.models.dense import normalised

N_USERS, N_ITEMS, DIM = 9, 7, 3
NODES = N_USERS + N_ITEMS

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture
def edges() -> Tensor:
    """Random interactions; user 4 and item 2 have none."""
    pairs = torch.rand(N_USERS, N_ITEMS, generator=torch.Generator().manual_seed(0)) < 0.4
    pairs[4], pairs[:, 2] = False, False
    return pairs.nonzero().T


def dense_adjacency(edges: Tensor) -> Tensor:
    matrix = torch.zeros(NODES, NODES)
    users, items = edges
    matrix[users, N_USERS + items] = 1.0
    return matrix + matrix.T


@pytest.mark.parametrize("eps", [0.0, 1e-7, 0.5])
def test_symmetric_normalised_against_dense(edges: Tensor, eps: float) -> None:
    adjacency = dense_adjacency(edges)
    root = (adjacency.sum(1) + eps).pow(-0.5)
    root[adjacency.sum(1) == 0] = 0.0
    expected = root[:, None] * adjacency * root[None, :]
    ours = symmetric_normalised(edges, N_USERS, N_ITEMS, eps=eps)
    assert ours.layout == torch.sparse_csr
    torch.testing.assert_close(ours.to_dense(), expected, rtol=0, atol=1e-15)


def test_isolated_nodes_have_empty_rows(edges: Tensor) -> None:
    matrix = symmetric_normalised(edges, N_USERS, N_ITEMS).to_dense()
    assert torch.isfinite(matrix).all()
    assert not matrix[4].any()
    assert not matrix[N_USERS + 2].any()


def test_largest_eigenvalue_is_one(edges: Tensor) -> None:
    """Propagation neither blows up nor dies out."""
    eigenvalues = torch.linalg.eigvalsh(symmetric_normalised(edges, N_USERS, N_ITEMS).to_dense())
    assert eigenvalues.max().item() == pytest.approx(1.0, abs=1e-12)
    assert eigenvalues.min().item() == pytest.approx(-1.0, abs=1e-12)


def test_normalised_graph_is_rounded_once(edges: Tensor) -> None:
    """The float32 graph is the float64 graph rounded, not one computed in float32."""
    double = symmetric_normalised(edges, N_USERS, N_ITEMS, eps=1e-7)
    torch.set_default_dtype(torch.float32)
    single = symmetric_normalised(edges, N_USERS, N_ITEMS, eps=1e-7)
    assert single.dtype == torch.float32
    assert torch.equal(single.to_dense(), double.to_dense().float())


def test_blocks_of_a_bipartite_graph(edges: Tensor) -> None:
    graph = symmetric_normalised(edges, N_USERS, N_ITEMS)
    of_users, of_items = user_item_blocks(graph, N_USERS)
    assert torch.equal(of_users.to_dense(), graph.to_dense()[:N_USERS, N_USERS:])
    assert torch.equal(of_items.to_dense(), graph.to_dense()[N_USERS:, :N_USERS])


def test_sums_over_the_items_of_users_and_their_gradient(edges: Tensor) -> None:
    adjacency = symmetric_normalised(edges, N_USERS, N_ITEMS)
    to_users = ConstantMap(*user_item_blocks(adjacency, N_USERS))
    x = random(N_ITEMS, DIM, seed=1)
    torch.testing.assert_close(to_users(x), adjacency.to_dense()[:N_USERS, N_USERS:] @ x)
    assert torch.autograd.gradcheck(to_users, (x,))
    assert to_users.state_dict() == {}


@pytest.mark.parametrize("eps", [0.0, 1e-2])
def test_the_adjacency_is_a_buffer_that_no_state_stores(edges: Tensor, eps: float) -> None:
    owner = nn.Module()
    set_adjacency(owner, RecData(N_USERS, N_ITEMS, edges), eps)
    block = dense_adjacency(edges)[:N_USERS, N_USERS:]
    torch.testing.assert_close(owner.get_buffer("adjacency").to_dense(), normalised(block, eps))
    assert not owner.state_dict()


@pytest.mark.parametrize("self_loops", [False, True])
def test_mean_of_neighbours_and_its_gradient(edges: Tensor, self_loops: bool) -> None:
    adjacency = dense_adjacency(edges) + (torch.eye(NODES) if self_loops else 0.0)
    expected = adjacency / adjacency.sum(1, keepdim=True).clamp_min(1.0)
    step = NeighbourMean(edges, N_USERS, N_ITEMS, self_loops=self_loops)
    x, pull = random(NODES, DIM, seed=1), random(NODES, DIM, seed=2)
    torch.testing.assert_close(step(x), expected @ x)
    torch.testing.assert_close(step(x)[4], x[4] if self_loops else torch.zeros(DIM))  # user 4 has nobody
    (gradient,) = torch.autograd.grad((step(x) * pull).sum(), x)
    torch.testing.assert_close(gradient, expected.T @ pull)


FEW = torch.tensor([[2, 0, 1, 0], [3, 1, 1, 0]])  # in no order; item 2 and user 3 have nobody


@pytest.fixture
def few() -> UserItemEdges:
    return UserItemEdges(FEW, 4, 4)


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def dense(edges: UserItemEdges, weights: torch.Tensor) -> torch.Tensor:
    return torch.zeros(8, 8).index_put((edges.rows, edges.columns), weights)


def test_every_edge_in_both_directions(few: UserItemEdges) -> None:
    rows, columns = both_directions(FEW, 4)
    expected = sorted(zip(rows.tolist(), columns.tolist(), strict=True))
    assert list(zip(few.rows.tolist(), few.columns.tolist(), strict=True)) == expected
    assert (2, 7) in expected
    assert (7, 2) in expected
    assert torch.equal(few.rows[few.reverse], few.columns)
    assert torch.equal(few.columns[few.reverse], few.rows)
    assert not few.state_dict()


def test_products_of_the_ends(few: UserItemEdges) -> None:
    users, items = random(4, DIM, seed=0), random(4, DIM, seed=4)
    x = torch.cat([users, items])
    scores = few.products(users, items)
    torch.testing.assert_close(scores, (x @ x.T)[few.rows, few.columns][:4])
    torch.testing.assert_close(few.both_ways(scores), (x @ x.T)[few.rows, few.columns])
    assert torch.autograd.gradcheck(lambda users, items: few.both_ways(few.products(users, items)), [users, items])


def test_propagation_with_weights(few: UserItemEdges) -> None:
    weights, x = random(8, seed=1), random(8, DIM, seed=2)
    torch.testing.assert_close(few.propagate(weights, x), dense(few, weights) @ x)
    assert torch.autograd.gradcheck(few.propagate, [weights, x])


def test_propagation_to_users_is_that_of_all_nodes(few: UserItemEdges) -> None:
    weights, x = random(8, seed=1), random(8, DIM, seed=2)
    torch.testing.assert_close(few.propagate_to_users(weights[:4], x[4:]), few.propagate(weights, x)[:4])
    assert torch.autograd.gradcheck(few.propagate_to_users, [random(4, seed=1), random(4, DIM, seed=2)])


@pytest.mark.parametrize("n_layers", [0, 1, 2])
def test_rows_of_weighted_sums(n_layers: int, few: UserItemEdges) -> None:
    weights, x, nodes = random(8, seed=1), random(8, DIM, seed=2), torch.tensor([6, 0, 6, 1, 3])

    def rows(weights: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return few.rows_of_sum(weights, x, n_layers, nodes)

    total = sum(torch.linalg.matrix_power(dense(few, weights), power) @ x for power in range(n_layers + 1))
    torch.testing.assert_close(rows(weights, x), total[nodes])
    assert torch.autograd.gradcheck(rows, [weights, x])


def test_attention_sums_to_one_over_what_a_node_receives(few: UserItemEdges) -> None:
    scores = random(8, seed=3)
    attention = dense(few, few.attention(scores))
    alive = torch.tensor([1, 1, 1, 0, 1, 1, 0, 1.0])
    torch.testing.assert_close(attention.sum(1), alive)
    of_user_0 = scores[few.rows == 0].exp()
    torch.testing.assert_close(attention[0, [4, 5]], of_user_0 / of_user_0.sum())
    torch.testing.assert_close(few.attention_of_users(scores[:4]), few.attention(scores)[:4])
    assert torch.autograd.gradcheck(few.attention, [scores])


def test_attention_to_large_scores_is_finite(few: UserItemEdges) -> None:
    assert torch.isfinite(few.attention(torch.full((8,), 1e4))).all()
