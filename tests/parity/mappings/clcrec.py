from typing import Any

import torch

from mmbench.models.clcrec import CLCRec
from tests.parity.golden import Case, Mapping


def give_negatives(model: Any, case: Case) -> None:
    """The golden negatives in place of the draws."""
    negatives = torch.from_numpy(case.arrays["sample/negatives"])
    model.negatives.sample_distinct = lambda *_: (negatives, torch.ones_like(negatives, dtype=torch.bool))


MAPPING = Mapping(
    reference="CLCRec",
    model=CLCRec,
    hyper_parameters={
        "embedding_dim": "dim_E",
        "n_negatives": "num_neg",
        "temperature": "temp_value",
        "agreement_weight": "lr_lambda",
        "replaced": "num_sample",
        "reg_weight": "reg_weight",
    },
    fixed={"as_reference": True},
    parameters={
        "id_embedding": "id_embedding",
        "encoder.0.weight": "encoder_layer1.weight",
        "encoder.0.bias": "encoder_layer1.bias",
        "encoder.2.weight": "encoder_layer2.weight",
        "encoder.2.bias": "encoder_layer2.bias",
    },
    # Nothing reads them.
    unused=(
        *("att_weight_1", "att_weight_2", "bias", "MLP.weight", "MLP.bias"),
        *("att_sum_layer.weight", "att_sum_layer.bias"),
    ),
    losses={"agreement": "re", "ranking": "ui", "reg": "weighted_regulariser"},
    constants={"noise.replaced": "sample/replaced"},
    prepare=give_negatives,
)
