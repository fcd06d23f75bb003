"""Planted worlds: synthetic data sets whose value of text and images is known.

Every item has four blocks of eight factors. Both modalities may describe the block *shared*, only text describes
*text*, only images describe *image*, and only behaviour depends on *id*. The utility of an item to a user is the inner
product of their factors plus a popularity term; users choose items by utility plus Gumbel noise. Two image encoders see
the same blocks, each through its own projection and noise. Users are drawn in blocks of rows, so that memory never
holds the utilities of all users and items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench.data.encoded import DEFAULT, picked
from mmbench.data.features import ItemFeature, with_missing_filled
from mmbench.data.sources import Source, read_meta
from mmbench.messages import Refusal, Template

Array = NDArray[np.float64]
BLOCK = 8
BLOCKS = ("shared", "text", "image", "id")
#: Blocks that features may describe: no utility depends on the last one.
TOLD = (*BLOCKS, "junk")
FEATURE_DIM = 32
#: Standard deviation of the noise on a modality that is a function of the other one as observed.
FUNCTION_NOISE = 0.3
#: Label of the second image encoder.
SECOND = "second"
#: Numbers drawn at once; a world of the default size is a single block.
BLOCK_ENTRIES = 1 << 22
#: Least number of interactions of a user where only the total is given.
FEWEST = 5
#: Least and largest value of the options that are numbers; utilities are divided by the temperature.
BOUNDS: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("n_users", "n_items", "text_dim", "image_dim"), (1, 1_000_000_000)),
    "feature_noise": (0, 1_000_000),
    "temperature": (0.001, 1_000_000),
    "popularity_sd": (0, 1_000_000),
    "seed": (0, 2**63 - 1),
}


@dataclass(frozen=True)
class World:
    """What text and images of a world describe.

    Args:
        text: blocks that the text describes; empty means pure noise.
        image: blocks that the image describes; empty means pure noise. No utility depends on the block ``junk``.
        derived: modality that is a function of the other one as observed, so that it adds no information; empty where
            neither is.
        new_items: share of items without a training interaction; they lack the modality that the other is derived from.
        per_user: default number of interactions of each user.
        feature_noise: default standard deviation of the noise on each feature dimension.
    """

    text: tuple[str, ...]
    image: tuple[str, ...] = ()
    derived: str = ""
    new_items: float = 0.0
    per_user: int = 20
    feature_noise: float = 0.5


#: Worlds by name. A world that was redefined keeps its earlier definition as ``<name>@<edition>``.
WORLDS: Mapping[str, World] = {
    # Short logs and clear features: otherwise trained models do not show what is planted (docs/decisions/0016).
    "complementary": World(text=("shared", "text"), image=("shared", "image"), per_user=10, feature_noise=0.25),
    "redundant": World(text=("shared", "text"), derived="image"),
    "two_views": World(text=("shared",), image=("shared",)),
    "text_only": World(text=("shared", "text", "image"), per_user=8, feature_noise=0.25),
    "useless_image": World(text=("shared", "text"), image=("junk",)),
    "no_signal": World(text=()),
    "cold_image": World(text=("shared", "text"), derived="image", new_items=0.15),
    "cold_text": World(text=(), image=("shared", "image"), derived="text", new_items=0.15),
    "complementary@1": World(text=("shared", "text"), image=("shared", "image")),
    "text_only@1": World(text=("shared", "text"), per_user=10),
}


def own_protocol(world: str) -> str:
    """Split protocol of a world: ``given`` keeps the new items of its generator out of training."""
    return "given" if world in WORLDS and WORLDS[world].new_items else "paper"


#: What every output on a planted world says, and how the names of all that are drawn begin.
MADE_UP = Template("PLANTED WORLD, MADE-UP DATA")
PLANTED = "planted"


def is_made_up(dataset: str, read: Sequence[str] = ()) -> bool:
    """Whether a data set is a planted world, by its name or by what was read of it.

    Args:
        dataset: its name; nothing else may have the name of a world that is drawn.
        read: what was read of it, as :meth:`mmbench.data.dataset.Dataset.summary` says and records keep it: a world
            that was written into a folder may have any name there.
    """
    return dataset.startswith(PLANTED) or MADE_UP.one in read


def holds_world(folder: Path) -> bool:
    """Whether a canonical folder was written from a planted world, by its truth or its ``dataset.json``."""
    if (folder / "truth.npz").exists():
        return True
    try:
        provenance = read_meta(folder).get("provenance")
    except Refusal:  # whoever needs the file says what is wrong with it
        return False
    return isinstance(provenance, Mapping) and provenance.get("format") == PLANTED


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
    feature_noise: float | None = None,
    temperature: float = 1.5,
    popularity_sd: float = 0.6,
    seed: int = 0,
) -> Source:
    """Draw one world.

    Args:
        world: one of :data:`WORLDS`.
        encoder: label of the encoder by modality; ``image`` has the encoders ``default`` and ``second``.
        n_users: number of users.
        n_items: number of items.
        per_user: interactions of each user, by default those of the world; the last fifth of them is held out, half
            each.
        n_interactions: total number of interactions, in place of ``per_user``: five of each user, the rest with a long
            tail, as in the log of a shop.
        text_dim: width of the text features.
        image_dim: width of the image features.
        feature_noise: standard deviation of the noise on each feature dimension, by default that of the world.
        temperature: divides the utility before Gumbel noise is added.
        popularity_sd: standard deviation of the popularity term.
        seed: seed of all random numbers.

    Returns:
        A source with text and image features and a column ``split``. Its ``truth`` holds ``factors_<block>``
        ``(n_items, 8)``; ``tastes`` ``(n_users, 32)``, in the order of :data:`BLOCKS`; ``popularity`` ``(n_items,)``;
        ``new``, which items are; ``text_mixing`` and ``image_mixing``, the projections of the factors in the order
        of :data:`TOLD` ``(40, d)``, or of the text ``(text_dim, image_dim)`` for an image that is a function of it;
        ``feature_noise`` and ``temperature`` ``()``; and, in a world of at most :data:`BLOCK_ENTRIES` pairs, the
        ``utility`` ``(n_users, n_items)`` before noise.

    Raises:
        ValueError: for an unknown world or encoder, or a world without room for its interactions.
    """
    if world not in WORLDS:
        raise Refusal("dataset.world={world} is unknown; worlds are {worlds}", world=world, worlds=", ".join(WORLDS))
    spec = WORLDS[world]
    noise = spec.feature_noise if feature_noise is None else feature_noise
    sizes = {"n_users": n_users, "n_items": n_items, "text_dim": text_dim, "image_dim": image_dim}
    numbers = {"feature_noise": noise, "temperature": temperature, "popularity_sd": popularity_sd, "seed": seed}
    for name, value in {**sizes, **numbers}.items():
        least, most = BOUNDS[name]
        if not least <= value <= most:
            raise Refusal(
                "{key}={value} must be a number from {least} to {most}",
                key=f"dataset.world_options.{name}",
                value=value,
                least=least,
                most=most,
            )
    counts = _counts(spec, n_users, n_items, per_user, n_interactions, seed)
    rng = np.random.default_rng(seed)
    factors = {name: rng.standard_normal((n_items, BLOCK)) for name in TOLD}
    tastes = rng.standard_normal((n_users, BLOCK * len(BLOCKS)))
    popularity = popularity_sd * rng.standard_normal(n_items)
    new = np.zeros(n_items, bool)
    new[rng.permutation(n_items)[: round(spec.new_items * n_items)]] = True
    # The second encoder draws from its own generator, so that its existence changes no other number of a world.
    views = _views(spec, factors, new, noise, (text_dim, image_dim), (rng, np.random.default_rng([seed, 1])))
    chosen = {name: view() for name, view in picked(views, encoder or {}, f"planted world {world}").items()}
    utility = _Utility(tastes, np.hstack([factors[b] for b in BLOCKS]), popularity)
    if isinstance(counts, int):
        log = _choices(utility, temperature, new, counts, rng)
    else:
        log = _uneven_choices(utility, temperature, counts, rng)
    items = pd.DataFrame({"item_id": [f"i{i:05d}" for i in range(n_items)]})
    truth: dict[str, NDArray[Any]] = {
        **{f"factors_{b}": v for b, v in factors.items()},
        **{f"{name}_mixing": view.mixing for name, view in chosen.items()},
        "tastes": tastes,
        "popularity": popularity,
        "new": new,
        "feature_noise": np.array(noise),
        "temperature": np.array(temperature),
    }
    if n_users * n_items <= BLOCK_ENTRIES:
        truth["utility"] = next(utility.blocks())
    return Source(log, items, {name: view.feature for name, view in chosen.items()}, truth)


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
    """Utility of every item to every user before noise.

    Args:
        tastes: ``(n_users, d)``.
        factors: ``(n_items, d)``.
        popularity: ``(n_items,)``.
    """

    tastes: Array
    factors: Array
    popularity: Array

    def blocks(self) -> Iterator[Array]:
        """Utilities of consecutive users, each block ``(b, n_items)``."""
        step = max(1, BLOCK_ENTRIES // len(self.factors))
        for begin in range(0, len(self.tastes), step):
            yield self.tastes[begin : begin + step] @ self.factors.T + self.popularity


@dataclass(frozen=True)
class _View:
    """Features of one modality.

    Args:
        feature: what is observed.
        mixing: what it was projected by, see :func:`make_world`.
    """

    feature: ItemFeature
    mixing: Array


def _views(
    spec: World,
    factors: Mapping[str, Array],
    new: NDArray[np.bool_],
    noise: float,
    widths: tuple[int, int],
    generators: tuple[np.random.Generator, np.random.Generator],
) -> dict[str, dict[str, Callable[[], _View]]]:
    """Features by modality and encoder; both image encoders see the same blocks, or the same observed text."""
    of_text, of_image = widths
    everyone, old = np.ones(len(new), bool), ~new
    if spec.derived == "text":
        seen, seen_mixing = _view(spec.image, factors, of_image, np.float64, noise, generators[0])
        values, mixing = _function_of(seen, of_text, generators[0])
        written = _View(with_missing_filled(values, everyone), mixing)

        def second() -> _View:
            values, mixing = _view(spec.image, factors, of_image, np.float32, noise, generators[1])
            return _View(with_missing_filled(values, old), mixing)

        return {
            "image": {
                DEFAULT: lambda: _View(with_missing_filled(seen.astype(np.float32), old), seen_mixing),
                SECOND: second,
            },
            "text": {DEFAULT: lambda: written},
        }
    text, text_mixing = _view(spec.text, factors, of_text, np.float64, noise, generators[0])

    def image(rng: np.random.Generator) -> _View:
        if spec.derived == "image":
            values, mixing = _function_of(text, of_image, rng)
        else:
            values, mixing = _view(spec.image, factors, of_image, np.float32, noise, rng)
        return _View(with_missing_filled(values, everyone), mixing)

    # Drawn even if it is not chosen: the log is drawn from the same generator afterwards.
    first = image(generators[0])
    return {
        "image": {DEFAULT: lambda: first, SECOND: lambda: image(generators[1])},
        "text": {DEFAULT: lambda: _View(with_missing_filled(text.astype(np.float32), old), text_mixing)},
    }


def _view(
    blocks: tuple[str, ...],
    factors: Mapping[str, Array],
    width: int,
    dtype: type,
    noise: float,
    rng: np.random.Generator,
) -> tuple[NDArray[Any], Array]:
    """A random projection of blocks with noise, ``(n_items, width)``; of none of them, noise alone. And its matrix."""
    seen = np.hstack([factors[b] for b in blocks]) if blocks else np.zeros((len(factors["id"]), 1))
    mixing = rng.standard_normal((seen.shape[1], width)) / np.sqrt(seen.shape[1])
    scale = noise if blocks else 1.0

    def observed(rows: Array) -> Array:
        return rows @ mixing + scale * rng.standard_normal((len(rows), width))

    values = _in_blocks(seen, width, dtype, observed)
    of_block = dict(zip(blocks, mixing.reshape(-1, BLOCK, width), strict=True)) if blocks else {}
    return values, np.vstack([of_block.get(block, np.zeros((BLOCK, width))) for block in TOLD])


def _function_of(observed: Array, width: int, rng: np.random.Generator) -> tuple[NDArray[Any], Array]:
    """A function of what is observed with little noise, ``(n_items, width)``, and the matrix inside it."""
    mixing = rng.standard_normal((observed.shape[1], width)) / np.sqrt(observed.shape[1])
    values = _in_blocks(
        observed,
        width,
        np.float32,
        lambda rows: np.tanh(rows @ mixing) + FUNCTION_NOISE * rng.standard_normal((len(rows), width)),
    )
    return values, mixing


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
    """Log of users who choose the ``per_user`` items of largest noisy utility; new items are never in train."""
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
    """Log of users who choose ``counts`` ``(n_users,)`` items each; a fifth is held out, at least two."""
    most, chosen, begin = int(counts.max()), [], 0
    for block in utility.blocks():
        # Minus the logarithm of an exponential variable is a Gumbel variable; numpy draws it fast in single precision.
        noise = rng.standard_exponential(block.shape, dtype=np.float32)
        noisy = (block / temperature).astype(np.float32) - np.log(np.maximum(noise, np.finfo(np.float32).tiny))
        best = _best(noisy, most)
        order = np.argsort(-np.take_along_axis(noisy, best, axis=1), axis=1)
        kept = np.arange(most) < counts[begin : begin + len(block), None]
        chosen.append(np.take_along_axis(best, order, axis=1)[kept])
        begin += len(block)
    shuffled = np.lexsort((rng.random(int(counts.sum())), np.repeat(np.arange(len(counts)), counts)))
    return _log(counts, np.concatenate(chosen)[shuffled], np.maximum(2, counts // 5))


def numbers_of(user_ids: Iterable[str]) -> NDArray[np.int64]:
    """Which user of the generator each id of a planted log names, ``(n_users,)``; ids sort as texts, not by number."""
    return np.array([int(name.removeprefix("u")) for name in user_ids], np.int64)


def _log(counts: NDArray[np.int64], items: NDArray[np.int64], held: NDArray[np.int64] | int) -> pd.DataFrame:
    """Log of users with ``counts`` ``(n_users,)`` of the ``items`` ``(n,)``; the last ``held`` of each are held out."""
    n_users, ends = len(counts), np.cumsum(counts)
    left = np.repeat(ends, counts) - np.arange(len(items))  # interactions of the user from this one on
    held = np.repeat(np.broadcast_to(held, n_users), counts)
    parts = np.where(left > held, 0, np.where(left > held - held // 2, 1, 2))

    def named(names: Iterable[str], rows: NDArray[np.int64]) -> NDArray[np.object_]:
        # One text per name, not one per row: of millions of rows they would take most of the memory.
        return np.array(list(names), object)[rows]

    return pd.DataFrame(
        {
            "user_id": named((f"u{u:05d}" for u in range(n_users)), np.repeat(np.arange(n_users), counts)),
            "item_id": named((f"i{i:05d}" for i in range(int(items.max()) + 1)), items),
            "split": named(("train", "valid", "test"), parts),
        }
    )


def _best(scores: NDArray[np.floating[Any]], k: int) -> NDArray[np.int64]:
    return np.argpartition(-scores, k, axis=1)[:, :k]
