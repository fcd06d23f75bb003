"""Parts of variational graph auto-encoders: Gaussian encoders over users and items, and how Gaussians combine."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmbench.messages import Refusal
from mmbench.nn.graph import SelfLoopedMean
from mmbench.nn.init import set_table, xavier_normal

#: Largest log-variance that enters a sample or a divergence.
MAX_LOG_VARIANCE = 10.0
#: Largest log-variance that has an exponential in single precision, with room to spare.
OVERFLOW = 80.0


class MappedTable(nn.Module):
    """A table of item vectors through a linear map, ``(n_items, width)``.

    Args:
        n_items: number of items.
        dim: size of the vectors in the table.
        width: size of the result.
        trained: whether the table is a parameter.
    """

    table: Tensor

    def __init__(self, n_items: int, dim: int, width: int, *, trained: bool = True) -> None:
        super().__init__()
        set_table(self, "table", xavier_normal(torch.empty(n_items, dim)), trained=trained)
        self.layers = nn.Linear(dim, width)

    def forward(self) -> Tensor:
        """Map all items."""
        return self.layers(self.table)


class GraphLayer(nn.Module):
    r"""Graph convolution and a linear map of its result, :math:`V\,\phi(\mathrm{norm}(\bar A x W + b)) + c`.

    :math:`\bar A` averages a node and its neighbours, :math:`\phi` is leaky ReLU; dropout follows the norm.
    """

    def __init__(self, n_inputs: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.convolution, self.linear, self.dropout = nn.Linear(n_inputs, dim), nn.Linear(dim, dim), dropout

    def forward(self, x: Tensor, mean: SelfLoopedMean) -> Tensor:
        """``(n, n_inputs)`` to ``(n, dim)``."""
        # The rows of the mean add up to one, so that the bias may be averaged along.
        y = functional.normalize(mean(self.convolution(x)), dim=1, eps=1e-12)
        return self.linear(functional.leaky_relu(functional.dropout(y, self.dropout, self.training)))


class GaussianEncoder(nn.Module):
    r"""Mean and log-variance of a Gaussian for every user and item (SPEC B §9).

    Each is a :class:`GraphLayer` of the last hidden layer plus :math:`\phi` of a linear map of it.

    Args:
        ego: gives the ego vectors of all nodes, ``(n, width)``.
        width: their size.
        dim: size of the Gaussians and of the hidden layers.
        n_layers: number of hidden layers, at least one.
        dropout: rate after every convolution.
    """

    def __init__(self, ego: nn.Module, width: int, dim: int, n_layers: int, dropout: float) -> None:
        super().__init__()
        if n_layers < 1:
            raise Refusal("n_layers={n_layers} hidden layers must be at least 1", n_layers=n_layers)
        self.ego = ego
        widths = [width] + [dim] * (n_layers - 1)
        self.hidden = nn.ModuleList(GraphLayer(n_inputs, dim, dropout) for n_inputs in widths)
        self.heads = nn.ModuleDict({name: GraphLayer(dim, dim, dropout) for name in ("mean", "log_variance")})
        self.skips = nn.ModuleDict({name: nn.Linear(dim, dim) for name in self.heads})
        for module in self.modules():
            if isinstance(module, nn.Linear):
                xavier_normal(module.weight)

    def forward(self, mean: SelfLoopedMean) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, each ``(n, dim)``."""
        x = self.ego()
        for layer in self.hidden:
            x = functional.leaky_relu(layer(x, mean))
        mu, log_variance = (self.heads[k](x, mean) + functional.leaky_relu(self.skips[k](x)) for k in self.heads)
        return mu, log_variance


def product_of_experts(*experts: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    r"""Mean and log-variance of the product of Gaussians, two at a time from the left.

    .. math:: \mu = \frac{\sum_k \mu_k T_k}{\sum_k T_k}, \quad \log\sigma^2 = -\log\sum_k T_k, \quad
              T_k = \frac{1}{\sigma_k^2 + 10^{-8}}

    Args:
        experts: mean and log-variance of each, ``(n, d)``; one alone stays as it is.
    """
    mean, log_variance = experts[0]
    for other_mean, other_log_variance in experts[1:]:
        own, other = ((lv.clamp(max=OVERFLOW).exp() + 1e-8).reciprocal() for lv in (log_variance, other_log_variance))
        total = own + other
        mean, log_variance = (mean * own + other_mean * other) / total, -total.log()
    return mean, log_variance


def standard_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Divergence from the standard normal, mean over nodes of :math:`-\frac12 \sum_d (1 + l - \mu^2 - e^l)`.

    Args:
        mean: ``(n, d)``.
        log_variance: l, ``(n, d)``.
    """
    return -0.5 * (1.0 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
