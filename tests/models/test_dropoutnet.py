"""DropoutNet against its equations, also without any and with three modalities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.dropoutnet import DropoutNet, standardised
from mmbench.models.ials import IALS
from mmbench.nn.recommender import Triplets
from tests.conftest import BlockWorld
from tests.models import dense
from tests.models.test_contract import CONDITIONS, train
from tests.regressions import COLD, directions_of, with_new_items

pytestmark = pytest.mark.usefixtures("float64")
SMALL = {"embedding_dim": 5, "hidden_dim": 7, "second_hidden_dim": 6, "n_sweeps": 4}
WEIGHTS: dict[str, Any] = {"content_weight": dense.CONTENT_WEIGHT, **dense.MODALITY_WEIGHTS}
THREE = ("audio", "image", "text")


def parameters_of(model: DropoutNet) -> dict[str, Tensor]:
    """Parameters that are far from their start, where the towers are almost linear and all alike."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return dict(model.named_parameters())


def normalised(p: dict[str, Tensor], name: str, rows: Tensor, given: tuple[Tensor, Tensor] | None = None) -> Tensor:
    mean, variance = given or (rows.mean(0), rows.var(0, unbiased=False))
    return p[f"{name}.weight"] * (rows - mean) / (variance + 1e-3) ** 0.5 + p[f"{name}.bias"]


def tower(p: dict[str, Tensor], name: str, rows: Tensor, content: Tensor | None = None) -> Tensor:
    """A tower in training."""
    hidden = dense.linear(p, f"{name}.first", rows)
    if content is not None and content.shape[1]:
        hidden = hidden + content @ p["content_map.weight"].T
    hidden = dense.linear(p, f"{name}.second", torch.tanh(normalised(p, f"{name}.norms.0", hidden)))
    return dense.linear(p, f"{name}.output", torch.tanh(normalised(p, f"{name}.norms.1", hidden)))


def scaled(table: Tensor) -> Tensor:
    known = table.abs().sum(1) > 0
    mean, sd = table[known].mean(0), table[known].var(0, unbiased=False) ** 0.5
    return torch.where(known[:, None], (table - mean) / sd, 0.0).clamp(-5, 5)


def batch_of(data: RecData) -> Triplets:
    """Some pairs, with negatives that have been bought."""
    users, positives = data.edge_index[:, ::3]
    return Triplets(users, positives, data.edge_index[1].flip(0)[: len(users)])


@pytest.mark.parametrize("as_reference", [False, True])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_against_the_equations(condition: str, as_reference: bool, block_world: BlockWorld) -> None:
    """The reference takes raw features, and the vectors of the factorisation as they are."""
    data = with_new_items(block_world, CONDITIONS[condition])
    backbone = IALS(data, embedding_dim=5, n_sweeps=4)
    backbone.fit(data)
    model = DropoutNet(data, **SMALL, **WEIGHTS, dropout=0.45, as_reference=as_reference).train()
    weights = {name: dense.CONTENT_WEIGHT * a for name, a in dense.weights_of(data).items()}
    raw = {name: values.double() for name, values in data.features.items()}
    used = raw if as_reference else {name: torch.from_numpy(directions_of(data, name)) for name in raw}
    x = torch.cat([torch.empty(data.n_items, 0), *(weights[name] * rows for name, rows in used.items())], dim=1)
    torch.testing.assert_close(model.content, x, rtol=0, atol=1e-12)

    p, batch = parameters_of(model), batch_of(data)
    users, items = (p["user_embedding"], p["item_embedding"]) if as_reference else (backbone.users, backbone.items)
    inputs = (users, items) if as_reference else (scaled(users), scaled(items))
    size = len(batch.users)
    generator, expected = torch.Generator().manual_seed(0), []
    for name, chosen in (("positive", batch.positives), ("negative", batch.negatives)):
        rows = torch.randperm(size, generator=generator)[: int(0.45 * size)]
        setattr(model.noise, name, rows)
        kept = torch.ones(size, 1)
        kept[rows] = 0.0
        user = tower(p, "user_tower", inputs[0][batch.users])
        item = tower(p, "item_tower", kept * inputs[1][chosen], x[chosen])
        target = (users[batch.users] * items[chosen]).sum(1)
        expected.append(((user * item).sum(1) - target).square().sum())
    loss = model.loss(batch)["mse"]
    torch.testing.assert_close(loss, sum(expected) / (2 * size), rtol=1e-10, atol=0)
    own = torch.autograd.grad(loss, list(p.values()))
    other = torch.autograd.grad(sum(expected) / (2 * size), list(p.values()))
    for name, ours, theirs in zip(p, own, other, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-12, msg=name)


def test_running_statistics_and_what_ranks(block_world: BlockWorld) -> None:
    """A hundredth of each of the two passes' statistics; ranking uses them, and drops nothing."""
    data = with_new_items(block_world, THREE)
    model = DropoutNet(data, **SMALL, dropout=0.0).train()
    p, batch, mean, variance = parameters_of(model), batch_of(data), torch.zeros(7), torch.ones(7)
    model.loss(batch)
    for chosen in (batch.positives, batch.negatives):
        rows = dense.linear(p, "item_tower.first", model.item_input[chosen])
        rows = rows + model.content[chosen] @ p["content_map.weight"].T
        mean, variance = 0.99 * mean + 0.01 * rows.mean(0), 0.99 * variance + 0.01 * rows.var(0)
    norm = model.item_tower.norms[0]
    torch.testing.assert_close((norm.running_mean, norm.running_var), (mean, variance))
    of_users, norm = dense.linear(p, "user_tower.first", model.user_input[batch.users]), model.user_tower.norms[0]
    kept = 0.99**2  # both passes are of the same rows
    expected = (1 - kept) * of_users.mean(0), kept + (1 - kept) * of_users.var(0)
    torch.testing.assert_close((norm.running_mean, norm.running_var), expected)

    model.eval()
    hidden = dense.linear(p, "item_tower.first", model.item_input) + model.content @ p["content_map.weight"].T
    hidden = torch.tanh(normalised(p, "item_tower.norms.0", hidden, (mean, variance)))
    hidden = dense.linear(p, "item_tower.second", hidden)
    second = model.item_tower.norms[1]
    hidden = normalised(p, "item_tower.norms.1", hidden, (second.running_mean, second.running_var))
    torch.testing.assert_close(model()[1], dense.linear(p, "item_tower.output", torch.tanh(hidden)))


@pytest.mark.parametrize("condition", CONDITIONS)
def test_new_items_are_known_by_their_content_alone(condition: str, block_world: BlockWorld) -> None:
    data = with_new_items(block_world, CONDITIONS[condition])
    model = DropoutNet(data, **SMALL)
    train(model, data, 5)
    cold = list(COLD)
    assert not model.item_input[cold].any()
    assert model.item_input.any(1).sum() == data.n_items - len(cold)
    items = model()[1][cold]
    assert bool((items == items[0]).all()) == (condition == "none")


def test_a_batch_of_one_row_trains_by_the_running_statistics(block_world: BlockWorld) -> None:
    data = with_new_items(block_world, ("text",))
    model = DropoutNet(data, **SMALL).train()
    one = Triplets(*(rows[:1] for rows in (data.edge_index[0], data.edge_index[1], data.edge_index[1].flip(0))))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loss = model.loss(one)["mse"]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    users, items = model.eval()()
    pairs = [(users[one.users] * items[chosen]).sum() for chosen in (one.positives, one.negatives)]
    targets = [(model.user_target[one.users] * model.item_target[c]).sum() for c in (one.positives, one.negatives)]
    expected = sum((pair - target) ** 2 for pair, target in zip(pairs, targets, strict=True)) / 2
    torch.testing.assert_close(loss, expected)


def test_known_answer_of_standardised_columns() -> None:
    table = np.zeros((104, 2))
    table[1:101, 0] = np.tile([1.0, 3.0], 50)
    table[101, 0], table[1:102, 1] = 1002.0, 4.0
    result = standardised(torch.from_numpy(table))
    known = table[1:102, 0]
    expected = (known - known.mean()) / known.std()
    assert expected[-1] > 9.0
    np.testing.assert_allclose(result[1:101, 0], expected[:-1])
    assert float(result[101, 0]) == 5.0
    assert not result[:, 1].any()  # a constant column says nothing
    assert not result[[0, 102, 103]].any()
    nearly = torch.tensor([[-1.0], [1.0], [1e-6], [-1e-6]])
    assert standardised(nearly)[2:].tolist() == [[0.0], [0.0]]


def test_impossible_settings(block_world: BlockWorld) -> None:
    data = block_world.data(("text",))
    for wrong, message in [
        ({"dropout": 1.0}, r"dropout=1\.0 must be at least 0 and less than 1"),
        ({"mf_reg_weight": 0.0}, r"must be positive, else the least squares have no unique solution"),
        ({"content_weight": -1.0}, r"content_weight=-1\.0 must be a number of at least 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            DropoutNet(data, **wrong)
