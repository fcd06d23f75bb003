from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mmbench.nn import nearest as module
from mmbench.nn.knn import (
    ItemGraph,
    Neighbours,
    binary_normalised,
    cooccurrence_knn,
    knn,
    learned_knn,
    nearest,
    row_sum_normalised,
    transposed,
    weighted,
    weighted_sum,
)
from mmbench.nn.neighbours import content_neighbours

N = 41


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
    monkeypatch.setattr(module, "BLOCK_ENTRIES", block)
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


def test_never_an_array_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_ENTRIES", 10 * N)
    features, sizes = random_features(), []

    def similarity(begin: int, end: int) -> Tensor:
        sizes.append(end - begin)
        return features[begin:end] @ features.T

    nearest(similarity, N, 3)
    assert sizes == [10, 10, 10, 10, 1]
    sizes.clear()
    nearest(similarity, N, 3, width=5 * N)
    assert max(sizes) == 2


@pytest.mark.parametrize("block", [1, 7 * N, 1 << 22])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ties_are_decided_the_same_way_everywhere(
    block: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the block and the type, duplicates included: their similarities differ in the last bit only."""
    features = random_features(N, 33).to(dtype)
    features[5:25] = features[4]
    expected = knn(features.double(), everyone(), 6)
    monkeypatch.setattr(module, "BLOCK_ENTRIES", block)
    assert same(knn(features, everyone(), 6), expected)


@pytest.mark.parametrize("levels", [2, 50, 10**6])
@pytest.mark.parametrize("n", [640, 700])
def test_a_look_at_maxima_finds_what_a_look_at_all_finds(levels: int, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many ties, some and hardly any; with and without a last chunk that is not full; negative values too."""
    table = torch.randint(-levels, levels, (n, n), generator=torch.Generator().manual_seed(0)).float()

    def lists() -> tuple[Tensor, Tensor]:
        return nearest(lambda begin, end: table[begin:end].clone(), n, 5, include_self=False)

    quick = lists()
    assert module._promising(table, 6).shape[1] == 6 * module.CHUNK + n % module.CHUNK
    monkeypatch.setattr(module, "CHUNK", n)
    assert module._promising(table, 6).shape[1] == n
    whole = lists()
    assert torch.equal(quick[0], whole[0])
    assert torch.equal(quick[1], whole[1])


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


@pytest.mark.parametrize("n_present", [0, 1])
def test_hardly_anything_present(n_present: int) -> None:
    present = torch.arange(N) < n_present
    graph = row_sum_normalised(weighted(learned_knn(random_features().requires_grad_(), present, 5)))
    assert graph.edge_index.shape == (2, n_present)
    assert weighted(content_neighbours(random_features(), present, 5)).edge_index.shape == (2, 0)
    assert not binary_normalised(knn(random_features(), present, 5)).matrix().to_dense().count_nonzero() - n_present


@pytest.mark.usefixtures("float64")
def test_binary_graph_against_its_formula() -> None:
    lists = knn(random_features().double(), everyone(), 4)
    selected = torch.zeros(N, N).scatter(1, lists.indices, 1.0)
    root = (selected.sum(1) + 1e-7).rsqrt()
    torch.testing.assert_close(dense(binary_normalised(lists)), root[:, None] * selected * root, rtol=1e-12, atol=0)


@pytest.mark.usefixtures("float64")
def test_row_sum_normalisation_against_its_formula() -> None:
    """Row sums on both sides of an asymmetric matrix; a row without a positive sum vanishes instead of being NaN."""
    lists = knn(random_features(d=3).double(), everyone(), N)
    matrix = dense(weighted(lists))
    sums = matrix.sum(1)
    assert (sums <= 0).any()
    root = torch.where(sums > 0, sums, torch.inf).rsqrt()
    result = row_sum_normalised(weighted(lists))
    torch.testing.assert_close(dense(result), root[:, None] * matrix * root, rtol=1e-12, atol=1e-15)


@pytest.mark.usefixtures("float64")
def test_sums_and_transposes() -> None:
    first = weighted(knn(random_features(seed=1).double(), everyone(), 3))
    second = weighted(knn(random_features(seed=2).double(), everyone(), 5))
    total = weighted_sum([first, second], [0.25, torch.tensor(2.0)])
    expected = 0.25 * dense(first) + 2.0 * dense(second)
    torch.testing.assert_close(dense(total), expected)
    torch.testing.assert_close(total.matrix().to_dense(), expected)
    torch.testing.assert_close(transposed(total).matrix().to_dense(), expected.T)


def test_edges_of_weight_zero_are_not_stored() -> None:
    first, second = (weighted(knn(random_features(seed=seed), everyone(), 3)) for seed in (1, 2))
    assert weighted_sum([first, second], [1.0, 0.0]).matrix()._nnz() == 3 * N


@pytest.mark.usefixtures("float64")
def test_gradients_flow_through_similarities() -> None:
    """Against a dense graph masked to the same neighbours."""
    features = random_features().double().requires_grad_()
    present = everyone()
    present[4] = False
    lists = learned_knn(features, present, 4)
    mask = dense(binary_normalised(lists)) > 0
    pull = random_features(N, N, seed=3).double()
    (ours,) = torch.autograd.grad((dense(row_sum_normalised(weighted(lists))) * pull).sum(), features)

    matrix = dense_cosine(features) * mask
    sums = torch.where(present, matrix.sum(1), 1.0)
    (expected,) = torch.autograd.grad((matrix * sums.rsqrt()[:, None] * sums.rsqrt() * pull).sum(), features)
    torch.testing.assert_close(ours, expected)
    assert not ours[4].any()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("shrink", [0.0, 3.0])
def test_common_users_against_numpy(shrink: float) -> None:
    rng = np.random.default_rng(0)
    interactions = rng.random((30, 12)) < 0.3
    interactions[:, 5] = False  # an item nobody has
    edge_index = torch.from_numpy(np.argwhere(interactions).T.copy())
    common = interactions.T.astype(float) @ interactions
    scale = np.sqrt(np.outer(common.diagonal(), common.diagonal())) + shrink
    expected = np.divide(common, scale, out=np.zeros_like(common), where=scale > 0)
    np.fill_diagonal(expected, -1)

    lists = cooccurrence_knn(edge_index, 30, 12, 4, shrink=shrink)
    np.testing.assert_allclose(lists.values, -np.sort(-expected, axis=1)[:, :4], rtol=1e-12)
    np.testing.assert_allclose(lists.values, np.take_along_axis(expected, lists.indices.numpy(), 1), rtol=1e-12)
    assert (lists.indices != torch.arange(12)[:, None]).all()
    assert cooccurrence_knn(edge_index, 30, 12, 99).k == 11


def test_content_around_its_mean() -> None:
    """Embeddings that share one large direction; the item itself and negative cosines are left out."""
    features = random_features() + 50.0
    lists = content_neighbours(features, everyone(), 6)
    expected = dense_cosine(features.double() - features.double().mean(0)).fill_diagonal_(-2.0)
    values, indices = expected.sort(dim=1, descending=True)
    assert torch.equal(lists.indices, indices[:, :6])
    torch.testing.assert_close(lists.values.double(), values[:, :6].clamp_min(0), rtol=0, atol=1e-4)
    assert (content_neighbours(features, everyone(), N).values >= 0).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, 1e6])
def test_constant_content_has_no_neighbours(value: float) -> None:
    assert len(content_neighbours(torch.full((N, 7), value), everyone(), 5).items) == 0
