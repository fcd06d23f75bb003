from __future__ import annotations

import numpy as np
import pytest
import torch

from mmbench.models.addease import AddEASE
from mmbench.models.ease import EASE
from tests.conftest import BlockWorld
from tests.models.test_cease import THREE, weights_of
from tests.regressions import directions_of, history_of, on_others, with_new_items

BETA = {"audio": 0.05, "image": 0.1, "text": 0.25}


@pytest.mark.usefixtures("float64")
def test_known_answer_against_constrained_regressions(block_world: BlockWorld) -> None:
    data = with_new_items(block_world, THREE)
    history = history_of(data)
    warm = history.any(0)
    expected = 0.6 * on_others(history, 3.0, warm)
    expected += sum(beta * on_others(directions_of(data, name).T, 0.7, warm) for name, beta in BETA.items())
    relative = {"audio": 0.5, "text": 2.5}
    penalties = {"reg_weight": 3.0, "content_reg_weight": 0.7}
    ours = weights_of(AddEASE, data, **penalties, content_weight=0.4, modality_weights=relative)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("names", [(), THREE])
def test_without_content_or_its_weight_it_is_ease(block_world: BlockWorld, names: tuple[str, ...]) -> None:
    data = with_new_items(block_world, names)
    ours = weights_of(AddEASE, data, reg_weight=7.0, content_weight=0.0 if names else 0.2)
    assert torch.equal(ours, weights_of(EASE, data, reg_weight=7.0))


def test_impossible_settings(block_world: BlockWorld) -> None:
    data = block_world.data(THREE)
    for wrong, message in [
        ({"content_weight": 1.5}, r"content_weight=1\.5 must lie between 0 and 1"),
        ({"content_reg_weight": 0.0}, r"content_reg_weight=0\.0 must be a positive number"),
    ]:
        with pytest.raises(ValueError, match=message):
            AddEASE(data, **wrong)
    object.__setattr__(data, "n_items", 50_000)
    with pytest.raises(ValueError, match=r"AddEASE needs 120\.0 GB for 50,000 items, more than max_memory_gb=8"):
        AddEASE(data)
    with pytest.raises(ValueError, match=r"AddEASE needs 60\.0 GB"):
        AddEASE(data, content_weight=0.0)
