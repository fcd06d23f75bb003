"""The benchmark table: values with intervals, what the best is told from, marks of every gain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmbench.inference import intervals
from mmbench.inference.gains import TunedGain
from mmbench.inference.verdicts import verdict
from mmbench.report import verdict_table
from mmbench.report.benchmark import _value, document
from mmbench.report.comparisons import read_contrasts, significant
from mmbench.report.evidence import proved
from mmbench.report.fairness_checks import read_groups
from mmbench.report.layout import Document, Entry, Table, frame, latex, markdown
from mmbench.report.reading import read_sweep
from mmbench.report.table import CellResult
from mmbench.report.write import write_report
from tests.report.constructed import Hits, Made, hit_users, write_sweep

USERS = 2000
D = "shop_50%|1"


def seeds(*spans: range) -> Hits:
    return np.stack([hit_users(USERS, span) for span in spans])


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


def table_of(folder: Path) -> Table[str]:
    (made,) = document_of(folder).tables
    return made


def document_of(folder: Path) -> Document[str]:
    table = read_sweep(folder)
    groups = read_groups(table, folder)
    return document(table, read_contrasts(table, groups), groups)


def by_model(table: Table[str]) -> dict[str, dict[str, Entry]]:
    return {row[0].text: dict(zip(table.header, row, strict=True)) for row in table.entries}


@pytest.fixture(scope="module")
def rows(folder: Path) -> dict[str, dict[str, Entry]]:
    return by_model(table_of(folder))


def test_columns(folder: Path) -> None:
    assert table_of(folder).header == [
        *("model", "none", "text", "text_vs_none %", "verdict text_vs_none"),
        *("margin %", "MDE %", "R", "seeds x trials", "fairness"),
    ]


@pytest.mark.parametrize(("margin", "shown"), [(0.0200001, "2.00001"), (0.0204, "2.04"), (0.031, "3.1"), (0.02, "2.0")])
def test_a_margin_of_equivalence_never_looks_like_that_of_the_sweep_beside_another_word(
    folder: Path, margin: float, shown: str
) -> None:
    table = read_sweep(folder)
    groups = read_groups(table, folder)
    compared = [
        replace(c, inference=replace(c.inference, margin=margin)) if c.inference else c
        for c in read_contrasts(table, groups)
    ]
    place = next(i for i, c in enumerate(compared) if c.model == "better")
    assert by_model(document(table, compared, groups).tables[0])["better"]["margin %"].text == shown
    verdicts = verdict_table.document(table, compared, []).tables[0]
    assert verdicts.entries[place][verdicts.header.index("margin %")].text == shown


def test_the_legend_says_how_often_a_gain_is_seen(folder: Path) -> None:
    told = "MDE: true gain that is seen in four of five such studies (80 % power), smaller ones less often;"
    assert any(told in note for note in document_of(folder).notes)


def test_fairness_is_that_of_the_model_whether_or_not_it_has_a_contrast(
    folder: Path, rows: dict[str, dict[str, Entry]]
) -> None:
    groups = read_groups(read_sweep(folder), folder)
    assert "popularity" in {group.model for group in groups}
    assert {group.model: rows[group.model]["fairness"].text for group in groups} == {g.model: g.level for g in groups}


def test_values_have_half_their_interval(rows: dict[str, dict[str, Entry]]) -> None:
    share = np.repeat(hit_users(USERS, range(1100))[:, None].astype(float), 3, axis=1)
    half = intervals.crossed_interval(share).hi - 0.55
    assert rows["better"]["text"].text == f"0.550 ±{half:#.2g}"
    assert rows["lost"]["text"].text == "✗"
    assert (rows["popularity"]["none"].text[:5], rows["popularity"]["text"].text) == ("0.200", "=")


@pytest.mark.parametrize(
    ("scale", "shown"),
    [(1, "0.550 ±0.022"), (18.17, "9.99 ±0.40"), (100, "55.0 ±2.2"), (1000, "550 ±22"), (10000, "5,500 ±218"),
     (-1000, "-550 ±22")],
)  # fmt: skip
def test_values_of_any_size_are_written_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, scale: float, shown: str
) -> None:
    """A metric of one's own may have any size."""
    result = read_sweep(folder).done(D, "better", "text")
    assert result is not None
    per_user = scale * result.per_user("ndcg@20")
    monkeypatch.setattr(CellResult, "per_user", lambda self, metric: per_user)
    assert _value(result, "mine.score@20") == shown


def test_the_best_and_what_is_not_told_from_it(folder: Path, rows: dict[str, dict[str, Entry]]) -> None:
    ranks = {model: row["none"].rank for model, row in rows.items()}
    assert ranks == {"popularity": 0, "better": 1, "same": 3, "lost": 3, "untrusted": 0, "wide": 3}
    assert not any("once both are tuned" in note for note in document_of(folder).notes)
    assert {model: row["text"].rank for model, row in rows.items()} == {
        "popularity": 0,
        "better": 1,
        "same": 0,
        "lost": 0,
        "untrusted": 0,
        "wide": 0,
    }


def test_what_is_ahead_of_the_best_once_both_are_tuned_is_named_and_not_marked(tmp_path: Path) -> None:
    """The chosen configuration of ``best`` leads with 1,100 hits, and every one of its trials has 900."""
    trials = seeds(*[range(900)] * 8)
    cells = {
        (D, "best", "none"): Made(seeds(*[range(1100)] * 3), trials=trials),
        (D, "ahead", "none"): made(1000),
        (D, "alike", "none"): made(900),
        (D, "behind", "none"): made(800),
    }
    shown = document_of(write_sweep(tmp_path / "ahead", cells))
    rows = by_model(shown.tables[0])
    assert {model: row["none"].rank for model, row in rows.items()} == {"best": 1, "ahead": 0, "alike": 3, "behind": 0}
    told = f"{D}: once both are tuned, these are ahead of the best of their column: ahead (none)."
    assert shown.notes[3] == told


def test_what_was_badly_trained_is_neither_alike_nor_ahead(tmp_path: Path) -> None:
    """Trainings that stalled tell nothing of the model, whichever of the two they are."""
    stalled = [{"popularity": 0.9}] * 8
    for worse in ("best", "ahead"):
        cells = {(D, "best", "none"): made(1000), (D, "ahead", "none"): made(1000)}
        cells[D, worse, "none"] = replace(cells[D, worse, "none"], courses=stalled)
        shown = document_of(write_sweep(tmp_path / worse, cells))
        assert sorted(row["none"].rank for row in by_model(shown.tables[0]).values()) == [0, 1]
        assert not any("once both are tuned" in note for note in shown.notes)


def test_gains_carry_their_marks(rows: dict[str, dict[str, Entry]]) -> None:
    gain = {model: row["text_vs_none %"].text for model, row in rows.items()}
    assert gain["popularity"] == "-"
    assert gain["lost"] == "✗"
    assert (gain["better"][:5], gain["better"][-1]) == ("+10.0", "†")
    assert (gain["same"][:4], gain["same"][-1]) == ("+0.0", "≈")
    assert gain["untrusted"][-2:] == "]✗", "its p is small, and it is not trusted"
    assert gain["wide"][-1] == "?"
    assert rows["better"]["verdict text_vs_none"].text == "better"
    assert rows["better"]["seeds x trials"].text == "3 x 8"
    assert rows["untrusted"]["fairness"].text == "FAIL"


def test_a_gain_that_depends_on_tuning_has_a_mark_of_its_own(folder: Path) -> None:
    """By its interval it would be better: other numbers of trials say something else."""
    table = read_sweep(folder)
    groups = read_groups(table, folder)
    compared = next(c for c in read_contrasts(table, groups) if c.model == "better")
    assert compared.inference is not None
    assert compared.inference.holm < 0.05
    assert significant([compared]) == (1, 1)
    assert isinstance(compared.tuned, TunedGain)
    tuned = replace(compared.tuned, depends_on_tuning=True)
    depends = replace(compared, tuned=tuned, judgement=verdict(tuned, table.delta))
    assert depends.word == "depends on tuning"
    (shown,) = document(table, [depends], groups).tables
    assert by_model(shown)["better"]["text_vs_none %"].text[-2:] == "]‡"
    assert significant([depends]) == (0, 1)


def test_equivalence_is_marked_only_where_a_word_is_allowed(tmp_path: Path) -> None:
    none, text = (seeds(*[span] * 3) for span in (range(1000), range(1, 1001)))
    pairs = {
        "same": (Made(none), Made(text)),
        "short": (Made(none, trials=none[[0] * 4]), Made(text, trials=text[[0] * 4])),
        "untrusted": (Made(none), Made(text, seal={"choice_hash": "another"})),
    }
    cells = {
        (D, model, c): side for model, pair in pairs.items() for c, side in zip(("none", "text"), pair, strict=True)
    }
    rows = by_model(table_of(write_sweep(tmp_path / "same", cells)))
    gains = {model: row["text_vs_none %"].text for model, row in rows.items()}
    assert {gain.partition("]")[0] for gain in gains.values()} == {"+0.0 [-0.3, +0.3"}
    assert {model: gain.partition("]")[2] for model, gain in gains.items()} == {
        "same": "≈",
        "short": "°",
        "untrusted": "✗",
    }


def test_one_seed_tells_nothing_apart(tmp_path: Path) -> None:
    one = {(D, "a", c): Made(seeds(range(end))) for c, end in (("none", 1000), ("text", 1100))}
    table = table_of(write_sweep(tmp_path / "one", {**one, (D, "b", "none"): Made(seeds(range(999)))}))
    rows = by_model(table)
    assert [entry.text for entry in rows["a"].values()][:4] == ["a", "0.500", "0.550", "+10.0°"]
    assert [row["none"].rank for row in rows.values()] == [1, 0]


@pytest.mark.parametrize("n_users", [1, 10])
def test_few_users_tell_no_interval(tmp_path: Path, n_users: int) -> None:
    hit = np.arange(n_users) % 2 == 0
    cells = {(D, "a", condition): Made(np.stack([hit] * 3)) for condition in ("none", "text")}
    rows = by_model(table_of(write_sweep(tmp_path / "s", cells)))
    assert [rows["a"][condition].text for condition in ("none", "text")] == [f"{hit.mean():#.3g}"] * 2


def test_every_form_says_the_same_and_is_escaped(folder: Path) -> None:
    write_report(folder)
    table = read_sweep(folder)
    report = folder / "report"
    made = proved(document_of(folder), table, read_groups(table, folder))
    md, tex = markdown(made), latex(made)
    assert (report / "benchmark.tex").read_text() == tex
    assert r"shop_50%\|1, benchmark on NDCG@20" in md
    assert "<u>" in md
    assert r"shop\_50\%" in tex
    assert r"$\dagger$" in tex
    assert not set("≈✗†±") & set("".join(line for line in tex.splitlines() if not line.startswith("%")))
    exported = frame(made)
    assert list(exported["model"]) == list(table_of(folder).rows)
    assert set(exported["dataset"]) == {D}
