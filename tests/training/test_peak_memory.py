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
#: Room of blocks that do not grow with the catalogue.
BLOCKS_GB = 0.05


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


def fitted(model: str, widths: dict[str, int], answers: SimpleQueue[float]) -> None:
    """A fit of a closed form on random data of 3,000 items, a tenth of them new.

    Answers the gigabytes of 10^9 bytes above the data, and 1 if they may be forbidden without a refusal. An array of
    all pairs takes .072.
    """
    import torch

    from mmbench.cli.compose import compose
    from mmbench.data.recdata import RecData
    from mmbench.messages import Refusal

    def taken(line: str) -> float:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return 1024e-9 * int(next(row.split()[1] for row in status.splitlines() if row.startswith(line)))

    torch.set_num_threads(1)
    n, generator = 3000, torch.Generator().manual_seed(0)
    pairs = torch.stack([torch.arange(40_000) // 20, torch.randint(int(0.9 * n), (40_000,), generator=generator)])
    features = {name: torch.randn(n, width, generator=generator) for name, width in widths.items()}
    data = RecData(2000, n, torch.unique(pairs, dim=1), features, {name: torch.ones(n).bool() for name in widths})
    model_class = compose([f"model={model}"]).job().model_class
    made = model_class(data, max_memory_gb=100.0)  # type: ignore[call-arg]
    before = taken("VmRSS")
    made.fit(data)
    peak = taken("VmHWM") - before
    answers.put(peak)
    try:
        model_class(data, max_memory_gb=peak - BLOCKS_GB)  # type: ignore[call-arg]
    except Refusal:
        answers.put(0.0)
    else:
        answers.put(1.0)


@pytest.mark.slow
@pytest.mark.parametrize("widths", [{"text": 64}, {"image": 1800, "text": 1800}], ids=["narrow", "wide"])
@pytest.mark.parametrize("model", ["ease", "cease", "addease", "l3ae", "mmgf"])
def test_a_closed_form_needs_no_more_than_it_says(model: str, widths: dict[str, int]) -> None:
    context = multiprocessing.get_context("spawn")
    answers: SimpleQueue[float] = context.SimpleQueue()
    process = context.Process(target=fitted, args=(model, widths, answers))
    process.start()
    process.join()
    assert process.exitcode == 0
    peak = answers.get()
    assert not answers.get(), f"{model} takes {peak:.2f} GB and is not refused where it may not"


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", ["popularity", "itemknn", "hybridknn", "contentknn", "vbpr", "lightgcn", "freedom", "lattice", "mgcn"]
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
