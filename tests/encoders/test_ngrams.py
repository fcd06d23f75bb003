from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbench.encoders import ngrams
from mmbench.encoders.ngrams import encode_texts, normalised, text_feature

TOPICS = {
    "cups": ["珈琲カップ 白 陶器", "珈琲カップ 黒 陶器", "コーヒーカップ 陶器製", "陶器の珈琲カップセット"],
    "shoes": ["ランニングシューズ 26cm", "ランニングシューズ 軽量 27cm", "軽量ランニング用シューズ", "子供用シューズ"],
    "lamps": ["Desk lamp with LED light", "LED desk lamp, dimmable", "Floor lamp LED", "desk lamps (LED)"],
}
ALL = [name for names in TOPICS.values() for name in names]


def cosine(texts: list[str], **options: int) -> np.ndarray:
    rows = encode_texts(texts, **options)
    return rows @ rows.T


def dense_tfidf(texts: list[str]) -> np.ndarray:
    """The formula of the module, gram by gram, without hashing."""
    counts = []
    for words in texts:
        padded = f" {normalised(words)} "
        counts.append(Counter(padded[i : i + n] for n in (2, 3, 4) for i in range(len(padded) - n + 1)))
    grams = sorted(set().union(*counts))
    holding = np.array([sum(gram in count for count in counts) for gram in grams])
    frequency = np.array([[count[gram] for gram in grams] for count in counts], float)
    tf = np.where(frequency > 0, 1 + np.log(np.maximum(frequency, 1)), 0)
    weights = tf * (1 + np.log((1 + len(texts)) / (1 + holding)))
    return weights / np.linalg.norm(weights, axis=1, keepdims=True)


def test_full_rank_rows_have_the_cosines_of_tfidf() -> None:
    exact = dense_tfidf(ALL)
    np.testing.assert_allclose(cosine(ALL), exact @ exact.T, atol=2e-6)


@pytest.mark.parametrize("topic", TOPICS)
def test_texts_of_one_topic_are_nearer_than_others(topic: str) -> None:
    similar = cosine(ALL)
    own = np.array([name in TOPICS[topic] for name in ALL])
    within = similar[np.ix_(own, own)][np.triu_indices(own.sum(), 1)]
    assert within.mean() > 3 * similar[np.ix_(own, ~own)].mean()


def test_near_duplicates_are_nearest() -> None:
    twin = [*ALL, "珈琲カップ 白 陶器 "]
    similar = cosine(twin)
    assert similar[0, -1] == pytest.approx(1, abs=1e-6)
    changed = cosine([*ALL, "珈琲カップ 白 陶磁器"])
    assert changed[-1, :-1].argmax() == 0
    assert changed[-1, 0] > 0.7


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ﾗﾝﾆﾝｸﾞｼｭｰｽﾞ", "ランニングシューズ"),
        ("ＬＥＤ　ランプ　２６", "led ランプ 26"),
        ("STRASSE", "straße"),
        ("a\t\n b", "A b"),
    ],
)
def test_width_case_and_white_space_do_not_matter(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)
    rows = encode_texts([one, other, *ALL])
    np.testing.assert_array_equal(rows[0], rows[1])


def test_empty_and_blank_texts_are_missing() -> None:
    texts = ["", *ALL, " \u3000\n"]
    rows = encode_texts(texts)
    assert not rows[[0, -1]].any()
    np.testing.assert_allclose(np.linalg.norm(rows[1:-1], axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(rows[1:-1], encode_texts(ALL))
    feature = text_feature(texts)
    assert feature.present.tolist() == [False, *[True] * len(ALL), False]
    np.testing.assert_allclose(feature.values[0], rows[1:-1].mean(axis=0), rtol=1e-5, atol=1e-7)


def test_a_text_of_one_character_has_content() -> None:
    assert text_feature(["靴", "帽子", "靴"]).present.all()


def test_dim_is_cut_to_the_rank() -> None:
    assert encode_texts(ALL, dim=5).shape == (len(ALL), 5)
    assert encode_texts(ALL, dim=1000).shape == (len(ALL), len(ALL))
    assert encode_texts([*ALL, *ALL], dim=1000).shape == (2 * len(ALL), len(ALL))
    assert encode_texts(["same"] * 3).tolist() == [[1.0]] * 3


def test_nothing_to_encode_is_refused() -> None:
    with pytest.raises(ValueError, match="none of the 2 texts has a character"):
        encode_texts(["", " "])
    with pytest.raises(ValueError, match="dim=0 must be at least 1"):
        encode_texts(ALL, dim=0)


@pytest.fixture
def corpus() -> list[str]:
    """300 texts of sixty invented words."""
    rng = np.random.default_rng(0)
    words = ["".join(chr(c) for c in rng.integers(0x3041, 0x3096, rng.integers(2, 6))) for _ in range(60)]
    return ["".join(rng.choice(words, 5)) for _ in range(300)]


def test_the_iterative_decomposition_agrees_with_the_dense_one(
    corpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = encode_texts(corpus, dim=8)
    monkeypatch.setattr(ngrams, "DENSE_SIZE", 16)
    iterative = encode_texts(corpus, dim=8, seed=3)
    np.testing.assert_allclose(iterative, dense, atol=1e-5)
    np.testing.assert_array_equal(iterative, encode_texts(corpus, dim=8, seed=3))
    np.testing.assert_allclose(encode_texts(corpus, dim=8, seed=4), dense, atol=1e-5)


def test_chunks_do_not_matter(corpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encode_texts(corpus, dim=8)
    monkeypatch.setattr(ngrams, "_CHUNK_CHARACTERS", 100)
    np.testing.assert_array_equal(encode_texts(corpus, dim=8), whole)


def test_what_is_kept_is_bounded(corpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngrams, "MAX_GRAMS", 50)
    assert ngrams._weights(corpus).shape == (300, 50)
    monkeypatch.setattr(ngrams, "MAX_NONZERO", 1000)
    kept = ngrams._weights(corpus)
    assert kept.shape[1] < 50
    assert 0 < kept.nnz <= 1000
    monkeypatch.setattr(ngrams, "MAX_CHARACTERS", 4)
    np.testing.assert_array_equal(encode_texts(["abcdX", "abcdY", "ab"])[0], encode_texts(["abcdX", "abcdY", "ab"])[1])


def test_a_text_that_shares_nothing_in_a_large_corpus_is_missing(
    corpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a thousand texts on, grams of a single text are dropped: such a row would be noise."""
    assert text_feature([*corpus, "Ωψξ"], dim=301).present.all()
    monkeypatch.setattr(ngrams, "MIN_TEXTS_TO_DROP_SINGLES", 300)
    feature = text_feature([*corpus, "Ωψξ"], dim=8)
    assert feature.present[:-1].all()
    assert not feature.present[-1]


def test_texts_that_are_equal_or_share_nothing() -> None:
    """Their spectrum has many equal values, of which the routine that looks for the leading ones finds none."""
    texts = ["00", "00", "4150515053", "334044235", "03031322", "10112021", "00", "00"]
    rows = encode_texts(texts, dim=2)
    assert rows.shape == (8, 2)
    same = rows[[0, 1, 6, 7]]
    np.testing.assert_allclose(same, same[:1].repeat(4, axis=0), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(same, axis=1), 1.0, rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=12), st.integers(1, 20))
def test_any_text_is_encoded(texts: list[str], dim: int) -> None:
    blank = np.array([not normalised(words) for words in texts])
    if blank.all():
        return
    rows = encode_texts(texts, dim=dim)
    assert rows.dtype == np.float32
    assert rows.shape[0] == len(texts)
    assert 1 <= rows.shape[1] <= min(dim, (~blank).sum())
    norms = np.linalg.norm(rows, axis=1)
    assert not norms[blank].any()
    assert ((norms[~blank] == 0) | (np.abs(norms[~blank] - 1) < 1e-5)).all()
    np.testing.assert_array_equal(rows, encode_texts(texts, dim=dim))
