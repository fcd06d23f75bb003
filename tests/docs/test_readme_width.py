"""Commands of the README fit the page on which they are read."""

from __future__ import annotations

import re

from tests.docs.test_links import ROOT

#: Columns of a block of code beside the file list of a repository page.
COLUMNS = 100


def test_no_line_of_code_is_cut_off() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) > 40
    assert [line for line in lines if len(line) > COLUMNS] == []
