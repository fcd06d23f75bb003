"""The planned contrasts of a sweep, each with its tuned gain, its tests and its verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np

from mmbench.inference import intervals, tuned_gain
from mmbench.inference.contrast import Contrast
from mmbench.inference.gains import Gain, NoWord, TunedGain
from mmbench.inference.intervals import CrossedInterval, LogGain, UserEffects
from mmbench.inference.looks import level_of_look
from mmbench.inference.verdicts import MIN_SEEDS, MIN_TRIALS, Judgement, Verdict, equivalence_level, verdict
from mmbench.messages import Message, Template, clauses, conjoined, message_of, series
from mmbench.report.additions import Part, effort_of
from mmbench.report.cell_effort import CellEffort, badly_trained
from mmbench.report.fairness_checks import FAIL, PASS, WARN, Group
from mmbench.report.table import CellResult, SweepTable, comparable, given_from, not_tuned_here
from mmbench.report.together import Repetitions, judge_together, read_repetitions, together, without_word
from mmbench.store.schema import CellName

#: Levels of fairness, the worst one last; without trainings there is none.
LEVELS = ("-", PASS, WARN, FAIL)
#: What a condition that has no result is waiting for.
PENDING = {
    "missing": Template("{condition} missing"),
    "stale": Template("{condition} stale"),
}


@dataclass(frozen=True)
class Inference:
    """What is inferred about a tuned gain that has bounds.

    Args:
        p: two-sided p of no gain.
        equivalence_p: p of TOST within the margin.
        noninferior_p: p of "A is not worse than B by the margin".
        dispensable_p: the same with A and B exchanged: B is not worse than A.
        margin: smallest margin at which the two are equivalent.
        mde: true gain that is seen in four of five such studies; None where both sides are the same runs whichever
            trials are drawn, so that nothing varies by which to tell.
        holm: p adjusted for all contrasts of this dataset and model.
        bh: p adjusted for all contrasts of the sweep (Benjamini-Hochberg).
    """

    p: float
    equivalence_p: float
    noninferior_p: float
    dispensable_p: float
    margin: float
    mde: float | None
    holm: float = 1.0
    bh: float = 1.0


@dataclass(frozen=True)
class EarlierLook:
    """What the records said before T or S was raised, a cell begun afresh, or something added that the word is about.

    Args:
        number: number of the look, from 1.
        trials: T of then.
        seeds: S of then.
        tuned: the tuned gain of then; None where it was not defined.
        judgement: the verdict of then.
        of: what it was about, where less than now: ``over 2 split seeds``; empty where that is the same.
    """

    number: int
    trials: int
    seeds: int
    tuned: Gain | None
    judgement: Judgement
    of: str = ""

    @property
    def was_opened_again(self) -> bool:
        """Whether its cells were opened once more since; otherwise others were added to them."""
        return not self.of


@dataclass(frozen=True)
class Comparison:
    """One planned contrast of one dataset and model.

    Args:
        a: result under the condition in question.
        b: result under the condition it is compared with.
        judgement: the verdict on the tuned gain; None where one of the two has not run, which ``pending`` says.
        fairness: level of the fairness report.
        tuned: gain of A over B once both are tuned, the quantity that is judged; None where it is not defined.
        configuration: gain of A's chosen configuration over B's, over users and seeds: these two configurations, not
            the method; None where there is no comparable pair.
        effects: shares of users whom the chosen configuration of A serves better and worse than that of B; None where
            there is no comparable pair, and of a harmonic mean, which is no mean over users.
        inference: tests of the tuned gain; None where it has no bounds.
        optimism: expected validation score of A and of B minus the expected test metric; None where the two are
            different metrics.
        earlier: what was said before T or S was raised, a cell begun afresh, or repetitions added.
        pending: what has not run.
        redundancy: share of what the modality in question adds to nothing that the others tell too; None where it is
            not told, see :func:`mmbench.report.contribution_facts.with_redundancy`.
        over: the repetitions that are judged together here, ``a`` and ``b`` being those of the first; then there is no
            gain of chosen configurations.
        within: the repetitions that this is one of; then they have the word and the tests.
        enlarged: revisions of the plan that added repetitions once a word had been possible, each a look.
        reopened: whether the test split of one of its cells was opened more than once.
        untold: whether both happened, so that what was said at earlier looks is not computed again.
    """

    a: CellResult
    b: CellResult
    judgement: Judgement | None
    fairness: str = "-"
    tuned: Gain | None = None
    configuration: CrossedInterval | None = None
    effects: UserEffects | None = None
    inference: Inference | None = None
    optimism: tuple[float, float] | None = None
    earlier: tuple[EarlierLook, ...] = ()
    pending: str = ""
    redundancy: float | None = None
    over: Repetitions | None = None
    within: Repetitions | None = None
    enlarged: tuple[int, ...] = ()
    reopened: bool = False
    untold: bool = False

    @property
    def dataset(self) -> str:
        """Its dataset, or what stands in place of several."""
        return self.a.dataset if self.over is None else self.over.name

    @property
    def data(self) -> str:
        """Name of its data set whatever its split; empty where nothing of it has begun."""
        return self.a.data or self.b.data

    @property
    def target(self) -> str:
        """What its tuning aimed at, where it has a result; see :func:`mmbench.data.held_out.target_of`."""
        return next((side.target for side in (self.a, self.b) if side.status == "done"), "")

    @property
    def model(self) -> str:
        """Its model."""
        return self.a.model

    @property
    def contrast(self) -> str:
        """Its name, for example ``fused_vs_text``."""
        return Contrast(self.a.modality, self.b.modality).name

    @property
    def name(self) -> str:
        """Its name with dataset and model, as ``--explain`` takes it."""
        return f"{self.dataset}/{self.model}/{self.contrast}"

    @property
    def sides(self) -> list[CellName]:
        """The cells that were run for it; of repetitions those of the first."""
        run = [cell for side in (self.a, self.b) for cell in side.parts or (side,)]
        return [CellName(cell.dataset, cell.model, cell.modality) for cell in run]

    @property
    def noise_known(self) -> bool:
        """Whether training noise was measured on both sides, or there is none; see :attr:`CellResult.noise_known`."""
        return self.a.noise_known and self.b.noise_known

    @property
    def word(self) -> str:
        """The verdict, or what has not run."""
        return self.pending if self.judgement is None else self.judgement.said


def read_contrasts(table: SweepTable, groups: Sequence[Group]) -> list[Comparison]:
    """Every planned contrast both of whose conditions are in the sweep, judged.

    Args:
        table: the sweep.
        groups: its fairness report: a FAIL blocks every verdict of that dataset and model.
    """
    by_model = {(group.dataset, group.model): group for group in groups}
    by_dataset: dict[str, list[Comparison]] = {dataset: [] for dataset in table.datasets}
    for dataset, compared in by_dataset.items():
        for model in table.models(dataset):
            for pair in table.contrasts:
                a, b = (table.result(dataset, model, condition) for condition in pair)
                if a is not None and b is not None and a is not b:
                    compared.append(compare(table, a, b, by_model.get((dataset, model))))
    repeated = read_repetitions(table, groups)

    def join(over: Repetitions, members: Sequence[Comparison]) -> list[Comparison]:
        return _join(over, members, table)

    return adjusted(together(by_dataset, repeated, lambda c: (c.model, c.contrast), join), repeated)


def _join(over: Repetitions, members: Sequence[Comparison], table: SweepTable) -> list[Comparison]:
    """A contrast over its repetitions, then each of them without a word of its own."""
    delta, parts = table.delta, {c.dataset: Part.of(table, c.sides) for c in members}
    fairness = max((c.fairness for c in members), key=LEVELS.index)
    said = {c.dataset: (c.tuned, c.judgement) for c in members if c.judgement is not None}
    if len(said) < len(members):
        pending = clauses(
            [Message("{name}: {reason}", name=c.dataset, reason=c.pending) for c in members if c.judgement is None]
        )
        joined = Comparison(members[0].a, members[0].b, None, fairness, pending=pending, over=over)
    else:
        enlarged = over.later_looks(table, parts)
        reopened = any(c.reopened for c in members)
        untold = reopened and bool(enlarged)
        tuned, judgement = judge_together(over, said, delta, len(enlarged))
        joined = Comparison(
            members[0].a,
            members[0].b,
            judgement,
            fairness,
            tuned,
            inference=None if tuned is None else inference_of(tuned, delta),
            earlier=()
            if untold
            else looks_together(over, [c.earlier for c in members], delta)
            or before_additions(over, said, parts, enlarged, table),
            over=over,
            enlarged=enlarged,
            reopened=reopened,
            untold=untold,
        )
    each = [
        replace(c, judgement=c.judgement and without_word(over, c.judgement), inference=None, earlier=(), within=over)
        for c in members
    ]
    return [joined, *each]


def looks_together(over: Repetitions, looks: Sequence[Sequence[EarlierLook]], delta: float) -> tuple[EarlierLook, ...]:
    """What was said over all repetitions at every earlier look that all had with one effort, of the same conditions.

    Args:
        over: the repetitions.
        looks: earlier looks of each, in the order of their data sets.
        delta: equivalence margin.
    """
    joined = []
    for number in sorted({look.number for own in looks for look in own}):
        at = [look for own in looks for look in own if look.number == number]
        if len(at) == len(looks) and len({(look.trials, look.seeds, look.of) for look in at}) == 1:
            said = {name: (look.tuned, look.judgement) for name, look in zip(over.datasets, at, strict=True)}
            judged = judge_together(over, said, delta)
            joined.append(EarlierLook(number, at[0].trials, at[0].seeds, *judged, at[0].of))
    return tuple(joined)


def before_additions(
    over: Repetitions,
    said: Mapping[str, tuple[Gain | None, Judgement]],
    parts: Mapping[str, Part],
    enlarged: Sequence[int],
    table: SweepTable,
) -> tuple[EarlierLook, ...]:
    """What was said of the repetitions that there were before each addition of others, computed again.

    Args:
        over: the repetitions.
        said: the gain and the verdict of each, by the name of its data set.
        parts: when each was planned.
        enlarged: revisions of the plan that added some, see :func:`mmbench.report.additions.later_looks`.
        table: the sweep.
    """
    looks = []
    for number, stage in enumerate(enlarged, 1):
        some = over.of([name for name, part in parts.items() if part.stage < stage])
        effort = effort_of(table, [cell for name in some.datasets for cell in parts[name].cells])
        known = {name: said[name] for name in some.datasets}
        if some.several:
            judged = judge_together(some, known, table.delta, number - 1)
            looks.append(EarlierLook(number, *effort, *judged, some.words))
        else:
            ((name, alone),) = known.items()
            looks.append(EarlierLook(number, *effort, *alone, Message("of {dataset} alone", dataset=name)))
    return tuple(looks)


def compare(table: SweepTable, a: CellResult, b: CellResult, group: Group | None) -> Comparison:
    """Judge one contrast, at the level of its look; p-values are adjusted later, when all are known."""
    fairness = group.level if group else "-"
    failed = [
        Message("{condition} failed: {reason}", condition=side.modality, reason=" ".join(side.reason.split()))
        for side in (a, b)
        if side.status == "failed"
    ]
    if failed:
        return Comparison(a, b, verdict(None, table.delta, failed=clauses(failed)), fairness)
    waiting = [Message(PENDING[side.status], condition=side.modality) for side in (a, b) if side.status != "done"]
    if waiting:
        return Comparison(a, b, None, fairness, pending=series(waiting))
    configuration = table.change(a.dataset, a.model, a.modality, b.modality, table.primary)
    effects = None
    if configuration and a.target != "harmonic":  # values whose mean is a harmonic mean are no user's own
        effects = intervals.user_effects(a.per_user(table.primary), b.per_user(table.primary))
    doubts = unfairness(group)
    efforts = {effort.modality: effort for effort in group.cells} if group else {}
    untuned = [side.modality for side in (a, b) if side.modality not in efforts]
    alike = comparable(a, b)
    if not alike:
        doubts.append(Message("the two differ in final seeds, test split or effort"))
    if untuned or not alike:
        silent = Message("nothing was tuned in {conditions}", conditions=conjoined(untuned)) if untuned else ""
        judged = verdict(None, table.delta, untrusted=_all(doubts), wordless=silent)
        return Comparison(a, b, judged, fairness, configuration=configuration, effects=effects)
    pair = [efforts[side.modality] for side in (a, b)]

    def say(at: At, level: float) -> tuple[TunedGain | None, Judgement]:
        return judged_sides([at(pair[0])], [at(pair[1])], table.delta, level, doubts)

    tuned, judged = say(now, level_of(pair))
    return Comparison(
        a,
        b,
        judged,
        fairness,
        tuned,
        configuration,
        effects,
        inference=None if tuned is None else inference_of(tuned, table.delta),
        optimism=optimism_of(tuned, pair),
        earlier=earlier_looks(pair, say),
        reopened=was_reopened(pair),
    )


#: From a condition to what it was at some look, and from that and a level to what is said then.
At = Callable[[CellEffort], CellEffort]
Say = Callable[[At, float], tuple[TunedGain | None, Judgement]]


def now(cell: CellEffort) -> CellEffort:
    """A condition at the present look."""
    return cell


def level_of(cells: Iterable[CellEffort], further: int = 0) -> float:
    """Level of words about some conditions, by how often the test split of one of them was opened.

    Args:
        cells: the conditions.
        further: looks at them together beyond those.
    """
    return level_of_look(max((cell.n_looks for cell in cells), default=1) + further)


def was_reopened(cells: Iterable[CellEffort]) -> bool:
    """Whether the test split was opened more than once for some condition."""
    return any(cell.n_looks > 1 for cell in cells)


def earlier_looks(cells: Sequence[CellEffort], say: Say) -> tuple[EarlierLook, ...]:
    """What was said about some conditions at every earlier look at which those of a model had had the same effort."""
    looks = []
    for number in range(1, max((len(cell.openings) for cell in cells), default=1)):
        past = {cell.cell.key: cell.past(number) for cell in cells}
        efforts = {(cell.cell.model, len(cell.trials), len(cell.finals)) for cell in past.values()}
        if len({model for model, _, _ in efforts}) == len(efforts):
            tuned, judged = say(lambda cell, past=past: past[cell.cell.key], level_of_look(number))  # type: ignore[misc]
            trials, seeds = max(t for _, t, _ in efforts), max(s for _, _, s in efforts)
            looks.append(EarlierLook(number, trials, seeds, tuned, judged))
    return tuple(looks)


def judged_sides(
    a: Sequence[CellEffort], b: Sequence[CellEffort], delta: float, level: float, doubts: Sequence[str]
) -> tuple[TunedGain | None, Judgement]:
    """The gain of the best of some cells over the best of some others, and its verdict.

    Args:
        a: cells of side A; of a contrast one.
        b: cells of side B.
        delta: equivalence margin.
        level: coverage of the bounds.
        doubts: why the measurement cannot be trusted, whatever its numbers.
    """
    cells = {cell.cell.key: cell for cell in (*a, *b)}.values()
    if any(cell.rungs or cell.cell.given is not None for cell in cells):
        return None, verdict(None, delta, untrusted=_all(doubts), wordless=wordless(cells))
    try:
        tuned = tuned_gain.free_disposal([cell.tuned_cell for cell in a], [cell.tuned_cell for cell in b], level=level)
    except ValueError as error:
        return None, verdict(None, delta, untrusted=_all([*doubts, message_of(error)]))
    if tuned.refusal is NoWord.MORE_SEARCH:  # there never is a word, whatever else speaks against one
        return tuned, verdict(tuned, delta)
    by_name = {cell.tuned_cell.name: cell for cell in cells}
    found = [*doubts]
    for side in (tuned.a, tuned.b):
        found += badly_trained(side, {name: by_name[name] for name in side.cells}, delta)
    return tuned, verdict(tuned, delta, untrusted=_all(list(dict.fromkeys(found))), wordless=wordless(cells))


def optimism_of(tuned: TunedGain | None, cells: Iterable[CellEffort]) -> tuple[float, float] | None:
    """Expected validation score of A and of B minus the expected test metric; None where the two are other metrics."""
    if tuned is None or any(cell.choice.metric != cell.metric for cell in cells):
        return None
    return tuned.a.optimism, tuned.b.optimism


def unfairness(group: Group | None) -> list[str]:
    """Why the measurement of a dataset and model cannot be trusted, whatever its numbers."""
    return [check.reason for check in group.checks if check.level == FAIL] if group else []


def wordless(cells: Iterable[CellEffort]) -> str:
    """Why nothing may be said in words about these conditions; nothing where it may."""
    reasons = []
    cells = list(cells)
    if origins := sorted({given_from(cell.cell) for cell in cells if cell.cell.given is not None}):
        return _all([not_tuned_here(*origin) for origin in origins])
    if any(cell.rungs for cell in cells):
        reasons.append(Message("trials were cut short at rungs, so what they would have come to is unknown"))
    fewest = min((len(cell.trials) for cell in cells if not cell.tuning.exhausted), default=MIN_TRIALS)
    if fewest < MIN_TRIALS:
        reasons.append(
            Message.counted(
                "{n} trial, and a word takes {least}: raise budget.trials",
                "{n} trials, and a word takes {least}: raise budget.trials",
                fewest,
                least=MIN_TRIALS,
            )
        )
    seeds = min((cell.seeds for cell in cells if cell.seeds is not None), default=MIN_SEEDS)
    if seeds < MIN_SEEDS:
        reasons.append(Message("training noise not measured, {n} final seed: raise budget.seeds", n=seeds))
    return _all(reasons)


def _all(reasons: Sequence[str]) -> str:
    """All reasons in one clause after the other; nothing where there are none."""
    return clauses(reasons) if reasons else ""


def inference_of(tuned: Gain, delta: float) -> Inference | None:
    """Tests of a tuned gain, not adjusted yet; None where it has no bounds.

    Args:
        tuned: the gain.
        delta: equivalence margin.
    """
    log = tuned.log_gain
    if log is None or np.isnan(log.p):
        return None
    tested = log.tost(delta)
    reverse = LogGain(-log.log_ratio, log.se, log.df).tost(delta)
    return Inference(
        p=log.p,
        equivalence_p=tested.equivalence_p,
        noninferior_p=tested.noninferiority_p,
        dispensable_p=reverse.noninferiority_p,
        margin=intervals.smallest_equivalence_margin(log, equivalence_level(tuned.level)),
        mde=log.mde(1.0 - tuned.level) if log.se > 0 else None,
    )


class _Planned(Protocol):
    """A row of a data set and model that may have a p."""

    @property
    def dataset(self) -> str: ...

    @property
    def model(self) -> str | None: ...

    @property
    def tuned(self) -> Gain | None: ...

    @property
    def judgement(self) -> Judgement | None: ...

    @property
    def over(self) -> Repetitions | None: ...

    @property
    def within(self) -> Repetitions | None: ...

    @property
    def inference(self) -> Inference | None: ...


Row = TypeVar("Row", bound=_Planned)


def is_counted(row: _Planned) -> bool:
    """Whether a row is one of those that p is adjusted for: all that are planned, repetitions together as one."""
    return row.within is None


def p_counted(row: _Planned) -> float:
    """The p that a row has among others: 1 where it failed, has no bounds or has not run yet."""
    return 1.0 if row.inference is None else row.inference.p


def family_of(row: _Planned, repeated: Sequence[Repetitions]) -> tuple[str, str | None]:
    """The family in which Holm's adjustment counts a row: its model, and its data set with all repetitions."""
    dataset = row.dataset if row.over is None else row.over.datasets[0]
    return next((over.name for over in repeated if dataset in over.datasets), dataset), row.model


def adjusted(rows: Sequence[Row], repeated: Sequence[Repetitions]) -> list[Row]:
    """Fill in the adjusted p: Holm within a dataset and model, Benjamini-Hochberg over all.

    Contrasts are one such table, free disposals another. Rows that are not trusted stay in their families, and one that
    failed, has no bounds or has not run yet counts with a p of 1, so that none ever makes the others look better:
    whoever stops a sweep early, or takes a result away, gains nothing. All repetitions of a data set are one family,
    also where a contrast has run in some of them alone.

    Args:
        rows: contrasts, or free disposals.
        repeated: the repetitions of the sweep.
    """
    counted = {i: p_counted(row) for i, row in enumerate(rows) if is_counted(row)}
    over_all = dict(zip(counted, intervals.benjamini_hochberg([*counted.values()]), strict=True))
    families: dict[tuple[str, str | None], list[int]] = {}
    for i in counted:
        families.setdefault(family_of(rows[i], repeated), []).append(i)
    found = list(rows)
    for family in families.values():
        for i, holm in zip(family, intervals.holm([counted[i] for i in family]), strict=True):
            if (inference := rows[i].inference) is not None:
                filled = replace(inference, holm=float(holm), bh=float(over_all[i]))
                found[i] = replace(rows[i], inference=filled)  # type: ignore[type-var]
    return found


def is_spoken_of(row: _Planned) -> bool:
    """Whether a row has a result that is trusted, and a word about it is allowed."""
    return row.judgement is not None and row.judgement.word not in (None, Verdict.FAILED, Verdict.UNTRUSTED)


def is_significant(row: _Planned, p: float) -> bool:
    """Whether a p lies below the level of the row's look, and the row may have that word.

    Nothing is better, worse or equal where other numbers of trials say something else.

    Args:
        row: a contrast or a free disposal.
        p: one of its p: of no gain, adjusted, or of TOST.
    """
    if row.tuned is None or row.tuned.depends_on_tuning:
        return False
    return is_spoken_of(row) and p < 1.0 - row.tuned.level


def significant(compared: Sequence[Comparison]) -> tuple[int, int]:
    """How many contrasts are significant over the table, and of how many that are planned."""
    found = sum(c.inference is not None and is_significant(c, c.inference.bh) for c in compared)
    return found, sum(map(is_counted, compared))
