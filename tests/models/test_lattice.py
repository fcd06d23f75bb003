from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.models.lattice import LATTICE, learned_knn
from mmbench.nn.item_graphs import row_sum_normalised, weighted
from mmbench.nn.recommender import Triplets
from tests.conftest import BlockWorld

pytestmark = pytest.mark.usefixtures("float64")
K, MU, REG = 4, 0.6, 0.05
CONTENT, FIRST = 0.7, 0.3
BOTH = ("image", "text")


@pytest.fixture
def data(block_world: BlockWorld) -> RecData:
    return block_world.data(BOTH)


def build(data: RecData, **hyper_parameters) -> LATTICE:
    torch.manual_seed(0)
    return LATTICE(
        data,
        embedding_dim=8,
        feature_dim=6,
        k=K,
        frozen_weight=MU,
        reg_weight=REG,
        **{"n_layers": 2, **hyper_parameters},
    )


def batch(data: RecData) -> Triplets:
    users, items = data.edge_index
    return Triplets(users, items, items.roll(1))


def dense_knn(features: Tensor) -> Tensor:
    unit = functional.normalize(features, dim=1)
    similarity = unit @ unit.T
    return similarity * torch.zeros_like(similarity).scatter(1, similarity.topk(K, dim=1).indices, 1.0)


def dense_lap(matrix: Tensor) -> Tensor:
    root = matrix.sum(1).rsqrt()
    return root[:, None] * matrix * root


def dense_backbone(model: LATTICE, data: RecData) -> tuple[Tensor, Tensor]:
    n = data.n_users + data.n_items
    adjacency = torch.eye(n)
    users, items = data.edge_index
    adjacency[users, data.n_users + items] = adjacency[data.n_users + items, users] = 1.0
    walk = adjacency / adjacency.sum(1, keepdim=True)
    x = torch.cat([model.user_embedding, model.item_embedding])
    mean = (x + walk @ x + walk @ walk @ x) / 3
    return mean[: data.n_users], mean[data.n_users :]


def dense_forward(model: LATTICE, data: RecData, content: float, first: float) -> tuple[Tensor, Tensor]:
    """Users and items, densely, with frozen features; weights of content and of the image."""
    raw = [data.features[name].to(torch.float64) for name in BOTH]
    weights = torch.softmax(model.modal_weight, 0)
    weights = weights * torch.tensor([first, 1 - first])
    weights = weights / weights.sum()
    learned = sum(w * dense_knn(model.content[m].projection(f)) for w, m, f in zip(weights, BOTH, raw, strict=True))
    frozen = sum(w * dense_lap(dense_knn(f)) for w, f in zip(weights, raw, strict=True))
    graph = (1 - MU) * dense_lap(learned) + MU * frozen
    users, items = dense_backbone(model, data)
    return users, items + content * functional.normalize(graph @ graph @ model.item_embedding, dim=1)


def test_default_against_a_dense_computation(data: RecData) -> None:
    """Frozen features, and a penalty over the length of the batch: what as_reference changes."""
    model, triplets = build(data, content_weight=CONTENT, first_modality_weight=FIRST), batch(data)
    users, items = dense_forward(model, data, CONTENT, FIRST)
    rows = users[triplets.users], items[triplets.positives], items[triplets.negatives]
    margin = (rows[0] * (rows[1] - rows[2])).sum(1)
    bpr = -functional.logsigmoid(margin).mean()
    reg = REG * 0.5 * sum(row.square().sum() for row in rows) / len(triplets.users)
    expected = torch.autograd.grad(bpr + reg, list(model.parameters()))

    model.begin_epoch()
    terms = model.loss(triplets)
    torch.testing.assert_close(terms["bpr"], bpr)
    torch.testing.assert_close(terms["reg"], reg)
    ours = torch.autograd.grad(terms["bpr"] + terms["reg"], list(model.parameters()))
    torch.testing.assert_close(ours, expected)
    scores = model.eval().score(torch.arange(data.n_users))
    torch.testing.assert_close(scores, users @ items.T)


def test_features_are_no_parameters_unless_asked(data: RecData) -> None:
    tables = ["content.image.table", "content.text.table"]
    assert not set(tables) & set(dict(build(data).named_parameters()))
    for flag in ("trainable_features", "as_reference"):
        assert set(tables) <= set(dict(build(data, **{flag: True}).named_parameters()))


def test_reference_equals_default_where_no_defect_shows(data: RecData) -> None:
    """Bit for bit when the nominal batch size is the real one."""
    triplets = batch(data)
    default, reference = build(data), build(data, as_reference=True, train_batch_size=len(triplets.users))
    for name, value in default.loss(triplets).items():
        assert torch.equal(value, reference.loss(triplets)[name])
    users = torch.arange(data.n_users)
    assert torch.equal(default.eval().score(users), reference.eval().score(users))
    nominal = build(data, as_reference=True, train_batch_size=2 * len(triplets.users))
    torch.testing.assert_close(nominal.loss(triplets)["reg"] * 2, default.train().loss(triplets)["reg"])


def test_the_graph_is_learned_from_the_first_batch_of_an_epoch(data: RecData) -> None:
    """Two batches of an epoch and the first of the next."""
    model = build(data)
    reached = []
    for begins in (True, False, True):
        if begins:
            model.begin_epoch()
        model.zero_grad()
        sum(model.loss(batch(data)).values()).backward()
        reached.append(model.content["text"].projection.weight.grad is not None)
    assert reached == [True, False, True]


def test_the_stored_graph_gives_the_same_loss(data: RecData) -> None:
    model = build(data)
    first, second = model.loss(batch(data)), model.loss(batch(data))
    torch.testing.assert_close(first, second)


def test_without_content_only_the_backbone_is_left(block_world: BlockWorld) -> None:
    data = block_world.data(())
    model = build(data)
    assert sorted(dict(model.named_parameters())) == ["item_embedding", "user_embedding"]
    torch.testing.assert_close(model(), dense_backbone(model, data))


def test_an_item_without_content_keeps_its_backbone_vector(data: RecData) -> None:
    present = {name: mask.clone() for name, mask in data.present.items()}
    for mask in present.values():
        mask[[3, 8]] = False
    holes = replace(data, present=present)
    model = build(holes)
    _, backbone = dense_backbone(model, holes)
    _, items = model()
    torch.testing.assert_close(items[[3, 8]], backbone[[3, 8]])
    assert ((items - backbone).norm(dim=1) > 0.5).sum() == data.n_items - 2


@pytest.mark.parametrize("backbone", ["mf", "ngcf"])
def test_other_backbones_train(data: RecData, backbone: str) -> None:
    model = build(data, backbone=backbone)
    sum(model.loss(batch(data)).values()).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


def test_unknown_backbone(data: RecData) -> None:
    with pytest.raises(ValueError, match="backbone='gcn' must be one of lightgcn, mf, ngcf"):
        LATTICE(data, backbone="gcn")


def test_gradients_flow_through_similarities(block_world: BlockWorld) -> None:
    """Against a dense graph masked to the same neighbours; an item without content gets none."""
    features = block_world.data(("text",)).features["text"].double().requires_grad_()
    n = len(features)
    present = torch.arange(n) != 4
    lists = learned_knn(features, present, present, K)
    pull = torch.randn(n, n, generator=torch.Generator().manual_seed(3))
    graph = row_sum_normalised(weighted(lists)).matrix
    (ours,) = torch.autograd.grad((graph().to_dense() * pull).sum(), features)

    unit = functional.normalize(features, dim=1)
    chosen = torch.zeros(n, n)
    chosen[lists.items.repeat_interleave(K), lists.indices.flatten()] = 1.0
    matrix = unit @ unit.T * chosen
    root = torch.where(present, matrix.sum(1), 1.0).rsqrt()
    (expected,) = torch.autograd.grad((root[:, None] * matrix * root * pull).sum(), features)
    torch.testing.assert_close(ours, expected)
    assert not ours[4].any()
