"""Sparse matrices: how they are built, what blocks of their rows hold, and constant ones as linear maps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from mmbench.nn.kernels import ChosenRows, DirectedProduct, RowsOfProduct, add_rows

#: Entries of a dense block of rows; bounds memory whatever the number of users and items.
BLOCK_ENTRIES = 1 << 22
#: Operations of a product of dense matrices in the time of one addition of a product of sparse ones. It is 500 to
#: 11,000 on five data sets; this number takes the quicker way on each (``python -m tests.benchmarks.common_users``).
DENSE_OPERATIONS = 1000


def sparse_matrix(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Build a sparse CSR matrix; entries given twice are added.

    Args:
        rows: ``(nnz,)``.
        columns: ``(nnz,)``.
        values: ``(nnz,)``.
        shape: number of rows and columns.
    """
    coo = torch.sparse_coo_tensor(torch.stack([rows, columns]), values, shape, check_invariants=True).coalesce()
    with warnings.catch_warnings():  # torch announces on first use that its CSR layout is in beta
        warnings.filterwarnings("ignore", message=".*Sparse CSR tensor support is in beta.*")
        return coo.to_sparse_csr()


def interaction_matrix(edge_index: Tensor, n_users: int, n_items: int) -> Tensor:
    """Training interactions ``(2, n_edges)`` as a sparse CSR matrix of ones, ``(n_users, n_items)``."""
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
    # For every entry of the result: its row there, and its place among the entries of the matrix.
    place = torch.arange(len(rows), device=rows.device).repeat_interleave(lengths)
    entry = starts[rows[place]] + torch.arange(len(place), device=rows.device) - (ends - lengths)[place]
    new_starts = torch.cat([ends.new_zeros(1), ends])
    columns, values = matrix.col_indices()[entry], matrix.values()[entry]
    # Rows of a valid matrix make a valid one; checking would take as long as selecting them.
    return torch.sparse_csr_tensor(new_starts, columns, values, (len(rows), matrix.shape[1]), check_invariants=False)


def dense_rows(matrix: Tensor, rows: Tensor) -> Tensor:
    """Chosen rows of a sparse CSR matrix ``(n, m)`` as a dense block ``(B, m)``."""
    return select_rows(matrix, rows).to_dense()


def common_neighbours(matrix: Tensor) -> Callable[[int, int], Tensor]:
    """The product of a sparse CSR matrix ``(n, m)`` and its transpose, which is made once for all blocks of rows.

    Where columns are so full that it takes less time, blocks of them are multiplied as dense ones. Sums of whole
    numbers, such as counts, are the same either way.

    Returns:
        Gives the rows from ``begin`` to ``end`` of the product, ``(end - begin, n)``, dense.
    """
    n, m = matrix.shape
    additions = int(torch.bincount(matrix.col_indices(), minlength=m).square().sum())
    columns = turned(matrix)
    if 2.0 * m * n**2 > DENSE_OPERATIONS * additions:
        transposed = columns.to_sparse_coo()

        def of_rows(begin: int, end: int) -> Tensor:
            rows = select_rows(matrix, torch.arange(begin, end, device=matrix.device))
            return torch.sparse.mm(rows.to_sparse_coo(), transposed).to_dense()

    else:
        everything = torch.arange(m, device=matrix.device)

        def of_rows(begin: int, end: int) -> Tensor:
            products = columns.values().new_zeros(end - begin, n)
            for some in everything.split(max(1, BLOCK_ENTRIES // max(n, 1))):
                block = dense_rows(columns, some)
                products.addmm_(block[:, begin:end].T, block)
            return products

    return of_rows


def gram_matrix(matrix: Tensor) -> Tensor:
    """The product of a sparse CSR matrix ``(n, m)`` and its transpose, ``(n, n)``, made in blocks of rows."""
    n, m = matrix.shape
    gram = matrix.values().new_empty(n, n)
    step, products = max(1, BLOCK_ENTRIES // max(n, m, 1)), common_neighbours(matrix)
    for begin in range(0, n, step):
        gram[begin : begin + step] = products(begin, min(begin + step, n))
    return gram


def turned(matrix: Tensor) -> Tensor:
    """A sparse CSR matrix ``(n, m)`` turned round, sparse CSR ``(m, n)``."""
    return matrix.to_sparse_coo().t().coalesce().to_sparse_csr()


def added_rows(chosen: Tensor, weights: Tensor) -> Tensor:
    """Product of sparse CSR matrices ``(B, n)`` and ``(n, m)``, the first one of ones: dense, ``(B, m)``.

    It adds in the order of the rows of the first one, in blocks of bounded size, and reads only the rows it adds.
    """
    n_items, starts = weights.shape[1], weights.crow_indices()
    items, n_rows = chosen.col_indices(), chosen.shape[0]
    first = torch.arange(n_rows, device=items.device).repeat_interleave(chosen.crow_indices().diff()) * n_items
    begins = starts.index_select(0, items)
    lengths = starts.index_select(0, items + 1) - begins
    scores = weights.values().new_zeros(n_rows * n_items)
    for part in parts_of(lengths.cumsum(0)):
        many = lengths[part]
        # The place of every addition among the entries of the weights, and then among the scores.
        entry = (begins[part] - many.cumsum(0) + many).repeat_interleave(many)
        entry += torch.arange(len(entry), device=items.device)
        place = weights.col_indices().index_select(0, entry)
        place += first[part].repeat_interleave(many)
        add_rows(scores, place, weights.values().index_select(0, entry))
    return scores.view(n_rows, n_items)


def parts_of(ends: Tensor) -> Iterator[slice]:
    """Slices of things that hold at most :data:`BLOCK_ENTRIES` entries together, at least one thing each.

    Args:
        ends: entries of the things so far, each included, ``(n_things,)``.
    """
    begin = 0
    while begin < len(ends):
        taken = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(torch.searchsorted(ends, taken + BLOCK_ENTRIES, right=True)))
        yield slice(begin, end)
        begin = end


class ConstantMap(nn.Module):
    """Multiplication by a constant sparse matrix, ``(m, d)`` to ``(n, d)``; no state stores it.

    Args:
        matrix: sparse CSR, ``(n, m)``.
        transposed: the same matrix turned round, ``(m, n)``; it serves the backward pass.
    """

    matrix: Tensor
    transposed: Tensor

    def __init__(self, matrix: Tensor, transposed: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix, persistent=False)
        self.register_buffer("transposed", transposed, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply: ``A x``."""
        return DirectedProduct.apply(self.matrix, self.transposed, x)

    def of_rows(self, rows: Tensor) -> Callable[[Tensor], Tensor]:
        """The map that gives chosen rows of the result alone, ``(m, d)`` to ``(n_rows, d)``.

        On other devices than a processor all rows are computed, because the host would have to wait to know how many
        entries the chosen ones have; there a row may be asked for several times.

        Args:
            rows: distinct rows, ``(n_rows,)``.
        """
        if rows.device.type != "cpu":
            return lambda x: ChosenRows.apply(rows, self(x))
        chosen = select_rows(self.matrix, rows)
        return lambda x: RowsOfProduct.apply(chosen, self.transposed, rows, x)


class DirectedGraph(ConstantMap):
    """A constant weighted graph that need not be symmetric; ``graph(x)`` is one step of propagation, ``A x``.

    Args:
        edge_index: row (receiver) and column (sender) of each edge, ``(2, n_edges)``; edges given twice are added.
        weights: ``(n_edges,)``.
        n: number of nodes.
    """

    def __init__(self, edge_index: Tensor, weights: Tensor, n: int) -> None:
        rows, columns = edge_index
        super().__init__(sparse_matrix(rows, columns, weights, (n, n)), sparse_matrix(columns, rows, weights, (n, n)))
