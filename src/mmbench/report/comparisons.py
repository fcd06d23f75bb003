"""The planned contrasts of a sweep, each with its gain, its tests and its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmbench.inference import intervals, power, tuning_luck
from mmbench.inference.contrast import Contrast
from mmbench.inference.intervals import CrossedInterval, Interval, UserEffects
from mmbench.inference.verdicts import MIN_SEEDS, Judgement, verdict
from mmbench.report.cell_effort import paired_trials
from mmbench.report.fairness_checks import ENOUGH_TRIALS, FAIL, Group
from mmbench.report.table import PRIMARY, CellResult, SweepTable, comparable

#: Adjusted p below which a contrast counts as significant, within a cell and over the table.
ALPHA = 0.05


@dataclass(frozen=True)
class Inference:
    """What is inferred about a gain; with one seed nothing is.

    Args:
        equivalence_p: p of TOST within the margin.
        noninferior_p: p of "A is not worse than B by the margin".
        dispensable_p: the same with A and B exchanged: B is not worse than A.
        margin: smallest margin at which the two are equivalent.
        mde: gain that these users and seeds detect with 80 % power.
        components: variance of users, seeds and their interaction, relative to B's mean squared.
        holm: p adjusted for all contrasts of this dataset and model.
        bh: p adjusted for all contrasts of the sweep (Benjamini-Hochberg).
    """

    equivalence_p: float
    noninferior_p: float
    dispensable_p: float
    margin: float
    mde: float
    components: dict[str, float]
    holm: float = 1.0
    bh: float = 1.0


@dataclass(frozen=True)
class Comparison:
    """One planned contrast of one dataset and model.

    Args:
        a: result under the condition in question.
        b: result under the condition it is compared with.
        judgement: the verdict; None where one of the two has not run, which ``pending`` says.
        fairness: level of the fairness report.
        gain: relative gain of A over B; None where there is no comparable pair.
        effects: shares of users improved and harmed; None without a gain.
        tuned: the gain after tuning with other draws of the trials; None where too few trials can tell it.
        inference: tests; None without a gain or with one seed.
        pending: what has not run.
        redundancy: share of what the modality in question adds to nothing that the others tell too; None where it is
            not told, see :func:`mmbench.report.contribution_facts.with_redundancy`.
    """

    a: CellResult
    b: CellResult
    judgement: Judgement | None
    fairness: str = "-"
    gain: CrossedInterval | None = None
    effects: UserEffects | None = None
    tuned: Interval | None = None
    inference: Inference | None = None
    pending: str = ""
    redundancy: float | None = None

    @property
    def dataset(self) -> str:
        """Its dataset."""
        return self.a.dataset

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
    def word(self) -> str:
        """The verdict, or what has not run."""
        return self.pending if self.judgement is None else str(self.judgement.word)


def read_contrasts(table: SweepTable, groups: Sequence[Group]) -> list[Comparison]:
    """Every planned contrast both of whose conditions are in the sweep, judged.

    Args:
        table: the sweep.
        groups: its fairness report: a FAIL blocks every verdict of that dataset and model.
    """
    by_model = {(group.dataset, group.model): group for group in groups}
    compared = []
    for dataset in table.datasets:
        for model in table.models(dataset):
            for pair in table.contrasts:
                a, b = (table.result(dataset, model, condition) for condition in pair)
                if a is not None and b is not None and a is not b:
                    compared.append(compare(table, a, b, by_model.get((dataset, model))))
    return _adjusted(compared)


def compare(table: SweepTable, a: CellResult, b: CellResult, group: Group | None) -> Comparison:
    """Judge one contrast; p-values are adjusted later, when all are known."""
    fairness = group.level if group else "-"
    failed = [f"{side.modality} failed: {side.reason}" for side in (a, b) if side.status == "failed"]
    if failed:
        return Comparison(a, b, verdict(None, table.delta, failed="; ".join(failed)), fairness)
    waiting = [f"{side.modality} {side.status}" for side in (a, b) if side.status != "done"]
    if waiting:
        return Comparison(a, b, None, fairness, pending=", ".join(waiting))
    gain = table.change(a.dataset, a.model, a.modality, b.modality, PRIMARY)
    untrusted = _distrust(a, b, group)
    if gain is None:
        return Comparison(a, b, verdict(None, table.delta, untrusted=untrusted), fairness)
    tuned = _tuned(group, a, b)
    judged = verdict(gain, table.delta, tuned=tuned, untrusted=untrusted)
    effects = intervals.user_effects(a.per_user(PRIMARY), b.per_user(PRIMARY))
    return Comparison(a, b, judged, fairness, gain, effects, tuned, _inference(table, a, b, gain))


def _distrust(a: CellResult, b: CellResult, group: Group | None) -> str:
    """Why the measurement cannot be trusted, or nothing."""
    reasons = [check.reason for check in group.checks if check.level == FAIL] if group else []
    if not comparable(a, b):
        reasons.append("the two differ in final seeds, test split or effort")
    if b.mean(PRIMARY) == 0.0:
        reasons.append(f"{b.modality} finds nothing, so no gain can be relative to it")
    return "; ".join(reasons)


def _tuned(group: Group | None, a: CellResult, b: CellResult) -> Interval | None:
    trials = paired_trials(group.cells, a.modality, b.modality) if group else None
    if trials is None or min(len(side.validation) for side in trials) < ENOUGH_TRIALS:
        return None
    if len(trials[0].validation) != len(trials[1].validation):
        return None
    return tuning_luck.tuned_gain(*trials, default_first=True)


def _inference(table: SweepTable, a: CellResult, b: CellResult, gain: CrossedInterval) -> Inference | None:
    if gain.seeds < MIN_SEEDS:
        return None
    top, base = a.per_user(PRIMARY), b.per_user(PRIMARY)
    tested = intervals.tost(gain, table.delta)
    reverse = intervals.tost(intervals.relative_gain(base, top), table.delta) if top.any() else None
    squares = intervals.mean_squares(intervals.scaled_differences(top, base)[0])
    components = squares.components()
    mde = power.mde_relative(**components, n=squares.n, seeds=squares.s)
    margin = intervals.smallest_equivalence_margin(gain)
    dispensable = 0.0 if reverse is None else reverse.noninferiority_p  # over nothing at all, anything is no loss
    return Inference(tested.equivalence_p, tested.noninferiority_p, dispensable, margin, mde, components)


def _adjusted(compared: Sequence[Comparison]) -> list[Comparison]:
    """Fill in the adjusted p: Holm within a dataset and model, Benjamini-Hochberg over all.

    Untrusted contrasts stay in their families, so that distrust never makes the others look better.
    """
    tested = [i for i, c in enumerate(compared) if c.inference is not None]
    p = {i: c.gain.p for i, c in enumerate(compared) if i in set(tested) and c.gain is not None}
    over_all = dict(zip(tested, intervals.benjamini_hochberg([p[i] for i in tested]), strict=True))
    adjusted = list(compared)
    for family in {(compared[i].dataset, compared[i].model) for i in tested}:
        members = [i for i in tested if (compared[i].dataset, compared[i].model) == family]
        for i, holm in zip(members, intervals.holm([p[i] for i in members]), strict=True):
            inference = compared[i].inference
            assert inference is not None
            filled = replace(inference, holm=float(holm), bh=float(over_all[i]))
            adjusted[i] = replace(compared[i], inference=filled)
    return adjusted


def significant(compared: Sequence[Comparison]) -> tuple[int, int]:
    """How many contrasts are significant over the table, and how many were tested."""
    tested = [c.inference.bh for c in compared if c.inference is not None]
    return int(np.sum(np.array(tested) < ALPHA)) if tested else 0, len(tested)
