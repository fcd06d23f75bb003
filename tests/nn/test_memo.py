"""What is kept for the next training: by content, the last used ones, nothing that does not serve."""

from __future__ import annotations

import pytest
import torch

from mmbench.data.recdata import RecData
from mmbench.models.lightgcn import LightGCN
from mmbench.nn import user_graph
from mmbench.nn.memo import Memo, content_key
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
