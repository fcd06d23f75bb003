from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mmbench.data import planted
from mmbench.data.dataset import DatasetConfig
from mmbench.data.planted import SECOND, WORLDS, World, make_world
from mmbench.data.sources import Source
from tests.tiny import composed

SMALL = {"n_users": 80, "n_items": 60, "per_user": 10}


def fingerprint(source: Source) -> tuple[str, ...]:
    log = pd.util.hash_pandas_object(source.log).sum()
    return (str(log), *(source.features[name].fingerprint() for name in sorted(source.features)))


@pytest.mark.parametrize("world", WORLDS)
def test_every_world_builds(world: str) -> None:
    source = make_world(world, **SMALL)
    assert source.items["item_id"].is_unique
    assert len(source.items) == 60
    assert not source.log.duplicated(["user_id", "item_id"]).any()
    counts = pd.crosstab(source.log["user_id"], source.log["split"])
    assert counts.shape == (80, 3)
    assert (counts[["train", "valid", "test"]] == [8, 1, 1]).all(axis=None)
    assert source.log["item_id"].isin(source.items["item_id"]).all()


@pytest.mark.parametrize("world", WORLDS)
def test_shapes_of_features_and_truth(world: str) -> None:
    source = make_world(world, **SMALL)
    assert set(source.features) == {"image", "text"}
    for feature in source.features.values():
        assert feature.values.shape == (60, 32)
        assert feature.values.dtype == np.float32
        assert np.isfinite(feature.values).all()
    shapes = {name: values.shape for name, values in source.truth.items()}
    factors = {f"factors_{block}": (60, 8) for block in ("shared", "text", "image", "id", "junk")}
    derived = WORLDS[world].derived
    assert shapes == {
        **factors,
        "tastes": (80, 32),
        "popularity": (60,),
        "text_mixing": (32 if derived == "text" else 40, 32),
        "image_mixing": (32 if derived == "image" else 40, 32),
        "new": (60,),
        "feature_noise": (),
        "temperature": (),
        "utility": (80, 60),
    }


@pytest.mark.parametrize("world", [world for world, spec in WORLDS.items() if spec.derived != "text"])
def test_the_truth_is_what_the_world_was_made_of(world: str) -> None:
    source = make_world(world, {"image": SECOND}, **SMALL)
    truth = source.truth
    blocks = [truth[f"factors_{block}"] for block in ("shared", "text", "image", "id", "junk")]
    utility = truth["tastes"] @ np.hstack(blocks[:4]).T + truth["popularity"]
    np.testing.assert_allclose(utility, truth["utility"])
    told = np.hstack(blocks) @ truth["text_mixing"]
    text, image = source.features["text"], source.features["image"]
    noise = (text.values - told)[text.present].std()
    assert noise == pytest.approx(1.0 if world == "no_signal" else float(truth["feature_noise"]), rel=0.1)
    if world in ("redundant", "cold_image"):
        told = np.tanh(text.values @ truth["image_mixing"])[text.present]
        assert (image.values[text.present] - told).std() == pytest.approx(0.3, rel=0.1)
    else:
        told = np.hstack(blocks) @ truth["image_mixing"]
        nothing = world in ("text_only", "text_only@1", "no_signal")
        assert (image.values - told).std() == pytest.approx(1.0 if nothing else float(truth["feature_noise"]), rel=0.1)


#: Hashes of the logs of small worlds. A world whose log changes is another one: its old definition stays as ``@1``.
LOGS = {
    "text_only@1": "11036248007844688392",
    "complementary": "3928011950216396494",
    "redundant": "11795941984484150230",
    "two_views": "13773226048188954945",
    "text_only": "12549558197764088698",
    "useless_image": "6575603371522386693",
    "no_signal": "10132050020784046355",
    "cold_image": "5415467999442808243",
    "cold_text": "5415467999442808243",
    "complementary@1": "13631078638536147539",
}


@pytest.mark.parametrize("world", WORLDS)
def test_a_world_never_changes_under_its_name(world: str) -> None:
    options = {name: value for name, value in SMALL.items() if name != "per_user"}
    assert fingerprint(make_world(world, **options))[0] == LOGS[world]


def test_first_editions_are_what_they_were() -> None:
    assert WORLDS["complementary@1"] == World(("shared", "text"), ("shared", "image"), per_user=20, feature_noise=0.5)
    assert WORLDS["text_only@1"] == World(("shared", "text"), (), per_user=10, feature_noise=0.5)


def test_defaults_of_a_world_are_options() -> None:
    options = {"per_user": 20, "feature_noise": 0.5, "n_users": 80, "n_items": 60}
    first = make_world("complementary@1", n_users=80, n_items=60)
    assert fingerprint(make_world("complementary", **options)) == fingerprint(first)


@pytest.mark.parametrize("world", WORLDS)
def test_the_seed_decides_everything(world: str) -> None:
    first = fingerprint(make_world(world, **SMALL))
    assert fingerprint(make_world(world, **SMALL)) == first
    other = fingerprint(make_world(world, **SMALL, seed=1))
    assert all(a != b for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("world", WORLDS)
def test_users_choose_what_they_like(world: str) -> None:
    """Chosen items have far more utility than the average item, and held-out ones as much as trained ones."""
    source = make_world(world, **SMALL)
    users = source.log["user_id"].str[1:].astype(int).to_numpy()
    items = source.log["item_id"].str[1:].astype(int).to_numpy()
    utility = source.truth["utility"]
    advantage = (utility[users, items] - utility.mean(1)[users]) / utility.std(1)[users]
    parts = source.log["split"].to_numpy()
    means = {part: advantage[parts == part].mean() for part in ("train", "valid", "test")}
    assert min(means.values()) > 0.7
    assert max(means.values()) - min(means.values()) < 0.4


def explained(inputs: np.ndarray, outputs: np.ndarray) -> float:
    """Share of the variance of ``outputs`` that a linear map of ``inputs`` explains on items it was not fitted on."""
    half = len(inputs) // 2
    with_one = np.column_stack([inputs, np.ones(len(inputs))])
    weights, *_ = np.linalg.lstsq(with_one[:half], outputs[:half], rcond=None)
    residual = outputs[half:] - with_one[half:] @ weights
    return 1.0 - residual.var() / outputs[half:].var()


@pytest.mark.parametrize(
    "world, text, image",
    [
        ("complementary", {"shared", "text"}, {"shared", "image"}),
        ("redundant", {"shared", "text"}, {"shared", "text"}),
        ("two_views", {"shared"}, {"shared"}),
        ("text_only", {"shared", "text", "image"}, set()),
        ("text_only@1", {"shared", "text"}, set()),
        ("useless_image", {"shared", "text"}, {"junk"}),
        ("no_signal", set(), set()),
    ],
)
def test_features_tell_their_blocks_and_no_other(world: str, text: set[str], image: set[str]) -> None:
    source = make_world(world, n_users=10, n_items=1000, per_user=10)
    for name, told in (("text", text), ("image", image)):
        values = source.features[name].values
        for block in ("shared", "text", "image", "id", "junk"):
            share = explained(values, source.truth[f"factors_{block}"])
            assert share > 0.4 if block in told else share < 0.05, f"{name} about {block}: {share:.2f}"


def test_a_redundant_image_adds_nothing_to_the_observed_text() -> None:
    """Given the text, the image tells nothing more about any block; two independent views do."""
    gains = {}
    for world in ("redundant", "two_views", "complementary"):
        source = make_world(world, n_users=10, n_items=2000, per_user=10)
        text, image = (source.features[name].values for name in ("text", "image"))
        gains[world] = max(
            explained(np.hstack([text, image]), source.truth[f"factors_{block}"])
            - explained(text, source.truth[f"factors_{block}"])
            for block in ("shared", "text", "image", "id")
        )
    assert gains["redundant"] < 0.01
    assert gains["two_views"] > 0.02
    assert gains["complementary"] > 0.4


def test_new_items_of_cold_image_have_no_train_and_no_text() -> None:
    source = make_world("cold_image", n_users=300, n_items=100, per_user=20)
    new = source.truth["new"]
    assert new.sum() == 15
    assert source.features["text"].present.tolist() == (~new).tolist()
    assert source.features["image"].present.all()
    items = source.log["item_id"].str[1:].astype(int).to_numpy()
    parts = source.log["split"].to_numpy()
    assert not new[items[parts == "train"]].any()
    for part in ("valid", "test"):
        assert 0.1 < new[items[parts == part]].mean() < 0.7


def test_the_text_of_a_new_item_is_not_in_its_features() -> None:
    """A missing row holds the mean of the others, so the hidden text cannot leak."""
    source = make_world("cold_image", **SMALL)
    text = source.features["text"]
    missing = text.values[~text.present]
    assert len(missing) == 9
    np.testing.assert_allclose(missing, np.tile(text.values[text.present].mean(0), (9, 1)), rtol=1e-5, atol=1e-6)


def test_cold_text_is_the_mirror_of_cold_image() -> None:
    """Its text is a function of the observed image, which new items lack; its users choose as those of the other."""
    source = make_world("cold_text", n_users=300, n_items=100, per_user=20)
    truth, new = source.truth, source.truth["new"]
    text, image = source.features["text"], source.features["image"]
    assert new.sum() == 15
    assert text.present.all()
    assert image.present.tolist() == (~new).tolist()
    blocks = np.hstack([truth[f"factors_{block}"] for block in ("shared", "text", "image", "id", "junk")])
    seen = blocks @ truth["image_mixing"]
    assert not truth["image_mixing"][8:16].any(), "the block that only text describes is not shown"
    assert (image.values - seen)[~new].std() == pytest.approx(float(truth["feature_noise"]), rel=0.1)
    told = np.tanh(image.values @ truth["text_mixing"])[~new]
    assert (text.values[~new] - told).std() == pytest.approx(0.3, rel=0.1)
    items, parts = source.log["item_id"].str[1:].astype(int).to_numpy(), source.log["split"].to_numpy()
    assert not new[items[parts == "train"]].any()
    second = make_world("cold_text", {"image": SECOND}, n_users=300, n_items=100, per_user=20)
    assert np.array_equal(second.features["text"].values, text.values)
    assert not np.allclose(second.features["image"].values, image.values)
    assert second.log.equals(source.log)


@pytest.mark.parametrize("world", [name for name in WORLDS if name not in ("cold_image", "cold_text")])
def test_other_worlds_have_no_new_items(world: str) -> None:
    source = make_world(world, **SMALL)
    assert not source.truth["new"].any()
    assert all(feature.present.all() for feature in source.features.values())


def test_options_reach_the_world() -> None:
    flat = make_world("text_only", **SMALL, popularity_sd=0.0, feature_noise=0.0, temperature=0.01)
    users = flat.log["user_id"].str[1:].astype(int).to_numpy()
    items = flat.log["item_id"].str[1:].astype(int).to_numpy()
    best = np.argsort(-flat.truth["utility"], axis=1)[:, :10]
    chosen = [set(items[users == user].tolist()) for user in range(80)]
    agreement = np.mean([len(own & set(best[user].tolist())) / 10 for user, own in enumerate(chosen)])
    assert agreement > 0.97, "with hardly any noise everybody takes the best items"
    assert np.linalg.matrix_rank(flat.features["text"].values.astype(float), tol=1e-3) == 24


@pytest.mark.parametrize("world", WORLDS)
def test_a_second_image_encoder_changes_the_image_alone(world: str) -> None:
    first, second = (make_world(world, choice, **SMALL) for choice in ({"image": "default"}, {"image": SECOND}))
    assert fingerprint(first) == fingerprint(make_world(world, **SMALL))
    a, b = fingerprint(first), fingerprint(second)
    assert [x == y for x, y in zip(a, b, strict=True)] == [True, False, True]  # log, image, text
    changed = {name for name in first.truth if not np.array_equal(first.truth[name], second.truth[name])}
    assert changed <= {"image_mixing"}  # zeros where the image tells nothing
    assert fingerprint(second) == fingerprint(make_world(world, {"image": SECOND}, **SMALL))


@pytest.mark.parametrize("world, told", [("complementary", {"shared", "image"}), ("useless_image", {"junk"})])
def test_both_image_encoders_see_the_same(world: str, told: set[str]) -> None:
    source = make_world(world, {"image": SECOND}, n_users=10, n_items=1000, per_user=10)
    for block in ("shared", "text", "image", "id", "junk"):
        share = explained(source.features["image"].values, source.truth[f"factors_{block}"])
        assert share > 0.4 if block in told else share < 0.05, f"{block}: {share:.2f}"


def test_a_second_encoder_of_a_function_of_the_text_is_one_too() -> None:
    source = make_world("redundant", {"image": SECOND}, n_users=10, n_items=2000, per_user=10)
    text, image = (source.features[name].values for name in ("text", "image"))
    for block in ("shared", "text"):
        known = source.truth[f"factors_{block}"]
        assert explained(image, known) > 0.4
        assert explained(np.hstack([text, image]), known) - explained(text, known) < 0.01


@pytest.mark.parametrize(
    "choice, message",
    [
        ({"image": "third"}, r"planted world two_views has no image_feat@third.npy; choose with dataset.encoder"),
        ({"text": SECOND}, r"no text_feat@second.npy; choose with dataset.encoder.text=LABEL one of: default"),
        ({"audio": SECOND}, r"dataset.encoder.audio: planted world two_views has no features of 'audio'"),
    ],
)
def test_an_encoder_that_is_not_there_is_refused(choice: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_world("two_views", choice, **SMALL)


@pytest.mark.parametrize("world", WORLDS)
def test_blocks_change_no_choice(world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make_world(world, **SMALL)
    monkeypatch.setattr(planted, "BLOCK_ENTRIES", 700)  # eleven users, twenty rows of features
    pieces = make_world(world, **SMALL)
    pd.testing.assert_frame_equal(whole.log, pieces.log)
    for name, feature in whole.features.items():
        np.testing.assert_allclose(pieces.features[name].values, feature.values, rtol=1e-5, atol=1e-6)
    assert whole.truth.keys() - pieces.truth.keys() == {"utility"}


def test_only_the_total_of_interactions_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"n_users": 400, "n_items": 200, "n_interactions": 3301, "text_dim": 24, "image_dim": 48}
    source = make_world("complementary", **options)
    assert {name: feature.values.shape for name, feature in source.features.items()} == {
        "image": (200, 48),
        "text": (200, 24),
    }
    assert not source.log.duplicated(["user_id", "item_id"]).any()
    assert len(source.log) == 3301
    counts = source.log.groupby("user_id").size()
    assert len(counts) == 400
    assert counts.min() == 5
    assert counts.max() > 5 * counts.median() / 2, "a long tail"
    held = source.log[source.log["split"] != "train"].groupby("user_id").size()
    assert (held == np.maximum(2, counts // 5)).all()
    by_part = pd.crosstab(source.log["user_id"], source.log["split"])
    assert ((by_part["test"] - by_part["valid"]).isin([0, 1])).all()
    monkeypatch.setattr(planted, "BLOCK_ENTRIES", 700)
    pd.testing.assert_frame_equal(source.log, make_world("complementary", **options).log)


def test_users_of_uneven_logs_choose_what_they_like() -> None:
    source = make_world("complementary", n_users=400, n_items=200, n_interactions=3301)
    users, items = (source.log[column].str[1:].astype(int).to_numpy() for column in ("user_id", "item_id"))
    utility = source.truth["utility"]
    advantage = (utility[users, items] - utility.mean(1)[users]) / utility.std(1)[users]
    means = [advantage[(source.log["split"] == part).to_numpy()].mean() for part in ("train", "valid", "test")]
    assert min(means) > 0.7
    assert max(means) - min(means) < 0.3


@pytest.mark.parametrize(
    "world, options, message",
    [
        ("moon", {}, r"dataset.world=moon is unknown; worlds are complementary, redundant"),
        ("no_signal", {"per_user": 4}, r"per_user=4 must be at least 5 and at most half of n_items=600"),
        ("no_signal", {"n_items": 30}, r"per_user=20 must be at least 5 and at most half of n_items=30"),
        ("no_signal", {"n_interactions": 7499}, r"n_interactions=7499 must be at least 5 for each of n_users=1500"),
        ("no_signal", {"n_interactions": 9000, "n_items": 20}, r"gives a user \d+, more than half of n_items=20"),
        ("no_signal", {"n_interactions": 9000, "per_user": 6}, r"goes with neither per_user nor a world that has new"),
        ("cold_text", {"n_interactions": 9000}, r"goes with neither per_user nor a world that has new items"),
        ("cold_image", {"n_interactions": 9000}, r"goes with neither per_user nor a world that has new items"),
    ],
)
def test_impossible_worlds_are_refused(world: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_world(world, **options)


@pytest.mark.parametrize("world", WORLDS)
def test_a_world_with_new_items_has_a_split_of_its_own(world: str) -> None:
    job = composed([f"dataset.world={world}", "dataset.world_options={n_users: 80, n_items: 60}"]).job()
    dataset = job.dataset()
    assert dataset.truth is not None
    new = dataset.truth["new"]
    trained = np.bincount(dataset.split.train.items, minlength=60) > 0
    assert dataset.split.protocol == ("given" if new.any() else "paper")
    assert not (trained & new).any()


@pytest.mark.parametrize("world", ["cold_image", "cold_text"])
@pytest.mark.parametrize("protocol", ["paper", "time", "last_out"])
def test_a_split_that_trains_on_new_items_is_refused(world: str, protocol: str) -> None:
    with pytest.raises(
        ValueError, match=f"^dataset.protocol={protocol} would train on the new items of dataset.world="
    ):
        DatasetConfig("planted", world=world, protocol=protocol)
