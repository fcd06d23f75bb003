"""The effort that pages state is that of the cells, whatever the plan's budget says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from mmbench import paths
from mmbench.report.reading import read_sweep
from mmbench.report.spent import spent_by
from mmbench.report.write import write_report
from mmbench.store import records
from mmbench.store.schema import Manifest, hashed
from tests.report.constructed import Made, write_sweep

USERS = 400
CLAIMED = {"name": "paper", "trials": 300, "seeds": 10, "max_steps": 12000}
UNLIKE = (
    "Not the same training rule, T and S for all models: d/a with T 9 and S 3, at most 9 steps; d/b with T 24 and S 1, "
    "at most 9 steps."
)


def made(n_trials: int, n_seeds: int, **described: Any) -> Made:
    hits = np.zeros((max(n_trials, n_seeds), USERS), bool)
    hits[:, : USERS // 2] = True
    return Made(hits[:n_seeds], hits[:n_trials], **described)


def claiming(folder: Path, cells: Mapping[tuple[str, str, str], Made]) -> Path:
    """A sweep whose plan names a budget that no cell had."""
    sweep = write_sweep(folder / "s", cells)
    file = paths.manifest_file(sweep)
    records.write(file, hashed(msgspec.structs.replace(records.read(file, Manifest), budget=CLAIMED)))
    return sweep


def stated(sweep: Path) -> dict[str, str]:
    """Text of every page that states effort."""
    write_report(sweep)
    report = paths.report_dir(sweep)
    names = ("table.md", "table.tex", "table.txt", "benchmark.md", "verdicts.md", "submission.md")
    return {name: (report / name).read_text() for name in (*names, "fairness.html", "report.html")}


def test_pages_state_the_effort_of_the_cells(tmp_path: Path) -> None:
    efforts = {"a": (9, 3), "b": (24, 1)}
    cells = {("d", model, c): made(*effort) for model, effort in efforts.items() for c in ("none", "text")}
    texts = stated(claiming(tmp_path, cells))
    for name, text in texts.items():
        assert "budget paper" not in text.lower(), name
        assert "300 " not in text, name
        if name not in ("submission.md", "table.tex"):
            assert UNLIKE in text, name
            assert "One seed of d/b: training noise was not measured there." in text, name
    assert "budget standard (9 to 24 trials, 1 to 3 final seeds)" in texts["table.md"]
    assert "Budget standard; test split" in texts["benchmark.md"]
    assert "budget standard: at most 24 trials and 3 final seeds of a condition" in texts["verdicts.md"]
    assert "Budget standard: at most 24 trials and 3 final seeds of a condition" in texts["report.html"]
    assert "Budget standard: 9 to 24 trials, 1 to 3 final seeds, at most 9 optimizer steps." in texts["fairness.html"]
    assert "9 to 24 trials of every condition" in texts["submission.md"]
    assert "exploratory" not in texts["verdicts.md"]


def test_one_seed_of_all_is_said_whatever_the_plan_claims(tmp_path: Path) -> None:
    texts = stated(claiming(tmp_path, {("d", "a", c): made(8, 1) for c in ("none", "text")}))
    assert "One seed: training noise was not measured" in texts["table.md"]
    assert "One seed: training noise was not measured" in texts["benchmark.md"]
    assert "At most 8 trials, as those of budget small, are exploratory." in texts["verdicts.md"]
    assert not any("Not the same training rule" in text or "One seed of" in text for text in texts.values())


COMPUTED = {"stop_reason": "closed_form", "steps_per_epoch": 0}
ONE_SEED = "One seed: training noise was not measured"


def computed() -> dict[tuple[str, str, str], Made]:
    """A model that is computed, with one final seed, under two conditions of which the second finds more."""
    hits = {"none": USERS // 4, "text": USERS // 2}
    found = {}
    for condition, n in hits.items():
        of_trials = np.zeros((8, USERS), bool)
        of_trials[:, :n] = True
        found["d", "a", condition] = Made(of_trials[:1], of_trials, courses=[COMPUTED] * 8, final=COMPUTED)
    return found


def test_a_result_that_is_computed_needs_no_second_seed(tmp_path: Path) -> None:
    texts = stated(claiming(tmp_path, computed()))
    assert "better" in texts["verdicts.md"]
    assert "| yes | 1 contrast in NDCG@20" in texts["submission.md"]
    assert not any("One seed" in text or "One final seed" in text for text in texts.values())


def test_of_one_seed_only_what_depends_on_it_is_not_told_apart(tmp_path: Path) -> None:
    texts = stated(claiming(tmp_path, {**computed(), ("d", "b", "none"): made(8, 1)}))
    for name in ("table.md", "benchmark.md", "verdicts.md", "report.html"):
        assert "One seed of d/b: training noise was not measured there." in texts[name], name
    assert not any(ONE_SEED in text for text in texts.values())
    assert "| yes | 1 contrast in NDCG@20" in texts["submission.md"]


@pytest.mark.parametrize(
    ("cells", "trials", "seeds", "differs"),
    [
        ({"a": made(9, 3), "b": made(9, 3)}, [9], [3], False),
        # one that was tried whole had no more to try, one without a result says nothing
        ({"a": made(9, 3), "b": made(1, 3, config={"search": {}})}, [9], [3], False),
        ({"a": made(1, 3, config={"search": {}})}, [1], [3], False),
        ({"a": made(9, 3), "b": made(24, 3, failure="NaN in the loss")}, [9], [3], False),
        ({"b": made(24, 3, failure="NaN in the loss")}, [24], [3], False),
        ({"a": made(9, 3), "b": made(9, 3, missing=True)}, [9], [3], False),
        ({"a": made(9, 3), "b": made(24, 3)}, [9, 24], [3], True),
        ({"a": made(9, 3), "b": made(9, 2)}, [9], [2, 3], True),
        (
            {"a": made(9, 3), "b": made(9, 3, config={"budget": {"name": "standard", "max_steps": 18}})},
            [9],
            [3],
            True,
        ),
        # nothing was run yet
        ({"a": made(9, 3, missing=True)}, [300], [10], False),
    ],
)
def test_what_counts(
    cells: Mapping[str, Made], trials: list[int], seeds: list[int], differs: bool, tmp_path: Path
) -> None:
    had = spent_by(read_sweep(claiming(tmp_path, {("d", model, "none"): one for model, one in cells.items()})))
    assert (had.trials, had.seeds, bool(had.unlike)) == (trials, seeds, differs)
