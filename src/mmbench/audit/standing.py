"""What an audit of a sweep has shown so far, kept beside its records and shown on every page."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from mmbench import paths
from mmbench.audit.findings import Finding
from mmbench.messages import Message, Refusal, clauses
from mmbench.messages.commands import command_line
from mmbench.store import files
from mmbench.store.schema import CellName


class Level(StrEnum):
    """How far the records of a sweep have been checked."""

    STATED = "stated"
    CONSISTENT = "consistent"
    RESCORED = "re-scored"
    RETRAINED = "re-trained"


@dataclass(frozen=True)
class Standing:
    """What holds of the records with a root.

    Args:
        level: the highest level that they passed.
        root: their root.
        at: when that was found out, UTC; empty for what every report finds out anew.
        retrained: trainings that were run again and agree, bit for bit but for ``loose``.
        trainings: trainings in all.
        findings: what is wrong.
        unconfirmed: trainings whose failure the run again has not shown, and that nothing is known of.
        loose: those of ``retrained`` that were compared within a tolerance, as the bits of another machine are others.
    """

    level: Level
    root: str
    at: str = ""
    retrained: int = 0
    trainings: int = 0
    findings: list[Finding] = field(default_factory=list)
    unconfirmed: int = 0
    loose: int = 0

    @property
    def words(self) -> Message:
        """The level in words."""
        if self.level is Level.RETRAINED:
            return Message("re-trained {k} of {n} ({at})", k=self.retrained, n=self.trainings, at=self._how)
        if self.level is Level.RESCORED:
            return Message("re-scored ({at})", at=self.at)
        return Message("consistent") if self.level is Level.CONSISTENT else Message("stated")

    @property
    def _how(self) -> str:
        """When, and how trainings were compared where that was not bit for bit for all."""
        parts = []
        if self.loose:
            parts += [Message("{n} bit for bit", n=self.retrained - self.loose), Message("{n} loosely", n=self.loose)]
        if self.unconfirmed:
            parts.append(Message("{n} not confirmed", n=self.unconfirmed))
        return clauses([*parts, self.at])


#: Of records that nobody has looked at.
UNCHECKED = Standing(Level.STATED, "")


def keep(sweep_dir: Path, standing: Standing) -> None:
    """Write what an audit found beside the records."""
    files.write_document(paths.audit_file(sweep_dir), asdict(standing))


def read(sweep_dir: Path, root: str, findings: list[Finding], audited: bool = True) -> Standing:
    """What holds of the records as they are now.

    An audit of records with another root says nothing about these, nor does one that is contradicted by what is found
    now.

    Args:
        sweep_dir: folder of the sweep.
        root: root of its records now.
        findings: what the first level finds now.
        audited: whether what is kept beside the records counts.
    """
    if any(not finding.doubt for finding in findings):
        return Standing(Level.STATED, root, findings=findings)
    file = paths.audit_file(sweep_dir)
    if audited and file.exists():
        known = {(finding.file, finding.field) for finding in findings}
        try:
            before = _kept(file)
        except (ValueError, KeyError, TypeError) as error:
            raise Refusal(
                "{path} holds no audit that can be read; delete it, or have it written again by {command}: no record "
                "rests on it",
                path=file,
                command=command_line(["audit", str(sweep_dir)]),
            ) from error
        if before.root == root:
            kept = [finding for finding in before.findings if (finding.file, finding.field) not in known]
            return replace(before, findings=[*findings, *kept])
    return Standing(Level.CONSISTENT, root, findings=findings)


def _kept(file: Path) -> Standing:
    """What :func:`keep` wrote.

    Raises:
        ValueError: for a document of another shape, or with counts that no audit has.
    """
    document = files.read_document(file)
    kept = Standing(
        Level(document["level"]),
        document["root"],
        document["at"],
        document["retrained"],
        document["trainings"],
        [
            Finding(
                _cell(f["cell"]),
                f["file"],
                f["field"],
                Message("found by an audit: {said}", said=f["reason"]),
                f.get("doubt", False),
                f.get("touches_verdicts", True),
            )
            for f in document["findings"]
        ],
        document.get("unconfirmed", 0),
        document.get("loose", 0),
    )
    counts = kept.loose, kept.retrained, kept.unconfirmed, kept.trainings
    whole = all(type(n) is int and n >= 0 for n in counts)
    if not (whole and kept.loose <= kept.retrained <= kept.trainings - kept.unconfirmed):
        raise ValueError(counts)
    return kept


def _cell(name: list[str] | None) -> CellName | None:
    return None if name is None else CellName(*name)
