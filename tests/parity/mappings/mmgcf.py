from typing import Any

import torch

from mmbench.models.mmgcf import MMGCF
from tests.parity.golden import Array, Case, Getter, Mapping


def draw(model: Any, case: Case) -> None:
    """The frozen draw of edges, where the epoch draws any, and values in single precision as the reference has them.

    Five steps of Adam blow up the rounding where a gradient is almost zero (to 1.5e-6 in ``normalized_concat``).
    """
    graph = model.graph
    if "sample/kept_edges" in case.arrays:
        graph.use_edges(torch.from_numpy(case.arrays["sample/kept_edges"]))
    graph.full, graph.sampled = graph.full.float().double(), graph.sampled.float().double()


def last_layer(part: str) -> Any:
    """The layer of the outer fusion: the reference has one for two vectors and one for all."""

    def source(case: Case, get: Getter) -> Array:
        name = "id_mm_concat_layer" if case.hyper_parameters["weighting"] == "equal" else "all_concat_layer"
        return get(f"{name}.{part}")

    return source


MAPPING = Mapping(
    reference="MMGCF",
    model=MMGCF,
    hyper_parameters={
        "embedding_dim": "embedding_size",
        "n_layers": "n_ui_layers",
        "fusion": "fusion_mode",
        "weighting": "weighting",
        "dropout": "dropout",
        "reg_weight": "reg_weight",
    },
    ignored=("feat_embed_dim", "train_batch_size"),
    parameters={
        "user_embedding": "user_embedding.weight",
        "item_embedding": "item_id_embedding.weight",
        "alpha": "mm_alpha",
        **{
            f"content.{name}.projection.{part}": f"{name}_trs.{part}"
            for name in ("image", "text")
            for part in ("weight", "bias")
        },
        **{f"fuse_content.layer.{part}": f"mm_concat_layer.{part}" for part in ("weight", "bias")},
        **{f"fuse.layer.{part}": last_layer(part) for part in ("weight", "bias")},
    },
    # Raw features are constants; layers that the weighting does not use have no gradient.
    unused=(
        "image_embedding.weight",
        "text_embedding.weight",
        *(f"{name}_concat_layer.{part}" for name in ("all", "mm", "id_mm") for part in ("weight", "bias")),
    ),
    losses={
        "bpr": "bpr",
        "reg": lambda case: case.hyper_parameters["reg_weight"] * case.arrays["loss/reg_unweighted"],
    },
    graphs={"graph.full": "graph/norm_adj", "graph.sampled": "graph/masked_adj"},
    fixed={"as_reference": True},
    prepare=draw,
)
