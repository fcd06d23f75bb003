"""Both languages say the same things, completely."""

from __future__ import annotations

import re
from datetime import date
from importlib import resources

import pytest

from mmbench import messages
from mmbench.messages import LANGUAGES, Words, catalogue, places

DOMAINS = sorted(file.name[:-5] for file in resources.files(messages).joinpath("en").iterdir())


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_message_is_there_in_every_language_with_the_same_places(domain: str) -> None:
    english = catalogue(domain, "en")
    for lang in LANGUAGES:
        translated = catalogue(domain, lang)
        assert translated.keys() == english.keys()
        assert {name: places(entry) for name, entry in translated.items()} == {
            name: places(entry) for name, entry in english.items()
        }


@pytest.mark.parametrize("domain", DOMAINS)
def test_japanese_is_japanese_and_avoids_the_words_that_mislead(domain: str) -> None:
    for name, entry in catalogue(domain, "ja").items():
        for form in entry.values() if isinstance(entry, dict) else [entry]:
            assert re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", form) or not re.search(r"[a-z]{4}", form), name
            # "Recall" alone is a product recall to a retailer; "no significant difference" is not "no effect".
            for word in ("リコール", "有意差なし", "ノーゴー", "エビデンスベースド", "約±", "埋込"):
                assert word not in form, (name, word)


def test_numbers_and_dates_are_written_as_the_language_has_them() -> None:
    en, ja = Words(DOMAINS[0], "en"), Words(DOMAINS[0], "ja")
    assert en.number(-1234.56, 1) == "−1,234.6"
    assert en.number(-0.001, 1, sign=True) == "0.0"
    assert en.percent(0.0234, 1, sign=True) == "+2.3%"
    assert (en.money(12300, "EUR"), ja.money(12300, "JPY"), ja.money(-950, "JPY")) == ("€12,300", "1.2万円", "−950円")
    assert ja.money(4_560_000, "JPY") == "456万円"
    assert (en.date(date(2026, 11, 24)), ja.date(date(2026, 11, 24))) == ("November 24, 2026", "2026年11月24日")


def test_a_language_without_a_catalogue_is_refused() -> None:
    with pytest.raises(ValueError, match="lang=fr: there are only en, ja"):
        Words(DOMAINS[0], "fr")
