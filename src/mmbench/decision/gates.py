"""The gates of the decision, each from the records of a sweep (docs/decision.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mmbench import paths
from mmbench.data.encoded import DEFAULT
from mmbench.decision.evidence import Gate, Status
from mmbench.inference.contribution.guardrails import Rail
from mmbench.inference.contribution.pretest import EPSILON, pretest
from mmbench.report.catalogue import Catalogue, read_catalogue
from mmbench.report.comparisons import Comparison
from mmbench.report.facts import Facts
from mmbench.report.fairness_checks import FAIL, Group
from mmbench.report.list_facts import GUARDRAILS, read_lists
from mmbench.report.table import PRIMARY, CellResult, SweepTable, comparable
from mmbench.store import records
from mmbench.store.files import read_document
from mmbench.store.schema import Cell

IMAGE = "image"
#: Baselines without training by gradient; a model that does not reach the best of them is not worth feeding.
SIMPLE = ("popularity", "itemknn", "contentknn", "hybridknn", "ease", "ials")
#: Share of what is shown that must have an image (G5), and image encoders to try (G6).
EXPOSURE, ENCODERS = 0.80, 2


def read_gates(
    table: SweepTable, comparison: Comparison, group: Group | None, facts: Facts, data: Catalogue | str
) -> tuple[Gate, ...]:
    """Every gate but G7, which needs the break-even gain.

    Args:
        table: the sweep.
        comparison: everything against everything but images.
        group: fairness report of its model.
        facts: contribution measures of its model.
        data: its data set, or why there is none.
    """
    a = comparison.a
    tried = encoders_tried(table, a)
    others = [cell for cell in tried.values() if cell is not a]
    return (
        _fairness(comparison, group),
        _baseline(table, a),
        _control(table, a),
        _guardrails(facts, comparison),
        _exposure(a, data),
        _encoders(tried),
        _unused(table, [(a, data), *((cell, read_catalogue(cell)) for cell in others)]),
        _tuning(comparison),
    )


def split_of(cell: CellResult) -> tuple[str, str]:
    """What a cell was tuned and tested on: data sets that differ in nothing but an encoder share it."""
    return cell.test_hash, _record(cell).split_hash


def finished(table: SweepTable, of: CellResult) -> list[CellResult]:
    """Finished conditions of a model, the late ensemble left out."""
    return [
        c
        for (d, m, _), c in table.cells.items()
        if (d, m) == (of.dataset, of.model) and c.status == "done" and not c.parts
    ]


def _fairness(comparison: Comparison, group: Group | None) -> Gate:
    """G1: equal effort."""
    if group is None:
        return Gate("G1", Status.UNKNOWN, why="no fairness report")
    doubts = "; ".join(check.reason for check in group.checks if check.level == FAIL)
    if comparison.configuration is None and not doubts:
        doubts = comparison.judgement.reason if comparison.judgement else comparison.pending
    return Gate("G1", Status.FAIL if doubts else Status.PASS, why=doubts or f"fairness report: {group.level}")


def _baseline(table: SweepTable, a: CellResult) -> Gate:
    """G2: as good as the best tuned simple baseline."""
    simple = [
        c
        for c in table.cells.values()
        if c.model in SIMPLE
        and c.model != a.model
        and c.status == "done"
        and not c.parts
        and split_of(c) == split_of(a)
    ]
    if all(c.model == "popularity" for c in simple):
        return Gate("G2", Status.UNKNOWN, why="no tuned simple baseline in the sweep")
    best = max(simple, key=lambda c: c.mean(PRIMARY))
    mean, limit = a.mean(PRIMARY), best.mean(PRIMARY)
    status = Status.PASS if mean >= limit else Status.FAIL
    return Gate("G2", status, mean, limit, f"best baseline: {best.model}/{best.modality}")


def _control(table: SweepTable, a: CellResult) -> Gate:
    """G3: better than with shuffled images, by the lower 90 % bound."""
    for cell in finished(table, a):
        others = {name: state for name, state in cell.states.items() if name != IMAGE}
        if cell.states.get(IMAGE) == "shuffle" and set(others.values()) <= {"real"}:
            gain = table.change(a.dataset, a.model, a.modality, cell.modality, PRIMARY)
            if gain is not None and gain.seeds > 1:
                lo = gain.at(0.9).lo
                return Gate("G3", Status.PASS if lo > 0 else Status.FAIL, lo, 0.0, f"against {cell.modality}")
    return Gate("G3", Status.UNKNOWN, why="no condition with shuffled images beside everything else")


def _guardrails(facts: Facts, comparison: Comparison) -> Gate:
    """G4: every guard-rail holds."""
    rails = [fact for fact in facts.facts if fact.measure == GUARDRAILS and fact.subject == comparison.contrast]
    if not rails:
        return Gate("G4", Status.UNKNOWN, why="no guard-rail was measured")
    reason = "; ".join(f"{fact.part.removeprefix('relative change of ')} {fact.word}" for fact in rails)
    words = {fact.word for fact in rails}
    status = Status.FAIL if Rail.BROKEN in words else Status.PASS if words == {Rail.HOLDS} else Status.UNKNOWN
    return Gate("G4", status, why=reason)


def _exposure(a: CellResult, data: Catalogue | str) -> Gate:
    """G5: share of the recommended items that have an image."""
    if isinstance(data, str) or not all(paths.final_file(a.folder, s, paths.LISTS).exists() for s in a.seeds):
        return Gate("G5", Status.UNKNOWN, None, EXPOSURE, data if isinstance(data, str) else "no lists were kept")
    shown = read_lists(a)
    share = float(data.dataset.features[IMAGE].present[shown[shown >= 0]].mean())
    return Gate("G5", Status.PASS if share >= EXPOSURE else Status.FAIL, share, EXPOSURE)


def _encoders(tried: Mapping[str, CellResult]) -> Gate:
    """G6: how many image encoders were tried; two names with the same numbers are one encoder."""
    if not tried:
        return Gate("G6", Status.UNKNOWN, None, ENCODERS, "the records do not say which features were used")
    status = Status.PASS if len(tried) >= ENCODERS else Status.FAIL
    return Gate("G6", status, len(tried), ENCODERS, f"tried: {', '.join(sorted(map(_label, tried.values())))}")


def encoders_tried(table: SweepTable, a: CellResult) -> dict[str, CellResult]:
    """A cell for every image encoder that the model was given with everything else, by fingerprint of its features.

    Encoders count on the same split with the same effort only; what they are called is in the configuration.
    """
    tried: dict[str, CellResult] = {}
    for cell in sorted(table.cells.values(), key=lambda c: (c is not a, c.dataset)):
        if cell.model != a.model or cell.status != "done" or set(cell.states.values()) != {"real"}:
            continue
        features = _record(cell).features
        if split_of(cell) == split_of(a) and comparable(cell, a) and IMAGE in features:
            tried.setdefault(features[IMAGE], cell)
    return tried


def _label(cell: CellResult) -> str:
    """What the configuration calls the image encoder."""
    encoder = _record(cell).config["dataset"].get("encoder") or {}
    return str(encoder.get(IMAGE, DEFAULT))


def _record(cell: CellResult) -> Cell:
    return records.read(paths.cell_file(cell.folder), Cell)


def _unused(table: SweepTable, cells: Sequence[tuple[CellResult, Catalogue | str]]) -> Gate:
    """G8: what only images tell about behaviour is no more than chance with any encoder: none is left unused."""
    by_encoder = []
    for cell, data in cells:
        if isinstance(data, str):
            return Gate("G8", Status.UNKNOWN, why=data)
        try:
            unique, limit = _unique(table, cell, data)
        except ValueError as error:
            return Gate("G8", Status.UNKNOWN, why=str(error))
        by_encoder.append((unique, limit, f"image encoder: {_label(cell)}"))
    unique, limit, encoder = max(by_encoder, key=lambda telling: telling[0] - telling[1])
    return Gate("G8", Status.PASS if unique <= limit else Status.FAIL, unique, limit, encoder)


def _unique(table: SweepTable, cell: CellResult, data: Catalogue) -> tuple[float, float]:
    """What only the images of a data set tell (M4), and what chance tells at most; from the pre-test if that was run.

    Raises:
        ValueError: if the data set is too small for it.
    """
    train = data.dataset.split.train
    file = paths.signal_file(table.folder.parent, cell.dataset)
    earlier = read_document(file) if file.exists() else {}
    features = {name: feature.fingerprint() for name, feature in data.dataset.features.items()}
    if (earlier.get("train_hash"), earlier.get("features")) == (train.fingerprint(), features):
        unique, null = float(earlier["unique"][IMAGE]["value"]), np.array(earlier["null_unique"][IMAGE])
    else:
        signal = pretest(train, data.dataset.features).signal
        unique, null = signal.unique[IMAGE].mean, np.asarray(signal.null_unique[IMAGE])
    return unique, float(null.mean()) + EPSILON


def _tuning(comparison: Comparison) -> Gate:
    """G9: other draws of the trials say the same."""
    bounds = comparison.tuned.interval if comparison.tuned else None
    configuration = comparison.configuration
    if bounds is None or configuration is None:
        return Gate("G9", Status.UNKNOWN, why="too few trials to tell the luck of tuning")
    reason = f"with other draws of the trials {bounds.lo:+.1%} to {bounds.hi:+.1%}"
    return Gate(
        "G9",
        Status.PASS if bounds.contains(configuration.mean) else Status.FAIL,
        configuration.mean,
        why=reason,
    )
