"""The answer of the study over all data sets that have run: ``python -m tests.studies.answer`` writes its pages.

The table and the forest of its gains come from the published verdicts, the curves of these gains over the number of
trials from what each study keeps (:mod:`tests.studies.kept`).

Reads what ``studies/`` keeps, of planted worlds ``results/``, and nothing else, so everyone can make table and figure
again. A gain is pooled over the domains that have it: data sets of one domain hold the same items, and the first of
them counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from mmbench import paths
from mmbench.inference.gains import TunedGain
from mmbench.inference.intervals import Interval, LogGain
from mmbench.inference.pooling import PooledEffect, pooled_gain
from mmbench.inference.verdicts import NO_WORD, Verdict
from mmbench.messages import points
from mmbench.report import charts
from mmbench.report.disposals import FREE
from mmbench.report.fairness_checks import PASS
from mmbench.report.pooled import NOT_POOLED
from mmbench.report.sentences import percents
from mmbench.report.table import LATE
from mmbench.store import files
from mmbench.store.schema import ID_ONLY
from tests.benchmarks.performance import table
from tests.studies import kept, pages, planted, rerun
from tests.studies.data_sets import MODELS, title_of
from tests.studies.sweeps import ROOT, finished

STUDIES = ROOT / "studies"
FIGURE = ROOT / "docs" / "images" / "studies" / "forest.svg"
EFFORT = FIGURE.with_name("effort.svg")
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
    "text beside images": "fused_vs_image",
    "free use of text, all models": "free_disposal_of_text",
    "free use of images, all models": "free_disposal_of_image",
    "free use of audio, all models": "free_disposal_of_audio",
}
#: Data sets whose conditions with all modalities are not of text and images: what their contrasts ask.
FUSED_WITH = {
    "lfm2k": {"audio beside text": "fused_vs_text", "text beside audio": "fused_vs_audio"},
    "tiktok": {"audio beside images": "fused_vs_image", "images beside audio": "fused_vs_audio"},
}
#: Questions in the order of the table, what is free to be left out last.
ORDER = sorted(
    (*QUESTIONS, *(question for asked in FUSED_WITH.values() for question in asked)),
    key=lambda question: question.startswith("free"),
)
ALL_MODELS = "all models"
#: Fewer domains tell next to nothing about how much domains differ.
LEAST_DOMAINS = 3
#: Whose free use is asked for, in the order of their colours after those of the models.
MODALITIES = ("text", "image", "audio")
#: Range of the gains in the figure of effort, in percent, and the levels that are named.
EXTENT = (-30.0, 100.0)
LEVELS = (-30, -10, -2, 0, 2, 10, 30, 100)
#: Studies of several draws of the whole tuning.
DRAWN = ("ml100k_draws",)
#: How the names of studies beside the main ones end, by their section of the page.
BESIDE = {"encoders": ("_encoders",), "splits": ("_last_out", "_splits")}
#: How a fairness report names what an audit has shown, and a row of its verdicts.
PROOF = re.compile(
    r"^records: (?:re-trained (?P<again>\d+) of (?P<of>\d+) \((?P<day>[^T]*)T.*|consistent); root (?P<root>\w+);", re.M
)
CHECKED = re.compile(r"^\| \S+ \| (?P<model>\S+) \| (?P<level>PASS|WARN|FAIL) \| (?P<why>.*) \|$", re.M)
LABEL = "tuned gain in NDCG@20, %"
MARGIN = 2.0
#: Largest gain that the figure has room for, in percent.
REACH = 30.0


def folders_of(data: str) -> list[Path]:
    """The published studies of a data set: the main one, then those of one model alone."""
    names = (data, *(f"{data}_{model}" for model in sorted(MODELS)))
    return [STUDIES / name for name in names if (STUDIES / name / kept.VERDICTS).exists()]


def judged() -> pd.DataFrame:
    """Every verdict of every study that was published: a row for each, with its question and its data set.

    Where models of a data set have studies of their own, free use over all models is computed from all of them.
    """
    parts = []
    for name in DOMAINS:
        folders = folders_of(name)
        said = [rows for folder in folders if len(rows := pd.read_csv(folder / kept.VERDICTS))]
        if said:  # an empty table says nothing of the types of its columns
            rows = pd.concat(said, ignore_index=True)
            asked = {contrast: q for q, contrast in {**QUESTIONS, **FUSED_WITH.get(name, {})}.items()}
            free = rows.contrast.str.startswith(FREE)
            rows = rows[rows.contrast.isin(asked) & (~free | (rows.model == ALL_MODELS))]
            if len(folders) > 1:
                rows = over_parts(kept.Kept(*folders), rows)
            parts.append(rows.assign(study=name, question=rows.contrast.map(asked)))
    return pd.concat(parts, ignore_index=True)


def over_parts(joined: kept.Kept, rows: pd.DataFrame) -> pd.DataFrame:
    """Verdicts of several studies of a data set, with free use over all models of all of them in place of each one's.

    Args:
        joined: what is kept of them.
        rows: their verdicts.
    """
    own = rows[rows.model != ALL_MODELS]
    free = []
    for _, each in rows[rows.model == ALL_MODELS].groupby("contrast", sort=True):
        first = each.iloc[0].copy()
        pairs = []
        for real, control in zip(each.real.str.split(), each.control.str.split(), strict=True):
            # Without any control the second side is what is on both: the conditions without the modality.
            pairs += zip(real if len(real) == len(control) else control, control, strict=True)
        # Models that read no content are on both sides, also those whose study has nothing to dispose of.
        pairs += [(alone.name, alone.name) for alone in joined.conditions.values() if not alone.modalities]
        # Equal scores are decided by this order, which is that of one sweep of all models.
        ordered = sorted(
            dict.fromkeys(pairs),
            key=lambda pair: (joined.conditions[first.dataset, pair[0]].modalities, *pair[0].split("/")[::-1]),
        )
        first["real"], first["control"] = (" ".join(side) for side in zip(*ordered, strict=True))
        _, tuned, judgement = joined.judge(first)
        log, interval = tuned.log_gain, tuned.interval
        first["gain"], first["log_ratio"], first["verdict"] = tuned.gain, tuned.log_ratio, str(judgement)
        first["also"] = "; ".join(judgement.also)
        first["lo"], first["hi"] = (np.nan, np.nan) if interval is None else (interval.lo, interval.hi)
        first["se"], first["df"] = (np.nan, np.nan) if log is None else (log.se, log.df)
        first["n"], first["trials"], first["gain_of_all"] = tuned.n, tuned.trials, tuned.curve.mean[-1]
        free.append(first.to_dict())
    return pd.concat([own, pd.DataFrame(free)], ignore_index=True)


def of_domains(rows: pd.DataFrame) -> pd.DataFrame:
    """The gains of one model and question that may be pooled: the first data set of each domain, if it is trusted.

    A gain without error is exactly zero, of two sides that are the same runs.
    """
    first = rows.groupby(rows.study.map(DOMAINS), sort=False).head(1)
    judged = ~first.verdict.isin([str(word) for word in NOT_POOLED])
    return first[judged & np.isfinite(first.log_ratio) & ((first.se > 0) | (first.log_ratio == 0))]


def pooled(rows: pd.DataFrame) -> PooledEffect | None:
    """Random-effects mean of the gains of one model and question; None below three domains, or if there is none."""
    each = of_domains(rows)
    if len(each) < LEAST_DOMAINS or not each.se.any():
        return None
    gains = [LogGain(*gain) for gain in zip(each.log_ratio, each.se, each.df, strict=True)]
    return pooled_gain(gains, float(each.level.max()))


def over_domains(rows: pd.DataFrame) -> str:
    """The pooled gain of one model and question, or what keeps enough domains from being pooled."""
    effect, each = pooled(rows), of_domains(rows)
    if effect is not None:
        return f"{points(effect.effect.mean)} {percents(effect.effect)}"
    if len(each) < LEAST_DOMAINS:
        return "-"
    same = each[each.se == 0].study.tolist()
    return f"not pooled: {' and '.join(same)} {'is' if len(same) == 1 else 'are'} exactly 0"


def cell(row: pd.Series) -> str:
    """Gain in percent with its interval if it has one, its word, and that it is equivalent where that holds too."""
    bounds = "" if pd.isna(row.lo) else f" {percents(Interval(row.gain, row.lo, row.hi, row.level))}"
    also = f", also *{Verdict.EQUIVALENT}*" if Verdict.EQUIVALENT in str(row.get("also", "")) else ""
    return f"{points(row.gain)}{bounds} *{row.verdict}*{also}"


def answers(rows: pd.DataFrame) -> str:
    """A table: a row for each question and model, a column for each data set."""
    studies = [name for name in DOMAINS if name in set(rows.study)]
    lines = []
    for question in ORDER:
        for model, found in rows[rows.question == question].groupby("model", sort=True):
            cells: Mapping[str, str] = {row.study: cell(row) for _, row in found.iterrows()}
            lines.append([question, str(model), *(cells.get(name, "-") for name in studies), over_domains(found)])
    return table(["what is added", "model", *studies, "over domains"], lines)


def glance(rows: pd.DataFrame) -> str:
    """A table: the best model of each data set without and with content, and what each modality is freely worth."""
    lines = []
    for name in dict.fromkeys(rows.study):
        free = rows[(rows.study == name) & (rows.model == ALL_MODELS)]
        worth = {row.contrast.removeprefix(FREE): cell(row) for _, row in free.iterrows()}
        lines.append([title_of(name), *best(name), *(worth.get(modality, "-") for modality in MODALITIES)])
    asked = [question.removesuffix(f", {ALL_MODELS}") for question in QUESTIONS if question.startswith("free use")]
    return table(["data", "best without content", "best with content", *asked], lines)


def leaving_out(data: str) -> set[tuple[str, str]]:
    """Models and conditions with content whose chosen configuration leaves it out."""
    found: set[tuple[str, str]] = set()
    for folder in folders_of(data):
        told = pd.read_csv(folder / "trials.csv")
        if "model.content_weight" in told:
            unread = told[told.chosen & (told["model.content_weight"] == 0) & ~told.modality.isin([ID_ONLY, "none"])]
            found.update(zip(unread.model, unread.modality, strict=True))
    return found


def best(data: str) -> Iterator[str]:
    """The highest NDCG@20 on test of all models without content, then that of all that read real content."""
    told = pd.concat([pd.read_csv(folder / f"{paths.TABLE}.csv") for folder in folders_of(data)])
    told = told[(told.metric == "ndcg@20") & told["mean"].notna()]
    unread = leaving_out(data)
    told = told[[one not in unread for one in zip(told.model, told.modality, strict=True)]]
    for conditions in ((ID_ONLY, "none"), (*MODALITIES, "fused")):
        first = told[told.modality.isin(conditions)].sort_values("mean", ascending=False, kind="stable").iloc[0]
        of = first.model if first.modality in (ID_ONLY, "none") else f"{first.model}, {first.modality}"
        yield f"{first['mean']:.3g} ({of})"


def by_models(rows: pd.DataFrame) -> str:
    """A table: a row for each data set, a column for each question, and what the models say that read content."""
    alone = [question for question in QUESTIONS if question.endswith("beside interactions")]
    lines = []
    for name in dict.fromkeys(rows.study):
        said = {question: counts(found) for question, found in rows[rows.study == name].groupby("question")}
        together = FUSED_WITH.get(name, [question for question, contrast in QUESTIONS.items() if "fused" in contrast])
        lines.append([title_of(name), *(said.get(question, "-") for question in (*alone, *together))])
    return table(["data", *alone, "second modality beside the first", "first beside the second"], lines)


def counts(found: pd.DataFrame) -> str:
    """In how many models one question ended in which kind of word, and the lowest and the highest of their gains."""
    kinds = [next((kind for kind, words in planted.KINDS.items() if word in words), NO_WORD) for word in found.verdict]
    told = (f"{kinds.count(kind)} {kind.removeprefix('a ')}" for kind in (*planted.KINDS, NO_WORD) if kind in kinds)
    return f"{', '.join(told)}; {points(found.gain.min())} to {points(found.gain.max())} %"


def lines_of(rows: pd.DataFrame) -> list[charts.Line]:
    """Every gain with its interval if it has one, the rows of a forest plot, data sets in colours."""
    lines = []
    for question in ORDER:
        for _, row in rows[rows.question == question].sort_values("model", kind="stable").iterrows():
            name = question if row.model == ALL_MODELS else f"{question}, {row.model}"
            bounds = None if pd.isna(row.lo) else (100 * row.lo, 100 * row.hi)
            lines.append(charts.Line(name, row.study, 100 * row.gain, bounds, row.verdict))
    return lines


def effort(rows: pd.DataFrame) -> charts.Drawing:
    """Gains by the number of trials that both sides are tuned with: a row of panels for each data set."""
    studies = [name for name in DOMAINS if name in set(rows.study)]
    panels = [panel for name in studies for panel in panels_of(name, rows[rows.study == name])]
    models = sorted({line for panel in panels if not panel.of_modalities for line in panel.gains})

    def paint(axes: Sequence[Axes]) -> None:
        for axis, panel in zip(axes, panels, strict=True):
            panel.paint(axis, [*models, *MODALITIES])
        figure = axes[0].get_figure()
        assert figure is not None
        handles = [
            Line2D([], [], label=name, markersize=4, **charts.look_of(place)) for place, name in enumerate(models)
        ]
        handles.append(Patch(color=charts.BAND, label=charts.within(MARGIN)))
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), frameon=False, fontsize=8)

    return charts.Drawing(paint, panels=len(panels), height=2.7)


@dataclass(frozen=True)
class Panel:
    """Gains by the number of trials, on one data set.

    Args:
        title: data set and question.
        gains: the gain of each model, or of the free choice to use each modality.
        of_modalities: whether it is the latter.
    """

    title: str
    gains: Mapping[str, TunedGain]
    of_modalities: bool = False

    def paint(self, axis: Axes, names: Sequence[str]) -> None:
        """Paint it; gains beyond the margin stand on a logarithmic scale, because they are of all sizes.

        Args:
            axis: where.
            names: whose place is that of the colour.
        """
        axis.set_title(self.title, fontsize=9, loc="left")
        if not self.gains:
            axis.set_axis_off()
            return
        axis.axhspan(-MARGIN, MARGIN, color=charts.BAND, zorder=0, linewidth=0)
        axis.axhline(0.0, color="#666666", linewidth=0.8, zorder=1)
        for name, gain in self.gains.items():
            look = charts.look_of(names.index(name))
            x = np.arange(1, len(gain.curve.mean) + 1)
            mean, lo, hi = (100 * part for part in (gain.curve.mean, gain.curve.lo, gain.curve.hi))
            axis.plot(x, mean, color=look["color"], linewidth=1.2)
            axis.fill_between(x, lo, hi, color=look["color"], alpha=0.12, linewidth=0)
            axis.plot(gain.n, mean[gain.n - 1], linestyle="none", markersize=5, label=name, **look)
        first = next(iter(self.gains.values()))
        axis.axvline(first.n, color="#888888", linestyle=":", linewidth=1)
        axis.set_yscale("symlog", linthresh=MARGIN, linscale=1.0)
        axis.set(xlabel=charts.TRIALS, ylabel=charts.GAIN, ylim=EXTENT, xlim=(1, first.trials))
        axis.yaxis.set_major_locator(FixedLocator(LEVELS))
        axis.yaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter(FuncFormatter(lambda level, _: f"{level:+g}" if level else "0"))
        axis.xaxis.set_major_locator(FixedLocator([1, first.n, first.trials // 2, first.trials]))
        if self.of_modalities:
            axis.legend(frameon=False, fontsize=7, loc="upper right", ncols=len(self.gains))


def panels_of(study: str, rows: pd.DataFrame) -> list[Panel]:
    """What the first modality adds, what another adds to it, and the free choice to use each, over all models."""
    study_kept, title = kept.Kept(*folders_of(study)), title_of(study)
    gains = {place: study_kept.judge(row).tuned for place, row in zip(rows.index, rows.itertuples(), strict=True)}
    panels = []
    for contrasts in (("text_vs_none", "image_vs_none"), ("fused_vs_text", "fused_vs_image")):
        asked = next(
            (rows[rows.contrast == contrast] for contrast in contrasts if contrast in set(rows.contrast)), None
        )
        if asked is None:
            panels.append(Panel("", {}))
        else:
            named = {model: gains[place] for place, model in asked.sort_values("model").model.items()}
            panels.append(Panel(f"{title}: {asked.question.iloc[0]}", named))
    free = rows[rows.contrast.str.startswith(FREE)]
    named = {contrast.removeprefix(FREE): gains[place] for place, contrast in free.contrast.items()}
    return [*panels, Panel(f"{title}: free use, all models", named, of_modalities=True)]


def drawn() -> str:
    """A table of the gains of several draws of the whole tuning, with Student's t over draws of the same users."""
    rows = pd.concat([pd.read_csv(STUDIES / name / "verdicts.csv").assign(study=name) for name in DRAWN])
    rows = rows[~rows.contrast.str.startswith("free_disposal")]
    lines = []
    for names, found in rows.groupby(["study", "model", "contrast"], sort=False):
        study, model, contrast = map(str, names)
        mean, se, n = float(found.log_ratio.mean()), float(found.log_ratio.sem()), len(found)
        over = LogGain(mean, se, n - 1).at(0.95)
        each = ", ".join(points(gain) for gain in found.gain)
        users = f"{points(found.lo.min())} to {points(found.hi.max())}"
        words = ", ".join(f"{times} *{word}*" for word, times in found.verdict.value_counts().items())
        mean_over = f"{points(over.mean)} {percents(over)}"
        lines.append([study.removesuffix("_draws"), model, contrast, each, words, mean_over, users])
    head = ["data", "model", "contrast", "draws", "words", "mean, interval over draws", "intervals of the draws"]
    return table(head, lines)


def beside(endings: Sequence[str]) -> str:
    """A table of studies beside the main ones: a row for each data set and contrast, a column for each model.

    Where data sets are judged together, as random splits are, their common rows stand in place of those of each.

    Args:
        endings: how the names of these studies end.
    """
    found = {}
    for folder in sorted(folder for ending in endings for folder in STUDIES.glob(f"*{ending}")):
        rows = pd.read_csv(folder / kept.VERDICTS)
        together = rows.dataset.str.contains(" over ")
        found[folder.name] = rows[rows.contrast.isin(QUESTIONS.values()) & (together | ~together.any())]
    models = sorted({model for rows in found.values() for model in rows.model if model != ALL_MODELS})
    lines = []
    for name, rows in found.items():
        for (data, contrast), asked in rows.groupby(["dataset", "contrast"], sort=False):
            cells = {row.model: cell(row) for _, row in asked.iterrows() if pd.notna(row.gain)}
            if cells:
                page = f"[{name}](studies/{name}.md)"
                lines.append(
                    [page, str(data), str(contrast), *(cells.get(each, "-") for each in (*models, ALL_MODELS))]
                )
    return table(["study", "data", "contrast", *models, ALL_MODELS], lines)


def ahead_of_default() -> str:
    """How many random configurations were better on validation than the default: a row for each data set and model."""
    lines = []
    for data in DOMAINS:
        found: dict[str, list[list[float]]] = {}
        for folder in folders_of(data):
            scores = msgspec.convert(files.read_document(folder / kept.TUNING), kept.Scores)
            for condition in scores.conditions:
                if len(condition.validation) > 1:
                    tried = [-np.inf if score is None else score for score in condition.validation]
                    found.setdefault(condition.model, []).append(tried)
        for model, tuned in sorted(found.items()):
            ahead = [sum(score > tried[0] for score in tried[1:]) for tried in tuned]
            least, most = min(ahead), max(ahead)
            shown = str(least) if least == most else f"{least} to {most}"
            lines.append([data, model, str(len(ahead)), shown, str(max(map(len, tuned)) - 1)])
    return table(["data", "model", "conditions", "better than the default", "of"], lines)


def late() -> str:
    """NDCG@20 of the averaged ranks of lists with one modality each, beside inputs that the model fuses."""
    lines = []
    for data in DOMAINS:
        for folder in folders_of(data):
            shown = pd.read_csv(folder / f"{paths.BENCHMARK}.csv", dtype=str)
            if LATE in shown:
                for _, row in shown[shown[LATE].str.contains("±")].iterrows():
                    found = {name: row.get(name, "-") for name in (*MODALITIES, "fused", LATE)}
                    lines.append([data, str(row.model), *found.values()])
    return table(["data", "model", *MODALITIES, "fused in the model", "ranks averaged"], lines)


def proofs() -> str:
    """What an audit has shown of each study, what came out of it again, and which models did not pass every check."""
    lines = []
    for folder in sorted(STUDIES.iterdir()):
        report = (folder / f"{paths.FAIRNESS}.md").read_text(encoding="utf-8")
        proof, checked = PROOF.search(report), [*CHECKED.finditer(report)]
        assert proof is not None, folder
        assert checked, folder
        doubts = [f"{row['level']} {row['model']}: {row['why']}" for row in checked if row["level"] != PASS]
        again = "no" if proof["again"] is None else f"{proof['again']} of {int(proof['of']):,}"
        page = f"[{folder.name}](studies/{folder.name}.md)"
        root = f"`{proof['root'][:12]}`"
        lines.append(
            [page, again, proof["day"] or "-", root, run_again(folder, proof["root"]), "; ".join(doubts) or PASS]
        )
    return table(["study", "re-trained", "day", "root", "run again", "fairness"], lines)


def run_again(folder: Path, root: str) -> str:
    """How many trainings of a study came out the same when some of its cells were run again, and of which cells.

    Args:
        folder: of the study.
        root: of its records; what was compared with others does not count.
    """
    file = folder / rerun.RERUN
    found = msgspec.convert(files.read_document(file), rerun.Rerun) if file.exists() else None
    if found is None or found.root != root:
        return "-"
    others = "" if found.same == found.trainings else f", others within {found.distance:.0e}"
    return f"{found.same} of {found.trainings} ({', '.join(found.cells)}){others}"


def sections(rows: pd.DataFrame) -> dict[str, str]:
    """Every section that this module writes, by its name.

    Args:
        rows: every verdict, as :func:`judged` gives them.
    """
    return {
        "glance": glance(rows),
        "by models": by_models(rows),
        "answers": answers(rows),
        **{section: beside(endings) for section, endings in BESIDE.items()},
        "draws": drawn(),
        "defaults": ahead_of_default(),
        "late": late(),
        "planted words": planted.counted(planted.joined(finished(planted.STUDIES))),
        "proofs": proofs(),
    }


def main() -> None:
    """Write tables and figures."""
    rows = judged()
    pages.write(sections(rows))
    files.write_text(FIGURE, charts.forest(lines_of(rows), LABEL, MARGIN, REACH).svg)
    files.write_text(EFFORT, effort(rows).svg)


if __name__ == "__main__":
    main()
