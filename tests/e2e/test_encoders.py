"""From raw titles, overviews and posters of MovieLens 100K to the features that others computed, and a sweep."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmbench.encoders import images, texts
from tests.parts import require_modules

MINILM, LITE0 = next(iter(texts.PACKAGES)), next(iter(images.PACKAGES))
#: How the README of the data set says its texts were made.
TEMPLATE = "{title}.[ Genres: {genres}.] {description}"


def command(cache: Path, *words: str) -> str:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mmbench", *words], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_raw_movielens_gives_the_published_features_and_a_sweep_runs_on_them(shared_data: Path, tmp_path: Path) -> None:
    require_modules("sentence_transformers", "timm", LITE0.replace("-", "_"), MINILM.replace("-", "_"))
    given, folder = shared_data / "ml100k", tmp_path / "ml100k"
    if not (given / "images").is_dir():
        pytest.skip(f"{given} is not there")
    encoders = (f"text={MINILM}", f"template={TEMPLATE}", f"images={given / 'images'}", f"image={LITE0}")
    columns = ("--items", str(given / "items.parquet"), "--text", "title,genres,description")
    asked = [word for encoder in encoders for word in ("--encode", encoder)]
    log = str(given / "interactions.parquet")
    said = command(tmp_path, "prepare", log, *columns, *asked, "--out", str(folder))
    assert f"text_feat.npy: {MINILM} encoded 1,682 of 1,682 items to 384 numbers each" in said
    assert f"image_feat.npy: {LITE0} encoded 1,663 of 1,682 items to 1,280 numbers each" in said
    assert "19 items have no image file" in said
    for modality in ("text", "image"):
        expected, made = (np.load(where / f"{modality}_feat.npy") for where in (given, folder))
        there = expected.any(axis=1)
        assert (made.any(axis=1) == there).all()
        lengths = np.linalg.norm(made[there], axis=1) * np.linalg.norm(expected[there], axis=1)
        assert ((made * expected)[there].sum(axis=1) / lengths).min() >= 0.999
    assert "1,682 came from the cache" in command(tmp_path, "encode", str(folder), *encoders)
    where = (f"dataset.path={folder}", f"paths.multirun={tmp_path / 'multirun'}", "tracking=none")
    words = ("dataset=ml100k", "model=bpr,vbpr", "modality=none,text,image,fused", "budget=touch", "sweep.name=raw")
    command(tmp_path, "-m", *words, "dataset.trust_row_order=false", *where)
    cells = [path.parent for path in (tmp_path / "multirun" / "raw" / "ml100k").rglob("sealed.json")]
    assert sorted(f"{cell.parent.name}/{cell.name}" for cell in cells) == [
        "bpr/-", "vbpr/fused", "vbpr/image", "vbpr/none", "vbpr/text",
    ]  # fmt: skip
    assert (tmp_path / "multirun" / "raw" / "report" / "table.md").is_file()
