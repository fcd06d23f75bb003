from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmbench.nn import subgraph as module
from mmbench.nn.graph import ItemsToUsers, symmetric_normalised, user_item_blocks
from mmbench.nn.subgraph import SampledGraph, principal_graph, truncated_svd

N_USERS, N_ITEMS = 30, 24

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture
def edges() -> Tensor:
    """Random interactions; user 4 and item 2 have none."""
    pairs = torch.rand(N_USERS, N_ITEMS, generator=torch.Generator().manual_seed(0)) < 0.3
    pairs[4], pairs[:, 2] = False, False
    return pairs.nonzero().T


@pytest.fixture
def adjacency(edges: Tensor) -> Tensor:
    return symmetric_normalised(edges, N_USERS, N_ITEMS)


def test_blocks_hold_the_whole_graph(adjacency: Tensor) -> None:
    of_users, of_items = user_item_blocks(adjacency, N_USERS)
    whole = adjacency.to_dense()
    assert torch.equal(of_users.to_dense(), whole[:N_USERS, N_USERS:])
    assert torch.equal(of_items.to_dense(), whole[N_USERS:, :N_USERS])


def test_items_to_users_and_its_gradient(adjacency: Tensor) -> None:
    whole = adjacency.to_dense()
    to_users = ItemsToUsers(*user_item_blocks(adjacency, N_USERS))
    x = torch.randn(N_ITEMS, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    torch.testing.assert_close(to_users(x), whole[:N_USERS, N_USERS:] @ x)
    assert torch.autograd.gradcheck(to_users, (x,))
    assert to_users.state_dict() == {}


def test_training_sees_a_sample_and_ranking_everything(edges: Tensor) -> None:
    graph = SampledGraph(edges, N_USERS, N_ITEMS, 0.4)
    full = symmetric_normalised(edges, N_USERS, N_ITEMS, eps=1e-7).to_dense()
    graph.train().draw()
    sampled = graph().to_dense()
    assert torch.equal(graph.eval()().to_dense(), full)
    assert not sampled[full == 0].any()
    assert int((sampled != 0).sum()) == 2 * int(0.4 * edges.shape[1])
    assert graph.state_dict() == {}


def test_a_sample_is_normalised_by_its_own_degrees(edges: Tensor) -> None:
    graph = SampledGraph(edges, N_USERS, N_ITEMS, 0.4).train()
    graph.use_edges(edges[:, :1])
    sampled = graph().to_dense()
    assert sampled[edges[0, 0], N_USERS + edges[1, 0]].item() == pytest.approx(1.0, abs=1e-6)
    assert int((sampled != 0).sum()) == 2


def test_draws_differ_and_the_seed_decides_them(edges: Tensor) -> None:
    def draws() -> list[Tensor]:
        torch.manual_seed(2)
        graph, found = SampledGraph(edges, N_USERS, N_ITEMS, 0.4).train(), []
        for _ in range(2):
            graph.draw()
            found.append(graph().to_dense())
        return found

    first = draws()
    assert not torch.equal(*first)
    assert all(torch.equal(a, b) for a, b in zip(first, draws(), strict=True))


def test_keeping_all_edges_draws_nothing(edges: Tensor) -> None:
    graph = SampledGraph(edges, N_USERS, N_ITEMS, 1.0).train()
    graph.draw()
    assert graph() is graph.full


@pytest.mark.parametrize("keep", [0.0, 1.1])
def test_a_sample_keeps_some_edges(edges: Tensor, keep: float) -> None:
    with pytest.raises(ValueError, match=f"the fraction of edges to keep is {keep}; it must be more than 0"):
        SampledGraph(edges, N_USERS, N_ITEMS, keep)


@pytest.mark.parametrize("exact", [True, False])
def test_truncated_svd(adjacency: Tensor, monkeypatch: pytest.MonkeyPatch, exact: bool) -> None:
    """By a dense decomposition of small matrices and by subspace iteration of others."""
    monkeypatch.setattr(module, "BLOCK_ENTRIES", 1 << 22 if exact else 1)
    matrix, transposed = user_item_blocks(adjacency, N_USERS)
    left, values, right = truncated_svd(matrix, transposed, 5)
    expected = torch.linalg.svd(matrix.to_dense(), full_matrices=False)
    torch.testing.assert_close(values, expected.S[:5], rtol=1e-6, atol=1e-6)
    assert left.shape == (N_USERS, 5)
    assert right.shape == (N_ITEMS, 5)
    for found in (left, right):
        torch.testing.assert_close(found.T @ found, torch.eye(5), rtol=0, atol=1e-10)
    best = expected.U[:, :3] * expected.S[:3] @ expected.Vh[:3]
    torch.testing.assert_close((left * values)[:, :3] @ right[:, :3].T, best, rtol=0, atol=1e-6)


@pytest.mark.parametrize("exact", [True, False])
def test_truncated_svd_of_more_than_there_is(adjacency: Tensor, monkeypatch: pytest.MonkeyPatch, exact: bool) -> None:
    monkeypatch.setattr(module, "BLOCK_ENTRIES", 1 << 22 if exact else 1)
    matrix, transposed = user_item_blocks(adjacency, N_USERS)
    left, values, right = truncated_svd(matrix, transposed, 99)
    assert len(values) == N_ITEMS
    torch.testing.assert_close(left * values @ right.T, matrix.to_dense(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("block", [1 << 22, 1])
def test_principal_graph_against_the_whole_spectrum(
    adjacency: Tensor, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """The formula over the singular values of the whole graph, each of which occurs twice."""
    monkeypatch.setattr(module, "BLOCK_ENTRIES", block)
    rank, q = 16, 4
    left, values, right = torch.linalg.svd(adjacency.to_dense())
    expected = sum(values[r] * values[rank - q + r] * torch.outer(left[:, r], right[r]) for r in range(q))
    found = principal_graph(adjacency, N_USERS, rank).to_dense()
    assert torch.equal(found, found.T)
    assert not found[:N_USERS, :N_USERS].any()
    clear = (expected.abs() - 1e-3).abs() > 1e-5
    wanted = torch.where(expected.abs() >= 1e-3, expected, 0.0)
    torch.testing.assert_close(found[clear], wanted[clear], rtol=0, atol=2e-6)
    assert float(found[found != 0].abs().min()) >= 1e-3


def test_both_precisions_keep_the_same_entries(edges: Tensor) -> None:
    double = principal_graph(symmetric_normalised(edges, N_USERS, N_ITEMS, eps=1e-7), N_USERS, 16)
    torch.set_default_dtype(torch.float32)
    single = principal_graph(symmetric_normalised(edges, N_USERS, N_ITEMS, eps=1e-7), N_USERS, 16)
    assert single.dtype == torch.float32
    assert torch.equal(single.to_dense(), double.to_dense().float())


def test_a_principal_graph_needs_a_rank(adjacency: Tensor) -> None:
    with pytest.raises(ValueError, match="rank 7 is empty; the rank must be at least 8"):
        principal_graph(adjacency, N_USERS, 7)
