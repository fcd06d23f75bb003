from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmbench.data.recdata import RecData
from mmbench.models import mmgf
from mmbench.models.mmgf import MMGF
from tests.conftest import BlockWorld
from tests.models.test_cease import THREE, weights_of
from tests.regressions import COLD, history_of, with_new_items

ALPHA, POWER = 0.7, 0.8


def normalised(table: np.ndarray) -> np.ndarray:
    rows, columns = table.sum(1, keepdims=True), table.sum(0)
    return table * np.where(rows > 0, rows, 1) ** -ALPHA * np.where(columns > 0, columns, 1) ** (ALPHA - 1)


def content_graph(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    rows = values[present].astype(float)
    low, median, high = np.quantile(rows, [0.25, 0.5, 0.75], axis=0)
    scaled = (rows - median) / np.where(high > low, high - low, 1)
    table = np.zeros(values.shape)
    table[present] = normalised(scaled - scaled.min())
    return (table @ table.T) ** POWER


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("order", [1, 2, 3])
def test_known_answer_against_numpy(block_world: BlockWorld, order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in blocks of columns and of rows, and with a column that is the same for all items."""
    monkeypatch.setattr(mmgf, "QUANTILE_ENTRIES", 100)
    monkeypatch.setattr(mmgf, "FILTERED_ENTRIES", 100)
    data = with_new_items(block_world, THREE)
    data.features["text"][:, 3] = 2.0
    f = {1: lambda x: x, 2: lambda x: 2 * x - x**2, 3: lambda x: x + 0.1 * (-(x**3) + 10 * x**2 - 29 * x)}[order]
    of_users = normalised(history_of(data))
    graph = (of_users.T @ of_users) ** POWER
    expected = f(graph)
    for name, share in {"audio": 0.125, "image": 0.25, "text": 0.625}.items():
        content = content_graph(data.features[name].numpy(), data.present[name].numpy())
        expected = expected + 0.3 * share * graph.std() / content.std() * f(content)
    settings = {"alpha": ALPHA, "power": POWER, "order": order, "content_weight": 0.3}
    ours = weights_of(MMGF, data, **settings, modality_weights={"audio": 0.5, "text": 2.5})
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12 * abs(expected).max())


def test_items_without_content_or_interactions(block_world: BlockWorld) -> None:
    data = with_new_items(block_world, ("text",))
    nothing = weights_of(MMGF, data, content_weight=0.0)
    assert torch.equal(nothing, weights_of(MMGF, RecData(data.n_users, data.n_items, data.edge_index)))
    assert not nothing[:, COLD].any()
    text = weights_of(MMGF, data, content_weight=0.3)
    assert (text[:, COLD].std(0) > 0).all(), "content ranks what nobody has bought"
    assert torch.equal(text[5], nothing[5]), "without content there is no edge"


def test_a_modality_that_no_item_has_weighs_nothing(block_world: BlockWorld) -> None:
    data = block_world.data(("text",))
    empty = replace(data, present={"text": torch.zeros(data.n_items, dtype=torch.bool)})
    models = [MMGF(given) for given in (empty, block_world.data(()))]
    for model, given in zip(models, (empty, block_world.data(())), strict=True):
        model.fit(given)
    scores = [model.score(torch.arange(data.n_users)) for model in models]
    torch.testing.assert_close(*scores)


def test_constant_features_weigh_nothing(block_world: BlockWorld) -> None:
    data = block_world.data(("text",))
    data.features["text"].fill_(0.1)
    assert torch.equal(weights_of(MMGF, data, content_weight=0.3), weights_of(MMGF, data, content_weight=0.0))


def test_impossible_settings(block_world: BlockWorld) -> None:
    data = block_world.data(THREE)
    for wrong, message in [
        ({"alpha": 1.5}, r"alpha=1\.5 must lie between 0 and 1"),
        ({"power": 0.0}, r"power=0\.0 must be a positive number"),
        ({"order": 4}, r"order=4 must be 1, 2 or 3"),
    ]:
        with pytest.raises(ValueError, match=message):
            MMGF(data, **wrong)
    object.__setattr__(data, "n_items", 50_000)
    with pytest.raises(ValueError, match=r"MMGF needs 60\.0 GB for 50,000 items, more than max_memory_gb=8"):
        MMGF(data)
