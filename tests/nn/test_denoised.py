from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mmbench.nn import nearest
from mmbench.nn.denoised import companion_graph, consistent_graphs
from tests.models import dense

GOLDEN = Path(__file__).resolve().parents[1] / "parity" / "b"

pytestmark = pytest.mark.usefixtures("float64")


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
    found = consistent_graphs(features, present, k)
    assert list(found) == list(features)
    for name, graph in found.items():
        torch.testing.assert_close(graph.matrix().to_dense(), expected[name])
        if k == 40:
            assert len(torch.unique((expected[name] > 0).sum(1))) > 2, "rows should differ in length"


def test_one_modality_is_its_own_judge(features: dict[str, Tensor], present: dict[str, Tensor]) -> None:
    alone = {"image": features["image"]}
    found = consistent_graphs(alone, present, 20)["image"].matrix().to_dense()
    torch.testing.assert_close(found, denoised(alone, present, 20)["image"])


def test_an_item_without_content_is_isolated_where_it_lacks_it(
    features: dict[str, Tensor], present: dict[str, Tensor]
) -> None:
    graphs = {name: graph.matrix().to_dense() for name, graph in consistent_graphs(features, present, 5).items()}
    for name, item in (("image", 4), ("image", 9), ("text", 9), ("text", 12)):
        assert not graphs[name][item].any()
        assert not graphs[name][:, item].any()
    assert graphs["sound"][9, 9] > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_does_not_part_items_that_are_all_alike(dtype: torch.dtype) -> None:
    torch.set_default_dtype(dtype)
    alike = {"image": torch.full((20, 7), 0.3), "text": torch.full((20, 333), 1.7)}
    graphs = consistent_graphs(alike, {name: torch.ones(20, dtype=torch.bool) for name in alike}, 5)
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
