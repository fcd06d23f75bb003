"""The benchmark of tuned gains runs, and what it compares has bounds."""

from __future__ import annotations

from tests.benchmarks import gains


def test_every_contrast_is_measured_and_has_bounds() -> None:
    done = gains.measured(contrasts=8, n_users=200, trials=9)
    assert len(done.gains) == 8
    assert all(gain.interval is not None for gain in done.gains)
    assert done.seconds > 0
    assert gains.seconds_of_free_disposal(models=2, n_users=200, trials=9) > 0
