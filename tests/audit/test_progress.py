"""An audit that was stopped goes on where it was, and believes nothing that has changed since."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmbench import paths
from mmbench.audit import levels, progress, retraining
from mmbench.audit.levels import Asked, audit
from mmbench.audit.root import root_of
from mmbench.audit.standing import Level, Standing
from mmbench.store.files import read_state, state_writer, write_atomic
from mmbench.store.schema import DataPrint
from mmbench.tuning.cell import CellTask
from tests.audit.conftest import SOURCES
from tests.audit.forger import Forger


class Watched:
    """Audits of a sweep: what each computes, and where it is to be stopped.

    Args:
        sweep: folder of the sweep.
        patch: puts the watched steps in place.
    """

    def __init__(self, sweep: Path, patch: pytest.MonkeyPatch) -> None:
        self.sweep, self.stop_after = sweep, 99
        self.done: list[str] = []
        self.said: list[str] = []
        rescore, train = levels.rescore, retraining.train

        def ranked(recorded: Any, *given: Any) -> Any:
            self.begin(f"{recorded.cell.name}")
            return rescore(recorded, *given)

        def trained(task: Any, store: Any, unit: Any, *given: Any) -> Any:
            self.begin(f"{task.cell}/{unit.stage} {unit.number}")
            return train(task, store, unit, *given)

        patch.setattr(levels, "rescore", ranked)
        patch.setattr(retraining, "train", trained)

    def begin(self, name: str) -> None:
        """A step begins, if the auditor has not left by then."""
        if len(self.done) == self.stop_after:
            raise KeyboardInterrupt
        self.done.append(name)

    def audit(self, retrain: int = 0, *, stop_after: int = 99) -> Standing | None:
        """Audit; None where it was stopped after so many steps."""
        self.done, self.said, self.stop_after = [], [], stop_after
        try:
            return audit(self.sweep, Asked(retrain, 5), SOURCES, lambda said: self.said.append(str(said)))
        except KeyboardInterrupt:
            return None


@pytest.fixture
def watched(honest: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Watched]:
    """A sweep of six cells, and an auditor with an empty cache; what was audited is forgotten afterwards."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield Watched(honest, monkeypatch)
    paths.audit_file(honest).unlink(missing_ok=True)


def test_an_audit_goes_on_where_it_was_stopped(watched: Watched, tmp_path: Path) -> None:
    held = watched.audit(2)
    assert held is not None
    assert held.level is Level.RETRAINED
    whole = watched.done
    assert not any("stopped" in line for line in watched.said)
    assert not list(tmp_path.rglob("audits/*"))  # nothing is left of an audit that has ended

    assert watched.audit(2, stop_after=4) is None
    first = watched.done
    assert watched.audit(2, stop_after=len(whole) - 5) is None  # all ranked, one of two trained
    second = watched.done
    again = watched.audit(2)
    assert again is not None
    assert [*first, *second, *watched.done] == whole
    assert replace(again, at="") == replace(held, at="")
    assert any(line.endswith("were ranked by an audit that was stopped, from the same files, data and versions")
               for line in watched.said)  # fmt: skip
    assert (
        "1 of them was run again by an audit that was stopped, from the same files, data and versions" in watched.said
    )
    assert not list(tmp_path.rglob("audits/*"))


def test_a_file_that_changed_since_is_ranked_again(watched: Watched, forger: Forger) -> None:
    """The root covers what a record says of a state, not the state."""
    assert watched.audit(stop_after=2) is None
    ranked = watched.done[1]
    state = next(paths.cell_dir(watched.sweep, *ranked.split("/")).glob(f"trials/*.{paths.STATE}"))
    root = root_of(watched.sweep)
    forger.touch(state)
    before = read_state(state)
    write_atomic(state, state_writer({name: np.asarray(value) * 2 for name, value in before.items()}))
    held = watched.audit()
    assert held is not None
    assert held.root == root
    assert held.level is Level.CONSISTENT
    assert ranked in watched.done
    record = state.with_name(state.name.replace(paths.STATE, paths.RECORD))
    assert {finding.file for finding in held.findings} == {record.relative_to(watched.sweep).as_posix()}


@pytest.mark.parametrize("changed", ["data", "versions"])
def test_nothing_is_believed_of_other_data_or_versions(
    changed: str, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert watched.audit(stop_after=2) is None
    if changed == "data":
        monkeypatch.setattr(progress, "print_of", lambda dataset: DataPrint("", "", "", 1, 1, 1, {}))
    else:
        monkeypatch.setattr(CellTask, "versions_hash", "of later code")
    assert watched.audit() is not None
    assert len(watched.done) == 6


def test_what_is_wrong_is_found_again(watched: Watched, forger: Forger) -> None:
    state = next(watched.sweep.rglob(f"vbpr/fused/trials/*.{paths.STATE}"))
    forger.touch(state)
    write_atomic(state, state_writer({name: np.asarray(value) * 2 for name, value in read_state(state).items()}))
    assert watched.audit(stop_after=5) is None
    found = watched.audit()
    assert found is not None
    assert found.findings
    assert "planted-complementary/vbpr/fused" in watched.done


def test_an_audit_without_a_cache_begins_anew(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert watched.audit(stop_after=2) is None
    held = watched.audit()
    assert held is not None
    assert held.level is Level.RESCORED
    assert len(watched.done) == 6
