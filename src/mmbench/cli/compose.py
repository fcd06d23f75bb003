"""Composes configurations and reports every user error as one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from mmbench import paths
from mmbench.cli.errors import FOREIGN
from mmbench.cli.tiers import models_of
from mmbench.messages import Message, Refusal
from mmbench.messages.hints import did_you_mean

if TYPE_CHECKING:
    from mmbench.data.dataset import DatasetConfig
    from mmbench.scheduling.job import Job

CONFIG_NAME = "config"
# Hydra's own folder of a sweep must be the one that the sweep uses, whatever its name is made of.
OmegaConf.register_new_resolver("slug", lambda name: paths.slug([str(name)]), replace=True)
OmegaConf.register_new_resolver("models_of", lambda tier: ",".join(models_of(tier)), replace=True)
#: Sections whose keys are names of the user's modalities, so a new key is normal and needs no plus sign.
OPEN_SECTIONS = (
    "modality.states.",
    "modality.missing.",
    "dataset.encoder.",
    "model.modality_weights.",
    "search.model.modality_weights.",
)


@dataclass(frozen=True)
class Composed:
    """A composed job.

    Args:
        config: resolved configuration, plain Python.
        choices: chosen option of every configuration group.
        overrides: the job's own overrides.
        sweeper_params: what a preset sweeps over, as overrides.
    """

    config: Mapping[str, Any]
    choices: Mapping[str, str]
    overrides: tuple[str, ...] = ()
    sweeper_params: tuple[str, ...] = ()

    def job(self) -> Job:
        """The job, its sections checked.

        Raises:
            ValueError: for a key or a value that a section does not allow.
        """
        from mmbench.scheduling.configuration import JobConfig
        from mmbench.scheduling.job import Job

        config = JobConfig.of(self.config)
        self._check_made_up(config.dataset)
        return Job(config, self.choices, self.overrides, config.sweep_dir)

    def _check_made_up(self, dataset: DatasetConfig) -> None:
        """Refuse invented data under the name or the path of real ones, and real ones under that of a planted world."""
        from mmbench.data.planted import is_made_up

        choice = self.choices["dataset"]
        for key, value, fits in (
            ("dataset.name", dataset.name, is_made_up(dataset.name)),
            ("dataset.path", dataset.path, dataset.path is None),
        ):
            if dataset.world is not None and not fits:
                raise Refusal(
                    "{key}={value} does not go with dataset={choice}, a planted world, whose data are made up; for "
                    "your own data: dataset=folder dataset.name=NAME dataset.path=FOLDER",
                    key=key,
                    value=value,
                    choice=choice,
                )


def open_modality_keys(overrides: Iterable[str]) -> list[str]:
    """Let ``modality.states.image=shuffle`` work without a plus sign."""
    return [f"++{word}" if word.startswith(OPEN_SECTIONS) else word for word in overrides]


def parse(overrides: Sequence[str]) -> list[Override]:
    """Parse command-line overrides.

    Raises:
        ValueError: for a word that is no override.
    """
    parser = OverridesParser.create()
    parsed = []
    for word in overrides:
        try:
            parsed.append(parser.parse_override(word))
        except HydraException as error:
            raise Refusal(
                "{word} is not of the form key=value: {error}", word=repr(word), error=str(error).splitlines()[0]
            ) from error
    return parsed


def resolved(config: DictConfig, hydra: DictConfig | HydraConf) -> Composed:
    """Resolve a Hydra job configuration to plain Python.

    Raises:
        ValueError: for an interpolation that leads nowhere.
    """
    choices = {str(k): str(v) for k, v in hydra.runtime.choices.items()}
    job = OmegaConf.masked_copy(config, [str(k) for k in config if k != "hydra"])
    try:
        plain = OmegaConf.to_container(job, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise Refusal("{key} has no default; give it on the command line", key=error.full_key) from error
    except OmegaConfBaseException as error:
        raise Refusal(FOREIGN, error=str(error).splitlines()[0]) from error
    assert isinstance(plain, dict)
    return Composed({str(k): v for k, v in plain.items()}, choices, tuple(hydra.overrides.task), _sweeper_params(hydra))


def _sweeper_params(hydra: DictConfig | HydraConf) -> tuple[str, ...]:
    params = getattr(hydra.sweeper, "params", None) or {}
    return tuple(f"{key}={value}" for key, value in params.items())


def compose(overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> Composed:
    """Compose one job from overrides without sweeps.

    Raises:
        ValueError: for an unknown key or choice, with the nearest name and the accepted ones.
    """
    search_path = (
        [f"hydra.searchpath=[{','.join(f'file://{d.resolve()}' for d in config_dirs)}]"] if config_dirs else []
    )
    words = [*overrides, *search_path]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(paths.config_dir()), version_base="1.3", job_name="mmbench"):
            config = hydra_compose(CONFIG_NAME, words, return_hydra_config=True)
            return resolved(config, config.hydra)
    except (HydraException, OmegaConfBaseException) as error:
        raise Refusal(_explained(str(error), overrides)) from error
    finally:
        GlobalHydra.instance().clear()


def check_overrides(overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> Composed:
    """Compose every value of every sweep once, so that an error in the last cell is reported before the first runs.

    Returns:
        The first job.
    """
    parsed = parse(overrides)
    variants = [single_values(override) for override in parsed]
    first = [values[0] for values in variants]
    composed = compose(first, config_dirs)
    for place, values in enumerate(variants):
        for value in values[1:]:
            compose([*first[:place], value, *first[place + 1 :]], config_dirs)
    return composed


def single_values(override: Override) -> list[str]:
    """Every value of an override, each as an override of its own."""
    if not override.is_sweep_override():
        assert override.input_line is not None
        return [override.input_line]
    key = override.get_key_element()
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _explained(message: str, overrides: Sequence[str]) -> Message:
    """Hydra's messages in our words: the nearest name first, then what is accepted."""
    missing = re.search(r"Could not find '([^']+)/([^'/]+)'", message) or re.search(
        r"In '[^']+': Could not find '([^']+)/([^'/]+)'", message
    )
    if missing:
        group, name = missing.groups()
        options = re.findall(r"^\t(\S+)$", message, flags=re.MULTILINE)
        return Message("{group}={name} is unknown; {hint}", group=group, name=name, hint=did_you_mean(name, options))
    unknown = re.search(r"Could not override '([^']+)'", message) or re.search(
        r"Key '([^']+)' is not in struct", message
    )
    if unknown:
        key = unknown.group(1)
        word, names = _unknown_part(key, overrides)
        return Message("{key} is not a key of the configuration; {hint}", key=key, hint=did_you_mean(word, names))
    return Message(FOREIGN, error=message.strip().splitlines()[0])


def _unknown_part(key: str, overrides: Sequence[str]) -> tuple[str, list[str]]:
    """The part of a dotted key that does not exist, and the names that do, under the choices the user made."""
    groups = [word for word in overrides if re.fullmatch(r"\w+=[\w@-]+", word) and word.split("=")[0] != key]
    try:
        node: Any = compose(groups).config
    except ValueError:
        node = compose([]).config
    parts = key.split(".")
    for part in parts:
        if not isinstance(node, Mapping):
            break
        if part not in node:
            return part, [str(name) for name in node]
        node = node[part]
    return parts[-1], []
