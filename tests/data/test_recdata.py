from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mmbench.data.features import ItemFeature
from mmbench.data.interactions import Interactions
from mmbench.data.recdata import RecData, make_recdata

EDGES = torch.tensor([[0, 1], [2, 0]])


def test_nothing_held_out_has_room() -> None:
    names = [field.name for field in dataclasses.fields(RecData)]
    assert names == ["n_users", "n_items", "edge_index", "features", "present"]


def test_made_from_the_train_part_in_name_order() -> None:
    train = Interactions(np.array([0, 1]), np.array([2, 0]), 2, 3)
    text = ItemFeature(np.arange(6, dtype=np.float32).reshape(3, 2), np.array([True, False, True]))
    image = ItemFeature(np.ones((3, 1), np.float32), np.ones(3, bool))
    data = make_recdata(train, {"text": text, "image": image})
    assert (data.n_users, data.n_items) == (2, 3)
    assert torch.equal(data.edge_index, EDGES)
    assert list(data.features) == list(data.present) == ["image", "text"]
    assert data.features["text"].tolist() == text.values.tolist()
    assert data.present["text"].tolist() == [True, False, True]


def test_modalities_out_of_order_are_refused() -> None:
    one = torch.ones(3, 1)
    mask = torch.ones(3, dtype=torch.bool)
    with pytest.raises(ValueError, match="features must be in name order, not text, image"):
        RecData(2, 3, EDGES, {"text": one, "image": one}, {"text": mask, "image": mask})


def test_features_need_a_presence_mask() -> None:
    with pytest.raises(ValueError, match="features without a presence mask: text"):
        RecData(2, 3, EDGES, {"text": torch.ones(3, 1)})
