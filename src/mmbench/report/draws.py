"""Which draws of the tuning were run, so that none of them is shown as if it were the only one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmbench import paths
from mmbench.audit.further_tries import plans_beside
from mmbench.store import records
from mmbench.store.schema import Cell, PlannedCell


@dataclass
class Draws:
    """Draws of one data set and model.

    Args:
        here: those with records in this sweep, those that were set aside included.
        elsewhere: names of the sweeps beside it that planned a draw, by the number of the draw.
    """

    here: set[int] = field(default_factory=set)
    elsewhere: dict[int, set[str]] = field(default_factory=dict)


def read_draws(sweep_dir: Path, *, beside: bool = True) -> Mapping[tuple[str, str], Draws]:
    """Draws of every data set (whatever its draw) and model of a sweep, from its records and the plans beside it."""
    found: dict[tuple[str, str], Draws] = {}
    for record in paths.cell_files(sweep_dir):
        cell = records.read(record, Cell)
        found.setdefault(subject(cell), Draws()).here.add(cell.draw)
    for other in plans_beside(sweep_dir) if beside else ():
        for planned in other.cells:
            draws = found.get(subject(planned))
            if draws is not None and planned.draw not in draws.here:
                draws.elsewhere.setdefault(planned.draw, set()).add(other.name)
    return found


def subject(cell: Cell | PlannedCell) -> tuple[str, str]:
    """Data set without the number of its draw, and model."""
    return cell.dataset.removesuffix(f"-draw{cell.draw}"), cell.model
