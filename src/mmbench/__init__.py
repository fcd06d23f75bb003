"""mmbench: do text and image embeddings truly help a recommender?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmbench.winner.chosen import Loaded


def load(
    sweep: str | Path, cell: str, seed: int = 1, *, data: str | Path | None = None, allow: tuple[str, ...] = ()
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
        ValueError: if the cell is not there or not finished, or its data or model cannot be read here.
    """
    from mmbench.audit.recorded import Sources  # torch is loaded when a model is
    from mmbench.scheduling.trust import Trust
    from mmbench.winner.chosen import read_winner

    sources = Sources(Trust.of(allow), None if data is None else Path(data))
    return read_winner(Path(sweep), cell, sources).loaded(seed)
