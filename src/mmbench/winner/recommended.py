"""Lists of the best items of users, in raw ids."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmbench.data.dataset import LeftOut
from mmbench.data.held_out import HeldOut
from mmbench.data.interactions import Index, Interactions
from mmbench.data.readers.ids import places_of
from mmbench.data.readers.journal import Journal
from mmbench.data.readers.recommendations import recommendations_frame
from mmbench.evaluation.new_items import Calibrated
from mmbench.evaluation.ranking import DegenerateScores, Evaluator, Scorer
from mmbench.messages import Message, Refusal, clauses
from mmbench.nn.recommender import ClosedForm, Recommender
from mmbench.nn.sparse import interaction_matrix
from mmbench.winner.chosen import Winner

#: Users whose places of all items are held at once.
BLOCK_USERS = 256
#: A model and what ranks its items: itself, or its calibrated scores.
Ranked = tuple[Recommender, Scorer]
#: Raw ids that a sentence names at most.
NAMED = 3


@dataclass(frozen=True)
class Asked:
    """Which lists are asked for.

    Args:
        top: items of a list.
        seeds: final runs; the items of several are ordered by their mean rank.
        as_tested: leave out what was left out when the test split was ranked; by default all that a user has is left
            out, test items included.
    """

    top: int
    seeds: Sequence[int]
    as_tested: bool = False


def recommend(winner: Winner, users: Sequence[str], asked: Asked, journal: Journal | None = None) -> pd.DataFrame:
    """Lists of users of the data.

    Under protocols cold and time, scores of new items are put on the scale of the others as in the common lists of the
    final runs. Other protocols have no such lists, and items without a training interaction keep their scores there. A
    user whose candidates all have one score gets no list, which would be of any items, but for ``as_tested``.

    Args:
        winner: the model.
        users: their raw ids.
        asked: which lists.
        journal: told of users that get no list, and of items that keep their scores.

    Returns:
        Columns ``user, item, rank``, best first; fewer than asked for where a user has almost everything.

    Raises:
        ValueError: for users that the data do not have or that have no training interaction, for none at all, and for a
            final run that does not exist; for ``as_tested`` where the test split was not ranked among all items; where
            nobody gets a list.
    """
    journal = journal or Journal()
    rows, missing = _positions(users, winner.dataset.user_ids)
    if missing:
        raise Refusal(_no_lists_of(missing, winner.dataset.left_out))
    split = winner.dataset.split
    if asked.as_tested and split.target:
        raise Refusal(
            "--as-tested is for cells that were tested among all items; with tuning.target={target} the records rank "
            "others, so leave the option out",
            target=split.target,
        )
    seen = split.seen_at_test if asked.as_tested else (*split.whole, *winner.dataset.rated_below)
    models = [winner.model(seed) for seed in asked.seeds]
    if asked.as_tested:  # the records rank all items by the scores as they are
        return _frame(winner, [(model, model) for model in models], rows, seen, asked, winner.dataset.user_ids, journal)
    ranked = _with_new_items(winner, models, seen, asked, journal)
    return _frame(winner, ranked, rows, seen, asked, winner.dataset.user_ids, journal)


def recommend_to_new(
    winner: Winner, histories: pd.DataFrame, asked: Asked, journal: Journal | None = None
) -> pd.DataFrame:
    """Lists of users that the model was not trained on, known by their items.

    Items that the filters left out of the catalogue say nothing to the model, so their rows are left out too.

    Args:
        winner: the model.
        histories: columns ``user`` and ``item``, raw ids; a user of the data counts as a new one.
        asked: which lists; what a user has is left out.
        journal: told of rows and users that are left out, and as in :func:`recommend`.

    Returns:
        As :func:`recommend`.

    Raises:
        ValueError: for items that the data do not have, where no row is left, for a model that serves only users it was
            trained on, and where nobody gets a list.
    """
    journal = journal or Journal()
    histories = _with_items(histories, winner, journal)
    users, user_ids = pd.factorize(histories["user"].astype(str))
    items, _ = _positions(histories["item"], winner.dataset.item_ids)
    n_users, n_items = len(user_ids), winner.dataset.n_items
    pairs = np.unique(np.stack([users, items]), axis=1)
    has = Interactions(pairs[0], pairs[1], n_users, n_items)
    models = [winner.model(seed) for seed in asked.seeds]
    for model in models:
        _welcome(model, winner, interaction_matrix(torch.from_numpy(pairs), n_users, n_items))
    calibrated = _with_new_items(winner, models, (has,), asked, journal)
    return _frame(winner, calibrated, np.arange(n_users), (has,), asked, np.asarray(user_ids, dtype=object), journal)


def _no_lists_of(missing: Sequence[str], left_out: LeftOut) -> str:
    """Why users have no lists: the data do not have them, or nothing of theirs was trained on."""
    idle, why = [one for one in missing if one in left_out.users], []
    unknown = [one for one in missing if one not in left_out.users]
    if unknown:
        said = Message.counted(
            "1 of the user ids is not in the data ({names})",
            "{n} of the user ids are not in the data, such as {names}",
            len(unknown),
            names=", ".join(unknown[:NAMED]),
        )
        why.append(said)
    if idle:
        said = Message.counted(
            "1 of the user ids is in the data, but has no training interaction under {settings} ({names}); a model "
            "that serves new users takes it by its items with --new-users",
            "{n} of the user ids are in the data, but have no training interaction under {settings}, such as {names}; "
            "a model that serves new users takes them by their items with --new-users",
            len(idle),
            settings=left_out.words,
            names=", ".join(idle[:NAMED]),
        )
        why.append(said)
    return clauses(why)


def _with_items(histories: pd.DataFrame, winner: Winner, journal: Journal) -> pd.DataFrame:
    """The rows whose items are in the catalogue."""
    _, missing = _positions(histories["item"], winner.dataset.item_ids)
    if not missing:
        return histories
    left_out = winner.dataset.left_out
    unknown = [one for one in missing if one not in left_out.items]
    if unknown:
        raise Refusal.counted(
            "1 of the item ids is not in the data ({names})",
            "{n} of the item ids are not in the data, such as {names}",
            len(unknown),
            names=", ".join(unknown[:NAMED]),
        )
    known = histories[~histories["item"].astype(str).isin(missing)]
    if known.empty:
        raise Refusal(
            "no item of the new users is in the catalogue of the model, which {settings} made smaller than the data",
            settings=left_out.words,
        )
    journal.tell(
        Message.counted(
            "1 row is left out, because its item is in the data, but not in the catalogue under {settings} ({example})",
            "{n} rows are left out, because their items are in the data, but not in the catalogue under {settings}, "
            "such as {example}",
            len(histories) - len(known),
            settings=left_out.words,
            example=missing[0],
        )
    )
    lost = histories["user"][~histories["user"].isin(known["user"])].unique()
    if len(lost):
        journal.tell(
            Message.counted(
                "1 new user gets no list, because all of its items are left out ({example})",
                "{n} new users get no list, because all of their items are left out (first: {example})",
                len(lost),
                example=lost[0],
            )
        )
    return known


def _with_new_items(
    winner: Winner, models: Sequence[Recommender], seen: tuple[Interactions, ...], asked: Asked, journal: Journal
) -> list[Ranked]:
    """Models with what ranks their items: where some are new, scores that hold the offset of the final run.

    Without an offset, because the protocol sets no new items apart or none is new in validation, scores stay as they
    are, and the journal is told. They do so without content too, and for a user whose scores of new items are all
    equal, as under a configuration that leaves content out: calibrated, new items that nothing tells apart would stand
    in lists by chance.
    """
    task, split = winner.recorded.task, winner.dataset.split
    if not task.condition.kept(task.features):
        return [(model, model) for model in models]
    found: list[Ranked] = []
    for model, seed in zip(models, asked.seeds, strict=True):
        course = winner.finals[seed].course
        offset = None if course is None else course.offset
        if split.new_test is None or offset is None:
            found.append((model, model))
            continue
        # New here are all items that training has not seen, those of validation and of test together.
        part = HeldOut(seen[0], ~split.new_test.warm, split.new_test.warm)
        found.append((model, Calibrated(model, part, seen, offset, by_chance=False)))
    unseen = int((np.bincount(split.train.items, minlength=split.train.n_items) == 0).sum())
    if unseen and any(scorer is model for model, scorer in found):
        journal.tell(
            Message.counted(
                "1 item has no training interaction, and validation chose no offset for it: its scores stay as the "
                "model gives them",
                "{n} items have no training interaction, and validation chose no offset for them: their scores stay as "
                "the model gives them",
                unseen,
            )
        )
    return found


def _welcome(model: Recommender, winner: Winner, histories: Tensor) -> None:
    if not (isinstance(model, ClosedForm) and model.serves_new_users):
        raise Refusal(
            "{model} knows only the users it was trained on; neighbourhoods, EASE and its relatives, iALS and "
            "popularity serve new users by their items",
            model=winner.recorded.cell.model,
        )
    model.welcome(histories)


def _positions(ids: Sequence[str] | pd.Series, known: NDArray[np.object_]) -> tuple[Index, list[str]]:
    """Place of each raw id, and the ids that have none."""
    asked = pd.Index([str(one) for one in ids])
    places = places_of(asked.tolist(), known.astype(str).tolist())
    return places, sorted(set(asked[places < 0]))


def _frame(
    winner: Winner,
    models: Sequence[Ranked],
    users: Index,
    seen: Sequence[Interactions],
    asked: Asked,
    user_ids: NDArray[np.object_],
    journal: Journal,
) -> pd.DataFrame:
    if len(users) == 0:
        raise Refusal("no user is asked for; give at least one id")
    users = np.unique(users)
    kept, without = [], []
    for some, lists, tied in _lists(models, users, seen, asked.top):
        left_out = tied & (not asked.as_tested)  # the records rank ties too
        kept.append((some[~left_out], lists[~left_out]))
        without.append(some[left_out])
    listed, items = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    if not (items >= 0).any():
        raise Refusal("the model recommends nothing: users have all items, or it gives the others the same score")
    if len(idle := np.concatenate(without)):
        journal.tell(
            Message.counted(
                "1 user gets no list, because the model gives all items the same score for it ({example})",
                "{n} users get no list, because the model gives all items the same score for them (first: {example})",
                len(idle),
                example=user_ids[idle[0]],
            )
        )
    frame = pd.DataFrame({"user": listed, "items": list(items)})
    return recommendations_frame(frame, asked.top, user_ids, winner.dataset.item_ids)


def _lists(
    models: Sequence[Ranked], users: Index, seen: Sequence[Interactions], top: int
) -> Iterator[tuple[Index, Index, NDArray[np.bool_]]]:
    """Users, their lists ``(B, top)``, -1 where candidates run out, and who has one score for several candidates."""
    n_users, n_items = seen[0].n_users, seen[0].n_items
    for begin in range(0, len(users), BLOCK_USERS):
        some = users[begin : begin + BLOCK_USERS]
        # An evaluator lists whoever has a held-out item; which one makes no difference to a list.
        held_out = Interactions(some, np.zeros_like(some), n_users, n_items)
        evaluator = Evaluator(held_out, *seen, ties_rank=True)
        lists, tied = zip(
            *(_ranked(evaluator, *model, top if len(models) == 1 else n_items) for model in models), strict=True
        )
        best = lists[0] if len(models) == 1 else _by_mean_rank(lists, n_items)[:, :top]
        yield some, best, np.logical_and.reduce(tied)


def _ranked(evaluator: Evaluator, model: Recommender, scorer: Scorer, top: int) -> tuple[Index, NDArray[np.bool_]]:
    device = next(itertools.chain(model.parameters(), model.buffers())).device
    try:
        ranking = evaluator.to(device).rank(scorer, top)
    except DegenerateScores as error:
        raise Refusal("the model recommends nothing: {error}", error=error) from error
    assert ranking.top is not None
    assert ranking.tied is not None
    return ranking.top.astype(np.int64), ranking.tied


def _by_mean_rank(lists: Sequence[Index], n_items: int) -> Index:
    """Items ``(B, n_items)`` by their mean place in whole lists; equal ones in the order of the first list."""
    first = lists[0]
    places = np.zeros((len(first), n_items))
    for one in lists:
        rows, columns = np.nonzero(one >= 0)
        places[rows, one[rows, columns]] += columns
    ordered = np.take_along_axis(places, np.maximum(first, 0), axis=1)
    ordered[first < 0] = np.inf
    return np.take_along_axis(first, ordered.argsort(axis=1, kind="stable"), axis=1)
