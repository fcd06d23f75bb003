from collections.abc import Mapping
from typing import Any

import torch

from mmbench.models.lattice import LATTICE
from mmbench.nn.item_graphs import ItemGraph
from tests.parity import golden
from tests.parity.golden import Case, ParameterSource


def give_graphs(model: Any, case: Case) -> None:
    """The golden frozen graphs; the learned ones come from parameters."""
    model.frozen = []
    for name in case.modalities:
        dense = torch.from_numpy(case.arrays[f"graph/{name}_knn_original_norm"])
        model.frozen.append(ItemGraph(dense.nonzero().T, dense[dense != 0], len(dense)))


def parameters(given: Mapping[str, Any]) -> dict[str, ParameterSource]:
    """By modality, and for every layer of NGCF."""
    return {
        "user_embedding": "user_embedding.weight",
        "item_embedding": "item_id_embedding.weight",
        "modal_weight": "modal_weight",
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
            f"{ours}.{layer}.{part}": f"{theirs}.{layer}.{part}"
            for ours, theirs in [("sum_layers", "GC_Linear_list"), ("product_layers", "Bi_Linear_list")]
            for layer in range(len(given["weight_size"]))
            for part in ("weight", "bias")
        },
    }


MAPPING = golden.Mapping(
    reference="LATTICE",
    model=LATTICE,
    hyper_parameters={
        "embedding_dim": "embedding_size",
        "feature_dim": "feat_embed_dim",
        "backbone": "cf_model",
        "n_ui_layers": lambda given: len(given["weight_size"]),
        "n_layers": "n_layers",
        "k": "knn_k",
        "frozen_weight": "lambda_coeff",
        "message_dropout": lambda given: given["mess_dropout"][0],
        "reg_weight": "reg_weight",
        "train_batch_size": "train_batch_size",
    },
    fixed={"as_reference": True},
    parameters=parameters,
    unused=("modal_weight",),  # with one modality
    losses={"bpr": "data_term", "reg": "weighted_regulariser"},
    give_graphs=give_graphs,
)
