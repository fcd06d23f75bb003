"""Decides from the records of a sweep: the page, the record, the checklist, and what a terminal shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from mmbench import paths
from mmbench.cli.economics_file import load_economics
from mmbench.cli.folders import check_writable
from mmbench.data.planted import MADE_UP
from mmbench.decision import decide_first
from mmbench.decision.economics import with_counts
from mmbench.decision.mirror import mirror
from mmbench.decision.page.checklist import write_checklist
from mmbench.decision.page.examples import Pictures, examples_of
from mmbench.decision.page.sections import asked, guard_rails, write_decision
from mmbench.decision.page.speaker import Speaker
from mmbench.decision.serving import measure_serving
from mmbench.decision.steps import DATA
from mmbench.decision.sweep_evidence import read_evidence
from mmbench.messages import Message
from mmbench.report.catalogue import unread
from mmbench.report.comparisons import read_contrasts
from mmbench.report.index import write_index
from mmbench.report.reading import check_sweep, read_sweep
from mmbench.scheduling.trust import NOTHING, Trust
from mmbench.store.trackers import Tracker


def decide_sweep(
    sweep_dir: Path,
    settings: Mapping[str, str],
    command: str = "",
    trust: Trust = NOTHING,
    tracker: Tracker | None = None,
) -> str:
    """Write page and record of a decision; return what a terminal shows.

    Args:
        sweep_dir: folder of the sweep.
        settings: as :func:`mmbench.cli.decide.read_settings` gives them.
        command: what the page says it was written by.
        trust: what may be used because a record names it.
        tracker: shows what was written; None for nobody.
    """
    economics = load_economics(settings["economics"])
    check_sweep(sweep_dir, trust)
    check_writable(paths.report_dir(sweep_dir))
    table = read_sweep(sweep_dir, trust)
    read = read_evidence(table, settings.get("dataset"), settings.get("model"))
    economics = with_counts(economics, read.counts)
    evidence, decision = decide_first(read.evidence, [part.evidence for part in read.parts], economics)
    about = next(one for one in (read, *read.parts) if one.evidence is evidence)
    serving = measure_serving(table, read.evidence.dataset) if settings["serving"] == "true" else []
    write_decision(
        table,
        about,
        economics,
        decision,
        settings["lang"],
        day=date.today(),
        # Examples are found by models with images for all items, which an answer about a part of them does not advise.
        examples=examples_of(table, about.comparison.a, about.catalogue)
        if decision.trusted and evidence.part is None
        else [],
        serving=serving,
        command=command,
        parts=[part for part in read.parts if part is not about],
    )
    s = Speaker.of(settings["lang"], evidence, economics, decision)
    folder, lang = paths.report_dir(sweep_dir), settings["lang"]
    write_checklist(folder, s, lang, date.today(), table.proof, lambda speaker: guard_rails(speaker, about))
    # Now there is a decision that the index page can link.
    write_index(table, read_contrasts(table, read.groups), read.disposals, lang)
    if tracker is not None:
        mirror(table, tracker)
    answer = f"{s.badge}: {s.joined((s.action, s.sentence()))}"
    lines = [answer, *filter(None, (s.sure(), asked(s))), s.range(), s.cost(), *s.opens(), s.next_step()]
    lines = [*([s(Message(MADE_UP))] if s.made_up else []), *lines]
    lines += [decision.step.command] if decision.step.command else []
    lines += [s.measured(), s.sums()]
    reasons = unread(table)
    if isinstance(read.catalogue, str) and decision.step.name != DATA:  # whose sentence says why
        reasons.append(Message("{name}: {reason}", name=read.evidence.dataset, reason=read.catalogue))
    lines += map(s.translator, dict.fromkeys(reasons))
    if not isinstance(read.catalogue, str) and (why := Pictures.of(read.catalogue, trust).objection):
        lines.append(s(why))
    written = s(
        Message("written to {folder}: decision.html, decision.json, checklist.html", folder=paths.report_dir(sweep_dir))
    )
    return "\n".join([*lines, written]) + "\n"
