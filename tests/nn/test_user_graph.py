from __future__ import annotations

import pytest
import torch

from mmbench.nn.user_graph import UserGraph, common_items, free_weights, padded, softmax_graph
from tests.conftest import BlockWorld

pytestmark = pytest.mark.usefixtures("float64")

# Users 0 and 1 share two items, 2 shares one with both; 3 has an item of its own, 4 has nothing.
EDGES = torch.tensor([[0, 0, 1, 1, 2, 3], [0, 1, 0, 1, 1, 2]])
N_USERS, N_ITEMS = 5, 3


def dense(lists: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Counts of listed users, ``(n_users, n_users)``; an entry that is listed twice counts twice."""
    indices, counts = lists
    return torch.zeros(len(indices), len(indices)).scatter_add(1, indices, counts)


def test_counts_of_common_items() -> None:
    lists = common_items(EDGES, N_USERS, N_ITEMS, 10)
    assert lists[0].shape == (N_USERS, N_USERS - 1)
    expected = torch.zeros(N_USERS, N_USERS)
    expected[0, 1] = expected[1, 0] = 2
    expected[[0, 1], 2] = expected[2, :2] = 1
    assert torch.equal(dense(lists), expected)
    assert (lists[1].diff(dim=1) <= 0).all()


def test_only_the_best_are_listed() -> None:
    indices, counts = common_items(EDGES, N_USERS, N_ITEMS, 1)
    assert indices[:2].tolist() == [[1], [0]]
    assert counts.flatten().tolist() == [2, 2, 1, 0, 0]


def test_counts_in_blocks_are_those_of_the_whole(block_world: BlockWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    data = block_world.data(())
    whole = common_items(data.edge_index, data.n_users, data.n_items, 7)
    monkeypatch.setattr("mmbench.nn.nearest.BLOCK_ENTRIES", 100)
    blocks = common_items(data.edge_index, data.n_users, data.n_items, 7)
    assert torch.equal(whole[0], blocks[0])
    assert torch.equal(whole[1], blocks[1])


def test_padding_repeats_what_is_listed() -> None:
    lists = common_items(EDGES, N_USERS, N_ITEMS, 10)
    indices, counts = padded(*lists, 6, torch.Generator().manual_seed(0))
    assert indices.shape == counts.shape == (N_USERS, 6)
    for user in range(3):
        listed = {(int(b), int(c)) for b, c in zip(lists[0][user], lists[1][user], strict=True) if c > 0}
        assert {(int(b), int(c)) for b, c in zip(indices[user], counts[user], strict=True)} == listed
        n = len(listed)
        assert torch.equal(indices[user, :n], lists[0][user, :n])
    assert not counts[3:].any()


def test_padding_leaves_full_lists_and_the_given_ones_alone() -> None:
    lists = torch.tensor([[1, 2], [2, 0], [0, 1]]), torch.tensor([[2.0, 1.0], [2.0, 2.0], [1.0, 0.0]])
    before = [values.clone() for values in lists]
    indices, counts = padded(*lists, 2, torch.Generator().manual_seed(0))
    assert indices.tolist() == [[1, 2], [2, 0], [0, 0]]
    assert counts.tolist() == [[2, 1], [2, 2], [1, 1]]
    assert all(torch.equal(a, b) for a, b in zip(before, lists, strict=True))


def test_padding_grows_like_an_urn() -> None:
    """From two entries, the third is either with probability 1/2, the fourth the majority with 2/3."""
    lists = torch.tensor([[1, 2, 0, 0]]).repeat(20000, 1), torch.tensor([[3.0, 3.0, 0.0, 0.0]]).repeat(20000, 1)
    indices, _ = padded(*lists, 4, torch.Generator().manual_seed(0))
    third, fourth = indices[:, 2], indices[:, 3]
    assert float((third == 1).double().mean()) == pytest.approx(1 / 2, abs=0.015)
    assert float((fourth == third).double().mean()) == pytest.approx(2 / 3, abs=0.015)


def test_weights_are_a_softmax_of_counts() -> None:
    graph = softmax_graph(
        torch.tensor([[1, 2, 1], [0, 2, 0], [0, 0, 0]]), torch.tensor([[3.0, 1, 3], [2, 0, 0], [0, 0, 0]])
    )
    e = torch.tensor([3.0, 1.0]).exp()
    total = 2 * e[0] + e[1]
    expected = torch.tensor([[0, float(2 * e[0] / total), float(e[1] / total)], [1, 0, 0], [0, 0, 0]])
    torch.testing.assert_close(graph.matrix.to_dense(), expected)


def test_weights_of_many_common_items_are_finite() -> None:
    graph = softmax_graph(
        torch.tensor([[1, 2], [0, 2], [0, 1]]), torch.tensor([[5000.0, 3.0], [5000.0, 1.0], [3.0, 1.0]])
    )
    assert torch.isfinite(graph.matrix.values()).all()
    torch.testing.assert_close(graph.matrix.to_dense().sum(1), torch.ones(3))


def test_user_graph_adds_neighbours() -> None:
    graph = UserGraph(EDGES, N_USERS, N_ITEMS, 2)
    x = torch.randn(N_USERS, 3, generator=torch.Generator().manual_seed(0))
    e = torch.tensor([2.0, 1.0]).exp()
    w = e / e.sum()
    expected = x.clone()
    expected[0] += w[0] * x[1] + w[1] * x[2]
    expected[1] += w[0] * x[0] + w[1] * x[2]
    expected[2] += (x[0] + x[1]) / 2
    for mode in (True, False):
        graph.train(mode).begin_epoch()
        torch.testing.assert_close(graph(x), expected)
    assert not graph.state_dict()


def test_padding_is_drawn_every_epoch_and_never_ranks() -> None:
    torch.manual_seed(0)
    graph = UserGraph(EDGES, N_USERS, N_ITEMS, 9, pad=True)
    x = torch.randn(N_USERS, 3)
    ranked, drawn = graph.eval()(x), []
    for _ in range(2):
        graph.begin_epoch()
        drawn.append(graph.train()(x))
        assert torch.equal(graph.eval()(x), ranked)
    assert not torch.equal(*drawn)
    assert torch.equal(drawn[0][3:], x[3:])


def test_one_modality_has_no_weights() -> None:
    assert free_weights(5, 1) is None
    shapes = {n: weights.shape for n in (1, 2, 3) if (weights := free_weights(5, n, pair=True)) is not None}
    assert shapes == {1: (5, 2), 2: (5, 2), 3: (5, 3)}


def test_user_weights_start_positive_with_sum_one() -> None:
    torch.manual_seed(0)
    weights = free_weights(2000, 3)
    assert weights is not None
    torch.testing.assert_close(weights.sum(1), torch.ones(2000))
    assert (weights > 0).all()
    # Logits have the standard deviation sqrt(2 / 2003).
    spread = weights.log().std(1).mean().item()
    assert spread == pytest.approx((2 / 2003) ** 0.5 * 0.886, rel=0.05)
