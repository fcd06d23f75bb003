"""``python -m mmbench check DIR``: what would spoil a study, in plain words with count and example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench import paths
from mmbench.cli.words import dataset_words, folder_and_pairs, next_line, settings, take_language, tell_loading
from mmbench.messages import Message, Translator

if TYPE_CHECKING:
    from mmbench.checks import Finding
    from mmbench.data.dataset import DatasetConfig

BLOCKED = 2
HELP = Message(
    """\
python -m mmbench check DIR [gain=0.05] [lang=en|ja] [dataset.KEY=VALUE ...]

Look for what would spoil a study on a dataset folder: repeated rows, times in milliseconds or in the future, ids that
do not meet, items that are one, texts written after the purchase, content that is missing, feature files that are not
what their sidecar says, texts that the encoder cannot read, too few users for the gain of interest. Nothing is written.

The folder is read as a sweep reads it; dataset.protocol=last_out and other keys of conf/dataset/folder.yaml change
that.

Ends with 0, also with warnings, and with 2 if something blocks a study.
"""
)


@dataclass(frozen=True)
class Options:
    """Settings of the command.

    Args:
        gain: smallest relative gain of interest.
    """

    gain: float = 0.05


def main(argv: Sequence[str]) -> None:
    """Check a folder, print the findings and exit with 2 if one of them blocks a study.

    Raises:
        ValueError: for a mistake in the command line, or a folder whose interactions cannot be read.
    """
    translator, words = take_language(argv)
    if not words or {"-h", "--help"} & set(words):
        print(translator(HELP), end="")
        return
    folder, pairs = folder_and_pairs(words, "check")
    reading = [f"{key}={value}" for key, value in pairs if key.startswith("dataset.")]
    options = settings([pair for pair in pairs if not pair[0].startswith("dataset.")], Options)
    tell_loading(translator)
    import torch

    from mmbench.checks import Severity
    from mmbench.checks.check_folder import check_folder
    from mmbench.data.sources import modalities_in

    torch.set_num_threads(1)
    findings = check_folder(folder, options.gain, config=_config(folder, reading))
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
                "{blocking} blocking, {warnings}",
                blocking=translator.number(n_blocking),
                warnings=Message.counted("{n} warning", "{n} warnings", len(findings) - n_blocking),
            )
        )
    )
    if n_blocking:
        raise SystemExit(BLOCKED)
    data = [*dataset_words(folder), *reading]
    following = ["signal", *data] if modalities_in(folder) else ["plan", *data, "modality=none"]
    print("\n" + next_line(following, translator))


def _config(folder: Path, reading: Sequence[str]) -> DatasetConfig:
    """How a sweep reads the folder: as ``dataset=NAME`` where the package knows a data set of its name."""
    from mmbench.cli import compose, habits

    name = folder.resolve().name
    known = (paths.config_dir() / "dataset" / f"{name}.yaml").is_file()
    words = habits.ours([f"dataset={name if known else 'folder'}", *reading], multirun=False)
    config = compose.compose(words).job().config.dataset
    if config.world is not None:  # a folder that happens to be called like a planted world
        config = compose.compose(["dataset=folder", *words[1:]]).job().config.dataset
    return replace(config, name=name, path=str(folder))


def sentence(finding: Finding, translator: Translator) -> str:
    """A finding in plain words."""

    def formatted(value: Any) -> Any:
        if isinstance(value, float):
            return translator.percent(value, 1 if abs(value) < 0.1 else 0)
        return translator.number(value) if isinstance(value, int) else value

    values = {key: formatted(value) for key, value in finding.values.items()}
    return translator(Message(finding.template, finding.count, **values))
