"""Other libraries on our split of MovieLens 100K, for docs/study-method.md: ``python -m tests.studies.peers``.

Needs ``pip install cornac implicit recbole`` beside mmbench. Each library learns from our training part; of each
trained model eight configurations are tried and one is chosen by our validation, as many as ``budget=small`` gives a
model of ours. What it recommends is written to a file and ranked as ``model=external``, so that candidates, ties and
metric are the same. EASE and iALS have the configurations that the study chose for ours, and nothing is chosen. What
ours has more is paired by user; ``results/peers.json`` keeps it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from mmbench.cli.compose import compose
from mmbench.data.dataset import Dataset
from mmbench.evaluation.metrics import per_user
from mmbench.evaluation.ranking import Evaluator
from mmbench.inference.intervals import CrossedInterval, Interval, relative_gain
from mmbench.messages import points
from mmbench.report.reading import read_sweep
from mmbench.report.sentences import percents
from mmbench.store import files
from tests.benchmarks.performance import table
from tests.studies import pages
from tests.studies.sweeps import METRIC, RESULTS, ROOT, mmbench

FOLDER = ROOT / "build" / "peers"
KEPT = RESULTS / "peers.json"
#: Items per user in a file: more than the candidates of validation and test that can stand before place 20.
LISTED = 200
SEED = 1
#: What the study chose for ours (conf/tuned/ml100k).
EASE_PENALTY = 238.12679223874937
IALS = {"dim": 128, "penalty": 0.014633434446283186, "unobserved": 0.40671160976556486}
#: Models whose configuration is not chosen, and which one they have.
AS_OURS = {"ease": "the penalty that the study chose for ours", "ials": "the weights that the study chose for ours"}
#: Tried of every other model.
CONFIGURATIONS = 8
#: Models of ours beside them, with the condition that gives them the same input.
OURS = {"ease": "none", "ials": "none", "bpr": "none", "lightgcn": "none", "vbpr": "image"}

Scores = NDArray[np.floating]


def rows_of(data: Dataset) -> Iterator[tuple[int, int, float]]:
    """Training interactions by index."""
    train = data.split.train
    return ((int(user), int(item), 1.0) for user, item in zip(train.users, train.items, strict=True))


def cornac_scores(model: object, data: Dataset) -> Scores:
    """Scores of a fitted model of Cornac, ``(n_users, n_items)``; items that it has not seen come last."""
    found = np.full((data.n_users, data.n_items), -np.inf)
    known = model.train_set  # type: ignore[attr-defined]
    columns = np.array([item for item, _ in sorted(known.iid_map.items(), key=lambda pair: pair[1])])
    for user, place in known.uid_map.items():
        found[user, columns] = np.asarray(model.score(place))[: len(columns)]  # type: ignore[attr-defined]
    return found


def ease(data: Dataset) -> Iterator[Scores]:
    """Cornac's EASE with our penalty."""
    from cornac.data import Dataset as CornacDataset
    from cornac.models import EASE

    model = EASE(lamb=EASE_PENALTY, posB=False, verbose=False).fit(CornacDataset.from_uir(rows_of(data)))
    yield cornac_scores(model, data)


def ials(data: Dataset) -> Iterator[Scores]:
    """Implicit's ALS with our weights; its penalty does not grow with the interactions and has the mean of ours."""
    from implicit.als import AlternatingLeastSquares

    n_users, n_items, n = data.n_users, data.n_items, len(data.split.train)
    alpha = IALS["unobserved"]
    weight = (1 + alpha) / alpha
    means = (n / n_users + alpha * n_items, n / n_items + alpha * n_users)
    penalty = weight * IALS["penalty"] * float(np.sqrt(np.prod(means)))
    users, items, ones = map(np.array, zip(*rows_of(data), strict=True))
    log = sparse.csr_matrix((weight * ones, (users, items)), shape=(n_users, n_items)).astype(np.float32)
    model = AlternatingLeastSquares(int(IALS["dim"]), regularization=penalty, iterations=10, random_state=SEED)
    model.fit(log, show_progress=False)
    yield model.user_factors @ model.item_factors.T


def bpr(data: Dataset) -> Iterator[Scores]:
    """Cornac's BPR, 64 factors, eight configurations."""
    from cornac.data import Dataset as CornacDataset
    from cornac.models import BPR

    for rate, penalty, epochs in itertools.product((0.01, 0.05), (0.001, 0.01), (100, 400)):
        model = BPR(k=64, max_iter=epochs, learning_rate=rate, lambda_reg=penalty, seed=SEED, verbose=False)
        yield cornac_scores(model.fit(CornacDataset.from_uir(rows_of(data), seed=SEED)), data)


def vbpr(data: Dataset) -> Iterator[Scores]:
    """Cornac's VBPR on images, 64 factors, eight configurations.

    Cornac 3.0.1 adds the visual bias of a batch, a column, to its scores, a row, so that its loss sums over every pair
    of the two and weighs a batch's size more against the penalties, which are as many times as large here.
    """
    from cornac.data import Dataset as CornacDataset
    from cornac.data import ImageModality
    from cornac.models import VBPR

    features, batch = data.features["image"].values, 512
    for rate, penalty, epochs in itertools.product((0.001, 0.005), (0.001, 0.01), (30, 100)):
        known = CornacDataset.from_uir(rows_of(data), seed=SEED)
        images = ImageModality(features=features, ids=list(range(data.n_items)), normalized=True)
        images.build(id_map=known.iid_map)
        known.add_modalities(item_image=images)
        sizes = {"k": 32, "k2": 32, "batch_size": batch, "n_epochs": epochs}
        weights = {"lambda_w": batch * penalty, "lambda_b": batch * penalty}
        model = VBPR(**sizes, **weights, learning_rate=rate, seed=SEED, verbose=False)
        yield cornac_scores(model.fit(known), data)


def _as_recbole_knows_them() -> None:
    """Give NumPy and SciPy back what RecBole 1.2.1 calls and later versions have taken away."""
    for old, new in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_), ("bool8", np.bool_)):
        if not hasattr(np, old):
            setattr(np, old, new)
    if not hasattr(sparse.dok_matrix, "_update"):
        sparse.dok_matrix._update = dict.update


def lightgcn(data: Dataset) -> Iterator[Scores]:
    """RecBole's LightGCN, 64 factors, two layers, stopped by its own validation, eight configurations."""
    _as_recbole_knows_them()
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.model.general_recommender import LightGCN
    from recbole.trainer import Trainer

    folder = FOLDER / "recbole" / "ours"
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", data.split.train), ("valid", data.split.valid), ("test", data.split.valid)):
        frame = pd.DataFrame({"user_id:token": part.users, "item_id:token": part.items})
        frame.to_csv(folder / f"ours.{name}.inter", sep="\t", index=False)
    for rate, penalty in itertools.product((0.001, 0.005), (1e-5, 1e-4, 1e-3, 1e-2)):
        words = {
            "data_path": str(folder.parent),
            "benchmark_filename": ["train", "valid", "test"],
            "load_col": {"inter": ["user_id", "item_id"]},
            "embedding_size": 64,
            "n_layers": 2,
            "learning_rate": rate,
            "reg_weight": penalty,
            "train_batch_size": 2048,
            "epochs": 300,
            "stopping_step": 20,
            "metrics": ["NDCG"],
            "topk": [20],
            "valid_metric": "NDCG@20",
            "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1, "dynamic": False},
            "checkpoint_dir": str(FOLDER / "recbole"),
            "seed": SEED,
            "device": "cpu",
            "use_gpu": False,
            "show_progress": False,
        }
        config = Config(model=LightGCN, dataset="ours", config_dict=words)
        made = create_dataset(config)
        train, valid, _ = data_preparation(config, made)
        model = LightGCN(config, train.dataset)
        with contextlib.chdir(FOLDER):  # its curves go to the working folder, whatever is asked for
            trainer = Trainer(config, model)
            trainer.fit(train, valid, verbose=False, show_progress=False)
        state = torch.load(trainer.saved_model_file, weights_only=False)["state_dict"]
        model.load_state_dict(state)
        with torch.no_grad():
            users, items = model.forward()
        rows = [made.token2id("user_id", [str(user)])[0] for user in range(data.n_users)]
        columns = made.token2id("item_id", [str(item) for item in np.unique(data.split.train.items)])
        found = np.full((data.n_users, data.n_items), -np.inf)
        found[:, np.unique(data.split.train.items)] = (users[rows] @ items[columns].T).numpy()
        yield found


LIBRARIES: dict[str, tuple[str, Callable[[Dataset], Iterator[Scores]]]] = {
    "ease": ("Cornac", ease),
    "ials": ("implicit", ials),
    "bpr": ("Cornac", bpr),
    "lightgcn": ("RecBole", lightgcn),
    "vbpr": ("Cornac", vbpr),
}


class Given:
    """Scores as a model: ``(n_users, n_items)``."""

    def __init__(self, scores: Scores) -> None:
        self.scores = torch.from_numpy(np.nan_to_num(scores, neginf=float(scores[np.isfinite(scores)].min()) - 1))

    def score(self, users: Tensor) -> Tensor:
        """Rows of the users."""
        return self.scores[users]


def write_lists(scores: Scores, data: Dataset, file: Path) -> None:
    """The best items of every user that are not in training, with raw ids."""
    scores = scores.astype(np.float64)
    scores[data.split.train.users, data.split.train.items] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :LISTED]
    users = np.repeat(np.arange(data.n_users), LISTED)
    kept = np.isfinite(scores[users, best.ravel()])
    columns = {"user": data.user_ids[users], "item": data.item_ids[best.ravel()], "score": scores[users, best.ravel()]}
    pd.DataFrame(columns)[kept].to_csv(file, index=False)


def scores_of(name: str, data: Dataset) -> Scores:
    """What a library's model gives that is best on our validation."""
    judge = Evaluator(data.split.valid, data.split.train)
    best, chosen = -1.0, None
    for scores in LIBRARIES[name][1](data):
        score = float(per_user(judge.rank(Given(scores)).pairs, METRIC).mean())
        print(f"{name}: validation {score:.4f}", file=sys.stderr, flush=True)
        if score > best:
            best, chosen = score, scores
    assert chosen is not None
    return chosen


def measured(name: str, data: Dataset) -> dict[str, Any]:
    """Both sides ranked on test, and what ours has more than the library."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    lists = FOLDER / f"{name}.csv"
    write_lists(scores_of(name, data), data, lists)
    words = ("dataset=ml100k", "tracking=none", "sweep.workers=1")
    external = ("model=external", f"model.recommendations={os.fspath(lists)}", "budget=smoke")
    mmbench("-m", f"sweep.name=peer_{name}", *words, *external)
    effort = ("tuned=ml100k", "budget=standard") if name in AS_OURS else ("budget=small",)
    mmbench("-m", f"sweep.name=ours_{name}", *words, f"model={name}", f"modality={OURS[name]}", *effort)
    theirs, ours = (per_user_of(f"{whose}_{name}") for whose in ("peer", "ours"))
    library = LIBRARIES[name][0]
    return {
        "library": f"{library} {metadata.version(library)}",
        "theirs": float(theirs.mean()),
        "ours": float(ours.mean()),
        "more": dataclasses.asdict(more(ours, theirs)),
    }


def per_user_of(sweep: str) -> Scores:
    """Test NDCG@20 of the only cell of a sweep, ``(n_users, n_seeds)``."""
    found = read_sweep(ROOT / "multirun" / sweep)
    (cell,) = [cell for cell in found.cells.values() if cell.status == "done" and not cell.parts]
    return cell.per_user(METRIC)


def more(ours: Scores, theirs: Scores) -> CrossedInterval:
    """The relative gain of ours over users and our seeds; the library is trained once, so that its noise is not in it.

    Args:
        ours: ``(n_users, n_seeds)``.
        theirs: of the same users, every seed alike.
    """
    return relative_gain(ours, np.broadcast_to(theirs[:, :1], ours.shape))


def known() -> dict[str, Mapping[str, Any]]:
    """What is kept, by model."""
    found = files.read_document(KEPT) if KEPT.exists() else {}
    return {name: found[name] for name in LIBRARIES if name in found}


def rows(kept: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of docs/study-method.md."""
    lines = []
    for name, told in kept.items():
        gain = Interval(**{key: told["more"][key] for key in ("mean", "lo", "hi")})
        lines.append(
            [
                name if OURS[name] == "none" else f"{name}, {OURS[name]}",
                f"{told['library']}, {AS_OURS.get(name, f'best of {CONFIGURATIONS} configurations on validation')}",
                f"{told['theirs']:.4f}",
                f"{told['ours']:.4f}",
                f"{points(gain.mean)} {percents(gain)}",
            ]
        )
    return table(["model", "library", "its NDCG@20", "ours", "ours over it %"], lines)


def main() -> None:
    """Fit, choose by validation, rank on test and write the table, for the models that are named or for all."""
    logging.disable(logging.WARNING)
    data = compose(["dataset=ml100k", "model=popularity", "tracking=none"]).job().dataset()
    for name in sys.argv[1:] or LIBRARIES:
        files.write_document(KEPT, {**known(), name: measured(name, data)})
        pages.write({"peers": rows(known())})


if __name__ == "__main__":
    main()
