"""Figures of a sweep as SVG and PNG: contrasts with the margin, conditions of each model, gains at a glance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmbench import paths
from mmbench.inference.gains import Gain
from mmbench.inference.verdicts import WORDS
from mmbench.messages import LANGUAGES, Message, Translator, points, series
from mmbench.report import charts
from mmbench.report.charts import Drawing, Line
from mmbench.report.comparisons import Comparison, is_significant
from mmbench.report.disposals import ALL_MODELS, FREE, Disposal
from mmbench.report.sentences import MORE_SEARCH, metric_among
from mmbench.report.table import SweepTable
from mmbench.store import files

#: Files of figures.
FILES = ("forest-*.*", "conditions*.*", "gains.*")
ID_NAME = Message("ID only")
#: Most rows of a figure that is drawn without being asked for; more fit no page, and take seconds and memory.
MOST_ROWS = 60


def write_figures(
    table: SweepTable,
    compared: Sequence[Comparison],
    disposals: Sequence[Disposal],
    folder: Path,
    *,
    every_chart: bool = False,
) -> None:
    """Write every figure that has something to show; those of an earlier report that has not are removed.

    Args:
        table: the sweep.
        compared: its contrasts.
        disposals: free disposal of its modalities.
        folder: where they are written.
        every_chart: whether figures of any number of rows are drawn.
    """
    drawn = figures(table, compared, disposals, math.inf if every_chart else MOST_ROWS)
    for old in (file for pattern in FILES for file in folder.glob(pattern)):
        if Path(paths.in_english(old.name)).stem not in drawn:
            old.unlink()
    words = words_of(table, compared, disposals)
    for name, (drawing, label) in drawn.items():
        for lang in LANGUAGES:
            told = charts.translated(drawing.svg, Translator(lang), [*words, label])
            files.write_text(folder / paths.document(name, "svg", lang), told)
        png = drawing.png
        files.write_atomic(folder / f"{name}.png", lambda path, png=png: path.write_bytes(png))  # type: ignore[misc]


def words_of(table: SweepTable, compared: Sequence[Comparison], disposals: Sequence[Disposal]) -> list[str]:
    """What figures say beside metrics and the label of their axis, to be translated: words, rows and their groups.

    Args:
        table: the sweep.
        compared: its contrasts.
        disposals: free disposal of its modalities.
    """
    rows = [*((c.model, c.dataset) for c in compared), *((d.model or ALL_MODELS, d.dataset) for d in disposals)]
    named = dict.fromkeys(name for row in rows for name in (series(row), row[1]))
    return [*WORDS.values(), MORE_SEARCH, charts.within(100 * table.delta), ID_NAME, ALL_MODELS, *named]


def written(folder: Path) -> list[Path]:
    """Figures in the folder of a report as PNG, by name: with a name of ours, and the drawing beside them."""
    ours = (file for pattern in FILES for file in folder.glob(pattern) if file.suffix == ".png")
    return sorted(file for file in ours if file.with_suffix(".svg").is_file())


def figures(
    table: SweepTable, compared: Sequence[Comparison], disposals: Sequence[Disposal], most_rows: float = math.inf
) -> Mapping[str, tuple[Drawing, str]]:
    """Figures, in English, and the label of their axis, by file name; none with more rows than ``most_rows``."""
    drawn: dict[str, tuple[Drawing, str]] = {}
    several, targets = len(table.datasets) > 1, sorted({*table.targets.values()})

    def named(name: str, target: str) -> str:
        return paths.slug([f"{name}-{target}" if target and len(targets) > 1 else name])

    for contrast, target in dict.fromkeys((c.contrast, c.target) for c in compared):
        members = [
            (c.model, c.dataset, c.tuned, said(c)) for c in compared if (c.contrast, c.target) == (contrast, target)
        ]
        lines = forest_lines(members, several=several)
        if lines and len(lines) <= most_rows:
            a, _, b = contrast.partition("_vs_")
            metric = metric_among(table.primary, target)
            label = Message("tuned gain in {metric}, {a} against {b}, %", metric=metric, a=a, b=b)
            name = named(f"forest-{contrast}", target)
            drawn[name] = charts.forest(lines, label, 100 * table.delta), label
    for modality, target in dict.fromkeys((d.modality, d.target) for d in disposals):
        choices = [d for d in disposals if (d.modality, d.target) == (modality, target)]
        lines = forest_lines(
            [(d.model or ALL_MODELS, d.dataset, d.tuned, _marked(d)) for d in choices], several=several
        )
        if lines and len(lines) <= most_rows:
            metric = metric_among(table.primary, target)
            label = Message("tuned gain in {metric}, free disposal of {modality}, %", metric=metric, modality=modality)
            name = named(f"forest-{FREE}{modality}", target)
            drawn[name] = charts.forest(lines, label, 100 * table.delta), label
    means = condition_means(table)
    for target in targets:
        conditions = {dataset: rows for dataset, rows in means.items() if table.targets[dataset] == target}
        names = [
            c
            for c in (*table.conditions, ID_NAME)
            if any(c in row for rows in conditions.values() for row in rows.values())
        ]
        if len(names) > 1 and sum(map(len, conditions.values())) <= most_rows:
            metric = metric_among(table.primary, target)
            drawn[named("conditions", target)] = charts.dumbbells(conditions, names, metric), metric
    gains = gain_cells(compared)
    if gains and sum(map(len, gains.values())) <= most_rows:
        columns = list(dict.fromkeys(c.contrast for c in compared))
        drawn["gains"] = charts.heat(gains, columns, charts.GAIN), charts.GAIN
    return drawn


def said(row: Comparison | Disposal) -> str:
    """Its word; nothing beside one of several repetitions, which have theirs together."""
    return row.word if row.within is None else ""


def _marked(disposal: Disposal) -> str:
    return said(disposal) if disposal.controlled else MORE_SEARCH


def forest_lines(members: Iterable[tuple[str, str, Gain | None, str]], *, several: bool) -> list[Line]:
    """Rows of a forest plot: tuned gains in percent, with bounds where there are any.

    Args:
        members: model, data set, gain and word of each row; one whose gain is not defined is left out.
        several: whether the rows are of several data sets.
    """
    lines = []
    for model, dataset, tuned, word in members:
        if tuned is not None and math.isfinite(tuned.gain):
            bounds = None if tuned.interval is None else (100 * tuned.interval.lo, 100 * tuned.interval.hi)
            name = series([model, dataset]) if several else model
            lines.append(Line(name, dataset, 100 * tuned.gain, bounds, word))
    return lines


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
    """Gain in percent by dataset, model and contrast, a dagger where it is significant by the Holm-adjusted p."""
    cells: dict[str, dict[str, dict[str, str]]] = {}
    for c in compared:
        if c.tuned is not None and math.isfinite(c.tuned.gain):
            mark = "†" if c.inference is not None and is_significant(c, c.inference.holm) else ""
            cells.setdefault(c.dataset, {}).setdefault(c.model, {})[c.contrast] = f"{points(c.tuned.gain)}{mark}"
    return cells
