"""Sweep folders and archives as a stranger may send them: a small honest one, and ways to change it.

``python -m tests.cli.foreign 200 FOLDER SEED`` lets the commands read 200 of them with faults by chance, and prints how
each of them ended and the largest resident memory in MiB.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import random
import resource
import signal
import struct
import sys
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmbench import cli
from mmbench.cli import decide
from mmbench.cli.decide_sweep import decide_sweep
from mmbench.report.archive import HASHES, pack
from mmbench.scheduling import job as job_module
from mmbench.scheduling import worker
from mmbench.scheduling.sweep import Sweep
from tests.cli.conftest import Said
from tests.tiny import TINY, composed

#: Contents by name.
Files = dict[str, bytes]
DATASET = "planted-complementary"
#: Processor seconds that one command may take.
MOST_SECONDS = 10
#: The folders of both cells.
CELLS = tuple(f"{DATASET}/vbpr/{condition}" for condition in ("fused", "text"))


def write_honest(folder: Path) -> Files:
    """Run a tiny sweep with two conditions, decide from it and pack it; the files of the archive."""
    words = [*TINY, f"paths.multirun={folder}", "sweep.name=s", "budget.trials=2", "budget.seeds=2"]
    words += ["budget.max_steps=2", "budget.least_epochs=1", "model=vbpr"]
    sweep = Sweep.plan([composed([*words, f"modality={name}"]).job() for name in ("text", "fused")], words)
    sweep.open()
    worker.work(sweep.waiting)
    decide_sweep(sweep.folder, decide.read_settings(["serving=false"]))
    pack(sweep.folder, folder / "s.zip")
    states = {str(file.relative_to(sweep.folder)): file.read_bytes() for file in sweep.folder.rglob("*.npz")}
    with zipfile.ZipFile(folder / "s.zip") as opened:
        return states | {name: opened.read(name) for name in opened.namelist()}


def rehash(files: Mapping[str, bytes]) -> Files:
    """The files with hashes that hold, as a forger leaves them."""
    contents = {name: content for name, content in files.items() if name != HASHES}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return {**contents, HASHES: json.dumps(hashes).encode()}


def write_archive(files: Mapping[str, bytes], target: Path) -> Path:
    """Pack files as they are."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return target


def write_folder(files: Mapping[str, bytes], folder: Path) -> Path:
    """Lay files out as whoever unpacks an archive by hand has them."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def edited(files: Mapping[str, bytes], name: str, edit: Callable[[dict[str, Any]], object]) -> Files:
    """The files with one JSON file changed in place, hashes forged."""
    value = json.loads(files[name])
    edit(value)
    return rehash({**files, name: json.dumps(value).encode()})


def with_folder(files: Mapping[str, bytes], folder: str) -> Files:
    """The files with every cell's data read from a folder, hashes forged."""
    made = with_config(files, "dataset", world=None, world_options=None)
    for cell in CELLS:
        made = edited(made, CELL.format(cell), lambda record: record.update(data_folder=folder))
    return made


def with_config(files: Mapping[str, bytes], section: str, **values: Any) -> Files:
    """The files with other values in a section of the configuration of every cell, hashes forged."""
    made = dict(files)
    for cell in CELLS:
        made = edited(made, CELL.format(cell), lambda record: record["config"][section].update(values))
    return made


CELL = "{}/cell.json"
#: What a changed value becomes; the nesting is deeper than any parser follows.
VALUES = (
    None, True, -1, 0, 7, 10**12, -0.5, 1e308, "", "x", "../x", "\x1b[2J", "\ud800", "${oc.env:HOME}", [], {}, [1, "x"],
    {"_target_": "os.getcwd"}, "DEEP",
)  # fmt: skip
DEEP = b"[" * 50_000 + b"]" * 50_000


def mutated(files: Mapping[str, bytes], chance: random.Random) -> tuple[Files, str]:
    """The files with one to three random faults, most often with hashes that hold, and what was done to them."""
    made, done = dict(files), []
    for _ in range(chance.choice((1, 1, 2, 3))):
        name = chance.choice(sorted(made))
        how = chance.choice(("value", "value", "value", "flip", "cut", "drop", "exchange", "grow"))
        if how == "value":  # most of what no type tells stands in the records of cells
            name = chance.choice([*(file for file in sorted(made) if file.endswith(".json")), *map(CELL.format, CELLS)])
        content = made.get(name, b"")
        if how == "value":
            content = _with_other_value(content, chance)
        elif how == "flip":
            content = flipped(content, chance)
        elif how == "cut":
            content = content[: chance.randrange(len(content) + 1)]
        elif how == "exchange":
            content = made[chance.choice(sorted(made))]
        elif how == "grow":
            content += content
        made[name] = content
        if how == "drop":
            made.pop(name)
        done.append(f"{how} {name}")
    return (rehash(made) if chance.random() < 0.8 else made), ", ".join(done)


def _with_other_value(content: bytes, chance: random.Random) -> bytes:
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return content
    places: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        places += [(node, key) for key in keys]
        waiting += [node[key] for key in keys]
    if not places:
        return content
    node, key = chance.choice(places)
    node[key] = chance.choice(VALUES)
    return json.dumps(tree).encode().replace(b'"DEEP"', DEEP)


def flipped(content: bytes, chance: random.Random) -> bytes:
    """One to eight bytes are others."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8) if changed else 0):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def with_header(archive: Path, offset: int, value: int, form: str = "<H") -> Path:
    """An archive with a number changed in every entry of its list of members."""
    content = bytearray(archive.read_bytes())
    place = content.find(b"PK\x01\x02")
    while place >= 0:
        struct.pack_into(form, content, place + offset, value)
        place = content.find(b"PK\x01\x02", place + 4)
    archive.write_bytes(content)
    return archive


def say(*words: object) -> Said:
    """Run ``mmbench`` with some words in this process; an error that is no line of its own leaves it."""
    job_module._dataset.cache_clear()
    job_module._aimed.cache_clear()
    sys.argv = ["mmbench", *map(str, words)]
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    return Said(code, out.getvalue(), err.getvalue())


def ends_in_one_line(said: Said, *codes: int) -> None:
    """Check that a command ended by itself, and with one line where it refused."""
    assert said.code in (codes or (0, 1, 2)), said
    assert said.err.count("\n") == (said.code == 2), said.err
    assert (said.code == 2) == said.err.startswith("error: "), said.err


def read_by_chance(honest: Files, n: int, seed: int, folder: Path) -> Iterator[tuple[str, Said]]:
    """Let a command read mutated archives, or the folders that they unpack to: what was done, and how it ended."""
    chance = random.Random(seed)
    for number in range(n):
        files, done = mutated(honest, chance)
        command = chance.choice(("verify", "verify", "verify", "decide", "report"))
        place = folder / str(number)
        if command == "verify":
            write_archive(files, place)
            if chance.random() < 0.2:
                place.write_bytes(flipped(place.read_bytes(), chance))
                done += ", flip the archive"
            if chance.random() < 0.1:
                place.write_bytes(place.read_bytes()[: chance.randrange(place.stat().st_size)])
                done += ", cut the archive"
        else:
            write_folder(files, place)
        told = f"{number}: {command} after {done}"
        with _processor_time(told), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                said = say(command, place)
            except Exception as error:
                raise AssertionError(told) from error
        yield told, said


@contextlib.contextmanager
def _processor_time(told: str) -> Iterator[None]:
    """Interrupt what takes the processor for longer than :data:`MOST_SECONDS`."""

    def end(*signal: object) -> None:
        raise SystemError(f"{told}: more than {MOST_SECONDS} s of processor time")

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


if __name__ == "__main__":
    target = Path(sys.argv[2])
    n, seed = int(sys.argv[1]), int(sys.argv[3])
    ends: Counter[int] = Counter()
    for what, ended in read_by_chance(write_honest(target / "honest"), n, seed, target):
        print(ended.code, what, ended.err.strip(), flush=True)
        ends_in_one_line(ended)
        ends[ended.code] += 1
    print("ends", *sorted(ends.items()))
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
