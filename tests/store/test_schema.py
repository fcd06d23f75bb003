"""Records as types: each comes back as it was written, and what cannot be read is refused in one clear line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mmbench import paths
from mmbench.store import ledger, records
from mmbench.store.schema import (
    Approximation,
    Cell,
    CellFailure,
    Control,
    Cost,
    Course,
    Failure,
    LedgerRow,
    Manifest,
    Record,
    Revision,
    Stage,
    Training,
    content_hash,
    hashed,
)
from tests import records as valid

CONTROL = Control(state="shuffle", differs_from_real=True, cosine_mean=0.1, cosine_sd=0.2)
APPROXIMATION = Approximation(items=80, k=10, recall=0.99, sample=40, library="faiss 1.8")
REVISION = Revision(
    trials=8,
    seeds=3,
    cells={"data/vbpr/text": "a" * 64},
    data={"data": "print"},
    versions={"data/vbpr/text": "versions"},
    command=["budget=small"],
    planned_at="now",
    previous="fixed",
)
EXAMPLES: dict[str, Record] = {
    "trial": valid.trial(3, 0.1 + 0.2, controls={"text": CONTROL}, approximations=[APPROXIMATION]),
    "failed trial": valid.trial(0, None, failure=Failure(reason="é\nsecond line", traceback="Traceback")),
    "proposal": valid.trial(1, stage=Stage.PROPOSAL),
    "final": valid.final(2, course=valid.course(losses=[{"bpr": 0.7}, {"bpr": 0.6}])),
    "choice": valid.choice(),
    "seal": valid.seal(unscored=["trial 1: all scores are equal"]),
    "cell": valid.cell(draw=2, states={"text": "real"}, versions={"torch": "2", "commit": None}),
    "failure": CellFailure(key="key", reason="why", traceback="Traceback"),
    "manifest": valid.manifest(cells=[valid.planned(tiers=["core"], asked=["fused"])], revisions=[REVISION]),
    "ledger row": valid.row(cost=Cost(seconds=1.5, device="cpu", energy_kwh=0.1)),
}


def refused(file: Path, kind: type[Record]) -> str:
    """What is said of a file that cannot be read: one line that names it."""
    with pytest.raises(ValueError, match=file.name) as error:
        records.read(file, kind)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_there_is_an_example_of_every_type() -> None:
    def kinds(base: type[Record]) -> set[type[Record]]:
        return {base, *(kind for below in base.__subclasses__() for kind in kinds(below))}

    assert {type(record) for record in EXAMPLES.values()} == kinds(Record) - {Record, Training}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_record_comes_back(name: str, tmp_path: Path) -> None:
    file, record = tmp_path / "deep" / "record.json", EXAMPLES[name]
    records.write(file, record)
    assert records.read(file, type(record)) == record
    before = file.read_bytes()
    records.write(file, records.read(file, type(record)))
    assert file.read_bytes() == before


def without_a_field(plain: dict[str, Any]) -> None:
    del plain[next(name for name in plain if name not in ("kind", "schema_version"))]


#: How a file is spoilt, and a part of the message that refuses it.
SPOILT: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "schema 2": (lambda plain: plain.update(schema_version=2), "schema version 2, this mmbench reads version 4; use "),
    "no schema": (lambda plain: plain.pop("schema_version"), "schema version None"),
    "unknown field": (lambda plain: plain.update(surprise=1), "unknown field `surprise`"),
    "missing field": (without_a_field, "missing required field"),
    "another kind": (lambda plain: plain.update(kind="surprise"), "Invalid value 'surprise'"),
    "no kind": (lambda plain: plain.pop("kind"), "missing required field `kind`"),
}


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("fault", SPOILT)
def test_a_spoilt_record_is_refused_in_one_line(name: str, fault: str, tmp_path: Path) -> None:
    file, record = tmp_path / "record.json", EXAMPLES[name]
    spoil, message = SPOILT[fault]
    plain = msgspec.to_builtins(record)
    spoil(plain)
    file.write_text(json.dumps(plain))
    assert message in refused(file, type(record))


@pytest.mark.parametrize("text", ["", '{"schema_version": 3, "kind": "tri', "[]", "3", "\udcff"])
def test_what_is_no_record_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "trial.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    said = refused(file, type(EXAMPLES["trial"]))
    assert ("is not a record" if text in ("[]", "3") else "is missing, empty, cut or overwritten") in said


def test_a_number_that_is_none_is_neither_written_nor_read(tmp_path: Path) -> None:
    file = tmp_path / "trial.json"
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.write(file, msgspec.structs.replace(valid.trial(), course=valid.course(math.nan)))
    assert not file.exists()
    plain = msgspec.to_builtins(valid.trial())
    plain["course"]["validated"] = math.nan
    file.write_text(json.dumps(plain))
    assert "is not a record" in refused(file, type(EXAMPLES["trial"]))


def test_a_choice_of_one_kind_is_no_record_of_another(tmp_path: Path) -> None:
    file = tmp_path / "choice.json"
    records.write(file, valid.choice())
    for name in ("seal", "trial", "manifest"):
        refused(file, type(EXAMPLES[name]))


def test_the_ledger_passes_over_what_is_no_row(tmp_path: Path) -> None:
    row = EXAMPLES["ledger row"]
    assert isinstance(row, LedgerRow)
    ledger.append(tmp_path, row)
    for fault in ("schema 2", "unknown field", "missing field", "another kind"):
        spoil, _ = SPOILT[fault]
        plain = msgspec.to_builtins(row)
        spoil(plain)
        with paths.ledger_file(tmp_path).open("a") as lines:
            lines.write(json.dumps(plain) + "\n")
    ledger.append(tmp_path, row)
    assert list(ledger.read(tmp_path)) == [row, row]


@pytest.mark.parametrize("name", [name for name, record in EXAMPLES.items() if hasattr(record, "hash")])
def test_a_hash_covers_every_field_but_times_and_places(name: str) -> None:
    """A ledger row is the journal's; it only repeats the hash of its record."""
    record = EXAMPLES[name]
    if isinstance(record, LedgerRow):
        return
    assert record.hash == content_hash(record)
    for field in msgspec.structs.fields(type(record)):
        if field.name == "hash":
            continue
        changed = msgspec.structs.replace(record, **{field.name: "something else"})
        of_machines = field.name in ("device_sharing", "data_folder")
        assert (content_hash(changed) == record.hash) is of_machines, field.name
    if isinstance(record, Manifest):  # of a data set that is called like a field that no hash covers
        data: tuple[Any, ...] = ({"hash": {"test_hash": "a"}}, {"hash": {"test_hash": "b"}})
        first, second = (msgspec.structs.replace(record, data=held) for held in data)
        assert content_hash(first) != content_hash(second)
    failed = valid.trial(0, None, failure=Failure(reason="why", traceback="here"))
    assert failed.hash == valid.trial(0, None, failure=Failure(reason="why", traceback="there")).hash
    assert failed.hash != valid.trial(0, None, failure=Failure(reason="other", traceback="here")).hash


def test_a_record_of_an_earlier_version_keeps_the_folder_of_its_data_and_its_hash(tmp_path: Path) -> None:
    """There it stands in the configuration, which the hash covers."""
    now = EXAMPLES["cell"]
    assert isinstance(now, Cell)
    config = {**now.config, "dataset": {"name": "shop", "path": "/data/shop"}}
    earlier = hashed(msgspec.structs.replace(now, config=config, data_folder=msgspec.UNSET))
    file = tmp_path / "cell.json"
    records.write(file, earlier)
    assert "data_folder" not in json.loads(file.read_text())
    read = records.read(file, Cell)
    assert read.located_config == config
    assert content_hash(read) == earlier.hash
    assert content_hash(msgspec.structs.replace(read, config=now.config)) != earlier.hash


def test_the_best_score_of_a_course_is_that_of_its_best_epoch() -> None:
    course = Course(history=[0.1, 0.4, 0.3], best_epoch=2, validated=0.39)
    assert (course.epochs, course.best) == (3, 0.4)


def test_the_stored_state_gives_the_score_that_chooses() -> None:
    assert valid.trial(course=Course(history=[0.1, 0.4, 0.3], best_epoch=2, validated=0.39)).score == 0.39


@pytest.mark.parametrize(
    "reason, popularity, stalled",
    [("patience", 0.5, True), ("patience", 0.4, False), ("patience", None, False), ("max_steps", 0.5, False)],
)
def test_a_training_stalled_if_patience_ended_it_below_popularity(
    reason: str, popularity: float | None, stalled: bool
) -> None:
    course = Course(history=[0.1, 0.4, 0.3], best_epoch=2, stop_reason=reason, popularity=popularity)
    assert course.stalled == stalled


@pytest.mark.parametrize(
    "history, rise",
    [
        ([0.1, 0.2, 0.4, 0.5], 0.25),  # the last quarter is one epoch
        ([0.5, 0.2, 0.4, 0.4], 0.0),
        ([0.1, 0.4, 0.1, 0.2, 0.3, 0.44], 0.1),  # of six epochs the last two
        ([0.1, 0.3, 0.2, 0.2, 0.2, 0.3, 0.6, 0.5], 1.0),  # to the best of the last two, not to the very last
        ([0.0, 0.0, 0.0, 0.1], float("inf")),
        ([0.3], None),
    ],
)
def test_the_late_rise_is_that_of_the_last_quarter(history: list[float], rise: float | None) -> None:
    best = history.index(max(history)) + 1
    course = Course(history=history, best_epoch=best, stop_reason="max_steps")
    assert course.late_rise == pytest.approx(rise) if rise is not None else course.late_rise is None
    assert Course(history=history, best_epoch=best, stop_reason="patience").late_rise is None


def test_steps_become_epochs() -> None:
    course = Course(steps_per_epoch=12)
    assert [course.epoch_of(step) for step in (1, 12, 13, 250)] == [1, 1, 2, 21]


def test_a_row_is_a_projection_of_its_record() -> None:
    name = valid.cell().name
    for training in (valid.trial(), valid.final(), valid.trial(1, None, failure=Failure(reason="why"))):
        row = LedgerRow.of(name, training, Cost(), budget="touch", searched=1, finished_at="now")
        assert (row.unit, row.score, row.seed) == (training.unit, training.score, training.seed)
        assert row.status == ("ok" if training.succeeded else "failed")
        assert (row.stop_reason is None) == (training.course is None)
