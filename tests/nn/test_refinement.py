from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmbench.nn.graph import symmetric_normalised
from mmbench.nn.refinement import sum_of_refined_layers

N_USERS, N_ITEMS = 9, 7

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture
def adjacency() -> Tensor:
    """Random interactions; user 4 and item 2 have none."""
    pairs = torch.rand(N_USERS, N_ITEMS, generator=torch.Generator().manual_seed(0)) < 0.4
    pairs[4], pairs[:, 2] = False, False
    return symmetric_normalised(pairs.nonzero().T, N_USERS, N_ITEMS)


def test_against_dense(adjacency: Tensor) -> None:
    dense = adjacency.to_dense()
    ego = torch.randn(N_USERS + N_ITEMS, 3, generator=torch.Generator().manual_seed(1))
    x, expected = ego, torch.zeros_like(ego)
    for _ in range(3):
        h = dense @ x
        product = h.norm(dim=1).clamp_min(1e-8) * ego.norm(dim=1).clamp_min(1e-8)
        x = ((h * ego).sum(1) / product)[:, None] * h
        expected = expected + x
    torch.testing.assert_close(sum_of_refined_layers(adjacency, ego, 3), expected)


def test_a_node_without_edges_is_zero_and_its_gradient_finite(adjacency: Tensor) -> None:
    ego = torch.randn(N_USERS + N_ITEMS, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    total = sum_of_refined_layers(adjacency, ego, 2)
    assert not total[4].any()
    assert not total[N_USERS + 2].any()
    total.square().sum().backward()
    assert not ego.grad[4].any()
    assert torch.isfinite(ego.grad).all()


def test_gradient_numerically(adjacency: Tensor) -> None:
    connected = adjacency.to_dense()[:3, N_USERS : N_USERS + 2] + 0.1
    graph = torch.zeros(5, 5)
    graph[:3, 3:], graph[3:, :3] = connected, connected.T
    ego = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: sum_of_refined_layers(graph.to_sparse_csr(), x, 2), (ego,))


def test_without_a_layer_nothing_is_left(adjacency: Tensor) -> None:
    with pytest.raises(ValueError, match=r"n_layers=0 must be at least 1, as the ego layer is not part of the sum"):
        sum_of_refined_layers(adjacency, torch.zeros(N_USERS + N_ITEMS, 3), 0)
