"""Full ranking of a held-out part."""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmbench.data.interactions import Interactions
from mmbench.evaluation.counting import at_once, compared, compared_rows, count_ranks, sorted_ranks, top_items
from mmbench.evaluation.metrics import RankedPairs, Ranking, per_user

#: So many scores fit the processor's cache for the passes that follow the product.
BLOCK_SCORES = 1 << 19
#: Users of a block at least, however many items there are: a product of fewer is slow.
BLOCK_USERS = 64
#: Users whose scores are looked at together for a difference.
ASKED_USERS = 16
#: Held-out items of a user from which on sorting all scores is faster than comparing with each of them.
SORTED_PAIRS = 4
#: Room of a seen item beside a held-out one, in numbers of a block: some 64-bit integers.
SEEN_INTEGERS = 8


class Scorer(Protocol):
    """What evaluation needs of a model."""

    def score(self, users: Tensor) -> Tensor:
        """Scores of all items, ``(B, n_items)``; the same whenever it is asked."""


#: Gives several versions of the scores ``(B, n_items)`` of users ``(B,)``; one may lie in the memory of the one before.
Versions = Callable[[Tensor], Iterator[Tensor]]


class DegenerateScores(ArithmeticError):
    """Scores that rank nothing: NaN, infinite, or the same for every item of every user."""


class Evaluator:
    """Ranks every held-out item of one part among all items the user has not seen.

    One pass over the scores of a block counts, for every held-out item, all items that beat it. Seen ones among them
    are taken off at the end, so nothing is masked and, but for users with several held-out items, nothing copied.
    Only blocks with a tied score, or with a user of many held-out items, are masked, on a copy: the candidates of such
    a user are sorted once, and every item's place is searched for.

    Args:
        heldout: the part to rank.
        seen: interactions whose items are not candidates for their user.
        device: where scores live.
        candidates: items that are ranked at all, ``(n_items,)``; all of them where None.
        ties_rank: whether scores that are all equal are an answer, which their ties then rank: among items that
            nothing tells apart it is the right one.
    """

    def __init__(
        self,
        heldout: Interactions,
        *seen: Interactions,
        device: torch.device | str = "cpu",
        candidates: NDArray[np.bool_] | None = None,
        ties_rank: bool = False,
    ) -> None:
        order = np.lexsort((heldout.items, heldout.users))
        self.users, self.pair_users = np.unique(heldout.users[order], return_inverse=True)
        self.items = heldout.items[order]
        self.n_items = heldout.n_items
        self.device = torch.device(device)
        self.ties_rank = ties_rank
        mask_users, mask_items = _seen_by(self.users, seen)
        self._mask_starts = np.searchsorted(mask_users, np.arange(len(self.users) + 1))
        self._pair_starts = np.searchsorted(self.pair_users, np.arange(len(self.users) + 1))
        # The first pair of a user meets the scores where they are; the others need a copy of the user's row.
        of_many = (np.diff(self._pair_starts) >= SORTED_PAIRS)[self.pair_users]
        is_first = np.diff(self.pair_users, prepend=-1) > 0
        first, others, many = map(np.flatnonzero, (is_first & ~of_many, ~is_first & ~of_many, of_many))
        self._first_starts, self._other_starts, self._many_starts = (
            np.searchsorted(pairs, self._pair_starts) for pairs in (first, others, many)
        )
        counted = np.concatenate([first, others])
        pair_seen = np.isin(self.pair_users * self.n_items + self.items, mask_users * self.n_items + mask_items)

        def on_device(values: NDArray[np.generic]) -> Tensor:
            return torch.from_numpy(values).to(self.device)

        self._user_index = on_device(self.users)
        self._mask_users, self._mask_items = on_device(mask_users), on_device(mask_items)
        self._pair_users, self._pair_items, self._pair_seen = map(on_device, (self.pair_users, self.items, pair_seen))
        self._first, self._others, self._many = map(on_device, (first, others, many))
        self._counted, self._in_order = on_device(np.sort(counted)), on_device(np.argsort(counted))
        self._excluded: Tensor | None = None
        self.n_candidates: NDArray[np.int64] | None = None
        if candidates is not None:
            if not candidates[self.items].all():
                raise ValueError("a held-out item is no candidate")
            self._excluded = on_device(~candidates)
            masked = np.bincount(mask_users[candidates[mask_items]], minlength=len(self.users))
            self.n_candidates = int(candidates.sum()) - masked

    def scores(self, model: Scorer, metric: str) -> NDArray[np.float64]:
        """A metric of every evaluated user, ``(n_users,)``.

        Raises:
            DegenerateScores: as :meth:`rank`.
        """
        return per_user(self.rank(model).pairs, metric)

    def tells_apart(self, model: Scorer) -> bool:
        """Whether any two candidates of any user have different scores."""
        with torch.no_grad():
            return any(
                self._block(model.score(self._user_index[begin:end]), begin, end).varies()
                for begin, end in self._blocks()
            )

    def to(self, device: torch.device) -> Evaluator:
        """The same evaluator for scores that live on ``device``."""
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, value.to(device))
        moved.device = device
        return moved

    def rank(self, model: Scorer, top_k: int = 0) -> Ranking:
        """Rank the part with ``model``; with ``top_k`` also return each user's list.

        Raises:
            DegenerateScores: if scores are NaN, infinite or all equal.
        """
        return self.rank_each(lambda users: map(model.score, [users]), 1, top_k)[0]

    def rank_each(self, versions: Versions, n_versions: int, top_k: int = 0) -> list[Ranking]:
        """Rank the part with each of several versions of the scores, which share the work on a block of users.

        Args:
            versions: gives the versions one after the other, the same whenever it is asked.
            n_versions: how many of them are ranked.
            top_k: length of the lists, without which there are none.

        Raises:
            DegenerateScores: as :meth:`rank`, if that holds of any version.
        """
        tallies = [_Tally() for _ in range(n_versions)]
        for begin, end in self._blocks():
            with torch.no_grad():
                scores = versions(self._user_index[begin:end])
                # No name keeps a block: its memory, still in the cache, serves the next one.
                for tally in tallies:
                    self._count(tally, self._block(next(scores), begin, end), begin, end, top_k)
        for version, tally in enumerate(tallies):
            self._refuse_degenerate(versions, version, tally)
        return [self._ranking(tally) for tally in tallies]

    def _count(self, tally: _Tally, block: _Block, begin: int, end: int, top_k: int) -> None:
        """Add what the scores of one block of users say."""
        tally.informative = tally.informative or block.varies()
        tally.sums.append(block.total)
        tally.of_seen.append(block.of_seen())
        first, rest, many = (
            pairs[starts[begin] : starts[end]]
            for pairs, starts in (
                (self._first, self._first_starts),
                (self._others, self._other_starts),
                (self._many, self._many_starts),
            )
        )
        rows = self._pair_users[first] - begin
        whole = len(rows) == len(block.scores)
        tally.first.append(
            compared(block.scores if whole else block.scores.index_select(0, rows), self._pair_items[first])
        )
        further = compared_rows(block.scores, self._pair_users[rest] - begin, self._pair_items[rest])
        tally.others += further
        pairs = torch.cat([first, rest])
        tally.settled.append(self._settled(block, begin, pairs, [tally.first[-1], *further]))
        if len(many):
            tally.settled.append((many, self._sorted(block, begin, many)))
        if top_k:
            listed = top_items(block.candidates, block.users, min(top_k, self.n_items))
            tally.top.append(listed.int().cpu().numpy())
            if self.ties_rank:  # where they do not, nobody asks
                tally.tied.append(block.tied().cpu().numpy())

    def _ranking(self, tally: _Tally) -> Ranking:
        own, better, _ = (torch.cat(x)[self._in_order] for x in zip(*tally.first, *tally.others, strict=True))
        ranks = torch.empty_like(self._pair_users)
        ranks[self._counted] = better.long() + 1 - self._seen_ahead(own, torch.cat(tally.of_seen))
        settled, places = (torch.cat(parts) for parts in zip(*tally.settled, strict=True))
        ranks[settled] = places
        ranked = ranks.cpu().numpy()
        pairs_ranked = RankedPairs(self.pair_users, ranked, len(self.users), candidates=self.n_candidates)
        top = np.concatenate(tally.top) if tally.top else None
        tied = np.concatenate(tally.tied) if tally.tied else None
        return Ranking(self.users, pairs_ranked, self.items, top, tied=tied)

    def _blocks(self) -> Iterator[tuple[int, int]]:
        step = max(BLOCK_USERS, BLOCK_SCORES // self.n_items)
        for begin in range(0, len(self.users), step):
            yield begin, min(begin + step, len(self.users))

    def _block(self, scores: Tensor, begin: int, end: int) -> _Block:
        seen, total = slice(self._mask_starts[begin], self._mask_starts[end]), scores.sum()
        if self._excluded is not None:
            scores = scores.masked_fill(self._excluded, -torch.inf)
        users = self._user_index[begin:end]
        return _Block(scores, users, self._mask_users[seen] - begin, self._mask_items[seen], total)

    def _refuse_degenerate(self, versions: Versions, version: int, tally: _Tally) -> None:
        # A finite sum has finite terms; only an infinite one asks for a look at all scores.
        if tally.sums and not torch.isfinite(torch.stack(tally.sums).sum()):
            for begin, end in self._blocks():
                with torch.no_grad():
                    scores = next(itertools.islice(versions(self._user_index[begin:end]), version, None))
                if not torch.isfinite(scores).all():
                    raise DegenerateScores("scores are NaN or infinite")
        if not tally.informative and not self.ties_rank:
            raise DegenerateScores("all scores are equal, so they rank nothing")

    def _seen_ahead(self, own: Tensor, of_seen: Tensor) -> Tensor:
        """How many of its user's seen items score more than each pair that was counted, ``(n_counted,)``.

        Args:
            own: score of each of these pairs, ``(n_counted,)``.
            of_seen: scores of the seen items, user after user, ``(n_seen,)``.
        """
        sizes = torch.bincount(self._mask_users, minlength=len(self.users))
        starts = sizes.cumsum(0) - sizes
        ahead, step = [], at_once(SEEN_INTEGERS * max(1, int(sizes.max())))
        for users, level in zip(self._pair_users[self._counted].split(step), own.split(step), strict=True):
            many = sizes[users]
            pairs = torch.arange(len(users), device=own.device).repeat_interleave(many)
            place = torch.arange(len(pairs), device=own.device) - (many.cumsum(0) - many)[pairs]
            before = of_seen[starts[users][pairs] + place] > level[pairs]
            ahead.append(torch.zeros_like(users).index_add_(0, pairs, before.long()))
        return torch.cat(ahead)

    def _settled(
        self, block: _Block, begin: int, pairs: Tensor, counts: Sequence[tuple[Tensor, ...]]
    ) -> tuple[Tensor, Tensor]:
        """Tied pairs of a block, ranked among the candidates alone, and those that are no candidates behind them.

        Args:
            block: its scores.
            begin: position of its first user.
            pairs: its pairs, ``(n_pairs,)``.
            counts: what :func:`~mmbench.evaluation.counting.compared` gives of them, in parts.

        Returns:
            Pairs and their ranks, ``(n_tied,)`` each.
        """
        _, better, at_least = (torch.cat(parts) for parts in zip(*counts, strict=True))
        tied = pairs[(at_least > better + 1) | self._pair_seen[pairs]]
        if not len(tied):
            return tied, tied
        rows, items = self._pair_users[tied] - begin, self._pair_items[tied]
        return tied, count_ranks(block.candidates, rows, items, block.users)

    def _sorted(self, block: _Block, begin: int, pairs: Tensor) -> Tensor:
        """Ranks of pairs whose users have many of them, ``(n_pairs,)``; others as :meth:`_settled`."""
        rows, place = torch.unique_consecutive(self._pair_users[pairs] - begin, return_inverse=True)
        chosen = block if len(rows) == len(block.scores) else block.of(rows)
        return sorted_ranks(chosen.candidates, place, self._pair_items[pairs], chosen.users)


@dataclass
class _Tally:
    """What the blocks of one version of the scores have said so far, in the order of the blocks.

    Args:
        first: what :func:`~mmbench.evaluation.counting.compared` gives of the first pair of each user with few.
        others: the same of their other pairs.
        settled: pairs that were ranked among the candidates alone, and their ranks.
        of_seen: scores of the seen items.
        sums: sum of all scores of each block.
        top: lists of the users.
        tied: users whose lists are of items with one score.
        informative: whether the candidates of any user differ.
    """

    first: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    others: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    settled: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    of_seen: list[Tensor] = field(default_factory=list)
    sums: list[Tensor] = field(default_factory=list)
    top: list[NDArray[np.int32]] = field(default_factory=list)
    tied: list[NDArray[np.bool_]] = field(default_factory=list)
    informative: bool = False


@dataclass(frozen=True)
class _Block:
    """Scores of some users.

    Args:
        scores: of all items, ``(B, n_items)``, minus infinity where an item is no candidate of anybody; otherwise they
            stay as the model gave them, which may keep them.
        users: user index of each row, ``(B,)``.
        seen_rows: rows of the pairs that are no candidates, each pair once, ``(n_seen,)``.
        seen_items: their items, ``(n_seen,)``.
        total: sum of all scores that the model gave.
    """

    scores: Tensor
    users: Tensor
    seen_rows: Tensor
    seen_items: Tensor
    total: Tensor

    @functools.cached_property
    def candidates(self) -> Tensor:
        """A copy of the scores, minus infinity where an item is no candidate."""
        masked = self.scores.clone()
        masked[self.seen_rows, self.seen_items] = -torch.inf
        return masked

    def of_seen(self) -> Tensor:
        """Scores of the seen items, ``(n_seen,)``."""
        return self.scores[self.seen_rows, self.seen_items]

    def of(self, rows: Tensor) -> _Block:
        """The block of chosen rows, ``(n_rows,)``."""
        place = torch.full_like(self.users, -1)
        place[rows] = torch.arange(len(rows), device=rows.device)
        seen = place[self.seen_rows]
        return replace(
            self,
            scores=self.scores[rows],
            users=self.users[rows],
            seen_rows=seen[seen >= 0],
            seen_items=self.seen_items[seen >= 0],
        )

    def varies(self) -> bool:
        """Whether the candidates of any user differ; a few users are asked at a time, as the first mostly tell."""
        for few in torch.arange(len(self.scores), device=self.scores.device).split(ASKED_USERS):
            lowest, highest = self.of(few).bounds()
            if bool((highest > lowest).any()):
                return True
        return False

    def tied(self) -> Tensor:
        """Users who have several candidates, all with one score, ``(B,)``."""
        lowest, highest = self.bounds()
        return (lowest == highest) & ((self.candidates > -torch.inf).sum(1) > 1)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest score of each user's candidates, ``(B,)``; infinite, and the lowest above, without any."""
        scores = self.candidates
        return scores.masked_fill(scores == -torch.inf, torch.inf).amin(1), scores.amax(1)


def _seen_by(users: NDArray[np.int64], seen: tuple[Interactions, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Masked pairs of the evaluated users, each once: position of the user, ascending, and item."""
    all_users = np.concatenate([part.users for part in seen]) if seen else np.empty(0, np.int64)
    all_items = np.concatenate([part.items for part in seen]) if seen else np.empty(0, np.int64)
    known = np.isin(all_users, users)
    place = np.searchsorted(users, all_users[known])
    n_items = max((part.n_items for part in seen), default=1)
    pairs = np.unique(place * n_items + all_items[known])
    return pairs // n_items, pairs % n_items
