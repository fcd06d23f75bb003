from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mmbench.nn import common_users, nearest, sparse
from mmbench.nn.common_users import CommonUsers, cached_common_users, common_user_lists
from mmbench.nn.item_graphs import history_weights
from mmbench.nn.item_neighbours import Neighbours
from mmbench.nn.memo import Memo
from tests.conftest import BlockWorld

N = 41


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common_users, "_common", Memo[Tensor](1))


def shop(n_users: int = 60, n_items: int = N, density: float = 0.15) -> Tensor:
    """Interactions with many tied similarities; two items nobody has, and one whose only user has nothing else."""
    pairs = np.random.default_rng(0).random((n_users, n_items)) < density
    pairs[:, [5, 17]], pairs[:, 8], pairs[0] = False, False, False
    pairs[:, 9] = pairs[:, 10]
    pairs[0, 8] = True
    return torch.from_numpy(np.argwhere(pairs).T.copy())


def dense_lists(edges: Tensor, n_users: int, n_items: int, k: int, shrink: float) -> dict[int, dict[int, float]]:
    """List of every item by a sort of all others: similarity, then nearness on the ring; zeros are no neighbours."""
    table = torch.zeros(n_users, n_items)
    table[tuple(edges)] = 1.0
    common, root = table.T @ table, table.sum(0).sqrt()
    similarity = torch.where(common > 0, common / (root.unsqueeze(1) * root + shrink), 0.0)
    ring, lists = nearest.tie_ring(n_items), {}
    rounded = nearest._without_rounding_noise(similarity)
    for item in range(n_items):
        others = [other for other in range(n_items) if other != item and similarity[item, other] > 0]
        others.sort(
            key=lambda other, item=item: (-float(rounded[item, other]), int(ring[other] - ring[item]) % n_items)
        )
        lists[item] = {other: float(similarity[item, other]) for other in others[:k]}
    return lists


@pytest.mark.parametrize("block", [1, 150, 1 << 22])
@pytest.mark.parametrize("k", [1, 4, 12, 99])
@pytest.mark.parametrize("shrink", [0.0, 3.0])
def test_common_users_against_a_sort_of_all_items(
    shrink: float, k: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse, "BLOCK_ENTRIES", block)
    edges = shop()
    expected = dense_lists(edges, 60, N, k, shrink)
    common = CommonUsers(edges, 60, N, k, shrink=shrink)
    found: dict[int, dict[int, float]] = {item: {} for item in range(N)}
    for begin, end in ((0, 13), (13, 14), (14, N)):
        for item, owner, similarity in zip(*(x.tolist() for x in common.listing(begin, end)), strict=True):
            assert begin <= item < end
            found[owner][item] = similarity
    assert found == expected  # to the last bit
    assert common.lengths.tolist() == [len(expected[item]) for item in range(N)]
    assert not any(found[item] for item in (5, 8, 17))
    if k == 4:
        assert any(len(set(values.values())) < len(values) for values in expected.values()), "there are ties"
    if k == 99:
        assert 0 < max(len(values) for values in expected.values()) < N - 1, "k is larger than any item's candidates"


@pytest.mark.parametrize("block", [1, 150, 1 << 22])
@pytest.mark.parametrize("shrink", [0.0, 3.0])
def test_lists_by_common_users_are_those_of_the_search_among_all_items(
    shrink: float, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dense search lists items of similarity zero where an item has fewer than k others; the rest is the same."""
    monkeypatch.setattr(sparse, "BLOCK_ENTRIES", block)
    monkeypatch.setattr(nearest, "BLOCK_ENTRIES", block)
    edges, k = shop(density=0.05), 12
    found = common_user_lists(edges, 60, N, k, shrink=shrink)
    assert isinstance(found, Neighbours)
    assert (found.values == 0).any()
    monkeypatch.setattr(common_users, "DENSE_OPERATIONS", 0)
    expected = common_user_lists(edges, 60, N, k, shrink=shrink)
    assert isinstance(expected, CommonUsers)
    assert found.dtype == expected.dtype
    assert expected.size <= found.size

    def matrix(lists: CommonUsers | Neighbours, begin: int, end: int) -> Tensor:
        items, owners, similarities = lists.listing(begin, end)
        return torch.zeros(N, N).index_put((owners, items), similarities)

    for begin, end in ((0, 13), (13, 14), (0, N)):
        assert torch.equal(matrix(found, begin, end), matrix(expected, begin, end))
    assert torch.equal(history_weights(found).to_dense(), history_weights(expected).to_dense())


@pytest.mark.parametrize("k", [1, 5])
def test_lists_by_common_users_of_one_item(k: int) -> None:
    found = common_user_lists(torch.tensor([[0, 1], [0, 0]]), 2, 1, k)
    assert not len(found.listing(0, 1)[0])


def test_never_all_pairs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a block are as few as their products demand."""
    monkeypatch.setattr(sparse, "BLOCK_ENTRIES", 500)
    sizes, real = [], torch.sparse.mm

    def watched(a: Tensor, b: Tensor) -> Tensor:
        product = real(a, b)
        sizes.append((len(a), product._nnz()))
        return product

    monkeypatch.setattr(torch.sparse, "mm", watched)
    common = CommonUsers(shop(), 60, N, 5)
    assert sum(rows for rows, _ in sizes) == N
    assert max(entries for _, entries in sizes) <= 500 < int(common.work.sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_common_users_of_all_pairs(block_world: BlockWorld, dtype: torch.dtype) -> None:
    data = block_world.data(())
    history = torch.zeros(data.n_users, data.n_items, dtype=torch.float64)
    history[tuple(data.edge_index)] = 1.0
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        common = cached_common_users(data.edge_index, data.n_users, data.n_items)
    finally:
        torch.set_default_dtype(before)
    assert common.dtype == dtype
    assert torch.equal(common.double(), history.T @ history)
    assert torch.equal(data.warm, history.any(0))


def test_all_models_share_common_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of any k and shrinkage read the numbers that regressions began with, where these are not too many."""
    edges = shop(density=0.05)
    kept = cached_common_users(edges, 60, N)
    assert cached_common_users(edges.clone(), 60, N) is kept
    asked: list[Tensor] = []

    def watched(*sizes: object) -> Tensor:
        asked.append(cached_common_users(*sizes))  # type: ignore[arg-type]
        return asked[-1]

    monkeypatch.setattr(common_users, "cached_common_users", watched)
    few = common_user_lists(edges, 60, N, 4, shrink=3.0)
    assert [common is kept for common in asked] == [True]
    monkeypatch.setattr(common_users, "KEPT_BYTES", 4 * N * N - 1)
    again = common_user_lists(edges, 60, N, 4, shrink=3.0)
    assert len(asked) == 1
    assert isinstance(few, Neighbours)
    assert isinstance(again, Neighbours)
    assert torch.equal(few.indices, again.indices)
    assert torch.equal(few.values, again.values)
    assert cached_common_users(edges[:, 1:], 60, N) is not kept
