from __future__ import annotations

import numpy as np
import pytest
import torch

from mmbench.models.ease import EASE
from mmbench.models.l3ae import L3AE
from tests.conftest import BlockWorld
from tests.models.test_cease import THREE, weights_of
from tests.regressions import directions_of, history_of, on_others, with_new_items


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("content_weight", [0.4, 3.0])  # above 1 the ridge pulls beyond the content solution
def test_known_answer_against_constrained_regressions(block_world: BlockWorld, content_weight: float) -> None:
    """Each column by itself: ridged towards the content solution, which is all there is for new items."""
    data = with_new_items(block_world, THREE)
    history = history_of(data)
    warm = history.any(0)
    kappa = {"audio": 0.125, "image": 0.25, "text": 0.625}
    centre = sum(
        content_weight * share * on_others(directions_of(data, name).T, 0.7, warm) for name, share in kappa.items()
    )
    expected = np.where(warm, on_others(history, 3.0, warm, centre), centre)
    relative = {"audio": 0.5, "text": 2.5}
    penalties = {"reg_weight": 3.0, "content_reg_weight": 0.7}
    ours = weights_of(L3AE, data, **penalties, content_weight=content_weight, modality_weights=relative)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("names", [(), THREE])
def test_without_content_or_its_weight_it_is_ease(block_world: BlockWorld, names: tuple[str, ...]) -> None:
    data = with_new_items(block_world, names)
    ours = weights_of(L3AE, data, reg_weight=7.0, content_weight=0.0 if names else 0.6)
    torch.testing.assert_close(ours, weights_of(EASE, data, reg_weight=7.0), rtol=0, atol=1e-14)


@pytest.mark.usefixtures("float64")
def test_a_large_penalty_leaves_the_content_solution(block_world: BlockWorld) -> None:
    data = with_new_items(block_world, ("text",))
    content = on_others(directions_of(data, "text").T, 10.0, history_of(data).any(0))
    ours = weights_of(L3AE, data, reg_weight=1e9, content_weight=1.0)
    np.testing.assert_allclose(ours, content, rtol=0, atol=1e-6)


def test_impossible_settings(block_world: BlockWorld) -> None:
    data = block_world.data(THREE)
    for wrong, message in [
        ({"content_weight": -1.0}, r"content_weight=-1\.0 must be a number of at least 0"),
        ({"reg_weight": 0.0}, r"reg_weight=0\.0 must be a positive number"),
    ]:
        with pytest.raises(ValueError, match=message):
            L3AE(data, **wrong)
    object.__setattr__(data, "n_items", 50_000)
    with pytest.raises(ValueError, match=r"L3AE needs 120\.0 GB for 50,000 items, more than max_memory_gb=8"):
        L3AE(data)
