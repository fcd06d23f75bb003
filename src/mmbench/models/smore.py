"""SMORE: Ong & Khong, "Spectrum-based Modality Representation Fusion Graph Convolutional Network ...", WSDM 2025."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor, nn

from mmbench.data.recdata import RecData
from mmbench.nn.content_features import projected_content
from mmbench.nn.content_weights import weighed
from mmbench.nn.hyperparameters import at_least, nonnegative, rate
from mmbench.nn.initialisation import linear, standard_normal, started, table, xavier_uniform
from mmbench.nn.item_graphs import ItemGraph, content_graphs
from mmbench.nn.noise import Noise
from mmbench.nn.recommender import UnseenItems
from mmbench.nn.sparse import ConstantMap
from mmbench.nn.user_item_graph import set_adjacency, user_item_blocks
from mmbench.nn.views import PurifiedView, PurifiedViews

#: Of the fused view among the modalities; no key of a configuration, and so no modality, can be called so.
FUSED = "*"


class SMORE(PurifiedViews):
    r"""LightGCN's vectors e plus side information s from modalities filtered and fused as spectra, z = e + c s.

    .. math::
        s = \frac{1}{M + 1} \Big(\sum_m a_m\, \delta(\sigma(P_m e)) \odot \mathrm{softmax}(q_m(v_f)) \odot v_m
        + \delta(\sigma(P_f e)) \odot v_f\Big)

    :math:`\Phi_m` is the Fourier transform of the projected content over its channels; the filter :math:`\theta_m`
    denoises it to :math:`\Phi_m \theta_m`, and :math:`\prod_m \Phi_m\,\theta_f` fuses all modalities. Each of them
    gates the ID vectors, which are smoothed over an item graph and summed over the items of a user: the views
    :math:`v_m` and :math:`v_f`. The graph of f is the union of the others with the larger weights. :math:`\delta` is
    dropout and the softmax runs over channels; s is contrasted with e with the weight :math:`c\,\lambda_c`. With one
    modality the product is that modality's spectrum under the filter of f; without any the model is LightGCN. Items
    without content are isolated in the graph of that modality.

    ``as_reference`` differs from the default in three ways: the raw features are trained too, the regulariser is
    divided by the nominal ``train_batch_size`` instead of the length of the batch, and items without an interaction are
    neighbours in item graphs like any other.

    Args:
        data: training data.
        embedding_dim: size of all vectors.
        n_ui_layers: propagation layers over users and items.
        n_layers: propagation layers over item graphs.
        k: neighbours per item, itself included, for modalities that ``k_of`` does not name.
        k_of: neighbours per item by modality; names that are not present have no effect.
        dropout: dropout of the preference gates.
        reg_weight: weight of the squared norms of the final batch rows.
        cl_weight: weight of the contrast between s and e, :math:`\lambda_c`.
        content_weight: weight of content, c; 0 leaves it out.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        trainable_features: whether the raw features are parameters.
        as_reference: reproduce the numbers of the reference implementation.
        train_batch_size: nominal batch size, read with ``as_reference`` only.
    """

    content_ignored_by: ClassVar[str] = "content_weight"
    read_by_content: ClassVar[frozenset[str]] = frozenset({"dropout"})
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.NEIGHBOURS

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        n_ui_layers: int = 3,
        n_layers: int = 1,
        k: int = 10,
        k_of: Mapping[str, int] | None = None,
        dropout: float = 0.1,
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
        own_k = dict(k_of or {})
        at_least(0, n_ui_layers=n_ui_layers, n_layers=n_layers, k=k, **{f"k_of.{name}": n for name, n in own_k.items()})
        nonnegative(reg_weight=reg_weight, cl_weight=cl_weight)
        # Deviations of the reference: raw features are trained too, and the regulariser has the nominal divisor.
        trainable_features |= as_reference
        self.divisor = train_batch_size if as_reference else None
        data, self.weights = weighed(data, first_modality_weight, modality_weights, content_weight=content_weight)
        self.content_weight = content_weight
        self.n_users, self.n_ui_layers, self.dropout = data.n_users, n_ui_layers, rate("dropout", dropout)
        self.reg_weight, self.cl_weight = reg_weight, cl_weight
        self.user_embedding = table(data.n_users, embedding_dim, xavier_uniform)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_uniform)
        self.content = projected_content(data, embedding_dim, trainable=trainable_features)
        set_adjacency(self, data)
        self.to_users = ConstantMap(*user_item_blocks(self.adjacency, data.n_users))
        graphs = content_graphs(data, lambda name: own_k.get(name, k), unseen_too=as_reference)
        if graphs:
            graphs[FUSED] = union_maximum(list(graphs.values()))
        frequencies = (1, embedding_dim // 2 + 1, 2)  # real and imaginary parts
        self.filters = nn.ParameterDict(
            {name: started(nn.Parameter(torch.empty(frequencies)), standard_normal) for name in graphs}
        )
        self.views = nn.ModuleDict({m: PurifiedView(graph, embedding_dim, n_layers) for m, graph in graphs.items()})
        self.preference = nn.ModuleDict({name: linear(embedding_dim, embedding_dim) for name in graphs})
        self.query = nn.ModuleDict({name: _query(embedding_dim) for name in data.features})
        self.noise = Noise(*(f"preference_{name}" for name in graphs))

    def contents(self) -> Mapping[str, Tensor]:
        """Filtered content of each modality and of their fusion."""
        width = self.item_embedding.shape[1]
        spectra = {
            # In mixed precision projected content is narrower, and a GPU has no transform of bfloat16.
            name: torch.fft.rfft(tower().to(self.item_embedding.dtype), dim=1, norm="ortho")
            for name, tower in self.content.items()
        }
        spectra[FUSED] = reduce(torch.mul, spectra.values())
        return {
            name: torch.fft.irfft(spectrum * torch.view_as_complex(self.filters[name]), width, dim=1, norm="ortho")
            for name, spectrum in spectra.items()
        }

    def side(self, behaviour: Tensor, views: Mapping[str, Tensor], nodes: Tensor | None) -> Tensor:
        """Mean of the views, each as far as behaviour and the fused view let it pass."""
        side, n_nodes = torch.zeros_like(behaviour), len(self.adjacency)
        for name, view in views.items():
            gate = torch.sigmoid(self.preference[name](behaviour))
            if name != FUSED:
                view = self.weights[name] * torch.softmax(self.query[name](views[FUSED]), dim=1) * view
            passed = self.noise.drop_rows(f"preference_{name}", gate, self.dropout, nodes, n_nodes)
            side = side + passed * view
        return side / len(views)


def _query(dim: int) -> nn.Module:
    return nn.Sequential(linear(dim, dim), nn.Tanh(), linear(dim, dim, bias=False))


def union_maximum(graphs: Sequence[ItemGraph]) -> ItemGraph:
    """Union of the edges of graphs over the same items, each with its largest weight.

    An edge of one graph keeps its weight, a negative one too.
    """
    n = graphs[0].n_items
    keys = torch.cat([graph.edge_index[0] * n + graph.edge_index[1] for graph in graphs])
    weights = torch.cat([graph.weights for graph in graphs])
    edges, place = torch.unique(keys, return_inverse=True)
    largest = torch.full_like(weights[: len(edges)], -torch.inf).scatter_reduce(0, place, weights, "amax")
    return ItemGraph(torch.stack([edges // n, edges % n]), largest, n)
