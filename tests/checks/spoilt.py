"""Ways to spoil a clean folder, and the one finding that each must give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from mmbench.checks import Severity
from mmbench.encoders.encode_folder import encode_folder, parse_choice
from tests.checks.conftest import N_ITEMS, unit, write_feature

RNG = np.random.default_rng(1)

Frame = pd.DataFrame
Spoil = Callable[[Path], None]


def log(change: Callable[[Frame], Frame]) -> Spoil:
    def spoil(shop: Path) -> None:
        change(pd.read_parquet(shop / "interactions.parquet")).to_parquet(shop / "interactions.parquet")

    return spoil


def items(change: Callable[[Frame], Frame]) -> Spoil:
    """Change the catalogue; what was encoded of it is encoded again."""

    def spoil(shop: Path) -> None:
        table = change(pd.read_parquet(shop / "items.parquet"))
        table.to_parquet(shop / "items.parquet")
        image = np.load(shop / "image_feat.npy")
        write_feature(shop, "image_feat", np.vstack([image, unit(RNG.standard_normal((len(table), 16)))])[: len(table)])
        encode_folder(shop, [parse_choice("text", "ngram")])

    return spoil


def image(values: Callable[[np.ndarray], np.ndarray], **about: object) -> Spoil:
    return lambda shop: write_feature(shop, "image_feat", values(np.load(shop / "image_feat.npy")), **about)


def text_made_by(encoder: str, titles: Callable[[int], str], **about: object) -> Spoil:
    """Features of an encoder that tells of its languages, for other titles."""

    def spoil(shop: Path) -> None:
        items(lambda table: table.assign(title=[titles(n) for n in range(len(table))]))(shop)
        said = {"made_from": "{title}", "unknown_tokens": 0.0, "encoder": encoder, **about}
        write_feature(shop, "text_feat", np.load(shop / "text_feat.npy"), **said)

    return spoil


def first_rows(n: int, **values: object) -> Callable[[Frame], Frame]:
    def change(table: Frame) -> Frame:
        changed = table.copy()
        for column, value in values.items():
            if column not in changed:
                changed[column] = ""
            changed.loc[changed.index[:n], column] = value
        return changed

    return change


def bought_by_one(column: str, name: str, rows: int) -> Callable[[Frame], Frame]:
    """Rows of one user with many items, or of many users with one item."""
    other = {"user_id": "item_id", "item_id": "user_id"}[column]

    def change(table: Frame) -> Frame:
        more = pd.DataFrame({column: [name] * rows, other: [f"x{n}" for n in range(rows)]})
        return pd.concat([table, more.assign(timestamp=table["timestamp"].iloc[0])], ignore_index=True)

    return change


def with_a_till(table: Frame) -> Frame:
    """A hundred and fifty users with three rows each, and one with forty."""
    users = [*np.repeat([f"t{n}" for n in range(150)], 3), *["till"] * N_ITEMS]
    bought = [f"i{n % N_ITEMS}" for n in range(len(users))]
    return pd.DataFrame({"user_id": users, "item_id": bought, "timestamp": 1_700_000_000 + np.arange(len(users))})


def backwards(table: Frame) -> Frame:
    """The last interactions of each user first."""
    return table.sort_values(["user_id", "timestamp"], ascending=False, ignore_index=True)


def zeros_lost(n: int) -> Spoil:
    """As prepare leaves a list that lost the zeros: the items of the log stand behind it, without a text."""

    def spoil(shop: Path) -> None:
        change = {f"i{k}": f"0{k}" for k in range(N_ITEMS)}
        log(lambda t: t.assign(item_id=t["item_id"].map(change)))(shop)
        table = pd.read_parquet(shop / "items.parquet")
        ids = [str(k) if k < n else f"0{k}" for k in range(N_ITEMS)]
        more = pd.DataFrame({"item_id": [f"0{k}" for k in range(n)], "title": ""})
        items(lambda _: pd.concat([table.assign(item_id=ids), more], ignore_index=True))(shop)

    return spoil


def same_titles(shop: Path) -> None:
    items(first_rows(3, title="red shoe again"))(shop)
    for path in shop.glob("text_feat*"):  # n-grams of equal texts are twins too
        path.unlink()


def japanese(number: int) -> str:
    return f"{'あかさたなはまや'[number // 5]}い{'くつかさぼうしうわぎ'[2 * (number % 5) :][:2]}です"


def replaced(shop: Path) -> None:
    np.save(shop / "image_feat.npy", np.load(shop / "image_feat.npy")[::-1])


def without_sidecar(shop: Path) -> None:
    (shop / "image_feat.json").unlink()


def copied(shop: Path) -> None:
    write_feature(shop, "image_feat", np.load(shop / "text_feat.npy"))


def some_zero(values: np.ndarray, n: int) -> np.ndarray:
    return np.where(np.arange(len(values))[:, None] < n, 0.0, values)


def zeros_called_content(n: int) -> Spoil:
    """Rows of zeros that ``has_image`` calls content, as a list of ids proves their order."""

    def spoil(shop: Path) -> None:
        table = pd.read_parquet(shop / "items.parquet")
        items(lambda t: t.assign(has_image=True))(shop)
        np.save(shop / "image_feat.npy", some_zero(np.load(shop / "image_feat.npy"), n))
        (shop / "image_feat.json").unlink()
        (shop / "image_feat.ids.txt").write_text("\n".join(table["item_id"]))

    return spoil


def with_one(number: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: np.where(np.arange(values.size).reshape(values.shape) == 40, number, values)


def near_copies(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[1:4] = values[0] + 1e-5 * RNG.standard_normal((3, values.shape[1]))
    return values


SPOILT: dict[str, tuple[Spoil, str, Severity, int | None]] = {
    "a pair twice": (log(lambda t: pd.concat([t, t[:3]])), "repeated", Severity.WARNING, 3),
    "milliseconds": (
        log(lambda t: t.assign(timestamp=t["timestamp"] * 1000)), "milliseconds", Severity.BLOCKING, 480
    ),
    "some milliseconds": (log(first_rows(1, timestamp=1_700_000_000_000)), "milliseconds", Severity.BLOCKING, 1),
    "words for times": (
        log(lambda t: t.assign(timestamp=t["timestamp"].astype(str).where(t.index > 1, "soon"))),
        "no_time", Severity.BLOCKING, 2,
    ),
    "one row of the future": (log(first_rows(1, timestamp=1_900_000_000)), "future", Severity.WARNING, 1),
    "a future": (log(first_rows(20, timestamp=1_900_000_000)), "future", Severity.BLOCKING, 20),
    "a zero for a time": (log(first_rows(1, timestamp=0)), "past", Severity.WARNING, 1),
    "days of a spreadsheet": (
        log(lambda t: t.assign(timestamp=25_569 + t["timestamp"] // 86_400)), "past", Severity.BLOCKING, 480
    ),
    "one time for all": (log(lambda t: t.assign(timestamp=1_700_000_000)), "one_time", Severity.WARNING, None),
    "a split that trains on the future": (
        log(lambda t: backwards(t).assign(split=(["train"] * 6 + ["valid", "test"]) * (len(t) // 8))),
        "later_train", Severity.WARNING, 60,
    ),
    "no time": (log(lambda t: t.drop(columns="timestamp")), "no_time_column", Severity.WARNING, None),
    "a till": (log(with_a_till), "user_dominance", Severity.WARNING, 40),
    "a user in two spellings": (log(first_rows(1, user_id="U０")), "user_spellings", Severity.BLOCKING, 1),
    "an item twice": (
        items(lambda t: pd.concat([t, t[:1].assign(title="a further title")])), "item_repeated", Severity.BLOCKING, 1
    ),
    "leading zeros": (
        log(lambda t: t.assign(item_id=t["item_id"].where(t["item_id"] != "i7", "00I7"))), "ids_differ",
        Severity.BLOCKING, 1,
    ),
    "leading zeros of a prepared catalogue": (zeros_lost(1), "two_spellings", Severity.BLOCKING, 1),
    "an unknown item": (
        log(lambda t: t.assign(item_id=t["item_id"].where(t["item_id"] != "i7", "z9"))), "unlisted",
        Severity.WARNING, 1,
    ),
    "a catalogue of everything": (
        items(lambda t: pd.DataFrame({
            "item_id": [*t["item_id"], *(f"n{n}" for n in range(60))],
            "title": [*t["title"], *(f"novelty {n * 7919 % 1000:03d} {chr(97 + n % 26)}" for n in range(60))],
        })), "idle", Severity.WARNING, 60,
    ),
    "titles that repeat": (same_titles, "same_text", Severity.WARNING, 3),
    "copies": (image(near_copies), "twins", Severity.WARNING, 4),
    "buyers' words": (
        items(lambda t: t.assign(title=[f"{x}, I bought it in May" if n < 2 else x for n, x in enumerate(t["title"])])),
        "buyer_text", Severity.WARNING, 2,
    ),
    "tags": (
        items(lambda t: t.assign(title=[f"<p class='x'>{x}" if n < 2 else x for n, x in enumerate(t["title"])])),
        "markup", Severity.WARNING, 2,
    ),
    "entities": (
        items(lambda t: t.assign(title=[f"{x} &amp; more" if n < 2 else x for n, x in enumerate(t["title"])])),
        "markup", Severity.WARNING, 2,
    ),
    "japanese buyers": (
        items(lambda t: t.assign(title=[f"{x} 先日購入しました" if n < 2 else x for n, x in enumerate(t["title"])])),
        "buyer_text", Severity.WARNING, 2,
    ),
    "texts of tomorrow": (items(lambda t: t.assign(updated_at=1_800_000_000)), "written_later", Severity.WARNING, 40),
    "dates of tomorrow": (
        items(lambda t: t.assign(text_date=["2030-01-01"] * 2 + ["2001-01-01"] * (len(t) - 2))), "written_later",
        Severity.WARNING, 2,
    ),
    "a gap": (image(lambda x: some_zero(x, 15)), "coverage", Severity.WARNING, 15),
    "hardly any image": (image(lambda x: some_zero(x, 36)), "coverage", Severity.BLOCKING, 36),
    "zeros as content": (zeros_called_content(15), "zero_rows", Severity.WARNING, 15),
    "nothing but zeros": (zeros_called_content(N_ITEMS), "zero_rows", Severity.BLOCKING, N_ITEMS),
    "NaN": (image(lambda x: np.where(x > 1, x, np.nan)), "unreadable", Severity.BLOCKING, None),
    "no sidecar": (without_sidecar, "row_order", Severity.BLOCKING, None),
    "another file": (replaced, "other_file", Severity.BLOCKING, None),
    "another width": (image(lambda x: x, d=512), "other_width", Severity.BLOCKING, None),
    "another modality": (image(lambda x: x, modality="text"), "other_modality", Severity.BLOCKING, None),
    "a copied file": (copied, "identical", Severity.BLOCKING, None),
    "one row for all": (image(lambda x: np.ones_like(x)), "constant", Severity.BLOCKING, None),
    "half normalised": (
        image(lambda x: x * np.where(np.arange(len(x)) < 10, 3, 1)[:, None]), "mixed_lengths", Severity.WARNING, 30
    ),
    "a mark for a missing number": (image(with_one(-1e5)), "outliers", Severity.WARNING, 1),
    "a mark beyond what squares can tell": (image(with_one(-1e18)), "outliers", Severity.WARNING, 1),
    "a mark beyond all": (image(with_one(-3.4e38)), "unreadable", Severity.BLOCKING, None),
    "long rows": (image(lambda x: 40 * x), "lengths_differ", Severity.WARNING, None),
    "japanese for an english encoder": (
        text_made_by("minilm", japanese, languages=["en"]), "unread", Severity.BLOCKING, 40
    ),
    "some japanese for an english encoder": (
        text_made_by("minilm", lambda n: japanese(n) if n < 3 else f"thing {n * 7919} {chr(97 + n % 26)}",
                     languages=["en"]),
        "unread", Severity.WARNING, 3,
    ),
    "japanese for who knows whom": (
        text_made_by("minilm", japanese, languages=None), "languages_unknown", Severity.WARNING, 40
    ),
    "codes before the japanese": (
        text_made_by("minilm", lambda n: f"{n:041d} {japanese(n)}", languages=["en"]), "unread", Severity.BLOCKING, 40
    ),
    "words that the encoder does not know": (
        text_made_by("minilm", lambda n: f"wörd {n * 7919} {chr(97 + n % 26)}", languages=["de"], unknown_tokens=0.4),
        "unknown_tokens", Severity.BLOCKING, None,
    ),
}  # fmt: skip
