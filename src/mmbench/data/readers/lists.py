"""Users with their lists of items, one file per part of the split.

LATTICE, MICRO, MMSSL and BM3 have ``train.json``, ``val.json`` and ``test.json``, each one object
``{"user": [items]}``, in the folder or in its ``5-core`` or ``0-core``. Others have ``train.txt`` and ``test.txt`` with
a user and its items per line, LightGT ``train.npy`` and its like with a user and an item per row. Ids are numbers; raw
ids come from ``user2id.json`` and ``item2id.json`` or from ``user_list.txt`` and ``item_list.txt``. Row ``k`` of
``<modality>_feat.npy`` and line ``k`` of ``raw_text.txt`` belong to item ``k``. ``items.txt`` may list the items with
the addresses of their images, and ``images/`` may hold them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench.data.features import read_array
from mmbench.data.readers.columns import guessed
from mmbench.data.readers.feature_files import image_paths
from mmbench.data.readers.journal import Journal
from mmbench.data.readers.lines import numbered_lines, read_json
from mmbench.data.readers.numbered import catalogue_size, feature_of, read_matrices
from mmbench.data.readers.table_files import TableFile
from mmbench.data.readers.text_table import Table
from mmbench.data.regular_file import visible_in
from mmbench.data.sources import FEATURE_SUFFIX, Source
from mmbench.data.splits import LABELS, PARTS
from mmbench.messages import Message, Refusal, Template

#: Files of each part; the first that is there counts.
STEMS: Mapping[str, tuple[str, ...]] = {
    part: tuple(word for word, meaning in LABELS.items() if meaning == part and not word.isdigit()) for part in PARTS
}
MAX_NUMBER = 10**18
#: Folders of a core; the first one holds what the others share with it.
CORES = ("5-core", "0-core")
#: One text per line, and the column it becomes.
RAW_TEXT, TEXT = "raw_text.txt", "text"
_PICKLED = Template(
    "{path} holds pickled objects, which are never loaded; where it was made, save the interactions as train.json, "
    'test.json ({{"user": [items]}}) or as an array (n, 2) of whole numbers'
)


def homes(folder: Path) -> tuple[Path, ...]:
    """Folders that may hold the files of the parts: the folder itself, or one of its cores."""
    return (folder, *(folder / core for core in CORES))


def read_lists(folder: Path, journal: Journal, suffix: str = ".json") -> Source:
    """Read a folder of lists.

    Args:
        folder: with the files of the parts, or with a core that has them.
        journal: where to tell.
        suffix: ``.json``, ``.txt`` or ``.npy``.

    Returns:
        A source with a column ``split``.

    Raises:
        ValueError: naming the file and what is wrong with it.
    """
    home = next((place for place in homes(folder) if (place / f"train{suffix}").is_file()), None)
    if home is None:
        raise Refusal("{path} must hold train{suffix}, or 5-core/train{suffix}", path=folder, suffix=suffix)
    read = [_part(home, part, suffix, journal) for part in PARTS]
    users, items = (np.concatenate(columns) for columns in zip(*(pair for _, pair in read), strict=True))
    parts = np.repeat([part for part, _ in read], [len(pair[0]) for _, pair in read])
    if not len(users):
        raise Refusal("{path} has no rows", path=home)
    places = _around(home)
    raw_users, raw_items = (_raw_ids(places, what, journal) for what in ("user", "item"))
    if suffix == ".npy":
        items = _without_offset(users, items, raw_users, journal)
    table = Table(home, pd.DataFrame({"user": users, "item": items}))
    urls = _listed_items(home / "items.txt", journal)
    if raw_items is None and urls is not None:
        raw_items = pd.Index(urls.index)
    matrices = read_matrices(next((p for p in places if visible_in(p, f"*{FEATURE_SUFFIX}")), home), journal)
    n_items = catalogue_size(table, "item", items, raw_items, matrices, journal)
    if raw_users is not None:
        table.require(
            users < len(raw_users),
            "user",
            Message("the mapping file knows {size} of them, from 0", size=len(raw_users)),
        )
    names = pd.Index(np.arange(n_items).astype(str)) if raw_items is None else raw_items
    log = {"user_id": users.astype(str) if raw_users is None else raw_users[users], "item_id": names[items]}
    features = {path.name.removesuffix(FEATURE_SUFFIX): feature_of(path, m, journal) for path, m in matrices.items()}
    catalogue = _catalogue(home, names, urls, _raw_texts(places, n_items, journal))
    texts = tuple(name for name in (TEXT,) if name in catalogue)
    return Source(pd.DataFrame({**log, "split": parts}), catalogue, features, notices=tuple(journal.lines), texts=texts)


def _around(home: Path) -> tuple[Path, ...]:
    """Where the ids, texts and features of the lists in a folder lie.

    The 0-core of LATTICE (new items) is another split of the 5-core and keeps its numbers.
    """
    if home.resolve().name in CORES:
        return (home, home.parent, home.parent / CORES[0])
    return (home,)


def _catalogue(home: Path, names: pd.Index, urls: pd.Series | None, texts: list[str] | None) -> pd.DataFrame:
    """The items with what the folder tells of them."""
    catalogue = pd.DataFrame({"item_id": names})
    if urls is not None:
        catalogue["image_url"] = urls.reindex(names).fillna("").to_numpy()
    if texts is not None:
        catalogue[TEXT] = texts
    paths = image_paths(home / "images", names.tolist())
    return catalogue.assign(image_path=paths) if any(paths) else catalogue


def _raw_texts(places: Sequence[Path], n_items: int, journal: Journal) -> list[str] | None:
    """The text of each item, line ``k`` that of item ``k``; None without such a file."""
    path = next((place / RAW_TEXT for place in places if (place / RAW_TEXT).is_file()), None)
    if path is None:
        return None
    texts = [""] * n_items
    for number, line in numbered_lines(journal.read(path)):
        if number > n_items:
            raise Refusal(
                "{path}, line {line}: there are {size} items; line k is the text of item k - 1, so there cannot be "
                "more",
                path=path,
                line=number,
                size=n_items,
            )
        texts[number - 1] = line.strip()
    return texts


def _part(home: Path, part: str, suffix: str, journal: Journal) -> tuple[str, tuple[NDArray[np.int64], ...]]:
    """Users and items of a part, both ``(n,)``; empty without a file."""
    path = next((home / f"{stem}{suffix}" for stem in STEMS[part] if (home / f"{stem}{suffix}").is_file()), None)
    if path is None:
        return part, (np.empty(0, np.int64), np.empty(0, np.int64))
    journal.read(path)
    if suffix == ".npy":
        return part, _pairs(path)
    users, items = [], []
    for user, chosen in _json_lists(path) if suffix == ".json" else _text_lists(path):
        users.append(np.full(len(chosen), user))
        items.append(np.array(chosen, np.int64))
    empty = [np.empty(0, np.int64)]
    return part, (np.concatenate(empty + users), np.concatenate(empty + items))


def _json_lists(path: Path) -> Iterator[tuple[int, list[int]]]:
    lists = read_json(path)
    if not isinstance(lists, dict):
        raise Refusal('{path} must hold one object {{"user": [items]}}', path=path)
    for user, items in lists.items():
        good = isinstance(items, list) and all(type(item) is int and 0 <= item < MAX_NUMBER for item in items)
        if not good or not _is_number(user):
            raise Refusal(
                "{where}: a user and its items must be whole numbers, zero or larger",
                where=Message("{path}, {entry}", path=path, entry=f"{user!r:.40}"),
            )
        yield int(user), items


def _text_lists(path: Path) -> Iterator[tuple[int, list[int]]]:
    for number, line in numbered_lines(path):
        words = line.split()
        if not all(map(_is_number, words)):
            raise Refusal(
                "{where}: a user and its items must be whole numbers, zero or larger",
                where=Message("{path}, line {line}", path=path, line=number),
            )
        yield int(words[0]), [int(word) for word in words[1:]]


def _pairs(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Users and items of an array ``(n, 2)``; lists of different lengths would be a pickle."""
    array = read_array(path, _PICKLED)
    if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != 2 or (array < 0).any():
        raise Refusal(
            "{path} holds {dtype} of shape {shape}; it must be a user and an item per row, whole numbers of zero or "
            "larger, (n, 2)",
            path=path,
            dtype=array.dtype,
            shape=array.shape,
        )
    users, items = array.astype(np.int64).T
    return users, items


def _without_offset(
    users: NDArray[np.int64], items: NDArray[np.int64], raw_users: pd.Index | None, journal: Journal
) -> NDArray[np.int64]:
    """Item numbers from zero: some arrays number the items behind the users."""
    size = len(raw_users) if raw_users is not None else int(users.max()) + 1
    if items.min() < size:
        return items
    journal.tell(
        Message("items: their numbers begin behind the {size} users, so {size} is taken off each", size=f"{size:,}")
    )
    return items - size


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= 18


def _raw_ids(folders: Sequence[Path], what: str, journal: Journal) -> pd.Index | None:
    """Raw ids by number, or None where no file tells them."""
    candidates = (folder / name for folder in folders for name in (f"{what}2id.json", f"{what}_list.txt"))
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        return None
    journal.read(path)
    if path.suffix == ".json":
        pairs = read_json(path)
        good = isinstance(pairs, dict) and all(type(number) is int for number in pairs.values())
        raw, numbers = (list(pairs), list(pairs.values())) if good else ([], [])
    else:
        rows = [line.rsplit(None, 1) for _, line in numbered_lines(path)]
        if rows and not _is_number(rows[0][-1]):
            rows = rows[1:]
        good = all(len(row) == 2 and _is_number(row[1]) for row in rows)
        raw, numbers = ([row[0] for row in rows], [int(row[1]) for row in rows]) if good else ([], [])
    if not good or sorted(numbers) != list(range(len(numbers))) or len(set(raw)) < len(raw):
        raise Refusal("{path} must number different ids from 0 without a gap", path=path)
    return pd.Index(np.array(raw, object)[np.argsort(numbers)])


def _listed_items(path: Path, journal: Journal) -> pd.Series | None:
    """Addresses of images by item number as text, in the order of numbers; None without such a list."""
    if not path.is_file():
        return None
    source = TableFile(journal.read(path))
    header = source.header().names
    columns = [alike[0] for role in ("listed item", "image_url") if (alike := guessed(header, role))]
    if len(columns) < 2:
        return None
    ids, urls = (source.read(columns).frame[name].str.strip() for name in columns)
    numbers = sorted(int(word) for word in ids if _is_number(word))
    if numbers != list(range(len(ids))):
        raise Refusal("{path} must number different ids from 0 without a gap", path=path)
    return pd.Series(urls.to_numpy(), index=ids.to_numpy()).reindex([str(number) for number in numbers])
