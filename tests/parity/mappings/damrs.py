from mmbench.models.damrs import DAMRS
from tests.parity.golden import Array, Case, Mapping

VIEWS = {"content_image": "image", "content_text": "text", "companions": "session"}


def term(view: str) -> object:
    """The share of one view in the weighted sum."""

    def source(case: Case) -> Array:
        n_views = 1 + len(case.modalities)
        return case.hyper_parameters["neighbor_weight"] / n_views * case.arrays[f"loss/nd_{view}"]

    return source


def transposed(name: str) -> object:
    return lambda case: case.arrays[f"graph/{name}"].T


MAPPING = Mapping(
    reference="DAMRS",
    model=DAMRS,
    hyper_parameters={
        "embedding_dim": "embedding_size",
        "n_ui_layers": "n_ui_layers",
        "n_layers": "n_mm_layers",
        "k": "knn_k",
        "kl_weight": "kl_weight",
        "neighbor_weight": "neighbor_weight",
    },
    ignored=("feat_embed_dim", "train_batch_size"),
    parameters={"user_embedding": "user_embedding.weight", "item_embedding": "item_id_embedding.weight"},
    # Features are constants that only make graphs; the projections of the reference lead nowhere.
    unused=tuple(
        f"{name}_{part}" for name in ("image", "text") for part in ("embedding.weight", "trs.weight", "trs.bias")
    ),
    losses={
        "bpr": "bpr_weighted",
        "kl": lambda case: case.hyper_parameters["kl_weight"] * case.arrays["loss/kl"],
        **{f"neighbours_{ours}": term(theirs) for ours, theirs in VIEWS.items()},
    },
    graphs={
        "adjacency": "graph/norm_adj",
        **{f"item_graphs.content_{name}.matrix": f"graph/{name}_knn" for name in ("image", "text")},
        **{f"item_graphs.content_{name}.transposed": transposed(f"{name}_knn") for name in ("image", "text")},
    },
    # Ties among equally frequent companions are arbitrary in the reference: given in both runs.
    constants={
        "item_graphs.companions.matrix": "graph/session",
        "item_graphs.companions.transposed": transposed("session"),
    },
)
