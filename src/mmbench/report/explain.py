"""One verdict or one cell, every number traced down to the record files it comes from."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from mmbench import paths
from mmbench.inference import intervals
from mmbench.inference.intervals import CrossedInterval
from mmbench.inference.verdicts import MIN_SEEDS, Verdict, holds
from mmbench.report.comparisons import Comparison, read_contrasts
from mmbench.report.fairness_checks import ENOUGH_TRIALS, Group, read_groups
from mmbench.report.reading import read_sweep
from mmbench.report.table import PRIMARY, CellResult, SweepTable
from mmbench.report.verdict_table import reason
from mmbench.store import records
from mmbench.store.schema import Cell, Choice, FinalRun, Seal, Stage


def explainable(sweep_dir: Path) -> Mapping[str, Callable[[], str]]:
    """What can be explained by its name, and how.

    Names are ``<dataset>/<model>/<condition>_vs_<condition>`` of a planned contrast and
    ``<dataset>/<model>/<condition>`` of a cell.
    """
    table = read_sweep(sweep_dir)
    groups = read_groups(table, sweep_dir)
    comparisons = read_contrasts(table, groups)
    cells = {
        "/".join(key): functools.partial(_told, _cell, table, c, groups)
        for key, c in table.cells.items()
        if not c.parts
    }
    return cells | {c.name: functools.partial(_told, _contrast, table, c, comparisons, groups) for c in comparisons}


def _told(lines: Callable[..., Iterator[str]], *what: Any) -> str:
    return "\n".join(lines(*what)) + "\n"


def _cell(table: SweepTable, cell: CellResult, groups: Sequence[Group]) -> Iterator[str]:
    yield f"{cell.dataset}/{cell.model}/{cell.modality}: {cell.status}"
    yield from _records(table, "", cell)
    if cell.status == "done":
        spread = cell.spread(PRIMARY)
        sd = "not measured with one seed" if spread is None else f"{spread:.10g}"
        yield f"  standard deviation over seeds: {sd}"
        yield f"  below popularity: {'yes' if table.below_popularity(cell) else 'no'}"
    yield from _gates(cell, groups)


def _contrast(
    table: SweepTable, comparison: Comparison, comparisons: Sequence[Comparison], groups: Sequence[Group]
) -> Iterator[str]:
    yield f"{comparison.name}: {comparison.word}"
    yield f"  {reason(comparison)}"
    yield from _records(table, "A = ", comparison.a)
    yield from _records(table, "B = ", comparison.b)
    if comparison.gain is not None:
        yield from _gain(comparison, comparison.gain)
    if comparison.gain is not None and comparison.inference is not None:
        yield from _interval(comparison, comparison.gain)
        yield from _tests(table, comparison, comparison.gain)
        yield from _holm(
            [o for o in comparisons if (o.dataset, o.model) == (comparison.dataset, comparison.model)], comparison
        )
        yield from _benjamini_hochberg(comparisons, comparison)
    elif comparison.gain is not None:
        seeds = comparison.gain.seeds
        yield f"  seeds: {seeds}, fewer than {MIN_SEEDS}: training noise is not measured, nothing is inferred"
    if comparison.gain is not None:
        yield from _words(table, comparison, comparison.gain)
    yield from _gates(comparison.a, groups)


def _records(table: SweepTable, label: str, cell: CellResult) -> Iterator[str]:
    """Where a cell's numbers come from, its hashes and its mean by seed."""
    yield ""
    place = cell.folder.relative_to(table.folder)
    yield f"{label}{cell.modality}: {place}"
    if cell.status != "done":
        yield f"  {cell.status}{': ' + ' '.join(cell.reason.split()) if cell.reason else ''}"
        return
    record = records.read(paths.cell_file(cell.folder), Cell)
    choice = records.read(paths.choice_file(cell.folder), Choice)
    seal = records.read(paths.seal_file(cell.folder), Seal)
    yield f"  {paths.cell_file(cell.folder).name}    key {record.key}"
    yield f"               train and validation {record.split_hash}"
    chosen = f"slot {choice.slot}, validation {choice.score:.10g}, hash {choice.hash}"
    yield f"  {paths.choice_file(cell.folder).name}  {chosen}"
    yield f"               {_settings(choice.configuration)}"
    trials = [file.name for file in paths.training_records(cell.folder, Stage.TRIAL)]
    if trials:
        yield f"  trials       {trials[0]} to {trials[-1]} (validation) and the .{paths.RANKS} beside each (test)"
    yield f"  {paths.seal_file(cell.folder).name}  test split {seal.test_hash}, seal {seal.hash}"
    per_seed = cell.by_seed(PRIMARY)
    for seed, pairs, mean in zip(cell.seeds, cell.rankings, per_seed, strict=True):
        file = paths.final_file(cell.folder, seed, paths.RANKS)
        features = records.read(paths.final_file(cell.folder, seed, paths.RECORD), FinalRun).feature_hash
        yield f"  seed {seed}: {file.relative_to(table.folder)}, {pairs.n_users} users, {len(pairs.ranks)} test pairs"
        yield f"    {PRIMARY} {mean:.10g}; file {_sha256(file)}; features {features}"
    total = " + ".join(f"{mean:.10g}" for mean in per_seed)
    yield f"  mean = ({total}) / {len(per_seed)} = {cell.mean(PRIMARY):.10g}"


def _settings(configuration: Mapping[str, Any]) -> str:
    return ", ".join(f"{path}={value}" for path, value in configuration.items()) or "nothing to choose"


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _gain(comparison: Comparison, gain: CrossedInterval) -> Iterator[str]:
    yield ""
    yield "relative gain (docs/protocol.md, Relative gain)"
    a, b = comparison.a.mean(PRIMARY), comparison.b.mean(PRIMARY)
    yield f"  gain = mean A / mean B - 1 = {a:.10g} / {b:.10g} - 1 = {gain.mean:.10g}"
    if (effects := comparison.effects) is not None:
        yield f"  users improved {effects.improved:.10g}, harmed {effects.harmed:.10g}, d_z {effects.d_z:.6g}"


def _interval(comparison: Comparison, gain: CrossedInterval) -> Iterator[str]:
    ms = intervals.mean_squares(
        intervals.scaled_differences(comparison.a.per_user(PRIMARY), comparison.b.per_user(PRIMARY))[0]
    )
    both, users = (ms.users + ms.seeds - ms.residual) / (ms.n * ms.s), ms.users / (ms.n * ms.s)
    yield f"  n = {ms.n} users, S = {ms.s} seeds"
    yield f"  MS_u = {ms.users:.10g}, MS_s = {ms.seeds:.10g}, MS_e = {ms.residual:.10g}"
    yield (
        f"  Var = max((MS_u + MS_s - MS_e) / (nS), MS_u / (nS)) = max({both:.10g}, {users:.10g}) = {gain.se**2:.10g}"
    )
    yield f"  se = sqrt(Var) = {gain.se:.10g}, df (Satterthwaite) = {gain.df:.10g}"
    for level in (0.95, 0.90):
        t = float(special.stdtrit(gain.df, 0.5 + level / 2))
        lo, hi = gain.at(level).lo, gain.at(level).hi
        yield f"  {100 * level:.0f} %: {gain.mean:.10g} ± {t:.10g} * {gain.se:.10g} = [{lo:.10g}, {hi:.10g}]"


def _tests(table: SweepTable, comparison: Comparison, gain: CrossedInterval) -> Iterator[str]:
    inference = comparison.inference
    assert inference is not None
    yield ""
    yield f"tests (margin {table.delta:g})"
    yield f"  p = {gain.p:.10g}, two-sided, of a gain of zero"
    yield f"  A not worse than B by the margin: p = {inference.noninferior_p:.10g}"
    yield f"  B not worse than A by the margin: p = {inference.dispensable_p:.10g}"
    p, margin = inference.equivalence_p, inference.margin
    yield f"  equivalence (TOST): p = {p:.10g}; smallest margin of equivalence {margin:.10g}"
    parts = ", ".join(f"{name} {value:.6g}" for name, value in inference.components.items())
    yield f"  detectable gain at 80 % power: {inference.mde:.10g} ({parts})"


def _sorted(family: Sequence[Comparison]) -> list[tuple[Comparison, float]]:
    tested = [(o, o.gain.p) for o in family if o.gain is not None and o.inference is not None]
    return sorted(tested, key=lambda pair: pair[1])


def _holm(family: Sequence[Comparison], comparison: Comparison) -> Iterator[str]:
    assert comparison.inference is not None
    ordered = _sorted(family)
    model = f"{comparison.dataset}/{comparison.model}"
    yield f"  Holm, {len(ordered)} contrasts of {model}, smallest p first; each at least the one before:"
    for place, (other, p) in enumerate(ordered):
        assert other.inference is not None
        factor = len(ordered) - place
        mark = "  <-" if other is comparison else ""
        yield f"    {other.contrast}: min(1, {factor} * {p:.6g}) -> {other.inference.holm:.6g}{mark}"


def _benjamini_hochberg(comparisons: Sequence[Comparison], comparison: Comparison) -> Iterator[str]:
    assert comparison.inference is not None
    ordered = _sorted(comparisons)
    m = len(ordered)
    rank = 1 + next(i for i, (other, _) in enumerate(ordered) if other is comparison)
    steps = [min(1.0, m * p / j) for j, (_, p) in enumerate(ordered, 1)]
    least = rank - 1 + int(np.argmin(steps[rank - 1 :]))
    yield f"  Benjamini-Hochberg, {m} contrasts of the sweep: rank {rank}, {m} * p / {rank} = {steps[rank - 1]:.6g};"
    other = ordered[least][0].name
    yield f"    smallest from there on: {steps[least]:.6g} ({other}) -> q = {comparison.inference.bh:.6g}"


def _words(table: SweepTable, comparison: Comparison, gain: CrossedInterval) -> Iterator[str]:
    yield ""
    yield "verdict: the first that holds"
    if comparison.tuned is not None:
        point, lo, hi = comparison.tuned.mean, comparison.tuned.lo, comparison.tuned.hi
        yield f"  gain after tuning with other draws of the trials: {point:.10g}, 90 % [{lo:.10g}, {hi:.10g}]"
    else:
        yield f"  the luck of tuning was not checked: that takes {ENOUGH_TRIALS} trials of each condition"
    judgement = comparison.judgement
    assert judgement is not None
    holding: dict[Verdict, bool] = {Verdict.FAILED: False, Verdict.UNTRUSTED: judgement.word is Verdict.UNTRUSTED}
    if comparison.inference is not None:
        holding |= holds(gain, table.delta, comparison.tuned)
    for word in Verdict:
        if word in holding:
            yield f"  {word}: {'yes' if holding[word] else 'no'}"
    yield f"  -> {judgement.word}"


def _gates(cell: CellResult, groups: Sequence[Group]) -> Iterator[str]:
    """The fairness checks of the cell's dataset and model."""
    for group in groups:
        if (group.dataset, group.model) == (cell.dataset, cell.model):
            yield ""
            yield f"fairness of {group.dataset}/{group.model}: {group.level}"
            yield from (f"  {check.level} {check.name}: {check.reason}" for check in group.checks)
