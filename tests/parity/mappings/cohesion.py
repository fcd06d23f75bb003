from typing import Any

import torch

from mmbench.models.cohesion import COHESION
from tests.parity.frozen import pad_users, padded_user_graph
from tests.parity.golden import Case, Mapping

LAYERS = {"0": "MLP", "2": "MLP_1"}
TOWERS = {
    "identifiers": ("identifiers.items.layers", "id_gcn"),
    "towers.image": ("towers.image.items.content.layers", "v_gcn"),
    "towers.text": ("towers.text.items.content.layers", "t_gcn"),
}


def draw(model: Any, case: Case) -> None:
    """The frozen padding of the lists of users, and the interactions of the epoch where some are left out."""
    pad_users(model, case)
    if "sample/kept_edges" in case.arrays:
        model.graph.use_edges(torch.from_numpy(case.arrays["sample/kept_edges"]))


MAPPING = Mapping(
    reference="COHESION",
    model=COHESION,
    hyper_parameters={
        "embedding_dim": "embedding_size",
        "hidden_dim": lambda given: 4 * given["embedding_size"],
        "n_ui_layers": "num_layer",
        "dropout": "dropout",
        "k": "knn_k",
        "n_layers": "n_mm_layers",
        "first_modality_weight": "mm_image_weight",
        "reg_weight": "reg_weight",
    },
    fixed={"as_reference": True},
    ignored=("feat_embed_dim", "n_layers", "train_batch_size"),
    parameters={
        "item_embedding": "id_feat",
        "user_weights": lambda case, get: get("weight_u")[..., 0],
        **{f"{ours}.preference": f"{theirs}.preference" for ours, (_, theirs) in TOWERS.items()},
        **{
            f"{ours}.{number}.{part}": f"{theirs}.{name}.{part}"
            for ours, theirs in TOWERS.values()
            for number, name in LAYERS.items()
            for part in ("weight", "bias")
        },
    },
    unused=("image_embedding.weight", "text_embedding.weight"),
    losses={"bpr": "bpr_log2"},  # the mean squares are stored one by one; the total holds them
    graphs={
        "graph.full": "graph/norm_adj",
        "graph.sampled": "graph/masked_adj",
        "user_graph.training_graph.matrix": padded_user_graph,
        "user_graph.training_graph.transposed": lambda case: padded_user_graph(case).T,
        "item_graph.matrix": "graph/fused_item",
        "item_graph.transposed": lambda case: case.arrays["graph/fused_item"].T,
    },
    constants={
        "user_graph.graph.matrix": padded_user_graph,
        "user_graph.graph.transposed": lambda case: padded_user_graph(case).T,
    },
    prepare=draw,
)
