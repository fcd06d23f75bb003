r"""Image features without weights or a network: histograms of colours, of textures and of oriented gradients.

The whole picture is brought to 128 by 128 pixels, and three parts stand side by side, each of length one, so that none
drowns another:

- colours: shares of 48 colours (12 hues, 2 saturations, 2 values) and 6 greys in the picture and in its quarters, as
  square roots, whose products add up to the Bhattacharyya coefficient of two pictures;
- textures: shares of the 58 uniform patterns of the eight neighbours of a pixel and of all others (local binary
  patterns; Ojala, Pietikäinen & Mäenpää 2002, section 2.3), square roots, at full and at half size;
- shapes: histograms of oriented gradients (Dalal & Triggs 2005): 9 orientations without sign, cells of 32 by 32 pixels,
  blocks of 2 by 2 cells, normalised by L2-Hys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from mmbench.encoders import Encoder

NAME = "histograms"
#: Raised whenever the same picture gets another vector.
REVISION = 1
SIDE = 128
HUES, GREYS = 12, 6
#: Below this saturation or value a pixel has no hue that can be seen; parts of 255.
LEAST_SATURATION, LEAST_VALUE = 38, 26
COLOURS = GREYS + 4 * HUES
ORIENTATIONS, CELL = 9, 32
#: Entries of a block of gradients are cut here before it is normalised again.
CLIP = 0.2
#: Length that a block of gradients must exceed to count: one grey level in each pixel of a cell is noise.
NOISE = float(CELL**2)

Array = NDArray[np.float64]


def histogram_encoder() -> Encoder[PIL.Image.Image]:
    """The encoder; its vectors are ``(712,)`` of length one."""
    identity = {"library": "mmbench", "revision": REVISION}
    width = len(_vector(PIL.Image.new("RGB", (SIDE, SIDE))))
    return Encoder(NAME, identity, width, _encoded, _prepared)


def _prepared(image: PIL.Image.Image) -> PIL.Image.Image:
    """The whole picture, 128 by 128; nothing is cut off, because a product may fill it."""
    return image.resize((SIDE, SIDE), PIL.Image.Resampling.BICUBIC)


def _encoded(images: Sequence[PIL.Image.Image]) -> NDArray[np.float32]:
    return np.stack([_vector(image) for image in images]).astype(np.float32)


def _vector(image: PIL.Image.Image) -> Array:
    grey = image.convert("L")
    half = grey.resize((SIDE // 2, SIDE // 2), PIL.Image.Resampling.BOX)
    colours = _roots(_colours(np.asarray(image.convert("HSV"))))
    textures = _roots(np.stack([_patterns(np.asarray(size)) for size in (grey, half)]))
    return _unit(np.concatenate([_unit(part.ravel()) for part in (colours, textures, gradients(np.asarray(grey)))]))


def _colours(pixels: NDArray[np.uint8]) -> Array:
    """Counts of :data:`COLOURS` in the picture and in its quarters, from HSV ``(SIDE, SIDE, 3)``: ``(5, COLOURS)``.

    A pixel counts for the two hues that are nearest to its own, so that a hue on the border does not jump.
    """
    hue, saturation, value = np.moveaxis(pixels.astype(np.int64), 2, 0)
    pale = (saturation < LEAST_SATURATION) | (value < LEAST_VALUE)
    lower, upper_share = np.divmod(hue * HUES, 256)
    lower_half = np.arange(SIDE) >= SIDE // 2
    quarter = np.add.outer(2 * lower_half, lower_half)
    counts = np.zeros(4 * COLOURS)
    for near, share in ((lower, 256 - upper_share), (lower + 1, upper_share)):
        coloured = GREYS + 4 * (near % HUES) + 2 * (saturation >= 128) + (value >= 128)
        colour = np.where(pale, value * GREYS // 256, coloured)
        counts += np.bincount((quarter * COLOURS + colour).ravel(), share.ravel() / 256, minlength=len(counts))
    quarters = counts.reshape(4, COLOURS)
    return np.vstack([quarters.sum(axis=0), quarters])


def _patterns(grey: NDArray[np.uint8]) -> Array:
    """Counts of the uniform local binary patterns and of all others, ``(59,)``."""
    inner = grey[1:-1, 1:-1]
    rows, columns = inner.shape
    code = np.zeros(inner.shape, np.int64)
    for bit, (down, right) in enumerate(((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))):
        code |= (grey[down : down + rows, right : right + columns] >= inner).astype(np.int64) << bit
    return np.bincount(_UNIFORM[code].ravel(), minlength=_UNIFORM.max() + 1).astype(np.float64)


def _uniform() -> NDArray[np.int64]:
    """Place of each of the 256 patterns: one for each that turns at most twice around the circle, one for the rest."""
    codes = np.arange(256)
    turned = codes ^ ((codes >> 1) | (codes & 1) << 7)
    uniform = np.array([bin(code).count("1") for code in turned]) <= 2
    return np.where(uniform, np.cumsum(uniform) - 1, uniform.sum())


def gradients(grey: NDArray[Any]) -> Array:
    """Histograms of oriented gradients, ``(n_blocks, 4 * ORIENTATIONS)``.

    Args:
        grey: picture whose sides are multiples of :data:`CELL`.
    """
    padded = np.pad(grey.astype(np.float64), 1, mode="edge")
    down, right = padded[2:, 1:-1] - padded[:-2, 1:-1], padded[1:-1, 2:] - padded[1:-1, :-2]
    place = np.arctan2(down, right) % np.pi * (ORIENTATIONS / np.pi) - 0.5
    lower = np.floor(place)
    upper_share = place - lower
    rows, columns = (side // CELL for side in grey.shape)
    cell = np.add.outer(np.arange(grey.shape[0]) // CELL * columns, np.arange(grey.shape[1]) // CELL)
    length = np.hypot(down, right)
    cells = np.zeros(rows * columns * ORIENTATIONS)
    for orientation, share in ((lower, 1 - upper_share), (lower + 1, upper_share)):
        where = cell * ORIENTATIONS + orientation.astype(np.int64) % ORIENTATIONS
        cells += np.bincount(where.ravel(), (length * share).ravel(), minlength=len(cells))
    grid = cells.reshape(rows, columns, ORIENTATIONS)
    corners = [grid[down : rows - 1 + down, right : columns - 1 + right] for down in (0, 1) for right in (0, 1)]
    blocks = np.concatenate(corners, axis=2).reshape(-1, 4 * ORIENTATIONS)
    return _unit(np.minimum(blocks / np.hypot(np.linalg.norm(blocks, axis=1, keepdims=True), NOISE), CLIP))


def _roots(counts: Array) -> Array:
    """Square roots of the shares of each row."""
    return np.sqrt(counts / counts.sum(axis=1, keepdims=True))


def _unit(rows: Array) -> Array:
    """Rows at length one, or zero where they are zero."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)


_UNIFORM = _uniform()
