from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.contentknn import ContentKNN
from mmbench.models.popularity import Popularity
from tests.conftest import BlockWorld


def unit_rows(features: Tensor) -> NDArray[np.float64]:
    """Rows of length one."""
    rows = features.numpy().astype(float)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("names", [("text",), ("audio", "image", "text")])
@pytest.mark.usefixtures("float64")
def test_known_answer_against_numpy(block_world: BlockWorld, names: tuple[str, ...]) -> None:
    """The k largest of each row of the history's items, itself included, negative ones too."""
    data = block_world.data(names)
    weights = {"audio": 0.375, "image": 0.75, "text": 1.875} if len(names) == 3 else {"text": 1.0}
    features = np.concatenate([weights[name] * unit_rows(data.features[name]) for name in names], axis=1)
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


@pytest.mark.usefixtures("float64")
def test_what_an_item_lacks_is_absent_against_numpy(block_world: BlockWorld) -> None:
    """Two items are compared by what both have; whatever stands in the rows of the others."""
    whole, k, shrink = block_world.data(("audio", "image", "text")), 12, 5.0
    n, weights = whole.n_items, {"audio": 0.375, "image": 0.75, "text": 1.875}
    masks = {"audio": np.arange(n) % 4 > 0, "image": np.arange(n) % 3 > 0, "text": np.arange(n) % 5 > 0}
    products, one, two, shrinks = (np.zeros((n, n)) for _ in range(4))
    lengths = {}
    for name, weight in weights.items():
        features = weight * unit_rows(whole.features[name])
        squares, both = (features**2).sum(1), np.outer(masks[name], masks[name])
        lengths[name] = squares[masks[name]].mean()
        products += features @ features.T * both
        one += squares[:, None] * both
        two += squares[None, :] * both
        shrinks += shrink * lengths[name] * both
    norms = np.sqrt(one * two)
    assert (norms == 0).sum() > 2
    compared = norms + shrinks / sum(lengths.values())
    similarity = np.divide(products, compared, out=np.full((n, n), -np.inf), where=norms > 0)
    kept = similarity >= -np.sort(-similarity, axis=1)[:, k - 1 : k]
    expected = np.where(kept & np.isfinite(similarity), similarity, 0)
    holes = replace(whole, present={name: torch.from_numpy(mask) for name, mask in masks.items()})
    model = ContentKNN(holes, k=k, shrink=shrink, modality_weights={"audio": 0.5, "text": 2.5})
    model.fit(holes)
    np.testing.assert_allclose(model.similarity.to_dense(), expected, rtol=1e-6, atol=1e-6)


def test_an_item_without_any_content_scores_zero(block_world: BlockWorld) -> None:
    """One that lacks a single modality is still compared by the other."""
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


def test_the_unit_of_an_encoder_has_no_effect(block_world: BlockWorld) -> None:
    """Image vectors twenty times as long say what they said; as the reference takes them, they are all that counts."""
    data = block_world.data(("image", "text"))
    loud = replace(data, features={**data.features, "image": 20 * data.features["image"]})

    def scores(of: RecData, *, as_reference: bool) -> Tensor:
        model = ContentKNN(of, k=5, shrink=0.0, as_reference=as_reference)
        model.fit(of)
        return model.score(torch.arange(of.n_users))

    torch.testing.assert_close(scores(loud, as_reference=False), scores(data, as_reference=False))
    assert not torch.allclose(scores(loud, as_reference=True), scores(data, as_reference=True))


@pytest.mark.usefixtures("float64")
def test_the_reference_lists_items_that_training_has_not_seen(block_world: BlockWorld) -> None:
    """Lists of all items, so that an unseen one takes a place in those of the history too."""
    data = block_world.data(("text",))
    known = data.edge_index[1] > 4
    data = replace(data, edge_index=data.edge_index[:, known])
    assert not data.warm[:5].any()
    features = data.features["text"].double()
    norms = features.norm(dim=1)
    similarity = features @ features.T / (torch.outer(norms, norms) + 5.0)
    kept = torch.zeros_like(similarity).scatter(1, similarity.topk(7).indices, 1.0)
    history = torch.zeros(data.n_users, data.n_items).index_put(tuple(data.edge_index), torch.tensor(1.0))
    model = ContentKNN(data, k=7, shrink=5.0, as_reference=True)
    model.fit(data)
    torch.testing.assert_close(model.score(torch.arange(data.n_users)), history @ (similarity * kept))


@pytest.mark.usefixtures("float64")
def test_shrinkage_orders_nothing_among_rows_of_length_one(block_world: BlockWorld) -> None:
    """Where items lack modalities too, every pair has the same factor."""
    data = block_world.data(("audio", "image", "text"))
    present = {name: torch.arange(data.n_items) % 5 != place for place, name in enumerate(data.present)}
    data = replace(data, present=present)

    def scores(shrink: float) -> Tensor:
        model = ContentKNN(data, k=9, shrink=shrink)
        model.fit(data)
        return model.score(torch.arange(data.n_users))

    torch.testing.assert_close(scores(10.0), scores(0.0) / (1.0 + 10.0 / 3.0))
