"""ContentPopularity against ridge regression on dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmbench.models.contentpopularity import ContentPopularity
from mmbench.nn.content_features import kernel_rows
from tests.conftest import BlockWorld
from tests.models.test_unseen_items import N_ITEMS, UNSEEN, data_of

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("condition", ["text", "fused"])
def test_against_kernel_ridge_regression(condition: str, block_world: BlockWorld) -> None:
    data = data_of(block_world, condition)
    model = ContentPopularity(data, reg_weight=3.0, first_modality_weight=0.4)
    model.fit(data)
    scores = model.score(torch.tensor([7, 0])).numpy()
    assert np.array_equal(scores[0], scores[1]), "one list for everybody"
    rows = kernel_rows(data, {"image": 0.4, "text": 0.6} if condition == "fused" else {"text": 1.0}).numpy()
    known = np.log1p(np.bincount(data.edge_index[1], minlength=N_ITEMS))
    seen = np.setdiff1d(np.arange(N_ITEMS), UNSEEN)
    kernel = rows @ rows.T
    dual = np.linalg.solve(kernel[np.ix_(seen, seen)] + 3.0 * np.eye(len(seen)), known[seen] - known[seen].mean())
    assert scores[0, UNSEEN] == pytest.approx(known[seen].mean() + kernel[np.ix_(UNSEEN, seen)] @ dual, rel=1e-10)
    assert scores[0, seen] == pytest.approx(known[seen], rel=1e-12)
    everything = ContentPopularity(data, reg_weight=3.0, first_modality_weight=0.4, mapped="all")
    everything.fit(data)
    assert everything.score(torch.tensor([0])).numpy()[0] == pytest.approx(
        known[seen].mean() + kernel[:, seen] @ dual, rel=1e-10
    )


def test_errors(block_world: BlockWorld) -> None:
    data = data_of(block_world, "fused")
    with pytest.raises(ValueError, match=r"reg_weight=0 must be"):
        ContentPopularity(data, reg_weight=0)
    with pytest.raises(ValueError, match=r"mapped='none' must be one of cold, all"):
        ContentPopularity(data, mapped="none")
