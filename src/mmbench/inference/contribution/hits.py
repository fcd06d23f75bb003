"""M2 and M3: which test interactions are found thanks to what, and what a perfect union could find.

Two trainings of one condition with different seeds find different interactions too, so every share stands beside the
same share with the tested modality replaced by nothing but another seed. Hits are boolean arrays ``(n_seeds, n_pairs)``
over the same test pairs in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmbench.evaluation.metrics import RankedPairs
from mmbench.inference.contribution.bootstrap import (
    MIN_PAIRED_SEEDS,
    REPLICAS,
    Matrix,
    Vector,
    estimate,
    ordered_pairs,
    resamples,
    sums_by_user,
    unbounded,
)
from mmbench.inference.intervals import MIN_USERS, UNCHANGED, Interval

Hits = NDArray[np.bool_]


def hits(rankings: Sequence[RankedPairs], k: int) -> Hits:
    """Whether each test pair is in the top ``k``, one row per seed: ``(n_seeds, n_pairs)``.

    Raises:
        ValueError: if the rankings are not of the same pairs.
    """
    if any(not np.array_equal(ranking.users, rankings[0].users) for ranking in rankings):
        raise ValueError("rankings of different test pairs cannot be compared hit by hit")
    return np.stack([ranking.ranks <= k for ranking in rankings])


def hit_classes(none: Hits, singles: Mapping[str, Hits], fused: Hits) -> dict[str, NDArray[np.float64]]:
    """Class of every hit and miss; arrays of one shape in and out.

    ``net`` (found with all modalities minus found with none) is ``redundant`` (several modalities find it alone) plus
    ``only_<modality>`` (this one alone) plus ``synergy`` (none alone) minus ``lost``. ``kept`` needs no modality;
    ``missed_<modality>`` and ``missed_several`` are found by single modalities but neither with none nor with all.

    Args:
        none: hits without any modality.
        singles: hits with one modality, by its name.
        fused: hits with all modalities.
    """
    count = sum(single.astype(np.int64) for single in singles.values())
    gained, missed = ~none & fused, ~none & ~fused
    classes = {"kept": none & fused, "redundant": gained & (count >= 2)}
    classes |= {f"only_{name}": gained & single & (count == 1) for name, single in singles.items()}
    classes |= {"synergy": gained & (count == 0), "lost": none & ~fused}
    classes |= {f"missed_{name}": missed & single & (count == 1) for name, single in singles.items()}
    classes["missed_several"] = missed & (count >= 2)
    shares = {name: indicator.astype(np.float64) for name, indicator in classes.items()}
    return {**shares, "net": fused.astype(np.float64) - none}


def found_only_with(none: Hits, singles: Mapping[str, Hits], fused: Hits, name: str) -> Vector:
    """Share of seeds in which a pair is found thanks to one modality only: examples to show, ``(n_pairs,)``."""
    shares: Vector = hit_classes(none, singles, fused)[f"only_{name}"].mean(axis=0)
    return shares


@dataclass(frozen=True)
class HitShare:
    """One class of hits as shares of the test pairs.

    Args:
        share: its share.
        floor: its share where the tested modality is replaced by another seed; None with one seed.
        excess: share minus floor, with its interval; None with one seed.
    """

    share: float
    floor: float | None
    excess: Interval | None


def hit_attribution(
    none: Hits,
    singles: Mapping[str, Hits],
    fused: Hits,
    tested: str,
    users: NDArray[np.int64],
    *,
    level: float = 0.95,
    replicas: int = REPLICAS,
    seed: int = 0,
) -> dict[str, HitShare]:
    """Hit attribution of two modalities against its noise floor.

    The floor is the same table with the tested modality replaced by no modality of another seed, and all modalities
    replaced by the other modality of that seed, averaged over all ordered pairs of seeds.

    Args:
        none: hits without any modality, ``(n_seeds, n_pairs)``.
        singles: hits with one modality, by its name.
        fused: hits with both.
        tested: the modality in question.
        users: user of each pair, ``(n_pairs,)``.
        level: coverage.
        replicas: bootstrap samples.
        seed: seed of the bootstrap.

    Raises:
        ValueError: for other than two modalities.
    """
    if len(singles) != 2 or tested not in singles:
        raise ValueError(f"hit attribution tests one of two modalities, not {tested} of {', '.join(sorted(singles))}")
    classes = hit_classes(none, singles, fused)
    table = _by_user(np.stack(list(classes.values())), users)
    shares = {name: float(values.mean()) for name, values in classes.items()}
    n_seeds = len(none)
    if n_seeds == 1:
        return {name: HitShare(share, None, None) for name, share in shares.items()}
    fake = _floor_table(none, singles, tested, users, table.shape)
    floors = fake.sum(axis=(1, 2, 3)) / (len(users) * n_seeds * (n_seeds - 1))
    beyond = np.array(list(shares.values())) - floors
    if n_seeds < MIN_PAIRED_SEEDS:
        excess = [unbounded(float(value), level) for value in beyond]
    else:
        drawn = _excess_samples(table, fake, _pairs_of(users), replicas, seed)
        n = len(_pairs_of(users))
        excess = [_bounded(float(value), samples, n, level) for value, samples in zip(beyond, drawn.T, strict=True)]
    return {
        name: HitShare(share, float(floor), interval)
        for (name, share), floor, interval in zip(shares.items(), floors, excess, strict=True)
    }


def _excess_samples(table: Matrix, fake: Matrix, sizes: NDArray[np.int64], replicas: int, seed: int) -> Matrix:
    """Samples of the shares less those of the floor, ``(replicas, n_classes)``."""
    drawn = []
    for user_counts, seed_counts in resamples(len(sizes), table.shape[2], replicas, seed):
        total = user_counts @ sizes
        drawn.append(_over_seeds(table, user_counts, seed_counts, total) - _off(fake, user_counts, seed_counts, total))
    return np.concatenate(drawn)


def _floor_table(
    none: Hits, singles: Mapping[str, Hits], tested: str, users: NDArray[np.int64], shape: tuple[int, ...]
) -> Matrix:
    """Classes of hits where no modality differs, by user and ordered pair of seeds; ``shape`` with seeds once more."""
    n_seeds = len(none)
    other = next(name for name in singles if name != tested)
    fake = np.zeros((*shape, n_seeds))
    for first, second in ordered_pairs(n_seeds):
        replaced = {name: none[second] if name == tested else singles[other][first] for name in singles}
        classes = hit_classes(none[first], replaced, singles[other][second])
        fake[:, :, first, second] = _by_user(np.stack(list(classes.values()))[:, None], users)[:, :, 0]
    return fake


@dataclass(frozen=True)
class Overlap:
    """How much a tested modality could add to another, by hits.

    Two runs with different modalities are compared across seeds, as two runs of one modality are, so that training
    noise is in both.

    Args:
        jaccard: overlap of the hits of the two modalities.
        jaccard_seeds: overlap of the hits of two seeds of the other modality.
        headroom: what a perfect union with the tested modality finds beyond the union with another seed.
        realised: share of the headroom that using both has gained; None unless the headroom is above zero.
    """

    jaccard: float
    jaccard_seeds: float
    headroom: Interval
    realised: Interval | None


def hit_overlap(
    other: Hits,
    tested: Hits,
    fused: Hits,
    users: NDArray[np.int64],
    *,
    level: float = 0.95,
    replicas: int = REPLICAS,
    seed: int = 0,
) -> Overlap:
    r"""Jaccard overlap and net oracle headroom, :math:`OU(T, I) - OU(T, T')` with :math:`OU = mean(h \vee h')`.

    Args:
        other: hits with the other modality, ``(n_seeds, n_pairs)``.
        tested: hits with the tested one.
        fused: hits with both.
        users: user of each pair, ``(n_pairs,)``.
        level: coverage.
        replicas: bootstrap samples.
        seed: seed of the bootstrap.

    Raises:
        ValueError: with one seed, where nothing tells flicker from headroom.
    """
    n_seeds = len(other)
    if n_seeds < 2:
        raise ValueError("headroom needs at least two seeds: two runs of one condition find different pairs too")
    between = _between_seeds(other, tested, users)
    gain = _by_user((fused.astype(np.float64) - other)[None], users)
    both, either, both_seeds, either_seeds = between.sum(axis=(1, 2, 3)) / (len(users) * n_seeds * (n_seeds - 1))
    jaccards = _ratio(both, either), _ratio(both_seeds, either_seeds)
    if n_seeds < MIN_PAIRED_SEEDS:
        return Overlap(*jaccards, unbounded(float(either - either_seeds), level), None)
    drawn, gains = _headroom_samples(between[[1, 3]], gain, _pairs_of(users), replicas, seed)
    n = len(_pairs_of(users))
    headroom = _bounded(float(either - either_seeds), drawn, n, level)
    realised = None
    if headroom.lo > 0:
        share = float((fused.astype(np.float64) - other).mean()) / headroom.mean
        with np.errstate(divide="ignore", invalid="ignore"):  # a sample without headroom bounds nothing
            realised = _bounded(share, gains / drawn, n, level)
    return Overlap(*jaccards, headroom, realised)


def _between_seeds(other: Hits, tested: Hits, users: NDArray[np.int64]) -> Matrix:
    """Hits that two runs share and that either has, of both modalities and of one modality twice, by user and seeds."""
    n_seeds = len(other)
    between = np.zeros((4, len(_pairs_of(users)), n_seeds, n_seeds))
    for first, second in ordered_pairs(n_seeds):
        a, b, c = other[first], tested[second], other[second]
        rows = np.stack([a & b, a | b, a & c, a | c]).astype(np.float64)
        between[:, :, first, second] = _by_user(rows[:, None], users)[:, :, 0]
    return between


def _headroom_samples(
    unions: Matrix, gain: Matrix, sizes: NDArray[np.int64], replicas: int, seed: int
) -> tuple[Vector, Vector]:
    """Samples of the headroom and of the gain of using both, each ``(replicas,)``."""
    drawn, gains = [], []
    for user_counts, seed_counts in resamples(len(sizes), gain.shape[2], replicas, seed):
        total = user_counts @ sizes
        shares = _off(unions, user_counts, seed_counts, total)
        drawn.append(shares[:, 0] - shares[:, 1])
        gains.append(_over_seeds(gain, user_counts, seed_counts, total)[:, 0])
    return np.concatenate(drawn), np.concatenate(gains)


def _bounded(value: float, drawn: Vector, n_users: int, level: float) -> Interval:
    """A value with its bounds; infinite where no user tells them, as for a gain (:func:`bounded_interval`)."""
    interval = estimate(value, drawn, level)
    return interval if n_users >= MIN_USERS and interval.hi - interval.lo > UNCHANGED else unbounded(value, level)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")


def _pairs_of(users: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.bincount(users)


def _by_user(values: Matrix, users: NDArray[np.int64]) -> Matrix:
    """Sum ``(n_tables, n_seeds, n_pairs)`` over the pairs of each user: ``(n_tables, n_users, n_seeds)``."""
    tables, seeds, pairs = values.shape
    summed = sums_by_user(values.reshape(tables * seeds, pairs).T, users, int(users.max()) + 1)
    return summed.reshape(-1, tables, seeds).transpose(1, 0, 2)


def _over_seeds(table: Matrix, users: NDArray[np.int64], seeds: NDArray[np.int64], total: NDArray[np.int64]) -> Matrix:
    """Share of each table ``(t, n_users, n_seeds)`` in samples of users ``(b, n_users)`` and seeds: ``(b, t)``."""
    by_seed = np.tensordot(users.astype(np.float64), table, axes=(1, 1))
    return np.einsum("bts,bs->bt", by_seed, seeds.astype(np.float64)) / (total * seeds.sum(axis=1))[:, None]


def _off(table: Matrix, users: NDArray[np.int64], seeds: NDArray[np.int64], total: NDArray[np.int64]) -> Matrix:
    """The same for tables over ordered pairs of seeds, ``(t, n_users, n_seeds, n_seeds)``, whose diagonal is empty.

    NaN for a sample that drew one seed only.
    """
    n_seeds = seeds.shape[1]
    flat = table.reshape(*table.shape[:2], n_seeds**2)
    by_pair = np.tensordot(users.astype(np.float64), flat, axes=(1, 1))
    weights = (seeds[:, :, None] * seeds[:, None, :] * (1 - np.eye(n_seeds))).reshape(-1, n_seeds**2)
    mass = weights.sum(axis=1)
    scale = np.where(mass > 0, mass, np.nan) * total
    return np.einsum("btp,bp->bt", by_pair, weights) / scale[:, None]
