"""Ranking metrics per user, all derived from the ranks of the held-out items."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmbench import extensions
from mmbench.messages import Refusal

Vector = NDArray[np.float64]
CUTOFFS = (5, 10, 20, 50)
#: Best items of every user that a final run keeps.
LIST_LENGTH = 50


@dataclass(frozen=True)
class RankedPairs:
    """Ranks of held-out (user, item) pairs.

    Args:
        users: position of the pair's user among the evaluated users, ``(n_pairs,)``, in ``[0, n_users)``.
        ranks: rank of the pair's item among all candidates of that user, from 1, ``(n_pairs,)``.
        n_users: number of evaluated users; each has at least one pair.
        new: whether the pair's item is a new one, ``(n_pairs,)``, where lists mix new items with others; each user has
            pairs of both kinds then. None for any other list.
        candidates: items in the list of each user, ``(n_users,)``; None where nobody asked.
    """

    users: NDArray[np.int64]
    ranks: NDArray[np.int64]
    n_users: int
    new: NDArray[np.bool_] | None = None
    candidates: NDArray[np.int64] | None = None

    @property
    def relevant(self) -> NDArray[np.int64]:
        r""":math:`|G_u|`, the number of held-out items of each user, ``(n_users,)``."""
        return np.bincount(self.users, minlength=self.n_users)

    def sum_hits(self, gains: Vector, k: int) -> Vector:
        """Sum ``gains`` ``(n_pairs,)`` over the pairs ranked in the top ``k``, per user."""
        return np.bincount(self.users, np.where(self.ranks <= k, gains, 0.0), self.n_users).astype(
            np.float64, copy=False
        )


@dataclass(frozen=True)
class Ranking:
    """The ranks of one evaluated part.

    Args:
        users: evaluated users in ascending order, ``(n_users,)``.
        pairs: rank of each held-out pair; its user indices point into ``users``.
        items: item of each pair, ``(n_pairs,)``.
        top: the best items of each evaluated user, ``(n_users, k)``, or None where no lists were asked for.
        listed_new: new items among the first 20 of each user's common list, ``(n_users,)``; None for other lists.
        tied: whether a user has several candidates and one score for all of them, ``(n_users,)``; None without lists,
            and where equal scores are refused.
    """

    users: NDArray[np.int64]
    pairs: RankedPairs
    items: NDArray[np.int64]
    top: NDArray[np.int32] | None
    listed_new: NDArray[np.int64] | None = None
    tied: NDArray[np.bool_] | None = None


def recall(pairs: RankedPairs, k: int) -> Vector:
    r""":math:`|L_u^k \cap G_u| / |G_u|` of each user, ``(n_users,)``.

    >>> recall(RankedPairs(users=np.array([0, 0, 1]), ranks=np.array([1, 3, 30]), n_users=2), 2).tolist()
    [0.5, 0.0]
    """
    return pairs.sum_hits(np.ones(len(pairs.ranks)), k) / pairs.relevant


def precision(pairs: RankedPairs, k: int) -> Vector:
    r""":math:`|L_u^k \cap G_u| / k`."""
    return pairs.sum_hits(np.ones(len(pairs.ranks)), k) / k


def hit_rate(pairs: RankedPairs, k: int) -> Vector:
    r""":math:`[\,|L_u^k \cap G_u| > 0\,]`."""
    return (recall(pairs, k) > 0).astype(np.float64)


def ndcg(pairs: RankedPairs, k: int) -> Vector:
    r"""Normalised discounted cumulative gain (Järvelin & Kekäläinen 2002), with binary relevance.

    :math:`\sum_{hits} \log_2^{-1}(r+1) \,/\, \sum_{r \le \min(k, |G_u|)} \log_2^{-1}(r+1)`.

    Args:
        pairs: ranks of the held-out pairs.
        k: length of the list.

    Returns:
        One value per user, ``(n_users,)``.

    >>> pairs = RankedPairs(users=np.array([0, 0, 1]), ranks=np.array([1, 3, 30]), n_users=2)
    >>> ndcg(pairs, 20).round(4).tolist()  # the first user's items stand at ranks 1 and 3, the second user's too low
    [0.9197, 0.0]
    """
    ideal = _summed_discounts(k, pairs.relevant)
    return pairs.sum_hits(1.0 / np.log2(pairs.ranks + 1.0), k) / ideal[np.minimum(len(ideal), pairs.relevant) - 1]


def _summed_discounts(k: int, places: NDArray[np.int64]) -> Vector:
    r""":math:`\sum_{r \le n} \log_2^{-1}(r+1)` for n from 1 to the most ``places`` of anybody, at most k.

    A cut-off may be any number; so many places nobody has.
    """
    most = min(k, int(places.max(initial=1)))
    return np.cumsum(1.0 / np.log2(np.arange(2, most + 2)))


def expected_ndcg(pairs: RankedPairs, tied: NDArray[np.int64], k: int) -> Vector:
    r"""What :func:`ndcg` is expected to be where equal scores stand in random order, in closed form: ``(n_users,)``.

    An item that shares t places from r on stands at each of them with the same chance, so that its expected gain is
    the mean of theirs, zero beyond k. Where all candidates tie it is the one of :func:`floor`.

    Args:
        pairs: held-out pairs, whose ranks are the first of the places that they share.
        tied: how many candidates share the places of each pair's item, itself included, ``(n_pairs,)``.
        k: length of the list.

    >>> pairs = RankedPairs(users=np.array([0]), ranks=np.array([1]), n_users=1, candidates=np.array([4]))
    >>> bool(np.isclose(expected_ndcg(pairs, np.array([4]), 3), floor(pairs, "ndcg@3")).all())
    True
    """
    first, relevant = pairs.ranks - 1, pairs.relevant
    sums = np.concatenate([[0.0], _summed_discounts(k, np.concatenate([first + tied, relevant]))])
    last = len(sums) - 1
    gains = (sums[np.minimum(first + tied, last)] - sums[np.minimum(first, last)]) / tied
    return np.bincount(pairs.users, gains, pairs.n_users) / sums[np.minimum(last, relevant)]


def mrr(pairs: RankedPairs, k: int) -> Vector:
    """Reciprocal rank of the first hit, 0 without one in the top ``k``."""
    first = np.full(pairs.n_users, np.inf)
    np.minimum.at(first, pairs.users, np.where(pairs.ranks <= k, pairs.ranks, np.inf))
    return 1.0 / first


def average_precision(pairs: RankedPairs, k: int) -> Vector:
    r""":math:`\sum_{hits} P(r) \,/\, \min(k, |G_u|)` with P(r) the precision at the hit's rank."""
    order = np.lexsort((pairs.ranks, pairs.users))
    starts = np.cumsum(pairs.relevant) - pairs.relevant
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - np.repeat(starts, pairs.relevant)
    most = min(k, len(order))  # k may be larger than any integer of numpy
    return pairs.sum_hits((place + 1) / pairs.ranks, k) / np.minimum(most, pairs.relevant)


#: Where a user writes the name of a metric.
SETTING = "report.metrics"
METRICS: Mapping[str, Callable[[RankedPairs, int], Vector]] = {
    "recall": recall,
    "ndcg": ndcg,
    "precision": precision,
    "mrr": mrr,
    "map": average_precision,
    "hr": hit_rate,
}


def per_user(pairs: RankedPairs, name: str) -> Vector:
    """One metric by its name, for example ``ndcg@20``: ``(n_users,)``; in mixed lists the one of :func:`harmonic`.

    Raises:
        ValueError: for a name that is not ``<metric>@<k>``.
    """
    metric, k = check_name(name)
    compute = function_of(metric)
    if pairs.new is None:
        return compute(pairs, k)
    return harmonic(*(compute(of_kind(pairs, new=new), k) for new in (False, True)))


def function_of(metric: str) -> Callable[[RankedPairs, int], Vector]:
    """The function that computes a metric; one that is not of this package is imported, and its result is checked.

    Raises:
        ValueError: if it cannot be imported or is no function.
    """
    if metric in METRICS:
        return METRICS[metric]
    function = extensions.function(extensions.METRICS, metric, SETTING)

    def compute(pairs: RankedPairs, k: int) -> Vector:
        given = function(copy.deepcopy(pairs), k)  # whoever writes into them would change every other metric
        try:
            values = np.asarray(given, np.float64)
        except (TypeError, ValueError):
            values = np.empty(0)
        if values.shape != (pairs.n_users,) or not np.isfinite(values).all():
            raise Refusal(
                "metric {metric} must give a finite number for each of the {n} users", metric=metric, n=pairs.n_users
            )
        return values

    return compute


def of_kind(pairs: RankedPairs, *, new: bool) -> RankedPairs:
    """The pairs with new items, or with the others, of lists that mix them; ranks stay those in the whole list."""
    assert pairs.new is not None
    kept = pairs.new == new
    return RankedPairs(pairs.users[kept], pairs.ranks[kept], pairs.n_users, candidates=pairs.candidates)


def harmonic(a: Vector, b: Vector) -> Vector:
    r"""Values by user whose mean is the harmonic mean of two means, :math:`H = 2AB / (A + B)`: ``(n_users,)``.

    H is homogeneous of degree one, so that :math:`h_u = \partial_A H\,a_u + \partial_B H\,b_u` has the mean H exactly
    (Euler), and its variance over users is that of H to first order (the delta method).

    >>> h = harmonic(np.array([0.5, 0.1]), np.array([0.0, 0.2]))
    >>> round(float(h.mean()), 4) == round(2 * 0.3 * 0.1 / 0.4, 4)
    True
    """
    of_a, of_b = float(a.mean()), float(b.mean())
    total = of_a + of_b
    if total == 0.0:
        return np.zeros_like(a)
    return 2.0 * ((of_b / total) ** 2 * a + (of_a / total) ** 2 * b)


def auc(pairs: RankedPairs) -> Vector:
    r"""Chance that a relevant item stands above one that is not, :math:`1 - (\sum r - g(g+1)/2) / (g (n - g))`.

    g of the n candidates of a user are relevant. It does not depend on n, unlike a metric of the top k. A user whose
    candidates are all relevant has nothing to compare and gets 1/2, the value of chance.

    >>> auc(RankedPairs(np.array([0, 0]), np.array([1, 3]), 1, candidates=np.array([4]))).tolist()
    [0.75]
    """
    assert pairs.candidates is not None
    g, n = pairs.relevant, pairs.candidates
    wrong = np.bincount(pairs.users, pairs.ranks, pairs.n_users) - g * (g + 1) / 2
    possible = g * (n - g)
    return 1.0 - np.divide(wrong, possible, out=np.full(pairs.n_users, 0.5), where=possible > 0)


#: Metrics whose floor is known in closed form.
FLOORS = ("recall", "ndcg")


def floor(pairs: RankedPairs, name: str) -> Vector:
    r"""What a metric of the top k is expected to be where all candidates tie, in closed form: ``(n_users,)``.

    With g relevant ones of n: recall :math:`\min(k, n)/n`, NDCG
    :math:`\frac gn \sum_{r \le \min(k, n)} \log_2^{-1}(r+1) / \sum_{r \le \min(k, g)} \log_2^{-1}(r+1)`.

    Args:
        pairs: the lists, whose ranks are not looked at.
        name: ``recall@k`` or ``ndcg@k``.
    """
    assert pairs.candidates is not None
    metric, k = check_name(name)
    n, g = pairs.candidates, pairs.relevant
    if metric == "recall":
        return np.minimum(min(k, int(n.max(initial=1))), n) / n
    if metric != "ndcg":
        raise ValueError(f"the floor of {metric} is not known in closed form")
    sums = _summed_discounts(k, n)
    return g / n * sums[np.minimum(len(sums), n) - 1] / sums[np.minimum(len(sums), g) - 1]


def check_name(name: str) -> tuple[str, int]:
    """Split the name of a metric into metric and cut-off.

    The metric is one of :data:`METRICS`, one that an installed package offers, or the dotted name of a function.

    Raises:
        ValueError: for a name that is not ``<metric>@<k>``.
    """
    metric, _, cutoff = name.partition("@")
    if not (metric in METRICS or is_own(metric)) or not cutoff.isdecimal() or int(cutoff) < 1:
        raise Refusal(
            "{name} is not a metric; write one of {metrics} and a cut-off, like ndcg@20",
            name=repr(name),
            metrics=", ".join([*METRICS, *extensions.offered(extensions.METRICS)]),
        )
    return metric, int(cutoff)


def is_own(metric: str) -> bool:
    """Whether a name may be that of a metric which is no part of the package."""
    if metric in METRICS:
        return False
    return extensions.is_dotted(metric) or metric in extensions.offered(extensions.METRICS)


def mean_metrics(pairs: RankedPairs) -> dict[str, float]:
    """Every metric at every standard cut-off, averaged over users."""
    return {f"{name}@{k}": float(per_user(pairs, f"{name}@{k}").mean()) for name in METRICS for k in CUTOFFS}
