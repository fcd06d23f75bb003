"""Reports of a sweep, read from its records; facts about items come from the data set that the records prove."""

from __future__ import annotations

from mmbench.report.reading import read_sweep
from mmbench.report.table import SweepTable
from mmbench.report.write import write_report

__all__ = ["SweepTable", "read_sweep", "write_report"]
