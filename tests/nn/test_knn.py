from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mmbench.nn import knn as knn_module
from mmbench.nn.knn import (
    ItemGraph,
    Neighbours,
    binary_normalised,
    cached_knn,
    content_neighbours,
    cooccurrence_knn,
    knn,
    learned_knn,
    row_sum_normalised,
    transposed,
    union_maximum,
    weighted,
    weighted_sum,
)

N = 12
pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture
def features() -> Tensor:
    """Random features; item 3 is all zero."""
    values = torch.randn(N, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values[3] = 0.0
    return values


@pytest.fixture
def present() -> Tensor:
    """Item 7 has no content."""
    return torch.arange(N) != 7


def cosines(features: Tensor, shrink: float = 0.0) -> Tensor:
    norms = features.norm(dim=1)
    return features @ features.T / (norms[:, None] * norms[None, :] + shrink)


def top_k(similarity: Tensor, allowed: Tensor, k: int) -> Tensor:
    """Dense graph that keeps the ``k`` largest allowed entries of each allowed row."""
    masked = similarity.masked_fill(~(allowed[:, None] & allowed[None, :]), -torch.inf)
    best = masked.topk(k, dim=1)
    graph = torch.zeros_like(similarity).scatter(1, best.indices, best.values)
    return graph.masked_fill(~allowed[:, None], 0.0)


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("shrink", [0.0, 2.0])
def test_neighbours_by_cosine_against_dense(features: Tensor, present: Tensor, k: int, shrink: float) -> None:
    """Items without content or direction neither have nor are neighbours; everybody else is the own neighbour."""
    allowed = present & (features.norm(dim=1) > 0)
    expected = top_k(cosines(features, shrink).nan_to_num(), allowed, k)
    for find in (knn, cached_knn):
        ours = weighted(find(features, present, k, shrink=shrink)).matrix().to_dense()
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-14)
    if shrink == 0:
        assert torch.allclose(ours.diagonal()[allowed], torch.ones(int(allowed.sum())))


def test_more_neighbours_than_items(features: Tensor, present: Tensor) -> None:
    assert knn(features, present, 99).indices.shape == (10, 10)
    assert cached_knn(features, present, 99).indices.shape == (10, 10)


def test_nobody_has_content(features: Tensor) -> None:
    lists = knn(features, torch.zeros(N, dtype=torch.bool), 3)
    assert weighted(lists).matrix().to_dense().abs().sum() == 0


@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_lists_do_not_depend_on_blocks(offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Single precision; with the offset all cosines are close to one, as those of the source study's noise are."""
    noise = torch.randn(500, 128, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    everywhere = torch.ones(500, dtype=torch.bool)
    whole = knn(noise + offset, everywhere, 10)
    for entries in (1, 5000):
        monkeypatch.setattr(knn_module, "BLOCK_ENTRIES", entries)
        assert torch.equal(knn(noise + offset, everywhere, 10).indices, whole.indices)


def test_a_shorter_list_is_the_beginning_of_a_longer_one() -> None:
    """Also where everything is tied."""
    alike = torch.ones(30, 2)
    everywhere = torch.ones(30, dtype=torch.bool)
    longest = knn(alike, everywhere, 30).indices
    for k in (1, 2, 7, 29):
        assert torch.equal(knn(alike, everywhere, k).indices, longest[:, :k])


def test_items_that_are_all_alike_share_their_neighbours_evenly() -> None:
    lists = knn(torch.ones(50, 3), torch.ones(50, dtype=torch.bool), 5)
    assert lists.indices[:, 0].tolist() == list(range(50)), "the item itself comes first"
    assert torch.bincount(lists.indices.flatten(), minlength=50).tolist() == [5] * 50


def test_the_cache_is_keyed_by_content(features: Tensor, present: Tensor) -> None:
    """Other features, masks, shrinkage and precision give other lists; a change in place is seen."""
    mine = features.clone()
    first = cached_knn(mine, present, 3)
    assert torch.equal(cached_knn(features, present, 3).indices, first.indices)
    mine[0] = -mine[0]
    assert torch.equal(cached_knn(mine, present, 3).indices, knn(mine, present, 3).indices)
    assert not torch.equal(cached_knn(mine, present, 3).indices, first.indices)
    everywhere = torch.ones(N, dtype=torch.bool)
    assert len(cached_knn(features, everywhere, 3).items) == len(first.items) + 1
    assert not torch.equal(cached_knn(features, present, 3, shrink=5.0).values, first.values)
    torch.set_default_dtype(torch.float32)
    assert cached_knn(features, present, 3).values.dtype == torch.float32


def test_the_cache_serves_every_k() -> None:
    values = torch.randn(100, 3, generator=torch.Generator().manual_seed(5))
    everywhere = torch.ones(100, dtype=torch.bool)
    for k in (3, 99, 10, 70):
        cached, direct = cached_knn(values, everywhere, k), knn(values, everywhere, k)
        assert torch.equal(cached.indices, direct.indices)
        assert torch.equal(cached.values, direct.values)


def test_the_cache_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = torch.ones(5, dtype=torch.bool)
    for seed in range(knn_module.CACHED_LISTS + 5):
        cached_knn(torch.randn(5, 2, generator=torch.Generator().manual_seed(seed)), everywhere, 2)
    assert len(knn_module._lists) == knn_module.CACHED_LISTS


@pytest.mark.parametrize("k", [2, 5])
def test_content_neighbours_around_the_mean(features: Tensor, present: Tensor, k: int) -> None:
    """Without the item itself, opposites cut off."""
    shifted = features + 10.0
    centred = shifted - shifted[present].mean(0)
    similarity = cosines(centred).fill_diagonal_(-2.0)
    expected = top_k(similarity, present, k).clamp_min(0.0)
    ours = weighted(content_neighbours(shifted, present, k)).matrix().to_dense()
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-9)
    assert not ours.diagonal().any()


def test_content_that_says_nothing_gives_no_neighbours() -> None:
    """Equal rows are the mean: no direction is left, and rounding errors must not be taken for one."""
    alike = torch.full((9, 3), 0.1, dtype=torch.float32)
    lists = content_neighbours(alike, torch.ones(9, dtype=torch.bool), 4)
    assert weighted(lists).matrix().to_dense().abs().sum() == 0


@pytest.mark.parametrize("k", [1, 3, 6])
@pytest.mark.parametrize("shrink", [0.0, 3.0])
def test_neighbours_by_common_users_against_dense(k: int, shrink: float) -> None:
    """Item 6 has no user and so neither has nor is a neighbour."""
    pairs = torch.rand(40, 7, generator=torch.Generator().manual_seed(2)) < torch.linspace(0.3, 0.6, 7)
    pairs[:, 6] = False
    history = pairs.to(torch.float64)
    common = history.T @ history
    root = common.diagonal().sqrt()
    similarity = (common / (root[:, None] * root[None, :] + shrink)).nan_to_num().fill_diagonal_(-1.0)
    expected = top_k(similarity, torch.arange(7) < 7, k).clamp_min(0.0)
    lists = cooccurrence_knn(pairs.nonzero().T, 40, 7, k, shrink=shrink)
    assert not (lists.indices == lists.items[:, None]).any()
    torch.testing.assert_close(weighted(lists).matrix().to_dense(), expected, rtol=0, atol=1e-14)


def test_learned_neighbours_carry_gradients(features: Tensor, present: Tensor) -> None:
    """The similarities of the fixed neighbours, differentiated as cosines."""
    chosen = knn(features, present, 3)
    leaf = features.clone().requires_grad_()
    lists = learned_knn(leaf, present, 3)
    assert torch.equal(lists.indices, chosen.indices)
    torch.testing.assert_close(lists.values.detach(), chosen.values, rtol=0, atol=1e-14)
    weight = torch.randn(lists.values.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((lists.values * weight).sum(), leaf)

    other = features.clone().requires_grad_()
    unit = functional.normalize(other, dim=1, eps=1e-12)
    direct = (unit @ unit.T)[chosen.items[:, None], chosen.indices]
    (expected,) = torch.autograd.grad((direct * weight).sum(), other)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)
    assert torch.isfinite(gradient).all()
    assert not gradient[7].any()


def graph(dense: Tensor) -> ItemGraph:
    edge_index = dense.nonzero().T
    return ItemGraph(edge_index, dense[tuple(edge_index)], len(dense))


@pytest.fixture
def dense() -> Tensor:
    """Not symmetric; the row sums of items 1 and 4 are zero and negative."""
    values = torch.rand(6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    values = values * (values > 0.4)
    values[1] = 0.0
    values[4] = torch.tensor([0.5, -1.0, 0.0, 0.0, 0.1, 0.0])
    return values


def test_row_sum_normalised_against_dense(dense: Tensor) -> None:
    sums = dense.sum(1)
    root = torch.where(sums > 0, sums, torch.inf).pow(-0.5)
    expected = root[:, None] * dense * root[None, :]
    ours = row_sum_normalised(graph(dense)).matrix().to_dense()
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-15)
    assert torch.isfinite(ours).all()


def test_binary_normalised_gives_every_edge_the_same_weight(features: Tensor, present: Tensor) -> None:
    ours = binary_normalised(knn(features, present, 4)).matrix().to_dense()
    kept = weighted(knn(features, present, 4)).matrix().to_dense() != 0
    torch.testing.assert_close(ours, kept / (4 + 1e-7), rtol=0, atol=1e-15)


def test_sums_and_transposes_of_graphs(dense: Tensor) -> None:
    other = dense.T.contiguous()
    assert torch.equal(transposed(graph(dense)).matrix().to_dense(), other)
    summed = weighted_sum([graph(dense), graph(other)], [0.25, torch.tensor(2.0)]).matrix().to_dense()
    torch.testing.assert_close(summed, 0.25 * dense + 2.0 * other, rtol=0, atol=1e-15)


def test_union_takes_the_largest_weight_of_an_edge() -> None:
    """A negative weight that stands alone stays."""
    a = torch.tensor([[0.0, 0.3, -0.2], [0.0, 0.0, 0.0], [0.5, -0.4, 0.0]])
    b = torch.tensor([[0.0, 0.1, 0.0], [0.7, 0.0, 0.0], [0.0, -0.1, 0.0]])
    expected = torch.tensor([[0.0, 0.3, -0.2], [0.7, 0.0, 0.0], [0.5, -0.1, 0.0]])
    assert torch.equal(union_maximum([graph(a), graph(b)]).matrix().to_dense(), expected)


def test_gradients_reach_the_weights_of_combined_graphs(dense: Tensor) -> None:
    """As LATTICE trains its learned graph and the shares of modalities."""
    edges = dense.clamp_min(0.0)
    edge_index = edges.nonzero().T
    share = torch.tensor(0.3, requires_grad=True)
    weights = edges[tuple(edge_index)].clone().requires_grad_()

    def combined(w: Tensor, s: Tensor) -> Tensor:
        learned = row_sum_normalised(ItemGraph(edge_index, w, 6))
        return weighted_sum([learned, learned], [s, 1.0 - s * s]).weights

    assert torch.autograd.gradcheck(combined, (weights, share))


def test_a_list_is_cut_from_the_front() -> None:
    lists = Neighbours(3, torch.arange(3), torch.tensor([[0, 2], [1, 0], [2, 1]]), torch.tensor([[1.0, 0.5]] * 3))
    assert lists.k == 2
    assert lists.top(1).indices.tolist() == [[0], [1], [2]]
