"""Which models to run first: the tiers that each model's YAML declares, and nothing else does."""

from __future__ import annotations

from omegaconf import OmegaConf

from mmbench import paths

#: What a newcomer should run, the models of the source study (arXiv 2508.07399), and the rest.
TIERS = ("core", "study", "extra")


def tiers_of(model: str) -> tuple[str, ...]:
    """The tiers of a model of the package."""
    return tuple(OmegaConf.load(paths.config_dir() / "model" / f"{model}.yaml").tiers)


def models_of(tier: str) -> list[str]:
    """Models of the package that belong to a tier, in name order."""
    models = sorted(path.stem for path in (paths.config_dir() / "model").glob("*.yaml"))
    return [model for model in models if tier in tiers_of(model)]
