"""Writes all reports of a sweep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mmbench import paths
from mmbench.report import benchmark, contribution_facts, layout, published, results, submission, verdict_table
from mmbench.report.comparisons import read_contrasts
from mmbench.report.contribution_facts import read_contributions, with_redundancy
from mmbench.report.disposals import read_disposals
from mmbench.report.fairness import write_fairness
from mmbench.report.fairness_checks import read_groups
from mmbench.report.figures import write_figures
from mmbench.report.index import write_index
from mmbench.report.layout import Document
from mmbench.report.reading import read_sweep
from mmbench.report.table import SweepTable
from mmbench.scheduling.trust import NOTHING, Trust
from mmbench.store import files


def proved(document: Document, table: SweepTable) -> Document:
    """A document that says how far the records have been checked that it was made of, and their root."""
    return replace(document, notes=[*document.notes, table.proof], root=table.standing.root)


def write_report(
    sweep_dir: Path,
    paper: Path | None = None,
    trust: Trust = NOTHING,
    audited: bool = True,
    *,
    every_chart: bool = False,
) -> SweepTable:
    """Write all reports of a sweep; return its table with the text for a terminal filled in.

    Args:
        sweep_dir: folder of the sweep.
        paper: the published tables of the source study, to be written with ours beside them.
        trust: what may be used because a record names it.
        audited: whether an audit that is kept beside the records counts; not in an archive, which anybody can write.
        every_chart: whether charts and figures are drawn however many there are, and however many rows they have.

    Raises:
        ValueError: if the folder is no sweep or the file does not hold the published tables.
    """
    table = read_sweep(sweep_dir, trust, audited)
    rows = None if paper is None else published.read_published(paper, table)
    groups = read_groups(table, sweep_dir)
    compared = read_contrasts(table, groups)
    disposals = read_disposals(table, groups)
    measured = read_contributions(table, groups, compared)
    compared = with_redundancy(compared, measured)
    documents = {
        paths.TABLE: results.document(table, groups),
        paths.BENCHMARK: benchmark.document(table, compared),
        paths.VERDICTS: verdict_table.document(table, compared, disposals),
        paths.CONTRIBUTION: contribution_facts.document(table, measured),
    }
    if rows is not None:
        documents[paths.PAPER] = published.document(table, rows)
    documents = {name: proved(document, table) for name, document in documents.items()}
    shown = "\n".join(layout.terminal(documents[name]) for name in (paths.TABLE, paths.VERDICTS))
    table = replace(table, text=shown)
    answers = submission.answers(table, compared, groups, measured)
    texts = {f"{paths.TABLE}.txt": shown, f"{paths.SUBMISSION}.md": submission.as_markdown(table, answers)}
    texts |= {f"{paths.SUBMISSION}.tex": submission.as_latex(answers)}
    for name, document in documents.items():
        texts |= {f"{name}.md": layout.markdown(document), f"{name}.csv": layout.csv(document)}
        if name != paths.CONTRIBUTION:
            texts[f"{name}.tex"] = layout.latex(document)
    folder = paths.report_dir(sweep_dir)
    for file, text in texts.items():
        files.write_text(folder / file, text)
    write_fairness(table, groups, compared, disposals, every_chart=every_chart)
    write_figures(table, compared, disposals, folder, every_chart=every_chart)
    write_index(table, compared, disposals, groups)
    return table
