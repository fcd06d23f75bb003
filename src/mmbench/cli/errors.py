"""Errors a user can cause end in one line and exit code 2."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


@contextlib.contextmanager
def one_line_errors(argv: Sequence[str]) -> Iterator[None]:
    """Print a ``ValueError`` or ``OSError`` as one line and exit with 2; ``debug=true`` shows its traceback first."""
    try:
        yield
    except (ValueError, OSError) as error:
        if "debug=true" in argv:
            traceback.print_exc()
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
            raise ValueError(f"{section}.{key} is not a key of {section}; {did_you_mean(key, accepted)}")
