"""Neighbour lists of a sweep: shared between processes, approximate only where asked for and never silently."""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmbench.messages import Translator
from mmbench.nn import item_neighbours
from mmbench.nn.item_neighbours import CACHED_LISTS, Neighbours, cached_knn, knn
from mmbench.nn.memo import Memo
from mmbench.training import neighbour_search
from mmbench.training.neighbour_search import Graphs, approximate_knn, check_mode, progress_bar, searching
from tests.tiny import make_job, sealed

N = 1500


@pytest.fixture(autouse=True)
def _another_process() -> Iterator[None]:
    item_neighbours._lists = Memo[Neighbours](CACHED_LISTS)
    yield
    item_neighbours._lists = Memo[Neighbours](CACHED_LISTS)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The k of every computation; every list is worth a file."""
    calls: list[int] = []

    def counted(features: Tensor, present: Tensor, k: int, **options: Any) -> Neighbours:
        calls.append(k)
        return knn(features, present, k, **options)

    monkeypatch.setattr(neighbour_search, "knn", counted)
    monkeypatch.setattr(neighbour_search, "KEPT_ABOVE", 0)
    return calls


def clustered(n: int = N, d: int = 16, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(30, d, generator=generator)
    return centres[torch.randint(30, (n,), generator=generator)] + 0.7 * torch.randn(n, d, generator=generator)


def present(n: int = N) -> Tensor:
    return torch.arange(n) % 50 > 0


def found(folder: Path | None, k: int, features: Tensor) -> Neighbours:
    """What a process that has found nothing yet gets."""
    item_neighbours._lists = Memo[Neighbours](CACHED_LISTS)
    with searching("exact", folder):
        return cached_knn(features, present(len(features)), k)


def test_one_process_computes_for_all(tmp_path: Path, computed: list[int]) -> None:
    """A larger list serves every smaller one; only a larger k is computed again, and then kept."""
    features = clustered(200)
    first = found(tmp_path / "graphs", 10, features)
    again = found(tmp_path / "graphs", 5, features)
    assert computed == [64]
    assert torch.equal(again.indices, first.indices[:, :5])
    assert torch.equal(again.values, first.values[:, :5])
    assert torch.equal(again.items, first.items)
    assert found(tmp_path / "graphs", 100, features).k == 100
    assert found(tmp_path / "graphs", 70, features).k == 70
    assert computed == [64, 100]
    found(tmp_path / "graphs", 5, features + 1.0)
    assert computed == [64, 100, 64]


def test_a_damaged_file_is_computed_again(tmp_path: Path, computed: list[int]) -> None:
    features = clustered(200)
    expected = found(tmp_path, 5, features)
    (file,) = tmp_path.glob("*.npz")
    file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(found(tmp_path, 5, features).indices, expected.indices)
    assert computed == [64, 64]


@pytest.mark.parametrize("name", ["_write", "FileLeases"])
def test_a_full_disk_costs_the_file_alone(
    name: str, tmp_path: Path, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    features = clustered(200)
    expected = found(None, 5, features)

    class Full:
        """A lease that cannot be written."""

        def claim(self, key: str) -> bool:
            raise OSError(errno.ENOSPC, "No space left on device")

    def full(*given: object) -> Full:
        return Full() if name == "FileLeases" else Full().claim("")  # type: ignore[return-value]

    monkeypatch.setattr(neighbour_search, name, full)
    assert torch.equal(found(tmp_path, 5, features).indices, expected.indices)
    assert computed == [64, 64]
    assert not list(tmp_path.glob("*.npz"))


def test_small_lists_are_not_worth_a_file(tmp_path: Path) -> None:
    found(tmp_path / "graphs", 5, clustered(200))
    assert not (tmp_path / "graphs").exists()


def test_unknown_modes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"training.neighbours=fast is unknown; it is exact or approximate"):
        check_mode("fast")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check_mode("exact")
    with pytest.raises(ValueError, match=r"training.neighbours=approximate needs faiss: pip install 'mmbench\[ann\]'"):
        make_job(Path("unused"), "model=freedom", "training.neighbours=approximate").task().recipe({})


@pytest.fixture
def approximate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The approximate search on small catalogues."""
    pytest.importorskip("faiss", reason="the extra ann is not installed")
    monkeypatch.setattr(neighbour_search, "APPROXIMATE_ABOVE", 20)


@pytest.mark.usefixtures("approximate")
@pytest.mark.parametrize("shrink", [0.0, 5.0])
def test_what_is_found_is_scored_exactly_and_the_recall_is_true(shrink: float) -> None:
    features, k = clustered(), 20
    features[7] = 0.0
    exact, lists = knn(features, present(), k, shrink=shrink), approximate_knn(features, present(), k, shrink=shrink)
    assert torch.equal(lists.items, exact.items)
    assert lists.indices.shape == exact.indices.shape
    sample = torch.linspace(0, len(exact.items) - 1, neighbour_search.SAMPLE).long()
    hits = (lists.indices[sample].unsqueeze(2) == exact.indices[sample].unsqueeze(1)).any(2)
    assert lists.recall == pytest.approx(hits.double().mean().item(), abs=1e-3)
    assert 0.5 < lists.recall <= 1.0
    same = lists.indices == exact.indices
    assert same[:, 0].double().mean() > 0.9
    torch.testing.assert_close(lists.values[same], exact.values[same], rtol=1e-5, atol=1e-6)
    assert (lists.values.diff(dim=1) <= 1e-5).all()


@pytest.mark.usefixtures("approximate")
def test_approximate_lists_do_not_depend_on_what_was_asked_for_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in memory nor in files: a larger list has more candidates, and another recall."""
    monkeypatch.setattr(neighbour_search, "KEPT_ABOVE", 0)
    monkeypatch.setattr(item_neighbours, "STORED", 4)
    monkeypatch.setattr(neighbour_search, "PROBED", 1e-9)
    features = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))

    def asked(folder: Path, *ks: int) -> tuple[Neighbours, list[int]]:
        with searching("approximate", folder) as search:
            lists = [cached_knn(features, present(300), k) for k in ks]
        return lists[-1], [note.k for note in search.approximations]

    alone, noted = asked(tmp_path / "alone", 3)
    assert (noted, alone.recall) == ([4], pytest.approx(0.9915, abs=0.005))
    item_neighbours._lists = Memo[Neighbours](CACHED_LISTS)
    after_another, noted = asked(tmp_path / "shared", 20, 3)
    assert noted == [32, 4]
    assert len(list((tmp_path / "shared").glob("*.npz"))) == 2
    assert after_another.recall == alone.recall
    assert torch.equal(after_another.indices, alone.indices)
    assert asked(tmp_path / "shared", 20)[0].recall == 1.0


@pytest.mark.usefixtures("approximate")
def test_a_poor_search_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without structure and with one cluster looked at, most neighbours are missed, and the recall says how many."""
    monkeypatch.setattr(neighbour_search, "PROBED", 1e-9)
    features = torch.randn(N, 16, generator=torch.Generator().manual_seed(0))
    lists = approximate_knn(features, present(), 5)
    assert lists.recall is not None
    assert lists.recall < 0.9
    exact = knn(features, present(), 5)
    few = (lists.indices == exact.indices).all(1)
    assert 0 < few.sum() < len(few)


@pytest.mark.usefixtures("approximate")
def test_few_items_are_searched_exactly(capsys: pytest.CaptureFixture[str]) -> None:
    features = clustered(20)
    with searching("approximate") as search:
        lists = cached_knn(features, present(20), 3)
    assert lists.recall is None
    assert search.approximations == []
    assert capsys.readouterr().err == ""


@pytest.mark.thorough
@pytest.mark.usefixtures("approximate")
def test_an_approximation_is_told_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every training that uses it, also those that take the lists from memory."""
    words = ["model=freedom", "training.neighbours=approximate", "modality=image"]
    store = sealed(make_job(tmp_path, *words))
    assert "approximate neighbours of 80 items: 1.0000 of the exact 64 found, measured on" in capsys.readouterr().err
    trainings = store.finished_trainings()
    assert len(trainings) == 2
    for training in trainings.values():
        (note,) = training.approximations
        assert (note.items, note.k, note.recall) == (80, 64, 1.0)
        assert note.library.startswith("faiss ")
    exact = sealed(make_job(tmp_path / "exact", "model=freedom", "modality=image"))
    assert exact.key != store.key
    assert [training.approximations for training in exact.finished_trainings().values()] == [[], []]


@pytest.mark.usefixtures("approximate")
def test_faiss_need_not_come_from_the_package_faiss_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of conda and faiss-gpu are other packages with the same library."""
    version = importlib.metadata.version

    def of_other_packages(name: str) -> str:
        if name == "faiss-cpu":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", of_other_packages)
    with searching("approximate") as search:
        cached_knn(clustered(), present(), 5)
    (note,) = search.approximations
    assert note.library == f"faiss {sys.modules['faiss'].__version__}"


@pytest.mark.usefixtures("approximate")
def test_an_approximation_is_told_in_the_language_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with searching("approximate", None, Translator("ja")):
        cached_knn(clustered(), present(), 5)
    assert capsys.readouterr().err == (
        "商品1,500個の近傍を近似で求めました: 商品1,000個で測ると、正確な近傍64個のうち1.0000の割合が見つかりました\n"
    )


@pytest.mark.usefixtures("approximate")
def test_the_recall_survives_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour_search, "KEPT_ABOVE", 0)
    notes = []
    for _ in range(2):
        item_neighbours._lists = Memo[Neighbours](CACHED_LISTS)
        with searching("approximate", tmp_path) as search:
            cached_knn(clustered(), present(), 5)
        notes.append(search.approximations)
    assert notes[0] == notes[1] != []


def test_the_bar_follows_the_search(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_a_terminal(monkeypatch)
    monkeypatch.setattr("mmbench.nn.nearest.BLOCK_ENTRIES", 2000)
    monkeypatch.setattr(neighbour_search, "progress_bar", lambda total: progress_bar(total, delay=0.0))
    features = clustered(100)
    Graphs().find("key", features, torch.ones(100, dtype=torch.bool), 5, 0.0)
    shown = capsys.readouterr().err
    assert "neighbours of 100 items" in shown
    assert "100%" in shown


def test_a_quick_search_shows_no_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_a_terminal(monkeypatch)
    with progress_bar(1000) as advance:
        advance(1000)
    assert capsys.readouterr().err == ""


def test_without_a_terminal_nothing_is_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with progress_bar(1000, delay=0.0) as advance:
        advance(500)
        advance(1000)
    assert capsys.readouterr() == ("", "")


def as_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rich take standard error for a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
