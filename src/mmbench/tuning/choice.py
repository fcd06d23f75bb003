"""The one rule by which a configuration is chosen among trials."""

from __future__ import annotations

from collections.abc import Sequence

from mmbench.store.schema import Choice, Stage, Training, hashed
from mmbench.training.stopping import SELECTION_METRIC
from mmbench.tuning.cell import CellFailed


def choose(trials: Sequence[Training], plan: str) -> Choice:
    """Pick the trial with the best validation score; a tie goes to the lower slot, and a slot before a proposal.

    Args:
        trials: all that take part.
        plan: hash of what the plan fixes for good.

    Raises:
        CellFailed: if every trial failed.
    """
    order = {Stage.TRIAL: 0, Stage.PROPOSAL: 1}
    trials = sorted(trials, key=lambda trial: (order[trial.stage], trial.index))
    scored = [(trial.score, trial) for trial in trials if trial.score is not None]
    if not scored:
        failure = trials[0].failure
        raise CellFailed(f"all {len(trials)} trials failed; the first: {failure and failure.reason}")
    score, best = max(scored, key=lambda pair: pair[0])  # the first of equals
    choice = Choice(
        cell_key=best.cell_key,
        stage=best.stage,
        slot=best.index,
        configuration=best.configuration,
        metric=SELECTION_METRIC,
        score=score,
        n_trials=len(trials),
        n_failed=len(trials) - len(scored),
        plan=plan,
        trials=[trial.hash for trial in trials],
    )
    return hashed(choice)
