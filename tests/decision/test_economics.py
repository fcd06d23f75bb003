"""The company's file: what it may hold, what is assumed, and mistakes told in one line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from omegaconf import OmegaConf

from mmbench import paths
from mmbench.decision import decide, read_economics
from mmbench.decision.economics import (
    INPUTS,
    MOST,
    POLICY,
    SUMS,
    Range,
    Source,
    base_value,
    costs,
    slope,
    totals,
    with_counts,
)
from mmbench.decision.value import DRAWS, breakeven
from tests.decision.cases import default_file, economics, evidence


def test_costs_by_hand() -> None:
    setting = economics(
        items={"stock": 10_000, "new_year": 1_000, "with_images": 0.4, "target": 0.9},
        cost={"image": 2.0, "encoding": 0.01, "kilobytes": 4, "gigabyte_month": 0.5, "serving_year": 100,
              "engineering_once": 7.0, "engineers": 0.5, "engineer_year": 100.0},
    )  # fmt: skip
    x = setting.likely
    assert base_value(x) == pytest.approx(1e6)
    assert costs(x) == {
        "images": (pytest.approx(10_000), pytest.approx(1_800)),
        "encoding": (pytest.approx(90), pytest.approx(9)),
        "serving": (0.0, pytest.approx(12 * 10_000 * 0.9 * 4 / 1e6 * 0.5 + 100)),
        "engineering": (7.0, 50.0),
    }
    once, year = totals(costs(x))
    assert (once, year) == (pytest.approx(10_000 + 90 + 7), pytest.approx(1_800 + 9 + 12 * 0.036 * 0.5 + 100 + 50))


def test_sums_are_of_one_currency() -> None:
    """Every key that counts money, and no other one, has to be given in a new currency."""
    assert set(INPUTS) - set(SUMS) == {
        *("value.recommendations_year", "value.conversion", "value.margin", "transfer", "cost.kilobytes"),
        *("items.stock", "items.new_year", "items.with_images", "items.target", "cost.engineers"),
    }
    sums = dict.fromkeys(SUMS, 7.0)
    company = read_economics({"currency": "CHF", **sums}, default_file())
    assert company.currency == "CHF"
    assert company.machine_hour == company.steps["users"].cost == company.inputs["cost.image"].likely == 7.0
    for key in SUMS:
        left = {name: value for name, value in sums.items() if name != key}
        with pytest.raises(ValueError, match=f"give these too: {key}$"):
            read_economics({"currency": "CHF", **left}, default_file())


def test_every_image_is_there_already() -> None:
    setting = economics(items={"stock": 10, "new_year": 0, "with_images": 1.0, "target": 0.5})
    assert costs(setting.likely)["images"] == (0.0, 0.0)
    priced = {**setting.likely, "cost.encoding": 2.0}
    assert costs(priced)["encoding"] == (10.0, 0.0)  # of five items: what is more than the target is left out


@pytest.mark.parametrize("name", [name for name, most in INPUTS.items() if most == MOST])
def test_the_largest_inputs_have_a_value(name: str) -> None:
    """All draws are one sum where a gain of exactly zero meets sure inputs, and where a cost dwarfs everything else."""
    plain = economics(transfer=0.5)
    setting = replace(plain, inputs={**plain.inputs, name: Range(MOST, MOST, MOST)})
    for measured in (evidence(0.0, 0.0), evidence(0.1)):
        value = decide(measured, setting).value
        assert value is not None
        assert 0.9 * DRAWS <= sum(value.counts) <= DRAWS


def test_what_the_data_tell_replaces_what_is_assumed_and_nothing_else() -> None:
    told = {"items.stock": 400.0, "items.with_images": 0.25}
    assumed = with_counts(read_economics({}, default_file()), told)
    assert {name for name, source in assumed.sources.items() if source is Source.DATA} == set(told)
    assert costs(assumed.likely)["images"][0] == pytest.approx(400 * (0.95 - 0.25) * 1.0)
    company = with_counts(read_economics({"items": {"with_images": 0.1}}, default_file()), told)
    assert company.inputs["items.with_images"] == Range(0.1, 0.1, 0.1)
    assert company.sources["items.with_images"] is Source.OWN
    assert company.inputs["items.stock"].likely == 400


def test_what_only_the_default_says_is_assumed() -> None:
    company = read_economics(
        {"value": {"margin": 0.3}, "cost": {"image": {"low": 1, "likely": 2, "high": 3}}}, default_file()
    )
    assert {*INPUTS, *POLICY} - set(company.assumed) == {"value.margin", "cost.image"}
    assert company.inputs["value.margin"] == Range(0.3, 0.3, 0.3)
    assert company.inputs["cost.image"] == Range(1, 2, 3)
    # An opinion about the transfer is no measurement of it.
    assert "transfer" in read_economics({"transfer": 0.6}, default_file()).assumed


def test_own_pairs_measure_the_transfer() -> None:
    pairs = [[0.04, 0.02], [0.02, 0.01], [0.01, 0.005]]
    company = read_economics({"transfer_pairs": pairs}, default_file())
    assert company.inputs["transfer"].likely == pytest.approx(0.5)
    assert company.inputs["transfer"].low == pytest.approx(0.5)
    assert "transfer" not in company.assumed
    noisy = slope([[0.1, 0.08], [0.1, 0.02], [0.1, 0.05]])
    # Residuals .03, -.03, 0: variance .0009 over squares of .03.
    assert noisy.high == pytest.approx(0.5 + 2 * (0.0009 / 0.03) ** 0.5)


@pytest.mark.parametrize("name", ["default", "yen"])
def test_files_that_come_along(name: str) -> None:
    own = OmegaConf.to_container(OmegaConf.load(paths.config_dir() / "economics" / f"{name}.yaml"))
    assert isinstance(own, dict)
    company = read_economics({str(k): v for k, v in own.items()}, default_file())
    assert 0.005 < breakeven(company) < 0.05


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"value": {"marge": 0.2}}, "value.marge is not a key; accepted: value.recommendations_year, value.conversion"),
        ({"value.margin": 0.3, "value": {"margin": 0.2}}, "value.margin is given twice; keep one of them"),
        ({"steps": {"users.cost": 1, "users": {"cost": 2}}}, "steps.users.cost is given twice; keep one of them"),
        ({"profit": 1}, "profit is not a key; accepted: currency, tax"),
        ({"value": {"margin": 1.5}}, "value.margin=1.5 must be a share from 0 up to 1 (0.01 is 1 %)"),
        ({"value": {"conversion": 0.8}}, "value.conversion=0.8 must be a share from 0 up to 0.2 (0.01 is 1 %)"),
        ({"value": {"margin": {"low": 0.3, "likely": 0.2, "high": 0.4}}}, "in rising order"),
        ({"value": {"margin": {"low": 0.1, "high": 0.4}}}, "or low, likely and high in rising order"),
        ({"value": {"margin": {"low": 0.1, "likely": 0.2, "high": 0.4, "most": 1}}}, "or low, likely and high in"),
        ({"cost": {"image": "cheap"}}, "cost.image=cheap must be"),
        ({"cost": {"image": float("nan")}}, "cost.image=nan must be"),
        ({"cost": {"image": True}}, "cost.image=True must be"),
        ({"value": {"margin": 0}}, "must be above 0"),
        ({"currency": "euro"}, "currency=euro must be a currency code"),
        ({"currency": "USD"}, "currency=USD, and no prices are known in it; give these too: value.order_value"),
        ({"currency": "JPY", "value": {"order_value": 5000}}, "give these too: cost.image, cost.encoding, cost.g"),
        ({"tax": "19 %"}, "tax=19 % must be excluded or included"),
        ({"years": 2.5}, "years=2.5 must be a whole number"),
        ({"discount": 10}, "discount=10 must be a rate"),
        ({"go": 0.4}, "go=0.4 must be a probability above 0.5"),
        ({"no_go": 0.6}, "no_go=0.6 must be a probability above 0 and below 0.5"),
        ({"machine_hour": -1}, "machine_hour=-1 must be a price from 0"),
        ({"steps": {"users": {"cost": -1}}}, "steps.users.cost=-1 must be a number from 0"),
        ({"transfer_pairs": [[0.1, 0.2]]}, "must be at least 3 pairs"),
        ({"transfer_pairs": [[0, 0.2]] * 3}, "offline gains that are not all zero"),
        (
            {"transfer_pairs": [[0.04, -0.01], [0.02, 0.0], [0.03, -0.005]]},
            "come to a factor of -0.19: by these A/B tests none of an offline gain reached sales",
        ),
        ({"transfer_pairs": [[0.04, 0.0]] * 3}, "come to a factor of 0: by these A/B tests none of an offline gain"),
        (
            {"transfer_pairs": [[0.01, 0.05], [0.02, 0.1], [0.01, 0.04]]},
            r"come to a factor of 4.31 to 5.36, and at most 2 is possible; are both gains in the same unit",
        ),
    ],
)  # fmt: skip
def test_mistakes(own: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="economics: ") as refusal:
        read_economics(own, default_file())
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
