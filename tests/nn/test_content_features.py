from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mmbench.nn import content_features, kernels
from mmbench.nn.content_features import (
    ProjectedContent,
    centred_directions,
    concatenated,
    kernel_rows,
    on_unique_rows,
    projected_content,
    projected_rows,
)
from mmbench.nn.unit_rows import unit_rows
from tests.conftest import BlockWorld


def test_concatenated_in_name_order(block_world: BlockWorld) -> None:
    data = block_world.data(("image", "text"))
    joined = concatenated(data)
    assert torch.equal(joined, torch.cat([data.features["image"], data.features["text"]], dim=1))


@pytest.mark.parametrize("block", [content_features.BLOCK_BYTES, 1000, 1])
def test_joined_features_are_scaled_row_by_row_in_blocks(
    block: int, block_world: BlockWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_features, "BLOCK_BYTES", block)
    data = block_world.data(("image", "text"))
    scales = {"image": torch.linspace(0.0, 3.0, 36), "text": torch.linspace(1.0, 0.1, 36)}
    lengths = concatenated(data, {"image": 0.5, "text": 1.5}, unit=True, scales=scales)
    expected = [
        weight * (scales[name][:, None] * unit_rows(data.features[name]))
        for name, weight in (("image", 0.5), ("text", 1.5))
    ]
    assert torch.equal(lengths, torch.cat(expected, dim=1))
    image = data.features["image"]
    assert torch.equal(concatenated(data, {"image": 0.3}), 0.3 * image)
    assert torch.equal(concatenated(data, {"image": 1.0}, unit=True), unit_rows(image))
    assert concatenated(data, {"image": 1.0}) is image
    assert concatenated(data, {}, unit=True, scales={}).shape == (36, 0)


def test_without_features_there_is_no_column(block_world: BlockWorld) -> None:
    assert concatenated(block_world.data(())).shape == (36, 0)


@pytest.mark.usefixtures("float64")
def test_features_come_in_the_default_type(block_world: BlockWorld) -> None:
    assert concatenated(block_world.data(("text",))).dtype == torch.float64


def test_directions_around_the_mean_of_what_has_content() -> None:
    features = torch.tensor([[3.0, 1.0], [1.0, 1.0], [2.0, 4.0], [2.0, 2.0], [9.0, 9.0]])
    present = torch.tensor([True, True, True, True, False])
    expected = torch.tensor([[1.0, -1.0], [-1.0, -1.0], [0.0, 2.0], [0.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    expected[:2] /= 2**0.5
    expected[2] /= 2.0
    assert torch.allclose(centred_directions(features, present), expected, rtol=0, atol=1e-15)
    constant = torch.full((5, 3), 0.1)
    assert not centred_directions(constant, present).any()
    assert not centred_directions(features, torch.zeros(5, dtype=torch.bool)).any()


@pytest.mark.parametrize("power", [-100, -60, 59])
def test_directions_around_the_mean_have_no_scale(power: int) -> None:
    features = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    present = torch.arange(8) != 5
    directions = centred_directions(features * 2.0**power, present)
    assert torch.equal(directions, centred_directions(features, present))
    assert directions.norm(dim=1).tolist() == pytest.approx([1.0] * 5 + [0.0] + [1.0] * 2)


def test_what_rounding_leaves_of_the_mean_is_no_direction() -> None:
    features = torch.tensor([[0.1, 0.7], [0.3, -0.2], [0.2, 0.25]], dtype=torch.float64)
    features[2] = features[:2].mean(0) * (1 + 1e-15)
    for power in (-60, 0):
        lengths = centred_directions(features * 2.0**power, torch.ones(3, dtype=torch.bool)).norm(dim=1)
        assert lengths.tolist() == pytest.approx([1.0, 1.0, 0.0], abs=1e-3)


def test_kernel_rows_have_the_weighted_sum_of_inner_products(block_world: BlockWorld) -> None:
    data = block_world.data(("image", "text"))
    image, text = (centred_directions(data.features[name], data.present[name]) for name in ("image", "text"))
    rows = kernel_rows(data, {"image": 0.3, "text": 2.0})
    assert torch.allclose(rows @ rows.T, 0.3 * image @ image.T + 2.0 * text @ text.T)
    raw = kernel_rows(data, {"text": 2.0}, raw=True)
    assert torch.allclose(raw @ raw.T, 2.0 * data.features["text"].double() @ data.features["text"].double().T)
    assert kernel_rows(data, {}).shape == (36, 0)


@pytest.fixture
def network(float64: None) -> Callable[[Tensor], Tensor]:
    """A row-wise function with parameters behind it."""
    torch.manual_seed(0)
    table = nn.Parameter(torch.randn(9, 5))
    layer = nn.Linear(5, 3)

    def compute(rows: Tensor) -> Tensor:
        return layer(table[rows]).tanh()

    compute.parameters = [table, *layer.parameters()]  # type: ignore[attr-defined]
    return compute


@pytest.mark.parametrize("whole", [0, 9, 4])
def test_on_unique_rows_equals_direct(network: Callable[[Tensor], Tensor], whole: int) -> None:
    """Values and gradients, with repeated rows and index vectors of different lengths; 4 of 9 rows are asked for."""
    torch.manual_seed(0)
    indices = (torch.tensor([3, 3, 0, 8]), torch.tensor([8, 1]), torch.tensor([3]))
    weights = [torch.randn(len(index), 3) for index in indices]

    def gradients(outputs: tuple[Tensor, ...]) -> list[Tensor]:
        value = torch.stack([(w * out).sum() for w, out in zip(weights, outputs, strict=True)]).sum()
        return list(torch.autograd.grad(value, network.parameters))  # type: ignore[attr-defined]

    unique, direct = on_unique_rows(network, *indices, whole=whole), tuple(network(index) for index in indices)
    for ours, expected in zip(unique, direct, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-14)
    for ours, expected in zip(gradients(unique), gradients(direct), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-14)


def test_on_unique_rows_computes_each_row_once() -> None:
    asked = []

    def compute(rows: Tensor) -> Tensor:
        asked.append(rows)
        return rows[:, None].float()

    first, second = on_unique_rows(compute, torch.tensor([4, 2, 4]), torch.tensor([2, 7]))
    assert [rows.tolist() for rows in asked] == [[2, 4, 7]]
    assert first.tolist() == [[4.0], [2.0], [4.0]]
    assert second.tolist() == [[2.0], [7.0]]


@pytest.mark.parametrize(("whole", "all_of_it"), [(5, False), (4, True)])
def test_most_of_a_table_is_computed_as_it_lies(whole: int, all_of_it: bool) -> None:
    asked = []

    def compute(rows: Tensor | slice) -> Tensor:
        asked.append(rows)
        return torch.arange(5.0)[rows, None]

    (values,) = on_unique_rows(compute, torch.tensor([4, 2, 4, 0, 1]), whole=whole)
    assert values.tolist() == [[4.0], [2.0], [4.0], [0.0], [1.0]]
    assert [isinstance(rows, slice) for rows in asked] == [all_of_it]


@pytest.mark.parametrize("n_rows", [0, 1, 7, 23])
def test_projected_rows_are_the_layer_on_gathered_rows(n_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "GATHERED_ENTRIES", 30)  # blocks of five rows
    table, rows, layer = torch.randn(12, 6), torch.randint(12, (n_rows,)), nn.Linear(6, 4)
    weights = torch.randn(n_rows, 4)

    def results(projected: Tensor) -> list[Tensor]:
        loss = (weights * projected).square().sum()
        return [projected, *torch.autograd.grad(loss, list(layer.parameters()))]

    blocks, whole = results(projected_rows(table, rows, layer)), results(layer(table[rows]))
    for a, b in zip(blocks, whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_all_rows_are_projected_in_blocks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "GATHERED_ENTRIES", 30)
    table, layer, pull = torch.randn(12, 6), nn.Linear(6, 4), torch.randn(12, 4)
    found = []
    for projected in (projected_rows(table, slice(None), layer), layer(table)):
        found.append([projected, *torch.autograd.grad((pull * projected).sum(), list(layer.parameters()))])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("beyond", [1, 2, 3, 40])
def test_equal_rows_are_projected_alike_whatever_the_last_block_holds(beyond: int) -> None:
    """Of 1,171 items with 896 numbers the last one was a product of its own, which sums in another order."""
    torch.manual_seed(0)
    layer, width = nn.Linear(896, 64), 896
    table = torch.randn(width).expand(kernels.GATHERED_ENTRIES // width + beyond, width).contiguous()
    with torch.no_grad():
        projected = projected_rows(table, slice(None), layer)
    assert torch.equal(projected, projected[:1].expand_as(projected))


def test_projected_rows_of_a_trained_table_train_it() -> None:
    table, layer = torch.randn(5, 3, requires_grad=True), nn.Linear(3, 2)
    projected_rows(table, torch.tensor([1, 1]), layer).sum().backward()
    assert table.grad is not None
    torch.testing.assert_close(table.grad[1], 2 * layer.weight.sum(0))
    assert torch.equal(projected_rows(table, slice(None), layer), layer(table))


def test_projected_rows_in_mixed_precision_keep_float32_weights() -> None:
    table, rows, layer = torch.randn(9, 8), torch.tensor([3, 1, 3]), nn.Linear(8, 4)
    with torch.autocast("cpu", torch.bfloat16):
        projected = projected_rows(table, rows, layer)
    assert projected.dtype == torch.bfloat16
    projected.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32
    torch.testing.assert_close(layer.weight.grad, table[rows].sum(0).expand(4, -1), rtol=0.03, atol=0.03)


def test_frozen_features_are_no_state_and_trainable_ones_are_a_copy() -> None:
    features = torch.randn(5, 3)
    frozen, trainable = ProjectedContent(features, 4), ProjectedContent(features, 4, trainable=True)
    assert sorted(frozen.state_dict()) == ["projection.bias", "projection.weight"]
    assert sorted(dict(trainable.named_parameters())) == ["projection.bias", "projection.weight", "table"]
    with torch.no_grad():
        trainable.table.zero_()
    assert features.any()


def test_projection_of_all_and_of_some_rows() -> None:
    features = torch.randn(5, 3)
    tower = ProjectedContent(features, 4)
    expected = features @ tower.projection.weight.T + tower.projection.bias
    torch.testing.assert_close(tower(), expected)
    torch.testing.assert_close(tower(torch.tensor([3, 3, 0])), expected[[3, 3, 0]])


def test_one_projection_per_modality_in_name_order(block_world: BlockWorld) -> None:
    towers = projected_content(block_world.data(("audio", "image", "text")), 4)
    assert list(towers) == ["audio", "image", "text"]
    assert not projected_content(block_world.data(()), 4)
