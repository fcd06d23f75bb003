from __future__ import annotations

import copy

import pytest
import torch

from mmbench.nn.noise import Noise

X = torch.full((400, 50), 3.0)


def noise(seed: int = 0) -> Noise:
    torch.manual_seed(seed)
    return Noise("first", "second").train()


def test_dropout_zeroes_a_share_and_scales_the_rest() -> None:
    dropped = noise().drop("first", X, 0.4)
    assert dropped.unique().tolist() == pytest.approx([0.0, 5.0])
    assert float((dropped == 0).float().mean()) == pytest.approx(0.4, abs=0.02)
    assert float(dropped.mean()) == pytest.approx(3.0, abs=0.1)


def test_every_draw_is_new_and_the_seed_decides_it() -> None:
    a, b, other = noise(), noise(), noise(seed=1)
    draws = [a.drop("first", X, 0.4), a.drop("first", X, 0.4)]
    assert not torch.equal(*draws)
    assert all(torch.equal(draw, b.drop("first", X, 0.4)) for draw in draws)
    assert not torch.equal(draws[0], other.drop("first", X, 0.4))


def test_the_global_generator_is_left_alone() -> None:
    source = noise()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    source.drop("first", X, 0.4)
    source.add_gumbel("second", X)
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_is_dropped_in_evaluation_or_at_rate_zero() -> None:
    assert noise().eval().drop("first", X, 0.4) is X
    assert noise().drop("first", X, 0.0) is X


def test_a_given_draw_is_used() -> None:
    source = noise()
    source.first = torch.arange(50.0)
    assert torch.equal(source.drop("first", X, 0.4), 3.0 * torch.arange(50.0).expand(400, -1))
    assert torch.equal(source.add_gumbel("first", X), 3.0 + torch.arange(50.0).expand(400, -1))
    assert not torch.equal(source.drop("second", X, 0.4), source.drop("second", X, 0.4))
    assert source.eval().drop("first", X, 0.4) is X


def test_draws_are_those_of_torch_and_blocks_change_none(monkeypatch: pytest.MonkeyPatch) -> None:
    source, x = noise(), torch.ones(400, 50)
    for _ in range(2):
        kept = torch.empty(400, 50).bernoulli_(1.0 - 0.3, generator=copy.deepcopy(source).stream("first", x.device))
        assert torch.equal(source.drop("first", x, 0.3), kept / (1.0 - 0.3))
        monkeypatch.setattr("mmbench.nn.noise.DRAWN_ENTRIES", 77)


def test_rows_of_a_table_are_dropped_as_in_the_table() -> None:
    source, twin, rows = noise(), noise(), torch.tensor([7, 399, 7])
    table = torch.randn(400, 50)
    for _ in range(2):
        dropped = source.drop_rows("first", table[rows], 0.4, rows, 400)
        assert torch.equal(dropped, twin.drop("first", table, 0.4)[rows])
    source.first = torch.arange(20_000.0).view(400, 50)
    assert torch.equal(source.drop_rows("first", table[rows], 0.4, rows, 400), table[rows] * source.first[rows])
    assert source.drop_rows("second", table, 0.0, rows, 400) is table
    assert source.eval().drop_rows("first", table, 0.4, rows, 400) is table


def test_gumbel_noise_has_its_mean_and_variance_in_either_mode() -> None:
    for source in (noise(), noise().eval()):
        draw = source.add_gumbel("first", X) - X
        assert float(draw.mean()) == pytest.approx(0.5772, abs=0.05)
        assert float(draw.var()) == pytest.approx(torch.pi**2 / 6, abs=0.1)


def test_gradients_pass_through_and_not_into_the_draw() -> None:
    x = X.clone().requires_grad_()
    dropped = noise().drop("first", x, 0.4)
    dropped.sum().backward()
    assert torch.equal(x.grad, dropped.detach() / 3.0)


def test_draws_are_no_state_and_a_copy_goes_on_alike() -> None:
    source = noise()
    source.drop("first", X, 0.4)
    assert source.state_dict() == {}
    twin = copy.deepcopy(source)
    assert torch.equal(twin.drop("first", X, 0.4), source.drop("first", X, 0.4))


def test_normal_noise_in_training_only() -> None:
    source = noise()
    first, second = source.normal("first", X), source.normal("second", X)
    assert float(first.mean()) == pytest.approx(0.0, abs=0.05)
    assert float(first.std()) == pytest.approx(1.0, abs=0.05)
    assert not torch.equal(first, second)
    assert not source.eval().normal("first", X).any()


def test_a_given_normal_draw_is_used() -> None:
    source = noise()
    source.first = X
    assert source.normal("first", torch.zeros_like(X)) is X


def test_uniform_numbers_are_new_unless_given() -> None:
    source = noise()
    draws = [source.uniform("first") for _ in range(200)]
    assert len(set(draws)) == 200
    assert 0.0 <= min(draws) < 0.1 < 0.9 < max(draws) < 1.0
    source.first = torch.tensor(0.25)
    assert source.uniform("first") == 0.25


def test_rows_are_drawn_uniformly_without_or_with_repeats() -> None:
    cpu = torch.device("cpu")
    source = noise()
    once = torch.stack([source.rows("first", 10, 4, cpu) for _ in range(4000)])
    assert all(len(row.unique()) == 4 for row in once)
    again = torch.stack([source.rows("second", 10, 4, cpu, repeats=True) for _ in range(4000)])
    assert not all(len(row.unique()) == 4 for row in again)
    for drawn in (once, again):
        shares = torch.bincount(drawn.flatten(), minlength=10) / drawn.numel()
        assert shares.tolist() == pytest.approx([0.1] * 10, abs=0.01)
    assert source.rows("first", 10, 0, cpu).tolist() == []
    source.first = torch.tensor([7.0, 7.0, 2.0])
    assert source.rows("first", 10, 4, cpu).tolist() == [7, 7, 2]


def test_perturbed_rows_move_by_a_tenth_away_from_zero() -> None:
    x = torch.randn(400, 50, generator=torch.Generator().manual_seed(0))
    x[7] = 0.0
    moved = noise().perturb("first", x) - x
    lengths = torch.full((400,), 0.1)
    lengths[7] = 0.0
    torch.testing.assert_close(moved.norm(dim=1), lengths)
    assert (moved * x >= 0).all()
    shares = (moved.abs() * 10 / (moved.abs() * 10).amax(1, keepdim=True).clamp_min(1e-9))[torch.arange(400) != 7]
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.02)  # uniform within a row
    assert not torch.equal(noise(seed=1).perturb("first", x) - x, moved)


def test_perturbation_by_a_given_draw_has_the_gradient_of_the_identity() -> None:
    source = noise()
    source.first = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    x = torch.tensor([[-1.0, 2.0], [0.5, 0.0]], requires_grad=True)
    moved = source.perturb("first", x)
    torch.testing.assert_close(moved, torch.tensor([[-1.06, 2.08], [0.6, 0.0]]))
    moved.sum().backward()
    assert torch.equal(x.grad, torch.ones(2, 2))
    assert source.eval().perturb("first", x) is x
