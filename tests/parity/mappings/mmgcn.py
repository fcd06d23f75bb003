from mmbench.models.mmgcn import MMGCN
from tests.parity.golden import Mapping

#: The reference always has three, whatever its ``n_layers`` is.
N_LAYERS = 3
BRANCHES = [("image", "v_gcn"), ("text", "t_gcn")]
LAYERS = [
    ("message", "conv_embed_{}.weight"),
    ("own.weight", "linear_layer{}.weight"),
    ("own.bias", "linear_layer{}.bias"),
    ("combine.weight", "g_layer{}.weight"),
    ("combine.bias", "g_layer{}.bias"),
]

MAPPING = Mapping(
    reference="MMGCN",
    model=MMGCN,
    hyper_parameters={"embedding_dim": "embedding_size", "reg_weight": "reg_weight"},
    fixed={"as_reference": True, "n_layers": N_LAYERS},
    ignored=("n_layers",),
    parameters={
        **{
            f"branches.{name}.tower.items.layers.{part}": f"{theirs}.MLP.{part}"
            for name, theirs in BRANCHES
            for part in ("weight", "bias")
        },
        **{
            f"branches.{name}.layers.{layer}.{ours}": f"{theirs}.{golden.format(layer + 1)}"
            for name, theirs in BRANCHES
            for layer in range(N_LAYERS)
            for ours, golden in LAYERS
        },
    },
    losses={"bpr": "data_term", "reg": "weighted_regulariser"},
    graphs={"mean.matrix": "graph/mean_adj", "mean.transposed": lambda case: case.arrays["graph/mean_adj"].T},
    constants={
        "id_embedding": "hidden/id_embedding",
        **{f"branches.{name}.tower.preference": f"hidden/{theirs}.preference" for name, theirs in BRANCHES},
    },
)
