"""Encode the items of a canonical folder: a matrix and its sidecar for every encoder that was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmbench import fingerprint, paths
from mmbench.data import encoded
from mmbench.data.features import nonzero_rows
from mmbench.data.sources import named_texts, read_items, text_is_grams
from mmbench.encoders import EVERY_LANGUAGE, Choice, Encoder, short_name
from mmbench.encoders.cache import VectorCache
from mmbench.encoders.contents import item_images, item_texts, looked_for
from mmbench.encoders.encoding import Content, Progress, Vectors, encode_contents, image_content, text_content
from mmbench.encoders.histograms import NAME as HISTOGRAMS
from mmbench.encoders.image_files import MAX_MEGAPIXELS, MOST_MEGAPIXELS, Problem
from mmbench.encoders.images import PACKAGES as IMAGE_PACKAGES
from mmbench.encoders.images import image_encoder
from mmbench.encoders.languages import beyond, readable_scripts
from mmbench.encoders.ngrams import encode_texts
from mmbench.encoders.texts import NGRAM, text_encoder
from mmbench.encoders.texts import PACKAGES as TEXT_PACKAGES
from mmbench.messages import Message, Refusal
from mmbench.messages.hints import SLIP, did_you_mean, nearest
from mmbench.store import files

#: Names of encoders that no library and no folder has.
_OWN = {"text": (NGRAM, *TEXT_PACKAGES), "image": (HISTOGRAMS, *IMAGE_PACKAGES)}
#: So many texts say how many of their tokens an encoder knows.
TOKEN_SAMPLE = 500
#: A row whose length differs from one by less has length one.
UNIT_TOLERANCE = 1e-3
#: Why most items have no vector, in a word.
_REASONS = {
    Problem.MISSING: Message("missing"),
    Problem.EMPTY: Message("empty"),
    Problem.BROKEN: Message("broken"),
    Problem.TRUNCATED: Message("truncated"),
    Problem.HUGE: Message("huge"),
    Problem.NARROW: Message("narrow"),
    Problem.ANIMATED: Message("animated"),
    Problem.CMYK: Message("cmyk"),
    Problem.DEEP: Message("deep"),
    Problem.GREY: Message("grey"),
    Problem.PALETTE: Message("palette"),
    Problem.UNLIKE: Message("unlike"),
}


@dataclass(frozen=True)
class Options:
    """How a folder is encoded.

    Args:
        download: allow weights to be fetched.
        overwrite: replace features that something else made.
        batch: contents encoded together.
        device: of torch; ``auto`` takes a GPU where there is one.
        convert: encode animated, CMYK, grey and palette images as RGB instead of marking them missing.
        max_megapixels: larger images are marked missing.
        template: how an item's text is made, see :func:`mmbench.encoders.contents.item_texts`.
        images: where image files are, see :func:`mmbench.encoders.contents.item_images`.
        cache: folder of vectors that were encoded before.
    """

    download: bool = False
    overwrite: bool = False
    batch: int = 32
    device: str = "auto"
    convert: bool = False
    max_megapixels: float = MAX_MEGAPIXELS
    template: str | None = None
    images: str | None = None
    cache: str | None = None

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise Refusal("{name}={value} must be at least 1", name="batch", value=self.batch)
        if not 0 < self.max_megapixels <= MOST_MEGAPIXELS:
            most = f"{MOST_MEGAPIXELS:g}"
            raise Refusal(
                "max_megapixels={value} must be above 0 and at most {most}", value=self.max_megapixels, most=most
            )

    def vectors(self, encoder: Encoder[Any]) -> VectorCache:
        """What this encoder has encoded before."""
        folder = Path(self.cache) if self.cache else paths.cache_dir() / "vectors"
        return VectorCache(folder, encoder.name, encoder.identity, encoder.dim)


@dataclass(frozen=True)
class Encoded:
    """What was written for one choice.

    Args:
        choice: what was asked for.
        path: the matrix.
        vectors: what is in it.
        about: its sidecar.
        examples: an item id by problem.
        unread: a text in letters that the encoder does not read; empty if it reads all.
        several: ids of the items after which several pictures are called.
        shared: ids of the items without a picture because their addresses end in the file name of another address.
    """

    choice: Choice
    path: Path
    vectors: Vectors
    about: Mapping[str, Any]
    examples: Mapping[Problem, str]
    unread: str = ""
    several: Sequence[str] = ()
    shared: Sequence[str] = ()


def parse_choice(key: str, name: str) -> Choice:
    """Read ``image=NAME`` or ``image@clip=NAME``.

    Raises:
        ValueError: for another modality, a label that cannot be one or no name.
    """
    modality, _, label = key.partition("@")
    if modality not in ("text", "image"):
        settings = ", ".join(option.name for option in fields(Options))
        raise Refusal(
            "{key} is not text, image, text@LABEL, image@LABEL or a setting ({settings}, lang)",
            key=repr(key),
            settings=settings,
        )
    if not name:
        raise Refusal("{key}= names no encoder: {key}=NAME or {key}=FOLDER", key=key)
    return Choice(modality, encoded.check_label(label) if label else encoded.DEFAULT, name)


def encode_folder(
    folder: Path,
    choices: Sequence[Choice],
    options: Options | None = None,
    progress: Callable[[Choice], Progress] = lambda choice: lambda done, total: None,
) -> list[Encoded]:
    """Write a feature file and its sidecar for every choice, in the order given.

    Args:
        folder: canonical folder; nothing but feature files is written.
        choices: encoders.
        options: settings for all of them.
        progress: makes a listener for a choice.

    Raises:
        ValueError: before anything is encoded if two choices are one file, an encoder is misspelt or a file was made by
            something else, which is said after an encoder that cannot be loaded; later if there is nothing to encode or
            an encoder cannot be loaded.
    """
    options = options or Options()
    items = read_items(folder)
    named = [str(choice) for choice in choices]
    if len(set(named)) < len(named):
        raise Refusal(
            "{choice} is named twice; give one of them a label, text@LABEL=NAME", choice=max(named, key=named.count)
        )
    for choice in choices:
        _check_spelling(choice)
    made = [refusal for choice in choices if (refusal := _kept(folder, choice, options)) is not None]
    if made:
        for choice in choices:
            # An encoder that does not exist is said first: nobody should make room for its vectors.
            if choice.encoder != NGRAM and not options.download:  # which would fetch one to be refused
                _load(choice.modality, choice.encoder, options)
        raise made[0]
    return [_encode(folder, items, choice, options, progress(choice)) for choice in choices]


def _check_spelling(choice: Choice) -> None:
    """Refuse a slip in a name of ours; libraries know many other names, which show when they are loaded."""
    name, own = choice.encoder, _OWN[choice.modality]
    if name in own or Path(name).is_dir() or nearest(name, own, SLIP) is None:
        return
    raise Refusal(
        "{choice}={encoder}: there is no such encoder; {hint}, a folder or a model that --help describes",
        choice=choice,
        encoder=name,
        hint=did_you_mean(name, own),
    )


def _kept(folder: Path, choice: Choice, options: Options) -> Refusal | None:
    """Why the file of a choice is not replaced; None where it may be."""
    path = encoded.feature_file(folder, choice.modality, choice.label)
    if options.overwrite or not path.exists():
        return None
    sidecar = encoded.read_sidecar(path)
    if sidecar is not None and sidecar["encoder"] == short_name(choice.encoder):
        return None
    if sidecar is not None:
        maker = Message("encoder {encoder}", encoder=sidecar["encoder"])
    elif path == encoded.feature_file(folder, "text") and text_is_grams(folder):
        maker = Message("prepare, of character n-grams")
    else:
        maker = Message("something that left no sidecar")
    return Refusal(
        "{path} was made by {maker}; keep both with {modality}@LABEL={encoder}, or replace it with overwrite=true",
        path=path,
        maker=maker,
        modality=choice.modality,
        encoder=choice.encoder,
    )


def _load(modality: str, name: str, options: Options) -> Encoder[Any]:
    load: Callable[..., Encoder[Any]] = text_encoder if modality == "text" else image_encoder
    return load(name, download=options.download, device=options.device)


def _encode(folder: Path, items: pd.DataFrame, choice: Choice, options: Options, progress: Progress) -> Encoded:
    ids = items["item_id"].tolist()
    unread, images = "", None
    if choice.modality == "text":
        texts, source = item_texts(items, options.template, named_texts(folder))
        vectors, about = _texts(texts, choice.encoder, options, progress)
        foreign = np.flatnonzero(beyond(texts, readable_scripts(about["languages"] or [EVERY_LANGUAGE])))
        about["unread_texts"] = len(foreign)
        unread = texts[foreign[0]] if len(foreign) else ""
    else:
        images = item_images(items, folder, options.images)
        source = images.source
        vectors, about = _images(images.files, choice.encoder, options, progress)
        if options.images is not None and options.images not in items:
            # For the pages that show pictures on this machine; a sidecar stays with the data.
            about["image_folder"] = str(Path(options.images).resolve())
    about["made_from"] = source
    # A vector without a direction tells two items apart no more than none does.
    blank = ~nonzero_rows(vectors.values)
    problems = {row: vectors.problems.get(row, Problem.UNLIKE) for row in np.flatnonzero(blank).tolist()}
    vectors = replace(vectors, problems=problems)
    if len(problems) == len(ids):
        reason = Counter(problems.values()).most_common(1)[0][0]
        if images is not None and reason == Problem.MISSING:
            raise Refusal(
                "{choice}={encoder}: none of {items} items can be encoded (most of them: {reason}); {expected}",
                choice=choice,
                encoder=choice.encoder,
                items=len(ids),
                reason=_REASONS[reason],
                expected=looked_for(images, items),
            )
        raise Refusal(
            "{choice}={encoder}: none of {items} items can be encoded (most of them: {reason})",
            choice=choice,
            encoder=choice.encoder,
            items=len(ids),
            reason=_REASONS[reason],
        )
    path = encoded.feature_file(folder, choice.modality, choice.label)
    examples = {problem: ids[row] for row, problem in reversed(problems.items())}
    several, shared = ([ids[row] for row in rows] for rows in ((images.several, images.shared) if images else ((), ())))
    written = _write(path, choice, vectors, about, ids)
    return Encoded(choice, path, vectors, written, examples, unread, several, shared)


def _texts(texts: Sequence[str], name: str, options: Options, progress: Progress) -> tuple[Vectors, dict[str, Any]]:
    """Vectors of the texts, and what the sidecar says of their encoder."""
    contents = [text_content(words) for words in texts]
    if name == NGRAM:
        problems = {row: content for row, content in enumerate(contents) if isinstance(content, Problem)}
        identity = {"library": "mmbench", "texts_sha256": fingerprint.of_strings(list(texts))}
        about = {"encoder": NGRAM, "identity": identity, "languages": [EVERY_LANGUAGE], "unknown_tokens": 0.0}
        return Vectors(encode_texts(texts), problems), about
    encoder = _load("text", name, options)
    vectors = encode_contents(encoder, contents, options.vectors(encoder), batch=options.batch, progress=progress)
    filled = [words for words in texts if words]
    sample = filled[:: max(1, len(filled) // TOKEN_SAMPLE)][:TOKEN_SAMPLE]
    languages = None if encoder.languages is None else list(encoder.languages)
    unknown = encoder.unknown(sample) if encoder.unknown is not None else 0.0
    return vectors, {**_described(encoder), "languages": languages, "unknown_tokens": round(unknown, 4)}


def _images(
    files: Sequence[Path | None], name: str, options: Options, progress: Progress
) -> tuple[Vectors, dict[str, Any]]:
    encoder = _load("image", name, options)
    # What is refused without conversion, or for its size, must not come from the cache of a command that takes it.
    accepted = {"convert": options.convert, "max_megapixels": options.max_megapixels}
    encoder = replace(encoder, identity={**encoder.identity, **accepted})
    contents: list[Content | Problem] = [
        image_content(path, max_megapixels=options.max_megapixels, convert=options.convert) for path in files
    ]
    vectors = encode_contents(encoder, contents, options.vectors(encoder), batch=options.batch, progress=progress)
    return vectors, _described(encoder)


def _described(encoder: Encoder[Any]) -> dict[str, Any]:
    return {"encoder": encoder.name, "identity": dict(encoder.identity)}


def _write(
    path: Path, choice: Choice, vectors: Vectors, about: Mapping[str, Any], ids: Sequence[str]
) -> dict[str, Any]:
    """Write matrix and sidecar; the hash shows that a command was killed between them, and a repetition mends it."""
    lengths = np.linalg.norm(vectors.values[nonzero_rows(vectors.values)], axis=1)
    sidecar = {
        "modality": choice.modality,
        "label": choice.label,
        **about,
        "d": vectors.values.shape[1],
        "unit_length": bool((np.abs(lengths - 1) < UNIT_TOLERANCE).all()),
        "coverage": {
            "items": len(ids),
            "encoded": len(lengths),
            "missing": dict(sorted(Counter(str(problem) for problem in vectors.problems.values()).items())),
        },
        "row_ids_sha256": fingerprint.of_strings(list(ids)),
    }

    def save(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.save(file, vectors.values, allow_pickle=False)
        sidecar["sha256"] = fingerprint.of_file(temporary)
        # Before the matrix has its name, which without a sidecar nobody may replace.
        files.write_document(encoded.sidecar_file(path), sidecar)

    for file in (encoded.sidecar_file(path), path):
        files.clear_leftovers(file)
    files.write_atomic(path, save)
    path.with_name(f"{path.stem}.ids.txt").unlink(missing_ok=True)  # the order of the matrix that was there before
    return sidecar
