"""TensorBoard: event files in a folder per run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmbench import paths
from mmbench.store.trackers.mirrored import Client, Grid, Run, Value


@dataclass(frozen=True)
class TensorBoardClient(Client):
    """Writes scalars, texts and images.

    Args:
        sweep_dir: folder of the sweep; event files lie in its ``tensorboard`` folder.
    """

    sweep_dir: Path

    title = "TensorBoard"
    library = extra = "tensorboard"

    def show(self, run: Run) -> None:
        """The event file of a run; TensorBoard would show those of an earlier showing on top of it, so they go."""
        import numpy as np
        from PIL import Image
        from torch.utils.tensorboard import SummaryWriter

        folder = paths.mirrored_run_dir(self.sweep_dir, "tensorboard", run.cell, run.title)
        for file in folder.glob("events.out.tfevents.*"):
            file.unlink()
        with SummaryWriter(str(folder)) as writer:
            _add(writer, {f"config/{path}": str(value) for path, value in run.flat_config.items()}, None)
            for step, values in run.steps:
                _add(writer, values, step)
            _add(writer, run.results, None)
            for name, grid in run.tables.items():
                writer.add_text(f"report/{name}", _markdown(grid))
            for name, file in run.figures.items():
                with Image.open(file) as picture:
                    writer.add_image(f"figures/{name}", np.asarray(picture.convert("RGB")), dataformats="HWC")


def _add(writer: Any, values: Mapping[str, Value], step: int | None) -> None:
    """Numbers as scalars, words as texts; what is missing or no number is left out."""
    for name, value in values.items():
        if isinstance(value, str):
            writer.add_text(name, value, step)
        elif value is not None and math.isfinite(value):
            writer.add_scalar(name, float(value), step)


def _markdown(grid: Grid) -> str:
    rows = [grid.columns, ["---"] * len(grid.columns), *grid.rows]
    cells = (["" if cell is None else str(cell).replace("|", "\\|") for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
