"""Work of the parts that models are made of, and the time it takes at least.

The floor of a row is its counted work over the machine's own ceilings: dense products over the rate of the dense
product, parameters over the rate of fused Adam, traffic over the bandwidth of copying. Only work that no
implementation of the same mathematics with dense Adam can leave out is counted; intermediate copies, activations and
index arithmetic are not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

FLOAT = 4
#: Bytes that a stored entry of a sparse matrix needs beside the row it points to: its value and its column.
ENTRY = FLOAT + 8


@dataclass(frozen=True)
class Ceilings:
    """What the machine does at best on one thread.

    Args:
        gemm: floating-point operations per second of a projection of features.
        hidden: the same of a projection to a hidden layer of towers, which is four times as wide.
        scores: the same of a block of scores.
        copy: bytes per second, read and written, of copying tables.
        gather: bytes per second of rows read in random order.
        adam: parameters per second of fused Adam.
    """

    gemm: float
    hidden: float
    scores: float
    copy: float
    gather: float
    adam: float


@dataclass(frozen=True)
class Work:
    """Counted work.

    Args:
        flops: of dense products, two per multiplication.
        hidden_flops: of those with a hidden layer of towers.
        score_flops: of the products of user and item vectors.
        traffic: bytes read and written in order.
        gathered: bytes of rows read in random order.
        parameters: numbers that Adam moves.
    """

    flops: float = 0.0
    hidden_flops: float = 0.0
    score_flops: float = 0.0
    traffic: float = 0.0
    gathered: float = 0.0
    parameters: float = 0.0

    def __add__(self, other: Work) -> Work:
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Work(*(mine + theirs for mine, theirs in pairs))

    @property
    def all_flops(self) -> float:
        """Operations of all dense products."""
        return self.flops + self.hidden_flops + self.score_flops

    def times(self, n: float) -> Work:
        """The same work ``n`` times."""
        return Work(*(n * value for value in dataclasses.astuple(self)))

    def seconds(self, ceilings: Ceilings) -> float:
        """Time on one thread at the ceilings."""
        return (
            self.flops / ceilings.gemm
            + self.hidden_flops / ceilings.hidden
            + self.score_flops / ceilings.scores
            + self.traffic / ceilings.copy
            + self.gathered / ceilings.gather
            + self.parameters / ceilings.adam
        )


@dataclass(frozen=True)
class Sizes:
    """What the counts depend on.

    Args:
        users: number of users.
        items: number of items.
        edges: training interactions.
        widths: width of the features by modality.
        batch: triplets of a step.
        unique_users: distinct users of a batch, in the mean.
        unique_positives: distinct positives of a batch, in the mean.
        unique_items: distinct positives and negatives of a batch, in the mean.
        parameters: trained numbers of the model.
        histories: interactions of the distinct users of a batch, in the mean.
        item_edges: edges of the fused frozen item graph.
        user_edges: edges of the graph over users.
        evaluated: users of the ranked part.
        pairs: held-out interactions of the ranked part.
        dim: size of the vectors, d.
        hidden: width of the hidden layer of DualGNN's and DRAGON's towers.
        layers: propagation layers over users and items, L.
        k: neighbours per item.
        kept: share of the edges that FREEDOM trains on.
        routings: of GRCN.
    """

    users: int
    items: int
    edges: int
    widths: Mapping[str, int]
    batch: int
    unique_users: float
    unique_positives: float
    unique_items: float
    parameters: int
    histories: float = 0.0
    item_edges: int = 0
    user_edges: int = 0
    evaluated: int = 0
    pairs: int = 0
    dim: int = 64
    hidden: int = 256
    layers: int = 2
    k: int = 10
    kept: float = 0.2
    routings: int = 3

    @property
    def nodes(self) -> int:
        """Users and items."""
        return self.users + self.items

    @property
    def batch_nodes(self) -> float:
        """Distinct users and items of a batch, in the mean."""
        return self.unique_users + self.unique_items

    @property
    def modalities(self) -> int:
        """Number of modalities."""
        return len(self.widths)


def product(rows: float, inner: float, columns: float) -> Work:
    """One dense product ``(rows, inner)`` times ``(inner, columns)``."""
    return Work(flops=2.0 * rows * inner * columns)


def layer(rows: float, inputs: float, outputs: float, *, inputs_trained: bool = True) -> Work:
    """A linear layer forward and backward: the product, the gradient of the weights and, where asked, of the inputs."""
    return product(rows, inputs, outputs).times(3 if inputs_trained else 2)


def sparse(entries: float, rows: float, dim: float) -> Work:
    """A sparse product: for every entry the row it points to, the entry itself, and the result written once."""
    return Work(gathered=entries * FLOAT * dim, traffic=entries * ENTRY + rows * FLOAT * dim)


def both_ways(entries: float, rows: float, dim: float) -> Work:
    """A sparse product and its backward pass, which is one as well."""
    return sparse(entries, rows, dim).times(2)


def ends(entries: float, rows: float, dim: float) -> Work:
    """Inner products of the two ends of every edge: as in a sparse product, the receiver's row is read once."""
    return Work(gathered=entries * FLOAT * dim, traffic=entries * ENTRY + rows * FLOAT * dim)


def tables(s: Sizes) -> Work:
    """Dense Adam: every parameter moves, and its dense gradient is written once before."""
    return Work(parameters=s.parameters, traffic=FLOAT * s.parameters)


def lookups(s: Sizes, dim: float) -> Work:
    """Rows of users, positives and negatives of a batch: read and written, and their gradients the same."""
    return Work(traffic=2 * 2 * 3 * s.batch * FLOAT * dim)


def interactions(s: Sizes, dim: float, layers: int, edges: float | None = None) -> Work:
    """LightGCN's propagation of all nodes, forward and backward."""
    return both_ways(2 * (s.edges if edges is None else edges), s.nodes, dim).times(layers)


def forward_interactions(s: Sizes, dim: float, layers: int) -> Work:
    """The same propagation without gradients."""
    return sparse(2 * s.edges, s.nodes, dim).times(layers)


def projections(s: Sizes, rows: float) -> Work:
    """Linear maps of the frozen features of every modality to d numbers."""
    return sum((layer(rows, width, s.dim, inputs_trained=False) for width in s.widths.values()), Work())


def forward_projections(s: Sizes) -> Work:
    """The same maps of all items without gradients."""
    return sum((product(s.items, width, s.dim) for width in s.widths.values()), Work())


def similarities(items: float, width: float) -> Work:
    """Exact nearest neighbours: all similarities, each read once to be compared."""
    return product(items, width, items) + Work(traffic=FLOAT * items * items)
