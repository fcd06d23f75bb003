"""The tables of ``docs/audit.md``, row by row: what an audit sees of an edit, and at which level first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmbench import paths
from mmbench.audit import consistency
from mmbench.messages import Refusal
from mmbench.store import records, schema
from mmbench.store.schema import CellName, Manifest, Stage, Unit
from tests.audit import fields, levels
from tests.audit.attacks import ATTACKS, OF_ADDED, PICKED
from tests.audit.conftest import CELLS, SOURCES, run
from tests.audit.forger import Forger

PAGE = Path(__file__).resolve().parents[2] / "docs" / "audit.md"
SAME = "same record"
#: What is trained again of an edited sweep, where it is not the first trial of the edited condition.
TRIED = CellName("planted-complementary", "vbpr", "fused"), Unit(Stage.TRIAL, 0)
RETRAINED = {
    "the luckiest seed's state, a little changed, ranked honestly as the other seed's": (
        TRIED[0],
        Unit(Stage.FINAL, 2),
    ),
    "a rival's final run given a state that is weaker on test alone, as from another machine": (
        TRIED[0]._replace(modality="text"),
        Unit(Stage.FINAL, 1),
    ),
    "a rival's trial recorded as failed": (TRIED[0]._replace(modality="text"), Unit(Stage.TRIAL, 1)),
    "a rival's trial given a weaker state, ranked honestly": (TRIED[0]._replace(modality="text"), Unit(Stage.TRIAL, 1)),
    "Control": (TRIED[0]._replace(modality="text_shuffled_image"), Unit(Stage.TRIAL, 0)),
    "Failure": (TRIED[0]._replace(model="broken", modality="none"), Unit(Stage.TRIAL, 0)),
    "CellFailure": (TRIED[0]._replace(model="broken", modality="none"), Unit(Stage.TRIAL, 0)),
}


def table(title: str) -> list[list[str]]:
    """Rows of the table below a title of the page."""
    after = PAGE.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in after.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


EDITS = {words: (plain, rehashed) for words, plain, rehashed in table("Edits a cheat might make")}
KINDS = {kind.__name__: kind for kind, _ in fields.all_fields()}


def field_rows() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Record type, field, and the level for each way to edit it."""
    for kind, names, *expected in table("Fields of the records"):
        for name in re.findall(r"`(\w+)`", names):
            yield kind, name, tuple(expected)


FIELDS = {(kind, name): expected for kind, name, expected in field_rows()}


def consistent(folder: Path) -> bool:
    """Whether the first level finds nothing; a plan that cannot be read is something."""
    try:
        return not consistency.check(folder)
    except Refusal:
        return False


def plan_of(folder: Path) -> str:
    return records.read(paths.manifest_file(folder), Manifest).plan_hash


def seen_by(forger: Forger, plan: str, subject: str, everything: bool) -> str:
    """The lowest level that sees the edit; without ``everything`` all but the first one are one."""
    if not consistent(forger.folder):
        return levels.CONSISTENCY
    if not everything:
        return "later"
    wanted = RETRAINED.get(subject, TRIED)
    return levels.seen_by(forger.folder, SOURCES, plan, [wanted])


def expected(level: str, everything: bool) -> str:
    return level if everything or level == levels.CONSISTENCY else "later"


def test_the_tables_name_every_edit_and_every_field() -> None:
    assert list(EDITS) == list(ATTACKS)
    assert len(EDITS) >= 60
    assert sorted(FIELDS) == sorted((kind.__name__, name) for kind, name in fields.all_fields())
    told = {level for row in (*EDITS.values(), *FIELDS.values()) for level in row}
    allowed = {levels.CONSISTENCY, levels.RESCORING, levels.RETRAINING, levels.PLAN, levels.NOTHING, SAME}
    assert told == allowed


def test_every_record_type_is_in_the_table() -> None:
    """A type that is added has fields that somebody can edit."""
    kinds = {kind for kind in vars(schema).values() if isinstance(kind, type) and hasattr(kind, "__struct_fields__")}
    bases = {schema.Record, schema.Value, schema.Trial, schema.FinalRun}
    elsewhere = {"Approximation", "Sharing"}  # of large catalogues, and of GPUs
    assert {kind.__name__ for kind in kinds - bases} == {*KINDS, *elsewhere}


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep to which a command adds a condition when the others have been opened."""
    folder = tmp_path_factory.mktemp("added")
    for cells in (CELLS[:2], CELLS[2:3]):
        sweep = run(folder, "s", "budget.trials=2", "budget.seeds=1", cells=cells)
    assert consistent(sweep)
    return sweep


@pytest.mark.thorough
@pytest.mark.parametrize("words", EDITS)
def test_an_edit_is_seen_at_its_level(words: str, request: pytest.FixtureRequest) -> None:
    check_edit(words, request, everything=False)


@pytest.mark.slow
@pytest.mark.parametrize("words", [words for words, row in EDITS.items() if {*row} != {levels.CONSISTENCY}])
def test_an_edit_is_seen_at_no_lower_level(words: str, request: pytest.FixtureRequest) -> None:
    check_edit(words, request, everything=True)


def check_edit(words: str, request: pytest.FixtureRequest, everything: bool) -> None:
    plain, rehashed = EDITS[words]
    with Forger(request.getfixturevalue("added" if words in OF_ADDED else "honest")) as forger:
        plan = plan_of(forger.folder)
        ATTACKS[words](forger)
        assert seen_by(forger, plan, words, everything) == expected(plain, everything)
        forger.rehash(words not in PICKED)
        assert seen_by(forger, plan, words, everything) == expected(rehashed, everything)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("LedgerRow", "Cost")])
def test_a_changed_field_is_seen_whatever_is_hashed(kind: str, honest: Path) -> None:
    check_fields(kind, honest, (fields.REHASHED,), everything=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_field_is_seen_at_its_level_in_every_way(kind: str, honest: Path) -> None:
    check_fields(kind, honest, fields.WAYS, everything=True)


def check_fields(kind: str, honest: Path, ways: tuple[str, ...], everything: bool) -> None:
    plan, found, told = plan_of(honest), {}, {}
    for (own, name), row in FIELDS.items():
        for way in ways if own == kind else ():
            level = row[fields.WAYS.index(way)]
            told[name, way] = SAME if level == SAME else expected(level, everything)
            with Forger(honest) as forger:
                file = fields.places(forger)[KINDS[kind]].file
                before = forger.decoded(file)
                fields.edit(forger, KINDS[kind], name, way)
                same = way != fields.REHASHED and before == forger.decoded(file)
                found[name, way] = SAME if same else seen_by(forger, plan, kind, everything)
    assert found == told


@pytest.mark.thorough
def test_what_no_verdict_reads_changes_none(honest: Path) -> None:
    """All such edits at once."""
    before = levels.verdicts(honest)
    unread = [(kind, name) for (kind, name), row in FIELDS.items() if row[-1] == levels.NOTHING]
    assert len(unread) > 15
    with Forger(honest) as forger:
        for words, (_, rehashed) in EDITS.items():
            if rehashed == levels.NOTHING:
                ATTACKS[words](forger)
        for kind, name in unread:
            place = fields.places(forger)[KINDS[kind]]
            forger.change(place.file, (*place.pointer, name), fields.changed(KINDS[kind], name), keep=False)
        forger.rehash()
        assert consistent(honest)
        assert levels.verdicts(honest) == before


@pytest.mark.thorough
def test_a_margin_of_another_sweep_would_change_a_verdict(honest: Path) -> None:
    """The comparison above can fail."""
    before = levels.verdicts(honest)
    with Forger(honest) as forger:
        ATTACKS["test ranks of one condition halved, final runs and trials"](forger)
        assert levels.verdicts(honest) != before
