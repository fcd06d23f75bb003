"""Every command that the documentation shows is one that exists, with settings that exist."""

from __future__ import annotations

import functools
import importlib.util
import re
import shlex

import pytest

from mmbench import paths
from mmbench.cli import compose, habits
from tests.docs.test_links import ROOT, SOURCES
from tests.messages.test_commands import UNQUOTED

COMMAND = re.compile(r"python -m (?P<module>mmbench[\w.]*|tests\.[\w.]+)(?P<words>[^`|>#]*)")
#: First word of a block of commands; a block with a language, or with output, is none.
SHELL = re.compile(
    r"^```\n((?:[A-Z_]+=\S* )?(?:python|pip|make|wandb|\.venv/bin/\S+) .*?)^```$", re.MULTILINE | re.DOTALL
)
#: The command without a sub-command: it tunes and tests cells.
SWEEP = "mmbench"
#: Commands whose words are overrides of the configuration.
CONFIGURED = (SWEEP, "plan", "signal", "start")
#: Models and conditions that a page asks the reader to write, and the misspelt one that the README shows.
MADE_BY_THE_READER = {
    "model=mine",
    "model=bpr,fusion,additive",
    "model=ours,theirs,ease",
    "model=x",
    "modality=x",
    "model=vpbr",
}
#: Commands whose keys are no fixed list, such as names of modalities or of columns.
FREE = ("encode", "prepare")
#: Keys of ``key=value`` words that a command takes beside the configuration.
OWN_KEYS = {
    "check": {"gain", "lang"},
    "decide": {"economics", "lang", "dataset", "model", "serving", "tracking", "tracking.wandb.entity"},
    "plan": {"lang"},
    "report": {"tracking"},
    "start": {"lang"},
    "signal": {"lang"},
}


def command_name(module: str, words: list[str]) -> tuple[str, list[str]]:
    """Name and words of a command; the name is its sub-command: a first word that is no option and no setting."""
    if module == SWEEP and words and re.fullmatch(r"[a-z]+", words[0]):
        return words[0], words[1:]
    return module, words


def page(source: str) -> str:
    """What a page says; of a notebook its Markdown without the signs of comments."""
    text = (ROOT / source).read_text(encoding="utf-8")
    return re.sub(r"^# ?", "", text, flags=re.MULTILINE) if source.endswith(".py") else text


def commands(source: str) -> list[tuple[str, list[str]]]:
    """Name and words of every command of a page; a backslash at the end of a line continues the command."""
    text = re.sub(r"\\\n\s*", " ", page(source))
    shown = []
    for match in COMMAND.finditer(text):
        line = match["words"].partition("\n")[0]
        try:
            words = shlex.split(line)
        except ValueError:  # prose with an apostrophe
            words = line.split()
        shown.append(command_name(match["module"].rstrip("."), words))
    return shown


EVERY = [(source, *command) for source in SOURCES for command in commands(source)]


def test_the_documentation_shows_commands() -> None:
    assert len(EVERY) > 60
    assert {source for source, *_ in EVERY} >= {"README.md", "docs/ja/company.md", "docs/notebooks/first_sweep.py"}


@pytest.mark.parametrize("source", sorted({source for source, *_ in EVERY}))
def test_commands_are_there(source: str) -> None:
    for _, name, _ in (entry for entry in EVERY if entry[0] == source):
        if name == SWEEP or name.startswith("tests."):
            assert importlib.util.find_spec(name) is not None, f"{source} names {name}"
        else:
            module = f"mmbench.cli.{name.replace('verify', 'bundle')}"
            assert importlib.util.find_spec(module) is not None, f"{source} names the command {name}"


def test_a_block_of_commands_can_be_pasted_into_any_shell() -> None:
    """An interactive zsh takes ``#`` for a word, and the apostrophe in a comment for a quote."""
    blocks = [(source, block) for source in SOURCES for block in SHELL.findall(page(source))]
    assert len(blocks) > 70
    for source, block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            assert not any(word.startswith("#") for word in shlex.split(line)), f"{source}: {line}"


@pytest.mark.parametrize("source", [source for source in SOURCES if source != "CHANGELOG.md"])
def test_words_can_be_pasted_into_zsh(source: str) -> None:
    text = (ROOT / source).read_text(encoding="utf-8")
    if source.endswith(".py"):
        text = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    text = re.sub(r"^ *```\w+\n.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)  # other languages
    assert [text[found.start() :].partition("\n")[0] for found in UNQUOTED.finditer(text)] == []


@pytest.mark.parametrize("source", sorted({source for source, *_ in EVERY}))
def test_settings_are_there(source: str) -> None:
    for _, name, words in (entry for entry in EVERY if entry[0] == source):
        settings = [word for word in words if re.match(r"[\w@./]+=", word) and "..." not in word]
        settings = [word for word in settings if word.partition("=")[0] not in OWN_KEYS.get(name, ())]
        if name in CONFIGURED:
            check(tuple(habits.ours((word for word in settings if word not in MADE_BY_THE_READER), multirun=True)))
        else:
            assert not settings or name in FREE, f"{source}: {name} does not take {settings}"


@functools.cache
def check(settings: tuple[str, ...]) -> None:
    """Compose the first job of a command, and look for the file of every other choice that it makes."""
    variants = [compose.single_values(override) for override in compose.parse(settings)]
    compose.compose([values[0] for values in variants])
    for key, _, choice in (value.partition("=") for values in variants for value in values[1:]):
        if (paths.config_dir() / key).is_dir():
            assert (paths.config_dir() / key / f"{choice}.yaml").exists(), f"{key}={choice}"
