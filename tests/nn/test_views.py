from __future__ import annotations

import pytest
import torch

from mmbench.nn.item_graphs import ItemGraph
from mmbench.nn.losses import nce_of_rows
from mmbench.nn.recommender import Triplets
from mmbench.nn.sparse import ConstantMap
from mmbench.nn.user_item_graph import symmetric_normalised, user_item_blocks
from mmbench.nn.views import BatchNodes, PurifiedView, chosen_by_behaviour, nce_in_batch, side_losses

pytestmark = pytest.mark.usefixtures("float64")

EDGES = torch.tensor([[0, 0, 1, 2], [0, 1, 1, 3]])  # item 2 has nobody
N_USERS, N_ITEMS, DIM = 3, 4, 5


def graph(*edges: tuple[int, int, float]) -> ItemGraph:
    rows, columns, weights = zip(*edges, strict=True)
    return ItemGraph(torch.tensor([rows, columns]), torch.tensor(weights), N_ITEMS)


@pytest.mark.parametrize("n_layers", [0, 1, 2])
def test_a_view_gates_smooths_and_sums(n_layers: int) -> None:
    items = graph((0, 1, 0.5), (1, 0, 0.2), (3, 3, 0.7))
    adjacency = symmetric_normalised(EDGES, N_USERS, N_ITEMS)
    torch.manual_seed(0)
    ids, content = torch.randn(N_ITEMS, DIM), torch.randn(N_ITEMS, DIM)
    view = PurifiedView(items, DIM, n_layers)
    nodes = view(ids, content, ConstantMap(*user_item_blocks(adjacency, N_USERS)))
    gate = 1 / (1 + torch.exp(-(content @ view.gate.weight.T + view.gate.bias)))
    smoothed = torch.linalg.matrix_power(items.matrix().to_dense(), n_layers) @ (ids * gate)
    torch.testing.assert_close(nodes[N_USERS:], smoothed)
    torch.testing.assert_close(nodes[:N_USERS], adjacency.to_dense()[:N_USERS, N_USERS:] @ smoothed)


def test_a_view_of_chosen_users_and_items() -> None:
    items, users = graph((0, 1, 0.5), (1, 0, 0.2), (3, 3, 0.7)), torch.tensor([2, 0])
    adjacency = symmetric_normalised(EDGES, N_USERS, N_ITEMS)
    torch.manual_seed(0)
    ids, content, chosen = torch.randn(N_ITEMS, DIM), torch.randn(N_ITEMS, DIM), torch.tensor([3, 1])
    view, summed = PurifiedView(items, DIM, 1), ConstantMap(*user_item_blocks(adjacency, N_USERS))
    some = view(ids, content, summed.of_rows(users), chosen)
    torch.testing.assert_close(some, view(ids, content, summed)[[2, 0, N_USERS + 3, N_USERS + 1]])


def test_triplets_find_their_nodes() -> None:
    batch = Triplets(torch.tensor([4, 1, 4]), torch.tensor([3, 0, 2]), torch.tensor([2, 2, 6]))
    rows = BatchNodes.of(batch)
    nodes = rows.nodes(10)
    assert nodes.tolist() == [1, 4, 10, 12, 13, 16]
    assert all(torch.equal(nodes[a], b) for a, b in zip(rows.places, batch.nodes(10), strict=True))


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


def rows(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 5, generator=torch.Generator().manual_seed(seed))


def test_nce_in_batch_is_nce_of_the_gathered_rows() -> None:
    chosen = torch.tensor([4, 0, 4, 5, 0, 4])
    values, gradients = [], []
    for gathered in (False, True):
        a, b = rows(6, 0).requires_grad_(), rows(6, 1).requires_grad_()
        others = b[chosen]
        of_gathered = nce_of_rows(a[chosen], others, others, 0.2).mean()
        value = of_gathered if gathered else nce_in_batch(a, b, chosen, 0.2)
        values.append(value)
        gradients.append(torch.autograd.grad(value, (a, b)))
    torch.testing.assert_close(*values, rtol=1e-12, atol=0)
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


def test_half_of_the_only_view_is_chosen() -> None:
    torch.manual_seed(0)
    views = torch.randn(1, 6, DIM)
    side = chosen_by_behaviour(torch.randn(6, DIM), views, torch.ones(1, 1, 1), torch.nn.ModuleDict(), None)
    assert torch.equal(side, views[0] / 2)


def test_a_view_without_weight_is_no_part_of_what_is_common() -> None:
    torch.manual_seed(0)
    behaviour, views = torch.randn(6, DIM), torch.randn(2, 6, DIM)
    gates = torch.nn.ModuleDict({name: torch.nn.Linear(DIM, DIM) for name in ("image", "text")})
    query, weights = torch.nn.Linear(DIM, 1), torch.tensor([0.0, 2.0]).view(2, 1, 1)
    side = chosen_by_behaviour(behaviour, views, weights, gates, query)
    torch.testing.assert_close(side, views[1] / 3)  # common to all is the other view, and nothing of it is left over


def test_the_temperature_is_that_of_the_contrast() -> None:
    torch.manual_seed(0)
    behaviour, side = torch.randn(7, DIM), torch.randn(7, DIM)
    rows = torch.tensor([0, 1]), torch.tensor([3, 4]), torch.tensor([5, 6])
    terms = side_losses(behaviour, side, rows, 0.5, 0.1, 4, 0.7)
    assert terms["contrast_items"] == 0.1 * nce_in_batch(side, behaviour, rows[1], 0.7)
    assert terms["contrast_users"] != 0.1 * nce_in_batch(side, behaviour, rows[0], 0.2)
