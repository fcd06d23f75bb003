"""The charts of the decision page, drawn by matplotlib as SVG with real text.

They are :data:`WIDTH` units wide, a phone's width, and take colours and font from the page, light or dark.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmbench.inference.intervals import Interval
from mmbench.report.charts import STYLE, styled, svg

#: Units of a chart's width, of the room beside its axis, and of the height of a row.
WIDTH, MARGIN, ROW = 360, 12, 38
#: Colours as the light page has them, and the names under which the page knows them.
INK, QUIET, LINE, BLUE, ORANGE = "#1c1c1c", "#55585c", "#d6d6d6", "#0072b2", "#b84a00"
PARTS = (BLUE, "#e69f00", "#009e73", "#cc79a7")
NAMES: Mapping[str, str] = {
    INK: "ink", QUIET: "quiet", LINE: "line", BLUE: "blue", ORANGE: "orange",
    PARTS[1]: "c1", PARTS[2]: "c2", PARTS[3]: "c3",
}  # fmt: skip
SMALL, TEXT, LARGE = 11, 12, 14
#: Labels nearer to an end of a chart than this are written inwards.
INWARDS = 60
Side = Literal["left", "center", "right"]


@dataclass(frozen=True)
class Line:
    """One row of a chart: a bar or an interval below its name.

    Args:
        name: what it is about.
        note: its number in words, at the other end of the line.
        ends: ends of the bar, or bounds of the interval.
        value: estimate within the interval; None draws a bar.
        mark: what the bar is held against; None where there is nothing.
        negative: whether the bar has the colour of what is below zero.
    """

    name: str
    note: str
    ends: tuple[float, float]
    value: float | None = None
    mark: float | None = None
    negative: bool = False


def hero(gain: Interval, bounded: bool, need: float, say: Callable[[float], str], labels: Labels) -> Markup:
    """The gain with its range, the break-even line and the band of changes that are smaller than break-even.

    Args:
        gain: the gain.
        bounded: whether its range is known.
        need: break-even gain.
        say: how a gain is written.
        labels: text of the break-even line, and of the whole chart for those who do not see it.
    """
    values = [gain.mean, need, -need, 0.0, *((gain.lo, gain.hi) if bounded else ())]

    def paint(axes: Axes) -> None:
        _scale(axes, values, 0.06)
        axes.set_ylim(86, 0)
        _ticks(axes, say, 5)
        axes.fill_between((-need, need), 20, 82, color=LINE, alpha=0.7, linewidth=0)
        axes.vlines(0.0, 20, 82, color=QUIET, linewidth=1)
        axes.vlines(need, 18, 86, color=ORANGE, linewidth=2, linestyle=(0, (2.5, 1.5)), gid="need")
        axes.text(need, 12, labels.line, ha=_inwards(axes, need), color=ORANGE, fontsize=TEXT, weight="bold")
        if bounded:
            axes.plot(
                (gain.lo, gain.hi), (62, 62), color=BLUE, alpha=0.55, linewidth=6, solid_capstyle="round", gid="range"
            )
        axes.plot(gain.mean, 62, "o", color=BLUE, markersize=12, markeredgewidth=0, gid="mean")
        axes.text(gain.mean, 48, say(gain.mean), ha=_inwards(axes, gain.mean), fontsize=LARGE, weight="bold", color=INK)

    return _draw(paint, 112, labels.whole, axis=26)


@dataclass(frozen=True)
class Labels:
    """Texts of a chart: of its line, and of the whole for those who do not see it."""

    line: str
    whole: str


def rows(lines: Sequence[Line], title: str) -> Markup:
    """Bars or intervals below each other, each with its name and its number above."""
    values = [0.0, *(v for line in lines for v in (*line.ends, line.value, line.mark) if v is not None)]
    height = ROW * len(lines) + 4

    def paint(axes: Axes) -> None:
        _scale(axes, values, 0.02)
        axes.set_ylim(height, 0)
        least = (axes.get_xlim()[1] - axes.get_xlim()[0]) / (WIDTH - 2 * MARGIN)  # one unit, enough to be seen
        place = axes.get_yaxis_transform()
        beside = MARGIN / (WIDTH - 2 * MARGIN)
        for number, line in enumerate(lines):
            y, (first, last) = number * ROW, line.ends
            axes.vlines(0.0, y + 16, y + 36, color=QUIET, linewidth=1)
            axes.text(-beside, y + 12, line.name, transform=place, fontsize=SMALL, color=INK)
            axes.text(1 + beside, y + 12, line.note, transform=place, ha="right", fontsize=SMALL, color=QUIET)
            if line.value is not None:
                axes.plot(line.ends, (y + 26, y + 26), color=BLUE, alpha=0.55, linewidth=3, solid_capstyle="round")
                axes.plot(line.value, y + 26, "o", color=BLUE, markersize=8, markeredgewidth=0)
            else:
                colour = ORANGE if line.negative else BLUE
                axes.barh(y + 25, max(abs(last - first), least), 12, left=min(first, last), color=colour, linewidth=0)
            if line.mark is not None:
                axes.vlines(line.mark, y + 16, y + 34, color=INK, linewidth=2)

    texts = "; ".join(f"{line.name} {line.note}" for line in lines)
    return _draw(paint, height, f"{title}: {texts}")


def histogram(
    counts: Sequence[int], lo: float, hi: float, say: Callable[[float], str], loss: str, profit: str, title: str
) -> Markup:
    """Equal bins from ``lo`` to ``hi``, losses in another colour than profits."""
    if not hi > lo:
        lo, hi = lo - 0.5, hi + 0.5
    width = (hi - lo) / len(counts)
    centres = [lo + (place + 0.5) * width for place in range(len(counts))]

    def paint(axes: Axes) -> None:
        axes.set_xlim(lo, hi)
        axes.set_ylim(0, (max(counts) or 1) * 1.16)  # room for two words
        _ticks(axes, say, 4)
        colours = [BLUE if centre > 0 else ORANGE for centre in centres]
        axes.bar(centres, counts, width, color=colours, linewidth=0)
        if lo < 0 < hi:
            axes.axvline(0.0, color=ORANGE, linewidth=2, linestyle=(0, (2.5, 1.5)))
            share, top = -lo / (hi - lo), 0.92
            place = axes.get_xaxis_transform()
            gap = 4 * (hi - lo) / (WIDTH - 2 * MARGIN)
            if share > 0.15:
                axes.text(-gap, top, loss, transform=place, ha="right", fontsize=SMALL, color=QUIET)
            if share < 0.85:
                axes.text(gap, top, profit, transform=place, fontsize=SMALL, color=QUIET)

    return _draw(paint, 140, title, axis=28)


def stacked(amounts: Sequence[float], texts: Sequence[str], title: str) -> Markup:
    """One bar whose parts are the amounts, in the order of :data:`PARTS`."""

    def paint(axes: Axes) -> None:
        axes.set_xlim(0.0, sum(amounts) or 1.0)
        axes.set_ylim(26, 0)
        left = 0.0
        for amount, colour in zip(amounts, PARTS, strict=True):
            axes.barh(13, amount, 22, left=left, color=colour, linewidth=0)
            left += amount

    return _draw(paint, 26, f"{title}: {'; '.join(texts)}")


def _scale(axes: Axes, values: Sequence[float], pad: float) -> None:
    """The axis over finite values and some room beside them."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    lo, hi = min(finite), max(finite)
    room = pad * (hi - lo) or max(abs(hi), 1.0) * pad
    axes.set_xlim(lo - room, hi + room)


def _inwards(axes: Axes, value: float) -> Side:
    """Alignment that keeps a label inside the chart."""
    lo, hi = axes.get_xlim()
    x = MARGIN + (value - lo) / (hi - lo) * (WIDTH - 2 * MARGIN)
    return "left" if x < INWARDS else "right" if x > WIDTH - INWARDS else "center"


def _ticks(axes: Axes, say: Callable[[float], str], most: int) -> None:
    """An axis below with round values, the outermost labels written inwards where they would be cut off."""
    axes.spines["bottom"].set_visible(True)
    axes.spines["bottom"].set_color(QUIET)
    axes.tick_params(axis="x", bottom=True, labelbottom=True, length=4, color=QUIET, labelcolor=QUIET, labelsize=SMALL)
    lo, hi = axes.get_xlim()
    places = [tick for tick in MaxNLocator(most, steps=[1, 2, 5, 10]).tick_values(lo, hi) if lo <= tick <= hi]
    axes.set_xticks(places, [say(tick + 0.0) for tick in places])  # no minus before a zero
    for tick, label in zip(places, axes.get_xticklabels(), strict=True):
        share = (tick - lo) / (hi - lo)
        label.set_horizontalalignment("left" if share < 0.04 else "right" if share > 0.96 else "center")


def _draw(paint: Callable[[Axes], None], height: int, label: str, axis: int = 0) -> Markup:
    """Paint axes that leave :data:`MARGIN` at the sides and ``axis`` units below; ``label`` is what is read aloud."""
    style: Any = {**STYLE, "axes.spines.left": False, "axes.spines.bottom": False}
    style |= {"xtick.bottom": False, "xtick.labelbottom": False, "ytick.left": False, "ytick.labelleft": False}
    with styled(style):
        figure = Figure(figsize=(WIDTH / 72, height / 72), facecolor="none")
        axes = figure.add_axes(
            (MARGIN / WIDTH, axis / height, 1 - 2 * MARGIN / WIDTH, 1 - axis / height), facecolor="none"
        )
        paint(axes)
        drawn = svg(figure)
    return Markup(_of_the_page(drawn, label))


def _of_the_page(drawn: str, label: str) -> str:
    """An SVG element whose colours and font are those of the page; names of groups would not be unique in it."""
    drawn = re.sub(r" <metadata>.*?</metadata>\n| <defs>\s*<style.*?</style>\s*</defs>\n", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r" xmlns(:xlink)?=\"[^\"]*\"| font-family: [^;]*;", "", drawn).replace("xlink:href=", "href=")
    drawn = re.sub(r' id="(?!need|range|mean|p[0-9a-f]{8}|m[0-9a-f]{8})[^"]*"', "", drawn)
    drawn = re.sub(r'id="(need|range|mean)"', r'class="\1"', drawn)
    for colour, name in NAMES.items():
        drawn = drawn.replace(colour, f"var(--{name})")
    return drawn.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" ', 1)
