"""The benchmark table of a sweep: one row per model with values, gains and the verdict (METHOD page i)."""

from __future__ import annotations

import pandas as pd

from mmbench.inference import intervals
from mmbench.inference.contrast import Contrast
from mmbench.inference.intervals import bounds
from mmbench.inference.verdicts import MIN_SEEDS, Verdict
from mmbench.report import layout
from mmbench.report.comparisons import ALPHA, Comparison
from mmbench.report.layout import Block, Entry
from mmbench.report.table import ID_ONLY, PRIMARY, CellResult, SweepTable

BEST, ALIKE = 1, 3
SAME, NOTHING = "=", "-"
SIGNIFICANT, EQUIVALENT, UNDECIDED, FAILED = "†", "≈", "?", "✗"
Found = dict[tuple[str, str, str], Comparison]


def blocks(table: SweepTable, compared: list[Comparison]) -> list[Block]:
    """One table per dataset.

    Args:
        table: the sweep.
        compared: its planned contrasts, judged.
    """
    by_name = {(c.dataset, c.model, c.contrast): c for c in compared}
    return [_block(table, dataset, by_name) for dataset in table.datasets]


def _block(table: SweepTable, dataset: str, found: Found) -> Block:
    contrasts = [pair for pair in table.contrasts if any(k[0] == dataset and k[2] == _name(pair) for k in found)]
    shown = [_name(pair) for pair in contrasts]
    values = ["model", *table.conditions]
    tests = [*(f"{name} %" for name in shown)]
    if shown:
        tests += [f"verdict {shown[0]}", "margin %", "MDE %", "R", "seeds x trials", "fairness"]
    marks = _marks(table, dataset)
    rows = []
    for model in table.models(dataset):
        cells = [Entry(model)]
        for number, condition in enumerate(table.conditions):
            result = table.result(dataset, model, condition)
            repeated = result is not None and result.modality == ID_ONLY and number > 0
            text = SAME if repeated else _value(result)
            cells.append(Entry(text, 0 if repeated else marks.get((condition, model), 0)))
        rows.append([*cells, *map(Entry, _tests(table, dataset, model, shown, found))])
    parts = (range(1, len(values)), range(len(values), len(values) + len(tests)))
    hint = " (* best of its column, ~ not told from it)"
    return Block(f"{dataset}, benchmark on {PRIMARY}", [*values, *tests], rows, parts, hint)


def _name(pair: Contrast) -> str:
    return "{}_vs_{}".format(*pair)


def _value(result: CellResult | None) -> str:
    """Mean and half the width of its 95 % interval over users and seeds, to the places that three digits have."""
    if result is None:
        return NOTHING
    if result.status != "done":
        return FAILED if result.status == "failed" else result.status
    per_user = result.per_user(PRIMARY)
    if len(result.seeds) < MIN_SEEDS:
        return f"{per_user.mean():#.3g}"
    found = intervals.crossed_interval(per_user)
    return f"{found.mean:#.3g} ±{found.hi - found.mean:#.2g}"


def _marks(table: SweepTable, dataset: str) -> dict[tuple[str, str], int]:
    """The best model of every condition, and those that a paired interval does not tell from it."""
    marks: dict[tuple[str, str], int] = {}
    for condition in table.conditions:
        order = table.ranked(dataset, condition, PRIMARY)
        results = {model: table.done(dataset, model, condition) for model in order}
        for model in order:
            best, other = results[order[0]], results[model]
            if model == order[0]:
                marks[condition, model] = BEST
            elif best is not None and other is not None and not _told_apart(best, other):
                marks[condition, model] = ALIKE
    return marks


def _told_apart(best: CellResult, other: CellResult) -> bool:
    if (best.seeds, best.test_hash) != (other.seeds, other.test_hash) or len(best.seeds) < MIN_SEEDS:
        return True
    gap = intervals.crossed_interval(best.per_user(PRIMARY) - other.per_user(PRIMARY))
    return not gap.lo <= 0.0 <= gap.hi


def _tests(table: SweepTable, dataset: str, model: str, shown: list[str], found: Found) -> list[str]:
    """Gains of every contrast, then what is said of the first one."""
    if not shown:
        return []
    gains = [_gain(found.get((dataset, model, name))) for name in shown]
    first = found.get((dataset, model, shown[0]))
    if first is None:
        return [*gains, *[NOTHING] * 4, _effort(table), NOTHING]
    inference = first.inference
    tests = [NOTHING] * 2 if inference is None else [f"{100 * v:.1f}" for v in (inference.margin, inference.mde)]
    redundancy = NOTHING if first.redundancy is None else f"{first.redundancy:.2f}"
    return [*gains, first.word, *tests, redundancy, _effort(table), first.fairness]


def _effort(table: SweepTable) -> str:
    return f"{table.budget['seeds']} x {table.budget['trials']}"


def _gain(c: Comparison | None) -> str:
    """A gain with its interval and marks."""
    if c is None:
        return NOTHING
    if c.gain is None:
        return FAILED if c.judgement is not None else NOTHING
    text = f"{100 * c.gain.mean:+z.1f}"
    if c.inference is None or c.judgement is None:
        return text
    lo, hi = bounds(c.gain, 0.95)
    marks = SIGNIFICANT * (c.inference.holm < ALPHA) + EQUIVALENT * (c.inference.equivalence_p < ALPHA)
    marks += UNDECIDED * (c.judgement.word is Verdict.UNDECIDED)
    marks += FAILED * (c.judgement.word is Verdict.UNTRUSTED)
    return f"{text} [{100 * lo:+z.1f}, {100 * hi:+z.1f}]{marks}"


def notes(table: SweepTable) -> list[str]:
    """What has to be said under the table."""
    hashes = sorted({cell.test_hash[:12] for cell in table.cells.values() if cell.status == "done"})
    said = [
        f"{PRIMARY}, mean over users and seeds ± half its 95 % interval; {SAME} the model ignores content; best of a "
        "column marked, and those that a paired 95 % interval over users and seeds (uncorrected) cannot tell from it.",
        f"Gains are relative, 95 % interval over users and seeds; {SIGNIFICANT} Holm p within the model below .05, "
        f"{EQUIVALENT} equivalent within {100 * table.delta:g} % (TOST), {UNDECIDED} undecided, {FAILED} failed or not "
        "trusted; margin: smallest one at which the two are equivalent; MDE: gain that is detected with 80 % power; "
        "R: share of what the added modality adds to nothing that the others tell too.",
        f"Budget {table.budget['name']}; test split {', '.join(hashes) or NOTHING}. Reasons: verdicts.md.",
    ]
    if table.budget["seeds"] < MIN_SEEDS:
        said.append("One seed: training noise was not measured, so no interval is given and nothing is told apart.")
    return said


def as_markdown(table: SweepTable, compared: list[Comparison]) -> str:
    """The benchmark table as GitHub Markdown."""
    return layout.markdown(f"{table.name}, benchmark", blocks(table, compared), notes(table))


def as_latex(table: SweepTable, compared: list[Comparison]) -> str:
    """The benchmark table for a paper."""
    return layout.latex(blocks(table, compared), notes(table))


def as_frame(table: SweepTable, compared: list[Comparison]) -> pd.DataFrame:
    """The rows as they are printed, with their dataset; numbers in full precision are in table.csv and verdicts.csv."""
    rows = []
    for dataset, block in zip(table.datasets, blocks(table, compared), strict=True):
        for row in block.rows:
            rows.append({"dataset": dataset, **{name: e.text for name, e in zip(block.header, row, strict=True)}})
    return pd.DataFrame(rows)
