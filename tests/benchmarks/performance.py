"""Tables of docs/performance.md from the rows that ``make bench`` keeps: ``python -m tests.benchmarks.performance``.

Turns what was timed into ``results.json`` and the tables of the page, and warns of rows that are more than
1.3 times as far from the floor as in the committed results. Nothing fails for being slow.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.ceilings import CEILINGS
from tests.benchmarks.counts import COUNTS
from tests.benchmarks.profiles import KINDS, REST
from tests.benchmarks.rows import Row, all_kept
from tests.benchmarks.simple_models import with_floors
from tests.benchmarks.trial import TRIAL_EPOCHS
from tests.benchmarks.work import Ceilings, Sizes, Work

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
#: Distance to the floor of an epoch that a model has to reach; of an evaluation all have the same.
GOALS = {"vbpr": 1.4, "lightgcn": 2.0, "freedom": 1.4, "lattice": 1.8, "bm3": 1.6, "grcn": 1.6}
EVALUATION_GOAL, SETUP_GOAL, OVERHEAD_GOAL, SCATTER_GOAL = 1.4, 2.0, 1e-3, 3.0
WARNED = 1.3
#: Seconds that a computed model may take to be fitted and to rank validation.
SIMPLE_GOALS = {
    "itemknn": (0.5, 1.5),
    "hybridknn": (None, 3.0),
    "contentknn": (None, None),
    "ease": (15.0, 1.0),
    "ials": (2.3, None),
}
#: Seconds of other libraries on the same data, one thread of a processor that is not known to be equal: noted, not
#: measured by this command, so that a goal that comes from them is rough.
PEERS = {
    "itemknn": "implicit 0.7.3, cosine: fit .07, lists of 20 of all users .91",
    "ease": "Cornac 3.0.1 / RecBole 1.2.1: fit 22.5 / 22.7, ranking 7 to 8",
    "ials": "implicit 0.7.3, 64 factors, 10 sweeps: fit .76",
}
PRODUCT, SCATTER = "sparse product, both ways", "the same by gather and scatter"

Results = dict[str, Any]


def results_of(timed: Sequence[Row]) -> Results:
    """What was timed, with floors.

    Raises:
        ValueError: without the ceilings that floors are computed from.
    """
    rates = {said["ceiling"]: said["amount"] / median for median, said in timed if "ceiling" in said}
    if missing := CEILINGS.keys() - rates.keys():
        raise ValueError(f"the rows lack the ceilings {', '.join(sorted(missing))}; time bench_kernels.py too")
    ceilings = Ceilings(**rates)
    kernels = {said["kernel"]: _kernel(median, said, ceilings) for median, said in timed if "kernel" in said}
    models = {f"{said['model']}, {said['items']} items": _model(said, ceilings) for _, said in timed if "model" in said}
    overhead = next((said["overhead"] for _, said in timed if "overhead" in said), None)
    results = {"machine": machine(), "ceilings": rates, "kernels": kernels, "models": models, "overhead": overhead}
    if simple := {said["simple"]: with_floors(said, ceilings) for _, said in timed if "simple" in said}:
        results["simple"] = simple
    return results


def _kernel(median: float, said: Mapping[str, Any], ceilings: Ceilings) -> Results:
    floor = Work(**said["work"]).seconds(ceilings) if "work" in said else None
    return {"seconds": median, "floor": floor, "goal": said.get("goal")}


def _model(said: Mapping[str, Any], ceilings: Ceilings) -> Results:
    counts, sizes = COUNTS[said["model"]], Sizes(**said["sizes"])
    epoch = counts.epoch_of(sizes, said["n_batches"]).seconds(ceilings)
    evaluation = counts.evaluation(sizes).seconds(ceilings)
    floors = {"epoch": epoch, "evaluation": evaluation, "trial": TRIAL_EPOCHS * (epoch + evaluation)}
    return {**said, "floors": floors}


def machine() -> Results:
    """What the numbers were taken on."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.*)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return {
        "processor": found[1] if found else platform.processor() or platform.machine(),
        "vector_units": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": 1,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }


def distances(results: Mapping[str, Any]) -> Iterator[tuple[str, float, float | None]]:
    """Name, distance to the floor and goal of every row that has a floor."""
    for name, model in results["models"].items():
        for part, floor in model["floors"].items():
            goal = {"epoch": GOALS.get(model["model"]), "evaluation": EVALUATION_GOAL}.get(part)
            yield f"{name}, {part}", model[part] / floor, goal
    for name, simple in results.get("simple", {}).items():
        for part, floor in simple["floors"].items():
            yield f"{name}, {part}", simple[part] / floor, None
    for name, kernel in results["kernels"].items():
        if kernel["floor"]:
            yield name, kernel["seconds"] / kernel["floor"], kernel["goal"]


def warnings_of(results: Mapping[str, Any], committed: Mapping[str, Any]) -> list[str]:
    """Rows that are further from the floor than they were."""
    before = {name: distance for name, distance, _ in distances(committed)}
    return [
        f"warning: {name}: {distance:.2f} times the floor, {before[name]:.2f} in the committed results"
        for name, distance, _ in distances(results)
        if name in before and distance > WARNED * before[name]
    ]


def marked(value: float, goal: float | None, form: str = "{:.2f}") -> str:
    """A number, in bold with a mark where it misses its goal."""
    text = form.format(value)
    return text if goal is None or value <= goal else f"**{text} !**"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine_lines(results: Mapping[str, Any]) -> str:
    """The machine and its ceilings."""
    m, rates = results["machine"], results["ceilings"]
    said = [
        f"{m['processor']}, {m['vector_units']}, {m['cores']} cores, {m['system']}; one thread; torch {m['torch']}, "
        f"Python {m['python']}. GPU: not measured.",
    ]
    units = {"gemm": ("dense product, projection of features", 1e9, "GFLOP/s")}
    units["hidden"] = ("dense product, projection to a hidden layer", 1e9, "GFLOP/s")
    units["scores"] = ("dense product, block of scores", 1e9, "GFLOP/s")
    units["copy"] = ("copy, bytes read and written", 1e9, "GB/s")
    units["gather"] = ("rows gathered in random order", 1e9, "GB/s")
    units["adam"] = ("fused Adam", 1e6, "million parameters/s")
    rows = [[what, f"{rates[name] / scale:,.1f} {unit}"] for name, (what, scale, unit) in units.items()]
    return "\n\n".join([*said, table(["ceiling", "rate"], rows)])


def model_rows(results: Mapping[str, Any]) -> str:
    """One row per model and size of the catalogue."""
    header = ["model", "items", "step ms", "epoch s", "floor s", "distance", "goal", "evaluation s", "floor s"]
    header += ["distance", "gather and scatter", "set-up s, first / again", f"trial of {TRIAL_EPOCHS} epochs s"]
    header.append("peak memory MB")
    rows = []
    for m in results["models"].values():
        floors, goal = m["floors"], GOALS.get(m["model"])
        rows.append(
            [
                m["model"],
                f"{m['items']:,}",
                f"{1e3 * m['step']:.1f}",
                f"{m['epoch']:.2f}",
                f"{floors['epoch']:.2f}",
                marked(m["epoch"] / floors["epoch"], goal),
                f"{goal or '-'}",
                f"{m['evaluation']:.2f}",
                f"{floors['evaluation']:.2f}",
                marked(m["evaluation"] / floors["evaluation"], EVALUATION_GOAL),
                of_scatter(m),
                f"{m['first_setup']:.2f} / {marked(m['setup'], SETUP_GOAL)}",
                f"{m['trial']:.0f}",
                f"{m['peak_mb']:,.0f}",
            ]
        )
    return table(header, rows)


def of_scatter(model: Mapping[str, Any]) -> str:
    """How many times as long propagation, and the step it is part of, take by gather and scatter, where timed."""
    if "scatter_step" not in model:
        return "-"
    ratio = model["scatter_propagation"] / model["sparse_propagation"]
    propagation = f"{ratio:.1f}x" if ratio >= SCATTER_GOAL else f"**{ratio:.1f}x !**"
    return f"{propagation} / {model['scatter_step'] / model['sparse_step']:.1f}x"


def kernel_rows(results: Mapping[str, Any]) -> str:
    """One row per kernel, and the comparisons between them."""
    rows = []
    for name, kernel in results["kernels"].items():
        seconds, floor = kernel["seconds"], kernel["floor"]
        away = [f"{1e3 * floor:.1f}", marked(seconds / floor, kernel["goal"])] if floor else ["-", "-"]
        rows.append([name, f"{1e3 * seconds:.1f}", *away, f"{kernel['goal'] or '-'}"])
    lines = [table(["kernel", "ms", "floor ms", "distance", "goal"], rows)]
    if {PRODUCT, SCATTER} <= results["kernels"].keys():
        ratio = results["kernels"][SCATTER]["seconds"] / results["kernels"][PRODUCT]["seconds"]
        missed = "" if ratio >= SCATTER_GOAL else " **!**"
        lines.append(f"Gather and scatter over sparse product: {ratio:.1f} times (goal: {SCATTER_GOAL:g}){missed}.")
    if over := results.get("overhead"):
        difference = over["trainer"] - over["loop"]
        lines.append(
            f"Lightning per step: {marked(1e3 * difference, 1e3 * OVERHEAD_GOAL, '{:.2f} ms')} (a step of "
            f"{1e3 * over['loop']:.2f} ms in a bare loop; goal: under {1e3 * OVERHEAD_GOAL:g} ms)."
        )
    return "\n\n".join(lines)


def profile_rows(results: Mapping[str, Any]) -> str:
    """Shares of a step by kind of work, one row per model on the smaller catalogue."""
    kinds = [*KINDS, REST]
    small = min(m["items"] for m in results["models"].values())
    rows = [
        [m["model"], *(f"{m['profile'][kind]:.0%}" for kind in kinds)]
        for m in results["models"].values()
        if m["items"] == small
    ]
    return table(["model", *kinds], rows)


def simple_rows(results: Mapping[str, Any]) -> str:
    """One row per computed model."""
    header = ["model", "fit s", "goal", "floor s", "distance", "ranking s", "goal", "floor s", "distance", "NDCG@20"]
    rows = []
    for name, m in results.get("simple", {}).items():
        row = [name]
        for part, goal in zip(("fit", "ranking"), SIMPLE_GOALS[name], strict=True):
            floor = m["floors"][part]
            row += [marked(m[part], goal), f"{goal or '-'}", f"{floor:.3f}", f"{m[part] / floor:.1f}"]
        rows.append([*row, f"{m['ndcg@20']:.4f}", PEERS.get(name, "-")])
    return table([*header, "peer, s"], rows)


SECTIONS = {
    "machine": machine_lines,
    "models": model_rows,
    "kernels": kernel_rows,
    "simple": simple_rows,
    "profiles": profile_rows,
}


def with_sections(page: str, results: Mapping[str, Any]) -> str:
    """The page with what stands between its markers written anew.

    Raises:
        ValueError: for a page without one of the markers.
    """
    for name, make in SECTIONS.items():
        page = with_section(page, name, make(results))
    return page


def with_section(page: str, name: str, text: str) -> str:
    """The page with another text between the markers of a section.

    Raises:
        ValueError: for a page without one of the markers.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"the page lacks {begin} or {end}")
    head, _, rest = page.partition(begin)
    return f"{head}{begin}\n{text}\n{end}{rest.partition(end)[2]}"


def main() -> None:
    """Write results and page, print the tables and the warnings."""
    results = results_of(all_kept())
    committed = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else None
    if committed and "simple" in committed:  # rows that need the data of Amazon Baby stay where these are absent
        results.setdefault("simple", committed["simple"])
    warned = warnings_of(results, committed) if committed else []
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(with_sections(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    print("\n\n".join(make(results) for make in SECTIONS.values()))
    print("\n".join(warned))


if __name__ == "__main__":
    main()
