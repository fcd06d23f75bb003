"""A model is one file of code and one of configuration, and every file of configuration is one that runs."""

from __future__ import annotations

import functools
import inspect
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf

from mmbench import models as models_package
from mmbench import paths
from mmbench.cli.compose import check_overrides, compose
from mmbench.cli.tiers import TIERS, models_of, tiers_of
from mmbench.data.conditions import STATES, ModalityCondition
from mmbench.data.dataset import DatasetConfig, load_dataset
from mmbench.data.planted import WORLDS, World, make_world
from mmbench.nn.recommender import ClosedForm, FactorModel, Recommender
from mmbench.scheduling.job import Job
from mmbench.store.trackers import CLIENTS, make_tracker
from mmbench.tuning.budget import Budget
from mmbench.tuning.space import contains, read_space
from tests.parts import require_modules
from tests.tiny import composed

ROOT = Path(__file__).resolve().parents[1]
CONF = paths.config_dir()
#: Trials, seeds, patience, least and most steps, least epochs, steps of an epoch.
BUDGETS = {
    "touch": (1, 1, 1500, 2500, 5, 1, 5),
    "smoke": (2, 1, 1500, 2500, 60, 5, None),
    "small": (8, 3, 1500, 2500, 12000, 75, None),
    "standard": (30, 5, 1500, 2500, 12000, 75, None),
    "paper": (30, 5, 1500, 2500, 12000, 75, None),
}


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


MODELS = options("model")
#: Options that ask for something on the command line, and an answer.
ASKED = {"external": ["model.recommendations=lists.csv"]}


@functools.cache
def job_of(model: str, dataset: str = "planted") -> Job:
    return composed([f"model={model}", f"dataset={dataset}", *ASKED.get(model, [])]).job()


# Models


def test_a_model_is_one_file_of_code_and_one_of_configuration() -> None:
    code = {path.stem for path in Path(models_package.__file__).parent.glob("*.py")} - {"__init__", "base"}
    assert {name.partition("@")[0] for name in MODELS} == code


@pytest.mark.parametrize("name", MODELS)
def test_keys_of_a_model_are_the_parameters_of_its_class(name: str) -> None:
    """Read from the file itself, so that nothing is inherited and no default is left to the code."""
    section = OmegaConf.load(CONF / "model" / f"{name}.yaml")["model"]
    target = get_class(section["_target_"])
    assert target.__module__ == f"mmbench.models.{name.partition('@')[0]}"
    parameters = inspect.signature(target).parameters.values()
    assert [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY] == ["data"]
    keywords = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert {str(key) for key in section} - {"_target_"} == keywords


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dataset", ["planted", "folder"])  # which have other ranges of the learning rate
def test_every_search_path_exists_and_holds_its_default(name: str, dataset: str) -> None:
    config = job_of(name, dataset).config.plain
    space = read_space(config["search"])
    for path, distribution in space.items():
        node: Any = config
        for part in path.split("."):
            assert part in node, path
            node = node[part]
        assert contains(distribution, node), f"{path}={node} is outside {distribution}"


@pytest.mark.parametrize("name", MODELS)
def test_what_is_trained_tunes_its_learning_rate(name: str) -> None:
    model, space = job_of(name).model_class, read_space(job_of(name).config.plain["search"])
    assert issubclass(model, Recommender)
    assert issubclass(model, FactorModel) != issubclass(model, ClosedForm)
    assert ("optimizer.lr" in space) == issubclass(model, FactorModel)


# Data sets

#: Folder of a data set that is not named after it.
FOLDER_OF = {"baby_titled": "baby"}
#: Protocol, encoders and a word of the origin of every data set that is read from a folder of its own.
FOLDERS: dict[str, tuple[str, dict[str, str], str]] = {
    "baby": ("given", {}, "Amazon reviews 2014"),
    "baby_titled": ("paper", {}, "Amazon reviews 2014"),
    "hm_sample": ("last_out", {}, "Kaggle"),
    "lfm2k": ("given", {"text": "name"}, "hetrec2011-lastfm-2k"),
    "ml100k": ("paper", {}, "https://grouplens.org/datasets/movielens/100k/"),
    "ml1m": ("paper", {}, "github.com/antonsteenvoorden/ml1m-images"),
    "online_retail": ("last_out", {}, "inside this package"),
    "tiktok": ("given", {}, "github.com/HKUDS/DiffMM"),
    "uci_retail": ("time", {}, "https://doi.org/10.24432/C5BW33"),
}


def test_every_data_set_of_its_own_is_listed() -> None:
    assert sorted(FOLDERS) == [
        name for name in options("dataset") if not name.startswith("planted") and name != "folder"
    ]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_data_set_has_its_protocol_and_says_where_it_comes_from(name: str, tmp_path: Path) -> None:
    protocol, encoder, origin = FOLDERS[name]
    config = composed([f"dataset={name}", f"paths.data={tmp_path}"]).job().config.dataset
    assert (config.name, config.protocol, config.cold_fold, config.encoder) == (name, protocol, None, encoder)
    assert config.trust_row_order is (name != "online_retail")
    folder = tmp_path / FOLDER_OF.get(name, name)
    said = rf"^{re.escape(str(folder))} is not a folder; point dataset\.path or \$MMBENCH_DATA at the data, "
    with pytest.raises(ValueError, match=said + rf"which come from .*{re.escape(origin)}"):
        load_dataset(config)


# Tiers

#: Models in the tables of Ye et al., arXiv 2508.07399.
STUDY = "bm3,damrs,dragon,dualgnn,freedom,grcn,lattice,lgmrec,mgcn,mmgcn,pgl,slmrec,smore,vbpr"


def test_every_model_declares_its_tiers() -> None:
    """External has none: it is no model."""
    declared = {name: tiers_of(name) for name in MODELS}
    assert [name for name, tiers in declared.items() if not tiers] == ["external"]
    for name, tiers in declared.items():
        assert list(tiers) == [tier for tier in TIERS if tier in tiers], name
        assert "extra" not in tiers or tiers == ("extra",), name
    assert ",".join(models_of("study")) == STUDY
    assert set(models_of("core")) > {"popularity", "itemknn", "contentknn", "hybridknn"}


@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_can_be_pasted(tier: str) -> None:
    check_overrides([f"model={','.join(models_of(tier))}"])


def test_a_model_of_the_user_needs_no_tier() -> None:
    assert compose([]).config["tiers"] == ["core", "study"]
    assert OmegaConf.load(CONF / "config.yaml")["tiers"] == []


# Data sets


@pytest.mark.parametrize("name", options("dataset"))
def test_every_data_set_composes(name: str) -> None:
    section = dict(composed([f"dataset={name}"]).config["dataset"])
    rate = section.pop("lr")
    config = DatasetConfig(**section)
    assert rate["low"] <= rate["default"] <= rate["high"]
    if name != "planted":
        assert config.name == name
    if config.world is None:
        assert config.path is not None
        assert Path(config.path).name == FOLDER_OF.get(name, name)


def test_range_of_the_learning_rate_on_few_steps() -> None:
    """Learning rates of small data sets are larger, and every model tunes its own."""
    rate = composed(["dataset=ml100k"]).config["dataset"]["lr"]
    assert rate == {"low": 1e-3, "high": 2e-2, "default": 5e-3}


@pytest.mark.parametrize("world", WORLDS)
def test_every_planted_world_composes_and_can_be_made(world: str) -> None:
    section = composed([f"dataset.world={world}"]).config["dataset"]
    assert section["name"] == f"planted-{world}"
    assert section["world_options"]["n_users"] == 1500
    assert section["world_options"]["n_items"] == 600
    small = {**section["world_options"], "n_users": 20, "n_items": 40, "per_user": 10}
    assert len(make_world(section["world"], **small).log) == 200


def test_the_page_of_planted_worlds_tells_their_defaults() -> None:
    told = (CONF / "dataset" / "planted.yaml").read_text(encoding="utf-8")
    for key, usual in (("per_user", World(()).per_user), ("feature_noise", World(()).feature_noise)):
        of_world = re.search(rf"{key}: null # null: the world's default: (.*)", told)
        assert of_world
        *parts, elsewhere = of_world[1].split(", ")
        said = {name: float(part.split(" in ")[0]) for part in parts for name in part.split(" in ")[1].split(" and ")}
        assert elsewhere == f"{usual} elsewhere"
        assert said == {name: getattr(world, key) for name, world in WORLDS.items() if getattr(world, key) != usual}


def test_planted_baby_has_the_size_of_amazon_baby() -> None:
    config = composed(["dataset=planted_baby"]).config["dataset"]
    sizes = {"n_users": 19445, "n_items": 7050, "n_interactions": 160792, "text_dim": 384, "image_dim": 4096}
    assert config["world_options"].items() >= sizes.items()
    small = {**config["world_options"], "n_users": 40, "n_items": 60, "n_interactions": 260}
    assert len(make_world(config["world"], **small).log) == 260


# Conditions


@pytest.mark.parametrize("name", options("modality"))
def test_every_condition_composes(name: str) -> None:
    condition = ModalityCondition(**composed([f"modality={name}"]).config["modality"])
    assert condition.seed == 0
    assert condition.missing == {}


def test_conditions_do_what_they_are_called() -> None:
    def states(name: str) -> tuple[str, ...]:
        condition = ModalityCondition(**composed([f"modality={name}"]).config["modality"])
        return tuple(condition.state(modality) for modality in ("audio", "image", "text"))

    expected = {
        "none": ("drop", "drop", "drop"),
        "text": ("drop", "drop", "real"),
        "image": ("drop", "real", "drop"),
        "audio": ("real", "drop", "drop"),
        "fused": ("real", "real", "real"),
        "shuffled": ("shuffle", "shuffle", "shuffle"),
        "shuffled_audio": ("shuffle", "drop", "drop"),
        "shuffled_image": ("drop", "shuffle", "drop"),
        "shuffled_text": ("drop", "drop", "shuffle"),
        "text_shuffled_image": ("drop", "shuffle", "real"),
        "text_shuffled_audio": ("shuffle", "drop", "real"),
        "image_shuffled_text": ("drop", "real", "shuffle"),
        "image_shuffled_audio": ("shuffle", "real", "drop"),
        "audio_shuffled_text": ("real", "drop", "shuffle"),
        "audio_shuffled_image": ("real", "shuffle", "drop"),
        "paper_noise": ("noise", "noise", "noise"),
        "paper_ones": ("ones", "ones", "ones"),
    }
    assert {name: states(name) for name in expected} == expected


@pytest.mark.parametrize("state", STATES)
def test_every_state_can_be_asked_for(state: str) -> None:
    config = composed([f"++modality.states.image={state}"]).config["modality"]
    assert ModalityCondition(**config).state("image") == state


# Budgets, trackers, presets


@pytest.mark.parametrize("name", options("budget"))
def test_budgets_are_those_of_the_protocol(name: str) -> None:
    budget = Budget(**composed([f"budget={name}"]).config["budget"])
    assert budget == Budget(name, *BUDGETS[name])


def test_no_budget_is_missing() -> None:
    assert options("budget") == sorted(BUDGETS)


def test_the_protocol_tells_every_budget() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    told = {
        name: tuple(int(cell.replace(",", "")) for cell in cells.split("|"))
        for name, cells in re.findall(r"^\| (\w+)(?: \([^|]*\))? \|([ \d,|]+)\|$", page, re.M)
        if name in BUDGETS
    }
    assert told == {name: numbers[:6] for name, numbers in BUDGETS.items()}


@pytest.mark.parametrize("name", options("tracking"))
def test_every_tracker_composes(name: str, tmp_path: Path) -> None:
    section = composed([f"tracking={name}"]).config["tracking"]
    assert section.keys() == {"curves", name}
    if name in CLIENTS and CLIENTS[name].extra is not None:
        require_modules(name)
    assert len(make_tracker(section, tmp_path).clients) == (name != "none")
    assert compose([]).config["tracking"]["wandb"]["mode"] == "offline"


def test_every_tracker_has_a_word_and_a_folder_that_stays_at_home() -> None:
    assert {*options("tracking")} == {*CLIENTS, "none"}
    assert {*CLIENTS} == {*paths.MIRRORS}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for client in CLIENTS.values():
        assert client.extra is None or client.extra in extras
        assert client.extra is None or re.search(rf"mmbench\[[^]]*{client.extra}[],]", " ".join(extras["ci"]))


@pytest.mark.parametrize("name", options("experiment"))
def test_every_preset_names_what_exists(name: str) -> None:
    composed = compose([f"experiment={name}"])
    swept = dict(word.split("=", 1) for word in composed.sweeper_params)
    assert list(swept)[:2] == ["model", "modality"]
    for model in swept["model"].split(","):
        assert model in MODELS
    for condition in swept["modality"].split(","):
        assert condition in options("modality")
    assert composed.job().config.sweep.name == name


@pytest.mark.parametrize("name", [name for name in options("experiment") if name.startswith("study_")])
def test_a_part_of_the_study_holds_no_list_of_models_of_its_own(name: str) -> None:
    """A preset that is run on its own would compare others than the rest of the study."""
    of_new_items = name.endswith("_cold")
    section = OmegaConf.load(CONF / "experiment" / f"{name}.yaml")
    assert OmegaConf.select(section, "defaults[0]") == f"/shared/study{'_cold' if of_new_items else ''}"
    assert OmegaConf.select(section, "hydra.sweeper.params.model") is None


def test_settings_of_a_plain_job_are_accepted() -> None:
    config = compose([]).job().config
    assert config.statistics.delta == 0.02
    assert config.plain["search"]


# The wheel


def test_the_wheel_takes_the_configuration_along() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"conf": "mmbench/conf", "demo": "mmbench/demo"}
    assert set(wheel["packages"]) == {"src/mmbench", "src/hydra_plugins"}
    assert project["project"]["scripts"] == {"mmbench": "mmbench.cli:program"}
    # Where it lands is the first place that is looked at.
    assert paths.PACKAGE / "conf" not in [CONF] or (paths.PACKAGE / "conf" / "config.yaml").is_file()


def test_a_built_wheel_holds_the_configuration(tmp_path: Path) -> None:
    require_modules("hatchling")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        str(ROOT),
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=300, env={**os.environ, "PIP_NO_INDEX": "1"})
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"mmbench/conf/{path.relative_to(CONF).as_posix()}" for path in CONF.rglob("*.yaml")}
    assert expected <= inside
    assert {f"mmbench/demo/{name}" for name in ("README.md", "order_lines.csv", "products.csv")} <= inside
    assert {"mmbench/py.typed", "hydra_plugins/mmbench_launcher.py"} <= inside
