"""Links and headings of Markdown files."""

from __future__ import annotations

import posixpath
import re
from collections import Counter

#: ``[text](address)``, and ``![text](address)`` below.
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\[]*)\]\((?P<address>[^)\s]+)\)")
IMAGE = re.compile(r"!\[(?P<text>[^\]]*)\]\((?P<address>[^)\s]+)\)")
FENCE = re.compile(r"^(?P<fence>```+).*?^(?P=fence)[ ]*$", flags=re.MULTILINE | re.DOTALL)


def target(source: str, address: str) -> str | None:
    """What a relative link leads to, with its heading; None for an address of the web or a heading of the same file.

    Args:
        source: path of the file within the repository.
        address: as it is written.
    """
    if re.match(r"[a-z]+:|#", address):
        return None
    path, mark, heading = address.partition("#")
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), path)) + mark + heading


def without_code(text: str) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", text)


def headings(text: str) -> list[str]:
    """Names of the headings of a page, as the site makes them."""
    counts: Counter[str] = Counter()
    names = []
    for heading in re.findall(r"^#+ +(.*)$", without_code(text), flags=re.MULTILINE):
        name = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())
        names.append(name if not counts[name] else f"{name}_{counts[name]}")
        counts[name] += 1
    return names
