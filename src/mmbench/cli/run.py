"""``python -m mmbench``: hand the command line to Hydra, after every override has been checked."""

from __future__ import annotations

import contextlib
import io
import itertools
import signal
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mmbench import paths
from mmbench.cli import compose, habits
from mmbench.cli.compose import Composed
from mmbench.cli.errors import STOPPED, language_in, one_line_errors
from mmbench.cli.stops import stoppable
from mmbench.cli.words import next_line, tell_loading
from mmbench.messages import Message, Refusal, Translator
from mmbench.messages.commands import override

if TYPE_CHECKING:
    from mmbench.scheduling.job import Job
    from mmbench.scheduling.sweep import Placement
    from mmbench.scheduling.trust import Trust

CONFIG_DIR_FLAGS = ("--config-dir", "-cd")
#: Flags that say whether one cell runs or a sweep.
MODE_FLAGS = ("--multirun", "-m", "--run", "-r")
#: Flags that only show something; Hydra answers them alone.
SHOWING_FLAGS = ("--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i")
#: Flags whose words are no overrides: what a shell completes.
COMPLETING_FLAGS = ("--shell-completion", "-sc")
COMPLETING_WORDS, SHELLS = ("install", "uninstall", "query"), ("bash", "fish", "zsh")
#: Flags of Hydra that would run what no command here has checked: another main file, an earlier job.
UNCHECKED_FLAGS = ("--config-name", "-cn", "--config-path", "-cp", "--experimental-rerun")

#: Overrides that say where or how a sweep runs and what its tables show, and not what is trained.
PLACE_OR_MANNER = (
    "sweep.",
    "paths.",
    "study.",
    "export.",
    "tracking",
    "hydra",
    "lang=",
    "report.printed=",
    "report.metrics=",
    "debug=",
    "training.accelerator=",
    "training.devices=",
)
#: Overrides that say how often: the same sweep takes more trials or final runs up, and further draws (``study.draw``).
HOW_OFTEN = ("budget.trials=", "budget.seeds=")
#: Name of a sweep in conf/config.yaml, which is that of a single cell.
UNNAMED = "single"


def main(argv: Sequence[str]) -> None:
    """Name the sweep, check the overrides and its folder, and let Hydra run it.

    Raises:
        ValueError: for an override that is not accepted, and for a folder that cannot be written.
    """
    flags, overrides = separated(argv)
    if "--version" in flags:
        print(f"mmbench {metadata.version('mmbench')}")
        return
    _check_flags(flags)
    multirun = not {"-m", "--multirun"}.isdisjoint(flags)
    asked_for = {flag.split("=")[0] for flag in flags}
    shows = not asked_for.isdisjoint(SHOWING_FLAGS)
    if shows:
        overrides = habits.ours(overrides, multirun)
        if overrides:  # the defaults compose
            compose.check_shown(overrides, config_dirs(flags))
    elif asked_for.isdisjoint(COMPLETING_FLAGS):
        overrides, composed = asked(flags, overrides, multirun=multirun)
        tell_loading(Translator(language_in(overrides)))
        from mmbench.cli.folders import check_writable  # --help does without pandas

        sweep_dir = composed.job().sweep_dir
        check_writable(sweep_dir, "paths.multirun=FOLDER")
        if (report := paths.report_dir(sweep_dir)).exists():  # it is written when everything has been trained
            check_writable(report)
    elif not (len(overrides) == 1 and overrides[0] in {f"{w}={s}" for w in COMPLETING_WORDS for s in SHELLS}):
        accepted = ", ".join(f"{word}=SHELL" for word in COMPLETING_WORDS)
        raise Refusal(
            "--shell-completion takes one of {accepted}, where SHELL is one of {shells}",
            accepted=accepted,
            shells=", ".join(SHELLS),
        )
    sys.argv = [sys.argv[0], *overrides, *flags]  # --info would take an override that follows it for its value
    start = hydra.main(version_base="1.3", config_path=str(paths.config_dir()), config_name=compose.CONFIG_NAME)
    if not shows:
        start(_one_cell)()
        return
    try:
        with contextlib.redirect_stdout(io.StringIO()) as shown:  # of one that fails Hydra prints a traceback
            start(_one_cell)()
    finally:
        print(shown.getvalue(), end="")


def asked(flags: Sequence[str], overrides: Sequence[str], *, multirun: bool) -> tuple[list[str], Composed]:
    """What a command asks for: its overrides in our words with the name of the sweep, and its first job, composed.

    Raises:
        ValueError: for an override that is not accepted.
    """
    words, folders = habits.ours(overrides, multirun), config_dirs(flags)
    if multirun:
        words = named(words, folders)
    composed = compose.check_overrides(words, folders)
    if composed.swept and (of_sweep := habits.ours(words, multirun=True)) != words:  # a preset sweeps without -m
        return of_sweep, compose.check_overrides(of_sweep, folders)
    if not (multirun or composed.swept):
        compose.check_single(words, folders)
    return words, composed


def named(overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> list[str]:
    """Overrides of a sweep with its name, which is derived from them where neither they nor a preset give one."""
    plain = [word.lstrip("+") for word in overrides]
    given = any(word.startswith("sweep.name=") for word in plain)
    if not given and any(word.startswith("experiment=") for word in plain):
        given = compose.first(overrides, config_dirs).config["sweep"]["name"] != UNNAMED
    return list(overrides) if given else [*overrides, override("sweep.name", _derived_name(overrides))]


def _check_flags(flags: Sequence[str]) -> None:
    """Refuse a flag that Hydra does not have, and a value that it does not take."""
    actions = {flag: action for action in get_args_parser()._actions for flag in action.option_strings}
    for word, following in itertools.pairwise([*flags, ""]):
        flag, _, given = word.partition("=")
        if not flag.startswith("-"):
            continue
        action = actions.get(flag)
        if action is None:
            habits.check([flag.lstrip("-").replace("-", "_")])
            raise Refusal("{flag} is no flag of this command; settings are written key=value", flag=flag)
        if flag in UNCHECKED_FLAGS:
            raise Refusal(
                "{flag} is not taken here; --config-dir=FOLDER adds presets of your own, and experiment=NAME runs one",
                flag=flag,
            )
        if action.choices is None:
            continue
        value = given or ("" if following.startswith("-") else following)
        if value not in action.choices and (value or action.nargs != "?"):
            raise Refusal(
                "{flag} takes one of {accepted}, not {value}",
                flag=flag,
                accepted=", ".join(action.choices),
                value=repr(value),
            )


def _one_cell(config: DictConfig) -> None:
    """Hydra's task function without ``-m``."""
    # Hydra would print a traceback of its own for an exception that leaves here.
    with one_line_errors([f"lang={config.lang}", *(["debug=true"] if config.debug is True else [])]):
        ours = HydraConfig.get()
        code = run([compose.resolved(config, ours)], list(ours.overrides.task), ours.run.dir)
    if code:
        raise SystemExit(code)


def run(composed: Sequence[Composed], overrides: Sequence[str], hydra_dir: str, place: Placement | None = None) -> int:
    """Run a sweep, write its report and mirror it.

    Args:
        composed: its jobs.
        overrides: the command line without Hydra's own words.
        hydra_dir: folder that Hydra takes for that of the sweep.
        place: where its cells run; by default on this machine.

    Returns:
        The exit code.

    Raises:
        ValueError: where Hydra and the sweep have different folders, and as :func:`run_sweep`.
    """
    from mmbench.decision.gates import IMAGE
    from mmbench.decision.mirror import mirror
    from mmbench.report.write import write_report
    from mmbench.scheduling.sweep import no_report, run_sweep
    from mmbench.store import files
    from mmbench.store.trackers import make_tracker

    jobs = [one.job() for one in composed]
    if Path(hydra_dir) != jobs[0].sweep_dir:
        raise Refusal(
            "a file sets Hydra's folder to {named}, and the sweep goes to {folder}; set sweep.dir in that file",
            named=hydra_dir,
            folder=jobs[0].sweep_dir,
        )
    trust = own_trust(jobs)
    lang = jobs[0].config.plain["lang"]

    def report(folder: Path) -> str:
        # It loads what draws, and trackers, long after the first library.
        say = Translator(lang)
        stopped: dict[int, str] = {signal.SIGINT: say(STOPPED[True]), signal.SIGTERM: say(no_report(folder))}
        with stoppable(while_loading=stopped):
            table = write_report(folder, trust=trust, lang=lang)
            mirror(table, make_tracker(jobs[0].config.plain["tracking"], folder))
        cells = table.cells.values()
        with_images = any(cell.states.get(IMAGE) == "real" for cell in cells)
        decides = len(jobs) > 1 and with_images and not any(cell.given for cell in cells)
        said = ""
        if jobs[0].config.report.printed:
            page = paths.report_dir(folder) / paths.page(paths.INDEX, lang, lang)
            said = f"{table.text}\n{say(Message('everything on one page: {file}', file=page))}"
        return said + (f"\n{next_line(['decide', str(folder)], say)}" if decides else "")

    def keep(folder: Path) -> None:
        files.write_text(paths.hydra_file(folder, "config"), OmegaConf.to_yaml(composed[0].config))
        files.write_text(paths.hydra_file(folder, "overrides"), OmegaConf.to_yaml(list(overrides)))

    # As Hydra reads them: its overrides leave out the folders of configurations and where pools run.
    flags, words = separated([word for word in sys.argv[1:] if word not in MODE_FLAGS])
    return run_sweep(jobs, overrides, report, place, keep, typed=[*flags, *words])


def own_trust(jobs: Sequence[Job]) -> Trust:
    """What the configuration of this very command vouches for: its data, its metrics, its planted worlds."""
    from mmbench.evaluation.metrics import check_name
    from mmbench.scheduling.trust import Trust

    data = {Path(job.config.dataset.path) for job in jobs if job.config.dataset.path is not None}
    metrics = {check_name(name)[0] for job in jobs for name in job.config.report.metrics}
    return Trust(frozenset(metrics), tuple(sorted(data)), large_worlds=True)


def separated(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags (with their values) and overrides of a command line."""
    argv = list(argv)
    takes_value = (*CONFIG_DIR_FLAGS, "--config-path", "-cp", "--config-name", "-cn", "--cfg", "-c", "--package", "-p")
    flags: list[str] = []
    overrides: list[str] = []
    while argv:
        word = argv.pop(0)
        if not word.startswith("-"):
            overrides.append(word)
            continue
        flags.append(word)
        optional_value = word in ("--info", "-i") and argv and "=" not in argv[0]
        if (word in takes_value and argv) or optional_value:
            flags.append(argv.pop(0))
    return flags, overrides


def config_dirs(flags: Sequence[str]) -> list[Path]:
    """Folders of configurations that the flags of a command name.

    Raises:
        ValueError: for one that is no folder.
    """
    folders = [Path(flags[i + 1]) for i, flag in enumerate(flags[:-1]) if flag in CONFIG_DIR_FLAGS]
    folders += [Path(f.split("=", 1)[1]) for f in flags if f.startswith("--config-dir=")]
    for folder in folders:
        if not folder.is_dir():
            raise Refusal("--config-dir {folder} is not a folder", folder=folder)
    return folders


def _derived_name(overrides: Sequence[str]) -> str:
    """Name a sweep after what runs, not where, how or how often: the same command finds its own results again."""
    words = sorted(word.lstrip("+") for word in overrides)
    what = [word for word in words if not word.startswith((*PLACE_OR_MANNER, *HOW_OFTEN))]
    return paths.slug(what).replace("=", "-")
