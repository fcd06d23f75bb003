"""From the data sets of a sweep to one statement per model and contrast (METHOD §3.4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmbench.inference.pooling import MIN_DATASETS, PooledEffect, RankComparison, compare_ranks, pooled_gain
from mmbench.inference.verdicts import Verdict
from mmbench.report.comparisons import Comparison
from mmbench.report.layout import Block, block
from mmbench.report.table import ID_ONLY, PRIMARY, SweepTable

HEADER = ("model", "contrast", "data sets", "gain %", "95 %", "in a new data set %", "tau")
NOT_POOLED = (Verdict.FAILED, Verdict.UNTRUSTED)


def studies(found: Sequence[Comparison]) -> dict[tuple[str, str], list[Comparison]]:
    """Contrasts to pool by (model, contrast): one for each data set, trusted, with an error that is known.

    Of several splits of one data set the first counts: they share their users and are no independent studies.
    """
    pooled: dict[tuple[str, str], dict[str, Comparison]] = {}
    for c in found:
        trusted = c.judgement is not None and c.judgement.word not in NOT_POOLED
        if trusted and c.inference is not None and c.gain is not None and c.gain.se > 0 and c.gain.mean > -1:
            pooled.setdefault((c.model, c.contrast), {}).setdefault(c.a.data, c)
    return {key: list(by_data.values()) for key, by_data in pooled.items() if len(by_data) > 1}


def pool(found: Sequence[Comparison]) -> dict[tuple[str, str], PooledEffect]:
    """Random-effects mean over data sets by (model, contrast), where there are at least two data sets."""
    return {
        key: pooled_gain([c.gain for c in members if c.gain is not None]) for key, members in studies(found).items()
    }


def pooled_block(found: Sequence[Comparison]) -> list[Block]:
    """The pooled gains as a table, if there are any."""
    rows = []
    for (model, contrast), effect in pool(found).items():
        predicted = "-" if effect.predicted is None else _percents(*effect.predicted)
        interval = _percents(effect.lo, effect.hi)
        rows.append(
            [model, contrast, str(effect.k), f"{100 * effect.mean:+z.1f}", interval, predicted, f"{effect.tau:.3f}"]
        )
    return [block("all data sets, random effects of log(1 + gain)", HEADER, rows, keys=2)] if rows else []


def _percents(lo: float, hi: float) -> str:
    return f"[{100 * lo:+z.1f}, {100 * hi:+z.1f}]"


def ranks(table: SweepTable, model: str) -> tuple[list[str], RankComparison] | None:
    """Conditions of a model ranked over data sets; None below ten data sets or three conditions."""
    datasets: dict[str, str] = {}
    for (dataset, name, modality), cell in table.cells.items():
        if name == model and modality != ID_ONLY and cell.status == "done":
            datasets.setdefault(cell.data, dataset)  # the first split of each data set
    done = {c: [table.done(d, model, c) for d in datasets.values()] for c in table.conditions}
    whole = {c: [r.mean(PRIMARY) for r in row if r] for c, row in done.items() if row and all(row)}
    if len(datasets) < MIN_DATASETS or len(whole) < 3:
        return None
    return list(whole), compare_ranks(np.array(list(whole.values())).T)


def rank_blocks(table: SweepTable) -> list[Block]:
    """Mean ranks of the conditions of each model, only from ten data sets on."""
    blocks = []
    for model in sorted({model for _, model, _ in table.cells}):
        compared = ranks(table, model)
        if compared is not None:
            names, found = compared
            rows = [
                [name, f"{found.mean_ranks[i]:.2f}", ", ".join(_alike(names, found, i)) or "-"]
                for i, name in enumerate(names)
            ]
            title = (
                f"{model}, mean ranks over data sets (Friedman p {found.friedman_p:.3g}, "
                f"critical difference {found.critical_difference:.2f})"
            )
            blocks.append(block(title, ("condition", "mean rank", "not told apart from"), rows))
    return blocks


def _alike(names: Sequence[str], found: RankComparison, i: int) -> list[str]:
    """Conditions whose pairwise difference (Wilcoxon, Holm) is not significant."""
    return [name for j, name in enumerate(names) if j != i and found.pairwise_p[i, j] >= 0.05]
