"""The table of verdicts: every planned contrast with its gain, tests and word (METHOD page i)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mmbench.inference.intervals import bounds
from mmbench.report import layout, pooled
from mmbench.report.comparisons import ALPHA, Comparison, significant
from mmbench.report.layout import Block
from mmbench.report.table import PRIMARY, SweepTable

HEADER = (
    "model",
    "contrast",
    "gain %",
    "95 %",
    "Holm p",
    "BH q",
    "verdict",
    "fairness",
    "equivalence p",
    "A not worse p",
    "B not worse p",
    "margin %",
    "MDE %",
    "improved %",
    "harmed %",
    "R",
)
#: A terminal shows the verdict first and what lies behind it in a second table.
PARTS = (range(2, 8), range(8, len(HEADER)))
NOTHING = "-"


def row(c: Comparison) -> list[str]:
    """One contrast in the order of :data:`HEADER`."""
    gain = NOTHING if c.gain is None else f"{100 * c.gain.mean:+z.1f}"
    users = [NOTHING] * 2
    if c.effects is not None:
        users = [f"{100 * share:.1f}" for share in (c.effects.improved, c.effects.harmed)]
    interval = adjusted = [NOTHING]
    adjusted, tests = [NOTHING] * 2, [NOTHING] * 5
    if c.gain is not None and c.inference is not None:
        i = c.inference
        lo, hi = bounds(c.gain, 0.95)
        interval = [f"[{100 * lo:+z.1f}, {100 * hi:+z.1f}]"]
        adjusted = [_p(i.holm) + ("†" if i.holm < ALPHA else ""), _p(i.bh)]
        tests = [*map(_p, (i.equivalence_p, i.noninferior_p, i.dispensable_p))]
        tests += [f"{100 * share:.1f}" for share in (i.margin, i.mde)]
    redundancy = NOTHING if c.redundancy is None else f"{c.redundancy:.2f}"
    return [c.model, c.contrast, gain, *interval, *adjusted, c.word, c.fairness, *tests, *users, redundancy]


def _p(p: float) -> str:
    return "<.001" if p < 0.001 else f"{p:.3f}"


def blocks(table: SweepTable, found: Sequence[Comparison]) -> list[Block]:
    """One table per dataset, then gains pooled over data sets, and ranks where there are enough of them."""
    made = []
    for dataset in table.datasets:
        rows = [[layout.Entry(text) for text in row(c)] for c in found if c.dataset == dataset]
        if rows:
            made.append(Block(f"{dataset}, verdicts on {PRIMARY}", HEADER, rows, PARTS, keys=2))
    return [*made, *pooled.pooled_block(found), *pooled.rank_blocks(table)]


def notes(table: SweepTable, found: Sequence[Comparison]) -> list[str]:
    """What has to be said under the verdicts, and the reason of each."""
    if not found:
        planned = ", ".join(f"{a}_vs_{b}" for a, b in table.contrasts)
        return [f"no verdict: this sweep holds both conditions of none of the planned contrasts ({planned})"]
    one_seed = any(c.gain is not None and c.inference is None for c in found)
    budget = table.budget
    said = [
        f"budget {budget['name']}: {budget['trials']} trials and {budget['seeds']} final seeds of every condition.",
        f"A_vs_B: relative gain of A over B in {PRIMARY}, equivalence margin {100 * table.delta:g} %, fixed before the "
        "sweep; interval over users and seeds; Holm p within a model, BH q over the table, † Holm p below .05.",
        "The word rests on the interval alone, whether or not it survives the adjustment.",
        "equivalence p: TOST within the margin; A (B) not worse p: non-inferiority of A to B (of B to A); margin: "
        "smallest one at which the two are equivalent; MDE: gain that is detected with 80 % power; improved, harmed: "
        "share of users; R: share of what the modality adds to nothing that the others tell too (contribution.md).",
        "{} of {} tested contrasts are significant over the table (BH q < .05); undecided is never 'no effect'.".format(
            *significant(found)
        ),
    ]
    absent = [name for name in (f"{a}_vs_{b}" for a, b in table.contrasts) if name not in {c.contrast for c in found}]
    if absent:
        said.append(f"Planned, but not both conditions are in this sweep: {', '.join(absent)}.")
    if one_seed:
        said.append("One seed: training noise was not measured, so nothing is inferred and no word is allowed.")
    if table.budget["name"] == "small":
        said.append("Budget small is exploratory.")
    return [*said, *(f"{c.name}: {reason(c)}" for c in found)]


def reason(c: Comparison) -> str:
    """Verdict and reason of one contrast in a sentence."""
    if c.judgement is None:
        return f"not judged: {c.pending}"
    also = f" (also {', '.join(c.judgement.also)})" if c.judgement.also else ""
    return f"{c.judgement.word}{also}: {' '.join(c.judgement.reason.split())}"


def as_markdown(table: SweepTable, found: Sequence[Comparison]) -> str:
    """The verdicts as GitHub Markdown."""
    return layout.markdown(f"{table.name}, verdicts", blocks(table, found), notes(table, found))


def as_latex(table: SweepTable, found: Sequence[Comparison]) -> str:
    """The verdicts for a paper."""
    return layout.latex(blocks(table, found), notes(table, found))


def as_text(table: SweepTable, found: Sequence[Comparison]) -> str:
    """The verdicts for a terminal or a log."""
    return layout.plain(blocks(table, found), notes(table, found))


def as_frame(table: SweepTable, found: Sequence[Comparison]) -> pd.DataFrame:
    """One row per contrast, numbers as fractions in full precision; empty where nothing may be said."""
    rows = []
    for c in found:
        said = {
            "dataset": c.dataset,
            "model": c.model,
            "contrast": c.contrast,
            "metric": PRIMARY,
            "verdict": c.word,
            "also": "; ".join(c.judgement.also) if c.judgement else "",
            "reason": c.judgement.reason if c.judgement else "",
            "fairness": c.fairness,
            "delta": table.delta,
        }
        sides = {"records_a": c.a, "records_b": c.b}
        traced = {name: str(cell.folder.relative_to(table.folder)) for name, cell in sides.items()}
        rows.append({**said, **_gain(c), **_tests(c), **_beside(c), **traced})
    return pd.DataFrame(rows)


def _gain(c: Comparison) -> dict[str, float | None]:
    """The gain, with bounds where something is inferred."""
    gain, inferred = c.gain, c.gain if c.inference is not None else None
    lo95, hi95 = bounds(inferred, 0.95) if inferred else (None, None)
    lo90, hi90 = bounds(inferred, 0.90) if inferred else (None, None)
    return {
        "seeds": gain.seeds if gain else None,
        "gain": gain.mean if gain else None,
        "lo95": lo95,
        "hi95": hi95,
        "lo90": lo90,
        "hi90": hi90,
        "se": inferred.se if inferred else None,
        "df": inferred.df if inferred else None,
        "p": inferred.p if inferred else None,
    }


def _tests(c: Comparison) -> dict[str, float | None]:
    """Adjusted p, equivalence and power."""
    i = c.inference
    return {
        "holm_p": i.holm if i else None,
        "bh_q": i.bh if i else None,
        "equivalence_p": i.equivalence_p if i else None,
        "noninferior_p": i.noninferior_p if i else None,
        "dispensable_p": i.dispensable_p if i else None,
        "smallest_margin": i.margin if i else None,
        "mde": i.mde if i else None,
    }


def _beside(c: Comparison) -> dict[str, float | None]:
    """The luck of tuning, users, and redundancy."""
    return {
        "tuned_gain": c.tuned.point if c.tuned else None,
        "tuned_lo90": c.tuned.lo if c.tuned else None,
        "tuned_hi90": c.tuned.hi if c.tuned else None,
        "improved": c.effects.improved if c.effects else None,
        "harmed": c.effects.harmed if c.effects else None,
        "d_z": c.effects.d_z if c.effects else None,
        "redundancy": c.redundancy,
    }
