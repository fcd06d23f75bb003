from collections.abc import Mapping
from typing import Any

import torch

from mmbench.models.mvgae import MVGAE
from tests.parity import golden
from tests.parity.golden import Array, Case, Getter, ParameterSource

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


def encoder(name: str, prefix: str, n_layers: int) -> dict[str, Any]:
    """Parameters of one encoder; the reference numbers its hidden layers from 1 and its heads 4 and 5."""
    ours = f"encoders.{name}"
    sources = {f"{ours}.ego.items.layers.{part}": f"{prefix}.MLP.{part}" for part in ("weight", "bias")}
    for number in range(1, n_layers + 1):
        sources |= layer(f"{ours}.hidden.{number - 1}", prefix, number)
    for head, number in (("mean", 4), ("log_variance", 5)):
        sources |= layer(f"{ours}.heads.{head}", prefix, number)
        sources |= {
            f"{ours}.skips.{head}.{part}": f"{prefix}.linear_layer{number}.{part}" for part in ("weight", "bias")
        }
    return sources


def parameters(given: Mapping[str, Any]) -> dict[str, ParameterSource]:
    encoders = [encoder(ours, f"{prefix}_gcn", given["n_layers"]) for ours, (prefix, _) in ENCODERS.items()]
    return {name: source for sources in encoders for name, source in sources.items()}


def give_graph(model: Any, case: Case) -> None:
    """The golden mean over neighbours."""
    golden = torch.from_numpy(case.arrays["graph/mean_adj_with_self_loops"])
    model.neighbourhood.matrix = golden.to_sparse_csr()
    model.neighbourhood.transposed = golden.T.to_sparse_csr()


MAPPING = golden.Mapping(
    reference="MVGAE",
    model=MVGAE,
    hyper_parameters={"embedding_dim": "embedding_size", "n_layers": "n_layers", "beta": "beta"},
    fixed={"as_reference": True, "dropout": 0.0},  # dropout is off in the golden files
    ignored=("train_batch_size",),
    parameters=parameters,
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
