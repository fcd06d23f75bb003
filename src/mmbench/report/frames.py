"""A sweep for whoever analyses it in Python: its tables as DataFrames, its figures as figures of matplotlib."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import pandas as pd

from mmbench import paths
from mmbench.inference.gains import TunedGain
from mmbench.messages import Refusal
from mmbench.messages.hints import did_you_mean
from mmbench.messages.refused import reading, refusing
from mmbench.report.cell_effort import CellEffort
from mmbench.report.evidence import Evidence, proved
from mmbench.report.layout import Document, frame
from mmbench.scheduling.trust import NOTHING, Trust
from mmbench.store.schema import LedgerRow, Training

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mmbench.report.charts import Drawing

#: What :meth:`Results.curves` shows: the epochs of a training, or tuning by its number of trials.
TRAINING, TUNING = "training", "tuning"
#: Beginning of the names of forest plots, and of those of means of conditions.
FOREST, CONDITIONS = "forest-", "conditions"

P = ParamSpec("P")
R = TypeVar("R")


def _read(method: Callable[Concatenate[Results, P], R]) -> Callable[Concatenate[Results, P], R]:
    """A method that reads records, whose errors are all of one class."""

    def read(self: Results, /, *args: P.args, **options: P.kwargs) -> R:
        inspect.signature(method).bind(self, *args, **options)  # a mistake of the caller is none of the records
        with refusing(), reading(self.folder):
            return method(self, *args, **options)

    return functools.update_wrapper(read, method)


class Results:
    """The results of a sweep, read from its records.

    Records are read when a method first needs them, and once; what a sweep writes later is seen by a new object. All
    numbers are those of the report.

    Args:
        folder: folder of the sweep.
        trust: what may be used because a record names it.

    Attributes:
        folder: folder of the sweep.

    Raises:
        Refusal: if the folder is no sweep or its records cannot be read.
    """

    def __init__(self, folder: Path, trust: Trust = NOTHING) -> None:
        self.folder = folder
        self._evidence = Evidence(folder, trust)
        self._table = self._evidence.table

    def __repr__(self) -> str:
        status = [cell.status for cell in self._table.cells.values() if not cell.parts]
        return f"<mmbench.Results {self.folder}: {status.count('done')} of {len(status)} cells>"

    @_read
    def table(self) -> pd.DataFrame:
        """A row for each cell and metric, as ``report/table.csv`` has it.

        Among the columns are ``dataset``, ``model``, ``modality``, ``status`` (``done``, ``failed``, ``missing`` or
        ``stale``), ``metric``, ``mean`` over users and seeds, and ``sd_over_seeds``.
        """
        return self._exported(self._evidence.results)

    @_read
    def verdicts(self) -> pd.DataFrame:
        """A row for each planned contrast of each data set and model, and for each free disposal.

        The columns are those of ``report/verdicts.csv``, among them ``contrast``, ``verdict``, ``sentence``, ``gain``
        (the tuned gain, 0.02 is 2 %) with its bounds ``lo`` and ``hi``, ``holm_p`` and ``mde``.
        """
        return self._exported(self._evidence.verdicts)

    @_read
    def contrast(self, name: str) -> pd.DataFrame:
        """The rows of :meth:`verdicts` about one contrast.

        Args:
            name: ``fused_vs_text`` for every data set and model, or ``ml100k/vbpr/fused_vs_text``.

        Raises:
            Refusal: for a contrast that was not planned, because what is compared is fixed before results are known.
        """
        verdicts = self.verdicts()
        whole = verdicts["dataset"] + "/" + verdicts["model"] + "/" + verdicts["contrast"]
        chosen = verdicts[(verdicts["contrast"] == name) | (whole == name)]
        if chosen.empty:
            raise _unplanned(name, [*verdicts["contrast"], *whole])
        return chosen.reset_index(drop=True)

    @_read
    def trials(self) -> pd.DataFrame:
        """A row for each training of each finished cell.

        ``stage`` is ``tune`` (a random trial), ``extended`` (proposed by TPE) or ``final``; ``number`` counts within
        the stage. ``validation`` is the score that chooses, ``test`` the primary metric of the report, which only
        random trials and final runs have. Searched hyper-parameters are columns by their paths: ``optimizer.lr``.
        """
        rows: list[dict[str, Any]] = []
        for place, cell in self._cells():
            costs = {(row.stage, row.index): row for row in cell.ledger}
            tested = _tested(cell)
            for training in (*cell.trials, *cell.proposals, *cell.finals):
                rows.append(
                    {
                        **place,
                        **_of_training(training, costs.get((training.stage, training.index))),
                        "test": tested.get(training.unit),
                        "chosen": training.unit == cell.choice.unit,
                        **training.configuration,
                    }
                )
        return pd.DataFrame(rows)

    @_read
    def curves(self, of: str = TRAINING) -> pd.DataFrame:
        """Curves in long form.

        Args:
            of: ``training`` for the validation score after each epoch of each training; ``tuning`` for the expected
                best validation score and its expected test metric by the number of trials of each cell, with the bounds
                of 95 % bands, NaN between the numbers of :func:`~mmbench.inference.tuning_curves.banded`.

        Raises:
            Refusal: for another word.
        """
        if of not in (TRAINING, TUNING):
            raise Refusal("curves of {word} are not known; {hint}", word=of, hint=did_you_mean(of, (TRAINING, TUNING)))
        make = _learning if of == TRAINING else _by_trials
        frames = [pd.DataFrame(make(cell)).assign(**place) for place, cell in self._cells()]
        joined = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["dataset"])
        names = ["dataset", "model", "modality"]
        return joined[[*names, *(column for column in joined if column not in names)]] if frames else joined

    @_read
    def plot_conditions(self) -> Figure:
        """Every condition of every model on one line, as ``report/conditions.svg``; of several targets the first.

        Raises:
            Refusal: where no two conditions have a result.
        """
        return self._figure(next((drawn for drawn in self._drawn() if drawn.startswith(CONDITIONS)), CONDITIONS))

    @_read
    def plot_forest(self, name: str | None = None) -> Figure:
        """Tuned gains of a contrast with intervals, the band of equivalence and the words, a row for each model.

        Args:
            name: a planned contrast, such as ``fused_vs_text``, or ``free_disposal_of_image``; by default the first
                planned contrast that has a gain.

        Raises:
            Refusal: for a contrast that was not planned or has no gain.
        """
        if name is not None:
            return self._figure(f"{FOREST}{name}")
        forests = [drawn for drawn in self._drawn() if drawn.startswith(FOREST)]
        return self._figure(*forests[:1] or [FOREST])

    @_read
    def plot_tuning(self, name: str | None = None) -> Figure:
        """Both conditions of a contrast by the number of trials, and the gain of one over the other.

        Args:
            name: ``ml100k/vbpr/fused_vs_text``; by default the first one that has a gain.

        Raises:
            Refusal: for a contrast that was not planned or has no gain.
        """
        from mmbench.report.fairness import tuned_chart

        tuned = {c.name: c for c in self._evidence.judged if isinstance(c.tuned, TunedGain) and c.tuned.trials > 1}
        name = next(iter(tuned), "") if name is None else name
        if name not in tuned:
            raise _nothing(name, tuned)
        found = tuned[name]
        assert isinstance(found.tuned, TunedGain)
        return tuned_chart(self._table, [found.a.modality, found.b.modality], found.tuned, found.target).figure()

    def _figure(self, name: str) -> Figure:
        drawn = self._drawn()
        if (file := paths.slug([name])) not in drawn:
            alike = [other for other in drawn if other.startswith(FOREST) == name.startswith(FOREST)]
            raise _nothing(name.removeprefix(FOREST), (other.removeprefix(FOREST) for other in alike))
        return drawn[file][0].figure()

    def _drawn(self) -> Mapping[str, tuple[Drawing, str]]:
        """The figures of the report by the names of their files; none is drawn before it is asked for."""
        from mmbench.report.figures import figures

        return figures(self._table, self._evidence.judged, self._evidence.disposals)

    def _exported(self, document: Document) -> pd.DataFrame:
        """What the CSV file of a document holds, texts as plain texts."""
        told = proved(document, self._table, self._evidence.groups)
        return frame(told).map(lambda value: str(value) if isinstance(value, str) else value)

    def _cells(self) -> Iterable[tuple[dict[str, str], CellEffort]]:
        for group in self._evidence.groups:
            for cell in group.cells:
                yield {"dataset": group.dataset, "model": group.model, "modality": cell.modality}, cell


def _unplanned(name: str, known: Iterable[str]) -> Refusal:
    near = did_you_mean(name, dict.fromkeys(known))
    return Refusal("{name} is no contrast that this sweep planned; {near}", name=name, near=near)


def _nothing(name: str, known: Iterable[str]) -> Refusal:
    if not (names := list(known)):
        return Refusal("nothing to draw: no gain of this sweep has an interval")
    return Refusal("{name} has nothing to draw; {near}", name=name, near=did_you_mean(name, names))


def _of_training(training: Training, cost: LedgerRow | None) -> dict[str, Any]:
    course, failure = training.course, training.failure
    return {
        "stage": str(training.stage),
        "number": training.index,
        "seed": training.seed,
        "validation": training.score,
        "epochs": None if course is None else course.epochs,
        "best_epoch": None if course is None else course.best_epoch,
        "stop_reason": None if course is None else course.stop_reason,
        "seconds": None if cost is None else cost.cost.seconds,
        "parameters": training.n_parameters,
        "failure": None if failure is None else failure.reason,
    }


def _tested(cell: CellEffort) -> dict[Any, float]:
    """Mean test metric of every training that has one."""
    scored = [final for final in cell.finals if final.succeeded]
    by_unit = {trial.unit: float(value) for trial, value in zip(cell.trials, cell.test.mean(axis=1), strict=True)}
    return by_unit | {final.unit: value for final, value in zip(scored, cell.finals_test, strict=True)}


def _learning(cell: CellEffort) -> list[dict[str, Any]]:
    return [
        {
            "stage": str(training.stage),
            "number": training.index,
            "epoch": epoch,
            "step": epoch * training.course.steps_per_epoch,
            "validation": score,
        }
        for training in (*cell.trials, *cell.proposals, *cell.finals)
        if training.course is not None
        for epoch, score in enumerate(training.course.history, 1)
    ]


def _by_trials(cell: CellEffort) -> dict[str, Any]:
    curves = cell.alone.curves
    columns: dict[str, Any] = {"trials": range(1, len(curves.test.mean) + 1)}
    for name, band in curves._asdict().items():
        columns |= {name: band.mean, f"{name}_lo": band.lo, f"{name}_hi": band.hi}
    return columns
