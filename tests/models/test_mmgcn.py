"""MMGCN against its equations; the goldens hold the reference, whose tables of users and IDs are never trained."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.mmgcn import MMGCN
from tests.conftest import BlockWorld
from tests.models import dense
from tests.models.test_contract import CONDITIONS

pytestmark = pytest.mark.usefixtures("float64")
REG = 0.7


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.01 * x)


def neighbour_mean(data: RecData) -> Tensor:
    edges = (dense.normalised(dense.interactions(data)) > 0).double()
    return edges / edges.sum(1, keepdim=True).clamp_min(1.0)


def factors(p: dict[str, Tensor], data: RecData, n_layers: int, weighed: bool) -> tuple[Tensor, Tensor]:
    """Users and items."""
    a = dense.weights_of(data, weighed=weighed)
    mean, ids, outputs = neighbour_mean(data), p["id_embedding"], []
    for name in data.features or ["free"]:
        tower = f"branches.{name}.tower"
        known = name in data.features
        items = dense.linear(p, f"{tower}.items.layers", data.features[name]) if known else p[f"{tower}.items.table"]
        x = dense.unit(torch.cat([p[f"{tower}.preference"], items]))
        for number in range(n_layers):
            layer = f"branches.{name}.layers.{number}"
            message = leaky(mean @ x @ p[f"{layer}.message"])
            own = leaky(dense.linear(p, f"{layer}.own", x)) + ids
            x = leaky(dense.linear(p, f"{layer}.combine", torch.cat([message, own], 1)))
        outputs.append(a.get(name, 1.0) * x)
    z = sum(outputs[1:], outputs[0]) / len(outputs)
    return z[: data.n_users], z[data.n_users :]


def expected_loss(p: dict[str, Tensor], data: RecData, n_layers: int, weighed: bool) -> Callable[[], Tensor]:
    batch, ids = dense.batch_of(data), p["id_embedding"]

    def loss() -> Tensor:
        users, items = factors(p, data, n_layers, weighed)
        penalty = ids[batch.users].square().mean()
        for rows in (batch.positives, batch.negatives):
            penalty = penalty + ids[data.n_users + rows].square().mean() / 2
        for name in data.features or ["free"]:
            penalty = penalty + p[f"branches.{name}.tower.preference"].square().mean()
        return dense.bpr(users[batch.users], items[batch.positives], items[batch.negatives]) + REG * penalty

    return loss


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("n_layers", [1, 3])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_default_against_the_equations(condition: str, n_layers: int, weighed: bool, block_world: BlockWorld) -> None:
    """Every modality is projected, every table is trained and penalised."""
    data = dense.with_gaps(block_world.data(CONDITIONS[condition]))
    weights = dense.MODALITY_WEIGHTS if weighed else {}
    model = MMGCN(data, embedding_dim=6, content_dim=5, n_layers=n_layers, reg_weight=REG, **weights)
    p = dense.parameters_of(model)
    loss = expected_loss(p, data, n_layers, weighed)
    dense.agree(model, dense.batch_of(data), loss, lambda: factors(p, data, n_layers, weighed))


def test_reference_keeps_its_tables_and_projects_images_only(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["fused"])
    model = MMGCN(data, as_reference=True)
    trained, constant = dict(model.named_parameters()), dict(model.named_buffers())
    tables = {"id_embedding", "branches.image.tower.preference", "branches.text.tower.preference"}
    assert tables <= set(constant)
    assert not tables & set(trained)
    assert tables <= set(model.state_dict())
    assert [name for name in trained if "items.layers" in name] == [
        "branches.image.tower.items.layers.weight",
        "branches.image.tower.items.layers.bias",
    ]
    assert constant["branches.text.tower.preference"].shape == (data.n_users, data.features["text"].shape[1])
    assert not model.loss(dense.batch_of(data))["reg"].requires_grad


def test_default_is_the_reference_where_no_defect_acts(block_world: BlockWorld) -> None:
    """Bit for bit before the first step, with images only."""
    data = block_world.data(CONDITIONS["image"])
    dense.same_bits(MMGCN, data, dense.batch_of(data), {}, {"content_dim": 8, "as_reference": True})


def test_no_layer_is_no_model(block_world: BlockWorld) -> None:
    with pytest.raises(ValueError, match="n_layers=0 must be a whole number of at least 1"):
        MMGCN(block_world.data(()), n_layers=0)
