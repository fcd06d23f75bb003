"""A bundle is data: what a stranger's folder or archive can make this machine do is nothing, told in one line."""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from mmbench import extensions
from mmbench.extensions import MODELS
from mmbench.nn.recommender import Recommender
from mmbench.paths import config_dir
from mmbench.report import archive as archives
from mmbench.scheduling.model_classes import class_of
from mmbench.scheduling.trust import NOTHING, NotVouchedFor, Trust
from mmbench.store import bounds
from tests.cli.foreign import (
    CELLS,
    DEEP,
    Files,
    edited,
    ends_in_one_line,
    read_by_chance,
    rehash,
    say,
    with_config,
    with_folder,
    with_header,
    write_archive,
    write_folder,
    write_honest,
)
from tests.conftest import blank_charts
from tests.tiny import Broken, make_job


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Files:
    with pytest.MonkeyPatch.context() as patch:
        blank_charts(patch)
        return write_honest(tmp_path_factory.mktemp("honest"))


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without drawings, which nothing reads and which take most of the time of a report."""
    monkeypatch.setattr("mmbench.report.write.write_figures", lambda *drawn, **how: None)
    monkeypatch.setattr("mmbench.report.write.write_fairness", lambda *drawn, **how: None)


class Gadget:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.mark, "unpickled")


def calls(mark: Path) -> dict[str, dict[str, object]]:
    """Values that an instantiator would call; every one of them writes ``mark``."""
    pickled = mark.with_name("payload.pkl")
    pickled.write_bytes(pickle.dumps(Gadget(mark)))
    array = mark.with_name("payload.npy")
    np.save(array, np.array([Gadget(mark)], object), allow_pickle=True)
    given = str(pickled)
    return {
        "numpy.load": {"_target_": "numpy.load", "_args_": [str(array)], "allow_pickle": True},
        "torch.load": {"_target_": "torch.load", "f": given, "weights_only": False},
        "pandas.read_pickle": {"_target_": "pandas.read_pickle", "_args_": [given]},
        "pathlib.Path.write_text": {
            "_target_": "pathlib.Path.write_text",
            "self": {"_target_": "pathlib.Path", "_args_": [str(mark)]},
            "data": "written",
        },
        "shutil.copyfile": {"_target_": "shutil.copyfile", "src": given, "dst": str(mark)},
    }


@pytest.mark.parametrize(
    "name", ["numpy.load", "torch.load", "pandas.read_pickle", "pathlib.Path.write_text", "shutil.copyfile"]
)
def test_a_value_that_would_be_called_is_refused_by_every_command(honest: Files, tmp_path: Path, name: str) -> None:
    mark = tmp_path / "mark"
    forged = with_config(honest, "model", embedding_dim=calls(mark)[name])
    folder = write_folder(forged, tmp_path / "multirun" / "s")
    archive = write_archive(forged, tmp_path / "s.zip")
    packed = ["bundle", folder, tmp_path / "b.zip", "--with-titles"]
    for words in (["decide", folder], ["report", folder], ["verify", archive], packed):
        said = say(*words)
        ends_in_one_line(said, 2)
        assert "the key model.embedding_dim._target_ begins with an underscore" in said.err
    assert not mark.exists()


@pytest.mark.thorough
def test_a_class_in_the_unpacked_folder_is_not_imported(
    honest: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    source = "from pathlib import Path\nfrom mmbench.models.vbpr import VBPR\n"
    source += f"Path({str(mark)!r}).write_text('imported')\nclass Mine(VBPR):\n    pass\n"
    forged = with_config({**honest, "stranger.py": source.encode()}, "model", _target_="stranger.Mine")
    folder = write_folder(forged, tmp_path / "s")
    archive = write_archive(forged, tmp_path / "s.zip")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    said = say("decide", folder)
    ends_in_one_line(said, 2)
    assert "model._target_=stranger.Mine is not installed" in said.err
    assert "--allow stranger.Mine vouches for it" in said.err
    ends_in_one_line(say("report", folder), 0)
    ends_in_one_line(say("verify", archive))
    ends_in_one_line(say("verify", archive, "--allow", "other.Mine"))
    assert not mark.exists()
    assert "stranger" not in sys.modules
    said = say("decide", folder, "--allow", "stranger.Mine", "lang=en")
    ends_in_one_line(said, 0)
    assert mark.read_text() == "imported"
    assert "--allow stranger.Mine" in (folder / "report" / "decision.html").read_text()
    del sys.modules["stranger"]


def test_no_sweep_writes_what_none_can_read(tmp_path: Path) -> None:
    for words in ("+model.embedding_dim={_target_:numpy.load}", "+model._partial_=true", "+training._x=1"):
        with pytest.raises(ValueError, match=r"only model\._target_ names a class"):
            _ = make_job(tmp_path, words.replace("+model.e", "model.e")).model_class


def test_models_of_the_package_and_of_installed_packages_need_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = [
        yaml.safe_load(file.read_text())["model"]["_target_"] for file in (config_dir() / "model").glob("*.yaml")
    ]
    assert all(issubclass(class_of(target, NOTHING), Recommender) for target in targets)
    for target in (
        "os.system",
        "mmbench.models.vbpr.torch.load",
        "mmbench.models",
        "tests.tiny.Broken",
        "tests",
        "",
        None,
    ):
        with pytest.raises(NotVouchedFor, match="is not installed"):
            class_of(target, NOTHING)
    with pytest.raises(ValueError, match="must derive from"):
        class_of("mmbench.models.vbpr.Tensor", NOTHING)
    monkeypatch.setattr(extensions, "offered", lambda group: {"broken": "tests.tiny.Broken"} if group == MODELS else {})
    assert class_of("tests.tiny.Broken", NOTHING) is Broken
    assert class_of("tests.tiny.Broken", Trust(frozenset({"tests.tiny.Broken"}))) is Broken


def test_a_configuration_of_a_training_names_no_class(honest: Files, tmp_path: Path) -> None:
    forged = dict(honest)
    for cell in CELLS:
        for name in ("seed1", "seed2"):
            forged = edited(
                forged,
                f"{cell}/finals/{name}.json",
                lambda record: record["configuration"].update({"model._target_": "os.getcwd"}),
            )
    said = say("decide", write_folder(forged, tmp_path / "s"))
    ends_in_one_line(said, 2)
    assert "the key model._target_ begins with an underscore" in said.err


def test_the_environment_is_not_read(honest: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "correct horse battery staple")
    forged = with_config(honest, "model", embedding_dim="${oc.env:A_SECRET}")
    forged = with_config(forged, "dataset", name="${oc.env:A_SECRET}")
    forged = edited(forged, "manifest.json", lambda record: record.update(name="${oc.env:A_SECRET}"))
    folder = write_folder(forged, tmp_path / "s")
    said = [say("decide", folder), say("report", folder), say("verify", write_archive(forged, tmp_path / "s.zip"))]
    for one in said:
        ends_in_one_line(one)
        assert "correct horse" not in one.out + one.err
    assert not [file for file in folder.rglob("*") if file.is_file() and b"correct horse" in file.read_bytes()]


@pytest.mark.thorough
def test_the_address_of_a_tracker_is_not_obeyed(honest: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    asked: list[object] = []
    monkeypatch.setattr(wandb, "init", lambda **settings: asked.append(settings["entity"]) or _Run())
    address = {"kind": "wandb", "mode": "online", "project": "p", "entity": "stranger", "tags": []}
    forged = rehash({**honest, "wandb/mmbench.json": json.dumps(address).encode()})
    forged = with_config(forged, "budget", entity="stranger")
    folder = write_folder(forged, tmp_path / "s")
    for words in (["report", folder], ["decide", folder], ["verify", write_archive(forged, tmp_path / "s.zip")]):
        ends_in_one_line(say(*words))
    assert asked == []
    assert say("report", folder, "tracking=wandb", "tracking.wandb.entity=us").code == 0
    assert asked == ["us"]
    assert "tracking.wandb.mode=on is unknown" in say("decide", folder, "tracking.wandb.mode=on").err


class _Run:
    summary: dict[str, object] = {}  # noqa: RUF012

    def log(self, values: object, step: int | None = None) -> None:
        pass

    def finish(self, exit_code: int) -> None:
        pass


@pytest.mark.thorough
def test_a_path_outside_is_not_read(honest: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    monkeypatch.setattr("mmbench.data.dataset.read_folder", lambda path, **kw: opened.append(path) or _absent(path))
    monkeypatch.setattr("mmbench.scheduling.job.read_recommendations", lambda path, *ids: opened.append(path))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    secret = tmp_path / "secret"
    secret.mkdir()
    (tmp_path / "here" / "link").symlink_to(secret)
    for path in (str(secret), "../secret", "link"):
        forged = with_folder(honest, path)
        folder = write_folder(forged, tmp_path / "here" / path.replace("/", "") / "s")
        for words in (["decide", folder], ["report", folder], ["verify", write_archive(forged, tmp_path / "s.zip")]):
            ends_in_one_line(say(*words))
        assert f"--allow {path} adds it" in (folder / "report" / "contribution.md").read_text()
        assert f"--allow {path} adds it" in say("report", folder).out
    forged = with_config(honest, "model", recommendations="/etc/hostname")
    ends_in_one_line(say("decide", write_folder(forged, tmp_path / "here" / "lists" / "s")))
    assert opened == []
    said = say("report", tmp_path / "here" / "link" / "s", "--allow", secret)
    ends_in_one_line(said, 0)
    assert opened == [Path("link")]


def _absent(path: Path) -> None:
    raise FileNotFoundError(path)


def test_a_folder_leads_nowhere(honest: Files, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    moved = edited(honest, "manifest.json", lambda record: record["cells"][0].update(folder="../outside"))
    linked = write_folder(honest, tmp_path / "linked")
    shutil.move(linked / CELLS[0] / "trials", outside / "trials")
    (linked / CELLS[0] / "trials").symlink_to(outside / "trials")
    written = write_folder(honest, tmp_path / "written")
    shutil.rmtree(written / "report")
    (written / "report").symlink_to(outside)
    piped = write_folder(honest, tmp_path / "piped")
    (piped / CELLS[0] / "choice.json").unlink()
    os.mkfifo(piped / CELLS[0] / "choice.json")
    for folder, message in (
        (write_folder(moved, tmp_path / "moved"), f"is {CELLS[0]} and nowhere else"),
        (linked, f"{CELLS[0]}/trials is a link out of the folder of the sweep"),
        (written, "report is a link out of the folder of the sweep"),
        (piped, "choice.json is neither a file nor a folder"),
    ):
        for command in ("decide", "report"):
            said = say(command, folder)
            ends_in_one_line(said, 2)
            assert message in said.err
    assert [path.name for path in outside.iterdir()] == ["trials"]
    ends_in_one_line(say("report", linked, "--allow", outside), 0)
    aside = edited(honest, f"{CELLS[0]}/trials/000.json", lambda r: r.update(configuration_hash="../../../../outside"))
    ends_in_one_line(say("report", write_folder(aside, tmp_path / "aside")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_users": 10**9}, "too large to be drawn because a record says so"),
        ({"n_items": 10**9}, "too large to be drawn"),
        ({"text_dim": 10**9}, "too large to be drawn"),
        ({"n_interactions": 10**9, "per_user": None}, "too large to be drawn"),
        ({"n_users": "many"}, "its sizes are no positive whole numbers"),
    ],
)
def test_a_world_is_measured_before_it_is_drawn(
    honest: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object],
    message: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("mmbench.data.planted.make_world", lambda *world, **options: pytest.fail("drawn"))
    sizes = {"n_users": 60, "n_items": 80, "per_user": 10, **options}
    forged = with_config(honest, "dataset", world_options=sizes)
    folder = write_folder(forged, tmp_path / "s")
    for words in (["decide", folder], ["report", folder], ["verify", write_archive(forged, tmp_path / "s.zip")]):
        ends_in_one_line(say(*words))
    assert message in (folder / "report" / "contribution.md").read_text()


@pytest.mark.thorough
def test_a_model_is_measured_before_it_is_built(honest: Files, tmp_path: Path) -> None:
    for values in ({"embedding_dim": 10**8}, {"embedding_dim": 10**30}):
        said = say("decide", write_folder(with_config(honest, "model", **values), tmp_path / "s"))
        ends_in_one_line(said)


def test_what_a_command_can_vouch_for(tmp_path: Path) -> None:
    trust = Trust.of(["mine.Mine", str(tmp_path), "world"])
    assert trust == Trust(frozenset({"mine.Mine"}), (tmp_path,), large_worlds=True)
    assert Trust.of("world") == Trust(large_worlds=True)
    for word in ("Mine", "no/such/folder", "a-b.C", ""):
        with pytest.raises(ValueError, match=f"^{word} cannot be vouched for: it is neither the dotted name of"):
            Trust.of([word])


# Archives that are no archives, and records that are none


def archive_of(files: Files, target: Path) -> Path:
    return write_archive(rehash(files), target)


def link(files: Files, target: Path) -> Path:
    member = zipfile.ZipInfo("a")
    member.external_attr = 0o120777 << 16
    with zipfile.ZipFile(write_archive(files, target), "a") as archive:
        archive.writestr(member, "/etc/passwd")
    return target


def twice(files: Files, target: Path) -> Path:
    with zipfile.ZipFile(write_archive(files, target), "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("README.md", "again")
    return target


def other_compression(files: Files, target: Path) -> Path:
    with zipfile.ZipFile(write_archive(files, target), "a") as archive:
        archive.writestr("a", b"0" * 1000, zipfile.ZIP_BZIP2)
    return target


def damaged(files: Files, target: Path) -> Path:
    content = bytearray(write_archive(files, target).read_bytes())
    place = content.find(b"PK\x03\x04", 100) + 200
    content[place : place + 40] = b"\xff" * 40
    target.write_bytes(content)
    return target


def latin(files: Files, target: Path) -> Path:
    content = write_archive({"\u00e9\u00e9": b"", **files}, target).read_bytes()
    target.write_bytes(content.replace("\u00e9\u00e9".encode(), b"\xff\xfe\xff\xfe"))
    return target


def bomb(files: Files, target: Path) -> Path:
    return archive_of({**files, "more.json": bytes(100 << 20)}, target)


def named(name: str, files: Files, target: Path) -> Path:
    return archive_of({**files, name: b"x"}, target)


def other(name: str, content: bytes, files: Files, target: Path) -> Path:
    return archive_of({**files, name: content}, target)


CHOICE = f"{CELLS[0]}/choice.json"
RANKS = f"{CELLS[0]}/finals/seed1.test.parquet"


def parquet(**columns: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda files, target: with_header(write_archive(files, target), 8, 1), "is encrypted"),
        (lambda files, target: with_header(write_archive(files, target), 24, 3 << 30, "<I"), "and 20 GiB"),
        (link, "a is a link"),
        (twice, "holds a name twice"),
        (other_compression, "compressed in a way that bundle does not use"),
        (damaged, "is no archive of a sweep: "),
        (latin, "is no archive of a sweep: "),
        (bomb, "more than 100 times its size"),
        (functools.partial(named, "../mark"), "which leads out of its folder"),
        (functools.partial(named, "/tmp/mark"), "which leads out of its folder"),
        (functools.partial(named, "a//mark"), "which no sweep holds"),
        (functools.partial(named, "d/.git/hooks/mark"), "which no sweep holds"),
        (functools.partial(named, "\x1b]0;owned\x07"), r"'\x1b]0;owned\x07', which no sweep holds"),
        (functools.partial(named, "README.md/a"), "cannot be unpacked: "),
        (functools.partial(named, "a" * 300), "cannot be unpacked: its name is too long"),
        (functools.partial(other, CHOICE, DEEP), "choice.json is not a record: it is nested too deeply"),
        (functools.partial(other, CHOICE, b"[]"), "choice.json is not a record: it holds list"),
        (functools.partial(other, CHOICE, b"\xff\xfe"), "choice.json is missing, empty, cut or overwritten"),
        (functools.partial(other, CHOICE, b"1" * 5000), "choice.json is missing, empty, cut or overwritten"),
        (functools.partial(other, CHOICE, b" " * (17 << 20)), "a file of its kind has at most"),
        (functools.partial(other, "report/decision.json", DEEP), "decision.json is not a record"),
        (functools.partial(other, RANKS, b"PAR1"), "seed1.test.parquet is missing, empty, cut or overwritten"),
        (functools.partial(other, RANKS, parquet(user=["x"], item=[1], rank=[1])), "more than whole numbers"),
        (functools.partial(other, RANKS, parquet(user=[1], item=[1], rank=[None])), "more than whole numbers"),
        (functools.partial(other, RANKS, parquet(user=[1], item=[1 << 40], rank=[1])), "or above 16777216"),
        (functools.partial(other, RANKS, parquet(user=[1], item=[1])), "seed1.test.parquet is no table of records"),
        (
            lambda files, target: other(RANKS, parquet(**dict.fromkeys(("user", "item", "rank"), MANY)), files, target),
            "would unpack to 72000000 bytes, more than 100 times its size",
        ),
    ],
)
def test_an_archive_that_is_none_ends_in_one_line(
    honest: Files, tmp_path: Path, make: Callable[[Files, Path], Path], message: str
) -> None:
    said = say("verify", make(honest, tmp_path / "s.zip"))
    ends_in_one_line(said, 2)
    assert message in said.err
    assert said.err.rstrip("\n").isprintable()


MANY = np.ones(3_000_000, np.int32)


def test_too_many_members_are_not_even_listed(honest: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_archive(honest, tmp_path / "s.zip")
    monkeypatch.setattr(archives, "MOST_MEMBERS", 20)
    assert "an archive has at most 20 files" in say("verify", archive).err
    monkeypatch.setattr(archives, "MOST_DIRECTORY", 1000)
    assert "its list of members is too long" in say("verify", archive).err


def test_no_member_is_read_whole(honest: Files, tmp_path: Path) -> None:
    large = np.random.default_rng(0).bytes(24 << 20)
    archive = write_archive(rehash({**honest, "report/more.bin": large}), tmp_path / "s.zip")
    del large
    tracemalloc.start()
    findings = archives.unpack(archive, tmp_path / "out")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert findings == []
    assert peak < 8 << 20


def test_a_number_in_a_record_allocates_nothing(honest: Files, tmp_path: Path) -> None:
    forged = edited(honest, f"{CELLS[0]}/cell.json", lambda record: record["effort"].update(seeds=10**12))
    forged = edited(forged, f"{CELLS[1]}/cell.json", lambda record: record["effort"].update(trials=10**12))
    ends_in_one_line(say("report", write_folder(forged, tmp_path / "s")), 0)


@pytest.mark.parametrize("command", ["report", "decide"])
def test_a_number_in_a_plan_draws_no_configurations(honest: Files, tmp_path: Path, command: str) -> None:
    many = 10**9

    def plan(record: dict[str, Any]) -> None:
        record["cells"][0].update(trials=many, trainings=many + 2)

    forged = edited(honest, "manifest.json", plan)
    forged = edited(forged, f"{CELLS[0]}/cell.json", lambda record: record["effort"].update(trials=many, seeds=many))
    forged = edited(forged, f"{CELLS[0]}/choice.json", lambda record: record.update(n_trials=many))
    said = say(command, write_folder(forged, tmp_path / "s"))
    ends_in_one_line(said, 2)
    assert "manifest.json is not a record: Expected `int` <= 9999" in said.err


def test_an_array_is_as_large_as_its_header_says(tmp_path: Path) -> None:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)})
    file = write_archive({"weight.npy": out.getvalue() + bytes(16)}, tmp_path / "state.npz")
    with pytest.raises(ValueError, match=r"the array weight.npy is not what its header says"):
        bounds.check_arrays(file)
    bounds.check_arrays(_saved(tmp_path / "good.npz", weight=np.ones((3, 4)), empty=np.ones((0, 2)), one=np.array(1)))


def _saved(file: Path, **arrays: np.ndarray) -> Path:
    np.savez(file, **arrays)
    return file


def test_names_are_shown_not_obeyed(honest: Files, tmp_path: Path) -> None:
    forged = edited(honest, "manifest.json", lambda record: record.update(name="s\x1b[2J\u202egp"))
    forged = {**forged, "report/table.md": b"x"}
    said = [say("report", write_folder(forged, tmp_path / "s")), say("verify", write_archive(forged, tmp_path / "z"))]
    assert all("\x1b" not in one.out and "\u202e" not in one.out for one in said)
    assert "s\\x1b[2J\\u202egp" in said[0].out
    assert said[1].code == 1


# Faults by chance


@pytest.mark.thorough
def test_forty_faults_by_chance(honest: Files, tmp_path: Path) -> None:
    ends = []
    for told, said in read_by_chance(honest, 40, 17, tmp_path):
        assert said.code in (0, 1, 2), told
        ends_in_one_line(said)
        ends.append(said.code)
    assert {1, 2} <= set(ends)


@pytest.mark.slow
def test_two_hundred_faults_by_chance_in_a_gigabyte(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.cli.foreign", "200", str(tmp_path), "36"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines()[-2:])
    assert "(1, " in told["ends"]
    assert "(2, " in told["ends"]
    assert int(told["peak"]) < 1024
