"""Any error that a user can cause as a :class:`mmbench.messages.Refusal`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mmbench.messages import Message, Refusal, Template

#: An error of the operating system, and one of a library.
_SYSTEM = Template("{error}", context="operating system")
FOREIGN = Template("{error}", context="library")


def told(error: ValueError | OSError | MemoryError) -> Message:
    """The sentence of an error that a user, the system or the memory causes."""
    if isinstance(error, Refusal):
        return error.message
    said = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return Message("there is not enough memory: {error}", error=said or type(error).__name__)
    return Message(_SYSTEM if isinstance(error, OSError) else FOREIGN, error=said)


@contextlib.contextmanager
def reading(place: Path) -> Iterator[None]:
    """Turn any error of reading a sweep or an archive into one that ends in one line.

    What somebody else wrote can be wrong in more ways than readers look for; ``debug=true`` shows the traceback.
    """
    try:
        yield
    except (Refusal, OSError, MemoryError):
        raise
    except Exception as error:
        raise Refusal(
            "{place} cannot be read, its records do not go together: {kind}: {error}",
            place=place,
            kind=type(error).__name__,
            error=error,
        ) from error


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Raise the same error for everything that a user can cause, with the line that a command would print."""
    try:
        yield
    except Refusal:
        raise
    except (ValueError, OSError, MemoryError) as error:
        raise Refusal(told(error)) from error
