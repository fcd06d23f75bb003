from mmbench.models.grcn import GRCN
from tests.parity.golden import Mapping

MAPPING = Mapping(
    reference="GRCN",
    model=GRCN,
    hyper_parameters={
        "embedding_dim": "embedding_size",
        "content_dim": "latent_embedding",
        "n_routings": "n_layers",
        "reg_weight": "reg_weight",
    },
    fixed={"as_reference": True},
    parameters={
        "id_embedding": "id_gcn.id_embedding",
        "confidence": "model_specific_conf",
        **{
            f"towers.{name}.{ours}": f"{tower}.{theirs}"
            for name, tower in [("image", "v_gcn"), ("text", "t_gcn")]
            for ours, theirs in [
                ("preference", "preference"),
                ("items.layers.0.weight", "MLP.weight"),
                ("items.layers.0.bias", "MLP.bias"),
            ]
        },
    },
    losses={"bpr": "data_term", "reg": "weighted_regulariser"},
)
