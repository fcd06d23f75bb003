"""Vectors, neighbours and a card of the winner, as files for a vector index or a serving system."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mmbench.audit.repetitions import repetition_of
from mmbench.data.held_out import TARGETS
from mmbench.data.sources import read_items, read_meta
from mmbench.evaluation import metrics
from mmbench.evaluation.counting import top_items
from mmbench.inference.intervals import bounded_interval, crossed_interval
from mmbench.inference.repetitions import Repeated
from mmbench.nn.hyperparameters import is_read
from mmbench.nn.item_graphs import modality_shares
from mmbench.nn.recommender import ClosedForm, Recommender
from mmbench.nn.sparse import interaction_matrix
from mmbench.report.layout import md
from mmbench.report.new_items import floor_line
from mmbench.report.reading import read_sweep
from mmbench.report.sentences import metric_among
from mmbench.report.spent import TRIALS, counted
from mmbench.report.table import SweepTable, not_tuned_here, sample_of
from mmbench.report.together import ONE_DRAW
from mmbench.scheduling.cell_key import with_values
from mmbench.scheduling.trust import Trust
from mmbench.store import files
from mmbench.store.schema import Cell, Configuration, Sample
from mmbench.training.stopping import SELECTION_METRIC
from mmbench.winner.chosen import Winner

#: Neighbours of an item that are written.
NEIGHBOURS = 50
#: Items that are compared with all others at once.
BLOCK_ITEMS = 256
#: All files that an export may hold.
PRODUCTS = (
    "user_vectors.npy",
    "item_vectors.npy",
    "item_neighbours.parquet",
    "items.parquet",
    "users.parquet",
    "card.json",
    "card.md",
)
#: The weight that says how two modalities share; the other one has the rest.
FIRST = "model.first_modality_weight"
#: What has no intervals, beside :data:`~mmbench.report.together.ONE_DRAW`.
ONE_SEED = "over one seed, which does not measure training noise"
#: Metrics on the card beside the one that was judged.
METRICS = ("ndcg@20", "recall@20")


def export(winner: Winner, seed: int, folder: Path, *, with_ids: bool, trust: Trust) -> list[str]:
    """Write what the model of a final run knows.

    ``card.json`` and ``card.md`` say what it is. ``item_vectors.npy`` and ``user_vectors.npy`` are float32, one row per
    item or user, for a model with vectors; the score is their inner product. ``item_neighbours.parquet`` has the most
    similar items of each item by row number, columns ``item, neighbour, rank, similarity``; the card counts items of
    which the model knows none. With ``with_ids`` ``items.parquet`` and ``users.parquet`` say whose row is which, in raw
    ids; titles are those of the data.

    Args:
        winner: the chosen configuration.
        seed: final run.
        folder: an empty folder, where the files go.
        with_ids: whether raw ids and titles leave the house.
        trust: what may be used because a record names it.

    Returns:
        Names of the files.
    """
    model = winner.model(seed)
    written = []
    vectors = model.vectors()
    if vectors is not None:
        for name, rows in zip(("user_vectors.npy", "item_vectors.npy"), vectors, strict=True):
            files.write_atomic(folder / name, functools.partial(_save, rows.float().cpu().numpy()))
            written.append(name)
    without = None
    if parts := list(_neighbours(model, vectors, winner.dataset.n_items)):
        neighbours = pd.concat(parts).sort_values(["item", "rank"], ignore_index=True)
        files.write_parquet(folder / "item_neighbours.parquet", neighbours)
        written.append("item_neighbours.parquet")
        without = winner.dataset.n_items - neighbours["item"].nunique()
    if with_ids:
        for name, frame in _ids(winner).items():
            files.write_parquet(folder / name, frame)
            written.append(name)
    card = describe(winner, seed, read_sweep(winner.recorded.store.sweep_dir, trust), written, without)
    files.write_document(folder / "card.json", card)
    files.write_text(folder / "card.md", as_markdown(card))
    return [*written, "card.json", "card.md"]


def _save(values: NDArray[np.float32], path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, values, allow_pickle=False)


def _neighbours(model: Recommender, vectors: tuple[Tensor, Tensor] | None, n_items: int) -> Iterator[pd.DataFrame]:
    """Most similar items of each item: what the item alone recommends where the model can say that, else by cosine.

    An item that alone recommends nothing gets those that recommend it: so does a model score an unseen item, which
    adds nothing to a history itself.
    """
    k = min(NEIGHBOURS, n_items - 1)
    if isinstance(model, ClosedForm) and model.serves_new_users:
        everything = torch.arange(n_items)
        model.welcome(interaction_matrix(torch.stack([everything, everything]), n_items, n_items))
        similarity: Callable[[Tensor], Tensor] = model.score
    elif vectors is not None:
        directions = functional.normalize(vectors[1].float(), dim=1)

        def similarity(items: Tensor) -> Tensor:
            return directions[items] @ directions.T
    else:
        return
    silent = torch.ones(n_items, dtype=torch.bool)
    for items, similar in _blocks(similarity, n_items):
        listed = top_items(similar, items, k)
        values = similar.gather(1, listed.clamp_min(0))
        real = (listed >= 0) & (values != 0)
        silent[items] = ~real.any(1)
        yield _listed_neighbours(items, listed, values, real)
    rest = torch.nonzero(silent).squeeze(1)
    if not len(rest):
        return
    listed, values = torch.empty(len(rest), 0, dtype=torch.int64), torch.empty(len(rest), 0)
    for items, similar in _blocks(similarity, n_items):
        known, listing = (
            torch.cat([values, similar[:, rest].T], 1),
            torch.cat([listed, items.expand(len(rest), -1)], 1),
        )
        values, place = known.topk(min(k, known.shape[1]), dim=1)
        listed = listing.gather(1, place)
    yield _listed_neighbours(rest, listed, values, values.isfinite() & (values != 0))


def _blocks(similarity: Callable[[Tensor], Tensor], n_items: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Items ``(B,)`` and their similarity to all ``(B, n_items)``, minus infinity to themselves."""
    for begin in range(0, n_items, BLOCK_ITEMS):
        items = torch.arange(begin, min(begin + BLOCK_ITEMS, n_items))
        with torch.no_grad():
            similar = similarity(items).clone()
        similar[torch.arange(len(items)), items] = -torch.inf
        yield items, similar


def _listed_neighbours(items: Tensor, listed: Tensor, values: Tensor, real: Tensor) -> pd.DataFrame:
    """Rows of the file: lists ``(B, k)`` of items ``(B,)`` with their similarities, those that a mask marks."""
    rows, ranks = torch.nonzero(real, as_tuple=True)
    return pd.DataFrame(
        {
            "item": items[rows].numpy().astype("int32"),
            "neighbour": listed[real].numpy().astype("int32"),
            "rank": (ranks + 1).numpy().astype("int32"),
            "similarity": values[real].float().numpy(),
        }
    )


def _ids(winner: Winner) -> dict[str, pd.DataFrame]:
    """Raw ids by row, with the titles of the data where it has them."""
    dataset = winner.dataset
    items = pd.DataFrame({"item": dataset.item_ids.astype(str)})
    path = None if dataset.config is None else dataset.config.path
    if path is not None and (Path(path) / "items.parquet").exists():
        catalogue = read_items(Path(path)).drop_duplicates("item_id").set_index("item_id")
        if "title" in catalogue:
            items["title"] = catalogue["title"].reindex(items["item"]).to_numpy()
    return {"items.parquet": items, "users.parquet": pd.DataFrame({"user": dataset.user_ids.astype(str)})}


def describe(
    winner: Winner, seed: int, table: SweepTable, written: list[str], without_neighbours: int | None
) -> dict[str, Any]:
    """The card: data, condition, configuration, metrics with intervals, and how far the records were checked.

    Where one kind of items is ranked among itself, metrics have their floors. As in the reports, one draw of new items
    has no intervals, nor have runs that do not measure training noise, nor a metric whose users do not tell one.

    Args:
        winner: the chosen configuration.
        seed: final run.
        table: its sweep.
        written: names of the files beside the card.
        without_neighbours: items of which the file of neighbours has no row; None without that file.
    """
    cell, dataset, model_class = winner.recorded.cell, winner.dataset, winner.recorded.job.model_class
    path = None if dataset.config is None else dataset.config.path
    meta: Mapping[str, Any] = {} if path is None else read_meta(Path(path))
    result = table.cells[cell.name]
    unbounded = ONE_DRAW if repetition_of(cell)[0].kind is Repeated.FOLD else None if result.noise_known else ONE_SEED
    has_floor = TARGETS.get(cell.target) in ("cold", "warm")
    test: dict[str, dict[str, float | None]] = {}
    for name in dict.fromkeys([table.primary, *METRICS]):
        per_user = result.per_user(name)
        interval = bounded_interval(crossed_interval(per_user), len(per_user))
        told = unbounded is None and interval.bounded
        bounds = (interval.lo, interval.hi, interval.level) if told else (None, None, None)
        test[name] = {"mean": interval.mean, **dict(zip(("low", "high", "level"), bounds, strict=True))}
        if has_floor and metrics.check_name(name)[0] in metrics.FLOORS:
            test[name]["floor"] = float(metrics.floor(result.rankings[0], name).mean())
    lists = floor_line(result, list(test)) if cell.target else None
    return {
        "cell": str(cell.name),
        "final_run": seed,
        "data": {
            "words": cell.data,
            "split": cell.split_hash,
            "features": cell.features,
            "licence": meta.get("licence") or meta.get("license"),
        },
        "states": cell.states,
        "configuration": acting(cell, winner.choice.configuration, model_class),
        "modality_shares": shares_of(cell, winner.choice.configuration, model_class),
        "chosen_among": winner.choice.n_trials,
        "not_tuned_here": dict(zip(("dataset", "root"), result.given, strict=False)) or None,
        f"validation_{SELECTION_METRIC}": winner.choice.score,
        "validation_users": None if cell.sample is None else cell.sample._asdict(),
        "target": cell.target,
        "lists": None if lists is None else str(lists),
        "new_items": _new_items(winner, seed),
        "test": test,
        "without_intervals": None if unbounded is None else str(unbounded),
        "test_users": result.rankings[0].n_users,
        "versions": cell.versions,
        "proof": str(table.standing.words),
        "root": table.standing.root,
        "plan": table.plan_hash,
        "files": written,
        "items_without_neighbours": without_neighbours,
    }


def shares_of(cell: Cell, configuration: Configuration, model_class: type[Recommender]) -> dict[str, float] | None:
    """Share of each modality of a condition where its model is tuned over how two share; None where it is not.

    Args:
        cell: its record.
        configuration: the chosen values by path.
        model_class: class of its model.
    """
    present = _given(cell, configuration, model_class)
    model = with_values(cell.config, configuration)["model"]
    weights = {name: (model.get("modality_weights") or {}).get(name, 1.0) for name in present}
    heard = present if len(present) <= 2 else [name for name, weight in weights.items() if weight > 0.0]
    if FIRST not in configuration or len(heard) != 2:
        return None
    return dict(zip(present, modality_shares(present, model["first_modality_weight"], weights), strict=True))


def acting(cell: Cell, configuration: Configuration, model_class: type[Recommender]) -> Configuration:
    """The chosen values that act in a condition, by path: others were drawn for its fellows and change nothing here.

    A weight of 0 that leaves content out acts, and what content alone reads does not beside it.

    Args:
        cell: its record.
        configuration: the chosen values by path.
        model_class: class of its model.
    """
    given, shared = _given(cell, configuration, model_class), shares_of(cell, configuration, model_class) is not None

    def acts(name: str) -> bool:
        present = _present(cell) if name == model_class.content_ignored_by else given
        return is_read(name, present, {*model_class.read_by_content, model_class.content_ignored_by})

    read = {path: value for path, value in configuration.items() if acts(path.removeprefix("model."))}
    return {path: value for path, value in read.items() if path != FIRST or shared}


def _given(cell: Cell, configuration: Configuration, model_class: type[Recommender]) -> list[str]:
    """Modalities that the model of a condition does not leave out all together, in name order."""
    model = with_values(cell.config, configuration)["model"]
    return _present(cell) if model.get(model_class.content_ignored_by) != 0.0 else []


def _present(cell: Cell) -> list[str]:
    """Modalities that a condition gives to the model, in name order."""
    return sorted(name for name, state in cell.states.items() if state != "drop")


def _new_items(winner: Winner, seed: int) -> dict[str, float | None] | None:
    """How many items are new in test, and the offset of a final run that puts them into common lists."""
    part, course = winner.dataset.split.new_test, winner.finals[seed].course
    return None if part is None else {"pool": int(part.pool.sum()), "offset": None if course is None else course.offset}


def as_markdown(card: Mapping[str, Any]) -> str:
    """The card to read, in plain Markdown; what is not ours is escaped."""
    target, unbounded = card["target"], card["without_intervals"]
    test = [
        f"{metric_among(name, target)} {m['mean']:.4f}"
        + ("" if m["low"] is None else f" [{m['low']:.4f}, {m['high']:.4f}]")
        for name, m in card["test"].items()
    ]
    trials = counted([card["chosen_among"]], TRIALS)
    among = f"{trials} by validation {metric_among(SELECTION_METRIC, target)}"
    if (origin := card["not_tuned_here"]) is not None:
        among = str(not_tuned_here(origin["dataset"], origin["root"]))
    if (sample := card["validation_users"]) is not None:
        among = f"{among}; {sample_of(card['cell'].partition('/')[0], Sample(**sample))}"
    chosen = dict(card["configuration"])
    if card["modality_shares"] is not None:  # they say it by name
        del chosen[FIRST]
        chosen |= {f"share of {name}": f"{share:.4g}" for name, share in card["modality_shares"].items()}
    rows = {
        "data": "; ".join(card["data"]["words"]),
        "licence of the data": card["data"]["licence"] or "not given",
        "states of the modalities": _listed(card["states"]),
        "configuration": _listed(chosen) or "nothing is tuned",
        "chosen among": among,
        f"test, {unbounded or 'with 95 % intervals over users and seeds'}": "; ".join(test),
        "final run": card["final_run"],
        "versions": _listed(card["versions"]),
        "records": f"{card['proof']}; root {card['root']}; plan {card['plan']}",
        "files": ", ".join(card["files"]) or "none: the model has neither vectors nor neighbours",
    }
    if card["lists"] is not None:
        rows["tested lists"] = card["lists"]
    if (new := card["new_items"]) is not None:
        offset = "none was chosen" if new["offset"] is None else new["offset"]
        rows["new items"] = f"{new['pool']} in test; offset of common lists in this final run: {offset}"
    if card["items_without_neighbours"]:
        rows["items without neighbours"] = (
            f"{card['items_without_neighbours']}: the model relates them to no other item"
        )
    lines = [f"- **{name}**: {md(str(value))}" for name, value in rows.items()]
    return "\n".join([f"# {md(card['cell'])}", "", *lines]) + "\n"


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items())
