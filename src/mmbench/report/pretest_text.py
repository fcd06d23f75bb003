"""The pre-test of a data set for the terminal, as Markdown and as a record."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from mmbench import records
from mmbench.contribution.pretest import EPSILON, Light, Pretest
from mmbench.contribution.shapley import Coalition
from mmbench.contribution.signal import MIN_INTERACTIONS
from mmbench.data.dataset import Dataset
from mmbench.messages import Words
from mmbench.report.layout import markdown_table, text_table
from mmbench.stats import Interval

#: Header and rows.
Table = tuple[list[str], list[list[str]]]
LIGHTS = {Light.GREEN: "green", Light.AMBER: "amber", Light.RED: "red"}
NOTES = ("note_behaviour", "note_predicts", "note_only_it", "note_finds", "note_yes", "note_use")


def notes(words: Words) -> list[str]:
    """What the columns mean, and what follows from them."""
    return [words(name, epsilon=EPSILON) for name in NOTES]


def why(found: Pretest, name: str, words: Words) -> str:
    """One sentence for the light of a modality."""
    others = words.list(sorted(found.coverage.keys() - {name}))
    alone, unique = found.signal.r2[frozenset({name})], found.signal.unique[name].mean
    match found.lights[name]:
        case Light.GREEN if others:
            return words("why_green", others=others)
        case Light.GREEN:
            return words("why_green_alone")
        case Light.AMBER:
            return words("why_amber", share=words.percent(1 - max(unique, 0.0) / alone), others=others)
        case _:
            return words("why_red")


def lights(found: Pretest, words: Words) -> Table:
    """Header and rows of the main table, one row per modality."""
    header = [words(name) for name in ("modality", "worth", "predicts", "only_it", "by_chance", "finds", "why")]
    rows = []
    for name, colour in found.lights.items():
        alone = frozenset({name})
        recall, chance = f"{found.recall.recall[alone]:.3f}", f"{found.recall.chance:.3f}"
        rows.append(
            [
                name,
                words(LIGHTS[colour]),
                f"{found.signal.r2[alone]:z.3f}",
                _interval(found.signal.unique[name]),
                f"{found.signal.null_unique[name].mean():z.3f}",
                words("found", recall=recall, chance=chance),
                why(found, name, words),
            ]
        )
    return header, rows


def subsets(found: Pretest, words: Words) -> Table:
    """Header and rows of what every subset of the modalities tells."""
    rows = [
        [_named(s) or words("none"), f"{found.signal.r2[s]:z.3f}", f"{found.recall.recall[s]:.3f}"]
        for s in found.recall.recall
    ]
    return [words("modalities"), words("predicts"), words("finds")], rows


def pairs(found: Pretest, words: Words) -> Table:
    """Header and rows of how alike two modalities see the items."""
    header = [words(name) for name in ("modalities", "common_neighbours", "by_chance", "alignment")]
    rows = [
        [words.list(names), f"{o.share:.1%}", f"{o.chance:.1%}", f"{found.cka[names]:z.3f}"]
        for names, o in found.overlap.items()
    ]
    return header, rows


def head(name: str, dataset: Dataset, found: Pretest, words: Words) -> list[str]:
    """Lines above the tables."""
    covered = ", ".join(f"{m} {words.percent(share, 1)}" for m, share in found.coverage.items())
    numbers = {"frequent": found.n_frequent, "items": found.n_items, "least": MIN_INTERACTIONS}
    used = words("used", covered=covered, **{key: words.number(value) for key, value in numbers.items()})
    return [words("title", name=name), used, *map(words.said, dataset.notices)]


def as_text(name: str, dataset: Dataset, found: Pretest, words: Words, width: int = 150) -> str:
    """The pre-test for a terminal."""
    out = Console(file=io.StringIO(), width=width, force_terminal=False)
    out.print("\n".join(head(name, dataset, found, words)), highlight=False, markup=False)
    for header, rows in (lights(found, words), subsets(found, words), pairs(found, words)):
        if rows:
            table = RichTable(box=box.SIMPLE)
            for column in header:  # Japanese has no blanks to break at, and a sentence is never cut
                table.add_column(column, overflow="fold")
            for row in rows:
                table.add_row(*row)
            out.print(table)
    out.print("\n".join(notes(words)), highlight=False, markup=False)
    text: str = out.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def as_markdown(name: str, dataset: Dataset, found: Pretest, words: Words) -> str:
    """The pre-test as GitHub Markdown."""
    title, *lines = head(name, dataset, found, words)
    blocks = [f"# {title}", "\n".join(f"- {line}" for line in lines)]
    for header, rows in (lights(found, words), subsets(found, words), pairs(found, words)):
        if rows:
            blocks.append(markdown_table(text_table("", header, rows)))
    return "\n\n".join([*blocks, "\n".join(f"- {line}" for line in notes(words))]) + "\n"


def as_record(name: str, dataset: Dataset, found: Pretest) -> dict[str, Any]:
    """The pre-test as a record."""
    signal = found.signal
    return {
        "kind": "signal",
        "dataset": name,
        "data": dataset.summary(),
        "train_hash": dataset.split.train.fingerprint(),
        "features": {m: feature.fingerprint() for m, feature in sorted(dataset.features.items())},
        "n_items": found.n_items,
        "n_frequent": found.n_frequent,
        "coverage": dict(found.coverage),
        "lights": {m: str(colour) for m, colour in found.lights.items()},
        "r2": _by_name(signal.r2),
        "unique": {m: {"value": i.mean, "lo": i.lo, "hi": i.hi} for m, i in signal.unique.items()},
        "common": signal.common,
        "null_alone": {m: values.tolist() for m, values in signal.null_alone.items()},
        "null_unique": {m: values.tolist() for m, values in signal.null_unique.items()},
        "neighbour_recall": {"k": found.recall.k, "chance": found.recall.chance, **_by_name(found.recall.recall)},
        "neighbour_overlap": {"+".join(names): vars(overlap) for names, overlap in found.overlap.items()},
        "debiased_cka": {"+".join(names): None if math.isnan(v) else v for names, v in found.cka.items()},
        "versions": records.versions(),
    }


def _named(subset: Coalition) -> str:
    return "+".join(sorted(subset))


def _by_name(values: Mapping[Coalition, float]) -> dict[str, float]:
    return {_named(subset) or "none": value for subset, value in values.items()}


def _interval(i: Interval) -> str:
    return f"{i.mean:z.3f} [{i.lo:z.3f}, {i.hi:z.3f}]"
