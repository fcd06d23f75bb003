"""An honest sweep of every model is audited with every training run again.

``python -m tests.audit.every_model`` writes ``every_model.md``. It needs MovieLens 100K as ``data/ml100k``, or where
``MMBENCH_DATA`` says.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mmbench import paths
from mmbench.audit.levels import Asked, audit
from mmbench.audit.recorded import Sources
from mmbench.audit.standing import Standing
from mmbench.scheduling import worker
from mmbench.scheduling.sweep import Sweep
from mmbench.scheduling.trust import Trust
from tests.tiny import TINY, composed

#: Every model that needs nothing but the data.
MODELS = sorted(file.stem for file in (paths.config_dir() / "model").glob("*.yaml") if file.stem != "external")
WORLDS = {
    "planted": TINY,
    "ml100k": ("dataset=ml100k", "budget=touch", "tracking=none", "training.accelerator=cpu"),
}
PAGE = Path(__file__).with_suffix(".md")
HEAD = """\
# Audits of honest sweeps

Made by `OMP_NUM_THREADS=1 python -m tests.audit.every_model`: every model with the conditions none and fused at
`budget=touch`, on a planted world of 60 users and on MovieLens 100K. Every training was run again and compared bit for
bit. Seconds are those of the clock, beside other work.

| data | model | trainings | audit | findings | seconds of the sweep | seconds of the audit |
| --- | --- | ---: | --- | ---: | ---: | ---: |
"""


def swept(model: str, world: Sequence[str], folder: Path) -> Path:
    """Run a sweep of one model without content and with all of it, in this process; its folder."""
    words = [*world, f"paths.multirun={folder}", "sweep.name=s", f"model={model}"]
    sweep = Sweep.plan([composed([*words, f"modality={name}"]).job() for name in ("none", "fused")], words)
    sweep.open()
    worker.work(sweep.waiting)
    return sweep.folder


def audited(sweep: Path, sources: Sources) -> Standing:
    """What all levels find, with every training run again."""
    return audit(sweep, Asked(99, 1, 1), sources, lambda said: None)


def main() -> None:
    """Write the page."""
    rows = []
    for name, world in WORLDS.items():
        for model in MODELS:
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                sweep = swept(model, world, Path(folder))
                ended = time.perf_counter()
                held = audited(sweep, Sources(Trust(), paths.data_roots()[-1]))
                row = f"| {name} | {model} | {held.trainings} | {held.level} {held.retrained} | {len(held.findings)} |"
                rows.append(f"{row} {ended - began:.1f} | {time.perf_counter() - ended:.1f} |")
                print(rows[-1], *held.findings, flush=True)
    PAGE.write_text(HEAD + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
