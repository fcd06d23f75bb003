"""Several looks at the same test split."""

from __future__ import annotations


def level_of_look(number: int, alpha: float = 0.05) -> float:
    r"""Level of the words at the k-th look, :math:`1 - \alpha/k`.

    Whoever raises T or S after a look has had k chances to stop, so the words of the k-th look share the error of one
    look among all of them (Bonferroni); see ``docs/protocol.md``, Raising the effort.

    Args:
        number: k, from 1.
        alpha: error of a single look.

    Raises:
        ValueError: for a number below 1.

    >>> level_of_look(2)
    0.975
    """
    if number < 1:
        raise ValueError(f"looks are numbered from 1, not {number}")
    return 1.0 - alpha / number
