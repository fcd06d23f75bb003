"""The results store: whole files or none, a ledger that survives kills, and nothing that is unpickled."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from mmbench import faults, paths
from mmbench.evaluation import metrics
from mmbench.evaluation.metrics import RankedPairs, Ranking
from mmbench.messages.refused import told
from mmbench.store import files, ledger, records
from mmbench.store.leases import LeaseLost
from mmbench.store.records import CellStore, read_looks
from mmbench.store.schema import Cell, Effort, FinalRun, LedgerRow, Stage, Unit, training_rule
from tests.records import KEY, cell, choice, final, row, seal, trial

FIRST, FINAL = Unit(Stage.TRIAL, 0), Unit(Stage.FINAL, 1)


@pytest.fixture
def store(tmp_path: Path) -> CellStore:
    return CellStore(tmp_path, paths.cell_dir(tmp_path, "data", "vbpr", "text"), "a" * 64)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# Whole files or none


def by_numpy(path: Path) -> None:
    with path.open("wb") as opened:
        np.save(opened, np.zeros(100_000))


@pytest.mark.parametrize(
    ("write", "number"),
    [
        (by_numpy, errno.ENOSPC),  # it says how many bytes it wrote, and no more
        (files.table_writer(pd.DataFrame({"a": np.random.default_rng(0).random(100_000)})), errno.EFBIG),
        (lambda path: path.write_bytes(bytes(100_000)), errno.EFBIG),
    ],
    ids=["numpy", "arrow", "python"],
)
def test_a_file_that_finds_no_room_is_named(write: Callable[[Path], object], number: int, tmp_path: Path) -> None:
    file = tmp_path / "vectors"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError) as raised:
            files.write_atomic(file, write)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (raised.value.errno, raised.value.filename) == (number, str(file))
    assert names(tmp_path) == []


def test_a_temporary_name_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(source), None, str(target))

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError) as raised:
        files.write_text(tmp_path / "a.csv", "a")
    assert told(raised.value) == f"{tmp_path / 'a.csv'}: the disk can only be read"


def test_a_document_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "down" / "document.json"
    document = {"kind": "x", "score": 0.1 + 0.2, "name": "é", "none": None}
    files.write_document(file, document)
    assert files.read_document(file) == {"schema_version": files.DOCUMENT_VERSION, **document}
    assert file.read_text(encoding="utf-8").endswith("}\n")


@pytest.mark.parametrize("text", ["", '{"schema_version": 1', "[]", '{"schema_version": 2}', "{}"])
def test_what_is_no_document_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "decision.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"decision\.json (is not a record|is a document of version)"):
        files.read_document(file)


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_that_breaks_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    file = tmp_path / "record.json"
    files.write_json(file, {"old": 1})
    before = file.read_bytes()

    def half(path: Path) -> None:
        path.write_text('{"new"')
        raise error

    with pytest.raises(type(error)):
        files.write_atomic(file, half)
    assert file.read_bytes() == before
    assert names(tmp_path) == ["record.json"]


def test_files_are_written_where_no_thread_can_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under a limit on memory or on processes, as batch systems set it."""
    brought: list[Path] = []
    fsync = os.fsync

    def counted(handle: int) -> None:
        brought.append(Path(os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(os, "fsync", counted)
    monkeypatch.setattr(threading.Thread, "start", refused)
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
    files.sync(folders)
    assert brought == folders


def test_whoever_lost_the_right_to_write_gives_no_file_its_name(tmp_path: Path) -> None:
    """It is asked for before each file is written, and once more before each gets its name."""
    contents = {tmp_path / name: files.json_writer({"of": name}) for name in ("a.json", "b.json")}

    def lost_after(calls: int) -> Iterator[None]:
        yield from [None] * calls
        raise LeaseLost("lost")

    for calls, named in ((0, []), (1, []), (2, []), (3, ["a.json"])):
        asked = lost_after(calls)
        with pytest.raises(LeaseLost):
            files.write_all(contents, confirm=lambda asked=asked: next(asked))
        assert names(tmp_path) == named
    files.write_all(contents, confirm=lambda: None)
    assert names(tmp_path) == ["a.json", "b.json"]


def test_a_first_write_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"score": float("nan")})
    (tmp_path / "target").mkdir()
    with pytest.raises(OSError, match="target"):
        files.write_text(tmp_path / "target", "text")
    assert names(tmp_path) == []


# The ledger


def indices(sweep_dir: Path) -> list[int]:
    return [one.index for one in ledger.read(sweep_dir)]


def append(sweep_dir: Path, *numbers: int) -> None:
    for number in numbers:
        ledger.append(sweep_dir, row(trial(number)))


def test_ledger_comes_back_in_order(tmp_path: Path) -> None:
    assert list(ledger.read(tmp_path)) == []
    rows = [row(trial(number), model="line\nbreak \u2028") for number in range(3)]
    for one in rows:
        ledger.append(tmp_path, one)
    assert list(ledger.read(tmp_path)) == rows


@pytest.mark.parametrize("kept", [1, 10, -2, -1])
def test_a_torn_line_costs_itself_and_nothing_else(tmp_path: Path, kept: int) -> None:
    append(tmp_path, 0, 1, 2)
    file = paths.ledger_file(tmp_path)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:2]) + lines[2][:kept])
    whole = [2] if kept == -1 else []  # the row is there, only the end of its line is missing
    assert indices(tmp_path) == [0, 1, *whole]
    append(tmp_path, 3, 4)
    assert indices(tmp_path) == [0, 1, *whole, 3, 4]


def test_a_line_torn_inside_a_letter_is_passed_over(tmp_path: Path) -> None:
    append(tmp_path, 0)
    with paths.ledger_file(tmp_path).open("ab") as lines:
        lines.write('{"name": "é'.encode()[:-1])
    append(tmp_path, 1)
    assert indices(tmp_path) == [0, 1]


def test_rows_of_another_schema_and_other_lines_are_passed_over(tmp_path: Path) -> None:
    append(tmp_path, 0)
    other = {**msgspec.to_builtins(row(trial(9))), "schema_version": 1}
    with paths.ledger_file(tmp_path).open("a") as lines:
        lines.write(f"{json.dumps(other)}\n[1, 2]\n7\n\n")
    assert indices(tmp_path) == [0]


def test_a_row_that_json_cannot_spell_leaves_the_ledger_alone(tmp_path: Path) -> None:
    append(tmp_path, 0)
    with pytest.raises(ValueError, match="not JSON compliant"):
        ledger.append(tmp_path, row(trial(1, float("inf"))))
    assert indices(tmp_path) == [0]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr("fcntl.lockf", refuse)
    plan = paths.lock_file(tmp_path, "plan")
    with pytest.raises(OSError) as of_plan, files.locked(plan):
        pass
    with pytest.raises(OSError) as of_ledger:
        append(tmp_path, 0)
    for path, error in ((plan, of_plan.value), (paths.ledger_file(tmp_path), of_ledger.value)):
        said = f"{path}: its file system grants no file locks; take a folder on another one"
        assert told(error) == said


def _stopped_with_the_lock(sweep_dir: Path, locked: Event) -> None:
    def reach(point: str) -> None:
        locked.set()
        signal.pause()

    faults.reach = reach
    append(sweep_dir, 1)


def test_a_writer_that_is_stopped_while_it_holds_the_ledger_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(tmp_path, 0)
    context = multiprocessing.get_context("fork")
    locked = context.Event()
    stopped = context.Process(target=_stopped_with_the_lock, args=(tmp_path, locked))
    stopped.start()
    try:
        assert locked.wait(60)
        slept: list[float] = []
        monkeypatch.setattr(time, "monotonic", lambda: sum(slept))
        monkeypatch.setattr(time, "sleep", lambda seconds: slept.append(20.0))
        append(tmp_path, 2)
    finally:
        stopped.kill()
        stopped.join()
    assert len(slept) == 4  # it was patient before
    assert indices(tmp_path) == [0, 2]


def test_a_row_is_seen_also_where_the_file_system_remembers_an_earlier_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS does for seconds; who opens a file is told its size."""
    append(tmp_path, 0)
    reader, remembered = ledger.Reader(tmp_path), paths.ledger_file(tmp_path).stat()
    before = reader.position()
    assert [one.unit.number for one in ledger.Reader(tmp_path).new()] == [0]
    append(tmp_path, 1)
    monkeypatch.setattr(Path, "stat", lambda path, **_: remembered)
    assert reader.position() != before
    assert [unit.number for unit, _ in reader.trainings(row(trial(1)).cell_key)] == [0, 1]


def _append_many(sweep_dir: Path, writer: int, n: int) -> None:
    for number in range(n):
        ledger.append(sweep_dir, row(trial(number), model=str(writer), budget="x" * (37 * writer + number)))


def test_writers_at_the_same_time_lose_no_line(tmp_path: Path) -> None:
    n_writers, n_rows = 4, 150
    context = multiprocessing.get_context("fork")  # the children only write lines; starting Python anew costs seconds
    writers = [context.Process(target=_append_many, args=(tmp_path, w, n_rows)) for w in range(n_writers)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * n_writers
    rows = list(ledger.read(tmp_path))
    assert len(paths.ledger_file(tmp_path).read_text().splitlines()) == len(rows) == n_writers * n_rows
    for writer in range(n_writers):
        assert [one.index for one in rows if one.model == str(writer)] == list(range(n_rows))


# Arrays


def test_parameters_are_kept_in_half_precision(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    state = {
        "single": rng.standard_normal((5, 3)).astype(np.float32),
        "double": rng.standard_normal(4),
        "counts": np.arange(5),
        "mask": np.array([True, False]),
        "scalar": np.float32(0.25),
        "empty": np.empty((0, 3), np.float32),
    }
    files.state_writer(files.as_stored(state))(tmp_path / "state.npz")
    found = files.read_state(tmp_path / "state.npz")
    assert list(found) == list(state)
    for name in ("single", "double", "scalar", "empty"):
        assert found[name].dtype == np.float16
        np.testing.assert_array_equal(found[name], np.asarray(state[name], np.float16))
        np.testing.assert_allclose(found[name], state[name], rtol=2**-10)
    for name in ("counts", "mask"):
        assert found[name].dtype == state[name].dtype
        np.testing.assert_array_equal(found[name], state[name])


def test_parameters_that_half_precision_cannot_hold_stay_whole(tmp_path: Path) -> None:
    largest = float(np.finfo(np.float16).max)
    state = {"fits": np.array([largest], np.float32), "large": np.array([1.0, -2.0 * largest], np.float32)}
    files.state_writer(files.as_stored(state))(tmp_path / "state.npz")
    found = files.read_state(tmp_path / "state.npz")
    assert found["fits"].dtype == np.float16
    assert found["large"].dtype == np.float32
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value)


def test_the_same_parameters_and_tables_give_the_same_bytes(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user": np.arange(50, dtype=np.int32), "ndcg@20": np.linspace(0, 1, 50)})
    for number in range(2):
        files.state_writer({"b": np.ones(3), "a": np.zeros((2, 2))})(tmp_path / f"{number}.npz")
        files.write_parquet(tmp_path / f"{number}.parquet", frame)
        os.utime(tmp_path / f"{number}.npz", (number, number))
    for ending in ("npz", "parquet"):
        assert (tmp_path / f"0.{ending}").read_bytes() == (tmp_path / f"1.{ending}").read_bytes()


def test_pickled_parameters_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "state.npz", weight=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        files.read_state(tmp_path / "state.npz")


def test_a_ranking_comes_back_with_its_metrics(store: CellStore) -> None:
    users = np.array([2, 5, 9])
    pairs = RankedPairs(np.array([0, 0, 1, 2, 2, 2]), np.array([1, 30, 4, 2, 19, 21]), 3)
    top = np.array([[4, 1], [0, -1], [7, 3]], np.int32)
    ranking = Ranking(users, pairs, np.array([4, 8, 0, 1, 3, 6]), top)
    store.write_ranking(FINAL, ranking)
    found = records.read_ranking(store.training_file(FINAL, paths.RANKS))
    np.testing.assert_array_equal(found.users, pairs.users)
    np.testing.assert_array_equal(found.ranks, pairs.ranks)
    assert metrics.mean_metrics(found) == metrics.mean_metrics(pairs)
    table = pd.read_parquet(store.training_file(FINAL, paths.RANKS))
    assert {name: str(kind) for name, kind in table.dtypes.items()} == {
        "user": "int32",
        "item": "int32",
        "rank": "int32",
    }
    assert table["user"].tolist() == [2, 2, 5, 9, 9, 9]
    assert table["item"].tolist() == [4, 8, 0, 1, 3, 6]
    lists = pd.read_parquet(store.training_file(FINAL, paths.LISTS))
    assert lists["user"].tolist() == [2, 5, 9]
    assert [items.tolist() for items in lists["items"]] == top.tolist()


def test_a_ranking_without_lists_writes_none(store: CellStore) -> None:
    pairs = RankedPairs(np.array([0]), np.array([1]), 1)
    store.write_ranking(FIRST, Ranking(np.array([3]), pairs, np.array([4]), None))
    assert [store.folder / name for name in names(store.folder)] == [store.training_file(FIRST, paths.RANKS)]


# The folder of a cell


def test_what_counts_as_finished_is_what_the_ledger_lists_and_the_folder_holds(store: CellStore) -> None:
    trainings = [*(trial(index) for index in range(3)), final(1, 0.25)]
    for training in trainings:
        store.write_training(training, row(training))
    other = CellStore(store.sweep_dir, store.folder, "b" * 64)
    ledger.append(store.sweep_dir, row(trial(7, cell_key=other.key)))
    assert store.finished_trainings() == {training.unit: training for training in trainings}
    store.training_file(trainings[1].unit, paths.RECORD).unlink()
    assert trainings[1].unit not in store.finished_trainings()
    unlisted = trial(8)  # written, but a kill came before its row
    records.write(store.training_file(unlisted.unit, paths.RECORD), unlisted)
    assert unlisted.unit not in store.finished_trainings()
    assert other.finished_trainings() == {}


def test_a_training_writes_its_arrays_first_and_its_row_last(store: CellStore, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace = os.replace

    def seen(source: Path, target: Path) -> None:
        order.append(Path(target).name)
        assert indices(store.sweep_dir) == []
        replace(source, target)

    monkeypatch.setattr(os, "replace", seen)
    valid = pd.DataFrame({"user": [1], "ndcg@20": [0.5]})
    store.write_training(trial(), row(), valid, {"weight": np.ones(2)})
    written = (paths.VALIDATION, paths.STATE, paths.RECORD)
    assert order == [store.training_file(FIRST, ending).name for ending in written]
    assert indices(store.sweep_dir) == [0]


def test_a_folder_is_claimed_once(store: CellStore) -> None:
    assert not store.is_current()
    assert store.open(cell()) is None
    assert store.is_current()
    before = paths.cell_file(store.folder).read_bytes()
    assert store.open(cell(data=["changed later"])) is None
    assert paths.cell_file(store.folder).read_bytes() == before


def test_stale_records_are_moved_aside_and_never_clobbered(store: CellStore) -> None:
    stores = {key: CellStore(store.sweep_dir, store.folder, key * 64) for key in "ab"}
    moved = []
    for number, key in enumerate("abab"):
        moved.append(stores[key].open(cell(key=key * 64)))
        assert stores[key].is_current()
        assert not stores["a" if key == "b" else "b"].is_current()
        assert not stores[key].finished_trainings()
        (store.folder / "mark").write_text(f"{key}{number}")
    assert moved == [None, "text.stale-aaaaaaaa", "text.stale-bbbbbbbb", "text.stale-aaaaaaaa-2"]
    marks = {path.parent.name: path.read_text() for path in store.folder.parent.glob("*/mark")}
    assert marks == {
        "text.stale-aaaaaaaa": "a0",
        "text.stale-bbbbbbbb": "b1",
        "text.stale-aaaaaaaa-2": "a2",
        "text": "b3",
    }


def test_a_failure_is_left_and_forgotten_by_the_next_start(store: CellStore) -> None:
    store.open(cell())
    store.fail("ValueError: why", "Traceback ...")
    failure = store.failure()
    assert failure is not None
    assert (failure.key, failure.reason, failure.traceback) == (store.key, "ValueError: why", "Traceback ...")
    store.open(cell())
    assert store.failure() is None


# Raised effort


def test_an_effort_is_raised_and_never_lowered(store: CellStore) -> None:
    store.open(cell(effort=Effort(trials=8, proposals=2, seeds=3), versions={"torch": "1"}))
    for trials, seeds, then in ((8, 3, (8, 3)), (16, 3, (16, 3)), (4, 5, (16, 5)), (8, 3, (16, 5))):
        raised = cell(effort=Effort(trials=trials, proposals=2, seeds=seeds), config={"budget": {"name": "b"}})
        store.open(raised)
        assert store.effort() == Effort(trials=then[0], proposals=2, seeds=then[1])
    kept = records.read(paths.cell_file(store.folder), Cell)
    assert kept.versions == {"torch": "1"}  # of the first trainings
    assert kept.config == {"budget": {"name": "b"}}
    assert kept.effort.trainings == 16 + 2 + 5


def test_an_effort_is_met_by_a_choice_among_all_trials_and_a_seal_over_all_final_runs() -> None:
    effort = Effort(trials=3, proposals=1, seeds=2)
    chosen = choice(n_trials=4)
    assert effort.is_met_by(chosen, seal(chosen, finals=[1, 2]))
    assert not effort.is_met_by(chosen, seal(chosen, finals=[1]))
    fewer = choice(n_trials=3)
    assert not effort.is_met_by(fewer, seal(fewer, finals=[1, 2]))


def test_what_says_how_often_is_no_part_of_the_training_rule() -> None:
    budget = {"name": "small", "trials": 8, "seeds": 3, "max_steps": 9, "tpe": 0, "rungs": []}
    assert training_rule(budget) == {"max_steps": 9, "tpe": 0, "rungs": []}


@pytest.fixture
def looked(store: CellStore) -> CellStore:
    """A cell whose test split was opened three times: twice for slot 0, then for slot 1 with another configuration."""
    store.open(cell(effort=Effort(trials=3, proposals=1, seeds=2)))
    first, second = trial(0), trial(1, 0.6)
    for training in (first, second):
        store.write_training(training, row(training))
    for chosen, n_trials, finals in ((first, 2, [1]), (first, 2, [1, 2]), (second, 4, [1, 2])):
        made = choice(chosen, n_trials=n_trials)
        store.keep_look()
        store.set_finals_aside(made.configuration)
        store.write_choice(made)
        for number in finals:
            ended = final(number, configuration=made.configuration)
            if ended.unit not in store.finished_trainings():
                store.write_training(ended, row(ended))
                paths.final_file(store.folder, number, paths.RANKS).write_bytes(f"{n_trials}".encode())
        store.write_seal(seal(made, finals=finals))
    return store


def test_looks_are_kept_in_order_with_what_they_were_made_of(looked: CellStore) -> None:
    looks = read_looks(looked.folder)
    assert [(look.number, look.trials, look.seeds, look.choice.slot) for look in looks] == [
        (1, 1, 1, 0),
        (2, 1, 2, 0),
        (3, 3, 2, 1),
    ]
    aside = paths.aside_dir(looked.folder, trial(0).configuration_hash)
    assert [look.folder for look in looks] == [aside, aside, looked.folder]
    for look in looks:
        for number in look.seal.finals:
            found = records.read(paths.final_file(look.folder, number, paths.RECORD), FinalRun)
            assert found.configuration == look.choice.configuration
            assert paths.final_file(look.folder, number, paths.RANKS).read_bytes() == (
                b"4" if look.number == 3 else b"2"
            )
    paths.seal_file(looked.folder).unlink()  # raised again and not finished
    assert read_looks(looked.folder) == looks[:2]


def test_without_a_seal_there_is_no_look_to_keep(looked: CellStore) -> None:
    paths.seal_file(looked.folder).unlink()
    paths.seal_copy(looked.folder).unlink()
    before = names(looked.folder)
    looked.keep_look()
    assert names(looked.folder) == before
    looked.write_choice(choice(trial(1, 0.6), n_trials=4))
    assert len(read_looks(looked.folder)) == 2


def test_a_look_is_kept_though_its_seal_was_lost(looked: CellStore) -> None:
    expected = looked.seal()
    paths.seal_file(looked.folder).unlink()
    looked.keep_look()
    assert read_looks(looked.folder)[-1].seal == expected


def test_a_final_run_counts_only_with_a_row_of_its_own_configuration(looked: CellStore) -> None:
    """The rows of the earlier configuration stay in the ledger; a kill before the new row must not go unnoticed."""
    assert looked.finished_trainings()[FINAL].configuration == {"model.size": 1}
    lines = paths.ledger_file(looked.sweep_dir).read_bytes().splitlines(keepends=True)
    paths.ledger_file(looked.sweep_dir).write_bytes(b"".join(lines[:-2]))
    assert paths.final_file(looked.folder, 1, paths.RECORD).exists()
    assert set(looked.finished_trainings()) == {FIRST, Unit(Stage.TRIAL, 1)}


def test_a_file_of_one_final_run_is_not_taken_for_one_of_another(tmp_path: Path) -> None:
    for number in (1, 10):
        for ending in (paths.RECORD, paths.STATE, paths.shuffled_ranks("image")):
            file = paths.final_file(tmp_path, number, ending)
            file.parent.mkdir(exist_ok=True)
            file.touch()
    found = paths.training_files(tmp_path, Stage.FINAL, 1)
    assert [file.name for file in found] == ["seed1.shuffled_image.test.parquet", "seed1.state.npz", "seed1.json"]


def test_a_reader_reads_every_line_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []
    original = ledger._rows

    def noting(lines: Iterable[bytes]) -> Iterator[LedgerRow]:
        lines = list(lines)
        decoded.extend(filter(None, lines))
        return original(lines)

    monkeypatch.setattr(ledger, "_rows", noting)
    reader = ledger.Reader(tmp_path)
    assert reader.new() == []
    rows = [row(trial(index)) for index in range(4)]
    for one in rows[:2]:
        ledger.append(tmp_path, one)
    assert reader.new() == rows[:2]
    assert reader.new() == []
    with paths.ledger_file(tmp_path).open("a") as file:
        file.write('{"schema_ver')  # somebody is about to write, or was killed
    assert reader.new() == []
    for one in rows[2:]:
        ledger.append(tmp_path, one)
    assert [unit for unit, _ in reader.trainings(KEY)] == [one.unit for one in rows]
    assert reader.trainings("b" * 64) == []
    assert len(decoded) == len(rows) + 1
    # Another file in its place: a ledger that was deleted and begun again.
    paths.ledger_file(tmp_path).unlink()
    assert reader.new() == []
    ledger.append(tmp_path, rows[3])
    assert reader.trainings(KEY) == [(rows[3].unit, rows[3].configuration_hash)]


def test_versions_name_what_decides_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = records.versions()
    assert {"mmbench", "torch", "numpy", "optuna"} <= found.keys()
    assert all(found[name] for name in found if name != "commit")
    # Installed inside somebody else's folder there is no commit to name.
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "lib" / "mmbench")
    assert records.versions()["commit"] is None


def test_what_killed_writers_left_is_cleared(store: CellStore) -> None:
    store.open(cell())
    half = store.training_file(FIRST, paths.STATE)
    left = [store.folder / ".cell.json.77.tmp", half.with_name(f".{half.name}.7.tmp")]
    for file in left:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"half")
    store.clear_leftovers()
    assert names(store.folder) == [paths.cell_file(store.folder).name]
