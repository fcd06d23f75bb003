from __future__ import annotations

import pytest
import torch

from mmbench.nn.content import ProjectedContent, content_graphs, fused_item_graph, modality_shares, projected_content
from mmbench.nn.knn import row_sum_normalised, weighted
from mmbench.nn.neighbours import cached_knn
from tests.conftest import BlockWorld
from tests.models import dense


def test_frozen_features_are_no_state_and_trainable_ones_are_a_copy() -> None:
    features = torch.randn(5, 3)
    frozen, trainable = ProjectedContent(features, 4), ProjectedContent(features, 4, trainable=True)
    assert sorted(frozen.state_dict()) == ["projection.bias", "projection.weight"]
    assert sorted(dict(trainable.named_parameters())) == ["projection.bias", "projection.weight", "table"]
    with torch.no_grad():
        trainable.table.zero_()
    assert features.any()


def test_projection_of_all_and_of_some_rows() -> None:
    features = torch.randn(5, 3)
    tower = ProjectedContent(features, 4)
    expected = features @ tower.projection.weight.T + tower.projection.bias
    torch.testing.assert_close(tower(), expected)
    torch.testing.assert_close(tower(torch.tensor([3, 3, 0])), expected[[3, 3, 0]])


def test_one_projection_per_modality_in_name_order(block_world: BlockWorld) -> None:
    towers = projected_content(block_world.data(("audio", "image", "text")), 4)
    assert list(towers) == ["audio", "image", "text"]
    assert not projected_content(block_world.data(()), 4)


def test_content_graphs_are_those_of_each_modality(block_world: BlockWorld) -> None:
    data = block_world.data(("image", "text"))
    graphs = content_graphs(data, lambda name: {"image": 3, "text": 5}[name])
    assert list(graphs) == ["image", "text"]
    for name, k in (("image", 3), ("text", 5)):
        expected = row_sum_normalised(weighted(cached_knn(data.features[name], data.present[name], k)))
        assert torch.equal(graphs[name].edge_index, expected.edge_index)
        assert torch.equal(graphs[name].weights, expected.weights)
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
    data = dense.with_gaps(block_world.data(("image", "text")))
    graph = fused_item_graph(data, 4, 0.3)
    assert graph is not None
    image, text = (dense.binary_graph(data.features[name], data.present[name], 4) for name in data.features)
    torch.testing.assert_close(graph.matrix.to_dense(), 0.3 * image + 0.7 * text)
    assert fused_item_graph(block_world.data(()), 4, 0.3) is None
