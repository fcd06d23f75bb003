"""``python -m mmbench check``: sentences in two languages and an exit code that a script can rely on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench.cli import main

Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A log of forty users and thirty items, and nothing else."""
    rng = np.random.default_rng(0)
    bought = np.hstack([rng.permutation(30)[:6] for _ in range(40)])
    log = pd.DataFrame({"user_id": np.repeat([f"u{u}" for u in range(40)], 6), "item_id": [f"i{i}" for i in bought]})
    (tmp_path / "bare").mkdir()
    log.to_parquet(tmp_path / "bare" / "interactions.parquet")
    return tmp_path / "bare"


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Check:
    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mmbench", "check", *words])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return run


def test_nothing_found_ends_with_0(bare: Path, check: Check) -> None:
    said = "Nothing was found that would spoil a study.\n0 blocking, 0 warnings\n"
    assert check(str(bare), "gain=5") == (0, said, "")
    assert check(str(bare), "gain=5", "lang=ja")[1].startswith("調査の妨げになる問題は見つかりませんでした。")


def test_warnings_end_with_0(bare: Path, check: Check) -> None:
    log = pd.read_parquet(bare / "interactions.parquet")
    pd.concat([log, log[:1]]).to_parquet(bare / "interactions.parquet")
    user, item = log.iloc[0]
    code, out, _ = check(str(bare), "gain=5")
    assert (code, out) == (
        0,
        f"warning: 1 of 241 rows repeats a user and an item (for example user {user}, item {item}). "
        "Only the earliest counts.\n0 blocking, 1 warnings\n",
    )


def test_blocking_findings_end_with_2_and_come_first(bare: Path, check: Check) -> None:
    log = pd.read_parquet(bare / "interactions.parquet").assign(timestamp=1_700_000_000_000)
    pd.concat([log, log[:1]]).to_parquet(bare / "interactions.parquet")
    code, out, err = check(str(bare), "lang=ja")
    assert (code, err) == (2, "")
    lines = out.splitlines()
    assert lines[0] == (
        "要修正: 241行中241行の日時が、秒としては大きすぎます(例: 1700000000000)。"
        "ミリ秒以下の単位なので、1,000で割ってください。"
    )
    assert lines[1].startswith("注意: 241行中1行で、ユーザーと商品の組が重複しています")
    assert lines[-1] == "要修正1件、注意1件"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], None),
        (["nowhere"], "nowhere/interactions.parquet is missing"),
        (["a", "b"], "takes one folder and words key=value, not a b"),
        (["--all"], "takes one folder and words key=value, not --all"),
        (["{bare}", "gain=much"], "gain=much must be a number"),
        (["{bare}", "gain=-1"], "gain=-1.0 must be positive"),
        (["{bare}", "lang=fr"], "lang=fr: there are only en, ja"),
        (["{bare}", "gian=1"], "there is no setting 'gian'; did you mean gain? accepted: gain, lang"),
    ],
)
def test_mistakes_are_one_line(bare: Path, check: Check, words: list[str], message: str | None) -> None:
    code, out, err = check(*[word.replace("{bare}", str(bare)) for word in words])
    if message is None:
        assert (code, out.splitlines()[0]) == (0, "python -m mmbench check DIR [gain=0.05] [lang=en|ja]")
        return
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert message in err
