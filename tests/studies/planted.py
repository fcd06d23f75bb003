"""Twelve planted worlds end to end: ``python -m tests.studies.planted`` runs what is missing and writes the table.

Does the instrument say what was planted? Fusion, VBPR and AddEASE on all worlds, FREEDOM and LightGCN on four, budget
``small``. What may be said stands in :data:`TRUTH` and was written before any of these sweeps ran.

An epoch of these worlds is 5 to 12 optimizer steps, and with identifiers alone validation still rises after 3,000
steps: +10 % up to 6,500 steps for Fusion in ``complementary``. So the cap lies far beyond; 1,500 steps without a better
score end a training. Where the cap took a word all the same, the model is run again with twice the cap, as its
sentence asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from mmbench.inference.intervals import LogGain
from mmbench.inference.verdicts import Verdict
from mmbench.report.disposals import ALL_MODELS
from tests.benchmarks.performance import table
from tests.evaluation.truth_table import documented
from tests.studies.sweeps import Study, run_into_page

#: Most steps of a training, and where that was not enough.
MAX_STEPS, MORE_STEPS = 12_000, 24_000
#: ``image`` has no control here, so it is on neither side of free disposal.
CONDITIONS = "none,text,image,fused,text_shuffled_image"
CONTRASTS = ("text_vs_none", "image_vs_none", "fused_vs_text", "fused_vs_image", "fused_vs_text_shuffled_image")
WORLDS = (
    ("redundant", 0),
    ("redundant", 1),
    ("complementary", 0),
    ("complementary", 1),
    ("complementary", 2),
    ("useless_image", 0),
    ("useless_image", 1),
    ("text_only", 0),
    ("text_only", 1),
    ("cold_image", 0),
    ("cold_image", 1),
    ("no_signal", 0),
)
#: Worlds with four models.
WIDE = {("redundant", 0), ("complementary", 0), ("useless_image", 0), ("text_only", 0)}
#: What is not trusted because the cap cut its trials off: world, seed and model.
CUT_OFF = (
    ("complementary", 2, "vbpr"),
    ("no_signal", 0, "fusion"),
    ("useless_image", 0, "vbpr"),
    ("useless_image", 1, "vbpr"),
)
#: A name says the world and its seed; what follows are a model with a study of its own, and its cap.
NAME = re.compile(r"planted_(?P<world>.+?)_(?P<seed>\d+)(_(?P<model>[a-z]+)(_(?P<steps>\d+))?)?")


@dataclass(frozen=True)
class Truth:
    """What may be said of a world.

    Args:
        image_helps: whether the image adds something to text.
        words: words of ``fused_vs_text`` that are no error, where the image helps.
    """

    image_helps: bool
    words: frozenset[Verdict] = frozenset()


HELPS = Truth(True, frozenset({Verdict.BETTER, Verdict.BETTER_SMALL, Verdict.UNDECIDED}))
#: In cold_image the image helps new items only, which are too few for a word to be demanded.
TRUTH: Mapping[str, Truth] = {
    "complementary": HELPS,
    "cold_image": HELPS,
    "redundant": Truth(False),
    "text_only": Truth(False),
    "useless_image": Truth(False),
    "no_signal": Truth(False),
}
#: Relative gains by contrast, by world and seed, for each reading of the truth; and studies by name.
Planted = Mapping[tuple[str, int], Sequence[Mapping[str, float]]]
Results = Mapping[str, Mapping[str, Any]]
GAINS = {Verdict.BETTER, Verdict.BETTER_SMALL}
LOSSES = {Verdict.WORSE, Verdict.WORSE_SMALL}
#: Words that say what a gain is.
SPOKEN = {*GAINS, *LOSSES, Verdict.EQUIVALENT, Verdict.UNDECIDED}
#: Words on a gain, as the pages of the study count them.
KINDS: Mapping[str, frozenset[str]] = {
    "a gain": frozenset(GAINS),
    "*equivalent*": frozenset({Verdict.EQUIVALENT}),
    "a loss": frozenset(LOSSES),
    "*undecided*": frozenset({Verdict.UNDECIDED}),
}
#: What is asked of images, and the verdict that answers it.
ASKED = {"images beside text": "fused_vs_text", "free use of images": "free_disposal_of_image"}
#: What the table of the page shows.
SHOWN = ("text_vs_none", "fused_vs_text", "free_disposal_of_image")


def study(world: str, seed: int, model: str = "", steps: int = MAX_STEPS) -> Study:
    """The sweep of one world.

    Args:
        world: its name.
        seed: its seed.
        model: what has a study of its own; empty for the models that all worlds have.
        steps: most steps of a training.
    """
    usual = "fusion,vbpr,freedom,lightgcn" if (world, seed) in WIDE else "fusion,vbpr"
    # New items must not be trained on: cold_image has a split of its own.
    split = ("dataset.protocol=given",) if world == "cold_image" else ()
    words = (
        f"dataset.world={world}",
        f"dataset.world_options.seed={seed}",
        *split,
        f"model={model or usual}",
        f"modality={CONDITIONS}",
        "budget=small",
        f"budget.max_steps={steps}",
        f"statistics.contrasts=[{','.join(CONTRASTS)}]",
    )
    name = "_".join(["planted", world, str(seed), *([model] if model else []), *([str(steps)] * (steps > MAX_STEPS))])
    return Study(name, words)


STUDIES = [
    *(study(world, seed) for world, seed in WORLDS),
    *(study(world, seed, "addease") for world, seed in WORLDS),
    *(study(*taken, MORE_STEPS) for taken in CUT_OFF),
]


def place_of(name: str) -> tuple[str, int]:
    """World and seed of a study.

    >>> place_of("planted_cold_image_1"), place_of("planted_no_signal_0_fusion_24000")
    (('cold_image', 1), ('no_signal', 0))
    """
    found = _parts(name)
    return found["world"], int(found["seed"])


def _parts(name: str) -> re.Match[str]:
    found = NAME.fullmatch(name)
    assert found is not None, name
    return found


def joined(results: Results) -> dict[str, Mapping[str, Any]]:
    """What is said of each world; what a study of one model says stands in place of what it said beside others.

    Args:
        results: studies by name, those of the worlds first.

    Returns:
        One result for each world and seed by the name of its first study, without the choice over all models.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, result in results.items():
        base = study(*place_of(name)).name
        models = {judged["name"].split("/")[1] for judged in result["contrasts"]}
        before = found.get(base, {**result, "contrasts": [], "disposals": [], "untrained": {}})
        said = {
            part: [
                *(judged for judged in before[part] if judged["name"].split("/")[1] not in models),
                *(judged for judged in result[part] if judged["name"].split("/")[1] in models),
            ]
            for part in ("contrasts", "disposals")
        }
        found[base] = {**before, **said, "untrained": {**before["untrained"], **result["untrained"]}}
    return found


def too_many(wrong: int, tested: int, rate: float = 0.05) -> bool:
    """Whether so many wrong words are too many for an error rate: their binomial probability is below .001."""
    return wrong > 0 and float(stats.binom.sf(wrong - 1, tested, rate)) < 0.001


def spoken(results: Results, *, contrast: str, helping: bool | None = None) -> list[tuple[str, str]]:
    """Name and word of every ``contrast`` (or free disposal) of one model that has a verdict on its gain.

    What failed, is not trusted or depends on tuning says neither that images help nor that they do not, and the choice
    over all models repeats what one of them says.

    Args:
        results: studies by name.
        contrast: its name.
        helping: only worlds whose image helps, or does not; all where None.
    """
    found = []
    for name, result in results.items():
        if helping is None or TRUTH[place_of(name)[0]].image_helps == helping:
            for judged in (*result["contrasts"], *result["disposals"]):
                _, model, said = judged["name"].split("/")
                if said == contrast and model != ALL_MODELS and judged["word"] in SPOKEN:
                    found.append((f"{name}: {judged['name']}", judged["word"]))
    return found


def undecided(results: Results, planted: Planted, share: Callable[[float, float], float]) -> list[tuple[bool, float]]:
    """Whether each contrast that has a verdict is undecided, and with which probability it was expected to be.

    The planted gain is the smaller of the two readings of the generator's truth.

    Args:
        results: studies by name.
        planted: relative gains of a world and seed by contrast, in each reading.
        share: share of sweeps that end undecided, by half the width of the 95 % interval of L and the true gain.
    """
    found = []
    for name, result in results.items():
        for judged in result["contrasts"]:
            contrast = judged["name"].split("/")[-1]
            gains = [reading[contrast] for reading in planted[place_of(name)] if contrast in reading]
            if gains and judged["word"] in SPOKEN:
                half = LogGain(judged["log_ratio"], judged["se"], judged["df"]).half_width(0.95)
                found.append((judged["word"] == Verdict.UNDECIDED, share(half, min(gains))))
    return found


def more_than(expected: Sequence[float], seen: int) -> float:
    """Probability of at least so many events that are independent and have these probabilities."""
    chances = np.ones(1)
    for one in expected:
        chances = np.convolve(chances, [1 - one, one])
    return float(chances[seen:].sum())


def rows(results: Results, planted: Planted) -> str:
    """The table of docs/results.md: what was planted, and what the instrument said."""
    lines = []
    for name, result in sorted(results.items(), key=lambda each: WORLDS.index(place_of(each[0]))):
        (world, seed), steps = place_of(name), _parts(name)["steps"]
        readings = planted[world, seed]
        models = dict.fromkeys(judged["name"].split("/")[1] for judged in result["contrasts"])
        for model in models:
            of_model = {
                said: judged
                for judged in (*result["contrasts"], *result["disposals"])
                for _, of, said in [judged["name"].split("/")]
                if of == model
            }
            cells = []
            for contrast in SHOWN:
                truth = " and ".join(f"{100 * reading[contrast]:+.1f}" for reading in readings if contrast in reading)
                cells += [truth] * (contrast in readings[0]) + [told(of_model.get(contrast))]
            lines.append([world, str(seed), f"{model}, {int(steps):,} steps" if steps else model, *cells])
    header = ["world", "seed", "model"]
    for contrast in SHOWN:
        header += ["planted %"] * (not contrast.startswith("free")) + [contrast.replace("_", " ")]
    return table(header, lines)


def counted(results: Results) -> str:
    """A table: how often which word was said of images, model by model, where they help and where they do not."""
    models = dict.fromkeys(one["name"].split("/")[1] for result in results.values() for one in result["contrasts"])
    lines = []
    for question, contrast in ASKED.items():
        for helping in (True, False):
            for model in models:
                said = [
                    judged["word"]
                    for name, result in results.items()
                    if TRUTH[place_of(name)[0]].image_helps == helping
                    for judged in (*result["contrasts"], *result["disposals"])
                    if judged["name"].split("/")[1:] == [model, contrast]
                ]
                counts = [sum(word in kind for word in said) for kind in KINDS.values()]
                planted = "something" if helping else "nothing"
                shown = map(str, (*counts, len(said) - sum(counts), len(said)))
                lines.append([question, planted, model, *shown])
    return table(["asked", "images add", "model", *KINDS, "no word on a gain", "worlds"], lines)


def told(judged: Mapping[str, Any] | None) -> str:
    """A gain in percent with its interval and word."""
    if judged is None or "gain" not in judged:
        return "-" if judged is None else str(judged["word"] or "no word")
    bounds = "" if judged["bounds"] is None else " [{:+.1f}, {:+.1f}]".format(*(100 * end for end in judged["bounds"]))
    return f"{100 * judged['gain']:+.1f}{bounds} *{judged['word'] or 'no word'}*"


def main() -> None:
    """Run what is missing, and write the table of what has run."""
    run_into_page(STUDIES, "planted", lambda results: rows(results, documented()))


if __name__ == "__main__":
    main()
