"""The process that MLflow works in; :mod:`mmbench.store.trackers.mlflow_runs` starts it by its path.

It imports nothing of mmbench. A line of standard input is a run, a line of standard output says what became of it.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

#: Most numbers, parameters and tags that MLflow takes at once, and letters of a parameter and of a tag.
MOST_METRICS, MOST_PARAMETERS, MOST_LETTERS = 1000, 100, 5000
#: Tag that a run is known again by.
IDENTITY = "mmbench.identity"


def main(folder: Path) -> None:
    """Show run after run until standard input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    for line in sys.stdin:
        try:
            show(json.loads(line), folder)
            error = None
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
        print(json.dumps({"error": error}), file=answers, flush=True)


def show(run: Mapping[str, Any], folder: Path) -> None:
    """Write a run into the store of a folder."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    store, place = f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()
    client = MlflowClient(tracking_uri=store, registry_uri=store)
    experiment = _experiment(client, run["experiment"], place)
    for earlier in client.search_runs([experiment], f"tags.`{IDENTITY}` = '{run['identity']}'"):
        client.delete_run(earlier.info.run_id)
    begun = client.create_run(experiment, run_name=run["name"], tags={IDENTITY: run["identity"], "kind": run["kind"]})
    key, now = begun.info.run_id, int(time.time() * 1000)
    steps = [*run["steps"], (0, run["results"])]
    numbers = [
        Metric(_name(name), float(value), now, step)
        for step, values in steps
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    ]
    words = {name: value for _, values in steps for name, value in values.items() if isinstance(value, str)}
    for some in _parts(numbers, MOST_METRICS):
        client.log_batch(key, metrics=some)
    for some in _parts([Param(_name(k), str(v)[:MOST_LETTERS]) for k, v in run["config"].items()], MOST_PARAMETERS):
        client.log_batch(key, params=some)
    for some in _parts([RunTag(_name(k), v[:MOST_LETTERS]) for k, v in words.items()], MOST_PARAMETERS):
        client.log_batch(key, tags=some)
    # Where artefacts go is read from the store, which may be somebody else's: it decides nothing here.
    if (run["texts"] or run["files"]) and client.get_run(key).info.artifact_uri != f"{place}/{key}/artifacts":
        raise ValueError("the store keeps its artefacts in another place")
    for file, text in run["texts"].items():
        client.log_text(key, text, file)
    for file in run["files"].values():
        client.log_artifact(key, file, "figures")
    client.set_terminated(key)


def _experiment(client: Any, name: str, place: str) -> str:
    """The experiment of the sweep, whose artefacts lie in the sweep; where its folder was moved, another one."""
    for attempt in itertools.count():
        known = client.get_experiment_by_name(name if attempt == 0 else f"{name} ({attempt + 1})")
        if known is None:
            return str(client.create_experiment(name if attempt == 0 else f"{name} ({attempt + 1})", place))
        if known.artifact_location == place and known.lifecycle_stage == "active":
            return str(known.experiment_id)
    raise AssertionError


def _name(name: str) -> str:
    """A name with the letters that MLflow takes."""
    return re.sub(r"[^\w./: -]", "_", name)


def _parts(entries: Iterable[Any], size: int) -> Iterator[list[Any]]:
    remaining = iter(entries)
    while some := list(itertools.islice(remaining, size)):
        yield some


if __name__ == "__main__":
    main(Path(sys.argv[1]))
