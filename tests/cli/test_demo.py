"""``python -m mmbench demo``: order lines of a real shop become a table."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from mmbench import paths
from mmbench.data.sources import read_folder
from mmbench.report.reading import read_sweep
from tests.cli.conftest import Command
from tests.docs.demo_data import DEMO, reduced

TOUCHED = ("budget=touch", "tracking=none", "model=contentknn", "modality=text")


@pytest.fixture
def data(tmp_path: Path) -> str:
    return f"paths.data={tmp_path / 'data'}"


@pytest.mark.thorough
def test_order_lines_become_a_table_and_are_prepared_once(command: Command, tmp_path: Path, data: str) -> None:
    first = command("demo", *TOUCHED, data)
    assert (first.code, first.err) == (0, "")
    folder = tmp_path / "data" / "online_retail"
    steps = [line for line in first.out.splitlines() if line.startswith("$ ")]
    assert [step.split()[4] for step in steps] == ["prepare", "experiment=demo"]
    assert "1,000 users, 400 items, 15,033 rows" in first.out
    assert "Chen, Sain and Guo 2012, CC BY 4.0" in first.out
    (name,) = read_sweep(tmp_path / "demo").cells
    assert name == ("online_retail", "contentknn", "text")
    assert read_folder(folder).features["text"].present.all()
    assert first.out.endswith(f"\neverything on one page: {tmp_path / 'demo' / 'report' / 'report.html'}\n")

    again = command("demo", *TOUCHED, data)
    assert (again.code, again.err) == (0, "")
    assert "prepare" not in again.out


def test_the_preset_alone_says_where_its_data_come_from(command: Command, data: str) -> None:
    said = command("experiment=demo", "dataset=online_retail", *TOUCHED, data)
    assert said.code == 2
    assert "python -m mmbench demo prepares them" in said.err
    assert said.err.count("\n") == 1


def test_the_demo_in_japanese_ends_with_its_page(command: Command, data: str) -> None:
    said = command("demo", *TOUCHED, data, "lang=ja")
    assert (said.code, said.err) == (0, "")
    assert "注文明細" in said.out
    assert [line.split()[-1] for line in said.out.splitlines() if line.startswith("$ ")] == ["lang=ja"] * 2
    said_last, page = said.out.splitlines()[-1].split(": ")
    assert said_last == "すべてを1ページにまとめた結果"
    assert '<html lang="ja"' in Path(page).read_text()


def test_a_mistake_is_one_line(command: Command, data: str) -> None:
    said = command("demo", "budgte=small", data)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert "budgte" in said.err


@pytest.mark.parametrize("word", ["dataset=planted", "+dataset=ml100k", "dataset=online_retail,ml100k"])
def test_its_order_lines_never_become_another_data_set(command: Command, tmp_path: Path, data: str, word: str) -> None:
    said = command("demo", word, data)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert "other data is python -m mmbench experiment=demo " in said.err
    assert word in said.err
    assert not (tmp_path / "data").exists()


def test_it_takes_and_refuses_the_words_that_the_sweep_does(command: Command, data: str) -> None:
    for name in ("demo", "experiment=demo"):
        said = command(name, "epochs=5", data)
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
        assert "epochs=5 is a word of other projects; here it is budget.max_steps=STEPS" in said.err
    said = command("demo", *TOUCHED, "modality.states.video=shuffle", data)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "has no modality 'video' (asked as shuffle); it has: text" in said.err


def test_the_wheel_finds_the_order_lines_inside_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert paths.demo_dir() == DEMO
    shutil.copytree(DEMO, tmp_path / "demo")
    monkeypatch.setattr(paths, "PACKAGE", tmp_path)
    assert paths.demo_dir() == tmp_path / "demo"


def test_the_files_are_the_cut_that_their_readme_describes(shared_data: Path) -> None:
    for name, table in zip(("order_lines", "products"), reduced(shared_data / "uci_retail"), strict=True):
        written = pd.read_csv(DEMO / f"{name}.csv", dtype=str)
        pd.testing.assert_frame_equal(written, table.reset_index(drop=True).astype(str), check_dtype=False)
