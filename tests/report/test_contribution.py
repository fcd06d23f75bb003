"""What a modality contributes, from constructed records by hand and from a sweep that ran on items with categories."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import rel_entr

from mmbench import paths
from mmbench.data.dataset import DatasetConfig, load_dataset
from mmbench.data.interactions import Interactions
from mmbench.data.planted import make_world
from mmbench.evaluation import list_measures
from mmbench.evaluation.metrics import RankedPairs, Ranking
from mmbench.inference.contribution import shapley
from mmbench.inference.contribution.guardrails import LEVEL, Rail, coverage_change, rail, shown_by
from mmbench.inference.intervals import MIN_USERS, Interval, relative_gain
from mmbench.inference.repetitions import Repeated
from mmbench.inference.verdicts import Judgement, Verdict
from mmbench.messages import Translator
from mmbench.report.catalogue import Catalogue, read_catalogue
from mmbench.report.comparisons import compare, read_contrasts
from mmbench.report.contribution_facts import (
    document,
    measure_model,
    read_contributions,
    readings,
    with_redundancy,
    words_of,
)
from mmbench.report.evidence import proved
from mmbench.report.facts import Fact, Facts, tables
from mmbench.report.fairness_checks import PASS, read_groups
from mmbench.report.layout import csv as as_csv
from mmbench.report.layout import markdown
from mmbench.report.list_facts import Lists, beyond_facts, guardrail_facts, read_lists
from mmbench.report.reading import read_sweep
from mmbench.report.table import CellResult, SweepTable
from mmbench.report.together import Repetitions
from mmbench.report.write import write_report
from mmbench.scheduling import worker
from mmbench.scheduling.sweep import Sweep
from mmbench.scheduling.trust import NOTHING, Trust
from mmbench.store import records
from mmbench.store.schema import Cell
from tests import records as valid
from tests.report.constructed import Made, hit_users, write_sweep
from tests.tiny import TINY, WORLD, composed

EMPTY_CELL = CellResult("w", "m", "none", "done", Path("nowhere"))
USERS = 200
ENDS = {"none": 100, "text": 120, "image": 110, "fused": 125}
IMAGE, TEXT, IMAGE_AND_TEXT = frozenset({"image"}), frozenset({"text"}), frozenset({"image", "text"})
STATES = {
    "none": {"text": "drop", "image": "drop"},
    "text": {"text": "real", "image": "drop"},
    "image": {"text": "drop", "image": "real"},
    "fused": {"text": "real", "image": "real"},
}
LISTS = {c: np.tile(np.arange(i * 20, i * 20 + 20, dtype=np.int32), (3, USERS, 1)) for i, c in enumerate(ENDS)}


def cells(n_seeds: int = 3, **changes: Made) -> dict[tuple[str, str, str], Made]:
    """Half of the users are found without content, 20 more with text, 10 with images, 25 with both."""
    made = {
        c: Made(
            np.stack([hit_users(USERS, range(end))] * n_seeds),
            lists=LISTS[c][:n_seeds],
            cell={"states": STATES[c]},
            shuffled={"text": np.stack([hit_users(USERS, range(100))] * n_seeds)} if c == "fused" else {},
        )
        for c, end in ENDS.items()
    }
    return {("d", "m", c): one for c, one in (made | changes).items()}


def measured(table: SweepTable) -> list[Facts]:
    groups = read_groups(table, table.folder)
    return read_contributions(table, groups, read_contrasts(table, groups))


def by_name(facts: Facts) -> dict[tuple[str, str, str], Fact]:
    return {(fact.measure, fact.subject, fact.part): fact for fact in facts.facts}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    (facts,) = measured(read_sweep(write_sweep(tmp_path_factory.mktemp("made") / "s", cells())))
    return facts


def test_values_by_hand(made: Facts) -> None:
    values = {key[1:]: fact.value for key, fact in by_name(made).items() if key[0] == "M1 value"}
    assert values == {
        ("image", "Shapley value"): pytest.approx(0.0375),
        ("image", "added to nothing"): pytest.approx(0.05),
        ("image", "added to the others"): pytest.approx(0.025),
        ("image", "redundancy share"): pytest.approx(0.5),
        ("text", "Shapley value"): pytest.approx(0.0875),
        ("text", "added to nothing"): pytest.approx(0.1),
        ("text", "added to the others"): pytest.approx(0.075),
        ("text", "redundancy share"): pytest.approx(0.25),
        ("image and text", "interaction (sign of the log scale agrees)"): pytest.approx(-0.025),
    }
    # The interaction, ten users less and five more, is not told from zero.
    assert made.readings == ["image adds to the others", "text adds to the others"]


def test_what_finds_nothing_has_no_sign_on_the_log_scale(tmp_path: Path) -> None:
    none = Made(np.zeros((3, USERS), bool), cell={"states": STATES["none"]})
    (facts,) = measured(read_sweep(write_sweep(tmp_path / "s", cells(none=none))))
    (part,) = (
        part for measure, subject, part in by_name(facts) if (measure, subject) == ("M1 value", "image and text")
    )
    assert part == "interaction (sign of the log scale not defined)"


def test_the_redundancy_of_the_added_modality_stands_beside_its_verdict(tmp_path: Path) -> None:
    contrasts = ["fused_vs_text", "fused_vs_image", "text_vs_none", "fused_vs_none"]
    table = write_report(write_sweep(tmp_path / "s", cells(), contrasts=contrasts))
    frame = pd.read_csv(table.folder / "report" / "verdicts.csv").set_index("contrast")
    assert frame["redundancy"].dropna().to_dict() == {
        "fused_vs_text": pytest.approx(0.5),
        "fused_vs_image": pytest.approx(0.25),
    }
    assert "| 0.50 |" in (table.folder / "report" / "verdicts.md").read_text()


def test_no_redundancy_stands_beside_a_contrast_that_it_does_not_belong_to(tmp_path: Path) -> None:
    """R of images is told of images given real text, not of images and text given shuffled text."""
    shuffled = Made(np.stack([hit_users(USERS, range(100))] * 3), cell={"states": {"text": "shuffle", "image": "drop"}})
    contrasts = ["fused_vs_text", "fused_vs_shuffled_text"]
    table = read_sweep(write_sweep(tmp_path / "s", cells(shuffled_text=shuffled), contrasts=contrasts))
    compared = read_contrasts(table, read_groups(table, table.folder))
    shares = {c.contrast: c.redundancy for c in with_redundancy(compared, measured(table))}
    assert shares == {"fused_vs_text": pytest.approx(0.5), "fused_vs_shuffled_text": None}


def test_a_reading_names_what_it_is_about(made: Facts, tmp_path: Path) -> None:
    text = markdown(document(read_sweep(write_sweep(tmp_path / "s", cells())), [made]))
    about = "d/m, the chosen configurations (NDCG@20, trials: 8, final seeds: 3): "
    assert f"- {about}image adds to the others\n" in text
    assert f"- {about}text adds to the others\n" in text


def test_a_reading_that_the_verdict_does_not_share_is_not_given(tmp_path: Path) -> None:
    """Both were tuned to the same, while the configurations that were chosen differ: no use of images is shown."""
    fused = replace(cells()["d", "m", "fused"], trials=np.stack([hit_users(USERS, range(120))] * 8))
    table = read_sweep(write_sweep(tmp_path / "s", cells(fused=fused), contrasts=["fused_vs_text"]))
    assert [c.word for c in read_contrasts(table, read_groups(table, table.folder))] == ["equivalent"]
    (facts,) = measured(table)
    assert by_name(facts)["M1 value", "image", "added to the others"].value == pytest.approx(0.025)
    assert facts.readings == ["text adds to the others"]


#: What image adds to the others and alone in the chosen configurations, the verdicts on both, and what is read.
READ = [
    ((0.1, 0.1), {}, "image adds to the others"),
    ((0.1, 0.1), {"rest": Verdict.BETTER_SMALL}, "image adds to the others"),
    ((0.1, 0.1), {"rest": Verdict.UNDECIDED}, ""),
    ((0.1, 0.1), {"rest": Verdict.WORSE}, ""),
    ((-0.1, 0.1), {"rest": Verdict.WORSE}, "image takes away from the others"),
    ((-0.1, 0.1), {"rest": Verdict.EQUIVALENT}, ""),
    ((0.0, 0.1), {}, "image improves on behaviour alone, and is not shown to add to the others"),
    ((0.0, 0.1), {"alone": Verdict.DEPENDS_ON_TUNING}, ""),
    ((0.0, 0.1), {"rest": Verdict.BETTER}, ""),
    ((0.0, 0.0), {"rest": Verdict.UNDECIDED}, "no use of image is shown with this encoder and model"),
    ((0.0, 0.0), {"rest": Verdict.BETTER}, ""),
    ((0.0, 0.0), {"alone": Verdict.BETTER}, ""),
    ((0.1, 0.1), {"rest": None}, ""),
    ((-0.1, 0.1), {"rest": None}, ""),
    ((0.0, 0.1), {"rest": None}, ""),
    ((0.0, 0.1), {"alone": None}, ""),
    ((0.0, 0.0), {"rest": None}, ""),
    ((0.0, 0.0), {"alone": None}, ""),
    *(
        ((0.0, mean), {contrast: word}, "")  # where nothing may be concluded, nothing is read
        for word in (Verdict.UNTRUSTED, Verdict.DEPENDS_ON_TUNING, Verdict.FAILED)
        for contrast in ("rest", "alone")
        for mean in (0.0, 0.1)
    ),
]


@pytest.mark.parametrize(("values", "words", "read"), READ)
def test_readings_stand_beside_verdicts_that_agree(
    values: tuple[float, float], words: dict[str, Verdict | None], read: str
) -> None:
    def value(mean: float) -> Interval:
        return Interval(mean, mean - 0.05, mean + 0.05)

    rest, alone = map(value, values)
    nothing = shapley.ModalityValue(value(0.0), value(0.0), value(0.0), None)
    modalities = {"image": shapley.ModalityValue(rest, alone, rest, None), "text": nothing}
    both = shapley.Contributions(value(0.0), value(0.0), modalities, {})
    judged = {{"rest": (IMAGE_AND_TEXT, TEXT), "alone": (IMAGE, shapley.EMPTY)}[name]: w for name, w in words.items()}
    assert next((line for line in readings(both, judged) if "image" in line), "") == read


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ({}, True),
        ({(IMAGE_AND_TEXT, TEXT): Verdict.BETTER}, True),
        ({(IMAGE_AND_TEXT, TEXT): Verdict.BETTER, (TEXT, shapley.EMPTY): None}, False),
        ({(IMAGE_AND_TEXT, TEXT): Verdict.UNTRUSTED}, False),
        ({(IMAGE, shapley.EMPTY): Verdict.DEPENDS_ON_TUNING}, False),
        ({(IMAGE_AND_TEXT, TEXT): Verdict.EQUIVALENT}, False),  # then images are not said to add to text
        ({(IMAGE_AND_TEXT, IMAGE): Verdict.WORSE}, False),
        ({(IMAGE, shapley.EMPTY): Verdict.EQUIVALENT}, True),
    ],
)
def test_two_modalities_are_read_together_where_something_may_be_concluded(
    words: dict[tuple[frozenset[str], frozenset[str]], Verdict | None], read: bool
) -> None:
    nothing, helped = Interval(0.0, -0.1, 0.1), Interval(0.2, 0.1, 0.3)
    value = shapley.ModalityValue(helped, nothing, helped, None)
    pairs = {("image", "text"): shapley.PairValue(helped, log_agrees=True)}
    found = shapley.Contributions(nothing, nothing, {"image": value, "text": value}, pairs)
    assert ("image and text help each other" in readings(found, words)) is read


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ((0.1, 0.2, 0.2, 0.35), "image and text help each other"),
        ((0.1, 0.2, 0.2, 0.25), "image and text replace each other in part"),
        ((0.2, 0.1, 0.1, 0.1), ""),  # neither adds to the other
        ((0.2, 0.2, 0.2, 0.1), ""),  # neither adds anything alone
        ((0.1, 0.2, 0.05, 0.3), "image and text help each other"),
        ((0.1, 0.2, 0.05, 0.12), ""),
    ],
)
def test_two_modalities_are_read_together_where_both_add_something(
    values: tuple[float, float, float, float], read: str
) -> None:
    rng = np.random.default_rng(0)
    taste = rng.normal(0.0, 0.01, (500, 3))
    coalitions = (shapley.EMPTY, TEXT, IMAGE, IMAGE_AND_TEXT)
    tables = {c: taste + rng.normal(v, 0.01, (500, 3)) for c, v in zip(coalitions, values, strict=True)}
    found = readings(shapley.contributions(tables), {})
    assert next((line for line in found if " and text " in line), "") == read


def test_nothing_is_read_where_the_verdicts_have_no_word(tmp_path: Path) -> None:
    """Four trials take no word, while the chosen configurations differ clearly; what was not planned is read."""
    short = {key[2]: replace(one, trials=np.stack([one.finals[0]] * 4)) for key, one in cells().items()}
    planned = ["fused_vs_text", "fused_vs_image", "text_vs_none", "image_vs_none"]
    table = read_sweep(write_sweep(tmp_path / "s", cells(**short), contrasts=planned))
    assert {c.word for c in read_contrasts(table, read_groups(table, table.folder))} == {"no word"}
    (facts,) = measured(table)
    assert by_name(facts)["M1 value", "image", "added to the others"].value == pytest.approx(0.025)
    assert facts.readings == []
    table = read_sweep(write_sweep(tmp_path / "t", cells(**short), contrasts=["fused_vs_text"]))
    (facts,) = measured(table)
    assert facts.readings == ["text adds to the others"]


def test_a_contrast_says_what_its_reverse_says(tmp_path: Path) -> None:
    """Images are worth something to the chosen configurations and nothing after tuning, whichever side they are on."""
    alike = {key[2]: one for key, one in cells().items()}
    fused = replace(alike["fused"], trials=np.stack([alike["text"].finals[0]] * 8))
    for contrast in ("fused_vs_text", "text_vs_fused"):
        table = read_sweep(write_sweep(tmp_path / contrast, cells(fused=fused), contrasts=[contrast]))
        compared = read_contrasts(table, read_groups(table, table.folder))
        assert [c.word for c in compared] == ["equivalent"]
        (facts,) = read_contributions(table, read_groups(table, table.folder), compared)
        assert "image adds to the others" not in facts.readings
    (c,) = compared
    said = words_of([replace(c, judgement=Judgement(Verdict.BETTER_SMALL, ""))], "d", "m")
    assert said == {
        (TEXT, IMAGE_AND_TEXT): Verdict.BETTER_SMALL,
        (IMAGE_AND_TEXT, TEXT): Verdict.WORSE_SMALL,
    }


def test_a_repetition_has_the_word_of_all_of_them(tmp_path: Path) -> None:
    table = read_sweep(write_sweep(tmp_path / "s", cells(), contrasts=["fused_vs_text"]))
    (c,) = read_contrasts(table, read_groups(table, table.folder))
    over = Repetitions(Repeated.SPLIT, "d", ("d", "d-split1"))
    joined = replace(c, over=over, judgement=Judgement(Verdict.BETTER, ""))
    part = replace(c, within=over, judgement=Judgement(None, "judged together"))
    contrast = (IMAGE_AND_TEXT, TEXT)
    assert words_of([joined, part], "d", "m") == {contrast: Verdict.BETTER, contrast[::-1]: Verdict.WORSE}
    assert words_of([replace(joined, judgement=None), part], "d", "m") == dict.fromkeys(
        (contrast, contrast[::-1])
    )  # a split has not run
    assert words_of([joined, part], "d", "other") == {}


def test_hits_and_their_noise_floor_by_hand(made: Facts) -> None:
    facts = by_name(made)
    shares = {part: f for (m, subject, part), f in facts.items() if (m, subject) == ("M2 hits", "testing image")}
    assert {part: f.value for part, f in shares.items() if f.value} == {
        "kept": 0.5,
        "redundant": 0.05,
        "only_text": 0.05,
        "synergy": 0.025,
        "net": 0.125,
    }
    # Image replaced by no modality and both by text of another seed: the 20 users whom text finds, thanks to text only.
    assert {part: f.baseline for part, f in shares.items() if f.baseline} == {"kept": 0.5, "only_text": 0.1, "net": 0.1}
    # Both against nothing, minus text against nothing, is what images add to text.
    net = facts["M2 hits beyond the noise floor", "testing image", "net"]
    assert net.value == pytest.approx(0.025)
    assert net.interval is not None
    assert net.interval.lo > 0
    assert facts["M2 hits beyond the noise floor", "testing image", "redundant"].value == pytest.approx(0.05)
    # What only the other modality finds is its effect, not noise, so it is not held against the floor.
    assert ("M2 hits beyond the noise floor", "testing image", "only_text") not in facts


def test_overlap_and_headroom_by_hand(made: Facts) -> None:
    facts = by_name(made)
    common = facts["M3 overlap and headroom", "image beside text", "hits in common (Jaccard)"]
    assert (common.value, common.baseline) == (pytest.approx(110 / 120), 1.0)
    lists = facts["M3 overlap and headroom", "image beside text", "lists in common (RBO)"]
    assert (lists.value, lists.baseline) == (0.0, pytest.approx(1.0))
    assert facts["M3 overlap and headroom", "image beside text", "net headroom"].value == 0.0
    other = facts["M3 overlap and headroom", "text beside image", "net headroom"]
    assert other.value == pytest.approx(0.6 - 0.55)
    assert facts["M3 overlap and headroom", "text beside image", "realised share of it"].value == pytest.approx(1.5)


def test_reliance_by_hand(made: Facts) -> None:
    relied = [f for f in made.facts if f.measure == "reliance"]
    assert [(f.subject, f.part, f.value) for f in relied] == [
        ("fused", "text shuffled at inference", pytest.approx(0.5 / 0.625 - 1))
    ]


def test_reliance_with_one_seed_has_no_bounds_whatever_the_model(tmp_path: Path) -> None:
    """What is shuffled at inference is drawn by the seed, of a closed form too."""
    computed = {"stop_reason": "closed_form"}
    closed = {key[2]: replace(one, courses=[computed] * 8, final=computed) for key, one in cells(1).items()}
    (facts,) = measured(read_sweep(write_sweep(tmp_path / "s", cells(**closed))))
    assert by_name(facts)["M1 value", "image", "added to the others"].interval is not None
    relied = by_name(facts)["reliance", "fused", "text shuffled at inference"]
    assert (relied.value, relied.interval) == (pytest.approx(-0.2), None)


def test_reliance_of_a_model_that_finds_nothing_any_more_has_no_bounds(tmp_path: Path) -> None:
    lost = replace(cells()["d", "m", "fused"], shuffled={"text": np.zeros((3, USERS), bool)})
    (facts,) = measured(read_sweep(write_sweep(tmp_path / "s", cells(fused=lost))))
    relied = by_name(facts)["reliance", "fused", "text shuffled at inference"]
    assert (relied.value, relied.interval) == (-1.0, None)


def test_what_cannot_be_known_is_said(made: Facts) -> None:
    assert made.unknown == [
        "slices, list measures and guard-rails: the data set cannot be read where the sweep's configuration says"
    ]


def test_one_seed_has_no_bounds(tmp_path: Path) -> None:
    table = read_sweep(write_sweep(tmp_path / "s", cells(1)))
    (facts,) = measured(table)
    assert facts.facts
    assert not any(f.interval is not None or f.baseline is not None for f in facts.facts)
    assert facts.readings == []
    text = markdown(document(table, [facts]))
    assert "d/m: one final run does not tell how far runs differ, no bounds and no conclusions" in text
    assert "noise floor, overlap and headroom: one seed does not tell flicker from an effect" in text


def test_a_subset_that_was_not_run(tmp_path: Path) -> None:
    (facts,) = measured(read_sweep(write_sweep(tmp_path / "s", cells(image=Made(missing=True)))))
    assert "M1, M2 and M3: no value for image; every subset of image, text needs one" in facts.unknown
    assert {f.measure for f in facts.facts} == {"reliance"}


def test_without_inference_shuffles_reliance_is_not_known(tmp_path: Path) -> None:
    plain = replace(cells()["d", "m", "fused"], shuffled={})
    (facts,) = measured(read_sweep(write_sweep(tmp_path / "s", cells(fused=plain))))
    assert "reliance: no final run was scored with a modality shuffled at inference" in facts.unknown


def test_one_modality_has_no_others(tmp_path: Path) -> None:
    two = {key: one for key, one in cells().items() if key[2] in ("none", "text")}
    two = {key: replace(one, cell={"states": {"text": one.cell["states"]["text"]}}) for key, one in two.items()}
    (facts,) = measured(read_sweep(write_sweep(tmp_path / "s", two)))
    assert [(f.part, f.value) for f in facts.facts] == [("added to nothing", pytest.approx(0.1))]
    assert facts.readings == ["text improves on behaviour alone"]
    assert "M2 and M3: they compare two modalities, here is 1" in facts.unknown


def test_a_condition_with_missing_content_is_no_subset(tmp_path: Path) -> None:
    thinned = replace(cells()["d", "m", "fused"], config={"modality": {"missing": {"image": 0.5}}})
    (facts,) = measured(read_sweep(write_sweep(tmp_path / "s", cells(fused=thinned))))
    assert any("no value for image+text" in line for line in facts.unknown)


def test_nothing_is_read_into_what_is_not_trusted(tmp_path: Path) -> None:
    other = replace(cells()["d", "m", "text"], seal={"choice_hash": "another"})
    table = read_sweep(write_sweep(tmp_path / "s", cells(text=other)))
    (facts,) = measured(table)
    assert (facts.fairness, facts.readings) == ("FAIL", [])
    assert "d/m: measurement not trusted, see fairness.md" in markdown(document(table, [facts]))
    unpaired = replace(other, seal={"test_hash": "another"})
    (facts,) = measured(read_sweep(write_sweep(tmp_path / "t", cells(text=unpaired))))
    assert facts.facts == []
    assert facts.unknown == ["everything: the conditions differ in final seeds, test split or effort"]


# A sweep that ran, on a folder whose items have categories and texts


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ran")
    data = folder / "shop"
    data.mkdir()
    source = make_world("cold_image", n_users=60, n_items=80, per_user=10)
    genres = ["Toys, Books", "Books", "", "Games"] * 20
    texts = ["" if i % 5 == 0 else "x" * i for i in range(80)]
    source.items.assign(genres=genres, title=texts).to_parquet(data / "items.parquet")
    source.log.to_parquet(data / "interactions.parquet")
    for name, feature in source.features.items():
        np.save(data / f"{name}_feat.npy", np.where(feature.present[:, None], feature.values, 0))
    words = [word for word in TINY if word not in WORLD]
    words += [f"paths.multirun={folder}", "sweep.name=s", "budget.seeds=2", "dataset=folder", "dataset.name=shop"]
    words += [f"dataset.path={data}", "dataset.protocol=given", "dataset.trust_row_order=true", "model=vbpr"]
    jobs = [composed([*words, f"modality={c}"]).job() for c in ("none", "text", "image", "fused")]
    sweep = Sweep.plan(jobs, words)
    sweep.open()
    worker.work(sweep.waiting)
    return sweep.folder


def catalogue(table: SweepTable) -> Catalogue:
    read = read_catalogue(table.cells["shop", "vbpr", "none"], table.trust)
    assert isinstance(read, Catalogue)
    return read


def test_a_control_that_is_drawn_takes_no_bounds_from_what_is_exact(ran: Path) -> None:
    """One final run of every condition, of which no seed changes the real ones; the control is another permutation."""
    table, data = read_sweep(ran, Trust(places=(ran.parent,))), catalogue(read_sweep(ran, Trust(places=(ran.parent,))))
    one = {name: replace(table.cells["shop", "vbpr", name], seeds=(1,)) for name in STATES}
    for cell in one.values():
        cell.__dict__["exact"] = True
    control = replace(one["image"], modality="shuffled_image")
    control.__dict__.update(exact=False, states={"text": "drop", "image": "shuffle"})
    compared = [compare(table, one["fused"], one["text"], None), compare(table, one["text"], control, None)]
    table = replace(table, conditions=(*table.conditions, control.modality))
    facts = measure_model(table, [control, *one.values()], compared, data, "PASS")
    told = {(f.measure, f.subject) for f in facts.facts if f.interval is not None}
    assert {"image", "text"} <= {subject for measure, subject in told if measure == "M1 value"}
    assert {("M6 slices", "fused_vs_text"), ("guard-rails", "fused_vs_text")} <= told
    assert not any(subject == "text_vs_shuffled_image" for _, subject in told)
    assert any((f.measure, f.subject) == ("M6 slices", "text_vs_shuffled_image") for f in facts.facts)
    assert all(f.word for f in facts.facts if f.measure == "guard-rails")
    assert "guard-rails of text_vs_shuffled_image: one seed does not measure training noise" in facts.unknown
    said = "shop/vbpr: one final run of shuffled_image does not tell how far runs differ, no bounds and no conclusions"
    assert f"{said} of what they are part of" in markdown(document(table, [facts]))
    # Without the control nothing else is said of the others.
    alone = measure_model(table, list(one.values()), compared[:1], data, "PASS")
    assert [f for f in facts.facts if f.measure == "M1 value"] == [f for f in alone.facts if f.measure == "M1 value"]
    assert (facts.readings, alone.unmeasured) == (alone.readings, [])


def test_slices_divide_the_pairs_by_the_facts_of_the_data(ran: Path) -> None:
    table = read_sweep(ran, Trust(places=(ran.parent,)))
    (facts,) = measured(table)
    data = catalogue(table)
    test, train = data.dataset.split.test, data.dataset.split.train
    counts = np.bincount(train.items, minlength=80)[test.items]
    sliced = {part: f for (m, s, part), f in by_name(facts).items() if (m, s) == ("M6 slices", "fused_vs_text")}
    popularity = {p.split(": ")[1]: f for p, f in sliced.items() if p.startswith("item's")}
    assert {name: f.n for name, f in popularity.items()} == {
        "cold": (counts == 0).sum(),
        "1-5": ((counts > 0) & (counts < 6)).sum(),
        "6-20": ((counts > 5) & (counts < 21)).sum(),
    }
    assert sum(f.share or 0 for f in popularity.values()) == pytest.approx(1.0)
    named = np.array(["Toys", "Books", "", "Games"] * 20)[[int(name[1:]) for name in data.dataset.item_ids]][test.items]
    categories = {p.split(": ")[1]: f.n for p, f in sliced.items() if p.startswith("category")}
    assert categories == {name: (named == name).sum() for name in ("Toys", "Books", "Games")}
    assert any(p.startswith("text length: ") for p in sliced)
    assert any(p == "text present: no text" for p in sliced)
    assert not any(p.startswith("image present") for p in sliced)  # every item has an image


def test_gain_of_a_slice_is_that_of_its_pairs(ran: Path) -> None:
    table = read_sweep(ran, Trust(places=(ran.parent,)))
    (facts,) = measured(table)
    counts = catalogue(table).item_counts
    sums = []
    for condition in ("fused", "text"):
        frames = [
            pd.read_parquet(paths.final_file(ran / "shop/vbpr" / condition, seed, paths.RANKS)) for seed in (1, 2)
        ]
        pairs = [f[counts[f["item"]] == 0] for f in frames]
        sums.append(sum((1 / np.log2(p["rank"] + 1) * (p["rank"] <= 20)).sum() for p in pairs))
    found_gain = by_name(facts)["M6 slices", "fused_vs_text", "item's training interactions: cold"].value
    assert (math.isnan(found_gain) and 0 in sums) or found_gain == pytest.approx(sums[0] / sums[1] - 1)


def test_difference_of_a_slice_is_defined_where_a_side_finds_nothing(ran: Path) -> None:
    """Differences of the slices times their pairs add up to the whole difference of the users."""
    table = read_sweep(ran, Trust(places=(ran.parent,)))
    (facts,) = measured(table)
    whole = table.cells["shop", "vbpr", "fused"].per_user("ndcg@20") - table.cells["shop", "vbpr", "text"].per_user(
        "ndcg@20"
    )
    parts = [f for f in facts.facts if (f.measure, f.subject) == ("M6 slices, difference", "fused_vs_text")]
    popularity = [f for f in parts if f.part.startswith("item's")]
    assert sum(f.value * (f.n or 0) for f in popularity) == pytest.approx(whole.mean(axis=1).sum())
    told = [f for f in parts if f.interval is not None]
    assert told
    assert all(f.interval.lo <= f.value <= f.interval.hi for f in told if f.interval is not None)
    few = [f for f in parts if f.interval is None]
    assert all((f.n or 0) < MIN_USERS * 4 for f in few), "only slices of few users have no bounds"


def test_a_catalogue_shorter_than_the_lists_has_their_measures_too() -> None:
    """Of 15 items the best 20 are 15."""
    lists = np.tile(np.arange(15, dtype=np.int32), (40, 1))
    train = Interactions(np.arange(40), np.arange(40) % 15, 40, 15)
    tested = Ranking(train.users, RankedPairs(train.users, np.ones(40, np.int64), 40), train.items, lists)
    cell: Any = SimpleNamespace(modality="text", tested=[tested])
    split = SimpleNamespace(train=train)
    dataset = SimpleNamespace(split=split, n_users=40, features={})
    data: Any = SimpleNamespace(dataset=dataset, item_counts=np.bincount(train.items), members=None)
    facts = Facts("d", "m", 1, PASS)
    beyond_facts(facts, [cell], data, lambda _: lists[None])
    assert {fact.part: fact.value for fact in facts.facts}["coverage@20"] == 1


def test_measures_of_the_lists(ran: Path) -> None:
    table = read_sweep(ran, Trust(places=(ran.parent,)))
    (facts,) = measured(table)
    beyond = {
        s: {f.part: f.value for f in facts.facts if (f.measure, f.subject) == ("beyond accuracy", s)} for s in ENDS
    }
    for condition in ENDS:
        by_seed = [
            np.stack(pd.read_parquet(f)["items"].to_list())[:, :20]
            for f in (paths.final_file(ran / "shop/vbpr" / condition, seed, paths.LISTS) for seed in (1, 2))
        ]
        covered = np.mean([len(np.unique(lists[lists >= 0])) / 80 for lists in by_seed])
        assert beyond[condition]["coverage@20"] == pytest.approx(covered)
        assert {"cold recall@20", "category diversity@20", "miscalibration@20", "aplt@20"} <= beyond[condition].keys()
    rails = {(f.subject, f.part): f for f in facts.facts if f.measure == "guard-rails"}
    change = rails["text_vs_none", "relative change of coverage"]
    assert change.value == pytest.approx(beyond["text"]["coverage@20"] / beyond["none"]["coverage@20"] - 1)
    assert change.interval is not None
    assert change.interval.level == 0.9
    assert {f.word for f in rails.values()} <= set(Rail)
    for tail in ("text_vs_none", "fused_vs_text", "image_vs_none"):
        a, b = tail.split("_vs_")
        ratio = beyond[a]["aplt@20"] / beyond[b]["aplt@20"] - 1
        assert rails[tail, "relative change of tail share"].value == pytest.approx(ratio)


def test_new_items_and_calibration_of_the_lists_by_hand(ran: Path) -> None:
    table = read_sweep(ran, Trust(places=(ran.parent,)))
    (facts,) = measured(table)
    dataset = catalogue(table).dataset
    train = dataset.split.train
    known = np.unique(train.items)
    kinds = [int(name[1:]) % 4 for name in dataset.item_ids]
    genres = np.array([[0.5, 0.5, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]])[kinds]
    for condition in ENDS:
        recall, distance = [], []
        for seed in (1, 2):
            folder = ran / "shop/vbpr" / condition
            ranks = pd.read_parquet(paths.final_file(folder, seed, paths.RANKS))
            cold = ranks[~ranks["item"].isin(known)]
            recall.append((cold["rank"] <= 20).groupby(cold["user"]).mean().mean())
            lists = pd.read_parquet(paths.final_file(folder, seed, paths.LISTS))
            for user, items in zip(lists["user"], lists["items"], strict=True):
                p, q = genres[train.items[train.users == user]].sum(axis=0), genres[items[:20]].sum(axis=0)
                distance.append(rel_entr(p / p.sum(), 0.99 * q / q.sum() + 0.01 * p / p.sum()).sum())
        found = {f.part: f.value for f in facts.facts if (f.measure, f.subject) == ("beyond accuracy", condition)}
        assert found["miscalibration@20"] == pytest.approx(np.mean(distance))
        assert found["cold recall@20"] == pytest.approx(np.mean(recall))
    assert cold["user"].nunique() < MIN_USERS
    assert "guard-rail cold recall of fused_vs_text: fewer than 30 users hold one out" in facts.unknown
    assert not any("cold" in f.part for f in facts.facts if f.measure == "guard-rails")


def test_items_without_what_is_added_have_a_guard_rail(ran: Path) -> None:
    table, data = read_sweep(ran, Trust(places=(ran.parent,))), catalogue(read_sweep(ran, Trust(places=(ran.parent,))))
    image = data.dataset.features["image"]
    present = np.arange(len(image.present)) % 3 == 0
    features = {**data.dataset.features, "image": replace(image, present=present)}
    thinned = replace(data, dataset=replace(data.dataset, features=features))
    a, b = (table.cells["shop", "vbpr", condition] for condition in ("fused", "text"))
    facts = Facts("shop", "vbpr", 2, "PASS")
    guardrail_facts(facts, [compare(table, a, b, None)], thinned)
    (fact,) = (f for f in facts.facts if f.part == "relative change of recall of items without image")
    found = [
        np.mean([
            np.mean(r.pairs.ranks[(r.pairs.users == user) & ~present[r.items]] <= 20)
            for r in side.tested
            for user in np.unique(r.pairs.users[~present[r.items]])
        ])
        for side in (a, b)
    ]  # fmt: skip
    assert fact.value == pytest.approx(found[0] / found[1] - 1)
    assert fact.interval is not None
    assert fact.interval.level == 0.9
    assert "relative change of recall of items without text" not in {f.part for f in facts.facts}  # both sides have it
    assert not any("without" in line for line in facts.unknown)
    alone = Facts("shop", "vbpr", 2, "PASS", one_draw=True)
    guardrail_facts(alone, [compare(table, a, b, None)], thinned)
    assert [replace(f, word="") for f in facts.facts] == alone.facts
    assert all(f.word for f in facts.facts)


def test_a_guard_rail_that_no_user_tells_has_neither_bounds_nor_a_word(ran: Path) -> None:
    """A that finds nothing, or the same as B, would have an interval of no width and be "broken" or "holds"."""
    table, data = read_sweep(ran, Trust(places=(ran.parent,))), catalogue(read_sweep(ran, Trust(places=(ran.parent,))))
    present = np.arange(data.dataset.n_items) % 3 == 0
    image = replace(data.dataset.features["image"], present=present)
    thinned = replace(data, dataset=replace(data.dataset, features={**data.dataset.features, "image": image}))
    a, b = (table.cells["shop", "vbpr", condition] for condition in ("fused", "text"))

    def found(tested: list[Ranking], lists_of: Lists = read_lists) -> dict[str, tuple[float, Interval | None, str]]:
        side, facts = replace(a), Facts("shop", "vbpr", 2, "PASS")
        side.__dict__["tested"] = tested
        guardrail_facts(facts, [replace(compare(table, a, b, None), a=side)], thinned, lists_of)
        return {f.part.removeprefix("relative change of "): (f.value, f.interval, f.word) for f in facts.facts}

    lost = [replace(r, pairs=replace(r.pairs, ranks=np.where(present[r.items], r.pairs.ranks, 1000))) for r in a.tested]
    assert found(lost)["recall of items without image"] == (-1.0, None, "not shown")
    assert found(b.tested)["recall of items without image"] == (0.0, None, "not shown")
    exact = found(b.tested, lambda cell: read_lists(b)).values()  # the same lists lose nothing, whoever the users are
    assert {word for _, _, word in exact} == {"holds"}
    assert {(i.lo, i.hi) for _, i, _ in exact if i is not None} == {(0.0, 0.0)}


def test_guard_rails_take_thirty_users(ran: Path) -> None:
    table, data = read_sweep(ran, Trust(places=(ran.parent,))), catalogue(read_sweep(ran, Trust(places=(ran.parent,))))
    comparison = compare(table, *(table.cells["shop", "vbpr", condition] for condition in ("fused", "text")), None)
    facts = Facts("shop", "vbpr", 2, "PASS")
    guardrail_facts(facts, [comparison], data, lambda cell: read_lists(cell)[:, : MIN_USERS - 1])
    assert not facts.facts
    assert [line for line in facts.unknown if "share" in line or "coverage" in line] == [
        "guard-rail coverage of fused_vs_text: fewer than 30 test users",
        "guard-rail tail share of fused_vs_text: fewer than 30 test users",
    ]


def test_coverage_of_other_items_that_nothing_varies_in_has_no_bounds() -> None:
    everywhere = np.tile(np.arange(80).reshape(1, 40, 2) % 10, (3, 1, 1))
    half = coverage_change(everywhere % 5, everywhere, 10)
    assert (half.mean, half.lo, half.hi) == (pytest.approx(-0.5), -math.inf, math.inf)
    assert rail(half) == Rail.OPEN
    same = coverage_change(everywhere[:, ::-1], everywhere, 10)
    assert (same.lo, same.hi, rail(same)) == (0.0, 0.0, Rail.HOLDS)
    alone = coverage_change(everywhere[:, :1] % 5, everywhere[:, :1], 10)  # of a single user
    assert (alone.lo, alone.hi, rail(alone)) == (-math.inf, math.inf, Rail.OPEN)


def test_a_guard_rail_of_items_that_nobody_holds_out_is_said_to_be_unknown(ran: Path) -> None:
    table, data = read_sweep(ran, Trust(places=(ran.parent,))), catalogue(read_sweep(ran, Trust(places=(ran.parent,))))
    a, b = (table.cells["shop", "vbpr", condition] for condition in ("fused", "text"))
    held = np.bincount(a.tested[0].items, minlength=data.dataset.n_items)
    for present, said in ((held > 0, True), (np.ones(len(held), bool), False)):
        features = {**data.dataset.features, "image": replace(data.dataset.features["image"], present=present)}
        facts = Facts("shop", "vbpr", 2, "PASS")
        guardrail_facts(
            facts, [compare(table, a, b, None)], replace(data, dataset=replace(data.dataset, features=features))
        )
        unknown = "guard-rail recall of items without image of fused_vs_text: fewer than 30 users hold one out"
        assert (unknown in facts.unknown) is said
        assert not any("without" in fact.part for fact in facts.facts)


def test_files(ran: Path) -> None:
    table = write_report(ran, trust=Trust(places=(ran.parent,)))
    text, csv = ((ran / "report" / f"contribution.{ending}").read_text() for ending in ("md", "csv"))
    facts = measured(table)
    made = proved(document(table, facts), table, read_groups(table, ran))
    assert text == markdown(made)
    japanese = (ran / "report" / "contribution.ja.md").read_text()
    assert japanese == markdown(made, Translator("ja"))
    assert csv.isascii()
    assert csv == as_csv(document(table, facts))
    frame = pd.read_csv(io.StringIO(csv))
    assert len(frame) == len(facts[0].facts)
    assert frame["value"].to_numpy() == pytest.approx([f.value for f in facts[0].facts], nan_ok=True)
    assert "## shop, vbpr: M6 slices" in text
    assert all(f"not measured: {line}" in text for line in facts[0].unknown)
    assert "neutral embedding" not in text
    # Slices are: their intervals hold for all of one division at once.
    assert "Beyond the slices of one division nothing here is corrected for multiplicity" in text
    assert "Nothing here is corrected" not in text
    assert not any("categories" in line for line in facts[0].unknown)
    assert str(ran.parent) not in text


#: What is written in Latin letters in a Japanese document, beside the names of data, models, conditions and categories.
LATIN = {"M1", "M2", "M3", "M6", "RBO", "Jaccard", "ARP@20", "APLT@20", "ACLT@20", "NDCG@20", "ndcg@20", "n", "t"}
LATIN |= {"pigeonhole", "verdicts.ja.md", "new_items.ja.md", "fairness.ja.md", "items.parquet"}
LATIN |= {"category", "categories", "genre", "genres"}
NAMED = {*ENDS, "s", "d", "m", "shop", "vbpr", "Toys", "Books", "Games", "image+text", "standard"}


def latin(text: str) -> set[str]:
    """Words in Latin letters that are no names; names that a contrast or a row joins are taken apart."""
    words = re.findall(r"(?<![0-9])[A-Za-z][A-Za-z0-9_.@+]*", text)
    return {part for word in words for part in word.split("_vs_")} - LATIN - NAMED


def test_the_japanese_document_has_no_english_word(ran: Path) -> None:
    table = read_sweep(ran, Trust(places=(ran.parent,)))
    english, japanese = (markdown(document(table, measured(table)), Translator(lang)) for lang in ("en", "ja"))
    assert latin(japanese) == set()
    assert len(latin(english)) > 100
    assert "## shop、vbpr: M6 区分ごとの改善率\n" in japanese
    assert "| fused_vs_text | 商品の購買数(学習用データ): 0件(新商品) |" in japanese
    assert "カテゴリー: Toys" in japanese
    assert "| カタログ網羅率@20 | ジニ係数@20 |" in japanese


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"image": Made(missing=True)},
        {"text": replace(cells()["d", "m", "text"], seal={"choice_hash": "another"})},
        {"text": replace(cells()["d", "m", "text"], seal={"test_hash": "another"})},
        {"fused": replace(cells()["d", "m", "fused"], shuffled={})},
        {"none": Made(np.zeros((3, USERS), bool), cell={"states": STATES["none"]})},
    ],
)
@pytest.mark.parametrize("n_seeds", [1, 3])
def test_what_is_said_under_the_tables_is_said_in_japanese(
    changed: dict[str, Made], n_seeds: int, tmp_path: Path
) -> None:
    table = read_sweep(write_sweep(tmp_path / "s", cells(n_seeds, **changed)))
    assert latin(markdown(document(table, measured(table)), Translator("ja"))) == set()


def test_what_is_read_of_modalities_is_said_in_japanese() -> None:
    none, more, less = Interval(0.0, -0.1, 0.1), Interval(0.2, 0.1, 0.3), Interval(-0.2, -0.3, -0.1)
    said = set()
    for rest, alone, together in ((more, more, more), (less, more, less), (none, more, less), (none, none, none)):
        value = shapley.ModalityValue(rest, alone, rest, None)
        pairs = {("image", "text"): shapley.PairValue(together, log_agrees=True)}
        for modalities in ({"text": value}, {"image": value, "text": value}):
            found = shapley.Contributions(none, none, modalities, pairs if len(modalities) > 1 else {})
            said |= set(readings(found, {}))
    assert len(said) > 8
    assert latin("\n".join(map(Translator("ja"), said))) == set()


def test_a_data_set_that_changed_is_not_used(ran: Path, tmp_path: Path) -> None:
    ours = Trust(places=(ran.parent,))
    cell = read_sweep(ran, ours).cells["shop", "vbpr", "none"]
    other = read_catalogue(replace(cell, test_hash="another"), ours)
    assert other == "the data set is no longer the one that the sweep ran on"
    described = records.read(paths.cell_file(cell.folder), Cell)
    records.write(paths.cell_file(tmp_path), msgspec.structs.replace(described, data_folder=str(tmp_path)))
    gone = read_catalogue(replace(cell, folder=tmp_path), Trust(places=(tmp_path,)))
    assert gone == "the data set cannot be read where the sweep's configuration says"


def test_a_world_has_no_categories(tmp_path: Path) -> None:
    options = {
        "name": "w",
        "world": "complementary",
        "protocol": "paper",
        "world_options": {"n_users": 60, "n_items": 80},
    }
    split = load_dataset(DatasetConfig(**options)).split  # type: ignore[arg-type]
    cell = valid.cell(config={"dataset": {**options, "lr": {}}}, split_hash=split.tuning_fingerprint)
    records.write(paths.cell_file(tmp_path), cell)
    read = read_catalogue(replace(EMPTY_CELL, folder=tmp_path, test_hash=split.test_fingerprint), NOTHING)
    assert isinstance(read, Catalogue)
    assert (read.categories, read.members, read.lengths) == (None, None, None)
    assert read.unknown == (
        "categories: items.parquet has none in a column category or categories or genre or genres",
        "text length: no column of items.parquet looks like a text",
    )


# Guard-rails


@pytest.mark.parametrize(
    ("lo", "hi", "word"),
    [(-0.04, 0.1, "holds"), (-0.06, 0.1, "not shown"), (-0.2, -0.06, "broken"), (-0.05, 0, "not shown")],
)
def test_rail(lo: float, hi: float, word: str) -> None:
    assert rail(Interval((lo + hi) / 2, lo, hi)) == word


@pytest.mark.parametrize(
    ("mean", "lo", "times"), [(0.0, -0.1, 4.0), (-0.02, -0.08, 4.0), (0.0, -0.05, 1.0), (-0.05, -0.1, np.inf)]
)
def test_what_would_show_that_a_guard_rail_holds(mean: float, lo: float, times: float) -> None:
    assert shown_by(Interval(mean, lo, 2 * mean - lo, 0.9)) == pytest.approx(times)


def test_so_many_times_as_many_users_and_seeds_show_it() -> None:
    """With every user and seed as often as it takes, the crossed interval ends above the margin."""
    rng = np.random.default_rng(0)
    effects = rng.normal(0, 0.3, (50, 1)) + rng.normal(0, 0.02, (1, 3)) + rng.normal(0, 0.2, (50, 3))
    a, b = 1 + effects - effects.mean(), np.ones((50, 3))
    change = relative_gain(a, b, LEVEL)
    assert rail(change) == Rail.OPEN
    times = int(np.ceil(shown_by(change)))
    assert rail(relative_gain(np.tile(a, (times, times)), np.tile(b, (times, times)), LEVEL)) == Rail.HOLDS


def test_coverage_change_by_hand() -> None:
    everywhere = np.arange(40).reshape(1, 20, 2) % 10
    half = everywhere % 5
    change = coverage_change(half, everywhere, 10)
    assert change.mean == pytest.approx(-0.5)
    same = coverage_change(everywhere, everywhere, 10)
    assert (same.mean, same.lo, same.hi, same.level) == (0.0, 0.0, 0.0, LEVEL)
    with pytest.raises(ValueError, match="are not paired"):
        coverage_change(half, everywhere[:, :5], 10)
    with pytest.raises(ValueError, match="nothing was recommended"):
        coverage_change(half, np.full_like(half, -1), 10)


def test_the_error_of_coverage_over_users_is_the_jackknifes() -> None:
    """Each user is left out in turn; with one run and a side that does not vary nothing else is in the bounds."""
    rng = np.random.default_rng(0)
    tastes = rng.random(50) < 0.3
    a = np.stack([rng.choice(300 if wide else 8, 4, replace=False) for wide in tastes])[None]
    a[0, 3, 2:] = -1
    a[0, 5, 0] = 299  # the last item, in one list alone: an empty place is none of it
    assert (a == 299).sum() == 1
    b = np.tile(np.arange(4), (1, 50, 1))
    change = coverage_change(a, b, 300)
    left = [list_measures.coverage(np.delete(a[0], user, axis=0), 300) for user in range(50)]
    error = math.sqrt(49 / 50 * ((left - np.mean(left)) ** 2).sum()) / (4 / 300)
    assert change.mean == pytest.approx(list_measures.coverage(a[0], 300) / (4 / 300) - 1)
    assert change.hi - change.mean == pytest.approx(stats.t.ppf(0.95, 49) * error)


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
def test_bounds_of_coverage_hold_with_few_seeds(n_seeds: int) -> None:
    """How many items a training shows is its noise; a bootstrap of the seeds held in 47, 62 and 65 % of worlds."""
    rng = np.random.default_rng(n_seeds)

    def lists() -> np.ndarray:
        shown = rng.normal(1000, 150, n_seeds).astype(int)
        return np.stack([np.arange(4000).reshape(400, 10) % n for n in shown])

    held = [coverage_change(lists(), lists(), 2000).contains(0.0) for _ in range(300)]
    assert np.mean(held) >= LEVEL - 0.03


def test_columns_that_would_be_empty_are_left_out(made: Facts) -> None:
    headers = {table.title.split(": ")[1]: table.header for table in tables(made)}
    assert headers["M1 value"] == ["", "measured", "value", "95 %"]
    assert headers["M2 hits"] == ["", "measured", "value", "baseline"]


def test_one_run_of_what_is_exact_has_bounds() -> None:
    """Another seed gives the same, so that users are all that varies; one run of what is trained has none."""
    value = Interval(0.1, 0.05, 0.15)
    for exact, interval in ((True, value), (False, None)):
        facts = Facts("shop", "ease", 1, "PASS", exact=exact)
        facts.add("value", "image", "alone", value)
        assert [fact.interval for fact in facts.facts] == [interval]
