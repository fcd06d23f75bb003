"""Writes the fairness report: ``fairness.md`` and a self-contained ``fairness.html``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmbench import paths
from mmbench.inference import tuning_curves
from mmbench.report import charts
from mmbench.report.cell_effort import CellEffort, edges
from mmbench.report.fairness_checks import Group, read_groups
from mmbench.report.layout import Column, Table, markdown_table, page
from mmbench.report.table import SweepTable
from mmbench.report.templating import render
from mmbench.store import files
from mmbench.store.schema import Stage


def write_fairness(table: SweepTable, sweep_dir: Path) -> list[Group]:
    """Write the fairness report of a sweep and return its groups."""
    groups = read_groups(table, sweep_dir)
    folder = paths.report_dir(sweep_dir)
    files.write_text(folder / f"{paths.FAIRNESS}.md", as_markdown(table, groups))
    files.write_text(folder / f"{paths.FAIRNESS}.html", as_html(table, groups))
    return groups


def budget_table(cells: Sequence[CellEffort]) -> Table[CellEffort]:
    """What the tuning of each condition cost, and how well it went."""
    return Table("budget", BUDGET, cells)


def _chosen(cell: CellEffort) -> str:
    """The chosen configuration by the last part of each path."""
    items = cell.choice.configuration.items()
    texts = (f"{path.split('.')[-1]}={f'{v:.3g}' if isinstance(v, float) else v}" for path, v in items)
    return ", ".join(texts) or "nothing to choose"


def _parameters(cell: CellEffort) -> str:
    """Numbers of trained parameters, of which there are several where a searched size decides it."""
    known = {t.n_parameters for t in cell.trials if t.succeeded}
    return ", ".join(f"{n:,}" for n in sorted(n for n in known if n is not None))


def _at_edge(cell: CellEffort) -> str | None:
    """Searched paths whose best trials lie at a bound."""
    if len(cell.trials) < 2:
        return None
    return ", ".join(path for path, share in edges(cell).items() if share > tuning_curves.EDGE_WARNING) or None


def _measurable(cell: CellEffort) -> bool:
    """Whether there are several trials, all of them finished, and one scored something."""
    return bool(np.isfinite(cell.validation).all()) and len(cell.trials) > 1 and cell.validation.max() > 0


def _over_default(cell: CellEffort) -> float | None:
    """Relative gain of the best trial over the default configuration."""
    return tuning_curves.tuning_gain(cell.validation) if _measurable(cell) and cell.validation[0] > 0 else None


def _last_half(cell: CellEffort) -> float | None:
    """Share of the best score that the second half of the trials found."""
    return tuning_curves.saturation(cell.validation, default_first=True) if _measurable(cell) else None


def _optimism(cell: CellEffort) -> float | None:
    """How much the validation score of the choice promises above its test score."""
    usable = np.isfinite(cell.validation) & np.isfinite(cell.test).all(axis=1)
    if usable.sum() < 2:
        return None
    validation, test = cell.validation[usable], cell.test[usable].mean(axis=1)
    n = len(validation)
    promised = tuning_curves.expected_validation_performance(validation, n)
    kept = tuning_curves.expected_tuned_test_performance(validation, test, n)
    return promised - float(kept)


#: Columns of the budget table.
BUDGET: Sequence[Column[CellEffort]] = (
    Column(None, "condition", lambda cell: cell.modality),
    Column(None, "trials (failed)", lambda cell: f"{len(cell.trials)} ({sum(not t.succeeded for t in cell.trials)})"),
    Column(None, "searched", lambda cell: len(cell.choice.configuration)),
    Column(None, "epochs, median", lambda cell: cell.epochs, lambda epochs: f"{epochs:.0f}"),
    Column(None, "at last epoch", lambda cell: cell.under_trained_share, lambda share: f"{100 * share:.0f} %"),
    Column(None, "seconds", lambda cell: cell.seconds, lambda seconds: f"{seconds:.0f}"),
    Column(None, "energy, Wh", lambda cell: cell.energy_kwh, lambda kwh: f"{1000 * kwh:.2g}"),
    Column(None, "validation, best", lambda cell: cell.choice.score, lambda score: f"{score:.4f}"),
    Column(None, "gain over default", _over_default, lambda gain: f"{100 * gain:+.1f} %"),
    Column(None, "last half of trials", _last_half, lambda share: f"{100 * share:.1f} %"),
    Column(None, "optimism", _optimism, lambda optimism: f"{optimism:+.4f}"),
    Column(None, "parameters", _parameters),
    Column(None, "at an edge", _at_edge),
    Column(None, "chosen", _chosen),
)
#: Columns of the verdicts on top of the report.
VERDICTS: Sequence[Column[Group]] = (
    Column(None, "dataset", lambda group: group.dataset),
    Column(None, "model", lambda group: group.model),
    Column(None, "verdict", lambda group: group.level),
    Column(
        None,
        "why",
        lambda group: "; ".join(c.reason for c in group.checks if c.level != "PASS") or "every check passed",
    ),
)


def sentence(group: Group) -> str:
    """Would the conclusion change with half the budget?"""
    reasons = [check.reason for check in group.checks if check.name.startswith("half budget")]
    if not reasons:
        return "Too few trials, or no two conditions, to say whether half the budget would change a conclusion."
    return "Would half the budget change the conclusion? " + " ".join(
        f"{line[0].upper()}{line[1:]}." for line in reasons
    )


def as_markdown(table: SweepTable, groups: Sequence[Group]) -> str:
    """The report as Markdown."""
    pieces = [f"# Fairness of {table.name}", markdown_table(Table("verdicts", VERDICTS, groups))]
    for group in groups:
        pieces += [f"## {group.dataset}, {group.model}: {group.level}", sentence(group)]
        pieces.append(markdown_table(budget_table(group.cells)))
        pieces.append("\n".join(f"- {check.level}: {check.name}: {check.reason}" for check in group.checks))
    return "\n\n".join(pieces) + "\n"


def as_html(table: SweepTable, groups: Sequence[Group]) -> str:
    """The report as one page without outside requests; everything that is not ours is escaped."""
    verdicts = page(Table("verdicts", VERDICTS, groups))
    sections = [
        {
            "group": group,
            "verdict": verdict,
            "sentence": sentence(group),
            "budget": page(budget_table(group.cells)),
            "charts": _charts(group),
        }
        for group, verdict in zip(groups, verdicts["rows"], strict=True)
    ]
    return render("fairness.html", name=table.name, budget=table.budget, verdicts=verdicts, sections=sections)


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
