"""The benchmark table: values with intervals, what the best is told from, marks of every gain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmbench.inference import intervals
from mmbench.report.benchmark import as_frame, as_latex, as_markdown, blocks
from mmbench.report.comparisons import read_contrasts
from mmbench.report.fairness_checks import read_groups
from mmbench.report.layout import Block
from mmbench.report.reading import read_sweep
from mmbench.report.write import write_report
from tests.report.constructed import Hits, Made, found, write_sweep

USERS = 2000
D = "shop_50%|1"


def seeds(*spans: range) -> Hits:
    return np.stack([found(USERS, span) for span in spans])


def made(end: int) -> Made:
    return Made(seeds(*[range(end)] * 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cells = {
        (D, "popularity", "-"): made(400),
        (D, "better", "none"): made(1000),
        (D, "better", "text"): made(1100),
        (D, "same", "none"): Made(seeds(range(1, 1002), range(1000), range(1, 1000))),
        (D, "same", "text"): Made(seeds(range(1001), range(1, 1000), range(1000))),
        (D, "lost", "none"): made(1000),
        (D, "lost", "text"): Made(failure="NaN in the loss"),
        (D, "untrusted", "none"): made(1000),
        (D, "untrusted", "text"): Made(seeds(*[range(1100)] * 3), seal={"choice_hash": "another"}),
        (D, "wide", "none"): made(1000),
        (D, "wide", "text"): Made(seeds(range(45, 1060), range(60, 1060), range(45, 1050))),
    }
    return write_sweep(tmp_path_factory.mktemp("sweep") / "marks", cells)


def table_of(folder: Path) -> Block:
    table = read_sweep(folder)
    (block,) = blocks(table, read_contrasts(table, read_groups(table, folder)))
    return block


@pytest.fixture(scope="module")
def rows(folder: Path) -> dict[str, dict[str, tuple[str, int]]]:
    block = table_of(folder)
    return {r[0].text: {h: (e.text, e.rank) for h, e in zip(block.header, r, strict=True)} for r in block.rows}


def test_columns(folder: Path) -> None:
    assert table_of(folder).header == [
        *("model", "none", "text", "text_vs_none %", "verdict text_vs_none"),
        *("margin %", "MDE %", "R", "seeds x trials", "fairness"),
    ]


def test_values_have_half_their_interval(rows: dict[str, dict[str, tuple[str, int]]]) -> None:
    share = np.repeat(found(USERS, range(1100))[:, None].astype(float), 3, axis=1)
    half = intervals.crossed_interval(share).hi - 0.55
    assert rows["better"]["text"][0] == f"0.550 ±{half:#.2g}"
    assert rows["lost"]["text"][0] == "✗"
    assert (rows["popularity"]["none"][0][:5], rows["popularity"]["text"][0]) == ("0.200", "=")


def test_the_best_and_what_is_not_told_from_it(rows: dict[str, dict[str, tuple[str, int]]]) -> None:
    ranks = {model: row["none"][1] for model, row in rows.items()}
    assert ranks == {"popularity": 0, "better": 1, "same": 3, "lost": 3, "untrusted": 3, "wide": 3}
    assert {model: row["text"][1] for model, row in rows.items()} == {
        "popularity": 0,
        "better": 1,
        "same": 0,
        "lost": 0,
        "untrusted": 3,
        "wide": 0,
    }


def test_gains_carry_their_marks(rows: dict[str, dict[str, tuple[str, int]]]) -> None:
    gain = {model: row["text_vs_none %"][0] for model, row in rows.items()}
    assert gain["popularity"] == "-"
    assert gain["lost"] == "✗"
    assert (gain["better"][:5], gain["better"][-1]) == ("+10.0", "†")
    assert (gain["same"][:4], gain["same"][-1]) == ("+0.0", "≈")
    assert gain["untrusted"][-2:] == "†✗"
    assert gain["wide"][-1] == "?"
    assert rows["better"]["verdict text_vs_none"][0] == "better"
    assert rows["better"]["seeds x trials"][0] == "3 x 2"
    assert rows["untrusted"]["fairness"][0] == "FAIL"


def test_one_seed_tells_nothing_apart(tmp_path: Path) -> None:
    one = {(D, "a", c): Made(seeds(range(end))) for c, end in (("none", 1000), ("text", 1100))}
    block = table_of(write_sweep(tmp_path / "one", {**one, (D, "b", "none"): Made(seeds(range(999)))}))
    texts = {row[0].text: [e.text for e in row] for row in block.rows}
    assert texts["a"][:4] == ["a", "0.500", "0.550", "+10.0"]
    assert [row[1].rank for row in block.rows] == [1, 0]


def test_every_form_says_the_same_and_is_escaped(folder: Path) -> None:
    write_report(folder)
    table = read_sweep(folder)
    compared = read_contrasts(table, read_groups(table, folder))
    report = folder / "report"
    markdown, tex = as_markdown(table, compared), as_latex(table, compared)
    assert (report / "benchmark.tex").read_text() == tex
    assert "shop_50%|1, benchmark on ndcg@20" in markdown
    assert "<u>" in markdown
    assert r"shop\_50\%" in tex
    assert r"$\dagger$" in tex
    assert not set("≈✗†±") & set("".join(line for line in tex.splitlines() if not line.startswith("%")))
    frame = as_frame(table, compared)
    assert list(frame["model"]) == [row[0].text for row in table_of(folder).rows]
    assert set(frame["dataset"]) == {D}
