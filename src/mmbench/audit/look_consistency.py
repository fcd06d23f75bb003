"""First level of an audit, every opening of a cell's test split: its choice, its seal and its ranks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mmbench import paths
from mmbench.audit.audited_cell import AuditedCell
from mmbench.audit.findings import Doubt, Said, hash_holds, same
from mmbench.data.held_out import CANDIDATES
from mmbench.data.interactions import Interactions
from mmbench.data.splits import PROTOCOLS, Split, sealed_fingerprint
from mmbench.messages import Message, Template
from mmbench.store import bounds, records
from mmbench.store.records import Look, table_fingerprint
from mmbench.store.schema import Choice, Seal, Stage, Training, Unit, hashed, unscored
from mmbench.tuning.cell import CellFailed
from mmbench.tuning.choice import choose

#: What is said of a final run of an earlier look that was lost, and is another one since it was repeated.
REPEATED = Template("final run {number} was repeated and is not the one that was sealed then")

#: What is said of a trial that an earlier look chose from, and that is another one since it was lost and repeated.
REPEATED_TRIAL = Template("trial {number} was repeated and is not the one that was among those chosen from then")


class LookAudit:
    """Looks of one cell.

    Args:
        audited: the cell.
        by_unit: all its trainings.
    """

    def __init__(self, audited: AuditedCell, by_unit: Mapping[Unit, Training]) -> None:
        self.audited, self.by_unit = audited, by_unit
        #: Users and items of the last ranks that were read, and their fingerprint: most files of a cell have the same.
        self._pairs: tuple[tuple[NDArray[np.int64], NDArray[np.int64]] | None, str] = None, ""

    def findings(self) -> Said:
        """Everything that is wrong with the choices and with what was looked at."""
        if not paths.choice_file(self.audited.folder).exists():
            return
        yield from self._choice(paths.choice_file(self.audited.folder))
        for folder in self.audited.looks_kept:
            yield from self._choice(paths.choice_file(folder), earlier=True)
        yield from self._looks()

    def _looks(self) -> Said:
        """Every opening of the test split, the last one too, against its choice, its final runs and its files."""
        for look in records.read_looks(self.audited.folder):
            kept = paths.look_dir(self.audited.folder, look.number)
            last = look.number > paths.looks_kept(self.audited.folder)
            file = paths.seal_file(self.audited.folder if last else kept)
            now = last and not self.audited.outgrown
            of_look = {
                **{unit: training for unit, training in self.by_unit.items() if _took_part(unit, look.trials)},
                **{
                    final.unit: final
                    for final in records.read_trainings(look.folder, Stage.FINAL, self.audited.cell.key)
                    if now or final.index in look.seal.finals
                },
            }
            yield from self._seal(file, look, of_look, now=now)
            yield from self._files(file, look, of_look, now=now)

    def _choice(self, file: Path, *, earlier: bool = False) -> Said:
        """Chosen again; among what an earlier look chose from, what was lost and repeated since stands as it was."""
        choice = records.read(file, Choice)
        yield from hash_holds(file, choice)
        trials = choice.n_trials - self.audited.cell.effort.proposals
        numbers = {Stage.TRIAL: range(trials), Stage.PROPOSAL: range(self.audited.cell.effort.proposals)}
        among = []
        for unit in (Unit(stage, number) for stage, of_stage in numbers.items() for number in of_stage):
            if unit not in self.by_unit:
                yield self.audited.record_of(unit), "record", Message("it is missing, and the choice was made among it")
                return
            among.append(self.by_unit[unit])
        try:
            again = choose(among, self.audited.cell.plan)
        except CellFailed as error:
            yield file, "record", Message("it cannot be read: {error}", error=error)
            return
        if earlier and len(choice.trials) == len(among):
            held = []
            for old, training in zip(choice.trials, among, strict=True):
                repeated = old != training.hash and self.audited.was_lost(training.unit, old)
                if repeated:
                    yield file, "trials", Doubt(Message(REPEATED_TRIAL, number=training.index))
                held.append(old if repeated else training.hash)
            again = hashed(msgspec.structs.replace(again, trials=held))
        for field in Choice.__struct_fields__:
            yield from same(file, field, getattr(choice, field), getattr(again, field))

    def _seal(self, file: Path, look: Look, by_unit: Mapping[Unit, Training], *, now: bool) -> Said:
        """The seal of a look against choice, finals and plan; of an earlier one, with S and the data of then."""
        seal, choice = look.seal, look.choice
        yield from hash_holds(file, seal)
        yield from same(file, "cell_key", seal.cell_key, self.audited.cell.key)
        yield from same(file, "choice_hash", seal.choice_hash, choice.hash)
        planned = {revision.seeds for revision in self.audited.revisions}
        seeds = self.audited.cell.effort.seeds if now or look.seeds not in planned else look.seeds
        seeds = min(seeds, len(seal.finals) + 1)  # a list as long as a record says is not made for it
        yield from same(file, "seal.finals", seal.finals, list(range(1, seeds + 1)))
        finals = [by_unit.get(Unit(Stage.FINAL, number)) for number in seal.finals]
        runs = [None if final is None else final.hash for final in finals]
        lost = set() if now else self._lost(seal)
        for place, (number, old) in enumerate(zip(seal.finals, seal.runs, strict=False)):
            if number in lost and runs[place] != old:  # what was repeated since may have come out otherwise
                if runs[place] is not None:
                    yield file, "runs", Doubt(Message(REPEATED, number=number))
                runs[place] = old
        yield from same(file, "runs", seal.runs, runs)
        for final in finals:
            if final is not None:
                record = paths.training_file(look.folder, *final.unit, paths.RECORD)
                yield from same(record, "configuration", final.configuration, choice.configuration)
        asked = self.audited.cell.config["dataset"]["protocol"]
        if asked != PROTOCOLS[0] or seal.protocol not in PROTOCOLS[1:]:  # auto stands for the one that the log allows
            yield from same(file, "protocol", seal.protocol, asked)
        empty = Interactions(np.empty(0, np.int64), np.empty(0, np.int64), 0, 0)
        masked = Split(empty, empty, empty, seal.protocol).masks_valid_at_test
        yield from same(file, "valid_masked", seal.valid_masked, masked)
        dataset = self.audited.cell.dataset
        contents = {r.data[dataset] for r in self.audited.manifest.revisions if dataset in r.data}
        if self.audited.data_print is not None and (now or len(contents) == 1):
            yield from same(file, "test_hash", seal.test_hash, self.audited.data_print.test_hash)

    def _files(self, sealed_in: Path, look: Look, by_unit: Mapping[Unit, Training], *, now: bool) -> Said:
        """Files of test ranks: those that were sealed, ranks of the whole test split, of nothing else."""
        seal, planned = look.seal, self.audited.data_print
        tested = planned is not None and seal.test_hash == planned.test_hash
        if not (now or tested):
            return  # ranks of other data were there, and have been replaced
        without = without_ranks(look, by_unit)
        said = {reason.partition(":")[0] for reason in seal.unscored}
        yield from same(sealed_in, "unscored", sorted(said - without.keys()), [])
        place = {stage: look.folder if stage == Stage.FINAL else self.audited.folder for stage in Stage}
        expected = set()
        for unit, training in by_unit.items():
            if training.succeeded and unit not in without.values():
                endings = (paths.RANKS, paths.LISTS) if unit.stage == Stage.FINAL else (paths.RANKS,)
                expected |= {paths.training_file(place[unit.stage], *unit, ending) for ending in endings}
        held = look.files()
        sealed = set(held)
        finals = {unit.number for unit, training in by_unit.items() if unit.stage == Stage.FINAL and training.succeeded}
        among = {
            paths.final_file(look.folder, number, paths.ranks_among(candidates))
            for number in finals
            for candidates in CANDIDATES
        }
        expected |= sealed & among
        shuffled = {file for file in sealed - expected if ".shuffled_" in file.name}
        for file in sorted((sealed ^ expected) - shuffled):
            yield file, "file", Message("the seal and the trainings do not name the same files")
        if now:
            folder = self.audited.folder
            there = {file for end in (paths.RANKS, paths.LISTS) for file in paths.tables_of_trainings(folder, end)}
            for file in sorted(there - sealed - expected):
                yield file, "file", Message("the seal does not name it")
        read: dict[Path, dict[str, NDArray[Any]]] = {}  # ranks that were read with their lists
        lost = set() if now else self._lost(seal)
        repeated = {paths.final_file(look.folder, number, "").name: number for number in lost}
        for file in sorted(sealed & (expected | shuffled)):
            stays = look.folder != self.audited.folder and look.folder in file.parents
            if not (now or stays):
                continue  # it was written again when the test split was opened once more, whose seal has it
            number = next((number for name, number in repeated.items() if file.name.startswith(name)), None)
            if not file.exists():
                if number is None:
                    yield file, "file", Message("it is missing")
                continue
            columns = read.pop(file, None) or bounds.read_table(file)
            if number is None:
                yield from same(file, "file", table_fingerprint(columns), held[file])
            elif table_fingerprint(columns) != held[file]:
                yield file, "file", Doubt(Message(REPEATED, number=number))
            if file.name.endswith(paths.RANKS):
                yield from self._ranks(file, columns, "" if file in among else seal.test_hash)
            else:
                ranked = file.with_name(file.name.removesuffix(paths.LISTS) + paths.RANKS)
                read[ranked] = bounds.read_table(ranked)
                yield from _lists(file, columns, read[ranked])

    def _lost(self, seal: Seal) -> set[int]:
        """Final runs of an earlier look whose record was lost."""
        runs = zip(seal.finals, seal.runs, strict=False)
        return {number for number, run in runs if self.audited.was_lost(Unit(Stage.FINAL, number), run)}

    def _ranks(self, file: Path, frame: Mapping[str, NDArray[Any]], test_hash: str) -> Said:
        """Ranks of the whole test split, or, without its hash, of what other candidates rank of it."""
        planned, ranks = self.audited.data_print, frame["rank"]
        if planned is None:
            return
        if len(ranks) and not (ranks.min() >= 1 and ranks.max() <= planned.n_items):
            yield file, "rank", Message("a rank lies outside 1 to the number of items")
        users, items = (frame[name].astype(np.int64) for name in ("user", "item"))
        known, test = self._pairs
        if not (known and np.array_equal(users, known[0]) and np.array_equal(items, known[1])):
            try:
                test = Interactions(users, items, planned.n_users, planned.n_items).fingerprint()
            except ValueError as error:
                yield file, "user", Message("it cannot be read: {error}", error=error)
                return
            self._pairs = (users, items), test
        if test_hash:
            yield from same(file, "user", sealed_fingerprint(test, planned.new_items), test_hash)


def _took_part(unit: Unit, trials: int) -> bool:
    """Whether a training was among those that a look with so many random trials chose from."""
    return unit.stage == Stage.PROPOSAL or (unit.stage == Stage.TRIAL and unit.number < trials)


def without_ranks(look: Look, by_unit: Mapping[Unit, Training]) -> dict[str, Unit]:
    """Trials and proposals of a look that rank nothing of test by its seal, by what the seal calls them."""
    tried = {unit: t for unit, t in by_unit.items() if t.succeeded and _took_part(unit, look.trials)}
    named = {unscored(training): unit for unit, training in tried.items()}
    found = {}
    for name in {reason.partition(":")[0] for reason in look.seal.unscored}:
        unit = named.get(name)
        if unit is None or paths.training_file(Path(), *unit, paths.RANKS).as_posix() in look.seal.files:
            # An earlier version called a proposal a trial, too.
            unit = named.get(name.replace("trial", "proposal"), unit)
        if unit is not None:
            found[name] = unit
    return found


def _lists(file: Path, columns: Mapping[str, NDArray[Any]], ranks: Mapping[str, NDArray[Any]]) -> Said:
    """The ranks of a run against its lists: an item of rank r is the r-th of its user's list, or beyond its end."""
    users, lists, rank = columns["user"], columns["items"], ranks["rank"]
    order = np.argsort(users, kind="stable")
    places = np.searchsorted(users, ranks["user"], sorter=order)
    rows = order[np.minimum(places, len(users) - 1)]
    listed = (rank >= 1) & (rank <= lists.shape[1])
    wrong = lists[rows[listed], rank[listed] - 1] != ranks["item"][listed]
    beyond = rank > lists.shape[1]
    held = lists[rows[beyond]] == ranks["item"][beyond][:, None]
    if wrong.any() or held.any() or (users[rows] != ranks["user"]).any() or len(np.unique(users)) < len(users):
        yield file, "items", Message("they are not those that the ranks say")
