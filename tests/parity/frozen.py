"""Frozen random draws of golden cases as constants of a mapping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

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


def pad_users(model: Any, case: Case) -> None:
    """Fill up the lists of users with common items as the reference did in this epoch."""
    users = case.arrays["sample/user_neighbours"]
    listed, their_counts = case.arrays["graph/user_user_index"], case.arrays["graph/user_user_count"]
    counts = np.zeros((len(users), case.data.n_users))
    rows, places = np.nonzero(listed >= 0)
    counts[rows, listed[rows, places]] = their_counts[rows, places]
    model.user_graph.use(torch.from_numpy(users), torch.from_numpy(np.take_along_axis(counts, users, axis=1)))


def padded_user_graph(case: Case) -> Array:
    """The graph of these lists; the reference also ranks with it, where we rank with the lists as they are."""
    users, weights = case.arrays["sample/user_neighbours"], case.arrays["sample/user_weights"]
    dense = np.zeros((len(users), len(users)))
    np.add.at(dense, (np.arange(len(users))[:, None], users), weights)
    return dense
