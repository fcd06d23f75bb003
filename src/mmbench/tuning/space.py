"""The search space of a cell, and the draws that every condition of it shares."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from mmbench import fingerprint
from mmbench.messages import Refusal, message_of
from mmbench.store.schema import Configuration

Space = Mapping[str, BaseDistribution]
RANGE_KEYS = ("low", "high", "log", "step")
#: Redraws of one slot before the space counts as exhausted.
MAX_REDRAWS = 200


def read_space(tree: Mapping[str, Any], prefix: str = "") -> dict[str, BaseDistribution]:
    """Turn the nested ``search`` section into distributions by dotted path, in path order.

    Args:
        tree: nested mapping whose leaves are ``{low, high, log, step}`` or ``{choices}``.
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
        if all(isinstance(v, int) for v in (low, high)):
            return IntDistribution(low, high, log=log, step=step or 1)
        return FloatDistribution(float(low), float(high), log=log, step=step)
    except (ValueError, TypeError, KeyError) as error:
        raise Refusal("search.{path}: {error}", path=path, error=message_of(error)) from error


def uniform(key: str, slot: int, redraw: int, path: str) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    digest = hashlib.sha256(f"{key}|{slot}|{redraw}|{path}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)


def inverse_cdf(distribution: BaseDistribution, u: float) -> Any:
    """Map a uniform number to a value of the distribution."""
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
        value = low + step * int(u * (int((high - low) / step + 1e-9) + 1))
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
        if not _contains(distribution, default[path]):
            raise Refusal(
                "{path}={value} is outside its search range {range}; widen search.{path} or remove it with "
                "~search.{path}",
                path=path,
                value=default[path],
                range=distribution,
            )
    chosen, seen = [dict(default)], {configuration_hash(default)}
    for slot in range(1, n):
        for redraw in range(MAX_REDRAWS):
            draw = {path: inverse_cdf(d, uniform(key, slot, redraw, path)) for path, d in space.items()}
            if configuration_hash(draw) not in seen:
                seen.add(configuration_hash(draw))
                chosen.append(draw)
                break
        else:
            break
    return chosen


def _contains(distribution: BaseDistribution, value: Any) -> bool:
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
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.single():
        return 1
    if distribution.step is None:
        return math.inf
    return int((distribution.high - distribution.low) / distribution.step + 1e-9) + 1
