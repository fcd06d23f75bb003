"""Free disposal of a modality: the best of the real conditions against the best of the same ones with it shuffled.

What does not help need not be used, so the smaller conditions are among the cells of both sides; and a condition is
searched no more than its control, so neither side has more chances to find something.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mmbench.inference.tuned_gain import NoWord, TunedGain
from mmbench.inference.verdicts import Judgement
from mmbench.report.cell_effort import CellEffort
from mmbench.report.comparisons import At, EarlierLook, earlier_looks, judged_sides, level_of, now, unfairness
from mmbench.report.fairness_checks import Group
from mmbench.report.table import CONDITIONS, SweepTable

States = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Disposal:
    """Free disposal of one modality, in one model or over all models of a data set.

    Args:
        dataset: its dataset.
        modality: the modality that may be disposed of.
        model: the model; None over all models of the sweep.
        tuned: gain of the best of the real cells over the best of their controls, picked on validation; where no
            control was run, over the best of the real cells without the modality, which is searched less and allows
            neither bounds nor a word. None where it is not defined.
        real: names of the real cells, ``model/condition``, in the order that decides between equal scores.
        control: names of their controls; a cell without the modality is its own.
        missing: model and overrides, like ``modality=text_shuffled_image``, of each control that was not run; its cell
            is on neither side.
        judgement: the verdict; its word is None where none is allowed.
        earlier: what was said before T or S was raised.
    """

    dataset: str
    modality: str
    model: str | None
    tuned: TunedGain | None
    real: tuple[str, ...]
    control: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]
    judgement: Judgement
    earlier: tuple[EarlierLook, ...] = ()

    @property
    def name(self) -> str:
        """Its name with dataset and model, as ``--explain`` takes it."""
        return f"{self.dataset}/{self.model or ALL_MODELS}/{FREE}{self.modality}"

    @property
    def controlled(self) -> bool:
        """Whether both sides were searched alike."""
        return self.tuned is None or self.tuned.refusal is not NoWord.MORE_SEARCH

    @property
    def word(self) -> str:
        """The verdict, or that none is allowed."""
        return str(self.judgement)


#: What stands in place of a model over all models, and before the modality in the name of a free disposal.
ALL_MODELS, FREE = "all models", "free_disposal_of_"


def read_disposals(table: SweepTable, groups: Sequence[Group]) -> list[Disposal]:
    """Free disposal of every modality that some real condition has, for each model and over all models.

    External recommendations and the late ensemble are on neither side.

    Args:
        table: the sweep.
        groups: its fairness report.
    """
    found: list[Disposal] = []
    for dataset in table.datasets:
        of_dataset = [group for group in groups if group.dataset == dataset]
        for modality in sorted({name for group in of_dataset for name in _modalities(group)}):
            having = [group for group in of_dataset if modality in _modalities(group)]
            for group in having:
                found += _read(table, modality, group.model, [group])
            found += _read(table, modality, None, of_dataset)
    return found


def _read(table: SweepTable, modality: str, model: str | None, groups: Sequence[Group]) -> Iterator[Disposal]:
    """Free disposal of a modality in some models together; nothing where no cell can stand against the real ones."""
    real, control, missing = [], [], []
    for group in groups:
        by_states = _by_states(group)
        for states, cell in _real(group).items():
            if dict(states).get(modality, "drop") == "drop":
                real.append(cell)
                control.append(cell)
                continue
            shuffled = dict(states) | {modality: "shuffle"}
            other = by_states.get(_key(shuffled))
            if other is None:
                missing.append((group.model, control_of(cell.cell.states, cell.modality, modality)))
            else:
                real.append(cell)
                control.append(other)
    if all(a is b for a, b in zip(real, control, strict=True)):  # no control at all
        real = [cell for group in groups for cell in _real(group).values()]
        control = [cell for cell in real if cell.cell.states.get(modality, "drop") == "drop"]
    if not control:
        return
    models = {cell.cell.model for cell in real}
    doubts = [f"{g.model}: {reason}" for g in groups if g.model in models for reason in unfairness(g)]

    def say(at: At, level: float) -> tuple[TunedGain | None, Judgement]:
        return judged_sides([at(cell) for cell in real], [at(cell) for cell in control], table.delta, level, doubts)

    cells = list({cell.cell.key: cell for cell in (*real, *control)}.values())
    tuned, judged = say(now, level_of(cells))
    sides = (tuned.a.cells, tuned.b.cells) if tuned else (_names(real), _names(control))
    earlier = earlier_looks(cells, say)
    yield Disposal(groups[0].dataset, modality, model, tuned, sides[0], sides[1], tuple(missing), judged, earlier)


def _names(cells: Iterable[CellEffort]) -> tuple[str, ...]:
    return tuple(f"{cell.cell.model}/{cell.modality}" for cell in cells)


def _modalities(group: Group) -> set[str]:
    """Modalities that some real condition of a model has."""
    return {name for states in _real(group) for name, state in states if state == "real"}


def _real(group: Group) -> dict[States, CellEffort]:
    """The cell of each real condition by the states of its modalities."""
    return {
        states: cell for states, cell in _by_states(group).items() if {state for _, state in states} <= {"real", "drop"}
    }


def _by_states(group: Group) -> dict[States, CellEffort]:
    """One cell for each combination of states; those whose items lost content, and external ones, are left out."""
    found: dict[States, CellEffort] = {}
    for cell in group.cells:
        config = cell.cell.config
        thinned = any(config.get("modality", {}).get("missing", {}).values())
        if not thinned and "recommendations" not in config["model"]:
            found.setdefault(_key(cell.cell.states), cell)
    return found


def _key(states: Mapping[str, str]) -> States:
    return tuple(sorted(states.items()))


def control_of(states: Mapping[str, str], condition: str, modality: str) -> str:
    """What the command line takes to run the control of a real condition.

    Args:
        states: state of each modality.
        condition: its name.
        modality: the modality that is shuffled.
    """
    others = [name for name, state in states.items() if state == "real" and name != modality]
    named = "_".join([*others, "shuffled", modality])
    if named in CONDITIONS:
        return f"modality={named}"
    return f"modality={condition} modality.states.{modality}=shuffle"
