"""The table of trained gains: which trainings it takes, which setting counts, and that it goes on where it stopped."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.evaluation import trained_gains
from tests.evaluation.trained_gains import ROWS, SETTINGS, Subject, chosen, main, read, subjects, table

DECISION = Path(__file__).resolve().parents[2] / "docs" / "decisions" / "0016-truth-of-planted-worlds.md"
WORLD = ("text_only", 0)
#: Test metric by condition; the best setting on validation is the third.
TEST = {"none": 0.1, "text": 0.1918, "fused": 0.1911}


def result(subject: Subject) -> dict[str, object]:
    place = SETTINGS.index((subject.lr, subject.reg_weight))
    best = {"validation": 0.3, "test": TEST[subject.condition]}
    others = {"validation": None, "test": None} if place == 0 else {"validation": 0.2, "test": 0.9}
    return {**subject._asdict(), **(best if place == 2 else others), "seconds": 1.0}


def of_world() -> list[Subject]:
    return [subject for subject in subjects() if (subject.world, subject.seed) == WORLD]


def test_the_setting_that_validation_likes_best_counts() -> None:
    done = {subject: result(subject) for subject in of_world()}
    assert chosen(done, *WORLD, "vbpr", "text") == 0.1918
    row = "| `text_only` | 0 | .1000 | .1918 | .1911 | -0.4 % | .1000 | .1918 | .1911 | -0.4 % |"
    assert table(done) == [row]
    del done[of_world()[-1]]
    assert table(done) == []


def test_it_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[Subject] = []

    def train(subject: Subject) -> dict[str, object]:
        trained.append(subject)
        return {**subject._asdict(), "validation": 0.1, "test": 0.1, "seconds": 1.0}

    monkeypatch.setattr(trained_gains, "trained", train)
    file = tmp_path / "kept.json"
    main(["--first", "2"], file)
    main(["--first", "1"], file)
    main(["--list"], file)
    assert trained == list(subjects())[:3] == list(read(file))
    everything = sum(1 for _ in subjects())
    assert capsys.readouterr().out.endswith(f"3 of {everything} trainings\n")


def test_a_training_is_what_a_command_takes() -> None:
    first = next(iter(subjects()))
    assert first.overrides[:5] == [
        "dataset.world=complementary@1", "dataset.world_options.seed=0", "dataset.protocol=paper", "model=vbpr",
        "modality=none",
    ]  # fmt: skip
    assert len(set(subjects())) == len(list(subjects())) == 2 * len(SETTINGS) * 4 * 3


def test_the_page_has_the_rows_of_what_is_kept() -> None:
    own = DECISION.read_text(encoding="utf-8").partition("Rows that the script does not train")[0]
    assert re.findall(r"^\| `[a-z_]+(?:@1)?` \| \d \|.*$", own, re.M) == table(read())
    assert set(read()) == set(subjects())
    assert len(table(read())) == len(ROWS)


@pytest.mark.slow
def test_one_training(tmp_path: Path) -> None:
    main(["--first", "1"], tmp_path / "kept.json")
    (kept,) = read(tmp_path / "kept.json").values()
    assert 0.05 < kept["test"] < kept["validation"] < 0.3
