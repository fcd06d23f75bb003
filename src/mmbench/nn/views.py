"""Views of users and items through one modality, purified by behaviour, and the loss on them: MGCN, SMORE, GUME."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmbench.nn.distinct import distinct, occurrences
from mmbench.nn.initialisation import linear
from mmbench.nn.item_graphs import ItemGraph
from mmbench.nn.losses import half_squares, nce_of_rows, vector_bpr
from mmbench.nn.propagation import halves, repeated, rows_of_mean
from mmbench.nn.recommender import FactorModel, Triplets
from mmbench.nn.sparse import ConstantMap, DirectedGraph

#: Of the contrast between side information and behaviour in MGCN and SMORE; no configuration of theirs changes it.
TEMPERATURE = 0.2


@dataclass(frozen=True)
class BatchNodes:
    """The distinct users and items of a batch, and where its triplets find them among these.

    Args:
        users: distinct users, ``(n,)``.
        items: distinct positives and negatives, ``(m,)``.
        places: users, positives and negatives of the batch among the n users and m items, each ``(B,)``.
    """

    users: Tensor
    items: Tensor
    places: tuple[Tensor, Tensor, Tensor]

    @classmethod
    def of(cls, batch: Triplets) -> BatchNodes:
        """The nodes of a batch."""
        users, of_users = distinct(batch.users)
        items, of_items = distinct(torch.stack([batch.positives, batch.negatives]))
        positives, negatives = len(users) + of_items
        return cls(users, items, (of_users, positives, negatives))

    def nodes(self, n_users: int) -> Tensor:
        """The users and items as nodes of a graph whose first nodes are all users, ``(n + m,)``."""
        return torch.cat([self.users, n_users + self.items])


class PurifiedView(nn.Module):
    r"""What an item graph says about users and items, :math:`[\hat R\,p;\, p]`.

    .. math:: p = G^L (Q \odot \sigma(W f + b))

    The gate passes those channels of the ID vector that the content supports.

    Args:
        graph: item graph G.
        dim: size of the vectors.
        n_layers: propagation layers, L.
    """

    def __init__(self, graph: ItemGraph, dim: int, n_layers: int) -> None:
        super().__init__()
        self.gate = linear(dim, dim)
        self.item_graph = DirectedGraph(graph.edge_index, graph.weights, graph.n_items)
        self.n_layers = n_layers

    def forward(
        self, ids: Tensor, content: Tensor, to_users: Callable[[Tensor], Tensor], chosen: Tensor | None = None
    ) -> Tensor:
        """Users and items in this view, ``(n_users + n_items, d)``.

        Args:
            ids: ID vectors of items, Q, ``(n_items, d)``.
            content: projected content of items, f, ``(n_items, d)``.
            to_users: weighted sum over the items of every user or of chosen ones, ``(n_items, d)`` to ``(n_users, d)``.
            chosen: the items that are wanted, ``(m,)``; all of them where None.
        """
        items = repeated(self.item_graph, ids * torch.sigmoid(self.gate(content)), self.n_layers)
        return torch.cat([to_users(items), items if chosen is None else items[chosen]])


class PurifiedViews(FactorModel):
    """A model of behaviour e and side information s from views of the items' content, z = e + c s: MGCN and SMORE.

    A step computes both for the distinct users and items of the batch alone.

    Attributes:
        n_users: number of users.
        n_ui_layers: propagation layers over users and items.
        reg_weight: weight of the squared norms of the final batch rows.
        cl_weight: weight of the contrast between side information and behaviour.
        content_weight: weight of content, c.
        divisor: of the squared norms; None for the length of the batch.
        adjacency: normalised graph of users and items, sparse CSR.
        user_embedding: ID vectors ``(n_users, d)``.
        item_embedding: ID vectors ``(n_items, d)``.
        to_users: weighted sum over the items of every user.
        views: a :class:`PurifiedView` by name; none without content.
    """

    n_users: int
    n_ui_layers: int
    reg_weight: float
    cl_weight: float
    content_weight: float
    divisor: int | None
    adjacency: Tensor
    user_embedding: Tensor
    item_embedding: Tensor
    to_users: ConstantMap
    views: nn.ModuleDict

    @abstractmethod
    def contents(self) -> Mapping[str, Tensor]:
        """Content of all items that gates each view, ``(n_items, d)``."""

    @abstractmethod
    def side(self, behaviour: Tensor, views: Mapping[str, Tensor], nodes: Tensor | None) -> Tensor:
        """Side information s of some nodes, ``(n_nodes, d)``.

        Args:
            behaviour: e of these nodes, ``(n_nodes, d)``.
            views: each view of them, ``(n_nodes, d)``.
            nodes: which nodes they are, ``(n_nodes,)``; all of them where None.
        """

    def forward(self) -> tuple[Tensor, Tensor]:
        """Behaviour plus side information of users and of items."""
        return halves(with_side(*self._parts()), self.n_users)

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR, squared norms and the contrast."""
        rows, cl_weight = BatchNodes.of(batch), self.content_weight * self.cl_weight
        return side_losses(*self._parts(rows), rows.places, self.reg_weight, cl_weight, self.divisor)

    def _parts(self, rows: BatchNodes | None = None) -> tuple[Tensor, Tensor | None]:
        """Behaviour and, with content, weighted side information c s of chosen nodes, of all by default.

        Each is ``(n_nodes, d)``, users first.
        """
        nodes = None if rows is None else rows.nodes(self.n_users)
        tables = self.user_embedding, self.item_embedding
        behaviour, _ = rows_of_mean(self.adjacency, *tables, self.n_ui_layers, nodes)
        if not self.views:
            return behaviour, None
        to_users, items = (self.to_users, None) if rows is None else (self.to_users.of_rows(rows.users), rows.items)
        contents, ids = self.contents(), self.item_embedding
        views = {name: view(ids, contents[name], to_users, items) for name, view in self.views.items()}
        return behaviour, self.content_weight * self.side(behaviour, views, nodes)


def common_query(dim: int) -> nn.Module:
    """Makes the attention to what views have in common: rows ``(..., dim)`` to one logit each."""
    return nn.Sequential(linear(dim, dim), nn.Tanh(), linear(dim, 1, bias=False))


def chosen_by_behaviour(
    behaviour: Tensor, views: Tensor, weights: Tensor, gates: nn.ModuleDict, query: nn.Module | None
) -> Tensor:
    r"""Side information that behaviour chooses from views (MGCN, Yu et al. 2023), ``(n, d)``.

    .. math::
        s = \frac{1}{M + 1} \Big(\sum_m a_m\, \sigma(P_m e) \odot (v_m - k) + k\Big), \quad k = \sum_m w_m v_m, \quad
        w_m \propto a_m \exp(q(v_m))

    Args:
        behaviour: e, ``(n, d)``.
        views: v of each modality, ``(M, n, d)``, M at least 1.
        weights: a, ``(M, 1, 1)``.
        gates: a map P ``(n, d)`` to the same for each of several modalities.
        query: the attention q; None with one modality, where :math:`s = v / 2`.
    """
    if query is None:
        return views[0] / 2
    common = (torch.softmax(query(views) + weights.log(), dim=0) * views).sum(0)
    passed = torch.stack([torch.sigmoid(gate(behaviour)) for gate in gates.values()])
    return ((weights * passed * (views - common)).sum(0) + common) / (len(views) + 1)


def with_side(behaviour: Tensor, side: Tensor | None) -> Tensor:
    """Behaviour and side information added up, both ``(n, d)``; behaviour alone without content."""
    return behaviour if side is None else behaviour + side


def side_losses(
    behaviour: Tensor,
    side: Tensor | None,
    rows: tuple[Tensor, Tensor, Tensor],
    reg_weight: float,
    cl_weight: float,
    divisor: int | None,
    temperature: float = TEMPERATURE,
) -> dict[str, Tensor]:
    r"""BPR, squared norms and contrast of side information with behaviour: the loss of MGCN, SMORE and, in part, GUME.

    .. math::
        \mathrm{BPR}(z_u, z_i, z_j) + \lambda\,\frac{\|z_u\|^2 + \|z_i\|^2 + \|z_j\|^2}{2 D}
        + \lambda_c\,[\mathrm{NCE}(s_i, e_i) + \mathrm{NCE}(s_u, e_u)], \quad z = e + s

    Args:
        behaviour: e of all nodes, users first, ``(n_users + n_items, d)``.
        side: s of all nodes, or None without content; then the contrast is left out.
        rows: nodes of the batch: users, positives and negatives, each ``(B,)``.
        reg_weight: weight of the squared norms.
        cl_weight: weight of the contrast.
        divisor: D, by default the length of the batch.
        temperature: of the contrast.
    """
    final = with_side(behaviour, side)
    user, positive, negative = (final[nodes] for nodes in rows)
    terms = {
        "bpr": vector_bpr(user, positive, negative),
        "reg": reg_weight * half_squares(user, positive, negative) / (divisor or len(user)),
    }
    if side is not None:
        for name, nodes in (("users", rows[0]), ("items", rows[1])):
            terms[f"contrast_{name}"] = cl_weight * nce_in_batch(side, behaviour, nodes, temperature)
    return terms


def nce_in_batch(anchors: Tensor, others: Tensor, rows: Tensor, temperature: float) -> Tensor:
    """Mean over chosen rows of :func:`~mmbench.nn.losses.nce_of_rows` within the batch of these rows.

    A row that is given twice counts twice, among the anchors and among the candidates, and is computed once.

    Args:
        anchors: one view, ``(n, d)``.
        others: the other view, ``(n, d)``.
        rows: the chosen rows, ``(B,)``.
        temperature: of the softmax.
    """
    chosen, place = distinct(rows)
    weights, candidates = occurrences(place, len(chosen)).to(others.dtype), others[chosen]
    return (weights * nce_of_rows(anchors[chosen], candidates, candidates, temperature, weights)).sum() / len(rows)
