"""The catalogues hold what the code says, nothing else, and the check finds what is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po

from mmbench.messages import LANGUAGES
from tests.messages.catalogue import faults, file_of, places, read, sentences, template, update

#: Other ways to write what the Japanese pages call by one name, and full-width or spaced signs beside theirs.
VARIANTS = re.compile(
    r"フォルダ(?!ー)|スイープ|アイテム|アーカイブ|(?<!乱数)シード|特徴量|検証データ|テスト(?:用)?データ|[（）]|\d %"
)
CODE = """
from mmbench.messages import Message, Refusal, Template
TABLE = {"a": Template("{n} cell", "{n} cells"), "b": Template("{error}", context="library")}
def check(path, n):
    if n:
        raise Refusal.counted("{path} has {n} hole", "{path} has {n} holes", n, path=path)
    raise Refusal("{path} " "is {what}", path=path, what=Message("empty"))
"""


@pytest.fixture
def code(tmp_path: Path) -> Catalog:
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "page.html").write_text('<p>{{ _("Cost of {years} years", years=years) }}</p>')
    return template(tmp_path)


@pytest.fixture
def translated(code: Catalog) -> Catalog:
    """A catalogue with every sentence, translated by its own English."""
    catalogue = Catalog(locale="ja", fuzzy=False)
    for message in code:
        if message.id:
            text = message.id if isinstance(message.id, str) else (message.id[1],)
            catalogue.add(message.id, text, context=message.context)
    return catalogue


@pytest.mark.parametrize("lang", LANGUAGES[1:])
def test_the_catalogue_translates_what_the_code_says(lang: str) -> None:
    assert faults(read(file_of(lang), lang), template()) == []


def test_every_place_of_a_sentence_is_filled_where_it_is_said() -> None:
    for sentence in sentences():
        if sentence.filled is not None:
            # A count picks a form even where no form says it.
            assert sentence.filled - {"n"} == places(*sentence.forms) - {"n"}, sentence


def test_japanese_is_japanese_and_avoids_the_words_that_mislead() -> None:
    for message in read(file_of("ja"), "ja"):
        for form in [message.string] if isinstance(message.string, str) else message.string:
            if not message.id:
                continue
            text = re.sub(r"\{\w+\}", "", form)
            assert re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", text) or not re.search(r"[a-z]{4}", text), message.id
            # "Recall" alone is a product recall to a retailer; "no significant difference" is not "no effect".
            for word in ("リコール", "有意差なし", "ノーゴー", "エビデンスベースド", "約±", "埋込"):
                assert word not in form, (message.id, word)
            assert VARIANTS.findall(form) == [], message.id


def test_sentences_are_found_wherever_they_stand(code: Catalog, translated: Catalog) -> None:
    known = {(message.id, message.context) for message in code if message.id}
    assert known == {
        (("{n} cell", "{n} cells"), None), (("{path} has {n} hole", "{path} has {n} holes"), None),
        ("{error}", "library"), ("{path} is {what}", None), ("empty", None), ("Cost of {years} years", None),
    }  # fmt: skip
    assert faults(translated, code) == []


def test_the_check_names_what_is_missing_unread_left_over_or_wrong(code: Catalog, translated: Catalog) -> None:
    translated["empty"].string = ""
    translated["Cost of {years} years"].flags.add("fuzzy")
    translated["{path} is {what}"].string = "{path} is"
    translated.add("of last year", "x")
    assert sorted(fault.partition(":")[0] for fault in faults(translated, code)) == [
        "fuzzy, to be read over", "not translated", "other places than in English", "said nowhere",
    ]  # fmt: skip


def test_an_update_loses_no_translation(code: Catalog, translated: Catalog, tmp_path: Path) -> None:
    file = tmp_path / "mmbench.po"
    translated.add("zero is nothing at all", "x")
    translated["Cost of {years} years"].string = "{years}年間の費用"
    with file.open("wb") as opened:
        write_po(opened, translated)
    code.delete("Cost of {years} years")
    code.add("Costs of {years} years")
    code.add("a new sentence that is like no other")
    update(file, "ja", code)
    after = read(file, "ja")
    assert after["Costs of {years} years"].string == "{years}年間の費用"
    assert [message.string for message in after.obsolete.values()] == ["x"]
    assert sorted(fault.partition(":")[0] for fault in faults(after, code)) == [
        "fuzzy, to be read over", "no longer said", "not translated",
    ]  # fmt: skip
    written = file.read_bytes()
    update(file, "ja", code)
    assert file.read_bytes() == written
