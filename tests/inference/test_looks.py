"""The level of words falls with the number of looks."""

from __future__ import annotations

import pytest

from mmbench.inference.looks import level_of_look


def test_looks_share_the_error_of_one() -> None:
    assert [level_of_look(k) for k in (1, 2, 4)] == [0.95, 0.975, 0.9875]
    assert level_of_look(2, alpha=0.1) == 0.95
    assert [(1 - level_of_look(k)) * k for k in range(1, 20)] == pytest.approx([0.05] * 19)


@pytest.mark.parametrize("number", [0, -1])
def test_there_is_no_look_before_the_first(number: int) -> None:
    with pytest.raises(ValueError, match=f"looks are numbered from 1, not {number}"):
        level_of_look(number)
