"""What the results of a cell depend on, as its record says it: a key, and the configuration that is the default."""

from __future__ import annotations

import copy
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from mmbench import fingerprint
from mmbench.data.conditions import SLICE, ModalityCondition
from mmbench.messages import Refusal
from mmbench.scheduling.configuration import LEFT_OUT, Section
from mmbench.store.schema import Cell, Configuration, training_rule
from mmbench.training.stopping import StoppingRule
from mmbench.tuning.space import Space, check_choices

#: Version of what is computed, part of every cell's key: it changes when a configuration gives new numbers.
RESULTS_VERSION = 4
#: Training settings that choose the hardware; they change no result beyond rounding.
WHERE_IT_TRAINS = ("accelerator", "devices")
#: Sections of the configuration that all conditions of a (dataset, model) share.
OF_ALL_CONDITIONS = ("model", "search", "optimizer", "training", "dataset", "statistics")
#: Those of which the key of a cell holds nothing but what they lead to.
OUTSIDE_THE_KEY = ("dataset", "statistics")
#: Keys of a section that say where something lies or comes from; another command may say the same in another way.
PLACES = {"dataset": ("path", "origin")}
#: Keys that conditions need not share: what chooses the hardware, what accepts files that are read alike without it,
#: and the protocol, which may have been found out: the fingerprint of the split is made of it too.
NOT_SHARED = {"training": WHERE_IT_TRAINS, "dataset": (*PLACES["dataset"], "trust_row_order", "protocol")}
#: What a search may vary: a whole section, whose keys are those of the model's class, and keys of others.
SECTION = "model"
KEYS = (
    *(f"optimizer.{name}" for name in ("lr", "weight_decay")),
    *(f"training.{name}" for name in ("batch_size", "precision", "neighbours")),
    *(f"budget.{name}" for name in (*(field.name for field in fields(StoppingRule)), "batches_per_epoch")),
)
#: Those that a model reads which is computed and takes no step.
KEYS_OF_COMPUTED = ("training.neighbours",)
#: The one key of this section that no training reads: lists of another system, which are read once for all of them.
LISTS = "model.recommendations"
#: Keys of a budget that say how something is searched, and what they are where nothing is.
NOT_SEARCHED = {"trials": 1, "tpe": 0, "rungs": []}
#: What an epoch's number of steps depends on.
STEPS_OF_AN_EPOCH = ("training.batch_size", "budget.batches_per_epoch")


def key_of(cell: Cell) -> str:
    """The key of a cell: hash of everything that its trainings depend on.

    The test split is no part of it, and neither are T and S, which can be raised.
    """
    condition, plain = ModalityCondition(**cell.config["modality"]), cell.config
    seen = condition.kept(cell.features)
    key = {
        "schema": RESULTS_VERSION,
        "cell": list(cell.name),
        "draw": cell.draw,
        "split": cell.split_hash,
        "features": {name: cell.features[name] for name in seen},
        "external": cell.external,
        "condition": _condition_key(condition, seen),
        "training": {name: value for name, value in plain["training"].items() if name not in WHERE_IT_TRAINS},
        "rule": training_rule(plain["budget"]),
        **{name: plain[name] for name in ("model", "search", "optimizer")},
    }
    if cell.given is not None:
        key["given"] = cell.given
    if cell.sample is not None:
        key["validation"] = list(cell.sample)
    if cell.keeps_last_of_equals:
        key["of equal epochs"] = "the last"  # earlier versions kept the first
    return fingerprint.of_json(key)


def shared_settings(cell: Cell) -> dict[str, Section]:
    """The sections that all conditions of a (dataset, model) share, without what gives the same under another value."""
    shared: dict[str, Section] = {
        section: {
            name: value for name, value in cell.config[section].items() if name not in NOT_SHARED.get(section, ())
        }
        for section in OF_ALL_CONDITIONS
    }
    dataset = shared["dataset"]
    if "k_core" in dataset:
        shared["dataset"] = {**dataset, "k_core": max(dataset["k_core"], 1)}  # who has any interaction has one
    return shared


def _condition_key(condition: ModalityCondition, seen: Sequence[str]) -> Section:
    """Parts of a condition that its results depend on: states, missing rates and slice of kept modalities, the seed."""
    missing = {name: condition.missing[name] for name in seen if condition.missing.get(name)}
    rule = condition.missing_rule if missing else None
    states = {name: condition.state(name) for name in seen}
    inside = {"slice": condition.missing_slice, "items": condition.missing_items} if rule == SLICE else {}
    return {"states": states, "missing": missing, "rule": rule, "seed": condition.seed, **inside}


def default_of(config: Section, space: Space) -> Configuration:
    """The default configuration: what the job's configuration has at every path of the search space.

    Raises:
        ValueError: for a path that does not exist.
    """
    return {path: _at(config, path) for path in space}


def check_searched(space: Space, rungs: Sequence[int] = (), *, computed: bool = False) -> None:
    """Refuse to search what no training reads, what chooses the hardware, equal choices, or what rungs cannot compare.

    Args:
        space: what is searched.
        rungs: steps after which trials are stopped that are behind.
        computed: whether the model is a closed form, which takes no step.

    Raises:
        ValueError: for such a path.
    """
    for path, distribution in space.items():
        check_choices(path, distribution)
        if path == LISTS or not (path.startswith(f"{SECTION}.") or path in KEYS):
            raise Refusal(
                "search.{path}: no training reads it; searched are keys of {sections}, and {keys}",
                path=path,
                sections=SECTION,
                keys=", ".join(KEYS),
            )
        if computed and path in KEYS and path not in KEYS_OF_COMPUTED:
            raise Refusal(
                "search.{path}: a model that is computed, not trained, does not read it; searched are keys of "
                "{sections}, and {keys}",
                path=path,
                sections=SECTION,
                keys=", ".join(KEYS_OF_COMPUTED),
            )
        # Validation is ranked after epochs, and the scores of two trials at a rung are those of one number of steps.
        if rungs and path in STEPS_OF_AN_EPOCH:
            raise Refusal(
                "search.{path} gives trials epochs of different lengths, and budget.rungs={rungs} compares them after "
                "an equal number of steps; leave out one of the two",
                path=path,
                rungs=list(rungs),
            )


def unsearched(config: Section, searched: Collection[str]) -> Section:
    """What trainings are set beside their search, by path: options of the model, and what it is trained by."""
    sections = {name: config.get(name, {}) for name in ("model", "optimizer", "training", "budget")}
    training = {key: value for key, value in sections["training"].items() if key not in WHERE_IT_TRAINS}
    rule = {key: value for key, value in training_rule(sections["budget"]).items() if key not in NOT_SEARCHED}
    sections |= {"training": LEFT_OUT | training, "budget": rule}
    return {path: value for path, value in _leaves(sections) if path not in searched}


def _leaves(node: Section, above: str = "") -> Iterator[tuple[str, Any]]:
    """Every option below a node with its path; what begins with an underscore says how something is built."""
    for name, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{name}.")
        elif not name.startswith("_"):
            yield f"{above}{name}", value


def with_values(config: Section, configuration: Configuration) -> Section:
    """A configuration with other values at some of its paths."""
    merged = copy.deepcopy(dict(config))
    for path, value in configuration.items():
        *sections, name = path.split(".")
        functools.reduce(lambda node, part: node[part], sections, merged)[name] = value
    return merged


def _at(config: Section, path: str) -> Any:
    node: Any = config
    for part in path.split("."):
        if not isinstance(node, Mapping) or part not in node:
            raise Refusal("search.{path}: the configuration has no key {path}", path=path)
        node = node[part]
    return node
