import numpy as np

from mmbench.models.selfcf import SelfCF
from tests.parity.golden import Array, Case, Mapping


def edges(case: Case) -> Array:
    """Factors 0 or 1 / (1 - rate) of the entries of the graph, by row and column; one where nothing is dropped."""
    rows, columns = np.nonzero(case.arrays["graph/norm_adj"])
    if "graph/edge_keep_mask" not in case.arrays:
        return np.ones(len(rows))
    return case.arrays["graph/edge_keep_mask"][rows, columns] / (1.0 - case.arrays["graph/edge_drop_rate"])


def target(case: Case, whose: str) -> Array:
    """Factors of the target's dropout, ``(B, d)``."""
    shape = (len(case.arrays["users"]), case.hyper_parameters["embedding_size"])
    return case.arrays.get(f"graph/target_mask_{whose}", np.ones(shape)) / (1.0 - case.hyper_parameters["dropout"])


MAPPING = Mapping(
    reference="SELFCFED_LGN",
    model=SelfCF,
    hyper_parameters={
        "embedding_dim": "embedding_size",
        "n_layers": "n_layers",
        "dropout": "dropout",
        "reg_weight": "reg_weight",
    },
    fixed={"as_reference": True},
    ignored=("_nodrop",),
    parameters={
        "user_embedding": "online_encoder.embedding_dict.user_emb",
        "item_embedding": "online_encoder.embedding_dict.item_emb",
        "predictor.weight": "predictor.weight",
        "predictor.bias": "predictor.bias",
    },
    losses={"prediction": "data_term", "reg": "weighted_regulariser"},
    graphs={"adjacency": "graph/norm_adj"},
    constants={
        "noise.edges": edges,
        "noise.user_target": lambda case: target(case, "user"),
        "noise.item_target": lambda case: target(case, "item"),
    },
)
