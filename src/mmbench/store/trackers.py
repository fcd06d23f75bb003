"""Weights & Biases as a mirror of the records: one run per cell and per final seed, and one of the report.

The results store is the truth: a mirror that fails costs a warning, never a result. Run ids are derived from the cell's
key, that of the report's run from the name of the sweep, so that runs are updated instead of repeated.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from mmbench import fingerprint, paths
from mmbench.evaluation.metrics import mean_metrics
from mmbench.messages import Refusal
from mmbench.store import records
from mmbench.store.schema import Cell, Choice, Stage

MODES = ("offline", "online", "disabled")


@dataclass(frozen=True)
class Gap:
    """A tuned gain that the summary run shows.

    Args:
        name: model and contrast, with the data set where there are several.
        mean: the gain, as a fraction.
        lo: its lower bound; None without bounds.
        hi: its upper bound.
        verdict: the word on it.
    """

    name: str
    mean: float
    lo: float | None
    hi: float | None
    verdict: str


@dataclass(frozen=True)
class Grid:
    """A table of the report: names of its columns, and its rows with None where there is nothing."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Summary:
    """What the summary run of a sweep shows of its report.

    Args:
        gaps: every gap.
        tables: tables by name.
        figures: pictures by name.
        decision: what was decided about images, empty where nothing was.
        proof: how far the records have been checked, their root and the hash of the plan.
    """

    gaps: Sequence[Gap] = ()
    tables: Mapping[str, Grid] = field(default_factory=dict)
    figures: Mapping[str, Path] = field(default_factory=dict)
    decision: Mapping[str, Any] = field(default_factory=dict)
    proof: Mapping[str, str] = field(default_factory=dict)


class Tracker(Protocol):
    """A listener of the results store."""

    def cell(self, folder: Path) -> None:
        """A cell has been sealed."""

    def report(self, summary: Summary) -> None:
        """The report of the sweep has been written."""


class NoTracker:
    """Records only."""

    def cell(self, folder: Path) -> None:
        """Nothing."""

    def report(self, summary: Summary) -> None:
        """Nothing."""


@dataclass(frozen=True)
class WandbTracker:
    """Mirrors cells, final runs and the report.

    Args:
        sweep_dir: folder of the sweep; offline files lie in its ``wandb`` folder.
        mode: ``offline``, ``online`` or ``disabled``.
        project: W&B project.
        entity: W&B user or team, or None.
        tags: tags of every run.
    """

    sweep_dir: Path
    mode: str = "offline"
    project: str = "mmbench"
    entity: str | None = None
    tags: list[str] = field(default_factory=list)

    def cell(self, folder: Path) -> None:
        """One run for the study with a step per trial, and one per final seed with a step per epoch."""
        cell = records.read(paths.cell_file(folder), Cell)
        choice = records.read(paths.choice_file(folder), Choice)
        name = str(cell.name)
        with self._run(f"study-{cell.key[:16]}", name, "study", cell.config) as run:
            for trial in records.read_trainings(folder, Stage.TRIAL, cell.key):
                values = {f"configuration/{path}": value for path, value in trial.configuration.items()}
                run.log({"validation": trial.score, **values}, step=trial.index)
            run.summary.update({"choice": choice.configuration, "validation": choice.score})
        for final in records.read_trainings(folder, Stage.FINAL, cell.key):
            if final.course is None:
                continue
            # Where trials were raised, the final run of another configuration is another run.
            identity = f"final-{cell.key[:16]}-{final.configuration_hash}-{final.index}"
            with self._run(identity, f"{name}/seed{final.index}", "final", cell.config, group=name) as run:
                for epoch, score in enumerate(final.course.history, 1):
                    losses = final.course.losses[epoch - 1] if final.course.losses else {}
                    run.log({"validation": score, **{f"loss/{k}": v for k, v in losses.items()}}, step=epoch)
                test = records.read_ranking(paths.final_file(folder, final.index, paths.RANKS))
                run.summary.update({f"test/{k}": v for k, v in mean_metrics(test).items()})

    def report(self, summary: Summary) -> None:
        """One summary run: tables and figures, every gap with its bounds and verdict, and the decision on images."""
        with self._run("summary", f"{self.sweep_dir.name}/summary", "summary", {}) as run:
            if media := _media(summary):
                run.log(media)
            for gap in summary.gaps:
                shown = {"": gap.mean, "/lo": gap.lo, "/hi": gap.hi, "/verdict": gap.verdict}
                known = {name: value for name, value in shown.items() if value is not None}
                run.summary.update({f"gap/{gap.name}{name}": value for name, value in known.items()})
            run.summary.update({f"decision/{name}": value for name, value in summary.decision.items()})
            run.summary.update({f"proof/{name}": value for name, value in summary.proof.items()})

    @contextlib.contextmanager
    def _run(
        self, identity: str, name: str, job_type: str, config: Mapping[str, Any], group: str | None = None
    ) -> Iterator[Any]:
        """A run that is always finished (an unfinished one would swallow the next); any error becomes a warning."""
        failed, run = True, None
        try:
            import wandb

            run = wandb.init(
                id=fingerprint.of_json([self.sweep_dir.name, identity])[:20],
                name=name,
                job_type=job_type,
                group=f"{self.sweep_dir.name}/{group or name}",
                config=dict(config),
                project=self.project,
                entity=self.entity,
                tags=list(self.tags),
                mode=self.mode,  # type: ignore[arg-type]
                dir=str(self.sweep_dir),
                resume="allow" if self.mode == "online" else None,
                settings=wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_meta=True),
            )
            yield run
            failed = False
        except Exception as error:
            warnings.warn(f"W&B does not mirror {name}: {type(error).__name__}: {error}", stacklevel=2)
            if run is None:
                yield _Silent()
        finally:
            if run is not None:
                run.finish(exit_code=int(failed))


class _Silent:
    """Stands in for a run that could not be started."""

    summary: dict[str, Any]

    def __init__(self) -> None:
        self.summary = {}

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Nothing."""


def _media(summary: Summary) -> dict[str, Any]:
    """Tables and figures as W&B shows them, by key."""
    import wandb

    tables = {
        f"report/{name}": wandb.Table(columns=list(grid.columns), data=list(grid.rows), allow_mixed_types=True)
        for name, grid in summary.tables.items()
    }
    return {**tables, **{f"figures/{name}": wandb.Image(str(file)) for name, file in summary.figures.items()}}


def make_tracker(config: Mapping[str, Any], sweep_dir: Path) -> Tracker:
    """The tracker of a ``tracking`` section; without an importable wandb a warning and none.

    Raises:
        ValueError: for an unknown kind or mode.
    """
    options = dict(config)
    kind = options.pop("kind")
    if kind == "none":
        return NoTracker()
    if kind != "wandb":
        raise Refusal("tracking.kind={kind} is unknown; kinds are none, wandb", kind=kind)
    known = [f.name for f in fields(WandbTracker) if f.name != "sweep_dir"]
    if unknown := sorted(options.keys() - set(known)):
        raise Refusal(
            "tracking.{name} is not a key of tracking; accepted: {known}", name=unknown[0], known=", ".join(known)
        )
    if options.get("mode") not in MODES:
        raise Refusal(
            "tracking.mode={mode} is unknown; modes are {modes}", mode=options.get("mode"), modes=", ".join(MODES)
        )
    try:
        import wandb  # noqa: F401
    except ImportError:
        warnings.warn("wandb is not installed, so the sweep is not mirrored; tracking=none silences this", stacklevel=2)
        return NoTracker()
    return WandbTracker(sweep_dir, **options)
