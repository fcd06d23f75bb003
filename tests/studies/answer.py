"""The answer of the study over all data sets that have run: ``python -m tests.studies.answer`` writes docs/study.md.

Reads what ``studies/`` keeps and nothing else, so everyone can make table and figure again. A gain is pooled over the
domains that have it: data sets of one domain hold the same items, and the first of them counts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mmbench.inference.intervals import LogGain
from mmbench.inference.pooling import PooledEffect, pooled_gain
from mmbench.messages import points
from mmbench.report import charts
from mmbench.report.pooled import NOT_POOLED, percents
from mmbench.store import files
from tests.benchmarks.performance import table, with_section
from tests.studies.sweeps import ROOT

STUDIES = ROOT / "studies"
PAGE = ROOT / "docs" / "study.md"
FIGURE = ROOT / "docs" / "images" / "studies" / "forest.svg"
#: Data sets in the order of the study, and what their items are.
DOMAINS = {
    "ml100k": "films",
    "uci_retail": "gifts",
    "tiktok": "clips",
    "hm_sample": "clothes",
    "ml1m": "films",
    "lfm2k": "artists",
    "baby": "baby products",
}
#: What the headline asks, and the contrasts that answer it.
QUESTIONS = {
    "text beside interactions": "text_vs_none",
    "images beside interactions": "image_vs_none",
    "audio beside interactions": "audio_vs_none",
    "images beside text": "fused_vs_text",
    "free use of text, all models": "free_disposal_of_text",
    "free use of images, all models": "free_disposal_of_image",
    "free use of audio, all models": "free_disposal_of_audio",
}
#: Data sets where what text is fused with are not images.
FUSED_WITH = {"lfm2k": "audio beside text"}
#: Questions in the order of the table, what is free to be left out last.
ORDER = sorted((*QUESTIONS, *FUSED_WITH.values()), key=lambda question: question.startswith("free"))
ALL_MODELS = "all models"
#: Fewer domains tell next to nothing about how much domains differ.
LEAST_DOMAINS = 3
#: Studies of several draws of the whole tuning.
DRAWN = ("ml100k_draws",)
MARGIN = 2.0
#: Largest gain that the figure has room for, in percent.
REACH = 30.0


def judged() -> pd.DataFrame:
    """Every verdict of every study that was published: a row for each, with its question and its study."""
    parts = []
    for name in DOMAINS:
        file = STUDIES / name / "verdicts.csv"
        if file.exists():
            rows = pd.read_csv(file)
            asked = {contrast: question for question, contrast in QUESTIONS.items()}
            if name in FUSED_WITH:
                asked["fused_vs_text"] = FUSED_WITH[name]
            free = rows.contrast.str.startswith("free_disposal")
            rows = rows[rows.contrast.isin(asked) & (~free | (rows.model == ALL_MODELS))]
            parts.append(rows.assign(study=name, question=rows.contrast.map(asked)))
    return pd.concat(parts, ignore_index=True)


def pooled(rows: pd.DataFrame) -> PooledEffect | None:
    """Random-effects mean of the gains of one model and question, one per domain; None below three of them."""
    usable = rows[np.isfinite(rows.log_ratio) & (rows.se > 0) & ~rows.verdict.isin([str(word) for word in NOT_POOLED])]
    each = usable.groupby(usable.study.map(DOMAINS), sort=False).first()
    if len(each) < LEAST_DOMAINS:
        return None
    return pooled_gain([LogGain(*gain) for gain in zip(each.log_ratio, each.se, each.df, strict=True)])


def cell(row: pd.Series) -> str:
    """Gain in percent with its interval, and its word."""
    return f"{points(row.gain)} [{points(row.lo)}, {points(row.hi)}] *{row.verdict}*"


def answers(rows: pd.DataFrame) -> str:
    """A table: a row for each question and model, a column for each data set."""
    studies = [name for name in DOMAINS if name in set(rows.study)]
    lines = []
    for question in ORDER:
        for model, found in rows[rows.question == question].groupby("model", sort=True):
            cells: Mapping[str, str] = {row.study: cell(row) for _, row in found.iterrows()}
            effect = pooled(found)
            over = "-" if effect is None else f"{points(effect.effect.mean)} {percents(effect.effect)}"
            lines.append([question, model, *(cells.get(name, "-") for name in studies), over])
    return table(["what is added", "model", *studies, "over domains"], lines)


def lines_of(rows: pd.DataFrame) -> list[charts.Line]:
    """Every gain with its interval, the rows of a forest plot, data sets in colours."""
    lines = []
    for question in ORDER:
        for _, row in rows[rows.question == question].sort_values("model", kind="stable").iterrows():
            name = question if row.model == ALL_MODELS else f"{question}, {row.model}"
            lines.append(charts.Line(name, row.study, 100 * row.gain, (100 * row.lo, 100 * row.hi), row.verdict))
    return lines


def drawn() -> str:
    """A table of the gains of several draws of the whole tuning, with Student's t over draws of the same users."""
    rows = pd.concat([pd.read_csv(STUDIES / name / "verdicts.csv").assign(study=name) for name in DRAWN])
    rows = rows[~rows.contrast.str.startswith("free_disposal")]
    lines = []
    for (study, model, contrast), found in rows.groupby(["study", "model", "contrast"], sort=False):
        mean, se, n = found.log_ratio.mean(), found.log_ratio.sem(), len(found)
        over = LogGain(mean, se, n - 1).at(0.95)
        each = ", ".join(points(gain) for gain in found.gain)
        users = f"{points(found.lo.min())} to {points(found.hi.max())}"
        lines.append(
            [study.removesuffix("_draws"), model, contrast, each, f"{points(over.mean)} {percents(over)}", users]
        )
    return table(["data", "model", "contrast", "draws", "mean, interval over draws", "intervals of the draws"], lines)


def main() -> None:
    """Write tables and figure."""
    rows = judged()
    page = with_section(PAGE.read_text(encoding="utf-8"), "answers", answers(rows))
    files.write_text(PAGE, with_section(page, "draws", drawn()))
    files.write_text(FIGURE, charts.forest(lines_of(rows), "tuned gain in NDCG@20, %", MARGIN, REACH).svg)


if __name__ == "__main__":
    main()
