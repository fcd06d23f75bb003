"""LATTICE: Zhang et al., "Mining Latent Structures for Multimedia Recommendation", ACM Multimedia 2021."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.nn.content_features import projected_content
from mmbench.nn.content_weights import weighed
from mmbench.nn.hyperparameters import at_least, nonnegative, one_of, rate, share
from mmbench.nn.initialisation import linear, table, xavier_uniform
from mmbench.nn.item_graphs import ItemGraph, content_graphs, row_sum_normalised, weighted, weighted_sum
from mmbench.nn.item_neighbours import Neighbours, joined, knn, unseen_knn
from mmbench.nn.kernels import WeightedProduct, product
from mmbench.nn.losses import half_squares, vector_bpr
from mmbench.nn.noise import Noise
from mmbench.nn.propagation import halves, repeated, rows_of_mean
from mmbench.nn.recommender import FactorModel, Triplets, UnseenItems
from mmbench.nn.sparse import DirectedGraph
from mmbench.nn.user_item_graph import NeighbourMean

BACKBONES = ("lightgcn", "mf", "ngcf")


class LATTICE(FactorModel):
    r"""Items smoothed over an item graph that is partly learned, :math:`z_i = \bar e_i + c\,\widehat{(S^L Q)_i}`.

    :math:`S = (1 - \mu)\,\mathrm{lap}(\sum_m w_m L^m) + \mu \sum_m w_m O^m`: :math:`O^m` is the frozen graph of the raw
    features of modality m, :math:`L^m` the kNN graph of their projection, and :math:`w_m \propto a_m e^{b_m}` with
    learned b. The learned part is built once per epoch; the first batch trains it through the similarities, the others
    see it as a constant. :math:`\bar e` comes from the backbone. Items without content have no edges in the graphs of
    that modality; without any modality the item graph vanishes and the model is its backbone.

    ``as_reference`` differs from the default in three ways: the raw features are trained too, the regulariser is
    divided by the nominal ``train_batch_size`` instead of the length of the batch, and items without an interaction are
    neighbours in item graphs like any other.

    Args:
        data: training data.
        embedding_dim: size of the user and item vectors.
        feature_dim: width of the projection that the learned graph is built from.
        backbone: ``lightgcn``, ``mf`` or ``ngcf``.
        n_ui_layers: propagation layers over users and items.
        n_layers: propagation layers over the item graph, L.
        k: neighbours per item, itself included.
        frozen_weight: weight of the frozen graph, mu.
        message_dropout: dropout after each layer of ``ngcf``.
        reg_weight: weight of the squared norms of the final batch rows.
        content_weight: weight of content, c; 0 leaves it out.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        trainable_features: whether the raw features are parameters.
        as_reference: reproduce the numbers of the reference implementation.
        train_batch_size: nominal batch size, read with ``as_reference`` only.
    """

    content_ignored_by: ClassVar[str] = "content_weight"
    read_by_content: ClassVar[frozenset[str]] = frozenset({"k", "frozen_weight"})
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.NEIGHBOURS
    log_weights: Tensor
    stored: DirectedGraph | None

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        feature_dim: int = 64,
        backbone: str = "lightgcn",
        n_ui_layers: int = 2,
        n_layers: int = 1,
        k: int = 10,
        frozen_weight: float = 0.9,
        message_dropout: float = 0.1,
        reg_weight: float = 1e-3,
        content_weight: float = 1.0,
        first_modality_weight: float = 0.5,
        modality_weights: Mapping[str, float] | None = None,
        trainable_features: bool = False,
        as_reference: bool = False,
        train_batch_size: int = 2048,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim, feature_dim=feature_dim, train_batch_size=train_batch_size)
        at_least(0, n_ui_layers=n_ui_layers, n_layers=n_layers, k=k)
        nonnegative(reg_weight=reg_weight)
        # Deviations of the reference: raw features are trained too, and the regulariser has the nominal divisor.
        trainable_features |= as_reference
        self.divisor = train_batch_size if as_reference else None
        data, weights = weighed(data, first_modality_weight, modality_weights, content_weight=content_weight)
        self.content_weight = content_weight
        self.backbone = one_of("backbone", backbone, BACKBONES)
        self.n_ui_layers, self.n_layers, self.k = n_ui_layers, n_layers, k
        self.frozen_weight, self.reg_weight = share("frozen_weight", frozen_weight), reg_weight
        self.message_dropout = rate("message_dropout", message_dropout)
        self.user_embedding = table(data.n_users, embedding_dim, xavier_uniform)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_uniform)
        self.neighbourhood = NeighbourMean(data.edge_index, data.n_users, data.n_items, self_loops=True)
        widths = [(embedding_dim, embedding_dim)] * (n_ui_layers if backbone == "ngcf" else 0)
        self.sum_layers = nn.ModuleList(linear(*width) for width in widths)
        self.product_layers = nn.ModuleList(linear(*width) for width in widths)
        self.content = projected_content(data, feature_dim, trainable=trainable_features)
        n_modalities = len(data.features)
        self.modal_weight = nn.Parameter(torch.full((n_modalities,), 0.5)) if n_modalities > 1 else None
        self.register_buffer("log_weights", torch.tensor(list(weights.values())).log(), persistent=False)
        self.noise = Noise(*(f"messages_{layer}" for layer in range(len(widths))))
        self.present = [data.present[name] for name in data.features]
        self.warm = torch.ones_like(data.warm) if as_reference else data.warm
        self.frozen = list(content_graphs(data, lambda name: k, unseen_too=as_reference).values())
        self.stored = None

    def begin_epoch(self) -> None:
        """The next batch builds the item graph anew, with gradients."""
        self.stored = None

    def forward(self) -> tuple[Tensor, Tensor]:
        """User vectors, and item vectors plus their smoothed, normalised counterparts."""
        tables = (self.user_embedding, self.item_embedding)
        return self._final(*(torch.arange(len(table), device=table.device) for table in tables))

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR and half the squared norms of the final batch rows."""
        users, items = self._final(batch.users, torch.cat([batch.positives, batch.negatives]))
        rows = (users, *items.split(len(batch.users)))
        divisor = self.divisor or len(batch.users)
        return {"bpr": vector_bpr(*rows), "reg": self.reg_weight * half_squares(*rows) / divisor}

    def _final(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of chosen users, and of chosen items plus their smoothed, normalised counterparts."""
        chosen = self._collaborative(torch.cat([users, len(self.user_embedding) + items]))
        of_users, of_items = halves(chosen, len(users))
        if self.content:
            smoothed = functional.normalize(functional.embedding(items, self._smoothed()), dim=1)
            of_items = of_items + self.content_weight * smoothed
        return of_users, of_items

    def _collaborative(self, nodes: Tensor) -> Tensor:
        """Vectors of chosen nodes from the backbone, users first, ``(m, d)``."""
        graph, users, items = self.neighbourhood, self.user_embedding, self.item_embedding
        if self.backbone == "lightgcn":
            return rows_of_mean(graph.matrix, users, items, self.n_ui_layers, nodes, transposed=graph.transposed)[0]
        x = total = torch.cat([users, items])
        layers = zip(self.sum_layers, self.product_layers, strict=True)
        for layer, (of_sums, of_products) in enumerate(layers):  # mf has none
            y = graph(x)
            messages = functional.leaky_relu(of_sums(y)) + functional.leaky_relu(of_products(x * y))
            x = self.noise.drop(f"messages_{layer}", messages, self.message_dropout)
            total = total + functional.normalize(x, dim=1)
        return functional.embedding(nodes, total / (len(self.sum_layers) + 1))

    def _smoothed(self) -> Tensor:
        """Item vectors after the item graph, ``(n_items, d)``; in training a stored graph is constant."""
        step: Callable[[Tensor], Tensor]
        if self.training and self.stored is not None:
            step = self.stored
        elif self.training:
            graph = self._item_graph()
            self.stored = DirectedGraph(graph.edge_index, graph.weights.detach(), graph.n_items)
            structure = (self.stored.matrix, self.stored.transposed, graph.edge_index)
            step = partial(WeightedProduct.apply, *structure, graph.weights)
        else:
            step = partial(product, self._item_graph().matrix())
        return repeated(step, self.item_embedding, self.n_layers)

    def _item_graph(self) -> ItemGraph:
        """The mixed graph S from the current parameters."""
        device = self.item_embedding.device
        weights = [1.0]
        if self.modal_weight is not None:
            weights = list(torch.softmax(self.modal_weight + self.log_weights, 0))
        towers = zip(self.content.values(), self.present, strict=True)
        warm = self.warm.to(device)
        learned = [weighted(learned_knn(tower(), present.to(device), warm, self.k)) for tower, present in towers]
        frozen = [graph.to(device) for graph in self.frozen]
        mixed = [row_sum_normalised(weighted_sum(learned, weights)), weighted_sum(frozen, weights)]
        return weighted_sum(mixed, [1.0 - self.frozen_weight, self.frozen_weight])


def learned_knn(features: Tensor, present: Tensor, warm: Tensor, k: int) -> Neighbours:
    """Nearest seen items by cosine, whose similarities carry gradients to ``features`` ``(n_items, d)``.

    Which items are neighbours is not differentiated, how similar they are is.

    Args:
        features: ``(n_items, d)``.
        present: whether an item has content, ``(n_items,)``.
        warm: whether an item has a training interaction, ``(n_items,)``; each of these is a neighbour of itself.
        k: neighbours per item.
    """
    # In full precision whatever a training in mixed precision does with its products: the last digits decide lists.
    with torch.autocast(features.device.type, enabled=False):
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        fixed = features.detach()
        lists = joined(knn(fixed, present & warm, k), unseen_knn(fixed, present, warm, k))
        unit = functional.normalize(features, dim=1, eps=1e-12)
        neighbours, own = functional.embedding(lists.indices, unit), functional.embedding(lists.items, unit)
        values = torch.bmm(neighbours, own.unsqueeze(2)).squeeze(2)
    return replace(lists, values=values)
