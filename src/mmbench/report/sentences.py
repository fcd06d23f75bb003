"""What was measured, in one sentence: model, effort, data, metric and number, never "images help"."""

from __future__ import annotations

import math

from mmbench.inference.gains import Gain
from mmbench.inference.intervals import Interval
from mmbench.inference.verdicts import WORDS, Judgement
from mmbench.messages import Message, Template, clauses, conjoined, digits_apart, level_name, points, series
from mmbench.report.comparisons import Comparison, EarlierLook
from mmbench.report.disposals import Disposal
from mmbench.report.spent import SEEDS, TRIALS, counted, spent_by
from mmbench.report.table import CellResult, SweepTable

#: Names of metrics and modalities where a sentence does not use those of the configuration.
METRICS = {"ndcg": "NDCG", "mrr": "MRR", "map": "MAP", "hr": "HR", "recall": "Recall", "precision": "Precision"}
MODALITIES = {"image": Message("images"), "text": Message("text"), "audio": Message("audio")}
#: Modalities whose name is a plural.
PLURALS = ("image",)
#: Marks a free disposal without controls.
MORE_SEARCH = Message("more search on one side")


def metric_name(metric: str) -> str:
    """Name of a metric in print.

    >>> metric_name("ndcg@20")
    'NDCG@20'
    """
    name, _, k = metric.partition("@")
    return f"{METRICS.get(name, name)}@{k}"


def margin_beside(margin: float, delta: float) -> str:
    """A smallest margin of equivalence in percent, with decimals that tell it from the margin of the sweep.

    >>> margin_beside(0.0204, 0.02), margin_beside(0.031, 0.02), margin_beside(0.02, 0.02)
    ('2.04', '3.1', '2.0')
    """
    return f"{100 * margin:.{digits_apart(margin, delta, 1, 100)}f}"


#: A metric by what tuning aimed at, where that is not the ranking of all items.
AMONG = {
    "cold": Template("{metric} among new items themselves"),
    "warm": Template("{metric} among items of the training log themselves"),
    "harmonic": Template("harmonic mean of {metric} of new and of other items in common lists"),
}


def metric_among(metric: str, target: str) -> str:
    """What is judged: a metric in print, and among which items where that is not all.

    Args:
        metric: the metric.
        target: what tuning aimed at, see :func:`mmbench.data.held_out.target_of`.
    """
    name = metric_name(metric)
    return Message(AMONG[target], metric=name) if target else name


def metric_of_all(metric: str, table: SweepTable) -> str:
    """What is judged in a sweep: a metric as each of its targets has it."""
    return conjoined([metric_among(metric, target) for target in sorted({*table.targets.values()} or {""})])


def effort(table: SweepTable) -> dict[str, str]:
    """Budget of a sweep, and the most trials and final seeds of a cell, which fill a sentence."""
    had = spent_by(table)
    return {
        "budget": series(had.budgets),
        "trials": counted(had.trials[-1:], TRIALS),
        "seeds": counted(had.seeds[-1:], SEEDS),
    }


def percent(share: float) -> str:
    """A gain in percent with its sign."""
    return f"{points(share)} %"


def amount(tuned: Gain) -> str:
    """A tuned gain with its bounds; the legend of every table names 95 %."""
    if tuned.interval is None:
        return Message("{gain} % (no interval)", gain=points(tuned.gain))
    return Message("{gain} {bounds}", gain=percent(tuned.gain), bounds=percents(tuned.interval))


def percents(interval: Interval) -> str:
    """Bounds in percent, with their level as :func:`at_level` has it."""
    return at_level(f"[{points(interval.lo)}, {points(interval.hi)}]", interval.level)


def at_level(bounds: str, level: float) -> str:
    """Bounds and their level, which is named where it is not 95 %."""
    if math.isclose(level, 0.95):
        return bounds
    return Message("{bounds} at {level} %", bounds=bounds, level=level_name(level))


def sentence(comparison: Comparison, metric: str) -> str:
    """What a contrast says: "vbpr after 10 of its 30 trials: images add +2.1 % [+0.4, +3.8] to text (NDCG@20, shop)".

    Args:
        comparison: the contrast; nothing is said of one without a tuned gain.
        metric: the primary metric.
    """
    tuned = comparison.tuned
    if tuned is None or math.isnan(tuned.gain):
        return ""
    return Message(
        "{model} after {n} of its {trials} trials: {finding} ({metric}, {dataset})",
        model=comparison.model,
        n=tuned.n,
        trials=tuned.trials,
        finding=_finding(comparison, amount(tuned)),
        metric=metric_among(metric, comparison.target),
        dataset=comparison.dataset,
    )


def _finding(comparison: Comparison, gain: str) -> Message:
    """What A has and B lacks, and how much that is."""
    a, b = comparison.a.states, comparison.b.states
    changed = [name for name in sorted(a) if a[name] != b.get(name)]
    if changed and a.keys() == b.keys() and all(a[name] == "real" for name in changed):
        rest = [_called(name, state) for name, state in sorted(a.items()) if name not in changed and state != "drop"]
        given = {"new": conjoined([_called(name) for name in changed]), "gain": gain}
        given |= {"rest": conjoined(rest)} if rest else {}
        several = len(changed) > 1 or changed[0] in PLURALS
        states = {b[name] for name in changed}
        if states == {"drop"} or states == {"shuffle"}:
            return Message(ADDED[states.pop(), bool(rest), several], **given)
    return Message("{a} against {b} is {gain}", a=_named(comparison.a), b=_named(comparison.b), gain=gain)


def _named(side: CellResult) -> str:
    """A condition by its name, with the content that it has lost where the name does not say so."""
    lost = side.untold_losses
    return Message("{name} ({lost})", name=side.modality, lost=series(lost)) if lost else side.modality


#: What some modalities add, by the state that they are compared with, whether others are used beside them, and whether
#: their names are a plural.
ADDED = {
    ("drop", True, True): Template("{new} add {gain} to {rest}"),
    ("drop", True, False): Template("{new} adds {gain} to {rest}"),
    ("drop", False, True): Template("{new} add {gain} to interactions alone"),
    ("drop", False, False): Template("{new} adds {gain} to interactions alone"),
    ("shuffle", True, True): Template("{new} add {gain} over the same rows shuffled beside {rest}"),
    ("shuffle", True, False): Template("{new} adds {gain} over the same rows shuffled beside {rest}"),
    ("shuffle", False, True): Template("{new} add {gain} over the same rows shuffled"),
    ("shuffle", False, False): Template("{new} adds {gain} over the same rows shuffled"),
}


def _called(modality: str, state: str = "real") -> str:
    name = MODALITIES.get(modality, modality)
    return name if state == "real" else Message("{name} ({state})", name=name, state=state)


def disposal_sentence(disposal: Disposal, metric: str) -> str:
    """What free disposal says, with the cells on each side.

    Args:
        disposal: the free disposal; nothing is said of one without a tuned gain.
        metric: the primary metric.
    """
    tuned = disposal.tuned
    if tuned is None or math.isnan(tuned.gain):
        return ""
    models = dict.fromkeys(name.split("/")[0] for name in disposal.real)
    given = {
        "who": disposal.model or Message("the best of {models}", models=conjoined(list(models))),
        "n": tuned.n,
        "trials": tuned.trials,
        "modality": _called(disposal.modality),
        "gain": amount(tuned),
        "metric": metric_among(metric, disposal.target),
        "dataset": disposal.dataset,
        "a": Message.counted("{n} cell", "{n} cells", len(disposal.real)),
        "b": Message.counted("{n} cell", "{n} cells", len(disposal.control)),
    }
    if disposal.controlled:
        return Message(
            "{who} after {n} of {trials} trials of each condition: the free choice to use {modality} brings {gain} "
            "over the same choice with {modality} shuffled ({metric}, {dataset}; {a} against {b})",
            **given,
        )
    return Message(
        "{who} after {n} of {trials} trials of each condition: the free choice to use {modality} brings {gain} over "
        "the same choice without {modality} ({metric}, {dataset}; {a} against {b}; more search on one side)",
        **given,
    )


def disposal_cells(disposal: Disposal) -> Message:
    """The cells of both sides, model by model."""
    sides = []
    for names in (disposal.real, disposal.control):
        by_model: dict[str, list[str]] = {}
        for name in names:
            model, _, condition = name.partition("/")
            by_model.setdefault(model, []).append(condition)
        sides.append("; ".join(f"{model} {', '.join(conditions)}" for model, conditions in by_model.items()))
    return Message("cells: {real}; against: {control}", real=sides[0], control=sides[1])


def contrast_verdict(comparison: Comparison, metric: str) -> str:
    """Word, sentence and reason of one contrast in a line."""
    if comparison.judgement is None:
        return Message("not judged: {pending}", pending=comparison.pending)
    return _line(comparison.judgement, sentence(comparison, metric), comparison.judgement.reason)


def disposal_verdict(disposal: Disposal, metric: str) -> str:
    """Word, sentence and reason of free disposal in a line."""
    told = disposal_sentence(disposal, metric)
    reason = "" if told and not disposal.controlled else disposal.judgement.reason
    return _line(disposal.judgement, told, reason)


def earlier_verdict(look: EarlierLook) -> Message:
    """What was said at an earlier look, with the effort of then."""
    given = {"number": look.number, "trials": look.trials, "seeds": look.seeds, "word": look.judgement.said}
    if look.tuned is None or math.isnan(look.tuned.gain):
        said = Message("look {number}, with T {trials} and S {seeds}: {word}", **given)
    else:
        said = Message("look {number}, with T {trials} and S {seeds}: {word} {gain}", gain=amount(look.tuned), **given)
    return Message("{said} ({of})", said=said, of=look.of) if look.of else said


#: Where looks of two kinds are not in one order that the records tell.
UNTOLD = Message(
    "what was said at earlier looks is not told: effort was raised or a cell begun afresh, and something added; or "
    "conditions and repetitions were added"
)


def earlier_lines(row: Comparison | Disposal) -> list[Message]:
    """What was said of a contrast or a free disposal at each earlier look, or that it is not told."""
    return [UNTOLD] if row.untold else [earlier_verdict(look) for look in row.earlier]


def _line(judgement: Judgement, told: str, reason: str) -> str:
    word: Message = judgement.said
    if judgement.also:
        word = Message("{word} (also {others})", word=word, others=series([WORDS[word] for word in judgement.also]))
    return Message("{word}: {told}", word=word, told=clauses([part for part in (told, reason) if part]))
