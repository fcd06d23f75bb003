"""Compiled trainings come out as those that are not, for the models that may be compiled; all others refuse."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch._dynamo.utils import counters

from mmbench.audit.recorded import Recorded, Sources
from mmbench.audit.retraining import Retrained, all_trainings, machines_of, retrain
from mmbench.messages import Refusal
from mmbench.models.bpr import BPR
from mmbench.models.freedom import FREEDOM
from mmbench.models.fusion import Fusion
from mmbench.models.lightgcn import LightGCN
from mmbench.models.popularity import Popularity
from mmbench.models.vbpr import VBPR
from mmbench.nn.recommender import FactorModel, Triplets
from mmbench.scheduling.configuration import JobConfig
from mmbench.scheduling.trust import Trust
from mmbench.training import compilation, fit, loop
from mmbench.training.settings import TrainingSettings
from mmbench.training.stopping import StoppingRule
from tests.cli.conftest import Command
from tests.conftest import BlockWorld
from tests.tiny import make_job

#: Options that change what is computed, by model; every model that may be compiled is here.
COMPARED: dict[type[FactorModel], list[dict[str, Any]]] = {
    BPR: [{}],
    LightGCN: [{}],
    VBPR: [{}, {"content_weight": 0.0}, {"projection_precision": "bf16"}],
    Fusion: [{}, {"content_weight": 0.0}, {"hidden_dim": 8}],
}
#: Relative bounds of losses and of scores. Adam divides gradients by their size, those that are mere rounding too, so
#: that in single precision two trainings part a little more with every step.
BOUNDS = {"64-true": (1e-9, 1e-9), "32-true": (1e-5, 1e-4)}
#: 220 interactions in batches of 51: the last one has 16.
EPOCHS, BATCHES = 3, 5


class Trained(NamedTuple):
    """What a training came to, without the rounding of a stored state.

    Args:
        losses: mean of each term by epoch.
        history: validation by epoch.
        scores: of every user and item, from the best epoch.
        compiled: number of compiled parts after each epoch.
    """

    losses: list[dict[str, float]]
    history: list[float]
    scores: torch.Tensor
    compiled: list[int]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As a worker has; the sums of a compiled loss are divided among threads otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trained(
    block_world: BlockWorld,
    model: type[FactorModel],
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    **settings: Any,
) -> Trained:
    """A short training on a world of four blocks."""
    counters.clear()
    compiled: list[int] = []
    validate = loop.validation_scores

    def watched(*given: Any) -> Any:
        compiled.append(counters["stats"]["unique_graphs"])
        return validate(*given)

    data = block_world.data(("image", "text"))
    chosen = TrainingSettings(StoppingRule(500, 0, 1, least_epochs=EPOCHS), batch_size=51, lr=0.01, **settings)
    evaluator = fit.evaluator_of_validation(block_world.heldout, block_world.train)
    torch.manual_seed(1)
    built = fit.made(partial(model, embedding_dim=16, **options), data)
    assert isinstance(built, FactorModel)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "validation_scores", watched)
        state = loop.train(built, data, evaluator, chosen, seed=1)
    assert state.course.steps_per_epoch == BATCHES
    scores = built.score(torch.arange(data.n_users)).detach()
    return Trained(state.course.losses, state.course.history, scores, compiled)


@pytest.mark.parametrize(
    ("model", "options", "precision"),
    [
        pytest.param(
            *(model, options, precision),
            id=f"{model.__name__}-{precision}{options or ''}",
            marks=pytest.mark.thorough if model is BPR and precision == "32-true" else pytest.mark.slow,
        )
        for model, variants in COMPARED.items()
        for options in variants
        for precision in BOUNDS
    ],
)
def test_a_compiled_training_comes_out_the_same(
    block_world: BlockWorld,
    model: type[FactorModel],
    options: dict[str, Any],
    precision: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same draws and the same numbers; nothing is compiled after the first epoch, or left in the user's folder."""
    monkeypatch.chdir(tmp_path)
    as_is, compiled = (
        trained(block_world, model, options, monkeypatch, precision=precision, compile=word) for word in (False, True)
    )
    assert as_is.compiled == [0] * EPOCHS
    assert compiled.compiled == [max(1, compiled.compiled[0])] * EPOCHS
    of_losses, of_scores = BOUNDS[precision]
    for mine, theirs in zip(compiled.losses, as_is.losses, strict=True):
        assert mine == pytest.approx(theirs, rel=of_losses)
    assert compiled.history == as_is.history
    largest = float(as_is.scores.abs().max())
    torch.testing.assert_close(compiled.scores, as_is.scores, rtol=0, atol=of_scores * largest)
    assert list(tmp_path.iterdir()) == []


def test_every_model_that_may_be_compiled_is_compared() -> None:
    assert compilation.may_compile() == sorted(model.__module__.rpartition(".")[2] for model in COMPARED)


@pytest.mark.parametrize("words", [["model=freedom"], ["model=bm3", "modality=text"]], ids="".join)
def test_other_models_refuse_before_the_first_cell(words: list[str], command: Command, tmp_path: Path) -> None:
    said = command("-m", "sweep.name=s", *words, "training.compile=true")
    assert said.code == 2
    name = {"model=freedom": "FREEDOM", "model=bm3": "BM3"}[words[0]]
    may = ", ".join(compilation.may_compile())
    assert said.err.startswith(f"error: training.compile=true: {name} is not compiled, only {may} are")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_a_training_refuses_too(block_world: BlockWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"^training\.compile=true: FREEDOM is not compiled, only bpr"):
        trained(block_world, FREEDOM, {}, monkeypatch, compile=True)


@pytest.mark.parametrize("settings", [{"devices": 2}, {"precision": "bf16-mixed"}, {"precision": "16-mixed"}], ids=str)
def test_what_is_not_compared_is_refused(settings: dict[str, Any]) -> None:
    message = "training.compile=true goes with training.devices=1 and training.precision=32-true, 64-true alone"
    with pytest.raises(ValueError, match=message):
        TrainingSettings(StoppingRule(500, 0, 1), compile=True, **settings)


def test_a_computed_model_has_no_loss(block_world: BlockWorld) -> None:
    chosen = TrainingSettings(StoppingRule(500, 0, 1), compile=True)
    loop.check_compiled(Popularity, chosen)


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose compiler is not there."""
    caches = (compilation._why_not, compilation.compiler)
    for cache in caches:
        cache.cache_clear()
    monkeypatch.setenv("CXX", "/nonexistent/g++")
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.thorough
@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_nothing_begins(command: Command, tmp_path: Path) -> None:
    said = command("-m", "sweep.name=s", "model=bpr", "training.compile=true")
    assert said.code == 2
    assert said.err.startswith(
        "error: training.compile=true: torch cannot compile here (InvalidCxxCompiler: No working"
    )
    assert "it needs a C++ compiler such as g++" in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_the_record_says_that_it_was_compiled(tmp_path: Path) -> None:
    """Where nothing is compiled it says what it said before there was the option, and so does the key."""
    of = {}
    for word in ("false", "true"):
        job = make_job(tmp_path / word, "model=bpr", f"training.compile={word}")
        of[word] = job.record(job.task())
        again = JobConfig.of_record(of[word].config).plain["training"]
        assert again["compile"] is (word == "true")
    assert "compile" not in of["false"].config["training"]
    assert of["true"].config["training"] == {**of["false"].config["training"], "compile": True}
    assert of["true"].key != of["false"].key


class Failing(BPR):
    """Does not survive its first step."""

    def loss(self, batch: Triplets) -> dict[str, torch.Tensor]:
        raise RuntimeError("file too short")


@pytest.mark.thorough
def test_the_second_try_compiles_everything_anew(
    block_world: BlockWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed while it compiles may leave half a file, which fails whoever loads it."""
    monkeypatch.setenv(compilation.KERNELS, str(tmp_path))
    with pytest.raises(RuntimeError, match="file too short"):
        trained(block_world, Failing, {}, monkeypatch, compile=True)
    assert Path(os.environ[compilation.KERNELS]) != tmp_path
    assert list(Path(os.environ[compilation.KERNELS]).iterdir()) == []


@pytest.mark.slow
def test_an_audit_compiles_what_was_compiled(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same bits whichever compiler the ledger names, and not at all without one."""
    assert command("-m", "sweep.name=s", "model=bpr", "training.compile=true").code == 0
    folder = tmp_path / "s"
    place = all_trainings(folder)[0]
    recorded, machines = Recorded.read(folder, place.planned, Sources(Trust())), machines_of(folder, [place])
    assert retrain(recorded, place, tmp_path, machines) == Retrained(place, None, exact=True)
    with monkeypatch.context() as patch:
        patch.setattr(compilation, "compiler", lambda: "another one")
        assert retrain(recorded, place, tmp_path, machines) == Retrained(place, None, exact=True)
    compilation._why_not.cache_clear()
    monkeypatch.setenv("CXX", "/nonexistent/g++")
    with pytest.raises(Refusal, match="torch cannot compile here"):
        retrain(recorded, place, tmp_path, machines)
    compilation._why_not.cache_clear()
