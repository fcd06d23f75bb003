"""``python -m mmbench signal dataset=NAME``: is a trial worth it? Minutes on a CPU, no recommender is trained."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmbench.cli.words import Parser, next_line, take_language, tell_loading
from mmbench.messages import Message, Translator
from mmbench.messages.commands import override

#: Conditions of a first sweep and its contrasts, by the modalities of the items; nothing where the preset says it.
_COMPARED = {
    (): ("none", ""),
    ("image",): ("none,image,shuffled_image", ""),
    ("text",): ("none,text", ""),
    ("image", "text"): ("", ""),
    ("audio", "image"): (
        "none,audio,image,fused,shuffled_image,audio_shuffled_image",
        "fused_vs_audio,image_vs_none,audio_vs_none,fused_vs_audio_shuffled_image",
    ),
}
#: The same of images beside anything else, and of anything else without images.
_OF_SEVERAL = (
    "none,without_image,image,fused,shuffled_image,fused_shuffled_image",
    "fused_vs_without_image,image_vs_none,without_image_vs_none,fused_vs_fused_shuffled_image",
)
_WITHOUT_IMAGES = ("none,fused", "fused_vs_none")


def main(argv: Sequence[str]) -> None:
    """Run the pre-test of a data set, print it and write ``signal.json`` and ``signal.md``."""
    translator, argv = take_language(argv)
    asked = _asked(argv, translator)
    from mmbench.cli import compose, habits
    from mmbench.cli.folders import check_writable
    from mmbench.cli.run import config_dirs

    flags = [f"--config-dir={folder}" for folder in asked.config_dir]
    overrides = habits.ours(asked.overrides, multirun=False)
    composed = compose.compose(overrides, config_dirs(flags))
    tell_loading(translator)
    import torch

    from mmbench import paths
    from mmbench.inference.contribution.pretest import pretest
    from mmbench.report.pretest_text import as_markdown, as_record, as_text
    from mmbench.store import files

    torch.set_num_threads(1)  # many small factorisations: more threads only get in each other's way
    job = composed.job()
    name = job.cell.dataset
    record = paths.signal_file(job.sweep_dir.parent, name)
    check_writable(record.parent, "paths.multirun=FOLDER")
    dataset, text = job.dataset(), record.with_suffix(".md")
    result = pretest(dataset.split.train, dataset.features, new_items=True)
    print(as_text(name, dataset, result, translator), end="")
    files.write_document(record, as_record(name, dataset, result))
    files.write_text(text, as_markdown(name, dataset, result, translator))
    print(
        translator(
            Message("written to {folder}: {record}, {text}", folder=record.parent, record=record.name, text=text.name)
        )
    )
    data = [f"dataset={composed.choices['dataset']}", *(w for w in asked.overrides if not w.startswith("dataset="))]
    print("\n" + next_line(["plan", *flags, *company_words(data, sorted(dataset.features), name)], translator))


def company_words(overrides: Sequence[str], modalities: Sequence[str], name: str, budget: str = "small") -> list[str]:
    """The overrides of a first sweep on a data set: every model and every control that a decision needs.

    Args:
        overrides: which data set, and how it is read.
        modalities: what its items have.
        name: of the sweep.
        budget: its effort.
    """
    others = _OF_SEVERAL if "image" in modalities else _WITHOUT_IMAGES
    conditions, contrasts = _COMPARED.get(tuple(sorted(modalities)), others)
    compared = [f"modality={conditions}"] if conditions else []
    compared += [f"statistics.contrasts=[{contrasts}]"] if contrasts else []
    data = [word for word in overrides if word != "dataset=folder"]  # the preset's own
    return ["experiment=company", *data, *compared, f"budget={budget}", override("sweep.name", name)]


def _asked(argv: Sequence[str], translator: Translator) -> argparse.Namespace:
    parser = Parser(
        prog="python -m mmbench signal",
        description=translator(Message("Is a trial of text, images, ... worth it? Trains no recommender.")),
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        help=translator(Message("overrides of the configuration, for example dataset=ml100k; lang=ja for Japanese")),
    )
    parser.add_argument(
        "--config-dir",
        type=Path,
        action="append",
        default=[],
        help=translator(Message("folder of further configurations")),
    )
    return parser.parse_args(argv)
