"""What the timings are turned into: parts of a training, distances, marks, warnings, the page, shares of a sweep."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from mmbench.store.schema import Cost
from mmbench.training import loop
from tests.benchmarks import against, overhead, performance
from tests.benchmarks.counts import COUNTS, SIMPLE_COUNTS, SimpleSizes
from tests.benchmarks.performance import PAGE, RESULTS, SECTIONS, distances, marked, results_of, warnings_of
from tests.benchmarks.profiles import shares as shares_of
from tests.benchmarks.rows import Row
from tests.benchmarks.scores import Vectors, remarks, seconds_of
from tests.benchmarks.subjects import baby_words
from tests.benchmarks.sweep_share import shares
from tests.benchmarks.trial import WARM_UPS, Epoch, measured, parts
from tests.benchmarks.work import Ceilings, Sizes
from tests.records import row

RATES = {"gemm": 1e9, "hidden": 1e9, "scores": 2e9, "copy": 1e9, "gather": 5e8, "adam": 1e8}
SIZES = Sizes(30, 20, 100, {"image": 9}, 16, 10, 8, 14, parameters=3_200_000, evaluated=30, pairs=31)


def report(step: float = 0.05) -> list[Row]:
    """What a run has timed."""
    timed = {"step": step, "epoch": 10 * step, "evaluation": 1.0, "trial": 50.0, "setup": 0.5, "first_setup": 2.5}
    model = {"model": "lightgcn", "items": 20, "n_batches": 10, "sizes": dataclasses.asdict(SIZES), "peak_mb": 900.0}
    model["profile"] = shares_of([("aten::mm", 1.0), ("aten::index_select", 2.0), ("aten::mul", 1.0)])
    return [
        *((2.0, {"ceiling": name, "amount": 2.0 * rate, "unit": "x"}) for name, rate in RATES.items()),
        (0.1, {"kernel": performance.PRODUCT, "work": {"gathered": 2.5e7}}),
        (0.25, {"kernel": performance.SCATTER, "work": {"gathered": 2.5e7}}),
        (0.7, {"kernel": "negatives of an epoch"}),
        (9.0, {**model, **timed}),
        (1.0, {"overhead": {"trainer": 0.0030, "loop": 0.0012}}),
    ]


def test_floors_are_counted_work_over_the_ceilings_of_the_same_run() -> None:
    results = results_of(report())
    assert results["ceilings"] == RATES
    model = results["models"]["lightgcn, 20 items"]
    ceilings = Ceilings(**RATES)
    assert model["floors"]["epoch"] == pytest.approx(10 * COUNTS["lightgcn"].step(SIZES).seconds(ceilings))
    found = {name: (distance, goal) for name, distance, goal in distances(results)}
    assert found["lightgcn, 20 items, epoch"] == (pytest.approx(0.5 / model["floors"]["epoch"]), 2.0)
    assert found[performance.PRODUCT] == (pytest.approx(2.0), None)
    assert "negatives of an epoch" not in found


def test_a_report_without_a_ceiling_is_refused() -> None:
    broken = report()[1:]
    with pytest.raises(ValueError, match=r"lack the ceilings gemm; time bench_kernels.py too"):
        results_of(broken)


def test_only_what_became_much_slower_is_warned_of() -> None:
    before = results_of(report())
    assert warnings_of(results_of(report(step=0.06)), before) == []
    (line,) = warnings_of(results_of(report(step=0.07)), before)
    assert line.startswith("warning: lightgcn, 20 items, epoch: ")
    assert warnings_of(results_of(report(step=0.02)), before) == []


def test_what_misses_its_goal_is_marked() -> None:
    assert marked(1.5, 1.4) == "**1.50 !**"
    assert marked(1.4, 1.4) == "1.40"
    assert marked(9.0, None) == "9.00"


def test_the_tables_say_what_was_timed() -> None:
    results = results_of(report(step=0.5))
    row = performance.model_rows(results).splitlines()[2]
    assert row.startswith("| lightgcn | 20 | 500.0 | 5.00 | ")
    assert " !** | 2.0 | 1.00 |" in row
    assert "2.50 / 0.50" in row
    kernels = performance.kernel_rows(results)
    assert "Gather and scatter over sparse product: 2.5 times (goal: 3) **!**." in kernels
    assert "Lightning per step: **1.80 ms !**" in kernels
    assert "GPU: not measured." in performance.machine_lines(results)


def test_computed_models_have_rows_with_floors_and_peers() -> None:
    sizes = SimpleSizes(3, 5, 8, products=22, entries=6, additions=7, seen=8, evaluated=3, pairs=4)
    said = {"simple": "itemknn", "fit": 0.4, "ranking": 1.6, "ndcg@20": 0.0322, "sizes": dataclasses.asdict(sizes)}
    results = results_of([*report(), (9.0, said)])
    floor = SIMPLE_COUNTS["itemknn"].fit(sizes).seconds(Ceilings(**RATES))
    assert results["simple"]["itemknn"]["floors"]["fit"] == pytest.approx(floor)
    row = performance.simple_rows(results).splitlines()[2]
    assert row.startswith("| itemknn | 0.40 | 0.5 | ")
    assert "| **1.60 !** | 1.5 | " in row
    assert "| 0.0322 | implicit 0.7.3, cosine: fit .07" in row
    assert ("itemknn, fit", pytest.approx(0.4 / floor), None) in list(distances(results))
    assert len(performance.simple_rows(results_of(report())).splitlines()) == 2


def test_what_may_be_slow_in_scores_is_named() -> None:
    model = Vectors(7)
    _, _, block = seconds_of(model)
    assert remarks(model, block) == []
    said = remarks(model, block.double().T)
    assert said == ["scores in torch.float64", "scores do not lie row after row"]


def test_gather_and_scatter_stand_beside_the_models_timed_both_ways() -> None:
    assert performance.of_scatter({}) == "-"
    timed = {"sparse_step": 0.2, "scatter_step": 0.3, "sparse_propagation": 0.04, "scatter_propagation": 0.14}
    assert performance.of_scatter(timed) == "3.5x / 1.5x"
    assert performance.of_scatter({**timed, "scatter_propagation": 0.1}) == "**2.5x !** / 1.5x"


def test_a_profile_tells_kinds_of_work_apart() -> None:
    found = shares_of([("aten::addmm", 3.0), ("aten::_embedding_bag_forward_only", 2.0), ("aten::_fused_adam_", 1.0)])
    assert found == {
        "dense products": 0.5,
        "sparse products": pytest.approx(1 / 3),
        "rows": 0.0,
        "Adam": pytest.approx(1 / 6),
        "rest": 0.0,
    }
    row = performance.profile_rows(results_of(report())).splitlines()[2]
    assert row == "| lightgcn | 25% | 0% | 50% | 0% | 25% |"


def test_the_page_is_written_between_its_markers() -> None:
    page = PAGE.read_text(encoding="utf-8")
    written = performance.with_sections(page, results_of(report()))
    assert written.count("| lightgcn | 20 |") == 1
    assert performance.with_sections(written, results_of(report())) == written
    with pytest.raises(ValueError, match="the page lacks <!-- models: begin -->"):
        performance.with_sections(page.replace("<!-- models: begin -->", ""), results_of(report()))


def test_the_committed_page_shows_the_committed_results() -> None:
    page = PAGE.read_text(encoding="utf-8")
    if not RESULTS.exists():
        assert page.count("Not measured yet: `make bench` writes this.") == len(SECTIONS)
        return
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    for make in SECTIONS.values():
        assert make(results) in page


def test_parts_of_a_training() -> None:
    steps = [4.0, *[1.0] * (WARM_UPS - 1), *[2.0] * 30]
    moments = [100.5]
    for step in steps:
        moments.append(moments[-1] + step)
    first = Epoch(50.0, [50.0], validated=(90.0, 100.0))
    last = Epoch(100.25, moments, validated=(moments[-1] + 2.0 + 0.125, moments[-1] + 10.0))
    found = parts([first, last], called=47.0, returned=moments[-1] + 11.0, n_batches=50)
    assert found["step"] == 2.0
    assert found["once_per_epoch"] == pytest.approx(0.5 + 2.0 + 0.125)
    assert found["epoch"] == pytest.approx(2.625 + 50 * 2.0)
    assert found["evaluation"] == pytest.approx(7.875)
    assert (found["setup"], found["records"]) == (3.0, pytest.approx(1.0))
    assert found["trial"] == pytest.approx(3.0 + 30 * (102.625 + 7.875) + 1.0)


def test_a_small_training_is_timed_through_the_real_path(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TripletLoader", "validation_scores"):  # put back what the clock replaces
        monkeypatch.setattr(loop, name, getattr(loop, name))
    small = {"n_users": 300, "n_items": 80, "n_interactions": 3000, "text_dim": 8, "image_dim": 8}
    words = [f"dataset.world_options.{name}={value}" for name, value in small.items()]
    found = measured([*baby_words("lightgcn"), *words, "training.batch_size=32"])
    assert all(found[part] > 0 for part in ("step", "epoch", "evaluation", "setup", "trial"))
    assert found["trial"] > 30 * (found["epoch"] + found["evaluation"])
    assert found["sizes"]["items"] == 80
    assert sum(found["profile"].values()) == pytest.approx(1.0)
    assert min(found["profile"][kind] for kind in ("sparse products", "rows", "Adam")) > 0.0
    assert found["sizes"]["batch"] == 32
    assert found["n_batches"] * 32 >= found["sizes"]["edges"] > (found["n_batches"] - 1) * 32


@pytest.mark.thorough
def test_the_trainer_is_timed_against_the_same_steps_by_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "ROUNDS", 1)
    trainer, bare = overhead.seconds_per_step()
    assert trainer > 0
    assert bare > 0


def test_shares_of_a_sweep_add_up() -> None:
    costs = (
        Cost(seconds=40.0, setup_seconds=4.0, total_seconds=41.0),
        Cost(seconds=50.0, setup_seconds=2.0, total_seconds=53.0),
        Cost(),
    )
    found = shares([row(cost=cost) for cost in costs], wall=60.0, workers=2)
    assert found["training and ranking"] == pytest.approx(84 / 120)
    assert found["set-up"] == pytest.approx(6 / 120)
    assert found["records"] == pytest.approx(4 / 120)
    assert sum(found.values()) == pytest.approx(1.0)


def test_two_trees_are_compared_by_their_medians() -> None:
    before = [{"epoch": seconds, "evaluation": 1.0} for seconds in (3.0, 2.0, 9.0)]
    after = [{"epoch": seconds, "evaluation": 2.0} for seconds in (1.0, 1.5, 2.0)]
    assert against.compared(before, after) == [(3.0, 1.5, 2.0), (1.0, 2.0, 0.5)]


def test_the_page_and_the_makefile_say_the_same_of_make_bench() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    (told,) = re.findall(r"^bench: .*## (.*)$", makefile, re.MULTILINE)
    (said,) = re.findall(r"^\| `make bench` \| (.*) \|$", page, re.MULTILINE)
    assert re.findall(r"about \d+ minutes", told) == re.findall(r"about \d+ minutes", said) != []
    assert "computed models need data/baby under MMBENCH_DATA" in told
    assert "`baby` under `$MMBENCH_DATA` and skips them" in page
