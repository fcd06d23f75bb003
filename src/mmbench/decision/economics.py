"""What a company puts in: sums, shares and prices, each as a range with a likely value."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from mmbench.data.readers.text_table import shortened
from mmbench.decision.formulas import Amount
from mmbench.messages import Message, Refusal

#: No sum and no count is larger, so that no product of them leaves the range of floating-point numbers.
MOST = 1e15
#: Yearly margin that reaches sales must be at least this much, in the currency: what is divided by it stays finite.
LEAST_MARGIN = 0.01
#: Largest share of shown items that is bought. Below 1 % in most shops: what is larger was typed in percent, and every
#: sum that follows would be a hundred times too high.
MOST_BOUGHT = 0.2
#: Inputs by dotted key and the largest value each may have.
INPUTS: Mapping[str, float] = {
    "value.recommendations_year": MOST,
    "value.conversion": MOST_BOUGHT,
    "value.order_value": MOST,
    "value.margin": 1.0,
    "transfer": 2.0,
    "items.stock": MOST,
    "items.new_year": MOST,
    "items.with_images": 1.0,
    "items.target": 1.0,
    "cost.image": MOST,
    "cost.encoding": MOST,
    "cost.kilobytes": MOST,
    "cost.gigabyte_month": MOST,
    "cost.serving_year": MOST,
    "cost.engineering_once": MOST,
    "cost.engineers": MOST,
    "cost.engineer_year": MOST,
}
#: Next steps and what their ``amount`` counts.
STEPS: Mapping[str, str] = {
    "repair": "nothing",
    "baseline": "nothing",
    "model": "nothing",
    "trials": "factor on the trials",
    "control": "nothing",
    "images": "items in the pilot",
    "encoder": "nothing",
    "ensemble": "nothing",
    "users": "factor on the users of the log",
    "seeds": "final seeds in all",
    "ab_test": "recommendations in each arm",
    "partial": "nothing",
}
#: Keys whose values are sums of money: in another currency they are other numbers.
SUMS = (
    "value.order_value",
    *(name for name in INPUTS if name.startswith("cost.") and name not in ("cost.kilobytes", "cost.engineers")),
    "machine_hour",
    *(f"steps.{name}.cost" for name in STEPS),
)
RANGE = ("low", "likely", "high")
#: Settings that are a policy of the company, no sum: they have no range.
POLICY = ("years", "discount", "go", "no_go")
#: What else a company may give of its own; the steps count as one.
OTHERS = ("tax", "machine_hour", "steps")
#: ``go`` and ``no_go`` of the files of the package; who asks for less is told so beside the answer.
USUAL_GO, USUAL_NO_GO = 0.80, 0.20
SETTINGS = ("currency", "tax", "years", "discount", "go", "no_go", "machine_hour")
#: Fewer own pairs of an offline and an online gain do not give a slope with a spread.
MIN_PAIRS = 3
#: Own gains count as zero below this and are no gains above that: shares, 0.02 for 2 %.
LEAST_GAIN, MOST_GAIN = 1e-6, 100


class Source(StrEnum):
    """Where a number comes from."""

    OWN = "given"
    DATA = "from the data"
    OPINION = "an opinion"
    ASSUMED = "assumed"


@dataclass(frozen=True)
class Range:
    """An uncertain input: triangular between low and high with its mode at likely."""

    low: float
    likely: float
    high: float


@dataclass(frozen=True)
class Step:
    """A next step on offer.

    Args:
        cost: what it costs, in the currency.
        days: how long it takes.
        amount: how large it is, in the unit of :data:`STEPS`.
    """

    cost: float
    days: float
    amount: float


@dataclass(frozen=True)
class Economics:
    """Everything that is not measured.

    Args:
        currency: ISO 4217 code of all sums.
        tax: ``excluded`` or ``included``, said once on the page.
        years: horizon H.
        discount: yearly rate r.
        go: probability of paying from which the answer is GO.
        no_go: probability up to which it may be NO-GO.
        machine_hour: price of an hour of the machine that serves, to show what each model costs to run.
        inputs: range by dotted key, see :data:`INPUTS`.
        steps: next steps on offer by name, see :data:`STEPS`.
        sources: where each of :data:`INPUTS`, :data:`POLICY` and :data:`OTHERS` comes from.
        digest: SHA-256 of the company's file; empty where there is none.
        changed_at: when that file was last changed, UTC; empty where there is none.
    """

    currency: str
    tax: str
    years: int
    discount: float
    go: float
    no_go: float
    machine_hour: float
    inputs: Mapping[str, Range]
    steps: Mapping[str, Step]
    sources: Mapping[str, Source]
    digest: str = ""
    changed_at: str = ""

    @property
    def assumed(self) -> tuple[str, ...]:
        """Keys whose values nobody in the company has confirmed, opinions among them."""
        unsure = (Source.ASSUMED, Source.OPINION)
        return tuple(name for name, source in self.sources.items() if source in unsure and name not in OTHERS)

    @property
    def likely(self) -> dict[str, float]:
        """The likely value of every input."""
        return {name: given.likely for name, given in self.inputs.items()}


def base_value(x: Mapping[str, Amount]) -> Amount:
    """Yearly margin B through recommendations: recommendations x conversion x order value x margin."""
    return x["value.recommendations_year"] * x["value.conversion"] * x["value.order_value"] * x["value.margin"]


def costs(x: Mapping[str, Amount]) -> dict[str, tuple[Amount, Amount]]:
    """One-off and yearly cost by kind.

    An image is bought for every item up to the target that has none yet, and for new items every year; images up to
    the target are encoded and kept.
    """
    stock, new = x["items.stock"], x["items.new_year"]
    gap, target = lacking(x), x["items.target"]
    nothing = 0.0 * stock
    gigabytes = stock * target * x["cost.kilobytes"] / 1e6
    return {
        "images": (stock * gap * x["cost.image"], new * target * x["cost.image"]),
        "encoding": (stock * target * x["cost.encoding"], new * target * x["cost.encoding"]),
        "serving": (nothing, 12 * gigabytes * x["cost.gigabyte_month"] + x["cost.serving_year"]),
        "engineering": (nothing + x["cost.engineering_once"], nothing + x["cost.engineers"] * x["cost.engineer_year"]),
    }


def lacking(x: Mapping[str, Amount]) -> Amount:
    """Share of the items for which an image has to be bought."""
    gap = x["items.target"] - x["items.with_images"]
    return 0.5 * (gap + abs(gap))


def totals(parts: Mapping[str, tuple[Amount, Amount]]) -> tuple[Amount, Amount]:
    """One-off and yearly cost over all kinds."""
    (once, year), *rest = parts.values()
    for more_once, more_year in rest:
        once, year = once + more_once, year + more_year
    return once, year


def read_economics(own: Mapping[str, Any], default: Mapping[str, Any]) -> Economics:
    """The company's own file over the default file; what only the default says counts as assumed.

    Args:
        own: nested keys of the company's file, any part of them.
        default: a complete file; it is of another currency only where the company's file has every sum.

    Raises:
        ValueError: naming the key, what it holds and what is allowed.
    """
    given, complete = _flat(own), _flat(default)
    for key in given:
        if key not in complete and key != "transfer_pairs":
            near = ", ".join(name for name in complete if name.split(".")[0] == key.split(".")[0]) or ", ".join(
                complete
            )
            raise Refusal("economics: {key} is not a key; accepted: {near}", key=_shown(key), near=near)
    merged = {**complete, **given}
    _check_currency(merged["currency"], complete["currency"], given)
    inputs = {name: _range(name, merged[name], most) for name, most in INPUTS.items()}
    told = {*given, *(key.partition(".")[0] for key in given)}
    sources = {name: Source.OWN if name in told else Source.ASSUMED for name in (*INPUTS, *POLICY, *OTHERS)}
    if "transfer_pairs" in given:
        inputs["transfer"] = slope(given["transfer_pairs"])
        sources["transfer"] = Source.OWN
    elif "transfer" in given:
        sources["transfer"] = Source.OPINION  # an opinion about it is still no measurement
    steps = {name: _step(name, merged) for name in STEPS}
    settings = {name: merged[name] for name in SETTINGS}
    return checked(Economics(**settings, inputs=inputs, steps=steps, sources=sources))


def with_counts(economics: Economics, counts: Mapping[str, float]) -> Economics:
    """The economics with numbers that the data tell in place of assumed ones.

    Args:
        economics: what was put in.
        counts: number by dotted key.
    """
    told = {name: n for name, n in counts.items() if economics.sources[name] is Source.ASSUMED}
    inputs = {**economics.inputs, **{name: Range(n, n, n) for name, n in told.items()}}
    return replace(economics, inputs=inputs, sources={**economics.sources, **dict.fromkeys(told, Source.DATA)})


def scaled(economics: Economics, factors: Mapping[str, float]) -> Economics:
    """The economics with some inputs multiplied, none beyond the largest value that it may have.

    Args:
        economics: what was put in.
        factors: factor by dotted key.
    """
    inputs = dict(economics.inputs)
    for name, factor in factors.items():
        given, most = inputs[name], INPUTS[name]
        inputs[name] = Range(*(min(end * factor, most) for end in (given.low, given.likely, given.high)))
    return replace(economics, inputs=inputs)


def completed(own: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says by dotted key, and what another one says of the rest."""
    return {**_flat(default), **_flat(own)}


def _check_currency(currency: Any, known: str, given: Mapping[str, Any]) -> None:
    """Refuse sums that nobody gave in this currency: those of another one are other amounts."""
    missing = [key for key in SUMS if key not in given]
    if currency != known and missing and _is_currency(currency):
        raise Refusal(
            "economics: currency={currency}, and no prices are known in it; give these too: {missing}",
            currency=currency,
            missing=", ".join(missing),
        )


def slope(pairs: Any) -> Range:
    r"""The offline-to-online factor from own pairs: least squares through zero, two standard errors each way.

    :math:`\hat\eta = \sum x y / \sum x^2` for offline gains x and online gains y.

    Raises:
        ValueError: for fewer than three pairs of numbers, offline gains that are all zero, a factor that is not above
            zero, or one beyond what is possible.
    """
    usable = (
        isinstance(pairs, Sequence)
        and len(pairs) >= MIN_PAIRS
        and all(
            isinstance(pair, Sequence) and len(pair) == 2 and all(_is_number(x) and abs(x) <= MOST_GAIN for x in pair)
            for pair in pairs
        )
    )
    if not usable or not max(abs(x) for x, _ in pairs) >= LEAST_GAIN:
        raise Refusal(
            "economics: transfer_pairs={pairs} must be at least {least} pairs [offline gain, online gain], 0.02 for "
            "2 %, with offline gains that are not all zero, for example [[0.04, 0.02], [0.01, 0.0], [0.02, 0.015]]",
            pairs=_shown(pairs),
            least=MIN_PAIRS,
        )
    squares = sum(x * x for x, _ in pairs)
    eta = sum(x * y for x, y in pairs) / squares
    residual = sum((y - eta * x) ** 2 for x, y in pairs) / (len(pairs) - 1)
    half = 2 * math.sqrt(residual / squares)
    if eta <= 0:
        raise Refusal(
            "economics: transfer_pairs={pairs} come to a factor of {eta}: by these A/B tests none of an offline gain "
            "reached sales, so images cannot pay, whatever they gain offline, and there is nothing to calculate",
            pairs=_shown(pairs),
            eta=f"{eta:.2g}",
        )
    if eta + half > INPUTS["transfer"]:
        raise Refusal(
            "economics: transfer_pairs={pairs} come to a factor of {low} to {high}, and at most {most} is possible; "
            "are both gains in the same unit, 0.02 for 2 %?",
            pairs=_shown(pairs),
            low=f"{max(eta - half, 0.0):.3g}",
            high=f"{eta + half:.3g}",
            most=f"{INPUTS['transfer']:g}",
        )
    return Range(max(eta - half, 0.0), eta, eta + half)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves by dotted key; a range is a leaf, whatever part of it is given.

    Raises:
        ValueError: for a key that is written in two ways, with a dot and below another one.
    """
    leaves: dict[str, Any] = {}
    for name, node in tree.items():
        key = f"{prefix}{name}"
        inner = isinstance(node, Mapping) and key not in INPUTS
        found = _flat(node, f"{key}.") if inner else {key: node}
        if twice := leaves.keys() & found:
            raise Refusal("economics: {key} is given twice; keep one of them", key=_shown(min(twice)))
        leaves |= found
    return leaves


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -MOST <= value <= MOST


def _is_currency(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[A-Z]{3}", value) is not None


def _shown(value: object) -> str:
    """A value as it stands in an error, which is one line whatever somebody wrote."""
    return shortened(str(value))


def _range(name: str, value: Any, most: float) -> Range:
    """A range, or one number where nothing is uncertain."""
    ends: list[Any] = [value] * 3
    if isinstance(value, Mapping):
        ends = [value[end] for end in RANGE] if set(value) == set(RANGE) else []
    if not ends or not all(map(_is_number, ends)) or not 0 <= ends[0] <= ends[1] <= ends[2] <= most:
        if most <= 1:
            raise Refusal(
                "economics: {name}={value} must be a share from 0 up to {most:g} (0.01 is 1 %), or low, likely and "
                "high in rising order",
                name=name,
                value=_shown(value),
                most=most,
            )
        raise Refusal(
            "economics: {name}={value} must be a number or low, likely and high in rising order, from 0 up to {most:g}",
            name=name,
            value=_shown(value),
            most=most,
        )
    return Range(float(ends[0]), float(ends[1]), float(ends[2]))


def _step(name: str, merged: Mapping[str, Any]) -> Step:
    keys = [f"steps.{name}.{part}" for part in ("cost", "days", "amount")]
    for key in keys:
        if not _is_number(merged[key]) or merged[key] < 0:
            raise Refusal(
                "economics: {key}={value} must be a number from 0 up to {most:g}",
                key=key,
                value=_shown(merged[key]),
                most=MOST,
            )
    return Step(*(float(merged[key]) for key in keys))


def checked(economics: Economics) -> Economics:
    """The economics themselves.

    Raises:
        ValueError: for a setting out of range, or a business that no gain can help.
    """
    rules = {
        "currency": (
            _is_currency(economics.currency),
            Message("a currency code such as EUR or JPY"),
        ),
        "tax": (economics.tax in ("excluded", "included"), Message("excluded or included")),
        "years": (
            type(economics.years) is int and 1 <= economics.years <= 30,
            Message("a whole number from 1 to 30"),
        ),
        "discount": (
            _is_number(economics.discount) and 0 <= economics.discount < 1,
            Message("a rate from 0 to below 1"),
        ),
        "go": (_is_number(economics.go) and 0.5 < economics.go < 1, Message("a probability above 0.5 and below 1")),
        "machine_hour": (
            _is_number(economics.machine_hour) and economics.machine_hour >= 0,
            Message("a price from 0 up to {most:g}", most=MOST),
        ),
        "no_go": (
            _is_number(economics.no_go) and 0 < economics.no_go < 0.5,
            Message("a probability above 0 and below 0.5"),
        ),
    }
    for name, (holds, allowed) in rules.items():
        if not holds:
            raise Refusal(
                "economics: {name}={value} must be {allowed}",
                name=name,
                value=_shown(getattr(economics, name)),
                allowed=allowed,
            )
    if not base_value(economics.likely) * economics.likely["transfer"] >= LEAST_MARGIN:
        raise Refusal(
            "economics: recommendations, conversion, order value, margin and transfer must be above 0, and their "
            "product at least {least} a year",
            least=LEAST_MARGIN,
        )
    return economics
