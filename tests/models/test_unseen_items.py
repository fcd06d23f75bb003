"""What every model does with items that training has not seen: found by its file, as in the contract."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmbench.data.features import with_missing_filled
from mmbench.data.recdata import RecData, make_recdata
from mmbench.models.addease import AddEASE
from mmbench.models.attributemap import AttributeMap
from mmbench.models.cease import CEASE
from mmbench.models.cohesion import COHESION
from mmbench.models.contentpopularity import ContentPopularity
from mmbench.models.dragon import DRAGON
from mmbench.models.dropoutnet import DropoutNet
from mmbench.models.freedom import FREEDOM
from mmbench.models.gume import GUME
from mmbench.models.hybridknn import HybridKNN
from mmbench.models.l3ae import L3AE
from mmbench.models.lattice import LATTICE
from mmbench.models.lgmrec import LGMRec
from mmbench.models.mentor import MENTOR
from mmbench.models.mgcn import MGCN
from mmbench.models.mmgf import MMGF
from mmbench.models.mvgae import MVGAE
from mmbench.models.pgl import PGL
from mmbench.models.smore import SMORE
from mmbench.nn.recommender import ClosedForm, FactorModel, Triplets, UnseenItems
from mmbench.training.fit import made
from tests.conftest import BlockWorld
from tests.models.test_contract import (
    CONDITIONS,
    MODELS,
    TRAINED,
    Model,
    check_permuted,
    every_trained_cell,
    train,
)

N_USERS, N_ITEMS = 44, 36
#: Two of each block; the world's blocks are the remainders of 4.
UNSEEN = np.array([1, 2, 4, 7, 13, 20, 26, 35])
WITH_CONTENT = [model for model in MODELS if model.uses_content]


@pytest.fixture(autouse=True)
def _precision(float64: None) -> Iterator[None]:
    """Orders of sums differ between the runs that are compared."""
    return


#: Deals features out anew: what a row for each unseen item becomes, ``(n_unseen, d)``.
Deal = Callable[[np.ndarray], np.ndarray]


def rows_moved(rows: np.ndarray) -> np.ndarray:
    """Every row goes to another item."""
    return np.roll(rows, 3, axis=0)


def columns_moved(rows: np.ndarray) -> np.ndarray:
    """Every column is moved by another number of places: the rows are new, and each column holds what it did."""
    return np.stack([np.roll(column, places) for places, column in enumerate(rows.T)], axis=1)


def first_repeated(rows: np.ndarray) -> np.ndarray:
    """All have the row of the first one."""
    return rows[np.zeros(len(rows), np.int64)]


def data_of(world: BlockWorld, condition: str, deal: Deal | None = None) -> RecData:
    """The world without the interactions of the unseen items; ``deal`` deals their features out anew."""
    known = world.train.select(~np.isin(world.train.items, UNSEEN))
    features = {}
    for name in CONDITIONS[condition]:
        values = world.features[name].values.copy()
        if deal is not None:
            values[UNSEEN] = deal(values[UNSEEN])
        features[name] = with_missing_filled(values, np.ones(N_ITEMS, bool))
    return make_recdata(known, features)


def trained_on(model_class: Model, data: RecData, steps: int = 3, **settings: Any) -> Any:
    """A small model as training makes it, after some steps."""
    torch.manual_seed(0)
    known = inspect.signature(model_class).parameters
    settings |= {"embedding_dim": 16} if "embedding_dim" in known else {}
    model = made(functools.partial(model_class, **settings), data)
    if isinstance(model, ClosedForm):
        model.fit(data)
    train(model, data, steps)
    return model.eval()


def scores_of(model: Any) -> Tensor:
    with torch.no_grad():
        return model.score(torch.arange(N_USERS))


@pytest.mark.parametrize("model_class", MODELS, ids=lambda model: model.__name__)
def test_without_content_all_unseen_items_score_the_same(model_class: Model, block_world: BlockWorld) -> None:
    """So that they tie for every user, and the tie's hash gives the floor."""
    unseen = scores_of(trained_on(model_class, data_of(block_world, "none")))[:, UNSEEN]
    assert torch.equal(unseen, unseen[:, :1].expand_as(unseen))


#: They take features around the mean over the whole catalogue, MMGF around its median, and rank all items by these.
MOVED_BY_THE_MEAN = (AddEASE, CEASE, DropoutNet, HybridKNN, L3AE, MMGF)
#: They take features around that mean too, but rank unseen items alone by them.
UNSEEN_MOVED_BY_THE_MEAN = (AttributeMap, ContentPopularity)


def deals() -> Iterator[Any]:
    """Models by conditions and deals, without the deal that moves the catalogue's mean where that moves scores."""
    for deal in (rows_moved, columns_moved, first_repeated):
        for model in WITH_CONTENT:
            if deal is first_repeated and model in MOVED_BY_THE_MEAN:
                continue
            for condition in ("text", "image", "fused"):
                yield pytest.param(
                    model,
                    condition,
                    deal,
                    id=f"{model.__name__}-{condition}-{deal.__name__}",
                    marks=pytest.mark.thorough if condition == "image" else [],
                )


@pytest.mark.parametrize("model_class, condition, deal", deals())
def test_features_of_unseen_items_move_no_other(
    model_class: Model, condition: str, deal: Deal, block_world: BlockWorld
) -> None:
    """Unseen items are in no graph, no contrast and no negative of training: dealing out their features anew gives
    every seen item the same scores, and every unseen item those of the features that it now has.

    To move rows alone would not do: where an unseen item has no free row of its own, items that exchange their features
    exchange their places in a graph, and no other item can tell. To repeat the first row moves the mean over the
    catalogue, by design with every score of the models that centre features on it. To move columns leaves that mean and
    every quantile of a column where they are, so that these models are held to the rule as well. MMGF is only as its
    reference: by default a unit of its ``content_weight`` is the deviation of a graph over the whole catalogue.
    """
    settings: dict[str, Any] = {"as_reference": True} if model_class is MMGF and deal is columns_moved else {}
    if model_class is HybridKNN:
        settings["k"] = 5  # The default has room for the whole small world, where no item pushes another out of a list.
    before, after = (
        scores_of(trained_on(model_class, data_of(block_world, condition, dealt), **settings)) for dealt in (None, deal)
    )
    seen = np.setdiff1d(np.arange(N_ITEMS), UNSEEN)
    torch.testing.assert_close(after[:, seen], before[:, seen], rtol=1e-6, atol=1e-9)
    if deal is rows_moved or (deal is first_repeated and model_class not in UNSEEN_MOVED_BY_THE_MEAN):
        expected = torch.from_numpy(deal(before[:, UNSEEN].T.numpy()).T)
        torch.testing.assert_close(after[:, UNSEEN], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("model_class", WITH_CONTENT, ids=lambda model: model.__name__)
def test_it_makes_no_difference_that_unseen_items_come_last(model_class: Model, block_world: BlockWorld) -> None:
    seen = np.setdiff1d(np.arange(N_ITEMS), UNSEEN)
    order = torch.from_numpy(np.concatenate([seen, UNSEEN]))
    check_permuted(model_class, data_of(block_world, "fused"), order)


@pytest.mark.parametrize("model_class", WITH_CONTENT, ids=lambda model: model.__name__)
def test_unseen_items_without_content_tie(model_class: Model, block_world: BlockWorld) -> None:
    """Nothing stands in for what is not known of them, popularity least of all."""
    known = block_world.train.select(~np.isin(block_world.train.items, UNSEEN))
    bare = UNSEEN[[0, 3, 5]]
    features = {
        name: with_missing_filled(block_world.features[name].values.copy(), ~np.isin(np.arange(N_ITEMS), bare))
        for name in CONDITIONS["fused"]
    }
    scores = scores_of(trained_on(model_class, make_recdata(known, features)))[:, bare]
    torch.testing.assert_close(scores, scores[:, :1].expand_as(scores), rtol=1e-9, atol=1e-12)


#: Models whose reference has items without interactions in its item graphs or among what a contrast is averaged over.
OPEN_TO_UNSEEN = [COHESION, DRAGON, FREEDOM, GUME, LATTICE, LGMRec, MENTOR, MGCN, MVGAE, PGL, SMORE]


@pytest.mark.parametrize("model_class", OPEN_TO_UNSEEN, ids=lambda model: model.__name__)
def test_in_a_reference_they_move_others(model_class: Model, block_world: BlockWorld) -> None:
    before, after = (
        scores_of(trained_on(model_class, data_of(block_world, "fused", deal), as_reference=True))
        for deal in (None, first_repeated)
    )
    seen = np.setdiff1d(np.arange(N_ITEMS), UNSEEN)
    assert not torch.allclose(after[:, seen], before[:, seen], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "model_class", [m for m in WITH_CONTENT if m is not ContentPopularity], ids=lambda model: model.__name__
)
def test_content_tells_unseen_items_apart(model_class: Model, block_world: BlockWorld) -> None:
    """After some training a user's unseen items of the own block stand above the others; a model that ranks by ID
    vectors alone says the same of all."""
    scores = scores_of(trained_on(model_class, data_of(block_world, "fused"), 30))[:, UNSEEN]
    if model_class.unseen_items_by is UnseenItems.TIES:
        torch.testing.assert_close(scores, scores[:, :1].expand_as(scores), rtol=1e-9, atol=1e-12)
        return
    own = torch.from_numpy(np.arange(N_USERS)[:, None] % 4 == UNSEEN % 4)
    above = [(row[mine].unsqueeze(1) > row[~mine]).double().mean() for row, mine in zip(scores, own, strict=True)]
    assert float(torch.stack(above).mean()) > 0.7


@pytest.mark.parametrize(
    "model_class", [model for model in TRAINED if model.uses_content], ids=lambda model: model.__name__
)
def test_id_vectors_of_seen_items_reach_an_unseen_one_where_the_model_says_so(
    model_class: Model, block_world: BlockWorld
) -> None:
    model = trained_on(model_class, data_of(block_world, "fused"))
    seen = np.setdiff1d(np.arange(N_ITEMS), UNSEEN)
    with torch.no_grad():
        before = model()[1][UNSEEN].clone()
        for table in model.item_tables():
            table[seen] += torch.randn(len(seen), *table.shape[1:])
        after = model.train().eval()()[1][UNSEEN]
    by_ids = model_class.unseen_items_by in (UnseenItems.NEIGHBOURS, UnseenItems.CONTENT_AND_IDS)
    assert torch.allclose(after, before) is not by_ids


@every_trained_cell
def test_scores_of_unseen_items_hold_nothing_of_their_own_rows(
    model_class: Model, condition: str, block_world: BlockWorld
) -> None:
    """Whatever stands in the rows, the scores are the same, and asking for them changes no parameter."""
    model = trained_on(model_class, data_of(block_world, condition))
    before, state = scores_of(model), {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for table in model.item_tables():
            table[UNSEEN] += 10.0
    moved = model.state_dict()
    assert torch.equal(scores_of(model.train().eval()), before)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in moved.items())
    if model.item_tables():
        assert not all(torch.equal(moved[name], value) for name, value in state.items())


@every_trained_cell
def test_where_every_item_is_seen_nothing_changes(model_class: Model, condition: str, block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS[condition])
    assert bool(data.warm.all())
    model = trained_on(model_class, data, steps=1)
    users, items = model()
    assert torch.equal(scores_of(model), users @ items.T.contiguous())  # the layout decides the last bit


class _WithEmbedding(FactorModel):
    """A model as a user writes it first: its item rows are a module of torch."""

    def __init__(self, data: RecData) -> None:
        super().__init__()
        self.users, self.item_embedding = torch.nn.Embedding(data.n_users, 4), torch.nn.Embedding(data.n_items, 4)

    def forward(self) -> tuple[Tensor, Tensor]:
        return self.users.weight, self.item_embedding.weight

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        raise NotImplementedError


def test_rows_of_an_embedding_module_are_zero_and_come_back(block_world: BlockWorld) -> None:
    model = made(_WithEmbedding, data_of(block_world, "none"))
    before = model.item_embedding.weight.clone()
    assert not scores_of(model.eval())[:, UNSEEN].any()
    assert torch.equal(model.item_embedding.weight, before)


def test_item_rows_that_nobody_can_find_are_refused(block_world: BlockWorld) -> None:
    model = made(_WithEmbedding, data_of(block_world, "none"))
    model.item_embedding = torch.nn.Linear(3, 4)
    said = "_WithEmbedding.item_embedding is of type Linear; item_tables\\(\\) must be overridden"
    with pytest.raises(ValueError, match=said):
        model.final_vectors()


def test_the_sizes_are_those_of_the_world(block_world: BlockWorld) -> None:
    assert (block_world.train.n_users, block_world.train.n_items) == (N_USERS, N_ITEMS)
    assert len(TRAINED) > 15
