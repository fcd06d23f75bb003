from mmbench.models.lightgcn import LightGCN
from tests.parity.golden import Mapping

MAPPING = Mapping(
    reference="LightGCN",
    model=LightGCN,
    hyper_parameters={"embedding_dim": "embedding_size", "n_layers": "n_layers", "reg_weight": "reg_weight"},
    parameters={"user_embedding": "embedding_dict.user_emb", "item_embedding": "embedding_dict.item_emb"},
    losses={"bpr": "bpr", "reg": "weighted_regulariser"},
    graphs={"adjacency": "graph/norm_adj"},
)
