from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mmbench.nn.unit_rows import moderate, unit_rows


def rows_of(scale: float, n: int = 200, d: int = 384) -> Tensor:
    rows = torch.randn(n, d, generator=torch.Generator().manual_seed(0)) * scale
    rows[7] = 0.0
    return rows


@pytest.mark.parametrize("scale", [1e-7, 1e-3, 0.05, 1.0, 20.0, 1e6, 1e11])
def test_ordinary_rows_are_those_of_the_plain_formula_to_the_last_bit(scale: float) -> None:
    rows = rows_of(scale)
    assert moderate(rows)[0] is rows
    assert torch.equal(unit_rows(rows), functional.normalize(rows, dim=1, eps=1e-12))


@pytest.mark.parametrize("power", [-100, -80, -31, 41, 59, 120])
def test_a_scale_changes_no_digit(power: int) -> None:
    rows = rows_of(1.0)
    scaled = rows * 2.0**power
    assert torch.equal(unit_rows(scaled), unit_rows(rows))
    assert torch.equal(unit_rows(torch.cat([rows, scaled])), torch.cat([unit_rows(rows)] * 2))
    assert not unit_rows(scaled)[7].any()


def test_the_ends_of_the_range() -> None:
    rows = torch.tensor([[1e-45, 0.0], [0.0, -3.4e38], [1.1754944e-38, 1.1754944e-38]])
    expected = torch.tensor([[1.0, 0.0], [0.0, -1.0], [0.5**0.5, 0.5**0.5]])
    torch.testing.assert_close(unit_rows(rows), expected)
    assert unit_rows(torch.empty(3, 0)).shape == (3, 0)


@pytest.mark.usefixtures("float64")
def test_rows_keep_their_type() -> None:
    for dtype in (torch.float32, torch.float64):
        assert unit_rows(rows_of(1e-30).to(dtype)).dtype == dtype
