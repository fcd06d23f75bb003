"""What a model is given: training edges and features. It holds no validation or test data, so no model can leak."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmbench.data.features import ItemFeature
from mmbench.data.interactions import Interactions


@dataclass(frozen=True)
class RecData:
    """Training data of one run.

    Args:
        n_users: number of users.
        n_items: number of items.
        edge_index: training interactions ``(2, n_edges)``, users in row 0, items in row 1, each pair once.
        features: ``(n_items, d)`` by modality, in name order; may be empty.
        present: ``(n_items,)`` by modality, false where an item has no content (its feature row is the mean).
    """

    n_users: int
    n_items: int
    edge_index: Tensor
    features: Mapping[str, Tensor] = field(default_factory=dict)
    present: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if list(self.features) != sorted(self.features):
            raise ValueError(f"features must be in name order, not {', '.join(self.features)}")
        missing = self.features.keys() - self.present.keys()
        if missing:
            raise ValueError(f"features without a presence mask: {', '.join(sorted(missing))}")

    @functools.cached_property
    def warm(self) -> Tensor:
        """Whether an item has a training interaction, ``(n_items,)``; the others are unseen, whatever the protocol."""
        seen = torch.zeros(self.n_items, dtype=torch.bool, device=self.edge_index.device)
        seen[self.edge_index[1]] = True
        return seen


def make_recdata(train: Interactions, features: Mapping[str, ItemFeature]) -> RecData:
    """Build the training data of one run from the train part and the features after the condition."""
    names = sorted(features)
    return RecData(
        train.n_users,
        train.n_items,
        torch.stack([torch.from_numpy(train.users), torch.from_numpy(train.items)]),
        {name: torch.from_numpy(features[name].values) for name in names},
        {name: torch.from_numpy(features[name].present) for name in names},
    )
