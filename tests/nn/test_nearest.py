from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmbench.nn import nearest as module
from mmbench.nn.nearest import nearest

N = 41


def test_never_an_array_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_ENTRIES", 10 * N)
    features, sizes = torch.randn(N, 6, generator=torch.Generator().manual_seed(0)), []

    def similarity(begin: int, end: int) -> Tensor:
        sizes.append(end - begin)
        return features[begin:end] @ features.T

    nearest(similarity, N, 3)
    assert sizes == [10, 10, 10, 10, 1]
    sizes.clear()
    nearest(similarity, N, 3, width=5 * N)
    assert max(sizes) == 2


@pytest.mark.parametrize("levels", [2, 50, 10**6])
@pytest.mark.parametrize("n", [640, 700])
def test_a_look_at_maxima_finds_what_a_look_at_all_finds(levels: int, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many ties, some and hardly any; with and without a last chunk that is not full; negative values too."""
    table = torch.randint(-levels, levels, (n, n), generator=torch.Generator().manual_seed(0)).float()

    def lists() -> tuple[Tensor, Tensor]:
        return nearest(lambda begin, end: table[begin:end].clone(), n, 5, include_self=False)

    quick = lists()
    assert module._promising(table, 6).shape[1] == 6 * module.CHUNK + n % module.CHUNK
    monkeypatch.setattr(module, "CHUNK", n)
    assert module._promising(table, 6).shape[1] == n
    whole = lists()
    assert torch.equal(quick[0], whole[0])
    assert torch.equal(quick[1], whole[1])
