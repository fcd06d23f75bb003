"""Pages as one HTML file: no outside request, everything that is not ours escaped."""

from __future__ import annotations

import jinja2


def render(template: str, **values: object) -> str:
    """Fill a template of this package."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mmbench.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(**values)
