"""Whatever index a DataFrame was saved with, its rows are numbered and its named levels are columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmbench.data.interactions import deduplicated
from mmbench.data.parquet import read_parquet
from mmbench.data.readers.own_tables import read_tabular
from mmbench.data.readers.recommendations import read_recommendations
from mmbench.data.readers.table_files import TableFile
from mmbench.data.sources import read_folder

LOG = pd.DataFrame(
    {"user_id": ["u", "u", "v"], "item_id": ["i", "j", "i"], "timestamp": [1_700_000_003, 1_700_000_002, 1_700_000_001]}
)


def saved(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_parquet(path)
    return path


@pytest.mark.parametrize(
    "frame",
    [
        LOG.set_index("user_id"),
        LOG.set_index(["user_id", "item_id"]),
        LOG.set_index("user_id", drop=False),
        LOG.set_index(pd.Index([7, 7, 0])),
        LOG[::-1][::-1],
    ],
)
def test_columns_and_rows(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = saved(frame, tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(read_parquet(path)[list(LOG)], LOG)
    assert sorted(read_parquet(path)) == sorted(LOG)
    pd.testing.assert_frame_equal(read_parquet(path, ["item_id", "user_id"])[["user_id"]], LOG[["user_id"]])
    pd.testing.assert_frame_equal(read_parquet(path, rows=2)[list(LOG)], LOG[:2])
    table = TableFile(path)
    assert sorted(table.header().names) == sorted(LOG)
    assert table.header(1).frame["user_id"].tolist() == ["u"]
    assert read_tabular(path).log["user_id"].tolist() == ["u", "u", "v"]


def test_an_index_of_row_numbers_with_a_name_is_a_column(tmp_path: Path) -> None:
    path = saved(LOG[["user_id"]].set_index(pd.RangeIndex(10, 16, 2, name="item_id")), tmp_path / "a.parquet")
    assert read_parquet(path)["item_id"].tolist() == [10, 12, 14]
    assert read_parquet(path, rows=2)["item_id"].tolist() == [10, 12]
    assert read_parquet(path, ["item_id"]).to_dict("list") == {"item_id": [10, 12, 14]}
    assert TableFile(path).header().names == ["user_id", "item_id"]


def test_types_are_those_that_pandas_reads(tmp_path: Path) -> None:
    frame = pd.DataFrame({
        "a": pd.array([1, None], "Int64"),
        "b": pd.array([True, None], "boolean"),
        "c": pd.Categorical(["x", "y"]),
        "d": pd.to_datetime(["2024-01-05", None]),
        "e": ["x", None],
    })  # fmt: skip
    path = saved(frame, tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(read_parquet(path), pd.read_parquet(path))


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64()])
def test_long_numbers_beside_a_gap_are_exact(tmp_path: Path, kind: pa.DataType) -> None:
    """Other integers beside a gap are the floats that they always were."""
    long, path = 2**62 + 1, tmp_path / "a.parquet"
    columns = {"user": ["u", "v", "w"], "item": pa.array([long, None, 7], kind), "rating": pa.array([5, None, 3], kind)}
    pq.write_table(pa.table(columns), path)
    frame = read_parquet(path)
    assert frame["item"].tolist() == [long, pd.NA, 7]
    assert frame["rating"].dtype == np.float64
    assert TableFile(path).read(["item"]).frame["item"].tolist() == [str(long), "", "7"]
    log = read_tabular(path).log
    assert log["item_id"].tolist() == [str(long), "7"]
    assert log["rating"].tolist() == [5, 3]


def test_a_log_that_was_put_together_keeps_its_order(tmp_path: Path) -> None:
    """Row numbers that repeat would mix its parts when rows are brought back into their order."""
    whole = pd.concat([LOG, LOG.assign(user_id=["w", "w", "x"])])
    saved(whole, tmp_path / "interactions.parquet")
    log = read_folder(tmp_path).log
    assert deduplicated(log)["user_id"].tolist() == ["u", "u", "v", "w", "w", "x"]


def test_recommendations_with_an_index(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user": ["u"], "item": ["i"], "rank": [1]}).set_index("user")
    path = saved(frame, tmp_path / "a.parquet")
    rows, _ = read_recommendations(path, LOG["user_id"].unique(), LOG["item_id"].unique())
    assert rows.tolist() == [[0, 0, -1]]
