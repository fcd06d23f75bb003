"""From the dotted name of a model to its class: any that a user names, and those alone that a record may name."""

from __future__ import annotations

import importlib
import pkgutil
from importlib import metadata

from mmbench import models
from mmbench.messages import Message, Refusal
from mmbench.nn.recommender import Recommender
from mmbench.scheduling.trust import Trust

#: Group of entry points by which an installed package offers models of its own, each as ``module:Class``.
GROUP = "mmbench.models"


class NotVouchedFor(Refusal):
    """A record names a class that is not installed, and nobody else does."""


def class_of(target: object, trust: Trust | None = None) -> type[Recommender]:
    """The class of a model.

    Args:
        target: its dotted name.
        trust: None where this command's own configuration names it. Where a record does, only an installed model is
            imported, or one that the command line vouches for.

    Raises:
        NotVouchedFor: if it may not be imported.
        ValueError: if it cannot be, or is no recommender.
    """
    name = str(target)
    if trust is not None and name not in trust.classes and not is_installed(name):
        raise NotVouchedFor(
            Message(
                "model._target_={target} is no installed model, and a record is no reason to import it; "
                "--allow {target} vouches for it",
                target=name,
            )
        )
    module, _, attribute = name.rpartition(".")
    try:
        model = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # importing the user's module can raise anything
        raise Refusal("model._target_={target} cannot be imported: {error}", target=name, error=error) from error
    if not (isinstance(model, type) and issubclass(model, Recommender)):
        raise Refusal("model._target_={target} must derive from FactorModel or ClosedForm", target=name)
    return model


def is_installed(name: str) -> bool:
    """Whether a dotted name is that of a module of :mod:`mmbench.models` with a class, or of an entry point."""
    module, _, _ = name.rpartition(".")
    packaged = (f"{models.__name__}.{found.name}" for found in pkgutil.iter_modules(models.__path__))
    offered = (entry.value.replace(":", ".") for entry in metadata.entry_points(group=GROUP))
    return module in packaged or name in offered
