"""The table of verdicts: every planned contrast with its gain, tests and word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mmbench.inference.intervals import CrossedInterval, UserEffects
from mmbench.report.comparisons import ALPHA, Comparison, Inference, significant
from mmbench.report.layout import Column, Document, Table
from mmbench.report.pooled import percents, pooled_tables, rank_tables
from mmbench.report.table import PRIMARY, SweepTable


def document(table: SweepTable, compared: Sequence[Comparison]) -> Document:
    """One table for each dataset, then gains pooled over data sets, and ranks where there are enough of them."""
    columns = columns_of(table)
    by_dataset = {name: [c for c in compared if c.dataset == name] for name in table.datasets}
    printed: list[Table[Any]] = [
        Table(f"{name}, verdicts on {PRIMARY}", columns, rows) for name, rows in by_dataset.items() if rows
    ]
    printed += [*pooled_tables(compared), *rank_tables(table)]
    exported = [Table("", columns, compared)]
    return Document(f"{table.name}, verdicts", printed, notes(table, compared), exported)


def columns_of(table: SweepTable) -> Sequence[Column[Comparison]]:
    """Every column; a terminal shows the verdict first and what lies behind it in a second table."""
    return (
        Column("dataset", None, lambda c: c.dataset),
        Column("model", "model", lambda c: c.model, names=True),
        Column("contrast", "contrast", lambda c: c.contrast, names=True),
        Column("metric", None, lambda c: PRIMARY),
        Column("verdict", None, lambda c: c.word),
        Column("also", None, lambda c: "; ".join(c.judgement.also) if c.judgement else ""),
        Column("reason", None, lambda c: c.judgement.reason if c.judgement else ""),
        Column("fairness", None, lambda c: c.fairness),
        Column("delta", None, lambda c: table.delta),
        Column("seeds", None, lambda c: c.gain.seeds if c.gain else None),
        Column("gain", "gain %", lambda c: c.gain.mean if c.gain else None, lambda gain: f"{100 * gain:+z.1f}"),
        Column(None, "95 %", _inferred(lambda gain: gain.at(0.95)), percents),
        Column("lo95", None, _inferred(lambda gain: gain.at(0.95).lo)),
        Column("hi95", None, _inferred(lambda gain: gain.at(0.95).hi)),
        Column("lo90", None, _inferred(lambda gain: gain.at(0.90).lo)),
        Column("hi90", None, _inferred(lambda gain: gain.at(0.90).hi)),
        Column("se", None, _inferred(lambda gain: gain.se)),
        Column("df", None, _inferred(lambda gain: gain.df)),
        Column("p", None, _inferred(lambda gain: gain.p)),
        Column("holm_p", "Holm p", _tested(lambda i: i.holm), lambda p: _p(p) + ("†" if p < ALPHA else "")),
        Column("bh_q", "BH q", _tested(lambda i: i.bh), _p),
        Column(None, "verdict", lambda c: c.word),
        Column(None, "fairness", lambda c: c.fairness),
        Column("equivalence_p", "equivalence p", _tested(lambda i: i.equivalence_p), _p, part=2),
        Column("noninferior_p", "A not worse p", _tested(lambda i: i.noninferior_p), _p, part=2),
        Column("dispensable_p", "B not worse p", _tested(lambda i: i.dispensable_p), _p, part=2),
        Column("smallest_margin", "margin %", _tested(lambda i: i.margin), _percent, part=2),
        Column("mde", "MDE %", _tested(lambda i: i.mde), _percent, part=2),
        Column("tuned_gain", None, lambda c: c.tuned.mean if c.tuned else None),
        Column("tuned_lo90", None, lambda c: c.tuned.lo if c.tuned else None),
        Column("tuned_hi90", None, lambda c: c.tuned.hi if c.tuned else None),
        Column("improved", "improved %", _of_users(lambda effects: effects.improved), _percent, part=2),
        Column("harmed", "harmed %", _of_users(lambda effects: effects.harmed), _percent, part=2),
        Column("d_z", None, _of_users(lambda effects: effects.d_z)),
        Column("redundancy", "R", lambda c: c.redundancy, lambda share: f"{share:.2f}", part=2),
        Column("records_a", None, lambda c: str(c.a.folder.relative_to(table.folder))),
        Column("records_b", None, lambda c: str(c.b.folder.relative_to(table.folder))),
    )


#: Columns of the index page.
PAGE: Sequence[Column[Comparison]] = (
    Column(None, "dataset", lambda c: c.dataset),
    Column(None, "model", lambda c: c.model),
    Column(None, "contrast", lambda c: c.contrast),
    Column(
        None,
        "gain",
        lambda c: c.gain.mean if c.gain else None,
        lambda gain: f"{100 * gain:+z.1f} %",
        order=lambda gain: float(gain),
    ),
    Column(
        None,
        "95 % range",
        lambda c: c.gain if c.inference else None,
        lambda gain: f"{100 * gain.lo:+z.1f} to {100 * gain.hi:+z.1f} %",
        order=lambda gain: float(gain.hi - gain.lo),
    ),
    Column(None, "verdict", lambda c: c.word),
    Column(None, "fairness", lambda c: c.fairness),
)


def _inferred(get: Callable[[CrossedInterval], Any]) -> Callable[[Comparison], Any]:
    """Something of the gain, where anything is inferred from it."""
    return lambda c: None if c.gain is None or c.inference is None else get(c.gain)


def _tested(get: Callable[[Inference], float]) -> Callable[[Comparison], float | None]:
    return lambda c: None if c.inference is None else get(c.inference)


def _of_users(get: Callable[[UserEffects], float]) -> Callable[[Comparison], float | None]:
    return lambda c: None if c.effects is None else get(c.effects)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _p(p: float) -> str:
    return "<.001" if p < 0.001 else f"{p:.3f}"


def notes(table: SweepTable, compared: Sequence[Comparison]) -> list[str]:
    """What has to be said under the verdicts, and the reason of each."""
    if not compared:
        planned = ", ".join(contrast.name for contrast in table.contrasts)
        return [f"no verdict: this sweep holds both conditions of none of the planned contrasts ({planned})"]
    one_seed = any(c.gain is not None and c.inference is None for c in compared)
    budget = table.budget
    lines = [
        f"budget {budget['name']}: {budget['trials']} trials and {budget['seeds']} final seeds of every condition.",
        f"A_vs_B: relative gain of A over B in {PRIMARY}, equivalence margin {100 * table.delta:g} %, fixed before the "
        "sweep; interval over users and seeds; Holm p within a model, BH q over the table, † Holm p below .05.",
        "The word rests on the interval alone, whether or not it survives the adjustment.",
        "equivalence p: TOST within the margin; A (B) not worse p: non-inferiority of A to B (of B to A); margin: "
        "smallest one at which the two are equivalent; MDE: gain that is detected with 80 % power; improved, harmed: "
        "share of users; R: share of what the modality adds to nothing that the others tell too (contribution.md).",
        "{} of {} tested contrasts are significant over the table (BH q < .05); undecided is never 'no effect'.".format(
            *significant(compared)
        ),
    ]
    absent = [c.name for c in table.contrasts if c.name not in {comparison.contrast for comparison in compared}]
    if absent:
        lines.append(f"Planned, but not both conditions are in this sweep: {', '.join(absent)}.")
    if one_seed:
        lines.append("One seed: training noise was not measured, so nothing is inferred and no word is allowed.")
    if table.budget["name"] == "small":
        lines.append("Budget small is exploratory.")
    return [*lines, *(f"{c.name}: {reason(c)}" for c in compared)]


def reason(comparison: Comparison) -> str:
    """Verdict and reason of one contrast in a sentence."""
    if comparison.judgement is None:
        return f"not judged: {comparison.pending}"
    also = f" (also {', '.join(comparison.judgement.also)})" if comparison.judgement.also else ""
    return f"{comparison.judgement.word}{also}: {' '.join(comparison.judgement.reason.split())}"
