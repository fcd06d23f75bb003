"""What a model costs to run: rebuilt from its records and timed on one thread of the processor."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from mmbench import paths
from mmbench.data.recdata import make_recdata
from mmbench.decision.gates import IMAGE
from mmbench.messages import Refusal
from mmbench.report.table import CellResult, SweepTable
from mmbench.scheduling.configuration import JobConfig
from mmbench.scheduling.job import Job
from mmbench.scheduling.trust import NotVouchedFor
from mmbench.store import records
from mmbench.store.bounds import Damaged
from mmbench.store.files import read_state
from mmbench.store.schema import ID_ONLY, Cell, FinalRun
from mmbench.training.fit import rebuild

BATCH, LIST = 256, 20
#: Repetitions; the median counts.
ONCE, MANY = 15, 3
#: Numbers of a table of users and items, at most: the record of a model says how many, and nobody else does.
MOST_PARAMETERS = 1 << 28


@dataclass(frozen=True)
class Serving:
    """One model under one condition.

    Args:
        model: its model.
        modality: its condition.
        score: primary metric on the test split.
        one_ms: milliseconds to rank all items for one user.
        batch_ms: milliseconds for a user in a batch.
        parameters: trained numbers; None where the records do not say.
    """

    model: str
    modality: str
    score: float
    one_ms: float
    batch_ms: float
    parameters: int | None


def measure_serving(table: SweepTable, dataset: str) -> list[Serving]:
    """Latency of every model of a data set: with everything, without images, and those that ignore content.

    A model that cannot be rebuilt here, for example because its file or its data are gone, is left out.

    Raises:
        Damaged: for a file that is empty, cut or overwritten.
        NotVouchedFor: for a model of a class that only its record names.
    """
    servings = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for (name, _, _), cell in table.cells.items():
            if name == dataset and cell.status == "done" and not cell.parts and _shown(cell):
                try:
                    servings.append(_measure(cell, table))
                except NotVouchedFor:
                    raise
                except Damaged as error:
                    if error.path.exists():
                        raise
                except (ValueError, OSError, KeyError, RuntimeError):
                    continue
    finally:
        torch.set_num_threads(threads)
    return sorted(servings, key=lambda s: -s.score)


def _shown(cell: CellResult) -> bool:
    others = {state for name, state in cell.states.items() if name != IMAGE}
    whole = others <= {"real"} and cell.states.get(IMAGE) in ("real", "drop")
    return cell.modality == ID_ONLY or whole


def _measure(cell: CellResult, table: SweepTable) -> Serving:
    record = records.read(paths.cell_file(cell.folder), Cell)
    names = {"model": cell.model, "modality": cell.modality}
    job = Job(JobConfig.of_record(record.located_config), names, (), table.folder, table.trust)
    task, seed = job.task(), cell.seeds[0]
    final = records.read(paths.final_file(cell.folder, seed, paths.RECORD), FinalRun)
    _check_widths({**record.config["model"], **final.configuration}, task.train.n_users + task.train.n_items)
    build, trained = task.recipe(final.configuration)
    settings = replace(trained, accelerator="cpu")  # whose calls return when they are done
    file = paths.final_file(cell.folder, seed, paths.STATE)
    state = read_state(file) if final.state_hash else {}
    model = rebuild(build, make_recdata(task.train, task.inputs(final.seed)), state, settings, final.seed)
    n_users, n_items = task.train.n_users, task.train.n_items

    def rank(first: int, n: int) -> None:
        users = torch.arange(first, first + n, device=settings.device) % n_users
        model.score(users).topk(min(LIST, n_items), dim=1)

    with torch.no_grad():
        rank(0, 1)  # what is computed once is not latency
        one = _milliseconds(lambda turn: rank(turn, 1), ONCE)
        batch = _milliseconds(lambda turn: rank(turn * BATCH, BATCH), MANY) / BATCH
    return Serving(cell.model, cell.modality, cell.mean(table.primary), one, batch, final.n_parameters)


def _check_widths(values: Mapping[str, Any], rows: int) -> None:
    """Refuse a model of which a record says that it is wider than a table of its users and items may be."""
    widths = [value for value in values.values() if type(value) is int]
    if (widest := max(widths, default=0)) * rows > MOST_PARAMETERS:
        raise Refusal("a model with {widest} numbers for each of {rows} rows is too large", widest=widest, rows=rows)


def _milliseconds(call: Callable[[int], None], times: int) -> float:
    """Median time of a call."""
    taken = []
    for turn in range(times):
        began = time.perf_counter()
        call(turn)
        taken.append(time.perf_counter() - began)
    return 1000 * sorted(taken)[times // 2]
