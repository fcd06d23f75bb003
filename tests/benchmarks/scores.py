"""Seconds of ``score`` of every model on 20,000 users: ``python -m tests.benchmarks.scores [MODEL ...]``.

A planted world of 20,000 users and 2,000 items (``--items``) with narrow features, one thread, processor time, blocks
of 64 users as in an evaluation. Models have their defaults; trained ones stay at their start, which costs the same.
Beside the seconds stands what they are in products of two tables of 64 numbers, and what may send a product down a slow
path: scores that are no single precision or do not lie row after row, and matrices that do not. A model whose blocks
take more than ten such products is marked. What a model computes once before its first block is told apart.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from mmbench.cli.compose import compose
from mmbench.nn.recommender import ClosedForm, FactorModel, Recommender
from mmbench.training import allocation
from tests.benchmarks.subjects import made

N_USERS, N_ITEMS, BLOCK, DIM = 20_000, 2_000, 64, 64
MARKED = 10.0
MODELS = sorted(path.stem for path in Path("conf/model").glob("*.yaml") if path.stem != "external")
now = time.process_time


def world(n_items: int) -> list[str]:
    """Words of the planted world."""
    sizes = {"n_users": N_USERS, "n_items": n_items, "text_dim": 32, "image_dim": 32, "n_interactions": 8 * N_USERS}
    return ["dataset=planted_baby", *(f"dataset.world_options.{name}={value}" for name, value in sizes.items())]


def matrices(model: Recommender) -> Iterator[tuple[str, Tensor]]:
    """Dense matrices that scoring reads."""
    named = [*model.named_buffers()] if isinstance(model, ClosedForm) else []
    if isinstance(model, FactorModel) and model._frozen is not None:
        named = list(zip(("user vectors", "columns of items"), model._frozen[:2], strict=True))
    for name, value in named:
        if value.layout == torch.strided and value.dim() == 2:
            yield name, value


def remarks(model: Recommender, scores: Tensor) -> list[str]:
    """What may be slow in the layout or the type of a model's scores and of what they are made of."""
    said = []
    for name, value in [("scores", scores), *matrices(model)]:
        if value.dtype != torch.float32:
            said.append(f"{name} in {value.dtype}")
        if not value.is_contiguous() and 0 not in value.stride():
            said.append(f"{name} do not lie row after row")
    return said


def seconds_of(model: Recommender) -> tuple[float, float, Tensor]:
    """Seconds before the first block, seconds of all blocks, and the last block's scores."""
    blocks = torch.arange(N_USERS).split(BLOCK)
    with torch.no_grad():
        began = now()
        model.score(blocks[0])
        first = now()
        for users in blocks:
            scores = model.score(users)
        return first - began, now() - first, scores


class Vectors(ClosedForm):
    """Products of two tables: what the seconds are compared with."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.users, self.items = torch.randn(N_USERS, DIM), torch.randn(n_items, DIM)

    def fit(self, data: object) -> None:
        """Nothing is computed."""

    def score(self, users: Tensor) -> Tensor:
        """Inner products."""
        return self.users[users] @ self.items.T


def main() -> None:
    """Print one line per model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--items", type=int, default=N_ITEMS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    allocation.keep_freed_memory()
    _, product, _ = seconds_of(Vectors(asked.items))
    print(f"product of two tables of {DIM}: {product:.2f} s")
    for name in asked.models:
        task = compose([f"model={name}", *world(asked.items), "modality=fused", "tracking=none"]).job().task()
        model, data = made(task)
        if isinstance(model, ClosedForm):
            model.fit(data)
        model.eval()
        before, blocks, scores = seconds_of(model)
        said = remarks(model, scores)
        if blocks > MARKED * product:
            said.insert(0, "SLOW")
        print(
            f"{name}: {before:.2f} s once, {blocks:.2f} s, {blocks / product:.1f} products; {', '.join(said) or '-'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
