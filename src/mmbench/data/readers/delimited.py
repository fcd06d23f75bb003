"""Text tables of others (CSV, TSV), read strictly: every cell as text, no row mended, no type guessed."""

from __future__ import annotations

import codecs
import contextlib
import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from mmbench.data.readers.columns import header_at
from mmbench.data.readers.known import AUTO
from mmbench.data.readers.lines import DAMAGED, GZIP_FAULTS, is_gzip, open_bytes, open_text, refuse_pickle
from mmbench.data.readers.text_table import Table, place_of, shortened
from mmbench.messages import Message, Refusal, Template

SEPARATORS = (",", "\t", ";")
#: So many rows at the top of a file may be a title, with empty ones left aside.
TITLE_ROWS = 20
_BLOCK_BYTES = 1 << 23
_BLOCK_CHARACTERS = 1 << 22
_SAMPLE_BYTES = 1 << 20
#: How Arrow tells of a row of another width; it counts rows from one, the first line included.
_RAGGED = re.compile(
    r"Row #(?P<row>\d+): Expected (?P<expected>\d+) columns, got (?P<found>\d+): (?P<text>.*)", re.DOTALL
)


_NOT_TEXT = Template(
    "{path} is not {encoding} text ({error}); save it as UTF-8 or name its encoding with --encoding or, for the table "
    "of items, --items-encoding (often cp932 in Japan)"
)


_NEVER_CLOSED = Template("{path}, line {line}: a quote is opened and never closed")


@dataclass(frozen=True)
class Dialect:
    """How a text table is written.

    Args:
        separator: character between two cells.
        quoted: whether double quotes enclose cells that hold separators or line ends; else they are letters.
        encoding: a byte order mark is skipped.
        header: whether the first line names the columns.
        above: lines above that line, which hold a title.
    """

    separator: str = ","
    quoted: bool = True
    encoding: str = "utf-8"
    header: bool = True
    above: int = 0


def read_header(path: Path, encoding: str = "utf-8", rows: int = 0) -> Table:
    """Names of the columns of a table, and its first rows as far as they have as many cells.

    Raises:
        ValueError: as :func:`read_delimited`.
    """
    dialect = _dialect(path, None, encoding)
    names = _names(path, dialect)
    with _faults(path, dialect.encoding):
        head = _head(path, replace(dialect, above=0), rows + TITLE_ROWS)
    below = [cells for line, cells in head if line > dialect.above][1 : rows + 1]
    frame = pd.DataFrame([cells for cells in below if len(cells) == len(names)], columns=pd.Index(names, dtype=object))
    above = tuple(" ".join(filter(None, cells)) for line, cells in head if line <= dialect.above)
    return Table(path, frame, above=above)


def read_delimited(
    path: Path,
    dialect: Dialect | None = None,
    encoding: str = "utf-8",
    *,
    columns: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
) -> Table:
    """Read a table, plain or gzip, whose first line names its columns.

    Args:
        path: file.
        dialect: how it is written; by default sniffed from its name and first line.
        encoding: used where ``dialect`` is sniffed; :data:`AUTO` finds it out.
        columns: those to keep; a table may be larger than memory when few are. All by default.
        names: names of the first columns where ``dialect`` has no header; further ones are not kept.

    Raises:
        ValueError: for an empty file, another encoding, a repeated column, a row that is too short or too long, a quote
            that is never closed or closed by one of another cell, a damaged gzip file or a pickle.
    """
    dialect = _dialect(path, dialect, encoding)
    with _faults(path, dialect.encoding):
        known = _names(path, dialect, names)
        kept = [known.index(name) for name in columns] if columns is not None else range(len(known))
        frame = _cells(path, dialect, kept).set_axis([known[i] for i in kept], axis=1)
        if dialect.header:
            frame = frame.iloc[1:].reset_index(drop=True)
        if frame.empty:
            raise Refusal("{path} has a header but no rows", path=path)
        if dialect.quoted:
            _check_quotes(path, dialect, len(frame) + dialect.header)
        return Table(
            path,
            frame,
            lambda place: line_of(path, place + dialect.header, dialect),
            decimal_comma=dialect.separator == ";",
        )


def detected_encoding(path: Path) -> str:
    """Encoding of a text file as its byte order mark or its bytes tell it.

    CP932 (Shift_JIS with NEC and IBM characters, what Excel writes in Japan) is recognised where the bytes are valid in
    it, hold kana or mostly usual kanji, and no line of them is UTF-8, as where two files were put together; anything
    else counts as UTF-8, whose faults are then told.
    """
    with open_bytes(path) as file, _faults(path, "utf-8"):
        sample = file.read(_SAMPLE_BYTES)
    if (marked := _marked(sample)) is not None:
        return marked
    if _decoded(sample, "utf-8") is None and _is_japanese(_decoded(sample, "cp932") or ""):
        lines = [line for line in sample.split(b"\n")[:-1] if not line.isascii()]
        if all(_decoded(line + b"\n", "utf-8") is None for line in lines):
            return "cp932"
    return "utf-8"


def encoding_of(path: Path, encoding: str) -> str:
    """The encoding in which a file is read where ``encoding`` is asked for: a byte order mark outranks it.

    Files that belong together often come from different programs, so each is looked at by itself.
    """
    if encoding == AUTO:
        return detected_encoding(path)
    with open_bytes(path) as file, _faults(path, encoding):
        return _marked(file.read(len(codecs.BOM_UTF8))) or encoding


def _marked(sample: bytes) -> str | None:
    """The encoding that a byte order mark tells."""
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8" if sample.startswith(codecs.BOM_UTF8) else None


def _is_japanese(text: str) -> bool:
    """Whether a text that was decoded as CP932 is one.

    Bytes of Western letters make rare kanji, or usual ones whose second byte is the plain letter that follows. Narrow
    kana say nothing: each is one byte that is a Western letter too.
    """
    if re.search("[\u3040-\u30ff]", text):
        return True
    runs = re.findall(r"[^\x00-\x7f\uff61-\uff9f]+", text)
    usual = sum(_is_usual(letter, alone=len(run) == 1) for run in runs for letter in run)
    return 2 * usual > sum(map(len, runs))


def _is_usual(letter: str, *, alone: bool) -> bool:
    """Whether a character is of the first level of JIS X 0208: signs, wide letters, and its 2,965 usual kanji."""
    code = letter.encode("cp932", "replace")
    return len(code) == 2 and b"\x81\x40" <= code <= b"\x98\x72" and not (alone and code[1] < 0x80)


def _decoded(sample: bytes, encoding: str) -> str | None:
    """The text of a sample whose last character may be cut off, or None."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        return decoder.decode(sample)
    except UnicodeDecodeError:
        return None


@contextlib.contextmanager
def _faults(path: Path, encoding: str) -> Iterator[None]:
    """What the libraries raise, as errors that name the file and what to do."""
    try:
        yield
    except (UnicodeError, LookupError) as error:
        raise Refusal(
            _NOT_TEXT,
            path=path,
            encoding=encoding,
            error=error,
        ) from error
    except GZIP_FAULTS as error:
        raise Refusal(DAMAGED, path=path) from error
    except (pa.ArrowInvalid, csv.Error) as error:
        raise Refusal("{path} cannot be read: {error}", path=path, error=error) from error


def _dialect(path: Path, dialect: Dialect | None, encoding: str) -> Dialect:
    refuse_pickle(path)
    if dialect is not None:
        return dialect
    encoding = encoding_of(path, encoding)
    with _faults(path, encoding):
        return _sniffed(path, encoding)


def line_of(path: Path, record: int, dialect: Dialect) -> int | None:
    """Line on which a record begins, the header being record 0; None if the file has no such record.

    Reads record by record, which is slow: for error messages only.
    """
    begins = 1 + dialect.above
    with _below(path, dialect) as file:
        reader = _reader(file, dialect)
        with contextlib.suppress(csv.Error, *GZIP_FAULTS):
            for cells in reader:
                if cells and record == 0:
                    return begins
                record -= bool(cells)
                begins = dialect.above + reader.line_num + 1
    return None


@contextlib.contextmanager
def _below(path: Path, dialect: Dialect) -> Iterator[TextIO]:
    """The text below the lines of a title."""
    with open_text(path, dialect.encoding) as file:
        for _ in range(dialect.above):
            file.readline()
        yield file


def _reader(file: TextIO, dialect: Dialect) -> Any:
    if dialect.quoted:
        return csv.reader(file, delimiter=dialect.separator)
    return csv.reader(file, delimiter=dialect.separator, quoting=csv.QUOTE_NONE)


def _head(path: Path, dialect: Dialect, rows: int) -> list[tuple[int, list[str]]]:
    """The first ``rows`` records with text below the title, each with the line on which it ends."""
    head: list[tuple[int, list[str]]] = []
    with _below(path, dialect) as file:
        reader = _reader(file, dialect)
        try:
            for cells in reader:
                if cells:
                    head.append((dialect.above + reader.line_num, cells))
                if len(head) == rows:
                    break
        except (csv.Error, UnicodeError, *GZIP_FAULTS):
            if not head:
                raise  # what is wrong further below is told by those who read that far
    return head


def _names(path: Path, dialect: Dialect, names: Sequence[str] | None = None) -> list[str]:
    """Names of the columns, from the first line or given."""
    with _faults(path, dialect.encoding):
        first = next((cells for _, cells in _head(path, dialect, 1)), [])
    if not first:
        raise Refusal("{path} is empty; its first line must name the columns", path=path)
    if not dialect.header:
        known = list(names or ())[: len(first)]
        return known + [f"column {place}" for place in range(len(known) + 1, len(first) + 1)]
    known = [cell.strip() for cell in first]
    repeated = {name for name in known if name and known.count(name) > 1}
    if repeated:
        raise Refusal(
            "{path}: column {column} occurs more than once in the header", path=path, column=repr(min(repeated))
        )
    return known


def _sniffed(path: Path, encoding: str) -> Dialect:
    tabs = path.name.lower().removesuffix(".gz").endswith((".tsv", ".tab"))
    best, most = Dialect(encoding=encoding), 0
    for separator in "\t" if tabs else SEPARATORS:
        dialect, columns = _below_title(path, Dialect(separator, encoding=encoding))
        if columns > most:
            best, most = dialect, columns
    if best.separator == "\t" and _quotes_are_letters(path, best):
        return _below_title(path, replace(best, quoted=False, above=0))[0]
    return best


def _below_title(path: Path, dialect: Dialect) -> tuple[Dialect, int]:
    """The dialect with the lines above the header, and how many cells the header has."""
    head = _head(path, dialect, TITLE_ROWS)
    if not head:
        return dialect, 0
    place = header_at([cells for _, cells in head])
    return replace(dialect, above=head[place - 1][0] if place else 0), len(head[place][1])


def _quotes_are_letters(path: Path, dialect: Dialect) -> bool:
    """Whether the quotes of a table with tabs mean nothing, as its first megabyte tells.

    Programs that quote write a cell with a quote, a tab or a line end in it as RFC 4180 has it: the cell begins and
    ends with a quote, and those within are doubled. Many tables with tabs are written without any such rule: their
    quotes stand anywhere, and what lies between two of them may be whole rows. Quotes are letters where they break the
    rule, and at least as often as they keep it; a cell with both tabs and line ends says nothing.
    """
    with contextlib.suppress(UnicodeError, *GZIP_FAULTS), _below(path, dialect) as file:
        sample = file.read(_SAMPLE_BYTES)
        kept = broken = 0
        letters = sample.count('"')
        for cell in _quoted_cells([sample], dialect.separator):
            letters -= 1 + cell.text.count('"') + (cell.after is not None)
            if cell.after is None and len(sample) == _SAMPLE_BYTES:
                continue  # the rest of the cell is beyond the sample
            broken += not cell.is_whole
            kept += cell.is_whole and not (dialect.separator in cell.text and _line_ends(cell.text))
        return broken + letters >= max(kept, 1)
    return False


def _cells(path: Path, dialect: Dialect, kept: Sequence[int]) -> pd.DataFrame:
    """Columns by their place as text, the header included."""
    # Columns without names are text by their place, the header too: nothing is taken for a number.
    reading = pa.csv.ReadOptions(
        use_threads=False,
        block_size=_BLOCK_BYTES,
        autogenerate_column_names=True,
        encoding=dialect.encoding,
        skip_rows=dialect.above,
    )
    parsing = pa.csv.ParseOptions(
        delimiter=dialect.separator,
        quote_char='"' if dialect.quoted else False,
        newlines_in_values=dialect.quoted,
    )
    as_text = pa.csv.ConvertOptions(
        column_types={f"f{i}": pa.large_string() for i in kept},
        include_columns=[f"f{i}" for i in kept],
        strings_can_be_null=False,
    )
    try:
        with pa.input_stream(str(path), compression="gzip" if is_gzip(path) else None) as stream:
            table = pa.csv.read_csv(stream, reading, parsing, as_text)
        cells: pd.DataFrame = table.to_pandas(self_destruct=True)
    except pa.ArrowInvalid as error:
        if ragged := _RAGGED.search(str(error)):
            raise _ragged(path, ragged, dialect) from error
        if "UTF8" in str(error):
            raise Refusal(
                _NOT_TEXT,
                path=path,
                encoding=dialect.encoding,
                error=Message("a byte that UTF-8 does not know"),
            ) from error
        raise
    except OSError as error:
        raise Refusal(DAMAGED, path=path) from error
    return cells


class _Quoted(NamedTuple):
    """A cell that begins with a quote.

    Args:
        text: what its quotes enclose, as it is written.
        after: the character behind the closing quote, empty at the end of the file; None where no quote closes it.
        line: on which it begins.
        is_whole: whether the cell ends with its quote.
    """

    text: str
    after: str | None
    line: int
    is_whole: bool


def _quoted_cells(blocks: Iterable[str], separator: str) -> Iterator[_Quoted]:
    """The cells of a text that begin with a quote; a quote further inside a cell is a letter."""
    opened = re.compile(rf'"(?<=[{re.escape(separator)}\r\n]")(?P<text>[^"]*+(?:""[^"]*+)*+)(?P<closed>"?)')
    rest, line = "\n", 0  # the first cell stands behind a line end as the others do
    for block in blocks:
        text, begins = rest + block, 0
        rest = text[-1:]
        for cell in opened.finditer(text):
            line += _line_ends(text, begins, cell.start())
            begins = cell.start()
            if cell.end() == len(text):  # it may go on in the next block
                rest = text[begins - 1 :]
                break
            after = text[cell.end()]
            yield _Quoted(cell["text"], after, line, after in (separator, "\r", "\n"))
        line += _line_ends(text, begins) - _line_ends(rest)
    if last := opened.search(rest):
        line += _line_ends(rest, 0, last.start())
        yield _Quoted(last["text"], "" if last["closed"] else None, line, bool(last["closed"]))


def _line_ends(text: str, start: int = 0, stop: int | None = None) -> int:
    ends = text.count("\n", start, stop)
    if text.find("\r", start, stop) >= 0:
        ends += text.count("\r", start, stop) - text.count("\r\n", start, stop)
    return ends


def _check_quotes(path: Path, dialect: Dialect, records: int) -> None:
    """Refuse a quote that was left open and so has made one cell of several rows.

    It shows where the cell that spans lines does not end with the quote that closes it: that one opened another cell or
    is a letter. RFC 4180 has no such cell, so that no table which keeps to it is refused, whatever its cells hold.
    Looking for it takes time, and only a table with more lines than records, or an odd quote, can have it.

    Raises:
        ValueError: with the line of the quote.
    """
    lines = quotes = 0
    last = ""
    with _below(path, dialect) as file:
        for block in _blocks(file):
            lines += _line_ends(block) - (last + block[0] == "\r\n")
            quotes, last = quotes + block.count('"'), block[-1]
    if lines + (last not in "\r\n") <= records and quotes % 2 == 0:
        return
    with _below(path, dialect) as file:
        for cell in _quoted_cells(_blocks(file), dialect.separator):
            ends = _line_ends(cell.text)
            if cell.after is None:
                raise Refusal(_NEVER_CLOSED, path=path, line=dialect.above + cell.line)
            if ends and not cell.is_whole:
                raise Refusal(
                    "{path}, line {line}: a quote is opened and ends within a cell of line {end}, as if the lines "
                    "between were one cell; take a stray quote out, or write one within a quoted cell twice",
                    path=path,
                    line=dialect.above + cell.line,
                    end=dialect.above + cell.line + ends,
                )


def _blocks(file: TextIO) -> Iterator[str]:
    return iter(lambda: file.read(_BLOCK_CHARACTERS), "")


def _ragged(path: Path, fault: re.Match[str], dialect: Dialect) -> ValueError:
    # Arrow counts the lines of a title as rows too.
    line = line_of(path, int(fault["row"]) - 1 - dialect.above, dialect)
    if line is not None and dialect.quoted and fault["text"].count('"') % 2:
        return Refusal(_NEVER_CLOSED, path=path, line=line)
    place = place_of(path, line, int(fault["row"]))
    text = repr(shortened(fault["text"]))
    return Refusal(
        "{where}: {found} cells where the header has {expected}: {text}",
        where=place,
        found=fault["found"],
        expected=fault["expected"],
        text=text,
    )
