"""Counted work of one training step, one epoch and one evaluation of each model, and the time it takes at least.

The floor of a row is its counted work over the machine's own ceilings: dense products over the rate of the dense
product, parameters over the rate of fused Adam, traffic over the bandwidth of copying. Only work that no
implementation of the same mathematics with dense Adam can leave out is counted; intermediate copies, activations and
index arithmetic are not. ``test_work.py`` compares the counts with what torch counts on a small world.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

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


def ends(entries: float, dim: float) -> Work:
    """Inner products of the two ends of every edge."""
    return Work(gathered=entries * 2 * FLOAT * dim, traffic=entries * ENTRY)


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


def bpr(s: Sizes) -> Work:
    """Matrix factorisation."""
    return tables(s) + lookups(s, s.dim)


def lightgcn(s: Sizes) -> Work:
    """Matrix factorisation over propagated tables."""
    return bpr(s) + interactions(s, s.dim, s.layers)


def vbpr(s: Sizes) -> Work:
    """Matrix factorisation and the projection of the distinct items of a batch."""
    return tables(s) + lookups(s, 2 * s.dim) + projections(s, s.unique_items)


def freedom(s: Sizes) -> Work:
    """LightGCN on a sample of the edges, one step over the item graph, distinct items of a batch projected."""
    graphs = interactions(s, s.dim, s.layers, s.kept * s.edges) + both_ways(s.item_edges, s.items, s.dim)
    return bpr(s) + graphs + projections(s, s.unique_items)


def lattice(s: Sizes) -> Work:
    """Propagation with self loops and one step over the stored item graph; the graph itself is work of an epoch."""
    graph = both_ways(s.item_edges, s.items, s.dim)  # at least: learned neighbours are other items than frozen ones
    return bpr(s) + interactions(s, s.dim, s.layers, s.edges + s.nodes / 2) + graph


def mgcn(s: Sizes) -> Work:
    """LightGCN, a gated view per modality over its item graph and its users, attention, and two contrasts."""
    summed = sparse(s.edges, s.users, s.dim) + sparse(s.edges, s.items, s.dim)
    views = layer(s.items, s.dim, s.dim) + both_ways(s.items * s.k, s.items, s.dim) + summed
    mixing = layer(s.nodes, s.dim, s.dim).times(2) + layer(s.nodes, s.dim, 1)  # attention, preference, logit
    contrast = sum((layer(n, s.dim, n) for n in (s.unique_users, s.unique_positives)), Work())
    return lightgcn(s) + projections(s, s.items) + (views + mixing).times(s.modalities) + contrast


def bm3(s: Sizes) -> Work:
    """One layer of LightGCN and a predictor on users, positives and their projected content."""
    predictor = layer(s.batch, s.dim, s.dim).times(2 + s.modalities)
    return bpr(s) + interactions(s, s.dim, 1) + predictor + projections(s, s.unique_positives)


def mmgcn(s: Sizes) -> Work:
    """Per modality three layers over all nodes: message, mean of the neighbours, own map, combination."""
    one = layer(s.nodes, s.dim, s.dim).times(2) + layer(s.nodes, 2 * s.dim, s.dim)
    one += both_ways(2 * s.edges, s.nodes, s.dim)
    return bpr(s) + projections(s, s.items) + one.times(3 * s.modalities)


def grcn(s: Sizes) -> Work:
    """Per modality attention over all edges for every routing and for the content, then two steps of the ID vectors."""
    step = sparse(2 * s.edges, s.nodes, s.dim)
    attended = step.times(3) + ends(2 * s.edges, s.dim).times(2)
    refined = step.times(2) + ends(2 * s.edges, s.dim)
    ids = refined.times(2)
    return bpr(s) + projections(s, s.items) + attended.times(s.modalities * (s.routings + 1)) + ids


def towers(s: Sizes) -> Work:
    """Towers with one hidden layer, propagated side by side."""
    first = sum((layer(s.items, width, s.hidden, inputs_trained=False).flops for width in s.widths.values()), 0.0)
    second = layer(s.items, s.hidden, s.dim).times(s.modalities)
    return Work(hidden_flops=first) + second + interactions(s, s.modalities * s.dim, s.layers)


def dualgnn(s: Sizes) -> Work:
    """Towers and one step over the graph of users."""
    return bpr(s) + towers(s) + both_ways(s.user_edges, s.users, s.dim)


def dragon(s: Sizes) -> Work:
    """Towers side by side over the graph of users and that of items."""
    wide = s.modalities * s.dim
    graphs = both_ways(s.user_edges, s.users, wide) + both_ways(s.item_edges, s.items, wide)
    return tables(s) + lookups(s, wide) + towers(s) + graphs


def similarities(items: float, width: float) -> Work:
    """Exact nearest neighbours: all similarities, each read once to be compared."""
    return product(items, width, items) + Work(traffic=FLOAT * items * items)


def learned_graphs(s: Sizes) -> Work:
    """LATTICE's learned item graph of every modality without gradients; the k similarities are computed once more."""
    kept = product(s.items * s.k, s.dim, 1)
    return forward_projections(s) + (similarities(s.items, s.dim) + kept).times(s.modalities)


def lattice_epoch(s: Sizes) -> Work:
    """Once an epoch the learned graph is built, and its first batch trains the projections."""
    return learned_graphs(s) + forward_projections(s)  # their weights' gradients are as many products


def scored(s: Sizes, dim: float) -> Work:
    """Scores of all items for the ranked users, and one comparison with all scores for every held-out item."""
    return Work(score_flops=2.0 * s.evaluated * s.items * dim, traffic=FLOAT * s.pairs * s.items)


@dataclass(frozen=True)
class Counts:
    """The counts of a model.

    Args:
        step: one step of training.
        dim: size of the final vectors over d.
        epoch: work once per epoch beside the steps.
        forward: work before the scores of an evaluation.
    """

    step: Callable[[Sizes], Work]
    dim: Callable[[Sizes], float] = lambda s: 1.0
    epoch: Callable[[Sizes], Work] = lambda s: Work()
    forward: Callable[[Sizes], Work] = field(default=lambda s: Work())

    def evaluation(self, s: Sizes) -> Work:
        """One evaluation of a split: all vectors, then all scores."""
        return self.forward(s) + scored(s, self.dim(s) * s.dim)

    def epoch_of(self, s: Sizes, steps: int) -> Work:
        """One epoch of training."""
        return self.step(s).times(steps) + self.epoch(s)


COUNTS: Mapping[str, Counts] = {
    "bpr": Counts(bpr),
    "lightgcn": Counts(lightgcn, forward=lambda s: forward_interactions(s, s.dim, s.layers)),
    "vbpr": Counts(vbpr, dim=lambda s: 2.0, forward=forward_projections),
    "freedom": Counts(freedom, forward=lambda s: forward_interactions(s, s.dim, s.layers)),
    "lattice": Counts(
        lattice,
        epoch=lattice_epoch,
        forward=lambda s: forward_interactions(s, s.dim, s.layers) + learned_graphs(s),
    ),
    "mgcn": Counts(mgcn, forward=lambda s: forward_interactions(s, s.dim, s.layers) + forward_projections(s)),
    "bm3": Counts(bm3, forward=lambda s: forward_interactions(s, s.dim, 1)),
    "mmgcn": Counts(mmgcn, forward=forward_projections),
    "grcn": Counts(grcn, dim=lambda s: 1.0 + s.modalities, forward=forward_projections),
    "dualgnn": Counts(dualgnn, forward=lambda s: forward_interactions(s, s.modalities * s.dim, s.layers)),
    "dragon": Counts(
        dragon,
        dim=lambda s: float(s.modalities),
        forward=lambda s: forward_interactions(s, s.modalities * s.dim, s.layers),
    ),
}
