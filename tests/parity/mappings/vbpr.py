from mmbench.models.vbpr import VBPR
from tests.parity.golden import Mapping

MAPPING = Mapping(
    reference="VBPR",
    model=VBPR,
    hyper_parameters={"embedding_dim": "embedding_size", "reg_weight": "reg_weight"},
    parameters={
        "user_embedding": "u_embedding",
        "item_embedding": "i_embedding",
        "projection.weight": lambda case, get: case.name_order(get("item_linear.weight")),
        "projection.bias": "item_linear.bias",
    },
    losses={"bpr": "bpr", "reg": "weighted_regulariser"},
    fixed={"as_reference": True},
)
