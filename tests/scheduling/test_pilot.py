"""How many workers share a device is measured with the heaviest model, and kept in the manifest beside the plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mmbench import paths
from mmbench.audit.root import root_of
from mmbench.messages import Translator
from mmbench.scheduling import devices, pilot
from mmbench.scheduling.devices import Machine
from mmbench.scheduling.job import Job
from mmbench.scheduling.manifest import read_sharing, write_sharing
from mmbench.scheduling.pilot import Pilot
from mmbench.scheduling.planning import plan_cells
from mmbench.scheduling.sweep import Sweep
from mmbench.store import records
from mmbench.store.schema import Manifest, Sharing, content_hash
from mmbench.training.fit import fit
from mmbench.tuning.cell import CellTask
from tests.scheduling import dying
from tests.tiny import make_job

GIB = 2**30
CARDS = ("0", "1")


def sweep_of(folder: Path, *models: str, **sweep: Any) -> Sweep:
    jobs = [make_job(folder, f"model={model}", "budget.trials=8") for model in models]
    if sweep:
        jobs = [replace(job, config=replace(job.config, sweep=replace(job.config.sweep, **sweep))) for job in jobs]
    return Sweep.plan(jobs, [])


@pytest.mark.parametrize(
    ("most", "rates", "tried", "best"),
    [
        (8, {1: 1.0, 2: 1.9, 4: 3.5, 8: 6.0}, [1, 2, 4, 8], 8),
        (8, {1: 1.0, 2: 1.9, 4: 2.0}, [1, 2, 4], 2),  # the card is busy
        (8, {1: 1.0, 2: 1.05}, [1, 2], 1),
        (3, {1: 1.0, 2: 1.9, 3: 2.7}, [1, 2, 3], 3),  # no more fit
        (8, {1: 1.0, 2: 1.9, 4: None}, [1, 2, 4], 2),  # four do not fit after all
        (8, {1: None}, [1], 0),
    ],
)
def test_a_number_is_taken_as_long_as_it_adds_throughput(
    most: int, rates: Mapping[int, float | None], tried: list[int], best: int
) -> None:
    asked: list[int] = []
    found = pilot.useful(most, lambda count: asked.append(count) or rates[count])  # type: ignore[func-returns-value]
    assert (asked, max(found, default=0)) == (tried, best)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, int]]]:
    """Give a card, what each model takes of it, and what several processes get done; what is run side by side."""

    def give(free: int, needs: Mapping[str, int | None], rates: Mapping[int, float]) -> list[tuple[str, int]]:
        def alone(jobs: Sequence[Job], on: str) -> tuple[str, int, list[Pilot | None]]:
            assert on == CARDS[0]
            sizes = [needs[job.choices["model"]] for job in jobs]
            found = [None if size is None else Pilot(1.0, 0.5, 1.0, 1.0, True, 10, size) for size in sizes]
            return "Card 9", free, found

        ran: list[tuple[str, int]] = []

        def together(job: Job, on: str, count: int, epochs: int) -> float:
            assert (on, epochs) == (CARDS[0], 10)  # five seconds of half a second each
            ran.append((job.choices["model"], count))
            return rates[count]

        monkeypatch.setattr(pilot, "alone", alone)
        monkeypatch.setattr(pilot, "cards", lambda groups: dict.fromkeys(groups, "Card 9"))
        monkeypatch.setattr(pilot, "together", together)
        monkeypatch.setattr(pilot, "SHORT", 0.0)
        return ran

    return give


def test_the_heaviest_model_decides(tmp_path: Path, measured: Callable[..., Any]) -> None:
    ran = measured(40 * GIB, {"bpr": GIB, "vbpr": 10 * GIB, "fusion": None}, {1: 2.0, 2: 3.5, 3: 4.5})
    found = pilot.sharing(sweep_of(tmp_path, "bpr", "vbpr", "fusion").planned, Machine(16, CARDS), "0")
    assert found.workers == 3  # four fifths of 40 GiB hold three of 10
    assert ran == [("vbpr", 1), ("vbpr", 2), ("vbpr", 3)]
    assert found.heaviest.split("/")[1] == "vbpr"
    assert (found.device_bytes, found.free_bytes, found.speedup) == (10 * GIB, 40 * GIB, 4.5 / 2.0)
    assert found.epochs_per_second == {"1": 2.0, "2": 3.5, "3": 4.5}


def test_splits_folds_and_draws_of_a_data_set_share_a_pilot(tmp_path: Path) -> None:
    words = [
        ["dataset.protocol=paper", "dataset.split_seed=0", "modality=text"],
        ["dataset.protocol=paper", "dataset.split_seed=1", "modality=fused"],
        ["dataset.protocol=paper", "study.draw=1", "modality=none"],
        ["dataset.protocol=cold", "dataset.cold_fold=0", "modality=none"],
        ["dataset.protocol=cold", "dataset.cold_fold=1", "modality=text"],
        ["dataset.protocol=cold", "dataset.cold_fold=1", "tuning.target=warm", "modality=none"],
    ]
    planned = plan_cells([make_job(tmp_path, "model=vbpr", *own) for own in words], "auto", Translator())
    name = "planted-complementary"
    grouped = {key: [plan.task.cell for plan in group] for key, group in pilot.heaviest(planned).items()}
    assert grouped == {
        (name, "vbpr"): [
            (f"{name}-split1", "vbpr", "fused"),
            (name, "vbpr", "text"),
            (f"{name}-draw1", "vbpr", "none"),
        ],
        (f"{name}-cold", "vbpr"): [(f"{name}-fold1", "vbpr", "text"), (f"{name}-fold0", "vbpr", "none")],
        (f"{name}-warm", "vbpr"): [(f"{name}-fold1-warm", "vbpr", "none")],
    }


def test_no_more_than_processors_and_trainings(tmp_path: Path, measured: Callable[..., Any]) -> None:
    rates = {count: float(count) for count in range(1, 20)}
    ran = measured(80 * GIB, {"bpr": GIB}, rates)
    planned = sweep_of(tmp_path, "bpr").planned
    assert pilot.sharing(planned, Machine(4, CARDS), "0").workers == 2  # four processors, two cards
    assert pilot.sharing(planned, Machine(64, CARDS), "0").workers == 5  # nine trainings on two cards
    measured(GIB // 2, {"bpr": GIB}, rates)
    ran = measured(GIB // 2, {"bpr": GIB}, rates)
    assert pilot.sharing(planned, Machine(64, CARDS), "0").workers == 1  # it may fit or not, but one is tried
    assert ran == []


def test_a_short_sweep_is_not_worth_more_pilots(
    tmp_path: Path, measured: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = measured(80 * GIB, {"bpr": GIB}, {})
    monkeypatch.setattr(pilot, "SHORT", 1e9)
    assert pilot.sharing(sweep_of(tmp_path, "bpr").planned, Machine(64, CARDS), "0").workers == 1
    assert ran == []


def test_one_worker_where_nothing_trains(tmp_path: Path, measured: Callable[..., Any]) -> None:
    measured(80 * GIB, {"bpr": None}, {})
    found = pilot.sharing(sweep_of(tmp_path, "bpr").planned, Machine(64, CARDS), "0")
    assert (found.workers, found.heaviest, found.speedup) == (1, "", 1.0)
    assert "no model could be trained" in pilot.described(found)


def test_it_stands_in_the_manifest_and_no_hash_covers_it(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, "bpr")
    sweep.open()
    before = records.read(paths.manifest_file(tmp_path), Manifest)
    root = root_of(tmp_path)
    found = Sharing(card="Card 9", workers=3, cores=16, models=["a/bpr", "a/vbpr"], epochs_per_second={"1": 1.0})
    write_sharing(tmp_path, found)
    after = records.read(paths.manifest_file(tmp_path), Manifest)
    assert after.device_sharing == {"Card 9": found}
    assert msgspec.structs.replace(after, device_sharing={}) == before
    assert (after.plan_hash, content_hash(after), root_of(tmp_path)) == (before.plan_hash, before.hash, root)
    sweep.open()  # by a command that resumes it
    assert read_sharing(tmp_path, ["a/bpr"], 16) == [found]
    assert read_sharing(tmp_path, ["a/bpr", "a/freedom"], 16) == []  # a model that was not tried
    assert read_sharing(tmp_path, ["a/bpr"], 8) == []


def test_the_number_of_workers_is_no_part_of_a_key(tmp_path: Path) -> None:
    keys = {
        sweep_of(tmp_path, "bpr", **asked).planned[0].store.key
        for asked in ({}, {"workers": 3}, {"workers_per_device": 5})
    }
    assert len(keys) == 1


def test_a_command_that_resumes_does_not_measure_again(
    tmp_path: Path, measured: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = measured(80 * GIB, {"bpr": GIB}, {1: 2.0, 2: 3.5, 4: 4.5, 5: 5.5})
    sweep = sweep_of(tmp_path, "bpr")
    sweep.open()
    machine = Machine(64, CARDS)
    assert sweep._sharing(machine) == {"0": 5, "1": 5}
    assert "pilot on Card 9: " in capsys.readouterr().out
    ran.clear()
    assert sweep._sharing(machine) == {"0": 5, "1": 5}
    assert ran == []
    assert sweep._sharing(Machine(64)) is None
    assert sweep_of(tmp_path, "bpr", workers_per_device=7)._sharing(machine) is None
    monkeypatch.setattr(pilot, "cards", lambda groups: dict.fromkeys(groups, "Card 10"))
    assert sweep._sharing(machine) == {"0": 5, "1": 5}
    assert ran != []  # another card


def test_a_number_holds_where_cores_and_trainings_allow_no_larger_one(
    tmp_path: Path, measured: Callable[..., Any]
) -> None:
    ran = measured(80 * GIB, {"bpr": GIB}, {count: float(count) for count in range(1, 20)})
    sweep = sweep_of(tmp_path, "bpr")
    sweep.open()
    assert sweep._sharing(Machine(8, CARDS)) == {"0": 4, "1": 4}  # a core for each
    ran.clear()
    assert sweep._sharing(Machine(8, ("0", "1", "2", "3"))) == dict.fromkeys("0123", 2)  # on more devices too
    assert ran == []
    assert sweep._sharing(Machine(8, CARDS[:1])) == {"0": 8}  # what it was not tried with
    assert ran == [("bpr", 1), ("bpr", 2), ("bpr", 4), ("bpr", 8)]
    ran.clear()
    assert sweep._sharing(Machine(8, CARDS)) == {"0": 4, "1": 4}  # the larger number says as much
    assert ran == []
    sweep._sharing(Machine(8, ("0",), per_training=2))
    assert ran != []  # devices of another number share a training


def test_a_number_that_the_card_limits_holds_for_any_number_of_devices(
    tmp_path: Path, measured: Callable[..., Any]
) -> None:
    ran = measured(80 * GIB, {"bpr": GIB}, {1: 2.0, 2: 3.5, 4: 3.6})
    sweep = sweep_of(tmp_path, "bpr")
    sweep.open()
    assert sweep._sharing(Machine(8, CARDS)) == {"0": 2, "1": 2}
    ran.clear()
    assert sweep._sharing(Machine(8, CARDS[:1])) == {"0": 2}
    assert ran == []
    measured(15 * GIB, {"bpr": 10 * GIB}, {})  # no room for a second one, so that nothing runs side by side
    assert sweep._sharing(Machine(16, CARDS)) == {"0": 1, "1": 1}
    measured(80 * GIB, {"bpr": GIB}, {})
    assert sweep._sharing(Machine(16, CARDS[:1])) == {"0": 1}


@pytest.mark.parametrize("why", ["few trainings", "short", "failed", "failed together"])
def test_a_number_that_was_not_measured_is_not_kept_for_a_longer_command(
    tmp_path: Path, measured: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    first = sweep_of(tmp_path, "bpr")
    rates = {count: float(count) for count in range(1, 20)}
    measured(80 * GIB, {"bpr": None if why == "failed" else GIB}, rates)
    with monkeypatch.context() as now:
        if why == "short":
            now.setattr(pilot, "SHORT", 1e9)
        if why == "failed together":
            now.setattr(pilot, "together", lambda job, on, count, epochs: None)
        first.open()
        assert first._sharing(Machine(64, CARDS)) == dict.fromkeys(CARDS, 5 if why == "few trainings" else 1)
    measured(80 * GIB, {"bpr": GIB}, rates)
    raised = Sweep.plan([make_job(tmp_path, "model=bpr", "budget.trials=20")], [])
    raised.open()
    assert raised._sharing(Machine(64, CARDS)) == {"0": 11, "1": 11}  # of 21 trainings


def test_a_number_of_an_earlier_version_holds_as_far_as_it_was_measured(
    tmp_path: Path, measured: Callable[..., Any]
) -> None:
    """Its record does not say how many cores and trainings allowed."""
    ran = measured(80 * GIB, {"bpr": GIB}, {count: float(count) for count in range(1, 20)})
    sweep = sweep_of(tmp_path, "bpr")
    sweep.open()
    models = ["/".join(sweep.planned[0].task.cell[:2])]
    write_sharing(tmp_path, Sharing(card="Card 9", workers=4, cores=8, models=models))
    assert sweep._sharing(Machine(8, CARDS)) == {"0": 4, "1": 4}
    assert ran == []
    assert sweep._sharing(Machine(8, CARDS[:1])) == {"0": 8}
    assert ran != []


def test_each_kind_of_card_is_measured_once_and_has_its_own_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"0": "Large", "1": "Small", "2": "Large"}
    ran: list[str] = []

    def alone(jobs: Sequence[Job], on: str) -> tuple[str, int, list[Pilot | None]]:
        ran.append(on)
        return names[on], {"Large": 40, "Small": 10}[names[on]] * GIB, [Pilot(1.0, 0.5, 1.0, 1.0, True, 10, 8 * GIB)]

    monkeypatch.setattr(pilot, "alone", alone)
    monkeypatch.setattr(pilot, "cards", lambda groups: {devices: names[devices] for devices in groups})
    monkeypatch.setattr(pilot, "together", lambda job, on, count, epochs: float(count))
    monkeypatch.setattr(pilot, "SHORT", 0.0)
    sweep, machine = sweep_of(tmp_path, "bpr"), Machine(64, tuple(names))
    sweep.open()
    measured = sweep._sharing(machine)
    # Nine trainings are three for each of three cards; the small one has no room for a second worker.
    assert measured == {"0": 3, "1": 1, "2": 3}
    assert machine.layout(sweep.config.sweep, measured).seats == measured
    assert "7 workers, 1-3 on each of GPU 0, 1, 2" in machine.described(sweep.config.sweep, measured)
    said = capsys.readouterr().out
    assert (said.count("pilot on Large: "), said.count("pilot on Small: ")) == (1, 1)
    assert ran == ["0", "1"]
    assert sweep._sharing(machine) == measured
    assert ran == ["0", "1"]


@pytest.mark.slow
def test_devices_are_asked_for_their_names_side_by_side() -> None:
    assert pilot.cards(["7", "8"]) == {"7": "CPU", "8": "CPU"}


def test_a_plan_asks_a_pilot_and_says_how_long_it_takes(
    tmp_path: Path, measured: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mmbench.cli.forecast import CellTime, here
    from mmbench.messages import Translator

    measured(80 * GIB, {"bpr": GIB}, {1: 2.0, 2: 3.5, 4: 3.6})
    monkeypatch.setattr(devices, "visible", lambda: list(CARDS))
    monkeypatch.setattr(devices, "cores_here", lambda: 64)
    sweep = sweep_of(tmp_path, "bpr")
    asked = {**sweep.config.plain, "training": {**sweep.config.plain["training"], "accelerator": "auto"}}
    job = replace(sweep.jobs[0], config=replace(sweep.config, plain=asked))
    low, high = ([CellTime(0.0, [(100, seconds)])] for seconds in (3.5, 7.0))
    first, second = here(replace(sweep, jobs=[job]), sweep.planned, low, high, 1.0, Translator())
    assert first.startswith("pilot on Card 9: planted-complementary/bpr/- is the heaviest, 1024 MB of 81920 MB")
    # Two cards, on each of them 1.75 times as much as one worker does.
    assert second == "here: 4 workers, 2 on each of GPU 0, 1; from 2 min to 3 min"


@pytest.mark.slow
def test_processes_train_alone_and_side_by_side(tmp_path: Path) -> None:
    """On processors: the same processes, pinned to a device that is not there."""
    good, other = (make_job(tmp_path, f"model={name}") for name in ("bpr", "ease"))
    card, free, (first, second) = pilot.alone([good, other], "7")
    assert card == "CPU"
    assert free > GIB
    assert first is not None
    assert second is not None
    assert (first.trained, second.trained) == (True, False)
    assert first.device_bytes > 50 * 2**20
    rate = pilot.together(good, "7", 2, epochs=4)
    assert rate is not None
    assert rate > 0


def test_a_process_that_is_killed_ends_the_pilot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system does for want of memory: the other one waits at the barrier, and nobody waits for it."""
    monkeypatch.setattr(pilot, "_beside", dying.beside)
    assert pilot.together(tmp_path, "7", 2, epochs=1) is None  # type: ignore[arg-type]
    assert (tmp_path / "first").exists()
    assert not (tmp_path / "waited in vain").exists()


def test_models_after_one_that_kills_its_process_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pilot, "_alone", dying.alone)
    card, free, pilots = pilot.alone(["one", "killed", "three", "failed", "five"], "7")  # type: ignore[list-item]
    assert (card, free) == ("card of one", 5)
    assert list(map(str, pilots)) == ["one", "None", "three", "None", "five"]


@pytest.mark.slow
def test_a_process_that_fails_fails_them_all(tmp_path: Path) -> None:
    job = make_job(tmp_path, "model=bpr")
    broken = replace(job, config=replace(job.config, plain={**job.config.plain, "model": {"_target_": "no.Model"}}))
    assert pilot.together(broken, "7", 2, epochs=2) is None
    first, second = pilot.alone([broken, job], "7")[2]
    assert first is None
    assert second is not None


@pytest.mark.parametrize(
    ("words", "shuffled"), [(("model=vbpr",), 2), (("model=vbpr", "modality=text"), 1), (("model=ease",), 0)]
)
def test_a_final_run_is_told_with_its_shuffled_modalities(
    tmp_path: Path, words: tuple[str, ...], shuffled: int
) -> None:
    measured = pilot.measure(make_job(tmp_path, *words).task(), tests=True)
    assert measured.tested > 0
    assert measured.extra == pytest.approx(shuffled * measured.tested)
    assert measured.seconds(1) > measured.setup + measured.tested
    assert pilot.measure(make_job(tmp_path, *words).task()).tested == 0


def test_patience_ends_no_pilot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a rate of so many epochs would be that of fewer."""
    fitted = []
    monkeypatch.setattr(pilot, "fit", lambda *given, **named: fitted.append(fit(*given, **named)) or fitted[-1])
    pilot.measure(make_job(tmp_path, "model=bpr", "optimizer.lr=1.0").task(), epochs=40)
    (course,) = (one.course for one in fitted)
    assert course.epochs == 40
    assert course.best_epoch < 30


@pytest.mark.parametrize("words", [("model=vbpr",), ("model=ease",)])
def test_what_only_the_first_training_takes_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    counted = []

    def measure(task: CellTask, epochs: int = pilot.EPOCHS, *, tests: bool = False) -> pilot.Pilot:
        counted.append((epochs, tests))
        found = real(task, epochs, tests=tests)
        return replace(found, setup=9.0 if len(counted) == 1 else 2.0, epoch=0.25)

    real = pilot.measure
    monkeypatch.setattr(pilot, "measure", measure)
    cost = pilot.measure_cell(make_job(tmp_path, *words).task())
    assert cost.once == pytest.approx(7.0)
    assert cost.training.tested > 0
    assert counted == [(1, False), (8, True)]  # two seconds of epochs of .25 s


def test_costs_lie_between_those_of_the_least_and_the_most_content() -> None:
    least, most = (
        pilot.CellCost(pilot.Pilot(n, 2 * n, 3 * n, 4 * n, True, 7, tested=5 * n, extra=6 * n), 8 * n)
        for n in (1.0, 3.0)
    )
    assert pilot.between(least, most, 0.0) == replace(least, training=replace(least.training, peak_mb=12.0))
    assert pilot.between(least, most, 1.0) == most
    middle = pilot.Pilot(1.5, 3.0, 4.5, 12.0, True, 7, tested=7.5, extra=9.0)
    assert pilot.between(least, most, 0.25) == pilot.CellCost(middle, 12.0)


def test_a_final_run_is_told_with_the_lists_of_new_items(tmp_path: Path) -> None:
    words = ("model=vbpr", "dataset.protocol=cold", "dataset.cold_fold=0")
    measured = pilot.measure(make_job(tmp_path, *words).task(), tests=True)
    assert measured.extra > 2 * measured.tested
