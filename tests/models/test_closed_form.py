"""Models that are computed, against their formulas on dense arrays in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models import ials
from mmbench.models.base import ClosedForm
from mmbench.models.contentknn import ContentKNN
from mmbench.models.ease import EASE
from mmbench.models.hybridknn import HybridKNN
from mmbench.models.ials import IALS
from mmbench.models.itemknn import ItemKNN
from tests.conftest import BlockWorld

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture
def data(block_world: BlockWorld) -> RecData:
    """Item 8 has no interaction, item 5 no text and item 6 neither text nor image."""
    full = block_world.data(("image", "text"))
    present = {name: mask.clone() for name, mask in full.present.items()}
    present["text"][[5, 6]] = False
    present["image"][6] = False
    edges = full.edge_index[:, full.edge_index[1] != 8]
    return RecData(full.n_users, full.n_items, edges, full.features, present)


def history(data: RecData) -> np.ndarray:
    matrix = np.zeros((data.n_users, data.n_items))
    matrix[data.edge_index[0], data.edge_index[1]] = 1.0
    return matrix


def scores(model: ClosedForm, data: RecData) -> np.ndarray:
    model.fit(data)
    return model.eval().score(torch.arange(data.n_users)).numpy()


def top_k(similarity: np.ndarray, k: int) -> np.ndarray:
    """Keep the ``k`` largest entries of each row."""
    kept = np.zeros_like(similarity)
    best = np.argsort(-similarity, axis=1)[:, :k]
    np.put_along_axis(kept, best, np.take_along_axis(similarity, best, axis=1), axis=1)
    return kept


def common_users(data: RecData, shrink: float) -> np.ndarray:
    """Shrunk cosine of common users, the item itself last."""
    counts = history(data).T @ history(data)
    root = np.sqrt(np.diag(counts))
    similarity = counts / np.maximum(np.outer(root, root) + shrink, 1e-12)
    np.fill_diagonal(similarity, -1.0)
    return similarity


def ties_free(similarity: np.ndarray, k: int) -> None:
    """Where the k-th and the next are equal, the formula does not say which item is a neighbour."""
    ordered = -np.sort(-similarity, axis=1)
    clear = (ordered[:, k - 1] - ordered[:, k] > 1e-9) | (np.abs(ordered[:, k - 1]) < 1e-12)
    assert clear.all()


def all_but_itself(data: RecData) -> int:
    return data.n_items - 1


@pytest.mark.parametrize("shrink", [0.0, 5.0])
def test_itemknn(data: RecData, shrink: float) -> None:
    """All neighbours, because similarities of so few users are full of ties."""
    k = all_but_itself(data)
    similarity = np.maximum(common_users(data, shrink), 0.0)
    np.testing.assert_allclose(
        scores(ItemKNN(data, k=k, shrink=shrink), data), history(data) @ similarity.T, rtol=1e-12, atol=1e-14
    )


def test_itemknn_keeps_the_best_of_the_item_that_is_scored(data: RecData) -> None:
    """For every item the k largest similarities, whichever of equal ones they are."""
    model = ItemKNN(data, k=3, shrink=1.0)
    model.fit(data)
    kept, full = model.similarity.to_dense().numpy(), np.maximum(common_users(data, 1.0), 0.0)
    assert ((kept > 0).sum(1) <= 3).all()
    np.testing.assert_allclose(-np.sort(-kept, axis=1)[:, :3], -np.sort(-full, axis=1)[:, :3], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(kept[kept > 0], full[kept > 0], rtol=1e-12)


def content(data: RecData, names: tuple[str, ...], shrink: float) -> np.ndarray:
    joined = np.hstack([data.features[name].double().numpy() for name in names])
    norms = np.linalg.norm(joined, axis=1)
    similarity = joined @ joined.T / (np.outer(norms, norms) + shrink)
    missing = ~np.any([data.present[name].numpy() for name in names], axis=0)
    similarity[missing], similarity[:, missing] = -np.inf, -np.inf
    return similarity


@pytest.mark.parametrize("names", [("image",), ("text",), ("image", "text")])
@pytest.mark.parametrize("shrink", [0.0, 10.0])
def test_contentknn(data: RecData, names: tuple[str, ...], shrink: float) -> None:
    """The k items most similar to an item of the history get its vote, itself included."""
    chosen = RecData(
        data.n_users,
        data.n_items,
        data.edge_index,
        {name: data.features[name] for name in names},
        {name: data.present[name] for name in names},
    )
    similarity = content(data, names, shrink)
    kept = np.nan_to_num(top_k(similarity, 6), neginf=0.0)
    np.testing.assert_allclose(
        scores(ContentKNN(chosen, k=6, shrink=shrink), chosen), history(data) @ kept, rtol=1e-12, atol=1e-12
    )


def test_contentknn_without_content_is_popularity(data: RecData) -> None:
    bare = RecData(data.n_users, data.n_items, data.edge_index)
    expected = np.tile(history(data).sum(0), (data.n_users, 1))
    np.testing.assert_array_equal(scores(ContentKNN(bare), bare), expected)


@pytest.mark.parametrize("first", [0.2, 1.0])
def test_hybridknn(data: RecData, first: float) -> None:
    """Shares of interactions, image and text, each with all its neighbours."""
    similarity = 0.6 * np.maximum(common_users(data, 2.0), 0.0)
    for name, share in (("image", 0.4 * first), ("text", 0.4 * (1 - first))):
        present = data.present[name].numpy()
        values = data.features[name].double().numpy()
        centred = values - values[present].mean(0)
        unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
        cosine = np.maximum(unit @ unit.T, 0.0) * np.outer(present, present)
        np.fill_diagonal(cosine, 0.0)
        similarity += share * cosine
    model = HybridKNN(data, k=all_but_itself(data), shrink=2.0, content_weight=0.4, first_modality_weight=first)
    # Features are centred in their own single precision.
    np.testing.assert_allclose(scores(model, data), history(data) @ similarity.T, rtol=1e-5, atol=1e-5)


def test_hybridknn_without_content_is_itemknn(data: RecData) -> None:
    bare = RecData(data.n_users, data.n_items, data.edge_index)
    expected = scores(ItemKNN(data, k=4, shrink=3.0), data)
    np.testing.assert_array_equal(scores(HybridKNN(bare, k=4, shrink=3.0), bare), expected)
    np.testing.assert_array_equal(scores(HybridKNN(data, k=4, shrink=3.0, content_weight=0.0), data), expected)


@pytest.mark.parametrize("weight", [-0.1, 1.1])
def test_hybridknn_refuses_an_impossible_share(data: RecData, weight: float) -> None:
    with pytest.raises(ValueError, match=rf"content_weight={weight} must lie between 0 and 1"):
        HybridKNN(data, content_weight=weight)


def test_ease_minimises_its_objective(data: RecData) -> None:
    """Every column is the ridge regression of one item on all others."""
    r, penalty = history(data), 7.0
    n = data.n_items
    expected = np.zeros((n, n))
    for item in range(n):
        others = np.arange(n) != item
        x = r[:, others]
        expected[others, item] = np.linalg.solve(x.T @ x + penalty * np.eye(n - 1), x.T @ r[:, item])
    np.testing.assert_allclose(scores(EASE(data, reg_weight=penalty), data), r @ expected, rtol=1e-9, atol=1e-11)


def test_ease_refuses_more_memory_than_allowed(data: RecData) -> None:
    huge = RecData(10, 50_000, data.edge_index[:, :0])
    message = r"EASE needs 60.0 GB for 50,000 items, more than max_memory_gb=8"
    with pytest.raises(ValueError, match=message):
        EASE(huge)


def objective(users: Tensor, items: Tensor, data: RecData, alpha: float, penalty: float) -> Tensor:
    """The sum of squares that the docstring of iALS states."""
    r = torch.from_numpy(history(data))
    predicted = users @ items.T
    of_users = r.sum(1) + alpha * data.n_items
    of_items = r.sum(0) + alpha * data.n_users
    squares = (r * (predicted - 1).square()).sum() + alpha * predicted.square().sum()
    return squares + penalty * ((of_users * users.square().sum(1)).sum() + (of_items * items.square().sum(1)).sum())


@pytest.mark.parametrize("block", [1 << 16, 1, 30])
def test_ials_solves_its_least_squares(data: RecData, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the items fixed, no other users are better: the gradient vanishes, the item without users included."""
    monkeypatch.setattr(ials, "BLOCK_ENTRIES", block)
    model = IALS(data, embedding_dim=5, n_sweeps=3, unobserved_weight=0.2, reg_weight=0.05)
    model.fit(data)
    users = model.users.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(users, model.items, data, 0.2, 0.05), users)
    assert gradient.abs().max() < 1e-10
    assert not model.items[8].any()


def test_ials_descends_to_a_stationary_point(data: RecData) -> None:
    values = []
    for n_sweeps in (1, 2, 5, 400):
        model = IALS(data, embedding_dim=4, n_sweeps=n_sweeps, unobserved_weight=0.3, reg_weight=0.02)
        model.fit(data)
        values.append(float(objective(model.users, model.items, data, 0.3, 0.02)))
    assert values == sorted(values, reverse=True)
    items = model.items.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(model.users, items, data, 0.3, 0.02), items)
    assert gradient.abs().max() < 1e-4


@pytest.mark.parametrize("options", [{"unobserved_weight": 0.0}, {"reg_weight": 0.0}, {"reg_weight": -1.0}])
def test_ials_refuses_weights_without_a_solution(data: RecData, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive, else the least squares have no unique solution"):
        IALS(data, **options)


@pytest.mark.parametrize("build", [ItemKNN, ContentKNN, HybridKNN, EASE, IALS], ids=lambda model: model.__name__)
def test_a_second_fit_gives_the_same_scores(data: RecData, build: type[ClosedForm]) -> None:
    model = build(data)
    np.testing.assert_array_equal(scores(model, data), scores(model, data))
