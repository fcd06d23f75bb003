"""Image files as they are found: opened with care, and every kind that cannot serve is named and counted."""

from __future__ import annotations

import warnings
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

#: Largest picture that is decoded, in millions of pixels: 64 take 256 MB of memory. Pillow refuses from 179 on.
MAX_MEGAPIXELS = 64.0
MOST_MEGAPIXELS = 170.0
#: Longest side of a picture that is decoded, in shorter sides. Encoders with weights scale the shorter side to that of
#: their input before they crop. Beside a picture of 64 million pixels, the scaled one and what Pillow holds between its
#: two passes take ``400 * side * (side + 800)`` bytes at most: 110 MB for an input of 256 pixels, 750 MB for 1,024.
MOST_ELONGATED = 100
#: Formats that are opened at all: no program is started to read them, as Ghostscript is for EPS. JPEG opens MPO too.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")


class Problem(StrEnum):
    """Why an item has no vector."""

    MISSING = "missing"
    EMPTY = "empty"
    BROKEN = "broken"
    TRUNCATED = "truncated"
    HUGE = "huge"
    NARROW = "narrow"
    ANIMATED = "animated"
    CMYK = "cmyk"
    DEEP = "deep"
    GREY = "grey"
    PALETTE = "palette"
    UNLIKE = "unlike"


_ODD_MODES = {
    **dict.fromkeys(("CMYK",), Problem.CMYK),
    **dict.fromkeys(("1", "L", "LA", "La"), Problem.GREY),
    **dict.fromkeys(("P", "PA"), Problem.PALETTE),
}
#: Grey values that eight bits do not hold; a conversion would only clip them.
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def read_image(
    file: Path | IO[bytes], *, max_megapixels: float = MAX_MEGAPIXELS, convert: bool = False
) -> Image | Problem:
    """Open an image file as RGB, upright, transparency on white.

    Args:
        file: where it is, or its bytes.
        max_megapixels: a larger picture is refused before it is decoded.
        convert: take the first frame of an animation and turn CMYK, grey and palette pictures into RGB; otherwise they
            are refused, because encoders were trained on colour photographs. Grey values of more than eight bits, as
            in a 16-bit grey PNG, are refused in any case; of 16 bits a colour, Pillow takes the upper eight.
    """
    import PIL.Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow warns of is counted here
        try:
            with PIL.Image.open(file, formats=FORMATS) as image:
                if image.width * image.height > max_megapixels * 1e6:
                    return Problem.HUGE
                if max(image.size) > MOST_ELONGATED * min(image.size):
                    return Problem.NARROW
                odd = _odd(image)
                if odd is not None and (not convert or odd is Problem.DEEP):
                    return odd
                image.load()
                return _upright_rgb(image)
        except PIL.Image.DecompressionBombError:
            return Problem.HUGE
        except Exception as error:  # Pillow's plugins raise many kinds, all meaning the same to a user
            return Problem.TRUNCATED if "truncated" in str(error).lower() else Problem.BROKEN


def _odd(image: Image) -> Problem | None:
    if image.mode in _DEEP_MODES:
        return Problem.DEEP
    # The further pictures of an MPO file, which cameras write, are other views of the same scene.
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        return Problem.ANIMATED
    return _ODD_MODES.get(image.mode)


def _upright_rgb(image: Image) -> Image:
    import PIL.Image
    import PIL.ImageOps

    upright = PIL.ImageOps.exif_transpose(image)
    if upright.mode not in ("RGBA", "LA", "PA", "La", "RGBa") and "transparency" not in upright.info:
        return upright.convert("RGB")
    layered = upright.convert("RGBA")
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
