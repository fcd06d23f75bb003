"""MLflow: a SQLite store and a folder of artefacts in the folder of the sweep, and no server.

MLflow reports its use over the network unless its environment forbids it, and takes 100 MB. So it works in a process of
its own (:mod:`mmbench.store.trackers.mlflow_process`), with an environment that forbids it and that no address of a
tracking server reaches.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmbench import paths
from mmbench.store import files
from mmbench.store.trackers import mlflow_process
from mmbench.store.trackers.mirrored import Client, Run

#: What keeps MLflow off the network.
SILENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
#: Seconds in which the process ends once nothing more comes.
PATIENCE = 30


@dataclass
class MlflowClient(Client):
    """Writes runs of one experiment, which has the name of the sweep.

    Args:
        sweep_dir: folder of the sweep; ``mlflow/mlflow.db`` and ``mlflow/artifacts`` lie in it.
    """

    sweep_dir: Path
    process: subprocess.Popen[str] | None = field(init=False, default=None, compare=False)

    title = "MLflow"
    library = extra = "mlflow"

    def show(self, run: Run) -> None:
        """A run; one of the same identity is deleted, as MLflow does it: it can be restored.

        Raises:
            RuntimeError: with what MLflow said.
        """
        # One at a time: SQLite lets one write, and the first one makes the tables.
        with files.locked(paths.lock_file(self.sweep_dir, "mlflow")):
            self.process = self.process or self._started()
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.write(json.dumps(_as_json(run)) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"its process ended with code {self.process.wait(PATIENCE)}")
        if error := json.loads(answer)["error"]:
            raise RuntimeError(error)

    def _started(self) -> subprocess.Popen[str]:
        folder = paths.mirror_dir(self.sweep_dir, "mlflow").resolve()
        files.make_folder(folder)
        own = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        command = [sys.executable, "-P", mlflow_process.__file__, str(folder)]
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env={**own, **SILENT},
            cwd=folder,  # what MLflow makes beside its store lies there too
        )

    def close(self) -> None:
        """End the process, also one that does not end by itself."""
        process, self.process = self.process, None
        if process is not None:
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                process.communicate(timeout=PATIENCE)
            process.kill()


def _as_json(run: Run) -> dict[str, Any]:
    return {
        "experiment": run.sweep,
        "identity": run.identity,
        "name": run.name,
        "kind": run.kind,
        "config": run.flat_config,
        "steps": [[step, dict(values)] for step, values in run.steps],
        "results": dict(run.results),
        "texts": {f"report/{name}.csv": _csv([grid.columns, *grid.rows]) for name, grid in run.tables.items()},
        "files": {name: str(file.resolve()) for name, file in run.figures.items()},
    }


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
