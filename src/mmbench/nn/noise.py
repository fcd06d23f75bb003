"""Random tensors that a model draws at every step, each by its name from a stream of its own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mmbench.nn.streams import RandomPart

#: Length of the noise of :meth:`Noise.perturb`.
PERTURBATION = 0.1
#: Uniform numbers that dropout draws at once on a CPU: few enough to stay in a cache until they are compared.
DRAWN_ENTRIES = 1 << 15


class Noise(RandomPart):
    """The random draws of a model.

    Each draw has a buffer, which is empty while the draw is made anew at every step. A tensor that is put there
    (``noise.user_target = factors``) takes the place of the draw.

    Args:
        names: names of the draws.
    """

    def __init__(self, *names: str) -> None:
        super().__init__()
        for name in names:
            self.register_buffer(name, torch.empty(0), persistent=False)

    def drop(self, name: str, x: Tensor, rate: float) -> Tensor:
        """Dropout: ``x`` times factors 0 or 1/(1 - rate); ``x`` itself in eval mode.

        Args:
            name: which draw.
            x: any shape.
            rate: probability of 0, less than 1.
        """
        return self.drop_rows(name, x, rate, None, len(x))

    def drop_rows(self, name: str, x: Tensor, rate: float, rows: Tensor | None, n: int) -> Tensor:
        """:meth:`drop` of chosen rows of a table, with the factors that they have where the whole table is dropped.

        Args:
            name: which draw.
            x: the chosen rows, ``(n_rows, d)``.
            rate: probability of 0, less than 1.
            rows: which rows of the table they are, ``(n_rows,)``; all of them where None.
            n: rows of the table.
        """
        if not self.training:
            return x
        given: Tensor = getattr(self, name)
        if given.numel():
            return x * (given if rows is None else given[rows])
        if rate == 0.0:
            return x
        kept = self._kept(name, x, torch.Size((n, *x.shape[1:])), rate)
        return x * (kept if rows is None else kept.index_select(0, rows)).div_(1.0 - rate)

    def _kept(self, name: str, like: Tensor, shape: torch.Size, rate: float) -> Tensor:
        """What Bernoulli's law gives torch: 1 with probability ``1 - rate`` and 0 otherwise.

        Args:
            name: which draw.
            like: gives type and device.
            shape: of the result.
            rate: probability of 0.
        """
        kept = torch.empty(shape, dtype=like.dtype, device=like.device)
        generator = self.stream(name, like.device)
        if like.device.type != "cpu":
            return kept.bernoulli_(1.0 - rate, generator=generator)
        # On a CPU torch compares a uniform double per entry with the probability; in blocks this takes half as long.
        uniform = torch.empty(min(kept.numel(), DRAWN_ENTRIES), dtype=torch.float64)
        for block in kept.view(-1).split(DRAWN_ENTRIES):
            torch.lt(uniform[: len(block)].uniform_(generator=generator), 1.0 - rate, out=block)
        return kept

    def add_gumbel(self, name: str, x: Tensor) -> Tensor:
        """``x`` plus standard Gumbel noise, in either mode.

        Args:
            name: which draw.
            x: any shape.
        """
        given: Tensor = getattr(self, name)
        if given.numel():
            return x + given
        return x - torch.empty_like(x, requires_grad=False).exponential_(generator=self.stream(name, x.device)).log()

    def normal(self, name: str, like: Tensor) -> Tensor:
        """Standard normal numbers of the shape of ``like``; zeros in eval mode.

        Args:
            name: which draw.
            like: any shape.
        """
        if not self.training:
            return torch.zeros_like(like, requires_grad=False)
        given: Tensor = getattr(self, name)
        if given.numel():
            return given
        return torch.empty_like(like, requires_grad=False).normal_(generator=self.stream(name, like.device))

    def perturb(self, name: str, x: Tensor) -> Tensor:
        r"""Rows moved by a tenth, away from zero in every channel; ``x`` itself in eval mode (SimGCL, Yu et al. 2022).

        .. math:: x + 0.1\,\mathrm{sign}(x) \odot \epsilon / \|\epsilon\|,\quad \epsilon \sim U[0, 1)^d

        The sign has no gradient, and a row of zeros stays one.

        Args:
            name: which draw.
            x: ``(n, d)``.
        """
        if not self.training:
            return x
        given: Tensor = getattr(self, name)
        if not given.numel():
            given = torch.empty_like(x, requires_grad=False).uniform_(generator=self.stream(name, x.device))
        return x + PERTURBATION * x.detach().sign() * functional.normalize(given, dim=1, eps=1e-12)

    def uniform(self, name: str) -> float:
        """One number of [0, 1), in either mode."""
        given: Tensor = getattr(self, name)
        return float(given if given.numel() else torch.rand((), generator=self.stream(name, torch.device("cpu"))))

    def rows(self, name: str, n: int, size: int, device: torch.device, *, repeats: bool = False) -> Tensor:
        """Places drawn uniformly among n, in either mode: ``(size,)``.

        Args:
            name: which draw.
            n: number of places.
            size: number of draws.
            device: where they are needed.
            repeats: whether a place may be drawn again.
        """
        given: Tensor = getattr(self, name)
        if given.numel():
            return given.long()
        generator = self.stream(name, device)
        if repeats:
            return torch.randint(n, (size,), generator=generator, device=device)
        return torch.randperm(n, generator=generator, device=device)[:size]
