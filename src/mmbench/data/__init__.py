"""Interactions, item features, splits and modality conditions."""
