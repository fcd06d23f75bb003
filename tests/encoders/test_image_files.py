"""Every kind of image file that a shop has."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from mmbench.encoders.encoding import image_content
from mmbench.encoders.image_files import Problem, read_image

NOISE = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)
PHOTO = Image.fromarray(NOISE)


def saved(name: str, image: Image.Image = PHOTO, **how: object) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        image.save(folder / name, **how)
        return folder / name

    return write


def cut(name: str, keep: float) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = saved(name)(folder)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * keep)])
        return path

    return write


def raw(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


def png_that_claims(width: int, height: int, depth: int = 8, pixels: bytes = b"") -> bytes:
    """A PNG in colour; without its pixels the header of a few bytes may promise a huge picture."""
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


ODD = {
    "no image": (raw("a.jpg", b"<html>404 not found</html>"), Problem.BROKEN),
    "half a jpeg": (cut("a.jpg", 0.5), Problem.TRUNCATED),
    "half a png": (cut("a.png", 0.5), Problem.TRUNCATED),
    "head of a png": (raw("a.png", b"\x89PNG\r\n\x1a\n"), Problem.BROKEN),
    "a hundred megapixels": (raw("a.png", png_that_claims(10_000, 10_000)), Problem.HUGE),
    "a decompression bomb": (raw("a.png", png_that_claims(60_000, 60_000)), Problem.HUGE),
    "a strip": (raw("a.png", png_that_claims(1, 30_000)), Problem.NARROW),
    "a strip of sixty megapixels": (raw("a.png", png_that_claims(60_000_000, 1)), Problem.NARROW),
    "animated gif": (saved("a.gif", save_all=True, append_images=[PHOTO.rotate(90)]), Problem.ANIMATED),
    "animated webp": (saved("a.webp", save_all=True, append_images=[PHOTO.rotate(180)]), Problem.ANIMATED),
    "cmyk": (saved("a.jpg", PHOTO.convert("CMYK")), Problem.CMYK),
    "grey": (saved("a.jpg", PHOTO.convert("L")), Problem.GREY),
    "grey and transparent": (saved("a.png", PHOTO.convert("LA")), Problem.GREY),
    "grey in sixteen bits": (saved("a.png", Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257)), Problem.DEEP),
    "grey in floats": (saved("a.tif", Image.fromarray(NOISE[..., 0].astype(np.float32))), Problem.DEEP),
    "black and white": (saved("a.png", PHOTO.convert("1")), Problem.GREY),
    "palette": (saved("a.png", PHOTO.convert("P")), Problem.PALETTE),
    "still gif": (saved("a.gif"), Problem.PALETTE),
}
FINE = {
    "jpeg": saved("a.jpg"),
    "jpeg with a wrong ending": lambda folder: saved("a.jpg")(folder).rename(folder / "a.png"),
    "png": saved("a.png"),
    "webp": saved("a.webp"),
    "bmp": saved("a.bmp"),
    "tiff": saved("a.tif"),
    "transparent": saved("a.png", PHOTO.convert("RGBA")),
    "photo with a second view": saved("a.mpo", save_all=True, append_images=[PHOTO.rotate(180)]),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_image_is_named_and_never_fatal(kind: str, tmp_path: Path) -> None:
    write, problem = ODD[kind]
    assert read_image(write(tmp_path)) is problem


@pytest.mark.parametrize("kind", FINE)
def test_a_colour_photograph_is_read(kind: str, tmp_path: Path) -> None:
    image = read_image(FINE[kind](tmp_path))
    assert isinstance(image, Image.Image)
    assert (image.mode, image.size) == ("RGB", (30, 40))


@pytest.mark.parametrize("kind", ["animated gif", "cmyk", "grey", "black and white", "palette", "still gif"])
def test_conversion_reads_what_can_be_converted(kind: str, tmp_path: Path) -> None:
    image = read_image(ODD[kind][0](tmp_path), convert=True)
    assert isinstance(image, Image.Image)
    assert (image.mode, image.size) == ("RGB", (30, 40))


@pytest.mark.parametrize(
    "kind", ["no image", "half a jpeg", "a hundred megapixels", "a strip", "grey in sixteen bits", "grey in floats"]
)
def test_conversion_does_not_invent(kind: str, tmp_path: Path) -> None:
    write, problem = ODD[kind]
    assert read_image(write(tmp_path), convert=True) is problem


def test_of_sixteen_bits_a_colour_the_upper_eight_are_read(tmp_path: Path) -> None:
    pixels = b"\0" + struct.pack(">6H", 0x1234, 0x56FF, 0x7800, 0x00FF, 0xFFFF, 0x8000)
    image = read_image(raw("a.png", png_that_claims(2, 1, 16, pixels))(tmp_path))
    assert isinstance(image, Image.Image)
    assert np.asarray(image).tolist() == [[[0x12, 0x56, 0x78], [0x00, 0xFF, 0x80]]]


def test_no_program_is_started_to_read_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = Mock(side_effect=OSError)
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", started)
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 30 40\n%%EndComments\n%%EOF\n"
    assert read_image(raw("a.jpg", script)(tmp_path)) is Problem.BROKEN
    assert not started.called


def test_what_is_not_there_or_empty_is_known_without_reading(tmp_path: Path) -> None:
    def kind(path: Path | None) -> object:
        return image_content(path, max_megapixels=64, convert=False)

    assert kind(None) is Problem.MISSING
    assert kind(tmp_path / "none.jpg") is Problem.MISSING
    assert kind(tmp_path) is Problem.MISSING
    assert kind(raw("empty.jpg", b"")(tmp_path)) is Problem.EMPTY


def test_transparency_is_white_and_pictures_stand_upright(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert read_image(saved("clear.png", clear)(tmp_path)).getpixel((0, 0)) == (255, 255, 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    assert read_image(saved("turned.jpg", exif=exif)(tmp_path)).size == (40, 30)


@pytest.mark.parametrize("size", [(3, 300), (300, 3)])
def test_a_picture_a_hundred_times_as_long_as_wide_is_read(size: tuple[int, int], tmp_path: Path) -> None:
    image = read_image(saved("a.png", PHOTO.resize(size))(tmp_path))
    assert isinstance(image, Image.Image)
    assert read_image(saved("b.png", PHOTO.resize((max(size) + 1, 3)))(tmp_path)) is Problem.NARROW


def test_the_limit_is_the_callers(tmp_path: Path) -> None:
    path = saved("a.png")(tmp_path)
    assert read_image(path, max_megapixels=0.001) is Problem.HUGE
    assert isinstance(read_image(path, max_megapixels=0.0012), Image.Image)
