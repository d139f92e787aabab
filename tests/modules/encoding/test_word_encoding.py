from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from modules.encoding.text import DOCUMENTS, inverse_frequencies
from modules.features import Feature
from modules.lead_scoring.settings import LeadScoringSettings
from modules.transform_features import matrix_width, transformed_features
from tests.modules.encoding.encoded import config_of, encode, learn_from, transform

NAN = np.nan
TEXTS = ["The cat sat on the mat", "the dog", "cat cat dog", "", "a bird, a cat!", None, "Dog's mat", "?!"]


def word(name: str, **options) -> Feature:
    return Feature(name=name, kind="categorical", **options)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_counts_and_tfidf_are_those_of_scikit_learn(most):
    rows = [
        Feature(name=w, kind="text", ngrams=most, weighting=w, vocabulary_size=60)
        for w in ("presence", "count", "tfidf")
    ]
    found = encode(config_of(*rows), {row.name: TEXTS for row in rows})
    there = [text for text in TEXTS if text]
    options = {"ngram_range": (1, most), "token_pattern": r"[\w']+"}
    counts, weights = CountVectorizer(**options).fit(there), TfidfVectorizer(**options).fit(there)
    texts = [text or "" for text in TEXTS]
    for term, place in counts.vocabulary_.items():
        expected = counts.transform(texts)[:, [place]].toarray()[:, 0]
        np.testing.assert_array_equal(found[f"count:{term}"], expected)
        np.testing.assert_array_equal(found[f"presence:{term}"], np.minimum(expected, 1))
        tfidf = weights.transform(texts)[:, [weights.vocabulary_[term]]].toarray()[:, 0]
        np.testing.assert_allclose(found[f"tfidf:{term}"], tfidf, rtol=3e-7)
    assert sum(name.startswith("tfidf:") for name in found) == len(counts.vocabulary_)
    # The number of words, not of n-grams; '?!' is a text without words.
    np.testing.assert_array_equal(found["tfidf#words"], [6, 2, 3, NAN, 4, NAN, 2, 0])


def test_tfidf_over_a_limited_vocabulary_by_hand():
    row = Feature(name="m", kind="text", weighting="tfidf", vocabulary_size=2)
    config = config_of(row)
    learned = learn_from(config, {"m": ["b b b a", "b a", "c", "", None]}, batches=3)
    assert learned[DOCUMENTS]["m"] == {"documents": 3, "frequencies": [2, 2]}
    np.testing.assert_allclose(inverse_frequencies(learned[DOCUMENTS]["m"]), [np.log(4 / 3) + 1] * 2)
    found = transform(config, learned, {"m": ["b a b c", "c", "a", ""]})
    np.testing.assert_allclose(found["m:b"], [2 / np.sqrt(5), 0, 0, 0], rtol=1e-7)
    np.testing.assert_allclose(found["m:a"], [1 / np.sqrt(5), 0, 1, 0], rtol=1e-7)


def test_a_text_without_any_word_in_training_gives_zeros():
    row = Feature(name="m", kind="text", weighting="tfidf", ngrams=2)
    config = config_of(row)
    learned = learn_from(config, {"m": ["", "!"]})
    assert learned[DOCUMENTS]["m"] == {"documents": 1, "frequencies": [0]}
    assert list(transform(config, learned, {"m": ["new words", ""]})) == ["m#words"]


def test_words_seen_too_rarely_have_no_column_in_any_weighting():
    row = Feature(name="m", kind="text", weighting="tfidf", min_count=2)
    found = encode(config_of(row), {"m": ["a a b", "c b"]})
    assert sorted(found) == ["m#words", "m:a", "m:b"]


def test_categories_by_hand():
    rows = (
        word("index", vocabulary_size=2, oov_buckets=3),
        word("hash", encoding="hash", hash_buckets=7),
        word("hot", encoding="one_hot", min_count=2, oov_buckets=2),
        word("plain"),
    )
    train = {row.name: ["u", "u", "u", "v", "v", "w", None] for row in rows}
    new = ["u", "v", "w", "", "x", "y", "z", "ü"]
    config = config_of(*rows)
    found = transform(config, learn_from(config, train), {row.name: new for row in rows})
    bucket = {k: tf.strings.to_hash_bucket_fast(new, k).numpy() for k in (2, 3, 7)}
    known = [0, 1, *(2 + bucket[3][2:])]
    np.testing.assert_array_equal(found["index"], np.where(np.array(new) == "", NAN, known))
    np.testing.assert_array_equal(found["hash"], np.where(np.array(new) == "", NAN, bucket[7]))
    np.testing.assert_array_equal(found["plain"], [0, 1, 2, NAN, 1000, 1000, 1000, 1000])
    np.testing.assert_array_equal(found["hot=u"], [1, 0, 0, NAN, 0, 0, 0, 0])
    unknown = np.isin(new, ["w", "x", "y", "z", "ü"])
    for i in (0, 1):
        expected = np.where(np.array(new) == "", NAN, unknown & (bucket[2] == i))
        np.testing.assert_array_equal(found[f"hot=?{i}"], expected)
    assert "hot=w" not in found
    # 64 indicators and two for the rest.
    assert matrix_width(config) == 3 + 64 + 2


def test_fingerprints_do_not_change():
    # FarmHash Fingerprint64 modulo 1000, as every version of TensorFlow computes it.
    found = encode(config_of(word("h", encoding="hash", hash_buckets=1000)), {"h": ["nurse", "Berlin", "ß"]})
    np.testing.assert_array_equal(found["h"], [170, 171, 360])


def test_crosses_by_hand():
    rows = (
        word("job"),
        word("city"),
        Feature(name="both", kind="cross", of=("job", "city"), encoding="one_hot", min_count=2),
        Feature(name="place", kind="cross", of=("city", "job")),
    )
    train = {"job": ["nurse"] * 3 + ["judge"] * 3, "city": ["Rome", "Rome", "Oslo", "Rome", "Oslo", "Oslo"]}
    config = config_of(*rows)
    learned = learn_from(config, train)
    found = transform(
        config,
        learned,
        {"job": ["nurse", "judge", "nurse", "", "judge"], "city": ["Rome", "Oslo", "Oslo", "Oslo", None]},
    )
    np.testing.assert_array_equal(found["both=nurse & Rome"], [1, 0, 0, NAN, NAN])
    np.testing.assert_array_equal(found["both=judge & Oslo"], [0, 1, 0, NAN, NAN])
    # Both values are known, the pair is too rare.
    np.testing.assert_array_equal(found["both=?"], [0, 0, 1, NAN, NAN])
    # By falling count, ties by falling bytes: Rome nurse, Oslo judge, Rome judge, Oslo nurse.
    np.testing.assert_array_equal(found["place"], [0, 1, 3, NAN, NAN])
    made = [c for c in transformed_features(config, {"both": ["nurse\x1fRome"]}) if c.source == "both"]
    assert [(c.name, c.raw) for c in made] == [("both=nurse & Rome", ("job", "city")), ("both=?", ("job", "city"))]


def test_the_model_setting_is_the_default_encoding():
    rows = (word("a"), word("b", encoding="index"), Feature(name="ab", kind="cross", of=("a", "b")))
    model = LeadScoringSettings(categorical="one_hot", max_one_hot=2)
    found = encode(config_of(*rows, model=model), {"a": ["x", "y", "z"], "b": ["1", "1", "2"]})
    assert list(found) == ["a=z", "a=y", "a=?", "b", "ab=z & 2", "ab=y & 1", "ab=?"]
    np.testing.assert_array_equal(found["a=?"], [1, 0, 0])
