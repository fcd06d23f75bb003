"""DualGNN against its equations; the goldens hold the reference, in which a sum overwrites the first tower."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.dualgnn import DualGNN
from tests.conftest import BlockWorld
from tests.models import dense
from tests.models.test_contract import CONDITIONS

pytestmark = pytest.mark.usefixtures("float64")
REG = 0.7


def factors(p: dict[str, Tensor], data: RecData, weighed: bool) -> tuple[Tensor, Tensor]:
    """Users and items; every user that shares an item is a neighbour."""
    a = [*dense.weights_of(data, weighed=weighed).values()] or [1.0]
    outputs = [weight * output for weight, output in zip(a, dense.hops_of_towers(p, data), strict=True)]
    users = [output[: data.n_users] for output in outputs]
    items = [output[data.n_users :] for output in outputs]
    if len(users) > 1:
        users = [p["user_weights"][:, [m]] * user for m, user in enumerate(users)]
    blended = sum(users[1:], users[0])
    return blended + dense.user_graph(data) @ blended, sum(items[1:], items[0])


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_default_against_the_equations(condition: str, weighed: bool, block_world: BlockWorld) -> None:
    data = dense.with_gaps(block_world.data(CONDITIONS[condition]))
    batch = dense.batch_of(data)
    weights = dense.MODALITY_WEIGHTS if weighed else {}
    model = DualGNN(data, embedding_dim=6, hidden_dim=5, reg_weight=REG, **weights)
    p = dense.parameters_of(model)
    assert ("user_weights" in p) == (len(data.features) > 1)

    def loss() -> Tensor:
        users, items = factors(p, data, weighed)
        penalised = [p[f"towers.{name}.preference"][batch.users] for name in data.features or ["free"]]
        penalised += [p["user_weights"]] if "user_weights" in p else []
        penalty = torch.stack([rows.square().mean() for rows in penalised]).sum()
        bits = dense.bpr(users[batch.users], items[batch.positives], items[batch.negatives]) / math.log(2)
        return bits + REG * penalty

    dense.agree(model, batch, loss, lambda: factors(p, data, weighed))


def test_padding_is_for_training_of_the_reference_only(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["fused"])
    users = torch.arange(data.n_users)
    for as_reference in (False, True):
        torch.manual_seed(0)
        model = DualGNN(data, as_reference=as_reference).eval()
        ranked, trained = model.score(users), []
        for _ in range(2):
            model.begin_epoch()
            trained.append(model.train().score(users))
            assert torch.equal(model.eval().score(users), ranked)
        assert torch.equal(*trained) == (not as_reference)
        assert torch.equal(trained[0], ranked) == (not as_reference)


def test_weights_sum_to_one_at_first(block_world: BlockWorld) -> None:
    weights = DualGNN(block_world.data(CONDITIONS["three"])).user_weights
    assert weights is not None
    torch.testing.assert_close(weights.sum(1), torch.ones(len(weights)))
    assert (weights > 0).all()
