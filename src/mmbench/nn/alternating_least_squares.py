"""Matrix factorisation by alternating least squares, the backbone that iALS is and others build on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.messages import Refusal
from mmbench.nn.memo import Memo, content_key
from mmbench.nn.sparse import interaction_matrix

#: Entries of padded histories solved at once, and numbers of their systems; such a block stays in the cache.
BLOCK_ENTRIES, SYSTEM_NUMBERS = 1 << 16, 1 << 18
INITIAL_SEED = 0x5EED
#: Factorisations kept in memory: the same trials of other conditions need them again.
CACHED_FACTORISATIONS = 32


def check_weights(unobserved_weight: float, reg_weight: float) -> None:
    """Refuse weights under which the least squares have no unique solution.

    Raises:
        ValueError: if one is not positive.
    """
    if unobserved_weight <= 0 or reg_weight <= 0:
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
        n_sweeps: times that items, then users are solved.
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
        for _ in range(n_sweeps):
            items = solve(by_item, users, unobserved_weight, reg_weight)
            users = solve(by_user, items, unobserved_weight, reg_weight)
        return users, items

    sizes = (data.n_users, data.n_items, torch.get_default_dtype())
    key = content_key(data.edge_index, *sizes, dim, n_sweeps, unobserved_weight, reg_weight)
    return _factorisations.get(key, make)


_factorisations = Memo[tuple[Tensor, Tensor]](CACHED_FACTORISATIONS)


def solve(histories: Tensor, fixed: Tensor, unobserved_weight: float, reg_weight: float) -> Tensor:
    r"""Minimise over one side with the other fixed, all rows of a block at once.

    .. math:: \Big(\sum_{i \in R_u} q_i q_i^\top + \alpha Q^\top Q + \lambda (|R_u| + \alpha |I|) 1\Big) p_u
              = \sum_{i \in R_u} q_i

    Args:
        histories: interactions of the side to solve, sparse CSR ``(n, m)``.
        fixed: vectors of the other side, ``(m, d)``.
        unobserved_weight: alpha.
        reg_weight: lambda.

    Returns:
        Vectors ``(n, d)``.
    """
    m, d = fixed.shape
    gram = unobserved_weight * fixed.T @ fixed
    extended = torch.cat([fixed, fixed.new_zeros(1, d)])  # padding points at the zero row
    solved = fixed.new_empty(histories.shape[0], d)
    for rows, padded, lengths in _padded_blocks(histories, max(1, SYSTEM_NUMBERS // d**2)):
        vectors = extended[padded]
        penalty = reg_weight * (lengths + unobserved_weight * m)
        system = torch.baddbmm(gram, vectors.mT, vectors)
        system.diagonal(dim1=1, dim2=2).add_(penalty.unsqueeze(1))
        factor = torch.linalg.cholesky(system, upper=True)  # a third faster than the lower one
        solved[rows] = torch.cholesky_solve(vectors.sum(1).unsqueeze(2), factor, upper=True).squeeze(2)
    return solved


def _padded_blocks(histories: Tensor, most: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """At most so many rows of similar length: indices ``(b,)``, columns padded with m ``(b, longest)``, lengths."""
    starts, columns = histories.crow_indices(), histories.col_indices()
    lengths, order = (starts[1:] - starts[:-1]).sort(stable=True)
    begin = 0
    while begin < len(order):
        sizes = torch.arange(1, min(len(order) - begin, most) + 1) * lengths[begin : begin + most].clamp_min(1)
        end = begin + max(1, int((sizes <= BLOCK_ENTRIES).sum()))
        rows, length = order[begin:end], lengths[begin:end]
        place = torch.arange(int(length[-1]))
        entry = (starts[rows].unsqueeze(1) + place).clamp_max(max(len(columns) - 1, 0))
        yield rows, columns[entry].masked_fill(place >= length.unsqueeze(1), histories.shape[1]), length
        begin = end
