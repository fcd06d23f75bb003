"""A contrast: two modality conditions of one model, one measured against the other."""

from __future__ import annotations

from typing import NamedTuple

from mmbench.messages import Refusal


class Contrast(NamedTuple):
    """Two conditions, of which the first is judged against the second.

    Attributes:
        a: condition in question, for example ``fused``.
        b: condition that it is compared with, for example ``text``.
    """

    a: str
    b: str

    @property
    def name(self) -> str:
        """Its name in configurations and tables, for example ``fused_vs_text``."""
        return f"{self.a}_vs_{self.b}"

    @staticmethod
    def parse(name: str) -> Contrast:
        """Read a name such as ``fused_vs_text``.

        Raises:
            ValueError: for another form.

        >>> Contrast.parse("fused_vs_text")
        Contrast(a='fused', b='text')
        """
        a, _, b = name.partition("_vs_")
        if not a or not b or a == b:
            raise Refusal("{name} is no contrast; write two different conditions like fused_vs_text", name=repr(name))
        return Contrast(a, b)
