"""Which condition is the control of which, by the states of their modalities, and the words that run it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mmbench.data.conditions import SLICE
from mmbench.messages.commands import quoted
from mmbench.report.table import CONDITIONS
from mmbench.store.schema import Cell

#: Modalities with their states, in the order of their names.
States = tuple[tuple[str, str], ...]


def part_of(cell: Cell, modality: str) -> str:
    """The slice that a condition leaves a modality to, all other modalities whole; empty for any other condition."""
    condition = cell.config.get("modality", {})
    lost = {name: rate for name, rate in condition.get("missing", {}).items() if rate}
    sliced = condition.get("missing_rule") == SLICE and lost == {modality: 1}
    return str(condition["missing_slice"]) if sliced and cell.states.get(modality, "drop") != "drop" else ""


def partial_overrides(modality: str, part: str) -> tuple[str, ...]:
    """What the command line takes to leave a modality to the items of a slice; nothing where there is none.

    A label that the command line would read as something else stands in quotes.
    """
    if not part:
        return ()
    if not re.fullmatch(r"[a-zA-Z0-9_:+.-]+( [a-zA-Z0-9_:+.-]+)*", part):
        part = quoted(part)
    return (f"modality.missing.{modality}=1", f"modality.missing_rule={SLICE}", f"modality.missing_slice={part}")


def by_name(states: Mapping[str, str]) -> States:
    """The states of a condition in the order of the names of its modalities."""
    return tuple(sorted(states.items()))


def is_real(states: Mapping[str, str]) -> bool:
    """Whether no modality of a condition is changed: each is real or left out."""
    return {*states.values()} <= {"real", "drop"}


def control_states(states: Mapping[str, str], modality: str) -> States | None:
    """States of the control of a real condition, its own with one modality shuffled; None where it has no control.

    Args:
        states: state of each modality.
        modality: the modality that is shuffled; a condition without it is its own control.
    """
    real = is_real(states) and states.get(modality) == "real"
    return by_name({**states, modality: "shuffle"}) if real else None


def control_of(states: Mapping[str, str], condition: str, modality: str) -> str:
    """What the command line takes to run the control of a real condition.

    Args:
        states: state of each modality.
        condition: its name.
        modality: the modality that is shuffled.
    """
    others = [name for name, state in states.items() if state == "real" and name != modality]
    named = ["_".join([*others, "shuffled", modality])]
    if {*states.values()} == {"real"}:
        named.append(f"fused_shuffled_{modality}")
    if known := [name for name in named if name in CONDITIONS]:
        return f"modality={known[0]}"
    option = condition.partition("_missing")[0]
    return f"modality={option} modality.states.{modality}=shuffle"


def without(states: Mapping[str, str], modality: str) -> str:
    """What the command line takes to run a real condition without a modality.

    Args:
        states: state of each modality.
        modality: the modality that is left out.
    """
    others = sorted(name for name, state in states.items() if state == "real" and name != modality)
    named = "_".join(others) or "none"
    if named in CONDITIONS:
        return f"modality={named}"
    return " ".join(["modality=none", *(f"modality.states.{name}=real" for name in others)])
