"""Opening the test split: after a cell's choice is written, and only here.

Tuning may not import this module; import-linter holds it. The models are rebuilt from their records, so every test
number can be computed again from what is stored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from mmbench import faults, paths
from mmbench.data.conditions import ModalityCondition, UnchangedControl
from mmbench.data.features import ItemFeature
from mmbench.data.held_out import CANDIDATES, TARGETS
from mmbench.data.recdata import make_recdata
from mmbench.data.splits import Split
from mmbench.evaluation.metrics import LIST_LENGTH, Ranking
from mmbench.evaluation.new_items import CommonLists, ranker, ranker_for
from mmbench.evaluation.ranking import DegenerateScores, Evaluator, Scorer
from mmbench.messages import Refusal
from mmbench.nn.recommender import Recommender
from mmbench.store import mending
from mmbench.store.files import read_state
from mmbench.store.records import CellStore, read_looks
from mmbench.store.schema import Seal, Stage, Training, Unit, hashed, unscored
from mmbench.training.fit import rebuild
from mmbench.tuning.cell import CellTask
from mmbench.tuning.space import configuration_hash
from mmbench.tuning.study import feature_hash, run_unit


def is_scored(store: CellStore, split: Split) -> bool:
    """Whether the cell's choice among all its trials has been scored, with all its final runs, on this test split."""
    seal, choice = store.seal(), store.choice()
    if seal is None or choice is None:
        return False
    tested = (seal.choice_hash, seal.test_hash) == (choice.hash, split.test_fingerprint)
    return tested and store.effort().is_met_by(choice, seal)


def score_test(
    task: CellTask, store: CellStore, split: Split, export: Callable[[CellStore], None] = lambda store: None
) -> None:
    """Rank the test split with every trial's best state and with every final run, and seal the cell.

    Trials are scored for the expected test performance of tuning; only final runs keep their lists.

    Args:
        task: the cell.
        store: its records.
        split: the split.
        export: what is done with the lists before the seal.

    Raises:
        DegenerateScores: if the scores of a final run are NaN, infinite or constant.
        ValueError: if nothing was chosen yet, or if features are not those that a training saw.
    """
    choice = store.choice()
    if choice is None:
        raise ValueError(f"{task.cell}: the test split stays closed until a configuration is chosen")
    trainings = store.finished_trainings()
    evaluator, graph_dir = evaluator_of_test(task, split), paths.graph_dir(store.sweep_dir)
    views = views_of_test(task, split)
    without: list[str] = []
    written: dict[str, str] = {}
    for _, training in sorted(trainings.items()):
        if training.cell_key != store.key:
            raise ValueError(f"{task.cell}: the record of {training.stage} {training.index} is of another key")
        if not training.succeeded:
            continue
        try:
            for ending, ranking in stored_rankings(task, store, training, evaluator, graph_dir, views=views).items():
                written |= store.write_ranking(training.unit, ranking, ending)
        except DegenerateScores as error:
            if training.stage == Stage.FINAL:
                raise
            without.append(f"{unscored(training)}: {error}")
    _repeat_lost_looks(task, store, evaluator, graph_dir, views)
    export(store)
    faults.reach("sealing")
    if store.effort() == task.effort:  # otherwise trials were raised meanwhile, and other workers may be writing
        store.clear_leftovers()
        _remove_other_ranks(store, trainings, written)
    finals = sorted(unit.number for unit in trainings if unit.stage == Stage.FINAL)
    seal = Seal(
        cell_key=store.key,
        choice_hash=choice.hash,
        test_hash=split.test_fingerprint,
        protocol=split.protocol,
        valid_masked=split.masks_valid_at_test,
        finals=finals,
        runs=[trainings[Unit(Stage.FINAL, number)].hash for number in finals],
        files=written,
        unscored=without,
    )
    seal, earlier = hashed(seal), store.last_seal()
    if earlier is not None and earlier.finals != seal.finals:
        store.keep_look()  # final runs were raised
    elif earlier is not None and earlier.test_hash == seal.test_hash and earlier.hash != seal.hash:
        print(store.translator(mending.set_aside_seal(store)), flush=True)
    store.write_seal(seal)


def _remove_other_ranks(store: CellStore, trainings: Iterable[Unit], written: Mapping[str, str]) -> None:
    """Remove what trainings ranked of another test split than this one, which ranks nothing of the kind."""
    for unit in trainings:
        for file in paths.training_files(store.folder, *unit):
            if file.name.endswith(paths.RANKS) and file.relative_to(store.folder).as_posix() not in written:
                file.unlink()


def _repeat_lost_looks(
    task: CellTask,
    store: CellStore,
    evaluator: Evaluator | CommonLists,
    graph_dir: Path,
    views: Mapping[str, Evaluator | CommonLists],
) -> None:
    """Repeat final runs of earlier choices that lost a file, so that what was said after a look can be said again."""
    for look in read_looks(store.folder):
        earlier = replace(store, folder=look.folder)
        for number in look.seal.finals if look.folder != store.folder else []:
            if earlier.lost_of_final(number) is None:
                continue
            unit, configuration = Unit(Stage.FINAL, number), look.choice.configuration
            training = earlier.written(unit, configuration_hash(configuration))
            training = training or run_unit(task, earlier, unit, configuration)
            files: dict[str, str] = {}
            if training.succeeded:
                for ending, ranking in stored_rankings(
                    task, earlier, training, evaluator, graph_dir, views=views
                ).items():
                    files |= earlier.write_ranking(training.unit, ranking, ending)
            if line := mending.differs_from_look(store, look, training, files):
                print(store.translator(line), flush=True)


def stored_rankings(
    task: CellTask,
    store: CellStore,
    training: Training,
    evaluator: Evaluator | CommonLists,
    graph_dir: Path,
    model: Scorer | None = None,
    views: Mapping[str, Evaluator | CommonLists] = MappingProxyType({}),
) -> dict[str, Ranking]:
    """What the stored state of a training ranks, by the ending of the file of ranks; see :func:`inference_shuffles`.

    Args:
        task: its cell.
        store: records of the cell.
        training: its record.
        evaluator: of the test split, see :func:`evaluator_of_test`.
        graph_dir: where large item graphs are kept.
        model: the model with that state, where it has been rebuilt already.
        views: what ranks the test split among other candidates, see :func:`views_of_test`.

    Raises:
        DegenerateScores: if the scores are NaN, infinite or constant.
        ValueError: if features are not those that the training saw.
    """
    model = model or stored_model(task, store, training, graph_dir)
    final = training.stage == Stage.FINAL
    rankings = {paths.RANKS: ranked(evaluator, model, training)}
    for candidates, among in views.items() if final else ():
        with contextlib.suppress(DegenerateScores):  # what ranks the target may rank nothing else
            rankings[paths.ranks_among(candidates)] = _calibrated(among, training).rank(model)
    if final and training.state_hash:
        for name, condition in inference_shuffles(task).items():
            # Nothing is left to rank by, or there is nothing to shuffle; the absent file says so.
            with contextlib.suppress(DegenerateScores, UnchangedControl):
                shuffled = stored_model(task, store, training, graph_dir, task.inputs(training.seed, condition))
                rankings[paths.shuffled_ranks(name)] = _calibrated(evaluator, training).rank(shuffled)
    return rankings


def ranked(evaluator: Evaluator | CommonLists, model: Scorer, training: Training) -> Ranking:
    """What a model ranks for its target, with the lists of a final run.

    Raises:
        DegenerateScores: if the scores are NaN, infinite or constant.
    """
    return _calibrated(evaluator, training).rank(model, LIST_LENGTH if training.stage == Stage.FINAL else 0)


def _calibrated(evaluator: Evaluator | CommonLists, training: Training) -> Evaluator | CommonLists:
    """What ranks with the offset that validation chose for a training, where its lists have new and other items."""
    offset = None if training.course is None else training.course.offset
    return evaluator.with_offset(offset) if isinstance(evaluator, CommonLists) else evaluator


def stored_model(
    task: CellTask,
    store: CellStore,
    training: Training,
    graph_dir: Path,
    inputs: Mapping[str, ItemFeature] | None = None,
) -> Recommender:
    """The model of a training with its stored state, in eval mode.

    Args:
        task: its cell.
        store: records of the cell.
        training: its record.
        graph_dir: where large item graphs are kept.
        inputs: features that it is to see; by default those that it was trained on.

    Raises:
        ValueError: if the features of today are not those that the training saw.
    """
    features = task.inputs(training.seed)
    if feature_hash(features) != training.feature_hash:
        raise Refusal(
            "{cell}: features of {stage} {index} are not those it was trained on",
            cell=task.cell,
            stage=training.stage,
            index=training.index,
        )
    build, settings = task.recipe(training.configuration)
    file = store.training_file(training.unit, paths.STATE)
    state = read_state(file) if file in store.written_files(training) else {}
    data = make_recdata(task.train, features if inputs is None else inputs)
    return rebuild(build, data, state, settings, training.seed, graph_dir=graph_dir, translator=store.translator)


def evaluator_of_test(task: CellTask, split: Split) -> Evaluator | CommonLists:
    """What ranks the test split of a cell, for the target of its tuning."""
    device = task.recipe(task.default)[1].device
    if split.target:
        assert split.new_test is not None
        return ranker_for(split.target, split.new_test, *split.seen_at_test, device=device)
    return Evaluator(split.test, *split.seen_at_test, device=device)


def views_of_test(task: CellTask, split: Split) -> dict[str, Evaluator | CommonLists]:
    """What ranks the test split of a cell among candidates other than those of its target, where some items are new.

    Common lists need an offset that validation chose, so they are left out where no user of either part has both kinds.
    """
    part, device = split.new_test, task.recipe(task.default)[1].device
    if part is None or split.new_valid is None or task.new_valid is None:
        return {}
    # A user who holds out items of one kind alone has validation items of the other all the same.
    seen = (split.train, split.new_valid.rows)
    others = [kind for kind in CANDIDATES if kind != TARGETS.get(split.target)]
    return {
        kind: ranker(part, kind, *seen, device=device)
        for kind in others
        if len(part.among(kind)) and (kind != "all" or len(task.new_valid.among("all")))
    }


def inference_shuffles(task: CellTask) -> dict[str, ModalityCondition]:
    """For each real modality of the condition, the condition with that modality shuffled.

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
