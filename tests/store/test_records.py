"""The results store: whole files or none, a ledger that survives kills, and nothing that is unpickled."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmbench import paths
from mmbench.evaluation import metrics
from mmbench.evaluation.metrics import RankedPairs, Ranking
from mmbench.store import records
from mmbench.store.records import CellStore


@pytest.fixture
def store(tmp_path: Path) -> CellStore:
    return CellStore(tmp_path, paths.cell_dir(tmp_path, "data", "vbpr", "text"), "a" * 64)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def record_of(index: int, stage: str = "tune", **values: Any) -> dict[str, Any]:
    return {"kind": "training", "stage": stage, "index": index, "status": "ok", **values}


# Whole files or none


def test_a_record_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "down" / "record.json"
    records.write_json(file, {"kind": "x", "score": 0.1 + 0.2, "name": "é", "none": None})
    assert records.read_json(file) == {
        "schema_version": records.SCHEMA_VERSION,
        "kind": "x",
        "score": 0.30000000000000004,
        "name": "é",
        "none": None,
    }
    assert file.read_text(encoding="utf-8").endswith("}\n")


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_that_breaks_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    file = tmp_path / "record.json"
    records.write_json(file, {"old": 1})
    before = file.read_bytes()

    def half(path: Path) -> None:
        path.write_text('{"new"')
        raise error

    with pytest.raises(type(error)):
        records.write_atomic(file, half)
    assert file.read_bytes() == before
    assert files(tmp_path) == ["record.json"]


def test_a_first_write_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.write_json(tmp_path / "a.json", {"score": float("nan")})
    (tmp_path / "target").mkdir()
    with pytest.raises(OSError, match="target"):
        records.write_text(tmp_path / "target", "text")
    assert files(tmp_path) == []


# What cannot be read is said


@pytest.mark.parametrize("version", [None, 0, 2, "1"])
def test_another_schema_is_refused_by_name(tmp_path: Path, version: object) -> None:
    file = tmp_path / "cell.json"
    file.write_text(json.dumps({"schema_version": version, "key": "k"}))
    with pytest.raises(ValueError, match=rf"cell\.json has schema version {version}; this mmbench reads version 1"):
        records.read_json(file)


@pytest.mark.parametrize("text", ["", '{"schema_version": 1', "[]", "3"])
def test_what_is_no_record_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "choice.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"choice\.json is not a record"):
        records.read_json(file)


# The ledger


def test_ledger_comes_back_in_order(tmp_path: Path) -> None:
    assert list(records.read_ledger(tmp_path)) == []
    for index in range(3):
        records.append_ledger(tmp_path, {"index": index, "name": "line\nbreak \u2028"})
    rows = list(records.read_ledger(tmp_path))
    assert [row["index"] for row in rows] == [0, 1, 2]
    assert {row["name"] for row in rows} == {"line\nbreak \u2028"}


@pytest.mark.parametrize("kept", [1, 10, -2, -1])
def test_a_torn_line_costs_itself_and_nothing_else(tmp_path: Path, kept: int) -> None:
    for index in range(3):
        records.append_ledger(tmp_path, {"index": index})
    ledger = paths.ledger_file(tmp_path)
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(lines[:2]) + lines[2][:kept])
    whole = kept == -1  # the row is there, only the end of its line is missing
    assert [row["index"] for row in records.read_ledger(tmp_path)] == ([0, 1, 2] if whole else [0, 1])
    records.append_ledger(tmp_path, {"index": 3})
    records.append_ledger(tmp_path, {"index": 4})
    assert [row["index"] for row in records.read_ledger(tmp_path)] == ([0, 1, 2, 3, 4] if whole else [0, 1, 3, 4])


def test_a_line_torn_inside_a_letter_is_passed_over(tmp_path: Path) -> None:
    records.append_ledger(tmp_path, {"index": 0})
    with paths.ledger_file(tmp_path).open("ab") as ledger:
        ledger.write('{"name": "é'.encode()[:-1])
    records.append_ledger(tmp_path, {"index": 1})
    assert [row["index"] for row in records.read_ledger(tmp_path)] == [0, 1]


def test_rows_of_another_schema_and_other_lines_are_passed_over(tmp_path: Path) -> None:
    records.append_ledger(tmp_path, {"index": 0})
    with paths.ledger_file(tmp_path).open("a") as ledger:
        ledger.write('{"schema_version": 2, "index": 9}\n[1, 2]\n7\n\n')
    assert [row["index"] for row in records.read_ledger(tmp_path)] == [0]


def test_a_row_that_json_cannot_spell_leaves_the_ledger_alone(tmp_path: Path) -> None:
    records.append_ledger(tmp_path, {"index": 0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.append_ledger(tmp_path, {"index": 1, "score": float("inf")})
    assert [row["index"] for row in records.read_ledger(tmp_path)] == [0]


def _append_many(sweep_dir: Path, writer: int, n: int) -> None:
    for number in range(n):
        records.append_ledger(sweep_dir, {"writer": writer, "number": number, "pad": "x" * (37 * writer + number)})


def test_writers_at_the_same_time_lose_no_line(tmp_path: Path) -> None:
    n_writers, n_rows = 4, 150
    context = multiprocessing.get_context("fork")  # the children only write lines; starting Python anew costs seconds
    writers = [context.Process(target=_append_many, args=(tmp_path, w, n_rows)) for w in range(n_writers)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * n_writers
    rows = [(row["writer"], row["number"]) for row in records.read_ledger(tmp_path)]
    assert len(paths.ledger_file(tmp_path).read_text().splitlines()) == n_writers * n_rows
    for writer in range(n_writers):
        assert [number for w, number in rows if w == writer] == list(range(n_rows))


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
    records.write_state(tmp_path / "state.npz", state)
    found = records.read_state(tmp_path / "state.npz")
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
    records.write_state(tmp_path / "state.npz", state)
    found = records.read_state(tmp_path / "state.npz")
    assert found["fits"].dtype == np.float16
    assert found["large"].dtype == np.float32
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value)


def test_the_same_parameters_and_tables_give_the_same_bytes(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user": np.arange(50, dtype=np.int32), "ndcg@20": np.linspace(0, 1, 50)})
    for number in range(2):
        records.write_state(tmp_path / f"{number}.npz", {"b": np.ones(3), "a": np.zeros((2, 2))})
        records.write_parquet(tmp_path / f"{number}.parquet", frame)
        os.utime(tmp_path / f"{number}.npz", (number, number))
    for ending in ("npz", "parquet"):
        assert (tmp_path / f"0.{ending}").read_bytes() == (tmp_path / f"1.{ending}").read_bytes()


def test_pickled_parameters_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "state.npz", weight=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        records.read_state(tmp_path / "state.npz")


def test_a_ranking_comes_back_with_its_metrics(store: CellStore) -> None:
    users = np.array([2, 5, 9])
    pairs = RankedPairs(np.array([0, 0, 1, 2, 2, 2]), np.array([1, 30, 4, 2, 19, 21]), 3)
    top = np.array([[4, 1], [0, -1], [7, 3]], np.int32)
    ranking = Ranking(users, pairs, np.array([4, 8, 0, 1, 3, 6]), top)
    store.write_ranking("final", 1, ranking)
    found = store.read_ranking("final", 1)
    np.testing.assert_array_equal(found.users, pairs.users)
    np.testing.assert_array_equal(found.ranks, pairs.ranks)
    assert metrics.mean_metrics(found) == metrics.mean_metrics(pairs)
    table = pd.read_parquet(store.training_file("final", 1, "test.parquet"))
    assert {name: str(kind) for name, kind in table.dtypes.items()} == {
        "user": "int32",
        "item": "int32",
        "rank": "int32",
    }
    assert table["user"].tolist() == [2, 2, 5, 9, 9, 9]
    assert table["item"].tolist() == [4, 8, 0, 1, 3, 6]
    lists = pd.read_parquet(store.training_file("final", 1, "lists.parquet"))
    assert lists["user"].tolist() == [2, 5, 9]
    assert [row.tolist() for row in lists["items"]] == top.tolist()


def test_a_ranking_without_lists_writes_none(store: CellStore) -> None:
    pairs = RankedPairs(np.array([0]), np.array([1]), 1)
    store.write_ranking("tune", 0, Ranking(np.array([3]), pairs, np.array([4]), None))
    assert files(store.folder) == ["trials/000.test.parquet"]


# The folder of a cell


def test_what_counts_as_finished_is_what_the_ledger_lists_and_the_folder_holds(store: CellStore) -> None:
    for index in range(3):
        row = {"stage": "tune", "index": index}
        store.write_training(record_of(index, score=0.5), row, None, None)
    store.write_training(record_of(1, "final", score=0.25), {"stage": "final", "index": 1}, None, None)
    other = CellStore(store.sweep_dir, store.folder, "b" * 64)
    records.append_ledger(store.sweep_dir, {"cell_key": other.key, "stage": "tune", "index": 7})
    assert list(store.finished_trainings()) == [("tune", 0), ("tune", 1), ("tune", 2), ("final", 1)]
    assert store.finished_trainings()["final", 1]["score"] == 0.25
    assert all(record["cell_key"] == store.key for record in store.finished_trainings().values())
    store.training_file("tune", 1, "json").unlink()
    assert ("tune", 1) not in store.finished_trainings()
    records.write_json(store.training_file("tune", 8, "json"), record_of(8))  # written, but a kill came before its row
    assert ("tune", 8) not in store.finished_trainings()
    assert other.finished_trainings() == {}


def test_a_training_writes_its_arrays_first_and_its_row_last(store: CellStore, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace = os.replace

    def seen(source: Path, target: Path) -> None:
        order.append(Path(target).name)
        assert list(records.read_ledger(store.sweep_dir)) == []
        replace(source, target)

    monkeypatch.setattr(os, "replace", seen)
    valid = pd.DataFrame({"user": [1], "ndcg@20": [0.5]})
    store.write_training(record_of(0), {"stage": "tune", "index": 0}, valid, {"weight": np.ones(2)})
    assert order == ["000.valid.parquet", "000.state.npz", "000.json"]
    assert len(list(records.read_ledger(store.sweep_dir))) == 1


def test_a_folder_is_claimed_once(store: CellStore) -> None:
    assert not store.is_current()
    assert store.open({"model": "vbpr"}) is None
    assert store.is_current()
    before = (store.folder / "cell.json").read_bytes()
    assert store.open({"model": "changed later"}) is None
    assert (store.folder / "cell.json").read_bytes() == before


def test_stale_records_are_moved_aside_and_never_clobbered(store: CellStore) -> None:
    stores = {key: CellStore(store.sweep_dir, store.folder, key * 64) for key in "ab"}
    moved = []
    for number, key in enumerate("abab"):
        moved.append(stores[key].open({}))
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
    store.open({})
    store.fail("ValueError: why", "Traceback ...")
    failure = records.read_json(store.folder / "failure.json")
    assert (failure["key"], failure["reason"], failure["traceback"]) == (store.key, "ValueError: why", "Traceback ...")
    store.open({})
    assert not (store.folder / "failure.json").exists()


def test_versions_name_what_decides_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = records.versions()
    assert {"mmbench", "torch", "numpy", "optuna"} <= found.keys()
    assert all(found[name] for name in found if name != "commit")
    # Installed inside somebody else's folder there is no commit to name.
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "lib" / "mmbench")
    assert records.versions()["commit"] is None


def test_what_killed_writers_left_is_cleared(store: CellStore) -> None:
    store.open({})
    left = [store.folder / ".cell.json.77.tmp", store.training_file("tune", 0, "state.npz").with_name(".000.npz.7.tmp")]
    for file in left:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"half")
    store.clear_leftovers()
    assert files(store.folder) == ["cell.json"]
