"""New items of a split by time, which tuning does not aim at: from the log to ranks, audit and report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench import paths
from mmbench.audit.recorded import Sources
from mmbench.data.dataset import Dataset
from mmbench.data.features import with_missing_filled
from mmbench.data.sources import Source, write_folder
from mmbench.evaluation.new_items import OFFSETS
from mmbench.report.write import write_report
from mmbench.scheduling import worker
from mmbench.scheduling.job import Job
from mmbench.scheduling.sweep import Sweep
from mmbench.scheduling.trust import Trust
from mmbench.store import records
from mmbench.store.records import CellStore
from mmbench.store.schema import Stage, Unit
from tests.audit.every_model import audited
from tests.tiny import composed

N_USERS, N_ITEMS, PER_USER = 60, 60, 12
FINAL = Unit(Stage.FINAL, 1)
#: New items: those of the first set first occur in validation, those of the second in test.
LATE = {"valid": [f"v{i}" for i in range(4)], "test": [f"t{i}" for i in range(6)]}
POOL = len(LATE["test"])
Ran = tuple[Path, Dataset, dict[str, CellStore]]


def write_shop(folder: Path, parts: tuple[str, ...]) -> None:
    """A log whose new items first occur in some of the parts."""
    rng = np.random.default_rng(0)
    old = [(f"u{u:02}", f"i{i:02}") for u in range(N_USERS) for i in rng.permutation(N_ITEMS)[:PER_USER]]
    log = pd.DataFrame(old, columns=["user_id", "item_id"])
    log["timestamp"] = rng.permutation(len(log)) * 10
    begins = {"valid": 0.87, "test": 0.95}
    new = [
        (f"u{u:02}", item, int(begins[part] * 10 * len(log)) + n)
        for part in parts
        for n, (u, item) in enumerate((u, LATE[part][u // 3 % len(LATE[part])]) for u in range(0, N_USERS, 3))
    ]
    log = pd.concat([log, pd.DataFrame(new, columns=log.columns)], ignore_index=True)
    items = sorted(log["item_id"].unique())
    values = rng.standard_normal((len(items), 5)).astype(np.float32)
    text = with_missing_filled(values, np.arange(len(items)) % 9 > 0)
    write_folder(Source(log, pd.DataFrame({"item_id": items}), {"text": text}), folder, {})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Ran]:
    """Runs a sweep of two conditions, once for each kind of shop."""
    found: dict[tuple[str, ...], Ran] = {}

    def make(*parts: str) -> Ran:
        if parts not in found:
            folder = tmp_path_factory.mktemp("time")
            write_shop(folder / "shop", parts)
            words = ["dataset=folder", "dataset.name=shop", f"dataset.path={folder}/shop", "dataset.protocol=time"]
            words += ["budget=touch", "budget.trials=2", "budget.seeds=1", "tracking=none", "training.accelerator=cpu"]
            words += [f"paths.multirun={folder}", "sweep.name=s", "model=vbpr", "training.batch_size=128"]
            jobs: list[Job] = [composed([*words, f"modality={name}"]).job() for name in ("none", "text")]
            sweep = Sweep.plan(jobs, words)
            sweep.open()
            worker.work(sweep.waiting)
            stores = {cell.job.modality: cell.store for cell in sweep.planned}
            found[parts] = sweep.folder, sweep.planned[0].job.dataset(), stores
        return found[parts]

    return make


def offset(store: CellStore, unit: Unit) -> float | None:
    course = store.finished_trainings()[unit].course
    assert course is not None
    return course.offset


@pytest.mark.thorough
def test_all_items_are_the_target_and_final_runs_are_ranked_among_new_and_other_ones_too(
    run: Callable[..., Ran],
) -> None:
    _, dataset, stores = run("valid", "test")
    part = dataset.split.new_test
    assert part is not None
    assert (dataset.split.target, int(part.pool.sum())) == ("", POOL)
    store = stores["text"]
    of_test = records.read_tested(store.training_file(FINAL, paths.RANKS))
    assert len(of_test.items) == len(dataset.split.test)
    for candidates in ("cold", "warm", "all"):
        ranking, rows = (
            records.read_tested(store.training_file(FINAL, paths.ranks_among(candidates))),
            part.among(candidates),
        )
        pairs = set(zip(ranking.users[ranking.pairs.users], ranking.items, strict=True))
        assert pairs == set(zip(rows.users, rows.items, strict=True))
        assert len(pairs) > 0
    assert offset(store, FINAL) in OFFSETS
    assert offset(store, Unit(Stage.TRIAL, 0)) is None
    seal = store.seal()
    assert seal is not None
    assert {f"finals/seed1.{c}.{paths.RANKS}" for c in ("cold", "warm", "all")} <= set(seal.files)
    assert seal.test_hash == dataset.split.test_fingerprint != dataset.split.test.fingerprint()


@pytest.mark.thorough
def test_without_new_items_in_validation_those_of_test_are_ranked_without_an_offset(run: Callable[..., Ran]) -> None:
    _, _, stores = run("test")
    store = stores["text"]
    cold = records.read_tested(store.training_file(FINAL, paths.ranks_among("cold")))
    assert cold.pairs.candidates is not None
    assert (cold.pairs.candidates == POOL).all()
    assert store.training_file(FINAL, paths.ranks_among("warm")).exists()
    assert not store.training_file(FINAL, paths.ranks_among("all")).exists(), "nothing has chosen an offset"
    assert offset(store, FINAL) is None


@pytest.mark.parametrize("parts", [("valid", "test"), ("test",)])
def test_the_audit_passes_and_the_report_calls_it_one_draw(parts: tuple[str, ...], run: Callable[..., Ran]) -> None:
    folder, _, _ = run(*parts)
    ours = Trust(places=(folder.parent,))
    held = audited(folder, Sources(ours))
    assert not held.findings, [str(finding) for finding in held.findings]
    write_report(folder, trust=ours)
    text = (folder / "report" / "new_items.md").read_text(encoding="utf-8")
    assert f"shop: pool of {POOL} new items; tuned for all items" in text
    assert "shop: one draw of new items: what varies is which items are new" in text
    rows = pd.read_csv(folder / "report" / "new_items.csv").set_index(["model", "modality"])
    assert (rows["pool"] == POOL).all()
    assert rows.loc[("vbpr", "text"), "harmonic_ndcg@20"] > 0 or "valid" not in parts
    assert rows["harmonic_ndcg@20"].isna().all() == ("valid" not in parts)
