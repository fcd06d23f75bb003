"""Any error that a user can cause as a :class:`mmbench.messages.Refusal`."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from mmbench.messages import Message, Refusal, Template

#: An error of the operating system, and one of a library.
_SYSTEM = Template("{error}", context="operating system")
FOREIGN = Template("{error}", context="library")
#: What the operating system says most often of a file, without its number and in any language.
_REASONS = {
    errno.ENOENT: Message("there is no such file or folder"),
    errno.EACCES: Message("permission is denied"),
    errno.EPERM: Message("permission is denied"),
    errno.EROFS: Message("the disk can only be read"),
    errno.ENOSPC: Message("there is no space left on the disk"),
    errno.EISDIR: Message("it is a folder"),
    errno.ENOTDIR: Message("what should be a folder is a file"),
    errno.ENAMETOOLONG: Message("its name is too long"),
    errno.EMFILE: Message("this process may not open as many files (ulimit -n)"),
    errno.ENOLCK: Message("its file system grants no file locks; take a folder on another one"),
}


def told(error: ValueError | OSError | MemoryError) -> Message:
    """The sentence of an error that a user, the system or the memory causes."""
    if isinstance(error, Refusal):
        return error.message
    said = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return Message("there is not enough memory: {error}", error=said or type(error).__name__)
    if not isinstance(error, OSError):
        return Message(FOREIGN, error=said)
    if error.errno not in _REASONS:
        return Message(_SYSTEM, error=said)
    if error.filename is None:
        return Message(_SYSTEM, error=reason(error))
    return Message("{name}: {reason}", name=error.filename, reason=reason(error))


def reason(error: OSError) -> str | None:
    """Why the operating system refuses a file, without the file's name; None for an error without a number."""
    return error.strerror if error.errno is None else _REASONS.get(error.errno, error.strerror)


def first_line(error: Exception) -> str:
    """The first line that a library says of an error, or its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


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
    """Raise the same error for everything that a user can cause, with the line that a command would print.

    A pipe of the program's own that nobody reads any more is the program's to handle.
    """
    try:
        yield
    except (Refusal, BrokenPipeError):
        raise
    except (ValueError, OSError, MemoryError) as error:
        raise Refusal(told(error)) from error
