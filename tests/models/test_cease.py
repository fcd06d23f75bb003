from __future__ import annotations

import numpy as np
import pytest
import torch

from mmbench.models.cease import CEASE
from mmbench.models.ease import EASE
from tests.conftest import BlockWorld
from tests.regressions import directions_of, history_of, on_others, with_new_items

THREE = ("audio", "image", "text")
SHARES = {"audio": 0.125, "image": 0.25, "text": 0.625}


def weights_of(model_class, data, **hyper_parameters) -> torch.Tensor:
    model = model_class(data, **hyper_parameters)
    model.fit(data)
    return model.weights


@pytest.mark.usefixtures("float64")
def test_known_answer_against_constrained_regressions(block_world: BlockWorld) -> None:
    """Rows of the regression are users and dimensions of features; new items have the latter alone."""
    data = with_new_items(block_world, THREE)
    features = np.concatenate([(4.0 * SHARES[name]) ** 0.5 * directions_of(data, name).T for name in THREE])
    warm = history_of(data).any(0)
    expected = on_others(np.concatenate([history_of(data), features]), 3.0, warm)
    expected[:, ~warm] = on_others(features, 3.0, warm)[:, ~warm]
    relative = {"audio": 0.5, "text": 2.5}
    ours = weights_of(CEASE, data, reg_weight=3.0, content_weight=4.0, modality_weights=relative)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("names", [(), THREE])
def test_without_content_or_its_weight_it_is_ease(block_world: BlockWorld, names: tuple[str, ...]) -> None:
    data = with_new_items(block_world, names)
    ours = weights_of(CEASE, data, reg_weight=7.0, content_weight=0.0 if names else 10.0)
    assert torch.equal(ours, weights_of(EASE, data, reg_weight=7.0))


def test_too_many_items_are_refused_before_anything_is_allocated(block_world: BlockWorld) -> None:
    data = block_world.data(THREE)
    object.__setattr__(data, "n_items", 50_000)
    with pytest.raises(ValueError, match=r"CEASE needs 80\.0 GB for 50,000 items, more than max_memory_gb=8"):
        CEASE(data)
