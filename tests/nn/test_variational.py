from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from mmbench.nn.graph import SelfLoopedMean
from mmbench.nn.variational import GaussianEncoder, MappedTable, product_of_experts, standard_divergence

N, DIM = 12, 5
Gaussian = tuple[torch.Tensor, torch.Tensor]

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture
def experts() -> list[Gaussian]:
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(3, 2, N, DIM, generator=generator)
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
    unsure = (torch.full((N, DIM), 7.0), torch.full((N, DIM), 40.0))
    torch.testing.assert_close(product_of_experts(experts[0], unsure), experts[0])


def test_experts_that_all_know_nothing_give_finite_numbers() -> None:
    unsure = [(torch.full((N, DIM), value, dtype=torch.float32), torch.full((N, DIM), 500.0)) for value in (1.0, 3.0)]
    mean, log_variance = product_of_experts(*((m, lv.float()) for m, lv in unsure))
    torch.testing.assert_close(mean, torch.full((N, DIM), 2.0, dtype=torch.float32))
    assert torch.isfinite(log_variance).all()


def test_divergence_against_distributions(experts: list[Gaussian]) -> None:
    mean, log_variance = experts[0]
    expected = kl_divergence(Normal(mean, torch.exp(log_variance / 2)), Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(standard_divergence(mean, log_variance), expected)


def test_encoder_gives_a_gaussian_of_every_node() -> None:
    edges = torch.tensor([[0, 0, 1, 2], [0, 1, 1, 3]])
    encoder = GaussianEncoder(_Ego(), 6, DIM, 2, 0.0)
    mean, log_variance = encoder(SelfLoopedMean(edges, 5, 7))
    assert mean.shape == log_variance.shape == (N, DIM)
    assert [layer.convolution.in_features for layer in encoder.hidden] == [6, DIM]


class _Ego(nn.Module):
    def forward(self) -> torch.Tensor:
        return torch.ones(N, 6)


def test_initial_laws() -> None:
    """Xavier's normal law of every weight and of the table, the usual uniform law of biases."""
    torch.manual_seed(0)
    encoder = GaussianEncoder(MappedTable(300, 64, 128), 128, 64, 1, 0.0)
    for name, parameter in encoder.named_parameters():
        if name.endswith("bias"):
            continue
        spread = (2.0 / sum(parameter.shape)) ** 0.5
        assert parameter.std().item() == pytest.approx(spread, rel=0.05), name
        assert parameter.abs().max().item() > 2.5 * spread, name


def test_a_table_that_is_not_trained_is_still_stored() -> None:
    module = MappedTable(4, 3, 2, trained=False)
    assert "table" in module.state_dict()
    assert "table" not in dict(module.named_parameters())


def test_layers_are_checked() -> None:
    with pytest.raises(ValueError, match=r"n_layers=0 hidden layers must be at least 1"):
        GaussianEncoder(_Ego(), 6, DIM, 0, 0.0)
