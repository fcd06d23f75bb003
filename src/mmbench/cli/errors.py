"""Errors a user can cause end in one line and exit code 2, in the language the command was asked to speak."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from mmbench.messages import LANGUAGES, Message, Refusal, Template, Translator

T = TypeVar("T")
#: An error of the operating system, and one of a library.
_SYSTEM = Template("{error}", context="operating system")
FOREIGN = Template("{error}", context="library")


@contextlib.contextmanager
def one_line_errors(argv: Sequence[str]) -> Iterator[None]:
    """Print a ``ValueError`` or ``OSError`` as one line and exit with 2; ``debug=true`` shows its traceback first."""
    translator = Translator(language_in(argv))
    try:
        yield
    except (ValueError, OSError) as error:
        if "debug=true" in argv:
            traceback.print_exc()
        message = " ".join(translator(_message(error)).split())
        print(translator(Message("error: {message}", message=message)), file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(translator(Message("stopped; the same command goes on from here")), file=sys.stderr)
        raise SystemExit(130) from None


def language_in(argv: Iterable[str]) -> str:
    """The language that the last ``lang=`` of a command line asks for; English without one that there is."""
    asked = [word.removeprefix("lang=") for word in argv if word.startswith("lang=")]
    return asked[-1] if asked and asked[-1] in LANGUAGES else LANGUAGES[0]


def _message(error: ValueError | OSError) -> Message:
    if isinstance(error, Refusal):
        return error.message
    return Message(_SYSTEM if isinstance(error, OSError) else FOREIGN, error=str(error))


def did_you_mean(word: str, allowed: Iterable[str]) -> Message:
    """A hint at the nearest allowed name, and the list of all of them."""
    names = sorted(allowed)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    held = ", ".join(names) or Message("nothing")
    if close:
        return Message("did you mean {close}? accepted: {names}", close=close[0], names=held)
    return Message("accepted: {names}", names=held)


def made(section: str, make: Callable[..., T], options: Mapping[str, Any]) -> T:
    """Call ``make`` with a section of the configuration.

    Raises:
        ValueError: for a key of the section that ``make`` does not take.
    """
    check_keys(section, make, options)
    return make(**options)


def check_keys(section: str, make: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuse a key of a section that ``make`` does not take.

    Raises:
        ValueError: naming the key and those that are accepted.
    """
    accepted = [p.name for p in inspect.signature(make).parameters.values() if p.kind is not p.VAR_KEYWORD]
    for key in options:
        if key not in accepted:
            raise Refusal(
                "{section}.{key} is not a key of {section}; {hint}",
                section=section,
                key=key,
                hint=did_you_mean(key, accepted),
            )
