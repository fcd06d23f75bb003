"""Hints at what a user may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from mmbench.messages import Message


def did_you_mean(word: str, allowed: Iterable[str]) -> Message:
    """A hint at the nearest allowed name, and the list of all of them."""
    names = sorted(allowed)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    listed = ", ".join(names) or Message("nothing")
    if close:
        return Message("did you mean {close}? accepted: {names}", close=close[0], names=listed)
    return Message("accepted: {names}", names=listed)
