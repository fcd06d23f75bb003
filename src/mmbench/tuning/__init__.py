"""Equal-effort tuning of the cells of a study; nothing here can reach the test split."""
