"""Encode contents batch by batch, each distinct one once in the life of a cache."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmbench import fingerprint
from mmbench.encoders import Encoder, Matrix
from mmbench.encoders.cache import VectorCache
from mmbench.encoders.image_files import Problem, read_image
from mmbench.messages import Refusal

if TYPE_CHECKING:
    from PIL.Image import Image

#: Told the number of contents that are done and of all that are not in the cache.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Content:
    """A text or an image that may be encoded.

    Args:
        key: SHA-256 of what it is.
        load: gives it, or why it cannot be encoded; refuses what is no longer that of ``key``.
        size: contents of a like size are encoded together, which saves padding.
    """

    key: bytes
    load: Callable[[], Any | Problem]
    size: int = 0


def text_content(text: str) -> Content | Problem:
    """A text; a blank one is a problem."""
    if not text:
        return Problem.EMPTY
    return Content(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), lambda: text, len(text))


def image_content(path: Path | None, *, max_megapixels: float, convert: bool) -> Content | Problem:
    """An image file; one that is not there or is empty is a problem, all others show when they are read."""
    if path is None or not os.path.isfile(path):  # a Path would raise for a name that is too long
        return Problem.MISSING
    if path.stat().st_size == 0:
        return Problem.EMPTY
    key = bytes.fromhex(fingerprint.of_file(path))
    return Content(key, partial(_load_image, path, key, max_megapixels=max_megapixels, convert=convert))


def _load_image(path: Path, key: bytes, *, max_megapixels: float, convert: bool) -> Image | Problem:
    """The picture of a file whose SHA-256 was ``key`` when the contents were listed, hours ago in a large catalogue.

    It is decoded from the bytes that were compared, because the file may change again at any moment.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    if hashlib.sha256(content).digest() != key:
        raise Refusal(
            "{path} was changed or removed while pictures were encoded; run the same command again, vectors that are "
            "ready come from the cache",
            path=path,
        )
    return read_image(io.BytesIO(content), max_megapixels=max_megapixels, convert=convert)


@dataclass(frozen=True)
class Vectors:
    """Vectors of items.

    Args:
        values: ``(n_items, d)``, zero rows where there is no vector.
        problems: why an item has none, by row.
        from_cache: items whose vector had been encoded before.
    """

    values: Matrix
    problems: Mapping[int, Problem]
    from_cache: int = 0


def encode_contents(
    encoder: Encoder[Any],
    contents: Sequence[Content | Problem],
    cache: VectorCache,
    *,
    batch: int,
    progress: Progress = lambda done, total: None,
) -> Vectors:
    """Vectors of ``contents``, one per item; what a killed process had encoded comes from the cache.

    Raises:
        ValueError: if the encoder gives a number that is not finite, or a file changes between listing and loading.
    """
    problems = {row: content for row, content in enumerate(contents) if isinstance(content, Problem)}
    wanted = {row: content for row, content in enumerate(contents) if isinstance(content, Content)}
    with cache:
        from_cache = sum(content.key in cache for content in wanted.values())
        distinct = {content.key: content for content in wanted.values() if content.key not in cache}
        waiting = sorted(distinct.values(), key=lambda content: content.size)
        failed: dict[bytes, Problem] = {}
        done = 0
        progress(done, len(waiting))
        for some in (waiting[start : start + batch] for start in range(0, len(waiting), batch)):
            failed |= _encode_batch(encoder, some, cache)
            done += len(some)
            progress(done, len(waiting))
        problems |= {row: failed[content.key] for row, content in wanted.items() if content.key in failed}
        rows = [row for row in wanted if row not in problems]
        values = np.zeros((len(contents), encoder.dim), np.float32)
        values[rows] = cache.vectors([wanted[row].key for row in rows])
    return Vectors(values, problems, from_cache)


def _encode_batch(encoder: Encoder[Any], some: Sequence[Content], cache: VectorCache) -> dict[bytes, Problem]:
    """Add the vectors of some contents to the cache; those that have none, and why."""
    failed: dict[bytes, Problem] = {}
    ready: dict[bytes, Any] = {}
    for content in some:
        loaded = content.load()
        if isinstance(loaded, Problem):
            failed[content.key] = loaded
        else:
            ready[content.key] = encoder.prepare(loaded)
    if ready:
        vectors = encoder.encode(list(ready.values()))
        if not np.isfinite(vectors).all():
            raise Refusal(
                "encoder {name} gave numbers that are not finite; its weights cannot be trusted", name=encoder.name
            )
        cache.append(list(ready), vectors)
    return failed
