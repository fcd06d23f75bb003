"""The table of verdicts: every planned contrast and free disposal with its tuned gain, tests and word."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from mmbench.inference.gains import Gain, TopTrial, TunedGain
from mmbench.inference.intervals import CrossedInterval, Interval, LogGain, UserEffects
from mmbench.inference.verdicts import MIN_TRIALS, equivalence_level
from mmbench.messages import Message, digits_apart, points, series
from mmbench.report.comparisons import Comparison, Inference, is_significant, significant
from mmbench.report.disposals import ALL_MODELS, FREE, Disposal
from mmbench.report.layout import Column, Document, Table
from mmbench.report.new_items import floor_lines
from mmbench.report.pooled import has_added_data, pooled_tables, rank_tables
from mmbench.report.sentences import (
    MORE_SEARCH,
    at_level,
    contrast_verdict,
    disposal_cells,
    disposal_sentence,
    disposal_verdict,
    earlier_lines,
    effort,
    margin_beside,
    metric_among,
    metric_of_all,
    percent,
    percents,
    sentence,
)
from mmbench.report.spent import spent_by
from mmbench.report.table import SweepTable
from mmbench.report.together import TOGETHER


def document(table: SweepTable, compared: Sequence[Comparison], disposals: Sequence[Disposal]) -> Document:
    """Contrasts and free disposals of each dataset, then what is pooled over data sets.

    The export holds contrasts and free disposals below each other.

    Args:
        table: the sweep.
        compared: its planned contrasts.
        disposals: free disposal of its modalities.
    """
    columns, free = columns_of(table), disposal_columns(table)
    printed: list[Table[Any]] = []
    together: Sequence[Comparison | Disposal] = [*compared, *disposals]
    outside = {row.dataset for row in together if row.over is None and row.within is None}

    def block(row: Comparison | Disposal) -> str:
        """Data set, or repetitions, in whose table a row is printed; folds may stand beside the whole of theirs."""
        over = row.over or row.within
        if over is None:
            return row.dataset
        return over.name if over.data in outside else over.data

    within = {row.dataset: block(row) for row in together}
    for name in dict.fromkeys(within.get(dataset, dataset) for dataset in table.datasets):
        rows = [c for c in compared if block(c) == name]
        if rows:
            metric = metric_among(table.primary, _target(table, rows))
            title = Message("{data}, verdicts on {metric}", data=name, metric=metric)
            printed.append(Table(title, [*_repetition(rows), *columns], rows))
        choices = [d for d in disposals if block(d) == name]
        if choices:
            metric = metric_among(table.primary, _target(table, choices))
            title = Message("{data}, free disposal on {metric}", data=name, metric=metric)
            printed.append(Table(title, [*_repetition(choices), *free], choices))
    printed += [*pooled_tables([*compared, *disposals], table), *rank_tables(table)]
    exported: list[Table[Any]] = [Table("", columns, compared), Table("", free, disposals)]
    return Document(
        Message("{sweep}, verdicts", sweep=table.title), printed, notes(table, compared, disposals), exported
    )


def _target(table: SweepTable, rows: Sequence[Comparison | Disposal]) -> str:
    """What the tuning of some rows of one data set, or of its repetitions, aims at, whether or not it has run."""
    row = rows[0]
    return table.targets.get(row.dataset if row.over is None else row.over.datasets[0], "")


def _repetition(rows: Sequence[Comparison | Disposal]) -> list[Column[Any]]:
    """Which repetition a row is, or that it is all of them; nothing where there are none."""
    if all(row.over is None for row in rows):
        return []
    return [Column(None, Message("data"), lambda row: row.dataset if row.over is None else row.over.words, names=True)]


def columns_of(table: SweepTable) -> Sequence[Column[Comparison]]:
    """Every column; a terminal shows the verdict first, then tests and the two configurations, then the tuning."""
    return (
        Column("dataset", None, lambda c: c.dataset),
        Column("model", Message("model"), lambda c: c.model, names=True),
        Column("contrast", Message("contrast"), lambda c: c.contrast, names=True),
        Column("metric", None, lambda c: table.primary),
        Column("verdict", None, lambda c: c.word),
        Column("also", None, lambda c: "; ".join(c.judgement.also) if c.judgement else ""),
        Column("reason", None, lambda c: c.judgement.reason if c.judgement else c.pending),
        Column("sentence", None, lambda c: sentence(c, table.primary)),
        Column("fairness", None, lambda c: c.fairness),
        Column("delta", None, lambda c: table.delta),
        *(of_contrast(column) for column in GAIN),
        *ADJUSTED,
        Column(None, Message("verdict"), lambda c: c.word),
        Column(None, Message("fairness"), lambda c: c.fairness),
        *tests_of(table),
        Column("redundancy", Message("R"), lambda c: c.redundancy, lambda share: f"{share:.2f}", part=2),
        *(of_contrast(column) for column in TUNING),
        *OPTIMISM,
        Column(
            "configuration_gain", Message("these two configurations %"), _configured(lambda g: g.mean), points, part=4
        ),
        Column(None, Message("95 % over users and seeds"), _crossed(lambda g: g.at(0.95)), percents, part=4),
        Column("configuration_lo95", None, _crossed(lambda g: g.at(0.95).lo)),
        Column("configuration_hi95", None, _crossed(lambda g: g.at(0.95).hi)),
        Column("configuration_se", None, _crossed(lambda g: g.se)),
        Column("configuration_df", None, _crossed(lambda g: g.df)),
        Column("configuration_p", None, _crossed(lambda g: g.p)),
        Column("seeds", None, _configured(lambda g: g.seeds)),
        Column("improved", Message("improved %"), _of_users(lambda effects: effects.improved), _percent, part=4),
        Column("harmed", Message("harmed %"), _of_users(lambda effects: effects.harmed), _percent, part=4),
        Column("d_z", None, _of_users(lambda effects: effects.d_z)),
        Column("records_a", None, lambda c: None if c.over else str(c.a.folder.relative_to(table.folder))),
        Column("records_b", None, lambda c: None if c.over else str(c.b.folder.relative_to(table.folder))),
    )


def disposal_columns(table: SweepTable) -> Sequence[Column[Disposal]]:
    """Columns of free disposal; in the export they share those of the contrasts."""
    return (
        Column("dataset", None, lambda d: d.dataset),
        Column("model", Message("model"), lambda d: d.model or ALL_MODELS, names=True),
        Column("contrast", Message("free disposal of"), lambda d: d.name.split("/")[-1], _disposed, names=True),
        Column("metric", None, lambda d: table.primary),
        Column("verdict", None, lambda d: d.word),
        Column("also", None, lambda d: "; ".join(d.judgement.also)),
        Column("reason", None, lambda d: d.judgement.reason),
        Column("sentence", None, lambda d: disposal_sentence(d, table.primary)),
        Column("delta", None, lambda d: table.delta),
        *(_of_disposal(column) for column in GAIN),
        *ADJUSTED,
        Column(None, Message("verdict"), _judged),
        Column(None, Message("cells"), _sides),
        *tests_of(table),
        Column("real", None, lambda d: " ".join(d.real)),
        Column("control", None, lambda d: " ".join(d.control)),
        Column("missing", None, lambda d: "; ".join(f"model={model} {words}" for model, words in d.missing)),
        *(_of_disposal(column) for column in TUNING),
        *OPTIMISM,
    )


def _judged(disposal: Disposal) -> str:
    """Its word; that one side was searched more stands beside it."""
    if disposal.controlled:
        return disposal.word
    return Message("{word}: {why}", word=disposal.word, why=MORE_SEARCH)


def _sides(disposal: Disposal) -> Message | None:
    """How many cells stand on each side; None where repetitions differ in them."""
    if not disposal.real:
        return None
    return Message("{a} against {b}", a=len(disposal.real), b=len(disposal.control))


def _effort(tuned: Gain) -> Message:
    """How many of its trials a gain is about."""
    return Message("{n} of {trials}", n=tuned.n, trials=tuned.trials)


def _disposed(name: str) -> str:
    return name.removeprefix(FREE)


def _tuned(get: Callable[[Gain], float]) -> Callable[[Gain], float | None]:
    """A number of a tuned gain, None where it is not defined."""
    return lambda tuned: _known(get(tuned))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _bounded(get: Callable[[LogGain], Any]) -> Callable[[Gain], Any]:
    return lambda tuned: None if tuned.log_gain is None else get(tuned.log_gain)


def _tuning(get: Callable[[TunedGain], Any]) -> Callable[[Gain], Any]:
    """Something of tuning on one data set; None where several repetitions are judged together."""
    return lambda tuned: get(tuned) if isinstance(tuned, TunedGain) else None


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _difference(value: float) -> str:
    return f"{value:+.4f}"


def _equivalence(tuned: Gain, end: str) -> float | None:
    if tuned.log_gain is None:
        return None
    return float(getattr(tuned.log_gain.at(equivalence_level(tuned.level)), end))


def _top(top: TopTrial) -> Message:
    """A trial with its weights on both sides."""
    a, b = (f"{100 * weight:.0f}" for weight in (top.weight_a, top.weight_b))
    return Message("slot {slot}, {a} and {b} %", slot=top.slot, a=a, b=b)


#: What a tuned gain is, of contrasts and of free disposals.
GAIN: Sequence[Column[Gain]] = (
    Column("n", None, lambda t: t.n),
    Column("trials", None, lambda t: t.trials),
    Column(None, Message("trials"), _effort),
    Column("gain", Message("tuned gain %"), _tuned(lambda t: t.gain), points),
    Column(None, Message("interval"), lambda t: t.interval, percents),
    Column("level", None, lambda t: t.level),
    Column("lo", None, lambda t: t.interval.lo if t.interval else None),
    Column("hi", None, lambda t: t.interval.hi if t.interval else None),
    Column("equivalence_lo", None, lambda t: _equivalence(t, "lo")),
    Column("equivalence_hi", None, lambda t: _equivalence(t, "hi")),
    Column("log_ratio", None, _tuned(lambda t: t.log_ratio)),
    Column("se", None, _bounded(lambda log: log.se)),
    Column("df", None, _bounded(lambda log: log.df)),
    Column("p", None, _bounded(lambda log: log.p)),
    Column("no_word", None, lambda t: t.refusal or ""),
)
#: What a tuned gain is made of.
TUNING: Sequence[Column[Gain]] = (
    Column("gain_at_defaults", Message("at the defaults %"), _tuned(lambda t: t.gain_at_defaults), points, part=3),
    Column("gain_of_all", Message("after all trials %"), _tuned(lambda t: float(t.curve.mean[-1])), points, part=3),
    Column(
        "share_trials",
        Message("variance: trials %"),
        _tuning(lambda t: _known(t.estimate.shares.trials)),
        _percent,
        part=3,
    ),
    Column("share_users", Message("users %"), _tuning(lambda t: _known(t.estimate.shares.users)), _percent, part=3),
    Column(
        "share_seed",
        Message("seed of the default %"),
        _tuning(lambda t: _known(t.estimate.shares.seed)),
        _percent,
        part=3,
    ),
    Column("top_slot", None, _tuning(lambda t: t.top_trial.slot if t.top_trial else None)),
    Column("top_weight_a", None, _tuning(lambda t: t.top_trial.weight_a if t.top_trial else None)),
    Column("top_weight_b", None, _tuning(lambda t: t.top_trial.weight_b if t.top_trial else None)),
    Column(None, Message("top trial"), _tuning(lambda t: t.top_trial), _top, part=3),
    Column("gain_without_top", Message("without it %"), _tuning(lambda t: _known(_without(t))), points, part=3),
    Column("a_beats_b", Message("P(A > B)"), _tuning(lambda t: _known(t.a_beats_b)), lambda p: f"{p:.2f}", part=3),
)


def _tested(get: Callable[[Inference], float | None]) -> Callable[[Comparison | Disposal], float | None]:
    return lambda row: None if row.inference is None else get(row.inference)


def _of_p(
    key: str, label: str, get: Callable[[Inference], float], *, marked: bool = False, part: int = 1
) -> tuple[Column[Any], Column[Any]]:
    """A p as it is exported and as it is printed: with decimals that tell it from the level of its row's look."""

    def shown(row: Comparison | Disposal) -> str | None:
        if row.inference is None:
            return None
        p = get(row.inference)
        if p < 0.001:
            text = "<.001"
        else:
            text = f"{p:.{3 if row.tuned is None else digits_apart(p, 1.0 - row.tuned.level, 3)}f}"
        return text + "†" * (marked and is_significant(row, p))

    return Column(key, None, _tested(get)), Column(None, label, shown, part=part)


#: Tests of a tuned gain, of contrasts and free disposals, that are adjusted within their table.
ADJUSTED: Sequence[Column[Any]] = (
    *_of_p("holm_p", Message("Holm p"), lambda i: i.holm, marked=True),
    *_of_p("bh_q", Message("BH q"), lambda i: i.bh),
)


def tests_of(table: SweepTable) -> Sequence[Column[Any]]:
    """Tests of a tuned gain that are not adjusted."""
    return (
        *_of_p("equivalence_p", Message("equivalence p"), lambda i: i.equivalence_p, part=2),
        *_of_p("noninferior_p", Message("A not worse p"), lambda i: i.noninferior_p, part=2),
        *_of_p("dispensable_p", Message("B not worse p"), lambda i: i.dispensable_p, part=2),
        Column(
            "smallest_margin",
            Message("margin %"),
            _tested(lambda i: i.margin),
            lambda margin: margin_beside(margin, table.delta),
            part=2,
        ),
        Column("mde", Message("MDE %"), _tested(lambda i: i.mde), _percent, part=2),
    )


#: How much of the validation score is not found again on test.
OPTIMISM: Sequence[Column[Any]] = (
    Column("optimism_a", Message("optimism A"), lambda row: row.optimism and row.optimism[0], _difference, part=3),
    Column("optimism_b", Message("optimism B"), lambda row: row.optimism and row.optimism[1], _difference, part=3),
)


def _bounds(gain: Interval) -> str:
    """Bounds of a gain on a page."""
    return at_level(Message("{lo} to {hi} %", lo=points(gain.lo), hi=points(gain.hi)), gain.level)


def _without(tuned: TunedGain) -> float:
    return math.nan if tuned.top_trial is None else tuned.top_trial.gain_without


def of_contrast(column: Column[Gain]) -> Column[Comparison]:
    """The same column of a contrast that has a tuned gain."""
    return Column(
        column.key,
        column.label,
        lambda c: None if c.tuned is None else column.get(c.tuned),
        column.format,
        part=column.part,
    )


def _of_disposal(column: Column[Gain]) -> Column[Disposal]:
    """The same column of a free disposal that has a tuned gain."""
    return Column(
        column.key,
        column.label,
        lambda d: None if d.tuned is None else column.get(d.tuned),
        column.format,
        part=column.part,
    )


#: Columns of the index page.
PAGE: Sequence[Column[Comparison]] = (
    Column(None, Message("dataset"), lambda c: c.dataset),
    Column(None, Message("model"), lambda c: c.model),
    Column(None, Message("contrast"), lambda c: c.contrast),
    Column(None, Message("verdict"), lambda c: c.word),
    Column(
        None,
        Message("tuned gain"),
        lambda c: c.tuned.gain if c.tuned and math.isfinite(c.tuned.gain) else None,
        percent,
        order=float,
    ),
    Column(
        None,
        Message("range"),
        lambda c: c.tuned.interval if c.tuned else None,
        _bounds,
        order=lambda gain: float(gain.hi - gain.lo),
    ),
    Column(None, Message("trials"), lambda c: _effort(c.tuned) if c.tuned else None),
    Column(None, Message("fairness"), lambda c: c.fairness),
)
#: Columns of free disposal on the index page.
DISPOSAL_PAGE: Sequence[Column[Disposal]] = (
    Column(None, Message("dataset"), lambda d: d.dataset),
    Column(None, Message("model"), lambda d: d.model or ALL_MODELS),
    Column(None, Message("free disposal of"), lambda d: d.modality),
    Column(None, Message("verdict"), _judged),
    Column(
        None,
        Message("tuned gain"),
        lambda d: d.tuned.gain if d.tuned and math.isfinite(d.tuned.gain) else None,
        percent,
        order=float,
    ),
    Column(
        None,
        Message("range"),
        lambda d: d.tuned.interval if d.tuned else None,
        _bounds,
        order=lambda gain: float(gain.hi - gain.lo),
    ),
    Column(None, Message("cells"), _sides),
)


def _configured(get: Callable[[CrossedInterval], Any]) -> Callable[[Comparison], Any]:
    """Something of the gain of the chosen configurations."""
    return lambda c: None if c.configuration is None else get(c.configuration)


def _crossed(get: Callable[[CrossedInterval], Any]) -> Callable[[Comparison], Any]:
    """Something of the error of that gain, where users and training noise tell it."""

    def value(comparison: Comparison) -> Any:
        gain = comparison.configuration
        return get(gain) if gain is not None and gain.bounded and comparison.noise_known else None

    return value


def _of_users(get: Callable[[UserEffects], float]) -> Callable[[Comparison], float | None]:
    return lambda c: None if c.effects is None else get(c.effects)


def notes(table: SweepTable, compared: Sequence[Comparison], disposals: Sequence[Disposal]) -> list[str]:
    """What has to be said under the verdicts, and the reason of each."""
    none = Message(
        "no verdict: this sweep holds both conditions of none of the planned contrasts ({contrasts})",
        contrasts=series([contrast.name for contrast in table.contrasts]) if table.contrasts else "",
    )
    if not compared and not disposals:
        return [none]
    (significant_ones, planned), had = significant(compared), spent_by(table)
    lines: list[str] = [
        *([] if compared else [none]),
        Message(
            "budget {budget}: at most {trials} and {seeds} of a condition (fairness.md: of each).",
            **effort(table),
        ),
        *had.notes,
        Message(
            "A_vs_B: relative gain of A over B in {metric} once both are tuned with n of their trials, best on "
            "validation; interval over the draw of trials, users and the seed of the default configuration (95 % "
            "unless another level is named). Valid for random search in these spaces: a good region that no trial hit "
            "is not covered. Equivalence margin {margin} %, fixed before the sweep; Holm p within a model, BH q over "
            "the table, † Holm p below .05 (.05/k at look k).",
            metric=metric_of_all(table.primary, table),
            margin=f"{100 * table.delta:g}",
        ),
        *LEGEND,
    ]
    if compared:
        lines.append(
            Message.counted(
                "Significant over the table (BH q below .05, or .05/k at look k): {significant} of {n} planned "
                "contrast; undecided is never 'no effect'.",
                "Significant over the table (BH q below .05, or .05/k at look k): {significant} of {n} planned "
                "contrasts; undecided is never 'no effect'.",
                planned,
                significant=significant_ones,
            )
        )
    absent = [c.name for c in table.contrasts if c.name not in {comparison.contrast for comparison in compared}]
    if compared and absent:
        lines.append(
            Message("Planned, but not both conditions are in this sweep: {contrasts}.", contrasts=series(absent))
        )
    if had.searched and had.trials[0] <= MIN_TRIALS:
        lines.append(Message("At most {n} trials, as those of budget small, are exploratory.", n=MIN_TRIALS))
    if any(c.over for c in compared) or any(d.over for d in disposals):
        lines.append(TOGETHER)
    lines += floor_lines(table, [table.primary])
    if any(c.target == "harmonic" for c in compared):
        lines.append(NOT_OF_USERS)
    lines += look_lines(compared, disposals)
    if has_added_data([*compared, *disposals], table):
        lines.append(
            Message(
                "Data sets were added to what is pooled over them after results had been seen: its interval has a "
                "further look at each addition, and the level 1 - .05/k of the k-th look; fairness.md lists what was "
                "added."
            )
        )
    for c in compared:
        lines.append(Message("{name}: {said}", name=c.name, said=contrast_verdict(c, table.primary)))
        lines += [Message("{name}, {said}", name=c.name, said=look) for look in earlier_lines(c)]
    return [*lines, *_free(table, disposals)]


def look_lines(compared: Sequence[Comparison], disposals: Sequence[Disposal]) -> list[str]:
    """Why some intervals have another level than 95 %; nothing where the test split was looked at once."""
    rows: Sequence[Comparison | Disposal] = [*compared, *disposals]
    lines: list[str] = []
    if any(row.reopened for row in rows):
        lines.append(
            Message(
                "T or S was raised, or a cell begun afresh or planned anew: at the k-th look at the test split words "
                "use the level 1 - .05/k, which is named where it is not 95 %; of the conditions that a word is about "
                "the one that was looked at most often counts. verdicts.md has below each verdict what was said at "
                "earlier looks, where the conditions of a model had the same effort then, nothing was added since and "
                "the records are whole."
            )
        )
    if any(row.enlarged for row in rows):
        lines.append(
            Message(
                "Split seeds, cold folds, conditions or models were added after results had been seen: what is said "
                "over all repetitions, or of the best of all conditions, has a further look at each addition, and "
                "the level 1 - .05/k of the k-th look; fairness.md lists what was added."
            )
        )
    return lines


#: What a harmonic mean does not tell.
NOT_OF_USERS = Message(
    "improved, harmed and d_z are not told of a harmonic mean: it is one of two means over users, and no user has a "
    "value of its own."
)
#: What the columns mean and what a word rests on.
LEGEND = (
    Message(
        "The word rests on the interval alone, whether or not it survives the adjustment; it speaks of this model "
        "tuned with n trials on this data."
    ),
    Message(
        "equivalence p: TOST within the margin; A (B) not worse p: non-inferiority of A to B (of B to A); margin: "
        "smallest one at which the two are equivalent; MDE: true gain that is seen in four of five such studies (80 % "
        "power), smaller ones less often; R: share of what the modality brings on its own that the others bring "
        "too (contribution.md)."
    ),
    Message(
        "these two configurations: gain of the one configuration that validation chose for A over that of B, interval "
        "over users and seeds: these two configurations, not the method; improved, harmed: share of users whom A's "
        "serves better, worse."
    ),
    Message(
        "top trial: the random trial that is chosen most often, its weights in A and B, and the gain without it; "
        "optimism: expected validation score minus expected test metric; P(A > B): chance over draws of the trials "
        "that the trial chosen for A has the higher test metric."
    ),
)
#: What free disposal is.
DISPOSAL_LEGEND = Message(
    "free disposal of a modality: the best of all real conditions, picked on validation, over the best of the same "
    "ones with the modality shuffled; conditions without it stand on both sides, one whose control was not run on "
    "neither. There is no word where a condition was not run without the modality, which is then not free to leave "
    "out. For one model 'worse' means that it cannot ignore what does not help. Where no control was run at all, "
    "the best of all real conditions over the best of those without the modality: more search on one side, no word."
)


def _free(table: SweepTable, disposals: Sequence[Disposal]) -> list[str]:
    """What free disposal is, and the reason of each word."""
    if not disposals:
        return []
    alone = [d for d in disposals if d.over is None]
    failed = {(d.dataset, control.model, control.overrides): control for d in alone for control in d.failed}
    missing = {(d.dataset, m, overrides) for d in alone for m, overrides in d.missing} - failed.keys()
    lines: list[str] = [DISPOSAL_LEGEND]
    for dataset, model, overrides in sorted(missing):
        words = f"dataset={dataset} model={model} {overrides}"
        lines.append(Message("control not run: {overrides}", overrides=words))
    for name, model, overrides in sorted({(d.dataset, *other) for d in alone if d.controlled for other in d.without}):
        words = f"dataset={name} model={model} {overrides}"
        lines.append(Message("condition without a modality not run: {overrides}", overrides=words))
    for (dataset, _, _), control in sorted(failed.items()):
        lines.append(
            Message("control has no result: dataset={dataset} {failure}", dataset=dataset, failure=control.said)
        )
    for name, (other, first) in sorted({(d.dataset, pair) for d in alone for pair in d.passed_over}):
        lines.append(
            Message(
                "{dataset}/{condition} is on neither side: {first} has the same states and comes before it in the plan",
                dataset=name,
                condition=other,
                first=first,
            )
        )
    for d in disposals:
        lines.append(Message("{name}: {said}", name=d.name, said=disposal_verdict(d, table.primary)))
        lines += [Message("{name}, {said}", name=d.name, said=look) for look in earlier_lines(d)]
    sided = [d for d in disposals if d.real]
    return [*lines, *(Message("{name}: {said}", name=d.name, said=disposal_cells(d)) for d in sided)]
