from __future__ import annotations

import pytest
import torch

from mmbench.nn.graph import ItemsToUsers, symmetric_normalised, user_item_blocks
from mmbench.nn.knn import ItemGraph, union_maximum
from mmbench.nn.views import PurifiedView, side_losses

pytestmark = pytest.mark.usefixtures("float64")

EDGES = torch.tensor([[0, 0, 1, 2], [0, 1, 1, 3]])  # item 2 has nobody
N_USERS, N_ITEMS, DIM = 3, 4, 5


def graph(*edges: tuple[int, int, float]) -> ItemGraph:
    rows, columns, weights = zip(*edges, strict=True)
    return ItemGraph(torch.tensor([rows, columns]), torch.tensor(weights), N_ITEMS)


def test_union_keeps_the_larger_weight_of_an_edge() -> None:
    first = graph((0, 1, 0.5), (1, 0, 0.2), (2, 2, -0.3))
    second = graph((0, 1, 0.4), (1, 0, 0.6), (3, 0, 0.1), (2, 1, -0.2))
    expected = torch.zeros(N_ITEMS, N_ITEMS)
    expected[0, 1], expected[1, 0], expected[2, 2], expected[3, 0], expected[2, 1] = 0.5, 0.6, -0.3, 0.1, -0.2
    assert torch.equal(union_maximum([first, second]).matrix().to_dense(), expected)
    assert torch.equal(union_maximum([second, first]).matrix().to_dense(), expected)


def test_union_of_one_graph_is_that_graph() -> None:
    only = graph((0, 1, 0.5), (2, 2, -0.3))
    assert torch.equal(union_maximum([only]).matrix().to_dense(), only.matrix().to_dense())


@pytest.mark.parametrize("n_layers", [0, 1, 2])
def test_a_view_gates_smooths_and_sums(n_layers: int) -> None:
    items = graph((0, 1, 0.5), (1, 0, 0.2), (3, 3, 0.7))
    adjacency = symmetric_normalised(EDGES, N_USERS, N_ITEMS)
    torch.manual_seed(0)
    ids, content = torch.randn(N_ITEMS, DIM), torch.randn(N_ITEMS, DIM)
    view = PurifiedView(items, DIM, n_layers)
    found = view(ids, content, ItemsToUsers(*user_item_blocks(adjacency, N_USERS)))
    gate = 1 / (1 + torch.exp(-(content @ view.gate.weight.T + view.gate.bias)))
    smoothed = torch.linalg.matrix_power(items.matrix().to_dense(), n_layers) @ (ids * gate)
    torch.testing.assert_close(found[N_USERS:], smoothed)
    torch.testing.assert_close(found[:N_USERS], adjacency.to_dense()[:N_USERS, N_USERS:] @ smoothed)


def test_losses_without_side_information_have_no_contrast() -> None:
    behaviour = torch.randn(N_USERS + N_ITEMS, DIM, generator=torch.Generator().manual_seed(0))
    rows = (torch.tensor([0, 1]), torch.tensor([3, 4]), torch.tensor([5, 6]))
    terms = side_losses(behaviour, None, rows, 0.5, 0.1, 4)
    assert set(terms) == {"bpr", "reg"}
    squares = behaviour[[0, 1, 3, 4, 5, 6]].square().sum().item()
    assert terms["reg"].item() == pytest.approx(0.5 * squares / 2 / 4)
    assert set(side_losses(behaviour, behaviour, rows, 0.5, 0.1, 4)) == {
        "bpr",
        "reg",
        "contrast_users",
        "contrast_items",
    }
