from __future__ import annotations

import pytest
import torch

from mmbench.nn.hypergraph import memberships, through_hyperedges

pytestmark = pytest.mark.usefixtures("float64")


def test_memberships_add_up_to_one_and_sharpen() -> None:
    logits = torch.tensor([[0.3, 0.1, -2.0], [500.0, 0.0, 0.0]])
    soft, sharp = memberships(logits, 1.0), memberships(logits, 0.01)
    torch.testing.assert_close(soft.sum(1), torch.ones(2))
    torch.testing.assert_close(soft[0], torch.exp(logits[0]) / torch.exp(logits[0]).sum())
    torch.testing.assert_close(sharp[:, 0], torch.ones(2), rtol=0, atol=1e-8)


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_users_hear_what_the_last_hyperedges_say(n_layers: int) -> None:
    generator = torch.Generator().manual_seed(0)
    of_users, of_items, x = (torch.rand(shape, generator=generator) for shape in ((5, 3), (4, 3), (4, 2)))
    passing = of_items @ of_items.T
    users, items = through_hyperedges(of_users, of_items, x, n_layers)
    before_last = torch.linalg.matrix_power(passing, n_layers - 1) @ x
    torch.testing.assert_close(items, passing @ before_last)
    torch.testing.assert_close(users, of_users @ of_items.T @ before_last)


def test_whole_memberships_sum_the_members() -> None:
    """Hard groups: everybody gets the sum of the own group."""
    of_items = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    users, items = through_hyperedges(of_items[:1], of_items, torch.tensor([[1.0], [2.0], [5.0]]), 1)
    assert users.tolist() == [[3.0]]
    assert items.tolist() == [[3.0], [3.0], [5.0]]
