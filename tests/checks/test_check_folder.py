"""Every finding fires on a folder that was spoilt on purpose, and none on the clean one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench.checks import Finding, Severity, enough_users
from mmbench.checks.check_folder import check_folder
from mmbench.checks.log import findings as log_findings
from mmbench.cli.check import sentence
from mmbench.data import encoded
from mmbench.data.dataset import DatasetConfig, load_dataset
from mmbench.data.interactions import Interactions
from mmbench.encoders.encode_folder import Options, encode_folder, parse_choice
from mmbench.messages import LANGUAGES, Refusal, Translator
from tests.checks.conftest import DAY, N_ITEMS, N_USERS, write_feature
from tests.checks.spoilt import SPOILT, bought_by_one, first_rows, image, items, japanese, log, some_zero

NOW = datetime(2026, 1, 1, tzinfo=UTC)
#: So large that sixty users are enough.
GAIN = 5.0


def names(found: list[Finding]) -> set[str]:
    return {finding.name for finding in found}


def test_a_clean_folder_has_no_finding(shop: Path) -> None:
    assert check_folder(shop, GAIN, NOW) == []


@pytest.mark.parametrize("kind", SPOILT)
def test_every_fault_is_found_alone(kind: str, shop: Path) -> None:
    spoil, name, severity, count = SPOILT[kind]
    spoil(shop)
    found = check_folder(shop, GAIN, NOW)
    assert [(f.name, f.severity, f.count) for f in found] == [(name, severity, count)]


def test_an_item_that_is_in_every_basket(shop: Path) -> None:
    log(bought_by_one("item_id", "bag", 200))(shop)
    bag = next(f for f in check_folder(shop, GAIN, NOW) if f.name == "item_dominance")
    assert (bag.count, bag.values["example"]) == (200, "bag")


def test_reviews_in_the_texts_of_items_block(shop: Path) -> None:
    review = "Fits well, but the colour is nothing like the picture"
    log(first_rows(1, reviewText=review))(shop)
    item = pd.read_parquet(shop / "interactions.parquet")["item_id"].iloc[0]
    assert check_folder(shop, GAIN, NOW) == []
    items(lambda t: t.assign(title=t["title"].where(t["item_id"] != item, f"Shoe. {review.upper()}!")))(shop)
    (found,) = check_folder(shop, GAIN, NOW)
    assert (found.name, found.severity, found.values["item"]) == ("review_in_text", Severity.BLOCKING, item)


def test_most_of_the_log_without_an_entry_blocks(shop: Path) -> None:
    log(lambda t: t.assign(item_id="x" + t["item_id"]))(shop)
    found = check_folder(shop, GAIN, NOW)
    assert ("unlisted", Severity.BLOCKING, N_ITEMS) in [(f.name, f.severity, f.count) for f in found]


@pytest.mark.parametrize(
    ("in_log", "listed", "name"),
    [("1-11", "11-1", "unlisted"), ("1-11", "111", "ids_differ"), ("1-11", "1_11", "ids_differ")],
)
def test_hyphens_at_other_places_are_another_id(in_log: str, listed: str, name: str, shop: Path) -> None:
    log(lambda t: t.assign(item_id=t["item_id"].replace("i7", in_log)))(shop)
    items(lambda t: t.assign(item_id=t["item_id"].replace("i7", listed)))(shop)
    (found,) = check_folder(shop, GAIN, NOW)
    assert (found.name, found.count) == (name, 1)


def test_an_item_that_was_bought_under_its_own_id_is_no_other_one(shop: Path) -> None:
    """What the log spells twice is told as such."""
    log(lambda t: t.assign(item_id=t["item_id"].where(t.index != t.index[0], "0" + t["item_id"])))(shop)
    found = check_folder(shop, GAIN, NOW)
    assert "ids_differ" not in names(found)
    assert "unlisted" in names(found)


@pytest.mark.parametrize(("gain", "severity"), [(0.01, Severity.BLOCKING), (0.05, Severity.WARNING)])
def test_too_few_users_for_the_gain_of_interest(shop: Path, gain: float, severity: Severity) -> None:
    (found,) = check_folder(shop, gain, NOW)
    assert (found.name, found.severity, found.count) == ("few_users", severity, 60)
    assert found.values["needed"] > 60
    assert found.values["seen"] > gain
    assert "is seen in four of five studies, a smaller one less often; for " in sentence(found, Translator("en"))


def test_of_a_few_users_nothing_can_be_told(shop: Path) -> None:
    log(lambda table: table[table["user_id"].isin(table["user_id"].unique()[:9])])(shop)
    found = [f for f in check_folder(shop, GAIN, NOW) if f.name == "few_users"]
    assert [(f.severity, f.count, f.values["least"]) for f in found] == [(Severity.BLOCKING, 9, 30)]


def test_without_a_popular_item_that_is_held_out_the_number_of_users_is_not_known(shop: Path) -> None:
    split = load_dataset(DatasetConfig("shop", str(shop), protocol="auto")).split
    far = Interactions(split.valid.users, np.full(len(split.valid), N_ITEMS - 1), N_USERS, N_ITEMS)
    train = split.train.select(split.train.items < N_ITEMS - 1)
    (found,) = enough_users.findings(replace(split, train=train, valid=far), GAIN)
    assert (found.name, found.severity) == ("users_unknown", Severity.WARNING)


@pytest.mark.parametrize("gain", [0.0, -1.0, 1e-300, 11.0, float("inf"), float("nan")])
def test_a_gain_of_interest_has_bounds(shop: Path, gain: float) -> None:
    with pytest.raises(Refusal, match=f"gain={gain} must be a number from 0.0001 to 10.0, for example 0.05 for five"):
        check_folder(shop, gain, NOW)


@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_a_list_is_no_id(shop: Path, column: str) -> None:
    log(lambda table: table.assign(**{column: [[1, 2]] * len(table)}))(shop)
    with pytest.raises(
        Refusal, match=rf"shop/interactions.parquet, row 1: {column} is .*; an id is a text or a number, no list"
    ):
        check_folder(shop, GAIN, NOW)


def test_a_folder_that_no_sweep_can_read_says_why(shop: Path) -> None:
    log(lambda t: t[:2].assign(timestamp=[1_700_000_000, 1_700_000_000 + DAY]))(shop)
    found = [f for f in check_folder(shop, GAIN, NOW) if f.name == "unusable"]
    assert len(found) == 1
    assert "part of protocol" in found[0].values["error"]


def test_the_default_encoder_of_japanese_is_never_doubted(shop: Path) -> None:
    items(lambda table: table.assign(title=[japanese(n) for n in range(len(table))]))(shop)
    assert check_folder(shop, GAIN, NOW) == []
    # As prepare writes it: no sidecar, and dataset.json says what made the features.
    (shop / "text_feat.json").unlink()
    assert names(check_folder(shop, GAIN, NOW)) == {"row_order", "languages_unknown"}
    provenance = {"provenance": {"text": {"encoder": "character n-grams, TF-IDF, SVD"}}}
    (shop / "dataset.json").write_text(json.dumps(provenance))
    assert names(check_folder(shop, GAIN, NOW)) == {"row_order"}


def test_labelled_encoders_are_checked_too(shop: Path) -> None:
    write_feature(shop, "image_feat@clip", np.load(shop / "image_feat.npy"))
    assert names(check_folder(shop, GAIN, NOW)) == {"identical"}
    write_feature(shop, "image_feat@clip", some_zero(np.load(shop / "image_feat.npy"), 20))
    (found,) = check_folder(shop, GAIN, NOW)
    assert (found.name, found.values["name"]) == ("coverage", "image@clip")
    assert list(encoded.encoders_in(shop)["image"]) == ["clip", "default"]


def test_a_good_file_hides_no_other_of_its_modality(shop: Path) -> None:
    good = np.load(shop / "image_feat.npy")
    write_feature(shop, "image_feat@clip", -good)
    write_feature(shop, "image_feat", np.ones_like(good))
    assert names(check_folder(shop, GAIN, NOW)) == {"constant"}
    write_feature(shop, "image_feat", 40 * good)
    assert names(check_folder(shop, GAIN, NOW)) == {"lengths_differ"}
    # The lengths are those of the files that the sweep reads.
    config = DatasetConfig("shop", str(shop), protocol="auto", encoder={"image": "clip"})
    assert check_folder(shop, GAIN, NOW, config) == []


def test_what_nobody_lists_is_no_covered_interaction(shop: Path) -> None:
    image(lambda x: some_zero(x, 1))(shop)
    assert check_folder(shop, GAIN, NOW) == []
    log(lambda t: t.assign(item_id=t["item_id"].where(t.index % 2 == 0, "x" + t["item_id"])))(shop)
    gap = next(f for f in check_folder(shop, GAIN, NOW) if f.name == "coverage")
    assert gap.count == 1
    assert 0.4 < gap.values["share"] <= 0.5


def test_items_that_the_sweep_leaves_out_are_no_gap(shop: Path) -> None:
    image(lambda x: some_zero(x, 15))(shop)
    config = DatasetConfig("shop", str(shop), protocol="auto")
    assert names(check_folder(shop, GAIN, NOW, config)) == {"coverage"}
    assert check_folder(shop, GAIN, NOW, replace(config, items_with=["image"])) == []


def test_the_label_of_the_file_without_one_is_nobody_s(shop: Path) -> None:
    """It would take the place of the file that the folder's description and every page name."""
    write_feature(shop, "image_feat@default", np.load(shop / "image_feat.npy"))
    with pytest.raises(ValueError, match=r"image_feat@default\.npy: 'default' stands for the file without a label"):
        encoded.encoders_in(shop)


def test_a_folder_without_a_catalogue_is_checked_as_far_as_it_goes(shop: Path) -> None:
    for path in (*shop.glob("*_feat*"), shop / "items.parquet"):
        path.unlink()
    assert check_folder(shop, GAIN, NOW) == []


def test_a_catalogue_that_was_filtered_is_checked(shop: Path) -> None:
    """Its row numbers have gaps."""
    items(lambda t: pd.concat([t, t[:5].assign(title=t["title"][4], item_id=[f"n{n}" for n in range(5)])])[4:])(shop)
    (found,) = (f for f in check_folder(shop, GAIN, NOW) if f.name == "same_text")
    assert (found.count, found.values["one"], found.values["other"]) == (6, "i4", "n0")


@pytest.mark.parametrize("write", [lambda times: pd.to_datetime(times, unit="s"), lambda times: times.astype(str)])
def test_times_as_moments_and_as_text_are_checked(write: Callable[[pd.Series], pd.Series], shop: Path) -> None:
    log(lambda t: t.assign(timestamp=write(t["timestamp"])))(shop)
    items(lambda t: t.assign(updated_at="2023-01-01"))(shop)
    assert check_folder(shop, GAIN, NOW) == []
    items(lambda t: t.assign(updated_at=["2030-01-01", *t["updated_at"][1:]]))(shop)
    (found,) = check_folder(shop, GAIN, NOW)
    assert (found.name, found.count) == ("written_later", 1)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (1_600_000_000_000, 1_900_000_000_000),
        ("1600000000000000", "1900000000000000"),
        ("2020/1/5", "2030/1/5"),
        ("2020年1月5日 9時30分", "令和12年1月5日"),
        ("20200105", "20300105"),
        ("43835", "47488.5"),
        ("2020-01-05T09:30:00+09:00", "2030-01-05T09:30:00+09:00"),
        (date(2020, 1, 5), date(2030, 1, 5)),
        ("5 January 2020", "5 January 2030"),
        ("soon", "5 January 2030"),
        ("Jan 5, 2020", "5 January 2030"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_texts_are_younger_by_times_in_every_way_that_is_read(before: object, after: object, shop: Path) -> None:
    items(lambda t: t.assign(updated_at=[before] * len(t)))(shop)
    assert check_folder(shop, GAIN, NOW) == []
    items(lambda t: t.assign(updated_at=[after] * 2 + [before] * (len(t) - 2)))(shop)
    (found,) = check_folder(shop, GAIN, NOW)
    assert (found.name, found.count) == ("written_later", 2)


@pytest.mark.parametrize("version", [3, "2024", "202401", 1e300, True, "9" * 30, "x"])
def test_what_is_no_time_makes_no_text_younger(version: object, shop: Path) -> None:
    items(lambda t: t.assign(updated=[version] * len(t)))(shop)
    assert check_folder(shop, GAIN, NOW) == []


def test_ids_that_differ_in_characters_nobody_sees_are_written_out(shop: Path) -> None:
    log(lambda t: t.assign(item_id=t["item_id"].where(t["item_id"] != "i7", "i\u200b7")))(shop)
    (found,) = check_folder(shop, GAIN, NOW)
    assert (found.name, found.severity, found.count) == ("ids_differ", Severity.BLOCKING, 1)
    assert r"('i\u200b7' in the log, i7 in items.parquet)" in sentence(found, Translator("en"))


@pytest.mark.parametrize(("column", "name"), [("user_id", "user_spellings"), ("item_id", "item_spellings")])
@pytest.mark.parametrize(("n", "severity"), [(100, Severity.BLOCKING), (101, Severity.WARNING)])
def test_spellings_within_the_log(column: str, name: str, n: int, severity: Severity) -> None:
    """One further spelling blocks where it is more than one of a hundred; 1-11 and 11-1 are no spellings of one id."""
    ids = ["1-11", "11-1", *(f"a{k}" for k in range(n - 4)), "A\u200b０ ", "0a1"]
    frame = pd.DataFrame({"user_id": "u", "item_id": "i"}, index=range(n)).assign(**{column: ids})
    found = [f for f in log_findings(frame, NOW) if f.name.endswith("_spellings")]
    assert [(f.name, f.severity, f.count) for f in found] == [(name, Severity.BLOCKING, 2)]
    (one,) = (f for f in log_findings(frame[:-1], NOW) if f.name.endswith("_spellings"))
    assert (one.severity, one.count) == (severity, 1)
    assert r"(a0 and 'A\u200b０ ')" in sentence(one, Translator("en"))


def test_times_before_any_log_are_shown_as_written_and_as_a_day(shop: Path) -> None:
    log(lambda t: t.assign(timestamp=[45_314, *t["timestamp"][1:]]))(shop)
    (found,) = check_folder(shop, GAIN, NOW)
    assert sentence(found, Translator("en")).startswith("1 of 480 times lies before 1990 (45314 is 1970-01-01)")


def test_words_for_times_beside_dates_of_the_texts(shop: Path) -> None:
    items(lambda t: t.assign(updated_at="2030-01-01"))(shop)
    log(lambda t: t.assign(timestamp=t["timestamp"].astype(str).where(t.index > 1, "soon")))(shop)
    assert names(check_folder(shop, GAIN, NOW)) == {"no_time", "written_later"}


def test_the_columns_that_prepare_took_are_those_that_are_checked(shop: Path) -> None:
    review = "Fits well, but the colour is nothing like the picture"
    log(first_rows(1, reviewText=review))(shop)
    item = pd.read_parquet(shop / "interactions.parquet")["item_id"].iloc[0]
    items(lambda t: t.assign(opinions=[review if i == item else f"{i} is fine" for i in t["item_id"]]))(shop)
    assert check_folder(shop, GAIN, NOW) == []
    (shop / "dataset.json").write_text(json.dumps({"texts": ["title", "opinions", "gone"]}), encoding="utf-8")
    assert names(check_folder(shop, GAIN, NOW)) == {"review_in_text"}
    for other in ("opinions", [{"name": "opinions"}], None):  # what nobody named is guessed
        (shop / "dataset.json").write_text(json.dumps({"texts": other}), encoding="utf-8")
        assert check_folder(shop, GAIN, NOW) == []


def test_an_encoding_with_another_template_is_compared_with_its_own_texts(shop: Path) -> None:
    items(lambda t: t.assign(maker=[japanese(n) for n in range(len(t))]))(shop)
    encode_folder(shop, [parse_choice("text", "ngram")], Options(template="{maker}"))
    said = json.loads((shop / "text_feat.json").read_text(encoding="utf-8"))
    records = {**said, "languages": ["en"]}
    (shop / "text_feat.json").write_text(json.dumps(records), encoding="utf-8")
    assert names(check_folder(shop, GAIN, NOW)) == {"unread"}


def test_the_texts_that_were_encoded_are_those_that_may_leak(shop: Path) -> None:
    review = "Fits well, but the colour is nothing like the picture"
    log(first_rows(1, reviewText=review))(shop)
    item = pd.read_parquet(shop / "interactions.parquet")["item_id"].iloc[0]
    items(lambda t: t.assign(opinions=[review if i == item else f"{i} is fine" for i in t["item_id"]]))(shop)
    assert check_folder(shop, GAIN, NOW) == []
    encode_folder(shop, [parse_choice("text@both", "ngram")], Options(template="{title} {opinions}"))
    (found,) = check_folder(shop, GAIN, NOW)
    assert (found.name, found.severity, found.values["item"]) == ("review_in_text", Severity.BLOCKING, item)
    said = json.loads((shop / "text_feat@both.json").read_text(encoding="utf-8"))
    (shop / "text_feat@both.json").write_text(json.dumps({**said, "made_from": ["title"]}), encoding="utf-8")
    assert check_folder(shop, GAIN, NOW) == []


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_finding_is_a_sentence_with_its_example(lang: str, shop: Path) -> None:
    translator = Translator(lang)
    kinds: set[str] = set()
    for kind in ("a till", "a gap", "japanese for an english encoder", "another width", "a future"):
        SPOILT[kind][0](shop)
        for finding in check_folder(shop, 0.02, NOW):
            kinds.add(finding.name)
            text = sentence(finding, translator)
            assert "{" not in text
            for key in ("example", "encoder", "one", "item"):
                assert str(finding.values.get(key, "")) in text
    assert len(kinds) >= 5
