import numpy as np

from mmbench.models.dropoutnet import DropoutNet
from tests.parity.golden import Case, Mapping


def dropped(name: str) -> object:
    """The rows of a pass in which the vector of the item is zero."""
    return lambda case: np.nonzero(case.arrays[f"noise/{name}"])[0]


def running(name: str) -> object:
    """A running statistic; a training forward changes it in place, and golden arrays are shared."""

    def source(case: Case) -> np.ndarray:
        return case.arrays[f"buffer/{name}"].copy()

    return source


def columns(part: slice) -> object:
    """The reference maps vector and content by one layer, we by two."""
    return lambda case, get: get("deepcf_encoder.v_layers.0.layer.weight")[:, part]


#: Our layers and the reference's names; normalisations have running statistics too.
LAYERS = {
    f"{ours}.{place}": f"deepcf_encoder.{theirs}"
    for ours, side in (("user_tower", "u"), ("item_tower", "v"))
    for place, theirs in [
        ("first", f"{side}_layers.0.layer"),
        ("norms.0", f"{side}_layers.0.bn"),
        ("second", f"{side}_layers.1.layer"),
        ("norms.1", f"{side}_layers.1.bn"),
        ("output", f"{side}_emb"),
    ]
}


def parameters(given):
    """Where the content begins in the first layer depends on the width of the vectors."""
    width = given["embedding_size"]
    return {
        **{f"{ours}.{part}": f"{theirs}.{part}" for ours, theirs in LAYERS.items() for part in ("weight", "bias")},
        "item_tower.first.weight": columns(slice(width)),
        "content_map.weight": columns(slice(width, None)),
        "user_embedding": "embedding_dict.user_emb",
        "item_embedding": "embedding_dict.item_emb",
    }


MAPPING = Mapping(
    reference="DropoutNet",
    model=DropoutNet,
    hyper_parameters={
        "embedding_dim": "embedding_size",
        "hidden_dim": "hidden1",
        "second_hidden_dim": "hidden2",
        "dropout": "n_dropout",
        "as_reference": lambda given: "ials_n_sweeps" not in given,
        "n_sweeps": lambda given: given.get("ials_n_sweeps", 1),
        "unobserved_weight": lambda given: given.get("ials_unobserved_weight", 1.0),
        "mf_reg_weight": lambda given: given.get("ials_reg_weight", 1.0),
    },
    parameters=parameters,
    losses={"mse": "mse"},
    constants={
        "noise.positive": dropped("drop_pos"),
        "noise.negative": dropped("drop_neg"),
        **{
            f"{ours}.{part}": running(f"{theirs}.{part}")
            for ours, theirs in LAYERS.items()
            if theirs.endswith(".bn")
            for part in ("running_mean", "running_var")
        },
    },
)
