from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mmbench.cli
from mmbench.cli import check, compose, encode, prepare_folder
from mmbench.cli.folders import new_folder
from mmbench.cli.prepare import main
from mmbench.data import planted
from mmbench.data.dataset import DatasetConfig, load_dataset
from mmbench.data.readers.mmrec import read_mmrec
from mmbench.data.sources import read_folder
from mmbench.evaluation.planted_truth import CONTENT_AND_LOG, planted_truth
from mmbench.messages.commands import override
from tests.tiny import digests

WORDS = ["赤い靴 革", "黒い靴 革", "青い帽子 綿", "白い帽子 麻", "LED lamp", "desk lamp", "白い皿 陶器", "黒い皿 陶器"]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A log of thirty users with six interactions each, and eight items of which one has no text."""
    rng = np.random.default_rng(0)
    items = np.array([rng.permutation(len(WORDS))[:6] for _ in range(30)])
    log = pd.DataFrame({"顧客ID": np.repeat([f"{u:04d}" for u in range(30)], 6), "商品コード": items.ravel()})
    log["商品コード"] = log["商品コード"].map("{:03d}".format)
    log["購入日"] = [f"2024/{1 + n % 12}/{1 + n % 28}" for n in range(len(log))]
    log.to_csv(tmp_path / "log.csv", index=False)
    texts = pd.DataFrame({"商品コード": [f"{i:03d}" for i in range(len(WORDS))], "商品名": WORDS})
    texts.loc[2, "商品名"] = ""
    texts.to_csv(tmp_path / "items.csv", index=False, encoding="utf-8-sig")
    return tmp_path


@pytest.fixture
def mmrec(tmp_path: Path) -> Path:
    """Ten users with three train, one validation and one test interaction among nine items, one without image."""
    made = tmp_path / "toy"
    made.mkdir()
    rng = np.random.default_rng(1)
    rows = [(user, item) for user in range(10) for item in rng.permutation(9)[:5]]
    inter = pd.DataFrame(rows, columns=["userID", "itemID"]).assign(x_label=[0, 0, 0, 1, 2] * 10)
    inter.to_csv(made / "toy.inter", sep="\t", index=False)
    image = rng.standard_normal((9, 4))
    image[3] = 0
    np.save(made / "image_feat.npy", image)
    np.save(made / "text_feat.npy", rng.standard_normal((9, 3)))
    pd.DataFrame({"user_id": range(10), "userID": range(10)}).to_csv(
        made / "toy_u_id_mapping.csv", sep="\t", index=False
    )
    return made


def run(*words: str | Path) -> None:
    main([str(word) for word in words])


def test_csv_ends_in_a_dataset_with_text(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shop / "shop"
    run("csv", "--interactions", shop / "log.csv", "--items", shop / "items.csv", "--out", out)
    told = capsys.readouterr().out
    assert told.splitlines() == [
        f"written to {out} (format table)",
        "30 users, 8 items, 180 rows",
        "density 75.00%; interactions per user 6 to 6, median 6",
        "from January 1, 2024 to December 28, 2024",
        "text 7/8 items, 0 constant, 0 duplicate rows",
        "商品名 7/8 items",
        "columns of the log: user=顧客ID, item=商品コード, timestamp=購入日",
        "columns of the items: item=商品コード, text=商品名",
        "protocol last_out: a split by time would leave 15 test users, fewer than 500",
        "",
        f"next: python -m mmbench check {out}",
    ]
    dataset = load_dataset(DatasetConfig("shop", str(out), protocol="last_out"))
    assert (dataset.n_users, dataset.n_items) == (30, 8)
    assert [len(getattr(dataset.split, part)) for part in ("train", "valid", "test")] == [120, 30, 30]
    assert dataset.features["text"].present.tolist() == [True, True, False, True, True, True, True, True]
    assert dataset.item_ids[0] == "000"
    meta = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    assert meta["provenance"]["format"] == "table"
    assert sorted(meta["provenance"]["files"]) == ["items.csv", "log.csv"]
    assert sorted(path.name for path in shop.iterdir()) == ["items.csv", "log.csv", "shop"]


def test_rows_of_a_value_are_left_out_and_the_folder_says_so(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = pd.read_csv(shop / "log.csv", dtype=str)
    log.assign(状態=["取消", "返金", *["済"] * 178]).to_csv(shop / "log.csv", index=False)
    run(shop / "log.csv", "--out", shop / "shop", "--leave-out", "状態=取消", "--leave-out", "状態=返金")
    told = capsys.readouterr().out
    assert "30 users, 8 items, 178 rows" in told
    assert f"log: 1 row with 状態=取消 is left out ({shop / 'log.csv'}, line 2)" in told
    meta = json.loads((shop / "shop" / "dataset.json").read_text(encoding="utf-8"))
    assert meta["provenance"]["options"]["leave_out"] == ["状態=取消", "状態=返金"]


def test_one_of_each_is_no_plural(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log.csv").write_text("user,item\na,b\n")
    run(tmp_path / "log.csv", "--out", tmp_path / "shop")
    assert capsys.readouterr().out.splitlines()[1] == "1 user, 1 item, 1 row"
    run(tmp_path / "log.csv", "--out", tmp_path / "shop", "--overwrite", "lang=ja")
    assert capsys.readouterr().out.splitlines()[1] == "ユーザー1人、商品1点、1行"


def test_the_commands_told_run(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = pd.read_csv(shop / "log.csv", dtype=str).assign(split="train")  # parts that cannot be used as they are
    log.to_csv(shop / "log.csv", index=False)
    out = shop / "my shop (a=1)"
    run("csv", "--interactions", shop / "log.csv", "--out", out, "--timestamp", "none")
    told = capsys.readouterr().out.splitlines()[-1]
    name, *words = shlex.split(told)[4:]
    assert (name, words) == ("check", [str(out), "dataset.protocol=paper"])
    check.main([*words, "gain=5"])
    told = capsys.readouterr().out.splitlines()[-1]
    name, *overrides = shlex.split(told)[4:]
    assert (name, overrides[-2:]) == ("plan", ["dataset.protocol=paper", "modality=none"])
    config = compose.compose(overrides).config["dataset"]
    assert config["path"] == str(shop / "my shop (a=1)")
    assert load_dataset(DatasetConfig(config["name"], config["path"], protocol=config["protocol"])).n_users == 30


@pytest.mark.parametrize(
    "value", ["plain/../x-1.y", "2024", "null", "a b", "店舗", 'a"b', "a\\", 'a\\"b', "~/x", "a=b,c", "it's"]
)
def test_overrides_survive_the_grammar(value: str) -> None:
    assert compose.parse([override("dataset.path", value)])[0].value() == value


def test_mmrec_there_and_back(mmrec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("mmrec", mmrec, "--out", tmp_path / "data" / "toy")
    told = capsys.readouterr().out.splitlines()
    assert told[1:5] == [
        "10 users, 9 items, 50 rows",
        "density 55.56%; interactions per user 5 to 5, median 5",
        "image 8/9 items, 0 constant, 0 duplicate rows",
        "text 9/9 items, 0 constant, 0 duplicate rows",
    ]
    assert told[5] == "image: 1 all-zero row counts as missing (no missed_img_itemIDs.csv)"
    assert "protocol given: the log has a column 'split'" in told
    assert told[-1] == f"next: python -m mmbench check {tmp_path / 'data' / 'toy'}"
    meta = json.loads((tmp_path / "data" / "toy" / "dataset.json").read_text(encoding="utf-8"))
    read = ["image_feat.npy", "text_feat.npy", "toy.inter", "toy_u_id_mapping.csv"]
    assert sorted(meta["provenance"]["files"]) == read
    dataset = load_dataset(DatasetConfig("toy", str(tmp_path / "data" / "toy")))
    assert sorted(dataset.features) == ["image", "text"]
    assert not dataset.features["image"].present[3]
    run("export-mmrec", tmp_path / "data" / "toy", "--out", tmp_path / "again")
    assert "10 users, 9 items, train / valid / test 30 / 10 / 10 (given)" in capsys.readouterr().out
    assert (tmp_path / "again" / "again.inter").read_bytes() == (mmrec / "toy.inter").read_bytes()
    back, source = read_mmrec(tmp_path / "again"), read_mmrec(mmrec)
    pd.testing.assert_frame_equal(back.log, source.log)
    for name in ("image", "text"):
        assert back.features[name].fingerprint() == source.features[name].fingerprint()


def test_export_splits_where_there_are_no_parts(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("csv", "--interactions", shop / "log.csv", "--items", shop / "items.csv", "--out", shop / "shop")
    message = r"shop has no column 'split' with the part of each row; name it with --split-column, or split with"
    with pytest.raises(ValueError, match=message):
        run("export-mmrec", shop / "shop", "--out", shop / "export")
    assert not (shop / "export").exists()
    run("export-mmrec", shop / "shop", "--out", shop / "export", "--protocol", "last_out")
    source = read_mmrec(shop / "export")
    assert source.log["split"].value_counts().to_dict() == {"train": 120, "valid": 30, "test": 30}
    assert source.log["timestamp"].tolist() == read_folder(shop / "shop").log["timestamp"].tolist()
    assert (shop / "export" / "missed_text_itemIDs.csv").read_text() == "2\n"


def test_an_error_leaves_nothing_behind(shop: Path) -> None:
    before = digests(shop)
    (shop / "bad.csv").write_text("user,item\nu\n")
    for words in (
        ["csv", "--interactions", shop / "bad.csv"],
        ["csv", "--interactions", shop / "log.csv", "--items", shop / "none.csv"],
        ["mmrec", shop],
        ["export-mmrec", shop],
    ):
        with pytest.raises(ValueError):
            run(*words, "--out", shop / "out")
    (shop / "bad.csv").unlink()
    assert digests(shop) == before
    assert sorted(path.name for path in shop.iterdir()) == ["items.csv", "log.csv"]


def test_overwriting(shop: Path, mmrec: Path) -> None:
    out = shop / "out"
    out.mkdir()
    run("csv", "--interactions", shop / "log.csv", "--items", shop / "items.csv", "--out", out)
    before = digests(out)
    with pytest.raises(ValueError, match="out is not empty; name another folder or add --overwrite"):
        run("mmrec", mmrec, "--out", out)
    (shop / "bad.inter").write_text("")
    with pytest.raises(ValueError, match="is empty"):
        run("mmrec", shop, "--out", out, "--overwrite")
    assert digests(out) == before
    run("mmrec", mmrec, "--out", out, "--overwrite")
    assert sorted(read_folder(out).features) == ["image", "text"]
    assert not list(shop.glob(".out*"))


def test_foreign_folders_are_never_overwritten(mmrec: Path, tmp_path: Path) -> None:
    before = digests(mmrec)
    held = "'image_feat.npy', 'text_feat.npy', 'toy.inter', 'toy_u_id_mapping.csv'"
    with pytest.raises(ValueError, match=rf"holds {held}, which this command did not write; it is not overwritten"):
        run("mmrec", mmrec, "--out", mmrec, "--overwrite")
    assert digests(mmrec) == before
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file is a file; name a folder"):
        run("mmrec", mmrec, "--out", tmp_path / "file", "--overwrite")


def test_vectors_that_came_later_are_never_overwritten(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(shop))
    out, words = shop / "out", ("csv", "--interactions", shop / "log.csv", "--items", shop / "items.csv")
    encoded = ("--encode", "text@a=ngram", "--encode", "text=ngram")
    run(*words, "--out", out, *encoded)
    noted = json.loads((out / "dataset.json").read_text(encoding="utf-8"))["encoded"]
    assert sorted(noted) == ["text_feat.npy", "text_feat@a.npy"]
    (out / ".text_feat@a.npy.77.tmp").write_text("")  # an encoder that was killed
    run(*words, "--out", out, "--overwrite")
    assert [path.name for path in out.glob("*_feat*")] == ["text_feat.npy"]
    encode.main([str(out), "text@384=ngram"])
    np.save(out / "audio_feat.npy", np.ones((8, 2), np.float32))
    before = digests(out)
    held = "'audio_feat.npy', 'text_feat@384.json', 'text_feat@384.npy'"
    with pytest.raises(ValueError, match=f"holds {held}, which this command did not write; it is not overwritten"):
        run(*words, "--out", out, "--overwrite", *encoded)
    assert digests(out) == before
    for later in (out / "audio_feat.npy", *out.glob("*@384*")):
        later.unlink()
    text = np.load(out / "text_feat.npy")
    np.save(out / "text_feat.npy", text[::-1])
    with pytest.raises(ValueError, match=r"holds 'text_feat\.npy', which"):
        run(*words, "--out", out, "--overwrite")
    np.save(out / "text_feat.npy", text)
    run(*words, "--out", out, "--overwrite")
    for name in "abcdefg":
        (out / name).touch()
    with pytest.raises(ValueError, match="holds 'a', 'b', 'c', 'd', 'e' and 2 others, which"):
        run(*words, "--out", out, "--overwrite")


def test_what_a_killed_command_left_is_removed_or_put_back(tmp_path: Path) -> None:
    """What a process that lives has there stays, and so does what another machine has."""
    out, ended = tmp_path / "[out]", subprocess.Popen(["true"])
    ended.wait()
    with new_folder(out, lambda _: ("kept",), overwrite=False) as made:
        (made / "kept").write_text("first")
    host = made.name.split("-")[1]
    stay = [tmp_path / f".[out].new-{host}-{os.getppid()}", tmp_path / f".[out].new-00000000-{ended.pid}"]
    left = [tmp_path / f".[out].{word}-{host}-{ended.pid}" for word in ("new", "old")]
    for folder in (*stay, left[0]):
        folder.mkdir()
    out.rename(left[1])  # and here it was killed
    with (
        pytest.raises(ValueError, match="is not empty; name another folder or add --overwrite"),
        new_folder(out, lambda _: ("kept",), overwrite=False),
    ):
        pass
    assert (out / "kept").read_text() == "first"
    assert sorted(tmp_path.glob(".*")) == sorted(stay)
    for folder in left:
        folder.mkdir()
    with new_folder(out, lambda _: ("kept",), overwrite=True) as made:
        (made / "kept").write_text("second")
    assert (out / "kept").read_text() == "second"
    assert sorted(tmp_path.glob(".*")) == sorted(stay)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_somebody_put_there_meanwhile_is_kept(overwrite: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = "holds 'pictures.txt', which this command did not write" if overwrite else "out is not empty"

    def command() -> None:
        with new_folder(out, lambda _: ("kept",), overwrite) as made:
            (made / "kept").write_text("of the command")
            out.mkdir()
            (out / "pictures.txt").write_text("of somebody")

    with pytest.raises(ValueError, match=said):
        command()
    assert digests(tmp_path).keys() == {"out/pictures.txt"}


def test_a_failing_rename_puts_the_old_folder_back(
    mmrec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run("mmrec", mmrec, "--out", out)
    before = digests(out)
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if ".new-" in self.name:
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="disk full"):
        run("mmrec", mmrec, "--out", out, "--overwrite")
    assert digests(out) == before
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: command"),
        (["xlsx"], "the following arguments are required: --out"),
        (["csv", "--out", "x"], "the following arguments are required: --interactions"),
        (["csv", "--out", "x", "--interactions", "log.csv", "--text-dim", "wide"], "--text-dim=wide must be a whole"),
        (["log.csv", "--out", "x", "--text-dim", "0"], "--text-dim=0 must be a whole number of at least 1"),
        (["export-mmrec", "none", "--out", "x", "--k-core", "-1"], "--k-core=-1 must be a whole number of at least 0"),
        (["export-mmrec", "none", "--out", "x", "--split-seed", "²"], "--split-seed=² must be a whole number of at le"),
        (["export-mmrec", "none", "--out", "x", "--min-rating", "good"], "--min-rating=good must be a number"),
        *(
            (
                ["export-mmrec", "none", "--out", "x", "--protocol", protocol],
                f"--protocol='{protocol}' must be one of auto, given, paper, time, last_out",
            )
            for protocol in ("cold", "random")
        ),
        (
            ["none", "--out", "/dev/null/x"],
            "/dev/null cannot be written: what should be a folder is a file; name another",
        ),
        (["none", "--out", "/proc/x/y"], "/proc/x cannot be written: there is no such file or folder; name another"),
        (["csv", "--out", "x", "--interactions", "log.csv", "--colour", "red"], "unrecognized arguments: --colour red"),
        (["export-mmrec", "none", "--out", "x"], "none is not a folder"),
        (["mmrec", "none", "--out", "x"], "none is not there; SOURCE is a file, a folder or a .zip"),
    ],
)
def test_mistakes_are_one_line_and_exit_with_2(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mmbench", "prepare", *words])
    with pytest.raises(SystemExit) as ended:
        mmbench.cli.main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert message in told
    assert not list(tmp_path.iterdir())


def test_the_module_is_a_command() -> None:
    words = [sys.executable, "-m", "mmbench", "prepare", "csv", "--help"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "--interactions" in told
    asked = subprocess.run([*words[:4], "--out", "x"], capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stderr.count("\n")) == (2, 1)


WORLD = ("dataset.world=cold_image", *(f"dataset.world_options.{size}" for size in ("n_users=60", "n_items=80")))


@pytest.mark.thorough
def test_a_planted_world_is_written_with_its_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("planted", *WORLD, "dataset.encoder.image=second", "--out", tmp_path / "world")
    told = capsys.readouterr().out
    meta = json.loads((tmp_path / "world" / "dataset.json").read_text(encoding="utf-8"))
    assert meta["provenance"]["world"] == "cold_image"
    assert meta["provenance"]["options"]["n_users"] == 60
    options = {"n_users": 60, "n_items": 80}
    drawn = DatasetConfig("w", world="cold_image", world_options=options, protocol="given", encoder={"image": "second"})
    truth = planted_truth(drawn)
    assert meta["truth"] == truth.as_record()
    assert f"fused {truth.value(CONTENT_AND_LOG, 'fused'):.4f}\n" in told
    written = load_dataset(DatasetConfig("world", str(tmp_path / "world"), protocol="given"))
    assert written.split.test_fingerprint == load_dataset(drawn).split.test_fingerprint
    assert {m: f.fingerprint() for m, f in written.features.items()} == {
        m: f.fingerprint() for m, f in load_dataset(drawn).features.items()
    }


def test_a_world_too_large_for_its_truth_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(planted, "BLOCK_ENTRIES", 60 * 80 - 1)
    run("planted", *WORLD, "--out", tmp_path / "world")
    assert "truth" not in json.loads((tmp_path / "world" / "dataset.json").read_text(encoding="utf-8"))
    assert "truth" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dataset=ml100k"], "ml100k is no planted world; set dataset.world, for example to complementary"),
        (["dataset.world=moon"], "dataset.world=moon is unknown"),
        (["dataset.k_core=5"], "the truth of a planted world is known only without dataset.k_core"),
        (["dataset.world=redundant,complementary"], "dataset.world=redundant,complementary has several values, which"),
        (["complementary"], "'complementary' is not of the form key=value"),
    ],
)
def test_what_is_no_planted_world_is_refused(tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run("planted", *words, "--out", tmp_path / "world")
    assert not (tmp_path / "world").exists()


def test_two_layouts_of_the_same_files_have_two_digests(tmp_path: Path) -> None:
    found = []
    for name, place in (("a", "1"), ("b", "2"), ("c", ".")):
        folder = tmp_path / name / "log"
        (folder / place).mkdir(parents=True)
        (folder / place / "x.csv").write_bytes(b"user,item\n")
        found.append(prepare_folder._digests(tmp_path / name, [folder, folder / place / "x.csv"]))
    assert len({digests["log"] for digests in found}) == 3
    of_file = hashlib.sha256(b"user,item\n").hexdigest()
    assert [digests[key] for digests, key in zip(found, ("log/1/x.csv", "log/2/x.csv", "log/x.csv"), strict=True)] == [
        of_file
    ] * 3


def test_two_files_of_one_name_have_two_digests(tmp_path: Path) -> None:
    files = [tmp_path / place / "clip.npy" for place in ("text", "image", "audio")]
    for content, file in enumerate(files):
        file.parent.mkdir()
        file.write_bytes(bytes([content]))
    found = prepare_folder._digests(tmp_path / "log.csv", files)
    assert list(found) == ["clip.npy", "clip.npy (2)", "clip.npy (3)"]
    assert list(found.values()) == [hashlib.sha256(bytes([content])).hexdigest() for content in range(3)]
