"""Every command that the documentation shows is one that exists, with settings that exist."""

from __future__ import annotations

import functools
import importlib.util
import re
import shlex

import pytest

from mmbench import paths
from mmbench.cli import compose
from mmbench.cli.compose import open_modality_keys
from tests.docs.test_links import ROOT, SOURCES

COMMAND = re.compile(r"python -m (?P<module>mmbench[\w.]*|tests\.[\w.]+)(?P<words>[^`|>#]*)")
#: Commands whose words are overrides of the configuration.
CONFIGURED = ("mmbench", "mmbench.plan", "mmbench.signal")
#: A model that the page has the reader write, and the mistake that the README shows.
MADE_BY_THE_READER = {"model=mine", "model=bpr,fusion,additive", "model=vpbr"}
#: Commands with keys that are no fixed list, such as names of modalities or of columns.
FREE = ("mmbench.encode", "mmbench.prepare")
#: Words ``key=value`` that a command takes besides.
OWN_KEYS = {
    "mmbench.check": {"gain", "lang"},
    "mmbench.decide": {"economics", "lang", "dataset", "model", "serving"},
    "mmbench.plan": {"lang"},
    "mmbench.signal": {"lang"},
}


def commands(source: str) -> list[tuple[str, list[str]]]:
    """Module and words of every command of a page; lines that end in a backslash go on."""
    text = (ROOT / source).read_text(encoding="utf-8")
    if source.endswith(".py"):
        text = re.sub(r"^# ?", "", text, flags=re.MULTILINE)
    text = re.sub(r"\\\n\s*", " ", text)
    found = []
    for match in COMMAND.finditer(text):
        line = match["words"].partition("\n")[0]
        try:
            words = shlex.split(line)
        except ValueError:  # prose with an apostrophe
            words = line.split()
        found.append((match["module"].rstrip("."), words))
    return found


EVERY = [(source, *command) for source in SOURCES for command in commands(source)]


def test_the_documentation_shows_commands() -> None:
    assert len(EVERY) > 60
    assert {source for source, *_ in EVERY} >= {"README.md", "docs/ja/company.md", "docs/notebooks/own_model.py"}


@pytest.mark.parametrize("source", sorted({source for source, *_ in EVERY}))
def test_commands_are_there(source: str) -> None:
    for _, module, _ in (entry for entry in EVERY if entry[0] == source):
        assert importlib.util.find_spec(module) is not None, f"{source} names {module}"
        if module.startswith("mmbench."):
            assert importlib.util.find_spec(f"mmbench.cli.{module.partition('.')[2].replace('verify', 'bundle')}")


@pytest.mark.parametrize("source", sorted({source for source, *_ in EVERY}))
def test_settings_are_there(source: str) -> None:
    for _, module, words in (entry for entry in EVERY if entry[0] == source):
        settings = [word for word in words if re.match(r"[\w@./]+=", word) and "..." not in word]
        settings = [word for word in settings if word.partition("=")[0] not in OWN_KEYS.get(module, ())]
        if module in CONFIGURED:
            check(tuple(open_modality_keys(word for word in settings if word not in MADE_BY_THE_READER)))
        else:
            assert not settings or module in FREE, f"{source}: {module} does not take {settings}"


@functools.cache
def check(settings: tuple[str, ...]) -> None:
    """Compose the first job of a command, and look for the file of every other choice that it makes."""
    variants = [compose.single_values(override) for override in compose.parse(settings)]
    compose.compose([values[0] for values in variants])
    for key, _, choice in (value.partition("=") for values in variants for value in values[1:]):
        if (paths.config_dir() / key).is_dir():
            assert (paths.config_dir() / key / f"{choice}.yaml").exists(), f"{key}={choice}"
