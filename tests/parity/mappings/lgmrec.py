from mmbench.models.lgmrec import LGMRec
from tests.parity.frozen import draw
from tests.parity.golden import Mapping

MAPPING = Mapping(
    reference="LGMRec",
    model=LGMRec,
    hyper_parameters={
        "embedding_dim": "embedding_size",
        "backbone": "cf_model",
        "n_ui_layers": "n_ui_layers",
        "n_content_layers": "n_mm_layers",
        "n_hyper_layers": "n_hyper_layer",
        "n_hyperedges": "hyper_num",
        "keep_rate": "keep_rate",
        "alpha": "alpha",
        "cl_weight": "cl_weight",
        "reg_weight": "reg_weight",
    },
    fixed={"as_reference": True},
    ignored=("feat_embed_dim", "train_batch_size"),
    parameters={
        "user_embedding": "user_embedding.weight",
        "item_embedding": "item_id_embedding.weight",
        "projection.image": "item_image_trs",
        "projection.text": "item_text_trs",
        "hyperedges.image": "v_hyper",
        "hyperedges.text": "t_hyper",
    },
    unused=("image_embedding.weight", "text_embedding.weight"),  # frozen
    losses={
        "bpr": "bpr",
        "reg": lambda case: case.hyper_parameters["reg_weight"] * case.arrays["loss/reg_unweighted"],
        "contrast_users_image_text": lambda case: case.hyper_parameters["cl_weight"] * case.arrays["loss/hcl_users"],
        "contrast_items_image_text": lambda case: case.hyper_parameters["cl_weight"] * case.arrays["loss/hcl_items"],
    },
    graphs={
        "adjacency": "graph/norm_adj",
        "histories.matrix": "graph/interaction",
        "histories.transposed": lambda case: case.arrays["graph/interaction"].T,
        "inverse_degree": lambda case: case.arrays["graph/inverse_degree"][: case.data.n_users],
    },
    constants={
        f"noise.{kind}_{node}_{name}": draw(f"{kind}_{node}_{name}")
        for kind in ("gumbel", "drop")
        for node in ("item", "user")
        for name in ("image", "text")
    },
)
