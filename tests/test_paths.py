"""Where things lie, and names that every file system accepts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbench import paths
from mmbench.audit.opened import _ranked_test


def test_configuration_of_the_checkout_is_found() -> None:
    assert (paths.config_dir() / "config.yaml").is_file()


def test_configuration_inside_the_package_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lib" / "python" / "mmbench"
    for folder in (package / "conf", tmp_path / "lib" / "conf"):
        folder.mkdir(parents=True)
        (folder / "config.yaml").touch()
    monkeypatch.setattr(paths, "PACKAGE", package)
    assert paths.config_dir() == package / "conf"
    (package / "conf" / "config.yaml").unlink()
    assert paths.config_dir() == tmp_path / "lib" / "conf"


def test_no_configuration_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "lib" / "mmbench")
    with pytest.raises(ValueError, match=r"no configuration folder: looked for config\.yaml in .*conf and .*conf"):
        paths.config_dir()


@pytest.mark.parametrize("name", ["-", "vbpr", "planted-complementary", "vbpr@small", "a.b=c", "ml100k-split1"])
def test_files_of_a_cell_lie_below_its_names(name: str) -> None:
    folder = paths.cell_dir(Path("sweep"), "ml100k", "vbpr", name)
    assert folder.parent == Path("sweep/ml100k/vbpr")
    assert paths.training_file(folder, "tune", 3, paths.RECORD) == folder / "trials" / "003.json"
    assert paths.training_file(folder, "extended", 0, paths.STATE) == folder / "proposals" / "000.state.npz"
    assert paths.final_file(folder, 2, paths.RANKS) == folder / "finals" / "seed2.test.parquet"


def test_tables_of_trainings_are_those_that_a_training_writes(tmp_path: Path) -> None:
    """What a synchroniser or another system leaves beside them says nothing of the test split."""
    ranks = [
        *(paths.training_file(tmp_path, stage, 2, paths.RANKS) for stage in ("tune", "extended", "final")),
        paths.final_file(tmp_path, 1, paths.ranks_among("cold")),
        paths.final_file(tmp_path, 1, paths.shuffled_ranks("image")),
    ]
    lists = paths.final_file(tmp_path, 1, paths.LISTS)
    for file in (*ranks, lists):
        file.parent.mkdir(exist_ok=True)
        beside = (f"._{file.name}", file.name.replace(".", " (1).", 1), f"old-{file.name}")
        for name in (file.name, *beside):
            file.with_name(name).touch()
    assert paths.tables_of_trainings(tmp_path, paths.RANKS) == sorted(ranks)
    assert paths.tables_of_trainings(tmp_path, paths.LISTS) == [lists]
    assert _ranked_test(tmp_path) == {file.relative_to(tmp_path).as_posix() for file in ranks}


def test_a_good_name_is_kept() -> None:
    assert paths.slug(["model=vbpr", "a-b.c"]) == "model=vbpr_a-b.c"
    assert paths.slug(["-"]) == "-"


def test_names_that_were_changed_stay_apart() -> None:
    given_names = ["a/b", "a,b", "a b", "a-b", "a:b"]
    assert len({paths.slug([name]) for name in given_names}) == len(given_names)
    long_names = ["x" * 80, "x" * 81, "x" * 79 + "y"]
    assert len({paths.slug([name]) for name in long_names}) == len(long_names)


NAMES = st.lists(st.text(max_size=40), max_size=4)


@settings(deadline=None, derandomize=True)
@given(NAMES)
def test_a_name_is_safe_whatever_it_is_made_of(parts: list[str]) -> None:
    name = paths.slug(parts)
    assert name == paths.slug(list(parts))
    assert re.fullmatch(r"[\w.=-]+", name)
    assert not name.startswith(".")
    assert len(name) <= 80


@settings(deadline=None, derandomize=True)
@given(NAMES)
def test_a_name_stays_what_it_is(parts: list[str]) -> None:
    """A sweep is named once and its folder is named after it: both must give one folder."""
    name = paths.slug(parts)
    assert paths.slug([name]) == name
