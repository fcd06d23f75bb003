from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmbench.models.contentknn import ContentKNN
from mmbench.models.popularity import Popularity
from tests.conftest import BlockWorld


@pytest.mark.parametrize("names", [("text",), ("audio", "image", "text")])
@pytest.mark.usefixtures("float64")
def test_known_answer_against_numpy(block_world: BlockWorld, names: tuple[str, ...]) -> None:
    """The k largest of each row of the history's items, itself included, negative ones too."""
    data = block_world.data(names)
    weights = {"audio": 0.375, "image": 0.75, "text": 1.875} if len(names) == 3 else {"text": 1.0}
    features = np.concatenate([weights[name] * data.features[name].numpy().astype(float) for name in names], axis=1)
    norms = np.linalg.norm(features, axis=1)
    similarity = features @ features.T / (np.outer(norms, norms) + 5.0)
    k = 25
    kept = similarity >= -np.sort(-similarity, axis=1)[:, k - 1 : k]
    assert (similarity[kept] < 0).any()
    history = np.zeros((data.n_users, data.n_items))
    history[tuple(data.edge_index.numpy())] = 1.0
    model = ContentKNN(data, k=k, shrink=5.0, modality_weights={"audio": 0.5, "text": 2.5})
    model.fit(data)
    scores = model.score(torch.arange(data.n_users))
    np.testing.assert_allclose(scores, history @ (similarity * kept), rtol=1e-12, atol=1e-12)


def test_without_content_it_is_popularity(block_world: BlockWorld) -> None:
    data = block_world.data(())
    scores = []
    for model in (ContentKNN(data), Popularity(data)):
        model.fit(data)
        scores.append(model.score(torch.tensor([3, 0])))
    assert torch.equal(*scores)


def test_an_item_without_any_content_scores_zero(block_world: BlockWorld) -> None:
    """One that lacks a single modality is still compared, with the mean in its place."""
    data = block_world.data(("image", "text"))
    present = {name: mask.clone() for name, mask in data.present.items()}
    present["image"][[3, 8]] = False
    present["text"][8] = False
    holes = replace(data, present=present)
    model = ContentKNN(holes, k=5, shrink=0.0)
    model.fit(holes)
    matrix = model.similarity.to_dense()
    assert not matrix[8].any()
    assert not matrix[:, 8].any()
    assert matrix[3].any()
    assert not model.score(torch.arange(data.n_users))[:, 8].any()
