from typing import Any

import numpy as np
import torch

from mmbench.models.dualgnn import DualGNN
from tests.parity.golden import Array, Case, Mapping


def draw(model: Any, case: Case) -> None:
    """The frozen padding of the lists of users."""
    users = case.arrays["graph/user_neighbour_index"]
    counts = np.take_along_axis(case.arrays["graph/user_cooccurrence_count"], users, axis=1)
    model.user_graph.use(torch.from_numpy(users), torch.from_numpy(counts))


def user_graph(case: Case) -> Array:
    """The frozen draw; the reference also ranks with it, where we rank with the lists as they are."""
    return case.arrays["graph/user_user_dense"]


MAPPING = Mapping(
    reference="DualGNN",
    model=DualGNN,
    hyper_parameters={"embedding_dim": "embedding_size", "reg_weight": "reg_weight"},
    fixed={"as_reference": True},
    ignored=("aggr_mode",),
    parameters={
        "user_weights": lambda case, get: get("weight_u")[..., 0],
        "item_weights": lambda case, get: get("weight_i")[..., 0],
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
    unused=("MLP_v.weight", "MLP_t.weight", "MLP_user.weight", "MLP_user.bias"),
    losses={"bpr": "data_term", "reg": "weighted_regulariser"},
    graphs={
        "adjacency": "graph/norm_adj",
        "user_graph.training_graph.matrix": user_graph,
        "user_graph.training_graph.transposed": lambda case: user_graph(case).T,
    },
    constants={
        "user_graph.graph.matrix": user_graph,
        "user_graph.graph.transposed": lambda case: user_graph(case).T,
    },
    prepare=draw,
)
