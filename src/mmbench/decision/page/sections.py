"""The decision as one page and one record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from markupsafe import Markup

from mmbench import paths, records
from mmbench.contribution.guardrails import Rail
from mmbench.decision import Action, Decision, Economics, annuity, as_record
from mmbench.decision.economics import INPUTS, costs
from mmbench.decision.gates import IMAGE
from mmbench.decision.page import drawings
from mmbench.decision.page.drawings import Labels, Line
from mmbench.decision.page.examples import Example
from mmbench.decision.page.speaker import Speaker
from mmbench.decision.serving import Serving
from mmbench.decision.sweep_evidence import Read
from mmbench.decision.value import DRAWS
from mmbench.messages import Words
from mmbench.report.contribution_facts import HITS, REDUNDANCY, SLICES, VALUES
from mmbench.report.facts import Fact
from mmbench.report.list_facts import GUARDRAILS
from mmbench.report.table import SweepTable
from mmbench.report.templating import render

#: Bars and slices that still can be read.
MOST_SWINGS, MOST_SLICES = 8, 14
#: Recommended items that one request asks for.
LIST = 20
RAILS = {Rail.HOLDS: "rail_holds", Rail.BROKEN: "rail_broken", Rail.OPEN: "rail_open"}


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
        w=s.words,
        g=s.gates,
        s=s,
        d=decision,
        about=s.about(day),
        hero=_hero(s, table.delta),
        delta=s.words.percent(table.delta, 0 if table.delta >= 0.01 else 1),
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
        requests=s.words.number(economics.likely["value.recommendations_year"] / LIST),
        command=command,
        per_thousand=read.evidence.per_thousand,
    )


def _hero(s: Speaker, delta: float) -> Mapping[str, Any] | None:
    gain = s.evidence.gain
    if gain is None:
        return None
    labels = Labels(s("hero_breakeven", need=s.need), f"{s('hero_title')}. {s.range()}")
    bounded = s.decision.value is not None
    drawn = drawings.hero(gain, bounded, s.decision.breakeven, delta, s.gain, labels)
    mde = "" if s.evidence.mde is None else s.words.percent(s.evidence.mde, 1)
    users, seeds = s.words.number(s.evidence.n_users), s.words.number(gain.seeds)
    note = s("hero_users", users=users, seeds=seeds, mde=mde) if mde else ""
    return {"plot": drawn, "note": note}


def _cost(s: Speaker) -> Mapping[str, Any]:
    """Present value of each kind of cost."""
    factor = annuity(s.economics.years, s.economics.discount)
    amounts = {kind: once + year * factor for kind, (once, year) in costs(s.economics.likely).items()}
    parts = [
        {"name": s(f"cost_{kind}"), "amount": s.money(amount), "n": place}
        for place, (kind, amount) in enumerate(amounts.items())
    ]
    title = s("cost_title", years=s.years)
    drawn = drawings.stacked(list(amounts.values()), [f"{part['name']} {part['amount']}" for part in parts], title)
    return {"parts": parts, "plot": drawn, "title": title, "turn": _price(s), "payback": _payback(s)}


def _price(s: Speaker) -> str:
    flip, now = s.decision.flip, s.price(s.economics.likely["cost.image"])
    if flip is None or not s.decision.trusted:
        return ""
    if flip.image_price is None:
        return s("price_none")
    if flip.image_price > 0:
        return s("price_flip", price=s.price(flip.image_price), now=now)
    return s("price_free") if s.decision.action is Action.NO_GO else ""


def _payback(s: Speaker) -> str:
    flip = s.decision.flip
    if flip is None or not s.decision.trusted or (flip.payback is None and s.decision.action is not Action.NO_GO):
        return ""
    return s("payback_never") if flip.payback is None else s("payback", years=s.words.number(flip.payback, 1))


def _flips(s: Speaker) -> list[str]:
    """What would change the answer."""
    flip, gain, now = s.decision.flip, s.evidence.gain, s.economics.likely
    if flip is None or gain is None or not s.decision.trusted:
        return [s("flip_none", need=s.need)]
    shown = s.decision.subset.gain.mean if s.decision.subset else gain.mean
    said = [s("flip_gain", gain=s.gain(flip.gain), now=s.gain(shown))]
    if flip.transfer is not None:
        said.append(s("flip_transfer", eta=s.share(flip.transfer), now=s.share(now["transfer"])))
    if flip.image_price is not None and flip.image_price > 0:
        said.append(s("flip_price", price=s.price(flip.image_price), now=s.price(now["cost.image"])))
    return said


def _value(s: Speaker) -> Mapping[str, Any] | None:
    value = s.decision.value
    if value is None or not s.decision.trusted:
        return None
    q = value.quantiles
    text = s("value_text", mean=s.money(value.mean), lo=s.money(q[0.05]), hi=s.money(q[0.95]))
    title = s("value_title", years=s.years, draws=s.words.number(DRAWS))
    ends = (s("value_loss"), s("value_profit"))
    drawn = drawings.histogram(value.counts, q[0.025], q[0.975], s.money, *ends, title)
    return {"plot": drawn, "text": text, "title": title, "sure": s.sure()}


def _tornado(s: Speaker) -> Markup | None:
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
    return drawings.rows(lines, s("tornado_title"))


def _name(s: Speaker, key: str) -> str:
    return s.gates(f"in_{key.replace('.', '_')}")


def _where(s: Speaker, read: Read) -> Markup | None:
    found = [
        fact
        for fact in read.facts.found
        if (fact.measure, fact.subject) == (SLICES, s.evidence.contrast) and fact.interval is not None
    ]
    lines = [
        Line(
            s.part(f.part),
            f"{s.gain(f.value)} ({s.words.number(f.n or 0)})",
            (f.interval.lo, f.interval.hi),
            f.value,
        )
        for f in found[:MOST_SLICES]
        if f.interval is not None
    ]
    return drawings.rows(lines, s("where_title")) if lines else None


def _why(s: Speaker, read: Read) -> Mapping[str, Any] | None:
    """The redundancy bar: classes of hits against their noise floor."""
    facts = {f.part: f for f in read.facts.found if (f.measure, f.subject) == (HITS, f"testing {IMAGE}")}
    names = [p for p in facts if p in ("redundant", "synergy", "lost") or p.startswith("only_")]
    if not names or not s.decision.trusted or all(facts[p].baseline is None for p in names):
        return None
    lines = []
    for part in names:
        fact, only = facts[part], part.removeprefix("only_")
        label = s("hit_only", modality=s.modality(only)) if part != only else s(f"hit_{part}")
        # What only another modality finds is an effect in the floor's own table, not noise (see contribution).
        floor = None if part.startswith("only_") and only != IMAGE else fact.baseline
        share = 1000 * fact.value
        mark = None if floor is None else 1000 * floor
        lines.append(Line(label, s.words.number(share, 1), (0.0, share), mark=mark, negative=share < 0))
    return {"plot": drawings.rows(lines, s("why_title")), "repeat": _repeat(s, read.facts.found)}


def _repeat(s: Speaker, found: Sequence[Fact]) -> str:
    """How much of what images tell the text tells too, where that is known."""
    share = next((f.value for f in found if (f.measure, f.subject, f.part) == (VALUES, IMAGE, REDUNDANCY)), None)
    return s("repeat", share=s.words.percent(min(max(share, 0.0), 1.0))) if share is not None else ""


def _rails(s: Speaker, read: Read) -> list[Mapping[str, str]]:
    names = {"coverage": "rail_coverage", "tail share": "rail_tail", "cold recall": "rail_cold"}
    return [
        {
            "name": s(names[fact.part.removeprefix("relative change of ")]),
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
            "days": s.words.number(step.days),
            "value": s("not_told") if step.evsi is None or not s.decision.trusted else s.money(step.evsi),
            "chosen": step.name == s.decision.step.name,
        }
        for step in shown
    ]
    told = s.decision.value is not None and s.decision.trusted
    evpi = s("steps_text", evpi=s.money(s.decision.value.evpi)) if told and s.decision.value else s("steps_none")
    vain = told and not any(step.net > 0 for step in s.decision.steps)
    return {"rows": rows, "text": evpi, "worth": s("steps_vain") if vain else ""}


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
    w: Words = s.words
    return [
        {
            "name": f"{m.model}, {m.modality}",
            "score": w.number(m.score, 4),
            "one": w.number(m.one_ms, 2),
            "batch": w.number(m.batch_ms, 3),
            "parameters": "-" if m.parameters is None else w.number(m.parameters),
            "year": s.money(requests * m.batch_ms / 3.6e6 * s.economics.machine_hour),
        }
        for m in measured
    ]
