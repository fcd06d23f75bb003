"""The image encoder without weights: what its three parts count, and what it tells apart."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from mmbench.encoders.histograms import _UNIFORM, COLOURS, GREYS, ORIENTATIONS, SIDE, gradients
from mmbench.encoders.images import image_encoder, installed

ENCODER = image_encoder("histograms")
#: Widths of the parts.
COLOUR, TEXTURE, SHAPE = 5 * COLOURS, 2 * 59, 9 * 4 * ORIENTATIONS
KINDS = [(colour, shape) for colour in ("red", "blue", "green") for shape in ("ellipse", "rectangle")]


def encoded(*images: Image.Image) -> np.ndarray:
    return ENCODER.encode([ENCODER.prepare(image) for image in images])


def drawn(colour: str, shape: str, rng: np.random.Generator, size: int = 200) -> Image.Image:
    """A figure somewhere near the middle, a little larger or smaller, on a pale and noisy ground."""
    ground = rng.integers(235, 256, (size, size, 3)).astype(np.uint8)
    image = Image.fromarray(ground)
    left, top = rng.integers(size // 6, size // 4, 2)
    side = rng.integers(size // 2, int(size / 1.7))
    getattr(ImageDraw.Draw(image), shape)((left, top, left + side, top + side), fill=colour)
    return image


def test_vectors_do_not_depend_on_their_neighbours_or_on_the_call() -> None:
    photos = [drawn(*kind, np.random.default_rng(n)) for n, kind in enumerate(KINDS)]
    together, alone = encoded(*photos), np.concatenate([encoded(photo) for photo in photos])
    assert together.shape == (len(KINDS), ENCODER.dim) == (len(KINDS), COLOUR + TEXTURE + SHAPE)
    assert together.dtype == np.float32
    assert np.array_equal(together, alone)
    assert np.array_equal(together, encoded(*photos))
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert ENCODER.identity == {"library": "mmbench", "revision": 1}
    assert installed()[0] == "histograms"


def test_pictures_of_one_kind_are_nearest_to_each_other() -> None:
    """Colour and shape both count: each picture's nearest neighbour is of its own colour and shape."""
    rng = np.random.default_rng(0)
    kinds = KINDS * 6
    vectors = encoded(*(drawn(*kind, rng) for kind in kinds))
    vectors -= vectors.mean(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    assert [kinds[n] for n in similarity.argmax(axis=1)] == kinds


def test_size_and_light_hardly_matter() -> None:
    photo = drawn("red", "ellipse", np.random.default_rng(3), 300)
    larger = photo.resize((900, 900), Image.Resampling.BICUBIC)
    darker = ImageEnhance.Brightness(photo).enhance(0.9)
    other = drawn("blue", "rectangle", np.random.default_rng(4), 300)
    same, bright, far = (encoded(photo)[0] @ encoded(image)[0] for image in (larger, darker, other))
    assert same > 0.98
    assert bright > 0.9
    assert far < min(same, bright) - 0.15


def test_colours_by_hand() -> None:
    """Left half pure red, right half white: every quarter holds one of them, the whole half of each."""
    image = Image.new("RGB", (SIDE, SIDE), "white")
    image.paste("red", (0, 0, SIDE // 2, SIDE))
    colours = encoded(image)[0, :COLOUR].reshape(5, COLOURS).astype(float)
    shares = colours**2 / (colours**2).sum(axis=1, keepdims=True)
    red, white = GREYS + 3, GREYS - 1
    expected = np.zeros((5, COLOURS))
    expected[0, [red, white]] = 0.5
    expected[[1, 3], red] = expected[[2, 4], white] = 1
    np.testing.assert_allclose(shares, expected, atol=1e-6)


def test_a_hue_between_two_belongs_to_both() -> None:
    hsv = np.full((SIDE, SIDE, 3), 255, np.uint8)
    hsv[..., 0] = 32  # 32 / 256 of the circle lies in the middle of the second of twelve hues and the third
    shares = encoded(Image.fromarray(hsv, "HSV").convert("RGB"))[0, :COLOURS] ** 2
    second, third = (shares[GREYS + 4 * hue + 3] / shares.sum() for hue in (1, 2))
    assert second == pytest.approx(0.5, abs=0.06)
    assert second + third == pytest.approx(1, abs=1e-6)


def test_textures_do_not_see_light() -> None:
    rng = np.random.default_rng(5)
    grey = rng.integers(0, 100, (SIDE, SIDE)).astype(np.uint8)
    pair = [Image.fromarray(values).convert("RGB") for values in (grey, grey * 2 + 10)]
    textures = encoded(*pair)[:, COLOUR : COLOUR + 59]
    directions = textures / np.linalg.norm(textures, axis=1, keepdims=True)
    np.testing.assert_allclose(directions[0], directions[1], atol=1e-6)
    assert (textures > 0).all()


def test_uniform_patterns_are_those_of_the_paper() -> None:
    """58 of 256 patterns of eight neighbours turn at most twice; the others share one place."""
    assert np.bincount(_UNIFORM)[:58].tolist() == [1] * 58
    assert (_UNIFORM == 58).sum() == 256 - 58
    assert _UNIFORM[0b01010101] == 58
    assert len({_UNIFORM[code] for code in (0, 255, 0b00000001, 0b00111000, 0b11000001)}) == 5


@pytest.mark.parametrize(
    ("angle", "orientation"), [(0, (8, 0)), (20, (0, 1)), (30, (1,)), (90, (4,)), (135, (6, 7)), (170, (8,))]
)
def test_gradients_point_where_the_picture_gets_lighter(angle: int, orientation: tuple[int, ...]) -> None:
    """A slope of one direction fills the orientations whose middles (10, 30, ... 170 degrees) are next to it."""
    down, right = np.mgrid[:SIDE, :SIDE]
    slope = right * np.cos(np.deg2rad(angle)) + down * np.sin(np.deg2rad(angle))
    middle = gradients(10 * slope)[4].reshape(4, ORIENTATIONS).sum(axis=0)
    assert set(np.argsort(-middle)[: len(orientation)]) == set(orientation)


def test_a_picture_of_one_colour_has_no_gradients() -> None:
    grey = np.full((SIDE, SIDE), 90, np.uint8)
    assert not gradients(grey).any()
    vector = encoded(Image.new("RGB", (40, 20), (90, 90, 90)))[0]
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
