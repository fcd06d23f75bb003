"""What was measured, in one sentence: model, effort, data, metric and number, never "images help"."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mmbench.inference.tuned_gain import Gain
from mmbench.report.comparisons import Comparison, EarlierLook
from mmbench.report.disposals import Disposal

#: Names of metrics and modalities where a sentence does not use those of the configuration.
METRICS = {"ndcg": "NDCG", "mrr": "MRR", "map": "MAP", "hr": "HR", "recall": "Recall", "precision": "Precision"}
MODALITIES = {"image": "images"}
#: Marks a free disposal without controls.
MORE_SEARCH = "more search on one side"


def metric_name(metric: str) -> str:
    """Name of a metric in print.

    >>> metric_name("ndcg@20")
    'NDCG@20'
    """
    name, _, k = metric.partition("@")
    return f"{METRICS.get(name, name)}@{k}"


def percent(share: float) -> str:
    """A gain in percent with its sign."""
    return f"{100 * share:+z.1f} %"


def amount(tuned: Gain) -> str:
    """A tuned gain with its bounds.

    A level other than 95 % is named; the legend of every table names that one.
    """
    if tuned.interval is None:
        return f"{percent(tuned.gain)} (no interval)"
    level = "" if tuned.level == 0.95 else f" at {100 * tuned.level:.3g} %"
    return f"{percent(tuned.gain)} [{100 * tuned.interval.lo:+z.1f}, {100 * tuned.interval.hi:+z.1f}]{level}"


def sentence(comparison: Comparison, metric: str) -> str:
    """What a contrast says: "vbpr after 10 of its 30 trials: images add +2.1 % [+0.4, +3.8] to text (NDCG@20, shop)".

    Args:
        comparison: the contrast; nothing is said of one without a tuned gain.
        metric: the primary metric.
    """
    tuned = comparison.tuned
    if tuned is None or math.isnan(tuned.gain):
        return ""
    finding = _finding(comparison, amount(tuned))
    effort = f"{comparison.model} after {tuned.n} of its {tuned.trials} trials"
    return f"{effort}: {finding} ({metric_name(metric)}, {comparison.dataset})"


def _finding(comparison: Comparison, gain: str) -> str:
    """What A has and B lacks, and how much that is."""
    a, b = comparison.a.states, comparison.b.states
    changed = [name for name in sorted(a) if a[name] != b.get(name)]
    if changed and a.keys() == b.keys() and all(a[name] == "real" for name in changed):
        rest = [_called(name, state) for name, state in sorted(a.items()) if name not in changed and state != "drop"]
        new = [_called(name) for name in changed]
        verb = "add" if len(new) > 1 or new[0] in MODALITIES.values() else "adds"
        states = {b[name] for name in changed}
        if states == {"drop"}:
            return f"{_listed(new)} {verb} {gain} to {_listed(rest) or 'interactions alone'}"
        if states == {"shuffle"}:
            beside = f" beside {_listed(rest)}" if rest else ""
            return f"{_listed(new)} {verb} {gain} over the same rows shuffled{beside}"
    return f"{comparison.a.modality} against {comparison.b.modality} is {gain}"


def _called(modality: str, state: str = "real") -> str:
    name = MODALITIES.get(modality, modality)
    return name if state == "real" else f"{name} ({state})"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"


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
    who = disposal.model or f"the best of {_listed(list(models))}"
    modality = _called(disposal.modality)
    cells = f"{_count(len(disposal.real), 'cell')} against {_count(len(disposal.control), 'cell')}"
    against = f"with {modality} shuffled" if disposal.controlled else f"without {modality}"
    more = "" if disposal.controlled else f"; {MORE_SEARCH}"
    return (
        f"{who} after {tuned.n} of {tuned.trials} trials of each condition: the free choice to use {modality} brings "
        f"{amount(tuned)} over the same choice {against} ({metric_name(metric)}, {disposal.dataset}; {cells}{more})"
    )


def disposal_cells(disposal: Disposal) -> str:
    """The cells of both sides, model by model."""
    sides = []
    for names in (disposal.real, disposal.control):
        by_model: dict[str, list[str]] = {}
        for name in names:
            model, _, condition = name.partition("/")
            by_model.setdefault(model, []).append(condition)
        sides.append("; ".join(f"{model} {', '.join(conditions)}" for model, conditions in by_model.items()))
    return f"cells: {sides[0]}; against: {sides[1]}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def contrast_verdict(comparison: Comparison, metric: str) -> str:
    """Word, sentence and reason of one contrast in a line."""
    if comparison.judgement is None:
        return f"not judged: {comparison.pending}"
    return _line(comparison.judgement.also, comparison.word, sentence(comparison, metric), comparison.judgement.reason)


def disposal_verdict(disposal: Disposal, metric: str) -> str:
    """Word, sentence and reason of free disposal in a line."""
    told = disposal_sentence(disposal, metric)
    reason = "" if told and not disposal.controlled else disposal.judgement.reason
    return _line(disposal.judgement.also, disposal.word, told, reason)


def earlier_verdict(look: EarlierLook) -> str:
    """What was said at an earlier look, with the effort of then."""
    gain = "" if look.tuned is None or math.isnan(look.tuned.gain) else f" {amount(look.tuned)}"
    return f"look {look.number}, with T {look.trials} and S {look.seeds}: {look.judgement}{gain}"


def _line(also: Sequence[str], word: str, told: str, reason: str) -> str:
    more = f" (also {', '.join(also)})" if also else ""
    parts = [part for part in (told, " ".join(reason.split())) if part]
    return f"{word}{more}: {'; '.join(parts)}"
