"""Planted worlds: synthetic data whose truth about text and images is known (RULINGS 16).

Every item has four blocks of eight factors: *shared* (told by text), *text* (told by text only), *image* (told by
images only) and *id* (told by behaviour only). A user likes an item by the inner product of factors plus a popularity
term, and picks items by Gumbel choice. Two encoders see the images, each with a projection and noise of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench.data.encoded import DEFAULT, picked
from mmbench.data.features import ItemFeature, with_missing_filled
from mmbench.data.sources import Source
from mmbench.messages import Refusal

Array = NDArray[np.float64]
BLOCK = 8
BLOCKS = ("shared", "text", "image", "id")
FEATURE_DIM = 32
#: Label of the second image encoder.
SECOND = "second"


@dataclass(frozen=True)
class World:
    """What the two modalities tell.

    Args:
        text: blocks that the text describes; empty means pure noise.
        image: blocks that the image describes; ``junk`` is structure no user cares about; empty means pure noise.
        image_of_text: the image is a function of the observed text, so it adds nothing to it.
        new_items: share of items without a training interaction and without text.
        per_user: interactions of each user where nothing else is asked for.
    """

    text: tuple[str, ...]
    image: tuple[str, ...] = ()
    image_of_text: bool = False
    new_items: float = 0.0
    per_user: int = 20


WORLDS: Mapping[str, World] = {
    "complementary": World(text=("shared", "text"), image=("shared", "image")),
    "redundant": World(text=("shared", "text"), image_of_text=True),
    "two_views": World(text=("shared",), image=("shared",)),
    # A short log: with 20 interactions behaviour tells nearly all that the text does (docs/decisions/0008).
    "text_only": World(text=("shared", "text"), per_user=10),
    "useless_image": World(text=("shared", "text"), image=("junk",)),
    "no_signal": World(text=()),
    "cold_image": World(text=("shared", "text"), image_of_text=True, new_items=0.15),
}


def make_world(
    world: str,
    encoder: Mapping[str, str] | None = None,
    *,
    n_users: int = 1500,
    n_items: int = 600,
    per_user: int | None = None,
    feature_noise: float = 0.5,
    temperature: float = 1.5,
    popularity_sd: float = 0.6,
    seed: int = 0,
) -> Source:
    """Draw one world.

    Args:
        world: one of :data:`WORLDS`.
        encoder: label of the encoder by modality; ``image`` has a ``default`` and a ``second`` one that sees the same.
        n_users: number of users.
        n_items: number of items.
        per_user: interactions of each user, by default those of the world; the last fifth of them is held out, half
            each.
        feature_noise: standard deviation of the noise on each feature dimension.
        temperature: divides the utility before Gumbel noise is added.
        popularity_sd: standard deviation of the popularity term.
        seed: seed of everything.

    Returns:
        A source with text and image features and a column ``split``; ``truth`` holds the factors by block, the
        utility ``(n_users, n_items)`` before noise and which items are new.

    Raises:
        ValueError: for an unknown world or encoder, or a world without room for its interactions.
    """
    if world not in WORLDS:
        raise Refusal("data", "no_world", world=world, worlds=", ".join(WORLDS))
    spec = WORLDS[world]
    per_user = spec.per_user if per_user is None else per_user
    if not 5 <= per_user <= n_items // 2:
        raise Refusal("data", "no_room", per_user=per_user, n_items=n_items)
    rng = np.random.default_rng(seed)
    factors = {name: rng.standard_normal((n_items, BLOCK)) for name in (*BLOCKS, "junk")}
    tastes = rng.standard_normal((n_users, BLOCK * len(BLOCKS)))
    popularity = popularity_sd * rng.standard_normal(n_items)
    new = np.zeros(n_items, bool)
    new[rng.permutation(n_items)[: round(spec.new_items * n_items)]] = True
    utility = tastes @ np.hstack([factors[b] for b in BLOCKS]).T + popularity
    # The second encoder draws from a generator of its own, so that without it every world is what it was.
    views = _views(spec, factors, new, feature_noise, (rng, np.random.default_rng([seed, 1])))
    features = picked(views, encoder or {}, f"planted world {world}")
    log = _choices(utility / temperature, new, per_user, rng)
    items = pd.DataFrame({"item_id": [f"i{i:05d}" for i in range(n_items)]})
    truth: dict[str, NDArray[Any]] = {**{f"factors_{b}": v for b, v in factors.items()}, "utility": utility, "new": new}
    return Source(log, items, features, truth)


def _views(
    spec: World,
    factors: Mapping[str, Array],
    new: NDArray[np.bool_],
    noise: float,
    generators: tuple[np.random.Generator, np.random.Generator],
) -> dict[str, dict[str, ItemFeature]]:
    """Features by modality and encoder; both image encoders see the same blocks, or the same text."""
    text = _view(spec.text, factors, noise, generators[0])
    images = {}
    for label, rng in zip((DEFAULT, SECOND), generators, strict=True):
        image = _of_text(text, rng) if spec.image_of_text else _view(spec.image, factors, noise, rng)
        images[label] = with_missing_filled(image.astype(np.float32), np.ones(len(new), bool))
    return {"image": images, "text": {DEFAULT: with_missing_filled(text.astype(np.float32), ~new)}}


def _view(blocks: tuple[str, ...], factors: Mapping[str, Array], noise: float, rng: np.random.Generator) -> Array:
    """A random projection of blocks with noise, ``(n_items, FEATURE_DIM)``; of none of them, noise alone."""
    n_items = len(factors["id"])
    seen = np.hstack([factors[b] for b in blocks]) if blocks else np.zeros((n_items, 1))
    mixing = rng.standard_normal((seen.shape[1], FEATURE_DIM)) / np.sqrt(seen.shape[1])
    scale = noise if blocks else 1.0
    return seen @ mixing + scale * rng.standard_normal((n_items, FEATURE_DIM))


def _of_text(text: Array, rng: np.random.Generator) -> Array:
    """A function of the observed text with little noise, ``(n_items, FEATURE_DIM)``."""
    mixing = rng.standard_normal((FEATURE_DIM, FEATURE_DIM)) / np.sqrt(FEATURE_DIM)
    return np.tanh(text @ mixing) + 0.3 * rng.standard_normal(text.shape)


def _choices(logits: Array, new: NDArray[np.bool_], per_user: int, rng: np.random.Generator) -> pd.DataFrame:
    """Gumbel top-k choice without replacement; training choices avoid new items."""
    n_users = len(logits)
    held = max(2, per_user // 5)
    n_train = per_user - held
    noisy = logits + rng.gumbel(size=logits.shape)
    if new.any():
        train = _best(np.where(new, -np.inf, noisy), n_train)
        later = logits + rng.gumbel(size=logits.shape)
        np.put_along_axis(later, train, -np.inf, axis=1)
        chosen = np.hstack([train, rng.permuted(_best(later, held), axis=1)])
    else:
        chosen = rng.permuted(_best(noisy, per_user), axis=1)
    parts = np.array(["train"] * n_train + ["valid"] * (held // 2) + ["test"] * (held - held // 2))
    return pd.DataFrame(
        {
            "user_id": np.repeat([f"u{u:05d}" for u in range(n_users)], per_user),
            "item_id": [f"i{i:05d}" for i in chosen.ravel()],
            "split": np.tile(parts, n_users),
        }
    )


def _best(scores: Array, k: int) -> NDArray[np.int64]:
    return np.argpartition(-scores, k, axis=1)[:, :k]
