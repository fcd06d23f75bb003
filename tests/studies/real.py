"""The study on real data: ``python -m tests.studies.real NAME`` publishes ``studies/NAME`` and its page of the docs.

``python -m mmbench experiment=study_NAME`` runs the sweep, or a part of it, and continues it. This command audits it,
trains ten of its trainings again, and keeps what a reader needs to draw its tables and intervals: plan, root, tables,
tuned configurations, the scores of every trial and the tuned metric of every user. Records stay out of the repository;
name, size and hash of their archive are listed.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import mmbench
from mmbench import paths
from mmbench.cli.words import command_line
from mmbench.report.fairness_checks import Group, read_groups
from mmbench.report.reading import read_sweep
from mmbench.report.table import SweepTable
from mmbench.store import files, records
from mmbench.store.schema import Manifest
from tests.studies import sweeps
from tests.studies.sweeps import ROOT

#: Trainings that are run again from their seeds.
RETRAINED = 10
#: What of a report is kept; figures stand in the page.
KEPT = ("benchmark.*", "table.[cm]*", "table.tex", "verdicts.*", "fairness.md", "submission.md", "new_items.md")
FIGURES = ("forest-*.svg", "gains.svg")


@dataclass(frozen=True)
class Published:
    """Where a study lies.

    Args:
        name: of the study.
    """

    name: str

    @property
    def sweep(self) -> Path:
        """Its records."""
        return ROOT / "multirun" / f"study_{self.name}"

    @property
    def folder(self) -> Path:
        """What is kept of it."""
        return ROOT / "studies" / self.name

    @property
    def figures(self) -> Path:
        """Its figures."""
        return ROOT / "docs" / "images" / "studies" / self.name

    @property
    def page(self) -> Path:
        """Its page of the docs."""
        return ROOT / "docs" / "studies" / f"{self.name}.md"

    @property
    def archive(self) -> Path:
        """The archive of its records."""
        return ROOT / "build" / f"study_{self.name}.zip"

    def publish(self) -> None:
        """Audit the sweep and write everything that is kept of it."""
        sweeps.mmbench("audit", str(self.sweep), "--retrain", str(RETRAINED))
        sweeps.mmbench("report", str(self.sweep), "--tuned", str(paths.tuned_dir(ROOT / "conf")))
        self.archive.parent.mkdir(exist_ok=True)
        sweeps.mmbench("bundle", str(self.sweep), str(self.archive))
        table = read_sweep(self.sweep)
        groups = read_groups(table, self.sweep)
        for folder, patterns in ((self.folder, KEPT), (self.figures, FIGURES)):
            folder.mkdir(parents=True, exist_ok=True)
            for pattern in patterns:
                for file in paths.report_dir(self.sweep).glob(pattern):
                    if ".ja." not in file.name:
                        shutil.copyfile(file, folder / file.name)
        shutil.copyfile(paths.manifest_file(self.sweep), self.folder / "plan.json")
        mmbench.read(str(self.sweep)).trials().to_csv(self.folder / "trials.csv", index=False)
        tuned_by_user(groups).to_parquet(self.folder / "users.parquet", index=False)
        files.write_text(self.page, self.text(table, groups))

    def text(self, table: SweepTable, groups: Sequence[Group]) -> str:
        """The page: what was run and how it ended, verdicts, table, figures."""
        manifest = records.read(paths.manifest_file(self.sweep), Manifest)
        trials, seeds = manifest.budget["trials"], manifest.budget["seeds"]
        rows = [row for group in groups for cell in group.cells for row in cell.ledger]
        states = Counter(cell.status for cell in table.cells.values() if not cell.parts)
        hours = sum(row.cost.seconds for row in rows) / 3600
        digest = hashlib.sha256(self.archive.read_bytes()).hexdigest()
        facts = {
            "cells": ", ".join(f"{n} {status}" for status, n in sorted(states.items())),
            "trainings": f"{len(rows):,}, {hours:.1f} hours of one thread",
            "effort": f"{trials} trials and {seeds} final seeds of every condition",
            "commit": sweeps.output("git", "rev-parse", "HEAD"),
            "machine": ", ".join(sorted({row.cost.machine for row in rows} - {""})),
            "proof": table.proof,
            "archive of the records": f"{self.archive.stat().st_size / 1e6:.1f} MB, SHA-256 `{digest}`",
            "files": f"[studies/{self.name}](../../studies/{self.name})",
        }
        run = command_line(manifest.command)
        benchmark = (self.folder / "benchmark.md").read_text(encoding="utf-8").partition("\n## ")[2]
        judged = pd.read_csv(self.folder / "verdicts.csv").dropna(subset="sentence")
        figures = sorted(self.figures.glob("*.svg"))
        parts = [
            f"# Study: {self.name}",
            f"```\n{run}\npython -m tests.studies.real {self.name}\n```",
            "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {said} |" for name, said in facts.items())]),
            "## Verdicts",
            "\n".join(f"- *{row.verdict}*: {row.sentence}" for row in judged.itertuples()),
            f"## {benchmark.strip()}",
            *(f"![{figure.stem}](../images/studies/{self.name}/{figure.name})" for figure in figures),
        ]
        return "\n\n".join(parts) + "\n"


def tuned_by_user(groups: Sequence[Group]) -> pd.DataFrame:
    """Test metric of every user and condition, over the trials by their chance to be chosen; a row for each."""
    parts = []
    for group in groups:
        for cell in group.cells:
            drawn = cell.weights > 0
            values = cell.weights[drawn] @ cell.test[drawn]
            name = {"dataset": group.dataset, "model": group.model, "modality": cell.modality}
            parts.append(pd.DataFrame({**name, "user": cell.users, cell.metric: values.astype("float32")}))
    table = pd.concat(parts, ignore_index=True)
    return table.astype(dict.fromkeys(("dataset", "model", "modality"), "category"))


def main() -> None:
    """Publish the named studies."""
    for name in sys.argv[1:]:
        Published(name).publish()


if __name__ == "__main__":
    main()
