"""ItemKNN: Deshpande & Karypis, "Item-Based Top-N Recommendation Algorithms", TOIS 2004."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.nn.common_users import common_user_lists
from mmbench.nn.history_sums import HistorySums
from mmbench.nn.hyperparameters import at_least, nonnegative
from mmbench.nn.item_graphs import history_weights


class ItemKNN(HistorySums):
    r"""Similarity of an item to a user's history, :math:`\hat y_{uj} = \sum_{i \in R_u \cap N_k(j)} s_{ji}`.

    :math:`s_{ij} = c_{ij} / (\sqrt{c_{ii} c_{jj}} + \text{shrink})` with :math:`c_{ij}` the number of common users;
    :math:`N_k(j)` are the k items most similar to j among those with common users. Features are ignored.

    Args:
        data: training data.
        k: neighbours per item.
        shrink: damps similarities that rest on few users.
    """

    uses_content: ClassVar[bool] = False

    def __init__(self, data: RecData, *, k: int = 200, shrink: float = 20.0) -> None:
        super().__init__()
        at_least(1, k=k)
        nonnegative(shrink=shrink)
        self.k, self.shrink = k, shrink

    def item_weights(self, data: RecData) -> Tensor:
        """The k best of each item by common users, turned round."""
        return history_weights(
            common_user_lists(data.edge_index, data.n_users, data.n_items, self.k, shrink=self.shrink)
        )
