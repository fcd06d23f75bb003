"""The search space of a cell, and the draws that every condition of it shares."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from mmbench import fingerprint
from mmbench.messages import Refusal, message_of
from mmbench.store.schema import Configuration

Space = Mapping[str, BaseDistribution]
RANGE_KEYS = ("low", "high", "log", "step", "zero", "ends")
#: Redraws of one slot until it differs from all others; of a log range the last values left are drawn rarely.
MAX_REDRAWS = 10_000


class RangeWithAtoms(BaseDistribution):
    """A continuous range with values that have a probability of their own, such as a weight that may be exactly 0.

    Optuna has no such distribution: :mod:`mmbench.tuning.sampler` asks it whether the value is one of the atoms and,
    if not, where in the range it lies.

    Args:
        inside: the range.
        atoms: values, ascending, and their probabilities, together less than 1; none lies between the range's ends.
    """

    def __init__(self, inside: FloatDistribution, *atoms: tuple[float, float]) -> None:
        self.inside, self.atoms = inside, atoms

    @property
    def values(self) -> list[float]:
        """The atoms without their probabilities."""
        return [value for value, _ in self.atoms]

    def single(self) -> bool:
        """Never: an atom can be drawn as well as the range."""
        return False

    def _contains(self, param_value_in_internal_repr: float) -> bool:
        return param_value_in_internal_repr in self.values or self.inside._contains(param_value_in_internal_repr)

    def to_internal_repr(self, param_value_in_external_repr: Any) -> float:
        """The value as a number; a range on the logarithmic scale has none for 0."""
        value = param_value_in_external_repr
        return float(value) if value in self.values else self.inside.to_internal_repr(value)


def read_space(tree: Mapping[str, Any], prefix: str = "") -> dict[str, BaseDistribution]:
    """Turn the nested ``search`` section into distributions by dotted path, in path order.

    Args:
        tree: nested mapping whose leaves are ``{low, high, log, step}`` or ``{choices}``. Whole bounds, and a step that
            is whole or left out, give whole numbers. A continuous range without a step may have ``zero``, the
            probability of exactly 0, or ``ends``, that of both its ends together; it is continuous with whole bounds.
        prefix: path so far.

    Raises:
        ValueError: for a leaf that is neither, naming its path.
    """
    space: dict[str, BaseDistribution] = {}
    for name in sorted(tree):
        node, path = tree[name], f"{prefix}{name}"
        if not isinstance(node, Mapping):
            raise Refusal(
                "search.{path}={value} must be {{low, high, log, step}} or {{choices}}", path=path, value=repr(node)
            )
        if "choices" in node or "low" in node or "high" in node:
            space[path] = _distribution(path, dict(node))
        else:
            space.update(read_space(node, f"{path}."))
    return space


def _distribution(path: str, leaf: dict[str, Any]) -> BaseDistribution:
    try:
        if "choices" in leaf:
            if extra := leaf.keys() - {"choices"}:
                raise Refusal("choices takes no {extra}", extra=", ".join(sorted(extra)))
            return CategoricalDistribution(leaf["choices"])
        if unknown := leaf.keys() - set(RANGE_KEYS):
            raise Refusal(
                "unknown key {unknown}; allowed are {allowed}",
                unknown=", ".join(sorted(unknown)),
                allowed=", ".join(RANGE_KEYS),
            )
        low, high, log, step = leaf["low"], leaf["high"], bool(leaf.get("log", False)), leaf.get("step")
        atoms = [(key, leaf[key]) for key in ("zero", "ends") if key in leaf]
        if len(atoms) > 1:
            raise Refusal("a range has either zero or ends")
        step_is_whole = step is None or float(step).is_integer()
        if all(isinstance(v, int) for v in (low, high)) and step_is_whole and not atoms:
            return IntDistribution(low, high, log=log, step=1 if step is None else step)
        inside = FloatDistribution(float(low), float(high), log=log, step=step)
        return _with_atoms(inside, *atoms[0]) if atoms else inside
    except (ValueError, TypeError, KeyError) as error:
        raise Refusal("search.{path}: {error}", path=path, error=message_of(error)) from error


def _with_atoms(inside: FloatDistribution, key: str, mass: Any) -> RangeWithAtoms:
    """The range with a probability ``zero`` of exactly 0, or ``ends`` of its two ends together."""
    if not (isinstance(mass, float) and 0.0 < mass < 1.0):
        raise Refusal("{key}={value} must be a probability, more than 0 and less than 1", key=key, value=mass)
    if inside.step is not None:
        raise Refusal("{key} belongs to a range without a step", key=key)
    if key == "ends":
        if inside.single():
            raise Refusal("the range has one value, {value}, and no two ends", value=inside.low)
        return RangeWithAtoms(inside, (inside.low, mass / 2), (inside.high, mass / 2))
    if inside.low < 0.0:
        raise Refusal("a range that may be 0 begins at 0 or above, not at {low}", low=inside.low)
    return RangeWithAtoms(inside, (0.0, mass))


@dataclass(frozen=True)
class NumericRange:
    """A coordinate between two bounds.

    Args:
        low: the lower one.
        high: the upper one.
        log: searched on the logarithmic scale.
        atoms: values that have a probability of their own.
    """

    low: float
    high: float
    log: bool
    atoms: tuple[float, ...] = ()


def numeric_ranges(space: Space) -> dict[str, NumericRange]:
    """The numeric coordinates of a space by path."""
    ranges = {}
    for path, distribution in space.items():
        atoms: list[float] = []
        if isinstance(distribution, RangeWithAtoms):
            atoms, distribution = distribution.values, distribution.inside
        if isinstance(distribution, FloatDistribution | IntDistribution):
            ranges[path] = NumericRange(distribution.low, distribution.high, distribution.log, tuple(atoms))
    return ranges


def uniform(key: str, slot: int, redraw: int, path: str) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    digest = hashlib.sha256(f"{key}|{slot}|{redraw}|{path}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)


def inverse_cdf(distribution: BaseDistribution, u: float) -> Any:
    """Map a uniform number to a value of the distribution."""
    if isinstance(distribution, RangeWithAtoms):
        rest = 1.0 - sum(mass for _, mass in distribution.atoms)
        for value, mass in distribution.atoms:
            if value > distribution.inside.low:  # the upper end comes after the range
                return inverse_cdf(distribution.inside, u / rest) if u < rest else value
            if u < mass:
                return value
            u -= mass
        return inverse_cdf(distribution.inside, u / rest)
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(u * len(distribution.choices))]
    if isinstance(distribution, IntDistribution):
        if distribution.log:
            low, high = math.log(distribution.low), math.log(distribution.high + 1)
            return min(max(int(math.exp(low + u * (high - low))), distribution.low), distribution.high)
        steps = (distribution.high - distribution.low) // distribution.step + 1
        return distribution.low + distribution.step * int(u * steps)
    assert isinstance(distribution, FloatDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if distribution.log:
        value = math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
    elif step is not None:
        # Rounded, so that .3 is the .3 of a default and not .1 three times.
        value = round(low + step * int(u * (int((high - low) / step + 1e-9) + 1)), 12)
    else:
        value = low + u * (high - low)
    return min(max(value, low), high)  # rounding can leave the range by one unit in the last place


def configurations(space: Space, default: Configuration, n: int, key: str) -> list[Configuration]:
    """The configurations of all slots: the default first, then distinct i.i.d. draws.

    Args:
        space: distributions by dotted path.
        default: the default value of every path.
        n: number of slots; fewer come back when the space holds fewer configurations.
        key: what the draws depend on; it must not name the modality condition.

    Raises:
        ValueError: if a default lies outside its range.
    """
    for path, distribution in space.items():
        if not contains(distribution, default[path]):
            raise Refusal(
                "{path}={value} is outside its search range {range}; widen search.{path} or remove it with "
                "'~search.{path}'",
                path=path,
                value=default[path],
                range=distribution,
            )
    chosen, seen = [dict(default)], {_as_tried(space, default)}
    for slot in range(1, int(min(n, size(space)))):
        for redraw in range(MAX_REDRAWS):
            draw = {path: inverse_cdf(d, uniform(key, slot, redraw, path)) for path, d in space.items()}
            if (tried := _as_tried(space, draw)) not in seen:
                seen.add(tried)
                chosen.append(draw)
                break
        else:
            break
    return chosen


def check_choices(path: str, distribution: BaseDistribution) -> None:
    """Refuse choices that are equal: there would be fewer configurations than :func:`size` counts.

    Raises:
        ValueError: naming the path.
    """
    seen: dict[object, Any] = {}
    for choice in distribution.choices if isinstance(distribution, CategoricalDistribution) else ():
        if (one := _told_apart(choice)) in seen:
            raise Refusal(
                "search.{path}: the choices {one} and {other} are equal; leave out one of them",
                path=path,
                one=seen[one],
                other=choice,
            )
        seen[one] = choice


def _as_tried(space: Space, configuration: Configuration) -> tuple[object, ...]:
    """What tells a configuration from others of its space, however its numbers are written."""
    return tuple(_told_apart(configuration[path]) for path in space)


def _told_apart(value: Any) -> object:
    """The same for equal values: a training is that of 0.0 whether its default is written 0, 0.0 or -0.0."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else fingerprint.canonical_json(value)


def of_one(configuration: Configuration) -> dict[str, BaseDistribution]:
    """A space that holds one configuration, whatever its values."""
    return {path: CategoricalDistribution([value]) for path, value in configuration.items()}


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a distribution can be the origin of a value."""
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except (ValueError, TypeError):  # not of the distribution's kind at all
        return False


def configuration_hash(configuration: Configuration) -> str:
    """Short hash that identifies a configuration over conditions."""
    return fingerprint.of_json(configuration)[:16]


def size(space: Space) -> float:
    """Number of configurations that a space holds, infinite where a range is continuous.

    >>> size({"model.k": IntDistribution(1, 9, step=2), "model.norm": CategoricalDistribution(["l1", "l2"])})
    10
    """
    return math.prod(map(_values, space.values()))


def _values(distribution: BaseDistribution) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, RangeWithAtoms):
        inside = distribution.inside
        return len({inside.low, *distribution.values}) if inside.single() else math.inf
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.single():
        return 1
    if distribution.step is None:
        return math.inf
    return int((distribution.high - distribution.low) / distribution.step + 1e-9) + 1
