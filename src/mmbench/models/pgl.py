"""PGL: Yu et al., "Mind Individual Information! Principal Graph Learning for Multimedia Recommendation", AAAI 2025."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.messages import Refusal
from mmbench.nn.content_features import projected_content
from mmbench.nn.content_weights import weighed
from mmbench.nn.hyperparameters import at_least, nonnegative, one_of, rate
from mmbench.nn.initialisation import table, xavier_uniform
from mmbench.nn.item_graphs import fused_item_graph
from mmbench.nn.losses import nce_of_rows, vector_bpr
from mmbench.nn.noise import Noise
from mmbench.nn.propagation import propagated, with_neighbours
from mmbench.nn.recommender import FactorModel, Triplets, UnseenItems
from mmbench.nn.sampled_graph import SampledGraph
from mmbench.nn.sparse import BLOCK_ENTRIES, sparse_matrix
from mmbench.nn.user_item_graph import user_item_blocks

#: Of the contrast of two dropouts.
TEMPERATURE = 0.2
#: Smallest size of an entry that a principal graph keeps.
THRESHOLD = 1e-3
#: Iterations of :func:`truncated_svd` at most; it stops when the singular values stand still.
MAX_ITERATIONS = 200
#: Columns iterated beyond those wanted; they make the wanted ones converge.
SPARE_COLUMNS = 16
#: Seed of the start of the iteration.
SVD_SEED = 0
MODES = ("local", "global")
ID_ONLY = "id"


class PGL(FactorModel):
    r"""LightGCN on content alone that trains on a principal sub-graph and ranks on the full graph.

    .. math:: z = \bar x + G^L x, \quad x = [\widehat{W_1 f^1 + b_1}, \dots], \quad G = \sum_m s_m \mathrm{kNN}(f^m)

    Items have no ID vectors: :math:`x` are the projected features of all present modalities side by side, each of
    length one, and users have one table per modality. :math:`\bar x` comes from LightGCN on the sub-graph, which is a
    new sample of the edges every epoch (``local``) or the leading part of the spectrum (``global``). Two dropouts of
    the same final vectors are contrasted. With one modality the vectors are those of that modality alone; without any
    a learned item table of the same width, scaled to length one too, takes their place and there is no item graph.
    Items without content have no edges in the graph of that modality.

    By default raw features are frozen and only their projections are trained. ``as_reference`` trains them too, keeps
    the vectors of a modality whose share of the item graph is 0, and lets items without an interaction be neighbours in
    the item graph like any other.

    Args:
        data: training data.
        embedding_dim: size of the vectors of each modality, and number of singular values for ``global``.
        mode: ``local`` or ``global``.
        keep: fraction of the edges in a ``local`` sample.
        n_ui_layers: propagation layers over users and items.
        n_layers: propagation layers over the item graph, L.
        k: neighbours per item, itself included.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        dropout: dropout of the contrasted views.
        reg_weight: weight of the contrast; 0 leaves it out.
        trainable_features: whether the raw features are parameters.
        as_reference: reproduce the numbers of the reference implementation.
    """

    content_needed_because: ClassVar[str] = "without any modality a learned item table takes the place of the features"
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.CONTENT_VECTORS

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        mode: str = "local",
        keep: float = 0.3,
        n_ui_layers: int = 2,
        n_layers: int = 1,
        k: int = 10,
        first_modality_weight: float = 0.1,
        modality_weights: Mapping[str, float] | None = None,
        dropout: float = 0.2,
        reg_weight: float = 0.05,
        trainable_features: bool = False,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim)
        at_least(0, n_ui_layers=n_ui_layers, n_layers=n_layers, k=k)
        nonnegative(reg_weight=reg_weight)
        # Deviations of the reference: raw features are trained too, and nothing of a modality is left out.
        trainable_features |= as_reference
        data, _ = weighed(data, first_modality_weight, modality_weights, leave_out=not as_reference)
        self.mode, self.n_ui_layers, self.n_layers = one_of("mode", mode, MODES), n_ui_layers, n_layers
        self.dropout, self.reg_weight = rate("dropout", dropout), reg_weight
        self.users = nn.ParameterDict(
            {name: table(data.n_users, embedding_dim, xavier_uniform) for name in data.features or [ID_ONLY]}
        )
        self.content = projected_content(data, embedding_dim, trainable=trainable_features)
        self.item_embedding = None if data.features else table(data.n_items, embedding_dim, xavier_uniform)
        self.noise = Noise("user_1", "user_2", "positive_1", "positive_2")
        self.graph = SampledGraph(data.edge_index, data.n_users, data.n_items, keep)
        if mode == "global":
            self.graph.sampled = principal_graph(self.graph.full, data.n_users, embedding_dim)
        self.item_graph = fused_item_graph(data, k, first_modality_weight, modality_weights, unseen_too=as_reference)

    def begin_epoch(self) -> None:
        """Draw the edges of this epoch."""
        if self.mode == "local":
            self.graph.draw()

    def forward(self) -> tuple[Tensor, Tensor]:
        """User vectors, and item vectors plus their smoothed counterparts, one block of columns per modality."""
        towers = [tower() for tower in self.content.values()] if self.item_embedding is None else [self.item_embedding]
        x = torch.cat([functional.normalize(tower, dim=1, eps=1e-12) for tower in towers], dim=1)
        users, items = propagated(self.graph(), torch.cat(list(self.users.values()), dim=1), x, self.n_ui_layers)
        return users, with_neighbours(items, x, self.item_graph, self.n_layers)

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR and the contrast of two dropouts."""
        user, positive, negative = batch.rows(*self())
        terms = {"bpr": vector_bpr(user, positive, negative)}
        if self.reg_weight > 0:
            for name, rows in (("user", user), ("positive", positive)):
                first, second = (self.noise.drop(f"{name}_{view}", rows, self.dropout) for view in (1, 2))
                contrast = nce_of_rows(first, second, second, TEMPERATURE).mean()
                terms[f"contrast_{name}"] = 0.5 * self.reg_weight * contrast
        return terms


def principal_graph(adjacency: Tensor, n_users: int, rank: int) -> Tensor:
    r"""Principal part of the normalised user-item graph by its spectrum.

    .. math:: M = \sum_{r<q} s_r s_{d-q+r}\, u_r v_r^\top, \quad q = \lfloor d/4 \rfloor

    over the singular values of the graph in descending order, entries below :data:`THRESHOLD` left out. The graph of
    users and items has every singular value of its block :math:`R = P\,\mathrm{diag}(\sigma)\,Q^\top` twice, and a pair
    contributes :math:`\sigma_j\,(p_j q_j^\top)` to that block; half as many terms of the block are thus the same sum,
    defined for every rank.

    Args:
        adjacency: symmetric sparse CSR, users first, ``(n_users + n_items, n_users + n_items)``.
        n_users: number of users.
        rank: number of singular values of the whole graph, d; of a block that has fewer, the last of those that it has
            stand in for :math:`s_{d-q+r}`.

    Returns:
        Sparse CSR of the same shape and dtype.
    """
    if rank < 8:
        raise Refusal("a principal graph of rank {rank} is empty; the rank must be at least 8", rank=rank)
    matrix, transposed = user_item_blocks(adjacency, n_users)
    # Of the float32 graph in either precision: which entries pass the threshold must not depend on it.
    left, values, right = truncated_svd(matrix.float(), transposed.float(), rank // 2)
    n_terms = min(rank // 4 // 2, len(values))
    weights = values[:n_terms] * values[len(values) - n_terms :]
    rows, columns, entries = [], [], []
    step = max(1, BLOCK_ENTRIES // len(right))
    for begin in range(0, n_users, step):
        block = (left[begin : begin + step, :n_terms] * weights) @ right[:, :n_terms].T
        kept = (block.abs() >= THRESHOLD).nonzero().T
        rows.append(kept[0] + begin)
        columns.append(kept[1] + n_users)
        entries.append(block[kept[0], kept[1]])
    users, items, weight = torch.cat(rows), torch.cat(columns), torch.cat(entries).to(adjacency.dtype)
    shape = (len(left) + len(right), len(left) + len(right))
    return sparse_matrix(torch.cat([users, items]), torch.cat([items, users]), torch.cat([weight, weight]), shape)


def truncated_svd(matrix: Tensor, transposed: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    r"""Largest singular values of a sparse matrix and their vectors, :math:`A \approx P\,\mathrm{diag}(s)\,Q^\top`.

    By :func:`torch.linalg.svd` for small matrices; otherwise by subspace iteration from a fixed start (Halko,
    Martinsson & Tropp 2011, algorithm 4.4) until the values stand still, never with a dense ``(n, m)`` array.
    :func:`torch.svd_lowrank` runs a given number of iterations instead, and draws its start from the global generator,
    which would shift every later draw of a training.

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
