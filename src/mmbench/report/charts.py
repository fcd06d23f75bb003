"""Charts as inline SVG: one look for every page, readable in print and without colour."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mmbench.effort import EDGE_WARNING, Band

if TYPE_CHECKING:
    from mmbench.report.effort import CellEffort

#: Okabe & Ito's palette, distinguishable with every kind of colour vision, and a marker for each.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mmbench",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
}
Vector = NDArray[np.float64]


def draw(paint: Callable[[Sequence[Axes]], None], panels: int = 1, width: float = 6.0, height: float = 3.0) -> str:
    """Paint axes and return an SVG element without the XML head; the same data gives the same bytes."""
    with rc_context(STYLE):
        columns = min(panels, 3)
        rows = -(-panels // columns)
        figure = Figure(figsize=(width if panels == 1 else 3.0 * columns, height * rows), layout="constrained")
        axes = list(np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel())
        for spare in axes[panels:]:
            spare.set_axis_off()
        paint(axes[:panels])
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _look(place: int) -> dict[str, Any]:
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}


def curves(bands: Mapping[str, Band], label: str, positions: Mapping[str, Vector] | None = None) -> str:
    """Curves with bands, over the number of trials or over given positions."""

    def paint(axes: Sequence[Axes]) -> None:
        for place, (name, band) in enumerate(bands.items()):
            x = np.arange(1, len(band.mean) + 1) if positions is None else positions[name]
            axes[0].plot(x, band.mean, markevery=max(1, len(x) // 8), markersize=4, label=name, **_look(place))
            axes[0].fill_between(x, band.lo, band.hi, color=_look(place)["color"], alpha=0.12, linewidth=0)
        axes[0].set(xlabel=label, ylabel="NDCG@20")
        axes[0].legend(frameon=False)

    return draw(paint)


def strip(values: Mapping[str, Vector]) -> str:
    """Every value of every condition as a dot; the default configuration is filled."""

    def paint(axes: Sequence[Axes]) -> None:
        for place, scores in enumerate(values.values()):
            jitter = np.random.default_rng(place).uniform(-0.2, 0.2, len(scores))
            look = _look(place)
            axes[0].scatter(
                place + jitter[1:], scores[1:], 22, facecolors="none", edgecolors=look["color"], marker=look["marker"]
            )
            axes[0].scatter(place, scores[0], 40, label="default" if place == 0 else None, **look)
        axes[0].set_xticks(range(len(values)), list(values))
        axes[0].set_ylabel("validation NDCG@20")
        axes[0].legend(frameon=False)

    return draw(paint)


def marginals(paths: Sequence[str], cells: Sequence[CellEffort], shares: Mapping[str, Mapping[str, float]]) -> str:
    """Score over each searched coordinate with its bounds; red bounds where the best trials lie at the edge."""

    def paint(axes: Sequence[Axes]) -> None:
        for axis, path in zip(axes, paths, strict=True):
            leaf: Any = cells[0].cell["config"]["search"]
            for part in path.split("."):
                leaf = leaf[part]
            for place, cell in enumerate(cells):
                x = [t["configuration"][path] for t in cell.trials]
                axis.scatter(x, cell.validation, 14, alpha=0.7, label=cell.modality, **_look(place))
            if leaf.get("log"):
                axis.set_xscale("log")
            hit = any(by_path.get(path, 0.0) > EDGE_WARNING for by_path in shares.values())
            for bound in (leaf.get("low"), leaf.get("high")):
                if bound is not None:
                    axis.axvline(bound, color="#B00020" if hit else "#888888", linestyle="--", linewidth=1)
            axis.set_xlabel(path)
        axes[0].set_ylabel("validation NDCG@20")
        axes[0].legend(frameon=False, fontsize=7)

    return draw(paint, panels=len(paths), height=2.6)


def scatter(points: Mapping[str, tuple[Vector, Vector]]) -> str:
    """Test over validation."""

    def paint(axes: Sequence[Axes]) -> None:
        for place, (name, (x, y)) in enumerate(points.items()):
            axes[0].scatter(x, y, 22, alpha=0.8, label=name, **_look(place))
        axes[0].set(xlabel="validation NDCG@20", ylabel="test NDCG@20")
        axes[0].legend(frameon=False)

    return draw(paint)


def learning(histories: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Validation score by epoch, one line per final run."""

    def paint(axes: Sequence[Axes]) -> None:
        for place, (name, runs) in enumerate(histories.items()):
            for number, history in enumerate(runs):
                colour = _look(place)["color"]
                axes[0].plot(range(1, len(history) + 1), history, color=colour, label=name if number == 0 else None)
        axes[0].set(xlabel="epoch", ylabel="validation NDCG@20")
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
        axes[0].set_xlabel("seconds")
        axes[0].legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(labels))

    return draw(paint, height=1.0 + 0.35 * len(parts))
