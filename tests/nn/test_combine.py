from __future__ import annotations

import pytest
import torch

from mmbench.nn.combine import Combine

X, Y = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0, 0.0], [1.0, 8.0]])


def test_mean_and_sum() -> None:
    assert torch.equal(Combine("mean", 2, 2)([X, Y]), torch.tensor([[3.0, 1.0], [2.0, 6.0]]))
    assert torch.equal(Combine("sum", 2, 2)([X, Y]), torch.tensor([[6.0, 2.0], [4.0, 12.0]]))


def test_concatenation_is_mapped_in_the_given_order() -> None:
    combine = Combine("concat", 2, 2)
    expected = X @ combine.layer.weight[:, :2].T + Y @ combine.layer.weight[:, 2:].T + combine.layer.bias
    torch.testing.assert_close(combine([X, Y]), expected)


@pytest.mark.parametrize("mode", ["mean", "sum", "concat"])
def test_one_vector_alone_stays(mode: str) -> None:
    combine = Combine(mode, 1, 2)
    assert combine([X]) is X
    assert list(combine.parameters()) == []


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match=r"fusion='max' must be one of mean, sum, concat"):
        Combine("max", 2, 2)
