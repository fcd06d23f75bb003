from __future__ import annotations

import pytest
import torch

from mmbench.nn.content import ProjectedContent, modality_shares, projected_content
from tests.conftest import BlockWorld


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


def test_shares_of_modalities() -> None:
    assert modality_shares([], 0.1) == []
    assert modality_shares(["text"], 0.1) == [1.0]
    assert modality_shares(["image", "text"], 0.1) == [0.1, 0.9]
    assert modality_shares(["audio", "image", "text"], 0.1) == [pytest.approx(1 / 3)] * 3
    with pytest.raises(ValueError, match=r"weight of the first modality is 1\.5; it must lie between 0 and 1"):
        modality_shares(["image", "text"], 1.5)
