from typing import Any

import torch

from mmbench.models.layergcn import LayerGCN
from tests.parity.golden import Case, Mapping


def draw(model: Any, case: Case) -> None:
    """The frozen draw of edges, where the epoch draws any."""
    if "graph/kept_edges" in case.arrays:
        model.graph.use_edges(torch.from_numpy(case.arrays["graph/kept_edges"]))


MAPPING = Mapping(
    reference="LayerGCN",
    model=LayerGCN,
    hyper_parameters={
        "embedding_dim": "embedding_size",
        "n_layers": "n_layers",
        "dropout": "dropout",
        "reg_weight": "reg_weight",
    },
    parameters={"user_embedding": "user_embeddings", "item_embedding": "item_embeddings"},
    losses={"bpr": "data_term", "reg": "weighted_regulariser"},
    graphs={
        "graph.full": "graph/norm_adj",
        "graph.sampled": lambda case: case.arrays.get("graph/train_norm_adj", case.arrays["graph/norm_adj"]),
    },
    prepare=draw,
)
