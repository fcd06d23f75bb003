"""Counted work of one training step, one epoch and one evaluation of each model.

``test_work.py`` compares the counts with what torch counts on a small world.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.benchmarks.work import (
    ENTRY,
    FLOAT,
    Sizes,
    Work,
    both_ways,
    ends,
    forward_interactions,
    forward_projections,
    interactions,
    layer,
    lookups,
    product,
    projections,
    similarities,
    sparse,
    tables,
)


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
    """LightGCN, a gated view per modality over its item graph, attention on the nodes of the batch, two contrasts."""
    summed = sparse(s.histories, s.unique_users, s.dim) + sparse(s.edges, s.items, s.dim)
    views = layer(s.items, s.dim, s.dim) + both_ways(s.items * s.k, s.items, s.dim) + summed
    # Attention, preference and logit.
    mixing = layer(s.batch_nodes, s.dim, s.dim).times(2) + layer(s.batch_nodes, s.dim, 1)
    contrast = sum((layer(n, s.dim, n) for n in (s.unique_users, s.unique_positives)), Work())
    return lightgcn(s) + projections(s, s.items) + (views + mixing).times(s.modalities) + contrast


def forward_mgcn(s: Sizes) -> Work:
    """The same without gradients and contrasts."""
    views = product(s.items, s.dim, s.dim) + sparse(s.items * s.k, s.items, s.dim) + sparse(s.edges, s.users, s.dim)
    mixing = product(s.nodes, s.dim, s.dim).times(2) + product(s.nodes, s.dim, 1)
    sides = (views + mixing).times(s.modalities)
    return forward_interactions(s, s.dim, s.layers) + forward_projections(s) + sides


def bm3(s: Sizes) -> Work:
    """One layer of LightGCN and a predictor on users, positives and their projected content."""
    predictor = layer(s.batch, s.dim, s.dim).times(2 + s.modalities)
    return bpr(s) + interactions(s, s.dim, 1) + predictor + projections(s, s.unique_positives)


def mmgcn(s: Sizes) -> Work:
    """Per modality three layers over all nodes: message, mean of the neighbours, own map, combination."""
    one = layer(s.nodes, s.dim, s.dim).times(2) + layer(s.nodes, 2 * s.dim, s.dim)
    one += both_ways(2 * s.edges, s.nodes, s.dim)
    return bpr(s) + projections(s, s.items) + one.times(3 * s.modalities)


def forward_mmgcn(s: Sizes) -> Work:
    """The same without gradients."""
    one = product(s.nodes, s.dim, s.dim).times(2) + product(s.nodes, 2 * s.dim, s.dim)
    one += sparse(2 * s.edges, s.nodes, s.dim)
    return forward_projections(s) + one.times(3 * s.modalities)


def grcn(s: Sizes) -> Work:
    """Per modality routing, which moves users alone, and one step over all edges; then two steps of the ID vectors.

    The scores of an edge and of its reverse are the same.
    """
    to_users, to_items = sparse(s.edges, s.users, s.dim), sparse(s.edges, s.items, s.dim)
    scored = ends(s.edges, s.users, s.dim) + to_users + to_items
    routed = scored + to_users + ends(s.edges, s.users, s.dim) + to_items
    step = both_ways(2 * s.edges, s.nodes, s.dim) + ends(2 * s.edges, s.nodes, s.dim)
    content = routed.times(s.routings) + scored + step
    return bpr(s) + projections(s, s.items) + content.times(s.modalities) + step.times(2)


def forward_grcn(s: Sizes) -> Work:
    """The same without gradients."""
    step, scores = sparse(2 * s.edges, s.nodes, s.dim), ends(s.edges, s.users, s.dim)
    content = (scores + sparse(s.edges, s.users, s.dim)).times(s.routings) + scores + step
    return forward_projections(s) + content.times(s.modalities) + step.times(2)


def towers(s: Sizes) -> Work:
    """Towers with one hidden layer, propagated side by side."""
    first = sum((layer(s.items, width, s.hidden, inputs_trained=False).flops for width in s.widths.values()), 0.0)
    second = layer(s.items, s.hidden, s.dim).times(s.modalities)
    return Work(hidden_flops=first) + second + interactions(s, s.modalities * s.dim, s.layers)


def forward_towers(s: Sizes) -> Work:
    """The same without gradients."""
    first = sum((product(s.items, width, s.hidden).flops for width in s.widths.values()), 0.0)
    second = product(s.items, s.hidden, s.dim).times(s.modalities)
    return Work(hidden_flops=first) + second + forward_interactions(s, s.modalities * s.dim, s.layers)


def dualgnn(s: Sizes) -> Work:
    """Towers and one step over the graph of users."""
    return bpr(s) + towers(s) + both_ways(s.user_edges, s.users, s.dim)


def dragon(s: Sizes) -> Work:
    """Towers side by side over the graph of users and that of items."""
    wide = s.modalities * s.dim
    graphs = both_ways(s.user_edges, s.users, wide) + both_ways(s.item_edges, s.items, wide)
    return tables(s) + lookups(s, wide) + towers(s) + graphs


def forward_dragon(s: Sizes) -> Work:
    """The same without gradients."""
    wide = s.modalities * s.dim
    return forward_towers(s) + sparse(s.user_edges, s.users, wide) + sparse(s.item_edges, s.items, wide)


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
    "freedom": Counts(
        freedom,
        forward=lambda s: forward_interactions(s, s.dim, s.layers) + sparse(s.item_edges, s.items, s.dim),
    ),
    "lattice": Counts(
        lattice,
        epoch=lattice_epoch,
        forward=lambda s: forward_interactions(s, s.dim, s.layers) + learned_graphs(s),
    ),
    "mgcn": Counts(mgcn, forward=forward_mgcn),
    "bm3": Counts(bm3, forward=lambda s: forward_interactions(s, s.dim, 1) + product(s.nodes, s.dim, s.dim)),
    "mmgcn": Counts(mmgcn, forward=forward_mmgcn),
    "grcn": Counts(grcn, dim=lambda s: 1.0 + s.modalities, forward=forward_grcn),
    "dualgnn": Counts(dualgnn, forward=lambda s: forward_towers(s) + sparse(s.user_edges, s.users, s.dim)),
    "dragon": Counts(
        dragon,
        dim=lambda s: float(s.modalities),
        forward=forward_dragon,
    ),
}


# Models that are computed.


@dataclass(frozen=True)
class SimpleSizes:
    """What the counts of computed models depend on.

    Args:
        users: number of users.
        items: number of items.
        edges: training interactions.
        products: squared lengths of the histories, added up: pairs of items that a user has.
        entries: weights between items that are kept.
        additions: of weights to scores, over all ranked users.
        seen: items in the histories of ranked users.
        evaluated: users of the ranked part.
        pairs: held-out interactions of the ranked part.
        widths: items with content and width of the features by modality.
        dim: size of the vectors, d.
        sweeps: of alternating least squares.
        solved: operations of the systems of one sweep, each in the smaller of its two forms.
    """

    users: int
    items: int
    edges: int
    products: int
    entries: int
    additions: int
    seen: int
    evaluated: int
    pairs: int
    widths: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    dim: int = 0
    sweeps: int = 0
    solved: float = 0.0


def by_users(s: SimpleSizes) -> Work:
    """All products of common users, each an entry that is read, and the kept weights written once."""
    return Work(traffic=ENTRY * (s.products + s.entries))


def by_content(s: SimpleSizes) -> Work:
    """All similarities of content, each read once, and the kept weights written once."""
    compared = sum((similarities(items, width) for items, width in s.widths.values()), Work())
    return compared + Work(traffic=ENTRY * s.entries)


def compared_scores(s: SimpleSizes) -> Work:
    """Every score written once, and one comparison with all scores for every held-out item."""
    return Work(traffic=FLOAT * s.items * (s.evaluated + s.pairs))


def added(s: SimpleSizes) -> Work:
    """Ranking of a neighbourhood model: for every addition the weight, its place, and the score read and written."""
    return Work(traffic=(ENTRY + 2 * FLOAT) * s.additions) + compared_scores(s)


def inverse(s: SimpleSizes) -> Work:
    """A third of a cube for the factor, two for the inverse; in double precision, at half the rate of single."""
    return Work(flops=2.0 * s.items**3) + by_users(s)


def dense_rows(s: SimpleSizes) -> Work:
    """Ranking of EASE: a row of weights for every item of a history."""
    return Work(gathered=FLOAT * s.items * s.seen) + compared_scores(s)


def alternating(s: SimpleSizes) -> Work:
    """Per sweep what all rows of both sides share, their systems, and the vectors of both ends of every interaction."""
    shared = Work(flops=2.0 * (s.users + s.items) * s.dim**2 + s.solved, gathered=2 * FLOAT * s.dim * s.edges)
    return shared.times(s.sweeps)


def of_vectors(s: SimpleSizes) -> Work:
    """Ranking by inner products."""
    return Work(score_flops=2.0 * s.evaluated * s.items * s.dim, traffic=FLOAT * s.pairs * s.items)


@dataclass(frozen=True)
class SimpleCounts:
    """The counts of a computed model.

    Args:
        fit: work of fitting it.
        ranking: work of ranking a split.
    """

    fit: Callable[[SimpleSizes], Work]
    ranking: Callable[[SimpleSizes], Work]


SIMPLE_COUNTS: Mapping[str, SimpleCounts] = {
    "itemknn": SimpleCounts(by_users, added),
    "hybridknn": SimpleCounts(lambda s: by_users(s) + by_content(s), added),
    "contentknn": SimpleCounts(by_content, added),
    "ease": SimpleCounts(inverse, dense_rows),
    "ials": SimpleCounts(alternating, of_vectors),
}
