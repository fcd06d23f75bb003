"""A GPU that is not there: tensors that say they lie on it, and a mode in which nothing waits for it.

Their numbers lie on the processor, so that results can be compared. What would make the host wait for the device, and
what mixes the device with the processor, fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_map

from mmbench.nn.streams import RandomPart, named_seed

#: Not "cuda": torch without CUDA cannot compute gradients of tensors that say they lie there.
DEVICE = torch.device("meta")
#: Operators whose result the host has to know before it can go on: a number, or how much memory to allot.
WAITING = {
    "_local_scalar_dense",
    "is_nonzero",
    "equal",
    "nonzero",
    "nonzero_numpy",
    "masked_select",
    "unique_dim",
    "unique_consecutive",
    "unique_dim_consecutive",
    "_unique",
    "_unique2",
    "bincount",
    "histc",
    "coalesce",
    "_coalesce",
    "to_sparse",
    "_to_sparse",
    "_to_sparse_csr",
    "_validate_sparse_coo_tensor_args",
    "_validate_sparse_csr_tensor_args",
    "_validate_sparse_compressed_tensor_args",
}
#: Operators that take a mask in the place of indices, whose length only the device knows.
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
#: Operators that copy from one device to the other.
COPYING = {"_to_copy", "copy_", "copy"}
#: Operators that only mark a tensor: torch heeds no mark within a wrapper.
MARKING = {"_conj": torch.conj_physical, "_neg_view": torch.neg}


class Waits(AssertionError):
    """The host would wait for the device."""


class OnDevice(Tensor):
    """A tensor that says it lies on :data:`DEVICE`.

    Args:
        inner: its numbers, on the processor; of any layout.
    """

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnDevice:
        dense = inner.layout == torch.strided
        strides = {"strides": inner.stride(), "storage_offset": inner.storage_offset()} if dense else {}
        return Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device=DEVICE, **strides)  # type: ignore[attr-defined, no-any-return]

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    def __repr__(self, **_: Any) -> str:
        return f"OnDevice({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


def inner(value: Any) -> Any:
    """The numbers of a tensor of the device; anything else as it is."""
    return value.inner if isinstance(value, OnDevice) else value


def computed(func: Any, args: Any, kwargs: Any) -> Any:
    """Result of an operator some of whose tensors may lie on the device.

    Raises:
        Waits: if the host would wait for it.
        AssertionError: if tensors of the device and of the processor meet, but for single numbers.
    """
    given: list[Tensor] = []
    tree_map(lambda value: given.append(value) if isinstance(value, Tensor) else None, (args, kwargs))
    name = func.__name__.partition(".")[0]
    device = kwargs.get("device")
    wanted = device is not None and torch.device(device).type == DEVICE.type
    on_device = any(isinstance(value, OnDevice) for value in given)
    if not on_device and not wanted:
        return func(*args, **kwargs)
    if name in WAITING or (name == "repeat_interleave" and kwargs.get("output_size") is None):
        raise Waits(f"{func} makes the host wait")
    if name in INDEXING and any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]):
        raise Waits(f"{func} with a mask makes the host wait")
    if name in COPYING:
        ends = {isinstance(value, OnDevice) for value in given} | ({wanted} if device is not None else set())
        if len(ends) > 1:
            raise Waits(f"{func} copies between the devices")
    elif any(not isinstance(value, OnDevice) and value.dim() for value in given):
        raise AssertionError(f"{func} mixes the device and the processor")
    if wanted:
        kwargs = {**kwargs, "device": "cpu"}
    result = MARKING.get(name, func)(*tree_map(inner, args), **tree_map(inner, kwargs))
    wrapped = tree_map(lambda value: OnDevice(value) if isinstance(value, Tensor) else value, result)
    return return_and_correct_aliasing(func, args, kwargs, wrapped) if on_device else wrapped


class _Factories(TorchDispatchMode):
    """Makes what is asked for on the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


class _Sparse(TorchFunctionMode):
    """Makes sparse matrices of tensors of the device, which torch would put together below any wrapper."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.sparse_csr_tensor and isinstance(args[0], OnDevice):
            if kwargs.get("check_invariants", True):
                raise Waits("the check of a sparse matrix makes the host wait")
            return OnDevice(func(*tree_map(inner, args), **kwargs))
        return func(*args, **kwargs)


@contextmanager
def absent_gpu() -> Iterator[None]:
    """Let tensors be made on the device; streams of random numbers are those of the processor."""

    def stream(self: RandomPart, name: str, device: torch.device) -> torch.Generator:
        key = (name, torch.device("cpu"))
        return self._streams.setdefault(key, torch.Generator().manual_seed(named_seed(self.seed, name)))

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(RandomPart, "stream", stream))
        # There is no mixed precision on such a device, hence nothing to switch off.
        stack.enter_context(mock.patch.object(torch, "autocast", return_value=nullcontext()))
        stack.enter_context(_Factories())
        stack.enter_context(_Sparse())
        yield


@contextmanager
def waits_allowed() -> Iterator[None]:
    """Let the host wait for the device, as it may before the steps of a training begin."""
    with mock.patch(f"{__name__}.WAITING", frozenset()), mock.patch(f"{__name__}.INDEXING", frozenset()):
        yield


def moved(model: nn.Module) -> nn.Module:
    """The model with its parameters and buffers on the device."""
    place: Callable[[Tensor], Tensor] = OnDevice
    for part in model.modules():
        for name, value in part._parameters.items():
            if value is not None:
                part._parameters[name] = nn.Parameter(place(value.detach()))
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = place(buffer)
    return model
