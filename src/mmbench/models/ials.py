"""iALS: Hu et al., ICDM 2008, as revisited by Rendle et al., "Revisiting the Performance of iALS ...", RecSys 2022."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.messages import Refusal
from mmbench.models.base import ClosedForm
from mmbench.nn.interactions import interaction_matrix

#: Entries of padded histories solved at once; bounds the memory of a block of users.
BLOCK_ENTRIES = 1 << 16
INITIAL_SEED = 0x5EED


class IALS(ClosedForm):
    r"""Matrix factorisation over all pairs by alternating least squares, :math:`\hat y_{ui} = p_u^\top q_i`.

    .. math:: \sum_{(u,i) \in R} (\hat y_{ui} - 1)^2 + \alpha \sum_{u,i} \hat y_{ui}^2
              + \lambda \sum_u (|R_u| + \alpha |I|) \|p_u\|^2 + \lambda \sum_i (|R_i| + \alpha |U|) \|q_i\|^2

    The penalty grows with the number of interactions (Rendle et al. 2022, :math:`\nu = 1`). The start is
    always the same random numbers, so that the result is a function of the data alone. Features are ignored.

    Args:
        data: training data.
        embedding_dim: size of the user and item vectors, d.
        n_sweeps: times that items, then users are solved.
        unobserved_weight: weight of all pairs, alpha.
        reg_weight: penalty, lambda.
    """

    uses_content: ClassVar[bool] = False
    users: Tensor
    items: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        n_sweeps: int = 10,
        unobserved_weight: float = 0.3,
        reg_weight: float = 1e-2,
    ) -> None:
        super().__init__()
        if unobserved_weight <= 0 or reg_weight <= 0:
            raise Refusal(
                "unobserved_weight={unobserved_weight} and reg_weight={reg_weight} must be positive, else the least "
                "squares have no unique solution",
                unobserved_weight=unobserved_weight,
                reg_weight=reg_weight,
            )
        self.embedding_dim, self.n_sweeps = embedding_dim, n_sweeps
        self.unobserved_weight, self.reg_weight = unobserved_weight, reg_weight
        self.register_buffer("users", torch.empty(0), persistent=False)
        self.register_buffer("items", torch.empty(0), persistent=False)

    def fit(self, data: RecData) -> None:
        """Solve items and users in turn, from small random user vectors."""
        by_user = interaction_matrix(data.edge_index, data.n_users, data.n_items)
        by_item = interaction_matrix(data.edge_index.flip(0), data.n_items, data.n_users)
        generator = torch.Generator().manual_seed(INITIAL_SEED)
        self.users = 0.1 / self.embedding_dim**0.5 * torch.randn(data.n_users, self.embedding_dim, generator=generator)
        for _ in range(self.n_sweeps):
            self.items = solve(by_item, self.users, self.unobserved_weight, self.reg_weight)
            self.users = solve(by_user, self.items, self.unobserved_weight, self.reg_weight)

    def score(self, users: Tensor) -> Tensor:
        """Inner products: ``(B, n_items)``."""
        return self.users[users] @ self.items.T


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
    for rows, padded, lengths in _padded_blocks(histories):
        vectors = extended[padded]
        penalty = reg_weight * (lengths + unobserved_weight * m)
        system = vectors.mT @ vectors + gram + torch.diag_embed(penalty.to(fixed.dtype).unsqueeze(1).expand(-1, d))
        factor = torch.linalg.cholesky(system)
        solved[rows] = torch.cholesky_solve(vectors.sum(1).unsqueeze(2), factor).squeeze(2)
    return solved


def _padded_blocks(histories: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Rows of similar length together: their indices ``(b,)``, columns padded with m ``(b, longest)``, lengths."""
    starts, columns = histories.crow_indices(), histories.col_indices()
    lengths, order = (starts[1:] - starts[:-1]).sort(stable=True)
    begin = 0
    while begin < len(order):
        sizes = torch.arange(1, len(order) - begin + 1) * lengths[begin:].clamp_min(1)
        end = begin + max(1, int((sizes <= BLOCK_ENTRIES).sum()))
        rows, length = order[begin:end], lengths[begin:end]
        place = torch.arange(int(length[-1]))
        entry = (starts[rows].unsqueeze(1) + place).clamp_max(max(len(columns) - 1, 0))
        yield rows, columns[entry].masked_fill(place >= length.unsqueeze(1), histories.shape[1]), length
        begin = end
