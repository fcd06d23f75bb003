from typing import Any

import torch

from mmbench.models.mvgae import MVGAE
from tests.parity.golden import Array, Case, Getter, Mapping

#: Our name of an encoder: the prefix of the reference, and its name elsewhere in the golden file.
ENCODERS = {"content_image": ("v", "image"), "content_text": ("t", "text"), "table": ("c", "collab")}


def layer(ours: str, prefix: str, number: int) -> dict[str, Any]:
    """A convolution, whose weight is stored turned round, and the linear map after it."""

    def weight(case: Case, get: Getter) -> Array:
        return get(f"{prefix}.conv_embed_{number}.weight").T

    return {
        f"{ours}.convolution.weight": weight,
        f"{ours}.convolution.bias": f"{prefix}.conv_embed_{number}.bias",
        f"{ours}.linear.weight": f"{prefix}.g_layer{number}.weight",
        f"{ours}.linear.bias": f"{prefix}.g_layer{number}.bias",
    }


def encoder(name: str, prefix: str) -> dict[str, Any]:
    ours = f"encoders.{name}"
    found = {f"{ours}.ego.items.layers.{part}": f"{prefix}.MLP.{part}" for part in ("weight", "bias")}
    for number in (1, 2):
        found |= layer(f"{ours}.hidden.{number - 1}", prefix, number)
    for head, number in (("mean", 4), ("log_variance", 5)):
        found |= layer(f"{ours}.heads.{head}", prefix, number)
        found |= {f"{ours}.skips.{head}.{part}": f"{prefix}.linear_layer{number}.{part}" for part in ("weight", "bias")}
    return found


def give_graph(model: Any, case: Case) -> None:
    """The golden mean over neighbours."""
    golden = torch.from_numpy(case.arrays["graph/mean_adj_with_self_loops"])
    model.neighbourhood.matrix = golden.to_sparse_csr()
    model.neighbourhood.transposed = golden.T.to_sparse_csr()


MAPPING = Mapping(
    reference="MVGAE",
    model=MVGAE,
    hyper_parameters={"embedding_dim": "embedding_size", "n_layers": "n_layers", "beta": "beta"},
    fixed={"as_reference": True, "dropout": 0.0},  # dropout is off in the golden files
    ignored=("train_batch_size",),
    parameters={k: v for ours, (prefix, _) in ENCODERS.items() for k, v in encoder(ours, f"{prefix}_gcn").items()},
    # Results of the skip maps of hidden layers are thrown away; the second hidden layer may be absent.
    unused=tuple(
        f"{prefix}_gcn.{module}.{part}"
        for prefix, _ in ENCODERS.values()
        for module in ("linear_layer1", "linear_layer2", "conv_embed_2", "g_layer2")
        for part in ("weight", "bias")
    ),
    losses={
        **{f"reconstruction_{ours}": f"recon_{theirs}" for ours, (_, theirs) in ENCODERS.items()},
        "reconstruction_fused": "recon_fused",
        "kl_fused": lambda case: case.hyper_parameters["beta"] * case.arrays["loss/kl_fused"],
    },
    give_graphs=give_graph,
    constants={
        "encoders.table.ego.items.table": "buffer/collaborative",
        **{
            f"encoders.{ours}.ego.preference": f"buffer/{prefix}_gcn.preference"
            for ours, (prefix, _) in ENCODERS.items()
        },
        "noise.fused": "noise/eps_fused",
        **{f"noise.{ours}": f"noise/eps_{theirs}" for ours, (_, theirs) in ENCODERS.items()},
    },
)
