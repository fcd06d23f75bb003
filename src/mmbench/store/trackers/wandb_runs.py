"""Weights & Biases: runs are written offline into the folder of the sweep unless the mode is online."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmbench import fingerprint
from mmbench.data.readers.text_table import named_or_empty, shortened
from mmbench.messages import Refusal
from mmbench.store import leases
from mmbench.store.bounds import check_list, check_type
from mmbench.store.trackers.mirrored import Client, Run

MODES = ("offline", "online", "disabled")
#: What no name of a project or an entity may hold, and the most letters of such a name and of a tag.
FORBIDDEN = "/\\#?%:"
LONGEST_NAME, LONGEST_TAG = 128, 64
#: Seconds in which the server has to take a new run, and what is left of one at its end.
BEGIN, END = 20, 60
#: Seconds for which a process writes its runs offline after the server has failed, lest each one waits for it again.
PAUSE = 600
#: Where the pause of this process ends, on the clock of :func:`time.monotonic`.
_paused_until = float("-inf")


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
    tags: Sequence[str] = field(default_factory=list)

    title = "W&B"
    library = "wandb"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise Refusal(
                "tracking.wandb.mode={mode} is unknown; modes are {modes}", mode=self.mode, modes=", ".join(MODES)
            )

        for name, value in (("project", self.project), ("entity", self.entity)):
            if value is not None or name == "project":
                _check_text(f"tracking.wandb.{name}", value, LONGEST_NAME)
                if held := sorted(set(FORBIDDEN) & {*str(value)}):
                    raise Refusal(
                        "{setting}={value} has {held} in it; W&B takes none of {forbidden} in a name",
                        setting=f"tracking.wandb.{name}",
                        value=shortened(str(value)),
                        held=" ".join(held),
                        forbidden=" ".join(FORBIDDEN),
                    )
        check_list("tracking.wandb.tags", self.tags, "baseline")
        for tag in self.tags:
            _check_text("tracking.wandb.tags", tag, LONGEST_TAG)

    def show(self, run: Run) -> None:
        """One run; where the server fails, it and those of the next minutes are written as if the mode was offline."""
        import wandb

        global _paused_until
        mode = self.mode
        if mode == "online" and time.monotonic() < _paused_until:
            mode = "offline"
        try:
            self._write(run, mode)
        except (wandb.errors.Error, ConnectionError, TimeoutError) as error:
            if mode != "online":
                raise
            _paused_until = time.monotonic() + PAUSE
            warnings.warn(
                f"{self.title} was not sent {run.name}: {type(error).__name__}: {error}; it and the runs of the next "
                f"{PAUSE // 60} minutes are written offline, and wandb sync sends them",
                stacklevel=2,
            )
            # Its process would take the run for one that goes on, unless it has ended itself.
            with contextlib.suppress(ConnectionError):
                wandb.teardown()
            self._write(run, "offline")

    def _write(self, run: Run, mode: str) -> None:
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
            mode=mode,  # type: ignore[arg-type]
            dir=str(self.sweep_dir),
            resume="allow" if mode == "online" else None,
            settings=_settings(mode),
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


def _check_text(setting: str, value: Any, longest: int) -> None:
    """Refuse what W&B would refuse at every run.

    Raises:
        ValueError: naming the setting.
    """
    check_type(setting, value, str)
    if not 1 <= len(value) <= longest:
        raise Refusal(
            "{setting}: {value} has {letters} letters; W&B takes 1 to {longest}",
            setting=setting,
            value=named_or_empty(shortened(value)),
            letters=len(value),
            longest=longest,
        )


def _settings(mode: str) -> Any:
    """Settings of a run."""
    import wandb

    bounds: dict[str, Any] = {}
    if mode == "online":
        bounds = {"init_timeout": BEGIN, "finish_timeout": END, "finish_timeout_raises": True}
    return wandb.Settings(
        silent=True,
        console="off",
        x_disable_stats=True,
        x_disable_meta=True,
        # By itself W&B sends the names of machine, program and packages, and the git remote and commit.
        host="",
        program="",
        disable_git=True,
        x_save_requirements=False,
        save_code=False,
        # Earlier versions wait for the end without a bound.
        **{name: value for name, value in bounds.items() if name in wandb.Settings.__annotations__},
    )


def _media(run: Run) -> dict[str, Any]:
    """Tables and figures as W&B shows them, by key."""
    import wandb

    tables = {
        f"report/{name}": wandb.Table(columns=list(grid.columns), data=list(grid.rows), allow_mixed_types=True)
        for name, grid in run.tables.items()
    }
    return {**tables, **{f"figures/{name}": wandb.Image(str(file)) for name, file in run.figures.items()}}
