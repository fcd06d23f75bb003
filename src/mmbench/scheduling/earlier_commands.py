"""Refuses what would contradict what earlier commands of a sweep have planned or trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmbench import fingerprint, paths
from mmbench.messages import Message, Refusal, Template
from mmbench.scheduling.cell_key import OUTSIDE_THE_KEY, shared_settings
from mmbench.scheduling.configuration import JobConfig
from mmbench.scheduling.manifest import print_of, read_manifest
from mmbench.scheduling.planning import Planned, other_sample
from mmbench.store import records
from mmbench.store.schema import Cell, CellName, PlannedCell

#: Why more effort is refused while conditions without settings of their own are left out: in their command, and in that
#: of conditions that have some.
LEFT_OUT = {
    False: Template(
        "{key}={value} raises {model} from {earlier}, which all of its conditions get together; name {left_out} too, "
        "or take another sweep.name"
    ),
    True: Template(
        "{key}={value} raises {model} from {earlier}, which all of its conditions get together; raise {left_out} "
        "first, without settings below modality., or take another sweep.name"
    ),
}


def _has_settings(cell: CellName) -> bool:
    """Whether its condition has settings of its own, which its name tells and which hold for a whole command."""
    return "=" in cell.modality


def check_effort(sweep_dir: Path, planned: Sequence[Planned]) -> list[Message]:
    """Refuse fewer trials or final runs than were planned, and more of them for some conditions of a model only.

    A condition with settings of its own cannot be named beside those without them. Those without are raised first, and
    it follows by its own command; until then the fairness report fails.

    Returns:
        Which conditions have yet to follow.

    Raises:
        ValueError: naming what is lowered, left out or fixed.
    """
    behind: dict[CellName, Message] = {}
    earlier = read_manifest(sweep_dir)
    families: dict[tuple[str, str, str], list[PlannedCell]] = {}
    for cell in earlier.cells if earlier else []:
        families.setdefault(cell.family, []).append(cell)
    named = {plan.task.cell for plan in planned}
    for plan in planned:
        name, budget = plan.task.cell, plan.job.config.budget
        family = families.get((name.dataset, name.model, plan.rule), [])
        for key, asked, before in (
            ("budget.trials", budget.trials, max((cell.trials for cell in family), default=budget.trials)),
            ("budget.seeds", budget.seeds, max((cell.seeds for cell in family), default=budget.seeds)),
        ):
            model = f"{name.dataset}/{name.model}"
            if asked < before:
                raise Refusal(
                    "{key}={value}, but this sweep was planned with {earlier} for {model}; keep that or take another "
                    "sweep.name",
                    key=key,
                    value=asked,
                    earlier=before,
                    model=model,
                )
            left_out = sorted(
                cell.modality for cell in family if cell.name not in named and not _has_settings(cell.name)
            )
            if asked > before and left_out:
                raise Refusal(
                    LEFT_OUT[_has_settings(name)],
                    key=key,
                    value=asked,
                    model=model,
                    earlier=before,
                    left_out=", ".join(left_out),
                )
            if asked > before and budget.tpe and key == "budget.trials":
                raise Refusal(
                    "budget.trials={value}, but TPE proposes after {earlier} trials of {model} (budget.tpe={tpe}), so "
                    "they cannot be raised; take another sweep.name",
                    value=asked,
                    earlier=before,
                    model=model,
                    tpe=budget.tpe,
                )
        for cell in family:
            if cell.name not in named and (cell.trials, cell.seeds) != (budget.trials, budget.seeds):
                behind[cell.name] = Message(
                    "{cell} stays at T {trials} and S {seeds}, because settings of a condition hold for a whole "
                    "command; raise it by one of its own, until then the fairness report fails",
                    cell=cell.name,
                    trials=cell.trials,
                    seeds=cell.seeds,
                )
    return list(behind.values())


def check_alike(sweep_dir: Path, planned: Sequence[Planned], *, afresh: bool) -> None:
    """Refuse to train a condition with other settings, code or versions than conditions of its model that stay.

    They would not be compared, and nobody should wait for that. The code of states is that of one condition alone.

    Args:
        sweep_dir: folder of the sweep.
        planned: what is to be trained.
        afresh: whether the records of what is named are set aside.
    """
    earlier = read_manifest(sweep_dir)
    waiting = {plan.task.cell: plan for plan in planned if not plan.finished}
    aside = {name for name, plan in waiting.items() if afresh or not plan.store.is_current()}
    families = {(name.dataset, name.model) for name in waiting}
    stay: dict[tuple[str, str], list[Cell]] = {}
    for one in earlier.cells if earlier else []:
        file = paths.cell_file(sweep_dir / one.folder)
        if (one.dataset, one.model) in families and one.name not in aside and file.exists():
            stay.setdefault((one.dataset, one.model), []).append(records.read(file, Cell))
    for name, plan in waiting.items():
        here = plan.task.versions
        for cell in stay.get((name.dataset, name.model), []):
            if cell.name != name:
                _check_settings(plan.job.record(plan.task), cell)
            apart = {"commit"} if cell.name == name else {"commit", records.STATES}
            other = sorted(key for key in {*here, *cell.versions} - apart if here.get(key) != cell.versions.get(key))
            if other:
                raise Refusal(
                    "{cell} would be trained by other code or versions than {begun} was ({names}), and conditions of "
                    "one model are compared only if the same code trained them; go on with that code, begin all "
                    "conditions of {model} afresh with study.resume=force, or take another sweep.name",
                    cell=name,
                    begun=cell.name,
                    names=", ".join(other),
                    model=name.model,
                )


def _check_settings(cell: Cell, begun: Cell) -> None:
    """Refuse settings that no key tells, and that are others than those of a condition of the same model.

    Conditions with other keys may follow one by one, and are not compared before all have.

    Raises:
        ValueError: naming the first of them.
    """
    before, settings = shared_settings(begun), shared_settings(cell)
    for section in OUTSIDE_THE_KEY:
        now = settings[section]
        for key in sorted({*now, *before[section]}):
            value, earlier = (fingerprint.canonical_json(one.get(key)) for one in (now, before[section]))
            if value != earlier:
                raise Refusal(
                    "{cell} would be trained with {key}={value} and {begun} was with {earlier}, and conditions of one "
                    "model are compared only if they share their settings; keep that, begin all conditions of {model} "
                    "afresh with study.resume=force, or take another sweep.name",
                    cell=cell.name,
                    key=f"{section}.{key}",
                    value=value,
                    begun=begun.name,
                    earlier=earlier,
                    model=cell.model,
                )


def check_sample(sweep_dir: Path, planned: Sequence[Planned]) -> None:
    """Refuse another sample of validation than that which other cells of the data set were planned with."""
    earlier = read_manifest(sweep_dir)
    for plan in planned:
        name, now = plan.task.cell.dataset, print_of(plan.job.dataset())
        before = None if earlier is None else earlier.data.get(name)
        if before is None or before.split_hash != now.split_hash:
            continue  # other data, whose records are set aside
        if before.validation_users != now.validation_users:
            raise other_sample(name, plan.job.config.evaluation.validation_users, before.validation_users)


def check_fixed(sweep_dir: Path, config: JobConfig) -> None:
    """Refuse a margin, contrasts or a primary metric other than the manifest's, because results may be known."""
    earlier = read_manifest(sweep_dir)
    if earlier is None:
        return
    for key, before, now in (
        ("statistics.delta", earlier.delta, config.statistics.delta),
        ("statistics.contrasts", earlier.contrasts, config.statistics.contrasts),
        ("report.primary", earlier.primary, config.report.primary),
    ):
        if before != now:
            raise Refusal(
                "{key}={value}, but this sweep was planned with {earlier}, before its results were "
                "known; keep that or take another sweep.name",
                key=key,
                value=now,
                earlier=before,
            )
