from mmbench.models.l3ae import L3AE
from tests.parity.golden import Mapping
from tests.parity.weights import by_modality, first_share


def weights(given):
    """Ridges towards the content solutions; with one modality the reference does not name it."""
    both = by_modality(given, {"image": "reg_E_image", "text": "reg_E_text"})
    return both or by_modality(given, {"content": "reg_E"})


def penalty(given):
    return given["reg_X"] + sum(weights(given).values())


MAPPING = Mapping(
    reference="L3AE",
    model=L3AE,
    hyper_parameters={
        "as_reference": lambda given: "reg_X" in given,
        "reg_weight": lambda given: penalty(given) if "reg_X" in given else given["reg_weight"],
        "content_reg_weight": lambda given: (
            given.get("reg_F", 1.0) if "reg_X" in given else given["content_reg_weight"]
        ),
        "content_weight": lambda given: (
            sum(weights(given).values()) / penalty(given) if "reg_X" in given else given["content_weight"]
        ),
        "first_modality_weight": lambda given: (
            first_share(weights(given)) if "reg_X" in given else given["first_modality_weight"]
        ),
    },
)
