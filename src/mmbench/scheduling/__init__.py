"""From the jobs of a sweep to workers that run them: planning, pool, worker, placement, progress."""
