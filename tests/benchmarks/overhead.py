"""Lightning's own time per step: the same short steps by :func:`mmbench.training.fit.fit` and by a bare loop."""

from __future__ import annotations

import statistics
import time

import torch

from mmbench.data.interactions import Interactions
from mmbench.data.recdata import RecData
from mmbench.models.bpr import BPR
from mmbench.nn.recommender import ClosedForm
from mmbench.training import loop
from mmbench.training.batches import TripletLoader
from mmbench.training.fit import fit
from mmbench.training.settings import TrainingSettings
from mmbench.training.stopping import StoppingRule

USERS, ITEMS, EDGES, BATCH = 200, 100, 12_000, 32
ROUNDS = 5

now = time.process_time


def log(n_edges: int) -> Interactions:
    """Random pairs, each once."""
    pairs = torch.randperm(USERS * ITEMS, generator=torch.Generator().manual_seed(0))[:n_edges].numpy()
    return Interactions(pairs // ITEMS, pairs % ITEMS, USERS, ITEMS)


def by_trainer(train: Interactions, data: RecData) -> float:
    """Seconds per step of a training, ranking and set-up left out."""
    marks: list[float] = []
    validate = loop.validation_scores

    def watched(*given: object) -> object:
        if isinstance(given[1], ClosedForm):  # the popularity baseline, ranked once a split
            return validate(*given)  # type: ignore[arg-type]
        marks.append(now())
        result = validate(*given)  # type: ignore[arg-type]
        marks.append(now())
        return result

    loop.validation_scores = watched  # type: ignore[assignment]
    try:
        settings = TrainingSettings(StoppingRule(500, 0, 1, least_epochs=3), batch_size=BATCH)
        fit(BPR, data, train, train, settings, seed=0)
    finally:
        loop.validation_scores = validate
    epochs = [began - ended for ended, began in zip(marks[1::2], marks[2::2], strict=False)]
    return statistics.median(epochs) / len(TripletLoader(data, BATCH, 0))


def by_loop(data: RecData) -> float:
    """Seconds per step of the same training without a trainer."""
    torch.manual_seed(0)
    model, loader = BPR(data), TripletLoader(data, BATCH, 0)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    began = now()
    for batch in loader:
        optimizer.zero_grad()
        torch.stack([term.reshape(()) for term in model.loss(batch).values()]).sum().backward()
        optimizer.step()
    return (now() - began) / len(loader)


def seconds_per_step() -> tuple[float, float]:
    """Medians by the trainer and by the loop, taken in turns."""
    train = log(EDGES)
    data = RecData(USERS, ITEMS, torch.stack([torch.from_numpy(train.users), torch.from_numpy(train.items)]))
    pairs = [(by_trainer(train, data), by_loop(data)) for _ in range(ROUNDS)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


if __name__ == "__main__":
    torch.set_num_threads(1)
    trainer, loop = seconds_per_step()
    print(f"trainer {1e3 * trainer:.3f} ms, loop {1e3 * loop:.3f} ms, difference {1e3 * (trainer - loop):.3f} ms")
