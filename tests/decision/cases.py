"""Evidence and economics by hand: a business where every number is round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from omegaconf import OmegaConf

from mmbench import paths
from mmbench.decision import Economics, Evidence, Gate, Status, read_economics
from mmbench.inference.intervals import CrossedInterval, Interval

#: Nothing but the transfer is uncertain: B = 1,000,000, one-off 60,000, yearly 20,000, no discount, three years.
OWN: Mapping[str, Any] = {
    "years": 3,
    "discount": 0.0,
    "value": {"recommendations_year": 1e6, "conversion": 0.1, "order_value": 40, "margin": 0.25},
    "transfer": {"low": 0.3, "likely": 0.5, "high": 0.7},
    "items": {"stock": 10_000, "new_year": 1_000, "with_images": 0.0, "target": 1.0},
    "cost": {
        "image": 2.0, "encoding": 0.0, "kilobytes": 0.0, "gigabyte_month": 0.0, "serving_year": 2_000,
        "engineering_once": 40_000, "engineers": 0.2, "engineer_year": 80_000,
    },
}  # fmt: skip
#: (60,000 / 3 + 20,000) / (0.5 x 1,000,000).
BREAKEVEN = 0.08


def default_file() -> dict[str, Any]:
    default = OmegaConf.to_container(OmegaConf.load(paths.config_dir() / "economics" / "default.yaml"))
    assert isinstance(default, dict)
    return {str(key): value for key, value in default.items()}


def economics(**changed: Any) -> Economics:
    return read_economics({**OWN, **changed}, default_file())


def interval(mean: float, se: float, seeds: int = 5) -> CrossedInterval:
    df = 1000.0
    return CrossedInterval(mean, mean - 1.962 * se, mean + 1.962 * se, se=se, df=df, p=0.5, seeds=seeds)


def evidence(mean: float, se: float = 0.01, mde: float | None = None, seeds: int = 5, **gates: Status) -> Evidence:
    """A gain with every gate passed but those that are named."""
    statuses = {f"G{i}": Status.PASS for i in range(1, 10) if i != 7} | gates
    made = tuple(Gate(name, status) for name, status in statuses.items())
    parts = {"var_user": se**2 * 2000 * 0.7, "var_seed": se**2 * 5 * 0.2, "var_interaction": se**2 * 10_000 * 0.1}
    return Evidence(
        "shop", "fusion", "fused_vs_text", 2000, interval(mean, se, seeds), Interval(mean, mean - se, mean + se, 0.9),
        2.8 * se if mde is None else mde, parts, Interval(1.2, 0.4, 2.0), made,
    )  # fmt: skip


def without_gain(measured: Evidence) -> Evidence:
    return replace(measured, gain=None, mde=None, components={}, per_thousand=None)
