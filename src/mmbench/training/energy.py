"""Energy of a training, where codecarbon is installed to measure it."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Iterator

#: Energy is measured without asking the network where the machine stands; the country decides emissions only.
COUNTRY = "USA"


class Meter:
    """What :func:`metered` measured: kilowatt-hours, None where nothing can measure."""

    kwh: float | None = None


@contextlib.contextmanager
def metered() -> Iterator[Meter]:
    """Measure the energy of CPU, memory and GPU while the block runs, tries that fail included.

    The counters are read when the block ends, however it ends, so nothing between two readings of a background
    sampler is lost.
    """
    meter = Meter()
    if importlib.util.find_spec("codecarbon") is None:
        yield meter
        return
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
    try:
        yield meter
    finally:
        tracker.stop()
        meter.kwh = float(tracker.final_emissions_data.energy_consumed)
