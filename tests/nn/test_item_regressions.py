from __future__ import annotations

import numpy as np
import pytest
import torch

from mmbench.data.recdata import RecData
from mmbench.nn.item_regressions import (
    ContentSolution,
    cached_content_solution,
    check_memory,
    content_predictions,
    content_solution,
    is_narrow,
    regressions_on_others,
    regularised_inverse,
)
from tests.regressions import on_others

N, PENALTY = 30, 1.7
#: Features over whose dimensions the regression is solved, and features over whose items it is.
WIDTHS = pytest.mark.parametrize("width", [5, 40])
KNOWN = torch.arange(N) % 4 != 1


def features_of(width: int) -> torch.Tensor:
    features = torch.randn(N, width, dtype=torch.float64, generator=torch.Generator().manual_seed(width))
    features[[2, 5]] = 0.0  # one without content that is known, and one that is not
    return features


def dense(solution: ContentSolution) -> torch.Tensor:
    total = torch.zeros(N, N, dtype=torch.float64)
    solution.add_to(total, 1.0)
    return total


@WIDTHS
def test_content_solution_against_constrained_regressions(width: int) -> None:
    features = features_of(width)
    solution = content_solution(features, KNOWN, PENALTY)
    assert (solution.right is not None) == is_narrow(width, N) == (width == 5)
    expected = on_others(features.numpy().T, PENALTY, KNOWN.numpy())
    np.testing.assert_allclose(dense(solution), expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(solution.of_unknown(~KNOWN), expected[:, ~KNOWN.numpy()], rtol=0, atol=1e-13)
    parts = [part for part in (solution.left, solution.right, solution.diagonal) if part is not None]
    assert solution.nbytes == 8 * sum(part.numel() for part in parts)


@WIDTHS
def test_a_solution_is_added_with_a_weight_and_after_a_matrix(width: int) -> None:
    solution = content_solution(features_of(width), KNOWN, PENALTY)
    first, before = (torch.randn(N, N, dtype=torch.float64, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    total = first.clone()
    solution.add_to(total, 0.3)
    torch.testing.assert_close(total, first + 0.3 * dense(solution))
    total = first.clone()
    solution.add_to(total, 0.3, after=before)
    torch.testing.assert_close(total, first + 0.3 * before @ dense(solution))


@WIDTHS
def test_predictions_are_ridge_regressions(width: int) -> None:
    features = features_of(width)
    targets = torch.randn(N, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    targets[~KNOWN] = torch.nan  # nobody may read them
    x, y = features[KNOWN].numpy(), targets[KNOWN].numpy()
    slope = np.linalg.solve(x.T @ x + PENALTY * np.eye(width), x.T @ y)
    ours = content_predictions(features, KNOWN, targets, PENALTY)
    np.testing.assert_allclose(ours, features.numpy() @ slope, rtol=0, atol=1e-12)


def test_without_features_nothing_is_predicted() -> None:
    nothing = torch.empty(N, 0, dtype=torch.float64)
    assert not dense(content_solution(nothing, KNOWN, PENALTY)).any()
    assert not content_predictions(nothing, KNOWN, torch.ones(N, 2, dtype=torch.float64), PENALTY).any()


def test_further_rows_of_a_regression() -> None:
    rows, more = (torch.randn(N, d, dtype=torch.float64, generator=torch.Generator().manual_seed(d)) for d in (9, 4))
    gram = rows @ rows.T
    before = gram.clone()
    inverse = regularised_inverse(gram, PENALTY, more)
    assert torch.equal(gram, before)
    assert torch.equal(inverse, inverse.T)
    assert inverse.is_contiguous(), "weights between items must lie in rows"
    expected = torch.linalg.inv(gram + more @ more.T + PENALTY * torch.eye(N, dtype=torch.float64))
    torch.testing.assert_close(inverse, expected)
    assert regressions_on_others(inverse).is_contiguous()


def test_trainings_share_solutions() -> None:
    features = features_of(5)
    kept = cached_content_solution(features, KNOWN, PENALTY)
    assert cached_content_solution(features.clone(), KNOWN.clone(), PENALTY) is kept
    for other in ((features + 1.0, KNOWN, PENALTY), (features, ~KNOWN, PENALTY), (features, KNOWN, 2.0)):
        assert cached_content_solution(*other) is not kept


def test_arrays_that_do_not_fit_are_refused_with_their_size() -> None:
    data = RecData(1, 50_000, torch.empty(2, 0), {"text": torch.empty(50_000, 0)}, {"text": torch.empty(0)})
    with pytest.raises(ValueError, match=r"Gram needs 60\.0 GB for 50,000 items, more than max_memory_gb=8"):
        check_memory("Gram", data, 3, 8.0)
    check_memory("Gram", data, 3, 60.0, ["text"])
    data.features["text"] = torch.empty(0, 10_000)  # three times 4 GB
    with pytest.raises(ValueError, match=r"Gram needs 72\.0 GB"):
        check_memory("Gram", data, 3, 71.9, ["text"])
    check_memory("Gram", data, 3, 72.1, ["text"])
