"""MGCN: Yu et al., "Multi-View Graph Convolutional Network for Multimedia Recommendation", ACM Multimedia 2023."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from mmbench.data.recdata import RecData
from mmbench.nn.content_features import projected_content
from mmbench.nn.content_weights import weighed
from mmbench.nn.hyperparameters import at_least, nonnegative
from mmbench.nn.initialisation import linear, table, xavier_uniform
from mmbench.nn.item_graphs import content_graphs
from mmbench.nn.recommender import UnseenItems
from mmbench.nn.sparse import ConstantMap
from mmbench.nn.user_item_graph import set_adjacency, user_item_blocks
from mmbench.nn.views import PurifiedView, PurifiedViews, chosen_by_behaviour, common_query


class MGCN(PurifiedViews):
    r"""LightGCN's vectors e plus side information s that behaviour chooses from views of the modalities, z = e + c s.

    .. math::
        s = \frac{1}{M + 1} \Big(\sum_m a_m\, \sigma(P_m e) \odot (v_m - k) + k\Big), \quad k = \sum_m w_m v_m, \quad
        w_m \propto a_m \exp(q^\top \tanh(W v_m + b))

    :math:`v_m` is the view of modality m: ID vectors gated by content, smoothed over its item graph and summed over
    the items of a user; :math:`w` weighs what the views have in common. Besides BPR, s is contrasted with e with the
    weight :math:`c\,\lambda_c`. With one modality :math:`k = v_m`, hence :math:`s = v_m / 2` and neither
    P nor the attention exists; without any the model is LightGCN. Items without content are isolated in the graph of
    that modality.

    ``as_reference`` differs from the default in three ways: the raw features are trained too, the regulariser is
    divided by the nominal ``train_batch_size`` instead of the length of the batch, and items without an interaction are
    neighbours in item graphs like any other.

    Args:
        data: training data.
        embedding_dim: size of all vectors.
        n_ui_layers: propagation layers over users and items.
        n_layers: propagation layers over item graphs.
        k: neighbours per item, itself included.
        reg_weight: weight of the squared norms of the final batch rows.
        cl_weight: weight of the contrast, :math:`\lambda_c`.
        content_weight: weight of content, c; 0 leaves it out.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        trainable_features: whether the raw features are parameters.
        as_reference: reproduce the numbers of the reference implementation.
        train_batch_size: nominal batch size, read with ``as_reference`` only.
    """

    content_ignored_by: ClassVar[str] = "content_weight"
    read_by_content: ClassVar[frozenset[str]] = frozenset({"cl_weight"})
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.NEIGHBOURS
    weights: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        n_ui_layers: int = 2,
        n_layers: int = 1,
        k: int = 10,
        reg_weight: float = 1e-4,
        cl_weight: float = 1e-2,
        content_weight: float = 1.0,
        first_modality_weight: float = 0.5,
        modality_weights: Mapping[str, float] | None = None,
        trainable_features: bool = False,
        as_reference: bool = False,
        train_batch_size: int = 2048,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim, train_batch_size=train_batch_size)
        at_least(0, n_ui_layers=n_ui_layers, n_layers=n_layers, k=k)
        nonnegative(reg_weight=reg_weight, cl_weight=cl_weight)
        # Deviations of the reference: raw features are trained too, and the regulariser has the nominal divisor.
        trainable_features |= as_reference
        self.divisor = train_batch_size if as_reference else None
        data, weights = weighed(data, first_modality_weight, modality_weights, content_weight=content_weight)
        self.register_buffer("weights", torch.tensor(list(weights.values())).view(-1, 1, 1), persistent=False)
        self.n_users, self.n_ui_layers = data.n_users, n_ui_layers
        self.reg_weight, self.cl_weight, self.content_weight = reg_weight, cl_weight, content_weight
        self.user_embedding = table(data.n_users, embedding_dim, xavier_uniform)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_uniform)
        self.content = projected_content(data, embedding_dim, trainable=trainable_features)
        set_adjacency(self, data)
        self.to_users = ConstantMap(*user_item_blocks(self.adjacency, data.n_users))
        graphs = content_graphs(data, lambda name: k, unseen_too=as_reference)
        self.views = nn.ModuleDict({m: PurifiedView(graph, embedding_dim, n_layers) for m, graph in graphs.items()})
        several = data.features if len(data.features) > 1 else {}
        self.preference = nn.ModuleDict({name: linear(embedding_dim, embedding_dim) for name in several})
        self.query = common_query(embedding_dim) if several else None

    def contents(self) -> Mapping[str, Tensor]:
        """Projected features of each modality."""
        return {name: tower() for name, tower in self.content.items()}

    def side(self, behaviour: Tensor, views: Mapping[str, Tensor], nodes: Tensor | None) -> Tensor:
        """What behaviour chooses from the views."""
        return chosen_by_behaviour(
            behaviour, torch.stack(list(views.values())), self.weights, self.preference, self.query
        )
