from __future__ import annotations

import pytest

from mmbench.encoders import EVERY_LANGUAGE
from mmbench.encoders.languages import beyond, readable_scripts, scripts_of, stated_languages


@pytest.mark.parametrize(
    ("name", "card", "languages"),
    [
        ("all-MiniLM", "---\nlanguage: en\n---\n# x", ("en",)),
        ("x", "---\nlanguage:\n- ja\n- en\nlicense: mit\n---", ("ja", "en")),
        ("x", "---\nlanguage: no\n---\n", ("no",)),  # YAML takes Norwegian for a denial
        ("x", "---\nlanguage: [zh-CN]\n---\n", ("zh",)),
        ("x", "---\nlanguage: multilingual\n---\n", (EVERY_LANGUAGE,)),
        ("paraphrase-multilingual-MiniLM-L12-v2", "", (EVERY_LANGUAGE,)),
        ("BAAI/bge-m3", "---\nlicense: mit\n---", (EVERY_LANGUAGE,)),
        ("multilingual-shop", "---\nlanguage: en\n---\n", ("en",)),
        ("some-model", "", None),
        ("some-model", "# no front matter", None),
        ("some-model", "---\n: [broken\n---", None),
    ],
)
def test_languages_are_taken_from_the_card_or_the_name(name: str, card: str, languages: tuple[str, ...] | None) -> None:
    assert stated_languages(name, card) == languages


def test_scripts_are_counted_in_letters_only() -> None:
    assert scripts_of("Ab 12 ー 靴") == {"LATIN": 2, "KATAKANA": 1, "CJK": 1}
    assert scripts_of("人々") == {"CJK": 2}
    assert scripts_of("\uff76\uff98") == {"KATAKANA": 2}  # half width
    assert scripts_of("12 !?") == {}


@pytest.mark.parametrize(
    ("text", "readers"),
    [
        ("Red shoes", {"en", "ja", "ru", "ko", EVERY_LANGUAGE}),
        ("赤いくつです 革", {"ja", EVERY_LANGUAGE}),
        ("レザーシューズ", {"ja", EVERY_LANGUAGE}),
        ("皮鞋", {"ja", "ko", EVERY_LANGUAGE}),
        ("Красные туфли", {"ru", EVERY_LANGUAGE}),
        ("빨간 구두", {"ko", EVERY_LANGUAGE}),
        ("Nike Air Max 90 靴", {"en", "ja", "ru", "ko", EVERY_LANGUAGE}),  # mostly Latin
        ("12345", {"en", "ja", "ru", "ko", EVERY_LANGUAGE}),
        ("", {"en", "ja", "ru", "ko", EVERY_LANGUAGE}),
    ],
)
def test_who_can_read_what(text: str, readers: set[str]) -> None:
    codes = ("en", "ja", "ru", "ko", EVERY_LANGUAGE)
    assert {code for code in codes if not beyond([text], readable_scripts([code]))[0]} == readers


@pytest.mark.parametrize(
    ("code", "text"),
    [("gu", "લાલ જૂતા"), ("si", "රතු සපත්තු"), ("mn", "улаан гутал"), ("ky", "кызыл бут кийим"), ("pa", "ਲਾਲ ਜੁੱਤੇ")],
)
def test_a_language_is_read_in_its_own_script(code: str, text: str) -> None:
    assert not beyond([text], readable_scripts([code]))[0]
    assert beyond([text], readable_scripts(["en", "ja"]))[0]
    assert beyond(["赤い靴です"], readable_scripts([code]))[0]


def test_a_language_whose_script_nobody_knows_blocks_nothing() -> None:
    assert readable_scripts(["en", "chr"]) is None
    assert not beyond(["ᎩᎦᎨ ᎠᎳᏑᎶ"], readable_scripts(["chr"]))[0]
