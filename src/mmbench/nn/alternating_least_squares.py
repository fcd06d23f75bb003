"""Matrix factorisation by alternating least squares, the backbone that iALS is and others build on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.messages import Refusal
from mmbench.nn import subnormals
from mmbench.nn.hyperparameters import at_least
from mmbench.nn.memo import KEPT_BYTES, Memo, content_key
from mmbench.nn.sparse import interaction_matrix

#: Entries of padded histories solved at once, and numbers of their systems; such a block stays in the cache.
BLOCK_ENTRIES, SYSTEM_NUMBERS = 1 << 13, 1 << 18
INITIAL_SEED = 0x5EED
#: Factorisations kept in memory: the same trials of other conditions need them again.
CACHED_FACTORISATIONS = 32


def check_settings(embedding_dim: int, n_sweeps: int, unobserved_weight: float, reg_weight: float) -> None:
    """Refuse what gives no vectors, and weights under which the least squares have no unique solution.

    Arguments as in :func:`factorised`.

    Raises:
        ValueError: if a number is below 1, or a weight is not positive.
    """
    at_least(1, embedding_dim=embedding_dim, n_sweeps=n_sweeps)
    if not (unobserved_weight > 0 and reg_weight > 0):
        raise Refusal(
            "unobserved_weight={unobserved_weight} and reg_weight={reg_weight} must be positive, else the least "
            "squares have no unique solution",
            unobserved_weight=unobserved_weight,
            reg_weight=reg_weight,
        )


def factorised(
    data: RecData, dim: int, n_sweeps: int, unobserved_weight: float, reg_weight: float
) -> tuple[Tensor, Tensor]:
    r"""User and item vectors that fit all pairs, those with an interaction better.

    .. math:: \sum_{(u,i) \in R} (\hat y_{ui} - 1)^2 + \alpha \sum_{u,i} \hat y_{ui}^2
              + \lambda \sum_u (|R_u| + \alpha |I|) \|p_u\|^2 + \lambda \sum_i (|R_i| + \alpha |U|) \|q_i\|^2

    The penalty grows with the number of interactions (Rendle et al., RecSys 2022, :math:`\nu = 1`). The start is always
    the same random numbers, so that the result is a function of the data alone.

    Args:
        data: training data; features are not read.
        dim: size of the vectors, d.
        n_sweeps: times that items, then users are solved, at least once.
        unobserved_weight: weight of all pairs, alpha.
        reg_weight: penalty, lambda.

    Returns:
        Vectors ``(n_users, d)`` and ``(n_items, d)``; not to be changed, for they are kept for the next training.
    """

    def make() -> tuple[Tensor, Tensor]:
        by_user = interaction_matrix(data.edge_index, data.n_users, data.n_items)
        by_item = interaction_matrix(data.edge_index.flip(0), data.n_items, data.n_users)
        generator = torch.Generator().manual_seed(INITIAL_SEED)
        users = 0.1 / dim**0.5 * torch.randn(data.n_users, dim, generator=generator)
        items = users.new_empty(data.n_items, dim)
        with subnormals.as_zeros():
            for _ in range(n_sweeps):
                items = solve(by_item, users, unobserved_weight, reg_weight)
                users = solve(by_user, items, unobserved_weight, reg_weight)
        return users, items

    sizes = (data.n_users, data.n_items, torch.get_default_dtype())
    key = content_key(data.edge_index, *sizes, dim, n_sweeps, unobserved_weight, reg_weight)
    return _factorisations.get(key, make)


_factorisations = Memo[tuple[Tensor, Tensor]](
    CACHED_FACTORISATIONS, KEPT_BYTES, lambda tables: sum(table.nbytes for table in tables)
)


def solve(histories: Tensor, fixed: Tensor, unobserved_weight: float, reg_weight: float) -> Tensor:
    r"""Minimise over one side with the other fixed, exactly, many rows at once.

    .. math:: \Big(\sum_{i \in R_u} q_i q_i^\top + \alpha Q^\top Q + \lambda (|R_u| + \alpha |I|) 1\Big) p_u
              = \sum_{i \in R_u} q_i

    What all rows share is diagonal in one basis, :math:`\alpha Q^\top Q = V \operatorname{diag}(g) V^\top`. With
    :math:`s_u = (g + \lambda (|R_u| + \alpha |I|))^{-1/2}` and the rows :math:`z_i = s_u \odot V^\top q_i` of
    :math:`Z_u`, the solution has two forms:

    .. math:: V^\top p_u = s_u \odot (1 + Z_u^\top Z_u)^{-1} Z_u^\top \mathbf 1
              = s_u \odot Z_u^\top (1 + Z_u Z_u^\top)^{-1} \mathbf 1

    The first is a system of d numbers; the second, by the matrix inversion lemma, one of as many numbers as the row has
    interactions, which is mostly far fewer.

    Args:
        histories: interactions of the side to solve, sparse CSR ``(n, m)``.
        fixed: vectors of the other side, ``(m, d)``.
        unobserved_weight: alpha.
        reg_weight: lambda.

    Returns:
        Vectors ``(n, d)``.
    """
    m, d = fixed.shape
    shared, basis = torch.linalg.eigh(unobserved_weight * fixed.double().T @ fixed.double())
    basis = basis.to(fixed.dtype)
    turned = torch.cat([fixed @ basis, fixed.new_zeros(1, d)])  # padding points at the zero row
    solved = fixed.new_zeros(histories.shape[0], d)
    for rows, padded, lengths in _padded_blocks(histories, d):
        penalty = reg_weight * (lengths.double() + unobserved_weight * m)
        scale = (shared.clamp_min(0.0) + penalty.unsqueeze(1)).rsqrt().to(fixed.dtype)
        vectors = functional.embedding(padded, turned).mul_(scale.unsqueeze(1))
        few = padded.shape[1] <= d
        system = vectors @ vectors.mT if few else vectors.mT @ vectors
        system.diagonal(dim1=1, dim2=2).add_(1.0)
        factor = torch.linalg.cholesky(system, upper=True)  # a third faster than the lower one
        if few:
            ones = vectors.new_ones(len(rows), padded.shape[1], 1)
            row = (vectors.mT @ torch.cholesky_solve(ones, factor, upper=True)).squeeze(2)
        else:
            row = torch.cholesky_solve(vectors.sum(1).unsqueeze(2), factor, upper=True).squeeze(2)
        solved[rows] = row.mul_(scale)
    return solved @ basis.T


def _padded_blocks(histories: Tensor, dim: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Rows of similar length, the empty ones left out: indices ``(b,)``, padded columns ``(b, longest)``, lengths.

    Args:
        histories: sparse CSR ``(n, m)``; columns are padded with m.
        dim: size of the vectors; it bounds the systems and, with the padded columns, the rows of a block.
    """
    starts, columns = histories.crow_indices(), histories.col_indices()
    lengths, order = (starts[1:] - starts[:-1]).sort(stable=True)
    begin = int((lengths == 0).sum())
    while begin < len(order):
        ahead = lengths[begin : begin + BLOCK_ENTRIES]
        rows_so_far = torch.arange(1, len(ahead) + 1)
        fits = (rows_so_far * ahead <= BLOCK_ENTRIES) & (rows_so_far * ahead.clamp_max(dim) ** 2 <= SYSTEM_NUMBERS)
        end = begin + max(1, int(fits.sum()))
        rows, length = order[begin:end], lengths[begin:end]
        place = torch.arange(int(length[-1]))
        entry = (starts[rows].unsqueeze(1) + place).clamp_max(len(columns) - 1)
        yield rows, columns[entry].masked_fill(place >= length.unsqueeze(1), histories.shape[1]), length
        begin = end
