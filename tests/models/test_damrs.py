"""DA-MRS against its equations, also where the reference crashes: one modality, none, three."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, kl_divergence

from mmbench.data.recdata import RecData
from mmbench.models import damrs
from mmbench.models.damrs import (
    DAMRS,
    bernoulli_divergence,
    companion_graph,
    consistent_graphs,
    neighbour_discrimination,
    positives_of,
)
from mmbench.nn import nearest
from mmbench.nn.recommender import Triplets
from tests.conftest import BlockWorld
from tests.models import dense
from tests.models.test_contract import CONDITIONS

pytestmark = pytest.mark.usefixtures("float64")
K, P, NEIGHBOURS, KL = 4, 5, 0.3, 0.7
N_ITEMS = 25  # of the views that are discriminated
GOLDEN = Path(__file__).resolve().parents[1] / "parity" / "b"


def seen(features: dict[str, Tensor]) -> Tensor:
    """Every item has a training interaction."""
    return torch.ones(len(next(iter(features.values()))), dtype=torch.bool)


def final(p: dict[str, Tensor], data: RecData, graphs: list[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Users, items and the items in each view."""
    graph = dense.normalised(dense.interactions(data), 1e-7)
    ego = torch.cat([p["user_embedding"], p["item_embedding"]])
    users, items = dense.mean_of_layers(graph, ego, 2).split([data.n_users, data.n_items])
    return users, items, [item_graph @ p["item_embedding"] for item_graph in graphs]


def weights_of(data: RecData, c: float) -> Tensor:
    """Of the views, the one of common users last; they add up to one."""
    relative = torch.tensor([*(c * a for a in dense.weights_of(data, weighed=c != 1.0).values()), 1.0])
    return relative / relative.sum()


def discrimination(unit: list[Tensor], items: Tensor, w: Tensor) -> Tensor:
    """Weighed mean over views of the two contrasts."""
    shares = [torch.softmax(view[items] @ view.T, dim=1).detach() for view in unit]
    losses = []
    for view, share in zip(unit, shares, strict=True):
        shared = (sum(shares) + share).topk(P, dim=1).indices
        own = share.scatter(1, shared, 0.0).topk(P, dim=1).indices
        affinity = torch.exp(view[items] @ view.T / 0.2)
        t, a, b = affinity.sum(1), affinity.gather(1, shared).sum(1), affinity.gather(1, own).sum(1)
        losses.append((-torch.log(a / t + 1e-9) - torch.log(b / (t - a) + 1e-9)).mean())
    return (w * torch.stack(losses)).sum()


def divergence(p: Tensor, q: Tensor) -> Tensor:
    return p * torch.log(p / q) + (1 - p) * torch.log((1 - p) / (1 - q))


def expected_loss(p: dict[str, Tensor], data: RecData, batch: Triplets, graphs: list[Tensor], w: Tensor) -> Tensor:
    users, items, views = final(p, data, graphs)
    smoothed, unit = sum(w[v] * view for v, view in enumerate(views)), [dense.unit(view) for view in views]
    z, u = items + smoothed, users[batch.users]
    pi, nu = (
        torch.stack([torch.sigmoid((u * view[rows]).sum(1)) for view in unit]).detach()
        for rows in (batch.positives, batch.negatives)
    )
    mean, threshold = w @ pi, (w @ nu).mean()
    variance = len(views) * (w @ (pi - mean) ** 2) / max(len(views) - 1, 1)
    if torch.equal(w, torch.full_like(w, 1 / len(w))) and len(w) > 1:
        torch.testing.assert_close(variance, pi.var(0, unbiased=True))
    liked = (mean * torch.exp(-2 * variance)).clamp(0, 1)
    disliked = ((pi.max(0).values - threshold) * (mean < threshold)).clamp(0, 1)
    assert disliked.any() == (len(views) > 1)  # one view cannot be above and below the threshold
    x = (u * (z[batch.positives] - z[batch.negatives])).sum(1)
    loss = -(liked * torch.log(torch.sigmoid(x)) + disliked * torch.log(torch.sigmoid(-x))).mean()
    rows = torch.unique(torch.cat([batch.positives, batch.negatives]))
    user = users[torch.unique(batch.users)]
    ours, other = (torch.sigmoid(user @ dense.unit(table[rows]).T) for table in (items, smoothed))
    alignment = (divergence(ours, other) + divergence(other, ours)).mean()
    return loss + NEIGHBOURS * discrimination(unit, rows, w) + KL * alignment


@pytest.mark.parametrize("c", [1.0, dense.CONTENT_WEIGHT])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_against_the_equations(condition: str, c: float, block_world: BlockWorld) -> None:
    data = dense.with_gaps(block_world.data(CONDITIONS[condition]))
    batch = dense.batch_of(data)
    weights = {} if c == 1.0 else {"content_weight": c, **dense.MODALITY_WEIGHTS}
    model = DAMRS(data, embedding_dim=6, k=K, n_positives=P, kl_weight=KL, neighbor_weight=NEIGHBOURS, **weights)
    w = weights_of(data, c)
    p = dense.parameters_of(model)
    chosen, _ = companions_of(data.edge_index, data.n_users, data.n_items, 2)
    graphs = [*denoised(dict(data.features), dict(data.present), K).values()]
    graphs.append(dense.row_normalised(chosen + torch.eye(data.n_items)))

    def represented() -> tuple[Tensor, Tensor]:
        users, items, views = final(p, data, graphs)
        return users, items + sum(w[v] * view for v, view in enumerate(views))

    dense.agree(model, batch, lambda: expected_loss(p, data, batch, graphs, w), represented)


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


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def features() -> dict[str, Tensor]:
    return {"image": random(30, 5, seed=0) + 0.3, "text": random(30, 4, seed=1) + 0.3, "sound": random(30, 3, seed=2)}


@pytest.fixture
def present(features: dict[str, Tensor]) -> dict[str, Tensor]:
    """Two items without an image, one without text, and the text of one is zero."""
    masks = {name: torch.ones(30, dtype=torch.bool) for name in features}
    masks["image"][[4, 9]] = False
    masks["text"][[9]] = False
    features["text"][12] = 0.0
    return masks


def denoised(features: dict[str, Tensor], present: dict[str, Tensor], k: int) -> dict[str, Tensor]:
    """The rule item by item, in dense arrays."""
    cosines, known, mean = {}, {}, {}
    for name, values in features.items():
        cosines[name] = dense.unit(values) @ dense.unit(values).T
        known[name] = present[name] & (values.norm(dim=1) > 0)
        mean[name] = cosines[name][known[name]][:, known[name]].mean()
    graphs = {}
    for name in features:
        chosen = torch.zeros_like(cosines[name])
        for item in torch.nonzero(known[name]).flatten().tolist():
            allowed = known[name].clone()
            for other in features:
                if known[other][item]:
                    allowed &= ~known[other] | (cosines[other][item] >= mean[other])
            order = torch.where(allowed, cosines[name][item], -torch.inf).argsort(descending=True)
            chosen[item, order[: min(k, int(allowed.sum()))]] = 1.0
        graphs[name] = dense.row_normalised(chosen)
    return graphs


@pytest.mark.parametrize("block_entries", [nearest.BLOCK_ENTRIES, 100])
@pytest.mark.parametrize("k", [3, 40])
def test_consistent_graphs_against_dense(
    k: int, block_entries: int, features: dict[str, Tensor], present: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "BLOCK_ENTRIES", block_entries)
    expected = denoised(features, present, k)
    graphs = consistent_graphs(features, present, seen(features), k)
    assert list(graphs) == list(features)
    for name, graph in graphs.items():
        torch.testing.assert_close(graph.matrix().to_dense(), expected[name])
        if k == 40:
            assert len(torch.unique((expected[name] > 0).sum(1))) > 2, "rows should differ in length"


def test_unseen_items_move_no_edge_between_seen_ones(features: dict[str, Tensor], present: dict[str, Tensor]) -> None:
    """Not by what they do to the mean cosine either: here they all point away from the others."""
    features, warm = {name: values.clone() for name, values in features.items()}, torch.arange(30) < 22
    expected = denoised(
        {name: values[warm] for name, values in features.items()},
        {name: mask[warm] for name, mask in present.items()},
        5,
    )
    for values in features.values():
        values[~warm] = -10.0 * values[:22].mean(0)
    for name, graph in consistent_graphs(features, present, warm, 5).items():
        edges = graph.matrix().to_dense() > 0
        assert torch.equal(edges[:22, :22], expected[name] > 0)
        assert not edges[:, 22:].any()


def test_one_modality_is_its_own_judge(features: dict[str, Tensor], present: dict[str, Tensor]) -> None:
    alone = {"image": features["image"]}
    graph = consistent_graphs(alone, present, seen(alone), 20)["image"].matrix().to_dense()
    torch.testing.assert_close(graph, denoised(alone, present, 20)["image"])


def test_an_item_without_content_is_isolated_where_it_lacks_it(
    features: dict[str, Tensor], present: dict[str, Tensor]
) -> None:
    graphs = {
        name: graph.matrix().to_dense()
        for name, graph in consistent_graphs(features, present, seen(features), 5).items()
    }
    for name, item in (("image", 4), ("image", 9), ("text", 9), ("text", 12)):
        assert not graphs[name][item].any()
        assert not graphs[name][:, item].any()
    assert graphs["sound"][9, 9] > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_does_not_part_items_that_are_all_alike(dtype: torch.dtype) -> None:
    torch.set_default_dtype(dtype)
    alike = {"image": torch.full((20, 7), 0.3), "text": torch.full((20, 333), 1.7)}
    graphs = consistent_graphs(alike, {name: seen(alike) for name in alike}, seen(alike), 5)
    for graph in graphs.values():
        assert torch.equal(torch.bincount(graph.edge_index[0]), torch.full((20,), 5))
        assert graph.weights.dtype == dtype


@pytest.fixture
def edges() -> Tensor:
    """Random interactions; item 2 has no user."""
    pairs = torch.rand(40, 30, generator=torch.Generator().manual_seed(0)) < 0.25
    pairs[:, 2] = False
    return pairs.nonzero().T


def companions_of(edges: Tensor, n_users: int, n_items: int, k: int) -> tuple[Tensor, Tensor]:
    """Adjacency without the item itself, and the numbers of common users."""
    graph = companion_graph(edges, n_users, n_items, k).matrix().to_dense()
    assert (graph.diagonal() > 0).all()
    chosen = (graph > 0).double().fill_diagonal_(0.0)
    torch.testing.assert_close(graph, dense.row_normalised(chosen + torch.eye(n_items)))
    incidence = torch.zeros(n_users, n_items)
    incidence[edges[0], edges[1]] = 1.0
    return chosen, (incidence.T @ incidence).fill_diagonal_(0.0)


@pytest.mark.parametrize("k", [2, 5])
def test_companions_have_the_most_common_users(k: int, edges: Tensor) -> None:
    chosen, common = companions_of(edges, 40, 30, k)
    for item in range(30):
        expected = common[item][common[item] >= 2].sort(descending=True).values[:k]
        assert torch.equal(common[item][chosen[item] > 0].sort(descending=True).values, expected)
    assert not chosen[2].any()


def test_among_equals_the_companion_with_fewer_users_comes_first() -> None:
    """Items 1 and 2 share two users with item 0; item 1 has three more users."""
    edges = torch.tensor([[0, 1, 0, 1, 2, 3, 4, 0, 1], [0, 0, 1, 1, 1, 1, 1, 2, 2]])
    chosen, _ = companions_of(edges, 5, 3, 1)
    assert chosen[0].tolist() == [0.0, 0.0, 1.0]


def test_one_common_user_is_not_enough() -> None:
    chosen, _ = companions_of(torch.tensor([[0, 0], [0, 1]]), 3, 2, 2)
    assert not chosen.any()


def test_companions_do_not_depend_on_the_numbering_of_items(edges: Tensor) -> None:
    order = torch.randperm(30, generator=torch.Generator().manual_seed(3))
    moved = torch.stack([edges[0], torch.argsort(order)[edges[1]]])
    chosen, _ = companions_of(edges, 40, 30, 2)
    chosen_moved, _ = companions_of(moved, 40, 30, 2)
    assert torch.equal(chosen_moved, chosen[order][:, order])


def test_companions_of_the_golden_data_up_to_ties() -> None:
    """The reference's lists hold the same numbers of common users; which of equals it takes is arbitrary."""
    with np.load(GOLDEN / "dataset.npz") as data, np.load(GOLDEN / "DAMRS.npz") as golden:
        edges = torch.from_numpy(np.stack([data["train_users"], data["train_items"]]))
        counts = torch.from_numpy(golden["graph/item_item_count"])
        chosen, common = companions_of(edges, int(data["n_users"]), int(data["n_items"]), 2)
    for item in range(len(counts)):
        expected = counts[item][counts[item] >= 2]
        assert torch.equal(common[item][chosen[item] > 0].sort(descending=True).values, expected)


@pytest.fixture
def views() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [dense.unit(torch.randn(N_ITEMS, 5, generator=generator)) for _ in range(3)]


@pytest.fixture
def rows() -> Tensor:
    return torch.tensor([0, 3, 4, 8, 9, 20, 24])


@pytest.fixture(params=[1 << 22, 50], ids=["one-block", "blocks"])
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damrs, "BLOCK_ENTRIES", request.param)


@pytest.mark.usefixtures("_blocks")
def test_positives_row_by_row(views: list[Tensor], rows: Tensor) -> None:
    lists = positives_of(views, rows, P)
    for place, item in enumerate(rows.tolist()):
        shares = [torch.softmax(view @ view[item], dim=0) for view in views]
        for share, (shared, own) in zip(shares, lists, strict=True):
            ranked = (sum(shares) + share).argsort(descending=True)[:P]
            assert shared[place].tolist() == ranked.tolist()
            rest = [other for other in share.argsort(descending=True).tolist() if other not in ranked.tolist()]
            assert own[place].tolist() == rest[:P]


@pytest.mark.usefixtures("_blocks")
def test_loss_and_gradient_against_the_formula(views: list[Tensor], rows: Tensor) -> None:
    shared, own = positives_of(views, rows, P)[1]
    view = views[1].requires_grad_()
    affinity = torch.exp(view[rows] @ view.T / 0.2)
    total = affinity.sum(1)
    a, b = affinity.gather(1, shared).sum(1), affinity.gather(1, own).sum(1)
    expected = (-torch.log(a / total + 1e-9) - torch.log(b / (total - a) + 1e-9)).mean()
    value = neighbour_discrimination(view, rows, shared, own, 0.2)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, view), torch.autograd.grad(expected, view))


def test_positives_carry_no_gradient(views: list[Tensor], rows: Tensor) -> None:
    lists = positives_of([view.requires_grad_() for view in views], rows, P)
    assert not any(index.requires_grad for pair in lists for index in pair)


def test_divergence_against_distributions() -> None:
    x, y = (3.0 * torch.randn(6, 5, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    p, q = Bernoulli(logits=x), Bernoulli(logits=y)
    torch.testing.assert_close(bernoulli_divergence(x, y), kl_divergence(p, q) + kl_divergence(q, p))


def test_divergence_is_finite_where_a_sigmoid_is_one() -> None:
    x = torch.tensor([800.0, -800.0], requires_grad=True)
    value = bernoulli_divergence(x, -x.detach()).mean()
    assert value.item() == pytest.approx(1600.0)
    value.backward()
    assert torch.isfinite(x.grad).all()
