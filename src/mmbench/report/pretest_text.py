"""The pre-test of a data set for the terminal, as Markdown and as a record."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from mmbench.data.dataset import Dataset
from mmbench.data.planted import MADE_UP
from mmbench.inference.contribution.pretest import EPSILON, Light, Pretest
from mmbench.inference.contribution.shapley import Coalition
from mmbench.inference.contribution.signal import MIN_INTERACTIONS
from mmbench.inference.intervals import Interval
from mmbench.messages import Message, Translator
from mmbench.report.layout import markdown_table, md, text_table
from mmbench.store import records

#: Header and rows.
Table = tuple[list[str], list[list[str]]]
LIGHTS = {
    Light.GREEN: Message("yes (green)"),
    Light.AMBER: Message("only without the others (amber)"),
    Light.RED: Message("no (red)"),
}
LIGHT_COLUMNS = (
    Message("modality"),
    Message("worth a trial?"),
    Message("predicts"),
    Message("only it"),
    Message("by chance"),
    Message("finds"),
    Message("why"),
)
PAIR_COLUMNS = (
    Message("modalities"),
    Message("common neighbours"),
    Message("by chance"),
    Message("alignment (debiased CKA)"),
)
#: What the columns mean, and what follows from them.
NOTES = (
    Message(
        "Behaviour is the training part only: item factors of the interaction matrix, and which items are bought "
        "together."
    ),
    Message(
        "predicts: share of the variance of the item factors that content predicts for unseen items (1 is all of it)."
    ),
    Message(
        "only it: the part that no other modality predicts, with its 95 % interval; by chance: the same for shuffled "
        "rows."
    ),
    Message("finds: how many of an item's ten co-purchase neighbours are among its ten content neighbours."),
    Message(
        "new items: a fifth of the items in turn as if nobody had bought them, ranked for those who did by their other "
        "purchases and what content predicts; by chance: where nothing tells the items apart."
    ),
    Message(
        "yes needs more than {epsilon} above chance, times the share of items with the content. A no holds for this "
        "encoder: try a second one before giving up.",
        epsilon=EPSILON,
    ),
    Message(
        "Signal is not use: a recommender may fail to exploit what is there, and only a trial tells what it is worth."
    ),
)


def light_reason(pretest: Pretest, name: str, translator: Translator) -> str:
    """One sentence for the light of a modality."""
    beside = sorted(pretest.coverage.keys() - {name})
    others = translator.list(beside)
    if not pretest.coverage[name]:
        return translator(Message("none of these items has any"))
    match pretest.lights[name]:
        case Light.GREEN if others:
            return translator(Message("it tells something about behaviour that {others} cannot", others=others))
        case Light.GREEN:
            return translator(Message("it tells something about behaviour"))
        case Light.AMBER:
            return translator(
                Message("it tells something about behaviour, but nothing is shown that {others} cannot", others=others)
            )
        case _:
            return translator(Message("with this encoder it is not shown to tell anything about behaviour"))


def lights(pretest: Pretest, translator: Translator) -> Table:
    """Header and rows of the main table, one row per modality."""
    header = [translator(name) for name in LIGHT_COLUMNS]
    rows = []
    for name, colour in pretest.lights.items():
        alone = frozenset({name})
        recall, chance = f"{pretest.recall.recall[alone]:.3f}", f"{pretest.recall.chance:.3f}"
        rows.append(
            [
                name,
                translator(LIGHTS[colour]),
                f"{pretest.signal.r2[alone]:z.3f}",
                _interval(pretest.signal.unique[name]),
                f"{pretest.signal.null_unique[name].mean():z.3f}",
                translator(Message("{recall} (chance {chance})", recall=recall, chance=chance)),
                light_reason(pretest, name, translator),
            ]
        )
    return header, rows


def subsets(pretest: Pretest, translator: Translator) -> Table:
    """Header and rows of what every subset of the modalities tells."""
    rows = [
        [
            _named(coalition) or translator(Message("none")),
            f"{pretest.signal.r2[coalition]:z.3f}",
            f"{pretest.recall.recall[coalition]:.3f}",
            *([] if pretest.reach is None else [f"{pretest.reach.ndcg[coalition]:.3f}"]),
        ]
        for coalition in pretest.recall.recall
    ]
    header = [Message("modalities"), Message("predicts"), Message("finds")]
    if pretest.reach is not None:
        header.append(
            Message(
                "new items, NDCG@20 (pools of {pool}, chance {floor})",
                pool=f"{pretest.reach.pool:.0f}",
                floor=f"{pretest.reach.floor:.3f}",
            )
        )
    return [translator(name) for name in header], rows


def pairs(pretest: Pretest, translator: Translator) -> Table:
    """Header and rows of how alike two modalities see the items."""
    header = [translator(name) for name in PAIR_COLUMNS]
    rows = [
        [translator.list(names), f"{overlap.share:.1%}", f"{overlap.chance:.1%}", f"{pretest.cka[names]:z.3f}"]
        for names, overlap in pretest.overlap.items()
    ]
    return header, rows


def heading(name: str, dataset: Dataset, pretest: Pretest, translator: Translator) -> list[str]:
    """Lines above the tables."""
    covered = ", ".join(f"{m} {translator.percent(share, 1)}" for m, share in pretest.coverage.items())
    numbers = {"frequent": pretest.n_frequent, "items": pretest.n_items, "least": MIN_INTERACTIONS}
    used = translator(
        Message(
            "{frequent} of {items} items have at least {least} training interactions and count; with content: "
            "{covered}",
            covered=covered,
            **{key: translator.number(value) for key, value in numbers.items()},
        )
    )
    made_up = [translator(Message(MADE_UP))] if dataset.made_up else []
    title = translator(Message("Is a trial worth it? {name}", name=name))
    return [title, *made_up, used, *map(translator, dataset.notices)]


def as_text(name: str, dataset: Dataset, pretest: Pretest, translator: Translator, width: int = 150) -> str:
    """The pre-test for a terminal."""
    out = Console(file=io.StringIO(), width=width, force_terminal=False, emoji=False)
    out.print("\n".join(heading(name, dataset, pretest, translator)), highlight=False, markup=False)
    for header, rows in (lights(pretest, translator), subsets(pretest, translator), pairs(pretest, translator)):
        if rows:
            table = RichTable(box=box.SIMPLE)
            for column in header:  # Japanese has no blanks to break at, and a sentence is never cut
                table.add_column(Text(column), overflow="fold")
            for row in rows:
                table.add_row(*map(Text, row))
            out.print(table)
    out.print("\n".join(map(translator, NOTES)), highlight=False, markup=False)
    text: str = out.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def as_markdown(name: str, dataset: Dataset, pretest: Pretest, translator: Translator) -> str:
    """The pre-test as GitHub Markdown."""
    title, *lines = heading(name, dataset, pretest, translator)
    blocks = [f"# {md(title)}", "\n".join(f"- {md(line)}" for line in lines)]
    for header, rows in (lights(pretest, translator), subsets(pretest, translator), pairs(pretest, translator)):
        if rows:
            blocks.append(markdown_table(text_table("", header, rows)))
    return "\n\n".join([*blocks, "\n".join(f"- {line}" for line in map(translator, NOTES))]) + "\n"


def as_record(name: str, dataset: Dataset, pretest: Pretest) -> dict[str, Any]:
    """The pre-test as a record."""
    signal = pretest.signal
    return {
        "kind": "signal",
        "dataset": name,
        "data": dataset.summary(),
        "train_hash": dataset.split.train.fingerprint(),
        "features": {m: feature.fingerprint() for m, feature in sorted(dataset.features.items())},
        "n_items": pretest.n_items,
        "n_frequent": pretest.n_frequent,
        "coverage": dict(pretest.coverage),
        "lights": {m: str(colour) for m, colour in pretest.lights.items()},
        "r2": _by_name(signal.r2),
        "unique": {m: {"value": i.mean, "lo": i.lo, "hi": i.hi} for m, i in signal.unique.items()},
        "common": signal.common,
        "null_alone": {m: values.tolist() for m, values in signal.null_alone.items()},
        "null_unique": {m: values.tolist() for m, values in signal.null_unique.items()},
        "neighbour_recall": {"k": pretest.recall.k, "chance": pretest.recall.chance, **_by_name(pretest.recall.recall)},
        "neighbour_overlap": {"+".join(names): vars(overlap) for names, overlap in pretest.overlap.items()},
        "debiased_cka": {"+".join(names): None if math.isnan(v) else v for names, v in pretest.cka.items()},
        "new_items": None
        if pretest.reach is None
        else {"floor": pretest.reach.floor, "pool": pretest.reach.pool, "ndcg@20": _by_name(pretest.reach.ndcg)},
        "versions": records.versions(),
    }


def _named(subset: Coalition) -> str:
    return "+".join(sorted(subset))


def _by_name(values: Mapping[Coalition, float]) -> dict[str, float]:
    return {_named(subset) or "none": value for subset, value in values.items()}


def _interval(interval: Interval) -> str:
    return f"{interval.mean:z.3f} [{interval.lo:z.3f}, {interval.hi:z.3f}]"
