"""Items that lack a modality must not sink because others gain one: a planted shop that photographed some products."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from mmbench.data.dataset import Dataset, DatasetConfig, load_dataset
from mmbench.data.features import with_missing_filled
from mmbench.data.recdata import make_recdata
from mmbench.inference.contribution.guardrails import MARGIN
from mmbench.models.contentknn import ContentKNN
from mmbench.models.hybridknn import HybridKNN
from mmbench.models.mmgf import MMGF

SHARE, K = 0.6, 20


@pytest.fixture(scope="module")
def shop() -> Dataset:
    """A world in which text and image each tell something of their own."""
    sizes = {"n_users": 600, "n_items": 300}
    return load_dataset(DatasetConfig("shop", world="complementary", world_options=sizes, protocol="given"))


def recalls(shop: Dataset, model_class, names: tuple[str, ...], photographed: np.ndarray, **given: float) -> np.ndarray:
    """Share of the held-out purchases among the first twenty: of items without and with an image, ``(2,)``."""
    features = {name: shop.features[name] for name in names}
    if "image" in features:
        features["image"] = with_missing_filled(features["image"].values, photographed)
    data = make_recdata(shop.split.train, features)
    model = model_class(data, **given)
    model.fit(data)
    scores = model.score(torch.arange(shop.n_users))
    for part in (shop.split.train, shop.split.valid):
        scores[part.users, part.items] = -torch.inf
    test = shop.split.test
    hits = (scores.topk(K).indices.numpy()[test.users] == test.items[:, None]).any(axis=1)
    return np.array([hits[photographed[test.items] == has].mean() for has in (False, True)])


@pytest.mark.parametrize("model_class", [HybridKNN, ContentKNN])
@pytest.mark.parametrize("given", [{}, {"first_modality_weight": 0.5}, {"first_modality_weight": 0.8}])
def test_items_without_an_image_do_not_lose(shop: Dataset, model_class, given: Mapping[str, float]) -> None:
    photographed = np.random.default_rng(0).random(shop.n_items) < SHARE
    text = recalls(shop, model_class, ("text",), photographed)
    fused = recalls(shop, model_class, ("image", "text"), photographed, **given)
    assert fused[0] >= (1 - MARGIN) * text[0]


def test_in_mmgf_they_lose_places_as_images_weigh_more(shop: Dataset) -> None:
    """Its paper has it so: the features of any two items that have some are almost equally alike."""
    photographed = np.random.default_rng(0).random(shop.n_items) < SHARE
    found = [recalls(shop, MMGF, ("image",), photographed, content_weight=weight) for weight in (0.0, 0.03, 0.1, 0.3)]
    without, with_image = np.transpose(found)
    assert (np.diff(without) < 0).all()
    assert (np.diff(with_image) > 0).all()


def test_the_images_of_this_shop_help(shop: Dataset) -> None:
    """So that a model which reads no image does not pass the test above for that."""
    everyone = np.ones(shop.n_items, bool)
    everyone[0] = False
    text, fused = (recalls(shop, HybridKNN, names, everyone)[1] for names in (("text",), ("image", "text")))
    assert fused > 1.05 * text
