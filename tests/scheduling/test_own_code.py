"""Two versions of a user's code are two fingerprints, wherever among the user's files they differ."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmbench.scheduling.job import Job
from mmbench.scheduling.own_code import own_files
from tests.tiny import make_job

FILES = {
    "shop_models/__init__.py": "from .core import Mine\n",
    "shop_models/core.py": """
import json

import numpy as np
from mmbench.models.hybridknn import HybridKNN

from . import weights
from .parts import helper


class Mine(HybridKNN):
    def fit(self):
        import shop_weights.late as late

        super().fit()
""",
    "shop_models/weights.py": "try:\n    import absent\nexcept ImportError:\n    FACTOR = 1\n",
    "shop_models/parts/__init__.py": "",
    "shop_models/parts/helper.py": "FACTOR = 1\n",
    "shop_models/unused.py": "FACTOR = 1\n",
    "shop_weights/helper.py": "FACTOR = 1\n",
    "shop_weights/late.py": "import tabnanny\nfrom shop_weights.helper import FACTOR\n",
    "tabnanny.py": "FACTOR = 1\n",  # as a module of Python is called
    "site-packages/shop_installed.py": "FACTOR = 1\n",
}
WORDS = ("model=hybridknn", "modality=text", "model._target_=shop_models.Mine")
Written = Callable[..., Job]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    """Lays the files out as one more version of them, in a folder of its own, and gives a job of their model."""

    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("shop_models", "shop_weights")]:
            del sys.modules[name]

    def write(version: str, changed: str = "", code: str = "") -> Job:
        folder = tmp_path / version
        for name, text in {**FILES, **({changed: code} if changed else {})}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        forget()  # another command is another process
        monkeypatch.syspath_prepend(str(folder / "site-packages"))
        monkeypatch.syspath_prepend(str(folder))
        importlib.invalidate_caches()
        return make_job(folder / "sweep", *WORDS)

    yield write
    forget()


def test_own_files_are_those_that_statements_import(written: Written) -> None:
    job = written("v1")
    folder, module = job.sweep_dir.parent, job.model_class.__module__
    found = own_files([module, "mmbench.models.vbpr"])
    assert {name: file.relative_to(folder).as_posix() for name, file in found.items()} == {
        "shop_models": "shop_models/__init__.py",
        "shop_models.core": "shop_models/core.py",
        "shop_models.parts": "shop_models/parts/__init__.py",
        "shop_models.parts.helper": "shop_models/parts/helper.py",
        "shop_models.weights": "shop_models/weights.py",
        "shop_weights.helper": "shop_weights/helper.py",
        "shop_weights.late": "shop_weights/late.py",
        "tabnanny": "tabnanny.py",
    }
    assert "shop_weights.late" not in sys.modules  # nothing is executed for it
    assert own_files(["mmbench.models.vbpr"]) == {}


def test_an_installed_package_is_its_own_code_where_it_holds_the_model(written: Written) -> None:
    written("v1")
    assert list(own_files(["shop_installed"])) == ["shop_installed"]
    assert list(own_files(["tests.extension"])) == ["tests", "tests.extension"]


@pytest.mark.parametrize(
    "file",
    [
        "shop_models/__init__.py",
        "shop_models/core.py",
        "shop_models/parts/helper.py",
        "shop_weights/helper.py",
        "shop_weights/late.py",
        "tabnanny.py",
    ],
)
def test_two_versions_of_any_of_them_are_two_sources(file: str, written: Written) -> None:
    sources = [
        written(version, *changed).task().versions["source"]
        for version, changed in (("v1", ()), ("v2", ()), ("v3", (file, FILES[file] + "OTHER = 2\n")))
    ]
    assert sources[0] == sources[1] != sources[2]


def test_files_of_one_name_in_two_folders_are_told_apart(written: Written) -> None:
    """Exchanged, they are other code."""
    one, other = "shop_models/parts/helper.py", "shop_weights/helper.py"
    sources = {
        written(version, file, "FACTOR = 2\n").task().versions["source"]
        for version, file in (("v1", one), ("v2", other))
    }
    assert len(sources) == 2


def test_what_no_statement_imports_is_no_part(written: Written) -> None:
    sources = {
        written(version, "shop_models/unused.py", code).task().versions["source"]
        for version, code in (("v1", ""), ("v2", "FACTOR = 2\n"))
    }
    assert len(sources) == 1
