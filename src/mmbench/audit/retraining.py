"""Third level of an audit: some trainings, drawn by the auditor, are run again from their seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmbench import fingerprint, paths
from mmbench.audit.findings import Finding, folder_of, read_aside, refuse_short_of_memory
from mmbench.audit.recorded import Recorded
from mmbench.data.recdata import make_recdata
from mmbench.evaluation.metrics import per_user
from mmbench.extensions import kept_alive
from mmbench.messages import Message, Refusal
from mmbench.messages.refused import told
from mmbench.sealing.score_test import evaluator_of_test, ranked
from mmbench.store import ledger, records
from mmbench.store.crashes import OF_THE_MACHINE
from mmbench.store.records import read_ranking
from mmbench.store.schema import SHORT_OF_MEMORY, Manifest, PlannedCell, Stage, Training, Unit
from mmbench.training.fit import machine, rebuild
from mmbench.training.settings import check_machine
from mmbench.training.stopping import SELECTION_METRIC
from mmbench.tuning.study import Trained, recipe_of, train

#: Where the bits of a result are another machine's, validation scores may differ by this share of the best one: the
#: mean over the epochs that both trainings ran, and the best score. So may the score on test.
TOLERANCE = 0.05
#: Share of altered trainings that the printed probability speaks of.
ALTERED = 0.1


class Place(NamedTuple):
    """A training of a sweep: its cell, which of the cell's, and the hash of its record."""

    planned: PlannedCell
    unit: Unit
    hash: str


@dataclass(frozen=True)
class Retrained:
    """One training that was run again.

    Args:
        place: which.
        finding: what differs; None where nothing does.
        exact: whether it was compared bit for bit; otherwise within :data:`TOLERANCE`.
        confirmed: whether it could be compared; not one that failed for want of memory or with its worker and does not
            here, nor one whose state is that of another epoch here.
        before: whether an audit that was stopped has run it again, and it agreed.
    """

    place: Place
    finding: Finding | None
    exact: bool
    confirmed: bool = True
    before: bool = False

    @property
    def agrees(self) -> bool:
        """Whether it was compared, and nothing differs."""
        return self.confirmed and self.finding is None


def all_trainings(sweep_dir: Path) -> list[Place]:
    """Every training of a sweep that a verdict may rest on, once each, in a fixed order."""
    manifest = records.read(paths.manifest_file(sweep_dir), Manifest)
    places = []
    # By folder, for copies of a cell in the plan would have a sample miss what was altered in the others.
    for folder, planned in {folder_of(sweep_dir, cell): cell for cell in manifest.cells}.items():
        if not paths.cell_file(folder).exists():
            continue
        trainings = [t for stage in Stage for t in records.read_trainings(folder, stage, planned.key)]
        trainings += [t for _, t in read_aside(folder, planned.key)]  # words of earlier looks rest on them
        places += [Place(planned, training.unit, training.hash) for training in trainings]
    return places


def draw(places: Sequence[Place], n: int, root: str, number: int) -> list[Place]:
    """A sample that nobody can foresee who knows only one of the root and the auditor's number.

    Args:
        places: what is drawn from.
        n: how many; all of them where there are fewer.
        root: root of the records, which every altered record changes.
        number: the auditor's own number.
    """
    seed = int(fingerprint.of_json([root, number]), 16)
    chosen = np.random.default_rng(seed).permutation(len(places))[:n]
    return [places[k] for k in sorted(chosen)]


def machines_of(sweep_dir: Path, places: Sequence[Place]) -> dict[str, str | None]:
    """Where trainings ran, by the hash of their record, as the ledger has it."""
    wanted, found = {place.hash for place in places}, dict[str, str | None]()
    for row in ledger.read(sweep_dir):
        if row.hash in wanted:
            found.setdefault(row.hash, row.cost.machine)
    return found


def retrain(recorded: Recorded, place: Place, graph_dir: Path, machines: Mapping[str, str | None]) -> Retrained:
    """Run one training again and compare it with its record.

    Args:
        recorded: its cell.
        place: which training.
        graph_dir: where large item graphs are kept; never in the sweep.
        machines: what :func:`machines_of` found.

    Raises:
        ValueError: if this machine cannot train what it did, for want of memory too.
    """
    store, training = recorded.training(place.hash)
    settings = recipe_of(recorded.task, training.configuration)[1]
    # Otherwise it would fail here, as if its record were not true.
    check_machine(settings.accelerator, settings.precision, compiled=settings.compile)
    trained = train(recorded.task, recorded.store, place.unit, training.configuration, graph_dir)
    again = trained.record
    if training.succeeded and again.failure is not None and again.failure.reason.startswith(SHORT_OF_MEMORY):
        raise Refusal(told(MemoryError(again.failure.reason.removeprefix(SHORT_OF_MEMORY))))
    if training.failure is not None and training.failure.reason.startswith(OF_THE_MACHINE):
        same = again.failure is not None and again.failure.reason.startswith(SHORT_OF_MEMORY)
        return Retrained(place, None, exact=False, confirmed=same)
    # The machine is the ledger's word, which no hash covers: whoever writes another one has the training counted as
    # loose, and the same bits are the same bits whatever it says.
    here = again.versions_hash == training.versions_hash and machine(settings) == machines.get(training.hash)
    exact = here or again.hash == training.hash
    file = store.training_file(place.unit, paths.RECORD)
    field = _differs(training, again) if exact else _strays(training, again)
    confirmed = True
    if field is None and not exact and training.course is not None and again.course is not None:
        # Of two epochs that are nearly as good another machine may keep the other one, whose ranks are others.
        confirmed = again.course.best_epoch == training.course.best_epoch
        ranks = store.training_file(place.unit, paths.RANKS)
        if confirmed and _strays_on_test(recorded, ranks, training, trained, graph_dir):
            file, field = ranks, SELECTION_METRIC
    reason = Message("trained again from its seed it comes out otherwise")
    name = file.relative_to(recorded.store.sweep_dir).as_posix()
    finding = None if field is None else Finding(place.planned.name, name, field, reason)
    return Retrained(place, finding, exact, confirmed)


def _differs(training: Training, again: Training) -> str | None:
    """The first field that is not the same, bit for bit; the hashes of arrays come before what is derived of them."""
    if training.hash == again.hash:
        return None
    order = ("failure", "state_hash", "validation_hash", "course")
    fields = [*order, *(name for name in training.__struct_fields__ if name not in order)]
    return next((name for name in fields if getattr(training, name) != getattr(again, name)), "hash")


def _strays(training: Training, again: Training) -> str | None:
    """Whether the learning curves lie too far apart for another machine or version to be the reason."""
    if training.course is None or again.course is None:
        return None if training.course is again.course else "failure"
    common = min(training.course.epochs, again.course.epochs)
    curves = [np.array(t.history[:common]) for t in (training.course, again.course)]
    best = max(training.course.best, again.course.best)
    apart = max(float(np.abs(curves[0] - curves[1]).mean()), abs(training.course.validated - again.course.validated))
    return "course.history" if apart > TOLERANCE * best else None


def _strays_on_test(recorded: Recorded, file: Path, training: Training, trained: Trained, graph_dir: Path) -> bool:
    """Whether the model that was trained again scores too far from the ranks of test that were stored in a file."""
    if not file.exists():
        return False
    task = recorded.task
    build, settings = task.recipe(training.configuration)
    data = make_recdata(task.train, task.inputs(training.seed))
    try:
        with kept_alive():
            model = rebuild(build, data, trained.state, settings, training.seed, graph_dir=graph_dir)
            ranking = ranked(evaluator_of_test(task, recorded.split), model, trained.record)
    except (Refusal, OSError):
        raise  # of this machine, as a full disk
    except Exception as error:  # scores that rank nothing among them: what was ranked before can be ranked again
        refuse_short_of_memory(error)
        return True
    before, now = (float(per_user(pairs, SELECTION_METRIC).mean()) for pairs in (read_ranking(file), ranking.pairs))
    return abs(before - now) > TOLERANCE * max(before, now)


def chance(n: int, drawn: int) -> float:
    """Probability that a sample holds an altered training, had a tenth of all been altered.

    Args:
        n: trainings in all.
        drawn: trainings in the sample.
    """
    altered = math.ceil(ALTERED * n)
    return 1.0 - math.comb(n - altered, drawn) / math.comb(n, drawn)


def needed(n: int, probability: float = 0.95) -> int:
    """Size of the sample for which :func:`chance` reaches a probability."""
    return next(k for k in range(n + 1) if chance(n, k) >= probability)
