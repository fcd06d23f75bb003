"""Random tensors that a model draws at every step, each by its name from a stream of its own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mmbench.nn.streams import RandomPart

#: Length of the noise of :meth:`Noise.perturb`.
PERTURBATION = 0.1


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
        factors = x.new_empty(n, *x.shape[1:]).bernoulli_(1.0 - rate, generator=self.stream(name, x.device))
        return x * (factors if rows is None else factors[rows]).div_(1.0 - rate)

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
