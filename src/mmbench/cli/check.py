"""``python -m mmbench check DIR``: what would spoil a study, in plain words with count and example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench import paths
from mmbench.cli.words import dataset_words, folder_and_pairs, next_line, settings, take_language, tell_loading
from mmbench.messages import Message, Translator
from mmbench.messages.commands import override

if TYPE_CHECKING:
    from mmbench.checks import Finding

BLOCKED = 2
#: How a folder is read that is no data set of the package: ``dataset=folder``.
FOLDER = "folder"
HELP = Message(
    """\
python -m mmbench check DIR [gain=0.05] [lang=en|ja] [dataset=NAME] [dataset.KEY=VALUE ...]

Look for what would spoil a study on a dataset folder: repeated rows, times in milliseconds or in the future, ids that
do not meet, items that are one, texts written after the purchase, content that is missing, feature files that are not
what their sidecar says, texts that the encoder cannot read, too few users for the gain of interest. Nothing is written.

The folder is read as a sweep of dataset=folder reads it; with dataset=ml100k, as one of that data set. The word is not
needed where the folder is the data set's own, in $MMBENCH_DATA, and prepare did not write it. dataset.protocol=last_out
and other keys of conf/dataset/folder.yaml change that.

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
    asked = [value for key, value in pairs if key == "dataset"]
    options = settings([(key, value) for key, value in pairs if key.partition(".")[0] != "dataset"], Options)
    tell_loading(translator)
    import torch

    from mmbench.checks import Severity
    from mmbench.checks.check_folder import check_folder
    from mmbench.cli import compose, habits
    from mmbench.data.sources import modalities_in

    torch.set_num_threads(1)
    choice = asked[-1] if asked else _known(folder) or FOLDER
    data = dataset_words(folder)
    if choice != FOLDER:
        data = [f"dataset={choice}", override("dataset.path", str(folder))]
    data += reading
    config = compose.compose(habits.ours(data, multirun=False)).job().config.dataset
    if choice != FOLDER:
        print(translator(Message("read as dataset={choice}", choice=choice)))
    findings = check_folder(folder, options.gain, config=config)
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
    following = ["signal", *data] if modalities_in(folder) else ["plan", *data, "modality=none"]
    print("\n" + next_line(following, translator))


def _known(folder: Path) -> str | None:
    """The data set of the package whose own folder this is; None for any other, and for one that ``prepare`` wrote.

    The data sets lie in ``data/`` by default, where people put their own, and a name may be that of both.
    """
    from mmbench.cli import compose
    from mmbench.data.sources import was_prepared

    name = folder.resolve().name
    if not (paths.config_dir() / "dataset" / f"{name}.yaml").is_file() or was_prepared(folder):
        return None
    own = compose.compose([f"dataset={name}"]).config["dataset"]["path"]
    return name if own is not None and Path(own).resolve() == folder.resolve() else None


def sentence(finding: Finding, translator: Translator) -> str:
    """A finding in plain words."""

    def formatted(value: Any) -> Any:
        if isinstance(value, float):
            return translator.percent(value, 1 if abs(value) < 0.1 else 0)
        return translator.number(value) if isinstance(value, int) else value

    values = {key: formatted(value) for key, value in finding.values.items()}
    return translator(Message(finding.template, finding.count, **values))
