"""Trackers as mirrors of the records: one run per cell, one per final seed, and one of the report.

The results store is the truth: a mirror that fails costs a warning, never a result. What a run is known again by is
derived from the cell's key, or from the name of the sweep, so that runs are updated instead of repeated. What a tracker
is shown stands in :mod:`mmbench.store.trackers.mirrored`; each one is a file of its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mmbench import paths
from mmbench.evaluation.metrics import mean_metrics
from mmbench.messages import Message, Refusal
from mmbench.store import records
from mmbench.store.schema import Cell, Choice, Stage, Training
from mmbench.store.trackers.csv_runs import CsvClient
from mmbench.store.trackers.mirrored import Client, Run, Summary, Value
from mmbench.store.trackers.mlflow_runs import MlflowClient
from mmbench.store.trackers.tensorboard_runs import TensorBoardClient
from mmbench.store.trackers.wandb_runs import WandbClient

#: Trackers by the word that asks for them.
CLIENTS: Mapping[str, type[Client]] = {
    "wandb": WandbClient,
    "mlflow": MlflowClient,
    "tensorboard": TensorBoardClient,
    "csv": CsvClient,
}
#: The word for no tracker.
NONE = "none"
#: Whose epochs are shown: those of the final runs, of every training, or of none.
FINALS, ALL = "finals", "all"
CURVES = (FINALS, ALL, NONE)


@dataclass(frozen=True)
class Tracker:
    """Shows cells and the report of a sweep to every client.

    Args:
        sweep_dir: folder of the sweep.
        clients: trackers; empty for records only.
        curves: one of :data:`CURVES`.
        lacking: what to say of trackers that were asked for and are not there.
    """

    sweep_dir: Path
    clients: Sequence[Client] = ()
    curves: str = FINALS
    lacking: Sequence[Message] = field(default=(), compare=False)

    def cell(self, folder: Path) -> None:
        """A cell has been sealed: a run of its study, a run per final seed, and those of its trials where asked for."""
        if self.clients:
            with _warning("the trackers do not mirror", str(folder)):
                self._show(self._runs(folder))

    def report(self, summary: Summary) -> None:
        """The report of the sweep has been written: one run of tables, figures, gaps and the decision."""
        tables, figures = summary.tables, summary.figures
        name = self.sweep_dir.name
        self._show([Run(name, "summary", "summary", results=summary.results, tables=tables, figures=figures)])

    def _show(self, runs: Sequence[Run]) -> None:
        for client in self.clients:
            with (
                _warning(f"{client.title} has not ended its mirror of", str(self.sweep_dir)),
                contextlib.closing(client),
            ):
                for run in runs:
                    with _warning(f"{client.title} does not mirror", run.name):
                        client.show(run)

    def _runs(self, folder: Path) -> list[Run]:
        cell = records.read(paths.cell_file(folder), Cell)
        choice = records.read(paths.choice_file(folder), Choice)
        trials = records.read_trainings(folder, Stage.TRIAL, cell.key)
        proposals = records.read_trainings(folder, Stage.PROPOSAL, cell.key)
        finals = records.read_trainings(folder, Stage.FINAL, cell.key)
        sweep, key = self.sweep_dir.name, cell.key[:16]
        # Earlier versions kept the folder of the data in the configuration; no tracker is told where it lies.
        dataset = {name: value for name, value in cell.config["dataset"].items() if name != "path"}
        shown = {**cell.config, "dataset": dataset}
        steps = [(n, _tried(training)) for n, training in enumerate([*trials, *proposals])]
        ended: dict[str, Value] = {f"choice/{path}": value for path, value in choice.configuration.items()}
        study = Run(
            sweep, f"study-{key}", "study", cell=cell.name, config=shown, steps=steps,
            results={**ended, "validation": choice.score},
        )  # fmt: skip
        runs = [study]
        kinds = (("trial", trials), ("proposal", proposals), ("final", finals))
        for kind, trainings in kinds if self.curves == ALL else kinds[2:]:
            for training in trainings:
                # Where trials were raised, the final run of another configuration is another run.
                identity = f"{kind}-{key}-{training.configuration_hash}-{training.index}"
                config = {**shown, "configuration": training.configuration}
                steps = [] if self.curves == NONE else list(_epochs(training))
                results: dict[str, Value] = {"validation": training.score}
                if training.failure is not None:
                    results["failure"] = training.failure.reason
                elif kind == "final":
                    test = records.read_ranking(paths.final_file(folder, training.index, paths.RANKS))
                    results = {f"test/{name}": value for name, value in mean_metrics(test).items()}
                runs.append(Run(sweep, identity, kind, training.index, cell.name, config, steps, results))
        return runs


def _tried(training: Training) -> dict[str, Value]:
    """A step of a study."""
    values = {f"configuration/{path}": value for path, value in training.configuration.items()}
    return {"validation": training.score, **values}


def _epochs(training: Training) -> Iterator[tuple[int, dict[str, Value]]]:
    """The curves of a training: validation after every epoch, and every term of the loss."""
    if training.course is not None:
        for epoch, score in enumerate(training.course.history, 1):
            losses = training.course.losses[epoch - 1] if training.course.losses else {}
            yield epoch, {"validation": score, **{f"loss/{name}": value for name, value in losses.items()}}


@contextlib.contextmanager
def _warning(what: str, name: str) -> Iterator[None]:
    """Turn any error into a warning."""
    try:
        yield
    except Exception as error:
        warnings.warn(f"{what} {name}: {type(error).__name__}: {error}", stacklevel=2)


def make_tracker(section: Mapping[str, Any], sweep_dir: Path) -> Tracker:
    """The tracker of a ``tracking`` section; an importable wandb, which is the default, may be lacking.

    Raises:
        ValueError: for an unknown tracker or setting, and where the library of a tracker is not installed.
    """
    kinds = {name: options for name, options in section.items() if name != "curves"}
    curves = section.get("curves", FINALS)
    if curves not in CURVES:
        raise Refusal(
            "tracking.curves={curves} is unknown; it is one of {known}", curves=curves, known=", ".join(CURVES)
        )
    if NONE in kinds and len(kinds) > 1:
        raise Refusal("tracking=none goes with no other tracker, and {others} stand beside it", others=", ".join(kinds))
    clients = [_client(name, options, sweep_dir) for name, options in kinds.items() if name != NONE]
    lacking = [Message("wandb is not installed, so the sweep is not mirrored; tracking=none silences this")]
    found = [client for client in clients if client is not None]
    return Tracker(sweep_dir, found, curves, lacking if len(found) < len(clients) else ())


def _client(name: str, options: Any, sweep_dir: Path) -> Client | None:
    kind = CLIENTS.get(name)
    if kind is None or not isinstance(options, Mapping):
        raise Refusal(
            "tracking.{name} is not a key of tracking; accepted: {known}",
            name=name,
            known=", ".join(["curves", *CLIENTS]),
        )
    known = [field.name for field in fields(kind) if field.init and field.name != "sweep_dir"]  # type: ignore[arg-type]
    if unknown := sorted(options.keys() - set(known)):
        raise Refusal(
            "tracking.{name} is not a key of tracking; accepted: {known}",
            name=f"{name}.{unknown[0]}",
            known=", ".join(known) or NONE,
        )
    client: Client = kind(sweep_dir, **options)  # type: ignore[call-arg]
    if kind.library is None or importlib.util.find_spec(kind.library) is not None:
        return client
    if kind.extra is not None:
        raise Refusal(
            "tracking={name} needs {library}, which is not installed: pip install 'mmbench[{extra}]'",
            name=name,
            library=kind.library,
            extra=kind.extra,
        )
    return None
