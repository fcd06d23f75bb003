"""The decision as one page and one record."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from markupsafe import Markup

from mmbench import paths
from mmbench.data.divisions import DIVISIONS
from mmbench.decision import Action, Decision, Economics, annuity, as_record, decide
from mmbench.decision.economics import INPUTS, USUAL_GO, USUAL_NO_GO, costs
from mmbench.decision.gates import IMAGE
from mmbench.decision.page import drawings
from mmbench.decision.page.drawings import Labels, Line
from mmbench.decision.page.examples import Example, numbered
from mmbench.decision.page.phrases import ASKED, INPUT_NAMES, RAIL_NAMES, SOURCES
from mmbench.decision.page.speaker import Speaker
from mmbench.decision.serving import Serving
from mmbench.decision.steps import NO_PRICE, NOTHING
from mmbench.decision.sweep_evidence import Read
from mmbench.decision.value import DRAWS
from mmbench.inference.contribution.guardrails import Rail
from mmbench.inference.intervals import Interval
from mmbench.inference.verdicts import MIN_SEEDS
from mmbench.messages import Message, Template, digits_shown, level_name
from mmbench.report.contribution_facts import AMONG_NEW, FOUND_OF_1000, HITS, NEW_ITEMS, REDUNDANCY, SLICES, VALUES
from mmbench.report.facts import Fact
from mmbench.report.list_facts import GUARDRAILS
from mmbench.report.sentences import metric_name
from mmbench.report.table import SweepTable
from mmbench.report.templating import Pages, render, write_pages
from mmbench.store import files

#: Bars and slices that still can be read.
MOST_SWINGS, MOST_SLICES = 8, 14
#: Recommended items that one request asks for.
LIST = 20
RAILS = {Rail.HOLDS: Message("✓ not worse"), Rail.BROKEN: Message("✗ worse"), Rail.OPEN: Message("? not shown")}
UNMEASURED = "not-measured"
#: Width of a range of shares from which on it says nothing.
MOST_OF_ALL = 0.5
#: What the range of the gain is one over, by what its variance comes from where that is repetitions.
RANGES = {
    "": Message("trials, customers and training noise"),
    "splits": Message("trials, customers, training noise and splits of the data"),
    "folds": Message("groups of new items"),
}
COST_KINDS = {
    "images": Message("images (photograph, rights, cleaning)"),
    "encoding": Message("computing the embeddings"),
    "serving": Message("storage and serving"),
    "engineering": Message("engineering"),
}
#: New items found by condition.
FOUND_WITH = {
    "text": Template("{found} with text"),
    "image": Template("{found} with images"),
    "fused": Template("{found} with everything"),
}
#: Classes of hits as the facts name them.
HIT_KINDS = {
    "redundant": Template("{other} or images, either is enough (overlap)"),
    "synergy": Template("only both together"),
    "lost": Template("lost by adding content"),
}


def write_decision(
    table: SweepTable,
    read: Read,
    economics: Economics,
    decision: Decision,
    lang: str,
    *,
    day: date,
    examples: Sequence[Example] = (),
    serving: Sequence[Serving] = (),
    command: str = "",
    parts: Sequence[Read] = (),
) -> None:
    """Write pages and record into the report folder, each by atomic rename.

    The page is written in every language, and also as it is passed on.

    Args:
        table: the sweep.
        read: what its records say.
        economics: what the company put in.
        decision: the answer.
        lang: language that was asked for, whose page has the plain name.
        day: date on the page.
        examples: items found only thanks to images.
        serving: what the models cost to run.
        command: what made the page.
        parts: what was read of images for some items alone, where the answer is not about them.
    """
    filled = {
        pages.lang: fill(table, read, economics, decision, pages.lang, day, serving, command, parts)
        for pages in Pages.both(lang)
    }
    for name, with_titles in ((paths.DECISION, True), (paths.WITHOUT_TITLES, False)):

        def make(pages: Pages, name: str = name, with_titles: bool = with_titles) -> str:
            shown = examples if with_titles else numbered(examples, pages.lang)
            return filled[pages.lang](**pages.of(name), examples=shown)

        write_pages(paths.report_dir(table.folder), name, lang, make)
    record = as_record(read.evidence, economics, decision)
    files.write_document(paths.decision_file(table.folder), {**record, "root": table.standing.root})


def fill(
    table: SweepTable,
    read: Read,
    economics: Economics,
    decision: Decision,
    lang: str,
    day: date,
    serving: Sequence[Serving],
    command: str,
    parts: Sequence[Read],
) -> Callable[..., str]:
    """The page in one language but for its name and its examples, which alone show titles; see :func:`write_decision`.

    Charts and sentences are made once for the page with titles and the one without.
    """
    speaker = Speaker.of(lang, read.evidence, economics, decision)
    slices = _slices(speaker, read)
    return functools.partial(
        render,
        "decision.html",
        "mmbench.decision.page",
        speaker=speaker,
        d=decision,
        about=speaker.about(day),
        asked=asked(speaker),
        metric=metric_name(read.evidence.metric),
        hero=_hero(speaker),
        chosen=_chosen(speaker, read.comparison.model, read.comparison.contrast),
        judged=_chosen(speaker, read.evidence.model, read.evidence.contrast),
        cost=_cost(speaker),
        flips=_flips(speaker),
        value=_value(speaker),
        tornado=_tornado(speaker),
        where=_where(speaker, slices),
        left_out=_left_out(speaker, slices),
        unsliced=_unsliced(speaker, read),
        parts=_parts(speaker, economics, parts),
        why=_why(speaker, read),
        new=_new(speaker, read),
        unexplained=_unexplained(speaker, read),
        rails=guard_rails(speaker, read),
        steps=_steps(speaker),
        gates=[speaker.gate(gate) for gate in decision.gates],
        barred=[speaker.gate(gate) for gate in decision.barred],
        inputs=_inputs(speaker),
        serving=_serving(speaker, serving),
        machine_hour=speaker.given_price(economics.machine_hour),
        requests=speaker.count(economics.likely["value.recommendations_year"] / LIST),
        command=command,
        proof=speaker(table.proof),
        level=level_name(read.evidence.level),
        per_thousand=read.evidence.per_thousand,
    )


def _chosen(speaker: Speaker, model: str, contrast: str) -> str:
    """Whose lists something is about."""
    return speaker(Message("Chosen configurations of {model}, {contrast}.", model=model, contrast=contrast))


def asked(speaker: Speaker) -> str:
    """The thresholds that are easier to reach than those of the package; empty where none is.

    Args:
        speaker: says what was decided.
    """
    e = speaker.economics
    easier = {"go": (e.go, USUAL_GO)} if e.go < USUAL_GO else {}
    easier |= {"no_go": (e.no_go, USUAL_NO_GO)} if e.no_go > USUAL_NO_GO else {}
    return speaker.joined(
        speaker(Message(ASKED[name], own=speaker.given_share(own), usual=speaker.given_share(usual)))
        for name, (own, usual) in easier.items()
    )


def _hero(speaker: Speaker) -> Mapping[str, Any] | None:
    evidence = speaker.evidence
    if evidence.ratio is None or evidence.of_new_items:
        return None
    bounded = speaker.decision.value is not None
    gain = evidence.interval or Interval(evidence.ratio, evidence.ratio, evidence.ratio)
    break_even = speaker(Message("break-even {need}", need=speaker.need))
    title = speaker(Message("Gain of real over shuffled images, against the break-even line"))
    labels = Labels(break_even, f"{title}. {speaker.range()}")
    drawn = drawings.hero(gain, bounded, speaker.decision.breakeven, speaker.gain, labels)
    over = next((words for source, words in RANGES.items() if source in evidence.variances), RANGES[""])
    note = _uncertainty(speaker) if bounded else ""
    return {"plot": drawn, "title": title, "bounded": bounded, "over": speaker(over), "note": note}


def _uncertainty(speaker: Speaker) -> str:
    """Which gain would be seen how often, and what the range comes from."""
    evidence, whole = speaker.evidence, math.fsum(speaker.evidence.variances.values())
    if evidence.mde is None or whole == 0:
        return ""
    shares = {name: speaker.translator.percent(part / whole) for name, part in evidence.variances.items()}
    shares["mde"] = speaker.gain(evidence.mde, sign=False)
    if "folds" in shares:
        return speaker(
            Message(
                "A true gain of {mde} would be seen, with a range above zero, in four of five such studies; smaller "
                "ones are seen less often. The uncertainty comes from how far the groups of new items differ.",
                mde=shares["mde"],
            )
        )
    if "splits" in shares:
        return speaker(
            Message(
                "A true gain of {mde} would be seen, with a range above zero, in four of five such studies; smaller "
                "ones are seen less often. Of the uncertainty {trials} comes from which trials were drawn, {users} "
                "from which customers were tested, {seed} from training noise and {splits} from how the data were "
                "split.",
                **shares,
            )
        )
    return speaker(
        Message(
            "A true gain of {mde} would be seen, with a range above zero, in four of five such studies; smaller ones "
            "are seen less often. Of the uncertainty {trials} comes from which trials were drawn, {users} from which "
            "customers were tested and {seed} from training noise.",
            **shares,
        )
    )


def _cost(speaker: Speaker) -> Mapping[str, Any]:
    """Present value of each kind of cost."""
    factor = annuity(speaker.economics.years, speaker.economics.discount)
    amounts = {kind: once + year * factor for kind, (once, year) in costs(speaker.economics.likely).items()}
    parts = [
        {"name": speaker(COST_KINDS[kind]), "amount": speaker.money(amount), "n": place}
        for place, (kind, amount) in enumerate(amounts.items())
    ]
    title = speaker(Message("Cost over {years} at today's value", years=speaker.years))
    drawn = drawings.stacked(list(amounts.values()), [f"{part['name']} {part['amount']}" for part in parts], title)
    return {"parts": parts, "plot": drawn, "title": title, "turn": _price(speaker), "payback": _payback(speaker)}


def _price(speaker: Speaker) -> str:
    flip, now = speaker.decision.flip, speaker.economics.likely["cost.image"]
    if flip is None or not speaker.decision.trusted:
        return ""
    if flip.image_price is None:
        return speaker(Message("No image has to be bought."))
    if flip.image_price > 0:
        return speaker(
            Message(
                "At the likely values of everything else it pays up to {price} per image (now: {now}).",
                price=speaker.price(flip.image_price, now),
                now=speaker.given_price(now),
            )
        )
    return (
        speaker(Message("Even free images would not pay with this gain."))
        if speaker.decision.action is Action.NO_GO
        else ""
    )


def _payback(speaker: Speaker) -> str:
    flip = speaker.decision.flip
    if (
        flip is None
        or not speaker.decision.trusted
        or (flip.payback is None and speaker.decision.action is not Action.NO_GO)
    ):
        return ""
    if flip.payback is None:
        return speaker(Message("With the measured gain the one-off cost would not come back."))
    if flip.payback <= 0:  # nothing is spent once
        return ""
    years = speaker.translator.number(flip.payback, digits_shown(flip.payback, 1))
    return speaker(
        Message(
            "Without discounting, the one-off cost would come back after {years} years, at the likely values of "
            "everything else.",
            years=years,
        )
    )


def _flips(speaker: Speaker) -> list[str]:
    """Where it would just break even, one input at a time."""
    flip, gain, now = speaker.decision.flip, speaker.evidence.ratio, speaker.economics.likely
    if speaker.evidence.of_new_items:
        only = Message("The gain has no price, so only the break-even line can be told: {need}.", need=speaker.need)
        return [speaker(only)]
    if flip is None or gain is None or not speaker.decision.trusted:
        return [
            speaker(
                Message(
                    "Without a measurement that is trusted, only the break-even line can be told: {need}.",
                    need=speaker.need,
                )
            )
        ]
    changes = [
        speaker(
            Message(
                "A gain of {gain} instead of the measured {now}.", gain=speaker.gain(flip.gain), now=speaker.gain(gain)
            )
        )
    ]
    if flip.transfer is not None:
        changes.append(
            speaker(
                Message(
                    "If {eta} of the offline gain reached sales (now: {now}).",
                    eta=speaker.share(flip.transfer, now["transfer"]),
                    now=speaker.given_share(now["transfer"]),
                )
            )
        )
    if flip.image_price is not None and flip.image_price > 0:
        changes.append(
            speaker(
                Message(
                    "A price of {price} per image (now: {now}).",
                    price=speaker.price(flip.image_price, now["cost.image"]),
                    now=speaker.given_price(now["cost.image"]),
                )
            )
        )
    return changes


def _value(speaker: Speaker) -> Mapping[str, Any] | None:
    value = speaker.decision.value
    if value is None or not speaker.decision.trusted:
        return None
    quantiles = value.quantiles
    text = speaker(
        Message(
            "Expected {mean}; in nine of ten cases between {lo} and {hi}.",
            mean=speaker.money(value.mean),
            lo=speaker.money(quantiles[0.05]),
            hi=speaker.money(quantiles[0.95]),
        )
    )
    title = speaker(
        Message(
            "Value over {years} in {draws} calculated cases",
            years=speaker.years,
            draws=speaker.translator.number(DRAWS),
        )
    )
    ends = (speaker(Message("loss")), speaker(Message("profit")))

    def tick(amount: float) -> str:
        return speaker.translator.compact(amount, speaker.economics.currency)

    drawn = drawings.histogram(value.counts, quantiles[0.025], quantiles[0.975], tick, *ends, title)
    return {"plot": drawn, "text": text, "title": title, "sure": speaker.sure()}


def _tornado(speaker: Speaker) -> Markup | None:
    if not speaker.decision.swings or not speaker.decision.trusted:
        return None
    lines = [
        Line(
            _name(speaker, swing.name).partition("(")[0].strip(),
            f"{speaker.money(swing.low)} → {speaker.money(swing.high)}",  # of a cost the second is the lower one
            (swing.low, swing.high),
        )
        for swing in speaker.decision.swings[:MOST_SWINGS]
    ]
    return drawings.rows(lines, speaker(Message("Which input moves the result most")))


def _name(speaker: Speaker, key: str) -> str:
    return speaker(INPUT_NAMES[key])


def _slices(speaker: Speaker, read: Read) -> list[Fact]:
    """Gains by kind of item and user; those that a promise is about come first."""
    found = [
        fact
        for fact in read.facts.facts
        if (fact.measure, fact.subject) == (SLICES, read.comparison.contrast) and fact.interval is not None
    ]
    promise = speaker.decision.promise
    division, _, label = promise.part.slice.partition(":") if promise is not None else ("", "", "")
    return sorted(found, key=lambda fact: fact.part != f"{DIVISIONS.get(division, '')}: {label}")


def _where(speaker: Speaker, slices: Sequence[Fact]) -> Markup | None:
    lines = [
        Line(
            speaker.part(f.part),
            f"{speaker.gain(f.value)} ({speaker.translator.number(f.n or 0)})",
            (f.interval.lo, f.interval.hi),
            f.value,
        )
        for f in slices[:MOST_SLICES]
        if f.interval is not None
    ]
    return drawings.rows(lines, speaker(Message("Gain by kind of item and user"))) if lines else None


def _left_out(speaker: Speaker, slices: Sequence[Fact]) -> str:
    """How many slices the chart leaves out; empty where it shows all."""
    n = len(slices) - MOST_SLICES
    if n <= 0:
        return ""
    return speaker(
        Message.counted(
            "{n} further slice stands in contribution.md.", "{n} further slices stand in contribution.md.", n
        )
    )


def _unsliced(speaker: Speaker, read: Read) -> str:
    """Why there are no slices."""
    if isinstance(read.catalogue, str):
        return speaker(Message("Slices were not measured: {reason}.", reason=read.catalogue))
    if not read.comparison.noise_known:
        return speaker(Message("Slices were not measured: there is only one training run."))
    if speaker.evidence.target == "harmonic":
        return speaker(Message("Slices were not measured: a harmonic mean is no sum over items or users."))
    return speaker(
        Message("Slices were not measured: no division of the data has two slices in which both sides find something.")
    )


def _parts(speaker: Speaker, economics: Economics, parts: Sequence[Read]) -> list[str]:
    """What images for some items alone came to, where they were measured and the answer is not about them."""
    lines = []
    promise = speaker.decision.promise
    if promise is not None and speaker.decision.action is Action.NO_GO:
        lines.append(
            speaker(
                Message(
                    "This answer is about images for all items. For these items alone they may pay, which this command "
                    "measures: {part}. {command}",
                    part=speaker.slice(promise.part.slice),
                    command=promise.command,
                )
            )
        )
    for part in parts:  # without an answer, which of several parts would be the best one on test
        of = Speaker.of(speaker.translator.lang, part.evidence, economics, decide(part.evidence, economics))
        measured = Message(
            "Measured with images for these items alone: {part}. {range}", part=of.part_name, range=of.range()
        )
        lines.append(speaker(measured))
    return lines


def _unexplained(speaker: Speaker, read: Read) -> str:
    """Why there is no redundancy bar."""
    if speaker.evidence.of_new_items:
        return speaker(Message("It is shown where the sweep runs on all items."))
    if not speaker.decision.trusted:
        return speaker(Message("It is not shown as long as the measurement is not trusted."))
    if read.facts.seeds < MIN_SEEDS:
        return speaker(Message("It takes several training runs, and there is only one."))
    if speaker.evidence.part is not None or len(read.comparison.a.states) != 2:
        return speaker(Message("It is shown where a model reads images for all items beside one other modality."))
    return speaker(
        Message(
            "It takes results of this model without content, with {other} only, with images only and with both.",
            other=_other(speaker, read),
        )
    )


def _why(speaker: Speaker, read: Read) -> Mapping[str, Any] | None:
    """The redundancy bar: classes of hits against their noise floor."""
    facts = {f.part: f for f in read.facts.facts if (f.measure, f.subject) == (HITS, f"testing {IMAGE}")}
    names = [p for p in facts if p in ("redundant", "synergy", "lost") or p.startswith("only_")]
    if not names or not speaker.decision.trusted or all(facts[p].baseline is None for p in names):
        return None
    lines, other = [], _other(speaker, read)
    for part in names:
        fact, only = facts[part], part.removeprefix("only_")
        label = (
            speaker(Message("{modality} only", modality=speaker.modality(only)))
            if part != only
            else speaker(Message(HIT_KINDS[part], other=other))
        )
        # What only another modality finds is an effect in the floor's own table, not noise (see contribution).
        floor = None if part.startswith("only_") and only != IMAGE else fact.baseline
        per_1000 = -1000 if part == "lost" else 1000
        share, mark = per_1000 * fact.value, None if floor is None else per_1000 * floor
        lines.append(Line(label, speaker.translator.number(share, 1), (0.0, share), mark=mark, negative=per_1000 < 0))
    title = speaker(Message("Purchases found in the top 20 thanks to {other} or images", other=other))
    return {"title": title, "plot": drawings.rows(lines, title), "repeat": _repeat(speaker, read, other)}


def _other(speaker: Speaker, read: Read) -> str:
    """What the data have beside images."""
    names = [name for name in read.comparison.a.states if name != IMAGE]
    return speaker.modality(names[0]) if len(names) == 1 else speaker(Message("other content"))


def _new(speaker: Speaker, read: Read) -> str:
    """How many new items each condition finds, of 1,000 that customers took, over all folds; empty where none is new.

    A shop without content has nothing to place a new item by: it finds none, and what chance alone would find stands
    behind, with the number of new items that the lists could show.
    """
    facts = {f.subject: f for f in read.facts.facts if (f.measure, f.part) == (NEW_ITEMS, FOUND_OF_1000)}
    found = [
        speaker(Message(words, found=speaker.translator.number(facts[name].value)))
        for name, words in FOUND_WITH.items()
        if name in facts
    ]
    if not found:
        return ""
    luck = next((f.baseline for f in facts.values() if f.baseline is not None), None)
    lines = [
        Message(
            "New items found by {model}, of 1,000 taken by customers who took others too, in the first 20 places of "
            "lists of new and other items: 0 without content, {found}.",
            model=read.facts.model,
            found=speaker.translator.list(found),
        )
    ]
    if luck is not None:
        lines.append(Message("Chance alone would find {n}.", n=speaker.translator.number(luck)))
    size = next(f.n or 0 for f in read.facts.facts if (f.measure, f.part) == (NEW_ITEMS, AMONG_NEW))
    pool = speaker.translator.number(size)
    folds = len(read.disposal.datasets) if read.evidence.folds else 1
    if folds > 1:
        n = speaker.translator.number(folds)
        lines.append(Message("Mean over {n} groups of new items, {pool} items in all.", n=n, pool=pool))
    else:
        lines.append(Message("One draw of {pool} new items: others may differ, so this is no proof.", pool=pool))
    return speaker.joined(map(speaker, lines))


def _repeat(speaker: Speaker, read: Read, other: str) -> str:
    """How much of what images tell the rest of the content tells too; nothing where its range is most of all shares."""
    wanted = (VALUES, IMAGE, REDUNDANCY)
    bounds = next((f.interval for f in read.facts.facts if (f.measure, f.subject, f.part) == wanted), None)
    if bounds is None:
        return ""
    lo, hi = (min(max(share, 0.0), 1.0) for share in (bounds.lo, bounds.hi))
    if not hi - lo <= MOST_OF_ALL:
        return ""
    shares = {"lo": speaker.translator.percent(lo), "hi": speaker.translator.percent(hi)}
    return speaker(Message("Between {lo} and {hi} of what images tell, {other} tells too.", other=other, **shares))


def guard_rails(speaker: Speaker, read: Read) -> list[Mapping[str, str]]:
    """Every guard-rail of the model that the gates are read from, also one that could not be measured.

    Nothing where none could be.

    Args:
        speaker: says what was decided.
        read: what the records say.
    """
    measured = {
        fact.part.removeprefix("relative change of "): {
            "change": speaker.gain(fact.value)
            if fact.interval is None
            else speaker(
                Message(
                    "{value} ({lo} to {hi}, {level} % interval)",
                    value=speaker.gain(fact.value),
                    lo=speaker.gain(fact.interval.lo),
                    hi=speaker.gain(fact.interval.hi),
                    level=level_name(fact.interval.level),
                )
            ),
            "word": speaker(RAILS[Rail(fact.word)]),
            "status": fact.word.replace(" ", "-"),
        }
        for fact in (read.judged or read.facts).facts
        if (fact.measure, fact.subject) == (GUARDRAILS, speaker.evidence.contrast) and fact.word
    }
    lacking = Message("Hardly any such item is among the test purchases, or none was found without images either.")
    none = {"change": speaker(lacking), "word": speaker(Message("– not measured")), "status": UNMEASURED}
    return [{"name": speaker(name), **measured.get(part, none)} for part, name in RAIL_NAMES.items() if measured]


def _steps(speaker: Speaker) -> Mapping[str, Any]:
    known = {step.name for step in speaker.decision.steps}
    others = {*known, NOTHING}  # which is said below them
    shown = [*([] if speaker.decision.step.name in others else [speaker.decision.step]), *speaker.decision.steps]
    rows = [
        {
            "name": speaker.step(step),
            "cost": "–" if step.name in NO_PRICE else speaker.money(step.cost),
            "days": "–" if step.name in NO_PRICE else speaker.translator.number(math.ceil(step.days)),
            "value": speaker(Message("not told"))
            if step.evsi is None or not speaker.decision.trusted
            else speaker.money(step.evsi),
            "chosen": step.name == speaker.decision.step.name,
        }
        for step in shown
    ]
    valued = speaker.decision.value is not None and speaker.decision.trusted
    if valued and speaker.decision.value:
        text = Message(
            "What more knowledge is worth: the money that better decisions would bring on average (expected value of "
            "sample information). Knowing everything would be worth {evpi}.",
            evpi=speaker.money(speaker.decision.value.evpi),
        )
    elif speaker.evidence.of_new_items:
        text = Message("The gain has no price, so no value of further knowledge can be told.")
    else:
        text = Message("Before the checks are passed, no value of further knowledge can be told.")
    vain = valued and not any(step.net > 0 for step in speaker.decision.steps)
    return {
        "rows": rows,
        "text": speaker(text),
        "worth": speaker(Message("On average none of these measurements is worth its cost.")) if vain else "",
    }


def _inputs(speaker: Speaker) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    for name in INPUTS:
        given = speaker.economics.inputs[name]
        low, high = (speaker.input(name, end) for end in (given.low, given.high))
        rows.append({
            "name": _name(speaker, name), "likely": speaker.input(name, given.likely),
            "range": speaker.span(low, high) if given.low < given.high else "", **_source(speaker, name),
        })  # fmt: skip
    for name, value in (
        ("years", speaker.translator.number(speaker.economics.years)),
        ("discount", speaker.given_share(speaker.economics.discount)),
        ("go", speaker.given_share(speaker.economics.go)),
        ("no_go", speaker.given_share(speaker.economics.no_go)),
    ):
        rows.append({"name": _name(speaker, name), "likely": value, "range": "", **_source(speaker, name)})
    return rows


def _source(speaker: Speaker, name: str) -> Mapping[str, Any]:
    """Where a number comes from, and whether nobody has confirmed it."""
    return {"source": speaker(SOURCES[speaker.economics.sources[name]]), "assumed": name in speaker.economics.assumed}


def _serving(speaker: Speaker, measured: Sequence[Serving]) -> list[Mapping[str, str]]:
    requests = speaker.economics.likely["value.recommendations_year"] / LIST
    translator = speaker.translator
    return [
        {
            "name": f"{m.model}, {m.modality}",
            "score": translator.number(m.score, 4),
            "one": translator.number(m.one_ms, 2),
            "batch": translator.number(m.batch_ms, 3),
            "parameters": "-" if m.parameters is None else translator.number(m.parameters),
            "year": speaker.money(requests * m.batch_ms / 3.6e6 * speaker.economics.machine_hour),
        }
        for m in measured
    ]
