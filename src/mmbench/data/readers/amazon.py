"""Amazon reviews of 2014, 2018 and 2023 (McAuley lab): reviews and metadata line by line, image features of 2014.

Metadata of 2014 are Python literals, not JSON; they are read by :func:`ast.literal_eval`, which runs no code. The item
of 2023 is the ``parent_asin``. Of the metadata, only items with a review are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from mmbench.data.readers.delimited import Dialect, read_delimited
from mmbench.data.readers.feature_files import read_item_feature
from mmbench.data.readers.journal import Journal
from mmbench.data.readers.lines import TEXT, Gathered, json_lines
from mmbench.data.readers.log_and_items import first_of_each, log_of, with_unlisted
from mmbench.data.readers.table_files import names_text, suffix_of
from mmbench.data.regular_file import visible_in
from mmbench.data.sources import Source
from mmbench.messages import Message, Refusal

TEXTS = ("title", "brand", "categories", "description")
REVIEW_SUFFIXES = (".json", ".json.gz", ".jsonl", ".jsonl.gz")
#: Seconds of the year 2100: a larger time is in another unit or wrong.
_MAX_SECONDS = 4_102_444_800
_ASIN, _REVIEWER = r"[A-Z0-9]{10}", r"A[A-Z0-9]{9,20}"


@dataclass(frozen=True)
class Fields:
    """Names of the fields of a release.

    Args:
        user: who reviewed.
        item: what.
        rating: stars.
        time: when.
        per_second: 1, or 1000 for milliseconds.
    """

    user: str
    item: str
    rating: str
    time: str
    per_second: int


_UNTIL_2018 = Fields("reviewerID", "asin", "overall", "unixReviewTime", 1)
RELEASES: Mapping[str, Fields] = {
    "amazon-2014": _UNTIL_2018,
    "amazon-2018": _UNTIL_2018,
    "amazon-2023": Fields("user_id", "parent_asin", "rating", "timestamp", 1000),
}
#: Fields of the metadata over all releases by what they tell; the first that is there counts.
_META: Mapping[str, tuple[str, ...]] = {
    "title": ("title",),
    "brand": ("brand", "store"),
    "categories": ("categories", "category"),
    "description": ("description",),
    "image_url": ("imUrl", "imageURLHighRes", "imageURL", "images", "image"),
}


def read_amazon(path: Path, journal: Journal, release: str, items: Path | None = None) -> Source:
    """Read reviews, or ratings without header, and the metadata and image features that lie beside them.

    Args:
        path: file of reviews, or a folder with one.
        journal: where to tell.
        release: of :data:`RELEASES`.
        items: metadata; by default ``meta_*`` beside the reviews or in ``meta_categories`` beside their folder.

    Raises:
        ValueError: naming the file, the line and what is wrong with it.
    """
    reviews = reviews_in(path) if path.is_dir() else path
    table = suffix_of(reviews) == ".csv"
    log = ratings(reviews, journal) if table else _reviews(reviews, RELEASES[release], journal)
    category = re.sub(r"^(reviews|ratings)_|(_5)?(\.jsonl?|\.csv)?(\.gz)?$", "", reviews.name)
    items = items or metadata_of(category, (reviews.parent, reviews.parent.parent / "meta_categories"))
    catalogue, texts = catalogue_of(log, items, RELEASES[release].item, journal)
    binary = image_features_of(category, reviews.parent, journal)
    ids = catalogue["item_id"].tolist()
    features = {} if binary is None else {"image": read_item_feature(binary, ids, journal)}
    return Source(log, catalogue, features, notices=tuple(journal.lines), texts=texts)


def catalogue_of(
    log: pd.DataFrame, metadata: Path | None, item: str, journal: Journal
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The items of a log with what metadata tell of them, and its text columns; without metadata the ids alone.

    Args:
        log: interactions.
        metadata: a file of them, or None.
        item: field with the item's id.
        journal: where to tell.

    Raises:
        ValueError: for a line that is no metadata, or none of an item of the log.
    """
    if metadata is None:
        return pd.DataFrame({"item_id": np.sort(log["item_id"].unique())}), ()
    return _metadata(metadata, item, log, journal), TEXTS


def metadata_of(category: str, folders: Sequence[Path]) -> Path | None:
    """The metadata of a category, in the first of some folders that holds them."""
    names = [f"meta_{category}{suffix}" for suffix in REVIEW_SUFFIXES]
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)


def image_features_of(category: str, folder: Path, journal: Journal) -> Path | None:
    """The image features of a category in a folder, else the only ones there; several others are told."""
    files = sorted(path for path in folder.glob("image_features_*") if path.name.endswith((".b", ".b.gz")))
    own = [path for path in files if path.name.removesuffix(".gz") == f"image_features_{category}.b"]
    if not own and len(files) > 1:
        journal.tell(
            Message(
                "image features are not read, because there are several: {files}; name those of this log with "
                "--features image=FILE",
                files=", ".join(path.name for path in files),
            )
        )
        return None
    return next(iter(own or files), None)


def release_of(row: Mapping[str, Any]) -> str | None:
    """The release whose fields a review has, or None."""
    if {"user_id", "parent_asin"} <= row.keys():
        return "amazon-2023"
    if {"reviewerID", "asin"} <= row.keys():
        return "amazon-2014" if "helpful" in row else "amazon-2018"
    return None


def review_files(folder: Path) -> list[Path]:
    """Files of a folder, or of its ``review_categories``, that may hold reviews."""
    places = (folder, folder / "review_categories", folder / "raw" / "review_categories")
    files = [path for place in places if place.is_dir() for path in visible_in(place)]
    return [path for path in files if path.name.endswith(REVIEW_SUFFIXES) and not path.name.startswith("meta_")]


def rating_files(folder: Path) -> list[Path]:
    """Tables of ratings of a folder."""
    return sorted(path for path in folder.glob("ratings_*") if suffix_of(path) == ".csv")


def reviews_in(folder: Path) -> Path:
    """The one file of reviews of a folder.

    Raises:
        ValueError: if there are none or several.
    """
    files = review_files(folder) or rating_files(folder)
    if len(files) != 1:
        names = ", ".join(path.name for path in files) or "-"
        raise Refusal(
            "{path} must hold one file {pattern}; found: {found}",
            path=folder,
            pattern="*.json.gz, *.jsonl",
            found=names,
        )
    return files[0]


def is_ratings(cells: Sequence[str]) -> bool:
    """Whether the first line of a table is user, item (or item, user), rating and time of Amazon."""
    return _order(cells) is not None


def _order(cells: Sequence[str]) -> tuple[str, ...] | None:
    if len(cells) != 4 or not re.fullmatch(r"\d{9,10}", cells[3]):
        return None
    first, second = cells[:2]
    if re.fullmatch(_ASIN, second) and re.fullmatch(_REVIEWER, first):
        return ("user", "item", "rating", "timestamp")
    if re.fullmatch(_ASIN, first) and re.fullmatch(_REVIEWER, second):
        return ("item", "user", "rating", "timestamp")
    return None


def ratings(path: Path, journal: Journal) -> pd.DataFrame:
    """The log of a table without header: user, item, rating, time, or item first (releases differ)."""
    dialect = Dialect(header=False)
    table = read_delimited(journal.read(path), dialect, names=("user", "item", "rating", "timestamp"))
    names = _order(table.frame.iloc[0].tolist())
    if names is None:
        raise Refusal(
            "{path}, line {line}: must be user, item (or item, user), rating, seconds since 1970", path=path, line=1
        )
    table = table.with_frame(table.frame.set_axis(list(names), axis=1))
    return log_of(table, {name: name for name in ("user", "item", "rating", "timestamp")}, journal)


def _reviews(path: Path, fields: Fields, journal: Journal) -> pd.DataFrame:
    log = Gathered({"user_id": TEXT, "item_id": TEXT, "rating": pa.float64(), "timestamp": pa.int64()})
    without = first = 0
    for line, row in json_lines(journal.read(path)):
        user, item = _id(row.get(fields.user)), _id(row.get(fields.item))
        if not user or not item:
            without, first = without + 1, first or line
            continue
        time = row.get(fields.time)
        if type(time) is not int or not 0 <= time < _MAX_SECONDS * fields.per_second:
            raise Refusal(
                "{path}, line {line}: {field} is {value}; it must be a whole number that is a time before the year "
                "2100",
                path=path,
                line=line,
                field=fields.time,
                value=f"{time!r:.40}",
            )
        rating = row.get(fields.rating)
        if isinstance(rating, bool) or not isinstance(rating, int | float | None) or not abs(rating or 0) < 1e6:
            raise Refusal(
                "{path}, line {line}: {field} is {value}; it must be a number",
                path=path,
                line=line,
                field=fields.rating,
                value=f"{rating!r:.40}",
            )
        log.add(user, item, rating, time // fields.per_second)
    frame = log.frame()
    if frame.empty:
        if without:
            raise Refusal("{path}: every row lacks {columns}", path=path, columns=f"{fields.user}+{fields.item}")
        raise Refusal("{path} has no rows", path=path)
    if without:
        journal.tell(
            Message.counted(
                "log: 1 review without user or item is left out ({path}, line {line})",
                "log: {n} reviews without user or item are left out (first: {path}, line {line})",
                without,
                path=path,
                line=first,
            )
        )
    return frame


def _metadata(path: Path, item: str, log: pd.DataFrame, journal: Journal) -> pd.DataFrame:
    """Items of the log with what the metadata tell of them; ``categories`` are words, in ``category`` names."""
    wanted = set(log["item_id"].unique())
    rows = Gathered(dict.fromkeys(("item_id", *_META, "category"), TEXT))
    example = ""
    for _, row in json_lines(journal.read(path), literals=True):
        listed = _id(row.get(item))
        example = example or listed
        if listed in wanted:
            values = {told: next((row[name] for name in names if row.get(name)), None) for told, names in _META.items()}
            rows.add(listed, *map(_flat, values.values()), names_text(values["categories"]))
    listed_items = rows.frame()
    if listed_items.empty:
        raise Refusal(
            "{path}: no item of the log occurs in it ({in_log} against {listed})",
            path=path,
            in_log=repr(log["item_id"].iloc[0]),
            listed=repr(example),
        )
    listed_items["image_url"] = listed_items["image_url"].str.partition(" ")[0]
    return with_unlisted(log, first_of_each(listed_items, journal), path, journal)


def _id(value: Any) -> str:
    return value.strip() if isinstance(value, str) else str(value) if type(value) is int else ""


def _flat(value: Any) -> str:
    """A text, a list of texts or a list of lists as one text; of an object with sizes of an image, the largest."""
    return " ".join(" ".join(_words(value)).split())


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for entry in value:
            yield from _words(entry)
    elif isinstance(value, dict):
        yield next((url for size in ("hi_res", "large", "thumb") if isinstance(url := value.get(size), str)), "")
