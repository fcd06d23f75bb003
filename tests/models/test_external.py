from __future__ import annotations

import pytest
import torch

from mmbench.data.recdata import RecData
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


def test_equal_scores_keep_the_order_of_the_file() -> None:
    model = External(DATA, recommendations=torch.tensor([(0.0, 2.0, 1.0), (0.0, 4.0, 1.0), (0.0, 1.0, 1.0)]))
    model.fit(DATA)
    assert model.score(torch.tensor([0])).tolist() == [[0.0, 3.0, 5.0, 0.0, 4.0]]
