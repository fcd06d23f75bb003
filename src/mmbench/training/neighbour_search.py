"""Neighbour lists of a sweep: found once for all its processes, exactly or, where asked for, approximately.

Large lists are kept in the sweep's folder under the hash of what they are made of; the folder can be deleted at any
time. Approximate search is never silent: its recall is measured against exact lists of a sample and recorded.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import importlib.util
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from torch import Tensor

from mmbench.messages import Refusal
from mmbench.nn.item_neighbours import Neighbours, directions, found_by, knn
from mmbench.nn.nearest import best_of
from mmbench.store.files import write_atomic
from mmbench.store.schema import Approximation

MODES = ("exact", "approximate")
#: Up to so many items lists are exact in either mode.
APPROXIMATE_ABOVE = 100_000
#: Lists are kept in a file if finding them exactly takes at least so many multiplications: some seconds.
KEPT_ABOVE = 5e10
#: Candidates of the first pass per neighbour, and the share of the clusters that is looked at.
CANDIDATES, PROBED = 2, 1 / 32
#: Items whose exact lists say what the recall is.
SAMPLE = 1000
#: Candidates scored at once, in numbers.
BLOCK_NUMBERS = 1 << 22


def check_mode(mode: str) -> None:
    """Refuse a way of searching that is unknown or not installed.

    Raises:
        ValueError: saying what is allowed or missing.
    """
    if mode not in MODES:
        raise Refusal(
            "training.neighbours={mode} is unknown; it is {first} or {second}",
            mode=mode,
            first=MODES[0],
            second=MODES[1],
        )
    if mode == "approximate" and importlib.util.find_spec("faiss") is None:
        raise Refusal("training.neighbours=approximate needs faiss: pip install mmbench[ann]")


class Graphs:
    """The way a training finds its neighbour lists.

    Args:
        mode: ``exact``, or ``approximate`` for catalogues of more than :data:`APPROXIMATE_ABOVE` items.
        folder: where large lists are kept for other processes, or None.
    """

    def __init__(self, mode: str = "exact", folder: Path | None = None) -> None:
        check_mode(mode)
        self.name = mode
        self.folder = folder
        self.approximations: list[Approximation] = []

    def find(self, key: str, features: Tensor, present: Tensor, k: int, shrink: float) -> Neighbours:
        """Lists of at least ``k`` neighbours: those of a file, or computed while others wait for them."""
        if self.folder is None or len(features) ** 2 * features.shape[1] < KEPT_ABOVE:
            return self._compute(features, present, k, shrink)
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{key}.npz"
        with _alone(file.with_suffix(".lock")):
            lists = _read(file)
            if lists is None or lists.k < min(k, len(lists.items)):
                lists = self._compute(features, present, k, shrink)
                _write(file, lists)
        return lists

    def used(self, lists: Neighbours) -> None:
        """Note what a record has to say of approximate lists."""
        if lists.recall is None:
            return
        note = Approximation(
            items=lists.n_items,
            k=lists.k,
            recall=round(lists.recall, 6),
            sample=SAMPLE,
            library=f"faiss {importlib.metadata.version('faiss-cpu')}",
        )
        if note not in self.approximations:
            self.approximations.append(note)

    def _compute(self, features: Tensor, present: Tensor, k: int, shrink: float) -> Neighbours:
        if self.name == "exact" or int(present.sum()) <= APPROXIMATE_ABOVE:
            return knn(features, present, k, shrink=shrink, progress=Bar(int(present.sum())))
        lists = approximate_knn(features, present, k, shrink=shrink)
        print(
            f"approximate neighbours of {lists.n_items:,} items: {lists.recall:.4f} of the exact {lists.k} found, "
            f"measured on {SAMPLE:,} items",
            file=sys.stderr,
            flush=True,
        )
        return lists


@contextlib.contextmanager
def searching(mode: str, folder: Path | None = None) -> Iterator[Graphs]:
    """Let models built in the block find their neighbours in the given way, see :class:`Graphs`."""
    graphs = Graphs(mode, folder)
    with found_by(graphs):
        yield graphs


def approximate_knn(features: Tensor, present: Tensor, k: int, *, shrink: float = 0.0) -> Neighbours:
    """:func:`mmbench.nn.item_neighbours.knn` among candidates of an inverted file, each candidate scored exactly.

    Items are clustered (k-means of faiss, fixed seed) and an item's candidates are the best of the nearest clusters. An
    item that gets too few of them has an exact list.

    Returns:
        The lists with their recall: the share of the exact neighbours of :data:`SAMPLE` items that were found.
    """
    items, unit, norm = directions(features, present)
    n = len(items)
    k = min(k, n)
    candidates = _candidates(unit.float(), min(n, CANDIDATES * k))
    scores = _Scores(unit, norm, shrink)
    indices, values = torch.empty(n, k, dtype=torch.int64), torch.empty(n, k, dtype=features.dtype)
    for rows in torch.arange(n).split(max(1, BLOCK_NUMBERS // (candidates.shape[1] * unit.shape[1]))):
        others = candidates[rows].clamp_min(0)
        of_others = scores.of(rows, others)
        place = best_of(of_others, rows, others, k, n)
        indices[rows], values[rows] = others.gather(1, place), of_others.gather(1, place)
    few = torch.nonzero((candidates < 0).any(1)).squeeze(1)
    for rows in few.split(max(1, BLOCK_NUMBERS // n)):
        indices[rows] = scores.exact(rows, k)
        values[rows] = scores.of(rows, indices[rows])
    sample = torch.linspace(0, n - 1, min(n, SAMPLE)).long()
    truth = torch.cat([scores.exact(rows, k) for rows in sample.split(max(1, BLOCK_NUMBERS // n))])
    hits = (indices[sample].unsqueeze(2) == truth.unsqueeze(1)).any(2)
    return Neighbours(len(features), items, items[indices], values, float(hits.double().mean()))


@dataclass(frozen=True)
class _Scores:
    """Similarities of items given by their directions ``(n, d)`` and lengths ``(n,)``."""

    unit: Tensor
    norm: Tensor
    shrink: float

    def of(self, rows: Tensor, others: Tensor) -> Tensor:
        """Of items ``(b,)`` to other items ``(b, c)``: ``(b, c)``."""
        cosines = torch.bmm(self.unit[others], self.unit[rows].unsqueeze(2)).squeeze(2)
        return cosines / (1.0 + self.shrink / (self.norm[rows].unsqueeze(1) * self.norm[others]))

    def exact(self, rows: Tensor, k: int) -> Tensor:
        """Exact neighbours of items ``(b,)``: ``(b, k)``."""
        n = len(self.unit)
        cosines = self.unit[rows] @ self.unit.T
        of_all = cosines / (1.0 + self.shrink / (self.norm[rows].unsqueeze(1) * self.norm))
        return best_of(of_all, rows, torch.arange(n).expand(len(rows), n), k, n)


def _candidates(unit: Tensor, count: int) -> Tensor:
    """Rows of the nearest clusters with the largest inner products, ``(n, count)``; -1 where there are too few."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(torch.get_num_threads())
    try:
        rows = np.ascontiguousarray(unit.numpy())
        d, clusters = rows.shape[1], int(4 * len(rows) ** 0.5)
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(d), d, clusters, faiss.METRIC_INNER_PRODUCT)
        index.cp.max_points_per_centroid = 64
        index.train(rows)
        index.add(rows)
        index.nprobe = max(1, round(clusters * PROBED))
        bar = Bar(len(rows))
        rows_found = []
        for begin in range(0, len(rows), step := 4096):
            rows_found.append(torch.from_numpy(index.search(rows[begin : begin + step], count)[1]))
            bar(min(begin + step, len(rows)))
        return torch.cat(rows_found)
    finally:
        faiss.omp_set_num_threads(before)


class Bar:
    """Tells how far a search is, once it takes longer than a moment.

    Args:
        total: number of items.
        out: where to write.
        after: seconds before the first line.
        every: seconds between two lines where the output is no terminal.
    """

    def __init__(self, total: int, out: TextIO | None = None, after: float = 5.0, every: float = 30.0) -> None:
        self.total, self.out, self.every = total, out or sys.stderr, every
        self.began = time.monotonic()
        self.next = self.began + after
        self.told = False

    def __call__(self, done: int) -> None:
        """Say that ``done`` items have their lists."""
        now = time.monotonic()
        if now < self.next and not (self.told and done >= self.total):
            return
        terminal = self.out.isatty()
        self.told, self.next = True, now + (0.5 if terminal else self.every)
        share = done / max(1, self.total)
        left = (now - self.began) * (1 - share) / max(share, 1e-9)
        drawn = "#" * round(20 * share)
        end = "\r" if terminal and done < self.total else "\n"
        self.out.write(f"neighbours of {self.total:,} items [{drawn:.<20}] {share:4.0%}, {left:.0f} s left{end}")
        self.out.flush()


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock among the processes that share a folder; it ends with its holder."""
    with lock.open("w") as handle:
        fcntl.lockf(handle, fcntl.LOCK_EX)
        yield


def _read(file: Path) -> Neighbours | None:
    """Lists from a file; None without a readable one."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            indices = torch.from_numpy(stored["indices"].astype(np.int64))
            items, values = torch.from_numpy(stored["items"]), torch.from_numpy(stored["values"])
            recall = float(stored["recall"])
            return Neighbours(int(stored["n_items"]), items, indices, values, None if np.isnan(recall) else recall)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _write(file: Path, lists: Neighbours) -> None:
    recall = np.nan if lists.recall is None else lists.recall
    arrays = {"items": lists.items.numpy(), "indices": lists.indices.numpy().astype(np.int32)}
    arrays |= {"values": lists.values.numpy(), "n_items": np.array(lists.n_items), "recall": np.array(recall)}

    def save(target: Path) -> None:
        with target.open("wb") as handle:
            np.savez(handle, **arrays)  # type: ignore[arg-type]

    write_atomic(file, save)
