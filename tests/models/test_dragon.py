"""DRAGON against its equations; the goldens hold the reference, which pads short lists of users at random."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.dragon import DRAGON
from tests.conftest import BlockWorld
from tests.models import dense
from tests.models.test_contract import CONDITIONS

pytestmark = pytest.mark.usefixtures("float64")
REG, K = 0.7, 4


def item_graph(data: RecData) -> Tensor:
    """With the shares of ``dense.MODALITY_WEIGHTS``."""
    graph = torch.zeros(data.n_items, data.n_items)
    for name, weight in dense.weights_of(data).items():
        graph += weight / len(data.features) * dense.binary_graph(data.features[name], data.present[name], K)
    return graph


def factors(p: dict[str, Tensor], data: RecData, n_layers: int) -> tuple[Tensor, Tensor]:
    """Users and items; every user that shares an item is a neighbour."""
    outputs = dense.hops_of_towers(p, data)
    weights = p["user_weights"] if len(outputs) > 1 else torch.ones(data.n_users, 1)
    users = torch.cat([weights[:, [m]] * output[: data.n_users] for m, output in enumerate(outputs)], 1)
    items = torch.cat([output[data.n_users :] for output in outputs], 1)
    smoothed = torch.linalg.matrix_power(item_graph(data), n_layers) @ items if data.features else 0.0
    return users + dense.user_graph(data) @ users, items + smoothed


@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_default_against_the_equations(condition: str, n_layers: int, block_world: BlockWorld) -> None:
    data = dense.with_gaps(block_world.data(CONDITIONS[condition]))
    batch = dense.batch_of(data)
    settings = {"k": K, "n_layers": n_layers, "reg_weight": REG, **dense.MODALITY_WEIGHTS}
    model = DRAGON(data, embedding_dim=6, hidden_dim=5, **settings)
    p = dense.parameters_of(model)
    assert ("user_weights" in p) == (len(data.features) > 1)

    def loss() -> Tensor:
        users, items = factors(p, data, n_layers)
        penalised = [p[f"towers.{name}.preference"][batch.users] for name in data.features or ["free"]]
        penalised += [p["user_weights"]] if "user_weights" in p else []
        penalty = torch.stack([rows.square().mean() for rows in penalised]).sum()
        bits = dense.bpr(users[batch.users], items[batch.positives], items[batch.negatives]) / math.log(2)
        return bits + REG * penalty

    dense.agree(model, batch, loss, lambda: factors(p, data, n_layers))


def test_default_is_the_reference_where_no_defect_acts(block_world: BlockWorld) -> None:
    """Bit for bit, as long as no list of users is short."""
    data = block_world.data(CONDITIONS["fused"])
    dense.same_bits(DRAGON, data, dense.batch_of(data), {"k_users": 3}, {"k_users": 3, "as_reference": True})


def test_two_weights_of_one_modality_are_penalised_by_the_reference(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["text"])
    model = DRAGON(data, as_reference=True)
    assert model.user_weights is not None
    assert model.user_weights.shape == (data.n_users, 2)
    terms = model.loss(dense.batch_of(data))
    (gradient,) = torch.autograd.grad(terms["reg"], [model.user_weights])
    torch.testing.assert_close(gradient, 1e-3 * 2 * model.user_weights / model.user_weights.numel())


def test_a_share_of_zero_leaves_a_tower_out_unless_it_is_the_reference(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["fused"])
    models = [DRAGON(data, first_modality_weight=0.0, as_reference=reference) for reference in (False, True)]
    assert [list(model.towers) for model in models] == [["text"], ["image", "text"]]
