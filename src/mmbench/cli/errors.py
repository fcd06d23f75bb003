"""How a command ends by an error: one line and code 2 for what a user can cause, 70 for a fault of the program."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence

from mmbench.messages import LANGUAGES, Message, Translator
from mmbench.messages.refused import told

#: What is said after Ctrl-C, by whether the same command goes on.
STOPPED = {
    True: Message("stopped; the same command goes on from here"),
    False: Message("stopped; the same command begins anew"),
}


@contextlib.contextmanager
def one_line_errors(argv: Sequence[str], *, goes_on: bool = True) -> Iterator[None]:
    """Print an error of the user, the system or memory as one line, exit with 2; ``debug=true`` shows its traceback.

    Any other exception is a fault of the program: its traceback is shown, and the code is ``EX_SOFTWARE``, so that
    nobody takes it for 1, with which a sweep ends one of whose cells failed. Where nobody reads standard output any
    more, as after ``| head``, nothing is said, and the code is that of SIGPIPE.

    Args:
        argv: the command line.
        goes_on: whether the same command, once it was stopped, goes on from there.
    """
    translator = Translator(language_in(argv))
    try:
        try:
            yield
        finally:
            _print_what_is_left()
    except (ValueError, OSError, MemoryError) as error:
        if isinstance(error, BrokenPipeError) and _is_unread():
            _let_go()
            raise SystemExit(128 + signal.SIGPIPE) from None
        if "debug=true" in argv:
            traceback.print_exc()
        message = " ".join(translator(told(error)).split())
        print(printable(translator(Message("error: {message}", message=message))), file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(translator(STOPPED[goes_on]), file=sys.stderr)
        raise SystemExit(130) from None
    except Exception:
        traceback.print_exc()
        raise SystemExit(os.EX_SOFTWARE) from None


def _print_what_is_left() -> None:
    """What the interpreter would print at its end, where it has no one-line errors."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _let_go()
        error.filename = Message("standard output")
        raise


def _is_unread() -> bool:
    """Whether standard output is a pipe that nobody reads any more."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    return bool(output.poll(0))


def _let_go() -> None:
    """Send what nothing takes nowhere, so that the interpreter does not try again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
