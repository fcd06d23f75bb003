"""An honest sweep passes, however it came to be: raised, resumed after kills, with TPE, with rungs, begun afresh."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
import numpy as np
import pandas as pd
import pytest
import torch

from mmbench import faults, fingerprint, paths
from mmbench.audit import consistency, rescoring, retraining, standing
from mmbench.audit.further_tries import read_tries
from mmbench.audit.levels import Asked, audit, check_kept_elsewhere
from mmbench.audit.recorded import Recorded, Sources
from mmbench.audit.root import root_of
from mmbench.audit.standing import Level, Standing
from mmbench.data.planted import make_world
from mmbench.data.sources import write_folder
from mmbench.evaluation.ranking import DegenerateScores
from mmbench.messages import Refusal
from mmbench.report.fairness_checks import read_groups
from mmbench.report.reading import read_sweep
from mmbench.scheduling import worker
from mmbench.scheduling.earlier_commands import check_alike
from mmbench.scheduling.job import Job, forget_data
from mmbench.scheduling.sweep import Sweep
from mmbench.scheduling.trust import Trust
from mmbench.sealing import score_test
from mmbench.store import crashes, ledger, records
from mmbench.store.mending import mend
from mmbench.store.records import CellStore
from mmbench.store.schema import Cell, Manifest, Seal, Stage, Training, Trial, Unit, hashed
from mmbench.training import fit
from mmbench.training.fit import Fitted
from mmbench.training.settings import TrainingSettings
from mmbench.training.stopping import SELECTION_METRIC
from mmbench.tuning import study
from mmbench.tuning.cell import CellTask
from tests.audit import levels
from tests.audit.attacks import ATTACKS, rank_honestly, without_ranks
from tests.audit.conftest import SAMPLE, SOURCES, run
from tests.audit.every_model import MODELS, WORLDS, audited, swept
from tests.audit.forger import DROPPED, Forger
from tests.audit.test_attacks import plan_of
from tests.tiny import TINY, composed
from tests.torn import tear

ONE = (("vbpr", "fused", "complementary"),)


def passes(sweep: Path, data: Path | None = None) -> None:
    """All levels, every training run again."""
    held = audited(sweep, replace(SOURCES, data=data))
    assert not held.findings, [str(finding) for finding in held.findings]
    assert (held.level, held.retrained) == (Level.RETRAINED, held.trainings)
    assert held.trainings > 0


def test_a_raised_sweep_passes(honest: Path) -> None:
    passes(honest)


def test_a_second_file_that_another_system_leaves_beside_every_one_is_no_finding(forger: Forger) -> None:
    for file in [file for file in forger.folder.rglob("*") if file.is_file()]:
        for name in (f"._{file.name}", f"{file.name.partition('.')[0]} (1).{file.name.partition('.')[2]}"):
            twin = file.with_name(name)
            forger.touch(twin)
            twin.write_bytes(b"\0\5\x16\7")
    assert [str(finding) for finding in consistency.check(forger.folder)] == []


@pytest.mark.thorough
def test_a_sweep_with_rungs_and_proposals_passes(tmp_path: Path) -> None:
    words = ("budget.trials=6", "budget.seeds=1", "budget.tpe=2", "budget.rungs=[1,3]")
    passes(run(tmp_path, "s", *words, cells=ONE))


@pytest.mark.thorough
@pytest.mark.parametrize("target", ["cold", "harmonic"])
def test_a_sweep_of_new_items_passes(target: str, tmp_path: Path) -> None:
    """Its ranks among new, other and all items, and the offset that validation chose, come from the stored states."""
    words = ("budget.trials=2", "budget.seeds=1", "dataset.protocol=cold", "dataset.cold_fold=2")
    sweep = run(tmp_path, "s", *words, f"tuning.target={target}", cells=ONE)
    passes(sweep)
    with Forger(sweep) as forger:
        (name,) = forger.read(forger.manifest)["data"]
        forger.change(forger.manifest, ("data", name, "target"), lambda _: "warm")
        forger.rehash()
        found = [finding.field for finding in consistency.check(sweep)]
        assert found == ["config.tuning"]
    with Forger(sweep) as forger:
        (cell,) = forger.cells()
        among = paths.final_file(cell, 1, paths.ranks_among("warm"))
        assert without_ranks(forger, cell, among)
        forger.rehash()
        assert not consistency.check(sweep)
        (missing,) = map(str, levels.rescored(sweep, SOURCES))
        assert missing == f"{among.relative_to(sweep)}: file: it is missing"


@pytest.mark.thorough
def test_a_sweep_that_tells_no_new_item_apart_passes(tmp_path: Path) -> None:
    """All of its epochs are as good as the first, and the last is kept."""
    words = ("budget.trials=2", "budget.seeds=1", "dataset.protocol=cold", "dataset.cold_fold=2")
    sweep = run(tmp_path, "s", *words, cells=(("vbpr", "none", "complementary"),))
    passes(sweep)
    with Forger(sweep) as forger:
        (file, *_) = forger.finals(*forger.cells())
        forger.change(file, ("course", "best_epoch"), lambda _: 1)
        forger.rehash()
        assert "course" in {finding.field for finding in consistency.check(sweep)}


@pytest.mark.thorough
def test_a_sweep_whose_protocol_was_found_out_passes(tmp_path: Path) -> None:
    passes(run(tmp_path, "s", "budget.trials=2", "budget.seeds=1", "dataset.protocol=auto", cells=ONE))


@pytest.mark.thorough
@pytest.mark.parametrize("point", ["fitted", "ledger", "chosen", "sealing"])
def test_a_sweep_that_was_killed_and_resumed_passes(
    point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(here: str) -> None:
        if here == point:
            raise KeyboardInterrupt

    words = ("budget.trials=2", "budget.seeds=1")
    with monkeypatch.context() as once:
        once.setattr(faults, "reach", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, "s", *words, cells=ONE)
    passes(run(tmp_path, "s", *words, cells=ONE))
    whole = run(tmp_path / "whole", "s", *words, cells=ONE)
    assert _hashes(tmp_path / "s") == _hashes(whole)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("point", "raised", "doubted"),
    [("chosen", False, False), ("sealing", False, True), ("look", True, False), ("sealing", True, True)],
)
def test_a_sweep_that_was_killed_at_its_seal_is_doubted_until_it_is_resumed(
    point: str, raised: bool, doubted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where its test split had been opened: ranks are written, the seal is not."""

    def killed(here: str) -> None:
        if here == point:
            raise KeyboardInterrupt

    words = ("budget.trials=3", "budget.seeds=1")
    if raised:
        run(tmp_path, "s", "budget.trials=2", "budget.seeds=1", cells=ONE)
    with monkeypatch.context() as once:
        once.setattr(faults, "reach", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, "s", *words, cells=ONE)
    found = consistency.check(tmp_path / "s")
    opened = [finding for finding in found if str(finding.reason).startswith("its test split was opened")]
    assert [finding.doubt for finding in opened] == [True] * doubted
    assert found == opened
    passes(run(tmp_path, "s", *words, cells=ONE))


def _hashes(sweep: Path) -> list[str]:
    with Forger(sweep) as reader:
        folder = reader.cell("fused")
        return [reader.read(file)["hash"] for file in [*reader.trials(folder), *reader.finals(folder)]]


@pytest.mark.thorough
@pytest.mark.parametrize("mode", ["cut", "garbage"])
def test_a_sweep_that_lost_files_in_a_power_cut_passes_and_has_its_root(mode: str, tmp_path: Path) -> None:
    """What was trained again is named among the trainings that no choice rests on."""
    words = ("budget.trials=2", "budget.seeds=2")
    sweep = run(tmp_path, "s", *words, cells=ONE)
    (cell,), root, rng = paths.cell_dirs(sweep), root_of(sweep), random.Random(0)
    alone = [paths.manifest_file(sweep), *(place(cell) for place in (paths.cell_file, paths.choice_file))]
    of_trials = [paths.training_file(cell, Stage.TRIAL, n, e) for n, e in ((0, paths.VALIDATION), (1, paths.RECORD))]
    of_finals = [paths.final_file(cell, n, e) for n, e in ((1, paths.STATE), (2, paths.RANKS))]
    for file in (*alone, *of_trials, *of_finals, paths.seal_file(cell)):
        tear(file, mode, rng)
    assert list(mend(sweep))
    assert run(tmp_path, "s", *words, cells=ONE) == sweep
    assert root_of(sweep) == root
    passes(sweep)
    (tries,) = read_tries(sweep).values()
    (said,) = map(str, tries.here)
    assert said.startswith("the ledger has 3 trainings of ")


@pytest.mark.thorough
@pytest.mark.parametrize("lost", ["a trial", "a final run", "a trial and the seal", "every line", "the file"])
def test_a_sweep_that_lost_lines_of_its_ledger_passes_after_the_next_command(
    lost: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is trained again; the line of a trial comes after those of the final runs then."""
    words = ("budget.trials=2", "budget.seeds=2")
    sweep = run(tmp_path, "s", *words, cells=ONE)
    (cell,), root, file = paths.cell_dirs(sweep), root_of(sweep), paths.ledger_file(sweep)
    rows = [(row.hash, row.unit) for row in ledger.read(sweep)]
    gone = {"a trial": {0}, "a final run": {3}, "a trial and the seal": {0}}.get(lost, {0, 1, 2, 3})
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(line for place, line in enumerate(lines) if place not in gone))
    if lost == "the file":
        file.unlink()
    if lost == "a trial and the seal":
        paths.seal_file(cell).unlink()
    assert consistency.check(sweep)
    capsys.readouterr()
    run(tmp_path, "s", *words, cells=ONE)
    told = [line for line in capsys.readouterr().out.splitlines() if str(file) in line]
    said = f"{len(gone)} trainings whose lines were lost are listed again from their records, without their costs"
    if lost in ("a trial", "a final run"):
        said = "1 training whose line was lost is listed again from its record, without its cost"
    assert told == ([] if lost == "a trial and the seal" else [f"{file}: {said}"])
    assert not consistency.check(sweep)
    assert (root_of(sweep), sorted((row.hash, row.unit) for row in ledger.read(sweep))) == (root, sorted(rows))
    assert sum(row.cost.seconds is None for row in ledger.read(sweep)) == len(gone)
    assert not tries_of(sweep)
    before = file.read_bytes()
    run(tmp_path, "s", *words, cells=ONE)
    assert file.read_bytes() == before


@pytest.mark.parametrize("edit", ["score", "configuration"])
def test_an_edited_record_gets_no_line_of_the_ledger(edit: str, tmp_path: Path) -> None:
    """Not even where a line of another training was lost; an audit finds the record by the row that it had."""
    words = ("budget.trials=2", "budget.seeds=1")
    sweep = run(tmp_path, "s", *words, cells=ONE)
    with Forger(sweep) as forger:
        (trial, other), (final,) = forger.trials(forger.cell("fused")), forger.finals(forger.cell("fused"))
        record = forger.read(other)
        if edit == "score":
            record["course"]["validated"] += 0.01
        else:
            record["configuration"] = forger.read(trial)["configuration"]
            record["configuration_hash"] = forger.read(trial)["configuration_hash"]
        record = msgspec.to_builtins(hashed(msgspec.convert(record, Trial)))
        forger.write(other, record)
        place = forger.row_of(final)
        forger.write_rows([row for at, row in enumerate(forger.rows()) if at != place])
        run(tmp_path, "s", *words, cells=ONE)
        assert forger.read(final)["hash"] in {row["hash"] for row in forger.rows()}
        assert record["hash"] not in {row["hash"] for row in forger.rows()}
        assert not paths.damaged_dir(sweep).exists()
        found = [str(finding) for finding in consistency.check(sweep) if finding.file == str(paths.ledger_file(Path()))]
        assert any("it has no row with the hash of this record" in finding for finding in found), found
        assert any("a training is listed whose record is not there" in finding for finding in found), found


def test_what_was_begun_afresh_passes_and_is_named(tmp_path: Path) -> None:
    words = ("budget.trials=1", "budget.seeds=1")
    sweep = run(tmp_path, "s", *words, cells=ONE)
    hashes = _hashes(sweep)
    run(tmp_path, "s", *words, "study.resume=force", cells=ONE)
    assert _hashes(sweep) == hashes
    passes(sweep)
    (tries,) = read_tries(sweep).values()
    (folder,) = (f"planted-complementary/vbpr/{folder.name}" for folder in paths.stale_dirs(sweep))
    assert [str(message) for message in tries.here] == [
        f"{folder} was set aside with 2 trainings",
        f"for {folder} the test split had been opened once",
    ]
    assert not tries.beside


@pytest.mark.thorough
def test_a_raised_sweep_that_was_begun_afresh_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another version, so that no row of what was set aside is one of what stands; final runs aside lie there."""
    cells = (("vbpr", "text", "complementary"), ("vbpr", "fused", "complementary"))
    for trials in (2, 3):
        sweep = run(tmp_path, "s", f"budget.trials={trials}", "budget.seeds=1", cells=cells)
    plan, versions = plan_of(sweep), records.versions
    assert any(paths.aside_dirs(cell) for cell in paths.cell_dirs(sweep))
    monkeypatch.setattr(records, "versions", lambda *own: {**versions(*own), "torch": "another one"})
    run(tmp_path, "s", "budget.trials=3", "budget.seeds=1", "study.resume=force", cells=cells)
    passes(sweep)
    assert plan_of(sweep) != plan
    assert not check_kept_elsewhere(sweep, plan, "")
    n = sum(1 for folder in paths.stale_dirs(sweep) for _ in folder.rglob("*.state.npz"))
    told = [int(line.split()[-2]) for line in tries_of(sweep) if "was set aside with" in line]
    assert sum(told) == n


@pytest.mark.thorough
def test_versions_of_code_in_turn_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the plan, also where nothing else is left of the earlier one; the same code again is none."""
    words, versions = ("budget.trials=1", "budget.seeds=1"), records.versions
    run(tmp_path, "s", *words, cells=ONE)
    run(tmp_path, "s", *words, "study.resume=force", cells=ONE)
    assert not any("versions" in line for line in tries_of(tmp_path / "s"))
    monkeypatch.setattr(records, "versions", lambda *own: {**versions(*own), "source": "another one"})
    sweep = run(tmp_path, "s", *words, "study.resume=force", cells=ONE)
    with Forger(sweep) as forger:
        forger.remove(*paths.stale_dirs(sweep))
        said = "fused was planned with 2 versions of its code, or of what it computes with, in turn"
        assert said in tries_of(sweep)
        (group,) = read_groups(read_sweep(sweep), sweep)
        (check,) = (check for check in group.checks if check.name == "further tries")
        assert check.level == "WARN"
        assert said in str(check.reason)


def test_what_was_lost_and_came_out_otherwise_passes(tmp_path: Path) -> None:
    """Another machine rounds in another way: the row of before is that of no record any more."""
    sweep = run(tmp_path, "s", "budget.trials=2", "budget.seeds=1", cells=ONE)
    (cell,) = paths.cell_dirs(sweep)
    paths.training_file(cell, Stage.TRIAL, 1, paths.STATE).write_bytes(b"")
    assert list(mend(sweep))
    with Forger(sweep) as forger:
        rows = forger.rows()
        (place,) = (n for n, row in enumerate(rows) if (row["stage"], row["index"]) == ("tune", 1))
        (lost,) = paths.damaged_records(sweep, cell, Stage.TRIAL, 1)
        forger.change(lost, ("course", "validated"), lambda score: score * 1.0001)
        before = hashed(records.read(lost, Trial))
        records.write(lost, before)
        rows[place] |= {"hash": before.hash, "score": before.score}
        forger.write_rows(rows)
        run(tmp_path, "s", "budget.trials=2", "budget.seeds=1", cells=ONE)
        passes(sweep)
        rows = forger.rows()
        rows[place] |= {"index": 0}
        forger.write_rows(rows)
        found = [str(finding) for finding in consistency.check(sweep)]
        assert found == [
            "ledger.jsonl: planted-complementary/vbpr/fused tune 0: a training is listed whose record is not there"
        ]


@pytest.mark.thorough
def test_a_trial_that_an_earlier_look_chose_from_was_lost_and_came_out_otherwise(tmp_path: Path) -> None:
    """It is another one since; the look stands, and what it rested on is doubted and no forgery."""
    effort = [("budget.trials=2", "budget.seeds=1"), ("budget.trials=3", "budget.seeds=1")]
    for words in effort:
        sweep = run(tmp_path, "s", *words, cells=ONE)
    (cell,) = paths.cell_dirs(sweep)
    with Forger(sweep) as forger:
        # As if another machine had trained it: its score in the last digit, and all hashes that follow.
        slot = forger.read(paths.choice_file(paths.look_dir(cell, 1)))["slot"]
        forger.change(
            forger.trials(cell)[1 - slot], ("course", "losses"), lambda terms: [{**terms[0], "more": 0.0}, *terms[1:]]
        )
        forger.rehash()
        assert not consistency.check(sweep)
        paths.training_file(cell, Stage.TRIAL, 1 - slot, paths.STATE).write_bytes(b"")
        assert list(mend(sweep))
        run(tmp_path, "s", *effort[-1], cells=ONE)
        found = consistency.check(sweep)
        said = f"trial {1 - slot} was repeated and is not the one that was among those chosen from then"
        assert [(finding.field, str(finding.reason)) for finding in found] == [("trials", said)]
        assert all(finding.doubt for finding in found)


@pytest.mark.thorough
def test_seeds_that_end_in_the_same_state_are_no_copies(tmp_path: Path) -> None:
    sweep = run(tmp_path, "s", "budget.seeds=3", cells=(("steady", "none", "complementary"),))
    (cell,) = paths.cell_dirs(sweep)
    finals = records.read_trainings(cell, Stage.FINAL)
    assert len({final.state_hash for final in finals}) == 1
    passes(sweep)


@pytest.mark.thorough
def test_final_runs_of_an_earlier_choice_are_trained_again(forger: Forger) -> None:
    """Words of earlier looks rest on them."""
    record = next(
        final for cell in forger.cells() for aside in paths.aside_dirs(cell) for final in forger.finals(aside)
    )
    folder = record.parents[3]
    forger.state(forger.beside(record, paths.STATE), lambda values: np.roll(values, 1, axis=0))
    rank_honestly(forger, folder, record)
    forger.rehash()
    (place,) = (p for p in retraining.all_trainings(forger.folder) if p.hash == forger.read(record)["hash"])
    recorded = Recorded.read(forger.folder, place.planned, SOURCES)
    again = retraining.retrain(recorded, place, forger.folder.parent / "graphs", {})
    assert again.finding is not None
    assert again.finding.file == record.relative_to(forger.folder).as_posix()


@pytest.mark.thorough
def test_the_known_share_of_lists_is_that_of_their_file(tmp_path: Path) -> None:
    """Who says more than the file holds has its record hashed again; no count is found before the file is read."""
    words = (*TINY, "model=popularity", "modality=none", "dataset.world=complementary")
    data = composed(words).job().dataset()
    users, items = np.repeat(data.user_ids[:30], 50), np.tile(data.item_ids[:50], 30)
    lists = tmp_path / "lists.csv"
    table = pd.DataFrame({"user": users, "item": items, "score": np.tile(np.arange(50.0, 0, -1), 30)})
    table.to_csv(lists, index=False)
    asked = ("budget.seeds=1", "budget.trials=1", f"model.recommendations={lists}")
    sweep = run(tmp_path, "s", *asked, cells=(("external", "none", "complementary"),))
    sources = Sources(Trust.of([str(tmp_path)]))
    assert not levels.rescored(sweep, sources)
    (cell,) = paths.cell_dirs(sweep)
    held = {"known": 1500, "rows": 1500, "listed": 30, "users": 60}
    for edited, first in (
        ({**held, "listed": 60}, False),
        ({**held, "listed": 61}, True),
        ({"known": 1}, True),
        (5, True),
    ):
        with Forger(sweep) as forger:
            assert forger.read(paths.cell_file(cell))["config"]["lists"] == held
            forger.change(paths.cell_file(cell), ("config", "lists"), lambda _, new=edited: new, keep=False)
            forger.rehash()
            found = consistency.check(sweep)
            assert [finding.field for finding in found] == ["config.lists"] * first
            assert read_groups(read_sweep(sweep), sweep)  # no page ends in a traceback
            if not first:
                assert [finding.field for finding in levels.rescored(sweep, sources)] == ["config.lists"]


@pytest.mark.thorough
def test_other_settings_in_turn_and_sweeps_beside_are_named(tmp_path: Path) -> None:
    words = ("budget.trials=1", "budget.seeds=1")
    for lr in ("1e-3", "2e-3"):
        sweep = run(tmp_path, "s", *words, f"optimizer.lr={lr}", cells=ONE)
    other = run(tmp_path, "t", *words, "optimizer.lr=2e-3", cells=ONE)
    (tries,) = read_tries(sweep).values()
    assert [str(message) for message in tries.here][2:] == ["fused was planned with 2 settings in turn"]
    assert [str(message) for message in tries.beside] == ["sweep t beside it has cells with the same plan"]
    assert not next(iter(read_tries(other).values())).here
    passes(sweep)


@pytest.mark.thorough
def test_models_of_several_efforts_pass_whichever_command_came_last(tmp_path: Path) -> None:
    """The budget in the plan is that of the last command; with that of no cell the plan is wrong."""
    commands = (
        (("budget.trials=3", "budget.seeds=1"), (("vbpr", "fused", "complementary"),)),
        (("budget.trials=1", "budget.seeds=2", "budget.max_steps=6"), (("vbpr", "text", "no_signal"),)),
    )
    for words, cells in (*commands, commands[0]):
        sweep = run(tmp_path, "s", *words, cells=cells)
        assert not consistency.check(sweep)
    with Forger(sweep) as forger:
        assert forger.read(forger.manifest)["budget"]["trials"] == 3
        for field, claimed in (("trials", 4), ("seeds", 2), ("max_steps", 12000)):
            forger.change(forger.manifest, ("budget", field), lambda _, claimed=claimed: claimed, keep=False)
            forger.rehash()
            (found,) = consistency.check(sweep)
            assert found.field == "budget"
            assert found.reason == "no cell is planned with its trials, final seeds and training rule"
    other = {"trials": 1, "seeds": 2, "max_steps": 6}  # that of the other model, which the last command did not name
    with Forger(sweep) as forger:
        forger.change(forger.manifest, ("budget",), lambda budget: {**budget, **other}, keep=False)
        forger.rehash()
        assert [finding.field for finding in consistency.check(sweep)] == ["budget"]
        forger.change(forger.manifest, ("named",), lambda _: DROPPED, keep=False)
        forger.rehash()
        assert [str(finding) for finding in consistency.check(sweep)] == ["manifest.json: named: it is missing"]


def test_plans_of_earlier_versions_keep_their_hashes(tmp_path: Path) -> None:
    """What they did not note stands in no file and is covered by no hash; then any planned cell may have the budget."""
    sweep = run(tmp_path, "s", "budget.trials=2", "budget.seeds=1", cells=ONE)
    with Forger(sweep) as forger:
        manifest = forger.read(forger.manifest)
        for record in (manifest, *manifest["revisions"]):
            for name in ("named", "opened"):
                record.pop(name, None)
        # As the version before computed them: over what stands in the file, but for times and machines.
        (revision,) = manifest["revisions"]
        covered = {name: value for name, value in revision.items() if name not in ("hash", "planned_at")}
        revision["hash"] = fingerprint.of_json(covered)
        whole = {name: value for name, value in manifest.items() if name not in ("hash", "device_sharing")}
        manifest["hash"] = fingerprint.of_json({**whole, "revisions": [covered]})
        forger.write(forger.manifest, manifest)
        assert not consistency.check(sweep)
        held = records.read(forger.manifest, Manifest)
        assert (held.hash, held.plan_hash) == (manifest["hash"], revision["hash"])


@pytest.mark.thorough
def test_a_kept_plan_must_still_be_planned(tmp_path: Path) -> None:
    """Not only its hash: every cell with the same key, and as many trainings at least."""
    plans = []
    for words in (
        ("budget.trials=1", "budget.seeds=2"),
        ("budget.trials=2", "budget.seeds=2"),
        ("budget.trials=1", "budget.seeds=1", "budget.max_steps=6"),
    ):
        sweep = run(tmp_path, "s", *words, cells=ONE)
        plans.append(plan_of(sweep))
        assert not consistency.check(sweep)
        assert not check_kept_elsewhere(sweep, plans[0], "") or len(plans) == 3
    name = "planted-complementary/vbpr/fused"
    for kept in plans[:2]:
        (found,) = check_kept_elsewhere(sweep, kept, "")
        assert found.reason == f"{name} has other settings or data than in the plan that was kept elsewhere"
    assert not check_kept_elsewhere(sweep, plans[2], "")
    with Forger(sweep) as forger:
        forger.change(forger.manifest, ("cells", 0, "seeds"), lambda seeds: seeds - 1, keep=False)
        (found,) = check_kept_elsewhere(sweep, plans[2], "")
        assert found.reason == f"{name} has fewer trainings than in the plan that was kept elsewhere"


def test_a_search_of_a_setting_of_trainings_passes(tmp_path: Path) -> None:
    words = ("budget.trials=2", "budget.seeds=1", "+search.training.batch_size={choices:[2048,64]}")
    sweep = run(tmp_path, "s", *words, cells=ONE)
    (cell,) = paths.cell_dirs(sweep)
    trials = records.read_trainings(cell, Stage.TRIAL)
    assert [trial.course.steps_per_epoch for trial in trials if trial.course] == [1, 5]
    assert not consistency.check(sweep)


def test_a_row_that_nothing_rests_on_is_named(honest: Path) -> None:
    with Forger(honest) as forger:
        forger.write_rows([*forger.rows(), forger.rows()[-1]])
        said = [str(message) for tries in read_tries(honest).values() for message in tries.here]
        assert len(said) == 1
        assert said[0].startswith("the ledger has 1 training of ")
        assert said[0].endswith(" that no choice rests on")


def on_folder(base: Path, data: Path | str | None, *conditions: str, besides: Sequence[str] = ()) -> Path:
    """Run a sweep on a data set in a folder, by default of ``$MMBENCH_DATA``, as a command does that reads it anew."""
    forget_data()
    words = [word for word in TINY if "world" not in word]
    words += ["paths.multirun=multirun", "sweep.name=s", "dataset=folder", "dataset.name=shop"]
    words += [] if data is None else [f"dataset.path={data}"]
    words += ["dataset.protocol=given", "budget.trials=2", "budget.seeds=1", "model=vbpr", *besides]
    jobs = [composed([*words, f"modality={name}"]).job() for name in conditions]
    sweep = Sweep.plan([replace(job, sweep_dir=base / "s") for job in jobs], words)
    sweep.open()
    if sweep.waiting:
        worker.work(sweep.waiting)
    forget_data()
    return sweep.folder


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A data set in a folder."""
    write_folder(make_world("complementary", n_users=60, n_items=80, per_user=10), tmp_path / "shop", {})
    return tmp_path / "shop"


def tries_of(sweep: Path) -> list[str]:
    """What is told of further tries."""
    return [str(message) for tries in read_tries(sweep).values() for message in tries.here]


@pytest.mark.thorough
def test_data_with_other_test_rows_pass_and_are_named(tmp_path: Path, shop: Path) -> None:
    """The keys stay what they were, so that nothing is trained again; the plan says that the data are other ones."""
    plan = plan_of(on_folder(tmp_path, shop, "text", "fused"))
    log = pd.read_parquet(shop / "interactions.parquet")
    tested = log["split"] == "test"
    log.loc[tested, "item_id"] = log.loc[tested, "item_id"].to_numpy()[::-1]
    log.drop_duplicates(["user_id", "item_id"]).to_parquet(shop / "interactions.parquet")
    sweep = on_folder(tmp_path, shop, "text", "fused")
    assert len(paths.stale_dirs(sweep)) == 0
    passes(sweep, shop)
    (found,) = check_kept_elsewhere(sweep, plan, "")
    assert found.reason == "shop had other rows or features in the plan that was kept elsewhere"
    assert plan_of(sweep) != plan
    assert tries_of(sweep) == ["it was planned with 2 contents of shop in turn: rows or features changed"]
    again = plan_of(sweep)
    assert plan_of(on_folder(tmp_path, shop, "text", "fused")) == again


@pytest.mark.thorough
def test_data_that_grew_pass(tmp_path: Path, shop: Path) -> None:
    on_folder(tmp_path, shop, "text", "fused")
    write_folder(make_world("complementary", n_users=62, n_items=80, per_user=10), shop, {})
    passes(on_folder(tmp_path, shop, "text", "fused"), shop)


@pytest.mark.thorough
def test_content_that_came_later_passes(tmp_path: Path, shop: Path) -> None:
    """Conditions that do not read it keep their records, and those that do are added."""
    described, later = shop / "dataset.json", tmp_path / "later.npy"
    content = json.loads(described.read_text())
    without = {**content, "features": {name: value for name, value in content["features"].items() if name != "text"}}
    (shop / "text_feat.npy").rename(later)
    described.write_text(json.dumps(without))
    on_folder(tmp_path, shop, "none", "image")
    later.rename(shop / "text_feat.npy")
    described.write_text(json.dumps(content))
    sweep = on_folder(tmp_path, shop, "none", "image", "text", "fused")
    assert len(paths.stale_dirs(sweep)) == 0
    passes(sweep, shop)


@pytest.mark.thorough
def test_a_folder_that_two_commands_name_in_two_ways_passes(
    tmp_path: Path, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_folder(tmp_path, shop, "text")
    monkeypatch.chdir(shop.parent)
    passes(on_folder(tmp_path, "shop", "fused"), shop)


def test_the_same_data_elsewhere_have_the_same_root(
    tmp_path: Path, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMBENCH_DATA", str(shop.parent))
    first = on_folder(tmp_path / "first", None, "text")
    shutil.copytree(shop, tmp_path / "elsewhere/shop")
    monkeypatch.setenv("MMBENCH_DATA", str(tmp_path / "elsewhere"))
    second = on_folder(tmp_path / "second", None, "text")
    assert (root_of(first), plan_of(first)) == (root_of(second), plan_of(second))
    # A command that trains nothing any more says where the data are by now, and nothing else changes.
    shutil.rmtree(shop)
    root = root_of(first)
    assert on_folder(tmp_path / "first", None, "text") == first
    cell = records.read(paths.cell_file(first / "shop/vbpr/text"), Cell)
    assert cell.located_config["dataset"]["path"] == str(tmp_path / "elsewhere/shop")
    assert root_of(first) == root
    passes(first, tmp_path / "elsewhere")


@pytest.mark.thorough
def test_a_command_that_says_the_same_in_other_settings_passes(tmp_path: Path, shop: Path) -> None:
    on_folder(tmp_path, shop, "text", besides=("dataset.protocol=auto",))
    others = ("dataset.trust_row_order=true", "dataset.k_core=1", "training.accelerator=auto")
    passes(on_folder(tmp_path, shop, "fused", besides=others), shop)


@pytest.mark.thorough
def test_a_repetition_that_says_the_same_in_other_settings_passes(tmp_path: Path, shop: Path) -> None:
    on_folder(tmp_path, shop, "text", besides=("dataset.protocol=paper",))
    others = ("dataset.split_seed=3", "dataset.trust_row_order=true", "dataset.k_core=1")
    passes(on_folder(tmp_path, shop, "text", besides=("dataset.protocol=paper", *others)), shop)


def test_a_condition_that_would_be_trained_with_other_settings_is_refused(honest: Path, tmp_path: Path) -> None:
    """Where no key tells them apart, so that all would be trained and nothing compared."""
    said = (
        'planted-complementary/vbpr/image would be trained with dataset.split_column="part" and '
        'planted-complementary/vbpr/fused was with "split", and conditions of one model are compared only if they '
        "share their settings; keep that, begin all conditions of vbpr afresh with study.resume=force, or take "
        "another sweep.name"
    )
    shutil.copytree(honest, tmp_path / "s")
    words = [*TINY, f"paths.multirun={tmp_path}", "sweep.name=s", "budget.trials=3", "budget.seeds=2", "model=vbpr"]
    words += ["modality=image", "dataset.world=complementary", f"evaluation.validation_users={SAMPLE}"]
    alike, other = (
        Sweep.plan([composed(asked).job()], asked) for asked in (words, [*words, "dataset.split_column=part"])
    )
    check_alike(alike.folder, alike.planned, afresh=False)
    with pytest.raises(Refusal, match=f"^{re.escape(said)}$"):
        check_alike(other.folder, other.planned, afresh=False)


def test_clocks_of_machines_that_differ_touch_no_verdict(honest: Path) -> None:
    before = levels.verdicts(honest)
    with Forger(honest) as forger:
        ATTACKS["times of the ledger in reverse, hours apart"](forger)
        rows = [{**row, "finished_at": "2020-01-01T00:00:00+00:00"} for row in forger.rows()[:1]]
        forger.write_rows([*forger.rows()[1:], *rows])
        found = consistency.check(honest)
        assert {str(finding.reason) for finding in found} == {
            "it is before that of an earlier row",
            "it was finished before it was planned",
        }
        assert all(finding.doubt for finding in found)
        assert not any(finding.touches(*subject) for finding in found for subject in read_tries(honest))
        assert levels.verdicts(honest) == before


def test_data_other_than_those_of_the_last_plan_are_found(honest: Path) -> None:
    """The leave to be other data is that of earlier revisions alone."""
    with Forger(honest) as forger:
        for place in (0, 1):
            forger.change(forger.manifest, ("revisions", place, "data"), lambda data: dict.fromkeys(data, "0" * 64))
            forger.rehash()
            found = [finding.field for finding in consistency.check(honest)]
            assert found == (["revisions[2].data"] if place else [])


def test_a_training_that_ends_while_a_report_reads_accuses_nobody(
    honest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row comes after its record; between both a kill may come, too."""
    with Forger(honest) as forger:
        rows, original = forger.rows(), consistency.set_aside_trainings
        last = next(record for cell in forger.cells() for record in forger.finals(cell)[-1:])
        place = forger.row_of(last)

        def meanwhile(sweep_dir: Path) -> set[str]:
            forger.write_rows(rows)
            return original(sweep_dir)

        forger.write_rows([row for at, row in enumerate(rows) if at != place])
        with monkeypatch.context() as once:
            once.setattr(consistency, "set_aside_trainings", meanwhile)
            assert not consistency.check(honest)
        for ns in (
            0,
            last.stat().st_mtime_ns,
            time.time_ns(),
        ):  # the result was sealed after that row, whatever is said
            forger.write_rows([row for at, row in enumerate(rows) if at != place])
            os.utime(forger.ledger, ns=(0, ns))
            said = [(str(finding.reason), finding.doubt) for finding in consistency.check(honest)]
            assert said == [("it has no row with the hash of this record", False)]


@pytest.mark.parametrize("trainings", [0, 1, 2])
def test_a_kill_between_a_record_and_its_row_is_a_doubt_in_every_copy(
    trainings: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the times of its files are: an archive or git gives them those of its unpacking."""
    left = [trainings]

    def killed(here: str) -> None:
        left[0] -= here == "ledger"
        if left[0] < 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr(faults, "reach", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, "s", "budget.trials=2", "budget.seeds=1", cells=ONE)
    sweep = tmp_path / "s"
    for ns in (0, time.time_ns()):
        if trainings:
            os.utime(paths.ledger_file(sweep), ns=(ns, ns))
        said = [(str(finding.reason), finding.doubt) for finding in consistency.check(sweep)]
        assert said == [("it has no row with the hash of this record", True)]
    if trainings == 2:  # another worker may have ended a later trial meanwhile, and both wait for a choice
        (cell,) = paths.cell_dirs(sweep)
        paths.choice_file(cell).unlink()
        shutil.rmtree(paths.final_file(cell, 1, paths.RECORD).parent)
        with Forger(sweep) as forger:
            forger.write_rows(forger.rows()[1:])
            assert [finding.doubt for finding in consistency.check(sweep)] == [True]


@pytest.mark.thorough
@pytest.mark.parametrize("failure", ["crashed", "short of memory"])
def test_a_failure_of_the_machine_that_does_not_come_again_is_not_confirmed(
    failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It accuses nobody, and is counted openly."""
    job = composed([*TINY, f"paths.multirun={tmp_path}", "sweep.name=s", "budget.trials=2", "model=vbpr"]).job()
    store, fit_once, calls = job.store(job.task()), study.fit, [0]

    def short(*given: Any, **named: Any) -> Fitted:
        calls[0] += 1
        if calls[0] <= 2:  # the first trial and its second try
            raise MemoryError("Unable to allocate 8.00 GiB")
        return fit_once(*given, **named)

    for _ in range(crashes.MAX_CRASHES if failure == "crashed" else 0):
        crashes.note(store.sweep_dir, f"{store.short_key}.tune-0", "SIGKILL for want of memory")
    with monkeypatch.context() as once:
        once.setattr(study, "fit", short if failure == "short of memory" else fit_once)
        sweep = run(tmp_path, "s", "budget.trials=2", cells=ONE)
    said: list[str] = []
    held = audit(sweep, Asked(99, 1, 1), SOURCES, lambda message: said.append(str(message)))
    assert (held.findings, held.level) == ([], Level.RETRAINED)
    assert (held.retrained, held.unconfirmed, held.trainings) == (2, 1, 3)
    assert said[-3:-1] == [
        "2 of 3 trainings agree, of 3 in all",
        "1 cannot be confirmed, and what follows does not speak of it: it failed for want of memory or with its worker "
        "and does not here, or its best epoch is another one here",
    ]
    assert str(held.words).startswith("re-trained 2 of 3 (1 not confirmed; 20")
    assert standing.read(sweep, held.root, []) == held


@pytest.mark.thorough
def test_a_cell_that_failed_without_a_trace_is_not_confirmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for want of memory when its data were read: its model is not trusted, and the other ones are audited."""
    cells = (("vbpr", "fused", "complementary"), ("ease", "none", "no_signal"))
    original = worker._try_to_open

    def opened(job: Job, seen: ledger.Reader) -> Any:
        return (
            worker.Short("out of memory: MemoryError: x", "") if job.choices["model"] == "vbpr" else original(job, seen)
        )

    with monkeypatch.context() as once:
        once.setattr(worker, "_try_to_open", opened)
        sweep = run(tmp_path, "s", "budget.trials=1", "budget.seeds=1", cells=cells)
    said: list[str] = []
    held = audit(sweep, Asked(99, 1, 1), SOURCES, lambda message: said.append(str(message)))
    (doubt,) = held.findings
    assert (doubt.doubt, doubt.file) == (True, "planted-complementary/vbpr/fused/failure.json")
    assert (held.level, held.retrained, held.trainings) == (Level.RETRAINED, 2, 2)
    assert "consistent: nothing is wrong, 1 thing is not confirmed" in said
    assert doubt.touches("planted-complementary", "vbpr")
    assert not doubt.touches("planted-no_signal", "ease")
    now = consistency.check(sweep)
    assert [finding.doubt for finding in now] == [True]
    again = standing.read(sweep, root_of(sweep), now)
    assert (again.level, again.findings) == (Level.RETRAINED, now)
    run(tmp_path, "s", "budget.trials=1", "budget.seeds=1", cells=cells)
    passes(sweep)


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_cell_whose_final_run_ranks_nothing_of_test_has_failed_and_passes(
    seeds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = score_test.stored_rankings

    def constant(task: CellTask, store: CellStore, training: Training, *given: Any, **named: Any) -> Any:
        if training.unit == (Stage.FINAL, seeds):
            raise DegenerateScores("all scores are equal")
        return original(task, store, training, *given, **named)

    with monkeypatch.context() as once:
        for module in (score_test, rescoring):
            once.setattr(module, "stored_rankings", constant)
        sweep = run(tmp_path, "s", "budget.trials=1", f"budget.seeds={seeds}", cells=ONE)
        assert paths.failure_file(paths.cell_dirs(sweep)[0]).exists()
        passes(sweep)
    held = audited(sweep, SOURCES)
    assert [finding.doubt for finding in held.findings] == [True]  # a failure that does not come again


@pytest.mark.thorough
def test_a_result_that_is_hidden_behind_a_failure_is_told_where_a_trial_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial that failed is no reason for a cell to fail when test is ranked."""
    failing = Unit(Stage.TRIAL, 1).seed

    def broken(build: Any, data: Any, train: Any, valid: Any, settings: Any, seed: int, **named: Any) -> Fitted:
        if seed == failing:
            raise RuntimeError("loss is not finite")
        return fit.fit(build, data, train, valid, settings, seed, **named)

    with monkeypatch.context() as once:
        once.setattr(study, "fit", broken)
        sweep = run(tmp_path, "s", "budget.trials=2", "budget.seeds=1", cells=ONE)
    assert paths.seal_file(paths.cell_dirs(sweep)[0]).exists()
    with Forger(sweep) as forger:
        ATTACKS["a failure in the place of a result and of the copy of its seal"](forger)
        forger.rehash()
        assert not consistency.check(sweep)
        (told,) = map(str, levels.rescored(sweep, SOURCES))
        assert told.endswith("all of its final runs rank the test split; it is not confirmed")


@pytest.mark.parametrize("target", ["", "harmonic"])
def test_validation_is_ranked_again_where_the_model_is(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that was trained on a GPU goes back to it."""
    cold = ("dataset.protocol=cold", "dataset.cold_fold=2", f"tuning.target={target}") if target else ()
    sweep = run(tmp_path, "s", "budget.trials=1", "budget.seeds=1", *cold, cells=ONE)
    numbered = torch.device("cpu", 0)  # not equal to the device that is taken where none is named
    monkeypatch.setattr(TrainingSettings, "device", property(lambda settings: numbered))
    used = []
    for name in ("evaluator_of_validation", "offset_of"):
        original = getattr(rescoring, name)

        def watched(*given: Any, original: Any = original) -> Any:
            used.append(given[-1])
            return original(*given)

        monkeypatch.setattr(rescoring, name, watched)
    assert not levels.rescored(sweep, SOURCES)
    assert set(used) == {numbered}
    assert len(used) == (3 if target else 1)


@pytest.mark.parametrize("raised", [False, True])
def test_a_cell_whose_final_run_failed_passes(raised: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of one that has a result of fewer final runs."""

    def broken(build: Any, data: Any, train: Any, valid: Any, settings: Any, seed: int, **named: Any) -> Fitted:
        if seed == 2:
            raise RuntimeError("cannot be built")
        return fit.fit(build, data, train, valid, settings, seed, **named)

    if raised:
        run(tmp_path, "s", "budget.trials=1", "budget.seeds=1", cells=ONE)
    monkeypatch.setattr(study, "fit", broken)
    sweep = run(tmp_path, "s", "budget.trials=1", "budget.seeds=2", cells=ONE)
    assert paths.failure_file(paths.cell_dirs(sweep)[0]).exists()
    passes(sweep)


@pytest.mark.thorough
def test_a_proposal_that_ranks_nothing_of_test_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial of the same number ranks all of it, and so it was where earlier versions called both a trial."""
    original = score_test.stored_rankings

    def constant(task: CellTask, store: CellStore, training: Training, *given: Any, **named: Any) -> Any:
        if training.unit == (Stage.PROPOSAL, 1):
            raise DegenerateScores("all scores are equal")
        return original(task, store, training, *given, **named)

    for module in (score_test, rescoring):
        monkeypatch.setattr(module, "stored_rankings", constant)
    sweep = run(tmp_path, "s", "budget.trials=3", "budget.seeds=1", "budget.tpe=2", cells=ONE)
    passes(sweep)
    with Forger(sweep) as forger:
        seal = paths.seal_file(forger.cell("fused"))
        assert forger.read(seal)["unscored"] == ["proposal 1: all scores are equal"]
        forger.change(seal, ("unscored",), lambda _: ["trial 1: all scores are equal"], keep=False)
        forger.write(seal, plain_hashed(forger.read(seal)))
        passes(sweep)


def plain_hashed(seal: dict[str, Any]) -> dict[str, Any]:
    return dict(msgspec.to_builtins(hashed(msgspec.convert(seal, Seal))))


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_model_passes_bit_for_bit(model: str, tmp_path: Path) -> None:
    passes(swept(model, WORLDS["planted"], tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_model_passes_on_movielens(model: str, tmp_path: Path, shared_data: Path) -> None:
    passes(swept(model, (*WORLDS["ml100k"], f"paths.data={shared_data}"), tmp_path), shared_data)


@pytest.mark.thorough
def test_the_share_of_another_machine_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers of one sweep: the second one calls itself another processor, and its bits are the same."""
    words = ("budget.trials=2", "budget.seeds=2")
    whole = run(tmp_path / "whole", "s", *words, cells=ONE)
    left = [2]

    def ended(here: str) -> None:
        left[0] -= here == "ledger"
        if not left[0]:
            raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr(faults, "reach", ended)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, "s", *words, cells=ONE)
    with monkeypatch.context() as once:
        once.setattr(fit, "machine", lambda device: "another processor")
        sweep = run(tmp_path, "s", *words, cells=ONE)
    assert _hashes(sweep) == _hashes(whole)
    machines = [row.cost.machine for row in ledger.read(sweep)]
    assert machines.count(None) == 1  # the kill came before the ledger had its row, and what it cost is lost
    assert 0 < machines.count("another processor") < 4
    said: list[str] = []
    held = audit(sweep, Asked(99, 1, 1), SOURCES, lambda message: said.append(str(message)))
    assert (held.level, held.retrained, held.loose, held.findings) == (Level.RETRAINED, 4, 0, [])
    assert not any("another machine" in line for line in said)  # the same bits, whatever the ledger says


def test_what_other_versions_trained_is_compared_loosely_and_counted_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, versions = run(tmp_path, "s", "budget.trials=2", "budget.seeds=2", cells=ONE), records.versions
    monkeypatch.setattr(records, "versions", lambda *own: {**versions(*own), "torch": "another one"})
    said: list[str] = []
    with monkeypatch.context() as once:
        once.setattr(ledger, "read", read := Mock(wraps=ledger.read))
        held = audit(sweep, Asked(99, 1, 1), SOURCES, lambda message: said.append(str(message)))
    assert read.call_count == 2  # for the records, and for the machines of all trainings
    assert (held.level, held.retrained, held.loose, held.findings) == (Level.RETRAINED, 4, 4, [])
    assert said[-2:] == [
        "4 were trained on another machine or by other versions: their learning curves and scores on test were "
        "compared, to 5 %",
        "had a tenth been altered, the 0 compared bit for bit would have found one with probability 0 %; 4 of that "
        "kind would with 95 %",
    ]
    assert str(held.words).startswith("re-trained 4 of 4 (0 bit for bit; 4 loosely; 20")
    assert standing.read(sweep, held.root, []) == held
    with monkeypatch.context() as once:
        once.setattr(retraining, "rebuild", lambda *given, **named: sys.exit(0))
        refuted = audit(sweep, Asked(99, 1, 1), SOURCES, lambda message: None)
    assert [finding.field for finding in refuted.findings] == [SELECTION_METRIC] * 4
    with monkeypatch.context() as once:
        once.setattr(retraining, "rebuild", Mock(side_effect=MemoryError("of this machine")))
        with pytest.raises(Refusal, match="of this machine"):
            audit(sweep, Asked(99, 1, 1), SOURCES, lambda message: None)
    original = study.fit

    def another_epoch(*given: Any, **named: Any) -> Fitted:
        fitted = original(*given, **named)
        fitted.course.best_epoch += 1 if fitted.course.best_epoch < fitted.course.epochs else -1
        return fitted

    monkeypatch.setattr(study, "fit", another_epoch)
    held = audit(sweep, Asked(99, 1, 1), SOURCES, lambda message: None)
    assert (held.retrained, held.unconfirmed, held.findings) == (0, 4, [])


@pytest.mark.slow
def test_two_workers_leave_the_same_records(tmp_path: Path) -> None:
    """Processes of their own, each with one thread."""
    for workers in (1, 2):
        words = [f"paths.multirun={tmp_path / str(workers)}", "sweep.name=s", f"sweep.workers={workers}"]
        command = [sys.executable, "-m", "mmbench", "-m", *words, *TINY, "budget.trials=3", "budget.seeds=2"]
        subprocess.run(command, capture_output=True, check=True)
    assert _hashes(tmp_path / "1" / "s") == _hashes(tmp_path / "2" / "s")
    passes(tmp_path / "2" / "s")


@pytest.mark.parametrize(
    "changed", [{"retrained": 9999}, {"unconfirmed": 1}, {"loose": 4}, {"retrained": -1}, {"trainings": 3.5}]
)
def test_counts_that_no_audit_has_are_not_shown(changed: dict[str, Any], tmp_path: Path) -> None:
    honest = Standing(Level.RETRAINED, "r", "2026-01-01", 3, 3)
    for held in (honest, replace(honest, **changed)):
        standing.keep(tmp_path, held)
        if held is honest:
            assert standing.read(tmp_path, "r", []) == honest
        else:
            with pytest.raises(Refusal, match="holds no audit that can be read"):
                standing.read(tmp_path, "r", [])
