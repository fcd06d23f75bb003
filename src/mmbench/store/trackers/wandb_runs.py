"""Weights & Biases: runs are written offline into the folder of the sweep unless the mode is online."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmbench import fingerprint
from mmbench.messages import Refusal
from mmbench.store import leases
from mmbench.store.trackers.mirrored import Client, Run

MODES = ("offline", "online", "disabled")


@dataclass(frozen=True)
class WandbClient(Client):
    """Writes runs of W&B.

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
    tags: Sequence[str] = ()

    title = "W&B"
    library = "wandb"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise Refusal(
                "tracking.wandb.mode={mode} is unknown; modes are {modes}", mode=self.mode, modes=", ".join(MODES)
            )

    def show(self, run: Run) -> None:
        """One run, which is always finished: an unfinished one would swallow the next."""
        import wandb

        cell = run.name if run.cell is None else str(run.cell)
        begun = wandb.init(
            # Runs of one project lie together, whosever sweep of this name they are of.
            id=fingerprint.of_json([run.sweep, leases.identity(self.sweep_dir), run.identity])[:20],
            name=cell if run.kind == "study" else run.name,
            job_type=run.kind,
            group=f"{run.sweep}/{cell}",
            config=dict(run.config),
            project=self.project,
            entity=self.entity,
            tags=list(self.tags),
            mode=self.mode,  # type: ignore[arg-type]
            dir=str(self.sweep_dir),
            resume="allow" if self.mode == "online" else None,
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_meta=True),
        )
        failed = True
        try:
            media = _media(run)
            shown = {*run.results, *media, *(name for _, values in run.steps for name in values)}
            # A run that goes on has the summary of its earlier showing; names of W&B itself begin with a line.
            for name in [*begun.summary.keys()]:
                if name not in shown and not name.startswith("_"):
                    del begun.summary[name]
            for step, values in run.steps:
                begun.log(dict(values), step=step)
            if media:
                begun.log(media)
            begun.summary.update(dict(run.results))
            failed = False
        finally:
            begun.finish(exit_code=int(failed))


def _media(run: Run) -> dict[str, Any]:
    """Tables and figures as W&B shows them, by key."""
    import wandb

    tables = {
        f"report/{name}": wandb.Table(columns=list(grid.columns), data=list(grid.rows), allow_mixed_types=True)
        for name, grid in run.tables.items()
    }
    return {**tables, **{f"figures/{name}": wandb.Image(str(file)) for name, file in run.figures.items()}}
