"""What the records of a sweep say of its tuning, condition by condition."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmbench import paths
from mmbench.evaluation import metrics
from mmbench.inference import tuned_gain, tuning_curves
from mmbench.inference.best_of_n import NO_SEED_NOISE, SeedNoise, TunedCell, Tuning
from mmbench.inference.gains import TunedSide
from mmbench.inference.tuned_gain import Alone
from mmbench.inference.tuning_curves import Edge
from mmbench.inference.verdicts import FAILED_SHARE, UNTRAINED_WEIGHT
from mmbench.messages import MOST_DIGITS, Message, Refusal, conjoined, digits_shown, series
from mmbench.nn.hyperparameters import is_read
from mmbench.report.table import exhausts, is_exact
from mmbench.store import records
from mmbench.store.bounds import Damaged
from mmbench.store.records import Look
from mmbench.store.schema import Cell, Choice, FinalRun, LedgerRow, Manifest, Seal, Stage, Training
from mmbench.tuning.space import NumericRange, numeric_ranges, read_space


@dataclass(frozen=True)
class CellEffort:
    """What the records of one condition say of its tuning.

    Args:
        modality: the condition.
        cell: its record.
        choice: its choice.
        seal: its seal.
        trials: records of the random trials in slot order.
        proposals: records of the trials that TPE proposed; they are no part of any curve over trials.
        finals: final records in seed order.
        ledger: its rows of the ledger.
        folder: where the records lie.
        metric: metric of the test split.
        looks: every opening of its test split, in order; those before it was begun afresh come first.
        finals_folder: where the files of its final runs lie; None is ``folder``.
        seals: hashes of the seals of every look at the present test split that the folders or the plan know, whether
            or not its words can be said again; see :func:`with_plan`.
        missed: looks that the plan knows and the folders do not show.
        planned_late: whether its test split had been opened before the plan that names it was written.
    """

    modality: str
    cell: Cell
    choice: Choice
    seal: Seal
    trials: Sequence[Training]
    proposals: Sequence[Training]
    finals: Sequence[Training]
    ledger: Sequence[LedgerRow]
    folder: Path
    metric: str
    looks: Sequence[Look] = ()
    finals_folder: Path | None = None
    seals: frozenset[str] = frozenset()
    missed: int = 0
    planned_late: bool = False

    @functools.cached_property
    def validation(self) -> NDArray[np.float64]:
        """Validation score by slot, minus infinity for a failed trial, ``(n_trials,)``."""
        return np.array([-np.inf if t.score is None else t.score for t in self.trials], np.float64)

    @property
    def users(self) -> NDArray[np.int64]:
        """The test users, ``(n_users,)``."""
        return self._tested[0]

    @property
    def test(self) -> NDArray[np.float64]:
        """Test metric by slot and user, NaN for a failed trial, ``(n_trials, n_users)``.

        Raises:
            ValueError: if trials were tested with different users.
        """
        if self._tested[1] is None:
            raise Refusal("{folder}: its trials were tested with different users", folder=self.folder)
        return self._tested[1]

    @functools.cached_property
    def _tested(self) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
        """The test users and their metric by slot; None where trials were tested with different ones."""
        users: NDArray[np.int64] | None = None
        by_slot: dict[int, NDArray[np.float64]] = {}
        alike = True
        for slot, trial in enumerate(self.trials):
            file = paths.training_file(self.folder, trial.stage, trial.index, paths.RANKS)
            if file.exists():
                tested = records.read_tested(file)
                users = tested.users if users is None else users
                alike = alike and np.array_equal(tested.users, users)
                by_slot[slot] = metrics.per_user(tested.pairs, self.metric)
        if users is None:  # the choice was a proposal of TPE
            users = records.read_tested(self._final(self.seal.finals[0])).users
        if not alike:
            return users, None
        test = np.full((len(self.trials), len(users)), np.nan)
        for slot, values in by_slot.items():
            test[slot] = values
        return users, test

    @functools.cached_property
    def tuning(self) -> Tuning:
        """Its random trials; one that could not be scored on test has failed.

        Raises:
            ValueError: if trials were tested with different users.
        """
        return Tuning(
            validation=np.where(np.isfinite(self.test).all(axis=1), self.validation, -np.inf),
            test=self.test,
            users=self.users,
            configurations=[t.configuration_hash for t in self.trials],
            seed_noise=NO_SEED_NOISE if self.exact else SeedNoise.of_finals(self.finals_test),
            exhausted=self.exhausted,
        )

    @property
    def exhausted(self) -> bool:
        """Whether its trials are all configurations that there are, so that more of them would find nothing."""
        return exhausts(self.cell, len(self.trials))

    @functools.cached_property
    def finals_test(self) -> list[float]:
        """Mean test metric of each successful final run."""
        rankings = [records.read_ranking(self._final(final.index)) for final in self.finals if final.succeeded]
        return [float(metrics.per_user(pairs, self.metric).mean()) for pairs in rankings]

    def _final(self, number: int) -> Path:
        """Test ranks of a final run."""
        return paths.final_file(self.finals_folder or self.folder, number, paths.RANKS)

    @property
    def openings(self) -> list[Look]:
        """Looks at the present test split, in order; those at another one said nothing about it.

        Of several with equal records the last one counts: what comes out the same once more shows nothing new.
        """
        last = {look.seal.hash: look.number for look in self.looks if look.seal.test_hash == self.seal.test_hash}
        return [look for look in self.looks if last.get(look.seal.hash) == look.number]

    @property
    def n_looks(self) -> int:
        """How many different looks at the present test split there were, this one with them."""
        return self.n_looks_with(0)

    def n_looks_with(self, further: int) -> int:
        """How many there will be with further ones.

        One that was planned late had one before, of which nothing need be left; what is left of it counts once.
        """
        known = len(self.seals | {look.seal.hash for look in self.openings})
        return max(1 + self.planned_late, known + further)

    def past(self, number: int) -> CellEffort:
        """It as it was at a look at the present test split, numbered from 1; it itself where it had no further one."""
        if number >= len(self.openings):
            return self
        look = self.openings[number - 1]
        finals = [records.read(paths.final_file(look.folder, n, paths.RECORD), FinalRun) for n in look.seal.finals]
        here = look.cell == self.folder
        trials = self.trials if here else records.read_trainings(look.cell, Stage.TRIAL, self.cell.key)
        return replace(
            self,
            choice=look.choice,
            seal=look.seal,
            trials=trials[: look.trials],
            finals=finals,
            folder=look.cell,
            looks=self.looks[: look.number],
            finals_folder=look.folder,
        )

    @property
    def tuned_cell(self) -> TunedCell:
        """It as a cell of one side of a tuned gain.

        Raises:
            ValueError: if trials were tested with different users.
        """
        used = sum(state != "drop" for state in self.cell.states.values())
        return TunedCell(self.cell.model, self.modality, used, self.tuning, self.cell.key)

    @property
    def exact(self) -> bool:
        """Whether another seed gives the same result, see :func:`mmbench.report.table.is_exact`."""
        return is_exact((*self.trials, *self.proposals, *self.finals))

    @property
    def seeds(self) -> int | None:
        """Successful final runs; None where one tells as much as many."""
        return None if self.exact else sum(final.succeeded for final in self.finals)

    @property
    def rungs(self) -> Sequence[int]:
        """Steps after which a trial may have been cut short."""
        return self.cell.config["budget"].get("rungs") or ()

    @functools.cached_property
    def alone(self) -> Alone:
        """The weights of its trials, and its curves over their number.

        Raises:
            ValueError: if trials were tested with different users.
        """
        return tuned_gain.alone(self.tuning)

    @property
    def weights(self) -> NDArray[np.float64]:
        """Chance of each trial to be chosen when as many are run as the verdicts speak of, ``(n_trials,)``."""
        return self.alone.weights

    def marks(self, delta: float) -> list[str]:
        """Whether its result is that of trainings that stalled or were cut off: ``stalled``, ``cut off``, both or none.

        Both marks count together, as they do where a verdict is not trusted for them.

        Args:
            delta: equivalence margin.
        """
        weights = [0.0 if self.rungs else float(self.weights[mark].sum()) for mark in self.marked(delta).values()]
        of_finals = [float(mark.mean()) if len(mark) else 0.0 for mark in marks_of(self.finals, delta).values()]
        heavy = [shares for shares in (weights, of_finals) if sum(shares) > UNTRAINED_WEIGHT]
        return [name for name, *shares in zip(REMEDIES, *heavy, strict=True) if any(shares)]

    def marked(self, delta: float) -> dict[str, NDArray[np.bool_]]:
        """Which of its trials did not come to their end, by the mark, ``(n_trials,)``.

        Args:
            delta: equivalence margin.
        """
        return marks_of(self.trials, delta)

    @property
    def ranges(self) -> dict[str, NumericRange]:
        """The numeric ranges of its search space by path."""
        return numeric_ranges(read_space(self.cell.config["search"]))

    @property
    def failed_share(self) -> Fraction:
        """Share of the trials that failed."""
        return Fraction(sum(not t.succeeded for t in self.trials), max(len(self.trials), 1))

    @property
    def seconds(self) -> float:
        """Seconds of all trainings, failed ones included; those that were killed with their worker have none."""
        return float(sum(row.cost.spent for row in self.ledger))

    @property
    def energy_kwh(self) -> float | None:
        """Energy of all trainings; None unless every one was measured."""
        measured = [row.cost.energy_kwh for row in self.ledger if row.cost.energy_kwh is not None]
        return float(sum(measured)) if measured and len(measured) == len(self.ledger) else None

    @property
    def epochs(self) -> float:
        """Median number of epochs of a trial."""
        return float(median([t.course.epochs for t in self.trials if t.course is not None] or [0]))

    def trial_seconds(self) -> NDArray[np.float64]:
        """Wall time by slot, ``(n_trials,)``."""
        by_slot = {row.index: row.cost.spent for row in self.ledger if row.stage == Stage.TRIAL}
        return np.array([by_slot.get(t.index, 0.0) for t in self.trials])


def read_cell(modality: str, folder: Path, rows: Mapping[str, list[LedgerRow]], metric: str) -> CellEffort:
    """Read one sealed cell; ``rows`` are those of the ledger by the key of their cell.

    Raises:
        Damaged: if none of the trials is there that the choice was made among.
    """
    cell = records.read(paths.cell_file(folder), Cell)
    choice = records.read(paths.choice_file(folder), Choice)
    seal = records.read(paths.seal_file(folder), Seal)
    trials, proposals, finals = (records.read_trainings(folder, stage, cell.key) for stage in Stage)
    if not (trials or proposals):
        raise Damaged(paths.training_file(folder, *choice.unit, paths.RECORD))
    for training in (*trials, *proposals, *finals):
        if training.course is not None:
            training.course.losses = []  # no report shows them, and they are most of what a record holds
    # What was set aside to begin afresh is no cost of the condition; with the same code it had the same hashes.
    before = records.set_aside_hashes(paths.set_aside_dirs(folder)) - {t.hash for t in (*trials, *proposals, *finals)}
    listed = [*{row.hash: row for row in rows.get(cell.key, []) if row.hash not in before}.values()]
    looks = records.read_every_look(folder, cell.key)
    return CellEffort(modality, cell, choice, seal, trials, proposals, finals, listed, folder, metric, looks)


def with_plan(cell: CellEffort, sweep_dir: Path, manifest: Manifest) -> CellEffort:
    """A condition with every look at its test split that the plan or a folder knows.

    A seal among the damaged files is a look where the plan has it; otherwise it was made again.
    """
    key, planned = cell.cell.key, {*manifest.seals_of(cell.cell.name, cell.cell.key).values()}
    shown = records.read_seals(paths.seals_of(cell.folder), key)
    damaged = records.read_seals(paths.damaged_seals(sweep_dir, cell.folder), key) if planned - shown.keys() else {}
    known = {**damaged, **shown}
    now = {value for value, seal in known.items() if seal.test_hash == cell.seal.test_hash}
    missed = planned - known.keys()
    return replace(
        cell,
        seals=frozenset(now & (shown.keys() | planned) | missed),
        missed=len(missed),
        planned_late=str(cell.cell.name) in manifest.planned_late(),
    )


#: Marks of a training that did not come to its end, and the value to raise against each.
STALLED, CUT_OFF = Message("stalled"), Message("cut off")
REMEDIES: dict[str, str] = {STALLED: "budget.patience_steps", CUT_OFF: "budget.max_steps"}


def remedies(cells: Iterable[CellEffort]) -> dict[str, str]:
    """The setting to raise against each mark, and above which value, where its own was not what ended trainings.

    ``budget.max_steps`` cuts no training short of ``budget.least_epochs``, so on large data sets the cap is theirs; and
    patience waits for ``budget.min_steps`` and for five rankings whatever ``budget.patience_steps`` says.
    """
    found = dict(REMEDIES)
    for cell in cells:
        budget, courses = cell.cell.config["budget"], [t.course for t in (*cell.trials, *cell.finals) if t.course]
        steps = max((c.steps_per_epoch for c in courses), default=0)
        waited = max(((c.epochs - c.risen_at) * c.steps_per_epoch for c in courses if c.stalled), default=0)
        taken = max((c.epochs * c.steps_per_epoch for c in courses if c.stop_reason == "max_steps"), default=0)
        if waited >= budget["patience_steps"] + steps > 0:
            found[STALLED] = Message("budget.patience_steps above {steps}", steps=f"{waited:,}")
        if taken >= budget["max_steps"] + steps > 0:
            found[CUT_OFF] = Message("budget.max_steps above {steps}", steps=f"{taken:,}")
    return found


def marks_of(trainings: Sequence[Training], delta: float) -> dict[str, NDArray[np.bool_]]:
    """Which trainings did not come to their end, by the mark, ``(n,)``.

    Args:
        trainings: the trainings.
        delta: equivalence margin.
    """
    return dict(zip(REMEDIES, (stalled(trainings), cut_off(trainings, delta)), strict=True))


def stalled(trainings: Sequence[Training]) -> NDArray[np.bool_]:
    """Which trainings patience ended below the popularity baseline, ``(n,)``."""
    return np.array([t.course is not None and t.course.stalled for t in trainings], bool)


def cut_off(trainings: Sequence[Training], delta: float) -> NDArray[np.bool_]:
    """Which trainings the cap on steps ended while validation still rose, ``(n,)``.

    Args:
        trainings: the trainings.
        delta: equivalence margin; a rise of more than a quarter of it in the last quarter of a training counts.
    """
    rises = [None if t.course is None else t.course.late_rise for t in trainings]
    return np.array([rise is not None and rise > delta / 4 for rise in rises], bool)


class Soundness(NamedTuple):
    """How much of one side of a tuned gain was trained to its end.

    Attributes:
        untrained: weight of the trials that were not, by the mark.
        failed: failed trials.
        trials: all trials.
    """

    untrained: dict[str, float]
    failed: int
    trials: int

    @property
    def untrained_too_much(self) -> bool:
        """Whether what was not trained to its end weighs too much."""
        return sum(self.untrained.values()) > UNTRAINED_WEIGHT

    @property
    def shares(self) -> dict[str, str]:
        """Weights that are too much together in percent, by the mark: with decimals that show it, and none as zero."""
        weights = {mark: 100 * weight for mark, weight in self.untrained.items() if weight > 0}
        much = (n for n in range(MOST_DIGITS) if sum(round(w, n) for w in weights.values()) > 100 * UNTRAINED_WEIGHT)
        digits = next(much, MOST_DIGITS)
        return {mark: f"{weight:.{digits_shown(weight, digits)}f}" for mark, weight in weights.items()}

    @property
    def failed_too_often(self) -> bool:
        """Whether too many trials failed."""
        return self.failed > FAILED_SHARE * self.trials


def soundness(
    side: TunedSide, tunings: Mapping[str, Tuning], marked: Mapping[str, Mapping[str, NDArray[np.bool_]]]
) -> Soundness:
    """How much of one side of a tuned gain was trained to its end.

    Args:
        side: the side.
        tunings: trials of each of its cells, by the cell's name in ``side``.
        marked: which of them did not come to their end, by cell and mark, see :meth:`CellEffort.marked`.
    """
    weights: dict[str, float] = dict.fromkeys(REMEDIES, 0.0)
    trials, failed = 0, 0
    for cell, of_slots in zip(side.cells, side.weights, strict=True):
        used = len(of_slots)
        for name, mark in marked[cell].items():
            weights[name] += float(of_slots[mark[:used]].sum())
        trials += used
        failed += int((~np.isfinite(tunings[cell].scores[:used])).sum())
    return Soundness(weights, failed, trials)


def badly_trained(side: TunedSide, efforts: Mapping[str, CellEffort], delta: float) -> list[str]:
    """Why one side of a tuned gain cannot be trusted: what weighs in it was not trained to its end, or failed.

    Args:
        side: the side.
        efforts: its cells by their names in ``side``.
        delta: equivalence margin.

    Returns:
        Sentences that name the value to raise; none where the side is sound.
    """
    tunings = {name: effort.tuning for name, effort in efforts.items()}
    sound = soundness(side, tunings, {name: effort.marked(delta) for name, effort in efforts.items()})
    reasons: list[str] = []
    several = len({effort.cell.model for effort in efforts.values()}) > 1
    named = series([name if several else effort.modality for name, effort in efforts.items()])
    if sound.untrained_too_much:
        weighing = sound.shares
        raised = remedies(efforts.values())
        reasons.append(
            Message(
                "of the weight of {conditions}, {parts}: raise {settings}",
                conditions=named,
                parts=conjoined(
                    [Message("{mark} trials {share} %", mark=mark, share=share) for mark, share in weighing.items()]
                ),
                settings=conjoined([raised[mark] for mark in weighing]),
            )
        )
    if sound.failed_too_often:
        reasons.append(
            Message(
                "{failed} of the {n} trials of {conditions} failed",
                failed=sound.failed,
                n=sound.trials,
                conditions=named,
            )
        )
    return reasons


def edges(cell: CellEffort) -> dict[str, Edge]:
    """How many of the best trials lie at a bound, by path, for every numeric range that the condition reads."""
    found, present = {}, [name for name, state in cell.cell.states.items() if state != "drop"]
    for path, searched in cell.ranges.items():
        if searched.low < searched.high and is_read(path.removeprefix("model."), present):
            values = [t.configuration[path] for t in cell.trials]
            found[path] = tuning_curves.edge(
                values, cell.validation, searched.low, searched.high, log=searched.log, atoms=searched.atoms
            )
    return found


def too_narrow(cells: Sequence[CellEffort]) -> dict[str, list[str]]:
    """Paths whose ranges are shown to be too narrow, by condition.

    Args:
        cells: the conditions of one model on one data set, whose ranges are looked at together.
    """
    found = {cell.modality: edges(cell) for cell in cells if len(cell.trials) > 1}
    n_ranges = sum(map(len, found.values()))
    return {name: [p for p, edge in by_path.items() if edge.shown(n_ranges)] for name, by_path in found.items()}
