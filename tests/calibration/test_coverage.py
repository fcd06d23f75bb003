"""Calibration of the tuned gain on 1,000 sweeps with fixed seeds, and the tables of docs/calibration.md."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from mmbench.inference.best_of_n import TunedCell, Tuning
from mmbench.inference.gains import Estimate, NoWord
from mmbench.inference.tuned_gain import estimate, free_disposal, tuned_gain
from tests.calibration import coverage, simulation
from tests.calibration.coverage import DISPOSALS, FEW, MANY, PAGE, PAIRS, REGIMES, SECTIONS, Errors, Result, Tally
from tests.calibration.simulation import (
    CHUNK,
    LEVEL,
    PLAIN,
    RESIDUAL,
    Regime,
    Surface,
    Truth,
    Users,
    default_level,
    draw_runs,
    stream,
    truth,
    tunings,
)

REPLICAS = 1_000
#: Coverage that 1,000 replicas must show.
LOWEST, HIGHEST = 0.915, 0.995
SMALL = Regime("small", trials=4, finals=2, users=40)


def tallies(regime: Regime, log_ratio: float = 0.0) -> dict[str, Tally]:
    """1,000 replicas."""
    found: dict[str, Tally] = {}
    for chunk in range(REPLICAS // CHUNK):
        replicas = list(coverage.replicas_of(regime, chunk))
        for name in replicas[0]:
            found.setdefault(name, Tally()).add([one[name] for one in replicas], log_ratio)
    return found


def at_most(rate: float) -> float:
    """A rate and three standard errors of it."""
    return rate + 3 * math.sqrt(rate * (1 - rate) / REPLICAS)


def holds_what_it_says(tally: Tally, highest: float = HIGHEST) -> None:
    assert tally.replicas == tally.bounded == REPLICAS
    assert LOWEST <= tally.coverage <= highest
    for word in ("better", "worse"):
        assert tally.rate(word, 0.0) <= at_most(0.05)
    for gain in (-coverage.DELTA, coverage.DELTA):
        assert tally.rate("equivalent", gain) <= at_most(0.05)


@pytest.mark.thorough
@pytest.mark.parametrize("key", [("T = 8, S = 3", FEW), ("T = 8, S = 3", MANY)], ids=str)
def test_exchangeable_conditions(key: tuple[str, int]) -> None:
    holds_what_it_says(tallies(PAIRS[key])["tuned gain"])


#: A population in which one source of error weighs most, and how the estimate looks without it.
LEFT_OUT = {
    "trials": (Regime("trials", users=FEW), {"trial_terms": ()}),
    "users": (Regime("users", users=60), {"users_variance": 0.0}),
    "seed": (Regime("seed", users=FEW, seed=0.03, default=0.999), {"seed_terms": ()}),
}


@pytest.mark.parametrize(
    "source", [pytest.param(source, marks=[] if source == "trials" else pytest.mark.thorough) for source in LEFT_OUT]
)
def test_without_one_source_of_error_the_interval_does_not_hold(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The residual, which two terms count, is zero here: it would hide what is missing."""
    monkeypatch.setattr(simulation, "RESIDUAL", 0.0)
    regime, without = LEFT_OUT[source]
    found = [
        one["tuned gain"].estimate for chunk in range(REPLICAS // CHUNK) for one in coverage.replicas_of(regime, chunk)
    ]

    def covered(estimates: Iterable[Estimate]) -> float:
        logs = [estimate.log_gain for estimate in estimates]
        return sum(abs(log.log_ratio) <= log.half_width(0.95) for log in logs) / REPLICAS

    whole, broken = covered(found), covered(dataclasses.replace(estimate, **without) for estimate in found)
    assert LOWEST <= whole <= HIGHEST
    assert broken < LOWEST - 0.05
    row = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {source} | "))
    assert [float(cell) for cell in row.split("|")[3:5]] == pytest.approx([whole, broken], abs=0.005)


def test_a_condition_with_more_tunables_has_the_gain_of_its_population() -> None:
    regime = PAIRS["A has more tunables", FEW]
    true = truth(regime, draws=100_000)
    assert 0.005 < true.log_ratio < 0.015
    assert true.se < 0.0002
    tally = tallies(regime, true.log_ratio)["tuned gain"]
    holds_what_it_says(tally)
    sd = math.sqrt(tally.square_error / REPLICAS)
    assert abs(tally.bias) <= 4 * sd / math.sqrt(REPLICAS)


@pytest.mark.thorough
def test_useless_images_are_neither_better_nor_worse_than_their_controls() -> None:
    (regime,) = (r for r in DISPOSALS if (r.models, r.trials, r.users) == (1, 8, FEW))
    found = tallies(regime)
    holds_what_it_says(found["tuned gain"], highest=1.0)  # on the safe side: see docs/calibration.md
    plain = found["plain"]  # more cells are more search: without controls useless images gain
    se = math.sqrt(plain.square_error / REPLICAS / REPLICAS)
    assert 4 * se <= plain.bias <= 0.013
    assert abs(found["tuned gain"].bias) <= 4 * se


# The simulator.


def sweeps(regime: Regime, count: int) -> Iterator[list[list[Tuning]]]:
    return islice(tunings(regime, stream(regime, 0), CHUNK), count)


@pytest.mark.parametrize("heavy", [False, True])
def test_means_over_users_vary_as_validation_and_final_runs_assume(heavy: bool) -> None:
    rng = np.random.default_rng(0)
    regime = Regime("means", users=500, heavy=heavy)
    standardised = []
    for _ in range(400):
        users = Users.drawn(regime, rng)
        tastes = rng.standard_normal((8, 2), np.float32) * np.float32(0.1)
        metric = users.metric(rng, np.full(8, LEVEL), tastes)
        expected = LEVEL * users.level.mean() * (1 + tastes @ users.mean_taste)
        standardised.append((metric.mean(axis=1) / expected - 1) / users.residual_sd)
    found = np.array(standardised)
    assert abs(found.mean()) < 0.06
    assert 0.93 < found.std() < 1.07
    np.testing.assert_allclose(np.unique((metric / (LEVEL * users.level) - tastes @ users.tastes).round(4)), [0.8, 1.2])
    assert RESIDUAL == 0.2


def test_the_default_stands_at_its_quantile_in_every_sweep() -> None:
    regime = Regime("quantile", default=0.8, seed=0.0)
    runs = draw_runs(regime, np.random.default_rng(1), 3_000, 5)
    default, others = runs.quality[..., 0], runs.quality[..., 1:]
    np.testing.assert_allclose(default, LEVEL * math.exp(default_level(PLAIN, regime.idiosyncratic, 0.8)))
    assert (others < default[0, 0]).mean() == pytest.approx(0.8, abs=0.01)


def test_a_content_weight_of_zero_is_the_surface_without_it() -> None:
    tunables = np.random.default_rng(2).random((1_000, 6))
    weighted, plain = Surface(weighted=True)(tunables), PLAIN(tunables)
    ignored = tunables[:, 3] <= 0.25
    np.testing.assert_array_equal(weighted[ignored], plain[ignored])
    assert (weighted[~ignored] != plain[~ignored]).all()
    region = Surface(region=0.3)(tunables) - plain
    np.testing.assert_allclose(region, np.where(tunables[:, 5] < 0.3, math.log(1.25), 0.0))


def test_the_truth_of_exchangeable_conditions_is_drawn_as_zero_too() -> None:
    mirrored = Regime("mirrored", (Surface(optimum=(0.3, 0.4, 0.5)), Surface(optimum=(0.7, 0.4, 0.5))))
    found = truth(mirrored, draws=60_000)
    assert found.se > 0
    assert abs(found.log_ratio) <= 4 * found.se
    assert truth(SMALL) == Truth(0.0, 0.0)


# What is counted.


def test_without_curves_the_estimate_is_the_same() -> None:
    for ((a, b),) in sweeps(PAIRS["T = 16", FEW], 3):
        cells = [TunedCell("a", name, 0, tuning, name) for name, tuning in (("a", a), ("b", b))]
        brief, whole = estimate(cells[:1], cells[1:]), tuned_gain(a, b)
        shared = [field.name for field in dataclasses.fields(brief) if hasattr(whole, field.name)]
        assert len(shared) == 7
        for name in [*shared, "log_gain", "depends_on_tuning"]:
            assert repr(getattr(brief, name)) == repr(getattr(whole, name))
        assert math.expm1(brief.log_of_all) == pytest.approx(whole.curve.mean[-1], rel=1e-9)
        unequal = estimate(cells, cells[:1])
        assert unequal.refusal is NoWord.MORE_SEARCH
        assert unequal.log_gain is None
        assert not unequal.depends_on_tuning
        assert unequal.estimate == free_disposal(cells, cells[:1]).estimate


def test_words_are_those_of_the_estimate_whatever_gain_is_true() -> None:
    gain, held = 0.02, set()
    for regime, replicas in ((PAIRS["same optimum (base)", FEW], 150), (PAIRS["seed noise .2 %", MANY], 15)):
        found, moved = [], []
        for ((a, b),) in sweeps(regime, replicas):
            raised = dataclasses.replace(a, test=a.test * np.float32(1 + gain))
            for kept, one in ((found, a), (moved, raised)):
                kept.append(estimate([TunedCell("m", "a", 0, one, "a")], [TunedCell("m", "b", 0, b, "b")]))
        words = Errors.of(found, 0.0).words(gain)
        for index, one in enumerate(moved):
            log = one.log_gain
            assert log is not None
            interval = log.at(0.95)
            expected = {
                "better": interval.lo > 0,
                "worse": interval.hi < 0,
                "equivalent": log.tost(coverage.DELTA).equivalence_p < 0.05,
                "depends on tuning": one.depends_on_tuning,
            }
            expected["undecided"] = not any(expected.values())
            assert {word: bool(holds[index]) for word, holds in words.items()} == expected
            held |= {word for word, holds in expected.items() if holds}
    assert held >= {"better", "depends on tuning", "undecided"}


def test_what_breaks_a_bound_is_marked() -> None:
    good = Tally(1_000, {}, 1_000, 950, 0.0, 0.1, 25.0, 600.0)
    rates = dict.fromkeys(coverage.WORDS, 70)
    good.words = {str(gain): dict(rates) for gain in (-0.02, 0.0, 0.02)}
    assert good.width == pytest.approx(25 / 1_000 / (1.959964 * 0.01))
    assert good.outside() == []
    worse = {**good.words, "0.0": {**rates, "worse": 71}, "-0.02": {**rates, "equivalent": 71, "better": 900}}
    assert dataclasses.replace(good, words=worse).outside() == ["worse", "equivalent below"]
    assert dataclasses.replace(good, covered=986).outside() == ["coverage"]
    assert dataclasses.replace(good, covered=934).outside() == ["coverage"]
    wide = dataclasses.replace(good, half_width=30.0)
    assert wide.outside() == ["width"]
    assert dataclasses.replace(wide, users_share=490.0).outside() == []
    again = Result(PAIRS["T = 16", FEW], [], Truth(0.0, 0.0), {"tuned gain": dataclasses.replace(good, covered=990)})
    assert again.outside == ["coverage"]
    assert dataclasses.replace(again, tallies={**again.tallies, "plain": good}).outside == []
    row = coverage.coverage_rows(
        {regime.name: Result(regime, [], Truth(0.0, 0.0), {"tuned gain": wide}) for regime in REGIMES}
    )
    assert row.count("| **1.53 !** |") == len(PAIRS)
    assert row.count("rare good region (expected: valid for random search in this space)") == 2


# Results that are kept.


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(coverage, "RESULTS", tmp_path)
    monkeypatch.setattr(coverage, "CHUNK", 20)
    return tmp_path


def test_more_replicas_are_added_to_those_that_are_there(folder: Path) -> None:
    once = coverage.run(SMALL, 2 * coverage.CHUNK)
    coverage.path_of(SMALL).unlink()
    assert coverage.run(SMALL, coverage.CHUNK).main.replicas == coverage.CHUNK
    again = coverage.run(SMALL, coverage.CHUNK + 1)
    assert again.main.replicas == 2 * coverage.CHUNK
    assert json.loads(json.dumps(dataclasses.asdict(again))) == json.loads(json.dumps(dataclasses.asdict(once)))
    assert [path.name for path in folder.iterdir()] == ["small.json"]


def test_results_of_another_estimator_or_regime_are_left(folder: Path) -> None:
    path = coverage.path_of(SMALL)
    coverage.run(SMALL, 2 * coverage.CHUNK)
    said = json.loads(path.read_text())
    said["signature"][1] *= 1.001
    path.write_text(json.dumps(said))
    assert coverage.run(SMALL, coverage.CHUNK).main.replicas == coverage.CHUNK
    coverage.run(SMALL, 2 * coverage.CHUNK)
    assert coverage.run(dataclasses.replace(SMALL, seed=0.02), coverage.CHUNK).main.replicas == coverage.CHUNK


def test_the_committed_results_are_those_of_this_estimator() -> None:
    found = coverage.results()
    assert {path.name for path in coverage.RESULTS.glob("*")} == {
        coverage.path_of(r.regime).name for r in found.values()
    }
    assert len({coverage.path_of(regime) for regime in REGIMES}) == len(REGIMES)
    assert list(found) == [regime.name for regime in REGIMES]
    assert all(tally.replicas >= coverage.REPLICAS for result in found.values() for tally in result.tallies.values())
    for result in found.values():
        assert result.is_of(coverage.signature_of(result.regime)), result.regime.name


def test_the_committed_results_keep_their_bounds() -> None:
    found = {name: r for name, r in coverage.results().items() if not name.startswith(coverage.EXPECTED_TO_FAIL)}
    assert {name: result.outside for name, result in found.items() if result.outside} == coverage.TOO_WIDE
    assert all(found[name].main.coverage > coverage.COVERAGE[1] for name in coverage.TOO_WIDE)


def test_the_page_shows_the_committed_results() -> None:
    page, found = PAGE.read_text(encoding="utf-8"), coverage.results()
    for make in SECTIONS.values():
        assert make(found) in page
    assert coverage.with_sections(page, found) == page
    with pytest.raises(ValueError, match="the page lacks <!-- power: begin -->"):
        coverage.with_sections(page.replace("<!-- power: begin -->", ""), found)
