"""Named studies that docs/results.md rests on: sweeps under multirun/ that resume, and a small record of what they say.

A study is finished when ``results/`` has a record of its command by this version of the results; any other is started,
or continued where it stopped.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmbench import paths
from mmbench.audit.root import root_of
from mmbench.inference.gains import Gain, TunedGain
from mmbench.inference.verdicts import Judgement
from mmbench.report.cell_effort import cut_off, stalled
from mmbench.report.comparisons import Comparison, read_contrasts
from mmbench.report.contribution_facts import DIFFERENCES, VALUES, read_contributions
from mmbench.report.disposals import Disposal, read_disposals
from mmbench.report.facts import Facts
from mmbench.report.fairness_checks import Group, read_groups
from mmbench.report.reading import read_sweep
from mmbench.report.table import SweepTable
from mmbench.scheduling.cell_key import RESULTS_VERSION
from mmbench.store import files
from tests.benchmarks.performance import with_section

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("results")
PAGE = ROOT / "docs" / "results.md"
METRIC = "ndcg@20"


@dataclass(frozen=True)
class Study:
    """One named sweep.

    Args:
        name: its ``sweep.name``.
        words: the other overrides of its command.
    """

    name: str
    words: tuple[str, ...]

    @property
    def command(self) -> list[str]:
        """What a user types after ``python -m mmbench``."""
        return ["-m", f"sweep.name={self.name}", *self.words, "tracking=none"]

    @property
    def record(self) -> Path:
        """File of its result."""
        return RESULTS / f"{self.name}.json"

    @property
    def folder(self) -> Path:
        """Folder of its sweep."""
        return ROOT / "multirun" / self.name

    def run(self) -> dict[str, Any]:
        """Run or continue the sweep, and write what it says."""
        began = time.perf_counter()
        mmbench(*self.command)
        result = {
            "command": self.command,
            "results_version": RESULTS_VERSION,
            "root": root_of(self.folder),
            **self.said(),
            "wall_seconds": round(time.perf_counter() - began),
        }
        files.write_document(self.record, result)
        return result

    def result(self) -> dict[str, Any] | None:
        """Its record; None where it has none, or one of another command or of code that gave other results."""
        if not self.record.exists():
            return None
        found = dict(files.read_document(self.record))
        known = (found["command"], found["results_version"]) == (self.command, RESULTS_VERSION)
        return found if known else None

    def said(self) -> dict[str, Any]:
        """What the finished sweep says."""
        found = summary(self.folder)
        if world := [word for word in self.words if word.startswith("dataset.")]:
            found["signal"] = signal(world)
        return found


def mmbench(*words: str) -> str:
    """Run a command in the root of the project, and return what it prints.

    Raises:
        subprocess.CalledProcessError: if it fails; what it says on standard error is seen.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mmbench", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def run_missing(studies: Sequence[Study]) -> Iterator[tuple[Study, dict[str, Any]]]:
    """Run every study without a record, in order."""
    for study in studies:
        if study.result() is None:
            yield study, study.run()


def finished(studies: Sequence[Study]) -> dict[str, dict[str, Any]]:
    """Results of the finished studies by name."""
    return {study.name: result for study in studies if (result := study.result()) is not None}


def run_into_page(studies: Sequence[Study], section: str, rows: Callable[[dict[str, dict[str, Any]]], str]) -> None:
    """Run every study without a record, and write the table of those that have one, after each and at the end.

    Args:
        studies: the studies.
        section: the part of docs/results.md that holds the table.
        rows: the table of results by name.
    """

    def write_table() -> None:
        files.write_text(PAGE, with_section(PAGE.read_text(encoding="utf-8"), section, rows(finished(studies))))

    for done, result in run_missing(studies):
        print(done.name, f"{result['wall_seconds']:.0f} s, {result['trainings']} trainings", flush=True)
        write_table()
    write_table()
    print(f"{len(finished(studies))} of {len(studies)} studies in {ROOT.name}/tests/studies/results", flush=True)


def summary(folder: Path) -> dict[str, Any]:
    """What a sweep says, in numbers and words small enough to keep."""
    table = read_sweep(folder)
    groups = read_groups(table, folder)
    compared = read_contrasts(table, groups)
    measured = read_contributions(table, groups, compared)
    return {
        "trainings": sum(len(cell.ledger) for group in groups for cell in group.cells),
        "training_seconds": round(sum(cell.seconds for group in groups for cell in group.cells)),
        "delta": table.delta,
        "means": means(table),
        "contrasts": [contrast(c) for c in compared],
        "disposals": [disposal(d) for d in read_disposals(table, groups)],
        "fairness": {f"{group.dataset}/{group.model}": group.level for group in groups},
        "untrained": untrained(groups, table.delta),
        "facts": [fact for facts in measured for fact in bounded(facts)],
    }


def bounded(facts: Facts) -> list[dict[str, Any]]:
    """What a modality adds to the others (M1), and the gain of each slice of items (M6), where they have bounds."""
    kept = [fact for fact in facts.facts if fact.measure in (VALUES, DIFFERENCES) and fact.interval is not None]
    return [
        {
            "model": facts.model,
            "measure": fact.measure,
            "subject": fact.subject,
            "part": fact.part,
            "bounds": [fact.interval.lo, fact.interval.hi],  # type: ignore[union-attr]
        }
        for fact in kept
    ]


def means(table: SweepTable) -> dict[str, float]:
    """Test NDCG@20 of the chosen configuration of every finished cell, over its final seeds."""
    done = {name: cell for name, cell in table.cells.items() if cell.status == "done" and not cell.parts}
    return {"/".join(name): cell.mean(METRIC) for name, cell in done.items()}


def contrast(comparison: Comparison) -> dict[str, Any]:
    """The tuned gain of a contrast with its word, and the gain of the two chosen ones, with its bounds."""
    chosen = comparison.configuration
    bounds = (None, None) if chosen is None or not chosen.bounded else (chosen.lo, chosen.hi)
    return {
        "name": comparison.name,
        **judged(comparison.tuned, comparison.judgement),
        "configuration": None if chosen is None else [chosen.mean, *bounds],
    }


def disposal(found: Disposal) -> dict[str, Any]:
    """Free disposal of a modality with its word."""
    return {"name": found.name, **judged(found.tuned, found.judgement), "missing": len(found.missing)}


def judged(tuned: Gain | None, judgement: Judgement | None) -> dict[str, Any]:
    """A tuned gain and the word it ends in; of repetitions that have no bounds the word alone."""
    word = {"word": None if judgement is None else judgement.word, "reason": judgement and judgement.reason}
    if tuned is None:
        return word
    log = tuned.log_gain or (tuned.estimate.log_gain if isinstance(tuned, TunedGain) else None)
    if log is None:
        return word
    bounds = None if tuned.interval is None else [tuned.interval.lo, tuned.interval.hi]
    return {
        **word,
        "n": tuned.n,
        "trials": tuned.trials,
        "gain": tuned.gain,
        "bounds": bounds,
        "log_ratio": log.log_ratio,
        "se": log.se,
        "df": log.df,
        "variance": dict(tuned.variances),
        "at_defaults": tuned.gain_at_defaults,
    }


def untrained(groups: Sequence[Group], delta: float) -> dict[str, dict[str, float]]:
    """Share of the weights of each condition that trials have which stalled, and which were cut off."""
    return {
        "/".join(cell.cell.name): {
            "stalled": float(cell.weights[stalled(cell.trials)].sum()),
            "cut_off": float(cell.weights[cut_off(cell.trials, delta)].sum()),
        }
        for group in groups
        for cell in group.cells
    }


def signal(words: Sequence[str]) -> dict[str, Any]:
    """The pre-test of a planted world, without a recommender (M4)."""
    with tempfile.TemporaryDirectory() as folder:
        mmbench("signal", *words, f"paths.multirun={folder}")
        world = next(word.partition("=")[2] for word in words if word.startswith("dataset.world="))
        found = dict(files.read_document(paths.signal_file(Path(folder), f"planted-{world}")))
    return {name: found[name] for name in ("r2", "common", "unique", "null_unique")}
