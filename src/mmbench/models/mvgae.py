"""MVGAE: Yi & Chen, "Multi-modal Variational Graph Auto-encoder for Recommendation Systems", IEEE TMM 2021."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mmbench.data.recdata import RecData
from mmbench.models.base import FactorModel, Triplets
from mmbench.nn.graph import SelfLoopedMean
from mmbench.nn.losses import bpr, bpr_bits
from mmbench.nn.noise import Noise
from mmbench.nn.smoothing import halves
from mmbench.nn.towers import MappedFeatures, Tower
from mmbench.nn.variational import (
    MAX_LOG_VARIANCE,
    GaussianEncoder,
    MappedTable,
    product_of_experts,
    standard_divergence,
)

Gaussian = tuple[Tensor, Tensor]


class MVGAE(FactorModel):
    r"""Gaussian vectors of users and items per modality, fused as a product of experts.

    One encoder per modality and one over a free item table give a mean and a log-variance of every node; the product
    of their Gaussians (modalities in name order, the table last) is the fused one. The loss sums over all of them

    .. math:: -\sum_b \log_2 \sigma(\langle z_u, z_i\rangle - \langle z_u, z_j\rangle) + \beta\,\mathrm{KL}, \quad
              z = \sigma(\mu + 0.1\,\epsilon\,e^{l/2})

    Scores are inner products of :math:`\sigma(\mu)` of the fused Gaussian. An absent modality has neither encoder nor
    loss term; without any the fused Gaussian is that of the table.

    ``as_reference`` does what the reference does instead of this: items are read from the rows of users (indices
    without the offset), a positive is compared with the hardest negative of the whole batch, products pass another
    sigmoid before the difference, and users' vectors and the item table are random constants.

    Args:
        data: training data.
        embedding_dim: size of the Gaussians.
        feature_dim: size of the ego vectors and of the projected features.
        n_layers: hidden graph layers, at least one.
        dropout: rate after every graph convolution.
        beta: weight of the divergence from the standard normal.
        as_reference: reproduce the numbers of the reference implementation.
    """

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        feature_dim: int = 128,
        n_layers: int = 1,
        dropout: float = 0.1,
        beta: float = 1.0,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        self.n_users, self.beta, self.as_reference = data.n_users, beta, as_reference
        items: dict[str, nn.Module] = {
            f"content_{name}": MappedFeatures(features, nn.Linear(features.shape[1], feature_dim))
            for name, features in data.features.items()
        }
        items["table"] = MappedTable(data.n_items, embedding_dim, feature_dim, trained=not as_reference)
        self.encoders = nn.ModuleDict()
        for name, module in items.items():
            ego = Tower(data.n_users, module, feature_dim, trained=not as_reference)
            self.encoders[name] = GaussianEncoder(ego, feature_dim, embedding_dim, n_layers, dropout)
        self.neighbourhood = SelfLoopedMean(data.edge_index, data.n_users, data.n_items)
        self.noise = Noise("fused", *items)

    def _gaussians(self) -> dict[str, Gaussian]:
        """Mean and log-variance of all nodes, fused and by encoder, each ``(n_users + n_items, d)``."""
        encoded = {name: encoder(self.neighbourhood) for name, encoder in self.encoders.items()}
        return {"fused": product_of_experts(*encoded.values()), **encoded}

    def forward(self) -> tuple[Tensor, Tensor]:
        """Means of users and items, each number between 0 and 1."""
        mean = torch.sigmoid(self._gaussians()["fused"][0])
        return halves(mean, self.n_users)

    def _reconstruction(self, z: Tensor, batch: Triplets) -> Tensor:
        """Sum over the batch of how surprising the ranking of the positives is, in bits."""
        offset = 0 if self.as_reference else self.n_users
        user, positive, negative = z[batch.users], z[batch.positives + offset], z[batch.negatives + offset]
        if not self.as_reference:
            return len(user) * bpr_bits(user, positive, negative)
        hardest = (user @ negative.T).amax(1)
        return len(user) * bpr(torch.sigmoid((user * positive).sum(1)), torch.sigmoid(hardest)) / math.log(2.0)

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """Reconstruction and divergence of the fused Gaussian and of every encoder (SPEC B §9)."""
        terms = {}
        for name, (mean, log_variance) in self._gaussians().items():
            limited = log_variance.clamp(max=MAX_LOG_VARIANCE)
            z = torch.sigmoid(mean + 0.1 * self.noise.normal(name, mean) * torch.exp(limited / 2))
            terms[f"reconstruction_{name}"] = self._reconstruction(z, batch)
            terms[f"kl_{name}"] = self.beta * standard_divergence(mean, limited)
        return terms
