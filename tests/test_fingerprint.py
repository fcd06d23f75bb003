"""Fingerprints decide whether two runs saw the same thing."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from mmbench import fingerprint

BASE = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_memory_layout_does_not_matter() -> None:
    expected = fingerprint.of_arrays(BASE)
    assert fingerprint.of_arrays(np.asfortranarray(BASE)) == expected
    assert fingerprint.of_arrays(np.repeat(BASE, 2, axis=0)[::2]) == expected


@pytest.mark.parametrize(
    "other",
    [
        BASE.astype(np.float64),
        BASE.reshape(4, 3),
        BASE.T,
        BASE[::-1],
        np.where(BASE == 7, np.float32(7.0000005), BASE),
    ],
    ids=["dtype", "shape", "transposed", "order", "one-value"],
)
def test_type_shape_and_content_matter(other: np.ndarray) -> None:
    assert fingerprint.of_arrays(other) != fingerprint.of_arrays(BASE)


def test_where_one_array_ends_matters() -> None:
    whole = np.arange(4)
    assert fingerprint.of_arrays(whole[:1], whole[1:]) != fingerprint.of_arrays(whole[:3], whole[3:])
    assert fingerprint.of_arrays(whole, whole[:0]) != fingerprint.of_arrays(whole)


def test_json_is_hashed_in_its_one_spelling() -> None:
    text = '{"a":[1,2.5,"é",null,true],"b":{"c":1}}'
    assert fingerprint.canonical_json({"b": {"c": 1}, "a": [1, 2.5, "é", None, True]}) == text
    assert (
        fingerprint.of_json({"b": {"c": 1}, "a": (1, 2.5, "é", None, True)})
        == hashlib.sha256(text.encode("utf-8")).hexdigest()
    )


def test_order_of_a_list_matters() -> None:
    assert fingerprint.of_strings(["a", "b"]) != fingerprint.of_strings(["b", "a"])
    assert fingerprint.of_strings(["ab", ""]) != fingerprint.of_strings(["a", "b"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_spell_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        fingerprint.of_json({"x": value})
