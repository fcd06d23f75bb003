"""No array of all pairs: a catalogue of 50,000 items is set up, trained on and ranked in little memory.

Every model is measured in a process of its own. Those with an array of items x items refuse before they allot it.
"""

from __future__ import annotations

import builtins
import multiprocessing
import resource
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

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


def taken(line: str) -> float:
    """What the system says that this process takes, in gigabytes of 10^9 bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024e-9 * int(next(row.split()[1] for row in status.splitlines() if row.startswith(line)))


def fitted(model: str, settings: dict[str, Any], widths: dict[str, int], answers: SimpleQueue[float]) -> None:
    """A fit of a closed form with some settings on random data of 3,000 items, a tenth of them new.

    Answers the gigabytes of 10^9 bytes above the data, and 1 if they may be forbidden without a refusal. An array of
    all pairs takes .072.
    """
    import torch

    from mmbench.cli.compose import compose
    from mmbench.data.recdata import RecData
    from mmbench.messages import Refusal

    torch.set_num_threads(1)
    n, generator = 3000, torch.Generator().manual_seed(0)
    pairs = torch.stack([torch.arange(40_000) // 20, torch.randint(int(0.9 * n), (40_000,), generator=generator)])
    features = {name: torch.randn(n, width, generator=generator) for name, width in widths.items()}
    data = RecData(2000, n, torch.unique(pairs, dim=1), features, {name: torch.ones(n).bool() for name in widths})
    model_class = compose([f"model={model}"]).job().model_class
    made = model_class(data, **settings, max_memory_gb=100.0)  # type: ignore[call-arg]
    before = taken("VmRSS")
    made.fit(data)
    peak = taken("VmHWM") - before
    answers.put(peak)
    try:
        model_class(data, **settings, max_memory_gb=peak - BLOCKS_GB)  # type: ignore[call-arg]
    except Refusal:
        answers.put(0.0)
    else:
        answers.put(1.0)


# One short training of every model

#: Models with arrays of items x items in float64, and how many of them each holds.
CROWDED = {"ease": 3, "cease": 4, "mmgf": 3, "addease": 5, "l3ae": 5}
#: Gigabytes of 10^9 bytes above the libraries and the data; all pairs of items in bytes would be 2.5. MVGAE takes
#: most, 2.0, as its encoders keep some 160 arrays of nodes x 64 for their gradients. The others take 1.3 at most.
SHORT_LIMIT_GB = 2.3
#: What a process may take besides, so that an array of all pairs is refused and does not fill the machine.
ROOM_GB = 8
#: Blocks of rows in which neighbours are looked for; further ones take the same memory again, and minutes.
BLOCKS = 3
#: Those that `make test` measures too; `make test-all` measures all of them.
ALWAYS = ("bpr", "contentpopularity", "freedom", "itemknn", "mgcn", "vbpr")
MODELS = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "model").glob("*.yaml"))


def brief(search: Callable[..., Any]) -> Callable[..., Any]:
    """A search for neighbours that ends after the first blocks of rows; the other lists are drawn."""
    import torch

    def searched(similarity: Callable[[int, int], torch.Tensor], n: int, k: int, **options: Any) -> Any:
        ends = [0]

        def noted(begin: int, end: int) -> torch.Tensor:
            ends.append(end)
            return similarity(begin, end)

        indices, values = search(noted, n, k, **options)
        generator = torch.Generator().manual_seed(0)
        indices[ends[-1] :] = torch.randint(n, (n - ends[-1], indices.shape[1]), generator=generator)
        values[ends[-1] :] = torch.rand(n - ends[-1], indices.shape[1], generator=generator, dtype=values.dtype)
        return indices, values

    return searched


def trained_briefly(model: str, answers: Connection) -> None:
    """Two steps, a ranking and the stored state of a model; sends gigabytes above the data, and what it refused."""
    import torch

    from mmbench.cli.compose import compose
    from mmbench.data.features import ItemFeature
    from mmbench.data.interactions import Interactions
    from mmbench.data.recdata import make_recdata
    from mmbench.messages import Refusal
    from mmbench.models import damrs
    from mmbench.nn import common_users, item_neighbours, nearest, user_graph
    from mmbench.training.fit import fit
    from mmbench.training.settings import TrainingSettings
    from mmbench.training.stopping import StoppingRule

    torch.set_num_threads(1)
    nearest.range = lambda begin, end, step: builtins.range(begin, min(end, BLOCKS * step), step)  # type: ignore[attr-defined]
    for module in (common_users, damrs, item_neighbours, user_graph):
        module.nearest = brief(nearest.nearest)  # type: ignore[attr-defined]
    rng = np.random.default_rng(0)
    n_users, n_warm, n_popular = 1000, 49_950, 200
    warm = rng.permutation(N_ITEMS)[:n_warm]
    bought = rng.random((n_users, n_popular)) < np.linspace(0.0, 0.2, n_popular)
    bought[np.arange(n_popular), np.arange(n_popular)] = False
    users, items = np.nonzero(bought)
    # Every warm item once, so that all of them are in the graphs, and some of them more often.
    users, items = np.append(users, np.arange(n_warm) % n_users), np.append(warm[items], warm)
    held = Interactions(np.arange(200), rng.choice(warm, 200), n_users, N_ITEMS)
    features = {
        name: ItemFeature(rng.standard_normal((N_ITEMS, 16), dtype=np.float32), np.arange(N_ITEMS) % 100 > 0)
        for name in ("image", "text")
    }
    job = compose([f"model={model}"]).job()
    train = Interactions(users, items, n_users, N_ITEMS)
    data = make_recdata(train, features if job.model_class.uses_content else {})
    settings = TrainingSettings(StoppingRule(1, 0, 1, least_epochs=1), batch_size=1024, batches_per_epoch=2)
    before = taken("VmRSS")
    room = int(1e9 * (taken("VmSize") + ROOM_GB))
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    refused = ""
    try:
        fit(job.model_class, data, train, held, settings, seed=0)
    except Refusal as error:
        refused = str(error)
    answers.send((taken("VmHWM") - before, refused))


def trained_one_by_one(asked: Connection) -> None:
    """A process for each model that is asked for, forked from this one, which has imported everything."""
    import mmbench.cli.compose
    import mmbench.training.fit  # noqa: F401

    context = multiprocessing.get_context("fork")
    while model := asked.recv():
        process = context.Process(target=trained_briefly, args=(model, asked))
        process.start()
        process.join()
        if process.exitcode:
            asked.send(None)


@pytest.fixture(scope="module")
def measured() -> Iterator[Callable[[str], tuple[float, str]]]:
    """Gigabytes of a short training of a model, and its refusal."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=trained_one_by_one, args=(there,))
    process.start()

    def run(model: str) -> tuple[float, str]:
        here.send(model)
        answer = here.recv()
        assert answer is not None, f"the process of {model} failed; what it wrote is above"
        gigabytes, refused = answer
        print(f"{model}: {gigabytes:.2f} GB above the data")
        return gigabytes, refused

    yield run
    here.send("")
    process.join()


@pytest.mark.thorough
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(model, marks=() if model in ALWAYS else pytest.mark.slow)
        for model in MODELS
        if model not in CROWDED and model != "external"  # its lists come from another system
    ],
)
def test_a_short_training_on_fifty_thousand_items(model: str, measured: Callable[[str], tuple[float, str]]) -> None:
    gigabytes, refused = measured(model)
    assert not refused
    assert gigabytes < SHORT_LIMIT_GB


@pytest.mark.thorough
@pytest.mark.parametrize("model", CROWDED)
def test_all_pairs_of_fifty_thousand_items_are_refused(
    model: str, measured: Callable[[str], tuple[float, str]]
) -> None:
    gigabytes, refused = measured(model)
    needed = 8e-9 * N_ITEMS**2 * CROWDED[model]
    assert f" needs {needed:.1f} GB for 50,000 items, more than max_memory_gb=8" in refused
    assert gigabytes < SHORT_LIMIT_GB / 10  # no array was made, not even one of bytes


@pytest.mark.slow
@pytest.mark.parametrize("widths", [{"text": 64}, {"image": 1800, "text": 1800}], ids=["narrow", "wide"])
@pytest.mark.parametrize(
    ("model", "settings"),
    [*((model, {}) for model in ("ease", "cease", "addease", "l3ae", "mmgf")), ("mmgf", {"order": 3})],
)
def test_a_closed_form_needs_no_more_than_it_says(model: str, settings: dict[str, Any], widths: dict[str, int]) -> None:
    context = multiprocessing.get_context("spawn")
    answers: SimpleQueue[float] = context.SimpleQueue()
    process = context.Process(target=fitted, args=(model, settings, widths, answers))
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
