"""Walks from files to a decision: a command after the other, and a question where nothing can be found out."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from mmbench import fingerprint, paths
from mmbench.cli import prepare
from mmbench.cli.decide import economics_in
from mmbench.cli.economics_file import template_file
from mmbench.cli.words import dataset_name, dataset_words, spoken
from mmbench.data.readers.columns import guessed
from mmbench.data.readers.formats import detected
from mmbench.data.readers.journal import Question
from mmbench.data.readers.table_files import TableFile, is_table, sheets_of
from mmbench.data.regular_file import storable, visible_in
from mmbench.data.sources import modalities_in
from mmbench.messages import Message, Refusal, Template, Translator
from mmbench.messages.commands import command_line
from mmbench.scheduling.trust import NOTHING
from mmbench.store.files import read_document, write_document

#: Answers that mean yes, beside the letter of the language; an empty one is the default.
YES = ("y", "yes", "はい")
NO = ("n", "no", "いいえ")
_LIKELY, _UNLIKELY = Template("{question} [Y/n]"), Template("{question} [y/N]")
#: Words of the configuration that say which data, and where results go; the others are about the sweep.
OF_DATA = ("dataset.", "paths.")
#: Stands in place of a hash where a step was begun and has not ended.
BEGUN = "begun"
#: Options of ``prepare`` that may stand several times, so that a yes to one question answers no other.
REPEATED = frozenset({"--leave-out"})


class Walk(msgspec.Struct, forbid_unknown_fields=True):
    """How far a walk has come: what was asked is not asked again, and what is done is not done again.

    Args:
        given: the words and files that it belongs to.
        out: its dataset folder, seen from the folder of sweeps, as both may be moved together; empty where an earlier
            version began it.
        prepare: words of ``prepare`` that were found out or answered.
        reading: words of the configuration that the prepared folder needs.
        done: by step, the hash of its command and of the data that it saw.
    """

    given: list[str] = msgspec.field(default_factory=list)
    out: str = ""
    prepare: list[str] = msgspec.field(default_factory=list)
    reading: list[str] = msgspec.field(default_factory=list)
    done: dict[str, str] = msgspec.field(default_factory=dict)


@dataclass(frozen=True)
class TableSource:
    """A table among the given files.

    Args:
        path: its file.
        sheet: its sheet, None for a file that has none.
        names: of its columns.
    """

    path: Path
    sheet: str | None
    names: tuple[str, ...]

    @property
    def place(self) -> tuple[Path, str | None]:
        """File and sheet."""
        return self.path, self.sheet

    def plays(self, *roles: str) -> bool:
        """Whether a column has a usual name of each role."""
        return all(guessed(self.names, role) for role in roles)

    def __str__(self) -> str:
        return str(self.path) if self.sheet is None else f"{self.path} ({self.sheet})"


class Readable(NamedTuple):
    """The tables that were found in files, and why a file cannot be read as it was asked.

    Attributes:
        tables: in the order of the files and of their sheets.
        refused: the error of each file that cannot be read.
    """

    tables: list[TableSource]
    refused: dict[Path, Refusal]

    def of_sheet(self, sheet: str | None) -> list[TableSource]:
        """The tables of a sheet that was named; all of them without a name, and where no file is a workbook.

        Raises:
            ValueError: if a workbook is there and none has the sheet.
        """
        named = [table for table in self.tables if sheet is not None and table.sheet == sheet]
        if sheet is not None and not named:
            for file, error in self.refused.items():
                if sheets_of(file):
                    raise error
        return named or self.tables


@dataclass(frozen=True)
class Asker:
    """Asks what cannot be found out.

    Args:
        translator: language of the questions.
        silent: takes the default of every question that has one, and refuses the others.
    """

    translator: Translator
    silent: bool

    def yes(self, question: Message, *, likely: bool = True) -> bool:
        """The answer to a question of yes or no, ``likely`` by default."""
        if self.silent:
            return likely
        while True:
            answer = self._answer(Message(_LIKELY if likely else _UNLIKELY, question=question))
            if answer.lower() in ("", *YES, *NO):
                return answer.lower() in YES if answer else likely

    def which(self, question: Message, choices: Sequence[str], option: str) -> int:
        """The place of the choice that is taken; ``option`` names what answers it beforehand.

        Raises:
            ValueError: if nobody is asked.
        """
        if self.silent:
            raise Refusal(
                "{question} It cannot be found out: add {option}; choices are {choices}",
                question=question,
                option=option,
                choices=", ".join(choices),
            )
        print(self.translator(question))
        for number, choice in enumerate(choices, start=1):
            print(f"  {number}  {choice}")
        while True:
            answer = self._answer(Message("number from 1 to {n}:", len(choices)))
            if answer.isdecimal() and 1 <= int(answer) <= len(choices):
                return int(answer) - 1

    def wait(self, message: Message) -> None:
        """Wait until somebody has read a message."""
        if not self.silent:
            self._answer(message)

    def _answer(self, question: Message) -> str:
        try:
            return input(f"{self.translator(question)} ").strip()
        except EOFError:
            raise Refusal(
                "nobody answers; --yes takes the likely answer of every question, and the same command goes on"
            ) from None


def _multirun(overrides: Sequence[str]) -> Path:
    """The folder of sweeps, as the configuration has it.

    Raises:
        ValueError: for a word that is no override, and for a folder that is no text.
    """
    from mmbench.cli import compose
    from mmbench.scheduling.configuration import check_sections

    config = compose.first([word for word in overrides if word.lstrip("+").startswith("paths.")]).config
    check_sections(config)
    return Path(config["paths"]["multirun"])


class Guide:
    """Walks through the commands of a company's path.

    Args:
        given: options of the command line.
        overrides: words of the configuration.
        translator: language.
    """

    def __init__(self, given: argparse.Namespace, overrides: Sequence[str], translator: Translator) -> None:
        self.given, self.translator = given, translator
        self.spoken = spoken(translator)
        self.ask = Asker(translator, given.yes)
        self.of_data = [word for word in overrides if word.startswith(OF_DATA)]
        self.of_sweep = [word for word in overrides if not word.startswith(OF_DATA)]
        for file in given.files:
            if not file.exists():
                raise Refusal("{path} is not there; SOURCE is a file, a folder or a .zip", path=file)
            storable(file.resolve())  # the data set is called after it
        first = given.files[0].resolve()
        shared = first.parent.name if len(given.files) > 1 else first.name if first.is_dir() else first.stem
        self.out: Path = given.out or Path("data") / paths.slug([shared])
        self.name = dataset_name(self.out)
        multirun = _multirun(overrides)
        self.file = paths.walk_file(multirun, self.name)
        out = os.path.relpath(self.out.resolve(), multirun.resolve())
        said = [f"--images={given.images}", f"--out={self.out}", *prepare.table_words(given)]
        said += [stamp for place in (*given.files, given.items, given.images) if place for stamp in _stamps(place)]
        self.progress = _read(self.file)
        mine = self.progress.out == out or (not self.progress.out and said[1] in self.progress.given)
        if not mine and self.progress.out and (multirun.resolve() / self.progress.out).exists():
            raise Refusal(
                "--out {folder}: {file} is how far the walk to {other} has come, and results are called after the last "
                "part of the folder; give --out another last part, or the results another folder with "
                "paths.multirun=DIR",
                folder=self.out,
                file=self.file,
                other=os.path.normpath(multirun / self.progress.out),
            )
        if not mine or self.progress.given != said:
            held = mine and "prepare" in self.progress.done and self.out.exists()
            others = Message("{folder} was made from other files or options; make it anew?", folder=self.out)
            self.progress = Walk(said, done={"prepare": BEGUN} if held and self.ask.yes(others) else {})
        self.progress.out = out

    def walk(self) -> None:
        """Every step in turn."""
        self._prepare()
        modalities = modalities_in(self.out)
        reading = [*self.progress.reading, *(word for word in self.of_data if word.startswith("dataset."))]
        self._step(2, ["check", str(self.out), *reading, *self.spoken])
        data = [*dataset_words(self.out), *self.progress.reading, *self.of_data]
        if modalities:
            self._step(3, ["signal", *data, *self.spoken])
        from mmbench.cli.signal import company_words

        mine = {word.lstrip("+").partition("=")[0] for word in self.of_sweep}
        planned = company_words(data, modalities, self.name, self.given.budget)
        sweep = [*(word for word in planned if word.partition("=")[0] not in mine), *self.of_sweep]
        run = ["-m", *sweep, *self.spoken]
        if "run" in self.progress.done and not paths.manifest_file(self._sweep_dir(sweep)).exists():
            del self.progress.done["run"]  # its folder was removed, and there is nothing to decide from
        if not self._is_done("run", run):
            self._step(4, ["plan", *sweep, *self.spoken])
            if not self.ask.yes(Message("Start the sweep now?")):
                self._say(Message("next: {command}", command=command_line(run)))
                return
        self._step(5, run)
        if "image" not in modalities:
            self._say(
                Message(
                    "The items have no images, so there is nothing to decide about them; {folder} holds what texts are "
                    "worth. Start again with --images DIR once there are some.",
                    folder=paths.report_dir(self._sweep_dir(sweep)),
                )
            )
            return
        economics = f"economics={self._economics()}"
        self._step(6, ["decide", str(self._sweep_dir(sweep)), economics, *self._vouched(), *self.spoken])

    def _sweep_dir(self, sweep: Sequence[str]) -> Path:
        """Folder of the sweep, as the configuration has it."""
        from mmbench.cli import compose, habits

        return compose.first(habits.ours(sweep, multirun=True)).job().sweep_dir

    def _vouched(self) -> list[str]:
        """Words of ``decide`` for the folders that this command line named and that a record alone would not open."""
        pictures = (word.removeprefix("images=") for word in self.progress.prepare if word.startswith("images="))
        places = [path for path in (self.out, *map(Path, pictures)) if path.is_dir() and not NOTHING.may_read(path)]
        return [part for path in dict.fromkeys(places) for part in ("--allow", str(path))]

    def _economics(self) -> str:
        """The file of the company's own sums; one to be edited is written where there is none."""
        if self.given.economics:
            return str(self.given.economics)
        name = economics_in(self.translator.lang)
        file = template_file(name)
        if not file.exists():
            self._run(["decide", "--template", name, *self.spoken])
            self.ask.wait(Message("Edit {file} now, or leave it as it is; then press Enter:", file=file))
        return str(file)

    def _prepare(self) -> None:
        """The dataset folder, with what only a person knows asked for."""
        if not self.progress.prepare:
            self.progress.prepare = [*self._source(), *self._images()]
            self._save()
        words = self._prepare_words()
        if self._is_done("prepare", words):
            self._head(1, words, done=True)
            return
        asked: set[tuple[str, ...]] = set()
        while True:  # what an answer brings to light may be asked about too
            questions = [question for question in self._prepared() if question.words not in asked]
            asked |= {question.words for question in questions}
            answers = list(self._answers(questions))
            if not answers:
                break
            self.progress.prepare += answers
            self._save()
        self._mark("prepare", self._prepare_words())

    def _prepare_words(self) -> list[str]:
        return ["prepare", *self.progress.prepare, "--out", str(self.out), *self.spoken]

    def _prepared(self) -> list[Question]:
        """Run prepare once; what it could not find out."""
        # A folder that this walk has begun is its own, from another command or a killed one.
        overwrite = self.given.overwrite or "prepare" in self.progress.done
        words = [*self._prepare_words(), *(["--overwrite"] if overwrite else [])]
        self._head(1, words)
        if overwrite or not (self.out.exists() and any(self.out.iterdir())):
            self.progress.done["prepare"] = BEGUN  # what it leaves behind if it is killed may be replaced
            self._save()
        prepared = prepare.main(words[1:])
        self.progress.reading = prepared.reading
        return prepared.questions

    def _answers(self, questions: Sequence[Question]) -> Iterator[str]:
        """Words of ``prepare`` that the answers add."""
        by_option: dict[tuple[str, ...], list[Question]] = {}
        for question in questions:
            option = question.words[:1]
            by_option.setdefault(question.words if REPEATED.issuperset(option) else option, []).append(question)
        for alike in by_option.values():
            for question in alike:
                # Where two columns could be it, neither is likely.
                likely = question.likely and len(alike) == 1
                add = Message("{message}. Add {words}?", message=question.message, words=" ".join(question.words))
                if self.ask.yes(add, likely=likely):
                    yield from question.words
                    break

    def _source(self) -> list[str]:
        """Words of ``prepare`` that name the files, and the columns that have no usual name."""
        files, options = _unfolded(self.given.files), prepare.table_words(self.given)
        if not is_table(files[0]) or detected(files[0]) != "table":
            if len(files) > 1:
                raise Refusal(
                    "{path} is a source by itself, and {other} is none of its files", path=files[0], other=files[1]
                )
            return [str(files[0]), *options]
        log, items = self._tables(files)
        words = [str(log.path), *(["--sheet", log.sheet] if log.sheet and not self.given.sheet else [])]
        for role in ("user", "item"):
            if not (log.plays(role) or getattr(self.given, role) or self.given.map):
                asked = {"user": Message("Which column says who bought?"), "item": Message("Which one says what?")}
                column = log.names[self.ask.which(asked[role], log.names, f"--{role}")]
                words += [f"--{role}", column]
        if items is not None:
            words += ["--items", str(items.path)]
            words += ["--items-sheet", items.sheet] if items.sheet and not self.given.items_sheet else []
            if not (items.plays("listed item") or self.given.item_column):
                question = Message("Which column of {table} is the item?", table=str(items))
                words += ["--item-column", items.names[self.ask.which(question, items.names, "--item-column")]]
            if not (items.plays("text") or self.given.text):
                question = Message("Which column of {table} is its name or description?", table=str(items))
                words += ["--text", items.names[self.ask.which(question, items.names, "--text")]]
        return [*words, *options]

    def _tables(self, files: Sequence[Path]) -> tuple[TableSource, TableSource | None]:
        """The table of the purchases and, unless ``--items`` names one or no other is there, that of the items."""
        given = self.given
        as_log = as_items = (given.encoding, given.sheet)
        if given.items is None:
            as_items = (given.items_encoding or given.encoding, given.items_sheet)
        # Each is looked for in the way that prepare will read it: a file that cannot be the one may be the other.
        logs = _readable(files, *as_log)
        lists = logs if as_items == as_log else _readable(files, *as_items)
        for file, error in logs.refused.items():
            if file in lists.refused:
                raise error if file == files[0] else lists.refused[file]
        tables = logs.of_sheet(given.sheet)
        if not tables:  # the only file is none of purchases, or a workbook without any cell
            TableFile(files[0], *as_log).header()
        if given.items is None and given.items_sheet:
            tables = [table for table in tables if table.sheet != given.items_sheet] or tables
        log = self._which(
            tables, ("user", "item"), Message("Which table holds the purchases?"), file="FILE", sheet="--sheet"
        )
        others = [table for table in lists.of_sheet(as_items[1]) if table.place != log.place]
        if given.items is not None or not others:
            return log, None
        question = Message("Which table lists the items?")
        return log, self._which(others, ("listed item", "text"), question, file="--items", sheet="--items-sheet")

    def _which(
        self, tables: Sequence[TableSource], roles: Sequence[str], question: Message, *, file: str, sheet: str
    ) -> TableSource:
        """The only table, else the only likely one, whose columns play all roles, else the one that is answered.

        ``file`` and ``sheet`` are the words that name it beforehand, ``sheet`` where all tables are sheets.
        """
        likely = [table for table in tables if table.plays(*roles)]
        if len(tables) == 1 or len(likely) == 1:
            return (likely or tables)[0]
        option = sheet if all(table.sheet for table in tables) else file
        return tables[self.ask.which(question, list(map(str, tables)), option)]

    def _images(self) -> list[str]:
        """Words of ``prepare`` that encode pictures with what is on this machine."""
        if any(word.startswith("image") for word in self.given.encode):
            return []
        folder = self.given.images
        beside = (self.given.files[0] if self.given.files[0].is_dir() else self.given.files[0].parent) / "images"
        if folder is None and beside.is_dir() and self.ask.yes(Message("Are the pictures in {folder}?", folder=beside)):
            folder = beside
        if folder is None:
            return []
        if not folder.is_dir():
            raise Refusal("--images {path} is not a folder", path=folder)
        from mmbench.encoders import images

        *others, best = images.installed()
        words = [f"image={best}", *(f"image@{name}={name}" for name in others[:1]), f"images={folder}"]
        return [part for word in words for part in ("--encode", word)]

    def _step(self, number: int, words: Sequence[str]) -> None:
        """Run a command unless it is done; a decision is made anew, because its sums may have changed."""
        name = "run" if words[0] == "-m" else words[0]
        done = name != "decide" and self._is_done(name, words)
        self._head(number, words, done=done)
        if not done:
            self._run(words, shown=True)
            self._mark(name, words)

    def _run(self, words: Sequence[str], *, shown: bool = False) -> None:
        """Run a command as the command line does."""
        from mmbench.cli import run_command

        if not shown:
            print(f"\n$ {command_line(words)}", flush=True)
        try:
            run_command(["run", *words] if words[0] == "-m" else words)
        except SystemExit as end:
            if end.code:
                self._say(
                    Message(
                        "{command} has not ended well; correct what it says, and the same start goes on from here",
                        command=command_line(words),
                    )
                )
                raise

    def _head(self, number: int, words: Sequence[str], *, done: bool = False) -> None:
        said = Message("step {number} of 6", number=number)
        if done:
            said = Message("step {number} of 6: done before", number=number)
        print(f"\n=== {self.translator(said)} ===\n$ {command_line(words)}", flush=True)

    def _say(self, message: Message) -> None:
        print(f"\n{self.translator(message)}", flush=True)

    def _token(self, words: Sequence[str]) -> str:
        """Hash of a command and of the data that it sees."""
        return fingerprint.of_json([list(words), *_stamps(self.out)])

    def _is_done(self, name: str, words: Sequence[str]) -> bool:
        return self.progress.done.get(name) == self._token(words)

    def _mark(self, name: str, words: Sequence[str]) -> None:
        self.progress.done[name] = self._token(words)
        self._save()

    def _save(self) -> None:
        write_document(self.file, msgspec.to_builtins(self.progress))


def _read(file: Path) -> Walk:
    """The progress of a walk, or a new one."""
    if not file.exists():
        return Walk()
    said = {key: value for key, value in read_document(file).items() if key != "schema_version"}
    try:
        return msgspec.convert(said, Walk)
    except msgspec.ValidationError as error:
        raise Refusal(
            "{path} is no progress of a walk: {error}; remove it and start", path=file, error=error
        ) from error


def _stamps(place: Path) -> list[str]:
    """A file or the files of a folder, with what changes when they do."""
    held = sorted(place.iterdir()) if place.is_dir() else [place] if place.exists() else []
    stamps = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in held if path.is_file()]
    return [stamp.encode(errors="backslashreplace").decode() for stamp in stamps]  # a name may be no UTF-8


def _unfolded(files: Sequence[Path]) -> list[Path]:
    """The files, or the tables of a folder that is of no known format by itself."""
    folder = files[0]
    tables = [path for path in visible_in(folder) if is_table(path)] if folder.is_dir() else []
    try:
        known = not tables or len(files) > 1 or detected(folder) != "table"
    except Refusal:
        known = False
    return list(files) if known else tables


def _readable(files: Sequence[Path], encoding: str, sheet: str | None) -> Readable:
    """The tables of files: one of each, or one for each sheet that has cells.

    Args:
        files: where to look.
        encoding: of text tables.
        sheet: the only sheet of workbooks that is looked at.
    """
    read = Readable([], {})
    for file in files:
        sheets: Sequence[str | None] = sheets_of(file)
        named = not sheets or sheet is not None
        for one in sheets if not named else [sheet if sheets else None]:
            try:
                names = TableFile(file, encoding, one).header().names
            except Refusal as error:
                if named:  # any other is an empty sheet, or one with notes
                    read.refused[file] = error
            else:
                read.tables.append(TableSource(file, one, tuple(names)))
    return read
