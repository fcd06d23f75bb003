"""Whether a study comes out again: ``python -m tests.studies.rerun NAME`` runs cells of it anew.

The hash of its records, which nobody chose, draws them among those that read content; among all with more than one
training where none does. Each training is compared with the published one: seed, configuration, epochs, both scores
(``trials.csv``), and the rank of every held-out item (``ranks.parquet``). Neither the records of the study nor anything
that was computed for it is read, so everyone with the data can do the same. What came out stands in
``studies/NAME/rerun.json``, and ``python -m tests.studies.answer`` writes it beside the audits.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

import mmbench
from mmbench.cli.errors import one_line_errors
from mmbench.report.fairness_checks import read_groups
from mmbench.report.reading import read_sweep
from mmbench.store import files, records
from mmbench.store.schema import ID_ONLY, Manifest
from tests.studies import kept, sweeps
from tests.studies.sweeps import ROOT

RERUN = "rerun.json"
TRIALS = "trials.csv"
#: What names a training, and its scores.
NAMES = ["dataset", "model", "modality", "stage", "number"]
SCORES = ["validation", "test"]
#: The condition without content of a model that can read it.
NO_CONTENT = "none"
#: Not compared: how long a training took, and whether its configuration was chosen, which follows from the scores.
BESIDE = ["seconds", "chosen"]
#: Settings of the command that say which part of a study runs, and where: those of a single cell take their place.
NARROWED = ("sweep.name", "sweep.workers", "model", "modality", "tracking")


class Rerun(msgspec.Struct, frozen=True):
    """What came out of the cells that were run again.

    Args:
        day: when.
        root: of the records that the study was published from.
        versions: of the program that ran them.
        cells: ``model/condition`` of each.
        trainings: number of their trainings, over all data sets of the study.
        same: how many of them are the same to the last digit.
        distance: largest difference of a score.
        ranks: number of held-out items that have a rank in a trial of both.
        other_ranks: how many of these ranks differ.
    """

    day: str
    root: str
    versions: dict[str, str]
    cells: list[str]
    trainings: int
    same: int
    distance: float
    ranks: int
    other_ranks: int


class Cell(NamedTuple):
    """One condition of one model, in all data sets of a study.

    Attributes:
        model: the model.
        modality: the condition; "-" for a model that reads no content.
    """

    model: str
    modality: str

    def __str__(self) -> str:
        return f"{self.model}/{self.modality}"


def drawn(trials: pd.DataFrame, root: str, n: int) -> list[Cell]:
    """The cells that the root draws.

    Args:
        trials: of a study.
        root: hash of its records.
        n: how many.

    >>> table = pd.DataFrame({"model": ["ease"] * 2 + ["popularity"], "modality": ["-"] * 3})
    >>> drawn(table, "5f", 3)
    [Cell(model='ease', modality='-')]
    >>> drawn(pd.concat([table, pd.DataFrame({"model": ["vbpr"] * 2, "modality": ["text"] * 2})]), "5f", 3)
    [Cell(model='vbpr', modality='text')]
    """
    sizes = trials.groupby(["model", "modality"]).size()
    several = [Cell(*map(str, name)) for name in sizes[sizes > 1].index]
    cells = [cell for cell in several if cell.modality not in (ID_ONLY, NO_CONTENT)] or several
    return sorted(cells, key=lambda cell: hashlib.sha256(f"{root}/{cell}".encode()).digest())[:n]


def place_of(cell: Cell) -> str:
    """Its name as that of a folder."""
    return f"{cell.model}_{cell.modality}"


def of(trials: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """The trainings of a cell."""
    return trials[(trials.model == cell.model) & (trials.modality == cell.modality)]


def command(plan: Manifest, cell: Cell, sweep: str) -> list[str]:
    """The command of a study for one of its cells alone.

    Args:
        plan: of the study.
        cell: which runs.
        sweep: name of the sweep in which it runs.
    """
    others = [word for word in plan.command if word.lstrip("+").partition("=")[0] not in NARROWED]
    modality = NO_CONTENT if cell.modality == ID_ONLY else cell.modality
    return [*others, f"sweep.name={sweep}", f"model={cell.model}", f"modality={modality}", "tracking=none"]


def trained(published: pd.DataFrame, again: pd.DataFrame) -> tuple[int, float]:
    """How many trainings are the same, and the largest difference of a score.

    Args:
        published: rows of ``trials.csv``.
        again: the trainings that were run again.

    Raises:
        ValueError: if they are not trainings of the same seeds and configurations.
    """
    named = [frame.set_index(NAMES).sort_index() for frame in (published, again)]
    columns = [column for column in named[0] if column not in BESIDE and named[0][column].notna().any()]
    first, second = (frame.reindex(columns=columns) for frame in named)
    if not first.index.equals(second.index):
        raise ValueError(f"{len(second)} trainings have other names than the {len(first)} published ones")
    asked = ["seed", *(column for column in columns if "." in column)]
    for column in asked:
        if not _equal(first[column], second[column]).all():
            raise ValueError(f"{column} differs from the published trainings")
    same = np.logical_and.reduce([_equal(first[column], second[column]) for column in columns])
    gaps = np.abs(first[SCORES].to_numpy(float) - second[SCORES].to_numpy(float))
    return int(same.sum()), float(np.nanmax(gaps, initial=0.0))


def _equal(first: pd.Series, second: pd.Series) -> NDArray[np.bool_]:
    """Where two columns hold the same, or both nothing."""
    return ((first == second) | (first.isna() & second.isna())).to_numpy(bool)


def ranked(folder: Path, again: Path, cells: Sequence[Cell]) -> Iterator[tuple[int, int]]:
    """Of each cell the number of ranks that both have, and how many of them differ.

    Args:
        folder: of the study.
        again: folder with the ranks of the cells that were run again.
        cells: which.

    Raises:
        ValueError: if their held-out items belong to other users.
    """
    for cell in cells:
        of_both = []
        for file in (folder / kept.RANKS, again / place_of(cell) / kept.RANKS):
            kept_ranks = pq.read_table(file, columns=["dataset", "user", str(cell)])
            of_both.append(kept_ranks.to_pandas().sort_values(["dataset", "user"], kind="stable"))
        first, second = of_both
        if not np.array_equal(first[["dataset", "user"]].astype(str), second[["dataset", "user"]].astype(str)):
            raise ValueError(f"{cell} has other held-out items")
        ranks = [np.stack(frame[str(cell)].to_list()).astype(float) for frame in of_both]
        both = np.isfinite(ranks[0]) & np.isfinite(ranks[1])
        yield int(both.sum()), int((ranks[0] != ranks[1])[both].sum())


def rerun(name: str, n: int) -> Rerun:
    """Run cells of a published study again and compare them.

    Args:
        name: of the study.
        n: how many cells.

    Raises:
        ValueError: if what ran is not what was published: other seeds, configurations or held-out items.
    """
    folder = ROOT / "studies" / name
    plan = records.read(folder / kept.PLAN, Manifest)
    root = files.read_document(folder / kept.TUNING)["root"]
    trials = pd.read_csv(folder / TRIALS)
    cells = drawn(trials, root, n)
    own, parts = [], []
    versions: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for cell in cells:
            sweep = ROOT / "multirun" / f"rerun_{name}_{place_of(cell)}"
            shutil.rmtree(sweep, ignore_errors=True)
            sweeps.mmbench(*command(plan, cell, sweep.name))
            table = read_sweep(sweep)
            groups = read_groups(table, sweep)
            place = Path(scratch) / place_of(cell)
            place.mkdir()
            kept.write(table, groups, place)
            parts.append(of(mmbench.read(str(sweep)).trials(), cell))
            own.append(of(trials, cell))
            versions |= groups[0].cells[0].cell.versions
        same, distance = trained(pd.concat(own), pd.concat(parts))
        ranks = [*ranked(folder, Path(scratch), cells)]
    return Rerun(
        day=datetime.now(UTC).date().isoformat(),
        root=root,
        versions={key: said for key, said in versions.items() if key in ("commit", "torch", "numpy")},
        cells=[*map(str, cells)],
        trainings=sum(map(len, parts)),
        same=same,
        distance=distance,
        ranks=sum(number for number, _ in ranks),
        other_ranks=sum(other for _, other in ranks),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run cells of the named studies again."""
    parser = argparse.ArgumentParser(prog="python -m tests.studies.rerun", description="Run cells of studies again.")
    parser.add_argument("names", nargs="+", metavar="NAME", help="name of a study, for example ml100k")
    parser.add_argument("--cells", type=int, default=1, metavar="N", help="number of cells (default: 1)")
    options = parser.parse_args(argv)
    with one_line_errors(()):
        for name in options.names:
            found: Any = msgspec.to_builtins(rerun(name, options.cells))
            files.write_document(ROOT / "studies" / name / RERUN, found)
            print(name, found)


if __name__ == "__main__":
    main()
