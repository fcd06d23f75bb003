from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mmbench.nn.initialisation import Law, set_table, table, xavier_normal, xavier_uniform


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
