"""Sentences for people: English where the code says them, other languages from gettext catalogues.

A sentence is a template with named places, written in English where it is raised or printed; ``make messages`` collects
the templates into ``<language>/LC_MESSAGES/mmbench.po``, which translates them. Word order and plurals differ between
languages, so a template is always a whole sentence, never a fragment to be glued; one that counts something has a form
for one and a form for more.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from gettext import GNUTranslations, NullTranslations
from importlib import resources
from io import BytesIO
from typing import NamedTuple, overload

LANGUAGES = ("en", "ja")
MINUS = "\N{MINUS SIGN}"
#: Ten thousand, in which Japanese counts money.
MAN = 10_000
#: Decimals to which a sign is shown, and the value below which it is rounding noise.
MOST_DIGITS, LEAST_SHOWN = 6, 1e-6
#: Figures of a number that somebody may have written down, and those that are shown of a longer one.
MOST_FIGURES, FIGURES = 12, 4
#: Digits of a sum on an axis.
MOST_COMPACT = 4


class Template(NamedTuple):
    """An English sentence with named places that nothing fills yet, for tables of sentences.

    Args:
        one: the sentence; of one that counts, its form for one.
        other: form for any other number, None for a sentence that does not count.
        context: tells apart two sentences that are alike in English and differ in another language.
    """

    one: str
    other: str | None = None
    context: str = ""


class Message(str):
    """A sentence that waits for its language: in English it is its own text, a :class:`Translator` makes it another.

    So readers and checks know no language; the command that prints a message chooses it. A value of a message may be
    a message itself: a place in a file, a hint.

    Args:
        template: the English sentence.
        n: what picks its form and fills ``{n}``.
        values: what fills its other places.

    >>> Message("{path} has no rows", path="log.csv")
    'log.csv has no rows'
    >>> Message.counted("{n} row", "{n} rows of {path}", 1200, path="log.csv")
    '1,200 rows of log.csv'
    """

    template: Template
    n: int | None
    values: dict[str, object]

    def __new__(cls, template: str | Template, n: int | None = None, /, **values: object) -> Message:
        """The English sentence, and what makes it one of another language."""
        template = Template(template) if isinstance(template, str) else template
        made = super().__new__(cls, Translator().fill(template, n, values))
        made.template, made.n, made.values = template, n, values
        return made

    @classmethod
    def counted(cls, one: str, other: str, n: int, /, **values: object) -> Message:
        """A sentence with a form for one and a form for any other number ``n``."""
        return cls(Template(one, other), n, **values)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, (self.template, self.n, self.values)


class Refusal(ValueError):
    """An error that a user can cause: its sentence in English as its text, in any language by its ``message``.

    Args:
        sentence: a message, or its template.
        n: what picks the form of the template and fills ``{n}``.
        values: what fills its other places.
    """

    def __init__(self, sentence: str | Template | Message, n: int | None = None, /, **values: object) -> None:
        self.message = sentence if isinstance(sentence, Message) else Message(sentence, n, **values)
        super().__init__(self.message)

    @classmethod
    def counted(cls, one: str, other: str, n: int, /, **values: object) -> Refusal:
        """An error whose sentence has a form for one and a form for any other number ``n``."""
        return cls(Template(one, other), n, **values)

    def __reduce__(self) -> tuple[object, ...]:
        return Refusal, (self.message,)


class Translator:
    """Writes messages, numbers, sums, lists and dates as one language has them.

    Args:
        lang: one of :data:`LANGUAGES`.

    Raises:
        Refusal: for another language.
    """

    def __init__(self, lang: str = "en") -> None:
        if lang not in LANGUAGES:
            raise Refusal("lang={lang}: there are only {languages}", lang=lang, languages=", ".join(LANGUAGES))
        self.lang = lang

    @overload
    def __call__(self, text: str) -> str: ...
    @overload
    def __call__(self, text: object) -> object: ...
    def __call__(self, text: object) -> object:
        """A message in this language; anything else as it is."""
        return self.fill(text.template, text.n, text.values) if isinstance(text, Message) else text

    def fill(self, template: Template, n: int | None, values: dict[str, object]) -> str:
        """A template in this language with its places filled."""
        catalogue = translations(self.lang)
        if template.other is not None:
            if n is None:
                raise TypeError(f"{template.other!r} counts something: say how many")
            sentence = catalogue.ngettext(template.one, template.other, n)
        elif template.context:
            sentence = catalogue.pgettext(template.context, template.one)
        else:
            sentence = catalogue.gettext(template.one)
        number = {} if n is None else {"n": self.number(n)}
        return sentence.format(**{name: self(value) for name, value in values.items()}, **number)

    def number(self, value: float, digits: int = 0, *, sign: bool = False) -> str:
        """``1,234.5`` with ``digits`` decimals; ``sign`` writes the plus too. Minus is the minus sign."""
        from babel.numbers import format_decimal  # a worker says little; it need not load Babel

        text = format_decimal(abs(value), format=f"#,##0.{'0' * digits}" if digits else "#,##0", locale=self.lang)
        return _signed(text, value, sign)

    def percent(self, share: float, digits: int = 0, *, sign: bool = False) -> str:
        """A share as a percentage: 0.023 is ``2.3%``; one with a sign keeps it, see :func:`digits_shown`."""
        from babel.numbers import format_percent

        digits = digits_shown(100 * share, digits) if sign else digits
        text = format_percent(abs(share), format=f"#,##0.{'0' * digits}%" if digits else "#,##0%", locale=self.lang)
        return _signed(text, share, sign)

    def money(self, amount: float, currency: str, digits: int = 0, *, sign: bool = False, exact: bool = False) -> str:
        """A sum: ``€12,300``, with ``digits`` decimals; yen in Japanese as ``1.2万円`` and ``1億2,646万円``.

        A whole sum has no decimals where its currency has none: ``¥30``. Ten thousands are rounded, unless the sum is
        to be ``exact``: then ``12,450円`` is in full.
        """
        if self.lang == "ja" and currency == "JPY":
            return _signed(f"{self._yen(abs(amount), digits, exact=exact)}円", amount, sign)
        from babel.numbers import format_currency, get_currency_precision

        if get_currency_precision(currency) == 0:
            digits = _digits_unless_whole(amount, digits)
        pattern = f"¤#,##0.{'0' * digits}" if digits else "¤#,##0"
        text = format_currency(abs(amount), currency, format=pattern, locale=self.lang, currency_digits=False)
        return _signed(text, amount, sign)

    def large(self, value: float) -> str:
        """A count that is easy to read: ``50,000,000``, ``5,000万`` in Japanese where that is all of it."""
        return self._yen(abs(value), 0, exact=True) if self.lang == "ja" else self.number(value)

    def compact(self, amount: float, currency: str) -> str:
        """A sum on an axis, rounded to at most four digits: ``€250K``, ``2.5億円``."""
        from babel.numbers import format_compact_currency, format_compact_decimal

        for digits in (2, 1, 0):
            if self.lang == "ja" and currency == "JPY":
                text = f"{format_compact_decimal(abs(amount), locale=self.lang, fraction_digits=digits)}円"
            else:
                text = format_compact_currency(abs(amount), currency, locale=self.lang, fraction_digits=digits)
            if sum(map(str.isdigit, text)) <= MOST_COMPACT:
                break
        return _signed(text, amount, sign=False)

    def _yen(self, amount: float, digits: int, *, exact: bool = False) -> str:
        """A number in ten thousands, from 10^8 on in those too; below in full, without decimals that are zero.

        An ``exact`` one is in full wherever that would round it.
        """
        if amount < MAN or (exact and amount % (MAN / 10 if amount < 100 * MAN else MAN)):
            return self.number(amount, _digits_unless_whole(amount, digits))
        if amount < 100 * MAN:
            tenths = round(amount / MAN, 1)
            return f"{self.number(tenths, 0 if tenths == round(tenths) else 1)}万"
        hundred_millions, rest = divmod(round(amount / MAN), MAN)
        large = f"{self.number(hundred_millions)}億" if hundred_millions else ""
        return large + (f"{self.number(rest)}万" if rest or not large else "")

    def list(self, names: Sequence[str]) -> str:
        """``text and image``, ``textとimage`` as the language joins them."""
        from babel.lists import format_list

        return format_list(names, locale=self.lang) if names else ""

    def date(self, day: date) -> str:
        """``November 24, 2026``, ``2026年11月24日``."""
        from babel.dates import format_date

        return format_date(day, format="long", locale=self.lang)


def message_of(error: BaseException) -> str:
    """The message of a :class:`Refusal`, the text of any other error."""
    return error.message if isinstance(error, Refusal) else str(error)


def digits_shown(value: float, digits: int) -> int:
    """Decimals of a number whose sign must be seen: more than ``digits`` where it would be rounded to zero.

    A value that no page could tell from zero stays one.

    >>> digits_shown(0.04, 1), digits_shown(-0.004, 1), digits_shown(0.06, 1), digits_shown(2.0, 1)
    (2, 3, 1, 1)
    """
    while digits < MOST_DIGITS and LEAST_SHOWN <= abs(value) <= 0.5 * 10**-digits:
        digits += 1
    return digits


def digits_apart(value: float, other: float, digits: int, scale: int = 1) -> int:
    """Decimals of a number beside another one: more than ``digits`` where they differ and would look the same.

    Two that no page could tell apart look the same.

    Args:
        value: the number.
        other: what it is compared with.
        digits: decimals that it has anyway.
        scale: what both are multiplied by in print, 100 for percentages.

    >>> digits_apart(0.7968, 0.8, 0, 100), digits_apart(0.25, 0.08, 1, 100), digits_apart(0.08, 0.08, 1, 100)
    (1, 1, 1)
    """
    a, b = (Decimal(repr(float(number))) * scale for number in (value, other))
    return next((more for more in range(digits, MOST_DIGITS + 1) if round(a, more) != round(b, more)), digits)


def digits_given(value: float, digits: int = 0, scale: int = 1) -> int:
    """Decimals with which a number stands as somebody gave it, at least ``digits``; of a computed one, four figures.

    Args:
        value: the number.
        digits: decimals that it has anyway.
        scale: what it is multiplied by in print, 100 for percentages.

    >>> digits_given(0.125, scale=100), digits_given(12450.0), digits_given(0.0004, scale=100), digits_given(2 / 3)
    (1, 0, 2, 4)
    """
    exact = (Decimal(repr(float(value))) * scale).normalize()
    _, figures, exponent = exact.as_tuple()
    if len(figures) > MOST_FIGURES:
        return max(FIGURES - 1 - exact.adjusted(), digits)
    return max(-int(exponent), digits)


def points(share: float, digits: int = 1) -> str:
    """A relative change in percent with its sign, as tables have it; the sign is never rounded away.

    >>> points(0.0213), points(0.0004), points(0.0)
    ('+2.1', '+0.04', '+0.0')
    """
    return f"{100 * share:+z.{digits_shown(100 * share, digits)}f}"


def quantity(value: float) -> str:
    """A quantity to two figures, and to the whole number from ten on.

    >>> quantity(0.0123), quantity(1.54), quantity(123.4), quantity(1750.0)
    ('0.012', '1.5', '123', '1,750')
    """
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def level_name(level: float) -> str:
    """A coverage in percent, as sentences name it.

    >>> level_name(0.95), level_name(0.975), level_name(1 - 0.05 / 3)
    ('95', '97.5', '98.3')
    """
    return f"{100 * level:.3g}"


def duration(seconds: float) -> Message:
    """How long something takes, in the unit that fits.

    >>> duration(89.4), duration(90), duration(5400), duration(4.5e6)
    ('89 s', '2 min', '1.5 h', '1,250.0 h')
    """
    if seconds < 90:
        return Message("{n} s", n=f"{seconds:.0f}")
    if seconds < 5400:
        return Message("{n} min", n=f"{seconds / 60:.0f}")
    return Message("{n} h", n=f"{seconds / 3600:,.1f}")


def series(parts: Sequence[str]) -> str:
    """Parts of a list of names: ``a, b, c``, as each language separates them."""
    return functools.reduce(lambda first, rest: Message("{first}, {rest}", first=first, rest=rest), parts)


def clauses(parts: Sequence[str]) -> str:
    """Clauses one after the other: ``a; b; c``."""
    return functools.reduce(lambda first, rest: Message("{first}; {rest}", first=first, rest=rest), parts)


def conjoined(parts: Sequence[str]) -> str:
    """All of some names: ``a, b and c``."""
    if len(parts) < 2:
        return series(parts)
    return Message("{first} and {rest}", first=series(parts[:-1]), rest=parts[-1])


def listed(names: Iterable[object]) -> str:
    """Names with commas between them, or the word for none."""
    return ", ".join(map(str, names)) or Message("none")


@functools.cache
def translations(lang: str) -> NullTranslations:
    """The catalogue of a language, compiled in memory when it is first asked for; English needs none."""
    if lang == LANGUAGES[0]:
        return NullTranslations()
    # Babel's reader of catalogues is needed by no command that speaks English.
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    compiled = BytesIO()
    with resources.files(__package__).joinpath(lang, "LC_MESSAGES", "mmbench.po").open("rb") as file:
        write_mo(compiled, read_po(file, locale=lang))
    compiled.seek(0)
    return GNUTranslations(compiled)


def _rebuilt(template: Template, n: int | None, values: dict[str, object]) -> Message:
    """The message that pickle takes apart."""
    return Message(template, n, **values)


def _digits_unless_whole(value: float, digits: int) -> int:
    """No decimals of a number that is rounded to a whole one."""
    return 0 if round(value, digits) == round(value) else digits


def _signed(text: str, value: float, sign: bool) -> str:
    # A value that rounds to zero has no sign.
    if not any(digit in text for digit in "123456789"):
        return text
    return (MINUS if value < 0 else "+" if sign else "") + text
