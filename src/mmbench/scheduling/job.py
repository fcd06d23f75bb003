"""Turns a configuration into the task of a cell."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from mmbench import extensions, fingerprint, paths
from mmbench.data.conditions import SETTING, SLICE, STATES, maker_of
from mmbench.data.dataset import SAMPLE, Dataset, DatasetConfig, load_dataset
from mmbench.data.divisions import members_of
from mmbench.data.held_out import target_in_name, target_of
from mmbench.data.readers.recommendations import Coverage, read_recommendations
from mmbench.data.recdata import RecData
from mmbench.messages import Message, Refusal, Translator, series
from mmbench.nn.recommender import ClosedForm, Recommender
from mmbench.scheduling.cell_key import check_searched, default_of, key_of, unsearched, with_values
from mmbench.scheduling.configuration import JobConfig, Section, check_keys, check_read, recorded_training
from mmbench.scheduling.model_classes import class_of, running
from mmbench.scheduling.own_code import own_files
from mmbench.scheduling.trust import Trust, is_packaged, outside
from mmbench.store import records
from mmbench.store.bounds import check_plain
from mmbench.store.records import CellStore
from mmbench.store.schema import ID_ONLY, Cell, CellName, Configuration, fixed
from mmbench.training.fit import ModelFactory
from mmbench.training.settings import TrainingSettings
from mmbench.training.stopping import StoppingRule
from mmbench.tuning.cell import CellTask
from mmbench.tuning.space import Space, read_space

#: Sections that set where or how a sweep runs; no record may depend on them, ``study.draw`` aside, which has a field
#: of its own.
PLACE_OR_MANNER = ("paths", "tracking", "sweep", "study", "export", "report", "lang", "debug", "tiers")


@dataclass(frozen=True)
class Job:
    """One cell of a sweep, ready to be sent to a worker.

    Args:
        config: its configuration.
        choices: chosen option of every configuration group; ``model`` and ``modality`` name the cell.
        overrides: the job's own overrides.
        sweep_dir: folder of the sweep.
        trust: None for a job that this command was asked for; for one that a record describes, what may be used of it.
    """

    config: JobConfig
    choices: Mapping[str, str]
    overrides: tuple[str, ...]
    sweep_dir: Path
    trust: Trust | None = None

    @property
    def _model(self) -> Section:
        model: Section = self.config.plain["model"]
        return model

    def running_model(self) -> contextlib.AbstractContextManager[None]:
        """Run the code of its model before it trains, see :func:`mmbench.scheduling.model_classes.running`."""
        return running(self._model["_target_"])

    @functools.cached_property
    def model_class(self) -> type[Recommender]:
        """The model's class.

        Raises:
            ValueError: if ``model._target_`` is missing, no recommender, or the word of a record alone.
        """
        target = self._model.get("_target_")
        if target is None:
            raise Refusal(
                "model={model} has no model._target_; is the first line of its YAML # @package _global_ ?",
                model=self.choices["model"],
            )
        check_plain(Message("configuration"), self.config.plain)  # what is refused here could not be read again
        model = class_of(target, self.trust)
        arguments = _arguments(self._model)
        check_keys("model", model, arguments, given=1)
        for name, value in arguments.items():
            least = int(name == "embedding_dim")
            if name.endswith("dim") and isinstance(value, int) and value < least:
                raise Refusal(
                    "{key}={value} must be a whole number of at least {least}",
                    key=f"model.{name}",
                    value=value,
                    least=least,
                )
        return model

    @property
    def cell(self) -> CellName:
        """Dataset, model and condition; a model that ignores content has one cell per dataset.

        A draw other than 0 is part of the dataset's name, as a split seed is, and so is a target other than that of the
        protocol: what was tuned for one target is compared with nothing that was tuned for another.
        """
        draw = f"-draw{self.config.study.draw}" if self.config.study.draw else ""
        target = target_in_name(self.config.dataset.protocol, self.target)
        return CellName(f"{self.config.dataset.cell_name}{target}{draw}", self.choices["model"], self.modality)

    @property
    def repeated(self) -> str:
        """Data set and target: what the splits, folds and draws of one data set share, which cost the same."""
        return "-".join(filter(None, [self.config.dataset.repeated_name, self.target]))

    @property
    def target(self) -> str:
        """What tuning aims at; empty where all held-out interactions are ranked among all items."""
        return target_of(self.config.dataset.protocol, self.config.tuning.target)

    @property
    def modality(self) -> str:
        """Name of the condition, ``-`` for a model that ignores content."""
        return self.asked_modality if self.model_class.uses_content else ID_ONLY

    @property
    def asked_modality(self) -> str:
        """Name of the requested condition, including its overrides on the command line.

        Raises:
            ValueError: for a word that takes something out of the condition, which no name would tell.
        """
        prefix = "modality."
        for word in self.overrides:
            if word.startswith(f"~{prefix}"):
                raise Refusal(
                    "{word}: nothing can be taken out of a condition; set it, for example modality.states.text=drop",
                    word=word,
                )
        words = [word.lstrip("+") for word in self.overrides]
        changed = [word.removeprefix(prefix) for word in words if word.startswith(prefix)]
        last = {word.partition("=")[0]: word for word in changed}  # which counts where a key is given twice
        return paths.slug([self.choices["modality"], *sorted(last.values())])

    def resuming(self) -> Job:
        """Return a copy for an opened sweep, so that no records are moved aside again."""
        return replace(self, config=replace(self.config, study=replace(self.config.study, resume="auto")))

    def dataset(self) -> Dataset:
        """The dataset with the held-out interactions that the target ranks, of the users who rank validation.

        It is read once per process.

        Raises:
            ValueError: if it cannot be read, only a record says where it lies, or it has nothing for the target.
        """
        if self.trust is not None and (why := self.trust.objection(self.config.dataset)):
            raise Refusal(why)
        section = fingerprint.canonical_json(self.config.plain["dataset"])
        return _aimed(section, self.target, self.config.evaluation.validation_users)

    def task(self) -> CellTask:
        """Input of tuning, without the test split.

        Raises:
            ValueError: for a condition the dataset cannot serve, a setting that no training reads, or a search path
                that does not exist or that no training reads.
        """
        dataset = self.dataset()
        condition = self.config.modality
        if self.model_class.uses_content:
            condition.check(dataset.features, dataset.name)
            self._check_states()
        inside = self._inside(dataset) if self.model_class.uses_content else None
        space = read_space(self.config.plain["search"])
        default = default_of(self.config.plain, space)
        if self.trust is None:  # records of earlier versions may say that they set and searched what nothing reads
            check_read(self.config.plain)
            check_searched(space, self.config.budget.rungs, computed=issubclass(self.model_class, ClosedForm))
        return CellTask(
            cell=self.cell,
            train=dataset.split.train,
            valid=dataset.split.ranked_valid,
            features=dataset.features if self.model_class.uses_content else {},
            condition=condition,
            space=space,
            default=default,
            budget=self.config.budget,
            recipe=functools.partial(_recipe, self.model_class, self.config.plain, self._recommendations),
            split_fingerprint=dataset.split.tuning_fingerprint,
            draw=self.config.study.draw,
            versions=records.versions(self._own_model(), self._own_state_files()),
            new_valid=dataset.split.ranked_new_valid,
            target=self.target,
            inside=inside,
            given=self._given(space),
        )

    def _given(self, space: Space) -> Configuration | None:
        """The configuration of another sweep, where it is to be taken.

        Raises:
            ValueError: for one that has other values than those that are searched here.
        """
        given = self.config.given
        if given is None:
            return None
        if given.configuration.keys() != space.keys():
            raise Refusal(
                "given: the configuration of {cell} sets {set}, and {searched} are searched here; it is one of another "
                "search space",
                cell=f"{given.dataset}/{given.model}/{given.modality}",
                set=", ".join(sorted(given.configuration)) or "-",
                searched=", ".join(sorted(space)) or "-",
            )
        return dict(given.configuration)

    @property
    def set_otherwise(self) -> Message | None:
        """Which settings its configuration was tuned with that have another value here; None where there are none."""
        given = self.config.given
        if given is None:
            return None
        here = unsearched(self.config.plain, given.configuration)
        others = [path for path, value in given.settings.items() if path in here and here[path] != value]
        if not others:
            return None
        return Message(
            "{model} on {dataset}: what tuned= gives was tuned with {earlier}, and is trained with {now} here",
            model=self.cell.model,
            dataset=self.cell.dataset,
            earlier=series([f"{path}={fingerprint.canonical_json(given.settings[path])}" for path in others]),
            now=series([f"{path}={fingerprint.canonical_json(here[path])}" for path in others]),
        )

    def _inside(self, dataset: Dataset) -> NDArray[np.bool_] | None:
        """Items that keep their content under ``missing_rule=slice``.

        Raises:
            ValueError: for a slice that the data do not have, or one whose items are no longer those of the record.
        """
        condition = self.config.modality
        if condition.missing_rule != SLICE:
            return None
        counts = np.bincount(dataset.split.train.items, minlength=dataset.n_items)
        inside = members_of(condition.missing_slice, counts, dataset.items, dataset.texts)
        if condition.missing_items not in ("", fingerprint.of_arrays(inside)):
            raise Refusal(
                "modality.missing_slice={slice}: its items are no longer those that the record was made with",
                slice=condition.missing_slice,
            )
        return inside

    @property
    def _own_states(self) -> list[str]:
        """States of the condition that are no part of the package."""
        condition = self.config.modality
        return sorted({condition.default, *condition.states.values()} - STATES.keys())

    def _check_states(self) -> None:
        """Refuse states that cannot be imported, or that only a record names."""
        for name in self._own_states:
            if self.trust is not None:
                self.trust.check_import(extensions.STATES, name, SETTING)
            maker_of(name)

    def _own_model(self) -> dict[str, Path]:
        """Files of a model that is no part of the package, and of what it imports, by module."""
        # A package may offer a class that one of its modules holds.
        named = _module_of(extensions.MODELS, str(self._model["_target_"]))
        return own_files([self.model_class.__module__, named])

    def _own_state_files(self) -> dict[str, Path]:
        """The same of the states of the condition."""
        named = self._own_states if self.model_class.uses_content else []
        return own_files([_module_of(extensions.STATES, name) for name in named])

    @property
    def _recommendations(self) -> NDArray[np.float64] | None:
        """Lists of an external system; None for any other model."""
        return None if self._lists is None else self._lists[0]

    @property
    def coverage(self) -> Coverage | None:
        """How much of the lists of an external system belongs to the dataset; None for any other model."""
        return None if self._lists is None else self._lists[1]

    @functools.cached_property  # the task holds them anyway
    def _lists(self) -> tuple[NDArray[np.float64], Coverage] | None:
        """Lists of an external system, read against the ids of the dataset."""
        file = self._model.get("recommendations")
        if file is not None and self.trust is not None and not self.trust.may_read(Path(file)):
            raise Refusal(outside(file))
        if file is None:
            return None
        dataset = self.dataset()
        return read_recommendations(Path(file), dataset.user_ids, dataset.item_ids)

    def store(self, task: CellTask) -> CellStore:
        """Records of the cell under a key that hashes everything its trainings depend on.

        The test split is no part of it, and neither are T and S, which can be raised.
        """
        folder, translator = paths.cell_dir(self.sweep_dir, *task.cell), Translator(self.config.plain["lang"])
        return CellStore(self.sweep_dir, folder, self.record(task).key, translator=translator)

    def record(self, task: CellTask) -> Cell:
        """The record of the cell."""
        condition, config = self.config.modality, self.config
        external, coverage = self._recommendations, self.coverage
        recorded = _recorded(config.plain, task.inside, self.dataset())
        if coverage is not None:
            recorded["lists"] = coverage._asdict()
        cell = Cell(
            key="",
            **task.cell._asdict(),
            draw=task.draw,
            effort=task.effort,
            config=recorded,
            states={name: condition.state(name) for name in sorted(task.features)},
            split_hash=task.split_fingerprint,
            data=[str(line) for line in self.dataset().summary()],
            features={name: feature.fingerprint() for name, feature in sorted(task.features.items())},
            external=None if external is None else fingerprint.of_arrays(external),
            versions=dict(task.versions),
            plan=fixed(
                config.statistics.delta, config.statistics.contrasts, config.report.primary, config.plain["statistics"]
            ),
            data_folder=config.dataset.path,
        )
        return msgspec.structs.replace(cell, key=key_of(cell))


def _recorded(plain: Section, inside: NDArray[np.bool_] | None, dataset: Dataset) -> dict[str, Any]:
    """The configuration as a record has it: nothing of where or how, which items a slice held, a sample of whom."""
    recorded = {name: section for name, section in plain.items() if name not in PLACE_OR_MANNER}
    if recorded.get("given") is None:  # of a cell that is tuned there is nothing to be said
        recorded.pop("given", None)
    recorded["dataset"] = {name: value for name, value in plain["dataset"].items() if name != "path"}
    recorded["training"] = recorded_training(plain["training"])
    if inside is not None:
        recorded["modality"] = {**recorded["modality"], "missing_items": fingerprint.of_arrays(inside)}
    split = dataset.split
    sample = None if split.ranked is None else {"all_users": len(split.valid.active_users)}
    # A number that is no fewer than all of them gives what null gives, and the same key.
    recorded["evaluation"] = {**plain["evaluation"], **(sample or {"validation_users": None})}
    return recorded


def _arguments(model: Section) -> dict[str, Any]:
    """Arguments of a model's constructor: its section without the keys that name the class."""
    return {name: value for name, value in model.items() if not name.startswith("_")}


def _module_of(group: str, name: str) -> str:
    """Module of what an installed package offers under a name, or of a dotted name."""
    return extensions.offered(group).get(name, name).rpartition(".")[0]


def _recipe(
    model_class: type[Recommender],
    plain: Section,
    recommendations: NDArray[np.float64] | None,
    configuration: Configuration,
) -> tuple[ModelFactory, TrainingSettings]:
    """Build a model factory and training settings from the job's configuration with the values of one slot."""
    merged = with_values(plain, configuration)
    arguments = _arguments(merged["model"])
    if recommendations is not None:
        arguments["recommendations"] = torch.from_numpy(recommendations)
    budget, training, optimizer = merged["budget"], merged["training"], merged["optimizer"]
    # Written as ${training.batch_size}, it was resolved before a slot had its say; one that differs was given.
    nominal = "train_batch_size"
    if f"model.{nominal}" not in configuration and arguments.get(nominal) == plain["training"]["batch_size"]:
        arguments[nominal] = training["batch_size"]
    settings = TrainingSettings(
        stopping=StoppingRule(*(budget[field.name] for field in fields(StoppingRule))),
        batches_per_epoch=budget["batches_per_epoch"],
        batch_size=training["batch_size"],
        accelerator=training["accelerator"],
        devices=training["devices"],
        precision=training["precision"],
        neighbours=training["neighbours"],
        compile=training["compile"],
        lr=optimizer["lr"],
        weight_decay=optimizer["weight_decay"],
    )
    build = functools.partial(model_class, **arguments)
    packaged = is_packaged(f"{model_class.__module__}.{model_class.__name__}")
    return build if packaged else functools.partial(_on_its_own, build), settings


def _on_its_own(build: ModelFactory, data: RecData) -> Recommender:
    """A model of the user's own, with features of its own: what it writes into them no other training reads."""
    values = {name: each.clone() for name, each in data.features.items()}
    return build(replace(data, features=values, present={name: each.clone() for name, each in data.present.items()}))


def forget_data() -> None:
    """Let go of the data sets that this process has read; cells that are open keep theirs."""
    for read in (_aimed, _dataset):
        read.cache_clear()


@functools.cache
def _aimed(section: str, target: str, users: int | None) -> Dataset:
    dataset = _dataset(section)
    if target:
        dataset = replace(dataset, split=dataset.split.towards(target))
    return dataset if users is None else _ranked_by(dataset, users)


def _ranked_by(dataset: Dataset, users: int) -> Dataset:
    """The dataset with a sample of the users whose validation is ranked, which its summary tells."""
    split, everyone = dataset.split.sampled(users), f"{len(dataset.split.valid.active_users):,}"
    said = Message(SAMPLE, users=f"{users:,}", all=everyone)
    if split.ranked is None:
        said = Message(
            "validation: all {all} users, because evaluation.validation_users={users} is no fewer",
            all=everyone,
            users=users,
        )
    return replace(dataset, split=split, notices=(*dataset.notices, said))


@functools.cache  # tasks keep their data in memory anyway
def _dataset(section: str) -> Dataset:
    options = json.loads(section)
    options.pop("lr")
    return load_dataset(DatasetConfig(**options))
