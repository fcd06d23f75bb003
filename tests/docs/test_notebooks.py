"""Notebooks are well-formed, run from nothing, and print what the text around them promises."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.docs import notebooks

every_notebook = pytest.mark.parametrize("file", notebooks.FILES, ids=lambda file: file.stem)

#: What each notebook has printed when it is through.
PROMISED = {
    "first_sweep": (
        "trainings to run; each is one thread of one worker",
        r"\[5/5 cells, 32/32 trainings",
        r"\| fusion \| \*\*0\.\d+ ±",
        r"fusion, the two configurations, fused over text: \+\d+\.\d%, 95 % interval",
        "32 done before, 0 to go",
    ),
    "own_data": (
        "columns of the log: user=customer, item=sku, timestamp=bought_at",
        "protocol time: ",
        "0 blocking",
        "image 250/250 items",
        r"\| text \| yes \(green\)",
        r"fusion, text_vs_none: \w+",
    ),
    "reading_a_verdict": (
        "of 30 trials: better but small",
        "of 30 trials: equivalent",
        "of 30 trials: undecided",
        r"\[3/3 cells, 33/33 trainings",
        r"fused_vs_text: detectable gain \d+\.\d%",
        r"\| planted-redundant \| fusion \|",
        "verdict: the first that holds",
    ),
    "own_model": (
        r"modalities image, text; loss 0\.\d+ at first",
        r"\[5/5 cells, 30/30 trainings",
        r"additive  fused   0\.\d+ ± 0\.\d+",
    ),
}


def test_every_notebook_has_its_promises() -> None:
    assert set(PROMISED) == {file.stem for file in notebooks.FILES}


@every_notebook
def test_a_notebook_is_well_formed(file: Path) -> None:
    notebook = notebooks.read(file)
    first, *others = notebook.cells
    assert first.cell_type == "markdown"
    assert re.match(r"# \w", first.source), "a notebook begins with its title"
    texts = [cell.source for cell in others if cell.cell_type == "markdown"]
    assert not any(re.search(r"^# ", source, flags=re.MULTILINE) for source in texts), "and has no other"
    code = [cell.source for cell in others if cell.cell_type == "code"]
    assert len(texts) >= len(code) // 2, "code without a word"
    for source in code:
        magic, _, rest = source.partition("\n")
        if magic != "%%bash":
            ast.parse(rest if magic.startswith("%%writefile ") else source)
        assert not re.search(r"""["'\s=]/[a-z]+/""", source), "a path of one machine"


@pytest.mark.slow
@every_notebook
def test_a_notebook_runs_to_its_end(file: Path) -> None:
    notebook = notebooks.run(file)
    output = notebooks.printed(notebook)
    for promise in PROMISED[file.stem]:
        assert re.search(promise, output), f"{file.name} did not print {promise}:\n{output}"
    assert "Warning" not in output
    assert "Traceback" not in output
    text, pictures = notebooks.as_markdown(notebook, file.stem)
    assert re.search(r"The whole notebook ran for \d+ s when this page was made", text)
    assert all(f"]({name})" in text or f"](./{name})" in text for name in pictures)
    assert not re.search(r"""(src|href)=["']?https?:""", text)


def executed(source: str, outputs: list[NotebookNode], seconds: int = 3) -> NotebookNode:
    times = {
        "iopub.execute_input": "2026-01-01T00:00:00.0+00:00",
        "shell.execute_reply": f"2026-01-01T00:00:0{seconds}.0Z",
    }
    cell = new_code_cell(source, outputs=outputs, metadata={"execution": times})
    return new_notebook(cells=[new_markdown_cell("# Title"), cell])


def test_a_page_shows_commands_outputs_and_times() -> None:
    printed = new_output("stream", name="stdout", text="5 cells\n")
    page, pictures = notebooks.as_markdown(executed("%%bash\npython -m mmbench", [printed]), "page")
    assert "```bash\npython -m mmbench\n```" in page
    assert "``` {.text .printed}\n5 cells\n```" in page
    assert "*ran for 3 s*" in page
    assert "The whole notebook ran for 3 s" in page
    assert pictures == {}


def test_a_page_shows_written_files_by_their_name() -> None:
    page, _ = notebooks.as_markdown(executed("%%writefile my/mine.py\nx = 1", []), "page")
    assert "```python\n# my/mine.py\nx = 1\n```" in page


def test_headings_of_outputs_are_no_headings_of_the_page() -> None:
    shown = new_output("display_data", data={"text/markdown": "# Sweep\n\n| a |\n| --- |\n| 1 |"})
    page, _ = notebooks.as_markdown(executed("show()", [shown]), "page")
    assert "**Sweep**" in page
    assert "# Sweep" not in page


def test_pictures_come_with_the_page() -> None:
    shown = new_output("display_data", data={"image/png": "iVBORw0KGgo="})
    page, pictures = notebooks.as_markdown(executed("plot()", [shown]), "page")
    (name,) = pictures
    assert name.startswith("page_")
    assert name in page
    assert pictures[name].startswith(b"\x89PNG")


def test_what_did_not_run_has_no_time() -> None:
    page, _ = notebooks.as_markdown(new_notebook(cells=[new_markdown_cell("# Title"), new_code_cell("1")]), "page")
    assert "ran for" not in page
