"""Rules of the house that no linter knows: records are types, file names have one home, and workers stay light."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmbench import paths

SOURCE = paths.PACKAGE
MODULES = {str(path.relative_to(SOURCE).with_suffix("")).replace("/", "."): path for path in SOURCE.rglob("*.py")}

#: Rooms that can hold a record. The others stand below the store, which the import contracts see to, or beside it:
#: ``encoders`` and ``checks`` read and write data sets.
ROOMS = ("tuning", "training", "sealing", "inference", "scheduling", "report", "decision", "cli")
PLAIN = re.compile(r"\b(dict|Mapping|MutableMapping)\[str, (Any|object)\]")
#: Functions of these rooms that may take or return a mapping from names to anything, by what it is.
PLAIN_MAPPINGS = {
    "what a template of a page is given": {"report.templating.of"},
    "a section of the configuration, before it is a type or for a model's constructor": {
        "cli.compose._plain",
        "cli.plain_yaml.plain_yaml",
        "decision.serving._check_widths",
        "report.catalogue._folder",
        "report.catalogue._options",
        "report.explain._settings",
        "scheduling.configuration._hints",
        "scheduling.job._arguments",
        "scheduling.job._recorded",
        "tuning.space.read_space",
        "tuning.space._distribution",
    },
    "a user's own figures for a decision, before they are a type": {
        "decision.economics._check_currency",
        "decision.economics.completed",
        "decision.economics.read_economics",
        "decision.economics._flat",
        "decision.template.economics_template",
        "decision.economics._step",
    },
    "a document: a decision, a pre-test, what an archive or a data set says of itself": {
        "cli.prepare_folder._summary",
        "cli.prepare_folder._with_texts",
        "decision.mirror._decision",
        "decision.record.as_record",
        "decision.record.decided",
        "decision.record.holds",
        "decision.record.replay",
        "decision.record._economics",
        "decision.record._evidence",
        "decision.record._evidence_record",
        "report.archive.environment",
        "report.archive._json",
        "report.pretest_text.as_record",
        "report.verification.verify",
    },
    "rows and columns of a DataFrame": {
        "report.frames._by_trials",
        "report.frames._learning",
        "report.frames._of_training",
    },
    "words of a command line": {"cli.prepare_folder._stated_options"},
    "what a template is filled with": {
        "decision.page.sections._cost",
        "decision.page.sections._hero",
        "decision.page.sections._inputs",
        "decision.page.sections._source",
        "decision.page.sections._steps",
        "decision.page.sections._value",
        "decision.page.sections._why",
        "report.layout.page",
    },
    "keyword arguments or a signature of another library": {
        "report.charts.look_of",
        "training.loop.get_extra_state",
        "training.loop._placement",
        "tuning.sampler.sample_relative",
    },
}

#: Parts of the names of a sweep's files and folders.
NAMES = re.compile(
    r"(cell|choice|sealed|failure|manifest)\.json|ledger\.jsonl|recommendations\.csv"
    r"|(test|valid|lists)\.parquet|state\.npz|\b(trials|proposals|finals)/|\.graphs|^(leases|wandb/.*|finals)$"
    r"|^(decision|signal)\.json$|^(table|verdicts|benchmark|contribution|paper|submission|fairness)\.(md|csv|tex|txt)$"
)


def functions(module: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{module}.{node.name}", node


def annotations(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    asked = function.args
    parameters = [*asked.posonlyargs, *asked.args, *asked.kwonlyargs, asked.vararg, asked.kwarg]
    for annotation in (*(p.annotation for p in parameters if p is not None), function.returns):
        if annotation is not None:
            yield ast.unparse(annotation)


def test_no_function_takes_or_returns_a_record_as_a_mapping() -> None:
    plain = {
        name
        for module in MODULES
        if module.split(".")[0] in ROOMS
        for name, function in functions(module)
        if any(PLAIN.search(annotation) for annotation in annotations(function))
    }
    assert plain == set().union(*PLAIN_MAPPINGS.values())


def texts(path: Path) -> Iterator[str]:
    """Every string of a module but its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    docstrings = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            yield node.value


def test_names_of_a_sweep_s_files_are_spelled_in_one_module() -> None:
    spelled = {(module, text) for module, path in MODULES.items() for text in texts(path) if NAMES.search(text)}
    asked_for = {("store.trackers.__init__", "finals")}  # a value of tracking.curves, and no folder
    assert {one for one in spelled if one[0] != "paths"} == asked_for
    assert ("paths", "cell.json") in spelled  # so the pattern sees what it is meant to see


def test_state_of_a_process_is_where_the_rule_says() -> None:
    """Rule 13 of CONTRIBUTING.md names both with the reason."""
    kept = re.compile(r"^\s*global \w|\bContextVar[(\[]", re.MULTILINE)
    found = {module for module, path in MODULES.items() if kept.search(path.read_text(encoding="utf-8"))}
    assert found == {"nn.item_neighbours", "store.trackers.wandb_runs"}


def test_few_modules_stand_at_the_top() -> None:
    assert len([module for module in MODULES if "." not in module]) <= 6


@pytest.mark.thorough
def test_a_worker_loads_neither_report_nor_decision_nor_what_only_they_need() -> None:
    """Nor the composing of configurations: a worker is handed jobs.

    Lightning imports torchmetrics, which imports matplotlib and, where transformers is installed, jinja2 through it. So
    Lightning is imported first, and what counts is what a worker adds.
    """
    unwanted = (
        "mmbench.report",
        "mmbench.decision",
        "mmbench.cli",
        "matplotlib",
        "jinja2",
        "babel",
        "hydra",
        "omegaconf",
    )
    program = f"""
import json, sys
import pytorch_lightning
before = set(sys.modules)
import mmbench.scheduling.worker
print(json.dumps([name for name in {unwanted} if name in sys.modules and name not in before]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert json.loads(done.stdout) == []
