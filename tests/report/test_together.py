"""Data sets that are repetitions of one another: one contrast over all of them, each below it without a word."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench.inference import intervals
from mmbench.inference.gains import NoWord, TunedGain
from mmbench.inference.pooling import pooled_gain
from mmbench.inference.repetitions import Repeated, RepeatedGain, over_folds, over_splits
from mmbench.inference.verdicts import Judgement, Verdict, verdict
from mmbench.messages import Translator, series
from mmbench.report import benchmark, figures, submission
from mmbench.report.charts import translated
from mmbench.report.comparisons import Comparison, read_contrasts, significant
from mmbench.report.disposals import ALL_MODELS, Disposal, read_disposals
from mmbench.report.explain import explainable
from mmbench.report.fairness import by_trials
from mmbench.report.fairness_checks import read_groups
from mmbench.report.layout import csv, markdown
from mmbench.report.pooled import pool, pooled_tables
from mmbench.report.reading import read_sweep
from mmbench.report.sentences import contrast_verdict, sentence
from mmbench.report.together import Repetitions, judge_together, read_repetitions
from mmbench.report.verdict_table import document
from tests import records as valid
from tests.gains import tuned
from tests.report import test_disposals as disposed
from tests.report.constructed import Made, hit_users, write_earlier_look, write_sweep

USERS = 2000
#: Users with a hit with text, by data set; without content there are 1,000.
FOUND = {"a": 1100, "a-split1": 1140, "a-split2": 1060}
ALL = "a over 3 split seeds"
OTHERS = ("a-split1", "a-split2")
Cells = dict[tuple[str, str, str], Made]


def of_split(dataset: str, **settings: object) -> Mapping[str, object]:
    """Configuration of a data set called ``<name>``, ``<name>-split<k>`` or ``<name>-fold<k>``."""
    name, _, rest = dataset.partition("-")
    number = int(rest.removeprefix("split").removeprefix("fold") or 0)
    setting = "cold_fold" if rest.startswith("fold") else "split_seed"
    return {"dataset": {"name": name, setting: number, **settings}}


def pair(dataset: str, found: int, model: str = "m", n_trials: int = 8, **settings: object) -> Cells:
    """Text and none of one data set; all trials and seeds are alike."""
    config = of_split(dataset, **settings)
    hits = {"text": hit_users(USERS, range(found)), "none": hit_users(USERS, range(1000))}
    return {
        (dataset, model, name): Made(np.stack([h] * 3), trials=np.stack([h] * n_trials), config=config)
        for name, h in hits.items()
    }


def three(**found: int) -> Cells:
    cells: Cells = {}
    for name, n in (FOUND | found).items():
        cells |= pair(name, n)
    return cells


def judged(folder: Path) -> dict[str, Comparison]:
    table = read_sweep(folder)
    return {c.name: c for c in read_contrasts(table, read_groups(table, folder))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    other = pair("b", 1050)
    return write_sweep(tmp_path_factory.mktemp("sweep") / "s", {**three(), **other})


@pytest.fixture(scope="module")
def by_name(folder: Path) -> dict[str, Comparison]:
    return judged(folder)


def test_the_contrast_is_that_of_all_splits(by_name: dict[str, Comparison]) -> None:
    names = [f"{d}/m/text_vs_none" for d in (ALL, "a", "a-split1", "a-split2", "b")]
    assert list(by_name) == names
    joined, *members, other = by_name.values()
    assert isinstance(joined.tuned, RepeatedGain)
    parts = [c.tuned.log_gain for c in members if c.tuned and c.tuned.log_gain]
    assert joined.tuned.log_gain == over_splits(parts)
    assert joined.tuned.gain == pytest.approx((1.1 * 1.14 * 1.06) ** (1 / 3) - 1)
    assert (joined.word, other.word) == ("better", "better")
    assert [c.word for c in members] == ["no word"] * 3
    assert [c.judgement.reason for c in members if c.judgement] == ["judged over 3 split seeds"] * 3
    assert all(c.tuned and c.tuned.interval and not c.judgement.also for c in members if c.judgement)


def test_families_count_it_once(by_name: dict[str, Comparison]) -> None:
    tested = [c for c in by_name.values() if c.inference]
    assert [c.dataset for c in tested] == [ALL, "b"]
    raw = [c.inference.p for c in tested if c.inference]
    assert [c.inference.bh for c in tested if c.inference] == list(intervals.benjamini_hochberg(raw))
    assert [c.inference.holm for c in tested if c.inference] == raw  # the only contrast of its model
    assert significant(list(by_name.values())) == (2, 2)


def test_splits_that_disagree_are_not_better_although_each_would_be(tmp_path: Path) -> None:
    cells = three(**{"a-split1": 800})
    alone = judged(write_sweep(tmp_path / "alone", pair("a", 1100)))["a/m/text_vs_none"]
    together = judged(write_sweep(tmp_path / "s", cells))
    assert (alone.word, together[f"{ALL}/m/text_vs_none"].word) == ("better", "undecided")


def test_every_part_of_the_report_shows_it(folder: Path, by_name: dict[str, Comparison]) -> None:
    table, compared = read_sweep(folder), list(by_name.values())
    told = sentence(compared[0], "ndcg@20")
    assert told.startswith("m after 3 of its 8 trials: ")
    assert told.endswith("(NDCG@20, a over 3 split seeds)")
    made = document(table, compared, [])
    first, second, *_ = made.tables
    assert (first.title, second.title) == ("a, verdicts on NDCG@20", "b, verdicts on NDCG@20")
    assert [row[0].text for row in first.entries] == ["over 3 split seeds", "a", "a-split1", "a-split2"]
    assert "data" not in second.header
    assert [row[first.header.index("Holm p")].text for row in first.entries][1:] == ["-"] * 3
    text = markdown(made)
    assert "a-split1/m/text_vs_none: no word: m after 3 of its 8 trials" in text
    assert text.count("data sets that differ in their split seed alone are judged together") == 1
    frame = pd.read_csv(io.StringIO(csv(made)))
    assert frame["dataset"].tolist() == [ALL, "a", "a-split1", "a-split2", "b"]
    assert frame["verdict"].tolist() == ["better", *["no word"] * 3, "better"]
    assert frame.loc[0, ["records_a", "configuration_gain", "share_trials"]].isna().all()
    drawn = figures.forest_lines([(c.model, c.dataset, c.tuned, figures.said(c)) for c in compared], several=True)
    assert [(line.name, line.word) for line in drawn][:2] == [(f"m, {ALL}", "better"), ("m, a", "")]
    told = submission.answers(table, compared, [], [])
    assert "over the draw of trials, users" in told[6].reason
    assert "in other data sets the split does not vary" in told[6].reason
    assert "Say at least: 2 data sets" in told[1].reason
    assert "between the split seeds of a too" in told[6].reason
    assert by_trials(compared[1:2]).endswith("; judged over 3 split seeds.")


def test_the_table_of_a_paper_has_the_word_of_all_splits(folder: Path) -> None:
    """The values stand with each split, whose gains have no word of their own."""
    table = read_sweep(folder)
    groups = read_groups(table, folder)
    made = benchmark.document(table, read_contrasts(table, groups), groups)
    assert [t.title for t in made.tables] == [f"{name}, benchmark on NDCG@20" for name in (ALL, "a", *OTHERS, "b")]
    of_all, first = (dict(zip(t.header, t.entries[0], strict=True)) for t in made.tables[:2])
    assert (of_all["verdict text_vs_none"].text, first["verdict text_vs_none"].text) == ("better", "no word")
    assert of_all["text_vs_none %"].text.startswith("+10.0 [")
    assert of_all["seeds x trials"].text == "3 x 8"
    assert ("text" in of_all, "text" in first) == (False, True)


def test_the_unit_of_a_gain_over_folds_is_the_fold(tmp_path: Path) -> None:
    folds = {key: made for n in range(3) for key, made in pair(f"a-fold{n}", 1100 + 20 * n, protocol="cold").items()}
    table = read_sweep(write_sweep(tmp_path / "s", folds))
    compared = read_contrasts(table, read_groups(table, table.folder))
    said = submission.answers(table, compared, [], [])[6].reason
    assert "over the folds of new items of a, which are the unit there" in said
    assert "jackknife" not in said


def test_it_is_explained_from_its_parts(folder: Path, by_name: dict[str, Comparison]) -> None:
    text = explainable(folder)[f"{ALL}/m/text_vs_none"]()
    joined = by_name[f"{ALL}/m/text_vs_none"].tuned
    assert joined is not None
    assert joined.log_gain is not None
    for name in FOUND:
        assert f"  {name}/m/text_vs_none: L = " in text
    assert f"se = sqrt(V) = {joined.log_gain.se:.10g}" in text
    assert "(users) + 0 (seed) + " in text
    assert "better: yes" in text


def test_gains_are_pooled_with_it_and_not_with_its_parts(folder: Path, by_name: dict[str, Comparison]) -> None:
    table = read_sweep(folder)
    (pooled,) = pool(list(by_name.values()), table).values()
    assert pooled.k == 2
    members = [by_name[f"{d}/m/text_vs_none"].tuned for d in (ALL, "b")]
    assert pooled == pooled_gain([t.log_gain for t in members if t and t.log_gain])
    assert pool([c for c in by_name.values() if c.a.data == "a"], table) == {}


def test_no_other_draw_is_pooled_in_place_of_one_that_is_not_trusted(
    folder: Path, by_name: dict[str, Comparison]
) -> None:
    table = read_sweep(folder)
    first, other = (by_name[f"{d}/m/text_vs_none"] for d in (ALL, "b"))
    again = replace(by_name["a/m/text_vs_none"], within=None, judgement=first.judgement)
    assert pool([first, again, other], table) == pool([first, other], table)
    doubted = replace(first, judgement=Judgement(Verdict.UNTRUSTED, "stalled"))
    assert pool([doubted, again, other], table) == {}


def test_the_draw_that_was_planned_first_is_pooled_and_named(tmp_path: Path) -> None:
    """Whatever its name, and where it failed too: one that is planned when results may be guessed takes no place."""

    def pooled(place: str, *planned: Sequence[str], **changed: Made) -> list[list[str]]:
        cells = {}
        for name in itertools.chain(*planned):
            data, _, draw = name.partition("-draw")
            for (_, model, condition), made in pair(data, {"a": 1100, "b-draw2": 1040}.get(name, 1300)).items():
                own = changed.get(condition, made) if name == "b-draw2" else made
                cells[name, model, condition] = replace(own, config=made.config, cell={"draw": int(draw or 0)})
        revisions = [
            valid.revision(cells={"/".join(key): "key" for key in cells if key[0] in names}) for names in planned
        ]
        table = read_sweep(write_sweep(tmp_path / place, cells, revisions=revisions))
        shown = pooled_tables(read_contrasts(table, read_groups(table, table.folder)), table)
        return [[entry.text for entry in entries] for made in shown for entries in made.entries]

    (alone,) = pooled("alone", ["a", "b-draw2"])
    assert alone[:4] == ["m", "text_vs_none", "2", "b-draw2"]
    assert pooled("both", ["a", "b-draw2"], ["b", "b-draw1"]) == [alone]
    ((*_, mean, _, _, _),) = pooled("at_once", ["a", "b", "b-draw1", "b-draw2"])
    assert mean != alone[4]  # draw 0 is first by name
    assert pooled("failed", ["a", "b-draw2"], ["b", "b-draw1"], text=Made(failure="out of memory")) == []


# Which data sets are repetitions.


def repetitions(folder: Path) -> list[Repetitions]:
    table = read_sweep(folder)
    return read_repetitions(table, read_groups(table, folder))


def test_a_single_split_is_judged_alone(tmp_path: Path) -> None:
    cells = {**pair("a-split4", 1100), **pair("b", 1100)}
    folder = write_sweep(tmp_path / "s", cells)
    assert repetitions(folder) == []
    assert all(c.over is c.within is None and c.inference for c in judged(folder).values())


def folds_and_whole(**changed: object) -> Cells:
    """Three folds of new items of a data set, and the data set as a whole, where text is worth less."""
    cells = pair("a", 1010, protocol="paper")
    for (_, model, condition), made in list(cells.items()):
        cells["a", model, condition] = replace(made, config={"dataset": {"name": "a"}}, **changed)
    for fold in range(3):
        cells |= pair(f"a-fold{fold}", 1100 + 10 * fold, protocol="cold")
    return cells


def test_a_data_set_is_no_fold_of_itself(tmp_path: Path) -> None:
    """Whether it has run or is planned; its contrasts stand in a table of their own."""
    folder = write_sweep(tmp_path / "s", folds_and_whole())
    folds = Repetitions(Repeated.FOLD, "a", ("a-fold0", "a-fold1", "a-fold2"))
    assert repetitions(folder) == [folds]
    waiting = folds_and_whole(missing=True)
    del waiting["a-fold0", "m", "text"], waiting["a-fold0", "m", "none"]
    assert repetitions(write_sweep(tmp_path / "planned", waiting)) == [folds.of(["a-fold1", "a-fold2"])]
    table = read_sweep(folder)
    titles = [t.title for t in document(table, read_contrasts(table, read_groups(table, folder)), []).tables]
    assert titles == [
        "a, verdicts on NDCG@20",
        "a over 3 of 5 cold folds, verdicts on NDCG@20 among new items themselves",
    ]


def test_encoders_and_draws_are_no_repetitions(tmp_path: Path) -> None:
    cells: Cells = {}
    for split in range(2):
        name = f"-split{split}" if split else ""
        settings = {"name": "a", "split_seed": split}
        plain, clip = pair("a", 1100), pair("a", 1100)
        for (_, model, condition), made in plain.items():
            cells[f"a{name}", model, condition] = replace(made, config={"dataset": settings})
            cells[f"a{name}-draw1", model, condition] = replace(made, config={"dataset": settings}, cell={"draw": 1})
        for (_, model, condition), made in clip.items():
            dataset = {**settings, "encoder": {"image": "clip"}}
            cells[f"a{name}-image=clip", model, condition] = replace(made, config={"dataset": dataset})
    found = {over.data: over.datasets for over in repetitions(write_sweep(tmp_path / "s", cells))}
    assert found == {
        "a": ("a", "a-split1"),
        "a-draw1": ("a-draw1", "a-split1-draw1"),
        "a-image=clip": ("a-image=clip", "a-split1-image=clip"),
    }


def test_a_model_on_one_split_alone_has_its_own_word(tmp_path: Path) -> None:
    found = judged(write_sweep(tmp_path / "s", {**three(), **pair("a", 1100, "single")}))
    assert found["a/single/text_vs_none"].word == "better"
    assert found[f"{ALL}/m/text_vs_none"].word == "better"


@pytest.mark.parametrize("begun", [True, False])
def test_a_planned_split_that_has_not_run_leaves_it_open(tmp_path: Path, begun: bool) -> None:
    cells = three()
    for name in ("text",) if begun else ("text", "none"):
        cells["a-split2", "m", name] = Made(missing=True)
    found = judged(write_sweep(tmp_path / "s", cells))
    joined = found[f"{ALL}/m/text_vs_none"]
    waits = "text missing" if begun else "text missing, none missing"
    assert (joined.judgement, joined.word) == (None, f"a-split2: {waits}")
    assert contrast_verdict(joined, "ndcg@20") == f"not judged: a-split2: {waits}"
    assert found["a/m/text_vs_none"].word == "no word"
    assert significant(list(found.values())) == (0, 1)  # one planned contrast, whatever its splits


FINE = verdict(tuned(0.1, 0.02), 0.02)
SILENT = Judgement(None, "5 trials, and a word takes 8: raise budget.trials")
REFUSED = tuned(0.1, 0.02, refusal=NoWord.ONE_TRIAL)
BARRED = [
    # what the second of two splits says, and what follows
    ((None, Judgement(Verdict.FAILED, "text failed: NaN")), "failed", "a-split1: text failed: NaN"),
    ((tuned(0.1, 0.02), Judgement(Verdict.UNTRUSTED, "stalled")), "measurement not trusted", "a-split1: stalled"),
    ((tuned(0.1, 0.02), SILENT), "no word", f"a-split1: {SILENT.reason}"),
    ((tuned(0.1, 0.02, trials=8), FINE), "measurement not trusted", "different numbers of trials (8, 30)"),
    ((REFUSED, verdict(REFUSED, 0.02)), "no word", NoWord.ONE_TRIAL),
    # A word of its own bars nothing, whichever it is.
    ((tuned(0.1, 0.02, depends=True), Judgement(Verdict.DEPENDS_ON_TUNING, "")), "better", "reaches the margin"),
    ((tuned(0.1, 0.02), Judgement(Verdict.UNDECIDED, "")), "better", "reaches the margin"),
]


@pytest.mark.parametrize(("said", "word", "reason"), BARRED)
def test_what_bars_a_word_in_one_split_bars_it_in_all(
    said: tuple[TunedGain | None, Judgement], word: str, reason: str
) -> None:
    over = Repetitions(Repeated.SPLIT, "a", ("a", "a-split1"))
    joined, judgement = judge_together(over, {"a": (tuned(0.1, 0.02), FINE), "a-split1": said}, 0.02)
    assert str(judgement) == word
    assert reason in judgement.reason
    assert (joined is None) == (said[0] is None or said[0].trials == 8)


def test_a_failed_split_still_says_so(tmp_path: Path) -> None:
    cells = three() | {("a-split1", "m", "text"): Made(failure="NaN")}
    found = judged(write_sweep(tmp_path / "s", cells))
    assert [found[f"{d}/m/text_vs_none"].word for d in FOUND] == ["no word", "failed", "no word"]


def test_what_was_said_at_earlier_looks_is_joined_too(tmp_path: Path) -> None:
    cells: Cells = {}
    for name, n in FOUND.items():
        cells |= pair(name, n, n_trials=16)
    folder = write_sweep(tmp_path / "s", cells)
    for dataset, model, condition in cells:
        write_earlier_look(folder / dataset / model / condition, 8)
    found = judged(folder)
    joined = found[f"{ALL}/m/text_vs_none"]
    (look,) = joined.earlier
    assert (look.number, look.trials, look.judgement.word) == (1, 8, "better")
    assert joined.tuned is not None
    assert joined.tuned.level == 0.975
    assert found["a/m/text_vs_none"].earlier == ()


# Folds of items.


def folds(*found: int) -> Cells:
    cells: Cells = {}
    for number, n in enumerate(found):
        cells |= pair(f"d-fold{number}", n)
    return cells


def test_folds_are_a_sample_and_their_users_no_source_of_error(tmp_path: Path) -> None:
    counts = (1100, 1120, 1080, 1110, 1090)
    found = judged(write_sweep(tmp_path / "s", folds(*counts)))
    joined = found["d over 5 cold folds/m/text_vs_none"]
    assert joined.tuned is not None
    logs = [math.log(n / 1000) for n in counts]
    expected = over_folds(logs)
    assert joined.tuned.log_gain is not None
    assert joined.tuned.log_gain.se == pytest.approx(expected.se)
    assert (joined.tuned.log_gain.df, joined.word) == (4.0, "better")


def test_a_single_fold_has_no_word(tmp_path: Path) -> None:
    found = judged(write_sweep(tmp_path / "s", folds(1100)))
    joined = found["d over one draw of new items/m/text_vs_none"]
    assert (joined.word, joined.inference) == ("no word", None)
    assert joined.judgement is not None
    assert joined.judgement.reason == NoWord.ONE_FOLD
    assert found["d-fold0/m/text_vs_none"].word == "no word"
    (over,) = repetitions(tmp_path / "s")
    assert over == Repetitions(Repeated.FOLD, "d", ("d-fold0",))


@pytest.mark.parametrize(("n", "words"), [(2, "over 2 of 5 cold folds"), (4, "over 4 of 5 cold folds")])
def test_fewer_folds_than_the_protocol_has_say_how_many_there_are(tmp_path: Path, n: int, words: str) -> None:
    found = judged(write_sweep(tmp_path / "s", folds(*(1100, 1110, 1090, 1105)[:n])))
    joined = found[f"d {words}/m/text_vs_none"]
    assert joined.word == "better"
    assert sentence(joined, "ndcg@20").endswith(f"d {words})")


def by_time(target: str, number: int = 0) -> Cells:
    """What a split by time judges on the items that are new there, under the name that such a data set has."""
    config = {"dataset": {"name": "d", "protocol": "time", "split_seed": number}, "tuning": {"target": target}}
    name = f"d-{target}" if number == 0 else f"d-split{number}-{target}"
    return {
        (name, model, condition): replace(made, config=config)
        for (_, model, condition), made in pair("d", 1100).items()
    }


@pytest.mark.parametrize("target", ["cold", "harmonic"])
def test_new_items_of_a_split_by_time_are_one_draw_and_have_no_word(tmp_path: Path, target: str) -> None:
    """The interval over users lies far above zero: were it judged, the word would be better."""
    found = judged(write_sweep(tmp_path / "s", by_time(target)))
    joined, alone = found[f"d-{target} over one draw of new items/m/text_vs_none"], found[f"d-{target}/m/text_vs_none"]
    assert (joined.word, alone.word, joined.inference, alone.inference) == ("no word", "no word", None, None)
    assert joined.judgement is not None
    assert joined.judgement.reason == NoWord.ONE_FOLD
    assert joined.tuned is not None
    assert joined.tuned.log_gain is None
    assert alone.tuned is not None
    assert alone.tuned.interval is not None
    assert alone.tuned.interval.lo > 0.02


def test_seeds_of_a_split_by_time_draw_no_other_new_items(tmp_path: Path) -> None:
    found = judged(write_sweep(tmp_path / "s", by_time("cold") | by_time("cold", 1)))
    assert {c.word for c in found.values()} == {"no word"}
    assert sum(c.over is not None for c in found.values()) == 2


def test_other_items_of_a_split_by_time_are_judged_over_users(tmp_path: Path) -> None:
    found = judged(write_sweep(tmp_path / "s", by_time("warm")))
    assert [(c.dataset, c.word) for c in found.values()] == [("d-warm", "better")]


# Free disposal.


@pytest.mark.parametrize("target", ["cold", "harmonic"])
def test_free_disposal_among_new_items_of_a_split_by_time_has_no_word(tmp_path: Path, target: str) -> None:
    config = {"dataset": {"name": "d", "protocol": "time"}, "tuning": {"target": target}}
    made = {
        (f"d-{target}", model, name): replace(cell, config=config)
        for (_, model, name), cell in disposed.cells(gain=300).items()
    }
    found = choices(write_sweep(tmp_path / "s", made))
    assert {d.word for d in found.values()} == {"no word"}
    joined = found[f"d-{target} over one draw of new items", "image", "m"]
    assert (joined.judgement.reason, joined.inference) == (NoWord.ONE_FOLD, None)


def choices(folder: Path) -> dict[tuple[str, str, str | None], Disposal]:
    table = read_sweep(folder)
    return {(d.dataset, d.modality, d.model): d for d in read_disposals(table, read_groups(table, folder))}


def shops(*conditions: tuple[str, ...]) -> Cells:
    """A shop split several times, with these conditions in each split."""
    made: Cells = {}
    for split, names in enumerate(conditions):
        dataset = f"d-split{split}" if split else "d"
        for (_, model, name), cell in disposed.cells(conditions=names, gain=100 + 10 * split).items():
            made[dataset, model, name] = replace(cell, config=of_split(dataset))
    return made


def test_free_disposal_is_joined(tmp_path: Path) -> None:
    every = tuple(disposed.STATES)
    found = choices(write_sweep(tmp_path / "s", shops(every, every)))
    joined = found["d over 2 split seeds", "image", "m"]
    assert joined.name == "d over 2 split seeds/m/free_disposal_of_image"
    assert (joined.word, joined.real, joined.datasets) == ("better", found["d", "image", "m"].real, ("d", "d-split1"))
    assert joined.tuned is not None
    assert joined.tuned.gain == pytest.approx(math.sqrt(1150 / 1050 * 1160 / 1050) - 1)
    assert found["d", "image", "m"].word == "no word"
    assert found["d-split1", "image", None].judgement.reason == "judged over 2 split seeds"


@pytest.mark.parametrize("finished", [1, 2])
def test_free_disposal_waits_for_a_planned_split_that_has_not_run(tmp_path: Path, finished: int) -> None:
    every = tuple(disposed.STATES)
    made = shops(every, every, every)
    for dataset, model, name in list(made):
        if dataset in ("d-split1", "d-split2")[finished - 1 :]:
            made[dataset, model, name] = Made(missing=True)
    found = choices(write_sweep(tmp_path / "s", made))
    waiting = "it waits for d-split2" if finished == 2 else "it waits for d-split1 and d-split2"
    assert {d.word for d in found.values()} == {"no word"}
    assert {(d.tuned, d.inference, d.earlier) for d in found.values()} == {(None, None, ())}
    first = next(iter(found.values()))
    assert first.judgement.reason == (waiting if finished == 1 else f"d: {waiting}; d-split1: {waiting}")


@pytest.mark.parametrize("failed", [("d-split1",), ("d-split1", "d-split2")])
def test_free_disposal_has_no_word_where_a_planned_split_has_failed(tmp_path: Path, failed: Sequence[str]) -> None:
    """Nor have the splits that are left, as if there were no other."""
    every = tuple(disposed.STATES)
    made = shops(every, every, every)
    for dataset, model, name in list(made):
        if dataset in failed and name in ("image", "fused"):
            made[dataset, model, name] = Made(failure="out of memory")
    found = choices(write_sweep(tmp_path / "s", made))
    images = [d for (_, modality, _), d in found.items() if modality == "image"]
    assert {d.word for d in images} == {"no word"}
    assert {d.tuned for d in images} == {None}
    for dataset in failed:
        assert f"{dataset}/m/fused failed: out of memory" in images[0].judgement.reason


def test_repetitions_of_a_data_set_are_one_family_wherever_a_contrast_has_run(tmp_path: Path) -> None:
    """A contrast in one split and one in all three belong to one model of one data set."""
    cells = three()
    config = of_split("a")
    image = hit_users(USERS, range(1090))
    cells["a", "m", "image"] = Made(np.stack([image] * 3), trials=np.stack([image] * 8), config=config)
    found = judged(write_sweep(tmp_path / "s", cells, contrasts=("text_vs_none", "image_vs_none")))
    tested = [c.inference for c in found.values() if c.inference]
    assert [c.dataset for c in found.values() if c.inference] == [ALL, "a"]
    assert [one.holm for one in tested] == list(intervals.holm([one.p for one in tested]))


def test_free_disposal_of_other_cells_cannot_be_joined(tmp_path: Path) -> None:
    every = tuple(disposed.STATES)
    folder = write_sweep(tmp_path / "s", shops(every, (*every[:2], "fused", "text_shuffled_image")))
    joined = choices(folder)["d over 2 split seeds", "image", "m"]
    assert (joined.word, joined.tuned, joined.real) == ("no word", None, ())
    assert (
        joined.judgement.reason
        == "the conditions that have run are not the same over 2 split seeds: run the same ones in all"
    )
    named = f"{joined.name}: cells: "
    table = read_sweep(folder)
    text = markdown(document(table, [], list(choices(folder).values())))
    assert named not in text
    assert "0 against 0" not in text
    assert "A, 0 real cells" not in explainable(folder)[joined.name]()


@pytest.mark.charts
def test_rows_of_figures_are_in_the_language_of_the_figure(tmp_path: Path) -> None:
    """A name of repetitions, and that of all models, stand in one row beside names that no language changes."""
    table = read_sweep(write_sweep(tmp_path / "s", three()))
    compared = read_contrasts(table, read_groups(table, table.folder))
    (over,) = (c for c in compared if c.over is not None)
    assert over.judgement is not None
    free = Disposal(over.dataset, "text", None, over.tuned, (), (), (), over.judgement, over=over.over)
    drawn, say = figures.figures(table, compared, [free]), Translator("ja")
    words = figures.words_of(table, compared, [free])
    for name, model in (("forest-text_vs_none", "m"), ("forest-free_disposal_of_text", ALL_MODELS)):
        told = translated(drawn[name][0].svg, say, words)
        assert f">{say(series([model, over.dataset]))}</text>" in told
        assert "split seeds" not in told
        assert "all models" not in told
