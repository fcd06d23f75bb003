"""Sentences for people, in English and Japanese: whole sentences by name, numbers and dates as the language has them.

Sentences lie in ``<language>/<domain>.toml``. Word order and plurals differ between languages, so a message is
always a whole sentence with named places, never glued of fragments; one that counts something has the forms
``one`` and ``other``.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable, Sequence
from datetime import date
from importlib import resources
from string import Formatter
from typing import Any

from babel.dates import format_date
from babel.lists import format_list
from babel.numbers import format_currency, format_decimal, format_percent

LANGUAGES = ("en", "ja")
MINUS = "\N{MINUS SIGN}"
#: Ten thousand, in which Japanese counts money.
MAN = 10_000

Entry = str | dict[str, str]


class Message(str):
    """A sentence that waits for its language: in English it is its own text, in any other :meth:`told` says it.

    So readers and checks know no language, and the command that prints has the last word. A value of a message may be
    a message itself: a place in a file, a hint.

    Args:
        domain: name of the catalogue.
        name: name of the message.
        count: what picks its form and fills ``{n}``.
        values: what fills its other places.
    """

    domain: str
    name: str
    n: int | None
    values: dict[str, object]

    def __new__(cls, domain: str, name: str, count: int | None = None, /, **values: object) -> Message:
        """The English sentence, and what says it in another language."""
        made = super().__new__(cls, Words(domain)(name, count, **values))
        made.domain, made.name, made.n, made.values = domain, name, count, values
        return made

    def told(self, lang: str) -> str:
        """The sentence in a language of :data:`LANGUAGES`."""
        return Words(self.domain, lang)(self.name, self.n, **self.values)

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (Message, self.domain, self.name, self.n, self.values)


class Words:
    """The messages of one domain in one language.

    Args:
        domain: name of the catalogue, ``check`` for instance.
        lang: ``en`` or ``ja``.

    Raises:
        ValueError: for a language that there is no catalogue of.
    """

    def __init__(self, domain: str, lang: str = "en") -> None:
        if lang not in LANGUAGES:
            raise ValueError(f"lang={lang}: there are only {', '.join(LANGUAGES)}")
        self.lang = lang
        self._entries = catalogue(domain, lang)

    def __call__(self, name: str, count: int | None = None, /, **values: object) -> str:
        """The sentence ``name`` with its places filled in; ``count`` picks its form and fills ``{n}``."""
        entry = self._entries[name]
        if isinstance(entry, dict):
            if count is None:
                raise TypeError(f"{name} counts something: say how many")
            entry = entry["one" if count == 1 and "one" in entry else "other"]
        told = {key: self.said(value) for key, value in values.items()}
        return entry.format(**told, **({} if count is None else {"n": self.number(count)}))

    def said(self, value: Any) -> Any:
        """A message in this language; anything else as it is."""
        return value.told(self.lang) if isinstance(value, Message) else value

    def number(self, value: float, digits: int = 0, *, sign: bool = False) -> str:
        """``1,234.5`` with ``digits`` decimals; ``sign`` writes the plus too. Minus is the minus sign."""
        text = format_decimal(abs(value), format=f"#,##0.{'0' * digits}" if digits else "#,##0", locale=self.lang)
        return _signed(text, value, sign)

    def percent(self, share: float, digits: int = 0, *, sign: bool = False) -> str:
        """A share as a percentage: 0.023 is ``2.3%``."""
        text = format_percent(abs(share), format=f"#,##0.{'0' * digits}%" if digits else "#,##0%", locale=self.lang)
        return _signed(text, share, sign)

    def money(self, amount: float, currency: str, digits: int = 0, *, sign: bool = False) -> str:
        """A sum: ``€12,300``, with ``digits`` decimals; yen from ten thousand on in Japanese as ``1.2万円``."""
        if self.lang == "ja" and currency == "JPY":
            large = abs(amount) >= MAN
            text = self.number(abs(amount) / MAN, int(abs(amount) < 100 * MAN)) + "万円" if large else ""
            return _signed(text or f"{self.number(abs(amount), digits)}円", amount, sign)
        pattern = f"¤#,##0.{'0' * digits}" if digits else "¤#,##0"
        text = format_currency(abs(amount), currency, format=pattern, locale=self.lang, currency_digits=False)
        return _signed(text, amount, sign)

    def list(self, names: Sequence[str]) -> str:
        """``text and image``, ``textとimage`` as the language joins them."""
        return format_list(names, locale=self.lang) if names else ""

    def date(self, day: date) -> str:
        """``November 24, 2026``, ``2026年11月24日``."""
        return format_date(day, format="long", locale=self.lang)


class Refusal(ValueError):
    """An error whose sentence stands in a catalogue: English as its text, any language by its ``message``.

    Args:
        domain: name of the catalogue.
        name: name of the message.
        count: what picks its form and fills ``{n}``.
        values: what fills its other places.
    """

    def __init__(self, domain: str, name: str, count: int | None = None, /, **values: object) -> None:
        self.message = Message(domain, name, count, **values)
        super().__init__(self.message)

    @classmethod
    def of(cls, message: Message) -> Refusal:
        """The error that says a message."""
        return cls(message.domain, message.name, message.n, **message.values)

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (Refusal, self.message.domain, self.message.name, self.message.n, self.message.values)


def said_by(error: BaseException) -> str:
    """What an error says: the message of a :class:`Refusal`, the text of any other."""
    return error.message if isinstance(error, Refusal) else str(error)


def listed(names: Iterable[object]) -> str:
    """Names with commas between them, or the word for none."""
    return ", ".join(map(str, names)) or Message("common", "none")


def _again(made: type[Message] | type[Refusal], domain: str, name: str, count: int | None, values: Any) -> object:
    """What pickle makes a message or an error of again."""
    return made(domain, name, count, **values)


@functools.cache
def catalogue(domain: str, lang: str) -> dict[str, Entry]:
    """Every message of a domain by name."""
    text = resources.files(__package__).joinpath(lang, f"{domain}.toml").read_text("utf-8")
    return dict(tomllib.loads(text))


def places(entry: Entry) -> set[str]:
    """Names that a message has filled in, over all its forms."""
    forms = entry.values() if isinstance(entry, dict) else [entry]
    return {name for form in forms for _, name, _, _ in Formatter().parse(form) if name is not None}


def _signed(text: str, value: float, sign: bool) -> str:
    # A value that rounds to zero has no sign.
    if not any(digit in text for digit in "123456789"):
        return text
    return (MINUS if value < 0 else "+" if sign else "") + text
