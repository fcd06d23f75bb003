"""Writes the README's model table: ``python -m tests.benchmarks.model_table`` with ``$MMBENCH_DATA`` set, minutes.

And the protocol's tables of what models can ignore and of what they rank new items by.

Tiers come from each model's YAML, the paper from the first line of its file, what it can ignore and what it ranks new
items by from its class, parameters and cost from fused ml100k at the defaults. What a model fuses, and how, is written
by hand in its row and kept.
"""

from __future__ import annotations

import importlib
import re
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from unittest import mock

import torch
from hydra.utils import get_class
from omegaconf import OmegaConf

from mmbench import paths
from mmbench.cli.compose import compose
from mmbench.cli.tiers import tiers_of
from mmbench.data.recdata import RecData, make_recdata
from mmbench.nn.memo import Memo
from mmbench.nn.recommender import ClosedForm, FactorModel, Recommender, UnseenItems
from mmbench.training.batches import TripletLoader
from mmbench.training.settings import TrainingSettings

README = Path(__file__).resolve().parents[2] / "README.md"
HEADER = "| model | tier | paper | what it fuses, and how | can ignore | ranks new items by | parameters | cost |"
ROW = re.compile(r"^\| (?P<name>[\w@-]+) \|(?P<cells>.*)\|$", flags=re.MULTILINE)
PROTOCOL = README.parent / "docs" / "protocol.md"
NESTED_HEADER = "| can ignore | models |\n|---|---|\n"
UNSEEN_HEADER = "| ranks new items by | models |\n|---|---|\n"
BASELINE = "lightgcn"
EPOCHS = 5


def table_rows(text: str) -> dict[str, list[str]]:
    """Cells of each row of the model table by model, without the name."""
    _, _, below = text.partition(HEADER + "\n")
    table = below.partition("\n\n")[0]
    return {row["name"]: [cell.strip() for cell in row["cells"].split(" | ")] for row in ROW.finditer(table)}


def paper(model: str) -> str:
    """Authors, venue and year as the first line of the model's file has them."""
    module = importlib.import_module(f"mmbench.models.{model.partition('@')[0]}")
    assert module.__doc__ is not None
    cited = re.sub(r',? "[^"]*"', "", module.__doc__.splitlines()[0].partition(": ")[2]).rstrip(".")
    return cited if re.search(r"\d{4}", cited) else "-"


def class_of(model: str) -> type[Recommender]:
    """The class that a model's YAML names."""
    made = get_class(OmegaConf.load(paths.config_dir() / "model" / f"{model}.yaml").model._target_)
    assert issubclass(made, Recommender)
    return made


def ignores(model: str) -> str:
    """Which of its inputs the search space of a model can leave out, and why not all of them, as its class has it."""
    made = class_of(model)
    if not made.uses_content:
        return "-"
    if made.content_ignored_by:
        return f"each modality; all by `{made.content_ignored_by}`"
    return f"each modality but the last: {made.content_needed_because}"


def nested_rows(models: Iterable[str]) -> str:
    """Rows of the protocol's table: each thing that models with content can ignore, and those models."""
    return _grouped((what, model) for model in sorted(models) if (what := ignores(model)) != "-")


def unseen_rows(models: Iterable[str]) -> str:
    """Rows of the protocol's table: each way to rank an item that training has not seen, and its models."""
    known = {model: class_of(model).unseen_items_by for model in sorted(models)}
    return _grouped((way, model) for way in UnseenItems for model, own in known.items() if own is way)


def _grouped(pairs: Iterable[tuple[str, str]]) -> str:
    by_what: dict[str, list[str]] = {}
    for what, model in pairs:
        by_what.setdefault(what, []).append(model)
    return "\n".join(f"| {what} | {', '.join(names)} |" for what, names in by_what.items())


def written_rows(text: str, header: str) -> str:
    """The rows below a header as the protocol has them."""
    return text.partition(header)[2].partition("\n\n")[0]


def prepared(model: str) -> tuple[Callable[[], Recommender], RecData, TrainingSettings]:
    """What makes the default model on fused ml100k, its data and its training settings."""
    words = [f"model={model}", "dataset=ml100k", "modality=fused", "tracking=none", "training.accelerator=cpu"]
    task = compose(words).job().task()
    build, settings = task.recipe(task.default)
    data = make_recdata(task.train, task.inputs(0))
    return lambda: build(data), data, settings


def n_parameters(model: Recommender) -> int:
    """Number of trained numbers."""
    return sum(p.numel() for p in model.parameters())


class Epochs:
    """Training epochs of a model without validation; a model that is computed is computed anew in each."""

    def __init__(self, name: str) -> None:
        torch.manual_seed(0)
        self.build, self.data, self.settings = prepared(name)
        self.model = self.build()
        if isinstance(self.model, FactorModel):
            self.loader = TripletLoader(self.data, self.settings.batch_size, 0)
            self.optimizer = torch.optim.Adam(self.model.parameters(), self.settings.lr, fused=True)
            self.model.train()

    def seconds(self) -> float:
        """CPU time of one epoch."""
        began = time.process_time()
        if isinstance(self.model, ClosedForm):
            model = self.build()
            assert isinstance(model, ClosedForm)
            with mock.patch.object(Memo, "get", lambda self, key, make, *serves: make()):  # the whole computation
                model.fit(self.data)
        elif isinstance(self.model, FactorModel):
            self.model.begin_epoch()
            for batch in self.loader:
                self.optimizer.zero_grad()
                torch.stack([term.reshape(()) for term in self.model.loss(batch).values()]).sum().backward()
                self.optimizer.step()
        return time.process_time() - began


def measured(name: str, baseline: Epochs) -> tuple[int, str]:
    """Parameters, and the cost of an epoch relative to an epoch of LightGCN right after it, so that noise cancels."""
    epochs = Epochs(name)
    epochs.seconds(), baseline.seconds()
    cost = statistics.median(epochs.seconds() / baseline.seconds() for _ in range(EPOCHS))
    return n_parameters(epochs.model), f"{'fit ' if isinstance(epochs.model, ClosedForm) else ''}{cost:.2g}"


def main() -> None:
    """Measure every model of the table and write its row anew."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as trainings do
    baseline = Epochs(BASELINE)
    text = README.read_text(encoding="utf-8")
    for name, (_, _, fuses, *_) in table_rows(text).items():
        count, cost = ("-", "-") if name == "external" else measured(name, baseline)
        number = f"{count:,}" if isinstance(count, int) else count
        said = [paper(name), fuses, ignores(name), class_of(name).unseen_items_by]
        cells = [name, ", ".join(tiers_of(name)) or "-", *said, number, cost]
        row = f"| {' | '.join(cells)} |"
        print(row, flush=True)
        text = re.sub(rf"^\| {name} \|.*$", lambda _, row=row: row, text, count=1, flags=re.MULTILINE)
    README.write_text(text, encoding="utf-8")
    protocol = PROTOCOL.read_text(encoding="utf-8")
    for header, rows in ((NESTED_HEADER, nested_rows), (UNSEEN_HEADER, unseen_rows)):
        protocol = protocol.replace(written_rows(protocol, header), rows(table_rows(text)))
    PROTOCOL.write_text(protocol, encoding="utf-8")


if __name__ == "__main__":
    main()
