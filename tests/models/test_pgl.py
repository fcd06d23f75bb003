"""PGL against its equations, also where the reference crashes: one modality, none, three."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models import pgl
from mmbench.models.pgl import PGL, principal_graph, truncated_svd
from mmbench.nn.recommender import Triplets
from mmbench.nn.user_item_graph import symmetric_normalised, user_item_blocks
from tests.conftest import BlockWorld
from tests.models import dense
from tests.models.test_contract import CONDITIONS

pytestmark = pytest.mark.usefixtures("float64")
WIDTH, K, RATE, REG = 8, 4, 0.4, 0.3
SHARES = {0: [], 1: [1.0], 2: [0.3, 0.7], 3: [0.125, 0.25, 0.625]}


def final(p: dict[str, Tensor], data: RecData, graph: Tensor) -> tuple[Tensor, Tensor]:
    """Users and items over the given graph."""
    names = list(data.features)
    users = torch.cat([p[f"users.{name}"] for name in names or ["id"]], dim=1)
    towers = [dense.content(p, data, name) for name in names] or [p["item_embedding"]]
    x = torch.cat([dense.unit(tower) for tower in towers], dim=1)
    users, items = dense.mean_of_layers(graph, torch.cat([users, x]), 2).split([data.n_users, data.n_items])
    for name, share in zip(names, SHARES[len(names)], strict=True):
        items = items + share * dense.binary_graph(data.features[name], data.present[name], K) @ x
    return users, items


def expected_loss(
    p: dict[str, Tensor], data: RecData, batch: Triplets, graph: Tensor, drop: dict[str, Tensor]
) -> Tensor:
    users, items = final(p, data, graph)
    user, positive = users[batch.users], items[batch.positives]
    loss = dense.bpr(user, positive, items[batch.negatives])
    for name, rows in (("user", user), ("positive", positive)):
        loss = loss + REG / 2 * dense.nce(rows * drop[f"{name}_1"], rows * drop[f"{name}_2"], 0.2)
    return loss


def with_mixed_tastes(data: RecData) -> RecData:
    """More interactions, across blocks: separate blocks have one singular value and no order among their vectors."""
    users = torch.arange(data.n_users).repeat(3)
    extra = torch.stack([users, (users * 5 + torch.arange(len(users)) ** 2) % data.n_items])
    edges = torch.unique(torch.cat([data.edge_index, extra], dim=1), dim=1)
    return RecData(data.n_users, data.n_items, edges, data.features, data.present)


def spectral(graph: Tensor, rank: int) -> Tensor:
    """The sum over pairs of equal singular values, entries below 1e-3 left out."""
    left, values, right = torch.linalg.svd(graph)
    q = rank // 4
    terms = [values[r] * values[rank - q + r] * torch.outer(left[:, r], right[r]) for r in range(q)]
    total = sum(terms, torch.zeros_like(graph))
    return torch.where(total.abs() >= 1e-3, total, 0.0)


@pytest.mark.parametrize("as_reference", [False, True])
@pytest.mark.parametrize("mode", ["local", "global"])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_against_the_equations(condition: str, mode: str, as_reference: bool, block_world: BlockWorld) -> None:
    """The reference differs by nothing but trained features."""
    data = with_mixed_tastes(dense.with_gaps(block_world.data(CONDITIONS[condition])))
    batch = dense.batch_of(data)
    keywords: dict[str, Any] = {"dropout": RATE, "reg_weight": REG, **dense.MODALITY_WEIGHTS}
    model = PGL(data, embedding_dim=WIDTH, mode=mode, k=K, as_reference=as_reference, **keywords)
    p = dense.parameters_of(model)
    assert {name for name in p if name.endswith("table")} == (
        {f"content.{name}.table" for name in data.features} if as_reference else set()
    )
    shape = (len(batch.users), WIDTH * max(len(data.features), 1))
    shapes = {f"{name}_{view}": shape for name in ("user", "positive") for view in (1, 2)}
    drop = dense.freeze(model, shapes, dense.dropout_factors(RATE))
    full = dense.normalised(dense.interactions(data), 1e-7)
    model.train().begin_epoch()
    if mode == "global":
        sub = spectral(full, WIDTH)
        torch.testing.assert_close(model.graph.sampled.to_dense(), sub, rtol=0, atol=1e-6 * float(sub.max()))
        sub = model.graph.sampled.to_dense()  # made in float32
    else:
        kept = torch.arange(0, data.edge_index.shape[1], 3)
        model.graph.use_edges(data.edge_index[:, kept])
        sampled = RecData(data.n_users, data.n_items, data.edge_index[:, kept])
        sub = dense.normalised(dense.interactions(sampled), 1e-7)
    dense.agree(model, batch, lambda: expected_loss(p, data, batch, sub, drop), lambda: final(p, data, full))


@pytest.mark.parametrize("mode", ["local", "global"])
def test_default_is_the_reference_before_the_first_step(mode: str, block_world: BlockWorld) -> None:
    """Bit for bit."""
    data = block_world.data(CONDITIONS["fused"])
    dense.same_bits(PGL, data, dense.batch_of(data), {"mode": mode}, {"mode": mode, "as_reference": True})


def test_every_epoch_draws_other_edges(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["fused"])
    for mode in ("local", "global"):
        model = PGL(data, mode=mode, keep=0.5).train()
        graphs = []
        for _ in range(2):
            model.begin_epoch()
            graphs.append(model.graph().to_dense())
        assert torch.equal(*graphs) == (mode == "global")


def test_without_weight_there_is_no_contrast(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["fused"])
    assert set(PGL(data, reg_weight=0.0).loss(dense.batch_of(data))) == {"bpr"}


@pytest.mark.parametrize(
    "keywords, message",
    [
        ({"mode": "both"}, r"mode='both' must be one of local, global"),
        ({"dropout": 1.0}, r"dropout=1.0 must be at least 0 and less than 1"),
        ({"mode": "global", "embedding_dim": 7}, r"a principal graph of rank 7 is empty; the rank must be at least 8"),
    ],
)
def test_bad_keywords(keywords: dict[str, Any], message: str, block_world: BlockWorld) -> None:
    with pytest.raises(ValueError, match=message):
        PGL(block_world.data(()), **keywords)


N_USERS, N_ITEMS = 30, 24


@pytest.fixture
def edges() -> Tensor:
    """Random interactions; user 4 and item 2 have none."""
    pairs = torch.rand(N_USERS, N_ITEMS, generator=torch.Generator().manual_seed(0)) < 0.3
    pairs[4], pairs[:, 2] = False, False
    return pairs.nonzero().T


@pytest.fixture
def adjacency(edges: Tensor) -> Tensor:
    return symmetric_normalised(edges, N_USERS, N_ITEMS)


@pytest.mark.parametrize("exact", [True, False])
def test_truncated_svd(adjacency: Tensor, monkeypatch: pytest.MonkeyPatch, exact: bool) -> None:
    """By a dense decomposition of small matrices and by subspace iteration of others."""
    monkeypatch.setattr(pgl, "BLOCK_ENTRIES", 1 << 22 if exact else 1)
    matrix, transposed = user_item_blocks(adjacency, N_USERS)
    left, values, right = truncated_svd(matrix, transposed, 5)
    expected = torch.linalg.svd(matrix.to_dense(), full_matrices=False)
    torch.testing.assert_close(values, expected.S[:5], rtol=1e-6, atol=1e-6)
    assert left.shape == (N_USERS, 5)
    assert right.shape == (N_ITEMS, 5)
    for vectors in (left, right):
        torch.testing.assert_close(vectors.T @ vectors, torch.eye(5), rtol=0, atol=1e-10)
    best = expected.U[:, :3] * expected.S[:3] @ expected.Vh[:3]
    torch.testing.assert_close((left * values)[:, :3] @ right[:, :3].T, best, rtol=0, atol=1e-6)


@pytest.mark.parametrize("exact", [True, False])
def test_truncated_svd_of_more_than_there_is(adjacency: Tensor, monkeypatch: pytest.MonkeyPatch, exact: bool) -> None:
    monkeypatch.setattr(pgl, "BLOCK_ENTRIES", 1 << 22 if exact else 1)
    matrix, transposed = user_item_blocks(adjacency, N_USERS)
    left, values, right = truncated_svd(matrix, transposed, 99)
    assert len(values) == N_ITEMS
    torch.testing.assert_close(left * values @ right.T, matrix.to_dense(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("block", [1 << 22, 1])
def test_principal_graph_against_the_whole_spectrum(
    adjacency: Tensor, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """The formula over the singular values of the whole graph, each of which occurs twice."""
    monkeypatch.setattr(pgl, "BLOCK_ENTRIES", block)
    rank, q = 16, 4
    left, values, right = torch.linalg.svd(adjacency.to_dense())
    expected = sum(values[r] * values[rank - q + r] * torch.outer(left[:, r], right[r]) for r in range(q))
    graph = principal_graph(adjacency, N_USERS, rank).to_dense()
    assert torch.equal(graph, graph.T)
    assert not graph[:N_USERS, :N_USERS].any()
    clear = (expected.abs() - 1e-3).abs() > 1e-5
    wanted = torch.where(expected.abs() >= 1e-3, expected, 0.0)
    torch.testing.assert_close(graph[clear], wanted[clear], rtol=0, atol=2e-6)
    assert float(graph[graph != 0].abs().min()) >= 1e-3


@pytest.mark.parametrize(("n_users", "n_items"), [(10, 5), (3, 12)])
def test_a_principal_graph_of_fewer_values_than_terms(n_users: int, n_items: int) -> None:
    """At rank 64 a sum has eight terms; of fewer values each is weighed by itself."""
    pairs = torch.rand(n_users, n_items, generator=torch.Generator().manual_seed(1)) < 0.5
    adjacency = symmetric_normalised(pairs.nonzero().T, n_users, n_items)
    matrix = user_item_blocks(adjacency, n_users)[0].to_dense()
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    expected = left * values.square() @ right
    graph = principal_graph(adjacency, n_users, 64).to_dense()[:n_users, n_users:]
    kept = expected.abs() >= 1e-3
    torch.testing.assert_close(graph, torch.where(kept, expected, 0.0), rtol=0, atol=2e-6)
    assert kept.any()


def test_both_precisions_keep_the_same_entries(edges: Tensor) -> None:
    double = principal_graph(symmetric_normalised(edges, N_USERS, N_ITEMS, eps=1e-7), N_USERS, 16)
    torch.set_default_dtype(torch.float32)
    single = principal_graph(symmetric_normalised(edges, N_USERS, N_ITEMS, eps=1e-7), N_USERS, 16)
    assert single.dtype == torch.float32
    assert torch.equal(single.to_dense(), double.to_dense().float())


def test_a_principal_graph_needs_a_rank(adjacency: Tensor) -> None:
    with pytest.raises(ValueError, match="rank 7 is empty; the rank must be at least 8"):
        principal_graph(adjacency, N_USERS, 7)


def test_a_share_of_zero_leaves_vectors_out_unless_it_is_the_reference(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["fused"])
    users = [list(PGL(data, first_modality_weight=1.0, as_reference=reference).users) for reference in (False, True)]
    assert users == [["image"], ["image", "text"]]
