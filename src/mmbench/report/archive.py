"""A sweep as one archive that anybody can check: records, environment, hashes, and the command of every table.

Model states and validation vectors stay behind: no table is made of them. Nothing in an archive is executed or
unpickled, and no file outside its own folder is written.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from mmbench import paths
from mmbench.messages import Refusal
from mmbench.report.reading import read_sweep
from mmbench.report.write import write_report
from mmbench.store import files

HASHES, READ_ME, ENVIRONMENT = "hashes.json", "README.md", "environment.json"
#: Endings of records that tables are made of; everything else of a sweep stays behind.
MANIFEST, REPORT = paths.manifest_file(Path()).name, paths.report_dir(Path()).name
RECORDS = (f".{paths.RECORD}", paths.ledger_file(Path()).suffix, f".{paths.RANKS}", f".{paths.LISTS}")
LEFT_OUT = (paths.mirror_dir(Path()).name, REPORT)
#: Reports that are computed again letter by letter, and those with a check of their own.
TABLES = (*(f"{n}.{e}" for n in (paths.TABLE, paths.VERDICTS) for e in ("csv", "md", "tex")), f"{paths.TABLE}.txt")
CONTRIBUTION, DECISION, PAPER = f"{paths.CONTRIBUTION}.csv", f"{paths.DECISION}.json", f"{paths.PAPER}.csv"
#: Rows of the contribution report that need no data set.
WITHOUT_DATA = ("M1 value", "M2 hits", "M2 hits beyond the noise floor", "M3 overlap and headroom", "reliance")
#: Largest unpacked size of an archive that is opened, in bytes.
MOST_BYTES = 20 << 30
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Finding:
    """What checking one file found.

    Args:
        file: the file.
        same: whether it is what the records give; None where that could not be told.
        comparison: what was compared.
    """

    file: str
    same: bool | None
    comparison: str


def pack(sweep_dir: Path, target: Path) -> int:
    """Write the archive of a sweep; its bytes depend on the files alone. Returns the number of files.

    Args:
        sweep_dir: folder of the sweep; its reports are written again first.
        target: archive to write, by atomic rename.

    Raises:
        ValueError: if the folder is no sweep.
    """
    table = write_report(sweep_dir)
    contents = {path.relative_to(sweep_dir).as_posix(): path.read_bytes() for path in _files(sweep_dir)}
    contents[ENVIRONMENT] = _json(_environment())
    contents[READ_ME] = _read_me(table.name, target.name, sorted(contents)).encode()
    contents[HASHES] = _json({name: hashlib.sha256(content).hexdigest() for name, content in sorted(contents.items())})

    def save(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted(contents.items()):
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)

    files.write_atomic(target, save)
    return len(contents)


def _files(sweep_dir: Path) -> Iterator[Path]:
    """Records that tables are made of, and the report."""
    for path in sorted(sweep_dir.rglob("*")):
        parts = path.relative_to(sweep_dir).parts
        hidden = any(part.startswith(".") for part in parts)
        if not path.is_file() or path.is_symlink() or hidden:
            continue
        if parts[0] == REPORT or (parts[0] not in LEFT_OUT and path.name.endswith(RECORDS)):
            yield path


def _json(value: Mapping[str, object]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def _environment() -> dict[str, object]:
    installed = {str(d.metadata["Name"]): d.version for d in metadata.distributions() if d.metadata["Name"]}
    return {"python": platform.python_version(), "machine": platform.machine(), "installed": installed}


def _read_me(name: str, archive: str, files: list[str]) -> str:
    """What is in the archive, and the command of every table."""
    tables = [file for file in files if file.startswith(f"{REPORT}/")]
    command = {"decision": f"python -m mmbench decide {name}", "checklist": f"python -m mmbench decide {name}"}
    lines = [
        f"# Sweep {name}",
        "",
        f"`python -m mmbench verify {archive}` checks every hash and computes every table again from the records.",
        "By hand: unpack into a folder, install the versions of environment.json, and run",
        "",
        "| file | command |",
        "| --- | --- |",
        *(
            f"| {file} | `{command.get(PurePosixPath(file).stem, f'python -m mmbench report {name}')}` |"
            for file in tables
        ),
        "",
        "Seeds, configurations and fingerprints of the data stand in the records; the data are not in here.",
        f"What the sweep was asked for stands in {MANIFEST} under `command`.",
    ]
    return "\n".join(lines) + "\n"


def unpack(archive: Path, folder: Path) -> list[Finding]:
    """Unpack an archive into an empty folder and check its hashes.

    Raises:
        ValueError: if it is no archive of a sweep, or a name in it leads out of the folder.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            infos = [info for info in opened.infolist() if not info.is_dir()]
            if sum(info.file_size for info in infos) > MOST_BYTES:
                raise Refusal(
                    "{archive} would unpack to more than {limit} GiB", archive=archive, limit=MOST_BYTES >> 30
                )
            files = {info.filename: opened.read(info) for info in infos}
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise Refusal("{archive} is no archive of a sweep: {error}", archive=archive, error=error) from error
    if HASHES not in files or MANIFEST not in files:
        raise Refusal(
            "{archive} is no archive of a sweep: it holds no {hashes} or no {manifest}",
            archive=archive,
            hashes=HASHES,
            manifest=MANIFEST,
        )
    for name, content in files.items():
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts or "\\" in name or not place.parts:
            raise Refusal(
                "{archive} holds the name {name!r}, which leads out of its folder", archive=archive, name=name
            )
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return list(_hashes(files))


def _hashes(files: Mapping[str, bytes]) -> Iterator[Finding]:
    expected = json.loads(files[HASHES])
    for name in sorted(files.keys() | expected.keys()):
        if name == HASHES:
            continue
        if name not in files or name not in expected:
            yield Finding(name, False, "missing" if name not in files else "not listed in hashes.json")
        elif hashlib.sha256(files[name]).hexdigest() != expected[name]:
            yield Finding(name, False, "its hash is another")


def verify(archive: Path, folder: Path, holds: Callable[[Mapping[str, Any]], bool]) -> list[Finding]:
    """Unpack an archive, check its hashes, and compute every table again from its records.

    Args:
        archive: what :func:`pack` wrote.
        folder: empty folder to work in.
        holds: whether the inputs of a decision record lead to its answer again.

    Returns:
        One finding per file that was checked; hashes that hold are not listed.

    Raises:
        ValueError: as :func:`unpack`, or if its records cannot be read.
    """
    findings = unpack(archive, folder)
    report = paths.report_dir(folder)
    packed = {path.name: path.read_bytes() for path in report.iterdir() if path.is_file()} if report.is_dir() else {}
    read_sweep(folder)
    write_report(folder)
    for name in TABLES:
        if name not in packed:
            findings.append(Finding(name, False, "missing"))
        elif name.endswith(".csv"):
            findings.append(_compared(name, packed[name], (report / name).read_bytes()))
        else:
            findings.append(Finding(name, packed[name] == (report / name).read_bytes(), "letter by letter"))
    if CONTRIBUTION in packed:
        findings.append(_contribution(packed[CONTRIBUTION], (report / CONTRIBUTION).read_bytes()))
    if DECISION in packed:
        record = files.read_document(report / DECISION)
        findings.append(Finding(DECISION, holds(record), "decided again"))
    if PAPER in packed:
        findings.append(Finding(PAPER, None, "needs the published tables, which are not in the archive"))
    return findings


def _compared(name: str, packed: bytes, again: bytes) -> Finding:
    return Finding(name, _same(_frame(packed), _frame(again)), "every number")


def _contribution(packed: bytes, again: bytes) -> Finding:
    """Rows that need no data set always, all rows where the data set is there."""
    old, new = _frame(packed), _frame(again)
    if len(old) == len(new):
        return Finding(CONTRIBUTION, _same(old, new), "every number")
    kept = [frame[frame["measure"].isin(WITHOUT_DATA)].reset_index(drop=True) for frame in (old, new)]
    return Finding(CONTRIBUTION, _same(*kept), "numbers that need no data set, which is not here")


def _frame(content: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)


def _same(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Equal text, and equal numbers up to the rounding of another machine."""
    if a.shape != b.shape or list(a.columns) != list(b.columns):
        return False
    left, right = a.to_numpy(str).ravel(), b.to_numpy(str).ravel()
    return all(x == y or _close(x, y) for x, y in zip(left, right, strict=True))


def _close(x: str, y: str) -> bool:
    try:
        return bool(np.allclose([float(v) for v in x.split()], [float(v) for v in y.split()], TOLERANCE, TOLERANCE))
    except ValueError:
        return False
