"""Evidence and economics by hand: a business where every number is round."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from mmbench import paths
from mmbench.decision import Economics, Evidence, Gate, Status, read_economics
from mmbench.decision.economics import Source
from mmbench.decision.evidence import Part, Promise
from mmbench.inference.gains import NoWord
from mmbench.inference.intervals import Interval, LogGain

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
#: A tenth of the items: engineering and serving cost what they do for all, so images for them pay from 6.4 % on:
#: ((40,000 + 2,000) / 3 + 2,000 + 16,000 + 200) / 500,000.
PART = Part("category:Lamps", 1000, 0.1, 0.1)
BREAKEVEN_OF_PART = ((40_000 + 2_000) / 3 + 18_200) / 500_000


@functools.cache
def _default() -> ListConfig | DictConfig:
    return OmegaConf.load(paths.config_dir() / "economics" / "default.yaml")


def default_file() -> dict[str, Any]:
    default = OmegaConf.to_container(_default())
    assert isinstance(default, dict)
    return {str(key): value for key, value in default.items()}


def economics(**changed: Any) -> Economics:
    return read_economics({**OWN, **changed}, default_file())


def log_gain(mean: float, se: float) -> LogGain:
    """A gain whose standard error is ``se`` to first order."""
    return LogGain(math.log1p(mean), se / (1 + mean), 1000.0)


def evidence(mean: float, se: float = 0.01, silent: str = "", **gates: Status) -> Evidence:
    """A gain with every gate passed but those that are named."""
    statuses = {f"G{i}": Status.PASS for i in range(1, 10) if i != 7} | gates
    gain = log_gain(mean, se)
    return Evidence(
        dataset="shop",
        metric="ndcg@20",
        models=("fusion", "itemknn"),
        n_users=2000,
        trials=30,
        n=10,
        ratio=mean,
        gain=gain,
        level=0.95,
        silent=silent,
        depends_on_tuning=False,
        variances={"trials": 0.2 * gain.se**2, "users": 0.7 * gain.se**2, "seed": 0.1 * gain.se**2},
        model="fusion",
        contrast="fused_vs_text",
        per_thousand=Interval(1.2, 0.4, 2.0),
        gates=tuple(Gate(name, status) for name, status in statuses.items()),
    )


def without_gain(measured: Evidence, silent: str = "") -> Evidence:
    variances = measured.variances if silent == NoWord.WIDE else {}
    return replace(measured, gain=None, silent=silent, variances=variances, per_thousand=None)


def in_part(measured: Evidence) -> Evidence:
    return replace(measured, part=PART)


def promising(measured: Evidence, gain: float = 0.1) -> Evidence:
    return replace(measured, promising=(Promise(PART, gain, "python -m mmbench -m x=y"),))


def assuming(*names: str, **changed: Any) -> Economics:
    own = economics(**changed)
    return replace(own, sources={**own.sources, **dict.fromkeys(names, Source.ASSUMED)})
