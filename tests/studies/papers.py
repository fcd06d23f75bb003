"""Beside the numbers of papers: ``python -m tests.studies.papers NAME`` ranks the tuned configurations of a study.

The source study and its toolbox hide the items of training alone, so that those of validation stay candidates, as we do
under protocol ``paper``; under the others we hide both. Each configuration is computed once and ranked both ways.
``studies/NAME/papers.json`` keeps the means, and docs/study-method.md shows them beside what was printed elsewhere for
the same interactions.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from mmbench.data.recdata import make_recdata
from mmbench.evaluation.metrics import per_user
from mmbench.evaluation.ranking import Evaluator
from mmbench.store import files
from mmbench.training.fit import fit
from tests.benchmarks.performance import table
from tests.studies import pages
from tests.studies.answer import STUDIES
from tests.studies.price import conditions_of, tuned_job

KEPT = "papers.json"
METRICS = ("recall@10", "ndcg@10", "recall@20", "ndcg@20")
#: The page of its code: github.com/HKUDS/MMSSL.
MMSSL = "MMSSL (Wei et al., WWW 2023)"
#: github.com/Xu107/MMHCL, log/tiktok.txt: one run.
MMHCL = "MMHCL (Guo et al., arXiv 2504.16576), its released log"
#: github.com/enoche/MMRec, evaluation/README.md.
MMREC = "benchmark of the MMRec toolbox"
DEEP_DIVE = "source study, table 4 (Ye et al., arXiv 2508.07399)"


class Printed(NamedTuple):
    """What a paper, or the page of its code, says of a model.

    Attributes:
        source: where it stands.
        model: the model, by the name it has there.
        recall10: Recall@10, None where it is not said; the others alike.
        ndcg10: NDCG@10.
        recall20: Recall@20.
        ndcg20: NDCG@20.
    """

    source: str
    model: str
    recall10: float | None
    ndcg10: float | None
    recall20: float | None
    ndcg20: float | None


#: By study, in the order of the sources.
PRINTED: Mapping[str, Sequence[Printed]] = {
    "tiktok": (
        *(
            Printed(MMSSL, model, None, None, recall, ndcg)
            for model, recall, ndcg in (
                ("MF-BPR", 0.0346, 0.0130),
                ("NGCF", 0.0604, 0.0238),
                ("LightGCN", 0.0653, 0.0282),
                ("SGL", 0.0603, 0.0238),
                ("NCL", 0.0658, 0.0269),
                ("HCCF", 0.0662, 0.0267),
                ("VBPR", 0.0380, 0.0134),
                ("LightGCN-M", 0.0679, 0.0273),
                ("MMGCN", 0.0730, 0.0307),
                ("GRCN", 0.0804, 0.0350),
                ("LATTICE", 0.0843, 0.0367),
                ("CLCRec", 0.0621, 0.0264),
                ("MMGCL", 0.0799, 0.0326),
                ("SLMRec", 0.0845, 0.0353),
                ("MMSSL", 0.0921, 0.0392),
            )
        ),
        Printed(MMHCL, "MMHCL", 0.0752, 0.0395, 0.1139, 0.0492),
    ),
    "baby_ids": (
        *(
            Printed(MMREC, model, *numbers)
            for model, *numbers in (
                ("BPR", 0.0357, 0.0192, 0.0575, 0.0249),
                ("LightGCN", 0.0479, 0.0257, 0.0754, 0.0328),
                ("VBPR", 0.0423, 0.0223, 0.0663, 0.0284),
                ("MMGCN", 0.0378, 0.0200, 0.0615, 0.0261),
                ("DualGNN", 0.0448, 0.0240, 0.0716, 0.0309),
                ("GRCN", 0.0539, 0.0288, 0.0833, 0.0363),
                ("LATTICE", 0.0547, 0.0292, 0.0850, 0.0370),
                ("BM3", 0.0564, 0.0301, 0.0883, 0.0383),
                ("SLMRec", 0.0529, 0.0290, 0.0775, 0.0353),
                ("ADDVAE", 0.0598, 0.0323, 0.0910, 0.0404),
                ("FREEDOM", 0.0627, 0.0330, 0.0992, 0.0424),
            )
        ),
        *(
            Printed(DEEP_DIVE, model, recall, ndcg, None, None)
            for model, recall, ndcg in (
                ("BM3", 0.0517, 0.0275),
                ("DA-MRS", 0.0604, 0.0326),
                ("DRAGON", 0.0625, 0.0342),
                ("DualGNN", 0.0490, 0.0268),
                ("FREEDOM", 0.0617, 0.0329),
                ("GRCN", 0.0533, 0.0292),
                ("LATTICE", 0.0537, 0.0295),
                ("LGMRec", 0.0595, 0.0331),
                ("MGCN", 0.0595, 0.0329),
                ("MMGCN", 0.0365, 0.0196),
                ("PGL", 0.0579, 0.0307),
                ("SLMRec", 0.0492, 0.0275),
                ("SMORE", 0.0647, 0.0359),
                ("VBPR", 0.0402, 0.0211),
            )
        ),
    ),
}


class Ours(NamedTuple):
    """A tuned configuration of ours on the test part.

    Attributes:
        model: the model.
        modality: the condition; "-" for a model that reads no content.
        n_users: evaluated users.
        hidden: means over them by metric, with the items of training and validation hidden, as in all our tables.
        as_papers: the same with the items of training alone hidden.
    """

    model: str
    modality: str
    n_users: int
    hidden: dict[str, float]
    as_papers: dict[str, float]


def ranked(study: str) -> Iterator[Ours]:
    """Every condition of a study, computed with its tuned configuration."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as trainings do
    for model, modality in conditions_of(study):
        job = tuned_job(study, model, modality)
        task, split = job.task(), job.dataset().split
        assert task.given is not None
        build, settings = task.recipe(task.given)
        fitted = fit(build, make_recdata(task.train, task.inputs(0)), task.train, task.valid, settings, 0).model
        found = []
        for seen in ((split.train, split.valid), (split.train,)):
            ranking = Evaluator(split.test, *seen).rank(fitted)
            found.append({metric: round(float(per_user(ranking.pairs, metric).mean()), 6) for metric in METRICS})
        ours = Ours(model, modality, len(ranking.users), *found)
        print(study, *ours, flush=True)
        yield ours


def known() -> dict[str, list[dict[str, Any]]]:
    """What was ranked, by study."""
    found = {name: STUDIES / name / KEPT for name in PRINTED}
    return {name: files.read_document(file)["ranked"] for name, file in found.items() if file.exists()}


def rows(study: str, ours: Sequence[Mapping[str, Any]]) -> str:
    """The table of docs/study-method.md for one study: what was printed elsewhere, then ours.

    Both ways of ranking stand there where they differ; they are one where no user has held-out items of both parts.
    """
    lines = [
        [source, model, *("-" if number is None else f"{number:.4f}" for number in numbers)]
        for source, model, *numbers in PRINTED[study]
    ]
    ways = {"as_papers": "here, ranked as there", "hidden": "here, validation hidden too"}
    if all(one["as_papers"] == one["hidden"] for one in ours):
        ways = {"hidden": "here"}
    for kind, name in ways.items():
        for one in ours:
            model = one["model"] if one["modality"] in ("-", "none") else f"{one['model']}, {one['modality']}"
            lines.append([name, model, *(f"{one[kind][metric]:.4f}" for metric in METRICS)])
    return table(["source", "model", "Recall@10", "NDCG@10", "Recall@20", "NDCG@20"], lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Rank the named studies and write the tables."""
    for study in sys.argv[1:] if argv is None else argv:
        files.write_document(STUDIES / study / KEPT, {"ranked": [one._asdict() for one in ranked(study)]})
    pages.write({f"papers {study}": rows(study, ours) for study, ours in known().items()})


if __name__ == "__main__":
    main()
