from mmbench.models.contentknn import ContentKNN
from tests.parity.golden import Mapping

MAPPING = Mapping(
    reference="ItemKNNCBF",
    model=ContentKNN,
    hyper_parameters={"k": "knn_k", "shrink": "shrink"},
    fixed={"as_reference": True},
    graphs={"similarity": lambda case: case.arrays["graph/item_sim_topk"]},
)
