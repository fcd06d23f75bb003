"""Tables of text as Markdown, booktabs LaTeX and plain text; everything that is not ours is escaped."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable


@dataclass(frozen=True)
class Entry:
    """One printed value: text and rank of its column (1 best, 2 second, 3 not told from the best, 0 none of them)."""

    text: str
    rank: int = 0


@dataclass(frozen=True)
class Block:
    """One table.

    Args:
        title: what stands above it.
        header: names of the columns; the first one names the rows.
        rows: one entry per column.
        parts: columns that a terminal shows together, beside the first ``keys``; empty is all of them.
        hint: what a terminal has to be told about its marks.
        keys: number of columns that name a row.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Entry]]
    parts: Sequence[Sequence[int]] = ()
    hint: str = ""
    keys: int = 1


def block(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, keys: int = 1) -> Block:
    """A table without ranks."""
    return Block(title, header, [[Entry(text) for text in row] for row in rows], keys=keys)


def markdown(title: str, blocks: Sequence[Block], notes: Sequence[str]) -> str:
    """Tables as GitHub Markdown: best bold, second italic, not told from the best underlined; notes as a list below."""
    pieces = [f"# {title}"]
    pieces += [f"## {table.title}\n\n{markdown_table(table.header, table.rows)}" for table in blocks]
    return "\n\n".join([*pieces, "\n".join(f"- {md(line)}" for line in notes)]) + "\n"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Entry | str]]) -> str:
    """Header and rows as one Markdown table, without a line end."""
    marks = {0: "{}", 1: "**{}**", 2: "*{}*", 3: "<u>{}</u>"}
    entries = [[Entry(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    lines = [_markdown_row([md(name) for name in header]), _markdown_row(["---"] * len(header))]
    lines += [_markdown_row([marks[e.rank].format(md(e.text)) for e in row]) for row in entries]
    return "\n".join(lines)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def md(text: str) -> str:
    """Text for Markdown: a bar would end the cell, a line break the row."""
    return " ".join(text.split("\n")).replace("|", "\\|")


def latex(blocks: Sequence[Block], notes: Sequence[str]) -> str:
    """Tables for a paper (booktabs): best bold, second or not told from it underlined; notes as comments."""
    marks = {0: "{}", 1: "\\textbf{{{}}}", 2: "\\underline{{{}}}", 3: "\\underline{{{}}}"}
    pieces = ["% needs \\usepackage{booktabs}"]
    for table in blocks:
        body = [" & ".join(marks[e.rank].format(tex(e.text)) for e in row) + r" \\" for row in table.rows]
        columns = "l" * table.keys + "r" * (len(table.header) - table.keys)
        pieces.append(
            "\n".join(
                [
                    r"\begin{table}",
                    rf"\caption{{{tex(table.title)}}}",
                    rf"\begin{{tabular}}{{{columns}}}",
                    r"\toprule",
                    " & ".join(map(tex, table.header)) + r" \\",
                    r"\midrule",
                    *body,
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join([*pieces, *(f"% {' '.join(line.split())}" for line in notes)]) + "\n"


def tex(text: str) -> str:
    """Text for LaTeX."""
    special = {"\\": r"\textbackslash{}", "±": r"$\pm$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {c: f"\\{c}" for c in "&%$#_{}"} | {"†": r"$\dagger$", "<": "$<$", ">": "$>$"}
    special |= {"≈": r"$\approx$", "✗": r"$\times$"}
    return "".join(special.get(c, c) for c in text)


def plain(blocks: Sequence[Block], notes: Sequence[str]) -> str:
    """Tables for a terminal or a log, as wide as they have to be."""
    out = io.StringIO()
    console = Console(file=out, width=10_000, color_system=None)
    for table in blocks:
        console.print(f"{table.title}{table.hint}", markup=False, highlight=False)
        for columns in table.parts or [range(table.keys, len(table.header))]:
            if columns:
                console.print(_text_table(table, columns))
    for line in notes:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _text_table(table: Block, columns: Sequence[int]) -> RichTable:
    marks = {0: "{}  ", 1: "{} *", 2: "{} +", 3: "{} ~"} if table.hint else dict.fromkeys(range(4), "{}")
    shown = RichTable(box=box.SIMPLE_HEAD)
    for name in table.header[: table.keys]:
        shown.add_column(escape(name))
    for place in columns:
        shown.add_column(escape(table.header[place]), justify="right")
    for row in table.rows:
        names = [escape(entry.text) for entry in row[: table.keys]]
        shown.add_row(*names, *(escape(marks[row[i].rank].format(row[i].text)) for i in columns))
    return shown
