"""Findings in the catalogue: ids that do not meet those of the log, items that are one, texts that know the future."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench.checks import Finding, blocking, graded, warning
from mmbench.checks.ids import plain, respelt_alike, shown
from mmbench.data.interactions import seconds
from mmbench.data.readers.table_files import as_text
from mmbench.data.readers.times import seconds_of_each
from mmbench.encoders.ngrams import normalised
from mmbench.messages import Template

#: Share of the log's items without an entry, or of the catalogue's without an interaction.
UNLISTED_LIMIT, IDLE_LIMIT = 0.5, 0.5
#: Share of the bought items with a second spelling from which content is at the wrong items.
TWO_SPELLINGS_LIMIT = 0.01
#: Share of texts that must repeat another before it is said: two films may well have one title.
SAME_TEXT_LIMIT = 0.01
#: Share of texts that must sound like a buyer's.
BUYER_LIMIT = 0.01
#: Share of texts that must hold HTML: a text may well speak of a tag.
MARKUP_LIMIT = 0.01
#: A shorter review may stand in a text by chance.
REVIEW_CHARACTERS = 30
#: Rows of the log whose reviews are looked for.
REVIEW_ROWS = 20_000
#: When a text was written, by names of columns without case, spaces and underscores.
WRITTEN = frozenset(
    ("textdate", "texttime", "texttimestamp", "descriptiondate", "updated", "updatedat", "modified", "modifiedat",
     "writtenat", "reviewdate", "reviewtime", "更新日", "更新日時", "説明更新日")
)  # fmt: skip
_MARKUP = re.compile(
    r"</?(?:a|b|br|div|em|font|h[1-6]|i|img|li|ol|p|span|strong|table|td|tr|u|ul)(?:\s[^<>]*)?/?>|"
    r"&(?:amp|lt|gt|quot|apos|nbsp|#\d{2,6}|#x[0-9a-f]{2,6});",
    re.IGNORECASE,
)
_BUYER = re.compile(
    r"\b(?:i|we) (?:have )?(?:just )?(?:bought|purchased|ordered|received)\b|\bafter (?:buying|using) (?:it|this)\b|"
    r"購入しました|買いました|届きました|使ってみました|リピート(?:購入|買い)"
)


def findings(log: pd.DataFrame, items: pd.DataFrame, readings: Sequence[Sequence[str]]) -> Iterator[Finding]:
    """What is wrong with a catalogue.

    Args:
        log: interactions.
        items: the catalogue.
        readings: text of every item, once for each set of columns that is read as one. The same fault in several of
            them is told of the first.
    """
    yield from _ids(log, items)
    told: set[str] = set()
    for texts in readings:
        found = list(_of_texts(log, items, texts))
        yield from (finding for finding in found if finding.name not in told)
        told.update(finding.name for finding in found)
    yield from _written_later(log, items)


def _of_texts(log: pd.DataFrame, items: pd.DataFrame, texts: Sequence[str]) -> Iterator[Finding]:
    yield from _markup(items, texts)
    clean = pd.Series([normalised(text) for text in texts])
    yield from _same_texts(items, clean)
    yield from _reviews(log, items, clean)
    yield from _buyers(items, clean)


def _ids(log: pd.DataFrame, items: pd.DataFrame) -> Iterator[Finding]:
    repeated = items["item_id"].duplicated()
    if repeated.any():
        yield blocking(
            "item_repeated",
            Template(
                "{n} row of items.parquet repeats an item (for example {example}). Every item may stand there once.",
                "{n} rows of items.parquet repeat an item (for example {example}). Every item may stand there once.",
            ),
            int(repeated.sum()),
            example=items["item_id"][repeated].iloc[0],
        )
    bought = pd.Index(log["item_id"].unique())
    listed = pd.Index(items["item_id"].unique())
    unlisted = bought.difference(listed)
    if len(unlisted):
        meant = _respelt(unlisted, listed.difference(bought))
        if meant:
            yield blocking(
                "ids_differ",
                Template(
                    "{n} item of the log is only found if zeros, hyphens, spaces and case are ignored ({log} in the "
                    "log, {items} in items.parquet). Write ids alike in both.",
                    "{n} items of the log are only found if zeros, hyphens, spaces and case are ignored (for example "
                    "{log} in the log, {items} in items.parquet). Write ids alike in both.",
                ),
                len(meant),
                log=shown(meant[0][0]),
                items=shown(meant[0][1]),
            )
        if len(meant) < len(unlisted):
            strangers = unlisted.difference([item for item, _ in meant])
            share = len(strangers) / len(bought)
            yield graded(
                share,
                UNLISTED_LIMIT,
                "unlisted",
                Template(
                    "{n} item of the log ({share}) is not in items.parquet (for example {example}) and has no content.",
                    "{n} items of the log ({share}) are not in items.parquet (for example {example}) and have no "
                    "content.",
                ),
                len(strangers),
                share=share,
                example=strangers[0],
            )
    idle = listed.difference(bought)
    yield from _spelled_twice(bought.intersection(listed), idle)
    if len(idle) > IDLE_LIMIT * len(listed):
        yield warning(
            "idle",
            Template(
                "{n} item of items.parquet ({share}) was never bought (for example {example}). Is it the catalogue "
                "of this shop?",
                "{n} items of items.parquet ({share}) were never bought (for example {example}). Is it the catalogue "
                "of this shop?",
            ),
            len(idle),
            share=len(idle) / len(listed),
            example=idle[0],
        )


def _spelled_twice(bought: pd.Index, idle: pd.Index) -> Iterator[Finding]:
    """Items that stand in the catalogue twice, once as the log writes them and once as somebody else does."""
    pairs = _respelt(bought, idle)
    if pairs:
        yield graded(
            len(pairs) / len(bought),
            TWO_SPELLINGS_LIMIT,
            "two_spellings",
            Template(
                "{n} item of items.parquet that was bought differs from one that never was only by zeros, spaces or "
                "case ({log} and {items}). If they are one, its text and images stand at the wrong one: prepare again "
                "with --restore-zeros, or write ids alike.",
                "{n} items of items.parquet that were bought differ from others that never were only by zeros, spaces "
                "or case (for example {log} and {items}). If they are one, their texts and images stand at the wrong "
                "one: prepare again with --restore-zeros, or write ids alike.",
            ),
            len(pairs),
            log=shown(pairs[0][0]),
            items=shown(pairs[0][1]),
        )


def _respelt(items: pd.Index, others: pd.Index) -> list[tuple[str, str]]:
    """Items that are another one but for what programs and people add to an id or take away, each with that one."""
    by_plain: dict[str, list[str]] = {}
    for other in others:
        by_plain.setdefault(plain(other), []).append(other)
    return [
        (item, other)
        for item in items
        if (other := next((one for one in by_plain.get(plain(item), ()) if respelt_alike(item, one)), None)) is not None
    ]


def _same_texts(items: pd.DataFrame, clean: pd.Series) -> Iterator[Finding]:
    filled = clean[clean != ""]
    repeated = filled[filled.duplicated(keep=False)]
    if len(repeated) > SAME_TEXT_LIMIT * len(filled):
        one, other = repeated.index[repeated == repeated.iloc[0]][:2]
        ids = items["item_id"]
        yield warning(
            "same_text",
            Template(
                "{n} item ({share}) has the text of another one, for example {one} and {other} ({example!r}). "
                "Variants of one product leak from train to test: join them.",
                "{n} items ({share}) share their text with another one, for example {one} and {other} ({example!r}). "
                "Variants of one product leak from train to test: join them.",
            ),
            len(repeated),
            share=len(repeated) / len(filled),
            one=ids.iloc[one],
            other=ids.iloc[other],
            example=repeated.iloc[0][:40],
        )


def _markup(items: pd.DataFrame, texts: Sequence[str]) -> Iterator[Finding]:
    """Tags and entities of HTML, which an encoder takes for words of the item."""
    found = [(row, match[0]) for row, text in enumerate(texts) if (match := _MARKUP.search(text))]
    filled = sum(map(bool, texts))
    if len(found) > MARKUP_LIMIT * filled:
        row, example = found[0]
        yield warning(
            "markup",
            Template(
                "{n} text ({share}) holds HTML (item {item}: {example!r}), which encoders read as words: take it out.",
                "{n} texts ({share}) hold HTML (for example item {item}: {example!r}), which encoders read as words: "
                "take it out.",
            ),
            len(found),
            share=len(found) / filled,
            item=items["item_id"].iloc[row],
            example=example[:40],
        )


def _reviews(log: pd.DataFrame, items: pd.DataFrame, clean: pd.Series) -> Iterator[Finding]:
    """Texts of the log, which only a buyer can have written, inside the texts of items."""
    text_of = dict(zip(items["item_id"], clean, strict=True))
    rows = log.iloc[np.unique(np.linspace(0, len(log) - 1, min(REVIEW_ROWS, len(log))).astype(int))]
    written = [c for c in log if c not in ("user_id", "item_id", "split") and pd.api.types.is_string_dtype(log[c])]
    held: dict[str, str] = {}
    for column in written:
        for item, value in zip(rows["item_id"], rows[column], strict=True):
            review = normalised(value) if isinstance(value, str) else ""
            if len(review) >= REVIEW_CHARACTERS and review in text_of.get(item, ""):
                held.setdefault(item, review)
    if held:
        item, review = next(iter(held.items()))
        yield blocking(
            "review_in_text",
            Template(
                "The text of {n} item holds a review from the log (for example item {item}: {example!r}). It was "
                "written after the purchase and tells who bought: take reviews out of the texts.",
                "The texts of {n} items hold reviews from the log (for example item {item}: {example!r}). They were "
                "written after the purchase and tell who bought: take reviews out of the texts.",
            ),
            len(held),
            item=item,
            example=review[:40],
        )


def _buyers(items: pd.DataFrame, clean: pd.Series) -> Iterator[Finding]:
    sound = clean.str.contains(_BUYER)
    filled = int((clean != "").sum())
    if sound.sum() > BUYER_LIMIT * filled:
        match = _BUYER.search(clean[sound].iloc[0])
        assert match is not None
        item = items["item_id"][sound.to_numpy()].iloc[0]
        yield warning(
            "buyer_text",
            Template(
                "{n} text ({share}) sounds like a buyer's (for example item {item}: {example!r}). What was written "
                "after the purchase leaks: use the seller's text.",
                "{n} texts ({share}) sound like a buyer's (for example item {item}: {example!r}). What was written "
                "after the purchase leaks: use the seller's texts.",
            ),
            int(sound.sum()),
            share=float(sound.sum()) / filled,
            item=item,
            example=match[0],
        )


def _written_later(log: pd.DataFrame, items: pd.DataFrame) -> Iterator[Finding]:
    if "timestamp" not in log:
        return
    by_item = pd.Series(seconds(log["timestamp"])).groupby(log["item_id"].to_numpy()).min()
    first = by_item.reindex(items["item_id"]).to_numpy()
    for column in items:
        if re.sub(r"[\s_]", "", str(column)).casefold() not in WRITTEN:
            continue
        late = _written(items[column]) > first
        if late.any():
            item = items["item_id"].iloc[int(late.argmax())]
            yield warning(
                "written_later",
                Template(
                    "By the column {column}, the text of {n} item is younger than its first purchase (for example "
                    "{item}). What was written after the purchase may leak.",
                    "By the column {column}, the texts of {n} items are younger than their first purchase (for "
                    "example {item}). What was written after the purchase may leak.",
                ),
                int(late.sum()),
                column=str(column),
                item=item,
            )


def _written(values: pd.Series) -> NDArray[np.float64]:
    """Seconds since 1970 of times in any way that ``prepare`` reads, ``(n,)``; NaN for what is none.

    A column without any of them and without numbers is left to pandas, which knows dates that do not begin with a year.
    """
    times = seconds_of_each(as_text(values))
    if np.isnan(times).all() and np.isnan(seconds(values)).all():
        return seconds(pd.to_datetime(values, errors="coerce", utc=True, format="mixed"))
    return times
