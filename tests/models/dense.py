"""Equations in dense float64, written without :mod:`mmbench.nn`: what models are compared with where no golden is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.nn.recommender import Triplets

#: Weights of content and of modalities that differ from each other and from 1.
CONTENT_WEIGHT = 0.6
MODALITY_WEIGHTS = {"first_modality_weight": 0.3, "modality_weights": {"audio": 0.5, "text": 2.5}}


def weights_of(data: RecData, *, weighed: bool = True) -> dict[str, float]:
    """What :data:`MODALITY_WEIGHTS` come to, of mean one; 1 each unless ``weighed``."""
    names = tuple(data.features)
    known = {2: (0.6, 1.4), 3: (0.375, 0.75, 1.875)}.get(len(names), (1.0,) * len(names))
    return dict(zip(names, known if weighed else (1.0,) * len(names), strict=True))


def with_gaps(data: RecData) -> RecData:
    """The same data in float64; each modality lacks two items, and item 3 claims features that are all zero."""
    features, present = {}, {}
    for number, (name, values) in enumerate(data.features.items()):
        table, mask = values.double().clone(), torch.ones(data.n_items, dtype=torch.bool)
        table[3] = 0.0
        mask[[5 + number, 20 + number]] = False
        table[~mask] = table[mask].mean(0)
        features[name], present[name] = table, mask
    return RecData(data.n_users, data.n_items, data.edge_index, features, present)


def batch_of(data: RecData) -> Triplets:
    """Every third interaction with arbitrary negatives; users and items occur several times."""
    users, items = data.edge_index[:, ::3]
    return Triplets(users, items, (items * 7 + users) % data.n_items)


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=1, keepdim=True).clamp_min(1e-12)


def interactions(data: RecData) -> Tensor:
    """R, ``(n_users, n_items)``."""
    matrix = torch.zeros(data.n_users, data.n_items, dtype=torch.float64)
    matrix[data.edge_index[0], data.edge_index[1]] = 1.0
    return matrix


def normalised(r: Tensor, eps: float = 0.0) -> Tensor:
    """The symmetrically normalised graph of users and items from their block."""
    n_users, n_items = r.shape
    whole = torch.zeros(n_users + n_items, n_users + n_items, dtype=torch.float64)
    whole[:n_users, n_users:], whole[n_users:, :n_users] = r, r.T
    degree = whole.sum(1) + eps
    root = torch.where(degree > 0, degree.clamp_min(1e-300) ** -0.5, 0.0)
    return torch.diag(root) @ whole @ torch.diag(root)


def mean_of_layers(graph: Tensor, x: Tensor, n_layers: int) -> Tensor:
    layers = [x]
    for _ in range(n_layers):
        layers.append(graph @ layers[-1])
    return sum(layers[1:], layers[0]) / (n_layers + 1)


def nearest(features: Tensor, present: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Which items are neighbours of which (0 or 1) and all cosines; items without content or direction have none."""
    unit_rows = unit(features)
    cosines = unit_rows @ unit_rows.T
    alive = present & (features.norm(dim=1) > 0)
    chosen = torch.zeros_like(cosines)
    for item in torch.nonzero(alive).flatten().tolist():
        candidates = torch.where(alive, cosines[item], -torch.inf)
        chosen[item, candidates.topk(k).indices] = 1.0
    return chosen, cosines


def row_normalised(graph: Tensor, eps: float = 0.0) -> Tensor:
    """Weights over the roots of the row sums of both ends; a row without a positive sum has no edges."""
    sums = graph.sum(1) + eps
    root = torch.where(sums > 0, sums.clamp_min(1e-300) ** -0.5, 0.0)
    return root[:, None] * graph * root[None, :]


def weighted_graph(features: Tensor, present: Tensor, k: int) -> Tensor:
    chosen, cosines = nearest(features, present, k)
    return row_normalised(chosen * cosines)


def binary_graph(features: Tensor, present: Tensor, k: int) -> Tensor:
    chosen, _ = nearest(features, present, k)
    return row_normalised(chosen, 1e-7)


def bpr(user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    return torch.log1p(torch.exp((user * (negative - positive)).sum(1))).mean()


def nce(anchors: Tensor, positives: Tensor, temperature: float) -> Tensor:
    logits = unit(anchors) @ unit(positives).T / temperature
    return (logits.exp().sum(1).log() - logits.diagonal()).mean()


def content(p: Mapping[str, Tensor], data: RecData, name: str) -> Tensor:
    """Projected features; the features are those of the data or, where they are trained, a parameter."""
    return linear(p, f"content.{name}.projection", p.get(f"content.{name}.table", data.features[name]))


def side_loss(
    behaviour: Tensor, side: Tensor | None, data: RecData, batch: Triplets, weights: tuple[float, float], divisor: int
) -> Tensor:
    """BPR, half the squared norms over a divisor, and the contrast of s with e at temperature 0.2."""
    reg_weight, cl_weight = weights
    final = behaviour if side is None else behaviour + side
    positives = batch.positives + data.n_users
    rows = [final[batch.users], final[positives], final[batch.negatives + data.n_users]]
    loss = bpr(*rows) + reg_weight * torch.cat(rows).square().sum() / 2 / divisor
    for nodes in [] if side is None else [batch.users, positives]:
        loss = loss + cl_weight * nce(side[nodes], behaviour[nodes], 0.2)
    return loss


def linear(p: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def parameters_of(model: torch.nn.Module) -> dict[str, Tensor]:
    """The parameters by name, moved away from special values such as biases of zero."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return dict(model.named_parameters())


def freeze(model: Any, shapes: Mapping[str, Sequence[int]], draw: Callable[..., Tensor]) -> dict[str, Tensor]:
    """Put given draws into ``model.noise``: ``draw(*shape, generator=...)`` by name."""
    generator = torch.Generator().manual_seed(6)
    draws = {name: draw(*shape, generator=generator) for name, shape in shapes.items()}
    for name, value in draws.items():
        assert name in dict(model.noise.named_buffers()), name
        setattr(model.noise, name, value)
    return draws


def dropout_factors(rate: float) -> Callable[..., Tensor]:
    """Factors 0 and 1/(1 - rate) for :func:`freeze`."""
    return lambda *shape, generator: (torch.rand(shape, generator=generator) >= rate).double() / (1.0 - rate)


def agree(
    model: torch.nn.Module,
    batch: Triplets,
    expected_loss: Callable[[], Tensor],
    expected_factors: Callable[[], tuple[Tensor, Tensor]],
) -> None:
    """Loss, gradients of all parameters and representations in eval mode are the expected ones to ten digits."""
    parameters = dict(model.named_parameters())
    loss = torch.stack([term.reshape(()) for term in model.train().loss(batch).values()]).sum()
    expected = expected_loss()
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-12)
    ours = torch.autograd.grad(loss, list(parameters.values()))
    theirs = torch.autograd.grad(expected, list(parameters.values()))
    for name, a, b in zip(parameters, ours, theirs, strict=True):
        assert b.any(), name
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}")
    for a, b in zip(model.eval()(), expected_factors(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def same_bits(
    model_class: Callable[..., Any], data: RecData, batch: Triplets, first: dict[str, Any], second: dict[str, Any]
) -> None:
    """Two ways to call a constructor give one model: losses before any step and scores, bit for bit."""
    losses, scores = [], []
    for keywords in (first, second):
        torch.manual_seed(0)
        model = model_class(data, embedding_dim=8, **keywords).train()
        model.begin_epoch()
        losses.append({name: term.item() for name, term in model.loss(batch).items()})
        scores.append(model.eval().score(torch.arange(data.n_users)))
    assert losses[0] == losses[1]
    assert torch.equal(*scores)


def hops_of_towers(p: Mapping[str, Tensor], data: RecData) -> list[Tensor]:
    """Ego vectors of each tower plus one and two steps over the graph; one hidden layer."""
    graph = normalised(interactions(data))
    outputs = []
    for name in data.features or ["free"]:
        if name in data.features:
            hidden = linear(p, f"towers.{name}.items.layers.0", data.features[name])
            items = linear(p, f"towers.{name}.items.layers.2", torch.where(hidden > 0, hidden, 0.01 * hidden))
        else:
            items = p["towers.free.items.table"]
        x = unit(torch.cat([p[f"towers.{name}.preference"], items]))
        outputs.append(x + graph @ x + graph @ graph @ x)
    return outputs


def user_graph(data: RecData) -> Tensor:
    """Softmax of the number of common items over all users that share any."""
    r = interactions(data)
    counts = (r @ r.T).fill_diagonal_(0.0)
    weights = torch.where(counts > 0, counts.exp(), 0.0)
    return weights / weights.sum(1, keepdim=True).clamp_min(1e-300)
