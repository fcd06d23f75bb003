from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mmbench.nn.initialisation import (
    Law,
    draw_by_name,
    linear,
    set_table,
    started,
    table,
    xavier_normal,
    xavier_uniform,
)
from mmbench.nn.noise import Noise


@pytest.mark.parametrize("law", [xavier_uniform, xavier_normal])
def test_spread_of_xavier_laws(law: Law) -> None:
    """Both have the standard deviation sqrt(2 / (rows + columns)); only the uniform one is bounded by sqrt(3) of it."""
    torch.manual_seed(0)
    values = table(300, 50, law)
    spread = math.sqrt(2 / 350)
    assert isinstance(values, nn.Parameter)
    assert values.shape == (300, 50)
    assert values.std().item() == pytest.approx(spread, rel=0.03)
    assert values.mean().item() == pytest.approx(0.0, abs=0.03 * spread)
    assert (values.abs().max().item() <= math.sqrt(3) * spread * 1.0001) == (law is xavier_uniform)


def test_an_untrained_table_is_stored_but_no_parameter() -> None:
    owner = nn.Module()
    set_table(owner, "trained", torch.ones(2, 3))
    set_table(owner, "constant", torch.zeros(2, 3), trained=False)
    assert [name for name, _ in owner.named_parameters()] == ["trained"]
    assert sorted(owner.state_dict()) == ["constant", "trained"]


@pytest.mark.parametrize("law, spread", [(None, 1 / math.sqrt(3 * 40)), (xavier_normal, math.sqrt(2 / 540))])
def test_laws_of_a_linear_map(law: Law | None, spread: float) -> None:
    """By default torch's own, which a layer of torch's has; the bias has torch's in any case."""
    torch.manual_seed(0)
    layers = [linear(40, 500, law), nn.Linear(40, 500)]
    assert layers[0].weight.std().item() == pytest.approx(spread, rel=0.03)
    for layer in layers:
        assert layer.bias.std().item() == pytest.approx(1 / math.sqrt(3 * 40), rel=0.1)
        assert float(layer.bias.detach().abs().max()) < 1 / math.sqrt(40)
    assert linear(3, 2, bias=False).bias is None


def parts(seed: int, *names: str) -> nn.ModuleDict:
    """Linear maps, one table that is not trained and a source of noise, with streams by name."""
    torch.manual_seed(seed)  # which must not matter
    made = nn.ModuleDict({name: linear(4, 3) for name in names})
    made["noise"] = Noise("first", "second")
    set_table(made, "constant", started(torch.empty(5, 2), xavier_normal), trained=False)
    draw_by_name(made, "towers", 7)
    return made


def test_streams_depend_on_the_name_and_on_nothing_else() -> None:
    one, other = parts(0, "image", "text"), parts(1, "text")
    assert torch.equal(one["text"].weight, other["text"].weight)
    assert torch.equal(one["text"].bias, other["text"].bias)
    assert torch.equal(one.constant, other.constant)
    assert not torch.equal(one["image"].weight, one["text"].weight)
    ones = torch.ones(50)
    draws = [made["noise"].drop("first", ones, 0.5) for made in (one, other)]
    assert torch.equal(*draws)
    assert not torch.equal(draws[0], one["noise"].drop("second", ones, 0.5))


def test_what_has_no_law_keeps_its_values() -> None:
    plain, constant = nn.Linear(4, 3), nn.Parameter(torch.full((2,), 0.5))
    before = plain.weight.detach().clone()
    draw_by_name(plain, "plain", 7)
    draw_by_name(constant, "constant", 7)
    assert torch.equal(plain.weight, before)
    assert constant.tolist() == [0.5, 0.5]


def test_a_start_is_drawn_once_and_may_be_changed_afterwards() -> None:
    """The law goes with the draw, so that the parameters of a model can be sent to another process."""
    parameter = table(3, 2, xavier_normal)
    draw_by_name(parameter, "item_embedding", 7)
    nn.init.zeros_(parameter)
    draw_by_name(parameter, "item_embedding", 7)
    assert not parameter.any()
    assert vars(parameter) == {}
