"""Images for a part of the items: promised by slices, run by the command that the page names, and decided about."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmbench import paths
from mmbench.cli import decide_sweep, habits
from mmbench.cli.decide import read_settings
from mmbench.cli.plan import expand
from mmbench.data.dataset import DatasetConfig
from mmbench.data.divisions import DIVISIONS, POPULARITY, by_popularity, members_of
from mmbench.data.interactions import Interactions
from mmbench.data.splits import Split
from mmbench.decision import Action, Gate, Status, decide, decide_first
from mmbench.decision import sweep_evidence as reading
from mmbench.decision.evidence import Promise
from mmbench.decision.page import sections
from mmbench.decision.page.speaker import Speaker
from mmbench.decision.rule import Why
from mmbench.decision.sweep_evidence import Read, read_evidence
from mmbench.report.contribution_facts import DIFFERENCES
from mmbench.report.control_conditions import partial_overrides
from mmbench.report.disposals import read_partial_disposals
from mmbench.report.facts import Fact
from mmbench.report.fairness_checks import read_groups
from mmbench.report.reading import read_sweep
from mmbench.report.templating import Pages
from mmbench.scheduling import worker
from mmbench.scheduling.sweep import Sweep
from mmbench.store import records
from mmbench.store.schema import Cell, Manifest, Stage
from tests.decision.cases import assuming, economics, log_gain
from tests.decision.deciding import DAY
from tests.report.shop import vouched

PART = "category:Lamps"
CONDITIONS = ("image", "fused", "shuffled_image", "text_shuffled_image")


@pytest.fixture(scope="module")
def command(shop_sweep: Path) -> str:
    """What the page names where lamps gained: the slices themselves are noise in so small a shop."""
    table = read_sweep(shop_sweep, vouched(shop_sweep))
    read = read_evidence(table)
    return reading._command_of_part(table, read.disposal, PART)


@pytest.fixture(scope="module")
def sweep(shop_sweep: Path, command: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop after that command, in a copy beside the same data."""
    folder = shop_sweep.parent / "part" / "shop"
    shutil.copytree(shop_sweep, folder, ignore=shutil.ignore_patterns("report"))
    for one in command.split(" && "):
        python, _, module, multi, *words = shlex.split(one)
        assert (python, module, multi) == ("python", "mmbench", "-m")
        kept = [word for word in words if not word.startswith("paths.")]
        jobs = [
            composed.job()
            for composed in expand(habits.ours([*kept, f"paths.multirun={folder.parent}"], multirun=True))
        ]
        planned = Sweep.plan(jobs, kept)
        planned.open()
        worker.work(planned.waiting)
    return folder


@pytest.fixture(scope="module")
def read(sweep: Path, shop_sweep: Path) -> Read:
    return read_evidence(read_sweep(sweep, vouched(shop_sweep)))


def test_the_command_runs_every_condition_with_images_and_its_control(command: str) -> None:
    words = shlex.split(command)
    assert "model=hybridknn" in words  # ItemKNN ignores content, so there is nothing to run
    (modality,) = (word for word in words if word.startswith("modality="))
    assert set(modality.partition("=")[2].split(",")) == set(CONDITIONS)
    assert [word for word in words if word.startswith("modality.")] == list(partial_overrides("image", PART))


@pytest.mark.parametrize(
    ("slice_", "word"),
    [
        ("popularity:6-20", "modality.missing_slice=popularity:6-20"),
        ("popularity:101 and more", "modality.missing_slice=popularity:101 and more"),
        ('category:Home & "Garden", 家具\\', r'modality.missing_slice="category:Home & \"Garden\", 家具\\"'),
        ("category:a,b", 'modality.missing_slice="category:a,b"'),
        (r"category:食品\冷凍", r'modality.missing_slice="category:食品\冷凍"'),
        (r"category:a\"b\\", r'modality.missing_slice="category:a\\\"b\\\\"'),
    ],
)
def test_a_label_comes_through_the_command_line(slice_: str, word: str) -> None:
    words = partial_overrides("image", slice_)
    assert words[-1] == word
    line = shlex.split(shlex.join(words))
    (composed,) = expand(habits.ours(["dataset=planted", "model=vbpr", "modality=fused", *line], multirun=True))
    condition = composed.job().config.modality
    assert (condition.missing_slice, condition.missing, condition.missing_rule) == (slice_, {"image": 1}, "slice")


def test_the_part_is_on_both_sides_with_what_has_no_images(read: Read) -> None:
    (part,) = read.parts
    real, control = part.disposal.real, part.disposal.control
    assert (part.disposal.part, part.disposal.missing) == (PART, ())
    names = [{name.partition("/")[2].partition("_missing")[0] for name in side} for side in (real, control)]
    assert names == [
        {"-", "none", "text", "image", "fused"},
        {"-", "none", "text", "shuffled_image", "text_shuffled_image"},
    ]
    assert {name for name in real if "missing" not in name} == {name for name in control if "missing" not in name}
    # Images for all items are decided about as before.
    assert all("missing" not in name for name in (*read.disposal.real, *read.disposal.control))
    assert (read.disposal.part, read.evidence.part) == ("", None)


def test_every_training_had_the_images_of_the_part_alone(sweep: Path, shop_sweep: Path, read: Read) -> None:
    table = read_sweep(sweep, vouched(shop_sweep))
    assert not isinstance(read.catalogue, str)
    inside = members_of(PART, read.catalogue.item_counts, read.catalogue.dataset.items)
    assert inside.sum() == 20  # every third of 60
    hashes = {}
    for name in (*read.parts[0].disposal.real, *read.parts[0].disposal.control):
        cell = table.cells["shop", *name.split("/")]
        record = records.read(paths.cell_file(cell.folder), Cell)
        if "missing" in name:
            assert len(record.config["modality"]["missing_items"]) == 64
            hashes[name] = {t.feature_hash for t in records.read_trainings(cell.folder, Stage.TRIAL, record.key)}
    everything = table.cells["shop", "hybridknn", "fused"]
    key = records.read(paths.cell_file(everything.folder), Cell).key
    whole = {t.feature_hash for t in records.read_trainings(everything.folder, Stage.TRIAL, key)}
    real = next(hashes[name] for name in hashes if "/fused" in name)
    shuffled = next(hashes[name] for name in hashes if "text_shuffled_image" in name)
    assert len(real) == 1
    assert real.isdisjoint(whole)
    assert len(shuffled) == 8  # a permutation of its own for each seed


def test_the_gates_of_a_part_are_its_own(read: Read) -> None:
    (part,) = read.parts
    gates = {gate.name: gate for gate in part.evidence.gates}
    assert set(gates) == {f"G{i}" for i in range(1, 10)} - {"G7"}
    assert gates["G1"].status is Status.PASS
    # All its items have images; that is not so of what is shown of all items.
    assert (gates["G5"].status, gates["G5"].value) == (Status.PASS, 1.0)
    # Items outside the part are those without an image, and they must not lose.
    assert "recall of items without image" in dict(gates["G4"].rails)
    assert part.evidence.part is not None
    assert (part.evidence.part.items, part.evidence.part.stock) == (20, pytest.approx(1 / 3))
    assert part.evidence.part.with_images == 1.0  # of the catalogue, although lamps alone had theirs in this sweep
    assert part.evidence.models == read.evidence.models
    whole = {gate.name: gate for gate in read.evidence.gates}
    assert (gates["G6"], gates["G8"]) == (whole["G6"], whole["G8"])


def test_a_part_that_pays_is_a_partial_go_and_all_numbers_are_about_it(
    sweep: Path, shop_sweep: Path, read: Read
) -> None:
    from mmbench.decision.page.sections import fill

    (part,) = read.parts
    gates = tuple(replace(gate, status=Status.PASS, value=gate.value or 0.0) for gate in part.evidence.gates)
    gained = replace(
        part.evidence, ratio=0.12, gain=log_gain(0.12, 0.01), gates=gates, silent="", depends_on_tuning=False
    )
    untold = replace(read.evidence, gates=(Gate("G1", Status.FAIL),))
    measured, decided = decide_first(untold, [gained], economics())
    assert (measured, decided.action) == (gained, Action.PARTIAL)
    table = read_sweep(sweep, vouched(shop_sweep))
    filled = fill(table, replace(part, evidence=gained), economics(), decided, "en", DAY, [], "", [])
    page = filled(**Pages("en", "en").of(paths.DECISION), examples=[])
    assert "GO (partial)" in page
    assert "add images for a part of the items only: category Lamps" in page
    # A third of the images: 20,000 once and 20,000 a year less 2/3 of 2,000.
    s = Speaker.of("en", gained, economics(), decided)
    assert s.cost().startswith("€46,667 once and €18,667 a year")
    assert s.range() == "Gain +12.0%, range +10.1% to +14.0%; break-even line 6.8%."
    assert "with images for these items only: category Lamps" in s.measured()
    assert "It is shown where a model reads images for all items beside one other modality." in page


@pytest.mark.parametrize("about_part", [True, False])
def test_examples_are_those_of_images_for_all_items_alone(
    about_part: bool, sweep: Path, shop_sweep: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page about images for some of them would show items that no recommended model has found."""
    about = read.parts[0] if about_part else read
    gates = tuple(replace(gate, status=Status.PASS, value=gate.value or 0.0) for gate in about.evidence.gates)
    evidence = replace(about.evidence, ratio=0.12, gain=log_gain(0.12, 0.01), gates=gates, silent="")
    about = replace(about, evidence=evidence)
    whole = replace(read, parts=(about,)) if about_part else about
    written: list[object] = []
    monkeypatch.setattr(decide_sweep, "read_evidence", lambda *_: whole)
    monkeypatch.setattr(decide_sweep, "decide_first", lambda *_: (evidence, decide(evidence, economics())))
    monkeypatch.setattr(decide_sweep, "examples_of", lambda *_: ["an example"])
    monkeypatch.setattr(decide_sweep, "write_decision", lambda *_, examples, **__: written.append(examples))
    decide_sweep.decide_sweep(sweep, read_settings(["serving=false"]), trust=vouched(shop_sweep))
    assert written == [[] if about_part else ["an example"]]


def test_what_the_chart_of_slices_leaves_out_is_told(
    sweep: Path, shop_sweep: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that an answer is about come first."""
    facts = sections._slices(Speaker.of("en", read.evidence, economics(), decide(read.evidence, economics())), read)
    monkeypatch.setattr(sections, "MOST_SLICES", len(facts) - 2)
    decided = replace(decide(read.evidence, economics()), promise=Promise(read.parts[0].evidence.part, 0.1, "command"))
    speaker = Speaker.of("en", read.evidence, economics(), decided)
    ordered = sections._slices(speaker, read)
    assert ordered[0].part == "category: Lamps"
    assert sorted(map(str, ordered)) == sorted(map(str, facts))
    assert sections._left_out(speaker, ordered) == "2 further slices stand in contribution.md."
    assert sections._left_out(speaker, ordered[2:]) == ""


def test_a_part_that_was_measured_and_is_no_go_is_told_beside_the_slices(
    sweep: Path, shop_sweep: Path, read: Read
) -> None:
    from mmbench.decision.page.sections import fill

    table = read_sweep(sweep, vouched(shop_sweep))
    decided = decide(read.evidence, economics())
    filled = fill(table, read, economics(), decided, "en", DAY, [], "", read.parts)
    page = filled(**Pages("en", "en").of(paths.DECISION), examples=[])
    assert "Measured with images for these items alone: category Lamps." in page
    assert " for them." not in page, "the best answer of several parts would be one that test chose"


def test_a_control_of_the_part_that_was_not_run_is_named(sweep: Path, shop_sweep: Path, tmp_path: Path) -> None:
    less = shop_sweep.parent / "less" / "shop"
    shutil.copytree(sweep, less, ignore=shutil.ignore_patterns("report"))
    table = read_sweep(less, vouched(shop_sweep))
    (gone,) = (cell for (_, _, m), cell in table.cells.items() if m.startswith("text_shuffled_image_missing"))
    shutil.rmtree(gone.folder)
    table = read_sweep(less, vouched(shop_sweep))
    (found,) = read_partial_disposals(table, read_groups(table, less), "image")
    overrides = " ".join(["modality=text_shuffled_image", *partial_overrides("image", PART)])
    assert found.missing == (("hybridknn", overrides),)
    (part,) = read_evidence(table).parts
    (gate,) = (gate for gate in part.evidence.gates if gate.name == "G3")
    assert gate.status is Status.UNKNOWN
    assert shlex.split(gate.command)[-4:] == ["modality=text_shuffled_image", *partial_overrides("image", PART)]


# Promises


def with_slices(read: Read, *slices: tuple[str, float, float, int]) -> Read:
    """The same facts with these differences by slice: part, difference, lower bound, pairs."""
    from mmbench.inference.intervals import Interval

    facts = [
        Fact(DIFFERENCES, read.evidence.contrast, part, mean, Interval(mean, lo, 2 * mean - lo), n=n)
        for part, mean, lo, n in slices
    ]
    return replace(read, facts=replace(read.facts, facts=facts))


def nearly_all(read: Read) -> str:
    """Label of the largest slice by popularity, which holds more than half of the catalogue."""
    counts = read.catalogue.item_counts
    slicing = by_popularity(np.arange(len(counts)), counts)
    sizes = np.bincount(slicing.labels, minlength=len(slicing.names))
    assert sizes.max() > len(counts) / 2
    return slicing.names[int(sizes.argmax())]


def test_a_slice_of_items_that_gained_is_promising(sweep: Path, shop_sweep: Path, read: Read) -> None:
    table = read_sweep(sweep, vouched(shop_sweep))
    total = read.comparison.b.per_user(table.primary).mean(axis=1).sum()
    told = with_slices(
        read,
        ("category: Cups", 0.02, 0.01, 50),
        ("category: Chairs", 0.04, -0.01, 50),  # not told from none
        ("category: Lamps", 0.09, 0.08, 50),  # was measured
        (f"{DIVISIONS[POPULARITY]}: {nearly_all(read)}", 0.09, 0.08, 50),  # hardly a part
        ("category: other categories", 0.05, 0.04, 50),  # no slice of items
        ("user's training interactions: 5-9", 0.05, 0.04, 50),  # no item is bought images for by its buyers
        ("image present: has image", 0.05, 0.04, 50),
    )
    promised = reading._promises(table, told, read.disposal, {PART})
    assert [one.part.slice for one in promised] == ["category:Cups"]
    assert promised[0].gain == pytest.approx(0.02 * 50 / total)
    assert promised[0].part.items == 20
    assert "modality.missing_slice=category:Cups" in shlex.split(promised[0].command)
    evidence = replace(
        read.evidence, gain=log_gain(0.0, 0.027), ratio=0.0, silent="", promising=promised,
        gates=tuple(Gate(f"G{i}", Status.PASS) for i in range(1, 10) if i != 7),
    )  # fmt: skip
    cheap = assuming(transfer=1.0, cost={"image": 0.1, "engineering_once": 10_000, "engineers": 0.0, "serving_year": 0})
    decided = decide(evidence, cheap)
    assert (decided.action, decided.why) in ((Action.HOLD, Why.PROMISING), (Action.HOLD, Why.UNCLEAR))


def test_slices_that_lost_promise_nothing(sweep: Path, shop_sweep: Path, read: Read) -> None:
    table = read_sweep(sweep, vouched(shop_sweep))
    told = with_slices(read, ("category: Cups", -0.02, -0.03, 50))
    assert reading._promises(table, told, read.disposal, set()) == ()


# What the data tell


def test_stock_images_and_new_items_come_from_the_data(read: Read) -> None:
    assert not isinstance(read.catalogue, str)
    split, features = read.catalogue.dataset.split, read.catalogue.dataset.features
    told = {"items.stock": 60.0, "items.with_images": 1.0}
    assert reading._counts(read.catalogue) == told  # its log has no times
    some = {**features, "image": replace(features["image"], present=np.arange(60) < 15)}
    few = replace(read.catalogue, dataset=replace(read.catalogue.dataset, features=some))
    assert reading._counts(few) == {"items.stock": 60.0, "items.with_images": 0.25}
    part = reading._part(PART, np.arange(60) < 20, few)
    assert (part.items, part.stock, part.with_images) == (20, pytest.approx(1 / 3), 0.75)
    assert reading._part(PART, np.zeros(60, bool), few).with_images is None
    texts = replace(read.catalogue.dataset, features={"text": features["text"]})
    assert reading._counts(replace(read.catalogue, dataset=texts)) == {"items.stock": 60.0}
    day = 86_400

    def timed(days: int, wrong: Sequence[int] = (), split: Split = split, **config: object) -> dict[str, float]:
        """A log of so many days from 2020 on whose items come one after the other, some rows with other times."""

        def dated(log: Interactions) -> Interactions:
            return replace(log, times=1_577_836_800 + (log.items * days * day // 60).astype(np.int64))

        parts: dict[str, Any] = {part: dated(getattr(split, part)) for part in ("train", "valid", "test")}
        parts["held_out"] = split.held_out and tuple(map(dated, split.held_out))
        parts["train"].times[: len(wrong)] = wrong
        dataset = replace(read.catalogue.dataset, split=replace(split, **parts))  # type: ignore[union-attr]
        if config:
            dataset = replace(dataset, config=DatasetConfig("shop", path="shop", **config))  # type: ignore[arg-type]
        return reading._counts(replace(read.catalogue, dataset=dataset))  # type: ignore[type-var]

    # Half of the 60 items are first bought in the second half.
    assert timed(730) == {**told, "items.new_year": pytest.approx(30, abs=2)}
    assert timed(365) == {**told, "items.new_year": pytest.approx(60, abs=3)}
    assert timed(40) == told
    # A target that ranks few of the held-out rows makes nothing less new.
    few = replace(split, test=split.test.select(split.test.items < 3), held_out=(split.valid, split.test))
    assert timed(730, split=few) == timed(730)
    # Times that no purchase has, 1900 and 2100, make no year longer; items that were left out were in the catalogue.
    assert timed(730, wrong=(-2_208_988_800, 4_102_444_800)) == timed(730)
    for left_out in ({"k_core": 5}, {"items_with": ["image"]}, {"min_rating": 3.0}):
        assert timed(730, **left_out) == {}
    assert reading._counts("gone") == {}


def test_the_plan_has_a_time(sweep: Path, read: Read) -> None:
    manifest = records.read(paths.manifest_file(sweep), Manifest)
    assert read.evidence.planned_at == manifest.revisions[0].planned_at
    assert read.parts[0].evidence.planned_at == read.evidence.planned_at
