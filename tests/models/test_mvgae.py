"""MVGAE and what the reference makes of it against the equations, also where the reference crashes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from mmbench.data.recdata import RecData
from mmbench.models.mvgae import MVGAE, GaussianEncoder, LinearItemTable, product_of_experts, standard_divergence
from mmbench.nn.recommender import Triplets
from tests.conftest import BlockWorld
from tests.models import dense
from tests.models.test_contract import CONDITIONS

pytestmark = pytest.mark.usefixtures("float64")
WIDTH, HIDDEN, BETA = 6, 9, 0.3
Gaussian = tuple[Tensor, Tensor]


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.01 * x)


def encoded(p: dict[str, Tensor], data: RecData, name: str, n_layers: int) -> Gaussian:
    """Mean and log-variance of one encoder."""
    prefix, r = f"encoders.{name}", dense.interactions(data)
    mean_graph = torch.eye(data.n_users + data.n_items)
    mean_graph[: data.n_users, data.n_users :], mean_graph[data.n_users :, : data.n_users] = r, r.T
    mean_graph = mean_graph / mean_graph.sum(1, keepdim=True)

    def layer(which: str, x: Tensor) -> Tensor:
        bias = p[f"{prefix}.{which}.convolution.bias"]
        y = dense.unit(mean_graph @ (x @ p[f"{prefix}.{which}.convolution.weight"].T) + bias)
        return dense.linear(p, f"{prefix}.{which}.linear", leaky(y))

    raw = p[f"{prefix}.ego.items.table"] if name == "table" else data.features[name.removeprefix("content_")]
    items = dense.linear(p, f"{prefix}.ego.items.layers", raw)
    x = dense.unit(torch.cat([p[f"{prefix}.ego.preference"], items]))
    for number in range(n_layers):
        x = leaky(layer(f"hidden.{number}", x))
    mu, log_variance = (
        layer(f"heads.{head}", x) + leaky(dense.linear(p, f"{prefix}.skips.{head}", x))
        for head in ("mean", "log_variance")
    )
    return mu, log_variance


def weights_of(data: RecData, c: float) -> dict[str, float]:
    """By encoder; the table and what is fused weigh 1."""
    a = dense.weights_of(data, weighed=c != 1.0)
    return {**{f"content_{name}": c * weight for name, weight in a.items()}, "table": 1.0, "fused": 1.0}


def all_gaussians(p: dict[str, Tensor], data: RecData, n_layers: int, c: float) -> dict[str, Gaussian]:
    """The precision of each counts as often as it weighs."""
    names = [*(f"content_{name}" for name in data.features), "table"]
    gaussians, weights = {name: encoded(p, data, name, n_layers) for name in names}, weights_of(data, c)
    mu, log_variance = gaussians[names[0]]
    log_variance = log_variance - math.log(weights[names[0]])
    for name in names[1:]:
        other = gaussians[name][1] - math.log(weights[name])
        precision = [1 / (lv.exp() + 1e-8) for lv in (log_variance, other)]
        mu = (mu * precision[0] + gaussians[name][0] * precision[1]) / sum(precision)
        log_variance = -torch.log(sum(precision))
    return {"fused": (mu, log_variance), **gaussians}


def expected_loss(
    p: dict[str, Tensor],
    data: RecData,
    batch: Triplets,
    noise: dict[str, Tensor],
    n_layers: int,
    as_reference: bool,
    c: float,
) -> Tensor:
    loss, weights = torch.zeros(()), weights_of(data, c)
    for name, (mu, log_variance) in all_gaussians(p, data, n_layers, c).items():
        log_variance = log_variance.clamp(max=10)
        z = torch.sigmoid(mu + 0.1 * noise[name] * torch.exp(log_variance / 2))
        user = z[batch.users]
        if as_reference:  # items without the offset are users; everybody's hardest negative; one more sigmoid
            liked = torch.sigmoid((user * z[batch.positives]).sum(1))
            other = torch.sigmoid((user @ z[batch.negatives].T).max(1).values)
        else:
            items = z[data.n_users :]
            liked, other = ((user * items[rows]).sum(1) for rows in (batch.positives, batch.negatives))
        loss = loss - weights[name] * (torch.log(torch.sigmoid(liked - other)) / math.log(2)).sum()
        loss = loss - weights[name] * BETA / 2 * (1 + log_variance - mu**2 - log_variance.exp()).sum(1).mean()
    return loss


@pytest.mark.parametrize("c", [1.0, dense.CONTENT_WEIGHT])
@pytest.mark.parametrize("as_reference", [False, True])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_against_the_equations(condition: str, as_reference: bool, c: float, block_world: BlockWorld) -> None:
    data = dense.with_gaps(block_world.data(CONDITIONS[condition]))
    batch = dense.batch_of(data)
    n_layers = 2 if condition == "fused" else 1
    model = MVGAE(
        data,
        embedding_dim=WIDTH,
        feature_dim=HIDDEN,
        n_layers=n_layers,
        dropout=0.0,
        beta=BETA,
        as_reference=as_reference,
        **({} if c == 1.0 else {"content_weight": c, **dense.MODALITY_WEIGHTS}),
    )
    p = dense.parameters_of(model)
    constants = {name for name, _ in model.named_buffers() if name.endswith(("preference", "items.table"))}
    assert bool(constants) == as_reference, "users and the item table are trained by default only"
    p |= dict(model.named_buffers())
    shape = (data.n_users + data.n_items, WIDTH)
    names = ["fused", *(f"content_{name}" for name in data.features), "table"]
    noise = dense.freeze(model, dict.fromkeys(names, shape), torch.randn)

    def final() -> list[Tensor]:
        mu, _ = all_gaussians(p, data, n_layers, c)["fused"]
        return list(torch.sigmoid(mu).split([data.n_users, data.n_items]))

    dense.agree(model, batch, lambda: expected_loss(p, data, batch, noise, n_layers, as_reference, c), final)


def test_log_variance_is_limited(block_world: BlockWorld) -> None:
    """A variance that runs away keeps the loss finite."""
    data = block_world.data(())
    model = MVGAE(data, embedding_dim=WIDTH).train()
    with torch.no_grad():
        model.encoders["table"].heads["log_variance"].linear.bias.fill_(1e3)
    assert all(torch.isfinite(term) for term in model.loss(dense.batch_of(data)).values())


def test_the_constants_of_the_reference_are_part_of_the_state(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["text"])
    torch.manual_seed(0)
    model, other = (MVGAE(data, embedding_dim=WIDTH, as_reference=True).eval() for _ in range(2))
    users = torch.arange(data.n_users)
    assert not torch.equal(model.score(users), other.score(users))
    other.train().load_state_dict(model.state_dict())
    assert torch.equal(model.score(users), other.eval().score(users))


def test_users_and_items_get_their_own_noise_in_every_step(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["text"])
    batch = dense.batch_of(data)
    model = MVGAE(data, embedding_dim=WIDTH, dropout=0.0).train()
    first, second = model.loss(batch), model.loss(batch)
    assert all(first[name] != second[name] for name in first if name.startswith("reconstruction"))
    assert all(first[name] == second[name] for name in first if name.startswith("kl"))


def test_layers_are_checked(block_world: BlockWorld) -> None:
    with pytest.raises(ValueError, match=r"n_layers=0 must be a whole number of at least 1"):
        MVGAE(block_world.data(()), n_layers=0)


N_NODES, DIM = 12, 5


@pytest.fixture
def experts() -> list[Gaussian]:
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(3, 2, N_NODES, DIM, generator=generator)
    return [(mean, log_variance) for mean, log_variance in draws]


def test_product_of_experts_is_the_product_of_densities(experts: list[Gaussian]) -> None:
    """The sum of log-densities differs from the log-density of the product by a constant."""
    mean, log_variance = product_of_experts(*experts)
    points = torch.linspace(-3, 3, 7).view(-1, 1, 1)

    def density(m: torch.Tensor, lv: torch.Tensor) -> torch.Tensor:
        return Normal(m, torch.exp(lv / 2)).log_prob(points)

    difference = sum(density(*expert) for expert in experts) - density(mean, log_variance)
    torch.testing.assert_close(difference, difference[:1].expand_as(difference), rtol=0, atol=1e-4)


def test_one_expert_stays(experts: list[Gaussian]) -> None:
    assert all(a is b for a, b in zip(product_of_experts(experts[0]), experts[0], strict=True))


def test_an_expert_that_knows_nothing_changes_nothing(experts: list[Gaussian]) -> None:
    unsure = (torch.full((N_NODES, DIM), 7.0), torch.full((N_NODES, DIM), 40.0))
    torch.testing.assert_close(product_of_experts(experts[0], unsure), experts[0])


def test_experts_that_all_know_nothing_give_finite_numbers() -> None:
    unsure = [
        (torch.full((N_NODES, DIM), value, dtype=torch.float32), torch.full((N_NODES, DIM), 500.0))
        for value in (1.0, 3.0)
    ]
    mean, log_variance = product_of_experts(*((m, lv.float()) for m, lv in unsure))
    torch.testing.assert_close(mean, torch.full((N_NODES, DIM), 2.0, dtype=torch.float32))
    assert torch.isfinite(log_variance).all()


def test_divergence_against_distributions(experts: list[Gaussian]) -> None:
    mean, log_variance = experts[0]
    expected = kl_divergence(Normal(mean, torch.exp(log_variance / 2)), Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(standard_divergence(mean, log_variance), expected)


def test_initial_laws() -> None:
    """Xavier's normal law of every weight and of the table, the usual uniform law of biases."""
    torch.manual_seed(0)
    encoder = GaussianEncoder(LinearItemTable(300, 64, 128), 128, 64, 1, 0.0)
    for name, parameter in encoder.named_parameters():
        if name.endswith("bias"):
            continue
        assert_xavier_normal(name, parameter)


@pytest.mark.parametrize("as_reference", [False, True])
def test_initial_laws_of_two_layers(as_reference: bool, block_world: BlockWorld) -> None:
    """The second hidden layer of the reference maps by torch's own law, all others by Xavier's normal one."""
    torch.manual_seed(0)
    model = MVGAE(block_world.data(("image",)), n_layers=2, as_reference=as_reference)
    for encoder in model.encoders.values():
        layers = {**dict(encoder.hidden.named_children()), **dict(encoder.heads.named_children())}
        assert len(layers) == 4
        for name, layer in layers.items():
            assert_xavier_normal(name, layer.convolution.weight)
            if as_reference and name == "1":
                bound = 64**-0.5
                assert 0.95 * bound < layer.linear.weight.abs().max().item() <= bound
                assert layer.linear.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
            else:
                assert_xavier_normal(name, layer.linear.weight)


def assert_xavier_normal(name: str, weight: torch.Tensor) -> None:
    spread = (2.0 / sum(weight.shape)) ** 0.5
    assert weight.std().item() == pytest.approx(spread, rel=0.05), name
    assert weight.abs().max().item() > 2.5 * spread, name
