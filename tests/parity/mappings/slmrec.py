from mmbench.models.slmrec import SLMRec
from tests.parity.golden import Mapping

MAPPING = Mapping(
    reference="SLMRec",
    model=SLMRec,
    hyper_parameters={
        "embedding_dim": "recdim",
        "n_layers": "layer_num",
        "temperature": "temp",
        "alignment_weight": "ssl_alpha",
        "alignment_temperature": "ssl_temp",
    },
    fixed={"as_reference": True},
    # Adam's weight decay is the trainer's; `reg` is never read; the rest names the one variant that runs.
    ignored=("weight_decay", "reg", "ssl_task", "mm_fusion_mode", "init", "adj_type", "_dataset_name"),
    parameters={
        "user_embedding": "embedding_user.weight",
        "item_embedding": "embedding_item.weight",
        **{
            f"{ours}.{part}": f"{theirs}.{part}"
            for ours, theirs in [
                ("content.image.layers", "v_dense"),
                ("content.text.layers", "t_dense"),
                ("fuse_users", "embedding_user_after_GCN"),
                ("fuse_items", "embedding_item_after_GCN"),
                ("chain.image.0", "g_i_iv"),
                ("views.image", "g_v_iv"),
                ("chain.text.0", "g_iv_iva"),
                ("chain.text.1", "g_iva_ivat"),
                ("views.text", "g_t_ivat"),
            ]
            for part in ("weight", "bias")
        },
    },
    unused=tuple(
        f"{name}.{part}" for name in ("g_a_iva", "g_iv_iva", "g_iva_ivat", "g_t_ivat") for part in ("weight", "bias")
    ),
    losses={  # the alignment of text, which the case of images lacks, is part of the total
        "contrast": "main_infonce",
        "align_image": lambda case: case.hyper_parameters["ssl_alpha"] * case.arrays["loss/ssl_image_alignment"],
    },
    graphs={"adjacency": "graph/norm_adj"},
)
