"""``python -m mmbench.encode DIR text=ENCODER image=ENCODER``: vectors for the texts and images of a dataset folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from mmbench.cli.words import folder_and_pairs, settings, spoken
from mmbench.messages import Refusal, Words

if TYPE_CHECKING:
    from mmbench.encoders.encode_folder import Encoded
    from mmbench.encoders.encoding import Progress


def main(argv: Sequence[str]) -> None:
    """Encode a folder and say what was written.

    Raises:
        ValueError: for a mistake in the command line, in the files, or an encoder that is not there.
    """
    words, argv = spoken("encode", argv)
    if not argv or {"-h", "--help"} & set(argv):
        print(words("help"), end="")
        return
    folder, pairs = folder_and_pairs(argv, "encode")
    encode(folder, pairs, words)


def encode(folder: Path, pairs: Sequence[tuple[str, str]], words: Words) -> None:
    """What the command does with its words; ``prepare`` calls it for ``--encode``."""
    from mmbench.encoders.encode_folder import Options, encode_folder, parse_choice

    names = [field.name for field in fields(Options)]
    options = settings([pair for pair in pairs if pair[0] in names], Options)
    choices = [parse_choice(key, name) for key, name in pairs if key not in names]
    if not choices:
        raise Refusal("encode", "no_encoder")
    with _bars() as bar:
        made = encode_folder(folder, choices, options, lambda choice: bar(str(choice)))
    for one in made:
        print("\n".join(described(one, words)))


def described(one: Encoded, words: Words) -> list[str]:
    """What was written for one encoder."""
    about, vectors = one.about, one.vectors
    coverage = about["coverage"]
    lines = [
        words(
            "encoded",
            file=one.path.name,
            encoder=about["encoder"],
            encoded=words.number(coverage["encoded"]),
            items=words.number(coverage["items"]),
            width=words.number(about["d"]),
            cached=words.number(vectors.from_cache),
        )
    ]
    for problem, example in one.examples.items():
        count = coverage["missing"][problem]
        name = f"{problem}_text" if one.choice.modality == "text" else str(problem)
        lines.append("  " + words(name, count, example=example))
    if one.unread:
        lines.append("  " + words("unread", about["unread_texts"], example=one.unread[:40]))
    if one.choice.label != "default":
        lines.append("  " + words("choose", modality=one.choice.modality, label=one.choice.label))
    return lines


@contextmanager
def _bars() -> Iterator[Callable[[str], Progress]]:
    """A bar with the time left for every encoder, where somebody looks at it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def bar(name: str) -> Callable[[int, int], None]:
            task = progress.add_task(name, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        yield bar
