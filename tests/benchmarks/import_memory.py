"""Time and peak memory of imports: ``python -m tests.benchmarks.import_memory [LINES]``, minutes for two million.

Writes a log of reviews with texts as JSON lines (Amazon 2023), as CSV and as order lines with dates, and imports each
in a process of its own. Prints one row of the table in docs/data.md per file. Peak memory is the largest resident size
of the process, the libraries included.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

LINES = 2_000_000
_WORDS = ["soft", "light", "warm", "good", "large", "small", "red", "blue", "green", "cheap", "solid", "broken", "new"]

Row = tuple[str, str, float, int]


def rows(n: int) -> Iterator[Row]:
    """User, item, rating and second of ``n`` reviews: two per user in the mean, items by a long tail."""
    rng = np.random.default_rng(0)
    for start in range(0, n, 100_000):
        size = min(100_000, n - start)
        users = rng.integers(0, n // 2, size)
        items = (rng.pareto(1.0, size) * 1000).astype(int) % (n // 8)
        seconds = rng.integers(1_500_000_000, 1_700_000_000, size)
        for user, item, second in zip(users.tolist(), items.tolist(), seconds.tolist(), strict=True):
            yield f"AF{user:026X}", f"B{item:09d}", float(1 + second % 5), second


def review_lines(n: int) -> Iterator[str]:
    """Reviews with about 400 characters of text each."""
    texts = [" ".join(np.random.default_rng(i).choice(_WORDS, 70)) for i in range(50)]
    for k, (user, item, rating, second) in enumerate(rows(n)):
        review = {"rating": rating, "title": "x", "text": texts[k % 50], "images": [], "asin": item}
        yield json.dumps({**review, "parent_asin": item, "user_id": user, "timestamp": 1000 * second + 7}) + "\n"


def table_lines(n: int) -> Iterator[str]:
    """The same as a table with a column of texts that nobody asked for."""
    yield "user_id,item_id,rating,timestamp,comment\n"
    text = " ".join(_WORDS * 3)
    for user, item, rating, second in rows(n):
        yield f"{user},{item},{rating},{second},{text}\n"


def order_lines(n: int) -> Iterator[str]:
    """Order lines of a shop, a date and time in every row."""
    yield "受注番号,顧客コード,JANコード,数量,受注日時\n"
    for k, (user, item, _, second) in enumerate(rows(n)):
        when = time.strftime("%Y/%m/%d %H:%M:%S", time.gmtime(second))
        yield f"{k // 3},{user},{item.replace('B', '0490')},1,{when}\n"


KINDS: dict[str, tuple[str, Callable[[int], Iterator[str]]]] = {
    "reviews, JSON lines": ("Toys.jsonl", review_lines),
    "log, CSV": ("log.csv", table_lines),
    "order lines, CSV": ("orders.csv", order_lines),
}


def measured(kind: str, n: int) -> str:
    """One row of the table: what, lines, size of the file, seconds, peak memory."""
    name, lines = KINDS[kind]
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / name
        with path.open("w", encoding="utf-8") as file:
            file.writelines(lines(n))
        began = time.monotonic()
        words = [sys.executable, "-m", "mmbench", "prepare", str(path), "--out", str(Path(made) / "out")]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{kind}: exit code {process.returncode}")
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        size = path.stat().st_size
        return f"| {kind} | {n:,} | {size / 1e6:,.0f} MB | {time.monotonic() - began:.0f} s | {peak / 1e6:,.0f} MB |"


def main() -> None:
    """Measure every kind."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else LINES
    print("| file | lines | size | time | peak memory |\n|---|---|---|---|---|")
    for kind in KINDS:
        print(measured(kind, n), flush=True)


if __name__ == "__main__":
    main()
