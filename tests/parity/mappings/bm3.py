import numpy as np

from mmbench.models.bm3 import BM3
from tests.parity.frozen import draw
from tests.parity.golden import Array, Case, Mapping


def items_of_batch(case: Case) -> Array:
    """We draw content targets for the distinct items of the batch, the reference for all items."""
    return np.unique(case.arrays["pos"])


MAPPING = Mapping(
    reference="BM3",
    model=BM3,
    hyper_parameters={
        "embedding_dim": "embedding_size",
        "n_layers": "n_layers",
        "dropout": "dropout",
        "cl_weight": "cl_weight",
        "reg_weight": "reg_weight",
    },
    fixed={"as_reference": True},
    ignored=("feat_embed_dim", "train_batch_size"),
    parameters={
        "user_embedding": "user_embedding.weight",
        "item_embedding": "item_id_embedding.weight",
        "predictor.weight": "predictor.weight",
        "predictor.bias": "predictor.bias",
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
    losses={
        "user_item": "user_item",
        "item_user": "item_user",
        "reg": lambda case: case.hyper_parameters["reg_weight"] * case.arrays["loss/reg_unweighted"],
    },  # the terms of modalities are stored without their weight and not in every case; the total holds them
    graphs={"adjacency": "graph/norm_adj"},
    constants={
        "noise.user": draw("drop_user_target"),
        "noise.item": draw("drop_item_target"),
        **{f"noise.content_{name}": draw(f"drop_{name}_target", items_of_batch) for name in ("image", "text")},
    },
)
