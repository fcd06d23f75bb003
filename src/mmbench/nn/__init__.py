"""Operators that two models or more share, and the contract of a model; torch and PyG only."""
