from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmbench.models.hybridknn import HybridKNN
from mmbench.models.itemknn import ItemKNN
from mmbench.nn.item_graphs import weighted
from mmbench.nn.item_neighbours import content_neighbours
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


@pytest.mark.usefixtures("float64")
def test_what_an_item_lacks_is_absent_against_numpy(block_world: BlockWorld) -> None:
    """A pair is compared by the modalities that both have, and by interactions alone where there is none."""
    whole = block_world.data(("audio", "image", "text"))
    n = whole.n_items
    masks = {"audio": np.arange(n) % 4 > 0, "image": np.arange(n) % 3 > 0, "text": np.arange(n) % 5 > 0}
    data = replace(whole, present={name: torch.from_numpy(mask) for name, mask in masks.items()})
    shrink, beta, shares = 7.0, 0.4, {"audio": 0.125, "image": 0.25, "text": 0.625}
    history = np.zeros((data.n_users, n))
    history[tuple(data.edge_index.numpy())] = 1.0
    common = history.T @ history
    root = np.sqrt(common.diagonal())
    weighed, weight = np.zeros((n, n)), np.zeros((n, n))
    for name, share in shares.items():
        features, mask = data.features[name].numpy().astype(float), masks[name]
        features = features - features[mask].mean(0)
        norms = np.linalg.norm(features, axis=1)
        both = np.outer(mask, mask)
        weighed += share * np.maximum(features @ features.T / np.outer(norms, norms), 0) * both
        weight += share * both
    assert (weight == 0).any()
    content = np.divide(weighed, weight, out=np.zeros((n, n)), where=weight > 0)
    total = np.where(weight > 0, 1 - beta, 1) * common / (np.outer(root, root) + shrink) + beta * content
    np.fill_diagonal(total, 0.0)
    ours = scores_of(HybridKNN, data, k=n - 1, shrink=shrink, content_weight=beta, **WEIGHTS)
    np.testing.assert_allclose(ours, history @ total.T, rtol=1e-6, atol=1e-6)


def test_one_item_without_content_leaves_the_others_as_they_were(block_world: BlockWorld) -> None:
    """Bit for bit: the weights of a pair that has everything are those of complete data."""
    data = block_world.data(("image", "text"))
    lacking = data.present["image"].clone()
    lacking[3] = False
    model = HybridKNN(data, k=200)
    everything, graphs = replace(data, present={**data.present, "image": lacking}), []
    for name in ("image", "text"):
        graphs.append(weighted(content_neighbours(data.features[name], data.present[name], data.warm, data.n_items)))
    graphs = [graphs[0], *graphs]
    complete, partial = (
        [model._weigher(d)(number, *graph.edge_index) for number, graph in enumerate(graphs)]
        for d in (data, everything)
    )
    for graph, number, by_edge in zip(graphs, complete, partial, strict=True):
        kept = (graph.edge_index != 3).all(0)
        assert torch.equal((number * graph.weights)[kept], (by_edge * graph.weights)[kept])
    assert complete[2] == pytest.approx(0.8 * 0.3)
    touched = (graphs[2].edge_index == 3).any(0)
    torch.testing.assert_close(partial[2][touched], torch.full((int(touched.sum()),), 0.3))


def test_impossible_weight(block_world: BlockWorld) -> None:
    with pytest.raises(ValueError, match=r"content_weight=1\.5 must lie between 0 and 1"):
        HybridKNN(block_world.data(()), content_weight=1.5)
