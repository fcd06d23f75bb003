from mmbench.models.dragon import DRAGON
from tests.parity.frozen import pad_users, padded_user_graph
from tests.parity.golden import Mapping

MAPPING = Mapping(
    reference="DRAGON",
    model=DRAGON,
    hyper_parameters={
        "embedding_dim": "embedding_size",
        "k": "knn_k",
        "n_layers": "n_mm_layers",
        "first_modality_weight": "mm_image_weight",
        "reg_weight": "reg_weight",
    },
    fixed={"as_reference": True},
    ignored=("feat_embed_dim", "n_layers", "aggr_mode", "train_batch_size"),
    parameters={
        "user_weights": lambda case, get: get("weight_u")[..., 0],
        **{
            f"towers.{name}.{ours}": f"{tower}.{theirs}"
            for name, tower in [("image", "v_gcn"), ("text", "t_gcn")]
            for ours, theirs in [
                ("preference", "preference"),
                ("items.layers.0.weight", "MLP.weight"),
                ("items.layers.0.bias", "MLP.bias"),
                ("items.layers.2.weight", "MLP_1.weight"),
                ("items.layers.2.bias", "MLP_1.bias"),
            ]
        },
    },
    unused=(
        "weight_i",
        "MLP_v.weight",
        "MLP_t.weight",
        "MLP_user.weight",
        "MLP_user.bias",
        *(f"{name}_{rest}" for name in ("image", "text") for rest in ("embedding.weight", "trs.weight", "trs.bias")),
    ),
    losses={"bpr": "bpr_log2"},  # the other terms are stored one by one and without their weight; the total holds them
    graphs={
        "adjacency": "graph/norm_adj",
        "user_graph.training_graph.matrix": padded_user_graph,
        "user_graph.training_graph.transposed": lambda case: padded_user_graph(case).T,
        "item_graph.matrix": "graph/fused_item",
        "item_graph.transposed": lambda case: case.arrays["graph/fused_item"].T,
    },
    constants={
        "user_graph.graph.matrix": padded_user_graph,
        "user_graph.graph.transposed": lambda case: padded_user_graph(case).T,
    },
    prepare=pad_users,
)
