"""No array of all pairs: a catalogue of 50,000 items is set up, trained on and ranked in little memory."""

from __future__ import annotations

import multiprocessing
import resource
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

N_USERS, N_ITEMS, PER_USER, WIDTH = 500, 50_000, 200, 32
#: Gigabytes above the libraries and the features; all pairs of items would be 10 in single precision.
LIMIT_GB = 3.0


def write_shop(folder: Path) -> None:
    from mmbench.data.features import ItemFeature
    from mmbench.data.sources import Source, write_folder

    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(N_USERS), PER_USER)
    items = (rng.zipf(1.3, N_USERS * PER_USER) * 7919 + rng.integers(0, N_ITEMS // 2, len(users))) % N_ITEMS
    log = pd.DataFrame({"user_id": users.astype(str), "item_id": items.astype(str)}).drop_duplicates()
    catalogue = pd.DataFrame({"item_id": np.arange(N_ITEMS).astype(str)})
    features = {
        name: ItemFeature(rng.standard_normal((N_ITEMS, WIDTH)).astype(np.float32), np.arange(N_ITEMS) % 100 > 0)
        for name in ("image", "text")
    }
    write_folder(Source(log, catalogue, features), folder, {})


def tuned_and_tested(folder: Path, model: str, answers: SimpleQueue[float]) -> None:
    """A trial, a final run and the test of one cell; answers gigabytes above the imports."""
    import torch

    from mmbench.cli.compose import compose
    from mmbench.sealing.score_test import is_scored
    from tests.tiny import opened, worked

    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    words = ["dataset=folder", "dataset.name=shop", f"dataset.path={folder}", "dataset.protocol=paper"]
    words += [f"model={model}", "budget=touch", "tracking=none", "training.accelerator=cpu"]
    job = compose([*words, f"paths.multirun={folder}"]).job()
    task, store = opened(job)
    worked(task, store, job.dataset().split)
    assert is_scored(store, job.dataset().split)
    answers.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", ["popularity", "itemknn", "hybridknn", "vbpr", "lightgcn", "freedom", "lattice", "mgcn"]
)
def test_a_cell_of_fifty_thousand_items(tmp_path: Path, model: str) -> None:
    write_shop(tmp_path / "data")
    context = multiprocessing.get_context("spawn")
    answers: SimpleQueue[float] = context.SimpleQueue()
    process = context.Process(target=tuned_and_tested, args=(tmp_path / "data", model, answers))
    process.start()
    process.join()
    assert process.exitcode == 0
    gigabytes = answers.get() - 2 * N_ITEMS * WIDTH * 4 / 2**30
    print(f"{model}: {gigabytes:.2f} GB above the features")
    assert gigabytes < LIMIT_GB
