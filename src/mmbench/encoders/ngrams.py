r"""Text features without weights or a network: character n-grams, TF-IDF and a truncated SVD.

Characters need no tokeniser, so every language is served. A text becomes its 2-, 3- and 4-grams after NFKC (half-width
and full-width forms become one) and case folding; gram :math:`g` of text :math:`t` weighs

.. math:: w_{tg} = (1 + \ln f_{tg}) \, \left(1 + \ln \frac{1 + n}{1 + n_g}\right)

with frequency :math:`f_{tg}`, :math:`n` texts and :math:`n_g` texts that hold :math:`g`. Rows are scaled to length one
and projected on the leading singular vectors. Grams are hashed, and what is kept of them is bounded, so memory is too.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray

from mmbench.data.features import ItemFeature, nonzero_rows, with_missing_filled
from mmbench.data.sources import Source
from mmbench.messages import Refusal

GRAM_LENGTHS = (2, 3, 4)
#: Only the head of a long text is read.
MAX_CHARACTERS = 2000
#: Grams kept, the most frequent first, and entries they may have together.
MAX_GRAMS = 1 << 17
MAX_NONZERO = 1 << 25
#: From so many texts on, a gram that occurs in a single one is dropped: it can make no two texts alike.
MIN_TEXTS_TO_DROP_SINGLES = 1000
#: Up to this size of the shorter side the decomposition is dense, which is faster there.
DENSE_SIZE = 2048
#: A text of which the projection keeps less than this has no direction.
MIN_NORM = 1e-6
#: Directions with a smaller share of the largest singular value are rounding.
RANK_TOLERANCE = 1e-6

_BUCKET_BITS = 20
_CHUNK_CHARACTERS = 1 << 20
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

Rows = NDArray[np.int64]
Matrix = NDArray[np.float64]


def encode_texts(texts: Sequence[str], *, dim: int = 256, seed: int = 0) -> NDArray[np.float32]:
    """Embed texts so that those with similar spelling have similar rows.

    Args:
        texts: one text per row; an empty or blank one is missing.
        dim: width asked for; the result is narrower where the texts have a lower rank.
        seed: seed of the start vector of the iterative decomposition.

    Returns:
        ``(n, d)`` with ``d <= dim``. A row has length one, or is all zero for a missing text and for one that shares no
        kept gram with others.

    Raises:
        ValueError: if every text is empty or ``dim`` is below one.
    """
    if dim < 1:
        raise Refusal("dim={dim} must be at least 1", dim=dim)
    clean = [normalised(text)[:MAX_CHARACTERS] for text in texts]
    filled = np.flatnonzero([bool(text) for text in clean])
    if not len(filled):
        raise Refusal("none of the {texts} texts has a character; there is nothing to encode", texts=len(clean))
    projected = _projected(_weights([clean[i] for i in filled]), dim, seed)
    norms = np.linalg.norm(projected, axis=1, keepdims=True)
    rows = np.where(norms > MIN_NORM, projected / np.maximum(norms, MIN_NORM), 0.0)
    encoded = np.zeros((len(clean), projected.shape[1]), np.float32)
    encoded[filled] = rows
    return encoded


def text_feature(texts: Sequence[str], *, dim: int = 256, seed: int = 0) -> ItemFeature:
    """Features of :func:`encode_texts`; an item is present if its row is not all zero."""
    values = encode_texts(texts, dim=dim, seed=seed)
    return with_missing_filled(values, nonzero_rows(values))


def with_text(source: Source, columns: Sequence[str], dim: int) -> Source:
    """The source with a modality ``text`` of its items' ``columns``, joined by a space."""
    texts = [" ".join(filter(None, row)) for row in zip(*(source.items[name] for name in columns), strict=True)]
    return replace(source, features={**source.features, "text": text_feature(texts, dim=dim)})


def normalised(text: str) -> str:
    """One spelling of a text: NFKC, case folded, runs of white space as one space."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def _weights(texts: Sequence[str]) -> scipy.sparse.csr_array:
    """TF-IDF of the kept grams ``(n_texts, n_grams)``, rows of length one."""
    counts = np.zeros(1 << _BUCKET_BITS, np.int64)
    for _, grams, _ in _gram_counts(texts):
        counts += np.bincount(grams, minlength=len(counts))
    kept = _kept(counts, len(texts))
    column = np.full(len(counts), -1)
    column[kept] = np.arange(len(kept))
    idf = 1 + np.log((1 + len(texts)) / (1 + counts[kept]))
    chunks = []
    for rows, grams, frequencies in _gram_counts(texts):
        known = column[grams] >= 0
        chunks.append((rows[known].astype(np.int32), column[grams[known]].astype(np.int32), frequencies[known]))
    rows, columns, frequencies = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    weights = (1 + np.log(frequencies)) * idf[columns]
    lengths = np.sqrt(np.bincount(rows, weights**2, minlength=len(texts)))
    shape = (len(texts), len(kept))
    return scipy.sparse.csr_array((weights / lengths[rows], (rows, columns)), shape=shape)


def _kept(counts: Rows, n_texts: int) -> Rows:
    """Grams frequent enough, the most frequent ones first where not all fit."""
    least = 2 if n_texts >= MIN_TEXTS_TO_DROP_SINGLES else 1
    by_count = np.argsort(-counts, kind="stable")[:MAX_GRAMS]
    by_count = by_count[counts[by_count] >= least]
    fits = np.cumsum(counts[by_count]) <= MAX_NONZERO
    return np.sort(by_count[fits])


def _gram_counts(texts: Sequence[str]) -> Iterator[tuple[Rows, Rows, Rows]]:
    """Text, hashed gram and frequency of every pair that occurs, chunk by chunk of the texts."""
    ends = np.cumsum([len(text) for text in texts])
    chunk = ends // _CHUNK_CHARACTERS
    starts = np.r_[0, np.flatnonzero(np.diff(chunk)) + 1, len(texts)]
    for start, stop in itertools.pairwise(starts):
        rows, grams, frequencies = _hashed(texts[start:stop])
        yield rows + start, grams, frequencies


def _hashed(texts: Sequence[str]) -> tuple[Rows, Rows, Rows]:
    padded = [f" {text} " for text in texts]  # a text of one character has grams too
    text_of = np.repeat(np.arange(len(padded)), [len(text) for text in padded])
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    keys = []
    for length in GRAM_LENGTHS:
        n_windows = max(len(codes) - length + 1, 0)
        mixed = np.full(n_windows, length, np.uint64)
        for place in range(length):
            mixed = mixed * _MULTIPLIER + codes[place : place + n_windows]
        mixed = (mixed ^ (mixed >> np.uint64(29))) * _MULTIPLIER
        first, last = text_of[:n_windows], text_of[length - 1 : length - 1 + n_windows]
        bucket = (mixed >> np.uint64(64 - _BUCKET_BITS)).astype(np.int64)
        keys.append(((first << _BUCKET_BITS) | bucket)[first == last])
    pairs, frequencies = np.unique(np.concatenate(keys), return_counts=True)
    return pairs >> _BUCKET_BITS, pairs & ((1 << _BUCKET_BITS) - 1), frequencies


def _projected(matrix: scipy.sparse.csr_array, dim: int, seed: int) -> Matrix:
    """Rows on the leading right singular vectors, ``(n, min(dim, rank))``; each column's largest entry is positive."""
    shorter = min(matrix.shape)
    if shorter <= max(DENSE_SIZE, 2 * dim):
        directions, scales = _dense(matrix, dim)
    else:
        start = np.random.default_rng(seed).standard_normal(shorter)
        _, scales, transposed = scipy.sparse.linalg.svds(matrix, dim, v0=start)
        directions = transposed.T
    leading = np.argsort(-scales, kind="stable")[:dim]
    leading = leading[scales[leading] > RANK_TOLERANCE * scales.max()]
    projected: Matrix = matrix @ directions[:, leading]
    peaks = projected[np.abs(projected).argmax(axis=0), np.arange(len(leading))]
    return projected * np.where(peaks < 0, -1.0, 1.0)


def _dense(matrix: scipy.sparse.csr_array, dim: int) -> tuple[Matrix, Matrix]:
    """Leading right singular vectors ``(n_grams, k)`` and their scales, from the Gram matrix of the shorter side."""
    wide = matrix.shape[0] <= matrix.shape[1]
    gram = (matrix @ matrix.T if wide else matrix.T @ matrix).toarray()
    asked = min(dim, len(gram))
    squares, vectors = scipy.linalg.eigh(gram, subset_by_index=[len(gram) - asked, len(gram) - 1])
    if len(squares) < asked:  # LAPACK may lose a part of a spectrum with many equal values
        squares, vectors = (part[..., -asked:] for part in scipy.linalg.eigh(gram))
    scales = np.sqrt(np.maximum(squares, 0))
    if not wide:
        return vectors, scales
    some = scales > RANK_TOLERANCE * scales.max()
    return (matrix.T @ vectors[:, some]) / scales[some], scales[some]
