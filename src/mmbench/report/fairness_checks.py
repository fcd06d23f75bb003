"""Was the effort equal? Checked from the records alone, claim by claim."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

from mmbench import paths
from mmbench.audit.condition_names import own_name, untold_losses
from mmbench.audit.further_tries import Tries, read_tries
from mmbench.audit.standing import Standing
from mmbench.data.held_out import AIMS
from mmbench.data.readers.recommendations import Coverage
from mmbench.fingerprint import of_json
from mmbench.inference import tuning_curves
from mmbench.inference.verdicts import MIN_TRIALS, UNTRAINED_WEIGHT
from mmbench.messages import Message, clauses, conjoined, digits_apart, series
from mmbench.report.additions import read_additions
from mmbench.report.cell_effort import CellEffort, marks_of, read_cell, remedies, too_narrow, with_plan
from mmbench.report.draws import Draws, read_draws, subject
from mmbench.report.table import DELTA, SweepTable, another_class, given_from, not_tuned_here
from mmbench.store import ledger, records
from mmbench.store.schema import ID_ONLY, Cell, LedgerRow, Manifest, Stage, Unit, training_rule
from mmbench.tuning.budget import PILOTS
from mmbench.tuning.space import configuration_hash

PASS, WARN, FAIL = "PASS", "WARN", "FAIL"
#: Share of failed trials that two conditions may differ by.
CRASH_BALANCE = Fraction(1, 10)
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


def read_groups(table: SweepTable, sweep_dir: Path, *, beside: bool = True) -> list[Group]:
    """Read the sealed cells of a sweep, grouped by dataset and model, and check each group.

    Args:
        table: the sweep.
        sweep_dir: its folder.
        beside: whether sweeps beside it count, which an archive does not hold.
    """
    rows: dict[str, list[LedgerRow]] = {}
    for row in ledger.read(sweep_dir):
        rows.setdefault(row.cell_key, []).append(row)
    manifest = records.read(paths.manifest_file(sweep_dir), Manifest)
    groups, draws, tries = [], read_draws(sweep_dir, beside=beside), read_tries(sweep_dir, beside=beside)
    additions = read_additions(manifest)
    for dataset in table.datasets:
        for model in table.models(dataset):
            cells_of = [r for (d, m, _), r in table.cells.items() if (d, m) == (dataset, model) and not r.parts]
            results = [r for r in cells_of if r.status == "done"]
            order = {name: place for place, name in enumerate(table.conditions)}
            results.sort(key=lambda r: order.get(r.modality, -1))
            cells = [
                with_plan(read_cell(r.modality, r.folder, rows, table.primary), sweep_dir, manifest) for r in results
            ]
            if cells:
                run = draws[subject(cells[0].cell)]
                checks = [_records(table.standing, dataset, model), _tries(tries[dataset, model])]
                if added := additions.get((dataset, model)):
                    checks.append(Check(Message("additions"), PASS, added))
                failed = {r.modality: " ".join(r.reason.split()) for r in cells_of if r.status == "failed"}
                checks += check(cells, table.delta, run, failed)
                groups.append(Group(dataset, model, cells, checks))
    return groups


def check(
    cells: Sequence[CellEffort],
    delta: float = DELTA,
    draws: Draws | None = None,
    failed: Mapping[str, str] = MappingProxyType({}),
) -> list[Check]:
    """Check one (dataset, model): equality first, then health.

    Args:
        cells: its conditions that have a result.
        delta: equivalence margin.
        draws: which draws were run; None where that is not to be listed.
        failed: its conditions that have none, and why.
    """
    checks: list[Check | None] = [
        _same(
            Message("split"),
            [c.cell.split_hash for c in cells],
            # What another system saw, no record says.
            Message("every condition was ranked against the same train and validation")
            if any(c.cell.is_external for c in cells)
            else Message("every condition saw the same train and validation"),
        ),
        _same(
            Message("test split"),
            [c.seal.test_hash for c in cells],
            Message("every condition was tested on the same interactions"),
        ),
        _target(cells),
        _same(Message("budget"), [_effort(c.cell) for c in cells], Message("one training rule, T and S for all")),
        _tuned_here(cells),
        _origin(cells),
        _slots(cells),
        _configurations(cells),
        _proposals(cells),
        _looks(cells),
        _names(cells),
        _draws(cells, draws),
        _seeds(cells),
        _choices(cells),
        _crashes(cells, failed),
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
        first = Message("{name}: {reason}", name=f"{found[0].file}: {found[0].field}", reason=found[0].reason)
        if len(found) > 1:
            first = Message("{first} and {n} more; python -m mmbench audit lists them", first=first, n=len(found) - 1)
        return Check(Message("records"), FAIL, first)
    return Check(Message("records"), PASS, Message("{level}, root {root}", level=standing.words, root=standing.root))


def _tries(tries: Tries) -> Check:
    """What was tried besides? Sweeps beside this one are named without a warning: an archive does not hold them."""
    named = [*tries.here, *tries.beside]
    reason = clauses(named) if named else Message("none that left a trace here")
    return Check(Message("further tries"), WARN if tries.here else PASS, reason)


def _same(name: Message, values: Sequence[str], claim: Message) -> Check:
    if len(set(values)) > 1:
        return Check(
            name, FAIL, Message("conditions differ in their {what}: what was compared is not the same task", what=name)
        )
    return Check(name, PASS, claim)


def _target(cells: Sequence[CellEffort]) -> Check | None:
    """Were all conditions tuned for the same? Where tuning aims at all items, as it mostly does, there is no choice."""
    targets = [cell.cell.target for cell in cells]
    if not any(targets):
        return None
    claim = Message("every condition was tuned for and judged on {aim}", aim=AIMS[targets[0]])
    return _same(Message("target"), targets, claim)


def _effort(cell: Cell) -> str:
    """How often and how a condition was trained, as a hash."""
    effort = cell.effort
    how_often = [effort.trials, effort.proposals, effort.seeds]
    return of_json([training_rule(cell.config["budget"]), *how_often, *(cell.sample or ())])


def _slots(cells: Sequence[CellEffort]) -> Check:
    counts = {c.modality: [t.index for t in c.trials] for c in cells}
    planned = {len(slots) for slots in counts.values()}
    if len(planned) > 1 or any(slots != list(range(len(slots))) for slots in counts.values()):
        counted = ", ".join(f"{name} {len(slots)}" for name, slots in counts.items())
        reason = Message("conditions were not given the same trials ({counted})", counted=counted)
        return Check(Message("trials"), FAIL, reason)
    each = Message.counted("{n} trial each, slots without a gap", "{n} trials each, slots without a gap", planned.pop())
    return Check(Message("trials"), PASS, each)


def _tuned_here(cells: Sequence[CellEffort]) -> Check | None:
    """Did the conditions take configurations of another sweep? Then all of them did, and from the same one."""
    given = [cell for cell in cells if cell.cell.given is not None]
    if not given:
        return None
    origins = sorted({(*given_from(cell.cell), cell.cell.config["given"]["trials"]) for cell in given})
    if len(given) < len(cells) or len(origins) > 1:
        reason = Message("some conditions were tuned here and some were not, or not with the same effort")
        return Check(Message("tuning"), FAIL, reason)
    dataset, root, _ = origins[0]
    return Check(Message("tuning"), WARN, not_tuned_here(dataset, root))


def _origin(cells: Sequence[CellEffort]) -> Check | None:
    """Are these the lists of another system, or a class of the user's own, whatever its name?"""
    if any(cell.cell.is_external for cell in cells):
        reason = [Message("lists of another system: it was not tuned here, and what it learned from cannot be checked")]
        reason += [Coverage(**lists).words for cell in cells[:1] if (lists := cell.cell.lists)]
        return Check(Message("origin"), WARN, clauses(reason))
    if others := sorted({other for cell in cells if (other := another_class(cell.cell))}):
        reason = [
            Message(
                "{name} is {other}, and not the model of mmbench with that name",
                name=cells[0].cell.model,
                other=series(others),
            )
        ]
        return Check(Message("origin"), WARN, clauses(reason))
    return None


def _configurations(cells: Sequence[CellEffort]) -> Check | None:
    if all(cell.cell.given is not None for cell in cells):
        return None  # each took its own
    shortest = min(len(c.trials) for c in cells)
    lists = [[t.configuration_hash for t in c.trials][:shortest] for c in cells]
    if any(hashes != lists[0] for hashes in lists):
        return Check(
            Message("configurations"),
            FAIL,
            Message("the same slot holds different configurations under different conditions"),
        )
    if len(set(lists[0])) != shortest:
        return Check(Message("configurations"), FAIL, Message("a configuration was tried twice"))
    if any(t.configuration_hash != configuration_hash(t.configuration) for c in cells for t in c.trials):
        return Check(
            Message("configurations"), FAIL, Message("a record's configuration is not the one its hash was taken from")
        )
    return Check(
        Message("configurations"), PASS, Message("identical lists of configurations, all distinct, the default first")
    )


def _proposals(cells: Sequence[CellEffort]) -> Check | None:
    """Did TPE propose equally often to all conditions? What it proposes may differ, so no curve counts it."""
    counts = {c.modality: len(c.proposals) for c in cells}
    if not any(counts.values()):
        return None
    if len(set(counts.values())) > 1:
        counted = ", ".join(f"{name} {n}" for name, n in counts.items())
        return Check(
            Message("proposals"),
            FAIL,
            Message("TPE proposed more to some conditions than to others ({counted})", counted=counted),
        )
    reason = Message.counted(
        "TPE proposed {n} further trial to each; curves over trials leave it out",
        "TPE proposed {n} further trials to each; curves over trials leave them out",
        max(counts.values()),
    )
    return Check(Message("proposals"), PASS, reason)


def _looks(cells: Sequence[CellEffort]) -> Check | None:
    """How often was the test split opened, and after how much effort?"""
    said = {c.modality: _opened(c) for c in cells if c.looks}
    if not said:
        return None
    if missed := {c.modality: c.missed for c in cells if c.missed}:
        counted = ", ".join(f"{name} {n}" for name, n in missed.items())
        reason = Message(
            "the plan knows looks at the test split that the folder does not show ({counted})", counted=counted
        )
        return Check(Message("looks"), FAIL, reason)
    if len(set(said.values())) == 1:
        (times,) = set(said.values())
        return Check(Message("looks"), PASS, Message("the test split was opened {times}", times=times))
    each = clauses([Message("{name} {times}", name=name, times=times) for name, times in said.items()])
    return Check(Message("looks"), PASS, Message("the test split was opened for {each}", each=each))


def _opened(cell: CellEffort) -> Message:
    seen, times = set(), []
    for look in cell.looks:
        effort = Message("with T {trials} and S {seeds}", trials=look.trials, seeds=look.seeds)
        times.append(
            Message("{effort}, which gave the same records", effort=effort) if look.seal.hash in seen else effort
        )
        seen.add(look.seal.hash)
    each = functools.reduce(lambda first, rest: Message("{first}, then {rest}", first=first, rest=rest), times)
    if unsaid := cell.n_looks - len(cell.openings):
        each = Message.counted(
            "{each}, and once more, of which no word can be said again",
            "{each}, and {n} times more, of which no word can be said again",
            unsaid,
            each=each,
        )
    return Message.counted("once, {each}", "{n} times, {each}", len(times), each=each)


def _names(cells: Sequence[CellEffort]) -> Check | None:
    """Which conditions have a name of the user's own, whose meaning only the record says?"""
    own = {c.modality: said for c in cells if (said := own_name(c.cell))}
    if not own:
        return None
    each = clauses([Message("{name} is {states}", name=name, states=series(said)) for name, said in own.items()])
    level = WARN if any(untold_losses(c.cell) for c in cells) else PASS
    return Check(Message("conditions"), level, Message("names that mmbench does not know: {each}", each=each))


def _draws(cells: Sequence[CellEffort], draws: Draws | None) -> Check | None:
    """Which draws of the tuning were run? Those of sweeps beside this one are named without a warning, as in _tries."""
    if draws is None:
        return None
    here = Message(
        "this is draw {draw}; draws run in this sweep: {numbers}",
        draw=cells[0].cell.draw,
        numbers=series(list(map(str, sorted(draws.here)))),
    )
    if draws.elsewhere:
        each = [
            Message("draw {draw} in {sweeps}", draw=draw, sweeps=series(sorted(names)))
            for draw, names in sorted(draws.elsewhere.items())
        ]
        return Check(Message("draws"), PASS, Message("{here}; not shown here: {each}", here=here, each=clauses(each)))
    return Check(Message("draws"), PASS, here)


def _rungs(cells: Sequence[CellEffort]) -> Check | None:
    """Where trials may be cut short: how many survived, and whether that was fair to slow starters."""
    rungs = cells[0].cell.config["budget"].get("rungs")
    if not rungs:
        return None
    survived = {c.modality: sum(t.course is None or t.course.stop_reason != "rung" for t in c.trials) for c in cells}
    survivors = series(
        [
            Message("{name} {n} of {trials}", name=name, n=n, trials=len(c.trials))
            for (name, n), c in zip(survived.items(), cells, strict=True)
        ]
    )
    crossed = [tuning_curves.crossings(_epochs_of(c, rungs), _histories(c)) for c in cells]
    worst = max((share for share in crossed if share is not None), default=None)
    if worst is None:
        reason = Message(
            "too few trials to tell whether cutting them short is fair; survived: {survivors}", survivors=survivors
        )
        return Check(Message("rungs"), WARN, reason)
    reason = Message(
        "order of {share} % of the pairs of uncut trials changed after a rung; survived: {survivors}",
        share=f"{100 * worst:.{digits_apart(worst, CROSSED, 0, 100)}f}",
        survivors=survivors,
    )
    return Check(Message("rungs"), WARN if worst > CROSSED else PASS, reason)


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
        return Check(Message("seeds"), FAIL, Message("conditions ran with different seeds"))
    if set(itertools.chain(*tuning)) & set(itertools.chain(*finals)):
        return Check(Message("seeds"), FAIL, Message("a final run repeats the seed of a trial"))
    return Check(Message("seeds"), PASS, Message("the same seeds for all, final seeds apart from tuning seeds"))


def _choices(cells: Sequence[CellEffort]) -> Check:
    for c in cells:
        tried = [(t.score, t) for t in (*c.trials, *c.proposals) if t.score is not None]
        _, best = max(tried, key=lambda pair: pair[0])  # the first of equals: the lower slot
        chosen, right = _place(c.choice.unit), _place(best.unit)
        if chosen != right:
            reason = Message(
                "{condition}: {chosen} was chosen, but {right} is best on validation",
                condition=c.modality,
                chosen=chosen,
                right=right,
            )
            return Check(Message("choice"), FAIL, reason)
        if c.seal.choice_hash != c.choice.hash:
            reason = Message("{condition}: the test split was opened for another choice", condition=c.modality)
            return Check(Message("choice"), FAIL, reason)
        if any(f.configuration != c.choice.configuration for f in c.finals):
            reason = Message("{condition}: a final run did not use the chosen configuration", condition=c.modality)
            return Check(Message("choice"), FAIL, reason)
    return Check(Message("choice"), PASS, Message("best on validation, hashed before the test split was opened"))


def _place(unit: Unit) -> Message:
    """Which trial it is, in words."""
    if unit.stage == Stage.TRIAL:
        return Message("slot {number}", number=unit.number)
    return Message("proposal {number}", number=unit.number)


def _crashes(cells: Sequence[CellEffort], failed: Mapping[str, str]) -> Check:
    """What failed? Where a whole condition did, contrasts with it have no word, and the others are what they were."""
    shares = [c.failed_share for c in cells]
    lost = series([_said_of(c, f"{100 * float(c.failed_share):.0f} %") for c in cells])
    without = [Message("{condition} failed: {reason}", condition=name, reason=why) for name, why in failed.items()]
    if max(shares) - min(shares) > CRASH_BALANCE:
        reason = Message("some conditions lost more trials than others ({lost})", lost=lost)
        return Check(Message("failed trials"), FAIL, clauses([reason, *without]))
    some = [Message("trials failed ({lost})", lost=lost)] if max(shares) > 0 else []
    if some or without:
        return Check(Message("failed trials"), WARN, clauses([*some, *without]))
    return Check(Message("failed trials"), PASS, Message("none failed"))


def _said_of(cell: CellEffort, said: str) -> str:
    """What is said of a condition, with its name; a model that reads no content has one without a name."""
    if cell.modality == ID_ONLY:
        return said
    return Message("{name} {said}", name=cell.modality, said=said)


def _controls(cells: Sequence[CellEffort]) -> Check:
    for c in cells:
        for record in (*c.trials, *c.finals):
            for name, control in record.controls.items():
                if not control.differs_from_real:
                    reason = Message(
                        "{condition}: the control of {modality} is the real features",
                        condition=c.modality,
                        modality=name,
                    )
                    return Check(Message("controls"), FAIL, reason)
    return Check(Message("controls"), PASS, Message("controls differ from the real features"))


def _ends(cells: Sequence[CellEffort], delta: float) -> Check:
    """Did trainings come to their end, those that decide first?"""
    marked = [(c, marks) for c in cells if (marks := c.marks(delta))]
    if marked:
        named = [_said_of(cell, conjoined(marks)) for cell, marks in marked]
        values = [value for mark, value in remedies(cells).items() if any(mark in marks for _, marks in marked)]
        reason = Message(
            "more than {share} % of what decides did not train to its end ({conditions}): raise {settings}",
            share=f"{100 * UNTRAINED_WEIGHT:.0f}",
            conditions=clauses(named),
            settings=conjoined(values),
        )
        return Check(Message("ends of trainings"), WARN, reason)
    counts = [
        _said_of(c, Message("{n} {mark}", n=int(marks.sum()), mark=name))
        for c in cells
        for name, marks in marks_of([*c.trials, *c.finals], delta).items()
        if marks.any()
    ]
    reason = (
        Message("of little weight: {counts}", counts=series(counts))
        if counts
        else Message("no training stalled or was cut off")
    )
    return Check(Message("ends of trainings"), PASS, reason)


def _edges(cells: Sequence[CellEffort]) -> Check:
    hits = [
        path if modality == ID_ONLY else f"{path} ({modality})"
        for modality, narrow in too_narrow(cells).items()
        for path in narrow
    ]
    if hits:
        reason = Message("the best trials lie at the edge of {paths}; widen the range", paths=series(hits))
        return Check(Message("ranges"), WARN, reason)
    return Check(Message("ranges"), PASS, Message("no range is shown to be too narrow"))
