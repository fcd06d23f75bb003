from mmbench.models.mentor import MENTOR
from tests.parity.frozen import draw
from tests.parity.golden import Mapping

LAYERS = [(f"layers.{ours}.{part}", f"{theirs}.{part}") for ours, theirs in (("0", "MLP"), ("2", "MLP_1"))
          for part in ("weight", "bias")]  # fmt: skip
TOWERS = [
    ("guide", "id_gcn"),
    *((f"towers.{name}", f"{name[0].replace('i', 'v')}_gcn") for name in ("image", "text")),
    *(
        (f"copies.{n}.{name}", f"{name[0].replace('i', 'v')}_gcn_n{n + 1}")
        for n in (0, 1)
        for name in ("image", "text")
    ),
]

MAPPING = Mapping(
    reference="MENTOR",
    model=MENTOR,
    hyper_parameters={
        "embedding_dim": "embedding_size",
        "hidden_dim": lambda given: 4 * given["embedding_size"],
        "k": "knn_k",
        "n_layers": "n_mm_layers",
        "first_modality_weight": "mm_image_weight",
        "reg_weight": "reg_weight",
        "alignment_weight": "align_weight",
        "cl_weight": "mask_weight_g",
        "temperature": "temp",
        "mask_weight": "mask_weight_f",
        "dropout": "dropout",
    },
    fixed={"as_reference": True},
    ignored=("feat_embed_dim", "n_layers", "train_batch_size"),
    parameters={
        "user_weights": lambda case, get: get("weight_u")[..., 0],
        "predictor.weight": "mlp.weight",
        "predictor.bias": "mlp.bias",
        "guide.items.table": "id_feat",
        **{f"{ours}.preference": f"{theirs}.preference" for ours, theirs in TOWERS},
        **{f"{ours}.items.{a}": f"{theirs}.{b}" for ours, theirs in TOWERS for a, b in LAYERS},
    },
    unused=(
        "weight_i",
        "MLP_user.weight",
        "MLP_user.bias",
        *(f"{name}_{rest}" for name in ("image", "text") for rest in ("embedding.weight", "trs.weight", "trs.bias")),
    ),
    losses={  # the mean squares are stored one by one; the total holds them
        "bpr": "bpr_log2",
        "align": lambda case: case.hyper_parameters["align_weight"] * case.arrays["loss/align"],
        "contrast_users": lambda case: case.hyper_parameters["mask_weight_g"] * case.arrays["loss/infonce_users"],
        "contrast_items": lambda case: case.hyper_parameters["mask_weight_g"] * case.arrays["loss/infonce_items"],
        "mask_user": lambda case: case.hyper_parameters["mask_weight_f"] * case.arrays["loss/mask_user"],
        "mask_item": lambda case: case.hyper_parameters["mask_weight_f"] * case.arrays["loss/mask_item"],
    },
    graphs={
        "adjacency": "graph/norm_adj",
        "item_graph.matrix": "graph/fused_item",
        "item_graph.transposed": lambda case: case.arrays["graph/fused_item"].T,
    },
    constants={
        "noise.user": draw("drop_user"),
        "noise.item": draw("drop_item"),
        **{
            f"noise.{name}_view{view}_hop{hop}": draw(f"{name[0].replace('i', 'v')}_gcn_n{view}_hop{hop}")
            for name in ("image", "text")
            for view in (1, 2)
            for hop in (1, 2)
        },
    },
)
