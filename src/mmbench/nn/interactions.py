"""The training interactions as a sparse matrix: histories of users, and what rows have in common."""

from __future__ import annotations

import torch
from torch import Tensor

from mmbench.nn.graph import BLOCK_ENTRIES, sparse_matrix


def interaction_matrix(edge_index: Tensor, n_users: int, n_items: int) -> Tensor:
    """Training interactions as a sparse CSR matrix of ones, ``(n_users, n_items)``."""
    return sparse_matrix(edge_index[0], edge_index[1], torch.ones(edge_index.shape[1]), (n_users, n_items))


def select_rows(matrix: Tensor, rows: Tensor) -> Tensor:
    """Chosen rows of a sparse CSR matrix ``(n, m)`` as a sparse CSR matrix ``(B, m)``.

    Args:
        matrix: sparse CSR.
        rows: row indices, ``(B,)``.
    """
    starts = matrix.crow_indices()
    lengths = (starts[1:] - starts[:-1])[rows]
    ends = lengths.cumsum(0)
    place = torch.arange(len(rows), device=rows.device).repeat_interleave(lengths)
    entry = starts[rows[place]] + torch.arange(len(place), device=rows.device) - (ends - lengths)[place]
    new_starts = torch.cat([ends.new_zeros(1), ends])
    columns, values = matrix.col_indices()[entry], matrix.values()[entry]
    return torch.sparse_csr_tensor(new_starts, columns, values, (len(rows), matrix.shape[1]), check_invariants=True)


def dense_rows(matrix: Tensor, rows: Tensor) -> Tensor:
    """Chosen rows of a sparse CSR matrix ``(n, m)`` as a dense block ``(B, m)``."""
    return select_rows(matrix, rows).to_dense()


def history_scores(history: Tensor, similarity: Tensor, users: Tensor) -> Tensor:
    r"""Sum of similarities to the items of a user's history, :math:`\hat y_{uj} = \sum_{i \in R_u} s_{ji}`.

    Args:
        history: sparse CSR of ones, ``(n_users, n_items)``.
        similarity: sparse CSR ``(n_items, n_items)``; row j says what each item of a history adds to item j.
        users: ``(B,)``.

    Returns:
        ``(B, n_items)``.
    """
    return (similarity @ dense_rows(history, users).T.contiguous()).T.contiguous()


def common_neighbours(matrix: Tensor, begin: int, end: int) -> Tensor:
    """A block of rows of the product of a sparse CSR matrix ``(n, m)`` and its transpose: ``(end - begin, n)``."""
    rows = torch.arange(begin, end, device=matrix.device)
    return (matrix @ dense_rows(matrix, rows).T.contiguous()).T.contiguous()


def gram_matrix(edge_index: Tensor, n_users: int, n_items: int) -> Tensor:
    r"""Common users of every pair of items, :math:`R^\top R`: the one dense ``(n_items, n_items)`` array, float64."""
    of_items = interaction_matrix(edge_index.flip(0), n_items, n_users)
    gram = torch.empty(n_items, n_items, dtype=torch.float64)
    step = max(1, BLOCK_ENTRIES // max(n_items, n_users))
    for begin in range(0, n_items, step):
        end = min(begin + step, n_items)
        gram[begin:end] = common_neighbours(of_items, begin, end)
    return gram
