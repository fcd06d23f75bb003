"""Does the interval of the tuned gain hold what it says? ``python -m tests.calibration.coverage [--replicas R]``.

Runs every regime of :mod:`tests.calibration.simulation`, keeps counts in ``results/`` (a run that was stopped goes on,
more replicas are added to those that are there), and writes the tables of docs/calibration.md. Whatever breaks a bound
is marked in the tables; the exit status says whether something did.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mmbench.inference.gains import BOUNDED, Estimated
from tests.benchmarks.performance import table, with_section
from tests.calibration.simulation import CHUNK, PLAIN, Regime, Surface, Truth, disposal, disposals, estimates, truth

RESULTS = Path(__file__).with_name("results")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "calibration.md"
REPLICAS = 20_000
#: Equivalence margin, and the gains that the power table asks for.
DELTA = 0.02
GAINS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.1)
WORDS = ("better", "worse", "equivalent", "depends on tuning", "undecided")
#: Bounds: of coverage, of false words, and of the width over the oracle's where users make most of the variance.
COVERAGE, FALSE, WIDTH = (0.935, 0.985), 0.05, 1.4
#: The one regime that is outside what random search can know, and the sentence that says so.
EXPECTED_TO_FAIL, VALID = "rare good region", "valid for random search in this space"
#: What is outside of its bounds and errs to the safe side; docs/calibration.md says why.
TOO_WIDE = {"heavy-tailed users, 800 users": ["coverage"]}

FLAT = Surface(curvature=(0.0, 0.0, 0.0))
FACTORS: Mapping[str, Mapping[str, Any]] = {
    "same optimum (base)": {},
    "flat surface": {"surfaces": (FLAT, FLAT)},
    "other optimum": {"surfaces": (PLAIN, Surface(optimum=(0.25, 0.4, 0.5)))},
    "A has more tunables": {"surfaces": (Surface(weighted=True), PLAIN)},
    EXPECTED_TO_FAIL: {"surfaces": (Surface(region=0.015), PLAIN)},
    "idiosyncratic effect .5 %": {"idiosyncratic": 0.005},
    "idiosyncratic effect 3 %": {"idiosyncratic": 0.03},
    "seed noise .2 %": {"seed": 0.002},
    "seed noise 3 %": {"seed": 0.03},
    "heavy-tailed users": {"heavy": True},
    "default worst": {"default": 0.001},
    "default mediocre": {"default": 0.5},
    "default top": {"default": 0.97},
    "default best": {"default": 0.999},
    "T = 8, S = 3": {"trials": 8, "finals": 3},
    "T = 16": {"trials": 16},
    "T = 60": {"trials": 60},
}
FEW, MANY = 800, 20_000
PAIRS = {
    (factor, users): Regime(f"{factor}, {users:,} users", users=users, **changes)
    for users in (FEW, MANY)
    for factor, changes in FACTORS.items()
}
NOISES = ("idiosyncratic effect .5 %", "idiosyncratic effect 3 %", "seed noise 3 %")
#: Between few and many users, and the number of users and trials of a planted world with every kind of noise.
POWER = [
    *(
        Regime(f"T = {trials}, {users:,} users", trials=trials, finals=finals, users=users)
        for trials, finals in ((8, 3), (30, 5))
        for users in (1500, 5000)
    ),
    *(Regime(f"T = 8, 1,500 users, {noise}", trials=8, finals=3, users=1500, **FACTORS[noise]) for noise in NOISES),
]
DISPOSALS = [
    disposal(
        f"free disposal, {models} models, T = {trials}, {users:,} users, {idiosyncratic}",
        models=models,
        trials=trials,
        finals=3 if trials == 8 else 5,
        users=users,
        idiosyncratic=idiosyncratic,
    )
    for trials, users, idiosyncratic, numbers in (
        (8, FEW, 0.013, (1, 3)),
        (8, MANY, 0.013, (1, 3)),
        (30, FEW, 0.005, (1, 3)),
        (30, FEW, 0.013, (1, 3)),
        (30, FEW, 0.03, (1, 3)),
        (30, MANY, 0.013, (1,)),
    )
    for models in numbers
]
REGIMES = [*PAIRS.values(), *POWER, *DISPOSALS]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Errors:
    """Intervals of several replicas, whose true L is zero: arrays ``(replicas,)``.

    The estimator is equivariant: a metric of A that is twice as high everywhere moves L by log 2 and nothing else. So
    one set of replicas tells of every true gain.

    Args:
        log_ratio: L.
        se: its standard error; NaN without bounds.
        df: degrees of freedom.
        early: L after a sixth of the trials with half its interval; the latter is NaN without bounds.
        early_half: half of that interval.
        of_all: L after all trials.
    """

    log_ratio: Array
    se: Array
    df: Array
    early: Array
    early_half: Array
    of_all: Array

    @staticmethod
    def of(found: Iterable[Estimated], log_ratio: float) -> Errors:
        rows = []
        for one in found:
            log, early = one.log_gain, one.early
            bounded = early.no_word(one.level) in BOUNDED
            half = early.log_gain.half_width(one.level) if bounded else math.nan
            se, df = (math.nan, math.nan) if log is None else (log.se, log.df)
            rows.append((one.estimate.log_ratio, se, df, early.log_ratio, half, one.log_of_all))
        table = np.array(rows).T
        table[[0, 3, 5]] -= log_ratio
        return Errors(*table)

    def half_width(self, level: float) -> Array:
        """Half of the interval of L."""
        return np.asarray(special.stdtrit(self.df, 0.5 + level / 2) * self.se)

    def words(self, gain: float) -> dict[str, NDArray[np.bool_]]:
        """Which words hold where ``gain`` is the true one, each judged alone; undecided if no other does."""
        log, shift = self.log_ratio + math.log1p(gain), math.log1p(gain)
        half, inner = self.half_width(0.95), self.half_width(0.9)
        early, of_all = self.early + shift, self.of_all + shift
        holds = {
            "better": log - half > 0,
            "worse": log + half < 0,
            "equivalent": (log - inner > math.log1p(-DELTA)) & (log + inner < math.log1p(DELTA)),
            "depends on tuning": (np.abs(of_all - log) > half + 1e-12)
            | ((early - self.early_half > 0) & (log < 0) & ~np.isnan(half))
            | ((early + self.early_half < 0) & (log > 0) & ~np.isnan(half)),
        }
        return {**holds, "undecided": ~np.any(list(holds.values()), axis=0)}


@dataclass
class Tally:
    """Sums over replicas.

    Args:
        replicas: number of replicas.
        refusals: how often there was no word, by reason.
        bounded: replicas with bounds; the sums below are of these.
        covered: how often the truth lay in the interval.
        error: sum of L less the truth.
        square_error: sum of its squares.
        half_width: sum of half the width of the interval of L.
        users_share: sum of the users' share of the variance.
        words: how often each word held, by true gain.
    """

    replicas: int = 0
    refusals: dict[str, int] = field(default_factory=dict)
    bounded: int = 0
    covered: int = 0
    error: float = 0.0
    square_error: float = 0.0
    half_width: float = 0.0
    users_share: float = 0.0
    words: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, found: Sequence[Estimated], log_ratio: float) -> None:
        """Count further replicas of a population whose L is known."""
        errors = Errors.of(found, log_ratio)
        half = errors.half_width(0.95)
        bounded = np.isfinite(half)
        self.replicas += len(found)
        self.bounded += int(bounded.sum())
        self.covered += int((np.abs(errors.log_ratio[bounded]) <= half[bounded]).sum())
        self.error += float(errors.log_ratio[bounded].sum())
        self.square_error += float((errors.log_ratio[bounded] ** 2).sum())
        self.half_width += float(half[bounded].sum())
        shares = np.array([one.estimate.shares.users for one in found])[bounded]
        self.users_share += float(np.nan_to_num(shares).sum())
        reasons = Counter(one.refusal.name for one in found if one.refusal is not None)
        self.refusals = dict(Counter(self.refusals) + reasons)
        for gain in (-DELTA, *GAINS):
            counts = self.words.setdefault(str(gain), dict.fromkeys(WORDS, 0))
            for word, holds in errors.words(gain).items():
                counts[word] += int(holds.sum())

    @property
    def coverage(self) -> float:
        """Share of the intervals that hold the truth."""
        return self.covered / self.bounded

    @property
    def bias(self) -> float:
        """Mean of L less the truth."""
        return self.error / self.bounded

    @property
    def width(self) -> float:
        """Mean width over that of an interval which knows the standard deviation of L."""
        sd = math.sqrt(self.square_error / self.bounded - self.bias**2)
        return self.half_width / self.bounded / (float(special.ndtri(0.975)) * sd)

    def rate(self, word: str, gain: float) -> float:
        """Share of replicas in which a word holds."""
        return self.words[str(gain)][word] / self.replicas

    def outside(self, widest_coverage: float = COVERAGE[1]) -> list[str]:
        """What is outside its bounds."""
        highest = FALSE + 3 * math.sqrt(FALSE * (1 - FALSE) / self.replicas)
        rates = {
            "better": self.rate("better", 0.0),
            "worse": self.rate("worse", 0.0),
            "equivalent below": self.rate("equivalent", -DELTA),
            "equivalent above": self.rate("equivalent", DELTA),
        }
        outside = [name for name, rate in rates.items() if rate > highest]
        if not COVERAGE[0] <= self.coverage <= widest_coverage:
            outside.append("coverage")
        if self.width > WIDTH and self.users_share / self.bounded > 0.5:
            outside.append("width")
        return outside


@dataclass
class Result:
    """What is known of a regime.

    Args:
        regime: it.
        signature: L, standard error and degrees of freedom of the first replica, by which results of another estimator
            are known.
        truth: its true L.
        tallies: ``tuned gain``, which with free disposal is that of real against control; there also ``plain``, best
            with images against best without, whose errors are what it says, as no gain is true.
    """

    regime: Regime
    signature: list[float]
    truth: Truth
    tallies: dict[str, Tally]

    @property
    def main(self) -> Tally:
        """The tally that has to keep the bounds."""
        return self.tallies["tuned gain"]

    @property
    def outside(self) -> list[str]:
        """What of it is outside its bounds; free disposal may cover more, as it errs to the safe side."""
        return self.main.outside(1.0 if "plain" in self.tallies else COVERAGE[1])

    def save(self) -> None:
        """Write the file, whole or not at all."""
        path = path_of(self.regime)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n", encoding="utf-8")
        os.replace(partial, path)

    @staticmethod
    def read(regime: Regime) -> Result | None:
        """Counts that were saved for exactly this regime."""
        path = path_of(regime)
        if not path.exists():
            return None
        said = json.loads(path.read_text(encoding="utf-8"))
        if said["regime"] != json.loads(json.dumps(dataclasses.asdict(regime))):
            return None
        tallies = {name: Tally(**tally) for name, tally in said["tallies"].items()}
        return Result(regime, said["signature"], Truth(*said["truth"]), tallies)

    def is_of(self, signature: Sequence[float]) -> bool:
        """Whether the estimator still says the same; products of matrices round differently elsewhere."""
        return bool(np.allclose(self.signature, signature, rtol=1e-4, atol=1e-6))


def path_of(regime: Regime) -> Path:
    """File of a regime."""
    return RESULTS / f"{re.sub(r'[^a-z0-9]+', '_', regime.name.lower()).strip('_')}.json"


def replicas_of(regime: Regime, chunk: int) -> Iterator[dict[str, Estimated]]:
    """Replicas by the name of their tally."""
    if len(regime.surfaces) == 2:
        yield from ({"tuned gain": one} for one in estimates(regime, chunk, CHUNK))
    else:
        yield from ({"tuned gain": control, "plain": plain} for control, plain in disposals(regime, chunk, CHUNK))


def signature_of(regime: Regime) -> list[float]:
    """Numbers of the first replica."""
    logs = [one.estimate.log_gain for one in next(replicas_of(regime, 0)).values()]
    return [number for log in logs for number in (log.log_ratio, log.se, log.df)]


def run(regime: Regime, replicas: int) -> Result:
    """A regime with at least so many replicas, in whole chunks; saved after each of them."""
    signature = signature_of(regime)
    result = Result.read(regime)
    if result is None or not result.is_of(signature):
        names = next(replicas_of(regime, 0))
        result = Result(regime, signature, truth(regime), {name: Tally() for name in names})
    while result.main.replicas < replicas:
        found = list(replicas_of(regime, result.main.replicas // CHUNK))
        for name, tally in result.tallies.items():
            tally.add([one[name] for one in found], result.truth.log_ratio)
        result.save()
    return result


def results() -> dict[str, Result]:
    """Everything that was saved, by the name of the regime."""
    read = {regime.name: Result.read(regime) for regime in REGIMES}
    return {name: result for name, result in read.items() if result is not None}


def marked(text: str, broken: bool) -> str:
    """In bold with a mark where a bound is broken."""
    return f"**{text} !**" if broken else text


def coverage_rows(found: Mapping[str, Result]) -> str:
    """One row per factor and number of users."""
    header = ["regime", "users", "replicas", "true gain", "coverage", "better at 0", "worse at 0"]
    header += [f"equivalent at -{DELTA:.0%}", f"at +{DELTA:.0%}", "half width", "width", "users' share", "no word"]
    rows = []
    for (factor, users), regime in PAIRS.items():
        if regime.name not in found:
            continue
        result = found[regime.name]
        tally, broken = result.main, result.outside
        rows.append(
            [
                f"{factor} (expected: {VALID})" if factor == EXPECTED_TO_FAIL else factor,
                f"{users:,}",
                f"{tally.replicas:,}",
                f"{math.expm1(result.truth.log_ratio):+.2%}",
                marked(f"{tally.coverage:.3f}", "coverage" in broken),
                marked(f"{tally.rate('better', 0.0):.3f}", "better" in broken),
                marked(f"{tally.rate('worse', 0.0):.3f}", "worse" in broken),
                marked(f"{tally.rate('equivalent', -DELTA):.3f}", "equivalent below" in broken),
                marked(f"{tally.rate('equivalent', DELTA):.3f}", "equivalent above" in broken),
                f"{tally.half_width / tally.bounded:.1%}",
                marked(f"{tally.width:.2f}", "width" in broken),
                f"{tally.users_share / tally.bounded:.0%}",
                f"{sum(tally.refusals.values()) / tally.replicas:.2%}",
            ]
        )
    return table(header, rows)


def power_rows(found: Mapping[str, Result]) -> str:
    """Chance of no word, and of better, by users, trials, noise and true gain."""
    shown = ("same optimum (base)", "T = 8, S = 3", *NOISES)
    regimes = sorted(
        [*POWER, *(regime for (factor, _), regime in PAIRS.items() if factor in shown)],
        key=lambda regime: (regime.trials, regime.idiosyncratic, regime.seed, regime.users),
    )
    header = ["T", "users", "idiosyncratic effect", "seed noise", "half width"]
    header += [f"{gain:+.0%}" if gain else "0" for gain in GAINS]
    rows = []
    for regime in regimes:
        if regime.name in found:
            tally = found[regime.name].main
            noise = [f"{regime.idiosyncratic:.1%}", f"{regime.seed:.1%}", f"{tally.half_width / tally.bounded:.1%}"]
            cells = [f"{tally.rate('undecided', g):.2f} / {tally.rate('better', g):.2f}" for g in GAINS]
            rows.append([str(regime.trials), f"{regime.users:,}", *noise, *cells])
    return table(header, rows)


def disposal_rows(found: Mapping[str, Result]) -> str:
    """Best with images against best without, and against the same cells with the image shuffled."""
    header = ["models", "T", "users", "idiosyncratic effect", "replicas", "plain: mean gain", "plain: better"]
    header += ["controlled: mean gain", "coverage", "better", "worse", "no word"]
    rows = []
    for regime in DISPOSALS:
        if regime.name not in found:
            continue
        result = found[regime.name]
        tally, plain, broken = result.main, result.tallies["plain"], result.outside
        rows.append(
            [
                str(regime.models),
                str(regime.trials),
                f"{regime.users:,}",
                f"{regime.idiosyncratic:.1%}",
                f"{tally.replicas:,}",
                f"{plain.bias:+.2%}",
                f"{plain.rate('better', 0.0):.3f}",
                f"{tally.bias:+.2%}",
                marked(f"{tally.coverage:.3f}", "coverage" in broken),
                marked(f"{tally.rate('better', 0.0):.3f}", "better" in broken),
                marked(f"{tally.rate('worse', 0.0):.3f}", "worse" in broken),
                f"{sum(tally.refusals.values()) / tally.replicas:.2%}",
            ]
        )
    return table(header, rows)


SECTIONS = {"coverage": coverage_rows, "power": power_rows, "disposal": disposal_rows}


def with_sections(page: str, found: Mapping[str, Result]) -> str:
    """The page with what stands between its markers written anew.

    Raises:
        ValueError: for a page without one of the markers.
    """
    for name, make in SECTIONS.items():
        page = with_section(page, name, make(found))
    return page


def undecided_share(half_width: float, gain: float) -> float:
    """Share of sweeps with eight trials that the power table expects to end *undecided*.

    Of its regimes the one counts whose interval is most nearly as wide, at the gain that is as many half widths.

    Args:
        half_width: half the width of the 95 % interval of L.
        gain: true relative gain, not negative.
    """
    of_eight = [r.main for r in results().values() if r.regime.trials == 8 and "plain" not in r.tallies]
    width = {tally.half_width / tally.bounded: tally for tally in of_eight}
    nearest = min(width, key=lambda one: abs(math.log(one / half_width)))
    alike = math.expm1(math.log1p(gain) * nearest / half_width)
    return float(np.interp(alike, GAINS, [width[nearest].rate("undecided", one) for one in GAINS]))


def main() -> None:
    """Run what is missing, print the tables, write the page."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--replicas", type=int, default=REPLICAS, help="of every regime; 0 writes the tables alone")
    parser.add_argument("--only", default="", help="regimes whose name contains this")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for regime in REGIMES:
        if arguments.replicas and arguments.only in regime.name:
            tally = run(regime, arguments.replicas).main
            print(f"{regime.name}: {tally.replicas:,} replicas, coverage {tally.coverage:.3f}", flush=True)
    found = results()
    PAGE.write_text(with_sections(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    print("\n\n".join(make(found) for make in SECTIONS.values()))
    broken = {
        name: result.outside
        for name, result in found.items()
        if result.outside != TOO_WIDE.get(name, []) and not name.startswith(EXPECTED_TO_FAIL)
    }
    for name, bounds in broken.items():
        print(f"{name}: outside its bounds: {', '.join(bounds)}")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
