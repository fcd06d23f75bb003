"""The index page of a sweep: its results to sort and to filter, and a link to everything else that was written."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from mmbench import paths
from mmbench.messages import LANGUAGES, Message, series
from mmbench.messages.commands import of_this_sweep
from mmbench.report.comparisons import Comparison
from mmbench.report.disposals import Disposal
from mmbench.report.figures import written
from mmbench.report.layout import Table, page
from mmbench.report.results import COUNTED, page_table
from mmbench.report.sentences import contrast_verdict, disposal_verdict, effort, metric_of_all
from mmbench.report.spent import spent_by
from mmbench.report.table import SweepTable
from mmbench.report.templating import Pages, render, write_pages
from mmbench.report.verdict_table import DISPOSAL_PAGE, PAGE, look_lines
from mmbench.store.files import read_document

#: Files of the report by what they are, in the order of the page; those that were not written are not linked.
FILES: Mapping[Message, tuple[str, ...]] = {
    Message("Decision on images"): (f"{paths.DECISION}.html", f"{paths.DECISION}.json", f"{paths.CHECKLIST}.html"),
    Message("Fairness of the tuning"): (f"{paths.FAIRNESS}.html", f"{paths.FAIRNESS}.md"),
    Message("Results"): tuple(f"{paths.TABLE}.{ending}" for ending in ("md", "csv", "tex", "txt")),
    Message("Benchmark"): tuple(f"{paths.BENCHMARK}.{ending}" for ending in ("md", "csv", "tex")),
    Message("Verdicts"): tuple(f"{paths.VERDICTS}.{ending}" for ending in ("md", "csv", "tex")),
    Message("New items"): tuple(f"{paths.NEW_ITEMS}.{ending}" for ending in ("md", "csv", "tex")),
    Message("What each modality contributes"): tuple(f"{paths.CONTRIBUTION}.{ending}" for ending in ("md", "csv")),
    Message("Published tables with ours beside them"): tuple(f"{paths.PAPER}.{e}" for e in ("md", "csv", "tex")),
    Message("Checklists for a submission"): tuple(f"{paths.SUBMISSION}.{ending}" for ending in ("md", "tex")),
}
#: Endings of what is read, of which some is in English only; all other files are data.
READ = (".html", ".md", ".tex", ".txt")


def write_index(
    table: SweepTable,
    compared: Sequence[Comparison],
    disposals: Sequence[Disposal],
    lang: str,
) -> None:
    """Write ``report.html`` into the report folder in every language, by atomic rename.

    Args:
        table: the sweep.
        compared: its contrasts.
        disposals: free disposal of its modalities.
        lang: language that was asked for.
    """
    write_pages(
        paths.report_dir(table.folder),
        paths.INDEX,
        lang,
        lambda pages: as_html(table, compared, disposals, pages),
    )


def as_html(
    table: SweepTable,
    compared: Sequence[Comparison],
    disposals: Sequence[Disposal],
    pages: Pages,
) -> str:
    """The page in one language."""
    folder, say = paths.report_dir(table.folder), pages.translator
    links = {
        say(title): [_link(folder, name, pages.lang) for name in names if (folder / name).exists()]
        for title, names in FILES.items()
    }
    results = page_table(table)
    counted = Counter(COUNTED[cell.status] for cell in results.rows if not cell.parts).most_common()
    return render(
        "report.html",
        **pages.of(paths.INDEX),
        heading=say(table.title),
        effort=effort(table),
        unlike=[say(line) for line in spent_by(table).notes],
        proof=say(table.proof),
        delta=f"{100 * table.delta:g} %",
        counts=say(series([Message("{n} {status}", n=n, status=status) for status, n in counted])) if counted else "",
        links={title: found for title, found in links.items() if found},
        decide=of_this_sweep("decide", *([] if say.lang == "en" else [f"lang={say.lang}"])),
        decided=(folder / f"{paths.DECISION}.html").exists(),
        outdated=_is_outdated(table),
        primary=metric_of_all(table.primary, table),
        verdicts=page(Table("", PAGE, compared), say),
        disposals=page(Table("", DISPOSAL_PAGE, disposals), say),
        looks=[say(line) for line in look_lines(compared, disposals)],
        sentences=[(name, say(told)) for name, told in _sentences(table, compared, disposals)],
        results=page(results, say),
        figures=[_figure(folder, stem, pages.lang) for stem in (file.stem for file in written(folder))],
        records=_records(table.folder),
    )


def _is_outdated(table: SweepTable) -> bool:
    """Whether a decision was made from other records than these."""
    file = paths.decision_file(table.folder)
    if not file.exists():
        return False
    try:
        return read_document(file).get("root") != table.standing.root
    except ValueError:
        return True


def _figure(folder: Path, stem: str, lang: str) -> dict[str, str]:
    """A figure with its drawing as a data address, so that the page shows it wherever it is carried."""
    file = paths.in_language(folder, f"{stem}.svg", lang)
    drawing = base64.b64encode((folder / file).read_bytes()).decode()
    return {
        "name": stem,
        "image": f"data:image/svg+xml;base64,{drawing}",
        "svg": quote(file),
        "png": quote(f"{stem}.png"),
    }


def _link(folder: Path, name: str, lang: str) -> dict[str, str]:
    """A file of the report as a page in some language links it; what is to be read in another language says so."""
    file = paths.in_language(folder, name, lang)
    own = _language(folder / file) if file.endswith(READ) else ""
    return {"file": file, "lang": own if own != lang else ""}


def _language(file: Path) -> str:
    """Language of a file: a page says it, of other files the name does."""
    if file.suffix == ".html":
        found = re.search(r'<html lang="([a-z]+)"', file.read_text(encoding="utf-8")[:200])
        return found[1] if found else ""
    return next((lang for lang in LANGUAGES[1:] if file.stem.endswith(f".{lang}")), LANGUAGES[0])


def _sentences(
    table: SweepTable, compared: Sequence[Comparison], disposals: Sequence[Disposal]
) -> list[tuple[str, str]]:
    """What each contrast and free disposal says, by its name."""
    told = [(c.name, contrast_verdict(c, table.primary)) for c in compared]
    return told + [(d.name, disposal_verdict(d, table.primary)) for d in disposals]


def _records(folder: Path) -> list[str]:
    """The plan and the ledger of a sweep, where they are."""
    return [file.name for file in (paths.manifest_file(folder), paths.ledger_file(folder)) if file.exists()]
