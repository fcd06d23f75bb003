"""Figures show the numbers of the table, in both formats, and nothing where there is nothing."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import Bbox

from mmbench.inference.tuning_curves import Band, banded
from mmbench.report import benchmark, charts, fairness, index, submission, verdict_table
from mmbench.report.comparisons import Comparison, read_contrasts
from mmbench.report.disposals import Disposal, read_disposals
from mmbench.report.fairness_checks import read_groups
from mmbench.report.figures import condition_means, figures, forest_lines, gain_cells
from mmbench.report.reading import read_sweep
from mmbench.report.table import SweepTable
from mmbench.report.templating import Pages
from mmbench.report.write import write_report
from tests.report.constructed import Made, write_sweep
from tests.report.test_verdict_table import NONE, TEXT

pytestmark = pytest.mark.charts

Read = tuple[SweepTable, list[Comparison], list[Disposal]]


def read(folder: Path) -> Read:
    table = read_sweep(folder)
    groups = read_groups(table, folder)
    return table, read_contrasts(table, groups), read_disposals(table, groups)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Read:
    models = ("better", "undecided", "failed", "missing")
    cells = {("d", m, "text"): TEXT[m] for m in models} | {("d", m, "none"): NONE for m in models}
    cells |= {("e", "better", "text"): TEXT["better"], ("e", "better", "none"): NONE, ("d", "bpr", "-"): NONE}
    return read(write_sweep(tmp_path_factory.mktemp("figures") / "s", cells))


def test_a_forest_has_a_row_per_gain(sweep: Read) -> None:
    _, comparisons, _ = sweep
    lines = forest_lines([(c.model, c.dataset, c.tuned, c.word) for c in comparisons], several=True)
    assert [(line.name, line.group, line.word) for line in lines] == [
        ("better, d", "d", "better"),
        ("undecided, d", "d", "undecided"),
        ("better, e", "e", "better"),
    ]
    tuned = comparisons[0].tuned
    assert tuned is not None
    assert tuned.interval is not None
    bounds = (100 * tuned.interval.lo, 100 * tuned.interval.hi)
    assert (lines[0].value, lines[0].bounds) == (pytest.approx(10.0), bounds)
    without = replace(tuned, log_gain=None)
    assert forest_lines([("m", "d", without, "no word")], several=False)[0].bounds is None


@pytest.mark.parametrize(("value", "word"), [(83.3, "better, +83"), (-40.0, "better, -40"), (29.0, "better")])
def test_what_is_out_of_reach_is_an_arrow_with_its_value(value: float, word: str) -> None:
    lines = [
        charts.Line("m", "d", value, (value - 5, value + 5), "better"),
        charts.Line("m", "e", 1.0, (0.0, 2.0), "equivalent"),
    ]
    drawn = charts.forest(lines, "gain, %", 2.0, reach=30.0).svg
    assert f">{word}<" in drawn
    assert ">equivalent<" in drawn
    assert ">better<" in charts.forest(lines, "gain, %", 2.0).svg


@pytest.mark.parametrize(
    ("value", "bounds", "arrows"),
    [
        (-17.7, (-37.5, 8.3), [("<", -30.0)]),
        (14.5, (-11.7, 48.6), [(">", 30.0)]),
        (0.0, (-40.0, 40.0), [("<", -30.0), (">", 30.0)]),
        (1.0, (-29.0, 29.0), []),
        (83.3, (57.0, 113.9), []),  # the gain itself is an arrow
    ],
)
def test_a_bound_that_is_out_of_reach_is_an_arrow(
    value: float, bounds: tuple[float, float], arrows: list[tuple[str, float]]
) -> None:
    figure = charts.forest([charts.Line("m", "d", value, bounds, "undecided")], "gain, %", 2.0, reach=30.0).figure()
    small = [line for line in figure.axes[0].get_lines() if line.get_markersize() == 4]
    assert [(line.get_marker(), np.asarray(line.get_xdata()).item()) for line in small] == arrows


def test_each_of_many_conditions_has_a_look_of_its_own() -> None:
    looks = [charts.look_of(place) for place in range(64)]
    assert len({(look["color"], look["marker"]) for look in looks}) == 64
    assert [(look["color"], look["marker"]) for look in looks[:8]] == [
        *zip(charts.COLOURS, charts.MARKERS, strict=True)
    ]


def test_each_of_many_learning_curves_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[object, object]] = []

    def plot(self: Axes, *at: object, color: str, linestyle: str, label: str) -> None:
        drawn.append((color, linestyle))

    monkeypatch.setattr(Axes, "plot", plot)
    monkeypatch.setattr(Axes, "legend", lambda *args, **options: None)
    charts.learning({f"condition {place}": [[0.1, 0.2]] for place in range(16)}, "validation NDCG@20")
    assert len(set(drawn)) == 16


def test_conditions_and_gains(sweep: Read) -> None:
    table, comparisons, _ = sweep
    means = condition_means(table)
    assert means["d"]["better"] == {"none": pytest.approx(0.5), "text": pytest.approx(0.55)}
    assert means["d"]["bpr"] == {"ID only": pytest.approx(0.5)}
    assert means["d"]["failed"] == {"none": pytest.approx(0.5)}
    assert gain_cells(comparisons) == {
        "d": {"better": {"text_vs_none": "+10.0†"}, "undecided": {"text_vs_none": "+1.5"}},
        "e": {"better": {"text_vs_none": "+10.0†"}},
    }


@pytest.mark.thorough
def test_every_figure_in_both_formats_and_always_the_same(sweep: Read, tmp_path: Path) -> None:
    drawn = {name: drawing for name, (drawing, _) in figures(*sweep).items()}
    assert drawn.keys() == {"forest-text_vs_none", "conditions", "gains"}
    again = {name: drawing for name, (drawing, _) in figures(*sweep).items()}
    assert {name: (drawing.svg, drawing.png) for name, drawing in again.items()} == {
        name: (drawing.svg, drawing.png) for name, drawing in drawn.items()
    }
    for name, drawing in drawn.items():
        assert drawing.svg.startswith("<svg"), name
        (tmp_path / "one.png").write_bytes(drawing.png)
        height, width = imread(tmp_path / "one.png").shape[:2]
        assert width >= 1200
        assert height >= 200
    forest = drawn["forest-text_vs_none"].svg
    for word in (
        "better, d",
        "undecided, d",
        "better, e",
        "within ±2 %",
        "tuned gain in NDCG@20, text against none",
    ):
        assert word in forest
    assert len(re.findall(r">better<", forest)) == 2
    for word in ("ID only", "none", "text", "NDCG@20"):
        assert word in drawn["conditions"].svg
    for word in ("+10.0†", "+1.5", "text vs none"):
        assert word in drawn["gains"].svg


@pytest.mark.parametrize("reach", [(0.15231, 0.15264), (0.1, 0.3), (12.0, 180.0), (3_000.0, 250_000.0), (-0.4, 0.6)])
def test_ticks_have_at_most_four_digits(reach: tuple[float, float]) -> None:
    points = {"a": (np.linspace(*reach, 20), np.linspace(*reach, 20))}
    drawn = charts.scatter(points, "validation NDCG@20", "NDCG@20")
    ticks = [
        text for text in re.findall(r"<text[^>]*>([^<]*)</text>", drawn) if re.match(r"[-\u2212]?[\d.]+[kM]?$", text)
    ]
    assert len(ticks) >= 6
    for tick in ticks:
        assert len(re.sub(r"\D", "", tick).lstrip("0")) <= 4, tick


def test_targets_share_no_axis(tmp_path: Path) -> None:
    cells: dict[tuple[str, str, str], Made] = {}
    for dataset, target in (("d", None), ("d-warm", "warm")):
        config = {"dataset": {"name": "d", "protocol": "time"}, "tuning": {"target": target}}
        cells[dataset, "m", "none"] = replace(NONE, config=config)
        cells[dataset, "m", "text"] = replace(TEXT["better"], config=config)
    swept = read(write_sweep(tmp_path / "s", cells))
    drawn, among = figures(*swept), "NDCG@20 among items of the training log themselves"
    assert {name: str(label) for name, (_, label) in drawn.items() if name != "gains"} == {
        "forest-text_vs_none": "tuned gain in NDCG@20, text against none, %",
        "forest-text_vs_none-warm": f"tuned gain in {among}, text against none, %",
        "conditions": "NDCG@20",
        "conditions-warm": among,
    }
    table, compared, disposals = swept
    groups = read_groups(table, table.folder)
    both = f"NDCG@20 and {among}"
    settings = {a.item: a.reason for a in submission.answers(table, compared, groups, [])}["6 Experimental setting"]
    assert f"chosen by {both} on validation" in settings
    assert f"judged on {both}. " in settings
    assert f"gain of A over B in {both} once both" in "\n".join(verdict_table.notes(table, compared, disposals))
    assert f"{both} of the chosen configuration" in "\n".join(benchmark.document(table, compared, groups).notes)
    page = index.as_html(table, compared, disposals, next(iter(Pages.both("en"))))
    assert f"verdicts on {both}, equivalence margin" in page
    for group, metric in zip(groups, ("NDCG@20", among), strict=True):
        assert f">validation {metric}</text>" in fairness._charts(table, group, [])["Every trial"]


def test_names_cannot_break_out_of_a_figure(tmp_path: Path) -> None:
    name = r"<b>&$\frac$"  # neither markup nor mathematics
    cells = {(name, "m", "none"): NONE, (name, "m", "text"): TEXT["better"]}
    svg = figures(*read(write_sweep(tmp_path / "s", cells)))["gains"][0].svg
    assert "<b>" not in svg
    assert r"&lt;b&gt;&amp;$\frac$" in svg


def test_a_dollar_sign_is_no_mathematics_within_a_page_either() -> None:
    def titled(axes: Sequence[Axes]) -> None:
        axes[0].set_title(r"$5 and $6, a$\b$")

    assert r">$5 and $6, a$\b$<" in charts.Drawing(titled).inline


def named(name: str) -> charts.Drawing:
    return charts.forest([charts.Line(f"ease, {name}", name, 1.0, (0.0, 2.0), "better")], "gain, %", 2.0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("fonts", [None, []])
def test_japanese_names_are_drawn_without_a_warning(fonts: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the fonts that are installed, and where none is."""
    if fonts is not None:
        monkeypatch.setattr(charts, "east_asian_fonts", lambda: fonts)
    for drawn in (named("店の比較").svg, named("店の比較").inline):
        assert "店の比較<" in drawn
    assert named("店の比較").png
    assert named("店の比較").figure()._repr_png_()


def test_only_letters_that_the_usual_font_lacks_are_drawn_with_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = named("é±≈\nü")
    family = "STIXGeneral"  # as if it were one
    monkeypatch.setattr(charts, "east_asian_fonts", lambda: [family])
    again, drawn = named("é±≈\nü"), named("店")
    assert (again.svg, again.png, again.inline) == (plain.svg, plain.png, plain.inline)
    of_name, of_number = (re.search(f'<text[^>]*style="([^"]*)"[^>]*>{text}', drawn.svg) for text in ("ease, 店", "0"))
    assert of_name is not None
    assert of_number is not None
    assert (family in of_name[1], family in of_number[1]) == (True, False)


@pytest.mark.thorough
def test_nothing_to_show_is_no_figure_and_old_ones_go(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", {("d", "m", "none"): NONE, ("d", "m", "text"): TEXT["better"]})
    write_report(folder)
    names = {f"{n}.{e}" for n in ("forest-text_vs_none", "conditions", "gains") for e in ("svg", "png")}
    assert names <= {path.name for path in (folder / "report").iterdir()}
    shutil.rmtree(folder / "d" / "m" / "text")
    write_report(folder)
    assert not names & {path.name for path in (folder / "report").iterdir()}


@pytest.mark.parametrize("trials", [8, 300])
def test_a_band_is_shaded_without_gaps_between_the_numbers_that_it_is_told_at(trials: int) -> None:
    band = Band(*np.full((3, trials), np.nan))
    for n in banded(trials):
        band.lo[n - 1], band.hi[n - 1] = 0.0, n
    axis = Figure().subplots()
    charts.shade(axis, np.arange(1, trials + 1), band, "red")
    (path,) = axis.collections[0].get_paths()
    assert path.get_extents().bounds == (1.0, 0.0, trials / 2 - 1, trials / 2)


#: Beyond half of the trials.
NONE_YET = (np.nan, np.nan)
#: A curve of four trials, which has bounds up to half of them, and the gain of one such curve over another.
CURVE = Band(np.array([0.1, 0.2, 0.3, 0.35]), np.array([0.05, 0.1, *NONE_YET]), np.array([0.2, 0.4, *NONE_YET]))
OTHER = Band(np.array([0.2, 0.25, 0.3, 0.4]), np.array([0.15, 0.2, *NONE_YET]), np.array([0.25, 0.35, *NONE_YET]))
RATIO = Band(np.array([0.5, 0.25, 0.1, -0.05]), np.array([0.2, -0.125, *NONE_YET]), np.array([0.75, 0.4, *NONE_YET]))
ONE_TO_FOUR = [1, 2, 3, 4]


def line_points(line: Line2D) -> list[tuple[float, float]]:
    """Places of a line or of markers as they are drawn."""
    return [(float(x), float(y)) for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def named_lines(axis: Axes) -> dict[str, list[tuple[float, float]]]:
    """Lines of an axis that its legend names, in its order."""
    handles, names = axis.get_legend_handles_labels()
    return {name: line_points(line) for line, name in zip(handles, names, strict=True) if isinstance(line, Line2D)}


def dots(axis: Axes) -> list[list[tuple[float, float]]]:
    """Each cloud of dots of an axis."""
    return [[(float(x), float(y)) for x, y in cloud.get_offsets()] for cloud in axis.collections]


def shaded(axis: Axes) -> list[set[tuple[float, float]]]:
    """Corners of each band of an axis."""
    return [{(float(x), float(y)) for x, y in path.vertices} for area in axis.collections for path in area.get_paths()]


def spanned(patch: Patch) -> Bbox:
    """What a rectangle covers, in its own coordinates."""
    return patch.get_patch_transform().transform_path(patch.get_path()).get_extents()


def test_curves_begin_at_one_trial_or_stand_where_their_seconds_are(painted: list[Figure]) -> None:
    charts.curves({"text": CURVE, "none": OTHER}, "validation NDCG@20", "trials")
    seconds = {"text": np.array([10.0, 15.0, 40.0, 45.0]), "none": np.array([1.0, 2.0, 3.0, 8.0])}
    charts.curves({"text": CURVE, "none": OTHER}, "validation NDCG@20", "seconds", seconds)
    by_trials, by_seconds = (figure.axes[0] for figure in painted)
    assert (by_trials.get_xlabel(), by_trials.get_ylabel()) == ("trials", "validation NDCG@20")
    assert named_lines(by_trials) == {
        "text": [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.35)],
        "none": [(1, 0.2), (2, 0.25), (3, 0.3), (4, 0.4)],
    }
    assert shaded(by_trials) == [
        {(1, 0.05), (2, 0.1), (1, 0.2), (2, 0.4)},
        {(1, 0.15), (2, 0.2), (1, 0.25), (2, 0.35)},
    ]
    assert named_lines(by_seconds) == {
        "text": [(10, 0.1), (15, 0.2), (40, 0.3), (45, 0.35)],
        "none": [(1, 0.2), (2, 0.25), (3, 0.3), (8, 0.4)],
    }
    assert shaded(by_seconds) == [
        {(10, 0.05), (15, 0.1), (10, 0.2), (15, 0.4)},
        {(1, 0.15), (2, 0.2), (1, 0.25), (2, 0.35)},
    ]


@pytest.mark.parametrize(("n", "at"), [(1, 50.0), (2, 25.0), (4, -5.0)])
def test_a_gain_is_drawn_in_percent_by_the_number_of_trials_with_a_dot_at_that_of_the_verdict(
    n: int, at: float
) -> None:
    left, right = charts.tuned({"text": CURVE, "none": OTHER}, RATIO, n, 0.02, "NDCG@20").figure().axes
    assert named_lines(left) == {
        "text": [*zip(ONE_TO_FOUR, CURVE.mean, strict=True)],
        "none": [*zip(ONE_TO_FOUR, OTHER.mean, strict=True)],
    }
    assert shaded(left) == [
        {(1, 0.05), (2, 0.1), (1, 0.2), (2, 0.4)},
        {(1, 0.15), (2, 0.2), (1, 0.25), (2, 0.35)},
    ]
    zero, curve, dot, of_verdict = right.get_lines()
    assert {y for _, y in line_points(zero)} == {0.0}
    assert line_points(curve) == [(1, 50.0), (2, 25.0), (3, 10.0), (4, -5.0)]
    assert (line_points(dot), dot.get_marker()) == ([(n, at)], "o")
    assert {x for x, _ in line_points(of_verdict)} == {x for x, _ in line_points(left.get_lines()[-1])} == {n}
    assert shaded(right) == [{(1, 20.0), (2, -12.5), (1, 75.0), (2, 40.0)}]
    (margin,) = right.patches
    assert (spanned(margin).y0, spanned(margin).y1) == (-2.0, 2.0)
    assert [axis.get_xlabel() for axis in (left, right)] == ["trials", "trials"]
    assert [axis.get_ylabel() for axis in (left, right)] == ["test NDCG@20 after tuning", "tuned gain, %"]


def test_a_learning_curve_runs_from_its_first_epoch_to_its_last(painted: list[Figure]) -> None:
    runs = {"text": [[0.1, 0.3, 0.2], [0.2, 0.4]], "none": [[0.05, 0.1, 0.15, 0.2]]}
    charts.learning(runs, "validation NDCG@20")
    (axis,) = painted[0].axes
    assert [line_points(line) for line in axis.get_lines()] == [
        [(1, 0.1), (2, 0.3), (3, 0.2)],
        [(1, 0.2), (2, 0.4)],
        [(1, 0.05), (2, 0.1), (3, 0.15), (4, 0.2)],
    ]
    assert [line.get_color() for line in axis.get_lines()] == [charts.COLOURS[0], charts.COLOURS[0], charts.COLOURS[1]]
    assert [*named_lines(axis)] == ["text", "none"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("epoch", "validation NDCG@20")


def test_the_test_metric_stands_over_the_validation_score(painted: list[Figure]) -> None:
    points = {"text": (np.array([0.1, 0.2]), np.array([0.6, 0.5])), "none": (np.array([0.3]), np.array([0.4]))}
    charts.scatter(points, "validation NDCG@20", "NDCG@20")
    (axis,) = painted[0].axes
    assert dots(axis) == [[(0.1, 0.6), (0.2, 0.5)], [(0.3, 0.4)]]
    assert [cloud.get_label() for cloud in axis.collections] == ["text", "none"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("validation NDCG@20", "test NDCG@20")


def test_the_filled_dot_of_a_strip_is_the_default_configuration(painted: list[Figure]) -> None:
    charts.strip({"text": np.array([0.3, 0.1, 0.2]), "none": np.array([0.6, 0.5, 0.7])}, "validation NDCG@20")
    (axis,) = painted[0].axes
    others, default, others_of_none, default_of_none = axis.collections
    assert [y for _, y in dots(axis)[0]] == [0.1, 0.2]
    assert dots(axis)[1] == [(0, 0.3)]
    assert [y for _, y in dots(axis)[2]] == [0.5, 0.7]
    assert dots(axis)[3] == [(1, 0.6)]
    for place, cloud in enumerate((others, others_of_none)):
        assert all(abs(x - place) <= 0.2 for x, _ in dots(axis)[2 * place])
        assert len(cloud.get_facecolor()) == 0
    assert all(len(dot.get_facecolor()) for dot in (default, default_of_none))
    assert [label.get_text() for label in axis.get_xticklabels()] == ["text", "none"]


def test_stacked_bars_begin_where_the_ones_before_end(painted: list[Figure]) -> None:
    charts.stacked({"text": (30.0, 12.0), "none": (8.0, 4.0)}, ("tuning", "final runs"))
    (axis,) = painted[0].axes
    bars = [(spanned(bar).x0, spanned(bar).x1) for bar in axis.patches]
    assert bars == [(0.0, 30.0), (0.0, 8.0), (30.0, 42.0), (8.0, 12.0)]
    assert axis.get_legend_handles_labels()[1] == ["tuning", "final runs"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["text", "none"]


def test_a_forest_stands_at_its_gains_with_their_signs() -> None:
    lines = [
        charts.Line("m", "d", 10.0, (4.0, 17.0), "better"),
        charts.Line("n", "d", -6.0, (-9.0, -2.5), "worse"),
        charts.Line("o", "d", 1.0, None, "no word"),
    ]
    (axis,) = charts.forest(lines, "gain, %", 2.0).figure().axes
    drawn = [line_points(line) for line in axis.get_lines()[1:]]
    assert drawn == [[(4, 0), (17, 0)], [(10, 0)], [(-9, 1), (-2.5, 1)], [(-6, 1)], [(1, 2)]]
    (margin,) = axis.patches
    assert (spanned(margin).x0, spanned(margin).x1) == (-2.0, 2.0)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["m", "n", "o"]
    assert [(text.get_text(), text.xy[1]) for text in axis.texts] == [("better", 0), ("worse", 1), ("no word", 2)]


def test_dumbbells_stand_at_the_means_of_their_conditions() -> None:
    panels = {"d": {"m": {"none": 0.5, "text": 0.25}, "n": {"text": 0.4}}, "e": {"m": {"none": 0.1, "text": 0.3}}}
    first, second = charts.dumbbells(panels, ["none", "text"], "NDCG@20").figure().axes
    found = {
        (axis.get_title("left"), name): [(x, round(y)) for x, y in points]
        for axis in (first, second)
        for name, points in named_lines(axis).items()
    }
    assert found == {
        ("d", "none"): [(0.5, 0)],
        ("d", "text"): [(0.25, 0), (0.4, 1)],
        ("e", "none"): [(0.1, 0)],
        ("e", "text"): [(0.3, 0)],
    }
    assert [line_points(line) for line in first.get_lines()[:2]] == [[(0.25, 0), (0.5, 0)], [(0.4, 1), (0.4, 1)]]


def test_colours_of_a_heat_map_are_those_of_the_numbers_in_it() -> None:
    panels = {"d": {"m": {"a": "+10.0†", "b": "-4.0"}, "n": {"b": "+2.5"}}}
    axis, _ = charts.heat(panels, ["a", "b"], "tuned gain, %").figure().axes
    (image,) = axis.images
    assert image.get_array().tolist() == [[10.0, -4.0], [None, 2.5]]
    assert image.get_clim() == (-10.0, 10.0)
    assert {(text.get_text(), text.get_position()) for text in axis.texts} == {
        ("+10.0†", (0, 0)),
        ("-4.0", (1, 0)),
        ("-", (0, 1)),
        ("+2.5", (1, 1)),
    }
