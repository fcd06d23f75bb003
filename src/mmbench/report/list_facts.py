"""Beyond accuracy: measures of the recommended lists by condition, and guard-rails by contrast."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mmbench import paths
from mmbench.evaluation import list_measures
from mmbench.evaluation.metrics import Ranking
from mmbench.inference import intervals
from mmbench.inference.contribution.guardrails import LEVEL, Rail, coverage_change, rail
from mmbench.inference.intervals import MIN_USERS, Interval
from mmbench.messages import Message, Template
from mmbench.report.catalogue import Catalogue
from mmbench.report.comparisons import Comparison
from mmbench.report.facts import Facts, K
from mmbench.report.table import CellResult
from mmbench.store import records

BEYOND, GUARDRAILS = Message("beyond accuracy"), Message("guard-rails")
#: Measures of lists as they are printed.
LIST_MEASURES = {
    str(name): name
    for name in (
        Message("coverage@{k}", k=K),
        Message("gini@{k}", k=K),
        Message("effective_catalogue@{k}", k=K),
        Message("novelty@{k}", k=K),
        Message("arp@{k}", k=K),
        Message("aplt@{k}", k=K),
        Message("aclt@{k}", k=K),
        Message("poplift@{k}", k=K),
        Message("cold recall@{k}", k=K),
        Message("category diversity@{k}", k=K),
        Message("miscalibration@{k}", k=K),
    )
}
RAIL_NAMES = {
    "coverage": Message("coverage"),
    "tail share": Message("tail share"),
    "cold recall": Message("cold recall"),
}
#: What became of a guard-rail.
RAILS = {
    Rail.HOLDS: Message("holds"),
    Rail.BROKEN: Message(Template("broken", context="guard-rail")),
    Rail.OPEN: Message("not shown"),
}


def read_lists(cell: CellResult) -> NDArray[np.int32]:
    """The best :data:`~mmbench.report.facts.K` items of every seed and user, ``(n_seeds, n_users, K)``."""
    files = [paths.final_file(cell.folder, seed, paths.LISTS) for seed in cell.seeds]
    return np.stack([records.read_lists(file)[:, :K] for file in files])


#: What gives the lists of a cell, :func:`read_lists` or what remembers what it gave.
Lists = Callable[[CellResult], NDArray[np.int32]]


def beyond_facts(facts: Facts, cells: Sequence[CellResult], data: Catalogue, lists_of: Lists = read_lists) -> None:
    """Coverage, concentration, popularity and calibration of every condition, averaged over seeds."""
    for cell in cells:
        by_seed = [_measures(lists, tested, data) for lists, tested in zip(lists_of(cell), cell.tested, strict=True)]
        for name in by_seed[0]:
            value = float(np.mean([measures[name] for measures in by_seed]))
            if math.isfinite(value):
                facts.add(BEYOND, cell.modality, LIST_MEASURES[name], value)


def _measures(lists: NDArray[np.int32], tested: Ranking, data: Catalogue) -> dict[str, float]:
    """Measures of one seed's lists."""
    train = data.dataset.split.train
    known = np.isin(train.users, tested.users)
    rows, items = np.searchsorted(tested.users, train.users[known]), train.items[known]
    if lists.shape[1] < K:  # of a catalogue with fewer items
        lists = np.pad(lists, ((0, 0), (0, K - lists.shape[1])), constant_values=-1)
    measures = list_measures.summary(lists, data.item_counts, data.dataset.n_users, rows, items, K)
    cold = list_measures.cold_recall(tested.pairs.users, tested.items, tested.pairs.ranks, data.item_counts, K)
    if cold is not None:
        measures[f"cold recall@{K}"] = cold
    if data.members is not None:
        measures[f"category diversity@{K}"] = list_measures.category_diversity(lists, data.members)
        measures[f"miscalibration@{K}"] = list_measures.miscalibration(lists, data.members, rows, items)
    return measures


def guardrail_facts(
    facts: Facts, compared: Sequence[Comparison], data: Catalogue, lists_of: Lists = read_lists
) -> None:
    """Coverage, tail share and recall of new items and of those without the content that A adds to B.

    Does the gain cost what it must not cost? For one draw of new items no word says so.
    """
    if compared and not any(c.noise_known for c in compared):
        facts.unknown.append(Message("guard-rails: one seed does not measure training noise"))
        return
    tail = list_measures.long_tail(data.item_counts).astype(np.float64)
    cold = False
    for c in compared:
        if not c.noise_known:
            facts.unknown.append(
                Message("guard-rails of {contrast}: one seed does not measure training noise", contrast=c.contrast)
            )
            continue
        lists = [lists_of(side) for side in (c.a, c.b)]
        tables = {"tail share": [_tail_by_user(side, tail) for side in lists]}
        new = [_recall_by_user(side, data.item_counts == 0) for side in (c.a, c.b)]
        if len(new[0]):
            cold = True
            tables["cold recall"] = new
        dropped = c.b.asked_states
        for modality, state in c.a.asked_states.items():
            lacking = ~data.dataset.features[modality].present
            if state != dropped.get(modality, state) and lacking.any():
                by_user = [_recall_by_user(side, lacking) for side in (c.a, c.b)]
                tables[f"recall of items without {modality}"] = by_user
        same = np.array_equal(lists[0], lists[1])  # then nothing is lost, for sure
        changes: dict[str, Interval] = {}
        if lists[0].shape[1] >= MIN_USERS:
            changes["coverage"] = coverage_change(lists[0], lists[1], data.dataset.n_items)
        else:
            facts.unknown.append(_few("coverage", c.contrast))
        for name, (a, b) in tables.items():
            if len(b) < MIN_USERS:
                facts.unknown.append(_few(name, c.contrast))
            elif not b.any():
                facts.unknown.append(
                    Message(
                        "guard-rail {rail} of {contrast}: {condition} has none to lose",
                        rail=rail_name(name),
                        contrast=c.contrast,
                        condition=c.b.modality,
                    )
                )
            else:
                changes[name] = intervals.bounded_gain(a, b, LEVEL, same=same)
        for name, change in changes.items():
            word = "" if facts.one_draw else RAILS[rail(change)]
            part = Message("relative change of {rail}", rail=rail_name(name))
            facts.add(GUARDRAILS, c.contrast, part, change, word=word, noise_known=True)
    if compared and not cold:
        facts.unknown.append(
            Message("cold recall: lists of this target hold items of the training log alone")
            if compared[0].target == "warm"
            else Message("cold recall: no held-out item is without training interactions")
        )


def rail_name(name: str) -> str:
    """A guard-rail as it is printed."""
    _, without, modality = name.partition("recall of items without ")
    return Message("recall of items without {modality}", modality=modality) if without else RAIL_NAMES.get(name, name)


def _few(name: str, contrast: str) -> Message:
    """Too few users tell a guard-rail: of all, or of those who hold out an item that it is about."""
    given = {"rail": rail_name(name), "contrast": contrast, "least": MIN_USERS}
    if name in ("coverage", "tail share"):
        return Message("guard-rail {rail} of {contrast}: fewer than {least} test users", **given)
    return Message("guard-rail {rail} of {contrast}: fewer than {least} users hold one out", **given)


def _tail_by_user(lists: NDArray[np.int32], tail: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.nan_to_num(np.stack([list_measures.list_means(by_user, tail) for by_user in lists], axis=1))


def _recall_by_user(cell: CellResult, items: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Recall of the held-out items in a set ``(n_items,)``, ``(n_users, n_seeds)`` of the users who have one."""
    others = (~items).astype(np.int64)
    by_seed = [list_measures.cold_recall_by_user(r.pairs.users, r.items, r.pairs.ranks, others, K) for r in cell.tested]
    return np.stack(by_seed, axis=1)
