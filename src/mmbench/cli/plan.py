"""``python -m mmbench plan <same overrides>``: cells, trainings, time, disk and memory, measured by a short pilot."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from mmbench import paths
from mmbench.cli import compose, habits
from mmbench.cli.compose import Composed
from mmbench.cli.run import CONFIG_DIR_FLAGS, config_dirs, named, own_trust, separated
from mmbench.cli.words import next_line, take_language, tell_loading
from mmbench.messages import Message, Refusal

HELP = Message(
    """\
python -m mmbench plan OVERRIDE ... [lang=en|ja]

What would a sweep cost? Takes the overrides of the sweep, for example dataset=ml100k model=lattice,freedom
modality=none,fused budget=standard, and tells cells, trainings, time, disk and memory, measured by short pilots of
every model, which controls are run, and how wide the range of each gain is expected to be, from what the sweep has run
so far. Nothing is written.
"""
)


def main(argv: Sequence[str]) -> None:
    """Print what the sweep of these overrides would cost; nothing of it is run or written."""
    translator, argv = take_language(argv)
    if {"-h", "--help"} & set(argv):
        print(translator(HELP), end="")
        return
    flags, words = separated([word for word in argv if word not in ("-m", "--multirun")])
    folders = config_dirs(flags)
    others = [flag for flag in flags if flag.startswith("-") and flag.partition("=")[0] not in CONFIG_DIR_FLAGS]
    if others:
        raise Refusal("{flag} is no override; write the overrides of the sweep alone", flag=others[0])
    overrides = named(habits.ours(words, multirun=True), folders)
    composed = expand(overrides, folders)
    tell_loading(translator)
    import torch  # --help does without it, and without what trains

    from mmbench.cli.forecast import controls, described, expected, new_items
    from mmbench.report.reading import read_sweep
    from mmbench.scheduling.sweep import Sweep

    torch.set_num_threads(1)
    sweep = Sweep.plan([job.job() for job in composed], overrides, translator)
    sweep.check()
    sweep.check_machine()  # the pilot trains on it
    waiting = [plan for plan in sweep.planned if not plan.finished]
    lines = [
        Message.counted(
            "{n} cell, {finished} of them finished",
            "{n} cells, {finished} of them finished",
            len(sweep.planned),
            finished=translator.number(len(sweep.planned) - len(waiting)),
        ),
        Message.counted(
            "{n} training to run; it is one thread of one worker",
            "{n} trainings to run; each is one thread of one worker",
            sum(plan.left for plan in waiting),
        ),
    ]
    print("\n".join(map(translator, lines)))
    if waiting:
        print(described(sweep, translator), end="")
    known = paths.manifest_file(sweep.folder).exists()
    table = read_sweep(sweep.folder, own_trust(sweep.jobs)) if known else None
    for line in [*controls(sweep.planned, table), *new_items(sweep.planned, table)]:
        print(translator(line))
    print(expected(table, sweep.planned, translator), end="")
    if waiting:
        print("\n" + next_line(["-m", *flags, *words], translator))


def expand(overrides: Sequence[str], folders: Sequence[Path] = ()) -> list[Composed]:
    """Compose every job of a sweep, in Hydra's order.

    Args:
        overrides: the words of the sweep.
        folders: where configurations lie besides those of the package.
    """
    compose.check_overrides(overrides, folders)
    defaults = compose.compose([word for word in overrides if word.startswith("experiment=")], folders)
    chosen = [*defaults.sweeper_params, *overrides]
    # Of a key that is given twice, by a preset and by the command, the last values count, at the place of the first.
    variants = {word.get_key_element(): compose.single_values(word) for word in compose.parse(chosen, folders)}
    return compose.compose_all(itertools.product(*variants.values()), folders)
