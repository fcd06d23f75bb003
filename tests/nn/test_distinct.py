from __future__ import annotations

import pytest
import torch

from mmbench.nn.distinct import distinct


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
