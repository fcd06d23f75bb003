"""The counts behind the floors are those of the models: dense products as torch counts them, sparse ones by entries."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mmbench.nn import content_features, kernels
from mmbench.nn.noise import Noise
from mmbench.nn.recommender import ClosedForm, FactorModel, Triplets
from mmbench.training.batches import TripletLoader
from tests.benchmarks import work
from tests.benchmarks.counts import COUNTS, SIMPLE_COUNTS, SimpleSizes
from tests.benchmarks.scatter import SCATTERED, compared, scattered
from tests.benchmarks.simple_models import sizes_of as simple_sizes_of
from tests.benchmarks.subjects import made, sizes_of
from tests.benchmarks.work import Ceilings, Sizes, Work
from tests.tiny import composed

#: No two sizes alike, so that no factor can stand in for another.
WORLD = [
    "dataset.world_options.n_users=90",
    "dataset.world_options.n_items=70",
    "dataset.world_options.per_user=12",
    "dataset.world_options.text_dim=24",
    "dataset.world_options.image_dim=40",
]
BATCH = 100


class Cell:
    """A default model on a small world, its sizes and one batch."""

    def __init__(self, name: str) -> None:
        words = [f"model={name}", *WORLD, "modality=fused", "tracking=none", "training.accelerator=cpu"]
        if name == "lightgcn":
            words.append("model.n_layers=2")
        task = composed(words).job().task()
        model, data = made(task)
        assert isinstance(model, FactorModel)
        self.model = model.train()
        self.batch: Triplets = next(iter(TripletLoader(data, BATCH, 0)))
        b = self.batch
        sizes = sizes_of(task, model, data, BATCH)
        self.sizes = replace(
            sizes,
            unique_users=len(b.users.unique()),
            unique_positives=len(b.positives.unique()),
            unique_items=len(torch.cat([b.positives, b.negatives]).unique()),
            histories=int(torch.bincount(data.edge_index[0])[b.users.unique()].sum()),
        )
        self.model.begin_epoch()
        self.step()  # whatever a model does only once an epoch is behind it

    def step(self) -> None:
        """Loss and gradients of the batch."""
        torch.stack([term.reshape(()) for term in self.model.loss(self.batch).values()]).sum().backward()


@pytest.fixture(scope="module", params=COUNTS)
def cell(request: pytest.FixtureRequest) -> tuple[str, Cell]:
    return request.param, Cell(request.param)


def flops(counter: FlopCounterMode) -> int:
    return counter.get_total_flops()


def test_dense_products_of_a_step_are_those_that_torch_counts(
    cell: tuple[str, Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_features, "NEARLY_ALL", 1.0)  # rows that are asked for are counted, and no others
    name, subject = cell
    with FlopCounterMode(display=False) as counter:
        subject.step()
    assert flops(counter) == COUNTS[name].step(subject.sizes).all_flops


def test_products_of_an_evaluation_are_those_that_torch_counts(cell: tuple[str, Cell]) -> None:
    name, subject = cell
    subject.model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for users in torch.arange(subject.sizes.evaluated).split(64):
            subject.model.score(users)
    subject.model.train()
    assert flops(counter) == COUNTS[name].evaluation(subject.sizes).all_flops


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> list[Work]:
    """Work of every sparse product that is made."""
    seen: list[Work] = []
    real, real_ends = kernels.product, kernels.products_of_ends

    def counted(matrix: Tensor, x: Tensor) -> Tensor:
        seen.append(work.sparse(matrix.values().numel(), len(matrix), x.shape[1]))
        return real(matrix, x)

    def counted_ends(pattern: Tensor, a: Tensor, b: Tensor) -> Tensor:
        seen.append(work.ends(pattern.values().numel(), len(pattern), a.shape[1]))
        return real_ends(pattern, a, b)

    monkeypatch.setattr(kernels, "product", counted)
    monkeypatch.setattr(kernels, "products_of_ends", counted_ends)
    return seen


def test_sparse_products_of_a_step_are_those_that_are_made(cell: tuple[str, Cell], entries: list[Work]) -> None:
    name, subject = cell
    subject.step()
    s = subject.sizes
    dim = {"vbpr": 2, "dragon": s.modalities}.get(name, 1) * s.dim
    counted = COUNTS[name].step(s) + (work.tables(s) + work.lookups(s, dim)).times(-1)
    made = sum(entries, Work())
    if name == "freedom":  # a sample has a whole number of edges
        assert counted.gathered == pytest.approx(made.gathered, rel=0.01)
    elif name == "lattice":  # neighbours that are learned may be others than the frozen ones
        assert 0.5 * made.gathered < counted.gathered <= made.gathered
    else:
        assert (counted.gathered, counted.traffic) == (made.gathered, made.traffic)


def test_sparse_products_of_an_evaluation_are_those_that_are_made(cell: tuple[str, Cell], entries: list[Work]) -> None:
    name, subject = cell
    subject.model.eval()
    with torch.no_grad():
        subject.model()
    subject.model.train()
    made = sum(entries, Work()).gathered
    counted = COUNTS[name].forward(subject.sizes).gathered
    if name == "lattice":  # the step over the item graph is left out
        assert 0 < counted < made
    else:
        assert counted == made


def test_parameters_are_those_of_the_model(cell: tuple[str, Cell]) -> None:
    name, subject = cell
    expected = sum(p.numel() for p in subject.model.parameters())
    assert COUNTS[name].step(subject.sizes).parameters == expected
    if name == "bpr":
        assert expected == (90 + 70) * 64


def test_a_floor_is_the_sum_of_its_parts() -> None:
    ceilings = Ceilings(gemm=100.0, hidden=400.0, scores=50.0, copy=10.0, gather=20.0, adam=5.0)
    work = Work(flops=200.0, hidden_flops=2400.0, score_flops=50.0, traffic=30.0, gathered=80.0, parameters=10.0)
    assert work.seconds(ceilings) == 2 + 6 + 1 + 3 + 4 + 2
    assert (Work(flops=1.0) + Work(flops=2.0, traffic=4.0)).times(3) == Work(flops=9.0, traffic=12.0)


def test_counts_of_bpr_and_its_evaluation_by_hand() -> None:
    s = Sizes(3, 5, 8, {}, 2, 2, 2, 4, parameters=8 * 4, evaluated=3, pairs=6, dim=4)
    step = COUNTS["bpr"].step(s)
    assert step == Work(traffic=4 * 32 + 2 * 2 * 3 * 2 * 4 * 4, parameters=32)
    assert COUNTS["bpr"].evaluation(s) == Work(score_flops=2 * 3 * 5 * 4, traffic=4 * 6 * 5)
    assert COUNTS["bpr"].epoch_of(s, 10) == step.times(10)


def test_counts_of_neighbours_by_hand() -> None:
    assert work.similarities(10, 7) == Work(flops=2 * 10 * 7 * 10, traffic=400)


def test_counts_of_computed_models_by_hand() -> None:
    s = SimpleSizes(3, 5, 8, products=22, entries=6, additions=7, seen=8, evaluated=3, pairs=4, widths={"text": (4, 9)})
    written = 4 * 5 * (3 + 4)
    assert SIMPLE_COUNTS["itemknn"].fit(s) == Work(traffic=12 * (22 + 6))
    assert SIMPLE_COUNTS["itemknn"].ranking(s) == Work(traffic=20 * 7 + written)
    assert SIMPLE_COUNTS["contentknn"].fit(s) == Work(flops=2 * 4 * 9 * 4, traffic=4 * 16 + 12 * 6)
    assert SIMPLE_COUNTS["ease"].fit(s).flops == 2 * 125
    assert SIMPLE_COUNTS["ease"].ranking(s) == Work(gathered=4 * 5 * 8, traffic=written)


@pytest.mark.parametrize("name", SIMPLE_COUNTS)
def test_sizes_of_computed_models_are_those_of_the_data(name: str) -> None:
    task = composed([f"model={name}", *WORLD, "modality=fused", "tracking=none"]).job().task()
    model, data = made(task)
    assert isinstance(model, ClosedForm)
    model.fit(data)
    ranked = torch.tensor([0, 7, 80])
    s = simple_sizes_of(model, data, ranked, 5)
    histories = [set(data.edge_index[1][data.edge_index[0] == user].tolist()) for user in range(data.n_users)]
    assert s.products == sum(len(items) ** 2 for items in histories)
    assert s.seen == sum(len(histories[user]) for user in ranked)
    if name in ("itemknn", "hybridknn", "contentknn"):
        stored = model.similarity.to_dense() != 0
        assert s.entries == int(stored.sum())
        assert s.additions == sum(int(stored[item].sum()) for user in ranked for item in histories[user])
    if name == "ials":
        d, lengths = s.dim, [len(items) for items in histories]
        lengths += torch.bincount(data.edge_index[1], minlength=data.n_items).tolist()
        assert s.solved == pytest.approx(sum(2 * min(n * n * d, n * d * d) + min(n, d) ** 3 / 3 for n in lengths))


@pytest.mark.parametrize("name", SCATTERED)
def test_gather_and_scatter_give_the_same_gradients(name: str) -> None:
    cell = Cell(name)

    def gradients() -> list[Tensor]:
        torch.manual_seed(0)
        for module in cell.model.modules():
            if isinstance(module, Noise):
                module.reseed(0)
        cell.model.zero_grad()
        cell.step()
        return [p.grad for p in cell.model.parameters() if p.grad is not None]

    ours = gradients()
    with scattered():
        theirs = gradients()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)
    times = compared(cell.model, cell.batch, rounds=1)
    assert min(times.values()) > 0
