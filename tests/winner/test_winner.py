"""The winner recommends what its records rank, serves new users where it can, and leaves the house as numbers."""

from __future__ import annotations

import errno
import json
import shutil
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import msgspec
import numpy as np
import pandas as pd
import pytest
import torch

import mmbench
from mmbench import paths
from mmbench.audit.recorded import Sources
from mmbench.cli import main
from mmbench.data.interactions import Interactions
from mmbench.data.planted import make_world
from mmbench.data.readers.journal import Journal
from mmbench.data.recdata import make_recdata
from mmbench.data.sources import read_log, write_folder
from mmbench.evaluation import metrics
from mmbench.models.bm3 import BM3
from mmbench.models.l3ae import L3AE
from mmbench.models.smore import SMORE
from mmbench.models.vbpr import VBPR
from mmbench.nn.recommender import ClosedForm, Recommender
from mmbench.nn.sparse import interaction_matrix
from mmbench.report.layout import md
from mmbench.report.reading import read_sweep
from mmbench.report.table import CellResult
from mmbench.scheduling import worker
from mmbench.scheduling.job import forget_data
from mmbench.scheduling.sweep import Sweep
from mmbench.scheduling.trust import Trust
from mmbench.store import records
from mmbench.store.schema import Cell, CellFailure, Manifest, hashed
from mmbench.training.fit import rebuild
from mmbench.winner import recommended
from mmbench.winner.chosen import Winner, read_winner
from mmbench.winner.exported import PRODUCTS, acting, as_markdown, describe, export, shares_of
from mmbench.winner.recommended import Asked, recommend, recommend_to_new
from tests import records as valid
from tests.cli.conftest import Command, Said
from tests.cli.test_errors import is_one_line
from tests.tiny import TINY, WORLD, composed

CELLS = {"vbpr": "fused", "freedom": "text", "hybridknn": "fused", "ease": "none"}
DATA = "planted-complementary"
TRUST = Trust()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished cell of each of four models."""
    words = [*TINY, f"paths.multirun={tmp_path_factory.mktemp('winner')}", "sweep.name=s", "budget.seeds=2"]
    jobs = [composed([*words, f"model={model}", f"modality={name}"]).job() for model, name in CELLS.items()]
    planned = Sweep.plan(jobs, words)
    planned.open()
    worker.work(planned.waiting)
    return planned.folder


def winner_of(sweep: Path, model: str) -> Winner:
    modality = "" if model == "ease" else f"/{CELLS[model]}"
    return read_winner(sweep, f"{DATA}/{model}{modality}", Sources(TRUST))


def folder_of(sweep: Path, model: str) -> Path:
    return paths.cell_dir(sweep, DATA, model, "-" if model == "ease" else CELLS[model])


@pytest.mark.thorough
@pytest.mark.parametrize("model", CELLS)
def test_lists_are_those_of_the_records(sweep: Path, model: str) -> None:
    winner = winner_of(sweep, model)
    for seed in winner.finals:
        stored = records.read_final(folder_of(sweep, model), seed)
        users = [str(winner.dataset.user_ids[user]) for user in stored.users]
        lists = recommend(winner, users, Asked(50, [seed], as_tested=True))
        assert stored.top is not None
        for user, own in zip(users, stored.top, strict=True):
            expected = winner.dataset.item_ids[own[own >= 0]]
            assert lists[lists["user"].astype(str) == user]["item"].tolist() == expected.tolist()


@pytest.mark.parametrize("model", CELLS)
def test_nobody_is_recommended_what_the_user_has(sweep: Path, model: str) -> None:
    winner = winner_of(sweep, model)
    split = winner.dataset.split
    lists = recommend(winner, winner.dataset.user_ids.tolist(), Asked(80, [1]))
    has = {
        (str(winner.dataset.user_ids[user]), str(winner.dataset.item_ids[item]))
        for part in (split.train, split.valid, split.test)
        for user, item in zip(part.users, part.items, strict=True)
    }
    assert has.isdisjoint(zip(lists["user"].astype(str), lists["item"].astype(str), strict=True))
    assert lists.groupby("user")["rank"].max().min() < 80
    assert (lists.groupby("user")["item"].nunique() == lists.groupby("user").size()).all()


def test_what_a_user_rated_too_low_to_learn_from_is_left_out(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    winner = winner_of(sweep, "ease")
    user = str(winner.dataset.user_ids[0])
    first, second = recommend(winner, [user], Asked(2, [1]))["item"]
    place = np.flatnonzero(winner.dataset.item_ids == first)
    low = Interactions(np.zeros(1, np.int64), place, winner.dataset.n_users, winner.dataset.n_items)
    monkeypatch.setitem(vars(winner.dataset), "rated_below", (low,))
    assert recommend(winner, [user], Asked(1, [1]))["item"].tolist() == [second]


def test_held_out_rows_that_no_target_ranks_are_known_too(tmp_path: Path) -> None:
    """Under protocol cold, validation and test of the split are those rows alone that tuning aims at."""
    winner = cold_winner(tmp_path, "contentknn", "text")
    split = winner.dataset.split
    assert split.new_valid is not None
    assert split.new_test is not None
    users = winner.dataset.user_ids.tolist()
    lists = recommend(winner, users, Asked(80, [1]))
    given = set(zip(lists["user"].astype(str), lists["item"].astype(str), strict=True))
    hidden = [
        part
        for part, target in ((split.new_valid, split.valid), (split.new_test, split.test))
        if len(part.rows) > len(target)
    ]
    assert len(hidden) == 2, "both parts hold rows of warm items that the target leaves out"
    for part in (split.train, *(held.rows for held in hidden)):
        ids = winner.dataset.user_ids[part.users], winner.dataset.item_ids[part.items]
        assert given.isdisjoint(zip(map(str, ids[0]), map(str, ids[1]), strict=True))
    with pytest.raises(
        ValueError, match=r"^--as-tested is for cells that were tested among all items; with tuning\.target=cold"
    ):
        recommend(winner, users, Asked(20, [1], as_tested=True))


def cold_winner(folder: Path, model: str, condition: str, *more: str) -> Winner:
    """The winner of a cell of protocol cold."""
    words = [
        *TINY,
        f"paths.multirun={folder}",
        "sweep.name=cold",
        "dataset.protocol=cold",
        "dataset.cold_fold=0",
        *more,
    ]
    planned = Sweep.plan([composed([*words, f"model={model}", f"modality={condition}"]).job()], words)
    planned.open()
    worker.work(planned.waiting)
    (cell,) = records.read(paths.manifest_file(planned.folder), Manifest).cells
    return read_winner(planned.folder, str(cell.name), Sources(TRUST))


def calibrated(winner: Winner, user: int, has: np.ndarray) -> list[np.ndarray]:
    """Scores of a user as they are and on one scale, by the formula of the protocol; minus infinity for what it has."""
    split = winner.dataset.split
    assert split.new_test is not None
    course = winner.finals[1].course
    assert course is not None
    assert course.offset is not None
    plain = winner.model(1).score(torch.tensor([user]))[0].double().numpy()
    warm, new = split.new_test.warm.copy(), ~split.new_test.warm
    warm[has] = False
    found = plain.copy()
    found[new] = plain[warm].mean() + plain[warm].std() * (
        (plain[new] - plain[new].mean()) / plain[new].std() + course.offset
    )
    return [np.where(np.isin(np.arange(len(found)), has), -np.inf, scores) for scores in (plain, found)]


@pytest.fixture
def shop_sweep(tmp_path: Path) -> Path:
    """A finished cell of a shop, some of whose customers and items the filters and the split left out.

    ``once`` and ``twice`` have too little for the core, ``late`` has test purchases only, and nobody but ``once`` and
    ``twice`` has ``rare``.
    """
    source = make_world("complementary", n_users=60, n_items=80, per_user=10)
    item = source.items["item_id"].iloc[0]
    own = [("once", "rare", "train"), ("twice", "rare", "train"), ("twice", item, "train")]
    own += [("late", one, "test") for one in source.items["item_id"].iloc[:5]]
    rows = pd.DataFrame(own, columns=["user_id", "item_id", "split"])
    log = pd.concat([source.log[["user_id", "item_id", "split"]].astype(str), rows], ignore_index=True)
    write_folder(replace(source, log=log, truth={}), tmp_path / "shop", {})
    words = ["dataset=folder", "dataset.name=shop", f"dataset.path={tmp_path / 'shop'}", "dataset.protocol=given"]
    words += [word for word in TINY if word not in WORLD] + ["dataset.k_core=3", "model=ease", "modality=none"]
    words += [f"paths.multirun={tmp_path}", "sweep.name=s"]
    planned = Sweep.plan([composed(words).job()], words)
    planned.open()
    worker.work(planned.waiting)
    return planned.folder


def test_customers_of_the_log_without_a_list_are_told(shop_sweep: Path, tmp_path: Path, command: Command) -> None:
    """They are in the data, and models that serve new users serve them."""
    users, new, out = (tmp_path / name for name in ("ids.txt", "new.csv", "lists.csv"))
    words = ["recommend", str(shop_sweep), "--cell", "shop/ease", "--allow", str(tmp_path / "shop"), "--out", str(out)]
    settings = "dataset.protocol=given, dataset.k_core=3"
    users.write_text("late\nonce\n", encoding="utf-8")
    idle = f"2 of the user ids are in the data, but have no training interaction under {settings}, such as late, once; "
    is_one_line(command(*words, "--users", str(users)), f"error: {idle}a model that serves new users takes them by")
    users.write_text("late\nnobody\n", encoding="utf-8")
    one = f"1 of the user ids is in the data, but has no training interaction under {settings} (late); "
    said = f"error: 1 of the user ids is not in the data (nobody); {one}"
    is_one_line(command(*words, "--users", str(users)), said)
    everybody = command(*words)
    assert everybody.out.splitlines() == [
        f"3 users of the data get no list, because they have no training interaction under {settings}, such as late; a "
        "model that serves new users takes them by their items with --new-users",
        f"60 lists, from final run 1, written to {out}",
    ]
    log = read_log(tmp_path / "shop")
    log[~log["user_id"].isin(pd.read_csv(out, dtype=str)["user"])].rename(
        columns={"user_id": "user", "item_id": "item"}
    ).to_csv(new, index=False)
    served = command(*words, "--new-users", str(new))
    assert served.out.splitlines() == [
        "2 rows are left out, because their items are in the data, but not in the catalogue under "
        f"{settings}, such as rare",
        "1 new user gets no list, because all of its items are left out (once)",
        f"2 lists, from final run 1, written to {out}",
    ]
    assert set(pd.read_csv(out, dtype=str)["user"]) == {"late", "twice"}
    new.write_text("user,item\nonce,rare\n", encoding="utf-8")
    is_one_line(
        command(*words, "--new-users", str(new)),
        f"error: no item of the new users is in the catalogue of the model, which {settings} made smaller than the",
    )
    new.write_text("user,item\nonce,rare\nonce,none\n", encoding="utf-8")
    is_one_line(command(*words, "--new-users", str(new)), "1 of the item ids is not in the data (none)")


@pytest.mark.thorough
def test_data_that_have_changed_are_refused(tmp_path: Path, command: Command) -> None:
    """A user who sorts elsewhere moves all others, whose positions would name the vectors of their neighbours."""
    data = tmp_path / "shop"
    source = make_world("complementary", n_users=60, n_items=80, per_user=10)
    write_folder(replace(source, truth={}), data, {})
    words = ["dataset=folder", "dataset.name=shop", f"dataset.path={data}", f"paths.multirun={tmp_path}"]
    words += [word for word in TINY if word not in WORLD] + ["dataset.k_core=0", "modality=none", "sweep.name=s"]
    planned = Sweep.plan([composed([*words, f"model={model}"]).job() for model in ("ease", "bpr")], words)
    planned.open()
    worker.work(planned.waiting)
    shutil.move(data, tmp_path / "moved")
    log = read_log(tmp_path / "moved")
    renamed = log.replace({"user_id": {log["user_id"].min(): "zz"}})
    write_folder(replace(source, log=renamed, truth={}), data, {})
    forget_data()  # as a later command, which reads them afresh
    for model in ("ease", "bpr"):
        cell, out = ["--cell", f"shop/{model}"], ["--out", str(tmp_path / f"{model}.csv")]
        said = f"shop/{model}: training and validation interactions are no longer those it was trained on; name a"
        for name in ("recommend", "export"):
            is_one_line(command(name, str(planned.folder), *cell, "--allow", str(data), *out), said)
        with pytest.raises(mmbench.Refusal, match=f"^{said}"):
            mmbench.load(planned.folder, cell[1], allow=str(data))
        moved = command("recommend", str(planned.folder), *cell, "--data", str(tmp_path / "moved"), *out)
        assert "60 lists, from final run 1, written to" in moved.out, moved.err


@pytest.mark.thorough
def test_new_items_enter_lists_on_the_scale_of_the_others(tmp_path: Path) -> None:
    """With the offset of the final run, for users of the data and for new ones; as they are they would stay behind."""
    winner, top = cold_winner(tmp_path, "cease", "text"), 5
    split, ids = winner.dataset.split, winner.dataset.item_ids
    assert split.new_test is not None
    users = winner.dataset.user_ids.tolist()
    lists = recommend(winner, users, Asked(top, [1]))
    train = pd.DataFrame({"user": winner.dataset.user_ids[split.train.users], "item": ids[split.train.items]})
    of_new_users = recommend_to_new(winner, train, Asked(top, [1]))
    entered = 0
    for frame, parts in ((lists, split.whole), (of_new_users, (split.train,))):
        for place, user in enumerate(users):
            has = np.concatenate([part.items[part.users == place] for part in parts])
            plain, scaled = calibrated(winner, place, has)
            own = frame[frame["user"].astype(str) == str(user)]["item"].tolist()
            assert own == ids[np.argsort(-scaled, kind="stable")[:top]].tolist()
            new_as_they_are = (~split.new_test.warm)[np.argsort(-plain)[:top]].sum()
            entered += int((~split.new_test.warm)[np.argsort(-scaled)[:top]].sum() > new_as_they_are == 0)
    assert entered > 10


def test_items_without_an_offset_are_told(sweep: Path) -> None:
    """A protocol that sets no new items apart has none; without content there is nothing to scale."""
    winner = winner_of(sweep, "hybridknn")
    assert winner.dataset.split.new_test is None
    user, item = str(winner.dataset.user_ids[0]), str(winner.dataset.item_ids[0])
    said = [
        "1 item has no training interaction, and validation chose no offset for it: its scores stay as the model gives "
        "them"
    ]
    known, new, tested, without = (Journal() for _ in range(4))
    recommend(winner, [user], Asked(5, [1]), known)
    recommend_to_new(winner, pd.DataFrame({"user": ["x"], "item": [item]}), Asked(5, [1, 2]), new)
    recommend(winner, [user], Asked(5, [1], as_tested=True), tested)
    recommend(winner_of(sweep, "ease"), [user], Asked(5, [1]), without)
    assert (known.lines, new.lines, tested.lines, without.lines) == (said, said, [], [])


@pytest.mark.parametrize(
    ("model", "condition", "more"),
    [
        ("ease", "none", ()),
        ("addease", "text", ("model.content_weight=0", "~search.model.content_weight")),
    ],
    ids=["no modality", "content left out"],
)
def test_without_content_new_items_do_not_enter_lists_by_chance(
    model: str, condition: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    winner = cold_winner(tmp_path, model, condition, *more)
    split = winner.dataset.split
    assert split.new_test is not None
    course = winner.finals[1].course
    assert course is not None
    assert course.offset is not None
    lists = recommend(winner, winner.dataset.user_ids.tolist(), Asked(5, [1]))
    new = set(winner.dataset.item_ids[~split.new_test.warm].tolist())
    assert new.isdisjoint(lists["item"])


def test_the_mean_over_seeds_orders_by_mean_place(sweep: Path) -> None:
    winner = winner_of(sweep, "vbpr")
    user = str(winner.dataset.user_ids[3])
    single = [recommend(winner, [user], Asked(80, [seed])).set_index("item")["rank"] for seed in (1, 2)]
    both = recommend(winner, [user], Asked(80, [1, 2]))
    means = ((single[0] + single[1]) / 2)[both["item"]].to_numpy()
    assert (np.diff(means) >= 0).all()
    assert len(both) == len(single[0])


@pytest.mark.parametrize("model", ["ease", "hybridknn"])
def test_a_new_user_with_the_items_of_a_known_one_gets_its_list(sweep: Path, model: str) -> None:
    winner = winner_of(sweep, model)
    train = winner.dataset.split.train
    users, items = winner.dataset.user_ids[train.users], winner.dataset.item_ids[train.items]
    histories = pd.DataFrame({"user": users, "item": items}).sort_values("user", key=lambda ids: ids.astype(str))
    new = recommend_to_new(winner, histories, Asked(30, [1]))
    known = winner.model(1)
    for position in (0, 7, 31):
        user = winner.dataset.user_ids[position]
        scores = known.score(torch.tensor([position]))[0].clone()
        scores[torch.from_numpy(train.items[train.users == position])] = -torch.inf
        places = dict(zip(winner.dataset.item_ids, range(80), strict=True))
        own = torch.tensor([places[item] for item in new[new["user"] == str(user)]["item"]])
        torch.testing.assert_close(scores[own], scores.sort(descending=True).values[:30])


@pytest.mark.parametrize("model", ["ials", "itemknn", "contentknn", "popularity"])
def test_models_of_histories_welcome_new_users(model: str) -> None:
    job = composed([*TINY, f"model={model}", "modality=fused"]).job()
    task = job.task()
    build, settings = task.recipe(task.default)
    data = make_recdata(task.train, task.inputs(1))
    fitted = rebuild(build, data, {}, settings, 1)
    assert isinstance(fitted, ClosedForm)
    assert fitted.serves_new_users
    users = torch.arange(data.n_users)
    before = fitted.score(users).clone()
    fitted.welcome(interaction_matrix(data.edge_index, data.n_users, data.n_items))
    torch.testing.assert_close(fitted.score(users), before)
    one = torch.tensor([[0], [5]])
    fitted.welcome(interaction_matrix(one, 1, data.n_items))
    assert fitted.score(torch.tensor([0])).shape == (1, data.n_items)


@pytest.mark.parametrize(
    ("model", "condition", "tells"),
    [("addease", "text", False), ("contentknn", "text", False), ("mmgf", "text", True), ("popularity", "none", True)],
)
def test_users_for_whom_all_items_are_equal_get_no_list(
    model: str, condition: str, tells: bool, tmp_path: Path
) -> None:
    """What tells is the score: MMGF knows items that nobody has by their content, popularity asks for no items."""
    winner = cold_winner(tmp_path, model, condition)
    ids, train = winner.dataset.item_ids, winner.dataset.split.train
    new, known = ids[np.bincount(train.items, minlength=len(ids)) == 0], ids[train.items[:2]]
    rows = [("a", new[0]), ("b", known[0]), ("b", known[1]), ("c", new[0]), ("c", new[1]), ("d", known[0])]
    histories = pd.DataFrame(rows, columns=["user", "item"])
    journal = Journal()
    served = recommend_to_new(winner, histories, Asked(5, [1]), journal)["user"].unique().tolist()
    if tells:
        assert (served, journal.lines) == (["a", "b", "c", "d"], [])
        return
    assert served == ["b", "d"]
    assert journal.lines == [
        "2 users get no list, because the model gives all items the same score for them (first: a)"
    ]
    recommend_to_new(winner, histories[histories["user"] != "c"], Asked(5, [1]), journal)
    assert journal.lines[1:] == ["1 user gets no list, because the model gives all items the same score for it (a)"]
    with pytest.raises(
        ValueError, match=r"^the model recommends nothing: users have all items, or it gives the others"
    ):
        recommend_to_new(winner, histories[:1], Asked(5, [1]))


def test_a_user_of_the_data_for_whom_all_items_are_equal_gets_no_list(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    winner = winner_of(sweep, "ease")
    users, model, journal = winner.dataset.user_ids.astype(str).tolist(), winner.model(1), Journal()
    scores = model.score(torch.arange(len(users)))
    scores[[3, 8]] = 0.0
    monkeypatch.setattr(model, "score", lambda asked: scores[asked])
    monkeypatch.setattr(Winner, "model", lambda winner, seed: model)
    served = set(recommend(winner, users, Asked(5, [1]), journal)["user"].astype(str))
    assert served == set(users) - {users[3], users[8]}
    (line,) = journal.lines
    assert line.startswith("2 users get no list, because the model gives all items the same score for them (first: ")
    assert set(recommend(winner, users, Asked(5, [1], as_tested=True))["user"].astype(str)) == set(users)


def test_a_model_of_known_users_refuses_new_ones(sweep: Path) -> None:
    histories = pd.DataFrame({"user": ["x"], "item": [str(winner_of(sweep, "vbpr").dataset.item_ids[0])]})
    with pytest.raises(ValueError, match="vbpr knows only the users it was trained on"):
        recommend_to_new(winner_of(sweep, "vbpr"), histories, Asked(5, [1]))


def test_a_user_who_has_every_item_is_recommended_nothing(sweep: Path) -> None:
    winner = winner_of(sweep, "ease")
    histories = pd.DataFrame({"user": "x", "item": winner.dataset.item_ids})
    with pytest.raises(ValueError, match=r"^the model recommends nothing: "):
        recommend_to_new(winner, histories, Asked(5, [1]))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("unsealed", "is not finished; the command of the sweep goes on"),
        ("raised", "is not finished; the command of the sweep goes on"),
        ("failed", "failed: final run with seed 2 failed; the command of the sweep tries it again"),
    ],
)
def test_a_cell_without_its_result_has_no_winner(sweep: Path, tmp_path: Path, state: str, said: str) -> None:
    shutil.copytree(sweep, tmp_path / "s")
    folder = folder_of(tmp_path / "s", "vbpr")
    file = paths.cell_file(folder)
    cell = records.read(file, Cell)
    if state == "unsealed":
        paths.seal_file(folder).unlink()
    elif state == "raised":
        effort = msgspec.structs.replace(cell.effort, seeds=cell.effort.seeds + 1)
        records.write(file, hashed(msgspec.structs.replace(cell, effort=effort)))
    else:
        records.write(paths.failure_file(folder), CellFailure(cell.key, "final run with seed 2 failed", ""))
    with pytest.raises(mmbench.Refusal, match=f"^{DATA}/vbpr/fused {said}$"):
        winner_of(tmp_path / "s", "vbpr")


def test_what_is_loaded_scores_by_raw_ids(sweep: Path) -> None:
    loaded = mmbench.load(sweep, f"{DATA}/vbpr/fused", seed=2)
    user = loaded.user_index[str(loaded.user_ids[5])]
    assert user == 5
    scores = loaded.model.score(torch.tensor([user]))
    assert scores.shape == (1, len(loaded.item_ids))
    users, items = loaded.model.vectors() or pytest.fail("VBPR has vectors")
    torch.testing.assert_close(scores[0], users[user] @ items.T)


@pytest.mark.parametrize("model", CELLS)
def test_exported_files(sweep: Path, model: str, tmp_path: Path) -> None:
    winner = winner_of(sweep, model)
    names = export(winner, 1, tmp_path, with_ids=False, trust=TRUST)
    assert sorted(names) == sorted(file.name for file in tmp_path.iterdir())
    assert ("item_vectors.npy" in names) == (model in ("vbpr", "freedom"))
    scores = winner.model(1).score(torch.arange(60))
    if "item_vectors.npy" in names:
        users, items = (np.load(tmp_path / f"{side}_vectors.npy", allow_pickle=False) for side in ("user", "item"))
        torch.testing.assert_close(torch.from_numpy(users @ items.T), scores, rtol=1e-4, atol=1e-5)
    neighbours = pd.read_parquet(tmp_path / "item_neighbours.parquet")
    assert (neighbours["item"] != neighbours["neighbour"]).all()
    ordered = neighbours.groupby("item")["similarity"].apply(lambda values: values.is_monotonic_decreasing)
    assert ordered.all()
    if model == "ease":
        of_first = neighbours[neighbours["item"] == 0]
        weights = winner.model(1).weights[0]  # type: ignore[index]
        np.testing.assert_allclose(of_first["similarity"], weights[of_first["neighbour"].to_numpy()], rtol=1e-5)
    card = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    assert card["test"]["ndcg@20"]["low"] < card["test"]["ndcg@20"]["mean"] < card["test"]["ndcg@20"]["high"]
    assert (card["target"], card["lists"], card["new_items"]) == ("", None, None)
    assert card["proof"] == "consistent"
    assert card["root"] in (tmp_path / "card.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("seeds", "of_users", "label"),
    [
        ((1,), (0, 0), "over one seed, which does not measure training noise"),
        ((1, 2), (1, 0), "with 95 % intervals over users and seeds"),  # no user differs in recall
    ],
)
def test_the_card_has_no_bounds_that_the_reports_do_not_give(
    sweep: Path, seeds: tuple[int, ...], of_users: tuple[int, int], label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, winner = read_sweep(sweep), winner_of(sweep, "vbpr")
    name = winner.recorded.cell.name
    table = replace(table, cells={**table.cells, name: replace(table.cells[name], seeds=seeds)})
    if any(of_users):
        measured = CellResult.per_user
        monkeypatch.setattr(
            CellResult,
            "per_user",
            lambda self, m: measured(self, m) * 0 + 0.5 if m == "recall@20" else measured(self, m),
        )
    card = describe(winner, 1, table, [], None)
    assert tuple(int(card["test"][m]["low"] is not None) for m in ("ndcg@20", "recall@20")) == of_users
    for values in card["test"].values():
        assert (values["low"] is None) == (values["high"] is None) == (values["level"] is None)
    (line,) = (line for line in as_markdown(card).splitlines() if line.startswith(f"- **test, {label}**: "))
    assert line.count(" [") == sum(of_users)


@pytest.mark.parametrize(
    ("target", "among"),
    [
        ("cold", "NDCG@20 among new items themselves"),
        ("warm", "NDCG@20 among items of the training log themselves"),
        ("harmonic", "harmonic mean of NDCG@20 of new and of other items in common lists"),
    ],
)
def test_the_card_says_what_a_number_among_new_items_is(target: str, among: str, tmp_path: Path) -> None:
    """Recall@20 in a pool of 16 is 1 whatever the model; one draw of new items has no interval."""
    winner = cold_winner(tmp_path, "addease", "text", f"tuning.target={target}")
    (out := tmp_path / "out").mkdir()
    export(winner, 1, out, with_ids=False, trust=TRUST)
    card = json.loads((out / "card.json").read_text(encoding="utf-8"))
    text = (out / "card.md").read_text(encoding="utf-8")
    course = winner.finals[1].course
    assert course is not None
    assert card["target"] == target
    assert card["new_items"] == {"pool": 16, "offset": course.offset}
    assert f"- **new items**: 16 in test; offset of common lists in this final run: {course.offset}\n" in text
    tested = records.read_final(paths.cell_dir(winner.recorded.store.sweep_dir, *winner.recorded.cell.name), 1)
    for name in ("ndcg@20", "recall@20"):
        assert [card["test"][name][bound] for bound in ("low", "high", "level")] == [None] * 3
        if target == "harmonic":
            assert "floor" not in card["test"][name]
        else:
            assert card["test"][name]["floor"] == pytest.approx(metrics.floor(tested.pairs, name).mean())
    assert (target == "cold") == (card["test"]["recall@20"].get("floor") == 1.0)
    assert f"- **test, over one draw of new items**: {among} {card['test']['ndcg@20']['mean']:.4f}; " in text
    assert f"- **chosen among**: 1 trial by validation {among}\n" in text
    floors = {
        "cold": "pool of 16 new items; floor, where nothing tells them apart: ndcg@20 ",
        "warm": "items of the training log on average; floor, where nothing tells them apart: ndcg@20 ",
        "harmonic": "pool of 16 new items beside the others; the floor of common lists is the condition ",
    }
    (line,) = (line for line in text.splitlines() if line.startswith("- **tested lists**: "))
    assert floors[target] in line


@pytest.mark.parametrize(
    ("model", "condition", "knows"),
    [
        ("addease", "text", True),
        ("cease", "text", True),
        ("l3ae", "text", True),
        ("contentknn", "text", True),
        ("hybridknn", "text", True),
        ("mmgf", "text", True),
        ("ials", "none", False),
        ("bpr", "none", False),
    ],
)
def test_new_items_have_the_neighbours_that_the_model_scores_them_by(
    model: str, condition: str, knows: bool, tmp_path: Path
) -> None:
    winner = cold_winner(tmp_path, model, condition)
    (out := tmp_path / "out").mkdir()
    export(winner, 1, out, with_ids=False, trust=TRUST)
    neighbours = pd.read_parquet(out / "item_neighbours.parquet")
    assert neighbours.equals(neighbours.sort_values(["item", "rank"], ignore_index=True))
    n, train = winner.dataset.n_items, winner.dataset.split.train
    new = np.flatnonzero(np.bincount(train.items, minlength=n) == 0)
    card = json.loads((out / "card.json").read_text(encoding="utf-8"))
    assert card["items_without_neighbours"] == n - neighbours["item"].nunique()
    said = f"- **items without neighbours**: {len(new)}: the model relates them to no other item\n"
    assert (said in (out / "card.md").read_text(encoding="utf-8")) == (not knows)
    assert np.isin(new, neighbours["item"]).all() if knows else not np.isin(new, neighbours["item"]).any()
    if not knows or model == "mmgf":  # whose new items recommend by themselves
        return
    fitted = winner.model(1)
    assert isinstance(fitted, ClosedForm)
    everything = torch.arange(n)
    fitted.welcome(interaction_matrix(torch.stack([everything, everything]), n, n))
    columns = fitted.score(everything).T.clone().fill_diagonal_(-torch.inf)
    for item in new:
        own = neighbours[neighbours["item"] == item]
        best = columns[item].sort(descending=True).values[:50]
        np.testing.assert_array_equal(own["similarity"], best[best != 0].float())
        np.testing.assert_array_equal(columns[item][own["neighbour"].to_numpy()].float(), own["similarity"])


def test_ids_leave_only_when_asked(sweep: Path, tmp_path: Path) -> None:
    winner = winner_of(sweep, "vbpr")
    names = export(winner, 1, tmp_path, with_ids=True, trust=TRUST)
    assert {"items.parquet", "users.parquet"} <= {*names}
    assert {*names} == {*PRODUCTS}
    assert pd.read_parquet(tmp_path / "items.parquet")["item"].tolist() == winner.dataset.item_ids.astype(str).tolist()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*words: str) -> Said:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["mmbench", *words])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return Said(code, *capsys.readouterr())

    return run


def test_words_that_are_wrong_whatever_the_sweep(tmp_path: Path, command: Command) -> None:
    users = tmp_path / "users.txt"
    users.write_bytes(b"u1\nu\xe9\n")
    asked = [str(tmp_path / "nope"), "--cell", "a/b/c", "--out", str(tmp_path / "lists.csv")]
    (folder := tmp_path / "folder.csv").mkdir()
    over = "is a folder; name the file to write with --out FILE"
    is_one_line(command("recommend", *asked[:-1], str(folder)), f"{folder} {over}")
    no_number = "error: --seed ² must be the number of a final run, or mean\n"
    assert command("recommend", *asked, "--seed", "²") == (2, "", no_number)
    is_one_line(command("recommend", *asked, "--top", "many"), "--top=many must be a whole number of at least 1")
    is_one_line(command("export", *asked, "--seed", "x"), "--seed=x must be a whole number")
    no_letters = f"error: {users}, line 2: a byte that is not utf-8; save the file as UTF-8\n"
    assert command("recommend", *asked, "--users", str(users)).err.endswith(no_letters)
    no_sweep = f"error: {tmp_path / 'nope'} is no sweep (no manifest.json); sweeps beside it: none\n"
    for name in ("recommend", "export"):
        assert command(name, *asked).err.endswith(no_sweep)


def test_commands(sweep: Path, tmp_path: Path, command: Command) -> None:
    cell = ["--cell", f"{DATA}/hybridknn/fused"]
    users = tmp_path / "users.txt"
    ids = winner_of(sweep, "hybridknn").dataset.user_ids
    users.write_text(f"{ids[4]}\n\n{ids[2]}\n", encoding="utf-8")

    def run(*words: str) -> Said:
        return command("recommend", str(sweep), *cell, *words, "--out", str(tmp_path / "lists.csv"))

    assert "2 lists, from final run 1, written to" in run("--users", str(users), "--top", "7").out
    lists = pd.read_csv(tmp_path / "lists.csv", dtype=str)
    assert lists["user"].unique().tolist() == [str(ids[2]), str(ids[4])]
    assert lists.groupby("user").size().eq(7).all()
    new = tmp_path / "new.csv"
    item = winner_of(sweep, "hybridknn").dataset.item_ids[0]
    new.write_text(f"user,item\nstranger, {item} \n ,{item}\nstranger,\n", encoding="utf-8")
    assert "1 list, from final run 1, 2" in run("--new-users", str(new), "--seed", "mean").out
    users.write_text("nobody\n", encoding="utf-8")
    is_one_line(run("--users", str(users)), "1 of the user ids is not in the data (nobody)")
    users.write_text("\n", encoding="utf-8")
    is_one_line(run("--users", str(users)), "no user is asked for; give at least one id")
    users.write_bytes(b"\xff\xfe\xff")
    assert "records do not go together" not in run("--users", str(users)).err
    is_one_line(run("--users", str(users), "--new-users", str(new)), "--users and --new-users exclude each other")
    is_one_line(run("--seed", "9"), "final run 9 does not exist; there are 1, 2")
    is_one_line(run("--top", "0"), "--top=0 must be a whole number of at least 1")
    new.write_text("user,item\n", encoding="utf-8")
    is_one_line(run("--new-users", str(new)), "new.csv has a header but no rows")
    new.write_text("who,item\nx,1\n", encoding="utf-8")
    is_one_line(run("--new-users", str(new)), "has no column user; it needs user and item")
    wrong = command("export", str(sweep), "--cell", f"{DATA}/vbpr/fuse", "--out", str(tmp_path / "out"))
    is_one_line(wrong, f"error: {DATA}/vbpr/fuse is no cell of this sweep; did you mean {DATA}/vbpr/fused?")
    (tmp_path / "file").write_text("")
    wrong = command("export", str(sweep), "--cell", f"{DATA}/vbpr/fused", "--out", str(tmp_path / "file"))
    assert (wrong.code, wrong.err) == (2, f"error: --out {tmp_path / 'file'} is a file; name a folder\n")
    below = tmp_path / "file" / "x.csv"
    for name, kind in (("export", "FOLDER"), ("recommend", "FILE")):
        wrong = command(name, str(sweep), *cell, "--out", str(below))
        is_one_line(wrong, f"{below.parent} cannot be written: what should be a folder is a file; name another place")
        assert f"with --out {kind}" in wrong.err
    done = command("export", str(sweep), "--cell", f"{DATA}/vbpr/fused", "--out", str(tmp_path / "out"))
    assert done.code == 0, done.err
    assert "item_vectors.npy" in done.out


def test_ids_of_data_that_were_written_before_are_found() -> None:
    """The ids of a user's file are plain; those of a folder may be as somebody else wrote them."""
    known = np.array([unicodedata.normalize("NFD", "ガム"), "b"], object)
    places, missing = recommended._positions(["ガム", "b", "c"], known)
    assert (places.tolist(), missing) == ([0, 1, -1], ["c"])


def test_ids_are_read_as_prepare_reads_them(shop_sweep: Path, tmp_path: Path, command: Command) -> None:
    """What was prepared from one export is asked for with another export of the same system."""
    words = ["recommend", str(shop_sweep), "--cell", "shop/ease", "--allow", str(tmp_path / "shop")]
    words += ["--out", str(tmp_path / "lists.csv")]
    log = read_log(tmp_path / "shop")
    user, item = log["user_id"].iloc[0], log["item_id"].iloc[0]
    wide = item.translate({code: code + 0xFEE0 for code in range(0x30, 0x3A)})
    assert wide != item
    new = tmp_path / "new.csv"
    new.write_text(
        f"新規会員,\nuser,item\n会員1,{item}\n会員1, {wide} \nNULL,{item}\n会員2,#N/A\n会員3,{item}\n", encoding="cp932"
    )
    told = [
        "new.csv is read as cp932",
        "new.csv: 1 row above the names of the columns is a title and left out (新規会員)",
        f"item: 1 id in full-width characters is read as the plain one ({wide})",
        f"2 rows without user+item are left out (first: {new}, line 5)",
    ]
    said = command(*words, "--new-users", str(new))
    assert said.out.splitlines()[:-1] == told, said.err
    assert set(pd.read_csv(tmp_path / "lists.csv", dtype=str)["user"]) == {"会員1", "会員3"}
    new.write_text("user,item\n会員1,4.90123E+12\n", encoding="utf-8")
    rounded = "a spreadsheet has rounded this code; format its column as text and save again"
    is_one_line(command(*words, "--new-users", str(new)), f"{new}, line 2: item is '4.90123E+12'; {rounded}")
    users = tmp_path / "ids.txt"
    wide = user.translate({code: code + 0xFEE0 for code in range(0x30, 0x3A)})
    users.write_text(f"\n{wide}\nNULL\n\u200b{user}\n", encoding="utf-8")
    said = command(*words, "--users", str(users))
    assert said.out.splitlines()[:-1] == [
        f"user: 1 id in full-width characters is read as the plain one ({wide})",
        f"user: 1 id is read without the invisible characters around it ('\\u200b{user}')",
        f"1 row without user is left out (first: {users}, line 3)",
    ], said.err
    assert set(pd.read_csv(tmp_path / "lists.csv", dtype=str)["user"]) == {user}
    users.write_text("4,90123E+12\n", encoding="utf-8")
    is_one_line(command(*words, "--users", str(users)), f"{users}, line 1: user is '4,90123E+12'; {rounded}")
    users.write_text("NULL\n", encoding="utf-8")
    is_one_line(command(*words, "--users", str(users)), f"{users}: every row lacks user")


def test_an_export_is_of_one_model_and_whole_or_not_at_all(
    sweep: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors of one model never lie beside the card of another, nor raw ids beside what is to be handed on."""
    out = tmp_path / "out"

    def run(model: str, *words: str) -> Said:
        return command("export", str(sweep), "--cell", f"{DATA}/{model}/fused", "--out", str(out), *words)

    def held() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in out.iterdir()}

    assert run("vbpr", "--with-ids").code == 0
    first = held()
    assert first.keys() == {*PRODUCTS}
    is_one_line(run("hybridknn"), f"--out {out} is not empty; name another folder or add --overwrite")
    (out / "notes.txt").write_text("mine")
    message = f"--out {out} holds 'notes.txt', which this command did not write; it is not overwritten"
    is_one_line(run("hybridknn", "--overwrite"), message)
    (out / "notes.txt").unlink()
    with monkeypatch.context() as full:
        full.setattr("mmbench.store.files.write_document", Mock(side_effect=OSError(errno.ENOSPC, "No space left")))
        is_one_line(run("hybridknn", "--overwrite"), "there is no space left on the disk")
    assert held() == first
    done = run("hybridknn", "--overwrite")
    assert done.code == 0, done.err
    assert held().keys() == {"item_neighbours.parquet", "card.json", "card.md"}
    assert json.loads(held()["card.json"])["cell"] == f"{DATA}/hybridknn/fused"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


LR, FIRST = {"optimizer.lr": 0.01}, {"model.first_modality_weight": 0.25}
WEIGHTS = {f"model.modality_weights.{name}": weight for name, weight in (("audio", 2.0), ("image", 0.0), ("text", 1.0))}


@pytest.mark.parametrize(
    ("present", "image", "act", "shares"),
    [
        (("text",), 0.0, LR, None),
        ((), 0.0, LR, None),
        (("image", "text"), 0.0, LR | FIRST, {"image": 0.25, "text": 0.75}),
        (("audio", "image", "text"), 0.5, LR | WEIGHTS | {"model.modality_weights.image": 0.5}, None),
        # of two that are left the first weight acts as if there were no third
        (("audio", "image", "text"), 0.0, LR | FIRST | WEIGHTS, {"audio": 0.25, "image": 0.0, "text": 0.75}),
    ],
)
def test_the_card_lists_the_values_that_act_in_its_condition(
    present: tuple[str, ...], image: float, act: dict[str, float], shares: dict[str, float] | None
) -> None:
    model = {"first_modality_weight": 0.5, "modality_weights": {"audio": 1.0, "image": 1.0, "text": 1.0}}
    states = {name: "real" if name in present else "drop" for name in ("audio", "image", "text")}
    cell = valid.cell(states=states, config={"model": model, "optimizer": {"lr": 0.1}})
    chosen = LR | FIRST | WEIGHTS | {"model.modality_weights.image": image}
    assert acting(cell, chosen, VBPR) == act
    assert shares_of(cell, chosen, VBPR) == shares
    untuned = {path: value for path, value in chosen.items() if path not in FIRST}
    assert shares_of(cell, untuned, VBPR) is None
    card = {
        "cell": "d/m/c", "final_run": 1, "target": "", "test": {}, "chosen_among": 8, "not_tuned_here": None,
        "validation_users": None, "data": {"words": ["d"], "licence": None}, "states": states, "versions": {},
        "configuration": act, "modality_shares": shares, "proof": "stated", "root": "", "plan": "", "files": [],
        "lists": None, "new_items": None, "items_without_neighbours": 0, "without_intervals": None,
    }  # fmt: skip
    listed = {path: value for path, value in act.items() if path not in FIRST}
    listed |= {f"share of {name}": f"{share:g}" for name, share in (shares or {}).items()}
    said = ", ".join(f"{name} = {value}" for name, value in listed.items())
    assert f"- **configuration**: {md(said)}\n" in as_markdown(card)


K_OF = {"k_of.audio": 5, "k_of.image": 5, "k_of.text": 5}
OF_CONTENT = {*K_OF, "first_modality_weight"}


@pytest.mark.parametrize(
    ("model_class", "present", "chosen", "silent", "shared"),
    [
        (SMORE, ("image", "text"), {"content_weight": 1.0}, {"k_of.audio"}, True),
        (SMORE, ("image",), {"content_weight": 1.0}, {"k_of.audio", "k_of.text", "first_modality_weight"}, False),
        (SMORE, ("image", "text"), {"content_weight": 0.0}, {*OF_CONTENT, "dropout"}, False),
        (SMORE, (), {"content_weight": 1.0}, {*OF_CONTENT, "dropout", "content_weight"}, False),
        (
            L3AE,
            ("text",),
            {"content_weight": 0.0, "content_reg_weight": 5.0},
            {*OF_CONTENT, "content_reg_weight"},
            False,
        ),
        (BM3, ("image", "text"), {"cl_weight": 0.0}, OF_CONTENT, False),
        (BM3, (), {"cl_weight": 1.0}, {*OF_CONTENT, "cl_weight"}, False),
    ],
)
def test_what_content_alone_reads_acts_where_content_is_heard(
    model_class: type[Recommender], present: tuple[str, ...], chosen: dict[str, float], silent: set[str], shared: bool
) -> None:
    """A weight of 0 acts itself: it leaves content out."""
    values = {"reg_weight": 0.1, "dropout": 0.3, "first_modality_weight": 0.2, **chosen}
    model = {**values, "k_of": {"audio": 5, "image": 5, "text": 5}}
    states = {name: "real" if name in present else "drop" for name in ("audio", "image", "text")}
    cell = valid.cell(states=states, config={"model": model})
    configuration = {f"model.{name}": value for name, value in [*values.items(), *K_OF.items()]}
    assert configuration.keys() - acting(cell, configuration, model_class).keys() == {f"model.{n}" for n in silent}
    assert (shares_of(cell, configuration, model_class) is not None) == shared
