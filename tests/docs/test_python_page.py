"""The examples of docs/python.md run, one after the other, as a reader would run them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

import mmbench
from tests.docs.test_links import ROOT

PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(?:python|yaml)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_shows_every_name() -> None:
    shown = set(re.findall(r"(?:mmbench|results)\.(\w+)", PAGE))
    public = {name for name in vars(mmbench.Results) if not name.startswith("_")}
    assert shown >= {"sweep", "read", "load", "Refusal"} | public


@pytest.mark.slow
def test_its_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    names: dict[str, Any] = {}
    for block in BLOCKS:
        file = re.match(r"# (\S+\.(?:py|yaml))\n", block)
        if file is None:
            exec(compile(block, "docs/python.md", "exec"), names)
        else:
            Path(file[1]).parent.mkdir(parents=True, exist_ok=True)
            Path(file[1]).write_text(block, encoding="utf-8")
    printed = capsys.readouterr().out
    assert re.search(r"^hybridknn: [+-]\d+\.\d% \[[+-]\d+\.\d%, [+-]\d+\.\d%\], \w+", printed, re.MULTILINE)
    assert "model=vpbr is unknown; did you mean vbpr?" in printed
    assert Path("forest.pdf").stat().st_size > 1000
    metrics = names["results"].table()
    assert set(metrics["metric"]) == {"ndcg@20", "my_parts.first_hit@5"}
    assert set(metrics["status"]) == {"done"}
    own = names["results"].verdicts()
    assert set(own["contrast"]) >= {"fused_vs_coarse", "coarse_vs_text"}
    assert own["gain"].notna().all()
    sys.modules.pop("my_parts", None)
