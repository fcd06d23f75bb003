"""Weights that golden cases give by modality, in the terms of our models: their sum, and the share of the first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def by_modality(given: Mapping[str, Any], names: Mapping[str, str], power: int = 1) -> dict[str, float]:
    """Weights by modality in name order.

    Args:
        given: hyper-parameters of the case.
        names: the reference's name of each modality's weight; those that a case lacks are left out.
        power: what the reference raises its weights to.
    """
    return {name: given[key] ** power for name, key in sorted(names.items()) if key in given}


def first_share(weights: Mapping[str, float]) -> float:
    """Share of the image of two modalities; one has no share."""
    return weights["image"] / sum(weights.values()) if len(weights) == 2 else 0.5
