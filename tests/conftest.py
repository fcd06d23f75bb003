"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import copy
import functools
import gc
import os
import pickle
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import matplotlib
import numpy as np
import pytest
import torch
from hydra._internal.hydra import Hydra
from lightning_fabric.utilities import registry
from markupsafe import Markup
from omegaconf import OmegaConf

from mmbench import paths
from mmbench.cli import compose
from mmbench.cli.compose import Composer
from mmbench.data.features import ItemFeature, with_missing_filled
from mmbench.data.interactions import Interactions
from mmbench.data.recdata import RecData, make_recdata
from mmbench.decision.page import drawings
from mmbench.report.charts import Drawing
from mmbench.training import allocation
from tests.audit.conftest import SAMPLE, run
from tests.report.shop import run_shop, write_shop
from tests.signals import heard

#: A picture of one white pixel.
BLANK_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b5500"
    "00000a49444154789c63f80f0001010100b138f6140000000049454e44ae426082"
)

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Trace the first case of each test for coverage: others seldom run other lines, and tracing doubles their time."""
    traced = set()
    for item in items:
        function = item.nodeid.partition("[")[0]
        if function in traced:
            item.add_marker("no_cover")
        traced.add(function)


@pytest.fixture
def hearing() -> Iterator[None]:
    """Hear Ctrl-C and SIGHUP in this process, for one test."""
    earlier = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    heard()
    yield
    for number, handler in earlier.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep vectors of encoders apart from the user's and from those of tests beside, which may be encoding too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())  # else every process looks for all fonts again
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported and collected stays, so that looking for garbage in it is in vain."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """As a worker does: what is imported takes no part in the collections that follow each training."""
    allocation.settle()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Nor what the tests of a file have imported, such as the compiler, or keep for the others."""
    yield
    if nextitem is not None and nextitem.path != item.path:
        allocation.settle()


@pytest.fixture(scope="session", autouse=True)
def _a_text_is_parsed_once() -> Iterator[None]:
    """Hydra parses twenty files for every job it composes, and most tests compose from the same ones."""
    parse, parsed = OmegaConf.load, {}

    def load(file: str | Path | IO[Any]) -> Any:
        if isinstance(file, str | Path):
            return parse(file)
        text = file.read()
        if text not in parsed:
            file.seek(0)  # from the file itself, so that an error names it
            parsed[text] = pickle.dumps(parse(file))
        return pickle.loads(parsed[text])  # Hydra merges into what it gets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OmegaConf, "load", staticmethod(load))
        yield


@pytest.fixture(scope="session", autouse=True)
def _what_is_installed_and_set_is_looked_up_once() -> Iterator[None]:
    """Lightning looks through everything that is installed for each trainer.

    And Hydra composes a job only to read ``hydra.mode`` of it, which only presets set.
    """
    read_mode, installed = Hydra.get_mode, functools.cache(registry.entry_points)

    def mode(self: Hydra, config_name: str | None, overrides: list[str]) -> Any:
        asked = any(setting in word for word in overrides for setting in ("hydra.mode", "experiment"))
        return read_mode(self, config_name, overrides) if asked else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hydra, "get_mode", mode)
        patch.setattr(registry, "entry_points", installed)
        yield


@pytest.fixture(scope="session", autouse=True)
def _what_commands_share_is_merged_once() -> Iterator[None]:
    """A command merges the files of its choices once; here one process runs hundreds of them with the same files."""
    make, merge, merged = Composer.__init__, compose.create_defaults_list, {}

    def init(self: Composer, *given: Any, **named: Any) -> None:
        make(self, *given, **named)
        folders = {Path(source.path) for source in self.files.get_sources() if source.scheme() == "file"}
        if folders == {paths.config_dir()} and compose.create_defaults_list is merge:  # no test counts merges
            self.merged = merged.setdefault(tuple(word.input_line for word in self.shared), {})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Composer, "__init__", init)
        yield


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep with two trials and then with three; beside it its manifest as it was before it was raised.

    Validation is ranked for a sample of users, so that every edit meets one.
    """
    folder, words = tmp_path_factory.mktemp("honest"), ("budget.seeds=2", f"evaluation.validation_users={SAMPLE}")
    sweep = run(folder, "s", "budget.trials=2", *words)
    shutil.copyfile(paths.manifest_file(sweep), folder / "earlier.json")
    paths.identity_file(sweep).write_text("0" * 32)  # no record
    return run(folder, "s", "budget.trials=3", *words)


@pytest.fixture(scope="session")
def shop_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep on a shop whose items have titles and pictures; enough trials and seeds to judge.

    Tests of five folders read it. Who writes into it takes a copy.
    """
    folder = tmp_path_factory.mktemp("shop")
    data = write_shop(folder / "data", "cold_image", n_users=150, n_items=60)
    return run_shop(folder / "multirun", data, seeds=2)


@pytest.fixture
def float64() -> Iterator[None]:
    """Double precision as the default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@dataclass(frozen=True)
class BlockWorld:
    """Users and items in four blocks; a user likes nothing but the own block, and every modality tells the block.

    The sizes 44, 36 and 80 (users, items, both) occur nowhere else, so that a tensor's shape says what its rows are.
    """

    train: Interactions
    heldout: Interactions
    features: dict[str, ItemFeature]

    def data(self, modalities: tuple[str, ...]) -> RecData:
        """What a model sees with the given modalities; a copy, because the world outlives the test that changes it."""
        return make_recdata(self.train, {name: copy.deepcopy(self.features[name]) for name in modalities})


@pytest.fixture(scope="session")
def block_world() -> BlockWorld:
    n_blocks, users_each, items_each = 4, 11, 9
    rng = np.random.default_rng(7)
    n_users, n_items = n_blocks * users_each, n_blocks * items_each
    block_of_item = np.arange(n_items) % n_blocks
    pairs = []
    for user in range(n_users):
        own = np.flatnonzero(block_of_item == user % n_blocks)
        # Unequal weights: popularity is then a list worth beating.
        pairs += [(user, item) for item in rng.choice(own, 7, replace=False, p=np.arange(3, 12) / 63)]
    users, items = np.array(pairs).T
    held = np.arange(len(users)) % 7 >= 5

    def part(rows: np.ndarray) -> Interactions:
        return Interactions(users[rows], items[rows], n_users, n_items)

    def feature(width: int) -> ItemFeature:
        told = np.eye(n_blocks)[block_of_item] @ rng.standard_normal((n_blocks, width))
        noisy = told + 0.2 * rng.standard_normal((n_items, width))
        return with_missing_filled(noisy.astype(np.float32), np.ones(n_items, bool))

    return BlockWorld(part(~held), part(held), {"audio": feature(7), "image": feature(20), "text": feature(12)})


def _data_folder() -> Path | None:
    candidates = [Path(__file__).resolve().parents[2] / "shared" / "data"]
    if named := os.environ.get("MMBENCH_DATA"):
        candidates.insert(0, Path(named))
    return next((folder for folder in candidates if folder.is_dir()), None)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data sets, which are not part of the repository."""
    folder = _data_folder()
    if folder is None:
        pytest.skip("no real data sets: set $MMBENCH_DATA or put them into ../shared/data")
    return folder


@pytest.fixture(scope="session")
def source_study() -> Path:
    """Table of the numbers that the source study prints, which is not part of the repository."""
    named = os.environ.get("MMBENCH_PAPER")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "paper"
    file = folder / "appendix_tables.csv"
    if not file.is_file():
        pytest.skip("no published tables: set $MMBENCH_PAPER or put appendix_tables.csv into ../shared/paper")
    return file


def blank_charts(patch: pytest.MonkeyPatch) -> None:
    """Draw no chart from here on."""
    patch.setattr(Drawing, "inline", "<svg></svg>")
    patch.setattr(Drawing, "_files", ("<svg></svg>", BLANK_PNG))
    patch.setattr(drawings, "_draw", _read_aloud)


def _read_aloud(paint: Callable[..., None], height: int, label: str, axis: int = 0) -> Markup:
    """A chart of a decision page without the drawing."""
    return Markup('<svg role="img" aria-label="{}"></svg>').format(label)


@pytest.fixture(autouse=True)
def _blank_charts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of a report's time is spent on charts, and most tests that write one look at none of them."""
    if request.node.get_closest_marker("charts") is None:
        blank_charts(monkeypatch)
