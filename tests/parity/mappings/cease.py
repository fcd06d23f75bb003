from mmbench.models.cease import CEASE
from tests.parity.golden import Mapping
from tests.parity.weights import by_modality, first_share


def weights(given):
    return by_modality(given, {"image": "alpha_image", "text": "alpha_text"}, power=2)


MAPPING = Mapping(
    reference="CEASE",
    model=CEASE,
    hyper_parameters={
        "as_reference": lambda given: "l2" in given,
        "reg_weight": lambda given: given["l2"] if "l2" in given else given["reg_weight"],
        "content_weight": lambda given: sum(weights(given).values()) if "l2" in given else given["content_weight"],
        "first_modality_weight": lambda given: (
            first_share(weights(given)) if "l2" in given else given["first_modality_weight"]
        ),
    },
)
