from typing import Any

import numpy as np
import torch

from mmbench.models.dragon import DRAGON
from tests.parity.golden import Array, Case, Mapping


def draw(model: Any, case: Case) -> None:
    """The frozen padding of the lists of users."""
    users = case.arrays["sample/user_neighbours"]
    listed, their_counts = case.arrays["graph/user_user_index"], case.arrays["graph/user_user_count"]
    counts = np.zeros((len(users), case.data.n_users))
    rows, places = np.nonzero(listed >= 0)
    counts[rows, listed[rows, places]] = their_counts[rows, places]
    model.user_graph.use(torch.from_numpy(users), torch.from_numpy(np.take_along_axis(counts, users, axis=1)))


def user_graph(case: Case) -> Array:
    """The frozen draw; the reference also ranks with it, where we rank with the lists as they are."""
    users, weights = case.arrays["sample/user_neighbours"], case.arrays["sample/user_weights"]
    dense = np.zeros((len(users), len(users)))
    np.add.at(dense, (np.arange(len(users))[:, None], users), weights)
    return dense


MAPPING = Mapping(
    reference="DRAGON",
    model=DRAGON,
    hyper_parameters={
        "embedding_dim": "embedding_size",
        "k": "knn_k",
        "n_layers": "n_mm_layers",
        "first_modality_weight": "mm_image_weight",
        "reg_weight": "reg_weight",
    },
    fixed={"as_reference": True},
    ignored=("feat_embed_dim", "n_layers", "aggr_mode", "train_batch_size"),
    parameters={
        "user_weights": lambda case, get: get("weight_u")[..., 0],
        **{
            f"towers.{name}.{ours}": f"{tower}.{theirs}"
            for name, tower in [("image", "v_gcn"), ("text", "t_gcn")]
            for ours, theirs in [
                ("preference", "preference"),
                ("items.layers.0.weight", "MLP.weight"),
                ("items.layers.0.bias", "MLP.bias"),
                ("items.layers.2.weight", "MLP_1.weight"),
                ("items.layers.2.bias", "MLP_1.bias"),
            ]
        },
    },
    unused=(
        "weight_i",
        "MLP_v.weight",
        "MLP_t.weight",
        "MLP_user.weight",
        "MLP_user.bias",
        *(f"{name}_{rest}" for name in ("image", "text") for rest in ("embedding.weight", "trs.weight", "trs.bias")),
    ),
    losses={"bpr": "bpr_log2"},  # the other terms are stored one by one and without their weight; the total holds them
    graphs={
        "adjacency": "graph/norm_adj",
        "user_graph.training_graph.matrix": user_graph,
        "user_graph.training_graph.transposed": lambda case: user_graph(case).T,
        "item_graph.matrix": "graph/fused_item",
        "item_graph.transposed": lambda case: case.arrays["graph/fused_item"].T,
    },
    constants={
        "user_graph.graph.matrix": user_graph,
        "user_graph.graph.transposed": lambda case: user_graph(case).T,
    },
    prepare=draw,
)
