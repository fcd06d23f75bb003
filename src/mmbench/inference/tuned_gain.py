r"""Tuned gain: how much better one side is than another once both are tuned with n trials; see ``docs/protocol.md``.

The metric of a side after tuning is the expected test metric of the trial that is best on validation among n trials,
estimated by all subsets of the T trials that were run (Bajgar et al. 2018; Dodge et al. 2019; Tang et al. 2020). Its
error has three sources: the trials that happened to be drawn (delete-one jackknife of this U-statistic, Arvesen 1969;
Efron & Stein 1981), the users, and the seed of the default configuration, which is in every subset. Student's t with
Satterthwaite's degrees of freedom (1946) joins them. Nothing is drawn at random.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mmbench.inference import best_of_n
from mmbench.inference.best_of_n import SeedNoise, Side, TunedCell, Tuning, log_of_positive
from mmbench.inference.gains import (
    BOUNDED,
    Estimate,
    Estimated,
    NoWord,
    SeedTerm,
    SideCurves,
    TopTrial,
    TrialTerm,
    TunedGain,
    TunedSide,
    early_trials,
    rounding_of,
)
from mmbench.inference.intervals import Matrix, Vector
from mmbench.inference.tuning_curves import Band, banded

#: Below these numbers of trials and of successful trials of a condition, and below as many users as any gain takes, a
#: tuned gain has no bounds.
MIN_TRIALS_TO_BOUND, MIN_SUCCESSES_TO_BOUND = 3, 3


class Alone(NamedTuple):
    """One tuning by itself.

    Attributes:
        weights: chance of each trial to be chosen among as many as a verdict speaks of, ``(n_trials,)``.
        curves: its curves over the number of trials.
    """

    weights: Vector
    curves: SideCurves


def alone(tuning: Tuning, *, level: float = 0.95) -> Alone:
    """The weights and curves that a tuning has on either side of a tuned gain.

    Args:
        tuning: its trials.
        level: coverage of the bands.
    """
    cells = [TunedCell("a", "a", 0, tuning, "a")]
    pair = _Pair(cells, cells, None, paired=True)
    curves = _curves(_Outcome(pair.a, pair.numbers, test=True), pair, pair.numbers, level)
    return Alone(_described(pair.a, pair.n).weights[0], curves)


def tuned_gain(
    a: Tuning, b: Tuning, n: int | None = None, *, level: float = 0.95, between_models: bool = False
) -> TunedGain:
    r"""Relative gain of condition A over condition B, both tuned with ``n`` trials.

    :math:`\rho = e^L - 1`, :math:`L = \log(\Pi_A / \Pi_B)`, :math:`\Pi = \sum_j w_j t_j`: the expected test metric of
    the best on validation among n trials. Bounds are :math:`\exp(L \pm t_{df} \sqrt V) - 1`.

    Args:
        a: trials of A.
        b: trials of B; the same users and, within one model, the same configurations.
        n: number of trials; None is a third of those that were run, rounded up, at least two.
        level: coverage.
        between_models: the two belong to different models, whose trials were drawn independently.

    Raises:
        ValueError: if users or configurations differ, or there are fewer than ``n`` trials.

    >>> users, slots = np.arange(2), ["default", "x", "y"]
    >>> a = Tuning(np.array([0.1, 0.3, 0.2]), np.array([[0.1, 0.1], [0.3, 0.5], [0.2, 0.2]]), users, slots, None)
    >>> b = Tuning(np.array([0.2, 0.1, 0.1]), np.full((3, 2), 0.2), users, slots, None)
    >>> found = tuned_gain(a, b)
    >>> tuple(found.a.weights[0].tolist()), tuple(found.b.weights[0].tolist())
    ((0.0, 0.5, 0.5), (1.0, 0.0, 0.0))
    >>> round(found.gain, 6), str(found.refusal)
    (0.5, 'fewer than 30 test users')
    """
    models = ("a", "b") if between_models else ("a", "a")
    real, control = (TunedCell(m, c, 0, t, c) for m, c, t in zip(models, ("a", "b"), (a, b), strict=True))
    return _tuned_gain([real], [control], n, level, paired=not between_models)


def free_disposal(
    real: Sequence[TunedCell], control: Sequence[TunedCell], n: int | None = None, *, level: float = 0.95
) -> TunedGain:
    """Gain of the best of some cells over the best of their controls, the best being picked on validation.

    Every cell is tuned with the same ``n`` slots within a model, drawn independently between models. What does not help
    can be disposed of, because the smaller conditions are among the cells of both sides.

    Args:
        real: cells of one or several models; cells that share their runs count once.
        control: the same number of cells for each model. Otherwise one side is searched more: the ratio is given, with
            neither bounds nor a word.
        n: number of trials per cell; None is a third of those that were run, rounded up, at least two.
        level: coverage.

    Raises:
        ValueError: if users differ, configurations differ within a model, cells with one key of runs have different
            trials, a side has no cell, or there are fewer than ``n`` trials.
    """
    return _tuned_gain(real, control, n, level, paired=True)


def estimate(
    real: Sequence[TunedCell],
    control: Sequence[TunedCell],
    n: int | None = None,
    *,
    level: float = 0.95,
    between_models: bool = False,
) -> Estimated:
    """What :func:`free_disposal` says in words, without curves, in about a millisecond.

    With one cell on each side this is :func:`tuned_gain`.

    Args:
        real: cells of one or several models.
        control: the same number of cells for each model.
        n: number of trials per cell; None is a third of those that were run, rounded up, at least two.
        level: coverage.
        between_models: the sides belong to different models, whose trials were drawn independently.

    Raises:
        ValueError: as :func:`free_disposal`.
    """
    pair = _Pair(real, control, n, paired=not between_models)
    numbers = sorted({pair.n, pair.early})
    return pair.estimated(pair.estimates(pair.outcomes(numbers), numbers), level)


class _Outcome:
    """A side after each of several numbers of trials: the logarithm of its metric, and what its errors are made of.

    Without ``test`` the metric is the validation score, of which only the draw of the trials is an error.
    """

    def __init__(self, side: Side, numbers: Sequence[int], *, test: bool) -> None:
        self.side = side
        chances = side.chances(numbers)
        self.expected = chances @ (side.test if test else side.validation)
        self.log = log_of_positive(self.expected)
        self.slot_weights = {model: side.slot_weights(model, chances) for model in side.random}
        self.log_without = {model: side.log_without(model, numbers, test=test) for model in side.random}
        self.relative_by_user, self.default_effect = None, np.zeros(len(numbers))
        if test:
            positive = np.where(self.expected > 0, self.expected, np.nan)
            self.relative_by_user = side.by_user(side.weights(chances)) / positive[:, None]
            # A default that is never chosen has no effect, and may have failed.
            self.default_effect = chances[:, 0] * side.test[0] / positive


def _estimates(
    outcomes: Sequence[tuple[int, _Outcome]], numbers: Sequence[int], census: Collection[str]
) -> list[Estimate]:
    """A sum of signed logarithms with its errors, one estimate for each number of trials.

    ``census`` names models of which every configuration that exists was run.
    """
    logs = np.asarray(sum(sign * outcome.log for sign, outcome in outcomes))
    n_users = len(outcomes[0][1].side.default.tuning.users)
    by_users = np.zeros(len(numbers))
    parts = [sign * o.relative_by_user for sign, o in outcomes if o.relative_by_user is not None]
    if parts:
        by_user = np.asarray(sum(parts))
        by_user -= by_user.mean(axis=1, keepdims=True)
        by_users = (by_user**2).sum(axis=1) / max(n_users * (n_users - 1), 1)
    models = {model: len(random.level) for _, outcome in outcomes for model, random in outcome.side.random.items()}
    without = {model: _without(outcomes, model) for model in models}
    found = []
    for at, n in enumerate(numbers):
        terms, changes = [], [0.0]
        for model, m in models.items():
            if m == 0 or (model in census and n > m):
                continue  # nothing was drawn
            replicates = without[model][at]
            variance = (m - 1) / m * float(((replicates - replicates.mean()) ** 2).sum())
            weights = np.stack([o.slot_weights[model][at] for _, o in outcomes if model in o.slot_weights])
            squares = float((weights**2).sum())
            k = float((weights.sum(axis=1) ** 2).sum()) / squares if squares > 0 else math.nan
            terms.append(TrialTerm(model, variance, k))
            changes.append(float(np.abs(replicates - logs[at]).max()))
        largest = math.nan if np.isnan(changes).any() else max(changes)
        seeds = _seed_terms(outcomes, at)
        found.append(Estimate(float(logs[at]), tuple(terms), float(by_users[at]), n_users, seeds, largest))
    return found


def _without(outcomes: Sequence[tuple[int, _Outcome]], model: str) -> Matrix:
    """The sum with each random slot of a model deleted on all sides, ``(len(numbers), m)``."""
    parts = [sign * outcome.log_without.get(model, outcome.log[:, None]) for sign, outcome in outcomes]
    return np.asarray(sum(parts))


def _seed_terms(outcomes: Sequence[tuple[int, _Outcome]], at: int) -> tuple[SeedTerm, ...]:
    """One term for each default run that is ever chosen; a run on both sides moves both."""
    moved: dict[str, tuple[float, SeedNoise]] = {}
    for sign, outcome in outcomes:
        effect, cell = float(outcome.default_effect[at]), outcome.side.default
        if effect != 0.0:
            before = moved[cell.runs][0] if cell.runs in moved else 0.0
            moved[cell.runs] = before + sign * effect, cell.tuning.seed_noise or SeedNoise(math.nan, math.nan)
    return tuple(SeedTerm((effect * noise.relative_sd) ** 2, noise.df) for effect, noise in moved.values())


class _Pair:
    """Two sides whose ratio is asked for, once it is sure that they belong together."""

    def __init__(self, real: Sequence[TunedCell], control: Sequence[TunedCell], n: int | None, *, paired: bool) -> None:
        if not real or not control:
            raise ValueError("a side without cells cannot be compared")
        slots, trials = _slots([*real, *control])
        cells = _distinct(real), _distinct(control)
        if n is None:
            n = min(max(math.ceil(trials / 3), 2), trials)
        if not 1 <= n <= trials:
            raise ValueError(f"n={n} must lie between 1 and the {trials} trials; nothing is extrapolated")
        self.n, self.trials, self.early = n, trials, early_trials(trials)
        self.census = {
            model for model in slots if all(c.tuning.exhausted for side in cells for c in side if c.model == model)
        }
        self.a, self.b = (Side(side, slots) for side in cells)
        searched = [Counter(cell.model for cell in side) for side in cells]
        more_search = NoWord.MORE_SEARCH if paired and searched[0] != searched[1] else None
        self.refusal = more_search or _refusal([*cells[0], *cells[1]], slots, trials)

    @property
    def numbers(self) -> list[int]:
        """Numbers of trials for which errors are known: those of the verdict, and those that bound a band."""
        return sorted({self.n, self.early, *banded(self.trials)})

    def outcomes(self, numbers: Sequence[int]) -> tuple[_Outcome, _Outcome]:
        """Both sides after each of several numbers of trials."""
        return _Outcome(self.a, numbers, test=True), _Outcome(self.b, numbers, test=True)

    def estimates(self, outcomes: tuple[_Outcome, _Outcome], numbers: Sequence[int]) -> dict[int, Estimate]:
        """L with its errors for each of several numbers of trials."""
        a, b = outcomes
        return dict(zip(numbers, _estimates([(1, a), (-1, b)], numbers, self.census), strict=True))

    def estimated(self, estimates: Mapping[int, Estimate], level: float) -> Estimated:
        """What words rest on, from the estimates for ``n`` and ``early`` trials."""
        after_n = estimates[self.n]
        if self.trials < MIN_TRIALS_TO_BOUND:
            after_n = replace(after_n, log_ratio=math.nan)
        of_all = [log_of_positive(side.chances([self.trials]) @ side.test) for side in (self.a, self.b)]
        slots = sum(sum(side.trials[cell.model] for cell in side.cells) for side in (self.a, self.b))
        return Estimated(
            n=self.n,
            trials=self.trials,
            level=level,
            estimate=after_n,
            early=estimates[self.early],
            log_of_all=float(of_all[0][0] - of_all[1][0]),
            rounding=rounding_of(slots, max(abs(float(log[0])) for log in of_all)),
            refusal=self.refusal or after_n.no_word(level),
        )


def _tuned_gain(
    real: Sequence[TunedCell], control: Sequence[TunedCell], n: int | None, level: float, *, paired: bool
) -> TunedGain:
    pair = _Pair(real, control, n, paired=paired)
    n, trials, numbers = pair.n, pair.trials, pair.numbers
    outcomes = pair.outcomes(numbers)
    signed = [(1, outcomes[0]), (-1, outcomes[1])]
    estimates = pair.estimates(outcomes, numbers)
    said = pair.estimated(estimates, level)
    curves = [_curves(outcome, pair, numbers, level) for outcome in outcomes]
    ratio = np.exp(log_of_positive(curves[0].test.mean) - log_of_positive(curves[1].test.mean))
    curve = _curve(ratio, estimates if pair.refusal is None else {}, level)
    return TunedGain(
        n=n,
        trials=trials,
        level=level,
        a=_described(pair.a, n),
        b=_described(pair.b, n),
        estimate=said.estimate,
        early=said.early,
        rounding=said.rounding,
        log_gain=said.log_gain,
        refusal=said.refusal,
        top_trial=_top_trial(signed, numbers.index(n)),
        a_beats_b=best_of_n.a_beats_b(pair.a, pair.b, n),
        curve=Band(curve.mean - 1.0, curve.lo - 1.0, curve.hi - 1.0),
        a_curves=curves[0],
        b_curves=curves[1],
        depends_on_tuning=said.depends_on_tuning,
    )


def _distinct(cells: Sequence[TunedCell]) -> list[TunedCell]:
    """Cells in the order that decides between equal scores, those with the same runs once."""
    distinct: dict[str, TunedCell] = {}
    for cell in sorted(cells, key=lambda cell: (cell.n_modalities, cell.condition, cell.model)):
        distinct.setdefault(cell.runs, cell)
    return list(distinct.values())


def _slots(cells: Sequence[TunedCell]) -> tuple[dict[str, int], int]:
    """Slots of each model that all its cells have, and the number of trials that are compared.

    Raises:
        ValueError: if the cells do not belong together.
    """
    tunings = [cell.tuning for cell in cells]
    limits = [len(tuning.scores) for tuning in tunings if not tuning.exhausted]
    trials = min(limits) if limits else max(len(tuning.scores) for tuning in tunings)
    slots: dict[str, int] = {}
    for cell in cells:
        slots[cell.model] = min(slots.get(cell.model, trials), len(cell.tuning.scores))
    first: dict[str, TunedCell] = {}
    by_runs: dict[str, TunedCell] = {}
    for cell in cells:
        if not np.array_equal(cell.tuning.users, tunings[0].users):
            raise ValueError(f"{cell.name} was not tested with the users of {cells[0].name}")
        model, used = first.setdefault(cell.model, cell), slots[cell.model]
        if list(cell.tuning.configurations[:used]) != list(model.tuning.configurations[:used]):
            raise ValueError(f"{cell.name} and {model.name} were not tried in the same configurations")
        twin = by_runs.setdefault(cell.runs, cell)
        if cell.model != twin.model or not np.array_equal(cell.tuning.means, twin.tuning.means, equal_nan=True):
            raise ValueError(f"{cell.name} and {twin.name} cannot both be the runs {cell.runs}")
    return slots, trials


def _refusal(cells: Sequence[TunedCell], slots: Mapping[str, int], trials: int) -> NoWord | None:
    """What speaks against bounds before anything is computed."""
    if trials < MIN_TRIALS_TO_BOUND:
        return NoWord.FEW_TRIALS
    for cell in cells:
        used = slots[cell.model]
        # All there is, where the space holds fewer configurations than that.
        needed = min(MIN_SUCCESSES_TO_BOUND, used) if cell.tuning.exhausted else MIN_SUCCESSES_TO_BOUND
        if np.isfinite(cell.tuning.scores[:used]).sum() < needed:
            return NoWord.FEW_SUCCESSES
    return None


def _described(side: Side, n: int) -> TunedSide:
    chances = side.chances([n])
    weights = tuple(own[0] for own in side.weights(chances))
    names = tuple(cell.name for cell in side.cells)
    return TunedSide(names, weights, float(chances[0] @ side.test), float(chances[0] @ side.validation))


def _top_trial(pair: Sequence[tuple[int, _Outcome]], at: int) -> TopTrial | None:
    top: TopTrial | None = None
    for model in {model: None for _, outcome in pair for model in outcome.slot_weights}:
        nothing = np.zeros(max(o.slot_weights[model].shape[1] for _, o in pair if model in o.slot_weights))
        a, b = (o.slot_weights[model][at] if model in o.slot_weights else nothing for _, o in pair)
        if not len(a):
            continue
        slot = int(np.argmax(a + b))
        weight_a, weight_b = float(a[slot]), float(b[slot])
        if weight_a + weight_b > (0.0 if top is None else top.weight_a + top.weight_b):
            without = math.expm1(float(_without(pair, model)[at, slot]))
            top = TopTrial(model, slot + 1, weight_a, weight_b, without)
    return top


def _curves(outcome: _Outcome, pair: _Pair, numbers: Sequence[int], level: float) -> SideCurves:
    side = outcome.side
    chances = side.chances(range(1, pair.trials + 1))
    refused = _refusal(side.cells, side.trials, pair.trials) is not None
    curves = []
    for own, mean in ((_Outcome(side, numbers, test=False), chances @ side.validation), (outcome, chances @ side.test)):
        estimates = {} if refused else dict(zip(numbers, _estimates([(1, own)], numbers, pair.census), strict=True))
        curves.append(_curve(mean, estimates, level))
    return SideCurves(*curves)


def _curve(mean: Vector, estimates: Mapping[int, Estimate], level: float) -> Band:
    """A curve over 1 to T trials with bounds of exp(L) up to half of the trials, NaN where there are none.

    Args:
        mean: the curve.
        estimates: L by the number of trials; none where bounds are refused.
        level: coverage of the bounds.
    """
    lo, hi = np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    for n, estimate in estimates.items():
        if n <= len(mean) / 2 and estimate.no_word(level) in BOUNDED:
            interval = estimate.log_gain.at(level)
            lo[n - 1], hi[n - 1] = 1.0 + interval.lo, 1.0 + interval.hi
    return Band(mean, lo, hi)
