"""Opening the test split: after a cell's choice is written, and only here (RULINGS 1).

Tuning may not import this module; import-linter holds it. The models are rebuilt from their records, so every test
number can be computed again from what is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mmbench import faults, fingerprint, paths, records
from mmbench.cells import CellTask
from mmbench.data.features import ItemFeature
from mmbench.data.interactions import Interactions
from mmbench.data.modality import ModalityCondition
from mmbench.data.recdata import make_recdata
from mmbench.data.splits import Split
from mmbench.evaluation import DegenerateScores, Evaluator
from mmbench.messages import Refusal
from mmbench.metrics import Ranking
from mmbench.records import CellStore
from mmbench.study import feature_hash
from mmbench.training import rebuild

LIST_LENGTH = 50

Record = Mapping[str, Any]


def is_scored(store: CellStore, split: Split) -> bool:
    """Whether the cell's current choice has been scored on this very test split."""
    file = store.folder / "sealed.json"
    choice = store.folder / "choice.json"
    if not (file.exists() and choice.exists()):
        return False
    seal = records.read_json(file)
    return bool(
        seal["choice_hash"] == records.read_json(choice)["hash"] and seal["test_hash"] == split.test_fingerprint
    )


def score_test(task: CellTask, store: CellStore, split: Split) -> None:
    """Rank the test split with every trial's best state and with every final run, and seal the cell.

    Trials are scored for the expected test performance of METHOD §1.2; only final runs keep their lists.
    """
    choice = records.read_json(store.folder / "choice.json")
    seen = (split.train, split.valid) if split.masks_valid_at_test else (split.train,)
    trainings = store.finished_trainings()
    unscored: list[str] = []
    for (stage, index), record in sorted(trainings.items()):
        if record["status"] != "ok":
            continue
        try:
            _score(task, store, split, seen, record)
        except DegenerateScores as error:
            if stage == "final":
                raise
            unscored.append(f"trial {index}: {error}")
    faults.reach("sealing")
    store.clear_leftovers()
    seal: Mapping[str, Any] = {
        "kind": "seal",
        "cell_key": store.key,
        "choice_hash": choice["hash"],
        "test_hash": split.test_fingerprint,
        "protocol": split.protocol,
        "valid_masked": split.masks_valid_at_test,
        "finals": sorted(index for stage, index in trainings if stage == "final"),
        "unscored": unscored,
    }
    records.write_json(store.folder / "sealed.json", {**seal, "hash": fingerprint.of_json(dict(seal))})


def _score(task: CellTask, store: CellStore, split: Split, seen: tuple[Interactions, ...], record: Record) -> None:
    stage, index = record["stage"], record["index"]
    features = task.inputs(record["seed"])
    if feature_hash(features) != record["feature_hash"]:
        raise Refusal(
            "{cell}: features of {stage} {index} are not those it was trained on",
            cell=task.cell,
            stage=stage,
            index=index,
        )
    build, settings = task.recipe(record["configuration"])
    file = store.training_file(stage, index, "state.npz")
    state = records.read_state(file) if file.exists() else {}
    evaluator = Evaluator(split.test, *seen, device=settings.device)

    def rank(inputs: Mapping[str, ItemFeature], top_k: int) -> Ranking:
        data = make_recdata(task.train, inputs)
        model = rebuild(build, data, state, settings, record["seed"], graph_dir=paths.graph_dir(store.sweep_dir))
        return evaluator.rank(model, top_k)

    store.write_ranking(stage, index, rank(features, LIST_LENGTH if stage == "final" else 0))
    if stage == "final" and state:
        for name, condition in inference_shuffles(task).items():
            try:
                ranking = rank(task.inputs(record["seed"], condition), 0)
            except DegenerateScores:
                continue  # nothing is left to rank by; the absent file says so
            store.write_ranking(stage, index, ranking, variant=f"shuffled_{name}")


def inference_shuffles(task: CellTask) -> dict[str, ModalityCondition]:
    """For each real modality of the condition, the condition with that modality shuffled (METHOD §2 rule 3).

    Scoring a trained model under it shows how much the model relies on the modality. Item graphs are rebuilt from the
    shuffled features. It is no measure of worth: a model may rely on what another modality could replace.
    """
    condition = task.condition
    kept = condition.kept(task.features)
    return {
        name: replace(condition, states={**{m: condition.state(m) for m in task.features}, name: "shuffle"})
        for name in kept
        if condition.state(name) == "real"
    }
