"""Sweeps in processes of their own, with a pool of workers: from an empty folder to a table, and again."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from mmbench import paths
from mmbench.cli import main
from mmbench.data.planted import make_world
from mmbench.data.sources import write_folder
from mmbench.report.reading import read_sweep
from mmbench.store import ledger, records
from mmbench.store.schema import CellFailure
from tests.cli.conftest import Here
from tests.e2e.conftest import Run
from tests.tiny import TINY, digests

SETTINGS = ("budget=touch", "tracking=none", "training.accelerator=cpu")

MY_MODEL = '''
import torch
from mmbench.models.bpr import BPR


class Picky(BPR):
    """Has no use for images."""

    uses_content = True

    def __init__(self, data, *, depth):
        if "image" in data.features:
            raise RuntimeError(f"no use for images at depth {depth}")
        super().__init__(data)
'''
MY_CONF = """# @package _global_
model: {_target_: my_model.Picky, depth: 2}
search: {model: {depth: {low: 1, high: 3}}}
"""


def results(folder: Path) -> dict[str, str]:
    """Bytes of everything but the report and the plan."""
    return {name: mark for name, mark in digests(folder).items() if not name.startswith(("report/", "manifest."))}


@pytest.mark.thorough
def test_a_sweep_and_the_same_again(
    mmbench: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("-m", *TINY, "sweep.name=demo", "model=popularity,vbpr", "modality=none,fused", "sweep.workers=2")
    first = mmbench(*words)
    assert first.returncode == 0, first.stderr
    sweep = tmp_path / "multirun" / "demo"
    assert "sweep demo -> multirun/demo" in first.stdout
    assert "[3/3 cells, 6/6 trainings" in first.stdout
    assert (sweep / "report" / "table.txt").read_text() in first.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["multirun"], "a user's folder holds nothing else"
    table = read_sweep(sweep)
    assert {cell.status for cell in table.cells.values()} == {"done"}
    rows = [(row.cell_key, row.unit) for row in ledger.read(sweep)]
    assert len(set(rows)) == len(rows) == 6
    before = results(sweep)
    # With nothing to do no worker is started, so the same command may as well run here.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mmbench", *words])
    main()
    assert "6 done before, 0 to go" in capsys.readouterr().out
    assert results(sweep) == before


@pytest.mark.slow
def test_swapped_images_and_a_model_that_fails(
    mmbench: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The user's data and model; then other images come to lie in place of the old ones."""
    source = make_world("complementary", n_users=60, n_items=80, per_user=10)
    write_folder(source, tmp_path / "data" / "shop", {})
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "picky.yaml").write_text(MY_CONF)
    (tmp_path / "my_model.py").write_text(MY_MODEL)
    words = (
        "-m",
        "--config-dir=conf",
        "sweep.name=shop",
        "dataset=folder",
        "dataset.name=shop",
        "dataset.trust_row_order=true",
        "model=picky,vbpr",
        "modality=none,text,image,fused",
        "sweep.workers=1",
        *SETTINGS,
    )
    first = mmbench(*words)
    assert first.returncode == 1, first.stderr
    cells = tmp_path / "multirun" / "shop" / "shop"
    for condition in ("none", "text", "image", "fused"):
        fails = condition in ("image", "fused")
        assert paths.failure_file(cells / "picky" / condition).exists() == fails
        assert paths.seal_file(cells / "picky" / condition).exists() != fails
        assert paths.seal_file(cells / "vbpr" / condition).exists()
    why = "all 1 trials failed; the first: RuntimeError: no use for images at depth 2"
    assert why in records.read(paths.failure_file(cells / "picky" / "fused"), CellFailure).reason
    assert first.stderr.count(why) == 2
    assert "Traceback" not in first.stderr

    before = results(cells)
    images = tmp_path / "data" / "shop" / "image_feat.npy"
    np.save(images, np.load(images)[:, ::-1].copy())
    # Once more, and here: starting Python twice more would show nothing else.
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mmbench", *words])
    monkeypatch.setattr("mmbench.scheduling.sweep.Pool", Here)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    out = capsys.readouterr().out
    for model in ("picky", "vbpr"):
        for condition in ("image", "fused"):
            assert f"shop/{model}/{condition}: its records belong to other data" in out
            assert len(list((cells / model).glob(f"{condition}.stale-*"))) == 1
        for condition in ("none", "text"):
            assert not list((cells / model).glob(f"{condition}.stale-*"))
    after = results(cells)
    state = str(paths.final_file(Path("vbpr/image"), 1, paths.STATE))
    kept = {name for name in before if name.split("/")[1] in ("none", "text")}
    assert kept
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert after[state] != before[state]
    (aside,) = (cells / "vbpr").glob("image.stale-*")
    assert results(aside) == results_of(before, "vbpr/image/")


def results_of(marks: dict[str, str], folder: str) -> dict[str, str]:
    return {name.removeprefix(folder): mark for name, mark in marks.items() if name.startswith(folder)}
