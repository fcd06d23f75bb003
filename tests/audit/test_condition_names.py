"""The name of a condition says what it does, or that it is the user's own."""

from __future__ import annotations

import functools
import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from mmbench import paths
from mmbench.audit.condition_names import effect, meaning, meant_by, own_name, untold_losses
from mmbench.cli.compose import compose, compose_all
from mmbench.data.conditions import ModalityCondition
from mmbench.messages import Refusal
from mmbench.report.comparisons import read_contrasts
from mmbench.report.fairness_checks import read_groups
from mmbench.report.reading import read_sweep
from mmbench.report.sentences import sentence
from mmbench.scheduling.job import Job
from tests import records as valid
from tests.audit.conftest import run
from tests.audit.test_honest import passes
from tests.tiny import TINY, composed

MODALITIES = ("image", "text")
NAMES = sorted(file.stem for file in (paths.config_dir() / "modality").glob("*.yaml"))
#: Words of a command that change a condition.
FURTHER = (
    (),
    ("+modality.missing.image=0.5",),
    ("+modality.missing.image=0.50", "modality.missing_rule=tail"),
    ("modality.missing_slice=popularity:6-20", "modality.missing_rule=slice", "+modality.missing.image=1"),
    ("++modality.states.image=shuffle", "modality.seed=3"),
    ("++modality.states.image=gaussian_cov",),
    ("+modality.missing.image=1e-1", "modality.seed=1_0"),
    ("+modality.missing.image=0.5", "modality.missing.image=0.2"),
)


@functools.cache
def asked() -> dict[tuple[str, tuple[str, ...]], Job]:
    """What commands ask for under every name with all further words, composed together."""
    each = list(itertools.product(NAMES, FURTHER))
    composed = compose_all([*TINY, "model=vbpr", f"modality={name}", *words] for name, words in each)
    return {one: job.job() for one, job in zip(each, composed, strict=True)}


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("words", FURTHER)
def test_what_a_command_asks_for_has_its_name(name: str, words: tuple[str, ...]) -> None:
    job = asked()[name, words]
    condition = job.config.modality
    meant = meant_by(job.asked_modality, condition)
    assert meant is not None
    assert effect(meant, MODALITIES) == effect(condition, MODALITIES)


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("fused", {"default": "real", "states": {"image": "shuffle"}}),
        ("text", {"default": "drop", "states": {"image": "real"}}),
        ("fused_missing.image=0.5", {"missing": {"image": 0.9}}),
        ("fused_seed=3", {}),
        ("text", {"default": "drop", "states": {}}),  # text taken out of it
        ("text_shuffled_image", {"default": "drop", "states": {"text": "real"}}),
    ],
)
def test_another_condition_under_a_known_name_is_seen(name: str, section: dict[str, Any]) -> None:
    condition = ModalityCondition(**section)
    meant = meant_by(name, condition)
    assert meant is not None
    assert effect(meant, MODALITIES) != effect(condition, MODALITIES)


def test_numbers_in_a_name_are_those_of_hydra_and_the_last_of_a_key_counts() -> None:
    words = ("+modality.missing.image=50e-2", "modality.seed=3", "modality.missing.image=1E-1")
    job = composed([*TINY, "model=vbpr", "modality=fused", *words]).job()
    assert job.asked_modality == "fused_missing.image=1E-1_seed=3"
    assert meant_by(job.asked_modality, ModalityCondition()) == ModalityCondition(missing={"image": 0.1}, seed=3)


@pytest.mark.parametrize("of", ["experiment", "model"])
def test_a_condition_of_ones_own_under_a_name_of_the_package_is_refused(tmp_path: Path, of: str) -> None:
    """A preset and the YAML of a model change it without a word of the command."""
    (tmp_path / of).mkdir()
    section = "# @package _global_\nmodality:\n  missing: {image: 0.5}\n"
    sections = {
        "experiment": (section, ["model=vbpr", "experiment=mine"]),
        "model": (f"{section}model:\n  _target_: mmbench.models.vbpr.VBPR\n", ["model=mine"]),
    }
    text, words = sections[of]
    (tmp_path / of / "mine.yaml").write_text(text, encoding="utf-8")
    said = (
        "modality=fused would be the name of a condition with missing={'image': 0.5}, and it says missing={}; write "
        "the condition into modality/NAME.yaml for modality=NAME, a name of your own, or give its settings as words of "
        "the command"
    )
    job = compose([*TINY, "modality=fused", *words], [tmp_path])
    with pytest.raises(Refusal, match=f"^{re.escape(said)}$"):
        job.job()


def test_a_name_that_says_nothing_that_is_allowed_ends_no_report() -> None:
    """The audit tells it; what the report says of names is what the record says."""
    name = "fused_missing.image=half"
    with pytest.raises(Refusal, match=r"modality\.missing\.image=half must be at least 0 and below 1"):
        meant_by(name, ModalityCondition(missing={"image": 0.5}))
    assert meaning(name, ModalityCondition(missing={"image": 0.5})) is None
    cell = valid.cell(modality=name, config={"modality": {"missing": {"image": 0.5}}}, states={"image": "real"})
    assert own_name(cell) == ["image real with 50 % of its items without content"]
    assert untold_losses(cell) == ["image with 50 % of its items without content"]


@pytest.mark.parametrize("name", ["mine", "fused2", "fused_mine", "text_missing.image=0.5_and_more-0a1b2c"])
def test_a_name_of_the_users_own_stands_for_nothing(name: str) -> None:
    assert meant_by(name, ModalityCondition(missing={"image": 0.25})) is None


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("fused_seed=[&a0 [x,x],[*a0,*a0]]", "fused_seed=[&a0 [x,x],[*a0,*a0]]"),  # doubles with every alias
        ("fused_seed={a: 1}", "fused_seed={a: 1}"),
        (f"fused_missing.image={'9' * 100}", f"fused_missing.image={'9' * 40}..."),
    ],
)
def test_a_name_that_no_command_gives_is_not_read(name: str, shown: str) -> None:
    said = (
        f"no command gives a condition the name {shown}: names have letters, digits and - . = _, and at most 60 of them"
    )
    with pytest.raises(Refusal, match=f"^{re.escape(said)}$"):
        meant_by(name, ModalityCondition())


@pytest.mark.parametrize(
    ("section", "said", "lost"),
    [
        ({"states": {"image": "shuffle"}, "seed": 3}, ["image shuffle", "text real", "seed 3"], []),
        (
            {"default": "drop", "states": {"text": "real"}, "missing": {"text": 0.6, "image": 0.5}},
            ["image drop", "text real with 60 % of its items without content"],
            ["text with 60 % of its items without content"],
        ),
        (
            {"missing": {"image": 0.125}, "missing_rule": "tail"},
            [
                "image real with 12.5 % of its items without content, those with the fewest interactions first",
                "text real",
            ],
            ["image with 12.5 % of its items without content, those with the fewest interactions first"],
        ),
        (
            {"missing": {"text": 1}, "missing_rule": "slice", "missing_slice": "popularity:6-20"},
            ["image real", "text real with 100 % of its items outside popularity:6-20 without content"],
            ["text with 100 % of its items outside popularity:6-20 without content"],
        ),
    ],
)
def test_a_name_of_the_users_own_is_said_whole(section: dict[str, Any], said: list[str], lost: list[str]) -> None:
    states = {name: ModalityCondition(**section).state(name) for name in MODALITIES}
    own, known = (valid.cell(modality=name, config={"modality": section}, states=states) for name in ("words", "fused"))
    assert (own_name(own), untold_losses(own)) == (said, lost)
    assert (own_name(known), untold_losses(known)) == ([], [])  # what it is not is a finding of the audit


@pytest.mark.thorough
def test_content_that_was_taken_away_under_a_name_of_ones_own_is_said_and_warned_of(tmp_path: Path) -> None:
    (tmp_path / "conf" / "modality").mkdir(parents=True)
    words = "default: drop\nstates: {text: real}\nmissing: {text: 0.6}\n"
    (tmp_path / "conf" / "modality" / "words.yaml").write_text(words, encoding="utf-8")
    (tmp_path / "conf" / "model").mkdir()
    cells = tuple(("addease", name, "complementary") for name in ("fused", "words"))
    planned = ("budget.trials=8", "budget.seeds=2", "statistics.contrasts=[fused_vs_words]")
    sweep = run(tmp_path, "s", *planned, cells=cells)
    table = read_sweep(sweep)
    (group,) = read_groups(table, sweep)
    (said,) = (check for check in group.checks if check.name == "conditions")
    assert (said.level, group.level) == ("WARN", "WARN")
    assert said.reason.endswith(": words is image drop, text real with 60 % of its items without content")
    (compared,) = read_contrasts(table, [group])
    assert "fused against words (text with 60 % of its items without content) is " in sentence(compared, table.primary)


@pytest.mark.thorough
def test_the_page_says_which_names_are_the_users_own(tmp_path: Path) -> None:
    folder = tmp_path / "conf" / "modality"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("default: real\nstates: {image: shuffle}\n", encoding="utf-8")
    (tmp_path / "conf" / "model").mkdir()
    cells = (("vbpr", "fused", "complementary"), ("vbpr", "mine", "complementary"))
    sweep = run(tmp_path, "s", "budget.trials=1", "budget.seeds=1", cells=cells)
    passes(sweep)
    (group,) = read_groups(read_sweep(sweep), sweep)
    (said,) = (check for check in group.checks if check.name == "conditions")
    assert said.reason == "names that mmbench does not know: mine is image shuffle, text real"


@pytest.mark.parametrize("word", ["~modality.states", "~modality.states.text"])
def test_nothing_is_taken_out_of_a_condition(word: str) -> None:
    """No name would tell."""
    with pytest.raises(Refusal, match=f"^{re.escape(word)}: nothing can be taken out of a condition; set it"):
        assert [composed.job().cell for composed in compose_all([[*TINY, "model=vbpr", "modality=text", word]])]
