"""The guided way: six commands, each named by the one before, resumed after any of them."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmbench import cli, paths
from mmbench.cli import prepare_folder
from mmbench.cli.start import _is_override
from mmbench.cli.words import folder_and_pairs
from mmbench.data.sources import read_items, read_log
from mmbench.encoders import images
from mmbench.scheduling import job as job_module
from mmbench.scheduling import sweep
from mmbench.store import files
from tests.cli.conftest import Here, Said
from tests.cli.test_malformed import JAPANESE
from tests.parts import require_modules
from tests.tiny import digests

USERS, ITEMS, EACH = 60, 80, 10
#: So small that a walk takes seconds; the rest of the command line is that of a shop.
QUICK = ("--budget", "touch", "tracking=none", "training.accelerator=cpu", "model=itemknn,hybridknn")
Start = Callable[..., Said]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Start:
    """Run ``mmbench start`` in an empty folder, with answers to its questions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "Pool", Here)
    monkeypatch.setattr(images, "installed", lambda: ["histograms"])

    def run(*words: str, answers: tuple[str, ...] = ()) -> Said:
        capsys.readouterr()
        job_module._dataset.cache_clear()
        job_module._aimed.cache_clear()
        left = list(answers)

        def answered(question: str) -> str:
            print(question)
            if not left:
                raise EOFError
            return left.pop(0)

        monkeypatch.setattr("builtins.input", answered)
        monkeypatch.setattr(sys, "argv", ["mmbench", "start", *words])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        assert not left
        return Said(code, *capsys.readouterr())

    return run


def bought(rng: np.random.Generator) -> pd.DataFrame:
    items = np.hstack([rng.permutation(ITEMS)[:EACH] for _ in range(USERS)])
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, len(items)), unit="D")
    users = [f"M{user:03d}" for user in np.repeat(np.arange(USERS), EACH)]
    frame = pd.DataFrame({"会員番号": users, "商品コード": [f"{item:03d}" for item in items], "数量": 1})
    return frame.assign(受注日=[f"{day:%Y/%m/%d}" for day in days])


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Order lines, a list of items and pictures."""
    folder = tmp_path / "shop"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    bought(rng).to_csv(folder / "受注.csv", index=False, encoding="cp932")
    words = ["赤い靴", "青い帽子", "白い皿", "黒い机", "緑の傘"]
    names = [f"{words[n % 5]} {words[n // 5 % 5]}{n}" for n in range(ITEMS)]
    items = pd.DataFrame({"商品コード": [f"{n:03d}" for n in range(ITEMS)], "商品名": names})
    items.to_csv(folder / "商品マスタ.csv", index=False, encoding="utf-8-sig")
    for code in items["商品コード"]:
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(folder / "images" / f"{code}.png")
    return folder


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Only prepare is run; of the other commands it is noted that they were asked for."""
    asked: list[str] = []
    real = cli.function_of

    def function_of(name: str) -> Callable[[Sequence[str]], object]:
        def run(words: Sequence[str]) -> None:
            asked.append(name)
            if words[0] == "--template":
                (Path(f"economics-{words[1]}.yaml")).write_text("currency: EUR\n")
            if name == "run":
                manifest = paths.manifest_file(Path("multirun/shop"))
                manifest.parent.mkdir(exist_ok=True)
                manifest.touch()

        return real(name) if name == "start" else run

    monkeypatch.setattr(cli, "function_of", function_of)
    return asked


def walk(*words: str) -> None:
    """Start without the command line around it."""
    from mmbench.cli import start

    start.main(words)


def commands(out: str) -> list[str]:
    """The commands that a walk ran, in order."""
    return [line.removeprefix("$ python -m mmbench ") for line in out.splitlines() if line.startswith("$ ")]


def named(out: str) -> list[str]:
    """The commands that were named as the next."""
    return [line.partition(": python -m mmbench ")[2] for line in out.splitlines() if line.startswith(("next: ", "次"))]


@pytest.mark.slow
def test_from_files_to_a_decision(shop: Path, start: Start) -> None:
    said = start("shop", "--yes", *QUICK)
    assert (said.code, said.err) == (0, ""), said.err
    ran = commands(said.out)
    sweep_words = "experiment=company dataset.name=shop dataset.path=data/shop budget=touch sweep.name=shop"
    tail = "tracking=none training.accelerator=cpu model=itemknn,hybridknn"
    assert ran == [
        "prepare shop/受注.csv --items shop/商品マスタ.csv --encode image=histograms --encode images=shop/images --out "
        "data/shop",
        "check data/shop",
        "signal dataset=folder dataset.name=shop dataset.path=data/shop",
        f"plan {sweep_words} {tail}",
        f"-m {sweep_words} {tail}",
        "decide --template default",
        "decide multirun/shop economics=economics-default.yaml",
    ]
    # What every command names as the next one is what the walk runs next; budget and models are the test's own.
    assert named(said.out) == [
        *ran[1:3],
        f"plan {sweep_words.replace('touch', 'small')}",
        ran[4],
        "decide multirun/shop",
    ]
    assert "protocol: it is" not in said.out  # auto is resolved, and no contradiction
    assert (Path("multirun/shop/report/decision.html")).is_file()
    record = files.read_document(paths.decision_file(Path("multirun/shop")))
    assert record["result"]["action"] == "HOLD"
    assert read_log(Path("data/shop"))["user_id"].nunique() == USERS
    again = start("shop", "--yes", *QUICK)
    assert again.code == 0
    assert again.out.count("done before") == 4  # prepare, check, signal and the sweep; plan has nothing to tell
    assert commands(again.out)[-1] == ran[-1]


@pytest.mark.thorough
def test_images_beside_two_more_modalities_are_decided_about(shop: Path, start: Start) -> None:
    np.save("sounds.npy", np.random.default_rng(1).normal(size=(ITEMS, 4)).astype(np.float32))
    Path("sounds.ids.txt").write_text("".join(f"{item:03d}\n" for item in range(ITEMS)), encoding="utf-8")
    said = start("shop", "--yes", *QUICK[:-1], "model=hybridknn", "--features", "audio=sounds.npy")
    assert (said.code, said.err) == (0, ""), said.err
    assert "modality=none,without_image,image,fused,shuffled_image,fused_shuffled_image" in commands(said.out)[4]
    assert Path("multirun/shop/report/decision.html").is_file()
    gates = files.read_document(paths.decision_file(Path("multirun/shop")))["result"]["gates"]
    assert [gate["command"] for gate in gates if gate["name"] == "G3"] == [""]  # no control is missing
    assert "hybridknn,fused_vs_without_image," in Path("multirun/shop/report/verdicts.csv").read_text(encoding="utf-8")


@pytest.mark.slow
def test_what_is_named_can_be_typed(shop: Path, start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    """A user who types what each command names comes as far as the guided one."""
    folder = shop.rename(shop.with_name("my shop"))
    first = ["prepare", str(folder / "受注.csv"), "--items", str(folder / "商品マスタ.csv"), "--out", "data/my shop"]
    line = shlex.join([*first, "--encode", "image=histograms", "--encode", f"images={folder / 'images'}"])
    steps = []
    quick = {"plan": ["budget=touch", "model=hybridknn", "tracking=none", "training.accelerator=cpu"]}
    while line:
        name, *words = shlex.split(line)
        steps.append("run" if name == "-m" else name)
        own = quick.get(name, [])
        words = [word for word in words if word.split("=")[0] not in {own_word.split("=")[0] for own_word in own}]
        rest = [*words, *own] if name != "-m" else [name, *words]
        sys.argv = ["mmbench", *rest]
        capsys.readouterr()
        cli.function_of(steps[-1])(rest)
        line = next(iter(named(capsys.readouterr().out)), "")
    assert steps == ["prepare", "check", "signal", "plan", "run", "decide", "decide"]
    assert Path("economics-default.yaml").is_file()


@pytest.mark.parametrize("step", ["check", "signal", "plan", "run", "decide"])
def test_stopped_anywhere_it_goes_on(
    step: str, shop: Path, start: Start, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = ["check", "signal", "plan", "run", "decide", "decide"]
    stubs = cli.function_of
    with monkeypatch.context() as patch:
        patch.setattr(cli, "function_of", lambda name: interrupt if name == step else stubs(name))
        with pytest.raises(KeyboardInterrupt):
            walk("shop", "--yes", *QUICK)
    assert ran == steps[: steps.index(step)]
    ran.clear()
    walk("shop", "--yes", *QUICK)
    assert ran == steps[steps.index(step) :]  # nothing that was done is done again
    ran.clear()
    walk("shop", "--yes", *QUICK)
    assert ran == ["decide"]  # its sums may be others now
    walk("shop", "--yes", *QUICK, "statistics.delta=0.01")
    assert ran == ["decide", "plan", "run", "decide"]  # another sweep
    ran.clear()
    shutil.rmtree(Path("multirun/shop"))
    walk("shop", "--yes", *QUICK, "statistics.delta=0.01")
    assert ran == ["run", "decide"]  # there was nothing left to decide from
    (shop / "受注.csv").write_bytes((shop / "受注.csv").read_bytes() + b"M001,001,1,2024/1/1\n")
    ran.clear()
    refused = start("shop", *QUICK, answers=("n", "y"))
    assert "data/shop was made from other files or options; make it anew? [Y/n]" in refused.out
    assert "data/shop is not empty; name another folder or add --overwrite" in refused.err
    assert len(read_log(Path("data/shop"))) == USERS * EACH
    walk("shop", "--yes", *QUICK, "--overwrite")
    assert ran == ["check", "signal", "plan", "run", "decide"]  # other data
    assert len(read_log(Path("data/shop"))) == USERS * EACH + 1


@pytest.mark.parametrize(("step", "is_there"), [("_encode", False), ("_protocol", True)])
def test_a_folder_that_was_left_unfinished_is_written_anew(
    step: str, is_there: bool, shop: Path, start: Start, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(prepare_folder, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            walk("shop", "--yes", *QUICK)
    assert Path("data/shop").exists() == is_there
    walk("shop", "--yes", *QUICK)
    assert Path("data/shop/image_feat.npy").is_file()
    assert ran[0] == "check"


@pytest.mark.slow
def test_killed_within_the_sweep_it_ends_as_one_that_was_not(shop: Path, start: Start, tmp_path: Path) -> None:
    """A real ``kill -9`` of the whole walk, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mmbench", "start", "shop", "--yes", *QUICK, "sweep.workers=1"]
    for place in ("whole", "killed"):
        shutil.copytree(shop, tmp_path / place / "shop")
        if place == "killed":
            begun = subprocess.Popen(command, cwd=tmp_path / place, env=environment, start_new_session=True)
            while begun.poll() is None and not list((tmp_path / place).glob("multirun/shop/shop/*/*/choice.json")):
                time.sleep(0.05)
            assert begun.poll() is None
            os.killpg(begun.pid, signal.SIGKILL)
            begun.wait()
        done = subprocess.run(
            command, cwd=tmp_path / place, env=environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stderr
    whole, killed = (digests(tmp_path / place / "multirun" / "shop" / "shop") for place in ("whole", "killed"))
    assert {name for name in whole if name.endswith("sealed.json")}
    assert killed == whole


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_only_what_cannot_be_found_out_is_asked(shop: Path, start: Start, ran: list[str]) -> None:
    log = pd.read_csv(shop / "受注.csv", encoding="cp932", dtype=str)
    log.columns = pd.Index(["誰", "何", "いくつ", "いつ"])
    log.loc[:4, "いくつ"] = "▲1"
    log.to_csv(shop / "受注.csv", index=False, encoding="cp932")
    # The log, a column that is none, who, what; the pictures, when, returns, their purchases, the sweep.
    said = start("shop/受注.csv", "shop/商品マスタ.csv", *QUICK, answers=("1", "9", "1", "2", "y", "", "", "n", "n"))
    assert said.code == 0, said.err
    asked = said.out
    assert "Which table holds the purchases?" in asked
    assert "Which column says who bought?\n  1  誰\n  2  何" in asked
    assert "Are the pictures in shop/images? [Y/n]" in asked
    assert "いつ holds dates (first: 2024/" in asked
    assert "Add --timestamp いつ? [Y/n]" in asked
    assert "Add --quantity いくつ? [Y/n]" in asked
    first, second = (line for line in commands(asked) if line.startswith("prepare"))
    assert first.endswith("--out data/shop")
    assert "--user 誰 --item 何" in second
    assert second.endswith("--quantity いくつ --timestamp いつ --out data/shop --overwrite")
    assert "the purchases that they give back are left out too. Add --cancel-returns? [y/N]" in asked
    assert "Start the sweep now? [Y/n]" in asked
    assert named(asked)[-1].startswith("-m experiment=company")
    again = start("shop/受注.csv", "shop/商品マスタ.csv", *QUICK, answers=("n",))
    assert again.code == 0
    assert "Which" not in again.out
    assert again.out.count("done before") == 4


def test_cancelled_orders_are_left_out_by_an_answer(shop: Path, start: Start, ran: list[str]) -> None:
    log = pd.read_csv(shop / "受注.csv", encoding="cp932", dtype=str)
    states = ["キャンセル", "返品", *["発送済"] * (len(log) - 2)]
    log.assign(状態=states).to_csv(shop / "受注.csv", index=False, encoding="cp932")
    # The pictures, the states, the sweep.
    said = start("shop/受注.csv", "shop/商品マスタ.csv", *QUICK, answers=("y", "y", "n"))
    assert said.code == 0, said.err
    assert "Add --leave-out 状態=キャンセル --leave-out 状態=返品? [y/N]" in said.out
    *_, last = (line for line in commands(said.out) if line.startswith("prepare"))
    assert "--leave-out 状態=キャンセル --leave-out 状態=返品" in last
    assert "log: 1 row with 状態=返品 is left out" in said.out


def test_a_yes_to_one_column_of_states_answers_no_other(shop: Path, start: Start, ran: list[str]) -> None:
    log = pd.read_csv(shop / "受注.csv", encoding="cp932", dtype=str)
    sent = ["発送済"] * (len(log) - 1)
    log.assign(状態=["キャンセル", *sent], 返送=[*sent, "返品"]).to_csv(
        shop / "受注.csv", index=False, encoding="cp932"
    )
    # The pictures, both columns, the sweep.
    said = start("shop/受注.csv", "shop/商品マスタ.csv", *QUICK, answers=("y", "y", "y", "n"))
    assert said.code == 0, said.err
    *_, last = (line for line in commands(said.out) if line.startswith("prepare"))
    assert "--leave-out 状態=キャンセル --leave-out 返送=返品" in last


def test_another_folder_of_the_same_name_is_left_alone(shop: Path, start: Start, ran: list[str]) -> None:
    assert start("shop", "--yes", *QUICK, "--out", "east/shop").code == 0
    other = Path("west/shop/theirs.txt")
    other.parent.mkdir(parents=True)
    other.write_text("keep")
    said = start("shop", "--yes", *QUICK, "--out", "west/shop")
    assert (said.code, said.err.count("\n")) == (2, 1), said.err
    assert "--out west/shop: multirun/start-shop/start.json is how far the walk to east/shop has come" in said.err
    # Moved together, they are one walk; without its folder, it is none.
    shutil.copytree("east", "moved/east")
    shutil.copytree("multirun", "moved/multirun")
    moved = start("shop", "--yes", *QUICK, "--out", "moved/east/shop", "paths.multirun=moved/multirun")
    assert "has come" not in moved.err
    shutil.rmtree("east/shop")
    said = start("shop", "--yes", *QUICK, "--out", "west/shop")
    assert "west/shop is not empty; name another folder or add --overwrite" in said.err
    assert other.read_text() == "keep"


def test_the_decision_reads_the_folders_that_were_named(
    shop: Path, start: Start, ran: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    pictures = (shop / "images").rename(elsewhere / "pictures")
    words = ["shop", "--yes", *QUICK, "--images"]
    said = start(*words, str(pictures))
    assert (said.code, ran[-1]) == (0, "decide"), said.err
    assert commands(said.out)[-1] == f"decide multirun/shop economics=economics-default.yaml --allow {pictures}"
    said = start(*words, str(pictures), "--out", str(elsewhere / "shop"), "paths.multirun=again")
    assert commands(said.out)[-1].endswith(f" --allow {elsewhere / 'shop'} --allow {pictures}")
    said = start(*words, str(pictures.rename(shop / "images")))
    assert commands(said.out)[-1] == "decide multirun/shop economics=economics-default.yaml"  # it is read anyway


def test_a_name_that_is_not_utf8_beside_the_table_is_no_fault(start: Start, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "a.csv").write_text("user,item\nu,a\nu,b\nv,a\nv,b\n")
    (tmp_path / "small" / os.fsdecode("メモ".encode("cp932"))).write_text("x")
    said = start("small", "--yes", *QUICK)
    assert "A sweep cannot read this folder" in said.out  # two users are too few
    assert "data/small has not ended well" in said.out + said.err


def test_tables_are_told_apart(shop: Path, start: Start, ran: list[str]) -> None:
    require_modules("openpyxl")
    with pd.ExcelWriter(shop / "店.xlsx", engine="openpyxl") as book:
        pd.DataFrame({"説明": ["この表は"]}).to_excel(book, sheet_name="説明", index=False)
        pd.read_csv(shop / "商品マスタ.csv", dtype=str).to_excel(book, sheet_name="商品", index=False)
        pd.read_csv(shop / "受注.csv", encoding="cp932", dtype=str).to_excel(book, sheet_name="受注", index=False)
    said = start("shop/店.xlsx", *QUICK, answers=("n", "n"))
    assert said.code == 0, said.err
    assert (
        commands(said.out)[0]
        == "prepare shop/店.xlsx --sheet 受注 --items shop/店.xlsx --items-sheet 商品 --out data/店"
    )
    assert len(read_items(Path("data/店"))) == ITEMS


def test_a_list_of_items_without_texts_is_taken_where_none_are_wanted(shop: Path, start: Start, ran: list[str]) -> None:
    items = pd.read_csv(shop / "商品マスタ.csv", dtype=str)
    items.drop(columns="商品名").assign(価格="1").to_csv(shop / "商品マスタ.csv", index=False)
    said = start("shop/受注.csv", "shop/商品マスタ.csv", "--yes", "--text", "none", *QUICK)
    assert said.code == 0, said.err
    assert commands(said.out)[0].startswith("prepare shop/受注.csv --items shop/商品マスタ.csv --text none ")
    assert list(read_items(Path("data/shop"))) == ["item_id"]


def test_a_sheet_that_is_named_is_the_table(shop: Path, start: Start, ran: list[str]) -> None:
    """Of several sheets that could be it; what is asked of columns is asked of that sheet."""
    require_modules("openpyxl")
    log = pd.read_csv(shop / "受注.csv", encoding="cp932", dtype=str)
    listed = pd.read_csv(shop / "商品マスタ.csv", dtype=str)
    odd = log.rename(columns={"会員番号": "誰"})
    sheets = {"受注2023": log, "受注2024": odd, "商品": listed, "商品2023": listed, "空": pd.DataFrame()}
    with pd.ExcelWriter(shop / "店.xlsx", engine="openpyxl") as book:
        for name, frame in sheets.items():
            frame.to_excel(book, sheet_name=name, index=False)
    (shop / "images").rename(shop / "pictures")
    words = ["shop/店.xlsx", *QUICK]
    choices = ", ".join(f"shop/店.xlsx ({name})" for name in ("受注2024", "商品", "商品2023"))
    said = start(*words, "--yes")
    assert said.err == (
        "error: Which table lists the items? It cannot be found out: add --items-sheet; choices are " + choices + "\n"
    )
    said = start(*words, "--yes", "--sheet", "受注2024", "--items-sheet", "商品")
    asked = "Which column says who bought? It cannot be found out: add --user; choices are 誰, 商品コード, 数量, 受注日"
    assert said.err == f"error: {asked}\n"
    said = start(*words, "--sheet", "受注2024", "--items-sheet", "商品", answers=("1", "n"))
    assert said.code == 0, said.err
    assert "Which table" not in said.out
    book_words = "shop/店.xlsx --user 誰 --items shop/店.xlsx"
    assert commands(said.out)[0] == f"prepare {book_words} --sheet 受注2024 --items-sheet 商品 --out data/店"
    for option, sheet in (("--sheet", "受注"), ("--items-sheet", "受注")):
        said = start(*words, "--yes", option, sheet)
        assert said.err.startswith(f"error: shop/店.xlsx has no sheet '{sheet}'; sheets are 受注2023, 受注2024, 商品")
    assert start(*words, "--yes", "--sheet", "空").err.startswith("error: shop/店.xlsx is empty; its first line must")
    with pd.ExcelWriter(shop / "店.xlsx", engine="openpyxl") as book:
        for name in ("受注2023", "商品"):
            sheets[name].to_excel(book, sheet_name=name, index=False)
        log.to_excel(book, sheet_name="受注2024", index=False)
    said = start(*words, "--yes")
    assert (
        "Which table holds the purchases? It cannot be found out: add --sheet; choices are shop/店.xlsx (" in said.err
    )
    said = start(*words, "--yes", "--sheet", "受注2024")
    assert said.code == 0, said.err
    named_sheets = "--items shop/店.xlsx --items-sheet 商品 --sheet 受注2024"
    assert commands(said.out)[0] == f"prepare shop/店.xlsx {named_sheets} --out data/店 --overwrite"
    with pd.ExcelWriter(shop / "空.xlsx", engine="openpyxl") as book:
        pd.DataFrame().to_excel(book, index=False)
    assert start("shop/空.xlsx", *QUICK).err.startswith("error: shop/空.xlsx is empty; its first line must name")


@pytest.mark.parametrize("files", [("log.csv", "items.csv"), ("items.csv", "log.csv")])
def test_a_list_of_items_has_an_encoding_of_its_own(files: tuple[str, str], start: Start, ran: list[str]) -> None:
    log = bought(np.random.default_rng(0))
    log.to_csv("log.csv", index=False)
    listed = pd.DataFrame({"item": log["商品コード"].unique(), "name": "café"})
    listed.assign(name=listed["name"] + listed["item"]).to_csv("items.csv", index=False, encoding="cp1252")
    no_text = "error: items.csv is not utf-8 text ("
    assert start(*files, "--yes", *QUICK).err.startswith(no_text)
    said = start(*files, "--yes", "--items-encoding", "cp1252", "--out", "data/shop", *QUICK)
    assert said.code == 0, said.err
    prepared = "prepare log.csv --items items.csv --items-encoding cp1252 --out data/shop"
    assert commands(said.out)[0] == prepared
    assert set(read_items(Path("data/shop"))["name"].str[:4]) == {"café"}
    assert start("items.csv", "--yes", "--items-encoding", "cp1252", *QUICK).err.startswith(no_text)
    assert "items.csv is not ascii text (" in start("log.csv", "items.csv", "--items-encoding", "ascii", *QUICK).err


@pytest.mark.slow
def test_without_images_there_is_nothing_to_decide(shop: Path, start: Start) -> None:
    said = start(
        "shop/受注.csv", "shop/商品マスタ.csv", "--yes", "--out", "data/plain", *QUICK, "--encode", "image=none"
    )
    assert said.code == 2  # an encoder that is none
    (shop / "images").rename(shop / "pictures")
    said = start("shop", "--yes", "--out", "data/texts", *QUICK)
    assert said.code == 0, said.err
    assert "modality=none,text" in commands(said.out)[-1]
    assert "The items have no images, so there is nothing to decide about them; multirun/texts/report holds" in said.out


@pytest.mark.slow
def test_what_blocks_stops_the_walk(shop: Path, start: Start) -> None:
    log = pd.read_csv(shop / "受注.csv", encoding="cp932", dtype=str).assign(受注日="2099/1/1")
    log.to_csv(shop / "受注.csv", index=False, encoding="cp932")
    said = start("shop", "--yes", *QUICK)
    assert said.code == 2
    assert "BLOCKS: " in said.out
    assert "python -m mmbench check data/shop has not ended well; correct what it says, and the same start" in said.out
    assert "signal" not in " ".join(commands(said.out))
    bought(np.random.default_rng(0)).to_csv(shop / "受注.csv", index=False, encoding="cp932")
    assert start("shop", "--yes", *QUICK).code == 0  # other files are read again, into the same folder


@pytest.mark.slow
def test_everything_it_says_is_japanese(shop: Path, start: Start) -> None:
    said = start("shop", "--yes", *QUICK, "lang=ja")
    assert (said.code, said.err) == (0, ""), said.err
    assert all(JAPANESE.search(line) for line in said.out.splitlines() if line.startswith("==="))
    assert "decide --template yen lang=ja" in commands(said.out)
    assert commands(said.out)[-1] == "decide multirun/shop economics=economics-yen.yaml lang=ja"
    assert named(said.out)[:2] == commands(said.out)[1:3]
    assert JAPANESE.search(Path("economics-yen.yaml").read_text(encoding="utf-8"))


def test_the_folder_of_sweeps_is_that_of_the_configuration(shop: Path, start: Start, ran: list[str]) -> None:
    """Hydra takes most of its letters in quotes only, which are none of its name."""
    Path("multirun").mkdir()  # where the noted run leaves its manifest
    said = start("shop/受注.csv", "--yes", "paths.multirun='結果'")
    assert (said.code, said.err) == (0, "")
    assert [place.name for place in Path("結果").iterdir()] == ["start-受注"]


@pytest.mark.parametrize(
    "word", ["hydra/launcher=slurm", "~tracking", "~search.model.k", f"model={','.join(['itemknn', 'hybridknn'] * 20)}"]
)
def test_a_word_of_the_configuration_is_no_file(word: str) -> None:
    assert _is_override(word)


@pytest.mark.parametrize("word", ["~backup/orders.csv", "orders/day=1.csv", "orders.csv", "a" * 300])
def test_a_file_is_no_word_of_the_configuration(word: str) -> None:
    assert not _is_override(word)


def test_a_long_word_is_no_folder() -> None:
    words = ["sweep", f"economics={'a' * 300}"]
    assert folder_and_pairs(words, "decide") == (Path("sweep"), [("economics", "a" * 300)])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--yes"], "the following arguments are required: FILE"),
        (["tracking=none"], "no file is named; write the file of your order lines first"),
        (["nowhere.csv"], "nowhere.csv is not there; SOURCE is a file, a folder or a .zip"),
        (
            ["shop/strange.csv", "--yes"],
            "Which column says who bought? It cannot be found out: add --user; choices are a, b",
        ),
        (["shop/strange.csv"], "nobody answers; --yes takes the likely answer of every question"),
        (["shop", "--images", "nowhere", "--yes"], "--images nowhere is not a folder"),
        (["shop/受注.csv", "--yes", "--out", "full"], "full is not empty; name another folder or add --overwrite"),
        (["shop", "--yes", "--out", "data/odd"], "start.json is no progress of a walk: "),
        (["shop", "paths.multirun=5"], "paths.multirun=5 must be a text"),
        (["shop", "paths.multirun="], "paths.multirun is empty"),
        (["shop/u.data", "shop/受注.csv", "--yes"], "shop/u.data is a source by itself, and shop/受注.csv is none of"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str, shop: Path, start: Start) -> None:
    (shop / "strange.csv").write_text("a,b\n1,2\n")
    (shop / "u.data").write_text("1\t2\t3\t4\n")
    Path("full").mkdir()
    (Path("full") / "dataset.json").write_text("{}")
    files.write_document(paths.walk_file(Path("multirun"), "odd"), {"done": ["x"]})
    for _ in range(2):  # the second call finds what the first one left
        said = start(*words)
        assert (said.code, said.err.count("\n")) == (2, 1), said.err
        assert message in said.err
    assert (Path("full") / "dataset.json").read_text() == "{}"
