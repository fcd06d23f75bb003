"""Item neighbour lists, computed once for all processes of a sweep, by exact or by approximate search.

Large lists are stored in the sweep's folder under the hash of their inputs; the folder can be deleted at any time. An
approximate search always measures its recall against exact lists of a sample, and the record of the training holds it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from torch import Tensor

from mmbench.messages import Message, Refusal, Translator
from mmbench.nn.item_neighbours import Neighbours, directions, found_by, knn
from mmbench.nn.nearest import best_of
from mmbench.store.files import read_state, write_atomic
from mmbench.store.leases import FileLeases, holding
from mmbench.store.schema import Approximation

MODES = ("exact", "approximate")
#: Up to this number of items, lists are exact in either mode.
APPROXIMATE_ABOVE = 100_000
#: Lists are stored in a file if an exact search takes at least this number of multiplications, about some seconds.
KEPT_ABOVE = 5e10
#: Candidates per neighbour in the first pass, and the share of clusters that is searched.
CANDIDATES, PROBED = 2, 1 / 32
#: Number of items whose exact lists are computed to measure the recall.
SAMPLE = 1000
#: Seconds between two looks for lists that another process computes.
POLL = 0.2
#: Numbers in a block of candidates that is scored at once.
BLOCK_NUMBERS = 1 << 22


def check_mode(mode: str) -> None:
    """Refuse a search mode that is unknown or whose library is not installed.

    Raises:
        ValueError: with the allowed modes or the missing library.
    """
    if mode not in MODES:
        raise Refusal(
            "training.neighbours={mode} is unknown; it is {first} or {second}",
            mode=mode,
            first=MODES[0],
            second=MODES[1],
        )
    if mode == "approximate" and importlib.util.find_spec("faiss") is None:
        raise Refusal("training.neighbours=approximate needs faiss: pip install 'mmbench[ann]'")


class Graphs:
    """Computes or loads the neighbour lists of a training.

    Args:
        mode: ``exact``, or ``approximate`` for catalogues of more than :data:`APPROXIMATE_ABOVE` items.
        folder: where large lists are stored for other processes, or None.
        translator: language of what is printed; by default English.
    """

    def __init__(self, mode: str = "exact", folder: Path | None = None, translator: Translator | None = None) -> None:
        check_mode(mode)
        self.translator = translator or Translator()
        self.name = mode
        self.folder = folder
        self.approximations: list[Approximation] = []

    def is_exact(self, present: Tensor) -> bool:
        """Whether lists of these items are exact."""
        return self.name == "exact" or int(present.sum()) <= APPROXIMATE_ABOVE

    def find(self, key: str, features: Tensor, present: Tensor, k: int, shrink: float) -> Neighbours:
        """Return lists of at least ``k`` neighbours, read from a file or computed while other processes wait."""
        if self.folder is None or len(features) ** 2 * features.shape[1] < KEPT_ABOVE:
            return self._compute(features, present, k, shrink)
        file = self.folder / f"{key}.npz"
        # A lease and no lock: one worker that is stopped must not stop all others.
        leases = FileLeases(self.folder)
        while (lists := _read(file, k)) is None:
            try:
                claimed = leases.claim(key)
            except OSError:  # a full disk: the file only spares other processes what this one computes
                return self._compute(features, present, k, shrink)
            if claimed:
                with holding(leases, key):
                    lists = _read(file, k)  # another process may have written it just before
                    if lists is None:
                        lists = self._compute(features, present, k, shrink)
                        with contextlib.suppress(OSError):  # as above
                            _write(file, lists)
                return lists
            time.sleep(POLL)
        return lists

    def used(self, lists: Neighbours) -> None:
        """Note the size, recall and library of approximate lists for the record of the training."""
        if lists.recall is None:
            return
        import faiss

        note = Approximation(
            items=lists.n_items,
            k=lists.k,
            recall=round(lists.recall, 6),
            sample=SAMPLE,
            library=f"faiss {faiss.__version__}",  # whatever package it is of: faiss-cpu, faiss-gpu, conda's
        )
        if note not in self.approximations:
            self.approximations.append(note)

    def _compute(self, features: Tensor, present: Tensor, k: int, shrink: float) -> Neighbours:
        if self.is_exact(present):
            with progress_bar(int(present.sum())) as advance:
                return knn(features, present, k, shrink=shrink, progress=advance)
        lists = approximate_knn(features, present, k, shrink=shrink)
        found = Message(
            "approximate neighbours of {items} items: {recall} of the exact {k} found, measured on {sample} items",
            items=f"{lists.n_items:,}",
            recall=f"{lists.recall:.4f}",
            k=lists.k,
            sample=f"{SAMPLE:,}",
        )
        print(self.translator(found), file=sys.stderr, flush=True)
        return lists


@contextlib.contextmanager
def searching(mode: str, folder: Path | None = None, translator: Translator | None = None) -> Iterator[Graphs]:
    """Let models that are built in the block search their neighbours in this mode, see :class:`Graphs`."""
    graphs = Graphs(mode, folder, translator)
    with found_by(graphs):
        yield graphs


def approximate_knn(features: Tensor, present: Tensor, k: int, *, shrink: float = 0.0) -> Neighbours:
    """:func:`mmbench.nn.item_neighbours.knn` among candidates of an inverted file, each candidate scored exactly.

    Items are clustered (k-means of faiss, fixed seed), and an item's candidates are the best items of its nearest
    clusters. An item with too few candidates gets an exact list.

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
        return self._damped(cosines, self.norm[rows].unsqueeze(1) * self.norm[others])

    def exact(self, rows: Tensor, k: int) -> Tensor:
        """Exact neighbours of items ``(b,)``: ``(b, k)``."""
        n = len(self.unit)
        cosines = self.unit[rows] @ self.unit.T
        of_all = self._damped(cosines, self.norm[rows].unsqueeze(1) * self.norm)
        return best_of(of_all, rows, torch.arange(n).expand(len(rows), n), k, n)

    def _damped(self, cosines: Tensor, norms: Tensor) -> Tensor:
        """The similarities of :func:`mmbench.nn.item_neighbours.knn` from cosines and products of lengths."""
        return cosines / (1.0 + self.shrink / norms)


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
        blocks = []
        with progress_bar(len(rows)) as advance:
            for begin in range(0, len(rows), step := 4096):
                blocks.append(torch.from_numpy(index.search(rows[begin : begin + step], count)[1]))
                advance(min(begin + step, len(rows)))
        return torch.cat(blocks)
    finally:
        faiss.omp_set_num_threads(before)


@contextlib.contextmanager
def progress_bar(total: int, delay: float = 5.0) -> Iterator[Callable[[int], None]]:
    """Show the progress of a search on standard error; nothing is written unless that is a terminal.

    Args:
        total: number of items.
        delay: seconds before the bar appears, so that a short search shows none.

    Yields:
        A function to call with the number of items that are done.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("neighbours of {task.total:,} items"),
        BarColumn(20),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console, disable=not console.is_interactive)
    task = bar.add_task("", total=total)
    visible_from = time.monotonic() + delay

    def advance(done: int) -> None:
        bar.update(task, completed=done)
        if time.monotonic() >= visible_from:
            bar.start()  # does nothing once the bar is visible

    try:
        yield advance
    finally:
        bar.stop()


def _read(file: Path, k: int) -> Neighbours | None:
    """Read lists of at least ``k`` neighbours from a file; None if it is missing, unreadable or has fewer."""
    try:
        stored = read_state(file)
        indices = torch.from_numpy(stored["indices"].astype(np.int64))
        items, values = torch.from_numpy(stored["items"]), torch.from_numpy(stored["values"])
        recall = float(stored["recall"])
        lists = Neighbours(int(stored["n_items"]), items, indices, values, None if np.isnan(recall) else recall)
        return lists if lists.k >= min(k, len(lists.items)) else None
    except (OSError, ValueError, KeyError):
        return None


def _write(file: Path, lists: Neighbours) -> None:
    recall = np.nan if lists.recall is None else lists.recall
    arrays = {"items": lists.items.numpy(), "indices": lists.indices.numpy().astype(np.int32)}
    arrays |= {"values": lists.values.numpy(), "n_items": np.array(lists.n_items), "recall": np.array(recall)}

    def save(target: Path) -> None:
        with target.open("wb") as handle:
            np.savez(handle, **arrays)  # type: ignore[arg-type]

    write_atomic(file, save)
