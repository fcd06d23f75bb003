"""Checks of hyper-parameters, with one message each."""

from __future__ import annotations

from collections.abc import Collection

from mmbench.messages import Refusal


def rate(name: str, value: float) -> float:
    """A dropout rate as it is.

    Raises:
        ValueError: outside [0, 1).
    """
    if not 0.0 <= value < 1.0:
        raise Refusal("{name}={value} must be at least 0 and less than 1", name=name, value=value)
    return value


def one_of(name: str, value: str, allowed: Collection[str]) -> str:
    """A word as it is.

    Raises:
        ValueError: naming the allowed words.
    """
    if value not in allowed:
        raise Refusal("{name}={value!r} must be one of {allowed}", name=name, value=value, allowed=", ".join(allowed))
    return value
