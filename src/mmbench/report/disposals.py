"""Free disposal of a modality: the best of the real conditions against the best of the same ones with it shuffled.

What does not help need not be used, so the smaller conditions are among the cells of both sides; and a condition is
searched no more than its control, so neither side has more chances to find something.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mmbench import paths
from mmbench.inference.gains import Gain, NoWord, TunedGain
from mmbench.inference.verdicts import Judgement, Verdict, verdict
from mmbench.messages import Message, clauses, conjoined
from mmbench.report.additions import Part, effort_of, later_looks
from mmbench.report.cell_effort import CellEffort
from mmbench.report.comparisons import (
    PENDING,
    At,
    EarlierLook,
    Inference,
    adjusted,
    before_additions,
    earlier_looks,
    inference_of,
    judged_sides,
    level_of,
    looks_together,
    now,
    optimism_of,
    unfairness,
    was_reopened,
)
from mmbench.report.control_conditions import (
    States,
    by_name,
    control_of,
    control_states,
    is_real,
    part_of,
    partial_overrides,
    without,
)
from mmbench.report.fairness_checks import Group
from mmbench.report.planned_sides import Planned, failure_of, may_stand, planned_cells, why_pending
from mmbench.report.table import SweepTable
from mmbench.report.together import Repetitions, judge_together, read_repetitions, together, without_word
from mmbench.store import ledger, records
from mmbench.store.schema import Cell


class FailedControl(NamedTuple):
    """A control that was run and has no result.

    Attributes:
        model: its model.
        overrides: what the command line takes to run it.
        times: how many of its trainings failed, at least one.
        reason: why.
    """

    model: str
    overrides: str
    times: int
    reason: str

    def __str__(self) -> str:
        return str(self.said)

    @property
    def said(self) -> Message:
        """How often it failed, and why."""
        return Message.counted(
            "model={model} {overrides} failed once: {reason}",
            "model={model} {overrides} failed {n} times: {reason}",
            self.times,
            model=self.model,
            overrides=self.overrides,
            reason=self.reason,
        )


@dataclass(frozen=True)
class Disposal:
    """Free disposal of one modality, in one model or over all models of a data set.

    Args:
        dataset: its dataset.
        modality: the modality that may be disposed of.
        model: the model; None over all models of the sweep.
        tuned: gain of the best of the real cells over the best of their controls, picked on validation; where no
            control was run, over the best of the real cells without the modality, which is searched less and allows
            neither bounds nor a word. None where it is not defined.
        real: names of the real cells, ``model/condition``, in the order that decides between equal scores; none where
            repetitions that are judged together differ in them.
        control: names of their controls; a cell without the modality is its own.
        missing: model and overrides, like ``modality=text_shuffled_image``, of each control that was not run; its cell
            is on neither side.
        judgement: the verdict; its word is None where none is allowed.
        failed: those of the missing controls that were run and failed.
        without: model and overrides of each condition that a real cell is without the modality, and that was not run.
            There is no word: nothing but the shuffled modality is left to choose on the other side, and what that
            spoils would count as a gain.
        earlier: what was said before T or S was raised, a cell begun afresh, or anything added that it is about.
        over: the repetitions that are judged together here, where ``dataset`` names them all.
        within: the repetitions that this is one of; then they have the word.
        part: the slice whose items alone have the modality; empty where all that have it do.
        inference: tests of the tuned gain; None where it has no bounds.
        optimism: expected validation score of each side minus the expected test metric; None where the two are
            different metrics.
        data: name of the data set whatever its split.
        target: what its tuning aimed at, see :func:`mmbench.data.held_out.target_of`.
        pairs: each real cell with its control, and when they were planned; none where no control was run.
        enlarged: revisions of the plan that added to what is chosen from, or repetitions, once a word had been
            possible, each a look.
        reopened: whether the test split of one of its cells was opened more than once.
        untold: whether cells were opened again and others added, or conditions and repetitions were added, so that what
            was said at earlier looks is not computed again.
        passed_over: name of each cell that is on neither side because one with the same states was planned before it,
            and the name of that one.
        pending: whether cells that are planned and have no result leave nothing to compare, as its reason says; then it
            has no sides.
    """

    dataset: str
    modality: str
    model: str | None
    tuned: Gain | None
    real: tuple[str, ...]
    control: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]
    judgement: Judgement
    failed: tuple[FailedControl, ...] = ()
    without: tuple[tuple[str, str], ...] = ()
    earlier: tuple[EarlierLook, ...] = ()
    over: Repetitions | None = None
    within: Repetitions | None = None
    part: str = ""
    inference: Inference | None = None
    optimism: tuple[float, float] | None = None
    data: str = ""
    target: str = ""
    pairs: tuple[Part, ...] = ()
    enlarged: tuple[int, ...] = ()
    reopened: bool = False
    untold: bool = False
    passed_over: tuple[tuple[str, str], ...] = ()
    pending: bool = False

    @property
    def name(self) -> str:
        """Its name with dataset and model, as ``--explain`` takes it."""
        return f"{self.dataset}/{self.model or ALL_MODELS}/{FREE}{self.modality}"

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of its data sets."""
        return (self.dataset,) if self.over is None else self.over.datasets

    @property
    def controlled(self) -> bool:
        """Whether both sides were searched alike."""
        return self.tuned is None or self.tuned.refusal is not NoWord.MORE_SEARCH

    @property
    def word(self) -> str:
        """The verdict, or that none is allowed."""
        return self.judgement.said


#: What stands in place of a model over all models, and before the modality in the name of a free disposal.
ALL_MODELS, FREE = Message("all models"), "free_disposal_of_"


def read_disposals(table: SweepTable, groups: Sequence[Group]) -> list[Disposal]:
    """Free disposal of every modality that some real condition has, for each model and over all models.

    External recommendations and the late ensemble are on neither side. Where a planned real condition has no result, or
    its planned control has not run, the best of all of them is not known, and there is no word; where nothing can be
    compared yet, p is 1 as well.

    Args:
        table: the sweep.
        groups: its fairness report.
    """
    by_dataset: dict[str, list[Disposal]] = {dataset: [] for dataset in table.datasets}
    planned = planned_cells(table)
    for dataset, found in by_dataset.items():
        of_dataset = [group for group in groups if group.dataset == dataset]
        for modality in sorted({name for group in of_dataset for name in _modalities(table, group)}):
            having = [group for group in of_dataset if modality in _modalities(table, group)]
            for group in having:
                of_model = [one for one in planned[dataset] if one.cell.model == group.model]
                waiting = why_pending(modality, of_model, compared=True)
                found += _read(table, modality, group.model, [group], waiting=waiting)
            waiting = why_pending(modality, planned[dataset], compared=True)
            found += _read(table, modality, None, of_dataset, waiting=waiting)
    read, repeated = _together(table, groups, by_dataset), read_repetitions(table, groups)
    return adjusted([*read, *_pending(table, read, repeated, planned)], repeated)


def _pending(
    table: SweepTable,
    read: Sequence[Disposal],
    repeated: Sequence[Repetitions],
    by_dataset: Mapping[str, Sequence[Planned]],
) -> Iterator[Disposal]:
    """Free disposals that the plan allows and of which nothing can be compared yet, those of repetitions as one.

    Args:
        table: the sweep.
        read: those that can be compared.
        repeated: the repetitions of the sweep.
        by_dataset: its planned cells.
    """
    known = {(dataset, d.modality, d.model) for d in read for dataset in d.datasets}
    whole = {dataset: over for over in repeated for dataset in over.datasets}
    for datasets in dict.fromkeys(whole[name].datasets if name in whole else (name,) for name in table.datasets):
        planned = [one for dataset in datasets for one in by_dataset[dataset]]
        for modality in sorted({name for _, states in planned for name, state in states.items() if state == "real"}):
            models = sorted({cell.model for cell, states in planned if states.get(modality) == "real"})
            for model in (*models, None):
                if any((name, modality, model) in known for name in datasets):
                    continue
                reason = why_pending(modality, [one for one in planned if model in (None, one.cell.model)])
                if reason:
                    yield Disposal(
                        whole[datasets[0]].name if datasets[0] in whole else datasets[0],
                        modality,
                        model,
                        None,
                        (),
                        (),
                        (),
                        verdict(None, table.delta, wordless=reason),
                        over=whole.get(datasets[0]),
                        data=next((cell.data for cell, _ in planned if cell.data), ""),
                        pending=True,
                    )


def read_partial_disposals(table: SweepTable, groups: Sequence[Group], modality: str) -> list[Disposal]:
    """Free disposal of a modality that the items of one slice alone have, over all models, for every slice that ran.

    The cells without the modality are those of the whole; those with it, and their controls, are of the slice. It waits
    for what is planned of either, as :func:`read_disposals` does.

    Args:
        table: the sweep.
        groups: its fairness report.
        modality: the modality.
    """
    by_dataset: dict[str, list[Disposal]] = {dataset: [] for dataset in table.datasets}
    for part in sorted({part_of(c.cell, modality) for group in groups for c in group.cells} - {""}):
        planned = planned_cells(table, modality, part)
        for dataset, found in by_dataset.items():
            of_dataset = [group for group in groups if group.dataset == dataset]
            if any(part_of(c.cell, modality) == part for group in of_dataset for c in group.cells):
                waiting = why_pending(modality, planned[dataset], compared=True)
                found += _read(table, modality, None, of_dataset, part, waiting)
    return _together(table, groups, by_dataset)


def _together(table: SweepTable, groups: Sequence[Group], by_dataset: Mapping[str, list[Disposal]]) -> list[Disposal]:
    """Disposals with those over repetitions before their members; they wait until all that is planned has run."""
    repeated = read_repetitions(table, groups)

    def named(disposal: Disposal) -> tuple[str, str | None, str]:
        return disposal.modality, disposal.model, disposal.part

    def join(over: Repetitions, members: Sequence[Disposal]) -> list[Disposal]:
        return _join(over, members, table)

    read = {(d.dataset, *named(d)) for found in by_dataset.values() for d in found}
    complete = dict(by_dataset)
    for over in repeated:
        for dataset in over.datasets:
            complete[dataset] = [
                _awaiting(table, d, [other for other in over.datasets if (other, *named(d)) not in read])
                for d in by_dataset[dataset]
            ]
    return together(complete, repeated, named, join)


def _awaiting(table: SweepTable, disposal: Disposal, others: Sequence[str]) -> Disposal:
    """A disposal in one repetition, without a gain where its cells are planned in others and have no result there.

    Args:
        table: the sweep.
        disposal: free disposal in one repetition.
        others: data sets of the same repetitions that have no such disposal.
    """
    names = [name.split("/", 1) for name in (*disposal.real, *disposal.control)]
    planned = [table.result(other, model, condition) for other in others for model, condition in names]
    awaited = dict.fromkeys(cell.dataset for cell in planned if cell is not None and cell.status in PENDING)
    silent = [Message("it waits for {datasets}", datasets=conjoined(list(awaited)))] if awaited else []
    silent += [failure_of(cell) for cell in planned if cell is not None and cell.status == "failed"]
    if not silent:
        return disposal
    judgement = verdict(None, table.delta, wordless=clauses(silent))
    return replace(disposal, tuned=None, judgement=judgement, inference=None, earlier=(), optimism=None)


def _join(over: Repetitions, members: Sequence[Disposal], table: SweepTable) -> list[Disposal]:
    """Free disposal over its repetitions, then each of them without a word of its own."""
    delta, said = table.delta, {d.dataset: (d.tuned, d.judgement) for d in members}
    sides, parts = {(d.real, d.control) for d in members}, {d.dataset: _first(d.pairs) for d in members}
    enlarged = over.later_looks(table, parts) if len(sides) == 1 else ()
    reopened = any(d.reopened for d in members)
    untold = any(d.untold for d in members) or (bool(enlarged) and any(d.reopened or d.enlarged for d in members))
    if len(sides) == 1:
        tuned, judgement = judge_together(over, said, delta, len(enlarged))
    else:
        silent = Message(
            "the conditions that have run are not the same {words}: run the same ones in all", words=over.words
        )
        tuned, judgement = None, verdict(None, delta, wordless=silent)
    joined = replace(
        members[0],
        dataset=over.name,
        tuned=tuned,
        real=members[0].real if len(sides) == 1 else (),
        control=members[0].control if len(sides) == 1 else (),
        missing=tuple(dict.fromkeys(control for d in members for control in d.missing)),
        judgement=judgement,
        failed=tuple(dict.fromkeys(control for d in members for control in d.failed)),
        without=tuple(dict.fromkeys(condition for d in members for condition in d.without)),
        earlier=()
        if untold
        else looks_together(over, [d.earlier for d in members], delta)
        or before_additions(over, said, parts, enlarged, table),
        over=over,
        inference=None if tuned is None or any(d.without for d in members) else inference_of(tuned, delta),
        optimism=None,
        enlarged=enlarged,
        reopened=reopened,
        untold=untold,
        passed_over=tuple(dict.fromkeys(cells for d in members for cells in d.passed_over)),
    )
    each = [
        replace(d, judgement=without_word(over, d.judgement), inference=None, earlier=(), untold=False, within=over)
        for d in members
    ]
    return [joined, *each]


def _first(pairs: Sequence[Part]) -> Part:
    """All cells of a free disposal, planned when it could first have a word: with the first control."""
    stage = min((pair.stage for pair in pairs if len(pair.cells) > 1), default=0)
    return Part(stage, frozenset(cell for pair in pairs for cell in pair.cells))


class _Sides(NamedTuple):
    """Real cells, each with its control, and what is on neither side; see :class:`Disposal`."""

    real: list[CellEffort]
    control: list[CellEffort]
    missing: list[tuple[str, str]]
    failed: list[FailedControl]
    passed_over: list[tuple[str, str]]


def _sides(table: SweepTable, groups: Sequence[Group], modality: str, part: str) -> _Sides:
    """The sides of a free disposal: a cell without the modality is its own control, one without a control on neither.

    Args:
        table: the sweep.
        groups: fairness of the models.
        modality: the modality.
        part: the slice whose items alone have the modality; empty for all items.
    """
    sides = _Sides([], [], [], [], [])
    for group in groups:
        alike = _alike(table, group, modality, part)
        by_states = {states: cells[0] for states, cells in alike.items()}
        for states, cell in _real(by_states).items():
            key = control_states(dict(states), modality)
            for one in {states, key or states} & alike.keys():
                first, *others = _names(alike[one])
                sides.passed_over.extend((name, first) for name in others)
            other = cell if key is None else by_states.get(key)
            if other is not None:
                sides.real.append(cell)
                sides.control.append(other)
            elif key is not None:
                overrides = " ".join(
                    [control_of(cell.cell.states, cell.modality, modality), *partial_overrides(modality, part)]
                )
                sides.missing.append((group.model, overrides))
                sides.failed.extend(_failures(table, group, key, overrides, modality, part))
    return sides


def _read(
    table: SweepTable, modality: str, model: str | None, groups: Sequence[Group], part: str = "", waiting: str = ""
) -> Iterator[Disposal]:
    """Free disposal of a modality in some models together; nothing where no cell can stand against the real ones.

    Args:
        table: the sweep.
        modality: the modality.
        model: the model; None over all models.
        groups: fairness of the models.
        part: the slice whose items alone have the modality; empty for all items.
        waiting: which planned conditions have no result. The best of all of them is not known before, and who could
            stop at the best of some would have several chances.
    """
    sides = _sides(table, groups, modality, part)
    real, control = sides.real, sides.control
    pairs = list(zip(real, control, strict=True))
    if uncontrolled := all(a is b for a, b in pairs):
        real = [cell for group in groups for cell in _real(_by_states(table, group, modality, part)).values()]
        control = [cell for cell in real if cell.cell.states.get(modality, "drop") == "drop"]
    if not control:
        return
    models = {cell.cell.model for cell in real}
    doubts = [
        Message("{name}: {reason}", name=g.model, reason=reason)
        for g in groups
        if g.model in models
        for reason in unfairness(g)
    ]

    def say(at: At, level: float) -> tuple[TunedGain | None, Judgement]:
        return judged_sides([at(cell) for cell in real], [at(cell) for cell in control], table.delta, level, doubts)

    cells = list({cell.cell.key: cell for cell in (*real, *control)}.values())
    stood = [] if uncontrolled else [Part.of(table, {a.cell.name, b.cell.name}) for a, b in pairs]
    enlarged = later_looks(table, stood, lambda before: any(len(pair.cells) > 1 for pair in before))
    tuned, judged = say(now, level_of(cells, len(enlarged)))
    if waiting:
        tuned, judged = None, verdict(None, table.delta, wordless=waiting)
    lacking = _not_run_without(real, modality)
    if lacking and judged.word not in (None, Verdict.UNTRUSTED):
        silent = Message(
            "not run, so that {modality} cannot be left out: {overrides}",
            modality=modality,
            overrides="; ".join(f"model={name} {overrides}" for name, overrides in lacking),
        )
        judged = verdict(None, table.delta, wordless=silent)
    named = (tuned.a.cells, tuned.b.cells) if tuned else (_names(real), _names(control))
    reopened = was_reopened(cells)
    untold = reopened and bool(enlarged)
    earlier = () if untold else earlier_looks(cells, say)
    for number, stage in enumerate(() if untold else enlarged, 1):
        some = [pair for pair, part in zip(pairs, stood, strict=True) if part.stage < stage]
        effort = effort_of(table, {cell.cell.name for pair in some for cell in pair})
        level = level_of(cells, number - 1)
        said = judged_sides([a for a, _ in some], [b for _, b in some], table.delta, level, doubts)
        counted = Message("of {n} of the {all} conditions", n=len(some), all=len(pairs))
        earlier += (EarlierLook(number, *effort, *said, counted),)
    yield Disposal(
        groups[0].dataset,
        modality,
        model,
        tuned,
        *named,
        tuple(sides.missing),
        judged,
        tuple(sides.failed),
        tuple(lacking),
        earlier,
        part=part,
        inference=None if tuned is None or lacking else inference_of(tuned, table.delta),
        optimism=optimism_of(tuned, cells),
        data=next(cell.data for cell in table.cells.values() if cell.dataset == groups[0].dataset and cell.data),
        target=groups[0].cells[0].cell.target,
        pairs=tuple(stood),
        enlarged=enlarged,
        reopened=reopened,
        untold=untold,
        passed_over=tuple(sorted(sides.passed_over)),
    )


def _not_run_without(real: Iterable[CellEffort], modality: str) -> list[tuple[str, str]]:
    """Model and overrides of each condition that a real one is without the modality, and that is not among them."""
    run = [(cell.cell.model, cell.cell.states) for cell in real]
    known = {(model, by_name(states)) for model, states in run}
    return [
        (model, without(states, modality))
        for model, states in run
        if states.get(modality) == "real" and (model, by_name({**states, modality: "drop"})) not in known
    ]


def _failures(
    table: SweepTable, group: Group, states: States, overrides: str, modality: str, part: str
) -> Iterator[FailedControl]:
    """The failed cell of a model with these states of its modalities, if there is one."""
    for cell in table.cells.values():
        if (cell.dataset, cell.model, cell.status) == (group.dataset, group.model, "failed"):
            record = records.read(paths.cell_file(cell.folder), Cell)
            if by_name(record.states) == states and part_of(record, modality) == part:
                rows = (row for row in ledger.read(table.folder) if row.cell_key == record.key)
                times = sum(row.status != "ok" for row in rows)
                yield FailedControl(group.model, overrides, max(times, 1), " ".join(cell.reason.split()))


def _names(cells: Iterable[CellEffort]) -> tuple[str, ...]:
    return tuple(f"{cell.cell.model}/{cell.modality}" for cell in cells)


def _modalities(table: SweepTable, group: Group) -> set[str]:
    """Modalities that some real condition of a model has."""
    return {name for states in _real(_by_states(table, group)) for name, state in states if state == "real"}


def _real(by_states: Mapping[States, CellEffort]) -> dict[States, CellEffort]:
    """Of the cells by the states of their modalities, those with real ones only."""
    return {states: cell for states, cell in by_states.items() if is_real(dict(states))}


def _by_states(table: SweepTable, group: Group, modality: str = "", part: str = "") -> dict[States, CellEffort]:
    """One cell for each combination of states; those whose items lost content, and external ones, are left out.

    Of the cells with ``modality`` those count whose items have it in the slice ``part`` alone, where one is named.
    """
    return {states: cells[0] for states, cells in _alike(table, group, modality, part).items()}


def _alike(
    table: SweepTable, group: Group, modality: str = "", part: str = ""
) -> Mapping[States, Sequence[CellEffort]]:
    """All cells of each combination of states that :func:`_by_states` takes one of: first what was planned first.

    Another seed draws another shuffle under another name. Who could put it in the place of one whose result was seen
    would choose between the two.
    """
    found: dict[States, list[CellEffort]] = {}
    for cell in group.cells:
        if may_stand(cell.cell, modality, part):
            found.setdefault(by_name(cell.cell.states), []).append(cell)
    return {states: sorted(cells, key=lambda cell: table.planned(cell.cell.name)) for states, cells in found.items()}
