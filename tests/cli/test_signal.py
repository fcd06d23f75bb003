"""``python -m mmbench signal``: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import errno
import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import yaml

from mmbench import paths
from mmbench.cli.signal import company_words
from mmbench.data.conditions import ModalityCondition
from mmbench.data.features import with_missing_filled
from mmbench.data.interactions import Interactions
from mmbench.data.sources import Source, write_folder
from mmbench.inference.contribution.pretest import Light, Pretest, light, restricted
from mmbench.inference.contribution.signal import NeighbourRecall, Signal
from mmbench.inference.intervals import Interval
from mmbench.messages import Translator
from mmbench.report import pretest_text as written
from mmbench.report.control_conditions import by_name, control_of, control_states
from tests.cli.conftest import Command
from tests.cli.test_errors import is_one_line

A_WORLD = (
    "dataset.protocol=given",
    "dataset.world_options.n_users=200",
    "dataset.world_options.n_items=80",
    "dataset.world_options.per_user=15",
)


def test_a_world_whose_image_repeats_its_text(command: Command, tmp_path: Path) -> None:
    said = command("signal", "dataset.world=redundant", *A_WORLD)
    assert (said.code, said.err) == (0, "")
    folder = tmp_path / "signal-planted-redundant"
    record = json.loads((folder / "signal.json").read_text(encoding="utf-8"))
    assert record["kind"] == "signal"
    assert record["lights"] == {"image": "only without the others", "text": "yes"}
    assert set(record["r2"]) == {"none", "image", "text", "image+text"}
    assert record["coverage"] == {"image": 1.0, "text": 1.0}
    assert len(record["null_unique"]["image"]) == 3
    assert record["debiased_cka"]["image+text"] > 0.5
    for line in ("Is a trial worth it? planted-redundant", "only without the others (amber)", "yes (green)"):
        assert line in said.out
    assert "it tells something about behaviour, but nothing is shown that text cannot" in " ".join(said.out.split())
    assert f"written to {folder}: signal.json, signal.md" in said.out
    markdown = (folder / "signal.md").read_text(encoding="utf-8")
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert rows[0] == "| modality | worth a trial? | predicts | only it | by chance | finds | why |"
    assert [row.split(" | ")[0] for row in rows[2:4]] == ["| image", "| text"]
    assert all(note in markdown for note in written.NOTES)


def test_the_pretest_in_japanese(command: Command, tmp_path: Path) -> None:
    said = command("signal", "dataset.world=redundant", *A_WORLD, "lang=ja")
    assert (said.code, said.err) == (0, "")
    assert "planted-redundant: 文章や画像などを試す価値はあるか" in said.out
    assert "ほかがない場合のみ(黄)" in said.out
    assert "…" not in said.out  # a reason is never cut, though it has no blank to break at
    assert "に signal.json と signal.md を書きました\n" in said.out
    assert "次のコマンド: python -m mmbench plan experiment=company" in said.out
    assert "| 情報の種類 | 試す価値 |" in (tmp_path / "signal-planted-redundant" / "signal.md").read_text(
        encoding="utf-8"
    )
    record = json.loads((tmp_path / "signal-planted-redundant" / "signal.json").read_text(encoding="utf-8"))
    assert record["lights"]["text"] == "yes"  # a record has no language
    assert command("signal", "lang=fr").err == "error: lang=fr: there are only en, ja\n"


def test_the_next_command_finds_the_data_of_the_user(command: Command, tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_text("defaults: [planted, _self_]\nworld: redundant\n")
    said = command("signal", "--config-dir", str(tmp_path), "dataset=mine", *A_WORLD)
    assert (said.code, said.err) == (0, "")
    assert f"next: python -m mmbench plan --config-dir={tmp_path} experiment=company dataset=mine " in said.out


@pytest.mark.thorough
def test_the_same_data_give_the_same_record(command: Command, tmp_path: Path) -> None:
    words = ("signal", "dataset.world=complementary", *A_WORLD)
    file = tmp_path / "signal-planted-complementary" / "signal.json"
    command(*words)
    first = file.read_bytes()
    command(*words)
    assert file.read_bytes() == first


def test_the_test_split_does_not_matter(command: Command, tmp_path: Path) -> None:
    """Two folders that differ in the test part only give the same pre-test."""
    rng = np.random.default_rng(0)
    found = []
    for number in (1, 2):
        found.append(_shop(tmp_path / f"shop{number}", np.random.default_rng(0), test_from=rng))
        said = command("signal", "dataset=folder", f"dataset.path={tmp_path}/shop{number}", "dataset.name=shop")
        assert said.code == 0, said.err
        found.append(json.loads((tmp_path / "signal-shop" / "signal.json").read_text(encoding="utf-8")))
    assert found[0] != found[2]
    assert {k: v for k, v in found[1].items() if k != "data"} == {k: v for k, v in found[3].items() if k != "data"}


def _shop(folder: Path, rng: np.random.Generator, *, test_from: np.random.Generator) -> list[int]:
    """A shop of one modality; train and validation come from one generator, the test part from another."""
    n_users, n_items = 60, 70
    bought = np.array([rng.permutation(n_items)[:14] for _ in range(n_users)])
    tested = [int(test_from.choice(np.setdiff1d(np.arange(n_items), row))) for row in bought]
    items = np.hstack([bought, np.array(tested)[:, None]])
    parts = np.tile(["train"] * 13 + ["valid", "test"], n_users)
    users = np.repeat([f"u{u}" for u in range(n_users)], 15)
    log = pd.DataFrame({"user_id": users, "item_id": [f"i{i}" for i in items.ravel()], "split": parts})
    catalogue = pd.DataFrame({"item_id": [f"i{i}" for i in range(n_items)]})
    text = with_missing_filled(rng.standard_normal((n_items, 6)).astype(np.float32), np.arange(n_items) > 3)
    write_folder(Source(log, catalogue, {"text": text}), folder, {})
    return tested


def test_one_modality_has_nothing_to_be_compared_with(command: Command, tmp_path: Path) -> None:
    _shop(tmp_path / "shop", np.random.default_rng(0), test_from=np.random.default_rng(1))
    said = command("signal", "dataset=folder", f"dataset.path={tmp_path}/shop", "dataset.name=shop")
    assert said.code == 0, said.err
    assert "no (red)" in said.out
    assert "with this encoder it is not shown to tell anything about behaviour" in " ".join(said.out.split())
    assert "debiased CKA" not in said.out


def test_what_cannot_be_written_is_told_before_minutes_of_work(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Mock(side_effect=AssertionError("computed for nothing"))
    monkeypatch.setattr("mmbench.inference.contribution.pretest.pretest", asked)
    (tmp_path / "file").touch()
    said = command("signal", "dataset.world=redundant", *A_WORLD, f"paths.multirun={tmp_path / 'file'}")
    message = f"{tmp_path / 'file' / 'signal-planted-redundant'} cannot be written: what should be a folder is a file; "
    is_one_line(said, f"{message}name another place with paths.multirun=FOLDER")


@pytest.mark.thorough
def test_a_result_that_cannot_be_written_is_printed(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmbench.store.files.write_document", Mock(side_effect=OSError(errno.ENOSPC, "No space left")))
    said = command("signal", "dataset.world=redundant", *A_WORLD)
    is_one_line(said, "there is no space left on the disk")
    assert "Is a trial worth it? planted-redundant" in said.out


def test_a_data_set_without_modalities_is_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    log = pd.DataFrame({"user_id": ["a", "a", "a"], "item_id": ["x", "y", "z"], "split": ["train", "valid", "test"]})
    log.to_parquet(tmp_path / "bare" / "interactions.parquet")
    said = command("signal", "dataset=folder", f"dataset.path={tmp_path}/bare", "dataset.name=bare")
    assert (said.code, said.out) == (2, "")
    assert said.err == "error: the data set has no modality, so there is no signal to look for\n"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("dataset=planed", "dataset=planed is unknown; did you mean planted?"),
        ("datset.name=x", "datset.name"),
        (
            "dataset=planted,ml100k",
            "dataset=planted,ml100k has several values, which only a sweep tries one after the other; leave one",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(command: Command, word: str, message: str) -> None:
    said = command("signal", word)
    assert said.code == 2
    assert message in said.err
    assert said.err.count("\n") == 1


def test_a_folder_of_configurations_that_is_not_there_is_refused(command: Command) -> None:
    said = command("signal", "--config-dir", "nowhere", "dataset=planted")
    assert (said.code, said.out, said.err) == (2, "", "error: --config-dir nowhere is not a folder\n")


def test_the_module_and_its_help() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mmbench", "signal", "--help"], capture_output=True, text=True, check=True
    )
    assert "overrides of the configuration, for example dataset=ml100k" in " ".join(done.stdout.split())


def found(unique: float, lo: float, alone: float, others: bool = True, name: str = "image") -> Pretest:
    """A pre-test of an image beside a text, or of an image alone, with shuffles near zero."""
    image, text = frozenset({name}), frozenset({"text"})
    everyone = image | text if others else image
    r2 = {frozenset(): 0.0, image: alone, everyone: 0.3}
    null = np.array([-0.001, 0.0, 0.001])
    names = sorted(everyone)
    signal = Signal(
        100,
        {**r2, text: 0.2},
        {name: Interval(unique, lo, unique + 0.01) for name in names},
        0.0,
        dict.fromkeys(names, null),
        dict.fromkeys(names, null),
    )
    return Pretest(100, 100, dict.fromkeys(names, 1.0), signal, NeighbourRecall({image: 0.1}, 0.01, 10), {}, {})


@pytest.mark.parametrize(
    ("unique", "lo", "alone", "others", "expected"),
    [
        (0.05, 0.02, 0.10, True, Light.GREEN),
        (0.05, 0.0005, 0.10, True, Light.AMBER),  # the luckiest shuffle did as well
        (0.009, 0.008, 0.10, True, Light.AMBER),  # surely there, and too small to matter
        (0.009, 0.008, 0.009, True, Light.RED),
        (-0.01, -0.02, 0.10, True, Light.AMBER),
        (0.05, 0.02, 0.05, False, Light.GREEN),
        (0.05, 0.0005, 0.05, False, Light.RED),  # a single modality repeats nobody
    ],
)
def test_every_light(unique: float, lo: float, alone: float, others: bool, expected: Light) -> None:
    assert light(found(unique, lo, alone, others).signal, "image") is expected


def test_the_name_of_a_modality_is_no_markup() -> None:
    name = "image[v2]:star:"
    pretest = found(0.05, 0.02, 0.05, others=False, name=name)
    data = SimpleNamespace(made_up=False, notices=[])
    lines = written.as_text("shop", data, pretest, Translator()).splitlines()  # type: ignore[arg-type]
    assert sum(name in line for line in lines) == 3  # what has content, its light, and its subset


def test_a_modality_that_few_items_have_is_judged_by_these() -> None:
    """A third of the items can tell of a third of the variance at most; one that none has is said to be absent."""
    measured = found(0.005, 0.004, 0.005, others=False)
    assert light(measured.signal, "image") is Light.RED
    pilot = replace(measured, coverage={"image": 0.3})
    assert pilot.lights == {"image": Light.GREEN}
    nobody = replace(found(0.0, -0.001, 0.0, others=False), coverage={"image": 0.0})
    assert nobody.lights == {"image": Light.RED}
    assert written.light_reason(nobody, "image", Translator("en")) == "none of these items has any"


@pytest.mark.parametrize(
    ("unique", "alone", "others"),
    [
        (0.05, 0.03, ("text",)),  # together they find more than each
        (0.02, 0.05, ("audio", "text")),
        (-0.01, 0.05, ("text",)),
        (0.0, -0.005, ("text",)),  # above chance, which is below zero
        (0.0, 0.0, ("audio", "text")),
    ],
)
def test_no_share_is_told_of_what_is_not_shown(unique: float, alone: float, others: tuple[str, ...]) -> None:
    """Most of it may be the modality's own: its range holds more than the estimate."""
    pretest, names = found(unique, -1.0, alone), ("image", *others)
    of_each = Interval(unique, -1.0, unique + 0.01)
    signal = replace(
        pretest.signal,
        r2={**pretest.signal.r2, **{frozenset({name}): 0.2 for name in others}},
        unique=dict.fromkeys(names, of_each),
        null_alone=dict.fromkeys(names, np.array([-0.03, -0.02])),
        null_unique=dict.fromkeys(names, np.array([-0.001, 0.001])),
    )
    pretest = replace(pretest, coverage=dict.fromkeys(names, 1.0), signal=signal)
    assert pretest.lights["image"] is Light.AMBER
    said = written.light_reason(pretest, "image", Translator())
    assert said == f"it tells something about behaviour, but nothing is shown that {' and '.join(others)} cannot"


def test_every_light_says_why() -> None:
    said = [
        written.light_reason(found(*case), "image", Translator())
        for case in (
            (0.05, 0.02, 0.10),
            (0.02, 0.0, 0.10),
            (0.0, 0.0, 0.0),
            (0.05, 0.02, 0.05, False),
            (0.06, -0.02, 0.06, False),  # it may tell much, and that is not shown
        )
    ]
    assert said == [
        "it tells something about behaviour that text cannot",
        "it tells something about behaviour, but nothing is shown that text cannot",
        "with this encoder it is not shown to tell anything about behaviour",
        "it tells something about behaviour",
        "with this encoder it is not shown to tell anything about behaviour",
    ]


def test_restricted_interactions_keep_their_pairs() -> None:
    train = Interactions(np.array([0, 0, 1, 2]), np.array([4, 1, 4, 3]), 3, 5)
    kept = restricted(train, np.array([1, 4]))
    assert (kept.users.tolist(), kept.items.tolist(), kept.n_items) == ([0, 0, 1], [1, 0, 1], 2)


@pytest.mark.parametrize(
    "modalities",
    [["image", *others] for size in range(4) for others in itertools.combinations(("audio", "text", "video_2"), size)],
)
def test_the_first_sweep_has_what_a_decision_about_images_needs(modalities: list[str]) -> None:
    """Everything, everything but images, and of every condition with images its control."""
    said = dict(word.split("=", 1) for word in company_words([], modalities, "shop"))
    preset = yaml.safe_load((paths.config_dir() / "experiment" / "company.yaml").read_text(encoding="utf-8"))
    names = said.get("modality", preset["hydra"]["sweeper"]["params"]["modality"]).split(",")
    of_name = {}
    for name in names:
        file = paths.config_dir() / "modality" / f"{name}.yaml"
        condition = ModalityCondition(**yaml.safe_load(file.read_text(encoding="utf-8")))
        condition.check(modalities, "shop")
        of_name[name] = {modality: condition.state(modality) for modality in sorted(modalities)}
    run = {by_name(states): name for name, states in of_name.items()}
    assert len(run) == len(names)  # no two are the same
    everything = dict.fromkeys(modalities, "real")
    assert by_name(everything) in run
    assert by_name({**everything, "image": "drop"}) in run
    controls = {name: control_states(states, "image") for name, states in of_name.items()}
    for name, control in controls.items():
        if control is not None:
            assert control_of(of_name[name], name, "image") == f"modality={run[control]}"


@pytest.mark.parametrize(
    "modalities",
    [names for size in range(4) for names in itertools.combinations(("audio", "image", "text", "video_2"), size)],
)
def test_the_first_sweep_has_both_sides_of_its_contrasts(modalities: tuple[str, ...]) -> None:
    said = dict(word.split("=", 1) for word in company_words([], modalities, "shop"))
    files = (paths.config_dir() / name for name in ("config.yaml", "experiment/company.yaml"))
    defaults, preset = (yaml.safe_load(file.read_text(encoding="utf-8")) for file in files)
    run = said.get("modality", preset["hydra"]["sweeper"]["params"]["modality"]).split(",")
    given = said.get("statistics.contrasts")
    contrasts = defaults["statistics"]["contrasts"] if given is None else yaml.safe_load(given)
    judged = {contrast for contrast in contrasts if set(contrast.split("_vs_")) <= set(run)}
    assert judged or run == ["none"]
    if given is not None or {"image", "text"} == set(modalities):
        assert judged == set(contrasts)
