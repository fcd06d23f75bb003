"""Are there enough users to see the gain of interest? A rough answer before any model is trained."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mmbench.checks import Finding, blocking, graded, warning
from mmbench.data.recdata import make_recdata
from mmbench.data.splits import Split
from mmbench.evaluation import metrics
from mmbench.evaluation.ranking import DegenerateScores, Evaluator
from mmbench.inference import power
from mmbench.inference.intervals import MIN_USERS
from mmbench.messages import Template
from mmbench.models.popularity import Popularity

METRIC = "ndcg@20"
#: Users on whose validation items the spread of the metric is measured.
SAMPLE = 5000
#: Correlation of a user's metric under two conditions; with it MovieLens 100K gives the 2 % that its sweeps measured.
AGREEMENT = 0.975
SEEDS = 5
#: Where the gain seen in four of five studies is so many times the gain of interest, there is nothing to study.
HOPELESS = 5.0


def spread(split: Split, seed: int = 0) -> float | None:
    r"""Variance of a user's relative difference between two conditions, :math:`2 (1 - r)\,\mathrm{var}(m) / \bar m^2`.

    The metric m is that of the popularity list on the validation part; test is not looked at. None if it finds nothing.
    """
    users = np.unique(split.valid.users)
    some = np.random.default_rng(seed).permutation(users)[:SAMPLE]
    data = make_recdata(split.train, {})
    model = Popularity(data)
    model.fit(data)
    try:
        ranking = Evaluator(split.valid.select(np.isin(split.valid.users, some)), split.train).rank(model)
    except DegenerateScores:
        return None
    by_user = metrics.per_user(ranking.pairs, METRIC)
    return 2 * (1 - AGREEMENT) * float(by_user.var() / by_user.mean() ** 2) if by_user.mean() > 0 else None


def findings(split: Split, gain: float) -> Iterator[Finding]:
    """Whether the test users are enough for a relative gain of ``gain``."""
    n = len(np.unique(split.test.users))
    if n < MIN_USERS:
        yield blocking(
            "few_users",
            Template(
                "There is {n} test user, and of fewer than {least} nothing tells how uncertain a gain is.",
                "There are {n} test users, and of fewer than {least} nothing tells how uncertain a gain is.",
            ),
            n,
            least=MIN_USERS,
        )
        return
    variance = spread(split)
    if variance is None:
        yield warning(
            "users_unknown",
            Template(
                "Popular items hit nothing that is held out for validation, so how many users it takes is not known "
                "before a pilot has run."
            ),
        )
        return
    components = {"var_user": variance, "var_seed": 0.0, "var_interaction": 0.0}
    seen = power.mde_relative(**components, n=n, seeds=SEEDS)
    if seen > gain:
        needed = power.users_needed(gain, **components, seeds=SEEDS)
        assert needed is not None  # without training noise some number is always enough
        yield graded(
            seen / gain,
            HOPELESS,
            "few_users",
            Template(
                "With {n} test user, a gain of about {seen} is seen in four of five studies, a smaller one less often; "
                "for {gain} that takes about {needed}. This is a rough guess; a pilot tells more.",
                "With {n} test users, a gain of about {seen} is seen in four of five studies, a smaller one less "
                "often; for {gain} that takes about {needed}. This is a rough guess; a pilot tells more.",
            ),
            n,
            seen=seen,
            gain=gain,
            needed=needed,
        )
