"""Types of everything that a sweep writes down: one frozen type per kind of record, validated when it is read.

A record of a training is deterministic: the same training gives the same bytes. What differs from run to run (seconds,
machine, time of day) is a :class:`Cost` and stands in the ledger.

The records form a tree of hashes: a training covers its validation vector and its state, a choice the plan and all its
trials, a seal the choice, the final runs and every file of test ranks; see ``docs/audit.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec

from mmbench import fingerprint
from mmbench.data.held_out import target_of

#: Layout of the records; a reader refuses any other.
SCHEMA_VERSION = 4

#: Trials or final runs that may be planned for a cell: an audit draws so many configurations, whoever wrote the plan.
#: More final runs than these would share seeds with trials, see :data:`FIRST_SEED`.
MOST_TRAININGS = 9_999
HowMany = Annotated[int, msgspec.Meta(ge=0, le=MOST_TRAININGS)]

#: Values of the searched hyper-parameters by dotted path.
Configuration = dict[str, Any]
#: Keys of a budget section that say how often a cell is trained; every other one changes what a training comes to.
HOW_OFTEN = ("name", "trials", "seeds")


def training_rule(budget: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a budget section that every training of a cell depends on: all but its name, T and S."""
    return {name: value for name, value in budget.items() if name not in HOW_OFTEN}


#: Begins the reason of a training that failed for want of memory.
SHORT_OF_MEMORY = "out of memory: "
#: Why a model that is computed stopped; it has no parameters to be kept, and is computed again.
CLOSED_FORM = "closed_form"


#: Modality of the one cell of a model that looks at no content.
ID_ONLY = "-"


class CellName(NamedTuple):
    """The unit of tuning and of a table: a dataset, a model and a modality condition.

    The condition is ``-`` for a model that ignores content.
    """

    dataset: str
    model: str
    modality: str

    def __str__(self) -> str:
        return "/".join(self)


class Sample(NamedTuple):
    """How many users rank validation, and of how many they are a sample."""

    users: int
    all: int


class Stage(StrEnum):
    """Why a training ran."""

    TRIAL = "tune"
    PROPOSAL = "extended"
    FINAL = "final"


#: Added to the number of a training to give its seed; final seeds are 1..S, so no two stages share one.
FIRST_SEED = {Stage.TRIAL: 10_000, Stage.PROPOSAL: 20_000, Stage.FINAL: 0}


class Unit(NamedTuple):
    """One training of a cell.

    Attributes:
        stage: a random trial, a trial that TPE proposed, or a final run.
        number: its slot, its place among the proposals, or its number among the final runs, from 1.
    """

    stage: Stage
    number: int

    @property
    def seed(self) -> int:
        """Seed of the training in draw 0, the same for all conditions."""
        return FIRST_SEED[self.stage] + self.number


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A part of a record."""


class Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True, gc=False):
    """A file of its own; its tag is the ``kind`` in the file."""

    schema_version: int = SCHEMA_VERSION


class Course(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What a training came to, epoch by epoch; the loop fills it.

    Attributes:
        history: validation score after each epoch.
        losses: mean of each term of the loss by epoch; empty for a model that is computed.
        best_epoch: epoch of the best score, from 1; of several the first, but where new items are ranked among
            themselves the last.
        steps_per_epoch: optimizer steps of an epoch; 0 for a model that is computed.
        stop_reason: ``patience``, ``max_steps``, ``rung`` or ``closed_form``.
        popularity: validation score of the popularity baseline, of new items their exact floor; None where all items
            are equally popular, and where new items are ranked without content.
        validated: validation score of the best state as it is stored, which chooses; those of ``history`` come from
            unrounded states and only end the training.
        cold_rows: what stands in the free rows of items that training has not seen when they are ranked: ``zero``;
            empty where the model has no such row.
        offset: offset of new items in common lists, which validation chose; None where there are none, and of a trial
            that is ranked in no such list.
    """

    history: list[float] = []
    losses: list[dict[str, float]] = []
    best_epoch: int = 0
    steps_per_epoch: int = 0
    stop_reason: str = "max_steps"
    popularity: float | None = None
    validated: float = 0.0
    cold_rows: str = ""
    offset: float | None = None

    @property
    def epochs(self) -> int:
        """Epochs that were run."""
        return len(self.history)

    def epoch_of(self, step: int) -> int:
        """The first epoch after which so many steps were made."""
        return math.ceil(step / max(self.steps_per_epoch, 1))

    @property
    def best(self) -> float:
        """The best validation score of an epoch."""
        return self.history[self.best_epoch - 1]

    @property
    def risen_at(self) -> int:
        """The first epoch that reached the best score, from which patience counts."""
        return self.history.index(self.best) + 1

    @property
    def stalled(self) -> bool:
        """Whether patience ended it while it was worse than the popularity baseline."""
        return self.stop_reason == "patience" and self.popularity is not None and self.best < self.popularity

    @property
    def late_rise(self) -> float | None:
        """Relative rise of the best score in the last quarter of a training that the cap ended, None for any other.

        Above a quarter of the equivalence margin the training counts as cut off: it was still rising.
        """
        begin = len(self.history) - math.ceil(len(self.history) / 4)
        if self.stop_reason != "max_steps" or begin < 1:
            return None
        before, last = max(self.history[:begin]), max(self.history[begin:])
        if before <= 0:
            return math.inf if last > 0 else 0.0
        return max(last / before - 1.0, 0.0)


class Cost(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What a training cost.

    Attributes:
        seconds: wall time of the training; None for one that failed.
        setup_seconds: of it, building (and computing) the model.
        ranking_seconds: of it, scoring and ranking validation.
        total_seconds: wall time with retries and tries that failed; None where a training was killed with its worker.
        n_samples: triplets trained on.
        ranked_users: users whose validation was ranked, summed over epochs.
        device: where the training ran.
        peak_rss_mb: largest resident memory of the process so far, in MiB.
        machine: processor and instruction set that the numbers were computed with.
        energy_kwh: energy; None where no meter is installed or works.
    """

    seconds: float | None = None
    setup_seconds: float = 0.0
    ranking_seconds: float = 0.0
    total_seconds: float | None = None
    n_samples: int = 0
    ranked_users: int = 0
    device: str | None = None
    peak_rss_mb: float | None = None
    machine: str | None = None
    energy_kwh: float | None = None

    @property
    def spent(self) -> float:
        """Seconds that it took, however it ended and with tries that failed; 0 where nobody timed it."""
        return self.total_seconds or self.seconds or 0.0


class Control(Value, frozen=True):
    """Proof that a modality was under control: does it differ from the real features, how alike are its rows?"""

    state: str
    differs_from_real: bool
    cosine_mean: float
    cosine_sd: float


class Approximation(Value, frozen=True):
    """Neighbour lists that are not exact: their size, their recall on a sample, and the library that found them."""

    items: int
    k: int
    recall: float
    sample: int
    library: str


class Failure(Value, frozen=True):
    """Why a training has no result."""

    reason: str
    traceback: str = ""


class Training(Record, frozen=True):
    """One training of a cell.

    Attributes:
        cell_key: key of the cell.
        stage: why it ran.
        index: slot of a trial, place of a proposal, number of a final run.
        seed: seed of initial values, batch order, negatives and dropout.
        configuration: values of the searched hyper-parameters.
        configuration_hash: hash of ``configuration``.
        feature_hash: fingerprint of all features that the model was given.
        split_hash: fingerprint of training and validation interactions.
        metric: what validation measured.
        precision: Lightning's precision flag.
        versions_hash: hash of the versions it was trained with, as in :attr:`Cell.versions`.
        controls: every modality whose state is not ``real``.
        course: epochs and scores; None for a training that failed.
        n_parameters: trained numbers of the model.
        approximations: item graphs that are not exact.
        failure: why there is no result.
        validation_hash: fingerprint of the validation score of every user; empty without a result.
        state_hash: fingerprint of the stored parameters; empty where none are stored.
        hash: hash of all of this but the traceback of a failure, which names places of the machine.
    """

    cell_key: str
    stage: Stage
    index: int
    seed: int
    configuration: Configuration
    configuration_hash: str
    feature_hash: str
    split_hash: str
    metric: str
    precision: str
    versions_hash: str
    controls: dict[str, Control] = {}
    course: Course | None = None
    n_parameters: int | None = None
    approximations: list[Approximation] = []
    failure: Failure | None = None
    validation_hash: str = ""
    state_hash: str = ""
    hash: str = ""

    @property
    def unit(self) -> Unit:
        """Which training of the cell this is."""
        return Unit(self.stage, self.index)

    def ended(self, **result: Any) -> Training:
        """The record with its result: ``course`` and what goes with it, or ``failure``; and with its hash."""
        return hashed(msgspec.structs.replace(self, **result))

    @property
    def succeeded(self) -> bool:
        """Whether there is a result."""
        return self.course is not None

    @property
    def score(self) -> float | None:
        """Validation score of the stored state; None for a training that failed."""
        return None if self.course is None else self.course.validated


class Trial(Training, frozen=True, tag="trial"):
    """A training that tuning may choose: a random slot or a proposal of TPE."""


class FinalRun(Training, frozen=True, tag="final"):
    """A training of the chosen configuration from one of the final seeds."""


#: Type of the record by stage.
TRAININGS: dict[Stage, type[Training]] = {Stage.TRIAL: Trial, Stage.PROPOSAL: Trial, Stage.FINAL: FinalRun}


class Choice(Record, frozen=True, tag="choice"):
    """The configuration that validation chose, written before the test split is opened.

    Attributes:
        cell_key: key of the cell.
        stage: stage of the chosen trial.
        slot: its slot or place.
        configuration: its configuration.
        metric: what validation measured.
        score: its validation score.
        n_trials: trials that took part.
        n_failed: of them, failed ones.
        plan: hash of what the plan fixes for good, see :func:`fixed`.
        trials: hash of every trial that took part, by slot, then of every proposal.
        hash: hash of all of this; the seal repeats it.
    """

    cell_key: str
    stage: Stage
    slot: int
    configuration: Configuration
    metric: str
    score: float
    n_trials: int
    n_failed: int
    plan: str
    trials: list[str]
    hash: str = ""

    @property
    def unit(self) -> Unit:
        """The trial that was chosen."""
        return Unit(self.stage, self.slot)


class Seal(Record, frozen=True, tag="seal"):
    """The test split was opened for one choice.

    Attributes:
        cell_key: key of the cell.
        choice_hash: hash of the choice.
        test_hash: fingerprint of the test interactions, with the new items among them.
        protocol: how the data were split.
        valid_masked: whether validation items are taken off the lists too.
        finals: numbers of the final runs, from 1.
        runs: hash of every final run, in the order of ``finals``.
        files: fingerprint of every file of test ranks and lists, by its path in the cell.
        unscored: trials whose scores on test were degenerate, and why; see :func:`unscored`.
        hash: hash of all of this.
    """

    cell_key: str
    choice_hash: str
    test_hash: str
    protocol: str
    valid_masked: bool
    finals: list[int]
    runs: list[str]
    files: dict[str, str]
    unscored: list[str] = []
    hash: str = ""


def unscored(training: Training) -> str:
    """How :attr:`Seal.unscored` names a trial or a proposal; earlier versions called a proposal a trial too."""
    return f"{'proposal' if training.stage == Stage.PROPOSAL else 'trial'} {training.index}"


class Effort(Value, frozen=True):
    """How often a cell is trained.

    Attributes:
        trials: random slots, T; fewer than asked for where the space holds fewer configurations.
        proposals: trials that TPE proposes after them.
        seeds: final runs, S.
    """

    trials: int
    proposals: int
    seeds: int

    @property
    def trainings(self) -> int:
        """All of them."""
        return self.trials + self.proposals + self.seeds

    def raised(self, other: Effort) -> Effort:
        """The larger one of each number."""
        return Effort(
            trials=max(self.trials, other.trials),
            proposals=max(self.proposals, other.proposals),
            seeds=max(self.seeds, other.seeds),
        )

    def is_met_by(self, choice: Choice, seal: Seal) -> bool:
        """Whether a cell was chosen among all these trials and tested with all these final runs."""
        finals = list(range(1, len(seal.finals) + 1))  # the record says how many; a list of so many is not made for it
        return choice.n_trials == self.trials + self.proposals and seal.finals == finals and len(finals) == self.seeds


class Cell(Record, frozen=True, tag="cell"):
    """What a cell is about, written when its folder is claimed, and again when its effort is raised.

    Attributes:
        key: hash of everything that decides its results, the test split left out.
        dataset: its dataset.
        model: its model.
        modality: its condition.
        draw: number of the draw of slots, seeds and shuffles.
        effort: how often it is trained.
        config: the resolved configuration, without what says where or how the sweep runs.
        states: state of every modality of the dataset.
        split_hash: fingerprint of training and validation interactions.
        data: what was read of the dataset, in words.
        features: fingerprint of the real features by modality.
        external: fingerprint of the lists of an external system; None for any other model.
        versions: versions of what decides numbers, and a fingerprint of the source.
        plan: hash of what the plan fixes for good, see :func:`fixed`.
        data_folder: folder that its data were read from, which no hash covers; earlier versions kept it in ``config``.
        hash: hash of all of this but the folder.
    """

    key: str
    dataset: str
    model: str
    modality: str
    draw: int
    effort: Effort
    config: dict[str, Any]
    states: dict[str, str]
    split_hash: str
    data: list[str]
    features: dict[str, str]
    external: str | None
    versions: dict[str, str | None]
    plan: str
    data_folder: str | msgspec.UnsetType | None = msgspec.UNSET
    hash: str = ""

    @property
    def name(self) -> CellName:
        """Dataset, model and condition."""
        return CellName(self.dataset, self.model, self.modality)

    @property
    def located_config(self) -> dict[str, Any]:
        """The configuration with the folder of the data in its place."""
        if self.data_folder is msgspec.UNSET:
            return self.config
        return {**self.config, "dataset": {**self.config["dataset"], "path": self.data_folder}}

    @property
    def target(self) -> str:
        """What its tuning aims at; empty where all held-out interactions are ranked among all items."""
        dataset, tuning = (self.config.get(section, {}) for section in ("dataset", "tuning"))
        return target_of(dataset.get("protocol", ""), tuning.get("target"))

    @property
    def keeps_last_of_equals(self) -> bool:
        """Whether of equally good epochs the last is kept: where new items are ranked among themselves."""
        return self.target == "cold"

    @property
    def given(self) -> Configuration | None:
        """The configuration of another sweep that it took; None where it was tuned."""
        given = self.config.get("given")
        return given["configuration"] if isinstance(given, Mapping) else None

    @property
    def is_external(self) -> bool:
        """Whether it ranks lists of another system, whatever the name of its model."""
        return self.config.get("model", {}).get("recommendations") is not None

    @property
    def lists(self) -> dict[str, int] | None:
        """How much of the lists of another system the data know; None for a model, and in records of earlier versions.

        See :class:`mmbench.data.readers.recommendations.Coverage`. What stands there otherwise is no such count either;
        an audit finds it.
        """
        match self.config.get("lists"):
            case {"known": int(known), "rows": int(rows), "listed": int(listed), "users": int(users), **others}:
                if 0 <= known <= rows and 0 <= listed <= users and not others:
                    return {"known": known, "rows": rows, "listed": listed, "users": users}
        return None

    @property
    def thinned(self) -> bool:
        """Whether items lost content that they have."""
        return any(self.config.get("modality", {}).get("missing", {}).values())

    @property
    def sample(self) -> Sample | None:
        """Users whose validation is ranked, and those of whom they were drawn; None where it is all of them."""
        section = self.config.get("evaluation", {})
        users = section.get("validation_users")
        return None if users is None else Sample(users, section.get("all_users"))


class CellFailure(Record, frozen=True, tag="failure"):
    """Why a cell has no result."""

    key: str
    reason: str
    traceback: str


class PlannedCell(Value, frozen=True):
    """A cell that a sweep is going to run.

    Attributes:
        dataset: its dataset.
        model: its model.
        modality: its condition.
        key: key of its records.
        folder: its folder, relative to that of the sweep.
        draw: number of the draw of slots, seeds and shuffles.
        rule: hash of the training rule; conditions of a model under one rule are raised together.
        trials: T as asked for.
        seeds: S.
        trainings: how many.
        tiers: those that the model's YAML declares.
        asked: conditions that the command asked for.
    """

    dataset: str
    model: str
    modality: str
    key: str
    folder: str
    draw: int
    rule: str
    trials: HowMany
    seeds: HowMany
    trainings: int
    tiers: list[str] = []
    asked: list[str] = []

    @property
    def name(self) -> CellName:
        """Dataset, model and condition."""
        return CellName(self.dataset, self.model, self.modality)

    @property
    def family(self) -> tuple[str, str, str]:
        """What its conditions share: dataset, model and training rule."""
        return self.dataset, self.model, self.rule


class Revision(Value, frozen=True, omit_defaults=True):
    """A command that planned new cells, more trials or final runs for all conditions of earlier ones, or these afresh.

    Attributes:
        trials: T from then on.
        seeds: S from then on.
        cells: key of every cell that it planned them for, by ``dataset/model/modality``.
        data: fingerprint of every dataset of these cells, see :class:`DataPrint`.
        versions: hash of the versions by cell, as in :attr:`Training.versions_hash`.
        command: its overrides.
        planned_at: when, UTC.
        previous: hash of the revision before; that of the first one is what the plan fixes for good.
        seals: hash of the seal of every cell whose effort it raised, that it began afresh or that was trained by a plan
            that is lost, where the test split had been opened by then; earlier versions wrote none, or only those of
            raised cells, or none where the plan was lost.
        opened: cells of the plan whose test split had been opened by then, those that an earlier revision names left
            out; None of earlier versions, which did not note it.
        hash: hash of all of this but the time; that of the last revision is the hash of the plan.
    """

    trials: HowMany
    seeds: HowMany
    cells: dict[str, str]
    data: dict[str, str]
    versions: dict[str, str]
    command: list[str]
    planned_at: str
    previous: str
    seals: dict[str, str] = {}
    opened: list[str] | None = None
    hash: str = ""

    @property
    def models(self) -> list[str]:
        """What it planned them for, as ``dataset/model``."""
        return sorted({cell.rpartition("/")[0] for cell in self.cells})


class DataPrint(Value, frozen=True, omit_defaults=True):
    """What a dataset was when it was planned; a default value stands in no file, as in those of earlier versions.

    Attributes:
        split_hash: fingerprint of training and validation interactions.
        test_hash: fingerprint of the test interactions, with the new items among them.
        valid_users: fingerprint of the users whose validation is ranked.
        n_users: users.
        n_items: items.
        n_train: training interactions, those of users who have every training item left out.
        features: fingerprint of the real features by modality.
        validation_users: how many users' validation is ranked, where that is a sample; None where it is all of them.
        new_items: fingerprint of the whole test part with its pool of new items; empty where there are none.
        target: what tuning aims at, one of :data:`mmbench.data.held_out.TARGETS`; empty where that is all items.
    """

    split_hash: str
    test_hash: str
    valid_users: str
    n_users: int
    n_items: int
    n_train: int
    features: dict[str, str]
    validation_users: int | None = None
    new_items: str = ""
    target: str = ""


class Sharing(Value, frozen=True):
    """How many workers share a device, as a pilot of the heaviest model measured it.

    Attributes:
        card: name of the device.
        workers: workers that it takes.
        cores: processors that the pool had.
        models: models that were tried, as ``dataset/model``; of them all the heaviest one decides.
        heaviest: cell of the model that takes the most memory; empty where every pilot failed.
        device_bytes: what a training of it takes there.
        free_bytes: what was free before.
        epoch_seconds: an epoch of it, alone on the device.
        epochs_per_second: what workers get done together, by their number; empty where more than one was not tried.
        limit: the most workers that cores and trainings allowed, whatever the card has room and use for; 1 where a
            short sweep or a failure left more than one untried, 0 in manifests that do not tell.
        per_training: devices of a training.
    """

    card: str
    workers: int
    cores: int
    models: list[str]
    heaviest: str = ""
    device_bytes: int = 0
    free_bytes: int = 0
    epoch_seconds: float = 0.0
    epochs_per_second: dict[str, float] = {}
    limit: int = 0
    per_training: int = 1

    @property
    def speedup(self) -> float:
        """How many times as much as one worker all workers of a device get done."""
        rates = self.epochs_per_second
        return rates[str(self.workers)] / rates["1"] if self.workers > 1 else 1.0


class Manifest(Record, frozen=True, tag="manifest"):
    """What a sweep is going to run, written before the first cell runs.

    Attributes:
        name: name of the sweep.
        command: overrides of the command line.
        budget: the budget section of the configuration.
        delta: equivalence margin.
        contrasts: planned contrasts, like ``fused_vs_text``.
        config_hash: fingerprint of budget, training, optimizer, statistics, primary metric and a sample of validation.
        metrics: metrics of the report.
        primary: metric that is judged.
        modalities: conditions that were asked for.
        cells: what runs.
        data: what the datasets were, by name of the dataset.
        revisions: how often what was to be trained, command by command, as a chain of hashes.
        statistics: the statistics section of the configuration.
        device_sharing: how many workers share a device, by name of the device; of the machines, so no hash covers it.
        named: cells that the last command named, whose budget stands here; earlier versions did not note it.
        hash: hash of all of this but the times and the machines.
    """

    name: str
    command: list[str]
    budget: dict[str, Any]
    delta: float
    contrasts: list[str]
    config_hash: str
    metrics: list[str]
    modalities: list[str]
    cells: list[PlannedCell]
    data: dict[str, DataPrint]
    revisions: list[Revision]
    primary: str
    statistics: dict[str, Any]
    device_sharing: dict[str, Sharing] = {}
    # What is unset stands in no file, and no hash covers it: the hash of an earlier version stays what it was.
    named: list[str] | msgspec.UnsetType = msgspec.UNSET
    hash: str = ""

    @property
    def plan_hash(self) -> str:
        """Hash of the plan: of its last revision, which covers all before."""
        return self.revisions[-1].hash

    def seals_of(self, cell: CellName, key: str) -> dict[int, str]:
        """Hash of the seal of a cell under a key, as every revision that holds one has it, numbered from 1."""
        name = str(cell)
        return {
            number: revision.seals[name]
            for number, revision in enumerate(self.revisions, 1)
            if name in revision.seals and revision.cells.get(name) == key
        }

    def noted(self) -> set[str]:
        """Names of the cells of which a revision itself says that their test split had been opened."""
        return {name for revision in self.revisions for name in (*(revision.opened or ()), *revision.seals)}

    def first_planned(self) -> dict[str, int]:
        """Number of the revision that planned each cell first, by its name."""
        found: dict[str, int] = {}
        for number, revision in enumerate(self.revisions, 1):
            found = {**dict.fromkeys(revision.cells, number), **found}
        return found

    def planned_late(self) -> set[str]:
        """Names of the cells that were planned first when their test split had been opened: a plan before was lost."""
        first = self.first_planned()
        return {
            name
            for number, revision in enumerate(self.revisions, 1)
            for name in revision.opened or ()
            if first.get(name) == number
        }

    def first_opened(self) -> dict[str, int]:
        """Number of the first revision that was planned when the test split of a cell had been opened, by its name.

        Where a revision does not note it, that is everything that earlier ones had planned.
        """
        found: dict[str, int] = {}
        planned: set[str] = set()
        for number, revision in enumerate(self.revisions, 1):
            for name in planned if revision.opened is None else revision.opened:
                found.setdefault(name, number)
            planned |= revision.cells.keys()
        return found


class LedgerRow(Record, frozen=True, tag="training"):
    """A finished training in the ledger: what of its record compares, and what it cost.

    Attributes:
        dataset: dataset of the cell.
        model: model of the cell.
        modality: condition of the cell.
        budget: name of the budget.
        searched: number of searched hyper-parameters.
        status: ``ok`` or ``failed``.
        score: validation score of the stored state; None for a training that failed.
        epochs: epochs that were run.
        best_epoch: epoch of the best score.
        stop_reason: why it ended.
        stalled: whether patience ended it below the popularity baseline.
        late_rise: relative rise in its last quarter, where the cap ended it.
        n_parameters: trained numbers.
        cost: what it cost.
        finished_at: when it ended, UTC.
        hash: hash of the record.
        cell_key: as in the record; so are the other fields.
    """

    cell_key: str
    dataset: str
    model: str
    modality: str
    stage: Stage
    index: int
    seed: int
    configuration: Configuration
    configuration_hash: str
    feature_hash: str
    split_hash: str
    budget: str
    searched: int
    status: str
    score: float | None
    epochs: int | None
    best_epoch: int | None
    stop_reason: str | None
    stalled: bool
    late_rise: float | None
    n_parameters: int | None
    cost: Cost
    finished_at: str
    hash: str

    @property
    def unit(self) -> Unit:
        """Which training of the cell this is."""
        return Unit(self.stage, self.index)

    @staticmethod
    def of(
        name: CellName, training: Training, cost: Cost, *, budget: str, searched: int, finished_at: str
    ) -> LedgerRow:
        """The row of a training: a projection of its record.

        Args:
            name: its cell.
            training: its record.
            cost: what it cost.
            budget: name of the budget.
            searched: number of searched hyper-parameters.
            finished_at: when it ended, UTC.
        """
        same = (
            "cell_key",
            "stage",
            "index",
            "seed",
            "configuration",
            "configuration_hash",
            "feature_hash",
            "split_hash",
            "hash",
        )
        course = training.course
        return LedgerRow(
            **name._asdict(),
            **{field: getattr(training, field) for field in same},
            budget=budget,
            searched=searched,
            status="ok" if training.succeeded else "failed",
            score=training.score,
            epochs=None if course is None else course.epochs,
            best_epoch=None if course is None else course.best_epoch,
            stop_reason=None if course is None else course.stop_reason,
            stalled=course is not None and course.stalled,
            late_rise=None if course is None or course.late_rise == math.inf else course.late_rise,
            n_parameters=training.n_parameters,
            cost=cost,
            finished_at=finished_at,
        )


#: Every kind of record; a reader decodes this union, so that a record without its ``kind`` is none.
AnyRecord = Trial | FinalRun | Choice | Seal | Cell | CellFailure | Manifest | LedgerRow

#: What carries its own hash.
Hashed = TypeVar("Hashed", Training, Choice, Seal, Cell, Revision, Manifest)
#: Fields of a record, of a revision and of a failure that no hash covers: the hash itself, times of day, and what
#: machines are and where things lie. What else has such a name, such as a data set, is covered.
NOT_HASHED = frozenset({"hash", "planned_at", "traceback", "device_sharing", "data_folder"})


def hashed(record: Hashed) -> Hashed:
    """The record with its hash filled in."""
    return msgspec.structs.replace(record, hash=content_hash(record))


def content_hash(record: Hashed) -> str:
    """The hash that a record should carry: it covers every field but those of :data:`NOT_HASHED`."""
    return fingerprint.of_json(_covered(msgspec.to_builtins(record)))


def _covered(record: dict[str, Any]) -> dict[str, Any]:
    covered = {name: part for name, part in record.items() if name not in NOT_HASHED}
    if isinstance(revisions := covered.get("revisions"), list):
        covered["revisions"] = list(map(_covered, revisions))
    if isinstance(failure := covered.get("failure"), dict):
        covered["failure"] = _covered(failure)
    return covered


def fixed(delta: float, contrasts: Sequence[str], primary: str, statistics: Mapping[str, Any]) -> str:
    """Hash of what a plan fixes for good: no later command changes the margin, the contrasts or the primary metric."""
    return fingerprint.of_json([SCHEMA_VERSION, delta, list(contrasts), primary, dict(statistics)])
