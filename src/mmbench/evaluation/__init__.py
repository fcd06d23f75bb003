"""Ranking of held-out interactions and what is computed from ranks and lists."""
