"""MVGAE: Yi & Chen, "Multi-modal Variational Graph Auto-encoder for Recommendation Systems", IEEE TMM 2021."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.nn.content_weights import weighed
from mmbench.nn.hyperparameters import at_least, nonnegative, rate
from mmbench.nn.initialisation import Law, linear, set_table, started, xavier_normal
from mmbench.nn.losses import bpr, bpr_bits
from mmbench.nn.noise import Noise
from mmbench.nn.propagation import halves
from mmbench.nn.recommender import FactorModel, Triplets, UnseenItems
from mmbench.nn.towers import ItemTable, MappedFeatures, Tower
from mmbench.nn.user_item_graph import NeighbourMean

#: Largest log-variance that enters a sample or a divergence.
MAX_LOG_VARIANCE = 10.0
#: Largest log-variance that has an exponential in single precision, with room to spare.
OVERFLOW = 80.0

Gaussian = tuple[Tensor, Tensor]


class MVGAE(FactorModel):
    r"""Gaussian vectors of users and items per modality, fused as a product of experts.

    One encoder per modality and one over a free item table give a mean and a log-variance of every node; the product
    of their Gaussians (modalities in name order, the table last) is the fused one. The Gaussian of a modality enters it
    to the power :math:`c\,a_m`, which multiplies its precision, and that is also the weight of its loss. The loss sums
    over all of them; nodes that training does not see have no divergence

    .. math:: -\sum_b \log_2 \sigma(\langle z_u, z_i\rangle - \langle z_u, z_j\rangle) + \beta\,\mathrm{KL}, \quad
              z = \sigma(\mu + 0.1\,\epsilon\,e^{l/2})

    Scores are inner products of :math:`\sigma(\mu)` of the fused Gaussian. An absent modality has neither encoder nor
    loss term; without any the fused Gaussian is that of the table.

    ``as_reference`` differs from the default in six ways: items are read from the rows of users (indices without the
    offset), a positive is compared with the hardest negative of the whole batch, inner products pass another sigmoid
    before their difference, users' vectors and the item table are random constants, items without an interaction count
    in the divergence, and V of a second hidden layer starts from torch's own law in place of Xavier's normal one.

    Args:
        data: training data.
        embedding_dim: size of the Gaussians.
        feature_dim: size of the ego vectors and of the projected features.
        n_layers: hidden graph layers, at least one.
        dropout: rate after every graph convolution.
        beta: weight of the divergence from the standard normal.
        content_weight: weight of content, c; 0 leaves it out.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        as_reference: reproduce the numbers of the reference implementation.
    """

    content_ignored_by: ClassVar[str] = "content_weight"
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.CONTENT_PART

    known: Tensor | None

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        feature_dim: int = 128,
        n_layers: int = 1,
        dropout: float = 0.1,
        beta: float = 1.0,
        content_weight: float = 1.0,
        first_modality_weight: float = 0.5,
        modality_weights: Mapping[str, float] | None = None,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim, feature_dim=feature_dim)
        nonnegative(beta=beta)
        data, weights = weighed(data, first_modality_weight, modality_weights, content_weight=content_weight)
        self.weights = {f"content_{name}": content_weight * weight for name, weight in weights.items()}
        self.n_users, self.beta = data.n_users, beta
        # Deviations of the reference: users' vectors and the item table are constants, and see its reconstruction.
        trained, second_law = not as_reference, None if as_reference else xavier_normal
        self.reconstruction = reconstruction_of_the_reference if as_reference else reconstruction
        items: dict[str, nn.Module] = {
            f"content_{name}": MappedFeatures(features, linear(features.shape[1], feature_dim, xavier_normal))
            for name, features in data.features.items()
        }
        items["table"] = LinearItemTable(data.n_items, embedding_dim, feature_dim, trained=trained)
        egos = {name: Tower(data.n_users, module, feature_dim, trained=trained) for name, module in items.items()}
        self.encoders = nn.ModuleDict(
            {
                name: GaussianEncoder(ego, feature_dim, embedding_dim, n_layers, dropout, second_law=second_law)
                for name, ego in egos.items()
            }
        )
        self.neighbourhood = NeighbourMean(data.edge_index, data.n_users, data.n_items, self_loops=True)
        self.noise = Noise("fused", *items)
        known = torch.cat([torch.ones(data.n_users, dtype=torch.bool), data.warm])
        chosen = None if as_reference or known.all() else torch.nonzero(known).squeeze(1)
        self.register_buffer("known", chosen, persistent=False)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Means of users and items, each number between 0 and 1."""
        mean = torch.sigmoid(self._gaussians()["fused"][0])
        return halves(mean, self.n_users)

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """Reconstruction and divergence of the fused Gaussian and of every encoder."""
        terms = {}
        for name, (mean, log_variance) in self._gaussians().items():
            limited = log_variance.clamp(max=MAX_LOG_VARIANCE)
            z = torch.sigmoid(mean + 0.1 * self.noise.normal(name, mean) * torch.exp(limited / 2))
            weight = self.weights.get(name, 1.0)
            terms[f"reconstruction_{name}"] = weight * self.reconstruction(z, batch, self.n_users)
            # An unseen item has nothing to reconstruct, hence nothing to be a posterior of.
            known = slice(None) if self.known is None else self.known
            terms[f"kl_{name}"] = weight * self.beta * standard_divergence(mean[known], limited[known])
        return terms

    def _gaussians(self) -> dict[str, Gaussian]:
        """Mean and log-variance of all nodes, fused and by encoder, each ``(n_users + n_items, d)``."""
        encoded = {name: encoder(self.neighbourhood) for name, encoder in self.encoders.items()}
        # A Gaussian to the power w has w times the precision.
        experts = [(mean, lv - math.log(self.weights.get(name, 1.0))) for name, (mean, lv) in encoded.items()]
        return {"fused": product_of_experts(*experts), **encoded}


def reconstruction(z: Tensor, batch: Triplets, n_users: int) -> Tensor:
    """BPR in bits, summed over the batch, on sampled vectors of all nodes ``(n_users + n_items, d)``."""
    user, positive, negative = (z[nodes] for nodes in batch.nodes(n_users))
    return len(user) * bpr_bits(user, positive, negative)


def reconstruction_of_the_reference(z: Tensor, batch: Triplets, n_users: int) -> Tensor:
    """Read items from the rows of users, and compare each positive with the hardest negative of the whole batch."""
    user, positive, negative = z[batch.users], z[batch.positives], z[batch.negatives]
    hardest = (user @ negative.T).amax(1)
    return len(user) * bpr(torch.sigmoid((user * positive).sum(1)), torch.sigmoid(hardest)) / math.log(2.0)


class LinearItemTable(ItemTable):
    """A table of item vectors through a linear map, ``(n_items, width)``.

    Args:
        n_items: number of items.
        dim: size of the vectors in the table.
        width: size of the result.
        trained: whether the table is a parameter.
    """

    def __init__(self, n_items: int, dim: int, width: int, *, trained: bool = True) -> None:
        super().__init__()
        set_table(self, "table", started(torch.empty(n_items, dim), xavier_normal), trained=trained)
        self.layers = linear(dim, width, xavier_normal)

    def forward(self) -> Tensor:
        """Map all items."""
        return self.layers(self.table)


class GraphLayer(nn.Module):
    r"""Graph convolution and a linear map of its result, :math:`V\,\phi(\mathrm{norm}(\bar A x W + b)) + c`.

    :math:`\bar A` averages a node and its neighbours, :math:`\phi` is leaky ReLU; dropout follows the norm.

    Args:
        n_inputs: width of x.
        dim: width of the result.
        dropout: rate after the convolution.
        law: law of V at the start, see :func:`mmbench.nn.initialisation.linear`.
    """

    def __init__(self, n_inputs: int, dim: int, dropout: float, law: Law | None = xavier_normal) -> None:
        super().__init__()
        self.convolution, self.linear = linear(n_inputs, dim, xavier_normal), linear(dim, dim, law)
        self.dropout, self.noise = rate("dropout", dropout), Noise("convolution")

    def forward(self, x: Tensor, mean: NeighbourMean) -> Tensor:
        """``(n, n_inputs)`` to ``(n, dim)``."""
        # The rows of the mean add up to one, so that the bias may be averaged along.
        y = functional.normalize(mean(self.convolution(x)), dim=1, eps=1e-12)
        return self.linear(functional.leaky_relu(self.noise.drop("convolution", y, self.dropout)))


class GaussianEncoder(nn.Module):
    r"""Mean and log-variance of a Gaussian for every user and item.

    Each is a :class:`GraphLayer` of the last hidden layer plus :math:`\phi` of a linear map of it.

    Args:
        ego: gives the ego vectors of all nodes, ``(n, width)``.
        width: their size.
        dim: size of the Gaussians and of the hidden layers.
        n_layers: number of hidden layers, at least one.
        dropout: rate after every convolution.
        second_law: law of V of the second hidden layer, see :class:`GraphLayer`.
    """

    def __init__(
        self,
        ego: nn.Module,
        width: int,
        dim: int,
        n_layers: int,
        dropout: float,
        *,
        second_law: Law | None = xavier_normal,
    ) -> None:
        super().__init__()
        at_least(1, n_layers=n_layers)
        self.ego = ego
        widths = [width] + [dim] * (n_layers - 1)
        self.hidden = nn.ModuleList(
            GraphLayer(n_inputs, dim, dropout, second_law if place == 2 else xavier_normal)
            for place, n_inputs in enumerate(widths, start=1)
        )
        self.heads = nn.ModuleDict({name: GraphLayer(dim, dim, dropout) for name in ("mean", "log_variance")})
        self.skips = nn.ModuleDict({name: linear(dim, dim, xavier_normal) for name in self.heads})

    def forward(self, mean: NeighbourMean) -> tuple[Tensor, Tensor]:
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
