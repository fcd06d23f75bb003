"""The table on paper: Markdown, CSV, LaTeX and plain text say the same."""

from __future__ import annotations

import io
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from mmbench.report import benchmark, verdict_table
from mmbench.report.comparisons import read_contrasts
from mmbench.report.disposals import read_disposals
from mmbench.report.fairness_checks import read_groups
from mmbench.report.layout import Document, Entry, Table, csv, latex, markdown, md, terminal, tex, text_table
from mmbench.report.reading import read_sweep
from mmbench.report.results import document
from mmbench.report.table import SweepTable
from mmbench.report.write import write_report
from tests.parts import require_program
from tests.report.conftest import DATASET

ENDINGS = ("md", "csv", "tex", "txt")


@pytest.fixture(scope="module")
def table(whole_sweep: Path) -> SweepTable:
    return read_sweep(whole_sweep)


def test_a_report_is_written_whole_and_always_the_same(sweep_dir: Path) -> None:
    table = write_report(sweep_dir)
    folder = sweep_dir / "report"
    before = {ending: (folder / f"table.{ending}").read_bytes() for ending in ENDINGS}
    assert table.text == before["txt"].decode()
    write_report(sweep_dir)
    assert {ending: (folder / f"table.{ending}").read_bytes() for ending in ENDINGS} == before
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


# What stands in a cell of the table


def printed(table: SweepTable, metric: str) -> Table[str]:
    """The table of one metric."""
    return document(table, []).tables[list(table.metrics).index(metric)]


def entries(table: SweepTable, metric: str = "ndcg@20") -> dict[tuple[str, str], Entry]:
    """What is printed, by model and header."""
    shown = printed(table, metric)
    return {(row[0].text, name): e for row in shown.entries for name, e in zip(shown.header[1:], row[1:], strict=True)}


def test_every_kind_of_entry(table: SweepTable) -> None:
    shown = {place: entry.text for place, entry in entries(table).items()}
    number = r"0\.\d{4} ± 0\.\d{4}"
    assert re.fullmatch(rf"{number}( \(below popularity\))?", shown["fusion", "text"])
    assert re.fullmatch(rf"{number} \(below popularity\)", shown["vbpr", "none"])
    assert re.fullmatch(number, shown["popularity", "none"])
    assert [shown["bpr", condition] for condition in ("text", "image", "fused")] == ["="] * 3
    assert shown["bpr", "fused vs none %"] == "-"
    assert [shown[model, "tier"] for model in ("vbpr", "bpr", "broken")] == ["core, study", "core", ""]
    assert shown["lightgcn", "none"] == "missing"
    assert shown["broken", "text"] == "failed"
    assert shown["broken", "none"] == "-"
    assert shown["fusion", "image"] == "stale"
    assert shown["fusion", "image vs none %"] == "-"


def test_numbers_are_those_of_the_table(table: SweepTable) -> None:
    for metric in ("ndcg@20", "recall@20"):
        printed = entries(table, metric)
        for model, condition in (("vbpr", "text"), ("fusion", "fused"), ("bpr", "none")):
            cell = table.result(DATASET, model, condition)
            assert cell is not None
            assert printed[model, condition].text.startswith(f"{cell.mean(metric):.4f} ± {cell.spread(metric):.4f}")
        text, none = (table.cells[DATASET, "vbpr", condition].mean(metric) for condition in ("text", "none"))
        change = text / none - 1
        assert printed["vbpr", "text vs none %"].text == f"{100 * change:+.1f}"


def test_best_and_second_of_every_column_are_marked(table: SweepTable) -> None:
    printed = entries(table)
    for condition in table.conditions:
        # A model that ignores content has its one number in the first column and competes in all.
        by_rank = {e.rank: model for (model, column), e in printed.items() if column == condition and e.rank}
        expected = {1: None, 2: None} | dict(enumerate(table.ranked(DATASET, condition, "ndcg@20")[:2], 1))
        shown = {rank: model for rank, model in expected.items() if printed[model, condition].text != "="}
        assert by_rank == shown
    assert not any(entry.rank for (_, column), entry in printed.items() if "vs" in column)


# Markdown


def test_markdown_is_a_table_for_each_metric(table: SweepTable) -> None:
    text = markdown(document(table, []))
    assert text.startswith("# my_table (PLANTED WORLD, MADE-UP DATA)\n")
    for metric in table.metrics:
        assert f"## {md(DATASET)}, {metric}" in text
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == len(table.metrics) * (2 + 6)
    assert {len(row) for row in rows} == {2 + 5 + 8}
    assert all(cell == cell.strip().join("  ") for row in rows for cell in row)
    best = {model for model, *cells in rows if any(re.fullmatch(r" \*\*0\..*\*\* ", cell) for cell in cells)}
    assert best
    assert text.count("**") == 2 * sum(e.rank == 1 for m in table.metrics for e in entries(table, m).values())


def test_a_planted_world_says_so_in_every_report(sweep_dir: Path) -> None:
    write_report(sweep_dir)
    pages = [file for file in (sweep_dir / "report").iterdir() if file.suffix in (".md", ".html", ".txt")]
    assert len(pages) >= 8
    assert [file.name for file in pages if "PLANTED WORLD, MADE-UP DATA" not in file.read_text()] == []
    index = (sweep_dir / "report" / "report.html").read_text()
    assert "<h1>my_table (PLANTED WORLD, MADE-UP DATA)</h1>" in index
    assert "decide FOLDER (FOLDER: the folder of this sweep)<" in index


def test_markdown_says_what_failed_in_one_line_each(table: SweepTable) -> None:
    notes = markdown(document(table, [])).rpartition("|\n")[2].strip().splitlines()
    assert all(line.startswith("- ") for line in notes), notes
    assert any(r"failed: planted_50%&co\|1/broken/text: " in line and "80 items" in line for line in notes)
    assert any(r"stale: planted_50%&co\|1/fusion/image: its records belong to other data" in line for line in notes)
    assert "budget touch (1 trial, 3 final seeds)" in notes[0]
    assert "this table tests nothing" in notes[0]
    assert not any("One seed" in line for line in notes)


def test_one_seed_is_said(table: SweepTable) -> None:
    cells = {n: c if c.tuned is None else replace(c, tuned=c.tuned._replace(seeds=1)) for n, c in table.cells.items()}
    alone = replace(table, cells=cells)
    (note,) = (line for line in markdown(document(alone, [])).splitlines() if "One seed" in line)
    assert "training noise was not measured there" in note
    assert "popularity" not in note  # another seed gives the same


# LaTeX


def body_of(text: str) -> str:
    """LaTeX without its comments."""
    return "\n".join(re.sub(r"(?<!\\)%.*", "", line) for line in text.splitlines())


def test_latex_is_balanced_and_its_rows_fit_its_columns(table: SweepTable) -> None:
    body = body_of(latex(document(table, [])))
    assert body.count(r"\begin{table}") == body.count(r"\end{table}") == len(table.metrics)
    braces = 0
    for brace in re.findall(r"(?<!\\)[{}]", body):
        braces += 1 if brace == "{" else -1
        assert braces >= 0
    assert braces == 0
    assert body.count("$") % 2 == 0
    for tabular in re.findall(r"\\begin{tabular}(.*?)\\end{tabular}", body, flags=re.DOTALL):
        (columns,) = re.findall(r"^{(l[r]+)}", tabular)
        rows = [line for line in tabular.splitlines() if line.endswith(r"\\")]
        assert len(rows) == 1 + 6
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(columns) - 1}


def test_latex_holds_nothing_outside_tables_and_comments(table: SweepTable) -> None:
    outside = re.sub(r"\\begin{(table\*?)}.*?\\end{\1}", "", latex(document(table, [])), flags=re.DOTALL)
    assert all(line.startswith("%") for line in outside.splitlines() if line)
    assert "80 items of 50 % {x}" in outside


def test_latex_escapes_and_marks(table: SweepTable) -> None:
    text = latex(document(table, []))
    assert re.search(rf"\\caption{{{re.escape(tex(DATASET))}, ndcg@20(, 1 of \d)?}}", text)
    assert "fused vs none \\%" in text.replace(" \\\\ ", " ")  # a header may be wrapped
    assert r"$\pm$" in text
    assert "±" not in body_of(text)
    for command, rank in ((r"\textbf{", 1), (r"\underline{", 2)):
        assert text.count(command) == sum(e.rank == rank for m in table.metrics for e in entries(table, m).values())


def compiled(body: str, folder: Path) -> str:
    """What pdflatex says of tables on A4 with two columns."""
    head = "\\documentclass[twocolumn,a4paper]{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
    (folder / "page.tex").write_text(f"{head}{body}\\end{{document}}\n", encoding="utf-8")
    command = [require_program("pdflatex"), "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    return (folder / "page.log").read_text(encoding="utf-8", errors="replace")


def test_latex_compiles_and_fits_a_page_of_two_columns(table: SweepTable, tmp_path: Path) -> None:
    groups = read_groups(table, table.folder)
    compared = read_contrasts(table, groups)
    told = [document(table, groups), verdict_table.document(table, compared, read_disposals(table, groups))]
    for place, one in enumerate([*told, benchmark.document(table, compared, groups)]):
        folder = tmp_path / str(place)
        folder.mkdir()
        assert "Overfull" not in compiled(latex(one), folder)


def test_latex_splits_a_wide_table_and_wraps_a_wide_text(tmp_path: Path) -> None:
    header = ["model", *(f"a condition {n} %" for n in range(30)), "reason"]
    rows = [["a model", *["+12.3 [-10.1, +14.5]"] * 30, "words of a reason " * 30], ["b", *["-"] * 31]]
    body = latex(Document("", [text_table("wide", header, rows)], []))
    assert len(re.findall(r"\\caption{wide, \d of 8}", body)) == 8
    assert body.count("a model &") == 8  # what names a row stands in every part
    assert re.sub(r"\s", "", body).count("+12.3[-10.1,+14.5]") == 30
    assert "Overfull" not in compiled(body, tmp_path)
    narrow = latex(Document("", [text_table("narrow", ["model", "gain"], [["a", "+1.2"]])], []))
    assert (r"\begin{table}" in narrow, r"\begin{table*}" in narrow) == (True, False)


# Plain text


def unbroken(text: str, table: SweepTable) -> None:
    """Every value stands in one piece on one line, or a reader would see half a number."""
    for metric in table.metrics:
        for value in {entry.text for row in printed(table, metric).entries for entry in row}:
            assert any(value in line for line in text.splitlines()), value
    assert "…" not in text


def test_text_shows_everything(table: SweepTable) -> None:
    text = terminal(document(table, []))
    unbroken(text, table)
    assert not any(line != line.rstrip() for line in text.splitlines())
    assert f"{DATASET}, ndcg@20" in text
    assert "failed: " in text


def test_text_is_as_wide_as_many_conditions_need(table: SweepTable) -> None:
    more = ("shuffled", "text_shuffled_image", "image_shuffled_text", "image_noise_text", "text_noise_image", "ones")
    low = table.cells[DATASET, "vbpr", "none"]
    cells = {**table.cells, **{(DATASET, "vbpr", condition): replace(low, modality=condition) for condition in more}}
    wide = replace(table, cells=cells, conditions=(*table.conditions, *more))
    unbroken(terminal(document(wide, [])), wide)


def test_names_in_brackets_are_no_markup(table: SweepTable) -> None:
    cells = {("[red]shop", m, c): replace(cell, dataset="[red]shop") for (_, m, c), cell in table.cells.items()}
    assert "[red]shop, ndcg@20" in terminal(document(replace(table, cells=cells), []))


# CSV


def test_csv_has_a_row_per_cell_and_metric(table: SweepTable, whole_sweep: Path) -> None:
    rows = pd.read_csv(io.StringIO(csv(document(table, []))))
    assert len(rows) == len(table.cells) * len(table.metrics)
    for row in rows.itertuples():
        cell = table.cells[row.dataset, row.model, row.modality]
        assert row.status == cell.status
        assert ("" if pd.isna(row.tiers) else row.tiers) == " ".join(cell.tiers)
        assert whole_sweep / row.records == cell.folder
        assert not Path(row.records).is_absolute()
        if cell.status != "done":
            assert pd.isna(row.mean)
            continue
        assert row.mean == pytest.approx(cell.mean(row.metric))
        assert row.sd_over_seeds == pytest.approx(cell.spread(row.metric))
        assert [float(v) for v in row.by_seed.split()] == pytest.approx(list(cell.by_seed(row.metric)))
        assert str(row.below_popularity) == str(table.below_popularity(cell, row.metric))
    assert rows.loc[rows["model"] == "broken", "reason"].str.contains("80 items").all()
