"""Files of somebody else are read within bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmbench.store import ledger
from mmbench.store.bounds import MOST_DEPTH, check_plain, read_json


def test_a_configuration_that_nests_deeper_than_the_bound_is_refused() -> None:
    section: Any = 1
    for _ in range(MOST_DEPTH):
        section = {"a": section}
    check_plain("cell.json", section)
    with pytest.raises(ValueError, match=r"^cell\.json: b\.a is nested more than 16 deep$"):
        check_plain("cell.json", {"b": section})


def test_what_is_no_file_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "cell.json").mkdir()
    (tmp_path / "ledger.jsonl").mkdir()
    no_file = r"(cell\.json|ledger\.jsonl) is no file but a folder, a pipe, a socket or a device$"
    with pytest.raises(ValueError, match=no_file):
        read_json(tmp_path / "cell.json")
    with pytest.raises(ValueError, match=no_file):
        list(ledger.read(tmp_path))
    with pytest.raises(ValueError, match=no_file):
        ledger.unreadable(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "choice.json")
