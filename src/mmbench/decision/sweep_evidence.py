"""From the records of a sweep to the evidence of the decision: free disposal of images over all models."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmbench import paths
from mmbench.data.divisions import DIVISIONS, NEW_ITEMS, members_of
from mmbench.data.features import ItemFeature
from mmbench.data.held_out import OF_NEW_ITEMS
from mmbench.data.interactions import FIRST_TIME
from mmbench.decision.evidence import Evidence, Part, Promise
from mmbench.decision.gates import IMAGE, cells_of, command_of, finished, models_of, read_gates, split_of
from mmbench.decision.steps import FEW_TRIALS, OF_NEW_ITEMS_ALONE, ONE_SEED, RUNGS, WAITING
from mmbench.inference import intervals
from mmbench.inference.gains import NoWord
from mmbench.inference.intervals import CrossedInterval, Interval
from mmbench.inference.repetitions import Repeated, over_repetitions, repeated_gain
from mmbench.inference.tuned_gain import free_disposal
from mmbench.inference.verdicts import MIN_SEEDS
from mmbench.messages import Message, Refusal
from mmbench.report.catalogue import Catalogue, read_catalogue
from mmbench.report.cell_effort import CellEffort
from mmbench.report.comparisons import Comparison, compare, wordless
from mmbench.report.contribution_facts import DIFFERENCES, measure_model, new_items_of_model
from mmbench.report.contribution_facts import NEW_ITEMS as NEW_ITEMS_FOUND
from mmbench.report.control_conditions import control_of, part_of, partial_overrides, without
from mmbench.report.disposals import Disposal, read_disposals, read_partial_disposals
from mmbench.report.facts import Facts, K
from mmbench.report.fairness_checks import Group, read_groups
from mmbench.report.pooled import planned_first
from mmbench.report.table import CellResult, SweepTable, alike, not_tuned_here
from mmbench.report.together import Repetitions, read_repetitions
from mmbench.store import records
from mmbench.store.schema import Cell, Choice, Manifest

#: Seconds of a day, of a year, and of the shortest log that tells how many items are new in a year.
DAY = 86_400
YEAR, SHORTEST = 365.25 * DAY, 60 * DAY

#: Everything that a model may use, and everything but images.
Pair = tuple[CellResult, CellResult]


@dataclass(frozen=True)
class Read:
    """Everything that the records say about images, for all items or for a part of them.

    Args:
        disposal: free disposal of images over all models, the number that is decided about.
        comparison: everything against everything but images, of the model whose slices, hits and examples are shown.
        evidence: what the rule takes.
        facts: contribution measures of that model.
        catalogue: its data set, or why there is none.
        groups: fairness report of the sweep.
        disposals: free disposal of every modality, per model and over all models.
        parts: the same about images for some items alone, for every part that was measured, best on validation first.
        counts: inputs of the economics that the data tell, by dotted key.
        judged: contribution measures of the model that the gates are read from, where ``facts`` are of another one.
    """

    disposal: Disposal
    comparison: Comparison
    evidence: Evidence
    facts: Facts
    catalogue: Catalogue | str
    groups: list[Group]
    disposals: list[Disposal]
    parts: tuple[Read, ...] = ()
    counts: Mapping[str, float] = field(default_factory=dict)
    judged: Facts | None = None


class Sides(NamedTuple):
    """What the gates are read from.

    Attributes:
        a: everything that the model which is best on validation may use; its best condition with images where
            everything was not run.
        b: the same as everything without images; None where one of the two was not run.
        commands: what runs everything, and everything but images, where it was not run.
    """

    a: CellResult
    b: CellResult | None
    commands: tuple[str, ...]


def read_evidence(table: SweepTable, dataset: str | None = None, model: str | None = None) -> Read:
    """Read what is needed to decide about images.

    Of several data sets of one split, which differ in their encoder, the one counts whose conditions with images,
    real or shuffled, came to the best validation score: a choice by the real ones alone would favour them. Of
    several draws of the tuning the one counts that was planned first, because a later one could be drawn until it
    is welcome, unless it is named. Data sets that are repetitions of one another are decided about together. Lists,
    guard-rails and signal are those of the first of them and of the model that is best on validation with
    everything it may use; a name changes only whose slices, hits and examples are shown.

    Args:
        table: the sweep.
        dataset: whose images; may be left out where all results are of one split or of repetitions of one.
        model: whose slices, hits and examples are shown.

    Raises:
        ValueError: if no such pair of results is in the sweep, several data sets are and none is named, or cells took
            configurations that another sweep had tuned.
    """
    groups = read_groups(table, table.folder)
    pairs = _pairs(table, dataset, read_repetitions(table, groups))
    datasets = {a.dataset for a, _ in pairs}
    for cell in table.cells.values():
        if cell.given and cell.dataset in datasets:
            raise Refusal(
                "{folder}: {origin}; decide about the sweep that tuned them",
                folder=table.folder,
                origin=not_tuned_here(*cell.given),
            )
    disposals = read_disposals(table, groups)
    of_images = [
        d
        for d in disposals
        if (d.modality, d.model, d.within) == (IMAGE, None, None)
        and not d.pending
        and datasets.intersection(d.datasets)
    ]
    disposal = max(_first_draws(table, groups, of_images), key=lambda d: _best_validation(table, d))
    if not disposal.real:
        raise Refusal(
            "{folder}: the conditions that have run are not the same in {datasets}; run the same ones in all",
            folder=table.folder,
            datasets=", ".join(disposal.datasets),
        )
    first = next(name for name in disposal.datasets if name in datasets)
    shown = [pair for pair in pairs if pair[0].dataset == first]
    if model not in (None, *(a.model for a, _ in shown)):
        raise _no_results(table, dataset, model, shown)
    whole = _measured(table, groups, disposal, shown)
    partial = [d for d in read_partial_disposals(table, groups, IMAGE) if d.within is None and d.real]
    partial = _first_draws(table, groups, [d for d in partial if set(d.datasets) & datasets])
    partial = sorted(partial, key=lambda d: (-_best_validation(table, d), d.part))
    of_parts = [(d, _with_and_without(table, first if first in d.datasets else d.datasets[0], d.part)) for d in partial]
    readable = [(d, p) for d, p in of_parts if p and not isinstance(read_catalogue(p[0][0], table.trust), str)]
    parts = tuple(_measured(table, groups, d, found, whole) for d, found in readable)
    promising = _promises(table, whole, disposal, {part.disposal.part for part in parts})
    return replace(
        _showing(table, groups, whole, shown, model),
        evidence=replace(whole.evidence, promising=promising),
        disposals=disposals,
        parts=tuple(
            _showing(table, groups, part, found, model) for part, (_, found) in zip(parts, readable, strict=True)
        ),
        counts=_counts(whole.catalogue),
    )


def _showing(table: SweepTable, groups: list[Group], read: Read, pairs: Sequence[Pair], model: str | None) -> Read:
    """What was read, with the facts of another model; its own where none is named or it has none for these items."""
    pair = next((pair for pair in pairs if pair[0].model == model), None)
    if pair is None or model == read.comparison.model:
        return read
    shown = _contribution(table, groups, read.disposal, *pair)
    return replace(read, comparison=shown.comparison, facts=shown.facts, judged=read.judged or read.facts)


def _first_draws(table: SweepTable, groups: Sequence[Group], disposals: Sequence[Disposal]) -> list[Disposal]:
    """Of free disposals that differ in their draw of the tuning alone, the one that was planned first."""
    draw_of = {group.dataset: group.cells[0].cell.draw for group in groups}
    found: dict[tuple[str, str], list[tuple[int, int, Disposal]]] = {}
    for d in disposals:
        draw = next(draw_of[name] for name in d.datasets if name in draw_of)
        data = (d.dataset if d.over is None else d.over.data).removesuffix(f"-draw{draw}")
        found.setdefault((data, d.part), []).append((planned_first(d, table), draw, d))
    return [min(draws, key=lambda one: one[:2])[2] for draws in found.values()]


class Contribution(NamedTuple):
    """What one model does with everything, against everything but images.

    Attributes:
        comparison: the two.
        data: their data set, of a part with images for its items alone; or why there is none.
        part: the part; None for all items or without data.
        facts: contribution measures.
    """

    comparison: Comparison
    data: Catalogue | str
    part: Part | None
    facts: Facts


def _contribution(
    table: SweepTable, groups: Sequence[Group], disposal: Disposal, a: CellResult, b: CellResult
) -> Contribution:
    """What a model does with everything, ``a``, against everything but images, ``b``."""
    group = next(g for g in groups if (g.dataset, g.model) == (a.dataset, a.model))
    comparison = compare(table, a, b, group)
    data = read_catalogue(a, table.trust)
    part = None
    if disposal.part and not isinstance(data, str):
        inside = members_of(disposal.part, data.item_counts, data.dataset.items, data.dataset.texts)
        part = _part(disposal.part, inside, data)
        data = _with_images_of(data, inside)
    compared = [comparison] if comparison.configuration is not None else []
    cells = [a, b] if disposal.part else finished(table, a)
    folds = disposal.over is not None and disposal.over.kind is Repeated.FOLD
    facts = measure_model(table, cells, compared, data, group.level, one_draw=folds)
    if folds and len(disposal.datasets) > 1:
        facts = _over_folds(table, facts, disposal.datasets, cells)
    return Contribution(comparison, data, part, facts)


def _measured(
    table: SweepTable, groups: list[Group], disposal: Disposal, pairs: Sequence[Pair], whole: Read | None = None
) -> Read:
    """Everything that is read of one free disposal.

    Args:
        table: the sweep.
        groups: its fairness report.
        disposal: free disposal of images over all models, for all items or for a part of them.
        pairs: everything and everything but images, of each model that was run with both; what is shown is of the best
            of them on validation where the gates are read from a model that was not.
        whole: for a part, what was read of images for all items.
    """
    own = [g for g in groups if g.dataset in disposal.datasets]
    sides = _sides(table, disposal, pairs)
    a = sides.a
    best = max(pairs, key=lambda pair: (_validation(pair[0]), pair[0].model)) if sides.b is None else (a, sides.b)
    comparison, data, part, facts = _contribution(table, own, disposal, *best)
    judged = replace(facts, facts=[]) if sides.b is None else None  # those of another model are no guard-rails
    chosen = configuration_gain(table, disposal)
    of_whole = whole.evidence.gates if whole else ()
    gates = read_gates(table, disposal, own, chosen, a, judged or facts, data, of_whole, sides.commands)
    folds = disposal.over is not None and disposal.over.kind is Repeated.FOLD
    manifest = records.read(paths.manifest_file(table.folder), Manifest)
    tuned = disposal.tuned
    bounded = tuned is not None and tuned.log_gain is not None
    of_new = a.target in OF_NEW_ITEMS
    evidence = Evidence(
        dataset=a.dataset,
        metric=table.primary,
        models=tuple(models_of(disposal)),
        n_users=a.rankings[0].n_users,
        trials=tuned.trials if tuned else min(len(cell.trials) for g in own for cell in g.cells),
        n=tuned.n if tuned else 0,
        ratio=None if tuned is None or math.isnan(tuned.gain) else tuned.gain,
        gain=tuned.log_gain if tuned else None,
        level=tuned.level if tuned else 0.95,
        silent=silence(disposal, own) or (OF_NEW_ITEMS_ALONE if of_new else ""),
        depends_on_tuning=tuned is not None and tuned.depends_on_tuning,
        variances=tuned.variances if tuned and (bounded or tuned.refusal is NoWord.WIDE) else {},
        model=a.model,
        contrast=comparison.contrast,
        per_thousand=per_thousand(disposal, own, tuned.level) if tuned and bounded and not of_new else None,
        gates=gates,
        repetitions=len(disposal.datasets),
        folds=folds,
        part=part,
        planned_at=next((revision.planned_at for revision in manifest.revisions), ""),
        target=a.target,
        made_up=a.made_up or (not isinstance(data, str) and data.dataset.made_up),  # records did not say it once
    )
    return Read(disposal, comparison, evidence, facts, data, groups, [disposal], judged=judged)


def _sides(table: SweepTable, disposal: Disposal, pairs: Sequence[Pair]) -> Sides:
    """The model that the gates are read from, whoever's lists are shown: the best on validation of all with images.

    A model counts by its result with everything it may use, and by the best of its conditions on the sides where it has
    none.

    Args:
        table: the sweep.
        disposal: free disposal of images over all models.
        pairs: everything and everything but images, of each model that was run with both.
    """
    cells = cells_of(table, pairs[0][0].dataset)
    everything = [cell for cell in cells.values() if _has_everything(cell, disposal.part)]
    models = {cell.model for cell in everything}
    others = [cells[name] for name in disposal.real if cells[name].model not in models]
    others = [cell for cell in others if cell.asked_states.get(IMAGE) == "real"]
    a = max((*everything, *others), key=lambda cell: (_validation(cell), cell.model))
    b = next((b for one, b in pairs if one is a), None)
    missing = [] if a in everything else [["modality=fused", *partial_overrides(IMAGE, disposal.part)]]
    if b is None and _but_images(cells.values(), a) is None:
        missing.append(without(dict.fromkeys(a.asked_states, "real"), IMAGE).split(" "))
    return Sides(a, b, tuple(command_of(table, [a.model], *words) for words in missing))


def _over_folds(table: SweepTable, facts: Facts, datasets: Sequence[str], cells: Sequence[CellResult]) -> Facts:
    """The facts of the first fold, but with what all folds find of new items in place of what it finds."""
    conditions = {cell.modality for cell in cells}
    folds = [
        [c for c in finished(table, replace(cells[0], dataset=dataset)) if c.modality in conditions]
        for dataset in datasets
    ]
    joined = new_items_of_model(table, folds) if all(folds) else []
    return replace(facts, facts=[*(fact for fact in facts.facts if fact.measure != NEW_ITEMS_FOUND), *joined])


def _with_images_of(data: Catalogue, inside: NDArray[np.bool_]) -> Catalogue:
    """A catalogue in which the items of a part alone have their images."""
    image = data.dataset.features[IMAGE]
    features = {**data.dataset.features, IMAGE: ItemFeature(image.values, image.present & inside)}
    return replace(data, dataset=replace(data.dataset, features=features))


def _part(name: str, inside: NDArray[np.bool_], data: Catalogue) -> Part:
    """A part; of new items every one of a year belongs to it, of any other one as many as of the catalogue."""
    share, present = float(inside.mean()), data.dataset.features[IMAGE].present[inside]
    with_images = float(present.mean()) if len(present) else None
    return Part(name, len(present), share, 1.0 if name == NEW_ITEMS else share, with_images)


def _promises(table: SweepTable, whole: Read, disposal: Disposal, measured: Collection[str]) -> tuple[Promise, ...]:
    """Slices of items that gained, by bounds that hold for all slices of their division, and were not measured alone.

    A slice holds less than half of the images: what holds more is hardly a part of the items.

    Args:
        table: the sweep.
        whole: what was read of images for all items.
        disposal: free disposal of images for all items.
        measured: slices that were measured.
    """
    data, base = whole.catalogue, whole.comparison.b
    if isinstance(data, str) or whole.comparison.configuration is None:
        return ()
    total = base.per_user(table.primary).mean(axis=1).sum()
    names = {shown: division for division, shown in DIVISIONS.items()}
    found = []
    for fact in whole.facts.facts:
        shown, _, label = fact.part.partition(": ")
        if fact.measure != DIFFERENCES or shown not in names or fact.interval is None or fact.interval.lo <= 0:
            continue
        name = f"{names[shown]}:{label}"
        try:
            inside = members_of(name, data.item_counts, data.dataset.items, data.dataset.texts)
        except Refusal:  # all other categories together are no slice
            continue
        present = data.dataset.features[IMAGE].present
        if name not in measured and 0 < (present & inside).sum() < present.sum() / 2 and total > 0:
            gain = fact.value * (fact.n or 0) / total
            part = _part(name, inside, data)
            found.append(Promise(part, float(gain), _command_of_part(table, disposal, name)))
    return tuple(sorted(found, key=lambda one: (-one.gain, one.part.slice)))


def _command_of_part(table: SweepTable, disposal: Disposal, part: str) -> str:
    """What runs every condition with images, and its control, with images for a part alone."""
    cells = cells_of(table, disposal.datasets[0])
    by_model: dict[str, set[str]] = {}
    for name in (*disposal.real, *disposal.control):
        if cells[name].states.get(IMAGE, "drop") != "drop":
            by_model.setdefault(cells[name].model, set()).add(_overrides(cells[name]))
    commands = []
    for conditions in sorted({tuple(sorted(of)) for of in by_model.values()}):
        models = sorted(model for model, of in by_model.items() if tuple(sorted(of)) == conditions)
        options = [words.partition("=")[2] for words in conditions if " " not in words]
        for words in ([f"modality={','.join(options)}"] if options else []) + [w for w in conditions if " " in w]:
            split = re.split(" (?=modality)", words)
            commands.append(command_of(table, models, *split, *partial_overrides(IMAGE, part)))
    return " && ".join(commands)


def _overrides(cell: CellResult) -> str:
    """What the command line takes to run the condition of a cell."""
    if cell.states[IMAGE] == "real":
        return f"modality={cell.modality}"
    return control_of({**cell.states, IMAGE: "real"}, cell.modality.partition("_states.")[0], IMAGE)


def _counts(data: Catalogue | str) -> dict[str, float]:
    """Items of the catalogue, the share of them that has an image, and new ones in a year.

    New in a year are those first bought in the second half of the log, by the year. A time before 1990 or to come is
    none of a purchase, and its row says nothing here. A data set whose items were filtered says nothing about the
    catalogue.
    """
    if isinstance(data, str) or (data.dataset.config is not None and data.dataset.config.filters_items):
        return {}
    split, counts = data.dataset.split, {"items.stock": float(data.dataset.n_items)}
    if (image := data.dataset.features.get(IMAGE)) is not None:
        counts["items.with_images"] = float(image.present.mean())
    parts = split.whole
    if all(part.times is not None for part in parts):
        times = np.concatenate([part.times for part in parts if part.times is not None])
        items = np.concatenate([part.items for part in parts])
        possible = (times >= FIRST_TIME) & (times <= time.time() + DAY)
        times, items = times[possible], items[possible]
        span = int(np.ptp(times)) if len(times) else 0
        if span >= SHORTEST:
            first = np.full(data.dataset.n_items, np.iinfo(np.int64).max)
            np.minimum.at(first, items, times)
            bought = first < np.iinfo(np.int64).max
            later = first[bought] >= times.min() + span / 2
            counts["items.new_year"] = float(round(later.sum() * YEAR / (span / 2)))
    return counts


def _has_everything(cell: CellResult, part: str) -> bool:
    """Whether a cell has a result with all that its model may use: images for the items of a part, or for all."""
    if cell.status != "done" or cell.parts:
        return False
    states = cell.asked_states
    whole = part_of(records.read(paths.cell_file(cell.folder), Cell), IMAGE) == part if part else bool(cell.states)
    return whole and IMAGE in states and set(states.values()) == {"real"}


def _but_images(cells: Iterable[CellResult], a: CellResult) -> CellResult | None:
    """The result of the model of a cell with everything but images, for all items; None where it was not run."""
    wanted = {**dict.fromkeys(a.asked_states, "real"), IMAGE: "drop"}
    return next((b for b in cells if (b.model, b.status) == (a.model, "done") and dict(b.states) == wanted), None)


def _with_and_without(table: SweepTable, dataset: str, part: str = "") -> list[Pair]:
    """Everything, with images for a part of the items or for all, and everything but images, of each model."""
    cells = list(cells_of(table, dataset).values())
    found = [(a, _but_images(cells, a)) for a in cells if _has_everything(a, part)]
    return [(a, b) for a, b in found if b is not None]


def _no_results(table: SweepTable, dataset: str | None, model: str | None, pairs: Sequence[Pair]) -> Refusal:
    """That what was asked for has no results with and without images, and what has."""
    return Refusal(
        "{folder}: no results of {asked} with and without images; there are {known}",
        folder=table.folder,
        asked="/".join(word or "any" for word in (dataset, model)),
        known=", ".join(sorted({f"{a.dataset}/{a.model}" for a, _ in pairs})),
    )


def _pairs(table: SweepTable, dataset: str | None, repeated: Sequence[Repetitions]) -> list[Pair]:
    """Everything and everything but images, of every model of every data set that is asked for.

    A data set that is one of several repetitions stands for all of them, as their common name does, unless another data
    set of the sweep is called so.

    Raises:
        ValueError: if there is none, or they are of several splits and no data set is named.
    """
    pairs = [pair for d in table.datasets for pair in _with_and_without(table, d)]
    over_of = {name: over for over in repeated for name in over.datasets}
    if dataset in table.datasets:
        asked_for = {dataset, *(over_of[dataset].datasets if dataset in over_of else ())}
    else:
        asked_for = {
            name
            for name in table.datasets
            if dataset is None or (name in over_of and dataset in (over_of[name].data, over_of[name].name))
        }
    kept = [(a, b) for a, b in pairs if a.dataset in asked_for]
    if not kept:
        if pairs:
            raise _no_results(table, dataset, None, pairs)
        raise Refusal(
            "{folder}: no model has results with and without images; {run}",
            folder=table.folder,
            run=_conditions_to_run({name for cell in table.cells.values() for name in cell.modalities}),
        )
    splits: dict[str, set[tuple[str, str]]] = {}
    for a, _ in kept:
        splits.setdefault(over_of[a.dataset].name if a.dataset in over_of else a.dataset, set()).add(split_of(a))
    if dataset is None and len(set(map(frozenset, splits.values()))) > 1:
        names = ", ".join(sorted({a.dataset for a, _ in kept}))
        raise Refusal(
            "{folder} holds several data sets; add dataset=NAME, one of {names}", folder=table.folder, names=names
        )
    return kept


def _conditions_to_run(modalities: Set[str]) -> Message:
    """The conditions that say what images add to everything else, as the end of a sentence.

    Args:
        modalities: those of the data.
    """
    others = sorted(modalities - {IMAGE})
    if IMAGE not in modalities:
        return Message("the data hold no images")
    if len(others) > 1:
        return Message("run at least modality=fused, and modality=fused modality.states.image=drop")
    return Message("run at least modality={without},fused", without=others[0] if others else "none")


def _best_validation(table: SweepTable, disposal: Disposal) -> float:
    """The best validation score of a condition that is on one side only: with real or with shuffled images.

    Over repetitions it is their mean.
    """
    moved = set(disposal.real) ^ set(disposal.control)
    if not moved:
        return -math.inf
    return fmean(max(_validation(cells_of(table, d)[name]) for name in moved) for d in disposal.datasets)


def _validation(cell: CellResult) -> float:
    return records.read(paths.choice_file(cell.folder), Choice).score


def configuration_gain(table: SweepTable, disposal: Disposal) -> CrossedInterval | None:
    """Gain of the best chosen configuration among the real cells over the best one among the controls.

    Over users and final seeds, and over repetitions; None where the two cannot be compared in one of them or no user
    tells how uncertain the gain is, which of the same cell on both sides is exactly zero.
    """
    gains = [_configuration_gain(table, disposal, name) for name in disposal.datasets]
    known = [gain for gain in gains if gain is not None]
    if len(known) < len(gains):
        return None
    if disposal.over is None or len(gains) == 1:
        gain = known[0]
    elif any(gain.mean <= -1 for gain in known):
        return None
    else:
        gain = over_repetitions(disposal.over.kind, known)
    return gain if gain.bounded else None


def _configuration_gain(table: SweepTable, disposal: Disposal, dataset: str) -> CrossedInterval | None:
    """The same on one data set."""
    cells = cells_of(table, dataset)
    sides = [max((cells[name] for name in side), key=_validation) for side in (disposal.real, disposal.control)]
    # Models of a sweep may have unequal numbers of final runs; of one that no seed changes, one run is as good as all.
    drawn = [set(cell.seeds) for cell in sides if not cell.exact] or [set(sides[0].seeds)]
    runs = sorted(set.intersection(*drawn))
    top, base = (
        np.repeat(scores[:, :1], len(runs), axis=1) if cell.exact else scores[:, [cell.seeds.index(s) for s in runs]]
        for cell, scores in ((cell, cell.per_user(table.primary)) for cell in sides)
    )
    if not runs or len(top) != len(base) or not base.any():  # of one that was tested on another split
        return None
    return intervals.bounded_gain(top, base, same=alike(*sides))


def silence(disposal: Disposal, groups: Sequence[Group]) -> str:
    """Why nothing may be concluded from the gain, as :data:`mmbench.decision.steps.SILENT` has it; empty where it may.

    Args:
        disposal: free disposal over all models.
        groups: fairness report of its data set.
    """
    if disposal.judgement.word is not None:
        return ""
    cells = [cell for name in disposal.datasets for cell in _efforts(disposal, groups, name).values()]
    if disposal.tuned is None:
        return RUNGS if any(cell.rungs for cell in cells) else WAITING
    if disposal.tuned.refusal is not None:
        return str(disposal.tuned.refusal)
    if disposal.without and not wordless(cells):
        return ""  # G3 is not known, and has the command that runs what lacks
    return ONE_SEED if any(cell.seeds is not None and cell.seeds < MIN_SEEDS for cell in cells) else FEW_TRIALS


def _efforts(disposal: Disposal, groups: Sequence[Group], dataset: str) -> dict[str, CellEffort]:
    """The cells of both sides on one data set by their names."""
    cells = {f"{c.cell.model}/{c.modality}": c for group in groups if group.dataset == dataset for c in group.cells}
    return {name: cells[name] for name in (*disposal.real, *disposal.control)}


def per_thousand(disposal: Disposal, groups: Sequence[Group], level: float) -> Interval | None:
    """Relevant items more per 1,000 recommendations: 1,000 times the difference of Precision@20 after tuning.

    The bounds are those of the relative gain in precision over the same trials, times what the controls come to; over
    repetitions both are joined.

    Args:
        disposal: free disposal over all models.
        groups: fairness report of its data sets.
        level: coverage, that of the gain.
    """
    found = []
    for dataset in disposal.datasets:
        efforts = _efforts(disposal, groups, dataset)
        cells = {name: replace(cell, metric=f"precision@{K}").tuned_cell for name, cell in efforts.items()}
        real, control = ([cells[name] for name in side] for side in (disposal.real, disposal.control))
        found.append(free_disposal(real, control, level=level))
    tuned = found[0] if disposal.over is None else repeated_gain(disposal.over.kind, found)
    if tuned.interval is None:
        return None
    base, gain = 1000 * fmean(part.b.tuned for part in found), tuned.interval
    return Interval(base * gain.mean, base * gain.lo, base * gain.hi, level)
