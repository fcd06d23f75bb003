"""The README's model table says what the code says; what was measured is there for every model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mmbench import paths
from mmbench.cli.tiers import tiers_of
from tests.benchmarks.model_table import (
    NESTED_HEADER,
    PROTOCOL,
    README,
    UNSEEN_HEADER,
    Epochs,
    class_of,
    ignores,
    n_parameters,
    nested_rows,
    paper,
    prepared,
    table_rows,
    unseen_rows,
    written_rows,
)

ROWS = table_rows(README.read_text(encoding="utf-8"))
MODELS = sorted(path.stem for path in (paths.config_dir() / "model").glob("*.yaml"))


def test_every_model_has_one_row() -> None:
    assert sorted(ROWS) == MODELS


@pytest.mark.parametrize("model", MODELS)
def test_a_row_says_what_the_code_says(model: str) -> None:
    tier, cited, fuses, ignored, unseen_by, parameters, cost = ROWS[model]
    assert tier == (", ".join(tiers_of(model)) or "-")
    assert cited == paper(model)
    assert ignored == ignores(model)
    assert unseen_by == class_of(model).unseen_items_by
    assert len(fuses) > 10
    if model != "external":
        assert re.fullmatch(r"[\d,]+", parameters)
        assert re.fullmatch(r"(fit )?\d+(\.\d+)?", cost)


def test_a_paper_is_cited_by_its_authors() -> None:
    cited = {model: paper(model) for model in MODELS if paper(model) != "-"}
    authors = re.compile(r"(the content baseline of )?[A-Z]\w+( [A-Z]\w+)*( et al\.| & [A-Z]\w+)?(,| \()")
    assert {model: words for model, words in cited.items() if not authors.match(words)} == {}


def test_the_protocol_lists_what_models_can_ignore() -> None:
    written = written_rows(PROTOCOL.read_text(encoding="utf-8"), NESTED_HEADER)
    assert written == nested_rows(MODELS)
    assert "bm3" in written


def test_the_protocol_lists_what_models_rank_new_items_by() -> None:
    written = written_rows(PROTOCOL.read_text(encoding="utf-8"), UNSEEN_HEADER)
    assert written == unseen_rows(MODELS)
    assert sorted(re.split(", | ", written.replace("|", ""))).count("bm3") == 1


def test_papers_have_authors_and_year() -> None:
    assert paper("mgcn") == "Yu et al., ACM Multimedia 2023"
    assert paper("fusion") == "-"
    without = {model for model in MODELS if paper(model) == "-"}
    assert without == {"external", "fusion", "hybridknn", "popularity"}


@pytest.mark.parametrize("model", ["bpr", "popularity", "vbpr", "fusion", "mmgcn", "slmrec"])
def test_parameters_are_those_of_the_default(model: str, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMBENCH_DATA", str(shared_data))
    build, _, _ = prepared(model)
    assert f"{n_parameters(build()):,}" == ROWS[model][5]


def test_an_epoch_takes_time_and_trains(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMBENCH_DATA", str(shared_data))
    epochs = Epochs("bpr")
    before = [p.detach().clone() for p in epochs.model.parameters()]
    assert epochs.seconds() > 0
    assert any((a != b).any() for a, b in zip(before, epochs.model.parameters(), strict=True))
