"""How Fusion balances modalities; its training is part of the contract of models."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.models.fusion import Fusion, balanced
from tests.conftest import BlockWorld


def test_balanced_modalities_weigh_the_same(block_world: BlockWorld) -> None:
    data = block_world.data(("image", "text"))
    louder = replace(data, features={"image": 100 * data.features["image"], "text": data.features["text"]})
    image, text = balanced(louder).split([20, 12], dim=1)
    torch.testing.assert_close(image.norm(dim=1), torch.ones(data.n_items))
    torch.testing.assert_close(text.norm(dim=1), torch.ones(data.n_items))
    torch.testing.assert_close(balanced(louder), balanced(data))


def test_the_other_modalities_weigh_more_where_one_is_missing(block_world: BlockWorld) -> None:
    """With all three of norm one, with two of norm 3/2, with one of norm 3; absent rows are zero."""
    data = block_world.data(("audio", "image", "text"))
    present = {name: mask.clone() for name, mask in data.present.items()}
    present["text"][:2] = False
    present["audio"][1:3] = False
    present["audio"][3], present["image"][3], present["text"][3] = False, False, False
    audio, image, text = balanced(replace(data, present=present)).split([7, 20, 12], dim=1)
    norms = torch.stack([part.norm(dim=1) for part in (audio, image, text)], dim=1)
    expected = torch.ones(data.n_items, 3)
    expected[:4] = torch.tensor([[1.5, 1.5, 0], [0, 3, 0], [0, 1.5, 1.5], [0, 0, 0]])
    torch.testing.assert_close(norms, expected)


def test_what_is_missing_is_made_up_for_by_weight(block_world: BlockWorld) -> None:
    """Images count .4 times and text 1.6 times; whichever an item has alone has length two."""
    data = block_world.data(("image", "text"))
    present = {name: mask.clone() for name, mask in data.present.items()}
    present["text"][0] = present["image"][1] = False
    parts = balanced(replace(data, present=present), {"image": 0.4, "text": 1.6}).split([20, 12], dim=1)
    image, text = (part.norm(dim=1)[:3].tolist() for part in parts)
    assert image == pytest.approx([2.0, 0.0, 0.4])
    assert text == pytest.approx([0.0, 2.0, 1.6])


def test_a_zero_row_stays_zero_when_balanced() -> None:
    present = {"text": torch.tensor([True, True])}
    data = RecData(
        1, 2, torch.zeros(2, 1, dtype=torch.int64), {"text": torch.tensor([[0.0, 0.0], [3.0, 4.0]])}, present
    )
    assert balanced(data).tolist() == [[0.0, 0.0], [pytest.approx(0.6), pytest.approx(0.8)]]


def test_weights_by_hand(block_world: BlockWorld) -> None:
    """Content counts .6 times, the image .4 times and the text 1.6 times."""
    data = block_world.data(("image", "text"))
    model = Fusion(data, embedding_dim=8, content_weight=0.6, first_modality_weight=0.2)
    image, text = (functional.normalize(features, dim=1) for features in data.features.values())
    content = torch.cat([0.4 * image, 1.6 * text], dim=1) @ model.projection.weight.T + model.projection.bias
    expected = model.user_embedding @ (model.item_embedding + 0.6 * content).T
    torch.testing.assert_close(model.score(torch.arange(data.n_users)), expected)
