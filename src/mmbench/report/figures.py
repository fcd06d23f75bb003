"""Figures of a sweep as SVG and PNG: contrasts with the margin, conditions of each model, gains at a glance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmbench import paths
from mmbench.report import charts
from mmbench.report.charts import Drawing, Line
from mmbench.report.comparisons import ALPHA, Comparison
from mmbench.report.table import SweepTable
from mmbench.store import files

ID_NAME = "ID only"


def write_figures(table: SweepTable, compared: Sequence[Comparison], folder: Path) -> None:
    """Write every figure that has something to show; those of an earlier report that has not are removed."""
    drawn = figures(table, compared)
    for old in (*folder.glob("forest-*.*"), *folder.glob("conditions.*"), *folder.glob("gains.*")):
        if old.stem not in drawn:
            old.unlink()
    for name, drawing in drawn.items():
        files.write_text(folder / f"{name}.svg", drawing.svg)
        png = drawing.png
        files.write_atomic(folder / f"{name}.png", lambda path, png=png: path.write_bytes(png))  # type: ignore[misc]


def figures(table: SweepTable, compared: Sequence[Comparison]) -> Mapping[str, Drawing]:
    """Figures by file name."""
    drawn = {}
    for contrast in dict.fromkeys(c.contrast for c in compared):
        lines = forest_lines([c for c in compared if c.contrast == contrast], several=len(table.datasets) > 1)
        if lines:
            label = f"relative gain in {table.primary}, {contrast.replace('_vs_', ' against ')}, %"
            drawn[paths.slug(["forest-" + contrast])] = charts.forest(lines, label, 100 * table.delta)
    conditions = condition_means(table)
    names = [
        c
        for c in (*table.conditions, ID_NAME)
        if any(c in row for rows in conditions.values() for row in rows.values())
    ]
    if len(names) > 1:
        drawn["conditions"] = charts.dumbbells(conditions, names, table.primary)
    gains = gain_cells(compared)
    if gains:
        columns = list(dict.fromkeys(c.contrast for c in compared))
        drawn["gains"] = charts.heat(gains, columns, "relative gain, %")
    return drawn


def forest_lines(compared: Sequence[Comparison], *, several: bool) -> list[Line]:
    """Rows of a forest plot: gains in percent, bounds where something is inferred."""
    return [
        Line(
            f"{c.model}, {c.dataset}" if several else c.model,
            c.dataset,
            100 * c.tuned.gain,
            None if c.tuned.interval is None else (100 * c.tuned.interval.lo, 100 * c.tuned.interval.hi),
            c.word,
        )
        for c in compared
        if c.tuned is not None and math.isfinite(c.tuned.gain)
    ]


def condition_means(table: SweepTable) -> dict[str, dict[str, dict[str, float]]]:
    """Mean of every finished condition by dataset and model; a model that ignores content has one."""
    means: dict[str, dict[str, dict[str, float]]] = {}
    for dataset in table.datasets:
        rows = {}
        for model in table.models(dataset):
            done = {
                m: c for (d, name, m), c in table.cells.items() if (d, name) == (dataset, model) and c.status == "done"
            }
            if done:
                rows[model] = {ID_NAME if m == "-" else m: cell.mean(table.primary) for m, cell in done.items()}
        if rows:
            means[dataset] = rows
    return means


def gain_cells(compared: Sequence[Comparison]) -> dict[str, dict[str, dict[str, str]]]:
    """Gain in percent by dataset, model and contrast, a dagger where the Holm-adjusted p is below .05."""
    cells: dict[str, dict[str, dict[str, str]]] = {}
    for c in compared:
        if c.tuned is not None and math.isfinite(c.tuned.gain):
            mark = "†" if c.inference is not None and c.inference.holm < ALPHA else ""
            cells.setdefault(c.dataset, {}).setdefault(c.model, {})[c.contrast] = f"{100 * c.tuned.gain:+z.1f}{mark}"
    return cells
