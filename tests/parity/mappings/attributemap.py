from mmbench.models.attributemap import AttributeMap
from tests.parity.golden import Mapping

MAPPING = Mapping(
    reference="AttributeMap",
    model=AttributeMap,
    hyper_parameters={
        name: name
        for name in (
            "embedding_dim",
            "n_sweeps",
            "unobserved_weight",
            "mf_reg_weight",
            "reg_weight",
            "first_modality_weight",
            "mapped",
        )
    },
)
