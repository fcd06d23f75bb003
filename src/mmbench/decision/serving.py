"""What a model costs to run, measured elsewhere and shown beside its quality."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Serving:
    """One model under one condition.

    Args:
        model: its model.
        modality: its condition.
        score: primary metric on the test split.
        one_ms: milliseconds to rank all items for one user.
        batch_ms: milliseconds for a user in a batch.
        parameters: trained numbers; None where the records do not say.
    """

    model: str
    modality: str
    score: float
    one_ms: float
    batch_ms: float
    parameters: int | None
