"""The best scorer of a planted world, against what was planted and against arithmetic written otherwise."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mmbench.data import planted
from mmbench.data.dataset import Dataset, DatasetConfig, load_dataset
from mmbench.data.planted import WORLDS
from mmbench.evaluation import best_scorer
from mmbench.evaluation.best_scorer import Belief, BestScorer, Choices, certain, told_by_content, told_by_log
from mmbench.evaluation.metrics import Ranking, per_user
from mmbench.evaluation.planted_truth import CONDITIONS, CONTENT, CONTENT_AND_LOG, CONTRASTS, planted_truth
from mmbench.evaluation.ranking import Evaluator
from tests.evaluation.truth_table import READINGS, RESULTS, SEEDS, row, rows, truth_of

SMALL = {"n_users": 500, "n_items": 250}


def configured(world: str, **options: Any) -> DatasetConfig:
    protocol = "given" if WORLDS[world].new_items else "paper"
    return DatasetConfig(world, world=world, world_options={**SMALL, **options}, protocol=protocol)


@dataclass(frozen=True)
class Known:
    """A world, how its users choose, and what content and log tell of its items."""

    dataset: Dataset
    choices: Choices
    content: Belief
    both: Belief

    def rank(self, belief: Belief, *, knows_log: bool) -> Ranking:
        split = self.dataset.split
        scorer = BestScorer(self.choices, belief, knows_log=knows_log)
        return Evaluator(split.test, *split.seen_at_test).rank(scorer)

    def ndcg(self, belief: Belief, *, knows_log: bool) -> float:
        return float(per_user(self.rank(belief, knows_log=knows_log).pairs, "ndcg@20").mean())


def known(world: str, condition: str, **options: Any) -> Known:
    dataset = load_dataset(configured(world, **options))
    assert dataset.truth is not None
    choices = Choices.of(dataset.truth, dataset.split)
    content = told_by_content(dataset.truth, dataset.features, CONDITIONS[condition], derived=WORLDS[world].derived)
    return Known(dataset, choices, content, told_by_log(choices, dataset.split.train, content))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("world", "nothing"),
    [
        ("redundant", {"fused_vs_text"}),
        ("text_only", {"image_vs_none", "fused_vs_text"}),
        ("text_only@1", {"image_vs_none", "fused_vs_text"}),
        ("useless_image", {"image_vs_none", "fused_vs_text"}),
        ("no_signal", {"text_vs_none", "image_vs_none", "fused_vs_text", "fused_vs_none"}),
        ("complementary", set()),
        ("complementary@1", set()),
        ("two_views", set()),
        ("cold_image", set()),
        ("cold_text", set()),
    ],
)
def test_the_truth_is_what_was_planted(world: str, nothing: set[str]) -> None:
    truth = planted_truth(configured(world))
    for contrast in CONTRASTS:
        by_content, by_both = (truth.gain(knowledge, contrast) for knowledge in (CONTENT, CONTENT_AND_LOG))
        if contrast in nothing:
            assert by_content == pytest.approx(0, abs=1e-9)
            assert by_both == pytest.approx(0, abs=1e-9)
        else:
            assert by_content > 0.03
            assert by_both > 0.003
            assert by_content > by_both, "the log tells part of what content tells"
    assert truth.as_record()["factors_known"]["ndcg@20"] > truth.value(CONTENT_AND_LOG, "fused")


@pytest.mark.thorough
def test_the_sharpened_world_adds_more_to_a_log() -> None:
    sharpened, first = (planted_truth(configured(world)) for world in ("complementary", "complementary@1"))
    assert sharpened.gain(CONTENT_AND_LOG, "fused_vs_text") > 0.05
    assert sharpened.gain(CONTENT_AND_LOG, "fused_vs_none") > 1.5 * first.gain(CONTENT_AND_LOG, "fused_vs_none")


@pytest.mark.thorough
@pytest.mark.parametrize(("world", "without"), [("cold_image", "text"), ("cold_text", "image")])
def test_what_new_items_have_helps_them_alone(world: str, without: str) -> None:
    config = configured(world)
    truth, dataset = planted_truth(config), load_dataset(config)
    assert dataset.truth is not None
    for knowledge in (CONTENT, CONTENT_AND_LOG):
        other, fused = (truth.rankings[knowledge][condition] for condition in (without, "fused"))
        new = dataset.truth["new"][other.items]
        discounts = [np.where(r.pairs.ranks <= 20, 1 / np.log2(r.pairs.ranks + 1), 0) for r in (other, fused)]
        gained = discounts[1] - discounts[0]
        assert gained[new].mean() > 0.05
        assert gained[~new].mean() <= 0


def test_the_record_is_json_with_every_condition_and_contrast() -> None:
    record = json.loads(json.dumps(planted_truth(configured("no_signal", n_users=60, n_items=80)).as_record()))
    assert record["protocol"] == "paper"
    for knowledge in ("content", "content_and_log"):
        assert list(record[knowledge]["ndcg@20"]) == ["none", "text", "image", "fused"]
        assert set(record[knowledge]["gains"]) == {"text_vs_none", "image_vs_none", "fused_vs_text", "fused_vs_none"}


def surprise(dataset: Dataset, belief: Belief) -> float:
    """Mean squared distance of the true factors in units of the belief's covariance, per factor: 1 if it is honest."""
    assert dataset.truth is not None
    away = certain(dataset.truth).mean - belief.mean
    squared = np.einsum("ni,nij,nj->n", away, np.linalg.inv(belief.covariance), away)
    return float(squared.mean() / away.shape[1])


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("world", "condition"),
    [("complementary", "fused"), ("redundant", "image"), ("cold_image", "fused"), ("cold_text", "fused")],
)
def test_what_is_said_to_be_known_is_known_that_well(world: str, condition: str) -> None:
    of = known(world, condition)
    assert surprise(of.dataset, of.content) == pytest.approx(1.0, abs=0.05)
    assert surprise(of.dataset, of.both) == pytest.approx(1.0, abs=0.1)


@pytest.mark.thorough
@pytest.mark.parametrize("world", ["complementary", "two_views", "cold_image"])
def test_the_scores_are_the_share_of_items_that_users_take(world: str) -> None:
    """Pairs in eight bins of equal expected numbers: each holds as many test interactions as the scores say."""
    of = known(world, "fused", n_users=1500)
    split = of.dataset.split
    for belief, knows_log in ((of.content, False), (of.both, True), (certain(of.dataset.truth or {}), True)):
        scores = BestScorer(of.choices, belief, knows_log=knows_log).score(torch.arange(of.dataset.n_users)).numpy()
        counts = [np.bincount(part.users, minlength=part.n_users) for part in (split.train, split.valid, split.test)]
        taken_from = counts[1] + counts[2] if world == "cold_image" else sum(counts)
        expected = scores * (counts[2] / taken_from)[:, None]
        allowed = np.ones(scores.shape, bool)
        allowed[split.train.users, split.train.items] = False
        happened = np.zeros(scores.shape, bool)
        happened[split.test.users, split.test.items] = True
        order = np.argsort(expected[allowed])
        share = np.cumsum(expected[allowed][order]) / expected[allowed].sum()
        bins = np.minimum((8 * share).astype(int), 7)
        said = np.bincount(bins, expected[allowed][order])
        seen = np.bincount(bins, happened[allowed][order])
        # Thresholds fit the true factors, so the level is that of certainty; ranks depend on proportions alone.
        assert seen.sum() == pytest.approx(said.sum(), rel=0.02 if belief.covariance.max() == 0 else 0.1)
        said *= seen.sum() / said.sum()
        assert (np.abs(seen - said) < 4 * np.sqrt(said) + 0.1 * said).all(), (world, knows_log, said, seen)


@pytest.mark.thorough
def test_no_other_use_of_the_same_knowledge_is_better() -> None:
    of = known("complementary", "text", n_users=1500, n_items=600)
    best = of.ndcg(of.both, knows_log=True)
    rng = np.random.default_rng(0)
    spread = np.linalg.cholesky(of.both.covariance)
    drawn = of.both.mean + np.einsum("nij,nj->ni", spread, rng.standard_normal(of.both.mean.shape))
    nothing = np.zeros_like(of.both.covariance)
    for mean in (drawn, (of.both.mean + of.content.mean) / 2, of.both.mean * np.repeat([1, 1, 1, 0.5], 8)):
        assert of.ndcg(Belief(mean, nothing), knows_log=False) < best
    assert of.ndcg(of.content, knows_log=False) < best
    assert of.ndcg(Belief(of.both.mean, nothing), knows_log=False) < best + 0.002
    assert best < of.ndcg(certain(of.dataset.truth or {}), knows_log=False)


def test_thresholds_give_every_user_the_number_of_items_they_took() -> None:
    rng = np.random.default_rng(0)
    tastes, items, popularity = rng.standard_normal((7, 3)), rng.standard_normal((40, 3)), rng.standard_normal(40)
    counts = np.array([1, 2, 5, 9, 14, 19, 3])
    allowed = rng.random((7, 40)) < 0.8
    logs = best_scorer._log_thresholds(tastes, items, popularity, counts, allowed)
    taken = 1 - np.exp(-np.exp(tastes @ items.T + popularity + logs[:, None]))
    np.testing.assert_allclose((taken * allowed).sum(1), counts, rtol=1e-9)


@pytest.mark.parametrize("shown", [0.8, 1.0])
def test_derivatives_of_the_likelihood(shown: float) -> None:
    """The gradient by differences, and the Fisher information as the expected square of the gradient."""
    rng = np.random.default_rng(1)
    tastes, items = rng.standard_normal((9, 3)), rng.standard_normal((4, 3))
    offset, taken = rng.standard_normal((9, 4)), rng.random((9, 4)) < 0.4
    shares = np.full((9, 1), shown)

    def likelihood(taken: np.ndarray) -> best_scorer._Likelihood:
        return best_scorer._Likelihood(tastes, best_scorer._outer_products(tastes), offset, taken, shares)

    gradient, information = likelihood(taken).gradient(items), likelihood(taken).information(items)
    for k in range(3):
        step = 1e-6 * np.eye(3)[k]
        slope = (likelihood(taken).log(items + step) - likelihood(taken).log(items - step)) / 2e-6
        np.testing.assert_allclose(gradient[:, k], slope, rtol=1e-5, atol=1e-7)
    probability = shown * (1 - np.exp(-np.exp(tastes @ items.T + offset)))
    expected = np.zeros_like(information)
    for user in range(9):
        for outcome in (True, False):
            one = best_scorer._Likelihood(
                tastes[[user]],
                best_scorer._outer_products(tastes[[user]]),
                offset[[user]],
                np.full((1, 4), outcome),
                shares[[user]],
            )
            g = one.gradient(items)
            weight = probability[user] if outcome else 1 - probability[user]
            expected += weight[:, None, None] * g[:, :, None] * g[:, None, :]
    np.testing.assert_allclose(information, expected, rtol=1e-9)


def test_content_is_conditioned_on_as_a_normal_distribution() -> None:
    """The same numbers from the joint covariance of factors and features, item by item."""
    dataset = load_dataset(configured("complementary", n_users=40, n_items=50))
    assert dataset.truth is not None
    belief = told_by_content(dataset.truth, dataset.features, ("image", "text"), derived="")
    mixing = np.hstack([dataset.truth["image_mixing"], dataset.truth["text_mixing"]])
    observed = np.hstack([dataset.features["image"].values, dataset.features["text"].values])
    weights = mixing @ np.linalg.inv(mixing.T @ mixing + 0.25**2 * np.eye(64))
    np.testing.assert_allclose(belief.mean, (observed @ weights.T)[:, :32], atol=1e-6)
    covariance = (np.eye(40) - weights @ mixing.T)[:32, :32]
    np.testing.assert_allclose(belief.covariance, np.broadcast_to(covariance, (50, 32, 32)), atol=1e-9)
    assert np.diagonal(belief.covariance, axis1=1, axis2=2)[:, 24:] == pytest.approx(1.0)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("world", "derived", "origin"), [("cold_image", "image", "text"), ("cold_text", "text", "image")]
)
def test_what_is_derived_counts_where_its_origin_is_not(world: str, derived: str, origin: str) -> None:
    dataset = load_dataset(configured(world, n_items=2000, n_users=40))
    assert dataset.truth is not None
    new, told = dataset.truth["new"], {}
    for condition in ("none", "text", "image", "fused"):
        belief = told_by_content(dataset.truth, dataset.features, CONDITIONS[condition], derived=derived)
        described = np.r_[:8, 8:16] if origin == "text" else np.r_[:8, 16:24]
        errors = (certain(dataset.truth).mean - belief.mean)[:, described] ** 2
        told[condition] = {"new": 1 - errors[new].mean(), "old": 1 - errors[~new].mean()}
    assert told[origin]["new"] == told["none"]["new"]
    assert told["fused"]["old"] == told[origin]["old"] > told[derived]["old"] + 0.1
    assert told["fused"]["new"] == told[derived]["new"] > 0.5


@pytest.mark.parametrize("world", ["complementary", "cold_image"])
def test_blocks_change_nothing_but_rounding(world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = known(world, "text", n_users=60, n_items=80)
    monkeypatch.setattr(best_scorer, "BLOCK_ENTRIES", 700)
    pieces = known(world, "text", n_users=60, n_items=80)
    np.testing.assert_allclose(pieces.choices.in_training, whole.choices.in_training)
    if world == "cold_image":
        np.testing.assert_allclose(pieces.choices.later, whole.choices.later)
    # Scoring steps are those of each item, whatever its block.
    np.testing.assert_allclose(pieces.both.mean, whole.both.mean, atol=1e-6)
    np.testing.assert_allclose(pieces.both.covariance, whole.both.covariance, atol=1e-6)


def test_tastes_are_those_of_the_users_of_the_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids are sorted as texts: those of more than 100,000 users do not stand in the order of the generator."""
    config, made = replace(configured("complementary"), protocol="given"), planted._log
    truth = planted_truth(config)

    def renamed(*asked: Any) -> pd.DataFrame:
        log = made(*asked)
        return log.assign(user_id=log["user_id"].str.replace("u0*(.)", r"u\1", regex=True))  # u10 before u2

    monkeypatch.setattr(planted, "_log", renamed)
    again = planted_truth(config)
    assert load_dataset(config).user_ids[:3].tolist() == ["u0", "u1", "u10"]
    for knowledge, condition in ((CONTENT, "fused"), (CONTENT_AND_LOG, "none")):
        assert again.value(knowledge, condition) == pytest.approx(truth.value(knowledge, condition), rel=1e-9)


def test_nobody_can_train_on_a_new_item() -> None:
    of = known("cold_image", "text")
    assert of.dataset.truth is not None
    new = of.dataset.truth["new"]
    np.testing.assert_array_equal(of.both.mean[new], of.content.mean[new])
    assert (np.abs(of.both.mean - of.content.mean)[~new].max(1) > 0.1).all()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DatasetConfig("ml100k"), "ml100k is no planted world"),
        *(
            (DatasetConfig("w", **own), r"only without dataset\.k_core, dataset\.min_rating and dataset\.items_with")
            for own in (
                {"world": "redundant", "k_core": 5},
                {"world": "redundant", "min_rating": 3.0},
                {"world": "cold_image", "world_options": SMALL, "items_with": ["text"]},
            )
        ),
        (
            DatasetConfig("w", world="cold_image", world_options=SMALL, protocol="cold", cold_fold=0),
            "cold_image is known only with dataset.protocol",
        ),
        (DatasetConfig("w", world="redundant", world_options={**SMALL, "popularity_sd": 0.0}), "popularity_sd above 0"),
    ],
)
def test_what_has_no_truth_is_refused(config: DatasetConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        planted_truth(config)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("world", "seed"),
    [
        pytest.param(world, seed, marks=() if (world, seed) == ("complementary", 0) else pytest.mark.slow)
        for world in WORLDS
        for seed in SEEDS
    ],
)
def test_the_tables_of_the_documentation_are_true(world: str, seed: int) -> None:
    text, truth = RESULTS.read_text(encoding="utf-8"), truth_of(world, seed)
    for knowledge in READINGS:
        ours = row(world, seed, knowledge, truth).split(" | ")
        (theirs,) = (line.split(" | ") for line in rows(text, knowledge) if line.split(" | ")[:2] == ours[:2])
        # Rounding differs between machines, and a rank with it.
        values = [[float(number.rstrip(" |")) for number in cells[2:]] for cells in (ours, theirs)]
        np.testing.assert_allclose(values[0][:4], values[1][:4], atol=1e-3)
        np.testing.assert_allclose(values[0][4:8], values[1][4:8], rtol=0.02, atol=0.3)


def test_the_tables_of_the_documentation_are_complete() -> None:
    text = RESULTS.read_text(encoding="utf-8")
    for knowledge in READINGS:
        lines = rows(text, knowledge)
        assert [line.split(" | ")[:2] for line in lines] == [[f"| {w}", str(seed)] for w in WORLDS for seed in SEEDS]


def test_the_truth_of_another_image_than_the_text_is_made_of_is_not_known() -> None:
    config = replace(configured("cold_text"), encoder={"image": "second"})
    with pytest.raises(ValueError, match=r"the truth of cold_text is known only with dataset\.encoder\.image=default"):
        planted_truth(config)
