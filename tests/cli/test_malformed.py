"""Files as they should not be: each ends in one clear line and leaves nothing behind, or is counted and told."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import re
import resource
import signal
import socket
import stat
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

import mmbench.cli

Make = Callable[[Path], list[str]]

LOG = "user,item,rating,timestamp\n" + "".join(f"u{k % 4},i{k % 5},{k % 5 + 1},{1700000000 + k}\n" for k in range(20))
REVIEW: dict[str, Any] = {
    "reviewerID": "A1HK2FQW6KXQB2",
    "asin": "B000000001",
    "overall": 5.0,
    "unixReviewTime": 1373932800,
    "helpful": [0, 0],
}
NEW_REVIEW = {"user_id": "AF1", "parent_asin": "B000000001", "rating": 5.0, "timestamp": 1600000000000}
PAIRS = "user,item,timestamp\n1,2,1600000000000\n"
INTER = "userID\titemID\tx_label\n0\t0\t0\n0\t1\t1\n1\t1\t2\n"


class Case(NamedTuple):
    """A file, what is said of it and by which command; a warning is told in a summary, an error ends the command."""

    name: str
    make: Make
    message: str
    warning: bool = False
    command: str = "prepare"


CASES: list[Case] = []


def case(message: str, *, warning: bool = False, command: str = "prepare") -> Callable[[Make], Make]:
    """Add a function that writes the file and returns the command's words."""

    def add(make: Make) -> Make:
        CASES.append(Case(make.__name__, make, message, warning, command))
        return make

    return add


def table(
    name: str, content: str | bytes, message: str, *words: str, warning: bool = False, file: str = "a.csv"
) -> None:
    """Add a case of one file."""

    def make(folder: Path) -> list[str]:
        path = folder / file
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return [str(path), *words]

    CASES.append(Case(name, make, message, warning))


def files(name: str, contents: dict[str, str | bytes], message: str, *words: str, warning: bool = False) -> None:
    """Add a case of a folder of files."""

    def make(folder: Path) -> list[str]:
        for inner, content in contents.items():
            path = folder / "source" / inner
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return [str(folder / "source"), *words]

    CASES.append(Case(name, make, message, warning))


def lines(*rows: Any) -> str:
    """JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def matrix(array: Any) -> bytes:
    """The bytes of a ``.npy`` file."""
    import io

    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def zipped(folder: Path, *entries: tuple[str | zipfile.ZipInfo, str]) -> list[str]:
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return [str(path)]


# Tables: the file as a whole.
table("empty file", "", "is empty; its first line must name the columns")
table("blank lines only", "\n\n\n", "is empty; its first line must name the columns")
table("header only", "user,item\n", "has a header but no rows")
table("no header", LOG.partition("\n")[2], "no column looks like the user; name it with --user; columns are u0, i0")
table("wrong separator", LOG.replace(",", "|"), "no column looks like the user; .* columns are user\\|item\\|rating")
table("separator of spaces", LOG.replace(",", " "), "no column looks like the user")
table("unknown suffix", LOG, "is of no known format; name it with --format, one of mmrec", file="a.doc")
table("a picture", b"\xff\xd8\xff\xe0\0\x10JFIF", "is of no known format", file="a.jpg")
table("binary as csv", bytes(range(256)) * 9, "is not utf-8 text")
table("latin-1", "user,item\nJosé,café\n".encode("latin-1"), "is not utf-8 text .*name its encoding")
table("mixed encodings", "user,item\n山田,靴\n".encode() + "鈴木,帽子\n".encode("cp932"), "is not utf-8 text")
table("wrong encoding told", "user,item\n山田,靴\n".encode("cp932"), "is not utf-8 text", "--encoding", "utf-8")
table("unknown encoding told", LOG, "is not klingon text", "--encoding", "klingon")
table("cut-off cp932", "user,item\n山田,カフェ\n".encode("cp932") + b"\x83", "is not cp932 text")
table("truncated utf-16", LOG.encode("utf-16")[:-1], "is not utf-16 text")
table("truncated gzip", gzip.compress(LOG.encode() * 50)[:-20], "cut off or damaged", file="a.csv.gz")
table("damaged gzip", b"\x1f\x8b" + b"x" * 60, "cut off or damaged", file="a.csv.gz")
table("gzip without its name", gzip.compress(LOG.encode())[:40], "cut off or damaged")
table("pickle by name", pickle.dumps({"a": 1}), "is a pickle, which can run code .* save interactions as", file="a.pkl")
table("pickle disguised as csv", pickle.dumps(["user", "item"]), "is a pickle")
table("pickle disguised as json", pickle.dumps([1]), "is a pickle", file="a.jsonl")
table("torch file", b"PK\x03\x04", "is a pickle", file="a.pt")
table(
    "unclosed quote", LOG + 'u9,"i9,1,1700000000\nu8,i8,1,1700000000\n', "line 22: a quote is opened and never closed"
)
table("ragged short", LOG + "u9,i9\n", "line 22: 2 cells where the header has 4: 'u9,i9'")
table("ragged long", LOG + "u9,i9,1,2,3\n", "line 22: 5 cells where the header has 4")
table("unquoted comma in a title", "user,item,title\nu,i,a, b\n", "line 2: 4 cells where the header has 3")
table("repeated column", "user,item,user\nu,i,v\n", "column 'user' occurs more than once")
table("endless cell", "user,item\nu," + "x" * 300_000 + "\nu\n", "1 cells where the header has 2")

# Tables: cells.
table("ids of NaN", "user,item\nNaN,i1\nu,NULL\n,\n", "every row lacks user\\+item")
table("some ids of NaN", LOG + "nan,i1,1,1700000000\n", "1 row without user\\+item is left out .*line 22", warning=True)
table("nul in an id", "user,item\nu\0,i\n", "an id must not hold control characters")
table("code rounded by a spreadsheet", "user,JAN\nu,4.90123E+12\n", "a spreadsheet has rounded this code")
table("code rounded by a German one", "user;JAN\nu;4,90123E+12\n", "a spreadsheet has rounded this code")
table("rating of words", LOG + "u9,i9,good,1700000000\n", "line 22: rating is 'good'; it must be a number")
table("rating of infinity", LOG + "u9,i9,inf,1700000000\n", "line 22: rating is 'inf'; it must be a number")
table("time missing", LOG + "u9,i9,1,\n", "line 22: timestamp is ''; every row needs a time")
table("american dates", "user,item,date\nu,i,01/05/2024\n", "line 2: date is '01/05/2024'; write times as seconds")
table("a day that is none", "user,item,date\nu,i,2024/2/30\n", "line 2: date is '2024/2/30'; write times")
table("mixed units of time", LOG + "u9,i9,1,1700000000000\n", "most rows are in seconds, and units must not be mixed")
table("huge time", "user,item,timestamp\nu,i,1e300\n", "timestamp is '1e300'; most rows are in nanoseconds")
table("word that is no part", "user,item,split\nu,i,dev\n", "holds 'dev'; allowed are train")
table("returns only", "user,item,quantity\nu,i,-1\n", "no row has a quantity above zero")
table("some returns", "user,item,数量\nu,i,-1\nu,j,２\n", "1 row with a 数量 of zero or less", warning=True)
table("byte order mark", LOG.encode("utf-8-sig"), "4 users, 5 items, 20 rows", warning=True)
table("full-width ids", "user,item\nu,００１\nv,001\n", "1 id in full-width characters is read", warning=True)
table("column that is not there", LOG, "column 'who' \\(--user\\) is not there; columns are", "--map", "user=who")
table("one column twice", LOG, "one column cannot be two things", "--map", "user=item,item=item")
table("role that is none", LOG, "write role=column,role=column", "--map", "buyer=user")
table("text without items", LOG, "--text and --item-column describe the table --items", "--text", "title")
table("returns without quantity", LOG, "--cancel-returns needs the quantity of each row", "--cancel-returns")
table("zeros without items", LOG, "--restore-zeros compares the codes of the log with", "--restore-zeros")
table("format that is none", LOG, "--format movielense is unknown; formats are mmrec", "--format", "movielense")
table("format of a folder", LOG, "the format lattice is a folder of files", "--format", "lattice")
table("lines instead of a header", "0 1 2\n", "no column looks like the user", file="train.txt")

# Other files of tables.
table("no parquet", "PAR1", "is not a readable parquet file", file="a.parquet")
table(
    "json array", "[" + lines(NEW_REVIEW).strip() + "]", "is one JSON array; write one object per line", file="a.json"
)
table("json that is none", lines(NEW_REVIEW) + "{'user_id': 1\n", "line 2: not JSON", file="a.jsonl")
table("json of numbers", lines(NEW_REVIEW, 7), "line 2: must be an object with fields: 7", file="a.jsonl")
table(
    "json in other encoding",
    lines(NEW_REVIEW).encode() + b'{"a": "\x83"}\n',
    "line 2: a byte that is not utf-8",
    file="a.jsonl",
)
table("json with NUL", lines(NEW_REVIEW) + "\0\n", "line 2: a NUL character", file="a.jsonl")
table("json nested too deep", lines(NEW_REVIEW) + '{"a":' + "[" * 100_000 + "\n", "line 2: not JSON", file="a.jsonl")
table(
    "json truncated gzip",
    gzip.compress(lines(*[NEW_REVIEW] * 500).encode())[:-9],
    "cut off or damaged after line",
    file="a.jsonl.gz",
)
table("json without the needed", lines({"a": 1}), "no column looks like the user", file="a.jsonl")
table("empty json", "", "no column looks like the user", file="a.jsonl")
table("one line of 17 MB", "{" + " " * (17 << 20), "line 1: longer than 16 MB", file="a.jsonl")
table("no workbook", "not a zip", "is not a readable workbook|need openpyxl", file="a.xlsx")

# Reviews of Amazon.
table("review without a time", lines({**REVIEW, "unixReviewTime": None}), "unixReviewTime is None", file="r.json")
table("review of the far future", lines({**REVIEW, "unixReviewTime": 10**30}), "before the year 2100", file="r.json")
table("review of negative time", lines({**REVIEW, "unixReviewTime": -5}), "unixReviewTime is -5", file="r.json")
table("review with a rating of NaN", lines({**REVIEW, "overall": float("nan")}), "overall is nan", file="r.json")
table("review with a rating of words", lines({**REVIEW, "overall": "5"}), "overall is '5'; it must be a", file="r.json")
table("reviews without ids", lines({**REVIEW, "asin": float("nan")}), "every row lacks reviewerID", file="r.json")
table(
    "some reviews without ids",
    lines(REVIEW, {**REVIEW, "reviewerID": ""}),
    "1 review without user or item is left out",
    file="r.json",
    warning=True,
)
table(
    "milliseconds in an old release",
    lines({**REVIEW, "unixReviewTime": 1373932800000}),
    "before the year 2100",
    file="r.json",
)
CODE = "{'asin': __import__('os').system('touch hacked')}\n"
files(
    "metadata with code",
    {"reviews_D.json": lines(REVIEW), "meta_D.json": "{'asin': 'B000000001'}\n" + CODE},
    "meta_D.json, line 2: neither JSON nor a plain Python value; code is never run",
)
files(
    "metadata with arithmetic",
    {"reviews_D.json": lines(REVIEW), "meta_D.json": "{'asin': 9**9**9}\n"},
    "line 1: neither JSON nor a plain Python value",
)
files(
    "metadata nested too deep",
    {"reviews_D.json": lines(REVIEW), "meta_D.json": "{'a': " + "(" * 5000 + "\n"},
    "line 1: neither JSON nor",
)
files(
    "metadata of another shop",
    {"reviews_D.json": lines(REVIEW), "meta_D.json": "{'asin': 'X'}\n"},
    "no item of the log occurs in it \\('B000000001' against 'X'\\)",
)
files(
    "metadata twice",
    {"reviews_D.json": lines(REVIEW), "meta_D.json": "{'asin': 'B000000001', 'title': 'a'}\n" * 2},
    "1 repeated item, the first row counts",
    warning=True,
)
files(
    "image features cut off",
    {"reviews_D.json": lines(REVIEW), "image_features_D.b": b"B000000001" + bytes(99)},
    "image_features_D.b is cut off after 0 records",
)
files(
    "image features of NaN",
    {"reviews_D.json": lines(REVIEW), "image_features_D.b": b"B000000001" + struct.pack("<f", float("nan")) * 4096},
    "NaN or infinite values for the item 'B000000001'",
)
files(
    "two files of reviews",
    {"a.jsonl": lines(NEW_REVIEW), "b.jsonl": lines(NEW_REVIEW)},
    "must hold one file .*; found: a.jsonl, b.jsonl",
)

# Folders of toolboxes.
files("empty folder", {"readme.md": "x"}, "is of no known format and holds no single table \\(found: -\\)")
files("two tables", {"a.csv": LOG, "b.csv": LOG}, "holds no single table \\(found: a.csv, b.csv\\)")
files(
    "pickled matrices", {"trnMat.pkl": pickle.dumps(1), "image_feat.npy": matrix(np.eye(2))}, "trnMat.pkl is a pickle"
)
files("mmrec negative id", {"a.inter": INTER + "-1\t0\t0\n"}, "line 5: userID is '-1'; ids must be whole numbers")
files("mmrec huge id", {"a.inter": INTER + f"0\t{10**15}\t0\n"}, "item numbers must run from 0 without large gaps")
files("mmrec id beyond int64", {"a.inter": INTER + f"0\t{10**30}\t0\n"}, "ids must be whole numbers")
files("mmrec fraction", {"a.inter": INTER + "0\t1.5\t0\n"}, "itemID is '1.5'; ids must be whole numbers")
files("mmrec label", {"a.inter": INTER + "0\t1\t7\n"}, "it must be 0 \\(train\\), 1 \\(validation\\) or 2 \\(test\\)")
files("mmrec with commas", {"a.inter": INTER.replace("\t", ",")}, "columns userID, itemID, x_label are missing")
files(
    "mmrec pickled features",
    {"a.inter": INTER, "text_feat.npy": matrix(np.array([{}], object))},
    "text_feat.npy holds pickled objects, which are never loaded",
)
files("mmrec features of NaN", {"a.inter": INTER, "text_feat.npy": matrix(np.full((2, 2), np.nan))}, "NaN or infinite")
files(
    "mmrec too many features",
    {"a.inter": INTER, "text_feat.npy": matrix(np.eye(3)), "a_feat.npy": matrix(np.eye(2))},
    "text_feat.npy has 3 rows, but a_feat.npy has rows for 2 items",
)
files("mmrec integer features", {"a.inter": INTER, "text_feat.npy": matrix(np.eye(2, dtype=int))}, "holds int64; feat")
files("mmrec truncated features", {"a.inter": INTER, "text_feat.npy": matrix(np.eye(2))[:-9]}, "not a readable .npy")
files(
    "recbole without types", {"a.inter": "user_id:token\titem_id\n1\t2\n"}, "columns userID, itemID, x_label are miss"
)
files(
    "recbole features of words",
    {"a.inter": "user_id:token\titem_id:token\n1\t2\n", "a.item": "item_id:token\temb:float_seq\n2\t0.1 x\n"},
    "emb must hold equally many numbers apart by spaces",
)
for column in ("../victim/image", "img@clip", "image/emb"):
    files(
        f"recbole features called {column!r}",
        {
            "a.inter": "user_id:token\titem_id:token\n1\t2\n",
            "a.item": f"item_id:token\t{column}:float_seq\n2\t0.1 0.2\n",
        },
        re.escape(f"a.item: {column!r} cannot name a modality, which becomes part of a file name; it must not be "),
    )
files(
    "lattice negative id", {"train.json": '{"0": [-1]}'}, "a user and its items must be whole numbers, zero or larger"
)
files("lattice id of NaN", {"train.json": '{"0": [NaN]}'}, "'0'\\S*: a user and its items must be whole numbers")
files("lattice huge id", {"train.json": '{"0": [999999999]}'}, "item numbers must run from 0 without large gaps")
files("lattice list of lists", {"train.json": "[[0, 1]]"}, "must hold one object")
files("lattice cut off", {"train.json": '{"0": [1, 2'}, "train.json is not valid JSON")
files(
    "lattice numbering with a gap",
    {"train.json": '{"0": [1]}', "item2id.json": '{"a": 0, "b": 2}'},
    "item2id.json must number different ids from 0 without a gap",
)
files(
    "lattice without a part",
    {"train.json": '{"0": [0, 1]}'},
    "the column 'split' has no rows of the part valid, test",
    warning=True,
)
files("lists with words", {"train.txt": "0 1 2\n1 x\n"}, "train.txt, line 2: a user and its items must be whole")
files("ducho with commas", {"reviews.tsv": "u,i,5\n"}, "too few columns; it must hold user, item, rating, timestamp")
files(
    "ducho of two extractors",
    {"reviews.tsv": "u\ti\t5\n", "visual_embeddings/a/i.npy": matrix(np.ones(2)), "visual_embeddings/b/i.npy": b""},
    "features of several extractors for image \\(a, b\\)",
)
files(
    "ducho pickled vector",
    {"reviews.tsv": "u\ti\t5\n", "visual_embeddings/a/i.npy": matrix(np.array([{}], object))},
    "i.npy must be a plain float array of one item",
)
files(
    "ducho vectors of two widths",
    {
        "reviews.tsv": "u\ti\t5\nu\tj\t5\n",
        "visual_embeddings/a/i.npy": matrix(np.ones(2)),
        "visual_embeddings/a/j.npy": matrix(np.ones(3)),
    },
    "j.npy has 3 numbers where others have 2",
)
files("microlens from zero", {"M_pairs.csv": "user,item,timestamp\n1,0,1600000000000\n"}, "items must be whole numbers")
files(
    "microlens beyond features",
    {"M_pairs.csv": "user,item,timestamp\n1,3,1600000000000\n", "M_x_text_features_y.npy": matrix(np.eye(2))},
    "there are 2 items, numbered from 1",
)
files(
    "microlens of a huge item",
    {"M_pairs.csv": PAIRS + "1,9999999999,1600000000000\n"},
    "row 2: item_id is '9999999999'; item numbers must run from 1 without large gaps",
)
files(
    "microlens title of a huge item",
    {"M_pairs.csv": PAIRS, "M_title_en.csv": "item,title\n1,a\n1001,b\n"},
    "M_title_en.csv, line 3: item is '1001'; item numbers must run from 1 without large gaps",
)
files(
    "microlens title beyond features",
    {"M_pairs.csv": PAIRS, "M_title_en.csv": "1,a\n3,b\n", "M_x_text_features_y.npy": matrix(np.eye(2))},
    "line 2: item is '3'; there are 2 items, numbered from 1",
)
files(
    "microlens title of item zero",
    {"M_pairs.csv": PAIRS, "M_title_en.csv": "0,a\n1,b\n"},
    "line 1: item is '0'; items must be whole numbers from 1",
)
files(
    "microlens title of a small number",
    {"M_pairs.csv": PAIRS, "M_title_en.csv": "1,a\n²,b\n"},
    "line 2: must be item number",
)
files(
    "microlens with gaps",
    {"M_pairs.csv": PAIRS, "M_title_en.csv": "4,a\n"},
    "3 listed items have no inter",
    warning=True,
)
files("movielens cut off", {"u.data": "1\t2\t5\t881250949\n1\t2\n"}, "line 2: 2 cells where the header has 4")
files("a prepared folder", {"interactions.parquet": b"", "dataset.json": "{}"}, "is a prepared folder already")

files(
    "microlens title without number",
    {"M_pairs.csv": PAIRS, "M_title_en.csv": "1,a\nx,b\n"},
    "line 2: must be item number",
)
files(
    "microlens of two encoders",
    {"M_pairs.csv": PAIRS, "M_text_features_a.npy": matrix(np.eye(2)), "M_text_features_b.npy": matrix(np.eye(2))},
    "must hold one file \\*_text_features_\\*.npy",
)
files(
    "microlens matrices of two sizes",
    {"M_pairs.csv": PAIRS, "M_text_features_a.npy": matrix(np.eye(2)), "M_image_features_b.npy": matrix(np.eye(3))},
    "feature matrices have different numbers of rows \\(2, 3\\)",
)
files("microlens without tab", {"M_pairs.tsv": "1 2 3\n"}, "M_pairs.tsv, line 1: a user and its items must be")
files("lattice without interactions", {"train.json": '{"0": []}'}, "has no rows")
files(
    "lattice more texts than items",
    {"train.json": '{"0": [0, 1]}', "raw_text.txt": "a\nb\nc\n"},
    "raw_text.txt, line 3: there are 2 items",
)
files(
    "lightgt pickled lists", {"train.npy": matrix(np.array([[0, 1], [2]], object))}, "train.npy holds pickled objects"
)
files(
    "lightgt of fractions",
    {"train.npy": matrix(np.ones((2, 2)))},
    "holds float64 of shape \\(2, 2\\); it must be a user",
)
files("lightgt of triples", {"train.npy": matrix(np.ones((2, 3), int))}, "holds int64 of shape \\(2, 3\\)")
files("lightgt negative id", {"train.npy": matrix(np.array([[0, -1]]))}, "whole numbers of zero or larger")
files("lightgt header cut off", {"train.npy": matrix(np.eye(2, dtype=int))[:40]}, "train.npy is not a readable .npy")
files("lightgt cut off", {"train.npy": matrix(np.eye(2, dtype=int))[:-9]}, "train.npy is not a readable .npy file")
BENCHMARK = "user_id,parent_asin,rating,timestamp\nA,B,5.0,1602133857705\n"
files(
    "benchmark of two categories",
    {"A.train.csv": BENCHMARK, "B.train.csv": BENCHMARK},
    "must hold one file <category>.*; found: A.train.csv, B.train.csv",
)
files(
    "benchmark whole beside its parts",
    {"A.csv": BENCHMARK, "A.train.csv": BENCHMARK},
    "must hold one file <category>.*; found: A.csv, A.train.csv",
)
files(
    "benchmark part of other columns",
    {"A.train.csv": BENCHMARK, "A.test.csv": BENCHMARK.replace("rating", "stars")},
    "A.test.csv: columns rating are missing; columns are user_id, parent_asin, stars",
    "--format",
    "amazon-2023-benchmark",
)
files(
    "benchmark rating of words",
    {"A.csv": BENCHMARK.replace("5.0", "good")},
    "line 2: rating is 'good'; it must be a number",
)
files(
    "mmrec meta of an unknown item",
    {"a.inter": INTER, "meta-a.csv": "itemID,title\n7,x\n"},
    "meta-a.csv, line 2: itemID is '7'; there are 2 items",
)
files(
    "microlens likes of words",
    {"M_pairs.csv": PAIRS, "M_likes_and_views.txt": "1\t2\t3\n2\tx\t3\n"},
    "likes is 'x'; it must be a number",
)
table(
    "lattice file alone",
    json.dumps({str(k): [k] for k in range(99)}),
    "columns are 0, 1, .*, 29, \\.\\.\\.$",
    file="t.json",
)

# Archives, links, folders.


@case("the entry '../../evil.csv' leads out of the archive; nothing was unpacked")
def zip_climbs(folder: Path) -> list[str]:
    return zipped(folder, ("a.csv", LOG), ("../../evil.csv", LOG))


@case("leads out of the archive")
def zip_with_absolute_path(folder: Path) -> list[str]:
    return zipped(folder, ("/tmp/evil.csv", LOG))


@case("leads out of the archive")
def zip_climbs_by_backslashes(folder: Path) -> list[str]:
    return zipped(folder, ("..\\evil.csv", LOG))


@case("the entry 'a.csv' is a link")
def zip_with_a_link(folder: Path) -> list[str]:
    entry = zipfile.ZipInfo("a.csv")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return zipped(folder, (entry, "/etc/passwd"))


@case("is no readable .zip")
def zip_cut_off(folder: Path) -> list[str]:
    path = Path(zipped(folder, ("a.csv", LOG))[0])
    path.write_bytes(path.read_bytes()[:-30])
    return [str(path)]


@case("grows more than 1000-fold")
def zip_bomb(folder: Path) -> list[str]:
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", b"0" * (1 << 25))
    return [str(path)]


@case("is a pickle")
def pickle_in_a_zip(folder: Path) -> list[str]:
    return zipped(folder, ("data/trnMat.pkl", "x"))


#: A name as an older system in Japan writes it, and as errors show it.
OLD_NAME = os.fsdecode("受注".encode("cp932"))
NO_NAME = r"/\\x8e\\xf3\\x92\\x8d{}: this name is not UTF-8 text; rename the file or folder$"


@case(NO_NAME.format("\\.csv"))
def name_that_is_not_utf8(folder: Path) -> list[str]:
    (folder / f"{OLD_NAME}.csv").write_text(LOG)
    return [str(folder / f"{OLD_NAME}.csv")]


@case(NO_NAME.format("\\.csv"))
def name_in_a_folder_that_is_not_utf8(folder: Path) -> list[str]:
    (folder / "logs").mkdir()
    (folder / "logs" / f"{OLD_NAME}.csv").write_text(LOG)
    return [str(folder / "logs")]


@case(NO_NAME.format("\\.inter"))
def name_of_another_format_that_is_not_utf8(folder: Path) -> list[str]:
    (folder / f"{OLD_NAME}.inter").write_text(INTER)
    return [str(folder)]


@case(NO_NAME.format("/items\\.csv"))
def folder_of_items_that_is_not_utf8(folder: Path) -> list[str]:
    (folder / "a.csv").write_text(LOG)
    (folder / OLD_NAME).mkdir()
    (folder / OLD_NAME / "items.csv").write_text("item,title\ni1,x\n")
    return [str(folder / "a.csv"), "--items", str(folder / OLD_NAME / "items.csv")]


@case(NO_NAME.format("\\.zip"))
def archive_that_is_not_utf8(folder: Path) -> list[str]:
    path = Path(zipped(folder, ("a.csv", LOG))[0])
    return [str(path.rename(folder / f"{OLD_NAME}.zip"))]


@case(NO_NAME.format("\\.csv"), command="start")
def name_for_start_that_is_not_utf8(folder: Path) -> list[str]:
    (folder / f"{OLD_NAME}.csv").write_text(LOG)
    return [str(folder / f"{OLD_NAME}.csv"), "--yes"]


@case("is not there; SOURCE is a file, a folder or a .zip")
def dangling_link(folder: Path) -> list[str]:
    (folder / "a.csv").symlink_to(folder / "nothing.csv")
    return [str(folder / "a.csv")]


@case("is not there|Too many levels of symbolic links")
def link_in_a_circle(folder: Path) -> list[str]:
    (folder / "a.csv").symlink_to(folder / "a.csv")
    return [str(folder / "a.csv")]


@case("it is a folder|is missing|is of no known format")
def folder_named_like_a_file(folder: Path) -> list[str]:
    (folder / "a.csv").mkdir()
    return [str(folder / "a.csv")]


@case("column 'title' \\(--text\\) is not there")
def text_column_that_is_not_there(folder: Path) -> list[str]:
    (folder / "a.csv").write_text(LOG)
    (folder / "items.csv").write_text("item,name\ni1,x\n")
    return [str(folder / "a.csv"), "--items", str(folder / "items.csv"), "--text", "title"]


@case("must be a folder with <item>.npy files, a .b file, or a .npy file beside m.ids.txt")
def features_that_nothing_orders(folder: Path) -> list[str]:
    (folder / "a.csv").write_text(LOG)
    np.save(folder / "m.npy", np.eye(5))
    return [str(folder / "a.csv"), "--features", f"image={folder / 'm.npy'}"]


@case("m.ids.txt has 1 ids but the matrix has 5 rows")
def features_with_too_few_ids(folder: Path) -> list[str]:
    (folder / "m.ids.txt").write_text("i1\n")
    return features_that_nothing_orders(folder)


@case("write modality=path with a modality of small letters")
def features_with_a_bad_name(folder: Path) -> list[str]:
    (folder / "a.csv").write_text(LOG)
    return [str(folder / "a.csv"), "--features", f"../x={folder}"]


@case("a.parquet has no rows")
def parquet_without_rows(folder: Path) -> list[str]:
    pd.DataFrame({"user": [], "item": []}).to_parquet(folder / "a.parquet")
    return [str(folder / "a.parquet")]


# What is no file, and numbers that features cannot hold.
NO_FILE = "is no file but a folder, a pipe, a socket or a device"


@case(NO_FILE)
def pipe_as_a_table(folder: Path) -> list[str]:
    os.mkfifo(folder / "a.csv")
    return [str(folder / "a.csv")]


@case(NO_FILE)
def pipe_of_reviews(folder: Path) -> list[str]:
    os.mkfifo(folder / "r.jsonl.gz")
    return [str(folder / "r.jsonl.gz")]


@case(NO_FILE)
def pipe_as_a_table_of_a_named_format(folder: Path) -> list[str]:
    os.mkfifo(folder / "a.parquet")
    return [str(folder / "a.parquet"), "--format", "table"]


@case(NO_FILE)
def pipe_as_a_zip(folder: Path) -> list[str]:
    os.mkfifo(folder / "a.zip")
    return [str(folder / "a.zip")]


@case(NO_FILE)
def pipe_as_a_log_of_mmrec(folder: Path) -> list[str]:
    os.mkfifo(folder / "a.inter")
    return [str(folder)]


@case(NO_FILE)
def device_as_a_table(folder: Path) -> list[str]:
    (folder / "a.csv").symlink_to("/dev/zero")
    return [str(folder / "a.csv")]


@case(NO_FILE)
def terminal_as_a_source(folder: Path) -> list[str]:
    return ["/dev/tty"]


@case(NO_FILE)
def socket_as_a_table(folder: Path) -> list[str]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("a.csv")  # a relative name: that of a socket must be short
    return [str(folder / "a.csv")]


@case(NO_FILE)
def pipe_as_items(folder: Path) -> list[str]:
    (folder / "a.csv").write_text(LOG)
    os.mkfifo(folder / "items.csv")
    return [str(folder / "a.csv"), "--items", str(folder / "items.csv")]


def with_features(folder: Path, name: str) -> list[str]:
    (folder / "a.csv").write_text(LOG)
    return [str(folder / "a.csv"), "--features", f"image={folder / name}"]


@case(NO_FILE)
def pipe_as_features(folder: Path) -> list[str]:
    os.mkfifo(folder / "m.npy")
    return with_features(folder, "m.npy")


@case(NO_FILE)
def pipe_in_a_folder_of_features(folder: Path) -> list[str]:
    (folder / "m").mkdir()
    os.mkfifo(folder / "m" / "i1.npy")
    return with_features(folder, "m")


@case("m.npy has numbers beyond 1e\\+18 in 2 rows \\(first: row 1: 1e\\+300\\): are they marks for missing values\\?")
def features_beyond_single_precision(folder: Path) -> list[str]:
    values = np.eye(5)
    values[1, 0], values[4, 2] = 1e300, -1e39
    np.save(folder / "m.npy", values)
    (folder / "m.ids.txt").write_text("i0\ni1\ni2\ni3\ni4\n")
    return with_features(folder, "m.npy")


@case("i1.npy must be a plain float array of one item, .* all finite: > 1e\\+18")
def vector_beyond_single_precision(folder: Path) -> list[str]:
    (folder / "m").mkdir()
    np.save(folder / "m" / "i1.npy", np.array([1.0, 1e300]))
    return with_features(folder, "m")


files(
    "mmrec features beyond single precision",
    {"a.inter": INTER, "text_feat.npy": matrix(np.full((2, 2), 1e300))},
    "text_feat.npy has numbers beyond 1e\\+18 in 2 rows \\(first: row 0: 1e\\+300\\)",
)

# Economics: decide reads them before anything else.


def economics(name: str, content: str | bytes, message: str) -> None:
    """Add a file of economics."""

    def make(folder: Path) -> list[str]:
        (folder / "my.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
        return ["nowhere", "economics=my.yaml"]

    CASES.append(Case(f"economics: {name}", make, message, command="decide"))


RISING = "must be a number or low, likely and high in rising order, from 0 up to 1e\\+15"
NOT_READ = "is not read here; write the value itself"
PAIRS_WANTED = "must be at least 3 pairs \\[offline gain, online gain\\]"
for word, shown in {
    "9" * 190: "9{60}\\.\\.\\.",
    "0x" + "f" * 190: "606452\\d+\\.\\.\\.",
    "1e308": "1e\\+308",
    "1.0e16": "1e\\+16",
    ".nan": "nan",
    ".inf": "inf",
    "-.inf": "-inf",
    "-1": "-1",
    "-1e-300": "-1e-300",
    "yes": "True",
    "null": "None",
    "cheap": "cheap",
    "'12'": "12",
    "2020-01-01": "2020-01-01",
    "[1, 2, 3]": "\\[1, 2, 3\\]",
    "'???'": "\\?\\?\\?",
    "{low: 1}": "\\{'low': 1\\}",
    "{low: 1, likely: 2, high: 1e308}": "\\{'low': 1, ",
    "{low: 3, likely: 2, high: 1}": "\\{'low': 3, ",
    "{low: {low: 1}, likely: 2, high: 3}": "\\{'low': \\{",
    "!!binary aGVsbG8=": "b'hello'",
}.items():
    economics(f"sum of {word[:40]}", f"cost: {{image: {word}}}", f"cost.image={shown}.*{RISING}")
economics("endless number", f"cost: {{image: {'9' * 5000}}}", "line 1: a value of more than 200 letters")
economics("huge count", "value: {recommendations_year: 1e308}", f"recommendations_year=1e\\+308 {RISING}")
economics("tiny share", "value: {margin: 1e-320}", "must be above 0, and their product at least 0.01 a year")
economics("nothing sold", "value: {conversion: 0}", "must be above 0, and their product at least 0.01 a year")
economics("share above one", "value: {margin: 1.01}", "must be a share from 0 up to 1 ")
economics("deep mappings", "cost: " + "{a: " * 3000 + "1" + "}" * 3000, "line 1: keys within keys, more than 8 deep")
economics("deep lists", "cost: " + "[" * 20_000, "line 1: keys within keys, more than 8 deep")
BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
economics("bomb of aliases", BOMB, f"line 2: an alias \\(\\*name\\) {NOT_READ}")
economics("alias of itself", "a: &a [*a]", f"line 1: an alias \\(\\*name\\) {NOT_READ}")
economics("merge key", "a: &a {b: 1}\ncost: {<<: *a}", f"line 2: an alias \\(\\*name\\) {NOT_READ}")
economics("environment", "currency: ${oc.env:HOME}", f"line 1: \\$\\{{...\\}} {NOT_READ}")
economics("environment in a key", "${oc.env:HOME}: 1", f"line 1: \\$\\{{...\\}} {NOT_READ}")
economics("environment in a text", 'tax: "a ${oc.env:HOME}"', f"line 1: \\$\\{{...\\}} {NOT_READ}")
economics("other resolver", "years: ${slug:abc}", f"line 1: \\$\\{{...\\}} {NOT_READ}")
economics("a list", "[1, 2]", "my.yaml must hold keys and values")
economics("a word", "hello", "my.yaml must hold keys and values")
economics("null", "null", "my.yaml must hold keys and values")
economics("two documents", "years: 1\n---\nyears: 2", "my.yaml is no YAML file: expected a single document")
economics("code", "cost: !!python/object/apply:os.system [ls]", "my.yaml is no YAML file: could not determine")
economics("a set", "cost: !!set {a, b}", "my.yaml is no YAML file: Value 'set' is not a supported primitive type")
economics("no key", "? \n: 1", "my.yaml is no YAML file: Incompatible key type")
economics("list as key", "? [a]\n: 1", "my.yaml is no YAML file: .* unhashable key")
economics("number as key", "1: 2", "economics: 1 is not a key; accepted: currency, tax")
economics("key twice", "years: 1\nyears: 2", "my.yaml is no YAML file: .* duplicate key years")
economics("NUL", "years: \0", "my.yaml is no YAML file: unacceptable character #x0000")
economics("tab", "\tyears: 1", "my.yaml is no YAML file: while scanning")
economics("open bracket", "years: [", "my.yaml is no YAML file: while parsing")
economics("other encoding", "years: 1\ncurrency: 円".encode("cp932"), "my.yaml, line 2: a byte that is not UTF-8; save")
economics("picture", b"\xff\xd8\xff\xe0\0\x10JFIF", "my.yaml, line 1: a byte that is not UTF-8; save the file as UTF-8")
economics(
    "comma in a number", "value: {order_value: 3,000}", "my.yaml, line 1: 3,000 within braces, where a comma begins"
)
economics(
    "commas in a number", "items:\n  stock: {low: 1,200,000, likely: 2}", "line 2: 1,200 within braces, where a comma"
)
economics(
    "commas of a list", "transfer_pairs: [[0,100],[0,200],[1,300]]", "economics: transfer_pairs=.* must be at least 3 p"
)
economics("100 kB", "#" * 100_000, "my.yaml is larger than 65536 bytes; it must hold keys and values")
economics("key in two ways", "value.margin: 0.3\nvalue: {margin: 0.2}", "economics: value.margin is given twice; keep")
economics("section of a number", "value: 5", "economics: value is not a key; accepted: value.recommendations_year")
economics("step of a number", "steps: {users: 3}", "economics: steps.users is not a key; accepted: steps.repair.cost")
economics("step too deep", "steps: {users: {cost: {a: 1}}}", "economics: steps.users.cost.a is not a key")
economics("step of a word", "steps: {users: {cost: free}}", "steps.users.cost=free must be a number from 0 up to 1e")
economics("step beyond all", "steps: {users: {days: 1e308}}", "steps.users.days=1e\\+308 must be a number from 0 up")
economics("key of 150 letters", f"{'k' * 150}: 1", "economics: k{60}\\.\\.\\. is not a key; accepted: currency")
economics("years of truth", "years: true", "years=True must be a whole number from 1 to 30")
economics("years of a date", "years: 2020-01-01", "years=2020-01-01 must be a whole number from 1 to 30")
economics("currency of umlauts", "currency: ÄÖÜ", "currency=ÄÖÜ must be a currency code such as EUR or JPY")
economics("currency of a list", "currency: [EUR]", "currency=\\['EUR'\\] must be a currency code")
economics("tax of a mapping", "tax: {a: 1}", "economics: tax.a is not a key; accepted: tax")
economics("machine for nothing", "machine_hour: 1e308", "machine_hour=1e\\+308 must be a price from 0 up to 1e\\+15")
economics("pairs of a number", "transfer_pairs: 3", f"transfer_pairs=3 {PAIRS_WANTED}")
economics("pairs of words", "transfer_pairs: [ab, cd, ef]", f"transfer_pairs=\\['ab', 'cd', 'ef'\\] {PAIRS_WANTED}")
economics("pairs of lists", "transfer_pairs: [[[1], 1], [1, 1], [1, 1]]", PAIRS_WANTED)
economics("huge pairs", "transfer_pairs: [[1e200, 1], [1, 1], [1, 1]]", PAIRS_WANTED)
economics("tiny pairs", "transfer_pairs: [[1e-200, 1], [0, 1], [0, 1]]", PAIRS_WANTED)


@case(NO_FILE, command="decide")
def economics_from_a_pipe(folder: Path) -> list[str]:
    os.mkfifo(folder / "my.yaml")
    return ["nowhere", "economics=my.yaml"]


@case(NO_FILE, command="decide")
def economics_from_a_device(folder: Path) -> list[str]:
    (folder / "my.yaml").symlink_to("/dev/zero")
    return ["nowhere", "economics=my.yaml"]


@case(NO_FILE, command="decide")
def economics_from_a_folder(folder: Path) -> list[str]:
    (folder / "my.yaml").mkdir()
    return ["nowhere", "economics=my.yaml"]


@case("economics=none.yaml: no such file; name a YAML file or one of default, yen", command="decide")
def economics_from_nowhere(folder: Path) -> list[str]:
    return ["nowhere", "economics=none.yaml"]


def words_of(made: Case, folder: Path) -> list[str]:
    """Write the file of a case; the command that reads it."""
    out = ["--out", str(folder / "out")] if made.command == "prepare" else []
    return ["mmbench", made.command, *made.make(folder), *out]


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """Nobody's file may keep a command waiting or busy for long, or take more than a gigabyte."""

    def over(number: int, frame: FrameType | None) -> None:
        raise AssertionError("the command hangs" if number == signal.SIGALRM else "the command computes on and on")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in (signal.SIGALRM, signal.SIGVTALRM):
        signal.signal(number, over)
    signal.alarm(120)  # of a machine that others use too
    signal.setitimer(signal.ITIMER_VIRTUAL, 10.0)
    yield
    signal.alarm(0)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20, "kilobytes"


def test_the_corpus_is_large_and_has_no_name_twice() -> None:
    assert len(CASES) >= 200
    assert len({made.name for made in CASES}) == len(CASES)


@pytest.mark.parametrize("made", CASES, ids=lambda made: made.name.replace(" ", "_"))
def test_one_clear_line_or_a_counted_warning(
    made: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = words_of(made, tmp_path)
    before = sorted(os.walk(tmp_path))
    monkeypatch.setattr(sys, "argv", words)
    if made.warning:
        mmbench.cli.main()
        assert re.search(made.message, capsys.readouterr().out)
        assert (tmp_path / "out" / "dataset.json").is_file()
        return
    with pytest.raises(SystemExit) as ended:
        mmbench.cli.main()
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
    assert re.search(made.message, told.err), told.err
    assert told.out == ""
    assert sorted(os.walk(tmp_path)) == before, "something was left behind"


#: Kana and kanji.
JAPANESE = re.compile(r"[\u3041-\u30ff\u4e00-\u9fff]")


@pytest.mark.parametrize("made", CASES, ids=lambda made: made.name.replace(" ", "_"))
def test_the_same_in_japanese(
    made: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [*words_of(made, tmp_path), "lang=ja"])
    if made.warning:
        mmbench.cli.main()
        told = capsys.readouterr().out
        spoken = [line for line in told.splitlines() if line]
        assert not re.search(made.message, told) or JAPANESE.search(made.message)
    else:
        with pytest.raises(SystemExit) as ended:
            mmbench.cli.main()
        err = capsys.readouterr().err
        assert (ended.value.code, err.count("\n")) == (2, 1)
        assert err.startswith("エラー: ")
        assert not err.startswith("エラー: 設定か入力の誤りです"), "no sentence of a catalogue says it"
        spoken = [err.removeprefix("エラー: ")]
    assert [line for line in spoken if not JAPANESE.search(line.replace(str(tmp_path), ""))] == []
