"""Several looks at the same test split."""

from __future__ import annotations


def level_of_look(number: int, alpha: float = 0.05) -> float:
    r"""Level of the words at the k-th look, :math:`1 - \alpha/k`.

    Each look alone errs in at most :math:`\alpha/k`. Whoever stops at the first welcome word of K looks errs in at most
    :math:`\alpha (1 + 1/2 + \ldots + 1/K)` (Bonferroni), which is more than one look does: the first has the whole of
    :math:`\alpha`, for nobody knows then whether another follows. See ``docs/protocol.md``, Raising the effort.

    Args:
        number: k, from 1.
        alpha: error of the first look.

    Raises:
        ValueError: for a number below 1.

    >>> level_of_look(2)
    0.975
    """
    if number < 1:
        raise ValueError(f"looks are numbered from 1, not {number}")
    return 1.0 - alpha / number


def level_after(level: float, further: int, alpha: float = 0.05) -> float:
    """Level of the words after further looks, from the level of those so far.

    Args:
        level: that of :func:`level_of_look` at the present look.
        further: how many more.
        alpha: error of the first look.

    >>> level_after(0.95, 0), level_after(0.975, 2) == level_of_look(4)
    (0.95, True)
    """
    return level_of_look(round(alpha / (1.0 - level)) + further, alpha) if further else level
