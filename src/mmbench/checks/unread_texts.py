"""Findings about languages: a study of texts that the encoder cannot read is no study of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mmbench.checks import Finding, graded, warning
from mmbench.checks.feature_rows import FeatureFile
from mmbench.encoders.languages import beyond, readable_scripts, scripts_of
from mmbench.messages import Message, catalogue

#: Share of texts beyond the encoder that is worth a word, and from which the texts are not read at all.
SOME, TOO_MANY = 0.02, 0.2
#: Share of unknown tokens from which an encoder does not know the vocabulary, whatever it says of itself.
UNKNOWN_TOKENS = 0.1
#: Texts that are looked at.
SAMPLE = 5000
LATIN = frozenset({"LATIN"})


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
        example = filled[int(np.argmax(foreign))][:40]
        script = _named(scripts_of(example).most_common(1)[0][0])
        common = {"name": file.name, "share": share, "example": example, "script": script}
        if languages is None:
            yield warning("languages_unknown", int(foreign.sum()), **common)
            return
        said = {"encoder": str(about.get("encoder")), "languages": ", ".join(languages)}
        yield graded(share, TOO_MANY, "unread", int(foreign.sum()), **common, **said)
    unknown = about.get("unknown_tokens")
    if isinstance(unknown, float) and unknown > UNKNOWN_TOKENS:
        yield graded(
            unknown, TOO_MANY, "unknown_tokens", name=file.name, share=unknown, encoder=str(about.get("encoder"))
        )


def _named(script: str) -> str:
    """A script as people call it; one that the catalogue lacks as Unicode does."""
    return Message("scripts", script) if script in catalogue("scripts", "en") else script.title()
