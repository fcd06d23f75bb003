"""What the name of a condition says, and whether the condition of a record is that one.

Tables, verdicts and contrasts go by names, so that two conditions with exchanged names would turn a result round.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from typing import Any

import yaml

from mmbench import paths
from mmbench.data.conditions import RANDOM, SLICE, TAIL, ModalityCondition
from mmbench.messages import Message, Refusal, Template
from mmbench.store.schema import ID_ONLY, Cell

#: Begins a word of the command line that follows the name of a condition in that of a cell.
_WORD = re.compile(r"_(?=(?:default|seed|missing_rule|missing_slice|(?:states|missing)\.\w+)=)")

#: Ends a name that had to change, see :func:`mmbench.paths.slug`.
_SHORTENED = re.compile(r"-[0-9a-f]{6}$")

#: What a modality is without some of its content, by the rule that says which items lose theirs.
LOST = {
    RANDOM: Template("{what} with {share} % of its items without content"),
    TAIL: Template("{what} with {share} % of its items without content, those with the fewest interactions first"),
    SLICE: Template("{what} with {share} % of its items outside {slice} without content"),
}


@functools.cache
def _shipped() -> Mapping[str, dict[str, Any]]:
    """The conditions that come with the package, as they are written."""
    files = sorted((paths.config_dir() / "modality").glob("*.yaml"))
    return {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in files}


def meant_by(name: str, condition: ModalityCondition) -> ModalityCondition | None:
    """The condition that the name of a cell stands for; None for a name of the user's own.

    Args:
        name: name of a condition that comes with the package, or one with the words that change it.
        condition: what the record says it was; a name that had to be shortened is that of the words that lead to it.

    Raises:
        ValueError: for a name that no command gives. Read as YAML, it could grow without bound.
    """
    if name != paths.slug([name]):
        raise Refusal(
            "no command gives a condition the name {name}: names have letters, digits and - . = _, and at most {most} "
            "of them",
            name=name if len(name) <= paths.LONGEST_SLUG else f"{name[: paths.LONGEST_SLUG]}...",
            most=paths.LONGEST_SLUG,
        )
    for stem, section in _shipped().items():
        if name.startswith(stem) and name == paths.slug([stem, *_words(section, condition)]):
            return condition
    stem, *words = _WORD.split(name)  # the same values may be written in other ways
    if stem not in _shipped() or (words and _SHORTENED.search(name)):
        return None
    section = dict(_shipped()[stem])
    for word in words:
        path, _, value = word.partition("=")
        _set(section, path, _value(value))
    return ModalityCondition(**section)


def meaning(name: str, condition: ModalityCondition) -> ModalityCondition | None:
    """As :func:`meant_by`, but None also for a name that no command gives, which is a finding of the audit alone."""
    with contextlib.suppress(Refusal):
        return meant_by(name, condition)
    return None


def check_named(name: str, condition: ModalityCondition) -> None:
    """Refuse to train a condition under the name of another one: its results would not be trusted.

    Args:
        name: what the command asks for, with the words that change it.
        condition: what its configuration says.

    Raises:
        ValueError: naming what is other than the name says; and as :func:`meant_by`.
    """
    meant = meant_by(name, condition)
    if meant is None:
        return
    modalities = {"", *meant.states, *meant.missing, *condition.states, *condition.missing}  # "" is any further one
    if effect(meant, modalities) != effect(condition, modalities):
        own, named = asdict(condition), asdict(meant)
        other = [key for key in own if own[key] != named[key]]
        raise Refusal(
            "modality={name} would be the name of a condition with {own}, and it says {named}; write the condition "
            "into modality/NAME.yaml for modality=NAME, a name of your own, or give its settings as words of the "
            "command",
            name=name,
            own=", ".join(f"{key}={own[key]}" for key in other),
            named=", ".join(f"{key}={named[key]}" for key in other),
        )


def effect(condition: ModalityCondition, modalities: Collection[str]) -> dict[str, Any]:
    """What of a condition the results of a data set with these modalities depend on."""
    missing = {name: rate for name, rate in condition.missing.items() if rate}
    rule = [condition.missing_rule, condition.missing_slice] if missing else []
    states = {name: condition.state(name) for name in sorted(modalities)}
    return {"states": states, "missing": missing, "rule": rule, "seed": condition.seed}


def own_name(cell: Cell) -> list[str]:
    """What a condition with a name of the user's own is; nothing for one whose name says it.

    Args:
        cell: record of the cell.

    Returns:
        Every modality with its state and what it has lost, then the seed where it is not that of the package.
    """
    condition = ModalityCondition(**cell.config.get("modality", {}))
    if cell.modality == ID_ONLY or meaning(cell.modality, condition) is not None:
        return []
    said: list[str] = [
        _with_loss(f"{name} {state}", name, condition)
        for name, state in effect(condition, cell.states)["states"].items()
    ]
    return [*said, Message("seed {seed}", seed=condition.seed)] if condition.seed else said


def untold_losses(cell: Cell) -> list[str]:
    """Modalities that have lost content under a name of the user's own, each with how much; nothing for other names."""
    if not own_name(cell):
        return []
    condition = ModalityCondition(**cell.config.get("modality", {}))
    return [_with_loss(name, name, condition) for name in condition.kept(cell.states) if condition.missing.get(name)]


def _with_loss(what: str, modality: str, condition: ModalityCondition) -> str:
    rate = condition.missing.get(modality, 0.0)
    if not rate or condition.state(modality) == "drop":
        return what
    given = {"slice": condition.missing_slice} if condition.missing_rule == SLICE else {}
    return Message(LOST[condition.missing_rule], what=what, share=f"{100 * rate:g}", **given)


def _value(text: str) -> Any:
    """The value of a word as Hydra reads it: 1e-1 is a number, which it is not for YAML 1.1, and ``no`` is a text."""
    for number in (int, float):
        with contextlib.suppress(ValueError):
            return number(text)
    return None if text.lower() == "null" else text


def _set(section: dict[str, Any], path: str, value: Any) -> None:
    whole, _, part = path.partition(".")
    section[whole] = {**section.get(whole, {}), part: value} if part else value


def _words(section: Mapping[str, Any], condition: ModalityCondition) -> list[str]:
    """The words that lead from a condition of the package to another one, in the order in which a name has them."""
    before, now = (asdict(one) for one in (ModalityCondition(**section), condition))
    words = []
    for name in (field.name for field in fields(ModalityCondition) if field.name != "missing_items"):
        if isinstance(now[name], Mapping):
            words += [f"{name}.{m}={v}" for m, v in now[name].items() if before[name].get(m) != v]
            words += [f"~{name}.{m}" for m in before[name] if m not in now[name]]  # which no command takes away
        elif now[name] != before[name]:
            words.append(f"{name}={now[name]}")
    return sorted(words)
