"""Commands that sentences name can be copied into a shell, whoever says them."""

from __future__ import annotations

import re
import subprocess

import pytest

from mmbench.messages.commands import command_line
from mmbench.scheduling.sweep import sweep_command
from tests.messages.catalogue import sentences

#: Words that zsh takes for patterns or for a folder of a user unless they stand in quotes; ``{value}`` is a place.
UNQUOTED = re.compile(
    r"(?<![\w'+./{}])"
    r"(?:[+\w./{}]+=(?:\[|\{(?!\w+(?:[!:]\w+)?\}))|~(?:key|search|tracking|\{key\})|pip install mmbench\[)"
)
WORDS = ["dataset.name=店", "it's", "a b", "~/x", "$HOME", "`id`", "", 'sweep.name="a=b"', "*", "a;b", "a\nb", "\\"]


def test_a_shell_reads_the_words_that_were_meant() -> None:
    typed = command_line(WORDS).removeprefix("python -m mmbench ")
    shown = subprocess.run(["sh", "-c", f"printf '%s\\0' {typed}"], capture_output=True, text=True, check=True).stdout
    assert shown.split("\0")[:-1] == WORDS


def test_words_of_sentences_can_be_pasted_into_zsh() -> None:
    said = [form for sentence in sentences() for form in sentence.forms]
    assert [form for form in said if UNQUOTED.search(form)] == []


@pytest.mark.parametrize("word", ["dataset.name=店", "data/メンズ", "été", "model=vbpr,fusion", "a@b:c%d+e"])
def test_letters_of_any_language_need_no_quotes(word: str) -> None:
    assert command_line([word]) == f"python -m mmbench {word}"


def test_what_goes_on_with_a_sweep_is_written_as_the_next_command_is() -> None:
    goes_on = sweep_command(["model=bpr", "dataset.name=店"], "model-bpr")
    assert goes_on == command_line(["-m", "model=bpr", "dataset.name=店", "sweep.name=model-bpr"])
    assert goes_on == "python -m mmbench -m model=bpr dataset.name=店 sweep.name=model-bpr"
    assert sweep_command(["sweep.name=s"], "s") == "python -m mmbench -m sweep.name=s"
    for word in ("study.resume=force", "+study.resume=never"):  # what goes on neither begins afresh nor is refused
        assert sweep_command(["sweep.name=s", word], "s") == "python -m mmbench -m sweep.name=s"
    assert sweep_command([], "a=b") == "python -m mmbench -m 'sweep.name=\"a=b\"'"
