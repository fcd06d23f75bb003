"""What is timed: cells on planted data of Amazon-Baby size, made as the command line makes them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from mmbench.cli.compose import compose
from mmbench.data.recdata import RecData, make_recdata
from mmbench.data.splits import Split
from mmbench.nn.item_neighbours import cached_knn
from mmbench.nn.recommender import Recommender
from mmbench.nn.user_graph import UserGraph
from mmbench.store.records import CellStore
from mmbench.training.batches import TripletLoader
from mmbench.tuning.cell import CellTask
from tests.benchmarks.work import Sizes

WARM_UPS, STEPS = 5, 30
BABY_ITEMS = 7050
#: Features that nobody looks at may be narrow.
NARROW = ("dataset.world_options.text_dim=8", "dataset.world_options.image_dim=8")
#: Batches that the mean numbers of distinct rows are taken over.
COUNTED_BATCHES = 10


def baby_words(model: str, n_items: int = BABY_ITEMS) -> list[str]:
    """The command line of a cell: two short epochs, fused features, one thread, negatives never positive."""
    return [
        f"model={model}",
        "dataset=planted_baby",
        f"dataset.world_options.n_items={n_items}",
        "modality=fused",
        "budget.trials=1",
        "budget.max_steps=1",
        "budget.least_epochs=2",
        f"budget.batches_per_epoch={WARM_UPS + STEPS + 1}",
        "tracking=none",
        "training.accelerator=cpu",
        # One size of model for all of them: d 64, L 2, k 10.
        *(["model.n_layers=2"] if model == "lightgcn" else []),
    ]


def baby_log() -> Split:
    """The split of the planted log alone."""
    return compose(["dataset=planted_baby", *NARROW]).job().dataset().split


def opened(words: Sequence[str], folder: Path) -> tuple[CellTask, CellStore]:
    """The task of a cell and its claimed folder of records."""
    job = replace(compose(words).job(), sweep_dir=folder)
    task = job.task()
    store = job.store(task)
    store.open(job.record(task))
    return task, store


def sizes_of(task: CellTask, model: Recommender, data: RecData, batch_size: int) -> Sizes:
    """Everything that counted work depends on, from the data; only graphs over users are asked of the model."""
    batches = list(itertools.islice(TripletLoader(data, batch_size, 0), COUNTED_BATCHES))

    def distinct(*names: str) -> float:
        rows = [torch.cat([getattr(batch, name) for name in names]) for batch in batches]
        return sum(len(torch.unique(row)) for row in rows) / len(rows)

    lengths = torch.bincount(data.edge_index[0], minlength=data.n_users)
    users = getattr(model, "user_graph", None)
    return Sizes(
        users=data.n_users,
        items=data.n_items,
        edges=data.edge_index.shape[1],
        widths={name: values.shape[1] for name, values in data.features.items()},
        batch=min(batch_size, data.edge_index.shape[1]),
        unique_users=distinct("users"),
        unique_positives=distinct("positives"),
        unique_items=distinct("positives", "negatives"),
        parameters=sum(p.numel() for p in model.parameters()),
        histories=sum(int(lengths[batch.users.unique()].sum()) for batch in batches) / len(batches),
        item_edges=item_edges(data) if hasattr(model, "item_graph") or hasattr(model, "frozen") else 0,
        user_edges=users.graph.matrix.values().numel() if isinstance(users, UserGraph) else 0,
        evaluated=len(set(task.valid.users.tolist())),
        pairs=len(task.valid),
    )


def item_edges(data: RecData, k: int = 10) -> int:
    """Pairs of items that are neighbours in at least one modality."""
    keys = []
    for name, features in data.features.items():
        lists = cached_knn(features, data.present[name], k)
        keys.append((lists.items.unsqueeze(1) * data.n_items + lists.indices).flatten())
    return len(torch.unique(torch.cat(keys))) if keys else 0


def made(task: CellTask, seed: int = 0) -> tuple[Recommender, RecData]:
    """The default model of a cell and its data."""
    build, _ = task.recipe(task.default)
    data = make_recdata(task.train, task.inputs(seed))
    torch.manual_seed(seed)
    return build(data), data
