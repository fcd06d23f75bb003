"""The search space and the draws that all conditions share."""

from __future__ import annotations

import hashlib
import itertools
import math
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from scipy import stats

from mmbench.scheduling.cell_key import check_searched
from mmbench.tuning.sampler import SlotSampler
from mmbench.tuning.space import (
    NumericRange,
    RangeWithAtoms,
    configuration_hash,
    configurations,
    contains,
    inverse_cdf,
    numeric_ranges,
    read_space,
    uniform,
)

N = 4000
SPACE = {
    "model.hidden_dim": CategoricalDistribution([0, 64, 128]),
    "model.n_layers": IntDistribution(1, 4),
    "optimizer.lr": FloatDistribution(1e-3, 2e-2, log=True),
}
DEFAULT = {"model.hidden_dim": 64, "model.n_layers": 2, "optimizer.lr": 5e-3}


def draws(distribution: BaseDistribution, n: int = N) -> list[Any]:
    return [inverse_cdf(distribution, uniform("key", slot, 0, "path")) for slot in range(n)]


def test_a_nested_tree_becomes_dotted_paths_in_order() -> None:
    space = read_space(
        {
            "optimizer": {"lr": {"low": 1e-3, "high": 2e-2, "log": True}},
            "model": {
                "n_layers": {"low": 1, "high": 4},
                "width": {"low": 16, "high": 64, "step": 16},
                "rank": {"low": 1, "high": 64, "log": True},
                "dropout": {"low": 0.0, "high": 0.5, "step": 0.1},
                "graph": {"k": {"choices": [5, 10, 20]}},
            },
        }
    )
    assert list(space.items()) == [
        ("model.dropout", FloatDistribution(0.0, 0.5, step=0.1)),
        ("model.graph.k", CategoricalDistribution([5, 10, 20])),
        ("model.n_layers", IntDistribution(1, 4)),
        ("model.rank", IntDistribution(1, 64, log=True)),
        ("model.width", IntDistribution(16, 64, step=16)),
        ("optimizer.lr", FloatDistribution(1e-3, 2e-2, log=True)),
    ]


def test_whole_bounds_give_whole_numbers_unless_the_step_is_a_fraction() -> None:
    space = read_space(
        {
            "tenths": {"low": 0, "high": 1, "step": 0.1},
            "halves": {"low": 0, "high": 3, "step": 1.5},
            "written_with_a_point": {"low": 0, "high": 4, "step": 2.0},
            "without": {"low": 0, "high": 4, "step": None},
        }
    )
    assert space == {
        "tenths": FloatDistribution(0.0, 1.0, step=0.1),
        "halves": FloatDistribution(0.0, 3.0, step=1.5),
        "written_with_a_point": IntDistribution(0, 4, step=2),
        "without": IntDistribution(0, 4),
    }
    assert {inverse_cdf(space["halves"], u) for u in (0.0, 0.4, 0.9)} == {0.0, 1.5, 3.0}


def test_an_empty_tree_has_nothing_to_tune() -> None:
    assert read_space({}) == {}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"model": {"k": 3}}, r"search\.model\.k=3 must be \{low, high, log, step\} or \{choices\}"),
        ({"model": {"k": [1, 2]}}, r"search\.model\.k=\[1, 2\] must be"),
        (
            {"lr": {"low": 1.0, "high": 2.0, "logg": True}},
            r"search\.lr: unknown key logg; allowed are low, high",
        ),
        ({"lr": {"choices": [1], "log": True}}, r"search\.lr: choices takes no log"),
        ({"lr": {"low": 1.0}}, r"search\.lr: .*high"),
        ({"lr": {"low": 2.0, "high": 1.0}}, r"search\.lr: .*low.*high"),
        ({"lr": {"low": 0.0, "high": 1.0, "log": True}}, r"search\.lr: .*low"),
        ({"lr": {"low": "a", "high": 1.0}}, r"search\.lr: .*'a'"),
        ({"k": {"low": 0, "high": 4, "step": 0}}, r"search\.k: .*step > 0"),
        ({"k": {"low": 0, "high": 4, "step": -0.5}}, r"search\.k: .*step > 0"),
        ({"k": {"low": 0, "high": 4, "step": "a"}}, r"search\.k: .*'a'"),
        ({"lr": {"low": None, "high": 1.0}}, r"search\.lr: "),
        ({"k": {"choices": []}}, r"search\.k: "),
        ({"k": {"choices": 3}}, r"search\.k: "),
        ({"k": {"choices": [1], "zero": 0.25}}, r"search\.k: choices takes no zero"),
        ({"w": {"low": 0.1, "high": 1.0, "zero": 1.0}}, r"search\.w: zero=1\.0 must be a probability"),
        ({"w": {"low": 0.1, "high": 1.0, "zero": "x"}}, r"search\.w: zero=x must be a probability"),
        ({"w": {"low": 0.0, "high": 1.0, "ends": 0.0}}, r"search\.w: ends=0\.0 must be a probability"),
        ({"w": {"low": 0.0, "high": 1.0, "ends": 0.2, "zero": 0.2}}, r"search\.w: a range has either zero or ends"),
        ({"w": {"low": 0.0, "high": 1.0, "step": 0.5, "ends": 0.2}}, r"search\.w: ends belongs to a range"),
        ({"w": {"low": 1.0, "high": 1.0, "ends": 0.2}}, r"search\.w: the range has one value, 1\.0, and no two ends"),
        ({"w": {"low": -1.0, "high": 1.0, "zero": 0.2}}, r"search\.w: a range that may be 0 begins at 0 or above"),
    ],
)
def test_a_wrong_leaf_is_named(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_space(tree)


def test_uniform_depends_on_each_of_its_arguments_and_nothing_else() -> None:
    base = uniform("key", 1, 2, "a.b")
    assert base == uniform("key", 1, 2, "a.b")
    others = [("kex", 1, 2, "a.b"), ("key", 2, 2, "a.b"), ("key", 1, 3, "a.b"), ("key", 1, 2, "a.c")]
    assert len({base, *(uniform(*other) for other in others)}) == 5


def test_uniform_is_uniform_and_its_coordinates_are_independent() -> None:
    a = np.array([uniform("key", slot, 0, "a") for slot in range(N)])
    b = np.array([uniform("key", slot, 0, "b") for slot in range(N)])
    assert a.min() >= 0.0
    assert a.max() < 1.0
    assert stats.kstest(a, "uniform").pvalue > 1e-3
    assert stats.spearmanr(a, b).pvalue > 1e-3
    assert stats.spearmanr(a[1:], a[:-1]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("distribution", "values"),
    [
        (CategoricalDistribution(["a", None, 3]), ["a", None, 3]),
        (IntDistribution(1, 4), [1, 2, 3, 4]),
        (IntDistribution(-1, 1), [-1, 0, 1]),
        (IntDistribution(16, 64, step=16), [16, 32, 48, 64]),
        (IntDistribution(1, 9, step=4), [1, 5, 9]),
        (FloatDistribution(0.0, 0.5, step=0.1), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
    ],
)
def test_listed_values_are_equally_likely(distribution: BaseDistribution, values: list[Any]) -> None:
    found = [round(v, 9) if isinstance(v, float) else v for v in draws(distribution)]
    counts = [found.count(value) for value in values]
    assert sum(counts) == N
    assert stats.chisquare(counts).pvalue > 1e-3


def test_a_float_range_is_uniform() -> None:
    found = draws(FloatDistribution(-2.0, 3.0))
    assert stats.kstest(found, stats.uniform(-2.0, 5.0).cdf).pvalue > 1e-3


def test_a_log_range_is_uniform_in_the_logarithm() -> None:
    found = np.array(draws(FloatDistribution(1e-4, 1e-1, log=True)))
    assert found.min() >= 1e-4
    assert found.max() <= 1e-1
    assert stats.kstest(np.log10(found), stats.uniform(-4.0, 3.0).cdf).pvalue > 1e-3
    # The median of a log-uniform law is the geometric mean of its ends.
    assert inverse_cdf(FloatDistribution(1e-4, 1e-2, log=True), 0.5) == pytest.approx(1e-3)


def test_a_log_range_of_whole_numbers_has_both_ends() -> None:
    """Mass of k is log((k + 1) / k): each whole number owns the interval up to the next."""
    values = range(1, 9)
    found = draws(IntDistribution(1, 8, log=True))
    expected = [N * math.log((k + 1) / k) / math.log(9) for k in values]
    assert all(isinstance(value, int) for value in found)
    assert stats.chisquare([found.count(k) for k in values], expected).pvalue > 1e-3


@pytest.mark.parametrize(
    "distribution",
    [
        *(IntDistribution(low, 100, log=True) for low in (1, 3, 5, 7)),
        *(FloatDistribution(low, 0.5, log=True) for low in (1e-4, 3e-3, 1e-2)),
        IntDistribution(2, 9),
        FloatDistribution(0.1, 0.7, step=0.2),
        FloatDistribution(0.1, 0.7),
    ],
    ids=str,
)
@pytest.mark.parametrize("u", [0.0, 1.0 - 2.0**-53])
def test_the_smallest_and_largest_number_stay_in_the_range(distribution: BaseDistribution, u: float) -> None:
    value = inverse_cdf(distribution, u)
    assert distribution._contains(distribution.to_internal_repr(value)), value


ZERO = {"low": 0.1, "high": 10.0, "log": True, "zero": 0.25}
ENDS = {"low": 0.0, "high": 1.0, "ends": 0.3}


def leaf(**keys: Any) -> BaseDistribution:
    return read_space({"w": keys})["w"]


@pytest.mark.parametrize(
    ("keys", "masses"),
    [
        (ZERO, {0.0: 0.25}),
        ({"low": 0.0, "high": 0.8, "zero": 0.4}, {0.0: 0.4}),
        (ENDS, {0.0: 0.15, 1.0: 0.15}),
        ({"low": 1.0, "high": 1.0, "zero": 0.25}, {0.0: 0.25, 1.0: 0.75}),
    ],
)
def test_atoms_have_their_probability_and_the_rest_is_the_range(
    keys: dict[str, Any], masses: dict[float, float]
) -> None:
    found = draws(leaf(**keys))
    for value, mass in masses.items():
        assert stats.binomtest(found.count(value), N, mass).pvalue > 1e-3
    inside = np.array([value for value in found if value not in masses])
    plain = FloatDistribution(keys["low"], keys["high"], log=keys.get("log", False))
    expected = [inverse_cdf(plain, (k + 0.5) / 500) for k in range(500)]
    assert len(inside) == 0 or stats.ks_2samp(inside, expected).pvalue > 1e-3


@pytest.mark.parametrize("keys", [ZERO, ENDS, {"low": 0.2, "high": 0.2, "zero": 0.1}])
def test_atoms_come_from_one_number_in_ascending_order(keys: dict[str, Any]) -> None:
    """So that the other coordinates keep theirs, and a larger number never gives a smaller value."""
    grid = [inverse_cdf(leaf(**keys), u) for u in np.linspace(0.0, 1.0 - 2.0**-53, 2001)]
    assert grid == sorted(grid)
    assert grid[0] == 0.0
    assert grid[-1] == pytest.approx(keys["high"])
    assert all(contains(leaf(**keys), value) for value in grid)


def test_what_a_range_with_atoms_contains() -> None:
    zero = leaf(**ZERO)
    assert [contains(zero, value) for value in (0.0, 0.05, 0.1, 10.0, 11.0, "a")] == [
        True,
        False,
        True,
        True,
        False,
        False,
    ]
    assert isinstance(zero, RangeWithAtoms)
    assert zero == leaf(**ZERO)
    assert hash(zero) == hash(leaf(**ZERO))
    assert zero != leaf(**{**ZERO, "zero": 0.5})


@pytest.mark.parametrize("default", [0.0, 1.0])
def test_a_default_may_be_an_atom_or_lie_in_the_range(default: float) -> None:
    slots = configurations({"w": leaf(**ZERO)}, {"w": default}, 8, "key")
    assert slots[0] == {"w": default}
    with pytest.raises(ValueError, match=r"w=0\.01 is outside its search range"):
        configurations({"w": leaf(**ZERO)}, {"w": 0.01}, 8, "key")


def test_an_atom_leaves_the_other_draws_alone() -> None:
    """With and without a mass at 0 the other coordinates are the same."""
    spaces = [{**SPACE, "w": leaf(**keys)} for keys in (ZERO, {k: v for k, v in ZERO.items() if k != "zero"})]
    one, other = (configurations(space, {**DEFAULT, "w": 1.0}, 20, "key") for space in spaces)
    assert [{path: slot[path] for path in SPACE} for slot in one] == [
        {path: slot[path] for path in SPACE} for slot in other
    ]
    assert any(slot["w"] == 0.0 for slot in one)
    assert all(slot["w"] > 0.0 for slot in other)


def test_numeric_ranges_of_a_space() -> None:
    space = {**SPACE, "model.w": leaf(**ZERO), "model.s": leaf(**ENDS)}
    assert numeric_ranges(space) == {
        "model.n_layers": NumericRange(1, 4, log=False),
        "optimizer.lr": NumericRange(1e-3, 2e-2, log=True),
        "model.w": NumericRange(0.1, 10.0, log=True, atoms=(0.0,)),
        "model.s": NumericRange(0.0, 1.0, log=False, atoms=(0.0, 1.0)),
    }


def test_the_default_comes_first_and_draws_are_distinct() -> None:
    slots = configurations(SPACE, DEFAULT, 30, "key")
    assert slots[0] == DEFAULT
    hashes = [configuration_hash(slot) for slot in slots]
    assert len(set(hashes)) == len(slots) == 30
    assert all(list(slot) == list(SPACE) for slot in slots)


def test_draws_come_from_sha_256_and_nothing_else() -> None:
    """Another process, machine or version of a library draws the same."""
    slots = configurations(SPACE, DEFAULT, 5, "planted|vbpr|space")
    for slot in range(1, 5):
        u = {
            p: int(hashlib.sha256(f"planted|vbpr|space|{slot}|0|{p}".encode()).hexdigest()[:16], 16) / 2**64
            for p in SPACE
        }
        assert slots[slot] == {
            "model.hidden_dim": (0, 64, 128)[int(3 * u["model.hidden_dim"])],
            "model.n_layers": 1 + int(4 * u["model.n_layers"]),
            "optimizer.lr": pytest.approx(1e-3 * 20 ** u["optimizer.lr"], rel=1e-12),
        }


def test_a_small_budget_is_the_beginning_of_a_large_one() -> None:
    assert configurations(SPACE, DEFAULT, 8, "key") == configurations(SPACE, DEFAULT, 30, "key")[:8]


def test_another_key_gives_other_draws_and_the_same_default() -> None:
    one, other = (configurations(SPACE, DEFAULT, 8, key) for key in ("key", "other"))
    assert one[0] == other[0]
    assert not any(a == b for a, b in itertools.zip_longest(one[1:], other[1:]))


def test_an_added_coordinate_leaves_the_other_draws_alone() -> None:
    wider = {**SPACE, "model.extra": FloatDistribution(0.0, 1.0)}
    one = configurations(SPACE, DEFAULT, 8, "key")
    other = configurations(wider, {**DEFAULT, "model.extra": 0.5}, 8, "key")
    assert one == [{path: slot[path] for path in SPACE} for slot in other]


def test_a_space_that_runs_out_gives_fewer_slots() -> None:
    space = {"a": CategoricalDistribution(["x", "y", "z"]), "b": IntDistribution(0, 1)}
    slots = configurations(space, {"a": "y", "b": 1}, 30, "key")
    assert {(slot["a"], slot["b"]) for slot in slots} == set(itertools.product("xyz", (0, 1)))
    assert len(slots) == 6
    assert configurations({}, {}, 30, "key") == [{}]
    # On a log range the last values that are left are drawn rarely.
    neighbours = configurations({"k": IntDistribution(5, 60, log=True)}, {"k": 20}, 100, "key")
    assert sorted(slot["k"] for slot in neighbours) == list(range(5, 61))


def test_steps_of_a_float_range_are_the_numbers_that_are_written() -> None:
    """Three times .1 is not .3, and would be another configuration than a default of .3."""
    slots = configurations({"p": FloatDistribution(0.0, 0.5, step=0.1)}, {"p": 0.3}, 30, "key")
    assert slots[0] == {"p": 0.3}
    assert sorted(slot["p"] for slot in slots) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


@pytest.mark.parametrize(
    "distribution", [CategoricalDistribution([0.0, 0.1, 0.5]), FloatDistribution(0.0, 0.2, step=0.1)], ids=str
)
def test_a_default_is_the_value_it_equals_however_it_is_written(distribution: BaseDistribution) -> None:
    """0 and 0.0 took two of three slots, so that one value was never tried."""
    for key in "abcdefgh":
        slots = configurations({"p": distribution}, {"p": 0}, 30, key)
        assert slots[0] == {"p": 0}
        assert isinstance(slots[0]["p"], int)
        assert len({slot["p"] for slot in slots}) == len(slots) == 3


@pytest.mark.parametrize(
    ("choices", "pair"), [([64, 32, 64], "64 and 64"), ([0, 0.5, 0.0], r"0 and 0\.0"), (["a", None, "a"], "a and a")]
)
def test_choices_that_are_equal_are_refused(choices: list[Any], pair: str) -> None:
    with pytest.raises(ValueError, match=rf"^search\.model\.k: the choices {pair} are equal; leave out one of them$"):
        check_searched({"model.k": CategoricalDistribution(choices)})


def test_truth_values_and_texts_are_no_numbers() -> None:
    values = [1, 0, True, False, None, "1", "null", "true", 0.5]
    space = {"model.p": CategoricalDistribution(values)}
    check_searched(space)
    slots = [slot["model.p"] for slot in configurations(space, {"model.p": "1"}, 30, "key")]
    assert sorted(map(repr, slots)) == sorted(map(repr, values))


@pytest.mark.parametrize("value", [1e-4, 0.5])
def test_a_default_outside_its_range_is_refused(value: float) -> None:
    message = (
        rf"optimizer\.lr={value} is outside its search range .*widen search\.optimizer\.lr or remove it with '~search"
    )
    with pytest.raises(ValueError, match=message):
        configurations(SPACE, {**DEFAULT, "optimizer.lr": value}, 2, "key")


def test_a_default_that_is_no_choice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.hidden_dim=32 is outside its search range"):
        configurations(SPACE, {**DEFAULT, "model.hidden_dim": 32}, 2, "key")


def test_hash_of_a_configuration_ignores_the_order_of_its_paths() -> None:
    backwards = dict(reversed(DEFAULT.items()))
    assert configuration_hash(backwards) == configuration_hash(DEFAULT)
    assert configuration_hash({**DEFAULT, "model.n_layers": 3}) != configuration_hash(DEFAULT)


def test_optuna_asks_for_exactly_the_slots() -> None:
    slots = configurations(SPACE, DEFAULT, 10, "key")
    study = optuna.create_study(direction="maximize", sampler=SlotSampler(slots))
    order = [3, 0, 9, 1, 2, 8, 7, 6, 5, 4]
    for slot in order:
        study.enqueue_trial({}, user_attrs={"slot": slot})
    for slot in order:
        trial = study.ask()
        asked = {
            "optimizer.lr": trial.suggest_float("optimizer.lr", 1e-3, 2e-2, log=True),
            "model.hidden_dim": trial.suggest_categorical("model.hidden_dim", [0, 64, 128]),
            "model.n_layers": trial.suggest_int("model.n_layers", 1, 4),
        }
        assert asked == slots[slot]
        study.tell(trial, float(slot))
    assert [trial.params for trial in study.trials] == [slots[slot] for slot in order]
    assert study.best_params == slots[9]
