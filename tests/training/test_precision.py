"""Mixed precision is asked for, works on the core models, and stands in the records."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from mmbench.models.bpr import BPR
from mmbench.models.freedom import FREEDOM
from mmbench.models.lattice import LATTICE
from mmbench.models.lightgcn import LightGCN
from mmbench.models.vbpr import VBPR
from mmbench.nn.recommender import FactorModel
from mmbench.store import records
from mmbench.training.fit import TrainingSettings, fit
from tests.conftest import BlockWorld
from tests.tiny import make_job, opened


@pytest.mark.parametrize("model", [BPR, LightGCN, VBPR, FREEDOM, LATTICE], ids=lambda model: model.__name__)
def test_mixed_precision_trains(block_world: BlockWorld, model: type[FactorModel]) -> None:
    """Parameters and scores stay in single precision, and it learns as much."""

    def trained(precision: str) -> Outcome:
        settings = TrainingSettings(max_epochs=15, patience=15, batch_size=64, lr=0.02, precision=precision)
        data = block_world.data(("image", "text"))
        return fit(partial(model, embedding_dim=16), data, block_world.train, block_world.heldout, settings, seed=0)

    full, mixed = trained("32-true"), trained("bf16-mixed")
    assert {str(p.dtype) for p in mixed.model.parameters()} == {"torch.float32"}
    assert mixed.losses[-1]["bpr"] == pytest.approx(full.losses[-1]["bpr"], rel=0.1)
    assert mixed.score == pytest.approx(full.score, abs=0.05)
    assert mixed.losses != full.losses or model in (BPR, LightGCN), "the products of embeddings alone are not cast"


def test_the_records_say_the_precision(tmp_path: Path) -> None:
    keys = set()
    for precision in ("32-true", "bf16-mixed"):
        task, store = opened(make_job(tmp_path / precision, f"training.precision={precision}"))
        tune(task, store)
        keys.add(store.key)
        assert records.read_json(store.training_file("tune", 0, "json"))["precision"] == precision
        assert records.read_json(store.training_file("final", 1, "json"))["precision"] == precision
        assert records.read_json(store.folder / "cell.json")["config"]["training"]["precision"] == precision
    assert len(keys) == 2
