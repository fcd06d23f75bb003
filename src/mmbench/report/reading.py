"""From the manifest and records of a sweep to its table of cells."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from mmbench import extensions, fingerprint, paths
from mmbench.audit import consistency, standing
from mmbench.audit.root import root_of
from mmbench.data.planted import is_made_up
from mmbench.evaluation import metrics
from mmbench.inference.contrast import Contrast
from mmbench.messages import Message, Refusal, conjoined, listed
from mmbench.report.table import CONDITIONS, LATE, CellResult, SweepTable, Tuned, another_class, exhausts, given_from
from mmbench.scheduling.trust import NOTHING, Trust
from mmbench.store import ledger, records
from mmbench.store.records import CellStore
from mmbench.store.schema import ID_ONLY, Cell, Manifest, PlannedCell, training_rule


def check_sweep(sweep_dir: Path, trust: Trust) -> None:
    """Refuse a folder without a manifest, naming the sweeps beside it, and one that leads out of itself.

    Raises:
        ValueError: for such a folder, and for a ledger that is no file.
        IsADirectoryError: for a manifest that is a folder.
    """
    file = paths.manifest_file(sweep_dir)
    if file.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    if not file.is_file():
        known = sorted(p.parent.name for p in sweep_dir.parent.glob(f"*/{file.name}") if p.is_file())
        raise Refusal(
            "{sweep_dir} is no sweep (no {file}); sweeps beside it: {sweeps}",
            sweep_dir=sweep_dir,
            file=file.name,
            sweeps=listed(known),
        )
    trust.check_folder(sweep_dir)
    ledger.check(sweep_dir)  # it is read last, when everything has been computed


def read_sweep(sweep_dir: Path, trust: Trust = NOTHING, audited: bool = True) -> SweepTable:
    """Read the records of a sweep against its manifest.

    Args:
        sweep_dir: folder of the sweep.
        trust: what may be used because a record names it.
        audited: whether an audit that is kept beside the records counts.

    Raises:
        ValueError: if the folder has no manifest, or leads out of itself.
    """
    check_sweep(sweep_dir, trust)
    manifest = records.read(paths.manifest_file(sweep_dir), Manifest)
    for name in (*manifest.metrics, manifest.primary):
        if metrics.is_own(metric := metrics.check_name(name)[0]):
            trust.check_import(extensions.METRICS, metric, metrics.SETTING)
    cells = {}
    for planned in manifest.cells:
        result = replace(_read_cell(sweep_dir, planned), tiers=tuple(planned.tiers))
        cells[result.dataset, result.model, result.modality] = result
    cells |= {key: cell for key, cell in late_ensembles(cells.values()).items() if key not in cells}
    conditions = _ordered({modality for _, _, modality in cells} | set(manifest.modalities))
    # Not the order of the manifest's cells, which no revision's hash covers.
    return SweepTable(
        manifest.name,
        manifest.budget,
        tuple(manifest.metrics),
        conditions,
        cells,
        sweep_dir,
        tuple(map(Contrast.parse, manifest.contrasts)),
        manifest.delta,
        manifest.primary,
        standing.read(sweep_dir, root_of(sweep_dir), consistency.check(sweep_dir), audited),
        manifest.plan_hash if manifest.revisions else "",
        trust=trust,
        revisions=manifest.first_planned(),
        opened=manifest.first_opened(),
        aims={dataset: data.target for dataset, data in manifest.data.items()},
    )


def late_ensembles(cells: Iterable[CellResult]) -> dict[tuple[str, str, str], CellResult]:
    """The late ensemble of every model that has a result for each modality of the dataset alone.

    Cells of other seeds, splits or effort are not mixed.
    """
    singles: dict[tuple[str, str], dict[str, CellResult]] = {}
    for cell in sorted(cells, key=lambda c: c.modality == c.only):  # the condition called like its modality is the one
        if cell.only and cell.status == "done":
            singles.setdefault((cell.dataset, cell.model), {})[cell.only] = cell
    ensembles = {}
    for (dataset, model), by_modality in singles.items():
        parts = tuple(by_modality[name] for name in sorted(by_modality))
        alike = len({(part.seeds, part.test_hash, part.effort) for part in parts}) == 1
        if alike and len(parts) > 1 and len(parts) == len(parts[0].modalities):
            names = conjoined([part.modality for part in parts])
            ensembles[dataset, model, LATE] = replace(
                parts[0],
                modality=LATE,
                folder=parts[0].folder.parent,
                reason=Message("averages {conditions}", conditions=names),
                only="",
                parts=parts,
            )
    return ensembles


def _ordered(conditions: Iterable[str]) -> tuple[str, ...]:
    def place(name: str) -> tuple[int, str]:
        return (CONDITIONS.index(name) if name in CONDITIONS else len(CONDITIONS), name)

    return tuple(sorted((c for c in conditions if c != ID_ONLY), key=place))


def _read_cell(sweep_dir: Path, planned: PlannedCell) -> CellResult:
    folder = paths.cell_dir(sweep_dir, *planned.name)
    if str(folder.relative_to(sweep_dir)) != planned.folder:
        raise Refusal(
            "{file}: the folder of {cell} is {folder} and nowhere else",
            file=paths.manifest_file(sweep_dir),
            cell=planned.name,
            folder=folder.relative_to(sweep_dir),
        )
    store = CellStore(sweep_dir, folder, planned.key)
    made_up = is_made_up(planned.dataset)
    if not paths.cell_file(folder).exists():
        return CellResult(*planned.name, "missing", folder, made_up=made_up)
    if not store.is_current():
        why = Message("its records belong to other data or settings")
        return CellResult(*planned.name, "stale", folder, why, made_up=made_up)
    cell = records.read(paths.cell_file(folder), Cell)
    made_up, data = is_made_up(planned.dataset, cell.data), cell.config["dataset"]["name"]
    config, states, n_trials = cell.config, cell.states, cell.effort.trials
    tuned = Tuned(
        config["budget"]["name"],
        n_trials,
        cell.effort.seeds,
        config["budget"]["max_steps"],
        fingerprint.of_json(training_rule(config["budget"])),
        exhausts(cell, n_trials),
    )
    if (failure := store.failure()) is not None:
        return CellResult(*planned.name, "failed", folder, failure.reason, data=data, made_up=made_up, tuned=tuned)
    choice, seal = store.choice(), store.seal()
    if choice is None or seal is None or not cell.effort.is_met_by(choice, seal):
        return CellResult(*planned.name, "missing", folder, data=data, made_up=made_up, tuned=tuned)
    given = () if cell.given is None else given_from(cell)
    effort = fingerprint.of_json(
        {
            **{name: config[name] for name in ("model", "search", "optimizer")},
            "rule": training_rule(config["budget"]),
            "trials": choice.n_trials,
            **({"given": [*given, config["given"]["trials"]]} if given else {}),
            **({"validation": cell.sample.users} if cell.sample else {}),
        }
    )
    missing = config["modality"].get("missing", {})
    kept = [name for name, state in states.items() if state != "drop"]
    alone = kept[0] if len(kept) == 1 and states[kept[0]] == "real" and not missing.get(kept[0]) else ""
    seeds = tuple(seal.finals)
    return CellResult(
        *planned.name,
        "done",
        folder,
        "",
        seeds,
        seal.test_hash,
        effort,
        data,
        tuple(states),
        alone,
        given=given,
        external=cell.is_external,
        another_class=another_class(cell),
        sample=cell.sample,
        made_up=made_up,
        tuned=tuned,
    )
