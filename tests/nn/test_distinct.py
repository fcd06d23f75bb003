from __future__ import annotations

import pytest
import torch

from mmbench.nn.distinct import average, distinct, distinct_once, occurrences
from tests.absent_gpu import OnDevice, absent_gpu


@pytest.mark.parametrize("largest", [1, 40, 16 * 60, 10_000])  # marked three times, then sorted
@pytest.mark.parametrize("shape", [(60,), (12, 5)])
def test_the_same_as_unique(shape: tuple[int, ...], largest: int) -> None:
    values = torch.randint(largest, shape, generator=torch.Generator().manual_seed(0))
    rows, place = distinct(values)
    expected, inverse = torch.unique(values, return_inverse=True)
    assert torch.equal(rows, expected)
    assert torch.equal(place, inverse)
    assert rows.dtype == place.dtype == torch.int64


def test_of_nothing_there_is_nothing() -> None:
    rows, place = distinct(torch.empty(0, dtype=torch.int64))
    assert rows.shape == place.shape == (0,)


@pytest.mark.parametrize("among", [None, 40])  # as many rows as values, or all of a smaller table
@pytest.mark.parametrize("shape", [(60,), (12, 5), (0,)])
def test_elsewhere_equal_values_have_one_place(shape: tuple[int, ...], among: int | None) -> None:
    values = torch.randint(40, shape, generator=torch.Generator().manual_seed(0))
    with absent_gpu():
        rows, place = distinct(OnDevice(values), among)
        times = occurrences(place, len(rows))
        once, weights = distinct_once(OnDevice(values))
    assert isinstance(rows, OnDevice)
    assert isinstance(place, OnDevice)
    assert place.shape == values.shape
    assert len(rows) == (among if among is not None and among <= values.numel() else values.numel())
    assert torch.equal(rows.inner[place.inner], values)
    expected, counts = torch.unique(values, return_counts=True)
    asked = times.inner > 0
    assert sorted(rows.inner[asked].tolist()) == expected.tolist()
    assert dict(zip(rows.inner[asked].tolist(), times.inner[asked].tolist(), strict=True)) == dict(
        zip(expected.tolist(), counts.tolist(), strict=True)
    )
    assert sorted(once.inner[weights.inner > 0].tolist()) == expected.tolist()
    assert weights.inner.sum() == len(expected)


@pytest.mark.parametrize("values", [[3, 1, 3, 3], []])
def test_occurrences_are_counted(values: list[int]) -> None:
    assert occurrences(torch.tensor(values, dtype=torch.int64), 5).tolist() == [values.count(row) for row in range(5)]


def test_on_a_processor_every_row_counts() -> None:
    values = torch.tensor([4, 1, 1, 7])
    rows, weights = distinct_once(values)
    assert rows.tolist() == [1, 4, 7]
    assert weights is None


def test_an_average_leaves_out_what_counts_for_nothing() -> None:
    values = torch.arange(12.0).view(3, 4)
    one, other = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 1.0, 0.0])
    assert average(values, None, None) == values.mean()
    assert average(values, one, other) == values[[0, 2]][:, [1, 2]].mean()
    assert average(values[0], other) == 1.5
