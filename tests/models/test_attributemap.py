from __future__ import annotations

import numpy as np
import pytest
import torch

from mmbench.models.attributemap import AttributeMap
from mmbench.models.ials import IALS
from tests.conftest import BlockWorld
from tests.models.test_cease import THREE
from tests.regressions import COLD, directions_of, history_of, with_new_items

SMALL = {"embedding_dim": 6, "n_sweeps": 4}


def fitted(data, **hyper_parameters) -> AttributeMap:
    model = AttributeMap(data, **SMALL, **hyper_parameters)
    model.fit(data)
    return model


@pytest.mark.usefixtures("float64")
def test_known_answer_against_numpy(block_world: BlockWorld) -> None:
    """A ridge regression of the vectors around their mean on the features of all modalities side by side."""
    data = with_new_items(block_world, THREE)
    backbone = IALS(data, **SMALL)
    backbone.fit(data)
    warm, vectors = history_of(data).any(0), backbone.items.numpy()
    shares = {"audio": 0.125, "image": 0.25, "text": 0.625}
    x = np.concatenate([(2.0 * share) ** 0.5 * directions_of(data, name) for name, share in shares.items()], axis=1)
    mean = vectors[warm].mean(0)
    slope = np.linalg.solve(x[warm].T @ x[warm] + 3.0 * np.eye(x.shape[1]), x[warm].T @ (vectors[warm] - mean))
    predicted = mean + x @ slope
    settings = {"reg_weight": 3.0, "content_weight": 2.0, "modality_weights": {"audio": 0.5, "text": 2.5}}
    everything = fitted(data, mapped="all", **settings)
    np.testing.assert_allclose(everything.items, predicted, rtol=0, atol=1e-12)
    new = fitted(data, **settings)
    np.testing.assert_allclose(new.items, np.where(warm[:, None], vectors, predicted), rtol=0, atol=1e-12)
    users = torch.tensor([5, 0, 5])
    assert torch.equal(new.score(users), backbone.users[users] @ new.items.T)


@pytest.mark.parametrize("names", [(), THREE])
def test_without_content_new_items_tie_for_every_user(block_world: BlockWorld, names: tuple[str, ...]) -> None:
    data = with_new_items(block_world, names)
    model = fitted(data, content_weight=0.0 if names else 1.0)
    assert (model.items[list(COLD)] == model.items[COLD[0]]).all()
    scores = model.score(torch.arange(data.n_users))[:, COLD]
    assert torch.equal(scores, scores[:, :1].expand_as(scores))


def test_impossible_settings(block_world: BlockWorld) -> None:
    data = block_world.data(THREE)
    for wrong, message in [
        ({"mapped": "warm"}, r"mapped='warm' must be one of cold, all"),
        ({"mf_reg_weight": 0.0}, r"must be positive, else the least squares have no unique solution"),
        ({"reg_weight": -1.0}, r"reg_weight=-1\.0 must be a positive number"),
    ]:
        with pytest.raises(ValueError, match=message):
            AttributeMap(data, **wrong)


def test_only_wide_features_need_all_pairs_of_items(block_world: BlockWorld) -> None:
    data = block_world.data(("text",))
    object.__setattr__(data, "n_items", 200_000)
    AttributeMap(data)
    data.features["text"] = torch.empty(0, 4096)  # copies of the features alone
    with pytest.raises(ValueError, match=r"AttributeMap needs 19\.7 GB for 200,000 items, more than max_memory_gb=8"):
        AttributeMap(data)
    AttributeMap(data, max_memory_gb=20.0)
    data.features["text"] = torch.empty(0, 100_000)
    with pytest.raises(ValueError, match=r"AttributeMap needs 1440\.0 GB for 200,000 items, more than max_memory_gb=8"):
        AttributeMap(data)
