"""Files of somebody else are read within bounds."""

from __future__ import annotations

from typing import Any

import pytest

from mmbench.store.bounds import MOST_DEPTH, check_plain


def test_a_configuration_that_nests_deeper_than_the_bound_is_refused() -> None:
    section: Any = 1
    for _ in range(MOST_DEPTH):
        section = {"a": section}
    check_plain("cell.json", section)
    with pytest.raises(ValueError, match=r"^cell\.json: b\.a is nested more than 16 deep$"):
        check_plain("cell.json", {"b": section})
