"""How a model is trained; the same rule for every condition."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from mmbench.messages import Message, Refusal
from mmbench.training import compilation, neighbour_search
from mmbench.training.control_groups import Group, groups
from mmbench.training.stopping import StoppingRule

#: Files, by version of the control groups, that tell a group's time of processors in a period, and the period.
QUOTA = {1: ("cpu.cfs_quota_us", "cpu.cfs_period_us"), 2: ("cpu.max",)}
ACCELERATORS = ("cpu", "gpu", "auto")
#: Half-precision parameters (16-true, bf16-true) are none of them: graphs have no sparse products in them on a CPU, and
#: scores of so few digits tie.
PRECISIONS = ("32-true", "64-true", "bf16-mixed", "16-mixed")
#: Those of a compiled training. In mixed precision a compiled step keeps in single precision what a step of separate
#: operations rounds in between.
COMPILED_PRECISIONS = ("32-true", "64-true")


@dataclass(frozen=True)
class TrainingSettings:
    """How long and how a model is trained; the same rule for every condition.

    Args:
        stopping: when a training ends.
        batch_size: triplets per step; the last short batch is kept.
        batches_per_epoch: steps per epoch at most, or None for all.
        lr: learning rate of Adam.
        weight_decay: L2 term of Adam.
        accelerator: ``cpu``, ``gpu`` or ``auto``.
        devices: devices that share every batch; more than one needs a model that allows it.
        precision: Lightning's precision flag, one of :data:`PRECISIONS`.
        neighbours: how item graphs are found, one of :data:`mmbench.training.neighbour_search.MODES`.
        compile: whether the loss is compiled by torch, for models that allow it; results are the same up to rounding.
        rungs: epoch and validation score; a training whose best score up to that epoch is lower stops there.
    """

    stopping: StoppingRule
    batch_size: int = 2048
    batches_per_epoch: int | None = None
    lr: float = 1e-3
    weight_decay: float = 0.0
    accelerator: str = "cpu"
    devices: int = 1
    precision: str = "32-true"
    neighbours: str = "exact"
    compile: bool = False
    rungs: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        if self.accelerator == "mps":
            raise Refusal(
                "training.accelerator=mps: Apple's GPU has no double precision and is not supported; use cpu or auto"
            )
        if self.accelerator not in ACCELERATORS:
            raise Refusal(
                "training.accelerator={accelerator} is unknown; it is {accelerators}; this machine has {here}",
                accelerator=self.accelerator,
                accelerators=", ".join(ACCELERATORS),
                here=devices_here(),
            )
        neighbour_search.check_mode(self.neighbours)
        if self.precision not in PRECISIONS:
            raise Refusal(
                "training.precision={precision} is unknown; it is {precisions}",
                precision=self.precision,
                precisions=", ".join(PRECISIONS),
            )
        if not isinstance(self.compile, bool):
            raise Refusal("{key}={value} must be true or false", key="training.compile", value=self.compile)
        counts = {"training.batch_size": self.batch_size, "training.devices": self.devices}
        if self.batches_per_epoch is not None:
            counts["budget.batches_per_epoch"] = self.batches_per_epoch
        for name, number in counts.items():
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise Refusal("{key}={value} must be a whole number of at least 1", key=name, value=number)
        if self.compile and (self.devices > 1 or self.precision not in COMPILED_PRECISIONS):
            raise Refusal(
                "training.compile=true goes with training.devices=1 and training.precision={precisions} alone",
                precisions=", ".join(COMPILED_PRECISIONS),
            )
        if not (isinstance(self.lr, int | float) and 0 < self.lr < math.inf):
            raise Refusal("{key}={value} must be a positive number", key="optimizer.lr", value=self.lr)
        if not (isinstance(self.weight_decay, int | float) and 0 <= self.weight_decay < math.inf):
            raise Refusal(
                "{key}={value} must be a number of at least 0", key="optimizer.weight_decay", value=self.weight_decay
            )

    @property
    def device(self) -> torch.device:
        """The device that ``accelerator`` means on this machine."""
        return device_of(self.accelerator)

    @property
    def is_double(self) -> bool:
        """Whether parameters and scores are in double precision."""
        return self.precision == "64-true"


def device_of(accelerator: str) -> torch.device:
    """The device that one of :data:`ACCELERATORS` means on this machine."""
    if accelerator == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device({"gpu": "cuda"}.get(accelerator, accelerator))


def cores_here(root: Path = Path("/")) -> int:
    """Processors that this process may keep busy: those that it may run on, or what its control groups allow of them.

    Args:
        root: where ``proc`` and ``sys`` are mounted.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(itertools.chain([allowed], *map(_quota, groups("cpu", root))))


def _quota(group: Group) -> Iterator[int]:
    """Processors' worth of time that a group grants its processes, begun ones counted whole; nothing for all of it."""
    microseconds = " ".join(map(group.text, QUOTA[group.version])).split()
    if len(microseconds) == 2 and all(map(str.isdigit, microseconds)):  # none is -1, or max
        yield math.ceil(int(microseconds[0]) / int(microseconds[1]))


def devices_here() -> Message:
    """What this machine can train on, as the end of a sentence."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Message("CPU cores: {cores}, GPUs that torch finds: {gpus}", cores=cores_here(), gpus=gpus)


def check_machine(accelerator: str, precision: str, *, compiled: bool = False) -> None:
    """Refuse settings that this machine cannot train with, before anything runs on it.

    Raises:
        ValueError: for a GPU where there is none, for a precision that a CPU does not have, and as
            :func:`mmbench.training.compilation.check_compiler`.
    """
    if not torch.cuda.is_available():
        if accelerator == "gpu":
            raise Refusal(
                "training.accelerator=gpu, but torch finds no GPU here; use cpu or auto; this machine has {here}",
                here=devices_here(),
            )
        if precision == "16-mixed":
            raise Refusal(
                "training.precision=16-mixed needs a GPU; a CPU has bf16-mixed; this machine has {here}",
                here=devices_here(),
            )
    if compiled:
        compilation.check_compiler(device_of(accelerator))
