"""The most similar of n things for each of them, exactly, without an ``(n, n)`` array."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mmbench.nn.sparse import BLOCK_ENTRIES

#: Seed of the order that decides ties, see :func:`tie_ring`.
RING_SEED = 0x5EED
#: Numbers of a block that stays in a cache, and rows that such a block has at least.
CACHED_ENTRIES, LEAST_ROWS = 1 << 19, 64
#: Columns that one look at their largest entry decides on.
CHUNK = 32

#: Similarities of the items ``begin`` to ``end`` to all items: ``(end - begin, n)``.
Similarity = Callable[[int, int], Tensor]
#: Called with the number of items that are done.
Progress = Callable[[int], None]

#: By type: integer of the same width, low bits of the mantissa that rounding errors reach, exponent of the tie-break.
_PRECISION = {torch.float32: (torch.int32, 6, -19), torch.float64: (torch.int64, 22, -32)}


def nearest(
    similarity: Similarity,
    n: int,
    k: int,
    *,
    include_self: bool = True,
    width: int = 0,
    progress: Progress | None = None,
    narrow: bool = False,
) -> tuple[Tensor, Tensor]:
    """Exact ``k`` most similar items of each item, in blocks of rows.

    Similarities that differ by no more than rounding errors are ties, and ties go to the next items around one fixed
    random ring, the item itself first. So lists do not depend on the size of blocks or the number of threads, and
    items that are all alike share their neighbours evenly instead of all pointing at the first few. A shorter list is
    the beginning of a longer one.

    Args:
        similarity: gives a block of rows.
        n: number of items.
        k: neighbours per item; at most all items are listed.
        include_self: whether an item competes for its own list.
        width: numbers per row that ``similarity`` needs, where that is more than ``n``.
        progress: called after every block with the number of items that are done.
        narrow: whether blocks are to stay in a cache, because small ones cost ``similarity`` nothing.

    Returns:
        Neighbours and similarities, each ``(n, min(k, n))`` (``n - 1`` without the item itself), best first.
    """
    if n == 0:
        return torch.empty(0, 0, dtype=torch.int64), torch.empty(0, 0)
    k = min(k, n if include_self else n - 1)
    step, ring = _rows_at_once(n, width, narrow), tie_ring(n)
    indices, values = torch.empty(0, k, dtype=torch.int64), torch.empty(0, k)
    for begin in range(0, n, step):
        end = min(begin + step, n)
        block = similarity(begin, end)
        rows = torch.arange(begin, end, device=block.device)
        if not include_self:
            block[rows - begin, rows] = torch.finfo(block.dtype).min / 2
        if not begin:  # what blocks give is written where it stays: joined at the end, lists would lie here twice
            indices, values = rows.new_empty(n, k), block.new_empty(n, k)
        indices[begin:end] = _best(block, rows, ring.to(block.device), k)
        torch.gather(block, 1, indices[begin:end], out=values[begin:end])
        del block  # its memory, still in the cache, serves the next one
        if progress is not None:
            progress(end)
    return indices, values


def _rows_at_once(n: int, width: int, narrow: bool) -> int:
    """Rows of a block, arguments as in :func:`nearest`."""
    most = max(1, BLOCK_ENTRIES // max(n, width))
    return min(most, max(LEAST_ROWS, CACHED_ENTRIES // n)) if narrow else most


def tie_ring(n: int) -> Tensor:
    """The fixed random order of ``n`` items that decides ties, ``(n,)``."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(RING_SEED))


def best_of(similarities: Tensor, rows: Tensor, candidates: Tensor, k: int, n: int) -> Tensor:
    """The ``k`` best of some candidates of each row, in the order of :func:`nearest`: places ``(b, k)`` among them.

    Args:
        similarities: ``(b, c)``.
        rows: the rows' items, ``(b,)``.
        candidates: items, ``(b, c)``.
        k: how many.
        n: number of items.
    """
    keys = order_keys(similarities, rows.unsqueeze(1), candidates, tie_ring(n).to(rows.device))
    return keys.topk(k, dim=1).indices


def order_keys(similarities: Tensor, rows: Tensor, columns: Tensor, ring: Tensor) -> Tensor:
    """A number per pair, larger the nearer in the order of :func:`nearest`; no two of a row are equal.

    It is the similarity without rounding noise, and below its resolution nearness on the ring.

    Args:
        similarities: of any shape.
        rows: the items whose lists these are, of a shape that fits.
        columns: the items that may be listed, likewise.
        ring: see :func:`tie_ring`.
    """
    return _keys(_without_rounding_noise(similarities), rows, columns, ring)


def _best(block: Tensor, rows: Tensor, ring: Tensor, k: int) -> Tensor:
    """Columns of the ``k`` largest entries of each row in the order of :func:`_keys`: ``(b, k)``."""
    # Keys of all entries would cost several passes over the block. One entry more than wanted shows whether rounded
    # similarities alone decide which entries are listed; only rows where they do not need the keys of all entries.
    columns = _promising(block, k + 1)
    best, place = _without_rounding_noise(block.gather(1, columns)).topk(min(k + 1, block.shape[1]), dim=1)
    index = columns.gather(1, place)
    if best.shape[1] > k:
        undecided = torch.nonzero(best[:, k - 1] == best[:, k]).squeeze(1)
        index = index[:, :k]
        if len(undecided):
            everyone = torch.arange(block.shape[1], device=block.device).expand(len(undecided), -1)
            rounded = _without_rounding_noise(block[undecided])
            index[undecided] = _keys(rounded, rows[undecided].unsqueeze(1), everyone, ring).topk(k, dim=1).indices
    # The order within a list does depend on the keys.
    order = order_keys(block.gather(1, index), rows.unsqueeze(1), index, ring).argsort(dim=1, descending=True)
    return index.gather(1, order)


def _promising(block: Tensor, count: int) -> Tensor:
    """Columns that hold the ``count`` largest values of each row of a block ``(b, n)``: ``(b, c)``, each once.

    The chunks with the ``count`` largest maxima hold them: a value in another chunk is at most as large as its
    maximum, hence as ``count`` others. Looking through those is several times as fast as through the whole row.
    """
    n = block.shape[1]
    whole = n // CHUNK * CHUNK
    if 2 * count * CHUNK > n:
        return torch.arange(n, device=block.device).expand(len(block), -1)
    maxima = block[:, :whole].unflatten(1, (-1, CHUNK)).amax(2)
    chunks = maxima.topk(count, dim=1).indices.unsqueeze(2)
    columns = (chunks * CHUNK + torch.arange(CHUNK, device=block.device)).flatten(1)
    rest = torch.arange(whole, n, device=block.device).expand(len(block), -1)
    return torch.cat([columns, rest], dim=1)


def _without_rounding_noise(block: Tensor) -> Tensor:
    """Round away the low bits of the mantissa, so that equal similarities are equal whatever the order of sums."""
    integer, bits, _ = _PRECISION[block.dtype]
    return ((block.view(integer) + (1 << (bits - 1))) & -(1 << bits)).view(block.dtype)


def _keys(rounded: Tensor, rows: Tensor, columns: Tensor, ring: Tensor) -> Tensor:
    """:func:`order_keys` of similarities that are rounded already."""
    n = len(ring)
    nearness = 1.0 - ((ring[columns] - ring[rows]) % n).double() / n
    value = rounded.double()
    return value + (value.abs() * 2.0 ** _PRECISION[rounded.dtype][2] + 1e-300) * nearness
