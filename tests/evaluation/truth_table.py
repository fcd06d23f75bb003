"""Writes the truth of the planted worlds into docs/results.md: ``python -m tests.evaluation.truth_table``, minutes."""

from __future__ import annotations

from pathlib import Path

import torch

from mmbench.cli.compose import compose
from mmbench.data.planted import WORLDS
from mmbench.evaluation import planted_truth as truths
from mmbench.evaluation.planted_truth import CONDITIONS, CONTENT, CONTENT_AND_LOG, CONTRASTS, PlantedTruth

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results.md"
#: Titles of the two tables, by what the scorer knows of an item.
READINGS = {CONTENT: "by content", CONTENT_AND_LOG: "by content and log"}
SEEDS = (0, 1, 2)


def header(knowledge: str) -> str:
    """The first line of a table."""
    columns = [*CONDITIONS, *(f"{contrast.replace('_', ' ')} %" for contrast in CONTRASTS), "all factors known"]
    return "| " + " | ".join([READINGS[knowledge], "seed", *columns]) + " |"


def truth_of(world: str, seed: int) -> PlantedTruth:
    """The truth of a world as ``dataset=planted`` makes it, and as its studies split it."""
    words = [f"dataset.world={world}", f"dataset.world_options.seed={seed}"]
    if WORLDS[world].new_items:
        words.append("dataset.protocol=given")
    return truths.planted_truth(compose(words).job().config.dataset)


def row(world: str, seed: int, knowledge: str, truth: PlantedTruth) -> str:
    """One line of a table."""
    values = [f"{truth.value(knowledge, condition):.4f}" for condition in CONDITIONS]
    gains = [f"{100 * truth.gain(knowledge, contrast):+z.1f}" for contrast in CONTRASTS]
    ceiling = truth.as_record()["factors_known"]["ndcg@20"]
    return "| " + " | ".join([world, str(seed), *values, *gains, f"{ceiling:.4f}"]) + " |"


def rows(text: str, knowledge: str) -> list[str]:
    """The lines of a table of the page, below its rule."""
    _, _, below = text.partition(header(knowledge) + "\n")
    return below.partition("\n\n")[0].splitlines()[1:]


def documented() -> dict[tuple[str, int], list[dict[str, float]]]:
    """Relative gains by contrast that the page states, by world and seed, for each reading."""
    text = RESULTS.read_text(encoding="utf-8")
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for knowledge in READINGS:
        for line in rows(text, knowledge):
            world, seed, *cells = line.strip("| ").split(" | ")
            gains = [float(cell) / 100 for cell in cells[len(CONDITIONS) : len(CONDITIONS) + len(CONTRASTS)]]
            found.setdefault((world, int(seed)), []).append(dict(zip(CONTRASTS, gains, strict=True)))
    return found


def main() -> None:
    """Compute every row and put it into the page."""
    torch.set_num_threads(1)
    text = RESULTS.read_text(encoding="utf-8")
    made: dict[str, list[str]] = {knowledge: [] for knowledge in READINGS}
    for world in WORLDS:
        for seed in SEEDS:
            truth = truth_of(world, seed)
            for knowledge, lines in made.items():
                lines.append(row(world, seed, knowledge, truth))
                print(lines[-1], flush=True)
    for knowledge, lines in made.items():
        before, title, below = text.partition(header(knowledge) + "\n")
        if not title:
            raise SystemExit(f"{RESULTS.name} has no table that begins with {header(knowledge)}")
        rule = "|" + " --- |" * (header(knowledge).count("|") - 1)
        _, gap, rest = below.partition("\n\n")
        text = before + title + "\n".join([rule, *lines]) + gap + rest
    RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
