"""The steps that graph models share, against dense matrices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mmbench.data.recdata import RecData
from mmbench.nn.smoothing import halves, propagated, propagated_nodes, repeated, set_adjacency, with_neighbours

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
