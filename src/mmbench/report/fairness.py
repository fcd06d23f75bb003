"""Writes the fairness report: ``fairness.md`` and a self-contained ``fairness.html``."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmbench import paths
from mmbench.inference import tuning_curves
from mmbench.inference.gains import Gain, TunedGain
from mmbench.messages import Message, Template, Translator, clauses, points, quantity, series
from mmbench.messages.commands import of_this_sweep
from mmbench.report import charts
from mmbench.report.cell_effort import CellEffort, cut_off, stalled, too_narrow
from mmbench.report.comparisons import Comparison, is_spoken_of
from mmbench.report.disposals import Disposal
from mmbench.report.fairness_checks import PASS, Group
from mmbench.report.layout import ENGLISH, Column, Table, markdown_table, md, page
from mmbench.report.sentences import disposal_verdict, metric_among, percent
from mmbench.report.spent import SEEDS, TRIALS, counted, spent_by
from mmbench.report.table import SweepTable
from mmbench.report.templating import Pages, render, write_pages
from mmbench.report.verdict_table import TUNING, of_contrast
from mmbench.store import files
from mmbench.store.schema import Stage, Training
from mmbench.training.stopping import SELECTION_METRIC

#: Most models, each on one data set, whose charts are drawn without being asked for: a chart takes a quarter of a
#: second, and a model has a dozen.
MOST_CHARTED = 12


def write_fairness(
    table: SweepTable,
    groups: Sequence[Group],
    compared: Sequence[Comparison],
    disposals: Sequence[Disposal],
    lang: str,
    *,
    every_chart: bool = False,
) -> None:
    """Write the fairness report of a sweep in every language.

    Args:
        table: the sweep.
        groups: its checks.
        compared: its planned contrasts.
        disposals: free disposal of its modalities.
        lang: language that was asked for.
        every_chart: whether charts are drawn however many there are.
    """
    folder = paths.report_dir(table.folder)
    drawn = None
    if every_chart or len(groups) <= MOST_CHARTED:
        drawn = Drawn(
            [_charts(table, group, _of(compared, group)) for group in groups],
            [_disposal_chart(table, disposal) for disposal in disposals],
        )
    for pages in Pages.both(lang):
        text = as_markdown(table, groups, compared, disposals, pages.translator)
        files.write_text(folder / paths.document(paths.FAIRNESS, "md", pages.lang), text)
    write_pages(folder, paths.FAIRNESS, lang, lambda pages: as_html(table, groups, compared, disposals, drawn, pages))


def budget_table(cells: Sequence[CellEffort], delta: float) -> Table[CellEffort]:
    """What the tuning of each condition cost, and how well it went.

    Args:
        cells: conditions of one model.
        delta: equivalence margin, which says when a training was cut off.
    """
    return Table("budget", budget_columns(delta, too_narrow(cells)), cells)


def tuning_table(compared: Sequence[Comparison]) -> Table[Comparison]:
    """What the tuned gain of each contrast is made of."""
    columns = (
        Column[Comparison](None, Message("contrast"), lambda c: c.contrast, names=True),
        *map(of_contrast, TUNING),
    )
    return Table("tuned gains", columns, [c for c in compared if c.tuned is not None])


def _chosen(cell: CellEffort) -> str:
    """The chosen configuration by the last part of each path."""
    items = cell.choice.configuration.items()
    texts = (f"{path.split('.')[-1]}={f'{v:.3g}' if isinstance(v, float) else v}" for path, v in items)
    return ", ".join(texts) or Message("nothing to choose")


def _parameters(cell: CellEffort) -> str:
    """Numbers of trained parameters, of which there are several where a searched size decides it."""
    known = {t.n_parameters for t in cell.trials if t.succeeded}
    return ", ".join(f"{n:,}" for n in sorted(n for n in known if n is not None))


def _measurable(cell: CellEffort) -> bool:
    """Whether there are several trials, all of them finished, and one scored something."""
    return bool(np.isfinite(cell.validation).all()) and len(cell.trials) > 1 and cell.validation.max() > 0


def _over_default(cell: CellEffort) -> float | None:
    """Relative gain of the best trial over the default configuration."""
    return tuning_curves.tuning_gain(cell.validation) if _measurable(cell) and cell.validation[0] > 0 else None


def _last_half(cell: CellEffort) -> float | None:
    """Share of the best score that the second half of the trials found."""
    if not _measurable(cell):
        return None
    best = cell.alone.curves.validation.mean
    return float(1.0 - best[math.ceil(len(best) / 2) - 1] / best[-1])


def _optimism(cell: CellEffort) -> float | None:
    """How much the expected validation score of the choice is above its expected test metric, if that is the same."""
    if cell.choice.metric != cell.metric or not np.isfinite(cell.tuning.scores).sum() > 1:
        return None
    curves = cell.alone.curves
    return float(curves.validation.mean[-1] - curves.test.mean[-1])


def _count(marks: Callable[[Sequence[Training]], NDArray[np.bool_]]) -> Callable[[CellEffort], str]:
    """How many trials and final runs are marked."""
    return lambda cell: f"{int(marks(cell.trials).sum())} + {int(marks(cell.finals).sum())}"


def budget_columns(delta: float, narrow: Mapping[str, Sequence[str]]) -> Sequence[Column[CellEffort]]:
    """Columns of the budget table.

    Args:
        delta: equivalence margin.
        narrow: paths whose ranges are too narrow, by condition.
    """
    return (
        Column(None, Message("condition"), lambda cell: cell.modality),
        Column(
            None,
            Message("trials (failed)"),
            lambda cell: f"{len(cell.trials)} ({sum(not t.succeeded for t in cell.trials)})",
        ),
        Column(None, Message("searched"), lambda cell: len(cell.choice.configuration)),
        Column(None, Message("epochs, median"), lambda cell: cell.epochs, lambda epochs: f"{epochs:.0f}"),
        Column(None, Message("stalled, trials + finals"), _count(stalled)),
        Column(None, Message("cut off"), _count(lambda trainings: cut_off(trainings, delta))),
        Column(None, Message("seconds"), lambda cell: cell.seconds, lambda seconds: f"{seconds:.0f}"),
        Column(None, Message("energy, Wh"), lambda cell: cell.energy_kwh, lambda kwh: quantity(1000 * kwh)),
        Column(None, Message("validation, best"), lambda cell: cell.choice.score, lambda score: f"{score:.4f}"),
        Column(None, Message("gain over default"), _over_default, percent),
        Column(None, Message("last half of trials"), _last_half, lambda share: f"{100 * share:.1f} %"),
        Column(None, Message("optimism, all trials"), _optimism, lambda optimism: f"{optimism:+.4f}"),
        Column(None, Message("parameters"), _parameters),
        Column(None, Message("at an edge"), lambda cell: ", ".join(narrow.get(cell.modality, ())) or None),
        Column(None, Message("chosen"), _chosen),
    )


def _doubts(group: Group) -> str:
    """Why a group has not passed, or that it has."""
    reasons = [check.reason for check in group.checks if check.level != PASS]
    return clauses(reasons) if reasons else Message("every check passed")


#: Columns of the verdicts on top of the report.
VERDICTS: Sequence[Column[Group]] = (
    Column(None, Message("dataset"), lambda group: group.dataset),
    Column(None, Message("model"), lambda group: group.model),
    Column(None, Message("verdict"), lambda group: group.level),
    Column(
        None,
        Message("why"),
        _doubts,
    ),
)


#: What the marks of trainings mean.
LEGEND = Message(
    "stalled: patience ended the training below the popularity baseline, raise budget.patience_steps; cut off: the cap "
    "ended it while validation still rose, raise budget.max_steps. Where such trials carry more than a tenth of the "
    "weight of what is chosen, the measurement is not trusted; such final runs are a warning."
)


def by_trials(compared: Sequence[Comparison]) -> str:
    """Would fewer or more trials say something else?"""
    told = [
        Message("{a} against {b}: {gains}", a=c.a.modality, b=c.b.modality, gains=_gains(c))
        for c in compared
        if c.tuned is not None and _numbers(c.tuned)
    ]
    if not told:
        return Message(
            "No gain by number of trials: no planned contrast has both of its conditions, or nothing was tuned or "
            "found."
        )
    return Message("Gain by number of trials: {gains}.", gains=functools.reduce(_then, told))


def _then(first: Message, rest: Message) -> Message:
    return Message("{first}. {rest}", first=first, rest=rest)


def _numbers(tuned: Gain) -> list[int]:
    """Numbers of trials whose gain is told; where all that can be chosen from failed, or B finds nothing, is none."""
    numbers = sorted({1, tuned.n, math.ceil(tuned.trials / 2), tuned.trials})
    return [n for n in numbers if math.isfinite(tuned.curve.mean[n - 1])]


def _gains(comparison: Comparison) -> str:
    tuned = comparison.tuned
    assert tuned is not None
    gains = series([Message("{gain} % after {n}", gain=points(tuned.curve.mean[n - 1]), n=n) for n in _numbers(tuned)])
    if comparison.within is not None:
        return Message("{gains}; judged {words}", gains=gains, words=comparison.within.words)
    # That it depends on tuning is a word, too; that it does not is nothing that a wide interval could show.
    if is_spoken_of(comparison) and tuned.depends_on_tuning:
        return Message("{gains}; depends on tuning", gains=gains)
    return gains


def _of(compared: Sequence[Comparison], group: Group) -> list[Comparison]:
    return [c for c in compared if (c.dataset, c.model) == (group.dataset, group.model)]


def as_markdown(
    table: SweepTable,
    groups: Sequence[Group],
    compared: Sequence[Comparison],
    disposals: Sequence[Disposal],
    say: Translator = ENGLISH,
) -> str:
    """The report as Markdown."""
    pieces = [
        f"# {md(say(Message('Fairness of {sweep}', sweep=table.title)))}",
        markdown_table(Table("verdicts", VERDICTS, groups), say),
        say(LEGEND),
        md(say(table.proof)),
    ]
    for group in groups:
        own = _of(compared, group)
        pieces += [f"## {md(group.dataset)}, {md(group.model)}: {group.level}", md(say(by_trials(own)))]
        pieces.append(markdown_table(budget_table(group.cells, table.delta), say))
        if tuning_table(own).rows:
            pieces.append(markdown_table(tuning_table(own), say))
        pieces.append(
            "\n".join(f"- {check.level}: {say(check.name)}: {md(say(check.reason))}" for check in group.checks)
        )
    if disposals:
        told = (f"- {md(d.name)}: {md(say(disposal_verdict(d, table.primary)))}" for d in disposals)
        pieces += [f"## {say(Message('Free disposal'))}", "\n".join(told)]
    return "\n\n".join(pieces) + "\n"


def as_html(
    table: SweepTable,
    groups: Sequence[Group],
    compared: Sequence[Comparison],
    disposals: Sequence[Disposal],
    drawn: Drawn | None,
    pages: Pages,
) -> str:
    """The report as one page without outside requests; everything that is not ours is escaped.

    Args:
        table: the sweep.
        groups: its checks.
        compared: its planned contrasts.
        disposals: free disposal of its modalities.
        drawn: its charts; None where they are left out.
        pages: the language of the page, and its names.
    """
    say, had = pages.translator, spent_by(table)
    labels: list[str] = [*STAGES]
    for target in {*table.targets.values()}:
        labels += charts.metric_labels(metric_among(table.primary, target))
        labels.append(charts.score_label(metric_among(SELECTION_METRIC, target)))
    labels += [label for disposal in disposals for label in _sides(disposal)]
    verdicts = page(Table("verdicts", VERDICTS, groups), say)
    sections = [
        {
            "group": group,
            "verdict": verdict,
            "sentence": say(by_trials(_of(compared, group))),
            "budget": page(budget_table(group.cells, table.delta), say),
            "tuning": page(tuning_table(_of(compared, group)), say),
            "checks": [(check.level, say(check.name), say(check.reason)) for check in group.checks],
            "charts": {say(title): charts.translated(svg, say, labels) for title, svg in (made or {}).items()},
        }
        for group, verdict, made in zip(
            groups, verdicts["rows"], [None] * len(groups) if drawn is None else drawn.groups, strict=True
        )
    ]
    free = [
        (d.name, say(disposal_verdict(d, table.primary)), charts.translated(svg, say, labels))
        for d, svg in zip(disposals, [""] * len(disposals) if drawn is None else drawn.disposals, strict=True)
    ]
    return render(
        "fairness.html",
        **pages.of(paths.FAIRNESS),
        heading=say(table.title),
        every_chart=of_this_sweep("report", "--every-chart"),
        effort={
            "budget": series(had.budgets),
            "trials": counted(had.trials, TRIALS),
            "seeds": counted(had.seeds, SEEDS),
        },
        steps=say.number(had.steps),
        unlike=[say(line) for line in had.notes],
        legend=say(LEGEND),
        proof=say(table.proof),
        charted=drawn is not None,
        verdicts=verdicts,
        sections=sections,
        disposals=free,
    )


@dataclass(frozen=True)
class Drawn:
    """Charts of a fairness report, in English: by title for each group, and one for each free disposal."""

    groups: Sequence[Mapping[str, str]]
    disposals: Sequence[str]


def tuned_chart(table: SweepTable, names: Sequence[str], tuned: TunedGain, target: str) -> charts.Drawing:
    """Both tuning curves and the gain by number of trials; see :func:`metric_among` for the target."""
    sides = {name: curves.test for name, curves in zip(names, (tuned.a_curves, tuned.b_curves), strict=True)}
    return charts.tuned(sides, tuned.curve, tuned.n, table.delta, metric_among(table.primary, target))


def _disposal_chart(table: SweepTable, disposal: Disposal) -> str:
    if not isinstance(disposal.tuned, TunedGain) or disposal.tuned.trials < 2:  # repetitions have theirs each
        return ""
    return tuned_chart(table, _sides(disposal), disposal.tuned, disposal.target).inline


def _sides(disposal: Disposal) -> tuple[Message, Message]:
    """What stands on each side of a free disposal."""
    return Message("all real conditions"), Message(OTHER_SIDE[disposal.controlled], modality=disposal.modality)


#: What real conditions stand against, by whether there is a control.
OTHER_SIDE = {True: Template("{modality} shuffled"), False: Template("without {modality}")}
#: Where seconds go.
STAGES = (Message("tuning"), Message("final runs"))


def _charts(table: SweepTable, group: Group, compared: Sequence[Comparison]) -> Mapping[str, str]:
    """Inline SVG charts by title."""
    cells = [c for c in group.cells if np.isfinite(c.validation).any() and len(c.trials) > 1]
    target = group.cells[0].cell.target
    score = charts.score_label(metric_among(SELECTION_METRIC, target))
    drawn: dict[str, str] = {}
    for c in compared:
        if isinstance(c.tuned, TunedGain) and c.tuned.trials > 1:
            title = Message(
                "{a} against {b}: both tuned, and the gain by number of trials (dotted: the {n} trials of the verdict; "
                "bands up to half of the trials)",
                a=c.a.modality,
                b=c.b.modality,
                n=c.tuned.n,
            )
            drawn[title] = tuned_chart(table, [c.a.modality, c.b.modality], c.tuned, c.target).inline
    if cells and group.enough_trials() and not any(c.rungs for c in cells):
        bands = {c.modality: c.alone.curves.validation for c in cells}
        drawn[Message("Expected best validation score by number of trials")] = charts.curves(
            bands, score, charts.TRIALS
        )
        cost = {c.modality: np.cumsum(c.trial_seconds()) for c in cells}
        drawn[Message("The same by seconds of tuning")] = charts.curves(bands, score, charts.SECONDS, cost)
    if cells:
        drawn[Message("Every trial")] = charts.strip({c.modality: c.validation for c in cells}, score)
        # A text or a list has no place on an axis.
        paths_searched = [
            path
            for path in cells[0].choice.configuration
            if all(isinstance(trial.configuration.get(path), int | float) for c in cells for trial in c.trials)
        ]
        if paths_searched:
            drawn[Message("Score over each range (bounds drawn; red: best trials at the edge)")] = charts.marginals(
                paths_searched, cells, {path for hit in too_narrow(cells).values() for path in hit}, score
            )
        drawn[Message("Validation against test, every trial")] = charts.scatter(
            {c.modality: (c.validation, _mean_of_users(c)) for c in cells if c.test.size},
            score,
            metric_among(table.primary, target),
        )
    histories = {c.modality: [f.course.history for f in c.finals if f.course is not None] for c in group.cells}
    if any(len(h) > 1 for runs in histories.values() for h in runs):
        drawn[Message("Learning curves of the final runs")] = charts.learning(histories, score)
    seconds = {c.modality: _seconds_by_stage(c) for c in group.cells}
    drawn[Message("Where the seconds went")] = charts.stacked(seconds, STAGES)
    return drawn


def _mean_of_users(cell: CellEffort) -> NDArray[np.float64]:
    """Test metric of each trial, NaN for one that failed, ``(n_trials,)``."""
    means = np.full(len(cell.test), np.nan)
    tested = ~np.isnan(cell.test).all(axis=1)
    means[tested] = np.nanmean(cell.test[tested], axis=1)
    return means


def _seconds_by_stage(cell: CellEffort) -> tuple[float, float]:
    seconds = [(row.stage == Stage.FINAL, row.cost.spent) for row in cell.ledger]
    return sum(s for final, s in seconds if not final), sum(s for final, s in seconds if final)
