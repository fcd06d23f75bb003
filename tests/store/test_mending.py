"""What is said and kept of damaged files; that they are made again is shown in ``tests/e2e/test_kills.py``."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench import paths
from mmbench.audit.root import root_of
from mmbench.messages import Message
from mmbench.store import bounds, files, ledger, mending, records
from mmbench.store.bounds import Damaged
from mmbench.store.leases import FileLeases
from mmbench.store.mending import differs_from_before, mend, mend_after, set_aside_choice, set_aside_seal
from mmbench.store.records import CellStore
from mmbench.store.schema import Stage, Training, Unit
from tests.records import cell, choice, final, manifest, planned, row, seal, trial
from tests.tiny import digests
from tests.torn import MODES, tear

FIRST, FINAL = Unit(Stage.TRIAL, 0), Unit(Stage.FINAL, 1)

#: Hashes of the arrays that a record stands for.
WITH_ARRAYS = {"validation_hash": "validation", "state_hash": "state"}


def write(store: CellStore, training: Training) -> None:
    """A training with its arrays and its ranks, as a worker leaves them."""
    table = pd.DataFrame({"user": np.arange(3, dtype=np.int32)})
    store.write_training(training, row(training), table, {"weight": np.ones((3, 2))})
    for file in store.tested_files(training):
        files.write_parquet(file, table)


@pytest.fixture
def store(tmp_path: Path) -> CellStore:
    """A sealed cell of a sweep with a manifest."""
    records.write_twice(paths.manifest_file(tmp_path), manifest())
    made = CellStore(tmp_path, paths.cell_dir(tmp_path, "data", "vbpr", "text"), "a" * 64)
    made.open(cell())
    chosen = choice(trial(**WITH_ARRAYS))
    write(made, trial(**WITH_ARRAYS))
    made.write_choice(chosen)
    write(made, final(configuration=chosen.configuration, **WITH_ARRAYS))
    made.write_seal(seal(chosen))
    return made


def test_a_whole_sweep_is_left_as_it_is(store: CellStore) -> None:
    before = digests(store.sweep_dir)
    assert list(mend(store.sweep_dir)) == []
    after = digests(store.sweep_dir)
    locks = {str(paths.lock_file(Path(), name)) for name in ("mend", "manifest")}
    assert {name: after[name] for name in after.keys() - locks} == before
    assert list(mend(store.sweep_dir / "not yet there")) == []


def test_commands_that_wait_for_one_that_mends_do_not_look_again(
    store: CellStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []
    look, lock = mending._mend_cell, mending.locked

    def noting(sweep_dir: Path, folder: Path, known: list[Path]) -> Iterator[Message]:
        looked.append(folder)
        yield from look(sweep_dir, folder, known)

    def waiting(file: Path) -> AbstractContextManager[None]:
        monkeypatch.setattr(mending, "locked", lock)
        assert list(mend(store.sweep_dir)) == []
        return lock(file)

    monkeypatch.setattr(mending, "_mend_cell", noting)
    monkeypatch.setattr(mending, "locked", waiting)
    assert list(mend(store.sweep_dir)) == []
    assert looked == [store.folder]
    assert list(mend(store.sweep_dir)) == []
    assert looked == [store.folder] * 2


@pytest.mark.parametrize("mode", MODES)
def test_edges_tell_damage(mode: str, store: CellStore) -> None:
    for file in [file for file in store.sweep_dir.rglob("*") if file.is_file() and file.suffix != ".jsonl"]:
        assert files.is_whole(file)
        tear(file, mode, random.Random(0))
        assert not files.is_whole(file), file


def test_a_training_that_lost_an_array_is_open_again_and_so_is_its_cell(store: CellStore) -> None:
    state = store.training_file(FIRST, paths.STATE)
    state.write_bytes(b"")
    lines = list(mend(store.sweep_dir))
    aside = paths.damaged_dir(store.sweep_dir) / store.folder.relative_to(store.sweep_dir)
    assert lines == [
        f"{paths.seal_file(store.folder)} counts as never written, because 000.state.npz is lost; moved to "
        f"{paths.seal_file(aside)}",
        f"{state} is empty, cut or overwritten and counts as never written; moved to {aside / 'trials/000.state.npz'}",
        f"{store.training_file(FIRST, paths.RECORD)} counts as never written, because 000.state.npz is lost; moved to "
        f"{aside / 'trials/000.json'}",
    ]
    assert list(store.finished_trainings()) == [FINAL]
    assert store.seal() is None
    assert store.last_seal() is not None
    assert list(mend(store.sweep_dir)) == []


def test_a_file_that_is_gone_opens_the_cell_too(store: CellStore) -> None:
    store.training_file(FINAL, paths.LISTS).unlink()
    (line,) = mend(store.sweep_dir)
    assert "sealed.json counts as never written, because seed1.lists.parquet is lost" in line
    assert set(store.finished_trainings()) == {FIRST, FINAL}


def test_a_link_is_no_damaged_file(store: CellStore) -> None:
    """Among the damaged files it would lead out as it does here, and a report would refuse it there."""
    elsewhere = store.sweep_dir.parent / "elsewhere"
    elsewhere.write_text("no record")
    link = store.training_file(FIRST, paths.RECORD).with_name("notes.json")
    link.symlink_to(elsewhere)
    assert list(mend(store.sweep_dir)) == []
    assert link.is_symlink()


#: What other programs leave beside a record: macOS on a drive of another system, a synchroniser, a person.
FOREIGN = {"._000.json": b"\0\5\x16\7", "000 (1).json": None, "000 (conflicted copy).json": b"", "notes.json": b"[]"}


def test_what_other_programs_leave_beside_records_is_nobodys_training(store: CellStore) -> None:
    records.write_twice(paths.manifest_file(store.sweep_dir), manifest(cells=[planned()]))
    before = digests(store.sweep_dir), root_of(store.sweep_dir)
    for stage, name in ((Stage.TRIAL, "000"), (Stage.FINAL, "seed1")):
        record = paths.training_records(store.folder, stage)[0]
        for foreign, content in FOREIGN.items():
            beside = record.with_name(foreign.replace("000", name))
            beside.write_bytes(record.read_bytes() if content is None else content)
            with pytest.raises(Damaged):
                list(mend_after(store.sweep_dir, Damaged(beside)))
        assert len(records.read_trainings(store.folder, stage)) == 1
    assert list(mend(store.sweep_dir)) == []
    after = digests(store.sweep_dir)
    assert {name: after[name] for name in before[0]} == before[0]
    assert root_of(store.sweep_dir) == before[1]
    assert store.seal() is not None


def test_every_damaged_file_of_one_name_is_kept(store: CellStore) -> None:
    file = store.training_file(FIRST, paths.RANKS)
    for content in (b"first", b"second"):
        file.write_bytes(content)
        list(mend(store.sweep_dir))
    aside = paths.damaged_dir(store.sweep_dir) / file.relative_to(store.sweep_dir)
    assert (aside.read_bytes(), aside.with_name(f"{aside.name}.2").read_bytes()) == (b"first", b"second")


def test_what_nothing_could_compute_again_comes_from_its_copy(store: CellStore) -> None:
    kept = [paths.manifest_file(store.sweep_dir), paths.seal_file(store.folder), paths.choice_file(store.folder)]
    before = [file.read_bytes() for file in kept]
    for file in kept:
        file.write_bytes(b"\0" * 9)
    lines = list(mend(store.sweep_dir))
    assert [file.read_bytes() for file in kept] == before
    assert all("was written again from its copy, and what it held is kept as" in line for line in lines)
    assert len(lines) == len(kept)


def test_a_manifest_that_is_missing_comes_from_its_copy_and_a_seal_does_not(store: CellStore) -> None:
    """A seal is moved on purpose, and its copy tells that somebody has looked; a manifest never is."""
    gone = paths.manifest_file(store.sweep_dir)
    before = gone.read_bytes()
    gone.unlink()
    paths.seal_file(store.folder).unlink()
    assert list(mend(store.sweep_dir)) == [f"{gone} is missing; it was written again from its copy"]
    assert gone.read_bytes() == before
    assert not paths.seal_file(store.folder).exists()
    paths.copy_of(gone).write_bytes(b"")
    gone.unlink()
    assert list(mend(store.sweep_dir)) == []


def test_a_copy_that_is_damaged_is_written_again_from_its_file(store: CellStore) -> None:
    paths.seal_copy(store.folder).write_bytes(b"")
    assert len(list(mend(store.sweep_dir))) == 1
    assert paths.seal_copy(store.folder).read_bytes() == paths.seal_file(store.folder).read_bytes()


def test_lines_of_the_ledger_that_cannot_be_read_are_counted_and_stay(store: CellStore) -> None:
    file = paths.ledger_file(store.sweep_dir)
    for torn, said in ((b"\0\0\0", "1 line cannot be read"), (b'\n{"name": "\xe9"}\n', "2 lines cannot be read")):
        with file.open("ab") as lines:
            lines.write(torn)
        (line,) = mend(store.sweep_dir)
        assert said in line
    assert len(list(ledger.read(store.sweep_dir))) == 2
    assert file.read_bytes().count(b"\0") == 3


def test_damage_inside_a_file_is_told_by_whoever_reads_it(store: CellStore) -> None:
    for file, read in (
        (store.training_file(FIRST, paths.VALIDATION), bounds.read_table),
        (store.training_file(FIRST, paths.STATE), files.read_state),
    ):
        content = bytearray(file.read_bytes())
        content[60:80] = bytes(20)
        file.write_bytes(content)
        assert files.is_whole(file)
        with pytest.raises(
            Damaged, match=r"is missing, empty, cut or overwritten; the command that wrote it sets it"
        ) as told:
            read(file)
        lines = list(mend_after(store.sweep_dir, told.value))
        assert any(str(file) in line for line in lines)
        assert not file.exists()


def test_damage_that_nothing_can_mend_is_told(store: CellStore) -> None:
    elsewhere = Damaged(store.sweep_dir.parent / "other.parquet")
    with pytest.raises(Damaged, match=r"other\.parquet"):
        list(mend_after(store.sweep_dir, elsewhere))


def test_a_folder_without_its_record_is_told_from_another_cell(store: CellStore) -> None:
    """The record of the cell was damaged, and now other data ask for the folder."""
    paths.cell_file(store.folder).unlink()
    other = CellStore(store.sweep_dir, store.folder, "b" * 64)
    assert other.open(cell(key=other.key)) == f"{store.folder.name}.stale-aaaaaaaa"
    assert other.choice() is None


def test_a_repeated_training_that_differs_is_told(store: CellStore) -> None:
    other = trial(0, 0.25)
    assert differs_from_before(store, other) is None, "nothing was damaged"
    store.training_file(FIRST, paths.STATE).write_bytes(b"")
    list(mend(store.sweep_dir))
    assert differs_from_before(store, trial()) is None
    assert "tune 0 was repeated and came to 0.25, before it was 0.5; another machine" in str(
        differs_from_before(store, other)
    )


def test_the_ledger_is_not_read_again_for_a_training_that_it_does_not_list(
    store: CellStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anything may have been damaged, a lease for example, and every training of a sweep comes by here."""
    paths.damaged_dir(store.sweep_dir).mkdir()
    shared = replace(store, ledger=ledger.Reader(store.sweep_dir))
    monkeypatch.setattr(ledger, "read", lambda sweep_dir: pytest.fail("the whole ledger was read"))
    assert differs_from_before(shared, trial(7, 0.25)) is None


def test_a_choice_that_the_trials_do_not_give_again_is_kept_with_its_seal(store: CellStore) -> None:
    chosen = store.choice()
    assert chosen is not None
    said = set_aside_choice(store, chosen)
    assert "its trials do not give the choice of tune 0 again since some of them were repeated" in said
    assert (store.choice(), store.seal()) == (None, None)
    aside = paths.damaged_dir(store.sweep_dir) / store.folder.relative_to(store.sweep_dir)
    assert {file.name for file in aside.iterdir()} == {"choice.json", "sealed.json"}


def test_a_seal_that_comes_out_differently_is_kept(store: CellStore) -> None:
    before = paths.seal_file(store.folder).read_bytes()
    assert "what was repeated does not give the seal of before again" in set_aside_seal(store)
    aside = paths.damaged_dir(store.sweep_dir) / paths.seal_file(store.folder).relative_to(store.sweep_dir)
    assert aside.read_bytes() == before


def test_a_lease_that_names_nobody_is_set_aside(store: CellStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mending, "WRITING", 0.0)
    leases = FileLeases(paths.lease_dir(store.sweep_dir), timeout=1e9)
    assert leases.claim("held")
    for name, content in (("empty", b""), ("zeros", bytes(40))):
        (leases.folder / f"{name}.lease").write_bytes(content)
    assert not leases.claim("empty")
    assert [line.split(" ")[0].rpartition("/")[2] for line in mend(store.sweep_dir)] == ["empty.lease", "zeros.lease"]
    assert [leases.claim(name) for name in ("empty", "zeros")] == [True, True]
    assert not FileLeases(leases.folder, timeout=1e9).claim("held")
