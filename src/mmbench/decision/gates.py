"""The gates of the decision, each from the records of a sweep (docs/decision.md)."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from mmbench import paths
from mmbench.data.divisions import members_of
from mmbench.data.encoded import DEFAULT
from mmbench.decision.evidence import Gate, Status
from mmbench.inference.contribution.guardrails import Rail, shown_by
from mmbench.inference.contribution.pretest import EPSILON, pretest
from mmbench.inference.contribution.signal import frequent_items
from mmbench.inference.gains import Gain
from mmbench.inference.intervals import CrossedInterval, LogGain
from mmbench.inference.verdicts import MIN_SEEDS, Verdict
from mmbench.messages import Message, message_of
from mmbench.report.catalogue import Catalogue, read_catalogue
from mmbench.report.comparisons import unfairness
from mmbench.report.disposals import Disposal
from mmbench.report.facts import Facts
from mmbench.report.fairness_checks import Group
from mmbench.report.list_facts import GUARDRAILS, read_lists
from mmbench.report.table import CellResult, SweepTable, comparable, simple_baselines
from mmbench.scheduling.sweep import sweep_command
from mmbench.store import records
from mmbench.store.files import read_document
from mmbench.store.schema import Cell, Manifest

IMAGE = "image"
#: Simple baselines that read no content; one of them is added where an answer is missing for want of any.
ADDED = ("itemknn", "ease", "ials")
#: Share of what is shown that must have an image (G5), and image encoders to try (G6).
EXPOSURE, ENCODERS = 0.80, 2


def read_gates(
    table: SweepTable,
    disposal: Disposal,
    groups: Sequence[Group],
    chosen: CrossedInterval | None,
    a: CellResult,
    facts: Facts,
    data: Catalogue | str,
    of_whole: Sequence[Gate] = (),
    commands: Sequence[str] = (),
) -> tuple[Gate, ...]:
    """Every gate but G7, which needs the break-even gain.

    Args:
        table: the sweep.
        disposal: free disposal of images over all models.
        groups: fairness report of the data set.
        chosen: gain of the best chosen configuration with real images over the best one of the controls.
        a: everything that the model that is best on validation may use; another of its conditions with images where
            that was not run.
        facts: contribution measures of that model, with the guard-rails of everything against everything but images.
        data: its data set, or why there is none; of a part with images for its items alone.
        of_whole: of a part the gates of the whole, whose encoders and signal are those of the data set.
        commands: what runs that model with everything, and with everything but images, where it was not run.
    """
    unread = _not_run(a, commands)
    gates = (
        _fairness(disposal, groups),
        _baseline(table, disposal),
        _control(table, disposal),
        unread.get("G4") or _guardrails(facts, data),
        unread.get("G5") or _exposure(a, data, disposal.part),
        agreement(disposal.tuned, chosen),
    )
    if disposal.part:
        return (*gates, *(gate for gate in of_whole if gate.name in ("G6", "G8")))
    if "G8" in unread:
        return (*gates, unread["G6"], unread["G8"])
    tried = encoders_tried(table, a)
    others = [cell for cell in tried.values() if cell is not a]
    unused = _unused(table, [(a, data), *((cell, read_catalogue(cell, table.trust)) for cell in others)])
    return (*gates, _encoders(tried), unused)


def _not_run(a: CellResult, commands: Sequence[str]) -> dict[str, Gate]:
    """The gates that nothing can be read of, by name, where the model was not run with everything, or all but images.

    No other model stands in for it: then whoever adds a condition, or leaves one out, would choose whose guard-rails
    count.
    """
    if not commands:
        return {}
    reason = Message(
        "{model}, the best model on validation, was not run both with everything and with everything but images",
        model=a.model,
    )
    names = ("G4",) if set(a.asked_states.values()) == {"real"} else ("G4", "G5", "G6", "G8")
    return {name: Gate(name, Status.UNKNOWN, why=reason, command=" && ".join(commands)) for name in names}


def models_of(disposal: Disposal) -> list[str]:
    """Models whose conditions the gain is the best of, in name order."""
    return sorted({name.partition("/")[0] for name in disposal.real})


def split_of(cell: CellResult) -> tuple[str, str]:
    """What a cell was tuned and tested on: data sets that differ in nothing but an encoder share it."""
    return cell.test_hash, _record(cell).split_hash


def finished(table: SweepTable, of: CellResult) -> list[CellResult]:
    """Finished conditions of a model, the late ensemble left out."""
    return [
        c
        for (d, m, _), c in table.cells.items()
        if (d, m) == (of.dataset, of.model) and c.status == "done" and not c.parts
    ]


def _fairness(disposal: Disposal, groups: Sequence[Group]) -> Gate:
    """G1: equal effort in every model, and trainings that were trained to their end."""
    models = models_of(disposal)
    doubts = [f"{g.model}: {reason}" for g in groups if g.model in models for reason in unfairness(g)]
    if disposal.judgement.word is Verdict.UNTRUSTED:
        doubts = [disposal.judgement.reason]
    return Gate("G1", Status.FAIL if doubts else Status.PASS, why="; ".join(doubts))


def _baseline(table: SweepTable, disposal: Disposal) -> Gate:
    """G2: a tuned simple baseline is among the models that the best is chosen from."""
    named = models_of(disposal)
    simple = simple_baselines(c for c in table.cells.values() if c.dataset in disposal.datasets and c.model in named)
    if not simple:
        taken = {cell.model for cell in table.cells.values() if cell.another_class}
        added = next((model for model in ADDED if model not in taken), None)
        command = "" if added is None else command_of(table, [added], "modality=none")
        return Gate("G2", Status.FAIL, 0, 1, "no tuned simple baseline in the sweep", command)
    return Gate("G2", Status.PASS, len(simple), 1, ", ".join(simple))


def _control(table: SweepTable, disposal: Disposal) -> Gate:
    """G3: every condition with images was also run with shuffled ones and without, and real ones are better."""
    missing = dict.fromkeys([*disposal.missing, *disposal.without])
    if missing or not disposal.controlled:
        by_overrides = sorted((overrides, model) for model, overrides in missing)
        commands = [
            command_of(table, [model for _, model in members], *re.split(" (?=modality)", overrides))
            for overrides, members in itertools.groupby(by_overrides, key=lambda pair: pair[0])
        ]
        if disposal.failed:  # to run them again is not enough
            why = "; ".join(f"{control.model}: {control.reason}" for control in disposal.failed)
            times = max(control.times for control in disposal.failed)
            return Gate("G3", Status.UNKNOWN, times, why=why, command=" && ".join(commands))
        lacking = ", ".join(f"{model} {overrides}" for overrides, model in by_overrides)
        return Gate("G3", Status.UNKNOWN, why=f"not run: {lacking}", command=" && ".join(commands))
    return better_than_shuffled(disposal.tuned.log_gain if disposal.tuned else None)


def cells_of(table: SweepTable, dataset: str) -> dict[str, CellResult]:
    """Cells of a data set by the names that free disposal has for them."""
    return {f"{m}/{c}": cell for (d, m, c), cell in table.cells.items() if d == dataset}


def command_of(table: SweepTable, models: Sequence[str], *words: str) -> str:
    """The last command of the sweep with other models and conditions; what has run is not run again.

    Args:
        table: the sweep.
        models: models to run; settings of others are left out.
        words: the conditions to run them under.
    """
    manifest = records.read(paths.manifest_file(table.folder), Manifest)
    words = (f"model={','.join(models)}", *words)
    keys = {word.partition("=")[0] for word in words}
    ran = [word.removeprefix("model=").split(",") for word in manifest.command if word.startswith("model=")]
    known = set(ran[-1]) if ran else {model for _, model, _ in table.cells}
    sections = ("modality.",) if known.issuperset(models) else ("modality.", "model.", "search.")
    kept = [
        word
        for word in manifest.command
        if word.partition("=")[0] not in keys and not word.lstrip("+~").startswith(sections)
    ]
    return sweep_command([*kept, *words], manifest.name)


def _guardrails(facts: Facts, data: Catalogue | str) -> Gate:
    """G4: every guard-rail holds, non-inferiority by the 90 % interval of each."""
    found = [fact for fact in facts.facts if fact.measure == GUARDRAILS]
    if found and facts.one_draw:
        return Gate("G4", Status.UNKNOWN, why=Message("guard-rails of one draw of new items are not judged"))
    rails = tuple((fact.part.removeprefix("relative change of "), fact.word) for fact in found)
    if not rails and isinstance(data, str):
        return Gate("G4", Status.UNKNOWN, why=data, unread=True)
    if not rails:
        return Gate("G4", Status.UNKNOWN)
    words = {word for _, word in rails}
    status = Status.FAIL if Rail.BROKEN in words else Status.PASS if words == {Rail.HOLDS} else Status.UNKNOWN
    times = None
    if status is Status.UNKNOWN:
        still = [fact.interval for fact in found if fact.word == Rail.OPEN]
        times = max(math.inf if interval is None else shown_by(interval) for interval in still)
        times = times if math.isfinite(times) else None
    return Gate("G4", status, times, why="; ".join(f"{name} {word}" for name, word in rails), rails=rails)


def _exposure(a: CellResult, data: Catalogue | str, part: str) -> Gate:
    """G5: share of the recommended items that have an image; of a part among those of its items."""
    if isinstance(data, str):
        return Gate("G5", Status.UNKNOWN, None, EXPOSURE, data, unread=True)
    if not all(paths.final_file(a.folder, s, paths.LISTS).exists() for s in a.seeds):
        return Gate("G5", Status.UNKNOWN, None, EXPOSURE, Message("no lists were kept"))
    if a.target == "cold":
        return Gate("G5", Status.UNKNOWN, None, EXPOSURE, Message("the lists hold new items alone"))
    shown = read_lists(a)
    shown = shown[shown >= 0]
    if part:
        shown = shown[members_of(part, data.item_counts, data.dataset.items, data.dataset.texts)[shown]]
        if not len(shown):
            return Gate("G5", Status.UNKNOWN, None, EXPOSURE, Message("no item of the part was recommended"))
    share = float(data.dataset.features[IMAGE].present[shown].mean())
    return Gate("G5", Status.PASS if share >= EXPOSURE else Status.FAIL, share, EXPOSURE)


def _encoders(tried: Mapping[str, CellResult]) -> Gate:
    """G6: how many image encoders were tried; two names with the same numbers are one encoder."""
    if not tried:
        return Gate("G6", Status.UNKNOWN, None, ENCODERS, "the records do not say which features were used")
    status = Status.PASS if len(tried) >= ENCODERS else Status.FAIL
    return Gate("G6", status, len(tried), ENCODERS, f"tried: {', '.join(sorted(map(_label, tried.values())))}")


def encoders_tried(table: SweepTable, a: CellResult) -> dict[str, CellResult]:
    """A cell for every image encoder that the model was given with everything else, by fingerprint of its features.

    Encoders count on the same split with the same effort only; what they are called is in the configuration.
    """
    tried: dict[str, CellResult] = {}
    for cell in sorted(table.cells.values(), key=lambda c: (c is not a, c.dataset)):
        if cell.model != a.model or cell.status != "done" or set(cell.states.values()) != {"real"}:
            continue
        features = _record(cell).features
        if split_of(cell) == split_of(a) and comparable(cell, a) and IMAGE in features:
            tried.setdefault(features[IMAGE], cell)
    return tried


def _label(cell: CellResult) -> str:
    """What the configuration calls the image encoder."""
    encoder = _record(cell).config["dataset"].get("encoder") or {}
    return str(encoder.get(IMAGE, DEFAULT))


def _record(cell: CellResult) -> Cell:
    return records.read(paths.cell_file(cell.folder), Cell)


def _unused(table: SweepTable, cells: Sequence[tuple[CellResult, Catalogue | str]]) -> Gate:
    """G8: what only images tell about behaviour is no more than chance with any encoder: none is left unused."""
    by_encoder = []
    for cell, data in cells:
        if isinstance(data, str):
            return Gate("G8", Status.UNKNOWN, why=data, unread=True)
        try:
            unique, limit = _unique(table, cell, data)
        except ValueError as error:
            return Gate("G8", Status.UNKNOWN, why=message_of(error))
        by_encoder.append((unique, limit, f"image encoder: {_label(cell)}"))
    unique, limit, encoder = max(by_encoder, key=lambda telling: telling[0] - telling[1])
    return Gate("G8", Status.PASS if unique <= limit else Status.FAIL, unique, limit, encoder)


def _unique(table: SweepTable, cell: CellResult, data: Catalogue) -> tuple[float, float]:
    """What only the images of a data set tell (M4), and what chance tells at most; from the pre-test if that was run.

    Raises:
        ValueError: if the data set is too small for it.
    """
    train = data.dataset.split.train
    file = paths.signal_file(table.folder.parent, cell.dataset)
    earlier = read_document(file) if file.exists() else {}
    features = {name: feature.fingerprint() for name, feature in data.dataset.features.items()}
    if (earlier.get("train_hash"), earlier.get("features")) == (train.fingerprint(), features):
        unique, null = float(earlier["unique"][IMAGE]["value"]), np.array(earlier["null_unique"][IMAGE])
    else:
        signal = pretest(train, data.dataset.features).signal
        unique, null = signal.unique[IMAGE].mean, np.asarray(signal.null_unique[IMAGE])
    coverage = float(data.dataset.features[IMAGE].present[frequent_items(train)].mean())
    return unique, float(null.mean()) + EPSILON * coverage


def better_than_shuffled(gain: LogGain | None) -> Gate:
    """G3 where every control was run: are real images better than shuffled ones, by the lower 90 % bound?"""
    if gain is None:
        return Gate("G3", Status.FAIL, limit=0.0, why="the gain has no bounds")
    bounds = gain.at(0.9)
    return Gate("G3", Status.PASS if bounds.lo > 0 else Status.FAIL, bounds.lo, 0.0, lo=bounds.lo, hi=bounds.hi)


def agreement(tuned: Gain | None, chosen: CrossedInterval | None) -> Gate:
    """G9: other numbers of trials say the same, and the chosen configurations do not say the opposite.

    Args:
        tuned: the gain of the tuned conditions; None where there is none.
        chosen: gain of the best chosen configuration with real images over the best one of the controls, over users and
            seeds; None where there is none.
    """
    if chosen is not None and chosen.seeds < MIN_SEEDS:
        return Gate("G9", Status.UNKNOWN, chosen.seeds, MIN_SEEDS, "too few final runs to compare configurations")
    if tuned is None or math.isnan(tuned.gain) or chosen is None:
        return Gate("G9", Status.UNKNOWN, why="the chosen configurations were not compared")
    if tuned.depends_on_tuning:
        return Gate("G9", Status.FAIL, why="the gain depends on tuning")
    opposite = (chosen.hi < 0 < tuned.gain) or (tuned.gain < 0 < chosen.lo)
    reason = f"chosen configurations {chosen.mean:+.1%} [{chosen.lo:+.1%}, {chosen.hi:+.1%}]"
    status = Status.FAIL if opposite else Status.PASS
    return Gate("G9", status, chosen.mean, 0.0, reason, lo=chosen.lo, hi=chosen.hi)
