"""What others add without a fork: by an entry point of an installed package, or by a dotted name in a command."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mmbench
from mmbench import extensions, fingerprint, paths
from mmbench.audit import consistency
from mmbench.cli import prepare
from mmbench.data.features import ItemFeature
from mmbench.data.sources import Source, check_source, read_folder
from mmbench.evaluation.metrics import RankedPairs, check_name, per_user
from mmbench.store import records
from mmbench.store.schema import Cell, FinalRun
from tests import extension
from tests.cli.conftest import Command
from tests.cli.foreign import say

CONDITION = "modality.states.image"
PAIRS = RankedPairs(users=np.array([0, 0, 1]), ranks=np.array([1, 3, 30]), n_users=2)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package, installed for a test."""
    folder = extension.install(tmp_path / "site")
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] in ("shop_extension", "own_code")]:
        del sys.modules[name]


@pytest.fixture
def own_code(installed: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's own on the search path, which no package offers."""
    (installed / "own_code.py").write_text(extension.CODE, encoding="utf-8")
    return "own_code"


@pytest.mark.thorough
def test_a_model_a_condition_a_state_and_a_metric_of_a_package(
    installed: Path, command: Command, tmp_path: Path
) -> None:
    said = command(
        "-m", "sweep.name=s", "model=mine,popularity", "modality=halved,text", "report.metrics=[ndcg@20,first@5]"
    )
    assert said.code == 0, said.err
    sweep = tmp_path / "s"
    table = mmbench.read(sweep).table()
    assert set(table["status"]) == {"done"}
    assert set(table["modality"]) == {"halved", "text", "-"}
    (hit,) = table[(table["model"] == "mine") & (table["modality"] == "halved") & (table["metric"] == "first@5")][
        "mean"
    ]
    place = paths.cell_dir(sweep, "planted-complementary", "mine", "halved")
    ranks = records.read_ranking(paths.final_file(place, 1, paths.RANKS))
    best = pd.Series(ranks.ranks).groupby(ranks.users).min()
    assert hit == pytest.approx((best <= 5).mean())
    final = records.read(paths.final_file(place, 1, paths.RECORD), FinalRun)
    assert final.controls["image"].state == "halved"
    said = command("-m", "sweep.name=s", "model=mine,popularity", "modality=halved,text")
    assert "0 to go" in said.out


def test_a_state_and_a_metric_by_their_dotted_names(
    own_code: str, installed: Path, command: Command, tmp_path: Path
) -> None:
    words = [f"{CONDITION}={own_code}.halved", f"report.metrics=[{own_code}.first_hit@5]", "model=hybridknn"]
    said = command("sweep.name=s", "modality=fused", *words)
    assert said.code == 0, said.err
    assert f"{own_code}.first_hit@5" in said.out
    sweep = tmp_path / "s"
    (file,) = paths.cell_files(sweep)
    cell = records.read(file, Cell)
    assert cell.states["image"] == f"{own_code}.halved"
    # The source of the state is part of what decides numbers, as that of an own model is.
    state = installed / "own_code.py"
    assert cell.versions[records.STATES] == fingerprint.of_json({own_code: fingerprint.of_source(state)})
    # A record's word imports nothing: the flag vouches, and nothing else does.
    del sys.modules[own_code]
    refused = say("report", sweep)
    assert refused.code == 2
    assert f"report.metrics={own_code}.first_hit is not installed, and a record is no reason" in refused.err
    with pytest.raises(mmbench.Refusal, match=f"--allow {own_code}.first_hit vouches for it"):
        mmbench.read(sweep)
    assert own_code not in sys.modules
    metric = mmbench.read(sweep, allow=(f"{own_code}.first_hit",)).table()
    assert f"{own_code}.first_hit@5" in set(metric["metric"])
    # The state matters to whoever trains or scores again, not to a report.
    del sys.modules[own_code]
    with pytest.raises(mmbench.Refusal, match=f"modality.states={own_code}.halved is not installed"):
        mmbench.load(sweep, str(cell.name), allow=(f"{own_code}.first_hit",))
    assert own_code not in sys.modules
    assert mmbench.load(sweep, str(cell.name), allow=(f"{own_code}.halved",)).model is not None


def test_what_is_wrong_with_a_state_or_a_metric_is_told_before_anything_is_written(
    own_code: str, command: Command, tmp_path: Path
) -> None:
    for words, line in (
        ([f"{CONDITION}=halvd"], "modality.states.image=halvd is not a state; states are real, drop, shuffle"),
        (
            [f"{CONDITION}=nowhere.halved"],
            "modality.states=nowhere.halved cannot be imported: No module named 'nowhere'",
        ),
        ([f"{CONDITION}={own_code}.pd"], "modality.states=own_code.pd is no function"),
        (
            ["report.metrics=[frst@5]"],
            "'frst@5' is not a metric; write one of recall, ndcg",
        ),
        (
            ["report.metrics=[nowhere.hit@5]"],
            "report.metrics=nowhere.hit cannot be imported: No module",
        ),
        ([f"report.metrics=[{own_code}.np@5]"], "report.metrics=own_code.np is no function"),
        (
            [f"report.primary={own_code}.first_hit@5"],
            "no verdict rests on code that could change once results are known",
        ),
        (["report.primary=first@5"], "'report.metrics=[first@5]' shows it"),
    ):
        said = command("sweep.name=wrong", "modality=fused", "model=hybridknn", *words)
        assert said.code == 2, words
        assert line in said.err
        assert said.err.count("\n") == 1
    assert not (tmp_path / "wrong").exists()
    assert "halved" in command("modality=fused", "model=hybridknn", f"{CONDITION}=halvd").err.partition("states are")[2]


def test_results_of_others_are_checked(installed: Path, command: Command) -> None:
    (installed / "own_code.py").write_text(
        "def short(pairs, k):\n    return [1.0]\ndef broken(pairs, k):\n    return {}[k]\n"
        "def flat(feature, rng):\n    return feature.values\n",
        encoding="utf-8",
    )
    assert per_user(PAIRS, "first@2").tolist() == [1.0, 0.0]
    assert check_name("own_code.short@3") == ("own_code.short", 3)
    with pytest.raises(mmbench.Refusal, match="must give a finite number for each of the 2 users"):
        per_user(PAIRS, "own_code.short@3")
    with pytest.raises(mmbench.Refusal, match=r"report\.metrics=own_code\.broken failed: KeyError: 3"):
        per_user(PAIRS, "own_code.broken@3")
    said = command("sweep.name=s", "modality=fused", "model=hybridknn", f"{CONDITION}=own_code.flat")
    assert said.code == 1
    assert "state own_code.flat must return None, or an ItemFeature" in said.err


def test_an_importer_and_a_reader_of_a_package(installed: Path, tmp_path: Path) -> None:
    baskets = tmp_path / "baskets.log"
    baskets.write_text("u1 a b\nu2 b c\nu3 a c\n")
    pairs = tmp_path / "log.pairs"
    pairs.write_text("user_id~item_id\nu1~a\nu1~b\nu2~b\n")
    for source, how in ((baskets, ["--format", "baskets"]), (baskets, ["--format", "shop_extension.import_baskets"])):
        out = tmp_path / "out"
        prepare.main([str(source), *how, "--out", str(out), "--overwrite"])
        assert len(read_folder(out).log) == 6
        assert json.loads((out / "dataset.json").read_text())["provenance"]["format"] == how[1]
    prepare.main([str(pairs), "--out", str(tmp_path / "pairs")])
    assert read_folder(tmp_path / "pairs").log["item_id"].tolist() == ["a", "b", "b"]


def test_a_wrong_importer_or_reader_is_refused(installed: Path, tmp_path: Path) -> None:
    (installed / "own_code.py").write_text(
        "def nothing(path, options, journal):\n    return 3\n"
        "def broken(path, options, journal):\n    raise KeyError('sku')\n",
        encoding="utf-8",
    )
    source = tmp_path / "log.txt"
    source.write_text("x")
    (tmp_path / "empty.pairs").write_text("user_id~item_id\n")
    for words, line in (
        ((source, "--format", "nothing"), "--format nothing is unknown; formats are mmrec, .*baskets"),
        ((source, "--format", "own_code.nothing"), "own_code.nothing gave int and no mmbench.data.sources.Source"),
        ((source, "--format", "own_code.broken"), "--format=own_code.broken failed: KeyError: 'sku'"),
        ((source, "--format", "own_code.absent"), "--format=own_code.absent cannot be imported"),
        ((tmp_path / "empty.pairs",), "empty.pairs has no rows"),
    ):
        with pytest.raises(mmbench.Refusal, match=line):
            prepare.main([*map(str, words), "--out", str(tmp_path / "out")])
        assert not (tmp_path / "out").exists()


def made(log: object = None, items: object = None, **features: object) -> Source:
    """What an importer gives, with something wrong in it."""
    ids = pd.DataFrame({"item_id": ["a", "b"]})
    whole: list[Any] = [pd.DataFrame({"user_id": ["u", "u"], "item_id": ["a", "b"]}) if log is None else log]
    return Source(*whole, ids if items is None else items, features)  # type: ignore[arg-type]


BOTH = np.array([True, True])


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (made([{"user_id": "u"}]), r"^shop: log is list and no DataFrame$"),
        (made(items=3), r"^shop: items is int and no DataFrame$"),
        (made(text=np.ones((2, 3))), r"^shop: features\['text'\] is ndarray and no ItemFeature$"),
        (made(text=ItemFeature([[1.0]] * 2, BOTH)), r"features\['text'\].values is list and no ndarray$"),  # type: ignore[arg-type]
        (made(text=ItemFeature(np.ones(2, np.float32), BOTH)), r"^shop: modality 'text' must have numbers in two"),
        (made(text=ItemFeature(np.array([["x"]] * 2), BOTH)), r"^shop: modality 'text' must have numbers in two"),  # type: ignore[arg-type]
        (made(text=ItemFeature(np.full((2, 3), np.nan, np.float32), BOTH)), r"all finite where an item has content"),
        (made(text=ItemFeature(np.ones((2, 3), np.float32), np.ones(2, np.int64))), r"as truth values$"),  # type: ignore[arg-type]
        (made(text=ItemFeature(np.ones((3, 3), np.float32), np.ones(3, bool))), r"'text' has 3 rows for 2 items$"),
    ],
)
def test_what_an_importer_gives_is_checked_before_it_is_written(given: Source, line: str) -> None:
    """Some of it ended in a traceback, and some in a folder that nothing reads."""
    with pytest.raises(mmbench.Refusal, match=line):
        check_source(given, "shop")


def test_a_reader_that_gives_no_table_is_refused(
    installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("shop_extension.read_pairs", lambda path: [path])
    (tmp_path / "log.pairs").touch()
    with pytest.raises(mmbench.Refusal, match=r"^the reader of pairs files gave list and no pandas\.DataFrame$"):
        prepare.main([str(tmp_path / "log.pairs"), "--out", str(tmp_path / "out")])


def test_what_is_installed_is_read_once_and_again_when_it_changes(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every job of a sweep asks for it, and all installed packages would be looked through each time."""
    assert extensions.offered(extensions.METRICS) == {"first": "shop_extension.first_hit"}
    with monkeypatch.context() as patch:
        patch.setattr("importlib.metadata.entry_points", lambda **_: pytest.fail("looked through once more"))
        assert extensions.is_installed(extensions.METRICS, "first")
    added = installed / "later-1.0.dist-info"
    added.mkdir()
    (added / "entry_points.txt").write_text("[mmbench.metrics]\nlater = later:metric\n", encoding="utf-8")
    assert extensions.offered(extensions.METRICS)["later"] == "later.metric"


def test_configurations_are_added_to_mmbench_alone(installed: Path) -> None:
    from hydra._internal.utils import create_config_search_path

    assert extensions.offered(extensions.CONFIGURATIONS) == {"shop": "shop_extension.conf"}
    ours, other = (create_config_search_path(str(place)) for place in (paths.config_dir(), installed))
    added = [part.path for part in ours.get_path() if part.provider == "mmbench.conf:shop"]
    assert added == ["pkg://shop_extension.conf"]
    assert not any(part.provider.startswith("mmbench.conf") for part in other.get_path())


def test_a_state_of_one_condition_makes_no_other_code_of_its_siblings(
    own_code: str, command: Command, tmp_path: Path
) -> None:
    """The code of a state is told apart from that which all conditions of a model share."""
    folder = tmp_path / "conf" / "modality"
    folder.mkdir(parents=True)
    (folder / "half.yaml").write_text(f"default: real\nstates: {{image: {own_code}.halved}}\n", encoding="utf-8")
    words = ["--config-dir", str(folder.parent), "-m", "sweep.name=s", "model=hybridknn", "modality=half,text"]
    said = command(*words)
    assert said.code == 0, said.err
    half, text = (records.read(file, Cell).versions for file in sorted(paths.cell_files(tmp_path / "s")))
    assert half["source"] == text["source"]
    assert half.keys() - text.keys() == {records.STATES}
    assert consistency.check(tmp_path / "s") == []
