from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mmbench.data.interactions import Interactions
from mmbench.data.recdata import RecData
from mmbench.evaluation.ranking import DegenerateScores, Evaluator
from mmbench.models.external import External

DATA = RecData(3, 5, torch.tensor([[0, 1, 2], [0, 1, 2]]))
LISTS = [(2, 4, -7.0), (0, 1, 0.2), (0, 3, 0.9), (2, 0, -3.0), (0, 0, 0.5)]  # user 1 has none


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 2, 0, 3, 1]])
def test_scores_are_places_in_the_list(order: list[int]) -> None:
    """Any scale and any order of rows; what no list names has zero."""
    model = External(DATA, recommendations=torch.tensor([LISTS[row] for row in order]))
    model.fit(DATA)
    expected = torch.tensor([[4.0, 3.0, 0.0, 5.0, 0.0], [0.0] * 5, [5.0, 0.0, 0.0, 0.0, 4.0]])
    assert torch.equal(model.score(torch.arange(3)), expected)
    assert torch.equal(model.score(torch.tensor([2, 0, 2])), expected[[2, 0, 2]])


def test_the_lists_given_are_left_alone() -> None:
    lists = torch.tensor(LISTS)
    External(DATA, recommendations=lists).fit(DATA)
    assert torch.equal(lists, torch.tensor(LISTS))


TIED = torch.tensor([(0, 2, 0.5), (0, 4, 0.5), (1, 3, 0.5), (0, 1, 0.9), (0, 0, 0.1), (1, 0, 0.5), (0, 3, 0.5)])


def ranked(lists: Tensor) -> list[int]:
    """Rank of item 2 for user 0 and of item 3 for user 1, of whom nothing else is known."""
    model = External(DATA, recommendations=lists)
    model.fit(DATA)
    held_out = Interactions(np.array([0, 1]), np.array([2, 3]), 3, 5)
    return Evaluator(held_out).rank(model).pairs.ranks.tolist()


def test_equal_scores_share_a_place_whatever_their_order_in_the_file() -> None:
    model = External(DATA, recommendations=TIED)
    model.fit(DATA)
    assert model.score(torch.tensor([0, 1])).tolist() == [[3.0, 5.0, 4.0, 4.0, 4.0], [5.0, 0.0, 0.0, 5.0, 0.0]]
    orders = [torch.randperm(len(TIED), generator=torch.Generator().manual_seed(seed)) for seed in range(8)]
    assert [ranked(TIED[order]) for order in orders] == [ranked(TIED)] * 8


def test_lists_of_equal_scores_alone_fail_as_constant_scores_do() -> None:
    """With the held-out item first in the file, too."""
    everything = [(user, item, 1.0) for user in range(2) for item in (2 + user, *({*range(5)} - {2 + user}))]
    with pytest.raises(DegenerateScores, match="all scores are equal"):
        ranked(torch.tensor(everything))
