"""SMORE against its equations, also where the reference crashes: one modality, none, three."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.smore import FUSED, SMORE, union_maximum
from mmbench.nn.item_graphs import ItemGraph
from tests.conftest import BlockWorld
from tests.models import dense
from tests.models.test_contract import CONDITIONS

pytestmark = pytest.mark.usefixtures("float64")
K_OF, K, WEIGHTS, WIDTH = {"text": 3, "image": 5}, 4, (0.3, 0.2), 6


def fourier(width: int) -> tuple[Tensor, Tensor]:
    """Orthonormal Fourier matrix of the non-negative frequencies, and how often each occurs in a real signal."""
    frequencies = torch.arange(width // 2 + 1)
    phase = -2 * torch.pi * frequencies[:, None] * torch.arange(width)[None, :] / width
    twice = torch.where((frequencies == 0) | (2 * frequencies == width), 1.0, 2.0)
    return torch.complex(torch.cos(phase), torch.sin(phase)) / width**0.5, twice


def signal(spectrum: Tensor, filter_: Tensor) -> Tensor:
    """The filtered spectrum back on the channels."""
    matrix, twice = fourier(WIDTH)
    return ((spectrum * torch.complex(filter_[0, :, 0], filter_[0, :, 1]) * twice) @ matrix.conj()).real


def parts(
    p: dict[str, Tensor], data: RecData, drop: dict[str, Tensor], c: float, a: dict[str, float]
) -> tuple[Tensor, Tensor | None]:
    """Behaviour and weighed side information; ``drop`` holds the factors of the gates."""
    graph = dense.normalised(dense.interactions(data))
    ids = p["item_embedding"]
    behaviour = dense.mean_of_layers(graph, torch.cat([p["user_embedding"], ids]), 3)
    if not data.features:
        return behaviour, None
    matrix, _ = fourier(WIDTH)
    spectra = {name: dense.content(p, data, name).to(matrix.dtype) @ matrix.T for name in data.features}
    graphs = {
        name: dense.weighted_graph(features, data.present[name], K_OF.get(name, K))
        for name, features in data.features.items()
    }
    product, union = torch.ones((), dtype=matrix.dtype), torch.zeros(data.n_items, data.n_items)
    for name in data.features:
        product = product * spectra[name]
        both = (graphs[name] != 0) & (union != 0)
        union = torch.where(both, torch.maximum(union, graphs[name]), union + graphs[name])
    spectra[FUSED], graphs[FUSED] = product, union
    views, gates = {}, {}
    for name, spectrum in spectra.items():
        gate = torch.sigmoid(dense.linear(p, f"views.{name}.gate", signal(spectrum, p[f"filters.{name}"])))
        items = graphs[name] @ (ids * gate)
        views[name] = torch.cat([graph[: data.n_users, data.n_users :] @ items, items])
        gates[name] = torch.sigmoid(dense.linear(p, f"preference.{name}", behaviour)) * drop.get(
            f"preference_{name}", torch.ones(())
        )
    total = gates[FUSED] * views[FUSED]
    for name in data.features:
        hidden = torch.tanh(dense.linear(p, f"query.{name}.0", views[FUSED]))
        weights = torch.exp(hidden @ p[f"query.{name}.2.weight"].T)
        total = total + a[name] * gates[name] * weights / weights.sum(1, keepdim=True) * views[name]
    return behaviour, c * total / (len(data.features) + 1)


@pytest.mark.parametrize("c", [1.0, dense.CONTENT_WEIGHT])
@pytest.mark.parametrize("nominal", [None, 50])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_against_the_equations(condition: str, nominal: int | None, c: float, block_world: BlockWorld) -> None:
    """The default divides by the rows of the batch, the reference by a nominal size, and it trains the features."""
    data = dense.with_gaps(block_world.data(CONDITIONS[condition]))
    batch = dense.batch_of(data)
    as_reference: dict[str, Any] = {} if nominal is None else {"as_reference": True, "train_batch_size": nominal}
    as_reference |= {} if c == 1.0 else {"content_weight": c, **dense.MODALITY_WEIGHTS}
    a = dense.weights_of(data, weighed=c != 1.0)
    model = SMORE(
        data,
        embedding_dim=WIDTH,
        k=K,
        k_of=K_OF,
        dropout=0.4,
        reg_weight=WEIGHTS[0],
        cl_weight=WEIGHTS[1],
        **as_reference,
    )
    p = dense.parameters_of(model)
    nodes = data.n_users + data.n_items
    shapes = {f"preference_{name}": (nodes, WIDTH) for name in [*data.features, FUSED] if data.features}
    drop = dense.freeze(model, shapes, dense.dropout_factors(0.4))

    def final() -> Any:
        behaviour, side = parts(p, data, {}, c, a)
        return (behaviour if side is None else behaviour + side).split([data.n_users, data.n_items])

    divisor = nominal or len(batch.users)
    weights = (WEIGHTS[0], c * WEIGHTS[1])
    dense.agree(
        model, batch, lambda: dense.side_loss(*parts(p, data, drop, c, a), data, batch, weights, divisor), final
    )


def test_default_is_the_reference_where_no_defect_acts(block_world: BlockWorld) -> None:
    """Bit for bit before the first step, when the batch has its nominal length."""
    data = block_world.data(CONDITIONS["fused"])
    batch = dense.batch_of(data)
    dense.same_bits(SMORE, data, batch, {}, {"as_reference": True, "train_batch_size": len(batch.users)})


def test_names_that_are_not_present_have_no_effect(block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["text"])
    first, second = {"k_of": {"text": 3}}, {"k": 7, "k_of": {"text": 3, "image": 9}}
    dense.same_bits(SMORE, data, dense.batch_of(data), first, second)


def test_rate_of_dropout_is_checked(block_world: BlockWorld) -> None:
    with pytest.raises(ValueError, match=r"dropout=1.0 must be at least 0 and less than 1"):
        SMORE(block_world.data(()), dropout=1.0)


N_ITEMS = 4


def graph(*edges: tuple[int, int, float]) -> ItemGraph:
    rows, columns, weights = zip(*edges, strict=True)
    return ItemGraph(torch.tensor([rows, columns]), torch.tensor(weights), N_ITEMS)


def test_union_keeps_the_larger_weight_of_an_edge() -> None:
    first = graph((0, 1, 0.5), (1, 0, 0.2), (2, 2, -0.3))
    second = graph((0, 1, 0.4), (1, 0, 0.6), (3, 0, 0.1), (2, 1, -0.2))
    expected = torch.zeros(N_ITEMS, N_ITEMS)
    expected[0, 1], expected[1, 0], expected[2, 2], expected[3, 0], expected[2, 1] = 0.5, 0.6, -0.3, 0.1, -0.2
    assert torch.equal(union_maximum([first, second]).matrix().to_dense(), expected)
    assert torch.equal(union_maximum([second, first]).matrix().to_dense(), expected)


def test_union_of_one_graph_is_that_graph() -> None:
    only = graph((0, 1, 0.5), (2, 2, -0.3))
    assert torch.equal(union_maximum([only]).matrix().to_dense(), only.matrix().to_dense())
