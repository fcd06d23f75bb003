"""Composes configurations and reports every user error as one line."""

from __future__ import annotations

import contextlib
import copy
import pickle
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.defaults_list import create_defaults_list
from hydra._internal.utils import create_config_search_path
from hydra.conf import HydraConf
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue, OmegaConfBaseException

from mmbench import paths
from mmbench.cli import habits
from mmbench.cli.tiers import models_of
from mmbench.inference.contrast import Contrast
from mmbench.messages import Message, Refusal, Template
from mmbench.messages.commands import quoted, several_sweeps
from mmbench.messages.hints import did_you_mean
from mmbench.messages.refused import FOREIGN, first_line

if TYPE_CHECKING:
    from mmbench.data.dataset import DatasetConfig
    from mmbench.scheduling.configuration import JobConfig
    from mmbench.scheduling.job import Job
    from mmbench.store.trackers import Tracker

CONFIG_NAME = "config"
#: Groups of which a job has one choice.
GROUPS = ("model", "dataset", "modality", "budget")
#: Keys of which a sweep has one value, besides all of Hydra's own.
OF_SWEEP = ("sweep.name", "sweep.dir", "paths.multirun", "experiment")
#: What is said of a word that drops what another key or word needs.
DROPPED = Template("{word} drops {key}, whose value is needed; leave the word out, or give the key a value")
# Hydra's own folder of a sweep must be the one that the sweep uses, whatever its name is made of.
OmegaConf.register_new_resolver("slug", lambda name: paths.slug([str(name)]), replace=True)
OmegaConf.register_new_resolver("models_of", lambda tier: ",".join(models_of(tier)), replace=True)


def _planted_protocol(world: str) -> str:
    from mmbench.data.planted import own_protocol  # numpy and pandas, which few commands need

    return own_protocol(world)


OmegaConf.register_new_resolver("planted_protocol", _planted_protocol, replace=True)


@dataclass(frozen=True)
class Composed:
    """A composed job.

    Args:
        config: resolved configuration, plain Python.
        choices: chosen option of every configuration group.
        overrides: the job's own overrides.
        sweeper_params: what a preset sweeps over, as overrides.
        folders: where configurations lie, the package's last.
        swept: whether a preset makes it the first job of a sweep without ``-m``.
    """

    config: Mapping[str, Any]
    choices: Mapping[str, str]
    overrides: tuple[str, ...] = ()
    sweeper_params: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    swept: bool = False

    def job(self) -> Job:
        """The job, its sections checked.

        Raises:
            ValueError: for a key or a value that a section does not allow.
        """
        from mmbench.audit.condition_names import check_named
        from mmbench.scheduling.configuration import JobConfig
        from mmbench.scheduling.job import Job

        for group in GROUPS:
            if group not in self.choices:  # it was dropped, or is a list, whose files Hydra merges
                raise Refusal("{group} takes exactly one name; several are a sweep: -m {group}=A,B", group=group)
        if "/" in (model := self.choices["model"]):  # which parts data set, model and condition in the name of a cell
            raise Refusal(
                "model={model} lies in a folder of its own, and a model is named without /: put its YAML into the "
                "folder model itself",
                model=model,
            )
        config = JobConfig.of({**self.config, "given": None})
        self._check_made_up(config.dataset)
        _check_own(config)
        self._check_contrasts(config)
        job = Job(config, self.choices, self.overrides, config.sweep_dir)
        check_named(job.asked_modality, config.modality)
        if (name := self.config["given"]) is None:
            return job
        from mmbench.cli.tuned import without_tuning

        return replace(job, config=JobConfig.of(without_tuning(job, name, self.folders)))

    def _check_contrasts(self, config: JobConfig) -> None:
        """Refuse a contrast of a condition that nobody can run, or given twice, while it can still be changed."""
        if paths.manifest_file(config.sweep_dir).exists():
            return
        groups = [folder / "modality" for folder in self.folders]
        files = [file.relative_to(group).with_suffix("") for group in groups for file in group.rglob("*.yaml")]
        names = {paths.slug([file.as_posix()]) for file in files}
        pairs = config.statistics.pairs
        for number, pair in enumerate(pairs):
            if pair in pairs[:number]:  # Holm's correction would count it twice
                raise Refusal(
                    "statistics.contrasts names {contrast} twice; each contrast is judged once", contrast=pair.name
                )
            if (reverse := Contrast(pair.b, pair.a)) in pairs[:number]:
                raise Refusal(
                    "statistics.contrasts names {contrast} and {reverse}, which are one contrast; name one of them",
                    contrast=reverse.name,
                    reverse=pair.name,
                )
            for side in pair:
                # What a command changes of a condition follows its name: fused_missing.image=0.5.
                changed = "=" in side and any(side.startswith(f"{name}_") for name in names)
                if side not in names and not changed:
                    raise Refusal(
                        "statistics.contrasts: {contrast} is about {side}, which is no condition; {hint}",
                        contrast=pair.name,
                        side=side,
                        hint=did_you_mean(side, names),
                    )

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


def _check_own(config: JobConfig) -> None:
    """Import the states and metrics of somebody else's that a command names, so that a mistake costs no training."""
    from mmbench.data.conditions import maker_of
    from mmbench.evaluation.metrics import check_name, function_of

    for state in {config.modality.default, *config.modality.states.values()}:
        maker_of(state)
    for name in config.report.metrics:
        function_of(check_name(name)[0])


def parse(overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> list[Override]:
    """Parse command-line overrides.

    Args:
        overrides: the words.
        config_dirs: folders whose files ``glob(...)`` finds besides those of the package.

    Raises:
        ValueError: for a word that is no override, for several values of what a sweep has one of, and for a value that
            is no name where a file of a group is chosen.
    """
    places = create_config_search_path(str(paths.config_dir()))
    for folder in config_dirs:
        places.append("command-line", f"file://{folder.resolve()}")
    loader = ConfigLoaderImpl(places)
    parser = OverridesParser.create()
    parsed = []
    for word in overrides:
        try:
            override = parser.parse_override(word)
            if not override.key_or_group:
                raise HydraException(word)
        except HydraException as error:
            raise _no_override(word) from error
        of_sweep = override.key_or_group in OF_SWEEP or override.is_hydra_override()
        if of_sweep and override.is_sweep_override():
            raise several_sweeps(word)
        if override.key_or_group == "tracking" and override.is_sweep_override():
            raise Refusal(
                "{word} would be two sweeps; trackers of one are a list: 'tracking=[{names}]'",
                word=word,
                names=",".join(map(str, override.sweep_string_iterator())),
            )
        _check_choice(override, loader)
        override.config_loader = loader
        parsed.append(override)
    return parsed


def _no_override(word: str) -> Refusal:
    """Why Hydra cannot read a word, and the word as a shell takes it where its value only lacks quotes."""
    if plain := re.fullmatch(r"""([\w./@+]+)=([^][(){}'"\\,=]+)""", word):
        return Refusal(
            "{word} is not of the form key=value: a value that holds other signs stands in quotes, of which a shell "
            "needs a second pair: {typed}",
            word=repr(word),
            typed=shlex.quote(f"{plain[1]}={quoted(plain[2])}"),
        )
    return Refusal(
        "{word} is not of the form key=value, with brackets and quotes closed and a value that holds other signs in "
        "quotes, of which a shell needs a second pair: 'key=\"value\"'",
        word=repr(word),
    )


def _check_choice(override: Override, loader: ConfigLoaderImpl) -> None:
    """Refuse a number, a truth value or null as the choice of a group, of which Hydra does not say the group.

    Raises:
        ValueError: naming the group and its files.
    """
    group, value = override.key_or_group, override.value()
    names = value if isinstance(value, list) else [value]
    named = all(isinstance(name, str | dict) for name in names) or (override.is_delete() and value is None)
    if named or override.is_sweep_override() or not loader.repository.group_exists(group):
        return
    name = str(override.input_line).partition("=")[2]
    hint = did_you_mean(name, loader.get_group_options(group))
    raise Refusal("{group}={name} is unknown; {hint}", group=group, name=name, hint=hint)


def resolved(config: DictConfig, hydra: DictConfig | HydraConf) -> Composed:
    """Resolve a Hydra job configuration to plain Python.

    Raises:
        ValueError: for an interpolation that leads nowhere.
    """
    choices = {str(k): str(v) for k, v in hydra.runtime.choices.items()}
    job = OmegaConf.masked_copy(config, [str(k) for k in config if k != "hydra"])
    typed = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    assert isinstance(typed, list)
    sources = [source.path for source in hydra.runtime.config_sources if source.schema == "file"]
    return Composed(
        _plain(job, typed, choices),
        choices,
        tuple(hydra.overrides.task),
        _sweeper_params(hydra),
        tuple(map(Path, reversed(sources))),
        swept=hydra.mode == RunMode.MULTIRUN,
    )


def _plain(job: DictConfig, overrides: Sequence[str], choices: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        plain = OmegaConf.to_container(job, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        if str(error.full_key).startswith("model.") and "model" in choices:
            raise Refusal(
                "{key} has no default; give it on the command line, or leave out model={model}, which needs it: "
                "model=glob(*,exclude={model}) are all other models",
                key=error.full_key,
                model=choices["model"],
            ) from error
        raise Refusal("{key} has no default; give it on the command line", key=error.full_key) from error
    except OmegaConfBaseException as error:
        said = Message(FOREIGN, error=first_line(error))
        missing = re.search(r"'(.+)'", first_line(error)) if isinstance(error, InterpolationKeyError) else None
        if missing and (word := _dropping(missing[1], overrides)):
            raise Refusal(DROPPED, word=word, key=word.lstrip("~").partition("=")[0]) from error
        if not (words := [word for word in overrides if "${" in word]):
            raise Refusal(said) from error
        # The error names the key that is read first, which may be another one.
        raise Refusal(
            "{word}: {error}; ${{KEY}} is the value of another key, and $ and a brace themselves are written \\${{",
            word=" ".join(words),
            error=said,
        ) from error
    assert isinstance(plain, dict)
    return {str(k): v for k, v in plain.items()}


def _sweeper_params(hydra: DictConfig | HydraConf) -> tuple[str, ...]:
    params = getattr(hydra.sweeper, "params", None) or {}
    return tuple(f"{key}={value}" for key, value in params.items())


def compose(overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> Composed:
    """Compose one job from overrides without sweeps.

    Raises:
        ValueError: for an unknown key or choice, with the nearest name and the accepted ones.
    """
    with _by_hydra(overrides, config_dirs) as config:
        return resolved(config, config.hydra)


def first(overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> Composed:
    """Compose the first job of a sweep from its overrides.

    Raises:
        ValueError: as :func:`compose`.
    """
    return compose([single_values(word)[0] for word in parse(overrides, config_dirs)], config_dirs)


def check_shown(overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> None:
    """Refuse what Hydra cannot compose, before it is asked to show it; what is missing or out of range may be shown.

    Raises:
        ValueError: as :func:`check_single`, and for an unknown key or choice as :func:`compose`.
    """
    check_single(overrides, config_dirs)
    with _by_hydra(overrides, config_dirs):
        pass


def check_single(overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> None:
    """Refuse a key with several values where there is no sweep.

    Raises:
        ValueError: as :func:`parse`, and for such a key.
    """
    for override in parse(overrides, config_dirs):
        if override.is_sweep_override():
            raise Refusal(
                "{word} has several values, and only a sweep tries them one after the other: add -m, or leave one of "
                "them",
                word=override.input_line,
            )


@contextlib.contextmanager
def _by_hydra(overrides: Sequence[str], config_dirs: Sequence[Path]) -> Iterator[DictConfig]:
    """The configuration as Hydra composes it, while Hydra is there; its errors in our words."""
    for override in parse(overrides, config_dirs):
        if override.is_sweep_override():  # of which Hydra says that it is ambiguous
            raise Refusal(
                "{word} has several values, which only a sweep tries one after the other; leave one of them",
                word=override.input_line,
            )
    words = [*_search_path(config_dirs, overrides), *overrides]
    with _hydra():
        try:
            yield hydra_compose(CONFIG_NAME, words, return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise Refusal(_explained(str(error), overrides, config_dirs)) from error
        except yaml.MarkedYAMLError as error:
            raise Refusal(_misspelt(error)) from error


def _search_path(config_dirs: Sequence[Path], overrides: Sequence[str]) -> list[str]:
    """The word for the places that are searched besides the package: folders, and what a word of a command names.

    Hydra reads the first such word alone.
    """
    given = [word for word in overrides if word.startswith("hydra.searchpath=")][:1]
    if not config_dirs:
        return given
    places = [f"file://{folder.resolve()}" for folder in config_dirs]
    for word in given:
        named = OverridesParser.create().parse_override(word).value()
        if not isinstance(named, list):
            return given  # of which Hydra says what it must be
        places += map(str, named)
    return [f"hydra.searchpath=[{','.join(map(quoted, places))}]"]


@contextlib.contextmanager
def _hydra() -> Iterator[GlobalHydra]:
    """Hydra on our configuration folder; that of a program which calls us is put aside meanwhile."""
    program = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(paths.config_dir()), version_base="1.3", job_name="mmbench"):
            yield GlobalHydra.instance()
    finally:
        GlobalHydra.instance().hydra = program


class Composer:
    """Composes the jobs of a sweep as Hydra composes each one alone, but what jobs share is done once.

    Every file is read once. Jobs with the same choices of groups share one merged configuration, in which each sets its
    own values. Hydra's own settings, which all jobs share, are left out: a composed job does not hold them.

    Args:
        loader: Hydra's, which knows where the files lie.
        shared: overrides of Hydra's own settings, the same for all jobs.
        master: configuration of the sweep, whose cached values (a time of day) the jobs take over; None for none.
    """

    def __init__(self, loader: ConfigLoader, shared: Sequence[str] = (), master: DictConfig | None = None) -> None:
        assert isinstance(loader, ConfigLoaderImpl)
        self.loader = loader
        self.master = master
        self.shared, self.files = loader._parse_overrides_and_create_caching_repo(CONFIG_NAME, list(shared))
        self.parsed: dict[str, Override] = {}
        self.merged: dict[tuple[str | None, ...], tuple[bytes, Mapping[str, str]]] = {}

    def compose(self, words: Sequence[str]) -> Composed:
        """Compose one job from its overrides.

        Raises:
            ValueError: as :func:`compose`.
        """
        new = [word for word in words if word not in self.parsed]
        self.parsed |= dict(zip(new, parse(new), strict=True))
        overrides = [self.parsed[word] for word in words]
        try:
            self.loader.validate_sweep_overrides_legal(overrides, RunMode.RUN, from_shell=True)
            merged, choices = self._merged([word for word in (*self.shared, *overrides) if self._chooses(word)])
            job: DictConfig = pickle.loads(merged)  # our own bytes: ten times faster than a deep copy
            own = [word for word in overrides if not word.is_hydra_override()]
            self.loader._apply_overrides_to_config([word for word in own if not self._chooses(word)], job)
            if self.master is not None:
                OmegaConf.copy_cache(from_config=self.master, to_config=job)
        except (HydraException, OmegaConfBaseException) as error:
            raise Refusal(_explained(str(error), words, self._folders())) from error
        except yaml.MarkedYAMLError as error:
            raise Refusal(_misspelt(error)) from error
        typed = tuple(str(word.input_line) for word in own)
        return Composed(_plain(job, typed, choices), choices, typed, folders=self._folders())

    def _folders(self) -> tuple[Path, ...]:
        """Where configurations lie: the folders of the loader, and what hydra.searchpath adds to them."""
        return tuple(Path(source.path) for source in reversed(self.files.get_sources()) if source.scheme() == "file")

    def _chooses(self, word: Override) -> bool:
        """Whether an override chooses a file of a group, and does not set a value."""
        return bool(self.files.group_exists(word.key_or_group)) and not isinstance(word.value(), dict)

    def _merged(self, groups: Sequence[Override]) -> tuple[bytes, Mapping[str, str]]:
        """The configuration of some choices before any value is set, pickled, and the choice of every group."""
        key = tuple(word.input_line for word in groups)
        if key not in self.merged:
            found = create_defaults_list(self.files, CONFIG_NAME, list(groups), prepend_hydra=True, skip_missing=False)
            of_jobs = [part for part in found.defaults if (part.package or "").split(".")[0] != "hydra"]
            job = self.loader._compose_config_from_defaults_list(of_jobs, _Copies(self.files))
            job.pop("hydra", None)
            OmegaConf.set_struct(job, True)
            choices = {str(group): str(name) for group, name in found.overrides.known_choices.items()}
            self.merged[key] = pickle.dumps(job), choices
        return self.merged[key]


class _Copies(CachingConfigRepository):
    """Gives a copy of each file away, because merging changes what it merges."""

    def __init__(self, files: CachingConfigRepository) -> None:
        self.delegate, self.cache = files, {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        found = copy.copy(self.delegate.load_config(config_path))
        if found is not None:
            found.config = copy.deepcopy(found.config)
        return found


def tracker(words: Sequence[str], sweep_dir: Path) -> Tracker:
    """The tracker that the ``tracking`` words of a command ask for; none without a word.

    Raises:
        ValueError: for a key or value that tracking does not have.
    """
    from mmbench.store import trackers

    return trackers.make_tracker(compose(words).config["tracking"] if words else {}, sweep_dir)


def check_overrides(overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> Composed:
    """Compose every value of every sweep once, so that an error in the last cell is reported before the first runs.

    Returns:
        The first job.
    """
    parsed = parse(overrides, config_dirs)
    variants = [single_values(override) for override in parsed]
    first = [values[0] for values in variants]
    composed = compose(first, config_dirs)  # with Hydra's own settings, which jobs composed together leave out
    jobs = [[*first[:at], value, *first[at + 1 :]] for at, values in enumerate(variants) for value in values[1:]]
    compose_all(jobs, config_dirs)
    return composed


def compose_all(jobs: Iterable[Sequence[str]], config_dirs: Sequence[Path] = ()) -> list[Composed]:
    """Compose the jobs of a sweep, without Hydra's own settings.

    Raises:
        ValueError: as :func:`compose`.
    """
    asked = list(jobs)
    shared = composer(config_dirs, *asked[:1])
    return [shared.compose(words) for words in asked]


def composer(config_dirs: Sequence[Path] = (), overrides: Sequence[str] = ()) -> Composer:
    """What composes the jobs of a sweep from our configuration folder.

    Args:
        config_dirs: folders of a user's own that are searched too.
        overrides: those of a job, of which all jobs share what hydra.searchpath names.
    """
    with _hydra() as hydra:
        return Composer(hydra.config_loader(), _search_path(config_dirs, overrides))


def single_values(override: Override) -> list[str]:
    """Every value of an override, each as an override of its own.

    Raises:
        ValueError: for a range without steps, and where no name fits a pattern.
    """
    word = str(override.input_line)
    if not override.is_sweep_override():
        return [word]
    if not override.is_discrete_sweep():
        raise Refusal("{word} names no single values; write them with commas, or as range(FIRST,END,STEP)", word=word)
    key = override.get_key_element()
    values = [f"{key}={value}" for value in override.sweep_string_iterator()]
    if not values:
        raise Refusal("{word} fits nothing", word=word)
    return values


def _explained(message: str, overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> Message:
    """Hydra's messages in our words: the nearest name first, then what is accepted."""
    missing = re.search(r"Could not find '([^']+)/([^'/]*)'", message)
    if missing:
        group, name = missing.groups()
        options = re.findall(r"^\t(\S+)$", message, flags=re.MULTILINE)
        return Message("{group}={name} is unknown; {hint}", group=group, name=name, hint=did_you_mean(name, options))
    if in_list := re.search(r"Could not load '([^']+)/([^'/]+)'", message):  # of a list Hydra names no options
        group, name = in_list.groups()
        groups = (folder / group for folder in (*config_dirs, paths.config_dir()))
        options = sorted({file.stem for group_dir in groups for file in group_dir.glob("*.yaml")})
        return Message("{group}={name} is unknown; {hint}", group=group, name=name, hint=did_you_mean(name, options))
    unknown = re.search(r"Could not override '([^']+)'", message) or re.search(
        r"Key '([^']+)' is not in struct", message
    )
    if unknown:
        key = unknown.group(1)
        if dropped := _dropping(key, overrides):
            return Message(DROPPED, word=dropped, key=key)
        typed = next((one for one in overrides if one.lstrip("+").partition("=")[0] == key), key)
        if said := habits.foreign(typed):
            return said
        word, names = _unknown_part(key, overrides, config_dirs)
        if not names and key.startswith("search."):  # Hydra would merge both
            return Message(
                "{key} has another form already; write '~{key}' to drop it and '+{key}={{choices: [A, B]}}', the "
                "default among them",
                key=key,
            )
        hint = did_you_mean(word, names)
        chosen = [value for group, _, value in (one.partition("=") for one in overrides) if group == "model"]
        if key.startswith("model.") and chosen:  # of several models this is one
            return Message(
                "{key} is not a key of the configuration of model={model}; {hint}", key=key, model=chosen[-1], hint=hint
            )
        return Message("{key} is not a key of the configuration; {hint}", key=key, hint=hint)
    if twice := re.match(r"Multiple values for (\S+)\. To override", message):
        return Message("{key} is chosen twice; write it once, without a plus sign", key=twice.group(1))
    return Message(FOREIGN, error=message.strip().splitlines()[0])


def _dropping(key: str, overrides: Iterable[str]) -> str | None:
    """The word that drops a key, which may be named from the section that it lies in on, or a section around it."""
    for word in overrides:
        dropped = word.lstrip("~").partition("=")[0]
        if word.startswith("~") and (f".{dropped}".endswith(f".{key}") or f"{key}.".startswith(f"{dropped}.")):
            return word
    return None


def _misspelt(error: yaml.MarkedYAMLError) -> Message:
    """Where a file of the configuration is no YAML."""
    mark = error.problem_mark
    return Message(
        "{file}, line {line}: no YAML: {error}",
        file=mark.name if mark else "",
        line=mark.line + 1 if mark else 0,
        error=error.problem or "",
    )


def _unknown_part(key: str, overrides: Sequence[str], config_dirs: Sequence[Path]) -> tuple[str, list[str]]:
    """The part of a dotted key that does not exist, and the names that do, under the choices the user made."""
    chooses = re.compile(r"\w+=[\w@-]+|hydra\.searchpath=.*")
    groups = [word for word in overrides if chooses.fullmatch(word) and word.split("=")[0] != key]
    try:
        node: Any = compose(groups, config_dirs).config
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
