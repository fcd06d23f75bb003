"""M4: what embeddings tell about behaviour, without training a recommender (METHOD §4).

Item factors from the training interactions alone are predicted from content by ridge regression across folds of items.
What a modality predicts that the others do not is its unique signal; shuffled rows of the same modality say how much of
that is chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds

from mmbench.contribution.bootstrap import REPLICAS, Estimate, Matrix, Vector, estimate
from mmbench.contribution.shapley import Coalition, coalitions
from mmbench.data.interactions import Interactions
from mmbench.nn import knn

RANK, FOLDS, SHUFFLES, NEIGHBOURS, SHRINK = 32, 5, 5, 10, 10.0
#: Items with fewer training interactions have no factors worth predicting.
MIN_INTERACTIONS = 5
#: Wider features are projected onto this many principal components first.
MAX_DIM = 512
#: Ridge penalties as multiples of the mean eigenvalue of the features' Gram matrix.
PENALTIES = 10.0 ** np.arange(-3, 4.5, 0.5)
INNER_SHARE = 0.2


def item_factors(train: Interactions, rank: int = RANK) -> Matrix:
    r"""Collaborative item factors of unit length, ``(n_items, rank)``: what behaviour says about each item.

    :math:`V \Sigma` of the truncated singular value decomposition of :math:`D_u^{-1/2} R D_i^{-1/2}`, rows scaled to
    length one, so that popular items do not outweigh the others. Items without interactions are zero.
    """
    by_user = np.bincount(train.users, minlength=train.n_users)
    by_item = np.bincount(train.items, minlength=train.n_items)
    values = 1.0 / np.sqrt(by_user[train.users] * by_item[train.items].astype(np.float64))
    matrix = sparse.csr_matrix((values, (train.users, train.items)), (train.n_users, train.n_items))
    rank = min(rank, min(matrix.shape) - 1)
    start = np.random.default_rng(0).standard_normal(min(matrix.shape))
    _, scales, directions = svds(matrix, k=rank, v0=start)
    factors: Matrix = directions.T * scales
    lengths = np.linalg.norm(factors, axis=1, keepdims=True)
    return np.divide(factors, lengths, out=np.zeros_like(factors), where=lengths > 0)
