"""From the records of a sweep to the evidence of the decision: free disposal of images over all models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from mmbench import paths
from mmbench.decision.evidence import Evidence
from mmbench.decision.gates import IMAGE, finished, models_of, read_gates, split_of
from mmbench.decision.steps import FEW_TRIALS, ONE_SEED, RUNGS
from mmbench.inference import intervals
from mmbench.inference.intervals import CrossedInterval, Interval
from mmbench.inference.repetitions import Repeated, over_repetitions, repeated_gain
from mmbench.inference.tuned_gain import free_disposal
from mmbench.inference.verdicts import MIN_SEEDS
from mmbench.messages import Refusal
from mmbench.report.catalogue import Catalogue, read_catalogue
from mmbench.report.cell_effort import CellEffort
from mmbench.report.comparisons import Comparison, compare
from mmbench.report.contribution_facts import measure_model
from mmbench.report.disposals import Disposal, read_disposals
from mmbench.report.facts import Facts, K
from mmbench.report.fairness_checks import Group, read_groups
from mmbench.report.table import CellResult, SweepTable
from mmbench.report.together import Repetitions, read_repetitions
from mmbench.store import records
from mmbench.store.schema import Choice


@dataclass(frozen=True)
class Read:
    """Everything that the records say about images.

    Args:
        disposal: free disposal of images over all models, the number that is decided about.
        comparison: everything against everything but images, of the model that is best on validation with everything.
        evidence: what the rule takes.
        facts: contribution measures of that model.
        catalogue: its data set, or why there is none.
        groups: fairness report of the sweep.
        disposals: free disposal of every modality, per model and over all models.
    """

    disposal: Disposal
    comparison: Comparison
    evidence: Evidence
    facts: Facts
    catalogue: Catalogue | str
    groups: list[Group]
    disposals: list[Disposal]


def read_evidence(table: SweepTable, dataset: str | None = None, model: str | None = None) -> Read:
    """Read what is needed to decide about images.

    Of several data sets of one split, which differ in their encoder, the one counts whose conditions with images, real
    or shuffled, came to the best validation score: a choice by the real ones alone would favour them. Data sets that
    are repetitions of one another are decided about together. Lists, guard-rails and signal are those of the first of
    them and of the model that is best on validation with everything it may use, unless one is named.

    Args:
        table: the sweep.
        dataset: whose images; may be left out where all results are of one split or of repetitions of one.
        model: whose lists.

    Raises:
        ValueError: if no such pair of results is in the sweep, or several data sets are and none is named.
    """
    groups = read_groups(table, table.folder)
    pairs = _pairs(table, dataset, model, read_repetitions(table, groups))
    datasets = {a.dataset for a, _ in pairs}
    disposals = read_disposals(table, groups)
    of_images = [
        d
        for d in disposals
        if (d.modality, d.model, d.within) == (IMAGE, None, None) and datasets.intersection(d.datasets)
    ]
    disposal = max(of_images, key=lambda d: _best_validation(table, d))
    if not disposal.real:
        raise Refusal(
            "{folder}: the conditions that have run are not the same in {datasets}; run the same ones in all",
            folder=table.folder,
            datasets=", ".join(disposal.datasets),
        )
    first = next(name for name in disposal.datasets if name in datasets)
    a, b = max((p for p in pairs if p[0].dataset == first), key=lambda p: (_validation(p[0]), p[0].model))
    own = [g for g in groups if g.dataset in disposal.datasets]
    group = next(g for g in own if (g.dataset, g.model) == (a.dataset, a.model))
    comparison = compare(table, a, b, group)
    data = read_catalogue(a, table.trust)
    compared = [comparison] if comparison.configuration is not None else []
    facts = measure_model(table, finished(table, a), compared, data, group.level)
    chosen = configuration_gain(table, disposal)
    gates = read_gates(table, disposal, own, chosen, a, facts, data)
    tuned = disposal.tuned
    bounded = tuned is not None and tuned.log_gain is not None
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
        silent=silence(disposal, own),
        depends_on_tuning=tuned is not None and tuned.depends_on_tuning,
        variances=tuned.variances if tuned and bounded else {},
        model=a.model,
        contrast=comparison.contrast,
        per_thousand=per_thousand(disposal, own) if bounded else None,
        gates=gates,
        repetitions=len(disposal.datasets),
        folds=disposal.over is not None and disposal.over.kind is Repeated.FOLD,
    )
    return Read(disposal, comparison, evidence, facts, data, groups, disposals)


def _pairs(
    table: SweepTable, dataset: str | None, model: str | None, repeated: Sequence[Repetitions]
) -> list[tuple[CellResult, CellResult]]:
    """Everything and everything but images, of every data set and model that is asked for.

    A data set that is one of several repetitions stands for all of them, as their common name does.

    Raises:
        ValueError: if there is none, or they are of several splits and no data set is named.
    """
    pairs = []
    for d in table.datasets:
        for m in table.models(d):
            cells = {
                tuple(sorted(c.states.items())): c
                for (dd, mm, _), c in table.cells.items()
                if (dd, mm) == (d, m) and c.status == "done" and c.states
            }
            for states, a in cells.items():
                without = tuple(sorted({**dict(states), IMAGE: "drop"}.items()))
                if set(dict(states).values()) == {"real"} and IMAGE in dict(states) and without in cells:
                    pairs.append((a, cells[without]))
    known = sorted({f"{a.dataset}/{a.model}" for a, _ in pairs})
    over_of = {name: over for over in repeated for name in over.datasets}
    asked_for = {
        name
        for name in table.datasets
        if dataset in (None, name)
        or (name in over_of and dataset in (over_of[name].data, over_of[name].name, *over_of[name].datasets))
    }
    kept = [(a, b) for a, b in pairs if a.dataset in asked_for and model in (None, a.model)]
    if not kept:
        asked = "/".join(word or "any" for word in (dataset, model))
        if known:
            raise Refusal(
                "{folder}: no results of {asked} with and without images; there are {known}",
                folder=table.folder,
                asked=asked,
                known=", ".join(known),
            )
        raise Refusal(
            "{folder}: no results of {asked} with and without images; run at least modality=text,fused",
            folder=table.folder,
            asked=asked,
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


def _best_validation(table: SweepTable, disposal: Disposal) -> float:
    """The best validation score of a condition that is on one side only: with real or with shuffled images.

    Over repetitions it is their mean.
    """
    moved = set(disposal.real) ^ set(disposal.control)
    if not moved:
        return -math.inf
    return fmean(max(_validation(_by_name(table, d)[name]) for name in moved) for d in disposal.datasets)


def _by_name(table: SweepTable, dataset: str) -> dict[str, CellResult]:
    """Cells of a data set by the names that free disposal has for them."""
    return {f"{m}/{c}": cell for (d, m, c), cell in table.cells.items() if d == dataset}


def _validation(cell: CellResult) -> float:
    return records.read(paths.choice_file(cell.folder), Choice).score


def configuration_gain(table: SweepTable, disposal: Disposal) -> CrossedInterval | None:
    """Gain of the best chosen configuration among the real cells over the best one among the controls.

    Over users and final seeds, and over repetitions; None where the two cannot be compared in one of them.
    """
    gains = [_configuration_gain(table, disposal, name) for name in disposal.datasets]
    known = [gain for gain in gains if gain is not None]
    if disposal.over is None or len(gains) == 1:
        return gains[0]
    if len(known) < len(gains) or any(gain.mean <= -1 for gain in known):
        return None
    return over_repetitions(disposal.over.kind, known)


def _configuration_gain(table: SweepTable, disposal: Disposal, dataset: str) -> CrossedInterval | None:
    """The same on one data set."""
    cells = _by_name(table, dataset)
    a, b = (max((cells[name] for name in side), key=_validation) for side in (disposal.real, disposal.control))
    top, base = a.per_user(table.primary), b.per_user(table.primary)
    if top.shape != base.shape or not base.any():
        return None
    return intervals.relative_gain(top, base)


def silence(disposal: Disposal, groups: Sequence[Group]) -> str:
    """Why nothing may be concluded from the gain, as :data:`mmbench.decision.steps.SILENT` has it; empty where it may.

    Args:
        disposal: free disposal over all models.
        groups: fairness report of its data set.
    """
    if disposal.judgement.word is not None:
        return ""
    if disposal.tuned is None:
        return RUNGS
    if disposal.tuned.refusal is not None:
        return str(disposal.tuned.refusal)
    seeds = [cell.seeds for name in disposal.datasets for cell in _efforts(disposal, groups, name).values()]
    return ONE_SEED if any(n is not None and n < MIN_SEEDS for n in seeds) else FEW_TRIALS


def _efforts(disposal: Disposal, groups: Sequence[Group], dataset: str) -> dict[str, CellEffort]:
    """The cells of both sides on one data set by their names."""
    cells = {f"{c.cell.model}/{c.modality}": c for group in groups if group.dataset == dataset for c in group.cells}
    return {name: cells[name] for name in (*disposal.real, *disposal.control)}


def per_thousand(disposal: Disposal, groups: Sequence[Group]) -> Interval | None:
    """Relevant items more per 1,000 recommendations: 1,000 times the difference of Precision@20 after tuning.

    The bounds are those of the relative gain in precision over the same trials, times what the controls come to; over
    repetitions both are joined.

    Args:
        disposal: free disposal over all models.
        groups: fairness report of its data sets.
    """
    found = []
    for dataset in disposal.datasets:
        efforts = _efforts(disposal, groups, dataset)
        cells = {name: replace(cell, metric=f"precision@{K}").tuned_cell for name, cell in efforts.items()}
        found.append(free_disposal([cells[n] for n in disposal.real], [cells[n] for n in disposal.control]))
    tuned = found[0] if disposal.over is None else repeated_gain(disposal.over.kind, found)
    if tuned.interval is None:
        return None
    base, gain = 1000 * fmean(part.b.tuned for part in found), tuned.interval
    return Interval(base * gain.mean, base * gain.lo, base * gain.hi)
