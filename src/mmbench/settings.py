"""How a model is trained; the same rule for every condition."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from mmbench import graphs
from mmbench.messages import Refusal

ACCELERATORS = ("cpu", "gpu", "auto")
PRECISIONS = ("32-true", "64-true", "bf16-mixed", "16-mixed")


@dataclass(frozen=True)
class TrainingSettings:
    """How long and how a model is trained; the same rule for every condition.

    Args:
        max_epochs: epochs at most.
        patience: epochs without a better validation score before training stops.
        batch_size: triplets per step; the last short batch is kept.
        batches_per_epoch: steps per epoch at most, or None for all.
        lr: learning rate of Adam.
        weight_decay: L2 term of Adam.
        accelerator: ``cpu``, ``gpu`` or ``auto``.
        devices: devices that share every batch; more than one needs a model that allows it.
        precision: Lightning's precision flag, one of :data:`PRECISIONS`.
        neighbours: how item graphs are found, one of :data:`mmbench.graphs.MODES`.
        rungs: epoch and validation score; a training whose best score up to that epoch is lower stops there.
    """

    max_epochs: int
    patience: int
    batch_size: int = 2048
    batches_per_epoch: int | None = None
    lr: float = 1e-3
    weight_decay: float = 0.0
    accelerator: str = "cpu"
    devices: int = 1
    precision: str = "32-true"
    neighbours: str = "exact"
    rungs: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        if self.accelerator not in ACCELERATORS:
            raise Refusal(
                "training.accelerator={accelerator} is unknown; it is {accelerators}",
                accelerator=self.accelerator,
                accelerators=", ".join(ACCELERATORS),
            )
        graphs.check_mode(self.neighbours)
        if self.precision not in PRECISIONS:
            raise Refusal(
                "training.precision={precision} is unknown; it is {precisions}",
                precision=self.precision,
                precisions=", ".join(PRECISIONS),
            )
        for name, number in (("batch_size", self.batch_size), ("devices", self.devices)):
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise Refusal(
                    "{key}={value} must be a whole number of at least 1", key=f"training.{name}", value=number
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
        if self.accelerator == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device({"gpu": "cuda"}.get(self.accelerator, self.accelerator))
