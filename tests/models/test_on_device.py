"""On a GPU the host waits for no step of a training, and a step gives what it gives on a processor."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.bm3 import BM3
from mmbench.models.gume import GUME
from mmbench.nn.negatives import NegativeSampler
from mmbench.nn.noise import Noise
from mmbench.nn.recommender import FactorModel, Triplets
from tests.absent_gpu import OnDevice, Waits, absent_gpu, inner, moved, waits_allowed
from tests.conftest import BlockWorld
from tests.models.test_contract import CONDITIONS, TRAINED, batch_of, total


def cells() -> list[Any]:
    """Trained models without and with all content, as we build them and as their references do."""
    return [
        pytest.param(model, condition, options, id="-".join([model.__name__, condition, *options]))
        for model in TRAINED
        for condition in (("none", "fused") if model.uses_content else ("none",))
        for options in ({}, {"as_reference": True})
        if set(options) <= set(inspect.signature(model).parameters)
    ]


def begun(model_class: type[FactorModel], data: RecData, options: dict[str, Any]) -> FactorModel:
    """A model in the second step of its epoch: in the first, LATTICE builds the graph that the others use."""
    torch.manual_seed(0)
    model = model_class(data, **options).train()
    model.begin_epoch()
    model.loss(batch_of(data))
    return model


def on_device(batch: Triplets) -> Triplets:
    return Triplets(*(OnDevice(rows) for rows in (batch.users, batch.positives, batch.negatives)))


def stepped(model: FactorModel, batch: Triplets) -> dict[str, Tensor]:
    """Terms of the loss and gradients of the parameters; their numbers on the processor."""
    terms = model.loss(batch)
    model.zero_grad()
    total(terms).backward()
    grads = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    return {name: inner(value.detach()) for name, value in {**terms, **grads}.items()}


@pytest.mark.thorough
@pytest.mark.parametrize(("model_class", "condition", "options"), cells())
def test_no_step_waits_and_each_gives_what_a_processor_gives(
    model_class: type[FactorModel],
    condition: str,
    options: dict[str, Any],
    block_world: BlockWorld,
    float64: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = block_world.data(CONDITIONS[condition])
    batch = batch_of(data)
    here, there = begun(model_class, data, options), moved(begun(model_class, data, options))
    with monkeypatch.context() as patches:
        # GUME and BM3 draw for the rows of a batch, of which a device has more.
        patches.setattr(Noise, "perturb", lambda self, name, x: x)
        patches.setattr(Noise, "drop", lambda self, name, x, rate: x)
        expected = stepped(here, batch)
        with absent_gpu():
            found = stepped(there, on_device(batch))
    with absent_gpu():
        stepped(there, on_device(batch))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-7, atol=1e-11)


@pytest.mark.parametrize(
    ("model_class", "draw", "term", "of"),
    [(GUME, "side_1", "noise_side", "users"), (BM3, "content_text", "text_intra", "positives")],
)
def test_who_is_in_a_batch_twice_has_one_draw(
    model_class: type[FactorModel], draw: str, term: str, of: str, block_world: BlockWorld
) -> None:
    data = block_world.data(CONDITIONS["fused"])
    batch, model = batch_of(data), moved(begun(model_class, data, {}))
    values = getattr(batch, of).tolist()
    first = torch.tensor([value not in values[:row] for row, value in enumerate(values)]).unsqueeze(1)
    assert 0 < first.sum() < len(first)
    noise = torch.rand(len(first), 64)
    for name, _ in model.noise.named_buffers():
        setattr(model.noise, name, OnDevice(noise if name.startswith(("side", "extended", "content")) else noise[:0]))

    def value(given: Tensor) -> float:
        setattr(model.noise, draw, OnDevice(given))
        return float(inner(model.loss(on_device(batch))[term].detach()))

    with absent_gpu():
        same = value(noise)
        assert value(torch.where(first, noise, 1.0 - noise)) == same
        assert value(torch.where(first, 1.0 - noise, noise)) != same


def test_a_sampler_made_on_a_device_is_the_one_of_a_processor(block_world: BlockWorld) -> None:
    """A training makes it of interactions that lie there, where :func:`distinct` keeps what is given again."""
    data = block_world.data(())
    expected = NegativeSampler(data.edge_index, data.n_users, data.n_items)
    with absent_gpu(), waits_allowed():
        made = NegativeSampler(OnDevice(data.edge_index), data.n_users, data.n_items)
    for name, values in expected.named_buffers():
        assert torch.equal(inner(made.get_buffer(name)), values), name
    assert len(expected.items) < data.edge_index.shape[1]


def test_negatives_wait_for_nothing(block_world: BlockWorld) -> None:
    data = block_world.data(())
    users = data.edge_index[0]
    sampler = NegativeSampler(data.edge_index, data.n_users, data.n_items)
    expected = sampler.sample_distinct(users, 5, torch.Generator().manual_seed(0))
    moved(sampler)
    with absent_gpu():
        sampler.sample(OnDevice(users), torch.Generator())
        found = sampler.sample_distinct(OnDevice(users), 5, torch.Generator().manual_seed(0))
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.equal(inner(mine), theirs)


X = torch.tensor([2, 0, 2])


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: int(x.max()),
        lambda x: float(x[0]),
        lambda x: bool((x > 1).any()),
        lambda x: x.nonzero(),
        lambda x: x[x > 1],
        lambda x: x.masked_select(x > 1),
        lambda x: torch.unique(x, return_inverse=True),
        lambda x: torch.bincount(x),
        lambda x: torch.arange(3, device=x.device).repeat_interleave(x),
        lambda x: x.cpu(),
        lambda x: torch.tensor([1, 2]).to(x.device),
        lambda x: torch.sparse_csr_tensor(x.cumsum(0), x, x, (2, 3), check_invariants=True),
    ],
)
def test_what_waits_is_noticed(wait: Callable[[Tensor], object]) -> None:
    with absent_gpu(), pytest.raises(Waits):
        wait(OnDevice(X))


def test_what_mixes_the_devices_is_noticed() -> None:
    with absent_gpu(), pytest.raises(AssertionError, match="mixes the device and the processor"):
        OnDevice(X) + X
