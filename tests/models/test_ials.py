from __future__ import annotations

import pytest
import torch

from mmbench.models.ials import IALS
from mmbench.nn.alternating_least_squares import factorised
from tests.conftest import BlockWorld


def test_scores_are_inner_products_of_the_factorisation(block_world: BlockWorld) -> None:
    """What the factorisation minimises is tested with it."""
    data = block_world.data(())
    model = IALS(data, embedding_dim=5, n_sweeps=3, unobserved_weight=0.2, reg_weight=0.03)
    model.fit(data)
    users, items = factorised(data, 5, 3, 0.2, 0.03)
    chosen = torch.tensor([3, 0, 3])
    assert torch.equal(model.score(chosen), users[chosen] @ items.T)


@pytest.mark.parametrize("name", ["unobserved_weight", "reg_weight"])
def test_weights_must_be_positive(block_world: BlockWorld, name: str) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        IALS(block_world.data(()), **{name: 0.0})
