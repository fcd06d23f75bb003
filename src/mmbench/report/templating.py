"""Pages as one HTML file: no outside request, everything that is not ours escaped."""

from __future__ import annotations

import jinja2


def render(template: str, package: str = "mmbench.report", **values: object) -> str:
    """Fill a template of a package, which may include templates of this one."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name) for name in dict.fromkeys((package, "mmbench.report"))]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(**values)
