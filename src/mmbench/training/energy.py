"""Energy of a training, where codecarbon is installed to measure it."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
from collections.abc import Iterator
from typing import Any

#: Energy is measured without asking the network where the machine stands; the country decides emissions only.
COUNTRY = "USA"


class Meter:
    """What :func:`metered` measured: kilowatt-hours, None where nothing can measure."""

    kwh: float | None = None


@contextlib.contextmanager
def metered() -> Iterator[Meter]:
    """Measure the energy of CPU, memory and GPU while the block runs, tries that fail included.

    The counters are read when the block ends, however it ends, so nothing between two readings of a background
    sampler is lost. A meter that fails measures nothing, and the block knows nothing of it.
    """
    meter, tracker = Meter(), None
    # A counter that only root may read, a card that is gone: whatever it is, no training fails for it.
    with contextlib.suppress(Exception):
        tracker = _started()
    try:
        yield meter
    finally:
        if tracker is not None:
            with contextlib.suppress(Exception):
                tracker.stop()
                kwh = float(tracker.final_emissions_data.energy_consumed)
                meter.kwh = kwh if math.isfinite(kwh) else None


def _started() -> Any:
    """A tracker of codecarbon that measures by now; None without codecarbon."""
    if importlib.util.find_spec("codecarbon") is None:
        return None
    from codecarbon import OfflineEmissionsTracker

    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
    tracker = OfflineEmissionsTracker(
        country_iso_code=COUNTRY,
        tracking_mode="process",
        save_to_file=False,
        log_level="critical",
        allow_multiple_runs=True,
    )
    tracker.start()
    return tracker
