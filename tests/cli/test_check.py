"""``python -m mmbench check``: sentences in two languages and an exit code that a script can rely on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench.cli import main
from mmbench.data.dataset import DatasetConfig, load_dataset

Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A log of forty users and thirty items, and nothing else."""
    rng = np.random.default_rng(0)
    bought = np.hstack([rng.permutation(30)[:6] for _ in range(40)])
    log = pd.DataFrame({"user_id": np.repeat([f"u{u}" for u in range(40)], 6), "item_id": [f"i{i}" for i in bought]})
    (tmp_path / "bare").mkdir()
    log.assign(timestamp=range(1_700_000_000, 1_700_000_240)).to_parquet(tmp_path / "bare" / "interactions.parquet")
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
    said = "Nothing was found that would spoil a study.\n0 blocking, 0 warnings\n\n"
    words = f"plan dataset=folder dataset.name=bare dataset.path={bare}"
    assert check(str(bare), "gain=5") == (0, f"{said}next: python -m mmbench {words} modality=none\n", "")
    assert check(str(bare), "gain=5", "lang=ja")[1].startswith("実験の妨げになる問題は見つかりませんでした。")


def test_warnings_end_with_0(bare: Path, check: Check) -> None:
    log = pd.read_parquet(bare / "interactions.parquet")
    pd.concat([log, log[:1]]).to_parquet(bare / "interactions.parquet")
    user, item, _ = log.iloc[0]
    code, out, _ = check(str(bare), "gain=5")
    assert (code, out) == (
        0,
        f"warning: 1 of 241 rows repeats a user and an item (for example user {user}, item {item}). "
        "Only the earliest counts.\n0 blocking, 1 warning\n\n"
        f"next: python -m mmbench plan dataset=folder dataset.name=bare dataset.path={bare} modality=none\n",
    )


def test_a_log_without_times_is_warned_of_unless_its_parts_are_given(bare: Path, check: Check) -> None:
    log = pd.read_parquet(bare / "interactions.parquet").drop(columns="timestamp")
    log.to_parquet(bare / "interactions.parquet")
    code, out, _ = check(str(bare), "gain=5")
    assert code == 0
    assert out.startswith("warning: The log has no column 'timestamp', so it can only be split at random: what was")
    parts = ["train", "train", "train", "train", "valid", "test"] * 40
    log.assign(split=parts).to_parquet(bare / "interactions.parquet")
    assert "0 blocking, 0 warnings" in check(str(bare), "gain=5")[1]
    log.assign(fold=parts).to_parquet(bare / "interactions.parquet")
    assert "0 blocking, 1 warning\n" in check(str(bare), "gain=5")[1]
    _, out, _ = check(str(bare), "gain=5", "dataset.protocol=given", "dataset.split_column=fold")
    assert "0 blocking, 0 warnings" in out
    assert out.endswith("dataset.protocol=given dataset.split_column=fold modality=none\n")


def test_no_other_protocol_is_advised_where_the_data_bring_their_parts(bare: Path, check: Check) -> None:
    log = pd.read_parquet(bare / "interactions.parquet").assign(timestamp=7)
    log.to_parquet(bare / "interactions.parquet")
    assert "use dataset.protocol=paper" in check(str(bare), "gain=5")[1]
    log.assign(split=["train", "train", "train", "train", "valid", "test"] * 40).to_parquet(
        bare / "interactions.parquet"
    )
    assert "dataset.protocol" not in check(str(bare), "gain=5")[1]


def test_an_order_is_doubted_exactly_where_a_sweep_refuses_it(
    bare: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = sorted(pd.read_parquet(bare / "interactions.parquet")["item_id"].unique())
    pd.DataFrame({"item_id": ids}).to_parquet(bare / "items.parquet")
    rows = np.random.default_rng(0).standard_normal((len(ids), 4)).astype(np.float32)
    np.save(bare / "image_feat.npy", rows)
    vouched = "dataset.trust_row_order=true"
    config = DatasetConfig("bare", str(bare), protocol="auto")
    code, out, _ = check(str(bare), "gain=5")
    assert code == 2
    assert out.startswith("BLOCKS: Nothing proves that the rows of image are in the order of items.parquet")
    assert "so a sweep refuses them" in out
    with pytest.raises(ValueError, match="nothing proves that its rows are in the order"):
        load_dataset(config)
    code, out, _ = check(str(bare), "gain=5", vouched)
    assert (code, "Nothing proves" in out) == (0, False)
    assert out.splitlines()[-1].endswith(vouched)
    assert "image" in load_dataset(replace(config, trust_row_order=True)).features
    known = bare.rename(bare.with_name("tiktok"))  # whose configuration vouches for the order
    log = pd.read_parquet(known / "interactions.parquet")
    log.assign(split=["train", "train", "train", "train", "valid", "test"] * 40).to_parquet(
        known / "interactions.parquet"
    )
    assert check(str(known), "gain=5")[0] == 2  # its name alone does not make it that data set
    assert check(str(known), "gain=5", "dataset=tiktok")[0] == 0
    np.save(known / "image_feat@other.npy", rows[::-1].copy())
    labelled = known.rename(known.with_name("shop"))
    (labelled / "image_feat.ids.txt").write_text("\n".join(ids))
    code, out, _ = check(str(labelled), "gain=5")
    assert (code, "warning: Nothing proves that the rows of image@other" in out) == (0, True)


def test_a_folder_is_read_as_a_known_data_set_only_where_it_is_that_one(
    bare: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data of mmbench lie in ``data/`` unless it is told, and so may those of a shop that sells for babies."""
    monkeypatch.setenv("MMBENCH_DATA", str(bare.parent))
    baby = bare.rename(bare.with_name("baby"))
    code, out, _ = check(str(baby), "gain=5")
    assert (code, out.splitlines()[0]) == (2, "read as dataset=baby")
    assert "dataset.split_column='split_bm3_seed42' is not a column" in out
    (baby / "dataset.json").write_text('{"provenance": {"source": "somebody@1"}, "features": {}}')
    assert check(str(baby), "gain=5", "lang=ja")[0] == 2
    (baby / "dataset.json").write_text('{"provenance": {"format": "table", "mmbench": "0.1.0"}, "features": {}}')
    code, out, _ = check(str(baby), "gain=5")
    assert (code, "read as" in out) == (0, False)
    assert out.endswith(f"plan dataset=folder dataset.name=baby dataset.path={baby} modality=none\n")
    (baby / "dataset.json").unlink()
    monkeypatch.setenv("MMBENCH_DATA", str(baby))
    assert check(str(baby), "gain=5")[1].endswith(
        f"dataset=folder dataset.name=baby dataset.path={baby} modality=none\n"
    )
    code, out, _ = check(str(baby), "gain=5", "dataset=hm_sample", "dataset.k_core=2")
    assert (code, out.splitlines()[0]) == (0, "read as dataset=hm_sample")
    assert out.endswith(f"plan dataset=hm_sample dataset.path={baby} dataset.k_core=2 modality=none\n")


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
        (["nowhere"], "error: nowhere is not a folder; point dataset.path or $MMBENCH_DATA at the data"),
        (["{bare}/interactions.parquet"], "bare/interactions.parquet is not a folder; point dataset.path or $MMBENCH_"),
        (["a", "b"], "takes one folder and words key=value, not a b"),
        (["--all"], "takes one folder and words key=value, not --all"),
        (["{bare}", "gain=much"], "gain=much must be a number"),
        (["{bare}", "gain=-1"], "gain=-1.0 must be a number from 0.0001 to 10.0"),
        (["{bare}", "lang=fr"], "lang=fr: there are only en, ja"),
        (["{bare}", "dataset=bary"], "dataset=bary is unknown; did you mean baby?"),
        (["{bare}", "dataset=planted"], "does not go with dataset=planted, a planted world, whose data are made up"),
        (["{bare}", "gian=1"], "there is no setting 'gian'; did you mean gain? accepted: gain"),
    ],
)
def test_mistakes_are_one_line(bare: Path, check: Check, words: list[str], message: str | None) -> None:
    code, out, err = check(*[word.replace("{bare}", str(bare)) for word in words])
    if message is None:
        assert (code, out.splitlines()[0]) == (
            0,
            "python -m mmbench check DIR [gain=0.05] [lang=en|ja] [dataset=NAME] [dataset.KEY=VALUE ...]",
        )
        return
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert message in err
