"""From a text table to the log and the catalogue of a source: ids, ratings, times, parts, and each item once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from mmbench.data import splits
from mmbench.data.readers.columns import pairs
from mmbench.data.readers.ids import bare, composed, narrow
from mmbench.data.readers.journal import Journal
from mmbench.data.readers.table_files import EXCEL, suffix_of
from mmbench.data.readers.text_table import MISSING_WORDS, Table, plain_digits
from mmbench.data.readers.times import unix_seconds
from mmbench.messages import Message, Refusal, Template

#: What a spreadsheet makes of a long code: 4.90123E+12, or 4,90123E+12 in many countries.
_ROUNDED = r"\d(?:[.,]\d+)?[eE]\+\d+"
#: A count as shops write it: with a sign of accountants, groups of thousands, or a unit behind it.
_COUNT = (
    r"^(?P<sign>[-\u2212▲△▼])?\s*\+?[¥\\$€]?\s*(?P<digits>\d{1,3}(?:,\d{3})+|\d+)(?P<rest>\.\d+)?\s*"
    r"(?:個|コ|ケ|ヶ|ヵ|点|本|枚|袋|箱|台|冊|着|足|組|セット|ケース|パック|缶|杯|束|包|双|式|円|pcs?\.?|ea)?$"
)
#: A number with a decimal comma, and what may stand around it.
_WITH_COMMA = r"^(?P<before>[^\d.,]*)(?P<whole>\d{1,3}(?:\.\d{3})+|\d+),(?P<decimals>\d+[^\d.,]*)$"
_CONTROL = r"[\x00-\x08\x0a-\x1f\x7f]"
_WITHOUT_IDS = {
    "log": Template(
        "log: 1 row without {columns} is left out (first: {where})",
        "log: {n} rows without {columns} are left out (first: {where})",
    ),
    "items": Template(
        "items: 1 row without {columns} is left out (first: {where})",
        "items: {n} rows without {columns} are left out (first: {where})",
    ),
    "users": Template(
        "1 row without {columns} is left out (first: {where})",
        "{n} rows without {columns} are left out (first: {where})",
    ),
}
#: The steps to a plain id, what is said of it, and how an example of it is shown.
_MADE_PLAIN: tuple[tuple[Callable[[str], str], Template, Callable[[str], str]], ...] = (
    (
        narrow,
        Template(
            "{column}: 1 id in full-width characters is read as the plain one ({example})",
            "{column}: {n} ids in full-width characters are read as the plain ones (first: {example})",
        ),
        str,
    ),
    (
        composed,
        Template(
            "{column}: 1 id is read in Unicode's composed form ({example})",
            "{column}: {n} ids are read in Unicode's composed form (first: {example})",
        ),
        str,
    ),
    (
        bare,
        Template(
            "{column}: 1 id is read without the invisible characters around it ({example})",
            "{column}: {n} ids are read without the invisible characters around them (first: {example})",
        ),
        repr,
    ),
)
_LOG_LOST_ZEROS = Template(
    "{n} item of the log is found in the list of items only with leading zeros ({in_log} in the log, {listed} in the "
    "list): did a spreadsheet take them away? Save the log with its codes as text, or add --restore-zeros",
    "{n} items of the log are found in the list of items only with leading zeros (first: {in_log} in the log, {listed} "
    "in the list): did a spreadsheet take them away? Save the log with its codes as text, or add --restore-zeros",
)
_LIST_LOST_ZEROS = Template(
    "{n} item of the log is found in the list of items only without leading zeros ({in_log} in the log, {listed} in "
    "the list): did a spreadsheet take them away? Save the list with its codes as text, or add --restore-zeros",
    "{n} items of the log are found in the list of items only without leading zeros (first: {in_log} in the log, "
    "{listed} in the list): did a spreadsheet take them away? Save the list with its codes as text, or add "
    "--restore-zeros",
)


def log_of(table: Table, names: Mapping[str, str], journal: Journal, *, cancel_returns: bool = False) -> pd.DataFrame:
    """The log in a table whose columns play the roles ``names``.

    Args:
        table: cells.
        names: column by role.
        journal: where to tell.
        cancel_returns: whether a row with a negative quantity cancels purchases; else it is left out.

    Raises:
        ValueError: for a bad cell, with its line.
    """
    journal.tell(Message("columns of the log: {pairs}", pairs=pairs(names)))
    table = with_ids(table, {"user_id": names["user"], "item_id": names["item"]}, "log", journal)
    others = (name for role, name in names.items() if role not in ("user", "item"))
    kept = list(dict.fromkeys(["user_id", "item_id", *others]))
    table = table.with_frame(table.frame[kept])  # the ids as they were written take half as much as the log
    for role in ("rating", "timestamp", "quantity"):
        if role in names and table.decimal_comma:
            table = _with_decimal_points(table, names[role], journal)
    if "quantity" in names:
        table = _with_plain_counts(table, names["quantity"], journal)
        table = _bought(table, names["quantity"], journal, with_returns=cancel_returns)
    log = table.frame[["user_id", "item_id"]].copy()
    if "rating" in names:
        log["rating"] = table.numbers(names["rating"])
    if "timestamp" in names:
        log["timestamp"] = unix_seconds(table, names["timestamp"], journal)
    if "split" in names:
        log["split"] = splits.given(table.frame, names["split"])
    if "order" in names:
        orders = table.frame[names["order"]].str.strip()
        log["order_id"] = orders.where(~orders.isin(MISSING_WORDS), "")
    if "quantity" in names:
        log["quantity"] = table.numbers(names["quantity"])
        if cancel_returns and (log["quantity"] < 0).any():
            log = _with_returns_cancelled(log, journal)
    return log.reset_index(drop=True)


def _with_decimal_points(table: Table, column: str, journal: Journal) -> Table:
    """Numbers with a decimal comma, such as 1,50 or 1.000,50, with a point; a column with 1,000,000 has none."""
    text = plain_digits(table.frame[column]).str.strip()
    if text.str.contains(r"\d,\d{3},\d{3}").any():
        return table
    parts = text.str.extract(_WITH_COMMA)
    written = parts["whole"].notna()
    if not written.any():
        return table
    number = parts["before"] + parts["whole"].str.replace(".", "", regex=False) + "." + parts["decimals"]
    journal.tell(
        Message.counted(
            "{column}: 1 comma is read as a decimal point, as in tables with semicolons ({example} as {number})",
            "{column}: {n} commas are read as decimal points, as in tables with semicolons (first: {example} as "
            "{number})",
            int(written.sum()),
            column=column,
            example=table.frame[column][written].iloc[0],
            number=number[written].iloc[0],
        )
    )
    return table.with_frame(table.frame.assign(**{column: number.where(written, table.frame[column])}))


def _with_plain_counts(table: Table, column: str, journal: Journal) -> Table:
    """Counts as shops write them, such as ▲1, 1,000 or 1個, as plain numbers."""
    text = plain_digits(table.frame[column]).str.strip()
    parts = text.str.extract(_COUNT)
    plain = parts["digits"].str.replace(",", "", regex=False) + parts["rest"].fillna("")
    plain = parts["sign"].notna().map({True: "-", False: ""}) + plain
    written = parts["digits"].notna() & (plain != text)
    if written.any():
        journal.tell(
            Message.counted(
                "{column}: 1 cell is read as a number ({example} as {number})",
                "{column}: {n} cells are read as numbers (first: {example} as {number})",
                int(written.sum()),
                column=column,
                example=table.frame[column][written].iloc[0],
                number=plain[written].iloc[0],
            )
        )
    return table.with_frame(table.frame.assign(**{column: plain.where(written, text)}))


def _bought(table: Table, column: str, journal: Journal, *, with_returns: bool) -> Table:
    """The rows with a quantity above zero, or an unknown one, and on demand the returns."""
    quantity = table.numbers(column)
    if not (~(quantity <= 0)).any():
        raise Refusal("{path}: no row has a {column} above zero", path=table.path, column=column)
    unknown = np.isnan(quantity)
    if unknown.any():
        journal.tell(
            Message.counted(
                "log: 1 row without a {column} counts as a purchase ({where})",
                "log: {n} rows without a {column} count as purchases (first: {where})",
                int(unknown.sum()),
                column=column,
                where=table.where(int(unknown.argmax())),
            )
        )
    returned = quantity == 0 if with_returns else quantity <= 0
    if returned.any() and with_returns:
        journal.tell(
            Message.counted(
                "log: 1 row with a {column} of zero is left out ({where})",
                "log: {n} rows with a {column} of zero are left out (first: {where})",
                int(returned.sum()),
                column=column,
                where=table.where(int(returned.argmax())),
            )
        )
    elif returned.any():
        journal.ask(
            Message.counted(
                "log: 1 row with a {column} of zero or less (a return) is left out ({where}); with --cancel-returns "
                "the purchase that it gives back is left out too",
                "log: {n} rows with a {column} of zero or less (returns) are left out (first: {where}); with "
                "--cancel-returns the purchases that they give back are left out too",
                int(returned.sum()),
                column=column,
                where=table.where(int(returned.argmax())),
            ),
            "--cancel-returns",
            likely=False,
        )
    return table.with_frame(table.frame[~returned])


def _with_returns_cancelled(log: pd.DataFrame, journal: Journal) -> pd.DataFrame:
    """The purchases that were kept: a return takes its units from the latest earlier purchases of its user and item.

    Without times, earlier means above. On one time, purchases come before returns. A purchase of unknown quantity is
    one unit.
    """
    quantity = log["quantity"].fillna(1.0).to_numpy(np.float64, copy=True)
    back = quantity < 0
    pair = log.groupby(["user_id", "item_id"], sort=False).ngroup().to_numpy()
    order = np.lexsort((back, log["timestamp"])) if "timestamp" in log else np.arange(len(log))
    order = order[np.isin(pair, pair[back])[order]]
    open_rows: dict[int, list[int]] = {}
    left = quantity.copy()
    unmatched = 0
    for row in order.tolist():
        rows = open_rows.setdefault(int(pair[row]), [])
        if not back[row]:
            rows.append(row)
            continue
        units = -quantity[row]
        unmatched += not rows
        while units > 0 and rows:
            taken = min(units, left[rows[-1]])
            units -= taken
            left[rows[-1]] -= taken
            if left[rows[-1]] <= 0:
                rows.pop()
    gone, fewer = ~back & (left <= 0), ~back & (left > 0) & (left < quantity)
    journal.tell(
        Message.counted(
            "log: 1 return; purchases that it cancels and that are left out: {gone}, purchases with fewer units: "
            "{fewer}, returns without an earlier purchase: {unmatched}",
            "log: {n} returns; purchases that they cancel and that are left out: {gone}, purchases with fewer units: "
            "{fewer}, returns without an earlier purchase: {unmatched}",
            int(back.sum()),
            gone=int(gone.sum()),
            fewer=int(fewer.sum()),
            unmatched=unmatched,
        )
    )
    if (back | gone).all():
        raise Refusal("every purchase of the log was returned; without --cancel-returns they are kept")
    log["quantity"] = log["quantity"].where(~fewer, left)
    return log[~(back | gone)]


def with_ids(table: Table, names: Mapping[str, str], what: str, journal: Journal) -> Table:
    """Add the ids as columns, without white space and invisible characters around them; drop rows that lack one.

    Args:
        table: cells.
        names: column by name of the id.
        what: ``log``, ``items`` or, for users that lists are asked for, ``users``.
        journal: told what was dropped or read as another id.

    Raises:
        ValueError: if no row has its ids, or an id is a rounded number or holds a control character.
    """
    ids = {target: table.frame[name].str.strip() for target, name in names.items()}
    for target, column in ids.items():
        if not column.str.isascii().all():
            ids[target] = _plain_ids(column, names[target], journal)
    lacking = {names[target]: column.isin(MISSING_WORDS).to_numpy(bool) for target, column in ids.items()}
    missing = np.logical_or.reduce(list(lacking.values()))
    columns = "+".join(names.values())
    if missing.all():
        empty = "+".join(name for name, where in lacking.items() if where.all()) or columns
        if suffix_of(table.path) in EXCEL:
            raise Refusal(
                "{path}: every row lacks {columns}; if there are formulas, open the workbook in a spreadsheet program "
                "and save it, so that it holds their values",
                path=table.path,
                columns=empty,
            )
        raise Refusal("{path}: every row lacks {columns}", path=table.path, columns=empty)
    table = table.with_frame(table.frame.assign(**ids))
    if missing.any():
        first = table.where(int(missing.argmax()))
        journal.tell(Message(_WITHOUT_IDS[what], int(missing.sum()), columns=columns, where=first))
        table = table.with_frame(table.frame[~missing])
    for target, name in names.items():
        column = table.frame[target]
        table.require(
            ~column.str.fullmatch(_ROUNDED).to_numpy(bool),
            name,
            Message("a spreadsheet has rounded this code; format its column as text and save again"),
        )
        table.require(
            ~column.str.contains(_CONTROL).to_numpy(bool), name, Message("an id must not hold control characters")
        )
    return table


def _plain_ids(column: pd.Series, name: str, journal: Journal) -> pd.Series:
    """Ids as :func:`mmbench.data.readers.ids.plain_id` has them; each way in which some were written is told."""
    for made_plain, told, shown in _MADE_PLAIN:
        plain = column.map({written: made_plain(written) for written in column.unique()}).astype(column.dtype)
        changed = plain != column
        if changed.any():
            example = shown(column[changed].iloc[0])
            journal.tell(Message(told, int(changed.sum()), column=name, example=example))
            column = plain
    return column


def first_of_each(items: pd.DataFrame, journal: Journal) -> pd.DataFrame:
    """The first row of each item, whose blank cells take what a later row of the item has."""
    repeated = items["item_id"].duplicated().to_numpy(bool)
    if repeated.any():
        twice = items["item_id"][repeated].unique()
        journal.tell(
            Message.counted(
                "items: 1 repeated item, the first row counts ({example})",
                "items: {n} repeated items, the first row of each counts (first: {example})",
                len(twice),
                example=repr(twice[0]),
            )
        )
    kept, taken = items[~repeated].copy(), 0
    example = ("", "")
    for name in items.columns.drop("item_id") if repeated.any() else ():
        filled = ~items[name].fillna("").str.strip().isin(MISSING_WORDS)
        given = items[filled].drop_duplicates("item_id").set_index("item_id")[name]
        later = ~filled & items["item_id"].isin(given.index) & ~repeated
        if later.any():
            example = example if taken else (repr(items["item_id"][later].iloc[0]), str(name))
            taken += int(later.sum())
            kept[name] = kept[name].where(~later, kept["item_id"].map(given))
    if taken:
        journal.tell(
            Message.counted(
                "items: 1 cell that is blank in the first row of its item is taken from a later row ({column} of "
                "{example})",
                "items: {n} cells that are blank in the first rows of their items are taken from later rows (first: "
                "{column} of {example})",
                taken,
                example=example[0],
                column=example[1],
            )
        )
    return kept.reset_index(drop=True)


def zeros_lost(in_log: pd.Index, listed: pd.Series) -> tuple[dict[str, str], dict[str, str]]:
    """Ids that lack leading zeros of the one id in the other table that is alike but for them.

    Args:
        in_log: items of the log, each once.
        listed: items of the list, each once.

    Returns:
        The item of the log by the item of the list that lost its zeros, and the item of the list by the item of the
        log that lost its.
    """
    by_digits: dict[str, list[str]] = {}
    for item in in_log.difference(pd.Index(listed)):
        by_digits.setdefault(item.lstrip("0"), []).append(item)
    pairs: list[tuple[str, str]] = []
    for item in listed:
        alike = by_digits.get(item.lstrip("0"), [])
        if len(alike) == 1 and item not in alike:
            pairs.append((item, alike[0]))
    counts = Counter(other for _, other in pairs)
    sure = [(item, other) for item, other in pairs if counts[other] == 1]
    # An item of the list that was bought under its own id keeps it.
    of_list = {item: other for item, other in sure if len(item) < len(other) and item not in in_log}
    return of_list, {other: item for item, other in sure if len(item) > len(other)}


def with_zeros_restored(log: pd.DataFrame, listed: pd.DataFrame, journal: Journal) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The log and the list, each with the leading zeros that its ids have in the other one; none is taken away."""
    of_list, of_log = zeros_lost(pd.Index(log["item_id"].unique()), listed["item_id"])
    if of_list:
        item, other = next(iter(of_list.items()))
        journal.tell(
            Message.counted(
                "items: 1 item takes the zeros that its id has in the log ({listed} becomes {in_log})",
                "items: {n} items take the zeros that their ids have in the log (first: {listed} becomes {in_log})",
                len(of_list),
                listed=item,
                in_log=other,
            )
        )
        listed = listed.assign(item_id=listed["item_id"].map(of_list).fillna(listed["item_id"]))
    if of_log:
        item, other = next(iter(of_log.items()))
        journal.tell(
            Message.counted(
                "log: 1 item takes the zeros that its id has in the list ({in_log} becomes {listed})",
                "log: {n} items take the zeros that their ids have in the list (first: {in_log} becomes {listed})",
                len(of_log),
                listed=other,
                in_log=item,
            )
        )
        log = log.assign(item_id=log["item_id"].map(of_log).fillna(log["item_id"]))
    return log, listed


def with_unlisted(log: pd.DataFrame, listed: pd.DataFrame, path: Path, journal: Journal) -> pd.DataFrame:
    """The catalogue: listed items, then those that only the log knows, with empty cells.

    Raises:
        ValueError: if log and list have no item in common.
    """
    in_log = pd.Index(log["item_id"].unique())
    unlisted = in_log.difference(pd.Index(listed["item_id"]))
    of_list, of_log = zeros_lost(in_log, listed["item_id"])
    lost = []
    if of_list:
        item, other = next(iter(of_list.items()))
        lost.append(Message(_LIST_LOST_ZEROS, len(of_list), listed=item, in_log=other))
    if of_log:
        item, other = next(iter(of_log.items()))
        lost.append(Message(_LOG_LOST_ZEROS, len(of_log), listed=other, in_log=item))
    if lost:
        if len(unlisted) == len(in_log):
            reason = lost[0] if len(of_list) >= len(of_log) else lost[-1]
            raise Refusal("{path}: no item of the log occurs in it. {reason}", path=path, reason=reason)
        journal.ask(lost[0], "--restore-zeros")
        for further in lost[1:]:  # the same word mends both
            journal.tell(further)
    if len(unlisted) == len(in_log):
        listed_id = repr(listed["item_id"].iloc[0]) if len(listed) else "-"
        raise Refusal(
            "{path}: no item of the log occurs in it ({in_log} against {listed})",
            path=path,
            in_log=repr(in_log[0]),
            listed=listed_id,
        )
    if len(unlisted):
        journal.tell(
            Message.counted(
                "items: 1 item of the log is not listed and has no text",
                "items: {n} items of the log are not listed and have no text",
                len(unlisted),
            )
        )
    idle = len(listed) - (len(in_log) - len(unlisted))
    if idle:
        journal.tell(
            Message.counted(
                "items: 1 listed item has no interaction", "items: {n} listed items have no interaction", idle
            )
        )
    return pd.concat([listed, pd.DataFrame({"item_id": unlisted})], ignore_index=True).fillna("")
