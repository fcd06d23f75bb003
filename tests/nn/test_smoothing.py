"""The steps that graph models share, against dense matrices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mmbench.data.recdata import RecData
from mmbench.nn.graph import SelfLoopedMean
from mmbench.nn.smoothing import (
    add_rows,
    halves,
    propagated,
    propagated_nodes,
    repeated,
    rows_of_mean,
    set_adjacency,
    with_neighbours,
)

N_USERS, N_ITEMS, DIM = 5, 4, 3
EDGES = torch.tensor([[0, 0, 1, 2, 3], [1, 2, 0, 2, 1]])

pytestmark = pytest.mark.usefixtures("float64")


def dense(eps: float) -> Tensor:
    block = torch.zeros(N_USERS, N_ITEMS)
    block[EDGES[0], EDGES[1]] = 1.0
    n = N_USERS + N_ITEMS
    whole = torch.zeros(n, n)
    whole[:N_USERS, N_USERS:], whole[N_USERS:, :N_USERS] = block, block.T
    scale = torch.where(whole.sum(1) > 0, (whole.sum(1) + eps).rsqrt(), torch.zeros(()))
    return scale[:, None] * whole * scale


@pytest.mark.parametrize("eps", [0.0, 1e-2])
def test_the_adjacency_is_a_buffer_that_no_state_stores(eps: float) -> None:
    owner = nn.Module()
    set_adjacency(owner, RecData(N_USERS, N_ITEMS, EDGES), eps)
    torch.testing.assert_close(owner.get_buffer("adjacency").to_dense(), dense(eps))
    assert not owner.state_dict()


@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_propagation_is_the_mean_of_the_layers(n_layers: int) -> None:
    owner = nn.Module()
    set_adjacency(owner, RecData(N_USERS, N_ITEMS, EDGES))
    users, items = torch.randn(N_USERS, DIM), torch.randn(N_ITEMS, DIM)
    powers = torch.stack([torch.linalg.matrix_power(dense(0.0), layer) for layer in range(n_layers + 1)])
    expected = powers.mean(0) @ torch.cat([users, items])
    adjacency = owner.get_buffer("adjacency")
    torch.testing.assert_close(propagated_nodes(adjacency, users, items, n_layers), expected)
    of_users, of_items = propagated(adjacency, users, items, n_layers)
    torch.testing.assert_close(of_users, expected[:N_USERS])
    torch.testing.assert_close(of_items, expected[N_USERS:])


@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_rows_of_the_mean_and_their_gradients_are_those_of_the_whole(n_layers: int) -> None:
    owner = nn.Module()
    set_adjacency(owner, RecData(N_USERS, N_ITEMS, EDGES))
    adjacency, nodes = owner.get_buffer("adjacency"), torch.tensor([0, 7, 3, 7, 0, 8])
    tables = [torch.randn(n, DIM, requires_grad=True) for n in (N_USERS, N_ITEMS)]
    weights = torch.randn(2, len(nodes), DIM)

    def results(final: Tensor, ego: Tensor) -> list[Tensor]:
        loss = (weights[0] * final).square().sum() + (weights[1] * ego).square().sum()
        return [final, ego, *torch.autograd.grad(loss, tables)]

    rows = results(*rows_of_mean(adjacency, tables[0], tables[1], n_layers, nodes))
    whole = results(propagated_nodes(adjacency, tables[0], tables[1], n_layers)[nodes], torch.cat(tables)[nodes])
    halved = results(torch.cat(propagated(adjacency, tables[0], tables[1], n_layers))[nodes], torch.cat(tables)[nodes])
    for a, b, c in zip(rows, whole, halved, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(c, b, rtol=1e-12, atol=1e-14)


def test_a_graph_that_is_not_symmetric_has_its_transposed_for_the_way_back() -> None:
    graph, nodes = SelfLoopedMean(EDGES, N_USERS, N_ITEMS), torch.tensor([0, 7, 3, 7])
    tables = [torch.randn(n, DIM, requires_grad=True) for n in (N_USERS, N_ITEMS)]
    rows, _ = rows_of_mean(graph.matrix, tables[0], tables[1], 2, nodes, transposed=graph.transposed)
    matrix, x = graph.matrix.to_dense(), torch.cat(tables)
    expected = ((x + matrix @ x + matrix @ matrix @ x) / 3)[nodes]
    torch.testing.assert_close(rows, expected)
    found, wanted = (torch.autograd.grad(result.square().sum(), tables) for result in (rows, expected))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_rows_asked_for_twice_are_added_twice() -> None:
    added = add_rows(torch.zeros(3, 2), torch.tensor([2, 0, 2]), torch.ones(3, 2))
    assert added.tolist() == [[1.0, 1.0], [0.0, 0.0], [2.0, 2.0]]


def test_halves_are_users_and_items() -> None:
    users, items = halves(torch.arange(9), 5)
    assert users.tolist() == [0, 1, 2, 3, 4]
    assert items.tolist() == [5, 6, 7, 8]


@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_neighbours_are_added_to_the_items(n_layers: int) -> None:
    graph, items, x = torch.rand(N_ITEMS, N_ITEMS), torch.randn(N_ITEMS, DIM), torch.randn(N_ITEMS, DIM)
    last = torch.linalg.matrix_power(graph, n_layers) @ x
    torch.testing.assert_close(repeated(graph.matmul, x, n_layers), last)
    torch.testing.assert_close(with_neighbours(items, x, graph.matmul, n_layers), items + last)
    assert with_neighbours(items, x, None, n_layers) is items
