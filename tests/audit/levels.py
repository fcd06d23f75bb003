"""Which level of an audit sees an edit."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterable
from pathlib import Path

from mmbench import paths
from mmbench.audit import consistency, levels, retraining
from mmbench.audit.findings import Finding
from mmbench.audit.progress import Progress
from mmbench.audit.recorded import Recorded, Sources
from mmbench.report.comparisons import read_contrasts
from mmbench.report.disposals import read_disposals
from mmbench.report.fairness_checks import read_groups
from mmbench.report.reading import read_sweep
from mmbench.store import records
from mmbench.store.schema import CellName, Manifest, Unit

CONSISTENCY, RESCORING, RETRAINING, PLAN, NOTHING = (
    "consistency", "re-scoring", "re-training", "plan hash", "no verdict reads it",
)  # fmt: skip


def rescored(folder: Path, sources: Sources, only: Iterable[CellName] | None = None) -> list[Finding]:
    """What the second level finds in some cells of a sweep, or in all of them."""
    manifest = records.read(paths.manifest_file(folder), Manifest)
    cells = [cell for cell in manifest.cells if only is None or cell.name in only]
    with tempfile.TemporaryDirectory() as graphs:
        marks = Progress(Path(graphs) / "marks")
        return [
            finding
            for cell in cells
            if paths.cell_file(paths.cell_dir(folder, *cell.name)).exists()
            for finding in levels._rescored(folder, manifest.data, sources, Path(graphs), marks, cell).found
        ]


def retrained(folder: Path, sources: Sources, wanted: Iterable[tuple[CellName, Unit]]) -> list[Finding]:
    """What the third level finds if its sample holds these trainings."""
    wanted = list(wanted)
    places = [place for place in retraining.all_trainings(folder) if (place.planned.name, place.unit) in wanted]
    assert {(place.planned.name, place.unit) for place in places} == {*wanted}
    machines = retraining.machines_of(folder, places)
    with tempfile.TemporaryDirectory() as graphs:
        results = [
            retraining.retrain(Recorded.read(folder, place.planned, sources), place, Path(graphs), machines)
            for place in places
        ]
    return [result.finding for result in results if result.finding is not None]


def seen_by(
    folder: Path,
    sources: Sources,
    plan_hash: str,
    trainings: Iterable[tuple[CellName, Unit]],
    only: Iterable[CellName] | None = None,
) -> str:
    """The lowest level that sees an edit.

    Args:
        folder: the edited sweep.
        sources: what the audit may use.
        plan_hash: hash of its plan, kept elsewhere.
        trainings: what is trained again.
        only: cells that are ranked again; None for all.
    """
    if consistency.check(folder):
        return CONSISTENCY
    if rescored(folder, sources, only):
        return RESCORING
    if retrained(folder, sources, trainings):
        return RETRAINING
    if levels.check_kept_elsewhere(folder, plan_hash, ""):
        return PLAN
    return NOTHING


def verdicts(folder: Path) -> str:
    """Everything that is judged, as a table."""
    table = read_sweep(folder)
    groups = read_groups(table, folder)
    out = io.StringIO()
    rows = csv.writer(out)
    for comparison in [*read_contrasts(table, groups), *read_disposals(table, groups)]:
        rows.writerow([comparison.name, comparison.tuned, comparison.judgement])
    return out.getvalue()
