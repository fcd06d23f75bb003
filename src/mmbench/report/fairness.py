"""Writes the fairness report: ``fairness.md`` and a self-contained ``fairness.html`` (METHOD ii)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmbench import paths
from mmbench.inference import tuning_curves
from mmbench.report import charts
from mmbench.report.cell_effort import CellEffort, edges
from mmbench.report.fairness_checks import Group, read_groups
from mmbench.report.layout import markdown_table
from mmbench.report.table import SweepTable
from mmbench.report.templating import render
from mmbench.store import files
from mmbench.store.schema import Stage

COLUMNS = (
    "condition",
    "trials (failed)",
    "searched",
    "epochs, median",
    "at last epoch",
    "seconds",
    "energy, Wh",
    "validation, best",
    "gain over default",
    "last half of trials",
    "optimism",
    "parameters",
    "at an edge",
    "chosen",
)


def write_fairness(table: SweepTable, sweep_dir: Path) -> list[Group]:
    """Write the fairness report of a sweep and return its groups."""
    groups = read_groups(table, sweep_dir)
    folder = paths.report_dir(sweep_dir)
    files.write_text(folder / "fairness.md", as_markdown(table, groups))
    files.write_text(folder / "fairness.html", as_html(table, groups))
    return groups


def budget_row(cell: CellEffort) -> list[str]:
    """One condition's line of the budget table, in the order of :data:`COLUMNS`."""
    validation, n_trials = cell.validation, len(cell.trials)
    finite = bool(np.isfinite(validation).all()) and n_trials > 1 and validation.max() > 0
    failed = sum(not t.succeeded for t in cell.trials)
    n_parameters = {t.n_parameters for t in cell.trials if t.succeeded}
    at_edge = (
        [path for path, share in edges(cell).items() if share > tuning_curves.EDGE_WARNING] if n_trials > 1 else []
    )
    chosen = ", ".join(f"{path.split('.')[-1]}={_short(value)}" for path, value in cell.choice.configuration.items())
    return [
        cell.modality,
        f"{n_trials} ({failed})",
        str(len(cell.choice.configuration)),
        f"{cell.epochs:.0f}",
        f"{100 * cell.under_trained_share:.0f} %",
        f"{cell.seconds:.0f}",
        "-" if cell.energy_kwh is None else f"{1000 * cell.energy_kwh:.2g}",
        f"{cell.choice.score:.4f}",
        f"{100 * tuning_curves.tuning_gain(validation):+.1f} %" if finite and validation[0] > 0 else "-",
        f"{100 * tuning_curves.saturation(validation, default_first=True):.1f} %" if finite else "-",
        _optimism(cell),
        ", ".join(f"{n:,}" for n in sorted(n for n in n_parameters if n is not None)),
        ", ".join(at_edge) or "-",
        chosen or "nothing to choose",
    ]


def _optimism(cell: CellEffort) -> str:
    """How much the validation score of the choice promises above its test score."""
    usable = np.isfinite(cell.validation) & np.isfinite(cell.test).all(axis=1)
    if usable.sum() < 2:
        return "-"
    validation, test = cell.validation[usable], cell.test[usable].mean(axis=1)
    n = len(validation)
    promised = tuning_curves.expected_validation_performance(validation, n)
    kept = tuning_curves.expected_tuned_test_performance(validation, test, n)
    return f"{promised - float(kept):+.4f}"


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def sentence(group: Group) -> str:
    """Would the conclusion change with half the budget?"""
    told = [check.reason for check in group.checks if check.name.startswith("half budget")]
    if not told:
        return "Too few trials, or no two conditions, to say whether half the budget would change a conclusion."
    return "Would half the budget change the conclusion? " + " ".join(f"{line[0].upper()}{line[1:]}." for line in told)


def as_markdown(table: SweepTable, groups: Sequence[Group]) -> str:
    """The report as Markdown."""
    verdicts = [(g.dataset, g.model, g.level, "; ".join(_doubts(g)) or "every check passed") for g in groups]
    pieces = [f"# Fairness of {table.name}", markdown_table(("dataset", "model", "verdict", "why"), verdicts)]
    for group in groups:
        pieces += [f"## {group.dataset}, {group.model}: {group.level}", sentence(group)]
        pieces.append(markdown_table(COLUMNS, [budget_row(cell) for cell in group.cells]))
        pieces.append("\n".join(f"- {check.level}: {check.name}: {check.reason}" for check in group.checks))
    return "\n\n".join(pieces) + "\n"


def _doubts(group: Group) -> list[str]:
    return [check.reason for check in group.checks if check.level != "PASS"]


def as_html(table: SweepTable, groups: Sequence[Group]) -> str:
    """The report as one page without outside requests; everything that is not ours is escaped."""
    sections = [{"group": group, "sentence": sentence(group), "rows": [budget_row(c) for c in group.cells],
                 "charts": _charts(group)} for group in groups]  # fmt: skip
    return render("fairness.html", name=table.name, budget=table.budget, columns=COLUMNS, sections=sections)


def _charts(group: Group) -> Mapping[str, str]:
    """Inline SVG charts by title."""
    cells = [c for c in group.cells if np.isfinite(c.validation).all() and len(c.trials) > 1]
    drawn: dict[str, str] = {}
    if cells and group.enough_trials() and len({len(c.trials) for c in cells}) == 1:
        bands = tuning_curves.tuning_bands({c.modality: c.validation for c in cells}, default_first=True)
        drawn["Expected best validation score by number of trials"] = charts.curves(bands, "trials")
        cost = {c.modality: np.cumsum(c.trial_seconds()) for c in cells}
        drawn["The same by seconds of tuning"] = charts.curves(bands, "seconds", cost)
    if cells:
        drawn["Every trial"] = charts.strip({c.modality: c.validation for c in cells})
        paths_searched = [path for path, value in cells[0].choice.configuration.items() if not isinstance(value, str)]
        if paths_searched:
            drawn["Score over each range (bounds drawn; red: best trials at the edge)"] = charts.marginals(
                paths_searched, cells, {c.modality: edges(c) for c in cells}
            )
        drawn["Validation against test, every trial"] = charts.scatter(
            {c.modality: (c.validation, np.nanmean(c.test, axis=1)) for c in cells if c.test.size}
        )
    histories = {c.modality: [f.course.history for f in c.finals if f.course is not None] for c in group.cells}
    if any(len(h) > 1 for runs in histories.values() for h in runs):
        drawn["Learning curves of the final runs"] = charts.learning(histories)
    seconds = {c.modality: _seconds_by_stage(c) for c in group.cells}
    drawn["Where the seconds went"] = charts.stacked(seconds, ("tuning", "final runs"))
    return drawn


def _seconds_by_stage(cell: CellEffort) -> tuple[float, float]:
    seconds = [(row.stage == Stage.FINAL, row.cost.seconds or 0.0) for row in cell.ledger]
    return sum(s for final, s in seconds if not final), sum(s for final, s in seconds if final)
