"""Which languages an encoder reads, and which texts it cannot: scripts are compared, not vocabularies.

A text is taken to be beyond an encoder if most of its letters belong to scripts that none of its languages is written
in. Latin letters stand in texts of every language and count as readable.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mmbench.encoders import EVERY_LANGUAGE

#: Scripts by language beside Latin letters, as Unicode names them. A language that is not listed may have any script.
SCRIPTS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(
        (
            "en", "fr", "de", "es", "pt", "it", "nl", "sv", "da", "no", "nb", "nn", "fi", "is", "et", "lv", "lt", "pl",
            "cs", "sk", "sl", "hr", "bs", "ro", "hu", "tr", "sq", "ca", "gl", "eu", "ga", "cy", "mt", "lb", "la", "eo",
            "af", "sw", "zu", "xh", "yo", "ig", "ha", "so", "id", "ms", "jv", "su", "tl", "fil", "ceb", "vi",
        ),
        frozenset(),
    ),
    "ja": frozenset({"HIRAGANA", "KATAKANA", "CJK"}),
    "zh": frozenset({"CJK"}),
    "ko": frozenset({"HANGUL", "CJK"}),
    **dict.fromkeys(("ru", "uk", "bg", "sr", "mk", "be", "kk", "ky", "tg", "tt"), frozenset({"CYRILLIC"})),
    "mn": frozenset({"CYRILLIC", "MONGOLIAN"}),
    **dict.fromkeys(("ar", "fa", "ur", "ps", "ug"), frozenset({"ARABIC"})),
    **dict.fromkeys(("hi", "mr", "ne", "sa"), frozenset({"DEVANAGARI"})),
    "el": frozenset({"GREEK"}),
    **dict.fromkeys(("he", "yi"), frozenset({"HEBREW"})),
    "th": frozenset({"THAI"}),
    **dict.fromkeys(("bn", "as"), frozenset({"BENGALI"})),
    "ta": frozenset({"TAMIL"}),
    "te": frozenset({"TELUGU"}),
    "gu": frozenset({"GUJARATI"}),
    "kn": frozenset({"KANNADA"}),
    "ml": frozenset({"MALAYALAM"}),
    "or": frozenset({"ORIYA"}),
    "pa": frozenset({"GURMUKHI", "ARABIC"}),
    "si": frozenset({"SINHALA"}),
    "km": frozenset({"KHMER"}),
    "lo": frozenset({"LAO"}),
    "my": frozenset({"MYANMAR"}),
    "am": frozenset({"ETHIOPIC"}),
    "ka": frozenset({"GEORGIAN"}),
    "hy": frozenset({"ARMENIAN"}),
}  # fmt: skip
#: Parts of model names that are published as multilingual.
MULTILINGUAL = re.compile(r"multilingual|multi-lingual|labse|bge-m3|xlm|use-cmlm", re.IGNORECASE)
#: Only the head of a text is looked at.
HEAD = 500


def stated_languages(name: str, card: str) -> tuple[str, ...] | None:
    """Languages by the front matter of a model card, else by the name; None where neither says.

    Args:
        name: of the model; of a local folder the last part alone, because the folders above it say nothing.
        card: text of its README; may be empty.
    """
    stated = _front_matter_languages(card)
    if any("multilingual" in code for code in stated) or (not stated and MULTILINGUAL.search(name)):
        return (EVERY_LANGUAGE,)
    return tuple(stated) or None


def _front_matter_languages(card: str) -> list[str]:
    import yaml

    match = re.match(r"---\s*\n(.*?)\n---", card, re.DOTALL)
    try:
        fields = yaml.safe_load(match[1]) if match else {}
    except yaml.YAMLError:
        return []
    stated = fields.get("language") if isinstance(fields, dict) else None
    codes = stated if isinstance(stated, list) else [stated] if stated is not None else []
    return [str(code).lower().split("-")[0] if code is not False else "no" for code in codes]  # YAML reads "no" so


def readable_scripts(languages: Iterable[str]) -> frozenset[str] | None:
    """Scripts that an encoder of these languages reads; None for all, and where the script of a language is unknown."""
    codes = set(languages)
    if not codes <= SCRIPTS.keys():  # as EVERY_LANGUAGE is, too
        return None
    return frozenset({"LATIN"}).union(*(SCRIPTS[code] for code in codes))


def scripts_of(text: str) -> Counter[str]:
    """Letters of a text by script, ``LATIN``, ``HIRAGANA``, ``CJK``, ...; other characters do not count."""
    letters = (c for c in unicodedata.normalize("NFKC", text[:HEAD]) if c.isalpha())
    # The mark that repeats an ideograph is called IDEOGRAPHIC, the one that lengthens a vowel KATAKANA-HIRAGANA.
    names = (unicodedata.name(c, "UNKNOWN").replace("IDEOGRAPHIC", "CJK").replace("-", " ") for c in letters)
    return Counter(name.split()[0] for name in names)


def beyond(texts: Sequence[str], readable: frozenset[str] | None) -> NDArray[np.bool_]:
    """Which texts are mostly written in letters that are not readable, ``(n,)``."""
    if readable is None:
        return np.zeros(len(texts), bool)
    foreign_texts = np.zeros(len(texts), bool)
    for place, text in enumerate(texts):
        counts = scripts_of(text)
        foreign = sum(n for script, n in counts.items() if script not in readable)
        foreign_texts[place] = 2 * foreign > counts.total()
    return foreign_texts
