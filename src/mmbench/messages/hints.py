"""Hints at what a user may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from mmbench.messages import Message

#: How alike a name must be to be hinted at, and to be taken for a slip where many other names are allowed.
ALIKE, SLIP = 0.6, 0.8
#: Names that a line still holds, as there are models and data sets, and how many are shown where there are more.
MOST, SHOWN = 50, 5


def did_you_mean(word: str, allowed: Iterable[str]) -> Message:
    """A hint at the nearest allowed name, and the list of all of them; of very many, of those that are most like it."""
    names = sorted(allowed)
    close = nearest(word, names)
    listed: str = ", ".join(names) or Message("nothing")
    if len(names) > MOST:
        alike = ", ".join(sorted(difflib.get_close_matches(word, names, n=SHOWN, cutoff=0.0)))
        listed = Message.counted("{names} and {n} other", "{names} and {n} others", len(names) - SHOWN, names=alike)
    if close is not None:
        return Message("did you mean {close}? accepted: {names}", close=close, names=listed)
    return Message("accepted: {names}", names=listed)


def nearest(word: str, names: Iterable[str], alike: float = ALIKE) -> str | None:
    """The name that is most like a word, None where none is."""
    return next(iter(difflib.get_close_matches(word, list(names), n=1, cutoff=alike)), None)
