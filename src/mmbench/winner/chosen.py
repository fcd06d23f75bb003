"""The chosen configuration of a cell, rebuilt from its records."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmbench import fingerprint, paths
from mmbench.audit.findings import folder_of
from mmbench.audit.recorded import Recorded, Sources
from mmbench.data.dataset import Dataset
from mmbench.messages import Refusal
from mmbench.messages.hints import did_you_mean
from mmbench.nn.recommender import Recommender
from mmbench.report.reading import check_sweep
from mmbench.sealing.score_test import stored_model
from mmbench.store import records
from mmbench.store.files import read_state
from mmbench.store.schema import Choice, Manifest, PlannedCell, Stage, Training


@dataclass(frozen=True)
class Loaded:
    """A model with the raw ids of its data.

    Args:
        model: in eval mode.
        user_ids: raw id of each user, ``(n_users,)``.
        item_ids: raw id of each item, ``(n_items,)``.
        user_index: position of a user by raw id.
        item_index: position of an item by raw id.
    """

    model: Recommender
    user_ids: NDArray[np.object_]
    item_ids: NDArray[np.object_]
    user_index: dict[str, int]
    item_index: dict[str, int]


@dataclass(frozen=True)
class Winner:
    """The chosen configuration of a cell.

    Args:
        recorded: the cell.
        choice: what was chosen.
        dataset: its data, with raw ids.
        finals: records of its final runs by seed.
    """

    recorded: Recorded
    choice: Choice
    dataset: Dataset
    finals: dict[int, Training]

    def loaded(self, seed: int) -> Loaded:
        """The model of a final run with its id maps."""
        users, items = self.dataset.user_ids, self.dataset.item_ids
        places = [{str(one): place for place, one in enumerate(ids)} for ids in (users, items)]
        return Loaded(self.model(seed), users, items, *places)

    def model(self, seed: int) -> Recommender:
        """The model of a final run, in eval mode; a closed form is computed again.

        Raises:
            ValueError: for a seed without a final run, and for a state or features that are not those of its record.
        """
        if seed not in self.finals:
            raise Refusal(
                "final run {seed} does not exist; there are {seeds}",
                seed=seed,
                seeds=", ".join(map(str, sorted(self.finals))),
            )
        training, store = self.finals[seed], self.recorded.store
        file = store.training_file(training.unit, paths.STATE)
        if training.state_hash and fingerprint.of_named_arrays(read_state(file)) != training.state_hash:
            raise Refusal("{file} is not the state that its record names; an audit tells more", file=file)
        with tempfile.TemporaryDirectory() as graphs:
            return stored_model(self.recorded.task, store, training, Path(graphs))


def read_winner(sweep_dir: Path, name: str, sources: Sources) -> Winner:
    """The winner of a cell.

    Args:
        sweep_dir: folder of the sweep.
        name: ``dataset/model/modality``, or ``dataset/model`` of a model that ignores content.
        sources: what may be used besides the records.

    Raises:
        ValueError: for a folder that is no sweep, for a cell that is not there, has failed or is not finished with all
            of its final runs, for data or a model that cannot be read here, and for data that have changed.
    """
    check_sweep(sweep_dir, sources.trust)
    manifest = records.read(paths.manifest_file(sweep_dir), Manifest)
    planned = _planned(manifest.cells, name)
    recorded = Recorded.read(sweep_dir, planned, sources)
    store = recorded.store
    if (failure := store.failure()) is not None:
        raise Refusal(
            "{cell} failed: {reason}; the command of the sweep tries it again", cell=name, reason=failure.reason
        )
    choice, seal = store.choice(), store.seal()
    if choice is None or seal is None or not recorded.cell.effort.is_met_by(choice, seal):
        raise Refusal("{cell} is not finished; the command of the sweep goes on", cell=name)
    # Rows of a state stand for users and items by position, and a closed form would be fitted to whatever is there.
    if recorded.split.tuning_fingerprint != recorded.cell.split_hash:
        raise Refusal(
            "{cell}: training and validation interactions are no longer those it was trained on; name a folder that "
            "holds those with --data DIR, or train it again with the command of the sweep",
            cell=name,
        )
    finals = {
        training.index: training
        for training in records.read_trainings(folder_of(sweep_dir, planned), Stage.FINAL, planned.key)
        if training.succeeded
    }
    return Winner(recorded, choice, recorded.job.dataset(), finals)


def _planned(cells: Sequence[PlannedCell], name: str) -> PlannedCell:
    found = [cell for cell in cells if str(cell.name) in (name, f"{name}/-")]
    if not found:
        names = [str(cell.name) for cell in cells]
        raise Refusal("{cell} is no cell of this sweep; {hint}", cell=name, hint=did_you_mean(name, names))
    return found[0]
