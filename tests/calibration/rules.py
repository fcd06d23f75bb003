"""Regret of training rules on recorded curves: ``python -m tests.calibration.rules [FOLDER]`` prints the tables.

The regret of a rule in one training is 1 - t_rule / t_cap, where t is test NDCG@20 of the state with the best
validation score, up to the end that the rule sets or up to the cap that all curves share. A rule passes if, for every
data set and model, both the mean regret and the mean difference of regret between the conditions, paired by slot, are
below a quarter of the equivalence margin, or cannot be told from zero by an interval of half a margin on either side.
Of the rules that pass the cheapest is taken. FOLDER holds recorded curves that are not packed yet.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy import stats

from mmbench.report import charts
from mmbench.report.layout import Column, Table, markdown_table
from mmbench.store import files
from mmbench.store.schema import Course
from mmbench.training.stopping import LEAST_RANKINGS, StoppingRule
from tests.calibration.curves import CAP_EPOCHS, CAP_STEPS, gathered, packed, subjects
from tests.studies.sweeps import ROOT

DELTA = 0.02
#: Steps before which no training ends, by the rule that was chosen; the figure marks it.
LEAST_STEPS = 2500
FIGURE = ROOT / "docs" / "images" / "training-rule.svg"


@dataclass(frozen=True)
class Curve:
    """One recorded training.

    Args:
        validation: score after each epoch, ``(n_epochs,)``.
        test: test score of the best state so far after each epoch, ``(n_epochs,)``.
        steps_per_epoch: optimizer steps of an epoch.
        popularity: validation score of the popularity baseline.
    """

    validation: NDArray[np.float64]
    test: NDArray[np.float64]
    steps_per_epoch: int
    popularity: float

    def last_epoch(self, ends: Callable[[int, int], bool]) -> int:
        """Epoch after which a rule ends this training, given (epoch, best epoch), both from 1; at most the last one."""
        best = 1
        for epoch, score in enumerate(self.validation, 1):
            if score > self.validation[best - 1]:
                best = epoch
            if ends(epoch, best):
                return epoch
        return len(self.validation)


@dataclass(frozen=True)
class Rule:
    """A candidate: its name and the last epoch of a curve under it."""

    name: str
    last_epoch: Callable[[Curve], int]


def by_epochs(patience: int) -> Rule:
    """Patience counted in epochs from the last improvement."""
    return Rule(f"{patience} epochs", lambda curve: curve.last_epoch(lambda epoch, best: epoch - best >= patience))


def by_steps(patience: int, least: int = 0) -> Rule:
    """Patience counted in steps, the rule of :class:`mmbench.training.settings.StoppingRule`."""
    rule = StoppingRule(patience, least, CAP_STEPS, CAP_EPOCHS)

    def last(curve: Curve) -> int:
        return curve.last_epoch(lambda epoch, best: rule.is_out_of_patience(epoch, best, curve.steps_per_epoch))

    return Rule(f"{patience:,} steps" + (f", at least {least:,}" if least else ""), last)


def from_popularity(patience: int) -> Rule:
    """Patience counted in steps, only once the popularity baseline is passed."""

    def last(curve: Curve) -> int:
        def ends(epoch: int, best: int) -> bool:
            waited = epoch - best
            passed = curve.validation[best - 1] > curve.popularity
            return passed and waited >= LEAST_RANKINGS and waited * curve.steps_per_epoch >= patience

        return curve.last_epoch(ends)

    return Rule(f"{patience:,} steps, from popularity passed", last)


CAP = Rule("the cap", lambda curve: len(curve.validation))
RULES = [
    *(by_epochs(n) for n in (5, 10, 20)),
    *(by_steps(n, least) for n in (250, 500, 1000, 1500) for least in (0, 1000, 1500, 2000, 2500) if least != n),
    *(from_popularity(n) for n in (250, 500, 1000)),
    CAP,
]


def curve_of(row: pd.Series) -> Curve:
    """The curve of a recorded training; its test score is kept from one best state to the next."""
    validation = np.asarray(row["validation"], np.float64)
    test = np.full(len(validation), np.nan)
    test[np.asarray(row["test_epochs"], np.int64) - 1] = row["test"]
    known = np.maximum.accumulate(np.where(np.isnan(test), 0, np.arange(len(test))))
    return Curve(validation, test[known], int(row["steps_per_epoch"]), float(row["popularity"]))


def applied(frame: pd.DataFrame, rules: Sequence[Rule]) -> pd.DataFrame:
    """Regret on test and on validation, epochs and steps of every training under every rule, one row each."""
    rows = []
    for _, recorded in frame.iterrows():
        curve = curve_of(recorded)
        for rule in rules:
            last = rule.last_epoch(curve)
            rows.append(
                {
                    **{name: recorded[name] for name in ("dataset", "model", "condition", "slot")},
                    "rule": rule.name,
                    "test": 1 - curve.test[last - 1] / curve.test[-1],
                    "validation": 1 - curve.validation[:last].max() / curve.validation.max(),
                    "steps": last * curve.steps_per_epoch,
                    "share": last / len(curve.validation),
                }
            )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Estimate:
    """A mean with the half width of its 95 % interval by Student's t."""

    mean: float
    half: float

    @staticmethod
    def of(values: NDArray[np.float64]) -> Estimate:
        """Mean of ``(n,)`` values; the half width of a single one is infinite."""
        n = len(values)
        if n < 2:
            return Estimate(float(values.mean()), math.inf)
        return Estimate(float(values.mean()), float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n)))

    def passes(self, delta: float = DELTA, *, absolute: bool = False) -> bool:
        """Whether it is below a quarter of the margin, or not told from zero by a half width below half a margin."""
        size = abs(self.mean) if absolute else self.mean
        return size < delta / 4 or (abs(self.mean) <= self.half < delta / 2)

    def __str__(self) -> str:
        return f"{100 * self.mean:+.2f} ± {100 * self.half:.2f}"


def judged(results: pd.DataFrame, kind: str = "test") -> pd.DataFrame:
    """Mean regret and mean difference between conditions of every rule, data set and model, and whether both pass."""
    rows = []
    for (rule, dataset, model), group in results.groupby(["rule", "dataset", "model"], sort=False):
        regret = Estimate.of(group[kind].to_numpy())
        wide = group.pivot(index="slot", columns="condition", values=kind).dropna()
        differences = [Estimate.of((wide[a] - wide[b]).to_numpy()) for a, b in itertools.combinations(wide, 2)]
        passes = regret.passes() and all(difference.passes(absolute=True) for difference in differences)
        rows.append(
            {"rule": rule, "dataset": dataset, "model": model, "regret": regret}
            | {"difference": differences[0] if differences else None, "passes": passes}
        )
    return pd.DataFrame(rows)


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """One row for each rule: cost, worst regrets, and how many pairs of data set and model pass."""
    rows = []
    for rule, group in results.groupby("rule", sort=False):
        verdict = judged(group)
        worst = max(verdict["regret"], key=lambda estimate: estimate.mean)
        validation = judged(group, "validation")
        rows.append(
            {
                "rule": rule,
                "share of the cap's epochs": f"{100 * group['share'].mean():.0f} %",
                "steps": f"{group['steps'].mean():,.0f}",
                "mean regret": f"{100 * group['test'].mean():+.2f}",
                "worst mean": str(worst),
                "worst difference": str(_widest(verdict)),
                "worst mean on validation": str(max(validation["regret"], key=lambda estimate: estimate.mean)),
                "worst difference on validation": str(_widest(validation)),
                "passes": f"{verdict['passes'].sum()} of {len(verdict)}",
            }
        )
    return pd.DataFrame(rows)


def _widest(verdict: pd.DataFrame) -> Estimate:
    """The difference between conditions that is furthest from zero."""
    found = [difference for difference in verdict["difference"] if difference is not None]
    return max(found, key=lambda estimate: abs(estimate.mean))


def cheapest(results: pd.DataFrame) -> str:
    """Name of the rule that takes the fewest epochs among those that pass on every data set and model."""
    passes = judged(results).groupby("rule")["passes"].all()
    costs = results.groupby("rule")["share"].mean()
    return str(costs[passes[passes].index].idxmin())


def whole_pairs(frame: pd.DataFrame) -> pd.DataFrame:
    """The trainings of those pairs of data set and model of which every one is recorded."""
    wanted = pd.DataFrame(subjects()).groupby(["dataset", "model"]).size()
    recorded = frame.groupby(["dataset", "model"]).size()
    whole = [pair for pair, n in recorded.items() if n == wanted[pair]]
    return frame[pd.MultiIndex.from_frame(frame[["dataset", "model"]]).isin(whole)]


def ends(frame: pd.DataFrame) -> pd.DataFrame:
    """Where trainings to the cap were best, and how many still rose, by model on MovieLens and on planted worlds."""
    rows = []
    for (model, real), group in frame.groupby(["model", frame["dataset"] == "ml100k"]):
        curves = [curve_of(row).validation for _, row in group.iterrows()]
        best = [(int(np.argmax(curve)) + 1) / len(curve) for curve in curves]
        rises = [Course(history=list(curve)).late_rise or 0.0 for curve in curves]
        rows.append(
            {
                "data": "MovieLens 100K" if real else "planted worlds",
                "model": model,
                "trainings": len(curves),
                "best epoch, share of the cap": f"{np.median(best):.0%}, at most {max(best):.0%}",
                "cut off": f"{np.mean([rise > DELTA / 4 for rise in rises]):.0%}",
            }
        )
    return pd.DataFrame(rows)


def learning(frame: pd.DataFrame) -> charts.Drawing:
    """How far trainings have come after so many steps, on average: planted worlds, then MovieLens."""
    steps = np.arange(50, CAP_STEPS + 1, 50)
    real = frame["dataset"] == "ml100k"
    panels = {"planted worlds": frame[~real], "MovieLens 100K": frame[real]}
    models = sorted(set(frame["model"]))

    def paint(axes: Sequence[Axes]) -> None:
        for axis, (title, rows) in zip(axes, panels.items(), strict=True):
            for place, model in enumerate(models):
                come = [_come_to(curve_of(row), steps) for _, row in rows[rows["model"] == model].iterrows()]
                axis.plot(steps, 100 * np.mean(come, axis=0), color=charts.look_of(place)["color"], label=model)
            axis.axvline(LEAST_STEPS, color="#888888", linestyle=":", linewidth=1)
            axis.set(xlabel="optimizer steps", ylabel="best validation, % of the cap's", ylim=(0, 102))
            axis.set_title(title, fontsize=9, loc="left")
        axes[0].legend(frameon=False, fontsize=7, loc="lower center")

    return charts.Drawing(paint, panels=len(panels), height=2.7)


def _come_to(curve: Curve, steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of the best validation score that a training has reached after so many steps, 0 before its first epoch."""
    best = np.concatenate([[0.0], np.maximum.accumulate(curve.validation)])
    return best[np.minimum(steps // curve.steps_per_epoch, len(curve.validation))] / best[-1]


def printed(frame: pd.DataFrame) -> str:
    """A table in Markdown."""
    columns = [Column(None, name, lambda row, name=name: row[name], str) for name in frame]
    return markdown_table(Table("", columns, frame.to_dict("records")))


def main() -> None:
    """Print the summary, then what each rule does where it does not pass, and draw the curves."""
    frame = gathered(Path(sys.argv[1])) if len(sys.argv) > 1 else packed()
    planned = pd.DataFrame(subjects())
    whole = whole_pairs(frame)
    results = applied(whole, RULES)
    pairs = [len(rows.groupby(["dataset", "model"])) for rows in (whole, planned)]
    print(f"{pairs[0]} of {pairs[1]} pairs of data set and model are recorded, {len(frame)} of {len(planned)}")
    print(f"trainings in {frame['seconds'].sum():,.0f} processor seconds. Regret in per cent, ± half width of the")
    print("95 % interval.\n")
    print(printed(summary(results)))
    print(f"\nThe cheapest rule that passes everywhere: {cheapest(results)}\n")
    print(printed(ends(frame)))
    failing = judged(results)
    failing = failing[~failing["passes"]].drop(columns="passes")
    print("\nWhat does not pass\n\n" + printed(failing))
    files.write_text(FIGURE, learning(whole).svg)


if __name__ == "__main__":
    main()
