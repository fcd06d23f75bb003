"""The reference of every option: ``python -m tests.docs.options`` writes ``docs/options.md``.

Keys and defaults are those of the configuration as it is composed, types and meanings those of the code that takes
them, so that nothing is said twice: the ``Args`` of a type, else the comment beside a key in ``conf/``.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import logging
import re
import sys
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NamedTuple

import yaml
from griffe import Docstring, DocstringSectionParameters
from hydra.utils import get_class

from mmbench import paths
from mmbench.cli.compose import compose
from mmbench.cli.habits import OPEN_SECTIONS
from mmbench.data.conditions import ModalityCondition
from mmbench.data.dataset import DatasetConfig
from mmbench.data.planted import make_world
from mmbench.scheduling.configuration import (
    EvaluationConfig,
    ExportConfig,
    ReportConfig,
    StatisticsConfig,
    StudyConfig,
    SweepConfig,
    TuningConfig,
)
from mmbench.scheduling.placement import Ray, Slurm
from mmbench.store.trackers import CLIENTS
from mmbench.training.settings import TrainingSettings
from mmbench.tuning.budget import Budget

PAGE = Path(__file__).resolve().parents[2] / "docs" / "options.md"
CONF = paths.config_dir()
#: What takes the keys of a section.
TAKERS: Mapping[str, Callable[..., Any]] = {
    "sweep": SweepConfig,
    "study": StudyConfig,
    "dataset": DatasetConfig,
    "dataset.world_options": make_world,
    "modality": ModalityCondition,
    "budget": Budget,
    "optimizer": TrainingSettings,
    "training": TrainingSettings,
    "statistics": StatisticsConfig,
    "tuning": TuningConfig,
    "evaluation": EvaluationConfig,
    "report": ReportConfig,
    "export": ExportConfig,
    **{f"tracking.{name}": client for name, client in CLIENTS.items()},
}
#: Sections whose keys are the user's names of modalities.
OPEN = tuple(section.removesuffix(".") for section in OPEN_SECTIONS if not section.startswith("search."))
LAUNCHERS: Mapping[str, Callable[..., Any]] = {"slurm": Slurm, "ray": Ray}
#: Meanings of what neither a type nor a comment explains.
MEANINGS = {
    "paths.data": "folder of the data sets; `$MMBENCH_DATA` where that is set",
    "paths.multirun": "folder of the sweeps",
    "dataset.lr.default": "learning rate that models start from",
    "dataset.lr.low": "lower end of the searched learning rates",
    "dataset.lr.high": "upper end of the searched learning rates",
    "tiers": "tiers of the model, which its file declares: `core`, `study`, `extra`",
    "given": (
        "configurations of another sweep, run without tuning; the word `tuned=NAME` sets it "
        "([The winner](winner.md#its-configuration))"
    ),
    "model._target_": "class of the model",
    "model.recommendations": "file with the lists of another system",
}
HEAD = """# Every option

<!-- Written by python -m tests.docs.options -->

Every key of the configuration with its type, its default and its meaning. `key=value` on the command line sets it,
`--cfg job` shows all of them for a command, and a word that is none of them ends in one line. Words of other projects
are listed in [Hydra habits](hydra.md#words-of-other-projects).

A default that stands in another key is shown as it is composed for `dataset=planted model=vbpr modality=fused
budget=smoke`."""


class Option(NamedTuple):
    """A row."""

    key: str
    kind: str
    default: str
    meaning: str


def flat(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys of a composed configuration; an open section, an argument of a model and a searched range are one key."""
    for name, value in section.items():
        key = f"{prefix}{name}"
        searched = key.startswith("search.") and isinstance(value, Mapping) and {"low", "choices"} & value.keys()
        if key == "search" and not value:
            continue  # nothing is searched
        whole = key in OPEN or searched or (prefix == "model." and isinstance(value, Mapping))
        if isinstance(value, Mapping) and value and not whole:
            yield from flat(value, f"{key}.")
        else:
            yield key, value


def words_of(group: str, name: str) -> list[str]:
    """What chooses a file of a group."""
    return [f"{group}={name}", "paths.data=data", *(["model.recommendations=lists.csv"] if name == "external" else [])]


def choices(group: str) -> list[str]:
    """Names of the files of a group."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


@functools.cache
def composed(group: str, name: str) -> Mapping[str, Any]:
    """The configuration of a choice."""
    return compose(words_of(group, name)).config


@functools.cache
def comments(file: Path) -> Mapping[str, str]:
    """The comment beside each key of a YAML file."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    found: dict[str, str] = {}

    def look(node: yaml.Node | None, prefix: str) -> None:
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            line = lines[key.start_mark.line]
            if beside := re.search(r"(?:^|\s)#\s(.+)$", line):
                found[f"{prefix}{key.value}"] = beside[1]
            look(value, f"{prefix}{key.value}.")

    look(yaml.compose(text), "")
    return found


@functools.cache
def arguments(taker: Callable[..., Any]) -> Mapping[str, str]:
    """The ``Args`` of a docstring as Markdown."""
    logging.getLogger("griffe").disabled = True  # which misses the types that the signature has
    said = {}
    for section in Docstring(inspect.getdoc(taker) or "").parse("google"):
        if isinstance(section, DocstringSectionParameters):
            said |= {argument.name: as_markdown(argument.description, taker) for argument in section.value}
    return said


def as_markdown(text: str, taker: Callable[..., Any]) -> str:
    """Roles and double backticks of a docstring as Markdown, in one line; names of constants as what they hold."""

    def written(role: re.Match[str]) -> str:
        place, _, name = role["name"].rpartition(".")
        module = importlib.import_module(place if place in sys.modules else taker.__module__)
        held = getattr(module, name, None)
        if role["kind"] == "data" and isinstance(held, str | int):
            return f"`{held}`"
        if role["kind"] == "data" and isinstance(held, Iterable):
            return ", ".join(f"`{one}`" for one in held)
        return f"`{name}`"

    text = re.sub(r":(?P<kind>\w+):`~?(?P<name>[^`]*)`", written, text)
    text = re.sub(r"\bNone\b", "null", text)
    return " ".join(text.replace("``", "`").split()).removesuffix(".")


def kind_of(taker: Callable[..., Any] | None, name: str, value: Any) -> str:
    """The type of a value, from the signature where it has one."""
    if taker is not None:
        hints = typing.get_type_hints(taker.__init__ if isinstance(taker, type) else taker)
        if name in hints:
            return spelled(hints[name])
    return {dict: "mapping", list: "list", NoneType: "text or null"}.get(type(value)) or spelled(type(value))


def spelled(hint: Any) -> str:
    """A type for a reader."""
    if isinstance(hint, UnionType) or typing.get_origin(hint) is typing.Union:
        return " or ".join(dict.fromkeys(map(spelled, typing.get_args(hint))))
    plain = {NoneType: "null", str: "text", int: "whole number", float: "number", bool: "true or false", Path: "file"}
    if hint in plain:
        return plain[hint]
    origin = typing.get_origin(hint) or hint
    inside = [spelled(one) for one in typing.get_args(hint) if one not in (..., Any)]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "mapping"
    if origin is typing.Literal:
        return "text"
    return f"list of {inside[0]}" if inside else str(getattr(hint, "__name__", hint))


def option(key: str, value: Any, taker: Callable[..., Any] | None, *files: Path) -> Option:
    """The row of a key.

    Args:
        key: dotted key.
        value: its default, as composed.
        taker: type that takes its section.
        files: where comments stand, the first that has one being taken.
    """
    name = key.rpartition(".")[2]
    # A file of a group holds the keys of its section without the name of the section.
    ends = [key.split(".", n)[-1] for n in range(key.count(".") + 1)]
    beside = [comments(file).get(end) for file in files for end in ends]
    meaning = MEANINGS.get(key) or (arguments(taker).get(name) if taker is not None else None)
    meaning = meaning or next(filter(None, beside), None)
    if key.startswith("hydra.launcher.options."):
        meaning = meaning or f"`{name}` of submitit's executor"
    if key.startswith("search."):
        meaning, kind = f"range of `{key.removeprefix('search.')}`", "range"
    else:
        kind = kind_of(taker, name, value)
    assert meaning, f"{key} has no meaning: write one into its type, beside it in conf/, or here"
    return Option(key, kind, json.dumps(value, ensure_ascii=False), meaning)


def common() -> list[Option]:
    """Options of every configuration."""
    config = {
        name: part
        for name, part in compose(["paths.data=data"]).config.items()
        if name not in ("dataset", "model", "search")
    }
    files = (CONF / "config.yaml", CONF / "tracking" / "wandb.yaml")
    rows = []
    for key, value in flat(config):
        *_, section = [part for part in TAKERS if key.startswith(f"{part}.")] or [""]
        rows.append(option(key, value, TAKERS.get(section), *files))
    for name in choices("tracking"):
        if not composed("tracking", name)["tracking"][name]:
            said = f"set by `tracking={name}`; it has no settings ([Trackers](trackers.md))"
            rows.append(Option(f"tracking.{name}", "mapping", "{}", said))
    return rows


def of_data() -> list[Option]:
    """Options of data sets."""
    rows: dict[str, Option] = {}
    for name in ("planted", *choices("dataset")):
        for key, value in flat({"dataset": composed("dataset", name)["dataset"]}):
            taker = TAKERS["dataset.world_options" if key.startswith("dataset.world_options.") else "dataset"]
            files = (CONF / "dataset" / f"{name}.yaml", CONF / "dataset" / "folder.yaml")
            if key not in rows:
                rows[key] = option(key, value, taker, *files)
    return list(rows.values())


def of_model(name: str) -> list[Option]:
    """Options of a model, and what is searched."""
    config = composed("model", name)
    taker, file = get_class(config["model"]["_target_"]), CONF / "model" / f"{name}.yaml"
    return [option(key, value, taker, file) for key, value in flat({k: config[k] for k in ("model", "search")})]


def of_launcher(name: str) -> list[Option]:
    """Options of a launcher."""
    file = CONF / "hydra" / "launcher" / f"{name}.yaml"
    section = {k: v for k, v in yaml.safe_load(file.read_text(encoding="utf-8")).items() if k != "_target_"}
    return [option(f"hydra.launcher.{key}", value, LAUNCHERS.get(name), file) for key, value in flat(section)]


def table(rows: list[Option]) -> str:
    """Rows as Markdown."""
    lines = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for row in rows:
        default = "" if row.default in ('""', "{}", "[]") and row.kind == "range" else f"`{row.default}`"
        cells = (f"`{row.key}`", row.kind, default.replace("|", "\\|"), row.meaning.replace("|", "\\|"))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    groups = ("dataset", "model", "modality", "budget", "tracking", "experiment", "hydra/launcher")
    chosen = [f"| `{group}` | {' '.join(f'`{name}`' for name in choices(group))} |" for group in groups]
    parts = [
        HEAD,
        "## Choices",
        "`group=name`; each is a file of `conf/`, and `--config-dir` adds further ones.",
        "\n".join(["| group | names |", "| --- | --- |", *chosen]),
        "## Every configuration",
        table(common()),
        "## Data sets",
        "Defaults are those of `dataset=planted`; a file of `conf/dataset` sets its own.",
        table(of_data()),
        "## Launchers",
    ]
    for name in choices("hydra/launcher"):
        if rows := of_launcher(name):
            parts += [f"### hydra/launcher={name}", table(rows)]
    parts += ["## Models", "`'~search.KEY'` does not tune a key; `search.KEY.low=L` changes its range."]
    for name in choices("model"):
        parts += [f"### model={name}", table(of_model(name))]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
