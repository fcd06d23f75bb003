"""A control that keeps failing: the page says how often and why, not only that it is to be run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmbench import paths
from mmbench.decision import Action, decide
from mmbench.decision.evidence import Status
from mmbench.decision.page.speaker import Speaker
from mmbench.decision.rule import Why
from mmbench.decision.sweep_evidence import read_evidence
from mmbench.report.disposals import FailedControl
from mmbench.report.explain import explainable
from mmbench.report.write import write_report
from mmbench.store import ledger, records
from mmbench.store.schema import Cell
from tests import records as valid
from tests.decision.cases import economics
from tests.decision.test_page import commanded, controlled, itemknn
from tests.report.constructed import Made
from tests.report.test_contribution import USERS, cells, hit_users

REASON = "all 8 trials failed; the first: OutOfMemoryError: 3 GiB"
OVERRIDES = "modality=text_shuffled_image"


def whole_sweep() -> dict[tuple[str, str, str], Made]:
    """The cells with all controls, where images alone find more than text, so that they pay without fused."""
    whole = controlled(cells()) | {("d", "itemknn", "-"): itemknn(110)}
    whole["d", "m", "image"] = replace(whole["d", "m", "image"], finals=np.stack([hit_users(USERS, range(125))] * 3))
    return whole


def failing(folder: Path, times: int, *, alone: bool = False) -> Path:
    """A sweep whose control of fused failed; the control of image ran, or was not run either."""
    whole = whole_sweep()
    whole["d", "m", "text_shuffled_image"] = Made(
        failure=f"{REASON}\n", cell={"states": {"text": "real", "image": "shuffle"}}
    )
    if alone:
        del whole["d", "m", "shuffled_image"]
    commanded(folder, whole)
    key = records.read(paths.cell_file(folder / "d" / "m" / "text_shuffled_image"), Cell).key
    other = records.read(paths.cell_file(folder / "d" / "m" / "none"), Cell).key
    for number in range(times):
        ledger.append(folder, valid.row(valid.trial(number, score=None, cell_key=key)))
    ledger.append(folder, valid.row(valid.trial(0, cell_key=key)))  # one that did not fail
    ledger.append(folder, valid.row(valid.trial(0, score=None, cell_key=other)))  # one of another cell
    return folder


EN = (
    "The control with shuffled images failed {times}: m: all 8 trials failed; the first: OutOfMemoryError: 3 GiB. "
    "Without it nothing can be concluded. This does not mean that images have no effect. "
    "Closed checks: G3 (Does the gain come from the images?) and G5 (Do enough items have images?)."
)
JA = (
    "画像を入れ替えた比較が{times}回失敗しました(m: all 8 trials failed; the first: OutOfMemoryError: 3 GiB)。"
    "この比較がないと結論は出せません。画像に効果がないという意味ではありません。"
    "満たされていない確認項目: G3(改善は画像によるものか)、G5(画像のある商品は十分か)。"
)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(("times", "words", "kanji"), [(7, "7 times", "7"), (0, "once", "1")])
def test_the_answer_says_how_often_it_failed_and_why(
    tmp_path: Path, times: int, words: str, kanji: str, alone: bool
) -> None:
    table = write_report(failing(tmp_path / "s", times, alone=alone))
    read = read_evidence(table)
    assert read.disposal.failed == (FailedControl("m", OVERRIDES, max(times, 1), REASON),)
    decided = decide(read.evidence, economics())
    (gate,) = (gate for gate in decided.gates if gate.name == "G3")
    assert (gate.status, gate.value, gate.bars) == (Status.UNKNOWN, max(times, 1), "every answer but HOLD")
    assert (decided.action, decided.why) == (Action.HOLD, Why.SILENT if alone else Why.UNTRUSTED)
    assert decided.step.command.endswith(OVERRIDES)
    english, japanese = (Speaker.of(lang, read.evidence, economics(), decided) for lang in ("en", "ja"))
    assert english.sentence() == EN.format(times=words)
    assert japanese.sentence() == JA.format(times=kanji)
    assert english.gate(gate)["found"] == f"The control with shuffled images failed {words}: m: {REASON}."
    assert english.next_step().startswith("Find out why the control with shuffled images failed, and run it again.")
    assert japanese.next_step().startswith("画像を入れ替えた比較が失敗した原因を調べ、もう一度実行する。")
    said = f"control has no result: dataset=d model=m {OVERRIDES} failed {words}: {REASON}"
    assert said in table.text
    assert f"control not run: dataset=d model=m {OVERRIDES}" not in table.text
    told = explainable(table.folder)["d/all models/free_disposal_of_image"]()
    side = "side A alone" if alone else "neither side"  # alone there is no control to stand against
    assert f"control has no result, its cell is on {side}: model=m {OVERRIDES} failed {words}" in told


def test_a_control_that_was_never_run_is_to_be_run(tmp_path: Path) -> None:
    whole = whole_sweep()
    del whole["d", "m", "text_shuffled_image"]
    e = read_evidence(commanded(tmp_path / "s", whole)).evidence
    decided = decide(e, economics())
    assert not any(gate.control_failed for gate in decided.gates)
    assert Speaker.of("en", e, economics(), decided).next_step().startswith("Run the missing conditions.")
