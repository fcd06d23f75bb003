"""Examples in docstrings run and show what they say."""

from __future__ import annotations

import doctest
import importlib
import re

import pytest

from mmbench import paths

MODULES = [
    ".".join(path.relative_to(paths.PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(paths.PACKAGE.rglob("*.py"))
    if re.search(r"^ *>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_show_what_they_say(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted > 0
    assert results.failed == 0
