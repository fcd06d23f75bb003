"""mmbench: do text and image embeddings truly help a recommender?

The names of this module are the interface for programs and notebooks; docs/python.md explains them. Importing it loads
nothing heavy.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmbench.messages import Refusal
    from mmbench.report.frames import Results
    from mmbench.winner.chosen import Loaded

__all__ = ["Loaded", "Refusal", "Results", "load", "read", "sweep"]

#: Module of each class that is loaded when it is first used.
_CLASSES = {"Loaded": "winner.chosen", "Refusal": "messages", "Results": "report.frames"}


def __getattr__(name: str) -> object:
    """A class of the interface, loaded when it is first asked for."""
    if name not in _CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_CLASSES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def sweep(*words: str, progress: bool = True) -> Results:
    """Run a sweep, or go on with one, and return its results when it is done.

    Every condition is tuned with equal effort, as by ``python -m mmbench -m``, which is what runs: in a process of its
    own, with workers, and with its report. Finished trainings never run twice. A cell that fails has its reason in
    :meth:`Results.table`.

    Args:
        words: words of the command line: ``"model=vbpr,ease"``, ``"budget=small"``, and ``"--config-dir"`` with its
            folder.
        progress: whether what the command prints is printed: the data, then a line for each finished cell, or every
            quarter of a minute, with the time left. Tables are printed with ``"report.printed=true"`` alone.

    Raises:
        Refusal: with the one line in which the command would end.
        KeyboardInterrupt: where it was interrupted; the same call goes on from there.
    """
    from mmbench.cli.from_python import run_sweep
    from mmbench.messages.refused import refusing

    with refusing():
        return run_sweep(words, progress=progress)


def read(folder: str | Path, *, allow: str | tuple[str, ...] = ()) -> Results:
    """Read the results of a sweep from its records, finished or not.

    Args:
        folder: folder of the sweep, such as ``multirun/first``.
        allow: what may be used because a record names it, as ``--allow`` on the command line.

    Raises:
        Refusal: if the folder is no sweep, or its records cannot be read.
    """
    from mmbench.messages.refused import reading, refusing
    from mmbench.report.frames import Results
    from mmbench.scheduling.trust import Trust

    with refusing(), reading(Path(folder)):
        return Results(Path(folder), Trust.of(allow))


def load(
    sweep: str | Path, cell: str, seed: int = 1, *, data: str | Path | None = None, allow: str | tuple[str, ...] = ()
) -> Loaded:
    """The model of a final run of a finished cell, with the raw ids of its users and items.

    Args:
        sweep: folder of the sweep.
        cell: ``dataset/model/modality``, or ``dataset/model`` of a model that ignores content.
        seed: number of the final run.
        data: folder of the data sets, where they do not lie where the records say.
        allow: what may be used because a record names it, as ``--allow`` on the command line.

    Returns:
        The torch model in eval mode and its id maps; ``model.score(users)`` takes positions ``(B,)`` and gives
        ``(B, n_items)``.

    Raises:
        Refusal: if the cell is not there or not finished, or its data or model cannot be read here.
    """
    from mmbench.audit.recorded import Sources  # torch is loaded when a model is
    from mmbench.messages.refused import reading, refusing
    from mmbench.scheduling.trust import Trust
    from mmbench.winner.chosen import read_winner

    with refusing(), reading(Path(sweep)):
        sources = Sources(Trust.of(allow), None if data is None else Path(data))
        return read_winner(Path(sweep), cell, sources).loaded(seed)
