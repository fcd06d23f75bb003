"""The prices of conditions: which are measured, and that the page shows them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.studies import pages, price
from tests.studies.sweeps import ROOT


def test_conditions_with_real_content_are_measured() -> None:
    asked = list(price.conditions_of("ml100k"))
    assert [modality for model, modality in asked if model == "addease"] == ["none", "text", "image", "fused"]
    assert [modality for model, modality in asked if model == "ease"] == ["-"]


def test_the_page_has_the_prices_that_are_kept() -> None:
    assert price.known()
    assert pages.shows("prices", price.rows(price.known()))


def test_a_row_has_a_place_for_every_condition() -> None:
    prices = [
        price.Price("ease", "-", 0.512, 120.4)._asdict(),
        price.Price("addease", "none", 1.0, 1200.0)._asdict(),
        price.Price("addease", "fused", 12.3, 0.0)._asdict(),
    ]
    assert price.rows({"d": prices}).splitlines()[2:] == [
        "| d | ease | 0.51 s, 120 MB | - | - | - | - |",
        "| d | addease | 1 s, 1,200 MB | - | - | - | 12 s, 0 MB |",
    ]


def test_what_leaves_content_out_is_marked() -> None:
    one = price.Price("hybridknn", "audio", 1.0, 100.0)._asdict()
    assert ("hybridknn", "audio") in price.leaving_out("lfm2k")
    row = price.rows({"lfm2k": [one, {**one, "modality": "none"}]}).splitlines()[2]
    assert row == "| lfm2k | hybridknn | 1 s, 100 MB | - | - | = 1 s, 100 MB | - |"


def test_a_study_of_one_model_has_the_configurations_of_its_data_set() -> None:
    assert price.tuned_job("ml100k_vbpr", "vbpr", "text").cell == ("ml100k", "vbpr", "text")


@pytest.mark.thorough
def test_a_process_of_its_own_is_measured(shared_data: Path) -> None:
    command = [sys.executable, "-m", "tests.studies.price", "--one", "ml100k", "popularity", "-"]
    environment = {**os.environ, "MMBENCH_DATA": str(shared_data)}
    said = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
    found = json.loads(said.splitlines()[-1])
    assert 0 < found["seconds"] < 60
    assert 0 <= found["megabytes"] < 2000


@pytest.mark.parametrize("study", ["ml100k", "ml100k_vbpr", "uci_retail", "lfm2k", "tiktok", "baby_ids"])
def test_a_tuned_configuration_lies_where_it_is_looked_for(study: str) -> None:
    folder = ROOT / "conf" / "tuned" / price.tuned_of(study)
    assert {model for model, _ in price.conditions_of(study)} <= {file.name for file in folder.iterdir()}
