"""Types for the configuration of a job; each type checks its section and reports an error as one line."""

from __future__ import annotations

import functools
import inspect
import math
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from mmbench.data.conditions import ModalityCondition
from mmbench.data.dataset import DatasetConfig
from mmbench.data.held_out import TARGETS
from mmbench.data.planted import make_world
from mmbench.data.readers.text_table import shortened
from mmbench.evaluation import metrics
from mmbench.evaluation.metrics import LIST_LENGTH
from mmbench.inference.contrast import Contrast
from mmbench.messages import Refusal
from mmbench.messages.hints import did_you_mean
from mmbench.store.bounds import check_finite, check_list, check_type
from mmbench.tuning.budget import Budget

T = TypeVar("T")
RESUME = ("auto", "force", "never")
#: Largest number of a draw; each has 100,000 seeds of its own, and generators take numbers of 32 bits.
MOST_DRAW = 10_000
#: Least number of users whose validation is ranked.
LEAST_SAMPLE = 30
#: Of ``sweep.workers_per_device``: as many as a pilot finds useful.
AUTO = "auto"
#: A resolved section of a configuration file, as plain Python.
Section = Mapping[str, Any]
#: Sections of every configuration, and the keys that are read of those that no type stands for.
SECTIONS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("sweep", "study", "dataset", "modality", "budget", "statistics", "report", "export"), ()),
    **dict.fromkeys(("model", "search", "tracking", "tuning", "evaluation"), ()),
    "paths": ("multirun",),
    "optimizer": ("lr", "weight_decay"),
    "training": ("batch_size", "accelerator", "devices", "precision", "neighbours", "compile"),
}
#: What a training had to do before it was an option, and what records leave out therefore.
LEFT_OUT = {"compile": False}
#: What else every configuration has.
OTHERS: Mapping[str, Any] = {"tiers": list[str], "lang": str, "debug": bool}


@dataclass(frozen=True)
class SweepConfig:
    """The sweep as a whole.

    Args:
        name: name of the sweep.
        dir: folder of the records.
        workers: worker processes of a machine; None is one per core, as far as the memory goes, or on GPUs what
            ``workers_per_device`` says.
        grace: seconds after SIGTERM in which a training may end before it is given back.
        workers_per_device: worker processes of every GPU, :data:`AUTO` for as many as a pilot finds useful; where
            trainings run on processors it means nothing.
    """

    name: str
    dir: str
    workers: int | None
    grace: float
    workers_per_device: int | str = AUTO

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise Refusal("{setting} is empty", setting="sweep.name")
        if not self.dir.strip():
            raise Refusal("{setting} is empty", setting="sweep.dir")
        if self.workers is not None and (type(self.workers) is not int or self.workers < 1):
            raise Refusal(
                "sweep.workers={workers} must be a whole number of at least 1, or null for one per core",
                workers=self.workers,
            )
        each = self.workers_per_device
        if each != AUTO and (type(each) is not int or each < 1):
            raise Refusal(
                "sweep.workers_per_device={each} must be auto or a whole number of at least 1",
                each=shortened(f"{each}"),
            )
        if each != AUTO and self.workers is not None:
            raise Refusal(
                "sweep.workers={workers} and sweep.workers_per_device={each} are both given; the first counts the "
                "workers of a machine, the second those of each GPU: give one of them",
                workers=self.workers,
                each=each,
            )
        grace = self.grace
        if isinstance(grace, bool) or not isinstance(grace, int | float) or not 0 <= grace < math.inf:
            raise Refusal("sweep.grace={grace} must be a number of seconds of at least 0", grace=grace)


@dataclass(frozen=True)
class StudyConfig:
    """How workers share and resume a sweep.

    Args:
        resume: ``auto`` resumes, ``force`` moves records aside, ``never`` refuses if records exist.
        storage: where leases are stored.
        lease_timeout: seconds of silence after which another worker takes a training over.
        draw: number of the draw of slots, seeds and shuffles; unlike the rest it is part of what runs.
    """

    resume: str
    storage: str
    lease_timeout: float
    draw: int = 0

    def __post_init__(self) -> None:
        if type(self.draw) is not int or not 0 <= self.draw <= MOST_DRAW:
            raise Refusal("study.draw={value} must be a whole number from 0 to {most}", value=self.draw, most=MOST_DRAW)
        if self.resume not in RESUME:
            raise Refusal(
                "study.resume={resume} is unknown; it is one of {known}", resume=self.resume, known=", ".join(RESUME)
            )
        number = isinstance(self.lease_timeout, int | float) and not isinstance(self.lease_timeout, bool)
        if not number or not 1 <= self.lease_timeout <= 1e9:
            raise Refusal(
                "study.lease_timeout={value} must be a number of seconds from 1 to 1000000000", value=self.lease_timeout
            )


@dataclass(frozen=True)
class StatisticsConfig:
    """Margin and contrasts of the inference, fixed before a sweep runs.

    Args:
        delta: equivalence margin of the relative gain.
        contrasts: planned contrasts by name.
    """

    delta: float
    contrasts: list[str]

    def __post_init__(self) -> None:
        check_list("statistics.contrasts", self.contrasts, "fused_vs_text")
        if isinstance(self.delta, bool) or not isinstance(self.delta, int | float) or not 0 < self.delta < math.inf:
            raise Refusal("statistics.delta={delta} must be a positive number, 0.02 for 2 %", delta=self.delta)
        for name in self.contrasts:
            Contrast.parse(str(name))

    @property
    def pairs(self) -> list[Contrast]:
        """The planned contrasts."""
        return [Contrast.parse(name) for name in self.contrasts]


@dataclass(frozen=True)
class TuningConfig:
    """What trials are chosen by where some items are new; every condition of a data set gets the same.

    Args:
        target: ``cold`` for NDCG@20 of new items among themselves, ``warm`` for that of the others, ``harmonic`` for
            the harmonic mean of both in common lists; None is ``cold`` under protocol ``cold``, and under any other all
            held-out interactions among all items.
    """

    target: str | None

    def __post_init__(self) -> None:
        if self.target is not None and self.target not in TARGETS:
            raise Refusal(
                "tuning.target={target} is unknown; it is one of {targets}",
                target=self.target,
                targets=", ".join(TARGETS),
            )


@dataclass(frozen=True)
class EvaluationConfig:
    """How many users rank validation; test is always ranked for everybody.

    Args:
        validation_users: users whose validation is ranked, at least :data:`LEAST_SAMPLE`: a random sample, the same for
            every model and condition of a data set; None, or as many as there are, is all of them.
        all_users: for records: users with validation interactions, of whom the sample was drawn.
    """

    validation_users: int | None
    all_users: int | None = None

    def __post_init__(self) -> None:
        n = self.validation_users
        if n is not None and (type(n) is not int or n < LEAST_SAMPLE):
            raise Refusal(
                "evaluation.validation_users={value} must be a whole number of at least {least}, or null for all users",
                value=shortened(f"{n}"),
                least=LEAST_SAMPLE,
            )


@dataclass(frozen=True)
class GivenConfig:
    """A configuration that another sweep has tuned, which a cell takes as it is.

    Args:
        dataset: data set that it was tuned on.
        model: its model.
        modality: its condition.
        root: root of the records of that sweep.
        trials: trials that it was chosen from.
        configuration: value by searched path.
        settings: value by the path of what was set beside the search; files of earlier versions do not say it.
    """

    dataset: str
    model: str
    modality: str
    root: str
    trials: int
    configuration: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportConfig:
    """Metrics of the report.

    Args:
        metrics: metrics that the tables show.
        primary: metric that is judged, fixed before a sweep runs; trials are chosen by validation NDCG@20 whatever it
            is.
        printed: whether a sweep prints its tables when it is done.
    """

    metrics: list[str]
    primary: str
    printed: bool = True

    def __post_init__(self) -> None:
        check_list("report.metrics", self.metrics, "ndcg@20")
        for name in self.metrics:
            metrics.check_name(name)
        if metrics.is_own(metrics.check_name(self.primary)[0]):
            raise Refusal(
                "report.primary={primary} must be one of {metrics}: no verdict rests on code that could change once "
                "results are known; 'report.metrics=[{primary}]' shows it",
                primary=self.primary,
                metrics=", ".join(metrics.METRICS),
            )
        if metrics.check_name(self.primary)[1] > LIST_LENGTH:
            raise Refusal(
                "report.primary={primary} looks further down than the {most} items that the lists of a run hold",
                primary=self.primary,
                most=LIST_LENGTH,
            )


@dataclass(frozen=True)
class ExportConfig:
    """Number of top items per user that a cell exports with raw ids; 0 exports nothing."""

    top_k: int

    def __post_init__(self) -> None:
        if not isinstance(self.top_k, int) or not 0 <= self.top_k <= LIST_LENGTH:
            raise Refusal(
                "export.top_k={top_k} must be a whole number from 0 to {most}", top_k=self.top_k, most=LIST_LENGTH
            )


@dataclass(frozen=True)
class JobConfig:
    """The configuration of one job.

    ``model``, ``search``, ``optimizer`` and ``training`` stay plain mappings: every trial sets its own values in them,
    and the result is checked by the model and by :class:`mmbench.training.settings.TrainingSettings`.

    Args:
        plain: the whole configuration, resolved.
        sweep: the sweep as a whole.
        study: how workers share it.
        dataset: how the dataset is read, without the range of its learning rate.
        modality: the modality condition.
        budget: tuning effort.
        statistics: what is inferred.
        tuning: what trials are chosen by.
        evaluation: how many users rank validation.
        report: what the report prints.
        export: what a cell exports.
        given: the configuration that is taken without tuning; None where the cell is tuned.
    """

    plain: Section
    sweep: SweepConfig
    study: StudyConfig
    dataset: DatasetConfig
    modality: ModalityCondition
    budget: Budget
    statistics: StatisticsConfig
    tuning: TuningConfig
    evaluation: EvaluationConfig
    report: ReportConfig
    export: ExportConfig
    given: GivenConfig | None = None

    @staticmethod
    def of(plain: Section) -> JobConfig:
        """Read a resolved configuration.

        Raises:
            ValueError: for a key that a section does not have, or a value that it does not allow.
        """
        check_sections(plain)
        dataset = {key: value for key, value in plain["dataset"].items() if key != "lr"}
        if dataset.get("world") is not None:
            options = dataset.get("world_options")
            check_type("dataset.world_options", options, Section | None)
            check_keys("dataset.world_options", make_world, options or {}, given=2)
        given = plain.get("given")
        check_type("given", given, Section | None)
        config = JobConfig(
            plain,
            sweep=made("sweep", SweepConfig, plain["sweep"]),
            study=made("study", StudyConfig, plain["study"]),
            dataset=made("dataset", DatasetConfig, dataset),
            modality=made("modality", ModalityCondition, plain["modality"]),
            budget=made("budget", Budget, plain["budget"]),
            statistics=made("statistics", StatisticsConfig, plain["statistics"]),
            tuning=made("tuning", TuningConfig, plain["tuning"]),
            evaluation=made("evaluation", EvaluationConfig, plain["evaluation"]),
            report=made("report", ReportConfig, plain["report"]),
            export=made("export", ExportConfig, plain["export"]),
            given=None if given is None else made("given", GivenConfig, given),
        )
        check_finite(plain)
        return config

    @staticmethod
    def of_record(config: Section, draw: int = 0) -> JobConfig:
        """The configuration of a recorded cell, which leaves out where and how its sweep ran.

        Args:
            config: field ``config`` of the cell's record.
            draw: field ``draw`` of the cell's record.

        Raises:
            ValueError: as :meth:`of`.
        """
        sweep = {"name": "recorded", "dir": "recorded", "workers": None, "grace": 0}
        study = {"resume": "auto", "storage": "files", "lease_timeout": 120.0, "draw": draw}
        left_out = {
            "sweep": sweep,
            "study": study,
            "report": {"metrics": [], "primary": "ndcg@20"},
            "export": {"top_k": 0},
            "tuning": {"target": None},
            "evaluation": {"validation_users": None},
            "paths": {"multirun": "recorded"},
            "tracking": {},
            "tiers": [],
            "lang": "en",
            "debug": False,
        }
        if isinstance(training := config.get("training"), Mapping):
            config = {**config, "training": {**LEFT_OUT, **training}}
        return JobConfig.of({**left_out, **config})

    @property
    def sweep_dir(self) -> Path:
        """The folder of the sweep."""
        return Path(self.sweep.dir)


def recorded_training(training: Section) -> Section:
    """The section of trainings as a record has it, which says nothing that records of earlier versions do not say."""
    return {name: value for name, value in training.items() if (name, value) not in LEFT_OUT.items()}


def made(section: str, make: Callable[..., T], options: Section) -> T:
    """Make a type from a section of the configuration.

    Raises:
        ValueError: for a key of the section that ``make`` does not take, one that it needs, or a value of another type.
    """
    _check_names(section, make, options, given=0)
    for name, parameter in inspect.signature(make).parameters.items():
        if parameter.default is parameter.empty and name not in options:
            raise Refusal("{section}.{key} is missing", section=section, key=name)
    try:
        value = make(**options)  # whose own sentences say more than that a type is another
    except (TypeError, AttributeError):
        _check_types(section, make, options)
        raise
    _check_types(section, make, options)
    return value


def check_keys(section: str, make: Callable[..., Any], options: Section, given: int = 0) -> None:
    """Refuse a key of a section that ``make`` does not take, and a value of another type than it takes.

    Args:
        section: dotted path of the section.
        make: callable that takes the keys as arguments.
        options: the section.
        given: number of leading arguments that do not come from the section.

    Raises:
        ValueError: naming the key and what is accepted.
    """
    _check_names(section, make, options, given)
    _check_types(section, make, options)


def check_read(plain: Section) -> None:
    """Refuse a setting of a training that none reads; records of earlier versions may hold such a key.

    Args:
        plain: a configuration whose sections are checked.

    Raises:
        ValueError: naming the key and what is accepted.
    """
    for section in ("optimizer", "training"):
        _check_known(section, plain[section], SECTIONS[section])


def _check_names(section: str, make: Callable[..., Any], options: Section, given: int) -> None:
    parameters = list(inspect.signature(make).parameters.values())[given:]
    _check_known(section, options, [p.name for p in parameters if p.kind is not p.VAR_KEYWORD])


def _check_known(section: str, options: Section, accepted: Sequence[str]) -> None:
    for key in options:
        if key not in accepted:
            raise Refusal(
                "{section}.{key} is not a key of {section}; {hint}",
                section=section,
                key=key,
                hint=did_you_mean(key, accepted),
            )


def _check_types(section: str, make: Callable[..., Any], options: Section) -> None:
    hints = _hints(make)
    for key, value in options.items():
        check_type(f"{section}.{key}", value, hints.get(key, Any))


def check_sections(plain: Section) -> None:
    """Refuse a configuration whose sections are none.

    Raises:
        ValueError: naming the section or the key.
    """
    for section, keys in SECTIONS.items():
        held = plain.get(section)
        if not isinstance(held, Mapping):
            raise Refusal("{section}={value} must hold keys and values", section=section, value=shortened(f"{held}"))
        for key in keys:
            if key not in held:
                raise Refusal("{section}.{key} is missing", section=section, key=key)
    for key, value in plain["paths"].items():
        check_type(f"paths.{key}", value, str)
    # An unset variable of a shell; sweeps, and data, would be at the root of the files.
    for key, setting in (("multirun", "paths.multirun"), ("data", "paths.data ($MMBENCH_DATA)")):
        if key in plain["paths"] and not plain["paths"][key].strip():
            raise Refusal("{setting} is empty", setting=setting)
    for key, kind in OTHERS.items():
        check_type(key, plain.get(key), kind)


@functools.cache
def _hints(make: Callable[..., Any]) -> Mapping[str, Any]:
    """Annotations of what a callable takes, those that YAML has values of; a user's model may have any others."""
    try:
        hints = typing.get_type_hints(vars(make).get("__init__", make) if isinstance(make, type) else make)
    except Exception:
        return {}
    return {name: kind for name, kind in hints.items() if _is_plain(kind)}


def _is_plain(kind: Any) -> bool:
    try:
        msgspec.json.schema(kind)
    except TypeError:
        return False
    return True
