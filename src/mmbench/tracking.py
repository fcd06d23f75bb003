"""Weights & Biases as a mirror of the records, one run per cell and per final seed (RULINGS 24).

The results store is the truth: a mirror that fails costs a warning, never a result. Run ids are derived from the cell's
key, so a resumed sweep updates its runs instead of repeating them.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from mmbench import fingerprint, records
from mmbench.metrics import mean_metrics

MODES = ("offline", "online", "disabled")


@dataclass(frozen=True)
class Gap:
    """A relative gain that the summary run shows, as fractions, with the verdict on it where it was planned."""

    name: str
    mean: float
    lo: float
    hi: float
    verdict: str = ""


class GapTable(Protocol):
    """What the summary run needs of a report."""

    @property
    def gaps(self) -> list[Gap]:
        """The gaps of the sweep."""

    @property
    def key(self) -> str:
        """Identifies the sweep's cells."""


class Tracker(Protocol):
    """A listener of the results store."""

    def cell(self, folder: Path) -> None:
        """A cell has been sealed."""

    def gaps(self, table: GapTable) -> None:
        """The sweep has been reported."""


class NoTracker:
    """Records only."""

    def cell(self, folder: Path) -> None:
        """Nothing."""

    def gaps(self, table: GapTable) -> None:
        """Nothing."""


@dataclass(frozen=True)
class WandbTracker:
    """Mirrors cells, final runs and gaps.

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
        cell = records.read_json(folder / "cell.json")
        choice = records.read_json(folder / "choice.json")
        name = f"{cell['dataset']}/{cell['model']}/{cell['modality']}"
        trials = [records.read_json(path) for path in sorted((folder / "trials").glob("*.json"))]
        with self._run(f"study-{cell['key'][:16]}", name, "study", cell["config"]) as run:
            for trial in trials:
                values = {f"configuration/{k}": v for k, v in trial["configuration"].items()}
                run.log({"validation": trial["score"], **values}, step=trial["index"])
            run.summary.update({"choice": choice["configuration"], "validation": choice["score"]})
        for path in sorted((folder / "finals").glob("*.json")):
            final = records.read_json(path)
            identity = f"final-{cell['key'][:16]}-{final['index']}"
            with self._run(identity, f"{name}/seed{final['index']}", "final", cell["config"], group=name) as run:
                for epoch, score in enumerate(final["history"], 1):
                    losses = final["losses"][epoch - 1] if final["losses"] else {}
                    run.log({"validation": score, **{f"loss/{k}": v for k, v in losses.items()}}, step=epoch)
                test = records.read_ranking(path.with_name(path.name.replace(".json", ".test.parquet")))
                run.summary.update({f"test/{k}": v for k, v in mean_metrics(test).items()})

    def gaps(self, table: GapTable) -> None:
        """One summary run with every gap, its bounds and its verdict."""
        if not table.gaps:
            return
        with self._run(f"gaps-{table.key[:16]}", f"{self.sweep_dir.name}/gaps", "summary", {}) as run:
            for gap in table.gaps:
                run.summary.update(
                    {f"gap/{gap.name}": gap.mean, f"gap/{gap.name}/lo": gap.lo, f"gap/{gap.name}/hi": gap.hi}
                )
                if gap.verdict:
                    run.summary.update({f"gap/{gap.name}/verdict": gap.verdict})

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

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Nothing."""


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
        raise ValueError(f"tracking.kind={kind} is unknown; kinds are none, wandb")
    known = [f.name for f in fields(WandbTracker) if f.name != "sweep_dir"]
    if unknown := sorted(options.keys() - set(known)):
        raise ValueError(f"tracking.{unknown[0]} is not a key of tracking; accepted: {', '.join(known)}")
    if options.get("mode") not in MODES:
        raise ValueError(f"tracking.mode={options.get('mode')} is unknown; modes are {', '.join(MODES)}")
    try:
        import wandb  # noqa: F401
    except ImportError:
        warnings.warn("wandb is not installed, so the sweep is not mirrored; tracking=none silences this", stacklevel=2)
        return NoTracker()
    return WandbTracker(sweep_dir, **options)
