"""Shared parts of models: graphs, losses, sampling of negatives. Torch and PyG only."""
