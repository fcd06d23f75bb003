"""What a condition costs: ``python -m tests.studies.price NAME`` measures the tuned configurations of a study.

Each is computed and ranks validation in a process of its own, three times, on one thread. ``studies/NAME/price.json``
keeps the medians, and docs/study.md shows those of the conditions with real content.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import pandas as pd
import torch

from mmbench.cli.compose import compose
from mmbench.data.recdata import make_recdata
from mmbench.scheduling.job import Job
from mmbench.store import files
from mmbench.training.fit import fit
from tests.benchmarks.apart import apart
from tests.benchmarks.performance import machine, table
from tests.studies import pages
from tests.studies.answer import DOMAINS, STUDIES, folders_of, leaving_out
from tests.studies.data_sets import part_of

PRICE = "price.json"
RUNS = 3
#: Conditions with real content and their words in the table, in its order.
CONDITIONS = ("none", "text", "image", "audio", "fused")


class Price(NamedTuple):
    """What a condition of a model costs.

    Attributes:
        model: the model.
        modality: the condition; "-" for a model that reads no content.
        seconds: computing or training the model and ranking validation, median.
        megabytes: largest memory of the process above what it holds once everything is imported, median.
    """

    model: str
    modality: str
    seconds: float
    megabytes: float


def trials_of(study: str) -> pd.DataFrame:
    """Data set, model and condition of every cell of a published study."""
    return pd.read_csv(STUDIES / study / "trials.csv", usecols=["dataset", "model", "modality"]).drop_duplicates()


def tuned_of(study: str) -> str:
    """Name of its tuned configurations, which is that of its only data set."""
    (dataset,) = set(trials_of(study).dataset)
    return dataset


def conditions_of(study: str) -> Iterator[tuple[str, str]]:
    """Models of a published study and their conditions with real content that have a result."""
    for model, own in trials_of(study).groupby("model", sort=False):
        for modality in (*CONDITIONS, "-"):
            if modality in set(own.modality):
                yield str(model), modality


def tuned_job(study: str, model: str, modality: str) -> Job:
    """The job of one condition with its tuned configuration; a study of one model has the preset of its data set."""
    asked, (preset, _) = "none" if modality == "-" else modality, part_of(study) or (study, "")
    words = [f"experiment=study_{preset}", f"given='{tuned_of(study)}'", f"model={model}", f"modality={asked}"]
    return compose([*words, "tracking=none", "training.accelerator=cpu"]).job()


def measure(study: str, model: str, modality: str) -> dict[str, float]:
    """Seconds and megabytes of one condition in this process."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as trainings do
    job = tuned_job(study, model, modality)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    task = job.task()
    assert task.given is not None
    build, settings = task.recipe(task.given)
    data = make_recdata(task.train, task.inputs(0))
    began = time.process_time()
    fit(build, data, task.train, task.valid, settings, 0)  # it ranks validation as well
    seconds = time.process_time() - began
    return {"seconds": seconds, "megabytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident) / 1024}


def measured(study: str) -> Iterator[Price]:
    """The price of every condition of a study, each in fresh processes."""
    for model, modality in conditions_of(study):
        found = [apart(__spec__.name, study, model, modality) for _ in range(RUNS)]
        if failed := [one["failed"] for one in found if "failed" in one]:
            raise RuntimeError(f"{study}, {model}, {modality}: {failed[0]}")
        price = Price(
            model,
            modality,
            round(median(one["seconds"] for one in found), 3),
            round(median(one["megabytes"] for one in found), 1),
        )
        print(study, *price, flush=True)
        yield price


def seconds(number: float) -> str:
    """Seconds with two digits, or all of them before the point.

    >>> seconds(0.489), seconds(27.2), seconds(154.08)
    ('0.49 s', '27 s', '154 s')
    """
    return f"{number:.0f} s" if number >= 100 else f"{number:.2g} s"


def rows(prices: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The table of docs/study.md: seconds and megabytes by condition, a row for each model of each data set.

    An equals sign marks what leaves content out.
    """
    lines = []
    for data, found in prices.items():
        unread = leaving_out(data)
        by_model: dict[str, dict[str, Mapping[str, Any]]] = {}
        for price in found:
            modality = "none" if price["modality"] == "-" else price["modality"]
            by_model.setdefault(price["model"], {})[modality] = price
        for model, own in by_model.items():
            cells = [
                f"{'= ' * ((model, condition) in unread)}{seconds(one['seconds'])}, {one['megabytes']:,.0f} MB"
                if (one := own.get(condition))
                else "-"
                for condition in CONDITIONS
            ]
            lines.append([data, model, *cells])
    return table(["data", "model", *CONDITIONS], lines)


def known() -> dict[str, list[dict[str, Any]]]:
    """Prices that were measured, by data set in the order of the answer."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name in DOMAINS:
        for file in (folder / PRICE for folder in folders_of(name)):
            if file.exists():
                found.setdefault(name, []).extend(files.read_document(file)["prices"])
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the named studies and write the table."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["--one"]:
        print(json.dumps(measure(*words[1:])))
        return
    for study in words:
        prices = [price._asdict() for price in measured(study)]
        files.write_document(STUDIES / study / PRICE, {"machine": machine(), "prices": prices})
    pages.write({"prices": rows(known())})


if __name__ == "__main__":
    main()
