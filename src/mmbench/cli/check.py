"""``python -m mmbench check DIR``: what would spoil a study, in plain words with count and example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench import paths
from mmbench.cli.words import folder_and_pairs, settings, take_language
from mmbench.messages import Message, Translator

if TYPE_CHECKING:
    from mmbench.checks import Finding
    from mmbench.data.dataset import DatasetConfig

BLOCKED = 2
HELP = Message(
    """\
python -m mmbench check DIR [gain=0.05] [lang=en|ja]

Look for what would spoil a study on a dataset folder: repeated rows, times in milliseconds or in the future, ids that
do not meet, items that are one, texts written after the purchase, content that is missing, feature files that are not
what their sidecar says, texts that the encoder cannot read, too few users for the gain of interest. Nothing is written.

Ends with 0, also with warnings, and with 2 if something blocks a study.
"""
)


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
    """Check a folder, print the findings and exit with 2 if one of them blocks a study.

    Raises:
        ValueError: for a mistake in the command line, or a folder whose interactions cannot be read.
    """
    translator, _ = take_language(argv)
    if not argv or {"-h", "--help"} & set(argv):
        print(translator(HELP), end="")
        return
    folder, pairs = folder_and_pairs(argv, "check")
    options = settings(pairs, Options)
    import torch

    from mmbench.checks import Severity
    from mmbench.checks.check_folder import check_folder

    torch.set_num_threads(1)
    findings = check_folder(folder, options.gain, config=_known(folder))
    for finding in findings:
        blocks = finding.severity is Severity.BLOCKING
        severity = translator(Message("BLOCKS") if blocks else Message("warning"))
        print(f"{severity}: {sentence(finding, translator)}")
    n_blocking = sum(finding.severity is Severity.BLOCKING for finding in findings)
    if not findings:
        print(translator(Message("Nothing was found that would spoil a study.")))
    print(
        translator(
            Message(
                "{blocking} blocking, {warnings} warnings",
                blocking=translator.number(n_blocking),
                warnings=translator.number(len(findings) - n_blocking),
            )
        )
    )
    if n_blocking:
        raise SystemExit(BLOCKED)


def _known(folder: Path) -> DatasetConfig | None:
    """How ``dataset=NAME`` reads a folder with the name of a data set that the package knows."""
    name = folder.resolve().name
    if not (paths.config_dir() / "dataset" / f"{name}.yaml").is_file():
        return None
    from mmbench.cli import compose

    config = compose.compose([f"dataset={name}"]).job().config.dataset
    return None if config.world else replace(config, path=str(folder))


def sentence(finding: Finding, translator: Translator) -> str:
    """A finding in plain words."""

    def formatted(value: Any) -> Any:
        if isinstance(value, float):
            return translator.percent(value, 1 if abs(value) < 0.1 else 0)
        return translator.number(value) if isinstance(value, int) else value

    values = {key: formatted(value) for key, value in finding.values.items()}
    return translator(Message(finding.template, finding.count, **values))
