"""The only place that knows where things lie."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from mmbench.messages import Refusal

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


def slug(parts: Iterable[str], limit: int = 60) -> str:
    """Join ``parts`` to a name that every file system accepts; one that had to change ends in a hash of the whole."""
    whole = "_".join(parts)
    kept = "".join(c if c.isalnum() or c in "-.=_" else "-" for c in whole).lstrip(".") or "-"
    if kept == whole and len(kept) <= limit:
        return kept
    return f"{kept[: limit - 7]}-{hashlib.sha256(whole.encode()).hexdigest()[:6]}"


def manifest_file(sweep_dir: Path) -> Path:
    """The plan of a sweep."""
    return sweep_dir / "manifest.json"


def ledger_file(sweep_dir: Path) -> Path:
    """The append-only list of every training of a sweep."""
    return sweep_dir / "ledger.jsonl"


def graph_dir(sweep_dir: Path) -> Path:
    """Where large item graphs of a sweep are kept for its workers; it can be deleted at any time."""
    return sweep_dir / ".graphs"


def report_dir(sweep_dir: Path) -> Path:
    """Where tables and figures of a sweep are written."""
    return sweep_dir / "report"


def cell_dir(sweep_dir: Path, dataset: str, model: str, modality: str) -> Path:
    """The folder of one cell: dataset, model and modality condition."""
    return sweep_dir / slug([dataset]) / slug([model]) / slug([modality])


def extension_file(sweep_dir: Path, dataset: str, model: str) -> Path:
    """How many trials the conditions of a model get, and why."""
    return sweep_dir / slug([dataset]) / slug([model]) / "extension.json"


def trial_file(cell: Path, slot: int, ending: str) -> Path:
    """A file of one trial, for example ``trials/003.json``."""
    return cell / "trials" / f"{slot:03d}.{ending}"


def proposal_file(cell: Path, place: int, ending: str) -> Path:
    """A file of one trial that TPE proposed, for example ``proposals/003.json``."""
    return cell / "proposals" / f"{place:03d}.{ending}"


def final_file(cell: Path, seed: int, ending: str) -> Path:
    """A file of one final run, for example ``finals/seed2.json``."""
    return cell / "finals" / f"seed{seed}.{ending}"


def cache_dir() -> Path:
    """Where vectors of encoders are kept between commands: ``$XDG_CACHE_HOME/mmbench`` or ``~/.cache/mmbench``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmbench"
