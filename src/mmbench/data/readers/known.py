"""What a command line says to the readers, apart from them, because pandas is slow to load."""

from __future__ import annotations

from mmbench import extensions

#: Asks for the encoding to be found out, see :func:`mmbench.data.readers.delimited.detected_encoding`.
AUTO = "auto"
#: Formats of the package, in the order of :data:`mmbench.data.readers.formats.READERS`.
FORMATS = (
    "mmrec",
    "recbole",
    "lattice",
    "lists",
    "lightgt",
    "ducho",
    "microlens",
    "movielens",
    "amazon-2014",
    "amazon-2018",
    "amazon-2023",
    "amazon-2023-benchmark",
    "table",
)


def known_formats() -> list[str]:
    """Names of all formats, those that installed packages import included."""
    return [*FORMATS, *extensions.offered(extensions.IMPORTERS)]
