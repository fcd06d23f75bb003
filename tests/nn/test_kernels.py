"""Sparse products and the gradients that are written by hand, where no operator of a topic tests them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mmbench.nn import kernels
from mmbench.nn.kernels import (
    ChosenProducts,
    ChosenRows,
    LogSumExp,
    Norm,
    RowCosines,
    RowsAndNorm,
    ScoreDifferences,
    UnitRows,
    WeightedProduct,
    add_rows,
    product,
    products_of_ends,
    with_values,
)
from mmbench.nn.sparse import DirectedGraph, sparse_matrix
from tests.nn.test_sparse import N_ITEMS, directed

__all__ = ["directed"]


def test_the_fast_product_is_the_sparse_one() -> None:
    """Rows without entries, one with many, columns of every width: equal to float64 and to torch's own product."""
    generator = torch.Generator().manual_seed(3)
    rows, columns = torch.randint(0, 40, (2, 300), generator=generator)
    rows[rows == 7] = 8
    matrix = sparse_matrix(rows, columns, torch.randn(300, generator=generator), (40, 40))
    for width in (1, 3, 64, 130):
        x = torch.randn(width, 40, generator=generator).T  # not contiguous, as gradients may be
        exact = matrix.double().to_dense() @ x.double()
        for result in (product(matrix, x), matrix @ x):
            assert (result - exact).abs().max() <= 1e-6 * exact.abs().max()
        torch.testing.assert_close(product(matrix.double(), x.double()), exact)


def test_the_product_of_an_empty_matrix_is_zero() -> None:
    none = torch.empty(0, dtype=torch.int64)
    assert torch.equal(product(sparse_matrix(none, none, torch.empty(0), (3, 2)), torch.ones(2, 4)), torch.zeros(3, 4))


@pytest.mark.usefixtures("float64")
def test_products_of_two_tables_and_values_follow_the_order_of_the_entries() -> None:
    pattern = sparse_matrix(torch.tensor([0, 0, 2]), torch.tensor([1, 3, 0]), torch.ones(3), (3, 4))
    a, b = torch.randn(3, 5), torch.randn(4, 5)
    values = products_of_ends(pattern, a, b)
    torch.testing.assert_close(values, (a @ b.T)[[0, 0, 2], [1, 3, 0]])
    torch.testing.assert_close(with_values(pattern, values).to_dense(), a @ b.T * pattern.to_dense())


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("m", [7, 40_000])  # a row chosen twice by one anchor, and numbers too long to be narrowed
def test_products_with_chosen_rows_and_their_gradients(m: int) -> None:
    a, r = (torch.randn(n, 3, requires_grad=True) for n in (4, m))
    place = torch.tensor([[5, 0, 5], [6, 1, 2], [0, 0, 0], [m - 1, 2, 4]])
    products = ChosenProducts.apply(a, r, place)
    gathered = (a.unsqueeze(1) * r[place]).sum(2)
    torch.testing.assert_close(products, gathered)
    grad = torch.randn(4, 3)
    own, other = (torch.autograd.grad(value, (a, r), grad) for value in (products, gathered))
    torch.testing.assert_close(own, other)


@pytest.mark.usefixtures("float64")
def test_weighted_propagation_and_its_gradients(
    directed: tuple[Tensor, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "BLOCK_EDGES", 7)
    edge_index, weights, matrix = directed
    x = torch.randn(N_ITEMS, 3, requires_grad=True)

    def propagated(weights: Tensor, x: Tensor) -> Tensor:
        graph = DirectedGraph(edge_index, weights.detach(), N_ITEMS)
        return WeightedProduct.apply(graph.matrix, graph.transposed, edge_index, weights, x)

    torch.testing.assert_close(propagated(weights, x), matrix @ x)
    weights.requires_grad_()
    assert torch.autograd.gradcheck(propagated, (weights, x))


def test_rows_asked_for_twice_are_added_twice() -> None:
    added = add_rows(torch.zeros(3, 2), torch.tensor([2, 0, 2]), torch.ones(3, 2))
    assert added.tolist() == [[1.0, 1.0], [0.0, 0.0], [2.0, 2.0]]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("log_weights", [None, torch.tensor([0.0, 1.0, -2.0, 0.5])])
@pytest.mark.parametrize("at_once", [1 << 18, 8])  # all rows, or two of three
def test_logarithm_of_sums_and_its_gradients(
    log_weights: Tensor | None, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "LOGITS_AT_ONCE", at_once)
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, 5, generator=generator).requires_grad_() for n in (3, 4))
    weights = None if log_weights is None else log_weights.double()
    logits = a @ b.T if weights is None else a @ b.T + weights
    torch.testing.assert_close(LogSumExp.apply(a, b, weights), torch.logsumexp(logits, dim=1))
    assert torch.autograd.gradcheck(lambda a, b: LogSumExp.apply(a, b, weights), (a, b))


@pytest.fixture
def rows() -> Tensor:
    """Rows of any length, one of them zero."""
    rows = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rows[2] = 0.0
    return rows


def test_chosen_rows_and_their_gradient_are_those_of_the_embedding() -> None:
    generator = torch.Generator().manual_seed(2)
    chosen, table = torch.randint(0, 9, (40,), generator=generator), torch.randn(9, 3, generator=generator)
    pull = torch.randn(40, 3, generator=generator)
    gradients: list[Tensor] = []
    for lookup in (ChosenRows.apply, functional.embedding):
        x = table.clone().requires_grad_()
        assert torch.equal(lookup(chosen, x), table[chosen])
        gradients += torch.autograd.grad((lookup(chosen, x) * pull).sum(), x)
    assert torch.equal(gradients[0], gradients[1])


def test_rows_and_the_norm_of_their_table(rows: Tensor) -> None:
    chosen, table = torch.tensor([4, 0, 4]), rows.requires_grad_()
    some, norm = RowsAndNorm.apply(chosen, table)
    torch.testing.assert_close((some, norm), (table[chosen], torch.linalg.matrix_norm(table)))
    assert torch.autograd.gradcheck(lambda x: RowsAndNorm.apply(chosen, x), table)
    zeros = torch.zeros(2, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(RowsAndNorm.apply(chosen[1:2], zeros)[1], zeros)
    assert torch.equal(gradient, torch.zeros(2, 2))


def test_the_norm_of_a_tensor(rows: Tensor) -> None:
    x = rows.requires_grad_()
    torch.testing.assert_close(Norm.apply(x), torch.linalg.matrix_norm(x))
    assert torch.autograd.gradcheck(Norm.apply, x)
    zeros = torch.zeros(2, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(Norm.apply(zeros), zeros)
    assert torch.equal(gradient, torch.zeros(2, 2))


def test_differences_of_inner_products(rows: Tensor) -> None:
    u, p, n = (part.clone().requires_grad_() for part in (rows, rows.flip(0) + 1.0, rows.flip(1)))
    torch.testing.assert_close(ScoreDifferences.apply(u, p, n), (u * p).sum(1) - (u * n).sum(1))
    assert torch.autograd.gradcheck(ScoreDifferences.apply, (u, p, n))


def test_rows_of_length_one_and_their_gradients(rows: Tensor) -> None:
    pull = torch.ones(4, dtype=torch.float64)
    gradients: list[Tensor] = []
    for unit in (UnitRows.apply, lambda x: functional.normalize(x, dim=1, eps=1e-12)):
        x = rows.clone().requires_grad_()
        torch.testing.assert_close(unit(x), functional.normalize(rows, dim=1))
        gradients += torch.autograd.grad(unit(x) @ pull, x, torch.arange(5.0, dtype=torch.float64))
    torch.testing.assert_close(gradients[0], gradients[1])  # of the row of zeros too
    whole = rows[:2].requires_grad_()
    assert torch.autograd.gradcheck(UnitRows.apply, whole)


def test_cosines_of_rows_and_their_gradients(rows: Tensor) -> None:
    targets = rows.flip(1) + 1.0
    targets[4] = 0.0
    pull = torch.arange(1.0, 6.0, dtype=torch.float64)
    gradients: list[Tensor] = []
    for cosines in (RowCosines.apply, lambda a, b: functional.cosine_similarity(a, b, dim=1, eps=1e-8)):
        a = rows.clone().requires_grad_()
        torch.testing.assert_close(cosines(a, targets), functional.cosine_similarity(rows, targets))
        gradients += torch.autograd.grad(cosines(a, targets) @ pull, a)
    torch.testing.assert_close(gradients[0], gradients[1])  # of the row of zeros too
