from collections.abc import Callable

from mmbench.models.smore import SMORE
from tests.parity.frozen import draw
from tests.parity.golden import Array, Case, Mapping

VIEWS = {  # ours: the reference's name of the view, its letter and its graph
    "image": ("image", "v", "graph/image_knn"),
    "text": ("text", "t", "graph/text_knn"),
    "*": ("fusion", "f", "graph/fused_item_maxpool"),
}


def transposed(key: str) -> Callable[[Case], Array]:
    return lambda case: case.arrays[key].T


MAPPING = Mapping(
    reference="SMORE",
    model=SMORE,
    hyper_parameters={
        "embedding_dim": "embedding_size",
        "n_ui_layers": "n_ui_layers",
        "n_layers": "n_layers",
        "k_of": lambda given: {"image": given["image_knn_k"], "text": given["text_knn_k"]},
        "dropout": "dropout_rate",
        "reg_weight": "reg_weight",
        "cl_weight": "cl_loss",
        "train_batch_size": "train_batch_size",
    },
    fixed={"as_reference": True},
    ignored=("temperature",),
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
        **{
            f"query.{name}.{part}": f"query_{VIEWS[name][1]}.{part}"
            for name in ("image", "text")
            for part in ("0.weight", "0.bias", "2.weight")
        },
        **{f"filters.{name}": f"{theirs}_complex_weight" for name, (theirs, _, _) in VIEWS.items()},
        **{
            f"{ours}.{part}": f"{reference}.0.{part}"
            for name, (theirs, letter, _) in VIEWS.items()
            for ours, reference in [
                (f"views.{name}.gate", f"gate_{letter}"),
                (f"preference.{name}", f"gate_{theirs}_prefer"),
            ]
            for part in ("weight", "bias")
        },
    },
    losses={
        "bpr": "bpr",
        "reg": "reg_weighted",
        "contrast_users": lambda case: case.hyper_parameters["cl_loss"] * case.arrays["loss/infonce_users"],
        "contrast_items": lambda case: case.hyper_parameters["cl_loss"] * case.arrays["loss/infonce_items"],
    },
    graphs={
        "adjacency": "graph/norm_adj",
        "to_users.matrix": "graph/norm_R",
        "to_users.transposed": transposed("graph/norm_R"),
        **{f"views.{name}.item_graph.matrix": key for name, (_, _, key) in VIEWS.items()},
        **{f"views.{name}.item_graph.transposed": transposed(key) for name, (_, _, key) in VIEWS.items()},
    },
    constants={f"noise.preference_{name}": draw(f"drop_{theirs}_prefer") for name, (theirs, _, _) in VIEWS.items()},
)
