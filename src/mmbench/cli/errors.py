"""Errors a user can cause end in one line and exit code 2, in the language the command was asked to speak."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence

from mmbench.messages import LANGUAGES, Message, Translator
from mmbench.messages.refused import told


@contextlib.contextmanager
def one_line_errors(argv: Sequence[str], *, goes_on: bool = True) -> Iterator[None]:
    """Print an error of the user, the system or memory as one line, exit with 2; ``debug=true`` shows its traceback.

    Args:
        argv: the command line.
        goes_on: whether the same command, once it was stopped, goes on from there.
    """
    translator = Translator(language_in(argv))
    try:
        yield
    except (ValueError, OSError, MemoryError) as error:
        if "debug=true" in argv:
            traceback.print_exc()
        message = " ".join(translator(told(error)).split())
        print(printable(translator(Message("error: {message}", message=message))), file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        if goes_on:
            stopped = Message("stopped; the same command goes on from here")
        else:
            stopped = Message("stopped; the same command begins anew")
        print(translator(stopped), file=sys.stderr)
        raise SystemExit(130) from None


#: Control characters but for the end of a line, and characters that turn the direction of a text around.
_UNPRINTABLE = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in (*range(10), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


def printable(text: str) -> str:
    """Text for a terminal: what names in a file could do to it is shown in its place."""
    return text.translate(_UNPRINTABLE)


def language_in(argv: Iterable[str]) -> str:
    """Language of the last ``lang=`` on a command line; English if it is missing or unknown."""
    asked = [word.removeprefix("lang=") for word in argv if word.startswith("lang=")]
    return asked[-1] if asked and asked[-1] in LANGUAGES else LANGUAGES[0]
