"""What a cheat would try, by the words of the table in ``docs/audit.md``."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench import paths
from mmbench.audit.recorded import Recorded
from mmbench.data.recdata import make_recdata
from mmbench.evaluation.metrics import LIST_LENGTH, per_user
from mmbench.evaluation.ranking import Evaluator
from mmbench.sealing.score_test import evaluator_of_test, stored_rankings
from mmbench.store import records
from mmbench.store.files import read_state, write_parquet
from mmbench.store.records import ranking_frames
from mmbench.store.schema import TRAININGS, FinalRun, Manifest, Stage, hashed
from mmbench.training.fit import rebuild
from mmbench.training.loop import validation_scores
from mmbench.training.stopping import SELECTION_METRIC
from tests.audit.forger import Forger, Plain

#: An edit by its words.
ATTACKS: dict[str, Callable[[Forger], None]] = {}


def attack(words: str) -> Callable[[Callable[[Forger], None]], Callable[[Forger], None]]:
    """Name an edit as the table does."""

    def named(edit: Callable[[Forger], None]) -> Callable[[Forger], None]:
        assert words not in ATTACKS
        ATTACKS[words] = edit
        return edit

    return named


def scaled(factor: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Ranks multiplied, as whole numbers from 1."""
    return lambda frame: frame.assign(rank=np.clip(frame["rank"] * factor, 1, 80).round().astype("int32"))


def with_score(score: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Validation scores multiplied."""
    return lambda frame: frame.assign(**{SELECTION_METRIC: np.clip(frame[SELECTION_METRIC] * score, 0, 1)})


def follow(forger: Forger, record: Path) -> None:
    """Let the record of a training say the mean of its validation vector."""
    frame = pd.read_parquet(forger.beside(record, paths.VALIDATION))
    mean = float(frame[SELECTION_METRIC].to_numpy(np.float64).mean())
    forger.change(record, ("course", "validated"), lambda _: mean, keep=False)


def rank_honestly(forger: Forger, folder: Path, record: Path) -> None:
    """Rank validation and test with the state that lies there now, and write what it gives."""
    from tests.audit.conftest import SOURCES

    manifest = records.read(forger.manifest, Manifest)
    planned = next(cell for cell in manifest.cells if paths.cell_dir(forger.folder, *cell.name) == folder)
    recorded = Recorded.read(forger.folder, planned, SOURCES)
    stage = Stage.FINAL if record.parent.name == "finals" else Stage.TRIAL
    training, task = records.read(record, TRAININGS[stage]), recorded.task
    build, settings = task.recipe(training.configuration)
    state = read_state(forger.beside(record, paths.STATE))
    data = make_recdata(task.train, task.inputs(training.seed))
    evaluator = Evaluator(task.valid, task.train)
    scores = validation_scores(evaluator, rebuild(build, data, state, settings, training.seed))
    file = forger.beside(record, paths.VALIDATION)
    forger.touch(file)
    write_parquet(file, pd.DataFrame({"user": evaluator.users.astype("int32"), SELECTION_METRIC: scores}))
    follow(forger, record)
    test = evaluator_of_test(task, recorded.split)
    graphs, store = forger.folder.parent / "graphs", replace(recorded.store, folder=record.parents[1])
    for ending, ranking in stored_rankings(task, store, training, test, graphs).items():
        for name, frame in ranking_frames(ranking, ending).items():
            forger.touch(forger.beside(record, name))
            write_parquet(forger.beside(record, name), frame)


def for_all(forger: Forger, change: Callable[[Plain], Plain], *kinds: str) -> None:
    """Change every record of some kinds."""
    for file in sorted(forger.folder.rglob("*.json")):
        record = forger.read(file)
        if record.get("kind") in kinds:
            forger.write(file, change(record))


#: Edits of a choice, which choosing again would undo.
PICKED = ("a configuration picked by hand", "a choice by test: another trial's score raised, and that trial chosen")

#: Edits of a sweep whose second revision adds a condition, and raises none.
OPENED = "what had been opened by then removed from a revision that adds a condition"
RENAMED = "the folder of a control renamed, as one that was set aside"
SHORT = "want of memory of a final run in the place of a control's result, the copy of its seal left"
WITHOUT_COPY = "want of memory of a final run in the place of a control's result, nothing of its seal left"
OF_ADDED = (OPENED, RENAMED, SHORT, WITHOUT_COPY)


def unchosen(forger: Forger, folder: Path) -> Path:
    """Record of a trial that no look chose."""
    chosen = {forger.read(choice)["slot"] for choice in folder.rglob(paths.choice_file(folder).name)}
    return next(record for slot, record in enumerate(forger.trials(folder)) if slot not in chosen)


def best(forger: Forger, folder: Path) -> Path:
    """Record of the trial that was chosen."""
    return forger.trials(folder)[forger.read(paths.choice_file(folder))["slot"]]


# Results


@attack("test ranks of one condition halved, final runs and trials")
def _(forger: Forger) -> None:
    for file in forger.tables(paths.RANKS, forger.cell("fused")):
        forger.frame(file, scaled(0.5))


@attack("a rival's test ranks doubled in its final runs")
def _(forger: Forger) -> None:
    for record in forger.finals(forger.cell("text")):
        forger.frame(forger.beside(record, paths.RANKS), scaled(2))


@attack("a rival's hits in its final runs moved beyond the end of its lists")
def _(forger: Forger) -> None:
    for record in forger.finals(forger.cell("text")):
        forger.frame(
            forger.beside(record, paths.RANKS),
            lambda frame: frame.assign(rank=frame["rank"].where(frame["rank"] > LIST_LENGTH, LIST_LENGTH + 1)),
        )


@attack("a rival's test ranks doubled in its trials")
def _(forger: Forger) -> None:
    for record in forger.trials(forger.cell("text")):
        forger.frame(forger.beside(record, paths.RANKS), scaled(2))


@attack("the luckiest seed's files copied over the others")
def _(forger: Forger) -> None:
    first, second = forger.finals(forger.cell("fused"))
    lucky, source = forger.read(first), forger.read(second)
    for ending in (paths.VALIDATION, paths.STATE, paths.RANKS, paths.LISTS):
        forger.copy(forger.beside(first, ending), forger.beside(second, ending))
    forger.write(second, {**lucky, "index": source["index"], "seed": source["seed"]})


@attack("the luckiest seed's state, a little changed, ranked honestly as the other seed's")
def _(forger: Forger) -> None:
    folder = forger.cell("fused")
    first, second = forger.finals(folder)
    forger.copy(forger.beside(first, paths.STATE), forger.beside(second, paths.STATE))
    forger.state(forger.beside(second, paths.STATE), lambda values: values * np.float16(1.01))
    course = forger.read(first)["course"]
    forger.change(second, ("course",), lambda _: course, keep=False)
    rank_honestly(forger, folder, second)


@attack("users of the test ranks relabelled")
def _(forger: Forger) -> None:
    for file in forger.tables(paths.RANKS):
        forger.frame(file, lambda frame: frame.assign(user=frame["user"].to_numpy()[::-1].astype("int32")))


@attack("other items in the test ranks")
def _(forger: Forger) -> None:
    for file in forger.tables(paths.RANKS):
        forger.frame(file, lambda frame: frame.assign(item=((frame["item"] + 1) % 80).astype("int32")))


@attack("lists that are not those of the ranks")
def _(forger: Forger) -> None:
    for file in forger.tables(paths.LISTS, forger.cell("fused")):
        forger.frame(file, lambda frame: frame.assign(items=[items[::-1] for items in frame["items"]]))


@attack("items of the lists exchanged below the test items")
def _(forger: Forger) -> None:
    folder = forger.cell("fused")
    for record in forger.finals(folder):
        ranks = pd.read_parquet(forger.beside(record, paths.RANKS)).groupby("user")["rank"].agg(set)

        def exchanged(frame: pd.DataFrame, ranks: pd.Series[Any] = ranks) -> pd.DataFrame:
            lists = []
            for user, items in zip(frame["user"], frame["items"], strict=True):
                others = [place for place in range(len(items)) if place + 1 not in ranks[user]]
                changed = items.copy()
                changed[others[-2:]] = items[others[-2:]][::-1]
                lists.append(changed)
            return frame.assign(items=lists).astype({"user": "int32"})

        forger.frame(forger.beside(record, paths.LISTS), exchanged)


@attack("ranks of the reliance test worsened")
def _(forger: Forger) -> None:
    for file in forger.tables(paths.shuffled_ranks("image"), forger.cell("fused")):
        forger.frame(file, scaled(2))


@attack("ranks of the reliance test gone, from the seals too")
def _(forger: Forger) -> None:
    folder = forger.cell("fused")
    assert without_ranks(forger, folder, *forger.tables(paths.shuffled_ranks("image"), folder))


@attack("ranks among new items in a split that has none, in the seals too")
def _(forger: Forger) -> None:
    folder = forger.cell("fused")
    for record in forger.finals(folder):
        ranked = forger.beside(record, paths.ranks_among("cold"))
        forger.copy(forger.beside(record, paths.RANKS), ranked)
        for file in folder.rglob(paths.seal_file(folder).name):
            seal = forger.read(file)
            held = seal["files"][f"{record.parent.name}/{record.stem}.{paths.RANKS}"]
            forger.write(file, {**seal, "files": {**seal["files"], f"{record.parent.name}/{ranked.name}": held}})


@attack("the half of the users on which fused loses dropped from all cells")
def _(forger: Forger) -> None:
    for file in forger.tables(paths.RANKS):
        forger.frame(file, lambda frame: frame[frame["user"] % 2 == 0])


@attack("half of the users dropped from all cells, seals and plan")
def _(forger: Forger) -> None:
    from mmbench.data.interactions import Interactions

    for file in (*forger.tables(paths.RANKS), *forger.tables(paths.LISTS)):
        forger.frame(file, lambda frame: frame[frame["user"] % 2 == 0])
    for folder in forger.cells():
        if not paths.seal_file(folder).exists():
            continue
        name = forger.read(paths.cell_file(folder))["dataset"]
        known = forger.read(forger.manifest)["data"][name]
        frame = pd.read_parquet(forger.beside(forger.finals(folder)[0], paths.RANKS))
        pairs = (frame[column].to_numpy(np.int64) for column in ("user", "item"))
        test = Interactions(*pairs, known["n_users"], known["n_items"]).fingerprint()
        forger.change(forger.manifest, ("data", name, "test_hash"), lambda _, test=test: test, keep=False)
        for seal in folder.rglob(paths.seal_file(folder).name):
            forger.change(seal, ("test_hash",), lambda _, test=test: test, keep=False)


@attack("half of the users dropped from the validation of one condition")
def _(forger: Forger) -> None:
    for record in forger.trials(forger.cell("fused")):
        forger.frame(forger.beside(record, paths.VALIDATION), lambda frame: frame[frame["user"] % 2 == 0])
        follow(forger, record)


@attack("the sample of validation drawn by hand, for all cells, in the plan too")
def _(forger: Forger) -> None:
    from mmbench import fingerprint

    for cell in forger.cells():
        name = forger.read(paths.cell_file(cell))["dataset"]
        for file in forger.tables(paths.VALIDATION, cell):
            forger.frame(file, lambda frame: frame.assign(user=_exchanged(frame["user"].to_numpy())))
            users = fingerprint.of_arrays(pd.read_parquet(file)["user"].to_numpy(np.int64))
            forger.change(forger.manifest, ("data", name, "valid_users"), lambda _, users=users: users, keep=False)


def _exchanged(users: NDArray[np.int32]) -> NDArray[np.int32]:
    """As many of sixty users, all of those among them that the sample has left out, ascending."""
    others = np.setdiff1d(np.arange(60, dtype=np.int32), users)
    return np.sort(np.r_[others, users[len(others) :]])


@attack("a larger sample of validation claimed by cells and plan")
def _(forger: Forger) -> None:
    for name in forger.read(forger.manifest)["data"]:
        forger.change(forger.manifest, ("data", name, "validation_users"), lambda _: 59, keep=False)
    for cell in forger.cells():
        forger.change(paths.cell_file(cell), ("config", "evaluation", "validation_users"), lambda _: 59, keep=False)


@attack("a rival's best trial given a low score")
def _(forger: Forger) -> None:
    record = best(forger, forger.cell("text"))
    forger.change(record, ("course", "validated"), lambda score: score / 2, keep=False)


@attack("a rival's best trial given a low validation vector")
def _(forger: Forger) -> None:
    record = best(forger, forger.cell("text"))
    forger.frame(forger.beside(record, paths.VALIDATION), with_score(0.5))
    follow(forger, record)


@attack("a rival's trial recorded as failed")
def _(forger: Forger) -> None:
    folder = forger.cell("text")
    record = unchosen(forger, folder)
    as_failed(forger, record, "RuntimeError: out of memory")
    for choice in folder.rglob(paths.choice_file(folder).name):
        if forger.read(choice)["n_trials"] > int(record.stem):
            forger.change(choice, ("n_failed",), lambda n: n + 1, keep=False)
    without_ranks(forger, folder, forger.beside(record, paths.RANKS))


def without_ranks(forger: Forger, folder: Path, *files: Path) -> list[Path]:
    """Remove test ranks, and their lines in every seal of a cell; return the seals that had one."""
    forger.remove(*files)
    gone, changed = {f"{file.parent.name}/{file.name}" for file in files}, []
    for file in folder.rglob(paths.seal_file(folder).name):
        seal = forger.read(file)
        if gone & seal["files"].keys():
            forger.write(
                file, {**seal, "files": {name: held for name, held in seal["files"].items() if name not in gone}}
            )
            changed.append(file)
    return changed


@attack("a rival's trial named in the seal among those that rank nothing of test, its test ranks gone")
def _(forger: Forger) -> None:
    folder = forger.cell("text")
    record = unchosen(forger, folder)
    for seal in without_ranks(forger, folder, forger.beside(record, paths.RANKS)):
        said = [*forger.read(seal).get("unscored", []), f"trial {int(record.stem)}: all scores are equal"]
        forger.write(seal, {**forger.read(seal), "unscored": said})


def as_failed(forger: Forger, record: Path, reason: str) -> None:
    """Let the record of a training say that it failed."""
    for ending in (paths.VALIDATION, paths.STATE, paths.RANKS, paths.LISTS):
        forger.remove(forger.beside(record, ending))
    failed = {"course": None, "n_parameters": None, "validation_hash": "", "state_hash": ""}
    forger.write(record, {**forger.read(record), **failed, "failure": {"reason": reason, "traceback": ""}})


@attack("a rival's trial given a weaker state, ranked honestly")
def _(forger: Forger) -> None:
    folder = forger.cell("text")
    record, least = unchosen(forger, folder), min(forger.read(t)["course"]["validated"] for t in forger.trials(folder))
    for turn in range(1, 20):
        forger.state(forger.beside(record, paths.STATE), lambda values, turn=turn: np.roll(values, turn, axis=0))
        rank_honestly(forger, folder, record)
        if forger.read(record)["course"]["validated"] < least:
            return
    raise AssertionError("no state is weaker")


@attack("a rival's final run given a state that is weaker on test alone, as from another machine")
def _(forger: Forger) -> None:
    folder = forger.cell("text")
    record = forger.finals(folder)[0]
    state, rng = forger.beside(record, paths.STATE), np.random.default_rng(0)
    forger.touch(state)
    before, validated, tested = state.read_bytes(), forger.read(record)["course"]["validated"], _tested(forger, record)
    for _ in range(100):
        state.write_bytes(before)
        forger.state(state, lambda values: values + rng.normal(0, 0.5 * values.std(), values.shape))
        rank_honestly(forger, folder, record)
        near = abs(forger.read(record)["course"]["validated"] - validated) < 0.03 * validated
        if near and _tested(forger, record) < 0.9 * tested:
            break
    else:
        raise AssertionError("no state is weaker")
    place, rows = forger.row_of(record), forger.rows()
    rows[place]["cost"]["machine"] = "another processor"
    forger.write_rows(rows)


def _tested(forger: Forger, record: Path) -> float:
    """What a training scores on test."""
    return float(per_user(records.read_ranking(forger.beside(record, paths.RANKS)), SELECTION_METRIC).mean())


@attack("validation scores of one condition scaled, the history too")
def _(forger: Forger) -> None:
    for record in forger.trials(forger.cell("fused")):
        forger.frame(forger.beside(record, paths.VALIDATION), with_score(0.9))
        forger.change(record, ("course", "history"), lambda scores: [0.9 * score for score in scores], keep=False)
        follow(forger, record)
    forger.change(paths.choice_file(forger.cell("fused")), ("score",), lambda score: 0.9 * score, keep=False)


@attack("the popularity baseline scored lower, so that nothing stalled")
def _(forger: Forger) -> None:
    for record in forger.folder.rglob("*.json"):
        if forger.read(record).get("course"):
            forger.change(record, ("course", "popularity"), lambda _: 0.0, keep=False)


# Copies


@attack("one condition's trials copied over another's")
def _(forger: Forger) -> None:
    source, target = forger.cell("text_shuffled_image"), forger.cell("fused")
    for record in forger.trials(source):
        for ending in (paths.RECORD, paths.VALIDATION, paths.STATE, paths.RANKS):
            forger.copy(forger.beside(record, ending), target / "trials" / f"{record.stem}.{ending}")


@attack("one condition's trials copied over another's, with the other's keys and features")
def _(forger: Forger) -> None:
    source = forger.cell("text_shuffled_image")
    # One that chose the same slots, for its final runs stay what they were.
    target = next(
        cell for cell in map(forger.cell, ("fused", "text")) if _slots(forger, cell) == _slots(forger, source)
    )
    for record in forger.trials(source):
        place = target / "trials" / record.name
        own = {name: forger.read(place)[name] for name in ("cell_key", "feature_hash", "controls")}
        for ending in (paths.RECORD, paths.VALIDATION, paths.STATE, paths.RANKS):
            forger.copy(forger.beside(record, ending), forger.beside(place, ending))
        forger.write(place, {**forger.read(place), **own})


def _slots(forger: Forger, folder: Path) -> list[int]:
    """What a cell chose, look by look."""
    return [forger.read(file)["slot"] for file in sorted(folder.rglob(paths.choice_file(folder).name), reverse=True)]


@attack("the names of two conditions exchanged, in the plan and the ledger too")
def _(forger: Forger) -> None:
    names = {"fused": "text_shuffled_image", "text_shuffled_image": "fused"}
    contents = {name: {} for name in names}  # type: dict[str, dict[Path, bytes]]
    for name, files in contents.items():
        folder = forger.cell(name)
        files |= {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        forger.remove(folder)
    for name, other in names.items():
        for place, content in contents[other].items():
            file = forger.cell(name) / place
            forger.touch(file)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        file = paths.cell_file(forger.cell(name))
        forger.write(file, {**forger.read(file), "modality": name})
    forger.write_rows([{**r, "modality": names.get(r["modality"], r["modality"])} for r in forger.rows()])
    manifest = forger.read(forger.manifest)
    keys = {cell["modality"]: cell["key"] for cell in manifest["cells"]}
    for cell in manifest["cells"]:
        cell["key"] = keys[names[cell["modality"]]] if cell["modality"] in names else cell["key"]
    for revision in manifest["revisions"]:
        for part in {"cells", "versions", "seals"} & revision.keys():
            first, second = (f"planted-complementary/vbpr/{name}" for name in names)
            held = revision[part]
            revision[part] = {**held, first: held[second], second: held[first]}
    forger.write(forger.manifest, manifest)


@attack("a condition renamed to words that grow when they are read")
def _(forger: Forger) -> None:
    lists = ",".join(["&a0 [x,x]", *(f"&a{n} [*a{n - 1},*a{n - 1}]" for n in range(1, 13))])
    before, after = forger.cell("fused"), f"fused_seed=[{lists}]"
    forger.copy(before, forger.cell(after))
    forger.remove(before)
    file = paths.cell_file(forger.cell(after))
    forger.write(file, {**forger.read(file), "modality": after})
    renamed = {"fused": after}
    forger.write_rows([{**r, "modality": renamed.get(r["modality"], r["modality"])} for r in forger.rows()])
    manifest = forger.read(forger.manifest)
    for cell in manifest["cells"]:
        if cell["modality"] in renamed:
            cell |= {"modality": after, "folder": forger.cell(after).relative_to(forger.folder).as_posix()}
    for revision in manifest["revisions"]:
        for part in {"cells", "versions", "seals"} & revision.keys():
            told = {name.replace("/vbpr/fused", f"/vbpr/{after}"): held for name, held in revision[part].items()}
            revision[part] = told
        revision["opened"] = [name.replace("/vbpr/fused", f"/vbpr/{after}") for name in revision.get("opened") or ()]
    forger.write(forger.manifest, manifest)


@attack("a whole cell copied over another")
def _(forger: Forger) -> None:
    target = forger.cell("fused")
    forger.remove(target)
    forger.copy(forger.cell("text_shuffled_image"), target)


# Choice


@attack("a configuration picked by hand")
def _(forger: Forger) -> None:
    folder = forger.cell("fused")
    file = paths.choice_file(folder)
    slot = (forger.read(file)["slot"] + 1) % 3
    other = forger.read(forger.trials(folder)[slot])
    picked = {"slot": slot, "configuration": other["configuration"], "score": other["course"]["validated"]}
    forger.write(file, {**forger.read(file), **picked})


@attack("a choice by test: another trial's score raised, and that trial chosen")
def _(forger: Forger) -> None:
    folder = forger.cell("fused")
    file = paths.choice_file(folder)
    slot = (forger.read(file)["slot"] + 1) % 3
    record = forger.trials(folder)[slot]
    forger.change(record, ("course", "validated"), lambda _: 0.9, keep=False)
    picked = {"slot": slot, "configuration": forger.read(record)["configuration"], "score": 0.9}
    forger.write(file, {**forger.read(file), **picked})


@attack("final runs of another configuration than the chosen one")
def _(forger: Forger) -> None:
    folder = forger.cell("fused")
    other = forger.read(next(t for t in forger.trials(folder) if t != best(forger, folder)))["configuration"]
    for record in forger.finals(folder):
        forger.change(record, ("configuration",), lambda _: other, keep=False)


@attack("an earlier look at the test split removed")
def _(forger: Forger) -> None:
    for folder in forger.cells():
        forger.remove(folder / "looks")


@attack("an earlier look removed, from the plan and the ledger too")
def _(forger: Forger) -> None:
    for folder in forger.cells():
        forger.remove(folder / "looks", folder / "aside")
    here = {forger.read(file)["hash"] for c in forger.cells() for file in [*forger.trials(c), *forger.finals(c)]}
    rows = sorted((row for row in forger.rows() if row["hash"] in here), key=lambda row: row["stage"] == "final")
    last = max(row["finished_at"] for row in rows)
    forger.write_rows([{**row, "finished_at": last if row["stage"] == "final" else row["finished_at"]} for row in rows])
    manifest = forger.read(forger.manifest)
    for revision in manifest["revisions"]:
        revision.pop("seals", None)
    forger.write(forger.manifest, manifest)


@attack("what had been opened by then removed from a revision")
def _(forger: Forger) -> None:
    forger.change(forger.manifest, ("revisions", 1, "opened"), lambda _: [], keep=False)


@attack(OPENED)
def _(forger: Forger) -> None:
    ATTACKS["what had been opened by then removed from a revision"](forger)


@attack("an earlier look moved elsewhere in its cell")
def _(forger: Forger) -> None:
    for folder in filter(paths.looks_kept, forger.cells()):
        forger.copy(folder / "looks", folder / "old")
        forger.remove(folder / "looks")


@attack("the seal of an earlier look renamed, as a copy of it is named")
def _(forger: Forger) -> None:
    for folder in forger.cells():
        for file in (folder / "looks").rglob(paths.seal_file(folder).name):
            forger.copy(file, paths.copy_of(file))
            forger.remove(file)


@attack("the seals of earlier looks of another test split, with one final run")
def _(forger: Forger) -> None:
    for folder in forger.cells():
        for file in (folder / "looks").rglob(paths.seal_file(folder).name):
            forger.write(file, {**forger.read(file), "test_hash": "0" * 64, "finals": [1], "runs": ["x"], "files": {}})


@attack("a final run of an earlier look exchanged, an empty file among the damaged ones")
def _(forger: Forger) -> None:
    record = next(
        final for cell in forger.cells() for aside in paths.aside_dirs(cell) for final in forger.finals(aside)
    )
    exchanged = {**forger.read(record), "n_parameters": 1}
    forger.write(record, msgspec.to_builtins(hashed(msgspec.convert(exchanged, FinalRun))))
    lost = paths.damaged_dir(forger.folder) / record.relative_to(forger.folder)
    forger.touch(lost)
    lost.parent.mkdir(parents=True, exist_ok=True)
    lost.write_bytes(b"")


@attack("test ranks of an earlier look halved")
def _(forger: Forger) -> None:
    files = [file for folder in forger.cells() for a in paths.aside_dirs(folder) for file in a.rglob("*.test.parquet")]
    assert files
    for file in files:
        forger.frame(file, scaled(0.5))


# Effort


def without(forger: Forger, *wanted: Path) -> None:
    """Remove trainings with all of their files and their rows."""
    hashes = {forger.read(record)["hash"] for record in wanted}
    forger.write_rows([row for row in forger.rows() if row["hash"] not in hashes])
    for record in wanted:
        forger.remove(*record.parent.glob(f"{record.stem}.*"))


@attack("the last trial gone everywhere")
def _(forger: Forger) -> None:
    without(forger, *(forger.trials(folder)[-1] for folder in forger.cells()))


@attack("a trial gone in every condition, the others renumbered")
def _(forger: Forger) -> None:
    for folder in forger.cells():
        first, *others = forger.trials(folder)
        if not others:
            continue
        for record, place in zip(others, [first, *others], strict=False):
            for file in record.parent.glob(f"{record.stem}.*"):
                forger.copy(file, place.parent / file.name.replace(record.stem, place.stem, 1))
            forger.change(place, ("index",), lambda _, place=place: int(place.stem), keep=False)
        without(forger, others[-1])


@attack("a trial more than the plan has, in every condition")
def _(forger: Forger) -> None:
    rows = forger.rows()
    for folder in forger.cells():
        last, number = forger.trials(folder)[-1], len(forger.trials(folder))
        for file in last.parent.glob(f"{last.stem}.*"):
            forger.copy(file, last.parent / file.name.replace(last.stem, f"{number:03d}", 1))
        record = last.with_name(f"{number:03d}.json")
        forger.write(record, {**forger.read(record), "index": number, "seed": 10_000 + number})
        rows.append({**rows[forger.row_of(last)], "index": number, "seed": 10_000 + number})
    forger.write_rows(rows)


@attack("a trial of the luckiest seed kept beside the records, under a name that none of them has")
def _(forger: Forger) -> None:
    record = forger.trials(forger.cell("fused"))[0]
    forger.write(record.with_name("notes.json"), {**forger.read(record), "index": 7, "seed": 10_007})


@attack("a configuration picked by hand in one slot, for all conditions")
def _(forger: Forger) -> None:
    for name in ("text", "fused", "text_shuffled_image"):
        record = forger.trials(forger.cell(name))[1]
        forger.change(record, ("configuration", "optimizer.lr"), lambda lr: lr * 1.5, keep=False)


@attack("another seed in one slot, for all conditions")
def _(forger: Forger) -> None:
    for folder in forger.cells():
        forger.change(forger.trials(folder)[0], ("seed",), lambda seed: seed + 77, keep=False)


@attack("a failed trial as a low score")
def _(forger: Forger) -> None:
    record, like = forger.trials(forger.cell("none", "broken"))[0], forger.trials(forger.cell("fused"))[0]
    result = {name: forger.read(like)[name] for name in ("course", "n_parameters", "validation_hash", "state_hash")}
    forger.write(record, {**forger.read(record), **result, "failure": None})
    for ending in (paths.VALIDATION, paths.STATE):
        forger.copy(forger.beside(like, ending), forger.beside(record, ending))


@attack("200 epochs where the budget ends trainings earlier")
def _(forger: Forger) -> None:
    for record in forger.trials(forger.cell("fused")):
        course = forger.read(record)["course"]
        longer = {"history": course["history"] * 40, "losses": course["losses"] * 40}
        forger.change(record, ("course",), lambda course, longer=longer: {**course, **longer}, keep=False)


@attack("a rival's training cut short")
def _(forger: Forger) -> None:
    for record in forger.trials(forger.cell("text")):
        shorter = {name: forger.read(record)["course"][name][:2] for name in ("history", "losses")}
        shorter["best_epoch"] = 1 + int(np.argmax(shorter["history"]))
        forger.change(record, ("course",), lambda course, shorter=shorter: {**course, **shorter}, keep=False)


@attack("the training rule of one condition raised in its record")
def _(forger: Forger) -> None:
    file = paths.cell_file(forger.cell("fused"))
    forger.change(file, ("config", "budget", "max_steps"), lambda steps: 10 * steps, keep=False)


@attack("a final seed gone everywhere")
def _(forger: Forger) -> None:
    without(forger, *(runs[-1] for folder in forger.cells() if (runs := forger.finals(folder))))


@attack("a final seed gone everywhere, and from seals and plan")
def _(forger: Forger) -> None:
    gone = [runs[-1] for folder in forger.cells() if (runs := forger.finals(folder))]
    gone += [a for folder in forger.cells() for aside in paths.aside_dirs(folder) for a in forger.finals(aside)[-1:]]
    without(forger, *gone)
    for seal in forger.folder.rglob("sealed.json"):
        short = forger.read(seal)
        files = {name: value for name, value in short["files"].items() if "seed2" not in name}
        forger.write(seal, {**short, "finals": short["finals"][:-1], "runs": short["runs"][:-1], "files": files})
    manifest = forger.read(forger.manifest)
    for planned in manifest["cells"]:
        planned["seeds"] -= 1
        planned["trainings"] -= 1
    for revision in manifest["revisions"]:
        revision["seeds"] -= 1
    manifest["budget"]["seeds"] -= 1
    forger.write(forger.manifest, manifest)
    for_all(forger, lambda cell: {**cell, "effort": {**cell["effort"], "seeds": cell["effort"]["seeds"] - 1}}, "cell")


@attack("half of the images missing in fused, as its record says")
def _(forger: Forger) -> None:
    file = paths.cell_file(forger.cell("fused"))
    forger.change(file, ("config", "modality", "missing"), lambda _: {"image": 0.5}, keep=False)


@attack("other images than those of the data set, under a fingerprint of their own")
def _(forger: Forger) -> None:
    for record in (*forger.trials(forger.cell("fused")), *forger.finals(forger.cell("fused"))):
        forger.change(record, ("feature_hash",), lambda _: "0" * 64, keep=False)


# Ledger


@attack("the ledger emptied")
def _(forger: Forger) -> None:
    forger.write_rows([])


@attack("the ledger removed")
def _(forger: Forger) -> None:
    forger.remove(forger.ledger)


@attack("scores of the ledger changed")
def _(forger: Forger) -> None:
    rows = forger.rows()
    place = forger.row_of(forger.trials(forger.cell("fused"))[0])
    forger.write_rows([{**row, "score": 0.5} if at == place else row for at, row in enumerate(rows)])
    forger._kept.add((forger.ledger, (place, "score")))


@attack("rows of one cell gone from the ledger")
def _(forger: Forger) -> None:
    forger.write_rows([row for row in forger.rows() if row["modality"] != "fused"])


@attack("30 hidden trials added to the ledger")
def _(forger: Forger) -> None:
    rows = forger.rows()
    like = rows[forger.row_of(forger.trials(forger.cell("fused"))[0])]
    more = [{**like, "index": 3 + n, "hash": f"{n:064d}", "finished_at": rows[-1]["finished_at"]} for n in range(30)]
    forger.write_rows([*rows, *more])


@attack("a row of the ledger twice")
def _(forger: Forger) -> None:
    forger.write_rows([*forger.rows(), forger.rows()[-1]])


@attack("final runs of the ledger before the trials")
def _(forger: Forger) -> None:
    for folder in forger.cells():
        forger.remove(folder / "looks", folder / "aside")
    here = {
        forger.read(file)["hash"]
        for folder in forger.cells()
        for file in [*forger.trials(folder), *forger.finals(folder)]
    }
    rows = sorted((row for row in forger.rows() if row["hash"] in here), key=lambda row: row["stage"] != "final")
    forger.write_rows([{**row, "finished_at": rows[0]["finished_at"]} for row in rows])


@attack("times of the ledger exchanged within the same minutes")
def _(forger: Forger) -> None:
    rows = forger.rows()
    times = [row["finished_at"] for row in rows][::-1]
    forger.write_rows([{**row, "finished_at": time} for row, time in zip(rows, times, strict=True)])


@attack("times of the ledger an hour before the plan")
def _(forger: Forger) -> None:
    def earlier(time: str) -> str:
        return (datetime.datetime.fromisoformat(time) - datetime.timedelta(hours=1)).isoformat()

    forger.write_rows([{**row, "finished_at": earlier(row["finished_at"])} for row in forger.rows()])


@attack("times of the ledger in reverse, hours apart")
def _(forger: Forger) -> None:
    rows = forger.rows()
    last = datetime.datetime.fromisoformat(rows[-1]["finished_at"])
    times = [(last + datetime.timedelta(hours=len(rows) - n)).isoformat() for n in range(len(rows))]
    forger.write_rows([{**row, "finished_at": time} for row, time in zip(rows, times, strict=True)])


@attack("seconds, memory, energy and samples of every training halved")
def _(forger: Forger) -> None:
    numbers = ("seconds", "setup_seconds", "ranking_seconds", "total_seconds", "n_samples", "peak_rss_mb")
    for_rows = [
        {
            **row,
            "cost": {name: value / 2 if name in numbers and value else value for name, value in row["cost"].items()},
        }
        for row in forger.rows()
    ]
    for row in for_rows:
        row["cost"]["n_samples"] = int(row["cost"]["n_samples"])
    forger.write_rows(for_rows)


# Results taken away


def unsealed(forger: Forger) -> None:
    """Take the result of the control away, so that fewer contrasts were tested."""
    folder = forger.cell("text_shuffled_image")
    forger.remove(paths.choice_file(folder), paths.seal_file(folder))


@attack("the result of a control gone, its trainings left")
def _(forger: Forger) -> None:
    unsealed(forger)
    forger.remove(*forger.tables(paths.RANKS, forger.cell("text_shuffled_image")))


@attack("the result of a control gone, and the copy of its seal")
def _(forger: Forger) -> None:
    unsealed(forger)
    forger.remove(paths.seal_copy(forger.cell("text_shuffled_image")))


@attack("the choice of a control gone, all other files left")
def _(forger: Forger) -> None:
    forger.remove(paths.choice_file(forger.cell("text_shuffled_image")))


@attack("the folder of a control gone, and its rows of the ledger, in a sweep whose effort was raised")
def _(forger: Forger) -> None:
    forger.remove(forger.cell("text_shuffled_image"))
    forger.write_rows([row for row in forger.rows() if row["modality"] != "text_shuffled_image"])


@attack(RENAMED)
def _(forger: Forger) -> None:
    folder = forger.cell("text_shuffled_image")
    forger.copy(folder, folder.with_name(f"{folder.name}{paths.STALE}12345678"))
    forger.remove(folder)


@attack("the record of a control's cell gone, all other files left")
def _(forger: Forger) -> None:
    forger.remove(paths.cell_file(forger.cell("text_shuffled_image")))


# Plan


@attack("equivalence margin from 2 % to 30 % in the plan")
def _(forger: Forger) -> None:
    forger.change(forger.manifest, ("delta",), lambda _: 0.3, keep=False)


@attack("equivalence margin from 2 % to 30 % in plan and cells")
def _(forger: Forger) -> None:
    forger.change(forger.manifest, ("delta",), lambda _: 0.3, keep=False)
    everywhere(forger, "delta", 0.3)


def everywhere(forger: Forger, name: str, value: Any) -> None:
    """Give statistics of the plan and of all cells another value."""
    forger.change(forger.manifest, ("statistics", name), lambda _: value, keep=False)
    for folder in forger.cells():
        forger.change(paths.cell_file(folder), ("config", "statistics", name), lambda _: value, keep=False)


@attack("contrasts changed in plan and cells")
def _(forger: Forger) -> None:
    forger.change(forger.manifest, ("contrasts",), lambda _: ["fused_vs_text_shuffled_image"], keep=False)
    everywhere(forger, "contrasts", ["fused_vs_text_shuffled_image"])


@attack("another primary metric in the plan")
def _(forger: Forger) -> None:
    forger.change(forger.manifest, ("primary",), lambda _: "recall@20", keep=False)


@attack("a condition gone from the plan, its records left")
def _(forger: Forger) -> None:
    gone_from_plan(forger)


def gone_from_plan(forger: Forger) -> None:
    """Take the control out of the plan."""
    name = "text_shuffled_image"
    manifest = forger.read(forger.manifest)
    manifest["cells"] = [cell for cell in manifest["cells"] if cell["modality"] != name]
    for revision in manifest["revisions"]:
        for part in {"cells", "versions", "seals"} & revision.keys():
            revision[part] = {key: value for key, value in revision[part].items() if not key.endswith(name)}
        revision["opened"] = [cell for cell in revision["opened"] if not cell.endswith(name)]
    manifest["named"] = [cell for cell in manifest["named"] if not cell.endswith(name)]
    forger.write(forger.manifest, manifest)


@attack("a condition gone from plan, folder and ledger")
def _(forger: Forger) -> None:
    gone_from_plan(forger)
    forger.remove(forger.cell("text_shuffled_image"))
    forger.write_rows([row for row in forger.rows() if row["modality"] != "text_shuffled_image"])


@attack("eight trials claimed by the plan")
def _(forger: Forger) -> None:
    manifest = forger.read(forger.manifest)
    for cell in manifest["cells"]:
        cell["trials"] = 8
    forger.write(forger.manifest, manifest)


@attack("a name of the budget that sounds like more")
def _(forger: Forger) -> None:
    forger.change(forger.manifest, ("budget", "name"), lambda _: "paper", keep=False)


@attack("more trials, final seeds and steps in the budget of the plan")
def _(forger: Forger) -> None:
    claimed = {"name": "paper", "trials": 300, "seeds": 10, "max_steps": 12000}
    forger.change(forger.manifest, ("budget",), lambda budget: {**budget, **claimed}, keep=False)


@attack("more trials in the budget of the plan")
def _(forger: Forger) -> None:
    forger.change(forger.manifest, ("budget", "trials"), lambda trials: trials + 1, keep=False)


@attack("the fingerprint of the configuration in the plan")
def _(forger: Forger) -> None:
    forger.change(forger.manifest, ("config_hash",), lambda _: "0" * 64, keep=False)


@attack("40 copies of a harmless cell in the plan, so that a sample of trainings misses the others")
def _(forger: Forger) -> None:
    manifest = forger.read(forger.manifest)
    harmless = next(cell for cell in manifest["cells"] if cell["modality"] == "text_shuffled_image")
    forger.write(forger.manifest, {**manifest, "cells": [*manifest["cells"], *[harmless] * 40]})


@attack("the folder of a planned cell leading elsewhere")
def _(forger: Forger) -> None:
    forger.change(forger.manifest, ("cells", 0, "folder"), lambda _: "../../elsewhere", keep=False)


# Hashes of data


@attack("the split's fingerprint in one training")
def _(forger: Forger) -> None:
    forger.change(forger.trials(forger.cell("fused"))[0], ("split_hash",), lambda _: "0" * 64, keep=False)


@attack("the split's fingerprint in trainings, cells and plan")
def _(forger: Forger) -> None:
    name = "planted-complementary"
    forger.change(forger.manifest, ("data", name, "split_hash"), lambda _: "0" * 64, keep=False)
    for_all(
        forger,
        lambda record: {**record, "split_hash": "0" * 64} if record.get("dataset", name) == name else record,
        "cell",
    )
    for folder in forger.cells():
        if folder.parent.parent.name == name:
            for place in [folder, *paths.aside_dirs(folder)]:
                for record in (*forger.trials(place), *forger.finals(place)):
                    forger.change(record, ("split_hash",), lambda _: "0" * 64, keep=False)


@attack("the images' fingerprint in cells and plan")
def _(forger: Forger) -> None:
    name = "planted-complementary"
    forger.change(forger.manifest, ("data", name, "features", "image"), lambda _: "0" * 64, keep=False)
    for model, modality in (
        ("vbpr", "text"),
        ("vbpr", "fused"),
        ("vbpr", "text_shuffled_image"),
        ("broken", "none"),
        ("broken", "text"),
    ):
        file = paths.cell_file(forger.cell(modality, model))
        forger.change(file, ("features", "image"), lambda _: "0" * 64, keep=False)
    from mmbench import fingerprint

    folder = forger.cell("fused")
    seen = {**forger.read(paths.cell_file(folder))["features"]}
    for place in [folder, *paths.aside_dirs(folder)]:
        for record in (*forger.trials(place), *forger.finals(place)):
            forger.change(record, ("feature_hash",), lambda _: fingerprint.of_json(seen), keep=False)


@attack("the cell key of a seal")
def _(forger: Forger) -> None:
    forger.change(paths.seal_file(forger.cell("fused")), ("cell_key",), lambda _: "0" * 64)


@attack("the test split's fingerprint in all seals")
def _(forger: Forger) -> None:
    for_all(forger, lambda seal: {**seal, "test_hash": "0" * 64}, "seal")


@attack("another version in one cell")
def _(forger: Forger) -> None:
    forger.change(paths.cell_file(forger.cell("fused")), ("versions", "torch"), lambda _: "9.9", keep=False)


@attack("another version in all cells, trainings and the plan")
def _(forger: Forger) -> None:
    from mmbench.tuning.cell import versions_hash

    for folder in forger.cells():
        file = paths.cell_file(folder)
        forger.change(file, ("versions", "torch"), lambda _: "9.9", keep=False)
        digest = versions_hash(forger.read(file)["versions"])
        for place in [folder, *paths.aside_dirs(folder)]:
            for record in (*forger.trials(place), *forger.finals(place)):
                forger.change(record, ("versions_hash",), lambda _, digest=digest: digest, keep=False)


@attack("code changed between a stop and the next start")
def _(forger: Forger) -> None:
    for record in forger.finals(forger.cell("fused")):
        forger.change(record, ("versions_hash",), lambda _: "0" * 64, keep=False)


@attack("another precision in one training")
def _(forger: Forger) -> None:
    forger.change(forger.trials(forger.cell("fused"))[0], ("precision",), lambda _: "64-true", keep=False)


@attack("a batch size that differs between conditions")
def _(forger: Forger) -> None:
    file = paths.cell_file(forger.cell("fused"))
    forger.change(file, ("config", "training", "batch_size"), lambda _: 64, keep=False)


@attack("another batch size in all records")
def _(forger: Forger) -> None:
    for folder in forger.cells():
        forger.change(paths.cell_file(folder), ("config", "training", "batch_size"), lambda _: 64, keep=False)


@attack("a weight decay that no training had, in all records")
def _(forger: Forger) -> None:
    for folder in forger.cells():
        file = paths.cell_file(folder)
        if folder.parent.name == "vbpr":
            forger.change(file, ("config", "optimizer", "weight_decay"), lambda _: 0.5, keep=False)


# Files


@attack("a state with other numbers")
def _(forger: Forger) -> None:
    record = forger.finals(forger.cell("fused"))[0]
    forger.state(forger.beside(record, paths.STATE), lambda values: values * np.float16(2))


@attack("states gone")
def _(forger: Forger) -> None:
    forger.remove(*forger.tables(paths.STATE))


@attack("a validation vector gone")
def _(forger: Forger) -> None:
    forger.remove(forger.beside(forger.trials(forger.cell("fused"))[0], paths.VALIDATION))


@attack("test ranks gone")
def _(forger: Forger) -> None:
    forger.remove(forger.beside(forger.finals(forger.cell("fused"))[0], paths.RANKS))


@attack("lists gone")
def _(forger: Forger) -> None:
    forger.remove(forger.beside(forger.finals(forger.cell("fused"))[0], paths.LISTS))


@attack("test ranks cut in the middle of the file")
def _(forger: Forger) -> None:
    cut(forger, forger.beside(forger.finals(forger.cell("fused"))[0], paths.RANKS))


@attack("a state cut in the middle of the file")
def _(forger: Forger) -> None:
    cut(forger, forger.beside(forger.finals(forger.cell("fused"))[0], paths.STATE))


@attack("a record cut in the middle of the file")
def _(forger: Forger) -> None:
    cut(forger, forger.trials(forger.cell("fused"))[0])


def cut(forger: Forger, file: Path) -> None:
    """Keep the first half of a file."""
    forger.readable = False
    forger.touch(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@attack("a failure beside a result")
def _(forger: Forger) -> None:
    write_failure(forger, forger.cell("fused"), "RuntimeError: out of memory")


def write_failure(forger: Forger, folder: Path, reason: str) -> None:
    """Let a cell say that it failed."""
    known = {"schema_version": forger.read(forger.manifest)["schema_version"]}
    known["key"] = forger.read(paths.cell_file(folder))["key"]
    forger.write(paths.failure_file(folder), {"kind": "failure", **known, "reason": reason, "traceback": ""})


@attack("a failure in the place of a result")
def _(forger: Forger) -> None:
    ATTACKS["a failure beside a result"](forger)
    folder = forger.cell("fused")
    forger.remove(paths.seal_file(folder), *forger.tables(paths.RANKS, folder), *forger.tables(paths.LISTS, folder))


@attack("a failure in the place of a result and of the copy of its seal")
def _(forger: Forger) -> None:
    ATTACKS["a failure in the place of a result"](forger)
    forger.remove(paths.seal_copy(forger.cell("fused")))


@attack("a failure in the place of a result, one of its final runs gone")
def _(forger: Forger) -> None:
    ATTACKS["a failure in the place of a result"](forger)
    without(forger, forger.finals(forger.cell("fused"))[-1])


@attack(SHORT)
def _(forger: Forger) -> None:
    folder, reason = forger.cell("text_shuffled_image"), "out of memory: MemoryError: Unable to allocate 8.00 GiB"
    as_failed(forger, forger.finals(folder)[0], reason)
    write_failure(forger, folder, f"final run with seed 1 failed: {reason}")
    forger.remove(paths.seal_file(folder), *forger.tables(paths.RANKS, folder), *forger.tables(paths.LISTS, folder))


@attack(WITHOUT_COPY)
def _(forger: Forger) -> None:
    ATTACKS[SHORT](forger)
    forger.remove(paths.seal_copy(forger.cell("text_shuffled_image")))


@attack("records of other settings set aside by a stale folder")
def _(forger: Forger) -> None:
    forger.copy(forger.cell("fused"), forger.cell("fused").with_name(f"fused{paths.STALE}00000000"))
