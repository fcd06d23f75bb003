"""M4: what embeddings tell about behaviour, without training a recommender.

Item factors from the training interactions alone are predicted from content by ridge regression across folds of items.
What a modality predicts that the others do not is its unique signal; shuffled rows of the same modality say how much of
that is chance. Content neighbours that are also bought together are the second view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds
from torch import Tensor

from mmbench.data.interactions import Interactions
from mmbench.evaluation.metrics import RankedPairs, expected_ndcg, floor
from mmbench.inference.contribution.bootstrap import REPLICAS, Matrix, Vector, estimate
from mmbench.inference.contribution.ridge import FoldedRidge, principal_components, squared_errors
from mmbench.inference.contribution.shapley import Coalition, coalitions
from mmbench.inference.intervals import Interval
from mmbench.messages import Refusal
from mmbench.nn.common_users import common_user_lists
from mmbench.nn.item_neighbours import content_neighbours

RANK, FOLDS, SHUFFLES = 32, 5, 3
#: Neighbours of the co-purchase recall, and the damping of co-purchase similarities that rest on few users.
NEIGHBOURS, SHRINK = 10, 10.0
#: Length of the lists of new items.
NEW_K = 20
#: Scores of new items that differ by less, relative to the longest vectors behind them, are equal.
ROUNDING = 1e-9
#: Scores of users and items that are ranked at once; ranking takes 66 bytes for each.
BLOCK_SCORES = 4_000_000
#: Items with fewer training interactions have no factors worth predicting.
MIN_INTERACTIONS = 5


def frequent_items(train: Interactions, least: int = MIN_INTERACTIONS) -> NDArray[np.int64]:
    """Items with at least ``least`` training interactions, ascending."""
    return np.flatnonzero(np.bincount(train.items, minlength=train.n_items) >= least)


def item_factors(train: Interactions, rank: int = RANK) -> Matrix:
    r"""Collaborative item factors of unit length, ``(n_items, rank)``: what behaviour says about each item.

    :math:`V \Sigma` of the truncated singular value decomposition of :math:`D_u^{-1/2} R D_i^{-1/2}`, rows scaled to
    length one, so that popular items do not outweigh the others. Items without interactions are zero.

    Raises:
        ValueError: with fewer than three users or items.
    """
    shape = (train.n_users, train.n_items)
    if min(shape) < 3:
        raise Refusal(
            "item factors need at least three users and items, not {users} and {items}", users=shape[0], items=shape[1]
        )
    by_user, by_item = (np.bincount(ids, minlength=n) for ids, n in zip((train.users, train.items), shape, strict=True))
    values = 1.0 / np.sqrt(by_user[train.users] * by_item[train.items].astype(np.float64))
    matrix = sparse.csr_matrix((values, (train.users, train.items)), shape)
    start = np.random.default_rng(0).standard_normal(min(shape))
    _, scales, directions = svds(matrix, k=min(rank, min(shape) - 1), v0=start)
    factors: Matrix = directions.T * scales
    lengths = np.linalg.norm(factors, axis=1, keepdims=True)
    return np.divide(factors, lengths, out=np.zeros_like(factors), where=lengths > 1e-12)


@dataclass(frozen=True)
class Signal:
    """How well content predicts collaborative item factors.

    Args:
        n_items: items it rests on.
        r2: share of their variance predicted from each subset of the modalities; negative is worse than the mean.
        unique: share that only this modality predicts, :math:`R^2_{all} - R^2_{others}`.
        common: the rest, which several modalities explain (or only together, where it is negative).
        null_alone: share predicted by the modality's shuffled rows alone, ``(n_shuffles,)``.
        null_unique: unique share of the modality's shuffled rows beside the others, ``(n_shuffles,)``.
    """

    n_items: int
    r2: Mapping[Coalition, float]
    unique: Mapping[str, Interval]
    common: float
    null_alone: Mapping[str, Vector]
    null_unique: Mapping[str, Vector]


def embedding_signal(
    features: Mapping[str, Matrix],
    targets: Matrix,
    *,
    n_folds: int = FOLDS,
    shuffles: int = SHUFFLES,
    level: float = 0.95,
    replicas: int = REPLICAS,
    seed: int = 0,
) -> Signal:
    r"""Commonality analysis of cross-validated :math:`R^2`, with shuffled modalities as its null.

    Intervals are over items, given the fits.

    Args:
        features: ``(n, d)`` by modality.
        targets: what content should predict, ``(n, r)``; see :func:`item_factors`.
        n_folds: folds of items.
        shuffles: permutations of each modality.
        level: coverage.
        replicas: bootstrap samples.
        seed: seed of folds, permutations and bootstrap.

    Raises:
        ValueError: without a modality, or with fewer than three folds or too few items for them.
    """
    if not features:
        raise Refusal("signal needs at least one modality")
    n = len(targets)
    if not 3 <= n_folds <= n // 4:
        raise Refusal(
            "{items} items cannot be put into {folds} folds of at least four; at least three folds",
            items=n,
            folds=n_folds,
        )
    rng = np.random.default_rng(seed)
    folds = rng.permutation(n) % n_folds
    everyone = frozenset(features)
    narrow = {name: principal_components(np.asarray(features[name], np.float64)) for name in sorted(features)}
    errors = squared_errors(narrow, targets, list(coalitions(everyone)), folds)
    base = errors[frozenset()]
    r2 = {subset: 1.0 - float(e.sum() / base.sum()) for subset, e in errors.items()}
    null_alone, null_unique = {}, {}
    for name in narrow:
        null_alone[name], beside = _shuffled_r2(narrow, name, targets, folds, float(base.sum()), shuffles, rng)
        null_unique[name] = beside - r2[everyone - {name}]
    counts = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(replicas)])
    unique = {name: _unique(name, errors, r2, counts, level) for name in sorted(features)}
    common = r2[everyone] - sum(share.mean for share in unique.values())
    return Signal(n, r2, unique, common, null_alone, null_unique)


def _unique(
    name: str,
    errors: Mapping[Coalition, Vector],
    r2: Mapping[Coalition, float],
    counts: NDArray[np.int64],
    level: float,
) -> Interval:
    """What a modality adds to all others; ``counts`` ``(replicas, n)`` tells how often a sample has each item."""
    everyone = max(errors, key=len)
    others = everyone - {name}
    samples = (counts @ (errors[others] - errors[everyone])) / (counts @ errors[frozenset()])
    return estimate(r2[everyone] - r2[others], samples, level)


def _shuffled_r2(
    narrow: Mapping[str, Matrix],
    name: str,
    targets: Matrix,
    folds: NDArray[np.int64],
    whole: float,
    shuffles: int,
    rng: np.random.Generator,
) -> tuple[Vector, Vector]:
    """:math:`R^2` of a modality's shuffled rows alone, and beside the others, each ``(shuffles,)``."""
    alone, everyone = frozenset({name}), frozenset(narrow)
    drawn = np.empty((shuffles, 2))
    for row in drawn:
        mixed = {**narrow, name: narrow[name][rng.permutation(len(targets))]}
        wrong = squared_errors(mixed, targets, list({alone, everyone}), folds)
        row[:] = [1.0 - float(wrong[subset].sum() / whole) for subset in (alone, everyone)]
    return drawn[:, 0], drawn[:, 1]


@dataclass(frozen=True)
class NewItemReach:
    """What content finds of items that nobody has taken.

    Args:
        ndcg: NDCG@20 among the items of a fold, mean over users and folds, by subset of the modalities.
        floor: the same where nothing tells them apart, in closed form.
        pool: mean number of items of a fold.
    """

    ndcg: Mapping[Coalition, float]
    floor: float
    pool: float


def new_item_reach(
    features: Mapping[str, Matrix],
    present: Mapping[str, NDArray[np.bool_]],
    train: Interactions,
    *,
    n_folds: int = FOLDS,
    seed: int = 0,
) -> NewItemReach | None:
    r"""Each fold of items in turn as if nobody had taken them: how well content ranks them for those who did.

    Item factors (:func:`item_factors`) come from the interactions with the other items. Ridge regression predicts those
    of the fold from content, and a user's score is the inner product with the mean factors of the user's other items.
    Items that content does not tell apart share their places, so that content that tells nothing is at the floor
    exactly; items without content are such, at the mean of the others.

    Args:
        features: ``(n, d)`` by modality.
        present: which items have content, ``(n,)`` by modality; the rows of the others are not looked at.
        train: training interactions among these items.
        n_folds: folds of items.
        seed: seed of the folds.

    Returns:
        None if no fold has an item that was taken by a user of items of other folds.
    """
    folds = np.random.default_rng(seed).permutation(train.n_items) % n_folds
    narrow = {name: principal_components(_centred(features[name], present[name])) for name in sorted(features)}
    subsets = [subset for subset in coalitions(frozenset(narrow)) if subset]
    found: dict[Coalition, list[float]] = {subset: [] for subset in subsets}
    floors = []
    for fold in range(n_folds):
        new = folds == fold
        known, taken = train.select(~new[train.items]), train.select(new[train.items])
        of_user = np.bincount(known.users, minlength=train.n_users)
        taken = taken.select(of_user[taken.users] > 0)
        if not len(taken):
            continue  # nobody says anything of these items
        factors = item_factors(known)
        ridge = FoldedRidge(narrow, factors, folds)
        shape = (train.n_users, train.n_items)
        history = sparse.csr_matrix((1.0 / of_user[known.users], (known.users, known.items)), shape)
        users, positions = np.unique(taken.users, return_inverse=True)
        profiles, pool = (history @ factors)[users], ridge.rows[fold]
        columns, sizes = np.searchsorted(pool, taken.items), np.full(len(users), len(pool))
        for subset in subsets:
            first, tied = _places(profiles, ridge.predicted(fold, subset), positions, columns)
            pairs = RankedPairs(positions, first, len(users), candidates=sizes)
            found[subset].append(float(expected_ndcg(pairs, tied, NEW_K).mean()))
        floors.append(float(floor(pairs, f"ndcg@{NEW_K}").mean()))
    if not floors:
        return None
    means = {subset: float(np.mean(values)) for subset, values in found.items()}
    return NewItemReach(means, float(np.mean(floors)), train.n_items / n_folds)


def _centred(features: Matrix, present: NDArray[np.bool_]) -> Matrix:
    """Features of the items that have content about their mean, zeros for the others, ``(n, d)``."""
    if not present.any():
        return np.zeros(features.shape)
    mean = features[present].mean(axis=0, dtype=np.float64)
    return np.where(present[:, None], features - mean, 0.0)


def _places(
    profiles: Matrix, predicted: Matrix, positions: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first of the places that an item shares with those of equal scores, and how many share them.

    Scores that differ by rounding alone are equal: products of equal rows need not have equal bits. A block of users
    is ranked at a time.

    Args:
        profiles: ``(n_users, r)``.
        predicted: factors of the pool, ``(n_pool, r)``; scores are the inner products.
        positions: user of each pair, ``(n_pairs,)``.
        columns: item of each pair in the pool, ``(n_pairs,)``.

    Returns:
        Two arrays ``(n_pairs,)``; places are counted from 1.
    """
    n_pool, longest = len(predicted), np.linalg.norm(predicted, axis=1).max()
    first, tied = np.empty_like(positions), np.empty_like(positions)
    by_user = np.argsort(positions, kind="stable")
    at_once = max(1, BLOCK_SCORES // n_pool)
    for begin in range(0, len(profiles), at_once):
        block = profiles[begin : begin + at_once]
        scores = block @ predicted.T
        order = np.argsort(-scores, axis=1, kind="stable")
        ordered = np.take_along_axis(scores, order, axis=1)
        rounding = ROUNDING * np.linalg.norm(block, axis=1, keepdims=True) * longest
        lower = ordered[:, :-1] - ordered[:, 1:] > rounding
        level = np.zeros(scores.shape, np.int64)
        np.cumsum(lower, axis=1, out=level[:, 1:])
        own = np.empty_like(level)
        np.put_along_axis(own, order, level, axis=1)
        key = (np.arange(len(level))[:, None] * n_pool + level).ravel()
        sizes = np.bincount(key, minlength=level.size).reshape(level.shape)
        above = np.cumsum(sizes, axis=1) - sizes
        pairs = by_user[slice(*np.searchsorted(positions[by_user], [begin, begin + at_once]))]
        users = positions[pairs] - begin
        asked = own[users, columns[pairs]]
        first[pairs], tied[pairs] = above[users, asked] + 1, sizes[users, asked]
    return first, tied


@dataclass(frozen=True)
class NeighbourRecall:
    """How many of an item's co-purchase neighbours its content neighbours are.

    Args:
        recall: mean over items by subset of the modalities.
        chance: the same for random neighbours.
        k: neighbours of each kind.
    """

    recall: Mapping[Coalition, float]
    chance: float
    k: int


def neighbour_recall(
    features: Mapping[str, Matrix], present: Mapping[str, NDArray[np.bool_]], train: Interactions, k: int = NEIGHBOURS
) -> NeighbourRecall:
    r"""Recall of co-purchase neighbours among content neighbours, a proxy for new items.

    Mean over items of :math:`|N_{content}(i) \cap N_{bought}(i)| / |N_{bought}(i)|` with k neighbours of each
    kind. An item without content finds nothing; an item never bought together with another is left out.

    Args:
        features: ``(n_items, d)`` by modality.
        present: which items have content, ``(n_items,)`` by modality.
        train: training interactions among these items.
        k: neighbours.

    Raises:
        ValueError: if no two items were bought together.
    """
    n = train.n_items
    edges = torch.from_numpy(np.stack([train.users, train.items]))
    items, owners, _ = common_user_lists(edges, train.n_users, n, k, shrink=SHRINK).listing(0, n)
    wanted, sizes = (owners * n + items).numpy(), np.bincount(owners.numpy(), minlength=n)
    if not sizes.any():
        raise Refusal("no two items were bought together, so there are no co-purchase neighbours")
    recalls = {}
    for subset in coalitions(frozenset(features)):
        if subset:
            joined, everywhere = _joined(features, present, sorted(subset))
            lists = content_neighbours(joined, everywhere, everywhere, k)
            keys = (lists.items.unsqueeze(1) * n + lists.indices).numpy()
            hits = np.bincount(owners.numpy()[np.isin(wanted, keys)], minlength=n)
            recalls[subset] = float((hits[sizes > 0] / sizes[sizes > 0]).mean())
    return NeighbourRecall(recalls, min(k, n - 1) / (n - 1), k)


def _joined(
    features: Mapping[str, Matrix], present: Mapping[str, NDArray[np.bool_]], names: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Modalities side by side, each centred and of mean length one, so that none drowns another."""
    parts = []
    for name in names:
        centred = features[name] - features[name][present[name]].mean(axis=0, dtype=np.float64)
        size = np.sqrt((centred[present[name]] ** 2).sum(axis=1).mean())
        parts.append(np.where(present[name][:, None], centred / size if size > 0 else centred, 0.0))
    everywhere = np.logical_or.reduce([present[name] for name in names])
    return torch.from_numpy(np.hstack(parts)), torch.from_numpy(everywhere)
