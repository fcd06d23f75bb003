"""Mixed precision is asked for, works on the core models, and stands in the records."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from mmbench import paths
from mmbench.models.bpr import BPR
from mmbench.models.freedom import FREEDOM
from mmbench.models.lattice import LATTICE
from mmbench.models.lightgcn import LightGCN
from mmbench.models.vbpr import VBPR
from mmbench.nn.recommender import FactorModel
from mmbench.store import records
from mmbench.store.schema import Cell
from mmbench.training.fit import Fitted, fit
from mmbench.training.settings import StoppingRule, TrainingSettings
from tests.conftest import BlockWorld
from tests.tiny import make_job, sealed


@pytest.mark.parametrize("model", [BPR, LightGCN, VBPR, FREEDOM, LATTICE], ids=lambda model: model.__name__)
def test_mixed_precision_trains(block_world: BlockWorld, model: type[FactorModel]) -> None:
    """Parameters and scores stay in single precision, and it learns as much."""

    def trained(precision: str) -> Fitted:
        settings = TrainingSettings(
            StoppingRule(500, 0, 1, least_epochs=15), batch_size=64, lr=0.02, precision=precision
        )
        data = block_world.data(("image", "text"))
        return fit(partial(model, embedding_dim=16), data, block_world.train, block_world.heldout, settings, seed=0)

    full, mixed = trained("32-true"), trained("bf16-mixed")
    assert {str(p.dtype) for p in mixed.model.parameters()} == {"torch.float32"}
    assert mixed.course.losses[-1]["bpr"] == pytest.approx(full.course.losses[-1]["bpr"], rel=0.1)
    assert mixed.course.best == pytest.approx(full.course.best, abs=0.05)
    assert mixed.course.losses != full.course.losses or model in (BPR, LightGCN), (
        "the products of embeddings alone are not cast"
    )


def test_the_records_say_the_precision(tmp_path: Path) -> None:
    keys = set()
    for precision in ("32-true", "bf16-mixed"):
        store = sealed(make_job(tmp_path / precision, f"training.precision={precision}"))
        keys.add(store.key)
        assert {training.precision for training in store.finished_trainings().values()} == {precision}
        assert records.read(paths.cell_file(store.folder), Cell).config["training"]["precision"] == precision
    assert len(keys) == 2
