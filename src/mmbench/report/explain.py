"""One verdict or one cell, every number traced down to the record files it comes from."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from scipy import special

from mmbench import fingerprint, paths
from mmbench.inference import intervals
from mmbench.inference.gains import Gain, TunedGain, TunedSide
from mmbench.inference.intervals import CrossedInterval, LogGain
from mmbench.inference.repetitions import RepeatedGain
from mmbench.inference.verdicts import MIN_SEEDS, Judgement, Verdict, equivalence_level, holds
from mmbench.report.cell_effort import CellEffort, cut_off, stalled
from mmbench.report.comparisons import Comparison, Inference, family_of, is_counted, p_counted, read_contrasts
from mmbench.report.disposals import ALL_MODELS, Disposal, read_disposals
from mmbench.report.fairness_checks import Group, read_groups
from mmbench.report.reading import read_sweep
from mmbench.report.sentences import contrast_verdict, disposal_verdict, earlier_lines
from mmbench.report.table import CellResult, SweepTable, sample_of
from mmbench.report.together import read_repetitions
from mmbench.scheduling.trust import NOTHING, Trust
from mmbench.store import records
from mmbench.store.schema import Cell, Choice, FinalRun, Seal, Stage

#: What has tests: p is adjusted among contrasts, and among free disposals.
Row = TypeVar("Row", Comparison, Disposal)


def explainable(sweep_dir: Path, trust: Trust = NOTHING) -> Mapping[str, Callable[[], str]]:
    """What can be explained by its name, and how.

    Names are ``<dataset>/<model>/<condition>_vs_<condition>`` of a planned contrast, ``<dataset>/<model>/<condition>``
    of a cell, and ``<dataset>/<model>/free_disposal_of_<modality>`` with ``all models`` in place of a model.
    """
    table = read_sweep(sweep_dir, trust)
    groups = read_groups(table, sweep_dir)
    comparisons = read_contrasts(table, groups)
    known: dict[str, Callable[[], str]] = {
        "/".join(key): functools.partial(_told, _cell, table, c, groups)
        for key, c in table.cells.items()
        if not c.parts
    }
    known |= {c.name: functools.partial(_told, _contrast, table, c, comparisons, groups) for c in comparisons}
    disposals = read_disposals(table, groups)
    return known | {d.name: functools.partial(_told, _disposal, table, d, disposals, groups) for d in disposals}


def _told(lines: Callable[..., Iterator[str]], *what: Any) -> str:
    return "\n".join(lines(*what)) + "\n"


def _cell(table: SweepTable, cell: CellResult, groups: Sequence[Group]) -> Iterator[str]:
    yield f"{cell.dataset}/{cell.model}/{cell.modality}: {cell.status}"
    yield from _records(table, "", cell)
    if cell.status == "done":
        spread = cell.spread(table.primary)
        sd = "not measured with one seed" if spread is None else f"{spread:.10g}"
        yield f"  standard deviation over seeds: {sd}"
        yield f"  below popularity: {'yes' if table.below_popularity(cell, table.primary) else 'no'}"
    yield from _gates(cell.dataset, [cell.model], groups)


def _contrast(
    table: SweepTable, comparison: Comparison, comparisons: Sequence[Comparison], groups: Sequence[Group]
) -> Iterator[str]:
    yield f"{comparison.name}: {comparison.word}"
    yield f"  {contrast_verdict(comparison, table.primary)}"
    if comparison.over is None:
        yield from _records(table, "A = ", comparison.a)
        yield from _records(table, "B = ", comparison.b)
    yield from _gain(table, comparison, groups)
    yield from _inference(table, comparison, comparisons, groups)
    if comparison.judgement is not None:
        yield from _words(table, comparison.judgement, comparison.tuned)
        yield from (f"  {look}" for look in earlier_lines(comparison))
    if comparison.configuration is not None:
        yield from _configuration(table, comparison, comparison.configuration)
    yield from _gates(comparison.dataset, [comparison.model], groups)


def _disposal(
    table: SweepTable, disposal: Disposal, disposals: Sequence[Disposal], groups: Sequence[Group]
) -> Iterator[str]:
    yield f"{disposal.name}: {disposal.word}"
    yield f"  {disposal_verdict(disposal, table.primary)}"
    if disposal.real:
        yield f"  A, {_cells(len(disposal.real), 'real ')}: {', '.join(disposal.real)}"
        yield f"  B, {_cells(len(disposal.control))} that A stands against: {', '.join(disposal.control)}"
    side = "neither side" if disposal.controlled else "side A alone"
    yield from (f"  control has no result, its cell is on {side}: {control}" for control in disposal.failed)
    failed = {(control.model, control.overrides) for control in disposal.failed}
    for model, overrides in (lacking for lacking in disposal.missing if lacking not in failed):
        yield f"  control not run, its cell is on {side}: model={model} {overrides}"
    for model, overrides in disposal.without:
        yield f"  not run, so {disposal.modality} cannot be left out: model={model} {overrides}"
    yield from (f"  on neither side, for {first} has the same states: {name}" for name, first in disposal.passed_over)
    yield from _gain(table, disposal, groups)
    yield from _inference(table, disposal, disposals, groups)
    yield from _words(table, disposal.judgement, disposal.tuned)
    yield from (f"  {look}" for look in earlier_lines(disposal))
    models = dict.fromkeys(name.split("/")[0] for name in disposal.real)
    yield from _gates(disposal.dataset, list(models), groups)


def _cells(n: int, kind: str = "") -> str:
    return f"{n} {kind}{'cell' if n == 1 else 'cells'}"


def _records(table: SweepTable, label: str, cell: CellResult) -> Iterator[str]:
    """Where a cell's numbers come from, its hashes and its mean by seed."""
    yield ""
    place = cell.folder.relative_to(table.folder)
    yield f"{label}{cell.modality}: {place}"
    if cell.status != "done":
        yield f"  {cell.status}{': ' + ' '.join(cell.reason.split()) if cell.reason else ''}"
        return
    if cell.parts:  # whose records are explained by their own names
        yield f"  {cell.reason}"
        return
    record = records.read(paths.cell_file(cell.folder), Cell)
    choice = records.read(paths.choice_file(cell.folder), Choice)
    seal = records.read(paths.seal_file(cell.folder), Seal)
    yield f"  {paths.cell_file(cell.folder).name}    key {record.key}"
    yield f"               train and validation {record.split_hash}"
    if record.sample is not None:
        yield f"               {sample_of(record.dataset, record.sample)}"
    chosen = f"slot {choice.slot}, validation {choice.score:.10g}, hash {choice.hash}"
    yield f"  {paths.choice_file(cell.folder).name}  {chosen}"
    yield f"               {_settings(choice.configuration)}"
    trials = [file.name for file in paths.training_records(cell.folder, Stage.TRIAL)]
    if trials:
        yield f"  trials       {trials[0]} to {trials[-1]} (validation) and the .{paths.RANKS} beside each (test)"
    yield f"  {paths.seal_file(cell.folder).name}  test split {seal.test_hash}, seal {seal.hash}"
    metric = table.primary
    per_seed = cell.by_seed(metric)
    for seed, pairs, mean in zip(cell.seeds, cell.rankings, per_seed, strict=True):
        file = paths.final_file(cell.folder, seed, paths.RANKS)
        features = records.read(paths.final_file(cell.folder, seed, paths.RECORD), FinalRun).feature_hash
        yield f"  seed {seed}: {file.relative_to(table.folder)}, {pairs.n_users} users, {len(pairs.ranks)} test pairs"
        yield f"    {metric} {mean:.10g}; file {fingerprint.of_file(file)}; features {features}"
    total = " + ".join(f"{mean:.10g}" for mean in per_seed)
    yield f"  mean = ({total}) / {len(per_seed)} = {cell.mean(metric):.10g}"


def _settings(configuration: Mapping[str, Any]) -> str:
    return ", ".join(f"{path}={value}" for path, value in configuration.items()) or "nothing to choose"


def _gain(table: SweepTable, of: Comparison | Disposal, groups: Sequence[Group]) -> Iterator[str]:
    """What a tuned gain is computed from; nothing where there is none."""
    if isinstance(of.tuned, TunedGain):
        yield from _tuned(table, of.tuned, groups, of.dataset)
    elif isinstance(of.tuned, RepeatedGain) and of.over is not None:
        yield from _repeated(of.tuned, [of.name.replace(of.dataset, name, 1) for name in of.over.datasets])


def _repeated(tuned: RepeatedGain, names: Sequence[str]) -> Iterator[str]:
    """How the gains of several repetitions are joined."""
    yield ""
    yield "gain over repetitions (docs/protocol.md, Tuned gain); each is explained by its own name"
    for name, part in zip(names, tuned.parts, strict=True):
        log = part.estimate.log_gain
        yield f"  {name}: L = {part.log_ratio:.10g}, V = {log.se**2:.10g}, df = {log.df:.10g}"
    yield f"  L = mean = {tuned.log_ratio:.10g}, gain = exp(L) - 1 = {tuned.gain:.10g}"
    yield f"  V = {' + '.join(f'{part:.10g} ({source})' for source, part in tuned.variances.items())}"
    yield from _bounds(tuned, tuned.log_gain)


def _bounds(tuned: Gain, log: LogGain | None) -> Iterator[str]:
    if log is None:
        yield f"  no bounds: {tuned.refusal}"
        return
    rule = "Satterthwaite" if isinstance(tuned, TunedGain) else "the least, or folds - 1"
    yield f"  se = sqrt(V) = {log.se:.10g}, df ({rule}) = {log.df:.10g}"
    for level in (tuned.level, equivalence_level(tuned.level)):
        t, bounds = float(special.stdtrit(log.df, 0.5 + level / 2)), log.at(level)
        yield f"  {100 * level:g} %: exp(L ± {t:.10g} * se) - 1 = [{bounds.lo:.10g}, {bounds.hi:.10g}]"


def _tuned(table: SweepTable, tuned: TunedGain, groups: Sequence[Group], dataset: str) -> Iterator[str]:
    """Every slot that may be chosen with its weight, and what the weights give."""
    yield ""
    yield "tuned gain (docs/protocol.md, Tuned gain)"
    yield f"  n = {tuned.n} of {tuned.trials} trials: slot 0, and {tuned.n - 1} of the other {tuned.trials - 1}"
    efforts = {e.tuned_cell.name: e for g in groups if g.dataset == dataset for e in g.cells}
    for label, side in (("A", tuned.a), ("B", tuned.b)):
        yield from _side(table, label, side, efforts)
    estimate = tuned.estimate
    yield f"  L = log(A / B) = {estimate.log_ratio:.10g}, gain = exp(L) - 1 = {tuned.gain:.10g}"
    for term in estimate.trial_terms:
        k = f"k = {term.effective_configurations:.6g}, df = {term.df:.6g}"
        yield f"  V by the draw of trials of {term.model} = {term.variance:.10g} ({k})"
    yield f"  V by users = {estimate.users_variance:.10g} (df = {estimate.n_users - 1})"
    for seed in estimate.seed_terms:
        yield f"  V by the seed of a default = {seed.variance:.10g} (df = {seed.df:.6g})"
    yield from _bounds(tuned, tuned.log_gain)
    yield f"  at the defaults {tuned.gain_at_defaults:.6g}, after all trials {float(tuned.curve.mean[-1]):.6g}"
    shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in estimate.shares._asdict().items())
    yield f"  shares of the variance: {shares}"
    if (top := tuned.top_trial) is not None:
        weights = f"weight {top.weight_a:.6g} in A and {top.weight_b:.6g} in B"
        yield f"  most chosen: slot {top.slot} of {top.model}, {weights}; gain without it {top.gain_without:.6g}"
    yield f"  P(A > B) = {tuned.a_beats_b:.6g}"


def _side(table: SweepTable, label: str, side: TunedSide, efforts: Mapping[str, CellEffort]) -> Iterator[str]:
    """The trials of a side that may be chosen, and its expected metric."""
    for cell, weights in zip(side.cells, side.weights, strict=True):
        effort = efforts[cell]
        place = effort.folder.relative_to(table.folder)
        yield f"  {label}, {effort.cell.model}/{effort.modality}: {place}"
        marks = stalled(effort.trials), cut_off(effort.trials, table.delta)
        for slot in np.flatnonzero(weights > 0):
            file = paths.training_file(effort.folder, Stage.TRIAL, int(slot), paths.RECORD)
            ended = "".join(f", {name}" for name, m in zip(("stalled", "cut off"), marks, strict=True) if m[slot])
            scores = f"validation {effort.tuning.scores[slot]:.10g}, test {effort.tuning.means[slot]:.10g}"
            yield f"    slot {slot}: weight {weights[slot]:.6g}, {scores} ({file.relative_to(effort.folder)}{ended})"
        noise = effort.tuning.seed_noise
        sd = "unknown" if noise is None else f"{noise.relative_sd:.6g}"
        yield f"    relative sd over final seeds: {sd}"
    yield f"  {label} = sum of weight * test = {side.tuned:.10g}"


def _configuration(table: SweepTable, comparison: Comparison, gain: CrossedInterval) -> Iterator[str]:
    yield ""
    yield "these two configurations, not the method (docs/protocol.md, Relative gain)"
    a, b = comparison.a.mean(table.primary), comparison.b.mean(table.primary)
    yield f"  gain = mean A / mean B - 1 = {a:.10g} / {b:.10g} - 1 = {gain.mean:.10g}"
    if (effects := comparison.effects) is not None:
        yield f"  users improved {effects.improved:.10g}, harmed {effects.harmed:.10g}, d_z {effects.d_z:.6g}"
    if not comparison.noise_known:
        yield f"  seeds: {gain.seeds}, fewer than {MIN_SEEDS} do not tell how far runs differ: nothing is inferred"
        return
    if not gain.bounded:
        yield (
            f"  no bounds: a side finds nothing, no user differs from the others, or users are fewer than "
            f"{intervals.MIN_USERS}"
        )
        return
    ms = intervals.mean_squares(
        intervals.scaled_differences(comparison.a.per_user(table.primary), comparison.b.per_user(table.primary))[0]
    )
    both, users = (ms.users + ms.seeds - ms.residual) / (ms.n * ms.s), ms.users / (ms.n * ms.s)
    yield f"  n = {ms.n} users, S = {ms.s} seeds"
    yield f"  MS_u = {ms.users:.10g}, MS_s = {ms.seeds:.10g}, MS_e = {ms.residual:.10g}"
    yield (
        f"  Var = max((MS_u + MS_s - MS_e) / (nS), MS_u / (nS)) = max({both:.10g}, {users:.10g}) = {gain.se**2:.10g}"
    )
    yield f"  se = sqrt(Var) = {gain.se:.10g}, df (Satterthwaite) = {gain.df:.10g}"
    t, bounds = float(special.stdtrit(gain.df, 0.975)), gain.at(0.95)
    yield f"  95 %: {gain.mean:.10g} ± {t:.10g} * {gain.se:.10g} = [{bounds.lo:.10g}, {bounds.hi:.10g}]"


def _inference(table: SweepTable, row: Row, rows: Sequence[Row], groups: Sequence[Group]) -> Iterator[str]:
    """Tests of a tuned gain, and how p is adjusted among the rows of its table; nothing where it has no bounds."""
    if row.tuned is None or row.inference is None:
        return
    yield from _tests(table, row.inference)
    repeated = read_repetitions(table, groups)
    family = family_of(row, repeated)
    yield from _holm(family, [other for other in rows if family_of(other, repeated) == family], row)
    yield from _benjamini_hochberg(rows, row)


def _tests(table: SweepTable, inference: Inference) -> Iterator[str]:
    yield ""
    yield f"tests (margin {table.delta:g})"
    yield f"  p = {inference.p:.10g}, two-sided, of no gain"
    yield f"  A not worse than B by the margin: p = {inference.noninferior_p:.10g}"
    yield f"  B not worse than A by the margin: p = {inference.dispensable_p:.10g}"
    p, margin = inference.equivalence_p, inference.margin
    yield f"  equivalence (TOST): p = {p:.10g}; smallest margin of equivalence {margin:.10g}"
    seen = "not known, nothing varies" if inference.mde is None else f"{inference.mde:.10g}"
    yield f"  gain that is seen in four of five such studies (80 % power): {seen}"


def _sorted(family: Sequence[Row]) -> list[tuple[Row, float]]:
    """The rows that p is adjusted for, each with the p it counts with, smallest first."""
    return sorted(((o, p_counted(o)) for o in family if is_counted(o)), key=lambda pair: pair[1])


def _holm(family: tuple[str, str | None], members: Sequence[Row], row: Row) -> Iterator[str]:
    ordered = _sorted(members)
    dataset, model = family
    of = f"of {dataset}/{model or ALL_MODELS}"
    yield f"  Holm, {_counted(len(ordered), row)} {of}, smallest p first; each at least the one before:"
    for place, (other, p) in enumerate(ordered):
        step = f"{other.name.rpartition('/')[2]}: min(1, {len(ordered) - place} * {p:.6g})"
        if other.inference is None:
            yield f"    {step} -> 1, for it has no p and counts with 1"
        else:
            yield f"    {step} -> {other.inference.holm:.6g}{'  <-' if other is row else ''}"


def _counted(n: int, row: Row) -> str:
    """So many rows of the kind of one."""
    kind = "free disposal" if isinstance(row, Disposal) else "contrast"
    return f"{n} {kind}{'' if n == 1 else 's'}"


def _benjamini_hochberg(rows: Sequence[Row], row: Row) -> Iterator[str]:
    assert row.inference is not None
    ordered = _sorted(rows)
    m = len(ordered)
    rank = 1 + next(i for i, (other, _) in enumerate(ordered) if other is row)
    steps = [min(1.0, m * p / j) for j, (_, p) in enumerate(ordered, 1)]
    least = rank - 1 + int(np.argmin(steps[rank - 1 :]))
    unbounded = sum(other.inference is None for other, _ in ordered)
    counted = f" ({unbounded} without p, which {'counts' if unbounded == 1 else 'count'} with 1)" if unbounded else ""
    yield (
        f"  Benjamini-Hochberg, {_counted(m, row)} of the sweep{counted}: "
        f"rank {rank}, {m} * p / {rank} = {m * ordered[rank - 1][1] / rank:.6g};"
    )
    other = ordered[least][0].name
    yield f"    smallest from there on, at most 1: {steps[least]:.6g} ({other}) -> q = {row.inference.bh:.6g}"


def _words(table: SweepTable, judgement: Judgement, tuned: Gain | None) -> Iterator[str]:
    yield ""
    yield "verdict: the first that holds"
    holding: dict[Verdict, bool] = {word: judgement.word is word for word in (Verdict.FAILED, Verdict.UNTRUSTED)}
    if tuned is not None and tuned.log_gain is not None:
        holding |= holds(tuned, table.delta)
    for word in Verdict:
        if word in holding:
            yield f"  {word}: {'yes' if holding[word] else 'no'}"
    why = f": {judgement.reason}" if judgement.word is None else ""
    yield f"  -> {judgement}{why}"


def _gates(dataset: str, models: Sequence[str], groups: Sequence[Group]) -> Iterator[str]:
    """The fairness checks of some models."""
    for group in groups:
        if group.dataset == dataset and group.model in models:
            yield ""
            yield f"fairness of {group.dataset}/{group.model}: {group.level}"
            yield from (f"  {check.level} {check.name}: {check.reason}" for check in group.checks)
