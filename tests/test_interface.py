"""The interface for programs: its names and signatures do not change without a test that says so, and it loads fast."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import pytest

import mmbench

#: What a program may rely on. To change a line here is to break programs: say so in the changelog.
SIGNATURES = {
    "sweep": "(*words: 'str', progress: 'bool' = True) -> 'Results'",
    "read": "(folder: 'str | Path', *, allow: 'str | tuple[str, ...]' = ()) -> 'Results'",
    "load": (
        "(sweep: 'str | Path', cell: 'str', seed: 'int' = 1, *, data: 'str | Path | None' = None, "
        "allow: 'str | tuple[str, ...]' = ()) -> 'Loaded'"
    ),
}
METHODS = {
    "table": "(self) -> 'pd.DataFrame'",
    "verdicts": "(self) -> 'pd.DataFrame'",
    "contrast": "(self, name: 'str') -> 'pd.DataFrame'",
    "trials": "(self) -> 'pd.DataFrame'",
    "curves": "(self, of: 'str' = 'training') -> 'pd.DataFrame'",
    "plot_conditions": "(self) -> 'Figure'",
    "plot_forest": "(self, name: 'str | None' = None) -> 'Figure'",
    "plot_tuning": "(self, name: 'str | None' = None) -> 'Figure'",
}


def test_names_and_signatures() -> None:
    assert set(mmbench.__all__) == {*SIGNATURES, "Results", "Loaded", "Refusal"}
    assert {name: str(inspect.signature(getattr(mmbench, name))) for name in SIGNATURES} == SIGNATURES
    public = {name for name in vars(mmbench.Results) if not name.startswith("_")}
    assert public == set(METHODS)
    assert {name: str(inspect.signature(getattr(mmbench.Results, name))) for name in METHODS} == METHODS
    assert all(getattr(mmbench.Results, name).__doc__ for name in METHODS)
    assert issubclass(mmbench.Refusal, ValueError)
    assert set(mmbench.__all__) <= set(dir(mmbench))
    with pytest.raises(AttributeError, match="has no attribute 'swep'"):
        mmbench.swep  # noqa: B018


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import json, sys, mmbench; mmbench.sweep, mmbench.read; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert {"torch", "numpy", "pandas", "hydra", "matplotlib", "optuna", "scipy"}.isdisjoint(loaded)
    assert [name for name in loaded if name.startswith("mmbench")] == ["mmbench"]
