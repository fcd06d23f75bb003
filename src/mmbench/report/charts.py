"""Charts as SVG and PNG: one look for every page, readable in print and without colour."""

from __future__ import annotations

import functools
import io
import math
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import EngFormatter, LogFormatter, MaxNLocator, MultipleLocator, ScalarFormatter
from numpy.typing import NDArray

from mmbench.inference.tuning_curves import Band, banded
from mmbench.messages import Message, Translator

if TYPE_CHECKING:
    from mmbench.report.cell_effort import CellEffort

#: Okabe & Ito's palette, distinguishable with every kind of colour vision, and a marker for each.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
#: The band of equivalence.
BAND = "#DDDDDD"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
#: How lines without markers differ whose colour is the same.
LINES = ("-", "--", ":", "-.")
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mmbench",
    "text.parse_math": False,  # a dollar sign in the name of a data set or model stays one
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
}
#: Families with the East Asian letters that the font of matplotlib lacks; of those installed the first draws them.
EAST_ASIAN = ("Noto Sans CJK JP", "Noto Sans JP", "Source Han Sans JP", "IPAexGothic", "IPAGothic", "TakaoGothic",
              "VL Gothic", "Hiragino Sans", "Yu Gothic", "Meiryo", "MS Gothic", "Noto Sans CJK SC", "PingFang SC",
              "Microsoft YaHei", "WenQuanYi Zen Hei", "Noto Sans CJK KR", "Apple SD Gothic Neo", "Malgun Gothic",
              "Droid Sans Fallback", "Arial Unicode MS")  # fmt: skip
#: A figure grows around what is longer than its axes, such as names of data sets: nothing is cut off.
WHOLE: Any = {"bbox_inches": "tight", "pad_inches": 0.08}
#: Letters of a row's name for which a forest plot has room, and letters in a row of its legend; an inch holds 14.
ROOM, LEGEND = 20, 72
#: From here on the ticks of an axis are in thousands or millions: none has more than four digits.
LONG = 10_000
Vector = NDArray[np.float64]
#: What axes and legends say beside names and metrics.
TRIALS, SECONDS, EPOCH = Message("trials"), Message("seconds"), Message("epoch")
GAIN, DEFAULT = Message("tuned gain, %"), Message("default")
LABELS = (TRIALS, SECONDS, EPOCH, GAIN, DEFAULT)


@contextmanager
def styled(style: Any) -> Iterator[None]:
    """Draw in a style, without a warning for each letter that no font has: SVG is drawn with those of the reader."""
    with rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


@functools.cache
def east_asian_fonts() -> list[str]:
    """Those of :data:`EAST_ASIAN` that are installed."""
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    return [family for family in EAST_ASIAN if family in installed]


@functools.cache
def _own_letters() -> frozenset[int]:
    """Code points of the font of matplotlib."""
    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())


Paint = Callable[[Sequence[Axes]], None]


class Picture(Figure):
    """A figure that a notebook shows, whether or not pyplot is loaded there."""

    def _repr_png_(self) -> bytes:
        png = io.BytesIO()
        with styled({}):
            self.savefig(png, format="png", dpi=110, **WHOLE)
        return png.getvalue()


@dataclass(frozen=True)
class Drawing:
    """One figure, painted when it is asked for; the same data gives the same bytes.

    Args:
        paint: paints the axes.
        panels: number of axes.
        width: inches, of a figure with one panel.
        height: inches of a row of panels.
    """

    paint: Paint
    panels: int = 1
    width: float = 6.0
    height: float = 3.0

    def figure(self) -> Picture:
        """The figure for whoever goes on with it."""
        with styled(STYLE):
            return _figure(self)

    @property
    def inline(self) -> str:
        """An SVG element of a page, without the XML head."""
        with styled(STYLE):
            return svg(_figure(self))

    @property
    def svg(self) -> str:
        """An SVG file, without the XML head, grown around what is longer than its axes."""
        return self._files[0]

    @property
    def png(self) -> bytes:
        """A PNG file at the resolution of print."""
        return self._files[1]

    @functools.cached_property
    def _files(self) -> tuple[str, bytes]:
        with styled(STYLE):
            figure, png = _figure(self), io.BytesIO()
            figure.savefig(png, format="png", dpi=200, metadata={"Software": None}, **WHOLE)
            return svg(figure, **WHOLE), png.getvalue()


def draw(paint: Paint, panels: int = 1, width: float = 6.0, height: float = 3.0) -> str:
    """Paint axes and return an SVG element without the XML head; the same data gives the same bytes."""
    return Drawing(paint, panels, width, height).inline


def _figure(drawing: Drawing) -> Picture:
    panels = drawing.panels
    columns = min(panels, 3)
    rows = -(-panels // columns)
    width = drawing.width if panels == 1 else 3.0 * columns
    figure = Picture(figsize=(width, drawing.height * rows), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel())
    for spare in axes[panels:]:
        spare.set_axis_off()
    drawing.paint(axes[:panels])
    for axis in (axis for one in axes[:panels] for axis in (one.xaxis, one.yaxis)):
        if isinstance(axis.get_major_formatter(), ScalarFormatter):
            _short_ticks(axis)
    for text in figure.findobj(Text):  # all others, and so all other figures, stay as they are to the byte
        if not _own_letters().issuperset(ord(letter) for letter in text.get_text() if letter.isprintable()):
            text.set_fontfamily([*text.get_fontfamily(), *east_asian_fonts()])
    return figure


def _short_ticks(axis: Axis) -> None:
    """Ticks of at most four digits: large ones in thousands or millions, and none between four-digit numbers."""
    lo, hi = sorted(axis.get_view_interval())
    largest = max(abs(lo), abs(hi))
    if largest >= LONG:
        axis.set_major_formatter(EngFormatter(sep=""))
        return
    finest = 10.0 ** (math.floor(math.log10(largest)) - 3) if largest > 0 else 0.0
    apart = np.diff(axis.get_majorticklocs())
    if len(apart) and 0 < apart.min() < 0.999 * finest and math.floor(hi / finest) > math.ceil(lo / finest):
        axis.set_major_locator(MultipleLocator(finest))


def svg(figure: Figure, **extent: Any) -> str:
    """A figure as an SVG element without the XML head; the same data gives the same bytes."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None}, **extent)
    written = text.getvalue()
    return written[written.index("<svg") :]


def translated(drawn: str, say: Translator, labels: Iterable[str]) -> str:
    """A chart with its labels in another language: it is drawn once, and its text is text.

    Args:
        drawn: the chart, in English.
        say: into the language.
        labels: what axes and legends say that is no name; :data:`LABELS` are known.
    """
    for label in (*LABELS, *labels):
        drawn = drawn.replace(f">{escape(label, quote=False)}</text>", f">{escape(say(label), quote=False)}</text>")
    return drawn


def metric_labels(metric: str) -> list[Message]:
    """Labels of axes that show a metric of the test split, as it is and after tuning."""
    return [Message("test {metric}", metric=metric), Message("test {metric} after tuning", metric=metric)]


def score_label(metric: str) -> Message:
    """Label of an axis that shows what validation scores are."""
    return Message("validation {metric}", metric=metric)


def look_of(place: int) -> dict[str, Any]:
    """Colour and marker of a place in a legend, a pair of their own for each of the first 64 places."""
    turn = place // len(COLOURS)
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[(place + turn) % len(MARKERS)]}


def shade(axis: Axes, x: NDArray[Any], band: Band, color: str) -> None:
    """Shade a band from each number of trials that has bounds to the next one.

    Args:
        axis: where.
        x: place of each number of trials, ``(n_trials,)``.
        band: the band.
        color: its colour.
    """
    at = np.array(banded(len(band.mean)), np.int64) - 1
    axis.fill_between(x[at], band.lo[at], band.hi[at], color=color, alpha=0.12, linewidth=0)


def curves(bands: Mapping[str, Band], score: str, label: str, positions: Mapping[str, Vector] | None = None) -> str:
    """Curves of the validation score with bands, over the number of trials or over given positions."""

    def paint(axes: Sequence[Axes]) -> None:
        for place, (name, band) in enumerate(bands.items()):
            x = np.arange(1, len(band.mean) + 1) if positions is None else positions[name]
            axes[0].plot(x, band.mean, markevery=max(1, len(x) // 8), markersize=4, label=name, **look_of(place))
            shade(axes[0], x, band, look_of(place)["color"])
        axes[0].set(xlabel=label, ylabel=score)
        axes[0].legend(frameon=False)

    return draw(paint)


def tuned(sides: Mapping[str, Band], gain: Band, n: int, margin: float, metric: str) -> Drawing:
    """Expected test metric of both sides by the number of trials, and the gain of one over the other, in two panels.

    Args:
        sides: curve of each side by its name.
        gain: the gain, as a fraction.
        n: number of trials that the verdict is about.
        margin: equivalence margin, as a fraction.
        metric: the metric in print.
    """

    def paint(axes: Sequence[Axes]) -> None:
        left, right = axes
        x = np.arange(1, len(gain.mean) + 1)
        for place, (name, band) in enumerate(sides.items()):
            left.plot(x, band.mean, markevery=max(1, len(x) // 8), markersize=4, label=name, **look_of(place))
            shade(left, x, band, look_of(place)["color"])
        left.set(xlabel=TRIALS, ylabel=metric_labels(metric)[1])
        left.legend(frameon=False)
        right.axhspan(-100 * margin, 100 * margin, color=BAND, zorder=0, linewidth=0)
        right.axhline(0.0, color="#666666", linewidth=0.8, zorder=1)
        percent = Band(100 * gain.mean, 100 * gain.lo, 100 * gain.hi)
        right.plot(x, percent.mean, color=COLOURS[2], markersize=4)
        shade(right, x, percent, COLOURS[2])
        right.plot(n, percent.mean[n - 1], color=COLOURS[2], marker="o", markersize=6, linestyle="none")
        right.set(xlabel=TRIALS, ylabel=GAIN)
        for axis in axes:
            axis.axvline(n, color="#888888", linestyle=":", linewidth=1)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))

    return Drawing(paint, panels=2)


def strip(values: Mapping[str, Vector], score: str) -> str:
    """Every value of every condition as a dot; the default configuration is filled."""

    def paint(axes: Sequence[Axes]) -> None:
        for place, scores in enumerate(values.values()):
            jitter = np.random.default_rng(place).uniform(-0.2, 0.2, len(scores))
            look = look_of(place)
            axes[0].scatter(
                place + jitter[1:], scores[1:], 22, facecolors="none", edgecolors=look["color"], marker=look["marker"]
            )
            axes[0].scatter(place, scores[0], 40, label=DEFAULT if place == 0 else None, **look)
        axes[0].set_xticks(range(len(values)), list(values))
        axes[0].set_ylabel(score)
        axes[0].legend(frameon=False)

    return draw(paint)


def marginals(paths: Sequence[str], cells: Sequence[CellEffort], narrow: Collection[str], score: str) -> str:
    """Score over each searched coordinate with its bounds, which are red for paths whose range is too narrow."""
    ranges = cells[0].ranges

    def paint(axes: Sequence[Axes]) -> None:
        for axis, path in zip(axes, paths, strict=True):
            searched = ranges.get(path)
            for place, cell in enumerate(cells):
                x = [t.configuration[path] for t in cell.trials]
                axis.scatter(x, cell.validation, 14, alpha=0.7, label=cell.modality, **look_of(place))
            if searched is not None and searched.log:
                # Where 0 has a probability of its own it stands left of the range, which no logarithm has room for.
                linear = {"linthresh": searched.low} if 0.0 in searched.atoms else {}
                axis.set_xscale("symlog" if linear else "log", **linear)
                # Plain numbers: by default they are formulas, which no chart reads.
                axis.xaxis.set_major_formatter(LogFormatter(linthresh=linear.get("linthresh")))
                axis.xaxis.set_minor_formatter(LogFormatter(linthresh=linear.get("linthresh")))
            for bound in () if searched is None else (searched.low, searched.high):
                axis.axvline(bound, color="#B00020" if path in narrow else "#888888", linestyle="--", linewidth=1)
            axis.set_xlabel(path)
        axes[0].set_ylabel(score)
        axes[0].legend(frameon=False, fontsize=7)

    return draw(paint, panels=len(paths), height=2.6)


def scatter(points: Mapping[str, tuple[Vector, Vector]], score: str, metric: str) -> str:
    """Test metric over validation score."""

    def paint(axes: Sequence[Axes]) -> None:
        for place, (name, (x, y)) in enumerate(points.items()):
            axes[0].scatter(x, y, 22, alpha=0.8, label=name, **look_of(place))
        axes[0].set(xlabel=score, ylabel=metric_labels(metric)[0])
        axes[0].legend(frameon=False)

    return draw(paint)


def learning(histories: Mapping[str, Sequence[Sequence[float]]], score: str) -> str:
    """Validation score by epoch, one line per final run."""

    def paint(axes: Sequence[Axes]) -> None:
        for place, (name, runs) in enumerate(histories.items()):
            for number, history in enumerate(runs):
                colour, line = look_of(place)["color"], LINES[place // len(COLOURS) % len(LINES)]
                label = name if number == 0 else None
                axes[0].plot(range(1, len(history) + 1), history, color=colour, linestyle=line, label=label)
        axes[0].set(xlabel=EPOCH, ylabel=score)
        axes[0].legend(frameon=False)

    return draw(paint)


def stacked(parts: Mapping[str, Sequence[float]], labels: Sequence[str]) -> str:
    """Stacked horizontal bars."""

    def paint(axes: Sequence[Axes]) -> None:
        left = np.zeros(len(parts))
        for place, label in enumerate(labels):
            widths = np.array([values[place] for values in parts.values()])
            axes[0].barh(
                range(len(parts)), widths, left=left, label=label, color=COLOURS[place], hatch=(None, "//")[place % 2]
            )
            left += widths
        axes[0].set_yticks(range(len(parts)), list(parts))
        axes[0].invert_yaxis()
        axes[0].set_xlabel(SECONDS)
        axes[0].legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(labels))

    return draw(paint, height=1.0 + 0.35 * len(parts))


@dataclass(frozen=True)
class Line:
    """One row of a forest plot.

    Args:
        name: what it is about.
        group: rows of one group share colour and marker.
        value: the estimate.
        bounds: its interval; None where nothing is inferred.
        word: what it amounts to.
    """

    name: str
    group: str
    value: float
    bounds: tuple[float, float] | None
    word: str


def within(margin: float) -> Message:
    """Label of the band of equivalence."""
    return Message("within ±{margin} %", margin=f"{margin:g}")


def forest(lines: Sequence[Line], label: str, margin: float, reach: float = math.inf) -> Drawing:
    """Estimates with intervals, one below the other, with the band of equivalence and the word of each.

    Args:
        lines: what is drawn, from top to bottom.
        label: of the axis.
        margin: half the width of the band of equivalence.
        reach: what lies further from zero is an arrow at the edge, with its value beside the word; a bound that does
            is a smaller one.
    """
    groups = list(dict.fromkeys(line.group for line in lines))

    def paint(axes: Sequence[Axes]) -> None:
        axis = axes[0]
        axis.axvspan(-margin, margin, color=BAND, zorder=0, label=within(margin), linewidth=0)
        axis.axvline(0.0, color="#666666", linewidth=0.8, zorder=1)
        for number, group in enumerate(groups if len(groups) > 1 else ()):  # for the legend
            axis.plot([], [], markersize=6, linestyle="none", label=group, **look_of(number))
        for place, line in enumerate(lines):
            look = look_of(groups.index(line.group))
            if line.bounds is not None:
                axis.plot(line.bounds, (place, place), color=look["color"], linewidth=1.5)
                for bound in line.bounds:
                    if abs(bound) > reach >= abs(line.value):
                        mark = {"marker": ">" if bound > 0 else "<", "markersize": 4, "color": look["color"]}
                        axis.plot(math.copysign(reach, bound), place, linestyle="none", clip_on=False, **mark)
            face = look["color"] if line.bounds is not None else "white"
            word = line.word
            if abs(line.value) > reach:
                word = f"{word}, {line.value:+.0f}"
                look["marker"] = ">" if line.value > 0 else "<"
            value = max(-reach, min(reach, line.value))
            axis.plot(value, place, markersize=6, markerfacecolor=face, linestyle="none", clip_on=False, **look)
            axis.annotate(word, (1.03, place), xycoords=("axes fraction", "data"), va="center", fontsize=8)
        axis.set_yticks(range(len(lines)), [line.name for line in lines])
        axis.set_ylim(len(lines) - 0.4, -0.6)
        axis.set_xlabel(label)
        if math.isfinite(reach):
            axis.set_xlim(-reach, reach)
        columns = max(1, min(4, LEGEND // (6 + max(map(len, groups)))))
        axis.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, fontsize=8)

    longest = max(len(line.name) for line in lines)
    return Drawing(paint, width=6.0 + max(0, longest - ROOM) / 14, height=1.1 + 0.28 * len(lines))


def dumbbells(panels: Mapping[str, Mapping[str, Mapping[str, float]]], names: Sequence[str], label: str) -> Drawing:
    """Values of some conditions on one line per row, a panel per data set: ``panels[title][row][condition]``."""

    def paint(axes: Sequence[Axes]) -> None:
        for axis, (title, rows) in zip(axes, panels.items(), strict=True):
            for place, values in enumerate(rows.values()):
                axis.plot((min(values.values()), max(values.values())), (place, place), color="#BBBBBB", zorder=1)
            for number, name in enumerate(names):
                aside = 0.6 * ((number + 0.5) / len(names) - 0.5)  # or equal values would hide each other
                points = [
                    (values[name], place + (aside if len(values) > 1 else 0.0))
                    for place, values in enumerate(rows.values())
                    if name in values
                ]
                x, y = zip(*points, strict=True) if points else ((), ())
                axis.plot(x, y, markersize=5, linestyle="none", label=name, **look_of(number))
            axis.set_yticks(range(len(rows)), list(rows))
            axis.set_ylim(len(rows) - 0.5, -0.5)
            axis.set_xlabel(label)
            axis.set_title(title, fontsize=9, loc="left")
        handles, labels = axes[0].get_legend_handles_labels()
        figure = axes[0].get_figure()
        assert figure is not None
        figure.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=8)

    rows = max(len(rows) for rows in panels.values())
    return Drawing(paint, panels=len(panels), height=1.3 + 0.36 * rows)


def heat(panels: Mapping[str, Mapping[str, Mapping[str, str]]], columns: Sequence[str], label: str) -> Drawing:
    """A coloured table, a panel per data set: ``panels[title][row][column]`` holds a number and what marks it."""
    values = [_leading(text) for rows in panels.values() for row in rows.values() for text in row.values()]
    reach = max([abs(value) for value in values if np.isfinite(value)] or [1.0]) or 1.0

    def paint(axes: Sequence[Axes]) -> None:
        image = None
        for axis, (title, rows) in zip(axes, panels.items(), strict=True):
            table = np.array([[_leading(row.get(column, "")) for column in columns] for row in rows.values()])
            image = axis.imshow(table, cmap="PuOr", vmin=-reach, vmax=reach, aspect="auto")
            axis.set_facecolor("#EEEEEE")
            for y, row in enumerate(rows.values()):
                for x, column in enumerate(columns):
                    deep = abs(table[y, x]) > 0.5 * reach
                    axis.text(
                        x, y, row.get(column, "-"), ha="center", va="center", fontsize=8, color="w" if deep else "k"
                    )
            names = [column.replace("_vs_", " vs ") for column in columns]
            axis.set_xticks(range(len(columns)), names, fontsize=8, rotation=40, ha="right", rotation_mode="anchor")
            axis.set_yticks(range(len(rows)), list(rows))
            axis.tick_params(length=0)
            axis.set_title(title, fontsize=9, loc="left")
        figure = axes[0].get_figure()
        assert figure is not None
        assert image is not None
        figure.colorbar(image, ax=list(axes), label=label, shrink=0.8)

    rows = max(len(rows) for rows in panels.values())
    return Drawing(paint, panels=len(panels), height=2.0 + 0.32 * rows)


def _leading(text: str) -> float:
    """The number that a cell begins with, NaN without one."""
    number = re.match(r"[-+]?[0-9.]+", text)
    return float(number.group()) if number else float("nan")
