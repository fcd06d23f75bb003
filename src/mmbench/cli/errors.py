"""Errors a user can cause end in one line and exit code 2."""

from __future__ import annotations

import contextlib
import difflib
import sys
from collections.abc import Iterable, Iterator, Sequence


@contextlib.contextmanager
def one_line_errors(argv: Sequence[str]) -> Iterator[None]:
    """Print a ``ValueError`` or ``OSError`` as one line and exit with 2; ``debug=true`` lets the traceback through."""
    try:
        yield
    except (ValueError, OSError) as error:
        if "debug=true" in argv:
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """A hint at the nearest allowed name, and the list of all of them."""
    names = sorted(allowed)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}accepted: {', '.join(names) or 'nothing'}"
