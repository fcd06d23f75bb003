"""What the encoders that run on torch share: the hash of their weights and of a local folder, their device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench import fingerprint
from mmbench.messages import Refusal

if TYPE_CHECKING:
    from torch import nn


def weights_hash(model: nn.Module) -> str:
    """SHA-256 of all weights in their order: the one revision that holds for a hub, a folder and a package alike."""
    tensors = (tensor.detach().cpu() for tensor in model.state_dict().values())
    return fingerprint.of_arrays(*((t.float() if t.is_floating_point() else t).numpy() for t in tensors))


def folder_identity(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of a local model, wherever it lies; nothing for what is no folder.

    Tokenizer, activation, heads and architecture decide vectors beside the weights, and in a folder anybody may change
    them. Models of the hub and of packages are known by their names and have no such entry, so that what was cached of
    them stays valid. A README states the languages and decides no vector; hidden files are notes of a download.
    """
    if not folder.is_dir():
        return {}
    paths = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    files = {
        name.as_posix(): fingerprint.of_file(path)
        for name, path in paths.items()
        if name.name != "README.md" and not any(part.startswith(".") for part in name.parts)
    }
    return {"folder_sha256": fingerprint.of_json(files)}


def device_of(asked: str) -> str:
    """A device for ``auto``, else what was asked for.

    Raises:
        ValueError: for a GPU that is not there, and for what is no device that can be computed on.
    """
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise Refusal("device={device}: torch sees no GPU; use device=cpu", device=asked)
    try:
        torch.zeros(1, device=asked).cpu()
    except torch.OutOfMemoryError:  # it is there, and whoever computes on it says what it lacks
        pass
    except (RuntimeError, AssertionError) as error:
        there = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        raise Refusal(
            "device={device} is none that can be used here; allowed are {allowed}",
            device=asked,
            allowed=", ".join(["auto", "cpu", *(["cuda", *there] if there else [])]),
        ) from error
    return asked


@contextlib.contextmanager
def enough_memory(device: str) -> Iterator[None]:
    """Encode some contents together; a GPU whose memory does not hold them ends in one line.

    Raises:
        ValueError: if it is used up.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise Refusal("device={device} has too little memory left; take a smaller batch=", device=device) from error


def plain(value: Any) -> Any:
    """Settings of a library as JSON has them."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
