"""What is kept of a study on real data, and the page."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench import paths
from mmbench.messages.commands import command_line
from mmbench.report.fairness_checks import read_groups
from mmbench.report.reading import read_sweep
from mmbench.report.tuned import write_tuned
from mmbench.report.write import write_report
from mmbench.store import records
from mmbench.store.schema import Cell
from tests.studies import real, sweeps
from tests.studies.data_sets import DATA_SETS, DataSet, data_of, title_of


def verdicts(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """Published verdicts: model, contrast and word of each."""
    frame = pd.DataFrame(rows, columns=["model", "contrast", "verdict"])
    return frame.assign(dataset="shop", sentence="said", reason="one side was searched more than the other")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands that publishing runs; tables are written, nothing is audited."""
    commands: list[tuple[str, ...]] = []

    def mmbench(*words: str) -> None:
        commands.append(words)
        if words[0] == "report":
            write_tuned(read_sweep(Path(words[1])), Path(words[3]), replace="--replace" in words)
        if words[0] == "bundle":
            write_report(Path(words[1]))
            Path(words[2]).write_bytes(b"records")

    monkeypatch.setattr(sweeps, "mmbench", mmbench)
    return commands


@pytest.fixture
def study(shop_sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> real.Published:
    """A study that is published into an empty folder."""
    monkeypatch.setattr(real, "ROOT", tmp_path)
    monkeypatch.setattr(real.Published, "sweep", Path(shutil.copytree(shop_sweep, tmp_path / "sweep")))
    monkeypatch.setitem(
        DATA_SETS,
        "shop",
        DataSet("A shop", "a purchase", "a till", "none", {"text": "words"}, further={"text=other": "letters"}),
    )
    return real.Published("shop")


@pytest.mark.thorough
def test_a_study_is_published_with_what_its_tables_need(study: real.Published, asked: list[tuple[str, ...]]) -> None:
    study.publish()
    assert [words[0] for words in asked] == ["audit", "report", "bundle"]  # the audit first: every table says how far
    kept = {file.name for file in study.folder.iterdir()}
    needed = {"plan.json", "trials.csv", "tuning.json", "ranks.parquet", "published.json", "benchmark.md", "table.tex"}
    assert needed <= kept
    assert not [name for name in kept if ".ja." in name]
    assert study.folder.joinpath("plan.json").read_bytes() == paths.manifest_file(study.sweep).read_bytes()
    assert np.isfinite(pd.read_csv(study.folder / "trials.csv").validation).all()
    page = study.page.read_text(encoding="utf-8")
    assert page.startswith("# Study: A shop\n")
    assert f"`study_shop.zip`, 0.0 MB, SHA-256 `{hashlib.sha256(b'records').hexdigest()}`" in page
    assert "| proof | records: consistent; root " in page
    assert f" cores, {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB |" in page
    judged = real.worded(pd.read_csv(study.folder / "verdicts.csv"))
    assert len(judged)
    for row in judged.itertuples():
        assert f"- *{row.verdict}*: {row.sentence}\n" in page
    shown = {f"forest-{contrast}.svg" for contrast in judged.contrast} | {"gains.svg"}
    assert {figure.name for figure in study.figures.iterdir()} == shown
    for figure in shown:
        assert f"(../images/studies/shop/{figure})" in page


@pytest.mark.thorough
def test_a_page_says_commits_commands_and_data_as_the_records_do(
    study: real.Published, asked: list[tuple[str, ...]]
) -> None:
    study.publish()
    page = study.page.read_text(encoding="utf-8")
    recorded = records.read(next(study.sweep.rglob("cell.json")), Cell)
    assert f"| commit | {recorded.versions['commit']} |" in page
    assert f"\n{command_line(study.manifest.revisions[0].command)}\n" in page
    assert "| text | words; " in page
    users = len(pd.read_parquet(next(study.sweep.rglob("*.test.parquet"))).user.unique())
    assert f"| test users | {users:,} |" in page
    assert re.search(r"\| counts \| \d+ users, \d+ items; [\d,]+ interactions for training, ", page)
    groups = read_groups(read_sweep(study.sweep), study.sweep)
    groups[0].cells[0].cell.versions["commit"] = "f" * 40  # trained later than the others
    again = study.text(read_sweep(study.sweep), groups)
    n = sum(len(group.cells) for group in groups)
    assert f"{recorded.versions['commit']} ({n - 1} conditions); {'f' * 40} (1 condition)" in again


@pytest.mark.thorough
def test_configurations_of_other_records_are_not_replaced(study: real.Published, asked: list[tuple[str, ...]]) -> None:
    study.publish()
    study.publish()  # its own
    file = next(study.tuned.rglob("*.yaml"))
    file.write_text(file.read_text(encoding="utf-8").replace("root: ", "root: f"), encoding="utf-8")
    asked.clear()
    with pytest.raises(ValueError, match="holds a configuration of root f"):
        study.publish()
    assert not asked  # not even the audit
    study.publish(replace=True)
    assert f"\nroot: {read_sweep(study.sweep).standing.root}\n" in file.read_text(encoding="utf-8")


def test_a_study_beside_the_main_one_writes_no_configurations(
    study: real.Published, asked: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real.Published, "beside", True)
    study.publish()
    assert [words[0] for words in asked] == ["audit", "bundle"]
    assert not study.tuned.exists()


@pytest.mark.parametrize(
    ("name", "beside"),
    [("ml100k", False), ("ml100k_vbpr", False), ("baby_ids", False), ("ml100k_draws", True), ("lfm2k_splits", True)],
)
def test_which_studies_stand_beside_the_main_one(name: str, beside: bool) -> None:
    assert real.Published(name).beside is beside


@pytest.mark.thorough
def test_a_page_names_every_encoder_that_was_read(study: real.Published, asked: list[tuple[str, ...]]) -> None:
    study.publish()
    groups = read_groups(read_sweep(study.sweep), study.sweep)
    cells = [cell.cell for group in groups for cell in group.cells if any("text " in line for line in cell.cell.data)]
    cells[0].config["dataset"]["encoder"]["text"] = "other"
    page = study.text(read_sweep(study.sweep), groups)
    (line,) = [line for line in page.splitlines() if line.startswith("| text | ")]
    assert "`default`: words; " in line
    assert "`other`: letters; " in line


def test_what_has_no_word_is_counted_and_a_single_model_is_not_the_best_of_all() -> None:
    rows = verdicts(
        ("addease", "text_vs_none", "equivalent"),
        ("addease", "free_disposal_of_text", "no word"),
        ("all models", "free_disposal_of_text", "no word"),
        ("addease", "free_disposal_of_image", "equivalent"),
        ("all models", "free_disposal_of_image", "equivalent"),
    )
    assert list(real.worded(rows).index) == [0, 3]
    several = pd.concat([rows, verdicts(("ials", "text_vs_none", "worse"))], ignore_index=True)
    assert list(real.worded(several).index) == [0, 3, 4, 5]
    (line,) = real.silent(rows)
    assert line.startswith("- 2 further rows of `verdicts.csv` have no word, all about free disposal, because one side")
    assert not list(real.silent(rows[:1]))


def test_figures_are_described_in_words() -> None:
    said = real.described("forest-fused_vs_text_shuffled_image")
    assert said == "Tuned gain of all modalities over text with shuffled images, by model, with intervals"
    assert real.described("forest-text_vs_shuffled").startswith("Tuned gain of text over shuffled content, ")
    assert real.described("gains") == "Tuned gains of all contrasts by model"


@pytest.mark.parametrize("name", [folder.name for folder in sorted((sweeps.ROOT / "studies").iterdir())])
def test_every_published_study_has_a_title_and_its_sizes(name: str) -> None:
    page = real.Published(name).page.read_text(encoding="utf-8")
    assert page.startswith(f"# Study: {title_of(name)}\n")
    assert f"| licence | {data_of(name).licence} |" in page
    assert f"`study_{name}.zip`, " in page
