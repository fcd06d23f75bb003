"""Hints at what a user may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from mmbench.messages import Message

#: How alike a name must be to be hinted at, and to be taken for a slip where many other names are allowed.
ALIKE, SLIP = 0.6, 0.8


def did_you_mean(word: str, allowed: Iterable[str]) -> Message:
    """A hint at the nearest allowed name, and the list of all of them."""
    names = sorted(allowed)
    close = nearest(word, names)
    listed = ", ".join(names) or Message("nothing")
    if close is not None:
        return Message("did you mean {close}? accepted: {names}", close=close, names=listed)
    return Message("accepted: {names}", names=listed)


def nearest(word: str, names: Iterable[str], alike: float = ALIKE) -> str | None:
    """The name that is most like a word, None where none is."""
    return next(iter(difflib.get_close_matches(word, list(names), n=1, cutoff=alike)), None)
