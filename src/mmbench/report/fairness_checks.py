"""Was the effort equal? Checked from the records alone, claim by claim."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmbench.audit.further_tries import Tries, read_tries
from mmbench.audit.standing import Standing
from mmbench.fingerprint import of_json
from mmbench.inference import tuning_curves
from mmbench.inference.verdicts import MIN_TRIALS, UNTRAINED_WEIGHT
from mmbench.report.cell_effort import REMEDIES, CellEffort, cut_off, edges, read_cell, stalled
from mmbench.report.draws import Draws, read_draws, subject
from mmbench.report.table import DELTA, SweepTable
from mmbench.store import ledger
from mmbench.store.schema import Cell, LedgerRow, Stage, Unit, training_rule
from mmbench.tuning.budget import PILOTS
from mmbench.tuning.space import configuration_hash

PASS, WARN, FAIL = "PASS", "WARN", "FAIL"
#: Share of failed trials that two conditions may differ by.
CRASH_BALANCE = 0.10
#: Share of pairs of learning curves that may cross after a rung before cutting trials short is suspect.
CROSSED = 0.20


@dataclass(frozen=True)
class Check:
    """One claim and whether the records bear it out."""

    name: str
    level: str
    reason: str


@dataclass(frozen=True)
class Group:
    """All conditions of one (dataset, model), and the checks of their tuning."""

    dataset: str
    model: str
    cells: Sequence[CellEffort]
    checks: Sequence[Check]

    @property
    def level(self) -> str:
        """The worst level of its checks."""
        levels = [check.level for check in self.checks]
        return FAIL if FAIL in levels else WARN if WARN in levels else PASS

    def enough_trials(self) -> bool:
        """Whether curves over the number of trials mean anything."""
        return len(self.cells) > 0 and min(len(c.trials) for c in self.cells) >= MIN_TRIALS


def read_groups(table: SweepTable, sweep_dir: Path) -> list[Group]:
    """Read the sealed cells of a sweep, grouped by dataset and model, and check each group."""
    rows: dict[str, list[LedgerRow]] = {}
    for row in ledger.read(sweep_dir):
        rows.setdefault(row.cell_key, []).append(row)
    groups, draws, tries = [], read_draws(sweep_dir), read_tries(sweep_dir)
    for dataset in table.datasets:
        for model in table.models(dataset):
            cells_of = [r for (d, m, _), r in table.cells.items() if (d, m) == (dataset, model) and not r.parts]
            results = [r for r in cells_of if r.status == "done"]
            order = {name: place for place, name in enumerate(table.conditions)}
            results.sort(key=lambda r: order.get(r.modality, -1))
            cells = [read_cell(r.modality, r.folder, rows, table.primary) for r in results]
            if cells:
                run = draws[subject(cells[0].cell)]
                checks = [_records(table.standing, dataset, model), _tries(tries[dataset, model])]
                checks += check(cells, table.delta, run)
                groups.append(Group(dataset, model, cells, checks))
    return groups


def check(cells: Sequence[CellEffort], delta: float = DELTA, draws: Draws | None = None) -> list[Check]:
    """Check one (dataset, model): equality first, then health.

    Args:
        cells: its conditions.
        delta: equivalence margin.
        draws: which draws were run; None where that is not to be listed.
    """
    checks: list[Check | None] = [
        _same("split", [c.cell.split_hash for c in cells], "every condition saw the same train and validation"),
        _same("test split", [c.seal.test_hash for c in cells], "every condition was tested on the same interactions"),
        _same("budget", [_effort(c.cell) for c in cells], "one training rule, T and S for all"),
        _slots(cells),
        _configurations(cells),
        _proposals(cells),
        _looks(cells),
        _draws(cells, draws),
        _seeds(cells),
        _choices(cells),
        _crashes(cells),
        _controls(cells),
        _ends(cells, delta),
        _rungs(cells),
    ]
    if min(len(c.trials) for c in cells) >= MIN_TRIALS:
        checks.append(_edges(cells))
    return [check for check in checks if check is not None]


def _records(standing: Standing, dataset: str, model: str) -> Check:
    """Are the records what an audit computes again?"""
    found = [finding for finding in standing.findings if finding.touches(dataset, model)]
    if found:
        more = f" and {len(found) - 1} more; python -m mmbench audit lists them" if len(found) > 1 else ""
        return Check("records", FAIL, f"{found[0]}{more}")
    return Check("records", PASS, f"{standing.words}, root {standing.root}")


def _tries(tries: Tries) -> Check:
    """What was tried besides? Sweeps beside this one are named without a warning: an archive does not hold them."""
    named = "; ".join(map(str, [*tries.here, *tries.beside]))
    return Check("further tries", WARN if tries.here else PASS, named or "none that left a trace here")


def _same(name: str, values: Sequence[str], claim: str) -> Check:
    if len(set(values)) > 1:
        return Check(name, FAIL, f"conditions differ in their {name}: what was compared is not the same task")
    return Check(name, PASS, claim)


def _effort(cell: Cell) -> str:
    """How often and how a condition was trained, as a hash."""
    effort = cell.effort
    return of_json([training_rule(cell.config["budget"]), effort.trials, effort.proposals, effort.seeds])


def _slots(cells: Sequence[CellEffort]) -> Check:
    counts = {c.modality: [t.index for t in c.trials] for c in cells}
    planned = {len(slots) for slots in counts.values()}
    if len(planned) > 1 or any(slots != list(range(len(slots))) for slots in counts.values()):
        counted = ", ".join(f"{name} {len(slots)}" for name, slots in counts.items())
        return Check("trials", FAIL, f"conditions were not given the same trials ({counted})")
    return Check("trials", PASS, f"{planned.pop()} trials each, slots without a gap")


def _configurations(cells: Sequence[CellEffort]) -> Check:
    shortest = min(len(c.trials) for c in cells)
    lists = [[t.configuration_hash for t in c.trials][:shortest] for c in cells]
    if any(hashes != lists[0] for hashes in lists):
        return Check("configurations", FAIL, "the same slot holds different configurations under different conditions")
    if len(set(lists[0])) != shortest:
        return Check("configurations", FAIL, "a configuration was tried twice")
    if any(t.configuration_hash != configuration_hash(t.configuration) for c in cells for t in c.trials):
        return Check("configurations", FAIL, "a record's configuration is not the one its hash was taken from")
    return Check("configurations", PASS, "identical lists of configurations, all distinct, the default first")


def _proposals(cells: Sequence[CellEffort]) -> Check | None:
    """Did TPE propose equally often to all conditions? What it proposes may differ, so no curve counts it."""
    counts = {c.modality: len(c.proposals) for c in cells}
    if not any(counts.values()):
        return None
    if len(set(counts.values())) > 1:
        counted = ", ".join(f"{name} {n}" for name, n in counts.items())
        return Check("proposals", FAIL, f"TPE proposed more to some conditions than to others ({counted})")
    reason = f"TPE proposed {max(counts.values())} further trials to each; curves over trials leave them out"
    return Check("proposals", PASS, reason)


def _looks(cells: Sequence[CellEffort]) -> Check | None:
    """How often was the test split opened, and after how much effort?"""
    said = {c.modality: _opened(c) for c in cells if c.looks}
    if not said:
        return None
    if len(set(said.values())) == 1:
        return Check("looks", PASS, f"the test split was opened {next(iter(said.values()))}")
    each = "; ".join(f"{name} {opened}" for name, opened in said.items())
    return Check("looks", PASS, f"the test split was opened for {each}")


def _opened(cell: CellEffort) -> str:
    times = [f"with T {look.trials} and S {look.seeds}" for look in cell.looks]
    return f"once, {times[0]}" if len(times) == 1 else f"{len(times)} times, {', then '.join(times)}"


def _draws(cells: Sequence[CellEffort], draws: Draws | None) -> Check | None:
    """Which draws of the tuning were run?"""
    if draws is None:
        return None
    numbers = ", ".join(map(str, sorted(draws.here)))
    here = f"this is draw {cells[0].cell.draw}; draws run in this sweep: {numbers}"
    if draws.elsewhere:
        each = (f"draw {draw} in {', '.join(sorted(names))}" for draw, names in sorted(draws.elsewhere.items()))
        return Check("draws", WARN, f"{here}; not shown here: {'; '.join(each)}")
    return Check("draws", PASS, here)


def _rungs(cells: Sequence[CellEffort]) -> Check | None:
    """Where trials may be cut short: how many survived, and whether that was fair to slow starters."""
    rungs = cells[0].cell.config["budget"].get("rungs")
    if not rungs:
        return None
    survived = {c.modality: sum(t.course is None or t.course.stop_reason != "rung" for t in c.trials) for c in cells}
    survivors = ", ".join(
        f"{name} {n} of {len(c.trials)}" for (name, n), c in zip(survived.items(), cells, strict=True)
    )
    crossed = [tuning_curves.crossings(_epochs_of(c, rungs), _histories(c)) for c in cells]
    worst = max((share for share in crossed if share is not None), default=None)
    if worst is None:
        return Check("rungs", WARN, f"too few trials to tell whether cutting them short is fair; survived: {survivors}")
    reason = f"order of {100 * worst:.0f} % of the pairs of uncut trials changed after a rung; survived: {survivors}"
    return Check("rungs", WARN if worst > CROSSED else PASS, reason)


def _epochs_of(cell: CellEffort, rungs: Sequence[int]) -> list[int]:
    """Epochs after which the rungs of a cell were reached."""
    course = next((t.course for t in cell.trials if t.course is not None), None)
    return [] if course is None else [course.epoch_of(step) for step in rungs]


def _histories(cell: CellEffort) -> list[list[float] | None]:
    """Learning curves of the trials that are never cut short; None for a failed one."""
    return [None if t.course is None else t.course.history for t in cell.trials[:PILOTS]]


def _seeds(cells: Sequence[CellEffort]) -> Check:
    tuning = [[t.seed for t in (*c.trials, *c.proposals)] for c in cells]
    finals = [[f.seed for f in c.finals] for c in cells]
    shortest = min(map(len, tuning))
    if any(s != finals[0] for s in finals) or any(s[:shortest] != tuning[0][:shortest] for s in tuning):
        return Check("seeds", FAIL, "conditions ran with different seeds")
    if set(itertools.chain(*tuning)) & set(itertools.chain(*finals)):
        return Check("seeds", FAIL, "a final run repeats the seed of a trial")
    return Check("seeds", PASS, "the same seeds for all, final seeds apart from tuning seeds")


def _choices(cells: Sequence[CellEffort]) -> Check:
    for c in cells:
        tried = [(t.score, t) for t in (*c.trials, *c.proposals) if t.score is not None]
        _, best = max(tried, key=lambda pair: pair[0])  # the first of equals: the lower slot
        chosen, right = _place(c.choice.unit), _place(best.unit)
        if chosen != right:
            return Check("choice", FAIL, f"{c.modality}: {chosen} was chosen, but {right} is best on validation")
        if c.seal.choice_hash != c.choice.hash:
            return Check("choice", FAIL, f"{c.modality}: the test split was opened for another choice")
        if any(f.configuration != c.choice.configuration for f in c.finals):
            return Check("choice", FAIL, f"{c.modality}: a final run did not use the chosen configuration")
    return Check("choice", PASS, "best on validation, hashed before the test split was opened")


def _place(unit: Unit) -> str:
    """Which trial it is, in words."""
    return f"{'slot' if unit.stage == Stage.TRIAL else 'proposal'} {unit.number}"


def _crashes(cells: Sequence[CellEffort]) -> Check:
    shares = [c.failed_share for c in cells]
    lost = ", ".join(f"{c.modality} {100 * c.failed_share:.0f} %" for c in cells)
    if max(shares) - min(shares) > CRASH_BALANCE:
        return Check("failed trials", FAIL, f"some conditions lost more trials than others ({lost})")
    return Check("failed trials", WARN if max(shares) > 0 else PASS, lost if max(shares) > 0 else "none failed")


def _controls(cells: Sequence[CellEffort]) -> Check:
    for c in cells:
        for record in (*c.trials, *c.finals):
            for name, control in record.controls.items():
                if not control.differs_from_real:
                    return Check("controls", FAIL, f"{c.modality}: the control of {name} is the real features")
    return Check("controls", PASS, "controls differ from the real features")


def _ends(cells: Sequence[CellEffort], delta: float) -> Check:
    """Did trainings come to their end, those that decide first?"""
    marked = {c.modality: c.marks(delta) for c in cells}
    if any(marked.values()):
        named = "; ".join(f"{name} {' and '.join(marks)}" for name, marks in marked.items() if marks)
        values = " and ".join(value for mark, value in REMEDIES.items() if any(mark in m for m in marked.values()))
        reason = f"more than {100 * UNTRAINED_WEIGHT:.0f} % of what decides did not train to its end ({named})"
        return Check("ends of trainings", WARN, f"{reason}: raise {values}")
    counts = [
        f"{c.modality} {int(marks.sum())} {name}"
        for c in cells
        for name, marks in zip(REMEDIES, _marks(c, delta), strict=True)
        if marks.any()
    ]
    reason = f"of little weight: {', '.join(counts)}" if counts else "no training stalled or was cut off"
    return Check("ends of trainings", PASS, reason)


def _marks(cell: CellEffort, delta: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of all its trainings stalled, and which were cut off."""
    trainings = [*cell.trials, *cell.finals]
    return stalled(trainings), cut_off(trainings, delta)


def _edges(cells: Sequence[CellEffort]) -> Check:
    hits = [
        f"{path} ({c.modality})"
        for c in cells
        for path, share in edges(c).items()
        if share > tuning_curves.EDGE_WARNING
    ]
    if hits:
        return Check("ranges", WARN, f"the best trials lie at the edge of {', '.join(hits)}; widen the range")
    return Check("ranges", PASS, "the best trials lie inside their ranges")
