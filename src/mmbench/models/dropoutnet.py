"""DropoutNet: Volkovs et al., "DropoutNet: Addressing Cold Start in Recommender Systems", NeurIPS 2017."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.nn.alternating_least_squares import check_settings, factorised
from mmbench.nn.content_features import kernel_rows, on_unique_rows
from mmbench.nn.content_weights import weighed
from mmbench.nn.hyperparameters import at_least, rate
from mmbench.nn.initialisation import Law, started
from mmbench.nn.noise import Noise
from mmbench.nn.recommender import FactorModel, Triplets, UnseenItems

#: Law of the weights: a normal one, cut at two standard deviations.
CUT_NORMAL: Law = partial(nn.init.trunc_normal_, std=0.01, a=-0.02, b=0.02)
#: Standardised inputs are cut at this many standard deviations, and are 0 below the smallest.
LARGEST_INPUT, SMALLEST_INPUT = 5.0, 1e-5
#: Share of the newest batch in the running statistics, and what is added to a variance.
MOMENTUM, EPSILON = 0.01, 1e-3


class DropoutNet(FactorModel):
    r"""Two towers that give the scores of a factorisation even where the vector of an item is missing.

    The factorisation is iALS, with vectors :math:`p_u` and :math:`q_i`. One tower maps users, the other items,

    .. math:: \hat y_{ui} = \langle T_U(\tilde p_u), T_V([\tilde q_i; c\,x_i])\rangle, \quad
              L = \frac{1}{2B}\sum_{(u,i)} \big(\hat y_{ui} - \langle p_u, q_i\rangle\big)^2

    over the B pairs of users and positives and, in a second pass, the B pairs of users and negatives. Each hidden layer
    is linear, normalised over the rows of the pass, and tanh; the output is linear. In each pass :math:`\tilde q_i` is
    zero in a share of the rows, so that the tower learns to go by content. An item without training interactions has
    :math:`\tilde q_i = 0`, as in those rows. :math:`x_i` joins the features of all present modalities in name order,
    around their mean at length one, each times :math:`a_m`. Without any modality, or with ``content_weight`` 0, all
    such items have the same vector.

    The inputs are the vectors standardised per column over users, or over items with interactions, and cut at five
    standard deviations; the scores to fit are those of the vectors themselves, which are constants. ``as_reference``
    trains the vectors, which are then inputs and targets as they are, and takes raw features. The code of the paper
    draws its pairs otherwise, from the best scores of the factorisation and at random, and drops users' vectors too.

    Args:
        data: training data.
        embedding_dim: size of the vectors of the factorisation and of the output.
        hidden_dim: width of the first hidden layer of both towers.
        second_hidden_dim: width of the second.
        dropout: share of the rows of a pass in which the vector of the item is zero, rounded down to a row.
        n_sweeps: times that items, then users are solved in the factorisation.
        unobserved_weight: weight of all pairs in the factorisation.
        mf_reg_weight: penalty of the factorisation.
        content_weight: weight of content, c; 0 leaves it out.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        as_reference: reproduce the numbers of the reference implementation.
    """

    content_ignored_by: ClassVar[str] = "content_weight"
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.TOWER
    content: Tensor
    user_input: Tensor
    item_input: Tensor
    user_target: Tensor
    item_target: Tensor
    user_embedding: nn.Parameter
    item_embedding: nn.Parameter

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        hidden_dim: int = 128,
        second_hidden_dim: int = 64,
        dropout: float = 0.5,
        n_sweeps: int = 10,
        unobserved_weight: float = 0.3,
        mf_reg_weight: float = 1e-2,
        content_weight: float = 1.0,
        first_modality_weight: float = 0.5,
        modality_weights: Mapping[str, float] | None = None,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        at_least(1, hidden_dim=hidden_dim, second_hidden_dim=second_hidden_dim)
        check_settings(embedding_dim, n_sweeps, unobserved_weight, mf_reg_weight)
        self.dropout, self.as_reference = rate("dropout", dropout), as_reference
        data, weights = weighed(data, first_modality_weight, modality_weights, content_weight=content_weight)
        squares = {name: (content_weight * weight) ** 2 for name, weight in weights.items()}
        content = kernel_rows(data, squares, raw=as_reference).to(torch.get_default_dtype())
        self.register_buffer("content", content, persistent=False)
        tables = factorised(data, embedding_dim, n_sweeps, unobserved_weight, mf_reg_weight)
        for side, vectors in zip(("user", "item"), tables, strict=True):
            if as_reference:
                setattr(self, f"{side}_embedding", nn.Parameter(vectors.clone()))
            else:
                self.register_buffer(f"{side}_target", vectors, persistent=False)
                self.register_buffer(f"{side}_input", standardised(vectors), persistent=False)
        widths = (hidden_dim, second_hidden_dim, embedding_dim)
        self.user_tower, self.item_tower = HiddenLayers(embedding_dim, *widths), HiddenLayers(embedding_dim, *widths)
        self.content_map = _linear(content.shape[1], hidden_dim, bias=False) if content.shape[1] else None
        self.noise = Noise("positive", "negative")

    def forward(self) -> tuple[Tensor, Tensor]:
        """Outputs of both towers, ``(n_users, d)`` and ``(n_items, d)``, no vector dropped."""
        (users, items), _ = self._tables()
        content = None if self.content_map is None else self.content_map(self.content)
        return self.user_tower(users), self.item_tower(items, content)

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """Mean square of what the towers miss, half of it from positives and half from negatives."""
        (users, items), (user_targets, item_targets) = self._tables()
        contents: tuple[Tensor | None, ...] = (None, None)
        if self.content_map is not None:
            contents = on_unique_rows(self._mapped, batch.positives, batch.negatives)
        passes = {"positive": batch.positives, "negative": batch.negatives}
        n, squares = len(batch.users), []
        # No vector of a user is dropped here, so that the pass with positives and that with negatives are the same.
        user = self.user_tower(functional.embedding(batch.users, users), passes=len(passes))
        user_target = functional.embedding(batch.users, user_targets)
        for (name, chosen), content in zip(passes.items(), contents, strict=True):
            dropped = self.noise.rows(name, n, int(self.dropout * n), chosen.device)
            vectors = functional.embedding(chosen, items).index_fill(0, dropped, 0.0)
            target = user_target * functional.embedding(chosen, item_targets)
            squares.append((user * self.item_tower(vectors, content) - target).sum(1).square().mean())
        return {"mse": torch.stack(squares).mean()}

    def _mapped(self, rows: Tensor) -> Tensor:
        """What content adds to the first layer of chosen items, ``(n_rows, hidden_dim)``."""
        assert self.content_map is not None
        return self.content_map(self.content.index_select(0, rows))

    def _tables(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """What the towers are given of users and items, and the vectors whose products they are to give."""
        if self.as_reference:  # its deviation: vectors that are trained, inputs and targets in one
            both = (self.user_embedding, self.item_embedding)
            return both, both
        return (self.user_input, self.item_input), (self.user_target, self.item_target)


def standardised(table: Tensor) -> Tensor:
    """Columns with mean 0 and standard deviation 1 over the rows that are not zero, which stay zero: ``(n, d)``.

    Numbers beyond :data:`LARGEST_INPUT` are cut, those below :data:`SMALLEST_INPUT` are 0.

    Args:
        table: ``(n, d)``.

    Example:
        >>> standardised(torch.tensor([[1.0], [0.0], [3.0]])).flatten().tolist()
        [-1.0, 0.0, 1.0]
    """
    filled = table.any(1)
    known = table[filled]
    scale = known.std(0, correction=0).clamp_min(torch.finfo(table.dtype).tiny)
    scaled = ((known - known.mean(0)) / scale).clamp(-LARGEST_INPUT, LARGEST_INPUT)
    result = torch.zeros_like(table)
    result[filled] = torch.where(scaled.abs() < SMALLEST_INPUT, 0.0, scaled)
    return result


class NormalisedRows(nn.Module):
    r"""Batch normalisation, :math:`w\,(x - \mu)/\sqrt{\sigma^2 + \epsilon} + b`.

    In training the statistics are those of the rows, but of a single row the running ones, as in eval mode.

    Args:
        width: length of the rows.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor, passes: int = 1) -> Tensor:
        """Normalise rows ``(B, width)``; the running statistics move as in so many passes of the same rows."""
        of_rows = self.training and len(x) > 1
        scale, momentum = (self.weight, self.bias), 1.0 - (1.0 - MOMENTUM) ** passes
        return functional.batch_norm(x, self.running_mean, self.running_var, *scale, of_rows, momentum, EPSILON)


class HiddenLayers(nn.Module):
    """Two hidden layers, each linear, normalised and tanh, and a linear output.

    Args:
        inputs: length of the rows that it maps.
        widths: of the hidden layers and of the output.
    """

    def __init__(self, inputs: int, *widths: int) -> None:
        super().__init__()
        first, second, out = widths
        # The biases in front of a normalisation cancel; they are here because the code of the paper has them.
        self.first, self.second, self.output = _linear(inputs, first), _linear(first, second), _linear(second, out)
        self.norms = nn.ModuleList([NormalisedRows(first), NormalisedRows(second)])

    def forward(self, x: Tensor, content: Tensor | None = None, *, passes: int = 1) -> Tensor:
        """Map rows ``(B, inputs)``; ``content`` ``(B, widths[0])`` is added to the first layer.

        The running statistics move as in so many passes.
        """
        hidden = self.first(x) if content is None else self.first(x) + content
        hidden = self.second(torch.tanh(self.norms[0](hidden, passes)))
        return self.output(torch.tanh(self.norms[1](hidden, passes)))


def _linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=bias)
    started(layer.weight, CUT_NORMAL)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
