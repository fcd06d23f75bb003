"""The sentences of the code and their translations: ``python -m tests.messages.catalogue`` checks that they match.

With ``--update`` the catalogues take the sentences of the code first: a new one comes without a translation, one that
was changed keeps its translation marked fuzzy, and one that nothing says any more stays as a comment until somebody
deletes it. Each of these three fails the check.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Formatter
from typing import NamedTuple

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from jinja2.ext import babel_extract

from mmbench import messages

ROOT = Path(messages.__file__).resolve().parents[1]
#: What makes a message of the template that it is given.
MAKERS = ("Message", "Refusal", "Template")


class Sentence(NamedTuple):
    """A template where it stands in the code.

    Args:
        file: below the package.
        line: first line of the call.
        forms: one, or those for one and for more.
        context: tells sentences apart that are alike in English.
        filled: places that the call fills, None where it leaves them to others.
    """

    file: str
    line: int
    forms: tuple[str, ...]
    context: str = ""
    filled: frozenset[str] | None = None


def sentences(root: Path = ROOT) -> Iterator[Sentence]:
    """Every template of the code and of the pages."""
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (sentence := _sentence(node)):
                yield sentence._replace(file=path.relative_to(root).as_posix())
    for path in sorted(root.rglob("*.html")):
        with path.open("rb") as file:
            for line, _, text, _ in babel_extract(file, ["_"], [], {}):
                yield Sentence(path.relative_to(root).as_posix(), line, (text if isinstance(text, str) else text[0],))


def _sentence(call: ast.Call) -> Sentence | None:
    """What a call makes a message of, None for another call and for a template that stands elsewhere."""
    function, counts = call.func, False
    if isinstance(function, ast.Attribute) and function.attr == "counted":
        function, counts = function.value, True
    if not (isinstance(function, ast.Name) and function.id in MAKERS):
        return None
    literals = [a.value if isinstance(a, ast.Constant) and isinstance(a.value, str) else None for a in call.args]
    forms = literals[: 2 if counts or function.id == "Template" else 1]
    if not forms or None in forms or forms == [""]:
        return None
    named = {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}
    filled = None
    if function.id != "Template" and all(k.arg is not None for k in call.keywords):
        filled = frozenset(str(k.arg) for k in call.keywords) | ({"n"} if len(call.args) > len(forms) else set())
    return Sentence("", call.lineno, tuple(str(form) for form in forms), str(named.get("context", "")), filled)


def template(root: Path = ROOT) -> Catalog:
    """The sentences of the code as a catalogue without translations."""
    catalogue = Catalog(project="mmbench", fuzzy=False)
    for sentence in sentences(root):
        known = sentence.forms if len(sentence.forms) > 1 else sentence.forms[0]
        catalogue.add(known, locations=[(sentence.file, sentence.line)], context=sentence.context or None)
    return catalogue


def places(*forms: str) -> set[str]:
    """Names of what the forms of a sentence have filled in."""
    return {name for form in forms for _, name, _, _ in Formatter().parse(form) if name is not None}


def faults(catalogue: Catalog, code: Catalog) -> list[str]:
    """What is wrong with a catalogue, one line each."""
    found = [f"no longer said: {message.id!r}" for message in catalogue.obsolete.values()]
    for message in catalogue:
        if message.id and code.get(_english(message.id), message.context) is None:
            found.append(f"said nowhere: {message.id!r}")
    for message in code:
        if not message.id:
            continue
        translated = catalogue.get(_english(message.id), message.context)
        forms = _forms(translated.string) if translated is not None else ()
        if translated is None or not all(forms):
            found.append(f"not translated: {message.id!r}")
        elif translated.fuzzy:
            found.append(f"fuzzy, to be read over: {message.id!r}")
        elif translated.id != message.id:
            found.append(f"other forms than in the code: {translated.id!r}")
        elif places(*forms) != places(*_forms(message.id)):
            found.append(f"other places than in English: {message.id!r}")
    return found


def _english(known: str | tuple[str, ...] | list[str]) -> str:
    return known if isinstance(known, str) else known[0]


def _forms(text: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)


def file_of(lang: str) -> Path:
    """The catalogue of a language."""
    return ROOT / "messages" / lang / "LC_MESSAGES" / "mmbench.po"


def read(file: Path, lang: str) -> Catalog:
    """Read a catalogue."""
    with file.open("rb") as opened:
        return read_po(opened, locale=lang)


def update(file: Path, lang: str, code: Catalog) -> None:
    """Bring the sentences of the code into a catalogue; no translation is lost."""
    catalogue = read(file, lang)
    catalogue.update(code, update_creation_date=False)
    with file.open("wb") as opened:
        # Neither lines nor wrapped sentences: a catalogue changes only where a sentence does.
        write_po(opened, catalogue, width=0, include_lineno=False, sort_by_file=True)


def main(argv: Sequence[str]) -> int:
    """Check the catalogues, after an update if that is asked for; 1 if something is wrong."""
    code, wrong = template(), 0
    for lang in messages.LANGUAGES[1:]:
        file = file_of(lang)
        if "--update" in argv:
            update(file, lang, code)
        for fault in faults(read(file, lang), code):
            print(f"{file.relative_to(ROOT)}: {fault}")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
