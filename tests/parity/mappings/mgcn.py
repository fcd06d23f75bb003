from mmbench.models.mgcn import MGCN
from tests.parity.golden import Mapping

MAPPING = Mapping(
    reference="MGCN",
    model=MGCN,
    hyper_parameters={
        "embedding_dim": "embedding_size",
        "n_ui_layers": "n_ui_layers",
        "n_layers": "n_layers",
        "k": "knn_k",
        "reg_weight": "reg_weight",
        "cl_weight": "cl_loss",
        "train_batch_size": "train_batch_size",
    },
    fixed={"as_reference": True},
    parameters={
        "user_embedding": "user_embedding.weight",
        "item_embedding": "item_id_embedding.weight",
        "query.0.weight": "query_common.0.weight",
        "query.0.bias": "query_common.0.bias",
        "query.2.weight": "query_common.2.weight",
        **{
            ours.format(name): theirs.format(name, name[0].replace("i", "v"))
            for name in ("image", "text")
            for ours, theirs in [
                ("content.{0}.table", "{0}_embedding.weight"),
                ("content.{0}.projection.weight", "{0}_trs.weight"),
                ("content.{0}.projection.bias", "{0}_trs.bias"),
                ("views.{0}.gate.weight", "gate_{1}.0.weight"),
                ("views.{0}.gate.bias", "gate_{1}.0.bias"),
                ("preference.{0}.weight", "gate_{0}_prefer.0.weight"),
                ("preference.{0}.bias", "gate_{0}_prefer.0.bias"),
            ]
        },
    },
    losses={
        "bpr": "bpr",
        "reg": "reg_weighted",
        "contrast_users": lambda case: case.hyper_parameters["cl_loss"] * case.arrays["loss/infonce_users"],
        "contrast_items": lambda case: case.hyper_parameters["cl_loss"] * case.arrays["loss/infonce_items"],
    },
    graphs={
        "adjacency": "graph/norm_adj",
        "to_users.matrix": "graph/norm_R",
        "to_users.transposed": lambda case: case.arrays["graph/norm_R"].T,
        **{f"views.{name}.item_graph.matrix": f"graph/{name}_knn" for name in ("image", "text")},
        "views.image.item_graph.transposed": lambda case: case.arrays["graph/image_knn"].T,
        "views.text.item_graph.transposed": lambda case: case.arrays["graph/text_knn"].T,
    },
)
