"""What later commands added to a sweep once results of it had been seen, and how many looks that is.

Whoever sees results and then adds a split, a fold of new items or a condition can stop where the answer is welcome. A
word about one contrast of one data set does not change by what is added beside it. A word about several repetitions
does, and so does what is the best of several conditions or models; see ``docs/protocol.md``, Raising the effort.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from mmbench.messages import Message, Template, clauses, series
from mmbench.report.table import SweepTable
from mmbench.store.schema import CellName, Manifest

#: What is said of what was added, by whether its revision notes that the test split had been opened.
SEEN = Template("added after results had been seen: {which}")
NOT_NOTED = Template("planned by a later command, which did not note whether results had been seen: {which}")


class Part(NamedTuple):
    """A part of what a word is about, without those that were planned later.

    Attributes:
        stage: number of the revision of the plan that planned it.
        cells: names of its cells.
    """

    stage: int
    cells: frozenset[CellName]

    @staticmethod
    def of(table: SweepTable, cells: Iterable[CellName]) -> Part:
        """The part that is made of some cells: it stands once the last of them does."""
        names = frozenset(cells)
        return Part(max(map(table.planned, names), default=0), names)


def later_looks(table: SweepTable, parts: Sequence[Part], speaks: Callable[[Sequence[Part]], bool]) -> tuple[int, ...]:
    """Revisions of the plan that added to what a word is about when it could have been said and something was seen.

    Args:
        table: the sweep.
        parts: what the word is about.
        speaks: whether a word about some of the parts is possible.
    """
    found = []
    for stage in sorted({part.stage for part in parts}):
        before = [part for part in parts if part.stage < stage]
        seen = (table.opened.get(str(cell), math.inf) <= stage for part in before for cell in part.cells)
        if speaks(before) and any(seen):
            found.append(stage)
    return tuple(found)


def effort_of(table: SweepTable, cells: Iterable[CellName]) -> tuple[int, int]:
    """T and S of some cells, the most of any."""
    tuned = [one for cell in cells if cell in table.cells and (one := table.cells[cell].tuned) is not None]
    return max((one.trials for one in tuned), default=0), max((one.seeds for one in tuned), default=0)


def read_additions(manifest: Manifest) -> Mapping[tuple[str, str], str]:
    """What was added to each data set and model when results of the sweep had been seen; nothing of others.

    Revisions of earlier versions do not note whether results had been seen, and that is said of what they added.
    """
    first = {CellName(*name.split("/")): number for name, number in manifest.first_planned().items()}
    since = min(manifest.first_opened().values(), default=math.inf)
    found = {}
    for dataset, model in dict.fromkeys(name[:2] for name in first):
        of_data = min(number for name, number in first.items() if name.dataset == dataset)
        own = {name.modality: number for name, number in first.items() if name[:2] == (dataset, model)}
        of_model = min(own.values())
        added: list[tuple[str, int]] = [(name, number) for name, number in sorted(own.items()) if number > of_model]
        if of_model > of_data:
            added = [(Message("the model"), of_model), *added]
        elif of_data > 1:
            added = [(Message("the data set"), of_data), *added]
        told = []
        for noted, words in ((True, SEEN), (False, NOT_NOTED)):
            which = [
                Message("{name} (revision {number} of the plan)", name=name, number=number)
                for name, number in added
                if number >= since and (manifest.revisions[number - 1].opened is not None) is noted
            ]
            if which:
                told.append(Message(words, which=series(which)))
        if told:
            found[dataset, model] = clauses(told)
    return found
