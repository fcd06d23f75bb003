"""Pages as one HTML file in each language: no outside request, everything that is not ours escaped."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mmbench import paths
from mmbench.messages import LANGUAGES, MINUS, Message, Translator
from mmbench.store import files

#: A minus before anything but a digit, and the invisible character that keeps both on one line.
LOOSE_MINUS, WORD_JOINER = re.compile(rf"{MINUS}(?=[^\d\s])"), "\u2060"
#: Name of each language in itself.
NAMES = {"en": "English", "ja": "日本語"}


@dataclass(frozen=True)
class Pages:
    """The pages in one language, beside which those in the other one stand.

    Args:
        lang: their language.
        asked: the language that was asked for, whose pages have the plain names.
    """

    lang: str
    asked: str

    @staticmethod
    def both(asked: str) -> list[Pages]:
        """Pages of every language."""
        return [Pages(lang, asked) for lang in LANGUAGES]

    @property
    def translator(self) -> Translator:
        """Into their language."""
        return Translator(self.lang)

    def text(self, template: str, /, **values: object) -> str:
        """A sentence that stands in a template."""
        return str(self.translator(Message(template, **values)))

    def of(self, name: str) -> dict[str, Any]:
        """What the template of a page needs to know of its language, and of the same page in the others."""
        others = [lang for lang in LANGUAGES if lang != self.lang]
        links = [{"lang": lang, "name": NAMES[lang], "file": paths.page(name, lang, self.asked)} for lang in others]
        return {"lang": self.lang, "_": self.text, "translations": links}


def write_pages(folder: Path, name: str, asked: str, make: Callable[[Pages], str]) -> None:
    """Write a page in every language, each by atomic rename.

    Args:
        folder: where they go.
        name: its name without ending.
        asked: the language that has the plain name.
        make: writes the page in one language.
    """
    for pages in Pages.both(asked):
        files.write_text(folder / paths.page(name, pages.lang, asked), make(pages))
    (folder / paths.page(name, asked, "")).unlink(missing_ok=True)  # of a command that asked for another language


def language_of(folder: Path) -> str:
    """Language of the pages that stand in a folder under their plain names; English where there are none."""
    asked = (lang for lang in LANGUAGES if not (folder / paths.page(paths.INDEX, lang, "")).exists())
    return next(asked, LANGUAGES[0])  # which no command leaves without a language


def render(template: str, package: str = "mmbench.report", **values: object) -> str:
    """Fill a template of a package, which may include templates of this one."""
    return _templates(package).get_template(template).render(**values)


@functools.cache  # a template is compiled once, however many pages it fills
def _templates(package: str) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name) for name in dict.fromkeys((package, "mmbench.report"))]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_unbroken,
    )


def _unbroken(value: Any) -> Any:
    """A value as it is printed: no line ends between a minus and a currency, where browsers may break one."""
    if not isinstance(value, str) or MINUS not in value:
        return value
    text = LOOSE_MINUS.sub(f"{MINUS}{WORD_JOINER}", value)
    return Markup(text) if isinstance(value, Markup) else text
