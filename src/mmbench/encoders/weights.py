"""What the encoders that run on torch share: the hash of their weights, their device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmbench import fingerprint
from mmbench.messages import Refusal

if TYPE_CHECKING:
    from torch import nn


def weights_hash(model: nn.Module) -> str:
    """SHA-256 of all weights in their order: the one revision that holds for a hub, a folder and a package alike."""
    tensors = (tensor.detach().cpu() for tensor in model.state_dict().values())
    return fingerprint.of_arrays(*((t.float() if t.is_floating_point() else t).numpy() for t in tensors))


def device_of(asked: str) -> str:
    """A device for ``auto``, else what was asked for.

    Raises:
        ValueError: for a GPU that is not there.
    """
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise Refusal("device={device}: torch sees no GPU; use device=cpu", device=asked)
    return asked


def plain(value: Any) -> Any:
    """Settings of a library as JSON has them."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
