"""``python -m mmbench.check DIR``: what would spoil a study, in plain words with count and example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmbench.cli.words import folder_and_pairs, settings, spoken
from mmbench.messages import Words

if TYPE_CHECKING:
    from mmbench.checks import Finding

BLOCKED = 2


@dataclass(frozen=True)
class Options:
    """Settings of the command.

    Args:
        gain: smallest relative gain of interest.
        lang: of the messages.
    """

    gain: float = 0.05
    lang: str = "en"


def main(argv: Sequence[str]) -> None:
    """Check a folder, print what was found and exit with 2 if something blocks.

    Raises:
        ValueError: for a mistake in the command line, or a folder whose interactions cannot be read.
    """
    words, _ = spoken("check", argv)
    if not argv or {"-h", "--help"} & set(argv):
        print(words("help"), end="")
        return
    folder, pairs = folder_and_pairs(argv, "check")
    options = settings(pairs, Options)
    import torch

    from mmbench.checks import Severity
    from mmbench.checks.check_folder import check_folder

    torch.set_num_threads(1)
    found = check_folder(folder, options.gain)
    for finding in found:
        print(f"{words(f'is_{finding.severity}')}: {sentence(finding, words)}")
    n_blocking = sum(finding.severity is Severity.BLOCKING for finding in found)
    if not found:
        print(words("clean"))
    print(words("summary", blocking=words.number(n_blocking), warnings=words.number(len(found) - n_blocking)))
    if n_blocking:
        raise SystemExit(BLOCKED)


def sentence(finding: Finding, words: Words) -> str:
    """A finding in plain words."""

    def told(value: Any) -> Any:
        if isinstance(value, float):
            return words.percent(value, 1 if abs(value) < 0.1 else 0)
        return words.number(value) if isinstance(value, int) else value

    return words(finding.name, finding.count, **{key: told(value) for key, value in finding.values.items()})
