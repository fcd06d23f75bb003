"""Hydra's hooks for ``hydra/launcher=local``, ``slurm`` and ``ray``; the work is done in :mod:`mmbench.cli`.

Hydra imports every plugin at each start, so nothing heavy is imported before a sweep runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from mmbench.scheduling.sweep import Placement


class Product(BasicSweeper):
    """Enumerates the cells of a sweep, as Hydra's own sweeper does."""

    def __init__(self, params: dict[str, str] | None) -> None:
        super().__init__(max_batch_size=None, params=params)

    def sweep(self, arguments: Sequence[str]) -> list[Sequence[JobReturn]]:
        """Hand all jobs to the launcher at once, which checks every one of them before anything is written."""
        assert self.hydra_context is not None
        assert self.launcher is not None
        words = [*self._parse_config(), *arguments]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        (jobs,) = self.split_arguments(parser.parse_overrides(words), None)
        return [self.launcher.launch(jobs, initial_job_idx=0)]


class LocalLauncher(Launcher):
    """Runs all cells of a sweep on one pool of single-threaded worker processes of this machine."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what is needed to compose the jobs; the task function is not used, cells run in worker processes."""
        self.context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Compose every job, run the sweep, and exit with its code when it is not 0."""
        from mmbench.cli.compose import Composer
        from mmbench.cli.errors import one_line_errors
        from mmbench.cli.run import run

        # Hydra would print a traceback of its own for an exception that leaves here.
        with one_line_errors([f"lang={self.config.lang}", *(["debug=true"] if self.config.debug else [])]):
            words, place = self.config.hydra.overrides, self.config.hydra.sweep.dir
            composer = Composer(self.context.config_loader, words.hydra, self.config)
            code = run([composer.compose(one) for one in job_overrides], list(words.task), place, self.placement())
        if code:
            raise SystemExit(code)
        return [_done(one) for one in job_overrides]

    def placement(self) -> Placement:
        """Where the pools run."""
        from mmbench.scheduling.sweep import LocalPool

        return LocalPool()


class SlurmLauncher(LocalLauncher):
    """Runs a sweep on pools that SLURM starts, through submitit."""

    def __init__(self, allocations: int, cluster: str, dry_run: bool, max_timeouts: int, options: DictConfig) -> None:
        plain = OmegaConf.to_container(OmegaConf.create(options))
        self.arguments = (allocations, cluster, dry_run, max_timeouts, plain)

    def placement(self) -> Placement:
        """Pools on allocations."""
        from mmbench.scheduling.placement import Slurm

        return Slurm(*self.arguments)  # type: ignore[arg-type]


class RayLauncher(LocalLauncher):
    """Runs a sweep on pools that Ray starts."""

    def __init__(self, pools: int, address: str | None, num_cpus: int, num_gpus: float, dry_run: bool) -> None:
        self.arguments = (pools, address, num_cpus, num_gpus, dry_run)

    def placement(self) -> Placement:
        """Pools as Ray tasks."""
        from mmbench.scheduling.placement import Ray

        return Ray(*self.arguments)


def _done(overrides: Sequence[str]) -> JobReturn:
    result: Any = JobReturn()
    result.overrides, result.status, result.return_value = overrides, JobStatus.COMPLETED, None
    return result
