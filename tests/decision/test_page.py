"""The decision page and its record, from a sweep that ran, for every answer in both languages."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmbench.decision import Action, Gate, Status, gates, replay
from mmbench.decision.page.examples import examples_of, thumbnail, title
from mmbench.decision.page.speaker import ACTIONS, BADGES
from mmbench.decision.sweep_evidence import Read, read_evidence
from mmbench.messages import Translator
from mmbench.report.reading import read_sweep
from mmbench.report.table import SweepTable
from mmbench.store import files
from tests.decision.deciding import ANSWERS, read_shop, write_answer
from tests.report.constructed import Made, write_sweep
from tests.report.pages import Text
from tests.report.shop import TITLES
from tests.report.test_contribution import STATES, USERS, cells, hit_users


@pytest.fixture(scope="module")
def shop(shop_sweep: Path) -> tuple[SweepTable, Read]:
    return read_shop(shop_sweep)


#: Translations of "images do not help", in any form that a page could slip into.
NEVER = (
    r"images (do not|don't|cannot) help|images are (useless|not worth)|no effect of images|"
    r"画像は(役に立たない|効果がない|不要)"
)


@pytest.mark.parametrize("lang", ["en", "ja"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_the_first_screen_says_what_a_manager_needs(shop: tuple[SweepTable, Read], answer: str, lang: str) -> None:
    made = write_answer(*shop, answer, lang)
    page, translator = Text(made.file.read_text()), Translator(lang)
    assert page.lang == lang
    first = page.by_id["answer"]
    badge = {"one_seed": "hold", "nothing": "hold", "untrusted": "hold", "barred_go": "hold", "barred_no_go": "hold"}
    name = badge.get(answer, answer)
    action = Action[name.upper()]
    assert page.by_id["badge"] == translator(BADGES[action])
    assert page.by_id["action"] == translator(ACTIONS[action])
    word = {"en": r"[Ll]ikely|Unclear", "ja": "可能性|どちらとも言えない"}[lang]
    assert re.search(word, page.by_id["sure"])
    assert re.search("break-even line 8.0%|採算ライン 8.0%", page.by_id["range"])
    assert re.search("€60,000", page.by_id["cost"])
    assert page.by_id["next"].strip()
    assert all(page.by_id[part] in first for part in ("badge", "action", "sure", "range", "cost", "next"))
    assert not re.search(NEVER, page.everything)
    if name == "hold":
        assert not re.search("NO-GO|見送り推奨", first)
    if answer in ("untrusted", "one_seed", "nothing"):
        sentence = {"en": "does not mean that images have no effect", "ja": "画像に効果がないという意味ではありません"}
        assert sentence[lang] in page.by_id["sentence"]
        assert "value" not in page.by_id
    if lang == "ja":
        sentences = re.findall(r"[a-z]+ [a-z]+ [a-z]+ [a-z]+", page.by_id["answer"] + page.by_id["trust"])
        assert sentences == []


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_record_beside_the_page_can_be_replayed(shop: tuple[SweepTable, Read], answer: str) -> None:
    made = write_answer(*shop, answer, "en")
    record = files.read_document(made.file.with_suffix(".json"))
    assert replay(record) == made.decision
    assert record["result"]["action"] == made.decision.action
    assert not [path for path in made.file.parent.iterdir() if path.name.startswith(".")]


def test_nothing_is_asked_of_the_network_and_titles_are_text(shop: tuple[SweepTable, Read]) -> None:
    made = write_answer(*shop, "go", "en")
    html = made.file.read_text()
    page = Text(html)
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert "<script" not in html
    assert "http" not in re.sub(r'data:image/[^"]*', "", html).replace("http-equiv", "")
    shown = [example.title for example in examples_of(*_parts(shop))]
    assert shown
    assert all(title in page.everything for title in shown)
    assert any(link.startswith("data:image/jpeg") for link in page.links)


def _parts(shop: tuple[SweepTable, Read]) -> Any:
    table, read = shop
    return table, read.comparison.a, read.catalogue


def test_a_picture_outside_the_data_set_is_not_opened(shop: tuple[SweepTable, Read], tmp_path: Path) -> None:
    _, _, data = _parts(shop)
    secret = tmp_path / "secret.png"
    secret.write_bytes((data.folder / "images" / "i00000.png").read_bytes())
    items = data.items.assign(image_path=str(secret))
    assert thumbnail(replace(data, items=items), 8) == ""  # item 8 has no picture of its own
    items = data.items.assign(image_path="items.parquet")
    assert thumbnail(replace(data, items=items), 8) == ""
    assert thumbnail(data, 0).startswith("data:image/jpeg;base64,")
    assert title(data, 1) == TITLES[1]
    assert title(replace(data, items=data.items[[]]), 1) == "i00001"


# Evidence of the sweep that ran


def test_evidence_of_a_sweep(shop: tuple[SweepTable, Read]) -> None:
    _, read = shop
    e = read.evidence
    assert (e.dataset, e.contrast, e.n_users) == ("shop", "fused_vs_text", 150)
    by_name = {gate.name: gate for gate in e.gates}
    assert {f"G{i}" for i in range(1, 10)} - by_name.keys() == {"G7"}
    assert by_name["G1"].status == "pass"
    assert by_name["G5"].value == 1.0
    assert by_name["G6"].value == 1
    assert by_name["G8"].value is not None
    assert by_name["G2"].why.startswith("best baseline: ")
    assert {s.name.split(": ")[0] for s in e.subsets} == {"item's training interactions", "category"}
    for division in ("item's training interactions", "category"):
        parts = [s for s in e.subsets if s.name.startswith(division)]
        assert e.gain is not None
        assert sum(s.gain.mean for s in parts) == pytest.approx(e.gain.mean)


def test_a_sweep_without_the_pair_is_told(tmp_path: Path) -> None:
    whole = cells()
    only = {key: made for key, made in whole.items() if key[2] in ("none", "text")}
    with pytest.raises(ValueError, match="no results of any/any with and without images; run at least modality=text,"):
        read_evidence(read_sweep(write_sweep(tmp_path / "a", only)))
    with pytest.raises(ValueError, match="no results of any/other with and without images; there are d/m"):
        read_evidence(read_sweep(write_sweep(tmp_path / "b", whole)), model="other")
    two = {**whole, **{("e", m, c): made for (_, m, c), made in whole.items()}}
    two = {k: (Made(**{**vars(v), "seal": {"test_hash": "u"}}) if k[0] == "e" else v) for k, v in two.items()}
    with pytest.raises(ValueError, match="several data sets; add dataset=NAME, one of d, e"):
        read_evidence(read_sweep(write_sweep(tmp_path / "c", two)))


def with_encoders(*encoders: tuple[str, str], **changed: Any) -> dict[tuple[str, str, str], Made]:
    """The constructed cells once for every image encoder, a label and what stands for its numbers."""
    made = {}
    for label, numbers in encoders:
        name = "d" if label == "default" else f"d-image={label}"
        config = {"dataset": {"name": "d", "encoder": {"image": label}}}
        for (_, model, condition), one in cells().items():
            described = {**one.cell, "features": {"image": numbers, "text": "t"}}
            made[name, model, condition] = replace(one, cell=described, config=config)
    return {key: replace(one, **changed) if key[0] != "d" else one for key, one in made.items()}


@pytest.mark.parametrize(
    ("whole", "status", "value", "reason"),
    [
        (with_encoders(("default", "x")), "fail", 1, "tried: default"),
        (with_encoders(("default", "x"), ("clip", "y")), "pass", 2, "tried: clip, default"),
        (with_encoders(("default", "x"), ("copy", "x")), "fail", 1, "tried: default"),
        (with_encoders(("default", "x"), ("copy", "x"), ("clip", "y")), "pass", 2, "tried: clip, default"),
        # of another split, of other seeds, or never finished
        (with_encoders(("default", "x"), ("clip", "y"), seal={"test_hash": "u"}), "fail", 1, "tried: default"),
        (with_encoders(("default", "x"), ("clip", "y"), finals=np.ones((2, USERS), bool)), "fail", 1, "tried: default"),
        (with_encoders(("default", "x"), ("clip", "y"), missing=True), "fail", 1, "tried: default"),
        (with_encoders(("default", "x"), ("clip", "y"), failure="out of memory"), "fail", 1, "tried: default"),
    ],
)
def test_image_encoders_are_counted_by_their_numbers(
    whole: dict[tuple[str, str, str], Made], status: str, value: int, reason: str, tmp_path: Path
) -> None:
    table = read_sweep(write_sweep(tmp_path / "s", whole))
    (gate,) = (gate for gate in read_evidence(table, dataset="d").evidence.gates if gate.name == "G6")
    assert (gate.status, gate.value, gate.why) == (status, value, reason)


def test_an_encoder_of_another_model_or_beside_less_is_not_tried(tmp_path: Path) -> None:
    two = with_encoders(("default", "x"), ("clip", "y"))
    other = {(d, "n" if d != "d" else m, c): made for (d, m, c), made in two.items()}
    alone = {key: made for key, made in two.items() if key[0] == "d" or key[2] in ("none", "image", "text")}
    for name, whole in {"model": other, "alone": alone}.items():
        read = read_evidence(read_sweep(write_sweep(tmp_path / name, whole)), dataset="d", model="m")
        assert {gate.name: gate.value for gate in read.evidence.gates}["G6"] == 1


def test_the_best_encoder_on_validation_is_decided_about_and_the_other_one_counts(tmp_path: Path) -> None:
    better = np.stack([hit_users(USERS, range(150))] * 3)
    two = with_encoders(("default", "x"), ("clip", "y"))
    two["d-image=clip", "m", "fused"] = replace(two["d-image=clip", "m", "fused"], finals=better)
    two["d", "itemknn", "-"] = Made(np.stack([hit_users(USERS, range(155))] * 3))
    e = read_evidence(read_sweep(write_sweep(tmp_path / "s", two))).evidence
    by_name = {gate.name: gate for gate in e.gates}
    assert e.dataset == "d-image=clip"
    assert by_name["G6"].status == "pass"
    # The simple baseline ran on the same split under the other encoder's name.
    assert (by_name["G2"].status, by_name["G2"].limit) == ("fail", 0.775)


def test_gates_of_constructed_records(tmp_path: Path) -> None:
    whole = cells()
    hits = np.stack([hit_users(USERS, range(126))] * 3)
    shuffled = np.stack([hit_users(USERS, range(118))] * 3)
    whole["d", "m", "text_shuffled_image"] = Made(shuffled, cell={"states": {"text": "real", "image": "shuffle"}})
    whole["d", "itemknn", "-"] = Made(hits)
    read = read_evidence(read_sweep(write_sweep(tmp_path / "s", whole)))
    by_name = {gate.name: gate for gate in read.evidence.gates}
    assert STATES["fused"] == {"text": "real", "image": "real"}
    assert (by_name["G2"].status, by_name["G2"].value, by_name["G2"].limit) == ("fail", 0.625, 0.63)
    assert by_name["G3"].status == "pass"
    assert [by_name[name].status for name in ("G4", "G5", "G6", "G8", "G9")] == ["not known"] * 5
    # 125 of 200 users against 120, one of 20 places each
    assert read.evidence.per_thousand is not None
    assert read.evidence.per_thousand.mean == pytest.approx(1000 * 5 / 200 / 20)


def test_unused_signal_is_asked_of_every_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read_sweep(write_sweep(tmp_path / "s", with_encoders(("default", "x"), ("clip", "y"))))
    monkeypatch.setattr(gates, "read_catalogue", lambda cell: SimpleNamespace())
    tells = {"d": (0.02, 0.03), "d-image=clip": (0.05, 0.03)}
    monkeypatch.setattr(gates, "_unique", lambda table, cell, data: tells[cell.dataset])

    def asked() -> Gate:
        a = table.cells["d", "m", "fused"]
        cells = [(cell, gates.read_catalogue(cell)) for cell in gates.encoders_tried(table, a).values()]
        return gates._unused(table, cells)

    assert asked() == Gate("G8", Status.FAIL, 0.05, 0.03, "image encoder: clip")
    tells["d-image=clip"] = (0.01, 0.03)
    assert asked() == Gate("G8", Status.PASS, 0.02, 0.03, "image encoder: default")
    monkeypatch.setattr(gates, "read_catalogue", lambda cell: "not here")
    assert asked().status is Status.UNKNOWN
