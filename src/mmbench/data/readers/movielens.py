"""MovieLens (GroupLens): 100K with its own tables, and the later sets of CSV files (latest, latest-small, 25M, 32M)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mmbench.data.readers.delimited import Dialect, read_delimited, read_header
from mmbench.data.readers.journal import Journal
from mmbench.data.readers.log_and_items import first_of_each, log_of, with_ids, with_unlisted
from mmbench.data.readers.text_table import Table
from mmbench.data.sources import Source
from mmbench.messages import Refusal

_RATINGS = ("user", "item", "rating", "timestamp")
_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_MOVIES = ("movieId", "title", "released", "released on video", "url", *_GENRES)
#: The tables of the later sets.
RATINGS, MOVIES = "ratings.csv", "movies.csv"
_LATEST = {"user": "userId", "item": "movieId", "rating": "rating", "timestamp": "timestamp"}


def is_latest(folder: Path) -> bool:
    """Whether a folder is one of the later sets: others call tables ``ratings.csv`` and ``movies.csv``, too.

    Raises:
        ValueError: for a ``ratings.csv`` that is no table.
    """
    if not all((folder / name).is_file() for name in (RATINGS, MOVIES)):
        return False
    return {_LATEST["user"], _LATEST["item"]} <= set(read_header(folder / RATINGS).names)


def read_movielens(folder: Path, journal: Journal) -> Source:
    """Read a folder with ``u.data`` and ``u.item``, or with ``ratings.csv`` and ``movies.csv``, or ``u.data`` alone.

    Raises:
        ValueError: naming the file, the line and what is wrong with it.
    """
    path = folder if folder.is_file() else folder / "u.data"
    old = path.is_file()
    if old:
        ratings = read_delimited(journal.read(path), Dialect("\t", quoted=False, header=False), names=_RATINGS)
        if "timestamp" not in ratings.frame:
            raise Refusal(
                "{path} has too few columns; it must hold {expected}, apart by tabs and without a header",
                path=path,
                expected=", ".join(_RATINGS),
            )
        log = log_of(ratings, {name: name for name in _RATINGS}, journal)
        movies = path.with_name("u.item")
    else:
        path = journal.read(folder / RATINGS)
        read_header(path).check_columns(_LATEST.values())
        ratings = read_delimited(path, columns=list(_LATEST.values()))
        log = log_of(ratings, _LATEST, journal)
        movies = folder / MOVIES
    if not movies.is_file():
        return Source(log, pd.DataFrame({"item_id": log["item_id"].unique()}), {}, notices=tuple(journal.lines))
    table = _old_movies(journal.read(movies)) if old else _new_movies(journal.read(movies))
    table = with_ids(table, {"item_id": "movieId"}, "items", journal)
    listed = first_of_each(table.frame[["item_id", "title", "genres"]], journal)
    catalogue = with_unlisted(log, listed, movies, journal)
    return Source(log, catalogue, {}, notices=tuple(journal.lines), texts=("title", "genres"))


def _old_movies(path: Path) -> Table:
    """``u.item``: title, and a column of 0 and 1 per genre."""
    table = read_delimited(path, Dialect("|", quoted=False, encoding="latin-1", header=False), names=_MOVIES)
    for name in ("title", *_GENRES):
        table.check_column(name, "u.item")
    flags = table.frame[list(_GENRES)] == "1"
    genres = [", ".join(flags.columns[row]) for row in flags.to_numpy()]
    return table.with_frame(table.frame[["movieId", "title"]].assign(genres=genres))


def _new_movies(path: Path) -> Table:
    table = read_delimited(path)
    for name in ("movieId", "title", "genres"):
        table.check_column(name, MOVIES)
    genres = table.frame["genres"].replace("(no genres listed)", "").str.replace("|", ", ")
    return table.with_frame(table.frame.assign(genres=genres))
