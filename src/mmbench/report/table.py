"""The benchmark table as data: a row per model, a column per condition, every number traced to its records."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmbench import ensemble, fingerprint, metrics, paths, records, stats
from mmbench.messages import Refusal
from mmbench.metrics import RankedPairs, Ranking
from mmbench.sealed import LIST_LENGTH
from mmbench.tracking import Gap

PRIMARY = "ndcg@20"
#: The row that no cell runs: averaged ranks of the single-modality conditions.
LATE = "late"
CONDITIONS = ("none", "text", "image", "audio", "fused", LATE, "shuffled", "text_shuffled_image", "image_shuffled_text")
ID_ONLY = "-"
Pair = tuple[str, str]
#: Planned contrasts, A against B, of a manifest that names none (METHOD §3.3: C1, C3, C4, C5; C2 is in the row of C1).
CONTRASTS: tuple[Pair, ...] = (
    ("fused", "text"),
    ("image", "none"),
    ("text", "none"),
    ("fused", "text_shuffled_image"),
)
#: Equivalence margin of a manifest that names none.
DELTA = 0.02
#: Relative changes that the table prints: condition against reference.
AGAINST = ("none", "fused")


@dataclass(frozen=True)
class CellResult:
    """One cell of the table.

    Args:
        dataset: its dataset.
        model: its model.
        modality: its condition, ``-`` for a model that ignores content.
        status: ``done``, ``failed``, ``missing`` (planned, not run) or ``stale`` (records of other data or settings).
        folder: where its records lie.
        reason: why it failed.
        seeds: seeds of the final runs.
        test_hash: fingerprint of the test split.
        effort: fingerprint of model, search space, optimizer and budget: what conditions that are compared must share.
        data: name of the data set whatever its split, for splits of one data set share its users.
        modalities: those of the dataset.
        only: the one modality that the condition keeps, as it is; empty for any other condition.
        tiers: those that the model's YAML declares.
        parts: cells whose lists this one averages, by modality name; no cell has run then.
    """

    dataset: str
    model: str
    modality: str
    status: str
    folder: Path
    reason: str = ""
    seeds: tuple[int, ...] = ()
    test_hash: str = ""
    effort: str = ""
    data: str = ""
    modalities: tuple[str, ...] = ()
    only: str = ""
    tiers: tuple[str, ...] = ()
    parts: tuple[CellResult, ...] = ()

    @functools.cached_property
    def tested(self) -> list[Ranking]:
        """Test ranks of each final seed with their users and items."""
        return [records.read_tested(paths.final_file(self.folder, seed, "test.parquet")) for seed in self.seeds]

    @functools.cached_property
    def rankings(self) -> list[RankedPairs]:
        """Test ranks of each final seed."""
        if self.parts:
            runs = [[records.read_final(part.folder, seed) for part in self.parts] for seed in self.seeds]
            return [ensemble.late(rankings) for rankings in runs]
        return [ranking.pairs for ranking in self.tested]

    @functools.cached_property
    def states(self) -> Mapping[str, str]:
        """State of each modality; empty where a part of the items lost its content or nothing was run."""
        if self.parts:
            return {}
        described = records.read_json(self.folder / "cell.json")
        thinned = any(described["config"].get("modality", {}).get("missing", {}).values())
        return {} if thinned else dict(described.get("states", {}))

    def reaches(self, metric: str) -> bool:
        """Whether a metric is known: averaged lists say nothing of ranks beyond their length."""
        return not self.parts or metrics.check_name(metric)[1] <= LIST_LENGTH

    def per_user(self, metric: str) -> NDArray[np.float64]:
        """A metric of every test user and seed, ``(n_users, n_seeds)``."""
        return np.stack([metrics.per_user(pairs, metric) for pairs in self.rankings], axis=1)

    def by_seed(self, metric: str) -> NDArray[np.float64]:
        """A metric averaged over users, ``(n_seeds,)``."""
        return self.per_user(metric).mean(axis=0)

    def mean(self, metric: str) -> float:
        """A metric averaged over users and seeds."""
        return float(self.by_seed(metric).mean())

    def spread(self, metric: str) -> float | None:
        """Standard deviation over seeds; None with one seed, which measures no training noise."""
        return float(self.by_seed(metric).std(ddof=1)) if len(self.seeds) > 1 else None


@dataclass(frozen=True)
class SweepTable:
    """All cells of a sweep.

    Args:
        name: name of the sweep.
        budget: its budget section.
        metrics: metrics to print.
        conditions: conditions asked for, in table order.
        cells: result by (dataset, model, modality).
        folder: folder of the sweep.
        contrasts: planned contrasts, A against B, in table order.
        delta: equivalence margin, fixed before the sweep ran.
        text: all tables as plain text, filled by the writer.
        words: verdict by name of the contrast, filled by the writer.
    """

    name: str
    budget: Mapping[str, Any]
    metrics: tuple[str, ...]
    conditions: tuple[str, ...]
    cells: Mapping[tuple[str, str, str], CellResult]
    folder: Path
    contrasts: tuple[Pair, ...] = CONTRASTS
    delta: float = DELTA
    text: str = ""
    words: Mapping[str, str] = field(default_factory=dict)

    def at(self, metric: str) -> SweepTable:
        """The table without what does not reach a metric."""
        cells = {key: cell for key, cell in self.cells.items() if cell.reaches(metric)}
        gone = {condition for _, _, condition in self.cells} - {condition for _, _, condition in cells}
        return replace(self, cells=cells, conditions=tuple(c for c in self.conditions if c not in gone))

    @property
    def datasets(self) -> list[str]:
        """Datasets in name order."""
        return sorted({dataset for dataset, _, _ in self.cells})

    def models(self, dataset: str) -> list[str]:
        """Models of a dataset: those that ignore content first, each group in name order."""
        rows = {m: c for d, m, c in self.cells if d == dataset}
        return sorted(rows, key=lambda model: ((dataset, model, ID_ONLY) not in self.cells, model))

    def tiers(self, dataset: str, model: str) -> tuple[str, ...]:
        """Tiers of a model, none for one that declares none."""
        return next(cell.tiers for (d, m, _), cell in self.cells.items() if (d, m) == (dataset, model))

    def result(self, dataset: str, model: str, condition: str) -> CellResult | None:
        """The cell of a condition; a model that ignores content has its one result under every condition."""
        return self.cells.get((dataset, model, ID_ONLY)) or self.cells.get((dataset, model, condition))

    def done(self, dataset: str, model: str, condition: str) -> CellResult | None:
        """The cell of a condition if it has a result."""
        result = self.result(dataset, model, condition)
        return result if result is not None and result.status == "done" else None

    def change(self, dataset: str, model: str, condition: str, against: str, metric: str) -> stats.Interval | None:
        """Relative change of a condition against another, over users and the seeds both have.

        None where one of them has no result, where both are the same cell, or where splits or effort differ.
        """
        a, b = self.done(dataset, model, condition), self.done(dataset, model, against)
        if a is None or b is None or a is b or not comparable(a, b) or b.mean(metric) == 0.0:
            return None
        return stats.relative_gain(a.per_user(metric), b.per_user(metric))

    def below_popularity(self, result: CellResult) -> bool:
        """Whether a result is below the popularity baseline of its dataset (which may not be in the sweep)."""
        baseline = self.done(result.dataset, "popularity", ID_ONLY)
        return baseline is not None and result is not baseline and result.mean(PRIMARY) < baseline.mean(PRIMARY)

    def ranked(self, dataset: str, condition: str, metric: str) -> list[str]:
        """Models with a result under a condition, best first."""
        results = {model: self.done(dataset, model, condition) for model in self.models(dataset)}
        return sorted(
            (model for model, result in results.items() if result),
            key=lambda m: -results[m].mean(metric),  # type: ignore[union-attr]
        )

    @property
    def gaps(self) -> list[Gap]:
        """Relative gain of every condition over every other one that the table or a contrast compares with."""
        found = []
        for dataset in self.datasets:
            for model in self.models(dataset):
                pairs = [("fused", c) for c in self.conditions] + [(c, "none") for c in self.conditions]
                for a, b in dict.fromkeys([*pairs, *self.contrasts]):
                    interval = self.change(dataset, model, a, b, PRIMARY) if a != b else None
                    if interval is not None:
                        whole = f"{dataset}/{model}/{a}_vs_{b}"
                        name = whole if len(self.datasets) > 1 else whole.removeprefix(f"{dataset}/")
                        word = self.words.get(whole, "")
                        found.append(Gap(name, interval.mean, interval.lo, interval.hi, word))
        return found


def comparable(a: CellResult, b: CellResult) -> bool:
    """Whether two results share final seeds, test split and effort."""
    return (a.seeds, a.test_hash, a.effort) == (b.seeds, b.test_hash, b.effort)


def read_sweep(sweep_dir: Path) -> SweepTable:
    """Read the records of a sweep against its manifest.

    Raises:
        ValueError: if the folder has no manifest.
    """
    file = paths.manifest_file(sweep_dir)
    if not file.is_file():
        known = sorted(p.parent.name for p in sweep_dir.parent.glob("*/manifest.json"))
        raise ValueError(f"{sweep_dir} is no sweep (no manifest.json); sweeps beside it: {', '.join(known) or 'none'}")
    manifest = records.read_json(file)
    cells = {}
    for planned in manifest["cells"]:
        result = replace(_read_cell(sweep_dir, planned), tiers=tuple(planned.get("tiers", ())))
        cells[result.dataset, result.model, result.modality] = result
    cells |= {key: cell for key, cell in late_ensembles(cells.values()).items() if key not in cells}
    conditions = _ordered({modality for _, _, modality in cells} | set(manifest["modalities"]))
    return SweepTable(
        manifest["name"],
        manifest["budget"],
        tuple(manifest["metrics"]),
        conditions,
        cells,
        sweep_dir,
        tuple(read_contrast(name) for name in manifest["contrasts"]) if "contrasts" in manifest else CONTRASTS,
        float(manifest.get("delta", DELTA)),
    )


def read_contrast(name: str) -> Pair:
    """The two conditions of a contrast such as ``fused_vs_text``.

    Raises:
        ValueError: for another form.
    """
    a, _, b = name.partition("_vs_")
    if not a or not b or a == b:
        raise Refusal("study", "no_contrast", name=repr(name))
    return a, b


def late_ensembles(cells: Iterable[CellResult]) -> dict[tuple[str, str, str], CellResult]:
    """The late ensemble of every model that has a result for each modality of the dataset alone.

    Cells of other seeds, splits or effort are not mixed.
    """
    singles: dict[tuple[str, str], dict[str, CellResult]] = {}
    for cell in sorted(cells, key=lambda c: c.modality == c.only):  # the condition called like its modality is the one
        if cell.only and cell.status == "done":
            singles.setdefault((cell.dataset, cell.model), {})[cell.only] = cell
    found = {}
    for (dataset, model), by_modality in singles.items():
        parts = tuple(by_modality[name] for name in sorted(by_modality))
        alike = len({(part.seeds, part.test_hash, part.effort) for part in parts}) == 1
        if alike and len(parts) > 1 and len(parts) == len(parts[0].modalities):
            names = " and ".join(part.modality for part in parts)
            found[dataset, model, LATE] = replace(
                parts[0], modality=LATE, folder=parts[0].folder.parent, reason=f"averages {names}", only="", parts=parts
            )
    return found


def _ordered(conditions: Iterable[str]) -> tuple[str, ...]:
    def place(name: str) -> tuple[int, str]:
        return (CONDITIONS.index(name) if name in CONDITIONS else len(CONDITIONS), name)

    return tuple(sorted((c for c in conditions if c != ID_ONLY), key=place))


def _read_cell(sweep_dir: Path, planned: Mapping[str, Any]) -> CellResult:
    folder = sweep_dir / planned["folder"]
    names = (planned["dataset"], planned["model"], planned["modality"])
    cell, failure, seal = folder / "cell.json", folder / "failure.json", folder / "sealed.json"
    if not cell.exists():
        return CellResult(*names, "missing", folder)
    description = records.read_json(cell)
    if description["key"] != planned["key"]:
        return CellResult(*names, "stale", folder, "its records belong to other data or settings")
    if failure.exists():
        return CellResult(*names, "failed", folder, records.read_json(failure)["reason"])
    if not seal.exists():
        return CellResult(*names, "missing", folder)
    sealed = records.read_json(seal)
    config = description["config"]
    effort = fingerprint.of_json({name: config[name] for name in ("model", "search", "optimizer", "budget")})
    states, missing = description["states"], config["modality"].get("missing", {})
    kept = [name for name, state in states.items() if state != "drop"]
    alone = kept[0] if len(kept) == 1 and states[kept[0]] == "real" and not missing.get(kept[0]) else ""
    seeds, data = tuple(sealed["finals"]), config["dataset"]["name"]
    return CellResult(*names, "done", folder, "", seeds, sealed["test_hash"], effort, data, tuple(states), alone)


def condition_columns(table: SweepTable) -> list[tuple[str, str]]:
    """Relative changes to print: (condition, reference) in table order."""
    present: Sequence[str] = table.conditions
    pairs = [(c, against) for against in AGAINST if against in present for c in present if c != against]
    return [("fused", LATE) if pair == (LATE, "fused") else pair for pair in pairs]
