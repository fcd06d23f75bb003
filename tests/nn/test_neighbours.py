from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from mmbench.nn import neighbours as module
from mmbench.nn.knn import Neighbours, knn
from mmbench.nn.neighbours import cached_knn, found_by
from tests.nn.test_knn import everyone, random_features, same


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    module._lists.clear()
    yield
    module._lists.clear()


def test_a_stored_list_serves_smaller_k(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(features: Tensor, present: Tensor, k: int, *, shrink: float = 0.0) -> Neighbours:
        calls.append(k)
        return knn(features, present, k, shrink=shrink)

    monkeypatch.setattr(module, "knn", counted)
    monkeypatch.setattr(module, "STORED", 8)
    features = random_features()
    assert cached_knn(features, everyone(), 5).k == 5
    assert cached_knn(features.clone(), everyone(), 8).k == 8
    assert calls == [8]
    assert cached_knn(features, everyone(), 20).k == 20
    assert same(cached_knn(features, everyone(), 3), knn(features, everyone(), 3))
    assert calls == [8, 20]
    cached_knn(features, everyone(), 100)
    cached_knn(features, everyone(), 1000)  # there are no more items to list
    assert calls == [8, 20, 100]


def test_the_cache_is_keyed_by_content() -> None:
    features, present = random_features(), everyone()
    stored = cached_knn(features, present, 4)
    features[0] = features[1]  # in place: the same tensor, other content
    assert not same(cached_knn(features, present, 4), stored)
    present[2] = False
    assert 2 not in cached_knn(features, present, 4).items
    assert torch.equal(
        cached_knn(features, present, 4, shrink=9.0).values, knn(features, present, 4, shrink=9.0).values
    )


def test_the_cache_is_bounded() -> None:
    for seed in range(module.CACHED_LISTS + 3):
        cached_knn(random_features(seed=seed), everyone(), 3)
    assert len(module._lists) == module.CACHED_LISTS


class Halved:
    """Finds lists whose similarities are half of what they are."""

    name = "halved"

    def __init__(self) -> None:
        self.told: list[Neighbours] = []

    def find(self, key: str, features: Tensor, present: Tensor, k: int, shrink: float) -> Neighbours:
        return knn(features / 2, present, k, shrink=shrink + 7.0)

    def used(self, lists: Neighbours) -> None:
        self.told.append(lists)


def test_lists_of_another_search_are_never_served() -> None:
    features = random_features()
    exact = cached_knn(features, everyone(), 4)
    search = Halved()
    with found_by(search):
        other = cached_knn(features, everyone(), 4)
        again = cached_knn(features, everyone(), 3)
    assert not same(other, exact)
    assert torch.equal(again.values, other.values[:, :3])
    assert len(search.told) == 2
    assert same(cached_knn(features, everyone(), 4), exact)
