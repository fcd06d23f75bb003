"""Geometry of the small charts of a page: numbers in, positions and labels out; the templates draw them as SVG.

They are 360 units wide, a phone's width, and keep their text as text, so that they follow the page's colours, light or
dark, and can be read aloud. Figures for papers are :mod:`mmbench.report.charts`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

WIDTH, MARGIN = 360.0, 12.0
ROW = 38.0


@dataclass(frozen=True)
class Axis:
    """A linear axis from ``lo`` to ``hi`` over the width of a chart."""

    lo: float
    hi: float

    @staticmethod
    def over(values: Iterable[float], pad: float = 0.06) -> Axis:
        """The axis over finite values and some room beside them."""
        finite = [v for v in values if math.isfinite(v)] or [0.0, 1.0]
        lo, hi = min(finite), max(finite)
        room = pad * (hi - lo) or max(abs(hi), 1.0) * pad
        return Axis(lo - room, hi + room)

    def at(self, value: float) -> float:
        """Position of a value, held inside the chart."""
        share = (value - self.lo) / (self.hi - self.lo)
        return round(MARGIN + min(max(share, 0.0), 1.0) * (WIDTH - 2 * MARGIN), 2)

    def ticks(self, most: int = 5) -> list[float]:
        """Round values on the axis, at most ``most`` of them."""
        step = 10 ** math.floor(math.log10((self.hi - self.lo) / most))
        step *= next(f for f in (1, 2, 5, 10) if (self.hi - self.lo) / (f * step) <= most)
        first = math.ceil(self.lo / step)
        return [round(n * step, 12) + 0.0 for n in range(first, math.floor(self.hi / step) + 1)]


@dataclass(frozen=True)
class Tick:
    """A labelled position; ``anchor`` keeps its text inside the chart."""

    x: float
    text: str

    @property
    def anchor(self) -> str:
        """``start``, ``middle`` or ``end``."""
        return "start" if self.x < 60 else "end" if self.x > WIDTH - 60 else "middle"


@dataclass(frozen=True)
class Hero:
    """The gain with its range, the band of equivalence and the break-even line."""

    band: tuple[float, float]
    zero: Tick
    need: Tick
    mean: Tick
    range: tuple[float, float] | None
    ticks: list[Tick]


def hero(
    mean: float, bounds: tuple[float, float] | None, need: float, delta: float, say: Callable[[float], str], label: str
) -> Hero:
    """Lay out the hero plot.

    Args:
        mean: the gain.
        bounds: its range; None where it is not known.
        need: break-even gain.
        delta: equivalence margin.
        say: how a gain is written.
        label: text of the break-even line.
    """
    axis = Axis.over([mean, *(bounds or ()), need, -delta, delta, 0.0])
    ticks = [Tick(axis.at(v), say(v)) for v in axis.ticks()]
    ends = None if bounds is None else (axis.at(bounds[0]), axis.at(bounds[1]))
    zero, needed = Tick(axis.at(0.0), ""), Tick(axis.at(need), label)
    return Hero((axis.at(-delta), axis.at(delta)), zero, needed, Tick(axis.at(mean), say(mean)), ends, ticks)


@dataclass(frozen=True)
class Row:
    """One line of a chart of rows: names above, a bar from ``x1`` to ``x2``, perhaps a dot and a mark."""

    y: float
    name: str
    note: str
    x1: float
    x2: float
    dot: float | None = None
    mark: float | None = None
    tone: str = "a"

    @property
    def left(self) -> float:
        """Where the bar begins."""
        return min(self.x1, self.x2)

    @property
    def width(self) -> float:
        """Its length, wide enough to be seen."""
        return round(max(abs(self.x2 - self.x1), 1.0), 2)


@dataclass(frozen=True)
class Rows:
    """A chart of rows."""

    rows: list[Row]
    zero: float
    height: float


def _laid(axis: Axis, rows: list[Row]) -> Rows:
    return Rows(rows, axis.at(0.0), ROW * len(rows) + 4)


def swings(lines: Sequence[tuple[str, str, float, float]]) -> Rows:
    """Bars between two values: name, note, one end, other end."""
    axis = Axis.over([0.0, *(v for line in lines for v in line[2:])], 0.02)
    rows = [Row(i * ROW, n, note, axis.at(a), axis.at(b)) for i, (n, note, a, b) in enumerate(lines)]
    return _laid(axis, rows)


def intervals(lines: Sequence[tuple[str, str, float, float, float]]) -> Rows:
    """Dots with their ranges: name, note, value, lower, upper."""
    axis = Axis.over([0.0, *(v for line in lines for v in line[2:])], 0.02)
    rows = [
        Row(i * ROW, name, note, axis.at(lo), axis.at(hi), dot=axis.at(value))
        for i, (name, note, value, lo, hi) in enumerate(lines)
    ]
    return _laid(axis, rows)


def bars(lines: Sequence[tuple[str, str, float, float | None]]) -> Rows:
    """Bars from zero with a mark: name, note, value, mark."""
    axis = Axis.over([0.0, *(v for line in lines for v in line[2:] if v is not None)], 0.02)
    rows = [
        Row(
            i * ROW, name, note, axis.at(0.0), axis.at(value), None, None if floor is None else axis.at(floor),
            "a" if value >= 0 else "b",
        )
        for i, (name, note, value, floor) in enumerate(lines)
    ]  # fmt: skip
    return _laid(axis, rows)


def stack(amounts: Sequence[float]) -> list[tuple[float, float]]:
    """Left end and width of each part of one bar."""
    total, left, found = sum(amounts) or 1.0, MARGIN, []
    for amount in amounts:
        width = (WIDTH - 2 * MARGIN) * amount / total
        found.append((round(left, 2), round(width, 2)))
        left += width
    return found


@dataclass(frozen=True)
class Columns:
    """A histogram: left end, top, width, height and tone (``a`` profit, ``b`` loss) of each column."""

    columns: list[tuple[float, float, float, float, str]]
    zero: float | None
    ticks: list[Tick]


def histogram(counts: Sequence[int], lo: float, hi: float, say: Callable[[float], str], height: float) -> Columns:
    """Columns of equal bins from ``lo`` to ``hi``."""
    if not hi > lo:
        lo, hi = lo - 0.5, hi + 0.5
    axis, width, most = Axis(lo, hi), (hi - lo) / len(counts), max(counts) or 1
    columns = []
    for i, count in enumerate(counts):
        left, right = lo + i * width, lo + (i + 1) * width
        tall = round(height * count / most, 2)
        tone = "a" if (left + right) / 2 > 0 else "b"
        columns.append((axis.at(left), round(height - tall, 2), round(axis.at(right) - axis.at(left), 2), tall, tone))
    ticks = [Tick(axis.at(v), say(v)) for v in axis.ticks(4)]
    return Columns(columns, axis.at(0.0) if lo < 0 < hi else None, ticks)
