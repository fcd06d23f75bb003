"""User-item graphs that a model trains on in place of the full graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmbench.messages import Refusal
from mmbench.nn.graph import (
    BLOCK_ENTRIES,
    sparse_matrix,
    symmetric_normalised,
    user_item_blocks,
)

#: Iterations of :func:`truncated_svd` at most; it stops when the singular values stand still.
MAX_ITERATIONS = 200
#: Columns iterated beyond those wanted; they make the wanted ones converge.
SPARE_COLUMNS = 16
SVD_SEED = 0


def degree_weights(edge_index: Tensor, n_users: int, n_items: int) -> Tensor:
    r"""Sampling weight of each edge, :math:`1/\sqrt{(d_u + \epsilon)(d_i + \epsilon)}`: edges of busy nodes are rare.

    Returns:
        ``(n_edges,)`` in float64.
    """
    users, items = edge_index
    user_degree = torch.bincount(users, minlength=n_users).double() + 1e-7
    item_degree = torch.bincount(items, minlength=n_items).double() + 1e-7
    return (user_degree[users] * item_degree[items]).rsqrt()


def sample_edges(edge_index: Tensor, weights: Tensor, keep: float, generator: torch.Generator) -> Tensor:
    r"""Draw a fraction of the edges without replacement, each draw proportional to its weight.

    The edges with the smallest :math:`E_e / w_e`, :math:`E_e` standard exponential, are such a sample (Efraimidis &
    Spirakis 2006); unlike ``torch.multinomial`` this has no limit of 2^24 edges.

    Args:
        edge_index: ``(2, n_edges)``.
        weights: positive, ``(n_edges,)``.
        keep: fraction to keep; at least one edge stays.
        generator: source of randomness, on the device of ``weights``.

    Returns:
        The kept edges in their old order, ``(2, n_kept)``.
    """
    n_edges = edge_index.shape[1]
    n_kept = max(1, int(n_edges * keep + 1e-6))
    arrival = torch.empty_like(weights).exponential_(generator=generator) / weights
    kept, _ = arrival.topk(n_kept, largest=False, sorted=False).indices.sort()
    return edge_index[:, kept]


class SampledGraph(nn.Module):
    """The full graph while ranking, a sample of its edges while training (SPEC B §0).

    A sample prefers edges between nodes of low degree and is normalised by the degrees that it leaves.

    Args:
        edge_index: training interactions, ``(2, n_edges)``.
        n_users: number of users.
        n_items: number of items.
        keep: fraction of the edges in a sample; 1 trains on all.
    """

    full: Tensor
    sampled: Tensor

    def __init__(self, edge_index: Tensor, n_users: int, n_items: int, keep: float) -> None:
        super().__init__()
        if not 0.0 < keep <= 1.0:
            raise Refusal("the fraction of edges to keep is {keep}; it must be more than 0 and at most 1", keep=keep)
        self.n_users, self.n_items, self.keep, self.edges = n_users, n_items, keep, edge_index
        self.weights = degree_weights(edge_index, n_users, n_items)
        self.generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        self.register_buffer("full", symmetric_normalised(edge_index, n_users, n_items, eps=1e-7), persistent=False)
        self.register_buffer("sampled", self.full, persistent=False)

    def draw(self) -> None:
        """Draw the edges to train on, once per epoch."""
        if self.keep < 1.0:
            self.use_edges(sample_edges(self.edges, self.weights, self.keep, self.generator))

    def use_edges(self, edge_index: Tensor) -> None:
        """Train on these edges ``(2, n_kept)``."""
        self.sampled = symmetric_normalised(edge_index, self.n_users, self.n_items, eps=1e-7).to(self.full.device)

    def forward(self) -> Tensor:
        """The graph of the current mode, sparse ``(n_users + n_items, n_users + n_items)``."""
        return self.sampled if self.training else self.full


def truncated_svd(matrix: Tensor, transposed: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    r"""Largest singular values of a sparse matrix and their vectors, :math:`A \approx P\,\mathrm{diag}(s)\,Q^\top`.

    Exact for small matrices; otherwise by subspace iteration from a fixed start (Halko, Martinsson & Tropp 2011), never
    with a dense ``(n, m)`` array.

    Args:
        matrix: sparse CSR, ``(n, m)``.
        transposed: the same turned round, ``(m, n)``.
        rank: number of singular values; at most ``min(n, m)`` come back.

    Returns:
        ``(n, rank)``, ``(rank,)`` in descending order and ``(m, rank)``, in float64.
    """
    matrix, transposed = matrix.double(), transposed.double()
    n_rows, n_columns = matrix.shape
    rank = min(rank, n_rows, n_columns)
    if n_rows * n_columns <= BLOCK_ENTRIES:
        left, values, right = torch.linalg.svd(matrix.to_dense(), full_matrices=False)
        return left[:, :rank], values[:rank], right[:rank].T
    start = torch.Generator().manual_seed(SVD_SEED)
    width = min(rank + SPARE_COLUMNS, n_rows, n_columns)
    basis = torch.randn(n_columns, width, generator=start, dtype=torch.float64).to(matrix.device)
    previous = torch.zeros(rank, dtype=torch.float64, device=matrix.device)
    for _ in range(MAX_ITERATIONS):
        left, _ = torch.linalg.qr(matrix @ basis)
        basis, triangle = torch.linalg.qr(transposed @ left)
        values = torch.linalg.svdvals(triangle)[:rank]
        if bool(((values - previous).abs() <= 1e-7 * values[0]).all()):
            break
        previous = values
    # A = left (left' A) = left (basis triangle)' on the subspace found.
    inner, values, outer = torch.linalg.svd(triangle.T)
    return left @ inner[:, :rank], values[:rank], basis @ outer[:rank].T


def principal_graph(adjacency: Tensor, n_users: int, rank: int, threshold: float = 1e-3) -> Tensor:
    r"""Principal part of the normalised user-item graph by its spectrum (SPEC B §8, global).

    .. math:: M = \sum_{r<q} s_r s_{d-q+r}\, u_r v_r^\top, \quad q = \lfloor d/4 \rfloor

    over the singular values of the graph in descending order, entries below ``threshold`` left out. The graph of users
    and items has every singular value of its block :math:`R = P\,\mathrm{diag}(\sigma)\,Q^\top` twice, and a pair
    contributes :math:`\sigma_j\,(p_j q_j^\top)` to that block; half as many terms of the block are thus the same sum,
    defined for every rank.

    Args:
        adjacency: symmetric sparse CSR, users first, ``(n_users + n_items, n_users + n_items)``.
        n_users: number of users.
        rank: number of singular values of the whole graph, d.
        threshold: smallest size of an entry that is kept.

    Returns:
        Sparse CSR of the same shape and dtype.
    """
    if rank < 8:
        raise Refusal("a principal graph of rank {rank} is empty; the rank must be at least 8", rank=rank)
    matrix, transposed = user_item_blocks(adjacency, n_users)
    # Of the float32 graph in either precision: which entries pass the threshold must not depend on it.
    left, values, right = truncated_svd(matrix.float(), transposed.float(), rank // 2)
    n_terms = rank // 4 // 2
    weights = values[:n_terms] * values[len(values) - n_terms :]
    rows, columns, entries = [], [], []
    step = max(1, BLOCK_ENTRIES // len(right))
    for begin in range(0, n_users, step):
        block = (left[begin : begin + step, :n_terms] * weights) @ right[:, :n_terms].T
        kept = (block.abs() >= threshold).nonzero().T
        rows.append(kept[0] + begin)
        columns.append(kept[1] + n_users)
        entries.append(block[kept[0], kept[1]])
    users, items, weight = torch.cat(rows), torch.cat(columns), torch.cat(entries).to(adjacency.dtype)
    shape = (len(left) + len(right), len(left) + len(right))
    return sparse_matrix(torch.cat([users, items]), torch.cat([items, users]), torch.cat([weight, weight]), shape)
