from mmbench.models.addease import AddEASE
from tests.parity.golden import Mapping
from tests.parity.weights import by_modality, first_share


def weights(given):
    return by_modality(given, {"image": "beta_image", "text": "beta_text"})


MAPPING = Mapping(
    reference="AddEASE",
    model=AddEASE,
    hyper_parameters={
        "as_reference": lambda given: "l2" in given,
        "reg_weight": lambda given: given["l2"] if "l2" in given else given["reg_weight"],
        "content_reg_weight": lambda given: (
            given.get("l2_content", 1.0) if "l2" in given else given["content_reg_weight"]
        ),
        "content_weight": lambda given: sum(weights(given).values()) if "l2" in given else given["content_weight"],
        "first_modality_weight": lambda given: (
            first_share(weights(given)) if "l2" in given else given["first_modality_weight"]
        ),
    },
)
