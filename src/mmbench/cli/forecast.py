"""What a sweep would cost, measured by a short pilot, which controls it runs, and how wide its ranges would be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmbench.audit.repetitions import SETTINGS, Shared, repetition_of
from mmbench.data.held_out import OF_NEW_ITEMS
from mmbench.decision.gates import IMAGE
from mmbench.inference.gains import NoWord, TunedGain
from mmbench.inference.looks import level_after
from mmbench.inference.repetitions import Repeated
from mmbench.messages import Message, Template, Translator, duration
from mmbench.report.comparisons import Comparison, read_contrasts
from mmbench.report.control_conditions import States, by_name, control_of, control_states, without
from mmbench.report.disposals import Disposal, read_disposals
from mmbench.report.fairness_checks import Group, read_groups
from mmbench.report.layout import NOTHING, Document, terminal, text_table
from mmbench.report.planned_sides import would_grow
from mmbench.report.sentences import MODALITIES
from mmbench.report.table import SweepTable
from mmbench.scheduling import memory, pilot
from mmbench.scheduling.pilot import CellCost
from mmbench.scheduling.planning import Planned
from mmbench.scheduling.sweep import Sweep
from mmbench.store.schema import Cell, CellName
from mmbench.training import allocation
from mmbench.training.settings import cores_here
from mmbench.tuning.budget import PILOTS

WORKERS = (1, 2, 4, 8, 16, 64)
MODEL_COLUMNS = (
    Message("model (conditions of the pilots)"),
    Message("set-up s"),
    Message("epoch s"),
    Message("trainings"),
)
ENDS = (Message("shortest"), Message("longest"))
GAIN_COLUMNS = (
    Message("gain"),
    Message("after / of trials"),
    Message("level"),
    Message("range"),
    Message("gain seen in four of five studies"),
)
#: What follows where a condition is missing; something is decided about images alone.
UNDECIDABLE = Template("without one more condition nothing can be decided about {modality}; add {overrides}")
WITHOUT_A_WORD = Template("without one more condition free disposal of {modality} has no word; add {overrides}")

#: What follows where the new items of a data set are drawn once.
ONE_FOLD = Template("{data}: one draw of new items, about which there is no word; add dataset.cold_fold=0,1,2,3,4")
ONE_DRAW = Template("{data}: its new items are one draw, about which there is no word")


@dataclass(frozen=True)
class CellTime:
    """What is left of a cell.

    Args:
        once: seconds that its first training takes besides.
        waves: number of trainings that may run side by side, and seconds of each; every wave waits for the one before.
    """

    once: float
    waves: Sequence[tuple[int, float]]

    @staticmethod
    def shortest(plan: Planned, cost: CellCost) -> CellTime:
        """Of a cell whose trainings all stop as early as the rule, or the first rung, allows."""
        steps, budget = cost.training.steps_per_epoch, plan.task.budget
        fewest = budget.stopping.fewest_epochs(steps)
        return CellTime._of(plan, cost, fewest, min([fewest, *(math.ceil(rung / steps) for rung in budget.rungs[:1])]))

    @staticmethod
    def longest(plan: Planned, cost: CellCost) -> CellTime:
        """Of a cell whose trainings all run to the cap."""
        most = plan.task.budget.stopping.most_epochs(cost.training.steps_per_epoch)
        return CellTime._of(plan, cost, most, most)

    @staticmethod
    def _of(plan: Planned, cost: CellCost, epochs: int, cut: int) -> CellTime:
        """Of a cell whose trainings take ``epochs``, or ``cut`` where rungs may stop them."""
        effort, each = plan.task.effort, cost.training
        whole, short = each.seconds(epochs), each.seconds(cut)
        pilots = min(PILOTS, effort.trials) if plan.task.budget.rungs else effort.trials
        final = (effort.seeds, whole + each.extra)
        planned = [(pilots, whole), (effort.trials - pilots, short), *[(1, short)] * effort.proposals, final]
        left, waves = plan.left, []
        for n, seconds in reversed(planned):  # what has been trained came first
            waves.append((min(n, left), seconds))
            left -= min(n, left)
        return CellTime(cost.once, waves)

    def seconds(self, workers: int = 1) -> float:
        """From the first training to the last, of so many workers that have nothing else to do."""
        return self.once + sum(math.ceil(n / workers) * seconds for n, seconds in self.waves)


def together(cells: Sequence[CellTime], workers: int, speedup: float) -> float:
    """Seconds of a sweep, which is over no sooner than each of its cells alone.

    Args:
        cells: what is left of each.
        workers: how many there are.
        speedup: how many times as much as one they get done.
    """
    return max([sum(cell.seconds() for cell in cells) / speedup, *(cell.seconds(workers) for cell in cells)])


def controls(planned: Sequence[Planned], table: SweepTable | None) -> list[Message]:
    """Which condition is the control of each condition with content; nothing where no condition has any.

    A decision about images needs each condition with them without them as well, and so does the word of free disposal
    of any modality that has controls. Tuned for new items nothing is priced, so that words are all that is missing.

    Args:
        planned: cells of the command.
        table: what earlier commands of the sweep have run; None where there is nothing.
    """
    of_new = any(plan.task.target in OF_NEW_ITEMS for plan in planned)
    conditions: dict[tuple[str, str], dict[States, str]] = {}
    for name, cell in (table.cells if table else {}).items():
        if cell.status == "done":
            conditions.setdefault(name[:2], {})[by_name(cell.states)] = cell.modality
    for plan in planned:
        task = plan.task
        if not task.condition.thinned:
            states = {modality: task.condition.state(modality) for modality in task.features}
            conditions.setdefault(task.cell[:2], {})[by_name(states)] = task.cell.modality
    modalities = {modality for by_states in conditions.values() for states in by_states for modality, _ in states}
    lines = []
    for modality in sorted(modalities, key=lambda name: (name != IMAGE, name)):
        run: dict[str, str] = {}
        missing: dict[str, None] = {}
        for by_states in conditions.values():
            for key, condition in by_states.items():
                if (wanted := control_states(dict(key), modality)) is None:
                    continue
                if wanted in by_states:
                    run[condition] = by_states[wanted]
                else:
                    missing[control_of(dict(key), condition, modality)] = None
                asked = modality == IMAGE or wanted in by_states
                if asked and by_name({**dict(key), modality: "drop"}) not in by_states:
                    missing[without(dict(key), modality)] = None
        named = MODALITIES.get(modality, modality)
        if run:
            pairs = ", ".join(f"{control} ({condition})" for condition, control in sorted(run.items()))
            lines.append(
                Message(
                    "controls with shuffled {modality}, and what each of them controls: {pairs}",
                    modality=named,
                    pairs=pairs,
                )
            )
        lacking = UNDECIDABLE if modality == IMAGE and not of_new else WITHOUT_A_WORD
        lines += [Message(lacking, modality=named, overrides=overrides) for overrides in missing]
    return lines


def new_items(planned: Sequence[Planned], table: SweepTable | None) -> list[Message]:
    """What a sweep cannot say that is tuned for new items or has one fold of them; nothing for any other.

    Args:
        planned: cells of the command.
        table: what earlier commands of the sweep have run; None where there is nothing.
    """
    cells = [plan.job.record(plan.task) for plan in planned]
    folds: dict[Shared, dict[int, Cell]] = {}
    for cell in cells:
        shared, number = repetition_of(cell)
        if shared.kind is Repeated.FOLD:
            folds.setdefault(shared, {})[number] = cell
    if folds and table:
        for group in read_groups(table, table.folder):
            shared, number = repetition_of(group.cells[0].cell)
            if shared in folds:
                folds[shared][number] = group.cells[0].cell
    lines = []
    for shared, numbered in folds.items():
        if len(numbered) == 1:
            (cell,) = numbered.values()
            by_time = cell.config["dataset"].get(SETTINGS[Repeated.FOLD][0]) is None
            lines.append(Message(ONE_DRAW if by_time else ONE_FOLD, data=shared.data))
    if any(cell.target in OF_NEW_ITEMS for cell in cells):
        lines.append(
            Message(
                "tuned for new items: python -m mmbench decide does not price images in such a sweep; for an answer in "
                "money, tune for all items"
            )
        )
    return lines


class Looks:
    """Looks at the test split that a command adds to what gains are about.

    Args:
        table: what earlier commands of the sweep have run.
        groups: its fairness report.
        gains: contrasts and free disposals by their names.
        planned: cells of the command.
    """

    def __init__(
        self,
        table: SweepTable,
        groups: Sequence[Group],
        gains: Mapping[str, Disposal | Comparison],
        planned: Sequence[Planned],
    ) -> None:
        left = {plan.task.cell for plan in planned if plan.left}
        self.table, self.gains = table, gains
        cells = [cell for group in groups for cell in group.cells]
        self.before = {cell.cell.name: cell.n_looks for cell in cells}
        self.after = {cell.cell.name: cell.n_looks_with(cell.cell.name in left) for cell in cells}
        self.added = [plan.job.record(plan.task) for plan in planned if plan.task.cell not in table.cells]
        self.repeated = {group.dataset: repetition_of(group.cells[0].cell)[0] for group in groups}

    def further(self, gain: Disposal | Comparison) -> int:
        """How many looks more a gain will have."""
        return self._looks(gain, self.after, self.added) - self._looks(gain, self.before, ())

    def _looks(self, gain: Disposal | Comparison, looks: Mapping[CellName, int], added: Sequence[Cell]) -> int:
        """Looks of the cell that was looked at most often, of all repetitions, and those at all of them together."""
        together = len(gain.enlarged) + self._is_repeated(gain, added)
        if gain.over is not None:
            members = [self.gains[gain.name.replace(gain.dataset, name, 1)] for name in gain.over.datasets]
            return max(self._looks(member, looks, added) for member in members) + together
        if isinstance(gain, Disposal):
            together += would_grow(self.table, gain.dataset, gain.modality, gain.model, added)
        return max(looks.get(CellName(gain.dataset, *name.split("/", 1)), 1) for name in _conditions(gain)) + together

    def _is_repeated(self, gain: Disposal | Comparison, added: Sequence[Cell]) -> bool:
        """Whether cells are all conditions of a gain in another repetition of its data set."""
        if gain.within is not None:
            return False
        own = (gain.dataset,) if gain.over is None else gain.over.datasets
        conditions: dict[str, set[str]] = {}
        for cell in added:
            if cell.dataset not in own and repetition_of(cell)[0] == self.repeated[own[0]]:
                conditions.setdefault(cell.dataset, set()).add(f"{cell.model}/{cell.modality}")
        return any(names >= _conditions(gain) for names in conditions.values())


def _conditions(gain: Disposal | Comparison) -> set[str]:
    """Model and condition of each cell that a gain is about."""
    if isinstance(gain, Disposal):
        return {*gain.real, *gain.control}
    return {f"{side.model}/{side.modality}" for side in gain.sides}


def expected(table: SweepTable | None, planned: Sequence[Planned], translator: Translator) -> str:
    """How wide the range of every tuned gain was so far, which is how wide it is expected to be.

    A gain of more search on one side never has a range, however much is run. Ranges have the level of the looks that
    there will be: another one where a finished cell is to have more trials or final runs, and where a gain is about
    more conditions, models or repetitions once the command has run.

    Args:
        table: what earlier commands of the sweep have run; None where there is nothing.
        planned: cells of the command.
        translator: language.
    """
    gains: list[Disposal | Comparison] = []
    looks = None
    if table is not None:
        groups = read_groups(table, table.folder)
        gains += [*read_disposals(table, groups), *read_contrasts(table, groups)]
        looks = Looks(table, groups, {gain.name: gain for gain in gains}, planned)
    rows = []
    folds = False
    for gain in gains:
        tuned = gain.tuned
        if isinstance(tuned, TunedGain) and tuned.refusal is NoWord.MORE_SEARCH:
            continue
        if gain.within is not None and gain.within.kind is Repeated.FOLD:
            continue  # the range of one draw of new items holds no other draw
        log = tuned.estimate.log_gain if isinstance(tuned, TunedGain) else tuned and tuned.log_gain
        if looks and tuned and log and math.isfinite(log.log_ratio) and math.isfinite(log.se):
            level = level_after(tuned.level, looks.further(gain))
            numbers = [NOTHING, NOTHING]  # both sides are the same runs, which tell neither
            if log.se > 0:
                width = (log.at(level).hi - log.at(level).lo) / 2
                numbers = [f"± {translator.percent(width, 1)}", translator.percent(log.mde(1 - level), 1)]
            folds |= gain.over is not None and gain.over.kind is Repeated.FOLD
            rows.append([gain.name, f"{tuned.n} / {tuned.trials}", translator.percent(level, 1), *numbers])
    if not rows:
        unknown = Message(
            "range of the gains, and the gain that is seen in four of five studies: unknown before a pilot has run"
        )
        return f"{translator(unknown)}\n"
    header = [translator(name) for name in GAIN_COLUMNS]
    title = translator(Message("Expected range of the gains, from what has run"))
    notes = [
        Message(
            "More users narrow a range. So do more trials up to about 30, hardly beyond: a gain is told for a third."
        )
    ]
    if folds:
        notes.append(Message("A range over folds of new items is narrowed by further folds."))
    return terminal(Document("", [text_table(title, header, rows)], [translator(note) for note in notes]))


def described(sweep: Sweep, translator: Translator) -> str:
    """The pilot of each (dataset, model), what follows for the sweep, and what this machine would make of it."""
    rows: list[list[str]] = []
    low: list[CellTime] = []
    high: list[CellTime] = []
    disk = peak = 0.0
    waiting = [plan for plan in sweep.planned if not plan.finished]
    for (dataset, model), cells in pilot.heaviest(waiting).items():
        first, last = cells[0], cells[-1]
        sizes = [pilot.content(plan) for plan in cells]
        with first.job.running_model():
            most = pilot.measure_cell(first.task)
            least = pilot.measure_cell(last.task) if sizes[-1] < sizes[0] else most
        costs = [pilot.between(least, most, (size - sizes[-1]) / max(sizes[0] - sizes[-1], 1)) for size in sizes]
        shortest = [CellTime.shortest(plan, cost) for plan, cost in zip(cells, costs, strict=True)]
        longest = [CellTime.longest(plan, cost) for plan, cost in zip(cells, costs, strict=True)]
        disk += sum(plan.left * cost.training.state_mb for plan, cost in zip(cells, costs, strict=True))
        low, high, peak = low + shortest, high + longest, max(peak, least.training.peak_mb, most.training.peak_mb)
        ends = {plan.task.cell.modality: cost.training for plan, cost in ((last, least), (first, most))}
        measured = [
            ", ".join(translator.number(getattr(one, name), digits) for one in ends.values())
            for name, digits in (("setup", 1), ("epoch", 2))
        ]
        trainings = translator.number(sum(plan.left for plan in cells))
        names = sorted({plan.task.cell.dataset for plan in cells})
        name = f"{names[0] if len(names) == 1 else f'{dataset} × {len(names)}'}/{model} ({', '.join(ends)})"
        spans = [translator(duration(together(times, 1, 1))) for times in (shortest, longest)]
        rows.append([name, *measured, trainings, *spans])
    allocation.release()  # what pilots side by side are to have for themselves
    header = [translator(name) for name in (*MODEL_COLUMNS, *ENDS)]
    spread = [[str(n), *(translator(duration(together(times, n, n))) for times in (low, high))] for n in WORKERS]
    tables = [
        text_table(
            translator(Message("Pilots of every model, with the least and with the most content")), header, rows
        ),
        text_table(
            translator(
                Message(
                    "How long the sweep takes: shortest if every training stops as early as the rule allows, longest "
                    "if every one runs to the cap"
                )
            ),
            [translator(name) for name in (Message("workers"), *ENDS)],
            spread,
        ),
    ]
    note = Message.counted(
        "this machine has {n} core; states, which an audit ranks again, take about {disk} MB of disk, memory about "
        "{memory} MB per worker",
        "this machine has {n} cores; states, which an audit ranks again, take about {disk} MB of disk, memory about "
        "{memory} MB per worker",
        cores_here(),
        disk=translator.number(disk),
        memory=translator.number(peak),
    )
    return terminal(Document("", tables, [translator(note), *here(sweep, waiting, low, high, peak, translator)]))


def here(
    sweep: Sweep,
    waiting: Sequence[Planned],
    low: Sequence[CellTime],
    high: Sequence[CellTime],
    peak: float,
    translator: Translator,
) -> list[str]:
    """How many workers a pool of this machine would have on which devices, and for how long.

    Args:
        sweep: the sweep.
        waiting: cells that are not finished.
        low: what is left of them, at least.
        high: what is left of them, at most.
        peak: memory of a worker in MiB.
        translator: language.
    """
    machine, asked = sweep.machine(), sweep.config.sweep
    found = pilot.sharings(waiting, machine) if machine.needs_pilot(asked) else {}
    measured = {devices: one.workers for devices, one in found.items()} or None
    layout = machine.layout(asked, measured)
    workers, left = layout.size, memory.available()
    if left is not None and not layout.fixed:
        workers = max(1, min(workers, int(left / (2**20 * peak))))
    speedup = sum(one.speedup for one in found.values()) if found else workers
    named = {
        "workers": machine.described(asked, measured),
        "shortest": duration(together(low, workers, speedup)),
        "longest": duration(together(high, workers, speedup)),
    }
    # What workers that share a card or a processor get done together is known where a pilot measured it.
    if not found and workers > (len(machine.groups) or machine.cores // machine.per_training):
        told = Message("here: {workers}; from {shortest} to {longest}, if they do not slow each other down", **named)
    else:
        told = Message("here: {workers}; from {shortest} to {longest}", **named)
    pilots = {one.card: pilot.described(one) for one in found.values()}
    return [*map(translator, pilots.values()), translator(told)]
