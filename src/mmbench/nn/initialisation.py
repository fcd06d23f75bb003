"""Start values of parameters: the laws that the papers state, and the streams that they are drawn from.

A model draws every start from a stream of its own, which the model's seed and the parameter's qualified name decide. So
the user vectors, say, start alike whether or not the model has an image tower.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from mmbench.nn.streams import RandomPart, named_seed

T = TypeVar("T", bound=Tensor)


class Law(Protocol):
    """Fills a tensor with random numbers in place and returns it."""

    def __call__(self, tensor: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw from the generator, by default from the global one."""


xavier_uniform: Law = nn.init.xavier_uniform_
xavier_normal: Law = nn.init.xavier_normal_
standard_normal: Law = nn.init.normal_


def started(tensor: T, law: Law) -> T:
    """Fill a tensor by a law and note the law, so that :func:`draw_by_name` can draw again."""
    law(tensor)
    vars(tensor)["law"] = law
    return tensor


def draw_by_name(part: nn.Module | Tensor, name: str, seed: int) -> None:
    """Draw the start values of a part anew, and seed what it draws in training, each from a stream by its name.

    What no law is noted for, such as a constant or a layer that was not made by :func:`linear`, stays as it is.

    Args:
        part: a module, or one tensor.
        name: its qualified name in the model.
        seed: seed of the model's streams.
    """
    tensors = {name: part} if isinstance(part, Tensor) else dict(part.state_dict(prefix=f"{name}.", keep_vars=True))
    for place, tensor in tensors.items():
        law = vars(tensor).pop("law", None)
        if law is not None:
            law(tensor, generator=torch.Generator().manual_seed(named_seed(seed, place)))
    if isinstance(part, nn.Module):
        for place, module in part.named_modules(prefix=name):
            if isinstance(module, RandomPart):
                module.reseed(named_seed(seed, place))


def table(rows: int, columns: int, law: Law) -> nn.Parameter:
    """A trainable table ``(rows, columns)``; Xavier's laws take rows and columns for the fans."""
    return started(nn.Parameter(torch.empty(rows, columns)), law)


def linear(inputs: int, outputs: int, law: Law | None = None, *, bias: bool = True) -> nn.Linear:
    r"""A linear map.

    Args:
        inputs: width of what it maps.
        outputs: width of the result.
        law: law of the weights; by default torch's own, uniform within :math:`\pm 1/\sqrt{\text{inputs}}`, which is
            that of the bias in any case.
        bias: whether it has one.
    """
    layer = nn.Linear(inputs, outputs, bias=bias)
    bound = 1.0 / math.sqrt(inputs)
    own: Law = partial(nn.init.uniform_, a=-bound, b=bound)
    started(layer.weight, law or own)
    if bias:
        started(layer.bias, own)
    return layer


def set_table(owner: nn.Module, name: str, values: Tensor, *, trained: bool = True) -> None:
    """Give a module a table: a parameter, or a constant that is stored with the state but never trained."""
    if trained:
        parameter = nn.Parameter(values)
        vars(parameter).update(vars(values))  # the law of the start
        setattr(owner, name, parameter)
    else:
        owner.register_buffer(name, None)
        setattr(owner, name, values)
