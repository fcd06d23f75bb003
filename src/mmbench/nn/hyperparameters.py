"""Hyper-parameters that several models have: their checks, and who reads them; without torch, for reports."""

from __future__ import annotations

import math
from collections.abc import Collection

from mmbench.messages import Refusal


def rate(name: str, value: float) -> float:
    """Return a dropout rate unchanged.

    Raises:
        ValueError: outside [0, 1).
    """
    if not 0.0 <= value < 1.0:
        raise Refusal("{name}={value} must be at least 0 and less than 1", name=name, value=value)
    return value


def one_of(name: str, value: str, allowed: Collection[str]) -> str:
    """Return a word unchanged.

    Raises:
        ValueError: if it is not one of the allowed words; the message names them.
    """
    if value not in allowed:
        raise Refusal("{name}={value!r} must be one of {allowed}", name=name, value=value, allowed=", ".join(allowed))
    return value


def positive(name: str, value: float) -> float:
    """Return a number unchanged.

    Raises:
        ValueError: if it is not positive and finite.
    """
    if not (isinstance(value, int | float) and 0.0 < value < math.inf):
        raise Refusal("{key}={value} must be a positive number", key=name, value=value)
    return value


def nonnegative(**values: float) -> None:
    """Check numbers that may be zero, such as weights of terms.

    Args:
        values: by name.

    Raises:
        ValueError: if one is negative, not finite or no number.
    """
    for name, value in values.items():
        if not (isinstance(value, int | float) and 0.0 <= value < math.inf):
            raise Refusal("{key}={value} must be a number of at least 0", key=name, value=value)


def at_least(least: int, **values: int) -> None:
    """Check whole numbers, such as widths and numbers of layers or neighbours.

    Args:
        least: smallest number that has a meaning.
        values: by name.

    Raises:
        ValueError: if one is smaller or no whole number.
    """
    for name, value in values.items():
        if not (isinstance(value, int) and not isinstance(value, bool) and value >= least):
            raise Refusal(
                "{key}={value} must be a whole number of at least {least}", key=name, value=value, least=least
            )


def share(name: str, value: float) -> float:
    """Return a share unchanged.

    Raises:
        ValueError: outside [0, 1].
    """
    if not 0.0 <= value <= 1.0:
        raise Refusal("{name}={value} must be at least 0 and at most 1", name=name, value=value)
    return value


def is_read(name: str, present: Collection[str], of_content: Collection[str] = ()) -> bool:
    """Whether a model that is given some modalities reads a hyper-parameter.

    It does not read what belongs to modalities that it is not given, nor a weight with nothing to weigh it against, and
    without any modality nothing that content alone reads, such as whatever is called ``content_*``.

    Args:
        name: name of the hyper-parameter within the model.
        present: names of the modalities that it is given.
        of_content: what else content alone reads in this model, where the model is known.

    Example:
        >>> is_read("modality_weights.image", ["text"]), is_read("first_modality_weight", ["image", "text"])
        (False, True)
    """
    weight, _, modality = name.partition(".")
    if weight == "first_modality_weight":
        return len(present) >= 2  # of three, too, where one of them has no weight
    if weight in ("modality_weights", "k_of"):
        return modality in present and (weight == "k_of" or len(present) > 2)
    return bool(present) or not (weight.startswith("content_") or weight in of_content)
