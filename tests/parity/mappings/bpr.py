from mmbench.models.bpr import BPR
from tests.parity.golden import Mapping

MAPPING = Mapping(
    reference="BPR",
    model=BPR,
    hyper_parameters={"embedding_dim": "embedding_size", "reg_weight": "reg_weight"},
    parameters={"user_embedding": "user_embedding.weight", "item_embedding": "item_embedding.weight"},
    losses={"bpr": "bpr", "reg": "weighted_regulariser"},
)
