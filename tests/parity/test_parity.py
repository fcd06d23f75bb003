"""Every model against golden values of the reference; :mod:`tests.parity.golden` says how to add one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmbench.nn.recommender import FactorModel
from tests.parity import golden
from tests.parity.golden import Case, Recorded, Run, close, total_of

CASES = golden.cases()
MAPPINGS = golden.mappings()
#: Below the first a gradient that is not exactly zero is rounding noise, and Adam (lr .01, epsilon 1e-8) moves its
#: parameter by up to 1e-9 in a step; so much is allowed, relative to the largest value.
NOISE, WANDERING = 1e-15, 1e-8


def runs(*, trained_only: bool = True) -> list[Any]:
    """Every case that can run, with graphs of our own and with the given ones."""
    collected = []
    for case in CASES:
        mapping = MAPPINGS.get(case.meta["model"])
        if mapping is None or case.meta["status"] != "ok":
            continue
        if trained_only and not issubclass(mapping.model, FactorModel):
            continue
        for given in [False, True] if mapping.has_graphs else [False]:
            words = ("given-graphs" if given else "own-graphs") if mapping.has_graphs else "no-graphs"
            collected.append(pytest.param(Run(case, mapping, given), id=f"{case.id}-{words}"))
    return collected


@pytest.fixture(autouse=True)
def _double_precision(float64: None) -> None:
    """Goldens are float64."""


def all_users(case: Case) -> torch.Tensor:
    return torch.arange(case.data.n_users)


@pytest.mark.parametrize("file", golden.MAPPING_FILES)
def test_a_mapping_can_be_read_and_is_the_only_one_of_its_model(file: str) -> None:
    mapping = golden.mapping_of(file)
    assert MAPPINGS[mapping.reference] is mapping


def test_mappings_and_golden_files_are_of_the_same_models() -> None:
    """A further folder of ``$MMBENCH_PARITY`` may hold models that are not mapped; their cases are skipped."""
    assert set(MAPPINGS) == {case.meta["model"] for case in CASES if not case.prefix}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_everything_of_the_reference_is_accounted_for(case: Case) -> None:
    if case.meta["status"] != "ok":
        pytest.skip(f"{case.id}: {case.meta['status']}")
    model_name = case.meta["model"]
    if model_name not in MAPPINGS:
        pytest.skip(f"no mapping for {model_name} in tests/parity/mappings")
    mapping = MAPPINGS[model_name]
    given = Recorded(case.hyper_parameters)
    keywords = mapping.keywords(given)
    assert set(given) <= given.asked | set(mapping.ignored)

    model = mapping.model(case.data, **keywords)
    own = [name for name, _ in model.named_parameters()]
    parameters = mapping.parameters_of(case)
    assert set(own) <= set(parameters)
    asked: set[str] = set()

    def get(name: str) -> np.ndarray:
        asked.add(name)
        return case.arrays[f"param/{name}"]

    for name in own:
        source = parameters[name]
        _ = get(source) if isinstance(source, str) else source(case, get)
    reference = {key.removeprefix("param/") for key in case.arrays if key.startswith("param/")}
    assert reference <= asked | set(mapping.unused)
    for name in set(mapping.unused) - asked:
        assert f"grad/{name}" not in case.arrays, f"{name} is declared unused but the reference trains it"


@pytest.mark.parametrize("run", runs())
def test_loss(run: Run) -> None:
    terms = run.loss(run.in_epoch())
    close(total_of(terms), run.case.arrays["loss"].reshape(()), run.tolerance, "loss")
    compared = 0
    for ours, source in run.mapping.losses.items():
        if isinstance(source, str) and f"loss/{source}" not in run.case.arrays:
            assert ours not in terms, f"the model has a term {ours!r} but the case has no loss/{source}"
            continue
        value = run.case.arrays[f"loss/{source}"] if isinstance(source, str) else source(run.case)
        close(terms[ours].reshape(()), np.reshape(value, ()), run.tolerance, f"loss/{source}")
        compared += 1
    assert compared or not run.mapping.losses


@pytest.mark.parametrize("run", runs())
def test_gradients(run: Run) -> None:
    model = run.in_epoch()
    total_of(run.loss(model)).backward()
    own = dict(model.named_parameters())
    for name, expected in run.mapping.arrays_of(run.case, "grad", own).items():
        gradient = own[name].grad
        close(torch.zeros_like(own[name]) if gradient is None else gradient, expected, run.tolerance, f"grad/{name}")


@pytest.mark.parametrize("run", runs(trained_only=False))
def test_scores(run: Run) -> None:
    model = run.build()
    close(model.score(all_users(run.case)), run.case.arrays["scores"], run.tolerance, "scores")


@pytest.mark.parametrize("run", runs())
def test_representations(run: Run) -> None:
    if not run.mapping.compare_forward or "user_repr" not in run.case.arrays:
        pytest.skip("representations are laid out otherwise; their inner products are compared as scores")
    users, items = run.build()()
    close(users, run.case.arrays["user_repr"], run.tolerance, "user_repr")
    close(items, run.case.arrays["item_repr"], run.tolerance, "item_repr")


@pytest.mark.parametrize("run", runs())
def test_adam_trajectory(run: Run) -> None:
    arrays = run.case.arrays
    if "traj/loss" in arrays:
        losses_key, scores_key, steps = "traj/loss", "traj/scores", 3
    else:
        losses_key, scores_key, steps = "train/losses", "train/scores_after", 5
    model, losses = run.adam(steps)
    close(losses, arrays[losses_key], run.tolerance, losses_key)
    close(model.score(all_users(run.case)), arrays[scores_key], run.tolerance, scores_key)
    if losses_key == "traj/loss":
        own = dict(model.named_parameters())
        gradients = run.mapping.arrays_of(run.case, "grad", own)
        for name, expected in run.mapping.arrays_of(run.case, "traj/param", own).items():
            # A bias that a normalisation takes away has a gradient of rounding noise, which Adam divides by 1e-8.
            vanishes = 0.0 < float(np.abs(gradients[name]).max(initial=0.0)) < NOISE
            close(own[name], expected, WANDERING if vanishes else run.tolerance, f"traj/param/{name}")


def initial_laws() -> list[Any]:
    """Cases whose json describes a real initialisation."""
    known = [case for case in CASES if case.meta["model"] in MAPPINGS and case.meta["status"] == "ok"]
    return [pytest.param(case, id=case.id) for case in known if case.meta.get("init_statistics")]


@pytest.mark.parametrize("case", initial_laws())
def test_initial_laws(case: Case) -> None:
    """Spread within a quarter, constants equal, and a uniform law where the reference's is uniform."""
    mapping = MAPPINGS[case.meta["model"]]
    torch.manual_seed(0)
    draws = [mapping.model(case.data, **mapping.keywords(case.hyper_parameters)) for _ in range(8)]
    compared = 0
    for name, first in draws[0].named_parameters():
        golden_name = single_source(mapping, case, name)
        law = case.meta["init_statistics"].get(golden_name)
        if law is None:
            continue
        values = torch.stack([dict(model.named_parameters())[name].detach() for model in draws])
        if law["std"] == 0:
            assert values.min() == values.max() == law["mean"], f"{name}: not constant {law['mean']}"
        elif first.numel() >= 200:  # fewer numbers do not tell laws apart
            assert float(values.std()) == pytest.approx(law["std"], rel=0.25), name
            # The largest value is at most sqrt(3) standard deviations for a uniform law, more for a normal one.
            reach = max(-law["min"], law["max"]) / law["std"]
            assert (float(values.abs().max() / values.std()) < 1.85) == (reach < 1.85), name
        else:
            continue
        compared += 1
    assert compared or not mapping.parameters_of(case)


def single_source(mapping: golden.Mapping, case: Case, name: str) -> str | None:
    """The one reference parameter that ours corresponds to, or None."""
    source = mapping.parameters_of(case)[name]
    if isinstance(source, str):
        return source
    asked: list[str] = []

    def get(reference: str) -> np.ndarray:
        asked.append(reference)
        return case.arrays[f"param/{reference}"]

    same_size = source(case, get).size == case.arrays[f"param/{asked[0]}"].size
    return asked[0] if len(asked) == 1 and same_size else None
