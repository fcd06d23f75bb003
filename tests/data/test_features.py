from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mmbench.data.features import ItemFeature, nonzero_rows, read_matrix, row_lengths, with_missing_filled


def save(folder: Path, array: np.ndarray, *, pickled: bool = False) -> Path:
    path = folder / "text_feat.npy"
    np.save(path, array, allow_pickle=pickled)
    return path


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_float_type_becomes_float32(tmp_path: Path, dtype: type) -> None:
    matrix = np.array([[0.5, -2.0], [0.0, 3.25], [1.0, 1.0]], dtype)
    read = read_matrix(save(tmp_path, matrix), 3)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, matrix)


def test_layout_does_not_matter(tmp_path: Path) -> None:
    matrix = np.asfortranarray(np.random.default_rng(0).random((4, 3), np.float32))
    np.testing.assert_array_equal(read_matrix(save(tmp_path, matrix)), matrix)


def with_nan() -> np.ndarray:
    matrix = np.ones((6, 2))
    matrix[4, 1], matrix[2, 0] = np.nan, -np.inf
    return matrix


@pytest.mark.parametrize(
    "array, message",
    [
        (np.ones((3, 2), np.int64), r"holds int64; features must be float16, float32 or float64"),
        (np.ones((3, 2), bool), r"holds bool; features must be float16"),
        (np.ones((3, 2), complex), r"holds complex128; features must be float16"),
        (np.array([["a"]]), r"holds <U1; features must be float16"),
        (np.ones(3), r"has shape \(3,\); features must be \(n_items, d\)"),
        (np.ones((3, 2, 1)), r"has shape \(3, 2, 1\); features must be \(n_items, d\)"),
        (np.ones((3, 0)), r"has shape \(3, 0\); features must be \(n_items, d\)"),
        (np.ones((4, 2)), r"has 4 rows but items.parquet has 3; they must match"),
        (with_nan(), r"has 6 rows but items.parquet has 3"),
    ],
)
def test_unusable_matrices_are_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    path = save(tmp_path, array)
    with pytest.raises(ValueError, match=message) as error:
        read_matrix(path, 3)
    assert str(error.value).startswith(str(path))


def test_nan_is_refused_with_its_row(tmp_path: Path) -> None:
    message = (
        r"has NaN or infinite values in 2 rows \(first: row 2\); "
        r"mark missing items with an all-zero row or a column has_<modality>"
    )
    with pytest.raises(ValueError, match=message):
        read_matrix(save(tmp_path, with_nan()), 6)


@pytest.mark.parametrize(("mark", "dtype"), [(-3.4e38, np.float32), (1.1e18, np.float32), (1e300, np.float64)])
def test_a_mark_for_a_missing_value_is_refused_with_its_row(tmp_path: Path, mark: float, dtype: type) -> None:
    matrix = np.ones((6, 3), dtype)
    matrix[4, 1], matrix[5, 0] = mark, 1e18
    message = f"has a number beyond 1e+18 in 1 row (row 4: {mark:g}): is it a mark for a missing value?"
    with pytest.raises(ValueError, match=re.escape(message)):
        read_matrix(save(tmp_path, matrix), 6)
    matrix[4, 1] = 1e18
    assert read_matrix(save(tmp_path, matrix), 6).max() == np.float32(1e18)


@pytest.mark.parametrize("scale", [1e-44, 1e-25, 1.0, 1e18, 3e37])
def test_lengths_of_rows_have_no_scale_that_is_too_small_or_too_large(scale: float) -> None:
    rows = np.array([[3.0, 4.0], [0.0, 0.0]]) * scale
    np.testing.assert_allclose(
        row_lengths(rows.astype(np.float32)), [5 * scale, 0], rtol=0.1 if scale < 1e-38 else 1e-6
    )


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, (f"open({str(tmp_path / 'exploded')!r}, 'w').close()",))

    path = save(tmp_path, np.array([[Bomb()]], dtype=object), pickled=True)
    with pytest.raises(ValueError, match="holds pickled objects, which are never loaded; save a plain float array"):
        read_matrix(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [b"", b"not a matrix", b"\x93NUMPY\x01\x00"])
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text_feat.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_matrix(path)
    assert str(error.value).startswith(str(path))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, np.ones((50, 4)))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"is not a readable .npy file"):
        read_matrix(path)


def test_missing_items_hold_the_mean_of_the_present() -> None:
    values = np.array([[1, 2], [9, 9], [3, 6]], np.float32)
    feature = with_missing_filled(values, np.array([True, False, True]))
    assert feature.values.tolist() == [[1, 2], [2, 4], [3, 6]]
    assert feature.values.dtype == np.float32
    assert values[1].tolist() == [9, 9], "the input was changed"


def test_the_mean_of_many_rows_is_not_summed_in_single_precision() -> None:
    values = np.full((200_001, 1), 0.1, np.float32)
    values[0] = 0
    feature = with_missing_filled(values, np.arange(200_001) > 0)
    assert feature.values[0, 0] == np.float32(0.1)


@pytest.mark.parametrize("block", [1, 10, 70, 1000])
def test_the_mean_does_not_depend_on_blocks_to_the_last_bit(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values = (rng.standard_normal((90, 7)) * np.exp(20 * rng.standard_normal((90, 7)))).astype(np.float32)
    present = np.arange(90) % 4 > 0
    present[:20] = False  # whole blocks are missing
    expected = values[present].mean(axis=0, dtype=np.float64).astype(np.float32)
    monkeypatch.setattr("mmbench.data.features.BLOCK_NUMBERS", block)
    filled = with_missing_filled(values, present).values
    assert (filled[~present] == expected).all()
    assert np.array_equal(filled[present], values[present])


def test_filling_a_large_matrix_copies_no_more_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    values, present = np.ones((20_000, 64), np.float32), np.arange(20_000) != 5
    monkeypatch.setattr("mmbench.data.features.BLOCK_NUMBERS", 64 * 100)
    tracemalloc.start()
    with_missing_filled(values, present, in_place=True)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < values.nbytes / 10


def test_rows_of_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.array([[0, 1e-40], [0, -0.0], [-3, 0], [0, 0]], np.float32)
    monkeypatch.setattr("mmbench.data.features.BLOCK_NUMBERS", 4)
    assert nonzero_rows(values).tolist() == [True, False, True, False]


def test_nothing_present_gives_zeros() -> None:
    feature = with_missing_filled(np.ones((2, 3), np.float32), np.zeros(2, bool))
    assert not feature.values.any()


def test_coverage_counts_content_constant_and_repeated_rows() -> None:
    rows = np.array([[1, 2], [1, 2], [1, 2], [4, 4], [0, 0], [7, 8], [1, 2]], np.float32)
    feature = ItemFeature(rows, np.array([True] * 6 + [False]))
    assert feature.coverage("text") == "text 6/7 items, 2 constant, 2 duplicate rows"


def test_coverage_of_nothing() -> None:
    feature = ItemFeature(np.zeros((3, 2), np.float32), np.zeros(3, bool))
    assert feature.coverage("image") == "image 0/3 items, 0 constant, 0 duplicate rows"


def test_fingerprint_sees_values_and_presence() -> None:
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    everywhere = np.ones(3, bool)
    base = ItemFeature(values, everywhere).fingerprint()
    assert ItemFeature(np.asfortranarray(values), everywhere).fingerprint() == base
    assert ItemFeature(values[::-1], everywhere).fingerprint() != base
    assert ItemFeature(values, np.array([True, True, False])).fingerprint() != base


def mapped(values: np.ndarray) -> bool:
    """Whether an array lies in a mapped file."""
    while isinstance(values, np.ndarray):
        if isinstance(values, np.memmap):
            return True
        values = values.base
    return False


def test_a_matrix_is_mapped_and_never_written(tmp_path: Path) -> None:
    """Processes share the pages of the file; filling the missing rows changes this process's view only."""
    path = tmp_path / "text_feat.npy"
    np.save(path, np.arange(12, dtype=np.float32).reshape(4, 3))
    before = path.read_bytes()
    values = read_matrix(path)
    assert mapped(values)
    feature = with_missing_filled(values, np.array([True, False, True, True]), in_place=True)
    assert feature.values is values
    assert values[1].tolist() == [5.0, 6.0, 7.0]
    assert path.read_bytes() == before
    assert read_matrix(path)[1].tolist() == [3.0, 4.0, 5.0]


def test_other_types_are_converted(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 2), np.float16))
    values = read_matrix(tmp_path / "a.npy")
    assert values.dtype == np.float32
    assert not mapped(values)


def test_filling_leaves_the_rows_of_the_caller_alone() -> None:
    values = np.zeros((2, 1), np.float32)
    values[0] = 4.0
    assert with_missing_filled(values, np.array([True, False])).values.tolist() == [[4.0], [4.0]]
    assert values.tolist() == [[4.0], [0.0]]


def test_counts_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).integers(0, 3, (60, 2)).astype(np.float32)
    present = np.arange(60) % 7 > 0
    there = rows[present]
    expected = {
        "present": len(there),
        "items": 60,
        "constant": int((there[:, 0] == there[:, 1]).sum()),
        "duplicates": len(there) - len(np.unique(there, axis=0)),
    }
    assert ItemFeature(rows, present).counts() == expected
    monkeypatch.setattr("mmbench.data.features.BLOCK_NUMBERS", 10)
    assert ItemFeature(rows, present).counts() == expected
