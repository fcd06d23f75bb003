"""Splits of one data set belong together by what the plan holds: no word that a record alone says parts them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmbench import paths
from mmbench.audit import consistency
from mmbench.data.planted import make_world
from mmbench.data.sources import write_folder
from mmbench.report.fairness_checks import read_groups
from mmbench.report.reading import read_sweep
from mmbench.report.together import read_repetitions
from tests.audit.conftest import run
from tests.audit.forger import DROPPED, Forger
from tests.audit.test_honest import on_folder

ONE = (("ease", "none", "complementary"),)
WORDS = ("budget.trials=2", "budget.seeds=1")
SPLITS = ["planted-complementary", "planted-complementary-split1"]
CELL = "planted-complementary-split1/ease/-/cell.json"


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two splits of one data set."""
    folder = tmp_path_factory.mktemp("splits")
    run(folder, "s", *WORDS, cells=ONE)
    return run(folder, "s", *WORDS, "dataset.split_seed=1", cells=ONE)


def joined(sweep: Path) -> list[str]:
    table = read_sweep(sweep)
    (over,) = read_repetitions(table, read_groups(table, sweep))
    return list(over.datasets)


def of_split(sweep: Path) -> Path:
    return paths.cell_dir(sweep, SPLITS[1], "ease", "-")


@pytest.mark.parametrize(
    ("setting", "new", "found"),
    [
        (("dataset", "origin"), lambda _: "elsewhere", []),
        (("dataset", "path"), lambda _: "/elsewhere", []),
        (("dataset", "encoder"), lambda _: {"image": "default"}, []),
        (("dataset", "items_with"), lambda _: DROPPED, []),  # an earlier version had no such key
        (("tuning",), lambda _: DROPPED, []),
        (("dataset", "k_core"), lambda _: 1, []),  # which is no other data than without
        (("dataset", "k_core"), lambda _: 2, [f"{CELL}: config.dataset.k_core: it is 2, the other records give 1"]),
        (("dataset", "trust_row_order"), lambda _: True, []),
        (
            ("dataset", "split_column"),
            lambda _: "part",
            [f"{CELL}: config.dataset.split_column: it is part, the other"],
        ),
        (("dataset", "lr"), lambda _: None, ["config.dataset.lr: it is None, the other records give {"]),
    ],
)
def test_no_setting_in_a_record_parts_two_splits(
    setting: tuple[str, ...], new: Callable[[Any], Any], found: list[str], splits: Path
) -> None:
    """None of these is part of a key or of the plan, so that whoever hashes the record again has changed nothing."""
    assert not consistency.check(splits)
    with Forger(splits) as forger:
        forger.change(paths.cell_file(of_split(splits)), ("config", *setting), new, keep=False)
        forger.rehash()
        assert joined(splits) == SPLITS
        told = [str(finding) for finding in consistency.check(splits)]
        assert len(told) == len(found)
        assert all(part in line for part, line in zip(found, told, strict=True))


def test_a_split_that_was_added_from_another_folder_is_judged_with_the_first(tmp_path: Path) -> None:
    """Another command may name the place of the same data in another way."""
    for number, place in enumerate(("here", "there")):
        write_folder(make_world("complementary", n_users=60, n_items=80, per_user=10), tmp_path / place, {})
        besides = ("dataset.protocol=paper", f"dataset.split_seed={number}", f"dataset.origin={place}")
        sweep = on_folder(tmp_path, tmp_path / place, "none", besides=("model=ease", *besides))
    assert joined(sweep) == ["shop", "shop-split1"]
    assert not consistency.check(sweep)
