"""Compiled losses: which models may have them, what they take of a machine, and how they are made."""

from __future__ import annotations

import atexit
import functools
import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmbench import models
from mmbench.messages import Refusal
from mmbench.nn.recommender import Triplets

Loss = Callable[[Triplets], dict[str, Tensor]]
#: Variable of the environment that names torch's folder of kernels.
KERNELS = "TORCHINDUCTOR_CACHE_DIR"
#: Compiles a line, or ends with the reason why it cannot be done.
TRIAL = """
import sys, torch
try:
    torch.compile(lambda x: 2 * x + 1)(torch.ones(2, device=sys.argv[1]))
except Exception as error:
    lines = [line for line in str(error).splitlines() if line and not line.startswith("backend=")]
    sys.exit(lines[0] if lines else type(error).__name__)
"""


def may_compile() -> list[str]:
    """Models of the package that may be compiled, by the words that choose them."""
    names = [module.name for module in pkgutil.iter_modules(models.__path__)]
    homes = {name: vars(importlib.import_module(f"{models.__name__}.{name}")).values() for name in names}
    return sorted(
        name
        for name, parts in homes.items()
        if any(isinstance(p, type) and getattr(p, "compiles", False) for p in parts)
    )


def check_compiler(device: torch.device) -> None:
    """Refuse to compile where torch cannot.

    Args:
        device: what is compiled for.

    Raises:
        ValueError: with torch's reason.
    """
    if reason := _why_not(device.type):
        raise Refusal(
            "training.compile=true: torch cannot compile here ({reason}); it needs a C++ compiler such as g++, and on "
            "a GPU triton; install them, or leave training.compile=false",
            reason=reason,
        )


@functools.cache
def _why_not(device: str) -> str:
    """Why torch cannot compile for a device; empty if it can.

    A process of its own tries it, with an empty folder of kernels: one that has used a GPU hands none on to those that
    are forked from it.
    """
    with tempfile.TemporaryDirectory() as kernels:
        command, environment = [sys.executable, "-c", TRIAL, device], {**os.environ, KERNELS: kernels}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    return done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"


@functools.cache
def compiler() -> str:
    """Name and version of the C++ compiler that torch uses; empty without one."""
    from torch._inductor import cpp_builder  # takes a second, and only what is compiled needs it

    try:
        said = subprocess.run([cpp_builder.get_cpp_compiler(), "--version"], capture_output=True, text=True, check=True)
    except (RuntimeError, OSError, subprocess.SubprocessError):
        return ""
    return said.stdout.partition("\n")[0]


def compiled(loss: Loss) -> Loss:
    """A loss as torch compiles it; :func:`forget` has to follow its training.

    Whatever cannot be compiled runs as it is between the parts that are: sparse graphs, draws of named streams, counts
    of distinct rows.

    Args:
        loss: method of a model.
    """
    from torch._inductor import config, list_options  # takes seconds, and only what is compiled needs it

    config.compile_threads = 1  # a worker has one processor, and the others have workers of their own
    # No kernel is chosen by how fast it ran, so that the same training gives the same bits; older torch has no such
    # option.
    options: dict[str, str | int | bool | Callable[..., Any]] = {}
    if "deterministic" in list_options():
        options["deterministic"] = True
    return torch.compile(loss, options=options)


def forget() -> None:
    """Drop what was compiled.

    Torch compiles a method anew for models of other weights and gives up after some, so that a training would depend on
    how many its process has had before.
    """
    torch.compiler.reset()


def distrust_kernels() -> None:
    """Let this process compile everything anew, in a folder of its own that goes with it.

    A compiler whose process is killed writes on for a while, or leaves half a file, and torch loads what it finds.
    """
    from torch._inductor.utils import clear_caches

    os.environ[KERNELS] = folder = tempfile.mkdtemp(prefix="mmbench-kernels-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    clear_caches()
