"""What is kept for the next training: by content, the last used ones, nothing that does not serve."""

from __future__ import annotations

from collections import OrderedDict
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.lightgcn import LightGCN
from mmbench.nn import alternating_least_squares, item_neighbours, user_graph
from mmbench.nn.alternating_least_squares import factorised
from mmbench.nn.item_neighbours import cached_knn
from mmbench.nn.memo import KEPT_BYTES, Memo, content_key
from mmbench.nn.user_graph import cached_common_items, common_items


def test_a_key_tells_contents_apart() -> None:
    x = torch.arange(6.0)
    parts = [(x,), (x.double(),), (x.view(2, 3),), (x + 1,), (x, 1), (x, "1"), (x, x), ("a", "b"), ("ab",)]
    assert len({content_key(*part) for part in parts}) == len(parts)
    assert content_key(torch.stack([x, x])[1], 2) == content_key(x.clone(), 2)
    assert content_key(torch.arange(12.0)[::2]) == content_key(torch.arange(0.0, 12.0, 2.0))


def test_a_result_is_made_once_and_the_oldest_is_forgotten() -> None:
    made: list[str] = []
    memo = Memo[str](2)

    def get(key: str) -> str:
        return memo.get(key, lambda: made.append(key) or key.upper())  # type: ignore[func-returns-value]

    assert [get(key) for key in "abab"] == ["A", "B", "A", "B"]
    assert made == ["a", "b"]
    get("a")
    get("c")  # forgets b, which was used before a
    assert (get("a"), get("b")) == ("A", "B")
    assert made == ["a", "b", "c", "b"]


def test_what_does_not_serve_is_made_anew() -> None:
    memo = Memo[int](2)
    assert memo.get("k", lambda: 3) == 3
    assert memo.get("k", lambda: 9, lambda kept: kept >= 3) == 3
    assert memo.get("k", lambda: 9, lambda kept: kept >= 4) == 9
    assert memo.get("k", lambda: 1) == 9


def test_results_share_the_room_and_the_newest_always_has_its_place() -> None:
    memo = Memo[str](8, room=5, size=len)
    made: list[str] = []

    def get(text: str) -> None:
        memo.get(text, lambda: made.append(text) or text)  # type: ignore[func-returns-value]

    for text in ("aa", "bbb", "aa", "c"):  # the last one leaves no room for bbb, which was used before aa
        get(text)
    get("aa")
    get("dddddddd")  # larger than the room: alone, but there
    get("dddddddd")
    get("aa")
    assert made == ["aa", "bbb", "c", "dddddddd", "aa"]


def test_all_memos_are_emptied_where_memory_is_short() -> None:
    made: list[str] = []
    memos = [Memo[list[str]](2), Memo[list[str]](1)]

    def get(key: str) -> list[str]:
        return memos[key == "c"].get(key, lambda: made.append(key) or [key])  # type: ignore[func-returns-value]

    held = [get(key) for key in "abc"]
    Memo.empty_all()
    assert held == [["a"], ["b"], ["c"]]  # whoever uses one goes on with it
    for key in "aabbcc":
        get(key)
    assert made == [*"abc", *"abc"]


@pytest.mark.parametrize(
    ("owner", "name", "memo"),
    [
        (alternating_least_squares, "_factorisations", alternating_least_squares._factorisations),
        (item_neighbours, "_lists", item_neighbours._lists),
    ],
)
def test_what_grows_with_users_or_items_has_a_limit_in_bytes(
    owner: ModuleType, name: str, memo: Memo[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    edges = torch.tensor([[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]])
    features = torch.eye(10)

    def use(weight: float) -> list[Tensor]:
        if owner is item_neighbours:
            lists = cached_knn(features * weight, torch.ones(10, dtype=torch.bool), 9)
            return [lists.indices, lists.values]
        return list(factorised(RecData(25, 10, edges), 16, 1, 0.1, weight))

    monkeypatch.setattr(owner, name, memo)  # other tests put new ones in their place
    monkeypatch.setattr(memo, "_kept", OrderedDict())
    assert memo.room == KEPT_BYTES
    first = use(0.5)
    taken = memo._taken()
    assert taken >= sum(part.nbytes for part in first)
    monkeypatch.setattr(memo, "room", 2 * taken)
    for weight in (0.6, 0.7):
        use(weight)
    assert len(memo._kept) == 2
    for one, other in zip(first, use(0.5), strict=True):  # computed again
        assert torch.equal(one, other)


def test_longer_lists_of_users_serve_shorter_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_graph, "_lists", Memo[tuple[torch.Tensor, torch.Tensor]](4))
    edges = torch.randint(12, (2, 60), generator=torch.Generator().manual_seed(0))
    for k in (5, 3, 8, 40):
        kept, fresh = cached_common_items(edges, 12, 12, k), common_items(edges, 12, 12, k)
        assert all(torch.equal(a, b) for a, b in zip(kept, fresh, strict=True))
    other = cached_common_items(edges[:, :30], 12, 12, 3)
    assert all(torch.equal(a, b) for a, b in zip(other, common_items(edges[:, :30], 12, 12, 3), strict=True))


def test_trainings_on_the_same_interactions_share_their_graph() -> None:
    edges = torch.tensor([[0, 0, 1, 2], [1, 2, 0, 2]])
    first, second = (LightGCN(RecData(3, 3, edges.clone())) for _ in range(2))
    assert first.adjacency.values().data_ptr() == second.adjacency.values().data_ptr()
    other = LightGCN(RecData(3, 3, edges.flip(1)[:, 1:]))
    assert other.adjacency.values().data_ptr() != first.adjacency.values().data_ptr()
