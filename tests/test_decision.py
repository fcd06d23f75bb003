"""Economics against known answers and against simulation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from scipy import special

from mmbench import decision
from mmbench.decision.formulas import evpi, evsi, preposterior_sd
from tests.inference.test_intervals import known_answers

NAMES = ("breakeven_gain", "npv")
COSTS = {"eta": 0.5, "base_value_year": 1e6, "cost_once": 5000.0, "cost_year": 3000.0, "years": 3, "discount": 0.1}


@pytest.mark.parametrize(("name", "answer"), [(name, *param.values) for name in NAMES for param in known_answers(name)])
def test_known_answer_of_economics(name: str, answer: Mapping[str, Any]) -> None:
    arguments = {key: value for key, value in answer.items() if key != "expected"}
    assert getattr(decision, name)(**arguments) == pytest.approx(answer["expected"], rel=1e-9)


def normal_draws(mean: float, sd: float, n: int = 200_000) -> np.ndarray:
    """The middles of equal shares of a normal law, ``(n,)``."""
    return mean + sd * special.ndtri((np.arange(n) + 0.5) / n)


def evpi_normal(mean: float, sd: float) -> float:
    """E max(X, 0) - max(E X, 0) of a normal X in closed form, sd L(|mean| / sd) with the unit normal loss L."""
    z = abs(mean) / sd
    return sd * (math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) - z * float(special.ndtr(-z)))


@pytest.mark.parametrize("answer", known_answers("evpi_normal"))
def test_known_answer_of_perfect_knowledge(answer: Mapping[str, float]) -> None:
    assert evpi_normal(answer["mean"], answer["sd"]) == pytest.approx(answer["expected"], rel=1e-9)
    found = evpi(normal_draws(answer["mean"], answer["sd"]))
    assert found == pytest.approx(answer["expected"], abs=1e-5 * answer["sd"])


@pytest.mark.parametrize("answer", known_answers("evsi_normal"))
def test_known_answer_of_a_measurement(answer: Mapping[str, float]) -> None:
    spread = preposterior_sd(answer["sd"], answer["pilot_sd"])
    assert evpi_normal(answer["mean"], spread) == pytest.approx(answer["expected"], rel=1e-9)
    found = evsi(normal_draws(answer["mean"], answer["sd"]), spread)
    assert found == pytest.approx(answer["expected"], abs=1e-5 * answer["sd"])


def test_break_even_is_where_the_value_is_zero() -> None:
    gain = decision.breakeven_gain(**COSTS)
    assert decision.npv(gain, **COSTS) == pytest.approx(0.0, abs=1e-6)
    assert decision.npv(2 * gain, **COSTS) > 0 > decision.npv(0.0, **COSTS)
    with pytest.raises(ValueError, match="no gain can pay with eta=0"):
        decision.breakeven_gain(**{**COSTS, "eta": 0})


def test_money_today_and_tomorrow() -> None:
    assert decision.annuity(3, 0.0) == 3.0
    assert decision.annuity(1, 0.25) == 0.8


@pytest.mark.parametrize("mean", [-3000.0, 0.0, 2000.0])
def test_knowledge_is_worth_what_decisions_gain(mean: float) -> None:
    sd, pilot_sd = 9000.0, 6000.0
    rng = np.random.default_rng(0)
    truth = rng.normal(mean, sd, 2_000_000)
    now = max(mean, 0.0)
    seen = truth + rng.normal(0, pilot_sd, len(truth))
    weight = sd**2 / (sd**2 + pilot_sd**2)
    believed = mean + weight * (seen - mean)
    found = evsi(normal_draws(mean, sd), preposterior_sd(sd, pilot_sd))
    assert found == pytest.approx(np.maximum(believed, 0).mean() - now, abs=20)
    assert evpi(normal_draws(mean, sd)) == pytest.approx(np.maximum(truth, 0).mean() - now, abs=20)


def test_limits_of_knowledge() -> None:
    certain, drawn = np.full(7, 5.0), normal_draws(5.0, 2.0)
    assert evpi(certain) == evsi(certain, preposterior_sd(0.0, 1.0)) == 0.0
    assert evsi(drawn, preposterior_sd(2.0, 0.0)) == pytest.approx(evpi(drawn), abs=1e-6)
    assert evsi(drawn, preposterior_sd(2.0, 1e9)) == pytest.approx(0.0, abs=1e-9)
