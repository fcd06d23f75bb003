"""Plain CSV files: a folder per run, with its curves, what it ends with, and its tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mmbench import paths
from mmbench.data.spreadsheet import csv_text
from mmbench.store import files
from mmbench.store.trackers.mirrored import Client, Grid, Run


@dataclass(frozen=True)
class CsvClient(Client):
    """Writes ``metrics.csv`` (a row per step), ``summary.csv`` (key, value) and a file per table.

    Args:
        sweep_dir: folder of the sweep; the files lie in its ``csv`` folder.
    """

    sweep_dir: Path

    title = "CSV"

    def show(self, run: Run) -> None:
        """The files of a run; those of an earlier showing are replaced."""
        folder = paths.mirrored_run_dir(self.sweep_dir, "csv", run.cell, run.title)
        config = {f"config/{path}": value for path, value in run.flat_config.items()}
        grids = {"summary": Grid(["key", "value"], [*{**config, **run.results}.items()]), **run.tables}
        frames = {
            name: pd.DataFrame([*grid.rows], columns=[*grid.columns], dtype=object) for name, grid in grids.items()
        }
        if run.steps:
            frames["metrics"] = pd.DataFrame([{"step": step, **values} for step, values in run.steps], dtype=object)
        for name, frame in frames.items():
            files.write_text(folder / f"{paths.slug([name])}.csv", csv_text(frame))
