"""An audit of a sweep: one level after the other, as far as it is asked and as the records pass."""

from __future__ import annotations

import functools
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mmbench import paths
from mmbench.audit import consistency, retraining, standing
from mmbench.audit.findings import Finding, findings
from mmbench.audit.processes import Pace, Say, spread, workers_here
from mmbench.audit.progress import Progress, mark_of
from mmbench.audit.recorded import Recorded, Sources
from mmbench.audit.rescoring import rescore
from mmbench.audit.retraining import Place, Retrained
from mmbench.audit.root import root_of
from mmbench.audit.standing import Level, Standing
from mmbench.messages import Message, Refusal
from mmbench.messages.refused import reason
from mmbench.store import ledger, records
from mmbench.store.schema import DataPrint, Manifest, PlannedCell, Revision


@dataclass(frozen=True)
class Asked:
    """How far an audit goes.

    Args:
        retrain: trainings to run again; 0 for none.
        number: the auditor's own number, which the sample is drawn with.
        workers: processes; None for as many as :func:`mmbench.audit.processes.workers_here` finds.
    """

    retrain: int = 0
    number: int = 0
    workers: int | None = 1


@dataclass(frozen=True)
class Rescored:
    """A cell that was ranked again.

    Args:
        found: what is not what its data and states give.
        before: whether an audit that was stopped has ranked it, and found nothing.
    """

    found: list[Finding]
    before: bool = False


def audit(sweep_dir: Path, asked: Asked, sources: Sources, say: Say) -> Standing:
    """Check the records of a sweep, rank its states again, and run some of its trainings again.

    What an audit that was stopped has shown of the same files, data and versions is not computed once more.

    Args:
        sweep_dir: folder of the sweep.
        asked: how far.
        sources: what may be used besides the records.
        say: told what is under way and what was found.

    Returns:
        What was shown; it is kept beside the records, where they can be written to.

    Raises:
        ValueError: if the folder is no sweep, leads out of itself, its data or models cannot be read here, or the
            memory is too short for an audit.
    """
    sources.trust.check_folder(sweep_dir)
    found, root = consistency.check(sweep_dir), root_of(sweep_dir)
    say(Message("root {root}", root=root))
    say(_told(Level.CONSISTENT, found))
    if _wrong(found):
        return _kept(sweep_dir, Standing(Level.STATED, root, ledger.now(), findings=found), say)
    manifest = records.read(paths.manifest_file(sweep_dir), Manifest)
    places = retraining.all_trainings(sweep_dir)
    if not places:
        say(Message("no training has ended yet: there is nothing to rank or to train again"))
        return _kept(sweep_dir, Standing(Level.CONSISTENT, root, ledger.now(), findings=found), say)
    workers = workers_here(sweep_dir) if asked.workers is None else asked.workers
    progress = Progress.of(root)
    again = unconfirmed = loose = 0
    say(Message.counted("{n} training is ranked again", "{n} trainings are ranked again", len(places)))
    with tempfile.TemporaryDirectory() as graphs:
        trainings = Counter(place.planned.name for place in places)
        # Those with most trainings first, so that processes end together.
        cells = sorted((cell for cell in manifest.cells if trainings[cell.name]), key=lambda c: -trainings[c.name])
        rescored = functools.partial(_rescored, sweep_dir, manifest.data, sources, Path(graphs), progress)
        pace = Pace(say, [trainings[cell.name] for cell in cells])
        ranked = spread(rescored, cells, workers, lambda piece, result: pace(piece, before=result.before))
        found += [finding for result in ranked for finding in result.found]
        if before := sum(trainings[cell.name] for cell, result in zip(cells, ranked, strict=True) if result.before):
            say(
                Message.counted(
                    "{n} of them was ranked by an audit that was stopped, from the same files, data and versions",
                    "{n} of them were ranked by an audit that was stopped, from the same files, data and versions",
                    before,
                )
            )
        say(_told(Level.RESCORED, found))
        level = Level.CONSISTENT if _wrong(found) else Level.RESCORED
        if not _wrong(found) and asked.retrain:
            drawn = retraining.draw(places, asked.retrain, root, asked.number)
            names = ", ".join(map(_named, drawn))
            machines = retraining.machines_of(sweep_dir, drawn)
            say(Message("drawn with the number {number}: {places}", number=asked.number, places=names))
            retrained = functools.partial(_retrained, sweep_dir, sources, Path(graphs), machines, progress)
            pace = Pace(say, [1] * len(drawn))
            results = spread(retrained, drawn, workers, lambda piece, result: pace(piece, before=result.before))
            found += [result.finding for result in results if result.finding is not None]
            again = sum(result.agrees for result in results)
            unconfirmed = sum(not result.confirmed for result in results)
            loose = sum(result.agrees and not result.exact for result in results)
            for sentence in _shown(len(places), results):
                say(sentence)
            level = level if _wrong(found) else Level.RETRAINED
    progress.forget()
    held = Standing(level, root, ledger.now(), again, len(places), found, unconfirmed, loose)
    return _kept(sweep_dir, held, say)


def _kept(sweep_dir: Path, held: Standing, say: Say) -> Standing:
    try:
        standing.keep(sweep_dir, held)
    except OSError as error:
        # On an auditor's copy that can only be read, or a full disk, what was found is told all the same.
        say(
            Message(
                "{file} cannot be written, so no page will show this audit: {error}",
                file=paths.audit_file(sweep_dir),
                error=reason(error),
            )
        )
    return held


def _named(place: Place) -> str:
    return f"{place.planned.name}/{place.unit.stage} {place.unit.number}"


def _wrong(found: Sequence[Finding]) -> list[Finding]:
    """What is wrong, without what only cannot be confirmed."""
    return [finding for finding in found if not finding.doubt]


def _told(level: Level, found: Sequence[Finding]) -> Message:
    word = Message("consistent") if level is Level.CONSISTENT else Message("re-scored")
    n, doubts = len(_wrong(found)), len(found) - len(_wrong(found))
    if n:
        return Message.counted("{level}: {n} thing is wrong", "{level}: {n} things are wrong", n, level=word)
    if doubts:
        return Message.counted(
            "{level}: nothing is wrong, {n} thing is not confirmed",
            "{level}: nothing is wrong, {n} things are not confirmed",
            doubts,
            level=word,
        )
    return Message("{level}: nothing is wrong", level=word)


def _shown(n: int, results: Sequence[Retrained]) -> Iterator[Message]:
    """What the sample shows."""
    agree, drawn = sum(result.agrees for result in results), len(results)
    loosely = sum(result.confirmed and not result.exact for result in results)
    unconfirmed = sum(not result.confirmed for result in results)
    yield Message("{agree} of {drawn} trainings agree, of {n} in all", agree=agree, drawn=drawn, n=n)
    if before := sum(result.before for result in results):
        yield Message.counted(
            "{n} of them was run again by an audit that was stopped, from the same files, data and versions",
            "{n} of them were run again by an audit that was stopped, from the same files, data and versions",
            before,
        )
    if loosely:
        yield Message.counted(
            "{n} was trained on another machine or by other versions: its learning curve and its score on test were "
            "compared, to {tolerance} %",
            "{n} were trained on another machine or by other versions: their learning curves and scores on test were "
            "compared, to {tolerance} %",
            loosely,
            tolerance=round(100 * retraining.TOLERANCE),
        )
    if unconfirmed:
        yield Message.counted(
            "{n} cannot be confirmed, and what follows does not speak of it: it failed for want of memory or with its "
            "worker and does not here, or its best epoch is another one here",
            "{n} cannot be confirmed, and what follows does not speak of them: they failed for want of memory or with "
            "their workers and do not here, or their best epochs are other ones here",
            unconfirmed,
        )
    if agree + unconfirmed == drawn:
        exact = sum(result.agrees and result.exact for result in results)
        chance, needed = round(100 * retraining.chance(n, exact)), retraining.needed(n)
        if exact == agree:
            yield Message(
                "had a tenth been altered, this would have found one with probability {chance} %; {needed} trainings "
                "would with 95 %",
                chance=chance,
                needed=needed,
            )
        else:
            yield Message(
                "had a tenth been altered, the {exact} compared bit for bit would have found one with probability "
                "{chance} %; {needed} of that kind would with 95 %",
                exact=exact,
                chance=chance,
                needed=needed,
            )


def _rescored(
    sweep_dir: Path,
    data: Mapping[str, DataPrint],
    sources: Sources,
    graph_dir: Path,
    progress: Progress,
    planned: PlannedCell,
) -> Rescored:
    """What ranking a cell again finds."""
    recorded = Recorded.read(sweep_dir, planned, sources)
    said = data[planned.dataset]
    mark = mark_of(recorded, recorded.store.folder.rglob("*"), msgspec.to_builtins(said))
    if progress.holds(mark):
        return Rescored([], before=True)
    found = findings(sweep_dir, planned.name, rescore(recorded, said, graph_dir))
    if not found:
        progress.note(mark)
    return Rescored(found)


def _retrained(
    sweep_dir: Path,
    sources: Sources,
    graph_dir: Path,
    machines: Mapping[str, str | None],
    progress: Progress,
    place: Place,
) -> Retrained:
    recorded = Recorded.read(sweep_dir, place.planned, sources)
    files = paths.training_files(recorded.training(place.hash)[0].folder, *place.unit)
    marks = {exact: mark_of(recorded, files, "trained again", exact) for exact in (True, False)}
    for exact, mark in marks.items():
        if progress.holds(mark):
            return Retrained(place, None, exact, before=True)
    result = retraining.retrain(recorded, place, graph_dir, machines)
    if result.agrees:
        progress.note(marks[result.exact])
    return result


def check_kept_elsewhere(sweep_dir: Path, plan_hash: str, root: str) -> list[Finding]:
    """Compare with a hash of the plan and a root that were kept elsewhere; empty ones are not compared.

    What was planned by then must still be planned: the same cells and data, with at least as many trainings.
    """
    manifest = records.read(paths.manifest_file(sweep_dir), Manifest)
    file, found = paths.manifest_file(sweep_dir).name, []
    if plan_hash:
        found += [Finding(None, file, "plan", reason) for reason in _left_of_plan(manifest, plan_hash)]
    if root and root != root_of(sweep_dir):
        found.append(Finding(None, file, "root", Message("the records have another root than the one kept elsewhere")))
    return found


def _left_of_plan(manifest: Manifest, plan_hash: str) -> Iterator[Message]:
    """What of the plan with a hash does not stand any more."""
    place = next((n for n, revision in enumerate(manifest.revisions, 1) if revision.hash == plan_hash), None)
    if place is None:
        yield Message("no revision of the plan has the hash that was kept elsewhere")
        return
    now = {str(cell.name): cell for cell in manifest.cells}
    kept: dict[str, Revision] = {}
    content: dict[str, str] = {}
    for revision in manifest.revisions[:place]:
        kept |= dict.fromkeys(revision.cells, revision)
        content |= revision.data
    for name, revision in kept.items():
        cell = now.get(name)
        if cell is None or cell.key != revision.cells[name]:
            yield Message("{cell} has other settings or data than in the plan that was kept elsewhere", cell=name)
        elif cell.trials < revision.trials or cell.seeds < revision.seeds:
            yield Message("{cell} has fewer trainings than in the plan that was kept elsewhere", cell=name)
    latest = {name: held for revision in manifest.revisions for name, held in revision.data.items()}
    for dataset, held in content.items():
        if latest[dataset] != held:
            yield Message("{dataset} had other rows or features in the plan that was kept elsewhere", dataset=dataset)


def refuse_short(kept: str, name: str) -> None:
    """Refuse what is no SHA-256.

    Raises:
        ValueError: naming the option.
    """
    if kept and (len(kept) != 64 or set(kept) - set("0123456789abcdef")):
        raise Refusal("{name} {value} is no hash: 64 digits of 0 to 9 and a to f", name=name, value=kept)
