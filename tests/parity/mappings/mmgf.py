from mmbench.models.mmgf import MMGF
from tests.parity.golden import Mapping
from tests.parity.weights import by_modality, first_share


def weights(given):
    return by_modality(given, {"image": "b", "text": "a"})


MAPPING = Mapping(
    reference="MMGF",
    model=MMGF,
    hyper_parameters={
        "as_reference": lambda given: "n" in given,
        "alpha": "alpha",
        "power": "power",
        "order": lambda given: given.get("n", 1),
        "content_weight": lambda given: sum(weights(given).values()) if "n" in given else given["content_weight"],
        "first_modality_weight": lambda given: (
            first_share(weights(given)) if "n" in given else given["first_modality_weight"]
        ),
    },
)
