"""Data sets of a sweep that are repetitions of one another: they differ in their split seed, or hold out other items.

What is judged on new items is such a repetition even where it stands alone, and then it has no word. A contrast is
judged over all of them together; see ``docs/protocol.md``, Tuned gain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from mmbench.audit.repetitions import SETTINGS, Shared, repetition_of, without_number
from mmbench.data.splits import FOLDS
from mmbench.inference.gains import Gain, TunedGain
from mmbench.inference.repetitions import Repeated, RepeatedGain, repeated_gain
from mmbench.inference.verdicts import Judgement, Verdict, verdict
from mmbench.messages import Message, Template, clauses, message_of
from mmbench.report.additions import Part, later_looks
from mmbench.report.fairness_checks import Group
from mmbench.report.table import SweepTable

Row = TypeVar("Row")
#: How many repetitions are judged together: splits, all folds of new items, some of them, and a single draw of them.
SPLITS = Template("over {n} split seed", "over {n} split seeds")
ALL_FOLDS, SOME_FOLDS = Template("over {n} cold fold", "over {n} cold folds"), Template("over {n} of {all} cold folds")
ONE_DRAW = Message("over one draw of new items")
#: Why a table marks no best of some data sets.
UNMARKED = Template(
    "No value of {datasets} is marked: each is one draw of new items, and another may have another best."
)
#: What a row over several repetitions is.
TOGETHER = Message(
    "over N split seeds: data sets that differ in their split seed alone are judged together and count once where p "
    "is adjusted: the mean of log(1 + gain), its variance the mean of theirs plus s²/N, s their standard deviation, "
    "and the least of their degrees of freedom. Over N cold folds: the mean ± t s/√N with N - 1 degrees of freedom. "
    "The gain of each stands below without a word of its own."
)


@dataclass(frozen=True)
class Repetitions:
    """Data sets that are repetitions of one another.

    Args:
        kind: what differs between them.
        data: their name without it.
        datasets: their names by its number.
    """

    kind: Repeated
    data: str
    datasets: tuple[str, ...]

    @property
    def words(self) -> str:
        """How many there are: ``over 3 split seeds``, ``over 2 of 5 cold folds``."""
        n = len(self.datasets)
        if self.kind is Repeated.SPLIT:
            return Message(SPLITS, n)
        if n == 1:
            return ONE_DRAW
        return Message(ALL_FOLDS, n) if n >= FOLDS else Message(SOME_FOLDS, n=n, all=FOLDS)

    @property
    def name(self) -> str:
        """What stands in place of a data set where they are judged together."""
        return Message("{data} {words}", data=self.data, words=self.words)

    @property
    def several(self) -> bool:
        """Whether they are judged together: one draw of new items is, because it has no word, a single split is not."""
        return len(self.datasets) > 1 or self.kind is Repeated.FOLD

    def of(self, datasets: Sequence[str]) -> Repetitions:
        """Some of them."""
        return replace(self, datasets=tuple(name for name in self.datasets if name in datasets))

    def later_looks(self, table: SweepTable, parts: Mapping[str, Part]) -> tuple[int, ...]:
        """Revisions of the plan that added some of them when a word about the others could have been said.

        A single split has a word, a single draw of new items has none.

        Args:
            table: the sweep.
            parts: when each was planned, by the name of its data set.
        """
        least = 2 if self.kind is Repeated.FOLD else 1
        return later_looks(table, list(parts.values()), lambda before: len(before) >= least)


def read_repetitions(table: SweepTable, groups: Sequence[Group]) -> list[Repetitions]:
    """Which data sets of a sweep are repetitions of one another: at least two splits, or any number of folds.

    What is judged on the new items of a split by time is a fold that no other one stands beside.

    A split of which nothing has run yet belongs to those that its name says.

    Args:
        table: the sweep.
        groups: its fairness report, whose records say what each data set is.
    """
    found: dict[Shared, dict[int, str]] = {}
    for group in groups:
        shared, number = repetition_of(group.cells[0].cell)
        found.setdefault(shared, {}).setdefault(number, group.dataset)
    read = {group.dataset for group in groups}
    for dataset in (name for name in table.datasets if name not in read):
        for shared, members in found.items():
            named = re.search(rf"-{SETTINGS[shared.kind][1]}(\d+)(?![^-])", dataset)
            if named is None and shared.kind is Repeated.FOLD:
                continue  # the first split has no number in its name, the first fold has
            number = int(named[1]) if named else 0
            if number not in members and without_number(dataset, shared.kind, number) == shared.data:
                members[number] = dataset
    repeated = (
        Repetitions(shared.kind, shared.data, tuple(name for _, name in sorted(members.items())))
        for shared, members in found.items()
    )
    return [over for over in repeated if over.several]


def draws_of_new_items(repeated: Sequence[Repetitions]) -> frozenset[str]:
    """Data sets that are one draw of new items each: what they find says nothing of other new items."""
    return frozenset(name for over in repeated if over.kind is Repeated.FOLD for name in over.datasets)


def together(
    rows: Mapping[str, Sequence[Row]],
    repeated: Sequence[Repetitions],
    name: Callable[[Row], Hashable],
    join: Callable[[Repetitions, Sequence[Row]], Sequence[Row]],
) -> list[Row]:
    """Rows of every data set; those with one name in repetitions are joined, in the place of the first data set.

    Args:
        rows: rows by their data set, in the order of the table.
        repeated: the repetitions.
        name: what a row is called in its data set.
        join: from repetitions and the row of each to what is shown of them.
    """
    over_of = {dataset: over for over in repeated for dataset in over.datasets}
    found: list[Row] = []
    for dataset, own in rows.items():
        over = over_of.get(dataset)
        if over is None:
            found += own
        elif dataset == next(other for other in rows if other in over.datasets):
            named: dict[Hashable, dict[str, Row]] = {}
            for member in over.datasets:
                for row in rows[member]:
                    named.setdefault(name(row), {})[member] = row
            for members in named.values():
                some = over.of(list(members))
                found += join(some, list(members.values())) if some.several else members.values()
    return found


def judge_together(
    over: Repetitions, said: Mapping[str, tuple[Gain | None, Judgement]], delta: float, further: int = 0
) -> tuple[RepeatedGain | None, Judgement]:
    """The gain over all repetitions and its verdict, at the strictest of their levels, or that of a further look.

    What bars a word in one of them bars it in all: a failure, distrust, too little effort, or missing bounds.

    Args:
        over: the repetitions.
        said: the gain and the verdict of each, by the name of its data set.
        delta: equivalence margin.
        further: looks at them together beyond those at each.
    """

    def reasons(word: Verdict) -> list[str]:
        return [_of(dataset, judged) for dataset, (_, judged) in said.items() if judged.word is word]

    failures, doubts = reasons(Verdict.FAILED), reasons(Verdict.UNTRUSTED)
    silent = [
        _of(dataset, judged)
        for dataset, (tuned, judged) in said.items()
        # A gain that refuses bounds is asked again when all are joined.
        if judged.word is None and (tuned is None or judged.reason != str(tuned.refusal))
    ]
    gains, joined = [tuned for tuned, _ in said.values() if isinstance(tuned, TunedGain)], None
    if len(gains) == len(said):
        try:
            joined = repeated_gain(over.kind, gains, further)
        except ValueError as error:
            doubts.append(message_of(error))
    judged = verdict(
        joined,
        delta,
        failed=clauses(failures) if failures else "",
        untrusted=clauses(doubts) if doubts else "",
        wordless=clauses(silent) if silent else "",
    )
    return joined, judged


def without_word(over: Repetitions, judged: Judgement) -> Judgement:
    """What is said of one repetition: nothing that all of them are asked; a failure or distrust stays."""
    return (
        judged
        if judged.word in (Verdict.FAILED, Verdict.UNTRUSTED)
        else Judgement(None, Message("judged {words}", words=over.words))
    )


def _of(dataset: str, judged: Judgement) -> Message:
    """The reason of a verdict, with the data set that it is about."""
    return Message("{name}: {reason}", name=dataset, reason=judged.reason)
