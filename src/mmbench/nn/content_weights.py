"""Weights of content and of its modalities, with which a model can ignore what does not help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mmbench.data.recdata import RecData
from mmbench.nn.hyperparameters import nonnegative
from mmbench.nn.item_graphs import modality_shares


def weighed(
    data: RecData,
    first_modality_weight: float,
    modality_weights: Mapping[str, float] | None,
    *,
    leave_out: bool = True,
    **content: float,
) -> tuple[RecData, dict[str, float]]:
    r"""The data without the modalities of weight 0, and the relative weights :math:`a_m` of the others.

    :math:`a_m = M s_m` with the shares s of :func:`~mmbench.nn.item_graphs.modality_shares`: their mean is 1, and equal
    shares change nothing. A model that builds itself from the result is, at a weight of 0, the model of the condition
    without that modality, with the same start values and the same loss (``docs/protocol.md``, "Nested spaces").

    Args:
        data: training data.
        first_modality_weight: share of the first of two modalities in name order.
        modality_weights: relative weights of more than two modalities by name.
        leave_out: whether a modality of weight 0 is left out; a reference implementation keeps it.
        content: the weight of all content under the name that the model has for it, where it has one; at 0 every
            modality is left out.

    Returns:
        The data, and a weight for each modality in name order.

    Raises:
        ValueError: for a weight that is negative or no number, or a share outside [0, 1].
    """
    by_path = {f"modality_weights.{name}": weight for name, weight in (modality_weights or {}).items()}
    nonnegative(**content, **by_path)
    shares = modality_shares(data.features, first_modality_weight, modality_weights)
    weights = {name: len(shares) * share for name, share in zip(data.features, shares, strict=True)}
    if not leave_out:
        return data, weights
    kept = [name for name, weight in weights.items() if weight > 0.0 and all(content.values())]
    if len(kept) == len(weights):
        return data, weights
    features, present = ({name: part[name] for name in kept} for part in (data.features, data.present))
    rest = replace(data, features=features, present=present)
    return weighed(rest, first_modality_weight, modality_weights, leave_out=True, **content)


def content_shares(
    data: RecData,
    content_weight: float,
    first_modality_weight: float,
    modality_weights: Mapping[str, float] | None,
) -> dict[str, float]:
    r"""The modalities that count and their weights :math:`c\,s_m`, which add up to ``content_weight``, in name order.

    Args:
        data: training data.
        content_weight: weight of all content, c; at 0 no modality counts.
        first_modality_weight: share of the first of two modalities in name order.
        modality_weights: relative weights of more than two modalities by name.

    Raises:
        ValueError: as :func:`weighed`.
    """
    data, _ = weighed(data, first_modality_weight, modality_weights, content_weight=content_weight)
    shares = modality_shares(data.features, first_modality_weight, modality_weights)
    return {name: content_weight * share for name, share in zip(data.features, shares, strict=True)}
