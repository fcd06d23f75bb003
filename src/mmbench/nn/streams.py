"""Streams of random numbers by name, so that no part of a model moves the numbers of another."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def named_seed(seed: int, name: str) -> int:
    """The seed of the stream ``name`` among all streams of ``seed``: 62 bits of SHA-256.

    Example:
        >>> named_seed(7, "item_embedding") == named_seed(7, "item_embedding")
        True
        >>> named_seed(7, "item_embedding") == named_seed(7, "user_embedding")
        False
    """
    return int.from_bytes(hashlib.sha256(f"{name} of {seed}".encode()).digest()[:8], "big") >> 2


class RandomPart(nn.Module):
    """A part of a model that draws random numbers in training, every kind of draw from a stream of its own.

    Alone it has a seed from the global generator; a model gives it one by name, see
    :class:`mmbench.nn.recommender.FactorModel`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reseed(int(torch.randint(2**62, ())))

    def reseed(self, seed: int) -> None:
        """Begin all streams anew from a seed."""
        self.seed = seed
        self._streams: dict[tuple[str, torch.device], torch.Generator] = {}

    def stream(self, name: str, device: torch.device) -> torch.Generator:
        """The generator of a kind of draw on a device; it goes on where its last draw ended.

        Args:
            name: the kind of draw.
            device: where the numbers are needed.
        """
        key = (name, device)
        if key not in self._streams:
            self._streams[key] = torch.Generator(device=device).manual_seed(named_seed(self.seed, name))
        return self._streams[key]
