from __future__ import annotations

import numpy as np
import pytest
import torch

from mmbench.data.recdata import RecData
from mmbench.models.itemknn import ItemKNN

N_USERS, N_ITEMS = 60, 25


@pytest.fixture
def interactions() -> np.ndarray:
    """Skewed popularity, and one item that nobody has."""
    pairs = np.random.default_rng(0).random((N_USERS, N_ITEMS)) < np.linspace(0.05, 0.5, N_ITEMS)
    pairs[:, 3] = False
    return pairs


@pytest.mark.parametrize("k", [3, 200])
@pytest.mark.parametrize("shrink", [0.0, 10.0])
@pytest.mark.usefixtures("float64")
def test_known_answer_against_numpy(interactions: np.ndarray, k: int, shrink: float) -> None:
    """Similarity by definition, item by item; ties at the border of a list may go either way."""
    data = RecData(N_USERS, N_ITEMS, torch.from_numpy(np.argwhere(interactions).T.copy()))
    users_of = [set(np.flatnonzero(interactions[:, item])) for item in range(N_ITEMS)]
    similarity = np.zeros((N_ITEMS, N_ITEMS))
    for j in range(N_ITEMS):
        for i in range(N_ITEMS):
            if i != j and users_of[i] and users_of[j]:
                both = len(users_of[i] & users_of[j])
                similarity[j, i] = both / (np.sqrt(len(users_of[i]) * len(users_of[j])) + shrink)

    model = ItemKNN(data, k=k, shrink=shrink)
    model.fit(data)
    ours = model.similarity.to_dense().T.numpy()
    kept = ours > 0
    np.testing.assert_allclose(ours[kept], similarity[kept], rtol=1e-12)
    for j in range(N_ITEMS):
        np.testing.assert_allclose(np.sort(ours[j])[-k:], np.sort(similarity[j])[-k:], rtol=1e-12)
        assert kept[j].sum() <= k
    users = torch.tensor([7, 0, 7])
    np.testing.assert_allclose(model.score(users), interactions[[7, 0, 7]] @ ours.T, rtol=1e-12, atol=1e-15)
