"""Command lines: of the form ``FOLDER key=value ...``, and a parser for the others."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import typing
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from mmbench.messages import Message, Refusal, Translator
from mmbench.messages.commands import command_line, override
from mmbench.messages.hints import did_you_mean
from mmbench.paths import slug

if TYPE_CHECKING:
    from mmbench.winner.chosen import Winner

T = TypeVar("T")
_TRUTH = {"true": True, "false": False}


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are errors like all others: one line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Refuse a command line."""
        raise Refusal("{message}; {prog} --help explains", message=message, prog=self.prog)


class Number(argparse.Action):
    """An option that takes a number; anything else is refused with the name of the option and what is allowed.

    Args:
        option_strings: its names.
        dest: where the number goes.
        kind: ``int`` or ``float``.
        least: the smallest whole number allowed; None for any number.
        described: what argparse asks of every option.
    """

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,
        kind: type[int] | type[float] = int,
        least: int | None = None,
        **described: Any,
    ) -> None:
        super().__init__(option_strings, dest, **described)
        self.kind, self.least = kind, least

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Keep the number.

        Raises:
            ValueError: for another word, and for a smaller number.
        """
        setattr(namespace, self.dest, _number(self.option_strings[0], str(values), self.kind, self.least))


def folder_and_pairs(argv: Sequence[str], command: str) -> tuple[Path, list[tuple[str, str]]]:
    """The folder and the ``key=value`` words of a command line.

    Raises:
        ValueError: for no folder, or a second one.
    """
    plain = [word for word in argv if "=" not in word or os.path.isdir(word)]
    if len(plain) != 1 or plain[0].startswith("-"):
        if plain:
            raise Refusal(
                "python -m mmbench {command} takes one folder and words key=value, not {found}; --help explains",
                command=command,
                found=" ".join(plain),
            )
        raise Refusal(
            "python -m mmbench {command} takes one folder and words key=value; --help explains", command=command
        )
    pairs = (word.partition("=") for word in argv if word != plain[0])
    return Path(plain[0]), [(key, value) for key, _, value in pairs]


def take_language(argv: Iterable[str]) -> tuple[Translator, list[str]]:
    """The translator that ``lang=ja`` asks for, English without it, and the other words of the command line.

    ``debug=true``, which :func:`mmbench.cli.errors.one_line_errors` reads, is left out too.

    Raises:
        ValueError: for a language without a catalogue, and for a ``debug`` that is neither true nor false.
    """
    others: list[str] = []
    languages: list[str] = []
    for word in argv:
        key, equals, value = word.partition("=")
        if key == "lang":
            languages.append(value)
        elif key == "debug" and equals:
            _converted(key, value, bool)
        else:
            others.append(word)
    return Translator(*languages[-1:]), others


def take_tracking(argv: Iterable[str]) -> tuple[list[str], list[str]]:
    """The ``tracking`` words of a command line and the others."""
    words = list(argv)
    tracking = [word for word in words if word.startswith(("tracking=", "tracking."))]
    return tracking, [word for word in words if word not in tracking]


def spoken(translator: Translator) -> list[str]:
    """The word that lets another command speak the same language; none for English."""
    return [] if translator.lang == "en" else [f"lang={translator.lang}"]


def next_line(words: Iterable[str], translator: Translator) -> str:
    """The line that names the next command of a company's path, in the language of this one."""
    return translator(Message("next: {command}", command=command_line([*words, *spoken(translator)])))


def dataset_name(folder: Path) -> str:
    """The name of the data set in a folder."""
    return slug([folder.resolve().name])


def dataset_words(folder: Path) -> list[str]:
    """The words that name a dataset folder to a command that is configured."""
    return [
        "dataset=folder",
        override("dataset.name", dataset_name(folder)),
        override("dataset.path", str(folder)),
    ]


def tell_loading(translator: Translator) -> None:
    """Say that libraries load, before torch does and with it what takes seconds; nothing where it is there already.

    On stderr, because what a command prints may be read by a program.
    """
    if "torch" not in sys.modules:
        print(translator(Message("mmbench: loading")), file=sys.stderr, flush=True)


def add_allow(parser: argparse.ArgumentParser, translator: Translator) -> None:
    """Let a command that reads a sweep or an archive vouch for what its records name."""
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="WORD",
        help=translator(
            Message(
                "vouch for what the records name: the class of a model, as in mine.Mine, a folder of data outside of "
                "this one and of $MMBENCH_DATA, or the word world for planted worlds of any size; may be given again"
            )
        ),
    )


def add_winner(parser: argparse.ArgumentParser, translator: Translator) -> None:
    """Let a command name a cell of a sweep whose chosen configuration it uses."""
    parser.add_argument("sweep", type=Path, help=translator(Message("folder of the sweep, for example multirun/first")))
    parser.add_argument(
        "--cell",
        required=True,
        metavar="NAME",
        help=translator(Message("data set, model and condition, for example ml100k/fusion/text or ml100k/ease")),
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help=translator(Message("folder with the data sets, where they lie elsewhere")),
    )
    add_allow(parser, translator)


def winner_of(asked: argparse.Namespace) -> Winner:
    """The winner that :func:`add_winner` was told.

    Raises:
        ValueError: as :func:`mmbench.winner.chosen.read_winner`.
    """
    from mmbench.audit.recorded import Sources
    from mmbench.scheduling.trust import Trust
    from mmbench.winner.chosen import read_winner

    return read_winner(asked.sweep, asked.cell, Sources(Trust.of(asked.allow), asked.data))


def settings(pairs: Sequence[tuple[str, str]], kind: type[T]) -> T:
    """Make a dataclass of settings from ``key=value`` words.

    Raises:
        ValueError: for a key it lacks or a value of another type.
    """
    hints = typing.get_type_hints(kind)
    allowed = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key not in allowed:
            hint = did_you_mean(key, allowed)
            raise Refusal(
                "{key}={value}: there is no setting {quoted}; {hint}", key=key, value=value, quoted=repr(key), hint=hint
            )
        values[key] = _converted(key, value, hints[key])
    return kind(**values)


def _converted(key: str, value: str, hint: Any) -> Any:
    if hint is bool:
        if value not in _TRUTH:
            raise Refusal("{key}={value} must be true or false", key=key, value=value)
        return _TRUTH[value]
    return _number(key, value, hint) if hint in (int, float) else value


def _number(key: str, value: str, kind: type[int] | type[float], least: int | None = None) -> int | float:
    """The number that a word of a command line says; ``least`` goes with whole numbers."""
    with contextlib.suppress(ValueError):
        number = kind(value)
        if least is None or number >= least:
            return number
    if least is not None:
        raise Refusal("{key}={value} must be a whole number of at least {least}", key=key, value=value, least=least)
    if kind is int:
        raise Refusal("{key}={value} must be a whole number", key=key, value=value)
    raise Refusal("{key}={value} must be a number", key=key, value=value)
