"""``python -m mmbench.signal dataset=NAME``: is a trial worth it? Minutes on a CPU, no recommender is trained."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmbench.cli.words import Parser, speaking, spoken
from mmbench.messages import Words


def main(argv: Sequence[str]) -> None:
    """Run the pre-test of a data set, print it and write ``signal.json`` and ``signal.md``."""
    words, argv = spoken("signal", argv)
    asked = _asked(argv, words)
    import torch

    from mmbench import paths
    from mmbench.cli import compose
    from mmbench.inference.contribution.pretest import pretest
    from mmbench.report.pretest_text import as_markdown, as_record, as_text
    from mmbench.store import files

    overrides = compose.open_modality_keys(asked.overrides)
    compose.parse(overrides)
    composed = compose.compose(overrides, asked.config_dir)
    torch.set_num_threads(1)  # many small factorisations: more threads only get in each other's way
    job = composed.job()
    dataset, name = job.dataset(), job.cell.dataset
    found = pretest(dataset.split.train, dataset.features)
    folder = job.sweep_dir.parent / paths.slug([f"signal-{name}"])
    files.write_document(folder / "signal.json", as_record(name, dataset, found))
    files.write_text(folder / "signal.md", as_markdown(name, dataset, found, words))
    print(as_text(name, dataset, found, words), end="")
    print(words("written", folder=folder))


def _asked(argv: Sequence[str], words: Words) -> argparse.Namespace:
    with speaking(words.lang):
        parser = Parser(prog="python -m mmbench.signal", description=words("description"))
        parser.add_argument("overrides", nargs="*", help=words("help_overrides"))
        parser.add_argument("--config-dir", type=Path, action="append", default=[], help=words("help_config_dir"))
        return parser.parse_args(argv)
