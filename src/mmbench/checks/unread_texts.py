"""Findings about languages: a study of texts that the encoder cannot read is no study of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mmbench.checks import Finding, graded, warning
from mmbench.checks.feature_rows import FeatureFile
from mmbench.encoders.languages import beyond, readable_scripts, scripts_of
from mmbench.messages import Message, Template

#: Share of texts beyond the encoder that is worth a word, and from which the texts are not read at all.
SOME, TOO_MANY = 0.02, 0.2
#: Share of unknown tokens from which an encoder does not know the vocabulary, whatever it says of itself.
UNKNOWN_TOKENS = 0.1
#: Texts that are looked at.
SAMPLE = 5000
LATIN = frozenset({"LATIN"})
#: Scripts as people call them, by the name that Unicode gives their letters.
SCRIPTS = {
    "LATIN": Message("Latin"),
    "HIRAGANA": Message("Hiragana"),
    "KATAKANA": Message("Katakana"),
    "CJK": Message("Cjk"),
    "HANGUL": Message("Hangul"),
    "CYRILLIC": Message("Cyrillic"),
    "ARABIC": Message("Arabic"),
    "DEVANAGARI": Message("Devanagari"),
    "GREEK": Message("Greek"),
    "HEBREW": Message("Hebrew"),
    "THAI": Message("Thai"),
    "BENGALI": Message("Bengali"),
    "TAMIL": Message("Tamil"),
    "TELUGU": Message("Telugu"),
    "GEORGIAN": Message("Georgian"),
    "ARMENIAN": Message("Armenian"),
}


def findings(file: FeatureFile, texts: Sequence[str], by_grams: bool = False) -> Iterator[Finding]:
    """Compare the letters of the texts with the languages of the encoder that made a feature file.

    Args:
        file: features of the texts.
        texts: text of every item.
        by_grams: the folder says that a file without a sidecar is made of character n-grams, which read everything.
    """
    filled = [text for text in texts if text]
    filled = filled[:: max(1, len(filled) // SAMPLE)]
    if not filled or (file.about is None and by_grams):
        return
    about = file.about or {}
    languages = about.get("languages")
    # Without a word about languages, letters other than Latin ones are in doubt.
    foreign = beyond(filled, LATIN if languages is None else readable_scripts(languages))
    share = float(foreign.mean())
    if share > SOME:
        example = filled[int(np.argmax(foreign))]
        script = scripts_of(example).most_common(1)[0][0]  # the first 40 characters may be digits
        shown = {"example": example[:40], "script": SCRIPTS.get(script, script.title())}
        common = {"name": file.name, "share": share, **shown}
        if languages is None:
            yield warning(
                "languages_unknown",
                Template(
                    "{n} text ({share}) is mostly in {script} letters (for example {example!r}), and nobody says "
                    "which languages the encoder of {name} reads. Is it multilingual?",
                    "{n} texts ({share}) are mostly in {script} letters (for example {example!r}), and nobody says "
                    "which languages the encoder of {name} reads. Is it multilingual?",
                ),
                int(foreign.sum()),
                **common,
            )
            return
        encoder = {"encoder": str(about.get("encoder")), "languages": ", ".join(languages)}
        yield graded(
            share,
            TOO_MANY,
            "unread",
            Template(
                "{n} text ({share}) is mostly in {script} letters (for example {example!r}), but {encoder} reads "
                "{languages}. A study on {name} cannot be called text-only: use a multilingual encoder or text=ngram.",
                "{n} texts ({share}) are mostly in {script} letters (for example {example!r}), but {encoder} reads "
                "{languages}. A study on {name} cannot be called text-only: use a multilingual encoder or text=ngram.",
            ),
            int(foreign.sum()),
            **common,
            **encoder,
        )
    unknown = about.get("unknown_tokens")
    if isinstance(unknown, float) and unknown > UNKNOWN_TOKENS:
        yield graded(
            unknown,
            TOO_MANY,
            "unknown_tokens",
            Template(
                "{encoder} does not know {share} of the tokens of the texts, so {name} cannot stand for text. Use a "
                "multilingual encoder or text=ngram."
            ),
            name=file.name,
            share=unknown,
            encoder=str(about.get("encoder")),
        )
