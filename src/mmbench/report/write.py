"""Writes all reports of a sweep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mmbench import paths
from mmbench.messages import LANGUAGES, Translator
from mmbench.report import benchmark, contribution_facts, layout, new_items, published, submission
from mmbench.report.evidence import Evidence, proved
from mmbench.report.fairness import write_fairness
from mmbench.report.figures import write_figures
from mmbench.report.index import write_index
from mmbench.report.table import SweepTable
from mmbench.report.templating import language_of
from mmbench.scheduling.trust import NOTHING, Trust
from mmbench.store import files

#: Documents that are written in every language; published tables stand as they were published.
TRANSLATED = (paths.TABLE, paths.VERDICTS, paths.BENCHMARK, paths.NEW_ITEMS, paths.CONTRIBUTION)


def write_report(
    sweep_dir: Path,
    paper: Path | None = None,
    trust: Trust = NOTHING,
    audited: bool = True,
    *,
    every_chart: bool = False,
    lang: str | None = None,
) -> SweepTable:
    """Write all reports of a sweep; return its table with the text for a terminal filled in.

    Args:
        sweep_dir: folder of the sweep.
        paper: the published tables of the source study, to be written with ours beside them.
        trust: what may be used because a record names it.
        audited: whether an audit that is kept beside the records, and sweeps beside this one, count; neither is in an
            archive.
        every_chart: whether charts and figures are drawn however many there are, and however many rows they have.
        lang: language of the pages under their plain names, and of the text for a terminal; by default that of the
            pages that stand there.

    Raises:
        ValueError: if the folder is no sweep or the file does not hold the published tables.
    """
    evidence = Evidence(sweep_dir, trust, audited)
    table = evidence.table
    rows = None if paper is None else published.read_published(paper, table)
    groups, compared, disposals, measured = evidence.groups, evidence.compared, evidence.disposals, evidence.measured
    documents = {
        paths.TABLE: evidence.results,
        paths.BENCHMARK: benchmark.document(table, compared, groups),
        paths.VERDICTS: evidence.verdicts,
        paths.CONTRIBUTION: contribution_facts.document(table, measured),
    }
    if of_new := new_items.read_rows(table, groups):
        documents[paths.NEW_ITEMS] = new_items.document(table, of_new)
    if rows is not None:
        documents[paths.PAPER] = published.document(table, rows)
    documents = {name: proved(document, table, groups) for name, document in documents.items()}
    folder = paths.report_dir(sweep_dir)
    lang = lang or language_of(folder)
    answers = submission.answers(table, compared, groups, measured)
    texts = {f"{paths.SUBMISSION}.tex": submission.as_latex(answers)}
    shown = {}
    for say in map(Translator, LANGUAGES):
        printed = [name for name in (paths.TABLE, paths.NEW_ITEMS, paths.VERDICTS) if name in documents]
        shown[say.lang] = "\n".join(layout.terminal(documents[name], say) for name in printed)
        texts[paths.document(paths.TABLE, "txt", say.lang)] = shown[say.lang]
        texts[paths.document(paths.SUBMISSION, "md", say.lang)] = submission.as_markdown(table, answers, say)
        for name in filter(documents.__contains__, TRANSLATED):
            texts[paths.document(name, "md", say.lang)] = layout.markdown(documents[name], say)
    table = replace(table, text=shown[lang])
    for name, document in documents.items():
        texts |= {f"{name}.csv": layout.csv(document)}
        if name not in TRANSLATED:
            texts[f"{name}.md"] = layout.markdown(document)
        if name != paths.CONTRIBUTION:
            texts[f"{name}.tex"] = layout.latex(document)
    if paths.NEW_ITEMS not in documents:  # of an earlier plan
        for old in folder.glob(f"{paths.NEW_ITEMS}.*"):
            old.unlink()
    for file, text in texts.items():
        files.write_text(folder / file, text)
    write_fairness(table, groups, compared, disposals, lang, every_chart=every_chart)
    write_figures(table, compared, disposals, folder, every_chart=every_chart)
    write_index(table, compared, disposals, lang)
    return table
