"""Does the instrument find what was planted? Whole studies on worlds whose truth is known; `make study` runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmbench import stats
from mmbench.report import SweepTable, read_sweep
from tests.e2e.conftest import Run

pytestmark = pytest.mark.slow

CONDITIONS = ("none", "text", "image", "fused")
METRIC = "ndcg@20"


def study(mmbench: Run, tmp_path: Path, world: str) -> tuple[SweepTable, dict[str, float]]:
    """Fusion under four conditions with the small budget: 44 trainings."""
    words = ("-m", "sweep.name=study", f"dataset.world={world}", "model=fusion", f"modality={','.join(CONDITIONS)}")
    done = mmbench(
        *words, "budget=small", "tracking=none", "training.accelerator=cpu", "sweep.workers=1", timeout=3600.0
    )
    assert done.returncode == 0, done.stderr
    table = read_sweep(tmp_path / "multirun" / "study")
    means = {}
    for condition in CONDITIONS:
        cell = table.done(f"planted-{world}", "fusion", condition)
        assert cell is not None
        means[condition] = cell.mean(METRIC)
    print(f"\n{world}: " + ", ".join(f"{condition} {mean:.4f}" for condition, mean in means.items()))
    for gap in table.gaps:
        print(f"  {gap.name}: {100 * gap.mean:+.1f} % [{100 * gap.lo:+.1f}, {100 * gap.hi:+.1f}]")
    return table, means


def test_text_that_tells_is_found_and_images_that_do_not_are_not(mmbench: Run, tmp_path: Path) -> None:
    _, means = study(mmbench, tmp_path, "text_only")
    assert min(means["text"], means["fused"]) > max(means["none"], means["image"]), means


def test_two_modalities_that_complete_each_other_are_better_together(mmbench: Run, tmp_path: Path) -> None:
    _, means = study(mmbench, tmp_path, "complementary")
    assert means["fused"] > max(means["text"], means["image"]), means


def test_no_gain_is_claimed_where_there_is_none(mmbench: Run, tmp_path: Path) -> None:
    """The lower 99 % bound of the relative gain, which is the lower end of the two-sided 98 % interval."""
    table, means = study(mmbench, tmp_path, "no_signal")
    fused, none = (table.cells["planted-no_signal", "fusion", condition] for condition in ("fused", "none"))
    gain = stats.relative_gain(fused.per_user(METRIC), none.per_user(METRIC), level=0.98)
    assert gain.lo <= 0.0, (means, gain)
