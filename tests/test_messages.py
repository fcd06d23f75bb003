"""Both languages say the same things, completely."""

from __future__ import annotations

import ast
import pickle
import re
from collections.abc import Iterator
from datetime import date
from importlib import resources
from pathlib import Path

import pytest

from mmbench import messages
from mmbench.data.readers.journal import DOMAIN
from mmbench.messages import LANGUAGES, Message, Refusal, Words, catalogue, listed, places, said_by

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


SOURCES = sorted(Path(messages.__file__).resolve().parents[1].rglob("*.py"))
#: Functions that say a message: where its name stands among their arguments, and whether a domain stands before it.
SAYING = {"Message": True, "Refusal": True, "message": False, "refusal": False, "tell": False}


def said_in_code() -> Iterator[tuple[str, str, str, set[str]]]:
    """Every message that the code says by a fixed name: where, domain, name and the places it fills in."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            constants = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if function not in SAYING or len(constants) < 1 + SAYING[function]:
                continue
            domain, name = constants[:2] if SAYING[function] else (DOMAIN, constants[0])
            counted = {"n"} if len(node.args) > 1 + SAYING[function] else set()
            if all(word.arg is not None for word in node.keywords):
                yield f"{path.name}:{node.lineno}", domain, name, {str(w.arg) for w in node.keywords} | counted


def test_the_code_says_only_what_the_catalogues_hold_and_fills_every_place() -> None:
    found = list(said_in_code())
    assert len(found) > 150
    for where, domain, name, filled in found:
        assert name in catalogue(domain, "en"), where
        needed = places(catalogue(domain, "en")[name])
        assert needed <= filled, (where, name, needed - filled)
        assert filled - needed <= {"n", "matrix"}, (where, name, filled - needed)


#: What a user can bring about is refused by a sentence of a catalogue; elsewhere a ValueError tells of a wrong call.
IN_CATALOGUES = ("cli/check.py", "cli/compose.py", "cli/encode.py", "cli/errors.py", "cli/folders.py", "cli/jobs.py",
                 "cli/plan.py", "cli/prepare.py", "cli/prepare_parser.py", "cli/run.py", "cli/signal.py",
                 "cli/words.py", "checks/", "data/", "encoders/", "budget.py", "search.py", "metrics.py")  # fmt: skip
#: Contracts between parts of the program, which no file and no setting breaks.
WRONG_CALLS = ("data/recdata.py", "data/interactions.py")


def test_what_the_four_commands_refuse_stands_in_a_catalogue() -> None:
    top = Path(messages.__file__).resolve().parents[1]
    for path in SOURCES:
        below = path.relative_to(top).as_posix()
        if below.startswith(IN_CATALOGUES) and below not in WRONG_CALLS:
            assert "raise ValueError" not in path.read_text(encoding="utf-8"), below


def test_a_message_is_english_until_it_is_told() -> None:
    place = Message("prepare", "in_line", path="a.csv", line=3)
    error = Refusal("prepare", "bad_list", where=place)
    assert str(error) == "a.csv, line 3: a user and its items must be whole numbers, zero or larger"
    assert error.message.told("ja") == "a.csv の3行目: ユーザーと商品は0以上の整数でなければなりません"
    assert Words("check", "ja").said(place) == "a.csv の3行目"
    assert Words("check", "ja").said("as it is") == "as it is"
    assert (said_by(error), said_by(OSError("x"))) == (error.message, "x")


def test_messages_and_refusals_survive_another_process() -> None:
    error = pickle.loads(pickle.dumps(Refusal("prepare", "returns", 2, column="数量", where="x")))
    assert error.message.told("ja") == "ログ: 数量 が0以下(返品)の2行を除きました(最初: x)"
    assert pickle.loads(pickle.dumps(error.message)) == str(error)


def test_none_is_a_word() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert Words("check", "ja").said(listed([])) == "なし"
