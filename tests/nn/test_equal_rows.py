"""Items that nothing tells apart have the same score, however a product sums."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mmbench.nn.equal_rows import EqualRows
from mmbench.nn.recommender import FactorModel, Triplets


class Fixed(FactorModel):
    """A model with given vectors."""

    def __init__(self, users: Tensor, items: Tensor) -> None:
        super().__init__()
        self.users, self.items = nn.Parameter(users), nn.Parameter(items)

    def forward(self) -> tuple[Tensor, Tensor]:
        return self.users, self.items

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        raise NotImplementedError


def scores_of_equal_items(n_users: int, n_items: int, n_equal: int) -> Tensor:
    """Scores of the last items of a catalogue, which have the same vector, ``(n_users, n_equal)``."""
    torch.manual_seed(0)
    items = torch.randn(n_items, 64)
    items[-n_equal:] = torch.randn(64)
    model = Fixed(torch.randn(n_users, 64), items)
    model.unseen = torch.arange(n_items - n_equal, n_items)
    with torch.no_grad():
        return model.eval().score(torch.arange(n_users))[:, -n_equal:]


#: Users and items with which products of this kind have differed: one user, and columns that fill no register.
SIZES = [(1, 1349), (1, 40), (150, 611), (388, 1349)]


@pytest.mark.parametrize(("n_users", "n_items"), SIZES)
def test_equal_vectors_have_equal_scores(n_users: int, n_items: int) -> None:
    scores = scores_of_equal_items(n_users, n_items, 35)
    assert torch.equal(scores, scores[:, :1].expand_as(scores))


@pytest.mark.thorough
def test_so_they_have_on_an_older_processor() -> None:
    """Products of a processor with narrower registers sum the last columns in another order."""
    environment = {**os.environ, "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    command = [sys.executable, "-m", "tests.nn.test_equal_rows"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=environment, cwd=root, check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["1"] * len(SIZES)


def test_only_what_is_equal_is_made_equal() -> None:
    vectors = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [0.0, 0.0], [0.0, 0.0], [3.0, 4.0], [1.0, 2.0]])
    equal = EqualRows.of(vectors, torch.arange(7))
    assert dict(zip(equal.copies.tolist(), equal.originals.tolist(), strict=True)) == {2: 0, 5: 1, 6: 0}
    scores = torch.arange(14.0).reshape(2, 7)
    assert equal.even(scores.clone()).tolist() == [[0, 1, 0, 3, 4, 1, 0], [7, 8, 7, 10, 11, 8, 7]]
    of_some = EqualRows.of(vectors, torch.tensor([1, 3, 5, 6]))
    assert (of_some.copies.tolist(), of_some.originals.tolist()) == ([5], [1])
    for among in ([], [3, 4], [2]):
        assert len(EqualRows.of(vectors, torch.tensor(among, dtype=torch.long)).copies) == 0


if __name__ == "__main__":
    for n_users, n_items in SIZES:
        scores = scores_of_equal_items(n_users, n_items, 35)
        print(max(len(row.unique()) for row in scores))
