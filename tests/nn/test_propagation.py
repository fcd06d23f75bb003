"""The steps that graph models share, against dense matrices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmbench.nn.propagation import (
    halves,
    mean_of_layers,
    propagate,
    propagated,
    propagated_nodes,
    refined_layers,
    repeated,
    rows_of_mean,
    sum_of_layers,
    with_neighbours,
)
from mmbench.nn.user_item_graph import NeighbourMean, symmetric_normalised

N_USERS, N_ITEMS, DIM = 5, 4, 3
EDGES = torch.tensor([[0, 0, 1, 2, 3], [1, 2, 0, 2, 1]])  # user 4 and item 3 have nobody

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture
def adjacency() -> Tensor:
    return symmetric_normalised(EDGES, N_USERS, N_ITEMS)


def test_gradient_of_one_step(adjacency: Tensor) -> None:
    x = torch.randn(N_USERS + N_ITEMS, DIM, requires_grad=True)
    torch.testing.assert_close(propagate(adjacency, x), adjacency.to_dense() @ x)
    assert torch.autograd.gradcheck(lambda value: propagate(adjacency, propagate(adjacency, value).tanh()), (x,))


@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_propagation_is_the_mean_of_the_layers(adjacency: Tensor, n_layers: int) -> None:
    users, items = (torch.randn(n, DIM, requires_grad=True) for n in (N_USERS, N_ITEMS))
    powers = torch.stack([torch.linalg.matrix_power(adjacency.to_dense(), layer) for layer in range(n_layers + 1)])
    expected = powers.mean(0) @ torch.cat([users, items])
    torch.testing.assert_close(propagated_nodes(adjacency, users, items, n_layers), expected)
    torch.testing.assert_close(mean_of_layers(adjacency, torch.cat([users, items]), n_layers), expected)
    of_users, of_items = propagated(adjacency, users, items, n_layers)
    torch.testing.assert_close(of_users, expected[:N_USERS])
    torch.testing.assert_close(of_items, expected[N_USERS:])
    assert torch.autograd.gradcheck(lambda u, i: propagated(adjacency, u, i, n_layers), (users, items))


@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_rows_of_the_mean_and_their_gradients_are_those_of_the_whole(adjacency: Tensor, n_layers: int) -> None:
    nodes = torch.tensor([0, 7, 3, 7, 0, 8])
    tables = [torch.randn(n, DIM, requires_grad=True) for n in (N_USERS, N_ITEMS)]
    weights = torch.randn(2, len(nodes), DIM)

    def results(final: Tensor, ego: Tensor) -> list[Tensor]:
        loss = (weights[0] * final).square().sum() + (weights[1] * ego).square().sum()
        return [final, ego, *torch.autograd.grad(loss, tables)]

    rows = results(*rows_of_mean(adjacency, tables[0], tables[1], n_layers, nodes))
    every = results(*(table[nodes] for table in rows_of_mean(adjacency, tables[0], tables[1], n_layers)))
    whole = results(propagated_nodes(adjacency, tables[0], tables[1], n_layers)[nodes], torch.cat(tables)[nodes])
    for a, b, c in zip(rows, whole, every, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(c, b, rtol=1e-12, atol=1e-14)


def test_a_graph_that_is_not_symmetric_has_its_transposed_for_the_way_back() -> None:
    graph, nodes = NeighbourMean(EDGES, N_USERS, N_ITEMS, self_loops=True), torch.tensor([0, 7, 3, 7])
    tables = [torch.randn(n, DIM, requires_grad=True) for n in (N_USERS, N_ITEMS)]
    rows, _ = rows_of_mean(graph.matrix, tables[0], tables[1], 2, nodes, transposed=graph.transposed)
    matrix, x = graph.matrix.to_dense(), torch.cat(tables)
    expected = ((x + matrix @ x + matrix @ matrix @ x) / 3)[nodes]
    torch.testing.assert_close(rows, expected)
    ours, theirs = (torch.autograd.grad(result.square().sum(), tables) for result in (rows, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


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


def test_sum_of_layers(adjacency: Tensor) -> None:
    x, dense = torch.randn(N_USERS + N_ITEMS, DIM), adjacency.to_dense()
    torch.testing.assert_close(sum_of_layers(adjacency, x, 2), x + dense @ x + dense @ dense @ x)


def test_refined_layers_by_their_cosine_with_the_ego_layer(adjacency: Tensor) -> None:
    ego = torch.randn(N_USERS + N_ITEMS, DIM, requires_grad=True)
    x, expected = ego, []
    for _ in range(2):
        h = adjacency.to_dense() @ x
        lengths = (h.norm(dim=1) * ego.norm(dim=1)).clamp_min(1e-8)
        x = ((h * ego).sum(1) / lengths).unsqueeze(1) * h
        expected.append(x)
    layers = refined_layers(adjacency, ego, 2)
    torch.testing.assert_close(layers, expected)
    assert not layers[0][[4, N_USERS + 3]].any()  # those without edges
    ours, theirs = (torch.autograd.grad(found[1].square().sum(), ego)[0] for found in (layers, expected))
    connected = [0, 1, 2, 3, N_USERS, N_USERS + 1, N_USERS + 2]  # the norm of zeros has no gradient by hand
    torch.testing.assert_close(ours[connected], theirs[connected])
    assert refined_layers(adjacency, ego, 0) == []


def test_every_block_of_channels_has_a_cosine_of_its_own(adjacency: Tensor) -> None:
    ego = torch.randn(N_USERS + N_ITEMS, 2, DIM)
    whole = refined_layers(adjacency, ego, 2)
    for block in range(2):
        alone = refined_layers(adjacency, ego[:, block], 2)
        torch.testing.assert_close([layer[:, block] for layer in whole], alone)
