"""The published tables in their own layout, with our numbers beside them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench import paths
from mmbench.report.evidence import proved
from mmbench.report.fairness_checks import read_groups
from mmbench.report.layout import csv as as_csv
from mmbench.report.layout import latex, markdown
from mmbench.report.published import METRICS, Row, document, read_published
from mmbench.report.reading import read_sweep
from mmbench.report.write import write_report
from tests.report.constructed import Made, hit_users, write_sweep

USERS = 100
STATES = {
    "fused": ("real", "real"),
    "zeros": ("zeros", "zeros"),
    "text_noise_image": ("real", "noise"),
    "none": ("drop",) * 2,
}
#: Made-up numbers in the format of the study's appendix.
PUBLISHED = """table,title,model,dataset,{metrics},{changes}
4,"Models, baseline & all",DA-MRS,Baby,0.0211,0.0275,0.0323,0.0517,0.0071,0.0057,,,,,,
4,"Models, baseline & all",VBPR,Sports,0.0100,0.0200,0.0300,0.0400,0.0050,0.0060,,,,,,
7,Image knocked out,DA-MRS,Baby,0.0213,0.0276,0.0324,0.0516,0.0071,0.0057,0.9,0.4,0.3,-0.2,0.0,0.0
9,Both zero,DA-MRS,Baby,0.0000,0.0000,0.0000,0.0000,0.0000,0.0000,-100,-100,-100,-100,-100,-100
10,Another encoder,DA-MRS,Baby,0.0,0.0,0.0,0.0,0.0,0.0,0,0,0,0,0,0
""".format(metrics=",".join(METRICS), changes=",".join(f"d_{metric}" for metric in METRICS))


def cell(end: int, condition: str, dataset: str = "baby", target: str | None = None) -> Made:
    text, image = STATES[condition]
    config = {"dataset": {"name": dataset}, "tuning": {"target": target}}
    return Made(
        np.stack([hit_users(USERS, range(end))] * 2), config=config, cell={"states": {"text": text, "image": image}}
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cells = {
        ("baby", "damrs", "fused"): cell(40, "fused"),
        ("baby-split1", "damrs", "fused"): cell(60, "fused"),
        ("baby-warm", "damrs", "fused"): cell(20, "fused", target="warm"),  # ranks other items
        ("baby", "damrs", "text_noise_image"): cell(45, "text_noise_image"),
        ("baby", "damrs", "none"): cell(30, "none"),
        ("baby", "popularity", "-"): cell(30, "none"),
        ("tiktok", "damrs", "fused"): cell(30, "fused", "tiktok"),
    }
    return write_sweep(tmp_path_factory.mktemp("paper") / "s", cells)


@pytest.fixture(scope="module")
def csv(folder: Path) -> Path:
    file = folder.parent / "appendix.csv"
    file.write_text(PUBLISHED)
    return file


@pytest.fixture(scope="module")
def rows(folder: Path, csv: Path) -> list[Row]:
    return read_published(csv, read_sweep(folder))


def test_our_cells_are_found_by_model_data_set_and_states(rows: list[Row]) -> None:
    found_cells = {(r.table, r.model, r.dataset): [f"{c.dataset}/{c.modality}" for c in r.ours] for r in rows}
    assert found_cells == {
        (4, "DA-MRS", "Baby"): ["baby/fused", "baby-split1/fused"],
        (4, "VBPR", "Sports"): [],
        (7, "DA-MRS", "Baby"): ["baby/text_noise_image"],
        (9, "DA-MRS", "Baby"): [],
    }


def test_numbers(rows: list[Row]) -> None:
    whole, _, text, _ = rows
    assert whole.mean("NDCG@5") == pytest.approx(0.5)  # the mean of two splits
    assert whole.mean("Precision@10") == pytest.approx(0.05)
    assert whole.change("NDCG@5") is None
    assert text.change("NDCG@5") == pytest.approx(0.45 / 0.4 - 1)  # the split that has both


def test_the_layout_is_the_published_one(folder: Path, rows: list[Row]) -> None:
    made = document(read_sweep(folder), rows).tables
    assert [table.title for table in made] == [
        "Table 4. Models, baseline & all",
        "Table 7. Image knocked out",
        "Table 9. Both zero",
    ]
    assert made[0].header[:6] == ["model", "data set", "NDCG@5", "ours", "NDCG@10", "ours"]
    shown = [[entry.text for entry in row] for row in made[0].entries]
    assert shown[0][:4] == ["DA-MRS", "Baby", "0.0211", "0.5000"]
    assert shown[1][:4] == ["VBPR", "Sports", "0.0100", "-"]
    assert [entry.text for entry in made[1].entries[0]][2:4] == ["0.0213 (+0.9)", "0.4500 (+12.5)"]
    assert [entry.text for entry in made[2].entries[0]][2:4] == ["0.0000 (-100.0)", "-"]


def test_files(folder: Path, csv: Path, rows: list[Row]) -> None:
    table = write_report(folder, csv)
    report = folder / "report"
    made = proved(document(table, rows), table, read_groups(table, folder))
    assert (report / "paper.md").read_text() == markdown(made)
    tex = (report / "paper.tex").read_text()
    assert tex == latex(made)
    assert r"\caption{Table 4. Models, baseline \& all, 1 of 2; records \texttt{" in tex
    assert "2 of 4 published rows have a cell in this sweep" in tex
    exported = (report / "paper.csv").read_text()
    assert exported == as_csv(made)
    frame = pd.read_csv(io.StringIO(exported))
    assert len(frame) == 4 * len(METRICS)
    line = frame[(frame["table"] == 7) & (frame["metric"] == "NDCG@10")].iloc[0]
    assert (line["published"], line["published_change"]) == (0.0276, pytest.approx(0.004))
    assert (line["ours"], line["our_change"]) == (pytest.approx(0.45), pytest.approx(0.125))
    assert paths.cell_file(folder / line["records"]).exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b\n1,2\n", "column 'table' (of the study's tables) is not there; columns are a, b"),
        (PUBLISHED.replace("0.0211", "high"), "line 2: NDCG@5 is 'high'; it must be a number"),
        (PUBLISHED.replace("0.0211", ""), "line 2: NDCG@5 is ''; it must be a number"),
        (
            PUBLISHED.splitlines()[0] + "\n" + PUBLISHED.splitlines()[-1] + "\n",
            "has no row of the tables 4, 5, 6, 7, 8, 9",
        ),
    ],
)
def test_another_file_is_told(folder: Path, tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "other.csv").write_text(text)
    with pytest.raises(ValueError) as refusal:
        read_published(tmp_path / "other.csv", read_sweep(folder))
    assert sentence in str(refusal.value)
