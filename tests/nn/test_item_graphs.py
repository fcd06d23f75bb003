from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmbench.nn import item_neighbours, sparse
from mmbench.nn.common_users import CommonUsers
from mmbench.nn.item_graphs import (
    binary_normalised,
    content_graphs,
    fused_item_graph,
    history_weights,
    modality_shares,
    row_sum_normalised,
    transposed,
    weighted,
    weighted_sum,
)
from mmbench.nn.item_neighbours import content_neighbours, knn
from tests.conftest import BlockWorld
from tests.models import dense as oracle
from tests.nn.test_common_users import shop
from tests.nn.test_item_neighbours import N, dense, everyone, random_features


@pytest.mark.parametrize("n_present", [0, 1])
def test_hardly_anything_present(n_present: int) -> None:
    present = torch.arange(N) < n_present
    graph = row_sum_normalised(weighted(knn(random_features(), present, 5)))
    assert graph.edge_index.shape == (2, n_present)
    assert weighted(content_neighbours(random_features(), present, present, 5)).edge_index.shape == (2, 0)
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
def test_content_graphs_are_those_of_each_modality(block_world: BlockWorld) -> None:
    data = oracle.with_gaps(block_world.data(("image", "text")))
    graphs = content_graphs(data, lambda name: {"image": 3, "text": 5}[name])
    assert list(graphs) == ["image", "text"]
    for name, k in (("image", 3), ("text", 5)):
        expected = oracle.weighted_graph(data.features[name], data.present[name], k)
        torch.testing.assert_close(graphs[name].matrix().to_dense(), expected)
    assert content_graphs(block_world.data(()), lambda name: 3) == {}


def test_shares_of_modalities() -> None:
    assert modality_shares([], 0.1) == []
    assert modality_shares(["text"], 0.1) == [1.0]
    assert modality_shares(["image", "text"], 0.1) == [0.1, 0.9]
    assert modality_shares(["audio", "image", "text"], 0.1) == [pytest.approx(1 / 3)] * 3
    with pytest.raises(ValueError, match=r"weight of the first modality is 1\.5; it must lie between 0 and 1"):
        modality_shares(["image", "text"], 1.5)


@pytest.mark.usefixtures("float64")
def test_fused_item_graph(block_world: BlockWorld) -> None:
    """Shares of k ones per row over k; items without content in a modality have no edges there."""
    data = oracle.with_gaps(block_world.data(("image", "text")))
    graph = fused_item_graph(data, 4, 0.3)
    assert graph is not None
    image, text = (oracle.binary_graph(data.features[name], data.present[name], 4) for name in data.features)
    torch.testing.assert_close(graph.matrix.to_dense(), 0.3 * image + 0.7 * text)
    assert fused_item_graph(block_world.data(()), 4, 0.3) is None


@pytest.mark.parametrize("block", [1, 300, 1 << 22])
def test_what_a_history_adds_is_the_sum_of_lists_turned_round(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks of any size; weights of pairs; entries that several lists have are added, those of weight zero left."""
    monkeypatch.setattr(sparse, "BLOCK_ENTRIES", block)
    monkeypatch.setattr(item_neighbours, "BLOCK_ENTRIES", block)
    edges, present = shop(), torch.arange(N) % 5 > 0
    common = CommonUsers(edges, 60, N, 6, shrink=2.0)
    contents = [content_neighbours(random_features(seed=seed), present, everyone(), 4) for seed in (1, 2)]
    items, owners, similarities = common.listing(0, N)
    alone = history_weights(common)
    expected = torch.zeros(N, N).index_put((items, owners), similarities)
    assert torch.equal(alone.to_dense(), expected)

    def weigh(number: int, items: Tensor, owners: Tensor) -> Tensor | float:
        return [torch.where(items % 3 > 0, 0.5, 0.0), 0.25, 2.0][number]

    expected = expected * torch.where(torch.arange(N) % 3 > 0, 0.5, 0.0).unsqueeze(1)
    for weight, lists in zip((0.25, 2.0), contents, strict=True):
        expected += weight * dense(weighted(lists)).T
    found = history_weights(common, contents, weigh)
    torch.testing.assert_close(found.to_dense(), expected)
    assert (found.values() != 0).all()
    torch.sparse_csr_tensor(
        found.crow_indices(), found.col_indices(), found.values(), found.shape, check_invariants=True
    )


def test_without_interactions_nothing_adds_anything() -> None:
    weights = history_weights(CommonUsers(torch.empty(2, 0, dtype=torch.int64), 3, 4, 2))
    assert weights.shape == (4, 4)
    assert not len(weights.values())
