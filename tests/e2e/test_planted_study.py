"""Does the instrument find what was planted? Twelve whole studies on worlds whose truth is known.

``make study`` runs them and prints one row of the table in docs/results.md for each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmbench.inference import intervals
from mmbench.inference.verdicts import Verdict
from mmbench.paths import slug
from mmbench.report.comparisons import Comparison, read_contrasts
from mmbench.report.contribution_facts import DIFFERENCES, VALUES, read_contributions
from mmbench.report.facts import Facts
from mmbench.report.fairness_checks import read_groups
from mmbench.report.reading import read_sweep
from mmbench.report.sentences import amount
from mmbench.report.table import SweepTable
from mmbench.store import files
from tests.e2e.conftest import Run

pytestmark = pytest.mark.slow

CONDITIONS = ("none", "text", "image", "fused")
CONTRASTS = ("text_vs_none", "image_vs_none", "fused_vs_none", "fused_vs_text", "fused_vs_image")
METRIC = "ndcg@20"
GAINS = {Verdict.BETTER, Verdict.BETTER_SMALL}


@dataclass(frozen=True)
class Study:
    """A finished study of Fusion on one world, and the pre-test of its data."""

    table: SweepTable
    contrasts: dict[str, Comparison]
    facts: Facts
    signal: dict[str, Any]

    def mean(self, condition: str) -> float:
        """Test NDCG@20 under a condition."""
        return self.table.cells[self.facts.dataset, "fusion", condition].mean(METRIC)

    def gained(self, contrast: str) -> bool:
        """Whether a contrast ends in a word for better."""
        judgement = self.contrasts[contrast].judgement
        assert judgement is not None
        return judgement.word in GAINS

    def value(self, modality: str, part: str) -> tuple[float, float]:
        """Bounds of an M1 value."""
        (fact,) = (f for f in self.facts.facts if (f.measure, f.subject, f.part) == (VALUES, modality, part))
        assert fact.interval is not None
        return fact.interval.lo, fact.interval.hi

    def slices(self, contrast: str) -> dict[str, tuple[float, float]]:
        """Bounds of the difference by popularity of the item: it is defined where a side finds nothing, too."""
        return {
            f.part.removeprefix("item's training interactions: "): (f.interval.lo, f.interval.hi)
            for f in self.facts.facts
            if f.measure == DIFFERENCES and f.subject == contrast and f.part.startswith("item's training interactions")
            if f.interval is not None
        }

    def unique_above_null(self, modality: str) -> bool:
        """Whether M4 finds something in a modality that the other does not tell: above every shuffle."""
        return float(self.signal["unique"][modality]["lo"]) > float(np.max(self.signal["null_unique"][modality]))

    def row(self, world: str, seed: int) -> str:
        """One row for docs/results.md."""
        cells = [world, str(seed), *(f"{self.mean(c):.4f}" for c in CONDITIONS)]
        for name in ("text_vs_none", "fused_vs_text"):
            c = self.contrasts[name]
            assert c.tuned is not None
            cells.append(f"{amount(c.tuned)} {c.word}")
        unique = self.signal["unique"]["image"]
        cells.append(f"{unique['value']:z.3f} [{unique['lo']:z.3f}, {unique['hi']:z.3f}]")
        return "| " + " | ".join([*cells, f"{self.signal['common']:z.3f}"]) + " |"


def study(mmbench: Run, tmp_path: Path, world: str, seed: int) -> Study:
    """Fusion under four conditions, 16 trials and 5 final seeds: 84 trainings; then the pre-test."""
    data = [f"dataset.world={world}", f"dataset.world_options.seed={seed}"]
    if world == "cold_image":
        data.append("dataset.protocol=given")  # its new items must not be trained on
    words = ("-m", "sweep.name=study", *data, "model=fusion", f"modality={','.join(CONDITIONS)}", "budget=small")
    words += ("budget.trials=16", "budget.seeds=5", "tracking=none", "training.accelerator=cpu", "sweep.workers=1")
    done = mmbench(*words, f"statistics.contrasts=[{','.join(CONTRASTS)}]", timeout=3600.0)
    assert done.returncode == 0, done.stderr
    done = mmbench("signal", *data)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "multirun"
    table = read_sweep(folder / "study")
    groups = read_groups(table, folder / "study")
    found = read_contrasts(table, groups)
    (facts,) = read_contributions(table, groups, found)
    signal = files.read_document(folder / slug([f"signal-planted-{world}"]) / "signal.json")
    study = Study(table, {c.contrast: c for c in found}, facts, signal)
    print("\n" + study.row(world, seed))
    return study


def redundant(s: Study) -> None:
    """The image is a function of the text: given text it is never better, and M4 shares nearly all that it tells."""
    assert not s.gained("fused_vs_text")
    assert s.value("image", "added to the others")[0] <= 0
    image_alone = s.signal["r2"]["image"]
    assert image_alone > 0.1
    assert s.signal["common"] > 0.8 * image_alone


def complementary(s: Study) -> None:
    """Each tells something that the other does not: the image is called better given text."""
    assert s.mean("fused") > max(s.mean("text"), s.mean("image"))
    assert s.value("image", "added to the others")[0] > 0
    assert s.unique_above_null("image")
    assert s.unique_above_null("text")
    assert s.gained("fused_vs_text")


def useless_image(s: Study) -> None:
    """The image shows structure that no user cares about."""
    assert not s.gained("fused_vs_text")
    assert not s.gained("image_vs_none")
    assert not s.unique_above_null("image")


def text_only(s: Study) -> None:
    """Only text tells anything."""
    assert min(s.mean("text"), s.mean("fused")) > max(s.mean("none"), s.mean("image"))
    assert not s.gained("fused_vs_text")
    assert not s.unique_above_null("image")
    assert s.unique_above_null("text")
    assert s.gained("text_vs_none")


def cold_image(s: Study) -> None:
    """The image tells what the text does, but new items have no text: they and only they gain."""
    assert {name for name, (lo, _) in s.slices("fused_vs_text").items() if lo > 0} == {"cold"}


def no_signal(s: Study) -> None:
    """No gain is claimed: the lower 99 % bound of fused over none, the lower end of the two-sided 98 % interval."""
    fused, none = (s.table.cells["planted-no_signal", "fusion", c].per_user(METRIC) for c in ("fused", "none"))
    assert intervals.relative_gain(fused, none, level=0.98).lo <= 0.0
    assert not any(s.gained(contrast) for contrast in ("text_vs_none", "image_vs_none", "fused_vs_none"))


WORLDS: list[tuple[Callable[[Study], None], int]] = [
    (redundant, 0),
    (redundant, 1),
    (complementary, 0),
    (complementary, 1),
    (complementary, 2),
    (useless_image, 0),
    (useless_image, 1),
    (text_only, 0),
    (text_only, 1),
    (cold_image, 0),
    (cold_image, 1),
    (no_signal, 0),
]


@pytest.mark.parametrize(("truth", "seed"), WORLDS, ids=[f"{truth.__name__}-{seed}" for truth, seed in WORLDS])
def test_the_planted_truth_is_found(mmbench: Run, tmp_path: Path, truth: Callable[[Study], None], seed: int) -> None:
    truth(study(mmbench, tmp_path, truth.__name__, seed))
