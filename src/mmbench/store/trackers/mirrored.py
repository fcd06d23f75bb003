"""What a tracker is shown: whole runs, because nothing is mirrored before it is recorded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from mmbench.store.schema import CellName

#: What a run ends with or has at a step: numbers, words, or nothing.
Value = float | int | bool | str | None


@dataclass(frozen=True)
class Gap:
    """A tuned gain that the summary run shows.

    Args:
        name: model and contrast, with the data set where there are several.
        mean: the gain, as a fraction.
        lo: its lower bound; None without bounds.
        hi: its upper bound.
        verdict: the word on it.
        level: coverage of the bounds, more at a further look; None where the table does not say it.
        no_word: why there are no bounds or no word; None where there are.
    """

    name: str
    mean: float
    lo: float | None
    hi: float | None
    verdict: str
    level: float | None = None
    no_word: str | None = None


@dataclass(frozen=True)
class Grid:
    """A table of the report: names of its columns, and its rows with None where there is nothing."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Summary:
    """What the summary run of a sweep shows of its report.

    Args:
        gaps: every gap.
        tables: tables by name.
        figures: pictures by name.
        decision: what was decided about images, empty where nothing was.
        proof: how far the records have been checked, their root and the hash of the plan.
    """

    gaps: Sequence[Gap] = ()
    tables: Mapping[str, Grid] = field(default_factory=dict)
    figures: Mapping[str, Path] = field(default_factory=dict)
    decision: Mapping[str, Any] = field(default_factory=dict)
    proof: Mapping[str, str] = field(default_factory=dict)

    @property
    def results(self) -> dict[str, Value]:
        """Every gap with its bounds, their level and its verdict, the decision, and the proof, by name."""
        results: dict[str, Value] = {}
        for gap in self.gaps:
            bounds = {"": gap.mean, "/lo": gap.lo, "/hi": gap.hi, "/level": gap.level}
            shown = {**bounds, "/verdict": gap.verdict, "/no_word": gap.no_word}
            results |= {f"gap/{gap.name}{name}": value for name, value in shown.items() if value is not None}
        results |= {f"decision/{name}": value for name, value in self.decision.items()}
        return results | {f"proof/{name}": value for name, value in self.proof.items()}


@dataclass(frozen=True)
class Run:
    """One entry of a tracker.

    Args:
        sweep: name of the sweep.
        identity: what makes it the same run when it is shown again.
        kind: ``study``, ``trial``, ``proposal``, ``final`` or ``summary``.
        number: number of a training; None for any other run.
        cell: the cell that it is of; None for the summary.
        config: configuration of the cell, with the values of the training.
        steps: numbers of steps, and what each one has.
        results: what the run ends with.
        tables: tables by name.
        figures: pictures by name.
    """

    sweep: str
    identity: str
    kind: str
    number: int | None = None
    cell: CellName | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    steps: Sequence[tuple[int, Mapping[str, Value]]] = ()
    results: Mapping[str, Value] = field(default_factory=dict)
    tables: Mapping[str, Grid] = field(default_factory=dict)
    figures: Mapping[str, Path] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Its name within the cell, as the files of a training are called."""
        if self.number is None:
            return self.kind
        return f"seed{self.number}" if self.kind == "final" else f"{self.kind}{self.number:03d}"

    @property
    def name(self) -> str:
        """Its name among all runs of the sweep."""
        return f"{self.sweep if self.cell is None else self.cell}/{self.title}"

    @property
    def flat_config(self) -> dict[str, Value]:
        """The configuration by dotted path; lists as texts."""
        return dict(_flat(self.config, ""))


def _flat(section: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Value]]:
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, Value) else str(value)


class Client(ABC):
    """One tracker. What it raises costs a warning, never a result."""

    #: What it is called in messages, the library it needs, and the extra that brings it; no extra for one that comes
    #: with mmbench, no library for one that needs none.
    title: ClassVar[str]
    library: ClassVar[str | None] = None
    extra: ClassVar[str | None] = None

    @abstractmethod
    def show(self, run: Run) -> None:
        """Write a run; one of the same identity is replaced or gone on with, not repeated."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Release what :meth:`show` has opened."""
