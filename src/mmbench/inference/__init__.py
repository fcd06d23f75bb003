"""Statistics of conditions: intervals, power, tuning curves, pooling, verdicts, contribution of modalities."""
