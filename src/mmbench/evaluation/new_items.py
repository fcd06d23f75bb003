r"""Evaluation where some items are new: lists of new items, of items of the training log, and of both.

Scores of new items stand on a scale of their own, so that in common lists they would all be at the top or, mostly, at
the bottom. Lists of both are therefore calibrated for each user (:class:`Calibrated`) with an offset that validation
chooses. See ``docs/protocol.md``, New items.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmbench.data.held_out import TARGETS, HeldOut
from mmbench.data.interactions import Interactions
from mmbench.evaluation.counting import tie_keys
from mmbench.evaluation.metrics import Ranking, Vector, per_user
from mmbench.evaluation.ranking import Evaluator, Scorer

#: Offsets of new items against the others, in standard deviations of the others' scores.
OFFSETS = (-0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
#: Length of the common lists whose new items are counted.
LISTED = 20
#: Seed of the scores of new items that nothing tells apart; another one than that of ties.
CHANCE_SEED = 0xC01D
#: What the offset is chosen by.
METRIC = "ndcg@20"


class Calibrated:
    r"""Scores whose new items are on the scale of the others, by user.

    .. math:: \hat y'_c = \mu_W + \sigma_W \left(\frac{\hat y_c - \mu_Z}{\sigma_Z} + \delta\right)

    Mean and standard deviation are those of the user's unseen items of the training log (W) and of the pool (Z). Where
    all scores of a pool are equal, standard normal numbers from a hash of user and item take the place of the
    fraction: nothing says which new items go first, and that is the floor of common lists.

    Args:
        model: what gives the scores.
        part: the held-out part with its pool.
        seen: interactions whose items are no candidates for their user.
        offset: :math:`\delta`.
        by_chance: whether a pool whose scores are all equal is in the order of chance; else they stay as they are.
    """

    def __init__(
        self,
        model: Scorer,
        part: HeldOut,
        seen: tuple[Interactions, ...],
        offset: float,
        *,
        by_chance: bool = True,
    ) -> None:
        self.model, self.offset, self.by_chance = model, offset, by_chance
        self.warm, self.pool = torch.from_numpy(part.warm), torch.from_numpy(part.pool)
        n_users = part.rows.n_users
        users, items = (np.concatenate([getattr(rows, name) for rows in seen]) for name in ("users", "items"))
        order = np.argsort(users, kind="stable")
        self._items = torch.from_numpy(items[order])
        self._starts = torch.from_numpy(np.searchsorted(users[order], np.arange(n_users + 1)))

    def score(self, users: Tensor) -> Tensor:
        """Calibrated scores of all items, ``(B, n_items)``."""
        return next(self.with_offsets(users, [self.offset]))

    def with_offsets(self, users: Tensor, offsets: Iterable[float]) -> Iterator[Tensor]:
        """Scores calibrated with one offset after the other, ``(B, n_items)`` each; the next one takes its memory."""
        scores = self.model.score(users)
        device = scores.device
        warm, pool = self.warm.to(device), self.pool.to(device)
        unseen = warm.expand(len(users), -1).clone()
        starts, ends = (self._starts[users.cpu() + side] for side in (0, 1))
        rows = torch.arange(len(users)).repeat_interleave(ends - starts)
        first = (ends - starts).cumsum(0) - (ends - starts)
        place = torch.arange(len(rows)) - first[rows] + starts[rows]
        unseen[rows.to(device), self._items[place].to(device)] = False
        exact = scores.to(torch.float64, copy=True)
        mean, spread = _moments(exact, unseen)
        of_pool = exact[:, pool]
        own = of_pool - of_pool.mean(1, keepdim=True)
        width = own.square().mean(1, keepdim=True).sqrt()
        constant = of_pool.amax(1, keepdim=True) == of_pool.amin(1, keepdim=True)
        standard = own / torch.where(constant, 1.0, width)
        rows = constant.squeeze(1)
        if self.by_chance and rows.any():
            standard[rows] = _chance(users[rows], pool)
        for offset in offsets:
            scaled = mean + spread * (standard + offset)
            exact[:, pool] = scaled if self.by_chance else torch.where(constant, of_pool, scaled)
            yield exact


def _moments(scores: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the chosen scores of each row, ``(B, 1)``; zero where a row has none."""
    n = among.sum(1, keepdim=True).clamp_min(1)
    mean = torch.where(among, scores, 0.0).sum(1, keepdim=True) / n
    variance = torch.where(among, (scores - mean).square(), 0.0).sum(1, keepdim=True) / n
    return mean, variance.sqrt()


def _chance(users: Tensor, pool: Tensor) -> Tensor:
    """Standard normal numbers by user and new item, ``(B, n_new)``."""
    bits = (tie_keys(users, len(pool), CHANCE_SEED)[:, pool] >> 11) & ((1 << 53) - 1)
    return torch.special.ndtri((bits.double() + 0.5) / (1 << 53))


class CommonLists:
    """Ranks new items and others in common lists, for users who hold out at least one of each.

    Args:
        part: the held-out part with its pool.
        seen: interactions whose items are no candidates for their user.
        device: where scores live.

    Attributes:
        offset: of :class:`Calibrated`; None takes the best one of :data:`OFFSETS`, as validation does.
    """

    offset: float | None = None

    def __init__(self, part: HeldOut, *seen: Interactions, device: torch.device | str = "cpu") -> None:
        self.part, self.seen = part, seen
        self.evaluator = Evaluator(
            part.among("all"), *seen, device=device, candidates=part.allowed("all"), ties_rank=True
        )

    @property
    def users(self) -> NDArray[np.int64]:
        """Evaluated users, ``(n_users,)``."""
        return self.evaluator.users

    @property
    def device(self) -> torch.device:
        """Where scores live."""
        return self.evaluator.device

    def with_offset(self, offset: float | None) -> CommonLists:
        """The same with an offset that validation chose.

        Raises:
            ValueError: without one.
        """
        if offset is None:
            raise ValueError("common lists have no offset that validation chose")
        other = copy.copy(self)
        other.offset = offset
        return other

    def to(self, device: torch.device) -> CommonLists:
        """The same for scores that live on ``device``."""
        moved = copy.copy(self)
        moved.evaluator = self.evaluator.to(device)
        return moved

    def rank(self, model: Scorer, top_k: int = 0) -> Ranking:
        """Rank with the offset, by default with the best one; pairs say which of them are with new items.

        Raises:
            DegenerateScores: if scores are NaN or infinite.
        """
        offset = self.best(model)[0] if self.offset is None else self.offset
        (ranking,) = self._ranked(model, [offset], max(top_k, LISTED))
        assert ranking.top is not None
        listed = new_in(ranking.top, self.part.pool)
        return replace(ranking, top=ranking.top if top_k else None, listed_new=listed)

    def scores(self, model: Scorer, metric: str) -> Vector:
        """:func:`mmbench.evaluation.metrics.harmonic` of a metric of either kind of items, ``(n_users,)``.

        Raises:
            DegenerateScores: if scores are NaN or infinite.
        """
        return self.best(model, metric)[1] if self.offset is None else per_user(self.rank(model).pairs, metric)

    def best(self, model: Scorer, metric: str = METRIC) -> tuple[float, Vector]:
        """The offset with the best harmonic mean, the first of equals, and its values by user."""
        values = [per_user(ranking.pairs, metric) for ranking in self._ranked(model, OFFSETS)]
        best = max(range(len(OFFSETS)), key=lambda place: values[place].mean())
        return OFFSETS[best], values[best]

    def _ranked(self, model: Scorer, offsets: Sequence[float], top_k: int = 0) -> list[Ranking]:
        """One ranking for each offset; a block of users is scored once for all of them."""
        calibrated = Calibrated(model, self.part, self.seen, 0.0)
        rankings = self.evaluator.rank_each(lambda users: calibrated.with_offsets(users, offsets), len(offsets), top_k)
        new = self.part.pool[self.evaluator.items]
        return [replace(ranking, pairs=replace(ranking.pairs, new=new)) for ranking in rankings]


def new_in(lists: NDArray[np.integer], pool: NDArray[np.bool_], k: int = LISTED) -> NDArray[np.int64]:
    """New items among the first ``k`` of each list ``(n_users, at least k)``: ``(n_users,)``."""
    top = lists[:, :k]
    return (pool[np.maximum(top, 0)] & (top >= 0)).sum(axis=1)


def ranker(
    part: HeldOut, candidates: str, *seen: Interactions, device: torch.device | str = "cpu"
) -> Evaluator | CommonLists:
    """What ranks a held-out part among ``cold``, ``warm`` or ``all`` candidates.

    Scores that are all equal are an answer among new items: nothing tells them apart, and their ties give the floor.

    Args:
        part: the part with its pool.
        candidates: one of :data:`mmbench.data.held_out.CANDIDATES`.
        seen: interactions whose items are no candidates for their user.
        device: where scores live.
    """
    if candidates == "all":
        return CommonLists(part, *seen, device=device)
    return Evaluator(
        part.among(candidates),
        *seen,
        device=device,
        candidates=part.allowed(candidates),
        ties_rank=candidates == "cold",
    )


def ranker_for(
    target: str, part: HeldOut, *seen: Interactions, device: torch.device | str = "cpu"
) -> Evaluator | CommonLists:
    """What ranks a held-out part for a target of tuning, see :func:`ranker`."""
    return ranker(part, TARGETS[target], *seen, device=device)
