"""Regressions of items on items, one item at a time, by numpy: what closed forms are checked against."""

from __future__ import annotations

import numpy as np

from mmbench.data.recdata import RecData
from tests.conftest import BlockWorld

#: Items of the block world that nobody has bought.
COLD = (8, 17, 30)


def with_new_items(world: BlockWorld, names: tuple[str, ...]) -> RecData:
    """The block world, with some items that nobody has bought and one without the first modality."""
    data = world.data(names)
    kept = ~np.isin(data.edge_index[1].numpy(), COLD)
    present = {name: mask.clone() for name, mask in data.present.items()}
    if names:
        present[names[0]][5] = False
    return RecData(data.n_users, data.n_items, data.edge_index[:, kept], data.features, present)


def history_of(data: RecData) -> np.ndarray:
    """R, ``(n_users, n_items)``."""
    history = np.zeros((data.n_users, data.n_items))
    history[tuple(data.edge_index.numpy())] = 1.0
    return history


def directions_of(data: RecData, name: str) -> np.ndarray:
    """Features around the mean of what has content, every row of length one or zero."""
    rows, present = data.features[name].numpy().astype(float), data.present[name].numpy()
    rows = rows - rows[present].mean(0)
    rows[~present] = 0.0
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)


def on_others(rows: np.ndarray, penalty: float, known: np.ndarray, centre: np.ndarray | None = None) -> np.ndarray:
    """Column j: the known items but j that predict j best over some rows, ridged towards a centre.

    Args:
        rows: what is predicted, ``(n, n_items)``.
        penalty: of the squared distance from the centre.
        known: items that predict, ``(n_items,)``.
        centre: ``(n_items, n_items)``, zero where None.
    """
    n = rows.shape[1]
    solution = np.zeros((n, n))
    for j in range(n):
        others = np.flatnonzero(known & (np.arange(n) != j))
        to = np.zeros(len(others)) if centre is None else centre[others, j]
        x = rows[:, others]
        system = x.T @ x + penalty * np.eye(len(others))
        solution[others, j] = np.linalg.solve(system, x.T @ rows[:, j] + penalty * to)
    return solution
