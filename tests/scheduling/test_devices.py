"""Workers are spread over the devices that a pool sees, by one rule for every launcher."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmbench.scheduling import devices
from mmbench.scheduling import sweep as sweep_module
from mmbench.scheduling.configuration import SweepConfig
from mmbench.scheduling.devices import NONE, Layout, Machine, visible
from mmbench.scheduling.placement import Ray, Slurm
from mmbench.scheduling.sweep import Sweep, run_sweep
from mmbench.store import ledger
from tests.cli.conftest import Command
from tests.parts import require_modules
from tests.pretended import noted, noting, pretend
from tests.tiny import TINY, composed

SWEEP = SweepConfig(name="s", dir="d", workers=None, grace=20.0)
SMALL = [word for word in TINY if not word.startswith("training.accelerator")]


def training(accelerator: str = "auto", devices: int = 1) -> dict[str, Any]:
    return {"accelerator": accelerator, "devices": devices}


@pytest.mark.parametrize(
    ("there", "given", "names"),
    [
        (0, None, []),
        (1, None, ["0"]),
        (8, None, ["0", "1", "2", "3", "4", "5", "6", "7"]),
        (8, "6,2", ["6", "2"]),
        (8, " 6 , 2", ["6", "2"]),
        (8, "3,-1,4", ["3"]),
        (8, "", []),
        (8, "-1", []),
        (8, "NoDevFiles", []),  # of SLURM, to a job that asked for none
        (2, "MIG-5c89,MIG-7d01/3/0", ["MIG-5c89", "MIG-7d01/3/0"]),
        (0, "0", []),  # set for another machine; training.accelerator=auto trains on processors
    ],
)
def test_the_devices_that_were_given_are_respected(
    there: int, given: str | None, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    with pretend(there):
        assert visible() == names


def test_devices_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,5")
    with pretend(2), pytest.raises(ValueError, match=r"^CUDA_VISIBLE_DEVICES=0,1,5 names 3 GPUs, but torch finds 2 of"):
        visible()


@pytest.mark.parametrize("given", ["8", "9,0", "0,0", "abc"])
def test_devices_of_which_torch_finds_none_are_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA reads the names up to the first that is not there; the driver is asked whether there are GPUs at all."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    told = f"^CUDA_VISIBLE_DEVICES={given}: torch finds none of these GPUs, but the driver has 8; name each of "
    with pretend(8), pytest.raises(ValueError, match=told):
        visible()


@pytest.fixture
def none_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that names a GPU to a build of torch that could use it and finds none."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.cuda.is_built", lambda: True)


@pytest.mark.usefixtures("none_found")
def test_a_machine_without_a_driver_has_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> int:
        raise OSError("libnvidia-ml.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr("torch.cuda._raw_device_count_nvml", absent)
    assert visible() == []
    monkeypatch.setattr("torch.cuda._raw_device_count_nvml", lambda: -1)  # a driver that does not answer
    assert visible() == []


@pytest.mark.usefixtures("none_found")
def test_a_build_of_torch_for_processors_asks_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda._raw_device_count_nvml", lambda: 8)
    with pytest.raises(ValueError, match="torch finds none of these GPUs, but the driver has 8"):
        visible()
    monkeypatch.setattr("torch.backends.cuda.is_built", lambda: False)
    assert visible() == []


@pytest.mark.parametrize(
    ("names", "asked", "seats"),
    [
        ([], {}, {NONE: 16}),
        ([], {"workers": 3}, {NONE: 3}),
        ([], {"workers_per_device": 4}, {NONE: 16}),
        (["0"], {}, {"0": 1}),
        (["0"], {"workers_per_device": 3}, {"0": 3}),
        (["0", "1"], {"workers_per_device": 2}, {"0": 2, "1": 2}),
        (["0", "1"], {"workers": 3}, {"0": 2, "1": 1}),
        (["4", "MIG-a"], {"workers": 1}, {"4": 1}),
        (list("01234567"), {}, dict.fromkeys("01234567", 1)),
        (list("01234567"), {"workers": 17}, {"0": 3, **dict.fromkeys("1234567", 2)}),
    ],
)
def test_seats(names: list[str], asked: dict[str, Any], seats: dict[str, int]) -> None:
    layout = Machine.of(training(), names, 16).layout(replace(SWEEP, **asked))
    assert layout.seats == seats
    assert layout.fixed == (bool(asked) and (bool(names) or "workers" in asked))
    assert layout.on_devices == bool(names)


def test_a_training_on_processors_takes_no_device() -> None:
    assert Machine.of(training("cpu", 4), ["0", "1"], 16).layout(SWEEP).seats == {NONE: 4}


def test_a_training_on_several_devices_takes_as_many_of_them() -> None:
    assert Machine.of(training(devices=2), list("01234"), 16).layout(SWEEP).seats == {"0,1": 1, "2,3": 1}


@pytest.mark.parametrize(
    ("names", "of", "message"),
    [
        ([], training("gpu"), "training.accelerator=gpu, but there is no GPU for a worker; use cpu or auto"),
        (["0"], training(devices=2), "training.devices=2, but this machine has 1 GPUs"),
        (["MIG-a", "MIG-b"], training(devices=2), "training.devices=2, but a training can use only one MIG slice"),
    ],
)
def test_what_cannot_be_had_is_refused(names: list[str], of: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Machine.of(of, names, 16)


def test_the_next_worker_goes_where_most_seats_are_free() -> None:
    layout = Layout({"0": 2, "1": 2, "2": 1})
    taken: list[str] = []
    for _ in range(layout.size):
        taken.append(layout.free(taken))
    assert taken == ["0", "1", "0", "1", "2"] or Counter(taken) == layout.seats
    assert layout.free(["0", "1", "1", "2"]) == "0"  # one of the first device died


@pytest.mark.parametrize(
    ("names", "cores", "asked", "needed"),
    [
        ([], 16, {}, False),
        (["0"], 16, {}, True),
        (["0"], 1, {}, False),  # one processor drives one worker
        (list("01234567"), 8, {}, False),
        (list("01234567"), 64, {}, True),
        (["0"], 16, {"workers": 2}, False),
        (["0"], 16, {"workers_per_device": 2}, False),
    ],
)
def test_a_pilot_is_asked_where_only_it_can_tell(
    names: list[str], cores: int, asked: dict[str, int], needed: bool
) -> None:
    assert Machine.of(training(), names, cores).needs_pilot(replace(SWEEP, **asked)) is needed
    assert not Machine.of(training(), names, cores, whole=False).needs_pilot(SWEEP)  # others are on the same card


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sweep.workers=true"], "sweep.workers=True must be a whole number of at least 1, or null for one per core"),
        (["sweep.workers_per_device=0"], "sweep.workers_per_device=0 must be auto or a whole number of at least 1"),
        (["sweep.workers_per_device=-2"], "sweep.workers_per_device=-2 must be auto or a whole number of at least 1"),
        (["sweep.workers_per_device=1.5"], "sweep.workers_per_device=1.5 must be auto or a whole number of at least"),
        (["sweep.workers_per_device=many"], "sweep.workers_per_device=many must be auto or a whole number of at least"),
        (["sweep.workers_per_device=true"], "sweep.workers_per_device=True must be auto or a whole number of at least"),
        (
            ["sweep.workers_per_device=2", "sweep.workers=3"],
            "sweep.workers=3 and sweep.workers_per_device=2 are both given; the first counts the workers of a machine",
        ),
        (["training.accelerator=gpu"], "training.accelerator=gpu, but torch finds no GPU here; use cpu or auto"),
        (["training.accelerator=mps"], "training.accelerator=mps: Apple's GPU has no double precision and is not sup"),
        (
            ["training.accelerator=gpu", "hydra/launcher=slurm"],
            "training.accelerator=gpu training.devices=1, but hydra.launcher.options.gpus_per_node=0",
        ),
        (
            [
                "training.accelerator=auto", "training.devices=4", "model=bpr", "hydra/launcher=slurm",
                "hydra.launcher.dry_run=true", "hydra.launcher.options.gpus_per_node=a100:2",
            ],
            "training.accelerator=auto training.devices=4, but hydra.launcher.options.gpus_per_node=2",
        ),
        (
            ["hydra/launcher=slurm", "hydra.launcher.options.gpus_per_node=two"],
            "hydra.launcher.options.gpus_per_node=two must be a number, or TYPE:NUMBER",
        ),
        (
            ["hydra/launcher=slurm", "hydra.launcher.options.gpus_per_node='a100:²'"],
            "hydra.launcher.options.gpus_per_node=a100:² must be a number, or TYPE:NUMBER",
        ),
        (
            ["training.accelerator=gpu", "hydra/launcher=ray"],
            "training.accelerator=gpu training.devices=1, but hydra.launcher.num_gpus=0",
        ),
        (["hydra/launcher=ray", "hydra.launcher.num_gpus=1.5"], "hydra.launcher.num_gpus=1.5 must be a whole number"),
        *(
            (
                ["hydra/launcher=ray", f"hydra.launcher.num_gpus={given}"],
                f"hydra.launcher.num_gpus={told} must be a whole number of at least 0, or a part of one GPU",
            )
            for given, told in (("x", "x"), ("null", "None"), ("-1", "-1"), ("true", "True"), ("inf", "inf"))
        ),
        *(
            ([f"hydra/launcher={launcher}", f"{setting}={given}"], f"{setting}={told} must be a whole number of at lea")
            for launcher, setting in (
                ("ray", "hydra.launcher.pools"),
                ("ray", "hydra.launcher.num_cpus"),
                ("slurm", "hydra.launcher.allocations"),
                ("slurm", "hydra.launcher.options.cpus_per_task"),
            )
            for given, told in (("x", "x"), ("0", "0"), ("-1", "-1"), ("1.5", "1.5"))
        ),
        (["hydra/launcher=ray", "hydra.launcher.pools=null"], "hydra.launcher.pools=None must be a whole number of at"),
        (
            ["hydra/launcher=slurm", "hydra.launcher.max_timeouts=x"],
            "hydra.launcher.max_timeouts=x must be a whole number of at least 0",
        ),
        (
            ["hydra/launcher=slurm", "hydra.launcher.cluster=pbs"],
            "hydra.launcher.cluster='pbs' must be one of slurm, local, debug",
        ),
        *(
            ([f"hydra/launcher={launcher}", f"hydra.launcher.dry_run={given}"], f"hydra.launcher.dry_run={told} must")
            for launcher in ("slurm", "ray")
            for given, told in (("maybe", "maybe"), ("1", "1"), ("null", "None"))
        ),
    ],
)  # fmt: skip
def test_one_line_before_the_first_cell(words: list[str], message: str, command: Command, tmp_path: Path) -> None:
    said = command(
        "-m", "sweep.name=s", "modality=none", *([] if "model=bpr" in words else ["model=popularity"]), *words
    )
    assert said.code == 2
    assert said.err.startswith(f"error: {message}")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("there", "words", "told", "shared"),
    [
        (0, [], "2 workers on processors, as far as the memory goes", False),
        (0, ["sweep.workers=3"], "3 workers on processors", True),
        (1, ["sweep.workers_per_device=1"], "1 worker on GPU 0", False),
        (1, ["sweep.workers_per_device=2"], "2 workers, 2 on each of GPU 0", True),
        (2, ["sweep.workers_per_device=3"], "6 workers, 3 on each of GPU 0, 1", True),
        (8, ["sweep.workers=8"], "8 workers, 1 on each of GPU 0, 1, 2, 3, 4, 5, 6, 7", False),
        (8, [], "8 workers, 1 on each of GPU 0, 1, 2, 3, 4, 5, 6, 7", False),  # two processors: nothing to measure
    ],
)
def test_a_plan_says_how_many_workers_on_which_devices(
    there: int, words: list[str], told: str, shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from mmbench.cli import plan
    from mmbench.scheduling import pilot

    monkeypatch.setattr(devices, "cores_here", lambda: 2)
    monkeypatch.setattr(pilot, "measure", lambda task, *_, **__: pilot.Pilot(1.0, 2.0, 0.1, 1.0, True, 10))
    monkeypatch.setattr(devices, "visible", lambda: [str(number) for number in range(there)])
    plan.main([*SMALL, f"paths.multirun={tmp_path}", "model=bpr", "modality=none", *words])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("here: "))
    assert line.startswith(f"here: {told}; from ")
    # Nothing has measured what workers on one card, or on one processor, take from each other.
    assert line.endswith(", if they do not slow each other down") == shared


@pytest.mark.parametrize(
    ("gpus", "words", "told"),
    [
        (0, [], "each: 16 workers on processors, as far as the memory goes"),
        (1, [], "each: GPU 0: as many workers on each as a pilot finds room and use for, 16 at most"),
        (2, ["sweep.workers_per_device=3"], "each: 6 workers, 3 on each of GPU 0, 1"),
        (
            8,
            [],
            "each: GPU 0, 1, 2, 3, 4, 5, 6, 7: as many workers on each as a pilot finds room and use for, 2 at most",
        ),
    ],
)
def test_dry_runs_say_the_same_of_slurm_and_ray(
    gpus: int, words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = composed([*SMALL, f"paths.multirun={tmp_path}", "sweep.name=s", "model=bpr", *words]).job()
    options = {"cpus_per_task": 16, "gpus_per_node": gpus}
    for place in (Slurm(2, "slurm", True, 1, options), Ray(2, "auto", 16, gpus, True)):
        assert run_sweep([job], ["model=bpr"], lambda folder: "", place) == 0
        assert told in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_gpus_that_other_options_ask_for_are_left_to_the_allocation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["training.accelerator=gpu", f"paths.multirun={tmp_path}", "sweep.name=s", "model=bpr"]
    job = composed([*TINY[:-1], *words]).job()
    for options in ({"slurm_gres": "gpu:2"}, {"slurm_additional_parameters": {"gpus": 2}}):
        assert run_sweep([job], ["model=bpr"], lambda folder: "", Slurm(1, "slurm", True, 1, options)) == 0
        assert "each: as many workers as its GPUs take" in capsys.readouterr().out
    with pytest.raises(ValueError, match="gpus_per_node=0"):
        run_sweep([job], ["model=bpr"], lambda folder: "", Slurm(1, "slurm", True, 1, {"slurm_partition": "gpu"}))


@pytest.mark.parametrize(
    ("place", "given", "seats"),
    [
        (Ray(1, None, 3, 0, False), None, {NONE: 3}),
        (Ray(1, None, 3, 0.5, False), "1", {"1": 1}),
        (Ray(1, None, 3, 2, False), "0,1", {"0": 1, "1": 1}),
        (Ray(1, None, 5, 0, False), None, {NONE: 3}),
        (Slurm(1, "debug", False, 1, {"gpus_per_node": 0}), None, {NONE: 3}),
        (Slurm(1, "debug", False, 1, {"gpus_per_node": 0, "cpus_per_task": 2}), None, {NONE: 2}),
        (Slurm(1, "debug", False, 1, {"gpus_per_node": 0, "cpus_per_task": 8}), None, {NONE: 3}),
        (Slurm(1, "debug", False, 1, {"gpus_per_node": None}), None, {NONE: 3}),
        (Slurm(1, "debug", False, 1, {"gpus_per_node": 1}), "1", {"1": 1}),
        (Slurm(1, "debug", False, 1, {"gpus_per_node": None, "slurm_gres": "gpu:1"}), "1", {"1": 1}),
    ],
)
def test_a_pool_takes_what_its_launcher_was_asked_for(
    place: Ray | Slurm, given: str | None, seats: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two GPUs are there, and neither Ray nor SLURM hides them from a pool that asked for none.

    The process may run on three processors, whatever was asked for, and SLURM has not kept it to fewer.
    """
    took: list[Layout] = []
    started: list[str] = []

    def pool(jobs: object, layout: Layout, progress: object) -> SimpleNamespace:
        took.append(layout)
        return SimpleNamespace(run=lambda: 0)

    ray = SimpleNamespace(
        init=lambda **_: started.append("ray"),
        is_initialized=lambda: bool(started),
        nodes=lambda: [{"Alive": True, "Resources": {"CPU": 8, "GPU": 2}}],
        remote=lambda **_: lambda call: SimpleNamespace(remote=call),
        get=lambda codes: codes,
        shutdown=lambda: None,
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(devices, "cores_here", lambda: 3)
    monkeypatch.setattr(sweep_module, "Pool", pool)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    words = [*SMALL, f"paths.multirun={tmp_path}", "sweep.name=s", "model=bpr", "modality=none"]
    asked = [] if NONE in seats else ["sweep.workers_per_device=1"]
    with pretend(2):
        assert run_sweep([composed([*words, *asked]).job()], [], lambda folder: "", place) == 0
    assert [layout.seats for layout in took] == [seats]
    assert started == ["ray"] * isinstance(place, Ray)  # once, for the check and for the pools


# Whole sweeps on devices that are not there


FEW = ("-m", "sweep.name=s", "model=bpr", "modality=none", *SMALL, "budget.trials=6", "budget.seeds=2")


def pinned(there: int, folder: Path, *words: str) -> Counter[str]:
    """Run a sweep on so many devices; how many of its workers saw which.

    Workers on devices import torch themselves, when they see what they see as workers.
    """
    command = [sys.executable, "-m", "tests.pretended", str(there), *FEW, f"paths.multirun={folder}", *words]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=noting(folder), capture_output=True, text=True, timeout=500, cwd=root)
    assert done.returncode == 0, done.stderr
    rows = [(row.cell_key, row.unit) for row in ledger.read(folder / "s")]
    assert len(rows) == len(set(rows)) == 6 + 2
    workers, imports = noted(folder, "worker"), noted(folder, "import")
    assert {pid: seen for pid, seen in imports.items() if pid in workers} == {
        pid: seen for pid, seen in workers.items() if seen
    }
    return Counter(workers.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("there", "words", "seen"),
    [
        (0, ["sweep.workers=2"], {"": 2}),  # torch is imported by the server that they are forked from
        (1, ["sweep.workers_per_device=2"], {"0": 2}),
        (2, [], {"0": 1, "1": 1}),
        (2, ["training.accelerator=cpu", "sweep.workers=2"], {"": 2}),
    ],
)
def test_a_worker_sees_its_device_before_torch_is_imported(
    there: int, words: list[str], seen: dict[str, int], tmp_path: Path
) -> None:
    assert pinned(there, tmp_path, *words) == seen


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [[], ["hydra/launcher=ray", "hydra.launcher.num_cpus=1", "hydra.launcher.num_gpus=8"]]
)
def test_no_two_of_eight_workers_see_the_same_device(words: list[str], tmp_path: Path) -> None:
    """A given number of workers starts at once, whatever memory is free and however little there is to do."""
    if words:
        require_modules("ray")
    assert pinned(8, tmp_path, "sweep.workers_per_device=1", *words) == Counter("01234567")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("there", "words", "seen"),
    [
        (0, [], {"": 1}),
        (2, ["hydra.launcher.pools=2"], {"": 2}),  # Ray hides no GPU from those that ask for none
        (1, ["hydra.launcher.num_gpus=1", "training.accelerator=cpu"], {"": 1}),
        (1, ["hydra.launcher.num_gpus=0.5", "hydra.launcher.pools=2"], {"0": 2}),  # one worker in each half
        (2, ["hydra.launcher.num_gpus=1", "hydra.launcher.pools=2", "sweep.workers_per_device=2"], {"0": 2, "1": 2}),
    ],
)
def test_a_pool_takes_the_devices_that_ray_gives_to_it(
    there: int, words: list[str], seen: dict[str, int], tmp_path: Path
) -> None:
    require_modules("ray")
    assert pinned(there, tmp_path, "hydra/launcher=ray", "hydra.launcher.num_cpus=1", *words) == seen


def test_ray_alone_on_a_machine_that_is_too_small_is_refused(tmp_path: Path) -> None:
    job = composed([*TINY, f"paths.multirun={tmp_path}", "sweep.name=s", "model=bpr"]).job()
    sweep = Sweep.plan([job], [])
    place = Ray(1, None, 4, 2, dry_run=False)
    place._check_room(sweep, [{"CPU": 4.0, "GPU": 2.0}])
    with pytest.raises(ValueError, match="this machine has no 4 CPUs and 2 GPUs for a pool; it has CPU cores"):
        place._check_room(sweep, [{"CPU": 4.0}])
    with pytest.raises(ValueError, match="this machine has no 4 CPUs"):
        place._check_room(sweep, [{"CPU": 2.0, "GPU": 2.0}])


def test_a_cluster_may_still_grow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = composed([*TINY, f"paths.multirun={tmp_path}", "sweep.name=s", "model=bpr"]).job()
    Ray(1, "auto", 4, 2, dry_run=False)._check_room(Sweep.plan([job], []), [{"CPU": 4.0}])
    assert "no machine of the cluster has 4 CPUs and 2 GPUs; waiting until one joins it" in capsys.readouterr().out
