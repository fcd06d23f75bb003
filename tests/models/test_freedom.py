from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.models.freedom import FREEDOM
from mmbench.nn.recommender import Triplets
from mmbench.nn.user_item_graph import symmetric_normalised
from tests.conftest import BlockWorld

pytestmark = pytest.mark.usefixtures("float64")
K, WEIGHT, REG = 4, 0.3, 0.2
CONTENT = 0.6
BOTH = ("image", "text")


@pytest.fixture
def data(block_world: BlockWorld) -> RecData:
    return block_world.data(BOTH)


def build(data: RecData, **hyper_parameters) -> FREEDOM:
    torch.manual_seed(0)
    defaults = {"embedding_dim": 8, "k": K, "first_modality_weight": WEIGHT, "reg_weight": REG, "n_layers": 2}
    return FREEDOM(data, **{**defaults, **hyper_parameters})


def batch(data: RecData) -> Triplets:
    users, items = data.edge_index
    return Triplets(users, items, items.roll(1))


def dense_backbone(model: FREEDOM, data: RecData, edges: Tensor) -> tuple[Tensor, Tensor]:
    graph = symmetric_normalised(edges, data.n_users, data.n_items, eps=1e-7).to_dense()
    x = torch.cat([model.user_embedding, model.item_embedding])
    mean = (x + graph @ x + graph @ graph @ x) / 3
    return mean[: data.n_users], mean[data.n_users :]


def dense_item_graph(data: RecData) -> Tensor:
    """An item graph of k ones per row over k."""
    total = torch.zeros(data.n_items, data.n_items)
    for name, weight in zip(BOTH, (WEIGHT, 1 - WEIGHT), strict=True):
        unit = functional.normalize(data.features[name].to(torch.float64), dim=1)
        nearest = (unit @ unit.T).topk(K, dim=1).indices
        total += weight * torch.zeros_like(total).scatter(1, nearest, 1.0) / (K + 1e-7)
    return total


def bpr(user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    return -functional.logsigmoid((user * (positive - negative)).sum(1)).mean()


def test_default_against_a_dense_computation(data: RecData) -> None:
    """Frozen features, trained projections: the modality terms move users and projections only.

    The weight of content is that of the item graph and of these terms.
    """
    model, triplets = build(data, content_weight=CONTENT), batch(data)
    kept = data.edge_index[:, ::3]
    graph = dense_item_graph(data)
    users, items = dense_backbone(model, data, kept)
    items = items + CONTENT * graph @ graph @ model.item_embedding
    user = users[triplets.users]
    expected = {"bpr": bpr(user, items[triplets.positives], items[triplets.negatives])}
    for name in BOTH:
        projected = model.content[name].projection(data.features[name].to(torch.float64))
        rows = projected[triplets.positives], projected[triplets.negatives]
        expected[f"bpr_{name}"] = CONTENT * REG * bpr(user, *rows)
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(sum(expected.values()), parameters)

    model.graph.use_edges(kept)
    terms = model.loss(triplets)
    torch.testing.assert_close(terms, expected)
    torch.testing.assert_close(torch.autograd.grad(sum(terms.values()), parameters), gradients)

    users, items = dense_backbone(model, data, data.edge_index)
    scores = model.eval().score(torch.arange(data.n_users))
    torch.testing.assert_close(scores, users @ (items + CONTENT * graph @ graph @ model.item_embedding).T)


def test_reference_only_trains_the_features_too(data: RecData) -> None:
    default, reference = build(data), build(data, as_reference=True)
    assert set(dict(reference.named_parameters())) - set(dict(default.named_parameters())) == {
        "content.image.table",
        "content.text.table",
    }
    assert set(dict(build(data, trainable_features=True).named_parameters())) == set(dict(reference.named_parameters()))
    for model in (default, reference):
        model.begin_epoch()
    ours, theirs = default.loss(batch(data)), reference.loss(batch(data))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    users = torch.arange(data.n_users)
    assert torch.equal(default.eval().score(users), reference.eval().score(users))


def test_a_share_of_zero_leaves_a_modality_out_unless_it_is_the_reference(data: RecData) -> None:
    models = [build(data, first_modality_weight=0.0, as_reference=reference) for reference in (False, True)]
    assert [list(model.content) for model in models] == [["text"], ["image", "text"]]
    assert torch.equal(*(model.item_graph.matrix.to_dense() for model in models))


def test_no_modality_terms_without_weight(data: RecData) -> None:
    assert list(build(data, reg_weight=0.0).loss(batch(data))) == ["bpr"]


def test_edges_are_drawn_anew_every_epoch(data: RecData) -> None:
    model, again = build(data, dropout=0.5), build(data, dropout=0.5)
    graphs = []
    for _ in range(2):
        model.begin_epoch()
        again.begin_epoch()
        assert torch.equal(model.graph.sampled.to_dense(), again.graph.sampled.to_dense())
        graphs.append(model.graph.sampled.to_dense())
    assert not torch.equal(*graphs)
    n_kept = data.edge_index.shape[1] // 2
    assert [int(graph.count_nonzero()) for graph in graphs] == [2 * n_kept] * 2
    torch.testing.assert_close(model.graph.full.to_dense(), build(data).graph.full.to_dense(), rtol=0, atol=0)


def test_another_seed_draws_other_edges(data: RecData) -> None:
    graphs = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = FREEDOM(data)
        model.begin_epoch()
        graphs.append(model.graph.sampled.to_dense())
    assert not torch.equal(*graphs)


def test_without_dropout_all_edges_are_used(data: RecData) -> None:
    model = build(data, dropout=0.0)
    model.begin_epoch()
    assert torch.equal(model.graph.sampled.to_dense(), model.graph.full.to_dense())


def test_without_content_the_backbone_is_left(block_world: BlockWorld) -> None:
    data = block_world.data(())
    model = build(data).eval()
    assert sorted(dict(model.named_parameters())) == ["item_embedding", "user_embedding"]
    torch.testing.assert_close(model(), dense_backbone(model, data, data.edge_index))


def test_an_item_without_content_keeps_its_backbone_vector(data: RecData) -> None:
    present = {name: mask.clone() for name, mask in data.present.items()}
    for mask in present.values():
        mask[[3, 8]] = False
    model = build(replace(data, present=present)).eval()
    _, backbone = dense_backbone(model, data, data.edge_index)
    torch.testing.assert_close(model()[1][[3, 8]], backbone[[3, 8]])
    assert not model.item_graph.matrix.to_dense()[:, [3, 8]].any()


def test_weights_of_modalities(block_world: BlockWorld) -> None:
    """Rows of the item graph sum to one whatever the number of modalities; only with two the weight matters."""
    for names in (("text",), BOTH, ("audio", "image", "text")):
        data = block_world.data(names)
        graphs = [build(data, first_modality_weight=w).item_graph.matrix.to_dense() for w in (0.1, 0.9)]
        torch.testing.assert_close(graphs[0].sum(1), torch.ones(data.n_items), rtol=1e-6, atol=0)
        assert torch.equal(*graphs) == (len(names) != 2)


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_impossible_dropout(data: RecData, dropout: float) -> None:
    with pytest.raises(ValueError, match=f"dropout={dropout} must be at least 0 and less than 1"):
        FREEDOM(data, dropout=dropout)
