"""The order lines of the demo, cut from UCI Online Retail: ``python -m tests.docs.demo_data`` writes ``demo/*.csv``.

Customers with 10 to 60 products, the 400 products that most of them bought, and of the customers with five of these the
first 1,000 by number: small enough for a repository, and a shop's own lines in every other respect.
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

DEMO = Path(__file__).resolve().parents[2] / "demo"
PRODUCTS_OF_A_CUSTOMER = (10, 60)
N_PRODUCTS, N_CUSTOMERS, LEAST = 400, 1000, 5


def reduced(source: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Order lines and products, in the columns of the published file, of the prepared folder of the whole log."""
    log, items = pd.read_parquet(source / "interactions.parquet"), pd.read_parquet(source / "items.parquet")
    log = log[log.groupby("user_id").item_id.transform("size").between(*PRODUCTS_OF_A_CUSTOMER)]
    buyers = log.groupby("item_id").size().reset_index(name="n").sort_values(["n", "item_id"], ascending=[False, True])
    log = log[log.item_id.isin(buyers.item_id[:N_PRODUCTS])]
    log = log[log.groupby("user_id").item_id.transform("size") >= LEAST]
    log = log[log.user_id.isin(sorted(log.user_id.unique())[:N_CUSTOMERS])]
    lines = pd.DataFrame(
        {
            "InvoiceNo": log.order_id,
            "StockCode": log.item_id,
            "Quantity": log.quantity,
            "InvoiceDate": pd.to_datetime(log.timestamp, unit="s").dt.strftime("%Y-%m-%d %H:%M"),
            "CustomerID": log.user_id,
        }
    ).sort_values(["InvoiceDate", "InvoiceNo", "StockCode"], kind="stable")
    items = items[items.item_id.isin(log.item_id)].sort_values("item_id")
    products = items.rename(columns={"item_id": "StockCode", "title": "Description", "first_unit_price": "UnitPrice"})
    return lines, products[["StockCode", "Description", "UnitPrice"]]


def main() -> None:
    """Write both files."""
    for name, table in zip(
        ("order_lines", "products"), reduced(Path(os.environ["MMBENCH_DATA"], "uci_retail")), strict=True
    ):
        table.to_csv(DEMO / f"{name}.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
