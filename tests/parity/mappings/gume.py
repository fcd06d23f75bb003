from collections.abc import Callable

import numpy as np

from mmbench.models.gume import GUME
from tests.parity.frozen import draw
from tests.parity.golden import Array, Case, Mapping

TERMS = {
    "align": ("vt_loss", "vt"),
    "contrast_users": ("bm_loss", "bm_users"),
    "contrast_items": ("bm_loss", "bm_items"),
    "between": ("um_loss", "um_between"),
    "noise_side": ("um_loss", "um_noise_integration"),
    "noise_extended": ("um_loss", "um_noise_extended"),
}


def distinct_users(case: Case) -> Array:
    """The rows whose noise we draw; the reference draws it for all users."""
    return np.unique(case.arrays["users"])


def weighted(weight: str, term: str) -> Callable[[Case], Array]:
    return lambda case: case.hyper_parameters[weight] * case.arrays[f"loss/{term}"]


MAPPING = Mapping(
    reference="GUME",
    model=GUME,
    hyper_parameters={
        "embedding_dim": "embedding_size",
        "n_ui_layers": "n_ui_layers",
        "n_layers": "n_layers",
        "k": "knn_k",
        "reg_weight": "reg_weight_1",
        "extended_reg_weight": "reg_weight_2",
        "alignment_weight": "vt_loss",
        "cl_weight": "bm_loss",
        "temperature": "bm_temp",
        "user_cl_weight": "um_loss",
        "user_temperature": "um_temp",
        "train_batch_size": "train_batch_size",
    },
    fixed={"as_reference": True},
    parameters={
        "user_embedding": "user_embedding.weight",
        "item_embedding": "item_id_embedding.weight",
        "query.0.weight": "separate_coarse.0.weight",
        "query.0.bias": "separate_coarse.0.bias",
        "query.2.weight": "separate_coarse.2.weight",
        **{
            ours.format(name): theirs.format(name)
            for name in ("image", "text")
            for ours, theirs in [
                ("extended_users.{0}", "extended_{0}_user.weight"),
                ("content.{0}.table", "{0}_embedding.weight"),
                ("content.{0}.projection.weight", "{0}_reduce_dim.weight"),
                ("content.{0}.projection.bias", "{0}_reduce_dim.bias"),
                ("views.{0}.gate.weight", "{0}_trans_dim.0.weight"),
                ("views.{0}.gate.bias", "{0}_trans_dim.0.bias"),
                ("preference.{0}.weight", "{0}_behavior.0.weight"),
                ("preference.{0}.bias", "{0}_behavior.0.bias"),
            ]
        },
    },
    losses={
        "bpr": "bpr",
        "reg": "reg_weighted",
        "extended_reg": "reg_extended_weighted",
        **{ours: weighted(weight, term) for ours, (weight, term) in TERMS.items()},
    },
    graphs={
        "graph.matrix": "graph/norm_adj",
        "graph.transposed": lambda case: case.arrays["graph/norm_adj"].T,
        "to_users.matrix": "graph/norm_R",
        "to_users.transposed": lambda case: case.arrays["graph/norm_R"].T,
        **{f"views.{name}.item_graph.matrix": f"graph/{name}_knn" for name in ("image", "text")},
        "views.image.item_graph.transposed": lambda case: case.arrays["graph/image_knn"].T,
        "views.text.item_graph.transposed": lambda case: case.arrays["graph/text_knn"].T,
    },
    constants={
        f"noise.{ours}_{number}": draw(f"{theirs}_{number}", distinct_users)
        for ours, theirs in (("side", "integration"), ("extended", "extended"))
        for number in (1, 2)
    },
)
