"""Links of Markdown files, as paths of the repository."""

from __future__ import annotations

import posixpath
import re

#: ``[text](address)`` and ``![text](address)``; the text may hold code.
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\[]*)\]\((?P<address>[^)\s]+)\)")
IMAGE = re.compile(r"!\[[^\]]*\]\((?P<address>[^)\s]+)\)")


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
