"""From the dotted name of a model to its class: any that a user names, and those alone that a record may name."""

from __future__ import annotations

import contextlib

from mmbench import extensions
from mmbench.messages import Refusal
from mmbench.nn.recommender import Recommender
from mmbench.scheduling.trust import Trust, is_packaged

SETTING = "model._target_"


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
    if trust is not None and not is_packaged(name):
        trust.check_import(extensions.MODELS, name, SETTING)
    model = extensions.load(extensions.MODELS, name, SETTING)
    if not (isinstance(model, type) and issubclass(model, Recommender)):
        raise Refusal("model._target_={target} must derive from FactorModel or ClosedForm", target=name)
    return model


def running(target: object) -> contextlib.AbstractContextManager[None]:
    """Run the code of a model: what one of the user's own raises becomes one line.

    That is what :func:`mmbench.extensions.running` does. What a model of the package raises is a fault of
    the package, and stays what it is.

    Args:
        target: dotted name of its class.
    """
    name = str(target)
    return contextlib.nullcontext() if is_packaged(name) else extensions.running(name, SETTING)
