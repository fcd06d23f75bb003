"""What is written of another library's scores."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from mmbench.data.interactions import Interactions
from mmbench.data.splits import Split
from tests.studies import pages, peers


@pytest.fixture
def data() -> SimpleNamespace:
    """Two users and four items with raw ids; the first user knows item b."""
    nothing = Interactions(np.array([], int), np.array([], int), 2, 4)
    split = Split(Interactions(np.array([0]), np.array([1]), 2, 4), nothing, nothing, "given")
    ids = {"user_ids": np.array(["u", "v"], object), "item_ids": np.array(["a", "b", "c", "d"], object)}
    return SimpleNamespace(n_users=2, n_items=4, split=split, **ids)


def test_lists_hold_what_is_not_in_training_with_raw_ids(
    data: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "LISTED", 3)
    scores = np.array([[0.1, 9.0, 0.3, 0.2], [4.0, 3.0, -np.inf, 1.0]])
    peers.write_lists(scores, data, tmp_path / "lists.csv")
    found = pd.read_csv(tmp_path / "lists.csv")
    assert found.groupby("user").item.agg("".join).to_dict() == {"u": "cda", "v": "abd"}
    assert scores[0, 1] == 9.0  # what was given stays as it was


def test_what_a_library_did_not_see_ranks_behind_all_it_saw() -> None:
    scores = peers.Given(np.array([[1.0, -np.inf, -3.0]])).score(torch.tensor([0]))
    assert scores.argsort(descending=True).tolist() == [[0, 2, 1]]


def test_a_library_that_is_trained_once_is_paired_with_every_seed_of_ours() -> None:
    theirs = np.array([[0.2], [0.4], [0.6], [0.8]])
    ours = np.array([[0.2, 0.4], [0.4, 0.6], [0.6, 0.8], [0.8, 1.0]])
    found = peers.more(ours, theirs)
    assert found.mean == pytest.approx(0.2)
    assert (found.seeds, found.contains(0.2)) == (2, True)
    same = peers.more(theirs, theirs)
    assert (same.mean, same.lo, same.hi) == (0.0, 0.0, 0.0)


def test_the_page_has_what_is_kept() -> None:
    assert {"ease", "ials", "bpr"} <= peers.known().keys()
    assert pages.shows("peers", peers.rows(peers.known()))
