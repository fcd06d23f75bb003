from __future__ import annotations

import re

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from mmbench.data.conditions import STATES, ModalityCondition, control_statistics, maker_of
from mmbench.data.features import ItemFeature, with_missing_filled


def feature(seed: int, width: int = 3, n: int = 50) -> ItemFeature:
    rng = np.random.default_rng(seed)
    return with_missing_filled(rng.standard_normal((n, width)).astype(np.float32), rng.random(n) < 0.8)


@pytest.fixture(scope="module")
def features() -> dict[str, ItemFeature]:
    """Not in name order."""
    return {"text": feature(0), "audio": feature(1, 2), "image": feature(2, 4)}


def same(a: ItemFeature, b: ItemFeature) -> bool:
    return a.fingerprint() == b.fingerprint()


def test_real_features_come_unchanged_in_name_order(features: dict[str, ItemFeature]) -> None:
    made = ModalityCondition().apply(features, seed=0)
    assert list(made) == ["audio", "image", "text"]
    assert all(same(made[name], features[name]) for name in made)


def test_a_dropped_modality_is_absent(features: dict[str, ItemFeature]) -> None:
    assert list(ModalityCondition(states={"image": "drop"}).apply(features, 0)) == ["audio", "text"]
    only_text = ModalityCondition(default="drop", states={"text": "real"})
    assert list(only_text.apply(features, 0)) == only_text.kept(features) == ["text"]
    assert ModalityCondition(default="drop").apply(features, 0) == {}


def test_shuffle_permutes_rows_with_their_presence(features: dict[str, ItemFeature]) -> None:
    original = features["text"]
    shuffled = ModalityCondition(states={"text": "shuffle"}).apply(features, 0)["text"]
    assert not same(shuffled, original)

    def rows(f: ItemFeature) -> list[tuple[float, ...]]:
        return sorted(map(tuple, np.column_stack([f.values, f.present]).tolist()))

    assert rows(shuffled) == rows(original)


def test_shuffle_is_no_rotation_and_moves_almost_every_row() -> None:
    """Rows are numbered, so the permutation can be read off; a uniform one has one fixed point on average."""
    numbered = ItemFeature(np.arange(400, dtype=np.float32)[:, None], np.ones(400, bool))
    orders = [
        ModalityCondition(default="shuffle").apply({"text": numbered}, seed)["text"].values[:, 0].astype(int)
        for seed in range(200)
    ]
    fixed = [int((order == np.arange(400)).sum()) for order in orders]
    assert 0.6 < np.mean(fixed) < 1.5
    assert all(len(set((order - np.arange(400)) % 400)) > 100 for order in orders)


def test_each_seed_has_its_own_permutation(features: dict[str, ItemFeature]) -> None:
    def made(run_seed: int, condition_seed: int = 0) -> str:
        condition = ModalityCondition(default="shuffle", seed=condition_seed)
        return condition.apply(features, run_seed)["text"].fingerprint()

    assert made(0) == made(0)
    assert len({made(0), made(1), made(0, 1), made(1, 1)}) == 4


def test_modalities_draw_from_independent_streams(features: dict[str, ItemFeature]) -> None:
    """What happens to one modality does not depend on which others are there or what their state is."""
    alone = ModalityCondition(states={"text": "shuffle"}).apply({"text": features["text"]}, 3)["text"]
    for states in ({"text": "shuffle"}, {"text": "shuffle", "image": "shuffle"}, {"text": "shuffle", "audio": "drop"}):
        assert same(ModalityCondition(states=states).apply(features, 3)["text"], alone)


def test_two_modalities_are_not_shuffled_alike() -> None:
    """Otherwise the pair would stay aligned, and the control would leak."""
    numbered = ItemFeature(np.arange(100, dtype=np.float32)[:, None], np.ones(100, bool))
    made = ModalityCondition(default="shuffle").apply({"image": numbered, "text": numbered}, 0)
    assert (made["image"].values == made["text"].values).mean() < 0.1


@pytest.mark.parametrize("n", [1, 5])
def test_a_control_that_changes_nothing_is_refused(n: int) -> None:
    """One item, or all items alike."""
    constant = ItemFeature(np.ones((n, 2), np.float32), np.ones(n, bool))
    message = "modality text: state 'shuffle' left the features unchanged, so it controls nothing"
    with pytest.raises(ValueError, match=message):
        ModalityCondition(default="shuffle").apply({"text": constant}, 0)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"default": "noise!"}, r"modality.default=noise! is not a state; states are real, drop, shuffle"),
        ({"states": {"image": "shufle"}}, r"modality.states.image=shufle is not a state; states are real, drop"),
        ({"states": "shuffle"}, r"modality.states=shuffle must be set by modality, as in modality.states.image="),
        ({"missing": 0.5}, r"modality.missing=0.5 must be set by modality"),
        ({"seed": "one"}, r"modality.seed=one must be a whole number of at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModalityCondition(**arguments)  # type: ignore[arg-type]


def test_a_condition_names_only_modalities_that_are_there() -> None:
    condition = ModalityCondition(states={"audio": "shuffle", "image": "real"})
    condition.check(["image", "audio", "text"], "shop")
    message = r"dataset shop has no modality 'audio' \(asked as shuffle\); it has: image, text"
    with pytest.raises(ValueError, match=message):
        condition.check(["text", "image"], "shop")
    with pytest.raises(ValueError, match="it has: none"):
        condition.check([], "shop")


def test_dropping_what_is_not_there_is_fine() -> None:
    ModalityCondition(states={"image": "drop"}).check(["text"], "shop")


@pytest.mark.parametrize("state", [name for name in STATES if name != "real"])
def test_no_state_changes_its_input(features: dict[str, ItemFeature], state: str) -> None:
    before = {name: f.fingerprint() for name, f in features.items()}
    ModalityCondition(default=state).apply(features, 0)
    assert {name: f.fingerprint() for name, f in features.items()} == before


def shuffled_in_place(feature: ItemFeature, rng: np.random.Generator) -> ItemFeature:
    rng.shuffle(feature.values)
    return feature


def as_it_is(feature: ItemFeature, rng: np.random.Generator) -> ItemFeature:
    return feature


def test_a_state_of_ones_own_cannot_write_into_the_features(features: dict[str, ItemFeature]) -> None:
    """Every later training would have read what it wrote, under the fingerprint of before."""
    before = {name: f.fingerprint() for name, f in features.items()}
    with pytest.raises(ValueError, match=r"shuffled_in_place failed: ValueError: .*read-only"):
        maker_of(f"{__name__}.shuffled_in_place")(features["text"], np.random.default_rng(0))
    given = maker_of(f"{__name__}.as_it_is")(features["text"], np.random.default_rng(0))
    assert given is not None
    given.values[:] = 0  # what is trained with
    assert {name: ItemFeature(f.values, f.present).fingerprint() for name, f in features.items()} == before


def control(feature: ItemFeature, state: str, seed: int = 0) -> ItemFeature:
    return ModalityCondition(default=state).apply({"text": feature}, seed)["text"]


@pytest.fixture(scope="module")
def clustered() -> ItemFeature:
    """Two clusters far apart, correlated dimensions, a tenth of the items missing."""
    rng = np.random.default_rng(0)
    n = 6000
    rows = rng.standard_normal((n, 4)) @ rng.standard_normal((4, 5)) + 6.0 * (np.arange(n) % 2)[:, None] + 3.0
    return with_missing_filled(rows.astype(np.float32), rng.random(n) < 0.9)


def test_gaussian_controls_keep_the_moments(clustered: ItemFeature) -> None:
    """Mean and variances both; the covariance the first one only; clusters neither."""
    rows = clustered.values[clustered.present].astype(float)
    spread = rows.std(0)
    off_diagonal = ~np.eye(5, dtype=bool)

    def correlations(values: np.ndarray) -> np.ndarray:
        return np.corrcoef(values.T)[off_diagonal]

    for state in ("gaussian_cov", "gaussian_diag"):
        made = control(clustered, state).values[clustered.present].astype(float)
        assert np.abs((made.mean(0) - rows.mean(0)) / spread).max() < 0.06, state
        np.testing.assert_allclose(made.std(0), spread, rtol=0.05, err_msg=state)
        excess = ((made - made.mean(0)) ** 4).mean(0) / made.var(0) ** 2
        assert np.abs(excess - 3.0).max() < 0.35, f"{state} is not normal"
        expected = correlations(rows) if state == "gaussian_cov" else 0.0
        assert np.abs(correlations(made) - expected).max() < 0.07, state
    assert np.abs(correlations(rows)).min() > 0.2, "the test data show no correlation"


def test_gaussian_cov_keeps_the_variance_of_few_items() -> None:
    rows = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 6.0]], np.float32)
    three = ItemFeature(rows, np.ones(3, bool))
    made = np.concatenate([control(three, "gaussian_cov", seed).values for seed in range(1000)])
    np.testing.assert_allclose(((made - rows.mean(0)) ** 2).mean(0), rows.var(0, ddof=1), rtol=0.1)


def test_gaussian_cov_is_the_same_with_any_number_of_threads() -> None:
    """So many rows and dimensions that the threads of a machine would share the decomposition."""
    many = ItemFeature(feature(0, 384, 1000).values, np.ones(1000, bool))
    made = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            made.append(control(many, "gaussian_cov"))
    assert same(*made)


def test_gaussian_cov_with_more_dimensions_than_items() -> None:
    wide = feature(0, width=80, n=20)
    made = control(wide, "gaussian_cov")
    assert np.isfinite(made.values).all()
    rows, drawn = wide.values[wide.present].astype(float), made.values.astype(float)
    centred = rows - rows.mean(0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][: len(rows) - 1]
    outside = (drawn - rows.mean(0)) - (drawn - rows.mean(0)) @ directions.T @ directions
    assert np.abs(outside).max() < 1e-4, "drawn rows leave the span of the real ones"


def test_constant_controls(clustered: ItemFeature) -> None:
    mean_row = clustered.values[clustered.present].mean(0, dtype=np.float64)
    np.testing.assert_allclose(control(clustered, "mean").values, np.tile(mean_row, (6000, 1)), rtol=1e-6)
    assert (control(clustered, "ones").values == 1).all()
    assert (control(clustered, "zeros").values == 0).all()


def test_noise_of_the_source_study(clustered: ItemFeature) -> None:
    values = control(clustered, "noise").values[clustered.present]
    assert values.mean() == pytest.approx(1.0, abs=0.01)
    assert values.std() == pytest.approx(0.1, rel=0.03)


@pytest.mark.parametrize("state", [name for name in STATES if name not in ("real", "drop")])
def test_every_control_keeps_shape_type_and_coverage(features: dict[str, ItemFeature], state: str) -> None:
    made = control(features["text"], state)
    assert made.values.shape == features["text"].values.shape
    assert made.values.dtype == np.float32
    assert made.present.sum() == features["text"].present.sum()
    if state != "shuffle":
        assert made.present.tolist() == features["text"].present.tolist()
    missing = made.values[~made.present]
    np.testing.assert_allclose(
        missing, np.tile(made.values[made.present].mean(0), (len(missing), 1)), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("state", ["shuffle", "gaussian_cov", "gaussian_diag", "noise"])
def test_drawn_controls_follow_the_seed(features: dict[str, ItemFeature], state: str) -> None:
    first, again, other = (control(features["text"], state, seed) for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)


def lost(features: dict[str, ItemFeature], rate: float, seed: int = 0, **options: object) -> set[int]:
    """Items that lose their text at a rate."""
    condition = ModalityCondition(missing={"text": rate}, **options)  # type: ignore[arg-type]
    counts = np.arange(50)[::-1].copy()
    made = condition.apply(features, seed, counts)
    assert same(made["image"], features["image"])
    before, after = features["text"].present, made["text"].present
    assert not (after & ~before).any()
    return set(np.flatnonzero(before & ~after).tolist())


@pytest.mark.parametrize("rule", ["random", "tail"])
def test_missing_rates_are_nested(features: dict[str, ItemFeature], rule: str) -> None:
    """What is missing at a rate is missing at every higher one, so rates differ in nothing but the amount."""
    having = int(features["text"].present.sum())
    previous: set[int] = set()
    for rate in (0.1, 0.3, 0.5, 0.9):
        now = lost(features, rate, missing_rule=rule)
        assert len(now) == round(rate * having)
        assert previous < now
        previous = now


def test_missing_items_and_the_permutation_are_drawn_apart() -> None:
    """From one stream, the shuffled rows without content would come first."""
    numbered = ItemFeature(np.arange(100, dtype=np.float32)[:, None], np.ones(100, bool))
    condition = ModalityCondition(default="shuffle", missing={"text": 0.5})
    present = [condition.apply({"text": numbered}, seed)["text"].present for seed in range(40)]
    share_in_front = np.mean([1 - p[:50].mean() for p in present])
    assert share_in_front == pytest.approx(0.5, abs=0.05)


def test_two_modalities_do_not_lose_the_same_items() -> None:
    """Of a hundred items a quarter keeps both by chance, and half would if they were drawn alike."""
    numbered = ItemFeature(np.arange(100, dtype=np.float32)[:, None], np.ones(100, bool))
    condition = ModalityCondition(missing={"text": 0.5, "image": 0.5})
    made = condition.apply({"text": numbered, "image": numbered}, 0)
    assert 15 < (made["text"].present & made["image"].present).sum() < 35


def test_items_missing_at_random_follow_the_seed(features: dict[str, ItemFeature]) -> None:
    assert lost(features, 0.5) == lost(features, 0.5)
    assert lost(features, 0.5) != lost(features, 0.5, seed=1)


def test_the_tail_misses_first(features: dict[str, ItemFeature]) -> None:
    """Counts fall with the index, so the last items with content lose it."""
    having = np.flatnonzero(features["text"].present)
    assert lost(features, 0.25, missing_rule="tail") == set(having[-round(0.25 * len(having)) :].tolist())


def test_the_tail_needs_counts(features: dict[str, ItemFeature]) -> None:
    condition = ModalityCondition(missing={"text": 0.5}, missing_rule="tail")
    message = "modality.missing_rule=tail needs the training interactions of each item"
    with pytest.raises(ValueError, match=message):
        condition.apply(features, 0)


def test_missing_items_hold_the_mean_of_those_that_keep_content(features: dict[str, ItemFeature]) -> None:
    made = ModalityCondition(missing={"text": 0.5}).apply(features, 0)["text"]
    rest = made.values[made.present].mean(0)
    assert not np.allclose(rest, features["text"].values[features["text"].present].mean(0))
    missing = made.values[~made.present]
    np.testing.assert_allclose(missing, np.tile(rest, (len(missing), 1)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rate", [1.0, -0.1, 1.5, "half"])
def test_impossible_missing_rates_are_refused(rate: object) -> None:
    message = rf"modality.missing.text={rate} must be at least 0 and below 1; use drop for all"
    with pytest.raises(ValueError, match=message):
        ModalityCondition(missing={"text": rate})  # type: ignore[dict-item]


def test_an_unknown_missing_rule_is_refused() -> None:
    with pytest.raises(ValueError, match=r"modality.missing_rule=head is unknown; it is random, tail or slice"):
        ModalityCondition(missing_rule="head")


def test_a_missing_rate_needs_its_modality() -> None:
    message = r"dataset shop has no modality 'audio' \(asked to miss 0.5\); it has: text"
    with pytest.raises(ValueError, match=message):
        ModalityCondition(missing={"audio": 0.5}).check(["text"], "shop")


def test_control_statistics() -> None:
    everywhere = np.ones(3, bool)
    orthogonal = ItemFeature(np.eye(3, dtype=np.float32), everywhere)
    parallel = ItemFeature(np.full((3, 3), 2, np.float32) * np.array([[1], [2], [3]], np.float32), everywhere)
    assert control_statistics(orthogonal, orthogonal) == (
        False,
        pytest.approx(0.0, abs=1e-12),
        pytest.approx(0.0, abs=1e-12),
    )
    assert control_statistics(parallel, orthogonal) == (True, pytest.approx(1.0), pytest.approx(0.0, abs=1e-6))


@pytest.mark.parametrize("n_present", [0, 1])
def test_control_statistics_without_pairs(n_present: int) -> None:
    few = ItemFeature(np.ones((3, 2), np.float32), np.arange(3) < n_present)
    assert control_statistics(few, few).cosine_mean == 0.0


# The slice that keeps its content


INSIDE = np.arange(50) % 3 == 0


def sliced(state: str = "real", rate: float = 1.0) -> ModalityCondition:
    return ModalityCondition(
        states={"text": state}, missing={"text": rate}, missing_rule="slice", missing_slice="popularity:6-20"
    )


def test_items_outside_the_slice_lose_their_content(features: dict[str, ItemFeature]) -> None:
    made = sliced().apply(features, 0, inside=INSIDE)
    assert same(made["image"], features["image"])
    kept = features["text"].present & INSIDE
    np.testing.assert_array_equal(made["text"].present, kept)
    np.testing.assert_array_equal(made["text"].values[kept], features["text"].values[kept])
    np.testing.assert_allclose(
        made["text"].values[~kept], np.tile(made["text"].values[kept].mean(0), ((~kept).sum(), 1)), rtol=1e-5, atol=1e-6
    )
    half = sliced(rate=0.5).apply(features, 0, inside=INSIDE)["text"].present
    outside = features["text"].present & ~INSIDE
    assert half[kept].all()
    assert half[outside].sum() == outside.sum() - round(0.5 * outside.sum())


@pytest.mark.parametrize("state", ["shuffle", "gaussian_cov"])
def test_the_control_of_a_slice_has_its_content_at_the_same_items(features: dict[str, ItemFeature], state: str) -> None:
    """A model must not learn from the control who belongs to the slice, nor from real rows what the control hides."""
    real, made = (sliced(s).apply(features, 3, inside=INSIDE)["text"] for s in ("real", state))
    np.testing.assert_array_equal(made.present, real.present)
    assert not same(made, real)
    if state == "shuffle":
        assert sorted(map(tuple, made.values[made.present])) == sorted(map(tuple, real.values[real.present]))
        np.testing.assert_allclose(made.values[~made.present], real.values[~real.present], rtol=1e-5)
    assert not same(made, sliced(state).apply(features, 4, inside=INSIDE)["text"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"missing_slice": "popularity:6-20"}, "missing_slice=popularity:6-20 needs modality.missing_rule=slice"),
        ({"missing_rule": "slice"}, "missing_slice= must be <division>:<label>, as in popularity:6-20; divisions are"),
        ({"missing_slice": "history:0-4"}, "divisions are popularity, category, text_length"),
        ({"missing_slice": "category:"}, "must be <division>:<label>"),
        ({"missing": {}, "missing_slice": "category:Lamps"}, "say of which modality, as in modality.missing.image=1"),
        ({"missing": {"text": 1.5}, "missing_slice": "category:Lamps"}, "missing.text=1.5 must be from 0 to 1, the sh"),
    ],
)
def test_mistakes_about_slices(options: dict[str, object], message: str) -> None:
    given = {"missing": {"text": 1.0}, "missing_rule": "slice", **options}
    if "missing_slice" in options and len(options) == 1 and "needs" in message:
        given = dict(options)
    with pytest.raises(ValueError, match=re.escape(message)):
        ModalityCondition(**given)  # type: ignore[arg-type]


def test_a_slice_without_content_or_without_its_items_is_refused(features: dict[str, ItemFeature]) -> None:
    with pytest.raises(ValueError, match=r"missing_slice=popularity:6-20: no item of it has text"):
        sliced().apply(features, 0, inside=np.zeros(50, bool))
    with pytest.raises(ValueError, match=r"missing_rule=slice needs the items of the slice"):
        sliced().apply(features, 0)
