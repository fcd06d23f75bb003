"""``prepare SOURCE --out DIR``: detection, options, provenance, languages."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import mmbench.cli
from mmbench.cli import prepare, prepare_folder
from mmbench.data.dataset import DatasetConfig, load_dataset
from mmbench.data.readers.mmrec import read_mmrec
from mmbench.data.sources import read_folder

ITEMS = "item,title,brand\na,red shoe,X\nb,blue shoe,\nc,red hat,Y\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A log of eight users and three items without times, and a table of the items."""
    rows = [(f"u{user}", item) for user in range(8) for item in "abc"]
    pd.DataFrame(rows, columns=["who", "what,code"]).to_csv(tmp_path / "log.csv", index=False)
    (tmp_path / "items.csv").write_text(ITEMS)
    return tmp_path


def run(*words: str | Path) -> None:
    prepare.main([str(word) for word in words])


def meta(out: Path) -> dict[str, object]:
    return dict(json.loads((out / "dataset.json").read_text(encoding="utf-8")))


def test_a_table_with_a_mapping(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [shop / "log.csv", "--map", "user=who,item=what,code", "--items", shop / "items.csv", "--text", "title"]
    run(*words, "--text-dim", "2", "--out", shop / "out")
    assert "columns of the log: user=who, item=what,code" in capsys.readouterr().out
    told = meta(shop / "out")
    files = {name: hashlib.sha256((shop / name).read_bytes()).hexdigest() for name in ("log.csv", "items.csv")}
    assert told["provenance"] == {
        "format": "table",
        "mmbench": prepare_folder.version("mmbench"),
        "files": files,
        "options": {
            "columns": {"user": "who", "item": "what,code"},
            "items": "items.csv",
            "text": ["title"],
            "encoding": "auto",
        },
        "text": {"encoder": "character n-grams, TF-IDF, SVD", "columns": ["title"], "dim": 2},
    }
    assert told["statistics"] == {
        "users": 8,
        "items": 3,
        "items_with_interactions": 3,
        "rows": 24,
        "pairs": 24,
        "density": 1.0,
        "per_user": {"min": 3, "median": 3.0, "max": 3},
        "per_item": {"min": 8, "median": 8.0, "max": 8},
    }
    assert told["coverage"] == {
        "text": {"present": 3, "items": 3, "constant": 0, "duplicates": 0},
        "items.title": {"present": 3},
    }
    assert str(shop) not in json.dumps(told), "a dataset that is passed on tells nothing of the machine"


def test_a_catalogue_without_texts_needs_none(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pictures may be all that is compared."""
    (shop / "items.csv").write_text("item,price\na,1\nb,2\nc,3\n")
    words = [shop / "log.csv", "--map", "user=who,item=what,code", "--items", shop / "items.csv", "--out", shop / "out"]
    with pytest.raises(ValueError, match=r"no column looks like a text; name it with --text, or add --text none; col"):
        run(*words)
    run(*words, "--text", "none")
    assert "columns of the items: item=item\n" in capsys.readouterr().out
    source = read_folder(shop / "out")
    assert list(source.items) == ["item_id"]
    assert not source.features
    assert meta(shop / "out")["texts"] == []


def test_the_same_input_gives_the_same_bytes(shop: Path) -> None:
    for out in ("a", "b"):
        run(
            shop / "log.csv", "--user", "who", "--item", "what,code", "--items", shop / "items.csv", "--out", shop / out
        )
    for name in ("dataset.json", "interactions.parquet", "items.parquet", "text_feat.npy"):
        assert (shop / "a" / name).read_bytes() == (shop / "b" / name).read_bytes()


def test_features_of_ones_own_by_id(shop: Path) -> None:
    np.save(shop / "clip.npy", np.array([[1, 2], [3, 4], [0, 0]], np.float16))
    (shop / "clip.ids.txt").write_text("b\na\nc\n")
    (shop / "sound").mkdir()
    np.save(shop / "sound" / "c.npy", np.array([[7, 8, 9]], np.float32))
    words = [shop / "log.csv", "--map", "user=who,item=what,code", "--text", "none", "--items", shop / "items.csv"]
    run(
        *words, "--features", f"image={shop / 'clip.npy'}", "--features", f"audio={shop / 'sound'}", "--out", shop / "o"
    )
    source = read_folder(shop / "o")
    assert list(source.features) == ["audio", "image"]
    assert source.features["image"].present.tolist() == [True, True, False]
    assert source.features["image"].values[:2].tolist() == [[3, 4], [1, 2]]
    assert source.features["audio"].present.tolist() == [False, False, True]
    assert source.items["title"].tolist() == ["red shoe", "blue shoe", "red hat"]
    provenance = meta(shop / "o")["provenance"]
    assert isinstance(provenance, dict)
    assert sorted(provenance["files"]) == ["clip.ids.txt", "clip.npy", "items.csv", "log.csv", "sound"]
    assert provenance["options"]["features"] == ["image=clip.npy", "audio=sound"]
    labelled = ("--features", f"image@clip={shop / 'clip.npy'}")
    with pytest.raises(ValueError, match=r"write modality=path with a modality of small letters, digits and underscor"):
        run(*words, *labelled, "--out", shop / "labelled")
    with pytest.raises(ValueError, match=r"^--features image is given twice; name one file for it$"):
        run(*words, *("--features", f"image={shop / 'clip.npy'}") * 2, "--out", shop / "twice")


def test_a_name_that_is_not_utf8_in_a_folder_of_features_is_no_fault(shop: Path) -> None:
    (shop / "sound").mkdir()
    np.save(shop / "sound" / "c.npy", np.array([[7, 8, 9]], np.float32))
    words = [shop / "log.csv", "--map", "user=who,item=what,code", "--text", "none", "--items", shop / "items.csv"]
    words += ["--features", f"audio={shop / 'sound'}", "--out", shop / "o", "--overwrite"]
    found = []
    for name in (b"a", "メモ".encode("cp932")):
        (shop / "sound" / os.fsdecode(name)).write_text("x")
        run(*words)
        provenance = meta(shop / "o")["provenance"]
        assert isinstance(provenance, dict)
        found.append(provenance["files"]["sound"])
    assert found[0] != found[1]


def test_an_out_whose_name_is_not_utf8_is_refused_before_anything_is_read(shop: Path) -> None:
    out = shop / os.fsdecode("店".encode("cp932"))
    with pytest.raises(ValueError, match=r"/\\x93X: this name is not UTF-8 text; rename the file or folder$"):
        run(shop / "nothing.csv", "--out", out)


def test_an_archive(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(shop / "ml.zip", "w") as archive:
        archive.writestr("ml/ratings.csv", "userId,movieId,rating,timestamp\n1,10,4.5,964982703\n2,11,3,964982704\n")
        archive.writestr("ml/movies.csv", "movieId,title,genres\n10,A,Drama|War\n11,C,War\n")
    run(shop / "ml.zip", "--out", shop / "ml")
    provenance = meta(shop / "ml")["provenance"]
    assert isinstance(provenance, dict)
    assert (provenance["format"], sorted(provenance["files"])) == (
        "movielens",
        ["ml.zip", "movies.csv", "ratings.csv"],
    )
    assert "from April 27, 2000" not in capsys.readouterr().err
    assert read_folder(shop / "ml").items["genres"].tolist() == ["Drama, War", "War"]


@pytest.mark.parametrize("changed", ["log.csv", "items.csv", "vectors/b.npy", "vectors/d.npy", "log.zip", "gone"])
def test_a_file_that_changes_while_it_is_read_is_refused(
    changed: str, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop / "vectors").mkdir()
    for item in "abc":
        np.save(shop / "vectors" / f"{item}.npy", np.ones(2, np.float32))
    with zipfile.ZipFile(shop / "log.zip", "w") as archive:
        archive.write(shop / "log.csv", "log.csv")
    source = shop / ("log.zip" if changed == "log.zip" else "log.csv")
    words = (source, "--user", "who", "--item", "what,code", "--items", shop / "items.csv")
    words = (*words, "--features", f"image={shop / 'vectors'}", "--out", shop / "out")
    write_folder = prepare_folder.write_folder

    def write_while_others_write(*given: Any) -> None:
        write_folder(*given)
        if changed == "gone":
            (shop / "items.csv").unlink()
        else:
            with (shop / changed).open("ab") as file:
                file.write(b"\n")

    monkeypatch.setattr(prepare_folder, "write_folder", write_while_others_write)
    named = re.escape(str(shop / ("items.csv" if changed == "gone" else changed)))
    with pytest.raises(ValueError, match=f"^{named} was changed while it was read; start the command again once"):
        run(*words)
    assert not (shop / "out").exists()


def test_images_inside_an_archive_are_told_to_be_lost(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(shop / "v.zip", "w") as archive:
        for name, content in (("train.txt", "0 0 1\n"), ("test.txt", "0 2\n"), ("images/0.jpg", "")):
            archive.writestr(f"v/{name}", content)
    run(shop / "v.zip", "--out", shop / "out")
    told = capsys.readouterr().out
    assert "images inside a .zip are not kept; unpack it to encode them" in told
    assert "the column 'split' has no rows of the part valid, so it cannot be used as it is" in told
    assert "dataset.protocol=paper" in told
    assert "image_path" not in read_folder(shop / "out").items


def test_a_prepared_folder_goes_to_mmrec_and_back(shop: Path) -> None:
    run(shop / "log.csv", "--map", "user=who,item=what,code", "--items", shop / "items.csv", "--out", shop / "a")
    run("export-mmrec", shop / "a", "--protocol", "paper", "--out", shop / "b")
    run(shop / "b", "--out", shop / "c")
    run("export-mmrec", shop / "c", "--out", shop / "d")
    assert (shop / "d" / "d.inter").read_bytes() == (shop / "b" / "b.inter").read_bytes()
    first, second = read_mmrec(shop / "b"), read_mmrec(shop / "d")
    pd.testing.assert_frame_equal(first.log, second.log)
    assert first.features["text"].fingerprint() == second.features["text"].fingerprint()
    dataset = load_dataset(DatasetConfig("c", str(shop / "c")))
    assert (dataset.n_users, dataset.n_items) == (8, 3)


def test_texts_that_are_all_empty_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.inter").write_text("user_id:token\titem_id:token\n1\t2\n")
    (tmp_path / "a.item").write_text("item_id:token\tname:token_seq\n2\t\n")
    run(tmp_path, "--out", tmp_path / "out")
    assert "name is empty for every item; there is no modality text" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"column 'title' \(--text\) is not there; columns are item_id"):
        run(tmp_path / "a.inter", "--format", "recbole", "--text", "title", "--out", tmp_path / "n")


@pytest.mark.parametrize("form", [[], ["--format", "table"]])
def test_texts_of_a_table_that_are_all_empty_are_told(
    form: list[str], shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "items.csv").write_text("item,title\na,\nb,\nc,NULL\n")
    words = [shop / "log.csv", "--map", "user=who,item=what,code", "--items", shop / "items.csv", *form]
    run(*words, "--out", shop / "out")
    assert "title is empty for every item; there is no modality text" in capsys.readouterr().out
    assert not read_folder(shop / "out").features


def test_everything_is_said_in_japanese(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "orders.csv").write_bytes(
        "受注番号,顧客コード,商品コード,数量,受注日\n1,c1,０１,1,2024/1/5\n1,,02,1,2024/1/5\n2,c2,01,-1,2024/1/6\n".encode(
            "cp932"
        )
    )
    run(shop / "orders.csv", "--out", shop / "out", "lang=ja")
    assert capsys.readouterr().out.splitlines() == [
        f"{shop / 'out'} に書き出しました(形式 table)",
        "ユーザー1人、商品1点、1行",
        "密度 100.00%、1人あたりの件数 1〜1(中央値 1)",
        "期間 2024年1月5日〜2024年1月5日",
        "orders.csv を cp932 として読みました",
        "ログの列: user=顧客コード, item=商品コード, timestamp=受注日, order=受注番号, quantity=数量",
        "商品コード: 全角文字のID 1件を半角として読みました(最初: ０１)",
        f"ログ: 顧客コード+商品コード のいずれかが空の1行を除きました(最初: {shop / 'orders.csv'} の3行目)",
        f"ログ: 数量 が0以下(返品)の1行を除きました(最初: {shop / 'orders.csv'} の4行目)。"
        "--cancel-returns を付けると、返品された購入も除きます",
        "protocol paper(ユーザーごとに無作為に分割。未来の情報が混ざり得ます): "
        "異なる日時の履歴を2つ以上持つユーザーがいません",
        "",
        f"次のコマンド: python -m mmbench check {shop / 'out'} lang=ja",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lang=ja", "log.csv", "--out", "out"], "ユーザーを表す列が見つかりません。--user で指定してください"),
        (["none.csv", "--out", "out", "lang=ja"], "none.csv がありません。SOURCE には"),
        (["log.csv", "lang=ja"], "エラー: コマンドの誤り: the following arguments are required: --out"),
        (["log.csv", "--out", "out", "--text-dim", "abc", "lang=ja"], "エラー: --text-dim=abc は1以上の整数でなければ"),
        (["log.csv", "--out", "out", "lang=fr"], "lang=fr: there are only en, ja"),
        (["log.csv", "--out", "out", "--format", "movielens"], "ratings.csv is missing|u.data|too few columns"),
        (["items.csv", "--out", "out", "--map", "user=title", "--format", "amazon-2014"], "--map is for tables"),
    ],
)
def test_errors_are_one_line_in_the_language_asked_for(
    words: list[str], message: str, shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop)
    monkeypatch.setattr(sys, "argv", ["mmbench", "prepare", *words])
    with pytest.raises(SystemExit) as ended:
        mmbench.cli.main()
    told = capsys.readouterr().err
    assert (ended.value.code, told.count("\n")) == (2, 1)
    assert re.search(message, told), told
    assert not (shop / "out").exists()


def test_a_fault_while_writing_leaves_no_folder(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(*arguments: object) -> None:
        folder = arguments[1]
        assert isinstance(folder, Path)
        (folder / "interactions.parquet").write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(prepare_folder, "write_folder", half)
    with pytest.raises(OSError, match="disk full"):
        run(shop / "log.csv", "--map", "user=who,item=what,code", "--out", shop / "out")
    assert sorted(path.name for path in shop.iterdir()) == ["items.csv", "log.csv"]


def test_ids_in_files_and_their_names_are_those_of_the_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is full-width, decomposed or has invisible characters around it is one id wherever it stands."""
    written = ["Ａ１", unicodedata.normalize("NFD", "ガム"), "\u200bb"]
    plain = ["A1", "ガム", "b"]
    rows = "".join(f"u{user},{item}\n" for user in range(2) for item in written)
    (tmp_path / "log.csv").write_text(f"user,item\n{rows}", encoding="utf-8")
    values = np.eye(3, dtype=np.float32)
    np.save(tmp_path / "clip.npy", values)
    (tmp_path / "clip.ids.txt").write_text("\n".join(written), encoding="utf-8")
    for name in ("vectors", "pictures"):
        (tmp_path / name).mkdir()
    for item, row in zip(written, values, strict=True):
        np.save(tmp_path / "vectors" / f"{item}.npy", row)
        colour = tuple((255 * row).astype(int).tolist())
        Image.new("RGB", (4, 4), colour).save(tmp_path / "pictures" / f"{item}.png")
    features = ["--features", f"one={tmp_path / 'clip.npy'}", "--features", f"two={tmp_path / 'vectors'}"]
    encoded = ["--encode", "image=histograms", "--encode", f"images={tmp_path / 'pictures'}"]
    run(tmp_path / "log.csv", *features, *encoded, "--out", tmp_path / "out")
    told = capsys.readouterr().out
    assert f"item: 2 ids are read in Unicode's composed form (first: {written[1]})" in told
    source = read_folder(tmp_path / "out")
    assert sorted(source.items["item_id"]) == sorted(plain)
    order = [plain.index(item) for item in source.items["item_id"]]
    for name in ("one", "two"):
        np.testing.assert_array_equal(source.features[name].values, values[order])
    assert source.features["image"].present.all()
