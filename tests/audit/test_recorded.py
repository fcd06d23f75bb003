"""Where an audit reads the data of a record."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmbench.audit.findings import findings
from mmbench.audit.recorded import Sources
from mmbench.messages import Message
from mmbench.scheduling.trust import NOTHING
from tests.data.readers.files import write


def data_in(folder: Path, *names: str) -> Path:
    """Folders that hold interactions."""
    for name in names:
        (folder / name).mkdir(parents=True)
        write(folder / name / "interactions.parquet", "")
    return folder


def test_the_folder_of_the_data_sets_name_comes_before_that_of_its_path(tmp_path: Path) -> None:
    """Or a record could have the smaller data set read under the name of the larger one."""
    section = {"name": "ml1m", "path": "/data/ml100k"}
    both = Sources(NOTHING, data_in(tmp_path / "both", "ml1m", "ml100k"))
    assert both.dataset(section)["path"] == str(tmp_path / "both/ml1m")
    other = Sources(NOTHING, data_in(tmp_path / "other", "ml100k"))
    assert other.dataset(section)["path"] == str(tmp_path / "other/ml100k")
    itself = Sources(NOTHING, tmp_path / "both/ml1m")
    assert itself.dataset(section)["path"] == str(tmp_path / "both/ml1m")
    with pytest.raises(ValueError, match="holds neither a folder ml100k nor interactions"):
        Sources(NOTHING, tmp_path / "nothing").dataset(section)


def test_a_model_that_ends_the_process_is_a_finding(tmp_path: Path) -> None:
    """The audit that trains it again ended with exit code 0, as if nothing was wrong."""

    def said() -> Iterator[tuple[Path, str, Message]]:
        yield sys.exit()

    (found,) = findings(tmp_path, None, said())
    assert found.reason == "it cannot be read: RuntimeError: sys.exit(None) was called"
