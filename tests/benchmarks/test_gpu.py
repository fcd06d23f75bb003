"""Timings of a GPU: what is measured, what the page says of it, and that nothing is said without one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from tests.benchmarks import gpu
from tests.benchmarks.apart import apart
from tests.benchmarks.performance import PAGE, with_section
from tests.benchmarks.subjects import baby_words
from tests.tiny import WORLD

MODEL = {"step": 0.00125, "epoch": 0.0725, "evaluation": 0.0301, "peak_mb": 1234.4}


def test_an_epoch_its_step_and_the_ranking_of_validation_are_timed() -> None:
    words = [word for word in on_cpu(baby_words("bpr")) if not word.startswith("dataset")]
    found = gpu.measured([*words, "dataset=planted", *WORLD])
    assert 0 < found["step"] <= found["epoch"]
    assert found["evaluation"] > 0
    assert found["peak_mb"] >= 0


def on_cpu(words: list[str]) -> list[str]:
    asked = gpu.on(words, "cpu")
    assert "training.accelerator=cpu" in asked
    assert not any(word.startswith("budget.batches_per_epoch") for word in asked)  # whole epochs
    return asked


def test_the_page_names_the_card() -> None:
    text = gpu.section({"card": "NVIDIA A1", "torch": "2.13.0", "models": {"bpr": MODEL}})
    assert text.startswith("NVIDIA A1; torch 2.13.0; one training at a time.")
    assert "| bpr | 1.25 | 0.072 | 0.030 | 1,234 |" in text
    page = PAGE.read_text(encoding="utf-8")
    assert text in with_section(page, "gpu", text)
    committed = gpu.RESULTS.exists()
    assert ("Not measured: no machine with a GPU has run it." in page) is not committed
    if committed:
        assert gpu.section(json.loads(gpu.RESULTS.read_text(encoding="utf-8"))) in page


def test_a_model_that_fails_loses_no_other_row() -> None:
    failed = {"failed": "torch.OutOfMemoryError: 2 GB"}
    text = gpu.section({"card": "NVIDIA A1", "torch": "2.13.0", "models": {"mmgcn": failed, "bpr": MODEL}})
    assert "| mmgcn | not measured: torch.OutOfMemoryError: 2 GB |  |  |  |" in text
    assert "| bpr | 1.25 | 0.072 | 0.030 | 1,234 |" in text


@pytest.mark.thorough
def test_a_process_that_fails_says_why() -> None:
    found = apart("tests.benchmarks.growth", "nothing", "1")
    assert set(found) == {"failed"}
    assert found["failed"]


@pytest.mark.thorough
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_timed() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.benchmarks.gpu"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, gpu.NO_GPU)
