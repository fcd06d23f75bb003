"""A file of economics to be edited: every number with what it means, and none of them in force."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmbench.decision.economics import INPUTS, RANGE, STEPS, completed
from mmbench.decision.page.phrases import INPUT_NAMES, MONEY, PERCENT
from mmbench.messages import Message, Translator

_WIDTH = 100
_SETTINGS = {
    "tax": Message("excluded or included: the tax in all sums"),
    "machine_hour": Message("price of an hour of the machine that serves"),
    "years": INPUT_NAMES["years"],
    "discount": INPUT_NAMES["discount"],
    "go": INPUT_NAMES["go"],
    "no_go": INPUT_NAMES["no_go"],
}


def economics_template(default: Mapping[str, Any], translator: Translator) -> str:
    """The YAML file.

    Every line but the currency is commented out, so that a number counts as the company's own only where somebody has
    taken its ``#`` away. Keys are dotted, so that no line needs another one.

    Args:
        default: a complete file of economics, nested or by dotted key.
        translator: language of the comments.
    """
    known = completed(default, {})
    currency = known["currency"]
    lines = [
        *_comment(
            Message(
                "What images cost, and what better recommendations are worth. To give a number of your own, take away "
                "the # in front of its line and change it. Lines that keep their # are assumptions, and the decision "
                "page says so."
            ),
            translator,
        ),
        *_comment(
            Message(
                "A number is one value, or a range with low, likely and high. All sums are in {currency}.",
                currency=currency,
            ),
            translator,
        ),
        f"currency: {currency}",
        "",
    ]
    for key in INPUTS:
        lines += _comment(_meaning(key, currency), translator)
        if key == "transfer":
            lines += _comment(
                Message(
                    "It is the share of a measured gain that reaches sales. Own A/B tests replace it; list their "
                    "offline and online gains."
                ),
                translator,
            )
            lines.append("#transfer_pairs: [[0.04, 0.02], [0.01, 0.0], [0.02, 0.015]]")
        lines += [f"#{key}: {_written(known[key], RANGE)}", ""]
    for key, meaning in _SETTINGS.items():
        lines += [*_comment(meaning, translator), f"#{key}: {_written(known[key])}", ""]
    lines += _comment(
        Message("Next steps that may be advised: what each costs, how many days it takes, and how large it is."),
        translator,
    )
    for name in STEPS:
        step = {part: known[f"steps.{name}.{part}"] for part in ("cost", "days", "amount")}
        lines.append(f"#steps.{name}: {_written(step, tuple(step))}")
    return "\n".join(lines) + "\n"


def _meaning(key: str, currency: str) -> Message:
    name = INPUT_NAMES[key]
    if key in MONEY:
        return Message("{name}, in {currency}", name=name, currency=currency)
    return Message("{name}, as a share: 0.01 is 1 %", name=name) if key in PERCENT else name


def _comment(message: Message, translator: Translator) -> list[str]:
    """A message as lines of comment; Japanese has no spaces to break at, so its letters count double."""
    width = _WIDTH if translator.lang == "en" else _WIDTH // 2
    return [f"# {line}" for line in textwrap.wrap(translator(message), width, break_long_words=True)]


def _written(value: Any, parts: tuple[str, ...] = ()) -> str:
    """A value as YAML; numbers without an exponent, which not every reader takes for one."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{part}: {_written(value[part])}" for part in parts) + "}"
    return str(value) if isinstance(value, str) else np.format_float_positional(value, trim="-")
