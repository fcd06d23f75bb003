from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmbench import paths
from mmbench.models.vbpr import VBPR
from mmbench.nn.recommender import Triplets
from mmbench.store import records
from mmbench.store.schema import Cell
from tests.conftest import BlockWorld
from tests.models import dense
from tests.tiny import make_job, opened


def models(block_world: BlockWorld) -> list[VBPR]:
    """The same model with a full and with a bf16 projection."""
    made = []
    for precision in ("full", "bf16"):
        torch.manual_seed(0)
        made.append(VBPR(block_world.data(("image", "text")), embedding_dim=16, projection_precision=precision))
    return made


def test_a_bf16_projection_is_close(block_world: BlockWorld) -> None:
    """Three significant digits; and it is no copy of the full one."""
    full, short = (model.score(torch.arange(44)).detach() for model in models(block_world))
    assert short.dtype == torch.float32
    assert not torch.equal(short, full)
    assert (short - full).abs().max() < 0.01 * full.abs().max()


def test_its_gradients_are_close(block_world: BlockWorld) -> None:
    generator = torch.Generator().manual_seed(0)
    batch = Triplets(*(torch.randint(size, (300,), generator=generator) for size in (44, 36, 36)))
    gradients = []
    for model in models(block_world):
        sum(model.loss(batch).values()).backward()
        gradients.append({name: value.grad for name, value in model.named_parameters()})
    full, short = gradients
    for name, expected in full.items():
        assert short[name].dtype == torch.float32
        assert (short[name] - expected).norm() < 0.01 * expected.norm(), name


def test_it_is_one_in_double_precision_too(block_world: BlockWorld) -> None:
    """A training in double precision widens all tables of a model."""
    full, short = (model.double() for model in models(block_world))
    scores = [model.score(torch.arange(44)).detach() for model in (full, short, models(block_world)[1])]
    assert scores[1].dtype == torch.float64
    assert (scores[1] - scores[0]).abs().max() > 1e-4 * scores[0].abs().max()
    torch.testing.assert_close(scores[1].float(), scores[2])


def test_its_content_takes_half_the_memory(block_world: BlockWorld) -> None:
    full, short = models(block_world)
    assert short.content.dtype == torch.bfloat16
    assert short.content.nbytes * 2 == full.content.nbytes
    assert full.state_dict().keys() == short.state_dict().keys()


@pytest.mark.parametrize("precision, tolerance", [("full", 1e-5), ("bf16", 2e-2)])
def test_weights_by_hand(precision: str, tolerance: float, block_world: BlockWorld) -> None:
    """Content counts .6 times, the image .4 times and the text 1.6 times."""
    data = block_world.data(("image", "text"))
    weights = {"content_weight": 0.6, "first_modality_weight": 0.2, "projection_precision": precision}
    model = VBPR(data, embedding_dim=8, **weights)
    image, text = (dense.unit(data.features[name]) for name in ("image", "text"))
    features = torch.cat([0.4 * image, 1.6 * text], dim=1)
    content = 0.6 * (features @ model.projection.weight.T + model.projection.bias)
    expected = model.user_embedding @ torch.cat([model.item_embedding, content], dim=1).T
    scores = model.score(torch.arange(data.n_users))
    torch.testing.assert_close(scores, expected, rtol=0, atol=tolerance * float(expected.detach().abs().max()))


def test_units_of_an_encoder_do_not_matter(block_world: BlockWorld) -> None:
    """Image vectors a thousand times as long are the same images; the reference lets them drown the text."""
    data = block_world.data(("image", "text"))
    louder = replace(data, features={**data.features, "image": 1000 * data.features["image"]})
    for as_reference in (False, True):
        scores = []
        for given in (data, louder):
            torch.manual_seed(0)
            scores.append(VBPR(given, embedding_dim=8, as_reference=as_reference).score(torch.arange(44)))
        assert torch.allclose(*scores, rtol=0, atol=1e-6) != as_reference


def test_without_content_nothing_is_projected(block_world: BlockWorld) -> None:
    model = VBPR(block_world.data(()), projection_precision="bf16")
    assert model.projection is None
    assert model.score(torch.arange(3)).shape == (3, 36)


def test_another_precision_is_refused(block_world: BlockWorld) -> None:
    with pytest.raises(ValueError, match="projection_precision='int8' must be one of full, bf16"):
        VBPR(block_world.data(("text",)), projection_precision="int8")


def test_the_records_say_so(tmp_path: Path) -> None:
    stores = {}
    for precision in ("full", "bf16"):
        _, stores[precision] = opened(make_job(tmp_path / precision, f"model.projection_precision={precision}"))
        cell = records.read(paths.cell_file(stores[precision].folder), Cell)
        assert cell.config["model"]["projection_precision"] == precision
    assert stores["full"].key != stores["bf16"].key
