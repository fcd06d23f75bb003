"""The notebooks of ``docs/notebooks``: run from nothing, and shown with what they print and how long it took."""

from __future__ import annotations

import datetime
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import jupytext
from jinja2 import DictLoader
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "notebooks"
FILES = sorted(FOLDER.glob("*.py"))
#: A cell that runs for at least this many seconds is shown with its time.
WORTH_SAYING = 1.0
#: Seconds that one cell may take.
TIMEOUT = 1200
LANGUAGES = {".yaml": "yaml", ".py": "python"}
#: Printed text as a separate kind of code block, which the site styles differently from code.
TEMPLATE = """{% extends 'markdown/index.md.j2' %}
{% block stream %}
``` {.text .printed}
{{ output.text.strip("\\n") | strip_ansi }}
```
{% endblock stream %}
{% block data_text scoped %}
``` {.text .printed}
{{ output.data['text/plain'] }}
```
{% endblock data_text %}
"""


def read(file: Path) -> NotebookNode:
    """A notebook without outputs."""
    return jupytext.read(file)


def run(file: Path) -> NotebookNode:
    """Execute a notebook in an empty folder with the commands of this environment and none of its settings.

    Raises:
        nbclient.exceptions.CellExecutionError: naming the cell that failed, with its traceback.
    """
    notebook = read(file)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MMBENCH_", "WANDB_", "MPL"))}
    environment = {
        **kept,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")]),
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore:IProgress not found",  # no notebook shows this progress bar
    }
    with tempfile.TemporaryDirectory(prefix="mmbench-") as folder:
        client = NotebookClient(
            notebook,
            timeout=TIMEOUT,
            kernel_name="python3",
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
            extra_arguments=["--IPKernelApp.log_level=40"],  # nothing but errors
        )
        client.execute(env=environment)
    return notebook


def seconds(cell: NotebookNode) -> float:
    """How long a cell ran; 0 for one that did not."""
    times = cell.metadata.get("execution", {})
    ends = [times.get("shell.execute_reply"), times.get("iopub.execute_input")]
    if None in ends:
        return 0.0
    reply, began = (datetime.datetime.fromisoformat(str(end)) for end in ends)
    return (reply - began).total_seconds()


def printed(notebook: NotebookNode) -> str:
    """Everything that a notebook printed or displayed as text."""
    texts = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            texts.append(output.get("text") or data.get("text/markdown") or data.get("text/plain", ""))
    return "\n".join(texts)


def as_markdown(notebook: NotebookNode, name: str) -> tuple[str, Mapping[str, bytes]]:
    """A notebook as a page of the site, and its pictures by file name.

    Args:
        notebook: as :func:`run` or :func:`read` gives it.
        name: stem of the page, with which the names of its pictures begin.
    """
    shown, total = NotebookNode({**notebook, "cells": []}), 0.0
    for cell in notebook.cells:
        took = seconds(cell)
        total += took
        shown.cells.append(_shown(cell) if cell.cell_type == "code" else cell)
        if took >= WORTH_SAYING:
            shown.cells.append(_note(f"ran for {took:.0f} s"))
    if total:
        shown.cells.insert(1, _note(f"The whole notebook ran for {total:.0f} s when this page was made."))
    exporter = MarkdownExporter(extra_loaders=[DictLoader({"page.md.j2": TEMPLATE})], template_file="page.md.j2")
    text, resources = exporter.from_notebook_node(shown, {"unique_key": name, "output_files_dir": "."})
    return text, {Path(key).name: data for key, data in resources["outputs"].items()}


def _shown(cell: NotebookNode) -> NotebookNode:
    """A code cell with the language of its magic instead of the line that names it, and outputs without headings."""
    changed = NotebookNode({**cell, "outputs": [_below(output) for output in cell.outputs]})
    magic, _, rest = cell.source.partition("\n")
    if magic.startswith("%%bash"):
        changed.source, language = rest, "bash"
    elif magic.startswith("%%writefile"):
        file = magic.split()[-1]
        changed.source, language = f"# {file}\n{rest}", LANGUAGES[Path(file).suffix]
    else:
        return changed
    changed.metadata = NotebookNode({**cell.metadata, "magics_language": language})
    return changed


def _below(output: NotebookNode) -> NotebookNode:
    """An output with bold text in place of headings, and with tables in the page's style."""
    data = dict(output.get("data", {}))
    if "text/markdown" in data:
        data["text/markdown"] = re.sub(r"^#+ (.*)$", r"**\1**", data["text/markdown"], flags=re.MULTILINE)
    if "text/html" in data:
        bare = re.sub(r"<style scoped>.*?</style>", "", data["text/html"], flags=re.DOTALL)
        data["text/html"] = bare.replace('<table border="1" class="dataframe">', "<table>")
    return NotebookNode({**output, "data": NotebookNode(data)}) if data else output


def _note(text: str) -> NotebookNode:
    return new_markdown_cell(f"*{text}*{{ .took }}")
