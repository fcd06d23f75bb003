"""One page to go through before images are introduced: what was measured is filled in, the rest is for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from mmbench import paths
from mmbench.decision.page.phrases import RAIL_NAMES
from mmbench.decision.page.sections import UNMEASURED
from mmbench.decision.page.speaker import Speaker
from mmbench.messages import Message, Template
from mmbench.report.templating import Pages, render, write_pages

#: For people where no guard-rail of theirs was measured.
WITHOUT_IMAGE = Template("Items without an image are still recommended sensibly.")
#: How many items will have an image: of all of them, and of those that get them alone.
TARGET = Template("At least {target} of the items will have an image; new items get theirs before they go on sale.")
TARGET_OF_PART = Template(
    "At least {target} of these items will have an image, and new ones of them before they go on sale: {part}."
)
#: Title and lines for people, by section.
PARTS = {
    "rights": (
        Message("Rights and people"),
        (
            Template(
                "We may use every image for this purpose, also for computing embeddings, in every country where we "
                "sell."
            ),
            Template("Licences have no end date within {years}, or the end dates are recorded."),
            Template("People who can be recognised in images have agreed."),
            Template("The licence of the image encoder allows commercial use."),
        ),
    ),
    "data": (
        Message("Data and operation"),
        (
            TARGET,
            WITHOUT_IMAGE,
            Template("Placeholder and duplicate images are found and left out."),
            Template(
                "Encoder and preprocessing have fixed versions; a new version means new embeddings for all items."
            ),
            Template("Response time with images was measured on our own machines."),
        ),
    ),
    "money": (
        Message("Money"),
        (
            Template(
                "The assumptions in amber on the decision page were confirmed by whoever is responsible for them."
            ),
            Template("The cost of an image includes photograph, rights and cleaning; break-even is a gain of {need}."),
            Template("Somebody is named who keeps the pipeline running."),
        ),
    ),
    "after": (
        Message("After the start"),
        (
            Template("An A/B test is planned with a size and an end fixed beforehand."),
            Template("It is fixed beforehand which result stops the introduction."),
            Template("Its result is written down as a pair of an offline and an online gain, for the next decision."),
        ),
    ),
}


#: Guard-rails in the language of a speaker, as :func:`mmbench.decision.page.sections.guard_rails` gives them.
Rails = Callable[[Speaker], Sequence[Mapping[str, str]]]


def unmeasured(s: Speaker) -> Sequence[Mapping[str, str]]:
    """No guard-rail."""
    return ()


def write_checklist(folder: Path, s: Speaker, lang: str, day: date, proof: Message, rails: Rails = unmeasured) -> None:
    """Write ``checklist.html`` into the report folder in every language, by atomic rename.

    Args:
        folder: where it goes.
        s: says what was decided.
        lang: language that was asked for, whose page has the plain name.
        day: date on the page.
        proof: how far the records have been checked.
        rails: the guard-rails.
    """
    write_pages(folder, paths.CHECKLIST, lang, lambda pages: as_html(s, pages, day, proof, rails))


def as_html(s: Speaker, pages: Pages, day: date, proof: Message, rails: Rails = unmeasured) -> str:
    """The page in one language, whatever that of the speaker; see :func:`write_checklist`."""
    s = replace(s, translator=pages.translator)
    measured = [rail for rail in rails(s) if rail["status"] != UNMEASURED]
    answered = s(RAIL_NAMES["recall of items without image"]) in {rail["name"] for rail in measured}
    filled = {"years": s.years, "target": s.given_share(s.economics.likely["items.target"]), "need": s.need}
    filled |= {"part": s.part_name}
    instead: dict[Template, Template | None] = {WITHOUT_IMAGE: None} if answered else {}
    if s.evidence.part is not None:
        instead[TARGET] = TARGET_OF_PART
    about = Message(
        "Data set {dataset}, models {models}; {date}. Answer of the decision: {answer}.",
        dataset=s.dataset,
        models=", ".join(s.evidence.models),
        date=s.translator.date(day),
        answer=s.badge,
    )
    parts = {
        name: {
            "title": s(title),
            "lines": [s(Message(line, **filled)) for line in (instead.get(line, line) for line in lines) if line],
        }
        for name, (title, lines) in PARTS.items()
    }
    gates = [s.gate(gate) for gate in s.decision.gates]
    return render(
        "checklist.html",
        "mmbench.decision.page",
        **pages.of(paths.CHECKLIST),
        about=s(about),
        proof=s(proof),
        made_up=s.made_up,
        gates=gates,
        rails=measured,
        parts=parts,
    )
