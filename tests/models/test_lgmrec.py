"""LGMRec against its equations, also where the reference crashes: one modality, none, three."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.lgmrec import TEMPERATURE, LGMRec, contrast_with_all, through_hyperedges
from mmbench.nn.recommender import Triplets
from tests.conftest import BlockWorld
from tests.models import dense
from tests.models.test_contract import CONDITIONS

pytestmark = pytest.mark.usefixtures("float64")
WIDTH, N_EDGES, KEEP, ALPHA, CL, REG = 6, 3, 0.6, 0.8, 0.01, 0.5
Parameters = dict[str, Tensor]


def softmax(x: Tensor) -> Tensor:
    weights = torch.exp(x - x.max(1, keepdim=True).values.detach())
    return weights / weights.sum(1, keepdim=True)


def parts(
    p: Parameters, data: RecData, backbone: str, drawn: Parameters, c: float
) -> tuple[Tensor, dict[str, list[Tensor]]]:
    """Final nodes, and users and items of each modality through its hyperedges."""
    a = dense.weights_of(data, weighed=c != 1.0)
    r = dense.interactions(data)
    graph = dense.normalised(r, 1e-7)
    ego = torch.cat([p["user_embedding"], p["item_embedding"]])
    nodes = dense.mean_of_layers(graph, ego, 0 if backbone == "mf" else 2)
    final, through = nodes, {}
    for name, features in data.features.items():
        x = features @ p[f"projection.{name}"]
        local = torch.cat([r @ x / (r.sum(1, keepdim=True) + 1e-7), x])
        final = final + c * a[name] * dense.unit(graph @ (graph @ local))
        of_items = features @ p[f"hyperedges.{name}"]
        h = {}
        for kind, logits in (("item", of_items), ("user", r @ of_items)):
            noisy = logits + drawn.get(f"gumbel_{kind}_{name}", torch.zeros(()))
            h[kind] = softmax(noisy / 0.2) * drawn.get(f"drop_{kind}_{name}", torch.ones(()))
        items = nodes[data.n_users :]
        first = h["item"] @ (h["item"].T @ items)
        through[name] = [h["user"] @ (h["item"].T @ first), h["item"] @ (h["item"].T @ first)]
    if through:
        final = final + c * ALPHA * dense.unit(sum(a[name] * torch.cat(pair) for name, pair in through.items()))
    return final, through


def expected_loss(p: Parameters, data: RecData, batch: Triplets, backbone: str, drawn: Parameters, c: float) -> Tensor:
    final, through = parts(p, data, backbone, drawn, c)
    weights = dense.weights_of(data, weighed=c != 1.0)
    positives = batch.positives + data.n_users
    rows = [final[batch.users], final[positives], final[batch.negatives + data.n_users]]
    loss = dense.bpr(*rows) + REG * sum(row.square().sum().sqrt() for row in rows) / len(batch.users)
    for first, second in combinations(sorted(through), 2):
        for kind, chosen in enumerate((batch.users, batch.positives)):
            a, b = dense.unit(through[first][kind]), dense.unit(through[second][kind])
            logits = a[chosen] @ b.T / 0.2
            own = logits[torch.arange(len(chosen)), chosen]
            loss = loss + CL * c * weights[first] * weights[second] * (logits.exp().sum(1).log() - own).sum()
    return loss


def gumbel(*shape: int, generator: torch.Generator) -> Tensor:
    return -torch.log(-torch.log(torch.rand(shape, generator=generator)))


@pytest.mark.parametrize("c", [1.0, dense.CONTENT_WEIGHT])
@pytest.mark.parametrize("as_reference", [False, True])
@pytest.mark.parametrize("condition, backbone", [*((c, "lightgcn") for c in CONDITIONS), ("fused", "mf")])
def test_against_the_equations(
    condition: str, backbone: str, as_reference: bool, c: float, block_world: BlockWorld
) -> None:
    """The default ranks without noise, the reference with it."""
    data = dense.with_gaps(block_world.data(CONDITIONS[condition]))
    batch = dense.batch_of(data)
    weights: dict[str, Any] = {"keep_rate": KEEP, "alpha": ALPHA, "cl_weight": CL, "reg_weight": REG}
    weights |= {} if c == 1.0 else {"content_weight": c, **dense.MODALITY_WEIGHTS}
    shape: dict[str, Any] = {"embedding_dim": WIDTH, "n_hyperedges": N_EDGES, "n_hyper_layers": 2}
    model = LGMRec(data, backbone=backbone, as_reference=as_reference, **shape, **weights)
    p = dense.parameters_of(model)
    rows = {"item": data.n_items, "user": data.n_users}
    shapes = {f"{kind}_{name}": (n, N_EDGES) for name in data.features for kind, n in rows.items()}
    noise = dense.freeze(model, {f"gumbel_{key}": value for key, value in shapes.items()}, gumbel)
    factors = dense.dropout_factors(1.0 - KEEP)
    drop = dense.freeze(model, {f"drop_{key}": value for key, value in shapes.items()}, factors)

    def final() -> Any:
        nodes, _ = parts(p, data, backbone, noise if as_reference else {}, c)
        return nodes.split([data.n_users, data.n_items])

    dense.agree(model, batch, lambda: expected_loss(p, data, batch, backbone, {**noise, **drop}, c), final)


def test_only_the_reference_ranks_at_random(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["fused"])
    users = torch.arange(data.n_users)
    for as_reference in (False, True):
        model = LGMRec(data, embedding_dim=8, as_reference=as_reference)
        scores = [model.eval().score(users) for _ in range(2)]  # each call of eval() asks for a fresh forward pass
        assert torch.equal(*scores) != as_reference


def test_default_trains_as_the_reference(block_world: BlockWorld) -> None:
    """Losses bit for bit: noise in evaluation is all that differs."""
    data = block_world.data(CONDITIONS["fused"])
    batch = dense.batch_of(data)
    losses = []
    for as_reference in (False, True):
        torch.manual_seed(0)
        losses.append(LGMRec(data, embedding_dim=8, as_reference=as_reference).loss(batch))
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    "keywords, message",
    [
        ({"backbone": "ngcf"}, r"backbone='ngcf' must be one of lightgcn, mf"),
        ({"keep_rate": 0.0}, r"keep_rate=0.0 must be more than 0 and at most 1"),
        ({"n_hyper_layers": 0}, r"n_hyper_layers=0 must be a whole number of at least 1"),
    ],
)
def test_bad_keywords(keywords: dict[str, Any], message: str, block_world: BlockWorld) -> None:
    with pytest.raises(ValueError, match=message):
        LGMRec(block_world.data(CONDITIONS["text"]), **keywords)


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_users_hear_what_the_last_hyperedges_say(n_layers: int) -> None:
    generator = torch.Generator().manual_seed(0)
    of_users, of_items, x = (torch.rand(shape, generator=generator) for shape in ((5, 3), (4, 3), (4, 2)))
    passing = of_items @ of_items.T
    users, items = through_hyperedges(of_users, of_items, x, torch.arange(4), n_layers)
    before_last = torch.linalg.matrix_power(passing, n_layers - 1) @ x
    torch.testing.assert_close(items, passing @ before_last)
    torch.testing.assert_close(users, of_users @ of_items.T @ before_last)


def test_unseen_items_listen_to_hyperedges_and_say_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    of_users, of_items, x = (torch.rand(shape, generator=generator) for shape in ((5, 3), (4, 3), (4, 2)))
    seen = torch.tensor([0, 2, 3])
    users, items = through_hyperedges(of_users, of_items, x, seen, 1)
    edges = of_items[seen].T @ x[seen]
    torch.testing.assert_close(items, of_items @ edges)
    torch.testing.assert_close(users, of_users @ edges)


def test_the_contrast_compares_with_every_row_and_counts_repeated_ones() -> None:
    a, b = (torch.randn(6, 5, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    chosen = torch.tensor([4, 0, 4])
    logits = dense.unit(a)[chosen] @ dense.unit(b).T / TEMPERATURE
    expected = (logits.exp().sum(1).log() - logits.gather(1, chosen[:, None]).squeeze(1)).sum()
    torch.testing.assert_close(contrast_with_all(a, b, chosen, b), expected, rtol=1e-12, atol=0)


def test_an_unseen_item_keeps_its_content(block_world: BlockWorld) -> None:
    """Propagation leaves an item without interactions nothing; the reference does so."""
    known = block_world.data(("text",))
    data = replace(known, edge_index=known.edge_index[:, known.edge_index[1] != 7])
    for as_reference in (False, True):
        model = LGMRec(data, embedding_dim=WIDTH, n_content_layers=2, as_reference=as_reference)
        (local,) = model._local("text")[data.n_users + 7].unsqueeze(0)
        content = data.features["text"][7].double() @ model.projection["text"]
        torch.testing.assert_close(local, torch.zeros_like(content) if as_reference else content)
