"""What was asked once the results of the study had been seen: ``python -m tests.studies.afterwards``.

It writes a section of docs/study-checks.md. None of it was planned, so nothing here has a place in the answer: it tells
how far the answer depends on what was planned. It reads what ``studies/`` keeps; :func:`newcomers` and
:func:`popularity` also need to know which items were held out, and with that the data.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench.inference.gains import Gain
from mmbench.inference.tuned_gain import estimate, free_disposal
from mmbench.inference.verdicts import Verdict
from mmbench.messages import points
from mmbench.report.disposals import FREE
from mmbench.report.sentences import metric_name, percents
from tests.benchmarks.performance import table
from tests.studies import answer, kept, pages
from tests.studies.price import tuned_job

LEVEL = 0.95
#: The study's metric first.
METRICS = ("ndcg@20", "recall@20", "ndcg@10", "precision@20", "mrr@20")
MARGINS = (0.01, 0.015, 0.02, 0.03, 0.05)
#: Conditions with real content, and those that hold the same of it, shuffled.
CONTROLS = {"text": "shuffled_text", "image": "shuffled_image", "audio": "shuffled_audio", "fused": "shuffled"}
NONE = ("none", "-")
#: The models whose gains are parted, the strongest that read content.
PARTED = ("l3ae", "addease")
#: Up to how many interactions an item is rare, and up to how many it is neither rare nor popular.
POPULAR = (5, 100)


class Asked(NamedTuple):
    """A contrast as a row of ``verdicts.csv`` names it.

    Attributes:
        dataset: its data set.
        model: its model, or all of them.
        contrast: the two conditions, or a free choice.
        real: cells of a free choice, ``model/condition``, with blanks between them.
        control: their controls, likewise.
        level: coverage of the interval.
    """

    dataset: str
    model: str
    contrast: str
    real: str = ""
    control: str = ""
    level: float = LEVEL


def shown(tuned: Gain, word: str) -> str:
    """A gain in percent with its interval, and its word."""
    return f"{bare(tuned)} *{word}*"


@functools.cache
def studies() -> Sequence[tuple[str, kept.Kept, str]]:
    """Every data set that was published, what is kept of it, and the name that it has there."""
    found = []
    for name in answer.DOMAINS:
        if folders := answer.folders_of(name):
            study = kept.Kept(*folders)
            (dataset,) = {dataset for dataset, _ in study.conditions}
            found.append((name, study, dataset))
    return found


def conditions_of(study: kept.Kept, model: str) -> set[str]:
    """The conditions of a model."""
    return {each.modality for each in study.conditions.values() if each.model == model}


def pairs_of(study: kept.Kept, model: str) -> list[tuple[str, str]]:
    """Conditions of a model with content that may be left out, each beside the same with all content shuffled.

    A condition whose control has not run is on neither side.
    """
    own = conditions_of(study, model)
    (nothing,) = own.intersection(NONE)
    # A data set with one modality has one shuffled condition.
    controls = {real: control if "fused" in own else "shuffled" for real, control in CONTROLS.items()}
    pairs = [(nothing, nothing), *((real, control) for real, control in controls.items() if {real, control} <= own)]
    return [(f"{model}/{real}", f"{model}/{control}") for real, control in pairs]


def content() -> str:
    """All content over none, over the same shuffled, and the free choice to use any: a row for each model."""
    lines = []
    for name, study, dataset in studies():
        models = sorted({each.model for each in study.conditions.values()})
        reading = [model for model in models if len(conditions_of(study, model)) > 1]
        if not reading:
            continue
        (widest,) = {"fused" if "fused" in conditions_of(study, model) else "text" for model in reading}
        for model in reading:
            sides = [
                study.judge(Asked(dataset, model, f"{widest}_vs_{other}"))
                if other in conditions_of(study, model)
                else None
                for other in ("none", "shuffled")
            ]
            free = _free(study, dataset, model, [model]) if len(pairs_of(study, model)) > 1 else None
            told = ("-" if each is None else shown(each.tuned, str(each.judgement)) for each in (*sides, free))
            lines.append([name, model, *told])
        for label, pool in {"models that read content": reading, answer.ALL_MODELS: models}.items():
            free = _free(study, dataset, label, pool)
            lines.append([name, label, "-", "-", shown(free.tuned, str(free.judgement))])
    return table(["data", "model", "all over none", "all over all shuffled", "free use of any content"], lines)


def _free(study: kept.Kept, dataset: str, label: str, models: Sequence[str]) -> kept.Judged:
    """The free choice to use any content, with several models or one."""
    pairs = [pair for model in models for pair in pairs_of(study, model)]
    real, control = (" ".join(side) for side in zip(*pairs, strict=True))
    return study.judge(Asked(dataset, label, f"{FREE}content", real, control))


def noise() -> str:
    """How often shuffled or random content was called better than none: a row for each data set."""
    lines = []
    for name, study, dataset in studies():
        words: Counter[str] = Counter()
        for condition in study.conditions.values():
            if condition.modality.startswith("shuffled") or condition.modality == "paper_noise":
                asked = Asked(dataset, condition.model, f"{condition.modality}_vs_none")
                words[str(study.judge(asked).judgement)] += 1
        if words:
            better = sum(count for word, count in words.items() if word.startswith("better"))
            said = ", ".join(f"{count} {word}" for word, count in words.most_common())
            lines.append([name, str(better), str(words.total()), said])
    return table(["data", "better", "of", "words"], lines)


def exact(study: kept.Kept, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows whose conditions all give the same result with every seed: final runs are kept by one metric."""

    def computed(row: pd.Series) -> bool:
        if row.contrast.startswith(FREE):
            names = {*row.real.split(), *row.control.split()}
        else:
            names = {f"{row.model}/{condition}" for condition in row.contrast.split("_vs_")}
        return all(study.conditions[row.dataset, name].exact for name in names)

    return rows[rows.apply(computed, axis=1)]


def by_metric(rows: pd.DataFrame) -> tuple[str, str]:
    """Gains that the study's metric tells from zero, by other metrics too; then how many of all words differ.

    Args:
        rows: the verdicts of :func:`tests.studies.answer.judged`.
    """
    lines, changed, total = [], Counter[str](), 0
    for name, study, _ in studies():
        own = exact(study, rows[(rows.study == name) & rows.gain.notna()])
        total += len(own)
        others = {metric: kept.Kept(*study.folders, metric=metric) for metric in METRICS if metric != study.judged_by}
        by_name = {metric: others.get(metric, study) for metric in METRICS}
        for row in own.itertuples():
            found = {metric: each.judge(row) for metric, each in by_name.items()}
            changed.update(metric for metric in METRICS if str(found[metric].judgement) != row.verdict)
            if row.verdict in (Verdict.BETTER, Verdict.BETTER_SMALL, Verdict.WORSE, Verdict.WORSE_SMALL):
                lines.append([name, row.question, row.model, *(bare(each.tuned) for each in found.values())])
    counts = [[metric_name(metric), str(changed[metric]), str(total)] for metric in METRICS[1:]]
    head = ["data", "what is added", "model", *map(metric_name, METRICS)]
    return table(head, lines), table(["metric", "other words", "of"], counts)


def by_margin(rows: pd.DataFrame) -> str:
    """How often each word is said of the gains that have an error, by the margin.

    Args:
        rows: the verdicts of :func:`tests.studies.answer.judged`.
    """
    words = [word for word in Verdict if word in set(rows.verdict) | {Verdict.WORSE, Verdict.WORSE_SMALL}]
    lines = []
    for margin in MARGINS:
        said: Counter[str] = Counter()
        for name, study, _ in studies():
            judged = (study.judge(row, margin) for row in rows[(rows.study == name) & (rows.se > 0)].itertuples())
            said.update(str(each.judgement) for each in judged)
        lines.append([f"{100 * margin:g} %", *(str(said[word]) for word in words)])
    return table(["margin", *words], lines)


def beside_ease() -> str:
    """Every model beside EASE, with no content and with all of it: a row for each data set and model."""
    lines = []
    for name, study, dataset in studies():
        for model in sorted({each.model for each in study.conditions.values()}):
            own = conditions_of(study, model)
            (nothing,) = own.intersection(NONE)
            full = next((each for each in ("fused", "text") if each in own), None)
            gains = [
                "-" if condition is None else _beyond(study, dataset, f"{model}/{condition}")
                for condition in (nothing, full)
            ]
            lines.append([name, model, *gains])
    return table(["data", "model", "without content", "with all content"], lines)


def _beyond(study: kept.Kept, dataset: str, cell: str) -> str:
    if cell == "ease/-":
        return "-"
    sides = ([study.cell(dataset, each).tuned_cell] for each in (cell, "ease/-"))
    found = estimate(*sides, between_models=True)
    if found.log_gain is None:
        return f"{points(float(np.expm1(found.estimate.log_ratio)))}"
    interval = found.log_gain.at(found.level)
    return f"{points(interval.mean)} {percents(interval)}"


class HeldOut(NamedTuple):
    """The held-out items of a data set, in the order in which their ranks are kept.

    Attributes:
        users: whose they are, ``(n_pairs,)``.
        items: the items, ``(n_pairs,)``.
        trained: interactions of each item in the training part, ``(n_items,)``.
        validated: those in the validation part, ``(n_items,)``.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    trained: NDArray[np.int64]
    validated: NDArray[np.int64]

    @classmethod
    def of(cls, study: str) -> HeldOut:
        """Those of the data set of a study.

        Raises:
            OSError: where its data are absent.
        """
        split = tuned_job(study, "ease", "-").dataset().split
        order = np.lexsort((split.test.items, split.test.users))
        trained, validated = (np.bincount(each.items, minlength=each.n_items) for each in (split.train, split.valid))
        return cls(split.test.users[order], split.test.items[order], trained, validated)


def newcomers(name: str, held_out: HeldOut) -> str:
    """Gains of content parted by whether held-out items are new, which means without an interaction in training.

    Args:
        name: the study.
        held_out: its held-out items.
    """
    users, items, trained, validated = held_out
    new = trained[items] == 0
    late = new & (validated[items] == 0)
    parts = {
        "all": np.ones(len(items), bool),
        f"of {len(np.unique(items[new & ~late]))} new products, first bought in the validation part": new & ~late,
        f"of {len(np.unique(items[late]))} new products, first bought in the test part": late,
        "of all other products": ~new,
    }
    touched = np.isin(users, users[new])
    if (touched & ~new).any():
        parts[f"of the {len(np.unique(users[~touched])):,} users who bought no new product"] = ~touched
    return parted(name, parts)


def popularity(name: str, held_out: HeldOut) -> str:
    """Gains of content parted by how many interactions an item has in training.

    Args:
        name: the study.
        held_out: its held-out items.
    """
    seen = held_out.trained[held_out.items]
    few, many = POPULAR
    parts = {
        "all": np.ones(len(seen), bool),
        f"of products with up to {few} interactions": seen <= few,
        f"with {few + 1} to {many}": (seen > few) & (seen <= many),
        "with more": seen > many,
    }
    return parted(name, parts)


def parted(name: str, parts: Mapping[str, NDArray[np.bool_]]) -> str:
    """Gains of each modality where a part of the held-out items alone counts: a row for each model, modality and part.

    Trials are chosen by the whole metric, and the ideal list stays that of all held-out items, so the means of parts
    that share no item add up to that of all of them.

    Args:
        name: the study.
        parts: which held-out items count, ``(n_pairs,)`` each, by what the table calls them.
    """
    study = kept.Kept(*answer.folders_of(name))
    (dataset,) = {dataset for dataset, _ in study.conditions}
    lines = []
    for model in PARTED:
        for added in ("text", "image"):
            if f"{model}/{added}" not in {each.name for each in study.conditions.values()}:
                continue
            for label, counted in parts.items():
                a, b = (study.cell_of(dataset, f"{model}/{each}", counted).tuned_cell for each in (added, "none"))
                tuned = free_disposal([a], [b])
                gain = "-" if tuned.b.tuned == 0 else bare(tuned)
                means = (f"{side.tuned:.4f}" for side in (tuned.b, tuned.a))
                lines.append([model, added, label, f"{counted.sum():,}", *means, gain])
    return table(["model", "what is added", "held-out items", "number", "without", "with", "gain, %"], lines)


#: Sections of parted gains: how, and of which study.
PARTS: Mapping[str, tuple[Callable[[str, HeldOut], str], str]] = {
    "newcomers uci_retail": (newcomers, "uci_retail"),
    "newcomers hm_sample": (newcomers, "hm_sample"),
    "popularity": (popularity, "baby"),
}


def bare(tuned: Gain) -> str:
    """A gain in percent with its interval, if it has one."""
    return points(tuned.gain) if tuned.interval is None else f"{points(tuned.gain)} {percents(tuned.interval)}"


def main() -> None:
    """Write the tables; those that need data stay as they are where these are absent."""
    rows = answer.judged()
    metrics, words = by_metric(rows)
    sections = {
        "content": content(),
        "noise": noise(),
        "metrics": metrics,
        "words": words,
        "margins": by_margin(rows),
        "ease": beside_ease(),
    }
    for section, (make, name) in PARTS.items():
        try:
            sections[section] = make(name, HeldOut.of(name))
        except (OSError, ValueError) as error:
            print(f"table {section!r} stays as it is: {error}")
    pages.write(sections)


if __name__ == "__main__":
    main()
