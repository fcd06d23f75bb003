"""The study on real data: ``python -m tests.studies.real NAME`` publishes ``studies/NAME`` and its page of the docs.

``python -m mmbench experiment=study_NAME`` runs the sweep, or a part of it, and continues it. This command audits it,
trains ten of its trainings again, and keeps plan, tables, tuned configurations, the scores of every trial and what a
reader needs to compute gains and intervals again (:mod:`tests.studies.kept`). Records stay out of the repository; name,
size and hash of their archive are listed.

``--again`` writes the same from a sweep that was published before, without an audit and without its archive. Tuned
configurations of other records, those of the same study before it went on too, are replaced with ``--replace`` alone; a
study beside the main one (further draws, splits, encoders) writes none.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import mmbench
from mmbench import paths
from mmbench.cli.errors import one_line_errors
from mmbench.data import encoded
from mmbench.messages.commands import command_line
from mmbench.report.disposals import ALL_MODELS, FREE
from mmbench.report.fairness_checks import Group, read_groups
from mmbench.report.reading import read_sweep
from mmbench.report.table import SweepTable
from mmbench.report.tuned import refuse_others
from mmbench.store import files, records
from mmbench.store.schema import Manifest
from tests.benchmarks import performance
from tests.studies import kept, sweeps
from tests.studies.data_sets import data_of, title_of, variant_of
from tests.studies.sweeps import ROOT

#: Trainings that are run again from their seeds.
RETRAINED = 10
#: What of a report is kept; figures stand in the page.
KEPT = ("benchmark.*", "table.[cm]*", "table.tex", "verdicts.*", "fairness.md", "submission.md", "new_items.md")
FIGURES = ("forest-*.svg", "gains.svg")
#: What was seen when a study was published: the archive of its records, and the machine of the audit.
PUBLISHED = "published.json"
#: Conditions in print.
CONDITIONS = {
    "none": "interactions alone",
    "image": "images",
    "fused": "all modalities",
    "shuffled": "shuffled content",
}
#: How a cell says what was read of its data.
COUNTS = re.compile(r"(\d+) users, (\d+) items, train / valid / test (\d+) / (\d+) / (\d+) \((\w+)\)")
#: The versions that a page names.
NAMED = ("mmbench", "torch", "numpy")


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

    @property
    def tuned(self) -> Path:
        """Where tuned configurations lie."""
        return paths.tuned_dir(ROOT / "conf")

    @property
    def manifest(self) -> Manifest:
        """Its plan."""
        return records.read(paths.manifest_file(self.sweep), Manifest)

    @property
    def beside(self) -> bool:
        """Whether none of its configurations is that of the data set, see :class:`tests.studies.data_sets.Variant`."""
        variant = variant_of(self.name)
        return variant is not None and variant.beside

    def publish(self, *, replace: bool = False) -> None:
        """Audit the sweep and write everything that is kept of it.

        Args:
            replace: whether to replace tuned configurations of other records.

        Raises:
            ValueError: if there are such configurations that are not to be replaced, before anything is done.
        """
        if not (replace or self.beside):
            refuse_others(read_sweep(self.sweep), self.tuned)
        sweeps.mmbench("audit", str(self.sweep), "--retrain", str(RETRAINED))
        if not self.beside:
            sweeps.mmbench("report", str(self.sweep), "--tuned", str(self.tuned), *["--replace"] * replace)
        self.archive.parent.mkdir(exist_ok=True)
        sweeps.mmbench("bundle", str(self.sweep), str(self.archive))
        archive = {
            "name": self.archive.name,
            "bytes": self.archive.stat().st_size,
            "sha256": hashlib.sha256(self.archive.read_bytes()).hexdigest(),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        files.write_document(self.folder / PUBLISHED, {"archive": archive, "machine": machine()})
        self.keep()

    def keep(self) -> None:
        """Write everything that is kept of a sweep that was audited, and its page."""
        table = read_sweep(self.sweep)
        groups = read_groups(table, self.sweep)
        report = paths.report_dir(self.sweep)
        self._copy(self.folder, [file for pattern in KEPT for file in report.glob(pattern)])
        shutil.copyfile(paths.manifest_file(self.sweep), self.folder / kept.PLAN)
        mmbench.read(str(self.sweep)).trials().to_csv(self.folder / "trials.csv", index=False)
        kept.write(table, groups, self.folder)
        judged = worded(pd.read_csv(self.folder / kept.VERDICTS))
        shown = {f"forest-{contrast}" for contrast in judged.contrast}
        drawn = [file for pattern in FIGURES for file in sorted(report.glob(pattern))]
        self._copy(self.figures, [file for file in drawn if file.stem in shown or not file.stem.startswith("forest-")])
        files.write_text(self.page, self.text(table, groups))

    @staticmethod
    def _copy(folder: Path, chosen: Sequence[Path]) -> None:
        """Copy files in English into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for file in chosen:
            if ".ja." not in file.name:
                shutil.copyfile(file, folder / file.name)

    def text(self, table: SweepTable, groups: Sequence[Group]) -> str:
        """The page: what was run and how it ended, the data, verdicts, table, figures."""
        commands = dict.fromkeys(command_line(revision.command) for revision in self.manifest.revisions)
        run = "\n".join([*commands, f"python -m tests.studies.real {self.name}"])
        benchmark = (self.folder / "benchmark.md").read_text(encoding="utf-8").partition("\n## ")[2]
        published = pd.read_csv(self.folder / kept.VERDICTS)
        judged = worded(published)
        figures = sorted(self.figures.glob("*.svg"))
        parts = [
            f"# Study: {title_of(self.name)}",
            f"```\n{run}\n```",
            two_columns(dict(self._facts(table, groups))),
            "## Data",
            two_columns(dict(self._data(groups))),
            "## Verdicts",
            "\n".join([*(f"- *{row.verdict}*: {row.sentence}" for row in judged.itertuples()), *silent(published)])
            or "None: no contrast has both of its conditions.",
            f"## {benchmark.strip()}",
            *(f"![{described(file.stem)}](../images/studies/{self.name}/{file.name})" for file in figures),
        ]
        return "\n\n".join(parts) + "\n"

    def _facts(self, table: SweepTable, groups: Sequence[Group]) -> Iterator[tuple[str, str]]:
        """What was run, and how it ended."""
        cells = [cell for group in groups for cell in group.cells]
        rows = [row for cell in cells for row in cell.ledger]
        states = Counter(cell.status for cell in table.cells.values() if not cell.parts)
        hours = sum(row.cost.seconds or 0.0 for row in rows) / 3600
        budget = self.manifest.budget
        yield "cells", ", ".join(f"{n} {status}" for status, n in sorted(states.items()))
        yield "trainings", f"{len(rows):,}, {hours:.1f} hours of one thread"
        yield "effort", f"{budget['trials']} trials and {budget['seeds']} final seeds of every condition"
        versions = [cell.cell.versions for cell in cells]
        yield "commit", counted([v.get("commit") or f"none; source {v['source']}" for v in versions])
        yield "versions", counted([", ".join(f"{name} {v[name]}" for name in NAMED) for v in versions])
        yield "machine", ", ".join(sorted({row.cost.machine for row in rows if row.cost.machine}))
        published = files.read_document(self.folder / PUBLISHED)
        if "machine" in published:
            audited = published["machine"]
            gigabytes = f"{audited['memory_bytes'] / 2**30:.0f} GiB"
            yield "audited on", f"{audited['processor']}, {audited['cores']} cores, {gigabytes}"
        yield "proof", table.proof
        archive = published["archive"]
        size = f"{archive['bytes'] / 1e6:.1f} MB"
        yield "archive of the records", f"`{archive['name']}`, {size}, SHA-256 `{archive['sha256']}`; not published"
        yield "files", f"[studies/{self.name}](../../studies/{self.name})"

    def _data(self, groups: Sequence[Group]) -> Iterator[tuple[str, str]]:
        """What the data are: what is known of them, and what the records count."""
        known = data_of(self.name)
        cells = [cell for group in groups for cell in group.cells]
        read = list(dict.fromkeys(line for cell in cells for line in cell.cell.data))
        counts = {line: found for line in read if (found := COUNTS.search(line))}
        yield "counts", "; ".join(dict.fromkeys(_sizes(found) for found in counts.values()))
        yield "test users", counted([f"{len(cell.users):,}" for cell in cells])
        yield "interactions", known.interactions
        for modality in known.encoders:
            by_label: dict[str, list[str]] = {}
            for cell in cells:
                label = cell.cell.config["dataset"]["encoder"].get(modality, encoded.DEFAULT)
                lines = [
                    line.removeprefix(modality).strip() for line in cell.cell.data if re.match(rf"{modality} \d", line)
                ]
                by_label.setdefault(label, [known.encoder(modality, label)]).extend(lines)
            said = {label: "; ".join(dict.fromkeys(parts)) for label, parts in by_label.items()}
            named = [f"`{label}`: {words}" for label, words in said.items()] if len(said) > 1 else said.values()
            yield modality, "; ".join(named)
        others = [line for line in read if line not in counts and not re.match(r"\w+ \d+/", line)]
        if others:
            yield "also", "; ".join(others)
        yield "source", known.source
        yield "licence", known.licence
        if known.remarks:
            yield "remarks", known.remarks


def worded(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The verdicts that say something: with a word, and over all models only where there are several."""
    said = verdicts[verdicts.sentence.notna() & (verdicts.verdict != kept.NO_WORD)]
    several = said[said.model != ALL_MODELS].groupby("dataset").model.nunique() > 1
    return said[(said.model != ALL_MODELS) | said.dataset.map(several).fillna(True).astype(bool)]


def silent(verdicts: pd.DataFrame) -> Iterator[str]:
    """A line about the verdicts without a word, if there are any."""
    rows = verdicts[verdicts.verdict == kept.NO_WORD]
    if len(rows):
        reasons = "; ".join(dict.fromkeys(rows.reason))
        free = "all about free disposal, " if rows.contrast.str.startswith(FREE).all() else ""
        yield f"- {len(rows)} further rows of `verdicts.csv` have no word, {free}because {reasons}"


def described(figure: str) -> str:
    """What a figure shows, for those who do not see it.

    >>> described("forest-text_vs_none")
    'Tuned gain of text over interactions alone, by model, with intervals'
    >>> described("forest-free_disposal_of_image")
    'Gain by the free choice to use images, with intervals'
    """
    contrast = figure.removeprefix("forest-")
    if contrast == figure:
        return "Tuned gains of all contrasts by model"
    if contrast.startswith(FREE):
        return f"Gain by the free choice to use {_condition(contrast.removeprefix(FREE))}, with intervals"
    a, _, b = contrast.partition("_vs_")
    return f"Tuned gain of {_condition(a)} over {_condition(b)}, by model, with intervals"


def _condition(name: str) -> str:
    """A condition in print: ``text_shuffled_image`` is text with shuffled images."""
    real, shuffled, of = name.rpartition("shuffled_")
    if not shuffled:
        return CONDITIONS.get(name, name.replace("_", " "))
    return " with ".join([*([_condition(real.removesuffix("_"))] if real else []), f"shuffled {_condition(of)}"])


def _sizes(found: re.Match[str]) -> str:
    """Users, items and interactions of a data set."""
    users, items, train, valid, test = (f"{int(number):,}" for number in found.groups()[:5])
    parts = f"{train} interactions for training, {valid} for validation, {test} for test"
    return f"{users} users, {items} items; {parts} (protocol `{found[6]}`)"


def two_columns(rows: dict[str, str]) -> str:
    """A table without a head."""
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {said} |" for name, said in rows.items())])


def counted(values: Sequence[str]) -> str:
    """A value that all conditions share, or each with the number of its conditions."""
    counts = Counter(values)
    if len(counts) == 1:
        return values[0]
    return "; ".join(f"{value} ({n} condition{'s' * (n > 1)})" for value, n in counts.most_common())


def machine() -> dict[str, Any]:
    """The processor of this machine, its cores and the bytes of its memory."""
    known = performance.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"processor": known["processor"], "cores": known["cores"], "memory_bytes": memory}


def main(argv: Sequence[str] | None = None) -> None:
    """Publish the named studies."""
    parser = argparse.ArgumentParser(prog="python -m tests.studies.real", description="Publish studies.")
    parser.add_argument("names", nargs="+", metavar="NAME", help="name of a study, for example ml100k")
    parser.add_argument("--again", action="store_true", help="write everything from an audited sweep, without an audit")
    parser.add_argument("--replace", action="store_true", help="replace tuned configurations of other records")
    options = parser.parse_args(argv)
    with one_line_errors(()):
        for name in options.names:
            study = Published(name)
            study.keep() if options.again else study.publish(replace=options.replace)


if __name__ == "__main__":
    main()
