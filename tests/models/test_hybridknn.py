from __future__ import annotations

import numpy as np
import pytest
import torch

from mmbench.models.hybridknn import HybridKNN
from mmbench.models.itemknn import ItemKNN
from tests.conftest import BlockWorld

WEIGHTS = {"first_modality_weight": 0.2, "modality_weights": {"audio": 0.5, "text": 2.5}}


def scores_of(model_class, data, **hyper_parameters) -> torch.Tensor:
    model = model_class(data, **hyper_parameters)
    model.fit(data)
    return model.score(torch.arange(data.n_users))


@pytest.mark.parametrize("k", [3, 200])
def test_without_content_or_its_weight_it_is_itemknn(block_world: BlockWorld, k: int) -> None:
    """Bit for bit."""
    nothing, both = block_world.data(()), block_world.data(("image", "text"))
    expected = scores_of(ItemKNN, nothing, k=k, shrink=3.0)
    assert torch.equal(scores_of(HybridKNN, nothing, k=k, shrink=3.0), expected)
    assert torch.equal(scores_of(HybridKNN, both, k=k, shrink=3.0, content_weight=0.0), expected)
    assert not torch.allclose(scores_of(HybridKNN, both, k=k, shrink=3.0), expected)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "names, shares",
    [(("text",), [1.0]), (("image", "text"), [0.2, 0.8]), (("audio", "image", "text"), [0.125, 0.25, 0.625])],
)
def test_known_answer_against_numpy(block_world: BlockWorld, names: tuple[str, ...], shares: list[float]) -> None:
    data = block_world.data(names)
    k, shrink, beta = data.n_items - 1, 7.0, 0.4
    history = np.zeros((data.n_users, data.n_items))
    history[tuple(data.edge_index.numpy())] = 1.0
    common = history.T @ history
    root = np.sqrt(common.diagonal())
    total = (1 - beta) * common / (np.outer(root, root) + shrink)
    for name, share in zip(names, shares, strict=True):
        features = data.features[name].numpy().astype(float)
        features -= features.mean(0)
        norms = np.linalg.norm(features, axis=1)
        total += beta * share * np.maximum(features @ features.T / np.outer(norms, norms), 0)
    np.fill_diagonal(total, 0.0)
    ours = scores_of(HybridKNN, data, k=k, shrink=shrink, content_weight=beta, **WEIGHTS)
    np.testing.assert_allclose(ours, history @ total.T, rtol=1e-6, atol=1e-6)  # features are float32


def test_impossible_weight(block_world: BlockWorld) -> None:
    with pytest.raises(ValueError, match=r"content_weight=1\.5 must lie between 0 and 1"):
        HybridKNN(block_world.data(()), content_weight=1.5)
