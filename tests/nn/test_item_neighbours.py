from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmbench.nn import item_neighbours, nearest
from mmbench.nn.item_graphs import ItemGraph, binary_normalised, row_sum_normalised, weighted
from mmbench.nn.item_neighbours import (
    CACHED_LISTS,
    Neighbours,
    cached_knn,
    common_knn,
    content_neighbours,
    directions,
    found_by,
    joined,
    knn,
    seen_and_unseen,
    unseen_common_knn,
    unseen_knn,
)
from mmbench.nn.memo import Memo

N = 41


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_neighbours, "_lists", Memo[Neighbours](CACHED_LISTS))


def random_features(n: int = N, d: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def everyone(n: int = N) -> Tensor:
    return torch.ones(n, dtype=torch.bool)


def dense_cosine(features: Tensor) -> Tensor:
    unit = features / features.norm(dim=1, keepdim=True)
    return unit @ unit.T


def dense(graph: ItemGraph) -> Tensor:
    matrix = torch.zeros(graph.n_items, graph.n_items, dtype=graph.weights.dtype)
    return matrix.index_put(tuple(graph.edge_index), graph.weights, accumulate=True)


def same(a: Neighbours, b: Neighbours) -> bool:
    return torch.equal(a.items, b.items) and torch.equal(a.indices, b.indices)


@pytest.mark.parametrize("k", [1, 5, N, N + 20])
@pytest.mark.parametrize("block", [1, 3 * N, 1 << 22])
def test_blocks_equal_dense(k: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "BLOCK_ENTRIES", block)
    features = random_features()
    lists = knn(features, everyone(), k)
    values, indices = dense_cosine(features).sort(dim=1, descending=True)
    assert torch.equal(lists.indices, indices[:, :k])
    torch.testing.assert_close(lists.values, values[:, :k])
    assert torch.equal(lists.indices[:, 0], torch.arange(N))


def test_shrink_equals_dense() -> None:
    """With shrink an item need not be its own nearest."""
    features = random_features() * torch.linspace(0.1, 9, N).unsqueeze(1)
    norms = features.norm(dim=1)
    values, indices = ((features @ features.T) / (norms[:, None] * norms + 10.0)).sort(dim=1, descending=True)
    lists = knn(features, everyone(), 7, shrink=10.0)
    assert torch.equal(lists.indices, indices[:, :7])
    torch.testing.assert_close(lists.values, values[:, :7])
    assert not torch.equal(lists.indices[:, 0], torch.arange(N))


@pytest.mark.parametrize("block", [1, 7 * N, 1 << 22])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ties_are_decided_the_same_way_everywhere(
    block: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the block and the type, duplicates included: their similarities differ in the last bit only."""
    features = random_features(N, 33).to(dtype)
    features[5:25] = features[4]
    expected = knn(features.double(), everyone(), 6)
    monkeypatch.setattr(nearest, "BLOCK_ENTRIES", block)
    assert same(knn(features, everyone(), 6), expected)


def test_constant_features_make_no_hubs() -> None:
    """When everything is tied an item comes first in its own list and everybody is listed equally often."""
    lists = knn(torch.full((N, 5), 0.3), everyone(), 4)
    assert torch.equal(lists.indices[:, 0], torch.arange(N))
    assert (torch.bincount(lists.indices.flatten(), minlength=N) == 4).all()
    assert (lists.indices.sort(dim=1).values.diff(dim=1) > 0).all()


def test_a_zero_row_is_isolated() -> None:
    features = random_features()
    features[[3, 9]] = 0.0
    lists = knn(features, everyone(), N)
    assert torch.isfinite(lists.values).all()
    assert not torch.isin(torch.tensor([3, 9]), lists.items).any()
    assert not torch.isin(torch.tensor([3, 9]), lists.indices).any()
    for graph in (binary_normalised(lists), row_sum_normalised(weighted(lists))):
        matrix = dense(graph)
        assert torch.isfinite(matrix).all()
        assert not matrix[[3, 9]].any()
        assert not matrix[:, [3, 9]].any()


@pytest.mark.parametrize("power", [-100, 60])
def test_small_and_large_features_have_the_neighbours_of_ordinary_ones(power: int) -> None:
    features = random_features()
    scaled = torch.where(torch.arange(N).unsqueeze(1) % 2 == 0, features * 2.0**power, features)
    ours, plain = knn(scaled, everyone(), 5), knn(features, everyone(), 5)
    assert same(ours, plain)
    assert torch.equal(ours.values, plain.values)
    _, _, lengths = directions(features * 2.0**power, everyone())
    assert torch.equal(lengths, features.norm(dim=1) * 2.0**power)


def test_a_missing_item_is_isolated() -> None:
    """Although its row, the mean, is similar to many; the others' lists are as if it did not exist."""
    features, present = random_features() + 1.0, everyone()
    features[7] = features.mean(0)
    present[7] = False
    lists = knn(features, present, 5)
    rest = torch.arange(N)[present]
    alone = knn(features[rest], everyone(N - 1), 5)
    assert torch.equal(lists.items, rest)
    assert torch.equal(lists.indices, rest[alone.indices])


def test_in_which_lists_an_item_is() -> None:
    lists = knn(random_features(), torch.arange(N) % 4 > 0, 5)
    items, owners, values = lists.listing(10, 20)
    whole = dense(weighted(lists))
    part = torch.zeros(N, N).index_put((owners, items), values)
    assert torch.equal(part[:, 10:20], whole[:, 10:20])
    assert part.count_nonzero() == part[:, 10:20].count_nonzero()


def test_content_around_its_mean() -> None:
    """Embeddings that share one large direction; the item itself and negative cosines are left out."""
    features = random_features() + 50.0
    lists = content_neighbours(features, everyone(), everyone(), 6)
    expected = dense_cosine(features.double() - features.double().mean(0)).fill_diagonal_(-2.0)
    values, indices = expected.sort(dim=1, descending=True)
    assert torch.equal(lists.indices, indices[:, :6])
    torch.testing.assert_close(lists.values.double(), values[:, :6].clamp_min(0), rtol=0, atol=1e-4)
    assert (content_neighbours(features, everyone(), everyone(), N).values >= 0).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, 1e6])
def test_constant_content_has_no_neighbours(value: float) -> None:
    assert len(content_neighbours(torch.full((N, 7), value), everyone(), everyone(), 5).items) == 0


def test_a_stored_list_serves_smaller_k(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(features: Tensor, present: Tensor, k: int, *, shrink: float = 0.0) -> Neighbours:
        calls.append(k)
        return knn(features, present, k, shrink=shrink)

    monkeypatch.setattr(item_neighbours, "knn", counted)
    monkeypatch.setattr(item_neighbours, "STORED", 8)
    features = random_features()
    assert cached_knn(features, everyone(), 5).k == 5
    assert cached_knn(features.clone(), everyone(), 8).k == 8
    assert calls == [8]
    assert cached_knn(features, everyone(), 20).k == 20
    assert same(cached_knn(features, everyone(), 3), knn(features, everyone(), 3))
    assert calls == [8, 20]
    cached_knn(features, everyone(), 100)
    cached_knn(features, everyone(), 1000)  # there are no more items to list
    assert calls == [8, 20, 100]


def test_the_cache_is_keyed_by_content() -> None:
    features, present = random_features(), everyone()
    stored = cached_knn(features, present, 4)
    features[0] = features[1]  # in place: the same tensor, other content
    assert not same(cached_knn(features, present, 4), stored)
    present[2] = False
    assert 2 not in cached_knn(features, present, 4).items
    assert torch.equal(
        cached_knn(features, present, 4, shrink=9.0).values, knn(features, present, 4, shrink=9.0).values
    )


class Halved:
    """Finds lists whose similarities are half of what they are."""

    name = "halved"

    def __init__(self) -> None:
        self.handed_out: list[Neighbours] = []

    def is_exact(self, present: Tensor) -> bool:
        return True

    def find(self, key: str, features: Tensor, present: Tensor, k: int, shrink: float) -> Neighbours:
        return knn(features / 2, present, k, shrink=shrink + 7.0)

    def used(self, lists: Neighbours) -> None:
        self.handed_out.append(lists)


def test_lists_of_another_search_are_never_served() -> None:
    features = random_features()
    exact = cached_knn(features, everyone(), 4)
    search = Halved()
    with found_by(search):
        other = cached_knn(features, everyone(), 4)
        again = cached_knn(features, everyone(), 3)
    assert not same(other, exact)
    assert torch.equal(again.values, other.values[:, :3])
    assert len(search.handed_out) == 2
    assert same(cached_knn(features, everyone(), 4), exact)


@pytest.mark.parametrize("shrink", [0.0, 4.0])
@pytest.mark.parametrize("block", [100, item_neighbours.BLOCK_ENTRIES])
def test_lists_of_unseen_items_against_dense(shrink: float, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_neighbours, "BLOCK_ENTRIES", block)
    features, present, warm = random_features(), everyone(), everyone()
    present[[2, 6]] = False
    warm[[2, 5, 11, 30, 40]] = False
    features[11] = 0.0
    norms = features.norm(dim=1)
    similarity = features @ features.T / (norms.unsqueeze(1) * norms + shrink)
    lists = unseen_knn(features, present, warm, 7, shrink=shrink)
    assert lists.items.tolist() == [5, 30, 40]  # 2 and 11 have nothing to compare
    allowed = torch.where(present & warm, similarity, -torch.inf)
    best = allowed[lists.items].topk(7, dim=1)
    assert torch.equal(lists.indices, best.indices)
    torch.testing.assert_close(lists.values, best.values)


def test_no_list_holds_an_unseen_item_and_seen_ones_keep_theirs() -> None:
    """What the lists of seen items are does not depend on which unseen items there are."""
    features, warm = random_features(), everyone()
    unseen = torch.tensor([3, 17, 29])
    warm[unseen] = False
    kept = torch.nonzero(warm).squeeze(1)
    seen, of_unseen = seen_and_unseen(features, everyone(), warm, 6)
    alone = knn(features[kept], everyone(len(kept)), 6)
    assert torch.equal(seen.items, kept)
    torch.testing.assert_close(seen.values, alone.values)
    both = joined(seen, of_unseen)
    assert both.items.tolist() == list(range(N))
    assert not torch.isin(both.indices, unseen).any()
    assert torch.equal(both.indices[unseen], of_unseen.indices)
    assert torch.equal(both.indices[kept], seen.indices)


def test_content_neighbours_of_an_unseen_item_lose_none() -> None:
    """A seen item is left out of its own list; an unseen one is in none, so that its nearest item stays."""
    features, warm = random_features(), everyone()
    warm[9] = False
    lists = content_neighbours(features, everyone(), warm, 5)
    centred = features - features.mean(0)
    expected = dense_cosine(centred).fill_diagonal_(-2.0)
    expected[:, 9] = -2.0
    for item in (9, 10):
        torch.testing.assert_close(lists.values[item], expected[item].topk(5).values.clamp_min(0.0))


def test_without_seen_items_nothing_has_neighbours() -> None:
    seen, unseen = seen_and_unseen(random_features(), everyone(), ~everyone(), 5)
    assert len(seen.items) == len(unseen.items) == 0
    assert weighted(joined(seen, unseen)).edge_index.shape == (2, 0)


# What both have


@pytest.mark.parametrize("shrink", [0.0, 3.0])
def test_common_is_the_cosine_of_everything_where_nothing_lacks(shrink: float) -> None:
    parts = [random_features(d=6, seed=1), 3 * random_features(d=4, seed=2)]
    expected = knn(torch.cat(parts, dim=1), everyone(), 7, shrink=shrink)
    lists = common_knn(parts, [everyone(), everyone()], 7, shrink=shrink)
    assert same(lists, expected)
    torch.testing.assert_close(lists.values, expected.values)


def test_an_item_with_one_part_is_compared_by_that_part_alone() -> None:
    parts, present = [random_features(d=6, seed=1), 3 * random_features(d=4, seed=2)], [everyone(), everyone()]
    present[0][5] = False
    lists = common_knn(parts, present, N)
    of_the_rest = dense_cosine(parts[1])[5]
    torch.testing.assert_close(lists.values[5], of_the_rest[lists.indices[5]])
    assert lists.indices[5, 0] == 5


def test_items_with_nothing_in_common_are_no_neighbours() -> None:
    parts, present = [random_features(d=6, seed=1), random_features(d=4, seed=2)], [everyone(), everyone()]
    present[0][:20] = False
    present[1][20:] = False
    present[0][40] = False  # an item with nothing at all
    matrix = dense(weighted(common_knn(parts, present, N)))
    assert not matrix[:20, 20:].any()
    assert not matrix[20:, :20].any()
    assert not matrix[40].any()
    torch.testing.assert_close(matrix[:20, :20], dense_cosine(parts[1][:20]))
    assert len(common_knn(parts, present, 3).items) == N - 1


def test_common_lists_are_kept_and_serve_a_smaller_k() -> None:
    parts, present = [random_features(d=6, seed=1), random_features(d=4, seed=2)], [everyone(), everyone()]
    present[1][::2] = False
    first = common_knn(parts, present, 9)
    again = common_knn([part.clone() for part in parts], present, 4)
    assert again.values.data_ptr() == first.values.data_ptr()
    assert torch.equal(again.values, first.values[:, :4])


@pytest.mark.parametrize("shrink", [0.0, 3.0])
def test_unseen_items_are_compared_by_what_both_have(shrink: float) -> None:
    """Where nothing lacks, by everything; an unseen item with one part by that part alone."""
    parts, present, warm = (
        [random_features(d=6, seed=1), 3 * random_features(d=4, seed=2)],
        [everyone(), everyone()],
        everyone(),
    )
    warm[[3, 17]] = False
    expected = unseen_knn(torch.cat(parts, dim=1), everyone(), warm, 7, shrink=shrink)
    lists = unseen_common_knn(parts, present, warm, 7, shrink=shrink)
    assert torch.equal(lists.indices, expected.indices)
    torch.testing.assert_close(lists.values, expected.values)
    present[0][3] = False
    lists = unseen_common_knn(parts, present, warm, 5)
    of_the_rest = torch.where(warm, dense_cosine(parts[1])[3], -2.0)
    torch.testing.assert_close(lists.values[0], of_the_rest.topk(5).values)
    assert len(unseen_common_knn(parts, present, ~everyone(), 5).items) == 0
