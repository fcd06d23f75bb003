"""GPUs that are not there, and notes of what a process sees when it imports torch and when it begins as a worker.

Pretended are the answers of torch to the process that lays out a pool. Workers find no GPU and train on processors,
pinned as they would be.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

#: File to which every process adds a line when it imports torch, and a worker when it begins.
NOTES = "MMBENCH_TEST_TORCH_NOTES"
#: Number of GPUs that processes of Ray find.
THERE = "MMBENCH_TEST_GPUS"
#: Run by Python at the start of every process that finds it on its path.
CUSTOMIZE = f'''
import functools, importlib.util, os, sys

def note(what):
    with open(os.environ["{NOTES}"], "a") as notes:
        notes.write(f"{{what}} {{os.getpid()}} {{os.environ.get('CUDA_VISIBLE_DEVICES', '-')}}\\n")

class Note:
    """Notes the first import of torch, and lets workers note that they begin; leaves the imports to the others.

    Workers go on although their GPUs are not there.
    """

    left = {{"torch", "mmbench.scheduling.worker"}}

    def find_spec(self, name, path=None, target=None):
        if name not in self.left:
            return None
        self.left.remove(name)
        if name == "torch":
            note("import")
            return None
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def executed(module):
            execute(module)
            begin = module.start
            module._lacks_gpus = lambda: False

            @functools.wraps(begin)
            def start(*given):
                note("worker")
                begin(*given)

            module.start = start

        spec.loader.exec_module = executed
        return spec

sys.meta_path.insert(0, Note())
'''


def noting(folder: Path) -> Mapping[str, str]:
    """Environment of a command whose processes all note what they see."""
    (folder / "sitecustomize.py").write_text(CUSTOMIZE)
    root = Path(__file__).parents[1]  # for processes of Ray, which start elsewhere
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH"), str(root)]))
    return {**os.environ, "PYTHONPATH": path, NOTES: str(folder / "notes")}


def noted(folder: Path, what: str) -> dict[int, str]:
    """Value of ``CUDA_VISIBLE_DEVICES`` by process; ``-`` where it was not set.

    Args:
        folder: of :func:`noting`.
        what: ``import`` of torch, or ``worker``, which began.
    """
    lines = (line.split(" ", 2) for line in (folder / "notes").read_text().splitlines())
    return {int(pid): seen for kind, pid, seen in lines if kind == what}


def found(named: str | None, there: int) -> int:
    """How many of the GPUs that are there torch would find: none behind the first that is not."""
    if named is None:
        return there
    names = [word.strip() for word in named.split(",")]
    if names[0].startswith("MIG-"):
        return 1
    good = [name.isdigit() and int(name) < there for name in names]
    return (good.index(False) if False in good else len(good)) if len(set(names)) == len(names) else 0


def pretend(there: int) -> ExitStack:
    """Let torch find so many GPUs in this process, as ``CUDA_VISIBLE_DEVICES`` selects them, until the stack is closed.

    The driver has all of them, whatever the variable says.
    """
    import torch

    def count() -> int:
        return found(os.environ.get("CUDA_VISIBLE_DEVICES"), there)

    pretended = ExitStack()
    pretended.enter_context(mock.patch.multiple(torch.cuda, is_available=lambda: count() > 0, device_count=count))
    # Its answer and none of torch's own about how it was built: from those torch concludes what it can import.
    pretended.enter_context(mock.patch("mmbench.scheduling.devices.installed", return_value=there))
    return pretended


def keep_pretending() -> None:
    """Let torch find the GPUs that a Ray cluster pretends to have, in a process that Ray starts for its tasks."""
    pretend(int(os.environ[THERE]))


def start_ray(there: int) -> None:
    """Start a Ray cluster on this machine that counts so many GPUs and gives them to its tasks by itself."""
    import ray

    variables = {THERE: str(there)}
    hook = keep_pretending.__module__ + "." + keep_pretending.__name__
    environment = {"env_vars": variables, "worker_process_setup_hook": hook.replace("__main__", "tests.pretended")}
    # Workers are as urgent as the tests beside them, and none starts, with torch, before it has a task.
    settings = {"worker_niceness": 0, "prestart_worker_first_driver": False}
    ray.init(num_cpus=8, num_gpus=there, include_dashboard=False, runtime_env=environment, _system_config=settings)


if __name__ == "__main__":
    from mmbench.cli import main

    number = int(sys.argv.pop(1))
    if "hydra/launcher=ray" in sys.argv:
        start_ray(number)
        main()
    else:
        with pretend(number):
            main()
