"""One page to go through before images are introduced: what was measured is filled in, the rest is for people."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from mmbench.decision.page.speaker import Speaker
from mmbench.messages import Words
from mmbench.report.templating import render
from mmbench.store import files

#: Lines for people, by section.
PARTS = {"rights": ("r", 4), "data": ("d", 5), "money": ("m", 3), "after": ("a", 3)}


def write_checklist(folder: Path, s: Speaker, lang: str, day: date) -> None:
    """Write ``checklist.html`` into the report folder, by atomic rename.

    Args:
        folder: where it goes.
        s: says what was decided.
        lang: ``en`` or ``ja``.
        day: date on the page.
    """
    files.write_text(folder / "checklist.html", as_html(s, lang, day))


def as_html(s: Speaker, lang: str, day: date) -> str:
    """The page."""
    w = Words("checklist", lang)
    filled = {"years": s.years, "target": s.share(s.economics.likely["items.target"]), "need": s.need}
    about = w("about", dataset=s.evidence.dataset, model=s.evidence.model, date=w.date(day), answer=s.badge)
    parts = {name: [w(f"{key}_{n}", **filled) for n in range(1, most + 1)] for name, (key, most) in PARTS.items()}
    gates = [s.gate(gate) for gate in s.decision.gates]
    return render("checklist.html", "mmbench.decision.page", lang=lang, w=w, about=about, gates=gates, parts=parts)
