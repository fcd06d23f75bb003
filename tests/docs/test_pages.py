"""Links of the repository as the site writes them."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from tests.docs.links import LINK
from tests.docs.pages import SOURCES, linked


def written(text: str, page: str) -> str:
    return linked(text, SOURCES.get(page, f"docs/{page}"), PurePosixPath(page))


@pytest.mark.parametrize(
    ("page", "text", "expected"),
    [
        ("index.md", "[data](docs/data.md#size)", "[data](data.md#size)"),
        ("index.md", "[rules](CONTRIBUTING.md)", "[rules](contributing.md)"),
        ("adding-a-model.md", "[Models](../README.md#models)", "[Models](index.md#models)"),
        ("ja/company.md", "[data](../data.md)", "[data](../data.md)"),
        ("reading.md", "[a verdict](notebooks/reading_a_verdict.py)", "[a verdict](notebooks/reading_a_verdict.md)"),
        ("decisions/README.md", "[one](0001-pool-as-hydra-launcher.md)", "[one](0001-pool-as-hydra-launcher.md)"),
        (
            "decision.md",
            "[conf/economics/default.yaml](../conf/economics/default.yaml)",
            "`conf/economics/default.yaml`",
        ),
        ("decision.md", "[test_decision.py](../tests/test_decision.py)", "`tests/test_decision.py`"),
        ("decision.md", "[the cases](../tests/decision)", "the cases (`tests/decision`)"),
        ("faq.md", "[there](#running) and [the web](https://example.org)", None),
        ("decision.md", "![a picture](images/decision-en-desk.png)", None),
    ],
)
def test_links_become_those_of_the_site(page: str, text: str, expected: str | None) -> None:
    assert written(text, page) == (text if expected is None else expected)


def test_a_picture_within_a_link_is_left_alone() -> None:
    assert LINK.search("![x](images/a.png)") is None
