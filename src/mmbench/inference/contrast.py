"""A contrast: two modality conditions of one model, one measured against the other."""

from __future__ import annotations

from typing import NamedTuple

from mmbench.messages import Refusal


class Contrast(NamedTuple):
    """Condition ``a`` against condition ``b``, the reference."""

    a: str
    b: str

    def __str__(self) -> str:
        return f"{self.a}_vs_{self.b}"

    @staticmethod
    def parse(name: str) -> Contrast:
        """Read a name such as ``fused_vs_text``.

        Raises:
            ValueError: for another form.
        """
        a, _, b = name.partition("_vs_")
        if not a or not b or a == b:
            raise Refusal("{name} is no contrast; write two different conditions like fused_vs_text", name=repr(name))
        return Contrast(a, b)
