"""A sweep as one archive that anybody can check: records, environment, hashes, and the command of every table.

It holds what an audit needs, states and validation vectors included; the data are in it as fingerprints alone. Nothing
in an archive is executed or unpickled, and no file outside its own folder is written.
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import io
import itertools
import json
import os
import platform
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mmbench import fingerprint, paths
from mmbench.audit.further_tries import read_tries
from mmbench.messages import LANGUAGES, Message, Refusal
from mmbench.messages.commands import command_line
from mmbench.messages.refused import reason
from mmbench.report import figures, index
from mmbench.report.charts import east_asian_fonts
from mmbench.report.draws import read_draws
from mmbench.report.reading import check_sweep
from mmbench.report.write import write_report
from mmbench.scheduling.trust import NOTHING, Trust
from mmbench.store import bounds, files

HASHES, READ_ME, ENVIRONMENT = "hashes.json", "README.md", "environment.json"
#: Endings of records; everything else of a sweep stays behind.
MANIFEST, REPORT = paths.manifest_file(Path()).name, paths.report_dir(Path()).name
RECORDS = (
    paths.ledger_file(Path()).suffix,
    *(f".{ending}" for ending in (paths.RECORD, paths.VALIDATION, paths.STATE, paths.RANKS, paths.LISTS)),
)
#: What is no record, or says what nobody else needs to believe.
LEFT_OUT = (*paths.MIRRORS, *(place(Path()).name for place in (paths.report_dir, paths.audit_file)))
#: What tells an audit that the test split was opened, or that a record was lost and made again: copies of seals, and
#: records among the damaged files, whatever number their names end in.
SEAL_COPY, DAMAGED = paths.copy_of(paths.seal_file(Path())).name, paths.damaged_dir(Path()).name
#: Why files of a report, by their names in English, are not computed again; and all files that commands write.
FROM_PRICES = Message("it rests on the prices that were given, and says the day of its writing")
FROM_ELSEWHERE = {
    **{f"{name}.html": FROM_PRICES for name in (paths.DECISION, paths.WITHOUT_TITLES, paths.CHECKLIST)},
    f"{paths.DECISION}.json": FROM_PRICES,
    **{
        f"{paths.PAPER}.{ending}": Message("needs the published tables, which are not in the archive")
        for ending in ("csv", "md", "tex")
    },
}
WRITTEN = {f"{paths.INDEX}.html", *FROM_ELSEWHERE, *itertools.chain(*index.FILES.values())}
#: Each page of a decision, whatever its language and name, and the one that is packed in its place.
PAGES = {
    f"{REPORT}/{paths.page(paths.DECISION, lang, asked)}": f"{REPORT}/{paths.page(paths.WITHOUT_TITLES, lang, asked)}"
    for lang in LANGUAGES
    for asked in (lang, "")
}
#: What a check of a file says.
MISSING, NOT_PACKED = Message("missing"), Message("bundle packs no such file")
#: Most files of an archive, their largest size together in bytes, and the size below which it may be packed in any
#: ratio. A list of so many members with names as long as ours has less than MOST_DIRECTORY bytes.
MOST_MEMBERS, MOST_BYTES, LEAST_BYTES = 100_000, 20 << 30, 64 << 20
MOST_DIRECTORY, MOST_HASHES = 16 << 20, 32 << 20
#: What is read and written at once, in bytes.
BLOCK = 1 << 20
#: Bit of an encrypted member, and what bundle writes; others may unpack a block to any size.
ENCRYPTED, COMPRESSIONS = 0x1, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: Where the packed report lies while the records are reported again; no member has such a name.
PACKED = ".packed"


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
    comparison: Message


class Packed(NamedTuple):
    """How many files an archive holds, and how many of the report it does not, because no command writes them."""

    files: int
    left_out: int


def pack(sweep_dir: Path, target: Path, trust: Trust = NOTHING, *, with_titles: bool = False) -> Packed:
    """Write the archive of a sweep; its bytes depend on the files alone, and on the sweeps beside it.

    Args:
        sweep_dir: folder of the sweep; its reports are written again first, and once more at the end, however it ends,
            where they say at home what no archive holds.
        target: archive to write, by atomic rename.
        trust: what may be used because a record names it.
        with_titles: whether the page of a decision shows titles and pictures of items.

    Raises:
        ValueError: if the folder is no sweep, holds more than an archive may, has no page without titles, or if its
            records change meanwhile.
    """
    check_sweep(sweep_dir, trust)
    before = _stamps(sweep_dir)
    _chosen(sweep_dir, with_titles)  # refused before any page is written
    beside = _beside(sweep_dir)
    try:
        table = write_report(sweep_dir, trust=trust, audited=False)
        chosen = _chosen(sweep_dir, with_titles)
        there, made = chosen.there, {**chosen.pages, ENVIRONMENT: _json(environment())}
        made[READ_ME] = _read_me(table.name, target.name, sorted({*there, *made}), beside).encode()
        hashes = {name: fingerprint.of_file(path) for name, path in there.items()}
        hashes |= {name: hashlib.sha256(content).hexdigest() for name, content in made.items()}
        made[HASHES] = _json(dict(sorted(hashes.items())))
        save = functools.partial(_save, there, made)
        files.write_all({target: save}, confirm=lambda: _check_still(sweep_dir, before))
    finally:
        if beside or paths.audit_file(sweep_dir).exists():
            write_report(sweep_dir, trust=trust)  # with what an audit has shown here, and the sweeps that lie here
    return Packed(len(there) + len(made), chosen.left_out)


def _stamps(sweep_dir: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of the last change of everything that the report of a sweep is written from."""
    stamps = {path: path.stat() for path in _files(sweep_dir) if REPORT not in path.relative_to(sweep_dir).parts[:1]}
    return {path: (stamp.st_size, stamp.st_mtime_ns) for path, stamp in stamps.items()}


def _check_still(sweep_dir: Path, before: Mapping[Path, tuple[int, int]]) -> None:
    """Refuse to pack a sweep that is being written: its report would not be that of its records."""
    if _stamps(sweep_dir) != before:
        raise Refusal(
            "records of {folder} have changed while they were packed, as those of a sweep that runs do; pack them when "
            "it has ended",
            folder=sweep_dir,
        )


class Chosen(NamedTuple):
    """What an archive holds of a sweep.

    Attributes:
        there: files that are packed as they are, by their names.
        pages: what is packed of the pages of a decision in place of those that show titles, by their names.
        left_out: how many files of the report are not packed, because no command writes them.
    """

    there: dict[str, Path]
    pages: dict[str, bytes]
    left_out: int


def _chosen(sweep_dir: Path, with_titles: bool) -> Chosen:
    """Choose the files of an archive.

    Raises:
        ValueError: if they are more than an archive may hold, or a page has none without titles.
    """
    found = {path.relative_to(sweep_dir).as_posix(): path for path in _files(sweep_dir)}
    there = {name: path for name, path in found.items() if not _is_strange(name)}
    left_out = len(found) - len(there)
    pages: dict[str, bytes] = {}
    for page, name in PAGES.items():
        without = there.pop(name, None)
        if with_titles or page not in there:
            continue
        if without is None:
            raise Refusal(
                "{page} may show titles and pictures of items, and there is no {name} beside it to be packed in its "
                "place; run python -m mmbench decide again, or add --with-titles",
                page=there[page],
                name=PurePosixPath(name).name,
            )
        del there[page]
        # Under the name of the page, and so are those that it leads to.
        pages[page] = without.read_bytes().replace(paths.WITHOUT_TITLES.encode(), paths.DECISION.encode())
    _check_amount(sweep_dir, len(there), sum(path.stat().st_size for path in there.values()))
    return Chosen(there, pages, left_out)


def _save(there: Mapping[str, Path], made: Mapping[str, bytes], path: Path) -> None:
    """Write files, and what was made of some, into an archive."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted({*there, *made}):
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            if name in made:
                archive.writestr(member, made[name])
                continue
            member.file_size = there[name].stat().st_size  # so that a large one gets the fields it needs
            with there[name].open("rb") as source, archive.open(member, "w") as copy:
                shutil.copyfileobj(source, copy, BLOCK)


def _is_strange(name: str) -> bool:
    """Whether it is a file of the report that no command writes."""
    folder, _, file = name.partition("/")
    return folder == REPORT and not (
        paths.in_english(file) in WRITTEN or any(fnmatch.fnmatchcase(file, pattern) for pattern in figures.FILES)
    )


def _beside(sweep_dir: Path) -> list[str]:
    """What the fairness report says of sweeps beside this one, which no archive holds."""
    told = [
        f"{dataset}/{model}: {said}"
        for (dataset, model), tries in sorted(read_tries(sweep_dir).items())
        for said in tries.beside
    ]
    for (dataset, model), draws in sorted(read_draws(sweep_dir).items()):
        for draw, names in sorted(draws.elsewhere.items()):
            told.append(f"{dataset}/{model}: draw {draw} of its tuning is in {', '.join(sorted(names))}")
    return told


def _check_amount(place: Path, members: int, size: int) -> None:
    """Refuse what is more than an archive may hold."""
    if members > MOST_MEMBERS or size > MOST_BYTES:
        raise Refusal(
            "{place} holds {members} files of {size} bytes together; an archive has at most {most} files and {limit} "
            "GiB",
            place=place,
            members=members,
            size=size,
            most=MOST_MEMBERS,
            limit=MOST_BYTES >> 30,
        )


def _files(sweep_dir: Path) -> Iterator[Path]:
    """The records, what tells of records that are gone, and the report."""
    for path in sorted(sweep_dir.rglob("*")):
        if path.is_file() and not path.is_symlink() and _is_packed(PurePosixPath(path.relative_to(sweep_dir))):
            yield path


def _is_packed(place: PurePosixPath) -> bool:
    """Whether a file of a sweep belongs into an archive, by where it lies in its folder."""
    if any(part.startswith(".") for part in place.parts):
        return False
    if place.parts[0] == DAMAGED:
        return f".{paths.RECORD}" in place.name
    return place.parts[0] == REPORT or (place.parts[0] not in LEFT_OUT and place.name.endswith((*RECORDS, SEAL_COPY)))


def _json(value: Mapping[str, object]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def environment() -> dict[str, object]:
    """What is installed here, with the version of each package, and the fonts for letters that matplotlib's lacks."""
    installed = {str(d.metadata["Name"]): d.version for d in metadata.distributions() if d.metadata["Name"]}
    python, machine = platform.python_version(), platform.machine()
    return {"python": python, "machine": machine, "installed": installed, "fonts": east_asian_fonts()}


def _read_me(name: str, archive: str, files: list[str], beside: Sequence[str]) -> str:
    """What is in the archive, the command of every table, and what lay ``beside`` the sweep."""
    tables = [file for file in files if file.startswith(f"{REPORT}/")]
    report, decide = command_line(["report", "FOLDER"]), command_line(["decide", "FOLDER"])
    # In every language, and the tables of a paper only beside the published ones.
    command = {paths.DECISION: decide, paths.CHECKLIST: decide, paths.PAPER: f"{report} --paper CSV"}
    lines = [
        f"# Sweep {name}",
        "",
        f"`{command_line(['verify', archive])}` checks every hash and computes every table again from the records.",
        "By hand: unpack into a folder, which is FOLDER here, install the versions of environment.json, and run",
        "",
        "| file | command |",
        "| --- | --- |",
        *(f"| {file} | `{command.get(PurePosixPath(paths.in_english(file)).stem, report)}` |" for file in tables),
        "",
        "Seeds, configurations and fingerprints of the data stand in the records; the data are not in here. Users and "
        "items are numbers.",
        f"What the sweep was asked for stands in {MANIFEST} under `command`.",
    ]
    if beside:
        lines += ["", "Sweeps beside this one when it was packed, which are not in here:", ""]
        lines += [f"- {said}" for said in beside]
    return "\n".join(lines) + "\n"


class _Directory(io.FileIO):
    """An archive whose list of members is read in one piece: no more of it than so many members need."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:  # what is left: the few bytes at the end that say where the list lies
            size = os.fstat(self.fileno()).st_size - self.tell()
        if size > MOST_DIRECTORY:
            raise zipfile.BadZipFile(Message("its list of members is too long"))
        return super().read(size)


def unpack(archive: Path, folder: Path) -> list[Finding]:
    """Unpack an archive into an empty folder, block by block, and check its hashes.

    Raises:
        ValueError: if it is no archive of a sweep, is larger than one may be, or a name in it leads out of the folder.
    """
    try:
        with _Directory(os.fspath(archive)) as raw, zipfile.ZipFile(raw) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            _check_members(archive, members)
            hashes = {member.filename: _extract(opened, member, folder / member.filename) for member in members}
    except Refusal:
        raise
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, NotImplementedError) as error:
        raise Refusal("{archive} is no archive of a sweep: {error}", archive=archive, error=error) from error
    return list(_hashes(hashes, bounds.read_json(folder / HASHES, MOST_HASHES)))


def _check_members(archive: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse an archive before anything of it is written."""
    names = {member.filename for member in members}
    for member in members:
        name, place = member.filename, PurePosixPath(member.filename)
        if place.is_absolute() or ".." in place.parts or "\\" in name or not place.parts:
            raise Refusal(
                "{archive} holds the name {name!r}, which leads out of its folder", archive=archive, name=name
            )
        if str(place) != name or not name.isprintable() or any(part.startswith(".") for part in place.parts):
            raise Refusal("{archive} holds the name {name!r}, which no sweep holds", archive=archive, name=name)
        if member.flag_bits & ENCRYPTED:
            raise Refusal("{archive}: {name} is encrypted", archive=archive, name=name)
        if member.compress_type not in COMPRESSIONS:
            raise Refusal(
                "{archive}: {name} is compressed in a way that bundle does not use", archive=archive, name=name
            )
        if stat.S_ISLNK(member.external_attr >> 16):
            raise Refusal("{archive}: {name} is a link", archive=archive, name=name)
    if len(names) < len(members):
        raise Refusal("{archive} holds a name twice", archive=archive)
    if HASHES not in names or MANIFEST not in names:
        raise Refusal(
            "{archive} is no archive of a sweep: it holds no {hashes} or no {manifest}",
            archive=archive,
            hashes=HASHES,
            manifest=MANIFEST,
        )
    size = sum(member.file_size for member in members)
    _check_amount(archive, len(members), size)
    bounds.check_unpacked(archive, archive.stat().st_size, size, LEAST_BYTES)


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, place: Path) -> str:
    """Write a member and return its hash; not more than its header announces ever comes out of it."""
    digest = hashlib.sha256()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(member) as source, place.open("xb") as target:
            while block := source.read(BLOCK):
                digest.update(block)
                target.write(block)
    except OSError as error:
        raise Refusal("{name} cannot be unpacked: {error}", name=member.filename, error=reason(error)) from error
    return digest.hexdigest()


def _hashes(found: Mapping[str, str], expected: Any) -> Iterator[Finding]:
    if not isinstance(expected, dict) or not all(isinstance(value, str) for value in expected.values()):
        raise Refusal("{hashes} is no list of hashes", hashes=HASHES)
    for name in sorted(found.keys() | expected.keys()):
        if name == HASHES:
            continue
        if name not in found or name not in expected:
            yield Finding(
                name, False, MISSING if name not in found else Message("not listed in {hashes}", hashes=HASHES)
            )
        elif found[name] != expected[name]:
            yield Finding(name, False, Message("its hash is another"))
        elif name not in (READ_ME, ENVIRONMENT) and not _is_packed(PurePosixPath(name)):
            yield Finding(name, False, NOT_PACKED)
