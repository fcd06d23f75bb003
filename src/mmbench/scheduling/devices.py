"""Which devices the workers of a machine are pinned to, and how many share one.

One rule for every launcher: a pool takes the devices that it sees, which are those that SLURM, Ray or the user named in
``CUDA_VISIBLE_DEVICES``, and divides them among its workers. Of a launcher that was asked for none it takes none.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from mmbench.messages import Message, Refusal
from mmbench.scheduling.configuration import AUTO, Section, SweepConfig
from mmbench.scheduling.pinned import VISIBLE
from mmbench.training.settings import cores_here

#: How the driver names a slice of a card; a process can use one slice only, whatever else it is shown.
SLICE = "MIG-"
#: What a worker on processors is shown.
NONE = ""
#: What versions of SLURM show to a job that asked for no GPU.
UNASKED = "NoDevFiles"


def visible() -> list[str]:
    """Names of the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` takes them.

    Returns:
        Numbers, UUIDs or names of MIG slices, as they were given; empty where the variable names none, and where the
        machine has no GPU, whatever it names.

    Raises:
        ValueError: if the variable names a device that is not there.
    """
    given, found = os.environ.get(VISIBLE), torch.cuda.device_count() if torch.cuda.is_available() else 0
    if given is None:
        return [str(number) for number in range(found)]
    words = (word.strip() for word in given.split(","))
    # CUDA reads up to the first number below zero, which many scripts end the list with.
    names = list(itertools.takewhile(lambda word: word not in ("", UNASKED) and not word.startswith("-"), words))
    if names and not found:
        if there := installed():
            raise Refusal(
                "{variable}={given}: torch finds none of these GPUs, but the driver has {there}; name each of them "
                "once, by its number or UUID, or train on processors with training.accelerator=cpu",
                variable=VISIBLE,
                given=given,
                there=there,
            )
        return []
    slices = any(name.startswith(SLICE) for name in names)  # of which torch counts one
    if len(set(names)) < len(names) or (found < len(names) and not slices):
        raise Refusal(
            "{variable}={given} names {named} GPUs, but torch finds {found} of them here",
            variable=VISIBLE,
            given=given,
            named=len(names),
            found=found,
        )
    return names


def installed() -> int:
    """Number of GPUs that the driver has, whatever the variable names; 0 where torch was not built to use them."""
    if not torch.backends.cuda.is_built():
        return 0
    try:
        return max(0, torch.cuda._raw_device_count_nvml())  # CUDA itself would read the variable
    except OSError:  # the library that comes with the driver is not there
        return 0


@dataclass(frozen=True)
class Layout:
    """Worker processes of a pool.

    Args:
        seats: number of workers by what they see, as ``CUDA_VISIBLE_DEVICES`` names it; :data:`NONE` for processors.
        fixed: whether the user gave the number; otherwise no more workers start than fit into the memory.
    """

    seats: Mapping[str, int]
    fixed: bool = False

    @property
    def size(self) -> int:
        """Workers at most."""
        return sum(self.seats.values())

    @property
    def on_devices(self) -> bool:
        """Whether the workers are pinned to GPUs."""
        return NONE not in self.seats

    def free(self, taken: Sequence[str]) -> str:
        """What the next worker sees: the devices with the most free seats, the first of them at equality.

        Args:
            taken: what each running worker sees.
        """
        running = Counter(taken)
        return max(self.seats, key=lambda devices: self.seats[devices] - running[devices])

    def without(self, devices: str) -> Layout:
        """The layout with one seat less on some devices."""
        seats = Counter(self.seats) - Counter([devices])
        return replace(self, seats=dict(seats))


@dataclass(frozen=True)
class Machine:
    """What a pool may use.

    Args:
        cores: processors.
        groups: GPUs, those of one training together, as ``CUDA_VISIBLE_DEVICES`` names them; empty to train on
            processors.
        per_training: devices, or processes on processors, that share a training.
        whole: whether the GPUs belong to this pool alone; Ray can give it a part of one.
    """

    cores: int
    groups: tuple[str, ...] = ()
    per_training: int = 1
    whole: bool = True

    @staticmethod
    def of(training: Section, names: Sequence[str], cores: int, *, whole: bool = True) -> Machine:
        """What a pool may use of a machine.

        Args:
            training: section of the configuration.
            names: the GPUs that are there.
            cores: the processors that are there.
            whole: as above.

        Raises:
            ValueError: where ``training.accelerator`` or ``training.devices`` asks for what is not there.
        """
        accelerator, each = training["accelerator"], training["devices"]
        if accelerator == "cpu" or (accelerator == "auto" and not names):
            if each > cores:
                raise Refusal(
                    "training.devices={devices}, but this machine has {cores} processors", devices=each, cores=cores
                )
            return Machine(cores, (), each, whole)
        if not names:
            raise Refusal("training.accelerator=gpu, but there is no GPU for a worker; use cpu or auto")
        if each > len(names):
            raise Refusal("training.devices={devices}, but this machine has {gpus} GPUs", devices=each, gpus=len(names))
        if each > 1 and any(name.startswith(SLICE) for name in names):
            raise Refusal(
                "training.devices={devices}, but a training can use only one MIG slice; leave training.devices=1",
                devices=each,
            )
        starts = range(0, len(names) - each + 1, each)
        return Machine(cores, tuple(",".join(names[one : one + each]) for one in starts), each, whole)

    @staticmethod
    def here(training: Section, cores: int | None = None, gpus: float | None = None) -> Machine:
        """What a pool of this process may use.

        Args:
            training: section of the configuration.
            cores: processors that it was given, if the process may run on so many; None for all that it may run on.
            gpus: GPUs, or the part of one, that it was given; None for all that the process sees.

        Raises:
            ValueError: as :meth:`of` and :func:`visible`.
        """
        # Neither Ray nor SLURM hides the GPUs of a machine from what asked for none of them.
        names = [] if training["accelerator"] == "cpu" or gpus == 0 else visible()
        # SLURM keeps a process to its processors only where the cluster is set up so.
        allowed = min(cores or cores_here(), cores_here())
        return Machine.of(training, names, allowed, whole=gpus is None or gpus == int(gpus))

    @property
    def most_per_device(self) -> int:
        """Workers per device without which a processor would have more than one process to run."""
        return max(1, self.cores // max(1, len(self.groups) * self.per_training))

    def needs_pilot(self, sweep: SweepConfig) -> bool:
        """Whether only a pilot can tell how many workers a device takes."""
        asked = sweep.workers is None and sweep.workers_per_device == AUTO
        return asked and bool(self.groups) and self.whole and self.most_per_device > 1

    def layout(self, sweep: SweepConfig, measured: Mapping[str, int] | None = None) -> Layout:
        """The workers of a pool.

        Args:
            sweep: what the user asks for.
            measured: workers that a pilot found useful, by device; None for one on each.
        """
        if not self.groups:
            return Layout({NONE: sweep.workers or max(1, self.cores // self.per_training)}, sweep.workers is not None)
        n = len(self.groups)
        if sweep.workers is not None:  # spread evenly
            counts = (sweep.workers // n + (place < sweep.workers % n) for place in range(n))
            return Layout({group: count for group, count in zip(self.groups, counts, strict=True) if count}, True)
        if sweep.workers_per_device != AUTO:
            return Layout(dict.fromkeys(self.groups, int(sweep.workers_per_device)), True)
        return Layout(measured or dict.fromkeys(self.groups, 1))

    def described(self, sweep: SweepConfig, measured: Mapping[str, int] | None = None) -> Message:
        """How many workers on which devices."""
        layout = self.layout(sweep, measured)
        if not self.groups:
            if layout.fixed:
                return Message.counted("{n} worker on processors", "{n} workers on processors", layout.size)
            return Message.counted(
                "{n} worker on processors, as far as the memory goes",
                "{n} workers on processors, as far as the memory goes",
                layout.size,
            )
        if measured is None and self.needs_pilot(sweep):
            return Message(
                "GPU {devices}: as many workers on each as a pilot finds room and use for, {most} at most",
                devices=listed(self.groups),
                most=self.most_per_device,
            )
        counts = set(layout.seats.values())
        each = str(counts.pop()) if len(counts) == 1 else f"{min(layout.seats.values())}-{max(layout.seats.values())}"
        return Message.counted(
            "{n} worker on GPU {devices}",
            "{n} workers, {each} on each of GPU {devices}",
            layout.size,
            each=each,
            devices=listed(list(layout.seats)),
        )


def listed(groups: Sequence[str]) -> str:
    """Names of devices; those of one training are joined."""
    return ", ".join(group.replace(",", "+") for group in groups)
