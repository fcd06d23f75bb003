from __future__ import annotations

import math
from typing import Any

import pytest

from mmbench.nn.content_weights import content_shares, weighed
from mmbench.nn.hyperparameters import is_read
from mmbench.nn.item_graphs import modality_shares
from tests.conftest import BlockWorld

THREE = ("audio", "image", "text")


@pytest.mark.parametrize(
    ("relative", "shares"),
    [
        ({}, [1 / 3, 1 / 3, 1 / 3]),
        ({"audio": 2.0, "image": 1.0}, [0.5, 0.25, 0.25]),  # text, which is not named, weighs 1
        ({"audio": 0.0}, [0.0, 0.2, 0.8]),  # of the two that are left, the first has its share
        ({"image": 0.0}, [0.2, 0.0, 0.8]),
        ({"audio": 0.0, "text": 0.0}, [0.0, 1.0, 0.0]),
        ({"audio": 0.0, "image": 0.0, "text": 0.0}, [1 / 3, 1 / 3, 1 / 3]),  # none is preferred to another
    ],
)
def test_shares_of_three(relative: dict[str, float], shares: list[float]) -> None:
    assert modality_shares(THREE, 0.2, relative) == pytest.approx(shares)


def test_relative_weights_are_for_more_than_two() -> None:
    assert modality_shares(["image", "text"], 0.2, {"image": 0.0, "text": 7.0}) == [0.2, 0.8]
    assert modality_shares(["text"], 0.2, {"text": 0.0}) == [1.0]
    assert modality_shares([], 0.2, {"text": 0.0}) == []


def test_equal_shares_change_nothing(block_world: BlockWorld) -> None:
    for names in ((), ("text",), ("image", "text"), THREE):
        data = block_world.data(names)
        same, weights = weighed(data, 0.5, None)
        assert same is data
        assert weights == dict.fromkeys(names, 1.0)


@pytest.mark.parametrize(
    ("names", "keywords", "expected"),
    [
        (("image", "text"), {"first_modality_weight": 0.2}, {"image": 0.4, "text": 1.6}),
        (("image", "text"), {"first_modality_weight": 0.0}, {"text": 1.0}),
        (("image", "text"), {"first_modality_weight": 1.0}, {"image": 1.0}),
        (("text",), {"first_modality_weight": 0.0}, {"text": 1.0}),
        (THREE, {"modality_weights": {"audio": 4.0}}, {"audio": 2.0, "image": 0.5, "text": 0.5}),
        (THREE, {"modality_weights": {"text": 0.0}}, {"audio": 1.0, "image": 1.0}),
        (THREE, {"modality_weights": {"text": 0.0}, "first_modality_weight": 0.0}, {"image": 1.0}),
        (THREE, {"content_weight": 0.0}, {}),
        (("text",), {"content_weight": 0.0}, {}),
        ((), {"content_weight": 0.0}, {}),
    ],
)
def test_what_has_no_weight_is_left_out(
    names: tuple[str, ...], keywords: dict[str, Any], expected: dict[str, float], block_world: BlockWorld
) -> None:
    """The others weigh what they weigh without it, and their mean is 1."""
    data = block_world.data(names)
    rest, weights = weighed(data, **{"first_modality_weight": 0.5, "modality_weights": None, **keywords})
    assert weights == pytest.approx(expected)
    assert list(rest.features) == list(rest.present) == list(expected)
    assert all(rest.features[name] is data.features[name] for name in expected)
    assert rest.edge_index is data.edge_index


@pytest.mark.parametrize("present", [(), ("text",), ("image", "text"), THREE])
def test_what_is_not_read_makes_no_difference(present: tuple[str, ...], block_world: BlockWorld) -> None:
    data = block_world.data(present)
    read = dict.fromkeys(("first_modality_weight", *(f"modality_weights.{name}" for name in THREE)), False)
    for relative in (dict.fromkeys(THREE, 1.0), *({**dict.fromkeys(THREE, 1.0), name: 0.0} for name in THREE)):
        found = weighed(data, 0.5, relative)[1]
        read["first_modality_weight"] |= weighed(data, 0.25, relative)[1] != found
        for name in THREE:
            read[f"modality_weights.{name}"] |= weighed(data, 0.5, {**relative, name: 2.0})[1] != found
    assert {name: is_read(name, present) for name in read} == read
    assert is_read("reg_weight", present)
    for name in ("content_weight", "content_reg_weight"):
        assert is_read(name, present) == bool(present)
    assert is_read("cl_weight", present, {"cl_weight"}) == bool(present)
    assert {name for name in THREE if is_read(f"k_of.{name}", present)} == {*present}


def test_a_reference_keeps_what_has_no_weight(block_world: BlockWorld) -> None:
    data = block_world.data(("image", "text"))
    same, weights = weighed(data, 0.0, None, content_weight=0.0, leave_out=False)
    assert same is data
    assert weights == {"image": 0.0, "text": 2.0}


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "1"])
def test_an_impossible_weight_is_named(value: Any, block_world: BlockWorld) -> None:
    data = block_world.data(("text",))
    with pytest.raises(ValueError, match=r"content_weight=\S+ must be a number of at least 0"):
        weighed(data, 0.5, None, content_weight=value)
    with pytest.raises(ValueError, match=r"cl_weight=\S+ must be a number of at least 0"):
        weighed(data, 0.5, None, cl_weight=value)
    with pytest.raises(ValueError, match=r"modality_weights\.audio=\S+ must be a number of at least 0"):
        weighed(data, 0.5, {"audio": value})
    with pytest.raises(ValueError, match=r"the weight of the first modality is 1\.5; it must lie between 0 and 1"):
        weighed(data, 1.5, None)


def test_shares_of_content_add_up_to_its_weight(block_world: BlockWorld) -> None:
    both, three = block_world.data(("image", "text")), block_world.data(THREE)
    assert content_shares(both, 3.0, 0.2, None) == pytest.approx({"image": 0.6, "text": 2.4})
    assert content_shares(both, 3.0, 1.0, None) == {"image": 3.0}
    assert content_shares(both, 0.0, 0.2, None) == {}
    assert content_shares(three, 2.0, 0.2, {"audio": 0.0}) == pytest.approx({"image": 0.4, "text": 1.6})
    assert content_shares(three, 3.0, 0.2, {"audio": 4.0}) == pytest.approx({"audio": 2.0, "image": 0.5, "text": 0.5})
    assert content_shares(block_world.data(()), 3.0, 0.2, None) == {}
