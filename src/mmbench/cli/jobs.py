"""From a composed configuration to the task of a cell."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from numpy.typing import NDArray
from omegaconf import OmegaConf

from mmbench import fingerprint, paths, records
from mmbench.budget import Budget
from mmbench.cells import Cell, CellTask
from mmbench.cli.compose import Composed
from mmbench.cli.errors import check_keys, made
from mmbench.data.dataset import Dataset, DatasetConfig, load_dataset
from mmbench.data.external import read_recommendations
from mmbench.data.modality import ModalityCondition
from mmbench.data.planted import make_world
from mmbench.messages import Refusal
from mmbench.models.base import Recommender
from mmbench.records import CellStore
from mmbench.search import Configuration, read_space
from mmbench.training import ModelFactory, TrainingSettings

ID_ONLY = "-"
#: Sections that say where or how a sweep runs, not what; no record may depend on them.
PLACE_OR_MANNER = ("paths", "tracking", "sweep", "study", "export", "report", "debug", "tiers")
#: Training settings that say on what a training runs; they change no result beyond rounding.
WHERE_IT_TRAINS = ("accelerator", "devices")


@dataclass(frozen=True)
class Job:
    """One cell of a sweep, ready to be sent to a worker.

    Args:
        composed: its configuration.
        sweep_dir: folder of the sweep.
    """

    composed: Composed
    sweep_dir: Path

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved configuration."""
        return self.composed.config

    @functools.cached_property
    def model_class(self) -> type[Recommender]:
        """The model's class.

        Raises:
            ValueError: if ``model._target_`` is missing or no recommender.
        """
        target = self.config["model"].get("_target_")
        if target is None:
            raise Refusal(
                "model={model} has no model._target_; is the first line of its YAML # @package _global_ ?",
                model=self.composed.choices["model"],
            )
        try:
            found = get_class(target)
        except Exception as error:  # Hydra wraps whatever importing the user's module raised
            raise Refusal("model._target_={target} cannot be imported: {error}", target=target, error=error) from error
        if not (isinstance(found, type) and issubclass(found, Recommender)):
            raise Refusal("model._target_={target} must derive from FactorModel or ClosedForm", target=target)
        check_keys("model", found, {k: v for k, v in self.config["model"].items() if not k.startswith("_")})
        return found

    @property
    def cell(self) -> Cell:
        """Dataset, model and condition; a model that ignores content has one cell per dataset (RULINGS 15)."""
        return Cell(self.dataset_config.cell_name, self.composed.choices["model"], self.modality)

    @property
    def modality(self) -> str:
        """Name of the condition, ``-`` for a model that ignores content."""
        if not self.model_class.uses_content:
            return ID_ONLY
        return self.asked_modality

    @property
    def asked_modality(self) -> str:
        """Name of the condition as asked for; what the command line changed of it is part of the name."""
        prefix = "modality."
        changed = sorted(word.lstrip("+") for word in self.composed.overrides)
        changed = [word.removeprefix(prefix) for word in changed if word.startswith(prefix)]
        return paths.slug([self.composed.choices["modality"], *changed])

    @property
    def budget(self) -> Budget:
        """Tuning effort."""
        return made("budget", Budget, self.config["budget"])

    @property
    def condition(self) -> ModalityCondition:
        """The modality condition."""
        return made("modality", ModalityCondition, self.config["modality"])

    @property
    def dataset_config(self) -> DatasetConfig:
        """How the dataset is read, without the range of its learning rate."""
        return made("dataset", DatasetConfig, {k: v for k, v in self.config["dataset"].items() if k != "lr"})

    def dataset(self) -> Dataset:
        """The dataset; read once per process."""
        return _dataset(fingerprint.canonical_json(self.config["dataset"]))

    def task(self) -> CellTask:
        """What tuning is given: no test split in it.

        Raises:
            ValueError: for a condition the dataset cannot serve or a search path that does not exist.
        """
        dataset = self.dataset()
        condition = self.condition
        if self.model_class.uses_content:
            condition.check(dataset.features, dataset.name)
        space = read_space(self.config["search"])
        return CellTask(
            cell=self.cell,
            train=dataset.split.train,
            valid=dataset.split.valid,
            features=dataset.features if self.model_class.uses_content else {},
            condition=condition,
            space=space,
            default={path: _at(self.config, path) for path in space},
            budget=self.budget,
            recipe=functools.partial(_recipe, self._with_recommendations(dataset)),
            split_fingerprint=dataset.split.tuning_fingerprint,
        )

    def _with_recommendations(self, dataset: Dataset) -> Mapping[str, Any]:
        """The configuration, with the file of an external system read against the ids of the dataset."""
        rows = self._recommendations(dataset)
        if rows is None:
            return self.config
        return {**self.config, "model": {**self.config["model"], "recommendations": torch.from_numpy(rows)}}

    def _recommendations(self, dataset: Dataset) -> NDArray[np.float64] | None:
        file = self.config["model"].get("recommendations")
        return None if file is None else read_recommendations(Path(file), dataset.user_ids, dataset.item_ids)[0]

    def store(self, task: CellTask) -> CellStore:
        """The cell's folder under its key: everything that decides its results, the test split left out."""
        seen = task.condition.kept(task.features)
        external = self._recommendations(self.dataset())
        key = {
            "schema": records.SCHEMA_VERSION,
            "cell": list(task.cell),
            "split": task.split_fingerprint,
            "features": {name: task.features[name].fingerprint() for name in seen},
            "external": None if external is None else fingerprint.of_arrays(external),
            "condition": _condition_key(task.condition, seen),
            "training": {k: v for k, v in self.config["training"].items() if k not in WHERE_IT_TRAINS},
            **{name: self.config[name] for name in ("model", "search", "optimizer", "budget")},
        }
        folder = paths.cell_dir(self.sweep_dir, *task.cell)
        return CellStore(self.sweep_dir, folder, fingerprint.of_json(key))

    def description(self, task: CellTask) -> dict[str, Any]:
        """What ``cell.json`` says besides the key."""
        dataset = self.dataset()
        condition = self.condition
        return {
            **task.cell._asdict(),
            "config": {k: v for k, v in self.config.items() if k not in PLACE_OR_MANNER},
            "states": {name: condition.state(name) for name in sorted(task.features)},
            "split_hash": task.split_fingerprint,
            "data": dataset.summary(),
            "features": {name: feature.fingerprint() for name, feature in sorted(task.features.items())},
            "versions": records.versions(),
        }


def _condition_key(condition: ModalityCondition, seen: Sequence[str]) -> dict[str, Any]:
    """What of a condition decides results: states and missing rates of the modalities it keeps, and the seed."""
    missing = {name: condition.missing[name] for name in seen if condition.missing.get(name)}
    rule = condition.missing_rule if missing else None
    states = {name: condition.state(name) for name in seen}
    return {"states": states, "missing": missing, "rule": rule, "seed": condition.seed}


def _recipe(config: Mapping[str, Any], configuration: Configuration) -> tuple[ModelFactory, TrainingSettings]:
    """A model factory and training settings from the job's configuration with one slot's values put in."""
    merged = OmegaConf.create(dict(config), flags={"allow_objects": True})
    for path, value in configuration.items():
        OmegaConf.update(merged, path, value)
    try:
        build: ModelFactory = instantiate(merged.model)
    except InstantiationException as error:
        raise Refusal("model: {error}", error=str(error).splitlines()[0]) from error
    budget, training, optimizer = merged.budget, merged.training, merged.optimizer
    settings = TrainingSettings(
        max_epochs=budget.max_epochs,
        patience=budget.patience,
        batches_per_epoch=budget.batches_per_epoch,
        batch_size=training.batch_size,
        accelerator=training.accelerator,
        devices=training.devices,
        precision=training.precision,
        neighbours=training.neighbours,
        lr=optimizer.lr,
        weight_decay=optimizer.weight_decay,
    )
    return build, settings


def _at(config: Mapping[str, Any], path: str) -> Any:
    node: Any = config
    for part in path.split("."):
        if not isinstance(node, Mapping) or part not in node:
            raise Refusal("search.{path}: the configuration has no key {path}", path=path)
        node = node[part]
    return node


@functools.cache  # tasks hold on to their data anyway; dropping one would only mean to read it again
def _dataset(config: str) -> Dataset:
    options = json.loads(config)
    options.pop("lr")
    if options.get("world") is not None:
        of_world = functools.partial(make_world, options["world"], options["encoder"])
        check_keys("dataset.world_options", of_world, options["world_options"] or {})
    return load_dataset(made("dataset", DatasetConfig, options))
