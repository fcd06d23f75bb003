"""From the records of a sweep to the evidence of the decision: which model, which gain, which slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmbench import paths
from mmbench.decision.evidence import Evidence, SubsetGain
from mmbench.decision.gates import IMAGE, finished, read_gates, split_of
from mmbench.inference import intervals, power
from mmbench.inference.contribution import slices
from mmbench.inference.intervals import Interval
from mmbench.inference.verdicts import MIN_SEEDS
from mmbench.messages import Refusal
from mmbench.report.catalogue import Catalogue, read_catalogue
from mmbench.report.comparisons import Comparison, compare
from mmbench.report.contribution_facts import divisions, measure_model
from mmbench.report.facts import Facts, K
from mmbench.report.fairness_checks import Group, read_groups
from mmbench.report.table import PRIMARY, CellResult, SweepTable
from mmbench.store import records
from mmbench.store.schema import Choice

#: Divisions whose slices are sets of items, so that images can be bought for one of them alone.
ITEM_DIVISIONS = ("item's training interactions", "category")


@dataclass(frozen=True)
class Read:
    """Everything that the records say about images in one model.

    Args:
        comparison: everything against everything but images.
        evidence: what the rule takes.
        facts: contribution measures of the model.
        catalogue: its data set, or why there is none.
        groups: fairness report of the sweep.
    """

    comparison: Comparison
    evidence: Evidence
    facts: Facts
    catalogue: Catalogue | str
    groups: list[Group]


def read_evidence(table: SweepTable, dataset: str | None = None, model: str | None = None) -> Read:
    """Read what is needed to decide about images.

    The model is the one that is best on validation with everything it may use, unless one is named.

    Args:
        table: the sweep.
        dataset: whose images; may be left out where all results are of one split.
        model: which model.

    Raises:
        ValueError: if no such pair of results is in the sweep, or several data sets are and none is named.
    """
    groups = read_groups(table, table.folder)
    a, b = _choose(table, dataset, model)
    group = next((g for g in groups if (g.dataset, g.model) == (a.dataset, a.model)), None)
    comparison = compare(table, a, b, group)
    data = read_catalogue(a)
    cells = finished(table, a)
    facts = measure_model(
        table, cells, [comparison] if comparison.configuration is not None else [], data, group.level if group else "-"
    )
    inferred = comparison.configuration is not None and comparison.configuration.seeds >= MIN_SEEDS
    parts = components(a, b, table.primary) if inferred else {}
    evidence = Evidence(
        a.dataset,
        a.model,
        comparison.contrast,
        a.rankings[0].n_users,
        comparison.configuration,
        comparison.tuned.interval if comparison.tuned else None,
        power.mde_relative(**parts, n=a.rankings[0].n_users, seeds=len(a.seeds)) if parts else None,
        parts,
        per_thousand(a, b) if inferred else None,
        read_gates(table, comparison, group, facts, data),
        tuple(subsets(comparison, data)) if inferred and isinstance(data, Catalogue) else (),
    )
    return Read(comparison, evidence, facts, data, groups)


def _choose(table: SweepTable, dataset: str | None, model: str | None) -> tuple[CellResult, CellResult]:
    """Everything and everything but images, of the model with the best validation score."""
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
    kept = [(a, b) for a, b in pairs if dataset in (None, a.dataset) and model in (None, a.model)]
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
    if dataset is None and len({split_of(a) for a, _ in kept}) > 1:
        names = ", ".join(sorted({a.dataset for a, _ in kept}))
        raise Refusal(
            "{folder} holds several data sets; add dataset=NAME, one of {names}", folder=table.folder, names=names
        )
    return max(kept, key=lambda pair: (_validation(pair[0]), pair[0].model))


def _validation(cell: CellResult) -> float:
    return records.read(paths.choice_file(cell.folder), Choice).score


def components(a: CellResult, b: CellResult, metric: str) -> dict[str, float]:
    """Variance of users, seeds and their interaction in the relative gain of A over B."""
    return intervals.mean_squares(intervals.scaled_differences(a.per_user(metric), b.per_user(metric))[0]).components()


def per_thousand(a: CellResult, b: CellResult) -> Interval:
    """Relevant items more per 1,000 recommendations: 1,000 times the difference of Precision@20."""
    name = f"precision@{K}"
    difference = intervals.crossed_interval(a.per_user(name) - b.per_user(name))
    return Interval(1000 * difference.mean, 1000 * difference.lo, 1000 * difference.hi)


def subsets(comparison: Comparison, data: Catalogue) -> list[SubsetGain]:
    """What each set of items contributes to the relative gain, with bounds for all sets of a division at once."""
    tested = comparison.a.tested[0]
    a, b = (
        np.stack([slices.pair_values(r, PRIMARY) for r in side.rankings], axis=1)
        for side in (comparison.a, comparison.b)
    )
    base = comparison.b.mean(PRIMARY) * tested.pairs.n_users
    everything = np.arange(data.dataset.n_items)
    gains = []
    for name, slicing in divisions(tested, data).items():
        if name not in ITEM_DIVISIONS or len(np.unique(slicing.labels[slicing.labels >= 0])) < 2:
            continue
        catalogue = (
            slices.by_popularity(everything, data.item_counts)
            if name != "category" or data.categories is None
            else slices.by_category(everything, data.categories)
        )
        for part, gain in slices.slice_gains(a, b, tested.pairs.users, slicing).items():
            weight = gain.n_pairs / base
            stock = _share(catalogue, part)
            new = 1.0 if part == "cold" else 0.0 if name != "category" else stock
            difference = gain.difference
            share = Interval(difference.mean * weight, difference.lo * weight, difference.hi * weight, difference.level)
            gains.append(SubsetGain(f"{name}: {part}", share, stock=stock, new=new))
    return gains


def _share(catalogue: slices.Slicing, part: str) -> float:
    if part not in catalogue.names:
        return 0.0
    return float(np.mean(catalogue.labels == catalogue.names.index(part)))
