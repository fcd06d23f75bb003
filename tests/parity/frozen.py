"""Frozen random draws of golden cases as constants of a mapping."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.parity.golden import Array, Case


def draw(name: str, rows: Callable[[Case], Array] | None = None) -> Callable[[Case], Array]:
    """The array ``noise/<name>``; nothing where a case draws nothing, which leaves the draw to the model.

    Args:
        name: without ``noise/``.
        rows: the rows that the model draws, where the reference draws more.
    """

    def source(case: Case) -> Array:
        drawn = case.arrays.get(f"noise/{name}", np.empty(0))
        return drawn[rows(case)] if rows is not None and drawn.size else drawn

    return source
