"""How hard the cells of a sweep were tuned, as their records say: what every page states of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mmbench.inference.verdicts import MIN_SEEDS
from mmbench.messages import Message, Template, clauses, series
from mmbench.report.table import SweepTable, Tuned


@dataclass(frozen=True)
class Spent:
    """The effort of the cells with a result; of all cells with records, where none has one.

    Args:
        budgets: names of the budgets.
        trials: every T, ascending; cells whose trials are all configurations that there are count where no other does.
        seeds: every S, ascending.
        steps: most optimizer steps of a training that any of them allows.
        searched: whether there is a cell whose space holds more configurations than were tried.
        unlike: T, S and steps of each model by ``dataset/model``, where they or the training rule are not the same for
            all; empty where they are.
        unmeasured: ``dataset/model`` of those that training noise was not measured of: too few final seeds of a result
            that depends on them, see :attr:`mmbench.report.table.CellResult.exact`.
        measured: whether there is a cell of which it was measured, or that has none.
    """

    budgets: Sequence[str]
    trials: Sequence[int]
    seeds: Sequence[int]
    steps: int
    searched: bool
    unlike: Mapping[str, Sequence[Tuned]] = field(default_factory=dict)
    unmeasured: Sequence[str] = ()
    measured: bool = True

    @property
    def notes(self) -> list[str]:
        """What one line about all cells does not tell."""
        lines: list[str] = []
        alike: dict[tuple[str, str, str], list[str]] = {}
        for model, tuned in self.unlike.items():
            trials, seeds = span([one.trials for one in tuned]), span([one.seeds for one in tuned])
            alike.setdefault((trials, seeds, f"{max(one.steps for one in tuned):,}"), []).append(model)
        if alike:
            efforts = [
                Message(EFFORT, models=series(models), trials=trials, seeds=seeds, steps=steps)
                for (trials, seeds, steps), models in alike.items()
            ]
            told = Message("Not the same training rule, T and S for all models: {efforts}.", efforts=clauses(efforts))
            lines.append(told)
        if self.unmeasured and self.measured:
            lines.append(
                Message("One seed of {models}: training noise was not measured there.", models=series(self.unmeasured))
            )
        return lines


#: The effort of models that had the same one.
EFFORT = Template("{models} with T {trials} and S {seeds}, at most {steps} steps")
#: A range of trials or final seeds.
TRIALS = Template("{n} trial", "{n} trials"), Template("{lo} to {hi} trials")
SEEDS = Template("{n} final seed", "{n} final seeds"), Template("{lo} to {hi} final seeds")


def spent_by(table: SweepTable) -> Spent:
    """How hard a sweep was tuned; what its plan says, where it has no records yet."""
    cells = [cell for cell in table.cells.values() if cell.tuned is not None and not cell.parts]
    cells = [cell for cell in cells if cell.status == "done"] or cells
    if not cells:
        plan = table.budget
        measured = plan["seeds"] >= MIN_SEEDS
        return Spent(
            [plan["name"]], [plan["trials"]], [plan["seeds"]], plan["max_steps"], searched=True, measured=measured
        )
    tuned = [cell.tuned for cell in cells if cell.tuned is not None]
    searched = [one for one in tuned if not one.exhausted]
    trials, seeds = sorted({one.trials for one in searched or tuned}), sorted({one.seeds for one in tuned})
    few = [cell for cell in cells if cell.tuned is not None and cell.tuned.seeds < MIN_SEEDS and not cell.exact]
    differ = len(trials) > 1 or len(seeds) > 1 or len({one.rule for one in tuned}) > 1
    by_model: dict[str, list[Tuned]] = {}
    for cell in cells if differ else ():
        by_model.setdefault(f"{cell.dataset}/{cell.model}", []).extend([cell.tuned] if cell.tuned else [])
    return Spent(
        sorted({one.budget for one in tuned}),
        trials,
        seeds,
        max(one.steps for one in tuned),
        searched=bool(searched),
        unlike=by_model,
        unmeasured=sorted({f"{cell.dataset}/{cell.model}" for cell in few}),
        measured=len(few) < len(cells),
    )


def span(numbers: Sequence[int]) -> str:
    """A number, or its range where it is not the same everywhere."""
    lo, hi = min(numbers), max(numbers)
    return str(lo) if lo == hi else Message("{lo} to {hi}", lo=lo, hi=hi)


def counted(numbers: Sequence[int], words: tuple[Template, Template]) -> Message:
    """A number of trials or final seeds with its word, or their range."""
    lo, hi = min(numbers), max(numbers)
    return Message(words[0], hi) if lo == hi else Message(words[1], lo=lo, hi=hi)
