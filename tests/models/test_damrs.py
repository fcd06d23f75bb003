"""DA-MRS against its equations, also where the reference crashes: one modality, none, three."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.base import Triplets
from mmbench.models.damrs import DAMRS
from tests.conftest import BlockWorld
from tests.models import dense
from tests.models.test_contract import CONDITIONS
from tests.nn.test_denoised import companions_of, denoised

pytestmark = pytest.mark.usefixtures("float64")
K, P, NEIGHBOURS, KL = 4, 5, 0.3, 0.7


def final(p: dict[str, Tensor], data: RecData, graphs: list[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Users, items and the items in each view (SPEC B §6)."""
    graph = dense.normalised(dense.interactions(data), 1e-7)
    ego = torch.cat([p["user_embedding"], p["item_embedding"]])
    users, items = dense.mean_of_layers(graph, ego, 2).split([data.n_users, data.n_items])
    return users, items, [item_graph @ p["item_embedding"] for item_graph in graphs]


def discrimination(unit: list[Tensor], items: Tensor) -> Tensor:
    """Mean over views of the two contrasts."""
    shares = [torch.softmax(view[items] @ view.T, dim=1).detach() for view in unit]
    losses = []
    for view, share in zip(unit, shares, strict=True):
        shared = (sum(shares) + share).topk(P, dim=1).indices
        own = share.scatter(1, shared, 0.0).topk(P, dim=1).indices
        affinity = torch.exp(view[items] @ view.T / 0.2)
        t, a, b = affinity.sum(1), affinity.gather(1, shared).sum(1), affinity.gather(1, own).sum(1)
        losses.append((-torch.log(a / t + 1e-9) - torch.log(b / (t - a) + 1e-9)).mean())
    return sum(losses) / len(losses)


def divergence(p: Tensor, q: Tensor) -> Tensor:
    return p * torch.log(p / q) + (1 - p) * torch.log((1 - p) / (1 - q))


def expected_loss(p: dict[str, Tensor], data: RecData, batch: Triplets, graphs: list[Tensor]) -> Tensor:
    users, items, views = final(p, data, graphs)
    smoothed, unit = sum(views) / len(views), [dense.unit(view) for view in views]
    z, u = items + smoothed, users[batch.users]
    pi, nu = (
        torch.stack([torch.sigmoid((u * view[rows]).sum(1)) for view in unit]).detach()
        for rows in (batch.positives, batch.negatives)
    )
    variance = pi.var(0, unbiased=True) if len(views) > 1 else torch.zeros_like(pi[0])
    liked = (pi.mean(0) * torch.exp(-2 * variance)).clamp(0, 1)
    disliked = ((pi.max(0).values - nu.mean()) * (pi.mean(0) < nu.mean())).clamp(0, 1)
    assert disliked.any() == (len(views) > 1)  # one view cannot be above and below the threshold
    x = (u * (z[batch.positives] - z[batch.negatives])).sum(1)
    loss = -(liked * torch.log(torch.sigmoid(x)) + disliked * torch.log(torch.sigmoid(-x))).mean()
    rows = torch.unique(torch.cat([batch.positives, batch.negatives]))
    user = users[torch.unique(batch.users)]
    ours, other = (torch.sigmoid(user @ dense.unit(table[rows]).T) for table in (items, smoothed))
    alignment = (divergence(ours, other) + divergence(other, ours)).mean()
    return loss + NEIGHBOURS * discrimination(unit, rows) + KL * alignment


@pytest.mark.parametrize("condition", CONDITIONS)
def test_against_the_equations(condition: str, block_world: BlockWorld) -> None:
    data = dense.with_gaps(block_world.data(CONDITIONS[condition]))
    batch = dense.batch_of(data)
    model = DAMRS(data, embedding_dim=6, k=K, n_positives=P, kl_weight=KL, neighbor_weight=NEIGHBOURS)
    p = dense.parameters_of(model)
    chosen, _ = companions_of(data.edge_index, data.n_users, data.n_items, 2)
    graphs = [*denoised(dict(data.features), dict(data.present), K).values()]
    graphs.append(dense.row_normalised(chosen + torch.eye(data.n_items)))

    def represented() -> tuple[Tensor, Tensor]:
        users, items, views = final(p, data, graphs)
        return users, items + sum(views) / len(views)

    dense.agree(model, batch, lambda: expected_loss(p, data, batch, graphs), represented)


def test_two_layers_smooth_twice(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["text"])
    torch.manual_seed(0)
    once = DAMRS(data, embedding_dim=6).eval()
    torch.manual_seed(0)
    twice = DAMRS(data, embedding_dim=6, n_layers=2).eval()
    smoothed = [graph.matrix.to_dense() for graph in once.item_graphs.values()]
    ids = once.item_embedding
    expected = sum(graph @ graph @ ids - graph @ ids for graph in smoothed) / len(smoothed)
    torch.testing.assert_close(twice()[1] - once()[1], expected)


def test_a_catalogue_of_few_items(block_world: BlockWorld) -> None:
    """Ten neighbours of each kind are taken from twenty items or more, else half of all."""
    edges = torch.tensor([[0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 0, 2]])
    model = DAMRS(RecData(3, 3, edges), embedding_dim=4)
    assert model.n_positives == 1
    terms = model.loss(Triplets(edges[0], edges[1], torch.tensor([2, 2, 0, 0, 1, 1])))
    assert all(torch.isfinite(term) for term in terms.values())
    assert DAMRS(block_world.data(()), embedding_dim=4).n_positives == 10
