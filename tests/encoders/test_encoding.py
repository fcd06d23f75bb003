"""A content is encoded once in the life of a cache, whatever kills the process."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mmbench import faults
from mmbench.encoders import Encoder, Matrix
from mmbench.encoders.cache import VectorCache
from mmbench.encoders.encoding import Content, encode_contents, text_content
from mmbench.encoders.image_files import Problem
from mmbench.messages import refused

TEXTS = [f"text {number:02d}" for number in range(20)]


class Counting:
    """An encoder that says what it was asked to encode."""

    def __init__(self, log: Path | None = None) -> None:
        self.asked: list[str] = []
        self.log = log

    def __call__(self, texts: Sequence[str]) -> Matrix:
        self.asked += texts
        if self.log is not None:
            with self.log.open("a") as file:
                file.writelines(f"{text}\n" for text in texts)
        return np.array([[len(text), int(text.split()[1]) + 1, 1] for text in texts], np.float32)


def encoder(encode: Counting) -> Encoder[str]:
    return Encoder("toy", {"version": 1}, 3, encode)


def run(texts: Sequence[str], folder: Path, encode: Counting, batch: int = 4):
    contents = [text_content(text) for text in texts]
    return encode_contents(encoder(encode), contents, VectorCache(folder, "toy", {"version": 1}, 3), batch=batch)


def test_vectors_stand_in_the_order_of_the_items(tmp_path: Path) -> None:
    encode = Counting()
    found = run(["text 3", "", "text 1", "text 3"], tmp_path, encode)
    assert found.values.tolist() == [[6, 4, 1], [0, 0, 0], [6, 2, 1], [6, 4, 1]]
    assert found.problems == {1: Problem.EMPTY}
    assert sorted(encode.asked) == ["text 1", "text 3"]


def test_a_second_time_nothing_is_encoded(tmp_path: Path) -> None:
    first = run(TEXTS, tmp_path, Counting())
    again = Counting()
    second = run([*TEXTS[::-1], "text 99"], tmp_path, again)
    assert again.asked == ["text 99"]
    assert (first.from_cache, second.from_cache) == (0, 20)
    assert second.values[:20].tolist() == first.values[::-1].tolist()


def test_another_identity_is_another_cache(tmp_path: Path) -> None:
    paths = {VectorCache(tmp_path, "toy", {"version": v}, d).path for v, d in ((1, 3), (2, 3), (1, 4))}
    assert len(paths) == 3


def process(folder: Path, log: Path, fault: str) -> tuple[int | None, int]:
    """Exit code of a process that encodes, and how many of its vectors came from the cache."""
    context = multiprocessing.get_context("fork")  # starting Python anew costs seconds
    from_cache = context.Value("i", -1)

    def encode() -> None:
        os.environ[faults.VARIABLE] = fault
        from_cache.value = run(TEXTS, folder, Counting(log)).from_cache

    started = context.Process(target=encode)
    started.start()
    started.join()
    return started.exitcode, from_cache.value


def test_a_killed_encoding_goes_on_where_it_was(tmp_path: Path) -> None:
    log = tmp_path / "asked.txt"
    for _ in range(2):  # each start gets one batch further, then dies as if by kill -9
        assert process(tmp_path, log, faults.ENCODED) == (-signal.SIGKILL, -1)
    asked = log.read_text().splitlines()
    assert (len(asked), len(set(asked))) == (8, 8)
    assert process(tmp_path, log, "") == (0, 8)
    asked = log.read_text().splitlines()
    assert sorted(asked) == TEXTS  # every text once, over three processes


def test_a_torn_record_is_cut_off(tmp_path: Path) -> None:
    run(TEXTS[:4], tmp_path, Counting())
    (file,) = tmp_path.glob("*.vectors")
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    encode = Counting()
    found = run(TEXTS, tmp_path, encode)
    assert (found.from_cache, len(encode.asked)) == (3, 17)
    assert found.values.tolist() == run(TEXTS, tmp_path / "fresh", Counting()).values.tolist()
    assert len(file.read_bytes()) == 20 * 48


def test_a_record_whose_vector_did_not_reach_the_disk_is_encoded_again(tmp_path: Path) -> None:
    run(TEXTS[:4], tmp_path, Counting())
    (file,) = tmp_path.glob("*.vectors")
    whole = file.read_bytes()
    file.write_bytes(whole[: 3 * 48 + 32] + bytes(16))
    encode = Counting()
    found = run(TEXTS[:4], tmp_path, encode)
    assert (found.from_cache, encode.asked) == (3, TEXTS[3:4])
    assert found.values.tolist() == run(TEXTS[:4], tmp_path / "fresh", Counting()).values.tolist()


def test_two_processes_do_not_write_one_cache(tmp_path: Path) -> None:
    with (
        VectorCache(tmp_path, "toy", {"version": 1}, 3),
        pytest.raises(ValueError, match="is in use by another process that encodes with the same encoder"),
    ):
        run(TEXTS, tmp_path, Counting())


def test_a_cache_on_a_file_system_without_locks_is_in_nobodys_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    cache = VectorCache(tmp_path, "toy", {"version": 1}, 3)
    with pytest.raises(OSError) as raised, cache:
        pass
    assert (
        refused.told(raised.value)
        == f"{cache.path}: its file system grants no file locks; take a folder on another one"
    )


def test_what_cannot_be_loaded_is_told_for_every_item_that_has_it(tmp_path: Path) -> None:
    broken = Content(b"b" * 32, lambda: Problem.BROKEN)
    fine = text_content("text 1")
    told: list[tuple[int, int]] = []
    found = encode_contents(
        encoder(Counting()),
        [broken, fine, Problem.MISSING, broken],
        VectorCache(tmp_path, "toy", {}, 3),
        batch=1,
        progress=lambda done, total: told.append((done, total)),
    )
    assert found.problems == {0: Problem.BROKEN, 2: Problem.MISSING, 3: Problem.BROKEN}
    assert found.values.any(axis=1).tolist() == [False, True, False, False]
    assert told == [(0, 2), (1, 2), (2, 2)]


def test_contents_are_prepared_one_at_a_time(tmp_path: Path) -> None:
    made = Encoder("toy", {}, 1, lambda lengths: np.array(lengths, np.float32)[:, None], prepare=len)
    found = encode_contents(made, [text_content("abc")], VectorCache(tmp_path, "toy", {}, 1), batch=8)
    assert found.values.tolist() == [[3]]


def test_numbers_that_are_not_finite_are_refused_and_not_kept(tmp_path: Path) -> None:
    bad = Encoder("toy", {}, 1, lambda texts: np.full((len(texts), 1), np.nan, np.float32))
    cache = VectorCache(tmp_path, "toy", {}, 1)
    with pytest.raises(ValueError, match="encoder toy gave numbers that are not finite"):
        encode_contents(bad, [text_content("a")], cache, batch=8)
    assert cache.path.stat().st_size == 0
