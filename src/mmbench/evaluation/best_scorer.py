r"""The best scorer of a planted world: it knows how the world is drawn, and of an item what it is allowed to see.

It knows the tastes :math:`w_u` of every user and how far down their list they choose, and the popularity :math:`p_i` of
every item (:mod:`mmbench.data.planted`). Its knowledge of an item's factors :math:`z_i` is a normal distribution
:math:`N(\mu_i, \Sigma_i)`, from the item's features (:func:`told_by_content`) and from the training log
(:func:`told_by_log`).

Users take the items with the largest :math:`\eta_{ui} = (w_u^\top z_i + p_i) / \tau` plus Gumbel noise. That is a race
in which item i arrives after an exponential time with rate :math:`\exp \eta_{ui}` (Yellott 1977). Given the time
:math:`t_u` at which the user stops, each item is taken independently with probability
:math:`1 - \exp(-t_u \exp \eta_{ui})`, and :math:`t_u` is such that the expected number of items is that of the user.
Training shows a random share :math:`a_u` of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmbench.data.features import ItemFeature
from mmbench.data.interactions import Interactions
from mmbench.data.planted import BLOCK, BLOCK_ENTRIES, BLOCKS, FUNCTION_NOISE, TOLD
from mmbench.data.splits import Split

Array = NDArray[np.floating[Any]]
Truth = Mapping[str, NDArray[Any]]
DIM = BLOCK * len(BLOCKS)
#: Items drawn anew to learn what an image tells that is a function of the text.
FRESH_ITEMS = 200_000
#: Least standard deviation of the noise on features: without noise the covariance is singular.
LEAST_NOISE = 1e-3
#: Nodes of the quadrature over the utility.
NODES = 20
#: Largest logarithm of a rate or a threshold, and halvings of the range of the latter.
FARTHEST, HALVINGS = 80.0, 60
#: Fisher scoring ends where no factor moves by more than the tolerance.
SCORING_STEPS, TOLERANCE = 50, 1e-3


@dataclass(frozen=True)
class Belief:
    """A normal distribution of the factors of every item.

    Args:
        mean: ``(n_items, 32)``, in the order of the blocks.
        covariance: ``(n_items, 32, 32)``.
    """

    mean: Array
    covariance: Array


def certain(truth: Truth) -> Belief:
    """All factors as they are."""
    mean = np.hstack([truth[f"factors_{block}"] for block in BLOCKS])
    return Belief(mean, np.zeros((len(mean), DIM, DIM)))


def told_by_content(truth: Truth, features: Mapping[str, ItemFeature], kept: Sequence[str], *, derived: str) -> Belief:
    """What features tell of the factors of every item.

    Features are linear in factors, with normal noise, so the answer is exact. An image that is a function of the
    observed text adds nothing to a text, and the other way round. Where there is no text, the answer is the best linear
    estimate of the factors from the image, with the covariance of its error; cubes of the image add 0.001 to the share
    of variance (0.586) that it explains.

    Args:
        truth: what a world was made of (:func:`mmbench.data.planted.make_world`).
        features: its features by modality.
        kept: modalities that are seen.
        derived: the modality that is a function of the other one as observed; empty where neither is.
    """
    n_items, size = len(truth["popularity"]), len(TOLD) * BLOCK
    precision = np.broadcast_to(np.eye(size), (n_items, size, size)).copy()
    shift = np.zeros((n_items, size))
    noise = max(float(truth["feature_noise"]), LEAST_NOISE)
    for name in kept:
        if name == derived:
            continue
        mixing, feature = truth[f"{name}_mixing"] / noise, features[name]
        precision[feature.present] += mixing @ mixing.T
        shift[feature.present] += feature.values[feature.present] @ mixing.T / noise
    covariance = np.linalg.inv(precision)
    mean = np.einsum("nij,nj->ni", covariance, shift)
    if derived and derived in kept:
        origin = {"image": "text", "text": "image"}[derived]
        weights, error = _told_by_function(truth[f"{origin}_mixing"], truth[f"{derived}_mixing"], noise)
        alone = ~features[origin].present if origin in kept else np.ones(n_items, bool)
        mean[alone] = features[derived].values[alone] @ weights
        covariance[alone] = error
    return Belief(mean[:, :DIM], covariance[:, :DIM, :DIM])


def _told_by_function(of_origin: Array, of_derived: Array, noise: float) -> tuple[Array, Array]:
    """Best linear weights ``(d, 40)`` of a modality that is a function of the other one; covariance of the error.

    Args:
        of_origin: projection of the factors to the other modality, ``(40, d')``.
        of_derived: projection inside the function, ``(d', d)``.
        noise: standard deviation of the noise on the other modality.
    """
    size, width = len(of_origin), of_derived.shape[1]
    rng = np.random.default_rng(FRESH_ITEMS)
    of_features, shared = np.zeros((width, width)), np.zeros((width, size))
    step = max(1, BLOCK_ENTRIES // width)
    for begin in range(0, FRESH_ITEMS, step):
        drawn = rng.standard_normal((min(step, FRESH_ITEMS - begin), size))
        origin = drawn @ of_origin + noise * rng.standard_normal((len(drawn), of_origin.shape[1]))
        derived = np.tanh(origin @ of_derived) + FUNCTION_NOISE * rng.standard_normal((len(drawn), width))
        of_features += derived.T @ derived / FRESH_ITEMS
        shared += derived.T @ drawn / FRESH_ITEMS
    weights = np.linalg.solve(of_features, shared)
    return weights, np.eye(size) - shared.T @ weights


@dataclass(frozen=True)
class Choices:
    """How users choose, as far as it does not depend on an item's factors.

    Args:
        tastes: tastes divided by the temperature, ``(n_users, 32)``.
        popularity: popularity divided by the temperature, ``(n_items,)``.
        in_training: logarithm of the threshold of the choices that training is part of, ``(n_users,)``.
        shown: share of those choices that training shows, ``(n_users,)``.
        trained: items that can be in training, ``(n_items,)``.
        later: logarithm of the threshold of the choices that test is part of, ``(n_users,)``, where users choose anew
            after training; None where they choose once.
    """

    tastes: Array
    popularity: Array
    in_training: Array
    shown: Array
    trained: NDArray[np.bool_]
    later: Array | None = None

    @staticmethod
    def of(truth: Truth, split: Split) -> Choices:
        """The choices of a world as its generator draws them.

        Args:
            truth: what the world was made of.
            split: its interactions, in parts.
        """
        tastes, popularity = truth["tastes"] / truth["temperature"], truth["popularity"] / truth["temperature"]
        items, new = certain(truth).mean, truth["new"]
        train, valid, test = (_counts(part) for part in (split.train, split.valid, split.test))
        whole = train + valid + test
        if not new.any():
            once = _log_thresholds(tastes, items, popularity, whole, np.ones(len(items), bool))
            return Choices(tastes, popularity, once, train / whole, ~new)
        # First among the old items; then, with fresh noise, among all that are not in training.
        first = _log_thresholds(tastes, items, popularity, train, ~new)
        others = np.ones((len(tastes), len(items)), bool)
        others[split.train.users, split.train.items] = False
        later = _log_thresholds(tastes, items, popularity, whole - train, others)
        return Choices(tastes, popularity, first, np.ones(len(tastes)), ~new, later)


def _counts(part: Interactions) -> NDArray[np.int64]:
    """Interactions of each user, ``(n_users,)``."""
    return np.bincount(part.users, minlength=part.n_users).astype(np.int64)


def _log_thresholds(
    tastes: Array, items: Array, popularity: Array, counts: NDArray[np.int64], allowed: NDArray[np.bool_]
) -> Array:
    """Where each user stops, so that the expected number of items among the ``allowed`` is that of the user.

    Args:
        tastes: ``(n_users, 32)``, divided by the temperature.
        items: ``(n_items, 32)``.
        popularity: ``(n_items,)``, divided by the temperature.
        counts: ``(n_users,)``.
        allowed: ``(n_items,)``, or ``(n_users, n_items)``.
    """
    thresholds = np.empty(len(tastes))
    for users in _blocks(len(tastes), len(items)):
        own = allowed if allowed.ndim == 1 else allowed[users]
        utility = np.where(own, tastes[users] @ items.T + popularity, -np.inf)
        low, high = (np.full(len(utility), sign * FARTHEST) for sign in (-1.0, 1.0))
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            enough = _probability(utility + middle[:, None]).sum(1) > counts[users]
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        thresholds[users] = (low + high) / 2
    return thresholds


def _blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    step = max(1, BLOCK_ENTRIES // n_columns)
    return (slice(begin, begin + step) for begin in range(0, n_rows, step))


def told_by_log(choices: Choices, train: Interactions, content: Belief) -> Belief:
    r"""What the training log tells of the factors of every item, beside what its content tells.

    Laplace's method: the mode of the posterior by Fisher scoring, and the inverse of the Fisher information there.
    Training shows the item for a user with probability :math:`a_u (1 - \exp(-t_u \exp \eta_{ui}))`. An item that cannot
    be in training keeps what content tells.

    Args:
        choices: how users choose.
        train: the training log.
        content: what content tells, the prior.
    """
    mean, covariance = content.mean.copy(), content.covariance.copy()
    trained, pairs = np.flatnonzero(choices.trained), _outer_products(choices.tastes)
    for block in _blocks(len(trained), train.n_users):
        rows = trained[block]
        place = np.full(train.n_items, -1)
        place[rows] = np.arange(len(rows))
        own = place[train.items] >= 0
        taken = np.zeros((train.n_users, len(rows)), bool)
        taken[train.users[own], place[train.items[own]]] = True
        offset = choices.popularity[rows] + choices.in_training[:, None]
        likelihood = _Likelihood(choices.tastes, pairs, offset, taken, choices.shown[:, None])
        mean[rows], covariance[rows] = _laplace(likelihood, content.mean[rows], np.linalg.inv(content.covariance[rows]))
    return Belief(mean, covariance)


def _outer_products(tastes: Array) -> Array:
    """``(n_users, 32 * 32)``: quadratic forms of a user's tastes are products with these."""
    return np.einsum("ui,uj->uij", tastes, tastes).reshape(len(tastes), -1)


@dataclass(frozen=True)
class _Likelihood:
    """Likelihood of the training log as a function of the factors of some items.

    Args:
        tastes: ``(n_users, 32)``.
        pairs: their outer products, ``(n_users, 32 * 32)``.
        offset: logarithm of the rate of an item with factors zero, ``(n_users, n)``.
        taken: whether training shows that the user took the item, ``(n_users, n)``.
        shown: share of what the user took that training shows, ``(n_users, 1)``.
    """

    tastes: Array
    pairs: Array
    offset: Array
    taken: NDArray[np.bool_]
    shown: Array

    def of(self, columns: NDArray[np.int64]) -> _Likelihood:
        """The likelihood of the chosen items alone."""
        return replace(self, offset=self.offset[:, columns], taken=self.taken[:, columns])

    def log(self, items: Array) -> Array:
        """Logarithm for factors ``(n, 32)``: ``(n,)``."""
        rate = self._rate(items)
        taken: Array = np.where(self.taken, np.log(-np.expm1(-rate)), self._log_unseen(rate)).sum(0)
        return taken

    def gradient(self, items: Array) -> Array:
        """Gradient of the logarithm at factors ``(n, 32)``: ``(n, 32)``."""
        rate = self._rate(items)
        gradient: Array = (self.tastes.T @ np.where(self.taken, _rises(rate), -self._falls(rate))).T
        return gradient

    def information(self, items: Array, *, at_least_observed: bool = False) -> Array:
        """Fisher information at factors ``(n, 32)``: ``(n, 32, 32)``.

        Args:
            items: the factors.
            at_least_observed: take the observed information of a user's choice where it is larger than the expected
                one, which nearly vanishes where the factors are far off.
        """
        rate = self._rate(items)
        falls = self._falls(rate)
        weights = falls * falls * np.exp(self._log_unseen(rate)) / (-self.shown * np.expm1(-rate))
        if at_least_observed:
            of_taken = _rises(rate) * (rate / -np.expm1(-rate) - 1)
            weights = np.maximum(weights, np.where(self.taken, of_taken, falls * (1 - rate + falls)))
        return (self.pairs.T @ weights).T.reshape(-1, items.shape[1], items.shape[1])

    def _rate(self, items: Array) -> Array:
        return np.exp(np.minimum(self.tastes @ items.T + self.offset, FARTHEST))

    def _log_unseen(self, rate: Array) -> Array:
        """Logarithm of the probability that training does not show the item."""
        with np.errstate(divide="ignore"):
            return np.logaddexp(np.log1p(-self.shown), np.log(self.shown) - rate)

    def _falls(self, rate: Array) -> Array:
        """Minus the derivative of :meth:`_log_unseen` by the logarithm of the rate, without 0 / 0 far off."""
        falls: Array = rate * np.exp(np.log(self.shown) - rate - self._log_unseen(rate))
        return falls


def _rises(rate: Array) -> Array:
    """Derivative of the logarithm of the probability that training shows the item, by that of the rate."""
    rises: Array = rate / np.expm1(np.minimum(rate, FARTHEST))
    return rises


def _laplace(likelihood: _Likelihood, prior: Array, precision: Array) -> tuple[Array, Array]:
    """Mode ``(n, 32)`` and covariance ``(n, 32, 32)`` under normal priors of these means and precisions."""
    mode, left = prior.copy(), np.arange(len(prior))
    for _ in range(SCORING_STEPS):
        here = likelihood.of(left)

        def log_posterior(items: Array, here: _Likelihood = here, left: NDArray[np.int64] = left) -> Array:
            away = items - prior[left]
            return here.log(items) - np.einsum("ni,nij,nj->n", away, precision[left], away) / 2

        pull = np.einsum("nij,nj->ni", precision[left], prior[left] - mode[left])
        curvature = here.information(mode[left], at_least_observed=True) + precision[left]
        step = np.linalg.solve(curvature, (here.gradient(mode[left]) + pull)[:, :, None])[:, :, 0]
        settled, best = np.abs(step).max(1) < TOLERANCE, log_posterior(mode[left])
        for _ in range(HALVINGS):
            too_far = (log_posterior(mode[left] + step) < best) & ~settled
            if not too_far.any():
                break
            step[too_far] /= 2
        mode[left] += step
        left = left[~settled]
        if not len(left):
            break
    return mode, np.linalg.inv(likelihood.information(mode) + precision)


class BestScorer:
    r"""Scores items by the probability that a user took them in test, given that training does not show it.

    Let :math:`P = 1 - \exp(-t_u \exp \eta_{ui})`. With :math:`\eta_{ui}` known that is :math:`P / (1 - a_u P)` up to a
    factor of the user, or :math:`P` with the threshold of the later choices where users choose anew. The score is its
    mean over the normal distribution of :math:`\eta_{ui}`; where the belief has not seen the log, weighted by the
    probability :math:`1 - a_u P` that training does not show the item.

    Args:
        choices: how users choose.
        belief: what is known of the factors.
        knows_log: whether that includes the training log.
    """

    def __init__(self, choices: Choices, belief: Belief, *, knows_log: bool) -> None:
        self._choices, self._belief, self._knows_log = choices, belief, knows_log
        self._spread = belief.covariance.reshape(len(belief.mean), -1).T
        self._nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        self._weights = weights / weights.sum()

    def score(self, users: Tensor) -> Tensor:
        """Scores of all items, ``(B, n_items)``."""
        rows, of = users.cpu().numpy(), self._choices
        tastes, threshold = of.tastes[rows], of.in_training[rows, None]
        shown = of.shown[rows, None] * of.trained
        mean = tastes @ self._belief.mean.T + of.popularity
        deviation = np.sqrt(np.maximum(_outer_products(tastes) @ self._spread, 0))
        total, weights = np.zeros_like(mean), np.full_like(mean, np.finfo(float).tiny)
        for node, weight in zip(self._nodes, self._weights, strict=True):
            utility = mean + node * deviation
            taken = _probability(utility + threshold)
            unseen = 1 - shown * taken
            taken = taken / unseen if of.later is None else _probability(utility + of.later[rows, None])
            weighted = weight if self._knows_log else weight * unseen
            total += weighted * taken
            weights += weighted
        return torch.from_numpy(total / weights)


def _probability(log_rate: Array) -> Array:
    """Probability that an item arrives at all: ``1 - exp(-exp(log_rate))``."""
    arrives: Array = -np.expm1(-np.exp(np.minimum(log_rate, FARTHEST)))
    return arrives
