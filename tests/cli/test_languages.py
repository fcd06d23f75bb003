"""Whatever a command prints under ``lang=ja`` is Japanese: progress, results, mistakes and ``--help``."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench.cli import main, run
from mmbench.cli.errors import language_in, one_line_errors
from mmbench.data.planted import make_world
from mmbench.data.sources import write_folder
from mmbench.messages import Refusal
from tests.cli.conftest import Command, Said
from tests.cli.test_errors import (
    broken_meta,
    change_meta,
    empty_log,
    foreign_ids,
    foreign_sidecar,
    nan_features,
    no_interactions,
    no_parquet,
    no_test_rows,
    odd_part,
    other_order,
    pickled_features,
    short_features,
)
from tests.cli.test_malformed import JAPANESE
from tests.report.pages import Text, english_sentences
from tests.tiny import write_broken_model

SPOILS = (
    broken_meta, change_meta, empty_log, foreign_ids, foreign_sidecar, nan_features, no_interactions, no_parquet,
    no_test_rows, odd_part, other_order, pickled_features, short_features,
)  # fmt: skip


def is_japanese(said: Said, whatever: str = "") -> None:
    """One line of error in Japanese, and nothing of the English around it."""
    assert (said.code, said.err.count("\n")) == (2, 1), said.err
    message = said.err.removeprefix("エラー: ")
    assert message != said.err
    assert not message.startswith("設定か入力の誤りです"), message
    assert JAPANESE.search(message.replace(whatever, "") if whatever else message), message


def test_a_letter_that_a_terminal_cannot_show_ends_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "argv", ["mmbench", "report", "--help", "lang=ja"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    terminal.seek(0)
    assert "実験".encode("ascii", "backslashreplace").decode() in terminal.read()


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``mmbench`` with these words and no others."""

    def run(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["mmbench", *words])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "shop"
    write_folder(make_world("complementary", n_users=60, n_items=80, per_user=10), folder, {})
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["check", "nowhere"], ["check", "a", "b"], ["check", "--all"], ["check", ".", "gain=much"],
        ["check", ".", "gain=-1"], ["check", ".", "gian=1"],
        ["signal", "dataset=ml10k"], ["signal", "dataset.world=none"], ["signal", "--nope"], ["signal", "x"],
        ["signal", "dataset=folder", "dataset.path=nowhere"], ["signal", "dataset.encoder.image=clip"],
        ["signal", "dataset=planted,ml100k"], ["check", ".", "dataset.protocol=time,last_out"],
        ["plan", "--fast"], ["plan", "model=vpbr"], ["plan", "modell=bpr"], ["plan", "optimizer.lrr=1"],
        ["plan", "vbpr"], ["plan", "budget.trials=0"], ["plan", "budget.rungs=[9]"], ["plan", "model=external"],
        ["plan", "optimizer.lr=5.0"], ["plan", "+search.model.depth={low:1,high:3}"],
        ["plan", "search.model.reg_weight.low=9"], ["plan", "model._target_=no.such.Model"],
        ["plan", "model._target_=torch.nn.Linear"], ["plan", "modality=audio"], ["plan", "modality.states.image=blur"],
        ["plan", "modality.missing.image=2"], ["plan", "modality.missing_rule=some"],
        ["plan", "dataset.protocol=random"],
        ["plan", "dataset.min_rating=3"], ["plan", "dataset.k_core=70"], ["plan", "dataset.protocol=time"],
        ["plan", "dataset.protocol=given", "dataset.split_column=fold"],
        ["plan", "sweep.workers=0"], ["plan", "report.metrics=[ndcg]"],
        ["plan", "export.top_k=100"], ["plan", "study.resume=maybe"], ["plan", "statistics.delta=0"],
        ["plan", "statistics.contrasts=[x]"], ["plan", "budget.trials=1,2"], ["plan", "+budget.hours=3"],
        ["plan", "training.accelerator=tpux"], ["plan", "training.batch_size=0"], ["plan", "+model.depth=3"],
        ["plan", "model=external", "model.recommendations=nowhere.csv"],
        ["prepare"], ["prepare", "a.csv"], ["prepare", "a.csv", "--out"], ["prepare", "nowhere.csv", "--out", "x"],
        ["prepare", "a.csv", "--out", "x", "--text-dim", "wide"], ["prepare", "a.csv", "--out", "x", "--colour", "red"],
        ["prepare", "a.csv", "--out", "x", "--t", "y"], ["prepare", "export-mmrec", "nowhere", "--out", "x"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_mistake_is_told_in_japanese(words: list[str], command: Command, plain: Command) -> None:
    run = plain if words[0] in ("check", "prepare") else command
    is_japanese(run(*words, "lang=ja"))


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
def test_bad_data_are_named_in_japanese(spoil: Callable[[Path], None], shop: Path, command: Command) -> None:
    spoil(shop)
    folder = ("dataset=folder", "dataset.name=shop", "dataset.protocol=given", f"dataset.path={shop}")
    is_japanese(command("plan", *folder, "lang=ja"), str(shop))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (nan_features, r"要修正: 特徴データ text を読めません: .*text_feat.npy の1行に NaN か無限大があります"),
        (pickled_features, r"要修正: 特徴データ text を読めません: .*pickle を含むため決して読みません"),
        (broken_meta, r"要修正: 特徴データ image を読めません: .*dataset.json は正しい JSON ではありません"),
    ],
)
def test_what_check_quotes_is_japanese_too(
    spoil: Callable[[Path], None], message: str, shop: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from mmbench.cli import check

    spoil(shop)
    with pytest.raises(SystemExit):
        check.main([str(shop), "lang=ja"])
    out = capsys.readouterr().out
    assert re.search(message, out), out
    assert all(JAPANESE.search(line.replace(str(shop), "")) for line in out.splitlines())


def test_letters_have_names_in_both_languages(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mmbench.cli import check

    items = pd.read_parquet(shop / "items.parquet").assign(title="あたたかい くつした です")
    items.to_parquet(shop / "items.parquet")
    for lang, name in (("en", "mostly in Hiragana letters"), ("ja", "文章は主にひらがなで書かれています")):
        check.main([str(shop), f"lang={lang}"])
        assert name in capsys.readouterr().out


def test_everything_a_plan_tells_is_japanese(shop: Path, command: Command) -> None:
    items = pd.read_parquet(shop / "items.parquet").drop(columns=["has_image", "has_text"])
    items.to_parquet(shop / "items.parquet")
    values = np.load(shop / "image_feat.npy")
    values[3] = 0
    np.save(shop / "image_feat.npy", values)
    folder = ("dataset=folder", "dataset.name=shop", "dataset.protocol=auto", f"dataset.path={shop}")
    out = command("plan", *folder, "dataset.trust_row_order=true", "model=bpr", "lang=ja").out
    for line in (
        "実験 ",
        "shop: ユーザー60人、商品80点、学習用",
        "image: 80点中79点にあり、",
        "image: すべて0の1行を欠損とみなしました(列 has_image がないため)",
        "protocol given(指定どおりに分割): ログに列 'split' があります",
    ):
        assert line in out
    table = re.compile(r"[\s─━═\d.shop/bpr()秒分時間-]*")
    assert [line for line in out.splitlines() if not JAPANESE.search(line) and not table.fullmatch(line)] == []


@pytest.mark.thorough
def test_everything_a_sweep_prints_is_japanese(command: Command, tmp_path: Path) -> None:
    words = ("-m", "sweep.name=s", "model=bpr,itemknn", "modality=none", "lang=ja")
    first = command(*words)
    again = command(*words, "budget.trials=2", "budget.seeds=2")
    assert (first.code, first.err, again.code, again.err) == (0, "", 0, "")
    for said in (first.out, again.out):
        text = re.sub(r"\b(popularity|itemknn|bpr|planted-complementary)\b", "", said)
        assert english_sentences(text.replace("PLANTED WORLD, MADE-UP DATA", "")) == []
    for line in (
        "実験 s -> ",
        "計画 ",
        "セル2個、学習4回の予定。完了0回、残り4回",
        "planted-complementary, ndcg@20(* 列の1位、+ 2位)",
    ):
        assert line in first.out
    assert re.search(
        r"\[セル 2/2、学習 4/4、残り 0秒\] planted-complementary/\S+ 最終学習 1: 0\.\d+\(最良 0\.\d+\)", first.out
    )
    assert "セル2個、学習8回の予定。完了4回、残り4回" in again.out
    folder = tmp_path / "s" / "report"
    assert [Text((folder / f"{name}.html").read_text()).lang for name in ("report", "report.en", "fairness")] == [
        "ja",
        "en",
        "ja",
    ]
    record = (tmp_path / "s" / "planted-complementary" / "itemknn" / "-" / "cell.json").read_text()
    assert '"lang"' not in record  # no record depends on what a command speaks
    assert (
        english_sentences(command("report", str(tmp_path / "s"), "lang=ja").out.replace("contribution.{md,csv}", ""))
        == []
    )


def test_a_cell_that_fails_and_a_language_without_a_catalogue(command: Command, tmp_path: Path) -> None:
    write_broken_model(tmp_path / "conf")
    failed = command("--config-dir", str(tmp_path / "conf"), "model=broken", "modality=text", "lang=ja")
    assert failed.code == 1
    assert re.fullmatch(r"失敗: planted-complementary/broken/text: .*\n", failed.err, flags=re.DOTALL)
    refused = command("model=bpr", "lang=fr")
    assert (refused.code, refused.err) == (2, "error: lang=fr: there are only en, ja\n")


def test_a_sweep_is_named_after_what_runs_and_not_after_the_language() -> None:
    words = ["model=bpr", "modality=none"]
    assert run._derived_name([*words, "lang=ja"]) == run._derived_name(words)


@pytest.mark.parametrize("words", [["prepare", "--help"], ["prepare", "import", "--help"], ["signal", "--help"],
                                   ["prepare", "export-mmrec", "--help"], ["check", "--help"], ["plan", "--help"],
                                   ["encode", "--help"], ["report", "--help"], ["audit", "--help"],
                                   ["bundle", "--help"], ["verify", "--help"], ["decide", "--help"]],
                         ids=" ".join)  # fmt: skip
def test_help(words: list[str], plain: Command) -> None:
    english, japanese = (plain(*words, f"lang={lang}") for lang in ("en", "ja"))
    assert (english.code, japanese.code, english.err, japanese.err) == (0, 0, "", "")
    assert not JAPANESE.search(english.out)
    # The few words of argparse itself stay English; the explanations are ours.
    for word in ("default:", "the same for"):
        assert word not in japanese.out
    assert len(JAPANESE.findall(japanese.out)) > 40


def test_the_last_language_that_there_is_counts() -> None:
    assert [language_in(words) for words in ([], ["lang=ja"], ["lang=fr"], ["lang=ja", "lang=en"])] == [
        "en", "ja", "en", "en",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Refusal("{path} has no rows", path="a.csv"), "エラー: a.csv に行がありません\n"),
        (
            FileNotFoundError(2, "No such file", "x"),
            "エラー: x: そのようなファイルやフォルダーはありません\n",
        ),
        (OSError(28, "No space left"), "エラー: ファイルを読み書きできません: ディスクに空きがありません\n"),
        (OSError(5, "I/O error", "x"), "エラー: ファイルを読み書きできません: [Errno 5] I/O error: 'x'\n"),
        (ValueError("of a\nlibrary"), "エラー: 設定か入力の誤りです: of a library\n"),
    ],
)
def test_one_line_in_japanese(error: Exception, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), one_line_errors(["lang=ja"]):
        raise error
    assert capsys.readouterr().err == said
