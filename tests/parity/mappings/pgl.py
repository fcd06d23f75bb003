from typing import Any

import torch

from mmbench.models.pgl import PGL
from tests.parity.frozen import draw
from tests.parity.golden import Case, Mapping


def use_frozen_edges(model: Any, case: Case) -> None:
    """The frozen sample of edges; the global mode samples none."""
    if model.mode == "local":
        model.graph.use_edges(torch.from_numpy(case.arrays["sample/kept_edges"]))


MAPPING = Mapping(
    reference="PGL",
    model=PGL,
    hyper_parameters={
        "embedding_dim": "embedding_size",
        "mode": "mode",
        "n_ui_layers": "n_ui_layers",
        "n_layers": "n_mm_layers",
        "k": "knn_k",
        "first_modality_weight": "mm_image_weight",
        "dropout": "dropout",
        "reg_weight": "reg_weight",
    },
    fixed={"as_reference": True},
    ignored=("feat_embed_dim", "train_batch_size"),
    parameters={
        ours: theirs
        for name in ("image", "text")
        for ours, theirs in [
            (f"users.{name}", f"user_{name}.weight"),
            (f"content.{name}.table", f"{name}_embedding.weight"),
            (f"content.{name}.projection.weight", f"{name}_trs.weight"),
            (f"content.{name}.projection.bias", f"{name}_trs.bias"),
        ]
    },
    losses={"bpr": "bpr"},  # the contrast is stored without its weight, also where that is zero; the total holds it
    graphs={
        "graph.full": "graph/norm_adj",
        "graph.sampled": "graph/sub_graph",
        "item_graph.matrix": "graph/fused_item",
        "item_graph.transposed": lambda case: case.arrays["graph/fused_item"].T,
    },
    constants={
        f"noise.{ours}_{view}": draw(f"drop_{theirs}_view{view}")
        for ours, theirs in [("user", "user"), ("positive", "pos")]
        for view in (1, 2)
    },
    prepare=use_frozen_edges,
)
