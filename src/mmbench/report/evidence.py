"""From the records of a sweep to the evidence of the decision: which model, which gain, and every gate (METHOD §6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmbench import paths, records, stats
from mmbench.contribution import slices
from mmbench.contribution.guardrails import Rail
from mmbench.contribution.pretest import EPSILON, pretest
from mmbench.decision.evidence import Evidence, Gate, Status, SubsetGain
from mmbench.report.catalogue import Catalogue, read_catalogue
from mmbench.report.checks import FAIL, Group, read_groups
from mmbench.report.contrasts import Comparison, compare
from mmbench.report.contribution import divisions, measure_model
from mmbench.report.facts import Facts, K
from mmbench.report.list_measures import GUARDRAILS, read_lists
from mmbench.report.table import PRIMARY, CellResult, SweepTable

IMAGE = "image"
#: Baselines without training by gradient; a model that does not reach the best of them is not worth feeding.
SIMPLE = ("popularity", "itemknn", "contentknn", "hybridknn", "ease", "ials")
#: Share of what is shown that must have an image (G5), and image encoders to try (G6).
EXPOSURE, ENCODERS = 0.80, 2
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
    c = compare(table, a, b, group)
    data = read_catalogue(a)
    cells = finished(table, a)
    facts = measure_model(table, cells, [c] if c.gain is not None else [], data, group.level if group else "-")
    gates = [
        _fairness(c, group),
        _baseline(table, a),
        _control(table, a),
        _guardrails(facts, c),
        _exposure(a, data),
        _encoders(table, a),
        _unused(table, a, data),
        _tuning(c),
    ]
    inferred = c.inference is not None
    evidence = Evidence(
        a.dataset,
        a.model,
        c.contrast,
        a.rankings[0].n_users,
        c.gain,
        (c.tuned.point, c.tuned.lo, c.tuned.hi) if c.tuned else None,
        c.inference.mde if c.inference else None,
        c.inference.components if c.inference else {},
        per_thousand(a, b) if inferred else None,
        tuple(gates),
        tuple(subsets(c, data)) if inferred and isinstance(data, Catalogue) else (),
    )
    return Read(c, evidence, facts, data, groups)


def finished(table: SweepTable, of: CellResult) -> list[CellResult]:
    """Finished conditions of a model, the late ensemble left out."""
    return [
        c
        for (d, m, _), c in table.cells.items()
        if (d, m) == (of.dataset, of.model) and c.status == "done" and not c.parts
    ]


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
        raise ValueError(
            f"{table.folder}: no results of {asked} with and without images; "
            + (f"there are {', '.join(known)}" if known else "run at least modality=text,fused")
        )
    if dataset is None and len({(a.test_hash, _described(a)["split_hash"]) for a, _ in kept}) > 1:
        names = ", ".join(sorted({a.dataset for a, _ in kept}))
        raise ValueError(f"{table.folder} holds several data sets; add dataset=NAME, one of {names}")
    return max(kept, key=lambda pair: (_validation(pair[0]), pair[0].model))


def _described(cell: CellResult) -> dict[str, object]:
    return records.read_json(cell.folder / "cell.json")


def _validation(cell: CellResult) -> float:
    return float(records.read_json(cell.folder / "choice.json")["score"])


def per_thousand(a: CellResult, b: CellResult) -> tuple[float, float, float]:
    """Relevant items more per 1,000 recommendations: 1,000 times the difference of Precision@20 (RULINGS 31)."""
    name = f"precision@{K}"
    found = stats.crossed_interval(a.per_user(name) - b.per_user(name))
    return 1000 * found.mean, 1000 * found.lo, 1000 * found.hi


def subsets(c: Comparison, data: Catalogue) -> list[SubsetGain]:
    """What each set of items contributes to the relative gain, with bounds for all sets of a division at once."""
    tested = c.a.tested[0]
    a, b = (np.stack([slices.pair_values(r, PRIMARY) for r in side.rankings], axis=1) for side in (c.a, c.b))
    base = c.b.mean(PRIMARY) * tested.pairs.n_users
    everything = np.arange(data.dataset.n_items)
    found = []
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
            d = gain.difference
            bounds = (d.value * weight, d.lo * weight, d.hi * weight)
            found.append(SubsetGain(f"{name}: {part}", *bounds, stock=stock, new=new))
    return found


def _share(catalogue: slices.Slicing, part: str) -> float:
    if part not in catalogue.names:
        return 0.0
    return float(np.mean(catalogue.labels == catalogue.names.index(part)))


# Gates


def _fairness(c: Comparison, group: Group | None) -> Gate:
    """G1: equal effort."""
    if group is None:
        return Gate("G1", Status.UNKNOWN, why="no fairness report")
    doubts = "; ".join(check.reason for check in group.checks if check.level == FAIL)
    if c.gain is None and not doubts:
        doubts = c.judgement.reason if c.judgement else c.pending
    return Gate("G1", Status.FAIL if doubts else Status.PASS, why=doubts or f"fairness report: {group.level}")


def _baseline(table: SweepTable, a: CellResult) -> Gate:
    """G2: as good as the best tuned simple baseline."""
    found = {
        f"{c.model}/{c.modality}": c.mean(PRIMARY)
        for c in table.cells.values()
        if c.dataset == a.dataset and c.model in SIMPLE and c.status == "done" and not c.parts and c.model != a.model
    }
    if not found.keys() - {"popularity/-"}:
        return Gate("G2", Status.UNKNOWN, why="no tuned simple baseline in the sweep")
    best = max(found, key=lambda name: found[name])
    mean = a.mean(PRIMARY)
    return Gate("G2", Status.PASS if mean >= found[best] else Status.FAIL, mean, found[best], f"best baseline: {best}")


def _control(table: SweepTable, a: CellResult) -> Gate:
    """G3: better than with shuffled images, by the lower 90 % bound."""
    for cell in finished(table, a):
        others = {name: state for name, state in cell.states.items() if name != IMAGE}
        if cell.states.get(IMAGE) == "shuffle" and set(others.values()) <= {"real"}:
            gain = table.change(a.dataset, a.model, a.modality, cell.modality, PRIMARY)
            if gain is not None and gain.seeds > 1:
                lo = stats.bounds(gain, 0.9)[0]
                return Gate("G3", Status.PASS if lo > 0 else Status.FAIL, lo, 0.0, f"against {cell.modality}")
    return Gate("G3", Status.UNKNOWN, why="no condition with shuffled images beside everything else")


def _guardrails(facts: Facts, c: Comparison) -> Gate:
    """G4: every guard-rail holds."""
    rails = [fact for fact in facts.found if fact.measure == GUARDRAILS and fact.subject == c.contrast]
    if not rails:
        return Gate("G4", Status.UNKNOWN, why="no guard-rail was measured")
    told = "; ".join(f"{fact.part.removeprefix('relative change of ')} {fact.word}" for fact in rails)
    words = {fact.word for fact in rails}
    status = Status.FAIL if Rail.BROKEN in words else Status.PASS if words == {Rail.HOLDS} else Status.UNKNOWN
    return Gate("G4", status, why=told)


def _exposure(a: CellResult, data: Catalogue | str) -> Gate:
    """G5: share of the recommended items that have an image."""
    if isinstance(data, str) or not all(paths.final_file(a.folder, s, "lists.parquet").exists() for s in a.seeds):
        return Gate("G5", Status.UNKNOWN, None, EXPOSURE, data if isinstance(data, str) else "no lists were kept")
    shown = read_lists(a)
    share = float(data.dataset.features[IMAGE].present[shown[shown >= 0]].mean())
    return Gate("G5", Status.PASS if share >= EXPOSURE else Status.FAIL, share, EXPOSURE)


def _encoders(table: SweepTable, a: CellResult) -> Gate:
    """G6: image features by different encoders on the same split, each tried with everything else."""
    split = (a.test_hash, _described(a)["split_hash"])
    tried = set()
    for cell in table.cells.values():
        if cell.status == "done" and not cell.parts and cell.states and set(cell.states.values()) == {"real"}:
            described = records.read_json(cell.folder / "cell.json")
            if (cell.test_hash, described["split_hash"]) == split and IMAGE in described.get("features", {}):
                tried.add(described["features"][IMAGE])
    if not tried:
        return Gate("G6", Status.UNKNOWN, None, ENCODERS, "the records do not say which features were used")
    return Gate("G6", Status.PASS if len(tried) >= ENCODERS else Status.FAIL, len(tried), ENCODERS)


def _unused(table: SweepTable, a: CellResult, data: Catalogue | str) -> Gate:
    """G8: what only images tell about behaviour is no more than chance, so no signal is left unused."""
    if isinstance(data, str):
        return Gate("G8", Status.UNKNOWN, why=data)
    train = data.dataset.split.train
    file = table.folder.parent / paths.slug([f"signal-{a.dataset}"]) / "signal.json"
    found = records.read_json(file) if file.exists() else {}
    features = {name: feature.fingerprint() for name, feature in data.dataset.features.items()}
    if (found.get("train_hash"), found.get("features")) == (train.fingerprint(), features):
        unique, null = float(found["unique"][IMAGE]["value"]), np.array(found["null_unique"][IMAGE])
    else:
        try:
            signal = pretest(train, data.dataset.features).signal
        except ValueError as error:
            return Gate("G8", Status.UNKNOWN, why=str(error))
        unique, null = signal.unique[IMAGE].value, np.asarray(signal.null_unique[IMAGE])
    limit = float(null.mean()) + EPSILON
    return Gate("G8", Status.PASS if unique <= limit else Status.FAIL, unique, limit)


def _tuning(c: Comparison) -> Gate:
    """G9: other draws of the trials say the same."""
    if c.tuned is None or c.gain is None:
        return Gate("G9", Status.UNKNOWN, why="too few trials to tell the luck of tuning")
    told = f"with other draws of the trials {c.tuned.lo:+.1%} to {c.tuned.hi:+.1%}"
    return Gate("G9", Status.PASS if c.tuned.contains(c.gain.mean) else Status.FAIL, c.gain.mean, why=told)
