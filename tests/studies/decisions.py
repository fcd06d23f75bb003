"""Does the decision say what was planted? ``python -m tests.studies.decisions`` runs what is missing of 32 sweeps.

Twelve worlds with either of their image encoders, once with every model that is computed rather than trained step by
step, once with two of these and Fusion, are decided for three businesses; those where images pay also with the same
three models and the effort that the pages of these studies ask for. The generator of ``complementary`` says what
images add to text, by content and log and by content alone; what a model gains lies in between. In one business images
pay from a third of the smaller of the two, in one from 5 %, in the last from twice the larger: they pay for themselves
in the first two, and not in the last. The computed models came second, after Fusion had given no GO; worlds that nobody
had looked at confirm them or do not. The command prints the tables of docs/decision.md.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmbench.data.encoded import DEFAULT
from mmbench.data.planted import SECOND
from mmbench.decision import Action, Decision, Economics, Evidence, Status, decide, read_economics
from mmbench.decision.sweep_evidence import read_evidence
from mmbench.report.reading import read_sweep
from tests.decision.cases import BREAKEVEN, OWN, default_file
from tests.evaluation.truth_table import READINGS, truth_of
from tests.studies.sweeps import Study, finished, run_missing

CONDITIONS = ("text", "fused", "text_shuffled_image")
#: Models of a study by its kind.
MODELS = {
    "computed": (
        *("popularity", "itemknn", "ease", "ials"),
        *("contentknn", "hybridknn", "cease", "addease", "l3ae", "mmgf", "attributemap"),
    ),
    "trained": ("itemknn", "hybridknn", "fusion"),
    "raised": ("itemknn", "hybridknn", "fusion"),
}
#: More steps where trainings were cut off (G1), more final runs where a guard-rail did not show (G4).
EFFORT = {"raised": ("budget.max_steps=12000", "budget.seeds=10")}
CHEAP, FAIR, DEAR = "cheap", "fair", "dear"
WORLDS = (
    ("complementary", 0),
    ("complementary", 1),
    ("complementary", 2),
    ("complementary", 3),
    ("redundant", 0),
    ("redundant", 1),
    ("useless_image", 0),
    ("useless_image", 1),
    ("text_only", 0),
    ("text_only", 1),
    ("no_signal", 0),
    ("cold_image", 0),
)


@functools.cache
def breakevens(seed: int) -> dict[str, float]:
    """From which gain on images pay in each business, by the truth of ``complementary`` with this seed."""
    truth = truth_of("complementary", seed)
    smaller, larger = sorted(truth.gain(knowledge, "fused_vs_text") for knowledge in READINGS)
    return {CHEAP: smaller / 3, FAIR: 0.05, DEAR: 2 * larger}


def economics(breakeven: float) -> Economics:
    """A business without uncertainty whose images pay from a gain of ``breakeven`` on."""
    value = {**OWN["value"], "recommendations_year": OWN["value"]["recommendations_year"] * BREAKEVEN / breakeven}
    return read_economics({**OWN, "transfer": 0.5, "value": value}, default_file())


@dataclass(frozen=True)
class DecidedStudy(Study):
    """A sweep whose images are decided about.

    Args:
        seed: of the world.
    """

    seed: int = field(kw_only=True)

    @classmethod
    def of(cls, kind: str, world: str, seed: int) -> DecidedStudy:
        """The sweep of one world with the models of a kind."""
        data = [f"dataset.world={world}", f"dataset.world_options.seed={seed}"]
        if world == "cold_image":
            data.append("dataset.protocol=given")  # its new items must not be trained on
        words = (
            *data,
            f"dataset.encoder.image={DEFAULT},{SECOND}",
            f"model={','.join(MODELS[kind])}",
            f"modality={','.join(CONDITIONS)}",
            "statistics.contrasts=[fused_vs_text,fused_vs_text_shuffled_image]",
            "budget=small",
            *EFFORT.get(kind, ()),
        )
        return cls(f"{kind}_{world}_{seed}", words, seed=seed)

    def said(self) -> dict[str, Any]:
        """What was measured, and the answer for each business."""
        measured = read_evidence(read_sweep(self.folder)).evidence
        answers = {name: decide(measured, economics(b)) for name, b in breakevens(self.seed).items()}
        return {
            "measured": described(measured),
            "breakevens": breakevens(self.seed),
            "answers": {name: answer(decision) for name, decision in answers.items()},
        }


def described(e: Evidence) -> dict[str, Any]:
    """Evidence in numbers small enough to keep."""
    _, _, encoder = e.dataset.partition("-image=")
    return {
        "model": e.model,
        "encoder": encoder or DEFAULT,
        "gain": e.ratio,
        "bounds": None if e.interval is None else [e.interval.lo, e.interval.hi],
        "detectable": e.mde,
        "silent": e.silent,
    }


def answer(decision: Decision) -> dict[str, Any]:
    """An answer, why it is one, what bars another, and every gate."""
    return {
        "action": decision.action,
        "why": decision.why,
        "barred": [gate.name for gate in decision.barred],
        "openings": [[opening.gate, opening.key, opening.amount] for opening in decision.openings],
        "gates": {gate.name: [gate.status, gate.value] for gate in decision.gates},
    }


def told(said: Mapping[str, Any]) -> str:
    """The answer, and the gates that stand in the way of one."""
    barred = " ".join(said["barred"]) or "unclear"
    return f"HOLD ({barred})" if said["action"] == Action.HOLD else said["action"]


def parts_of(name: str) -> tuple[str, str, str]:
    """Kind, world and seed of a study."""
    kind, _, rest = name.partition("_")
    world, _, seed = rest.rpartition("_")
    return kind, world, seed


def row(name: str, result: Mapping[str, Any]) -> str:
    """A row of the table: world, model and encoder, gain, detectable gain, answers, gates that did not pass."""
    e = result["measured"]
    closed = [gate for gate, (status, _) in result["answers"][CHEAP]["gates"].items() if status != Status.PASS]
    bounds = "no interval" if e["bounds"] is None else "{:+.1f}, {:+.1f}".format(*(100 * end for end in e["bounds"]))
    gain = "-" if e["gain"] is None else f"{100 * e['gain']:+.1f} % [{bounds}]"
    detectable = "-" if e["detectable"] is None else f"{100 * e['detectable']:.1f} %"
    _, world, seed = parts_of(name)
    said = result["answers"]
    answers = [told(said[business]) if business in said else "-" for business in (CHEAP, FAIR, DEAR)]
    cells = [world, seed, f"{e['model']}, {e['encoder']}", gain, detectable, *answers, " ".join(closed) or "-"]
    return f"| {' | '.join(cells)} |"


HEADER = ("world", "seed", "best model, encoder", "gain", "detectable", CHEAP, FAIR, DEAR, "gates that did not pass")
#: Seeds of ``complementary`` that were first run when the computed models were fixed.
UNSEEN = (4, 5, 6, 7)
STUDIES = [
    *(DecidedStudy.of("computed", world, seed) for world, seed in WORLDS),
    *(DecidedStudy.of("computed", "complementary", seed) for seed in UNSEEN),
    *(DecidedStudy.of("trained", world, seed) for world, seed in WORLDS),
    *(DecidedStudy.of("raised", world, seed) for world, seed in WORLDS if world == "complementary"),
]


def main() -> None:
    """Run what is missing and print the table of each kind."""
    for _ in run_missing(STUDIES):
        pass
    for kind in MODELS:
        print(f"| {' | '.join(HEADER)} |\n|{' --- |' * len(HEADER)}")
        for name, result in finished(STUDIES).items():
            if parts_of(name)[0] == kind:
                print(row(name, result))
        print()


if __name__ == "__main__":
    main()
