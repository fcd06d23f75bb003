"""The benchmark table of a sweep: one row per model with values, gains and the verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from mmbench.inference import intervals
from mmbench.inference.intervals import Interval
from mmbench.inference.tuned_gain import estimate
from mmbench.inference.verdicts import Verdict
from mmbench.messages import Message, Template, points, series
from mmbench.report.cell_effort import CellEffort
from mmbench.report.comparisons import LEVELS, Comparison, is_significant, level_of, unfairness, wordless
from mmbench.report.fairness_checks import Group
from mmbench.report.layout import ALIKE, BEST, NOTHING, Column, Document, Table
from mmbench.report.new_items import floor_lines
from mmbench.report.results import COUNTED
from mmbench.report.sentences import margin_beside, metric_among, metric_of_all, percents
from mmbench.report.spent import spent_by
from mmbench.report.table import CellResult, SweepTable
from mmbench.report.together import TOGETHER, UNMARKED, Repetitions, draws_of_new_items, read_repetitions

SAME = "="
SIGNIFICANT, EQUIVALENT, UNDECIDED, DEPENDS, FAILED, WORDLESS = "†", "≈", "?", "‡", "✗", "°"

#: Said of rows that are ahead of the best of their column once both are tuned.
AHEAD = Template("{data}: once both are tuned, these are ahead of the best of their column: {rows}.")


def document(table: SweepTable, compared: Sequence[Comparison], groups: Sequence[Group]) -> Document:
    """One table per dataset, after that of its repetitions; the export holds what is printed.

    Full precision is in table.csv and verdicts.csv.

    Args:
        table: the sweep.
        compared: its planned contrasts, judged.
        groups: its fairness report.
    """
    repeated = read_repetitions(table, groups)
    draws = draws_of_new_items(repeated)
    printed: list[Table[str]] = []
    together: list[Table[str]] = []
    behind = []
    for dataset in table.datasets:
        for over in (over for over in repeated if dataset == over.datasets[0]):
            together += (joined := list(_repeated(table, over, compared, groups)))
            printed += joined
        own = [group for group in groups if group.dataset == dataset]
        marks, ahead = ({}, []) if dataset in draws else _marks(table, dataset, own)
        if ahead:
            behind.append(Message(AHEAD, data=dataset, rows=series(ahead)))
        target = table.targets.get(dataset, "")
        efforts = {group.model: _effort(group.cells) for group in own}
        levels = {group.model: group.level for group in own}
        values = [_condition(table, dataset, condition, marks) for condition in table.conditions]
        hint = Message(" (* best of its column, ~ not told from it)") if marks else ""
        of_dataset = [c for c in compared if c.dataset == dataset]
        printed.append(
            _models(table, dataset, of_dataset, values, table.models(dataset), efforts, levels, target, hint)
        )
    notes = [*_notes(table), *behind, *floor_lines(table, [table.primary])]
    if together:
        notes.append(TOGETHER)
    if draws:
        notes.append(Message(UNMARKED, datasets=series(sorted(draws))))
    return Document(Message("{sweep}, benchmark", sweep=table.title), printed, notes)


def _repeated(
    table: SweepTable, over: Repetitions, compared: Sequence[Comparison], groups: Sequence[Group]
) -> Iterator[Table[str]]:
    """The gains that are judged over repetitions together, if there are any; values stand with each of them."""
    own = [
        c for c in compared if c.over is not None and len(c.over.datasets) > 1 and c.over.datasets[0] in over.datasets
    ]
    members = [group for group in groups if group.dataset in over.datasets]
    efforts = {
        m: _effort([c for group in members if group.model == m for c in group.cells]) for m in {c.model for c in own}
    }
    levels = {
        m: max((group.level for group in members if group.model == m), key=LEVELS.index, default=NOTHING)
        for m in efforts
    }
    for name in dict.fromkeys(c.dataset for c in own):
        together = [c for c in own if c.dataset == name]
        models = [m for m in table.models(over.datasets[0]) if any(c.model == m for c in together)]
        yield _models(table, name, together, [], models, efforts, levels, table.targets.get(over.datasets[0], ""))


def _models(
    table: SweepTable,
    dataset: str,
    compared: Sequence[Comparison],
    values: Sequence[Column[str]],
    models: Sequence[str],
    efforts: Mapping[str, str],
    levels: Mapping[str, str],
    target: str,
    hint: str = "",
) -> Table[str]:
    """A row for each model: values by condition, gain of every contrast, tests of the first one, effort, fairness."""
    by_contrast: dict[str, dict[str, Comparison]] = {contrast.name: {} for contrast in table.contrasts}
    for c in compared:
        by_contrast[c.contrast][c.model] = c
    shown = {name: by_model for name, by_model in by_contrast.items() if by_model}
    columns = [
        Column[str]("dataset", None, lambda model: dataset),
        Column[str]("model", Message("model"), str, names=True),
        *values,
    ]
    for name, by_model in shown.items():
        columns.append(_text(f"{name} %", by_model, lambda c: _gain(c) if c else NOTHING))
    if shown:
        name, first = next(iter(shown.items()))
        columns += [
            _text(Message("verdict {contrast}", contrast=name), first, lambda c: c.word if c else NOTHING),
            _text(
                Message("margin %"),
                first,
                lambda c: margin_beside(c.inference.margin, table.delta) if c and c.inference else NOTHING,
            ),
            _text(Message("MDE %"), first, _mde),
            _text("R", first, lambda c: NOTHING if c is None or c.redundancy is None else f"{c.redundancy:.2f}"),
            Column[str](
                Message("seeds x trials"), Message("seeds x trials"), lambda m: efforts.get(m, NOTHING), part=2
            ),
            Column[str](Message("fairness"), Message("fairness"), lambda m: levels.get(m, NOTHING), part=2),
        ]
    title = Message("{data}, benchmark on {metric}", data=dataset, metric=metric_among(table.primary, target))
    return Table(title, columns, models, hint)


def _effort(cells: Sequence[CellEffort]) -> str:
    """Final seeds and trials of every condition of a model, as its records say; several where they differ."""
    return ", ".join(f"{seeds} x {trials}" for seeds, trials in sorted({(len(c.finals), len(c.trials)) for c in cells}))


def _text(label: str, by_model: Mapping[str, Comparison], get: Callable[[Comparison | None], str]) -> Column[str]:
    """A column of texts about one contrast of every model."""
    return Column(label, label, lambda model: get(by_model.get(model)), part=2)


def _condition(table: SweepTable, dataset: str, condition: str, marks: Mapping[tuple[str, str], int]) -> Column[str]:
    def text(model: str) -> str:
        result = table.result(dataset, model, condition)
        if result is None:
            return NOTHING
        return SAME if table.repeats(dataset, model, condition) else _value(result, table.primary)

    def rank(model: str) -> int:
        return 0 if table.repeats(dataset, model, condition) else marks.get((condition, model), 0)

    return Column(condition, condition, text, rank=rank)


def _value(result: CellResult, metric: str) -> str:
    """Mean and half the width of its 95 % interval over users and seeds, if they tell it, to three and two figures."""
    if result.status != "done":
        return FAILED if result.status == "failed" else COUNTED[result.status]
    per_user = result.per_user(metric)
    if not result.noise_known:
        return _to_figures(per_user.mean(), 3)
    interval = intervals.bounded_interval(intervals.crossed_interval(per_user), len(per_user))
    if not interval.bounded:
        return _to_figures(interval.mean, 3)
    return f"{_to_figures(interval.mean, 3)} ±{_to_figures(interval.hi - interval.mean, 2)}"


def _to_figures(value: float, figures: int) -> str:
    """A number to so many figures, and to the whole number where these end before its point."""
    text = f"{value:#.{figures}g}"
    return f"{value:,.0f}" if abs(value) >= 1 and ("e" in text or text.endswith(".")) else text


def _marks(
    table: SweepTable, dataset: str, groups: Sequence[Group]
) -> tuple[dict[tuple[str, str], int], list[Message]]:
    """What is marked in every condition, and what is ahead of the best there once both are tuned.

    Returns:
        The rank of the best model of every condition and of those over which its tuned gain may be zero, by condition
        and model; and those over which its tuned gain lies below zero, two that ignore content in the first one alone.
        A measurement that is not trusted tells neither.
    """
    trusted = [group for group in groups if not unfairness(group)]
    efforts = {(group.model, cell.modality): cell for group in trusted for cell in group.cells}
    marks: dict[tuple[str, str], int] = {}
    ahead = []
    for condition in table.conditions:
        order = table.ranked(dataset, condition, table.primary)
        done = [table.done(dataset, model, condition) for model in order]
        tuned = [None if result is None else efforts.get((result.model, result.modality)) for result in done]
        repeated = bool(order) and table.repeats(dataset, order[0], condition)
        for model, effort in zip(order, tuned, strict=True):
            if model == order[0]:
                marks[condition, model] = BEST
                continue
            gain = None if tuned[0] is None or effort is None else _gain_of_best(tuned[0], effort, table.delta)
            if gain is not None and gain.contains(0.0):
                marks[condition, model] = ALIKE
            elif gain is not None and gain.hi < 0 and not (repeated and table.repeats(dataset, model, condition)):
                ahead.append(Message("{model} ({condition})", model=model, condition=condition))
    return marks, ahead


def _gain_of_best(best: CellEffort, other: CellEffort, delta: float) -> Interval | None:
    """The tuned gain of the best model over another; None where no word about it is allowed, or it is not trusted."""
    cells = (best, other)
    if wordless(cells) or any(cell.marks(delta) for cell in cells):
        return None
    try:
        found = estimate([best.tuned_cell], [other.tuned_cell], level=level_of(cells), between_models=True)
    except ValueError:  # other users
        return None
    return found.log_gain.at(found.level) if found.log_gain is not None and found.refusal is None else None


def _gain(comparison: Comparison) -> str:
    """A tuned gain with its interval and marks."""
    judgement, tuned, inference = comparison.judgement, comparison.tuned, comparison.inference
    if judgement is None:
        return NOTHING
    word = judgement.word
    broken = FAILED * (word in (Verdict.UNTRUSTED, Verdict.FAILED))
    if tuned is None or not math.isfinite(tuned.gain):
        return broken or NOTHING
    marks = ""
    if inference is not None:
        marks = SIGNIFICANT * is_significant(comparison, inference.holm)
        marks += EQUIVALENT * is_significant(comparison, inference.equivalence_p)
    marks += {Verdict.UNDECIDED: UNDECIDED, Verdict.DEPENDS_ON_TUNING: DEPENDS, None: WORDLESS}.get(word, "") + broken
    gain = points(tuned.gain)
    if tuned.interval is None:
        return f"{gain}{marks}"
    return Message("{gain} {bounds}{marks}", gain=gain, bounds=percents(tuned.interval), marks=marks)


def _mde(comparison: Comparison | None) -> str:
    inference = None if comparison is None else comparison.inference
    return NOTHING if inference is None or inference.mde is None else f"{100 * inference.mde:.1f}"


def _notes(table: SweepTable) -> list[str]:
    """What has to be said under the table."""
    had = spent_by(table)
    hashes = sorted({cell.test_hash[:12] for cell in table.cells.values() if cell.status == "done"})
    lines: list[str] = [
        Message(
            "{metric} of the chosen configuration, mean over users and seeds ± half its 95 % interval; {same} the "
            "model ignores content; best of a column marked, and those over which the tuned gain of the best has an "
            "interval that holds zero (over trials, users and the default's seed; uncorrected); where there is no such "
            "interval nothing is marked.",
            metric=metric_of_all(table.primary, table),
            same=SAME,
        ),
        Message(
            "Gains are relative, of models tuned with a third of their trials (verdicts.md), interval over trials, "
            "users and the default's seed (95 % unless another level is named); {significant} Holm p within the model"
            " below .05 (.05/k at look k), {equivalent} equivalent within {margin} % (TOST), {undecided} undecided, "
            "{depends} depends on tuning, {failed} failed or not trusted, {wordless} no word is allowed, or it is that "
            "of the repetitions together; margin: smallest one at which the two are equivalent; MDE: true gain that is "
            "seen in four of five such studies (80 % power), smaller ones less often; R: share of what the added "
            "modality brings on its own that the others bring too.",
            significant=SIGNIFICANT,
            equivalent=EQUIVALENT,
            margin=f"{100 * table.delta:g}",
            undecided=UNDECIDED,
            depends=DEPENDS,
            failed=FAILED,
            wordless=WORDLESS,
        ),
        Message(
            "Budget {budget}; test split {hashes}. Reasons: verdicts.md.",
            budget=series(had.budgets),
            hashes=series(hashes) if hashes else NOTHING,
        ),
    ]
    lines += had.notes
    if not had.measured:
        lines.append(
            Message("One seed: training noise was not measured, so no interval is given and nothing is told apart.")
        )
    return lines
