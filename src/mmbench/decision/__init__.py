"""Is it worth adding images? Gates first, then the distribution of what the gain is worth."""

from __future__ import annotations

from mmbench.decision.economics import Economics, read_economics
from mmbench.decision.evidence import Evidence, Gate, Status
from mmbench.decision.formulas import annuity, breakeven_gain, npv
from mmbench.decision.record import as_record, replay
from mmbench.decision.rule import Action, Decision, decide, decide_first

__all__ = [
    "Action",
    "Decision",
    "Economics",
    "Evidence",
    "Gate",
    "Status",
    "annuity",
    "as_record",
    "breakeven_gain",
    "decide",
    "decide_first",
    "npv",
    "read_economics",
    "replay",
]
