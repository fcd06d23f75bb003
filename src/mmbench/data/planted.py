"""Planted worlds: synthetic data whose truth about text and images is known (RULINGS 16).

Every item has four blocks of eight factors: *shared* (told by text), *text* (told by text only), *image* (told by
images only) and *id* (told by behaviour only). A user likes an item by the inner product of factors plus a popularity
term, and picks items by Gumbel choice. Two encoders see the images, each with a projection and noise of its own. Worlds
of any size are drawn in blocks of rows; nothing holds an array of users by items beyond a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
#: Numbers drawn at once; the worlds of the default size are a single block.
BLOCK_ENTRIES = 1 << 22
#: Interactions of every user at least, where only their total is given.
FEWEST = 5


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
    n_interactions: int | None = None,
    text_dim: int = FEATURE_DIM,
    image_dim: int = FEATURE_DIM,
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
        n_interactions: interactions of all users together, in place of ``per_user``: at least five of each user, the
            rest by a long tail, as in the log of a shop.
        text_dim: width of the text features.
        image_dim: width of the image features.
        feature_noise: standard deviation of the noise on each feature dimension.
        temperature: divides the utility before Gumbel noise is added.
        popularity_sd: standard deviation of the popularity term.
        seed: seed of everything.

    Returns:
        A source with text and image features and a column ``split``; ``truth`` holds the factors by block, which items
        are new and, in a world of at most :data:`BLOCK_ENTRIES` pairs, the utility ``(n_users, n_items)`` before noise.

    Raises:
        ValueError: for an unknown world or encoder, or a world without room for its interactions.
    """
    if world not in WORLDS:
        raise Refusal("dataset.world={world} is unknown; worlds are {worlds}", world=world, worlds=", ".join(WORLDS))
    spec = WORLDS[world]
    counts = _counts(spec, n_users, n_items, per_user, n_interactions, seed)
    rng = np.random.default_rng(seed)
    factors = {name: rng.standard_normal((n_items, BLOCK)) for name in (*BLOCKS, "junk")}
    tastes = rng.standard_normal((n_users, BLOCK * len(BLOCKS)))
    popularity = popularity_sd * rng.standard_normal(n_items)
    new = np.zeros(n_items, bool)
    new[rng.permutation(n_items)[: round(spec.new_items * n_items)]] = True
    # The second encoder draws from a generator of its own, so that without it every world is what it was.
    views = _views(spec, factors, new, feature_noise, (text_dim, image_dim), (rng, np.random.default_rng([seed, 1])))
    features = {name: view() for name, view in picked(views, encoder or {}, f"planted world {world}").items()}
    utility = _Utility(tastes, np.hstack([factors[b] for b in BLOCKS]), popularity)
    if isinstance(counts, int):
        log = _choices(utility, temperature, new, counts, rng)
    else:
        log = _uneven_choices(utility, temperature, counts, rng)
    items = pd.DataFrame({"item_id": [f"i{i:05d}" for i in range(n_items)]})
    truth: dict[str, NDArray[Any]] = {f"factors_{b}": v for b, v in factors.items()}
    if n_users * n_items <= BLOCK_ENTRIES:
        truth["utility"] = next(utility.blocks())
    return Source(log, items, features, {**truth, "new": new})


def _counts(
    spec: World, n_users: int, n_items: int, per_user: int | None, total: int | None, seed: int
) -> int | NDArray[np.int64]:
    """Interactions of every user, or of each ``(n_users,)`` where only their total is given."""
    if total is not None:
        if per_user is not None or spec.new_items:
            raise Refusal(
                "n_interactions={total} goes with neither per_user nor a world that has new items", total=total
            )
        return _long_tailed(total, n_users, n_items, seed)
    per_user = spec.per_user if per_user is None else per_user
    if not 5 <= per_user <= n_items // 2:
        raise Refusal(
            "per_user={per_user} must be at least 5 and at most half of n_items={n_items}",
            per_user=per_user,
            n_items=n_items,
        )
    return per_user


@dataclass(frozen=True)
class _Utility:
    """What every item is worth to every user before noise.

    Args:
        tastes: ``(n_users, d)``.
        factors: ``(n_items, d)``.
        popularity: ``(n_items,)``.
    """

    tastes: Array
    factors: Array
    popularity: Array

    def blocks(self) -> Iterator[Array]:
        """Rows of users, in order, each block ``(b, n_items)``."""
        step = max(1, BLOCK_ENTRIES // len(self.factors))
        for begin in range(0, len(self.tastes), step):
            yield self.tastes[begin : begin + step] @ self.factors.T + self.popularity


def _views(
    spec: World,
    factors: Mapping[str, Array],
    new: NDArray[np.bool_],
    noise: float,
    widths: tuple[int, int],
    generators: tuple[np.random.Generator, np.random.Generator],
) -> dict[str, dict[str, Callable[[], ItemFeature]]]:
    """Features by modality and encoder; both image encoders see the same blocks, or the same text."""
    of_text, of_image = widths
    text = _view(spec.text, factors, of_text, np.float64, noise, generators[0])

    def image(rng: np.random.Generator) -> ItemFeature:
        if spec.image_of_text:
            values = _function_of(text, of_image, rng)
        else:
            values = _view(spec.image, factors, of_image, np.float32, noise, rng)
        return with_missing_filled(values, np.ones(len(new), bool))

    first = image(generators[0])  # drawn whatever is chosen, for the log comes after it
    return {
        "image": {DEFAULT: lambda: first, SECOND: lambda: image(generators[1])},
        "text": {DEFAULT: lambda: with_missing_filled(text.astype(np.float32), ~new)},
    }


def _view(
    blocks: tuple[str, ...],
    factors: Mapping[str, Array],
    width: int,
    dtype: type,
    noise: float,
    rng: np.random.Generator,
) -> NDArray[Any]:
    """A random projection of blocks with noise, ``(n_items, width)``; of none of them, noise alone."""
    seen = np.hstack([factors[b] for b in blocks]) if blocks else np.zeros((len(factors["id"]), 1))
    mixing = rng.standard_normal((seen.shape[1], width)) / np.sqrt(seen.shape[1])
    scale = noise if blocks else 1.0
    return _in_blocks(seen, width, dtype, lambda rows: rows @ mixing + scale * rng.standard_normal((len(rows), width)))


def _function_of(text: Array, width: int, rng: np.random.Generator) -> NDArray[Any]:
    """A function of the observed text with little noise, ``(n_items, width)``."""
    mixing = rng.standard_normal((text.shape[1], width)) / np.sqrt(text.shape[1])
    return _in_blocks(
        text,
        width,
        np.float32,
        lambda rows: np.tanh(rows @ mixing) + 0.3 * rng.standard_normal((len(rows), width)),
    )


def _in_blocks(seen: Array, width: int, dtype: type, of: Callable[[Array], Array]) -> NDArray[Any]:
    """A function of rows, ``(n_items, width)``, computed in blocks."""
    values: NDArray[Any] = np.empty((len(seen), width), dtype)
    step = max(1, BLOCK_ENTRIES // width)
    for begin in range(0, len(seen), step):
        values[begin : begin + step] = of(seen[begin : begin + step])
    return values


def _choices(
    utility: _Utility, temperature: float, new: NDArray[np.bool_], per_user: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Gumbel top-k choice without replacement; training choices avoid new items."""
    n_users = len(utility.tastes)
    held = max(2, per_user // 5)
    n_train = per_user - held

    def noisy() -> Iterator[Array]:
        for block in utility.blocks():
            yield block / temperature + rng.gumbel(size=block.shape)

    if new.any():
        train = np.vstack([_best(np.where(new, -np.inf, block), n_train) for block in noisy()])
        later, begin = [], 0
        for block in noisy():
            np.put_along_axis(block, train[begin : begin + len(block)], -np.inf, axis=1)
            later.append(_best(block, held))
            begin += len(block)
        chosen = np.hstack([train, rng.permuted(np.vstack(later), axis=1)])
    else:
        chosen = rng.permuted(np.vstack([_best(block, per_user) for block in noisy()]), axis=1)
    return _log(np.full(n_users, per_user), chosen.ravel(), held)


def _long_tailed(total: int, n_users: int, n_items: int, seed: int) -> NDArray[np.int64]:
    """Interactions of each user ``(n_users,)``: five, and a share of the rest by a log-normal weight."""
    rng = np.random.default_rng([seed, n_users])
    weights = rng.lognormal(size=n_users)
    if total < FEWEST * n_users:
        raise Refusal(
            "n_interactions={total} must be at least {fewest} for each of n_users={n_users}",
            total=total,
            fewest=FEWEST,
            n_users=n_users,
        )
    counts = FEWEST + rng.multinomial(total - FEWEST * n_users, weights / weights.sum())
    if counts.max() > n_items // 2:
        raise Refusal(
            "n_interactions={total} gives a user {most}, more than half of n_items={n_items}",
            total=total,
            most=int(counts.max()),
            n_items=n_items,
        )
    return counts.astype(np.int64)


def _uneven_choices(
    utility: _Utility, temperature: float, counts: NDArray[np.int64], rng: np.random.Generator
) -> pd.DataFrame:
    """Gumbel choice of ``counts`` ``(n_users,)`` items; a fifth of each user's is held out, two at least."""
    most, chosen, begin = int(counts.max()), [], 0
    for block in utility.blocks():
        # A Gumbel variable is minus the logarithm of an exponential one, which single precision draws quickly.
        noise = rng.standard_exponential(block.shape, dtype=np.float32)
        noisy = (block / temperature).astype(np.float32) - np.log(np.maximum(noise, np.finfo(np.float32).tiny))
        best = _best(noisy, most)
        order = np.argsort(-np.take_along_axis(noisy, best, axis=1), axis=1)
        kept = np.arange(most) < counts[begin : begin + len(block), None]
        chosen.append(np.take_along_axis(best, order, axis=1)[kept])
        begin += len(block)
    shuffled = np.lexsort((rng.random(int(counts.sum())), np.repeat(np.arange(len(counts)), counts)))
    return _log(counts, np.concatenate(chosen)[shuffled], np.maximum(2, counts // 5))


def _log(counts: NDArray[np.int64], items: NDArray[np.int64], held: NDArray[np.int64] | int) -> pd.DataFrame:
    """The log of users with ``counts`` ``(n_users,)`` of ``items`` ``(n,)``, the last ``held`` of each held out."""
    n_users, ends = len(counts), np.cumsum(counts)
    left = np.repeat(ends, counts) - np.arange(len(items))  # of this user, this one included
    held = np.repeat(np.broadcast_to(held, n_users), counts)
    parts = np.where(left > held, "train", np.where(left > held - held // 2, "valid", "test"))
    return pd.DataFrame(
        {
            "user_id": np.repeat([f"u{u:05d}" for u in range(n_users)], counts),
            "item_id": [f"i{i:05d}" for i in items],
            "split": parts,
        }
    )


def _best(scores: NDArray[np.floating[Any]], k: int) -> NDArray[np.int64]:
    return np.argpartition(-scores, k, axis=1)[:, :k]
