"""What a sweep would cost, told before it runs."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from torch import Tensor

from mmbench import paths
from mmbench.cli import plan
from mmbench.cli.errors import one_line_errors
from mmbench.cli.forecast import CellTime, controls, expected, new_items, together
from mmbench.messages import Refusal, Translator
from mmbench.models.bpr import BPR
from mmbench.nn.recommender import Triplets
from mmbench.report.disposals import read_disposals
from mmbench.report.fairness_checks import read_groups
from mmbench.report.reading import read_sweep
from mmbench.scheduling import pilot
from mmbench.scheduling.pilot import Pilot
from mmbench.scheduling.planning import Planned
from mmbench.scheduling.sweep import Sweep
from mmbench.scheduling.worker import work
from mmbench.store.schema import CellName
from mmbench.tuning.cell import CellTask
from tests import records as valid
from tests.report import test_disposals as disposed
from tests.report.constructed import Made, hit_users, write_earlier_look, write_sweep
from tests.report.test_new_items import write as write_new_items
from tests.report.test_together import pair, three
from tests.sealing.test_new_items_by_time import write_shop
from tests.tiny import TINY, composed


def test_every_cell_is_counted_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*TINY, f"paths.multirun={tmp_path}", "budget.trials=3", "budget.seeds=2"]
    plan.main(["-m", *words, "model=popularity,bpr,fusion", "modality=none,text"])
    said = capsys.readouterr().out
    assert "4 cells, 0 of them finished" in said
    # Popularity has nothing to choose: one trial; three models-and-conditions have three; two seeds each.
    assert f"{1 + 3 * 3 + 4 * 2} trainings to run" in said
    assert "planted-complementary/fusion (none, text)" in said
    assert "planted-complementary/bpr (-)" in said  # it reads no content: one pilot
    assert "the gain that is seen in four of five studies: unknown before a pilot has run" in said
    assert "without one more condition free disposal of text has no word; add modality=shuffled_text\n" in said
    assert "about images" not in said
    assert f"next: python -m mmbench -m {words[0]}" in said
    assert "sweep single" not in said  # it has the name that the sweep will have
    assert list(tmp_path.iterdir()) == []


class Leaving(BPR):
    """Ends the process that trains it."""

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        sys.exit()


class Wrong(BPR):
    """Raises what no command expects."""

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        raise IndexError("too many\nindices")


@pytest.mark.parametrize(
    ("model", "reason"),
    [(Leaving, "RuntimeError: sys.exit(None) was called"), (Wrong, "IndexError: too many indices")],
)
def test_a_model_of_ones_own_that_fails_is_told_in_one_line(
    model: type[BPR], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = f"model._target_={__name__}.{model.__name__}"
    words = [*TINY, f"paths.multirun={tmp_path}", "model=bpr", target]
    with pytest.raises(SystemExit, match=r"^2$"), one_line_errors(words):
        plan.main(words)
    assert capsys.readouterr().err == f"error: {target} failed: {reason}\n"


def test_the_plan_in_japanese(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan.main([*TINY, f"paths.multirun={tmp_path}", "model=bpr", "lang=ja"])
    said = capsys.readouterr().out
    assert "\nセル1個、うち0個は終了\nこれから行う学習は2回です(1回につき1スレッド)\n" in said
    assert "モデル(試し運転の条件)" in said
    assert "planted-complementary/bpr (-)" in said


def test_models_of_the_user_are_planned_with_the_words_of_the_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "conf"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "mine.yaml").write_text(
        "# @package _global_\nmodel: {_target_: mmbench.models.bpr.BPR}\nsearch: {}\n"
    )
    plan.main(["-m", "--config-dir", str(folder), *TINY, f"paths.multirun={tmp_path / 'runs'}", "model=mine"])
    said = capsys.readouterr().out
    assert "1 cell, 0 of them finished" in said
    assert f"next: python -m mmbench -m --config-dir {folder} " in said
    with pytest.raises(Refusal, match="--cfg is no override; write the overrides of the sweep alone"):
        plan.main(["--cfg", "job"])


def test_a_preset_is_planned_as_it_runs() -> None:
    jobs = plan.expand(["experiment=planted_demo"])
    assert len(jobs) == 16
    assert {job.choices["model"] for job in jobs} == {"popularity", "bpr", "vbpr", "fusion"}
    assert {job.choices["modality"] for job in jobs} == {"none", "text", "image", "fused"}


def test_what_a_command_gives_takes_the_place_of_what_its_preset_gives() -> None:
    jobs = plan.expand(["experiment=planted_demo", "model=bpr", "modality=none,text"])
    assert [(job.choices["model"], job.choices["modality"]) for job in jobs] == [("bpr", "none"), ("bpr", "text")]
    jobs = plan.expand(["experiment=planted_demo", "modality=none", "model=vbpr,bpr"])
    assert [(job.choices["model"], job.choices["modality"]) for job in jobs] == [("vbpr", "none"), ("bpr", "none")]


@pytest.mark.thorough
def test_the_company_preset_runs_every_control_of_images() -> None:
    jobs = [job.job() for job in plan.expand(["experiment=company", "dataset=planted"])]
    planned = Sweep.plan(jobs, []).planned
    of_text = [
        "without one more condition free disposal of text has no word; add modality=shuffled_text",
        "without one more condition free disposal of text has no word; add modality=image_shuffled_text",
    ]
    images, *others = controls(planned, None)
    assert images == (
        "controls with shuffled images, and what each of them controls: text_shuffled_image (fused), "
        "shuffled_image (image)"
    )
    assert sorted(map(str, others)) == sorted(of_text)
    without = [
        cell for cell in planned if (cell.task.cell.model, cell.task.cell.modality) != ("fusion", "shuffled_image")
    ]
    assert [line for line in controls(without, None) if "images" in line] == [
        images,
        "without one more condition nothing can be decided about images; add modality=shuffled_image",
    ]
    less = [cell for cell in planned if (cell.task.cell.model, cell.task.cell.modality) != ("fusion", "text")]
    assert [line for line in controls(less, None) if "images" in line] == [
        images,
        "without one more condition nothing can be decided about images; add modality=text",
    ]
    thinned = composed(["dataset=planted", "model=vbpr", "modality=image", "+modality.missing.image=0.5"]).job()
    assert controls(Sweep.plan([thinned], []).planned, None) == []


def test_a_plan_says_what_new_items_leave_open(tmp_path: Path) -> None:
    """One draw of them has no word, and nothing is priced that is tuned for them."""
    words = (*TINY, f"paths.multirun={tmp_path}", "sweep.name=s", "model=contentpopularity", "modality=image")
    in_folds = (*words, "dataset.protocol=cold")
    write_shop(tmp_path / "shop", ("valid", "test"))
    by_time = [f"paths.multirun={tmp_path}", "dataset=folder", "dataset.name=shop", f"dataset.path={tmp_path}/shop"]
    by_time += ["dataset.protocol=time", "model=contentpopularity", "modality=text", "budget=touch"]

    def planned(given: Sequence[str]) -> Sweep:
        return Sweep.plan([job.job() for job in plan.expand(given)], [])

    no_price = (
        "tuned for new items: python -m mmbench decide does not price images in such a sweep; for an answer in money, "
        "tune for all items"
    )
    alone = (
        "planted-complementary: one draw of new items, about which there is no word; add dataset.cold_fold=0,1,2,3,4"
    )
    of_time = "shop-cold: its new items are one draw, about which there is no word"
    for given, said in (
        (words, []),
        ([*in_folds, "dataset.cold_fold=0"], [alone, no_price]),
        ([*in_folds, "dataset.cold_fold=0,3"], [no_price]),
        ([*in_folds, "dataset.cold_fold=0", "tuning.target=warm"], [alone.replace(":", "-warm:", 1)]),
        ([*by_time, "tuning.target=cold"], [of_time, no_price]),
        (by_time, []),
    ):
        cells = planned(given).planned
        assert new_items(cells, None) == said
        about_images = [line for line in controls(cells, None) if "images" in line]
        decided = any("nothing can be decided about images" in line for line in about_images)
        assert decided == (bool(about_images) and no_price not in said)
    # What earlier commands have planned counts too, and is said no more where it has more folds.
    first = planned([*in_folds, "dataset.cold_fold=0"])
    first.open()
    work(first.waiting)
    table = read_sweep(first.folder)
    assert new_items(planned([*in_folds, "dataset.cold_fold=1"]).planned, table) == [no_price]
    assert new_items(planned([*in_folds, "dataset.cold_fold=0"]).planned, table) == [alone, no_price]
    assert new_items(planned(words).planned, table) == []


def test_the_expected_range_is_that_of_the_records(shop_sweep: Path) -> None:
    table = read_sweep(shop_sweep)
    said = expected(table, [], Translator())
    (disposal,) = (
        d for d in read_disposals(table, read_groups(table, table.folder)) if (d.modality, d.model) == ("image", None)
    )
    assert disposal.tuned is not None
    log = disposal.tuned.estimate.log_gain
    # Where a finished cell is to have more trials, the next look is a further one.
    name = next(name for name, cell in table.cells.items() if cell.status == "done")
    raised = cast("list[Planned]", [SimpleNamespace(left=3, task=SimpleNamespace(cell=name))])
    for planned, level, alpha in (([], "95.0%", 0.05), (raised, "97.5%", 0.025)):
        lines = expected(table, planned, Translator()).splitlines()
        (row,) = (line.split() for line in lines if "all models/free_disposal_of_image" in line)
        assert row[-7:-2] == ["3", "/", "8", level, "±"]
        assert row[-1] == f"{100 * log.mde(alpha):.1f}%"
    # What was searched more on one side has no range, however much is run.
    assert "free_disposal_of_text" not in said
    # What earlier commands have run is not asked for again.
    first, *others = map(str, controls([], table))
    assert first.startswith("controls with shuffled images")
    assert [line.partition(" has no word")[0] for line in others] == [
        "without one more condition free disposal of text"
    ] * 2
    less = replace(table, cells={name: cell for name, cell in table.cells.items() if name[2] != "text"})
    lacking = [line for line in map(str, controls([], less)) if "images" in line]
    assert lacking[1:] == ["without one more condition nothing can be decided about images; add modality=text"]


def test_a_gain_over_repetitions_is_raised_with_each_of_them(tmp_path: Path) -> None:
    table = read_sweep(write_sweep(tmp_path / "s", three()))
    name = next(name for name in table.cells if name[0] == "a-split1")
    raised = cast("list[Planned]", [SimpleNamespace(left=3, task=SimpleNamespace(cell=name))])
    for planned, level in (([], "95.0%"), (raised, "97.5%")):
        said = expected(table, planned, Translator()).splitlines()
        (row,) = (line for line in said if "a over 3 split seeds/m/text_vs_none" in line)
        assert level in row


def new(made: Mapping[tuple[str, str, str], Made]) -> list[Planned]:
    """Cells of a command, that no earlier one has planned."""
    plans = []
    for name, one in made.items():
        config = {"dataset": {"name": name[0]}, **one.config}
        record = valid.cell(**CellName(*name)._asdict(), **{"config": config, **one.cell})
        job = SimpleNamespace(record=lambda task, record=record: record)
        plans.append(SimpleNamespace(left=11, job=job, task=SimpleNamespace(cell=CellName(*name))))
    return cast("list[Planned]", plans)


def levels(folder: Path, planned: Sequence[Planned]) -> dict[str, str]:
    """Level of the range of each gain."""
    lines = expected(read_sweep(folder), planned, Translator()).splitlines()
    return {found[1]: found[2] for line in lines if (found := re.match(r" *(\S.*?) {2,}.* ([\d.]+)%  +[±-]", line))}


@pytest.mark.parametrize(
    ("model", "conditions", "further"),
    [
        ("m", ("image", "image_states.image=shuffle"), {"m", "all models"}),
        ("m", ("image",), set()),  # without its control it is on neither side
        ("n", ("none", "fused", "text_shuffled_image"), {"all models"}),
        ("popularity", ("none",), {"all models"}),
        ("m", ("shuffled",), set()),
    ],
)
def test_what_a_command_adds_is_a_further_look(
    model: str, conditions: Sequence[str], further: set[str], tmp_path: Path
) -> None:
    small = disposed.cells(conditions=("none", "text", "fused", "text_shuffled_image"))
    folder = write_sweep(tmp_path / "s", small, data={"d": disposed.DATA})
    found = levels(folder, new(disposed.cells(model, conditions)))
    assert found == {"d/m/text_vs_none": "95.0"} | {
        f"d/{name}/free_disposal_of_image": "97.5" if name in further else "95.0" for name in ("m", "all models")
    }


def test_another_split_is_a_further_look_and_another_data_set_is_none(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", {**pair("a", 1100), **pair("a-split1", 1140), **pair("b", 1100)})
    contrast = "m/text_vs_none"
    before = {f"{name}/{contrast}": "95.0" for name in ("a over 2 split seeds", "a", "a-split1", "b")}
    assert levels(folder, []) == before
    assert levels(folder, new(pair("c", 1100))) == before
    assert levels(folder, new(pair("a-split2", 1100))) == before | {f"a over 2 split seeds/{contrast}": "97.5"}
    assert levels(folder, new(pair("b-split1", 1100))) == before | {f"b/{contrast}": "97.5"}


def test_a_raise_of_what_was_looked_at_less_often_is_no_further_look_at_all_models(tmp_path: Path) -> None:
    conditions = ("none", "text", "fused", "text_shuffled_image")
    both = {**disposed.cells("m", conditions), **disposed.cells("n", conditions)}
    folder = write_sweep(tmp_path / "s", both, data={"d": disposed.DATA})
    for condition in conditions:
        write_earlier_look(paths.cell_dir(folder, "d", "m", condition), 4)
    for models, expected_levels in (((), ("97.5", "95.0", "97.5")), (("n",), ("97.5", "97.5", "97.5"))):
        cells = [name for name in both if name[1] in models]
        raised = [SimpleNamespace(left=3, task=SimpleNamespace(cell=CellName(*name))) for name in cells]
        found = levels(folder, cast("list[Planned]", raised))
        names = [f"d/{name}/free_disposal_of_image" for name in ("m", "n", "all models")]
        assert [found[name] for name in names] == [*expected_levels]


def test_one_draw_of_new_items_tells_no_range(tmp_path: Path) -> None:
    """The range over its users holds no other draw; over several folds further folds alone narrow it."""
    folds = {str(fold): {"m/text": 30 + 4 * fold, "m/none": 10 + fold} for fold in range(3)}
    alone = read_sweep(write_new_items(tmp_path / "one", {"0": folds["0"]}))
    assert expected(alone, [], Translator()).endswith("unknown before a pilot has run\n")
    said = expected(read_sweep(write_new_items(tmp_path / "three", folds)), [], Translator())
    assert "a over 3 of 5 cold folds/m/text_vs_none" in said
    assert "a-fold0" not in said
    assert said.endswith("A range over folds of new items is narrowed by further folds.\n")


def test_what_is_the_same_runs_on_both_sides_tells_no_range(tmp_path: Path) -> None:
    """As with a modality that changes nothing: no gain, however large, would be seen between them."""
    same = Made(np.stack([hit_users(60, range(20))] * 3))
    table = read_sweep(write_sweep(tmp_path / "s", {("d", "m", "none"): same, ("d", "m", "text"): same}))
    (row,) = (line for line in expected(table, [], Translator()).splitlines() if "d/m/text_vs_none" in line)
    assert row.split() == ["d/m/text_vs_none", "3", "/", "8", "95.0%", "-", "-"]


def test_a_single_trial_tells_no_range(tmp_path: Path) -> None:
    """A single trial of a closed form has no gain, while its users have a variance."""
    computed = {"stop_reason": "closed_form"}
    cells = {
        ("d", "ease", name): Made(hits[None], trials=hits[None], courses=[computed], final=computed)
        for name, hits in (("none", hit_users(60, range(20))), ("text", hit_users(60, range(15, 45))))
    }
    said = expected(read_sweep(write_sweep(tmp_path / "s", cells)), [], Translator())
    assert said.endswith("that is seen in four of five studies: unknown before a pilot has run\n")


def test_costs_are_those_of_each_condition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between the least and the most content by how many numbers a condition reads; first trainings once a cell."""

    def cost(task: CellTask) -> pilot.CellCost:
        seconds = {"none": 1.0, "fused": 5.0}[task.cell.modality]
        each = Pilot(seconds, 0.0, 0.0, peak_mb=1.0, trained=False, steps_per_epoch=1, extra=100.0)
        return pilot.CellCost(each, once=10 * seconds)

    monkeypatch.setattr(pilot, "measure_cell", cost)
    words = [*TINY, f"paths.multirun={tmp_path}", "budget.trials=3", "budget.seeds=2"]
    plan.main([*words, "model=addease", "modality=none,text,fused"])
    (row,) = (line for line in capsys.readouterr().out.splitlines() if "addease (" in line)
    features = composed([*TINY, "model=addease", "modality=fused"]).job().task().features
    share = features["text"].values.size / sum(feature.values.size for feature in features.values())
    seconds = sum(once * 10 + once * 5 + 2 * 100 for once in (1, 1 + 4 * share, 5))
    assert row.split()[:2] == ["planted-complementary/addease", "(none,"]
    assert row.split()[2:5] == ["fused)", "1.0,", "5.0"]
    assert row.split()[-4:-2] == [str(round(seconds / 60)), "min"]


@pytest.mark.parametrize(
    ("words", "shortest", "longest"),
    [
        (["budget.trials=4"], {1: 7, 2: 4, 64: 2}, {1: 70, 2: 40, 64: 20}),
        (["budget.trials=4", "budget.tpe=3"], {1: 10, 2: 7, 64: 5}, {1: 100, 2: 70, 64: 50}),
        (["budget.trials=8", "budget.tpe=1", "budget.rungs=[30]"], {1: 10, 64: 3}, {1: 120, 64: 40}),
    ],
)
def test_no_number_of_workers_is_faster_than_the_chain_of_a_cell(
    words: list[str], shortest: dict[int, int], longest: dict[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proposals run one by one, final runs and trials that rungs may stop wait; an epoch takes 60 seconds here."""
    rule = ["budget.patience_steps=50", "budget.min_steps=0", "budget.max_steps=600", "budget.least_epochs=1"]
    cell = [*TINY, f"paths.multirun={tmp_path}", "model=bpr", "budget.seeds=3", *rule, *words]
    (plan,) = Sweep.plan([composed(cell).job()], []).planned
    each = Pilot(0.0, 10.0, 0.0, 0.0, trained=True, steps_per_epoch=10)
    cost = pilot.CellCost(each, once=0.0)
    for made, minutes in ((CellTime.shortest, shortest), (CellTime.longest, longest)):
        assert {n: round(together([made(plan, cost)], n, n) / 60) for n in minutes} == minutes


def test_a_flag_is_refused() -> None:
    with pytest.raises(ValueError, match="--fast is no override"):
        plan.main(["--fast", "model=bpr"])


def test_a_model_that_is_computed_costs_one_epoch_whatever_the_budget() -> None:
    assert Pilot(2.0, 3.0, 0.0, 0.0, trained=False, steps_per_epoch=10).seconds(60) == 5.0
    assert Pilot(2.0, 3.0, 0.0, 0.0, trained=True, steps_per_epoch=10).seconds(60) == 182.0
    tested = Pilot(2.0, 3.0, 0.0, 0.0, trained=True, steps_per_epoch=10, tested=0.5, extra=9.0)
    assert tested.seconds(60) == 182.5  # what only final runs take is counted apart
