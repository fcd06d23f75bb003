"""The answer over data sets: which gains stand in it, and what is pooled."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.sax.saxutils import escape

import msgspec
import numpy as np
import pandas as pd
import pytest

from mmbench.inference.intervals import LogGain
from mmbench.inference.pooling import pooled_gain
from mmbench.store import files, records
from mmbench.store.schema import Manifest
from tests.studies import answer, pages, rerun
from tests.studies.kept import PLAN, RANKS, TUNING, VERDICTS, Kept

NOTHING = LogGain(0.0, 0.0, 0.0)
GAINS = {"ml100k": 0.02, "ml1m": 0.03, "lfm2k": 0.05, "baby": 0.04}


def verdicts(gain: float, **changed: object) -> pd.DataFrame:
    """Verdicts of one study."""
    rows = [
        ("addease", "text_vs_none"),
        ("addease", "fused_vs_text"),
        ("addease", "fused_vs_image"),
        ("addease", "free_disposal_of_text"),
        ("all models", "free_disposal_of_text"),
    ]
    log = np.log1p(gain)
    numbers = {
        "gain": gain,
        "lo": gain - 0.01,
        "hi": gain + 0.01,
        "log_ratio": log,
        "se": 0.004,
        "df": 20.0,
        "level": 0.95,
    }
    frame = pd.DataFrame(rows, columns=["model", "contrast"]).assign(verdict="better", **numbers)
    return frame.assign(**changed)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(answer, "STUDIES", tmp_path)
    for name, gain in GAINS.items():
        (tmp_path / name).mkdir()
        rows = verdicts(gain)
        if name == "lfm2k":  # has no images
            rows["contrast"] = rows.contrast.replace("fused_vs_image", "fused_vs_audio")
        rows.to_csv(tmp_path / name / "verdicts.csv", index=False)
    return tmp_path


def test_questions_of_all_published_studies_stand_in_the_table(kept: Path) -> None:
    lines = answer.answers(answer.judged()).splitlines()
    assert lines[0] == "| what is added | model | ml100k | ml1m | lfm2k | baby | over domains |"
    first = "+2.0 [+1.0, +3.0] *better*"
    assert lines[2].startswith(f"| text beside interactions | addease | {first} | +3.0 [+2.0, +4.0] *better* | +5.0")
    assert [line.split(" | ")[0] for line in lines[3:]] == [
        "| images beside text",
        "| text beside images",
        "| audio beside text",  # what Last.fm fuses text with
        "| text beside audio",
        "| free use of text, all models",
    ]
    assert lines[3].count(" - ") == 2  # Last.fm has no images, and two domains are not pooled


def test_one_gain_of_each_domain_is_pooled(kept: Path) -> None:
    rows = answer.judged()
    found = answer.pooled(rows[rows.question == "text beside interactions"])
    domains = ("ml100k", "lfm2k", "baby")
    expected = pooled_gain([LogGain(float(np.log1p(GAINS[name])), 0.004, 20.0) for name in domains])
    assert found is not None
    assert found.effect.mean == pytest.approx(expected.effect.mean)
    assert found.k == 3  # MovieLens counts once


def test_what_is_not_trusted_or_has_no_error_without_being_zero_is_not_pooled(kept: Path) -> None:
    verdicts(0.05, verdict="measurement not trusted").to_csv(kept / "lfm2k" / "verdicts.csv", index=False)
    assert answer.pooled(answer.judged()) is None
    verdicts(0.05, se=0.0).to_csv(kept / "lfm2k" / "verdicts.csv", index=False)
    assert answer.pooled(answer.judged()) is None


def test_the_figure_has_every_gain(kept: Path) -> None:
    lines = answer.lines_of(answer.judged())
    first = [(line.name, line.group) for line in lines[: len(GAINS)]]
    assert first == [("text beside interactions, addease", name) for name in GAINS]
    assert lines[0].value == pytest.approx(2.0)
    assert lines[0].bounds == pytest.approx((1.0, 3.0))
    assert {line.name for line in lines if line.group == "lfm2k"} == {
        "text beside interactions, addease",
        "audio beside text, addease",
        "text beside audio, addease",
        "free use of text, all models",
    }


def test_a_later_look_has_its_level(kept: Path) -> None:
    once = answer.pooled(answer.judged()[lambda rows: rows.question == "text beside interactions"])
    verdicts(0.05, level=0.975).to_csv(kept / "lfm2k" / "verdicts.csv", index=False)
    rows = answer.judged()
    twice = answer.pooled(rows[rows.question == "text beside interactions"])
    assert once is not None
    assert twice is not None
    assert (once.effect.level, twice.effect.level) == (0.95, 0.975)
    assert "| +5.0 [+4.0, +6.0] at 97.5 % *better* |" in answer.answers(rows)


def test_a_gain_of_exactly_nothing_is_pooled_or_named(kept: Path) -> None:
    rows = answer.judged()
    free = rows[rows.question == "free use of text, all models"]
    pooled = answer.over_domains(free)
    without = free.copy()
    without.loc[without.study == "lfm2k", ["log_ratio", "se"]] = 0.0
    with_zero = answer.pooled(without)
    expected = pooled_gain([LogGain(float(np.log1p(GAINS[n])), 0.004, 20.0) for n in ("ml100k", "baby")] + [NOTHING])
    assert with_zero is not None
    assert expected is not None
    assert (with_zero.k, with_zero.effect) == (3, expected.effect)
    without.loc[without.study == "baby", ["log_ratio", "se"]] = 0.0
    assert answer.over_domains(without) == "not pooled: lfm2k and baby are exactly 0"
    assert answer.over_domains(without[without.study != "baby"]) == "-"  # two domains are too few anyway
    close = free.copy()
    close.loc[:, "log_ratio"] = 0.001
    close.loc[close.study == "lfm2k", ["log_ratio", "se"]] = 0.0
    assert answer.over_domains(close) == "not pooled: lfm2k is exactly 0"
    doubled = free.copy()
    doubled.loc[doubled.study == "ml1m", ["log_ratio", "se"]] = 0.0
    assert answer.over_domains(doubled) == pooled  # the films of MovieLens 100K count


def test_no_other_data_set_of_a_domain_is_pooled_in_place_of_one_that_is_not_trusted(kept: Path) -> None:
    free = answer.judged()[lambda rows: rows.question == "free use of text, all models"].copy()
    free.loc[free.study == "ml100k", "verdict"] = "measurement not trusted"
    assert answer.over_domains(free) == "-"


@pytest.mark.thorough
def test_curves_over_trials_pass_through_the_published_gains() -> None:
    rows = answer.judged()
    for study in ("ml100k", "lfm2k", "uci_retail"):
        first, second, free = answer.panels_of(study, rows[rows.study == study])
        asked = rows[(rows.study == study) & (rows.contrast == "text_vs_none")]
        assert set(first.gains) == set(asked.model)
        for row in asked.itertuples():
            gain = first.gains[row.model]
            assert gain.curve.mean[row.n - 1] == pytest.approx(row.gain)
            assert (gain.curve.lo[row.n - 1], gain.curve.hi[row.n - 1]) == pytest.approx((row.lo, row.hi))
            assert gain.curve.mean[-1] == pytest.approx(row.gain_of_all)
        assert bool(second.gains) == (study != "uci_retail")  # which has text alone
        assert list(free.gains) == sorted(free.gains)
    assert first.title == "UCI Online Retail: text beside interactions"


def split_off(whole: Path, folder: Path, models: set[str]) -> None:
    """What a study of some of the models of a published one keeps."""
    folder.mkdir(parents=True)
    for file in (RANKS, PLAN):
        shutil.copyfile(whole / file, folder / file)
    scores = files.read_document(whole / TUNING)
    own = [condition for condition in scores["conditions"] if condition["model"] in models]
    files.write_document(folder / TUNING, {**scores, "conditions": own})
    rows = pd.read_csv(whole / VERDICTS)
    for side in ("real", "control"):
        names = rows[side].fillna("").str.split()
        rows[side] = [" ".join(name for name in each if name.split("/")[0] in models) for each in names]
    # Over all models a study says something of the models that it has.
    over_all = rows.model == answer.ALL_MODELS
    rows = rows[rows.model.isin(models) | (over_all & rows.real.str.contains("/fused"))]
    rows.loc[rows.model == answer.ALL_MODELS, ["gain", "lo", "hi", "log_ratio", "se", "df"]] = 0.5
    rows.to_csv(folder / VERDICTS, index=False)


@pytest.mark.thorough
def test_studies_of_single_models_are_judged_as_one_sweep_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = answer.STUDIES / "ml100k", tmp_path / "parts"
    shutil.copytree(whole, tmp_path / "whole" / "ml100k")
    monkeypatch.setattr(answer, "STUDIES", tmp_path / "whole")
    published = answer.judged()
    models = set(published.model) | {"ials", "itemknn", "popularity"}
    for part in ({"l3ae"}, {"ease"}):
        split_off(whole, parts / f"ml100k_{next(iter(part))}", part)
    split_off(whole, parts / "ml100k", models - {"l3ae", "ease", answer.ALL_MODELS})
    monkeypatch.setattr(answer, "STUDIES", parts)
    assert [folder.name for folder in answer.folders_of("ml100k")] == ["ml100k", "ml100k_ease", "ml100k_l3ae"]
    found = answer.judged()
    told = ["question", "model", "real", "control", "verdict", "n", "trials"]
    numbers = ["gain", "lo", "hi", "log_ratio", "se", "df", "gain_of_all"]
    expected, found = (rows.sort_values(["question", "model"]).reset_index(drop=True) for rows in (published, found))
    pd.testing.assert_frame_equal(found[told], expected[told], check_dtype=False)
    np.testing.assert_allclose(found[numbers], expected[numbers], rtol=1e-9)
    *_, free = answer.panels_of("ml100k", found)
    assert {name: gain.gain for name, gain in free.gains.items()} == pytest.approx(
        {
            row.contrast.removeprefix("free_disposal_of_"): row.gain
            for row in found.itertuples()
            if "free" in row.contrast
        }
    )


def test_studies_of_other_data_or_effort_are_not_joined(tmp_path: Path) -> None:
    whole = answer.STUDIES / "ml100k"
    for part in ("l3ae", "ease"):
        split_off(whole, tmp_path / part, {part})
    plan = records.read(tmp_path / "ease" / PLAN, Manifest)
    records.write(tmp_path / "ease" / PLAN, msgspec.structs.replace(plan, budget={**plan.budget, "trials": 8}))
    with pytest.raises(ValueError, match="ease and l3ae differ in data, effort, metric or margin"):
        Kept(tmp_path / "l3ae", tmp_path / "ease")


@pytest.mark.thorough
def test_the_figure_of_effort_has_a_row_of_panels_for_each_study() -> None:
    rows = answer.judged()
    axes = answer.effort(rows).figure().axes
    titles = [axis.get_title(loc="left") for axis in axes]
    assert len(titles) == 3 * rows.study.nunique()
    assert titles[:3] == [
        f"MovieLens 100K: {q}" for q in ("text beside interactions", "images beside text", "free use, all models")
    ]
    (gain,) = (
        row.gain
        for row in rows.itertuples()
        if (row.study, row.model, row.contrast) == ("ml100k", "l3ae", "text_vs_none")
    )
    marked = [line for line in axes[0].get_lines() if line.get_label() == "l3ae"]
    assert [np.asarray(line.get_ydata()).item() for line in marked] == [pytest.approx(100 * gain)]
    published = answer.EFFORT.read_text(encoding="utf-8")
    assert [title for title in titles if title and f">{escape(title)}<" not in published] == []


def test_draws_have_an_interval_of_their_own(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "DRAWN", ("films_draws",))
    (kept / "films_draws").mkdir()
    several = [verdicts(gain, dataset=f"films-draw{draw}")[:1] for draw, gain in enumerate((0.01, 0.02, 0.03))]
    pd.concat(several).to_csv(kept / "films_draws" / "verdicts.csv", index=False)
    (line,) = answer.drawn().splitlines()[2:]
    logs = np.log1p([0.01, 0.02, 0.03])
    half = 4.302653 * logs.std(ddof=1) / np.sqrt(3)
    ends = ", ".join(f"{100 * np.expm1(logs.mean() + side * half):+.1f}" for side in (-1, 1))
    assert line == f"| films | addease | text_vs_none | +1.0, +2.0, +3.0 | 3 *better* | +2.0 [{ends}] | +0.0 to +4.0 |"


def test_studies_beside_the_main_ones_have_a_row_for_each_data_set_and_contrast(kept: Path) -> None:
    for name, parts in {
        "lfm2k_audio_encoders": ("lfm2k", "lfm2k-audio=whisper"),
        "ml100k_splits": ("ml100k", "ml100k-split1", "ml100k over 2 split seeds"),
    }.items():
        (kept / name).mkdir()
        rows = pd.concat([verdicts((place + 1) / 100, dataset=part) for place, part in enumerate(parts)])
        silent = (rows.model == "addease") & rows.contrast.str.startswith("free")
        rows.loc[silent, ["verdict", "lo", "hi"]] = ["no word", np.nan, np.nan]
        rows.loc[silent & (rows.dataset == "lfm2k"), "gain"] = np.nan
        rows.to_csv(kept / name / "verdicts.csv", index=False)
    lines = answer.beside(("_encoders",)).splitlines()
    assert lines[0] == "| study | data | contrast | addease | all models |"
    page = "[lfm2k_audio_encoders](studies/lfm2k_audio_encoders.md)"
    assert lines[2] == f"| {page} | lfm2k | text_vs_none | +1.0 [+0.0, +2.0] *better* | - |"
    assert f"| {page} | lfm2k | free_disposal_of_text | - | +1.0 [+0.0, +2.0] *better* |" in lines
    without = "+2.0 *no word* | +2.0 [+1.0, +3.0] *better*"
    assert f"| {page} | lfm2k-audio=whisper | free_disposal_of_text | {without} |" in lines
    together = answer.beside(("_last_out", "_splits")).splitlines()[2:]
    assert {line.split(" | ")[1] for line in together} == {"ml100k over 2 split seeds"}


def test_random_configurations_ahead_of_the_default_are_counted(kept: Path) -> None:
    def tuned(model: str, *validation: float | None) -> dict[str, object]:
        rest = {"dataset": "baby", "modality": "text", "modalities": 1, "runs": "", "configurations": [], "exact": True}
        ends = {"exhausted": False, "finals": [], "marked": {}, "wordless": ""}
        return {**rest, **ends, "model": model, "validation": list(validation)}

    conditions = [tuned("vbpr", 0.2, 0.3, None, 0.2), tuned("vbpr", 0.1, 0.3, 0.2, 0.4), tuned("bpr", None, 0.1, None)]
    one = tuned("popularity", 0.1)
    scores = {"root": "", "metric": "", "delta": 0.02, "doubts": {}, "conditions": [*conditions, one]}
    files.write_document(kept / "baby" / TUNING, scores)
    for name in set(GAINS) - {"baby"}:
        (kept / name / VERDICTS).unlink()
    assert answer.ahead_of_default().splitlines()[2:] == [
        "| baby | bpr | 1 | 1 | 2 |",
        "| baby | vbpr | 2 | 1 to 3 | 3 |",
    ]


def test_ranks_are_averaged_where_a_model_has_a_result_for_each_modality(kept: Path) -> None:
    (kept / "ml100k" / "benchmark.csv").write_text(
        "model,none,text,image,fused,late\nease,.3 ±.1,=,=,=,=\naddease,.1 ±.1,.2 ±.1,.3 ±.1,.4 ±.1,.5 ±.1\n"
    )
    (kept / "ml1m" / "benchmark.csv").write_text("model,none\nease,.3 ±.1\n")
    (kept / "lfm2k" / "benchmark.csv").write_text("model,text,audio,fused,late\nl3ae,.2 ±.1,.3 ±.1,.4 ±.1,.5 ±.1\n")
    (kept / "baby" / "benchmark.csv").write_text("model,none,text,late\nl3ae,.2 ±.1,.3 ±.1,-\n")
    assert answer.late().splitlines()[2:] == [
        "| ml100k | addease | .2 ±.1 | .3 ±.1 | - | .4 ±.1 | .5 ±.1 |",
        "| lfm2k | l3ae | .2 ±.1 | - | .3 ±.1 | .4 ±.1 | .5 ±.1 |",
    ]


def test_at_a_glance_stand_the_best_models_and_what_each_modality_is_worth(kept: Path) -> None:
    for folder in kept.iterdir():
        (folder / "table.csv").write_text(
            "model,modality,metric,mean\nials,-,ndcg@20,.31\nials,-,recall@20,.9\naddease,none,ndcg@20,.30\n"
            "addease,text,ndcg@20,.2961\naddease,fused,ndcg@20,.2960\naddease,shuffled,ndcg@20,.4\nvbpr,text,ndcg@20,\n"
            "hybridknn,none,ndcg@20,.299\nhybridknn,text,ndcg@20,.299\n"
        )
        (folder / "trials.csv").write_text(
            "model,modality,chosen,model.content_weight\nials,-,True,\naddease,none,True,0\naddease,text,True,.5\n"
            "hybridknn,none,True,0\nhybridknn,text,False,.5\nhybridknn,text,True,0\n"  # what it chose reads no text
        )
    lines = answer.glance(answer.judged()).splitlines()
    head = "best without content | best with content | free use of text | free use of images | free use of audio"
    assert lines[0] == f"| data | {head} |"
    assert lines[2] == "| MovieLens 100K | 0.31 (ials) | 0.296 (addease, text) | +2.0 [+1.0, +3.0] *better* | - | - |"


def test_models_are_counted_by_what_was_said_of_them(kept: Path) -> None:
    rows = pd.read_csv(kept / "ml100k" / "verdicts.csv")
    others = [rows.assign(model=name, verdict=word) for name, word in (("a", "equivalent"), ("b", "depends on tuning"))]
    pd.concat([rows, *others]).to_csv(kept / "ml100k" / "verdicts.csv", index=False)
    lines = answer.by_models(answer.judged()).splitlines()
    said = "1 gain, 1 *equivalent*, 1 no word; +2.0 to +2.0 %"
    assert lines[2] == f"| MovieLens 100K | {said} | - | - | {said} | {said} |"
    (artists,) = (line for line in lines if "Last.fm" in line)
    alone = "1 gain; +5.0 to +5.0 %"
    assert artists == f"| Last.fm-2K | {alone} | - | - | {alone} | {alone} |"


def test_what_audits_have_shown_and_fairness_reports_doubt(kept: Path) -> None:
    for folder in list(kept.iterdir()):
        if folder.name != "ml1m":
            shutil.rmtree(folder)
    (kept / "ml1m" / "fairness.md").write_text(
        "| dataset | model | verdict | why |\n| --- | --- | --- | --- |\n| ml1m | ease | PASS | every check passed |\n"
        "| ml1m | ials | WARN | trials failed (3 %) |\n| ml1m | vbpr | FAIL | other seeds |\n\n"
        "records: re-trained 10 of 1511 (2026-11-30T07:28:15+00:00); root d19e8a795af5fb2e; plan 15d2\n"
    )
    shutil.copytree(kept / "ml1m", kept / "new")
    report = (kept / "ml1m" / "fairness.md").read_text()
    again = "re-trained 10 of 1511 (2026-11-30T07:28:15+00:00)"
    (kept / "new" / "fairness.md").write_text(report.replace(again, "consistent"))
    found = rerun.Rerun("2026-12-01", "d19e8a795af5fb2e", {}, ["ease/-"], 35, 35, 0.0, 1000, 0)
    files.write_document(kept / "ml1m" / rerun.RERUN, msgspec.to_builtins(found))
    doubts = "WARN ials: trials failed (3 %); FAIL vbpr: other seeds |"
    assert answer.proofs().splitlines()[2:] == [
        f"| [ml1m](studies/ml1m.md) | 10 of 1,511 | 2026-11-30 | `d19e8a795af5` | 35 of 35 (ease/-) | {doubts}",
        f"| [new](studies/new.md) | no | - | `d19e8a795af5` | - | {doubts}",
    ]


def test_the_pages_have_the_answers_that_are_kept() -> None:
    for section, text in answer.sections(answer.judged()).items():
        assert pages.shows(section, text), section
    assert "images/studies/effort.svg" in pages.page_of("answers").read_text(encoding="utf-8")
