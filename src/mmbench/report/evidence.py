"""What the reports of a sweep are made of: its records, read and judged when something first asks for them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmbench.report import results, verdict_table
from mmbench.report.comparisons import Comparison, read_contrasts
from mmbench.report.contribution_facts import read_contributions, with_redundancy
from mmbench.report.disposals import Disposal, read_disposals
from mmbench.report.facts import Facts
from mmbench.report.fairness_checks import Group, read_groups
from mmbench.report.layout import Document
from mmbench.report.reading import read_sweep
from mmbench.report.table import SweepTable
from mmbench.report.together import read_repetitions
from mmbench.scheduling.trust import NOTHING, Trust


@dataclass(frozen=True)
class Evidence:
    """A sweep as its reports see it.

    Args:
        folder: folder of the sweep.
        trust: what may be used because a record names it.
        audited: whether an audit that is kept beside the records, and sweeps beside this one, count.
    """

    folder: Path
    trust: Trust = NOTHING
    audited: bool = True

    @functools.cached_property
    def table(self) -> SweepTable:
        """Every cell."""
        return read_sweep(self.folder, self.trust, self.audited)

    @functools.cached_property
    def groups(self) -> Sequence[Group]:
        """How every data set and model was tuned, and whether that was fair."""
        return read_groups(self.table, self.folder, beside=self.audited)

    @functools.cached_property
    def judged(self) -> Sequence[Comparison]:
        """The planned contrasts with their verdicts."""
        return read_contrasts(self.table, self.groups)

    @functools.cached_property
    def measured(self) -> Sequence[Facts]:
        """What each modality contributes."""
        return read_contributions(self.table, self.groups, self.judged)

    @functools.cached_property
    def compared(self) -> Sequence[Comparison]:
        """The planned contrasts with their verdicts, and with the redundancy that the contributions tell."""
        return with_redundancy(self.judged, self.measured)

    @functools.cached_property
    def disposals(self) -> Sequence[Disposal]:
        """Free disposal of every modality."""
        return read_disposals(self.table, self.groups)

    @functools.cached_property
    def results(self) -> Document:
        """The table of results."""
        return results.document(self.table, self.groups)

    @functools.cached_property
    def verdicts(self) -> Document:
        """The table of verdicts."""
        return verdict_table.document(self.table, self.compared, self.disposals)


def proved(document: Document, table: SweepTable, groups: Sequence[Group]) -> Document:
    """A document that says of the records it was made of how far they have been checked, and their root.

    It names the data sets whose validation was ranked for a sample of their users, too.
    """
    samples = {data: f"{sample.users:,} of {sample.all:,}" for data, sample in table.samples.items()}
    together = {
        over.name: "; ".join(samples[data] for data in over.datasets if data in samples)
        for over in read_repetitions(table, groups)
        if samples.keys() & set(over.datasets)
    }
    notes = [*document.notes, table.proof]
    return replace(document, notes=notes, root=table.standing.root, samples=samples, samples_together=together)
