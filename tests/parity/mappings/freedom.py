from typing import Any

import torch

from mmbench.models.freedom import FREEDOM
from tests.parity.golden import Case, Mapping


def draw(model: Any, case: Case) -> None:
    """The frozen draw of edges, where the epoch draws any and its golden graph is not given."""
    given = torch.equal(model.graph.sampled.to_dense(), torch.from_numpy(case.arrays["graph/masked_adj"]))
    if model.graph.keep < 1 and not given:
        model.graph.use_edges(torch.from_numpy(case.arrays["sample/kept_edges"]))


MAPPING = Mapping(
    reference="FREEDOM",
    model=FREEDOM,
    hyper_parameters={
        "embedding_dim": "embedding_size",
        "n_ui_layers": "n_ui_layers",
        "n_layers": "n_mm_layers",
        "k": "knn_k",
        "first_modality_weight": "mm_image_weight",
        "dropout": "dropout",
        "reg_weight": "reg_weight",
    },
    fixed={"as_reference": True},
    ignored=("feat_embed_dim", "lambda_coeff", "train_batch_size"),
    parameters={
        "user_embedding": "user_embedding.weight",
        "item_embedding": "item_id_embedding.weight",
        **{
            f"content.{name}.{ours}": f"{name}_{theirs}"
            for name in ("image", "text")
            for ours, theirs in [
                ("table", "embedding.weight"),
                ("projection.weight", "trs.weight"),
                ("projection.bias", "trs.bias"),
            ]
        },
    },
    losses={"bpr": "bpr"},  # the terms of modalities are stored without their weight; the total holds them
    graphs={
        "graph.full": "graph/norm_adj",
        "graph.sampled": "graph/masked_adj",
        "item_graph.matrix": "graph/fused_item",
        "item_graph.transposed": lambda case: case.arrays["graph/fused_item"].T,
    },
    prepare=draw,
)
