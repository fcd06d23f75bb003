"""Every key of the configuration stands in the reference, and nothing else does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from mmbench import paths
from tests.docs.options import PAGE, composed, page

CONF = paths.config_dir()
#: Groups whose files set keys of a configuration.
GROUPS = ("dataset", "model", "modality", "budget", "tracking", "experiment")


def leaves(node: Any, key: str = "") -> Iterator[str]:
    """Dotted paths of all values."""
    if isinstance(node, Mapping) and node:
        for name, value in node.items():
            yield from leaves(value, f"{key}.{name}" if key else str(name))
    else:
        yield key


def configured() -> Iterator[tuple[str, set[str]]]:
    """Keys of every choice of every group, and of the launchers."""
    for group in GROUPS:
        for file in sorted((CONF / group).glob("*.yaml")):
            yield f"{group}={file.stem}", {key for key in leaves(composed(group, file.stem)) if key != "search"}
    for file in sorted((CONF / "hydra" / "launcher").glob("*.yaml")):
        keys = leaves({"hydra": {"launcher": yaml.safe_load(file.read_text(encoding="utf-8"))}})
        yield f"hydra/launcher={file.stem}", {key for key in keys if not key.endswith("._target_")}


@pytest.fixture(scope="module")
def rows() -> dict[str, list[str]]:
    """Cells of every row by key."""
    found: dict[str, list[str]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if row := re.match(r"\| `([\w.]+)` \| (.+) \| (.*) \| (.+) \|$", line):
            found[row[1]] = [row[2], row[3], row[4]]
    return found


@pytest.mark.thorough
def test_the_page_is_what_its_command_writes() -> None:
    """``python -m tests.docs.options`` writes it."""
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.thorough
def test_every_key_is_in_it_and_nothing_else(rows: Mapping[str, list[str]]) -> None:
    used: set[str] = set()
    for words, keys in configured():
        for key in keys:
            above = [key.rsplit(".", n)[0] for n in range(key.count(".") + 1)]
            row = next((one for one in above if one in rows), None)
            assert row is not None, f"{key} of {words} is not in docs/options.md"
            used.add(row)
    assert used == {*rows}
    assert len(rows) > 200


def test_every_row_says_what_it_means(rows: Mapping[str, list[str]]) -> None:
    for key, (kind, _, meaning) in rows.items():
        assert kind not in ("Any", "object", "NoneType"), key
        assert len(meaning) > 3, key
        assert ":data:" not in meaning, key
        assert "None" not in meaning, key
