"""The decision as one page and one record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from mmbench import paths, records
from mmbench.contribution.guardrails import Rail
from mmbench.decision import Action, Decision, Economics, annuity, as_record
from mmbench.decision.economics import INPUTS, costs
from mmbench.decision.gates import IMAGE
from mmbench.decision.page import drawings
from mmbench.decision.page.drawings import Labels, Line
from mmbench.decision.page.examples import Example
from mmbench.decision.page.speaker import INPUT_NAMES, Speaker
from mmbench.decision.serving import Serving
from mmbench.decision.sweep_evidence import Read
from mmbench.decision.value import DRAWS
from mmbench.messages import Message
from mmbench.report.contribution_facts import HITS, REDUNDANCY, SLICES, VALUES
from mmbench.report.facts import Fact
from mmbench.report.list_facts import GUARDRAILS
from mmbench.report.table import SweepTable
from mmbench.report.templating import render

#: Bars and slices that still can be read.
MOST_SWINGS, MOST_SLICES = 8, 14
#: Recommended items that one request asks for.
LIST = 20
RAILS = {Rail.HOLDS: Message("✓ not worse"), Rail.BROKEN: Message("✗ worse"), Rail.OPEN: Message("? not shown")}
#: Guard-rails as the facts name them.
RAIL_NAMES = {
    "coverage": Message("breadth of what is shown (coverage)"),
    "tail share": Message("rarely bought items (long tail)"),
    "cold recall": Message("new items found"),
}
COST_KINDS = {
    "images": Message("images (photograph, rights, cleaning)"),
    "encoding": Message("computing the embeddings"),
    "serving": Message("storage and serving"),
    "engineering": Message("engineering"),
}
#: Classes of hits as the facts name them.
HIT_KINDS = {
    "redundant": Message("text or images, either is enough (overlap)"),
    "synergy": Message("only both together"),
    "lost": Message("lost by adding content"),
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
) -> None:
    """Write ``decision.html`` and ``decision.json`` into the report folder, each by atomic rename.

    Args:
        table: the sweep.
        read: what its records say.
        economics: what the company put in.
        decision: the answer.
        lang: ``en`` or ``ja``.
        day: date on the page.
        examples: items found only thanks to images.
        serving: what the models cost to run.
        command: what made the page.
    """
    page = as_html(table, read, economics, decision, lang, day, examples, serving, command)
    folder = paths.report_dir(table.folder)
    records.write_text(folder / "decision.html", page)
    records.write_json(folder / "decision.json", as_record(read.evidence, economics, decision))


def as_html(
    table: SweepTable,
    read: Read,
    economics: Economics,
    decision: Decision,
    lang: str,
    day: date,
    examples: Sequence[Example],
    serving: Sequence[Serving],
    command: str,
) -> str:
    """The page; see :func:`write_decision`."""
    s = Speaker.of(lang, read.evidence, economics, decision)
    return render(
        "decision.html",
        "mmbench.decision.page",
        lang=lang,
        _=s.text,
        s=s,
        d=decision,
        about=s.about(day),
        hero=_hero(s, table.delta),
        delta=s.translator.percent(table.delta, 0 if table.delta >= 0.01 else 1),
        cost=_cost(s),
        flips=_flips(s),
        value=_value(s),
        tornado=_tornado(s),
        where=_where(s, read),
        why=_why(s, read),
        rails=_rails(s, read),
        steps=_steps(s),
        gates=[s.gate(gate) for gate in decision.gates],
        inputs=_inputs(s),
        examples=examples,
        serving=_serving(s, serving),
        machine_hour=s.price(economics.machine_hour),
        requests=s.translator.number(economics.likely["value.recommendations_year"] / LIST),
        command=command,
        per_thousand=read.evidence.per_thousand,
    )


def _hero(s: Speaker, delta: float) -> Mapping[str, Any] | None:
    gain = s.evidence.gain
    if gain is None:
        return None
    title = s(Message("Gain of adding images to everything else, against the break-even line"))
    labels = Labels(s(Message("break-even {need}", need=s.need)), f"{title}. {s.range()}")
    drawn = drawings.hero(gain, s.decision.value is not None, s.decision.breakeven, delta, s.gain, labels)
    mde = "" if s.evidence.mde is None else s.translator.percent(s.evidence.mde, 1)
    users, seeds = s.translator.number(s.evidence.n_users), s.translator.number(gain.seeds)
    note = Message(
        "{users} test users, {seeds} training runs; gains below {mde} cannot be told apart from none with these data.",
        users=users,
        seeds=seeds,
        mde=mde,
    )
    return {"plot": drawn, "title": title, "note": s(note) if mde else ""}


def _cost(s: Speaker) -> Mapping[str, Any]:
    """Present value of each kind of cost."""
    factor = annuity(s.economics.years, s.economics.discount)
    amounts = {kind: once + year * factor for kind, (once, year) in costs(s.economics.likely).items()}
    parts = [
        {"name": s(COST_KINDS[kind]), "amount": s.money(amount), "n": place}
        for place, (kind, amount) in enumerate(amounts.items())
    ]
    title = s(Message("Cost over {years} years at today's value", years=s.years))
    texts = [f"{part['name']} {part['amount']}" for part in parts]
    return {
        "parts": parts,
        "plot": drawings.stacked(list(amounts.values()), texts, title),
        "title": title,
        "turn": _price(s),
        "payback": _payback(s),
    }


def _price(s: Speaker) -> str:
    flip, now = s.decision.flip, s.price(s.economics.likely["cost.image"])
    if flip is None or not s.decision.trusted:
        return ""
    if flip.image_price is None:
        return s(Message("No image has to be bought."))
    if flip.image_price > 0:
        return s(
            Message("The answer turns at {price} per image (assumed: {now}).", price=s.price(flip.image_price), now=now)
        )
    return s(Message("Even free images would not pay with this gain.")) if s.decision.action is Action.NO_GO else ""


def _payback(s: Speaker) -> str:
    flip = s.decision.flip
    if flip is None or not s.decision.trusted or (flip.payback is None and s.decision.action is not Action.NO_GO):
        return ""
    if flip.payback is None:
        return s(Message("With the measured gain the one-off cost would not come back."))
    years = s.translator.number(flip.payback, 1)
    return s(Message("The one-off cost would come back after {years} years.", years=years))


def _flips(s: Speaker) -> list[str]:
    """What would change the answer."""
    flip, gain, now = s.decision.flip, s.evidence.gain, s.economics.likely
    if flip is None or gain is None or not s.decision.trusted:
        return [
            s(
                Message(
                    "Without a measurement that is trusted, only the break-even line can be told: {need}.", need=s.need
                )
            )
        ]
    shown = s.decision.subset.gain.mean if s.decision.subset else gain.mean
    said = [s(Message("A gain of {gain} instead of the measured {now}.", gain=s.gain(flip.gain), now=s.gain(shown)))]
    if flip.transfer is not None:
        said.append(
            s(
                Message(
                    "If {eta} of the offline gain reached sales (assumed: {now}).",
                    eta=s.share(flip.transfer),
                    now=s.share(now["transfer"]),
                )
            )
        )
    if flip.image_price is not None and flip.image_price > 0:
        said.append(
            s(
                Message(
                    "A price of {price} per image (assumed: {now}).",
                    price=s.price(flip.image_price),
                    now=s.price(now["cost.image"]),
                )
            )
        )
    return said


def _value(s: Speaker) -> Mapping[str, Any] | None:
    value = s.decision.value
    if value is None or not s.decision.trusted:
        return None
    q = value.quantiles
    text = s(
        Message(
            "Expected {mean}; in nine of ten cases between {lo} and {hi}.",
            mean=s.money(value.mean),
            lo=s.money(q[0.05]),
            hi=s.money(q[0.95]),
        )
    )
    title = s(
        Message("Value over {years} years in {draws} calculated cases", years=s.years, draws=s.translator.number(DRAWS))
    )
    ends = (s(Message("loss")), s(Message("profit")))
    drawn = drawings.histogram(value.counts, q[0.025], q[0.975], s.money, *ends, title)
    return {"plot": drawn, "text": text, "title": title, "sure": s.sure()}


def _tornado(s: Speaker) -> Mapping[str, Any] | None:
    if not s.decision.swings or not s.decision.trusted:
        return None
    lines = [
        Line(
            _name(s, swing.name).partition("(")[0].strip(),
            f"{s.money(swing.low)} … {s.money(swing.high)}",
            (swing.low, swing.high),
        )
        for swing in s.decision.swings[:MOST_SWINGS]
    ]
    title = s(Message("Which input moves the result most"))
    return {"plot": drawings.rows(lines, title), "title": title}


def _name(s: Speaker, key: str) -> str:
    return s(INPUT_NAMES[key])


def _where(s: Speaker, read: Read) -> Mapping[str, Any] | None:
    found = [
        fact
        for fact in read.facts.found
        if (fact.measure, fact.subject) == (SLICES, s.evidence.contrast) and fact.interval is not None
    ]
    lines = [
        Line(
            s.part(f.part),
            f"{s.gain(f.value)} ({s.translator.number(f.n or 0)})",
            (f.interval.lo, f.interval.hi),
            f.value,
        )
        for f in found[:MOST_SLICES]
        if f.interval is not None
    ]
    title = s(Message("Gain by kind of item and user"))
    return {"plot": drawings.rows(lines, title), "title": title} if lines else None


def _why(s: Speaker, read: Read) -> Mapping[str, Any] | None:
    """The redundancy bar: classes of hits against their noise floor."""
    facts = {f.part: f for f in read.facts.found if (f.measure, f.subject) == (HITS, f"testing {IMAGE}")}
    names = [p for p in facts if p in ("redundant", "synergy", "lost") or p.startswith("only_")]
    if not names or not s.decision.trusted or all(facts[p].baseline is None for p in names):
        return None
    lines = []
    for part in names:
        fact, only = facts[part], part.removeprefix("only_")
        label = s(Message("{modality} only", modality=s.modality(only))) if part != only else s(HIT_KINDS[part])
        # What only another modality finds is an effect in the floor's own table, not noise (see contribution).
        floor = None if part.startswith("only_") and only != IMAGE else fact.baseline
        share, mark = 1000 * fact.value, None if floor is None else 1000 * floor
        lines.append(Line(label, s.translator.number(share, 1), (0.0, share), mark=mark, negative=share < 0))
    title = s(Message("Purchases found in the top 20 thanks to text or images"))
    return {"plot": drawings.rows(lines, title), "title": title, "repeat": _repeat(s, read.facts.found)}


def _repeat(s: Speaker, found: Sequence[Fact]) -> str:
    """How much of what images tell the text tells too, where that is known."""
    share = next((f.value for f in found if (f.measure, f.subject, f.part) == (VALUES, IMAGE, REDUNDANCY)), None)
    if share is None:
        return ""
    percent = s.translator.percent(min(max(share, 0.0), 1.0))
    return s(Message("{share} of what images tell, text tells too.", share=percent))


def _rails(s: Speaker, read: Read) -> list[Mapping[str, str]]:
    return [
        {
            "name": s(RAIL_NAMES[fact.part.removeprefix("relative change of ")]),
            "change": f"{s.gain(fact.value)} ({s.gain(fact.interval.lo)} … {s.gain(fact.interval.hi)})",
            "word": s(RAILS[Rail(fact.word)]),
            "status": fact.word.replace(" ", "-"),
        }
        for fact in read.facts.found
        if (fact.measure, fact.subject) == (GUARDRAILS, s.evidence.contrast) and fact.interval is not None
    ]


def _steps(s: Speaker) -> Mapping[str, Any]:
    known = {step.name for step in s.decision.steps}
    shown = [*([] if s.decision.step.name in known else [s.decision.step]), *s.decision.steps]
    rows = [
        {
            "name": s.step(step),
            "cost": s.money(step.cost),
            "days": s.translator.number(step.days),
            "value": s(Message("not told")) if step.evsi is None or not s.decision.trusted else s.money(step.evsi),
            "chosen": step.name == s.decision.step.name,
        }
        for step in shown
    ]
    told = s.decision.value is not None and s.decision.trusted
    if told and s.decision.value:
        text = Message(
            "What more knowledge is worth: the money that better decisions would bring on average (expected value of "
            "sample information). Knowing everything would be worth {evpi}.",
            evpi=s.money(s.decision.value.evpi),
        )
    else:
        text = Message("Before the checks are passed, no value of further knowledge can be told.")
    vain = told and not any(step.net > 0 for step in s.decision.steps)
    return {
        "rows": rows,
        "text": s(text),
        "worth": s(Message("On average none of these measurements is worth its cost.")) if vain else "",
    }


def _inputs(s: Speaker) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    for name in INPUTS:
        given = s.economics.inputs[name]
        ends = [s.input(name, end) for end in (given.low, given.high)]
        rows.append({
            "name": _name(s, name), "likely": s.input(name, given.likely), "assumed": name in s.economics.assumed,
            "range": " – ".join(ends) if given.low < given.high else "",
        })  # fmt: skip
    for name, said in (("years", s.years), ("discount", s.share(s.economics.discount))):
        rows.append({"name": _name(s, name), "likely": said, "range": "", "assumed": False})
    return rows


def _serving(s: Speaker, measured: Sequence[Serving]) -> list[Mapping[str, str]]:
    requests = s.economics.likely["value.recommendations_year"] / LIST
    translator = s.translator
    return [
        {
            "name": f"{m.model}, {m.modality}",
            "score": translator.number(m.score, 4),
            "one": translator.number(m.one_ms, 2),
            "batch": translator.number(m.batch_ms, 3),
            "parameters": "-" if m.parameters is None else translator.number(m.parameters),
            "year": s.money(requests * m.batch_ms / 3.6e6 * s.economics.machine_hour),
        }
        for m in measured
    ]
