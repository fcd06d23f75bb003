"""What is refused before the first cell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from mmbench.data import splits
from mmbench.scheduling.planning import check_names, check_split_seed
from tests.tiny import make_job


@pytest.mark.parametrize("name", ["text.v2", "items", "type", "values", "half"])
def test_a_modality_after_which_no_part_of_a_model_can_be_called_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        nn.ModuleDict({name: nn.Identity()})
    dataset = make_job(tmp_path).dataset()
    with pytest.raises(
        ValueError, match=rf"^dataset {dataset.name}: no modality can be called {name}, because trained"
    ):
        check_names(replace(dataset, features={"text": dataset.features["text"], name: dataset.features["image"]}))


@pytest.mark.parametrize("name", ["text", "image_2", "audio-whisper", "商品画像"])
def test_other_names_are_taken(name: str, tmp_path: Path) -> None:
    nn.ModuleDict({name: nn.Identity()})
    dataset = make_job(tmp_path).dataset()
    check_names(replace(dataset, features={name: dataset.features["image"]}))


def test_a_seed_that_draws_no_split_is_refused(tmp_path: Path) -> None:
    """Three equal splits under three names would be taken for three repetitions."""
    dataset = make_job(tmp_path).dataset()
    for protocol in splits.DRAWN:
        check_split_seed(replace(dataset, split=replace(dataset.split, protocol=protocol)), 2)
    for protocol in {*splits.PROTOCOLS} - {*splits.DRAWN, "auto"}:
        fixed = replace(dataset, split=replace(dataset.split, protocol=protocol))
        check_split_seed(fixed, 0)
        said = rf"dataset.split_seed=2 changes nothing, because protocol {protocol} draws no split; take study.draw=2 "
        with pytest.raises(ValueError, match=said):
            check_split_seed(fixed, 2)
