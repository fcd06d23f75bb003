"""Free disposal: which cells stand on which side, and what may be said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench import paths
from mmbench.decision.steps import WAITING
from mmbench.decision.sweep_evidence import silence
from mmbench.inference import tuned_gain
from mmbench.inference.gains import NoWord
from mmbench.inference.intervals import LogGain, holm, smallest_equivalence_margin
from mmbench.inference.pooling import pooled_gain
from mmbench.report.comparisons import inference_of
from mmbench.report.disposals import ALL_MODELS, Disposal, read_disposals, read_partial_disposals
from mmbench.report.explain import explainable
from mmbench.report.fairness_checks import read_groups
from mmbench.report.layout import markdown_table
from mmbench.report.pooled import pool, pooled_tables
from mmbench.report.reading import read_sweep
from mmbench.report.sentences import disposal_sentence
from mmbench.report.write import write_report
from mmbench.store.schema import DataPrint
from tests.report.constructed import Made, hit_users, write_sweep

NOTHING = LogGain(0.0, 0.0, 0.0)
USERS = 2000
R, S, N = "real", "shuffle", "drop"
#: What each condition does to image and text.
STATES = {
    "none": (N, N),
    "text": (N, R),
    "image": (R, N),
    "fused": (R, R),
    "text_shuffled_image": (S, R),
    "image_states.image=shuffle": (S, N),
    "image_shuffled_text": (R, S),
    "shuffled": (S, S),
}
#: The same list for everybody; the late ensemble averages lists.
LISTS = np.tile(np.arange(20, dtype=np.int32), (3, USERS, 1))
CONTROLS = ("text_shuffled_image", "image_states.image=shuffle")


def made(condition: str, *spans: range, **changes: object) -> Made:
    """A cell of a condition whose trials and seeds all have a hit for the users of the spans."""
    image, text = STATES[condition]
    states = {"cell": {"states": {"image": image, "text": text}}, "lists": LISTS}
    return Made(np.stack([hit_users(USERS, *spans)] * 3), **{**states, **changes})


def spans(gain: int = 100) -> dict[str, range]:
    """Images are worth ``gain`` hits, text 50."""
    worth = {R: gain, S: 0, N: 0}
    return {name: range(1000 + worth[image] + 50 * (text == R)) for name, (image, text) in STATES.items()}


def cells(model: str = "m", conditions: tuple[str, ...] = tuple(STATES), gain: int = 100) -> dict[tuple, Made]:
    return {("d", model, name): made(name, spans(gain)[name]) for name in conditions}


def disposals(folder: Path) -> dict[tuple[str, str | None], Disposal]:
    table = read_sweep(folder)
    return {(d.modality, d.model): d for d in read_disposals(table, read_groups(table, folder))}


def test_sides_are_read_from_the_states(tmp_path: Path) -> None:
    found = disposals(write_sweep(tmp_path / "s", cells()))
    assert found.keys() == {(name, model) for name in ("image", "text") for model in ("m", None)}
    image = found["image", "m"]
    assert image.real == ("m/none", "m/image", "m/text", "m/fused")
    assert image.control == ("m/none", "m/image_states.image=shuffle", "m/text", "m/text_shuffled_image")
    assert image.missing == ()
    assert image.word == "better"
    # With all trials alike the best real cell finds 1,150 users, the best control 1,050.
    assert image.tuned is not None
    assert image.tuned.gain == pytest.approx(1150 / 1050 - 1)
    # The control of text alone was not run, so that cell leaves both sides.
    text = found["text", "m"]
    assert text.real == ("m/none", "m/image", "m/fused")
    assert text.control == ("m/none", "m/image", "m/image_shuffled_text")
    assert text.missing == (("m", "modality=shuffled_text"),)


def test_doubts_over_several_models_name_them(tmp_path: Path) -> None:
    stalled = {"courses": [{"popularity": 1.0}] * 8}
    both = {**cells("m", ("none", "fused", "text_shuffled_image")), **cells("n", ("none",))}
    found = disposals(write_sweep(tmp_path / "s", {name: replace(one, **stalled) for name, one in both.items()}))
    weighing = {
        model: found["image", model].judgement.reason.partition(", stalled")[0].removeprefix("of the weight of ")
        for model in ("m", None)
    }
    assert weighing == {"m": "none, fused", None: "m/none, n/none, m/fused"}


def test_a_control_that_was_not_run_leaves_both_sides(tmp_path: Path) -> None:
    conditions = ("none", "text", "image", "fused", "text_shuffled_image")
    found = disposals(write_sweep(tmp_path / "s", cells(conditions=conditions)))["image", "m"]
    assert found.real == ("m/none", "m/text", "m/fused")
    assert found.control == ("m/none", "m/text", "m/text_shuffled_image")
    assert found.missing == (("m", "modality=shuffled_image"),)
    assert found.controlled
    assert found.word == "better"


def test_a_modality_that_nothing_was_run_without_is_not_free_to_leave_out(tmp_path: Path) -> None:
    """The other side has nothing but shuffled images to choose, whose harm would count as a gain of real ones."""
    conditions = ("none", "fused", "text_shuffled_image")
    folder = write_sweep(tmp_path / "s", {**cells("n"), **cells(conditions=conditions)})
    found = disposals(folder)
    assert (found["image", "n"].without, found["image", "n"].word) == ((), "better")
    for model in ("m", None):
        free = found["image", model]
        assert (free.without, free.judgement.word, free.inference) == ((("m", "modality=text"),), None, None)
        assert str(free.judgement.reason) == "not run, so that image cannot be left out: model=m modality=text"
    explained = explainable(folder)["d/m/free_disposal_of_image"]()
    assert "  not run, so image cannot be left out: model=m modality=text" in explained
    assert "condition without a modality not run: dataset=d model=m modality=text" in write_report(folder).text


def test_without_any_control_there_is_a_ratio_and_no_word(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", cells(conditions=("none", "text", "image", "fused")))
    found = disposals(folder)["image", "m"]
    assert found.real == ("m/none", "m/image", "m/text", "m/fused")
    assert found.control == ("m/none", "m/text")
    assert found.missing == (
        ("m", "modality=shuffled_image"),
        ("m", "modality=text_shuffled_image"),
    )
    assert found.tuned is not None
    assert (found.tuned.refusal, found.tuned.interval) == (NoWord.MORE_SEARCH, None)
    assert found.tuned.gain == pytest.approx(1150 / 1050 - 1)
    assert (found.judgement.word, found.controlled) == (None, False)
    assert "more search on one side" in disposal_sentence(found, "ndcg@20")
    table = write_report(folder)
    assert "no word: more search on one side" in table.text
    assert "control not run: dataset=d model=m modality=text_shuffled_image" in table.text
    explained = explainable(folder)[found.name]()
    assert "control not run, its cell is on side A alone: model=m modality=text_shuffled_image" in explained


def test_free_disposals_without_a_contrast_have_their_notes(tmp_path: Path) -> None:
    folder = write_sweep(
        tmp_path / "s", cells(conditions=("image", "image_states.image=shuffle")), contrasts=["text_vs_none"]
    )
    text = write_report(folder).text
    assert "no verdict: this sweep holds both conditions of none of the planned contrasts" in text
    assert "Equivalence margin 2 %, fixed before the sweep" in text
    assert "Significant over the table" not in text


#: What the plan says of the data set: which modalities it has.
DATA = DataPrint(
    split_hash="", test_hash="", valid_users="", n_users=9, n_items=9, n_train=9, features={"image": "", "text": ""}
)


@pytest.mark.parametrize("begun", [True, False])
def test_one_of_which_nothing_has_run_says_so_and_stays_in_its_family(begun: bool, tmp_path: Path) -> None:
    """Its cells are planned: records say what they are, or, where their folders are gone, their names."""
    planned = {name: made(name, range(1000)) for name in ("none", "fused", "text_shuffled_image")}
    planned |= {"text": made("text", range(1060))}
    planned |= {"shuffled_text": made("none", range(1000), cell={"states": {"image": N, "text": S}})}
    whole = {("d", "m", name): cell for name, cell in planned.items()}
    folder = write_sweep(tmp_path / "s", whole, data={"d": DATA})
    assert [key[0] for key in disposals(folder)] == ["image", "image", "text", "text"]
    for name in ("fused", "text_shuffled_image"):
        place = paths.cell_dir(folder, "d", "m", name)
        for file in [file for file in place.rglob("*") if file.is_file()]:
            if not (begun and file == paths.cell_file(place)):
                file.unlink()
    found = disposals(folder)
    waiting = "d/m/fused missing; d/m/text_shuffled_image missing"
    assert list(found) == [("text", "m"), ("text", None), ("image", "m"), ("image", None)]
    for model in ("m", None):
        image, text = found["image", model], found["text", model]
        assert (image.pending, image.word, image.tuned, image.real) == (True, "no word", None, ())
        assert image.judgement.reason == waiting
        assert text.inference is not None
        assert text.inference.holm == holm([text.inference.p, 1.0])[0] > text.inference.p
    assert f"d/m/free_disposal_of_image: no word: {waiting}" in write_report(folder).text
    assert waiting in explainable(folder)["d/m/free_disposal_of_image"]()


@pytest.mark.parametrize(
    ("planned", "image", "waiting"),
    [
        # Another model of the plan: this one is done, the best of all models is not known.
        ({"n": ("none", "fused", "text_shuffled_image")}, "better", "d/n/fused missing"),
        ({"m": ("image", "image_states.image=shuffle")}, "no word", "d/m/image missing"),
        # Its control may say something else, at the same level.
        ({"m": ("image_states.image=shuffle",)}, "no word", "d/m/image_states.image=shuffle missing"),
        # Without a control of its own it is on neither side, whether it has run or not.
        ({"m": ("image",)}, "better", ""),
    ],
)
def test_who_stops_a_sweep_early_has_no_word_about_all_of_it(
    planned: dict[str, tuple[str, ...]], image: str, waiting: str, tmp_path: Path
) -> None:
    whole = cells(conditions=("none", "text", "image", "fused", "text_shuffled_image"))
    for model, names in planned.items():
        whole |= {("d", model, name): replace(made(name, range(9)), missing=True) for name in names}
    found = disposals(write_sweep(tmp_path / "s", whole, data={"d": DATA}))
    assert (found["image", "m"].word, found["image", None].word) == (image, "no word" if waiting else "better")
    assert waiting in found["image", None].judgement.reason
    assert (found["image", None].tuned is None) is bool(waiting)


def in_slice(name: str, label: str, **changes: object) -> Made:
    """A condition with images for the items of a category alone."""
    lost = {"missing": {"image": 1}, "missing_rule": "slice", "missing_slice": f"category:{label}"}
    return made(name, range(1120 if name == "fused" else 1050), config={"modality": lost}, **changes)


@pytest.mark.parametrize(
    ("planned", "waiting"),
    [
        ({("n", "text"): made("text", range(9))}, "d/n/text missing"),  # it stands on both sides of every slice
        ({("n", "none"): made("none", range(9)), ("n", "lamps"): in_slice("fused", "Lamps")}, "d/n/none missing"),
        ({("m", "alone"): in_slice("image", "Lamps"), ("m", "dark"): in_slice("shuffled", "Lamps")}, ""),
        ({("n", "fused"): made("fused", range(9)), ("m", "chairs"): in_slice("fused", "Chairs")}, ""),
    ],
)
def test_images_for_a_slice_wait_for_what_is_planned_of_it_and_without_images(
    planned: dict[tuple[str, str], Made], waiting: str, tmp_path: Path
) -> None:
    whole = cells(conditions=("none", "text", "fused", "text_shuffled_image"))
    whole |= {("d", "m", f"{name}_lamps"): in_slice(name, "Lamps") for name in ("fused", "text_shuffled_image")}
    whole |= {("d", *name): cell for name, cell in planned.items()}
    folder = write_sweep(tmp_path / "s", whole, data={"d": DATA})
    for model, name in planned:  # the record of a cell stands from the start of its command
        place = paths.cell_dir(folder, "d", model, name)
        for file in [file for file in place.rglob("*") if file.is_file() and file != paths.cell_file(place)]:
            file.unlink()
    table = read_sweep(folder)
    groups = read_groups(table, folder)
    (part,) = read_partial_disposals(table, groups, "image")
    assert (part.part, part.word) == ("category:Lamps", "no word" if waiting else "better")
    assert part.judgement.reason.startswith(waiting)
    assert silence(part, groups) == (WAITING if waiting else "")


def test_a_condition_that_failed_is_why_nothing_is_said_of_the_best_of_all(tmp_path: Path) -> None:
    whole = cells(conditions=("none", "text", "image", *CONTROLS), gain=0)
    whole["d", "m", "fused"] = Made(failure="out of memory", cell=made("fused", range(9)).cell)
    folder = write_sweep(tmp_path / "s", whole, data={"d": DATA})
    for model in ("m", None):
        found = disposals(folder)["image", model]
        assert (found.word, found.tuned) == ("no word", None)
        assert found.judgement.reason == "d/m/fused failed: out of memory"


def test_one_without_two_sides_in_the_plan_does_not_wait(tmp_path: Path) -> None:
    alone = {("d", "m", "fused"): replace(made("fused", range(9)), missing=True)}
    assert disposals(write_sweep(tmp_path / "one", alone, data={"d": DATA})) == {}
    both = alone | {("d", "m", "none"): replace(made("none", range(9)), missing=True)}
    found = disposals(write_sweep(tmp_path / "both", both, data={"d": DATA}))
    assert {d.judgement.reason for d in found.values()} == {"d/m/fused missing; d/m/none missing"}


def test_it_is_tested_as_a_contrast_is(tmp_path: Path) -> None:
    conditions = ("none", "text", "image", "fused", *CONTROLS, "shuffled", "image_shuffled_text")
    folder = write_sweep(tmp_path / "s", cells(conditions=conditions))
    found = disposals(folder)
    for disposal in found.values():
        tuned, inference = disposal.tuned, disposal.inference
        assert tuned is not None
        assert tuned.log_gain is not None
        assert inference is not None
        assert inference.p == tuned.log_gain.p
        assert inference.margin == pytest.approx(smallest_equivalence_margin(tuned.log_gain))
        assert inference.mde == tuned.log_gain.mde()
        assert disposal.optimism == (tuned.a.optimism, tuned.b.optimism)
        # The family of Holm is that of the modalities of one model, or of all models together.
        family = [d.inference.p for (_, model), d in found.items() if model == disposal.model and d.inference]
        assert inference.holm in holm(family)
        assert inference.holm >= inference.p
    write_report(folder)
    rows = pd.read_csv(folder / "report" / "verdicts.csv")
    free = rows[rows["contrast"] == "free_disposal_of_image"]
    assert len(free) == 2
    tests = ["holm_p", "bh_q", "equivalence_p", "noninferior_p", "dispensable_p", "smallest_margin", "mde"]
    assert free[[*tests, "optimism_a", "optimism_b"]].notna().all(axis=None)


def test_it_is_pooled_over_data_sets(tmp_path: Path) -> None:
    one, other = cells(gain=100), cells(gain=60)
    both = {**one, **{("e", *name[1:]): cell for name, cell in other.items()}}
    table = read_sweep(write_sweep(tmp_path / "s", both))
    found = read_disposals(table, read_groups(table, table.folder))
    pooled = pool(found, table)["m", "free_disposal_of_image", ""]
    gains = [d.tuned.log_gain for d in found if d.modality == "image" and d.model == "m" and d.tuned]
    assert pooled == pooled_gain([gain for gain in gains if gain])
    assert pooled.k == 2
    assert (ALL_MODELS, "free_disposal_of_image", "") in pool(found, table)
    # Among new items a metric is another one than among all.
    among = [replace(d, target="cold") if d.dataset == "e" else d for d in found]
    assert pool(among, table) == {}
    twice = pool([*found, *(replace(d, target="cold") for d in found)], table)
    assert [key.target for key in twice if key.model == "m"] == ["", "", "cold", "cold"]
    titles = [made.title for made in pooled_tables([*found, *(replace(d, target="cold") for d in found)], table)]
    assert titles == [
        "all data sets, NDCG@20: random effects of log(1 + gain)",
        "all data sets, NDCG@20 among new items themselves: random effects of log(1 + gain)",
    ]


def test_what_is_exactly_zero_is_pooled_and_what_cannot_be_is_named(tmp_path: Path) -> None:
    made = {name: cells(gain=gain) for name, gain in (("d", 100), ("e", 60), ("f", 60))}
    named = {(name, *key[1:]): cell for name, each in made.items() for key, cell in each.items()}
    table = read_sweep(write_sweep(tmp_path / "s", named))
    found = [d for d in read_disposals(table, read_groups(table, table.folder)) if d.model == "m" and d.tuned]
    (first, *_) = found
    assert first.tuned is not None
    nothing_varies = inference_of(replace(first.tuned, log_gain=NOTHING), table.delta)
    assert nothing_varies is not None
    assert (nothing_varies.p, nothing_varies.mde) == (1.0, None)
    zero = [replace(d, tuned=replace(d.tuned, log_gain=NOTHING)) if d.dataset == "e" and d.tuned else d for d in found]
    doubted = [replace(d, judgement=None) if d.dataset == "f" else d for d in zero]
    gains = {d.dataset: d.tuned.log_gain for d in zero if d.modality == "image" and d.tuned and d.tuned.log_gain}
    key = "m", "free_disposal_of_image", ""
    assert pool(zero, table)[key] == pooled_gain([gains["d"], NOTHING, gains["f"]])
    assert pool(doubted, table)[key] == pooled_gain([gains["d"], NOTHING])
    seldom = ("of them exactly 0", "left out")

    def columns(rows: Sequence[Disposal]) -> list[list[str]]:
        (table_of_all,) = pooled_tables(rows, table)
        shown = [table_of_all.header.index(label) for label in seldom if label in table_of_all.header]
        return [[row[place].text for place in shown] for row in table_of_all.entries if row[1].text == key[1]]

    assert [columns(rows) for rows in (found, zero, doubted)] == [[[]], [["e"]], [["e", "f"]]]
    none = [replace(d, tuned=replace(d.tuned, log_gain=NOTHING)) if d.tuned else d for d in zero]
    assert pool(none, table) == {}
    same = [d if d.dataset == "d" else replace(d, tuned=replace(d.tuned, log_gain=NOTHING)) for d in found if d.tuned]
    assert pool(same, table)[key] is None
    (table_of_all,) = pooled_tables(same, table)
    place = table_of_all.header.index("tuned gain %")
    assert [row[place].text for row in table_of_all.entries if row[1].text == key[1]] == ["-"]


def test_pooling_takes_no_look_back(tmp_path: Path) -> None:
    """A second look has its words at 97.5 %, also where another data set was looked at once."""
    one, other = cells(gain=100), cells(gain=60)
    table = read_sweep(write_sweep(tmp_path / "s", {**one, **{("e", *name[1:]): cell for name, cell in other.items()}}))
    found = [d for d in read_disposals(table, read_groups(table, table.folder)) if d.model == "m" and d.tuned]
    looked = [replace(d, tuned=replace(d.tuned, level=0.975)) if d.dataset == "e" and d.tuned else d for d in found]
    once, twice = (pool(of, table)["m", "free_disposal_of_image", ""] for of in (found, looked))
    assert (once.effect.level, twice.effect.level) == (0.95, 0.975)
    assert twice.effect.mean == once.effect.mean
    assert twice.effect.hi > once.effect.hi
    assert "] at 97.5 %" in "".join(map(markdown_table, pooled_tables(looked, table)))


def test_late_external_and_thinned_cells_are_on_neither_side(tmp_path: Path) -> None:
    made_of = cells()
    made_of["d", "m", "half"] = made("fused", range(1900), config={"modality": {"missing": {"image": 0.5}}})
    made_of["d", "given", "fused"] = made("fused", range(1900), config={"model": {"recommendations": "lists.csv"}})
    folder = write_sweep(tmp_path / "s", made_of)
    assert read_sweep(folder).done("d", "m", "late") is not None
    found = disposals(folder)
    assert found["image", "m"].real == ("m/none", "m/image", "m/text", "m/fused")
    assert found["image", None].real == found["image", "m"].real
    assert ("image", "given") not in found


def test_over_all_models_the_best_of_all_is_picked(tmp_path: Path) -> None:
    """A model that ignores content is its own control and belongs to the choice over all models only."""
    made_of = {**cells("m", gain=100), **cells("strong", ("none", "text", "fused", "text_shuffled_image"), gain=-300)}
    made_of["d", "bpr", "-"] = Made(np.stack([hit_users(USERS, range(1060))] * 3))
    found = disposals(write_sweep(tmp_path / "s", made_of))
    assert {model for modality, model in found if modality == "image"} == {"m", "strong", None}
    every = found["image", None]
    assert every.real[0] == "bpr/-"
    assert every.control[0] == "bpr/-"
    assert set(every.real) == {
        "bpr/-", "m/none", "m/text", "m/image", "m/fused", "strong/none", "strong/text", "strong/fused",
    }  # fmt: skip
    assert every.tuned is not None
    # Real: 1,150 of m's fused. Control: bpr's 1,060, for without images m finds 1,050.
    assert every.tuned.gain == pytest.approx(1150 / 1060 - 1)
    assert every.judgement.word == "better"
    # Strong loses 300 hits with images, and need not use them.
    assert found["image", "strong"].tuned is not None
    assert found["image", "strong"].tuned.gain == pytest.approx(0.0)
    assert found["image", "strong"].word == "equivalent"


def test_a_gain_is_that_of_the_estimator(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    made_of = {}
    for name, span in spans(30).items():
        hits = np.stack([hit_users(USERS, range(span.stop - int(cut))) for cut in rng.integers(0, 200, 8)])
        image, text = STATES[name]
        finals = np.stack([hit_users(USERS, range(span.stop - cut)) for cut in (0, 3, 7)])
        made_of["d", "m", name] = Made(finals, trials=hits, cell={"states": {"image": image, "text": text}})
    folder = write_sweep(tmp_path / "s", made_of)
    table = read_sweep(folder)
    (group,) = read_groups(table, folder)
    by_name = {cell.modality: cell.tuned_cell for cell in group.cells}
    (found, *_) = read_disposals(table, [group])
    expected = tuned_gain.free_disposal(
        [by_name[name] for name in ("none", "text", "image", "fused")],
        [by_name[name] for name in ("none", "text", *CONTROLS)],
    )
    assert found.tuned is not None
    assert found.tuned.estimate == expected.estimate
    assert found.tuned.interval == expected.interval
    assert expected.estimate.trials_variance > 0
    assert expected.estimate.users_variance > 0


@pytest.mark.parametrize(
    ("condition", "changes", "word", "reason"),
    [
        ("fused", {"courses": [{"popularity": 0.9}] * 8}, "measurement not trusted", "raise budget.patience_steps"),
        (
            "text",
            {"seal": {"choice_hash": "another"}},
            "measurement not trusted",
            "m: text: the test split was opened for",
        ),
        (
            "none",
            {"config": {"budget": {"name": "standard", "rungs": [3], "max_steps": 9}}},
            "measurement not trusted",
            "conditions differ in their budget",
        ),
    ],
)
def test_what_is_unsound_on_one_side_is_not_trusted(
    tmp_path: Path, condition: str, changes: dict[str, object], word: str, reason: str
) -> None:
    made_of = cells()
    made_of["d", "m", condition] = made(condition, spans()[condition], **changes)
    found = disposals(write_sweep(tmp_path / "s", made_of))["image", "m"]
    assert found.word == word
    assert reason in found.judgement.reason


def test_free_disposal_is_in_every_file(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", cells())
    table = write_report(folder)
    report = folder / "report"
    told = "the free choice to use images brings +9.5 % ["
    assert told in table.text
    assert told in (report / "verdicts.md").read_text()
    cells_told = (
        "cells: m none, image, text, fused; against: m none, image_states.image=shuffle, text, text_shuffled_image"
    )
    assert cells_told in table.text
    assert told in (report / "fairness.md").read_text()
    page = (report / "report.html").read_text()
    assert "Free disposal of a modality" in page
    assert "4 against 4" in page
    assert told in page
    assert "<svg" in (report / "fairness.html").read_text().rpartition("Free disposal")[2]
    assert (report / "forest-free_disposal_of_image.svg").exists()
    frame = pd.read_csv(report / "verdicts.csv").set_index(["model", "contrast"])
    row = frame.loc[("all models", "free_disposal_of_image")]
    assert row["gain"] == pytest.approx(1150 / 1050 - 1)
    assert row["real"] == "m/none m/image m/text m/fused"
    explained = explainable(folder)["d/all models/free_disposal_of_image"]()
    assert "A, 4 real cells: m/none, m/image, m/text, m/fused" in explained
    assert "-> better" in explained
