"""Whatever bytes a file holds, a reader gives a source or one line that says why not."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmbench.data.describe import coverage, statistics
from mmbench.data.readers.archives import unpacked
from mmbench.data.readers.feature_files import read_item_feature
from mmbench.data.readers.formats import READERS, Options, read_source
from mmbench.data.readers.journal import Journal
from mmbench.data.sources import write_folder

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


#: A good file of each kind by name, which the fuzzer then damages.
GOOD: dict[str, bytes] = {
    "a.csv": 'user,item,rating,timestamp,数量\nu,i,5,1700000000,1\n"v,",j,,1700000001,2\n'.encode(),
    "a.tsv": b"user\titem\tsplit\nu\ti\ttrain\nv\tj\ttest\n",
    "a.jsonl": b'{"user": "u", "item": 1, "rating": 2.5}\n{"user": "v", "item": "j"}\n',
    "r.json": b'{"reviewerID": "A1", "asin": "B1", "overall": 4.0, "unixReviewTime": 1390176000, "helpful": [0, 0]}\n',
    "n.jsonl": b'{"user_id": "A1", "parent_asin": "B1", "rating": 4.0, "timestamp": 1390176000000}\n',
    "ratings_D.csv": b"A1HK2FQW6KXQB2,B000000001,5.0,1373932800\n",
    "u.data": b"196\t2\t3\t881250949\n186\t1\t4\t891717742\n",
    "m.inter": b"userID\titemID\trating\ttimestamp\tx_label\n0\t1\t5.0\t30\t0\n1\t0\t4.5\t10\t1\n",
    "rb.inter": b"user_id:token\titem_id:token\trating:float\n1\t2\t3\n",
    "train.json": b'{"0": [1, 2], "1": [0]}',
    "train.txt": b"0 1 2\n1 0\n",
    "reviews.tsv": b"u\ti\t5\t1390176000\nv\tj\t4\t1390176001\n",
    "train.npy": _saved(np.array([[0, 1], [1, 0]])),
    "Toys.train.csv": b"user_id,parent_asin,rating,timestamp,history\nA,B,5.0,1602133857705,x\n",
    "Toys.csv": b"AFKZENTNBQ7A7V7UXW5JJI6UGRYQ,B00YQ6X8EO,5.0,1602133857705\n",
    "M_pairs.csv": b"user,item,timestamp\n1,2,1583378629552\n",
    "M_pairs.tsv": b"1\t2 3\n2\t1\n",
}


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """A file with pieces cut out, doubled, overwritten or put in, sometimes packed and cut off."""
    content = bytearray(good)
    pieces = st.binary(max_size=12) | st.sampled_from(
        [b"\n", b"\t", b",", b'"', b"'", b"\0", b"\r", b"\xff", b"-1", b"NaN", b"1e999", b"9" * 40, b"{", b"]", b"null",
         "ア".encode("cp932"), "０".encode(), b"\xef\xbb\xbf", b"\\ud800", b"::", b"\x80\x04"]
    )  # fmt: skip
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        stop = min(len(content), start + draw(st.integers(0, 8)))
        content[start:stop] = draw(pieces)
    if draw(st.booleans()) and draw(st.booleans()):
        packed = gzip.compress(bytes(content))
        return packed[: draw(st.integers(2, len(packed)))]
    return bytes(content)


def imported(path: Path, out: Path, name: str | None = None) -> None:
    """Import as the command does: the only error is a ``ValueError`` or ``OSError`` of one line."""
    with contextlib.suppress(ValueError, OSError):
        _, source = read_source(path, name, Options(), Journal())
        told: dict[str, Any] = {"statistics": statistics(source), "coverage": coverage(source)}
        write_folder(source, out, {}, told)
        assert len(source.log) > 0
        assert set(source.log["item_id"]) <= set(source.items["item_id"])
        assert source.items["item_id"].is_unique
        assert (source.log[["user_id", "item_id"]] != "").all(axis=None)
        json.loads((out / "dataset.json").read_text(encoding="utf-8"))


@pytest.mark.thorough
@pytest.mark.parametrize("name", GOOD)
@FUZZ
@given(data=st.data())
def test_damaged_files(tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    source = folder / "source"
    source.mkdir()
    (source / name).write_bytes(data.draw(damaged(GOOD[name])))
    imported(source, folder / "out")
    imported(source / name, folder / "file")


@pytest.mark.parametrize("name", GOOD)
def test_good_files_are_good(tmp_path: Path, name: str) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / name).write_bytes(GOOD[name])
    imported(tmp_path / "source", tmp_path / "out")
    assert (tmp_path / "out" / "dataset.json").is_file()


@FUZZ
@given(content=st.binary(max_size=200), name=st.sampled_from([*READERS, None]), file=st.sampled_from(list(GOOD)))
def test_any_bytes_as_any_format(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str | None, file: str
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / file).write_bytes(content)
    imported(folder / file, folder / "a", name)
    imported(folder, folder / "b", name)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
META = st.dictionaries(
    st.sampled_from(["asin", "title", "brand", "categories", "description", "imUrl", "imageURL", "images"]), VALUES
)


@pytest.mark.thorough
@FUZZ
@given(rows=st.lists(META, max_size=4), literal=st.booleans())
def test_any_metadata(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], literal: bool) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "reviews_D.json").write_bytes(GOOD["r.json"])
    listed = [{**row, "asin": "B1"} for row in rows[:1]] + rows[1:]
    text = "".join((repr(row) if literal else json.dumps(row)) + "\n" for row in listed)
    (folder / "meta_D.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    imported(folder, folder / "out")


@FUZZ
@given(content=st.binary(max_size=300), name=st.sampled_from(["f.b", "f.npy"]))
def test_any_feature_file(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "f.ids.txt").write_text("a\n")
    (folder / name).write_bytes(np.lib.format.magic(1, 0) + content if name == "f.npy" else content)
    with pytest.raises((ValueError, OSError)):
        read_item_feature(folder / name, ["a"], Journal())


@FUZZ
@given(content=st.binary(max_size=300), magic=st.booleans())
def test_any_archive(tmp_path_factory: pytest.TempPathFactory, content: bytes, magic: bool) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "a.zip"
    path.write_bytes((b"PK\x05\x06" if magic else b"") + content)
    with pytest.raises(ValueError, match=r"is no readable .zip"), unpacked(path):
        pass
