"""MMGCF against its equations, also without any and with three modalities; its numbers are the reference's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.mmgcf import FUSIONS, MMGCF, WEIGHTINGS, Combine
from tests.conftest import BlockWorld
from tests.models import dense
from tests.models.test_contract import CONDITIONS

pytestmark = pytest.mark.usefixtures("float64")
REG = 0.3


def combined(p: dict[str, Tensor], name: str, fusion: str, vectors: list[Tensor], weights: list[float]) -> Tensor:
    vectors = [weight * vector for weight, vector in zip(weights, vectors, strict=True)]
    if fusion == "concat":
        return dense.linear(p, f"{name}.layer", torch.cat(vectors, dim=1))
    total = sum(vectors[1:], vectors[0])
    return total / sum(weights) if fusion == "mean" else total


def final(
    p: dict[str, Tensor], data: RecData, fusion: str, weighting: str, edges: RecData, c: float
) -> tuple[Tensor, Tensor]:
    """Users and fused items over the given edges."""
    a = list(dense.weights_of(data, weighed=c != 1.0).values())
    weights = [1.0, *(c * weight for weight in a)]
    graph = dense.normalised(dense.interactions(edges), 1e-7)
    ego = torch.cat([p["user_embedding"], p["item_embedding"]])
    users, ids = dense.mean_of_layers(graph, ego, 2).split([data.n_users, data.n_items])
    content = [dense.linear(p, f"content.{m}.projection", dense.unit(data.features[m])) for m in data.features]
    if not content:
        return users, ids
    if weighting == "equal":
        inner = content[0] if len(content) == 1 else combined(p, "fuse_content", fusion, content, a)
        return users, combined(p, "fuse", fusion, [ids, inner], [1.0, c])
    if weighting == "alpha":
        share = 1 / (1 + torch.exp(-p["alpha"]))
        shared = [share * ids, *((1 - share) * vectors for vectors in content)]
        return users, combined(p, "fuse", fusion, shared, weights)
    units = [dense.unit(vectors) for vectors in content]
    return users, combined(p, "fuse", fusion, [len(units) * dense.unit(ids), *units], weights)


@pytest.mark.parametrize("c", [1.0, dense.CONTENT_WEIGHT])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_against_the_equations(condition: str, fusion: str, weighting: str, c: float, block_world: BlockWorld) -> None:
    data = dense.with_gaps(block_world.data(CONDITIONS[condition]))
    batch = dense.batch_of(data)
    weights = {} if c == 1.0 else {"content_weight": c, **dense.MODALITY_WEIGHTS}
    model = MMGCF(data, embedding_dim=6, fusion=fusion, weighting=weighting, dropout=0.3, reg_weight=REG, **weights)
    p = dense.parameters_of(model)
    kept = data.edge_index[:, torch.arange(data.edge_index.shape[1]) % 3 > 0]
    model.graph.use_edges(kept)
    sampled = RecData(data.n_users, data.n_items, kept)

    def expected() -> Tensor:
        users, items = final(p, data, fusion, weighting, sampled, c)
        loss = dense.bpr(users[batch.users], items[batch.positives], items[batch.negatives])
        rows = [p["user_embedding"][batch.users], p["item_embedding"][batch.positives]]
        rows.append(p["item_embedding"][batch.negatives])
        return loss + REG * torch.cat(rows).square().sum() / (2 * len(batch.users))

    dense.agree(model, batch, expected, lambda: final(p, data, fusion, weighting, data, c))


def test_every_epoch_draws_other_edges(block_world: BlockWorld) -> None:
    model = MMGCF(block_world.data(CONDITIONS["fused"]), dropout=0.5).train()
    graphs = []
    for _ in range(2):
        model.begin_epoch()
        graphs.append(model.graph().to_dense())
    assert not torch.equal(*graphs)


@pytest.mark.parametrize(
    "keywords, message",
    [
        ({"weighting": "beta"}, r"weighting='beta' must be one of equal, alpha, normalized"),
        ({"fusion": "max"}, r"fusion='max' must be one of mean, sum, concat"),
        ({"dropout": 1.0}, r"dropout=1.0 must be at least 0 and less than 1"),
    ],
)
def test_bad_keywords(keywords: dict[str, object], message: str, block_world: BlockWorld) -> None:
    with pytest.raises(ValueError, match=message):
        MMGCF(block_world.data(()), **keywords)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_one_vector_alone_stays(fusion: str) -> None:
    combine, x = Combine(fusion, 1, 2), torch.ones(3, 2)
    assert combine([x]) is x
    assert list(combine.parameters()) == []
