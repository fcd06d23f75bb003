"""Which column of a table plays which role: named, or guessed from usual names in English and Japanese."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from mmbench.data.readers.text_table import Table
from mmbench.messages import Refusal, Template

#: Leaves an optional column out that would be guessed otherwise.
NONE = "none"
_ITEM = (
    "itemid", "iid", "productid", "productcode", "parentasin", "asin", "sku", "movieid", "articleid", "商品id",
    "商品コード", "商品番号", "アイテムid", "jan", "jancode", "janコード", "品番", "stockcode", "商品cd", "商品no",
    "品目コード", "型番", "item", "product", "商品", "アイテム",
)  # fmt: skip
#: Usual names by role, compared without case, spaces, hyphens and underscores; the first that is there counts. Beside a
#: number or a code the bare word is a name, or a kind; of a day and a moment, the moment tells which came first.
USUAL: Mapping[str, tuple[str, ...]] = {
    "user": (
        "userid", "uid", "customerid", "reviewerid", "visitorid", "memberid", "accountid", "ユーザーid", "ユーザid",
        "顧客id", "顧客コード", "顧客番号", "会員id", "会員番号", "会員コード", "会員no", "お客様番号", "顧客no",
        "購入者id", "得意先コード", "得意先番号", "user", "customer", "member", "account", "ユーザー", "顧客", "会員",
    ),
    "item": _ITEM,
    "rating": ("rating", "ratings", "score", "stars", "overall", "評価", "評点"),
    "timestamp": (
        "timestamp", "datetime", "date", "time", "unixreviewtime", "createdat", "purchasedat", "purchasedate",
        "orderdate", "eventtime", "invoicedate", "日時", "日付", "購入日時", "購入日", "購買日時", "購買日", "注文日時",
        "注文日", "受注日時", "受注日", "売上日時", "売上日", "取引日時", "取引日", "伝票日付", "年月日",
    ),
    "split": ("split", "xlabel"),
    "order": (
        "order", "orderid", "orderno", "ordernumber", "invoice", "invoiceno", "basketid", "注文番号", "注文id",
        "受注番号", "伝票番号", "レシート番号", "注文no", "受注no", "伝票no", "取引番号",
    ),
    "quantity": ("quantity", "qty", "units", "数量", "個数", "点数", "購入数", "購入数量", "注文数", "売上数量"),
    "listed item": (*_ITEM, "id"),
    "text": (
        "title", "name", "productname", "itemname", "producttitle", "description", "productdescription", "タイトル",
        "商品名", "商品名称", "品名", "説明", "商品説明", "説明文",
    ),
    "image_url": ("imageurl", "imurl", "image", "imagelink", "画像url", "商品画像url"),
    "image_path": ("imagepath", "imagefile", "画像ファイル", "画像パス"),
    "category": (
        "category", "categories", "genre", "genres", "categoryname", "productcategory", "producttype", "department",
        "カテゴリ", "カテゴリー", "カテゴリ名", "カテゴリー名", "商品カテゴリ", "商品カテゴリー", "商品分類", "分類",
        "分類名", "ジャンル", "大分類", "大分類名", "部門", "部門名",
    ),
}  # fmt: skip
#: Column that is the text of the items where it is there.
TEXT_COLUMN = "text"
#: Columns with the path or the address of an item's image, the first one that is there counts.
IMAGE_COLUMNS = ("image_path", "image", "image_url")
OPTIONAL = ("rating", "timestamp", "split", "order", "quantity")
_NOTHING_LIKE = {
    "user": Template("{path}: no column looks like the user; name it with --user; columns are {columns}"),
    "item": Template("{path}: no column looks like the item; name it with --item; columns are {columns}"),
}


@dataclass(frozen=True)
class Columns:
    """Which column of a log plays which role; None is guessed from usual names, ``none`` leaves an optional one out.

    Args:
        user: who.
        item: what.
        rating: optional number.
        timestamp: optional time, see :func:`mmbench.data.readers.times.unix_seconds`.
        split: optional part of each row, see :func:`mmbench.data.splits.given`.
        order: optional order that a row is a line of.
        quantity: optional number of units; rows with none or fewer (returns) are left out.
    """

    user: str | None = None
    item: str | None = None
    rating: str | None = None
    timestamp: str | None = None
    split: str | None = None
    order: str | None = None
    quantity: str | None = None

    def chosen(self, header: Table) -> dict[str, str]:
        """The column of each role that has one.

        Raises:
            ValueError: for a column that is not there or plays two roles, or if nothing looks like user or item.
        """
        asked = {field.name: getattr(self, field.name) for field in fields(self)}
        left_out = {role for role in OPTIONAL if asked[role] == NONE}
        named = {role: name for role, name in asked.items() if name is not None and role not in left_out}
        for role, name in named.items():
            header.check_column(name, f"--{role}")
        free = [name for name in header.names if name not in named.values()]
        for role in [role for role in asked if role not in {*named, *left_out}]:
            alike = guessed(free, role)
            if alike:
                named[role] = alike[0]
            elif role not in OPTIONAL:
                raise nothing_like(header, _NOTHING_LIKE[role])
        chosen = {role: named[role] for role in asked if role in named}
        if len(set(chosen.values())) < len(chosen):
            raise Refusal("{path}: one column cannot be two things: {pairs}", path=header.path, pairs=pairs(chosen))
        return chosen


def mapped(text: str) -> Columns:
    """Columns from ``user=customer,item=JAN``; a name may hold commas.

    Raises:
        ValueError: for a word that is no role.
    """
    roles = [field.name for field in fields(Columns)]
    parts = re.split(rf",(?=\s*(?:{'|'.join(roles)})\s*=)", text)
    column_of: dict[str, str] = {}
    for part in parts:
        role, is_pair, column = (word.strip() for word in part.partition("="))
        if role not in roles or not is_pair or not column or role in column_of:
            raise Refusal(
                "--map {part}: write role=column,role=column with the roles {roles}, each once",
                part=repr(part),
                roles=", ".join(roles),
            )
        column_of[role] = column
    return Columns(**column_of)


def guessed(names: Iterable[str], role: str) -> list[str]:
    """Columns with a usual name, the most usual first."""
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(re.sub(r"[\s_\-./]", "", unicodedata.normalize("NFKC", name).casefold()), name)
    return [plain[usual] for usual in USUAL[role] if usual in plain]


def text_columns(names: Iterable[str], named: Sequence[str] = ()) -> list[str]:
    """Columns of a catalogue that are the text of its items.

    Those of ``named`` that are there, else ``text``, else all with a usual name, the most usual first. What is encoded
    by default is measured by the slices of text length, too.

    Args:
        names: columns of the catalogue.
        named: columns that somebody has named, see :func:`mmbench.data.sources.named_texts`.
    """
    names = list(names)
    if known := [name for name in dict.fromkeys(named) if name in names]:
        return known
    return [TEXT_COLUMN] if TEXT_COLUMN in names else guessed(names, "text")


def header_at(rows: Sequence[Sequence[str]]) -> int:
    """Place of the row that names the columns: the first one, unless a title stands above the table.

    A title is a row with one cell that says something, or one without any usual name above a row with two of them.
    The row below it has to look like names: none repeated, none a number or a date.

    Args:
        rows: the first rows of a file, without empty ones.
    """
    for place, row in enumerate(rows[:-1]):
        cells = [cell.strip() for cell in row if cell.strip()]
        above = rows[:place]
        usual = _usual_names(cells)
        titles = all(sum(bool(cell.strip()) for cell in title) <= 1 for title in above)
        alike = len(cells) > 1 and len(set(cells)) == len(cells) and not any(re.match(r"[\d.+-]", c) for c in cells)
        if (
            place
            and alike
            and ((titles and (usual or len(cells) > 2)) or (usual > 1 and not any(map(_usual_names, above))))
        ):
            return place
        if place == 0 and usual:
            return 0
    return 0


def _usual_names(cells: Sequence[str]) -> int:
    """How many cells are usual names of some role."""
    return sum(any(guessed([cell], role) for role in USUAL) for cell in cells)


def nothing_like(header: Table, template: Template) -> Refusal:
    """The error of a table in which no column looks like what is needed."""
    return Refusal(template, path=header.path, columns=header.names_in_short)


def pairs(named: Mapping[str, str]) -> str:
    """``role=column`` of each role."""
    return ", ".join(f"{role}={name}" for role, name in named.items())
