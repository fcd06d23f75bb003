"""Progress is read from the ledger and makes sense in a log and on a terminal."""

from __future__ import annotations

import functools
import io
import time
from pathlib import Path
from typing import Any

import pytest

from mmbench import paths
from mmbench.scheduling.progress import Progress
from mmbench.store import ledger
from mmbench.store.schema import CellName, Cost, Stage
from tests import records

PLANNED = {"a" * 8: CellName("data", "vbpr", "text"), "b" * 8: CellName("data", "vbpr", "image")}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def ended(
    sweep: Path,
    key: str,
    index: int,
    score: float | None = 0.5,
    stage: Stage = Stage.TRIAL,
    cost: Cost | None = None,
    **changes: Any,
) -> None:
    make = records.final if stage == Stage.FINAL else functools.partial(records.trial, stage=stage)
    ledger.append(sweep, records.row(make(index, score=score, cell_key=key * 8, **changes), cost))


def progress(sweep: Path, out: io.StringIO, line_every: float = 0.0) -> Progress:
    return Progress(sweep, PLANNED, dict.fromkeys(PLANNED, 3), out, line_every=line_every)


def test_a_reader_who_goes_away_is_no_cell_that_failed(tmp_path: Path) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        progress(tmp_path, Gone()).start([])


def test_it_begins_with_what_is_planned_and_done(tmp_path: Path) -> None:
    ended(tmp_path, "a", 0)
    out = io.StringIO()
    progress(tmp_path, out).start(finished=["b" * 8])
    assert out.getvalue() == "2 cells, 6 trainings planned; 4 done before, 2 to go\n"


def test_each_training_is_told_once(tmp_path: Path) -> None:
    out = io.StringIO()
    shown = progress(tmp_path, out)
    shown.start(finished=[])
    ended(tmp_path, "a", 0, 0.25)
    ended(tmp_path, "a", 1, 0.125)
    shown.update()
    shown.update()
    ended(tmp_path, "a", 1, 0.75)  # run again by somebody who did not know
    ended(tmp_path, "c", 0)  # of another sweep's cell
    shown.update()
    ended(tmp_path, "a", 1, 0.5, Stage.FINAL)
    shown.update()
    lines = out.getvalue().splitlines()[1:]
    assert [line.split("] ")[1] for line in lines] == [
        "data/vbpr/text trial 0: 0.2500 (best 0.2500)",
        "data/vbpr/text trial 1: 0.1250 (best 0.2500)",
        "data/vbpr/text final seed 1: 0.5000 (best 0.2500)",
    ]
    assert [line.split(",")[0] for line in lines] == ["[0/2 cells", "[0/2 cells", "[1/2 cells"]
    assert [" 1/6 " in lines[0], " 2/6 " in lines[1], " 3/6 " in lines[2]] == [True] * 3


def test_a_failed_training_is_said(tmp_path: Path) -> None:
    out = io.StringIO()
    shown = progress(tmp_path, out)
    shown.start(finished=[])
    ended(tmp_path, "b", 0, None)
    ended(tmp_path, "b", 1, 0.5)
    shown.update()
    first, second = out.getvalue().splitlines()[1:]
    assert first.endswith("data/vbpr/image trial 0: failed (no score yet)")
    assert second.endswith("data/vbpr/image trial 1: 0.5000 (best 0.5000)")


def test_a_torn_line_does_not_stop_it(tmp_path: Path) -> None:
    out = io.StringIO()
    shown = progress(tmp_path, out)
    shown.start(finished=[])
    ended(tmp_path, "a", 0)
    with paths.ledger_file(tmp_path).open("a") as lines:
        lines.write('{"schema_version": 3, "cell_key": "aaaa')
    shown.update()
    ended(tmp_path, "a", 1)
    shown.update()
    assert shown.n_done == 2


@pytest.mark.parametrize(
    ("ran_seconds", "said"), [(20, "20 s"), (80, "80 s"), (400, "7 min"), (5000, "83 min"), (9000, "2.5 h")]
)
def test_time_left_follows_the_pace_so_far(ran_seconds: float, said: str, tmp_path: Path) -> None:
    """Three of six trainings ran in the time, so the other three take as long."""
    shown = progress(tmp_path, io.StringIO())
    shown.start(finished=[])
    assert shown.time_left() == "unknown time"
    for index in range(3):
        ended(tmp_path, "a", index)
    shown.update()
    shown.began = time.monotonic() - ran_seconds
    assert shown.time_left() == said


def test_what_was_done_before_says_nothing_about_the_pace(tmp_path: Path) -> None:
    for index in range(3):
        ended(tmp_path, "a", index)
    shown = progress(tmp_path, io.StringIO())
    shown.start(finished=["a" * 8])
    assert shown.time_left() == "unknown time"
    ended(tmp_path, "b", 0)
    shown.update()
    shown.began = time.monotonic() - 10
    assert shown.time_left() == "20 s"


def test_each_model_takes_what_its_trainings_took(tmp_path: Path) -> None:
    """Six seconds of trainings in three: two at a time. What nobody timed, or nobody has run, is not made up."""
    planned = {
        key * 8: CellName("data", model, "text") for key, model in {"a": "ease", "b": "vbpr", "c": "bm3"}.items()
    }
    shown = Progress(tmp_path, planned, dict.fromkeys(planned, 4), io.StringIO())
    shown.start(finished=["c" * 8])

    def after(seconds: float) -> str:
        shown.update()
        shown.began = time.monotonic() - seconds
        return str(shown.time_left())

    ended(tmp_path, "a", 0, cost=Cost(seconds=1.0))
    assert after(1) == "more than 3 s"
    ended(tmp_path, "b", 0, cost=Cost(seconds=3.0, total_seconds=5.0))  # with a try that failed
    assert after(3) == "9 s"  # 3 of 1 s and 3 of 5 s
    ended(tmp_path, "b", 1, None, cost=Cost())
    ended(tmp_path, "b", 2, None, cost=Cost())
    assert after(3) == "2 s"  # 3 of 1 s and 1 of 5/3 s


def test_no_pace_is_known_from_what_is_only_listed_again(tmp_path: Path) -> None:
    """Its seconds are not known; those of before would be divided by none."""
    ended(tmp_path, "a", 0, cost=Cost(seconds=500.0))
    shown = progress(tmp_path, io.StringIO())
    shown.start(finished=[])
    ended(tmp_path, "a", 1, cost=Cost())
    shown.update()
    assert shown.time_left() == "unknown time"
    ended(tmp_path, "a", 2, cost=Cost(seconds=500.0))
    shown.update()
    shown.began = time.monotonic() - 500
    assert shown.time_left() == "17 min"  # 3 of the other condition, 333 s each


def test_what_is_left_of_a_cell_that_failed_is_not_to_go(tmp_path: Path) -> None:
    out, failed = io.StringIO(), set[str]()
    shown = Progress(tmp_path, PLANNED, dict.fromkeys(PLANNED, 3), out, line_every=0.0, has_failed=failed.__contains__)
    shown.start(finished=[])
    ended(tmp_path, "b", 0, None)
    shown.update()
    failed.add("b" * 8)
    ended(tmp_path, "a", 0, 0.25)
    shown.update()
    last = out.getvalue().splitlines()[-1]
    assert last.startswith("[1/2 cells, 2/4 trainings, ")
    assert last.endswith("left] data/vbpr/text trial 0: 0.2500 (best 0.2500)")


def test_each_condition_takes_what_it_took_on_other_folds(tmp_path: Path) -> None:
    """Before any of its own has ended, what others of the model took stands in; another data set says nothing."""
    names = {"a": ("d-fold0", "none"), "b": ("d-fold0", "text"), "c": ("d-fold1", "none"), "d": ("d-fold1", "text")}
    planned = {key * 8: CellName(data, "vbpr", condition) for key, (data, condition) in names.items()}
    planned["e" * 8] = CellName("other", "vbpr", "none")
    data = {"d-fold0": "d", "d-fold1": "d", "other": "other"}
    shown = Progress(tmp_path, planned, dict.fromkeys(planned, 2), io.StringIO(), data=data)
    shown.start(finished=[])

    def after(seconds: float) -> str:
        shown.update()
        shown.began = time.monotonic() - seconds
        return str(shown.time_left())

    ended(tmp_path, "a", 0, cost=Cost(seconds=2.0))
    assert after(2) == "more than 14 s"  # 7 of 2 s
    ended(tmp_path, "b", 0, cost=Cost(seconds=10.0))
    assert after(12) == "more than 36 s"  # 3 of 2 s and 3 of 10 s
    ended(tmp_path, "e", 0, cost=Cost(seconds=3.0))
    assert after(15) == "39 s"


def test_nothing_is_known_where_all_that_is_left_has_not_begun(tmp_path: Path) -> None:
    planned = {"a" * 8: CellName("data", "ease", "-"), "b" * 8: CellName("data", "vbpr", "text")}
    shown = Progress(tmp_path, planned, dict.fromkeys(planned, 1), io.StringIO())
    shown.start(finished=[])
    ended(tmp_path, "a", 0, cost=Cost(seconds=1.0))
    shown.update()
    assert shown.time_left() == "unknown time"


def test_a_log_is_not_flooded_but_hears_of_every_cell(tmp_path: Path) -> None:
    out = io.StringIO()
    shown = progress(tmp_path, out, line_every=3600.0)
    shown.start(finished=[])
    for index in range(3):
        ended(tmp_path, "a", index)
    shown.update()
    (line,) = out.getvalue().splitlines()[1:]
    assert line.startswith("[1/2 cells, 3/6 trainings")


def test_a_terminal_shows_a_bar_and_keeps_a_line_for_every_cell(tmp_path: Path) -> None:
    out = Terminal()
    shown = progress(tmp_path, out, line_every=3600.0)
    shown.start(finished=[])
    for index in range(3):
        ended(tmp_path, "a", index)
    shown.update()
    shown.stop()
    written = out.getvalue()
    assert written.startswith("2 cells, 6 trainings planned")
    assert written.count("[1/2 cells, 3/6 trainings") >= 2  # the line that stays, and the bar's text
    assert "\u2501" in written
    assert "\x1b[?25h" in written  # the cursor is back


def test_final_runs_of_another_choice_come_on_top(tmp_path: Path) -> None:
    for index, configuration in ((1, {"model.size": 1}), (2, {"model.size": 1}), (1, {"model.size": 2})):
        ended(tmp_path, "a", index, stage=Stage.FINAL, configuration=configuration)
    out = io.StringIO()
    shown = progress(tmp_path, out)
    shown.start(finished=[])
    assert out.getvalue() == "2 cells, 6 trainings planned; 2 done before, 4 to go\n"
    ended(tmp_path, "a", 0)
    ended(tmp_path, "a", 2, stage=Stage.FINAL, configuration={"model.size": 2})
    ended(tmp_path, "a", 0, stage=Stage.PROPOSAL)
    shown.update()
    lines = out.getvalue().splitlines()[1:]
    assert [line.split(",")[1] for line in lines] == [" 3/6 trainings", " 4/7 trainings", " 5/8 trainings"]
    assert "text proposal 0" in lines[2]


def test_what_another_command_raised_is_counted_as_it_comes(tmp_path: Path) -> None:
    out = io.StringIO()
    shown = progress(tmp_path, out)
    shown.start(finished=[])
    for key in "ab":
        for index in range(4):
            ended(tmp_path, key, index)
    shown.update()
    assert (shown.n_done, shown.total, shown.time_left()) == (8, 8, "0 s")
