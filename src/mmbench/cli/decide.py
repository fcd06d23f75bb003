"""``python -m mmbench decide SWEEP [economics=FILE] [lang=en|ja] [dataset=NAME] [model=NAME] [serving=false]``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmbench.cli.compose import tracker as asked_tracker
from mmbench.cli.errors import printable
from mmbench.cli.words import Parser, add_allow, next_line, spoken, take_language, take_tracking, tell_loading
from mmbench.messages import Message, Refusal, Translator
from mmbench.messages.commands import of_this_sweep
from mmbench.messages.hints import did_you_mean
from mmbench.messages.refused import reading

KEYS = ("economics", "lang", "dataset", "model", "serving")


def main(argv: Sequence[str]) -> None:
    """Decide from the records of a sweep, or replay a decision record."""
    translator, words = take_language(argv)
    parser = _parser(translator)
    asked = parser.parse_intermixed_args(words)
    if asked.template is not None and asked.sweep is not None:  # without a sweep, the first setting takes its place
        asked.settings, asked.sweep = [str(asked.sweep), *asked.settings], None
    tracking, words = take_tracking(asked.settings)
    settings = read_settings(words, translator.lang)
    if asked.template is not None:
        from mmbench.cli.economics_file import write_template  # --help does without scipy

        print(write_template(asked.template, translator))
        return
    if asked.sweep is None:
        parser.error("the following arguments are required: sweep")
    with reading(asked.sweep):
        if asked.sweep.is_file():
            if others := [*words, *tracking]:
                raise Refusal(
                    "{file} is the record of a decision and holds all of its inputs; beside it only lang may be set, "
                    "not {words}",
                    file=asked.sweep,
                    words=" ".join(others),
                )
            print(printable(_replayed(asked.sweep, translator)))
            return
        tell_loading(translator)
        from mmbench.cli.decide_sweep import decide_sweep
        from mmbench.scheduling.trust import Trust

        trust, tracker = Trust.of(asked.allow), asked_tracker(tracking, asked.sweep)
        command = _command(asked, [*words, *spoken(translator)])
        print(printable(decide_sweep(asked.sweep, settings, command, trust, tracker)), end="")
        if not Path(settings["economics"]).suffix:  # sums of the package, of no particular company
            print("\n" + next_line(["decide", "--template", settings["economics"]], translator))


def _parser(translator: Translator) -> Parser:
    parser = Parser(
        prog="python -m mmbench decide",
        description=translator(
            Message("Should images be added? Writes report/decision.html and report/decision.json of a sweep.")
        ),
    )
    parser.add_argument(
        "sweep",
        type=Path,
        nargs="?",
        help=translator(Message("folder of the sweep, or a decision.json to decide again from")),
    )
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="key=value",
        help=translator(
            Message(
                "economics=FILE or a name in conf/economics (default, with lang=ja yen), lang=en or ja, dataset=NAME, "
                "model=NAME whose slices, hits and examples are shown (the answer is that of all models), "
                "serving=false to measure no latency, tracking=wandb to show the decision in W&B, or any other "
                "tracking word of a sweep"
            )
        ),
    )
    parser.add_argument(
        "--template",
        metavar="NAME",
        help=translator(
            Message(
                "write economics-NAME.yaml to be edited, with the sums of conf/economics/NAME.yaml (default or yen) "
                "and what each means, and decide nothing"
            )
        ),
    )
    add_allow(parser, translator)
    return parser


def _command(asked: argparse.Namespace, settings: Sequence[str]) -> Message:
    """The command that gives the same page again."""
    allowed = [word for allow in asked.allow for word in ("--allow", allow)]
    return of_this_sweep("decide", *settings, *allowed)


def read_settings(words: Sequence[str], lang: str = "en") -> dict[str, str]:
    """Settings by key.

    Args:
        words: those of the command line but for its language.
        lang: its language, which decides between the sums of the package.

    Raises:
        ValueError: naming the word, and what is accepted.
    """
    settings = {"lang": lang, "serving": "true"}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in KEYS:
            raise Refusal("{word} is not a setting of decide; {hint}", word=word, hint=did_you_mean(key, KEYS))
        settings[key] = value
    if settings["serving"] not in ("true", "false"):
        raise Refusal("{key}={value} must be true or false", key="serving", value=settings["serving"])
    return {"economics": economics_in(lang), **settings}


def economics_in(lang: str) -> str:
    """The name in ``conf/economics`` of the sums, of no particular company, that readers of a language know."""
    return "yen" if lang == "ja" else "default"


def _replayed(file: Path, translator: Translator) -> str:
    """The answer of a record, in the language that was asked for.

    Raises:
        ValueError: if its inputs cannot be read, or lead to another answer or other numbers.
    """
    from mmbench.decision import replay
    from mmbench.decision.page.phrases import BADGES
    from mmbench.decision.record import holds
    from mmbench.store.files import read_document

    record = read_document(file)
    decision = replay(record)
    result = record.get("result")
    was = result.get("action") if isinstance(result, Mapping) else None
    if decision.action != was:
        raise Refusal("{file} says {was}, but its inputs give {action}", file=file, was=was, action=decision.action)
    if not holds(record):
        raise Refusal("{file} says {was}, but its inputs give that with other numbers", file=file, was=was)
    return translator(Message("{answer}, as in {file}", answer=BADGES[decision.action], file=file))
