"""Batches of training triplets."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from mmbench.data.recdata import RecData
from mmbench.messages import Refusal
from mmbench.models.base import Triplets
from mmbench.nn.negatives import NegativeSampler

#: Batches drawn at once: the tables that drawing looks into are then in a cache, which every step empties.
BATCHES_AT_ONCE = 256


class TripletLoader:
    """Batches of (user, positive, negative) as index tensors, reshuffled every epoch.

    Args:
        data: training data.
        batch_size: triplets per batch.
        seed: seed of order and negatives.
        limit: batches per epoch at most, or None.
    """

    def __init__(self, data: RecData, batch_size: int, seed: int, limit: int | None = None) -> None:
        self.sampler = NegativeSampler(data.edge_index, data.n_users, data.n_items)
        # A user who has every training item has no negative, hence no pair to learn from.
        self.edges = data.edge_index[:, self.sampler.free[data.edge_index[0]] > 0]
        if self.edges.shape[1] == 0:
            raise Refusal("every user has every training item, so there is nothing to rank")
        self.batch_size = batch_size
        self.generator = torch.Generator(device=data.edge_index.device).manual_seed(seed)
        full = math.ceil(self.edges.shape[1] / batch_size)
        self.n_batches = full if limit is None else min(full, limit)

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[Triplets]:
        n = self.edges.shape[1]
        order = torch.randperm(n, generator=self.generator, device=self.edges.device)
        for part in order[: self.n_batches * self.batch_size].split(BATCHES_AT_ONCE * self.batch_size):
            users, positives = self.edges[:, part]
            negatives = self.sampler.sample(users, self.generator)
            for batch in zip(*(x.split(self.batch_size) for x in (users, positives, negatives)), strict=True):
                yield Triplets(*batch)
