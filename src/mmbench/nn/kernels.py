r"""Operators whose gradients are written by hand, because they then need less memory or less work.

Notation: :math:`g` is the gradient of the loss with respect to the result, ``(n, d)`` or ``(B, d)`` like the result;
matrices of graphs are sparse CSR and constant unless a class says otherwise.
"""
# The docstring of a class describes both of its passes.
# ruff: noqa: D102

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd import Function
from torch.nn import functional

#: Edges whose gradients :class:`WeightedProduct` computes at once; bounds the memory of its backward pass.
BLOCK_EDGES = 1 << 16
#: Logits that :class:`LogSumExp` works on at once: few enough to stay in a cache.
LOGITS_AT_ONCE = 1 << 18
#: Numbers that :class:`ProjectedRows` gathers at once: few enough to stay in a cache until they are multiplied.
GATHERED_ENTRIES = 1 << 20
#: Least lengths of a row in :class:`RowCosines` and :class:`UnitRows`, those of torch's cosine and normalisation.
LEAST_OF_COSINES, LEAST_OF_UNITS = 1e-8, 1e-12


def product(matrix: Tensor, x: Tensor) -> Tensor:
    """Sparse CSR ``(n, m)`` times dense ``(m, d)``, without gradients.

    In float32 on a CPU the rows are summed by torch's embedding bag: its kernel is about four times as fast as the
    sparse product and differs from it by rounding only. In mixed precision x may be narrower than the matrix; the
    product has the type of the matrix, for there is no sparse product of half-precision numbers on every device.
    """
    columns, x = matrix.col_indices(), x.to(matrix.dtype)
    if x.device.type != "cpu" or x.dtype != torch.float32 or not len(columns):
        with torch.autocast(x.device.type, enabled=False):
            return matrix @ x
    with torch.no_grad():
        return functional.embedding_bag(
            columns,
            x.contiguous(),
            matrix.crow_indices(),
            mode="sum",
            per_sample_weights=matrix.values(),
            include_last_offset=True,
        )


def with_values(pattern: Tensor, values: Tensor) -> Tensor:
    """The sparse CSR matrix that has the structure of ``pattern`` and the given values ``(nnz,)``."""
    structure = (pattern.crow_indices(), pattern.col_indices(), values, pattern.shape)
    return torch.sparse_csr_tensor(*structure, check_invariants=False)


def products_of_ends(pattern: Tensor, a: Tensor, b: Tensor) -> Tensor:
    r"""Inner products :math:`\langle a_r, b_c\rangle` for the entries (r, c) of a pattern, without gradients.

    Args:
        pattern: sparse CSR, ``(n, m)``.
        a: ``(n, d)``.
        b: ``(m, d)``.

    Returns:
        ``(nnz,)``, in the order of the entries.
    """
    return torch.sparse.sampled_addmm(pattern, a, b.T, beta=0.0).values()


def add_rows(target: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """Add ``values`` ``(m, d)`` to the rows ``(m,)`` of ``target`` ``(n, d)``, which is changed and returned.

    The order of the additions is fixed on every device, so that results repeat; on a GPU the faster ``index_add_`` does
    not promise that.
    """
    if target.device.type == "cpu":
        return target.index_add_(0, rows, values)
    return target.index_put_((rows,), values, accumulate=True)


class ChosenProducts(Function):
    r"""Inner products :math:`y_{bk} = \langle a_b, r_{p_{bk}}\rangle` with chosen rows, called as ``(a, r, place)``.

    Of shapes ``(B, d)``, ``(m, d)`` and ``(B, k)``. As a sparse matrix g has the entry :math:`g_{bk}` in row b and
    column :math:`p_{bk}`, and

    .. math:: \frac{\partial L}{\partial a} = g\, r, \quad \frac{\partial L}{\partial r} = g^\top a

    No vector is copied for a choice, and of the products of all rows only the chosen ones are computed.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, r: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(a, r, place)
        entries = a.new_zeros(place.numel())
        return products_of_ends(_by_rows(place, entries, len(r)), a, r).view_as(place)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        a, r, place = ctx.saved_tensors
        entries, columns = grads[0].flatten(), place.flatten()
        narrow = columns.to(torch.int16) if len(r) <= torch.iinfo(torch.int16).max else columns  # sorted much sooner
        order = torch.argsort(narrow, stable=True)
        starts = torch.cat([columns.new_zeros(1), torch.bincount(columns, minlength=len(r)).cumsum(0)])
        turned = (starts, order.div(place.shape[1], rounding_mode="floor"), entries.index_select(0, order))
        by_columns = torch.sparse_csr_tensor(*turned, (len(r), len(a)), check_invariants=False)
        return product(_by_rows(place, entries, len(r)), r), product(by_columns, a), None


def _by_rows(place: Tensor, entries: Tensor, n: int) -> Tensor:
    """The sparse CSR matrix ``(B, n)`` whose row b has entries ``(B * k,)`` in the columns ``place[b]``, ``(B, k)``."""
    starts = torch.arange(len(place) + 1, device=place.device) * place.shape[1]
    return torch.sparse_csr_tensor(starts, place.flatten(), entries, (len(place), n), check_invariants=False)


class DirectedProduct(Function):
    r""":math:`y = A x` with a constant matrix, called as ``(matrix, transposed, x)``.

    The gradient of x is :math:`A^\top g`. The transposed matrix is given, because turning a CSR matrix round in every
    step would cost more than the product; for a symmetric graph it is the matrix itself.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, transposed: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(transposed)
        return product(matrix, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, Tensor]:
        (transposed,) = ctx.saved_tensors
        return None, None, product(transposed, grads[0])


class RowsOfProduct(Function):
    r"""Chosen rows N of :math:`y = A x`, each once, called as ``(chosen, transposed, rows, x)``.

    ``chosen`` is the matrix :math:`S_N A` of these rows ``(m,)`` alone, and the gradient of x is
    :math:`A^\top S_N^\top g`: the transposed matrix of all rows is given, because that of the chosen ones would have to
    be made in every step.
    """

    @staticmethod
    def forward(ctx: Any, chosen: Tensor, transposed: Tensor, rows: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(transposed, rows)
        return product(chosen, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, None, Tensor]:
        transposed, rows = ctx.saved_tensors
        (grad,) = grads
        spread = grad.new_zeros(transposed.shape[1], grad.shape[1]).index_copy_(0, rows, grad)
        return None, None, None, product(transposed, spread)


class WeightedProduct(Function):
    r""":math:`y_r = \sum_{(r, c)} w_{rc} x_c` with gradients for the weights too.

    Called as ``(matrix, transposed, edge_index, weights, x)``; the matrices are made of these edges and weights.

    .. math:: \frac{\partial L}{\partial w_{rc}} = \langle g_r, x_c\rangle, \quad
              \frac{\partial L}{\partial x} = W^\top g

    Edges may be given twice, so that the entries of the matrix are not the edges; the inner products are therefore
    taken edge by edge, in blocks, since all gathered rows at once would be an array of ``(n_edges, d)``.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, transposed: Tensor, edge_index: Tensor, weights: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(transposed, edge_index, x)
        return product(matrix, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, None, Tensor, Tensor]:
        transposed, edge_index, x = ctx.saved_tensors
        grad = grads[0].contiguous()
        blocks = zip(*(ends.split(BLOCK_EDGES) for ends in edge_index), strict=True)
        of_weights = torch.cat([(grad[r] * x[c]).sum(1) for r, c in blocks])
        return None, None, None, of_weights, product(transposed, grad)


class EdgeProducts(Function):
    r"""Inner products :math:`p_{rc} = \langle a_r, b_c\rangle` for the entries (r, c) of a pattern.

    Called as ``(pattern, transposed, order, a, b)``: ``transposed`` is the pattern turned round, and ``order`` says
    where in the pattern each entry of it stands.

    .. math:: \frac{\partial L}{\partial a_r} = \sum_c g_{rc}\, b_c, \quad
              \frac{\partial L}{\partial b_c} = \sum_r g_{rc}\, a_r
    """

    @staticmethod
    def forward(ctx: Any, pattern: Tensor, transposed: Tensor, order: Tensor, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(pattern, transposed, order, a, b)
        return products_of_ends(pattern, a, b)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, None, Tensor, Tensor]:
        pattern, transposed, order, a, b = ctx.saved_tensors
        (grad,) = grads
        of_b = product(with_values(transposed, grad.index_select(0, order)), a)
        return None, None, None, product(with_values(pattern, grad), b), of_b


class EdgePropagation(Function):
    r""":math:`y_r = \sum_c w_{rc} x_c` over a pattern, with gradients for the weights and for x.

    Called as ``(pattern, transposed, order, weights, x)``, see :class:`EdgeProducts`.

    .. math:: \frac{\partial L}{\partial w_{rc}} = \langle g_r, x_c\rangle, \quad
              \frac{\partial L}{\partial x_c} = \sum_r w_{rc}\, g_r
    """

    @staticmethod
    def forward(ctx: Any, pattern: Tensor, transposed: Tensor, order: Tensor, weights: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(pattern, transposed, order, weights, x)
        return product(with_values(pattern, weights), x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, None, Tensor, Tensor]:
        pattern, transposed, order, weights, x = ctx.saved_tensors
        grad = grads[0].contiguous()
        of_x = product(with_values(transposed, weights.index_select(0, order)), grad)
        return None, None, None, products_of_ends(pattern, grad, x), of_x


class RowsOfWeightedSum(Function):
    r"""Rows N of a sum of layers, :math:`S_N \sum_{l=0}^{L} W^l x`, with gradients for the weights and for x.

    Called as ``(pattern, reverse, n_layers, nodes, weights, x)``; the pattern is symmetric, and ``reverse`` is the
    place of the entry (c, r) for each entry (r, c). With the layers :math:`y^l = W^l x`, and with
    :math:`G^L = S_N^\top g` and :math:`G^{l-1} = W^\top G^l + S_N^\top g`,

    .. math:: \frac{\partial L}{\partial w_{rc}} = \sum_{l=1}^{L} \langle G^l_r, y^{l-1}_c\rangle, \quad
              \frac{\partial L}{\partial x} = G^0

    As in :class:`RowsOfMean`, no sum over all nodes and no gradient of one exists.
    """

    @staticmethod
    def forward(
        ctx: Any, pattern: Tensor, reverse: Tensor, n_layers: int, nodes: Tensor, weights: Tensor, x: Tensor
    ) -> Tensor:
        matrix, layers, total = with_values(pattern, weights), [x], x.index_select(0, nodes)
        for _ in range(n_layers):
            layers.append(product(matrix, layers[-1]))
            total += layers[-1].index_select(0, nodes)
        ctx.save_for_backward(pattern, reverse, nodes, weights, *layers[:n_layers])
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, None, None, Tensor, Tensor]:
        pattern, reverse, nodes, weights, *layers = ctx.saved_tensors
        (of_rows,) = grads
        transposed = with_values(pattern, weights.index_select(0, reverse))
        grad = add_rows(of_rows.new_zeros(len(pattern), of_rows.shape[1]), nodes, of_rows)
        of_weights = torch.zeros_like(weights)
        for layer in reversed(layers):
            of_weights += products_of_ends(pattern, grad, layer)
            grad = add_rows(product(transposed, grad), nodes, of_rows)
        return None, None, None, None, of_weights, grad


class EdgeSoftmax(Function):
    r"""Softmax over the entries of each row of a pattern, :math:`p_e = e^{s_e} / \sum_{f \in r(e)} e^{s_f}`.

    Called as ``(starts, rows, scores)``: where each row begins, ``(n + 1,)``, the row of every entry and its score,
    ``(nnz,)``.

    .. math:: \frac{\partial L}{\partial s_e} = p_e \Big(g_e - \sum_{f \in r(e)} p_f\, g_f\Big)

    Entries of a row stand together, so that its maximum and its sums take one pass in order; a scatter by row, which
    must take entries in any order, and its derivatives take four times as long.
    """

    @staticmethod
    def forward(ctx: Any, starts: Tensor, rows: Tensor, scores: Tensor) -> Tensor:
        # The largest score is taken out of the exponentials, so that none overflows.
        shares = (scores - torch.segment_reduce(scores, "max", offsets=starts).index_select(0, rows)).exp_()
        shares /= torch.segment_reduce(shares, "sum", offsets=starts).index_select(0, rows)
        ctx.save_for_backward(starts, rows, shares)
        return shares

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, Tensor]:
        starts, rows, shares = ctx.saved_tensors
        weighed = shares * grads[0]
        sums = torch.segment_reduce(weighed, "sum", offsets=starts)
        return None, None, weighed.sub_(shares * sums.index_select(0, rows))


class MeanOfLayers(Function):
    r""":math:`Y = \frac{1}{L+1}\sum_{l=0}^{L} A^l X` over a symmetric graph; keeps no layer in memory.

    Called as ``(adjacency, n_layers, *tables)``; X is the tables stacked, and so is the result, one tensor per table.
    The map is linear and symmetric, so that its gradient is the same sum of g,

    .. math:: \frac{\partial L}{\partial X} = \frac{1}{L+1}\sum_{l=0}^{L} A^l g,

    computed from the inside by Horner's rule: :math:`(I + A + A^2) g = g + A (g + A g)`.
    """

    @staticmethod
    def forward(ctx: Any, adjacency: Tensor, n_layers: int, *tables: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(adjacency)
        ctx.n_layers, ctx.lengths = n_layers, [len(table) for table in tables]
        layer = total = torch.cat(tables)  # a copy also of one table; the first product has read it when it is added to
        for _ in range(n_layers):
            layer = product(adjacency, layer)
            total += layer
        return total.div_(n_layers + 1).split(ctx.lengths)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (adjacency,) = ctx.saved_tensors
        scaled = torch.cat(grads).div_(ctx.n_layers + 1)
        grad = scaled
        for _ in range(ctx.n_layers):
            grad = product(adjacency, grad).add_(scaled)
        return None, None, *grad.split(ctx.lengths)


class RowsOfMean(Function):
    r"""Rows N of :class:`MeanOfLayers` and of X itself, of a graph that need not be symmetric.

    Called as ``(adjacency, transposed, n_layers, nodes, *tables)``. With the selection :math:`S_N`, the results are
    :math:`S_N \frac{1}{L+1}\sum_l A^l X` and :math:`S_N X`, and with their gradients :math:`g` and :math:`h`

    .. math:: \frac{\partial L}{\partial X} = \frac{1}{L+1}\sum_{l=0}^{L} (A^\top)^l S_N^\top g + S_N^\top h

    by Horner's rule. Sums, means and gradients over all nodes never exist: besides the sparse products, a step works on
    the rows of the batch alone.
    """

    @staticmethod
    def forward(
        ctx: Any, adjacency: Tensor, transposed: Tensor, n_layers: int, nodes: Tensor, *tables: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(transposed, nodes)
        ctx.n_layers, ctx.lengths = n_layers, [len(table) for table in tables]
        layer = torch.cat(tables)
        ego = layer.index_select(0, nodes)
        total = ego.clone()
        for _ in range(n_layers):
            layer = product(adjacency, layer)
            total += layer.index_select(0, nodes)
        return total.div_(n_layers + 1), ego

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        transposed, nodes = ctx.saved_tensors
        of_total, of_ego = grads[0] / (ctx.n_layers + 1), grads[1]
        grad = add_rows(of_total.new_zeros(len(transposed), of_total.shape[1]), nodes, of_total)
        for _ in range(ctx.n_layers):
            grad = add_rows(product(transposed, grad), nodes, of_total)
        return None, None, None, None, *add_rows(grad, nodes, of_ego).split(ctx.lengths)


class ChosenRows(Function):
    r"""Rows N of a table, :math:`S_N X`; called as ``(rows, table)``, where a row may be asked for several times.

    .. math:: \frac{\partial L}{\partial X} = S_N^\top g

    On a CPU :func:`add_rows` takes a fraction of the time of the gradient of torch's embedding, and it adds in the same
    order.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, table: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.length = len(table)
        return table.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        (rows,) = ctx.saved_tensors
        (grad,) = grads
        return None, add_rows(grad.new_zeros(ctx.length, *grad.shape[1:]), rows, grad)


def _over(grad: Tensor, norm: Tensor) -> Tensor:
    """The gradient of a norm over that norm, zero where it is zero."""
    return (grad / norm).masked_fill_(norm == 0.0, 0.0)


class RowsAndNorm(Function):
    r"""Rows N of a table and the norm of all of it, :math:`S_N X` and :math:`\|X\|_F`; called as ``(rows, table)``.

    .. math:: \frac{\partial L}{\partial X} = S_N^\top g + h\, X / \|X\|_F

    with the gradients g of the rows and h of the norm; a table of zeros gets none from its norm. The gradient is one
    array that the rows are added to, where automatic differentiation would make one for each use of the table and add
    them up.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        norm = torch.linalg.vector_norm(table)
        ctx.save_for_backward(rows, table, norm)
        return table.index_select(0, rows), norm

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        rows, table, norm = ctx.saved_tensors
        of_rows, of_norm = grads
        return None, add_rows(table * _over(of_norm, norm), rows, of_rows)


class Norm(Function):
    r"""Norm of all entries of a tensor, :math:`\|X\|_F`.

    .. math:: \frac{\partial L}{\partial X} = g\, X / \|X\|_F

    and zero for a tensor of zeros. One pass over the tensor, where that of torch takes three.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x)
        ctx.save_for_backward(x, norm)
        return norm

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        x, norm = ctx.saved_tensors
        return x * _over(grads[0], norm)


class ScoreDifferences(Function):
    r"""By how much inner products differ, :math:`x_b = \langle u_b, p_b - n_b\rangle`; called as ``(u, p, n)``.

    .. math:: \frac{\partial L}{\partial u_b} = g_b\,(p_b - n_b), \quad
              \frac{\partial L}{\partial p_b} = g_b\,u_b = -\frac{\partial L}{\partial n_b}

    That is half as many passes over the rows ``(B, d)`` as two inner products take.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, p: Tensor, n: Tensor) -> Tensor:
        difference = p - n
        ctx.save_for_backward(u, difference)
        return (u * difference).sum(1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u, difference = ctx.saved_tensors
        grad = grads[0].unsqueeze(1)
        of_p = u * grad
        return difference * grad, of_p, -of_p


class UnitRows(Function):
    r"""Rows of length one, :math:`y_k = x_k / \|x_k\|`; called as ``(x,)``.

    Lengths below :data:`LEAST_OF_UNITS` count as that, so that a row of zeros stays one.

    .. math:: \frac{\partial L}{\partial x_k} = \frac{1}{\|x_k\|} \left(g_k - \langle g_k, y_k\rangle\, y_k\right)

    without the second term where a row is too short. Automatic differentiation takes three times as many passes over
    the table.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(LEAST_OF_UNITS)
        unit = x / length
        ctx.save_for_backward(unit, length)
        return unit

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        unit, length = ctx.saved_tensors
        (grad,) = grads
        along = (grad * unit).sum(1, keepdim=True).masked_fill_(length == LEAST_OF_UNITS, 0.0)
        return torch.addcmul(grad, unit, along, value=-1.0).div_(length)


class RowCosines(Function):
    r"""Cosines of the rows of a and b, :math:`c_k = \langle \hat a_k, \hat b_k\rangle`; called as ``(a, b)``.

    Lengths below :data:`LEAST_OF_COSINES` count as that. No gradient reaches b, and

    .. math:: \frac{\partial L}{\partial a_k} = \frac{g_k}{\|a_k\|} \left(\hat b_k - c_k\, \hat a_k\right)

    without the second term where the length of a is too small. Each way takes a few passes over the rows, where
    automatic differentiation takes two dozen.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        of_a, of_b = (torch.linalg.vector_norm(rows, dim=1) for rows in (a, b))
        length, scale = of_a.clamp_min(LEAST_OF_COSINES), of_b.clamp_min(LEAST_OF_COSINES)
        cosines = (a * b).sum(1) / (length * scale)
        ctx.save_for_backward(a, b, length, scale, cosines)
        return cosines

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        a, b, length, scale, cosines = ctx.saved_tensors
        of_length = (grads[0] * cosines / length.square()).masked_fill_(length == LEAST_OF_COSINES, 0.0)
        return (b * (grads[0] / (length * scale)).unsqueeze(1)).addcmul_(a, of_length.unsqueeze(1), value=-1.0), None


class LogSumExp(Function):
    r""":math:`y_k = \log\sum_l w_l \exp(a_k \cdot b_l)` with constant weights.

    Called as ``(a, b, log_weights)`` of shapes ``(B, d)``, ``(n, d)`` and ``(n,)``; None stands for weights of one.
    With the shares :math:`p_{kl} = w_l \exp(a_k \cdot b_l) / \exp(y_k)`, which sum to one over l,

    .. math:: \frac{\partial L}{\partial a_k} = g_k \sum_l p_{kl}\, b_l, \quad
              \frac{\partial L}{\partial b_l} = \sum_k p_{kl}\, g_k\, a_k

    One array ``(B, n)`` is allocated and turned from logits into exponentials in place, a block of rows at a time that
    stays in a cache; automatic differentiation would keep several.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, log_weights: Tensor | None) -> Tensor:
        exponentials = a @ b.T
        step, found = max(1, len(a) if a.device.type != "cpu" else LOGITS_AT_ONCE // max(1, len(b))), []
        for block in exponentials.split(step):
            if log_weights is not None:
                block += log_weights
            largest = block.amax(1)  # taken out of the exponentials, so that none overflows
            found.append((block.sub_(largest.unsqueeze(1)).exp_().sum(1), largest))
        sums, largest = (torch.cat(parts) for parts in zip(*found, strict=True))
        ctx.save_for_backward(a, b, exponentials, sums)
        return sums.log() + largest

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        a, b, exponentials, sums = ctx.saved_tensors
        scale = (grads[0] / sums).unsqueeze(1)
        # In mixed precision the exponentials are narrower than what they were computed from.
        kind = exponentials.dtype
        # Turned round twice: a product whose first factor is transposed and large takes twice as long.
        return scale * (exponentials @ b.to(kind)), ((scale * a).to(kind).T @ exponentials).T, None


class ProjectedRows(Function):
    r""":math:`y_k = W f_{r_k} + b` for chosen rows r of a constant table, called as ``(table, rows, weight, bias)``.

    .. math:: \frac{\partial L}{\partial W} = \sum_k g_k f_{r_k}^\top, \quad \frac{\partial L}{\partial b} = \sum_k g_k

    The rows are gathered block by block and kept for the backward pass. Where ``rows`` is None, all of them are mapped
    as they lie, in the same blocks: products with so few columns are up to a fifth sooner while a block stays in a
    cache. The last block then begins before the end of the one before it: a product of one to three rows sums in
    another order than one of many, and rounding would tell items with equal rows apart.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor | None, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.step, ctx.dtype = max(1, GATHERED_ENTRIES // table.shape[1]), weight.dtype
        blocks = (
            table.split(ctx.step) if rows is None else [table.index_select(0, part) for part in rows.split(ctx.step)]
        )
        ctx.save_for_backward(*blocks)
        last = blocks[-1] if rows is not None else table[-ctx.step :]
        products = [functional.linear(block, weight, bias) for block in (*blocks[:-1], last)]
        products[-1] = products[-1][len(last) - len(blocks[-1]) :]
        return torch.cat(products)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, Tensor, Tensor]:
        blocks, (grad,) = ctx.saved_tensors, grads
        of_weight = grad.new_zeros(grad.shape[1], blocks[0].shape[1])
        for block, of_block in zip(blocks, grad.split(ctx.step), strict=True):
            torch.addmm(of_weight, of_block.T, block.to(grad.dtype), out=of_weight)
        # In mixed precision g is narrower than the parameters, which want gradients of their own type.
        return None, None, of_weight.to(ctx.dtype), grad.sum(0).to(ctx.dtype)


class GatheredRows(Function):
    r"""Rows of a whole batch ``(B, ...)`` from those of every process, called as ``(place, size, rows)``.

    Every process then computes the same loss L from them. With the Jacobian :math:`J_r` of the rows :math:`E_r` that
    process r made, the gradient of the parameters is

    .. math:: \sum_r J_r^\top \frac{\partial L}{\partial E_r}

    Data-parallel training averages gradients over the processes, which divides this sum by their number; the backward
    pass multiplies by it beforehand.
    """

    @staticmethod
    def forward(ctx: Any, place: slice, size: int, rows: Tensor) -> Tensor:
        ctx.place = place
        whole = rows.new_zeros(size, *rows.shape[1:])
        whole[place] = rows
        distributed.all_reduce(whole)  # each row belongs to one process and is zero elsewhere, so the sum is exact
        return whole

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, Tensor]:
        return None, None, grads[0][ctx.place] * distributed.get_world_size()
