"""A number can be followed from the verdict to the file it comes from."""

from __future__ import annotations

import hashlib
import re
from math import sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats as distributions

from mmbench import paths
from mmbench.report.comparisons import read_contrasts
from mmbench.report.explain import explainable
from mmbench.report.fairness_checks import read_groups
from mmbench.report.reading import read_sweep
from tests.report import test_disposals as disposed
from tests.report.constructed import Made, hit_users, write_sweep
from tests.report.test_verdict_table import NONE, TEXT, USERS, seeds

OTHERS = ("failed", "missing", "untrusted", "trap", "lucky")


def lucky() -> Made:
    """Eight trials, each better than the one before, on validation as on test."""
    hits = np.stack([hit_users(USERS, range(1000 + 20 * slot)) for slot in range(8)])
    return Made(seeds(hits[-1]), trials=hits)


def explain(folder: Path, name: str) -> str:
    return explainable(folder)[name]()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    noisy = {span.stop: (rng.random((3, USERS)) < 0.9) & hit_users(USERS, span) for span in (range(1000), range(1100))}
    cells = {("d", "m", "none"): Made(noisy[1000]), ("d", "m", "text"): Made(noisy[1100])}
    cells |= {("d", "m", "image"): Made(noisy[1000][::-1]), ("d", "m", "fused"): Made(failure="NaN in the loss")}
    cells |= {("d", model, "none"): NONE for model in OTHERS}
    cells |= {("d", model, "text"): TEXT[model] for model in OTHERS[:-1]}
    cells["d", "lucky", "text"] = lucky()
    contrasts = ["text_vs_none", "image_vs_none", "fused_vs_none"]
    return write_sweep(tmp_path_factory.mktemp("sweep") / "s", cells, contrasts=contrasts)


NUMBER = r"[-+]?\d[\d.e+-]*"


def numbers(text: str, pattern: str) -> list[float]:
    (line,) = [line for line in text.splitlines() if re.search(pattern, line)]
    return [float(n) for n in re.findall(rf"(?<![\w.]){NUMBER}", line[re.search(pattern, line).end() :])]  # type: ignore[union-attr]


def test_the_arithmetic_shown_is_the_arithmetic_done(folder: Path) -> None:
    text = explain(folder, "d/m/text_vs_none")
    a, b, one, gain = numbers(text, "gain = mean A / mean B - 1 = ")
    assert (one, gain) == (1, pytest.approx(a / b - 1, abs=1e-8))
    n, s = numbers(text, r"^  n = (?=\d+ users)")[0], numbers(text, "S = ")[0]
    ms_u, ms_s, ms_e = (float(re.search(rf"{name} = ({NUMBER})", text).group(1)) for name in ("MS_u", "MS_s", "MS_e"))  # type: ignore[union-attr]
    both, users, variance = numbers(text, r"= max\(")
    assert (n, s) == (USERS, 3)
    assert both == pytest.approx((ms_u + ms_s - ms_e) / (n * s))
    assert users == pytest.approx(ms_u / (n * s))
    assert variance == pytest.approx(max(both, users))
    se, df = numbers(text, r"se = sqrt\(Var\) = ")
    assert se == pytest.approx(sqrt(variance))
    spread = ms_u**2 / (n - 1) + ms_s**2 / (s - 1) + ms_e**2 / ((n - 1) * (s - 1))
    assert df == pytest.approx((n * s * variance) ** 2 / spread)
    point, t, scale, lo, hi = numbers(text, r"^  95 %: (?!exp)")
    assert t == pytest.approx(distributions.t.ppf(0.975, df))
    assert (lo, hi) == (pytest.approx(point - t * scale), pytest.approx(point + t * scale))


def test_the_tuned_gain_is_traced_to_its_trials(folder: Path) -> None:
    text = explain(folder, "d/lucky/text_vs_none")
    sides = []
    for label in ("A", "B"):
        begin = text.index(f"\n  {label}, lucky/")
        end = text.index(f"\n  {label} = sum of weight * test = ", begin)
        rows = re.findall(
            rf"slot (\d+): weight ({NUMBER}), validation {NUMBER}, test ({NUMBER}) \((\S+)\)", text[begin:end]
        )
        (total,) = numbers(text, rf"^  {label} = sum of weight \* test = ")
        assert sum(float(weight) for _, weight, _, _ in rows) == pytest.approx(1.0, abs=1e-5)
        assert sum(float(weight) * float(test) for _, weight, test, _ in rows) == pytest.approx(total, rel=1e-5)
        condition = "text" if label == "A" else "none"
        assert all((folder / "d" / "lucky" / condition / file).exists() for _, _, _, file in rows)
        sides.append((len(rows), total))
    assert [n for n, _ in sides] == [6, 1]  # of text, the default and the next best are never the best of three
    ratio, one, gain = numbers(text, r"L = log\(A / B\) = ")
    assert (ratio, one, gain) == (pytest.approx(np.log(sides[0][1] / sides[1][1])), 1, pytest.approx(np.expm1(ratio)))
    variances = [float(v) for v in re.findall(rf"^  V by .*? = ({NUMBER}) \(", text, re.MULTILINE)]
    frees = [float(v) for v in re.findall(rf"^  V by .*df = ({NUMBER})\)", text, re.MULTILINE)]
    se, df = numbers(text, r"se = sqrt\(V\) = ")
    assert se == pytest.approx(sqrt(sum(variances)))
    assert df == pytest.approx(
        sum(variances) ** 2 / sum(v**2 / f for v, f in zip(variances, frees, strict=True)), rel=1e-4
    )
    for level in (0.95, 0.90):
        t, one, lo, hi = numbers(text, rf"^  {100 * level:g} %: exp\(L ± ")
        assert t == pytest.approx(distributions.t.ppf(0.5 + level / 2, df))
        assert (lo, hi) == (pytest.approx(np.expm1(ratio - t * se)), pytest.approx(np.expm1(ratio + t * se)))
    (seen,) = numbers(text, r"^  gain that is seen in four of five such studies \(80 % power\): ")
    assert seen == pytest.approx(np.expm1((distributions.t.ppf(0.975, df) + distributions.t.ppf(0.8, df)) * se))


def test_every_record_is_named_with_its_hash_and_number(folder: Path) -> None:
    text = explain(folder, "d/m/text_vs_none")
    for condition in ("text", "none"):
        for seed in (1, 2, 3):
            file = paths.final_file(folder / "d" / "m" / condition, seed, paths.RANKS)
            assert f"seed {seed}: {file.relative_to(folder)}, {USERS} users, {USERS} test pairs" in text
            mean = (pd.read_parquet(file)["rank"] == 1).mean()
            assert f"ndcg@20 {mean:.10g}; file {hashlib.sha256(file.read_bytes()).hexdigest()}" in text
    assert str(folder) not in text


@pytest.mark.parametrize("contrast", ["text_vs_none", "image_vs_none"])
def test_the_chain_of_adjusted_p(folder: Path, contrast: str) -> None:
    """The steps that are printed give the adjusted p that are printed; what failed counts with a p of 1."""
    text = explain(folder, f"d/m/{contrast}")
    table = read_sweep(folder)
    compared = read_contrasts(table, read_groups(table, folder))
    (inference,) = [c.inference for c in compared if c.name == f"d/m/{contrast}"]
    assert inference is not None
    chain = re.findall(rf"^    (\w+): min\(1, (\d+) \* ({NUMBER})\) -> ({NUMBER})", text, re.MULTILINE)
    assert [(name, factor) for name, factor, _, _ in chain] == [
        ("text_vs_none", "3"),
        ("image_vs_none", "2"),
        ("fused_vs_none", "1"),
    ]
    least = 0.0
    for _, factor, p, holm in chain:
        least = max(least, min(1.0, int(factor) * float(p)))
        assert float(holm) == pytest.approx(least, rel=1e-5)
    assert f" * {inference.p:.6g}) -> {inference.holm:.6g}  <-" in text
    assert "    fused_vs_none: min(1, 1 * 1) -> 1, for it has no p and counts with 1" in text
    p = sorted(1.0 if c.inference is None else c.inference.p for c in compared)
    rank = p.index(inference.p) + 1
    assert f"{len(p)} contrasts of the sweep (3 without p, which count with 1): rank {rank}, " in text
    assert numbers(text, rf", {len(p)} \* p / {rank} = ") == [pytest.approx(len(p) * inference.p / rank, rel=1e-5)]
    smallest, q = numbers(text, "smallest from there on, at most 1: ")
    assert smallest == q == float(f"{inference.bh:.6g}")


def test_one_contrast_is_no_plural(tmp_path: Path) -> None:
    hits = {"none": range(1000), "text": range(1100)}
    cells = {("d", "m", name): Made(np.stack([hit_users(USERS, span)] * 3)) for name, span in hits.items()}
    text = explain(write_sweep(tmp_path / "s", cells, contrasts=["text_vs_none"]), "d/m/text_vs_none")
    assert "  Holm, 1 contrast of d/m, smallest p first;" in text
    assert "  Benjamini-Hochberg, 1 contrast of the sweep: rank 1, " in text


def test_free_disposal_has_the_chain_of_its_table(tmp_path: Path) -> None:
    """Holm's family is that of the modalities of one model, or of all models; the sweep has all four of them."""
    conditions = ("none", "text", "image", "fused", "text_shuffled_image", "image_shuffled_text")
    sweep = write_sweep(tmp_path / "s", disposed.cells(conditions=conditions))
    free = disposed.disposals(sweep)
    for model, name in (("m", "m"), (None, "all models")):
        shown = free["image", model].inference
        assert shown is not None
        text = explain(sweep, f"d/{name}/free_disposal_of_image")
        assert numbers(text, r"^  p = ")[0] == pytest.approx(shown.p)
        assert f"  Holm, 2 free disposals of d/{name}, smallest p first; each at least the one before:" in text
        (own,) = (line for line in text.splitlines() if line.endswith("<-"))
        assert own.startswith("    free_disposal_of_image: min(1, ")
        assert own.endswith(f"-> {shown.holm:.6g}  <-")
        assert "  Benjamini-Hochberg, 4 free disposals of the sweep: rank " in text
        assert f"-> q = {shown.bh:.6g}" in text


def test_words_and_gates(folder: Path) -> None:
    text = explain(folder, "d/untrusted/text_vs_none")
    assert "measurement not trusted: yes" in text
    assert "  better: yes" in text
    assert "-> measurement not trusted" in text
    assert "FAIL choice: text: the test split was opened for another choice" in text
    assert "PASS configurations: " in text
    depends = explain(folder, "d/trap/text_vs_none")
    assert "depends on tuning: yes" in depends
    assert "at the defaults 0, after all trials -0.5" in depends
    assert "most chosen: slot 7 of trap, weight 0.285714 in A and 0 in B; gain without it 0.1" in depends
    assert "000.json to 007.json" in depends


def test_what_did_not_run_or_failed_has_no_numbers(folder: Path) -> None:
    failed, missing = (explain(folder, f"d/{model}/text_vs_none") for model in ("failed", "missing"))
    assert "  failed: NaN in the loss" in failed
    assert "d/missing/text_vs_none: text missing" in missing
    assert not any("se = " in text for text in (failed, missing))


def test_one_cell(folder: Path) -> None:
    text = explain(folder, "d/m/text")
    by_seed = read_sweep(folder).cells["d", "m", "text"].by_seed("ndcg@20")
    assert f"= {by_seed.mean():.10g}" in text
    assert f"standard deviation over seeds: {by_seed.std(ddof=1):.10g}" in text
    assert "B = " not in text


def test_one_seed(tmp_path: Path) -> None:
    cells = {("d", "m", c): Made(seeds(hit_users(USERS, range(end)), 1)) for c, end in (("none", 1000), ("text", 1100))}
    text = explain(write_sweep(tmp_path / "s", cells), "d/m/text_vs_none")
    assert "do not tell how far runs differ: nothing is inferred" in text
    assert "95 %: " not in text
    assert "no bounds: the seed noise of the default configuration is unknown" in text
    assert "-> no word: training noise not measured, 1 final seed: raise budget.seeds" in text


def test_one_seed_of_a_closed_form(tmp_path: Path) -> None:
    computed = {"stop_reason": "closed_form"}
    cells = {
        ("d", "m", c): Made(seeds(hit_users(USERS, range(end)), 1), courses=[computed] * 8, final=computed)
        for c, end in (("none", 1000), ("text", 1100))
    }
    text = explain(write_sweep(tmp_path / "s", cells), "d/m/text_vs_none")
    assert "nothing is inferred" not in text
    assert numbers(text, r"^  n = (?=\d+ users)") == [USERS, 1]
    point, t, scale, lo, hi = numbers(text, r"^  95 %: (?!exp)")
    assert t == pytest.approx(distributions.t.ppf(0.975, USERS - 1))
    assert (point, lo, hi) == (pytest.approx(0.1), pytest.approx(point - t * scale), pytest.approx(point + t * scale))


def test_names(folder: Path) -> None:
    conditions = ("text", "none", "text_vs_none")
    names = {f"d/{model}/{c}" for model in ("m", *OTHERS) for c in conditions}
    assert explainable(folder).keys() == names | {
        f"d/m/{c}" for c in ("image", "image_vs_none", "fused", "fused_vs_none")
    }
