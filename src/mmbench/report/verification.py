"""What an archive says, computed again from the records in it.

Reports that rest on a data set that is not here, or on what an archive does not hold, are not checked, and say so.
"""

from __future__ import annotations

import csv
import filecmp
import itertools
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np

from mmbench import paths
from mmbench.audit import consistency
from mmbench.messages import LANGUAGES, Message, Refusal, Translator, conjoined
from mmbench.report.archive import (
    ENVIRONMENT,
    FROM_ELSEWHERE,
    MISSING,
    MOST_HASHES,
    PACKED,
    READ_ME,
    REPORT,
    Finding,
    environment,
    unpack,
)
from mmbench.report.contribution_facts import ON_DATA, UNREAD
from mmbench.report.facts import NAME, NOT_MEASURED, TITLE
from mmbench.report.layout import ENGLISH, md
from mmbench.report.submission import PRICE
from mmbench.report.templating import language_of
from mmbench.report.write import write_report
from mmbench.scheduling.trust import NOTHING, Trust
from mmbench.store import bounds, files

CONTRIBUTION, DECISION = f"{paths.CONTRIBUTION}.csv", f"{paths.DECISION}.json"
#: Reports beside the contributions that say something that a data set tells, by their names in English.
WITH_DATA = (f"{paths.CONTRIBUTION}.md", f"{paths.SUBMISSION}.md", f"{paths.SUBMISSION}.tex")
#: Columns of the contribution report that say what a row is about.
MEASURE, ABOUT = "measure", ("dataset", "model")
#: What draws.
DRAWN_BY = ("matplotlib", "numpy")
#: What a check of a file of the report says.
EVERY_NUMBER, LETTERS = Message("every number"), Message("letter by letter")
NOT_WRITTEN = Message("no command writes it from these records")
OTHER_DRAWING = Message(
    "drawn by other versions of {programs} than those here", programs=conjoined([*DRAWN_BY, Message("fonts")])
)
WITHOUT_DRAWINGS = Message("letter by letter, but for drawings of other versions than those here")
WITHOUT_DATA_SET = Message("letter by letter, but for what needs the data set, which is not here")
#: A drawing within a page.
DRAWING = re.compile(rb"<svg\b.*?</svg>|data:image/svg\+xml;base64,[A-Za-z0-9+/=]*", re.DOTALL)
TOLERANCE = 1e-9
#: Data sets, each with a model.
Models = Set[tuple[str, str]]


def verify(
    archive: Path,
    folder: Path,
    holds: Callable[[Mapping[str, Any]], bool],
    trust: Trust = NOTHING,
    admit: Callable[[Path], None] = lambda folder: None,
) -> list[Finding]:
    """Unpack an archive, check its hashes, and compute every table again from its records.

    Args:
        archive: what :func:`mmbench.report.archive.pack` wrote.
        folder: empty folder to work in.
        holds: whether the inputs of a decision record lead to its answer again.
        trust: what may be used because a record names it.
        admit: raises for an unpacked archive whose check is not worth beginning.

    Returns:
        One finding per file that was checked; hashes that hold are not listed.

    Raises:
        ValueError: as :func:`mmbench.report.archive.unpack`, or if its records cannot be read.
    """
    findings = unpack(archive, folder)
    admit(folder)
    report, packed = paths.report_dir(folder), folder / PACKED
    packed.mkdir()
    if report.is_dir():
        report.rename(packed / REPORT)
    packed /= REPORT
    findings += [
        Finding(f.file, None if f.doubt else False, Message("{name}: {reason}", name=f.field, reason=f.reason))
        for f in consistency.check(folder)
    ]
    # The index links what other commands wrote.
    for file in packed.glob("*") if packed.is_dir() else ():
        if paths.in_english(file.name) in FROM_ELSEWHERE and file.is_file():
            report.mkdir(exist_ok=True)
            shutil.copyfile(file, report / file.name)
    table = write_report(folder, trust=trust, audited=False, lang=language_of(packed))
    unread = _unread(report, {(dataset, model) for dataset, model, _ in table.cells})
    findings += _reports(packed, report, unread, alike=_draws_alike(folder))
    word = Message("its author's word")
    findings += [Finding(name, None, word) for name in (READ_ME, ENVIRONMENT) if (folder / name).is_file()]
    if (packed / DECISION).is_file():
        record = files.read_document(packed / DECISION)
        findings.append(Finding(DECISION, holds(record), Message("decided again")))
    return findings


def _draws_alike(folder: Path) -> bool:
    """Whether what drew the figures of an archive is what is installed here, by its own word."""
    file = folder / ENVIRONMENT
    if not file.is_file():
        return False
    there, here = bounds.read_json(file, MOST_HASHES), environment()
    if not isinstance(there, dict) or not isinstance(there.get("installed"), dict):
        return False
    own: Any = here["installed"]
    same = all(there["installed"].get(name) == own.get(name) for name in DRAWN_BY)
    same = same and all(there.get(name) == here[name] for name in ("python", "machine"))
    return same and there.get("fonts", here["fonts"]) == here["fonts"]  # which earlier versions did not name


def _reports(packed: Path, again: Path, unread: Models, *, alike: bool) -> Iterator[Finding]:
    """Every file of a report against what the records give.

    Args:
        packed: the folder of the report in the archive.
        again: the folder of the report that the records give.
        unread: data sets that are not here, each with a model.
        alike: whether drawings have to come out letter by letter.
    """
    files_of = ((file, folder) for folder in (packed, again) for file in folder.rglob("*") if file.is_file())
    for name in sorted({file.relative_to(folder).as_posix() for file, folder in files_of}):
        own, english = packed / name, paths.in_english(name)
        if english in FROM_ELSEWHERE and own.is_file():
            if name != DECISION:
                yield Finding(name, None, FROM_ELSEWHERE[english])
        elif not own.is_file():
            yield Finding(name, False, MISSING)
        elif not (again / name).is_file():
            yield Finding(name, False, NOT_WRITTEN)
        elif name == CONTRIBUTION:
            yield _contribution(own, again / name, unread)
        elif name.endswith(".csv"):
            yield Finding(name, _same(own, again / name), EVERY_NUMBER)
        elif filecmp.cmp(own, again / name, shallow=False):
            yield Finding(name, True, LETTERS)
        elif unread and english in WITH_DATA:
            same = _same_without_data(own, again / name, unread)
            yield Finding(name, None if same else False, WITHOUT_DATA_SET)
        elif name.endswith((".svg", ".png")):
            yield Finding(name, False if alike else None, LETTERS if alike else OTHER_DRAWING)
        elif name.endswith(".html") and not alike:
            text, expected = (DRAWING.sub(b"", file.read_bytes()) for file in (own, again / name))
            yield Finding(name, None if text == expected else False, WITHOUT_DRAWINGS)
        else:
            yield Finding(name, False, LETTERS)


def _unread(again: Path, models: Models) -> Models:
    """Those models whose data set could not be read here, by the contributions that were computed again."""
    lines = (again / f"{paths.CONTRIBUTION}.md").read_text(encoding="utf-8").splitlines()
    return {
        (dataset, model)
        for dataset, model in models
        if any(line.startswith(_not_measured(dataset, model, Message(UNREAD, reason=""))) for line in lines)
    }


def _not_measured(dataset: str, model: str, line: str, say: Translator = ENGLISH) -> str:
    """How a note of the contributions begins."""
    return f"- {md(say(Message(NOT_MEASURED, name=Message(NAME, dataset=dataset, model=model), line=line)))}"


def _contribution(packed: Path, again: Path, unread: Models) -> Finding:
    """Every row; of a data set that is not here those that need none."""
    if not unread or filecmp.cmp(packed, again, shallow=False):
        return Finding(CONTRIBUTION, _same(packed, again), EVERY_NUMBER)
    same = _same(packed, again, unread)
    return Finding(CONTRIBUTION, same, Message("numbers that need no data set, which is not here"))


def _same_without_data(packed: Path, again: Path, unread: Models) -> bool:
    """Whether two texts say the same but for what a data set tells that is not here.

    That is one answer of a checklist, and of contributions the tables that need the data set and why others are not
    measured. What could not be measured without it either is in both.
    """
    own, expected = (
        list(filter(None, file.read_text(encoding="utf-8", errors="replace").splitlines())) for file in (packed, again)
    )
    if packed.name.startswith(paths.SUBMISSION):
        prices = [Translator(lang)(PRICE) for lang in LANGUAGES]
        own, expected = (
            [line for line in text if not any(price in line for price in prices)] for text in (own, expected)
        )
        return own == expected
    say = next(Translator(lang) for lang in LANGUAGES if paths.document(paths.CONTRIBUTION, "md", lang) == packed.name)
    titles = {
        f"## {md(say(Message(TITLE, dataset=dataset, model=model, measure=measure)))}"
        for dataset, model in unread
        for measure in ON_DATA
    }
    notes = tuple(_not_measured(*about, "", say) for about in unread)
    reasons = tuple(_not_measured(*about, Message(UNREAD, reason=""), say) for about in unread)
    known, told, of_data = set(expected), list[str](), False
    for line in own:
        of_data = line in titles or (of_data and line.startswith("|"))
        if not of_data and not line.startswith(reasons) and (line in known or not line.startswith(notes)):
            told.append(line)
    return told == [line for line in expected if not line.startswith(reasons)]


def _rows(file: Path, unread: Models = frozenset()) -> Iterator[list[str]]:
    """Header and rows of a table, one at a time, without those that need a data set that is not here."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines)
        if (header := next(rows, None)) is None:
            return
        yield header
        if not unread:
            yield from rows
            return
        if lacking := [column for column in (*ABOUT, MEASURE) if column not in header]:
            raise Refusal("{file} has no column {column}", file=file.name, column=lacking[0])
        *about, measure = (header.index(column) for column in (*ABOUT, MEASURE))
        for row in rows:
            short = len(row) <= max(*about, measure)
            if short or row[measure] not in ON_DATA or tuple(row[place] for place in about) not in unread:
                yield row


def _same(packed: Path, again: Path, unread: Models = frozenset()) -> bool:
    """Equal text, and equal numbers up to the rounding of another machine."""
    if not unread and filecmp.cmp(packed, again, shallow=False):
        return True
    try:
        nothing: list[str] = []
        pairs = itertools.zip_longest(_rows(packed, unread), _rows(again, unread), fillvalue=nothing)
        return all(len(a) == len(b) and all(map(_alike, a, b)) for a, b in pairs)
    except (csv.Error, UnicodeDecodeError):
        return False


def _alike(x: str, y: str) -> bool:
    """Equal text, or as many numbers, each the same up to rounding."""
    if x == y:
        return True
    try:
        a, b = ([float(number) for number in cell.split()] for cell in (x, y))
    except ValueError:
        return False
    # Of lists of other lengths numpy repeats a single number, and finds nothing that differs in none.
    return len(a) == len(b) > 0 and np.allclose(a, b, TOLERANCE, TOLERANCE)
