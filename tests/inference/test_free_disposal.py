"""Free disposal: the best of several cells against the best of their controls, counted over every set of trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbench.inference.best_of_n import SeedNoise, TunedCell, Tuning
from mmbench.inference.gains import NoWord, TunedGain
from mmbench.inference.tuned_gain import free_disposal, tuned_gain
from tests.inference import subsets
from tests.inference.test_tuned_gain import CLOSE, NO_SEED_NOISE, realistic, tuning

#: Conditions of a real side and of its control for images, each with its number of modalities.
REAL = {"text": 1, "image": 1, "fused": 2}
CONTROL = {"text": 1, "image_shuffled": 1, "text_shuffled_image": 2}


def cell(model: str, condition: str, given_tuning: Tuning) -> TunedCell:
    """A cell whose slots are those of its model."""
    slots = [f"{model} {slot}" for slot in range(len(given_tuning.scores))]
    own = replace(given_tuning, configurations=slots)
    return TunedCell(model, condition, {**REAL, **CONTROL}[condition], own, f"{model}/{condition}")


def in_order(cells: Sequence[TunedCell]) -> list[TunedCell]:
    return sorted(cells, key=lambda one: (one.n_modalities, one.condition, one.model))


@st.composite
def sides(draw: st.DrawFn) -> tuple[list[TunedCell], list[TunedCell]]:
    """Two to four cells per side of one or two models, with ties within and between them, and failures."""
    models = draw(st.sampled_from([("m",), ("m", "z")]))
    trials = draw(st.integers(3, 5 if len(models) == 2 else 7))
    pairs = list(zip(REAL, CONTROL, strict=True))
    chosen = draw(st.sampled_from([pairs, pairs[:2], pairs[1:]] if len(models) == 1 else [pairs[:2], pairs[::2]]))
    scores = st.lists(st.integers(-1, 3), min_size=trials, max_size=trials)
    real, control, seed = [], [], 0
    for model in models:
        for condition, shuffled in chosen:
            seed += 2
            noise = SeedNoise(0.01 * seed, 1.0 + seed)
            real.append(cell(model, condition, tuning(draw(scores), seed=seed, seed_noise=noise)))
            same = condition == shuffled
            control.append(
                real[-1] if same else cell(model, shuffled, tuning(draw(scores), seed=seed + 1, seed_noise=noise))
            )
    return draw(st.permutations(real)), draw(st.permutations(control))


def counted_agrees(real: list[TunedCell], control: list[TunedCell], n: int) -> TunedGain:
    """Every part of the estimate against the definition."""
    found = free_disposal(real, control, n)
    ordered = [in_order(side) for side in (real, control)]
    slots = subsets.slots_of(real)
    weights = [subsets.weights(side, n, slots) for side in ordered]
    for side, ours, own in zip(ordered, (found.a, found.b), weights, strict=True):
        assert ours.cells == tuple(f"{one.model}/{one.condition}" for one in side)
        undefined = np.isnan(np.concatenate(own)).any()
        assert np.isnan(np.concatenate(ours.weights)).any() == undefined
        if not undefined:
            for one, other in zip(ours.weights, own, strict=True):
                np.testing.assert_allclose(one, other, **CLOSE)
            np.testing.assert_allclose(ours.tuned, subsets.by_user(side, own).mean(), **CLOSE)
            np.testing.assert_allclose(ours.validation, subsets.promised(side, own), **CLOSE)
    np.testing.assert_allclose(found.a_beats_b, subsets.a_beats_b(ordered, n, slots), **CLOSE)
    if any(np.isnan(own[0]).any() for own in weights):
        assert found.refusal in (NoWord.FEW_SUCCESSES, NoWord.NOTHING_FOUND)
        return found
    metrics = [subsets.by_user(side, own) for side, own in zip(ordered, weights, strict=True)]
    np.testing.assert_allclose(found.estimate.log_ratio, math.log(metrics[0].mean() / metrics[1].mean()), **CLOSE)
    by_user = metrics[0] / metrics[0].mean() - metrics[1] / metrics[1].mean()
    np.testing.assert_allclose(found.estimate.users_variance, by_user.var(ddof=1) / len(by_user), **CLOSE)
    seeds_agree(found, ordered, weights, metrics)
    if n < min(slots.values()):
        trials_agree(found, ordered, weights, n)
    return found


def seeds_agree(
    found: TunedGain,
    ordered: list[list[TunedCell]],
    weights: list[list[np.ndarray]],
    metrics: list[np.ndarray],
) -> None:
    moved: dict[str, float] = {}
    noises: dict[str, SeedNoise] = {}
    for sign, side, own, metric in zip((1, -1), ordered, weights, metrics, strict=True):
        for one, chances in zip(side, own, strict=True):
            if chances[0] > 0:
                assert one.tuning.seed_noise is not None
                noises[one.runs] = one.tuning.seed_noise
                effect = sign * chances[0] / metric.mean() * one.tuning.means[0]
                moved[one.runs] = moved.get(one.runs, 0.0) + effect
    expected = sorted(((moved[run] * noises[run].relative_sd) ** 2, noises[run].df) for run in moved)
    np.testing.assert_allclose(np.array(sorted(found.estimate.seed_terms)), np.array(expected), **CLOSE)


def trials_agree(found: TunedGain, ordered: list[list[TunedCell]], weights: list[list[np.ndarray]], n: int) -> None:
    slots = subsets.slots_of(ordered[0])
    terms = {term.model: term for term in found.estimate.trial_terms}
    assert terms.keys() == slots.keys()
    for model, trials in slots.items():
        deleted = [(model, slot) for slot in range(1, trials)]
        if any(np.isnan(subsets.weights(side, n, slots, one)[0]).any() for one in deleted for side in ordered):
            assert found.refusal is NoWord.FEW_SUCCESSES
            continue
        replicates = [subsets.log_ratio(ordered, n, slots, one) for one in deleted]
        np.testing.assert_allclose(terms[model].variance, subsets.jackknife(replicates), **CLOSE)
        by_slot = [
            sum(own[1:] for one, own in zip(side, chances, strict=True) if one.model == model)
            for side, chances in zip(ordered, weights, strict=True)
        ]
        if not np.any(by_slot):
            assert math.isnan(terms[model].effective_configurations)
            continue
        k = sum(own.sum() ** 2 for own in by_slot) / sum((own**2).sum() for own in by_slot)
        np.testing.assert_allclose(terms[model].effective_configurations, k, **CLOSE)
        top = found.top_trial
        if top is not None and top.model == model:
            assert top.gain_without == pytest.approx(math.expm1(replicates[top.slot - 1]))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(sides(), st.data())
def test_the_estimate_is_that_of_all_sets_of_trials(
    given_sides: tuple[list[TunedCell], list[TunedCell]], data: st.DataObject
) -> None:
    real, control = given_sides
    counted_agrees(real, control, data.draw(st.integers(1, min(len(real[0].tuning.scores), 4))))


def test_four_cells_of_two_models_with_ties_between_them() -> None:
    scores = {
        ("m", "image"): [3, 5, 4, 6, -1, 6],
        ("m", "fused"): [3, 5, 6, 6, 2, 1],
        ("z", "image"): [3, 6, 1, 4, 6, -1],
        ("z", "fused"): [2, 4, 6, 4, 5, 0],
        ("m", "image_shuffled"): [3, 1, 5, 5, 2, 4],
        ("m", "text_shuffled_image"): [-1, 5, 5, 1, 0, 2],
        ("z", "image_shuffled"): [1, 5, 2, 2, -1, 4],
        ("z", "text_shuffled_image"): [3, 3, 5, 4, 4, 2],
    }
    cells = [cell(*where, tuning(given_scores, seed=at)) for at, (where, given_scores) in enumerate(scores.items())]
    for n in (2, 3, 5):
        found = counted_agrees(cells[:4], cells[4:], n)
        assert {term.model for term in found.estimate.trial_terms} == {"m", "z"}


def test_of_equal_scores_the_default_wins_then_fewer_modalities_then_the_name() -> None:
    equal = [
        cell("m", condition, tuning([1, 1, 1], seed=at)) for at, condition in enumerate(["fused", "text", "image"])
    ]
    found = free_disposal(equal, equal, 2)
    assert found.a.cells == ("m/image", "m/text", "m/fused")
    assert [own.tolist() for own in found.a.weights] == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    worse = [replace(one, tuning=replace(one.tuning, validation=np.array([0.0, 1, 1]))) for one in equal]
    # Equal random slots of one cell share.
    assert [own.tolist() for own in free_disposal(worse, worse, 2).a.weights] == [[0, 0.5, 0.5], [0, 0, 0], [0, 0, 0]]
    # The default of a later cell still goes before a random slot of an earlier one.
    late = replace(worse[0], tuning=replace(worse[0].tuning, validation=np.array([1.0, 0, 0])))
    weights = free_disposal([late, *worse[1:]], [late, *worse[1:]], 2).a.weights
    assert [own.tolist() for own in weights] == [[0, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_one_cell_against_one_is_the_tuned_gain() -> None:
    a, b = realistic(12, 1), realistic(12, 2)
    found, plain = free_disposal([cell("m", "fused", a)], [cell("m", "text", b)]), tuned_gain(a, b)
    assert found.gain == plain.gain
    assert found.interval == plain.interval
    assert found.estimate.trial_terms[0][1:] == plain.estimate.trial_terms[0][1:]


def test_a_side_against_itself_has_no_gain_and_no_variance() -> None:
    real = [
        cell(model, c, realistic(9, at)) for at, (model, c) in enumerate([("m", "text"), ("m", "fused"), ("z", "text")])
    ]
    found = free_disposal(real, real[::-1])
    assert found.log_gain is not None
    assert (found.gain, found.log_gain.se, found.log_gain.p, found.refusal) == (0.0, 0.0, 1.0, None)
    assert found.a_beats_b == 0.5
    assert not found.depends_on_tuning


def test_a_run_on_both_sides_moves_both() -> None:
    def default_best(condition: str, seed: int) -> TunedCell:
        base = realistic(9, seed)
        validation = base.validation.copy()
        validation[0] = 1.0
        return cell("m", condition, replace(base, validation=validation))

    shared, fused, shuffled = default_best("text", 1), cell("m", "fused", realistic(9, 2)), realistic(9, 3)
    control = cell("m", "text_shuffled_image", shuffled)
    assert free_disposal([shared, fused], [shared, control]).estimate.seed_variance == 0.0
    apart = replace(shared, runs="trained once more")
    twice = free_disposal([shared, fused], [apart, control]).estimate
    assert twice.seed_variance == pytest.approx(2 * 0.01**2)


def test_aliases_of_one_run_count_once() -> None:
    ignores = cell("m", "text", realistic(9, 1))
    aliases = [ignores, replace(ignores, condition="image"), replace(ignores, condition="fused", n_modalities=2)]
    other = [cell("z", "fused", realistic(9, 2))]
    control = [cell("z", "text_shuffled_image", realistic(9, 3))]
    once, thrice = (
        free_disposal([ignores, *other], [ignores, *control]),
        free_disposal([*aliases, *other], [ignores, *control]),
    )
    assert thrice.refusal is None
    assert thrice.estimate == once.estimate
    assert len(thrice.a.cells) == 2


def test_more_search_on_one_side_gives_a_ratio_and_no_word() -> None:
    real = [cell("m", condition, realistic(9, at)) for at, condition in enumerate(REAL)]
    found = free_disposal(real, real[:1])
    assert found.refusal is NoWord.MORE_SEARCH
    assert (found.log_gain, found.interval) == (None, None)
    assert np.isnan([found.curve.lo, found.curve.hi]).all(), "no chart may draw what has no bounds"
    assert np.isfinite([found.a_curves.test.lo[2], found.b_curves.test.lo[2]]).all(), "each side has its own"
    assert math.isfinite(found.gain)
    moved = [replace(real[1], model="z", runs="z/image"), real[0]]  # as many cells, of other models
    assert free_disposal(real[:2], moved).refusal is NoWord.MORE_SEARCH


def test_a_condition_without_successes_takes_the_bounds_of_all() -> None:
    real, control = ([cell("m", c, realistic(9, at)) for at, c in enumerate(side)] for side in (REAL, CONTROL))
    assert free_disposal(real, control).refusal is None
    dead = cell("m", "fused", tuning([-1] * 9, n_users=200))
    found = free_disposal([*real[:2], dead], control)
    assert found.refusal is NoWord.FEW_SUCCESSES
    assert math.isfinite(found.gain)


def test_a_model_with_few_configurations_takes_part_with_all_of_them() -> None:
    def finite(condition: str, seed: int) -> TunedCell:
        best = realistic(2, seed, lift=1.2)
        return cell("popularity", condition, replace(best, exhausted=True, seed_noise=NO_SEED_NOISE))

    real, control = ([cell("m", c, realistic(9, at)) for at, c in enumerate(side)] for side in (REAL, CONTROL))
    ignores = finite("text", 1)
    found = free_disposal([*real, ignores], [*control, ignores])
    assert (found.trials, found.n, found.refusal) == (9, 3, None)
    assert [term.model for term in found.estimate.trial_terms] == ["m"]
    names = dict(zip(found.a.cells, found.a.weights, strict=True))
    assert len(names["popularity/text"]) == 2
    assert names["popularity/text"].sum() > 0.1


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda one: replace(one, tuning=replace(one.tuning, users=one.tuning.users + 1)), "with the users of"),
        (lambda one: replace(one, tuning=replace(one.tuning, configurations=["x"] * 9)), "in the same configurations"),
        (lambda one: replace(one, runs="m/text"), "cannot both be the runs m/text"),
        (lambda one: replace(one, model="z", tuning=tuning(range(9), n_users=20)), "with the users of"),
    ],
)
def test_cells_that_do_not_belong_together_are_refused(broken: object, message: str) -> None:
    real = [cell("m", condition, realistic(9, at)) for at, condition in enumerate(REAL)]
    assert callable(broken)
    with pytest.raises(ValueError, match=message):
        free_disposal([*real[:2], real[2]], [*real[:2], broken(real[2])])


@pytest.mark.parametrize("empty", [0, 1])
def test_a_side_without_cells_is_refused(empty: int) -> None:
    given_sides = [[cell("m", "text", realistic(9, 1))]] * 2
    given_sides[empty] = []
    with pytest.raises(ValueError, match="without cells"):
        free_disposal(*given_sides)
