"""The report of a sweep as the summary run of its trackers: the very tables, figures and verdicts that were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from mmbench import paths
from mmbench.decision.page.speaker import Speaker
from mmbench.decision.record import decided
from mmbench.inference.verdicts import NO_WORD
from mmbench.report.figures import written
from mmbench.report.table import SweepTable
from mmbench.store.files import read_document
from mmbench.store.trackers import Tracker
from mmbench.store.trackers.mirrored import Gap, Grid, Summary

TABLES = (paths.TABLE, paths.VERDICTS, paths.BENCHMARK)


def mirror(table: SweepTable, tracker: Tracker) -> None:
    """Show the written report of a sweep in its summary run; a failure costs a warning.

    Args:
        table: the sweep.
        tracker: as this command was asked to track it; what the folder says about that is not obeyed.
    """
    if tracker.clients:
        tracker.report(read_summary(table))


def read_summary(table: SweepTable) -> Summary:
    """What the files of the report say; what was not written is left out."""
    folder = paths.report_dir(table.folder)
    frames = {name: _frame(folder / f"{name}.csv") for name in TABLES if (folder / f"{name}.csv").is_file()}
    return Summary(
        _gaps(frames.get(paths.VERDICTS, pd.DataFrame())),
        {name: Grid(list(map(str, frame.columns)), frame.to_numpy(object).tolist()) for name, frame in frames.items()},
        {file.stem: file for file in written(folder)},
        _decision(paths.decision_file(table.folder), table.standing.root),
        {"level": str(table.standing.words), "root": table.standing.root, "plan": table.plan_hash},
    )


def _gaps(verdicts: pd.DataFrame) -> list[Gap]:
    """The tuned gain of every contrast and free disposal that has one."""
    rows = [row for row in verdicts.to_dict("records") if row.get("gain") is not None]
    several = len({row["dataset"] for row in rows}) > 1
    return [
        Gap(
            "/".join(str(row[key]) for key in ("dataset", "model", "contrast")[not several :]),
            float(row["gain"]),
            row["lo"],
            row["hi"],
            str(row["verdict"]),
            row.get("level"),
            row.get("no_word") or (row.get("reason") if row["verdict"] == str(NO_WORD) else None),
        )
        for row in rows
    ]


def _frame(file: Path) -> pd.DataFrame:
    """A table with None where there is nothing; seeds in one cell stay text."""
    try:
        frame = pd.read_csv(file, dtype={"by_seed": str})
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    return frame.astype(object).where(frame.notna(), None)


def _decision(file: Path, root: str) -> dict[str, Any]:
    """Badge and sentence of the decision, in English as the tables are; nothing of an earlier rule or other records."""
    if not file.is_file():
        return {}
    try:
        record = read_document(file)
        evidence, economics, decision = decided(record)
    except ValueError:
        return {}
    if record.get("root") != root:
        return {}
    s = Speaker.of("en", evidence, economics, decision)
    return {
        "badge": s.badge,
        "sentence": s.sentence(),
        "dataset": evidence.dataset,
        "models": ", ".join(evidence.models),
        "measured": s.measured(),
        "gain": evidence.ratio,
        "gain_lo": evidence.interval.lo if evidence.interval else None,
        "gain_hi": evidence.interval.hi if evidence.interval else None,
        "gain_level": evidence.level,
        "word": decision.word,
        "breakeven": decision.breakeven,
        "probability": decision.probability,
    }
