"""The only place that knows where things lie."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from mmbench.messages import LANGUAGES, Refusal

PACKAGE = Path(__file__).resolve().parent


def config_dir() -> Path:
    """Return the Hydra configuration folder: inside the wheel, or at the top of a source checkout."""
    candidates = (PACKAGE / "conf", PACKAGE.parents[1] / "conf")
    for folder in candidates:
        if (folder / "config.yaml").is_file():
            return folder
    raise Refusal(
        "no configuration folder: looked for config.yaml in {places}", places=" and ".join(map(str, candidates))
    )


def demo_dir() -> Path:
    """Return the folder with the order lines of the demo: inside the wheel, or at the top of a source checkout."""
    inside, checkout = PACKAGE / "demo", PACKAGE.parents[1] / "demo"
    return inside if inside.is_dir() else checkout


#: Letters of the longest name that :func:`slug` makes, where it is not asked for another length.
LONGEST_SLUG = 60


def slug(parts: Iterable[str], limit: int = LONGEST_SLUG) -> str:
    """Join ``parts`` to a name that every file system accepts; one that had to change ends in a hash of the whole.

    >>> slug(["fused", "missing.image=0.5"])
    'fused_missing.image=0.5'
    >>> slug(["a/b"])
    'a-b-c14cdd'
    """
    whole = "_".join(parts)
    kept = "".join(c if c.isalnum() or c in "-.=_" else "-" for c in whole).lstrip(".") or "-"
    if kept == whole and len(kept) <= limit:
        return kept
    return f"{kept[: limit - 7]}-{hashlib.sha256(whole.encode()).hexdigest()[:6]}"


def tuned_dir(config: Path) -> Path:
    """Where a folder of configurations holds those that sweeps have tuned, a folder per data set."""
    return config / "tuned"


def tuned_file(folder: Path, model: str, modality: str) -> Path:
    """The tuned configuration of a model and condition, in the folder of a data set."""
    return folder / slug([model]) / f"{slug([modality])}.yaml"


def manifest_file(sweep_dir: Path) -> Path:
    """The plan of a sweep."""
    return sweep_dir / "manifest.json"


def ledger_file(sweep_dir: Path) -> Path:
    """The append-only list of every training of a sweep."""
    return sweep_dir / "ledger.jsonl"


def damaged_dir(sweep_dir: Path) -> Path:
    """Where files are kept that a power cut or a disk left empty, cut or overwritten, laid out as in the sweep."""
    return sweep_dir / "damaged"


def copy_of(file: Path) -> Path:
    """The second copy of a file that nothing could compute again."""
    return file.with_name(f"{file.name}.copy")


def hydra_file(sweep_dir: Path, what: str) -> Path:
    """Where Hydra's users look for the ``config`` of the first job and the ``overrides`` of the command."""
    return sweep_dir / ".hydra" / f"{what}.yaml"


def graph_dir(sweep_dir: Path) -> Path:
    """Where large item graphs of a sweep are kept for its workers; it can be deleted at any time."""
    return sweep_dir / ".graphs"


def lease_dir(sweep_dir: Path) -> Path:
    """Where workers that share a folder say what they are running."""
    return sweep_dir / "leases"


def identity_file(sweep_dir: Path) -> Path:
    """What tells a sweep from others of its name where leases or runs of many sweeps lie together."""
    return sweep_dir / ".identity"


def crash_file(sweep_dir: Path, training: str) -> Path:
    """Where the crashes of workers that held a training are noted, by the name of its lease."""
    return lease_dir(sweep_dir) / f"{training}.crashes"


def lock_file(sweep_dir: Path, what: str) -> Path:
    """A file that commands lock while they change something of a sweep: its ``manifest``, or the whole ``plan``."""
    return sweep_dir / f".{what}.lock"


def slurm_dir(sweep_dir: Path) -> Path:
    """Where SLURM allocations write their logs, a folder per allocation."""
    return sweep_dir / "slurm"


#: Folders of a sweep in which trackers keep their files.
MIRRORS = ("wandb", "mlflow", "tensorboard", "csv")
#: Names of folders that every sweep may have, which no data set can have.
RESERVED = (*MIRRORS, "report", "leases", "damaged", "slurm")


def mirror_dir(sweep_dir: Path, tracker: str) -> Path:
    """Where one of :data:`MIRRORS` keeps its files."""
    return sweep_dir / tracker


def mirrored_run_dir(sweep_dir: Path, tracker: str, cell: Iterable[str] | None, title: str) -> Path:
    """The folder of one run of a tracker that writes files: of a training or the study of a cell, or the summary."""
    return mirror_dir(sweep_dir, tracker).joinpath(*(slug([part]) for part in cell or ()), slug([title]))


def audit_file(sweep_dir: Path) -> Path:
    """What an audit of the sweep has shown."""
    return sweep_dir / "audit.json"


def report_dir(sweep_dir: Path) -> Path:
    """Where tables and figures of a sweep are written."""
    return sweep_dir / "report"


#: Names of the report's files without their endings: its index, its documents, and the pages of a decision.
INDEX, FAIRNESS, SUBMISSION = "report", "fairness", "submission"
TABLE, VERDICTS, BENCHMARK, CONTRIBUTION, PAPER = "table", "verdicts", "benchmark", "contribution", "paper"
NEW_ITEMS = "new_items"
DECISION, CHECKLIST = "decision", "checklist"
#: The page of a decision as it is passed on: its items have numbers instead of titles, and no pictures.
WITHOUT_TITLES = "decision-without-titles"


def page(name: str, lang: str, asked: str) -> str:
    """File of a page in a language; those of the language that was asked for have the plain name."""
    return f"{name}.html" if lang == asked else f"{name}.{lang}.html"


def document(name: str, ending: str, lang: str) -> str:
    """File of a text in a language; those in English, which an archive is checked by, have the plain name."""
    return f"{name}.{ending}" if lang == "en" else f"{name}.{lang}.{ending}"


def in_language(folder: Path, file: str, lang: str) -> str:
    """Name of what stands in a folder for a file in a language: of its own, or the plain one."""
    stem, _, ending = file.rpartition(".")
    own = f"{stem}.{lang}.{ending}"
    return own if (folder / own).exists() else file


def in_english(file: str) -> str:
    """Name in English of a file of a report, whatever its language."""
    stem, _, ending = file.rpartition(".")
    for lang in LANGUAGES:
        stem = stem.removesuffix(f".{lang}")
    return f"{stem}.{ending}"


def decision_file(sweep_dir: Path) -> Path:
    """The record of a decision on images."""
    return report_dir(sweep_dir) / f"{DECISION}.json"


def signal_file(multirun: Path, dataset: str) -> Path:
    """The record of a pre-test of a data set, in a folder of its own beside the sweeps."""
    return multirun / slug([f"signal-{dataset}"]) / "signal.json"


def walk_file(multirun: Path, name: str) -> Path:
    """How far the walk from files to a decision has come, in a folder of its own beside the sweeps."""
    return multirun / slug([f"start-{name}"]) / "start.json"


def cell_dir(sweep_dir: Path, dataset: str, model: str, modality: str) -> Path:
    """The folder of one cell: dataset, model and modality condition."""
    return sweep_dir / slug([dataset]) / slug([model]) / slug([modality])


def cell_file(cell: Path) -> Path:
    """What a cell is about."""
    return cell / "cell.json"


def choice_file(cell: Path) -> Path:
    """The configuration that validation chose."""
    return cell / "choice.json"


def seal_file(cell: Path) -> Path:
    """The record of the opened test split."""
    return cell / "sealed.json"


def failure_file(cell: Path) -> Path:
    """Why a cell has no result."""
    return cell / "failure.json"


def look_dir(cell: Path, number: int) -> Path:
    """Where the choice and the seal of an earlier opening of the test split are kept, numbered from 1."""
    return cell / "looks" / str(number)


def looks_kept(cell: Path) -> int:
    """How many earlier openings of the test split are kept; they are numbered without a gap."""
    return len(list((cell / "looks").glob(f"*/{seal_file(cell).name}")))


def seal_copy(cell: Path) -> Path:
    """The copy of the seal of a cell, which is written where the seal will be kept once effort is raised.

    It also says that the test split has been opened, should the seal be lost.
    """
    return copy_of(seal_file(look_dir(cell, looks_kept(cell) + 1)))


def seals_of(cell: Path) -> list[Path]:
    """Every seal of a cell: its own and those of earlier looks, in its folder and in those set aside.

    Each lies where a command puts it. Elsewhere below the cell a file of that name is read by nothing and is no look.
    """
    found: list[Path] = []
    for folder in (cell, *set_aside_dirs(cell)):
        looks = [look_dir(folder, number) for number in range(1, looks_kept(folder) + 1)]
        last = seal_file(folder)
        found += [*map(seal_file, looks), last if last.exists() else seal_copy(folder)]
    return [file for file in found if file.exists()]


def damaged_seals(sweep_dir: Path, cell: Path) -> list[Path]:
    """Seals of a cell, its own and those of earlier looks, among the damaged files."""
    found: list[Path] = []
    damaged = damaged_dir(sweep_dir) / cell.relative_to(sweep_dir)
    for folder in (damaged, *set_aside_dirs(damaged)):
        for place in (folder, *(folder / "looks").glob("*")):
            found += place.glob(f"{seal_file(place).name}*")  # a copy may be damaged too, and one more than once
    return found


def aside_dir(cell: Path, configuration_hash: str) -> Path:
    """Where final runs of a configuration that is no longer the choice are kept, laid out as in the cell itself."""
    return cell / "aside" / slug([configuration_hash])


def aside_dirs(cell: Path) -> list[Path]:
    """Every folder of :func:`aside_dir` that a cell has."""
    return sorted((cell / "aside").glob("*"))


def cell_files(sweep_dir: Path) -> list[Path]:
    """Records of all cells of a sweep, planned or set aside."""
    return sorted(sweep_dir.glob(f"*/*/*/{cell_file(sweep_dir).name}"))


def cell_dirs(sweep_dir: Path) -> list[Path]:
    """Folders of all cells of a sweep, planned or set aside, whatever is left in them."""
    known = {cell_file(sweep_dir).name, choice_file(sweep_dir).name, seal_file(sweep_dir).name, "trials"}
    found = {file.parent for name in known for file in sweep_dir.glob(f"*/*/*/{name}")}
    return sorted(folder for folder in found if damaged_dir(sweep_dir) not in folder.parents)


#: Ends the name of a cell's folder that was set aside, before the beginning of its key.
STALE = ".stale-"


def set_aside_dirs(cell: Path) -> list[Path]:
    """Folders in which earlier records of a cell were set aside, in the order of those of one key."""
    return sorted(cell.parent.glob(f"{cell.name}{STALE}*"), key=lambda folder: (len(folder.name), folder.name))


def stale_dirs(sweep_dir: Path) -> list[Path]:
    """Folders of cells that were set aside: begun afresh, or with other data or settings."""
    return sorted(file.parent for file in cell_files(sweep_dir) if STALE in file.parent.name)


def damaged_records(sweep_dir: Path, cell: Path, stage: str, number: int) -> list[Path]:
    """Records of one training of a cell among the damaged files, with those of final runs and cells set aside."""
    record = training_file(cell, stage, number, RECORD)
    place = damaged_dir(sweep_dir) / cell.relative_to(sweep_dir)
    found = (file for folder in (place, *set_aside_dirs(place)) for file in folder.rglob(f"{record.name}*"))
    return sorted(file for file in found if file.parent.name == record.parent.name)


def recommendations_file(cell: Path) -> Path:
    """The best items of every user with raw ids, where they were asked for."""
    return cell / "recommendations.csv"


#: Where the files of a training lie in the folder of its cell, by stage.
TRAINING_FILES = {"tune": "trials/{:03d}", "extended": "proposals/{:03d}", "final": "finals/seed{}"}
#: Endings of the files of a training.
RECORD, VALIDATION, STATE, RANKS, LISTS = "json", "valid.parquet", "state.npz", "test.parquet", "lists.parquet"


@functools.lru_cache(4096)  # a look for work names every training of a cell
def training_file(cell: Path, stage: str, number: int, ending: str) -> Path:
    """A file of one training, for example ``trials/003.json``, ``proposals/000.json`` or ``finals/seed2.json``.

    Args:
        cell: folder of the cell.
        stage: one of :data:`TRAINING_FILES`.
        number: slot of a trial, place of a proposal, number of a final run.
        ending: one of the endings above, or :func:`shuffled_ranks`.
    """
    return cell / f"{TRAINING_FILES[stage].format(number)}.{ending}"


def final_file(cell: Path, seed: int, ending: str) -> Path:
    """A file of one final run, for example ``finals/seed2.json``."""
    return training_file(cell, "final", seed, ending)


def training_files(cell: Path, stage: str, number: int) -> list[Path]:
    """All files of one training, its record last."""
    record = training_file(cell, stage, number, RECORD)
    found = record.parent.glob(f"{record.name.removesuffix(RECORD)}*")
    return sorted(found, key=lambda file: (file == record, file.name))


def training_records(cell: Path, stage: str) -> list[Path]:
    """Records of all trainings of a stage, by their names."""
    return [file for file in _beside_records(cell, stage) if is_of_training(file)]


def misnamed_records(cell: Path, stage: str) -> list[Path]:
    """What lies among the records of a stage as JSON under another name: a note, a synchroniser's second copy."""
    return [file for file in _beside_records(cell, stage) if not is_of_training(file)]


def tables_of_trainings(cell: Path, ending: str) -> list[Path]:
    """Test ranks or lists of all trainings of a cell: every file of this ending that is one of a training.

    Args:
        cell: folder of the cell.
        ending: :data:`RANKS`, with those among other candidates or of other features, or :data:`LISTS`.
    """
    places = ((cell / pattern).parent for pattern in TRAINING_FILES.values())
    return sorted(file for place in places for file in place.glob(f"*.{ending}") if is_of_training(file))


def _beside_records(cell: Path, stage: str) -> list[Path]:
    return sorted((cell / TRAINING_FILES[stage]).parent.glob(f"*.{RECORD}"))


def is_of_training(file: Path) -> bool:
    """Whether a file has the place and the name of one that :func:`training_file` names."""
    stem, _, ending = file.name.partition(".")
    digits = re.sub("[^0-9]", "", stem)
    named = [pattern.format(int(digits)) for pattern in TRAINING_FILES.values()] if digits else []
    known = ending in (RECORD, VALIDATION, STATE, RANKS, LISTS) or ending.partition(".")[2] == RANKS
    return known and f"{file.parent.name}/{stem}" in named


def is_of_cell(file: Path) -> bool:
    """Whether a file in the folder of a cell has a name that a command gives, and is nobody else's."""
    own = (cell_file, choice_file, seal_file, failure_file, recommendations_file)
    names = {name(file.parent) for name in own}
    return file in names or file in map(copy_of, names) or is_of_training(file)


def ranks_among(candidates: str) -> str:
    """Ending of the test ranks of a final run among ``cold``, ``warm`` or ``all`` candidates."""
    return f"{candidates}.{RANKS}"


def shuffled_ranks(modality: str) -> str:
    """Ending of the test ranks of a final run with one modality shuffled at inference."""
    return f"shuffled_{modality}.{RANKS}"


def shuffled_modalities(cell: Path, seed: int) -> list[str]:
    """Modalities that a final run was scored with shuffled at inference, in order."""
    pattern = final_file(cell, seed, shuffled_ranks("*"))
    before, after = pattern.name.split("*")
    return sorted(file.name.removeprefix(before).removesuffix(after) for file in pattern.parent.glob(pattern.name))


def data_roots() -> tuple[Path, ...]:
    """Folders below which a command that reads a sweep looks for its data: where it runs, and ``$MMBENCH_DATA``."""
    return Path.cwd(), Path(os.environ.get("MMBENCH_DATA") or "data")


def cache_dir() -> Path:
    """What is kept between commands outside of sweeps: ``$XDG_CACHE_HOME/mmbench`` or ``~/.cache/mmbench``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmbench"


def audit_cache_dir(root: str) -> Path:
    """What an audit that was stopped has shown of the records with a root."""
    return cache_dir() / "audits" / root
