"""Towers: the ego vectors of users and items in one modality, from which several models propagate."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import cast

import torch
from torch import Tensor, nn

from mmbench.data.recdata import RecData
from mmbench.nn.initialisation import linear, set_table, started, table, xavier_normal
from mmbench.nn.kernels import UnitRows
from mmbench.nn.propagation import sum_of_layers


class MappedFeatures(nn.Module):
    """Constant features through layers, ``g(f)``: ``(n_items, width)``.

    Args:
        features: raw features, ``(n_items, d_raw)``.
        layers: maps their rows.
    """

    features: Tensor

    def __init__(self, features: Tensor, layers: nn.Module) -> None:
        super().__init__()
        self.register_buffer("features", features.to(torch.get_default_dtype()), persistent=False)
        self.layers = layers

    def forward(self) -> Tensor:
        """Map all items."""
        return self.layers(self.features)


class ItemTable(nn.Module):
    """A module with a free table whose row i belongs to item i; see :meth:`FactorModel.item_tables`."""

    table: Tensor


class FreeItems(ItemTable):
    """A learned item table in place of mapped features, for a model without any modality."""

    def __init__(self, n_items: int, width: int) -> None:
        super().__init__()
        self.table = table(n_items, width, xavier_normal)

    def forward(self) -> Tensor:
        """The table, ``(n_items, width)``."""
        return self.table


class Tower(nn.Module):
    r"""Ego vectors in one modality, :math:`x = \mathrm{norm}([q; g(f)])`: free vectors of users, mapped items.

    Args:
        n_users: number of users.
        items: gives the item vectors, ``(n_items, width)``.
        width: length of the vectors.
        trained: whether the users' vectors are parameters.
    """

    preference: Tensor

    def __init__(self, n_users: int, items: nn.Module, width: int, *, trained: bool = True) -> None:
        super().__init__()
        set_table(self, "preference", started(torch.empty(n_users, width), xavier_normal), trained=trained)
        self.items = items

    def forward(self, *given: Tensor) -> Tensor:
        """Users and items, rows of length one: ``(n_users + n_items, width)``.

        Args:
            given: what the items are computed from besides what they hold.
        """
        return torch.cat(self.sides(*given))

    def sides(self, *given: Tensor) -> tuple[Tensor, Tensor]:
        """Users ``(n_users, width)`` and items ``(n_items, width)`` of :meth:`forward`."""
        items = self.items(*given).to(self.preference.dtype)  # in mixed precision mapped items are narrower
        return UnitRows.apply(self.preference), UnitRows.apply(items)


def hidden_layer(hidden: int, width: int) -> Callable[[int], nn.Module]:
    """Makes maps with one hidden layer and leaky ReLU, as in DualGNN and DRAGON."""
    return lambda raw: nn.Sequential(linear(raw, hidden), nn.LeakyReLU(), linear(hidden, width))


class Towers(nn.ModuleDict):
    """A tower for every modality in name order; without any, the one tower ``free`` with a learned item table.

    Args:
        data: training data.
        width: length of the vectors.
        layers: makes the map of features from their width.
        free: makes the items of the tower ``free``; by default :class:`FreeItems`.
    """

    def __init__(
        self,
        data: RecData,
        width: int,
        layers: Callable[[int], nn.Module],
        free: Callable[[], nn.Module] | None = None,
    ) -> None:
        items = {name: MappedFeatures(features, layers(features.shape[1])) for name, features in data.features.items()}
        given: dict[str, nn.Module] = {**items} or {"free": free() if free else FreeItems(data.n_items, width)}
        super().__init__({name: Tower(data.n_users, module, width) for name, module in given.items()})

    def preferences(self, rows: Tensor | slice, names: Collection[str] | None = None) -> list[Tensor]:
        """The free vectors of users ``(B,)`` in the named towers or in all, each ``(B, width)``."""
        chosen = self.keys() if names is None else names
        return [cast(Tower, self[name]).preference[rows] for name in chosen]

    def ego(self) -> Tensor:
        """Ego vectors of all towers side by side, ``(n, n_towers * width)``."""
        return torch.cat([tower() for tower in self.values()], dim=1)

    def sum_of_hops(self, adjacency: Tensor, n_hops: int) -> Tensor:
        r"""Ego vectors of all towers and their propagations, :math:`\sum_{l=0}^{L} A^l X`.

        Args:
            adjacency: symmetric, ``(n, n)``.
            n_hops: L.

        Returns:
            ``(n, n_towers, width)``.
        """
        total = sum_of_layers(adjacency, self.ego(), n_hops)
        return total.view(len(total), len(self), -1)
