"""A sentence is English where it is raised and Japanese where that is asked for; numbers as each language has them."""

from __future__ import annotations

import pickle
from datetime import date

import pytest

from mmbench.messages import (
    Message,
    Refusal,
    Template,
    Translator,
    clauses,
    conjoined,
    digits_apart,
    digits_given,
    duration,
    listed,
    message_of,
    points,
    series,
)

ENGLISH, JAPANESE = Translator(), Translator("ja")


def test_numbers_and_dates_are_written_as_the_language_has_them() -> None:
    en, ja = ENGLISH, JAPANESE
    assert en.number(-1234.56, 1) == "−1,234.6"
    assert en.number(-0.001, 1, sign=True) == "0.0"
    assert en.percent(0.0234, 1, sign=True) == "+2.3%"
    assert (en.money(12300, "EUR"), ja.money(12300, "JPY"), ja.money(-950, "JPY")) == ("€12,300", "1.2万円", "−950円")
    yen = {4_560_000: "456万円", 126_460_000: "1億2,646万円", 100_000_000: "1億円", 230_000: "23万円", 30: "30円"}
    assert {amount: ja.money(amount, "JPY", 2) for amount in yen} == yen
    assert (ja.money(0.5, "JPY", 2), ja.money(99_999_600, "JPY"), ja.money(999_999, "JPY")) == (
        "0.50円",
        "1億円",
        "100万円",
    )
    assert ja.money(-126_460_000, "JPY") == "−1億2,646万円"
    assert (en.date(date(2026, 11, 24)), ja.date(date(2026, 11, 24))) == ("November 24, 2026", "2026年11月24日")


@pytest.mark.parametrize(
    ("share", "table", "page"),
    [
        (0.0213, "+2.1", "+2.1%"), (-0.0213, "-2.1", "−2.1%"), (0.0005, "+0.05", "+0.05%"), (0.0006, "+0.1", "+0.1%"),
        # An interval from +0.02 to +0.04 % excludes zero, and is not "[+0.0, +0.0]".
        (0.0004, "+0.04", "+0.04%"), (0.0002, "+0.02", "+0.02%"), (-0.0004, "-0.04", "−0.04%"),
        (3.4e-7, "+0.00003", "+0.00003%"), (0.0, "+0.0", "0.0%"), (1e-12, "+0.0", "0.0%"),
    ],
)  # fmt: skip
def test_no_rounding_hides_a_sign(share: float, table: str, page: str) -> None:
    assert points(share) == table
    assert ENGLISH.percent(share, 1, sign=True) == JAPANESE.percent(share, 1, sign=True) == page


def test_sums_on_an_axis_have_at_most_four_digits() -> None:
    amounts = (0, 250_000, 1_050_000, 12_346, 123_456_789, 1.5e11, -2_500_000)
    english = ("€0", "€250K", "€1.05M", "€12.35K", "€123.5M", "€150B", "−€2.5M")
    japanese = ("0円", "25万円", "105万円", "1.23万円", "1.23億円", "1500億円", "−250万円")
    assert tuple(ENGLISH.compact(amount, "EUR") for amount in amounts) == english
    assert tuple(JAPANESE.compact(amount, "JPY") for amount in amounts) == japanese
    assert JAPANESE.compact(250_000, "EUR") == "€25万"


def test_what_somebody_gave_stands_as_it_was_given() -> None:
    given = {0.0004: "0.04%", 0.125: "12.5%", 0.1234567: "12.34567%", 0.3: "30%", 0.0: "0%", 1.0: "100%"}
    assert {share: ENGLISH.percent(share, digits_given(share, scale=100)) for share in given} == given
    assert ENGLISH.percent(1 / 3, digits_given(1 / 3, scale=100)) == "33.33%"  # computed: nobody wrote that down
    yen = {12_450: "12,450円", 12_000: "1.2万円", 1_234_567: "1,234,567円", 40_000_000: "4,000万円", 850: "850円",
           149.5: "149.5円", 126_460_000: "1億2,646万円", 126_460_001: "126,460,001円"}  # fmt: skip
    assert {sum_: JAPANESE.money(sum_, "JPY", digits_given(sum_), exact=True) for sum_ in yen} == yen
    assert (JAPANESE.large(52_345_678), JAPANESE.large(160_000_000)) == ("52,345,678", "1億6,000万")


@pytest.mark.parametrize(
    ("amount", "digits", "euro", "yen", "japanese"),
    [
        (30.0, 2, "€30.00", "¥30", "30円"),
        (-30.0, 2, "−€30.00", "−¥30", "−30円"),
        (29.5, 2, "€29.50", "¥29.50", "29.50円"),
        (99.996, 2, "€100.00", "¥100", "100円"),
        (0.0015, 4, "€0.0015", "¥0.0015", "0.0015円"),
    ],
)
def test_whole_sums_of_a_currency_without_cents_have_no_decimals(
    amount: float, digits: int, euro: str, yen: str, japanese: str
) -> None:
    said = [language.money(amount, money, digits, exact=True).replace("\N{WORD JOINER}", "")
            for language, money in ((ENGLISH, "EUR"), (ENGLISH, "JPY"), (JAPANESE, "JPY"))]  # fmt: skip
    assert said == [euro, yen, japanese]


def test_two_numbers_that_differ_look_different() -> None:
    """As they are printed, not as they are held: 8.05 % is rounded to even in print."""
    for value, other, digits, scale in ((0.0805, 0.0803, 1, 100), (0.0805, 0.08, 1, 100), (0.02004, 0.02, 4, 1),
                                        (0.7968, 0.8, 0, 100), (3.0, 2.9999, 0, 1)):  # fmt: skip
        more = digits_apart(value, other, digits, scale)
        say = ENGLISH.percent if scale == 100 else ENGLISH.number
        assert say(value, more) != say(other, more)
        assert more == digits or say(value, more - 1) == say(other, more - 1)
    assert digits_apart(0.08, 0.08 + 1e-12, 1, 100) == 1


def test_large_counts_are_in_ten_thousands_in_japanese() -> None:
    assert (ENGLISH.large(50_000_000), JAPANESE.large(50_000_000)) == ("50,000,000", "5,000万")


def test_lists_of_messages_are_joined_as_the_language_does() -> None:
    names = [Message("stale"), "b", Message("no score yet")]
    assert (series(names), JAPANESE(series(names))) == (
        "stale, b, no score yet",
        "別の設定の記録、b、値はまだありません",
    )
    assert (conjoined(names), JAPANESE(conjoined(names))) == (
        "stale, b and no score yet",
        "別の設定の記録、bと値はまだありません",
    )
    assert (clauses(names[::2]), JAPANESE(clauses(names[::2]))) == (
        "stale; no score yet",
        "別の設定の記録 / 値はまだありません",
    )
    assert (conjoined(["a"]), series(["a"])) == ("a", "a")


def test_a_language_without_a_catalogue_is_refused() -> None:
    with pytest.raises(Refusal, match="lang=fr: there are only en, ja"):
        Translator("fr")


def test_a_message_is_english_until_it_is_translated() -> None:
    place = Message("{path}, line {line}", path="a.csv", line=3)
    error = Refusal("{where}: a user and its items must be whole numbers, zero or larger", where=place)
    assert str(error) == "a.csv, line 3: a user and its items must be whole numbers, zero or larger"
    assert JAPANESE(error.message) == "a.csv の3行目: ユーザーと商品は0以上の整数でなければなりません"
    assert JAPANESE(place) == "a.csv の3行目"
    assert JAPANESE("as it is") == "as it is"
    assert (message_of(error), message_of(OSError("x"))) == (error.message, "x")


def test_what_counts_has_a_form_for_one_and_one_for_more() -> None:
    forms = ("{n} cell, {finished} of them finished", "{n} cells, {finished} of them finished")
    assert Message.counted(*forms, 1, finished=0) == "1 cell, 0 of them finished"
    assert Message.counted(*forms, 1200, finished=7) == "1,200 cells, 7 of them finished"
    assert str(Refusal.counted(*forms, 2, finished=1)) == "2 cells, 1 of them finished"
    with pytest.raises(TypeError, match="say how many"):
        Message(Template(*forms), finished=1)


def test_two_sentences_that_are_alike_in_english_are_told_apart_by_their_context() -> None:
    system, library = (Message(Template("{error}", context=c), error="x") for c in ("operating system", "library"))
    assert system == library == "x"
    assert (JAPANESE(system), JAPANESE(library)) == ("ファイルを読み書きできません: x", "設定か入力の誤りです: x")


def test_a_sentence_without_a_translation_stays_english() -> None:
    assert JAPANESE(Message("{n} sheep", n=3)) == "3 sheep"


def test_messages_and_refusals_survive_another_process() -> None:
    error = Refusal.counted(
        "log: 1 row with a {column} of zero is left out ({where})",
        "log: {n} rows with a {column} of zero are left out (first: {where})",
        2,
        column="数量",
        where=Message("{path}, row {row}", path="x", row=4),
    )
    again = pickle.loads(pickle.dumps(error))
    assert JAPANESE(again.message) == "ログ: 数量 が0の2行を除きました(最初: x の4件目)"
    assert pickle.loads(pickle.dumps(error.message)) == str(error) == str(again)


def test_durations_have_the_unit_that_fits() -> None:
    lasting = [duration(seconds) for seconds in (0, 89.4, 90, 5399, 5400, 4.5e6)]
    assert lasting == ["0 s", "89 s", "2 min", "90 min", "1.5 h", "1,250.0 h"]
    assert [JAPANESE(one) for one in lasting[1:]] == ["89秒", "2分", "90分", "1.5時間", "1,250.0時間"]


def test_none_is_a_word() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert JAPANESE(listed([])) == "なし"
