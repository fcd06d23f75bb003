"""A table is a list of columns over rows; what is not ours is escaped.

:func:`markdown`, :func:`latex`, :func:`terminal`, :func:`csv` and :func:`page` render the same tables.
"""

from __future__ import annotations

import functools
import io
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, Generic, TypeVar

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from mmbench.data.spreadsheet import csv_text
from mmbench.messages import Translator

Row = TypeVar("Row")
#: What Markdown would not show as text: bars, code, escapes, emphasis, underscores but within a word, tags, the middle
#: of a link or an image, bare addresses.
_MARKDOWN = re.compile(
    r"[|`\\*~]|(?<![^\W_])_|_(?![^\W_])|<(?=[A-Za-z/!?])|\](?=[(\[:])|(?<=[A-Za-z]):(?=//)|(?<=www)\.|&(?=#?\w+;)"
)
#: Digits of a root that a caption shows.
ROOT_SHOWN = 16
#: What stands where a row has no value.
NOTHING = "-"
#: Says everything in English.
ENGLISH = Translator()
#: Rank of a value in its column.
BEST, SECOND, ALIKE = 1, 2, 3


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column of a table.

    Args:
        key: its name in CSV; None where it is not exported.
        label: its header in print and on a page; None where it is only exported.
        get: value of a row in full precision; None where there is none.
        format: text of a value in print and on a page.
        names: whether it names the row.
        part: number of the table in which a terminal shows it, beside the columns that name the row.
        rank: rank of a row, 0 or one of :data:`BEST`, :data:`SECOND` and :data:`ALIKE` (not told from the best).
        order: number by which a page sorts a value; None sorts by the text.
        link: where a page leads from a row; empty leads nowhere.
        markdown: whether its texts are Markdown, of our own making alone; others are escaped there.
    """

    key: str | None
    label: str | None
    get: Callable[[Row], Any]
    format: Callable[[Any], str] = lambda value: value if isinstance(value, str) else str(value)
    names: bool = False
    part: int = 1
    rank: Callable[[Row], int] = lambda row: 0
    order: Callable[[Any], float] | None = None
    link: Callable[[Row], str] = lambda row: ""
    markdown: bool = False

    def entry(self, row: Row) -> Entry:
        """What is printed of a row."""
        value = self.get(row)
        order = "" if value is None or self.order is None else repr(self.order(value))
        text = NOTHING if value is None else self.format(value)
        return Entry(text, self.rank(row), order, self.link(row), self.order is not None)


@dataclass(frozen=True)
class Entry:
    """One printed value.

    Args:
        text: what is read.
        rank: as of its column.
        order: number by which a page sorts; empty sorts by the text.
        link: where a page leads; empty leads nowhere.
        number: whether a page shows it as a number.
    """

    text: str
    rank: int = 0
    order: str = ""
    link: str = ""
    number: bool = False


@dataclass(frozen=True)
class Table(Generic[Row]):
    """Columns over rows.

    Args:
        title: what stands above them.
        columns: all columns; printed are those with a label, exported those with a key.
        rows: what the columns get their values from.
        hint: what a terminal has to be told about its marks; without it a terminal shows no ranks.
    """

    title: str
    columns: Sequence[Column[Row]]
    rows: Sequence[Row]
    hint: str = ""

    @property
    def printed(self) -> list[Column[Row]]:
        """Columns with a label."""
        return [column for column in self.columns if column.label is not None]

    @property
    def header(self) -> list[str]:
        """Labels of the printed columns."""
        return [column.label for column in self.columns if column.label is not None]

    @functools.cached_property
    def entries(self) -> list[list[Entry]]:
        """What is printed, row by row; the same for every way to print it."""
        printed = self.printed
        return [[column.entry(row) for column in printed] for row in self.rows]


@dataclass(frozen=True)
class Document:
    """Tables that are printed one below the other, with notes.

    Args:
        title: what stands above them in Markdown.
        tables: the tables.
        notes: what has to be said under them.
        exported: tables of the CSV file, where they are not those that are printed.
        root: root of the records, whose beginning a caption names.
        samples: of how many users validation was ranked, by data set, where it was not of all: a caption names them,
            and the CSV file has them in a column of its own.
        samples_together: the same of data sets that are judged together, by what stands in place of their name: the
            samples of each, for the CSV file.
    """

    title: str
    tables: Sequence[Table[Any]]
    notes: Sequence[str]
    exported: Sequence[Table[Any]] | None = None
    root: str = ""
    samples: Mapping[str, str] = field(default_factory=dict)
    samples_together: Mapping[str, str] = field(default_factory=dict)


def text_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, names: int = 1) -> Table[Any]:
    """A table of texts, whose first ``names`` columns name the row."""
    columns: list[Column[Sequence[str]]] = [
        Column(None, label, itemgetter(place), names=place < names) for place, label in enumerate(header)
    ]
    return Table(title, columns, rows)


def markdown(document: Document, say: Translator = ENGLISH) -> str:
    """GitHub Markdown: best bold, second italic, not told from the best underlined; notes as a list below."""
    tables = [f"## {md(say(table.title))}\n\n{markdown_table(table, say)}" for table in document.tables]
    pieces = [f"# {md(say(document.title))}", *tables]
    return "\n\n".join([*pieces, "\n".join(f"- {md(say(line))}" for line in document.notes)]) + "\n"


def markdown_table(table: Table[Any], say: Translator = ENGLISH) -> str:
    """Header and rows of one table, without its title and without a line end."""
    marks = {0: "{}", BEST: "**{}**", SECOND: "*{}*", ALIKE: "<u>{}</u>"}
    rows = [
        [md(say(label)) for label in table.header],
        ["---"] * len(table.header),
        *(
            [
                marks[entry.rank].format(entry.text if column.markdown else md(say(entry.text)))
                for column, entry in zip(table.printed, row, strict=True)
            ]
            for row in table.entries
        ),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def md(text: str) -> str:
    """Text for Markdown: a bar would end the cell, a line break the row; code, HTML, emphasis and links stay text."""
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.splitlines()))


def latex(document: Document) -> str:
    """Tables for a paper (booktabs): best bold, second or not told from it underlined; notes as comments.

    A table fits a column of a two-column page, or the page: one that is wider is split between its columns, those that
    name a row in every part, and texts that are wider than half a page are wrapped.
    """
    caption = rf"; records \texttt{{{document.root[:ROOT_SHOWN]}}}" if document.root else ""
    caption += "".join(f"; {tex(f'{data}: validation of {sample} users')}" for data, sample in document.samples.items())
    pieces = ["% needs \\usepackage{booktabs}"]
    for table in document.tables:
        parts = list(_latex_parts(table))
        for number, columns in enumerate(parts, 1):
            part = f", {number} of {len(parts)}" if len(parts) > 1 else ""
            pieces.append(_latex_part(table, columns, f"{tex(table.title)}{part}{caption}"))
    return "\n\n".join([*pieces, *(f"% {' '.join(line.split())}" for line in document.notes)]) + "\n"


#: Points of a page with two columns and of one of them, as the narrower of the usual classes have them.
PAGE_POINTS, COLUMN_POINTS = 450.0, 220.0
#: Points of an average letter in small print, of the room between two columns, and of a text that is wrapped.
LETTER_POINTS, GAP_POINTS, WRAPPED_POINTS = 4.8, 6.0, 200.0


def _latex_parts(table: Table[Any]) -> Iterator[list[int]]:
    """Places of the columns of each part, those that name a row first."""
    widths = [_latex_width(table, place) + GAP_POINTS for place in range(len(table.printed))]
    names = [place for place, column in enumerate(table.printed) if column.names]
    taken = sum(widths[place] for place in names)
    part: list[int] = []
    for place in (place for place in range(len(widths)) if place not in names):
        if part and taken + sum(widths[other] for other in part) + widths[place] > PAGE_POINTS:
            yield [*names, *part]
            part = []
        part.append(place)
    yield [*names, *part]


def _latex_width(table: Table[Any], place: int) -> float:
    """Points that a column takes, its header wrapped between words."""
    texts = [*(row[place].text for row in table.entries), *table.header[place].split()]
    return min(LETTER_POINTS * max(map(len, texts), default=0), WRAPPED_POINTS)


def _latex_part(table: Table[Any], columns: Sequence[int], caption: str) -> str:
    """Some columns of a table."""
    marks = {0: "{}", BEST: "\\textbf{{{}}}", SECOND: "\\underline{{{}}}", ALIKE: "\\underline{{{}}}"}
    width, alignment, header = 0.0, "", []
    for place in columns:
        own, side = _latex_width(table, place), "l" if table.printed[place].names else "r"
        width += own + GAP_POINTS
        alignment += f"p{{{WRAPPED_POINTS:g}pt}}" if own == WRAPPED_POINTS else side
        lines = textwrap.wrap(table.header[place], max(1, int(own / LETTER_POINTS)), break_long_words=False)
        shown = r" \\ ".join(map(tex, lines))
        header.append(rf"\shortstack[{side}]{{{shown}}}" if len(lines) > 1 else shown)
    body = [" & ".join(marks[row[p].rank].format(tex(row[p].text)) for p in columns) + r" \\" for row in table.entries]
    # After the end of a row, a bracket or a star would be an argument of it.
    body = [f"{{}}{row}" if row.startswith(("[", "*")) else row for row in body]
    floating = "table" if width <= COLUMN_POINTS else "table*"
    return "\n".join(
        [
            rf"\begin{{{floating}}}",
            rf"\caption{{{caption}}}",
            r"\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            " & ".join(header) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\end{{{floating}}}",
        ]
    )


def tex(text: str) -> str:
    """Text for LaTeX."""
    special = {"\\": r"\textbackslash{}", "±": r"$\pm$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {c: f"\\{c}" for c in "&%$#_{}"} | {"†": r"$\dagger$", "<": "$<$", ">": "$>$"}
    special |= {"≈": r"$\approx$", "✗": r"$\times$", "°": r"$^{\circ}$", "|": r"\textbar{}"}
    # Two hyphens beside each other would be a dash.
    return re.sub("-(?=-)", "-{}", "".join(special.get(c, c) for c in " ".join(text.splitlines())))


def terminal(document: Document, say: Translator = ENGLISH) -> str:
    """Tables for a terminal or a log, as wide as they have to be; each part of a table below the other."""
    out = io.StringIO()
    console = Console(file=out, width=10_000, color_system=None, emoji=False)
    for table in document.tables:
        console.print(f"{say(table.title)}{say(table.hint)}", markup=False, highlight=False)
        for part in sorted({column.part for column in table.printed if not column.names}):
            console.print(_terminal_part(table, part, say))
    for line in document.notes:
        console.print(say(line), markup=False, highlight=False, soft_wrap=True)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _terminal_part(table: Table[Any], part: int, say: Translator) -> RichTable:
    marks = {0: "{}  ", BEST: "{} *", SECOND: "{} +", ALIKE: "{} ~"} if table.hint else dict.fromkeys(range(4), "{}")
    shown = RichTable(box=box.SIMPLE_HEAD)
    columns = [(at, column) for at, column in enumerate(table.printed) if column.names or column.part == part]
    for _, column in columns:
        shown.add_column(Text(say(column.label or "")), justify="left" if column.names else "right", no_wrap=True)
    for row in table.entries:
        entries = [(column.names, row[at]) for at, column in columns]
        shown.add_row(*(Text(say(e.text) if names else marks[e.rank].format(say(e.text))) for names, e in entries))
    return shown


def csv(document: Document) -> str:
    """The exported columns of all tables in full precision, the same on every machine."""
    return csv_text(frame(document))


def frame(document: Document) -> pd.DataFrame:
    """The exported columns of all tables below each other; empty where a table lacks a column or a row its value.

    Where validation was ranked for a sample of the users, ``validation_users`` says of each data set for how many.
    """
    tables = document.tables if document.exported is None else document.exported
    columns = dict.fromkeys(column.key for table in tables for column in table.columns if column.key is not None)
    rows = [
        {column.key: column.get(row) for column in table.columns if column.key is not None}
        for table in tables
        for row in table.rows
    ]
    made = pd.DataFrame(rows, columns=list(columns))
    if not document.samples:
        return made
    return made.assign(validation_users=made["dataset"].map({**document.samples, **document.samples_together}))


def page(table: Table[Any], say: Translator = ENGLISH) -> dict[str, Any]:
    """Header and entries of a table for a template, which escapes them."""
    rows = [[replace(entry, text=say(entry.text)) for entry in row] for row in table.entries]
    return {"header": [say(label) for label in table.header], "rows": rows}
