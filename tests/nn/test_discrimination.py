from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, kl_divergence

from mmbench.nn import discrimination
from mmbench.nn.discrimination import bernoulli_divergence, neighbour_discrimination, positives_of
from tests.models import dense

N, P = 25, 4

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture
def views() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [dense.unit(torch.randn(N, 5, generator=generator)) for _ in range(3)]


@pytest.fixture
def rows() -> Tensor:
    return torch.tensor([0, 3, 4, 8, 9, 20, 24])


@pytest.fixture(params=[1 << 22, 50], ids=["one-block", "blocks"])
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discrimination, "BLOCK_ENTRIES", request.param)


@pytest.mark.usefixtures("_blocks")
def test_positives_row_by_row(views: list[Tensor], rows: Tensor) -> None:
    found = positives_of(views, rows, P)
    for place, item in enumerate(rows.tolist()):
        shares = [torch.softmax(view @ view[item], dim=0) for view in views]
        for share, (shared, own) in zip(shares, found, strict=True):
            ranked = (sum(shares) + share).argsort(descending=True)[:P]
            assert shared[place].tolist() == ranked.tolist()
            rest = [other for other in share.argsort(descending=True).tolist() if other not in ranked.tolist()]
            assert own[place].tolist() == rest[:P]


@pytest.mark.usefixtures("_blocks")
def test_loss_and_gradient_against_the_formula(views: list[Tensor], rows: Tensor) -> None:
    shared, own = positives_of(views, rows, P)[1]
    view = views[1].requires_grad_()
    affinity = torch.exp(view[rows] @ view.T / 0.2)
    total = affinity.sum(1)
    a, b = affinity.gather(1, shared).sum(1), affinity.gather(1, own).sum(1)
    expected = (-torch.log(a / total + 1e-9) - torch.log(b / (total - a) + 1e-9)).mean()
    value = neighbour_discrimination(view, rows, shared, own, 0.2)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, view), torch.autograd.grad(expected, view))


def test_positives_carry_no_gradient(views: list[Tensor], rows: Tensor) -> None:
    lists = positives_of([view.requires_grad_() for view in views], rows, P)
    assert not any(index.requires_grad for pair in lists for index in pair)


def test_divergence_against_distributions() -> None:
    x, y = (3.0 * torch.randn(6, 5, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    p, q = Bernoulli(logits=x), Bernoulli(logits=y)
    torch.testing.assert_close(bernoulli_divergence(x, y), (kl_divergence(p, q) + kl_divergence(q, p)).mean())


def test_divergence_is_finite_where_a_sigmoid_is_one() -> None:
    x = torch.tensor([800.0, -800.0], requires_grad=True)
    value = bernoulli_divergence(x, -x.detach())
    assert value.item() == pytest.approx(1600.0)
    value.backward()
    assert torch.isfinite(x.grad).all()
